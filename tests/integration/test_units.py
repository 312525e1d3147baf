"""The units as they are installed: systemd reads them without a complaint, and they are as closed as they are said to be."""
import json
import re
import shutil
import subprocess

import pytest

from daemon import BUILD, PURLIND

UNITS = BUILD / "packaging" / "systemd"
pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not there")

# The overall exposure of each unit, and what of it may be open: each has a reason in the unit or in what it does.
EXPOSURE = {"purlin.service": 1.6, "purlin-spawner.service": 3.9}


def run(*arguments, **more):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **more)


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """The units, but with programs where they are built."""
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS.glob("purlin*.*"):
        if unit.suffix in (".service", ".socket", ".slice", ".timer"):
            text = re.sub(r"(?m)^(Exec\w+=)\S*/(purlind?)\b", rf"\g<1>{PURLIND.parent}/\g<2>", unit.read_text())
            (folder / unit.name).write_text(text)
    assert {path.name for path in folder.iterdir()} >= {"purlin.service", "purlin-spawner.service", "purlin.socket"}
    return folder


def test_systemd_reads_them_without_a_complaint(units):
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *sorted(map(str, units.iterdir())))
    assert done.returncode == 0 and done.stderr == "", done


def test_a_broken_unit_would_be_seen(units, tmp_path):
    text = (units / "purlin.service").read_text()
    (tmp_path / "purlin.service").write_text(text.replace("PrivateIPC=", "PrivateIPCs="))
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "purlin.service"))
    assert "PrivateIPCs" in done.stderr, done


@pytest.mark.parametrize("name", EXPOSURE)
def test_they_are_closed(units, name):
    limit = EXPOSURE[name]
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={int(limit * 10)}", str(units / name))
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    assert done.returncode == 0 and exposure <= limit, done.stdout
    if limit > 2:
        return
    table = json.loads(run("systemd-analyze", "security", "--offline=true", "--json=short", str(units / name)).stdout)
    weak = [row for row in table if row["exposure"] and float(row["exposure"]) >= 0.4 and row["json_field"] != "PrivateNetwork"]
    assert not weak, weak


def test_the_user_and_the_folders_are_declared(tmp_path):
    if not shutil.which("systemd-sysusers") or not shutil.which("systemd-tmpfiles"):
        pytest.skip("systemd-sysusers and systemd-tmpfiles are not there")
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "purlin.sysusers"))
    assert done.returncode == 0, done
    line = next(line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith("purlin:"))
    assert line.split(":")[5] == "/var/lib/purlin" and line.endswith("/nologin"), line
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(UNITS / "purlin.tmpfiles"))
    assert done.returncode == 0, done
    state = (tmp_path / "var" / "lib" / "purlin").stat()
    assert state.st_mode & 0o777 == 0o750 and state.st_uid == int(line.split(":")[2])
    assert (tmp_path / "run" / "purlin").is_dir()
