"""What holds for every token and every password, tried on a thousand made-up ones each."""
import json
import time

import pytest

from test_accounts import GOOD, Signer, a_name, b64, claims_of, login, whoami

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as some  # noqa: E402

thousand = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def world(server, tmp_path_factory):
    """A client, a session of a new user, and a key that the daemon trusts as another node's."""
    client = server.client()
    client.op("accounts.create_user", {"name": (name := a_name()), "password": GOOD})
    tokens = login(client, name).json
    yield client, tokens["access_token"], Signer(server, tmp_path_factory.mktemp("keys")), f"user:{name}"
    client.close()


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


@thousand
@given(at=some.integers(0, 10**6), what=some.text(LETTERS, max_size=4), cut=some.integers(0, 4))
def test_a_token_that_was_changed_is_refused(world, at, what, cut):
    client, token, _, _ = world
    at %= len(token) + 1
    forged = token[:at] + what + token[at + cut:]
    assert whoami(client, forged).status == (200 if forged == token else 401)


@thousand
@given(parts=some.lists(some.one_of(some.binary(max_size=60).map(b64), some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=8), lambda x: some.lists(x, max_size=3)
    | some.dictionaries(some.sampled_from(["alg", "kid", "typ", "iss", "sub", "sid", "exp"]), x, max_size=5), max_leaves=8).map(
        lambda value: b64(json.dumps(value).encode()))), min_size=1, max_size=4))
def test_what_nobody_signed_is_refused(world, parts):
    assert whoami(world[0], ".".join(parts) or "x").status == 401


@settings(thousand, max_examples=300)  # each takes a process that signs
@given(wrong=some.dictionaries(some.sampled_from(["iss", "aud", "sub", "sid", "jti", "iat", "exp"]),
                               some.none() | some.booleans() | some.text(max_size=20) | some.integers(-2**63, 2**63) | some.floats(allow_nan=False),
                               max_size=2),
       expires_in=some.integers(-10**9, 10**9).filter(lambda s: abs(s) > 5))
def test_a_token_is_taken_exactly_while_it_lasts(world, wrong, expires_in):
    client, token, signer, actor = world
    claims = claims_of(token, exp=int(time.time()) + expires_in)
    right = expires_in > 0 and all(value == claims[name] and type(value) is type(claims[name]) or (name == "jti" and isinstance(value, str))
                                   or (name in ("iat", "exp") and type(value) is int and 0 <= value <= 10**11
                                       and (value <= time.time() + 55 if name == "iat" else value > time.time() + 5))
                                   for name, value in wrong.items())
    if "exp" in wrong and not right and expires_in <= 0:
        wrong = {name: value for name, value in wrong.items() if name != "exp"}
    answer = whoami(client, signer.token({**claims, **wrong}))
    assert answer.status == (200 if right else 401), (wrong, expires_in)
    if right:
        assert answer.json["actor"] == actor


@pytest.fixture(scope="module")
def cheap(server, tmp_path_factory):
    """A daemon whose hashes cost next to nothing."""
    import daemon
    own = daemon.Daemon(tmp_path_factory.mktemp("p", numbered=True), configuration='plugin "accounts" { password_cost = 1 }\n')
    client = own.start().client()
    client.op("accounts.create_user", {"name": "ana"})
    yield client
    client.close()
    own.end()


@thousand
@given(password=some.text(max_size=60) | some.text(min_size=12, max_size=1024), other=some.text(max_size=60))
def test_a_password_that_is_taken_opens_and_no_other_does(cheap, password, other):
    """Any text is taken or refused by the rules, never an error; what opens is that very text."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return  # half a character cannot be sent
    set_to = cheap.op("accounts.set_password", {"name": "ana", "password": password})
    assert set_to.status in (200, 400)
    if len(password) < 12 or size > 1024 or "\0" in password:
        assert set_to.status == 400
    if set_to.status == 200:
        assert login(cheap, "ana", password).status == 200
        if other and other != password:
            try:
                assert login(cheap, "ana", other).status in (400, 401)
            except UnicodeEncodeError:
                pass
            assert login(cheap, "ana", password).status == 200
