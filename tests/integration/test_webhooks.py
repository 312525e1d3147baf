"""Webhooks: told of what was committed, signed, again until they have heard, and never inside a network without a grant."""
import base64
import hashlib
import hmac
import http.server
import json
import subprocess
import threading

import pytest

from daemon import BUILD, Client, unique, wait_until

API = "/api/2.0/mlflow/webhooks"
SECRET = "a secret of receivers"
ALL = [f"{prefix}.{action}" for prefix, actions in {
    "registered_model": "created", "model_version": "created", "model_version_tag": "set deleted", "model_version_alias": "created deleted", "prompt": "created",
    "prompt_version": "created", "prompt_tag": "set deleted", "prompt_version_tag": "set deleted", "prompt_alias": "created deleted"}.items() for action in actions.split()]


class Receiver:
    """Listens on the machine itself and keeps what comes; answers with these statuses, the last for ever."""

    def __init__(self, *statuses, address="127.0.0.1", port=0):
        self.came, self.statuses = [], list(statuses) or [200]
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.came.append((dict(self.headers), body, self.path))
                status = outer.statuses.pop(0) if len(outer.statuses) > 1 else outer.statuses[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"heard")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((address, port), Handler)
        self.port = self.server.server_port
        self.url = f"http://{address}:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self, name):
        """(entity.action, data) of what came about a model."""
        bodies = [json.loads(body) for _, body, _ in list(self.came)]
        return [(f"{b['entity']}.{b['action']}", b["data"]) for b in bodies if b["data"]["name"] == name]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def hook(client, url, events=None, **more):
    answer = client.post("/api/v1/webhooks", {"name": "test", "url": url, "events": events or ALL, **more})
    assert answer.status == 201, answer
    return answer.json["id"]


@pytest.fixture
def hooks(client):
    """Hooks that a test makes are gone when it ends."""
    made = []

    def make(*arguments, **more):
        made.append(hook(client, *arguments, **more))
        return made[-1]

    yield make
    for one in made:
        client.delete(f"/api/v1/webhooks/{one}")


def test_what_happens_is_told(client, hooks, receiver):
    one = hooks(receiver.url, secret=SECRET)
    name = unique("m")
    client.post("/api/v1/models", {"name": name, "description": "d", "tags": [{"key": "a\"b", "value": "ä\n"}]})
    client.post(f"/api/v1/models/{name}/registrations", {"source": "s3://b/x", "tags": [{"key": "k", "value": "v"}]})
    client.put(f"/api/v1/models/{name}/tags", {"key": "of", "value": "models are not told"})
    client.put(f"/api/v1/models/{name}/versions/1/tags", {"key": "t", "value": "1"})
    client.delete(f"/api/v1/models/{name}/versions/1/tags?key=t")
    client.put(f"/api/v1/models/{name}/aliases/best", {"version": 1})
    client.delete(f"/api/v1/models/{name}/aliases/best")
    wait_until(lambda: len(receiver.told(name)) >= 6, 20, "not told")
    told = dict(receiver.told(name))
    version = {"name": name, "version": "1"}
    assert told == {
        "registered_model.created": {"name": name, "tags": {"a\"b": "ä\n"}, "description": "d"},
        "model_version.created": {**version, "source": "s3://b/x", "run_id": None, "tags": {"k": "v"}, "description": None},
        "model_version_tag.set": {**version, "key": "t", "value": "1"}, "model_version_tag.deleted": {**version, "key": "t"},
        "model_version_alias.created": {**version, "alias": "best"}, "model_version_alias.deleted": {"name": name, "alias": "best"}}
    for headers, body, _ in receiver.came:
        signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.".encode() + body
        right = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        assert headers["X-MLflow-Signature"] == f"v1,{right}" and headers["Content-Type"] == "application/json"
        assert set(json.loads(body)) == {"entity", "action", "timestamp", "data"}
    wait_until(lambda: {d["state"] for d in client.get(f"/api/v1/webhooks/{one}/deliveries").json["deliveries"]} == {"delivered"}, 10, "not noted")


def test_prompts_are_told_as_such(client, hooks, receiver):
    hooks(receiver.url)
    name, prompt = unique("p"), [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    client.post("/api/v1/models", {"name": name, "tags": prompt})
    text = {"key": "mlflow.prompt.text", "value": "Hello {{x}}"}
    client.post(f"/api/v1/models/{name}/registrations", {"source": "dummy-source", "tags": prompt + [text, {"key": "k", "value": "v"}]})
    client.put(f"/api/v1/models/{name}/tags", {"key": "of", "value": "prompts are"})
    client.put(f"/api/v1/models/{name}/aliases/best", {"version": 1})
    wait_until(lambda: len(receiver.told(name)) >= 4, 20, "not told")
    assert dict(receiver.told(name)) == {
        "prompt.created": {"name": name, "tags": {}, "description": None},
        "prompt_version.created": {"name": name, "version": "1", "template": "Hello {{x}}", "tags": {"k": "v"}, "description": None},
        "prompt_tag.set": {"name": name, "key": "of", "value": "prompts are"},
        "prompt_alias.created": {"name": name, "alias": "best", "version": "1"}}
    assert not any("X-MLflow-Signature" in headers for headers, _, _ in receiver.came)


def test_who_does_not_hear_is_told_again(client, hooks):
    receiver = Receiver(500, 404, 200)
    one = hooks(receiver.url, ["registered_model.created"])
    name = unique("m")
    client.post("/api/v1/models", {"name": name})
    client.post(f"/api/v1/models/{name}/registrations", {"source": "s3://b/x"})  # of which it did not want to hear
    wait_until(lambda: len(receiver.came) == 3, 40, "not tried again")
    assert len({headers["X-MLflow-Delivery-Id"] for headers, _, _ in receiver.came}) == 1

    def done():
        deliveries = client.get(f"/api/v1/webhooks/{one}/deliveries").json["deliveries"]
        return len(deliveries) == 1 and (deliveries[0]["state"], deliveries[0]["attempts"], deliveries[0]["answered"]) == ("delivered", 3, 200)

    wait_until(done, 10, "not noted")
    receiver.close()


def test_redirects_are_not_followed_and_disabled_ones_hear_nothing(client, hooks):
    receiver = Receiver(302)
    one, off = hooks(receiver.url), hooks(receiver.url + "/off", status="disabled")
    name = unique("m")
    client.post("/api/v1/models", {"name": name})
    wait_until(lambda: last_delivery(client, one).get("answered") == 302, 20, "not told")
    assert {path for _, _, path in receiver.came} == {"/hook"} and last_delivery(client, one)["state"] == "waiting"
    assert client.post(f"/api/v1/webhooks/{one}/test", {}).json == {"success": False, "response_status": 302, "response_body": "heard"}
    assert client.get(f"/api/v1/webhooks/{off}/deliveries").json["deliveries"] == []
    assert client.call("PATCH", f"/api/v1/webhooks/{one}", {"status": "disabled"}).json["status"] == "disabled"
    receiver.close()


def test_secrets_are_never_told(server, client, hooks, receiver):
    one = hooks(receiver.url, secret=SECRET)
    answers = [client.get(f"/api/v1/webhooks/{one}"), client.get("/api/v1/webhooks"), client.get(f"{API}/{one}"),
               client.call("PATCH", f"/api/v1/webhooks/{one}", {"secret": SECRET}), client.get("/api/v1/audit/entries?limit=20&operation=webhooks.create")]
    assert all(a.status == 200 and SECRET.encode() not in a.body for a in answers)
    assert SECRET.encode().hex().upper() not in str(server.sql("SELECT HEX(sealed) FROM webhooks_hooks"))
    client.call("PATCH", f"/api/v1/webhooks/{one}", {"secret": ""})
    assert client.get(f"/api/v1/webhooks/{one}").json["is_signed"] is False


def test_nobody_elsewhere_sees_them(server, client, hooks, receiver):
    one, tokens = hooks(receiver.url, secret=SECRET), {"owner": server.token_for(unique("elsewhere")), "reader": server.token_for("default", ("models:write",))}
    calls = [("GET", "", None), ("PATCH", "", {"description": "theirs"}), ("DELETE", "", None), ("POST", "/test", {}), ("GET", "/deliveries", None)]
    for who, status in (("owner", 404), ("reader", 403)):
        stranger = Client(client.connection.port, tokens[who])
        for method, rest, body in calls:
            for address in [f"/api/v1/webhooks/{one}{rest}"] + ([f"{API}/{one}{rest}"] if rest != "/deliveries" else []):
                assert stranger.call(method, address, body).status == status, (who, method, address)
        listed = stranger.get("/api/v1/webhooks")
        assert listed.json == {"webhooks": []} if who == "owner" else listed.status == 403
        stranger.post("/api/v1/models", {"name": unique("m")})
        stranger.close()
    name = unique("m")
    client.post("/api/v1/models", {"name": name})
    wait_until(lambda: receiver.told(name), 20, "not told")
    told = {json.loads(body)["data"]["name"] for _, body, _ in receiver.came}
    assert name in told and receiver.told(name) == [("registered_model.created", {"name": name, "tags": {}, "description": None})]
    assert client.get(f"/api/v1/webhooks/{one}").json["description"] is None


@pytest.mark.parametrize("wrong", [
    {"url": "ftp://x/"}, {"url": "file:///etc/passwd"}, {"url": "http://"}, {"url": "https:///x"}, {"url": "http://a@b/"}, {"url": "http://x/\r\nX: y"}, {"url": ""},
    {"url": "http://x/" + "y" * 2048}, {"events": []}, {"events": ["model.created"]}, {"events": ["registered_model.created, model_version.created"]},
    {"name": ""}, {"name": "-x"}, {"name": "x" * 64}, {"secret": "x" * 1001}, {"status": "on"}])
def test_webhooks_that_are_none(client, wrong):
    answer = client.post("/api/v1/webhooks", {"name": "x", "url": "https://example.org/", "events": ["prompt.created"], **wrong})
    assert answer.status == 400, answer


RESOLVER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "moves.test" is at the address that a file holds now; all else is as libc says. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
  char address[64] = "";
  if (!node || strcmp(node, "moves.test")) return next(node, service, hints, result);
  FILE *file = fopen(getenv("MOVES_TO"), "r");
  if (!file || fscanf(file, "%63s", address) != 1) return EAI_FAIL;
  fclose(file);
  return next(address, service, hints, result);
}
"""


@pytest.fixture
def moves(scratch, monkeypatch):
    """Sets the address of moves.test, for daemons that are started in this test."""
    if "asan" in str(BUILD):
        pytest.skip("a sanitizer wants to be the first library")
    source, library, file = scratch / "resolver.c", scratch / "resolver.so", scratch / "moves"
    source.write_text(RESOLVER)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("MOVES_TO", str(file))
    return lambda address: (file.with_suffix(".new").write_text(address), file.with_suffix(".new").rename(file))


def last_delivery(client, hook_id):
    return (client.get(f"/api/v1/webhooks/{hook_id}/deliveries").json["deliveries"] or [{"state": "none", "answered": None}])[0]


def test_nothing_inside_hears_of_anything_without_a_grant(new_daemon, moves):
    """Judged by the address when the connection is opened: a name that leads inside is no way in, whenever it began to."""
    moves("127.0.0.2")
    daemon = new_daemon(configuration='outbound { allow = { "127.0.0.2" } }\n')
    client, inside = daemon.client(), Receiver(200)
    outside = Receiver(200, address="127.0.0.2", port=inside.port)
    urls = [inside.url.replace("127.0.0.1", host) for host in ("localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0")] + ["http://169.254.169.254/x"]
    made, moving = [hook(client, url) for url in urls], hook(client, inside.url.replace("127.0.0.1", "moves.test"))
    client.post("/api/v1/models", {"name": "m"})

    def given_up(hooks):
        states = [client.get(f"/api/v1/webhooks/{one}/deliveries").json["deliveries"] for one in hooks]
        return all(s and s[0]["state"] == "failed" and s[0]["attempts"] == 1 for s in states)

    wait_until(lambda: given_up(made), 30, "not given up")
    wait_until(lambda: last_delivery(client, moving)["state"] == "delivered", 30, "not delivered where it may be")
    for one in made:
        tried = client.post(f"/api/v1/webhooks/{one}/test", {}).json
        assert tried["success"] is False and "does not call" in tried["error_message"]
    assert len(outside.came) == 1
    client.close()
    daemon.stop()  # answers of name servers are kept for a minute
    moves("127.0.0.1")  # as a name server of the attacker's says, after it was asked once
    client = daemon.start().client()
    client.post("/api/v1/models", {"name": "n"})
    wait_until(lambda: given_up([moving]), 30, "not given up")
    assert "does not call" in client.post(f"/api/v1/webhooks/{moving}/test", {}).json["error_message"]
    assert inside.came == [] and len(outside.came) == 1
    for one in (inside, outside):
        one.close()
    client.close()


def test_what_was_committed_is_told_after_a_crash(own_server):
    """Killed between the commit and the delivery: before it was tried, and between two attempts."""
    receiver = Receiver(503)
    client = own_server.client()
    hook(client, receiver.url, ["registered_model.created"], secret=SECRET)
    client.post("/api/v1/models", {"name": "tried"})
    wait_until(lambda: receiver.told("tried"), 20, "not tried")
    for i in range(5):
        assert client.post("/api/v1/models", {"name": f"at-once-{i}"}).status == 201
    own_server.kill()
    own_server.end()
    names = {"tried", *(f"at-once-{i}" for i in range(5))}
    before = len(receiver.came)
    receiver.statuses[:] = [200]
    own_server.start()
    wait_until(lambda: {json.loads(body)["data"]["name"] for _, body, _ in list(receiver.came)[before:]} == names, 60, "not told")
    assert all("X-MLflow-Signature" in headers for headers, _, _ in receiver.came)
    client = own_server.client()
    one = client.get("/api/v1/webhooks").json["webhooks"][0]["id"]

    def noted():  # one whose attempt was cut off is tried again when its lease has run out
        states = [d["state"] for d in client.get(f"/api/v1/webhooks/{one}/deliveries").json["deliveries"]]
        return len(states) >= 6 and set(states) == {"delivered"}

    wait_until(noted, 90, "not noted")
    client.close()
    receiver.close()


def test_pages_of_hooks(client, hooks, receiver):
    made = [hooks(receiver.url) for _ in range(3)]
    first = client.get(f"{API}?max_results=2").json
    second = client.get(f"{API}?max_results=2&page_token={first['next_page_token']}").json
    ids = [w["webhook_id"] for page in (first, second) for w in page["webhooks"]]
    assert ids[:3] == made[::-1] and len(set(ids)) == len(ids)
    for wrong in ("page_token=x", "page_token=-1", "page_token=1x", "max_results=0", "max_results=1001"):
        assert client.get(f"{API}?{wrong}").status == 400, wrong


def test_as_clients_of_mlflow_know_them(client, receiver):
    body = {"name": "hook.1", "url": receiver.url, "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}, {"entity": "PROMPT_ALIAS", "action": "DELETED"}],
            "secret": "s"}
    made = client.post(API, body).json["webhook"]
    assert made["events"] == body["events"] and made["status"] == "ACTIVE" and made["creation_timestamp"] > 1.7e12 and "secret" not in made
    path = f"{API}/{made['webhook_id']}"
    assert client.get(path).json["webhook"] == made
    assert made in client.get(API).json["webhooks"]
    changed = client.call("PATCH", path, {"status": "DISABLED", "description": "d"}).json["webhook"]
    assert (changed["status"], changed["description"], changed["events"]) == ("DISABLED", "d", made["events"])
    assert client.post(f"{path}/test", {}).json == {"result": {"success": True, "response_status": 200, "response_body": "heard"}}
    assert client.post(f"{path}/test", {"event": {"entity": "PROMPT", "action": "CREATED"}}).json["result"]["success"]
    assert [json.loads(b)["entity"] for _, b, _ in receiver.came] == ["registered_model", "prompt"]
    for wrong in ({"events": [{"entity": "PROMPT", "action": "EXCEEDED"}]}, {"events": []}, {"url": "ftp://x"}, {"name": "a b"}):
        answer = client.post(API, {**body, **wrong})
        assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    assert client.delete(path).json == {}
    gone = client.get(path)
    assert gone.status == 404 and gone.json == {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"Webhook with ID {made['webhook_id']} not found."}
