"""Models that clients of MLflow logged, deployed: what their files may say, and what is refused. With the real clients: tests/clients."""
import json

import pytest

from daemon import unique, wait_until
from models import model_json, tree

API = "/api/2.0/mlflow"
SIGNATURE = [{"type": "double", "name": "a", "required": True}, {"type": "long", "name": "b", "required": True}]
MLMODEL = """artifact_path: model
flavors:
  python_function:
    data: model.json
    loader_module: mlflow.xgboost
  xgboost:
    code: null
    data: model.json
    model_class: {model_class}
    model_format: json
signature:
  inputs: '{inputs}'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "int64", "shape": [-1]}}}}]'
  params: null
"""


def mlmodel(model_class="xgboost.sklearn.XGBClassifier", inputs=SIGNATURE):
    return MLMODEL.format(model_class=model_class, inputs=json.dumps(inputs))


def log(client, files, name=None):
    """A logged model of these files and a version of it: the version's model and the logged model's id."""
    experiment = client.post("/api/v1/experiments", {"name": unique("exp")}).json["id"]
    model = client.post(f"{API}/logged-models", {"experiment_id": experiment}).json["model"]["info"]
    root = model["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for path, text in files.items():
        assert client.put(f"/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", text.encode()).status == 200
    client.call("PATCH", f"{API}/logged-models/{model['model_id']}", {"status": "LOGGED_MODEL_READY"})
    return add_version(client, model["model_id"], name), model["model_id"]


def add_version(client, model, name=None):
    name = name or unique("model")
    client.post(f"{API}/registered-models/create", {"name": name})
    answer = client.post(f"{API}/model-versions/create", {"name": name, "source": f"models:/{model}", "model_id": model})
    assert answer.status == 200, answer
    return name


def files(mlmodel_text=None, objective="binary:logistic", columns=("a", "b"), **more):
    return {"MLmodel": mlmodel_text or mlmodel(), "model.json": json.dumps(model_json(columns, objective=objective, base="0.5", **more))}


def deploy(client, model, expected=201, **more):
    answer = client.post("/api/v1/deployments", {"model": model, **more})
    assert answer.status == expected, answer
    return answer.json if expected == 201 else answer.json["detail"]


def refused(client, given, *parts):
    name, _ = log(client, given)
    answer = client.post("/api/v1/deployments", {"model": f"{name}/1"})
    assert answer.status in (400, 409) and all(part in answer.json["detail"] for part in parts), answer


def infer(client, endpoint, a, b, **more):
    inputs = [{"name": "b", "datatype": "INT64", "shape": [len(b)], "data": b}, {"name": "a", "datatype": "FP64", "shape": [len(a)], "data": a}]
    return client.post(f"/v2/models/{endpoint}/infer", {"inputs": inputs, **more})


def outputs(answer):
    assert answer.status == 200, answer
    return {o["name"]: (o["datatype"], o["shape"], o["data"]) for o in answer.json["outputs"]}


def test_a_classifier_tells_the_class_and_its_probability(client):
    name, _ = log(client, files())
    assert deploy(client, name)["name"] == name
    odds = [0.26894143, 0.880797]
    assert outputs(infer(client, name, [0, 1], [1, 2])) == {"prediction": ("INT64", [2], [0, 1]), "probability": ("FP32", [2], pytest.approx(odds))}
    assert list(outputs(infer(client, name, [0], [1], outputs=[{"name": "probability"}]))) == ["probability"]
    answer = infer(client, name, [0], [1], outputs=[{"name": "logit"}])
    assert answer.status == 400 and answer.json["error"] == "the model has no output 'logit'; it has prediction and probability"
    told = client.get(f"/v2/models/{name}").json
    assert [(i["name"], i["datatype"]) for i in told["inputs"]] == [("a", "FP64"), ("b", "INT64")]
    assert [(o["name"], o["datatype"], o["shape"]) for o in told["outputs"]] == [("prediction", "INT64", [-1]), ("probability", "FP32", [-1])]


def test_a_booster_tells_what_it_gives(client):
    name, _ = log(client, files(mlmodel("xgboost.core.Booster")))
    deploy(client, name)
    assert outputs(infer(client, name, [0, 1], [1, 2])) == {"output": ("FP32", [2], pytest.approx([0.26894143, 0.880797]))}


def test_several_classes(client):
    trees = [tree(low=0.0, high=1.0), tree(low=0.5, high=0.0), tree(low=2.0, high=0.25)]
    name, _ = log(client, files(objective="multi:softprob", trees=trees, classes=3))
    deploy(client, name)
    found = outputs(infer(client, name, [0, 1], [1, 2]))
    assert found["prediction"] == ("INT64", [2], [2, 0]) and found["probability"][1] == [2, 3] and sum(found["probability"][2]) == pytest.approx(2)
    name, _ = log(client, files(objective="multi:softmax", trees=trees, classes=3))
    deploy(client, name)
    assert [data for _, _, data in outputs(infer(client, name, [0, 1], [1, 2])).values()] == [[2, 0]]


def test_which_version(client):
    name, model = log(client, files())
    add_version(client, model, name)
    client.post(f"{API}/registered-models/alias", {"name": name, "alias": "old", "version": "1"})
    assert [deploy(client, one)["version"] for one in (name, f"{name}/1", f"{name}/latest", f"{name}@old", f"{name}/2")] == [2, 1, 2, 1, 2]
    assert deploy(client, f"{name}/1", endpoint=f"{name}-old")["name"] == f"{name}-old"
    for model, status, part in ((f"{name}/3", 404, "no version 3"), (f"{name}@new", 404, "no alias 'new'"), ("nothing-there", 404, "nothing-there"),
                                (f"{name}/", 400, "churn@champion"), ("@x", 400, "churn@champion"), (f"{name}/x", 400, "")):
        answer = client.post("/api/v1/deployments", {"model": model})
        assert answer.status == status and part in json.dumps(answer.json), answer
    empty = unique("empty")
    client.post("/api/v1/models", {"name": empty})
    assert deploy(client, empty, 409) == f"the model '{empty}' has no versions yet"


def test_what_is_not_served_is_told(client):
    refused(client, {"MLmodel": "flavors:\n  sklearn: {pickled_model: model.pkl}\n  python_function: {}\n"}, "sklearn, python_function", "served is the flavor xgboost")
    refused(client, {"MLmodel": "artifact_path: model\n"}, "(none)")
    refused(client, files(mlmodel("xgboost.dask.DaskXGBClassifier")), "xgboost.dask.DaskXGBClassifier", "XGBRanker")
    refused(client, files(mlmodel(inputs=[{"type": "string", "name": "a"}, {"type": "long", "name": "b"}])), "'a'", "string")
    refused(client, files(mlmodel(inputs=[{"type": "double", "name": "a"}])), "2 columns")
    refused(client, files(mlmodel(inputs=SIGNATURE[::-1])), "'a'", "'b'")
    refused(client, files(mlmodel(inputs={"a": 1})), "not as MLflow writes it")
    refused(client, {"model.json": "{}"}, "no file 'MLmodel'")
    refused(client, {"MLmodel": mlmodel()}, "no file 'model.json'")
    for broken in ("", "{}", "{i\x7f", "not a model", "\0binf"):
        name, _ = log(client, {"MLmodel": mlmodel(), "model.json": broken})
        assert client.post("/api/v1/deployments", {"model": name}).status in (400, 409), broken


def test_hostile_mlmodels(client):
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join('*' + chr(97 + i) for _ in range(9))}]\n" for i in range(9))
    for text, part in ((bomb, "anchor"), ("flavors: *x\n", "alias"), ("[" * 10000, "is no mapping"), ("{a: " * 10000, "nested"), ("a: b: c: d", "no YAML"),
                       ("flavors: [xgboost]\n", "(none)"), ("a: 1\n---\nb: 2\n", "more than one document"), ("flavors: {xgboost: {data: [1]}}", "'data' in MLmodel is no text"),
                       ("? [a, b]\n: c\n", "a key that is no text"), ("#" * (4 * 1024 * 1024 + 1), "more than are read"), ("\xff", "")):
        refused(client, {"MLmodel": text}, part)
    for path in ("../model.json", "/etc/passwd", "a/../../b", "file:///etc/passwd", "model.json?x", "s3://a/b", "a\\nb"):
        name, _ = log(client, {"MLmodel": f"flavors: {{xgboost: {{data: \"{path}\"}}}}", "model.json": "{}"})
        assert client.post("/api/v1/deployments", {"model": name}).status in (400, 409), path


def test_files_of_another_workspace_are_not_there(server, client):
    _, theirs = log(client, files())
    workspace = unique("ws")
    assert client.op("access.create_workspace", {"name": workspace, "owner": "user:eva"}).status == 201
    other = server.client(server.token_for(workspace))
    uri = client.get(f"{API}/logged-models/{theirs}").json["model"]["info"]["artifact_uri"]
    for source in (f"models:/{theirs}", uri):
        answer = other.post(f"{API}/registered-models/create", {"name": unique("m")})
        name = answer.json["registered_model"]["name"]
        made = other.post(f"{API}/model-versions/create", {"name": name, "source": source, "model_id": theirs})
        if made.status != 200:
            continue  # refused already
        assert "no file 'MLmodel'" in deploy(other, name, 409)


def test_who_may_not_read_the_files_deploys_nothing(server, client):
    name, _ = log(client, files())
    limited = server.client(server.token_for("default", ["models:*"]))
    answer = limited.post("/api/v1/deployments", {"model": name})
    assert answer.status in (403, 404, 409) and name not in [e["name"] for e in client.post("/v2/repository/index").json], answer


def test_it_is_watched_tried_and_labelled_like_others(client):
    name, _ = log(client, files())
    deploy(client, name)
    signature = {"inputs": [{"name": "a", "datatype": "FP64"}, {"name": "b", "datatype": "INT64"}], "outputs": [{"name": "prediction", "datatype": "INT64"}, {"name": "probability", "datatype": "FP32"}]}
    assert client.get(f"/api/v1/models/{name}/versions/1/signature").json == signature
    dataset, rows = unique("data"), [(i % 2, i, i % 2) for i in range(100)]
    table = "a,b,class\n" + "".join(f"{a},{b},{label}\n" for a, b, label in rows)
    assert client.post(f"/api/v1/datasets/{dataset}/versions", table.encode(), headers={"Content-Type": "text/csv"}).status == 201
    tried = client.post("/api/v1/evaluations", {"model": name, "version": "1", "dataset": dataset}).json
    assert tried["rows"] == 100 and tried["accuracy"] == 1
    monitor = {"endpoint": name, "model": name, "version": 1, "dataset": dataset, "dataset_version": 1, "baseline_accuracy": 0.9, "every": 50, "drift_window": 50, "accuracy_window": 50}
    assert client.post("/api/v1/monitors", monitor).status == 201
    for a, b, _ in rows[:50]:
        assert infer(client, name, [a], [b], id=f"p{b}").status == 200
    assert client.post(f"/api/v1/endpoints/{name}/feedback", {"items": [{"id": f"p{b}", "label": label} for _, b, label in rows[:50]]}).json["accepted"] == 50
    wait_until(lambda: client.get(f"/api/v1/endpoints/{name}/labelled?from=0&to=50").json["missing"] == 0, 10, "predictions are missing")
    kept = client.get(f"/api/v1/endpoints/{name}/labelled?from=0&to=2").json
    assert kept["rows"] == [{"inputs": [i, i], "prediction": pytest.approx(odds), "label": i, "version": 1} for i, odds in ((0, 0.26894143), (1, 0.880797))]
    report = wait_until(lambda: client.get(f"/api/v1/monitors/{name}/reports").json.get("reports"), 20, "no report")[0]
    assert report["accuracy"] == 1 and [f["name"] for f in report["features"]] == ["a", "b"]
