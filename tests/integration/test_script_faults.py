"""Policies and event rules that never end, that eat memory, that wait too long, that break when they are reloaded: each is refused alone,
the log says which script and where, defaults hold, and the daemon goes on serving."""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import daemon
from daemon import Threads, wait_until

SOURCE = daemon.ROOT / "tests" / "integration" / "plugins" / "decider.c"

# What goes wrong, in line 2 of a script, within a function that begins in line 1: what it is counted as, what the log says, and where.
WRONG = {
    "endless": ("while true do end", "stopped", ":2: stopped: it "),
    "endless-in-pcall": ("while true do pcall(function() while true do end end) end", "stopped", ":2: stopped: it "),
    "endless-in-coroutine": ("coroutine.wrap(function() while true do end end)()", "stopped", ":2: stopped: it "),
    "hog": ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(10000) .. i end", "memory", ":2: it needs more than its 16384 KiB of memory"),
    "hog-of-numbers": ("local t = {} for i = 1, 1e9 do t[i] = i end", "memory", ":1: {what} failed: it needs more than its 16384 KiB of memory"),
    "hog-of-one": ("local s = ('x'):rep(1 << 30)", "{kind}", ":2: resulting string too large"),
    "recursive": ("local function f() return 1 + f() end f()", "memory", "it needs more than its 16384 KiB of memory"),
    "raises": ("error('on purpose')", "{kind}", ":2: on purpose"),
}
WAITS = ("purlin.time.sleep(30)", "stopped", ":2: stopped: it took longer")


@pytest.fixture(scope="module")
def plugins(scratch):
    """All plugins, and one that asks."""
    folder = scratch / "with-decider"
    folder.mkdir()
    for plugin in daemon.PLUGINS.glob("*.so"):
        (folder / plugin.name).symlink_to(plugin)
    include = daemon.ROOT / "sdk" / "include"
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{include}", str(SOURCE),
                    "-o", str(folder / "decider.so")], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def asking(scratch, template, plugins):
    """A daemon with that plugin, shared by these tests: what goes wrong in one may not be felt by the next."""
    folder = scratch / "asking"
    folder.mkdir()
    daemon.copy_state(template, folder)
    made = daemon.Daemon(folder, plugins=plugins)
    (made.policies / "good.lua").write_text(GOOD)
    try:
        yield made.start()
        made.stop()
    finally:
        made.end()


@pytest.fixture
def scripts(asking):
    """A function that puts a script into force; all of them go when the test ends."""
    client, put, counter = asking.client(), [], iter(range(1000))

    def install(name, text):
        mark = f"/loaded/{name}/{next(counter)}"
        (asking.policies / f"{name}.lua").write_text(f'{text}purlin.route("GET {mark}", {{ permission = "public" }}, function() return "yes" end)\n')
        put.append(asking.policies / f"{name}.lua")
        wait_until(lambda: client.get(mark).status == 200, 10, f"{name}.lua is not in force")

    yield install
    for path in set(put):
        path.unlink()
    wait_until(lambda: client.post("/decider/ask", {}).json == {"word": "nobody"}, 10, "the scripts are not gone")
    client.close()


def policy(point, body):
    return f'purlin.policy("decider.{point}", function(question)\n  {body}\n  return {{ word = "late" }}\nend)\n'


def rule(body):
    return f'purlin.on("decider.asked", function(event)\n  {body}\nend)\n'


GOOD = """
purlin.on("decider.asked", function(event) purlin.shared.incr("heard") end)
purlin.route("GET /heard", { permission = "public" }, function() return { body = { heard = purlin.shared.get("heard") or 0 } } end)
"""


def failures(client, script, kind):
    found = re.search(rf'purlin_lua_failures_total{{[^}}]*script="{script}"[^}}]*kind="{kind}"[^}}]*}} (\d+)', client.get("/metrics").body.decode())
    return int(found.group(1)) if found else 0


def is_logged(server, place, said=""):
    return any(place in record["message"] and said in record["message"] for record in server.records("error"))


def serves(server, seconds=2):
    """Fresh connections, so that each loop has its turn."""
    for _ in range(4):
        client = server.client(timeout=10)
        started = time.monotonic()
        assert client.get("/healthz").status == 200
        assert client.get("/api/v1/models").status == 200
        assert time.monotonic() - started < seconds, "others waited for the script"
        client.close()


@pytest.mark.parametrize("what", [*WRONG, "waits"])
def test_policy_that_goes_wrong_in_a_decision(asking, scripts, what):
    body, kind, said = WRONG.get(what, WAITS)
    bad, worse = f"bad-{what}", f"worse-{what}"
    scripts(bad, policy("word", body))
    scripts(worse, policy("strict", body))
    client = asking.client()

    def ask():
        mine = asking.client(timeout=20)
        started = time.monotonic()
        answer = mine.post("/decider/ask", {"number": 1})
        assert answer.status == 200 and answer.json == {"word": "careful"}, "what the point says of failures holds"
        answer = mine.post("/decider/insist", {"number": 1})
        assert answer.status in (500, 503, 504) and "word" not in answer.json, answer
        assert ".lua" not in answer.body.decode(), "internals are for the log"
        assert time.monotonic() - started < 10
        mine.close()

    Threads(ask, ask, lambda: serves(asking, 6)).join(60)
    for script, point in ((bad, "word"), (worse, "strict")):
        place, text = f"{script}.lua:1: policy decider.{point} failed: ", said.format(what=f"policy decider.{point}")
        assert is_logged(asking, place, text), asking.log_text()[-3000:]
        assert failures(client, f"{script}.lua", kind.format(kind="policy")) == 2
    serves(asking)
    assert client.get("/heard").status == 200, "scripts beside it are well"
    scripts(bad, policy("word", 'do return { word = "better" } end'))
    assert client.post("/decider/ask", {}).json == {"word": "better"}, "the repaired policy is not asked"
    client.close()


def test_without_a_policy_the_default_holds(asking):
    client = asking.client()
    assert client.post("/decider/ask", {}).json == {"word": "nobody"}
    assert client.post("/decider/insist", {}).json == {"word": "nobody"}
    client.close()


@pytest.mark.parametrize("what", WRONG)
def test_rule_that_goes_wrong(asking, scripts, what):
    body, kind, said = WRONG[what]
    name = f"rule-{what}"
    scripts(name, rule(body))
    client = asking.client()
    heard = client.get("/heard").json["heard"]
    for _ in range(3):
        assert client.post("/decider/tell", {}).status == 200
    wait_until(lambda: client.get("/heard").json["heard"] == heard + 3, 10, "another rule for the same event is held up")
    place, said = f"{name}.lua:1: rule decider.asked failed: ", said.format(what="rule decider.asked")
    wait_until(lambda: is_logged(asking, place, said), 15, f"the log does not tell which script and where: {asking.log_text()[-2000:]}")
    wait_until(lambda: failures(client, f"{name}.lua", kind.format(kind="rule")) >= 2, 15, "it is not tried again")
    serves(asking, 4)
    # What could not be delivered waits: a repaired rule gets it, and what came after it.
    scripts(name, rule(f'purlin.shared.incr("{name}")') + f'purlin.route("GET /repaired/{name}", {{ permission = "public" }}, '
            f'function() return {{ body = {{ n = purlin.shared.get("{name}") or 0 }} }} end)\n')
    wait_until(lambda: client.get(f"/repaired/{name}").json["n"] == 3, 40, "the repaired rule does not get the events")
    client.close()


BROKEN = {
    "syntax": ("purlin.policy('decider.word', function(question)\n  return { word = = 1 }\nend)\n", "word.lua:2"),
    "raises": ("-- nothing yet\nerror('not today')\n", "word.lua:2"),
    "endless": ("-- nothing yet\nwhile true do end\n", "word.lua:2"),
    "hog": ("local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(10000) .. i end\n", "word.lua:2"),
    "unknown point": ("\npurlin.policy('decider.wrod', function() return { word = 'x' } end)\n", "word.lua:2"),
    "empty of sense": ("return 1 +\n", "word.lua"),
}


def speaks(word):
    return f'purlin.policy("decider.word", function() return {{ word = "{word}" }} end)\n'


@pytest.mark.parametrize("how, broken", [("SIGHUP", ("syntax", "endless", "unknown point")), ("saved", ("syntax", "raises", "hog", "empty of sense"))])
def test_broken_script_leaves_the_old_generation_in_force(asking, how, broken):
    path, client, word = asking.policies / "word.lua", asking.client(), "old"

    def save(text):
        path.write_text(text)
        if how == "SIGHUP":  # in the same moment, so that the signal is what loads it
            asking.process.send_signal(signal.SIGHUP)

    def says(word):
        return client.post("/decider/ask", {}).json == {"word": word}

    save(speaks("old"))
    wait_until(lambda: says("old"), 10, "the script is not loaded")
    for what in broken:
        text, place = BROKEN[what]
        asking.log_start = asking.log.stat().st_size
        save(text)
        wait_until(lambda: is_logged(asking, place), 10, f"{what}: the log does not name the place")
        for _ in range(4):
            other = asking.client()
            assert other.post("/decider/ask", {}).json == {"word": word}, f"{what}: the old script is not in force any more"
            other.close()
        word = f"after {what}"
        save(speaks(word))
        wait_until(lambda: says(word), 10, f"after {what}: the repaired script is not loaded")
    serves(asking)
    path.unlink()
    wait_until(lambda: says("nobody"), 10, "the script is not gone")
    client.close()
