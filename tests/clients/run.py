#!/usr/bin/env python3
"""Runs the scenarios of this folder with the official MLflow clients, one Python process for each version, on one daemon.

    tests/clients/run.py [--full] [--version 2|3] [--server URL --token TOKEN] [what pytest takes]

--full adds what moves gigabytes. With --server a server that runs already is used; a real MLflow server passes too, but for the tests
that are marked `ours` and are left out there."""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
import daemon  # noqa: E402


def install(version):
    return subprocess.run([str(HERE / "install.sh"), version], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def folder_of(python):
    return pathlib.Path(python).parent.parent


def start_client(version, python, folder, server, more, full):
    """pytest in the client's own Python; what it prints goes to a file, so that two of them do not talk at once."""
    own = folder / f"client-{version}"
    own.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment.update(server, HOME=str(own), TMPDIR=str(own), PURLIN_CLIENT=version, PURLIN_FULL="yes" if full else "no", PYTHONPYCACHEPREFIX=str(folder_of(python) / "compiled"),
                       GIT_PYTHON_REFRESH="quiet", MPLBACKEND="agg", OMP_NUM_THREADS="1", MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
                       MLFLOW_HTTP_REQUEST_TIMEOUT="60", MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "--durations=5", f"--basetemp={own / 'pytest'}", *(more or [str(HERE)])]
    out = open(own / "out", "w+b")
    return subprocess.Popen(command, cwd=own, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT), out


def run_clients(versions, folder, server, more, full):
    began = time.monotonic()
    running = {version: start_client(version, install(version), folder, server, more, full) for version in versions}
    failed = False
    for version, (process, out) in running.items():
        code = process.wait()
        out.seek(0)
        print(f"-- MLflow's client {version}.x, {time.monotonic() - began:.0f} s", flush=True)
        print(out.read().decode(errors="replace"), flush=True)
        failed |= code != 0
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(prog="tests/clients/run.py")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--version", choices=("2", "3"), action="append")
    parser.add_argument("--server")
    parser.add_argument("--token", default="")
    options, more = parser.parse_known_args()
    more = [str(HERE / one) if one.startswith("test_") else one for one in more]
    if more and not any(str(HERE) in one for one in more):
        more.append(str(HERE))
    versions = options.version or ["2", "3"]
    for version in versions:
        install(version)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="purlin-clients-"))
    ours = None
    try:
        if options.server:
            return run_clients(versions, folder, {"PURLIN_URL": options.server, "PURLIN_TOKEN": options.token}, more, options.full)
        ours = daemon.Daemon(folder / "d").start()
        server = {"PURLIN_URL": f"http://127.0.0.1:{ours.port}", "PURLIN_TOKEN": ours.token, "PURLIN_STATE": str(ours.state)}
        code = run_clients(versions, folder, server, more, options.full)
        if code:
            for record in ours.records("error")[-20:]:
                print(record)
        ours.stop()
        return code
    finally:
        if ours:
            ours.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
