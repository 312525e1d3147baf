"""Keys of secrets: what older keys sealed is sealed anew, through crashes, and the old key can go."""
import base64
import http.server
import os
import re
import secrets
import subprocess
import threading
import time

import pytest

import daemon
from daemon import PURLIND, wait_until


ANA = {"name": "ana", "password": "four plain garden words"}


def write_key(folder, name):
    path = folder / name
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


def configure(own, *keys):
    listed = ", ".join(f'"{key}"' for key in keys)
    (own.folder / "purlin.lua").write_text(f"secrets {{ keys = {{ {listed} }} }}\n")


def status(client):
    answer = client.op("secrets.status")
    assert answer.status == 200, answer
    return answer.json


def login(client):
    return client.post("/api/v1/accounts/login", ANA, token=False)


def check(own):
    return subprocess.run([str(PURLIND), "--check", *own.command[1:]], capture_output=True, text=True, timeout=60)


# ---- Keys ----------------------------------------------------------------------------------------------------------------------------

def test_without_a_setting_a_key_is_made(client, server):
    state = status(client)
    key = server.state / "secrets.key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.stat().st_size == 32
    assert len(state["key"]) == 16 and state["older_keys"] == [] and state["left"] == 0 and state["unknown"] == 0


@pytest.mark.parametrize("setting, says", [
    ('"secret-word"', ":2: secrets: keys[1] is neither a path"),
    ('"/nowhere/key"', ":2: secrets: cannot read /nowhere/key: No such file"),
    ('"credential:key"', ":2: secrets: there is no credential key"),
    ('env("PURLIN_TEST_NOT_SET")', ":2: the environment has no variable PURLIN_TEST_NOT_SET"),
])
def test_a_wrong_key_is_told_with_its_place(new_daemon, setting, says):
    own = new_daemon(start=False, configuration=f"\nsecrets {{ keys = {{ {setting} }} }}\n")
    checked = check(own)
    assert checked.returncode == 1 and says in checked.stderr and "secret-word" not in checked.stderr, checked.stderr


def test_a_key_that_others_can_read_is_refused(new_daemon):
    own = new_daemon(start=False, configuration="")
    key = write_key(own.folder, "open.key")
    configure(own, key)
    assert check(own).returncode == 0
    key.chmod(0o604)
    checked = check(own)
    assert checked.returncode == 1 and f"{key} can be read or written by others" in checked.stderr
    own.launch()
    assert own.process.wait(30) == 1 and "can be read or written by others" in own.log_text()


def test_a_secret_in_a_file_for_everybody_is_warned_of(new_daemon):
    text = 'database { password = "pass-of-database" }\nplugin "accounts" {\n  smtp_password = env("PURLIN_TEST_PASS"), smtp_user = "x",\n}\n'
    own = new_daemon(start=False, configuration=text)
    path = own.folder / "purlin.lua"
    os.environ["PURLIN_TEST_PASS"] = "pass-of-mail"
    try:
        path.chmod(0o644)
        checked = check(own)
        assert checked.returncode == 0 and f"warning: {path}:1: database: 'password' is secret, and everybody can read" in checked.stderr
        assert "smtp_password" not in checked.stderr and "pass-of" not in checked.stderr + checked.stdout
        path.chmod(0o640)
        assert "warning" not in check(own).stderr
        path.chmod(0o644)
        path.write_text(text.replace('env("PURLIN_TEST_PASS")', '"pass-of-mail"').replace('"pass-of-database"', 'env("PURLIN_TEST_PASS")'))
        checked = check(own)  # the same text stands there, for another setting
        assert f"{path}:3: accounts: 'smtp_password' is secret" in checked.stderr
    finally:
        del os.environ["PURLIN_TEST_PASS"]


def test_keys_of_accounts_go_on(new_daemon):
    """As an installation had it before there were keys for all: accounts.key, and rows that it sealed."""
    own = new_daemon()
    client = own.client()
    client.op("accounts.create_user", ANA)
    assert login(client).status == 200
    key, kid = status(client)["key"], own.sql("SELECT id FROM accounts_keys")[0][0]
    client.close()
    own.stop()
    (own.state / "secrets.key").rename(own.state / "accounts.key")
    own.start()
    client = own.client()
    state = wait_until(lambda: (s := status(client))["left"] == 0 and s, 20, "not sealed anew")
    assert state["older_keys"] == [key] and state["key"] != key and state["unknown"] == 0
    assert login(client).status == 200 and own.sql("SELECT id FROM accounts_keys") == [[kid]]
    client.close()
    own.stop()
    (own.state / "accounts.key").unlink()
    own.start()
    client = own.client()
    assert login(client).status == 200
    assert own.sql("SELECT id FROM accounts_keys") == [[kid]] and status(client)["older_keys"] == []
    client.close()


# ---- Named secrets -------------------------------------------------------------------------------------------------------------------

class Sink(http.server.BaseHTTPRequestHandler):
    """Keeps what Authorization it was shown."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.shown.append(self.headers["Authorization"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def sink():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads, server.shown = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


SENDS = """
local url = "http://127.0.0.1:%d/"
purlin.route("POST /send", { permission = "secrets:use" }, function(request)
  local secret = "Bearer " .. purlin.secret(request:json().name) .. "!"
  local answer = purlin.http.get{ url = url, headers = { Authorization = secret, Accept = "*/*" } }
  return { body = { status = answer.status, text = tostring(secret) } }
end)
local attempts = {
  json = function(s) return purlin.json.encode({ s }) end,
  shared = function(s) purlin.shared.set("s", s) end,
  body = function(s) return purlin.http.post{ url = url, body = s } end,
  url = function(s) return purlin.http.get{ url = url .. s } end,
  format = function(s) return string.format("%%s", s) end,
  log = function(s) purlin.log.info("it is " .. tostring(s)) return tostring(s) end,
  index = function(s) return s.value end,
  meta = function(s) return tostring(getmetatable(s)) end,
  length = function(s) return #s end,
  two = function(s) return s .. s end,
  number = function(s) return s .. 1 end,
}
purlin.route("POST /attempt", { permission = "secrets:use" }, function(request)
  local fine, what = pcall(attempts[request:json().how], purlin.secret("token"))
  return { body = { fine = fine, what = tostring(what) } }
end)
"""


def put(client, name, value, **more):
    answer = client.put(f"/api/v1/secrets/{name}", {"value": value}, **more)
    assert answer.status == 200 and value not in answer.body.decode(), answer
    return answer.json


@pytest.fixture
def sending(new_daemon, sink):
    own = new_daemon(start=False)
    (own.policies / "sends.lua").write_text(SENDS % sink.server_port)
    return own.start()


def test_a_value_goes_where_it_is_sent_and_nowhere_else(sending, sink):
    own, client, value = sending, sending.client(), "value-" + secrets.token_hex(16)
    made = put(client, "token", value)
    assert made["name"] == "token" and made["key"] == status(client)["key"] and made["created_by"] == made["updated_by"]
    sent = client.post("/send", {"name": "token"})
    assert sent.json == {"status": 200, "text": "the secret 'token'"} and sink.shown == [f"Bearer {value}!"]
    used = wait_until(lambda: client.get("/api/v1/secrets").json["secrets"][0].get("last_used_at"), 15, "its use is not noted")
    assert used > made["updated_at"]
    # Another value, by its name; the old one is gone.
    second = "value-" + secrets.token_hex(16)
    changed = put(client, "token", second)
    assert changed["created_at"] == made["created_at"] and changed["updated_at"] > made["updated_at"]
    client.post("/send", {"name": "token"})
    assert sink.shown[-1] == f"Bearer {second}!"
    assert client.post("/send", {"name": "other"}).status == 404
    assert client.post("/send", {"name": "vault:token"}).status == 503  # no such provider
    put(client, "evil", "x\r\nX-Other: y")
    assert client.post("/send", {"name": "evil"}).status == 500 and len(sink.shown) == 2
    assert client.delete("/api/v1/secrets/token").status == 200
    assert client.post("/send", {"name": "token"}).status == 404 and client.delete("/api/v1/secrets/token").status == 404
    # No value is in a log, in the audit log, or in the database.
    export = lambda: client.get("/api/v1/audit/export").body.decode()  # noqa: E731
    exported = wait_until(lambda: "secrets.delete" in (text := export()) and text, 20, "the last change is not numbered")
    assert "secrets.put" in exported
    client.close()
    own.stop()
    own.start()
    dump = subprocess.run(["mariadb-dump", "--no-defaults", f"--socket={own.state.resolve()}/mariadb/mariadb.sock", "--hex-blob", "purlin"],
                          capture_output=True, text=True, timeout=60)
    assert dump.returncode == 0 and "secrets_values" in dump.stdout, dump.stderr
    for text in (exported, own.log.read_text(), dump.stdout):
        for one in (value, second):
            assert one not in text and one.encode().hex() not in text.lower()
            assert base64.b64encode(one.encode()).decode().rstrip("=")[:-1] not in text


@pytest.mark.parametrize("how", ["json", "shared", "body", "url", "format", "log", "index", "meta", "length", "two", "number"])
def test_a_script_never_has_the_value(sending_shared, how):
    client = sending_shared.client()
    answer = client.post("/attempt", {"how": how})
    assert answer.status == 200 and "never-to-be-seen" not in answer.body.decode() + sending_shared.log.read_text()
    assert answer.json["fine"] is (how in ("format", "log", "meta")), answer
    client.close()


@pytest.fixture(scope="module")
def sending_shared(scratch, template):
    own = daemon.Daemon(scratch / "sending")
    daemon.copy_state(template, own.folder)
    (own.policies / "sends.lua").write_text(SENDS % 9)
    try:
        own.start()
        client = own.client()
        put(client, "token", "never-to-be-seen")
        client.close()
        yield own
    finally:
        own.end()


def test_names_and_values_have_limits(client):
    for name in ("Upper", "a:b", "-a", ".", "a" * 65, "ä"):
        assert client.op("secrets.put", {"name": name, "value": "x"}).status == 400, name
    for value in ("", "x" * 65537, None, 7):
        assert client.op("secrets.put", {"name": "a", "value": value}).status == 400
    refused = client.op("secrets.put", {"name": "a", "value": "told-nobody" + "x" * 65536})
    assert refused.status == 400 and b"told-nobody" not in refused.body
    put(client, "large", "ä" * 32768)
    put(client, "a" * 64, "x")
    names = [one["name"] for one in client.get("/api/v1/secrets").json["secrets"]]
    assert names == sorted(names)
    assert [one["name"] for one in client.get("/api/v1/secrets?limit=1").json["secrets"]] == names[:1]
    assert [one["name"] for one in client.get(f"/api/v1/secrets?after={names[0]}").json["secrets"]] == names[1:]


def test_others_neither_see_nor_change_them(server, client):
    put(client, "ours", "secret-of-ours")
    other, viewer = server.client(server.token_for("elsewhere")), server.client(server.token_for("default", ["*:read"]))
    assert other.get("/api/v1/secrets").json["secrets"] == [] and other.get("/api/v1/secrets/ours").status == 404
    assert other.delete("/api/v1/secrets/ours").status == 404
    put(other, "ours", "secret-of-theirs")
    assert client.get("/api/v1/secrets/ours").json["updated_by"] != "user:test"
    assert viewer.get("/api/v1/secrets/ours").status == 200
    assert viewer.put("/api/v1/secrets/ours", {"value": "x"}).status == 403 and viewer.delete("/api/v1/secrets/ours").status == 403
    # A row that is copied over another does not open.
    server.sql("UPDATE secrets_values a, secrets_values b SET a.sealed = b.sealed WHERE a.workspace = 'elsewhere' AND a.name = 'ours'"
               " AND b.workspace = 'default' AND b.name = 'ours'")
    for one in (other, viewer):
        one.close()


def test_what_another_row_sealed_does_not_open(sending, sink):
    client = sending.client()
    put(client, "one", "value-one")
    put(client, "two", "value-two")
    sending.sql("UPDATE secrets_values a, secrets_values b SET a.sealed = b.sealed WHERE a.name = 'two' AND b.name = 'one'")
    assert client.post("/send", {"name": "two"}).status == 500 and client.post("/send", {"name": "one"}).status == 200
    assert sink.shown == ["Bearer value-one!"] and "it was changed, or sealed as something else" in sending.log_text()
    client.close()


# ---- Rotation, with crashes -------------------------------------------------------------------------------------------------------------

ROWS = 3000


def fill(own, count):
    def some(first):
        client = own.client()
        for i in range(first, count, 4):
            put(client, f"s{i:04}", f"value-{i:04}")
        client.close()
    daemon.Threads(*(lambda first=first: some(first) for first in range(4))).join(180)


def by_key(own):
    return {key: int(rows) for key, rows in own.sql("SELECT LOWER(HEX(SUBSTRING(sealed, 2, 8))), COUNT(*) FROM secrets_values GROUP BY 1")}


def test_keys_change_through_crashes(new_daemon, sink):
    own = new_daemon(start=False, configuration="")
    (own.policies / "sends.lua").write_text(SENDS % sink.server_port)
    old, new = write_key(own.folder, "old.key"), write_key(own.folder, "new.key")
    (own.state / "secrets.key").unlink()
    configure(own, old)
    own.start()
    fill(own, ROWS)
    client = own.client()
    first = status(client)["key"]
    client.close()
    own.stop()
    configure(own, new, old)
    interrupted = 0
    for attempt in range(12):
        own.start()
        time.sleep(0.02 * attempt)
        counts = by_key(own)
        own.kill()
        assert sum(counts.values()) == ROWS
        interrupted += 0 < counts.get(first, 0) < ROWS
        if not counts.get(first, 0):
            break
    assert interrupted > 0, "it was too quick to be interrupted"
    own.start()
    client = own.client()
    state = wait_until(lambda: (s := status(client))["left"] == 0 and s, 60, "rows are left")
    assert state["unknown"] == 0 and state["older_keys"] == [first]
    assert {one["key"]: one["rows"] for one in state["sealed"] if one["table"] == "secrets_values"} == {state["key"]: ROWS}
    client.close()
    own.stop()
    # The old key is gone for good, and every value is still what it was.
    old.unlink()
    configure(own, new)
    own.start()
    client = own.client()
    for i in range(0, ROWS, 50):
        assert client.post("/send", {"name": f"s{i:04}"}).json["status"] == 200
        assert sink.shown[-1] == f"Bearer value-{i:04}!"
    client.close()
    own.stop()
    # With the old key alone nothing opens.
    own.log.write_text("")
    configure(own, write_key(own.folder, "third.key"))
    own.start()
    client = own.client()
    assert status(client)["unknown"] >= ROWS and client.post("/send", {"name": "s0000"}).status == 503
    client.close()


# ---- Core dumps --------------------------------------------------------------------------------------------------------------------------

def core_image(pid):
    """What a core dump would hold: the writable private memory that is not left out of it."""
    mappings, flags = [], {}
    for line in open(f"/proc/{pid}/smaps"):
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            begin, end = (int(one, 16) for one in first.split("-"))
            mappings.append((begin, end, line.split()[1]))
        elif first == "VmFlags:":
            flags[mappings[-1]] = line.split()[1:]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for mapping in mappings:
            begin, end, rights = mapping
            if not rights.startswith("r") or "dd" in flags[mapping]:
                continue
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except OSError:
                continue


def test_neither_keys_nor_values_are_in_a_core_dump(sending, sink):
    client, value = sending.client(), "value-" + secrets.token_hex(16)
    key = (sending.state / "secrets.key").read_bytes()
    put(client, "token", value)
    for _ in range(20):
        assert client.post("/send", {"name": "token"}).json["status"] == 200
    assert sink.shown[-1] == f"Bearer {value}!"
    image = b"".join(core_image(sending.process.pid))
    assert len(image) > 1_000_000 and b"the secret '" in image
    assert key not in image
    copies = [image[at.start() - 60:at.end() + 60] for at in re.finditer(value.encode(), image)]
    assert not copies, "\n".join(map(repr, copies))
    client.close()


def test_a_workspace_has_so_many_secrets(client, server):
    server.sql("INSERT INTO secrets_values (workspace, name, sealed, created_at, created_by, updated_at, updated_by) SELECT 'default',"
               " CONCAT('full-', seq), '', NOW(6), 'x', NOW(6), 'x' FROM seq_1_to_5000")
    try:
        refused = client.op("secrets.put", {"name": "one-more", "value": "x"})
        assert refused.status == 429 and "5000 secrets already" in refused.json["detail"], refused
        assert client.get("/api/v1/secrets/one-more").status == 404
        put(client, "full-7", "another")
    finally:
        server.sql("DELETE FROM secrets_values WHERE workspace = 'default' AND name LIKE 'full-%'")
    put(client, "one-more", "x")
