"""`purlin import mlflow URL`: what a real MLflow server holds is here afterwards as it was there, once, whenever the import was killed."""
import hashlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, ViewType

from conftest import unique

pytestmark = [pytest.mark.ours, pytest.mark.since3]  # the server of 2.x does not run with the libraries that its client is tested with
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PURLIN_BUILD", ROOT / "build"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The URL of an MLflow server."""
    folder, port = tmp_path_factory.mktemp("source"), free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING")}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination",
               str(folder / "files"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, process_group=0)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 300  # it imports a great deal
    while True:
        try:
            if requests.get(f"{url}/health", timeout=2).status_code == 200:
                break
        except requests.RequestException:
            pass
        assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()[-2000:]
        time.sleep(0.2)
    yield url
    os.killpg(process.pid, signal.SIGTERM)  # the server's own group: it has workers
    process.wait(30)


@pytest.fixture(scope="module")
def there(source):
    return MlflowClient(source)


def add_files(client, run_id, folder):
    (folder / "deep" / "ä").mkdir(parents=True)
    (folder / "empty").write_bytes(b"")
    (folder / "a b+c.txt").write_text("hello")
    (folder / "big.bin").write_bytes(os.urandom(3 << 20))
    (folder / "deep" / "ä" / "x.bin").write_bytes(b"1" * 70000)
    client.log_artifacts(run_id, str(folder), "files")


@pytest.fixture(scope="module")
def filled(there, tmp_path_factory):
    """An experiment with what there can be; its name, and what else the tests ask for."""
    names = {"experiment": unique("import"), "gone": unique("gone"), "model": unique("model")}
    e = there.create_experiment(names["experiment"], tags={"team": "red 'quoted' 100 %"})
    parent = there.create_run(e, run_name="parent", start_time=1600000000000, tags={"mlflow.user": "zoe"}).info.run_id
    there.log_param(parent, "text", 'a\nb "q" ä')
    child = there.create_run(e, run_name="child", tags={"mlflow.parentRunId": parent}).info.run_id
    there.log_batch(child, metrics=[Metric("loss/train", i / 3, 1700000000000 + i, i) for i in range(1000)])
    there.log_batch(child, metrics=[Metric("loss/train", i / 3, 1700000000000 + i, i) for i in range(1000, 1500)])
    there.log_batch(child, metrics=[Metric("nan", float("nan"), 1, 0), Metric("large", 1.7976931348623157e308, 1, 0), Metric("small", -5e-324, 1, -5)])
    there.set_terminated(child, "FAILED", 1700000005000)
    there.set_terminated(parent, "FINISHED", 1700000006000)
    add_files(there, child, tmp_path_factory.mktemp("files"))
    dead = there.create_run(e).info.run_id
    there.log_metric(dead, "x", 1)
    there.delete_run(dead)
    for i in range(8):
        there.log_metric(there.create_run(e, run_name=f"more-{i}").info.run_id, "m", i)
    model = there.create_logged_model(e, name="classifier", source_run_id=parent, tags={"k": "v"}, params={"depth": "3"})
    (tmp_path_factory.getbasetemp() / "MLmodel").write_text("flavors: {}\n")
    there.log_model_artifacts(model.model_id, str(tmp_path_factory.mktemp("model")))
    there.log_model_artifact(model.model_id, str(tmp_path_factory.getbasetemp() / "MLmodel"))
    there.finalize_logged_model(model.model_id, "READY")
    there.log_metric(child, "acc", 0.5, step=3, model_id=model.model_id)
    gone = there.create_experiment(names["gone"])
    there.log_metric(there.create_run(gone).info.run_id, "z", 1)
    there.delete_experiment(gone)
    there.create_registered_model(names["model"], tags={"owner": "me"}, description="What it is")
    for number in range(1, 6):
        there.create_model_version(names["model"], f"{there.get_run(child).info.artifact_uri}/files", child, tags={"n": str(number)}, description=f"the {number}.")
    for number in ("2", "3"):
        there.delete_model_version(names["model"], number)
    there.set_registered_model_alias(names["model"], "champion", "4")
    there.transition_model_version_stage(names["model"], "1", "Production")
    return {**names, "parent": parent, "child": child, "dead": dead, "logged": model.model_id}


def command(source, *more):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING")}
    environment.update(PURLIN_SERVER=os.environ["PURLIN_URL"], PURLIN_TOKEN=os.environ["PURLIN_TOKEN"])
    return [str(BUILD / "bin" / "purlin"), "import", "mlflow", source, *more], environment


def run_import(source, *more):
    arguments, environment = command(source, *more)
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def counts(table):
    """From what is counted to (there, here)."""
    found = {}
    for line in table.splitlines():
        words = line.replace("differs", "").split()
        if len(words) >= 3 and words[-1].isdigit() and words[-2].isdigit():
            found[" ".join(words[:-2])] = (int(words[-2]), int(words[-1]))
    return found


def copies(here, name):
    """From the ids of runs there to runs here."""
    experiment = here.get_experiment_by_name(name)
    runs = here.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    found = {}
    for run in runs:
        where = run.data.tags["purlin.import.source"].rsplit("/", 1)[1]
        assert where not in found, "copied twice"
        found[where] = run
    return found


def test_a_dry_run_makes_nothing(source, filled, client):
    code, table, said = run_import(source, "--dry-run")
    assert code == 0 and "runs" in table, said
    assert client.get_experiment_by_name(filled["experiment"]) is None


def test_killed_at_any_moment_it_goes_on(source, filled, client):
    for seconds in (0.3, 0.8, 1.6):
        arguments, environment = command(source)
        process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.kill()
        process.wait()
    code, table, said = run_import(source)
    assert code == 0, table + said
    assert all(a == b for a, b in counts(table).values()) and counts(table)["points of metrics"][0] >= 1511
    assert len(copies(client, filled["experiment"])) == 11


def test_all_is_here_as_it_was_there(source, filled, there, client, tmp_path):
    assert run_import(source)[0] == 0
    runs = copies(client, filled["experiment"])
    assert all(run.info.run_id == there_id for there_id, run in runs.items())
    parent, child = runs[filled["parent"]], runs[filled["child"]]
    assert client.get_experiment_by_name(filled["experiment"]).tags["team"] == "red 'quoted' 100 %"
    assert parent.data.params == {"text": 'a\nb "q" ä'}
    assert (parent.info.start_time, parent.info.end_time, parent.info.status) == (1600000000000, 1700000006000, "FINISHED")
    assert parent.data.tags["mlflow.user"] == "zoe" and parent.info.run_name == "parent"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id and child.info.status == "FAILED"
    for key in ("loss/train", "large", "small", "nan"):
        ours, theirs = ([(m.timestamp, m.step, repr(m.value)) for m in c.get_metric_history(run, key)]
                        for c, run in ((client, child.info.run_id), (there, filled["child"])))
        assert sorted(ours) == sorted(theirs), key
    assert runs[filled["dead"]].info.lifecycle_stage == "deleted"
    model = client.get_logged_model(filled["logged"])
    assert (model.source_run_id, model.tags["k"], model.params, str(model.status)) == (filled["parent"], "v", {"depth": "3"}, "READY")
    assert [(m.key, m.value, m.step, m.run_id) for m in model.metrics] == [("acc", 0.5, 3, filled["child"])]
    gone = [e for e in client.search_experiments(view_type=ViewType.DELETED_ONLY) if e.name == filled["gone"]]
    assert len(gone) == 1

    def digests(c, run, name):
        root = tmp_path / name
        root.mkdir()
        c.download_artifacts(run, "files", str(root))
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}

    ours, theirs = digests(client, child.info.run_id, "ours"), digests(there, filled["child"], "theirs")
    assert ours == theirs and len(ours) == 4


def test_versions_keep_their_numbers(source, filled, client):
    name, child = filled["model"], copies(client, filled["experiment"])[filled["child"]]
    versions = {v.version: v for v in client.search_model_versions(f"name='{name}'")}
    assert sorted(map(int, versions)) == [1, 4, 5]
    for number, version in versions.items():
        assert version.run_id == child.info.run_id and version.description == f"the {number}." and version.tags["n"] == str(number)
        assert client.get_model_version_download_uri(name, version.version).endswith(f"{child.info.run_id}/artifacts/files")
    assert versions[next(v for v in versions if int(v) == 1)].current_stage == "Production"
    assert int(client.get_model_version_by_alias(name, "champion").version) == 4
    model = client.get_registered_model(name)
    assert model.tags["owner"] == "me" and model.description == "What it is"


def test_a_second_time_it_makes_nothing_and_a_run_that_went_on_is_copied_on(source, filled, there, client):
    code, table, said = run_import(source)
    assert code == 0 and "0 runs were copied" in table, table + said
    there.log_metric(filled["child"], "loss/train", 7, step=9999)
    code, table, said = run_import(source)
    assert code == 0 and "1 runs were copied" in table, table + said
    child = copies(client, filled["experiment"])[filled["child"]]
    assert child.data.metrics["loss/train"] == 7
    assert len(client.get_metric_history(child.info.run_id, "loss/train")) == 1501


def test_what_differs_is_told(source, filled, there, client):
    other = there.create_registered_model(unique("taken")).name
    client.create_registered_model(other)
    code, table, said = run_import(source)
    assert code == 1 and other in said and "differs" in table, table + said
    there.delete_registered_model(other)
    client.delete_registered_model(other)


def test_only_some_experiments(source, there, client):
    chosen, other = unique("chosen"), unique("other")
    for name in (chosen, other):
        there.create_run(there.create_experiment(name))
    code, table, said = run_import(source, "--experiment", chosen, "--no-artifacts")
    assert code == 0 and counts(table)["experiments"] == (1, 1) and "files" not in counts(table), table + said
    assert client.get_experiment_by_name(chosen) and client.get_experiment_by_name(other) is None


def test_what_was_made_here_is_left_as_it_is(source, filled, there, client):
    """Also where the source has an experiment of that name, a deleted one."""
    name = unique("both")
    there.delete_experiment(there.create_experiment(name))
    ours = client.create_experiment(name, tags={"team": "ours"})
    run = client.create_run(ours).info.run_id
    code, out, errors = run_import(source, "--experiment", name)
    assert code == 1 and "there is one of that name here" in out + errors, (out, errors)
    found = client.get_experiment(ours)
    assert found.lifecycle_stage == "active" and found.tags == {"team": "ours"} and client.get_run(run).info.lifecycle_stage == "active"


def test_a_copy_of_a_version_waits_for_its_origin(source, filled, there, client):
    """MLflow's own way to promote a model: its name may come before the origin's."""
    origin, copy = unique("z-origin"), unique("a-copy")
    experiment = there.create_experiment(unique("promoted"))
    run = there.create_run(experiment).info.run_id
    there.log_text(run, "bytes", "model/MLmodel")
    there.create_registered_model(origin)
    there.create_model_version(origin, f"runs:/{run}/model", run)
    there.copy_model_version(f"models:/{origin}/1", copy)
    code, out, errors = run_import(source)
    assert "no model named" not in out + errors, (out, errors)
    assert client.get_model_version(copy, "1").source == f"models:/{origin}/1"
