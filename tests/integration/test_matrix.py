"""Every operation and route of /openapi.json, by its own path and by its name, as everybody: matrix.py says what each is answered.

Nothing tells whether an object out of reach exists: asked about one, and about one that nobody ever made, the answers are the same
bytes (but for the trace id)."""
import hashlib
import http.client
import json
import re
import types

import pytest

import matrix
import models
from daemon import Client, unique, wait_until

CLASSES = {401: "1", 403: "3", 404: "4"}
VOLATILE = ("date", "traceparent", "trace-id")
FAR = {"b": "beyondreach", "w": "elsewhere"}  # in the names of what must not be seen


# ---- The objects, in project A, in project B and in another workspace -----------------------------------------------------------


class Objects(types.SimpleNamespace):
    """What a call may name, of one project."""

    def new(self, prefix):
        return f"{prefix}{next_number():06}"


def next_number(counter=[0]):
    counter[0] += 1
    return counter[0]


class World:
    def __init__(self, server):
        self.server, self.ours = server, server.client()
        self.workspace = unique("w")
        made = self.ours.op("access.create_workspace", {"name": self.workspace, "owner": "user:stranger"})
        self.theirs = Client(server.port, made.json["secret"])
        self.a = self.make("a", self.ours, "default", "project-a")
        self.b = self.make("b", self.ours, "default", FAR["b"])
        self.w = self.make("w", self.theirs, self.workspace, FAR["w"])
        self.missing = {o.letter: self.missing_of(o) for o in (self.a, self.b, self.w)}

    def ok(self, answer):
        assert answer.status in (200, 201), answer
        return answer.json

    def make(self, letter, client, workspace, mark):
        name = lambda kind: f"{kind}-{mark}-{unique('x')}"  # noqa: E731
        project = self.ok(client.op("access.create_project", {"name": f"{letter}{next_number():06}-{mark}"}))["id"]
        o = Objects(letter=letter, client=client, workspace=workspace, project=project, name=name, header={"Purlin-Project": project})
        o.role = "none"
        post = lambda path, body, **more: self.ok(client.post(path, body, headers={**o.header, **more}))  # noqa: E731
        o.model, o.dataset, o.experiment, o.endpoint = name("model"), name("dataset"), name("experiment"), name("endpoint")
        post("/api/v1/models", {"name": o.model})
        data = json.dumps(models.model_json(["x", "y"], base=str(next_number()))).encode()
        o.sha256 = models.put_blob(self.server, data, workspace)
        post(f"/api/v1/models/{o.model}/versions", {"framework": "xgboost", "sha256": o.sha256, "size": len(data), "signature": matrix.SIGNATURE})
        post(f"/api/v1/datasets/{o.dataset}/versions", f"x,y\n1,{next_number()}\n2,3\n".encode(), **{"Content-Type": "text/csv"})
        o.csv_sha256 = self.ok(client.get(f"/api/v1/datasets/{o.dataset}/versions/1"))["sha256"]
        o.experiment_id = post("/api/v1/experiments", {"name": o.experiment})["id"]
        o.logged = post("/api/v1/logged-models", {"experiment_id": o.experiment_id, "name": name("logged")})["id"]
        o.run = post(f"/api/v1/experiments/{o.experiment}/runs", {})["id"]
        self.ok(client.post(f"/api/v1/runs/{o.run}/metrics", {"key": "loss", "value": 1}))
        o.trace, o.assessment = name("tr"), "a-none"
        post("/api/v1/traces", {"id": o.trace, "experiment_id": o.experiment_id, "state": "ok"})
        post("/api/v1/endpoints", {"name": o.endpoint, "model": o.model, "version": "1"})
        self.insert(o)
        o.spare, o.key, o.grant, o.role, o.dead = name("spare"), "key_none", "grt_none", "none", "ded_none"
        o.trial, o.trial_id, o.trial_run = name("trial"), "exp_none", "run_none"
        o.user = "none"
        o.upload = "upl_none"
        o.secret = f"secret-{o.letter}-none"
        o.doomed = f"doomed-{o.letter}-none"
        return o

    def insert(self, o):
        """What only comes about by itself, or takes long."""
        o.training, o.job = unique("trn"), unique("job")[:40]
        self.server.sql(
            "INSERT INTO training_jobs (id, workspace, project, state, trainer, specification, dataset, dataset_version, dataset_sha256,"
            f" dataset_rows, validation_rows, registers, labels, created_at, created_by) VALUES ('{o.training}', '{o.workspace}', '{o.project}',"
            f" 'failed', 'xgboost', '{{}}', '{o.dataset}', 1, '{o.csv_sha256}', 2, 0, 0, '{{}}', NOW(6), 'user:x');"
            "INSERT INTO purlin_jobs (public_id, workspace, project, actor, name, payload, payload_version, state, urgency, run_at, max_attempts,"
            f" trace_id, created_at) VALUES ('{o.job}', '{o.workspace}', '{o.project}', 'user:x', 'nothing.of_{FAR.get(o.letter, 'a')}', '{{}}', 1, 2, 0,"
            f" NOW(6), 1, '', NOW(6)); {self.monitor(o, o.endpoint)}"
            "INSERT INTO drift_alerts (id, workspace, project, monitor_id, endpoint, kind, state, labelled, version, value, threshold, features,"
            f" created_at) VALUES ('{unique('alt')}', '{o.workspace}', '{o.project}', 'mon-{o.endpoint[-16:]}', '{o.endpoint}', 'drift', 'raised', 7, 1, 1, 1,"
            " '[]', NOW(6))")

    def monitor(self, o, endpoint):
        profile = '{"columns":[]}'
        return ("INSERT IGNORE INTO drift_monitors (id, workspace, project, endpoint, model, version, dataset, dataset_version, baseline_accuracy,"
                " champion_since, evaluate_every, drift_window, accuracy_window, psi_threshold, accuracy_margin, evaluated, profile, created_at,"
                f" created_by) VALUES ('mon-{endpoint[-16:]}', '{o.workspace}', '{o.project}', '{endpoint}', '{o.model}', 1, '{o.dataset}', 1, 0.5, 0,"
                f" 250, 10, 10, 2, 0.05, 0, '{profile}', NOW(6), 'user:x');")

    @staticmethod
    def missing_of(o):
        """As long as the names of what is there, and never made."""
        gone = Objects(**vars(o))
        for kind in ("project", "model", "dataset", "experiment", "experiment_id", "endpoint", "run", "training", "job", "spare", "key", "grant", "role", "dead", "secret",
                     "trial", "trial_id", "trial_run", "logged", "doomed", "trace", "assessment", "upload"):
            setattr(gone, kind, getattr(o, kind)[:-4] + "zzzz")
        gone.sha256, gone.csv_sha256 = (hashlib.sha256(o.project.encode() + salt).hexdigest() for salt in (b"1", b"2"))
        return gone

    # ---- What a call takes away is made for each anew

    def fresh_spare(self, o):
        self.ok(o.client.post("/api/v1/endpoints", {"name": o.spare, "model": o.model, "version": "1"}, headers=o.header))

    def fresh_logged(self, o):
        body = {"experiment_id": o.experiment_id, "tags": [{"key": "gone", "value": "x"}]}
        o.logged = self.ok(o.client.post("/api/v1/logged-models", body, headers=o.header))["id"]

    def fresh_trace_tag(self, o):
        self.ok(o.client.put(f"/api/v1/traces/{o.trace}/tags/gone", {"value": "x"}))

    def fresh_assessment(self, o):
        o.assessment = self.ok(o.client.post(f"/api/v1/traces/{o.trace}/assessments", {"name": "good", "value": 1}))["id"]

    def fresh_monitor(self, o):
        self.server.sql(self.monitor(o, o.spare))

    def fresh_file(self, o):
        self.ok(o.client.put(f"/api/v1/artifacts/run/{o.run}/a/b.txt", b"text", headers=o.header))

    def fresh_upload(self, o):
        body = {"kind": "run", "owner": o.run, "path": "p", "parts": 1}
        o.upload = self.ok(o.client.post("/api/v1/artifact-uploads", body, headers=o.header))["upload"]

    def fresh_alias(self, o):
        self.ok(o.client.put(f"/api/v1/models/{o.model}/aliases/gone", {"version": 1}, headers=o.header))

    def fresh_trial(self, o):
        """An experiment with a run and tags, to be changed and deleted."""
        o.trial = o.new("trial")
        tags = [{"key": "gone", "value": "x"}]
        o.trial_id = self.ok(o.client.post("/api/v1/experiments", {"name": o.trial, "tags": tags}, headers=o.header))["id"]
        o.trial_run = self.ok(o.client.post(f"/api/v1/experiments/{o.trial}/runs", {"tags": tags}))["id"]

    def fresh_deleted_trial(self, o):
        self.fresh_trial(o)
        self.ok(o.client.delete(f"/api/v1/experiments/{o.trial}"))

    def fresh_grant(self, o):
        body = {"subject": o.new("user:u"), "role": "viewer", "project": o.project}
        o.grant = self.ok(o.client.op("access.grant_role", body))["id"]

    def fresh_key(self, o):
        o.key = self.ok(o.client.op("access.create_key", {"name": "k", "permissions": ["models:read"], "owner": "user:somebody"}))["id"]

    def fresh_user(self, o):
        o.user = o.new("person")
        self.ok(o.client.op("accounts.create_user", {"name": o.user}))

    def fresh_member(self, o):
        """A user, who is of the server, whatever workspace the object is in."""
        o.user = o.new("person")
        self.ok(self.ours.op("accounts.create_user", {"name": o.user}))

    def fresh_permission(self, o, path=None):
        self.fresh_member(o)
        of = self.ok(o.client.get(path or f"/api/v1/models/{o.model}"))
        grant = {"subject": f"user:{o.user}", "role": "viewer", "project": o.project, "object": of["id"]}
        self.ok(o.client.op("access.grant_role", grant))

    def fresh_experiment_permission(self, o):
        self.fresh_permission(o, f"/api/v1/experiments/{o.experiment}")

    def fresh_role(self, o):
        o.role = f"role-{o.letter}{next_number():06}"
        self.ok(o.client.op("access.create_role", {"name": o.role, "summary": "-", "permissions": ["models:read"]}))

    def fresh_secret(self, o):
        o.secret = o.new("secret")
        self.ok(o.client.op("secrets.put", {"name": o.secret, "value": "x"}))

    def fresh_doomed(self, o):
        o.doomed = o.new("doomed-")
        self.ok(o.client.post("/api/v1/models", {"name": o.doomed}, headers=o.header))
        self.ok(o.client.op("registry.register_version", {"name": o.doomed, "source": "s3://b/x"}, headers=o.header))

    def fresh_dead(self, o):
        o.dead = unique("ded")
        self.server.sql("INSERT INTO events_dead (id, listener, sequence, workspace, error, at)"
                        f" VALUES ('{o.dead}', 'nobody', 1, '{o.workspace}', '-', NOW(6))")


# ---- The callers ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(new_daemon):
    made = World(new_daemon(configuration='server { monitors = { "192.0.2.1" } }\n'))  # we are strangers
    wait_until(lambda: made.ours.op("audit.head").status == 200, 30, "the log of changes has no signed head")
    return made


@pytest.fixture
def callers(world):
    """Of each column: clients, in the order of the column's letters."""
    key = lambda owner: world.ok(world.ours.op("access.create_key", {"name": "m", "permissions": ["*"], "owner": owner}))  # noqa: E731
    found = {"workspace": [], "project": []}
    for role in matrix.ROLES:
        for where, project in (("workspace", {}), ("project", {"project": world.a.project})):
            owner = f"user:{role}.{where}.{next_number()}"
            world.ok(world.ours.op("access.grant_role", {"subject": owner, "role": role, **project}))
            found[where].append(key(owner)["secret"])
    revoked, expired = key("user:admin"), key("user:admin")
    world.ok(world.ours.delete(f"/api/v1/access/keys/{revoked['id']}"))
    world.server.sql(f"UPDATE access_tokens SET expires_at = NOW(6) - INTERVAL 1 SECOND WHERE id = '{expired['id']}'")
    alive = key("user:admin")["secret"]
    found["none"] = [None, revoked["secret"], expired["secret"], alive[:-1] + ("a" if alive[-1] != "a" else "b"), alive[:-1]]
    found["other"] = world.theirs.token
    return found


# ---- The calls --------------------------------------------------------------------------------------------------------------------


def bindings_of(document):
    """(name, method, path) of everything; operations also by their name."""
    found = {}
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            name = what["operationId"].split(" ")[0]  # of a further address, that follows
            found.setdefault(name, []).append((method.upper(), path))
            if what.get("x-operation") and not path.startswith("/api/v1/op/"):
                found[what["operationId"]].append(("POST", f"/api/v1/op/{what['operationId']}"))
    return found


def request_of(row, method, path, target):
    """What is sent: path with query, body, headers."""
    fields = row.ask(target)
    for name in re.findall(r"\{(\w+)\}", path):
        path = path.replace(f"{{{name}}}", str(fields.pop(name)))
    if row.body is not None or method in ("GET", "DELETE"):
        query = "&".join(f"{name}={value}" for name, value in fields.items())
        return path + ("?" + query if query else ""), row.body, dict(row.headers or {})
    return path, fields, {}


class Matrix:
    def __init__(self, world, callers):
        self.world, self.callers = world, callers
        self.wrong, self.connection = [], Client(world.server.port, None)

    def call(self, binding, row, token, target, home=None):
        method, path = binding
        path, body, headers = request_of(row, method, path, target)
        project = target.project if row.creates else home
        if project:
            headers["Purlin-Project"] = project
        if method == "GET" and path == "/api/v1/events":
            return self.first_line(path, token)
        return self.connection.call(method, path, body, headers=headers, token=token or False)

    def first_line(self, path, token):
        """Of a stream, which does not end."""
        one = http.client.HTTPConnection("127.0.0.1", self.world.server.port, timeout=10)
        one.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = one.getresponse()
        told = types.SimpleNamespace(status=answer.status, headers=answer.headers, body=b"" if answer.status == 200 else answer.read())
        one.close()
        return told

    def expect(self, name, binding, column, index, answer):
        expected = getattr(matrix.ROWS[name], column)
        letter = expected[0] if column in ("none", "other") else expected[index]
        got = CLASSES.get(answer.status, "+")
        if got != letter:
            self.wrong.append(f"{name} by {' '.join(binding)}: {column}[{index}] expected {letter}, got {answer.status} {answer.body[:160]!r}")
        return got

    def fresh(self, row, target):
        if row.fresh:
            getattr(self.world, f"fresh_{row.fresh}")(target)

    def unseen(self, name, binding, column, index, answer, letters):
        if name in ("audit.list", "audit.export"):  # it tells that the other workspace was made, which was done from here
            letters = letters.replace("w", "") if isinstance(letters, str) else [letter for letter in letters if letter != "w"]
        for letter in letters:
            if FAR[letter].encode() in answer.body:
                self.wrong.append(f"{name} by {' '.join(binding)}: {column}[{index}] sees {FAR[letter]}: {answer.body[:300]!r}")

    def alike(self, name, binding, column, index, answer, token, target, home):
        """The same about what was never made."""
        row, gone = matrix.ROWS[name], self.world.missing_of(target)
        other = self.call(binding, row, token, gone, home)
        if plain(answer, target) != plain(other, gone):
            self.wrong.append(f"{name} by {' '.join(binding)}: {column}[{index}] tells what exists: {answer} / {other}")

    def check(self, name, binding):
        row, world = matrix.ROWS[name], self.world
        for index, token in enumerate(self.callers["none"]):
            self.expect(name, binding, "none", index, self.call(binding, row, token, world.a))
        for column in ("workspace", "project"):
            for index, token in enumerate(self.callers[column]):
                self.fresh(row, world.a)
                answer = self.call(binding, row, token, world.a, world.a.project if column == "project" else None)
                self.expect(name, binding, column, index, answer)
                self.unseen(name, binding, column, index, answer, "w" if column == "workspace" else "bw")
        if row.beyond != ".....":
            self.fresh(row, world.b)
            for index, token in enumerate(self.callers["project"]):
                answer = self.call(binding, row, token, world.b, world.a.project)
                self.expect(name, binding, "beyond", index, answer)
                self.alike(name, binding, "beyond", index, answer, token, world.b, world.a.project)
        if row.other != ".":
            for token, target in ((self.callers["other"], world.a), (world.ours.token, world.w)):
                self.fresh(row, target)
                answer = self.call(binding, row, token, target)
                self.expect(name, binding, "other", 0, answer)
                self.alike(name, binding, "other", 0, answer, token, target, None)


def plain(answer, target):
    """An answer without what may differ: the trace id, and the name that was asked for."""
    headers = sorted((k.lower(), v) for k, v in answer.headers.items() if k.lower() not in VOLATILE)
    body = answer.body
    for value in {v for v in vars(target).values() if isinstance(v, str) and len(v) > 7}:
        body = body.replace(value.encode(), b"NAME")
    return answer.status, headers, re.sub(rb"[0-9a-f]{32}(?![0-9a-f])", b"TRACE", body)


def test_everybody_is_answered_as_the_table_says(world, callers):
    bindings = bindings_of(world.ours.get("/openapi.json").json)
    unknown = [f'    "{name}": row("1 +++++ 33333 33333 4", lambda o: {{}}),' for name in sorted(bindings) if name not in matrix.ROWS]
    assert not unknown, "tests/integration/matrix.py has no row for these; say who may do what:\n" + "\n".join(unknown)
    assert not (gone := set(matrix.ROWS) - set(bindings)), f"rows of what is no more: {gone}"
    m = Matrix(world, callers)
    for name in sorted(bindings):
        for binding in bindings[name]:
            m.check(name, binding)
    assert not m.wrong, f"{len(m.wrong)} wrong:\n" + "\n".join(m.wrong[:60])
