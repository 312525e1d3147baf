"""What strangers learn of the server's state, and who reads more: a word for them, names and numbers for those who watch it."""
import os
import signal

from daemon import wait_until
from test_start import refuses

STRANGERS = 'server { monitors = { "192.0.2.1" } }\n'  # somebody else watches


def key(client, *permissions):
    answer = client.op("access.create_key", {"name": "prometheus", "permissions": list(permissions)})
    assert answer.status == 201, answer
    return answer.json["secret"]


def test_strangers_get_a_word(new_daemon):
    server = new_daemon(configuration=STRANGERS)
    client = server.client()
    watcher, other = key(client, "metrics:read"), server.token_for("elsewhere")
    bare = {"status": "ready", "checks": []}
    for token in (False, "purlin_wrong", key(client, "models:read"), other):
        answer = client.get("/readyz", token=token)
        assert (answer.status, answer.json, answer.headers["WWW-Authenticate"]) == (200, bare, None), token
        assert client.get("/healthz", token=token).json == {"status": "ok"}
    for token in (True, watcher):
        assert {"start", "database", "registry", "scripts"} <= {check["name"] for check in client.get("/readyz", token=token).json["checks"]}
        assert b"purlin_processes_running " in client.get("/metrics", token=token).body
    for token, status in ((False, 401), ("purlin_wrong", 401), (key(client, "models:read"), 403), (other, 403)):
        answer = client.get("/metrics", token=token)
        assert answer.status == status and b"purlin_processes" not in answer.body, (token, answer)
    assert "'default'" in client.get("/metrics", token=other).json["detail"]
    os.kill(server.mariadb(), signal.SIGKILL)
    wait_until(lambda: client.get("/readyz", token=False).status == 503, 10, "/readyz does not notice")
    for token in (False, True):
        assert client.get("/readyz", token=token).json == {"status": "not ready", "checks": []}
    wait_until(lambda: client.get("/metrics", token=False).status == 401, 5, "strangers are let in without a database")
    client.close()
    server.end()


def test_monitors_need_no_credential(new_daemon):
    server = new_daemon(configuration='server { monitors = { "127.0.0.1/32", "fd00::/8" }, trusted_proxies = { "127.0.0.1" } }\n')
    client = server.client()
    assert b"purlin_processes_running " in client.get("/metrics", token=False).body
    assert client.get("/readyz", token=False).json["checks"]
    by_proxy = {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}  # the proxy's word is the last; what stands before is anybody's
    assert client.get("/metrics", token=False, headers=by_proxy).status == 401
    assert client.get("/readyz", token=False, headers=by_proxy).json["checks"] == []
    assert client.get("/metrics", token=False, headers={"X-Forwarded-For": "fd00::17"}).status == 200
    client.close()
    server.stop()


def test_a_monitor_that_is_no_address_is_told(new_daemon):
    refuses(new_daemon(start=False, configuration='server { monitors = { "prometheus" } }\n'), "monitors: 'prometheus' is no address and no network",
            also_check=False)
