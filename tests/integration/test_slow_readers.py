"""Who reads slowly is served; who reads nothing is cut off, and leaves nothing in the kernel."""
import time

import pytest

from daemon import wait_until

TIMEOUT_S = 1.5


@pytest.fixture(scope="module")
def body():
    return b"a,b\n" + b"1,2\n" * 8_000_000


@pytest.fixture
def server(new_daemon, body):
    daemon = new_daemon(configuration=f"server {{ write_timeout_ms = {int(TIMEOUT_S * 1000)}, max_body_bytes = 100000000 }}\n")
    client = daemon.client()
    uploaded = client.post("/api/v1/datasets/big/versions", body, headers={"Content-Type": "text/csv"})
    assert uploaded.status in (200, 201), uploaded
    client.close()
    return daemon


def ask(server):
    socket = server.socket(timeout=30)
    socket.sendall(f"GET /api/v1/datasets/big/versions/1/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
    return socket


def in_kernel(server, port):
    """Whether the kernel still knows the server's end of the client's connection."""
    ends = [line.split()[1:3] for line in open("/proc/net/tcp").readlines()[1:]]
    return any(int(own[-4:], 16) == server.port and int(other[-4:], 16) == port for own, other in ends)


def test_a_client_that_takes_nothing_is_cut_off(server):
    socket = ask(server)
    port = socket.getsockname()[1]
    assert socket.recv(12) == b"HTTP/1.1 200"
    assert in_kernel(server, port)
    began = time.monotonic()
    wait_until(lambda: not in_kernel(server, port), 10, "it is still there")
    assert time.monotonic() - began > TIMEOUT_S - 0.5
    assert server.ready()
    socket.close()
    server.stop()


def test_a_client_that_pauses_gets_everything(server, body):
    socket = ask(server)
    got, began = 0, time.monotonic()
    head = b""
    while b"\r\n\r\n" not in head:
        head += socket.recv(1024)
    got = len(head.split(b"\r\n\r\n", 1)[1])
    while got < len(body):
        part = 0
        while part < 3_000_000 and got + part < len(body):
            block = socket.recv(1 << 20)
            assert block, f"cut off after {got + part} bytes"
            part += len(block)
        got += part
        time.sleep(TIMEOUT_S / 5)
    assert got == len(body) and time.monotonic() - began > TIMEOUT_S
    socket.close()
    server.stop()
