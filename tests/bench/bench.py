"""./dev bench: what Purlin costs, beside peers, measured now on this machine.

CPU microseconds per request are the process's own user and system time (children included) divided by its requests; they mean
something on a busy machine, requests per second do not. Each figure is the median of interleaved repetitions."""

import argparse
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from servers import ROOT, Database, Nginx, Peer, Purlin, call, cpu_seconds, proportional_kib, scratch, stop, stop_all

COLUMNS = ["a", "b", "c", "d", "e", "f", "g", "h"]
# What an operator might write: office hours for one permission, everything else allowed.
POLICY = """purlin.policy("access.authorize", function(question)
  if question.permission == "models:deploy" then
    local hour = tonumber(purlin.time.format(purlin.time.now()):sub(12, 13))
    if hour < 7 or hour >= 19 then return { allow = false, reason = "deployments are made in office hours" } end
  end
  return { allow = true }
end)
"""
TREES = {"hundred": (100, 6), "one": (1, 1)}
CONNECTIONS = 24


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- Load ------------------------------------------------------------------------------------------------------------


class Case:
    """One address of one server under load, and what it cost."""

    def __init__(self, name, server, path, token="", body=None, also=None):
        self.name, self.server, self.url, self.token, self.body, self.also = name, server, server.url + path, token, body, also
        self.cost, self.rate, self.also_cost = [], [], []

    def script(self, folder):
        """wrk's way to say what is sent."""
        lines = []
        if self.token:
            lines.append(f'wrk.headers["Authorization"] = "Bearer {self.token}"')
        if self.body is not None:
            lines += ['wrk.method = "POST"', 'wrk.headers["Content-Type"] = "application/json"', f"wrk.body = [==[{self.body}]==]"]
        path = folder / "wrk.lua"
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, folder, seconds):
        before, also = cpu_seconds(self.server.pid), cpu_seconds(self.also.pid) if self.also else 0
        found = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(self.script(folder)), self.url],
            check=True, capture_output=True, text=True).stdout
        used = cpu_seconds(self.server.pid) - before
        requests = int(re.search(r"(\d+) requests in", found)[1])
        if requests == 0 or "Non-2xx" in found or "Socket errors" in found:
            raise RuntimeError(f"{self.name}: requests failed\n{found}")
        self.cost.append(used / requests * 1e6)
        self.rate.append(float(re.search(r"Requests/sec:\s+([\d.]+)", found)[1]))
        if self.also:
            self.also_cost.append((cpu_seconds(self.also.pid) - also) / requests * 1e6)

    @property
    def microseconds(self):
        return statistics.median(self.cost)


# ---- What there has to be first -----------------------------------------------------------------------------------------


def training_data(rows=5000):
    chance = random.Random(1)
    lines = [",".join(COLUMNS + ["label"])]
    for _ in range(rows):
        x = [chance.random() for _ in COLUMNS]
        label = x[0] + x[1] * x[2] - x[3] * x[4] + 0.3 * chance.gauss(0, 1) > 0.5
        lines.append(",".join(f"{value:.5f}" for value in x) + f",{int(label)}")
    return "\n".join(lines).encode() + b"\n"


def train(purlin, name, rounds, depth):
    """A model, trained by a training job, registered and served; where its bytes are."""
    api = purlin.url + "/api/v1"
    call(f"{api}/models", purlin.token, {"name": name})
    specification = {"label": "label", "features": COLUMNS, "rounds": rounds, "max_depth": depth}
    job = call(f"{api}/training/jobs", purlin.token, {"trainer": "xgboost", "dataset": "bench", "model": name, "specification": specification})
    deadline = time.monotonic() + 120
    while job["state"] not in ("succeeded", "failed", "cancelled") and time.monotonic() < deadline:
        time.sleep(0.1)
        job = call(f"{api}/training/jobs/{job['id']}", purlin.token)
    if job["state"] != "succeeded":
        raise RuntimeError(f"the training of '{name}' is {job['state']}: {job['message']}")
    call(f"{api}/endpoints", purlin.token, {"name": name, "model": name, "version": "1"})
    return next(path for path in (purlin.state / "blobs").rglob(f"*{job['artifact_sha256'][4:]}") if path.is_file())


def make_run(purlin):
    call(f"{purlin.url}/api/v1/experiments", purlin.token, {"name": "bench"})
    return call(f"{purlin.url}/api/v1/experiments/bench/runs", purlin.token, {})["id"]


def inference_request():
    return json.dumps({"inputs": [{"name": name, "shape": [1], "datatype": "FP32", "data": [0.25 + i / 16]} for i, name in enumerate(COLUMNS)]})


def start_peer(folder, python, purlin, model, skipped):
    if not python or not Path(python).exists():
        skipped.append("FastAPI: its packages could not be installed")
        return None
    link = folder / "model.json"
    shutil.copyfile(model, link)
    peer = Peer(folder, python, purlin.token, link, COLUMNS)
    same = [call(s.url + f"/v2/models/hundred/infer", purlin.token, inference_request().encode())["outputs"][0]["data"][0] for s in (purlin, peer)]
    if abs(same[0] - same[1]) > 1e-6:
        raise RuntimeError(f"Purlin and XGBoost do not predict the same: {same}")
    return peer


# ---- Measuring -------------------------------------------------------------------------------------------------------------


def measure_start(folder, database, build, repetitions):
    """Memory when idle and the time to ready, with all default plugins and a loop per core."""
    memory, ready = [], []
    for turn in range(repetitions + 1):
        purlin = Purlin(folder, database, build)
        if turn > 0:  # the first one makes the tables
            ready.append(purlin.ready_seconds)
            time.sleep(2)
            memory.append(proportional_kib(purlin.pid) / 1024)
        stop(purlin.process)
    return statistics.median(memory), statistics.median(ready)


def make_cases(folder, purlin, database, python, build, skipped):
    token = purlin.token
    with_token = call(purlin.url + "/bench/constant", token)
    call(f"{purlin.url}/api/v1/datasets/bench/versions", token, training_data(), media="text/csv")
    models = {name: train(purlin, name, *shape) for name, shape in TREES.items()}
    body = inference_request()
    (folder / "guarded").mkdir()
    guarded = Purlin(folder / "guarded", database, build, loops=1, extra=str(build / "tests" / "plugins"), policy=POLICY, name="guarded")
    cases = {
        "guarded": Case("the same, behind a policy in Lua", guarded, "/bench/constant", guarded.token),
        "constant": Case("constant JSON operation", purlin, "/bench/constant", token),
        "lua": Case("Lua handler", purlin, "/bench/lua", token),
        "prediction": Case("prediction, 100 trees of depth 6", purlin, "/v2/models/hundred/infer", token, body, database.process),
        "small": Case("prediction, 1 tree of depth 1", purlin, "/v2/models/one/infer", token, body, database.process),
        "metric": Case("run-metric write", purlin, f"/api/v1/runs/{make_run(purlin)}/metrics", token,
                       '{"key":"loss","value":0.5,"step":1}', database.process),
    }
    if shutil.which("nginx", path="/usr/sbin:/usr/bin"):
        nginx = Nginx(folder, json.dumps(with_token, separators=(",", ":")))
        cases["nginx"] = Case("nginx: return 200", nginx, "/constant")
        if nginx.lua:
            cases["nginx_lua"] = Case("nginx: Lua module", nginx, "/lua")
        else:
            skipped.append("nginx's Lua module: it is not installed (Debian: nginx-extras)")
    else:
        skipped.append("nginx: it is not installed")
    peer = start_peer(folder, python, purlin, models["hundred"], skipped)
    if peer:
        cases["peer"] = Case("FastAPI, uvicorn: the same", peer, "/v2/models/hundred/infer", token, body)
    return cases


def measure_queue(build):
    """The durable queue, measured by a program of its own: jobs per second, p50 and p99 in milliseconds."""
    found = subprocess.run([str(build / "tests" / "bench_queue")], capture_output=True, text=True, check=True).stdout
    drained = re.search(r"bench\.no_op +(\d+) jobs in +([\d.]+) s", found)
    written = re.search(r"no_op_written .*?(\d+) jobs/s", found)
    p50, p99 = (float(re.search(rf"{p} ([\d.]+) ms", found)[1]) for p in ("p50", "p99"))
    return float(drained[2]), int(drained[1]) / float(drained[2]), float(written[1]), p50, p99


# ---- Telling -----------------------------------------------------------------------------------------------------------------


class Report:
    def __init__(self):
        self.missed = 0

    def head(self, text):
        print(f"\n{text}")

    def case(self, case):
        spread = f"{min(case.cost):.1f} to {max(case.cost):.1f}"
        also = f"   mariadbd {statistics.median(case.also_cost):.1f}" if case.also_cost else ""
        print(f"  {case.name:<34} {case.microseconds:>9.1f} {spread:>18} {statistics.median(case.rate):>10.0f}{also}")

    def bar(self, what, value, bar, met):
        self.missed += not met
        print(f"  {what:<52} {value:>12}   bar {bar:<14} {'met' if met else 'MISSED'}")


def tell_cases(report, cases):
    report.head(f"{'CPU microseconds per request':<36} {'median':>9} {'least to most':>18} {'req/s':>10}")
    for key in ("constant", "guarded", "nginx", "lua", "nginx_lua", "prediction", "small", "peer", "metric"):
        if key in cases:
            report.case(cases[key])


def tell_bars(report, cases, memory, ready, queue):
    cost = {key: case.microseconds for key, case in cases.items()}
    print(f"  A policy of a few lines for access.authorize: {cost['guarded'] / cost['constant']:.2f}x of the constant operation,"
          f" {cost['guarded'] - cost['constant']:.1f} us a decision")
    report.head("Bars")
    for ours, theirs, what in (("constant", "nginx", "constant operation against nginx"), ("lua", "nginx_lua", "Lua handler against nginx's Lua module")):
        if theirs in cost:
            ratio = cost[ours] / cost[theirs]
            report.bar(what, f"{ratio:.2f}x", "<= 1.2x", ratio <= 1.2)
    if "peer" in cost:
        ratio = cost["peer"] / cost["prediction"]
        report.bar("prediction: times cheaper than FastAPI", f"{ratio:.1f}x", ">= 10x", ratio >= 10)
    # A tree of one split costs nanoseconds: what such a prediction costs is ours.
    report.bar("prediction: Purlin's own part (1 tree)", f"{cost['small']:.1f} us", "<= 15 us", cost["small"] <= 15)
    report.bar("PSS of purlind, spawner and runners, idle", f"{memory:.1f} MiB", "< 40 MB", memory * 1.048576 < 40)
    report.bar("start to ready, the database being up", f"{ready:.3f} s", "< 0.5 s", ready < 0.5)
    if queue:
        seconds, rate, written, p50, p99 = queue
        report.bar(f"100,000 no-op jobs drained in {seconds:.1f} s", f"{rate:.0f} jobs/s", ">= 5000 jobs/s", rate >= 5000)
        report.bar("enqueue to start, p50", f"{p50:.2f} ms", "< 10 ms", p50 < 10)
        print(f"  enqueue to start, p99: {p99:.2f} ms; jobs whose end is written one by one: {written:.0f} jobs/s")


def bench(options, folder):
    build, skipped, report = Path(options.build).resolve(), [], Report()
    say("Starting MariaDB and measuring starts")
    database = Database(folder)
    memory, ready = measure_start(folder, database, build, options.repetitions)
    say("Training the models and starting the peers")
    purlin = Purlin(folder, database, build, loops=1, extra=str(build / "tests" / "plugins"))
    cases = make_cases(folder, purlin, database, options.python, build, skipped)
    for turn in range(options.repetitions + 1):
        for case in cases.values():
            say(f"{'Warming up' if turn == 0 else f'Repetition {turn}'}: {case.name}")
            case.run(folder, 1 if turn == 0 else options.seconds)
            if turn == 0:
                case.cost, case.rate, case.also_cost = [], [], []
    if options.hold:
        say(f"purlind is {purlin.pid} at {purlin.url}, its token {purlin.token}; Enter goes on")
        sys.stdin.readline()
    stop_all()
    queue = None
    if not options.no_queue and (build / "tests" / "bench_queue").exists():
        say("Measuring the queue")
        queue = measure_queue(build)
    tell_cases(report, cases)
    tell_bars(report, cases, memory, ready, queue)
    print("\nEach server has one event loop, worker or process, and writes an access log; Purlin's requests are authenticated."
          "\nPSS leaves out mariadbd.")
    for what in skipped:
        print(f"Left out: {what}.")
    return report.missed


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--python", help="a Python that has the packages of requirements.txt")
    parser.add_argument("--seconds", type=int, default=5, help="of load per repetition (5)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--no-queue", action="store_true", help="leave out the queue")
    parser.add_argument("--hold", action="store_true", help="wait before ending, to look with a profiler")
    options = parser.parse_args()
    with scratch() as folder:
        missed = bench(options, folder)
    print(f"\n{missed or 'No'} bar{'' if missed == 1 else 's'} missed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
