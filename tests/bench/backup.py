"""What a backup and a restore take, beside the plainest way to the same bytes: mariadb-dump into a file and cp of the folder, neither compressed
nor checked.

    tests/bench/backup.py [--runs 100000] [--gib 4] [--build build] [--folder DIR]

Somebody logs metrics meanwhile. CPU is user and system time of the command with all that it starts; memory is the most that one of its
processes held."""
import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import mlflow_data  # noqa: E402
from mlflow_load import blocks, connect, headers  # noqa: E402
from mlflow_servers import Ours, Peak  # noqa: E402
from servers import scratch, tree  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MIB, GIB = 1 << 20, 1 << 30
FILE = 256 * MIB
PAUSE_S = 0.005


class Writer(threading.Thread):
    """Logs a metric, waits a moment, logs the next."""

    def __init__(self, ours):
        super().__init__(daemon=True)
        self.ours, self.run_id, self.took, self.over = ours, ours.sql("SELECT id FROM tracking_runs LIMIT 1")[0][0], [], False

    def run(self):
        while not self.over:
            began = time.monotonic()
            self.ours.call("/api/2.0/mlflow/runs/log-metric", {"run_id": self.run_id, "key": "beside", "value": 1.0, "timestamp": 1, "step": len(self.took)})
            self.took.append(time.monotonic() - began)
            time.sleep(PAUSE_S)

    def slowest_of_hundred_ms(self, first):
        took = sorted(self.took[first:])
        return 1000 * took[int(len(took) * 0.99)] if took else 0


class Largest(threading.Thread):
    """The most that one of the processes below this one holds, in MiB. (Their own account of it begins with what Python held at the fork.)"""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.mib, self.over = pid, 0, False

    def run(self):
        while not self.over:
            for pid in tree(self.pid):
                self.mib = max(self.mib, Peak.field(pid, "VmHWM:") / 1024)
            time.sleep(0.02)


def measured(command, output=subprocess.DEVNULL):
    """Seconds, CPU seconds of all that it started, MiB of its largest process."""
    began = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.PIPE)
    largest = Largest(process.pid)
    largest.start()
    said = process.stderr.read()
    _, code, used = os.wait4(process.pid, 0)
    largest.over, process.returncode = True, os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(f"{command}: {process.returncode}\n{said.decode()}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, largest.mib


def fill(ours, options):
    for statement in mlflow_data.ours(options.runs, 1000):
        ours.sql(statement)
    for number in range(int(options.gib * GIB / FILE)):
        run = ours.call("/api/2.0/mlflow/runs/create", {"experiment_id": mlflow_data.EXPERIMENT})["run"]["info"]["run_id"]
        connection = connect(ours)
        uri = ours.call(f"/api/2.0/mlflow/runs/get?run_id={run}")["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:").lstrip("/")
        connection.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{uri}/file.bin", blocks(FILE, number), {"Content-Length": str(FILE), **headers(ours)})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {answer.read()}")
        answer.read()
        connection.close()


def configuration(ours, folder, name, schema, state):
    path = folder / f"{name}.lua"
    path.write_text(f'server {{ address = "127.0.0.1", port = 0, state = "{state}" }}\n'
                    f'database {{ socket = "{ours.socket}", user = "root", password = "", name = "{schema}" }}\n'
                    f'lua {{ policies = "{folder}/policies", library = "{folder}/library" }}\n'
                    f'plugins {{ folders = {{ "{ours.build}/plugins" }} }}\n')
    return path


def plainly(ours, folder):
    """Bytes of the dump, and what both took together."""
    dump, copy = folder / "plain.sql", folder / "plain"
    began = time.monotonic()
    with open(dump, "wb") as out:
        _, dumping, largest = measured(["mariadb-dump", "--no-defaults", f"--socket={ours.socket}", "-uroot", "--single-transaction", "--hex-blob", "purlin"], out)
    _, copying, mib = measured(["cp", "-a", ours.state / "blobs", copy])
    os.sync()
    took, size = time.monotonic() - began, dump.stat().st_size
    dump.unlink()
    shutil.rmtree(copy)
    return size, (took, dumping + copying, max(mib, largest))


def bench(options, folder):
    ours = Ours(folder, Path(options.build).resolve())
    purlin = ours.build / "bin" / "purlin"
    print(f"Filling: {options.runs:,} runs, {options.gib:g} GiB of artifacts", flush=True)
    fill(ours, options)
    size, plain = plainly(ours, folder)
    config = configuration(ours, folder, "here", "purlin", ours.state)
    key = folder / "age.key"
    subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
    recipient = next(line for line in key.read_text().splitlines() if "public key" in line).rpartition(" ")[2]
    backup, sealed = folder / "backups", folder / "sealed"
    back = configuration(ours, folder, "back", "purlin_back", folder / "back")
    writer = Writer(ours)
    writer.start()
    time.sleep(3)
    alone = writer.slowest_of_hundred_ms(0)
    first = len(writer.took)
    rows = [("mariadb-dump to a file, cp of the folder", plain)]
    rows.append(("purlin backup, the first", measured([purlin, "backup", "--to", backup, "--config", config])))
    beside = writer.slowest_of_hundred_ms(first)
    rows.append(("purlin backup, the next", measured([purlin, "backup", "--to", backup, "--config", config])))
    rows.append(("purlin backup, the first, encrypted", measured([purlin, "backup", "--to", sealed, "--encrypt-to", recipient, "--config", config])))
    writer.over = True
    writer.join()
    rows.append(("purlin backup verify", measured([purlin, "backup", "verify", backup])))
    rows.append(("purlin restore, onto an empty place", measured([purlin, "restore", backup, "--config", back])))
    taken = sum(file.stat().st_size for file in backup.rglob("*") if file.is_file())
    print(f"\n{options.runs:,} runs ({size / GIB:.2f} GiB as SQL), {options.gib:g} GiB of artifacts; the backups' folder holds {taken / GIB:.2f} GiB.")
    print(f"A metric is logged each {1000 * PAUSE_S:g} ms; the slowest of a hundred takes {alone:.1f} ms, during the first backup {beside:.1f} ms.\n")
    print("| | seconds | CPU seconds | beside the plain way, CPU | memory |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (seconds, cpu, mib) in rows:
        print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {cpu / plain[1]:.2f}x | {mib:.0f} MiB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--build", default=ROOT / "build")
    parser.add_argument("--folder", help="in which all of it is done")
    options = parser.parse_args()
    with scratch(options.folder) as folder:
        bench(options, folder)


if __name__ == "__main__":
    main()
