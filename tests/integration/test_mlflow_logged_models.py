"""Logged models, as clients of MLflow 3 know them: /api/2.0/mlflow/logged-models. And what clients of version 2 note in a tag."""
import json
import re

import pytest

from daemon import unique

API = "/api/2.0/mlflow/logged-models"


@pytest.fixture
def experiment(client):
    return client.post("/api/v1/experiments", {"name": unique("exp")}).json["id"]


def create(client, experiment, **more):
    answer = client.post(API, {"experiment_id": experiment, **more})
    assert answer.status == 200, answer
    return answer.json["model"]


def get(client, model_id, query=""):
    answer = client.get(f"{API}/{model_id}{query}")
    assert answer.status == 200, answer
    return answer.json["model"]


def search(client, experiments, expected=200, **more):
    answer = client.post(f"{API}/search", {"experiment_ids": experiments, **more})
    assert answer.status == expected, answer
    return answer.json if expected == 200 else answer.json["message"]


def names(page):
    return [m["info"]["name"] for m in page.get("models", [])]


def error(answer, status, code):
    assert (answer.status, answer.json["error_code"]) == (status, code), answer
    return answer.json["message"]


def pairs(items):
    return {i["key"]: i["value"] for i in items}


# ---- Made, finished, deleted -----------------------------------------------------------------------------------------------------------


def test_a_model_is_made_pending_and_finished(client, experiment):
    made = create(client, experiment, name="forest", model_type="classifier", source_run_id="run_x",
                  params=[{"key": "depth", "value": "6"}], tags=[{"key": "team", "value": "blue"}])
    info = made["info"]
    assert re.fullmatch("m-[0-9a-f]{32}", info["model_id"])
    assert info["experiment_id"] == experiment and info["name"] == "forest"
    assert info["model_type"] == "classifier" and info["source_run_id"] == "run_x"
    assert info["status"] == "LOGGED_MODEL_PENDING"
    assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment}/models/{info['model_id']}/artifacts"
    assert info["creation_timestamp_ms"] == info["last_updated_timestamp_ms"] > 1.6e12
    assert pairs(info["tags"]) == {"team": "blue"} and pairs(made["data"]["params"]) == {"depth": "6"}
    done = client.call("PATCH", f"{API}/{info['model_id']}", {"model_id": info["model_id"], "status": "LOGGED_MODEL_READY"})
    assert done.status == 200 and done.json["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    again = get(client, info["model_id"])
    assert again["info"]["status"] == "LOGGED_MODEL_READY"
    assert again["info"]["last_updated_timestamp_ms"] >= info["creation_timestamp_ms"]
    assert client.get(f"/api/v1/logged-models/{info['model_id']}").json["status"] == "ready"  # by the other door


def test_who_names_none_gets_a_name(client, experiment):
    first, second = create(client, experiment)["info"]["name"], create(client, experiment, name="")["info"]["name"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", first) and re.fullmatch(r"[a-z]+-[a-z]+-\d+", second)


@pytest.mark.parametrize("sent, told", [(2, "LOGGED_MODEL_READY"), ("LOGGED_MODEL_UPLOAD_FAILED", "LOGGED_MODEL_UPLOAD_FAILED"),
                                        (3, "LOGGED_MODEL_UPLOAD_FAILED"), ("2", "LOGGED_MODEL_READY")])
def test_a_status_is_a_word_or_its_number(client, experiment, sent, told):
    model_id = create(client, experiment)["info"]["model_id"]
    assert client.call("PATCH", f"{API}/{model_id}", {"status": sent}).json["model"]["info"]["status"] == told


@pytest.mark.parametrize("status", ["LOGGED_MODEL_PENDING", "READY", 0, 17, "", [], None])
def test_other_statuses_are_refused(client, experiment, status):
    model_id = create(client, experiment)["info"]["model_id"]
    answer = client.call("PATCH", f"{API}/{model_id}", {"status": status})
    assert "parameter 'status'" in error(answer, 400, "INVALID_PARAMETER_VALUE")
    assert get(client, model_id)["info"]["status"] == "LOGGED_MODEL_PENDING"


@pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "a%b", 'a"b', "a'b"])
def test_names_that_paths_would_misread_are_refused(client, experiment, name):
    answer = client.post(API, {"experiment_id": experiment, "name": name})
    assert error(answer, 400, "INVALID_PARAMETER_VALUE").startswith(f"Invalid model name ('{name}') provided.")


def test_the_files_are_below_what_the_experiment_says(server, client, experiment):
    server.sql(f"UPDATE tracking_experiments SET artifact_location = 's3://bucket/some' WHERE id = '{experiment}'")
    info = create(client, experiment)["info"]
    assert info["artifact_uri"] == f"s3://bucket/some/models/{info['model_id']}/artifacts"


def test_experiment_0_is_default(client):
    info = create(client, "0", name="zero")["info"]
    assert info["experiment_id"] == "0" and info["model_id"] in json.dumps(search(client, ["0"]))


def test_a_model_needs_an_experiment_that_is_there(server, client, experiment):
    answer = client.post(API, {"experiment_id": "exp_none"})
    assert error(answer, 404, "RESOURCE_DOES_NOT_EXIST") == "No Experiment with id=exp_none exists"
    assert "Missing value for required parameter 'experiment_id'" in error(client.post(API, {}), 400, "INVALID_PARAMETER_VALUE")
    server.sql(f"UPDATE tracking_experiments SET lifecycle = 'deleted' WHERE id = '{experiment}'")
    told = error(client.post(API, {"experiment_id": experiment}), 400, "INVALID_PARAMETER_VALUE")
    assert "must be in the 'active' state" in told


def test_a_deleted_model_is_found_only_by_who_asks_for_it(client, experiment):
    model_id = create(client, experiment, name="gone")["info"]["model_id"]
    for _ in range(2):  # the second time for who lost the answer
        assert client.delete(f"{API}/{model_id}", body={"model_id": model_id}).status == 200
    assert error(client.get(f"{API}/{model_id}"), 404, "RESOURCE_DOES_NOT_EXIST") == f"Logged model with ID '{model_id}' not found."
    assert get(client, model_id, "?allow_deleted=true")["info"]["name"] == "gone"
    assert names(search(client, [experiment])) == []
    for method, path, body in (("PATCH", "", {"status": "LOGGED_MODEL_READY"}), ("PATCH", "/tags", {"tags": [{"key": "a", "value": "b"}]}),
                               ("POST", "/params", {"params": [{"key": "a", "value": "b"}]}), ("DELETE", "/tags/a", None)):
        error(client.call(method, f"{API}/{model_id}{path}", body), 404, "RESOURCE_DOES_NOT_EXIST")


def test_no_such_model(client):
    assert error(client.get(f"{API}/m-none"), 404, "RESOURCE_DOES_NOT_EXIST") == "Logged model with ID 'm-none' not found."
    error(client.delete(f"{API}/m-none"), 404, "RESOURCE_DOES_NOT_EXIST")
    error(client.get(f"{API}/{'m' * 500}"), 400, "INVALID_PARAMETER_VALUE")


# ---- Tags and parameters -------------------------------------------------------------------------------------------------------------------


def test_tags_are_set_changed_and_taken(client, experiment):
    model_id = create(client, experiment, tags=[{"key": "a", "value": "1"}])["info"]["model_id"]
    path = f"{API}/{model_id}/tags"
    assert client.call("PATCH", path, {"tags": [{"key": "a", "value": "2"}, {"key": "b/c d", "value": "ü"}, {"key": "b/c d", "value": "last"}]}).status == 200
    assert pairs(get(client, model_id)["info"]["tags"]) == {"a": "2", "b/c d": "last"}
    assert client.delete(f"{path}/a").status == 200
    assert error(client.delete(f"{path}/a"), 404, "RESOURCE_DOES_NOT_EXIST") == f"No tag with key 'a' found for model with ID '{model_id}'."
    assert pairs(get(client, model_id)["info"]["tags"]) == {"b/c d": "last"}
    assert client.call("PATCH", path, {"tags": [{"key": "long", "value": "x" * 65535}]}).status == 200
    error(client.call("PATCH", path, {"tags": [{"key": "long", "value": "x" * 65536}]}), 400, "INVALID_PARAMETER_VALUE")
    error(client.call("PATCH", path, {"tags": [{"key": "", "value": "x"}]}), 400, "INVALID_PARAMETER_VALUE")
    error(client.call("PATCH", path, {"tags": [{"key": "k" * 256, "value": "x"}]}), 400, "INVALID_PARAMETER_VALUE")


def test_parameters_are_written_once(server, client, experiment):
    model_id = create(client, experiment)["info"]["model_id"]
    path = f"{API}/{model_id}/params"
    many = [{"key": f"p{i:03}", "value": str(i)} for i in range(100)]
    for _ in range(2):  # the second time for who lost the answer
        assert client.post(path, {"model_id": model_id, "params": many}).status == 200, server.log_text()[-1500:]
    assert pairs(get(client, model_id)["data"]["params"]) == pairs(many)
    answer = client.post(path, {"params": [{"key": "new", "value": "x"}, {"key": "p007", "value": "8"}]})
    assert answer.status == 400 and "'p007' is '7' already" in answer.json["message"]
    assert "new" not in pairs(get(client, model_id)["data"]["params"])  # all or nothing


# ---- Looked for ----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zoo(server):
    """Models a to e; metrics of some, on datasets."""
    client = server.client()
    experiment = client.post("/api/v1/experiments", {"name": unique("exp")}).json["id"]


    ids = {}
    for i, name in enumerate("abcde"):
        made = create(client, experiment, name=name, model_type="odd" if i % 2 else "even", source_run_id=f"run_{name}",
                      params=[{"key": "depth", "value": str(i)}], tags=[{"key": "stage", "value": f"dev{i}"}] if i else [])
        ids[name] = made["info"]["model_id"]
    client.call("PATCH", f"{API}/{ids['b']}", {"status": "LOGGED_MODEL_READY"})
    return client, experiment, ids


@pytest.mark.parametrize("condition, found", [
    ("", "edcba"), ("name = 'a'", "a"), ("name != 'a'", "edcb"), ("name LIKE 'A'", ""), ("name ILIKE 'A'", "a"),
    ("name IN ('a', 'c')", "ca"), ("name NOT IN ('a', 'c')", "edb"), ("attributes.name = 'b'", "b"),
    ("model_type = 'odd'", "db"), ("source_run_id = 'run_c'", "c"), ("status = 'READY'", "b"), ("status = 'ready'", "b"),
    ("params.depth = '3'", "d"), ("params.depth != '3'", "ecba"), ("params.`depth` = '3' AND name = 'd'", "d"),
    ("tags.stage LIKE 'dev%'", "edcb"), ("tags.stage != 'dev1'", "edc"), ("tags.stage IS NULL", "a"),
    ("name = 'a' OR (params.depth = '4' AND NOT name = 'b')", "ea"), ("creation_timestamp > 0", "edcba"),
    ("creation_time < 1000", ""), ("last_updated_timestamp >= 1000", "edcba"), ("metrics.x > 0", "")])
def test_what_a_condition_finds(zoo, condition, found):
    client, experiment, _ = zoo
    assert "".join(names(search(client, [experiment], filter=condition))) == found


def test_what_was_left_out_is_an_empty_text(client, experiment):
    create(client, experiment, name="plain")
    create(client, experiment, name="full", model_type="cls", source_run_id="run_x")
    for condition, found in (("model_type = ''", ["plain"]), ("model_type != 'cls'", ["plain"]), ("source_run_id NOT IN ('run_x')", ["plain"]), (f"experiment_id = '{experiment}'", ["full", "plain"])):
        assert names(search(client, [experiment], filter=condition)) == found, condition
    for key in ("model_type", "source_run_id"):
        assert names(search(client, [experiment], order_by=[{"field_name": key}])) == ["plain", "full"]


@pytest.mark.parametrize("condition", ["name >", "nonsense = 'a'", "metrics.x = 'a'", "name < 'a'", "creation_timestamp = 'a'", "thing.x = 'a'",
                                       "name = 'a' name = 'b'", "name = 'a", "params.depth > 3"])
def test_what_is_no_condition(zoo, condition):
    client, experiment, _ = zoo
    assert search(client, [experiment], 400, filter=condition)


def test_a_model_is_found_by_its_id(zoo):
    client, experiment, ids = zoo
    assert names(search(client, [experiment], filter=f"model_id = '{ids['c']}'")) == ["c"]


@pytest.mark.parametrize("order, found", [
    ([{"field_name": "name"}], "abcde"), ([{"field_name": "name", "ascending": False}], "edcba"),
    ([{"field_name": "model_type", "ascending": True}, {"field_name": "name", "ascending": False}], "ecadb"),
    ([{"field_name": "creation_timestamp", "ascending": True}], "abcde"), ([{"field_name": "creation_time", "ascending": False}], "edcba"),
    ([{"field_name": "model_type"}], "ecadb"), ([{"field_name": "metrics.none"}], "edcba"),
    ([{"field_name": "status"}], "edcab"), ([{"field_name": "status", "ascending": False}, {"field_name": "name"}], "bacde")])
def test_orders(zoo, order, found):
    client, experiment, _ = zoo
    assert "".join(names(search(client, [experiment], order_by=order))) == found
    pages, token = "", None
    for _ in range(9):
        page = search(client, [experiment], order_by=order, max_results=2, **({"page_token": token} if token else {}))
        pages, token = pages + "".join(names(page)), page.get("next_page_token")
        if not token:
            break
    assert pages == found


@pytest.mark.parametrize("order", ["params.depth", "nonsense", "metrics.", "name; DROP", "tags.x"])
def test_what_is_no_order(zoo, order):
    client, experiment, _ = zoo
    assert search(client, [experiment], 400 if order != "metrics." else 200, order_by=[{"field_name": order}])


def test_a_digest_without_a_name_is_refused(zoo):
    client, experiment, _ = zoo
    told = search(client, [experiment], 400, order_by=[{"field_name": "metrics.x", "dataset_digest": "d"}])
    assert told == "`dataset_digest` can only be specified if `dataset_name` is also specified."
    told = search(client, [experiment], 400, datasets=[{"dataset_digest": "d"}])
    assert told == "`dataset_name` in the `datasets` clause must be specified."


def test_of_several_experiments_and_of_none(zoo, experiment):
    client, first, _ = zoo
    create(client, experiment, name="other")
    assert names(search(client, [first, experiment, "exp_none"])) == ["other", "e", "d", "c", "b", "a"]
    assert names(search(client, ["exp_none"])) == [] and names(search(client, [])) == []
    assert "experiment_ids" in error(client.post(f"{API}/search", {}), 400, "INVALID_PARAMETER_VALUE")
    assert search(client, [first], 400, page_token="nonsense") == "Invalid page token"


# ---- What clients of MLflow 2 note ----------------------------------------------------------------------------------------------------------------


MLMODEL = {"artifact_path": "model", "flavors": {"xgboost": {}}, "utc_time_created": "2026-01-01", "run_id": "r", "model_uuid": "u"}


def history(client, run):
    tags = pairs(client.get(f"/api/v1/runs/{run}").json["tags"])
    return json.loads(tags["mlflow.log-model.history"])


@pytest.fixture
def run(client):
    name = unique("exp")
    client.post("/api/v1/experiments", {"name": name})
    return client.op("tracking.create_run", {"experiment": name}).json["id"]


def log(client, run, model, expected=200):
    answer = client.post("/api/2.0/mlflow/runs/log-model", {"run_id": run, "model_json": json.dumps(model)})
    assert answer.status == expected, answer
    return answer.json.get("message")


def test_models_of_a_run_are_noted_in_a_tag(client, run):
    log(client, run, MLMODEL)
    log(client, run, {**MLMODEL, "artifact_path": "a/\"b\"\\ü"})
    log(client, run, {**MLMODEL, "artifact_path": "a/\"b\"\\ü"})  # who lost the answer
    assert [m["artifact_path"] for m in history(client, run)] == ["model", "a/\"b\"\\ü"]


def test_a_list_that_fills_the_tag_begins_anew(client, run):
    for i in range(5):
        log(client, run, {**MLMODEL, "artifact_path": f"{i}" + "x" * 3000})
    assert [m["artifact_path"][0] for m in history(client, run)] == ["4"]
    assert "longer" in log(client, run, {**MLMODEL, "artifact_path": "x" * 8000}, 400)


def test_what_is_no_model_is_refused(client, run):
    for field in MLMODEL:
        if field != "model_uuid":
            told = log(client, run, {k: v for k, v in MLMODEL.items() if k != field}, 400)
            assert told == f"Model json is missing mandatory fields: {{'{field}'}}"
    answer = client.post("/api/2.0/mlflow/runs/log-model", {"run_id": run, "model_json": "{nonsense"})
    assert "is not a valid JSON" in error(answer, 400, "INVALID_PARAMETER_VALUE")
    assert log(client, "run_none", MLMODEL, 404) == "Run with id=run_none not found"
