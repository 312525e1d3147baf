"""Deleted runs, logged models and experiments go for good, with all that hangs on them, and nothing else does."""
import time

import pytest

from daemon import unique, wait_until


def make_experiment(client):
    answer = client.post("/api/v1/experiments", {"name": unique("e")})
    assert answer.status == 201, answer
    return answer.json


def make_run(client, experiment):
    run = client.post(f"/api/v1/experiments/{experiment['name']}/runs", {}).json["id"]
    batch = {"metrics": [{"key": "m", "value": step, "step": step} for step in range(50)], "parameters": [{"key": "p", "value": "1"}],
             "tags": [{"key": "t", "value": "1"}]}
    assert client.post(f"/api/v1/runs/{run}/batch", batch).status == 200
    read = {"datasets": [{"name": "d", "digest": run[-8:], "source_type": "local", "source": "{}", "tags": [{"key": "c", "value": "training"}]}],
            "models": [{"model_id": "m-1"}]}
    assert client.post(f"/api/v1/runs/{run}/inputs", read).status == 200
    put = client.put(f"/api/v1/artifacts/run/{run}/a/b.txt", run.encode())
    assert put.status in (200, 201), put
    return run


def purge(client, **what):
    answer = client.op("tracking.purge", what)
    assert answer.status == 200, answer
    return {key: value for key, value in answer.json.items() if key not in ("complete", "held")}


def rows_of(server, run):
    """In every table that knows of runs, whichever that may be."""
    columns = server.sql("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'purlin'"
                         " AND (table_name LIKE 'tracking%' AND column_name = 'run_id' AND table_name <> 'tracking_logged_model_metrics'"
                         " AND table_name <> 'tracking_logged_model_latest' OR table_name LIKE 'artifacts%' AND column_name = 'owner')")
    assert len(columns) >= 9, columns
    columns.append(["tracking_runs", "id"])
    return sum(int(server.sql(f"SELECT COUNT(*) FROM {table} WHERE {column} = '{run}'")[0][0]) for table, column in columns)


def runs_used(client):
    return next(one for one in client.get("/api/v1/quotas").json["quotas"] if one["name"] == "runs")["used"]


@pytest.fixture(scope="module")
def daemon(scratch, template):
    import daemon as made
    folder = scratch / "purge"
    folder.mkdir()
    made.copy_state(template, folder)
    one = made.Daemon(folder, configuration='plugin "storage-fs" { grace_s = 1, collect_every_s = 1 }\nplugin "tracking" { keep_deleted_days = 30 }\n').start()
    try:
        yield one
        one.stop()
    finally:
        one.end()


@pytest.fixture
def client(daemon):
    made = daemon.client()
    assert made.put("/api/v1/workspaces/default/quotas/runs", {"limit": 1000}).status == 200
    yield made
    made.close()


def test_deleted_runs_go_with_all_that_hangs_on_them(daemon, client):
    experiment = make_experiment(client)
    stays, goes, younger = (make_run(client, experiment) for _ in range(3))
    before = runs_used(client)
    assert rows_of(daemon, goes) == 50 + 1 + 1 + 2 + 1 + 1 + 1 + 2 + 1
    for run in (goes, younger):
        assert client.delete(f"/api/v1/runs/{run}").status == 200
    daemon.sql(f"UPDATE tracking_runs SET deleted_at = NOW(6) - INTERVAL 2 DAY WHERE id = '{goes}'")
    bytes_of = {owner: sha256 for owner, sha256 in daemon.sql("SELECT owner, sha256 FROM artifacts_files")}
    assert purge(client, older_than="1d12h", dry_run=True) == {"runs": 1, "logged_models": 0, "experiments": 0}
    assert purge(client, older_than="1h", dry_run=True)["runs"] == 1 and purge(client, dry_run=True)["runs"] == 2
    assert client.get(f"/api/v1/runs/{goes}").status == 200, "a dry run changes nothing"
    assert purge(client, older_than="1d12h") == {"runs": 1, "logged_models": 0, "experiments": 0}
    assert runs_used(client) == before - 1
    assert client.get(f"/api/v1/runs/{goes}").status == 404 and client.post(f"/api/v1/runs/{goes}/restore", {}).status == 404
    wait_until(lambda: rows_of(daemon, goes) == 0, 15, "something of it stays")
    wait_until(lambda: bytes_of[goes] not in {row[0] for row in daemon.sql("SELECT sha256 FROM storage_fs_blobs")}, 15, "its bytes stay")
    assert client.post(f"/api/v1/runs/{younger}/restore", {}).status == 200
    for run in (stays, younger):
        assert client.get(f"/api/v1/artifacts/run/{run}/a/b.txt").body == run.encode()
        assert len(client.get(f"/api/v1/runs/{run}/metrics/m").json["metrics"]) == 50
    entries = client.get("/api/v1/audit/entries?limit=20&operation=tracking.purge").json["entries"]
    assert any(goes in str(entry) for entry in entries)


def test_what_is_named_must_be_deleted(daemon, client):
    experiment = make_experiment(client)
    active, deleted = make_run(client, experiment), make_run(client, experiment)
    client.delete(f"/api/v1/runs/{deleted}")
    assert client.op("tracking.purge", {"run_ids": [deleted, active]}).status == 409
    assert client.op("tracking.purge", {"run_ids": [deleted, "run_nobody"]}).status == 404
    assert client.op("tracking.purge", {"run_ids": [deleted], "older_than": "1h"}).status == 409
    assert client.op("tracking.purge", {"older_than": "soon"}).status == 400
    assert client.op("tracking.purge", {"experiment_ids": [experiment["id"]]}).status == 409
    assert client.get(f"/api/v1/runs/{deleted}").status == 200, "nothing went"
    assert purge(client, run_ids=[deleted])["runs"] == 1
    assert client.get(f"/api/v1/runs/{active}").status == 200
    editor = daemon.client(daemon.token_for("default", ["*:read", "runs:write"]))
    assert editor.op("tracking.purge").status == 403
    editor.close()


def test_an_experiment_goes_with_all_that_is_in_it(daemon, client):
    experiment, other = make_experiment(client), make_experiment(client)
    runs, kept = [make_run(client, experiment) for _ in range(3)], make_run(client, other)
    model = client.post("/api/v1/logged-models", {"experiment_id": experiment["id"], "name": "m"})
    assert model.status == 201, model
    used = runs_used(client)
    assert client.delete(f"/api/v1/experiments/{experiment['name']}").status == 200
    everything = {"runs": 3, "logged_models": 1, "experiments": 1}
    assert purge(client, experiment_ids=[experiment["id"]] * 2, dry_run=True) == purge(client, dry_run=True) == everything
    assert purge(client, experiment_ids=[experiment["id"]]) == {"runs": 3, "logged_models": 1, "experiments": 1}
    assert runs_used(client) == used - 3
    wait_until(lambda: sum(rows_of(daemon, run) for run in runs) == 0, 15, "something of it stays")
    assert client.get(f"/api/v1/experiments/{experiment['name']}").status == 404
    assert client.post("/api/v1/experiments", {"name": experiment["name"]}).status == 201, "its name is free"
    assert client.get(f"/api/v1/runs/{kept}").status == 200


def test_what_has_the_files_of_a_registered_model_stays(daemon, client):
    """While a version names it; the run that logged such a model may go."""
    mlflow, experiment, name = "/api/2.0/mlflow", make_experiment(client), unique("m")
    by_run, by_place, free, maker, other = (make_run(client, experiment) for _ in range(5))
    logged = client.post("/api/v1/logged-models", {"experiment_id": experiment["id"], "name": "m", "source_run_id": maker}).json["id"]
    assert client.put(f"/api/v1/artifacts/model/{logged}/MLmodel", b"flavors: {}").status == 200
    assert client.post(f"{mlflow}/registered-models/create", {"name": name}).status == 200
    sources = {1: {"source": f"runs:/{by_run}/a", "run_id": by_run}, 2: {"source": f"mlflow-artifacts:/{experiment['id']}/{by_place}/artifacts/a", "run_id": by_place},
               3: {"source": f"models:/{logged}", "model_id": logged}, 4: {"source": f"s3://elsewhere/{other}/artifacts", "run_id": other}}
    for number, source in sources.items():
        made = client.post(f"{mlflow}/model-versions/create", {"name": name, **source})
        assert made.status == 200 and made.json["model_version"]["version"] == str(number), made
    for run in (by_run, by_place, free, maker, other):
        assert client.delete(f"/api/v1/runs/{run}").status == 200
    assert client.delete(f"/api/v1/logged-models/{logged}").status == 200
    assert client.op("tracking.purge", {"run_ids": [by_run]}).status == client.op("tracking.purge", {"logged_model_ids": [logged]}).status == 409
    expected = {"runs": 3, "logged_models": 0, "experiments": 0, "held": 3, "complete": True}
    assert client.op("tracking.purge", {"dry_run": True}).json == client.op("tracking.purge").json == expected
    for run in (by_run, by_place):
        assert client.post(f"/api/v1/runs/{run}/restore", {}).status == 200
        assert client.get(f"/api/v1/artifacts/run/{run}/a/b.txt").body == run.encode()
    assert client.get(f"/api/v1/artifacts/model/{logged}/MLmodel").body == b"flavors: {}"
    assert client.delete(f"/api/v1/experiments/{experiment['name']}").status == 200
    expected = {"runs": 0, "logged_models": 0, "experiments": 0, "held": 3, "complete": True}
    assert client.op("tracking.purge", {"experiment_ids": [experiment["id"]], "dry_run": True}).json == expected
    assert client.op("tracking.purge", {"experiment_ids": [experiment["id"]]}).json == expected
    assert client.call("DELETE", f"{mlflow}/registered-models/delete", {"name": name}).status == 200
    expected = {"runs": 2, "logged_models": 1, "experiments": 1, "held": 0, "complete": True}
    assert client.op("tracking.purge", {"dry_run": True}).json == client.op("tracking.purge").json == expected
    wait_until(lambda: not rows_of(daemon, by_run) and not rows_of(daemon, logged), 15, "something of it stays")


def test_a_purge_that_died_is_finished(daemon, client):
    """The rows of runs went, and the daemon with them; a late writer left one more."""
    experiment = make_experiment(client)
    run = make_run(client, experiment)
    client.delete(f"/api/v1/runs/{run}")
    daemon.sql(f"DELETE FROM tracking_runs WHERE id = '{run}'; UPDATE purlin_quotas SET used = used - 1 WHERE name = 'runs';"
               f" INSERT INTO tracking_leftovers VALUES ('run', '{run}', 'default', NOW(6) - INTERVAL 2 MINUTE)")
    purge(client, older_than="9999d")
    wait_until(lambda: not daemon.sql(f"SELECT 1 FROM tracking_leftovers WHERE owner = '{run}'"), 15, "it is still to be done")
    assert not daemon.sql(f"SELECT 1 FROM tracking_metrics WHERE run_id = '{run}'")


def test_what_was_deleted_long_ago_goes_by_itself(daemon, client):
    experiment = make_experiment(client)
    old, young = make_run(client, experiment), make_run(client, experiment)
    for run in (old, young):
        client.delete(f"/api/v1/runs/{run}")
    daemon.sql(f"UPDATE tracking_runs SET deleted_at = NOW(6) - INTERVAL 31 DAY WHERE id = '{old}'")
    assert client.op("jobs.enqueue", {"name": "tracking.sweep", "payload": {}}).status in (200, 201)
    wait_until(lambda: client.get(f"/api/v1/runs/{old}").status == 404, 15, "it is still there")
    time.sleep(0.5)
    assert client.get(f"/api/v1/runs/{young}").status == 200
