"""What MLflow's page and other scripts ask for: addresses below /ajax-api, which no Python client calls."""
import pytest
from mlflow.entities import Metric


@pytest.fixture
def runs(client, experiment):
    made = [client.create_run(experiment).info.run_id for _ in range(3)]
    for n, run in enumerate(made):
        client.log_batch(run, metrics=[Metric("loss", (step + n) / 10, 1000 + step, step) for step in range(40)])
    return made


def get(server, path, **query):
    answer = server.call("GET", path, params=query)
    assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


def test_health_and_version(server):
    assert server.call("GET", "/health").text == "OK"
    major, minor = server.call("GET", "/version").text.split(".")[:2]
    assert (int(major), int(minor)) >= (3, 4)


def test_every_address_has_its_mirror(server, experiment, runs):
    for prefix in ("/api", "/ajax-api"):
        assert get(server, f"{prefix}/2.0/mlflow/experiments/get", experiment_id=experiment)["experiment"]["experiment_id"] == experiment
        assert get(server, f"{prefix}/2.0/mlflow/runs/get", run_id=runs[0])["run"]["info"]["run_id"] == runs[0]
        answer = server.call("POST", f"{prefix}/2.0/mlflow/runs/search", json={"experiment_ids": [experiment], "max_results": 2})
        assert len(answer.json()["runs"]) == 2 and answer.json()["next_page_token"]
        assert get(server, f"{prefix}/2.0/mlflow/experiments/search", max_results=5)["experiments"]


# What its pages ask for first: method, address, what is sent, and a key of the answer.
FIRST = [
    ("POST", "2.0/mlflow/experiments/search", {"max_results": 25, "order_by": ["last_update_time DESC"]}, "experiments"),
    ("GET", "2.0/mlflow/experiments/search", {"max_results": 25}, "experiments"),
    ("POST", "2.0/mlflow/runs/search", {"order_by": ["attributes.start_time DESC"], "run_view_type": "ACTIVE_ONLY", "max_results": 100}, "runs"),
    ("POST", "2.0/mlflow/experiments/search-datasets", {}, None),
    ("GET", "2.0/mlflow/registered-models/search", {"filter": "tags.`mlflow.prompt.is_prompt` != 'true'", "max_results": 25, "order_by": ["name ASC"]}, None),
    ("GET", "2.0/mlflow/model-versions/search", {"filter": "run_id IN ('none')", "order_by": ["creation_timestamp DESC"]}, None),
    pytest.param("POST", "2.0/mlflow/logged-models/search", {"max_results": 50, "order_by": [{"field_name": "creation_timestamp", "ascending": False}]}, None, marks=pytest.mark.since3),
    pytest.param("POST", "3.0/mlflow/traces/search", {"locations": "of the experiment", "max_results": 50, "order_by": ["timestamp_ms DESC"]}, None, marks=pytest.mark.since3),
    pytest.param("GET", "3.0/mlflow/server-info", {}, "store_type", marks=pytest.mark.since3),
    pytest.param("GET", "2.0/mlflow/users/current", {}, "user", marks=pytest.mark.ours),
    pytest.param("GET", "2.0/mlflow/webhooks", {"max_results": 10}, None, marks=pytest.mark.ours),
]


@pytest.mark.parametrize("method, address, sent, key", FIRST)
def test_what_a_page_asks_for_first(server, experiment, runs, method, address, sent, key):
    sent = dict(sent)
    if address.startswith("2.0/mlflow/runs") or "datasets" in address or "logged-models" in address:
        sent["experiment_ids"] = [experiment]
    if "locations" in sent:
        sent["locations"] = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}]
    answer = server.call(method, f"/ajax-api/{address}", **({"params": sent} if method == "GET" else {"json": sent}))
    assert answer.ok, f"{answer.status_code} {answer.text}"
    assert key is None or key in answer.json()


def test_histories_of_several_runs(server, runs):
    found = get(server, "/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=runs, metric_key="loss", max_results=1000)["metrics"]
    assert len(found) == 120 and {point["run_id"] for point in found} == set(runs)
    found = get(server, "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", run_ids=runs, metric_key="loss", start_step=10, end_step=19, max_results=5)["metrics"]
    assert {point["run_id"] for point in found} == set(runs) and {point["step"] for point in found} >= {10, 19}
    assert all(10 <= point["step"] <= 19 for point in found)


def test_artifacts_of_a_run(server, client, runs):
    client.log_text(runs[0], "<b>no page of ours</b>", "folder/page.html")
    listed = get(server, "/ajax-api/2.0/mlflow/artifacts/list", run_id=runs[0])
    assert [(one["path"], one["is_dir"]) for one in listed["files"]] == [("folder", True)]
    assert listed["root_uri"].endswith("/artifacts")
    answer = server.call("GET", "/get-artifact", params={"run_id": runs[0], "path": "folder/page.html"})
    assert answer.ok and answer.text == "<b>no page of ours</b>"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("../x", "/etc/passwd", "folder/../../x", "folder%2f..%2f..%2fx"):
        answer = server.call("GET", "/get-artifact", params={"run_id": runs[0], "path": path})
        assert 400 <= answer.status_code < 500, (path, answer.status_code)


def test_numbers_are_numbers_and_versions_are_texts(server, client, name, runs):
    wanted = name("shape")
    client.create_registered_model(wanted)
    answer = server.call("POST", "/ajax-api/2.0/mlflow/model-versions/create", json={"name": wanted, "source": f"runs:/{runs[0]}/model", "run_id": runs[0]})
    assert answer.ok, answer.text
    version = answer.json()["model_version"]
    assert version["version"] == "1" and isinstance(version["creation_timestamp"], int)
    info = get(server, "/api/2.0/mlflow/runs/get", run_id=runs[0])["run"]["info"]
    assert isinstance(info["start_time"], int) and isinstance(info["experiment_id"], str) and info["run_uuid"] == info["run_id"]


@pytest.mark.ours
def test_uploads_from_the_page(server, runs, client):
    answer = server.call("POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": runs[0], "path": "notes/a.txt"}, data=b"by hand", headers={"Content-Type": "text/plain"})
    assert answer.ok, answer.text
    assert [one.path for one in client.list_artifacts(runs[0], "notes")] == ["notes/a.txt"]
