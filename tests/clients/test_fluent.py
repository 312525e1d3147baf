"""The fluent interface, as a training script uses it."""
import json
import math
import pathlib

import mlflow
import pytest
from conftest import MAJOR


def test_a_whole_training_run(client, experiment):
    with mlflow.start_run(run_name="first", description="what it is for") as run:
        mlflow.log_param("depth", 6)
        mlflow.log_params({"rate": 0.1, "name": "ünï ✓", "empty": ""})
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metric("loss", 0.25, step=2)
        mlflow.log_metrics({"auc": 0.75, "f1": 1}, step=3)
        mlflow.set_tag("team", "grid")
        mlflow.set_tags({"stage": "try", "number": 7})
    found = client.get_run(run.info.run_id)
    assert found.info.run_name == "first" and found.info.status == "FINISHED" and found.info.experiment_id == experiment
    assert found.info.lifecycle_stage == "active" and found.info.start_time <= found.info.end_time
    assert found.info.artifact_uri.endswith(f"{experiment}/{run.info.run_id}/artifacts")
    assert found.data.params == {"depth": "6", "rate": "0.1", "name": "ünï ✓", "empty": ""}
    assert found.data.metrics == {"loss": 0.25, "auc": 0.75, "f1": 1.0}
    tags = found.data.tags
    assert (tags["team"], tags["stage"], tags["number"]) == ("grid", "try", "7")
    assert tags["mlflow.runName"] == "first" and tags["mlflow.note.content"] == "what it is for" and tags["mlflow.user"]
    assert mlflow.get_run(run.info.run_id).info.run_id == run.info.run_id
    assert mlflow.last_active_run().info.run_id == run.info.run_id


def test_a_run_without_a_name_gets_one_and_a_new_name_shows(client, experiment):
    with mlflow.start_run() as run:
        pass
    assert run.info.run_name
    client.update_run(run.info.run_id, name="renamed")
    found = client.get_run(run.info.run_id)
    assert found.info.run_name == "renamed" and found.data.tags["mlflow.runName"] == "renamed"
    client.set_tag(run.info.run_id, "mlflow.runName", "again")
    assert client.get_run(run.info.run_id).info.run_name == "again"


def test_numbers_that_are_not_finite(client, experiment):
    with mlflow.start_run() as run:
        mlflow.log_metric("nan", float("nan"))
        mlflow.log_metric("up", float("inf"))
        mlflow.log_metric("down", float("-inf"))
        mlflow.log_metric("tiny", 5e-324)
        mlflow.log_metric("whole", 3)
    metrics = client.get_run(run.info.run_id).data.metrics
    assert math.isnan(metrics["nan"]) and metrics["tiny"] == 5e-324 and metrics["whole"] == 3.0
    assert metrics["up"] >= 1.7976931348623157e308 and metrics["down"] <= -1.7976931348623157e308
    assert math.isnan(client.get_metric_history(run.info.run_id, "nan")[0].value)
    assert client.get_metric_history(run.info.run_id, "up")[0].value >= 1.7976931348623157e308


def test_the_latest_value_is_of_the_largest_step(client, experiment):
    with mlflow.start_run() as run:
        for step, value in ((3, 30.0), (1, 10.0), (2, 20.0)):
            mlflow.log_metric("m", value, step=step)
        mlflow.log_metric("negative", 1.0, step=-5)
        mlflow.log_metric("negative", 2.0, step=-7)
    assert client.get_run(run.info.run_id).data.metrics == {"m": 30.0, "negative": 1.0}
    assert sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, "m")) == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_nested_runs(client, experiment):
    with mlflow.start_run(run_name="parent") as parent:
        children = []
        for depth in (1, 2):
            with mlflow.start_run(run_name=f"child-{depth}", nested=True) as child:
                mlflow.log_param("depth", depth)
                children.append(child.info.run_id)
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {run.info.run_id for run in found} == set(children)
    assert client.get_parent_run(children[0]).info.run_id == parent.info.run_id
    assert mlflow.get_parent_run(parent.info.run_id) is None


def test_an_error_ends_a_run_as_failed_and_it_can_be_taken_up_again(client, experiment):
    with pytest.raises(RuntimeError):
        with mlflow.start_run() as run:
            raise RuntimeError("no data")
    assert client.get_run(run.info.run_id).info.status == "FAILED"
    with mlflow.start_run(run_id=run.info.run_id):
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("late", 1)
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED" and found.data.metrics == {"late": 1.0}


def test_every_status(client, experiment):
    for status in ("FINISHED", "FAILED", "KILLED"):
        run = client.create_run(experiment)
        assert run.info.status == "RUNNING"
        client.set_terminated(run.info.run_id, status)
        assert client.get_run(run.info.run_id).info.status == status
    run = client.create_run(experiment)
    client.update_run(run.info.run_id, status="SCHEDULED")
    assert client.get_run(run.info.run_id).info.status == "SCHEDULED"


def test_texts_dicts_tables_and_figures(client, experiment, tmp_path):
    import pandas
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3])
    with mlflow.start_run() as run:
        mlflow.log_text("hello ✓", "notes/hello.txt")
        mlflow.log_dict({"a": [1, 2]}, "config.json")
        mlflow.log_dict({"a": [1, 2]}, "config.yaml")
        mlflow.log_figure(figure, "plots/figure.png")
        mlflow.log_table({"question": ["a", "b"], "score": [0.5, 1.0]}, "table.json")
        mlflow.log_table({"question": ["c"], "score": [0.25]}, "table.json")
        table = mlflow.load_table("table.json", run_ids=[run.info.run_id])
    assert list(table["question"]) == ["a", "b", "c"] and isinstance(table, pandas.DataFrame)
    names = {found.path: found for found in client.list_artifacts(run.info.run_id)}
    assert set(names) == {"notes", "config.json", "config.yaml", "plots", "table.json"}
    assert names["notes"].is_dir and not names["config.json"].is_dir
    assert [found.path for found in client.list_artifacts(run.info.run_id, "notes")] == ["notes/hello.txt"]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/hello.txt") == "hello ✓"
    assert mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/config.json") == {"a": [1, 2]}
    picture = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/plots/figure.png", dst_path=str(tmp_path))
    assert pathlib.Path(picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_metrics_logged_in_the_background(client, experiment):
    with mlflow.start_run() as run:
        logged = [mlflow.log_metric("loss", 1 / (step + 1), step=step, synchronous=False) for step in range(300)]
        logged += [mlflow.log_params({"a": 1, "b": 2}, synchronous=False), mlflow.set_tags({"t": "x"}, synchronous=False)]
        mlflow.flush_async_logging()
        for one in logged:
            one.wait()
    found = client.get_run(run.info.run_id)
    assert found.data.params == {"a": "1", "b": "2"} and found.data.tags["t"] == "x"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 300


def test_tags_of_an_experiment(client, name):
    made = mlflow.set_experiment(name("tagged"))
    mlflow.set_experiment_tags({"owner": "grid", "priority": 3})
    found = client.get_experiment(made.experiment_id)
    assert found.tags["owner"] == "grid" and found.tags["priority"] == "3"
    assert mlflow.get_experiment_by_name(made.name).experiment_id == made.experiment_id
    assert mlflow.get_experiment_by_name("nobody made this") is None


def test_a_run_holds_exactly_what_was_said(client, experiment):
    """What a script that does nothing but log leaves: exactly what it said."""
    with mlflow.start_run(tags={"given": "at start"}) as run:
        mlflow.log_param("p", json.dumps({"nested": True}))
    found = client.get_run(run.info.run_id)
    assert found.data.tags["given"] == "at start" and found.data.params == {"p": '{"nested": true}'} and found.data.metrics == {}
    assert MAJOR in (2, 3) and found.inputs.dataset_inputs == []
