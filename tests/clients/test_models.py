"""Models: logged, registered, found, given aliases and stages, loaded again with the same predictions."""
import warnings

import mlflow
import numpy
import pytest
from conftest import MAJOR, pages, unique
from sklearn.linear_model import LinearRegression

warnings.filterwarnings("ignore")
X = numpy.array([[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [4.0, 3.0]])
Y = X @ numpy.array([2.0, -1.0]) + 0.5


def log(flavor, model, **more):
    """log_model of that version: a model's name was once a path in the run's artifacts."""
    return flavor.log_model(model, **({"name": "model"} if MAJOR >= 3 else {"artifact_path": "model"}), **more)


@pytest.fixture(scope="module")
def model():
    return LinearRegression().fit(X, Y)


@pytest.fixture(scope="module")
def logged(model):
    """One logged model for all: its URI."""
    mlflow.set_experiment(unique("models"))
    with mlflow.start_run():
        return log(mlflow.sklearn, model, signature=mlflow.models.infer_signature(X, Y)).model_uri


def add(client, name, **more):
    """One more version of the same model."""
    first = client.get_model_version(name, 1)
    model = {"model_id": first.source.removeprefix("models:/")} if MAJOR >= 3 else {}
    return client.create_model_version(name, first.source, first.run_id, **model, **more)


@pytest.fixture
def registered(name, logged):
    """The name of a registered model with one version."""
    wanted = name("registered")
    mlflow.register_model(logged, wanted)
    return wanted


def test_registered_while_it_is_logged(client, experiment, name, model):
    wanted = name("at-once")
    with mlflow.start_run() as run:
        log(mlflow.sklearn, model, registered_model_name=wanted, input_example=X[:2])
    assert client.get_model_version(wanted, "1").run_id == run.info.run_id
    assert client.get_registered_model(wanted).name == wanted


def test_logged_registered_and_loaded_by_alias(client, registered, model):
    client.set_registered_model_alias(registered, "champion", "1")
    version = client.get_model_version_by_alias(registered, "champion")
    assert (version.version, version.name, version.status) in (("1", registered, "READY"), (1, registered, "READY"))
    assert version.run_id and version.aliases == ["champion"]
    assert client.get_registered_model(registered).aliases in ({"champion": "1"}, {"champion": 1})
    for uri in (f"models:/{registered}@champion", f"models:/{registered}/1"):
        loaded = mlflow.pyfunc.load_model(uri)
        assert numpy.array_equal(loaded.predict(X), model.predict(X))
    assert numpy.array_equal(mlflow.sklearn.load_model(f"models:/{registered}@champion").predict(X), model.predict(X))
    information = mlflow.models.get_model_info(f"models:/{registered}@champion")
    assert information.signature is not None and "sklearn" in information.flavors
    client.delete_registered_model_alias(registered, "champion")
    with pytest.raises(mlflow.exceptions.MlflowException):
        client.get_model_version_by_alias(registered, "champion")


def test_a_model_of_xgboost(client, experiment, name):
    import xgboost

    booster = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(X, Y > 1)
    wanted = name("boosted")
    signature = mlflow.models.infer_signature(X, booster.predict(X))
    with mlflow.start_run() as run:
        found = log(mlflow.xgboost, booster, signature=signature)
        mlflow.register_model(found.model_uri, wanted)
    version = client.get_model_version(wanted, "1")
    assert version.run_id == run.info.run_id
    for uri in (found.model_uri, f"models:/{wanted}/1"):
        assert list(mlflow.pyfunc.load_model(uri).predict(X)) == list(booster.predict(X))
        assert list(mlflow.xgboost.load_model(uri).predict(X)) == list(booster.predict(X))


def test_a_model_written_in_python(client, experiment, tmp_path):
    class Doubler(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [2 * value for value in model_input["x"]]

    with mlflow.start_run():
        found = mlflow.pyfunc.log_model(**({"name": "doubler"} if MAJOR >= 3 else {"artifact_path": "doubler"}), python_model=Doubler())
    import pandas

    assert list(mlflow.pyfunc.load_model(found.model_uri).predict(pandas.DataFrame({"x": [1, 2]}))) == [2, 4]


def test_versions_change_and_go(client, registered, fails):
    second = add(client, registered, tags={"made": "by hand"}, description="the second")
    assert str(second.version) == "2"
    client.update_model_version(registered, "2", description="of another kind")
    client.set_model_version_tag(registered, "2", "stage", "try")
    found = client.get_model_version(registered, "2")
    assert found.description == "of another kind" and found.tags == {"made": "by hand", "stage": "try"}
    client.delete_model_version_tag(registered, "2", "stage")
    assert client.get_model_version(registered, "2").tags == {"made": "by hand"}
    assert client.get_model_version_download_uri(registered, "2")
    client.delete_model_version(registered, "2")
    with fails("RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version(registered, "2")
    third = add(client, registered)
    assert int(third.version) in (2, 3)


def test_registered_models_change_and_go(client, name, fails):
    wanted = name("life")
    made = client.create_registered_model(wanted, tags={"team": "grid"}, description="first words")
    assert (made.name, made.description, made.tags) == (wanted, "first words", {"team": "grid"})
    with fails("RESOURCE_ALREADY_EXISTS", wanted):
        client.create_registered_model(wanted)
    client.update_registered_model(wanted, "other words")
    client.set_registered_model_tag(wanted, "more", "1")
    client.delete_registered_model_tag(wanted, "team")
    found = client.get_registered_model(wanted)
    assert found.description == "other words" and found.tags == {"more": "1"} and found.creation_timestamp <= found.last_updated_timestamp
    client.rename_registered_model(wanted, wanted + "-new")
    with fails("RESOURCE_DOES_NOT_EXIST", wanted):
        client.get_registered_model(wanted)
    client.delete_registered_model(wanted + "-new")
    with fails("RESOURCE_DOES_NOT_EXIST"):
        client.get_registered_model(wanted + "-new")


def test_models_are_searched_and_paged(client, name):
    prefix = name("search")
    for n in range(5):
        client.create_registered_model(f"{prefix}-{n}", tags={"kind": "even" if n % 2 == 0 else "odd"})
    condition = f"name LIKE '{prefix}-%'"
    found = pages(client.search_registered_models, filter_string=condition, max_results=2, order_by=["name DESC"])
    assert [[one.name[-1] for one in page] for page in found] == [["4", "3"], ["2", "1"], ["0"]]
    assert [one.name[-1] for one in client.search_registered_models(f"{condition} and tags.kind = 'odd'")] == ["1", "3"]
    assert [one.name[-1] for one in client.search_registered_models(f"name = '{prefix}-3'")] == ["3"]
    assert [one.name[-1] for one in client.search_registered_models(f"name ILIKE '{prefix.upper()}-3'")] == ["3"]


def test_versions_are_searched(client, registered):
    for n in range(2, 5):
        add(client, registered, tags={"n": str(n)})
    condition = f"name = '{registered}'"
    assert [int(one.version) for one in client.search_model_versions(condition)] == [4, 3, 2, 1]
    assert [int(one.version) for one in client.search_model_versions(condition, order_by=["version_number ASC"])] == [1, 2, 3, 4]
    assert [int(one.version) for one in client.search_model_versions(f"{condition} and version_number > 2")] == [4, 3]
    assert [int(one.version) for one in client.search_model_versions(f"{condition} and tags.n = '3'")] == [3]
    run = client.get_model_version(registered, "1").run_id
    assert len(client.search_model_versions(f"run_id = '{run}' and {condition}")) == 4
    assert [[int(one.version) for one in page] for page in pages(client.search_model_versions, filter_string=condition, max_results=3)] == [[4, 3, 2], [1]]


def test_stages(client, registered, fails):
    add(client, registered)
    assert client.transition_model_version_stage(registered, "1", "Production").current_stage == "Production"
    assert {(int(one.version), one.current_stage) for one in client.get_latest_versions(registered)} == {(1, "Production"), (2, "None")}
    assert [int(one.version) for one in client.get_latest_versions(registered, ["Production"])] == [1]
    client.transition_model_version_stage(registered, "2", "Production", archive_existing_versions=True)
    assert client.get_model_version(registered, "1").current_stage == "Archived"
    with fails("INVALID_PARAMETER_VALUE", "stage"):
        client.transition_model_version_stage(registered, "2", "Nowhere")
    assert mlflow.sklearn.load_model(f"models:/{registered}/Production") is not None


@pytest.mark.parametrize("alias", ["v1", "V22", "latest", "Latest"])
def test_aliases_that_are_taken(client, registered, fails, alias):
    with fails("INVALID_PARAMETER_VALUE", "alias"):
        client.set_registered_model_alias(registered, alias, "1")


def test_a_version_is_copied(client, registered, name):
    target = name("copied")
    copied = client.copy_model_version(f"models:/{registered}/1", target)
    assert copied.name == target and int(copied.version) == 1
    assert mlflow.pyfunc.load_model(f"models:/{target}/1").predict(X) is not None


@pytest.mark.since3
def test_logged_models(client, experiment, model):
    import pandas

    dataset = mlflow.data.from_pandas(pandas.DataFrame(X), name="holdout")
    with mlflow.start_run() as run:
        found = log(mlflow.sklearn, model, params={"kind": "linear"}, tags={"team": "grid"}, step=3)
        mlflow.log_metric("rmse", 0.25, model_id=found.model_id, dataset=dataset)
    logged = mlflow.get_logged_model(found.model_id)
    assert (logged.name, str(logged.status), logged.source_run_id, logged.experiment_id) == ("model", "READY", run.info.run_id, experiment)
    assert logged.params["kind"] == "linear" and logged.tags["team"] == "grid"
    assert [(metric.key, metric.value, metric.dataset_name) for metric in logged.metrics] == [("rmse", 0.25, "holdout")]
    assert numpy.array_equal(mlflow.pyfunc.load_model(f"models:/{found.model_id}").predict(X), model.predict(X))
    assert [output.model_id for output in client.get_run(run.info.run_id).outputs.model_outputs] == [found.model_id]
    mlflow.set_logged_model_tags(found.model_id, {"stage": "try"})
    assert client.get_logged_model(found.model_id).tags["stage"] == "try"
    client.delete_logged_model_tag(found.model_id, "stage")
    assert "stage" not in client.get_logged_model(found.model_id).tags
    assert {one.path for one in client.list_logged_model_artifacts(found.model_id)} >= {"MLmodel", "requirements.txt"}


@pytest.mark.since3
def test_logged_models_are_searched(client, experiment, name):
    made = []
    for n in range(4):
        one = mlflow.initialize_logged_model(name=f"m-{n}", params={"depth": str(n)}, tags={"parity": str(n % 2)}, model_type="tree")
        with mlflow.start_run():
            mlflow.log_metric("auc", n / 10, model_id=one.model_id)
        if n < 3:
            mlflow.finalize_logged_model(one.model_id, "READY")
        made.append(one.model_id)
    def search(condition="", **more):
        return [made.index(one.model_id) for one in mlflow.search_logged_models([experiment], condition, output_format="list", **more)]
    assert sorted(search()) == [0, 1, 2, 3]
    assert search("metrics.auc > 0.15", order_by=[{"field_name": "metrics.auc", "ascending": False}]) == [3, 2]
    assert sorted(search("params.depth = '1' ")) == [1] and sorted(search("tags.parity = '0'")) == [0, 2]
    assert search("name = 'm-2'") == [2]
    assert len(mlflow.search_logged_models([experiment])) == 4
    client.delete_logged_model(made[0])
    assert sorted(search()) == [1, 2, 3]


@pytest.mark.since3
def test_prompts(client, name):
    wanted = name("prompt")
    mlflow.genai.register_prompt(name=wanted, template="Say {{ what }}.", commit_message="first", tags={"team": "grid"})
    mlflow.genai.register_prompt(name=wanted, template="Do say {{ what }}.", commit_message="second")
    assert mlflow.genai.load_prompt(f"prompts:/{wanted}/1").format(what="it") == "Say it."
    mlflow.genai.set_prompt_alias(wanted, "best", 2)
    assert mlflow.genai.load_prompt(f"prompts:/{wanted}@best").template == "Do say {{ what }}."
    assert wanted in [prompt.name for prompt in mlflow.genai.search_prompts()]
    assert wanted not in [one.name for one in client.search_registered_models()]
