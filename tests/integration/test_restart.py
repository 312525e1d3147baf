"""A restart loses nothing: the listening sockets are kept by systemd, clients wait in their queues, and whoever is connected is told when to go."""
import http.client
import pathlib
import random
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from daemon import Threads, free_port, wait_until
from systemd import Systemd


@pytest.fixture
def systemd(scratch):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="s", dir=scratch))
    made = Systemd(folder / "notify")
    yield made
    made.close()
    shutil.rmtree(folder)


class Caller:
    """Calls without pause or with short ones, on a connection of its own, and tries nothing twice: an error is a request lost."""

    def __init__(self, daemon, number, fresh, over):
        self.daemon, self.number, self.fresh, self.over = daemon, number, fresh, over
        self.made, self.errors, self.longest, self.closes = [], [], 0.0, 0
        self.random = random.Random(number)

    def run(self):
        connection = None
        while not self.over.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=60)
            elif connection.sock and select.select([connection.sock], [], [], 0)[0]:
                connection.close()  # it ended while nothing was asked; clients look before they ask
            name = f"model-{self.number}-{len(self.made)}"
            began = time.monotonic()
            try:
                connection.request("POST", "/api/v1/models", f'{{"name":"{name}"}}',
                                   {"Authorization": f"Bearer {self.daemon.token}", "Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(f"{name}: {error!r}")
                connection.close()
                connection = None
                continue
            self.longest = max(self.longest, time.monotonic() - began)
            if answer.status != 201:
                self.errors.append(f"{name}: {answer.status} {body[:200]!r}")
            self.made.append(name)
            self.closes += answer.headers["Connection"] == "close"
            if self.fresh:
                connection.close()
                connection = None
            time.sleep(self.random.choice([0, 0, 0.01, 0.1]))


def test_no_request_is_lost_while_it_is_restarted(new_daemon, systemd):
    daemon = systemd.start(new_daemon(start=False, configuration="server { loops = 2 }\n"))
    assert systemd.names() == ["stored-http"]
    kept, port, over = systemd.kept("stored-http"), daemon.port, threading.Event()
    callers = [Caller(daemon, number, fresh=number % 3 == 0, over=over) for number in range(9)]
    threads = Threads(*[caller.run for caller in callers])
    times = []
    for _ in range(2):
        time.sleep(0.7)
        times.append(systemd.restart(daemon))
        assert daemon.port == port and systemd.kept("stored-http") == kept
    time.sleep(0.5)
    over.set()
    threads.join()
    made = [name for caller in callers for name in caller.made]
    lost = [error for caller in callers for error in caller.errors]
    longest = max(caller.longest for caller in callers)
    print(f"restarts took {times[0]:.1f} s and {times[1]:.1f} s; of {len(made)} requests none was lost, the longest took {longest:.1f} s")
    assert not lost, lost
    assert longest > 0.3, "nobody met the restart"
    assert sum(caller.closes for caller in callers if not caller.fresh) >= 6, "connections are closed without a word"
    rows = daemon.sql("SELECT name FROM registry_models WHERE name LIKE 'model-%'")
    assert sorted(name for name, in rows) == sorted(made)
    assert systemd.told("STOPPING=1") and any("EXTEND_TIMEOUT_USEC=" in text for _, text in systemd.heard)
    daemon.stop()


def health(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def test_clients_wait_while_a_killed_daemon_comes_back(new_daemon, systemd):
    daemon = systemd.start(new_daemon(start=False))
    port = daemon.port
    daemon.kill()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as early:
        early.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        systemd.start(daemon)
        assert daemon.port == port
        assert early.recv(100).startswith(b"HTTP/1.1 200"), "it was answered before the daemon was ready"
    daemon.stop()


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return False
    except ConnectionRefusedError:
        return True


def test_a_socket_at_another_address_is_closed_before_the_new_one_opens(new_daemon, systemd):
    first, second = free_port(), free_port()

    def configure(address, port):
        (daemon.folder / "purlin.lua").write_text(f'server {{ address = "{address}", port = {port} }}\n')

    daemon = new_daemon(start=False, configuration="", arguments=["--port", str(first)])
    daemon.command = daemon.command[:-2]
    configure("127.0.0.1", first)
    systemd.start(daemon)
    kept = systemd.kept("stored-http")
    daemon.stop()
    assert not refused(first), "systemd keeps it"
    configure("127.0.0.1", second)
    systemd.start(daemon)
    assert refused(first) and health(second) == 200
    assert len(systemd.kept("stored-http")) == 1 and systemd.kept("stored-http") != kept
    daemon.stop()
    configure("localhost", second)  # another word for the same
    kept = systemd.kept("stored-http")
    systemd.start(daemon, wait=False)
    wait_until(lambda: systemd.told("READY=1")[2:], 60, daemon.log_text())
    assert systemd.kept("stored-http") == kept and health(second) == 200
    daemon.stop()
    configure("0.0.0.0", second)  # which cannot be opened while the old one is there
    systemd.start(daemon, wait=False)
    wait_until(lambda: systemd.told("READY=1")[3:], 60, daemon.log_text())
    assert systemd.kept("stored-http") != kept and health(second) == 200
    daemon.stop()


def test_several_sockets_each_have_their_use(new_daemon, systemd, scratch):
    certificate, key, port = scratch / "restart.pem", scratch / "restart.key", free_port()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
    secure = f'tls {{ certificate = "{certificate}", key = "{key}", redirect_port = {port} }}\n'
    daemon = new_daemon(start=False, configuration=secure)
    with socket.create_server(("127.0.0.1", 0)) as strange:
        systemd.keep("stored-next-year", strange)  # of a newer version, before somebody went back to this one
        systemd.start(daemon)
    assert systemd.names() == ["stored-http", "stored-redirect"]
    both = systemd.kept("stored-http") + systemd.kept("stored-redirect")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    for _ in range(2):
        connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, timeout=30, context=trust)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/docs")
        assert connection.getresponse().status in (301, 308)
        connection.close()
        systemd.restart(daemon)
        assert systemd.kept("stored-http") + systemd.kept("stored-redirect") == both
    secured = daemon.port
    daemon.stop()
    (daemon.folder / "purlin.lua").write_text("")
    systemd.start(daemon)
    assert refused(port) and systemd.names() == ["stored-http"], "the port of redirects is open although nobody wants it"
    assert daemon.port == secured and health(secured) == 200
    daemon.stop()


def test_a_socket_of_a_unit_is_taken_as_it_is_and_not_stored(new_daemon, systemd):
    daemon = new_daemon(start=False, arguments=["--port", "1"])
    with socket.create_server(("127.0.0.1", 0)) as passed:
        systemd.keep("http", passed)
        port = passed.getsockname()[1]
    systemd.start(daemon)
    assert daemon.port == port and systemd.names() == ["http"]
    systemd.restart(daemon)
    assert daemon.port == port and systemd.names() == ["http"]
    daemon.stop()

