"""What the client makes of refusals: its exceptions carry MLflow's codes and words."""
import mlflow
import pytest

from mlflow.entities import Param

MISSING = "0" * 32


def test_what_is_not_there(client, fails):
    for ask in (lambda: client.get_run(MISSING), lambda: client.log_metric(MISSING, "m", 1), lambda: client.delete_run(MISSING),
                lambda: client.log_batch(MISSING, params=[Param("p", "1")]), lambda: client.set_tag(MISSING, "t", "1")):
        with fails("RESOURCE_DOES_NOT_EXIST", MISSING):
            ask()
    for ask in (lambda: client.get_experiment("987654321"), lambda: client.delete_experiment("987654321"), lambda: client.create_run("987654321"),
                lambda: client.rename_experiment("987654321", "x")):
        with fails("RESOURCE_DOES_NOT_EXIST"):
            ask()
    assert client.get_experiment_by_name("nobody made this") is None


def test_what_is_there_already(client, name, fails):
    wanted = name("taken")
    made = client.create_experiment(wanted)
    with fails("RESOURCE_ALREADY_EXISTS", wanted):
        client.create_experiment(wanted)
    client.delete_experiment(made)
    with fails("RESOURCE_ALREADY_EXISTS"):
        client.create_experiment(wanted)
    with pytest.raises(mlflow.exceptions.MlflowException, match="deleted"):
        mlflow.set_experiment(wanted)


@pytest.mark.parametrize("path, body, word", [
    ("runs/log-metric", {"run_id": MISSING, "value": 1, "timestamp": 1}, "key"), ("runs/log-metric", {"run_id": MISSING, "key": "m", "timestamp": 1}, "value"),
    ("runs/log-metric", {"run_id": MISSING, "key": "m", "value": "many", "timestamp": 1}, "value"), ("runs/log-parameter", {"run_id": MISSING, "value": "x"}, "key"),
    ("runs/set-tag", {"run_id": MISSING, "value": "x"}, "key"), ("experiments/create", {}, "name"), ("experiments/create", {"name": 123}, "name"),
    ("runs/search", {"experiment_ids": "0"}, "experiment_ids"), ("runs/create", {"experiment_id": "0", "start_time": "soon"}, "start_time")])
def test_a_bad_field_is_named(server, path, body, word):
    answer = server.call("POST", f"/api/2.0/mlflow/{path}", json=body)
    assert answer.status_code == 400 and answer.json()["error_code"] == "INVALID_PARAMETER_VALUE", answer.text
    assert word in answer.json()["message"]


def test_a_body_that_is_no_json(server):
    answer = server.call("POST", "/api/2.0/mlflow/runs/log-metric", data=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and set(answer.json()) >= {"error_code", "message"}


def test_fields_that_nobody_knows_are_passed_over(server, name):
    answer = server.call("POST", "/api/2.0/mlflow/experiments/create", json={"name": name("lenient"), "of_a_later_version": {"a": 1}})
    assert answer.ok, answer.text
    assert isinstance(answer.json()["experiment_id"], str)


def test_limits_of_names_and_values(client, run_id, fails):
    for ask in (lambda: client.log_metric(run_id, "k" * 251, 1), lambda: client.log_param(run_id, "k" * 251, "1"), lambda: client.set_tag(run_id, "k" * 251, "1"),
                lambda: client.log_metric(run_id, "bad\nkey", 1), lambda: client.log_metric(run_id, "../up", 1), lambda: client.log_param(run_id, "what?", "1")):
        with fails("INVALID_PARAMETER_VALUE"):
            ask()


def test_limits_of_batches(server, run_id):
    metric = {"key": "m", "value": 1, "timestamp": 1, "step": 0}
    for body in ({"metrics": [dict(metric, step=n) for n in range(1001)]}, {"params": [{"key": f"p{n}", "value": "1"} for n in range(101)]},
                 {"tags": [{"key": f"t{n}", "value": "1"} for n in range(101)]},
                 {"metrics": [dict(metric, step=n) for n in range(950)], "params": [{"key": f"p{n}", "value": "1"} for n in range(51)]}):
        answer = server.call("POST", "/api/2.0/mlflow/runs/log-batch", json={"run_id": run_id, **body})
        assert answer.status_code == 400 and answer.json()["error_code"] == "INVALID_PARAMETER_VALUE", answer.text


def test_one_bad_entry_spoils_its_batch(client, run_id, server):
    batch = {"run_id": run_id, "metrics": [{"key": "good", "value": 1, "timestamp": 1, "step": 0}], "params": [{"key": "bad\nkey", "value": "1"}]}
    assert server.call("POST", "/api/2.0/mlflow/runs/log-batch", json=batch).status_code == 400
    assert client.get_run(run_id).data.metrics == {}


def test_an_address_that_nobody_serves(server):
    assert server.call("POST", "/api/2.0/mlflow/runs/no-such-call", json={}).status_code in (404, 405)


def test_the_client_checks_what_it_sends_and_so_does_the_server(server, run_id):
    """The client refuses these itself; other clients do not."""
    for metric in ({"key": "", "value": 1, "timestamp": 1}, {"key": "a//b", "value": 1, "timestamp": 1}, {"key": "/a", "value": 1, "timestamp": 1}):
        answer = server.call("POST", "/api/2.0/mlflow/runs/log-metric", json={"run_id": run_id, **metric})
        assert answer.status_code == 400, (metric, answer.text)

