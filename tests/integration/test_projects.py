"""What the matrix does not see: bytes, jobs and trainings across workspaces and projects."""
import hashlib
import json

import pytest

import models
from daemon import Client, unique, wait_until


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


def test_what_a_plugin_enqueued_is_redriven_by_whom_the_server_is_entrusted_to(server, member):
    job = unique("job")[:40]
    server.sql("INSERT INTO purlin_jobs (public_id, workspace, project, actor, name, payload, payload_version, state, urgency, run_at, max_attempts,"
               f" trace_id, created_at) VALUES ('{job}', 'default', 'default', 'system', 'accounts.tidy', '{{}}', 1, 4, 0, NOW(6), 1, '', NOW(6))")
    refused = member("operator", permissions=["jobs:write"]).op("jobs.redrive", {"id": job})
    assert refused.status == 403 and "server:write" in refused.json["detail"]
    assert member("operator").op("jobs.redrive", {"id": job}).status == 200


# ---- Work that goes on by itself ------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(client):
    return client.op("access.create_project", {"name": unique("p")}).json["id"]


def csv_of(rows):
    return ("x,y,class\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(rows))).encode()


def test_a_training_belongs_to_the_project_of_its_model(client, member, project):
    """An operator of the project trains: the job is there, its version too, and who has no role there sees neither."""
    here = {"Purlin-Project": project}
    operator, stranger = member("operator", project), member("owner", client.op("access.create_project", {"name": unique("p")}).json["id"])
    model, data = unique("m"), unique("d")
    assert client.post("/api/v1/models", {"name": model}, headers=here).json["project"] == project
    sent = client.post(f"/api/v1/datasets/{data}/versions", csv_of(60), headers={**here, "Content-Type": "text/csv"})
    assert sent.status == 201
    body = {"trainer": "xgboost", "dataset": data, "model": model, "specification": {"label": "class", "rounds": 2}}
    job = operator.op("training.create_job", body)
    assert job.status == 201 and job.json["project"] == project, job
    wait_until(lambda: operator.op("training.get_job", {"job_id": job.json["id"]}).json["state"] not in ("queued", "running"), 30, "no end")
    ended = operator.op("training.get_job", {"job_id": job.json["id"]}).json
    assert (ended["state"], ended.get("version")) == ("succeeded", 1), ended
    assert stranger.op("training.get_job", {"job_id": job.json["id"]}).status == 404
    assert stranger.op("training.list_jobs").json["jobs"] == []
    assert stranger.op("registry.get_version", {"name": model, "version": "1"}).status == 404
    assert stranger.post("/api/v1/training/jobs", body).status == 403  # not in the project `default`, where the header says nothing else


def test_a_training_does_not_reach_a_model_of_elsewhere(client, member, project):
    """One that its creator does not see is not trained, though the job runs by itself: not even its name can be had."""
    other = client.op("access.create_project", {"name": unique("p")}).json["id"]
    here = {"Purlin-Project": project}
    operator, model, data = member("editor", project), unique("m"), unique("d")
    assert client.post("/api/v1/models", {"name": model}, headers={"Purlin-Project": other}).status == 201
    assert operator.post(f"/api/v1/datasets/{data}/versions", csv_of(60), headers={**here, "Content-Type": "text/csv"}).status == 201
    body = {"trainer": "xgboost", "dataset": data, "model": model, "specification": {"label": "class", "rounds": 2}}
    job = operator.post("/api/v1/training/jobs", body, headers=here).json
    assert job["project"] == project
    wait_until(lambda: operator.op("training.get_job", {"job_id": job["id"]}).json["state"] not in ("queued", "running"), 60, "no end")
    assert operator.op("training.get_job", {"job_id": job["id"]}).json["state"] == "failed"
    assert client.op("registry.list_versions", {"name": model}).json["versions"] == []
