"""What goes wrong in the life of a package: each time somebody is told what it is, and the command that is named mends it.

One root for all of them: each test leaves it whole, as it found it."""
import pytest

import job
import repository
from conftest import DIST
from server import Server

pytestmark = pytest.mark.full

CONF = "/etc/purlin/purlin.lua"
PLUGINS = "$(dirname $(dpkg -L purlin | grep /registry.so))"


@pytest.fixture(scope="module")
def place(installed, work):
    with installed.root.copy(work / "bad-input") as root:
        yield root
    root.remove()


@pytest.fixture
def whole(place, installed):
    """The root; after the test the packages are configured, and the daemon starts and knows everything. A test that failed leaves it so, too."""
    good = place.read(CONF)
    yield place
    place.write(CONF, good)
    place.run(f"rm -f {CONF}.dpkg-*; umount {PLUGINS} 2> /dev/null; dpkg --force-confold --configure -a", check=False)
    assert place.state("purlin") == "install ok installed"
    assert place.run("dpkg --audit").output == ""
    with Server(place) as server:
        job.intact(server.client(), installed.found)


@pytest.fixture
def to_dist(place):
    """Afterwards the release is that of dist again."""
    yield
    place.apt(f"install --allow-downgrades -o Dpkg::Options::=--force-confold purlin={repository.version(DIST)}"
              f" purlin-plugin-xgboost={repository.version(DIST)}")


def refused_start(root, *words):
    """The daemon does not start, and says why."""
    server = Server(root)
    server.start_database()
    try:
        server.launch()
        assert server.wait_ended() != 0
        said = server.log()
        assert all(word in said for word in words), said
        return said
    finally:
        server.stop()


def test_a_broken_configuration_is_kept_and_named(whole, following, to_dist):
    good = whole.read(CONF)
    whole.write(CONF, good + "\nserver { port = }\n")
    whole.publish(following)
    whole.apt("upgrade -o Dpkg::Options::=--force-confold")
    line = len(good.splitlines()) + 2
    refused_start(whole, f"{CONF}:{line}")
    assert f"{CONF}:{line}" in whole.run("purlind --check", check=False).output
    whole.write(CONF, good)
    whole.run("purlind --check")  # which is what it said


def test_a_changed_configuration_is_kept(whole, following, to_dist):
    good = whole.read(CONF)
    whole.write(CONF, good + "\n-- ours\n")
    whole.publish(following)
    whole.apt("upgrade -o Dpkg::Options::=--force-confold")
    assert whole.read(CONF).endswith("-- ours\n")
    assert whole.read(CONF + ".dpkg-dist").endswith("-- of the next release\n")


def test_a_changed_configuration_and_nobody_to_ask(whole, following, to_dist):
    """dpkg asks, and has no answer: the package stays half configured, until somebody answers."""
    good = whole.read(CONF)
    whole.write(CONF, good + "\n-- ours\n")
    whole.publish(following)
    done = whole.apt("upgrade", check=False)
    assert done.code != 0 and "conffile prompt" in done.output, done
    assert "half-configured" in whole.state("purlin") or "unpacked" in whole.state("purlin")
    assert "dpkg --configure" in whole.run("dpkg --audit").output
    whole.run("dpkg --force-confold --configure --pending")
    assert whole.read(CONF).endswith("-- ours\n")


def test_a_disk_that_is_full_in_the_middle_of_an_upgrade(whole, installed, following, to_dist):
    """The plugins lie on a disk without room for a second copy: dpkg puts back what it had done, and the old release runs on."""
    whole.publish(following)
    size = int(whole.run(f"du -sk {PLUGINS} | cut -f1").output)
    whole.run(f"cp -a {PLUGINS} /tmp/plugins && mount -t tmpfs -o size={size + 200}k tmpfs {PLUGINS} && cp -a /tmp/plugins/. {PLUGINS}/")
    before = whole.run("dpkg-query -W -f '${Version}' purlin").output
    done = whole.apt("upgrade -o Dpkg::Options::=--force-confold", check=False)
    assert done.code != 0 and "No space left on device" in done.output, done
    assert whole.run("dpkg-query -W -f '${Version}' purlin").output == before
    changed = [line for line in whole.run("dpkg --verify purlin").output.splitlines() if " c " not in line]
    assert not changed, changed
    with Server(whole) as server:
        job.intact(server.client(), installed.found)
    whole.run(f"umount {PLUGINS}")
    whole.apt("install --fix-broken")
    whole.apt("upgrade -o Dpkg::Options::=--force-confold")


@pytest.mark.parametrize("when", ["+5y", "-5y"])
def test_a_clock_that_is_years_off(whole, installed, when):
    """Of the daemon and its commands, not of the database: it serves what it has, and doctor names the clock."""
    whole.apt("install libfaketime")
    preload = whole.run("dpkg -L libfaketime | grep libfaketimeMT").output.strip()
    faked = f"env LD_PRELOAD={preload} FAKETIME={when} FAKETIME_DONT_FAKE_MONOTONIC=1"
    with Server(whole).start(faked) as server:
        job.intact(server.client(), installed.found)
        said = whole.run(f"{faked} purlin doctor", check=False).output
        clock = [line for line in said.splitlines() if "clock" in line]
        assert clock and " ok " not in clock[0] and "timedatectl" in said, said


def test_a_downgrade(whole, previous, installed, to_dist):
    whole.publish(previous)
    version = repository.version(previous)
    refused = whole.apt(f"install purlin={version} purlin-plugin-xgboost={version}", check=False)
    assert refused.code != 0 and "--allow-downgrades" in refused.output, refused
    whole.apt(f"install --allow-downgrades purlin={version} purlin-plugin-xgboost={version}")
    with Server(whole) as server:
        job.intact(server.client(), installed.found)


def test_a_package_that_is_half_there(whole):
    """Unpacked and not configured, as after a power cut: dpkg says so, and what it names mends it."""
    whole.run("dpkg --unpack $(ls -t /srv/purlin/purlin_*.deb | head -n 1)")
    assert "dpkg --configure" in whole.run("dpkg --audit").output
    whole.run("dpkg --configure -a")


def test_a_removal_that_was_interrupted(whole, installed):
    """A prerm that fails keeps the package: half of it is never gone."""
    prerm = "/var/lib/dpkg/info/purlin.prerm"
    good = whole.read(prerm) if whole.path(prerm).exists() else None
    whole.write(prerm, "#!/bin/sh\necho 'cut off' >&2\nexit 1\n", 0o755)
    done = whole.apt("remove purlin", check=False)
    assert done.code != 0 and "cut off" in done.output
    if good is None:
        whole.path(prerm).unlink()
    else:
        whole.write(prerm, good, 0o755)
    whole.apt("install --reinstall purlin purlin-plugin-xgboost")
