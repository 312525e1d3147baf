"""How often somebody may ask, and which address a request comes from behind proxies."""
import time

import pytest

RATES = """
limits { rules = {
  { name = "models", per = "actor", operations = "registry.*", requests = 5, seconds = 60 },
  { name = "everybody", per = "address", requests = 1000, seconds = 1 },
  { name = "probes", per = "address", operations = "purlin.server_version", requests = 1, seconds = 1 },
} }
server { trusted_proxies = { "127.0.0.0/8", "fd00::/8" } }
"""


@pytest.fixture(scope="module")
def limited(scratch, template):
    import pathlib
    import tempfile

    import daemon
    folder = pathlib.Path(tempfile.mkdtemp(prefix="r", dir=scratch))
    daemon.copy_state(template, folder)
    own = daemon.Daemon(folder, configuration=RATES).start()
    yield own
    own.end()


def test_too_many_are_told_when_to_come_again(limited):
    client = limited.client()
    for left in (4, 3, 2, 1, 0):
        answer = client.get("/api/v1/models")
        assert answer.status == 200
        assert answer.headers.get_all("RateLimit-Policy") == ['"everybody";q=1000;w=1', '"models";q=5;w=60']
        assert answer.headers.get_all("RateLimit")[1].startswith(f'"models";r={left};t=')
    refused = client.get("/api/v1/models")
    assert (refused.status, refused.json["title"]) == (429, "Too many requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 12
    assert "'models'" in refused.json["detail"]
    assert client.get("/api/v1/jobs").status == 200  # another rule's
    other = client.op("access.create_key", {"name": "x", "owner": "service:x", "permissions": ["*"]}).json["secret"]
    assert client.get("/api/v1/models", token=other).status == 403  # another actor's count
    assert 'purlin_requests_limited_total{rule="models"} 1' in client.get("/metrics").body.decode()
    client.close()


def test_the_name_of_an_operation_is_limited_like_its_address(limited):
    client = limited.client()
    secret = client.op("access.create_key", {"name": "y", "owner": "service:y", "permissions": ["*"]}).json["secret"]
    answers = [client.op("registry.list_models", token=secret).status for _ in range(7)]
    assert answers == [403] * 5 + [429] * 2
    client.close()


@pytest.mark.parametrize("forwarded, address", [
    ("203.0.113.7", "203.0.113.7"),
    ("198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the first was made up
    ("203.0.113.7, 127.0.0.9", "203.0.113.7"),
    ("2001:db8::1 , fd00::2,127.3.2.1", "2001:db8::1"),
    ("127.0.0.5", "127.0.0.5"),
    ("nonsense", "127.0.0.1"),
    ("nonsense, 203.0.113.8", "203.0.113.8"),
    ("", "127.0.0.1"),
])
def test_the_client_is_the_last_that_no_trusted_proxy_is(limited, forwarded, address):
    (limited.policies / "address.lua").write_text(
        'purlin.route("GET /address", { permission = "public" }, function(request) return request.address end)\n')
    client = limited.client()
    end = time.monotonic() + 10
    while client.get("/address", token=False).status != 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert client.get("/address", token=False, headers={"X-Forwarded-For": forwarded}).body.decode() == address
    client.close()


def test_without_trust_nobody_is_believed(server):
    client = server.client()
    answer = client.get("/healthz", headers={"X-Forwarded-For": "203.0.113.7"})
    assert answer.status == 200 and "RateLimit" not in answer.headers
    client.close()


@pytest.mark.parametrize("wrong, named", [
    ('server { trusted_proxies = { "10.0.0.0/33" } }', "10.0.0.0/33"),
    ('server { trusted_proxies = { "proxy.example" } }', "proxy.example"),
    ('limits { rules = { { name = "a", per = "moon", requests = 1 } } }', "per"),
    ('limits { rules = { { name = "a", per = "actor", requests = 0 } } }', "requests"),
    ('limits { rules = { { name = "A b", per = "actor", requests = 1 } } }', "name"),
])
def test_wrong_settings_are_named(new_daemon, wrong, named):
    own = new_daemon(start=False, configuration=wrong)
    own.launch()
    assert own.process.wait(30) == 1
    assert named in own.log_text()
