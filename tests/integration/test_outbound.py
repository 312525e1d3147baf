"""Where the server calls: scripts and mail reach what is inside only where the operator has granted it."""
import re
import socket
import threading

import pytest

from daemon import wait_until
from test_start import refuses

CALLS = """
purlin.route("POST /call", { permission = "public" }, function(request)
  local fine, answer = pcall(purlin.http.get, { url = request:json().url, retries = 2 })
  return { body = { answer = fine and answer.status or tostring(answer) } }
end)
purlin.route("POST /fail", { permission = "public" }, function(request)
  return { body = { answer = purlin.http.get{ url = request:json().url }.status } }
end)
"""


class Inside:
    """Something that listens on the machine itself, and counts who comes."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.came = self.listener.getsockname()[1], 0
        threading.Thread(target=self.serve, args=(answer,), daemon=True).start()

    def serve(self, answer):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.came += 1
            with one:
                one.sendall(answer)
                one.settimeout(2)
                try:
                    one.recv(10000)
                except OSError:
                    pass


@pytest.fixture
def inside():
    made = Inside(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    yield made
    made.listener.close()


def with_calls(new_daemon, configuration):
    daemon = new_daemon(start=False, configuration=configuration)
    (daemon.policies / "calls.lua").write_text(CALLS)
    return daemon.start()


def call(daemon, url, path="/call"):
    client = daemon.client()
    try:
        return client.post(path, {"url": url}, token=False)
    finally:
        client.close()


def forbidden(daemon):
    client = daemon.client()
    try:
        return sum(float(n) for n in re.findall(r"purlin_client_forbidden_total\{[^}]*\} (\S+)", client.get("/metrics").body.decode()))
    finally:
        client.close()


def test_nothing_inside_is_called_without_a_grant(new_daemon, inside):
    daemon = with_calls(new_daemon, "outbound {}\n")
    for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"):
        said = call(daemon, f"http://{host}:{inside.port}/").json["answer"]
        assert "is in a network that this server does not call" in said and "outbound { allow = {" in said, (host, said)
    assert call(daemon, "http://169.254.169.254/latest/meta-data/").status == 200
    assert inside.came == 0
    assert forbidden(daemon) == 10  # once each, localhost by two addresses: none was tried again
    refused = call(daemon, f"http://localhost:{inside.port}/", "/fail")
    assert refused.status == 403 and f"localhost:{inside.port}" in refused.json["detail"] and "127.0.0.1" not in refused.body.decode()
    wait_until(lambda: any("127.0.0.1 (loopback)" in record["message"] for record in daemon.records("warning")), 5, "no warning")


def test_what_is_granted_is_called(new_daemon, inside):
    daemon = with_calls(new_daemon, f'outbound {{ allow = {{ "localhost:{inside.port}" }} }}\n')
    assert call(daemon, f"http://localhost:{inside.port}/").json["answer"] == 204
    assert "does not call" in call(daemon, f"http://127.0.0.1:{inside.port}/").json["answer"]  # that name, and no other way
    assert "does not call" in call(daemon, f"http://localhost:{daemon.port}/healthz").json["answer"]
    assert inside.came == 1


def test_a_developers_machine_may_call_itself(new_daemon, inside):
    daemon = with_calls(new_daemon, None)
    assert call(daemon, f"http://127.0.0.1:{inside.port}/").json["answer"] == 204
    assert "does not call" in call(daemon, "http://10.255.255.1/").json["answer"]


def test_mail_goes_inside_with_a_grant_only(new_daemon):
    sink = Inside(b"421 not now\r\n")
    accounts = f'plugin "accounts" {{ smtp_url = "smtp://127.0.0.1:{sink.port}", smtp_starttls = false, mail_from = "purlin@example.org" }}\n'
    for granted in (False, True):
        daemon = new_daemon(configuration=accounts + ("outbound {}\n" if not granted else f'outbound {{ allow = {{ "127.0.0.1:{sink.port}" }} }}\n'))
        client = daemon.client()
        assert client.op("accounts.create_user", {"name": "ann", "password": "a rather good password", "email": "ann@example.org"}).status == 201
        assert client.op("accounts.forgot_password", {"name": "ann"}, token=False).status == 200
        expected = "would grant it" if not granted else "did not take a letter"
        wait_until(lambda: expected in str(daemon.sql("SELECT error FROM purlin_jobs")), 15, f"not {expected}")
        assert (sink.came > 0) == granted
        client.close()
        daemon.stop()
    sink.listener.close()


@pytest.mark.parametrize("wrong", ["10.0.0.0/40", "127.1", "https://x.example", "x.example:0", ""])
def test_a_grant_that_is_none_is_told(new_daemon, wrong):
    refuses(new_daemon(start=False, configuration=f'\noutbound {{ allow = {{ "{wrong}" }} }}\n'), "purlin.lua:2: outbound: allow: ",
            f"'{wrong}' is no address, network or name")
