"""What the matrix does not see: bytes, jobs and trainings across workspaces and projects."""
import hashlib
import json

import pytest

import models
from daemon import Client, unique


@pytest.fixture
def elsewhere(server, client):
    """The owner of another workspace."""
    made = client.op("access.create_workspace", {"name": unique("w"), "owner": f"user:{unique('o')}"})
    theirs = Client(server.port, made.json["secret"])
    yield theirs
    theirs.close()


@pytest.fixture
def member(server, client):
    """A function that makes somebody with a role, in a project or, without one, in the workspace."""
    opened = []

    def make(role, project=None, permissions=("*",)):
        owner = f"user:{unique('m')}"
        granted = client.op("access.grant_role", {"subject": owner, "role": role, **({"project": project} if project else {})})
        assert granted.status == 201, granted
        key = client.op("access.create_key", {"name": "k", "permissions": list(permissions), "owner": owner})
        opened.append(Client(server.port, key.json["secret"]))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def same(a, b, *names):
    """Whether two answers are the same but for trace ids and what was asked for."""
    def plain(answer):
        told = {**answer.json, "trace_id": ""}
        text = json.dumps(told)
        for name in names:
            text = text.replace(name, "NAME")
        return answer.status, text
    return plain(a) == plain(b)


# ---- Bytes ------------------------------------------------------------------------------------------------------------------------


def test_bytes_of_another_workspace_are_not_there(client, elsewhere):
    csv = f"x,y\n1,{unique('v')}\n".encode()
    name, nowhere = unique("d"), hashlib.sha256(csv + b"-").hexdigest()
    sha256 = client.post(f"/api/v1/datasets/{name}/versions", csv, headers={"Content-Type": "text/csv"}).json["sha256"]
    assert client.op("datasets.add_version", {"name": unique("d"), "sha256": sha256}).status == 201
    foreign = elsewhere.op("datasets.add_version", {"name": "stolen", "sha256": sha256})
    unknown = elsewhere.op("datasets.add_version", {"name": "stolen", "sha256": nowhere})
    assert foreign.status == 404 and same(foreign, unknown, sha256, nowhere)
    assert elsewhere.post("/api/v1/datasets/own/versions", csv, headers={"Content-Type": "text/csv"}).json["sha256"] == sha256
    assert elsewhere.op("datasets.add_version", {"name": "own", "sha256": sha256}).status == 201  # whoever has the bytes may


def test_a_model_of_another_workspace_does_not_serve(server, client, elsewhere):
    """Though it is loaded already, and its version is described in the same words."""
    _, model = models.deploy(server, client, ["x"])
    version = client.get(f"/api/v1/models/{model}/versions/1").json
    assert elsewhere.post("/api/v1/models", {"name": model}).status == 201
    answers = []
    for sha256 in (version["sha256"], hashlib.sha256(model.encode()).hexdigest()):
        body = {"framework": "xgboost", "sha256": sha256, "size": version["size"], "signature": version["signature"]}
        made = elsewhere.post(f"/api/v1/models/{model}/versions", body)
        assert made.status == 201
        number = str(made.json["version"])
        answers.append((elsewhere.post("/api/v1/endpoints", {"name": "e", "model": model, "version": number}), sha256))
    (foreign, theirs), (unknown, nowhere) = answers
    assert foreign.status == 404 and same(foreign, unknown, theirs, nowhere)


# ---- Jobs by hand -------------------------------------------------------------------------------------------------------------------


def test_a_job_by_hand_needs_what_its_kind_says(member):
    body = {"name": "training.run", "payload": {"job_id": "trn_none"}, "delay_ms": 600000}
    assert member("operator").op("jobs.enqueue", body).status == 201
    narrow = member("operator", permissions=["jobs:write"])
    refused = narrow.op("jobs.enqueue", body)
    assert refused.status == 403 and "training:write" in refused.json["detail"]
    assert member("owner").op("jobs.enqueue", {"name": "accounts.tidy"}).status == 403  # only its plugin
    assert member("owner").op("jobs.enqueue", {"name": "purlin.call_periodic"}).status == 403
    made = member("operator").op("jobs.enqueue", body).json["id"]
    assert narrow.op("jobs.cancel", {"id": made}).status == 200
    assert narrow.op("jobs.redrive", {"id": made}).status == 403
    assert member("operator").op("jobs.redrive", {"id": made}).status == 200
    assert narrow.op("jobs.cancel", {"id": made}).status == 200
