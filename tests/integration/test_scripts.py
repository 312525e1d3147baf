"""Scripts in the real daemon: what they may write, what comes round, who asks, and how the server tells of those that it refused."""
import signal
import subprocess

from daemon import wait_until

NOTES = "CREATE TABLE purlin.notes (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(100) NOT NULL UNIQUE)"

ROUTES = """
local function route(path, f) purlin.route("POST " .. path, { permission = "notes:write" }, f) end
route("/notes", function(request) return { body = { purlin.db.execute("INSERT INTO notes (text) VALUES (?)", request:json().text) } } end)
route("/notes/both", function()
  return { body = purlin.db.execute_all{ { "INSERT INTO notes (text) VALUES (?)", "one" }, { "INSERT INTO notes (text) VALUES (?), (?)", "two", "three" } } }
end)
route("/notes/neither", function()
  return { body = purlin.db.execute_all{ { "INSERT INTO notes (text) VALUES (?)", "never" }, { "INSERT INTO notes (text) VALUES (?)", "one" } } }
end)
purlin.route("GET /notes", { permission = "public" }, function()
  local texts = purlin.array()
  for _, row in ipairs(purlin.db.query("SELECT text FROM notes ORDER BY id")) do texts[#texts + 1] = row.text end
  return { body = { texts = texts } }
end)
"""


def sql(daemon, statement):
    socket = next(daemon.state.resolve().rglob("*.sock"))
    subprocess.run(["mariadb", f"--socket={socket}", "-e", statement], check=True, timeout=20)


def with_scripts(new_daemon, configuration=None, **scripts):
    daemon = new_daemon(start=False, configuration=configuration)
    for name, text in scripts.items():
        (daemon.policies / f"{name}.lua").write_text(text)
    return daemon.start()


def test_a_named_script_writes_all_or_nothing(new_daemon):
    daemon = with_scripts(new_daemon, 'lua { writers = { "notes.lua" } }\n', notes=ROUTES,
                          other='purlin.route("POST /other", { permission = "a:b" }, function() purlin.db.execute("DELETE FROM notes") end)\n')
    sql(daemon, NOTES)
    client = daemon.client()
    assert client.post("/notes", {"text": "zero ☕"}).json == [1, 1]
    assert client.post("/notes/both").json == [1, 2]
    assert client.post("/notes/neither").status == 409
    assert client.post("/notes", {"text": "one"}).status == 409
    assert client.post("/notes", {"text": None}).status == 500, "the column wants a text"
    assert client.post("/other").status == 500
    wait_until(lambda: "writers" in daemon.log_text(), 5, "the log does not say what to do")
    assert client.get("/notes", token=None).json["texts"] == ["zero ☕", "one", "two", "three"]
    client.close()
    daemon.stop()


EVERY = """
purlin.every(1, "tick", function(what)
  purlin.shared.incr("ticks")
  purlin.shared.set("last", { name = what.name, late = purlin.time.now() - what.due, actor = purlin.actor(), workspace = purlin.workspace() })
end)
purlin.every("0 0 1 1 *", "new year", function() purlin.shared.incr("ticks", 1000) end, { time_zone = "Europe/Brussels" })
purlin.route("GET /ticks", { permission = "public" }, function()
  return { body = { ticks = purlin.shared.get("ticks"), last = purlin.shared.get("last") } }
end)
"""


def test_what_comes_round_comes_round(new_daemon):
    daemon = with_scripts(new_daemon, every=EVERY)
    client = daemon.client()
    ticks = lambda: client.get("/ticks", token=None).json.get("ticks") or 0  # noqa: E731
    wait_until(lambda: ticks() >= 2, 10, "nothing comes round")
    assert ticks() < 1000, "a year has not begun"
    last = client.get("/ticks").json["last"]
    assert last["name"] == "tick" and 0 <= last["late"] < 5
    assert last["actor"] == "rule:every.lua" and last["workspace"] == "default"
    listed = client.get("/api/v1/scripts").json["scripts"][0]
    assert listed["periodic"] == ["tick", "new year"]
    jobs = client.get("/api/v1/jobs?limit=100").json["jobs"]
    assert any(job["name"] == "purlin.call_periodic" and job["state"] == "succeeded" for job in jobs), jobs
    # Taken out, it stops; back in with other words, it goes on.
    (daemon.policies / "every.lua").write_text(EVERY.split("\n\n")[0].replace('purlin.every(1, "tick"', 'local _ = (function(...) end)(1, "tick"'))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: client.get("/api/v1/scripts").json["scripts"][0]["periodic"] == ["new year"], 10, "it is still there")
    client.get("/ticks")
    stopped = ticks()
    (daemon.policies / "every.lua").write_text(EVERY.replace('every(1, "tick"', 'every("@every 2s", "tick"'))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: ticks() >= stopped + 2, 15, "it does not go on")
    client.close()
    daemon.stop()


def test_what_comes_round_and_fails_is_tried_again_and_counted(new_daemon):
    daemon = with_scripts(new_daemon, bad='purlin.every(1, "bad", function() error("on purpose") end)\n')
    client = daemon.client()
    wait_until(lambda: 'purlin_lua_failures_total{script="bad.lua",kind="every"} ' in client.get("/metrics").body.decode(), 10, "it is not counted")
    job = next(job for job in client.get("/api/v1/jobs?limit=100").json["jobs"] if job["name"] == "purlin.call_periodic")
    assert job["state"] in ("waiting", "running", "failed"), job
    wait_until(lambda: "on purpose" in daemon.log_text(), 5, "the log does not say why")
    client.close()
    daemon.stop()


WHO = """
local function who() return { body = { actor = purlin.actor(), may = purlin.permitted("models:read") } } end
purlin.route("GET /who", { permission = "public", identity = "optional" }, who)
purlin.route("GET /nobody", { permission = "public" }, who)
purlin.route("GET /models", { permission = "public", identity = "optional" }, function() return { body = purlin.op.registry.list_models() } end)
"""


def test_a_public_route_knows_its_caller_if_it_asks(new_daemon):
    daemon = with_scripts(new_daemon, who=WHO)
    client = daemon.client()
    assert client.get("/who").json == {"actor": "user:admin", "may": True}
    assert client.get("/who", token=None).json == {"may": False}
    refused = client.get("/who", token="purlin_wrong")
    assert refused.status == 401 and "invalid_token" in refused.headers["WWW-Authenticate"]
    for token in (True, None, "purlin_wrong"):
        assert client.get("/nobody", token=token).json == {"may": False}
    assert client.get("/models").status == 200
    assert client.get("/models", token=None).status == 401
    client.close()
    daemon.stop()


def test_refused_scripts_make_the_server_degraded_not_unready(new_daemon):
    daemon = with_scripts(new_daemon, good="purlin.on('drift.alert', print)\n")
    client = daemon.client()

    def readiness():
        answer = client.get("/readyz", token=None)
        assert answer.status == 200, answer
        return answer.json["status"], next(check for check in answer.json["checks"] if check["name"] == "scripts")

    assert readiness() == ("ready", {"name": "scripts", "ready": True})
    (daemon.policies / "bad.lua").write_text("local x = = 1\n")
    (daemon.policies / "good.lua").write_text("nonsense(\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: readiness()[0] == "degraded", 10, "nobody notices")
    status, check = readiness()
    assert "bad.lua" in check["detail"] and "good.lua" in check["detail"] and "scripts.list" in check["detail"]
    states = {script["file"]: script["state"] for script in client.get("/api/v1/scripts").json["scripts"]}
    assert states == {"bad.lua": "refused", "good.lua": "outdated"}
    (daemon.policies / "bad.lua").unlink()
    (daemon.policies / "good.lua").write_text("purlin.on('drift.alert', print)\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: readiness()[0] == "ready", 10, "it stays degraded")
    client.close()
    daemon.stop()
