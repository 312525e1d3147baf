"""What it costs to take a large file into MLflow's proxy of artifacts and to give it out again, beside the disk alone, measured in turns.

    tests/bench/artifacts.py [--mib 1024] [--rounds 5] [--folder DIR]

Per GiB: seconds, and the daemon's own CPU seconds. The disk alone: `dd` with fsync at the end into the same folder, and `dd` out of it when
the page cache holds nothing of it (cold) or all (warm). Memory: how much the daemon's resident set has grown at most meanwhile."""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from daemon import Daemon  # noqa: E402


def timed(command):
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def forget(path):
    """The page cache holds nothing of it."""
    with open(path, "rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def status_of(server, key):
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def cpu_of(server):
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, server, source, url):
        self.server, self.source, self.url = server, source, url
        self.plain = server.folder / "plain"
        self.figures = {}

    def curl(self, *arguments):
        """Resident memory at its peak grows only by what this needs."""
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")
        before, cpu = status_of(self.server, "VmRSS"), cpu_of(self.server)
        seconds = timed(["curl", "-sf", "-H", f"Authorization: Bearer {self.server.token}", *arguments])
        return seconds, cpu_of(self.server) - cpu, status_of(self.server, "VmHWM") - before

    def note(self, name, seconds, cpu=0.0, memory=0):
        self.figures.setdefault(name, []).append((seconds, cpu, memory))

    def blob(self):
        return max((self.server.state / "blobs").glob("??/*"), key=lambda path: path.stat().st_mtime)

    def round(self, number):
        self.note("disk, written", timed(["dd", f"if={self.source}", f"of={self.plain}", "bs=1M", "conv=fsync"]))
        with open(self.source, "r+b") as file:  # other bytes each time
            file.write(number.to_bytes(8, "big"))
        self.note("upload", *self.curl("-T", str(self.source), f"{self.url}/file-{number}"))
        blob = self.blob()
        forget(self.plain)
        self.note("disk, read cold", timed(["dd", f"if={self.plain}", "of=/dev/null", "bs=1M"]))
        forget(blob)
        self.note("download, cold", *self.curl("-o", "/dev/null", f"{self.url}/file-{number}"))
        subprocess.run(["dd", f"if={self.plain}", "of=/dev/null", "bs=1M"], check=True, stderr=subprocess.DEVNULL)
        self.note("disk, read warm", timed(["dd", f"if={self.plain}", "of=/dev/null", "bs=1M"]))
        self.note("download, warm", *self.curl("-o", "/dev/null", f"{self.url}/file-{number}"))
        self.plain.unlink()
        blob.unlink()

    def tell(self, mib):
        gib = mib / 1024
        middle = {name: [statistics.median(values) for values in zip(*rows)] for name, rows in self.figures.items()}
        beside = {"upload": "disk, written", "download, cold": "disk, read cold", "download, warm": "disk, read warm"}
        print(f"{'':18}{'s/GiB':>8}{'MiB/s':>8}{'CPU s/GiB':>11}{'of disk':>9}{'memory KiB':>12}")
        for name, (seconds, cpu, _) in middle.items():
            ratio = statistics.median(d[0] / o[0] for d, o in zip(self.figures[beside[name]], self.figures[name])) if name in beside else None
            most = max(row[2] for row in self.figures[name])
            print(f"{name:18}{seconds / gib:8.2f}{mib / seconds:8.0f}{cpu / gib:11.2f}{f'{ratio:.2f}' if ratio else '':>9}{most or '':>12}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--folder", help="where the daemon's state goes; on the disk that is measured")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="purlin-bench-") as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        source = Path(memory) / "source"
        with open(source, "wb") as file:
            for _ in range(asked.mib):
                file.write(os.urandom(1 << 20))
        server = Daemon(Path(folder)).start()
        try:
            client = server.client()
            experiment = client.op("tracking.create_experiment", {"name": "bench"}).json["id"]
            run = client.op("tracking.create_run", {"experiment_id": experiment}).json["id"]
            bench = Bench(server, source, f"http://127.0.0.1:{server.port}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts")
            bench.curl("-T", "/proc/self/exe", f"{bench.url}/first")
            for number in range(asked.rounds):
                bench.round(number)
            bench.tell(asked.mib)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
