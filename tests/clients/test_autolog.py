"""Autologging of scikit-learn and XGBoost."""
import warnings

import mlflow
import numpy
import pytest
from conftest import MAJOR

warnings.filterwarnings("ignore")
RANDOM = numpy.random.default_rng(7)
X = RANDOM.random((60, 3))
Y = (X[:, 0] + X[:, 1] > 1).astype(int)


@pytest.fixture(autouse=True)
def off_again():
    yield
    mlflow.sklearn.autolog(disable=True)
    mlflow.xgboost.autolog(disable=True)


def test_scikit_learn(client, experiment):
    from sklearn.ensemble import RandomForestClassifier

    mlflow.sklearn.autolog(log_input_examples=True)
    with mlflow.start_run() as run:
        model = RandomForestClassifier(n_estimators=5, max_depth=3, random_state=0).fit(X, Y)
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED" and found.data.params["n_estimators"] == "5" and found.data.params["max_depth"] == "3"
    assert found.data.metrics["training_accuracy_score"] == pytest.approx(model.score(X, Y))
    assert found.data.tags["estimator_name"] == "RandomForestClassifier"
    assert [one.dataset.name for one in found.inputs.dataset_inputs] and "estimator.html" in [one.path for one in client.list_artifacts(run.info.run_id)]
    uri = f"models:/{found.outputs.model_outputs[0].model_id}" if MAJOR >= 3 else f"runs:/{run.info.run_id}/model"
    assert numpy.array_equal(mlflow.pyfunc.load_model(uri).predict(X), model.predict(X))


def test_a_search_over_parameters_makes_child_runs(client, experiment):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    mlflow.sklearn.autolog(log_models=False, max_tuning_runs=3)
    with mlflow.start_run() as run:
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(X, Y)
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'", order_by=["metrics.mean_test_score DESC"])
    assert {float(child.data.params["C"]) for child in children} == {0.1, 1.0, 10.0}
    assert client.get_run(run.info.run_id).data.metrics["best_cv_score"] == pytest.approx(children[0].data.metrics["mean_test_score"])


def test_xgboost(client, experiment):
    import xgboost

    mlflow.xgboost.autolog(log_input_examples=True)
    data = xgboost.DMatrix(X, Y)
    with mlflow.start_run() as run:
        booster = xgboost.train({"max_depth": 2, "objective": "binary:logistic", "eval_metric": "logloss"}, data, 10, evals=[(data, "train")], verbose_eval=False)
    found = client.get_run(run.info.run_id)
    assert found.data.params["max_depth"] == "2" and found.data.params["num_boost_round"] == "10"
    history = client.get_metric_history(run.info.run_id, "train-logloss")
    assert [point.step for point in history] == list(range(10)) and found.data.metrics["train-logloss"] == history[-1].value
    assert any(one.path.startswith("feature_importance") for one in client.list_artifacts(run.info.run_id))
    uri = f"models:/{found.outputs.model_outputs[0].model_id}" if MAJOR >= 3 else f"runs:/{run.info.run_id}/model"
    assert numpy.allclose(mlflow.xgboost.load_model(uri).predict(data), booster.predict(data))


def test_xgboost_as_an_estimator_that_stops_early(client, experiment):
    import xgboost

    mlflow.xgboost.autolog(log_models=False)
    with mlflow.start_run() as run:
        xgboost.XGBClassifier(n_estimators=20, max_depth=2, early_stopping_rounds=3).fit(X[:40], Y[:40], eval_set=[(X[40:], Y[40:])], verbose=False)
    found = client.get_run(run.info.run_id)
    assert "best_iteration" in found.data.metrics and found.data.params["early_stopping_rounds"] == "3"
