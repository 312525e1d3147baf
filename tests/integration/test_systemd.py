"""What systemd gives and gets: readiness, the watchdog, and a listening socket that it keeps while the daemon is away."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from daemon import MARK, Daemon, wait_until


class Told:
    """What the daemon told, each with its time."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
            except OSError:
                return

    def times(self, word, since=0):
        return [at for at, text in list(self.heard) if at >= since and word in text.split("\n")]

    def gap(self, since):
        """The longest time without a feeding of the watchdog, until now."""
        times = [since, *self.times("WATCHDOG=1", since), time.monotonic()]
        return max(later - earlier for earlier, later in zip(times, times[1:]))


@pytest.fixture
def told(scratch, monkeypatch):
    made = Told(scratch)
    monkeypatch.setenv("NOTIFY_SOCKET", made.path)
    yield made
    made.socket.close()
    os.unlink(made.path)


def test_readiness_reload_and_stop_are_told(new_daemon, told):
    daemon = new_daemon()
    wait_until(lambda: told.times("READY=1"), 5, "not told of the start")
    assert len(told.heard) == 2 and told.times("FDSTORE=1"), f"its children tell, too: {told.heard}"
    assert not told.times("WATCHDOG=1"), "nobody asked for a watchdog"
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: told.times("RELOADING=1") and len(told.times("READY=1")) == 2, 5, "not told of the reload")
    reloading = next(text for _, text in told.heard if "RELOADING=1" in text)
    assert abs(int(reloading.split("MONOTONIC_USEC=")[1]) / 1e6 - time.monotonic()) < 10
    daemon.stop()
    assert told.times("STOPPING=1")


ENDLESS = 'purlin.route("GET /endless", { permission = "public" }, function() while true do end end)\n'


def test_the_watchdog_is_fed_only_while_every_loop_turns(new_daemon, told, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    daemon = new_daemon(start=False, configuration="server { loops = 2 }\n")
    (daemon.policies / "endless.lua").write_text(ENDLESS)
    daemon.start()
    since = time.monotonic()
    wait_until(lambda: len(told.times("WATCHDOG=1", since)) > 10, 10, "the watchdog starves")
    usual = told.gap(since)
    since = time.monotonic()
    clients = [daemon.client() for _ in range(2)]
    for client in clients:  # each on a loop of its own, which then hangs for as long as a script may
        assert client.get("/endless", token=None).status == 504
        client.close()
    assert told.gap(since) > max(0.35, usual), "it was fed although a loop hung"
    since = time.monotonic()
    wait_until(lambda: len(told.times("WATCHDOG=1", since)) > 3, 10, "it is not fed again")
    daemon.stop()


def test_no_watchdog_is_wound_up_before_it_is_ready(new_daemon, told, monkeypatch):
    """systemd's begins with the first feeding, also of a service that still starts. Such a one asks for time."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    daemon = new_daemon(configuration="server { loops = 1 }\n")
    wait_until(lambda: told.times("WATCHDOG=1"), 10, "it is not fed")
    ready = told.times("READY=1")[0]
    assert min(told.times("WATCHDOG=1")) > ready
    asked = [at for at, text in told.heard if text.startswith("EXTEND_TIMEOUT_USEC=")]
    assert asked and max(asked) < ready
    daemon.stop()


def test_a_watchdog_of_another_process_is_not_ours(new_daemon, told, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    daemon = new_daemon()
    time.sleep(0.5)
    assert told.times("READY=1") and not told.times("WATCHDOG=1")
    daemon.stop()


def passing(daemon, passed, count=1):
    """The daemon's command with a socket as systemd passes it: descriptor 3, and who it is for."""
    script = f'export LISTEN_FDS={count} LISTEN_PID=$$; exec "$@" 3<&{passed.fileno()}'
    return ["bash", "-c", script, "bash", *daemon.command]


def launch(daemon, passed):
    daemon.log_start = daemon.log.stat().st_size if daemon.log.exists() else 0
    with open(daemon.log, "ab") as log:
        daemon.process = subprocess.Popen(passing(daemon, passed), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          pass_fds=[passed.fileno()], env={**os.environ, MARK: daemon.mark}, start_new_session=True)


def ask(connection, daemon):
    connection.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while block := connection.recv(65536):
        answer += block
    return answer


def test_connections_wait_in_a_passed_socket_while_no_daemon_runs(new_daemon):
    daemon = new_daemon(start=False)
    with socket.create_server(("127.0.0.1", 0)) as passed:
        port = passed.getsockname()[1]
        for _ in range(2):
            early = socket.create_connection(("127.0.0.1", port), timeout=30)  # nobody accepts yet
            launch(daemon, passed)
            wait_until(lambda: daemon._ready_line() or daemon.process.poll() is not None, 40, f"not ready: {daemon.log_text()}")
            assert daemon._ready_line() == port, daemon.log_text()
            assert ask(early, daemon).startswith(b"HTTP/1.1 200")
            early.close()
            held = [pid for pid in daemon.left() if pid != daemon.process.pid and any(
                os.path.realpath(f"/proc/{pid}/fd/{name}") == os.path.realpath(f"/proc/{daemon.process.pid}/fd/3") for name in os.listdir(f"/proc/{pid}/fd"))]
            assert held == [], f"children hold the socket: {daemon.left()}"
            daemon.stop()


@pytest.mark.parametrize("kind, count, said", [("udp", 1, "no listening TCP socket"), ("closed", 1, "no listening TCP socket"), ("tcp", 2, "descriptor 4")])
def test_what_cannot_be_taken_over_is_refused(new_daemon, kind, count, said):
    daemon = new_daemon(start=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as passed:
        passed.bind(("127.0.0.1", 0))
        if kind == "tcp":
            passed.listen()
        done = subprocess.run(passing(daemon, passed, count), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                              pass_fds=[passed.fileno()], env={**os.environ, MARK: daemon.mark})
    assert done.returncode == 1 and said in done.stderr, done
    assert not daemon.left()
