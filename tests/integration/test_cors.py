"""Pages of other origins: who may, what a preflight is told, and that nobody may without configuration."""
import pytest

ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def open_server(scratch, template):
    import pathlib
    import tempfile

    import daemon
    folder = pathlib.Path(tempfile.mkdtemp(prefix="c", dir=scratch))
    daemon.copy_state(template, folder)
    own = daemon.Daemon(folder, configuration=f'cors {{ origins = {{ "{ORIGIN}", "http://localhost:3000" }} }}\n').start()
    yield own
    own.end()


@pytest.fixture
def caller(open_server):
    made = open_server.client()
    yield made
    made.close()


def preflight(client, path, origin=ORIGIN, method="POST"):
    return client.call("OPTIONS", path, token=False, headers={"Origin": origin, "Access-Control-Request-Method": method})


def test_a_preflight_is_answered_without_a_token(caller):
    answer = preflight(caller, "/api/v1/models")
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"GET", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert preflight(caller, "/nothing/here").status == 404


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.org.evil.example", "http://app.example.org", "null",
                                    "https://app.example.org:8443", "HTTPS://APP.EXAMPLE.ORG"])
def test_other_origins_get_no_permission(caller, origin):
    for answer in (preflight(caller, "/api/v1/models", origin), caller.get("/api/v1/models", headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"
    assert preflight(caller, "/api/v1/models", origin).status == 405


def test_answers_and_failures_alike_carry_the_permission(caller):
    for answer in (caller.get("/api/v1/models", headers={"Origin": ORIGIN}),
                   caller.get("/api/v1/models", token=False, headers={"Origin": ORIGIN}),
                   caller.get("/nothing", headers={"Origin": ORIGIN})):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in caller.get("/api/v1/models").headers


def test_without_configuration_nobody_may(client):
    assert preflight(client, "/api/v1/models").status == 405
    assert "Access-Control-Allow-Origin" not in client.get("/api/v1/models", headers={"Origin": ORIGIN}).headers


@pytest.mark.parametrize("origin", ["*", "https://*.example.org", "app.example.org", "https://app.example.org/", ""])
def test_wrong_origins_are_named(new_daemon, origin):
    own = new_daemon(start=False, configuration=f'cors {{ origins = {{ "{origin}" }} }}')
    own.launch()
    assert own.process.wait(30) == 1
    assert "is no origin" in own.log_text()
