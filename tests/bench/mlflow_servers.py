"""Both sides of ./dev bench mlflow: purlind with its private MariaDB, and MLflow's own server on a schema of its own in that same MariaDB."""

import concurrent.futures
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow_data
from servers import ROOT, cpu_seconds, free_port, proportional_kib, start, stop, tree, wait_for


class Side:
    """A server under measurement: what it used so far, without MariaDB."""

    name, token, process, database_pid = "", "", None, 0

    @property
    def pid(self):
        return self.process.pid

    @property
    def mine(self):
        return tree(self.pid, without=self.database_pid)

    def cpu(self):
        return cpu_seconds(self.pid, without=self.database_pid)

    def proportional_mib(self):
        return proportional_kib(self.pid, without=self.database_pid) / 1024

    def call(self, path, body=None, method=None):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method), timeout=300) as answer:
            return json.loads(answer.read())

    def make_experiment(self, name):
        return self.call("/api/2.0/mlflow/experiments/create", {"name": name})["experiment_id"]

    def make_run(self, experiment):
        return self.call("/api/2.0/mlflow/runs/create", {"experiment_id": experiment, "start_time": int(time.time() * 1000)})["run"]["info"]["run_id"]


class Peak:
    """The most memory that the processes of a side held within a block, beyond what they held before, in MiB."""

    def __init__(self, side):
        self.pids = side.mine

    @staticmethod
    def field(pid, name):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith(name))

    def __enter__(self):
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM starts again from here
        self.before = {pid: self.field(pid, "VmRSS:") for pid in self.pids}
        return self

    def __exit__(self, *_):
        self.mib = sum(max(0, self.field(pid, "VmHWM:") - before) for pid, before in self.before.items()) / 1024


class Ours(Side):
    """purlind --dev: an empty folder becomes a server with all plugins and a MariaDB of its own."""

    name = "Purlin"

    def __init__(self, folder, build):
        self.state = folder / "state"
        (folder / "policies").mkdir(exist_ok=True)
        self.build, self.files = build, self.state
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = start([str(build / "bin" / "purlind"), "--dev", "--state", str(self.state), "--plugins", str(build / "plugins"),
                              "--policies", str(folder / "policies"), "--library", str(ROOT / "lua"), "--port", str(port)], folder / "purlin.log")
        wait_for(self.url + "/readyz", self.process)
        self.token = (self.state / "admin.token").read_text().strip()
        self.socket = self.state.resolve() / "mariadb" / "mariadb.sock"
        self.database_pid = int(next((self.state / "mariadb").glob("*.pid")).read_text())
        self.experiment = mlflow_data.EXPERIMENT

    def sql(self, *statements, schema="purlin"):
        """Rows, as lists of texts."""
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-NB", schema, "-e", ";\n".join(statements)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{done.stderr}{statements[0][:400]}")
        return [line.split("\t") for line in done.stdout.splitlines()]


class Theirs(Side):
    """mlflow server with its default workers, on a schema of its own."""

    name = "MLflow"
    SCHEMA = "mlflow"
    WORKERS = 4  # its default

    def __init__(self, folder, python, ours):
        self.files = folder / "mlflow-artifacts"
        self.files.mkdir(exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.database_pid = ours.database_pid
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_") and key != "PYTHONDONTWRITEBYTECODE"}
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
        uri = f"mysql+pymysql://root@localhost/{self.SCHEMA}?unix_socket={ours.socket}"
        began = time.monotonic()
        self.process = start([str(python), "-m", "mlflow", "server", "--backend-store-uri", uri, "--artifacts-destination", str(self.files),
                              "--host", "127.0.0.1", "--port", str(port)], folder / "mlflow.log", env=environment, cwd=folder)
        wait_for(self.url + "/api/2.0/mlflow/experiments/get?experiment_id=0", self.process, seconds=600)
        self.ready_seconds = time.monotonic() - began
        self.wait_for_workers(folder / "mlflow.log")
        self.experiment = str(mlflow_data.THEIR_EXPERIMENT)

    def wait_for_workers(self, log, seconds=120):
        """All of them are up: on a busy machine its uvicorn ends those that are slow to come, and starts others."""
        deadline = time.monotonic() + seconds
        while log.read_text().rpartition("Uvicorn running")[2].count("Application startup complete") < self.WORKERS and time.monotonic() < deadline:
            time.sleep(0.2)


def start_theirs(folder, python, ours):
    """The second start is the one that counts: the first makes the tables."""
    ours.sql(f"CREATE DATABASE IF NOT EXISTS {Theirs.SCHEMA} CHARACTER SET utf8mb4")
    stop(Theirs(folder, python, ours).process)
    return Theirs(folder, python, ours)


def fill(ours, runs, history, say, alone):
    """Both schemas at once."""
    def one(schema, statements):
        for statement in statements:
            ours.sql(statement, schema=schema)
        prefix, parameters = ("tracking_", "parameters") if schema == "purlin" else ("", "params")
        ours.sql("ANALYZE TABLE " + ", ".join(prefix + table for table in ("runs", "metrics", "latest_metrics", parameters, "tags")), schema=schema)

    say(f"Filling the tables: {runs:,} runs")
    with concurrent.futures.ThreadPoolExecutor() as both:
        for one_of_them in [both.submit(one, "purlin", mlflow_data.ours(runs, history))] + ([] if alone else [both.submit(one, Theirs.SCHEMA, mlflow_data.theirs(runs, history))]):
            one_of_them.result()


def install(version="3"):
    """MLflow as the tests with its clients install it, once."""
    script = ROOT / "tests" / "clients" / "install.sh"
    try:
        return Path(subprocess.run([str(script), version], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    except subprocess.CalledProcessError:
        print("MLflow could not be installed: see above", file=sys.stderr)
        raise
