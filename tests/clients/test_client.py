"""MlflowClient: experiments, runs, batches, histories and inputs."""
import time

import mlflow
import pytest
from conftest import FULL, MAJOR, OURS, pages
from mlflow.entities import Metric, Param, RunTag, ViewType

NOW = int(time.time() * 1000)


def test_an_experiment_from_birth_to_return(client, name):
    wanted = name("life")
    made = client.create_experiment(wanted, tags={"owner": "grid"})
    assert isinstance(made, str)
    found = client.get_experiment(made)
    assert (found.name, found.lifecycle_stage, found.tags["owner"]) == (wanted, "active", "grid")
    assert found.artifact_location == f"mlflow-artifacts:/{made}"
    assert found.creation_time <= found.last_update_time <= time.time() * 1000 + 1000
    client.rename_experiment(made, wanted + " ✓")
    assert client.get_experiment(made).name == wanted + " ✓" and client.get_experiment_by_name(wanted) is None
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert client.get_experiment_by_name(wanted + " ✓").lifecycle_stage == "deleted"
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"


def test_the_experiment_default_is_0(client):
    found = client.get_experiment("0")
    assert (found.name, found.experiment_id) == ("Default", "0")
    run = client.create_run("0")
    assert run.info.experiment_id == "0"
    client.delete_run(run.info.run_id)


@pytest.mark.skipif(MAJOR < 3, reason="the older client cannot delete one")
def test_a_tag_of_an_experiment_is_taken_away(client, experiment):
    client.set_experiment_tag(experiment, "a", "1")
    client.set_experiment_tag(experiment, "a", "2")
    assert client.get_experiment(experiment).tags["a"] == "2"
    client.delete_experiment_tag(experiment, "a")
    assert "a" not in client.get_experiment(experiment).tags


def test_experiments_are_searched_and_paged(client, name):
    prefix = name("many")
    made = [client.create_experiment(f"{prefix}-{n}", tags={"group": "even" if n % 2 == 0 else "odd"}) for n in range(7)]
    client.delete_experiment(made[6])
    condition = f"name LIKE '{prefix}-%'"
    found = pages(client.search_experiments, filter_string=condition, max_results=2, order_by=["name ASC"])
    assert [[one.name[-1] for one in page] for page in found] == [["0", "1"], ["2", "3"], ["4", "5"]]
    assert {one.name[-1] for one in client.search_experiments(filter_string=condition + " AND tags.group = 'even'")} == {"0", "2", "4"}
    assert [one.experiment_id for one in client.search_experiments(view_type=ViewType.DELETED_ONLY, filter_string=condition)] == [made[6]]
    assert len(client.search_experiments(view_type=ViewType.ALL, filter_string=condition)) == 7
    assert {one.name[-1] for one in client.search_experiments(filter_string=f"name ILIKE '{prefix.upper()}-1'")} == {"1"}
    assert len(client.search_experiments(filter_string=f"{condition} AND creation_time > 0 AND tags.group != 'odd'")) == 3
    assert [one.name[-1] for one in client.search_experiments(filter_string=condition, order_by=["creation_time DESC"], max_results=1)] == ["5"]


def test_runs_are_deleted_and_come_back(client, experiment, fails):
    run = client.create_run(experiment, tags={"a": "b"}, run_name="kept").info.run_id
    client.log_metric(run, "m", 1.0)
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    assert client.search_runs([experiment]) == []
    assert [one.info.run_id for one in client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)] == [run]
    assert [one.info.run_id for one in client.search_runs([experiment], run_view_type=ViewType.ALL)] == [run]
    with fails("INVALID_PARAMETER_VALUE", "active"):
        client.log_metric(run, "m", 2.0)
    with fails("INVALID_PARAMETER_VALUE", "active"):
        client.set_tag(run, "t", "x")
    client.restore_run(run)
    found = client.get_run(run)
    assert found.info.lifecycle_stage == "active" and found.data.metrics == {"m": 1.0} and found.data.tags["a"] == "b"


def test_the_runs_of_a_deleted_experiment_go_and_come_with_it(client, name):
    made = client.create_experiment(name("goes"))
    run = client.create_run(made).info.run_id
    client.delete_experiment(made)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    client.restore_experiment(made)
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_a_batch_of_everything(client, run_id):
    client.log_batch(run_id, metrics=[Metric("loss", 1 / (n + 1), NOW + n, n) for n in range(1000 - 150)],
                     params=[Param(f"p{n}", str(n)) for n in range(100)], tags=[RunTag(f"t{n}", str(n)) for n in range(50)])
    found = client.get_run(run_id)
    assert found.data.metrics == {"loss": 1 / 850} and len(found.data.params) == 100 and found.data.params["p42"] == "42"
    assert found.data.tags["t49"] == "49"
    points = client.get_metric_history(run_id, "loss")
    assert [(point.step, point.timestamp, point.value) for point in sorted(points, key=lambda p: p.step)] == [
        (n, NOW + n, 1 / (n + 1)) for n in range(850)]


def test_a_batch_is_repeated_and_changes_nothing(client, run_id):
    batch = {"metrics": [Metric("m", n / 3, NOW + n, n) for n in range(10)], "params": [Param("p", "1")], "tags": [RunTag("t", "1")]}
    client.log_batch(run_id, **batch)
    client.log_batch(run_id, **batch)
    assert len(client.get_metric_history(run_id, "m")) == 10


def test_a_history_of_several_pages(client, run_id):
    points = 60_000 if FULL else 26_000
    for first in range(0, points, 1000):
        client.log_batch(run_id, metrics=[Metric("long", (first + n) / 7, NOW + first + n, first + n) for n in range(1000)])
    found = client.get_metric_history(run_id, "long")  # pages of 25,000
    assert len(found) == points
    assert [point.step for point in found] == list(range(points)) and found[-1].value == (points - 1) / 7


@pytest.mark.ours
def test_a_history_in_any_pages(server, run_id, client):
    client.log_batch(run_id, metrics=[Metric("m", float(n), NOW + n // 3, n % 7) for n in range(500)])
    token, found = "", []
    while True:
        answer = server.call("GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=m&max_results=64&page_token={token}").json()
        assert len(answer["metrics"]) <= 64
        found += [point["value"] for point in answer["metrics"]]
        token = answer.get("next_page_token")
        if not token:
            break
    assert sorted(found) == [float(n) for n in range(500)]


def test_inputs_and_datasets(client, experiment):
    import numpy
    import pandas

    frame = pandas.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    train = mlflow.data.from_pandas(frame, source="train.csv", name="train", targets="y")
    test = mlflow.data.from_numpy(numpy.array([[1.0], [2.0]]), source="test.npy", name="test")
    with mlflow.start_run() as run:
        mlflow.log_input(train, context="training", tags={"fold": "1"})
        mlflow.log_input(test, context="testing")
    inputs = {one.dataset.name: one for one in client.get_run(run.info.run_id).inputs.dataset_inputs}
    assert set(inputs) == {"train", "test"}
    assert inputs["train"].dataset.digest == train.digest and "train.csv" in inputs["train"].dataset.source
    assert '"x"' in inputs["train"].dataset.schema and inputs["train"].dataset.profile
    assert {tag.key: tag.value for tag in inputs["train"].tags} == {"mlflow.data.context": "training", "fold": "1"}
    for condition, expected in (("dataset.name = 'train'", 1), ("datasets.digest = 'nothing'", 0), ("dataset.context = 'testing'", 1),
                                ("dataset.name LIKE 'tr%' AND metrics.m > 0", 0), ("dataset.name IN ('train', 'other')", 1)):
        assert len(client.search_runs([experiment], condition)) == expected, condition


def test_datasets_of_experiments_are_listed_for_the_page(client, experiment, server):
    import pandas

    with mlflow.start_run():
        mlflow.log_input(mlflow.data.from_pandas(pandas.DataFrame({"x": [1]}), name="listed"), context="training")
    answer = server.call("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", json={"experiment_ids": [experiment]})
    assert answer.ok, answer.text
    assert [(one["name"], one.get("context"), one["experiment_id"]) for one in answer.json()["dataset_summaries"]] == [("listed", "training", experiment)]


def test_parameters_do_not_change(client, run_id, fails):
    client.log_param(run_id, "p", "1")
    client.log_param(run_id, "p", "1")
    with fails("INVALID_PARAMETER_VALUE", "Changing param values is not allowed"):
        client.log_param(run_id, "p", "2")
    with fails("INVALID_PARAMETER_VALUE"):
        client.log_batch(run_id, params=[Param("p", "3")])
    assert client.get_run(run_id).data.params == {"p": "1"}


def test_tags_change_and_go(client, run_id, fails):
    client.set_tag(run_id, "t", "1")
    client.set_tag(run_id, "t", "2")
    assert client.get_run(run_id).data.tags["t"] == "2"
    client.delete_tag(run_id, "t")
    assert "t" not in client.get_run(run_id).data.tags
    with fails("RESOURCE_DOES_NOT_EXIST", "t"):
        client.delete_tag(run_id, "t")


def test_names_of_every_allowed_kind(client, run_id):
    key = "a/b c.d-e_f:g" if MAJOR >= 3 else "a/b c.d-e_f"
    client.log_metric(run_id, key, 1.5)
    client.log_param(run_id, key, "x" * 6000)
    client.set_tag(run_id, key, "y" * 5000)
    found = client.get_run(run_id)
    assert found.data.metrics == {key: 1.5} and found.data.params == {key: "x" * 6000} and found.data.tags[key] == "y" * 5000
    assert client.get_metric_history(run_id, key)[0].value == 1.5


@pytest.mark.ours
def test_one_model_of_the_data(client, experiment, run_id, server):
    """What a client of MLflow logs is seen through Purlin's own operations, and the other way round."""
    assert OURS
    client.log_metric(run_id, "loss", 0.5, step=3)
    client.log_param(run_id, "depth", "6")
    mine = server.op("tracking.get_run", {"run_id": run_id})
    assert mine["id"] == run_id and mine["experiment"] == client.get_experiment(experiment).name
    server.op("tracking.log_metric", {"run_id": run_id, "key": "loss", "value": 0.25, "step": 4})
    assert client.get_run(run_id).data.metrics == {"loss": 0.25}
    assert [point.value for point in client.get_metric_history(run_id, "loss")] == [0.5, 0.25]
