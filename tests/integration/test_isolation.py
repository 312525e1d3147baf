"""Two workspaces in which everything has the same name: neither sees, counts, blocks or changes anything of the other."""
import hashlib
import json
import uuid

import pytest

import models
from daemon import Client, unique, wait_until
from test_events import Stream

POLICIES = """
purlin.policy("access.authorize", function(question)
  if question.workspace:sub(1, 6) == "silent" and question.operation == "registry.create_model" then
    return { allow = false, reason = "nothing new here" }
  end
  return { allow = true }
end)
purlin.route("GET /names", { permission = "models:read" }, function(request)
  local names = {}
  for _, model in ipairs(purlin.op.registry.list_models{}.models) do names[#names + 1] = model.description end
  return table.concat(names, ",")
end)
"""


class Tenant(Client):
    """The owner of a workspace of its own, with one of each."""

    def __init__(self, server, prefix):
        self.workspace = unique(prefix)
        admin = server.client()
        made = admin.op("access.create_workspace", {"name": self.workspace, "owner": "user:eva"})
        admin.close()
        super().__init__(server.port, made.json["secret"])
        self.server = server

    def make(self, path, body, **more):
        answer = self.post(path, body, **more)
        assert answer.status == 201, answer
        return answer.json

    def fill(self):
        self.make("/api/v1/models", {"name": "churn", "description": self.workspace})
        self.csv = f"x,y,class\n{self.workspace},1,0\n{self.workspace},2,1\n".encode()
        self.dataset = self.make("/api/v1/datasets/sales/versions", self.csv, headers={"Content-Type": "text/csv"})
        models.register(self.server, self, ["x"], name="churn", data=json.dumps(models.model_json(["x"], base=str(uuid.uuid4().int % 1000))).encode())
        self.make("/api/v1/experiments", {"name": "first", "description": self.workspace})
        self.run = self.make("/api/v1/experiments/first/runs", {"name": self.workspace})["id"]
        self.make("/api/v1/endpoints", {"name": "churn", "model": "churn", "version": "1"})
        self.make("/api/v1/projects", {"name": "team"})
        self.role = self.op("access.create_role", {"name": "reader", "summary": self.workspace, "permissions": ["models:read"]})
        self.job = self.op("jobs.enqueue", {"name": "training.run", "payload": {"job_id": "trn_none"}, "delay_ms": 3600000, "unique_key": "same"}).json["id"]
        return self


@pytest.fixture(scope="module")
def own(scratch, template):
    import pathlib
    import tempfile

    import daemon
    folder = pathlib.Path(tempfile.mkdtemp(prefix="i", dir=scratch))
    daemon.copy_state(template, folder)
    one = daemon.Daemon(folder)
    (one.policies / "isolation.lua").write_text(POLICIES)
    one.start()
    yield one
    one.end()


@pytest.fixture(scope="module")
def pair(own):
    """Two tenants, filled alike."""
    return Tenant(own, "one").fill(), Tenant(own, "two").fill()


LISTS = ["/api/v1/models", "/api/v1/models/churn/versions", "/api/v1/models/churn", "/api/v1/datasets", "/api/v1/datasets/sales/versions",
         "/api/v1/experiments", "/api/v1/experiments/first/runs", "/api/v1/endpoints", "/api/v1/jobs", "/api/v1/projects",
         "/api/v1/op/access.list_roles", "/api/v1/op/access.list_grants", "/api/v1/op/access.list_keys", "/api/v1/op/audit.list",
         "/api/v1/events/log?limit=1000", "/api/v1/quotas", "/api/v1/training/jobs", "/v2/models/churn", "/names"]


@pytest.mark.parametrize("path", LISTS)
def test_lists_name_nothing_of_the_other(pair, path):
    for mine, other in (pair, pair[::-1]):
        answer = mine.op(path.rsplit("/", 1)[1]) if "/op/" in path else mine.get(path)
        assert answer.status == 200, answer
        text = answer.body.decode()
        for mark in (other.workspace, other.run, other.job, other.dataset["sha256"]):
            assert mark not in text


def test_each_has_its_own_under_the_same_name(pair):
    for mine in pair:
        assert mine.get("/api/v1/models/churn").json["description"] == mine.workspace
        assert mine.get("/api/v1/datasets/sales/versions/1/content").body == mine.csv
        assert [run["name"] for run in mine.get("/api/v1/experiments/first/runs").json["runs"]] == [mine.workspace]
        assert [job["id"] for job in mine.get("/api/v1/jobs").json["jobs"]] == [mine.job]
        assert mine.get("/names").body.decode() == mine.workspace  # a script asks as whoever asked it


def told(answer, *names):
    """An answer without what differs between two questions."""
    text = json.dumps({**answer.json, "trace_id": ""})
    for name in names:
        text = text.replace(name, "NAME")
    return answer.status, text


@pytest.mark.parametrize("operation", ["jobs.get", "jobs.explain", "jobs.cancel", "jobs.redrive"])
def test_jobs_of_the_other_are_not_there(pair, operation):
    mine, other = pair
    nowhere = "job_" + "z" * (len(other.job) - 4)
    foreign, unknown = mine.op(operation, {"id": other.job}), mine.op(operation, {"id": nowhere})
    assert foreign.status == 404 and told(foreign, other.job) == told(unknown, nowhere)
    assert other.get(f"/api/v1/jobs/{other.job}").json["state"] == "waiting"


def test_jobs_with_the_same_unique_key_are_two(pair):
    assert pair[0].job != pair[1].job


def test_bytes_are_not_had_by_their_hash(pair):
    mine, other = pair
    nowhere = hashlib.sha256(b"nowhere").hexdigest()
    sha256 = other.dataset["sha256"]
    foreign, unknown = (mine.op("datasets.add_version", {"name": "stolen", "sha256": one}) for one in (sha256, nowhere))
    assert foreign.status == 404 and told(foreign, sha256) == told(unknown, nowhere)
    signature = {"inputs": [{"name": "x"}], "outputs": [{"name": "probability"}]}
    for index, one in enumerate((sha256, nowhere)):
        mine.make("/api/v1/models", {"name": f"stolen{index}"})
        mine.make(f"/api/v1/models/stolen{index}/versions", {"framework": "xgboost", "sha256": one, "size": 10, "signature": signature})
    foreign, unknown = (mine.post("/api/v1/endpoints", {"name": f"stolen{index}", "model": f"stolen{index}", "version": "1"}) for index in (0, 1))
    assert foreign.status == 404 and told(foreign, sha256, "stolen0") == told(unknown, nowhere, "stolen1")


def test_idempotency_keys_are_of_a_workspace(pair):
    """Though it is the same request by an actor of the same name."""
    key, name = uuid.uuid4().hex, unique("m")
    made = [one.post("/api/v1/models", {"name": name, "description": "same"}, headers={"Idempotency-Key": key}) for one in pair]
    assert [answer.status for answer in made] == [201, 201]
    assert made[0].json["id"] != made[1].json["id"] and "Idempotent-Replayed" not in made[1].headers


def test_events_reach_their_own_workspace(own, pair):
    mine, other = pair
    streams = [Stream(own, "/api/v1/events", token=one.token) for one in pair]
    names = [unique("d"), unique("d")]
    for one, name in zip(pair, names):
        one.make(f"/api/v1/datasets/{name}/versions", one.csv, headers={"Content-Type": "text/csv"})
    for stream, name, foreign in zip(streams, names, names[::-1]):
        while name not in (data := stream.event()["data"]):
            assert foreign not in data
        stream.close()
    log = own.client().get("/api/v1/events/log?limit=1000").body.decode()
    assert names[0] not in log and names[1] not in log  # nor do administrators of the server read along


def test_metrics_name_no_workspace(own, pair):
    for one in pair:
        one.post("/v2/models/churn/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [[0.1]]}]})
    client = own.client()
    text = client.get("/metrics").body.decode()
    client.close()
    assert all(one.workspace not in text for one in pair)


def test_a_policy_knows_whose_request_it_judges(own, pair):
    silent = Tenant(own, "silent")
    refused = silent.post("/api/v1/models", {"name": "churn"})
    assert refused.status == 403 and refused.json["detail"] == "nothing new here"
    pair[0].make("/api/v1/models", {"name": unique("m")})
    silent.close()


def test_a_header_opens_no_other_workspace(pair):
    mine, other = pair
    for workspace in (other.workspace, "default", "nowhere"):
        answer = mine.get("/api/v1/models", headers={"Purlin-Workspace": workspace})
        assert answer.status == 403 and "belongs to another workspace" in answer.json["detail"]


# ---- Within a workspace: what a training was given ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [True, False])
def test_a_training_reads_what_its_creator_may_still_read(own, lost):
    """The dataset is of another project; the creator's role there is taken away before the attempt begins."""
    admin, tenant = own.client(), Tenant(own, "train")
    quota = f"/api/v1/workspaces/{tenant.workspace}/quotas/jobs"
    here, there = (tenant.make("/api/v1/projects", {"name": name})["id"] for name in ("here", "there"))
    csv = ("x,y,class\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60))).encode()
    tenant.make("/api/v1/datasets/theirs/versions", csv, headers={"Content-Type": "text/csv", "Purlin-Project": there})
    tenant.op("access.grant_role", {"subject": "user:ben", "role": "editor", "project": here})
    grant = tenant.op("access.grant_role", {"subject": "user:ben", "role": "viewer", "project": there}).json["id"]
    key = tenant.op("access.create_key", {"name": "k", "permissions": ["*"], "owner": "user:ben"}).json["secret"]
    assert admin.put(quota, {"limit": 0}).status == 200
    body = {"trainer": "xgboost", "dataset": "theirs", "specification": {"label": "class", "rounds": 2}}
    reader = own.client(token=key)
    job = reader.post("/api/v1/training/jobs", body, headers={"Purlin-Project": here})
    assert job.status == 201, job
    if lost:
        assert tenant.op("access.revoke_grant", {"id": grant}).status == 200
    assert admin.put(quota, {}).status == 200
    find = lambda: tenant.op("training.get_job", {"job_id": job.json["id"]}).json  # noqa: E731
    wait_until(lambda: find()["state"] not in ("queued", "running"), 60, "no end")
    ended = find()
    if lost:
        assert (ended["state"], ended["attempt"]) == ("failed", 0)
        assert ended["message"] == "whoever created the training may not read the dataset 'theirs' any more"
    else:
        assert ended["state"] == "succeeded", ended
    for one in (admin, tenant, reader):
        one.close()
