"""The audit log: what is in it, and that nobody changes it unseen. Rows are edited by SQL, as somebody with the database would."""
import base64
import hashlib
import http.client
import json
import random
import subprocess
import threading
import time
import urllib.parse

import pytest

from daemon import BUILD, Client, unique, wait_until

PURLIN = BUILD / "bin" / "purlin"


def entries(client, **filters):
    return client.get("/api/v1/audit/entries?" + urllib.parse.urlencode(filters)).json["entries"]


def head_over(client, size):
    """The newest head once it covers so many entries."""
    def look():
        answer = client.get("/api/v1/audit/head")
        return answer.status == 200 and answer.json["size"] >= size and answer.json
    return wait_until(look, 15, f"a head of {size} entries")


def numbered(client, **filters):
    """The newest entry that fits, once it has its number."""
    def look():
        found = entries(client, limit=1, **filters)
        return found and found[0].get("sequence") is not None and found[0]
    return wait_until(look, 10, f"a numbered entry of {filters}")


def verify(path, *more):
    done = subprocess.run([PURLIN, "audit", "verify", path, *more], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


class Log:
    """An export, a receipt and the key, kept in files."""

    def __init__(self, client, folder, entries=20):
        for _ in range(entries):
            assert client.op("tracking.create_experiment", {"name": unique("e")}).status == 201
        sequence = numbered(client, operation="tracking.create_experiment")["sequence"]
        self.client, self.folder = client, folder
        self.head = head_over(client, sequence + 1)
        self.receipt, self.key = folder / "receipt", folder / "key.pem"
        self.receipt.write_text(json.dumps(self.head, indent=2))
        self.key.write_text(self.head["public_key"])

    def export(self):
        path = self.folder / "log"
        answer = self.client.get("/api/v1/audit/export")
        assert answer.status == 200, answer
        path.write_bytes(answer.body)
        return path

    def verify(self):
        return verify(self.export(), "--head", self.receipt, "--key", self.key)


@pytest.fixture
def log(own_server, tmp_path):
    client = own_server.client()
    yield Log(client, tmp_path)
    client.close()


# ---- What is in it ----------------------------------------------------------------------------------------------------------


def test_a_change_is_an_entry(client):
    name = unique("experiment")
    made = client.op("tracking.create_experiment", {"name": name}).json
    entry = entries(client, object=made["id"])[0]
    assert (entry["actor"], entry["operation"], entry["outcome"], entry["address"]) == (
        "user:admin", "tracking.create_experiment", "done", "127.0.0.1")
    assert entry["credential"].startswith("key:") and len(entry["trace_id"]) == 32
    assert entry["input"]["name"] == name
    encoded = json.dumps(entry["input"], separators=(",", ":"), ensure_ascii=False).encode()
    assert (entry["input_bytes"], entry["input_hash"]) == (len(encoded), hashlib.sha256(encoded).hexdigest())


def test_what_reads_and_what_fails_is_none(client):
    before = entries(client, limit=1)[0]["position"]
    client.op("tracking.list_experiments")
    assert client.op("tracking.create_experiment", {"name": ""}).status == 400
    assert [e for e in entries(client) if e["position"] > before and e["outcome"] == "done" and e["operation"].startswith("tracking")] == []


def test_refusals_are_entries(server, client):
    address = f"/api/v1/op/{unique('x')}"
    stranger = Client(server.port, client.op("access.create_key", {"name": "n", "permissions": ["models:read"]}).json["secret"])
    assert stranger.op("tracking.create_experiment", {"name": "x"}).status == 403
    assert client.get("/api/v1/jobs", token="purlin_forged").status == 401
    assert client.get(address).status in (404, 405)
    forbidden = numbered(client, outcome="forbidden", operation="tracking.create_experiment")
    assert forbidden["actor"] == "user:admin" and forbidden["credential"].startswith("key:")
    nobody = numbered(client, outcome="unauthenticated", operation="jobs.list")
    assert (nobody["actor"], nobody["address"]) == ("nobody", "127.0.0.1")
    assert numbered(client, operation="access.first_use")["outcome"] == "done"
    stranger.close()


def test_each_way_in_and_each_refusal_is_an_entry(server, client):
    """A password, a session's token, a key, name and password in the header: of each the good one and the bad one. No secret is told, and
    each entry says in the course of what, and from where."""
    name, password, wrong = unique("u").replace("-", "")[:30], "four plain garden words", "four wrong garden words"
    assert client.op("accounts.create_user", {"name": name, "password": password}).status == 201
    began = entries(client, limit=1)[0]["position"]
    nobody = Client(server.port, None)

    def new(outcome, operation, fits=lambda e: True):
        def look():
            return [e for e in entries(client, outcome=outcome, operation=operation) if e["position"] > began and fits(e)]
        found = wait_until(look, 10, f"an entry of {operation}, {outcome}")
        for entry in found:
            assert entry["address"] == "127.0.0.1" and len(entry["trace_id"]) == 32, entry
        return found

    def whoami(shown):
        return nobody.get("/api/v1/access/whoami", headers={"Authorization": shown, "Purlin-Workspace": "default"}, token=False).status

    session = nobody.post("/api/v1/accounts/login", {"name": name, "password": password}, token=False)
    assert session.status == 200
    assert new("done", "accounts.login")[0]["actor"] == f"user:{name}"
    assert nobody.post("/api/v1/accounts/login", {"name": name, "password": wrong}, token=False).status == 401
    assert new("refused", "accounts.login", lambda e: e["object"] == name)
    token = session.json["access_token"]
    basic = base64.b64encode(f"{name}:{wrong}".encode()).decode()
    made = client.op("access.create_key", {"name": "k", "permissions": ["models:read"]}).json
    refused = 0
    for shown in (f"Bearer {token[:-6]}AAAAAA", f"Basic {basic}", "Bearer purlin_forged", f"Bearer {made['secret'][:-1]}"):
        assert whoami(shown) == 401, shown
        refused += 1
    assert wait_until(lambda: len(new("unauthenticated", "access.whoami")) >= refused, 10, "a refusal is missing")
    assert all(e["actor"] == "nobody" for e in new("unauthenticated", "access.whoami"))
    assert whoami(f"Bearer {made['secret']}") == 200
    assert new("done", "access.first_use", lambda e: e["object"] == made["id"])
    told = server.sql("SELECT CONCAT_WS(' ', id, actor, credential, object, input, `before`, `after`) FROM audit_entries"
                      " UNION ALL SELECT CONCAT_WS(' ', entry, input, `before`, `after`) FROM audit_waiting")
    for secret in (password, wrong, token, session.json["refresh_token"], made["secret"], basic):
        assert not any(secret in line[0] for line in told)
    nobody.close()


def test_secrets_are_not_in_it(server, client):
    made = client.op("access.create_key", {"name": "quiet", "permissions": ["*:read"]}).json
    assert numbered(client, object=made["id"], operation="access.create_key")
    assert made["secret"] not in client.get("/api/v1/audit/export").body.decode()
    assert server.sql(f"SELECT COUNT(*) FROM audit_entries WHERE CONCAT_WS(' ', input, object) LIKE '%{made['secret']}%'") == [["0"]]


def test_pages_and_filters(client):
    names = [unique("p") for _ in range(5)]
    for name in names:
        client.op("tracking.create_experiment", {"name": name})
    seen, before = [], 9000000000000000
    while len(seen) < 5:
        page = entries(client, operation="tracking.", outcome="done", before=before, limit=2)
        seen += [e["input"]["name"] for e in page]
        before = page[-1]["position"]
    assert seen[:5] == names[::-1]
    assert entries(client, actor="user:none") == []
    assert entries(client, since="2999-01-01T00:00:00Z") == []


def test_another_workspace_sees_hashes_only(server, client, tmp_path):
    theirs = Client(server.port, server.token_for(unique("w")))
    name = unique("hidden")
    client.op("tracking.create_experiment", {"name": name})
    entry = numbered(client, operation="tracking.create_experiment")
    head_over(client, entry["sequence"] + 1)
    assert name not in json.dumps(entries(theirs, limit=1000))
    exported = theirs.get("/api/v1/audit/export").body
    assert name.encode() not in exported
    (tmp_path / "log").write_bytes(exported)
    code, said = verify(tmp_path / "log")
    assert code == 0 and "other workspaces" in said, said
    assert theirs.get(f"/api/v1/audit/proofs/inclusion?sequence={entry['sequence']}").status == 404
    theirs.close()


def test_the_log_is_read_by_those_who_were_granted_it(server, client):
    """"*:read" is everything else."""
    def client_of(role=None, permissions=()):
        owner = unique("user:u")
        if role:
            assert client.op("access.grant_role", {"subject": owner, "role": role}).status == 201
        key = client.op("access.create_key", {"name": "k", "owner": owner if role else None, "permissions": list(permissions) or ["*"]})
        return Client(server.port, key.json["secret"])
    asked = ("/api/v1/audit/entries", "/api/v1/audit/head", "/api/v1/audit/export", "/api/v1/audit/proofs/inclusion?sequence=0")
    head_over(client, 1)
    for expected, who in ((403, client_of("viewer")), (403, client_of("editor")), (403, client_of(permissions=["*:read"])), (403, client_of(permissions=["*d"])),
                          (200, client_of("auditor")), (200, client_of(permissions=["audit:read"])), (200, client_of(permissions=["audit:*"]))):
        answers = [who.get(path) for path in asked]
        assert all(a.status in (expected, 404 if expected == 200 else 403) for a in answers), answers
        assert answers[0].status == expected
        who.close()
    auditor = client_of("auditor")
    assert auditor.get("/api/v1/access/roles").status == 200
    assert auditor.op("audit.erase", {"actor": "user:x"}).status == 403
    auditor.close()
    # Who holds "*:read" alone cannot hand out the log either.
    reader = Client(server.port, client.op("access.create_key", {"name": "k", "permissions": ["*:read", "access:write"]}).json["secret"])
    assert reader.op("access.create_key", {"name": "k", "permissions": ["audit:read"]}).status == 403
    reader.close()


# ---- Proofs -----------------------------------------------------------------------------------------------------------------


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_by_inclusion(leaf, index, size, path):
    """RFC 9162, 2.1.3.2, written here again."""
    at, last, root = index, size - 1, leaf
    for step in path:
        if at & 1 or at == last:
            root = node(step, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node(root, step)
        at, last = at >> 1, last >> 1
    assert last == 0
    return root


def test_proofs_lead_to_the_head(log):
    size = log.head["size"]
    lines = [json.loads(line) for line in log.export().read_text().splitlines()]
    assert [line["sequence"] for line in lines[1:]] == list(range(lines[0]["size"]))
    for index in range(size):
        proof = log.client.get(f"/api/v1/audit/proofs/inclusion?sequence={index}&size={size}").json
        assert proof["leaf"] == lines[1 + index]["leaf"]
        path = [bytes.fromhex(step) for step in proof["path"]]
        assert root_by_inclusion(bytes.fromhex(proof["leaf"]), index, size, path).hex() == log.head["root"]
    for wrong in (f"inclusion?sequence={size}&size={size}", f"inclusion?sequence=0&size={10**9}", f"consistency?from={10**9}"):
        assert log.client.get(f"/api/v1/audit/proofs/{wrong}").status == 400
    assert log.client.get(f"/api/v1/audit/proofs/consistency?from={size}&size={size}").json["path"] == []


def test_a_head_is_signed_over_what_it_says(log):
    head = log.head
    text = f"purlin audit head 1\n{head['origin']}\n{head['size']}\n{head['root']}\n{head['at']}\n"
    (log.folder / "text").write_text(text)
    (log.folder / "signature").write_bytes(base64.b64decode(head["signature"]))
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", log.key, "-rawin", "-in", log.folder / "text", "-sigfile", log.folder / "signature"]
    assert subprocess.run(check, capture_output=True).returncode == 0
    (log.folder / "text").write_text(text.replace("head 1", "head 2"))
    assert subprocess.run(check, capture_output=True).returncode != 0


# ---- Whoever changes the past is found -------------------------------------------------------------------------------------------


def test_an_untouched_log_is_whole(log, own_server):
    code, said = log.verify()
    assert code == 0 and "whole" in said and "signatures" not in said, said
    log.client.op("tracking.create_experiment", {"name": "one more"})
    assert log.verify()[0] == 0  # it only grew
    assert verify(log.export(), "--head", own_server.state / "audit.heads", "--key", log.key)[0] == 0
    assert (own_server.state / "audit.key").stat().st_mode & 0o777 == 0o600
    own_server.stop()
    assert log.head["root"] in (own_server.state / "audit.heads").read_text()


TAMPERING = {
    "edit the content": ("UPDATE audit_entries SET actor = 'user:other' WHERE leaf_index = 5", "entry 5 was changed"),
    "edit the time": ("UPDATE audit_entries SET at = at - INTERVAL 1 SECOND WHERE leaf_index = 5", "entry 5 was changed"),
    "edit the input": ("UPDATE audit_entries SET input = REPLACE(input, 'e', 'f') WHERE leaf_index = 6", "entry 6 was changed"),
    "make up what was before": ("UPDATE audit_entries SET `before` = '{}' WHERE leaf_index = 5", "entry 5 was changed"),
    "edit the outcome": ("UPDATE audit_entries SET outcome = 'x' WHERE leaf_index = 5", "entry 5 was changed"),
    "delete": ("DELETE FROM audit_entries WHERE leaf_index = 7", "entry 7 is missing"),
    "delete and close the gap": ("DELETE FROM audit_entries WHERE leaf_index = 7; UPDATE audit_entries SET leaf_index = leaf_index - 1"
                                 " WHERE leaf_index > 7 ORDER BY leaf_index", "missing|receipt"),
    "reorder": ("UPDATE audit_entries SET leaf_index = CASE leaf_index WHEN 3 THEN -1 ELSE 3 END WHERE leaf_index IN (3) ; UPDATE"
                " audit_entries SET leaf_index = 3 WHERE leaf_index = 4; UPDATE audit_entries SET leaf_index = 4 WHERE leaf_index = -1", "receipt"),
    "hide the content": ("UPDATE audit_entries SET id = NULL, leaf = REPEAT('x', 32) WHERE leaf_index = 5", "receipt"),
    "truncate": ("DELETE FROM audit_entries WHERE leaf_index >= 10", "entry 10 is missing"),
    "truncate with its heads": ("DELETE FROM audit_entries WHERE leaf_index >= 10; UPDATE audit_heads SET size = 10 ORDER BY size DESC LIMIT 1",
                                "not signed"),
    "forge a head": ("UPDATE audit_heads SET root = REPEAT('a', 64)", "not signed"),
}


TABLES = ("audit_entries", "audit_heads", "audit_subtrees", "audit_state")


def test_tampering_is_found(log, own_server):
    own_server.sql("; ".join(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}" for table in TABLES))
    for how, (statements, expected) in TAMPERING.items():
        own_server.sql(statements)
        code, said = log.verify()
        assert code == 1 and any(part in said for part in expected.split("|")), f"{how}: {said}"
        own_server.sql("; ".join(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}" for table in TABLES))
        assert log.verify()[0] == 0, f"after '{how}'"


def test_a_log_made_anew_is_found(log, own_server):
    """With the node's own key: everything fits, but for the receipt."""
    own_server.sql("DELETE FROM audit_entries WHERE leaf_index >= 10; UPDATE audit_entries SET leaf_index = NULL; DELETE FROM audit_heads;"
                   " DELETE FROM audit_subtrees; UPDATE audit_state SET size = 0, peaks = ''")
    head_over(log.client, 10)
    path = log.export()
    assert verify(path, "--key", log.key)[0] == 0
    code, said = verify(path, "--head", log.receipt, "--key", log.key)
    assert code == 1 and "cut off" in said, said
    wait_until(lambda: "tampered" in own_server.log_text(), 10, "the node does not notice")


def test_the_verifier_refuses_what_is_no_log(log, tmp_path):
    good = log.export().read_bytes()
    other = tmp_path / "other"
    for bad in (b"", b"{}\n", b"x" * 1000000, good[:-20], good + b"\n", good + good.splitlines()[-1] + b"\n", good.replace(b'"leaf":"', b'"leaf":"g', 1),
                b"\n".join(good.splitlines()[:1] + good.splitlines()[2:])):
        other.write_bytes(bad)
        assert verify(other)[0] == 1, bad[:100]
    assert verify(tmp_path / "none")[0] == 1
    assert verify(log.export(), "--key", log.receipt)[0] == 1
    assert verify(log.export(), "--head", log.key)[0] == 1
    assert verify(log.export(), "--what")[0] == 2


# ---- Erasure ----------------------------------------------------------------------------------------------------------------


def test_erased_content_leaves_a_whole_log(log, own_server):
    ana = Client(own_server.port, own_server.token_for("default"))  # user:test
    name = unique("private")
    ana.op("tracking.create_experiment", {"name": name})
    numbered(log.client, actor="user:test")
    assert log.client.op("audit.erase", {"actor": "user:test"}).json["entries"] >= 1
    assert entries(log.client, actor="user:test") == []
    erasure = numbered(log.client, operation="audit.erase")
    assert erasure["input"] == {"actor": "***"}
    head_over(log.client, erasure["sequence"] + 1)
    code, said = log.verify()
    assert code == 0 and "erased" in said, said
    exported = log.export().read_text()
    assert name not in exported and "user:test" not in exported
    ana.close()


def test_old_content_goes_by_rule(new_daemon, tmp_path):
    daemon = new_daemon(configuration="audit { retention_days = 30 }")
    client = daemon.client()
    made = Log(client, tmp_path)
    daemon.sql("UPDATE audit_entries SET at = at - INTERVAL 31 DAY WHERE leaf_index < 5")
    daemon.stop()
    daemon.start()
    made.client = daemon.client()
    wait_until(lambda: daemon.sql("SELECT COUNT(*) FROM audit_entries WHERE id IS NULL") == [["5"]], 15, "nothing was forgotten")
    assert made.verify()[0] == 0
    made.client.close()
    client.close()


def test_a_flood_of_refusals_is_bounded(own_server):
    client = own_server.client()
    for _ in range(1500):
        client.get("/api/v1/jobs", token="purlin_forged")
    dropped = numbered(client, operation="audit.dropped")
    assert dropped["input"]["entries"] > 100
    assert int(own_server.sql("SELECT COUNT(*) FROM audit_entries WHERE outcome = 'unauthenticated'")[0][0]) < 600
    client.close()


def test_entries_survive_a_kill(own_server):
    client = own_server.client()
    made = [client.op("tracking.create_experiment", {"name": unique("k")}).json["id"] for _ in range(30)]
    own_server.kill()
    time.sleep(0.2)
    own_server.start()
    client = own_server.client()
    for one in made:
        assert len(entries(client, object=one)) == 1
    numbered(client, object=made[-1])
    client.close()


# ---- Two nodes ----------------------------------------------------------------------------------------------------------------


def write_until(client, names, stop):
    """Changes until told to stop or the node has gone; what was acknowledged is noted."""
    while not stop.is_set():
        name = unique("n")
        try:
            if client.op("tracking.create_experiment", {"name": name}).status == 201:
                names.append(name)
        except (OSError, http.client.HTTPException):
            return


def test_two_nodes_write_one_log(new_daemon, tmp_path):
    """Both write and number at once; one is killed while it may be doing so, thrice; the other goes on: each acknowledged change has one
    entry, the numbers have no gap, and the log verifies against heads of before and after, with either node's key."""
    first = new_daemon()
    second = new_daemon(with_state=False, dev=False, start=False, configuration=
                        f'database {{ socket = "{first.state}/mariadb/mariadb.sock", user = "root", name = "purlin" }}\n'
                        f'plugin "storage-fs" {{ root = "{first.state}/blobs" }}\n')
    second.state.mkdir(exist_ok=True)
    (second.state / "admin.token").write_text(first.token)
    log = Log(first.client(), tmp_path, entries=2)
    names = []
    for _ in range(3):
        second.start()
        second.token = first.token
        stop = threading.Event()
        writers = [threading.Thread(target=write_until, args=(node.client(), names, stop)) for node in (first, second) for _ in range(2)]
        for writer in writers:
            writer.start()
        time.sleep(random.uniform(1.0, 1.6))  # a round is a second
        second.kill()
        time.sleep(0.3)
        stop.set()
        for writer in writers:
            writer.join(30)
    assert len(names) > 50
    wait_until(lambda: first.sql("SELECT COUNT(*) FROM audit_waiting") == [["0"]], 30, "not all are numbered")
    found = {}
    for line in first.sql("SELECT JSON_VALUE(input, '$.name') FROM audit_entries WHERE operation = 'tracking.create_experiment'"):
        found[line[0]] = found.get(line[0], 0) + 1
    assert [name for name in names if found.get(name) != 1] == []
    made = {line[0] for line in first.sql("SELECT name FROM tracking_experiments")}
    assert set(found) <= made, "an entry without its change"
    size, least, most = map(int, first.sql("SELECT COUNT(*), MIN(leaf_index), MAX(leaf_index) FROM audit_entries")[0])
    assert (least, most) == (0, size - 1)
    head_over(log.client, size)
    path = log.export()
    for kept in (log.receipt, first.state / "audit.heads", second.state / "audit.heads"):
        code, said = verify(path, "--head", kept)
        assert code == 0 and "whole" in said, said
    assert "tampered" not in first.log_text() + second.log_text()
    log.client.close()
