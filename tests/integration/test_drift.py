"""drift through the daemon, on real rows: each figure beside one that is computed here from the definition, and what alerts make of them."""
import csv
import gzip
import json
import math
import struct

import pytest

from daemon import ROOT, unique, wait_until
from models import deploy, register

FEATURES = ["nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
LEARNED = 5000


@pytest.fixture(scope="module")
def elec2():
    with gzip.open(ROOT / "tests/data/elec2.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def features(rows):
    return [[float(row[name]) for name in FEATURES] for row in rows]


# ---- The definitions, without the plugin's code and without its shortcuts


def single(x):
    """As a model sees it."""
    return struct.unpack("f", struct.pack("f", x))[0]


def percentiles_of(values):
    ordered = sorted(values)
    return [ordered[(len(ordered) - 1) * i // 100] for i in range(101)]


def share(percentiles, x):
    """The shares of the profile below x, and up to x: straight between percentiles; where several of them are x, an atom."""
    smaller, equal = sum(p < x for p in percentiles), sum(p == x for p in percentiles)
    if equal == 0:
        if smaller in (0, 101):
            return (smaller > 0) * 1.0, (smaller > 0) * 1.0
        low, high = percentiles[smaller - 1], percentiles[smaller]
        return (((smaller - 1) + (x - low) / (high - low)) / 100,) * 2
    below, upto = smaller / 100, (smaller + equal - 1) / 100
    if equal > 1:  # where the atom begins and ends is known to a hundredth: its middle
        below = 0 if smaller == 0 else (smaller - 0.5) / 100
        upto = 1 if smaller + equal == 101 else (smaller + equal - 0.5) / 100
    return below, upto


def psi(percentiles, window, smoothing=0.001):
    deciles = percentiles[10:100:10]
    borders = []  # (value, whether the value itself lies on the left)
    for value in sorted(set(deciles)):
        borders.append((value, False))
        if deciles.count(value) > 1:
            borders.append((value, True))
    expected = [share(percentiles, value)[left] for value, left in borders]
    seen = [sum(x < value or (left and x == value) for x in window) / len(window) for value, left in borders]
    total = 0
    for e0, e1, s0, s1 in zip([0] + expected, expected + [1], [0] + seen, seen + [1]):
        e, s = ((b - a + smoothing) / (1 + smoothing * (len(borders) + 1)) for a, b in ((e0, e1), (s0, s1)))
        total += (s - e) * math.log(s / e)
    return total


def ks(percentiles, window):
    most = 0
    for x in set(window) | set(percentiles):
        below, upto = share(percentiles, x)
        most = max(most, abs(below - sum(w < x for w in window) / len(window)), abs(upto - sum(w <= x for w in window) / len(window)))
    return most


# ---- An endpoint with a monitor, and labels that come


class Watched:
    def __init__(self, server, client, learned, columns=FEATURES, **more):
        self.client, self.columns, self.sent = client, columns, 0
        self.dataset = unique("learned")
        lines = [",".join([*columns, "class"])] + [",".join("" if x is None else repr(x) for x in row) + ",1" for row in learned]
        uploaded = client.post(f"/api/v1/datasets/{self.dataset}/versions", "\n".join(lines).encode(), headers={"Content-Type": "text/csv"})
        assert uploaded.status == 201, uploaded
        self.described = {column["name"]: column for column in uploaded.json["columns"]}
        self.endpoint, self.model = deploy(server, client, columns)
        body = {"endpoint": self.endpoint, "model": self.model, "version": 1, "dataset": self.dataset, "dataset_version": 1, "baseline_accuracy": 0.9, **more}
        made = client.post("/api/v1/monitors", body)
        assert made.status == 201, made
        self.monitor = made.json

    def label(self, rows, right=True):
        for at in range(0, len(rows), 1000):
            items = [{"id": f"p{self.sent + i}", "label": 1, "prediction": 0.8 if right else 0.2, "inputs": row} for i, row in enumerate(rows[at:at + 1000])]
            assert self.client.post(f"/api/v1/endpoints/{self.endpoint}/feedback", {"items": items}).json["accepted"] == len(items)
            self.sent += len(items)

    def reports(self, count):
        def enough():
            found = self.client.get(f"/api/v1/monitors/{self.endpoint}/reports?limit=1000").json.get("reports", [])
            return found if len(found) >= count else None
        found = wait_until(enough, 20, f"not {count} reports")
        assert len(found) == count
        return {report["labelled"]: report for report in found}

    def alerts(self, query=""):
        return self.client.get(f"/api/v1/alerts?endpoint={self.endpoint}&limit=1000{query}").json.get("alerts", [])


def is_problem(answer, status, part=""):
    assert answer.status == status and part in json.dumps(answer.json), answer


# ---- The figures


@pytest.mark.parametrize("first", [5000, 16900, 17400, 25000, 44300])
def test_psi_and_ks_are_those_of_the_definition(server, client, elec2, first):
    """Windows before, across and after row 17,424, up to which three of the columns are constant."""
    learned, played = features(elec2[:LEARNED]), features(elec2[first:first + 1000])
    watched = Watched(server, client, learned, every=500, drift_window=500)
    watched.label(played)
    for labelled, report in watched.reports(2).items():
        for i, drift in enumerate(report["features"]):
            profile = [single(p) for p in percentiles_of([row[i] for row in learned])]
            window = [single(row[i]) for row in played[labelled - 500:labelled]]
            assert drift["name"] == FEATURES[i]
            assert drift["psi"] == pytest.approx(psi(profile, window), rel=1e-9, abs=1e-9), (first, labelled, FEATURES[i])
            assert drift["ks"] == pytest.approx(ks(profile, window), rel=1e-9, abs=1e-9), (first, labelled, FEATURES[i])


def test_statistics_of_a_dataset_are_those_of_the_definition(server, client, elec2):
    learned = features(elec2[20000:20000 + LEARNED])
    watched = Watched(server, client, learned)
    for i, name in enumerate(FEATURES):
        values, column = [row[i] for row in learned], watched.described[name]
        mean = math.fsum(values) / len(values)
        assert column["quantiles"] == percentiles_of(values) and column["missing"] == 0
        assert (column["minimum"], column["maximum"]) == (min(values), max(values))
        assert column["mean"] == pytest.approx(mean, rel=1e-12)
        assert column["deviation"] == pytest.approx(math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1)), rel=1e-9)


def test_the_sample_of_a_long_column_tells_its_percentiles(server, client, elec2):
    """Of more than 10,000 rows the percentiles are those of a sample: at most two hundredths off."""
    values = sorted(float(row["nswdemand"]) for row in elec2)
    watched = Watched(server, client, features(elec2))
    for i, found in enumerate(watched.described["nswdemand"]["quantiles"]):
        assert values[int((len(values) - 1) * max(0, i - 2) / 100)] <= found <= values[int((len(values) - 1) * min(100, i + 2) / 100)], i


def test_missing_values_are_left_out(server, client, elec2):
    learned, played = features(elec2[:LEARNED]), features(elec2[30000:31000])
    holes = [[None if (i + k) % 3 == 0 else x for k, x in enumerate(row)] for i, row in enumerate(played)]
    watched = Watched(server, client, learned, every=1000, drift_window=1000)
    watched.label(holes)
    report = watched.reports(1)[1000]
    for k, drift in enumerate(report["features"]):
        profile = [single(p) for p in percentiles_of([row[k] for row in learned])]
        window = [single(row[k]) for row in holes if row[k] is not None]
        assert drift["psi"] == pytest.approx(psi(profile, window), rel=1e-9) and drift["ks"] == pytest.approx(ks(profile, window), rel=1e-9)


def test_values_that_no_float_holds_do_not_break_a_report(server, client):
    """Of a column from -1e300 to 1e300 every figure is a number."""
    learned = [[(i - 50) * 1e298 * 2] for i in range(101)]
    watched = Watched(server, client, learned, columns=["wide"], every=20, drift_window=20)
    watched.label([[float(i)] for i in range(20)])
    drift = watched.reports(1)[20]["features"][0]
    assert math.isfinite(drift["psi"]) and 0 <= drift["ks"] <= 1


def test_inputs_of_another_shape_count_as_missing(server, client):
    watched = Watched(server, client, [[float(i)] for i in range(100)], columns=["one"], every=20, drift_window=20)
    watched.label([[float(i)] for i in range(15)] + [[1.0, 2.0], [[1.0]], ["x"], [], [{"a": 1}]])
    drift = watched.reports(1)[20]["features"][0]
    assert math.isfinite(drift["psi"]) and math.isfinite(drift["ks"])


# ---- Alerts


def steady(count, shift=0.0):
    return [[i % 100 + shift] for i in range(count)]


def test_drift_is_raised_goes_on_and_ends(server, client):
    watched = Watched(server, client, steady(1000), columns=["x"], every=100, drift_window=100, accuracy_window=100, psi_threshold=1)
    watched.label(steady(200) + steady(200, 80.0) + steady(100) + steady(100, 80.0))
    reports = watched.reports(6)
    assert [reports[at].get("drift_alert") is not None for at in (100, 200, 300, 400, 500, 600)] == [False, False, True, True, False, True]
    alerts = {alert["labelled"]: alert for alert in watched.alerts()}
    assert {at: alert["state"] for at, alert in alerts.items()} == {300: "raised", 400: "ongoing", 600: "raised"}
    for at, alert in alerts.items():
        assert (alert["kind"], alert["feature"], alert["threshold"], alert["version"]) == ("drift", "x", 1, 1)
        assert alert["id"] == reports[at]["drift_alert"] and alert["value"] == reports[at]["features"][0]["psi"] > 1
    answered = client.put(f"/api/v1/monitors/{watched.endpoint}/alerts/300/answer", {"answer": "a new sensor"})
    assert answered.json == {"alerts": 1} and watched.alerts("&before=301")[0]["answer"] == "a new sensor"
    is_problem(client.put(f"/api/v1/monitors/{watched.endpoint}/alerts/500/answer", {"answer": "x"}), 404, "500")
    assert watched.alerts("&kind=accuracy") == []


def test_ks_alone_raises_an_alert_where_it_is_asked_to(server, client):
    watched = Watched(server, client, steady(1000), columns=["x"], every=100, drift_window=100, psi_threshold=1000, ks_threshold=0.3)
    watched.label(steady(100) + steady(100, 50.0))
    watched.reports(2)
    alert, = watched.alerts()
    assert alert["labelled"] == 200 and alert["threshold"] == 0.3 and alert["value"] == pytest.approx(0.5, abs=0.02)


def test_accuracy_below_the_margin_raises_an_alert(server, client):
    watched = Watched(server, client, steady(1000), columns=["x"], every=50, accuracy_window=100, accuracy_margin=0.1)
    watched.label(steady(100))
    watched.label(steady(10), right=False)
    watched.label(steady(40))
    watched.label(steady(50), right=False)
    reports = watched.reports(4)
    assert [reports[at].get("accuracy") for at in (50, 100, 150, 200)] == [None, 1, 0.9, 0.4]
    alert, = watched.alerts()
    assert (alert["kind"], alert["labelled"], alert["value"], alert["state"]) == ("accuracy", 200, 0.4, "raised")
    assert alert["threshold"] == pytest.approx(0.8) and alert["id"] == reports[200]["accuracy_alert"]


def test_pages_of_alerts_miss_none(server, client):
    """Two alerts of one evaluation stay together, so that the next page can begin before it."""
    watched = Watched(server, client, steady(1000), columns=["x"], every=50, drift_window=50, accuracy_window=50, psi_threshold=0.5)
    watched.label(steady(150, 80.0), right=False)
    watched.reports(3)
    seen, before = [], 1000
    while True:
        page = client.get(f"/api/v1/alerts?endpoint={watched.endpoint}&limit=1&before={before}").json.get("alerts", [])
        if not page:
            break
        seen += [(alert["labelled"], alert["kind"]) for alert in page]
        before = page[-1]["labelled"]
    assert sorted(seen) == [(labelled, kind) for labelled in (50, 100, 150) for kind in ("accuracy", "drift")]


def test_a_new_champion_is_judged_by_its_own_rows(server, client):
    watched = Watched(server, client, steady(1000), columns=["x"], every=100, drift_window=100, accuracy_window=100)
    watched.label(steady(100), right=False)
    watched.reports(1)
    register(server, client, ["x"], name=watched.model)
    champion = {"model": watched.model, "version": 2, "dataset": watched.dataset, "dataset_version": 1, "baseline_accuracy": 0.5, "since": 150}
    assert client.put(f"/api/v1/monitors/{watched.endpoint}/champion", champion).json["version"] == 2
    watched.label(steady(200))
    reports = watched.reports(3)
    assert [reports[at].get("accuracy") for at in (100, 200, 300)] == [0, None, 1]
    assert (reports[300]["version"], reports[300]["baseline_accuracy"]) == (2, 0.5)


def test_evaluating_again_or_beyond_what_came_changes_nothing(server, client):
    """A number of labels that have not come yet must not silence the monitor until they have."""
    watched = Watched(server, client, steady(1000), columns=["x"], every=100, drift_window=100, accuracy_window=100)
    watched.label(steady(250))
    watched.reports(2)
    for labelled in (0, 100, 250, 1000000, 9000000000000000):
        told = client.post(f"/api/v1/monitors/{watched.endpoint}/evaluate", {"labelled": labelled})
        assert told.status == 200 and told.json == {"evaluations": 0, "evaluated": 200, "more": False}, (labelled, told)
    watched.label(steady(50))
    assert set(watched.reports(3)) == {100, 200, 300}


def test_monitors_are_found_listed_refused_twice_and_deleted(server, client):
    watched = Watched(server, client, steady(100), columns=["x"], every=50, drift_window=50, psi_threshold=0.01)
    body = {key: watched.monitor[key] for key in ("endpoint", "model", "version", "dataset", "dataset_version", "baseline_accuracy")}
    assert client.get(f"/api/v1/monitors/{watched.endpoint}").json == watched.monitor
    assert watched.endpoint in [one["endpoint"] for one in client.get("/api/v1/monitors?limit=1000").json["monitors"]]
    is_problem(client.post("/api/v1/monitors", body), 409, watched.endpoint)
    watched.label(steady(50, 90.0))
    watched.reports(1)
    assert client.delete(f"/api/v1/monitors/{watched.endpoint}").status == 200
    is_problem(client.get(f"/api/v1/monitors/{watched.endpoint}"), 404, watched.endpoint)
    is_problem(client.delete(f"/api/v1/monitors/{watched.endpoint}"), 404)
    assert watched.alerts() == []
    assert client.post("/api/v1/monitors", {**body, "since": 50, "every": 50, "drift_window": 50}).json["evaluated"] == 50
    watched.label(steady(50))
    assert set(watched.reports(1)) == {100}


def test_the_monitor_goes_with_its_endpoint(server, client):
    watched = Watched(server, client, steady(100), columns=["x"], every=50, drift_window=50)
    watched.label(steady(50))
    watched.reports(1)
    assert client.delete(f"/api/v1/endpoints/{watched.endpoint}").status == 200
    wait_until(lambda: client.get(f"/api/v1/monitors/{watched.endpoint}").status == 404, 10, "the monitor is still there")


@pytest.mark.parametrize("change, status, said", [
    ({"endpoint": "nobody"}, 404, "nobody"), ({"model": "nobody"}, 404, "nobody"), ({"version": 2}, 404, "version"), ({"dataset": "nobody"}, 404, "nobody"),
    ({"dataset_version": 2}, 404, "version"), ({"drift_window": 5001}, 400, "drift_window"), ({"accuracy_window": 50000}, 400, "accuracy_window"),
    ({"baseline_accuracy": 1.1}, 400, "baseline_accuracy"), ({"every": 0}, 400, "every"), ({"psi_threshold": 0}, 400, "psi_threshold")])
def test_a_monitor_of_what_is_not_there_is_refused(server, client, change, status, said):
    dataset = unique("data")
    client.post(f"/api/v1/datasets/{dataset}/versions", b"x,class\n1,0\n2,1\n", headers={"Content-Type": "text/csv"})
    endpoint, model = deploy(server, client, ["x"])
    body = {"endpoint": endpoint, "model": model, "version": 1, "dataset": dataset, "dataset_version": 1, "baseline_accuracy": 0.9}
    is_problem(client.post("/api/v1/monitors", {**body, **change}), status, said)
    assert client.get(f"/api/v1/monitors/{endpoint}").status == 404


def test_a_dataset_without_the_inputs_is_refused(server, client):
    endpoint, model = deploy(server, client, ["x", "y"])
    for text, said in ((b"x,class\n1,0\n", "y"), (b"x,y,class\n1,one,0\n2,two,1\n", "y"), (b"x,y\n1,\n", "y")):
        dataset = unique("data")
        assert client.post(f"/api/v1/datasets/{dataset}/versions", text, headers={"Content-Type": "text/csv"}).status == 201
        body = {"endpoint": endpoint, "model": model, "version": 1, "dataset": dataset, "dataset_version": 1, "baseline_accuracy": 0.9}
        is_problem(client.post("/api/v1/monitors", body), 400, f"'{said}'")


def test_the_largest_window_is_evaluated(server, client):
    watched = Watched(server, client, steady(1000), columns=["x"], every=5000, drift_window=5000, accuracy_window=5000)
    watched.label(steady(5000))
    report = watched.reports(1)[5000]
    assert report["accuracy"] == 1 and report["features"][0]["psi"] < 0.01
