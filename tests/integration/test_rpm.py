"""The spec of the rpms: for Fedora and RHEL 9 from one file. What is packed, `./dev package --rpm` looks at, installs and removes again."""
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parents[2]
SPEC = HERE / "packaging" / "rpm" / "purlin.spec"

pytestmark = pytest.mark.skipif(not shutil.which("rpmspec"), reason="there is no rpm")


def parse(*defines):
    done = subprocess.run(["rpmspec", "-P", *[word for define in defines for word in ("--define", define)], str(SPEC)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_of_the_same_version():
    version = re.search(r"project\(purlin VERSION (\S+)", (HERE / "CMakeLists.txt").read_text())[1]
    assert f"\nVersion:        {version}\n" in parse()


def test_fedora_has_xgboost_and_rhel_has_what_it_has():
    assert "xgboost-devel" in parse("fedora 41") and "xgboost-devel" not in parse("rhel 9")
    for system in ("fedora 41", "rhel 9"):
        assert "%package plugin-xgboost" in parse(system), "the predictor needs no library"


@pytest.mark.parametrize("macros", [(), ("systemd_post() post %*", "systemd_preun() preun %*", "systemd_postun_with_restart() postun %*")],
                         ids=["spelled out", "the distribution's macros"])
def test_scriptlets_are_shell(macros):
    text = parse(*macros)
    scriptlets = re.findall(r"^%(pre|post|preun|postun)\n(.*?)(?=^%|\Z)", text, re.M | re.S)
    assert [name for name, _ in scriptlets] == ["pre", "post", "preun", "postun"]
    for name, script in scriptlets:
        assert subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True).returncode == 0, (name, script)
        if macros and name != "pre":
            assert f"\n{name} purlin" in f"\n{script}", script
        assert "%" not in re.sub(r"%\w+=", "", script), script
