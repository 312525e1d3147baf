"""What Purlin trains is seen by MLflow's clients: a training is a run, and its model loads like one of theirs."""
import random
import time

import mlflow
import numpy
import pandas
import pytest

pytestmark = pytest.mark.ours


def rows(count, seed=5):
    dice = random.Random(seed)
    table = pandas.DataFrame({"x'1": [dice.random() for _ in range(count)], "größe": [dice.random() for _ in range(count)]})
    return table.assign(bought=(table.iloc[:, 0] + table.iloc[:, 1] > 1).astype(int))


@pytest.fixture(scope="module")
def trained(server):
    """A training of Purlin's own that has succeeded."""
    from conftest import unique

    dataset, model = unique("sales"), unique("sales-model")
    body = rows(600).to_csv(index=False).encode()
    answer = server.call("POST", f"/api/v1/datasets/{dataset}/versions", data=body, headers={"Content-Type": "text/csv"})
    assert answer.ok, answer.text
    job = server.op("training.create_job", {"trainer": "xgboost", "dataset": dataset, "validation_rows": 100, "model": model, "cause": "a try",
                                            "specification": {"label": "bought", "rounds": 12, "max_depth": 3, "eta": 0.4}})
    for _ in range(600):
        job = server.op("training.get_job", {"job_id": job["id"]})
        if job["state"] not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert job["state"] == "succeeded", job
    return job


def test_a_training_is_a_run(client, trained):
    for _ in range(100):
        run = client.get_run(trained["run_id"])
        if run.info.status == "FINISHED":
            break
        time.sleep(0.1)
    assert run.info.status == "FINISHED" and run.info.end_time
    assert run.info.run_name == trained["id"]
    assert client.get_experiment(run.info.experiment_id).name == trained["model"]
    assert run.data.params["label"] == "bought" and run.data.params["rounds"] == "12" and run.data.params["eta"] == "0.4"
    assert run.data.tags["purlin.training"] == trained["id"] and run.data.tags["purlin.cause"] == "a try"
    assert run.data.metrics == {one["key"]: one["value"] for one in trained["metrics"]}
    name = next(one for one in run.data.metrics if "logloss" in one)
    assert len(client.get_metric_history(run.info.run_id, name)) == 12
    read, = run.inputs.dataset_inputs
    assert read.dataset.name == trained["dataset"] and read.tags[0].value == "training"
    found = mlflow.search_runs([run.info.experiment_id], "params.max_depth = '3'")
    assert list(found.run_id) == [trained["run_id"]]


def test_its_model_loads(client, server, trained):
    version = client.get_model_version(trained["model"], "1")
    assert version.run_id == trained["run_id"]
    client.set_registered_model_alias(trained["model"], "champion", "1")
    loaded = mlflow.pyfunc.load_model(f"models:/{trained['model']}@champion")
    assert [one.name for one in loaded.metadata.get_input_schema().inputs] == ["x'1", "größe"]
    table = rows(50, seed=6).drop(columns="bought")
    predicted = loaded.predict(table)
    server.op("serving.deploy", {"name": trained["model"], "model": trained["model"], "version": "1"})
    answer = server.call("POST", f"/v2/models/{trained['model']}/infer", json={"inputs": [
        {"name": "x", "datatype": "FP32", "shape": list(table.shape), "data": table.to_numpy().ravel().tolist()}]})
    assert answer.ok, answer.text
    assert numpy.allclose(predicted, answer.json()["outputs"][0]["data"], atol=1e-5)


def test_a_cancelled_one_was_killed(client, server, trained):
    job = server.op("training.create_job", {"trainer": "xgboost", "dataset": trained["dataset"], "model": trained["model"],
                                            "specification": {"label": "bought", "rounds": 100000}})
    for _ in range(600):
        job = server.op("training.get_job", {"job_id": job["id"]})
        if job.get("run_id") and job["state"] == "running":
            break
        time.sleep(0.1)
    server.op("training.cancel_job", {"job_id": job["id"]})
    for _ in range(100):
        if client.get_run(job["run_id"]).info.status == "KILLED":
            return
        time.sleep(0.1)
    raise AssertionError(client.get_run(job["run_id"]).info)


def test_without_its_run_it_goes_on(client, server, trained):
    job = server.op("training.create_job", {"trainer": "xgboost", "dataset": trained["dataset"], "model": trained["model"],
                                            "specification": {"label": "bought", "rounds": 300}})
    for _ in range(600):
        job = server.op("training.get_job", {"job_id": job["id"]})
        if job.get("run_id"):
            break
        time.sleep(0.02)
    client.delete_run(job["run_id"])
    for _ in range(600):
        job = server.op("training.get_job", {"job_id": job["id"]})
        if job["state"] not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert job["state"] == "succeeded", job
