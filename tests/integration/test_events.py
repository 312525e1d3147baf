"""Events as server-sent events: what a stream owes to its client whatever happens behind it."""
import json
import subprocess
import time

import pytest

from daemon import wait_until

EMIT = """
purlin.route("POST /emit", { permission = "events:write" }, function(request)
  local asked = request:json()
  for i = 1, asked.count do purlin.events.emit("rule.noise", "key", { n = i, noise = ("x"):rep(asked.bytes) }) end
  return "done"
end)
"""


class Stream:
    """Reads one stream of events; `rest` is what has come and is not a whole event yet."""

    def __init__(self, server, path, token=None, seconds=10):
        self.socket, self.rest = server.socket(timeout=seconds), b""
        self.socket.sendall(f"GET {path} HTTP/1.0\r\nAuthorization: Bearer {token or server.token}\r\n\r\n".encode())
        head = self._until(b"\r\n\r\n")
        assert b" 200 OK" in head, head

    def _until(self, mark):
        while mark not in self.rest:
            came = self.socket.recv(65536)
            assert came, f"the stream has ended after {self.rest[-200:]!r}"
            self.rest += came
        part, self.rest = self.rest.split(mark, 1)
        return part

    def event(self):
        """The next event that has data, as a dictionary of its lines."""
        while True:
            lines = [line.split(": ", 1) for line in self._until(b"\n\n").decode().split("\n") if ": " in line]
            fields = dict(lines)
            if "data" in fields:
                return fields

    def close(self):
        self.socket.close()


@pytest.fixture
def noisy(new_daemon):
    server = new_daemon(start=False)
    (server.policies / "emit.lua").write_text(EMIT)
    return server.start()


def emit(server, count, size=10):
    client = server.client()
    assert client.post("/emit", {"count": count, "bytes": size}).status == 200
    wait_until(lambda: len(client.get("/api/v1/events/log?limit=1000").json["events"]) >= count, 10, "events have numbers")
    client.close()


def sql(server, statement):
    subprocess.run(["mariadb", "--no-defaults", "-uroot", "-S", str(server.state / "mariadb" / "mariadb.sock"), "purlin", "-e", statement],
                   check=True)


def test_a_backlog_larger_than_a_stream_may_hold_arrives(noisy):
    emit(noisy, 12, 200_000)
    stream = Stream(noisy, "/api/v1/events?after=0")
    assert [json.loads(stream.event()["data"])["payload"]["n"] for _ in range(12)] == list(range(1, 13))
    stream.close()


def test_a_stream_goes_on_after_the_database_failed(noisy):
    emit(noisy, 1)
    sql(noisy, "RENAME TABLE events_log TO hidden")
    stream = Stream(noisy, "/api/v1/events?after=0")
    time.sleep(0.5)
    sql(noisy, "RENAME TABLE hidden TO events_log")
    assert stream.event()["event"] == "rule.noise"  # nothing new has happened meanwhile
    stream.close()


def test_whoever_comes_back_misses_nothing(noisy):
    emit(noisy, 3)
    stream = Stream(noisy, "/api/v1/events")
    assert stream._until(b"\n\n") == b"id: 3"
    stream.close()
