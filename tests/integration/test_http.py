"""HTTP as bytes on a socket, against the real daemon."""
import hashlib
import json
import re
import signal
import time

import pytest

from daemon import staged, unique, wait_until


class Wire:
    """A socket on which requests are written by hand and answers are read one by one."""

    def __init__(self, server, timeout=15):
        self.socket = server.socket(timeout)
        self.waiting = b""
        self.authorization = f"Authorization: Bearer {server.token}\r\n".encode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, line, headers=b"", body=b""):
        self.send(line + b" HTTP/1.1\r\nHost: x\r\n" + self.authorization + headers + b"\r\n" + body)

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise EOFError
        self.waiting += got

    def take(self, size):
        while len(self.waiting) < size:
            self.more()
        got, self.waiting = self.waiting[:size], self.waiting[size:]
        return got

    def until(self, mark):
        while mark not in self.waiting:
            self.more()
        return self.take(self.waiting.index(mark) + len(mark))

    def answer(self, head=False):
        """Status, headers by small name, body."""
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines[1:-2]:
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        status = int(status)
        if head or status in (204, 304) or status < 200:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.take(size)
                assert self.take(2) == b"\r\n"
            assert self.take(2) == b"\r\n"
            return status, headers, body
        return status, headers, self.take(int(headers["content-length"]))

    def closed(self):
        """Whether the server ends the connection now, with nothing more on it."""
        try:
            while True:
                self.more()
        except (EOFError, ConnectionResetError):
            return not self.waiting


@pytest.fixture
def wire(server):
    with Wire(server) as made:
        yield made


def chunked(body, size):
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def dataset(server):
    """A dataset of 300 KB, larger than any buffer: its path and bytes."""
    name = unique("range")
    body = b"number\n" + b"".join(b"%d\n" % number for number in range(50000))
    client = server.client()
    assert client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"}).status in (200, 201)
    client.close()
    return f"/api/v1/datasets/{name}/versions/1/content".encode(), body


def test_pipelined_requests_are_answered_in_order(wire):
    names = [f"nobody-{number}" for number in range(200)]
    wire.send(b"".join(b"GET /api/v1/models/%s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (name.encode(), wire.authorization) for name in names))
    for name in names:
        status, _, body = wire.answer()
        assert status == 404 and f"'{name}'" in json.loads(body)["detail"]


def test_pipelined_bodies_do_not_run_into_each_other(wire):
    name = unique("pipe").encode()
    body = b'{"name":"%s"}' % name
    for _ in range(3):
        wire.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body), body)
        wire.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", chunked(body, 3))
    assert [wire.answer()[0] for _ in range(6)] == [201, 409, 409, 409, 409, 409]


def test_request_byte_by_byte(wire):
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":
        wire.send(bytes([byte]))
        time.sleep(0.002)
    assert wire.answer()[0] == 200


@pytest.mark.parametrize("size", [1, 7, 4096, 65536, 1 << 20])
def test_chunked_upload(wire, client, size):
    name = unique("chunks")
    body = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(300 if size == 1 else 40000))
    wire.request(b"POST /api/v1/datasets/%s/versions" % name.encode(), b"Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n", chunked(body, size))
    status, _, answer = wire.answer()
    assert status in (200, 201) and json.loads(answer)["sha256"] == hashlib.sha256(body).hexdigest()
    assert client.get(f"/api/v1/datasets/{name}/versions/1/content").body == body


def test_upload_that_breaks_off_leaves_nothing(server, client):
    name = unique("broken")
    blobs = server.state / "blobs"
    with Wire(server) as wire:
        wire.request(b"POST /api/v1/datasets/%s/versions" % name.encode(), b"Content-Type: text/csv\r\nContent-Length: 1000000\r\n", b"a,b\n1,2\n" * 1000)
        wait_until(lambda: staged(blobs), 5, "nothing is staged")
    wait_until(lambda: not staged(blobs), 10, "the staging file stays")
    assert client.get(f"/api/v1/datasets/{name}/versions/0").status == 404


RANGES = [("bytes=0-0", 0, 1), ("bytes=0-99", 0, 100), ("bytes=100000-", 100000, None), ("bytes=-10", -10, None), ("bytes=65535-65536", 65535, 65537),
          ("bytes=0-99999999", 0, None)]


@pytest.mark.parametrize("asked, first, end", RANGES)
def test_range(wire, dataset, asked, first, end):
    path, body = dataset
    wire.request(b"GET " + path, f"Range: {asked}\r\n".encode())
    status, headers, got = wire.answer()
    wanted = body[first:end]
    assert status == 206 and got == wanted
    start = first if first >= 0 else len(body) + first
    assert headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(body)}"


@pytest.mark.parametrize("asked", ["bytes=400000-", "bytes=-0", "bytes=999999999-9999999999"])
def test_range_beyond_the_end(wire, dataset, asked):
    path, body = dataset
    wire.request(b"GET " + path, f"Range: {asked}\r\n".encode())
    status, headers, _ = wire.answer()
    assert status == 416 and headers["content-range"] == f"bytes */{len(body)}"
    wire.request(b"GET /healthz")
    assert wire.answer()[0] == 200


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=", "bytes=1-2,4-5", "bytes=-"])
def test_range_of_another_kind_is_the_whole(wire, dataset, asked):
    path, body = dataset
    wire.request(b"GET " + path, f"Range: {asked}\r\n".encode())
    status, _, got = wire.answer()
    assert status == 200 and got == body


def test_if_range(wire, dataset):
    path, body = dataset
    wire.request(b"GET " + path)
    etag = wire.answer()[1]["etag"]
    assert etag == f'"{hashlib.sha256(body).hexdigest()}"'
    for condition, status, length in ((etag, 206, 5), ('"another"', 200, len(body)), ("W/" + etag, 200, len(body)), ("Sat, 01 Jan 2026 00:00:00 GMT", 200, len(body))):
        wire.request(b"GET " + path, f"Range: bytes=0-4\r\nIf-Range: {condition}\r\n".encode())
        got = wire.answer()
        assert (got[0], len(got[2])) == (status, length), condition


def test_head_has_the_headers_and_no_body(wire, dataset):
    path, body = dataset
    wire.request(b"HEAD " + path)
    status, headers, _ = wire.answer(head=True)
    assert status == 200 and int(headers["content-length"]) == len(body)
    wire.request(b"GET /healthz")
    assert wire.answer()[2] == b'{"status":"ok"}', "nothing of the body was in between"


def test_expect_continue(wire):
    body = b'{"name":"%s"}' % unique("expect").encode()
    wire.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n" % len(body))
    assert wire.answer()[0] == 100
    wire.send(body)
    assert wire.answer()[0] == 201


def test_expect_of_what_is_refused_gets_no_continue(wire):
    wire.send(b"POST /api/v1/models HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
    assert wire.answer()[0] == 401


@pytest.mark.parametrize("method, path, allowed", [(b"DELETE", b"/api/v1/models", {"GET", "HEAD", "POST"}), (b"PUT", b"/healthz", {"GET", "HEAD"}),
                                                   (b"GET", b"/api/v1/op/registry.list_models", {"POST"})])
def test_method_that_is_not_allowed(wire, method, path, allowed):
    wire.request(method + b" " + path)
    status, headers, body = wire.answer()
    assert status == 405 and set(re.split(r", *", headers["allow"])) - {"OPTIONS"} == allowed
    assert json.loads(body)["type"] == "urn:purlin:problem:not-allowed"


@pytest.mark.parametrize("path", [b"/nowhere", b"/api/v1/", b"/api/v1/models/a/b/c/d", b"//", b"/api/v1/models/"])
def test_path_that_is_not_there(wire, path):
    wire.request(b"GET " + path)
    status, headers, _ = wire.answer()
    assert status == 404 and headers["content-type"] == "application/problem+json"


def test_connection_goes_on_after_errors(wire):
    for _ in range(20):
        wire.request(b"GET /nowhere")
        assert wire.answer()[0] == 404
    wire.request(b"GET /healthz", b"Connection: close\r\n")
    status, headers, _ = wire.answer()
    assert status == 200 and headers["connection"] == "close" and wire.closed()


def test_http_1_0_ends_the_connection(wire):
    wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert wire.until(b"\r\n").split()[1] == b"200"
    wire.until(b'{"status":"ok"}')
    assert wire.closed()


HOST = b"Host: x\r\n"
BAD = {
    "no request": (b"hello\r\n\r\n", 400), "line feeds only": (b"GET / HTTP/1.1\nHost: x\n\n", 400), "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400), "an unknown version": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "an unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 501), "a folded header": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400), "an empty name": (b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", 400),
    "a NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: \0\r\n\r\n", 400), "dots": (b"GET /api/../healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "escaped dots": (b"GET /%2e%2e/x HTTP/1.1\r\n" + HOST + b"\r\n", 400), "a broken escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an escaped NUL": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400), "a fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "both lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    "a negative length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "a signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\nx", 400),
    "an unknown coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "an empty coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \r\nContent-Length: 1\r\n\r\nx", 400),
    "another expectation": (b"POST / HTTP/1.1\r\n" + HOST + b"Expect: cake\r\nContent-Length: 1\r\n\r\nx", 417),
    "a long address": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a long header": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 40000 + b"\r\n\r\n", 431),
    "a header without end": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 100000, 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 200 + b"\r\n", 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_request_is_refused_and_the_connection_closed(server, wire, client, what):
    data, expected = BAD[what]
    wire.send(data)
    status, headers, body = wire.answer()
    problem = json.loads(body)
    assert status == expected and problem["status"] == expected and headers["connection"] == "close"
    assert wire.closed()
    assert client.get("/healthz").status == 200


@pytest.mark.parametrize("chunks", [b"x\r\n", b"-1\r\n", b"5\r\nhelloXX", b"ffffffffffffffffff\r\n", b"5;" + b"e" * 20000 + b"\r\nhello\r\n0\r\n\r\n",
                                    b"0\r\nContent-Length: 5\r\n\r\n"])
def test_bad_chunks_are_refused(server, wire, client, chunks):
    wire.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", chunks)
    status, headers, _ = wire.answer()
    assert 400 <= status < 500
    assert wire.closed()
    assert client.get("/healthz").status == 200


def test_body_that_is_too_large(wire):
    wire.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nContent-Length: 99999999999\r\n", b"{")
    assert wire.answer()[0] == 413


def test_slow_reader_stops_nobody(server, client, dataset):
    """It asks for a lot and reads nothing: others are served, and then it still gets every byte."""
    path, body = dataset
    with Wire(server, 30) as slow:
        for _ in range(30):
            slow.request(b"GET " + path)
        for _ in range(50):
            started = time.monotonic()
            assert client.get("/api/v1/models?limit=1").status == 200
            assert time.monotonic() - started < 5
        for _ in range(30):
            assert slow.answer()[2] == body


def test_many_idle_connections(server, client):
    idle = [server.socket() for _ in range(500)]
    try:
        assert client.get("/healthz").status == 200
        for one in idle[::50]:
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        for one in idle:
            one.close()


# ---- draining


def test_request_in_flight_is_answered_when_the_server_stops(own_server):
    body = b'{"name":"in-flight"}'
    with Wire(own_server) as busy, Wire(own_server) as idle:
        idle.request(b"GET /healthz")
        idle.answer()
        busy.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body), body[:5])
        time.sleep(0.3)
        own_server.process.send_signal(signal.SIGTERM)
        assert idle.closed(), "an idle connection ends when nobody asks on it"
        time.sleep(0.3)
        busy.send(body[5:])
        status, headers, _ = busy.answer()
        assert status == 201 and headers["connection"] == "close" and busy.closed()
    assert own_server.process.wait(15) == 0
    wait_until(lambda: not own_server.left(), 3, f"left running: {own_server.left()}")
    own_server.start()
    client = own_server.client()
    assert client.get("/api/v1/models/in-flight").status == 200
    client.close()
    own_server.stop()


def test_download_and_stream_do_not_keep_a_stopping_server(own_server):
    with Wire(own_server) as stream:
        stream.request(b"GET /api/v1/events")
        stream.until(b"\r\n\r\n")
        started = time.monotonic()
        own_server.stop()
        assert time.monotonic() - started < 9, "a stream of events waited for the end of the grace period"


def test_new_connections_are_refused_while_it_drains(own_server):
    body = b'{"name":"late"}'
    with Wire(own_server) as busy:
        busy.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body), body[:5])
        time.sleep(0.2)
        own_server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError):
            with own_server.socket(2) as late:
                late.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                if not late.recv(10):
                    raise ConnectionResetError
        busy.send(body[5:])
        assert busy.answer()[0] == 201
    assert own_server.process.wait(15) == 0


def test_drain_has_an_end(new_daemon):
    daemon = new_daemon(configuration="server { drain_seconds = 1 }\n")
    with Wire(daemon) as stuck:
        stuck.request(b"POST /api/v1/models", b"Content-Type: application/json\r\nContent-Length: 100\r\n", b"{")
        time.sleep(0.2)
        started = time.monotonic()
        daemon.stop()
        assert time.monotonic() - started < 8


def test_a_header_without_a_value_hides_no_other(client):
    for name in ("X-Empty", "Idempotency-Key", "Accept"):
        for value in ("", " ", "\t "):
            answer = client.get("/api/v1/access/whoami", headers={name: value})
            assert answer.status == 200, (name, value, answer)
