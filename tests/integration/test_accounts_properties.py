"""What holds for every token and every password, tried on a thousand made-up ones each."""
import hashlib
import json
import re
import subprocess
import time
import unicodedata

import pytest

from daemon import BUILD, Statements
from test_accounts import GOOD, Signer, a_name, b64, claims_of, login, openssl, refresh, whoami

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as some  # noqa: E402

thousand = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), database=None)


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve P-256


class QuickSigner(Signer):
    """Signs without a process for each: with the same nonce again and again, which gives its key away, and is all the same to whoever verifies."""

    def __init__(self, server, folder):
        super().__init__(server, folder)
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(folder / "nonce.pem"))
        self.secret, (self.nonce, self.r) = self.numbers(self.key)[0], self.numbers(folder / "nonce.pem")

    @staticmethod
    def numbers(path):
        """The secret number of a key, and the first coordinate of its point."""
        text = openssl("pkey", "-in", str(path), "-noout", "-text").decode()
        secret, point = (int(re.sub(r"[:\s]", "", re.search(rf"{name}:((?:\s+[0-9a-f:]+)+)", text)[1]), 16) for name in ("priv", "pub"))
        return secret, (point >> 256) % 2**256 % ORDER

    def sign(self, text):
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        s = pow(self.nonce, -1, ORDER) * (digest + self.r * self.secret) % ORDER
        return self.r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.fixture(scope="module")
def world(server, tmp_path_factory):
    """A client, a session of a new user, and a key that the daemon trusts as another node's."""
    client = server.client()
    client.op("accounts.create_user", {"name": (name := a_name()), "password": GOOD})
    tokens = login(client, name).json
    yield client, tokens["access_token"], QuickSigner(server, tmp_path_factory.mktemp("keys")), f"user:{name}"
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


@thousand
@given(wrong=some.dictionaries(some.sampled_from(["iss", "aud", "sub", "sid", "jti", "iat", "exp"]),
                               some.none() | some.booleans() | some.text(max_size=20) | some.integers(-2**63, 2**63) | some.floats(allow_nan=False),
                               max_size=2),
       expires_in=some.integers(-10**9, 10**9).filter(lambda s: abs(s) > 5))
def test_a_token_is_taken_exactly_while_it_lasts(world, wrong, expires_in):
    client, token, signer, actor = world
    claims = claims_of(token, exp=int(time.time()) + expires_in)
    right = expires_in > 0 and all(value == claims[name] and type(value) is type(claims[name]) or (name == "jti" and isinstance(value, str) and "\0" not in value)
                                   or (name in ("iat", "exp") and type(value) in (int, float) and 0 <= value <= 10**11 and value == int(value)
                                       and (value <= time.time() + 55 if name == "iat" else value > time.time() + 5))
                                   for name, value in wrong.items())
    if "exp" in wrong and not right and expires_in <= 0:
        wrong = {name: value for name, value in wrong.items() if name != "exp"}
    answer = whoami(client, signer.token({**claims, **wrong}))
    assert answer.status == (200 if right else 401), (wrong, expires_in)
    if right:
        assert answer.json["actor"] == actor


# ---- Sessions --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def life(server):
    """A function that sets what a session, its user and the key that signs stand at, in seconds from now."""
    statements = Statements(server)

    def stand(session, kid, ends_in, revoked, disabled, retires_in):
        retires = "NULL" if retires_in is None else f"NOW(6) + INTERVAL {retires_in} SECOND"
        statements.run(f"UPDATE accounts_keys SET retires_at = {retires} WHERE id = '{kid}'",
                       f"UPDATE accounts_sessions s JOIN accounts_users u ON u.id = s.user_id SET s.expires_at = NOW(6) + INTERVAL {ends_in} SECOND,"
                       f" s.revoked_at = {'NOW(6)' if revoked else 'NULL'}, u.disabled_at = {'NOW(6)' if disabled else 'NULL'} WHERE s.id = '{session}'")

    yield stand
    statements.close()


mostly_not = some.sampled_from([False, False, False, True])
away = some.integers(-10**6, 10**6).filter(lambda s: abs(s) > 2)


@thousand
@given(ends_in=away, revoked=mostly_not, disabled=mostly_not, retires_in=some.none() | away, expires_in=away)
def test_a_session_is_over_when_any_of_its_parts_is(world, life, ends_in, revoked, disabled, retires_in, expires_in):
    """The token, the session, the user, the key: no other order of them opens, and each end is an end."""
    client, token, signer, actor = world
    claims = claims_of(token, exp=int(time.time()) + expires_in, jti=f"tok_{time.monotonic_ns()}")
    life(claims["sid"], signer.kid, ends_in, revoked, disabled, retires_in)
    answer = whoami(client, signer.token(claims))
    life(claims["sid"], signer.kid, 10**6, False, False, None)
    alive = ends_in > 0 and not revoked and not disabled and (retires_in is None or retires_in > 0) and expires_in > 0
    assert answer.status == (200 if alive else 401)
    assert not alive or answer.json["actor"] == actor


@settings(thousand, max_examples=150)  # each is a chain of commits
@given(steps=some.lists(some.integers(0, 3), min_size=1, max_size=4))
def test_only_the_latest_refresh_token_goes_on(world, steps):
    """Whichever of those that a session ever had is shown: the latest goes on, any other ends all of it."""
    client, _, _, actor = world
    given_out, alive = [login(client, actor[5:]).json["refresh_token"]], True
    for back in steps:
        shown = given_out[-1 - back % len(given_out)]
        answer = refresh(client, shown)
        alive = alive and shown == given_out[-1]
        assert answer.status == (200 if alive else 401)
        if alive:
            given_out.append(answer.json["refresh_token"])


# ---- Passwords -------------------------------------------------------------------------------------------------------------------


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


def form(password):
    """RFC 8265, OpaqueString."""
    return unicodedata.normalize("NFC", "".join(" " if unicodedata.category(c) == "Zs" else c for c in password))


@thousand
@given(password=some.text(max_size=60) | some.text(min_size=12, max_size=1024), other=some.text(max_size=60))
def test_a_password_that_is_taken_opens_and_no_other_does(cheap, password, other):
    """Any text is taken or refused by the rules, never an error; what opens is that very text, in whatever form."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return  # half a character cannot be sent
    set_to = cheap.op("accounts.set_password", {"name": "ana", "password": password})
    assert set_to.status in (200, 400)
    if len(form(password)) < 12 or size > 1024 or any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Zl", "Zp") for c in form(password)):
        assert set_to.status == 400
    if set_to.status == 200:
        assert login(cheap, "ana", password).status == 200
        if other and form(other) != form(password):
            try:
                assert login(cheap, "ana", other).status in (400, 401)
            except UnicodeEncodeError:
                pass
            assert login(cheap, "ana", password).status == 200


# letters that have several spellings, accents in several orders, spaces of several widths, syllables of Korean
spellings = some.lists(some.sampled_from(["\u00fc", "u\u0308", "\u212b", "\u00c5", "A\u030a", "q\u0307\u0323", "q\u0323\u0307", "\u1e69", "s\u0323\u0307", "\ud55c",
                                          "\u1112\u1161\u11ab", " ", "\u00a0", "\u3000", "\u0958", "\u03b1\u0301", "e", "x", "7", "\u4e2d", "\U0001f511"]),
                       min_size=12, max_size=40).map("".join)


@settings(thousand, max_examples=100)  # as below, all the way from the request
@given(typed=spellings, by=some.sampled_from(["NFC", "NFD", "as it is"]), changed=some.integers(0, 39))
def test_a_password_opens_however_the_keyboard_writes_it(cheap, typed, by, changed):
    set_to = cheap.op("accounts.set_password", {"name": "ana", "password": typed})
    if set_to.status == 400:
        assert len(form(typed)) < 12 or "repeats" in set_to.body.decode() or "common" in set_to.body.decode()
        return
    assert set_to.status == 200
    spelt = typed if by == "as it is" else unicodedata.normalize(by, typed)
    assert login(cheap, "ana", spelt).status == 200
    at = changed % len(typed)
    other = typed[:at] + ("y" if typed[at] != "y" else "z") + typed[at + 1:]
    assert login(cheap, "ana", other).status == 401
    assert login(cheap, "ana", form(typed)).status == 200


@pytest.fixture(scope="module")
def judge():
    """What becomes of a password: its form, whether its hash takes another, and what is wrong with it."""
    oracle = subprocess.Popen([str(BUILD / "tests" / "oracle_password")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def judged(*passwords):
        oracle.stdin.write(" ".join(password.hex() or "-" for password in passwords) + "\n")
        oracle.stdin.flush()
        made, matches, flaw = oracle.stdout.readline().rstrip("\n").split(" ", 2)
        return bytes.fromhex(made.strip("-")), matches == "1", flaw

    yield judged
    oracle.stdin.close()
    assert oracle.wait(10) == 0


assigned = some.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="\0", max_codepoint=0xFFFF)  # alike in all releases of Unicode


@thousand
@given(typed=some.text(assigned, max_size=40) | spellings, shown=some.sampled_from(["NFC", "NFD"]) | some.text(assigned, max_size=20) | spellings)
def test_the_form_of_a_password_is_that_of_rfc_8265(judge, typed, shown):
    """Beside Python's own tables of Unicode: what is equivalent opens, and nothing else does."""
    other = unicodedata.normalize(shown, typed) if shown in ("NFC", "NFD") else shown
    made, opens, _ = judge(typed.encode(), other.encode())
    assert made.decode() == form(typed) and opens == (form(typed) == form(other))


@thousand
@given(typed=some.binary(min_size=1, max_size=1100).map(lambda b: b.replace(b"\0", b"x")), other=some.binary(max_size=30).map(lambda b: b.replace(b"\0", b"x")))
def test_bytes_that_are_no_text_are_nobodys_password(judge, typed, other):
    made, opens, flaw = judge(typed, typed)
    try:
        text = typed.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or len(typed) > 1024:
        assert not opens and flaw and not made
    assert judge(typed, other)[1] <= (other != b"" and text is not None and form(text) == form(other.decode(errors="replace")))
