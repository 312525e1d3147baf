"""The daemon of the sanitized build on a tour through every kind of call: it must end cleanly, and the sanitizers, the one for leaks
included, must have nothing to say."""
import http.client
import json
import os
import random
import signal

import pytest

import daemon
from daemon import Daemon, unique, wait_until

BUILD = (daemon.ROOT / os.environ.get("PURLIN_ASAN_BUILD", "build-asan")).resolve()
PURLIND, PLUGINS = BUILD / "bin" / "purlind", BUILD / "plugins"

pytestmark = pytest.mark.skipif(not PURLIND.exists(), reason=f"{PURLIND} is not there: './dev test' builds it")

SCRIPT = """
purlin.route("GET /hello/{name}", { permission = "public" }, function(request)
  local count = purlin.shared.incr("hello")
  return { body = { hello = request:parameter("name"), count = count, models = #purlin.db.query("SELECT name FROM registry_models") } }
end)
purlin.route("GET /wrong", { permission = "public" }, function() error("on purpose") end)
purlin.route("GET /who", { permission = "public", identity = "optional" }, function() return purlin.actor() or "nobody" end)
purlin.every(1, "tick", function(what)
  purlin.db.execute("UPDATE registry_models SET description = ? WHERE name = ?", what.name, "none of this name")
  purlin.shared.incr("ticks")
end)
purlin.route("GET /ticks", { permission = "public" }, function() return { body = { ticks = purlin.shared.get("ticks") } } end)
purlin.on("registry.version_created", function(event)
  purlin.log.info("heard %s", event.key)
  purlin.events.emit("rule.heard", event.key, { version = event.payload.version })
end)
"""


@pytest.fixture
def sanitized(scratch, template, monkeypatch, tmp_path):
    """A daemon of the sanitized build; what the sanitizers say of it and of its children goes to files of their own."""
    said = tmp_path / "said"
    said.mkdir()
    # Fibers leave their stacks in a way that this check cannot follow.
    monkeypatch.setenv("ASAN_OPTIONS", f"detect_stack_use_after_return=0:detect_leaks=1:log_path={said}/report")
    monkeypatch.setenv("UBSAN_OPTIONS", f"print_stacktrace=1:log_path={said}/report")
    folder = scratch / "sanitized"
    folder.mkdir()
    daemon.copy_state(template, folder)
    # The sanitizers' own memory is terabytes of addresses.
    made = Daemon(folder, plugins=PLUGINS, configuration='lua { writers = { "tour.lua" } }\nplugin "training" { memory_mb = 1000000000 }\n')
    made.command[0] = str(PURLIND)
    made.said = lambda: "".join(path.read_text(errors="replace") for path in sorted(said.iterdir()))
    yield made
    made.end()


def csv_of(rows):
    random.seed(7)
    lines = ["x,y,bought"]
    for _ in range(rows):
        x, y = random.random(), random.random()
        lines.append(f"{x:.4f},{y:.4f},{int(x > y)}")
    return ("\n".join(lines) + "\n").encode()


def stream_of_events(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {server.token}"})
    return connection, connection.getresponse()


def tour_of_operations(client):
    name = unique("model")
    assert client.post("/api/v1/models", {"name": name, "description": "café ☕"}).status == 201
    assert client.post("/api/v1/models", {"name": name}).status == 409
    assert client.op("registry.get_model", {"name": name}).status == 200
    assert client.op("registry.get_model", {"nome": name}).status == 400
    assert client.op("nobody.nothing").status == 404
    assert client.post("/api/v1/models", b"{", headers={"Content-Type": "application/json"}).status == 400
    assert client.get("/api/v1/models", token="purlin_wrong").status == 401
    assert client.get("/api/v1/models", token=None).status == 401
    experiment = unique("experiment")
    assert client.post("/api/v1/experiments", {"name": experiment}).status == 201
    run = client.post(f"/api/v1/experiments/{experiment}/runs", {"name": "first"}).json["id"]
    batch = {"metrics": [{"key": "loss", "value": 1 / (step + 1), "step": step} for step in range(50)], "tags": [{"key": "a", "value": "b"}]}
    assert client.post(f"/api/v1/runs/{run}/batch", batch).status == 200
    assert len(client.get(f"/api/v1/runs/{run}/metrics/loss").json["metrics"]) == 50
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/api/v1/plugins", "/api/v1/scripts", "/api/v1/jobs"):
        assert client.get(path).status == 200, path
    assert client.call("HEAD", "/docs").status == 200
    assert client.get("/nothing").status == 404
    assert client.delete("/healthz").status == 405


def tour_of_scripts(server, client):
    assert client.get("/hello/you").json["hello"] == "you"
    assert client.get("/wrong").status == 500
    script = server.policies / "tour.lua"
    for turn in range(3):  # routes come and go: routers are made anew
        script.write_text(SCRIPT + f'purlin.route("GET /turn{turn}", {{ permission = "public" }}, function() return "{turn}" end)\n')
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.get(f"/turn{turn}").status == 200, 10, "the new route is not there")
    (server.policies / "bad.lua").write_text("local x = = 1\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "bad.lua" in client.get("/api/v1/scripts").body.decode(), 10, "the bad script is not listed")
    assert client.get("/hello/again").status == 200
    assert client.get("/who").body == b"user:admin" and client.get("/who", token=None).body == b"nobody"
    wait_until(lambda: client.get("/ticks").json.get("ticks"), 10, "nothing comes round")


def tour_of_training(client):
    data, model = unique("data"), unique("model")
    uploaded = client.post(f"/api/v1/datasets/{data}/versions", csv_of(600), headers={"Content-Type": "text/csv"})
    assert uploaded.status in (200, 201), uploaded
    part = client.get(f"/api/v1/datasets/{data}/versions/1/content", headers={"Range": "bytes=5-99"})
    assert part.status == 206 and len(part.body) == 95
    if not (PLUGINS / "trainer-xgboost.so").exists():
        return
    made = client.post("/api/v1/training/jobs", {"trainer": "xgboost", "dataset": data, "model": model, "validation_rows": 100,
                                                 "specification": {"label": "bought", "rounds": 3, "threads": 1}})
    assert made.status == 201, made
    state = lambda: client.get(f"/api/v1/training/jobs/{made.json['id']}").json["state"]  # noqa: E731
    wait_until(lambda: state() not in ("queued", "running"), 30, "the training does not end")
    assert state() == "succeeded"
    assert client.post("/api/v1/endpoints", {"name": model, "model": model, "version": "1"}).status == 201
    question = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.9, 0.1]}]}
    predicted = client.post(f"/v2/models/{model}/infer", question)
    assert predicted.status == 200, predicted
    assert client.post(f"/v2/models/{model}/infer", {"inputs": []}).status == 400
    labels = {"labels": [{"id": predicted.json["id"], "value": 1}]}
    client.post(f"/api/v1/endpoints/{model}/feedback", labels)


def test_a_tour_leaves_nothing_for_the_sanitizers(sanitized):
    server = sanitized
    (server.policies / "tour.lua").write_text(SCRIPT)
    server.start(seconds=60)
    client = server.client(timeout=60)
    connection, events = stream_of_events(server)
    idle = server.socket()  # still open when the daemon is asked to end
    tour_of_operations(client)
    tour_of_scripts(server, client)
    tour_of_training(client)
    assert events.readline().startswith(b"id:"), "an event came"
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(60)
    if server.said():
        pytest.fail(server.said(), pytrace=False)
    assert code == 0, server.log_text()[-3000:]
    wait_until(lambda: not server.left(), 5, f"left running: {server.left()}")
    assert events.read().endswith(b"\n"), "the stream was ended in order"
    idle.close()
    connection.close()
    client.close()
    assert "runtime error" not in server.log_text() and "Sanitizer" not in server.log_text()
