"""./dev bench mlflow --large: the rows that a read of one run touches (MariaDB's Handler_read_*) among a thousand runs, and among a million."""

import statistics
import time
from pathlib import Path

import mlflow_data
from mlflow_load import connect, headers
from mlflow_servers import Ours

READS = 300


def handlers(ours):
    return {name: int(value) for name, value in ours.sql("SHOW GLOBAL STATUS LIKE 'Handler_read%'")}


def per_request(ours, path):
    """Handler_read_* of one request, what the server does meanwhile for itself taken off."""
    found = []
    for _ in range(3):
        connection = connect(ours)
        before, began = handlers(ours), time.monotonic()
        for _ in range(READS):
            connection.request("GET", path, headers=headers(ours))
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {text[:300]}")
        took, between = time.monotonic() - began, handlers(ours)
        time.sleep(took)
        after = handlers(ours)
        connection.close()
        found.append({name: ((between[name] - before[name]) - (after[name] - between[name])) / READS for name in before})
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def bench(options, folder, report, say):
    ours = Ours(folder, Path(options.build).resolve())
    measured = {}
    for experiment, runs in (("few", 1000), ("many", 1_000_000)):
        say(f"Filling {runs:,} runs")
        for statement in mlflow_data.ours(runs, 1000, experiment=experiment, ordered=True):
            if statement.startswith("INSERT INTO tracking_runs"):
                say(f"{ours.sql('SELECT COUNT(*) FROM tracking_runs')[0][0]} are there")
            ours.sql(statement)
        ours.sql("ANALYZE TABLE tracking_runs, tracking_metrics, tracking_latest_metrics, tracking_parameters, tracking_tags")
        run = mlflow_data.ordered_id(runs // 2, experiment)
        measured[runs] = {"get_run": per_request(ours, f"/api/2.0/mlflow/runs/get?run_id={run}"),
                          "get_history": per_request(ours, f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss&max_results=1000")}
    counted = ours.sql("SELECT COUNT(*) FROM tracking_runs", "SELECT COUNT(*) FROM tracking_metrics")
    report.say(f"Rows that one request reads, by Handler_read_*, with 1,000 runs and with {int(counted[0][0]):,} runs and {int(counted[1][0]):,} points:")
    rows = []
    for what in ("get_run", "get_history"):
        few, many = (sum(measured[runs][what].values()) for runs in (1000, 1_000_000))
        rows.append((what, f"{few:.1f}", f"{many:.1f}", report.verdict("the same", many <= few + 1)))
        rows.append(("", *(", ".join(f"{name.removeprefix('Handler_read_').lower()} {value:.1f}" for name, value in measured[runs][what].items() if value >= 0.05) for runs in (1000, 1_000_000)), ""))
    report.table(("", "1,000 runs", "1,000,000 runs", "bar"), rows)
    return report
