"""Whatever a client sends to whichever operation: a problem that says what is wrong, never a 5xx, and a server that goes on.

Nothing here is written per operation: the operations and their schemas are read from /openapi.json."""
import json
import threading
import time

import pytest

from daemon import Client, Threads, wait_until

HUGE = 1 << 20
HTTP_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


class Operation:
    """An operation with all its fields: those of the body, the path and the query."""

    def __init__(self, method, path, declared, schemas):
        self.name, self.schemas, self.method, self.path = declared["operationId"], schemas, method, path
        self.fields = {one["name"]: one["schema"] for one in declared.get("parameters", [])}
        self.required = [one["name"] for one in declared.get("parameters", []) if one.get("required") and "default" not in one["schema"]]
        body = declared.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if body:
            body = self.resolve(body)
            self.fields = {**body.get("properties", {}), **self.fields}
            self.required += [name for name in body.get("required", []) if name not in self.required]

    def resolve(self, schema):
        return self.schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema

    def valid(self, schema):
        """A value that the schema takes."""
        schema = self.resolve(schema)
        if "enum" in schema:
            return schema["enum"][0]
        kind = first_type(schema)
        if kind == "object":
            return {name: self.valid(schema["properties"][name]) for name in schema.get("required", [])}
        if kind == "array":
            return [self.valid(schema["items"])] if schema.get("minItems", 0) else []
        if kind == "string":
            if "date-time" == schema.get("format"):
                return "2026-01-01T00:00:00Z"
            return "0" * 64 if "{64}" in schema.get("pattern", "") else "a" * max(1, schema.get("minLength", 1))
        return {"integer": int(max(1, schema.get("minimum", 1))), "number": 1.5, "boolean": True}.get(kind, {})

    def valid_input(self):
        return {name: self.valid(self.fields[name]) for name in self.required}


def first_type(schema):
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    return kind  # None: any value


def wrong_types(schema):
    wrong = {"string": [17, True, [], {}], "integer": ["x", 1.5, True, [], {}, "1"], "number": ["x", True, [], {}, "1"],
             "boolean": ["true", 1, [], {}], "object": ["x", 1, [], True], "array": ["x", 1, {}, True]}
    return wrong.get(first_type(schema), [])


BEYOND_NUMBERS = (b"1e999", b"-1e999", b"1" * 400)


def out_of_range(schema):
    kind, values = first_type(schema), []
    if kind in ("integer", "number"):
        values += BEYOND_NUMBERS
    if kind == "integer":
        values += [b"9223372036854775808", b"-9223372036854775809"]
        values += [str(int(schema["minimum"]) - 1).encode()] if "minimum" in schema else []
        values += [str(int(schema["maximum"]) + 1).encode()] if "maximum" in schema else []
    if kind == "string" and "maxLength" in schema:
        values.append(json.dumps("y" * (schema["maxLength"] + 1)).encode())
    if kind == "string" and "minLength" in schema:
        values.append(b'""')
    if kind == "string" and "enum" in schema:
        values.append(b'"none of these"')
    return values


@pytest.fixture(scope="module")
def document(server):
    client = server.client()
    answer = client.get("/openapi.json")
    client.close()
    assert answer.status == 200
    return answer.json


# Kept by hand: whoever has forgotten their password shows no token.
PUBLIC = {"accounts.confirm_registration", "accounts.forgot_password", "accounts.reset_password", "accounts.verify_email"}


@pytest.fixture(scope="module")
def operations(document, server):
    head = server.client()  # of the log of changes: the first one takes some seconds
    wait_until(lambda: head.op("audit.head").status == 200, 30, "the log of changes has no signed head")
    head.close()
    schemas = document["components"]["schemas"]
    found = [Operation(method, path, declared, schemas) for path, methods in document["paths"].items()
             for method, declared in methods.items() if method in HTTP_METHODS and declared.get("x-operation")]
    assert len(found) >= 30
    return found


def check(answer, what, statuses=(400,), field=None):
    assert answer.status in statuses, f"{what}: {answer}"
    assert answer.headers["Content-Type"] == "application/problem+json", what
    problem = answer.json
    assert problem["type"].startswith("urn:purlin:problem:") and problem["title"] and problem["status"] == answer.status, what
    if field is not None:
        named = [error["field"] for error in problem.get("errors", [])]
        assert any(one == field or one.startswith((field + ".", field + "[", field + "/")) for one in named), f"{what}: names {named}, not {field}: {problem}"
    return problem


def each_call(client, operations, inputs):
    """Calls each operation with each (what, body, statuses, field) that `inputs(operation)` gives; the server lives after each."""
    count = 0
    for operation in operations:
        for what, body, statuses, field in inputs(operation):
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            answer = client.op(operation.name, body, headers={"Content-Type": "application/json"})
            check(answer, f"{operation.name}: {what}", statuses, field)
            count += 1
        assert client.get("/healthz").status == 200
    assert count > 0
    assert client.get("/readyz").status == 200
    return count


def test_wrong_types(client, operations):
    def inputs(operation):
        for name, schema in operation.fields.items():
            for value in wrong_types(operation.resolve(schema)):
                yield f"{name} = {value!r}", {**operation.valid_input(), name: value}, (400,), name

    assert each_call(client, operations, inputs) > 200


def test_null_for_what_is_required(client, operations):
    def inputs(operation):
        for name in operation.required:
            if first_type(operation.resolve(operation.fields[name])) is not None:
                yield f"{name} = null", {**operation.valid_input(), name: None}, (400,), name

    assert each_call(client, operations, inputs) > 20


def test_missing_fields(client, operations):
    def inputs(operation):
        for name in operation.required:
            body = operation.valid_input()
            del body[name]
            yield f"without {name}", body, (400,), name

    assert each_call(client, operations, inputs) > 20


def test_unknown_field(client, operations):
    def inputs(operation):
        yield "an unknown field", {**operation.valid_input(), "no_such_field": 1}, (400,), "no_such_field"

    assert each_call(client, operations, inputs) == len(operations)


def test_values_out_of_range(client, operations):
    def inputs(operation):
        for name, schema in operation.fields.items():
            for value in out_of_range(operation.resolve(schema)):
                rest = {key: one for key, one in operation.valid_input().items() if key != name}
                body = json.dumps(rest)[:-1].encode() + (b"," if rest else b"") + json.dumps(name).encode() + b":" + value + b"}"
                # What no number can hold is no JSON to the reader, which then tells the place instead of the field.
                yield f"{name} = {value[:40]!r}", body, (400,), None if value in BEYOND_NUMBERS else name

    assert each_call(client, operations, inputs) > 100


def test_huge_texts(client, operations):
    def inputs(operation):
        for name, schema in operation.fields.items():
            schema = operation.resolve(schema)
            if first_type(schema) == "string" and "maxLength" in schema:
                yield f"1 MiB in {name}", {**operation.valid_input(), name: "z" * HUGE}, (400, 413), None

    assert each_call(client, operations, inputs) > 20


def test_texts_that_are_no_text(client, operations):
    def inputs(operation):
        for name, schema in operation.fields.items():
            if first_type(operation.resolve(schema)) != "string":
                continue
            rest = json.dumps({**operation.valid_input(), name: "@@"}).encode()
            for what, value in (("bytes that are not UTF-8", b"\xff\xfe"), ("an overlong form", b"\xc0\xaf"), ("half a pair", b"\xed\xa0\x80"),
                                ("a raw NUL", b"\0"), ("half a pair, escaped", b"\\ud800"), ("an unfinished escape", b"\\u12")):
                yield f"{what} in {name}", rest.replace(b"@@", value), (400,), None
            yield f"an escaped NUL in {name}", rest.replace(b"@@", b"\\u0000"), (400,), None

    assert each_call(client, operations, inputs) > 200


NOT_INPUTS = {"no JSON": b"hello", "half an object": b'{"a":', "an array": b"[]", "a text": b'"x"', "a number": b"1", "null": b"null", "true": b"true",
              "two values": b"{}{}", "a trailing comma": b'{"a":1,}', "a comment": b"{/* */}", "single quotes": b"{'a':1}", "NaN": b'{"a":NaN}',
              "only spaces": b"   ", "a byte order mark": b"\xef\xbb\xbf{}", "bare bytes": bytes(range(256)), "NUL": b"\0", "deep": b"[" * 100000,
              "deep and closed": b'{"a":' * 5000 + b"1" + b"}" * 5000, "a duplicate of an unknown key": b'{"a":1,"a":2}'}


def test_bodies_that_are_no_input(client, operations):
    def inputs(operation):
        for what, body in NOT_INPUTS.items():
            yield what, body, (400,), None

    each_call(client, operations, inputs)


def test_duplicate_keys(client, operations):
    def inputs(operation):
        for name in operation.fields:
            value = json.dumps(operation.valid(operation.fields[name]))
            rest = {key: one for key, one in operation.valid_input().items() if key != name}
            start = json.dumps(rest)[:-1] + ("," if rest else "")
            key = json.dumps(name)
            yield f"{name} twice", f"{start}{key}:{value},{key}:{value}}}".encode(), (400,), None

    assert each_call(client, operations, inputs) > 60


def test_empty_body_misses_what_is_required(client, operations):
    for operation in operations:
        answer = client.op(operation.name, b"")
        if operation.required:
            check(answer, operation.name, (400,), operation.required[0])
        elif operation.name.startswith("accounts."):  # the first administrator is a key, and no user; and there is no mail
            assert answer.status in (200, 201, 403, 409), f"{operation.name}: {answer}"
        elif operation.name.startswith("tracking.") and answer.status == 400:
            assert "its name or its id" in check(answer, operation.name)["detail"]
        else:
            assert answer.status in (200, 201), f"{operation.name}: {answer}"


def test_deep_values_where_any_value_goes(client, operations):
    def inputs(operation):
        for name, schema in operation.fields.items():
            if first_type(operation.resolve(schema)) is None:
                body = json.dumps({**operation.valid_input(), name: "@@"}).encode()
                yield f"a deep value in {name}", body.replace(b'"@@"', b"[" * 5000 + b"]" * 5000), (400,), None

    assert each_call(client, operations, inputs) > 2


def test_least_input_never_fails_inside(client, operations):
    """Valid by schema, and of things that are not there: found, made or refused, but never a 5xx."""
    for operation in operations:
        if operation.name == "training.create_job":
            continue  # it would wait for a trainer
        answer = client.op(operation.name, operation.valid_input())
        assert answer.status < 500, f"{operation.name}: {answer}"
        if answer.status >= 400:
            check(answer, operation.name, (400, 403, 404, 409, 412))


def test_other_media_types_are_refused(client, operations):
    for operation in operations:
        answer = client.op(operation.name, b"<a/>", headers={"Content-Type": "text/xml"})
        check(answer, operation.name, (415,))


def test_unknown_operation(client):
    for name in ("nobody.nothing", "registry", "registry.", "..", "%2e%2e", "a" * 4000, "%ff"):
        answer = client.op(name)
        assert answer.status in (400, 404), f"{name[:20]}: {answer}"


@pytest.mark.parametrize("token", [False, "wrong", "Bearer", "Bearer ", "Bearer x" + "y" * 3000, "Basic YTpi", "Bearer ../../etc/passwd", "bearer\t"])
def test_nothing_without_a_token(server, document, operations, token):
    client = Client(server.port, None)
    try:
        guarded = [("POST", f"/api/v1/op/{operation.name}", operation.name) for operation in operations if operation.name not in PUBLIC]
        for path, methods in document["paths"].items():
            plain = path
            while "{" in plain:
                plain = plain[:plain.index("{")] + "x" + plain[plain.index("}") + 1:]
            guarded += [(method.upper(), plain, declared["operationId"]) for method, declared in methods.items()
                        if method in HTTP_METHODS and declared["x-permission"] not in ("public", "callback")
                        and declared["operationId"] != "server.metrics"]  # --dev lets monitors on this host see it: test_monitors.py
        for method, path, name in guarded:
            answer = client.call(method, path, b"{}" if method in ("POST", "PUT") else None, token=token)
            assert answer.status == 401, f"{name}: {answer}"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), name
            if path.startswith("/v2/"):
                assert list(answer.json) == ["error"], name  # a protocol of others
            elif path == "/v1/traces":
                assert list(answer.json) == ["code", "message"] and answer.json["code"] == 16, name
            elif name.startswith("mlflow."):
                assert list(answer.json) == ["error_code", "message"] and answer.json["error_code"] == "UNAUTHENTICATED", name
            else:
                check(answer, name, (401,))
    finally:
        client.close()


def test_callbacks_take_no_admin_token_of_nobody(server, document):
    """A callback's own token is checked by the route: without one, nothing happens."""
    client = Client(server.port, None)
    try:
        for path, methods in document["paths"].items():
            for method, declared in methods.items():
                if method not in HTTP_METHODS or declared["x-permission"] != "callback":
                    continue
                plain = path
                while "{" in plain:
                    plain = plain[:plain.index("{")] + "1" + plain[plain.index("}") + 1:]
                answer = client.call(method.upper(), plain, b"{}" if method in ("post", "put") else None, token=False)
                assert answer.status in (401, 403, 404), f"{declared['operationId']}: {answer}"
    finally:
        client.close()


def test_nothing_of_this_was_an_error_inside(server):
    """Runs last of this file: bad input is the client's fault, so it leaves no error in the log."""
    assert [record for record in server.records("error")] == []


def test_a_large_body_does_not_hold_up_the_others(new_daemon):
    server = new_daemon(configuration="server { loops = 1 }")
    keys = ",".join(f'"{i * 7919 % 1048573:x}":0' for i in range(800_000))
    body = f'{{"name":"demo.nothing","payload":{{{keys}}}}}'.encode()
    assert len(body) < 8 * 1024 * 1024
    shares = []
    for _ in range(5):  # the machine has other things to do, too: the best of some
        answers, done = [time.monotonic()], threading.Event()

        def probe():
            client = server.client()
            while not done.is_set():
                assert client.get("/healthz").status == 200
                answers.append(time.monotonic())
            client.close()

        probing = Threads(probe)
        client = server.client()
        client.get("/healthz")
        began = time.monotonic()
        assert client.post("/api/v1/jobs", body, headers={"Content-Type": "application/json"}).status == 404
        took = time.monotonic() - began
        done.set()
        probing.join()
        client.close()
        gaps = [after - before for before, after in zip(answers, answers[1:])]
        shares.append(max(gaps) / took)
    assert min(shares) < 0.4, f"of the time that a body took, others waited this part at once: {shares}"
