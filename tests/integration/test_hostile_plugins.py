"""What somebody of bad will, or of bad luck, does to the plugins: odd names, races, damaged models, what the past left behind."""
import json
import threading
import urllib.parse

import pytest

from daemon import Client, Threads, unique
from models import deploy, infer, model_json, register, tree

COLUMNS = ["a", "b"]
CSV = {"Content-Type": "text/csv"}


def is_problem(answer, status, part=""):
    assert answer.status == status and answer.headers["Content-Type"] == "application/problem+json", answer
    assert part in json.dumps(answer.json, ensure_ascii=False), answer
    return answer.json


def quoted(name):
    return urllib.parse.quote(name, safe="")


# ---- names

ODD_NAMES = ["ä ö%", "a%2Fb", "名前 ☕", "x?y#z", "a&b=c;d", "'; DROP TABLE registry_models; --", "\\", '"', "%", "_", ".", "..", "\u202egnp", "e\u0301", "\t", " "]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_as_they_were(client, name):
    name += unique("-")
    path = quoted(name)
    assert client.post("/api/v1/models", {"name": name}).status == 201
    assert client.get(f"/api/v1/models/{path}").json["name"] == name
    assert client.post("/api/v1/experiments", {"name": name}).status == 201
    assert client.get(f"/api/v1/experiments/{path}").json["name"] == name
    assert client.post(f"/api/v1/datasets/{path}/versions", b"a\n1\n", headers=CSV).json["name"] == name
    assert client.get(f"/api/v1/datasets/{path}/versions/1").json["name"] == name
    run = client.post(f"/api/v1/experiments/{path}/runs", {"name": name}).json["id"]
    batch = {"metrics": [{"key": name, "value": 1}], "parameters": [{"key": name, "value": name}], "tags": [{"key": name, "value": name}]}
    assert client.post(f"/api/v1/runs/{run}/batch", batch).status == 200
    got = client.get(f"/api/v1/runs/{run}").json
    assert got["name"] == name and got["metrics"][0]["key"] == name and got["parameters"] == [{"key": name, "value": name}] == got["tags"]
    assert client.get(f"/api/v1/runs/{run}/metrics/{path}").json["metrics"][0]["key"] == name


def test_a_space_at_the_end_makes_another_name(client):
    name = unique("pad")
    for one in (name, name + " "):
        path = quoted(one)
        assert client.post("/api/v1/models", {"name": one}).status == 201
        assert client.post("/api/v1/experiments", {"name": one}).status == 201
        assert client.post(f"/api/v1/datasets/{path}/versions", b"a\n1\n", headers=CSV).json["version"] == 1
    assert client.get(f"/api/v1/models/{name}%20%20").status == 404
    run = client.post(f"/api/v1/experiments/{name}/runs", {}).json["id"]
    for key in ("k", "k "):
        assert client.post(f"/api/v1/runs/{run}/metrics", {"key": key, "value": len(key), "step": 1, "at": "2026-01-01T00:00:00Z"}).status == 200
        assert client.post(f"/api/v1/runs/{run}/batch", {"parameters": [{"key": key, "value": key}], "tags": [{"key": key, "value": key}]}).status == 200
    got = client.get(f"/api/v1/runs/{run}").json
    assert [(one["key"], one["value"]) for one in got["metrics"]] == [("k", 1), ("k ", 2)]
    assert [one["value"] for one in got["parameters"]] == ["k", "k "] == [one["value"] for one in got["tags"]]


def test_labels_of_ids_that_end_in_a_space(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    items = [{"id": name, "label": 1, "inputs": [1, 2], "prediction": 1} for name in ("p", "p ", "p")]
    answer = client.post(f"/api/v1/endpoints/{endpoint}/feedback", {"items": items})
    assert answer.status == 200 and answer.json == {"accepted": 2, "repeated": 1, "labelled": 2}
    answer = client.post(f"/api/v1/endpoints/{endpoint}/feedback", {"items": [{"id": "p  ", "label": 0}]})
    assert answer.status == 200 and answer.json["accepted"] == 1


# ---- what the address says, said again in the body


def test_field_of_the_path_may_stand_in_the_body_too(client):
    name = unique("twice")
    assert client.post("/api/v1/models", {"name": name}).status == 201
    body = {"framework": "xgboost", "sha256": "0" * 64, "size": 1, "signature": {"inputs": [{"name": "a"}]}}
    assert client.post(f"/api/v1/models/{name}/versions", {**body, "name": name}).status == 201
    problem = is_problem(client.post(f"/api/v1/models/{name}/versions", {**body, "name": name + "x"}), 400)
    assert problem["errors"] == [{"field": "name", "message": "is not what the address says"}]
    is_problem(client.post(f"/api/v1/models/{name}/versions", {**body, "name": 7}), 400, "name")
    assert client.put(f"/api/v1/models/{name}/aliases/a", {"name": name, "alias": "a", "version": 1}).status == 200
    is_problem(client.put(f"/api/v1/models/{name}/aliases/a", {"name": name, "alias": "b", "version": 1}), 400, "alias")
    assert client.get(f"/api/v1/models/{name}/versions?name={name}").status == 200
    is_problem(client.get(f"/api/v1/models/{name}/versions?name=other"), 400, "is not what the address says")
    is_problem(client.get(f"/api/v1/models/{name}/versions?limit=1&limit=1"), 400, "twice")


def test_number_of_the_path_may_stand_in_the_body_too(server, client):
    name = unique("numbers")
    client.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n", headers=CSV)
    assert client.get(f"/api/v1/datasets/{name}/versions/1?version=1").status == 200
    is_problem(client.get(f"/api/v1/datasets/{name}/versions/1?version=2"), 400, "version")
    answer = {"endpoint": "nobody", "labelled": 5, "answer": "x"}
    is_problem(client.put("/api/v1/monitors/nobody/alerts/5/answer", answer), 404)
    is_problem(client.put("/api/v1/monitors/nobody/alerts/6/answer", answer), 400, "labelled")
