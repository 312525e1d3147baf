"""./dev bench audit: what the entry of a change in the audit log costs.

The same change, one row in one table, with its entry and without, in turns in one run; the sequencer, which numbers the entries, runs
all the while and is counted. CPU is that of purlind and mariadbd together; MariaDB flushes its log at each commit."""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from bench import Case
from servers import ROOT, Database, Purlin, scratch, stop_all

BODY = '{"name":"a thing of the benchmark","note":"with some words about what it is for"}'
BAR = 0.8


def over_http(options, folder, build):
    """Requests of clients, 24 at once: authenticated, permitted, logged."""
    database = Database(folder)
    purlin = Purlin(folder, database, build, loops=1, extra=str(build / "tests" / "plugins"))
    quiet, audited = (Case(path, purlin, f"/bench/{path}", purlin.token, BODY, database.process) for path in ("quiet-things", "things"))
    for turn in range(options.repetitions + 1):
        for case in (quiet, audited) if turn % 2 else (audited, quiet):
            case.run(folder, 1 if turn == 0 else options.seconds)
            if turn == 0:
                case.cost, case.rate, case.also_cost = [], [], []
    return quiet, audited


def median_ratio(ones, others):
    return statistics.median(one / other for one, other in zip(ones, others))


def bench(options, folder):
    build = Path(options.build).resolve()
    quiet, audited = over_http(options, folder, build)
    totals = [[a + b for a, b in zip(case.cost, case.also_cost)] for case in (quiet, audited)]
    print(f"\n{'A change of one row':<36} {'without':>10} {'with':>10} {'ratio':>7}")
    print(f"{'over HTTP, 24 at once: changes/s':<36} {statistics.median(quiet.rate):>10.0f} {statistics.median(audited.rate):>10.0f}"
          f" {median_ratio(audited.rate, quiet.rate):>6.2f}x")
    print(f"{'  CPU us of purlind and mariadbd':<36} {statistics.median(totals[0]):>10.1f} {statistics.median(totals[1]):>10.1f}"
          f" {median_ratio(totals[0], totals[1]):>6.2f}x")
    stop_all()
    sys.stdout.flush()
    subprocess.run([build / "tests" / "bench_audit", str(options.repetitions * 4)], check=True)
    met = median_ratio(audited.rate, quiet.rate) >= BAR
    print(f"\nBar: at least {BAR}x over HTTP: {'met' if met else 'MISSED'}.")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench audit")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--seconds", type=int, default=3, help="of load per repetition (3)")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with scratch() as folder:
        bench(options, folder)


if __name__ == "__main__":
    main()
