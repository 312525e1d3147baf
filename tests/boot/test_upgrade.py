"""`purlin upgrade` with Debian's own dpkg and apt, in a root, where the command starts the daemon by hand. What needs no real packages is in
tests/integration/test_upgrade.py."""
import json
import pathlib
import time

import pytest

import job
import repository
import root as roots
from conftest import DIST
from server import Server

pytestmark = pytest.mark.full
JOURNAL = "/var/lib/purlin-upgrade/journal"
DEAD = '#!/bin/sh\ncase " $* " in *" --check "* | *" --migrations "*) exec "$0.real" "$@" ;; esac\necho "this release was never meant to run" >&2\nexit 1\n'


def tilde():
    return "~" + repository.version(DIST).rpartition("~")[2]


@pytest.fixture(scope="module")
def dead(work):
    """A release whose daemon starts only to be looked at."""
    def change(name, tree):
        if name == "purlin":
            daemon = tree / "usr" / "sbin" / "purlind"
            daemon.rename(daemon.with_name("purlind.real"))
            daemon.write_text(DEAD)
            daemon.chmod(0o755)

    return repository.rewrite(DIST, work / "dead", "9.1.0-1" + tilde(), change)


@pytest.fixture(scope="module")
def place(installed, work, following, dead):
    """A root in which dist serves, and which has the packages of the releases to come in folders."""
    root = installed.root.copy(work / "upgrade")
    for name, folder in (("following", following), ("dead", dead)):
        repository.publish(folder, root.path(f"/srv/{name}"))
    with root:
        server = Server(root)
        server.start()
        yield server
        root.run("pkill -TERM -x purlind", check=False)
        root.run("service mariadb stop", check=False)
    root.remove()


def version(root):
    return root.run("dpkg-query -W -f '${db:Status-Abbrev}${Version}' purlin").output


def upgrade(root, arguments, check=True):
    return root.run(f"purlin upgrade {arguments}", check)


def intact(server, installed):
    roots.wait_until(job.Client(server.root, "", 5).ready, 60, "not ready")
    job.intact(server.client(), installed.found)


def test_there_and_back(place, installed, figure):
    root, before = place.root, repository.version(DIST)
    with open(root.path("/etc/purlin/purlin.lua"), "a") as conf:
        conf.write("\n-- ours\n")
    begun = time.monotonic()
    said = upgrade(root, "--to /srv/following --without-backup").output
    figure("upgrade_by_command_s", round(time.monotonic() - begun, 1))
    assert version(root) == "ii 9.0.0-1" + tilde() and "1 model say the same" in said, said
    intact(place, installed)
    assert root.read("/etc/purlin/purlin.lua").endswith("-- ours\n")
    said = upgrade(root, "--rollback").output
    assert version(root) == "ii " + before, said
    intact(place, installed)
    assert root.read("/etc/purlin/purlin.lua").endswith("-- ours\n")
    assert root.run("dpkg --audit").output == ""


def test_a_release_that_does_not_start_goes_again(place, installed, figure):
    root, before = place.root, repository.version(DIST)
    load = job.Load(root, place.client().token, "dead", 0.02)
    load.start()
    begun = time.monotonic()
    done = upgrade(root, "--to /srv/dead --without-backup", check=False)
    figure("upgrade_rolled_back_s", round(time.monotonic() - begun, 1))
    load.stop()
    assert done.code == 1 and "never meant to run" in done.output and "is installed and serves" in done.output, done
    assert version(root) == "ii " + before
    intact(place, installed)
    assert load.acknowledged and not job.missing(place.client(), load.acknowledged)


def kill_at(root, arguments, step):
    """Starts an upgrade and kills the command as soon as its journal says that the step has begun."""
    running = root.start(f"purlin upgrade {arguments}", "/var/log/upgrade.log")
    path = pathlib.Path(f"{root.folder}{JOURNAL}")
    end = time.monotonic() + 300
    while running.poll() is None and time.monotonic() < end:
        text = path.read_text(errors="replace") if path.exists() else ""
        if f'"step":"{step}","is":"begun"' in text:
            break
        time.sleep(0.005)
    root.run("pkill -KILL -x purlin", check=False)
    running.wait(60)


@pytest.mark.parametrize("step", ["install", "restart"])
def test_killed_it_goes_on(place, installed, step):
    root = place.root
    kill_at(root, "--to /srv/following --without-backup", step)
    assert root.path(JOURNAL).exists(), root.read("/var/log/upgrade.log")
    said = upgrade(root, "--resume").output
    assert version(root) == "ii 9.0.0-1" + tilde(), said
    intact(place, installed)
    upgrade(root, "--rollback")
    assert version(root) == "ii " + repository.version(DIST)
    assert root.run("dpkg --audit").output == ""


def test_what_apt_has(place, installed):
    root = place.root
    root.publish(root.path("/srv/following"))
    told = json.loads(upgrade(root, "--to apt --without-backup --json").output)
    assert told["outcome"] == "upgraded" and told["to"] == "9.0.0-1" + tilde(), told
    intact(place, installed)
    done = upgrade(root, "--to /srv/backwards", check=False)
    assert done.code == 1 and "/srv/backwards" in done.output, done
    repository.publish(DIST, root.path("/srv/backwards"))
    done = upgrade(root, "--to /srv/backwards", check=False)
    assert done.code == 1 and "is older than what is installed" in done.output, done
