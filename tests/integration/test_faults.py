"""What is acknowledged is never lost: the daemon is killed, the database is killed, the disk is full, a blob is damaged."""
import hashlib
import http.client
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

from daemon import MARK, Threads, staged, unique, wait_until

FULL = os.environ.get("PURLIN_FULL") == "yes"
ROUNDS = 40 if FULL else 20
GONE = (OSError, http.client.HTTPException)


class Writer:
    """Writes until told to stop and remembers what was acknowledged. A request that was cut off may or may not have happened."""

    def __init__(self, server, stop):
        self.client, self.stop, self.acknowledged = server.client(timeout=10), stop, []

    def run(self):
        try:
            while not self.stop.is_set():
                self.write()
        except GONE:
            pass  # killed
        finally:
            self.client.close()

    def sent(self, answer, what):
        if answer.status in (200, 201):
            self.acknowledged.append(what)
        else:
            assert answer.status == 503, answer


class Metrics(Writer):
    def __init__(self, server, stop, run):
        super().__init__(server, stop)
        self.run_id, self.step = run, 0

    def write(self):
        self.step += 1
        steps = [self.step * 10 + offset for offset in range(5)]
        key = f"k{id(self)}"
        batch = {"metrics": [{"key": key, "value": step / 7, "step": step} for step in steps]}
        self.sent(self.client.post(f"/api/v1/runs/{self.run_id}/batch", batch), (key, steps))

    def verify(self, client):
        if not self.acknowledged:
            return
        key = self.acknowledged[0][0]
        got = client.get(f"/api/v1/runs/{self.run_id}/metrics/{key}?limit=25000").json["metrics"]
        have = {one["step"]: one["value"] for one in got}
        for _, steps in self.acknowledged:
            for step in steps:
                assert have.get(step) == step / 7, f"metric {key} step {step} was acknowledged and is lost"
        for first in {step // 10 for step in have}:
            assert sum(step // 10 == first for step in have) == 5, "half a batch"


class Models(Writer):
    def write(self):
        name = unique("m")
        self.sent(self.client.post("/api/v1/models", {"name": name}), name)

    def verify(self, client):
        for name in self.acknowledged:
            assert client.get(f"/api/v1/models/{name}").status == 200, f"model {name} was acknowledged and is lost"


class Datasets(Writer):
    def write(self):
        name = unique("d")
        body = b"x,y\n" + b"".join(b"%d,%d\n" % (row, random.randrange(1 << 30)) for row in range(random.randrange(1, 8000)))
        answer = self.client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"})
        self.sent(answer, (name, hashlib.sha256(body).hexdigest()))

    def verify(self, client):
        for name, digest in self.acknowledged:
            content = client.get(f"/api/v1/datasets/{name}/versions/1/content")
            assert content.status == 200 and hashlib.sha256(content.body).hexdigest() == digest, f"dataset {name} was acknowledged and is lost"


class Jobs(Writer):
    """Jobs that are due in an hour, so that each still waits when it is looked for."""

    def write(self):
        body = {"name": "training.run", "payload": {"job_id": "trn_nobody"}, "delay_ms": 3600000}
        answer = self.client.post("/api/v1/jobs", body)
        self.sent(answer, answer.json.get("id"))

    def verify(self, client):
        for job in self.acknowledged:
            answer = client.get(f"/api/v1/jobs/{job}")
            assert answer.status == 200 and answer.json["state"] == "waiting", f"job {job} was acknowledged and is lost: {answer}"


def every_dataset_is_whole(client):
    """Acknowledged or not: what is listed can be downloaded whole."""
    after = ""
    while True:
        page = client.get(f"/api/v1/datasets?limit=500&after={after}").json["datasets"]
        if not page:
            return
        for one in page:
            version = client.get(f"/api/v1/datasets/{one['name']}/versions/0")
            assert version.status == 200, f"{one['name']}: a dataset without its version"
            content = client.get(f"/api/v1/datasets/{one['name']}/versions/0/content")
            assert content.status == 200 and hashlib.sha256(content.body).hexdigest() == version.json["sha256"], one["name"]
        after = page[-1]["name"]


def new_run(client):
    experiment = unique("e")
    assert client.post("/api/v1/experiments", {"name": experiment}).status == 201
    return client.post(f"/api/v1/experiments/{experiment}/runs", {}).json["id"]


def writers_for(server, stop):
    client = server.client()
    made = [Metrics(server, stop, new_run(client)), Models(server, stop), Datasets(server, stop), Jobs(server, stop)]
    client.close()
    return made


def test_nothing_acknowledged_is_lost_when_the_daemon_is_killed(own_server):
    """kill -9 at random moments under load, again and again on the same state."""
    total = 0
    for number in range(ROUNDS):
        stop = threading.Event()
        writers = writers_for(own_server, stop)
        threads = Threads(*[writer.run for writer in writers])
        time.sleep(random.uniform(0.05, 0.8))
        own_server.kill()
        stop.set()
        threads.join(20)
        own_server.start()
        wait_until(own_server.ready, 20, f"round {number}: not ready again: {own_server.log_text()}")
        client = own_server.client()
        for writer in writers:
            writer.verify(client)
            total += len(writer.acknowledged)
        if number % 5 == 4:
            every_dataset_is_whole(client)
        client.close()
        assert not staged(own_server.state / "blobs"), "staging files of the killed daemon are still there"
    assert total > ROUNDS * 4, "hardly anything was written"
    own_server.stop()


def test_nothing_is_left_running_after_a_kill(own_server):
    own_server.kill()
    wait_until(lambda: not own_server.left(), 30, f"left running after kill -9: {own_server.left()}")


# ---- the database


def start_mariadb(server, command):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            env={**os.environ, MARK: server.mark}, start_new_session=True)


def test_killed_database_is_503_and_comes_back_by_itself(own_server):
    stop = threading.Event()
    writers = writers_for(own_server, stop)
    threads = Threads(*[writer.run for writer in writers])
    time.sleep(0.5)
    pid = own_server.mariadb()
    command = open(f"/proc/{pid}/cmdline", "rb").read().rstrip(b"\0").decode().split("\0")
    os.kill(pid, signal.SIGKILL)
    client = own_server.client()
    wait_until(lambda: client.get("/readyz").status == 503, 10, "/readyz does not notice")
    assert client.get("/healthz").status == 200, "the process itself is well"
    for method, path, body in (("GET", "/api/v1/models", None), ("POST", "/api/v1/models", {"name": unique("m")}), ("GET", "/api/v1/jobs", None)):
        started = time.monotonic()
        answer = client.call(method, path, body)
        assert answer.status == 503, answer
        assert int(answer.headers["Retry-After"]) >= 1, "no Retry-After"
        assert answer.json["type"] == "urn:purlin:problem:unavailable"
        assert time.monotonic() - started < 15
    stop.set()
    threads.join(40)
    again = start_mariadb(own_server, command)
    try:
        wait_until(own_server.ready, 40, f"not ready again: {own_server.log_text()[-2000:]}")
        assert own_server.process.poll() is None, "it is the same daemon"
        for writer in writers:
            writer.verify(client)
        assert client.post("/api/v1/models", {"name": unique("m")}).status == 201
    finally:
        client.close()
        own_server.process.send_signal(signal.SIGTERM)
        assert own_server.process.wait(40) == 0
        again.terminate()
        again.wait(30)


def test_an_internal_error_tells_the_client_nothing_and_the_log_all(own_server):
    client = own_server.client()
    own_server.sql("RENAME TABLE registry_models TO registry_models_away")
    try:
        answer = client.get("/api/v1/models")
    finally:
        own_server.sql("RENAME TABLE registry_models_away TO registry_models")
    assert answer.status == 500 and b"registry_models" not in answer.body
    trace = answer.json["trace_id"]
    wait_until(lambda: [r for r in own_server.records("error") if r.get("trace_id") == trace and "registry_models" in r["message"]],
               5, "the log does not tell")


def test_stopped_database_holds_nobody_for_ever(new_daemon):
    """It is there and does not answer (SIGSTOP): the deadline of a request still holds."""
    server = new_daemon(configuration="server { request_timeout_ms = 2000 }\n")
    client = server.client()
    pid = server.mariadb()
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = client.get("/api/v1/models")
        assert answer.status in (503, 504) and time.monotonic() - started < 8, answer
        assert client.get("/healthz").status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: client.get("/api/v1/models").status == 200, 30, "no service after SIGCONT")
    client.close()
    server.stop()


# ---- storage


def files_in(folder):
    """All but the one that a daemon holds locked while it lives."""
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "daemons" and path.name != ".nobackup"]


def rows(count, seed):
    return b"x\n" + b"".join(b"%d%04d\n" % (seed, row) for row in range(count))


def upload(client, name, body):
    return client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"})


def test_full_disk(new_daemon, full_disk):
    server = new_daemon(configuration=f'plugin "storage-fs" {{ root = "{full_disk}/blobs" }}\n')
    client = server.client()
    assert upload(client, "before", rows(1000, 1)).status in (200, 201)
    filler = full_disk / "filler"
    filler.write_bytes(b"\0" * (3 << 20))
    before = sorted(files_in(full_disk / "blobs"))
    answer = upload(client, "full", rows(300000, 2))
    assert answer.status == 507 and answer.json["type"] == "urn:purlin:problem:no-space", answer
    wait_until(lambda: sorted(files_in(full_disk / "blobs")) == before, 5, "half-written files stay")
    assert client.get("/api/v1/datasets/full/versions/0").status == 404
    assert "full" not in [one["name"] for one in client.get("/api/v1/datasets").json["datasets"]]
    assert client.get("/api/v1/datasets/before/versions/1/content").body == rows(1000, 1), "reading goes on"
    filler.unlink()
    body = rows(300000, 2)
    assert upload(client, "full", body).status in (200, 201)
    assert client.get("/api/v1/datasets/full/versions/1/content").body == body
    client.close()
    server.stop()


def blob_of(server, digest):
    found = [path for path in files_in(server.state / "blobs") if digest in path.name or digest == "".join(path.parts[-2:]) or digest.endswith(path.name)]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_damaged_blob_is_never_served_as_good(own_server, at):
    client = own_server.client()
    body = rows(60000, 3)
    digest = upload(client, "data", body).json["sha256"]
    path = blob_of(own_server, digest)
    damaged = bytearray(path.read_bytes())
    damaged[{"first": 2, "middle": len(damaged) // 2, "last": -2}[at]] ^= 1
    path.write_bytes(damaged)
    try:
        answer = client.get("/api/v1/datasets/data/versions/1/content")
        assert answer.status == 500 and damaged[:1000] not in answer.body, "a damaged blob was served as a whole answer"
    except http.client.IncompleteRead as cut:
        assert len(cut.partial) < len(body), "broken off, so that no client takes it for whole"
    except (ConnectionResetError, http.client.RemoteDisconnected):
        pass
    wait_until(lambda: [record for record in own_server.records("error") if "damaged" in record["message"]], 5, "the log does not tell")
    assert client.get("/healthz").status == 200
    path.write_bytes(body)
    assert client.get("/api/v1/datasets/data/versions/1/content").body == body
    client.close()


def test_removed_blob_is_an_error_and_not_an_empty_file(own_server):
    client = own_server.client()
    digest = upload(client, "data", rows(10, 4)).json["sha256"]
    blob_of(own_server, digest).unlink()
    answer = client.get("/api/v1/datasets/data/versions/1/content")
    assert answer.status in (404, 500) and answer.headers["Content-Type"] == "application/problem+json", answer
    assert upload(client, "data", rows(10, 4)).status in (200, 201), "the same bytes can be sent again"
    assert client.get("/api/v1/datasets/data/versions/1/content").body == rows(10, 4)
    client.close()


def test_truncated_blob_is_an_error(own_server):
    client = own_server.client()
    body = rows(60000, 5)
    path = blob_of(own_server, upload(client, "data", body).json["sha256"])
    with open(path, "r+b") as file:
        file.truncate(len(body) // 2)
    try:
        answer = client.get("/api/v1/datasets/data/versions/1/content")
        assert answer.status == 500, "half a blob was served as a whole answer"
    except (http.client.IncompleteRead, ConnectionResetError, http.client.RemoteDisconnected):
        pass
    assert client.get("/healthz").status == 200
    client.close()


def test_uploads_at_once_of_the_same_bytes_are_one_file(own_server):
    body, answers = rows(20000, 6), []

    def send(name):
        client = own_server.client()
        answers.append(upload(client, name, body).status)
        client.close()

    Threads(*[lambda name=name: send(name) for name in ("a", "b", "c", "d")]).join()
    assert all(status in (200, 201) for status in answers) and len(answers) == 4
    stored = files_in(own_server.state / "blobs")
    assert len(stored) == 1 and stored[0].read_bytes() == body


def test_idle_connections_leave_descriptors_for_the_work(new_daemon):
    server = new_daemon(start=False)
    server.command = ["prlimit", "--nofile=200:200", *server.command]
    server.start()
    client = server.client()
    assert client.get("/api/v1/models").status == 200
    idle = [server.socket() for _ in range(300)]
    name = unique("crowd")
    answer = client.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n", headers={"Content-Type": "text/csv"})
    assert answer.status == 201, answer
    late = server.client(timeout=5)
    answer = late.get("/readyz")
    assert answer.status == 503 and b"Too many connections" in answer.body
    late.close()
    for one in idle:
        one.close()
    wait_until(server.ready, 5, "it serves again")
    client.close()
    server.stop()


def test_the_limit_on_open_files_is_raised_as_far_as_it_may(new_daemon):
    server = new_daemon(start=False)
    server.command = ["prlimit", "--nofile=200:4000", *server.command]
    server.start()
    client = server.client()
    idle = [server.socket() for _ in range(300)]
    assert client.get("/readyz").status == 200
    for one in idle:
        one.close()
    client.close()
    server.stop()


def test_slow_readers_of_a_log_leave_the_database_to_others(own_server):
    job = "trn_" + "a" * 21
    own_server.sql(f"INSERT INTO training_jobs SET id = '{job}', workspace = 'default', project = 'default', state = 'succeeded',"
                   " trainer = '', specification = '{}', dataset = '', dataset_version = 1, dataset_sha256 = '', dataset_rows = 0,"
                   " validation_rows = 0, registers = 0, labels = '{}', created_at = NOW(6), created_by = 'user:admin'")
    own_server.sql("INSERT INTO training_logs (workspace, project, job_id, attempt, at, text)"
                   f" SELECT 'default', 'default', '{job}', 1, NOW(6), REPEAT('x', 60000) FROM seq_1_to_400")
    slow = []
    for _ in range(60):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", own_server.port))
        one.sendall(f"GET /api/v1/training/jobs/{job}/log HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own_server.token}\r\n\r\n".encode())
        slow.append(one)
    for one in slow:
        assert one.recv(12) == b"HTTP/1.1 200"
    client = own_server.client()
    assert {client.get("/api/v1/models").status for _ in range(10)} == {200}
    whole = client.get(f"/api/v1/training/jobs/{job}/log")
    assert whole.status == 200 and whole.body == b"x" * 60000 * 400
    client.close()
    for one in slow:
        one.close()
