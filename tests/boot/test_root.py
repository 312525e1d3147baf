"""A life of the packages in a Debian root, as apt sees it: installed, played the main job, upgraded (conftest.py); then removed, installed
again, purged. The tests go on where the one before stopped."""
import pytest

import job
import repository
from conftest import DIST
from server import Server

CONF = "/etc/purlin/purlin.lua"
STATE = "/var/lib/purlin"
TROUBLE = ("dpkg: error", "dpkg: warning", "E: ", "W: ", "not found", "syntax error", "No such file", "failed")


def quiet(output):
    """What apt printed names no trouble. That no init was there to start anything is none."""
    said = [line for line in output.splitlines() if any(word in line for word in TROUBLE) and "invoke-rc.d" not in line]
    assert not said, said


@pytest.fixture(scope="module")
def life(installed, work):
    with installed.root.copy(work / "life") as root:
        yield root
    root.remove()


def test_the_installation_asks_nothing_and_names_what_is_left(installed):
    before, _, setup = installed.said.partition("Reading /etc/purlin/purlin.lua")
    quiet(before)
    # MariaDB came with it, but nothing has started it here.
    assert "-> systemctl start mariadb && purlin setup" in setup, installed.said
    assert f"{STATE}/admin.token" in installed.set_up, installed.set_up


def test_an_upgrade_is_quiet_too(installed):
    quiet(installed.said_upgrade)


def test_files_belong_to_whom_they_should(life):
    token = life.run(f"stat -c '%a %U:%G' {STATE}/admin.token {STATE} {CONF}").output.split("\n")
    assert token[:3] == ["600 purlin:purlin", "750 purlin:purlin", "644 root:root"], token
    # Nothing of a package is anybody's but root's, or may be written by others.
    packages = "dpkg -L purlin purlin-plugin-xgboost | grep / | sort -u | xargs -d '\\n' stat -c '%A %U %n' | grep -v '^l'"
    loose = [line for line in life.run(packages).output.splitlines() if line.split()[1] != "root" or line[8] == "w"]
    assert not loose, loose
    assert life.run("dpkg --verify purlin purlin-plugin-xgboost").output == ""


def test_the_version_is_that_of_dist(life):
    assert life.run("dpkg-query -W -f '${Version}' purlin").output == repository.version(DIST)


def test_removed_it_leaves_configuration_and_data(life):
    with open(life.path(CONF), "a") as conf:
        conf.write("\n-- ours\n")
    quiet(life.apt("remove purlin purlin-plugin-xgboost").output)
    assert life.state("purlin") == "deinstall ok config-files"
    assert life.read(CONF).endswith("-- ours\n") and life.path(f"{STATE}/admin.token").exists()
    assert not life.path("/usr/sbin/purlind").exists()


def test_installed_again_it_goes_on_as_before(life, installed):
    quiet(life.apt("install purlin").output)
    assert life.read(CONF).endswith("-- ours\n")
    with Server(life) as server:
        job.intact(server.client(), installed.found)


def test_purged_without_an_answer_it_keeps_the_data(life):
    said = life.apt("purge purlin purlin-plugin-xgboost").output
    quiet(said)
    assert "data is kept" in said and life.state("purlin") == ""
    assert life.path(STATE).exists() and not life.path("/etc/purlin").exists()


def test_purged_with_leave_nothing_is_left(life):
    life.apt("install purlin")
    server = Server(life)
    server.start_database()
    try:
        life.run("echo 'purlin purlin/purge-data boolean true' | debconf-set-selections")
        quiet(life.apt("purge purlin purlin-plugin-xgboost").output)
        left = life.run("find / -xdev -iname '*purlin*' -not -path '/proc/*' -not -path '/srv/purlin*' -not -path '/var/cache/apt/*'"
                        " -not -path '/var/lib/apt/*' -not -path '/etc/apt/*'").output.split()
        assert not left, left
        assert life.run("mariadb -N -e \"SHOW DATABASES LIKE 'purlin'; SELECT user FROM mysql.user WHERE user = 'purlin'\"").output == ""
    finally:
        server.stop()
