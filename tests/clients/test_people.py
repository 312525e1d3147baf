"""Users and permissions with MLflow's own client of them, and what those see who may see little."""
import importlib
import pathlib
import sys
import types

import mlflow
import pytest

from conftest import MAJOR

pytestmark = pytest.mark.ours
PASSWORD = "four plain garden words"


@pytest.fixture(scope="module")
def auth(request):
    """The package around the client is its server, which wants more libraries than a client has: it is left out."""
    import os

    package = types.ModuleType("mlflow.server.auth")
    package.__path__ = [str(pathlib.Path(mlflow.__file__).parent / "server" / "auth")]
    before = sys.modules.get("mlflow.server.auth")
    sys.modules["mlflow.server.auth"] = package
    request.addfinalizer(lambda: sys.modules.pop("mlflow.server.auth", None) if before is None else sys.modules.update({"mlflow.server.auth": before}))
    return importlib.import_module("mlflow.server.auth.client").AuthServiceClient(os.environ["PURLIN_URL"])


@pytest.fixture
def user(auth, name):
    user = name("zoe")
    assert auth.create_user(user, PASSWORD).username == user
    return user


@pytest.fixture
def becoming(monkeypatch):
    def become(user, password=PASSWORD):
        monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    return become


def test_users(auth, user, becoming, fails):
    with fails("RESOURCE_ALREADY_EXISTS", "already exists"):
        auth.create_user(user, PASSWORD)
    for admin in (True, False):
        auth.update_user_admin(user, admin)
        assert auth.get_user(user).is_admin is admin
    auth.update_user_password(user, "another plain garden words")
    with fails("RESOURCE_DOES_NOT_EXIST", "User with username=nobody not found"):
        auth.get_user("nobody")
    becoming(user, "another plain garden words")
    with fails("PERMISSION_DENIED"):  # nobody gets in without a permission; but they are known
        mlflow.search_experiments()


def test_who_was_deleted_comes_in_no_more(auth, user, becoming, fails):
    auth.delete_user(user)
    with fails("RESOURCE_DOES_NOT_EXIST"):
        auth.get_user(user)
    becoming(user)
    with fails("UNAUTHENTICATED"):
        mlflow.search_experiments()


@pytest.mark.since3
def test_permissions_of_3(auth, user, client, name, fails):
    experiment = client.create_experiment(name("e"))
    for permission in ("READ", "EDIT", "MANAGE"):
        auth.grant_user_permission(user, "experiment", experiment, permission)
        assert auth.get_user_permission(user, "experiment", experiment).permission == permission
        auth.revoke_user_permission(user, "experiment", experiment)
    assert auth.get_user_permission(user, "experiment", experiment).permission == "NO_PERMISSIONS"
    for call in (lambda: auth.list_all_roles(), lambda: auth.create_role("default", "r"), lambda: auth.assign_role(user, 1)):
        with fails("RESOURCE_DOES_NOT_EXIST"):
            call()


@pytest.mark.skipif(MAJOR != 2, reason="the newer client has one call for all kinds")
def test_permissions_of_2(auth, user, client, name):
    experiment, model = client.create_experiment(name("e")), client.create_registered_model(name("m")).name
    assert auth.create_experiment_permission(experiment, user, "READ").permission == "READ"
    auth.update_experiment_permission(experiment, user, "EDIT")
    assert auth.get_experiment_permission(experiment, user).permission == "EDIT"
    auth.delete_experiment_permission(experiment, user)
    assert auth.create_registered_model_permission(model, user, "MANAGE").permission == "MANAGE"
    assert auth.get_registered_model_permission(model, user).permission == "MANAGE"
    auth.delete_registered_model_permission(model, user)


def test_searches_have_full_pages_of_what_one_may_read(auth, user, server, client, name, becoming, fails):
    prefix = name("page")
    made = [client.create_experiment(f"{prefix}-{i}") for i in range(9)]
    for experiment in made[::3]:
        server.op("access.grant_role", {"subject": f"user:{user}", "role": "viewer", "project": "default", "object": experiment})
    runs = [client.create_run(experiment).info.run_id for experiment in made]
    becoming(user)
    mine = mlflow.MlflowClient()
    page = mine.search_experiments(max_results=2)
    assert [e.experiment_id for e in page] == [made[6], made[3]] and page.token
    assert [e.experiment_id for e in mine.search_experiments(max_results=2, page_token=page.token)] == [made[0]]
    page = mine.search_runs(made, max_results=2)
    assert {r.info.run_id for r in page} == {runs[6], runs[3]}
    with fails("RESOURCE_DOES_NOT_EXIST", f"Run with id={runs[1]} not found"):
        mine.get_run(runs[1])
    with fails("PERMISSION_DENIED"):
        mine.log_metric(runs[0], "m", 1)
