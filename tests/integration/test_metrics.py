"""/metrics is what Prometheus reads, and its counters move."""
import math
import re

import pytest

NAME = re.compile(r"[a-z_][a-z0-9_]*$")
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"], "summary": ["", "_sum", "_count"]}


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"labels: {text}"
        assert found.group(1) not in labels, f"a label twice: {text}"
        labels[found.group(1)] = found.group(2)
        at = found.end()
    return labels


def parse(text):
    """{family: (type, {(name, labels): value})}; fails on whatever a strict reader would refuse."""
    assert text.endswith("\n")
    families, current, helped = {}, None, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped, words = line.split(" ", 3)[2:4]
            assert words.strip() and helped not in families, line
        elif line.startswith("# TYPE "):
            current, kind = line.split(" ")[2:]
            assert current == helped and kind in SUFFIXES and NAME.match(current), line
            families[current] = (kind, {})
        else:
            found = SAMPLE.match(line)
            assert found and current, line
            name, labels = found.group(1), parse_labels(found.group(3) or "")
            kind, samples = families[current]
            assert name in [current + suffix for suffix in SUFFIXES[kind]], f"{line} stands among {current}"
            key = (name, tuple(sorted(labels.items())))
            assert key not in samples, f"twice: {line}"
            samples[key] = float(found.group(4).replace("+Inf", "inf"))
    return families


def read(client):
    answer = client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.body.decode())


def total(families, name, **labels):
    return sum(value for (sample, have), value in families[name][1].items() if sample == name and labels.items() <= dict(have).items())


def test_every_family_is_well_formed(client):
    families = read(client)
    assert len(families) > 10
    for name, (kind, samples) in families.items():
        assert name.endswith("_total") == (kind == "counter"), f"{name} is a {kind}"
        assert not re.search(r"_(ms|milliseconds|us|kb|mb|minutes)(_|$)", name), f"{name} is not in a base unit"
        for key, value in samples.items():
            assert not math.isnan(value), key
            if kind != "gauge":
                assert value >= 0, key


def test_histograms_add_up(client):
    client.get("/api/v1/models")
    checked = 0
    for name, (kind, samples) in read(client).items():
        if kind != "histogram":
            continue
        series = {}
        for (sample, labels), value in samples.items():
            if sample != name + "_bucket":
                continue
            rest = tuple(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        for rest, buckets in series.items():
            buckets.sort()
            values = [value for _, value in buckets]
            assert values == sorted(values), f"{name}{rest} is not cumulative"
            assert buckets[-1][0] == math.inf
            assert samples[(name + "_count", rest)] == values[-1]
            assert (name + "_sum", rest) in samples
            checked += 1
    assert checked > 0


def test_counters_move(client):
    before = read(client)
    for _ in range(7):
        assert client.get("/api/v1/models").status == 200
    assert client.get("/api/v1/models/never-registered").status == 404
    after = read(client)

    def moved(name, **labels):
        return total(after, name, **labels) - total(before, name, **labels)

    assert moved("purlin_http_requests_total", route="registry.list_models", status="200") == 7
    assert moved("purlin_http_requests_total", route="registry.get_model", status="404") == 1
    assert moved("purlin_http_response_body_bytes_total") > 0
    assert moved("process_cpu_seconds_total") >= 0


def test_statements_are_counted(client):
    def count(families):
        samples = families["purlin_db_query_duration_seconds"][1]
        return sum(value for (sample, _), value in samples.items() if sample.endswith("_count"))

    before = count(read(client))
    for _ in range(5):
        client.get("/api/v1/models")
    assert count(read(client)) >= before + 5


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=1.0.0", "application/openmetrics-text"])
def test_openmetrics_by_accept(client, accept):
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    lines = answer.body.decode().splitlines()
    assert lines[-1] == "# EOF"
    counters = [line.split(" ")[2] for line in lines if line.startswith("# TYPE ") and line.endswith(" counter")]
    assert counters and not [name for name in counters if name.endswith("_total")], "OpenMetrics families leave _total to the sample"
