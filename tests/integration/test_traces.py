"""Traces by our own addresses and by OpenTelemetry's protocol: what is told comes back, once, to whom it may, and nothing else gets in."""
import gzip
import json
import math
import random
import zlib

import pytest

import otlp
from daemon import Client, unique, wait_until

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def new_id():
    return "%032x" % random.getrandbits(128)


def new_span():
    return "%016x" % random.getrandbits(64)


def ok(answer):
    assert answer.status in (200, 201), answer
    return answer.json


@pytest.fixture(scope="module")
def experiment(server):
    client = server.client()
    made = ok(client.post("/api/v1/experiments", {"name": unique("traced")}))["id"]
    client.close()
    return made


def start(client, experiment, **more):
    return ok(client.post("/api/v1/traces", {"id": "tr-" + new_id(), "experiment_id": experiment, "state": "ok", **more}))


def find(client, experiment, condition="", **more):
    return ok(client.post("/api/v1/traces/search", {"experiment_ids": [experiment], "condition": condition, **more}))


def ids(page):
    return [t["id"] for t in page["traces"]]


def export(client, body, experiment=None, headers=None):
    more = {"x-mlflow-experiment-id": experiment} if experiment else {}
    return client.post("/v1/traces", body, headers={**PROTOBUF, **more, **(headers or {})})


# ---- Traces ------------------------------------------------------------------------------------------------------------------------


def test_what_is_told_comes_back_and_once_more_is_the_same(client, experiment):
    told = {"id": "tr-" + new_id(), "experiment_id": experiment, "state": "error", "request_time": "2026-01-02T03:04:05.678Z", "execution_ms": 1500,
            "request_preview": "what?", "response_preview": "ü", "client_request_id": "c1",
            "tags": [{"key": "mlflow.traceName", "value": "f"}, {"key": "stage", "value": ""}],
            "metadata": [{"key": "mlflow.trace.session", "value": "s"}],
            "assessments": [{"name": "good", "value": {"a": [1]}, "created_at": "2026-01-02T03:04:06Z", "metadata": [{"key": "k", "value": "v"}]}]}
    first = ok(client.post("/api/v1/traces", told))
    again = ok(client.post("/api/v1/traces", told))
    for trace in (first, again, ok(client.get(f"/api/v1/traces/{told['id']}"))):
        for key in ("id", "experiment_id", "state", "request_time", "execution_ms", "request_preview", "response_preview", "tags", "metadata"):
            assert trace[key] == told[key], key
        assert trace["name"] == "f" and not trace["has_spans"] and len(trace["assessments"]) == 1
        assert trace["assessments"][0]["value"] == {"a": [1]} and trace["assessments"][0]["metadata"] == [{"key": "k", "value": "v"}]
        assert trace["artifact_location"].endswith(f"{experiment}/traces/{told['id']}/artifacts")


def test_a_trace_that_begins_may_end(client, experiment):
    trace = ok(client.post("/api/v1/traces", {"experiment_id": experiment, "request_time": "2026-01-02T03:04:05Z"}))
    assert trace["state"] == "in_progress" and trace.get("execution_ms") is None
    ended = ok(client.post(f"/api/v1/traces/{trace['id']}/end", {"ended_at": "2026-01-02T03:04:07.5Z", "tags": [{"key": "a", "value": "b"}]}))
    assert ended["state"] == "ok" and ended["execution_ms"] == 2500 and ended["tags"] == [{"key": "a", "value": "b"}]


def test_tags_are_set_and_deleted(client, experiment):
    trace = start(client, experiment)["id"]
    for value in ("one", "two", "x" * 9000):
        tagged = ok(client.put(f"/api/v1/traces/{trace}/tags/k", {"value": value}))
        assert tagged["tags"] == [{"key": "k", "value": value[:8000]}]
    assert client.delete(f"/api/v1/traces/{trace}/tags/k").status == 200
    assert client.delete(f"/api/v1/traces/{trace}/tags/k").status == 404
    assert client.put(f"/api/v1/traces/{trace}/tags/{'k' * 251}", {"value": "v"}).status == 400


def test_assessments_are_made_changed_overridden_and_deleted(client, experiment):
    trace = start(client, experiment)["id"]
    base = f"/api/v1/traces/{trace}/assessments"
    first = ok(client.post(base, {"name": "good", "value": False, "source_id": "bob", "metadata": [{"key": "a", "value": "1"}]}))
    changed = ok(client.call("PATCH", f"{base}/{first['id']}", {"rationale": "since", "metadata": [{"key": "b", "value": "2"}]}))
    assert changed["value"] is False and changed["rationale"] == "since" and len(changed["metadata"]) == 2
    assert client.call("PATCH", f"{base}/{first['id']}", {"kind": "expectation", "value": 1}).status == 400
    second = ok(client.post(base, {"name": "good", "value": True, "overrides": first["id"]}))
    assert ok(client.get(f"{base}/{first['id']}"))["valid"] is False
    assert ok(client.delete(f"{base}/{second['id']}")) == {}
    assert ok(client.get(f"{base}/{first['id']}"))["valid"] is True
    assert client.post(base, {"name": "good", "value": 1, "overrides": "a-none"}).status == 404
    assert client.post(base, {"name": "good"}).status == 400
    assert client.get(f"{base}/a-none").status == 404
    told = {"name": "once", "value": 1, "created_at": "2026-01-02T03:04:05Z"}
    assert ok(client.post(base, told))["id"] == ok(client.post(base, told))["id"]


def test_searches_find_by_every_key(client):
    where = ok(client.post("/api/v1/experiments", {"name": unique("sought")}))["id"]
    a = start(client, where, request_time="2026-01-01T00:00:01Z", execution_ms=100, tags=[{"key": "stage", "value": "test"}],
              metadata=[{"key": "mlflow.trace.session", "value": "s"}, {"key": "mlflow.sourceRun", "value": "run_a"}])["id"]
    b = start(client, where, request_time="2026-01-01T00:00:02Z", execution_ms=200, state="error", client_request_id="c",
              tags=[{"key": "mlflow.traceName", "value": "named"}])["id"]
    for condition, found in {"": [b, a], "trace.status = 'OK'": [a], "status = 'ERROR'": [b], "tags.stage = 'test'": [a], "name = 'named'": [b],
                             "tag.`mlflow.traceName` LIKE 'na%'": [b], "execution_time > 150": [b], "timestamp_ms <= 1767225601000": [a],
                             "end_time_ms > 1767225602100": [b], "metadata.`mlflow.trace.session` = 's'": [a], "run_id = 'run_a'": [a],
                             "client_request_id = 'c'": [b], f"request_id IN ('{a}')": [a], "tags.stage IS NULL": [b], "session = 's' OR name = 'named'": [b, a],
                             f"experiment_id = '{where}x'": []}.items():
        assert ids(find(client, where, condition)) == found, condition
    assert ids(find(client, where, order="execution_time ASC")) == [a, b]
    page = find(client, where, limit=1)
    assert ids(page) == [b] and ids(find(client, where, limit=1, page=page["next_page_token"])) == [a]
    assert client.post("/api/v1/traces/search", {"experiment_ids": [where], "condition": "nonsense = 1"}).status == 400
    assert ids(ok(client.post("/api/v1/traces/get", {"trace_ids": [a, "tr-none", b, a]}))) == [a, b]
    ok(client.post("/api/v1/traces/links", {"trace_ids": [b, "tr-none"], "run_id": "run_b"}))
    assert ids(find(client, where, "run_id = 'run_b'")) == [b]


def test_traces_are_deleted_by_id_and_by_age(client):
    where = ok(client.post("/api/v1/experiments", {"name": unique("gone")}))["id"]
    made = [start(client, where, request_time=f"2026-01-01T00:00:0{i}Z", tags=[{"key": "a", "value": "b"}])["id"] for i in range(1, 6)]
    delete = lambda **more: client.post("/api/v1/traces/delete", {"experiment_id": where, **more})  # noqa: E731
    assert ok(delete(trace_ids=[made[4], "tr-none"]))["deleted"] == 1
    assert ok(delete(until="2026-01-01T00:00:04Z", most=1))["deleted"] == 1
    assert ids(find(client, where)) == [made[3], made[2], made[1]]
    assert ok(delete(until="2026-01-01T00:00:03Z"))["deleted"] == 2
    assert ids(find(client, where)) == [made[3]]
    for wrong in ({}, {"trace_ids": ["x"], "until": "2026-01-01T00:00:00Z"}, {"trace_ids": ["x"], "most": 1}, {"until": "2026-01-01T00:00:00Z", "most": 0}):
        assert delete(**wrong).status == 400, wrong


def test_traces_of_another_workspace_are_their_own(server, client, experiment):
    other = Client(server.port, server.token_for(unique("apart")))
    id = "tr-" + new_id()
    start(client, experiment, id=id, request_preview="ours")
    assert other.get(f"/api/v1/traces/{id}").status == 404
    where = ok(other.post("/api/v1/experiments", {"name": "theirs"}))["id"]
    start(other, where, id=id, request_preview="theirs", tags=[{"key": "whose", "value": "theirs"}])
    assert ok(client.get(f"/api/v1/traces/{id}"))["request_preview"] == "ours"
    assert ids(find(client, experiment, f"request_id = '{id}' AND tags.whose = 'theirs'")) == []
    assert find(other, experiment)["traces"] == []
    assert ok(other.post("/api/v1/traces/delete", {"experiment_id": where, "trace_ids": [id]}))["deleted"] == 1
    assert client.get(f"/api/v1/traces/{id}").status == 200
    other.close()


# ---- OpenTelemetry ------------------------------------------------------------------------------------------------------------------

VALUES = {"text": "ü \"quoted\" \\ \n\u2028", "empty": "", "yes": True, "no": False, "int": -7, "largest": 2**63 - 1, "smallest": -2**63, "double": 0.1,
          "whole": 5.0, "tiny": 5e-324, "bytes": b"\x00\xff\xfe", "nothing": None, "list": [1, "a", None, [2.5], {}], "object": {"a": {"b": [True]}, "": 1}}


def plain(value):
    """A value in OTLP's JSON as Python's."""
    if not value:
        return None
    (kind, inner), = value.items()
    if kind == "intValue":
        return int(inner)
    if kind == "doubleValue":
        return float(inner)
    if kind == "bytesValue":
        import base64
        return base64.b64decode(inner)
    if kind == "arrayValue":
        return [plain(v) for v in inner.get("values", [])]
    if kind == "kvlistValue":
        return {p["key"]: plain(p["value"]) for p in inner.get("values", [])}
    return inner


def test_spans_in_protocol_buffers_come_back_as_they_were(client, experiment):
    trace, root, child = new_id(), new_span(), new_span()
    event = otlp.message((1, ("fixed64", 123)), (2, "thrown"), (3, otlp.pair("why", "ü")))
    link = otlp.message((1, bytes.fromhex(new_id())), (2, bytes.fromhex(root)), (4, otlp.pair("n", 1)))
    more = otlp.message((11, event), (13, link), (99, "of a later release"), (98, 5), (97, ("fixed32", 1)))
    body = otlp.request(otlp.span(trace, root, "root", attributes={**VALUES, "nan": math.nan, "inf": -math.inf}, more=more),
                        otlp.span(trace, child, "child", start=1_700_000_000_000_000_500, parent=root, status=2), resource={"service.name": "shop"})
    for _ in range(2):  # a retry writes nothing twice
        answer = export(client, body, experiment)
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-protobuf" and answer.body == b""
    page = ok(client.get(f"/api/v1/traces/tr-{trace}/spans"))
    first, second = page["spans"]
    assert (first["span_id"], first["name"], first["status"], first["kind"], first["start_ns"], first["end_ns"]) == (
        root, "root", "ok", 1, 1_700_000_000_000_000_000, 1_700_000_000_001_000_000)
    assert second["parent_id"] == root and second["status"] == "error" and page["next_page_token"] == ""
    back = {p["key"]: plain(p["value"]) for p in first["attributes"]}
    assert math.isnan(back.pop("nan")) and back.pop("inf") == -math.inf
    assert back == VALUES and all(type(back[k]) is type(VALUES[k]) for k in VALUES)
    assert first["events"] == [{"timeUnixNano": "123", "name": "thrown", "attributes": [{"key": "why", "value": {"stringValue": "ü"}}]}]
    assert first["links"][0]["spanId"] == root and first["scope"] == {"name": "hand"}
    assert first["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    trace = ok(client.get(f"/api/v1/traces/tr-{trace}"))
    assert trace["state"] == "ok" and trace["name"] == "root" and trace["has_spans"] and {"key": "service.name", "value": "shop"} in trace["tags"]


def test_spans_in_json_come_back_as_they_were(client, experiment):
    trace, root = new_id(), new_span()
    attributes = [{"key": "int", "value": {"intValue": 5}}, {"key": "text", "value": {"intValue": "6"}}, {"key": "double", "value": {"doubleValue": "1e3"}},
                  {"key": "old", "value": {"string_value": "x"}}]
    sent = {"traceId": trace.upper(), "spanId": root, "name": "r", "kind": 2, "startTimeUnixNano": "1700000000000000001", "endTimeUnixNano": 1700000000000000009,
            "attributes": attributes, "status": {"code": 2, "message": "broken"}, "later": {"a": []}}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [sent]}]}]}
    answer = client.post("/v1/traces", body, headers={"x-mlflow-experiment-id": experiment})
    assert answer.status == 200 and answer.json == {} and answer.headers["Content-Type"] == "application/json"
    span, = ok(client.get(f"/api/v1/traces/tr-{trace}/spans"))["spans"]
    assert span["start_ns"] == 1700000000000000001 and span["end_ns"] == 1700000000000000009 and span["status_message"] == "broken"
    assert {p["key"]: plain(p["value"]) for p in span["attributes"]} == {"int": 5, "text": 6, "double": 1000.0, "old": "x"}
    assert ok(client.get(f"/api/v1/traces/tr-{trace}"))["state"] == "error"


def test_without_a_header_spans_go_to_default(client):
    trace = new_id()
    assert export(client, otlp.request(otlp.span(trace, new_span(), "plain"))).status == 200
    assert ok(client.get(f"/api/v1/traces/tr-{trace}"))["experiment_id"] == "0"


def test_compressed_bodies_are_read_and_bombs_are_not(client, experiment):
    for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda b: zlib.compress(b)[2:-4]),
                           ("gzip", lambda b: gzip.compress(b[:10]) + gzip.compress(b[10:]))):
        trace = new_id()
        body = otlp.request(otlp.span(trace, new_span(), "x" * 100000))
        assert export(client, pack(body), experiment, {"Content-Encoding": encoding}).status == 200, encoding
        assert client.get(f"/api/v1/traces/tr-{trace}").status == 200
    bomb = gzip.compress(b"\0" * (200 << 20))
    answer = export(client, bomb, experiment, {"Content-Encoding": "gzip"})
    assert answer.status == 413 and b"16777216" in answer.body
    for broken in (b"", b"\x1f\x8b", gzip.compress(body)[:-9], b"plain"):
        assert export(client, broken, experiment, {"Content-Encoding": "gzip"}).status == 400, broken
    assert export(client, body, experiment, {"Content-Encoding": "br"}).status == 415
    assert export(client, body, experiment, {"Content-Type": "text/plain"}).status == 415


def test_wrong_spans_are_counted_and_the_others_kept(client, experiment):
    trace, good = new_id(), new_span()
    wrong = [otlp.span("00" * 16, new_span(), "zero"), otlp.span("ab", new_span(), "short"), otlp.span(trace, "00" * 8, "zero"), b"\xff\xff",
             otlp.span(trace, new_span(), "late", start=2**63), otlp.span(trace, new_span(), "deep", more=otlp.field(9, deep(300)))]
    answer = export(client, otlp.request(otlp.span(trace, good, "good"), *wrong), experiment)
    assert answer.status == 200 and answer.body[:1] == b"\x0a"
    assert answer.body[2:4] == b"\x08\x06" and b"trace id" in answer.body
    assert [s["span_id"] for s in ok(client.get(f"/api/v1/traces/tr-{trace}/spans"))["spans"]] == [good]
    spans = [{"traceId": trace, "spanId": new_span(), "startTimeUnixNano": "1"}, {"traceId": "zz", "spanId": 5},
             {"traceId": trace, "spanId": new_span(), "attributes": [{"key": "a", "value": {"intValue": "x"}}]}]
    answer = client.post("/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, headers={"x-mlflow-experiment-id": experiment})
    assert answer.json["partialSuccess"]["rejectedSpans"] == "2"


def deep(levels):
    value = otlp.any_value(1)
    for _ in range(levels):
        value = otlp.message((5, otlp.field(1, value)))
    return otlp.message((1, "deep"), (2, value))


def test_what_is_no_request_is_refused_in_its_encoding(client, experiment):
    for broken in (b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08" + b"\xff" * 11, b"\x0b", b"\x0a\x05\x12\x7f", otlp.request()[:-1]):
        answer = export(client, broken, experiment)
        assert answer.status == 400 and answer.headers["Content-Type"] == "application/x-protobuf" and answer.body[:2] == b"\x08\x03", broken
    for broken in (b"", b"{", b"[]", b'{"resourceSpans":5}', b'{"resourceSpans":' + b"[" * 5000):
        answer = client.post("/v1/traces", broken, headers={"Content-Type": "application/json"})
        assert answer.status == 400 and answer.json["code"] == 3 and answer.json["message"], broken
    answer = export(client, otlp.request(otlp.span(new_id(), new_span(), "x")), "exp_none")
    assert answer.status == 404 and answer.body[:2] == b"\x08\x05"
    nobody = Client(client.connection.port, None)
    answer = export(nobody, b"")
    assert answer.status == 401 and answer.json["code"] == 16
    nobody.close()


def test_random_bytes_break_nothing(client, experiment):
    rng = random.Random(7)
    good = otlp.request(otlp.span(new_id(), new_span(), "x", attributes=VALUES), resource={"a": VALUES})
    for _ in range(150):
        body = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        assert export(client, bytes(body[:rng.randrange(len(body)) + 1]), experiment).status in (200, 400)


def test_what_spans_used_is_what_their_trace_used(client, experiment):
    trace, root, a, b = new_id(), new_span(), new_span(), new_span()
    usage = lambda i, o: {"mlflow.chat.tokenUsage": {"input_tokens": i, "output_tokens": o, "total_tokens": i + o},  # noqa: E731
                          "mlflow.llm.cost": {"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75}}
    tell = lambda *spans: export(client, otlp.request(*spans), experiment)  # noqa: E731
    assert tell(otlp.span(trace, a, "a", parent=root, attributes=usage(1, 2)), otlp.span(trace, b, "b", parent=root, attributes=usage(10, 20))).status == 200
    metadata = lambda: {p["key"]: p["value"] for p in ok(client.get(f"/api/v1/traces/tr-{trace}"))["metadata"]}  # noqa: E731
    assert json.loads(metadata()["mlflow.trace.tokenUsage"]) == {"input_tokens": 11, "output_tokens": 22, "total_tokens": 33}
    assert json.loads(metadata()["mlflow.trace.cost"])["total_cost"] == 1.5
    assert tell(otlp.span(trace, root, "root", attributes={**usage(11, 22), "session.id": "s", "user.id": "u"})).status == 200  # says it for all
    assert json.loads(metadata()["mlflow.trace.tokenUsage"])["total_tokens"] == 33
    assert metadata()["mlflow.trace.session"] == "s" and metadata()["mlflow.trace.user"] == "u"
    usage = [{"key": "mlflow.trace.tokenUsage", "value": '{"input_tokens": 1}'}]
    start(client, experiment, id=f"tr-{trace}", metadata=usage)
    assert tell(otlp.span(trace, a, "a", parent=root, attributes={"gen_ai.usage.input_tokens": 5})).status == 200
    assert metadata()["mlflow.trace.tokenUsage"] == '{"input_tokens": 1}'  # the client's word


def test_large_traces_come_in_pages(client, experiment):
    trace = new_id()
    spans = [otlp.span(trace, "%016x" % (i + 1), f"s{i}", start=10**18 + i // 3, attributes={"text": "x" * 3000}) for i in range(2500)]
    assert export(client, gzip.compress(otlp.request(*spans), 1), experiment, {"Content-Encoding": "gzip"}).status == 200
    seen, page, pages = [], "", 0
    while True:
        got = ok(client.get(f"/api/v1/traces/tr-{trace}/spans?limit=2000&page={page}"))
        seen, page, pages = seen + [s["name"] for s in got["spans"]], got["next_page_token"], pages + 1
        if not page:
            break
    assert seen == [f"s{i}" for i in range(2500)] and pages >= 2
    assert client.get(f"/api/v1/traces/tr-{trace}/spans?page=x").status == 400
    many = otlp.request(*[otlp.span(trace, "%016x" % (i + 1), "") for i in range(10001)])
    assert export(client, many, experiment).status == 413


def test_what_makes_no_sense_is_kept_as_it_is(client, experiment):
    trace, a, b = new_id(), new_span(), new_span()
    spans = [otlp.span(trace, a, "first"), otlp.span(trace, a, "second", parent=b), otlp.span(trace, b, "x" * (1 << 20), parent=a),
             otlp.span(trace, new_span(), "backwards", start=10**18, took=-10**17), otlp.span(trace, new_span(), "", parent="00" * 8)]
    answer = export(client, otlp.request(*spans, resource={"r" * 5000: "x", "r": "y" * 100000}), experiment)
    assert answer.status == 200 and answer.body == b"", answer
    names = {s["span_id"]: s["name"] for s in ok(client.get(f"/api/v1/traces/tr-{trace}/spans"))["spans"]}
    assert len(names) == 4 and names[a] == "second" and set(names[b]) == {"x"} and "backwards" in names.values()
    usage = {"gen_ai.usage.input_tokens": 1}
    assert export(client, otlp.request(otlp.span(trace, a, "", parent=b, attributes=usage), otlp.span(trace, b, "", parent=a, attributes=usage)),
                  experiment).status == 200  # a ring
    assert ok(client.get(f"/api/v1/traces/tr-{trace}"))["id"] == f"tr-{trace}"


def test_huge_counts_are_bounded(client, experiment):
    trace = new_id()
    many = otlp.span(trace, new_span(), "many", more=b"".join(otlp.field(9, otlp.pair(f"k{i}", i)) for i in range(50_000)))
    events = otlp.span(trace, new_span(), "events", more=otlp.field(11, otlp.message((2, "e"))) * 100_000)
    empty = otlp.span(trace, new_span(), "empty", more=otlp.field(9, b"") * 400_000)
    for span in (many, events, empty):
        assert export(client, otlp.request(span), experiment).status in (200, 413)
    assert export(client, b"\x0a\x00" * 1_000_000, experiment).status in (200, 413)
    assert export(client, otlp.request(*[otlp.span(new_id(), new_span(), f"t{i}") for i in range(2000)]), experiment).status == 200
    assert client.get("/readyz").status == 200


def test_files_of_traces_go_with_them(server, client):
    where = ok(client.post("/api/v1/experiments", {"name": unique("files")}))["id"]
    kept, *gone = [start(client, where, request_time=f"2026-01-01T00:00:0{9 - n}Z")["id"] for n in range(3)]
    for trace in (kept, *gone):
        assert client.put(f"/api/v1/artifacts/trace/{trace}/traces.json", trace.encode()).status in (200, 201)
    assert ok(client.post("/api/v1/traces/delete", {"experiment_id": where, "trace_ids": gone[:1]})) == {"deleted": 1}
    assert ok(client.post("/api/v1/traces/delete", {"experiment_id": where, "until": "2026-01-01T00:00:07Z"})) == {"deleted": 1}
    owners = f"SELECT owner FROM artifacts_owners WHERE owner IN ('{kept}', '{gone[0]}', '{gone[1]}')"
    wait_until(lambda: server.sql(owners) == [[kept]], 20, "files of deleted traces are still there")
    assert server.sql(f"SELECT owner FROM artifacts_files WHERE owner IN ('{kept}', '{gone[0]}', '{gone[1]}')") == [[kept]]
    assert client.get(f"/api/v1/artifacts/trace/{kept}/traces.json").body == kept.encode()


def test_searches_use_indexes(server, client):
    """Newest first needs no sorting, few are found by what they have, and spans are looked at for the traces of the experiment only."""
    where = ok(client.post("/api/v1/experiments", {"name": unique("indexed")}))["id"]
    server.sql("INSERT INTO traces_traces (workspace, project, experiment_id, id, state, request_time, told, artifact_location)"
               f" SELECT 'default', 'default', '{where}', CONCAT('tr-x', seq), 'ok', '2026-01-01' + INTERVAL seq SECOND, 1, '' FROM seq_1_to_5000")
    server.sql("INSERT INTO traces_tags SELECT workspace, project, number, 'rare', IF(number % 1000, number, 'found') FROM traces_traces"
               f" WHERE experiment_id = '{where}'")
    server.sql("ANALYZE TABLE traces_traces, traces_tags")
    page = find(client, where, limit=3)
    assert ids(page) == ["tr-x5000", "tr-x4999", "tr-x4998"] and ids(find(client, where, page=page["next_page_token"], limit=2)) == ["tr-x4997", "tr-x4996"]
    assert ids(find(client, where, order="timestamp", limit=2)) == ["tr-x1", "tr-x2"] and len(ids(find(client, where, "tags.rare = 'found'"))) == 5
    plan = lambda more, order: server.sql(f"EXPLAIN SELECT t.number FROM traces_traces t WHERE t.workspace = 'default' AND t.experiment_id = '{where}'"  # noqa: E731
                                          f" {more} ORDER BY t.request_time {order}, t.number {order} LIMIT 101")
    for order in ("", "DESC"):
        assert "by_time" in str(plan("", order)) and "filesort" not in str(plan("", order))
    assert "by_value" in str(plan("AND EXISTS (SELECT 1 FROM traces_tags x WHERE x.trace = t.number AND x.name = 'rare' AND x.workspace = 'default'"
                                  " AND x.value = 'found')", "DESC"))
    spans = str(plan("AND ((SELECT COUNT(*) FROM traces_spans s WHERE s.trace = t.number AND s.name = 'x'))", "DESC"))
    assert "DEPENDENT" in spans and "MATERIALIZED" not in spans
