"""The Open Inference Protocol (v2) as its clients see it: addresses, shapes, and errors that are always {"error": "..."}."""
import json

import pytest

from daemon import Client, unique
from models import deploy, infer, register

COLUMNS = ["a", "b"]


@pytest.fixture(scope="module")
def endpoint(server):
    client = server.client()
    name, _ = deploy(server, client, COLUMNS)
    client.close()
    return name


def is_error(answer, status, part=""):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/json", answer.headers
    assert list(answer.json) == ["error"] and part in answer.json["error"] and answer.json["error"], answer
    return answer


def test_server_describes_itself_to_anybody(server):
    client = Client(server.port, None)
    described = client.get("/v2")
    assert described.status == 200 and described.json["name"] == "purlin" and described.json["extensions"] == [] and described.json["version"]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    client.close()


@pytest.mark.parametrize("base", ["/v2/models/{}", "/v2/models/{}/versions/1"])
def test_model_is_described_ready_and_predicts(client, endpoint, base):
    base = base.format(endpoint)
    metadata = client.get(base).json
    assert metadata == {"name": endpoint, "versions": ["1"], "platform": "purlin_xgboost",
                        "inputs": [{"name": column, "datatype": "FP32", "shape": [-1]} for column in COLUMNS],
                        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [-1]}]}
    assert client.get(base + "/ready").json == {"name": endpoint, "ready": True}
    body = {"id": "one", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 7, 0.9, 7]}]}
    assert client.post(base + "/infer", body).json == {
        "model_name": endpoint, "model_version": "1", "id": "one",
        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [2], "data": [-1, 2]}]}


def test_another_version_than_the_one_that_serves_is_not_found(client, endpoint):
    for version in ("2", "0", "01", "x", "1%20", "9" * 30):
        base = f"/v2/models/{endpoint}/versions/{version}"
        is_error(client.get(base), 404, "serves version 1")
        is_error(client.get(base + "/ready"), 404, "serves version 1")
        is_error(client.post(base + "/infer", {"inputs": []}), 404, "serves version 1")


def test_several_outputs_have_a_second_dimension(server, client):
    from models import model_json, tree
    data = json.dumps(model_json(COLUMNS, [tree(), tree(1), tree(low=0)], "multi:softprob", 3)).encode()
    name, _ = deploy(server, client, COLUMNS, data=data)
    assert client.get(f"/v2/models/{name}").json["outputs"][0]["shape"] == [-1, 3]
    output = infer(client, name, [[0, 0], [1, 1]]).json["outputs"][0]
    assert output["shape"] == [2, 3] and len(output["data"]) == 6 and abs(sum(output["data"][:3]) - 1) < 1e-6


def test_index_lists_what_serves(server, client, endpoint):
    other = Client(server.port, server.token_for(unique("empty")))
    assert other.post("/v2/repository/index").json == []
    other.close()
    for body in (None, {}, {"ready": True}):
        answer = client.post("/v2/repository/index", body)
        assert answer.status == 200 and {"name": endpoint, "version": "1", "state": "READY", "reason": ""} in answer.json
    is_error(client.post("/v2/repository/index", {"ready": "yes"}), 400, "ready")
    is_error(client.post("/v2/repository/index", b"{"), 400)


# ---- errors in the protocol's shape


def test_no_token_and_a_wrong_one(server, endpoint):
    client = Client(server.port, None)
    for token in (False, "wrong"):
        for method, path in (("POST", f"/v2/models/{endpoint}/infer"), ("GET", f"/v2/models/{endpoint}"), ("GET", f"/v2/models/{endpoint}/ready"),
                             ("POST", "/v2/repository/index"), ("POST", f"/v2/models/{endpoint}/versions/1/infer")):
            answer = is_error(client.call(method, path, b"{}" if method == "POST" else None, token=f"Bearer {token}" if token else False), 401)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    client.close()


def test_no_permission(server, endpoint):
    client = Client(server.port, server.token_for("default", ["models:read"]))
    is_error(infer(client, endpoint, [[1, 2]]), 403, "models:predict")
    is_error(client.get(f"/v2/models/{endpoint}"), 403, "models:predict")
    client.close()


def test_unknown_addresses_and_methods(client, endpoint):
    is_error(client.get("/v2/models/nobody"), 404, "nobody")
    is_error(client.get("/v2/models/nobody/ready"), 404, "nobody")
    is_error(client.post("/v2/models/nobody/infer", {"inputs": []}), 404, "nobody")
    is_error(client.get("/v2/nothing"), 404, "/v2/nothing")
    is_error(client.get("/v2/models"), 404)
    is_error(client.post(f"/v2/models/{endpoint}/explain", {}), 404)
    answer = is_error(client.get(f"/v2/models/{endpoint}/infer"), 405, "POST")
    assert answer.headers["Allow"] == "POST"
    plain = client.get("/v20/models")
    assert plain.status == 404 and plain.headers["Content-Type"] == "application/problem+json"


def test_too_large(server, endpoint):
    with server.socket() as connection:
        connection.sendall((f"POST /v2/models/{endpoint}/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
                            "Content-Length: 99999999999\r\n\r\n").encode())
        answer = b""
        while b'"}' not in answer:
            received = connection.recv(4096)
            assert received, answer
            answer += received
    assert answer.startswith(b"HTTP/1.1 413") and b'{"error":"the body has 99999999999 bytes' in answer


def test_binary_tensors_are_refused_by_name(client, endpoint):
    answer = client.post(f"/v2/models/{endpoint}/infer", b"{}\0\0\0\0", headers={"Inference-Header-Content-Length": "2"})
    is_error(answer, 415, "binary")


def test_errors_are_documented(client):
    document = client.get("/openapi.json").json
    declared = document["paths"]["/v2/models/{name}/infer"]["post"]["responses"]["default"]
    assert "Open Inference" in declared["description"]
    assert declared["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]
    assert "$ref" in document["paths"]["/api/v1/models"]["get"]["responses"]["default"]


# ---- tensors of bad will


def tensor(**changes):
    return {"inputs": [{**{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}, **changes}]}


HOSTILE = {
    "fewer values than the shape": tensor(shape=[2, 2]),
    "more values than the shape": tensor(data=[1, 2, 3]),
    "no data": tensor(data=[]),
    "a huge dimension": tensor(shape=[10**12, 2]),
    "dimensions whose product overflows": tensor(shape=[2**62, 4]),
    "2^64": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[18446744073709551616,2],"data":[1]}]}',
    "a negative dimension": tensor(shape=[-1, 2]),
    "minus zero rows": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[-0,2],"data":[]}]}',
    "no rows": tensor(shape=[0, 2], data=[]),
    "half a row": tensor(shape=[0.5, 2]),
    "a dimension that is no number": tensor(shape=["1", 2]),
    "no dimensions": tensor(shape=[]),
    "three dimensions": tensor(shape=[1, 1, 2]),
    "other columns": tensor(shape=[1, 3], data=[1, 2, 3]),
    "more rows than are taken": tensor(shape=[1000000, 2]),
    "infinity": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[Infinity,1]}]}',
    "minus infinity": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[-Infinity,1]}]}',
    "beyond floats": tensor(data=[1e39, 1]),
    "beyond doubles": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1e999,1]}]}',
    "ragged rows": tensor(shape=[2, 2], data=[[1, 2], [3]]),
    "a text": tensor(data=["1", "2"]),
    "an object": tensor(data=[{}, {}]),
    "nested too deep": tensor(data=[[[1, 2]]]),
    "BYTES": tensor(datatype="BYTES"),
    "no datatype": {"inputs": [{"name": "x", "shape": [1, 2], "data": [1, 2]}]},
    "one column of two": {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}]},
    "a column twice": {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}] * 2},
    "columns of different lengths": {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]},
                                                {"name": "b", "datatype": "FP32", "shape": [2], "data": [1, 2]}]},
    "a matrix and a column": {"inputs": [tensor()["inputs"][0], {"name": "b", "datatype": "FP32", "shape": [1], "data": [1]}]},
    "no inputs": {}, "inputs that are no list": {"inputs": {}}, "a list": b"[]", "nothing": b"", "two objects": b"{}{}",
    "deep": b'{"parameters":' + b"[" * 100000, "a name of bytes": b'{"inputs":[{"name":"\xff\xfe","datatype":"FP32","shape":[1],"data":[1]}]}',
    "a long name": tensor(name="ä" * 5000, shape=[1], data=[1]), "an odd datatype": tensor(datatype="\u0001\"\\"),
    "a long id": {"id": "x" * 101, **tensor()}, "an id with a space": {"id": "a b", **tensor()}, "bytes in a datatype": b'{"inputs":[{"name":"x","datatype":"\xc3\x28"}]}',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_tensors_are_refused_in_words(client, endpoint, what):
    answer = client.post(f"/v2/models/{endpoint}/infer", HOSTILE[what], headers={"Content-Type": "application/json"})
    is_error(answer, 400)
    assert infer(client, endpoint, [[1, 2]]).status == 200


@pytest.mark.parametrize("text", [b"null", b"NaN"])
def test_missing_values_are_taken(client, endpoint, text):
    answer = client.post(f"/v2/models/{endpoint}/infer", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[' + text + b",1]}]}")
    assert answer.status == 200 and answer.json["outputs"][0]["data"] == [-1]  # a missing value goes left


def test_many_rows_at_once(client, endpoint):
    rows = 100000
    answer = client.post(f"/v2/models/{endpoint}/infer", tensor(shape=[rows, 2], data=[row % 2 for row in range(rows) for _ in (0, 1)]))
    assert answer.status == 200 and answer.json["outputs"][0]["data"] == [-1, 2] * (rows // 2)


def test_endpoints_with_odd_names_serve(server, client):
    import urllib.parse
    for name in ("ä ö%/".replace("/", ""), "a%2Fb", "名前", "x?y#z", "a&b=c", "'; DROP TABLE serving_endpoints; --", "\\", '"quoted"', "n" * 250, unique("tail") + " "):
        deploy(server, client, COLUMNS, endpoint=name)
        path = urllib.parse.quote(name, safe="")
        assert client.get(f"/v2/models/{path}").json["name"] == name
        assert infer(client, path, [[1, 2]]).json["model_name"] == name
        is_error(client.get(f"/v2/models/{path}%20"), 404)


def test_name_that_is_too_long_or_has_a_slash(server, client):
    model, _ = register(server, client, COLUMNS)
    for name in ("n" * 251, "a/b", "a:b", "a@b", ""):
        assert client.post("/api/v1/endpoints", {"name": name, "model": model, "version": "1"}).status == 400, name
    is_error(client.get("/v2/models/" + "n" * 5000), 404)
    is_error(client.get("/v2/models/a%2Fb"), 404)
    is_error(client.get("/v2/models/%ff"), 404)
