"""What users do, against the real daemon and the real database: create, get, list, conflicts, pages, events."""
import csv
import hashlib
import http.client
import io
import json
import urllib.parse

import pytest

from daemon import Threads, unique, wait_until



def is_problem(answer, status, type_name):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem["type"] == f"urn:purlin:problem:{type_name}" and problem["status"] == status
    assert problem["title"] and len(problem["trace_id"]) == 32
    return problem


def signature_of(schemas):
    """The least that a signature has to hold, from its published schema."""
    def least(schema):
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
        if "default" in schema:
            return schema["default"]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type", "object")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return {name: least(schema["properties"][name]) for name in schema.get("required", [])}
        if kind == "array":
            return [least(schema["items"])] * max(1, schema.get("minItems", 0))
        return {"string": "x" * max(1, schema.get("minLength", 1)), "integer": max(1, schema.get("minimum", 1)), "number": 1.0, "boolean": True}[kind]
    return least({"$ref": "#/components/schemas/purlin_signature"})


@pytest.fixture(scope="module")
def signature(server):
    client = server.client()
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    client.close()
    return signature_of(schemas)


def new_model(client):
    name = unique("model")
    answer = client.post("/api/v1/models", {"name": name, "description": "café ☕"})
    assert answer.status == 201, answer
    return name


def new_version(client, name, signature, **more):
    body = {"framework": "xgboost", "sha256": hashlib.sha256(name.encode()).hexdigest(), "size": 10, "signature": signature, **more}
    answer = client.post(f"/api/v1/models/{name}/versions", body)
    assert answer.status == 201, answer
    return answer.json


def new_run(client):
    experiment = unique("experiment")
    assert client.post("/api/v1/experiments", {"name": experiment}).status == 201
    answer = client.post(f"/api/v1/experiments/{experiment}/runs", {"name": "first"})
    assert answer.status == 201, answer
    return experiment, answer.json["id"]


# ---- registry


def test_model_is_created_read_and_refused_twice(client):
    name = new_model(client)
    got = client.get(f"/api/v1/models/{name}").json
    assert got["name"] == name and got["description"] == "café ☕"
    assert name in is_problem(client.post("/api/v1/models", {"name": name}), 409, "conflict")["detail"]
    assert client.op("registry.get_model", {"name": name}).json == got


def test_unknown_model_is_not_found(client):
    assert "nobody" in is_problem(client.get("/api/v1/models/nobody"), 404, "not-found")["detail"]
    is_problem(client.get("/api/v1/models/nobody/versions/1"), 404, "not-found")
    is_problem(client.get("/api/v1/models/nobody/aliases"), 404, "not-found")


def test_versions_count_up_and_page_downwards(client, signature):
    name = new_model(client)
    made = [new_version(client, name, signature)["version"] for _ in range(5)]
    assert made == [1, 2, 3, 4, 5]
    first = client.get(f"/api/v1/models/{name}/versions?limit=2").json["versions"]
    assert [version["version"] for version in first] == [5, 4]
    rest = client.get(f"/api/v1/models/{name}/versions?limit=100&before=4").json["versions"]
    assert [version["version"] for version in rest] == [3, 2, 1]
    is_problem(client.get(f"/api/v1/models/{name}/versions/6"), 404, "not-found")


def test_versions_made_at_once_have_numbers_of_their_own(server, client, signature):
    name = new_model(client)
    numbers = []

    def make():
        mine = server.client()
        numbers.extend(new_version(mine, name, signature)["version"] for _ in range(8))
        mine.close()

    Threads(*[make] * 4).join()
    assert sorted(numbers) == list(range(1, 33))


def test_aliases_move_and_end(client, signature):
    name = new_model(client)
    new_version(client, name, signature)
    new_version(client, name, signature)
    for number in (1, 2):
        assert client.put(f"/api/v1/models/{name}/aliases/champion", {"version": number}).status == 200
        assert client.get(f"/api/v1/models/{name}/versions/@champion").json["version"] == number
    is_problem(client.put(f"/api/v1/models/{name}/aliases/champion", {"version": 3}), 404, "not-found")
    assert client.get(f"/api/v1/models/{name}/versions/@champion").json["version"] == 2
    aliases = client.get(f"/api/v1/models/{name}/aliases").json["aliases"]
    assert [(alias["alias"], alias["version"]) for alias in aliases] == [("champion", 2)]
    assert client.delete(f"/api/v1/models/{name}/aliases/champion").status == 200
    is_problem(client.get(f"/api/v1/models/{name}/versions/@champion"), 404, "not-found")
    is_problem(client.delete(f"/api/v1/models/{name}/aliases/champion"), 404, "not-found")


def test_models_page_by_name_without_gap_or_repeat(client):
    made = {new_model(client) for _ in range(7)}
    seen, after = [], ""
    while True:
        page = client.get(f"/api/v1/models?limit=3&after={urllib.parse.quote(after)}").json.get("models", [])
        if not page:
            break
        seen += [model["name"] for model in page]
        after = seen[-1]
    assert made <= set(seen) and len(seen) == len(set(seen)) and seen == sorted(seen)


# ---- tracking


def test_run_collects_metrics_parameters_and_tags(client):
    experiment, run = new_run(client)
    batch = {"metrics": [{"key": "loss", "value": 1 / (step + 1), "step": step} for step in range(20)],
             "parameters": [{"key": "depth", "value": "6"}], "tags": [{"key": "who", "value": "Zoë"}]}
    assert client.post(f"/api/v1/runs/{run}/batch", batch).status == 200
    history = client.get(f"/api/v1/runs/{run}/metrics/loss").json["metrics"]
    assert [(one["step"], one["value"]) for one in history] == [(step, 1 / (step + 1)) for step in range(20)]
    page = client.get(f"/api/v1/runs/{run}/metrics/loss?limit=10").json["next_page"]
    page = client.get(f"/api/v1/runs/{run}/metrics/loss?limit=5&page={page}").json["metrics"]
    assert [one["step"] for one in page] == [10, 11, 12, 13, 14]
    got = client.get(f"/api/v1/runs/{run}").json
    assert [(one["key"], one["value"], one["step"]) for one in got["metrics"]] == [("loss", 0.05, 19)]
    assert {(one["key"], one["value"]) for one in got["parameters"]} == {("depth", "6")}
    assert {(one["key"], one["value"]) for one in got["tags"]} == {("who", "Zoë"), ("mlflow.runName", "first")}
    runs = client.get(f"/api/v1/experiments/{experiment}/runs").json["runs"]
    assert [one["id"] for one in runs] == [run]


def test_metric_sent_again_changes_nothing(client):
    _, run = new_run(client)
    metric = {"key": "accuracy", "value": 0.9, "step": 3, "at": "2026-01-02T03:04:05.678901Z"}
    for _ in range(3):
        assert client.post(f"/api/v1/runs/{run}/metrics", metric).status == 200
    history = client.get(f"/api/v1/runs/{run}/metrics/accuracy").json["metrics"]
    assert len(history) == 1 and history[0]["at"] == metric["at"]


def test_late_metric_of_an_old_step_is_not_the_latest(client):
    _, run = new_run(client)
    for step, value in ((5, 0.5), (9, 0.9), (7, 0.7)):
        assert client.post(f"/api/v1/runs/{run}/metrics", {"key": "m", "value": value, "step": step}).status == 200
    assert [(one["step"], one["value"]) for one in client.get(f"/api/v1/runs/{run}").json["metrics"]] == [(9, 0.9)]


@pytest.mark.parametrize("value", [0.1, 1e308, -2.2250738585072014e-308, 3, 123456789.123456789])
def test_numbers_come_back_as_they_were(client, value):
    _, run = new_run(client)
    assert client.post(f"/api/v1/runs/{run}/metrics", {"key": "m", "value": value}).status == 200
    assert client.get(f"/api/v1/runs/{run}/metrics/m").json["metrics"][0]["value"] == value


def test_changed_parameter_is_a_conflict_and_the_batch_is_undone(client):
    _, run = new_run(client)
    assert client.post(f"/api/v1/runs/{run}/batch", {"parameters": [{"key": "depth", "value": "6"}]}).status == 200
    assert client.post(f"/api/v1/runs/{run}/batch", {"parameters": [{"key": "depth", "value": "6"}]}).status == 200
    batch = {"metrics": [{"key": "never", "value": 1}], "parameters": [{"key": "depth", "value": "7"}]}
    assert "depth" in is_problem(client.post(f"/api/v1/runs/{run}/batch", batch), 409, "conflict")["detail"]
    got = client.get(f"/api/v1/runs/{run}").json
    assert got.get("metrics", []) == [] and got["parameters"][0]["value"] == "6"


def test_run_finishes_once(client):
    _, run = new_run(client)
    assert client.post(f"/api/v1/runs/{run}/finish", {"status": "failed"}).json["status"] == "failed"
    is_problem(client.post(f"/api/v1/runs/{run}/finish", {"status": "finished"}), 409, "conflict")
    is_problem(client.post("/api/v1/runs/run_nobody/finish", {}), 404, "not-found")


def test_experiments_conflict_and_are_listed(client):
    experiment, _ = new_run(client)
    is_problem(client.post("/api/v1/experiments", {"name": experiment}), 409, "conflict")
    page = client.get(f"/api/v1/experiments?after={experiment[:-1]}&limit=1").json["experiments"]
    assert page[0]["name"] == experiment
    is_problem(client.get("/api/v1/experiments/nobody"), 404, "not-found")


# ---- datasets


def csv_bytes(rows, column="x"):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column, "city"])
    writer.writerows([[row / 2, ["Oslo", "São Paulo", 'a "quoted", one'][row % 3]] for row in range(rows)])
    return out.getvalue().encode()


def test_dataset_versions_keep_bytes_and_statistics(client):
    name, body = unique("data"), csv_bytes(1000)
    uploaded = client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"})
    assert uploaded.status in (200, 201), uploaded
    assert uploaded.json["sha256"] == hashlib.sha256(body).hexdigest()
    assert (uploaded.json["version"], uploaded.json["row_count"], uploaded.json["size"]) == (1, 1000, len(body))
    got = client.get(f"/api/v1/datasets/{name}/versions/0").json
    number = next(column for column in got["columns"] if column["name"] == "x")
    assert number["minimum"] == 0 and number["maximum"] == 499.5 and abs(number["mean"] - 249.75) < 1e-9
    content = client.get(f"/api/v1/datasets/{name}/versions/1/content")
    assert content.status == 200 and content.body == body
    again = client.post(f"/api/v1/datasets/{name}/versions", csv_bytes(3), headers={"Content-Type": "text/csv"})
    assert again.json["version"] == 2
    listed = client.get(f"/api/v1/datasets/{name}/versions").json["versions"]
    assert [version["version"] for version in listed] == [2, 1]
    same = client.op("datasets.add_version", {"name": unique("copy"), "sha256": uploaded.json["sha256"]})
    assert same.status == 201 and same.json["row_count"] == 1000


@pytest.mark.parametrize("body, said", [(b"a,b\n1\n", "line 2"), (b'a,b\n1,"2\n', "quote"), (b"a,a\n1,2\n", "line 1"), (b"", "empty"),
                                        (b"a,b\n", "no row"), (b"a,b\n1,\0\n", "NUL")])
def test_bad_csv_is_refused_and_leaves_no_dataset(client, body, said):
    name = unique("bad")
    answer = client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"})
    assert said in is_problem(answer, 400, "invalid")["detail"]
    assert client.get(f"/api/v1/datasets/{name}/versions").json.get("versions", []) == []
    is_problem(client.get(f"/api/v1/datasets/{name}/versions/0"), 404, "not-found")


def test_dataset_of_unknown_bytes_is_not_found(client):
    is_problem(client.op("datasets.add_version", {"name": unique("data"), "sha256": "0" * 64}), 404, "not-found")
    is_problem(client.get("/api/v1/datasets/nobody/versions/1/content"), 404, "not-found")


# ---- jobs


def test_enqueued_job_is_run_and_explained(client):
    """A training that does not exist: the job runs, and what became of it can be read."""
    made = client.post("/api/v1/jobs", {"name": "training.run", "payload": {"job_id": "trn_nobody"}, "delay_ms": 60000})
    assert made.status == 201, made
    job = made.json["id"]
    assert client.get(f"/api/v1/jobs/{job}").json["state"] == "waiting"
    explained = client.get(f"/api/v1/jobs/{job}/explanation")
    assert explained.status == 200 and explained.json
    assert job in [one["id"] for one in client.get("/api/v1/jobs?state=waiting&limit=500").json["jobs"]]
    assert client.post(f"/api/v1/jobs/{job}/cancel").status == 200
    assert client.get(f"/api/v1/jobs/{job}").json["state"] == "cancelled"


def test_unique_job_is_answered_again(client):
    body = {"name": "training.run", "payload": {"job_id": "trn_x"}, "delay_ms": 60000, "unique_key": unique("key")}
    first, second = client.post("/api/v1/jobs", body), client.post("/api/v1/jobs", body)
    assert first.json["id"] == second.json["id"]
    assert client.post(f"/api/v1/jobs/{first.json['id']}/cancel").status == 200


def test_unknown_kinds_and_jobs_are_refused(client):
    answer = client.post("/api/v1/jobs", {"name": "nobody.nothing"})
    assert answer.status in (400, 404) and "nobody.nothing" in json.dumps(answer.json)
    is_problem(client.get("/api/v1/jobs/job_nobody"), 404, "not-found")
    is_problem(client.post("/api/v1/jobs/job_nobody/cancel"), 404, "not-found")
    is_problem(client.get("/api/v1/jobs?state=sleeping"), 400, "invalid")


def test_jobs_page_without_gap_or_repeat(client):
    made = {client.post("/api/v1/jobs", {"name": "training.run", "payload": {"job_id": "trn_p"}, "delay_ms": 600000}).json["id"] for _ in range(5)}
    seen, after = [], None
    while True:
        page = client.get("/api/v1/jobs?limit=2" + (f"&after={after}" if after else "")).json
        seen += [job["id"] for job in page["jobs"]]
        after = page.get("next")
        if not after:
            break
    assert made <= set(seen) and len(seen) == len(set(seen))
    for job in made:
        client.post(f"/api/v1/jobs/{job}/cancel")


# ---- events


class Stream:
    """Server-sent events on a connection of its own."""

    def __init__(self, server, query="", last=None):
        headers = {"Authorization": f"Bearer {server.token}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.connection.request("GET", "/api/v1/events" + query, headers=headers)
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()

    def next(self):
        event = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith(":"):
                continue
            if not line:
                if "data" in event:  # without it only the id is to be noted
                    return event
                event = {}
                continue
            name, _, value = line.partition(": ")
            event[name] = value

    def close(self):
        self.answer.close()
        self.socket.close()
        self.connection.close()


def logged(client, key):
    return [event for event in client.get("/api/v1/events/log?limit=1000&name=datasets.").json["events"] if key in json.dumps(event)]


def test_event_is_in_the_log_with_its_payload(client):
    name = unique("event")
    client.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n2\n", headers={"Content-Type": "text/csv"})
    event = wait_until(lambda: logged(client, name), 10, "the event is not in the log")[0]
    assert event["name"] == "datasets.version_created" and event["payload"] == {"name": name, "version": 1, "row_count": 2}


def test_stream_delivers_and_resumes_after_the_last_event(server, client):
    stream = Stream(server, "?name=datasets.")
    assert stream.answer.status == 200 and stream.answer.headers["Content-Type"].startswith("text/event-stream")
    name = unique("stream")
    for _ in range(3):
        client.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n", headers={"Content-Type": "text/csv"})
    first = stream.next()
    assert first["event"] == "datasets.version_created" and name in first["data"]
    stream.close()
    resumed = Stream(server, "?name=datasets.", last=first["id"])
    events = [resumed.next(), resumed.next()]
    resumed.close()
    assert [json.loads(event["data"])["payload"]["version"] for event in events] == [2, 3]
    assert int(first["id"]) < int(events[0]["id"]) < int(events[1]["id"])


def test_stream_takes_only_the_names_asked_for(server, client):
    stream = Stream(server, "?name=registry.")
    name = unique("quiet")
    client.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n", headers={"Content-Type": "text/csv"})
    wait_until(lambda: logged(client, name), 10, "the event is not in the log")
    stream.socket.settimeout(0.7)
    with pytest.raises(TimeoutError):
        stream.next()
    stream.close()


def test_bad_last_event_id_is_refused(server):
    for last in ("x", "-1", "1x"):
        stream = Stream(server, last=last)
        assert stream.answer.status == 400, last
        stream.close()


# ---- the document of the API


def references(value):
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "$ref":
                yield one
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_reference_of_the_document_leads_somewhere(client):
    document = client.get("/openapi.json").json
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        at = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in at, reference
            at = at[part]


def test_two_plugins_may_use_the_same_name_for_a_schema(client):
    """registry and datasets both have a `version`, with other members."""
    paths = client.get("/openapi.json").json["paths"]

    def answered(path):
        return paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]

    assert answered("/api/v1/models/{name}/versions/{version}") != answered("/api/v1/datasets/{name}/versions/{version}")
