"""Experiments and runs by their own addresses: begun, changed, deleted and brought back."""
import uuid

import pytest

from daemon import unique


@pytest.fixture
def experiment(client):
    return client.op("tracking.create_experiment", {"name": unique("e")}).json


def run_of(client, experiment, **more):
    answer = client.op("tracking.create_run", {"experiment_id": experiment["id"], **more})
    assert answer.status == 201, answer
    return answer.json


def tags_of(thing):
    return {tag["key"]: tag["value"] for tag in thing.get("tags", [])}


def test_an_experiment_has_a_place_for_files_and_tags(client):
    name = unique("with/slash ")
    made = client.op("tracking.create_experiment", {"name": name, "tags": [{"key": "team", "value": "x"}]})
    assert made.status == 201 and made.json["lifecycle"] == "active" and tags_of(made.json) == {"team": "x"}
    assert made.json["artifact_location"] == f"mlflow-artifacts:/{made.json['id']}"
    for which in ({"name": name}, {"id": made.json["id"]}):
        assert client.op("tracking.get_experiment", which).json == made.json
    again = client.op("tracking.create_experiment", {"name": name})
    assert again.status == 409 and again.json["detail"] == f"Experiment(name={name}) already exists."


def test_tags_of_an_experiment_are_set_changed_and_deleted(client, experiment):
    path = f"/api/v1/experiments/{experiment['name']}/tags"
    for value in ("a", "b", "\u00e9" * 20_000):
        assert client.post(path, {"key": "k", "value": value}).status == 200
        assert tags_of(client.get(f"/api/v1/experiments/{experiment['name']}").json) == {"k": value}
    assert client.post(path, {"key": "k", "value": "x" * 20_001}).status == 400
    assert client.post(path, {"key": "k" * 251, "value": "x"}).status == 400
    assert client.delete(f"{path}/k").status == 200
    gone = client.delete(f"{path}/k")
    assert gone.status == 404 and gone.json["detail"] == f"No tag with name: k in experiment with id {experiment['id']}"


def test_the_default_experiment_is_there(client):
    assert client.op("tracking.get_experiment", {"id": "0"}).json["name"] == "Default"
    assert client.op("tracking.create_run", {"experiment_id": "0"}).json["experiment_id"] == "0"


@pytest.mark.parametrize("location", [
    "s3://bucket/a/b", "gs://bucket", "abfss://c@account.dfs.core.windows.net/x", "wasbs://x", "hdfs://h:9000/x", "dbfs:/x", "https://h/x"])
def test_places_that_clients_write_to_are_kept(client, location):
    made = client.op("tracking.create_experiment", {"name": unique("e"), "artifact_location": location})
    assert made.json["artifact_location"] == location
    run = run_of(client, made.json)
    assert run["artifact_uri"] == f"{location}/{run['id']}/artifacts"


@pytest.mark.parametrize("location", [
    "file:///etc", "FILE:/etc", "/etc/passwd", "etc", "./x", "../x", "s3://", "s3://b/../x", "s3://b/%2e%2e/x", "s3://b/%2E./x", "s3://b/%252e",
    "s3://b#x", "s3://b?x", "s3://b\\x", "s3://b\nx", "s3://b x", "mlflow-artifacts:/0", "mlflow-artifacts://host/x", "ftp://x", "javascript:x",
    "runs:/x", "models:/x", "s3:/b", "sqlite://x", "s3://b/" + "x" * 2048])
def test_places_that_nobody_should_be_sent_to_are_refused(client, location):
    assert client.op("tracking.create_experiment", {"name": unique("e"), "artifact_location": location}).status == 400


def test_an_experiment_is_renamed(client, experiment):
    other, name = unique("e"), unique("e")
    client.op("tracking.create_experiment", {"name": other})
    path = f"/api/v1/experiments/{experiment['name']}/name"
    assert client.put(path, {"new_name": other}).status == 409
    renamed = client.put(path, {"new_name": name})
    assert renamed.json["name"] == name and renamed.json["id"] == experiment["id"] and renamed.json["updated_at"] > experiment["updated_at"]
    assert client.put(path, {"new_name": name}).status == 404


def test_a_deleted_experiment_takes_its_runs_and_brings_them_back(client, experiment):
    run, path = run_of(client, experiment), f"/api/v1/experiments/{experiment['name']}"
    assert client.delete(path).json["lifecycle"] == "deleted"
    assert client.get(path).json["lifecycle"] == "deleted"
    assert client.delete(path).status == 404
    assert client.get(f"/api/v1/runs/{run['id']}").json["lifecycle"] == "deleted"
    assert experiment["name"] not in [e["name"] for e in client.op("tracking.list_experiments", {"limit": 1000}).json["experiments"]]
    for refused in (client.op("tracking.create_run", {"experiment_id": experiment["id"]}), client.put(f"{path}/name", {"new_name": "x"}),
                    client.post(f"{path}/tags", {"key": "k", "value": "v"}), client.delete(f"{path}/tags/k")):
        assert refused.status == 409, refused
    assert client.op("tracking.create_experiment", {"name": experiment["name"]}).status == 409
    assert client.post(f"{path}/restore").json["lifecycle"] == "active"
    assert client.post(f"{path}/restore").status == 404
    assert client.get(f"/api/v1/runs/{run['id']}").json["lifecycle"] == "active"


def test_a_run_says_who_when_and_where(client, experiment):
    run = run_of(client, experiment, name="first", user="ana", started_at="2024-05-06T07:08:09.123456Z", tags=[{"key": "a", "value": "1"}])
    assert (run["name"], run["user"], run["status"], run["lifecycle"]) == ("first", "ana", "running", "active")
    assert run["started_at"] == "2024-05-06T07:08:09.123456Z" and "ended_at" not in run
    assert run["artifact_uri"] == f"mlflow-artifacts:/{experiment['id']}/{run['id']}/artifacts"
    assert tags_of(run) == {"a": "1", "mlflow.runName": "first"}
    assert client.get(f"/api/v1/runs/{run['id']}").json == run


@pytest.mark.parametrize("begin, prefix, what", [("tracking.create_run", "", "run"), ("tracking.create_logged_model", "m-", "logged model")])
def test_what_comes_from_another_server_keeps_its_id(client, experiment, begin, prefix, what):
    wanted = prefix + uuid.uuid4().hex
    made = client.op(begin, {"experiment_id": experiment["id"], "id": wanted})
    assert made.status == 201 and made.json["id"] == wanted and f"/{wanted}/artifacts" in made.json["artifact_uri"]
    again = client.op(begin, {"experiment_id": experiment["id"], "id": wanted})
    assert again.status == 409 and f"There is a {what} '{wanted}' already" in again.json["detail"]
    for other in ("models", wanted.upper(), wanted + "0", wanted + "/..", "x"):
        assert client.op(begin, {"experiment_id": experiment["id"], "id": other}).status == 400, other


def test_what_many_logged_is_found_in_small_tables_too(client, server):
    """The database would rather read a table of a few rows whole, and in its own order."""
    server.sql("ANALYZE TABLE tracking_experiment_tags, tracking_tags")
    tagged = [client.op("tracking.create_experiment", {"name": unique("small"), "tags": [{"key": "k", "value": str(i)}]}).json for i in range(5)]
    for experiment in tagged:
        run_of(client, experiment)
    found = client.op("tracking.search_experiments", {"limit": 5, "order": "created DESC"})
    assert found.status == 200 and [tags_of(e) for e in found.json["experiments"]] == [{"k": str(i)} for i in range(4, -1, -1)]
    assert client.op("tracking.search_runs", {"experiment_ids": [e["id"] for e in tagged]}).status == 200


def test_a_run_is_called_something(client, experiment):
    names = [run_of(client, experiment)["name"] for _ in range(5)]
    assert len(set(names)) > 1 and all(len(name.split("-")) == 3 for name in names), names
    tag = [{"key": "mlflow.runName", "value": "tagged"}]
    assert run_of(client, experiment, tags=tag)["name"] == "tagged"
    both = client.op("tracking.create_run", {"experiment_id": experiment["id"], "name": "other", "tags": tag})
    assert both.status == 400 and "different values" in both.json["detail"]
    assert client.op("tracking.create_run", {"experiment_id": experiment["id"], "name": "\u00e9" * 251}).status == 400
    assert run_of(client, experiment, name="\u00e9" * 250)["name"] == "\u00e9" * 250


def test_a_run_changes(client, experiment):
    run = run_of(client, experiment)
    path = f"/api/v1/runs/{run['id']}"
    renamed = client.call("PATCH", path, {"name": "second"}).json
    assert (renamed["name"], renamed["status"]) == ("second", "running") and "ended_at" not in renamed
    assert tags_of(client.get(path).json)["mlflow.runName"] == "second"
    ended = client.call("PATCH", path, {"status": "failed", "ended_at": "2024-05-06T07:08:09Z"}).json
    assert (ended["name"], ended["status"], ended["ended_at"][:19]) == ("second", "failed", "2024-05-06T07:08:09")
    assert client.call("PATCH", path, {"status": "running"}).json["status"] == "running"
    assert client.call("PATCH", path, {"status": "lost"}).status == 400
    other = run_of(client, experiment)
    assert client.call("PATCH", f"/api/v1/runs/{other['id']}", {"status": "finished"}).json["ended_at"]


def test_a_deleted_run_takes_nothing_and_comes_back(client, experiment):
    run = run_of(client, experiment)
    path = f"/api/v1/runs/{run['id']}"
    client.post(f"{path}/metrics", {"key": "loss", "value": 1})
    for _ in range(2):
        assert client.delete(path).json["lifecycle"] == "deleted"
    assert client.get(path).json["lifecycle"] == "deleted"
    assert client.get(f"/api/v1/experiments/{experiment['name']}/runs").json["runs"] == []
    words = f"The run {run['id']} must be in the 'active' state. Current state is deleted."
    for refused in (client.call("PATCH", path, {"name": "x"}), client.post(f"{path}/finish"), client.post(f"{path}/metrics", {"key": "loss", "value": 2}),
                    client.post(f"{path}/batch", {"tags": [{"key": "a", "value": "b"}]})):
        assert refused.status == 409 and refused.json["detail"] == words
    assert client.post(f"{path}/restore").json["lifecycle"] == "active"
    assert client.get(path).json["metrics"][0]["value"] == 1


def test_what_is_not_there(client):
    for answer, words in ((client.get("/api/v1/runs/run_none"), "Run with id=run_none not found"),
                          (client.op("tracking.get_experiment", {"id": "exp_none"}), "No Experiment with id=exp_none exists"),
                          (client.get("/api/v1/experiments/none"), "Could not find experiment with name 'none'")):
        assert answer.status == 404 and answer.json["detail"] == words


def test_what_changes_is_in_the_log(client, experiment):
    run = run_of(client, experiment)
    client.delete(f"/api/v1/runs/{run['id']}")
    entries = client.get("/api/v1/audit/entries?limit=100&operation=tracking.delete_run").json["entries"]
    entry = next(e for e in entries if e["input"]["run_id"] == run["id"])
    assert (entry["before"]["lifecycle"], entry["after"]["lifecycle"]) == ("active", "deleted")


# ---- What is logged -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(client, experiment):
    return run_of(client, experiment)


def latest(client, run, key):
    return next(m for m in client.get(f"/api/v1/runs/{run['id']}").json["metrics"] if m["key"] == key)


def test_numbers_that_are_none(client, run):
    path = f"/api/v1/runs/{run['id']}/metrics"
    for step, (given, kept) in enumerate((("NaN", "NaN"), ("Infinity", 1.7976931348623157e308), ("-Infinity", -1.7976931348623157e308), (0.25, 0.25))):
        assert client.post(path, {"key": "loss", "value": given, "step": step}).status == 200
        assert latest(client, run, "loss")["value"] == kept
        body = {"metrics": [{"key": "batch", "value": given, "step": step, "at": "2024-01-01T00:00:00Z"}]}
        for _ in range(2):
            assert client.post(f"/api/v1/runs/{run['id']}/batch", body).status == 200
        assert latest(client, run, "batch")["value"] == kept
    for key in ("loss", "batch"):
        history = client.get(f"{path}/{key}").json
        assert [m["value"] for m in history["metrics"]] == ["NaN", 1.7976931348623157e308, -1.7976931348623157e308, 0.25]
        assert history["next_page"] == ""
    assert client.post(path, {"key": "loss", "value": "nan"}).status == 400


def test_a_zero_and_no_number_at_one_step_are_two(client, run):
    at = "2024-01-01T00:00:00Z"
    body = {"metrics": [{"key": "x", "value": value, "at": at} for value in ("NaN", 0)]}
    assert client.post(f"/api/v1/runs/{run['id']}/batch", body).status == 200
    values = [m["value"] for m in client.get(f"/api/v1/runs/{run['id']}/metrics/x").json["metrics"]]
    assert values == [0, "NaN"]


def test_the_latest_is_the_largest_of_step_time_and_value(client, run):
    path = f"/api/v1/runs/{run['id']}/metrics"
    for step, at, value, expected in ((1, 1, 5, 5), (2, 1, 3, 3), (1, 9, 9, 3), (2, 2, 1, 1), (2, 2, 4, 4), (2, 2, 2, 4), (-7, 3, 8, 4)):
        assert client.post(path, {"key": "x", "value": value, "step": step, "at": f"2024-01-01T00:00:0{at}Z"}).status == 200
        assert latest(client, run, "x")["value"] == expected, (step, at, value)
    assert len(client.get(f"{path}/x").json["metrics"]) == 7


def test_a_history_comes_in_pages(client, run):
    points = [{"key": "x", "value": step % 3, "step": step // 2, "at": "2024-01-01T00:00:00Z"} for step in range(-10, 990)]
    assert client.post(f"/api/v1/runs/{run['id']}/batch", {"metrics": points}).status == 200
    path, page, seen = f"/api/v1/runs/{run['id']}/metrics/x", "", []
    while True:
        answer = client.get(f"{path}?limit=97&page={page}").json
        seen += [(m["step"], m["value"]) for m in answer["metrics"]]
        page = answer["next_page"]
        if not page:
            break
        assert len(answer["metrics"]) == 97
    assert seen == sorted({(p["step"], p["value"]) for p in points}) and len(seen) == 1000
    for bad in ("x", "1_2", "1_2_3", "1_2_7ff8000000000000_0", "1_2_3_0x", "_1_2_3", "1_-2_0_0", "'"):
        refused = client.get(f"{path}?page={bad}")
        assert refused.status == 400 and refused.json["detail"] == "Invalid page token", refused
    assert client.get(f"{path}?limit=25001").status == 400


def test_a_parameter_is_written_once(client, run):
    path = f"/api/v1/runs/{run['id']}"
    for _ in range(2):
        assert client.post(f"{path}/parameters", {"key": "depth", "value": "6"}).status == 200
    changed = client.post(f"{path}/parameters", {"key": "depth", "value": "7"})
    assert changed.status == 409 and changed.json["detail"] == (
        f"Changing param values is not allowed. Param with key='depth' was already logged with value='6' for run ID='{run['id']}'."
        " Attempted logging new value '7'.")
    batch = client.post(f"{path}/batch", {"parameters": [{"key": "new", "value": "1"}, {"key": "depth", "value": "8"}], "tags": [{"key": "t", "value": "1"}]})
    assert batch.status == 409 and "[{'key': 'depth', 'old_value': '6', 'new_value': '8'}]" in batch.json["detail"]
    now = client.get(path).json
    assert now["parameters"] == [{"key": "depth", "value": "6"}] and "t" not in tags_of(now)
    twice = client.post(f"{path}/batch", {"parameters": [{"key": "a", "value": "1"}, {"key": "a", "value": "1"}]})
    assert twice.status == 400 and "Duplicate parameter keys have been submitted: ['a']" in twice.json["detail"]


def test_tags_of_a_run(client, run):
    path = f"/api/v1/runs/{run['id']}"
    for value in ("1", "", "\u00e9" * 8000):
        assert client.post(f"{path}/tags", {"key": "a", "value": value}).status == 200
        assert tags_of(client.get(path).json)["a"] == value
    assert client.post(f"{path}/tags", {"key": "a", "value": "x" * 8001}).status == 400
    assert client.delete(f"{path}/tags/a").status == 200
    gone = client.delete(f"{path}/tags/a")
    assert gone.status == 404 and gone.json["detail"] == f"No tag with name: a in run with id {run['id']}"


def test_the_tag_of_the_name_renames(client, run):
    path = f"/api/v1/runs/{run['id']}"
    client.post(f"{path}/tags", {"key": "mlflow.runName", "value": "by tag"})
    assert client.get(path).json["name"] == "by tag"
    client.post(f"{path}/batch", {"tags": [{"key": "mlflow.runName", "value": "by batch"}]})
    assert client.get(path).json["name"] == "by batch"


@pytest.mark.parametrize("what, count, words", [
    ("metrics", 1001, "at most 1000 metrics. Got 1001"), ("parameters", 101, "at most 100 params. Got 101"), ("tags", 101, "at most 100 tags. Got 101")])
def test_a_batch_has_limits(client, run, what, count, words):
    items = [{"key": f"k{i}", "value": i if what == "metrics" else str(i)} for i in range(count)]
    answer = client.post(f"/api/v1/runs/{run['id']}/batch", {what: items})
    assert answer.status == 400 and words in answer.json["detail"]


def test_a_batch_has_a_limit_together(client, run):
    body = {"metrics": [{"key": f"k{i}", "value": i} for i in range(950)], "tags": [{"key": f"k{i}", "value": "x"} for i in range(51)]}
    answer = client.post(f"/api/v1/runs/{run['id']}/batch", body)
    assert answer.status == 400 and "at most 1000 metrics, params, and tags. Got 1001" in answer.json["detail"]


def test_metrics_are_of_many_names(client, run):
    body = {"metrics": [{"key": f"k{i:03}", "value": i} for i in range(1000)]}
    assert client.post(f"/api/v1/runs/{run['id']}/batch", body).status == 200
    assert [m["value"] for m in client.get(f"/api/v1/runs/{run['id']}").json["metrics"]] == list(range(1000))
