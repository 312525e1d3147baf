"""Whatever a client of another protocol sends to whichever binding: that protocol's error, never a 5xx, and a server that goes on.

Nothing here is written per binding: they and their schemas are read from /openapi.json, as in test_bad_input.py, whose values these are."""
import json
import urllib.parse

import pytest

from test_bad_input import HTTP_METHODS, NOT_INPUTS, Operation, document, first_type, out_of_range  # noqa: F401

NO_INPUTS = {what: body for what, body in NOT_INPUTS.items() if "unknown key" not in what}  # what nobody knows is not looked at


@pytest.fixture(scope="module", autouse=True)
def before(server):
    """How many errors the log has already: the server is shared."""
    return len(list(server.records("error")))


@pytest.fixture(scope="module")
def bindings(document):  # noqa: F811
    schemas = document["components"]["schemas"]
    found = [Operation(method, path, declared, schemas) for path, methods in document["paths"].items()
             for method, declared in methods.items() if method in HTTP_METHODS and declared.get("x-binds")]
    assert len(found) > 20
    return found


def send(client, binding, fields, body=None):
    """As its clients do: in the query for GET, else as JSON, whatever the method."""
    path, rest = binding.path, dict(fields)
    while "{" in path:
        name = path[path.index("{") + 1:path.index("}")]
        path = path.replace(f"{{{name}}}", urllib.parse.quote(str(rest.pop(name, "x")), safe=""))
    if binding.method == "get":
        pairs = [(name, one) for name, value in rest.items() for one in (value if isinstance(value, list) else [value])]
        text = urllib.parse.urlencode([(name, one if isinstance(one, str) else json.dumps(one)) for name, one in pairs])
        return client.call("GET", path + ("?" + text if text else ""))
    return client.call(binding.method.upper(), path, json.dumps(rest).encode() if body is None else body,
                       headers={"Content-Type": "application/json"})


def check(answer, what, statuses):
    assert answer.status in statuses, f"{what}: {answer}"
    if answer.status >= 400:
        assert list(answer.json) == ["error_code", "message"] and answer.json["message"], f"{what}: {answer}"
    return answer


REFUSED = (400, 403, 404, 409, 412, 413)
ANY = (200, *REFUSED)


def test_missing_fields_are_named(client, bindings):
    count = 0
    for binding in bindings:
        for name in binding.required:
            if f"{{{name}}}" in binding.path:
                continue
            fields = binding.valid_input()
            del fields[name]
            answer = check(send(client, binding, fields), f"{binding.name} without {name}", (400,))
            assert answer.json["error_code"] == "INVALID_PARAMETER_VALUE", answer
            assert f"Missing value for required parameter '{name}'" in answer.json["message"], f"{binding.name}: {answer}"
            count += 1
    assert count > 20


def test_wrong_types(client, bindings):
    for binding in bindings:
        for name, schema in binding.fields.items():
            schema = binding.resolve(schema)
            wrong = {"string": 17, "integer": "x", "number": "x", "boolean": "maybe", "object": 1, "array": "x"}.get(first_type(schema))
            if wrong is None or f"{{{name}}}" in binding.path or binding.method == "get" and wrong in (17, 1):
                continue
            statuses = ANY if binding.method == "get" and first_type(schema) == "array" else (400,)
            check(send(client, binding, {**binding.valid_input(), name: wrong}), f"{binding.name}: {name} = {wrong!r}", statuses)


def test_values_out_of_range(client, bindings):
    for binding in bindings:
        for name, schema in binding.fields.items():
            if binding.method == "get" or f"{{{name}}}" in binding.path:
                continue
            for value in out_of_range(binding.resolve(schema)):
                rest = {key: one for key, one in binding.valid_input().items() if key != name and f"{{{key}}}" not in binding.path}
                body = json.dumps(rest)[:-1].encode() + (b"," if rest else b"") + json.dumps(name).encode() + b":" + value + b"}"
                check(send(client, binding, {}, body), f"{binding.name}: {name} = {value[:40]!r}", REFUSED)


def test_bodies_that_are_no_input(client, bindings):
    for binding in bindings:
        if binding.method == "get":
            continue
        for what, body in NO_INPUTS.items():
            check(send(client, binding, binding.valid_input(), body), f"{binding.name}: {what}", (400,))


def test_what_nobody_knows_is_ignored(client, bindings):
    for binding in bindings:
        fields = binding.valid_input()
        plain, more = send(client, binding, fields), send(client, binding, {**fields, "no_such_field": "1"})
        assert more.status < 500 and b"no_such_field" not in more.body, f"{binding.name}: {more}"
        check(plain, binding.name, (*ANY, 201))


def test_both_prefixes_lead_to_the_same(client, bindings):
    for binding in bindings:
        mirror = Operation(binding.method, binding.path.replace("/api/", "/ajax-api/", 1), {"operationId": binding.name}, {})
        assert mirror.path != binding.path
        answer = send(client, mirror, {})
        check(answer, f"{binding.name} below /ajax-api", ANY)
        assert answer.status != 404 or "nothing at" not in answer.json["message"], f"{binding.name}: {answer}"


def test_nothing_of_this_was_an_error_inside(server, before):
    assert list(server.records("error"))[before:] == []
