"""`purlin upgrade`: the way there, the way back from whatever fails, and killed at every step. The rest of the system is played (upgrade_site.py);
with dpkg, apt and systemd it is tried in tests/boot."""
import json
import os
import shutil
import signal
import subprocess

import pytest

from daemon import BUILD, wait_until
from models import deploy, infer, model_json, tree
from upgrade_site import Site, Writer

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="packages of Debian are made by dpkg-deb")

FULL = os.environ.get("PURLIN_FULL") == "yes"
full = pytest.mark.skipif(not FULL, reason="./dev test --full")
ROWS = [[0.1, 1], [0.9, 1]]
REFUSES_TO_START = '''#!/bin/sh
case " $* " in *" --check "* | *" --migrations "*) @REAL@ ;; esac
echo "purlind: this release was never meant to run" >&2
exit 1
'''


@pytest.fixture(scope="module")
def site(scratch, template):
    folder = scratch / "upgrade"
    folder.mkdir()
    made = Site(folder, template)
    client = made.client()
    made.endpoint, _ = deploy(made, client, ["a", "b"])
    assert infer(client, made.endpoint, ROWS).status == 200
    client.close()
    yield made
    made.end()


@pytest.fixture
def old(site):
    """The site with release 1, which serves; it must end with a whole release and no fault left."""
    site.fault()
    if site.installed() != {"purlin": "1"}:
        site.system("service", "stop", "purlin")
        site.system("dpkg", "--install", str(site.package("1")))
        site.system("service", "start", "purlin")
        site.wait_ready()
    shutil.rmtree(site.folder / "upgrade", ignore_errors=True)
    yield site
    assert site.journal() == [], "an upgrade was left unfinished"


def serves(site):
    client = site.client()
    try:
        answer = infer(client, site.endpoint, ROWS)
        return answer.status == 200 and answer.json["outputs"][0]["data"] == [-1, 2]
    finally:
        client.close()


def is_old(site):
    return site.installed() == {"purlin": "1"} and site.ready() and serves(site)


def test_there_and_back(old):
    def predictions():
        return int(old.database.sql("SELECT COUNT(*) FROM purlin.serving_predictions")[0][0])

    writer = Writer(old)
    wait_until(lambda: predictions() == len(ROWS), 5, "the prediction of the beginning is not in the log")
    code, said = old.to(old.package("2"))
    assert code == 0, said
    assert predictions() == len(ROWS), "what an upgrade asks is no prediction"
    assert old.installed() == {"purlin": "2"} and serves(old)
    assert "operations and 1 model say the same" in said and "purlin upgrade --rollback" in said, said
    assert [record.get("end") for record in old.status()["journal"]][-1] == "upgraded"
    assert not (old.folder / "upgrade" / "reserve").exists() and not (old.folder / "upgrade" / "unpacked").exists()
    code, said = old.to(old.package("2"))
    assert code == 0 and "installed already" in said
    code, said = old.upgrade("--rollback", config=False)
    assert code == 0 and "1 is installed and serves" in said, said
    assert is_old(old)
    assert writer.end() > 5
    code, said = old.upgrade("--rollback", config=False)
    assert code == 1 and "nothing to take back" in said, said


def test_check_changes_nothing(old):
    before = old.system("service", "status", "purlin"), (old.folder / "pid").read_text()
    code, said = old.to(old.package("2"), "--check")
    assert code == 0 and "valid" in said, said
    assert is_old(old) and before == (old.system("service", "status", "purlin"), (old.folder / "pid").read_text())
    assert "installed" not in [record.get("end") for record in old.status().get("journal", [])]


@full
def test_from_apt(old):
    code, said = old.to("apt")
    assert code == 0 and "nothing newer" in said, said
    shutil.copy(old.package("2"), old.folder / "archive")
    try:
        code, said = old.to("apt", "--json")
        assert code == 0 and old.installed() == {"purlin": "2"}, said
        told = json.loads(said)
        assert told["ok"] and told["outcome"] == "upgraded" and (told["from"], told["to"]) == ("1", "2")
    finally:
        (old.folder / "archive" / old.package("2").name).unlink()


# ---- What fails before anything is changed

def refused(site, package, *arguments, words=()):
    pid, release = (site.folder / "pid").read_text(), (site.root / "usr/sbin/purlind").stat()
    code, said = site.to(package, *arguments)
    assert code == 1, said
    for word in words:
        assert word in said, f"'{word}' is not in: {said}"
    now = (site.root / "usr/sbin/purlind").stat()
    assert (pid, release.st_ino, release.st_mtime) == ((site.folder / "pid").read_text(), now.st_ino, now.st_mtime) and is_old(site)
    return said


def test_downgrade_is_refused(old):
    refused(old, old.package("0.9"), words=["older than what is installed", "purlin upgrade --rollback", "purlin restore"])


@pytest.mark.parametrize("what, words", [("depends", ["libnothing1"]), ("removes", ["something-else"])])
def test_dependencies(old, what, words):
    old.fault(what)
    refused(old, old.package("2"), words=[*words, "Nothing was changed"])


def test_what_is_no_package(old):
    file = old.folder / "made" / "x.deb"
    file.write_text("nothing")
    refused(old, file, words=["x.deb"])
    refused(old, old.folder / "archive", words=["no package 'purlin'"])
    refused(old, "/nowhere/x.deb", words=["/nowhere/x.deb"])
    refused(old, old.package("3", name="other"), words=["no package 'purlin'"])


def test_broken_configuration(old):
    text = (old.folder / "purlin.lua").read_text()
    try:
        (old.folder / "purlin.lua").write_text(text + 'log { level = "loud" }\n')
        code, said = old.to(old.package("2"))
        assert code == 1 and "purlin.lua:" in said and "level" in said, said
    finally:
        (old.folder / "purlin.lua").write_text(text)
    assert is_old(old)


def test_what_the_new_release_does_not_take(old):
    """A configuration that the installed release takes and the new one does not: it is the new one's own --check that says so."""
    strict = '#!/bin/sh\ncase " $* " in *" --check "*) echo "purlin.lua:7: the section old is gone" >&2; exit 1 ;; esac\n@REAL@\n'
    refused(old, old.package("2.strict", strict), words=["purlin.lua:7", "section old", "Nothing was changed"])


def test_policies_and_plugins_of_others(old):
    (old.folder / "policies" / "mine.lua").write_text("local x = = 1\n")
    try:
        refused(old, old.package("2"), words=["mine.lua:1"])
    finally:
        (old.folder / "policies" / "mine.lua").unlink()
    plugin = old.folder / "third" / "mine.so"
    data = bytearray((BUILD / "plugins" / "webhooks.so").read_bytes())
    at = data.index(b"Purlin\0\0", data.index(b"Purlin\0\0")) if data.count(b"Purlin\0\0") else 0
    data[at + 8:at + 12] = (99).to_bytes(4, "little")  # the ABI that it was built for
    plugin.write_bytes(bytes(data))
    try:
        refused(old, old.package("2"), words=["mine.so", "ABI major: the plugin has 99"])
    finally:
        plugin.unlink()


def test_breaking_migrations(old):
    breaks = ('#!/bin/sh\ncase " $* " in *" --migrations "*) '
              '''echo '{"component":"registry","name":"9000_gone","breaking":true,"narrows":[]}'; exit 0 ;; esac\n@REAL@\n''')
    refused(old, old.package("2.breaks", breaks), words=["registry 9000_gone", "no way back but a backup", "--breaking"])


def test_server_that_is_away(old):
    old.system("service", "stop", "purlin")
    try:
        code, said = old.to(old.package("2"))
        assert code == 1 and "--without-answers" in said and old.installed() == {"purlin": "1"}, said
        code, said = old.to(old.package("2"), "--without-answers")
        assert code == 0 and old.installed() == {"purlin": "2"} and not old.ready(), said
    finally:
        old.system("service", "start", "purlin")
        old.wait_ready()


def test_token(old):
    bad = old.folder / "bad.token"
    bad.write_text("purlin_nobody\n")
    refused(old, old.package("2"), "--token-file", bad, words=["bad.token", "401", "--without-answers"])


def test_folder_of_somebody_else(old):
    folder = old.folder / "upgrade"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    refused(old, old.package("2"), words=["others could have changed it"])
    shutil.rmtree(folder)


def test_arguments(old):
    for arguments in ([], ["--to"], ["--resume", "--status"], ["--to", "apt", "--wait", "soon"], ["--nonsense"]):
        done = subprocess.run(old.command(*arguments), capture_output=True, text=True, env=old.environment())
        assert done.returncode == 2 and ("purlin: upgrade" in done.stderr or "Usage" in done.stderr), done
    done = subprocess.run(old.command("--help"), capture_output=True, text=True)
    assert done.returncode == 0 and "--rollback" in done.stdout
    code, said = old.upgrade("--resume", config=False)
    assert code == 0 and "no upgrade was interrupted" in said
    code, said = old.upgrade("--rollback", config=False)
    assert code == 1 and "no upgrade that could be taken back" in said
    assert "No upgrade was made" in old.upgrade("--status", config=False)[1]


# ---- What fails afterwards: the release of before is back

def goes_back(site, package, *words):
    writer = Writer(site)
    code, said = site.to(package)
    assert code == 1, said
    for word in (*words, "Putting 1 back", "1 is installed and serves"):
        assert word in said, f"'{word}' is not in: {said}"
    assert is_old(site), said
    assert writer.end() > 0
    assert site.status()["journal"][-1]["end"] == "rolled back"


def test_daemon_that_does_not_start(old):
    goes_back(old, old.package("2.dead", REFUSES_TO_START), "the daemon does not stay")


def test_answers_that_differ(old):
    """A release in which a plugin has lost its operations, and that predicts otherwise: here the bytes of a model change under it, and release 1
    puts them right."""
    other = json.dumps(model_json(["a", "b"], [tree(0, 0.5, -1.0, 2.00001)])).encode()
    blobs = [path for path in (old.state / "blobs").rglob("*") if path.is_file() and b"gbtree" in path.read_bytes()]
    assert len(blobs) == 1
    right = blobs[0].read_bytes()
    (old.folder / "other").write_bytes(other)
    (old.folder / "right").write_bytes(right)
    wrong = ('#!/bin/sh\ncase " $* " in *" --check "* | *" --migrations "*) ;; '
             f'*) rm -f "${{0%/sbin/*}}/lib/purlin/plugins/drift.so"; cp "{old.folder}/other" "{blobs[0]}" ;; esac\n@REAL@\n')
    back = f'#!/bin/sh\ncp "{old.folder}/right" "{blobs[0]}"\n@REAL@\n'
    old.system("service", "stop", "purlin")
    old.system("dpkg", "--install", str(old.package("1.right", back)))
    old.system("service", "start", "purlin")
    old.wait_ready()
    code, said = old.to(old.package("2.wrong", wrong))
    for words in ("drift.", "answered 200 before and answers 404", f"the model '{old.endpoint}' version 1", "1.right is installed and serves"):
        assert words in said, f"'{words}' is not in: {said}"
    assert code == 1 and old.installed() == {"purlin": "1.right"} and serves(old)


def test_full_disk_in_the_middle(old):
    old.fault("full 2")
    goes_back(old, old.package("2"), "No space left on device")


def test_way_back_that_is_barred(old):
    """Nothing is pretended: what is left says what to do, and that does it."""
    old.fault("full 1")
    code, said = old.to(old.package("2.dead", REFUSES_TO_START))
    assert code == 1 and "This is not over" in said and "purlin upgrade --rollback" in said, said
    code, said = old.to(old.package("2"))
    assert code == 1 and "--resume" in said, said
    assert old.status()["state"] == "interrupted"
    old.fault()
    code, said = old.upgrade("--rollback", config=False)
    assert code == 0 and is_old(old), said


# ---- Killed

def resume(site):
    return site.upgrade("--resume", config=False)


def test_killed_at_every_step(old):
    """One upgrade, killed at each step in turn; each time it goes on."""
    writer = Writer(old)
    running = old.begin("--to", old.package("2"), "--without-backup", *old.copies())
    killed = []
    for step in ("check", "keep", "remember", "install", "restart", "compare"):
        if old.kill_at(running, step, "begun"):
            killed.append(step)
        assert old.journal(), f"it was over before {step}"
        running = old.begin("--resume", config=False)
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 0 and old.installed() == {"purlin": "2"} and serves(old), said
    assert len(killed) >= 5, killed
    assert writer.end() > 0


def test_killed_on_the_way_back(old):
    running = old.begin("--to", old.package("2.dead", REFUSES_TO_START), "--without-backup", *old.copies())
    for step in ("restart", "back", "back-restart", "back-compare"):
        assert old.kill_at(running, step, "begun"), step
        running = old.begin("--resume", config=False)
    said, _ = running.communicate(timeout=120)
    assert is_old(old) and old.status()["journal"][-1]["end"] == "rolled back", said


def test_killed_with_a_package_manager_at_work(old):
    """That goes on by itself; the command is told where it stands by what is installed."""
    old.fault("kill 2")
    running = old.begin("--to", old.package("2"), "--without-backup", *old.copies())
    running.communicate(timeout=120)
    assert running.returncode == -signal.SIGKILL
    code, said = resume(old)
    assert code == 0 and old.installed() == {"purlin": "2"} and serves(old), said


@full
def test_killed_and_taken_back(old):
    for step, installed in (("remember", "1"), ("restart", "1")):
        running = old.begin("--to", old.package("2"), "--without-backup", *old.copies())
        assert old.kill_at(running, step, "begun")
        code, said = old.upgrade("--rollback", config=False)
        assert code == 0 and old.installed() == {"purlin": installed} and is_old(old), said


def test_two_at_once(old):
    running = old.begin("--to", old.package("2"), "--without-backup", *old.copies())
    wait_until(lambda: old.journal() or running.poll() is not None, 60, "nothing begun")
    code, said = old.to(old.package("2"))
    assert code == 1 and "another upgrade is under way" in said, said
    running.kill()
    running.communicate(timeout=60)
    code, said = old.upgrade("--rollback", config=False)
    assert code == 0 and is_old(old), said


def test_damaged_journal(old):
    """A line that was not written whole counts for nothing; one of a form that nobody here knows is not guessed at."""
    running = old.begin("--to", old.package("2"), "--without-backup", *old.copies())
    assert old.kill_at(running, "keep", "begun")
    path = old.folder / "upgrade" / "journal"
    text = path.read_bytes().split(b"\0")[0]
    path.write_bytes(text.replace(b'"format":1', b'"format":2'))
    code, said = old.upgrade("--resume", config=False)
    assert code == 1 and "a form that this one does not know" in said, said
    path.write_bytes(text + b'{"step":"install","is":"do')
    code, said = old.upgrade("--rollback", config=False)
    assert code == 0 and "Nothing had been changed" in said and is_old(old), said
    assert old.status()["journal"][-1]["end"] == "unchanged"
