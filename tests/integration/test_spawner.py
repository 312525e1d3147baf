"""The spawner as a unit of its own: trainings under it outlive daemons, daemons outlive it, and without it a daemon serves all the same."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from daemon import MARK, PURLIND, free_port, wait_until
from systemd import Systemd
from test_training_faults import ALLOW, alive, create_patient, end, log_of, no_directories, pid_of, upload, wait_state


class Spawner:
    def __init__(self, folder):
        self.folder, self.address = folder, str(folder / "spawner.sock")
        self.systemd, self.process = Systemd(folder / "notify"), None

    def start(self, mark=""):
        ready = len(self.systemd.told("READY=1"))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([str(PURLIND), "--spawner"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, MARK: mark, "PURLIN_SPAWNER": self.address, "NOTIFY_SOCKET": self.systemd.path})
        wait_until(lambda: len(self.systemd.told("READY=1")) > ready, 10, (self.folder / "log").read_text())
        return self

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(20)


@pytest.fixture
def spawner(scratch, monkeypatch):
    made = Spawner(pathlib.Path(tempfile.mkdtemp(prefix="p", dir=scratch)))
    monkeypatch.setenv("PURLIN_SPAWNER", made.address)
    yield made
    if made.process and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.systemd.close()
    shutil.rmtree(made.folder)


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])


def test_trainings_outlive_daemons_and_daemons_outlive_the_spawner(new_daemon, spawner, tmp_path):
    server = new_daemon(start=False, configuration=ALLOW, arguments=("--port", str(free_port())))
    spawner.start(server.mark)
    server.start()
    client = server.client()
    upload(client)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    job, other = create_patient(client, first), create_patient(client, second)
    pid, pid_of_other = pid_of(server, job), pid_of(server, other)
    client.close()
    assert parent_of(pid) == spawner.process.pid and parent_of(pid_of_other) == spawner.process.pid
    for how in (signal.SIGTERM, signal.SIGKILL):
        end(server, how)
        assert alive(pid) and alive(pid_of_other)
        server.start()
    client = server.client()
    assert parent_of(pid) == spawner.process.pid
    first.touch()
    done = wait_state(client, job, "succeeded")
    assert done["attempt"] == 1 and log_of(client, job).count("is here") == 1

    # A child of the spawner that is killed is told of at once, with its signal, by the spawner that an earlier daemon knew.
    os.kill(pid_of_other, signal.SIGKILL)
    wait_until(lambda: "killed by signal 9" in log_of(client, other), 20, log_of(client, other))
    pid_of_other = pid_of(server, other, 2)

    # The spawner is restarted: the training goes on, and the daemon finds the next spawner.
    assert spawner.end() == 0
    assert alive(pid_of_other), "a restart of the spawner ended a training"
    wait_until(lambda: "the spawner has gone" in server.log_text(), 5, server.log_text())
    spawner.start(server.mark)
    wait_until(lambda: "the spawner is back" in server.log_text(), 5, server.log_text())
    third_job = create_patient(client, third)
    assert parent_of(pid_of(server, third_job)) == spawner.process.pid
    second.touch()
    third.touch()
    assert wait_state(client, other, "succeeded")["attempt"] == 2
    assert wait_state(client, third_job, "succeeded")["attempt"] == 1
    wait_until(lambda: no_directories(server), 10, "directories stay")
    client.close()
    assert spawner.end() == 0
    server.stop()
    assert not os.path.exists(spawner.address)


def test_a_daemon_serves_without_the_spawner_that_it_was_told_of(new_daemon, spawner):
    server = new_daemon()
    assert f"warning: no spawner answers at {spawner.address}" in server.log_text()
    client = server.client()
    assert client.get("/readyz").status == 200
    client.close()
    server.stop()


def test_two_daemons_do_not_share_a_spawner(new_daemon, spawner):
    spawner.start()
    first, second = new_daemon(), new_daemon(start=False)
    second.launch()
    assert second.process.wait(40) == 1
    assert f"serves another purlind (pid {first.process.pid})" in second.log_text()
    first.stop()
    second.start()  # one after the other they do
    second.stop()
    assert spawner.end() == 0


def test_check_needs_no_spawner(new_daemon, spawner):
    """It runs beside a daemon that serves."""
    spawner.start()
    server = new_daemon()
    done = subprocess.run([*server.command, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "the configuration is valid" in done.stdout, done
    server.stop()
    assert spawner.end() == 0
