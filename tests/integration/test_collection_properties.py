"""Random schedules: runs and logged models share bytes, are deleted, come back and are purged, bytes are collected all the time, uploads
take long, the daemon is killed in the middle. Whatever is named is there; in the end nothing else is.

Each worker has owners of its own, of which it knows what they hold; the bytes, a few, are everybody's. PURLIN_SEED repeats the choices."""
import hashlib
import http.client
import os
import random
import threading
import time

import pytest

from daemon import Threads, free_port, staged, unique, wait_until

FULL = os.environ.get("PURLIN_FULL") == "yes"
SECONDS, KILLS, WORKERS = (300, 20, 8) if FULL else (7, 2, 4)
GONE = (OSError, http.client.HTTPException)
SOON = 'plugin "storage-fs" { grace_s = 1, collect_every_s = 1 }\n'
PATHS = ("a", "b/c", "b/d", "e/f/g")


def bodies(seed):
    """The first is empty."""
    made = random.Random(seed)
    return [made.randbytes(size) for size in (0, 1, 500, 500, 70_000, 262_144, 300_000)]


class Unknown(Exception):
    """No answer, or 503: it may have happened or not."""


class Owner:
    """`holds`: for each path what may be there; None is nothing. `states`: how it may stand."""

    def __init__(self, kind, id):
        self.kind, self.id, self.holds, self.states = kind, id, {path: {None} for path in PATHS}, {"active"}


class Worker:
    def __init__(self, server, stop, experiment, seed, contents):
        self.server, self.stop, self.experiment, self.contents = server, stop, experiment, contents
        self.random, self.owners, self.done, self.client = random.Random(seed), [], {}, None

    def run(self):
        while not self.stop.is_set():
            step = self.random.choices(*zip(*self.steps))[0]
            if not self.owners and step is not Worker.create:
                continue
            owner = self.random.choice(self.owners) if self.owners else None
            try:
                step(self, owner)
                self.done[step.__name__] = self.done.get(step.__name__, 0) + 1
            except Unknown:
                self.wait()
        self.wait()

    def wait(self):
        if self.client:
            self.client.close()
        self.client = None
        wait_until(self.server.ready, 60, "not ready again")

    def call(self, method, path, body=None, expected=(200,)):
        try:
            self.client = self.client or self.server.client(timeout=60)
            answer = self.client.call(method, path, body)
        except GONE as error:
            raise Unknown from error
        if answer.status == 503:
            raise Unknown
        assert answer.status in expected, (method, path, answer)
        return answer

    # ---- what may happen

    def create(self, _):
        if len(self.owners) >= 12:
            return
        if self.random.random() < 0.7:
            answer = self.call("POST", f"/api/v1/experiments/{self.experiment['name']}/runs", {}, (201,))
            self.owners.append(Owner("run", answer.json["id"]))
        else:
            answer = self.call("POST", "/api/v1/logged-models", {"experiment_id": self.experiment["id"], "name": "m"}, (201,))
            self.owners.append(Owner("model", answer.json["id"]))

    def upload(self, owner):
        path, body = self.random.choice(PATHS), self.random.choice(self.contents)
        before = owner.holds[path]
        owner.holds[path] = before | {body}
        answer = self.call("PUT", f"/api/v1/artifacts/{owner.kind}/{owner.id}/{path}", body, (200, 404, 409))
        self.after_upload(owner, path, body, before, answer.status)

    def upload_slowly(self, owner):
        """The run may go, and the same bytes, while it is under way."""
        path, body = self.random.choice(PATHS), self.random.choice(self.contents[1:])
        before = owner.holds[path]
        owner.holds[path] = before | {body}
        meanwhile = self.random.choice((lambda: None, lambda: self.delete(owner), lambda: self.remove(owner)))
        try:
            with self.server.socket(timeout=60) as one:
                one.sendall(f"PUT /api/v1/artifacts/{owner.kind}/{owner.id}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
                            f"Authorization: Bearer {self.server.token}\r\n\r\n".encode() + body[:len(body) // 2])
                meanwhile()
                time.sleep(self.random.uniform(0.1, 1.6))
                one.sendall(body[len(body) // 2:])
                answer = http.client.HTTPResponse(one)
                answer.begin()
                answer.read()
        except GONE as error:
            raise Unknown from error
        if answer.status == 503:
            raise Unknown
        self.after_upload(owner, path, body, owner.holds[path] - {body} | before, answer.status)

    def after_upload(self, owner, path, body, before, status):
        assert status in (200, 404, 409), status
        if status == 200:
            assert "active" in owner.states, "a file was stored for something deleted"
            owner.holds[path] = {body} if owner.states == {"active"} else owner.holds[path]
        else:
            assert owner.states != {"active"}, f"{status} for {owner.kind} {owner.id}, which is active"
            owner.holds[path] = before

    def upload_in_parts(self, owner):
        """Ended, given up, or left as it is; parts may come twice."""
        path, body, count = self.random.choice(PATHS), self.random.choice(self.contents), self.random.randrange(1, 4)
        what, before = {"kind": owner.kind, "owner": owner.id, "path": path}, owner.holds[path]
        begun = self.call("POST", "/api/v1/artifact-uploads", {**what, "parts": count}, (201, 404, 409))
        if begun.status != 201:
            assert owner.states != {"active"}, begun
            return
        size, etags = len(body) // count, []
        for number, link in enumerate(begun.json["links"]):
            part = body[number * size:(number + 1) * size if number + 1 < count else None]
            for _ in range(self.random.choice((1, 1, 2))):
                etag = self.call("PUT", link["link"], part).json["etag"]
            etags.append({"number": number + 1, "etag": etag})
        self.random.choice((lambda: None, lambda: None, lambda: self.delete(owner), lambda: self.read(owner), lambda: self.collect(owner)))()
        what["end"] = self.random.choice(("complete", "complete", "complete", "abort", None))
        address = f"/api/v1/artifact-uploads/{begun.json['upload']}/{what['end']}"
        if what.pop("end") is None:
            return
        if address.endswith("abort"):
            self.call("POST", address, what, (200, 404, 409))
            return
        owner.holds[path] = owner.holds[path] | {body}
        answer = self.call("POST", address, {**what, "parts": etags}, (200, 404, 409))
        self.after_upload(owner, path, body, before, answer.status)

    def remove(self, owner):
        path = self.random.choice(("", "b", "a"))
        hit = [one for one in PATHS if one == path or not path or one.startswith(path + "/")]
        before = {one: owner.holds[one] for one in hit}
        owner.holds.update({one: before[one] | {None} for one in hit})
        answer = self.call("POST", "/api/v1/op/artifacts.delete", {"kind": owner.kind, "owner": owner.id, "path": path}, (200, 404, 409))
        owner.holds.update({one: {None} if answer.status == 200 else before[one] for one in hit})

    def read(self, owner):
        path = self.random.choice(PATHS)
        answer = self.call("GET", f"/api/v1/artifacts/{owner.kind}/{owner.id}/{path}", expected=(200, 404))
        found = answer.body if answer.status == 200 else None
        if found is None and owner.states != {"active"}:
            return  # purged meanwhile
        assert found in owner.holds[path], f"{owner.kind} {owner.id} {path}: {found and len(found)}, expected {[one and len(one) for one in owner.holds[path]]}"
        owner.holds[path] = {found}

    def address(self, owner):
        return f"/api/v1/runs/{owner.id}" if owner.kind == "run" else f"/api/v1/logged-models/{owner.id}"

    def delete(self, owner):
        before, owner.states = owner.states, owner.states | {"deleted", "purged"}
        self.call("DELETE", self.address(owner), expected=(200, 404))
        owner.states = {"deleted", "purged"}
        assert before

    def restore(self, owner):
        """It is back with all that it had, or was purged, and stays so."""
        if owner.kind != "run":
            return
        before, owner.states = owner.states, owner.states | {"active"}
        answer = self.call("POST", f"{self.address(owner)}/restore", {}, (200, 404))
        assert answer.status == 200 or "purged" in before, owner.id
        if answer.status == 404:
            return self.owners.remove(owner)
        owner.states = {"active"}
        for path in PATHS:
            self.read_of(owner, path)

    def read_of(self, owner, path):
        answer = self.call("GET", f"/api/v1/artifacts/{owner.kind}/{owner.id}/{path}", expected=(200, 404))
        found = answer.body if answer.status == 200 else None
        assert found in owner.holds[path], f"{owner.kind} {owner.id} {path}: {found and len(found)}, expected {[one and len(one) for one in owner.holds[path]]}"
        owner.holds[path] = {found}

    def purge_one(self, owner):
        ids = {"run_ids" if owner.kind == "run" else "logged_model_ids": [owner.id]}
        before, owner.states = owner.states, owner.states | {"purged"}
        answer = self.call("POST", "/api/v1/purge", ids, (200, 404, 409))
        if answer.status == 409:
            assert "active" in before, f"{owner.id} cannot be purged"
            owner.states = before & {"active"}
        else:
            assert before != {"active"}, f"{owner.kind} {owner.id} was not deleted"
            self.owners.remove(owner)

    def purge_all(self, _):
        self.call("POST", "/api/v1/purge", {})

    def collect(self, _):
        self.call("POST", "/api/v1/storage/collect", {})

    steps = ((create, 6), (upload, 20), (upload_slowly, 3), (upload_in_parts, 4), (remove, 5), (read, 15), (delete, 5), (restore, 6), (purge_one, 3), (purge_all, 1), (collect, 3))


def rows(server):
    return {sha256: int(size) for sha256, size in server.sql("SELECT sha256, size FROM storage_fs_blobs")}


def files(server):
    return {folder.name + path.name for folder in (server.state / "blobs").glob("??") for path in folder.iterdir()}


def used(client, name):
    return next(one for one in client.get("/api/v1/quotas").json["quotas"] if one["name"] == name)["used"]


def verify(workers):
    """What may be active is, as it was left, or was purged; returns the digests that are named."""
    named = set()
    for worker in workers:
        for owner in list(worker.owners):
            found = worker.call("GET", worker.address(owner) + ("?deleted=true" if owner.kind == "model" else ""), expected=(200, 404))
            state = "purged" if found.status == 404 else found.json["lifecycle"]
            assert state in owner.states, (owner.id, state, owner.states)
            if state == "purged":
                worker.owners.remove(owner)
                continue
            owner.states = {state}
            for path in PATHS:
                worker.read_of(owner, path)
            named |= {hashlib.sha256(body).hexdigest() for held in owner.holds.values() for body in held if body is not None}
    return named


def settle(server, named):
    """Until what is stored is what is named."""
    end = time.monotonic() + 60
    while not set(rows(server)) == files(server) == named | {part for part, in server.sql("SELECT sha256 FROM artifacts_parts")}:
        if time.monotonic() > end:
            tables = [server.sql(f"SELECT * FROM {table}") for table in ("storage_fs_blobs", "artifacts_files", "tracking_leftovers", "storage_fs_sweeps")]
            raise AssertionError(f"named: {named}, files: {files(server)}, {tables}, {server.log_text()[-3000:]}")
        time.sleep(0.2)


def test_whatever_happens_what_is_named_is_there(new_daemon):
    seed = int(os.environ.get("PURLIN_SEED") or random.SystemRandom().randrange(10**9))
    print(f"PURLIN_SEED={seed}")
    chosen, stop = random.Random(seed), threading.Event()
    server = new_daemon(configuration=SOON, arguments=("--port", str(free_port())))
    client = server.client()
    for quota in ("runs", "storage"):
        assert client.put(f"/api/v1/workspaces/default/quotas/{quota}", {"limit": 10**9}).status == 200
    experiment = client.post("/api/v1/experiments", {"name": unique("e")}).json
    client.close()
    contents = bodies(seed)
    workers = [Worker(server, stop, experiment, chosen.random(), contents) for _ in range(WORKERS)]
    threads = Threads(*[worker.run for worker in workers])
    for _ in range(KILLS):
        time.sleep(chosen.uniform(0.5, 1.5) * SECONDS / (KILLS + 1))
        server.kill()
        server.start()
    time.sleep(chosen.uniform(0, 1) * SECONDS / (KILLS + 1))
    stop.set()
    threads.join(90)
    named = verify(workers)
    done = {name: sum(worker.done.get(name, 0) for worker in workers) for name in ("upload", "restore", "purge_one", "collect", "upload_slowly", "upload_in_parts")}
    print(done, len(named))
    assert sum(done.values()) > 20, done
    settle(server, named)
    assert named == verify(workers)
    client = server.client()
    assert used(client, "storage") == sum(rows(server).values())
    assert used(client, "runs") == int(server.sql("SELECT COUNT(*) FROM tracking_runs")[0][0])
    for worker in workers:
        for owner in worker.owners:
            worker.delete(owner)
    assert client.post("/api/v1/purge", {}).json["complete"]
    server.sql("UPDATE artifacts_uploads SET begun_at = NOW(6) - INTERVAL 2 DAY")  # those that were left as they were
    wait_until(lambda: not server.sql("SELECT 1 FROM artifacts_files UNION SELECT 1 FROM artifacts_owners"), 20, "files of what is purged stay")
    wait_until(lambda: not rows(server) and not files(server), 40, "bytes stay")
    assert used(client, "storage") == 0 and not staged(server.state / "blobs")
    client.close()
    server.stop()
