"""What the scenarios share: they run in the Python of the client under test, see run.py."""
import json
import os
import pathlib
import sys
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
if "PURLIN_URL" not in os.environ:
    raise pytest.UsageError("these tests are started by tests/clients/run.py")
sys.path.insert(0, str(HERE.parent / "integration"))
os.environ["MLFLOW_TRACKING_URI"] = os.environ["PURLIN_URL"]
if os.environ["PURLIN_TOKEN"]:
    os.environ["MLFLOW_TRACKING_TOKEN"] = os.environ["PURLIN_TOKEN"]

import mlflow  # noqa: E402
import requests  # noqa: E402

MAJOR = int(os.environ["PURLIN_CLIENT"])
OURS = "PURLIN_STATE" in os.environ
FULL = os.environ.get("PURLIN_FULL") == "yes"
assert mlflow.__version__.startswith(f"{MAJOR}."), mlflow.__version__


def pytest_configure(config):
    config.addinivalue_line("markers", "ours: what Purlin does and an MLflow server does not")
    config.addinivalue_line("markers", "since3: of the newer client only")
    config.addinivalue_line("markers", "full: moves gigabytes, run with --full")


def pytest_collection_modifyitems(items):
    for item in items:
        if not OURS and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason="another server"))
        if MAJOR < 3 and item.get_closest_marker("since3"):
            item.add_marker(pytest.mark.skip(reason="the older client has no such call"))
        if not FULL and item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="with --full only"))


def unique(prefix):
    return f"{prefix}-{MAJOR}-{uuid.uuid4().hex[:10]}"


@pytest.fixture(autouse=True, scope="session")
def known_requirements():
    """A client that logs a model starts another Python to see what the model imports: seconds each time, and nothing that a server sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.models, "infer_pip_requirements", lambda *_, fallback=None, **__: fallback or [])
        yield


@pytest.fixture
def name():
    """A function that makes names that nobody else has."""
    return unique


@pytest.fixture
def client():
    return mlflow.MlflowClient()


@pytest.fixture
def experiment(name):
    """The id of a fresh experiment, which is the fluent interface's current one."""
    made = mlflow.set_experiment(name("experiment"))
    yield made.experiment_id
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def run_id(client, experiment):
    return client.create_run(experiment).info.run_id


class Server:
    """Raw requests to the server under test, with its token."""

    def __init__(self):
        self.url, self.token = os.environ["PURLIN_URL"], os.environ["PURLIN_TOKEN"]
        self.session = requests.Session()
        if self.token:
            self.session.headers["Authorization"] = f"Bearer {self.token}"

    def call(self, method, path, **more):
        return self.session.request(method, self.url + path, timeout=60, **more)

    def op(self, name, fields=None):
        """An operation of Purlin's own."""
        answer = self.call("POST", f"/api/v1/op/{name}", json=fields or {})
        assert answer.ok, f"{name}: {answer.status_code} {answer.text}"
        return answer.json()


@pytest.fixture(scope="session")
def server():
    return Server()


@pytest.fixture(scope="session")
def sql():
    """Statements straight into the daemon's database: for what no client may do."""
    import subprocess

    socket = pathlib.Path(os.environ["PURLIN_STATE"]).resolve() / "mariadb" / "mariadb.sock"

    def run(*statements):
        done = subprocess.run(["mariadb", "--no-defaults", f"--socket={socket}", "-N", "-B", "purlin", "-e", ";\n".join(statements)],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def fails(server):
    """A context that expects an MlflowException of this code, and of a text that holds this."""
    import contextlib

    @contextlib.contextmanager
    def expect(code, text=""):
        with pytest.raises(mlflow.exceptions.MlflowException) as raised:
            yield
        assert raised.value.error_code == code, raised.value
        assert text in str(raised.value), raised.value

    return expect


def pages(ask, **more):
    """Everything that a paged call of the client has, page by page."""
    token, found = None, []
    while True:
        page = ask(page_token=token, **more)
        found.append(list(page))
        token = page.token
        if not token:
            return found


def as_json(value):
    return json.dumps(value, sort_keys=True, default=str)
