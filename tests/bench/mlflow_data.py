"""The same runs for both sides, put by bulk SQL straight into the tables of each: MariaDB makes them itself, out of its sequences.

Run n has the id MD5(seed:n), so that ids say nothing of the order in which runs began, as with random ids. Every number and
text follows from n: both sides hold the same rows, whatever was filled before."""

SEED = "purlin"
EPOCH_MS = 1_750_000_000_000  # when the first run began; the next ones a second later each
METRICS = ("accuracy", "loss", "auc", "f1", "precision", "recall", "val_accuracy", "val_loss", "learning_rate", "epoch_seconds")
PARAMETERS = {"depth": "n MOD 12", "rounds": "100 * (n MOD 7)", "optimizer": "ELT(1 + n MOD 3, 'adam', 'sgd', 'lion')",
              "batch_size": "ELT(1 + n MOD 4, '32', '64', '128', '256')", "features": "CONCAT('set-', n MOD 50)"}
TAGS = {"team": "CONCAT('team-', CRC32(CONCAT('team', n)) MOD 10)", "stage": "ELT(1 + n MOD 2, 'try', 'final')",
        "mlflow.user": "'bench'", "mlflow.source.name": "'train.py'", "mlflow.runName": "CONCAT('run-', n)"}
HISTORY = "history"  # the metric of the run with a long history
EXPERIMENT = "exp_bench"  # ours; theirs is numbered
THEIR_EXPERIMENT = 900


def run_id(n, seed=SEED):
    return f"MD5(CONCAT('{seed}:', {n}))"


def sequence(count, seed=SEED):
    """Runs in the order of their ids, which is that of the primary keys: an index is written from left to right."""
    return f"(SELECT seq AS n, {run_id('seq', seed)} AS id FROM seq_0_to_{count - 1} ORDER BY id) AS r"


def number(n, name):
    return f"ROUND(CRC32(CONCAT({n}, ':', '{name}')) / 4294967296, 6)"


def theirs(runs, history):
    """Statements for the tables of an MLflow server."""
    yield (f"INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)"
           f" VALUES ({THEIR_EXPERIMENT}, 'bench', 'mlflow-artifacts:/{THEIR_EXPERIMENT}', 'active', {EPOCH_MS}, {EPOCH_MS}, 'default')")
    yield ("INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,"
           " source_version, lifecycle_stage, artifact_uri, experiment_id)"
           f" SELECT id, CONCAT('run-', n), 'UNKNOWN', '', '', 'bench', 'FINISHED', {EPOCH_MS} + 1000 * n, {EPOCH_MS} + 1000 * n + 500, '', 'active',"
           f" CONCAT('mlflow-artifacts:/{THEIR_EXPERIMENT}/', id, '/artifacts'), {THEIR_EXPERIMENT} FROM {sequence(runs)}")
    for name in sorted(METRICS):
        columns = f"`key`, value, timestamp, run_uuid, step, is_nan) SELECT '{name}', {number('n', name)}, {EPOCH_MS} + 1000 * n, id, 0, 0 FROM"
        yield f"INSERT INTO metrics ({columns} (SELECT seq AS n, {run_id('seq')} AS id FROM seq_0_to_{runs - 1}) AS r"
        yield f"INSERT INTO latest_metrics ({columns} {sequence(runs)}"
    for table, values in (("params", PARAMETERS), ("tags", TAGS)):
        for name in sorted(values):
            yield f"INSERT INTO {table} (`key`, value, run_uuid) SELECT '{name}', {values[name]}, id FROM {sequence(runs)}"
    points = f"'{HISTORY}', {number('seq', HISTORY)}, {EPOCH_MS} + seq, {run_id(0)}, seq, 0"
    yield f"INSERT INTO metrics (`key`, value, timestamp, run_uuid, step, is_nan) SELECT {points} FROM seq_0_to_{history - 1}"
    yield (f"INSERT INTO latest_metrics (`key`, value, timestamp, run_uuid, step, is_nan) SELECT {points} FROM seq_{history - 1}_to_{history - 1}")


def at(milliseconds):
    return f"TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ({milliseconds}) * 1000 MICROSECOND"


def ordered_id(n, experiment):
    """In place of MD5 where there are so many runs that sorting them takes long: ids in the order of the runs."""
    return f"{experiment}-{n:010}"


def ours(runs, history, experiment=EXPERIMENT, ordered=False):
    """Statements for the tables of Purlin's tracking plugin."""
    owner, seed = "'default', 'default'", SEED if experiment == EXPERIMENT else experiment
    if ordered:
        yield from in_order(runs, experiment, owner)
        return
    yield ("INSERT INTO tracking_experiments (workspace, project, id, name, created_at, created_by)"
           f" VALUES ({owner}, '{experiment}', '{experiment}', {at(EPOCH_MS)}, 'user:bench')")
    began = at(f"{EPOCH_MS} + 1000 * n")
    yield ("INSERT INTO tracking_runs (workspace, project, id, experiment_id, name, status, created_at, started_at, ended_at, created_by, user)"
           f" SELECT {owner}, id, '{experiment}', CONCAT('run-', n), 'finished', {began}, {began}, {began} + INTERVAL 500000 MICROSECOND,"
           f" 'user:bench', 'bench' FROM {sequence(runs, seed)}")
    of = ", experiment_id", f", '{experiment}'"  # where searches look for it
    for table, (column, value) in (("tracking_metrics", ("", "")), ("tracking_latest_metrics", of)):
        cases = " ".join(f"WHEN '{name}' THEN {number('n', name)}" for name in METRICS)
        yield (f"INSERT INTO {table} (workspace, project{column}, run_id, name, step, at, value)"
               f" SELECT {owner}{value}, id, k.name, 0, {began}, CASE k.name {cases} END FROM {pairs(runs, METRICS, seed)}")
    for table, given in (("tracking_parameters", PARAMETERS), ("tracking_tags", TAGS)):
        cases = " ".join(f"WHEN '{name}' THEN {value}" for name, value in given.items())
        yield (f"INSERT INTO {table} (workspace, project{of[0]}, run_id, name, value, started_at)"
               f" SELECT {owner}{of[1]}, id, k.name, CASE k.name {cases} END, {began} FROM {pairs(runs, given, seed)}")
    for table, (column, value), first in (("tracking_metrics", ("", ""), 0), ("tracking_latest_metrics", of, history - 1)):
        yield (f"INSERT INTO {table} (workspace, project{column}, run_id, name, step, at, value)"
               f" SELECT {owner}{value}, {run_id(0, seed)}, '{HISTORY}', seq, {at(f'{EPOCH_MS} + seq')}, {number('seq', HISTORY)} FROM seq_{first}_to_{history - 1}")


def pairs(runs, names, seed):
    """Every run with every name, in the order of the primary keys."""
    listed = " UNION ALL ".join(f"SELECT '{name}' AS name" for name in sorted(names))
    return (f"(SELECT r.n, r.id, k.name FROM (SELECT seq AS n, {run_id('seq', seed)} AS id FROM seq_0_to_{runs - 1}) AS r"
            f" JOIN ({listed}) AS k ORDER BY r.id, k.name) AS k")


def in_order(runs, experiment, owner):
    """The same by the million: nothing is sorted, each run has its ten points, and values grow with the runs, as their keys in every index."""
    yield ("INSERT INTO tracking_experiments (workspace, project, id, name, created_at, created_by)"
           f" VALUES ({owner}, '{experiment}', '{experiment}', {at(EPOCH_MS)}, 'user:bench')")
    of = ", experiment_id", f", '{experiment}'"
    name, began = f"CONCAT('{experiment}-', LPAD(n, 10, '0'))", at(f"{EPOCH_MS} + 1000 * n")
    for first in range(0, runs, 100_000):
        each = f"(SELECT seq AS n FROM seq_{first}_to_{min(runs, first + 100_000) - 1}) AS r"
        listed = " UNION ALL ".join(f"SELECT '{metric}' AS name" for metric in sorted(METRICS))
        yield ("INSERT INTO tracking_runs (workspace, project, id, experiment_id, name, status, created_at, started_at, ended_at, created_by, user)"
               f" SELECT {owner}, {name}, '{experiment}', CONCAT('run-', n), 'finished', {began}, {began}, {began}, 'user:bench', 'bench' FROM {each}")
        for table, (column, value) in (("tracking_metrics", ("", "")), ("tracking_latest_metrics", of)):
            yield (f"INSERT INTO {table} (workspace, project{column}, run_id, name, step, at, value)"
                   f" SELECT STRAIGHT_JOIN {owner}{value}, {name}, k.name, 0, {began}, n / {runs} FROM {each} JOIN ({listed}) AS k")
        for table, given in (("tracking_parameters", PARAMETERS), ("tracking_tags", TAGS)):
            for key, value in sorted(given.items()):
                yield (f"INSERT INTO {table} (workspace, project{of[0]}, run_id, name, value, started_at)"
                       f" SELECT {owner}{of[1]}, {name}, '{key}', {value}, {began} FROM {each}")
