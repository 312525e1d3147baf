"""./dev bench mlflow: Purlin beside MLflow's own server, on the same MariaDB, with the same runs, asked for the same in the same words.

Repetitions are interleaved and each figure is their median. CPU is user and system time of all processes of a side, and of mariadbd, divided by the
requests; it means something on a busy machine, rates do less."""

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import mlflow_large
import mlflow_load
from mlflow_load import MIB, Measured
from mlflow_servers import Ours, fill, install, start_theirs
from servers import ROOT, Purlin, scratch, stop


def say(text):
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


class Bench:
    """What the cases share."""

    def __init__(self, folder, ours, theirs, count):
        self.count = count  # runs that were filled in
        self.folder, self.sides, self.ours, self.theirs = folder, (ours, theirs) if theirs else (ours,), ours, theirs
        self.experiment = {side: side.make_experiment("training") for side in self.sides}
        self.runs = {side: [side.make_run(self.experiment[side]) for _ in range(16)] for side in self.sides}
        self.number = 0

    def next_number(self):
        """From which steps and times count, so that nothing is logged twice."""
        self.number += 100_000
        return self.number


def compare(bench):
    """Both sides find the same runs in the same order, or there is nothing to measure. A side that fails is told of later."""
    for name, what in mlflow_load.SEARCHES.items():
        try:
            found = [[run["info"]["run_id"] for run in side.call("/api/2.0/mlflow/runs/search", mlflow_load.search_body(*what)(side)).get("runs", [])] for side in bench.sides]
        except OSError as problem:
            say(f"{name}: {problem}")
            continue
        if found[0] != found[-1] or not found[0]:
            raise RuntimeError(f"{name}: the sides differ\n{found[0][:5]}\n{found[-1][:5]}")


def measure(bench, cases, seconds, repetitions, beside):
    """By case and side, what each repetition cost; after a case comes what it is compared with, if anything."""
    results = {case: {side: Measured() for side in bench.sides} for case in cases}
    for turn in range(repetitions + 1):
        for case in cases:
            say(f"{'Warming up' if turn == 0 else f'Repetition {turn}'}: {case.name}")
            for side, measured in results[case].items():
                try:
                    measured.add(case.run(side, bench, 1 if turn == 0 else seconds), warming_up=turn == 0)
                except (RuntimeError, OSError) as problem:
                    say(problem)
                    measured.failed += 1
            if turn > 0 and case in beside:
                beside[case].append(beside[case][0]())
    return results


def measure_start(bench, folder, build, repetitions):
    """Seconds until our server answers, its tables being there."""
    ready = []
    (folder / "start").mkdir()
    for turn in range(repetitions + 1):
        purlin = Purlin(folder / "start", bench.ours, build, name="start")
        if turn > 0:  # the first one makes the tables
            ready.append(purlin.ready_seconds)
        stop(purlin.process)
    return statistics.median(ready)


# ---- Telling ------------------------------------------------------------------------------------------------------------------


def short(value):
    """A figure as one would say it."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


class Report:
    def __init__(self):
        self.lines, self.missed = [], 0

    def say(self, text=""):
        self.lines.append(text)

    def table(self, heads, rows):
        self.say()
        self.say("| " + " | ".join(heads) + " |")
        self.say("| --- |" + " ---: |" * (len(heads) - 1))
        for row in rows:
            self.say("| " + " | ".join(str(cell) for cell in row) + " |")
        self.say()

    def verdict(self, bar, met):
        self.missed += not met
        return f"{bar}, {'met' if met else '**missed**'}"


def ratio_of(sides, ours, theirs):
    """How many times the other side's rate ours is, and how one says it; None where a side does not answer at all."""
    mine, other = sides[ours].median("rate"), sides[theirs].median("rate")
    return (mine / other, f"{mine / other:.1f}x") if mine and other else (0 if other else None, "")


def tell_rates(report, bench, results, started):
    rows, ours, theirs = [], bench.ours, bench.theirs
    for case, sides in results.items():
        cells = [f"{short(sides[side].median('rate'))} {case.unit}" + f" ({sides[side].failed} failed)" * bool(sides[side].failed)
                 if sides[side].median("rate") else "fails" for side in bench.sides]
        if theirs:
            ratio, told = ratio_of(sides, ours, theirs)
            cells += [told, report.verdict(f">= {case.bar}x", ratio >= case.bar) if case.bar and ratio is not None else ""]
        rows.append((case.name, *cells))
    for what, unit, *values in zip(("start, the tables being there", "memory when idle (PSS, without mariadbd)", "memory after all this (PSS)"), ("s", "MiB", "MiB"), *started):
        rows.append((what, *(f"{short(value)} {unit}" for value in values), *((f"{values[1] / values[0]:.0f}x", "") if theirs else ())))
    report.table(("", "Purlin", "MLflow", "ratio", "bar") if theirs else ("", "Purlin"), rows)


def tell_costs(report, bench, results):
    rows = []
    for case, sides in results.items():
        if any(sides[side].median("rate") is None for side in bench.sides):
            continue
        cells = [f"{short(sides[side].median(what) * 1e3)} ms" for side in bench.sides for what in ("cpu", "database")]
        total = [max(1e-9, sides[side].median("cpu") + sides[side].median("database")) for side in bench.sides]
        rows.append((case.name, *cells, *([f"{total[1] / total[0]:.1f}x"] if bench.theirs else []), *(f"{short(sides[side].median('extra'))} MiB" for side in bench.sides)))
    heads = [head for side in bench.sides for head in (side.name, "its mariadbd")] + ["ratio of both together"] * bool(bench.theirs)
    report.say("CPU per request (of history and artifacts: of the whole), and the memory that it took:")
    report.table(("", *heads, *(f"memory, {side.name}" for side in bench.sides)), rows)


def column(measured, number):
    """The median of what was measured beside a case, whose first entry is the function that does it."""
    return statistics.median(values[number] for values in measured[1:])


def tell_batch(report, batch, seconds, cpu):
    ratio = 1 / batch.median("rate") / seconds
    yield ("log_batch of 1000 beside a bare bulk insert of the same rows, one client", f"{1e3 / batch.median('rate'):.1f} ms", f"{seconds * 1e3:.1f} ms",
           report.verdict(f"{ratio:.2f}x, <= 3x", ratio <= 3))
    yield ("the same, CPU of mariadbd", f"{batch.median('database') * 1e3:.1f} ms", f"{cpu * 1e3:.1f} ms", f"{batch.median('database') / cpu:.2f}x")
    both = batch.median("database") + batch.median("cpu")
    yield ("the same, CPU of purlind too", f"{both * 1e3:.1f} ms", f"{cpu * 1e3:.1f} ms", f"{both / cpu:.2f}x")


def tell_transfer(report, what, transfer, plain):
    ratio, extra = transfer.median("rate") / plain, transfer.median("extra")
    yield (f"artifact {what} beside the disk", f"{short(transfer.median('rate'))} MiB/s", f"{short(plain)} MiB/s", report.verdict(f"{ratio:.2f}x, >= 0.7x", ratio >= 0.7))
    yield (f"artifact {what}, memory that it took", f"{extra:.1f} MiB", "", report.verdict("< 16 MiB", extra < 16))


def machine():
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    name = next((line.partition("=")[2].strip('"') for line in Path("/etc/os-release").read_text().splitlines() if line.startswith("PRETTY_NAME")), "Linux")
    return f"{os.cpu_count()} cores of {model}, {memory} GiB of memory, {name}, Linux {platform.release()}; load {os.getloadavg()[0]:.1f} when it ended; {time.strftime('%d %B %Y')}"


def bench(options, folder):
    build, report = Path(options.build).resolve(), Report()
    python = None if options.alone else Path(options.python) if options.python else install()
    say("Starting purlind with its MariaDB")
    ours, theirs = Ours(folder, build), None
    if not options.alone:
        say("Starting MLflow's server twice: the first start makes its tables, which takes a minute or more")
        theirs = start_theirs(folder, python, ours)
    time.sleep(5)
    started = {side: [getattr(side, "ready_seconds", None), side.proportional_mib()] for side in (ours, theirs) if side}
    fill(ours, options.runs, options.points, say, options.alone)
    bench = Bench(folder, ours, theirs, options.runs)
    compare(bench)
    started[ours][0] = measure_start(bench, folder, build, options.repetitions)
    wanted = [word for word in (options.only or "").split(",") if word]
    batch, up = mlflow_load.one_batch(), mlflow_load.Upload(options.size * MIB)
    down, again = mlflow_load.Download(options.size * MIB), mlflow_load.Download(options.size * MIB, again=True)
    cases = [case for case in [*mlflow_load.cases(), batch, mlflow_load.History(options.points), up, down, again] if not wanted or any(word in case.name for word in wanted)]
    beside = {batch: [lambda: mlflow_load.bulk_insert(ours, bench)], down: [lambda: mlflow_load.disk(folder, options.size * MIB, bench.next_number())]}
    if options.hold:
        say(f"purlind is {ours.pid} at {ours.url}, token {ours.token}, MariaDB at {ours.socket}; MLflow at {theirs and theirs.url}; Enter goes on")
        sys.stdin.readline()
    results = measure(bench, cases, options.seconds, options.repetitions, beside)
    for side in bench.sides:
        started[side].append(side.proportional_mib())
    report.say(f"{options.runs:,} runs with 10 metrics, 5 parameters and 5 tags each; {machine()}.")
    tell_rates(report, bench, results, started.values())
    rows = []
    if batch in results:
        rows += tell_batch(report, results[batch][ours], column(beside[batch], 0), column(beside[batch], 1))
    for what, case, number in (("up", up, 0), ("down", down, 1), ("down again", again, 1)):
        if case in results and beside[down][1:]:
            rows += tell_transfer(report, what, results[case][ours], column(beside[down], number))
    if rows:
        report.table(("", "Purlin", "beside", "bar"), rows)
    tell_costs(report, bench, results)
    return report


def main():
    parser = argparse.ArgumentParser(prog="./dev bench mlflow")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--python", help="one that has mlflow (else tests/clients/install.sh)")
    parser.add_argument("--seconds", type=int, default=5, help="of load per case and repetition (5)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--runs", type=int, default=100_000, help="that are there to be searched (100,000)")
    parser.add_argument("--points", type=int, default=100_000, help="of the long history (100,000)")
    parser.add_argument("--size", type=int, default=1024, help="of the artifact, in MiB (1024)")
    parser.add_argument("--only", help="cases whose names hold one of these words, by comma")
    parser.add_argument("--alone", action="store_true", help="without MLflow's server: for who changes what is measured")
    parser.add_argument("--large", action="store_true", help="rows that reads of a run touch with a million runs, beside a thousand")
    parser.add_argument("--markdown", help="writes the report to this file too")
    parser.add_argument("--hold", action="store_true", help="wait before measuring, to look with a profiler")
    options = parser.parse_args()
    with scratch() as folder:
        report = mlflow_large.bench(options, folder, Report(), say) if options.large else bench(options, folder)
    report.say(f"{report.missed or 'No'} bar{'' if report.missed == 1 else 's'} missed.")
    text = "\n".join(report.lines) + "\n"
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
