"""Trainers without a server: purlin-runner by hand against a stub that serves the data, takes artifacts and records reports."""

import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("PURLIN_BUILD", Path(__file__).resolve().parents[2] / "build"))
RUNNER = BUILD / "bin" / "purlin-runner"
XGBOOST = BUILD / "plugins" / "trainer-xgboost.so"
PROCESS = BUILD / "plugins" / "trainer-process.so"
TOKEN = "attempt_secret"

needs_xgboost = pytest.mark.skipif(not XGBOOST.exists(), reason="trainer-xgboost was not built: no libxgboost")


class Stub(http.server.ThreadingHTTPServer):
    """What the training plugin does for an attempt, and nothing else."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.parts = {}
        self.artifacts = {}
        self.reports = []
        self.requests_seen = 0
        self.answers = []  # (method, status) that the next such requests get instead
        self.unwanted = False
        self.once_ended_unwanted = False  # as the real one: after a last report the attempt is over
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def metric(self, key):
        """The last value of a metric."""
        found = [m["value"] for r in self.reports for m in r.get("metrics", []) if m["key"] == key]
        return found[-1] if found else None

    @property
    def log(self):
        return "".join(r.get("log", "") for r in self.reports)

    @property
    def last(self):
        return self.reports[-1] if self.reports else {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def respond(self, status, body=b"{}"):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_one(self, act):
        stub = self.server
        body = self.body()
        with stub.lock:
            stub.requests_seen += 1
            planned = next((a for a in stub.answers if a[0] == self.command), None)
            if planned:
                stub.answers.remove(planned)
                return self.respond(planned[1], b'{"title":"planned"}')
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.respond(401)
            if stub.unwanted:
                return self.respond(409)
            act(stub, body)

    def do_GET(self):
        def act(stub, _):
            part = self.path.partition("part=")[2] or "train"
            if part not in stub.parts:
                return self.respond(404)
            self.respond(200, stub.parts[part].encode())

        self.handle_one(act)

    def do_PUT(self):
        def act(stub, body):
            stub.artifacts[self.path.rsplit("/", 1)[1]] = body
            self.respond(201)

        self.handle_one(act)

    def do_POST(self):
        def act(stub, body):
            stub.reports.append(json.loads(body))
            if stub.once_ended_unwanted and "state" in stub.reports[-1]:
                stub.unwanted = True
            self.respond(200)

        self.handle_one(act)


@pytest.fixture
def stub():
    server = Stub()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def rows(count, seed, flips=0.05):
    """Two columns that tell the class, one that does not, one of text, and some gaps."""
    rng = random.Random(seed)
    lines = ["a,b,noise,name,class"]
    for i in range(count):
        a, b = rng.uniform(-1, 1), rng.uniform(-1, 1)
        label = int(a + b > 0) ^ int(rng.random() < flips)
        gap = "" if i % 50 == 0 else f"{rng.random():.6f}"
        lines.append(f'{a:.6f},{b:.6f},{gap},"row ""{i}""",{label}')
    return "\n".join(lines) + "\n"


def message(stub, trainer, specification, configuration=None):
    training = {
        "job_id": "trn_test",
        "trainer": trainer,
        "specification": specification,
        "dataset_url": f"{stub.url}/dataset",
        "artifact_url": f"{stub.url}/artifacts",
        "callback_url": f"{stub.url}/reports",
        "token": TOKEN,
        "attempt": 1,
    }
    return json.dumps({"configuration": configuration or {}, "input": training}).encode()


def begin(stub, folder, plugin, trainer, specification, configuration=None, environment=None):
    process = subprocess.Popen(
        [RUNNER, "run", plugin, "trainer", trainer],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    process.stdin.write(message(stub, trainer, specification, configuration))
    process.stdin.close()
    process.stdin = None
    return process


def run(*arguments, timeout=60, **options):
    process = begin(*arguments, **options)
    try:
        _, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
    for line in errors.decode().splitlines():
        if not line.startswith("==") and "Sanitizer" not in line:
            json.loads(line)  # the log is JSON, line by line
    process.log = errors.decode()
    return process


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to pass in time")


def failure(stub):
    assert stub.last.get("state") == "failed", stub.reports
    return stub.last["message"]


# ---- Describing and checking --------------------------------------------------------------------------------------------


def runner(*arguments, stdin=b""):
    return subprocess.run([RUNNER, *map(str, arguments)], input=stdin, capture_output=True, timeout=30)


@needs_xgboost
def test_describe():
    done = runner("describe", XGBOOST)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert described["name"] == "trainer-xgboost" and described["contained"] is True
    (capability,) = described["capabilities"]
    assert capability["contract"] == "trainer" and capability["name"] == "xgboost"
    assert capability["specification"]["properties"]["rounds"]["default"] == 100
    assert capability["specification"]["required"] == ["label"]


def test_describe_refuses_what_is_no_plugin(tmp_path):
    path = tmp_path / "other.so"
    path.write_bytes(b"\x7fELF nothing")
    done = runner("describe", path)
    assert done.returncode == 1 and str(path).encode() in done.stderr and done.stdout == b""
    assert runner("describe", tmp_path / "absent.so").returncode == 1
    assert runner("whatever").returncode == 2


def test_check_names_what_is_wrong_with_a_configuration():
    assert runner("check", PROCESS, stdin=b'{"allow":["*"]}').returncode == 0
    done = runner("check", PROCESS, stdin=b'{"alow":["*"]}')
    assert done.returncode == 1 and b"'alow'" in done.stderr and b"trainer-process" in done.stderr
    done = runner("check", PROCESS, stdin=b'{"allow":"*"}')
    assert done.returncode == 1 and b"'allow'" in done.stderr


@needs_xgboost
def test_check_of_a_plugin_without_configuration():
    assert runner("check", XGBOOST, stdin=b"{}").returncode == 0
    assert runner("check", XGBOOST, stdin=b'{"a":1}').returncode == 1


def test_bad_messages(stub, tmp_path):
    for text in (b"", b"[1]", b'{"input":{}}', b'{"other":1}'):
        done = runner("run", PROCESS, "trainer", "process", stdin=text)
        assert done.returncode == 2, text
    assert runner("run", PROCESS, "predictor", "process", stdin=message(stub, "process", {})).returncode == 2
    assert stub.reports == []


def test_unknown_trainer_and_missing_plugin_are_reported(stub, tmp_path):
    assert run(stub, tmp_path, PROCESS, "nobody", {}).returncode == 1
    assert "has no trainer 'nobody'" in failure(stub)
    assert run(stub, tmp_path, tmp_path / "absent.so", "process", {}).returncode == 1
    assert "absent.so" in failure(stub)


# ---- xgboost ------------------------------------------------------------------------------------------------------------


@needs_xgboost
def test_xgboost_learns(stub, tmp_path):
    stub.parts = {"train": rows(3000, 1), "validation": rows(500, 2)}
    process = run(stub, tmp_path, XGBOOST, "xgboost", {"label": "class", "features": ["b", "a", "noise"], "rounds": 60})
    assert process.returncode == 0, process.log
    last = stub.last
    assert last["state"] == "succeeded" and last["framework"] == "xgboost" and last["progress"] == 1
    assert [c["name"] for c in last["signature"]["inputs"]] == ["b", "a", "noise"]
    assert last["signature"]["outputs"] == [{"name": "probability", "datatype": "FP32"}]
    assert 0.88 < stub.metric("validation_accuracy") < 0.99
    assert stub.metric("validation_logloss") < 0.4
    progress = [r["progress"] for r in stub.reports if "progress" in r]
    assert progress == sorted(progress)
    steps = {m["step"] for r in stub.reports for m in r.get("metrics", []) if m["key"] == "validation_logloss"}
    assert len(steps) == 20 and max(steps) == 60  # the curve
    model = json.loads(stub.artifacts["model"])
    assert model["learner"]["feature_names"] == ["b", "a", "noise"]
    assert len(model["learner"]["gradient_booster"]["model"]["trees"]) == 60
    assert not (tmp_path / "train.csv").exists()


@needs_xgboost
def test_xgboost_is_deterministic_and_finds_numeric_columns(stub, tmp_path):
    stub.parts = {"train": rows(800, 3)}
    models = []
    for _ in range(2):
        specification = {"label": "class", "rounds": 40, "subsample": 0.7, "seed": 5}
        assert run(stub, tmp_path, XGBOOST, "xgboost", specification).returncode == 0
        models.append(stub.artifacts["model"])
    assert models[0] == models[1]
    assert [c["name"] for c in stub.last["signature"]["inputs"]] == ["a", "b", "noise"]
    assert stub.metric("validation_accuracy") is None and stub.metric("train_accuracy") > 0.8


@needs_xgboost
def test_xgboost_regression_and_classes(stub, tmp_path):
    rng = random.Random(4)
    numbers = [(rng.random(), rng.random()) for _ in range(500)]
    stub.parts = {"train": "x,y,t\n" + "".join(f"{x},{y},{2 * x - y}\n" for x, y in numbers)}
    assert run(stub, tmp_path, XGBOOST, "xgboost", {"label": "t", "objective": "reg:squarederror"}).returncode == 0
    assert stub.metric("train_rmse") < 0.1
    assert stub.last["signature"]["outputs"][0]["name"] == "prediction"
    stub.parts = {"train": "x,y,t\r\n" + "".join(f"{x},{y},{int(3 * x)}\r\n" for x, y in numbers)}
    specification = {"label": "t", "objective": "multi:softprob", "num_class": 3, "rounds": 20}
    assert run(stub, tmp_path, XGBOOST, "xgboost", specification).returncode == 0
    assert stub.metric("train_accuracy") > 0.95
    assert [c["name"] for c in stub.last["signature"]["outputs"]] == ["class_0", "class_1", "class_2"]


@needs_xgboost
def test_xgboost_stops_early_and_keeps_the_best(stub, tmp_path):
    stub.parts = {"train": rows(400, 5, 0.3), "validation": rows(400, 6, 0.3)}
    specification = {"label": "class", "rounds": 500, "eta": 0.3, "early_stopping_rounds": 10, "eval_metric": ["logloss"]}
    assert run(stub, tmp_path, XGBOOST, "xgboost", specification).returncode == 0
    learner = json.loads(stub.artifacts["model"])["learner"]
    trees = len(learner["gradient_booster"]["model"]["trees"])
    assert learner["feature_names"] == ["a", "b", "noise"]
    curve = {m["step"]: m["value"] for r in stub.reports for m in r.get("metrics", []) if m["key"] == "validation_logloss"}
    assert trees < 100 and max(curve) == trees + 10
    assert curve[trees] == min(curve.values())
    assert stub.last["message"] == f"{trees} rounds"


BAD_DATA = [
    ("a,class\n1,0\nx,1\n", {}, "line 3, column 'a': 'x' is not a number", ["a"]),
    ("a,class\n1,0\n1,2\n", {}, "line 3, column 'class': with binary:logistic labels are whole numbers from 0 to 1, not 2", None),
    ("a,class\n1,0\n1,\n", {}, "line 3, column 'class': a label may not be missing", None),
    ("a,class\n1,0\n1\n", {}, "line 3: 1 fields, the header has 2", None),
    ('a,class\n1,0\n"1,0\n', {}, "line 3: a quote is not closed", None),
    ('a,class\n1,0\n"1"x,0\n', {}, "line 3: text follows a closing quote", None),
    ('a,class\n1"2,0\n', {}, "line 2: a quote in a field that is not quoted", None),
    ("a,class\n1\0,0\n", {}, "line 2: holds a NUL byte", None),
    ("a,class\r1,0\r", {}, "line 1: a carriage return without a line feed", None),
    ("a,class\n1e99,0\n", {}, "'1e99' is not a number", ["a"]),
    ("a,class\n", {}, "the dataset has no rows to learn from", ["a"]),
    ("", {}, "the dataset: it is empty", None),
    ("a,b\n1,0\n", {}, "the dataset has no column 'class' (the label)", None),
    ("a,class\n1,0\n", {}, "the dataset has no column 'z'", ["z"]),
    ("a,class\n1,0\n", {}, "'class' is the label and cannot be a feature", ["class"]),
    ("a,class\nx,0\n", {}, "no numeric column", None),
    ("a,class\n" + "1,0\n" * 200_000, {"memory_mb": 1}, "rows do not fit into 1 MiB", None),
    ("a,class\n1,0\n", {"early_stopping_rounds": 5}, "early_stopping_rounds needs a validation part", None),
]


@needs_xgboost
@pytest.mark.parametrize("text, more, expected, features", BAD_DATA, ids=[case[2][:40] for case in BAD_DATA])
def test_xgboost_names_what_is_wrong_with_the_data(stub, tmp_path, text, more, expected, features):
    stub.parts = {"train": text}
    specification = {"label": "class", "rounds": 2, **more, **({"features": features} if features else {})}
    assert run(stub, tmp_path, XGBOOST, "xgboost", specification).returncode == 1
    assert expected in failure(stub)
    assert "model" not in stub.artifacts


BAD_SPECIFICATIONS = [
    ({}, ["label"]),
    ({"label": "class", "rounds": 0, "eta": "fast", "depth": 3}, ["rounds", "eta", "depth"]),
    ({"label": "class", "objective": "rank:pairwise"}, ["objective"]),
    ({"label": "class", "objective": "multi:softprob"}, ["num_class: must be at least 2"]),
    ({"label": "class", "num_class": 3}, ["num_class: is for multi:softprob only"]),
    ({"label": "class", "eval_metric": ["nonsense"], "rounds": 2}, ["libxgboost", "nonsense"]),
]


@needs_xgboost
@pytest.mark.parametrize("specification, named", BAD_SPECIFICATIONS)
def test_xgboost_names_what_is_wrong_with_the_specification(stub, tmp_path, specification, named):
    stub.parts = {"train": rows(50, 1)}
    assert run(stub, tmp_path, XGBOOST, "xgboost", specification).returncode == 1
    for text in named:
        assert text in failure(stub)


@needs_xgboost
def test_missing_dataset(stub, tmp_path):
    assert run(stub, tmp_path, XGBOOST, "xgboost", {"label": "class"}).returncode == 1
    assert "no part 'train'" in failure(stub)


@needs_xgboost
def test_cancel_is_prompt_and_silent(stub, tmp_path):
    stub.parts = {"train": rows(20000, 7)}
    process = begin(stub, tmp_path, XGBOOST, "xgboost", {"label": "class", "rounds": 100000, "max_depth": 10})
    wait_for(lambda: any(r.get("progress", 0) > 0.05 for r in stub.reports))
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1
    assert time.monotonic() - started < 5
    assert all("state" not in r for r in stub.reports)
    process.stderr.close()


@needs_xgboost
def test_an_attempt_that_is_no_longer_wanted_stops(stub, tmp_path):
    stub.parts = {"train": rows(20000, 7)}
    process = begin(stub, tmp_path, XGBOOST, "xgboost", {"label": "class", "rounds": 100000, "max_depth": 10})
    wait_for(lambda: stub.reports)
    stub.unwanted = True
    assert process.wait(20) == 1
    assert all("state" not in r for r in stub.reports)
    process.stderr.close()


@needs_xgboost
def test_errors_that_pass_are_outlasted(stub, tmp_path):
    stub.parts = {"train": rows(300, 8)}
    stub.answers = [("GET", 503), ("GET", 429), ("PUT", 500), ("PUT", 502), ("POST", 503), ("POST", 504)]
    assert run(stub, tmp_path, XGBOOST, "xgboost", {"label": "class", "rounds": 5}).returncode == 0
    assert stub.last["state"] == "succeeded" and stub.answers == []


@needs_xgboost
def test_refusals_are_not_repeated(stub, tmp_path):
    stub.parts = {"train": rows(300, 8)}
    stub.answers = [("PUT", 507)]
    assert run(stub, tmp_path, XGBOOST, "xgboost", {"label": "class", "rounds": 5}).returncode == 1
    assert "the server answered 507" in failure(stub)


def stop(stub):
    stub.shutdown()
    stub.server_close()


def come_back(stub):
    """The same server at the same address."""
    again = Stub.__new__(Stub)
    http.server.ThreadingHTTPServer.__init__(again, stub.server_address, Handler)
    for name in ("parts", "artifacts", "reports", "requests_seen", "answers", "unwanted", "once_ended_unwanted", "lock"):
        setattr(again, name, getattr(stub, name))
    threading.Thread(target=again.serve_forever, args=(0.02,), daemon=True).start()
    return again


@needs_xgboost
def test_the_server_is_away_for_a_while(stub, tmp_path):
    """A restart of the daemon: connections are refused for two seconds."""
    stub.parts = {"train": rows(20000, 9)}
    process = begin(stub, tmp_path, XGBOOST, "xgboost", {"label": "class", "rounds": 400, "max_depth": 8})
    wait_for(lambda: any(r.get("progress", 0) > 0.05 for r in stub.reports))
    stop(stub)
    time.sleep(2)
    again = come_back(stub)
    try:
        assert process.wait(90) == 0, process.stderr.read()
    finally:
        again.shutdown()
        again.server_close()
        process.stderr.close()
    assert again.last["state"] == "succeeded" and "model" in again.artifacts


def test_who_has_worked_for_long_waits_for_long(stub, tmp_path):
    """Six seconds of work and the least patience: it waits for six."""
    process = begin(stub, tmp_path, PROCESS, "process", {"command": ["/bin/sh", "-c", "sleep 6; echo done > out"], "model_file": "out"},
                    {"allow": ["*"]}, {"PURLIN_TRAINING_PATIENCE_S": "1"})  # fmt: skip
    stop(stub)
    wait_for(lambda: (tmp_path / "out").exists())
    time.sleep(3)
    assert process.poll() is None
    again = come_back(stub)
    try:
        assert process.wait(60) == 0, process.stderr.read()
    finally:
        stop(again)
        process.stderr.close()
    assert again.last["state"] == "succeeded" and again.artifacts["model"] == b"done\n"


def test_the_server_stays_away(stub, tmp_path):
    stop(stub)
    process = run(
        stub, tmp_path, PROCESS, "process", {"command": ["/bin/true"]}, {"allow": ["*"]},
        environment={"PURLIN_TRAINING_PATIENCE_S": "1"},
    )  # fmt: skip
    assert process.returncode == 75 and "cannot be told" in process.log


# ---- process ------------------------------------------------------------------------------------------------------------

ANY = {"allow": ["*"]}
SIGNATURE = {"inputs": [{"name": "a", "datatype": "FP32"}], "outputs": [{"name": "p", "datatype": "FP32"}]}


def script(stub, folder, text, more=None, configuration=None, **options):
    specification = {"command": ["/bin/sh", "-c", text], **(more or {})}
    return run(stub, folder, PROCESS, "process", specification, configuration or ANY, **options)


def test_process_needs_no_http(stub, tmp_path):
    stub.parts = {"train": "a,b\n1,2\n", "validation": "a,b\n3,4\n"}
    text = """
        echo starting >&2
        cat train.csv validation.csv
        echo 'purlin: {"progress":0.5,"message":"half","metrics":[{"key":"loss","value":0.25,"step":3}]}'
        printf '{"weights":[1]}' > out.json
        printf 'no newline at the end'
    """
    more = {"download": True, "model_file": "out.json", "framework": "mine", "signature": SIGNATURE}
    process = script(stub, tmp_path, text, more)
    assert process.returncode == 0, process.log
    assert stub.log == "starting\na,b\n1,2\na,b\n3,4\nno newline at the end\n"
    assert stub.metric("loss") == 0.25
    assert any(r.get("progress") == 0.5 and r.get("message") == "half" for r in stub.reports)
    assert stub.artifacts == {"model": b'{"weights":[1]}'}
    assert stub.last["state"] == "succeeded" and stub.last["framework"] == "mine" and stub.last["signature"] == SIGNATURE


def test_process_tells_the_end_in_its_last_words(stub, tmp_path):
    text = f"""echo 'purlin: {{"state":"succeeded","framework":"x","signature":{json.dumps(SIGNATURE)},"message":"fine"}}'"""
    assert script(stub, tmp_path, text).returncode == 0
    assert stub.last["state"] == "succeeded" and stub.last["message"] == "fine" and stub.last["signature"] == SIGNATURE
    assert script(stub, tmp_path, """echo 'purlin: {"state":"failed","message":"no luck"}'""").returncode == 1
    assert failure(stub) == "no luck"


def test_process_environment(stub, tmp_path):
    more = {"environment": ["EXTRA=a b"], "parameters": {"depth": 3}}
    assert script(stub, tmp_path, "env; cat $PURLIN_TRAINING; ls /proc/self/fd", more).returncode == 0
    lines = stub.log.splitlines()
    assert "EXTRA=a b" in lines and f"PURLIN_TOKEN={TOKEN}" in lines and "PURLIN_JOB_ID=trn_test" in lines
    for name, path in (("DATASET", "dataset"), ("ARTIFACT", "artifacts"), ("CALLBACK", "reports")):
        assert f"PURLIN_{name}_URL={stub.url}/{path}" in lines
    specification = json.loads(next(line for line in lines if line.startswith("PURLIN_SPECIFICATION=")).partition("=")[2])
    assert specification["parameters"] == {"depth": 3}
    training = json.loads(next(line for line in lines if line.startswith("{")).removesuffix("0"))
    assert training["specification"] == specification and training["token"] == TOKEN
    assert (tmp_path / "training.json").stat().st_mode & 0o777 == 0o600


def test_process_failures_bring_the_last_lines(stub, tmp_path):
    text = "for i in $(seq 1000); do echo line $i; done; echo bad bytes: '\\377\\376' | xargs -0 printf; exit 3"
    assert script(stub, tmp_path, text).returncode == 1
    assert failure(stub).startswith("the command ended with 3:\nline ") and "line 1000\nbad bytes: ??" in failure(stub)
    assert stub.log.count("line ") == 1000
    assert script(stub, tmp_path, "kill -9 $$").returncode == 1
    assert failure(stub) == "the command was killed by signal 9 (Killed)"
    assert run(stub, tmp_path, PROCESS, "process", {"command": ["/no/such/program"]}, ANY).returncode == 1
    assert "cannot be run" in failure(stub)
    assert script(stub, tmp_path, "true", {"model_file": "absent.bin"}).returncode == 1
    assert "left no file 'absent.bin' behind" in failure(stub)


def test_process_runs_only_what_is_allowed(stub, tmp_path):
    folder, other = tmp_path / "allowed", tmp_path / "allowed-not"
    for place in (folder, other):
        place.mkdir()
        (place / "train").write_text("#!/bin/sh\necho ran\n")
        (place / "train").chmod(0o755)
    (folder / "link").symlink_to(other / "train")

    def outcome(command, allow):
        stub.reports.clear()
        run(stub, tmp_path, PROCESS, "process", {"command": command}, {"allow": allow} if allow is not None else {})
        return "ran" if "ran\n" in stub.log else failure(stub)

    inside, outside = str(folder / "train"), str(other / "train")
    assert outcome([inside], [f"{folder}/"]) == "ran"
    assert outcome([inside], [inside]) == "ran"
    for command, allow in (
        ([inside], None),
        ([inside], []),
        ([outside], [f"{folder}/"]),
        ([f"{folder}/../allowed-not/train"], [f"{folder}/"]),
        ([str(folder / "link")], [f"{folder}/"]),
        (["train"], [f"{folder}/"]),
        ([inside], [""]),
    ):
        assert "is not allowed" in outcome(command, allow), (command, allow)
    for variable in ("LD_PRELOAD=/tmp/x.so", "PURLIN_TOKEN=x", "no value", "=x"):
        assert run(stub, tmp_path, PROCESS, "process", {"command": [inside], "environment": [variable]}, ANY).returncode == 1
        assert "environment" in failure(stub)


def test_process_timeout_ends_the_whole_group(stub, tmp_path):
    text = "sleep 300 & echo $!; trap '' TERM; echo waiting; while :; do sleep 0.1; done"
    process = script(stub, tmp_path, text, {"timeout_s": 1})
    assert process.returncode == 1 and "did not end within 1 s" in failure(stub)
    pid = int(stub.log.splitlines()[0])
    wait_for(lambda: not alive(pid))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_process_cancel(stub, tmp_path):
    process = begin(stub, tmp_path, PROCESS, "process", {"command": ["/bin/sh", "-c", "echo $$; exec sleep 300"]}, ANY)
    wait_for(lambda: "\n" in stub.log)
    pid = int(stub.log)
    assert alive(pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1
    assert not alive(pid) and all("state" not in r for r in stub.reports)
    process.stderr.close()


def test_process_that_left_somebody_behind(stub, tmp_path):
    """The pipe stays open, the command has ended all the same."""
    started = time.monotonic()
    assert script(stub, tmp_path, "sleep 300 & echo done").returncode == 0
    assert time.monotonic() - started < 10
    assert stub.log == "done\n" and stub.last["state"] == "succeeded"


def test_process_lines_that_are_no_reports(stub, tmp_path):
    text = """
        echo 'purlin: {"progress":2}'
        echo 'purlin: not JSON'
        echo ' purlin: {"progress":0.1}'
        head -c 100000 /dev/zero | tr '\\0' x; echo
        printf 'a\\000b\\n'
    """
    assert script(stub, tmp_path, text).returncode == 0
    assert all("progress" not in r for r in stub.reports[:-1])
    assert '{"progress":2}' in stub.log and "not JSON" in stub.log and "a b\n" in stub.log
    assert stub.log.count("x") == 100000 + stub.log.count("next")
    assert all(len(r.get("log", "").encode()) <= 60000 for r in stub.reports)


def test_process_that_reported_success_by_itself(stub, tmp_path):
    code = f"""
import json, os, urllib.request
request = urllib.request.Request(os.environ["PURLIN_CALLBACK_URL"], json.dumps({{"state": "succeeded"}}).encode(),
                                 {{"Authorization": "Bearer " + os.environ["PURLIN_TOKEN"]}})
urllib.request.urlopen(request)
"""
    (tmp_path / "train.py").write_text(code)
    stub.once_ended_unwanted = True
    process = run(stub, tmp_path, PROCESS, "process", {"command": [sys.executable, str(tmp_path / "train.py")]}, ANY)
    assert process.returncode == 0, process.log
    assert len(stub.reports) == 1


def test_much_output_is_batched(stub, tmp_path):
    assert script(stub, tmp_path, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done").returncode == 0
    assert stub.log == "".join(f"line {i}\n" for i in range(20000))
    assert len(stub.reports) < 40


README = Path(__file__).resolve().parents[2] / "plugins" / "trainer-process" / "README.md"


def examples():
    """The programs in the README, in their order: lines, curl, Python."""
    blocks = README.read_text().split("```")[1::2]
    return [block.partition("\n")[2] for block in blocks]


@pytest.mark.parametrize("index, interpreter", [(0, "/bin/sh"), (1, "/bin/sh"), (2, sys.executable)], ids=["lines", "curl", "python"])
def test_the_examples_of_the_readme(stub, tmp_path, index, interpreter):
    if index == 1 and not shutil.which("curl"):
        pytest.skip("no curl here")
    text = examples()[index]
    path = tmp_path / "example"
    path.write_text(text)
    stub.parts = {"train": "x\n1\n2\n6\n"}
    stub.once_ended_unwanted = True
    specification = {"command": [interpreter, str(path)]}
    if index == 0:
        described = "".join(line.lstrip("# ") for line in text.splitlines()[1:3])
        specification.update(json.loads(described) | {"command": [interpreter, str(path)]})
    process = run(stub, tmp_path, PROCESS, "process", specification, ANY)
    assert process.returncode == 0, process.log + stub.log
    assert stub.artifacts == {"model": b"3.000000\n"}
    ends = [r for r in stub.reports if "state" in r]
    assert len(ends) == 1 and ends[0]["state"] == "succeeded" and ends[0]["framework"] == "constant"
    assert ends[0]["signature"]["inputs"][0]["name"] == "x"
    assert index == 1 or stub.metric("mean") == 3


def test_a_silent_command_of_an_unwanted_attempt_is_stopped(stub, tmp_path):
    """Nobody can signal a trainer on another machine: it asks now and then."""
    process = begin(stub, tmp_path, PROCESS, "process", {"command": ["/bin/sh", "-c", "echo $$; exec sleep 300"]}, ANY)
    wait_for(lambda: "\n" in stub.log)
    stub.unwanted = True
    assert process.wait(25) == 1
    assert not alive(int(stub.log))
    process.stderr.close()
