"""What `mlflow gc` does for MLflow's own server, which opens that server's database itself: what was deleted goes for good."""
import mlflow
import numpy
import pytest
from conftest import MAJOR
from mlflow.entities import ViewType

pytestmark = pytest.mark.ours


def purge(server, **what):
    return server.op("tracking.purge", what)


def test_a_deleted_run_goes_and_its_neighbour_stays(client, experiment, server, fails):
    gone, stays = (client.create_run(experiment).info.run_id for _ in range(2))
    for run in (gone, stays):
        client.log_metric(run, "loss", 0.5)
        client.log_text(run, "the same bytes", "note.txt")
    client.delete_run(gone)
    assert purge(server, run_ids=[gone], dry_run=True)["runs"] == 1
    assert client.get_run(gone).info.lifecycle_stage == "deleted"
    assert purge(server, run_ids=[gone])["runs"] == 1
    with fails("RESOURCE_DOES_NOT_EXIST", f"Run with id={gone} not found"):
        client.get_run(gone)
    with fails("RESOURCE_DOES_NOT_EXIST"):
        client.restore_run(gone)
    assert server.call("GET", "/get-artifact", params={"run_id": gone, "path": "note.txt"}).status_code == 404
    assert [run.info.run_id for run in client.search_runs([experiment], run_view_type=ViewType.ALL)] == [stays]
    assert mlflow.artifacts.load_text(f"runs:/{stays}/note.txt") == "the same bytes"
    assert len(client.get_metric_history(stays, "loss")) == 1


def test_an_active_run_cannot_go(client, run_id, server):
    assert server.call("POST", "/api/v1/purge", json={"run_ids": [run_id]}).status_code == 409
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_an_experiment_goes_with_its_runs_and_its_name_is_free(client, name, server, fails):
    wanted = name("gone")
    made = client.create_experiment(wanted)
    run = client.create_run(made).info.run_id
    client.delete_experiment(made)
    assert purge(server, experiment_ids=[made])["runs"] == 1
    with fails("RESOURCE_DOES_NOT_EXIST"):
        client.get_experiment(made)
    with fails("RESOURCE_DOES_NOT_EXIST"):
        client.get_run(run)
    assert client.create_experiment(wanted) != made


@pytest.mark.since3
def test_a_registered_model_outlives_the_run_that_logged_it(client, experiment, name, server):
    from sklearn.linear_model import LinearRegression

    x, wanted = numpy.arange(10.0).reshape(-1, 1), name("outlives")
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(LinearRegression().fit(x, 2 * x), name="model", registered_model_name=wanted)
    client.delete_run(run.info.run_id)
    purge(server, run_ids=[run.info.run_id])
    assert MAJOR >= 3 and mlflow.pyfunc.load_model(f"models:/{wanted}/1").predict(x).ravel() == pytest.approx(2 * x.ravel())
