"""kill -9 of purlind at random moments while the demonstration plays: predictions, labels that come back, drift, and retrainings by
conf/policies/retrain.lua with smaller numbers, so that each round meets some of everything.

The player records what it was told; afterwards all of that must be there, every training must have ended, and nothing may be half-written.
PURLIN_SEED=N repeats the moments of an earlier run; the seed is printed."""
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import sys
import threading
import time

from daemon import ROOT, Threads, free_port, sql, staged, wait_until

sys.path.insert(0, str(ROOT / "tests" / "demo"))
import elec2  # noqa: E402

FULL = os.environ.get("PURLIN_FULL") == "yes"
ROUNDS = 60 if FULL else 20
LONGEST_LIFE = 4.0 if FULL else 0.7  # seconds from ready to kill -9
ROWS = 45000 if FULL else 20000
FIRST = 1000  # rows that the first model learns from
# The rule's own numbers, made small: so many rows come by within a round.
SMALLER = {"WINDOW": 800, "LEAST": 300, "HOLD_OUT": 100, "COOLDOWN": 150, "NEWS": 150, "BUDGET": 1000}
MONITOR = {"every": 50, "drift_window": 200, "accuracy_window": 100, "accuracy_margin": 0.02, "psi_threshold": 0.5}
LOG_WINDOW_S, LOG_ROWS = 0.2, 1000  # what plugins/serving/README.md says a crash may lose, per event loop
SLACK_S = 1.0  # for a batch that was being written, on a busy machine
GONE = (OSError, http.client.HTTPException)


def policies(folder):
    text = (ROOT / "conf" / "policies" / "retrain.lua").read_text()
    for name, value in SMALLER.items():
        text, count = re.subn(rf"(?m)^local {name} *= \d+", f"local {name} = {value}", text)
        assert count == 1, f"retrain.lua has no {name} any more"
    (folder / "retrain.lua").write_text(text)


class Recorder(elec2.Server):
    """The demonstration's client: asks until it is answered, and records the answers."""

    def __init__(self, port, token):
        super().__init__(f"127.0.0.1:{port}", token)
        self.connection.timeout = 20
        self.labels, self.labelled = {}, 0
        self.predictions = []  # (when it was answered, id)
        self.trainings = {}  # id: what it was when it had ended, or None
        self.uploads = {}  # (dataset, version): sha256
        self.alerts = set()
        self.deployed = 0

    def send(self, method, path, body=None, media="application/json"):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = dict(self.headers, **({"Content-Type": media} if body is not None else {}))
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, f"{method} {path} is not answered any more"
            try:
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                text = answer.read()
            except GONE:
                self.connection.close()
                time.sleep(0.02)
                continue
            if answer.status == 503:
                time.sleep(0.02)
                continue
            if answer.status >= 400:
                raise elec2.Refused(answer.status, text.decode(errors="replace"))
            told = json.loads(text) if text else None
            self.record(path, body, told)
            return told

    def record(self, path, body, told):
        name = path.rsplit("/", 1)[1]
        if name == "infer":
            self.predictions.append((time.monotonic(), told["id"]))
        elif name == "serving.feedback":
            asked = json.loads(body)["items"]
            assert told["labelled"] >= self.labelled, "labels became fewer"
            self.labels.update((item["id"], item["label"]) for item in asked)
            self.labelled = told["labelled"]
        elif path.endswith("/versions"):
            self.uploads[path.split("/")[-2], told["version"]] = hashlib.sha256(body).hexdigest()
        elif name in ("serving.deploy", "serving.get_endpoint"):
            assert told["version"] >= self.deployed, "an older version serves again"
            self.deployed = told["version"]
        elif name == "drift.list_alerts":
            self.alerts.update(alert["id"] for alert in told["alerts"])
        elif name == "training.create_job" or name == "training.get_job":
            self.saw_training(told)
        elif name == "training.list_jobs":
            for job in told["jobs"]:
                self.saw_training(job)
            missing = [job for job in self.trainings if job not in {one["id"] for one in told["jobs"]}]
            assert not missing, f"trainings were there and are lost: {missing}"

    def saw_training(self, job):
        end = (job["state"], job.get("version"), job["attempt"]) if job["state"] not in ("queued", "running") else None
        before = self.trainings.get(job["id"])
        assert before in (None, end), f"training {job['id']} had ended as {before} and is {end or job['state']} now"
        self.trainings[job["id"]] = end


class Player(elec2.Demo):
    """The demonstration on a part of the stream, until it is told to stop."""

    def __init__(self, server):
        super().__init__(server, None, "elec2")
        self.rows = self.rows[:ROWS]
        self.start, self.validation = FIRST, FIRST // 10
        self.played = self.rows[self.start:]
        self.times, self.stop = [], threading.Event()

    def prepare(self):
        self.server.upload(self.name, self.rows[:self.start])
        job = self.train(self.name, self.name, 1, self.validation, {"stage": "first"})
        baseline = {metric["key"]: metric["value"] for metric in job["metrics"]}["validation_accuracy"]
        self.server.call("serving.deploy", name=self.name, model=self.name, version=str(job["version"]))
        self.server.call("drift.create_monitor", endpoint=self.name, model=self.name, version=job["version"], dataset=self.name,
                         dataset_version=1, baseline_accuracy=baseline, **MONITOR)

    def play(self):
        labelled, every = 0, MONITOR["every"]
        while labelled < len(self.played) and not self.stop.is_set():
            day = range(labelled, min(labelled + elec2.DAY, len(self.played)))
            for index in day:
                self.predict(index)
            items = [{"id": f"{self.name}-{i}", "label": self.played[i][-1]} for i in day]
            before, labelled = labelled, self.server.call("serving.feedback", endpoint=self.name, items=items)["labelled"]
            assert labelled == day.stop, "labels were counted twice, or not at all"
            if labelled // every != before // every:
                self.wait(labelled, every)
        assert self.stop.is_set(), "the stream was over before the last round: make ROWS larger"
        self.wait(labelled, every)
        return labelled


def predict_beside(recorder, row, stop):
    """Predictions without labels: nobody has the log written but the log itself."""
    number = 0
    while not stop.is_set():
        body = {"id": f"beside-{number}", "inputs": [{"name": "rows", "shape": [1, 10], "datatype": "FP32", "data": row[:-1]}]}
        recorder.send("POST", "/v2/models/elec2/infer", body)
        number += 1
        time.sleep(0.01)


# ---- What must hold afterwards


def check_labels(server, recorder, labelled):
    rows = sql(server, "SELECT labelled_index, prediction_id, label FROM serving_feedback ORDER BY labelled_index")
    assert [int(row[0]) for row in rows] == list(range(labelled)), "labels are not numbered from 0 without gaps"
    have = {row[1]: float(row[2]) for row in rows}
    lost = [one for one, label in recorder.labels.items() if have.get(one) != label]
    assert not lost, f"{len(lost)} labels were acknowledged and are lost: {lost[:5]}"


def check_prediction_log(server, recorder, kills):
    logged = {row[0] for row in sql(server, "SELECT prediction_id FROM serving_predictions")}
    lost = [at for at, one in recorder.predictions if one not in logged]
    for at in lost:
        assert any(at <= kill + 0.05 and kill - at < LOG_WINDOW_S + SLACK_S for kill in kills), \
            f"a prediction answered {min((kill - at for kill in kills if kill > at), default=-1):.3f} s before a kill is not in the log"
    loops = os.cpu_count() or 1
    for kill in kills:
        near = sum(kill - LOG_WINDOW_S - SLACK_S < at <= kill + 0.05 for at in lost)
        assert near <= 2 * LOG_ROWS * loops, f"{near} rows of the prediction log were lost at once"
    return len(lost)


def check_trainings(server, client, recorder):
    jobs = client.op("training.list_jobs", {"limit": 1000}).json["jobs"]
    known = {job["id"]: job for job in jobs}
    assert set(recorder.trainings) <= set(known), "trainings were acknowledged and are lost"
    bad = [(job["id"], job["state"], job["attempt"], job["message"]) for job in jobs if job["state"] != "succeeded"]
    assert not bad, f"trainings that were never to fail: {bad}"
    versions = client.op("registry.list_versions", {"name": "elec2", "limit": 1000}).json["versions"]
    made = sorted((job["version"], job["id"]) for job in jobs if job.get("version"))
    assert made == sorted((one["version"], one["training_id"]) for one in versions), "versions and trainings do not match one to one"
    assert [number for number, _ in made] == list(range(1, len(made) + 1)), "version numbers have gaps"
    judges = [job["labels"]["judge"] for job in jobs if job["labels"].get("stage") == "final"]
    assert len(judges) == len(set(judges)), "a challenger was trained to the end twice"
    causes = [job["cause"] for job in jobs if job["labels"].get("stage") == "judge"]
    assert len(causes) == len(set(causes)), "an alert was answered by two retrainings"
    for job in jobs:
        lines = client.get(f"/api/v1/training/jobs/{job['id']}/log")
        assert lines.status == 200, lines
    ended = sql(server, "SELECT state, name, COUNT(*) FROM purlin_jobs WHERE state <> 2 GROUP BY state, name")
    assert not ended, f"jobs of the queue that did not succeed (state, name, count): {ended}"
    return jobs, versions


def check_serving(client, recorder, versions, row):
    endpoint = client.op("serving.get_endpoint", {"name": "elec2"}).json
    assert recorder.deployed <= endpoint["version"] <= len(versions)
    answer = client.post("/v2/models/elec2/infer", {"inputs": [{"name": "rows", "shape": [1, 10], "datatype": "FP32", "data": row[:-1]}]})
    assert answer.status == 200 and answer.json["model_version"] == str(endpoint["version"]), answer
    numbers = [one["number"] for one in client.op("serving.list_deployments", {"name": "elec2", "limit": 1000}).json["deployments"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "a deployment is missing from the history"
    alerts = {one["id"] for one in client.op("drift.list_alerts", {"endpoint": "elec2", "limit": 1000}).json["alerts"]}
    assert recorder.alerts <= alerts, "alerts were told and are lost"


def check_bytes(server, client, recorder, versions):
    """Every dataset version and model that is listed is there whole, and every file is what its name says."""
    for name in ("elec2", "elec2-recent"):
        newest = client.get(f"/api/v1/datasets/{name}/versions/0").json["version"]
        for number in range(1, newest + 1):
            about = client.get(f"/api/v1/datasets/{name}/versions/{number}").json
            body = client.get(f"/api/v1/datasets/{name}/versions/{number}/content").body
            assert hashlib.sha256(body).hexdigest() == about["sha256"], f"version {number} of {name} is not whole"
            assert recorder.uploads.get((name, number), about["sha256"]) == about["sha256"]
    blobs = server.state / "blobs"
    files = [path for path in blobs.rglob("*") if path.is_file() and path.parent.name != "daemons" and path.name != ".nobackup"]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files}
    for digest, path in digests.items():
        assert "".join(path.relative_to(blobs).parts).endswith(digest[2:]), f"{path} is not what its name says: half-written?"
    assert {one["sha256"] for one in versions} <= set(digests), "a registered version's model is not in storage"


def test_nothing_is_lost_when_the_daemon_is_killed_during_the_demonstration(new_daemon):
    seed = int(os.environ.get("PURLIN_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"\nPURLIN_SEED={seed}")
    dice = random.Random(seed)
    server = new_daemon(start=False, arguments=("--port", str(free_port())))
    policies(server.policies)
    server.start()
    recorder = Recorder(server.port, server.token)
    player = Player(recorder)
    player.prepare()
    reached = []
    beside = Recorder(server.port, server.token)
    playing = Threads(lambda: reached.append(player.play()), lambda: predict_beside(beside, player.played[0], player.stop))
    kills, during_training, trainings = [], 0, 0
    client = server.client(timeout=10)
    number = 0
    while number < ROUNDS or (number < 3 * ROUNDS and (during_training < ROUNDS // 4 or trainings < ROUNDS // 4)):  # a busy machine needs more
        wait_until(server.ready, 30, f"round {number}: not ready: {server.log_text()[-3000:]}")
        if number % 2:  # every other time in the midst of a training, if there is one soon
            end = time.monotonic() + 2
            while time.monotonic() < end and not client.op("training.list_jobs", {"state": "running", "limit": 1}).json["jobs"]:
                time.sleep(0.01)
            time.sleep(dice.uniform(0, 0.25))
        else:
            time.sleep(dice.uniform(0, LONGEST_LIFE) * (1 if number < ROUNDS else 4))
        assert not playing.errors, playing.errors
        jobs = client.op("training.list_jobs", {"limit": 1000}).json["jobs"]
        during_training += any(job["state"] == "running" for job in jobs)
        trainings = len(jobs)
        client.close()
        server.kill()
        kills.append(time.monotonic())
        server.start()
        number += 1
    player.stop.set()
    playing.join(90)
    labelled = reached[0]
    client = server.client()
    check_labels(server, recorder, labelled)
    time.sleep(3 * LOG_WINDOW_S)
    recorder.predictions += beside.predictions
    lost = check_prediction_log(server, recorder, kills)
    jobs, versions = check_trainings(server, client, recorder)
    check_serving(client, recorder, versions, player.played[0])
    check_bytes(server, client, recorder, versions)
    client.close()
    attempts = sum(job["attempt"] for job in jobs)
    print(f"{len(kills)} kills, {during_training} of them in a training; {labelled} rows, {lost} of the prediction log lost; "
          f"{len(jobs)} trainings in {attempts} attempts, {len(versions)} versions")
    assert during_training >= ROUNDS // 5, "hardly any kill met a training"
    assert len(jobs) >= ROUNDS // 4, "hardly anything happened"
    server.stop()
    assert not (server.state / "blobs" / "staging").exists() or not staged(server.state / "blobs"), "staging files stay"
    runs = server.state / "runs"
    assert not runs.exists() or not any(runs.iterdir()), "directories of trainings stay"
