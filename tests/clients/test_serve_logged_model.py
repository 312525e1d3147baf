"""Models that were logged as XGBoost are served at once: logged, registered, given an alias, deployed, and they predict what the client predicts."""
import json
import subprocess

import mlflow
import numpy
import pandas
import pytest
import xgboost
from mlflow.models import infer_signature

from conftest import MAJOR

pytestmark = pytest.mark.ours
ROWS = 300


@pytest.fixture(scope="module")
def table():
    random = numpy.random.default_rng(7)
    data = pandas.DataFrame({"age": random.integers(18, 90, ROWS), "income": random.normal(50000, 20000, ROWS), "rate": random.random(ROWS).astype("float32"),
                             "member": random.random(ROWS) > 0.5, "visits": random.integers(0, 30, ROWS).astype("int32")})
    return data, ((data.income / 1000 + data.age + 20 * data.member) > 100).astype(int)


def where(name):
    return {"name": name} if MAJOR >= 3 else {"artifact_path": name}


def deploy(server, client, name, model, alias="champion", **more):
    """Logs, registers, names and deploys."""
    with mlflow.start_run():
        mlflow.xgboost.log_model(model, registered_model_name=name, pip_requirements=[], **where("model"), **more)
    client.set_registered_model_alias(name, alias, client.get_latest_versions(name)[0].version if MAJOR < 3 else 1)
    return server.op("serving.deploy_model", {"model": f"{name}@{alias}"})


TYPES = {"int64": "INT64", "int32": "INT32", "float64": "FP64", "float32": "FP32", "bool": "BOOL"}


def tensors(data):
    return [{"name": c, "datatype": TYPES[str(data[c].dtype)], "shape": [len(data)], "data": data[c].tolist()} for c in data.columns]


def ask(server, name, inputs, expected=200, **more):
    answer = server.call("POST", f"/v2/models/{name}/infer", data=json.dumps({"inputs": inputs, **more}))
    assert answer.status_code == expected, answer.text
    if expected != 200:
        return answer.json()["error"]
    return {o["name"]: numpy.array(o["data"], dtype={"FP32": numpy.float32, "INT64": numpy.int64}[o["datatype"]]).reshape(o["shape"]) for o in answer.json()["outputs"]}


def infer(server, name, inputs):
    """What comes first: what the client's own predict gives."""
    return next(iter(ask(server, name, inputs).values()))


def loaded(name, version=1):
    return mlflow.pyfunc.load_model(f"models:/{name}/{version}")


def test_a_classifier_with_columns(server, client, experiment, name, table):
    data, label = table
    model = xgboost.XGBClassifier(n_estimators=20, max_depth=4).fit(data, label)
    model_name = name("churn")
    deployed = deploy(server, client, model_name, model, signature=infer_signature(data, model.predict(data)), input_example=data[:2])
    assert (deployed["name"], deployed["model"], deployed["version"]) == (model_name, model_name, 1)
    found = ask(server, model_name, tensors(data))
    assert list(found) == ["prediction", "probability"]
    assert numpy.array_equal(found["prediction"], loaded(model_name).predict(data))
    assert numpy.array_equal(found["probability"], model.predict_proba(data)[:, 1])
    assert list(ask(server, model_name, tensors(data[:1]), outputs=[{"name": "probability"}])) == ["probability"]
    assert list(ask(server, model_name, tensors(data[:1]), outputs=[{"name": "prediction"}])) == ["prediction"]
    assert "'odds'" in ask(server, model_name, tensors(data[:1]), 400, outputs=[{"name": "odds"}])
    told = server.call("GET", f"/v2/models/{model_name}").json()
    assert [(i["name"], i["datatype"]) for i in told["inputs"]] == [("age", "INT64"), ("income", "FP64"), ("rate", "FP32"), ("member", "BOOL"), ("visits", "INT32")]
    assert [(o["name"], o["datatype"], o["shape"]) for o in told["outputs"]] == [("prediction", "INT64", [-1]), ("probability", "FP32", [-1])]


def test_what_breaks_the_signature_is_told_by_column(server, client, experiment, name, table):
    data, label = table
    model = xgboost.XGBClassifier(n_estimators=2).fit(data, label)
    model_name = name("churn")
    deploy(server, client, model_name, model, signature=infer_signature(data))
    good = tensors(data[:2])

    def refused(change):
        return ask(server, model_name, change(json.loads(json.dumps(good))), 400)

    def change(column, **more):
        return lambda t: [{**i, **more} if i["name"] == column else i for i in t]

    assert "columns are missing: income" in refused(lambda t: [i for i in t if i["name"] != "income"])
    assert "'surprise'" in refused(lambda t: t + [{"name": "surprise", "datatype": "FP64", "shape": [2], "data": [1, 2]}])
    assert "'income'" in refused(change("income", data=["1", "2"]))
    assert "'age'" in refused(change("age", data=[1.5, 2]))
    assert "'age'" in refused(change("age", datatype="FP64"))
    assert "'age'" in refused(change("age", data=[None, 2]))
    assert "'visits'" in refused(change("visits", data=[3000000000, 2]))
    assert "'member'" in refused(change("member", data=[2, 1]))
    assert "'member'" in refused(change("member", datatype="INT64"))
    assert "'rate'" in refused(change("rate", data=[True, False]))
    assert infer(server, model_name, change("income", data=[None, 2])(good)).shape == (2,)


def test_a_booster_without_names(server, client, experiment, name, table):
    data, label = table
    values = data.to_numpy(dtype=float)
    model = xgboost.train({"objective": "binary:logistic", "max_depth": 5}, xgboost.DMatrix(values, label), 12)
    model_name = name("churn")
    deploy(server, client, model_name, model, signature=infer_signature(values, model.predict(xgboost.DMatrix(values))))
    found = infer(server, model_name, [{"name": "x", "datatype": "FP64", "shape": list(values.shape), "data": values.tolist()}])
    assert numpy.array_equal(found, loaded(model_name).predict(values))


@pytest.mark.parametrize("format", ["ubj", "json", "xgb"])
def test_every_format_and_no_signature(server, client, experiment, name, table, format):
    data, label = table
    values = data.astype(float)
    model = xgboost.train({"objective": "reg:squarederror", "max_depth": 3}, xgboost.DMatrix(values, label), 5)
    model_name = name("churn")
    deploy(server, client, model_name, model, model_format=format)
    found = infer(server, model_name, tensors(values))
    assert numpy.array_equal(found, loaded(model_name).predict(values))


def test_a_regressor_and_missing_values(server, client, experiment, name, table):
    data, label = table
    holes = data.astype({"age": float, "visits": float, "member": float}).mask(numpy.random.default_rng(1).random(data.shape) < 0.2)
    model = xgboost.XGBRegressor(n_estimators=9).fit(holes, data.income)
    model_name = name("income")
    deploy(server, client, model_name, model, signature=infer_signature(holes, model.predict(holes)))
    inputs = [{**t, "data": [None if v != v else v for v in t["data"]]} for t in tensors(holes)]
    assert numpy.array_equal(infer(server, model_name, inputs), loaded(model_name).predict(holes))


def test_classes(server, client, experiment, name, table):
    data, _ = table
    label = pandas.qcut(data.income, 3, labels=False)
    model = xgboost.XGBClassifier(n_estimators=6).fit(data, label)
    model_name = name("class")
    deploy(server, client, model_name, model, signature=infer_signature(data, model.predict(data)))
    found, expected = ask(server, model_name, tensors(data)), model.predict_proba(data)
    assert found["probability"].shape == (ROWS, 3) and numpy.abs(found["probability"] - expected).max() <= 1e-6
    assert numpy.array_equal(found["prediction"], loaded(model_name).predict(data))
    assert server.call("GET", f"/v2/models/{model_name}").json()["outputs"][1]["shape"] == [-1, 3]


def test_training_that_stopped_early(server, client, experiment, name, table):
    data, _ = table
    label = numpy.random.default_rng(3).integers(0, 2, ROWS)  # nothing to learn: the first trees are the best
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=15).fit(data[:200], label[:200], eval_set=[(data[200:], label[200:])], verbose=False)
    assert model.best_iteration < 20
    model_name = name("early")
    deploy(server, client, model_name, model, signature=infer_signature(data))
    found = ask(server, model_name, tensors(data))
    assert numpy.array_equal(found["prediction"], loaded(model_name).predict(data))
    assert numpy.array_equal(found["probability"], model.predict_proba(data)[:, 1])


def test_objectives(server, client, experiment, name, table):
    data, label = table
    values = data.astype(float)
    for objective in ("binary:hinge", "multi:softmax", "reg:gamma", "reg:absoluteerror", "count:poisson", "rank:ndcg"):
        rows = xgboost.DMatrix(values, label + (objective == "reg:gamma"))
        if objective.startswith("rank:"):
            rows.set_group([30] * (ROWS // 30))
        model = xgboost.train({"objective": objective, "max_depth": 4, **({"num_class": 2} if objective.startswith("multi:") else {})}, rows, 8)
        model_name = name("kind")
        deploy(server, client, model_name, model, signature=infer_signature(values))
        found, expected = infer(server, model_name, tensors(values)), loaded(model_name).predict(values)
        assert found.shape == expected.shape and numpy.abs(found - expected).max() <= 1e-6 * max(1, numpy.abs(expected).max()), objective


def test_classes_of_scikit_learn(server, client, experiment, name, table):
    data, label = table
    groups = numpy.repeat(numpy.arange(ROWS // 30), 30)
    models = {"forest": xgboost.XGBRFClassifier(n_estimators=12, max_depth=4).fit(data, label), "trees": xgboost.XGBRFRegressor(n_estimators=12).fit(data, data.income),
              "rank": xgboost.XGBRanker(n_estimators=5).fit(data, label, qid=groups), "hinge": xgboost.XGBClassifier(n_estimators=5, objective="binary:hinge").fit(data, label)}
    for kind, model in models.items():
        model_name = name(kind)
        deploy(server, client, model_name, model, signature=infer_signature(data))
        assert numpy.array_equal(infer(server, model_name, tensors(data)), loaded(model_name).predict(data)), kind


def test_a_new_version_takes_over_by_its_alias(server, client, experiment, name, table):
    data, label = table
    model_name = name("churn")
    first, second = (xgboost.XGBClassifier(n_estimators=n).fit(data, label) for n in (2, 5))
    deploy(server, client, model_name, first, signature=infer_signature(data))
    with mlflow.start_run():
        mlflow.xgboost.log_model(second, registered_model_name=model_name, signature=infer_signature(data), pip_requirements=[], **where("model"))
    client.set_registered_model_alias(model_name, "champion", 2)
    assert server.op("serving.deploy_model", {"model": f"{model_name}@champion"})["version"] == 2
    assert numpy.array_equal(ask(server, model_name, tensors(data))["probability"], second.predict_proba(data)[:, 1])
    assert server.op("serving.deploy_model", {"model": model_name, "endpoint": f"{model_name}-newest"})["version"] == 2
    assert server.op("serving.deploy_model", {"model": f"{model_name}/1", "endpoint": f"{model_name}-old"})["version"] == 1
    assert numpy.array_equal(ask(server, f"{model_name}-old", tensors(data))["probability"], first.predict_proba(data)[:, 1])


def test_columns_may_come_in_any_order(server, client, experiment, name, table):
    data, label = table
    model = xgboost.XGBClassifier(n_estimators=5).fit(data, label)
    model_name = name("order")
    deploy(server, client, model_name, model, signature=infer_signature(data))
    assert numpy.array_equal(infer(server, model_name, tensors(data[data.columns[::-1]])), loaded(model_name).predict(data))


def test_types_that_no_tree_takes(server, client, experiment, name, table):
    from mlflow.types import ColSpec, Schema
    from mlflow.models import ModelSignature

    data, label = table
    model_name = name("text")
    signature = ModelSignature(inputs=Schema([ColSpec("double", "income"), ColSpec("string", "town")]))
    with mlflow.start_run():
        mlflow.xgboost.log_model(xgboost.XGBClassifier(n_estimators=2).fit(data[["income", "age"]], label), registered_model_name=model_name, signature=signature, pip_requirements=[],
                                 **where("model"))
    answer = server.call("POST", "/api/v1/deployments", json={"model": f"{model_name}/1"})
    assert answer.status_code == 409 and "'town'" in answer.json()["detail"] and "string" in answer.json()["detail"], answer.text


def test_other_flavors_are_refused_by_name(server, client, experiment, name, table):
    from sklearn.linear_model import LogisticRegression

    data, label = table
    model_name = name("plain")
    with mlflow.start_run():
        mlflow.sklearn.log_model(LogisticRegression().fit(data[["age"]], label), registered_model_name=model_name, pip_requirements=[], **where("model"))
    answer = server.call("POST", "/api/v1/deployments", json={"model": f"{model_name}/1"})
    assert answer.status_code == 409 and "python_function, sklearn; served is the flavor xgboost" in answer.json()["detail"], answer.text
