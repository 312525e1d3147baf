#!/usr/bin/env python3
"""The demonstration: a model of the Electricity stream of New South Wales is trained, served, watched, and retrained by a rule.

45,312 half-hours in time order; the class says whether the price is above the mean of the last day. A model learns from the first 30 %; the rest is
played row by row as real predictions over HTTP, and the truth comes back a day (48 rows) later. Everything goes through the public API; only
the standard library is needed."""
import argparse
import csv
import gzip
import http.client
import json
import pathlib
import sys
import time

FEATURES = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer", "prev_class", "class_48", "d_nswprice", "d_nswdemand"]
FILE = pathlib.Path(__file__).resolve().parent.parent / "data" / "elec2.csv.gz"
DAY, WINDOW, ROLLING = 48, 4000, 1000
SPECIFICATION = {"label": "class", "rounds": 100, "max_depth": 6, "eta": 0.1, "min_child_weight": 10, "seed": 0, "threads": 1}
LIVE = sys.stdout.isatty()


# ---- The server ---------------------------------------------------------------------------------------------------------------------------

class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Server:
    def __init__(self, address, token):
        self.connection = http.client.HTTPConnection(address, timeout=300)
        self.headers = {"Authorization": "Bearer " + token}

    def send(self, method, path, body=None, media="application/json"):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = dict(self.headers, **({"Content-Type": media} if body is not None else {}))
        for attempt in range(60):
            try:
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                text = answer.read()
            except (http.client.HTTPException, ConnectionError):
                self.connection.close()
                if attempt == 59:
                    raise
                time.sleep(0.2)
                continue
            if answer.status == 503:  # the server says when to come again
                time.sleep(min(5, float(answer.headers.get("Retry-After", 1))))
                continue
            if answer.status >= 400:
                raise Refused(answer.status, text.decode(errors="replace"))
            return json.loads(text) if text else None
        raise Refused(503, "the server stayed unavailable")

    def call(self, operation, **members):
        return self.send("POST", "/api/v1/op/" + operation, members)

    def find(self, operation, **members):
        try:
            return self.call(operation, **members)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def upload(self, dataset, rows):
        text = ",".join(FEATURES + ["class"]) + "\n" + "\n".join(",".join(map(repr, row)) for row in rows) + "\n"
        return self.send("POST", f"/api/v1/datasets/{dataset}/versions", text.encode(), "text/csv")["version"]


# ---- The stream ---------------------------------------------------------------------------------------------------------------------------

def read_stream():
    """Rows of features, the class last. What there is no earlier row for is 0."""
    with gzip.open(FILE, "rt", newline="") as file:
        raw = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    rows = []
    for i, row in enumerate(raw):
        before, day_before = raw[i - 1] if i >= 1 else None, raw[i - DAY] if i >= DAY else None
        rows.append([row[name] for name in FEATURES[:6]] + [
            before["class"] if before else 0.0,
            day_before["class"] if day_before else 0.0,
            row["nswprice"] - before["nswprice"] if before else 0.0,
            row["nswdemand"] - before["nswdemand"] if before else 0.0,
            int(row["class"])])
    return rows


# ---- Telling ------------------------------------------------------------------------------------------------------------------------------

def say(text=""):
    print(text, flush=True)


def progress(text, last=False):
    if LIVE:
        print("\r\033[K" + text, end="\n" if last else "", flush=True)
    elif last:
        say(text)


def bar(share):
    return "#" * round(30 * share) + "." * (30 - round(30 * share))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None


# ---- The steps ----------------------------------------------------------------------------------------------------------------------------

class Demo:
    def __init__(self, server, state, name):
        self.server, self.state, self.name = server, state, name
        self.rows = read_stream()
        self.start = len(self.rows) * 3 // 10
        self.validation = self.start - self.start * 9 // 10
        self.played = self.rows[self.start:]

    def is_played(self):
        endpoint = self.server.find("serving.get_endpoint", name=self.name)
        return endpoint is not None and endpoint["labelled"] == len(self.played)

    def jobs(self, model=None):
        return self.server.call("training.list_jobs", model=model or self.name, limit=1000)["jobs"]

    def train(self, model, dataset, version, validation, labels, show=False):
        """A training job that succeeded: the one with these labels if there is one, or a new one."""
        job = next((j for j in self.jobs(model) if j["labels"] == labels and j["state"] in ("queued", "running", "succeeded")), None)
        if not job:
            job = self.server.call("training.create_job", trainer="xgboost", specification=SPECIFICATION, dataset=dataset,
                                   dataset_version=version, validation_rows=validation, model=model, labels=labels)
        while job["state"] in ("queued", "running"):
            if show:
                progress(f"   [{bar(job['progress'])}] {job['message'] or job['state']}")
            time.sleep(0.05)
            job = self.server.call("training.get_job", job_id=job["id"])
        if job["state"] != "succeeded":
            raise SystemExit(f"The training job {job['id']} {job['state']}: {job['message']}")
        if show:
            progress(f"   [{bar(1)}] trained by job {job['id']}", last=True)
        return self.server.call("training.get_job", job_id=job["id"])

    def prepare(self):
        say(f"1. The first {self.start:,} half-hours become version 1 of the dataset '{self.name}'.")
        if not self.server.find("datasets.get_version", name=self.name, version=1):
            self.server.upload(self.name, self.rows[:self.start])
        say(f"2. XGBoost learns from {self.start - self.validation:,} of them, in a process of its own.")
        job = self.train(self.name, self.name, 1, self.validation, {"stage": "first"}, show=True)
        baseline = {m["key"]: m["value"] for m in job["metrics"]}["validation_accuracy"]
        say(f"   Version {job['version']} of the model '{self.name}' is right about {baseline:.4f} of the last {self.validation:,}, which it had not seen.")
        say(f"3. It is deployed as the endpoint '{self.name}', and a monitor watches inputs and accuracy.")
        if not self.server.find("serving.get_endpoint", name=self.name):
            self.server.call("serving.deploy", name=self.name, model=self.name, version=str(job["version"]), cause="the first model")
        if not self.server.find("drift.get_monitor", endpoint=self.name):
            self.server.call("drift.create_monitor", endpoint=self.name, model=self.name, version=job["version"], dataset=self.name,
                             dataset_version=1, baseline_accuracy=baseline)
        self.first, self.baseline = job["version"], baseline

    def predict(self, index):
        row = self.played[index]
        body = {"id": f"{self.name}-{index}", "inputs": [{"name": "rows", "shape": [1, len(FEATURES)], "datatype": "FP32", "data": row[:-1]}]}
        begun = time.perf_counter()
        answer = self.server.send("POST", f"/v2/models/{self.name}/infer", body)
        self.times.append(time.perf_counter() - begun)
        return answer["model_version"], int(answer["outputs"][0]["data"][0] >= 0.5) == row[-1]

    def retrains(self):
        """Judged and final jobs of this endpoint, oldest first."""
        ours = [j for j in reversed(self.jobs()) if j["labels"].get("endpoint") == self.name]
        return [j for j in ours if j["labels"]["stage"] == "judge"], [j for j in ours if j["labels"]["stage"] == "final"]

    def settled(self, judged, final):
        if any("verdict" not in j["labels"] for j in judged):
            return False
        return not any(j["state"] in ("queued", "running") or (j["state"] == "succeeded" and "deployed" not in j["labels"]) for j in final)

    def wait(self, labelled, every):
        """Until the monitor has seen these labels, the rule has answered its alerts, and no retraining runs."""
        deadline = time.monotonic() + 300
        due = labelled - labelled % every
        while time.monotonic() < deadline:
            if self.server.call("drift.get_monitor", endpoint=self.name)["evaluated"] >= due:
                alerts = self.server.call("drift.list_alerts", endpoint=self.name, limit=10)["alerts"]
                judged, final = self.retrains() if alerts else ([], [])
                if all(a.get("answer") for a in alerts) and self.settled(judged, final):
                    return len(judged)
            time.sleep(0.02)
        raise SystemExit("Nothing has happened for five minutes: is the rule conf/policies/retrain.lua loaded? See the log.")

    def play(self):
        labelled = self.server.call("serving.get_endpoint", name=self.name)["labelled"]
        every = self.server.call("drift.get_monitor", endpoint=self.name)["every"]
        self.times = []
        say(f"4. The other {len(self.played):,} half-hours are played, one prediction each; the truth comes back a day (48 rows) later.")
        say("   A day lasts as long as it must: the next one waits until the monitor has looked and a retraining, if any, is done."
            " In reality it has 24 hours.")
        if labelled:
            say(f"   {labelled:,} were played before; it goes on from there.")
        right, retrains, version, begun, first = [], 0, "?", time.monotonic(), labelled
        self.wait(labelled, every)
        while labelled < len(self.played):
            day = range(labelled, min(labelled + DAY, len(self.played)))
            for index in day:
                version, hit = self.predict(index)
                right.append(hit)
            items = [{"id": f"{self.name}-{i}", "label": self.played[i][-1]} for i in day]
            before, labelled = labelled, self.server.call("serving.feedback", endpoint=self.name, items=items)["labelled"]
            if labelled // every != before // every:
                retrains = self.wait(labelled, every)
            last = labelled == len(self.played)
            if LIVE or last or labelled // 3000 != before // 3000:
                recent = right[-ROLLING:]
                rate = (labelled - first) / (time.monotonic() - begun)
                line = (f"   [{bar(labelled / len(self.played))}] {labelled:6,} rows  accuracy of the last {len(recent):,}: {sum(recent) / len(recent):.3f}"
                        f"  retrains {retrains}  version {version}  {rate:,.0f} rows/s")
                progress(line, last=last or not LIVE)
        self.latency()

    # ---- What it is compared with ----

    def accuracy(self, version, dataset_version, first, rows, model=None):
        return self.server.call("serving.evaluate", model=model or self.name, version=str(version), dataset=self.name + "-rest",
                                dataset_version=dataset_version, first_row=first, rows=rows)["correct"]

    def evenly(self, rest, count):
        """As many retrains at even distances, each on as many of the newest rows as the rule takes, deployed without a judge."""
        cuts = [round(len(self.played) * (i + 1) / (count + 1)) for i in range(count)]
        correct = self.accuracy(self.first, rest, 0, cuts[0] if cuts else len(self.played))
        for i, cut in enumerate(cuts):
            progress(f"   evenly spaced retrain {i + 1} of {count}")
            dataset, at = self.name + "-even", self.start + cut
            made = self.server.find("datasets.get_version", name=dataset, version=i + 1)
            version = made["version"] if made else self.server.upload(dataset, self.rows[at - WINDOW:at])
            job = self.train(dataset, dataset, version, 0, {"evenly_spaced": i + 1, "of": count})
            end = cuts[i + 1] if i + 1 < count else len(self.played)
            correct += self.accuracy(job["version"], rest, cut, end - cut, model=dataset)
        progress("", last=LIVE)
        return correct / len(self.played)

    def managed(self):
        """From the server's own prediction log: what it answered, against the truth."""
        right = missing = 0
        for first in range(0, len(self.played), 5000):
            window = self.server.call("serving.labelled", endpoint=self.name, **{"from": first, "to": min(first + 5000, len(self.played))})
            missing += window["missing"]
            right += sum(int(row["prediction"] >= 0.5) == row["label"] for row in window["rows"])
        return right / (len(self.played) - missing), missing

    def compare(self):
        say("5. For comparison: a model never retrained, and as many retrains evenly spaced.")
        rest = 1 if self.server.find("datasets.get_version", name=self.name + "-rest", version=1) else self.server.upload(self.name + "-rest", self.played)
        judged, final = self.retrains()
        alerts = self.server.call("drift.list_alerts", endpoint=self.name, limit=1000)["alerts"]
        managed, missing = self.managed()
        by_id = {a["id"]: a for a in alerts}
        promoted = {j["labels"]["judge"]: j for j in final if "deployed" in j["labels"]}
        return {
            "name": self.name, "rows": len(self.played), "baseline": self.baseline, "managed": managed, "missing": missing,
            "never": self.accuracy(self.first, rest, 0, len(self.played)) / len(self.played),
            "no_change": sum(self.rows[i - 1][-1] == self.rows[i][-1] for i in range(self.start, len(self.rows))) / len(self.played),
            "even": self.evenly(rest, len(judged)),
            "alerts": {kind: [sum(a["kind"] == kind for a in alerts), sum(a["kind"] == kind and a["state"] == "raised" for a in alerts)]
                       for kind in ("drift", "accuracy")},
            "latency": self.latency(),
            "retrains": [self.retrain(j, by_id.get(j.get("cause")), promoted.get(j["id"])) for j in judged],
        }

    def latency(self):
        """Of the requests of this run; kept apart, for a run that is interrupted between playing and comparing."""
        kept = self.state / f"demo-{self.name}-latency.json"
        if self.times:
            kept.write_text(json.dumps({"p50_us": percentile(self.times, 0.5) * 1e6, "p99_us": percentile(self.times, 0.99) * 1e6,
                                        "requests": len(self.times)}) + "\n")
        return json.loads(kept.read_text()) if kept.exists() else None

    def retrain(self, job, alert, final):
        labels = job["labels"]
        what = "?"
        if alert:
            drifted = ", ".join(f"{f['name']} PSI {f['psi']:.1f}" for f in alert.get("features", []))
            what = f"drift of {drifted}" if alert["kind"] == "drift" else f"accuracy {alert['value']:.3f} below {alert['threshold']:.3f}"
        return {"row": labels["labelled"], "alert": job.get("cause"), "what": what, "champion": labels.get("champion_accuracy"),
                "challenger": labels.get("challenger_accuracy"), "verdict": labels["verdict"], "version": final and final["version"]}


# ---- The table ------------------------------------------------------------------------------------------------------------------------------

def table(s):
    refused = sum(r["verdict"] == "refused" for r in s["retrains"])
    promoted = sum(r["version"] is not None for r in s["retrains"])
    say()
    say(f"Accuracy over {s['rows']:,} predictions, each made before its truth was known")
    for name, value in (("managed by the rule", s["managed"]), (f"{len(s['retrains'])} retrains evenly spaced, unjudged", s["even"]),
                        ("never retrained", s["never"]), ("no change: the previous label", s["no_change"])):
        say(f"  {name:36} {value:.4f}")
    if s["missing"]:
        say(f"  ({s['missing']} predictions are not in the log and are left out of the first)")
    say()
    for kind, (times, raised) in s["alerts"].items():
        say(f"  {kind + ' alerts':22} {raised} (up at {times} evaluations)")
    say(f"  {'retrains':22} {len(s['retrains'])}: {promoted} promoted, {refused} refused")
    if s["latency"]:
        seen = s["latency"]
        say(f"  {'a prediction':22} p50 {seen['p50_us']:.0f} us, p99 {seen['p99_us']:.0f} us, seen by the client over {seen['requests']:,} requests")
    say()
    say("   row  cause                                                           champion : challenger   verdict")
    for r in s["retrains"]:
        against = f"{r['champion']:.3f} : {r['challenger']:.3f}" if r["challenger"] is not None else ""
        verdict = f"promoted as version {r['version']}" if r["version"] is not None else r["verdict"]
        what = r["what"] if len(r["what"]) <= 62 else r["what"][:59] + "..."
        say(f"{r['row']:6,}  {what:62}  {against:>21}   {verdict}")
        say(f"        {r['alert']}")
    say()
    say("Both were tried on the newest 500 rows, which neither had learned from. The winning recipe then learned from those rows too: that model is deployed.")
    say("Evenly spaced retrains come close on this stream; but they have to be told how many there should be, and when the stream ends.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:8080")
    parser.add_argument("--state", type=pathlib.Path, default=pathlib.Path("var"), help="the daemon's state directory")
    parser.add_argument("--again", action="store_true", help="play once more, under a new name; nothing is deleted")
    options = parser.parse_args()
    server = Server(options.address, (options.state / "admin.token").read_text().strip())
    results = options.state / "demo.json"
    summary = json.loads(results.read_text()) if results.exists() else None
    if summary and not options.again:
        endpoint = server.call("serving.get_endpoint", name=summary["name"])
        say(f"The demonstration was played before (--again plays it once more). The endpoint '{summary['name']}' serves version {endpoint['version']}.")
        return table(summary)
    demo = Demo(server, options.state, "elec2")
    number = 1
    while summary and demo.is_played():
        number += 1
        demo.name = f"elec2-{number}"
    demo.prepare()
    demo.play()
    summary = demo.compare()
    results.write_text(json.dumps(summary, indent=1) + "\n")
    table(summary)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. What was played stays; the next run goes on from there.")
