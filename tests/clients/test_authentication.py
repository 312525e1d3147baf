"""Who may come in: a token, a name with its password, nobody else."""
import mlflow
import pytest

pytestmark = pytest.mark.ours


@pytest.fixture
def nobody(monkeypatch):
    for variable in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_without_any_credential(nobody, fails):
    with fails("UNAUTHENTICATED"):
        mlflow.MlflowClient().get_experiment("0")


def test_with_a_wrong_token(nobody, fails):
    nobody.setenv("MLFLOW_TRACKING_TOKEN", "purlin_" + "0" * 32)
    with fails("UNAUTHENTICATED"):
        mlflow.MlflowClient().create_experiment("never")


def test_with_a_name_and_a_password(nobody, server, name, fails):
    user, password = name("ann"), "correct horse battery 9"
    server.op("accounts.create_user", {"name": user, "password": password})
    server.op("access.grant_role", {"subject": f"user:{user}", "role": "editor"})
    nobody.setenv("MLFLOW_TRACKING_USERNAME", user)
    nobody.setenv("MLFLOW_TRACKING_PASSWORD", password)
    client = mlflow.MlflowClient()
    run = client.create_run("0")
    client.log_metric(run.info.run_id, "m", 1.0)
    assert client.get_run(run.info.run_id).data.metrics == {"m": 1.0}
    nobody.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with fails("UNAUTHENTICATED"):
        mlflow.MlflowClient().get_experiment("0")


def test_who_may_only_read(nobody, server, name, client, fails):
    user, password = name("ben"), "correct horse battery 9"
    server.op("accounts.create_user", {"name": user, "password": password})
    server.op("access.grant_role", {"subject": f"user:{user}", "role": "viewer"})
    nobody.setenv("MLFLOW_TRACKING_USERNAME", user)
    nobody.setenv("MLFLOW_TRACKING_PASSWORD", password)
    client = mlflow.MlflowClient()
    assert client.get_experiment("0").name == "Default"
    with fails("PERMISSION_DENIED"):
        client.create_run("0")
    with fails("PERMISSION_DENIED"):
        client.create_experiment(name("never"))
