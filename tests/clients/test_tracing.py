"""Traces: what the client's decorators and context managers record, searches over them, tags, assessments, deletion, and OpenTelemetry's exporter."""
import json
import os
import threading
import time

import mlflow
import pytest
from conftest import MAJOR, pages
from mlflow.entities import SpanType


def flush():
    """Whatever is on its way is there when this returns."""
    mlflow.flush_trace_async_logging()


def last_id():
    return mlflow.get_last_active_trace_id()


def id_of(trace):
    return trace.info.trace_id if MAJOR > 2 else trace.info.request_id


def search(client, experiment, condition=None, order=None, **more):
    where = {"locations": [experiment]} if MAJOR > 2 else {"experiment_ids": [experiment]}
    return client.search_traces(**where, filter_string=condition, order_by=order, **more)


def found(client, experiment, condition=None, order=None, **more):
    return [id_of(trace) for trace in search(client, experiment, condition, order, **more)]


def begin(client, experiment, name, metadata, tags):
    if MAJOR > 2:
        span = mlflow.start_span_no_context(name, experiment_id=experiment, inputs={"q": name}, tags=tags, metadata=metadata)
        span.end(outputs=name.upper())
        return span.trace_id
    span = client.start_trace(name, experiment_id=experiment, inputs={"q": name}, tags=tags)
    client.end_trace(span.request_id, outputs=name.upper())
    return span.request_id


def make(client, experiment, count=1, *, name="t", metadata=lambda n: None, tags=lambda n: {}):
    """Traces with one span each, one after the other: their ids."""
    made = []
    for n in range(count):
        made.append(begin(client, experiment, f"{name}{n}", metadata(n), tags(n)))
        time.sleep(0.003)
    flush()
    return made


# ---- What is recorded --------------------------------------------------------------------------------------------------------------


@mlflow.trace(name="answer", span_type=SpanType.CHAIN, attributes={"level": 1, "of": "test"})
def answer(question, *, fail=False):
    with mlflow.start_span("retrieve", span_type=SpanType.RETRIEVER) as span:
        span.set_inputs({"query": question})
        span.set_attributes({"k": 3, "ratio": 0.5, "exact": True, "words": ["ä", "\U0001f600"]})
        span.set_outputs([{"page_content": "ü", "id": 1}])
    if fail:
        raise ValueError("no answer to 'that'")
    return {"answer": question[::-1], "score": 0.25}


def test_a_function_and_its_spans(client, experiment):
    assert answer("what?") == {"answer": "?tahw", "score": 0.25}
    flush()
    trace = client.get_trace(last_id())
    assert trace.info.experiment_id == experiment and trace.info.status == "OK"
    root, inner = trace.data.spans
    assert root.name == "answer" and root.span_type == SpanType.CHAIN and root.parent_id is None
    assert root.inputs["question"] == "what?" and root.outputs == {"answer": "?tahw", "score": 0.25}
    assert root.get_attribute("level") == 1 and root.get_attribute("of") == "test"
    assert inner.parent_id == root.span_id and inner.span_type == SpanType.RETRIEVER and inner.inputs == {"query": "what?"}
    assert inner.outputs == [{"page_content": "ü", "id": 1}]
    assert inner.get_attribute("k") == 3 and inner.get_attribute("ratio") == 0.5 and inner.get_attribute("exact") is True
    assert inner.get_attribute("words") == ["ä", "\U0001f600"]
    assert root.start_time_ns <= inner.start_time_ns <= inner.end_time_ns <= root.end_time_ns
    assert trace.info.tags["mlflow.traceName"] == "answer" and trace.info.tags["mlflow.artifactLocation"].endswith(f"/traces/{last_id()}/artifacts")
    assert abs(trace.info.timestamp_ms - time.time() * 1000) < 60_000 and trace.info.execution_time_ms >= 0


def test_what_fails_says_why(client, experiment):
    with pytest.raises(ValueError):
        answer("that", fail=True)
    flush()
    trace = client.get_trace(last_id())
    root = trace.data.spans[0]
    assert trace.info.status == "ERROR" and root.status.status_code.name == "ERROR" and "no answer to 'that'" in root.status.description
    events = [event for event in root.events if event.name == "exception"]
    assert events and "ValueError" in events[0].attributes["exception.type"] and "Traceback" in events[0].attributes["exception.stacktrace"]
    assert found(client, experiment, "status = 'ERROR'") == [id_of(trace)] and found(client, experiment, "trace.status = 'OK'") == []


def test_what_runs_at_once(client, experiment):
    def work(n):
        with mlflow.start_span(f"thread-{n}") as span:
            span.set_inputs({"n": n})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flush()
    traces = search(client, experiment)
    assert sorted(trace.data.spans[0].inputs["n"] for trace in traces) == list(range(8))


def test_a_trace_of_a_run(client, experiment):
    with mlflow.start_run() as run:
        answer("within")
        within = last_id()
    answer("without")
    flush()
    assert client.get_trace(within).info.request_metadata["mlflow.sourceRun"] == run.info.run_id
    assert [id_of(t) for t in search(client, experiment, run_id=run.info.run_id)] == [within]


def test_tags_of_the_current_trace(client, experiment):
    with mlflow.start_span("s"):
        mlflow.update_current_trace(tags={"stage": "test", "ключ": "значение"})
    flush()
    trace = last_id()
    assert client.get_trace(trace).info.tags["ключ"] == "значение"
    client.set_trace_tag(trace, "stage", "other")
    client.set_trace_tag(trace, "new/one", "1")
    client.delete_trace_tag(trace, "ключ")
    tags = client.get_trace(trace).info.tags
    assert tags["stage"] == "other" and tags["new/one"] == "1" and "ключ" not in tags


@pytest.mark.ours
def test_what_is_not_there(client, experiment, fails):
    with fails("RESOURCE_DOES_NOT_EXIST", "not found"):
        client.set_trace_tag("tr-" + "0" * 32, "a", "b")
    with fails("RESOURCE_DOES_NOT_EXIST"):
        client.delete_trace_tag(make(client, experiment)[0], "none")
    with pytest.raises(mlflow.exceptions.MlflowException):
        client.get_trace("tr-" + "0" * 32)


# ---- Large ones --------------------------------------------------------------------------------------------------------------------


def test_a_mebibyte_of_input_comes_back(client, experiment):
    text = "ab\"\\ü\n" * (1 << 17)
    with mlflow.start_span("large") as span:
        span.set_inputs({"text": text})
    flush()
    trace = client.get_trace(last_id())
    assert trace.data.spans[0].inputs == {"text": text}


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.full)])
def test_many_spans_come_back(client, experiment, count):
    if MAJOR > 2:
        os.environ["MLFLOW_ASYNC_TRACE_LOGGING_MAX_QUEUE_SIZE"] = "20000"
    with mlflow.start_span("root"):
        for n in range(count - 1):
            with mlflow.start_span(f"step {n}") as span:
                span.set_attribute("n", n)
    flush()
    trace = client.get_trace(last_id())
    assert len(trace.data.spans) == count and len({span.span_id for span in trace.data.spans}) == count
    assert sorted(span.get_attribute("n") for span in trace.data.spans if span.parent_id) == list(range(count - 1))


# ---- Searches ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def five():
    """Five traces of an experiment: their ids in the order in which they began."""
    from conftest import unique

    client = mlflow.MlflowClient()
    experiment = client.create_experiment(unique("traces"))
    made = make(client, experiment, 5, name="trace-",
                tags=lambda n: {"n": str(n), "parity": "odd" if n % 2 else "even", **({"only": "one"} if n == 3 else {})})
    return experiment, made


@pytest.mark.parametrize("condition, expected", [
    ("", {0, 1, 2, 3, 4}), ("status = 'OK'", {0, 1, 2, 3, 4}), ("attributes.status = 'ERROR'", set()), ("tags.parity = 'odd'", {1, 3}),
    ("tag.parity != 'odd'", {0, 2, 4}), ("tags.`n` = '2' AND tags.parity = 'even'", {2}), ("name = 'trace-4'", {4}), ("attribute.name != 'trace-4'", {0, 1, 2, 3}),
    ("tags.`mlflow.traceName` = 'trace-0'", {0}), ("execution_time >= 0", {0, 1, 2, 3, 4}), ("timestamp_ms < 5", set()), ("attributes.timestamp > 5", {0, 1, 2, 3, 4})])
def test_a_condition(client, five, condition, expected):
    experiment, made = five
    assert {made.index(one) for one in found(client, experiment, condition)} == expected


@pytest.mark.since3
@pytest.mark.parametrize("condition, expected", [
    ("trace.name LIKE 'trace-%'", {0, 1, 2, 3, 4}), ("name ILIKE 'TRACE-1'", {1}), ("name RLIKE '^trace-[12]$'", {1, 2}), ("tags.only IS NOT NULL", {3}),
    ("tags.only IS NULL", {0, 1, 2, 4}), ("request_id IN ('none')", set()), pytest.param("name IN ('trace-1', 'trace-3')", {1, 3}, marks=pytest.mark.ours),
    pytest.param("name NOT IN ('trace-1', 'trace-3')", {0, 2, 4}, marks=pytest.mark.ours),
    ("span.name = 'trace-2'", {2}), ("span.type = 'UNKNOWN' AND span.name LIKE '%-3'", {3}), ("span.status = 'OK'", {0, 1, 2, 3, 4}), ("span.status != 'OK'", set()),
    ("span.content LIKE '%trace-1%'", {1}), ("trace.text ILIKE '%TRACE-0%'", {0}),
    ("span.attributes.mlflow.spanInputs LIKE '%trace-4%'", {4}), ("end_time_ms > 5", {0, 1, 2, 3, 4}), ("metadata.missing IS NULL", {0, 1, 2, 3, 4})])
def test_a_condition_of_the_newer_grammar(client, five, condition, expected):
    experiment, made = five
    assert {made.index(one) for one in found(client, experiment, condition)} == expected


@pytest.mark.parametrize("condition", ["status", "status = ", "nothing.at = 'x'", "made_up = 'x'", "status > 'OK'", "timestamp = 'x'", "tags.n = 5"])
def test_a_wrong_condition_is_told(client, five, fails, condition):
    with fails("INVALID_PARAMETER_VALUE"):
        search(client, five[0], condition)


def test_orders_and_pages(client, five):
    experiment, made = five
    assert found(client, experiment) == made[::-1]
    assert found(client, experiment, order=["timestamp_ms ASC"]) == made
    assert found(client, experiment, order=["timestamp DESC"], max_results=2) == made[:2:-1]
    assert [id_of(t) for page in pages(lambda **more: search(client, experiment, order=["timestamp_ms"], max_results=2, **more)) for t in page] == made
    assert sorted(found(client, experiment, order=["execution_time DESC", "timestamp ASC"])) == sorted(made)


def test_a_data_frame(five):
    experiment, made = five
    where = {"locations": [experiment]} if MAJOR > 2 else {"experiment_ids": [experiment]}
    frame = mlflow.search_traces(**where, filter_string="tags.parity = 'odd'", order_by=["timestamp_ms ASC"], return_type="pandas")
    column = "trace_id" if MAJOR > 2 else "request_id"
    assert list(frame[column]) == [made[1], made[3]]
    assert [json.loads(one) if isinstance(one, str) else one for one in frame["request"]] == [{"q": "trace-1"}, {"q": "trace-3"}]
    assert [json.loads(one) if one.startswith('"') else one for one in frame["response"]] == ["TRACE-1", "TRACE-3"]
    assert len(mlflow.search_traces(**where, max_results=3)) == 3


# ---- Deletion ----------------------------------------------------------------------------------------------------------------------


def test_traces_are_deleted(client, experiment):
    made = make(client, experiment, 5)
    ids = {"trace_ids": made[:2]} if MAJOR > 2 else {"request_ids": made[:2]}
    assert client.delete_traces(experiment, **ids) == 2 and client.delete_traces(experiment, **ids) == 0
    assert found(client, experiment) == made[:1:-1]
    later = int(time.time() * 1000) + 60_000
    assert client.delete_traces(experiment, max_timestamp_millis=1) == 0
    assert client.delete_traces(experiment, max_timestamp_millis=later, max_traces=1) == 1
    assert found(client, experiment) == made[:2:-1]
    assert client.delete_traces(experiment, max_timestamp_millis=later) == 2 and found(client, experiment) == []


def test_deletion_says_what(client, experiment, fails):
    with fails("INVALID_PARAMETER_VALUE"):
        client.delete_traces(experiment)
    ids = "trace_ids" if MAJOR > 2 else "request_ids"
    with fails("INVALID_PARAMETER_VALUE"):
        client.delete_traces(experiment, max_timestamp_millis=1, **{ids: ["tr-x"]})


# ---- Assessments -------------------------------------------------------------------------------------------------------------------


@pytest.mark.since3
def test_feedback(client, experiment, fails):
    from mlflow.entities import AssessmentSource, Feedback

    trace, = make(client, experiment)
    human = AssessmentSource(source_type="HUMAN", source_id="bob@example.com")
    first = mlflow.log_feedback(trace_id=trace, name="good", value=False, source=human, rationale="too short", metadata={"k": "v"})
    assert first.value is False and first.rationale == "too short" and first.source == human and first.metadata == {"k": "v"} and first.valid
    read = mlflow.get_assessment(trace, first.assessment_id)
    assert read.value is False and read.name == "good" and read.create_time_ms == first.create_time_ms
    mlflow.update_assessment(trace, first.assessment_id, Feedback(name="good", value=0.75, rationale="it is not", metadata={"l": "w"}))
    changed = mlflow.get_assessment(trace, first.assessment_id)
    assert changed.value == 0.75 and changed.rationale == "it is not" and changed.metadata == {"k": "v", "l": "w"}
    second = mlflow.override_feedback(trace_id=trace, assessment_id=first.assessment_id, value="yes", source=human)
    assert second.overrides == first.assessment_id and not mlflow.get_assessment(trace, first.assessment_id).valid
    mlflow.delete_assessment(trace, second.assessment_id)
    assert mlflow.get_assessment(trace, first.assessment_id).valid
    with fails("RESOURCE_DOES_NOT_EXIST"):
        mlflow.get_assessment(trace, second.assessment_id)
    with fails("RESOURCE_DOES_NOT_EXIST"):
        mlflow.log_feedback(trace_id="tr-" + "0" * 32, name="good", value=1)


@pytest.mark.since3
def test_values_of_every_kind(client, experiment):
    trace, = make(client, experiment)
    values = {"text": "ä\"", "whole": 3, "real": -0.5, "yes": True, "list": ["a", "b"], "object": {"a": 1}}
    for name, value in values.items():
        mlflow.log_feedback(trace_id=trace, name=name, value=value)
        mlflow.log_expectation(trace_id=trace, name=name, value=value)
    failed = mlflow.log_feedback(trace_id=trace, name="failed", error=ValueError("judge is out"))
    assert failed.error.error_message == "judge is out"
    told = client.get_trace(trace).info.assessments
    assert {one.name: one.value for one in told if one.expectation is not None} == values
    assert {one.name: one.value for one in told if one.feedback is not None and one.name != "failed"} == values
    assert [one.error.error_code for one in told if one.name == "failed"] == ["ValueError"]


@pytest.mark.since3
def test_searches_by_what_was_said(client, experiment):
    made = make(client, experiment, 3)
    for n, trace in enumerate(made[:2]):
        mlflow.log_feedback(trace_id=trace, name="score", value=n / 2)
        mlflow.log_feedback(trace_id=trace, name="good", value=n == 1)
        mlflow.log_expectation(trace_id=trace, name="answer", value="yes" if n else "no")
    for condition, expected in {"feedback.good = 'true'": [1], "feedback.good = 'false'": [0], "feedback.good IS NULL": [2], "feedback.score > 0.25": [1],
                                "feedback.score <= 0": [0], "expectation.answer = 'yes'": [1], "expectation.answer != 'yes'": [0],
                                "expectation.answer IS NOT NULL": [1, 0], "feedback.score IS NOT NULL AND expectation.answer = 'no'": [0]}.items():
        assert found(client, experiment, condition) == [made[n] for n in expected], condition


# ---- Links -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.since3
def test_traces_are_linked_to_runs(client, experiment, run_id):
    made = make(client, experiment, 3)
    client.link_traces_to_run(made[:2], run_id)
    client.link_traces_to_run(made[:1], run_id)
    assert sorted(found(client, experiment, f"run_id = '{run_id}'")) == sorted(made[:2])
    assert sorted(id_of(t) for t in search(client, experiment, run_id=run_id)) == sorted(made[:2])
    other = client.create_run(experiment).info.run_id
    client.link_traces_to_run(made[:1], other)
    assert found(client, experiment, f"run_id = '{other}'") == made[:1] and len(found(client, experiment, f"run_id = '{run_id}'")) == 2


@pytest.mark.since3
def test_a_session(client, experiment):
    made = make(client, experiment, 4, metadata=lambda n: {"mlflow.trace.session": f"session-{n // 2}", "mlflow.trace.user": "bob"})
    assert found(client, experiment, "metadata.`mlflow.trace.session` = 'session-0'") == made[1::-1]
    assert found(client, experiment, "request_metadata.mlflow.trace.user = 'bob' AND metadata.mlflow.trace.session = 'session-1'") == made[:1:-1]


@pytest.mark.since3
def test_tokens_are_added_up(client, experiment):
    with mlflow.start_span("root"):
        for n in range(2):
            with mlflow.start_span(f"call {n}", span_type=SpanType.CHAT_MODEL) as span:
                span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 10, "output_tokens": n, "total_tokens": 10 + n})
    flush()
    assert client.get_trace(last_id()).info.token_usage == {"input_tokens": 20, "output_tokens": 1, "total_tokens": 21}


# ---- OpenTelemetry's exporter ------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider(server, experiment):
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    headers = {"x-mlflow-experiment-id": experiment}
    if server.token:
        headers["Authorization"] = f"Bearer {server.token}"

    def made(compression=Compression.NoCompression):
        provider = TracerProvider(resource=Resource.create({"service.name": "shop", "service.version": "1.2"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{server.url}/v1/traces", headers=headers, compression=compression)))
        return provider

    return made


@pytest.mark.since3
@pytest.mark.parametrize("compression", ["NoCompression", "Gzip", "Deflate"])
def test_spans_of_opentelemetry(client, experiment, provider, compression):
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    source = provider(getattr(Compression, compression))
    tracer = source.get_tracer("shop.orders", "3.4")
    with tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER) as root:
        root.set_attributes({"http.status": 500, "ratio": 0.5, "ok": False, "names": ["a", "b"]})
        with tracer.start_as_current_span("query", links=[Link(root.get_span_context(), {"why": "cause"})]) as inner:
            inner.add_event("retry", {"n": 2})
        root.set_status(Status(StatusCode.ERROR, "out of order"))
    assert source.force_flush()
    source.shutdown()
    trace = client.get_trace("tr-%032x" % root.get_span_context().trace_id)
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"GET /orders", "query"} and trace.info.experiment_id == experiment and trace.info.status == "ERROR"
    assert spans["GET /orders"].status.description == "out of order" and spans["GET /orders"].get_attribute("http.status") == 500
    assert spans["GET /orders"].get_attribute("names") == ["a", "b"] and spans["GET /orders"].get_attribute("ok") is False
    assert spans["query"].parent_id == spans["GET /orders"].span_id and spans["query"].events[0].attributes["n"] == 2
    assert found(client, experiment, "span.name = 'query'") == [id_of(trace)]


@pytest.mark.since3
def test_many_batches_of_opentelemetry(client, experiment, provider):
    source = provider()
    tracer = source.get_tracer("t")
    with tracer.start_as_current_span("root") as root:
        for n in range(1500):
            tracer.start_span(f"step {n}").end()
    assert source.force_flush()
    source.shutdown()
    assert len(client.get_trace("tr-%032x" % root.get_span_context().trace_id).data.spans) == 1501


# ---- Several at once, and what pages ask for ---------------------------------------------------------------------------------------


@pytest.mark.since3
def test_several_at_once(client, experiment, server):
    from mlflow.tracing.client import TracingClient

    made = make(client, experiment, 3)
    asked = [made[2], "tr-" + "0" * 32, made[0]]
    traces = TracingClient().batch_get_traces(asked)
    assert sorted(id_of(t) for t in traces) == sorted([made[0], made[2]]) and all(len(t.data.spans) == 1 for t in traces)
    infos = TracingClient().store.batch_get_trace_infos(asked)
    assert sorted(info.trace_id for info in infos) == sorted([made[0], made[2]]) and infos[0].experiment_id == experiment
    got = server.call("GET", "/ajax-api/3.0/mlflow/traces/get", params={"trace_id": made[1]})
    assert got.ok and got.json()["trace"]["trace_info"]["trace_id"] == made[1] and len(got.json()["trace"]["spans"]) == 1
    missing = server.call("GET", "/ajax-api/3.0/mlflow/traces/get", params={"trace_id": asked[1]})
    assert missing.status_code == 404 and missing.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
