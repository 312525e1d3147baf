"""What somebody of bad will, or of bad luck, does to the plugins: odd names, races, damaged models, what the past left behind."""
import json
import threading
import urllib.parse

import pytest

from daemon import Client, Threads, staged, unique
from models import deploy, infer, model_json, register, tree

COLUMNS = ["a", "b"]
CSV = {"Content-Type": "text/csv"}


def is_problem(answer, status, part=""):
    assert answer.status == status and answer.headers["Content-Type"] == "application/problem+json", answer
    assert part in json.dumps(answer.json, ensure_ascii=False), answer
    return answer.json


def quoted(name):
    return urllib.parse.quote(name, safe="")


def tags_of(run):
    """Its tags but for the one that is its name."""
    return {one["key"]: one["value"] for one in run["tags"] if one["key"] != "mlflow.runName"}


# ---- names

ODD_NAMES = ["ä ö%", "a%2Fb", "名前 ☕", "x?y#z", "a&b=c;d", "'; DROP TABLE registry_models; --", "\\", '"', "%", "_", ".", "..", "\u202egnp", "e\u0301", " "]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_as_they_were(client, name):
    name += unique("-")
    path = quoted(name)
    assert client.post("/api/v1/models", {"name": name}).status == 201
    assert client.get(f"/api/v1/models/{path}").json["name"] == name
    assert client.post("/api/v1/experiments", {"name": name}).status == 201
    assert client.get(f"/api/v1/experiments/{path}").json["name"] == name
    assert client.post(f"/api/v1/datasets/{path}/versions", b"a\n1\n", headers=CSV).json["name"] == name
    assert client.get(f"/api/v1/datasets/{path}/versions/1").json["name"] == name
    run = client.post(f"/api/v1/experiments/{path}/runs", {"name": name}).json["id"]
    batch = {"metrics": [{"key": name, "value": 1}], "parameters": [{"key": name, "value": name}], "tags": [{"key": name, "value": name}]}
    assert client.post(f"/api/v1/runs/{run}/batch", batch).status == 200
    got = client.get(f"/api/v1/runs/{run}").json
    assert got["name"] == name and got["metrics"][0]["key"] == name and got["parameters"] == [{"key": name, "value": name}]
    assert tags_of(got) == {name: name}
    assert client.get(f"/api/v1/runs/{run}/metrics/{path}").json["metrics"][0]["key"] == name


def test_a_space_at_the_end_makes_another_name(client):
    name = unique("pad")
    for one in (name, name + " "):
        path = quoted(one)
        assert client.post("/api/v1/models", {"name": one}).status == 201
        assert client.post("/api/v1/experiments", {"name": one}).status == 201
        assert client.post(f"/api/v1/datasets/{path}/versions", b"a\n1\n", headers=CSV).json["version"] == 1
    assert client.get(f"/api/v1/models/{name}%20%20").status == 404
    run = client.post(f"/api/v1/experiments/{name}/runs", {}).json["id"]
    for key in ("k", "k "):
        assert client.post(f"/api/v1/runs/{run}/metrics", {"key": key, "value": len(key), "step": 1, "at": "2026-01-01T00:00:00Z"}).status == 200
        assert client.post(f"/api/v1/runs/{run}/batch", {"parameters": [{"key": key, "value": key}], "tags": [{"key": key, "value": key}]}).status == 200
    got = client.get(f"/api/v1/runs/{run}").json
    assert [(one["key"], one["value"]) for one in got["metrics"]] == [("k", 1), ("k ", 2)]
    assert [one["value"] for one in got["parameters"]] == ["k", "k "] == [value for key, value in tags_of(got).items()]


def test_labels_of_ids_that_end_in_a_space(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    items = [{"id": name, "label": 1, "inputs": [1, 2], "prediction": 1} for name in ("p", "p ", "p")]
    answer = client.post(f"/api/v1/endpoints/{endpoint}/feedback", {"items": items})
    assert answer.status == 200 and answer.json == {"accepted": 2, "repeated": 1, "labelled": 2}
    answer = client.post(f"/api/v1/endpoints/{endpoint}/feedback", {"items": [{"id": "p  ", "label": 0}]})
    assert answer.status == 200 and answer.json["accepted"] == 1


# ---- what the address says, said again in the body


def test_field_of_the_path_may_stand_in_the_body_too(client):
    name = unique("twice")
    assert client.post("/api/v1/models", {"name": name}).status == 201
    body = {"framework": "xgboost", "sha256": "0" * 64, "size": 1, "signature": {"inputs": [{"name": "a"}]}}
    assert client.post(f"/api/v1/models/{name}/versions", {**body, "name": name}).status == 201
    problem = is_problem(client.post(f"/api/v1/models/{name}/versions", {**body, "name": name + "x"}), 400)
    assert problem["errors"] == [{"field": "name", "message": "is not what the address says"}]
    is_problem(client.post(f"/api/v1/models/{name}/versions", {**body, "name": 7}), 400, "name")
    assert client.put(f"/api/v1/models/{name}/aliases/a", {"name": name, "alias": "a", "version": 1}).status == 200
    is_problem(client.put(f"/api/v1/models/{name}/aliases/a", {"name": name, "alias": "b", "version": 1}), 400, "alias")
    assert client.get(f"/api/v1/models/{name}/versions?name={name}").status == 200
    is_problem(client.get(f"/api/v1/models/{name}/versions?name=other"), 400, "is not what the address says")
    is_problem(client.get(f"/api/v1/models/{name}/versions?limit=1&limit=1"), 400, "twice")


def test_number_of_the_path_may_stand_in_the_body_too(server, client):
    name = unique("numbers")
    client.post(f"/api/v1/datasets/{name}/versions", b"a\n1\n", headers=CSV)
    assert client.get(f"/api/v1/datasets/{name}/versions/1?version=1").status == 200
    is_problem(client.get(f"/api/v1/datasets/{name}/versions/1?version=2"), 400, "version")
    answer = {"endpoint": "nobody", "labelled": 5, "answer": "x"}
    is_problem(client.put("/api/v1/monitors/nobody/alerts/5/answer", answer), 404)
    is_problem(client.put("/api/v1/monitors/nobody/alerts/6/answer", answer), 400, "labelled")


# ---- runs


@pytest.fixture
def run(client):
    experiment = unique("experiment")
    client.post("/api/v1/experiments", {"name": experiment})
    return client.post(f"/api/v1/experiments/{experiment}/runs", {}).json["id"]


def metrics_of(client, run):
    return {one["key"]: (one["step"], one["value"]) for one in client.get(f"/api/v1/runs/{run}").json.get("metrics", [])}


def test_batch_takes_a_thousand_at_most_a_hundred_of_them_no_metrics(client, run):
    metrics = [{"key": f"m{i % 7}", "value": i, "step": i // 7} for i in range(1000)]
    pairs = [{"key": f"k{i}", "value": str(i)} for i in range(100)]
    is_problem(client.post(f"/api/v1/runs/{run}/batch", {"metrics": metrics, "parameters": pairs[:1]}), 400, "1000 metrics, params, and tags")
    assert client.post(f"/api/v1/runs/{run}/batch", {"metrics": metrics}).status == 200
    assert client.post(f"/api/v1/runs/{run}/batch", {"parameters": pairs, "tags": pairs}).status == 200
    got = client.get(f"/api/v1/runs/{run}").json
    assert len(got["parameters"]) == len(tags_of(got)) == 100
    assert metrics_of(client, run) == {f"m{k}": max((one["step"], one["value"]) for one in metrics if one["key"] == f"m{k}") for k in range(7)}
    assert sum(len(client.get(f"/api/v1/runs/{run}/metrics/m{k}").json["metrics"]) for k in range(7)) == 1000
    for over in ({"metrics": metrics + metrics[:1]}, {"parameters": pairs + [{"key": "x", "value": "x"}]}, {"tags": pairs + [{"key": "x", "value": "x"}]}):
        is_problem(client.post(f"/api/v1/runs/{run}/batch", over), 400, "A batch logging request can contain at most")


def test_the_latest_of_a_batch_is_by_step_time_and_value(client, run):
    late, early = "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"
    batch = [{"key": "m", "value": 1, "step": 5, "at": early}, {"key": "m", "value": 9, "step": 4, "at": late}, {"key": "m", "value": 3, "step": 5, "at": late},
             {"key": "m", "value": 2, "step": 5, "at": late}, {"key": "n", "value": -1, "step": -5}]
    assert client.post(f"/api/v1/runs/{run}/batch", {"metrics": batch}).status == 200
    assert metrics_of(client, run) == {"m": (5, 3), "n": (-5, -1)}
    assert client.post(f"/api/v1/runs/{run}/batch", {"metrics": batch[:2]}).status == 200
    assert metrics_of(client, run)["m"] == (5, 3) and len(client.get(f"/api/v1/runs/{run}/metrics/m").json["metrics"]) == 4


def test_parameters_of_a_batch_conflict_with_each_other_and_with_the_past(client, run):
    def batch(*pairs):
        return client.post(f"/api/v1/runs/{run}/batch", {"parameters": [{"key": key, "value": value} for key, value in pairs], "tags": [{"key": "t", "value": str(pairs)[:100]}]})
    is_problem(batch(("a", "1"), ("a", "2")), 400, "Duplicate parameter keys")
    assert "parameters" not in client.get(f"/api/v1/runs/{run}").json or client.get(f"/api/v1/runs/{run}").json["parameters"] == []
    assert batch(("a", "1"), ("b", "é" * 3000)).status == 200
    assert batch(("b", "é" * 3000), ("c", "3")).status == 200
    is_problem(batch(("d", "4"), ("c", "4")), 409, "'c'")
    got = client.get(f"/api/v1/runs/{run}").json
    assert {one["key"]: len(one["value"]) for one in got["parameters"]} == {"a": 1, "b": 3000, "c": 1}
    is_problem(batch(("f", "1"), ("e", "x" * 6001)), 400, "parameters[1].value")


def test_tags_take_8000_bytes_and_the_last_of_a_batch_holds(client, run):
    tags = [{"key": "t", "value": "first"}, {"key": "long", "value": "x" * 8000}, {"key": "t", "value": "last"}]
    assert client.post(f"/api/v1/runs/{run}/batch", {"tags": tags}).status == 200
    assert tags_of(client.get(f"/api/v1/runs/{run}").json) == {"t": "last", "long": "x" * 8000}
    is_problem(client.post(f"/api/v1/runs/{run}/batch", {"tags": tags[:2] + [{"key": "t", "value": "x" * 8001}]}), 400, "tags[2].value")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", "2026-06-30T23:59:60Z", "2026-01-01T00:00:00+14:00"])
def test_times_at_the_edge_are_kept_or_refused(client, run, at):
    answer = client.post(f"/api/v1/runs/{run}/metrics", {"key": "m", "value": 1, "at": at})
    batch = client.post(f"/api/v1/runs/{run}/batch", {"metrics": [{"key": "b", "value": 1, "at": at}]})
    assert answer.status == batch.status and answer.status in (200, 400), (answer, batch)
    if answer.status == 200:
        kept = [client.get(f"/api/v1/runs/{run}/metrics/{key}").json["metrics"][0]["at"] for key in "mb"]
        assert kept[0] == kept[1] and not kept[0].startswith("0000") and (kept[0][:19] == at[:19] or at[19] == "+" or ":60Z" in at)


def test_metrics_of_a_run_at_once_lose_nothing(server, client, run):
    def write(number):
        def go():
            mine = server.client()
            for step in range(30):
                assert mine.post(f"/api/v1/runs/{run}/metrics", {"key": "one", "value": number, "step": step}).status == 200
                batch = {"metrics": [{"key": f"k{k}", "value": number, "step": step} for k in ((0, 1, 2) if number % 2 else (2, 1, 0))],
                         "parameters": [{"key": "p", "value": "same"}], "tags": [{"key": "t", "value": str(number)}]}
                assert mine.post(f"/api/v1/runs/{run}/batch", batch).status == 200
            mine.close()
        return go

    Threads(*map(write, range(6))).join()
    for key in ("one", "k0", "k1", "k2"):
        assert len(client.get(f"/api/v1/runs/{run}/metrics/{key}?limit=25000").json["metrics"]) == 180
        assert metrics_of(client, run)[key][0] == 29


def test_metric_of_no_run_is_not_found(client):
    is_problem(client.post("/api/v1/runs/run_nobody/metrics", {"key": "m", "value": 1}), 404, "run_nobody")
    is_problem(client.post("/api/v1/runs/run_nobody/batch", {"metrics": [{"key": "m", "value": 1}]}), 404, "run_nobody")


# ---- CSV


BAD_CSV = {
    "a field too many": b"a,b\n1,2,3\n", "a field too few": b"a,b\n1\n", "a quote that is not closed": b'a,b\n1,"2\n3,4\n', "text after a quote": b'a,b\n"1"x,2\n',
    "a quote inside": b'a,b\n1"2,3\n', "NUL": b"a,b\n1,\0\n", "a stray return": b"a,b\r1,2\r", "two returns": b"a,b\r\r\n1,2\r\n", "only a header": b"a,b\n",
    "only newlines": b"\n\n\n", "nothing": b"", "a column twice": b"a,a\n1,2\n", "a column without a name": b"a,,c\n1,2,3\n", "a name that is no UTF-8": b"a,\xff\xfe\n1,2\n",
    "a field of 5000 bytes": b"a\n" + b"x" * 5000 + b"\n", "1001 columns": b",".join(b"c%d" % i for i in range(1001)) + b"\n", "a name of 4000 bytes": b"n" * 4000 + b"\n1\n",
    "UTF-16": "a,b\n1,2\n".encode("utf-16"), "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
}


@pytest.mark.parametrize("what", BAD_CSV)
def test_bad_csv_is_refused_in_words(server, client, what):
    name = unique("bad")
    answer = client.post(f"/api/v1/datasets/{name}/versions", BAD_CSV[what], headers=CSV)
    assert len(is_problem(answer, 400)["detail"]) > 10
    assert client.get(f"/api/v1/datasets/{name}/versions/0").status == 404
    assert not staged(server.state / "blobs")


GOOD_CSV = {
    "Windows": (b"a,b\r\n1,2\r\n3,4\r\n", 2), "a byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", 1), "no newline at the end": (b"a,b\n1,2", 1), "blank lines": (b"\na,b\n\n1,2\n\n\n3,4\n\n", 2),
    "everything quoted": (b'"a","b"\n"1","2"\n', 1), "a newline in quotes": (b'a,b\n1,"x\ny"\n', 1), "quotes in quotes": (b'a,b\n1,"say ""hi"""\n', 1), "all missing": (b"a,b\n,\n,\n", 2),
    "one column with holes": (b"a\n1\n\n3\n", 3), "numbers of all kinds": (b"a\n1e308\n-1e308\n0x10\n 5\n1e-320\nnan\ninf\n1e999\n", 8), "not UTF-8 in a value": (b"a,b\n1,\xff\n", 1),
}


@pytest.mark.parametrize("what", GOOD_CSV)
def test_odd_csv_is_taken_and_served_again(client, what):
    body, rows = GOOD_CSV[what]
    name = unique("odd")
    answer = client.post(f"/api/v1/datasets/{name}/versions", body, headers=CSV)
    assert answer.status == 201 and answer.json["row_count"] == rows, answer
    assert client.get(f"/api/v1/datasets/{name}/versions/1/content").body == body
    assert client.get(f"/api/v1/datasets/{name}/versions/1").json["columns"][0]["name"] == "a"


def test_odd_names_of_datasets(client):
    for name in ("n" * 251, "n" * 3000, "ä" * 126):
        is_problem(client.post(f"/api/v1/datasets/{quoted(name)}/versions", b"a\n1\n", headers=CSV), 400, "name")
    for path in ("a%2Fb", "%ff", "a%00b"):
        answer = client.post(f"/api/v1/datasets/{path}/versions", b"a\n1\n", headers=CSV)
        assert answer.status in (400, 404), (path, answer)


def test_wide_data_is_described(client):
    columns = 1000
    body = ",".join(f"{'c' * 200}{i}" for i in range(columns)) + "\n" + "\n".join(",".join(str(i * k / 7) for i in range(columns)) for k in range(20)) + "\n"
    answer = client.post(f"/api/v1/datasets/{unique('wide')}/versions", body.encode(), headers=CSV)
    assert answer.status == 201 and len(answer.json["columns"]) == columns


# ---- models that are none


def hostile_models():
    good = json.dumps(model_json(COLUMNS)).encode()
    yield "nothing", b""
    yield "a byte", b"{"
    yield "text", b"hello"
    yield "NULs", b"\0" * 1000
    yield "UBJSON", b"{L\0\0\0\0\0\0\0\x07learner{"
    for size in (1, 10, len(good) // 4, len(good) // 2, len(good) - 2, len(good) - 1):
        yield f"the first {size} bytes", good[:size]
    yield "more behind it", good + b"x"
    yield "deep", b'{"learner":' + b"[" * 1000000
    yield "deep and closed", b'{"learner":' + b"[" * 100000 + b"]" * 100000 + b"}"
    yield "no trees", json.dumps(model_json(COLUMNS)).replace('"trees"', '"forest"').encode()
    for name, value in (("num_feature", "99999999999999999999"), ("num_feature", "-1"), ("num_feature", 1e300), ("num_class", "1000000000"), ("num_class", "-2"), ("base_score", "nan"),
                        ("base_score", "[]"), ("num_target", "7")):
        model = model_json(COLUMNS)
        model["learner"]["learner_model_param"][name] = value
        yield f"{name} = {value}", json.dumps(model).encode()
    for key, value in (("left_children", [0, -1, -1]), ("left_children", [2147483647, -1, -1]), ("left_children", [-5, -1, -1]), ("right_children", [9, -1, -1]), ("split_indices", [2, 0, 0]),
                       ("split_indices", [4294967295, 0, 0]), ("split_conditions", [0.5]), ("default_left", None), ("left_children", [1, 2, -1]), ("left_children", [[1], -1, -1])):
        yield f"{key} = {value}", json.dumps(model_json(COLUMNS, [{**tree(), key: value}])).encode()


def test_hostile_models_are_refused_and_the_daemon_lives(server, client):
    endpoint, _ = deploy(server, client, COLUMNS)
    for what, data in hostile_models():
        model, version = register(server, client, COLUMNS, data=data)
        answer = client.post("/api/v1/endpoints", {"name": endpoint, "model": model, "version": str(version)})
        assert answer.status == 400 and len(answer.json["detail"]) > 10, (what, answer)
        assert infer(client, endpoint, [[1, 2]]).json["model_version"] == "1", what
    model, version = register(server, client, COLUMNS, data=b"{}", framework="nobody")
    is_problem(client.post("/api/v1/endpoints", {"name": endpoint, "model": model, "version": "1"}), 409, "nobody")
    body = {"framework": "xgboost", "sha256": "f" * 64, "size": 1, "signature": {"inputs": [{"name": "a"}]}}
    client.post(f"/api/v1/models/{model}/versions", body)
    is_problem(client.post("/api/v1/endpoints", {"name": endpoint, "model": model, "version": "2"}), 404, "f" * 64)


def most_memory(server):
    """Of purlind, so far, in bytes."""
    status = open(f"/proc/{server.process.pid}/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_a_large_hostile_model_takes_no_more_memory_than_its_bytes(own_server):
    client = own_server.client()
    data = json.dumps(model_json(COLUMNS, [{**tree(), "left_children": ["@"]}])).replace('"@"', "0," * 16000000 + "0").encode()
    model, _ = register(own_server, client, COLUMNS, data=data)
    before = most_memory(own_server)
    answer = client.post("/api/v1/endpoints", {"name": "large", "model": model, "version": "1"})
    assert "different lengths" in is_problem(answer, 400)["detail"]
    assert most_memory(own_server) - before < 3 * len(data)
    client.close()


def test_a_signature_with_a_column_twice_is_refused(client):
    name = unique("model")
    client.post("/api/v1/models", {"name": name})
    body = {"framework": "xgboost", "sha256": "0" * 64, "size": 1, "signature": {"inputs": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}}
    is_problem(client.post(f"/api/v1/models/{name}/versions", body), 400, "'a'")


def test_metrics_of_a_version_are_an_object(client):
    name = unique("model")
    client.post("/api/v1/models", {"name": name})
    body = {"framework": "xgboost", "sha256": "0" * 64, "size": 1, "signature": {"inputs": [{"name": "a"}]}}
    for wrong in ([], "x", 1, True):
        is_problem(client.post(f"/api/v1/models/{name}/versions", {**body, "metrics": wrong}), 400, "metrics")
    assert client.post(f"/api/v1/models/{name}/versions", {**body, "metrics": {"accuracy": 0.9}}).status == 201


def test_nothing_of_this_was_an_error_inside(server):
    assert [record for record in server.records("error")] == []
