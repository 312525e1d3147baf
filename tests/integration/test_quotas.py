"""How much of something a workspace may have: exact under concurrency and after a crash, set by the server's administrators alone."""
import http.client
import select
import threading

import pytest

from daemon import Client, Threads, staged, unique, wait_until


@pytest.fixture
def tenant(server, client):
    """The owner of a new workspace; .workspace is its name."""
    made = new_tenant(client, server.port)
    yield made
    made.close()


def new_tenant(client, port):
    name = unique("w")
    secret = client.op("access.create_workspace", {"name": name, "owner": f"user:{unique('o')}"}).json["secret"]
    made = Client(port, secret)
    made.workspace = name
    return made


def set_quota(client, workspace, name, limit=None):
    body = {} if limit is None else {"limit": limit}
    answer = client.put(f"/api/v1/workspaces/{workspace}/quotas/{name}", body)
    assert answer.status == 200, answer
    return answer.json


def quotas(client, **more):
    answer = client.get("/api/v1/quotas", **more)
    assert answer.status == 200, answer
    return {quota["name"]: quota for quota in answer.json["quotas"]}


def experiment(client):
    name = unique("e")
    assert client.post("/api/v1/experiments", {"name": name}).status == 201
    return f"/api/v1/experiments/{name}/runs"


# ---- Who sets and sees them -------------------------------------------------------------------------------------------------------


def test_administrators_of_the_server_set_them_and_members_see_them(client, tenant):
    runs = experiment(tenant)
    assert tenant.post(runs, {}).status == 201
    assert quotas(tenant)["runs"] == {"workspace": tenant.workspace, "name": "runs", "summary": "Runs that exist", "unit": "runs", "used": 1}
    assert set_quota(client, tenant.workspace, "runs", 2)["used"] == 1
    seen = quotas(tenant)
    assert (seen["runs"]["limit"], seen["runs"]["used"]) == (2, 1)
    assert "limit" not in seen["jobs"] and seen["jobs"]["used"] == 0
    assert "used" not in seen["requests"]
    theirs = client.op("access.list_quotas", {"workspace": tenant.workspace}).json["quotas"]
    assert {quota["name"]: quota for quota in theirs} == seen
    assert "limit" not in quotas(client)["runs"]  # of another workspace


def test_an_owner_raises_nothing_and_sees_no_other_workspace(client, tenant):
    set_quota(client, tenant.workspace, "runs", 1)
    for workspace in (tenant.workspace, "default", "nowhere"):
        assert tenant.put(f"/api/v1/workspaces/{workspace}/quotas/runs", {"limit": 5}).status == 403
    for workspace in ("default", "nowhere"):
        assert tenant.op("access.list_quotas", {"workspace": workspace}).status == 403
    assert quotas(tenant)["runs"]["limit"] == 1


@pytest.mark.parametrize("workspace, name, limit, status, said", [
    ("nowhere", "runs", 1, 404, "no workspace 'nowhere'"),
    ("default", "moons", 1, 404, "no quota 'moons'; there are: "),
    ("default", "runs", -1, 400, "limit"),
    ("default", "runs", 1.5, 400, "limit"),
    ("default", "requests", 0, 400, "limit"),
])
def test_what_cannot_be_set_is_said(client, workspace, name, limit, status, said):
    answer = client.put(f"/api/v1/workspaces/{workspace}/quotas/{name}", {"limit": limit})
    assert answer.status == status and said in answer.body.decode()


# ---- Counting ----------------------------------------------------------------------------------------------------------------------


def test_the_limit_holds_and_is_told(client, tenant):
    runs = experiment(tenant)
    set_quota(client, tenant.workspace, "runs", 2)
    assert [tenant.post(runs, {}).status for _ in range(3)] == [201, 201, 429]
    refused = tenant.post(runs, {})
    assert refused.json["detail"] == "the workspace has 2 of at most 2 runs (the quota 'runs')"
    assert refused.headers["Retry-After"] is None
    assert len(tenant.get(runs).json["runs"]) == 2
    assert 'purlin_quota_refused_total{quota="runs"} ' in client.get("/metrics").body.decode()
    set_quota(client, tenant.workspace, "runs", 3)
    assert [tenant.post(runs, {}).status for _ in range(2)] == [201, 429]
    set_quota(client, tenant.workspace, "runs", 1)  # takes nothing away
    assert tenant.post(runs, {}).status == 429 and quotas(tenant)["runs"]["used"] == 3
    set_quota(client, tenant.workspace, "runs")
    wait_until(lambda: tenant.post(runs, {}).status == 201, 5, "still limited")
    used = len(tenant.get(runs).json["runs"])
    assert set_quota(client, tenant.workspace, "runs", 10)["used"] == used  # counted anew: nothing was counted meanwhile


def test_what_fails_has_taken_nothing(client, tenant):
    runs = experiment(tenant)
    set_quota(client, tenant.workspace, "runs", 1)
    assert tenant.post("/api/v1/experiments/nowhere/runs", {}).status == 404
    assert tenant.post(runs, {"name": "x" * 251}).status == 400
    assert quotas(tenant)["runs"]["used"] == 0
    assert tenant.post(runs, {}).status == 201


def create_at_once(server, token, runs, workers, each):
    """How many were made; no answer but 201 and 429."""
    answers, lock = [], threading.Lock()

    def work():
        client = Client(server.port, token)
        for _ in range(each):
            status = client.post(runs, {}).status
            with lock:
                answers.append(status)
        client.close()

    Threads(*[work] * workers).join(120)
    assert set(answers) <= {201, 429}, answers
    return answers.count(201)


@pytest.mark.parametrize("later", [False, True])
def test_of_fifty_at_once_as_many_succeed_as_may(server, client, tenant, later):
    """Also when the limit is set while they come: none is counted twice, none is forgotten."""
    runs = experiment(tenant)
    if not later:
        set_quota(client, tenant.workspace, "runs", 20)
        assert create_at_once(server, tenant.token, runs, 25, 2) == 20
    else:
        made = []
        racing = Threads(lambda: made.append(create_at_once(server, tenant.token, runs, 10, 30)))
        wait_until(lambda: server.sql(f"SELECT 1 FROM purlin_quotas WHERE workspace = '{tenant.workspace}'"), 10, "no run")
        then = set_quota(client, tenant.workspace, "runs", 150)
        racing.join(120)
        assert made[0] == max(150, then["used"])
    rows = int(server.sql(f"SELECT COUNT(*) FROM tracking_runs WHERE workspace = '{tenant.workspace}'")[0][0])
    used = quotas(tenant)["runs"]["used"]
    assert used == rows and (rows == 20 if not later else rows >= 150)


def test_after_a_crash_what_is_counted_is_what_there_is(own_server):
    client = own_server.client()
    tenant = new_tenant(client, own_server.port)
    runs = experiment(tenant)
    set_quota(client, tenant.workspace, "runs", 400)
    answered = []

    def work():
        mine = Client(own_server.port, tenant.token)
        try:
            while True:
                if mine.post(runs, {}).status == 201:
                    answered.append(1)
        except (OSError, http.client.HTTPException):
            pass  # it was cut off

    racing = Threads(*[work] * 8)
    wait_until(lambda: len(answered) > 20, 20, "no runs")
    own_server.kill()
    racing.join()
    own_server.start()
    tenant = Client(own_server.port, tenant.token)
    workspace = quotas(tenant)["runs"]["workspace"]
    rows = int(own_server.sql(f"SELECT COUNT(*) FROM tracking_runs WHERE workspace = '{workspace}'")[0][0])
    assert len(answered) <= rows == quotas(tenant)["runs"]["used"] <= 400


# ---- Bytes --------------------------------------------------------------------------------------------------------------------------


def csv(size, seed):
    """So many bytes of CSV, different for each seed."""
    line = b"%09d\n" % seed
    return (b"x\n" + line * (size // len(line) + 1))[:size]


def upload(client, name, body):
    return client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"})


def stored(server, workspace):
    """What is on the disk: bytes of the workspace, and files that are being written."""
    place = server.state / "blobs" / "workspaces" / workspace
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()), staged(server.state / "blobs")


def test_bytes_are_counted_once_and_refused_beyond_the_limit(server, client, tenant):
    set_quota(client, tenant.workspace, "storage", 10000)
    assert upload(tenant, "a", csv(4000, 1)).status == 201
    assert upload(tenant, "b", csv(4000, 1)).status == 201  # the same bytes
    assert upload(tenant, "c", csv(6000, 2)).status == 201
    assert quotas(tenant)["storage"]["used"] == 10000
    refused = upload(tenant, "d", csv(100, 3))
    assert (refused.status, refused.json["type"]) == (507, "urn:purlin:problem:no-space")
    assert refused.json["detail"] == "the workspace has 10000 of at most 10000 bytes, and 100 more do not fit (the quota 'storage')"
    assert stored(server, tenant.workspace) == (10000, [])
    assert [one["name"] for one in tenant.get("/api/v1/datasets").json["datasets"]] == ["a", "b", "c"]


def test_a_stream_ends_where_the_limit_is(server, client, tenant):
    set_quota(client, tenant.workspace, "storage", 1000000)
    part = csv(100000, 4)[2:]
    part = b"%x\r\n" % len(part) + part + b"\r\n"
    sent = 0
    with server.socket() as stream:
        stream.sendall(b"POST /api/v1/datasets/d/versions HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                       b"Transfer-Encoding: chunked\r\nAuthorization: Bearer " + tenant.token.encode() + b"\r\n\r\n")
        stream.sendall(b"2\r\nx\n\r\n")
        while sent < 1000 and not select.select([stream], [], [], 0)[0]:
            stream.sendall(part)
            sent += 1
        assert sent < 900, "it would have read on for ever"
        assert b" 507 " in stream.recv(65536)
    wait_until(lambda: stored(server, tenant.workspace) == (0, []), 5, "half-written files stay")
    assert quotas(tenant)["storage"]["used"] == 0


def test_of_uploads_at_once_those_that_fit_succeed(server, client, tenant):
    set_quota(client, tenant.workspace, "storage", 200000)
    answers = []

    def work(number):
        mine = Client(server.port, tenant.token)
        answers.append(upload(mine, f"d{number}", csv(60000, number)).status)
        mine.close()

    Threads(*[lambda number=number: work(number) for number in range(12)]).join()
    assert sorted(answers) == [201] * 3 + [507] * 9
    assert stored(server, tenant.workspace) == (180000, [])
    assert quotas(tenant)["storage"]["used"] == 180000


def test_bytes_that_never_came_are_given_back(own_server):
    """A daemon was killed between the row and the file, or between the file and its note."""
    client = own_server.client()
    set_quota(client, "default", "storage", 100000)
    sha256 = upload(client, "a", csv(500, 1)).json["sha256"]
    own_server.kill()
    own_server.start()
    own_server.sql(f"INSERT INTO storage_fs_blobs (workspace, sha256, size, placed, created_at) VALUES ('default', '{'0' * 64}', 700, FALSE, NOW(6));"
                   " UPDATE purlin_quotas SET used = used + 700 WHERE workspace = 'default' AND name = 'storage';"
                   f" UPDATE storage_fs_blobs SET placed = FALSE WHERE sha256 = '{sha256}'")
    own_server.kill()
    own_server.start()
    client = own_server.client()
    wait_until(lambda: own_server.sql("SELECT sha256, placed FROM storage_fs_blobs") == [[sha256, "1"]], 10, "not settled")
    assert quotas(client)["storage"]["used"] == 500
    client.close()


# ---- Jobs ---------------------------------------------------------------------------------------------------------------------------


def test_jobs_of_a_workspace_wait_for_its_quota(server, client, tenant):
    other = new_tenant(client, server.port)
    set_quota(client, tenant.workspace, "jobs", 0)
    body = {"name": "training.run", "payload": {"job_id": "trn_none"}}
    held, free = (one.op("jobs.enqueue", body).json["id"] for one in (tenant, other))
    wait_until(lambda: other.get(f"/api/v1/jobs/{free}").json["attempt"] > 0, 10, "the other's does not start")
    why = tenant.get(f"/api/v1/jobs/{held}/explanation").json
    assert (why["reason"], why["text"]) == ("quota", "the workspace runs 0 of at most 0 jobs (the quota 'jobs')")
    assert tenant.get(f"/api/v1/jobs/{held}").json["attempt"] == 0
    set_quota(client, tenant.workspace, "jobs", 1)
    wait_until(lambda: tenant.get(f"/api/v1/jobs/{held}").json["attempt"] > 0, 10, "it does not start")
    other.close()


# ---- Requests -----------------------------------------------------------------------------------------------------------------------


def test_requests_of_a_workspace(server, client, tenant):
    other = new_tenant(client, server.port)
    set_quota(client, tenant.workspace, "requests", 5)
    wait_until(lambda: "RateLimit" in tenant.get("/api/v1/models").headers, 5, "no limit")
    answers = [tenant.get("/api/v1/models") for _ in range(6)]
    assert answers[-1].status == 429 and 1 <= int(answers[-1].headers["Retry-After"]) <= 12
    assert answers[-1].headers["RateLimit-Policy"] == '"requests";q=5;w=60'
    assert other.get("/api/v1/models").status == 200
    assert tenant.get("/healthz", token=False).status == 200
    set_quota(client, tenant.workspace, "requests")
    wait_until(lambda: tenant.get("/api/v1/models").status == 200, 5, "still limited")
    other.close()
