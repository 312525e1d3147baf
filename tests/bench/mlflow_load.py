"""Load on both sides of ./dev bench mlflow: small requests by wrk, whose own cost is the same for both; long answers and files by http.client."""

import hashlib
import http.client
import json
import os
import re
import statistics
import subprocess
import time
import urllib.parse
from pathlib import Path

import mlflow_data
from mlflow_servers import Peak
from servers import ROOT, cpu_seconds

MIB = 1 << 20
LONGEST_SECONDS = 40
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}
FILTER = "metrics.accuracy > 0.9 and tags.team = 'team-3'"
SEARCHES = {
    "search, metric and tag, by metric": (FILTER, ["metrics.accuracy DESC"]),
    "search, metric and tag, newest first": (FILTER, []),
    "search, metric, parameter and tag, by metric": ("metrics.loss < 0.2 and params.optimizer = 'adam' and tags.stage = 'final'", ["metrics.auc DESC"]),
    "search, everything by metric": ("", ["metrics.accuracy DESC"]),
    "search, everything, newest first": ("", []),
}


def run_id(n):
    return hashlib.md5(f"{mlflow_data.SEED}:{n}".encode()).hexdigest()


class Measured:
    """What one case cost one side, a value for each repetition."""

    def __init__(self):
        self.rate, self.cpu, self.database, self.p50, self.extra, self.failed = [], [], [], [], [], 0

    def add(self, found, warming_up):
        """Memory counts from the first time on: what a server took then, it may have kept."""
        for what in ("extra",) if warming_up else ("rate", "cpu", "database", "p50", "extra"):
            getattr(self, what).append(getattr(found, what))

    def median(self, what):
        values = getattr(self, what)
        if what == "extra":
            return max(values, default=None)
        return statistics.median(values) if values else None


class Case:
    """A kind of request, sent by wrk."""

    unit = "requests/s"

    def __init__(self, name, script, connections=16, threads=1, bar=None, body=None, per=1):
        self.name, self.script, self.connections, self.threads, self.bar, self.body, self.per = name, script, connections, threads, bar, body, per

    def given(self, side, bench):
        runs = bench.runs[side] if self.script.startswith("log_") else [run_id(n * 97 % bench.count) for n in range(min(1000, bench.count))]
        fields = [f'experiment = "{bench.experiment[side]}"', f"first = {bench.next_number()}", "runs = {" + ",".join(f'"{run}"' for run in runs) + "}"]
        if side.token:
            fields.append(f'token = "{side.token}"')
        if self.body:
            fields.append(f"body = [==[{json.dumps(self.body(side))}]==]")
        path = bench.folder / "given.lua"
        path.write_text("return { " + ", ".join(fields) + " }\n")
        return path

    def run(self, side, bench, seconds):
        """At least four answers to each connection, however slow they are: what is under way at the end is charged, and not counted."""
        failed = 0
        while True:
            try:
                found, requests = self.load(side, bench, seconds)
            except RuntimeError:
                failed += 1
                if failed == 2:
                    raise
                continue
            finally:
                settle(side)
            if requests >= 4 * self.connections or seconds >= LONGEST_SECONDS:
                break
            seconds = min(LONGEST_SECONDS, max(2 * seconds, int(seconds * 5 * self.connections / max(requests, 1))))
        if requests == 0:
            raise RuntimeError(f"{self.name} of {side.name}: no answer within {seconds} s")
        return found

    def load(self, side, bench, seconds):
        found = Measured()
        path = self.given(side, bench)
        before, database = side.cpu(), cpu_seconds(side.database_pid)
        with Peak(side) as peak:
            out = subprocess.run(["wrk", f"-t{self.threads}", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "120s", "--latency", "-s",
                                  str(ROOT / "tests/bench/mlflow.lua"), side.url, "--", self.script, str(path)], check=True, capture_output=True, text=True).stdout
        used, database = side.cpu() - before, cpu_seconds(side.database_pid) - database
        requests = int(re.search(r"(\d+) requests in", out)[1])
        if "Non-2xx" in out or "Socket errors" in out:
            raise RuntimeError(f"{self.name} of {side.name}: requests failed\n{out}")
        if requests > 0:
            p50 = re.search(r"50%\s+([\d.]+)(us|ms|s|m)", out)
            found.rate, found.cpu, found.database = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) / self.per, used / requests, database / requests
            found.p50, found.extra = float(p50[1]) * SECONDS[p50[2]], peak.mib
        return found, requests


def settle(side):
    """Until a server is done with requests whose client has gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = side.cpu() + cpu_seconds(side.database_pid)
        time.sleep(0.2)
        if side.cpu() + cpu_seconds(side.database_pid) - before < 0.04:
            return


def search_body(condition, order):
    return lambda side: {"experiment_ids": [side.experiment], "run_view_type": "ACTIVE_ONLY", "filter": condition, "max_results": 100, "order_by": order}


def cases():
    return [Case("log_metric", "log_metric", bar=20), Case("log_batch of 1000", "log_batch", bar=20), Case("create_run", "create_run", bar=20), Case("get_run", "get_run", bar=20),
            *(Case(name, "search", connections=2, bar=50, body=search_body(*what)) for name, what in SEARCHES.items()),
            Training("16 training loops", "training", connections=16, threads=16, bar=20, per=54)]


def one_batch():
    return Case("log_batch of 1000, one client", "log_batch", connections=1)


class Training(Case):
    unit = "loops/s"


# ---- What is long -----------------------------------------------------------------------------------------------------------


def connect(side):
    where = urllib.parse.urlsplit(side.url)
    return http.client.HTTPConnection(where.hostname, where.port, timeout=600, blocksize=MIB)


def headers(side):
    return {"Authorization": f"Bearer {side.token}"} if side.token else {}


class History:
    """All points of one metric, page by page, as the client asks."""

    name, bar, unit = "get_history of {points} points", None, "points/s"

    def __init__(self, points):
        self.points, self.name = points, f"get_history of {points:,} points"

    def run(self, side, bench, seconds):
        found, token, points = Measured(), "", 0
        before, database, began = side.cpu(), cpu_seconds(side.database_pid), time.monotonic()
        with Peak(side) as peak:
            while True:
                query = f"run_uuid={run_id(0)}&metric_key={mlflow_data.HISTORY}&run_id={run_id(0)}&max_results=25000" + (f"&page_token={token}" if token else "")
                connection = connect(side)
                connection.request("GET", f"/api/2.0/mlflow/metrics/get-history?{query}", headers=headers(side))
                answer = connection.getresponse()
                text = answer.read()
                connection.close()
                if answer.status != 200:
                    raise RuntimeError(f"{self.name} of {side.name}: {answer.status} {text[:300]}")
                took = time.monotonic() - began
                page = json.loads(text)  # not counted: the client's part
                points += len(page["metrics"])
                began = time.monotonic() - took
                token = urllib.parse.quote(page.get("next_page_token") or "")
                if not token:
                    break
        if points != self.points:
            raise RuntimeError(f"{self.name} of {side.name}: {points} points came")
        found.rate, found.p50, found.extra = points / took, took, peak.mib
        found.cpu, found.database = side.cpu() - before, cpu_seconds(side.database_pid) - database
        return found


def blocks(size, seed):
    """Bytes that do not compress and are never the same twice, made cheaply."""
    block = bytearray(os.urandom(MIB))
    for n in range(size // MIB):
        block[:16] = seed.to_bytes(8, "big") + n.to_bytes(8, "big")
        yield bytes(block)


def forget(folder):
    """What was read or written there leaves the page cache, so that the next read comes from the disk."""
    os.sync()
    for path in Path(folder).rglob("*"):
        if path.is_file() and path.stat().st_size > 16 * MIB and "mariadb" not in path.parts:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Upload:
    name, bar, unit = "artifact up", None, "MiB/s"

    def __init__(self, size):
        self.size, self.name = size, f"{size >> 20} MiB artifact up"

    def run(self, side, bench, seconds):
        found = Measured()
        path = f"/api/2.0/mlflow-artifacts/artifacts/{bench.experiment[side]}/{bench.runs[side][0]}/artifacts/large.bin"
        connection = connect(side)
        os.sync()
        before, database, began = side.cpu(), cpu_seconds(side.database_pid), time.monotonic()
        with Peak(side) as peak:
            connection.request("PUT", path, blocks(self.size, bench.next_number()), {"Content-Length": str(self.size), "Content-Type": "application/octet-stream", **headers(side)})
            answer = connection.getresponse()
            text = answer.read()
            took = time.monotonic() - began
        connection.close()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{self.name} of {side.name}: {answer.status} {text[:300]}")
        found.rate, found.p50, found.extra = self.size / MIB / took, took, peak.mib
        found.cpu, found.database = side.cpu() - before, cpu_seconds(side.database_pid) - database
        return found


class Download:
    """From the disk; `again`: by somebody who is not the first one to fetch it."""

    unit, bar = "MiB/s", None

    def __init__(self, size, again=False):
        self.size, self.again, self.name = size, again, f"{size >> 20} MiB artifact down{' again' if again else ''}"

    def run(self, side, bench, seconds):
        if self.again:
            time.sleep(3)
            self.fetch(side, bench)
        return self.fetch(side, bench)

    def fetch(self, side, bench):
        found, got = Measured(), 0
        path = f"/api/2.0/mlflow-artifacts/artifacts/{bench.experiment[side]}/{bench.runs[side][0]}/artifacts/large.bin"
        forget(side.files)
        connection, block = connect(side), bytearray(MIB)
        before, database, began = side.cpu(), cpu_seconds(side.database_pid), time.monotonic()
        with Peak(side) as peak:
            connection.request("GET", path, headers=headers(side))
            answer = connection.getresponse()
            while count := answer.readinto(block):
                got += count
            took = time.monotonic() - began
        connection.close()
        if answer.status != 200 or got != self.size:
            raise RuntimeError(f"{self.name} of {side.name}: {answer.status}, {got} bytes")
        found.rate, found.p50, found.extra = self.size / MIB / took, took, peak.mib
        found.cpu, found.database = side.cpu() - before, cpu_seconds(side.database_pid) - database
        return found


def disk(folder, size, seed):
    """MiB/s of a plain write with fsync, and of a plain read that comes from the disk."""
    path = Path(folder) / "plain.bin"
    os.sync()
    began = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for block in blocks(size, seed):
            file.write(block)
        os.fsync(file.fileno())
    written = time.monotonic() - began
    forget(folder)
    block, began = bytearray(MIB), time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(block):
            pass
    read = time.monotonic() - began
    path.unlink()
    return size / MIB / written, size / MIB / read


def bulk_insert(ours, bench, batches=60):
    """Seconds that a bare INSERT of the rows of one log_batch takes, sent as one statement by one client, each committed; and mariadbd's CPU."""
    first = bench.next_number()
    ours.sql("CREATE DATABASE IF NOT EXISTS bare", "CREATE TABLE IF NOT EXISTS bare.metrics LIKE purlin.tracking_metrics")
    path = bench.folder / "bulk.sql"
    with open(path, "w") as out:
        for batch in range(batches):
            steps = range(first + batch // 16 * 100, first + batch // 16 * 100 + 100)
            rows = ",".join(f"('default','default','{run_id(batch % 16)}','metric-{key}',{step},'2026-01-01 00:00:{step % 60:02}.{step % 1000:03}',{(step * 7 + key) % 1000 / 1000})"
                            for key in range(1, 11) for step in steps)
            out.write(f"INSERT INTO bare.metrics (workspace, project, run_id, name, step, at, value) VALUES {rows};\n")
    command = ["mariadb", "--no-defaults", f"--socket={ours.socket}", "-uroot"]
    before, began = cpu_seconds(ours.database_pid), time.monotonic()
    with open(path) as given:
        subprocess.run(command, stdin=given, check=True)
    took = time.monotonic() - began
    used = cpu_seconds(ours.database_pid) - before
    began = time.monotonic()
    subprocess.run([*command, "-e", "DO 0"], check=True)
    return (took - (time.monotonic() - began)) / batches, used / batches
