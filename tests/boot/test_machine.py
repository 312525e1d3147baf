"""A machine that boots with the packages installed, systemd as its first process."""
import re

import pytest

import job
import machine as machines

SERVICE = "systemctl show --value --property={} purlin.service"


@pytest.fixture(scope="module")
def image(installed, work):
    root = installed.root.copy(work / "image-root")
    made = machines.Image(root, work / "image")
    root.remove()
    return made


@pytest.fixture(scope="module")
def machine(image, work, figure):
    """One that has booted; a test may cut it off and start it again."""
    made = machines.Machine(image, work / "machine")
    try:
        made.start()
        figure("boot_to_shell_s", round(made.boot_seconds, 1))
        figure("accelerated", "kvm" in " ".join(image.acceleration))
        yield made
    finally:
        made.cut()


def show(machine, name):
    return machine.run(SERVICE.format(name)).output.strip()


def client_of(machine):
    machine.wait_ready()
    return job.Client(machine, machine.run("cat /var/lib/purlin/admin.token").output.strip(), 60 * machines.SLOWNESS)


def serves(machine, found):
    """Active, notified, and everything of the main job is there."""
    client = client_of(machine)
    assert show(machine, "ActiveState") == "active" and show(machine, "SubState") == "running"
    job.intact(client, found)
    return client


def complaints(machine):
    """The errors in the journal of this boot. (Warnings of a database that is slow to answer are right where all of it is emulated.)"""
    said = machine.journal("--boot --priority=err --unit=purlin.service --unit=purlin-spawner.service").splitlines()
    return [line for line in said if not line.startswith("-- ")]


def test_the_service_is_up_after_a_boot(machine, installed, figure):
    serves(machine, installed.found)
    figure("boot_to_ready_s", round(float(machine.run("cut -d' ' -f1 /proc/uptime").output), 1))
    assert show(machine, "NRestarts") == "0" and show(machine, "Type") == "notify"
    assert not complaints(machine), complaints(machine)


def test_a_reload_keeps_the_process_and_a_broken_policy_the_old_one(machine, installed):
    before = show(machine, "MainPID")
    machine.run("systemctl reload purlin")
    machine.run("echo 'this is no Lua' > /etc/purlin/policies/broken.lua && systemctl reload purlin && sleep 2")
    said = machine.journal("--boot --unit=purlin.service --priority=err")
    assert "broken.lua" in said, said
    machine.run("rm /etc/purlin/policies/broken.lua && systemctl reload purlin")
    assert show(machine, "MainPID") == before
    serves(machine, installed.found)


def test_a_restart_under_load_loses_no_request(machine, installed, figure):
    client = serves(machine, installed.found)
    load = job.Load(machine, client.token, "restart", pause_s=0.02)
    load.start()
    machine.run("sleep 1; systemctl restart purlin; sleep 1")
    load.stop()
    assert not load.lost and not load.refused, (load.lost, load.refused)
    assert not job.missing(client, load.acknowledged) and len(load.acknowledged) > 2
    figure("restart_slowest_request_s", round(load.slowest_s, 2))
    figure("restart_requests_lost", len(load.lost))


def test_a_power_cut_under_load_loses_nothing_that_was_acknowledged(machine, installed, figure):
    client = serves(machine, installed.found)
    load = job.Load(machine, client.token, "power")
    load.start()
    machine.run("sleep 3")
    machine.cut()
    load.ended.set()
    load.join(60)
    machine.start()
    client = serves(machine, installed.found)
    assert len(load.acknowledged) > 2 and not job.missing(client, load.acknowledged)
    figure("power_cut_acknowledged", len(load.acknowledged))
    errors = [line for line in complaints(machine) if re.search(r"corrupt|damaged|lost", line, re.I)]
    assert not errors, errors
