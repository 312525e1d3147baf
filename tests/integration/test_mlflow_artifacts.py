"""Artifacts in MLflow's protocol: its proxy, and what its pages ask for. With the real clients: tests/clients."""
import json
import urllib.parse

import pytest

from daemon import unique
from test_artifacts import BAD_PATHS, put

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


def make_run(client, location=""):
    experiment = client.op("tracking.create_experiment", {"name": unique("e"), "artifact_location": location})
    assert experiment.status == 201, experiment
    run = client.op("tracking.create_run", {"experiment_id": experiment.json["id"]})
    assert run.status == 201, run
    return experiment.json["id"], run.json["id"], run.json["artifact_uri"]


@pytest.fixture
def place(client):
    """(the root of a run's artifacts in the proxy, the run)."""
    experiment, run, uri = make_run(client)
    assert uri == f"mlflow-artifacts:/{experiment}/{run}/artifacts"
    return uri.removeprefix("mlflow-artifacts:/"), run


def refused(answer, status, code, text=""):
    assert answer.status == status, answer
    assert answer.json["error_code"] == code and text in answer.json["message"], answer


def test_the_proxy(client, place):
    root, run = place
    answer = client.put(f"{PROXY}/{root}/model/MLmodel", b"flavors: {}")
    assert (answer.status, answer.json) == (200, {})
    assert client.put(f"/ajax-api/2.0/mlflow-artifacts/artifacts/{root}/model/empty.txt", b"").status == 200
    got = client.get(f"{PROXY}/{root}/model/MLmodel")
    assert got.body == b"flavors: {}" and got.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert got.headers["X-Content-Type-Options"] == "nosniff" and got.headers["Content-Disposition"] == "attachment; filename*=UTF-8''MLmodel"
    files = [{"path": "MLmodel", "is_dir": False, "file_size": 11}, {"path": "empty.txt", "is_dir": False, "file_size": 0}]
    for path in (f"{root}/model", f"{root}/model/", f"/{root}/model"):
        assert client.get(f"{PROXY}?path={path}").json == {"files": files}
    assert client.get(f"{PROXY}?path={root}").json == {"files": [{"path": "model", "is_dir": True}]}
    assert client.get(f"{PROXY}?path={root}/nothing").json == {}
    # seen through the other door
    assert client.get(f"/api/v1/artifacts/run/{run}/model/MLmodel").body == b"flavors: {}"
    assert client.delete(f"{PROXY}/{root}/model/").json == {}
    assert client.delete(f"{PROXY}/{root}/").json == {}
    assert client.get(f"{PROXY}?path={root}").json == {}


def test_what_is_missing_is_404(client, place):
    """MLflow answers 500, and its clients then try again for minutes."""
    root, run = place
    refused(client.get(f"{PROXY}/{root}/nothing"), 404, "RESOURCE_DOES_NOT_EXIST")
    for path in ("0/run_none/artifacts/x", f"0/{run}/artifacts/x", f"x/{root}/y", f"{root.split('/')[0]}/models/{run}/artifacts/x",
                 f"{root.split('/')[0]}/traces/{run}/artifacts/x", "x", "artifacts/x", "artifacts", root.rsplit("/", 1)[0] + "/x", "a/artifacts/b/artifacts/c"):
        refused(client.get(f"{PROXY}/{path}"), 404, "RESOURCE_DOES_NOT_EXIST")
        refused(client.put(f"{PROXY}/{path}", b"x"), 404, "RESOURCE_DOES_NOT_EXIST")
        refused(client.delete(f"{PROXY}/{path}"), 404, "RESOURCE_DOES_NOT_EXIST")
        refused(client.get(f"{PROXY}?path={path}"), 404, "RESOURCE_DOES_NOT_EXIST")
    refused(client.get(PROXY), 404, "RESOURCE_DOES_NOT_EXIST")


# What no server of HTTP lets through, before it knows what is spoken at the address.
AT_THE_DOOR = {path for path in BAD_PATHS if any(part in ("", ".", "..") for part in urllib.parse.unquote(path).split("/"))} | {"a%00b", "%ff", "a%c0%af"}


def files_of(server):
    return {path for path in (server.state / "blobs").rglob("*") if path.is_file()}


def test_paths_that_lead_elsewhere(server, client, place):
    """400 in MLflow's words, whichever way they come, and nothing is on the disk."""
    root, run = place
    before = files_of(server)
    begin = "/api/2.0/mlflow-artifacts/mpu/create"
    for path in BAD_PATHS:
        name = urllib.parse.unquote(path, errors="surrogateescape").encode(errors="surrogateescape").decode(errors="replace")
        for method, to, body in (("PUT", f"{PROXY}/{root}/{path}", b"x"), ("GET", f"{PROXY}/{root}/{path}", None), ("DELETE", f"{PROXY}/{root}/{path}", None),
                                 ("GET", f"/api/2.0/mlflow-artifacts/presigned/{root}/{path}", None), ("POST", f"{begin}/{root}/{path}", {"path": "x"})):
            if path == "a/" and method in ("DELETE", "POST"):
                continue  # a folder
            answer = client.call(method, to, body)
            if path in AT_THE_DOOR or len(to) > 8000:
                assert answer.status in (400, 404, 414), (method, path, answer)
            else:
                refused(answer, 400, "INVALID_PARAMETER_VALUE", "Invalid")
        if path not in ("a/", "/etc/passwd") and len(path) < 3000:
            for to in (f"{PROXY}?path={root}/{path}", f"/get-artifact?run_id={run}&path={path}", f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run}&path={path}"):
                answer = client.get(to)
                assert answer.status in (400, 404), (to, answer)
        if "/" not in name and "\\" not in name:
            answer = client.post(f"{begin}/{root}", {"path": f"/tmp/{name}", "num_parts": 1})
            assert answer.status == 400 or "\ufffd" in name, (name, answer)
    assert client.get(f"{PROXY}?path={root}").json == {}
    refused(client.put(f"{PROXY}/{root}/what?.txt", b"x"), 400, "INVALID_PARAMETER_VALUE", "Invalid path")
    assert files_of(server) <= before


def test_a_deleted_run(client, place):
    root, run = place
    put(client, run, "a", b"1")
    assert client.op("tracking.delete_run", {"run_id": run}).status == 200
    refused(client.put(f"{PROXY}/{root}/b", b"x"), 400, "INVALID_PARAMETER_VALUE", "must be in the 'active' state. Current state is deleted.")
    assert client.get(f"{PROXY}/{root}/a").body == b"1"


def test_a_run_that_keeps_its_files_elsewhere(client):
    _, run, uri = make_run(client, "s3://bucket/x")
    assert client.put(f"/api/v1/artifacts/run/{run}/a", b"1").status == 409
    answer = client.get(f"/api/2.0/mlflow/artifacts/list?run_id={run}").json
    assert (answer["root_uri"], answer["files"]) == (uri, [])


def test_lists_by_the_id_of_a_run(client, place):
    root, run = place
    for path in ("a/b/c", "a/d", "e"):
        put(client, run, path, b"12")
    answer = client.get(f"/api/2.0/mlflow/artifacts/list?run_id={run}")
    assert answer.json == {"root_uri": f"mlflow-artifacts:/{root}",
                           "files": [{"path": "a", "is_dir": True}, {"path": "e", "is_dir": False, "file_size": 2}]}
    answer = client.get(f"/ajax-api/2.0/mlflow/artifacts/list?run_uuid={run}&path=a")
    assert answer.json["files"] == [{"path": "a/b", "is_dir": True}, {"path": "a/d", "is_dir": False, "file_size": 2}]
    refused(client.get("/api/2.0/mlflow/artifacts/list?run_id=nobody"), 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nobody not found")
    refused(client.get("/api/2.0/mlflow/artifacts/list"), 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'run_id'")


def test_what_pages_ask_for(client, place):
    root, run = place
    put(client, run, "a b.html", b"<p>")
    answer = client.get(f"/get-artifact?run_uuid={run}&path=a+b.html")
    assert answer.body == b"<p>" and answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20b.html"
    refused(client.get(f"/get-artifact?run_id={run}&path=none"), 404, "RESOURCE_DOES_NOT_EXIST")
    refused(client.get(f"/get-artifact?run_id={run}"), 400, "INVALID_PARAMETER_VALUE", "path")
    upload = "/ajax-api/2.0/mlflow/upload-artifact"
    assert client.post(f"{upload}?run_uuid={run}&path=p/q.txt", b"page").status == 200
    assert client.get(f"{PROXY}/{root}/p/q.txt").body == b"page"
    refused(client.post(f"{upload}?run_uuid={run}", b"x"), 400, "INVALID_PARAMETER_VALUE", "Request must specify path.")
    refused(client.post(f"{upload}?path=x", b"x"), 400, "INVALID_PARAMETER_VALUE", "Request must specify run_uuid.")
    refused(client.post(f"{upload}?run_uuid={run}&path=x", b""), 400, "INVALID_PARAMETER_VALUE", "Request must specify data.")
    refused(client.post(f"{upload}?run_uuid={run}&path=x", bytes(10 * 1024 * 1024 + 1)), 413, "INVALID_PARAMETER_VALUE")


def test_who_may_only_read(client, place):
    root, run = place
    reader = client.op("access.create_key", {"name": "k", "permissions": ["runs:read"]}).json["secret"]
    for method, path, body in (("PUT", f"{PROXY}/{root}/a", b"x"), ("DELETE", f"{PROXY}/{root}/a", None),
                               ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=a", b"x")):
        refused(client.call(method, path, body, token=reader), 403, "PERMISSION_DENIED")
    assert client.get(f"{PROXY}?path={root}", token=reader).status == 200


def test_ten_thousand_files(server, client, place):
    root, run = place
    experiment = root.split("/")[0]
    server.sql("INSERT INTO artifacts_files SELECT 'default', 'run', '{0}', CONCAT('many/', seq), 'default', '{1}', REPEAT('0', 64), 7, NOW(6), 'x' FROM"
               " seq_1_to_10000".format(run, experiment))
    files = client.get(f"{PROXY}?path={urllib.parse.quote(root + '/many')}").json["files"]
    assert len(files) == 10000 and files[0] == {"path": "1", "is_dir": False, "file_size": 7}
    answer = client.get(f"/api/2.0/mlflow/artifacts/list?run_id={run}&path=many").json
    assert len(answer["files"]) == 10000 and not answer.get("next_page_token")
