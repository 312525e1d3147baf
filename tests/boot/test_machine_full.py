"""What a machine does in hours, in an hour: installed by apt while it runs, socket activation, a watchdog, crashes, upgrades under load, wrong clocks.

Emulated, half an hour on a free core. A host that lets a machine stand still for minutes makes requests time out, which then are lost by it."""
import time

import pytest

import job
import machine as machines
import repository
import root as roots
from test_machine import client_of, complaints, serves, show

pytestmark = pytest.mark.full

CONF = "/etc/purlin/purlin.lua"


# ---- From nothing, by apt --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bare(tar, work, following):
    """A machine with nothing but Debian, and a repository that has the packages of dist; /srv/following has the next release."""
    from conftest import DIST
    root = roots.Root.unpack(tar, work / "bare-root")
    with root:
        root.publish(DIST)
    repository.publish(following, root.path("/srv/following"))
    image = machines.Image(root, work / "bare-image")
    root.remove()
    made = machines.Machine(image, work / "bare")
    try:
        yield made.start()
    finally:
        made.cut()


@pytest.fixture(scope="module")
def fresh(bare, figure):
    """The same after `apt-get install purlin`, which asked nothing; what it printed is in `said`."""
    begun = time.monotonic()
    bare.said = bare.run("apt-get --yes --quiet install purlin", seconds=900).output
    figure("machine_install_with_database_s", round(time.monotonic() - begun, 1))
    return bare


def test_one_command_and_it_serves(fresh, figure):
    begun = time.monotonic()
    client = client_of(fresh)
    figure("machine_install_to_ready_s", round(time.monotonic() - begun, 1))
    fresh.found = job.play(client)
    assert "/var/lib/purlin/admin.token" in fresh.said, fresh.said
    assert show(fresh, "UnitFileState") == "enabled" and show(fresh, "NRestarts") == "0"
    assert not complaints(fresh), complaints(fresh)


def test_doctor_finds_it_well(fresh):
    done = fresh.run("purlin doctor", check=False, seconds=300)
    problems = [line for line in done.output.splitlines() if "problem" in line.split()[:1]]
    assert done.code == 0 and not problems, done


def test_it_is_as_closed_as_it_is_said(fresh):
    said = fresh.run("systemd-analyze security --no-pager purlin.service | tail -n 1", seconds=300).output
    assert float(said.split(": ")[1].split()[0]) <= 1.6, said


@pytest.fixture
def shipped_watchdog(fresh):
    fresh.run(f"mv {machines.PATIENCE} /root/ && systemctl daemon-reload && systemctl restart purlin")
    yield
    fresh.run(f"mv /root/patience.conf {machines.PATIENCE} && systemctl daemon-reload && systemctl restart purlin")


@pytest.mark.usefixtures("shipped_watchdog")
def test_a_watchdog_ends_a_daemon_that_hangs(fresh, figure):
    assert show(fresh, "WatchdogUSec") == "30s"
    restarts, begun = int(show(fresh, "NRestarts")), time.monotonic()
    fresh.run("kill -STOP $(systemctl show --value --property=MainPID purlin.service)")
    roots.wait_until(lambda: int(show(fresh, "NRestarts")) > restarts, 120 * machines.SLOWNESS, "no restart")
    serves(fresh, fresh.found)
    figure("watchdog_recovery_s", round(time.monotonic() - begun, 1))
    assert "watchdog" in fresh.journal("--boot --unit=purlin.service").lower()


def test_a_crash_refuses_no_connection(fresh):
    client = serves(fresh, fresh.found)
    load = job.Load(fresh, client.token, "crash", pause_s=0.02)
    load.start()
    fresh.run("sleep 2; kill -KILL $(systemctl show --value --property=MainPID purlin.service); sleep 2")
    client_of(fresh)
    load.stop()
    # The one that was under way had no answer; whoever came later waited for the next daemon.
    assert len(load.lost) <= 1 and not load.refused, (load.lost, load.refused)
    assert not job.missing(client, load.acknowledged)


def test_a_training_outlives_the_daemon(fresh):
    client = serves(fresh, fresh.found)
    started = job.start_training(client, "long", rounds=3000)
    roots.wait_until(lambda: client.op("training.get_job", job_id=started["id"])["state"] == "running", 60 * machines.SLOWNESS, "not running")
    trainer = fresh.run("pgrep -f purlin-runner | sort").output
    fresh.run("systemctl restart purlin")
    assert trainer and set(trainer.split()) & set(fresh.run("pgrep -f purlin-runner | sort", check=False).output.split()), trainer
    client = client_of(fresh)
    state = roots.wait_until(lambda: (now := client.op("training.get_job", job_id=started["id"]))["state"] not in ("queued", "running") and now,
                             600 * machines.SLOWNESS, "the training does not end")
    assert state["state"] == "succeeded" and state.get("attempt", 1) == 1, state


def test_an_upgrade_by_apt_under_load_loses_no_request(fresh, figure):
    client = serves(fresh, fresh.found)
    load = job.Load(fresh, client.token, "upgrade", pause_s=0.02)
    load.start()
    fresh.run("sed -i 's,/srv/purlin,/srv/following,' /etc/apt/sources.list.d/purlin.list && apt-get update --quiet -o Dir::Etc::sourcelist="
              "sources.list.d/purlin.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0")
    before = show(fresh, "MainPID")
    fresh.run("apt-get --yes --quiet upgrade", seconds=300)
    client_of(fresh)
    load.stop()
    assert show(fresh, "MainPID") != before
    assert not load.lost and not load.refused, (load.lost, load.refused)
    assert not job.missing(client, load.acknowledged)
    serves(fresh, fresh.found)
    figure("upgrade_requests", len(load.acknowledged))
    figure("upgrade_requests_lost", len(load.lost))
    figure("upgrade_slowest_request_s", round(load.slowest_s, 2))


def test_a_broken_configuration_does_not_end_the_service_at_an_upgrade(fresh):
    """apt installs what is in the repository again, which restarts: the daemon that runs goes on, and apt's output says what is wrong."""
    good = fresh.run(f"cat {CONF}").output
    fresh.run(f"echo 'server {{ port = }}' >> {CONF}")
    said = fresh.run("apt-get --yes --quiet install --reinstall -o Dpkg::Options::=--force-confold purlin", seconds=300).output
    assert f"{CONF}:{len(good.splitlines()) + 1}" in said, said
    serves(fresh, fresh.found)
    fresh.run(f"sed -i '$ d' {CONF} && purlind --check && systemctl restart purlin")
    serves(fresh, fresh.found)


def test_a_port_that_is_taken_is_named_and_taken_later(fresh):
    fresh.run("systemctl stop purlin; systemd-run --unit=squatter socat TCP-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr EXEC:true; sleep 1;"
              " systemctl start --no-block purlin; sleep 5")
    said = fresh.journal("--boot --unit=purlin.service --lines=20")
    assert "8080" in said, said
    told = fresh.run("purlin doctor", check=False, seconds=300).output
    assert "8080" in told and "socat" in told, told
    fresh.run("systemctl stop squatter")
    serves(fresh, fresh.found)  # by itself


def test_a_full_disk_is_named_and_nothing_is_lost(fresh):
    client = serves(fresh, fresh.found)
    fresh.run("fallocate -l $(($(df --output=avail -B1 / | tail -n 1) - 3000000)) /var/tmp/filler; dd if=/dev/zero of=/var/tmp/more bs=64k || true")
    try:
        status, _ = client.send_once("POST", "/api/v1/datasets/full/versions", job.TABLE * 200, media="text/csv")
        assert status >= 500, status
        said = fresh.run("purlin doctor", check=False, seconds=300).output
        assert "disk" in said, said
    finally:
        fresh.run("rm -f /var/tmp/filler /var/tmp/more")
    serves(fresh, fresh.found)
    client.call("POST", "/api/v1/datasets/full/versions", job.TABLE, media="text/csv")


def test_the_socket_starts_the_service(fresh):
    fresh.run("systemctl disable --now purlin.service && systemctl enable --now purlin.socket")
    assert show(fresh, "ActiveState") == "inactive"
    serves(fresh, fresh.found)
    fresh.run("systemctl disable --now purlin.socket && systemctl enable --now purlin.service")
    serves(fresh, fresh.found)


@pytest.mark.parametrize("clock", ["2033-03-03T03:03:03", "2021-01-01T00:00:00"])
def test_years_ahead_and_years_behind(fresh, clock):
    fresh.shut_down()
    fresh.start(clock=clock)
    # systemd itself goes back no further than to when it was made.
    fresh.run(f"date --set={clock} && systemctl restart mariadb purlin", seconds=300)
    assert fresh.run("date +%Y").output.strip() == clock[:4]
    serves(fresh, fresh.found)
    if clock < "2026":
        assert "before this release was made" in fresh.run("purlin doctor", check=False, seconds=300).output


def test_at_the_right_time_again(fresh):
    fresh.shut_down()
    fresh.start()
    serves(fresh, fresh.found)
    assert not complaints(fresh), complaints(fresh)
