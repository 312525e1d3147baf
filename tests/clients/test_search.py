"""Searches over runs: the grammar, orders, pages, and 10,000 runs in a data frame."""
import pathlib
import sys

import mlflow
import pytest
from conftest import MAJOR, pages, unique
from mlflow.entities import Param, RunTag, ViewType


@pytest.fixture(scope="module")
def runs():
    """Ten runs of one experiment: their ids in the order in which they began."""
    client = mlflow.MlflowClient()
    experiment = client.create_experiment(unique("search"))
    made = []
    for n in range(10):
        run = client.create_run(experiment, start_time=1_700_000_000_000 + n, run_name=f"run-{n}").info.run_id
        client.log_batch(run, params=[Param("depth", str(n % 3)), Param("my param", "x")], tags=[RunTag("team", "Grid" if n < 5 else "load"), RunTag("a.b", "c")])
        if n != 9:
            client.log_metric(run, "loss", n / 10)
        client.log_metric(run, "val loss", float("nan") if n == 0 else float(n))
        made.append(run)
    client.set_terminated(made[0], "FAILED", end_time=1_700_000_001_000)
    client.set_terminated(made[1], "FINISHED", end_time=1_700_000_002_000)
    return experiment, made


CONDITIONS = [
    ("metrics.loss < 0.25", {0, 1, 2}), ("metrics.loss >= 0.7", {7, 8}), ("metric.loss = 0.5", {5}), ("metrics.loss != 0.5 and metrics.loss > 0.35", {4, 6, 7, 8}),
    ("params.depth = '1'", {1, 4, 7}), ("parameters.depth != '0' AND tags.team = 'load'", {5, 7, 8}), ("param.depth LIKE '%2'", {2, 5, 8}),
    ("tags.team ILIKE 'grid'", {0, 1, 2, 3, 4}), ("tags.team LIKE 'grid'", set()), ("tag.`a.b` = 'c' AND metrics.`val loss` > 8", {9}),
    ('params."my param" = \'x\' and metrics."val loss" <= 1', {1}), ("attributes.status = 'FAILED'", {0}), ("status = 'FINISHED'", {1}),
    ("attributes.run_name = 'run-3'", {3}), ("run_name LIKE 'run-%' and metrics.loss > 0.75", {8}), ("attr.start_time >= 1700000000008", {8, 9}),
    ("attributes.end_time > 1700000001500", {1}), ("start_time < 1700000000002 AND start_time > 1700000000000", {1}), ("", set(range(10))),
    ("params.depth != '0'", {1, 2, 4, 5, 7, 8}), ("tags.missing = 'x'", set()), ("metrics.missing > 0", set()), ("attributes.artifact_uri LIKE '%artifacts'", set(range(10))),
]


@pytest.mark.parametrize("condition, expected", CONDITIONS, ids=range(len(CONDITIONS)))
def test_a_condition(client, runs, condition, expected):
    experiment, made = runs
    found = client.search_runs([experiment], condition)
    assert {made.index(run.info.run_id) for run in found} == expected, condition


def test_lists_of_ids(client, runs):
    experiment, made = runs
    listed = ", ".join(f"'{run}'" for run in made[2:5])
    assert {run.info.run_id for run in client.search_runs([experiment], f"attributes.run_id IN ({listed})")} == set(made[2:5])
    assert {run.info.run_id for run in client.search_runs([experiment], f"run_id NOT IN ({listed})")} == set(made) - set(made[2:5])


@pytest.mark.ours
@pytest.mark.parametrize("condition, expected", [
    ("metrics.loss < 0.15 OR metrics.loss > 0.75", {0, 1, 8}), ("NOT (metrics.loss < 0.75) AND params.depth = '2'", {8}),
    ("(params.depth = '1' OR params.depth = '2') AND tags.team = 'load'", {5, 7, 8}), ("run_name RLIKE '^run-[2-4]$'", {2, 3, 4})])
def test_what_the_grammar_has_beyond(server, runs, condition, expected):
    experiment, made = runs
    answer = server.call("POST", "/api/2.0/mlflow/runs/search", json={"experiment_ids": [experiment], "filter": condition})
    assert answer.ok, answer.text
    assert {made.index(run["info"]["run_id"]) for run in answer.json().get("runs", [])} == expected


@pytest.mark.parametrize("order, expected", [
    ([], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), (["start_time ASC"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), (["metrics.loss ASC"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    (["metrics.loss DESC"], [8, 7, 6, 5, 4, 3, 2, 1, 0, 9]), (["params.depth ASC", "metrics.`val loss` DESC"], [9, 6, 3, 0, 7, 4, 1, 8, 5, 2]),
    (["tags.team DESC", "attributes.run_name"], [5, 6, 7, 8, 9, 0, 1, 2, 3, 4])], ids=range(6))
def test_an_order_in_pages(client, runs, order, expected):
    experiment, made = runs
    for size in (3, 50):
        found = pages(client.search_runs, experiment_ids=[experiment], order_by=order, max_results=size)
        assert [made.index(run.info.run_id) for page in found for run in page] == expected
        assert len(found[0]) == min(size, 10)


@pytest.mark.parametrize("condition", ["metrics.loss", "metrics.loss > 'text'", "params.depth > '1'", "nothing.of = 'this'", "tags.team = unquoted", "metrics.loss >", "attributes.bogus = 'x'"])
def test_a_condition_that_is_none(client, runs, condition, fails):
    with fails("INVALID_PARAMETER_VALUE"):
        client.search_runs([runs[0]], condition)


def test_bad_orders_tokens_and_sizes(client, runs, fails):
    for bad in ({"order_by": ["metrics.loss SIDEWAYS"]}, {"page_token": "nonsense"}, {"max_results": 1_000_000}):
        with fails("INVALID_PARAMETER_VALUE"):
            client.search_runs([runs[0]], **bad)


def test_several_experiments_and_views(client, experiment, runs):
    mine = client.create_run(experiment).info.run_id
    client.delete_run(mine)
    assert len(client.search_runs([experiment, runs[0]], max_results=100)) == 10
    assert len(client.search_runs([experiment, runs[0]], run_view_type=ViewType.ALL, max_results=100)) == 11


@pytest.mark.ours
def test_ten_thousand_runs_in_a_data_frame(sql, client):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
    import mlflow_data

    name, count = f"frame{MAJOR}", 10_000
    sql(*mlflow_data.ours(count, 10, experiment=name))
    frame = mlflow.search_runs([name], filter_string="metrics.loss >= 0", max_results=count)
    assert len(frame) == count and frame["run_id"].nunique() == count
    assert {"metrics.accuracy", "params.optimizer", "tags.team", "start_time", "end_time", "artifact_uri", "status"} <= set(frame.columns)
    assert set(frame["tags.team"]) == {f"team-{n}" for n in range(10)}
    assert frame["start_time"].is_monotonic_decreasing and frame["metrics.loss"].between(0, 1).all()
    best = client.search_runs([name], order_by=["metrics.accuracy DESC"], max_results=1)[0]
    assert best.data.metrics["accuracy"] == frame["metrics.accuracy"].max()
    narrowed = mlflow.search_runs([name], "metrics.accuracy > 0.9 and tags.team = 'team-3'", output_format="list")
    wanted = frame[(frame["metrics.accuracy"] > 0.9) & (frame["tags.team"] == "team-3")]
    assert {run.info.run_id for run in narrowed} == set(wanted["run_id"])
