"""What a client of MLflow meets when things break: a batch, a new run, a file are there whole or not at all; what may be tried again says so;
whoever tries again makes nothing twice."""
import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from daemon import MARK, ROOT, Threads, free_port, staged, unique, wait_until

API, PROXY = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
FULL = os.environ.get("PURLIN_FULL") == "yes"
ROUNDS = 40 if FULL else 4
GONE = (OSError, http.client.HTTPException)


def ok(answer):
    assert answer.status == 200, answer
    return answer.json


def new_experiment(client):
    return ok(client.post(f"{API}/experiments/create", {"name": unique("e")}))["experiment_id"]


def new_run(client, experiment=None):
    info = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment or new_experiment(client)}))["run"]["info"]
    return info["run_id"], info["artifact_uri"].removeprefix("mlflow-artifacts:/")


def batch(run, number, size=60):
    """Its keys are its own."""
    return {"run_id": run, "metrics": [{"key": f"m{number}", "value": n / 7, "timestamp": 1700000000000 + n, "step": n} for n in range(size)],
            "params": [{"key": f"p{number}.{n}", "value": str(n)} for n in range(size // 3)],
            "tags": [{"key": f"t{number}.{n}", "value": str(n)} for n in range(size // 3)]}


def logged(client, run, number):
    """How much of a batch is there: metrics, parameters, tags."""
    data = ok(client.get(f"{API}/runs/get?run_id={run}"))["run"]["data"]
    history = client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=m{number}&max_results=1000")
    return (len(history.json.get("metrics", [])), sum(one["key"].startswith(f"p{number}.") for one in data.get("params", [])),
            sum(one["key"].startswith(f"t{number}.") for one in data.get("tags", [])))


WHOLE, NOTHING = (60, 20, 20), (0, 0, 0)


class Sender:
    """Sends until the daemon is killed; `open` is what it had no answer for, or one that it may send it again."""

    def __init__(self, server, stop, experiment):
        self.server, self.stop, self.experiment, self.client = server, stop, experiment, server.client(timeout=20)
        self.number, self.acknowledged, self.open = 0, [], []

    def run(self):
        try:
            while not self.stop.is_set():
                self.number += 1
                self.open.append(self.number)
                answer = self.send(self.client, self.number)
                assert answer.status in (200, 503), answer
                if answer.status == 200:
                    self.acknowledged.append(self.open.pop())
        except GONE:
            pass
        finally:
            self.client.close()

    def tried(self):
        return self.acknowledged + self.open


class Batches(Sender):
    def __init__(self, server, stop, experiment):
        super().__init__(server, stop, experiment)
        self.run_id, _ = new_run(self.client, experiment)

    def send(self, client, number):
        return client.post(f"{API}/runs/log-batch", batch(self.run_id, number))

    def verify(self, client):
        for number in self.tried():
            found = logged(client, self.run_id, number)
            assert found == WHOLE or number in self.open and found == NOTHING, f"batch {number}: {found}"
        for number in self.open[-3:]:
            assert self.send(client, number).status == 200
            assert logged(client, self.run_id, number) == WHOLE


class Runs(Sender):
    def send(self, client, number):
        tags = [{"key": f"t{n}", "value": str(number)} for n in range(50)]
        return client.post(f"{API}/runs/create", {"experiment_id": self.experiment, "run_name": f"{id(self)}.{number}", "tags": tags},
                           headers={"Idempotency-Key": f"{self.experiment}.{id(self)}.{number}"})

    def named(self, client, number):
        asked = {"experiment_ids": [self.experiment], "filter": f"attributes.run_name = '{id(self)}.{number}'", "max_results": 10}
        return ok(client.post(f"{API}/runs/search", asked)).get("runs", [])

    def verify(self, client):
        for number in self.tried():
            found = self.named(client, number)
            assert len(found) == 1 or number in self.open and not found, f"run {number}: {len(found)} times"
            assert all(len(run["data"]["tags"]) == 51 for run in found), "half a run"
        for number in self.open[-3:]:
            assert self.send(client, number).status == 200
            assert len(self.named(client, number)) == 1, "it was made twice"


class Files(Sender):
    def __init__(self, server, stop, experiment):
        super().__init__(server, stop, experiment)
        _, self.root = new_run(self.client, experiment)
        self.random = random.Random(id(self))

    def body(self, number):
        return random.Random(number).randbytes(random.Random(-number).choice((0, 10, 100_000, 700_000)))

    def send(self, client, number):
        return client.put(f"{PROXY}/{self.root}/f{number}", self.body(number))

    def verify(self, client):
        there = {one["path"]: one["file_size"] for one in ok(client.get(f"{PROXY}?path={self.root}")).get("files", [])}
        assert set(there) <= {f"f{number}" for number in self.tried()}
        for number in self.tried():
            assert f"f{number}" in there or number in self.open, f"file {number} is lost"
            if f"f{number}" in there:
                assert client.get(f"{PROXY}/{self.root}/f{number}").body == self.body(number), f"file {number} is not whole"
        for number in self.open[-3:]:
            assert self.send(client, number).status == 200
            assert client.get(f"{PROXY}/{self.root}/f{number}").body == self.body(number)


@pytest.fixture(scope="module")
def daemon(scratch, template):
    import daemon as made
    folder = scratch / "mlflow-faults"
    folder.mkdir()
    made.copy_state(template, folder)
    one = made.Daemon(folder, arguments=("--port", str(free_port()))).start()
    try:
        yield one
        one.stop()
    finally:
        one.end()


@pytest.fixture
def client(daemon):
    made = daemon.client()
    yield made
    made.close()


def test_all_or_nothing_when_the_daemon_is_killed(daemon):
    sent = 0
    for number in range(ROUNDS):
        client, stop = daemon.client(), threading.Event()
        experiment = new_experiment(client)
        client.close()
        senders = [kind(daemon, stop, experiment) for kind in (Batches, Batches, Runs, Files)]
        threads = Threads(*[sender.run for sender in senders])
        time.sleep(random.uniform(0.1, 1))
        daemon.kill()
        stop.set()
        threads.join(30)
        daemon.start()
        client = daemon.client()
        for sender in senders:
            sender.verify(client)
            sent += len(sender.acknowledged)
        client.close()
        assert not staged(daemon.state / "blobs"), "half a file stays"
    assert sent > ROUNDS * 3, "hardly anything was sent"


# ---- answers that are lost


def send_and_leave(server, method, path, body, headers=""):
    """Whoever sends it has gone when the answer comes."""
    with server.socket() as one:
        one.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/json\r\n{headers}"
                    f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def test_what_is_sent_again_is_there_once(daemon, client):
    experiment = new_experiment(client)
    run, root = new_run(client, experiment)
    for number in range(10):
        again, created = batch(run, number), {"experiment_id": experiment, "run_name": f"r{number}"}
        key, content = f"{experiment}.{number}", random.randbytes(70_000)
        send_and_leave(daemon, "POST", f"{API}/runs/log-batch", json.dumps(again).encode())
        send_and_leave(daemon, "POST", f"{API}/runs/create", json.dumps(created).encode(), f"Idempotency-Key: {key}\r\n")
        send_and_leave(daemon, "PUT", f"{PROXY}/{root}/f{number}", content)
        ok(client.post(f"{API}/runs/log-batch", again))
        assert logged(client, run, number) == WHOLE
        made = ok(client.post(f"{API}/runs/create", created, headers={"Idempotency-Key": key}))["run"]["info"]["run_id"]
        found = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "filter": f"attributes.run_name = 'r{number}'"}))["runs"]
        assert [one["info"]["run_id"] for one in found] == [made]
        ok(client.put(f"{PROXY}/{root}/f{number}", content))
        assert client.get(f"{PROXY}/{root}/f{number}").body == content
    assert len(ok(client.get(f"{PROXY}?path={root}"))["files"]) == 10


def test_the_same_at_once_is_there_once(daemon, client):
    """The client's deadline was shorter than the work, and the first is still at it."""
    experiment = new_experiment(client)
    run, root = new_run(client, experiment)
    content = random.randbytes(300_000)
    requests = [("POST", f"{API}/runs/log-batch", batch(run, 0), {}), ("PUT", f"{PROXY}/{root}/f", content, {}),
                ("POST", f"{API}/runs/create", {"experiment_id": experiment, "run_name": "once"}, {"Idempotency-Key": f"{experiment}.once"}),
                ("POST", f"{API}/runs/log-metric", {"run_id": run, "key": "x", "value": 1, "timestamp": 1, "step": 1}, {})]

    def send(method, path, body, headers):
        mine = daemon.client()
        for _ in range(5):
            answer = mine.call(method, path, body, headers)
            assert answer.status in (200, 503) or answer.status == 409 and headers, answer
        mine.close()

    Threads(*[lambda one=one: send(*one) for one in requests for _ in range(3)]).join()
    assert logged(client, run, 0) == WHOLE
    assert len(ok(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=x"))["metrics"]) == 1
    assert len(ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment]}))["runs"]) == 2
    assert client.get(f"{PROXY}/{root}/f").body == content and len(ok(client.get(f"{PROXY}?path={root}"))["files"]) == 1


# ---- the database


class Database:
    """The private MariaDB of a daemon: it dies and comes back by the same command."""

    def __init__(self, server):
        self.server, self.pid, self.again = server, server.mariadb(), None
        self.command = open(f"/proc/{self.pid}/cmdline", "rb").read().rstrip(b"\0").decode().split("\0")

    def die(self):
        os.kill(self.pid, signal.SIGKILL)

    def come_back(self):
        self.again = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      env={**os.environ, MARK: self.server.mark}, start_new_session=True)


def until_done(server, method, path, body, headers=None, codes=(503,)):
    """As MLflow's client does: again after Retry-After while the answer is one that passes. The statuses on the way."""
    client, seen, end = server.client(), [], time.monotonic() + 60
    while time.monotonic() < end:
        answer = client.call(method, path, body, headers)
        if answer.status == 200:
            client.close()
            return seen
        assert answer.status in codes and answer.json["error_code"] == "TEMPORARILY_UNAVAILABLE", answer
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        seen.append(answer.status)
        time.sleep(0.5)
    raise AssertionError("it was never done")


CLIENT = """
import sys, mlflow
from mlflow.entities import Metric
client, run = mlflow.MlflowClient(), sys.argv[1]
client.log_batch(run, metrics=[Metric("loss", n / 7, 1700000000000 + n, n) for n in range(100)])
open("file.txt", "w").write("whole")
client.log_artifact(run, "file.txt", "real")
"""


def real_client(server, folder, run):
    """What a user's program does, while the database is away; None where MLflow is not installed."""
    python = next(iter(sorted((ROOT.home() / ".cache" / "purlin-mlflow").glob("v3/bin/python"))), None)
    if not FULL or not python:
        return None
    more = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.port}", "MLFLOW_TRACKING_TOKEN": server.token, MARK: server.mark}
    return subprocess.Popen([str(python), "-c", CLIENT, run], cwd=folder, env={**os.environ, **more}, stdin=subprocess.DEVNULL)


def test_the_database_is_away_for_a_while(new_daemon, tmp_path):
    server = new_daemon()
    client = server.client()
    experiment = new_experiment(client)
    run, root = new_run(client, experiment)
    content = random.randbytes(300_000)
    database, seen = Database(server), {}
    database.die()
    wait_until(lambda: client.get("/readyz").status == 503, 10, "it is not noticed")
    requests = {"batch": ("POST", f"{API}/runs/log-batch", batch(run, 0)), "file": ("PUT", f"{PROXY}/{root}/f", content),
                "run": ("POST", f"{API}/runs/create", {"experiment_id": experiment, "run_name": "once"}, {"Idempotency-Key": unique("k")}),
                "read": ("GET", f"{API}/runs/get?run_id={run}", None), "list": ("GET", f"{PROXY}?path={root}", None),
                "search": ("POST", f"{API}/runs/search", {"experiment_ids": [experiment]})}
    threads = Threads(*[lambda name=name, one=one: seen.update({name: until_done(server, *one)}) for name, one in requests.items()])
    program = real_client(server, tmp_path, run)
    time.sleep(20 if program else 1.5)
    database.come_back()
    threads.join(60)
    assert all(seen.values()), seen
    assert logged(client, run, 0) == WHOLE and client.get(f"{PROXY}/{root}/f").body == content
    assert len(ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment]}))["runs"]) == 2
    if program:
        assert program.wait(120) == 0
        assert client.get(f"{PROXY}/{root}/real/file.txt").body == b"whole"
        assert len(ok(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=loss&max_results=500"))["metrics"]) == 100
    # and in the middle of what is under way
    stop = threading.Event()
    senders = [kind(server, stop, experiment) for kind in (Batches, Runs, Files)]
    threads = Threads(*[sender.run for sender in senders])
    wait_until(lambda: all(sender.acknowledged for sender in senders), 20, "nothing is sent")
    time.sleep(0.3)
    database.again.kill()
    database.again.wait()
    time.sleep(0.3)
    stop.set()
    threads.join(40)
    database.come_back()
    wait_until(server.ready, 40, "not ready again")
    for sender in senders:
        sender.verify(client)
    client.close()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(40) == 0
    database.again.terminate()
    database.again.wait(30)


# ---- the disk


def test_the_disk_is_full(new_daemon, full_disk):
    server = new_daemon(configuration=f'plugin "storage-fs" {{ root = "{full_disk}/blobs" }}\n')
    client = server.client()
    run, root = new_run(client)
    ok(client.put(f"{PROXY}/{root}/before", b"before"))
    filler = full_disk / "filler"
    filler.write_bytes(b"\0" * (3 << 20))
    files = sorted(path for path in (full_disk / "blobs").rglob("*") if path.is_file())
    for name in ("new", "before"):
        answer = client.put(f"{PROXY}/{root}/{name}", random.randbytes(2_000_000))
        assert answer.status == 507 and set(answer.json) == {"error_code", "message"}, answer
    wait_until(lambda: sorted(path for path in (full_disk / "blobs").rglob("*") if path.is_file()) == files, 5, "half a file stays")
    assert [one["path"] for one in ok(client.get(f"{PROXY}?path={root}"))["files"]] == ["before"]
    assert client.get(f"{PROXY}/{root}/before").body == b"before" and client.get(f"{PROXY}/{root}/new").status == 404
    ok(client.post(f"{API}/runs/log-batch", batch(run, 0)))
    filler.unlink()
    content = random.randbytes(2_000_000)
    ok(client.put(f"{PROXY}/{root}/new", content))
    assert client.get(f"{PROXY}/{root}/new").body == content
    client.close()
    server.stop()
