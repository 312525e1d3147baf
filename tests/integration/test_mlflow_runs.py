"""MLflow's protocol for experiments, runs and what is logged in them, as its clients send it. The clients themselves: tests/clients."""
import pytest

from daemon import unique

API = "/api/2.0/mlflow"


def ok(answer):
    assert answer.status == 200, answer
    return answer.json


def refused(answer, status, code, words):
    assert answer.status == status and answer.headers["Content-Type"] == "application/json", answer
    assert set(answer.json) == {"error_code", "message"} and answer.json["error_code"] == code and words in answer.json["message"], answer


@pytest.fixture
def experiment(client):
    return ok(client.post(f"{API}/experiments/create", {"name": unique("e")}))["experiment_id"]


@pytest.fixture
def run(client, experiment):
    return ok(client.post(f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1700000000123}))["run"]["info"]["run_id"]


def get_run(client, run):
    return ok(client.get(f"{API}/runs/get?run_uuid={run}&run_id={run}"))["run"]


def pairs(items):
    return {item["key"]: item["value"] for item in items}


def test_experiments(client):
    name = unique("e")
    tags = [{"key": "a", "value": "1"}, {"key": "mlflow.note.content", "value": "x" * 20_000}]
    made = ok(client.post(f"{API}/experiments/create", {"name": name, "tags": tags, "unknown": 1}))
    assert set(made) == {"experiment_id"}
    found = ok(client.get(f"{API}/experiments/get?experiment_id={made['experiment_id']}"))["experiment"]
    assert found["name"] == name and found["lifecycle_stage"] == "active" and pairs(found["tags"]) == pairs(tags)
    assert found["artifact_location"] == f"mlflow-artifacts:/{made['experiment_id']}"
    assert found["creation_time"] == found["last_update_time"] > 1_700_000_000_000
    assert ok(client.get(f"{API}/experiments/get-by-name?experiment_name={name}"))["experiment"] == found
    assert ok(client.get(f"/ajax-api/2.0/mlflow/experiments/get?experiment_id={made['experiment_id']}"))["experiment"] == found
    refused(client.post(f"{API}/experiments/create", {"name": name}), 400, "RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.")


@pytest.mark.parametrize("location", [None, "s3://bucket/a"])
def test_a_new_run_is_told_as_it_is_read_later(client, location):
    experiment = ok(client.post(f"{API}/experiments/create", {"name": unique("e"), **({"artifact_location": location} if location else {})}))["experiment_id"]
    tags = [{"key": key, "value": str(n)} for n, key in enumerate(("b", "a", "é", "a", "B", "a b", "z", "mlflow.source.name", "a"))]
    for body in ({}, {"tags": tags}, {"tags": tags, "user_id": "u", "run_name": "n", "start_time": 1}, {"tags": [{"key": "mlflow.runName", "value": "n"}]}):
        made = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment, **body}))["run"]
        assert made == get_run(client, made["info"]["run_id"])
        if "tags" in body and "run_name" in body:
            assert pairs(made["data"]["tags"])["a"] == "8"
    made = ok_or_created(client.op("tracking.create_run", {"experiment_id": experiment, "tags": tags}))
    assert made == ok(client.op("tracking.get_run", {"run_id": made["id"]}))


def test_the_default_experiment(client):
    assert ok(client.get(f"{API}/experiments/get?experiment_id=0"))["experiment"]["name"] == "Default"
    for body in ({}, {"experiment_id": ""}, {"experiment_id": "0"}):
        assert ok(client.post(f"{API}/runs/create", body))["run"]["info"]["experiment_id"] == "0"


def test_another_workspace_has_a_default_of_its_own(server, client):
    made = ok_or_created(client.op("access.create_workspace", {"name": unique("w")[:20], "owner": "user:wanda"}))
    other = server.client(token=made["secret"])
    refused(other.get(f"{API}/experiments/get?experiment_id=0"), 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=0 exists")
    first = ok(other.post(f"{API}/runs/create", {"experiment_id": "0"}))["run"]["info"]["experiment_id"]
    assert first != "0" and ok(other.post(f"{API}/runs/create", {}))["run"]["info"]["experiment_id"] == first
    assert ok(other.get(f"{API}/experiments/get?experiment_id=0"))["experiment"]["name"] == "Default"


def ok_or_created(answer):
    assert answer.status in (200, 201), answer
    return answer.json


def test_an_experiment_changes_and_comes_back(client, experiment, run):
    name = unique("renamed")
    ok(client.post(f"{API}/experiments/update", {"experiment_id": experiment, "new_name": name}))
    ok(client.post(f"{API}/experiments/set-experiment-tag", {"experiment_id": experiment, "key": "k", "value": "v"}))
    ok(client.post(f"{API}/experiments/delete-experiment-tag", {"experiment_id": experiment, "key": "k"}))
    ok(client.post(f"{API}/experiments/delete", {"experiment_id": experiment}))
    assert ok(client.get(f"{API}/experiments/get-by-name?experiment_name={name}"))["experiment"]["lifecycle_stage"] == "deleted"
    assert get_run(client, run)["info"]["lifecycle_stage"] == "deleted"
    active = f"The experiment {experiment} must be in the 'active' state. Current state is deleted."
    refused(client.post(f"{API}/runs/create", {"experiment_id": experiment}), 400, "INVALID_PARAMETER_VALUE", active)
    refused(client.post(f"{API}/experiments/set-experiment-tag", {"experiment_id": experiment, "key": "k", "value": "v"}), 400,
            "INVALID_PARAMETER_VALUE", active)
    refused(client.post(f"{API}/experiments/delete", {"experiment_id": experiment}), 404, "RESOURCE_DOES_NOT_EXIST",
            f"No Experiment with id={experiment} exists")
    ok(client.post(f"{API}/experiments/restore", {"experiment_id": experiment}))
    assert get_run(client, run)["info"]["lifecycle_stage"] == "active"


def test_a_run(client, experiment):
    body = {"experiment_id": experiment, "user_id": "ana", "run_name": "first", "start_time": "1700000000123",
            "tags": [{"key": "mlflow.user", "value": "ana"}, {"key": "mlflow.parentRunId", "value": "run_parent"}, {"key": "long", "value": "x" * 9000}]}
    made = ok(client.post(f"{API}/runs/create", body))["run"]
    info = made["info"]
    assert info["run_id"] == info["run_uuid"] and info["artifact_uri"] == f"mlflow-artifacts:/{experiment}/{info['run_id']}/artifacts"
    assert (info["run_name"], info["user_id"], info["status"], info["lifecycle_stage"]) == ("first", "ana", "RUNNING", "active")
    assert info["start_time"] == 1700000000123 and info.get("end_time") is None
    tags = pairs(made["data"]["tags"])
    assert tags["mlflow.runName"] == "first" and tags["mlflow.parentRunId"] == "run_parent" and tags["long"] == "x" * 8000
    assert get_run(client, info["run_id"]) == made


def test_a_run_is_updated(client, run):
    assert get_run(client, run)["info"]["run_name"].count("-") == 2
    changed = ok(client.post(f"{API}/runs/update", {"run_id": run, "run_uuid": run, "status": "FINISHED", "end_time": 1700000009999, "run_name": "done"}))
    assert (changed["run_info"]["status"], changed["run_info"]["end_time"], changed["run_info"]["run_name"]) == ("FINISHED", 1700000009999, "done")
    now = get_run(client, run)
    assert now["info"] == changed["run_info"] and pairs(now["data"]["tags"])["mlflow.runName"] == "done"
    refused(client.post(f"{API}/runs/update", {"run_id": run, "status": "LOST"}), 400, "INVALID_PARAMETER_VALUE", "'status'")
    refused(client.post(f"{API}/runs/update", {"run_id": "none"}), 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=none not found")


def test_a_deleted_run_takes_nothing(client, run):
    ok(client.post(f"{API}/runs/delete", {"run_id": run}))
    words = f"The run {run} must be in the 'active' state. Current state is deleted."
    for path, body in (("update", {"status": "FAILED"}), ("log-metric", {"key": "a", "value": 1, "timestamp": 1}), ("set-tag", {"key": "a", "value": "b"}),
                       ("log-parameter", {"key": "a", "value": "b"}), ("log-batch", {"tags": [{"key": "a", "value": "b"}]}), ("delete-tag", {"key": "a"})):
        refused(client.post(f"{API}/runs/{path}", {"run_id": run, **body}), 400, "INVALID_PARAMETER_VALUE", words)
    assert get_run(client, run)["info"]["lifecycle_stage"] == "deleted"
    ok(client.post(f"{API}/runs/restore", {"run_id": run}))
    ok(client.post(f"{API}/runs/set-tag", {"run_id": run, "key": "a", "value": "b"}))


def test_metrics(client, run):
    for step, value in enumerate((0.5, "NaN", "Infinity", "-Infinity", "0.25")):
        ok(client.post(f"{API}/runs/log-metric", {"run_id": run, "key": "a/b c", "value": value, "timestamp": 1700000000000 + step, "step": str(step)}))
    history = ok(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=a/b%20c"))
    values = [0.5, "NaN", 1.7976931348623157e308, -1.7976931348623157e308, 0.25]
    assert [m["value"] for m in history["metrics"]] == values and not history.get("next_page_token")
    assert get_run(client, run)["data"]["metrics"] == [{"key": "a/b c", "value": 0.25, "timestamp": 1700000000004, "step": 4}]
    seen, token = [], ""
    for _ in range(3):
        page = ok(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=a/b%20c&max_results=2&page_token={token}"))
        seen, token = seen + page["metrics"], page.get("next_page_token") or ""
    assert seen == history["metrics"] and not token
    refused(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=a&page_token=x"), 400, "INVALID_PARAMETER_VALUE", "Invalid page token")
    refused(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=a&max_results=0"), 400, "INVALID_PARAMETER_VALUE", "max_results")
    refused(client.get(f"{API}/metrics/get-history?run_id=none&metric_key=a"), 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=none not found")


def test_time_zero_is_a_time(client, run):
    ok(client.post(f"{API}/runs/log-metric", {"run_id": run, "key": "a", "value": 1, "timestamp": 0}))
    assert get_run(client, run)["data"]["metrics"][0]["timestamp"] == 0


def test_a_batch(client, run):
    metrics = [{"key": f"m{i}", "value": i, "timestamp": 1, "step": i} for i in range(800)]
    params = [{"key": f"p{i}", "value": "x" * 7000 if i == 0 else str(i)} for i in range(100)]
    tags = [{"key": f"t{i}", "value": str(i)} for i in range(100)]
    for _ in range(2):
        ok(client.post(f"{API}/runs/log-batch", {"run_id": run, "metrics": metrics, "params": params, "tags": tags}))
    data = get_run(client, run)["data"]
    assert len(data["metrics"]) == 800 and len(data["params"]) == 100 and pairs(data["params"])["p0"] == "x" * 6000 and pairs(data["tags"])["t7"] == "7"
    assert len(ok(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key=m7"))["metrics"]) == 1
    refused(client.post(f"{API}/runs/log-batch", {"run_id": run, "metrics": metrics + metrics[:201]}), 400, "INVALID_PARAMETER_VALUE",
            "A batch logging request can contain at most 1000 metrics. Got 1001 metrics. Please split up metrics across multiple requests and try again.")


def test_a_parameter_does_not_change(client, run):
    body = {"run_id": run, "key": "depth", "value": "6"}
    for _ in range(2):
        ok(client.post(f"{API}/runs/log-parameter", body))
    refused(client.post(f"{API}/runs/log-parameter", {**body, "value": "7"}), 400, "INVALID_PARAMETER_VALUE",
            f"Changing param values is not allowed. Param with key='depth' was already logged with value='6' for run ID='{run}'."
            " Attempted logging new value '7'.")
    refused(client.post(f"{API}/runs/log-batch", {"run_id": run, "params": [{"key": "depth", "value": "8"}]}), 400, "INVALID_PARAMETER_VALUE",
            "Changing param values is not allowed.")


def test_tags(client, run):
    ok(client.post(f"{API}/runs/set-tag", {"run_id": run, "key": "a", "value": "b"}))
    ok(client.post(f"{API}/runs/set-tag", {"run_id": run, "key": "mlflow.runName", "value": "tagged"}))
    now = get_run(client, run)
    assert now["info"]["run_name"] == "tagged" and pairs(now["data"]["tags"])["a"] == "b"
    ok(client.post(f"{API}/runs/delete-tag", {"run_id": run, "key": "a"}))
    refused(client.post(f"{API}/runs/delete-tag", {"run_id": run, "key": "a"}), 404, "RESOURCE_DOES_NOT_EXIST", f"No tag with name: a in run with id {run}")


@pytest.mark.parametrize("key, words", [
    ("a#b", "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."),
    ("a//b", "This name would resolve to 'a/b'"), ("./a", "This name would resolve to 'a'"), ("a/", "This name would resolve to 'a'"),
    ("../a", "This name would resolve to '../a'"), ("/a", "This name would resolve to '/a'"), ("a/../..", "This name would resolve to '..'"),
    ("", "This name would resolve to '.'"), ("..a", "This name would resolve to '..a'"), ("a/b/../../../c", "This name would resolve to '../c'")])
def test_keys_that_are_no_names(client, run, key, words):
    for path, body, where in (("log-metric", {"key": key, "value": 1, "timestamp": 1}, "'name'"), ("log-parameter", {"key": key, "value": "1"}, "'key'"),
                              ("set-tag", {"key": key, "value": "1"}, "'key'"),
                              ("log-batch", {"metrics": [{"key": key, "value": 1, "timestamp": 1}]}, "'metrics[0].name'"),
                              ("log-batch", {"params": [{"key": "x", "value": "1"}, {"key": key, "value": "1"}]}, "'params[1].key'")):
        answer = client.post(f"{API}/runs/{path}", {"run_id": run, **body})
        refused(answer, 400, "INVALID_PARAMETER_VALUE", words)
        assert f'Invalid value "{key}" for parameter {where} supplied: ' in answer.json["message"]


@pytest.mark.parametrize("path, body, words", [
    ("runs/log-metric", {"run_id": "x", "key": "a", "timestamp": 1}, "Missing value for required parameter 'value'"),
    ("runs/log-metric", {"run_id": "x", "key": "a", "value": 1}, "Missing value for required parameter 'timestamp'"),
    ("runs/log-metric", {"run_id": "x", "key": "a", "value": "high", "timestamp": 1}, "Invalid value \"high\" for parameter 'value' supplied"),
    ("runs/log-metric", {"run_id": "x", "key": "a", "value": 1, "timestamp": -1}, "'timestamp'"),
    ("runs/log-parameter", {"key": "a", "value": "b"}, "Missing value for required parameter 'run_id'"),
    ("runs/log-batch", {"run_id": "x", "metrics": [{"key": "a", "value": 1}]}, "Missing value for required parameter 'metrics[0].timestamp'"),
    ("runs/create", {"experiment_id": 123}, "Invalid value 123 for parameter 'experiment_id' supplied"),
    ("experiments/create", {}, "Missing value for required parameter 'name'"),
    ("experiments/create", {"name": 123}, "Invalid value 123 for parameter 'name' supplied"),
    ("experiments/update", {"experiment_id": "0"}, "Missing value for required parameter 'new_name'")])
def test_what_is_missing_or_wrong(client, path, body, words):
    refused(client.post(f"{API}/{path}", body), 400, "INVALID_PARAMETER_VALUE", words)


def test_what_is_not_there(client):
    refused(client.get(f"{API}/runs/get?run_id=none"), 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=none not found")
    refused(client.get(f"{API}/experiments/get?experiment_id=99"), 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=99 exists")
    refused(client.get(f"{API}/experiments/get-by-name?experiment_name=none"), 404, "RESOURCE_DOES_NOT_EXIST", "Could not find experiment with name 'none'")


def test_one_run_for_one_idempotency_key(client, experiment):
    key = {"Idempotency-Key": unique("k")}
    answers = [ok(client.post(f"{API}/runs/create", {"experiment_id": experiment}, headers=key))["run"]["info"]["run_id"] for _ in range(2)]
    assert answers[0] == answers[1]


# ---- What runs read and made -----------------------------------------------------------------------------------------------------------


def dataset(name, digest="d1", context=None, **more):
    tags = [{"key": "mlflow.data.context", "value": context}] if context else []
    return {"tags": tags, "dataset": {"name": name, "digest": digest, "source_type": "local", "source": '{"uri": "x.csv"}', **more}}


def test_datasets_that_a_run_read(client, experiment, run):
    inputs = [dataset("train", schema='{"x": 1}', profile='{"rows": 2}', context="training"), dataset("test", context="testing"), dataset("plain")]
    body = {"run_id": run, "datasets": inputs, "models": [{"model_id": "m-1"}]}
    for _ in range(2):  # a lost answer: the same again
        ok(client.post(f"{API}/runs/log-inputs", body))
    ok(client.post(f"{API}/runs/log-inputs", {"run_id": run, "datasets": [dataset("train", context="other")]}))  # stays as it is
    found = get_run(client, run)["inputs"]
    assert sorted((one["dataset"]["name"], pairs(one["tags"]).get("mlflow.data.context")) for one in found["dataset_inputs"]) == [
        ("plain", None), ("test", "testing"), ("train", "training")]
    train = next(one["dataset"] for one in found["dataset_inputs"] if one["dataset"]["name"] == "train")
    assert train == inputs[0]["dataset"]
    assert [link["model_id"] for link in found["model_inputs"]] == ["m-1"]
    other = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]
    ok(client.post(f"{API}/runs/log-inputs", {"run_id": other, "datasets": [dataset("test", context="testing")]}))

    def search(condition):
        return {one["info"]["run_id"] for one in ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "filter": condition}))["runs"]}

    assert search("datasets.name = 'train'") == {run} and search("dataset.name LIKE 't%'") == {run, other}
    assert search("dataset.context = 'training'") == {run} and search("dataset.digest IN ('d1', 'd2')") == {run, other} and search("dataset.name = 'none'") == set()
    for one in ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment]}))["runs"]:
        assert one == get_run(client, one["info"]["run_id"]) and one["inputs"]["dataset_inputs"]
    listed = ok(client.post("/ajax-api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": [experiment]}))["dataset_summaries"]
    assert [(one["name"], one.get("context")) for one in listed] == [("plain", None), ("test", "testing"), ("train", "training")]


def test_models_that_a_run_made(client, run):
    for _ in range(2):
        ok(client.post(f"{API}/runs/outputs", {"run_id": run, "models": [{"model_id": "m-1", "step": 0}, {"model_id": "m-2", "step": "5"}]}))
    assert get_run(client, run)["outputs"]["model_outputs"] == [{"model_id": "m-1", "step": 0}, {"model_id": "m-2", "step": 5}]


@pytest.mark.parametrize("wrong, words", [
    ({"name": "x" * 501}, "name"), ({"digest": "x" * 37}, "digest"), ({"source": "x" * 65536}, "source"), ({"schema": "x" * 1048576}, "schema")])
def test_datasets_have_limits(client, run, wrong, words):
    refused(client.post(f"{API}/runs/log-inputs", {"run_id": run, "datasets": [dataset(**{"name": "n", **wrong})]}), 400, "INVALID_PARAMETER_VALUE", words)
    assert get_run(client, run)["inputs"]["dataset_inputs"] == []


def test_histories_of_several_runs(client, experiment, run):
    other = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]
    for one in (run, other):
        ok(client.post(f"{API}/runs/log-batch", {"run_id": one, "metrics": [{"key": "loss", "value": n, "timestamp": 1000 + n, "step": n} for n in range(100)]}))
    ok(client.post(f"{API}/runs/log-batch", {"run_id": run, "metrics": [{"key": "flat", "value": n if n != 3 else "NaN", "timestamp": 1, "step": 0} for n in range(50)]}))

    def between(key="loss", runs=(run, other), **asked):
        query = "&".join([f"run_ids={one}" for one in runs] + [f"metric_key={key}"] + [f"{k}={v}" for k, v in asked.items()])
        found = ok(client.get(f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{query}"))["metrics"]
        return {one: [p["value" if key == "flat" else "step"] for p in found if p["run_id"] == one] for one in runs}

    assert between()[run] == between()[other] == list(range(100))
    assert between(max_results=5)[run] == [0, 25, 50, 75, 99] and between(max_results=2)[run] == [0, 99] and between(max_results=1)[other] == [99]
    assert between(start_step=10, end_step=19, max_results=4)[run] == [10, 13, 16, 19] and between(start_step=-5, end_step=-1)[run] == []
    assert between(runs=(run, run))[run] == list(range(100)) and between(runs=(run, "none"))["none"] == []
    flat = between("flat", (run,), max_results=10)[run]
    assert len(flat) == 10 and flat[-1] == 49 and flat[0] in (0, "NaN")  # sampled by value, though there is one step
    query = f"run_id={other}&run_id={run}&metric_key=loss"
    found = ok(client.get(f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}"))["metrics"]
    assert [(p["run_id"], p["step"]) for p in found] == [(one, n) for one in sorted([run, other]) for n in range(100)]
    assert len(ok(client.get(f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}&max_results=7"))["metrics"]) == 7
    interval = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?metric_key=loss"
    refused(client.get(f"{interval}&run_ids={run}&start_step=1"), 400, "INVALID_PARAMETER_VALUE", "Both start_step and end_step")
    refused(client.get(interval), 400, "INVALID_PARAMETER_VALUE", "run_ids")
    refused(client.get(f"{interval}&run_ids={run}&max_results=2501"), 400, "INVALID_PARAMETER_VALUE", "max_results")


# ---- Searches -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(server):
    """An experiment with ten runs: n from 0 to 9, some deleted, some with tags."""
    client = server.client()
    experiment = ok(client.post(f"{API}/experiments/create", {"name": unique("s")}))["experiment_id"]
    runs = []
    for n in range(10):
        info = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1000 + n, "run_name": f"run {n}", "user_id": "ana"}))["run"]["info"]
        body = {"run_id": info["run_id"], "metrics": [{"key": "n", "value": n if n != 5 else "NaN", "timestamp": 1, "step": 0}, {"key": "same", "value": 1, "timestamp": 1}],
                "params": [{"key": "even", "value": str(n % 2 == 0)}], "tags": [{"key": "stage", "value": "dev" if n < 5 else "test"}] if n < 8 else []}
        ok(client.post(f"{API}/runs/log-batch", body))
        runs.append(info["run_id"])
    ok(client.post(f"{API}/runs/update", {"run_id": runs[3], "status": "FINISHED", "end_time": 5000}))
    ok(client.post(f"{API}/runs/delete", {"run_id": runs[9]}))
    return experiment, runs


def found(client, searched, **asked):
    experiment, runs = searched
    answer = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], **asked}))
    return [runs.index(run["info"]["run_id"]) for run in answer.get("runs", [])]


@pytest.mark.parametrize("condition, expected", [
    ("", [8, 7, 6, 5, 4, 3, 2, 1, 0]), ("metrics.n > 6", [8, 7]), ("metric.n >= 6 and params.even = 'True'", [8, 6]),
    ("metrics.n < 2 OR metrics.n = 7", [7, 1, 0]), ("NOT (metrics.n < 7)", [8, 7, 5]), ("metrics.n != 3 AND metrics.n <= 4", [4, 2, 1, 0]),
    ("params.even != 'True' AND tags.stage = 'dev'", [3, 1]), ("parameters.even LIKE 'T%' AND tags.stage ILIKE 'DE%'", [4, 2, 0]),
    ("tags.stage IS NULL", [8]), ("tag.stage IS NOT NULL AND metrics.n > 6", [7]), ("tags.stage RLIKE '^t'", [7, 6, 5]),
    ("attributes.status = 'FINISHED'", [3]), ("status != 'RUNNING'", [3]), ("attributes.run_name = 'run 4'", [4]), ("attributes.`Run name` LIKE '%5'", [5]),
    ("run_name = 'run 1'", [1]), ("attr.user_id = 'ana' AND start_time >= 1007", [8, 7]), ("attributes.created < 1001", [0]), ("end_time = 5000", [3]),
    ("tags.`mlflow.runName` = 'run 2'", [2]), ("metrics.none > 0", []), ("tags.\"stage\" = \"test\"", [7, 6, 5])])
def test_runs_are_found(client, searched, condition, expected):
    assert found(client, searched, filter=condition) == expected


def test_runs_are_found_by_id(client, searched):
    _, runs = searched
    assert found(client, searched, filter=f"attributes.run_id IN ('{runs[2]}', '{runs[6]}')") == [6, 2]
    assert found(client, searched, filter=f"run_id = '{runs[2]}'") == [2]
    assert found(client, searched, filter=f"artifact_uri LIKE '%{runs[1]}%'") == [1]


@pytest.mark.parametrize("order, expected", [
    (["metrics.n DESC"], [8, 7, 6, 4, 3, 2, 1, 0, 5]), (["metrics.n"], [0, 1, 2, 3, 4, 6, 7, 8, 5]), (["metrics.same DESC"], [8, 7, 6, 5, 4, 3, 2, 1, 0]),
    (["metrics.same ASC", "start_time ASC"], list(range(9))), (["params.even DESC", "attributes.start_time ASC"], [0, 2, 4, 6, 8, 1, 3, 5, 7]),
    (["tags.stage ASC"], [4, 3, 2, 1, 0, 7, 6, 5, 8]), (["end_time DESC"], [3, 8, 7, 6, 5, 4, 2, 1, 0]), (["attributes.run_name"], list(range(9)))])
def test_runs_are_ordered(client, searched, order, expected):
    assert found(client, searched, order_by=order) == expected
    for size in (1, 2, 4):
        experiment, runs = searched
        seen, token = [], ""
        while True:
            page = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "order_by": order, "max_results": size, "page_token": token}))
            seen += [runs.index(run["info"]["run_id"]) for run in page["runs"]]
            token = page.get("next_page_token")
            if not token:
                break
        assert seen == expected


def test_deleted_runs_are_found_where_they_are_meant(client, searched):
    assert found(client, searched, run_view_type="DELETED_ONLY") == [9]
    assert found(client, searched, run_view_type="ALL")[0] == 9


def test_several_experiments_are_searched(client, searched):
    experiment, runs = searched
    other = ok(client.post(f"{API}/experiments/create", {"name": unique("s")}))["experiment_id"]
    mine = ok(client.post(f"{API}/runs/create", {"experiment_id": other, "start_time": 1004}))["run"]["info"]["run_id"]
    ok(client.post(f"{API}/runs/log-metric", {"run_id": mine, "key": "n", "value": 4.5, "timestamp": 1}))
    for condition, order in (("metrics.n > 3 AND metrics.n < 7", []), ("metrics.n > 3 AND metrics.n < 7", ["metrics.n DESC"]), ("metrics.n > 3 AND metrics.n < 7", ["metrics.n"])):
        for ids in ([experiment, other, "none"], [experiment, other, experiment] + [f"exp_{i}" for i in range(100)]):
            answer = ok(client.post(f"{API}/runs/search", {"experiment_ids": ids, "filter": condition, "order_by": order}))
            got = [run["info"]["run_id"] for run in answer["runs"]]
            assert sorted(got) == sorted([runs[4], runs[6], mine])
            if order:
                assert got == ([runs[4], mine, runs[6]] if order == ["metrics.n"] else [runs[6], mine, runs[4]])
    assert ok(client.post(f"{API}/runs/search", {"experiment_ids": []}))["runs"] == []
    assert ok(client.post(f"{API}/runs/search", {}))["runs"] == []


def test_a_found_run_is_whole(client, searched):
    experiment, runs = searched
    one = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "filter": "metrics.n = 4"}))["runs"]
    assert one == [get_run(client, runs[4])]
    for run in ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment]}))["runs"]:
        assert run == get_run(client, run["info"]["run_id"])


@pytest.mark.parametrize("body, words", [
    ({"filter": "metrics.n"}, "Invalid clause(s) in filter string"), ({"filter": "metrics.n > 'a'"}, "Expected a numeric value for metric 'n'"),
    ({"filter": "params.n > 3"}, "Invalid comparator '>' for parameter 'n'"), ({"filter": "attributes.none = 'a'"}, "Invalid attribute key 'none' specified"),
    ({"filter": "none.x = 'a'"}, "Invalid entity type 'none'"), ({"order_by": ["datasets.name"]}, "Invalid order_by entity 'dataset'"),
    ({"page_token": "x"}, "Invalid page token"), ({"max_results": 50001}, "'max_results'"), ({"max_results": 0}, "'max_results'"),
    ({"run_view_type": "SOME"}, "'run_view_type'")])
def test_searches_that_are_wrong(client, searched, body, words):
    refused(client.post(f"{API}/runs/search", {"experiment_ids": [searched[0]], **body}), 400, "INVALID_PARAMETER_VALUE", words)


def test_experiments_are_searched(client):
    mark = unique("x")
    ids = [ok(client.post(f"{API}/experiments/create", {"name": f"{mark} {n}", "tags": [{"key": "n", "value": str(n)}]}))["experiment_id"] for n in range(4)]
    ok(client.post(f"{API}/experiments/delete", {"experiment_id": ids[3]}))

    def search(**asked):
        asked = {"max_results": 100, **asked}
        asked["filter"] = f"name LIKE '{mark}%'" + (f" AND {asked['filter']}" if "filter" in asked else "")
        return [ids.index(e["experiment_id"]) for e in ok(client.post(f"{API}/experiments/search", asked))["experiments"]]

    assert search() == [2, 1, 0] and search(view_type="ALL") == [3, 2, 1, 0] and search(view_type="DELETED_ONLY") == [3]
    assert search(filter="tags.n != '1'") == [2, 0] and search(order_by=["name ASC"]) == [0, 1, 2] and search(filter="attribute.creation_time > 99999999999999") == []
    first = ok(client.get(f"{API}/experiments/search?max_results=2&filter=name%20LIKE%20%27{mark}%25%27&order_by=name&view_type=ACTIVE_ONLY"))
    assert [ids.index(e["experiment_id"]) for e in first["experiments"]] == [0, 1] and pairs(first["experiments"][1]["tags"]) == {"n": "1"}
    rest = ok(client.get(f"{API}/experiments/search?max_results=2&filter=name%20LIKE%20%27{mark}%25%27&order_by=name&page_token={first['next_page_token']}"))
    assert [ids.index(e["experiment_id"]) for e in rest["experiments"]] == [2] and not rest.get("next_page_token")
    refused(client.post(f"{API}/experiments/search", {"order_by": ["tags.none.x"], "filter": "id = 1"}), 400, "INVALID_PARAMETER_VALUE", "id")
