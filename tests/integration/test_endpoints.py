"""Endpoints from their first deployment to their end, also while many do things to them at once; what is kept of predictions, and how long."""
import json
import threading
import time

import pytest

from daemon import Threads, unique, wait_until
from models import deploy, infer, model_json, register, tree

COLUMNS = ["a", "b"]


def feedback(client, endpoint, ids, label=1, **more):
    return client.post(f"/api/v1/endpoints/{endpoint}/feedback", {"items": [{"id": one, "label": label, **more} for one in ids]})


def run_job(client, name):
    job = client.post("/api/v1/jobs", {"name": name}).json["id"]
    wait_until(lambda: client.get(f"/api/v1/jobs/{job}").json["state"] not in ("waiting", "running"), 20, "the job does not end")
    assert client.get(f"/api/v1/jobs/{job}").json["state"] == "succeeded", client.get(f"/api/v1/jobs/{job}").json


def event_named(client, name, key):
    log = client.get(f"/api/v1/events/log?limit=1000&name={name}").json.get("events", [])
    return [event for event in log if key in json.dumps(event)]


# ---- the end of an endpoint


def test_deleted_endpoint_is_gone_at_once(server, client):
    endpoint, model = deploy(server, client, COLUMNS)
    assert infer(client, endpoint, [[1, 2]], id="p1").status == 200
    assert feedback(client, endpoint, ["p1"]).json["accepted"] == 1
    assert client.delete(f"/api/v1/endpoints/{endpoint}").status == 200
    gone = infer(client, endpoint, [[1, 2]])
    assert gone.status == 404 and gone.json == {"error": f"no endpoint named '{endpoint}'"}
    for path in ("", "/deployments", "/stats", "/labelled?from=0&to=1"):
        assert client.get(f"/api/v1/endpoints/{endpoint}{path}").status == 404, path
    assert client.delete(f"/api/v1/endpoints/{endpoint}").status == 404
    assert feedback(client, endpoint, ["p2"]).status == 404
    assert endpoint not in [one["name"] for one in client.post("/v2/repository/index").json]
    wait_until(lambda: event_named(client, "serving.deleted", endpoint), 10, "no event")
    assert client.get(f"/api/v1/models/{model}/versions/1").status == 200  # the model stays


def test_an_endpoint_made_again_begins_from_nothing(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    infer(client, endpoint, [[1, 2]], id="p1")
    feedback(client, endpoint, ["p1"])
    assert client.delete(f"/api/v1/endpoints/{endpoint}").status == 200
    other = json.dumps(model_json(COLUMNS, [tree(low=-5, high=5)])).encode()
    deploy(server, client, COLUMNS, endpoint=endpoint, data=other)
    assert infer(client, endpoint, [[1, 2]], id="p1").json["outputs"][0]["data"] == [5]
    stats = client.get(f"/api/v1/endpoints/{endpoint}/stats").json
    assert (stats["predictions"], stats["labelled"]) == (1, 0)
    assert feedback(client, endpoint, ["p1"]).json == {"accepted": 1, "repeated": 0, "labelled": 1}
    assert [one["number"] for one in client.get(f"/api/v1/endpoints/{endpoint}/deployments").json["deployments"]] == [1]


def test_what_a_deleted_endpoint_left_is_swept(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    for i in range(3):
        infer(client, endpoint, [[row, 2] for row in range(900)], id=f"p{i}")
    assert feedback(client, endpoint, [f"p{i}:{k}" for i in range(3) for k in range(900)]).json["accepted"] == 2700
    assert client.get(f"/api/v1/endpoints/{endpoint}/stats").json["predictions"] == 2700
    kept, _ = deploy(server, client, COLUMNS)
    infer(client, kept, [[1, 2]])
    feedback(client, kept, ["k"])
    (identity,), = server.sql(f"SELECT id FROM serving_endpoints WHERE name = '{endpoint}'")
    assert client.delete(f"/api/v1/endpoints/{endpoint}").status == 200
    run_job(client, "serving.sweep")
    assert server.sql(f"SELECT (SELECT COUNT(*) FROM serving_predictions WHERE endpoint_id = '{identity}'),"
                      f" (SELECT COUNT(*) FROM serving_feedback WHERE endpoint_id = '{identity}')") == [["0", "0"]]
    assert server.sql(f"SELECT COUNT(*) FROM serving_leftovers WHERE endpoint_id = '{identity}'") == [["1"]]  # late rows may come
    server.sql(f"UPDATE serving_leftovers SET deleted_at = NOW(6) - INTERVAL 2 MINUTE WHERE endpoint_id = '{identity}'")
    run_job(client, "serving.sweep")
    assert server.sql(f"SELECT COUNT(*) FROM serving_leftovers WHERE endpoint_id = '{identity}'") == [["0"]]
    stats = client.get(f"/api/v1/endpoints/{kept}/stats").json
    assert (stats["predictions"], stats["labelled"]) == (1, 1)


def test_deletion_needs_its_permission_and_workspace(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    for token, status in ((server.token_for("default", ["models:read", "models:predict"]), 403), (server.token_for("elsewhere"), 404)):
        assert client.delete(f"/api/v1/endpoints/{endpoint}", token=token).status == status
    assert infer(client, endpoint, [[1, 2]]).status == 200


# ---- many at once


def test_deployments_at_once_are_numbered_one_by_one(server, client):
    endpoint = unique("crowd")
    model, _ = register(server, client, COLUMNS)

    def make():
        mine = server.client()
        for _ in range(8):
            answer = mine.post("/api/v1/endpoints", {"name": endpoint, "model": model, "version": "1"})
            assert answer.status == 201, answer
        mine.close()

    Threads(*[make] * 6).join()
    assert client.get(f"/api/v1/endpoints/{endpoint}").json["deployment"] == 48
    listed = client.get(f"/api/v1/endpoints/{endpoint}/deployments?limit=1000").json["deployments"]
    assert [one["number"] for one in listed] == list(range(48, 0, -1))


def test_uploads_of_one_dataset_at_once_are_numbered_one_by_one(server, client):
    name, numbers = unique("crowd"), []

    def upload():
        mine = server.client()
        for _ in range(6):
            answer = mine.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n", headers={"Content-Type": "text/csv"})
            assert answer.status == 201, answer
            numbers.append(answer.json["version"])
        mine.close()

    Threads(*[upload] * 6).join()
    assert sorted(numbers) == list(range(1, 37))


def test_aliases_set_at_once_end_on_one_of_the_versions(server, client):
    model, _ = register(server, client, COLUMNS)
    for _ in range(3):
        register(server, client, COLUMNS, name=model)

    def move():
        mine = server.client()
        for number in (1, 2, 3, 4) * 4:
            answer = mine.put(f"/api/v1/models/{model}/aliases/champion", {"version": number})
            assert answer.status == 200 and answer.json["version"] == number, answer
        mine.close()

    Threads(*[move] * 6).join()
    assert client.get(f"/api/v1/models/{model}/versions/@champion").json["version"] in (1, 2, 3, 4)
    assert len(client.get(f"/api/v1/models/{model}/aliases").json["aliases"]) == 1


def test_deploy_delete_predict_and_label_at_once(server, client):
    """Whatever the order: no answer of 5xx, and at the end what the last one said is so."""
    endpoint = unique("storm")
    model, _ = register(server, client, COLUMNS)
    done, answers = threading.Event(), []

    def again_and_again(call):
        def run():
            mine = server.client()
            while not done.is_set():
                answers.append((call.__name__, call(mine).status))
            mine.close()
        return run

    def deploys(c):
        return c.post("/api/v1/endpoints", {"name": endpoint, "model": model, "version": "1"})

    def deletes(c):
        time.sleep(0.01)
        return c.delete(f"/api/v1/endpoints/{endpoint}")

    def rolls_back(c):
        return c.post(f"/api/v1/endpoints/{endpoint}/rollback", {})

    def predicts(c):
        return infer(c, endpoint, [[1, 2]])

    def labels(c):
        return feedback(c, endpoint, [unique("p")], inputs=[1, 2], prediction=1)

    def looks(c):
        return c.get(f"/api/v1/endpoints/{endpoint}/stats")

    threads = Threads(*map(again_and_again, (deploys, deploys, deletes, rolls_back, predicts, predicts, labels, looks)))
    time.sleep(3)
    done.set()
    threads.join()
    expected = {"deploys": {201}, "deletes": {200, 404}, "rolls_back": {404, 409}, "predicts": {200, 404}, "labels": {200, 404}, "looks": {200, 404}}
    for name, statuses in expected.items():
        seen = {status for one, status in answers if one == name}
        assert seen and seen <= statuses, (name, seen)
    assert deploys(client).status == 201 and predicts(client).status == 200
    assert client.delete(f"/api/v1/endpoints/{endpoint}").status == 200 and predicts(client).status == 404
    assert server.records("error") == []


# ---- two workspaces


def test_the_same_bytes_in_another_workspace_keep_their_own_columns(server, client):
    """Same name, version and bytes, other columns: nothing of one may show in the other."""
    other = server.client(token=server.token_for("elsewhere"))
    model, endpoint = unique("twin"), unique("twin")
    data = model_json(COLUMNS)
    del data["learner"]["feature_names"]
    data = json.dumps(data).encode()
    deploy(server, client, ["secret", "names"], name=model, data=data, endpoint=endpoint)
    deploy(server, other, ["x", "y"], name=model, data=data, endpoint=endpoint)
    assert [one["name"] for one in client.get(f"/v2/models/{endpoint}").json["inputs"]] == ["secret", "names"]
    assert [one["name"] for one in other.get(f"/v2/models/{endpoint}").json["inputs"]] == ["x", "y"]
    other.close()


def test_nothing_of_another_workspace_is_seen_or_changed(server, client):
    endpoint, model = deploy(server, client, COLUMNS)
    client.put(f"/api/v1/models/{model}/aliases/champion", {"version": 1})
    dataset, experiment = unique("data"), unique("experiment")
    client.post(f"/api/v1/datasets/{dataset}/versions", b"a,b,class\n1,2,0\n3,4,1\n", headers={"Content-Type": "text/csv"})
    client.post("/api/v1/experiments", {"name": experiment})
    run = client.post(f"/api/v1/experiments/{experiment}/runs", {}).json["id"]
    monitor = {"endpoint": endpoint, "model": model, "version": 1, "dataset": dataset, "dataset_version": 1, "baseline_accuracy": 0.9}
    assert client.post("/api/v1/monitors", monitor).status == 201
    other = server.client(token=server.token_for("elsewhere"))
    version = {"framework": "xgboost", "sha256": "0" * 64, "size": 1, "signature": {"inputs": [{"name": "a"}]}}
    calls = [("GET", f"/api/v1/models/{model}", None), ("GET", f"/api/v1/models/{model}/versions", None), ("GET", f"/api/v1/models/{model}/versions/1", None),
             ("POST", f"/api/v1/models/{model}/versions", version), ("PUT", f"/api/v1/models/{model}/aliases/champion", {"version": 1}),
             ("DELETE", f"/api/v1/models/{model}/aliases/champion", None), ("GET", f"/api/v1/models/{model}/aliases", None),
             ("GET", f"/api/v1/datasets/{dataset}/versions/1", None), ("GET", f"/api/v1/datasets/{dataset}/versions/1/content", None),
             ("GET", f"/api/v1/experiments/{experiment}", None), ("GET", f"/api/v1/experiments/{experiment}/runs", None),
             ("POST", f"/api/v1/experiments/{experiment}/runs", {}), ("GET", f"/api/v1/runs/{run}", None),
             ("POST", f"/api/v1/runs/{run}/metrics", {"key": "m", "value": 1}), ("POST", f"/api/v1/runs/{run}/batch", {"tags": [{"key": "k", "value": "v"}]}),
             ("GET", f"/api/v1/runs/{run}/metrics/m", None), ("POST", f"/api/v1/runs/{run}/finish", {}),
             ("GET", f"/api/v1/endpoints/{endpoint}", None), ("GET", f"/api/v1/endpoints/{endpoint}/deployments", None),
             ("POST", f"/api/v1/endpoints/{endpoint}/rollback", {}), ("DELETE", f"/api/v1/endpoints/{endpoint}", None),
             ("POST", f"/api/v1/endpoints/{endpoint}/feedback", {"items": [{"id": "x", "label": 1}]}), ("GET", f"/api/v1/endpoints/{endpoint}/stats", None),
             ("GET", f"/api/v1/endpoints/{endpoint}/labelled?from=0&to=1", None),
             ("POST", f"/api/v1/endpoints/{endpoint}/export", {"from": 0, "to": 1, "dataset": "x"}),
             ("POST", "/api/v1/evaluations", {"model": model, "version": "1", "dataset": dataset}),
             ("POST", "/api/v1/endpoints", {"name": unique("e"), "model": model, "version": "1"}),
             ("GET", f"/api/v1/monitors/{endpoint}", None), ("DELETE", f"/api/v1/monitors/{endpoint}", None),
             ("POST", "/api/v1/monitors", monitor), ("POST", f"/api/v1/monitors/{endpoint}/evaluate", {"labelled": 1}),
             ("PUT", f"/api/v1/monitors/{endpoint}/champion", {key: monitor[key] for key in monitor if key != "endpoint"} | {"since": 0}),
             ("POST", f"/v2/models/{endpoint}/infer", {"inputs": []}), ("GET", f"/v2/models/{endpoint}", None)]
    for method, path, body in calls:
        answer = other.call(method, path, body)
        assert answer.status == 404, (method, path, answer)
    for path, key in (("/api/v1/models", "models"), ("/api/v1/datasets", "datasets"), ("/api/v1/experiments", "experiments"),
                      ("/api/v1/endpoints", "endpoints"), ("/api/v1/monitors", "monitors"), ("/api/v1/alerts", "alerts"), (f"/api/v1/monitors/{endpoint}/reports", "reports"),
                      (f"/api/v1/datasets/{dataset}/versions", "versions")):
        names = [one.get("name", one.get("endpoint")) for one in other.get(path).json.get(key, [])]
        assert not {model, dataset, experiment, endpoint} & set(names), path
    other.close()
    assert client.get(f"/api/v1/runs/{run}").json["status"] == "running"
    assert infer(client, endpoint, [[1, 2]]).status == 200


def test_who_may_not_read_predictions_does_not_get_them_as_a_dataset(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    feedback(client, endpoint, ["p"], inputs=[1, 2], prediction=1)
    body = {"from": 0, "to": 1, "dataset": unique("export")}
    assert client.post(f"/api/v1/endpoints/{endpoint}/export", body, token=server.token_for("default", ["datasets:*"])).status == 404  # they do not see it
    assert client.post(f"/api/v1/endpoints/{endpoint}/export", body, token=server.token_for("default", ["datasets:*", "models:read"])).status == 201


# ---- what is kept


def test_old_predictions_are_swept(new_daemon):
    server = new_daemon(configuration='plugin "serving" { prediction_days = 30 }')
    client = server.client()
    endpoint, _ = deploy(server, client, COLUMNS)
    for i in range(4):
        infer(client, endpoint, [[row, 2] for row in range(800)], id=f"p{i}")
    assert client.get(f"/api/v1/endpoints/{endpoint}/stats").json["predictions"] == 3200
    server.sql("UPDATE serving_predictions SET at = at - INTERVAL 31 DAY WHERE position <= 2500")
    server.sql("UPDATE serving_predictions SET at = at - INTERVAL 29 DAY WHERE position = 7")  # 60 days now
    server.sql("UPDATE serving_predictions SET at = NOW(6) WHERE position = 8")  # a node whose clock was ahead
    young = int(server.sql("SELECT COUNT(*) FROM serving_predictions WHERE at > NOW(6) - INTERVAL 30 DAY")[0][0])
    assert 600 < young < 1000
    run_job(client, "serving.sweep")
    assert server.sql("SELECT COUNT(*), MIN(position) FROM serving_predictions") == [[str(young), "8"]]
    run_job(client, "serving.sweep")
    assert client.get(f"/api/v1/endpoints/{endpoint}/stats").json["predictions"] == young
    client.close()


def test_only_the_newest_predictions_are_kept(new_daemon):
    server = new_daemon(configuration='plugin "serving" { prediction_days = 0, prediction_rows = 100 }')
    client = server.client()
    endpoint, _ = deploy(server, client, COLUMNS)
    for i in range(3):
        infer(client, endpoint, [[row, 2] for row in range(900)], id=f"p{i}")
    assert client.get(f"/api/v1/endpoints/{endpoint}/stats").json["predictions"] == 2700
    run_job(client, "serving.sweep")
    assert client.get(f"/api/v1/endpoints/{endpoint}/stats").json["predictions"] == 100
    assert server.sql("SELECT MIN(prediction_id), COUNT(*) FROM serving_predictions") == [["p2:800", "100"]]
    client.close()


# ---- trying a version on a dataset, and making a dataset of labels


def upload(client, text):
    name = unique("data")
    answer = client.post(f"/api/v1/datasets/{name}/versions", text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status == 201, answer
    return name


def test_a_version_is_tried_on_the_rows_asked_for(server, client):
    data = json.dumps(model_json(COLUMNS, [tree(low=0, high=1)])).encode()
    model, _ = register(server, client, COLUMNS, data=data)
    rows = [(i % 10 / 10, i, "" if i % 7 == 0 else int(i % 10 >= (5 if i % 3 else 6))) for i in range(20000)]
    dataset = upload(client, "b,a,class\n" + "".join(f"{i},{a},{label}\n" for a, i, label in rows))
    for first, count in ((0, 0), (0, 1), (1, 1), (100, 5000), (19990, 0), (19990, 1000), (3, 17)):
        asked = rows[first:first + count if count else None]
        labelled = [(a, label) for a, _, label in asked if label != ""]
        body = {"model": model, "version": "1", "dataset": dataset, "first_row": first, "rows": count}
        answer = client.post("/api/v1/evaluations", body)
        if not labelled:
            assert answer.status == 400 and "no row with a label" in answer.json["detail"], answer
            continue
        correct = sum((a >= 0.5) == (label == 1) for a, label in labelled)
        assert answer.status == 200, answer
        assert (answer.json["rows"], answer.json["correct"], answer.json["unlabelled"]) == (len(labelled), correct, len(asked) - len(labelled)), (first, count)
        assert answer.json["accuracy"] == pytest.approx(correct / len(labelled))
    for change, status, said in (({"label": "nobody"}, 400, "nobody"), ({"first_row": 20000}, 400, "no row"), ({"dataset": "nobody"}, 404, "nobody"),
                                 ({"version": "2"}, 404, "2"), ({"version": "@none"}, 404, "none"), ({"version": "x"}, 400, "version")):
        answer = client.post("/api/v1/evaluations", {"model": model, "version": "1", "dataset": dataset, **change})
        assert answer.status == status and said in json.dumps(answer.json), (change, answer)
    for text, said in (("a,class\n1,0\n", "'b'"), ("a,b,class\n1,x,0\n", "'x'"), ("a,b,class\n1,1e300,0\n", "1e300")):
        answer = client.post("/api/v1/evaluations", {"model": model, "version": "1", "dataset": upload(client, text)})
        assert answer.status == 400 and said in answer.json["detail"], (text, answer)


def test_labels_become_a_dataset(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    infer(client, endpoint, [[0.25, 2], [None, 4]], id="p")
    assert feedback(client, endpoint, ["p:0", "p:1", "lost"]).json["labelled"] == 3
    assert feedback(client, endpoint, ["own"], label=0, inputs=[1e-7, -5], prediction=0.5).json["labelled"] == 4
    assert feedback(client, endpoint, ["other"], inputs=[1], prediction=0).json["labelled"] == 5
    assert feedback(client, endpoint, ["odd"], inputs=[{"a": 1}, "x"], prediction=0).json["labelled"] == 6
    assert client.post(f"/api/v1/endpoints/{endpoint}/feedback", {"items": [{"id": "x", "label": 1, "inputs": {}}]}).status == 400
    dataset = unique("export")
    made = client.post(f"/api/v1/endpoints/{endpoint}/export", {"from": 0, "to": 100, "dataset": dataset})
    assert made.status == 201 and made.json == {"dataset": dataset, "version": 1, "rows": 3, "missing": 3}, made
    lines = client.get(f"/api/v1/datasets/{dataset}/versions/1/content").body.decode().splitlines()
    assert lines[0] == '"a","b","class"'
    assert [[float(x) if x else None for x in line.split(",")] for line in lines[1:]] == [[0.25, 2, 1], [None, 4, 1], [1e-7, -5, 0]]
    for body, status in (({"from": 2, "to": 3}, 409), ({"from": 5, "to": 5}, 400), ({"from": 50, "to": 60}, 409), ({"from": 0, "to": 1, "label": "a"}, 400)):
        answer = client.post(f"/api/v1/endpoints/{endpoint}/export", {**body, "dataset": dataset})
        assert answer.status == status, (body, answer)
    assert client.get(f"/api/v1/datasets/{dataset}/versions/0").json["version"] == 1
