"""People: users and their passwords, login and sessions, tokens and who may not have made them."""
import base64
import hmac
import json
import pathlib
import stat
import subprocess
import time

import pytest

from daemon import Client

GOOD = "four plain garden words"


def a_name():
    return f"u{time.monotonic_ns()}"


@pytest.fixture
def user(client):
    """A new user's name; the password is GOOD."""
    name = a_name()
    made = client.op("accounts.create_user", {"name": name, "password": GOOD})
    assert made.status == 201, made
    return name


def login(client, name, password=GOOD):
    return client.post("/api/v1/accounts/login", {"name": name, "password": password}, token=False)


@pytest.fixture
def session(client, user):
    answer = login(client, user)
    assert answer.status == 200, answer
    return {**answer.json, "name": user}


def refresh(client, token):
    return client.post("/api/v1/accounts/refresh", {"refresh_token": token}, token=False)


def whoami(client, token, **more):
    return client.get("/api/v1/access/whoami", token=token, headers={"Purlin-Workspace": "default", **more})


def basic(client, name, password):
    shown = base64.b64encode(f"{name}:{password}".encode()).decode()
    return client.get("/api/v1/access/whoami", token=False,
                      headers={"Authorization": f"Basic {shown}", "Purlin-Workspace": "default"})


def soon(condition, seconds=1.0):
    """Whether it becomes true within so many seconds; the gate remembers for 0.9."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# ---- Users -----------------------------------------------------------------------------------------------------------------


def test_an_administrator_makes_a_user(client):
    name = a_name()
    made = client.op("accounts.create_user", {"name": name, "display_name": "Ana Gr\u00f6\u00dfe", "email": "ana@example.org", "password": GOOD})
    assert made.status == 201
    assert (made.json["name"], made.json["display_name"], made.json["email"]) == (name, "Ana Gr\u00f6\u00dfe", "ana@example.org")
    assert made.json["created_by"] == "user:admin" and not made.json["disabled"] and not made.json["email_verified"]
    assert client.get(f"/api/v1/accounts/users/{name}").json == made.json
    assert name in [u["name"] for u in client.op("accounts.list_users", {"limit": 1000}).json["users"]]
    assert client.op("accounts.create_user", {"name": name}).status == 409
    assert GOOD not in made.body.decode() and "hash" not in made.body.decode()


@pytest.mark.parametrize("name", ["", "Ana", "an a", "\u0430na", "ana\u0301", ".ana", "-ana", "ana/x", "x" * 65, "user:ana", "ana\x00"])
def test_a_name_that_could_be_taken_for_another_is_refused(client, name):
    assert client.op("accounts.create_user", {"name": name}).status == 400


@pytest.mark.parametrize("email", ["ana", "@", "a@b@c", "ana@x\r\nBcc: all@example.org", "a b@example.org", "x" * 250 + "@x.org"])
def test_an_address_that_is_none_is_refused(client, email):
    assert client.op("accounts.create_user", {"name": a_name(), "email": email}).status == 400


@pytest.mark.parametrize("password", ["short", "elevenchars", "aaaaaaaaaaaaaa", "abababababababab", "123456789012", "qwertyuiopas",
                                      "Password1234!", "2024-welcome-2025", "correcthorsebatterystaple", "purlin_0123456789abcdef",
                                      "x" * 1025, "1234567890!!"])
def test_a_weak_password_is_refused(client, password):
    refused = client.op("accounts.create_user", {"name": a_name(), "password": password})
    assert refused.status == 400 and refused.json["errors"][0]["field"] == "password"
    assert password not in refused.body.decode()


def test_ones_own_name_is_no_password(client):
    name = "christopherson" + a_name()
    assert client.op("accounts.create_user", {"name": "christophersonx", "password": "Christophersonx99"}).status == 400
    assert client.op("accounts.create_user", {"name": name, "password": "x" + GOOD}).status == 201


@pytest.mark.parametrize("password", ["\u00e4\u00f6\u00fc\u4e2d\u6587 \U0001f511 twelve", "a b" * 341 + "x", "p" * 3 + "q" * 509, " leading and trailing "])
def test_long_and_foreign_passwords_open(client, password):
    name = a_name()
    assert client.op("accounts.create_user", {"name": name, "password": password}).status == 201
    assert login(client, name, password).status == 200
    assert login(client, name, password[:-1]).status == 401
    assert login(client, name, password + "x").status in (400, 401)


def test_users_are_managed_by_who_may_and_where_they_are(server, client):
    reader = client.op("access.create_key", {"name": "r", "permissions": ["users:read", "models:read"]}).json["secret"]
    other = client.op("access.create_workspace", {"name": f"w{time.monotonic_ns()}", "owner": "user:bob"}).json["secret"]
    name = a_name()
    client.op("accounts.create_user", {"name": name, "email": "secret@example.org", "password": GOOD})
    assert client.op("accounts.get_user", {"name": name}, token=reader).json["email"] == ""
    assert "secret@example.org" not in client.op("accounts.list_users", token=reader).body.decode()
    for token in (reader, other):
        for operation, more in (("create_user", {"name": a_name()}), ("disable_user", {"name": name}), ("enable_user", {"name": name}),
                                ("set_password", {"name": name, "password": "another good one"}), ("rotate_key", {})):
            assert client.op(f"accounts.{operation}", more, token=token).status == 403, operation
    assert client.op("accounts.list_users", token=other).status == 403
    assert client.op("accounts.list_users", token=False).status == 401


def test_nobody_disables_themselves(client, session):
    role = f"people{time.monotonic_ns()}"
    client.op("access.create_role", {"name": role, "summary": "-", "permissions": ["users:*"]})
    client.op("access.grant_role", {"subject": f"user:{session['name']}", "role": role})
    assert client.op("accounts.disable_user", {"name": session["name"]}, token=session["access_token"]).status == 409


# ---- One's own -------------------------------------------------------------------------------------------------------------


def test_ones_own_profile(client, session):
    token = session["access_token"]
    assert client.op("accounts.me", token=token).json["name"] == session["name"]
    assert client.op("accounts.rename", {"display_name": "Ana"}, token=token).json["display_name"] == "Ana"
    assert client.put("/api/v1/accounts/me/email", {"password": "wrong", "email": "a@example.org"}, token=token).status == 401
    assert client.put("/api/v1/accounts/me/email", {"password": GOOD, "email": "a@example.org"}, token=token).json["email"] == "a@example.org"
    assert client.op("accounts.me").status == 403  # user:admin of the first key is no user


def test_a_new_password_ends_the_other_sessions(client, session):
    other = login(client, session["name"]).json
    changed = client.put("/api/v1/accounts/me/password", {"password": GOOD, "new_password": "another good one"}, token=session["access_token"])
    assert changed.status == 200
    assert soon(lambda: whoami(client, other["access_token"]).status == 401)
    assert refresh(client, other["refresh_token"]).status == 401
    assert whoami(client, session["access_token"]).status == 200
    assert login(client, session["name"]).status == 401
    assert login(client, session["name"], "another good one").status == 200


def test_a_new_password_takes_the_old_one(client, session):
    for body in ({"password": "wrong", "new_password": "another good one"}, {"password": GOOD, "new_password": "short"}, {"new_password": GOOD}):
        assert client.put("/api/v1/accounts/me/password", body, token=session["access_token"]).status in (400, 401)
    assert login(client, session["name"]).status == 200


def test_an_administrator_sets_a_password(client, session):
    assert client.op("accounts.set_password", {"name": session["name"], "password": "another good one"}).status == 200
    assert soon(lambda: whoami(client, session["access_token"]).status == 401)
    assert login(client, session["name"], "another good one").status == 200
    assert client.op("accounts.set_password", {"name": "nobody-here", "password": "another good one"}).status == 404


# ---- Login -----------------------------------------------------------------------------------------------------------------


def test_login_gives_a_token_that_the_gate_knows(client, session):
    who = whoami(client, session["access_token"]).json
    assert who["actor"] == f"user:{session['name']}" and who["grants"] == []
    assert (session["token_type"], session["expires_in"]) == ("Bearer", 600)
    client.op("access.grant_role", {"subject": who["actor"], "role": "viewer"})
    assert soon(lambda: client.get("/api/v1/models", token=session["access_token"]).status == 200)
    assert client.post("/api/v1/models", {"name": "m"}, token=session["access_token"]).status == 403


def test_unknown_users_and_wrong_passwords_look_alike(client, user):
    wrong, unknown = login(client, user, "not the right one"), login(client, a_name(), "not the right one")
    client.op("accounts.create_user", {"name": (empty := a_name())})
    without = login(client, empty, "not the right one")
    shown = [{k: v for k, v in a.json.items() if k != "trace_id"} for a in (wrong, unknown, without)]
    assert shown[0] == shown[1] == shown[2] and wrong.status == 401


def test_unknown_users_take_as_long_as_wrong_passwords(new_daemon):
    own = new_daemon(configuration='plugin "accounts" { password_cost = 8 }\n')  # so dear that nothing else counts
    client, real, unknown = own.client(), [], []
    for _ in range(4):
        client.op("accounts.create_user", {"name": (name := a_name()), "password": GOOD})
        for tried, took in ((name, real), (a_name(), unknown)):
            began = time.perf_counter()
            assert login(client, tried, "not the right one").status == 401
            took.append(time.perf_counter() - began)
    client.close()
    assert 0.5 < min(unknown) / min(real) < 2, (real, unknown)


def test_guessing_takes_longer_and_longer(client, user, server):
    answers = [login(client, user, f"guess number {i:02d}") for i in range(12)]
    assert [a.status for a in answers[:8]] == [401] * 8
    late = [a for a in answers if a.status == 429]
    assert late and int(late[-1].headers["Retry-After"]) >= 1
    assert login(client, user).status == 429  # the right one, too: else guessing would go on
    server.sql(f"UPDATE accounts_attempts SET failures = 1000, next_at = NOW(6) WHERE next_at > NOW(6)")
    assert login(client, user, "once more and wrong").status == 401
    assert 800 < int(login(client, user).headers["Retry-After"]) <= 900
    server.sql("DELETE FROM accounts_attempts")
    assert login(client, user).status == 200


def test_a_login_that_succeeds_forgets_failures(client, user):
    for _ in range(3):
        for i in range(6):
            assert login(client, user, f"guess number {i:02d}").status == 401
        assert login(client, user).status == 200


def test_a_disabled_user_is_out_everywhere_within_a_second(client, session):
    assert basic(client, session["name"], GOOD).status == 200
    key = client.op("access.create_key", {"name": "k", "owner": f"user:{session['name']}", "permissions": ["*"]}).json["secret"]
    assert whoami(client, key).status == 200
    assert client.op("accounts.disable_user", {"name": session["name"]}).json["disabled"]
    assert soon(lambda: whoami(client, key).status == 401)
    assert soon(lambda: whoami(client, session["access_token"]).status == 401)
    assert soon(lambda: basic(client, session["name"], GOOD).status == 401)
    assert login(client, session["name"]).status == 401
    assert refresh(client, session["refresh_token"]).status == 401
    assert not client.op("accounts.enable_user", {"name": session["name"]}).json["disabled"]
    assert login(client, session["name"]).status == 200
    assert whoami(client, key).status == 200
    assert whoami(client, session["access_token"]).status == 401  # that session stays over


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name":"a"}', b'{"name":"a","password":1}', b'{"name":"a","password":"b","x":1}',
                                  b'{"name":"a","name":"b","password":"c"}', b'{"name":"a","password":"' + b"x" * 1025 + b'"}',
                                  b'{"name":"a","password":"\xff"}', b'{"name":"' + b"x" * 20000 + b'","password":"b"}'])
def test_a_malformed_login_is_refused(client, body):
    assert client.post("/api/v1/accounts/login", body, token=False).status in (400, 413)


def test_logins_are_in_the_audit_log(client, session):
    assert login(client, session["name"], "not the right one").status == 401

    def entries(operation, about):
        return client.get(f"/api/v1/audit/entries?operation={operation}&object={about}").json["entries"]

    assert soon(lambda: entries("accounts.login", session["session"]) and entries("accounts.login", session["name"]), 8)
    assert entries("accounts.login", session["session"])[0]["actor"] == f"user:{session['name']}"
    assert entries("accounts.login", session["name"])[0]["outcome"] == "refused"
    client.put("/api/v1/accounts/me/password", {"password": GOOD, "new_password": "another good one"}, token=session["access_token"])
    assert soon(lambda: entries("accounts.change_password", session["name"]), 8)
    by_name = client.op("audit.list", {"operation": "accounts.login", "object": session["session"]})
    assert [e["operation"] for e in by_name.json["entries"]] == ["accounts.login"]  # a field named as what the address holds
    everything = client.get("/api/v1/audit/entries?limit=1000").body.decode()
    assert GOOD not in everything and "another good one" not in everything and session["refresh_token"] not in everything


# ---- Sessions ----------------------------------------------------------------------------------------------------------------


def test_refresh_tokens_rotate(client, session):
    second = refresh(client, session["refresh_token"])
    assert second.status == 200 and second.headers["Cache-Control"] == "no-store"
    assert second.json["session"] == session["session"] and second.json["refresh_token"] != session["refresh_token"]
    assert whoami(client, second.json["access_token"]).status == 200
    assert whoami(client, session["access_token"]).status == 200
    assert refresh(client, second.json["refresh_token"]).status == 200


def test_a_refresh_token_that_comes_twice_ends_the_session(client, session):
    stolen = refresh(client, session["refresh_token"]).json
    assert refresh(client, session["refresh_token"]).status == 401
    assert refresh(client, stolen["refresh_token"]).status == 401
    assert soon(lambda: whoami(client, stolen["access_token"]).status == 401)


@pytest.mark.parametrize("token", ["", "refresh_", "refresh_" + "a" * 40, "x" * 201, "purlin_x"])
def test_a_refresh_token_that_is_none(client, token):
    assert refresh(client, token).status in (400, 401)


@pytest.mark.parametrize("way", ["login", "refresh", "logout"])
@pytest.mark.parametrize("says", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_other_sites_pages_cannot_fail_for_who_looks_at_them(client, way, says):
    """What a page may send anywhere without asking first is not taken; JSON, of which the browser asks first, is, and so is what curl sends."""
    body = b'{"name":"nobody-here","password":"not the right one"}' if way == "login" else b'{"refresh_token":"refresh_none"}'
    for sort in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert client.call("POST", f"/api/v1/accounts/{way}", body, headers={"Content-Type": sort, **says}, token=False).status == 415, sort
    for taken in ({"Content-Type": "Application/JSON; charset=utf-8", **says}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert client.call("POST", f"/api/v1/accounts/{way}", body, headers=taken, token=False).status != 415


def test_an_access_token_does_not_refresh_and_a_refresh_token_does_not_open(client, session):
    assert refresh(client, session["access_token"][:200]).status == 401
    assert whoami(client, session["refresh_token"]).status == 401


def test_logout(client, session):
    out = client.post("/api/v1/accounts/logout", {"refresh_token": session["refresh_token"]}, token=False)
    assert out.status == 200
    assert soon(lambda: whoami(client, session["access_token"]).status == 401)
    assert refresh(client, session["refresh_token"]).status == 401
    assert client.post("/api/v1/accounts/logout", {"refresh_token": "refresh_none"}, token=False).status == 200

    def noted():
        found = client.get("/api/v1/audit/entries?operation=accounts.logout&limit=1000").json["entries"]
        return [entry for entry in found if entry["object"] == session["session"]]

    assert soon(noted, 8) and [entry["actor"] for entry in noted()] == [f"user:{session['name']}"]


def test_sessions_are_listed_and_revoked(client, session):
    other = login(client, session["name"]).json
    listed = client.get("/api/v1/accounts/sessions", token=session["access_token"]).json["sessions"]
    assert {(s["id"], s["current"], s["user"]) for s in listed} == {(session["session"], True, session["name"]), (other["session"], False, session["name"])}
    assert all(s["address"] == "127.0.0.1" for s in listed)
    assert client.delete(f"/api/v1/accounts/sessions/{other['session']}", token=session["access_token"]).status == 200
    assert soon(lambda: whoami(client, other["access_token"]).status == 401)
    assert client.delete(f"/api/v1/accounts/sessions/{other['session']}", token=session["access_token"]).status == 404


def test_sessions_of_others_are_the_administrators(client, session):
    stranger = a_name()
    client.op("accounts.create_user", {"name": stranger, "password": GOOD})
    theirs = login(client, stranger).json["access_token"]
    assert client.delete(f"/api/v1/accounts/sessions/{session['session']}", token=theirs).status == 404
    assert client.op("accounts.list_sessions", {"user": session["name"]}, token=theirs).status == 403
    assert [s["id"] for s in client.op("accounts.list_sessions", {"user": session["name"]}).json["sessions"]] == [session["session"]]
    assert client.op("accounts.revoke_session", {"id": session["session"]}).status == 200
    assert soon(lambda: whoami(client, session["access_token"]).status == 401)


def test_a_key_is_nobody_in_person(client, session):
    """Whoever owns a workspace of their own makes keys there that act for anybody; what is theirs on all the server they do not see."""
    tenant = client.op("access.create_workspace", {"name": f"w{time.monotonic_ns()}", "owner": "user:mallory"}).json["secret"]
    key = client.op("access.create_key", {"name": "k", "owner": f"user:{session['name']}", "permissions": ["*"]}, token=tenant).json["secret"]
    own = client.op("access.create_key", {"name": "k", "permissions": ["models:read"]}, token=session["access_token"]).json["secret"]
    for token in (key, own):
        assert client.op("access.whoami", token=token).json["actor"] == f"user:{session['name']}"
        for operation, more in (("me", {}), ("list_sessions", {}), ("rename", {"display_name": "Eve"}), ("send_verification", {})):
            assert client.op(f"accounts.{operation}", more, token=token).status in (403, 409), operation
        assert client.op("accounts.me", token=token).status == 403
        assert client.delete(f"/api/v1/accounts/sessions/{session['session']}", token=token).status == 404
        assert client.put("/api/v1/accounts/me/email", {"password": GOOD, "email": "e@example.org"}, token=token).status == 403
        assert client.op("accounts.list_sessions", token=token).status == 403
        assert client.op("accounts.rename", {"display_name": "Eve"}, token=token).status == 403
    assert client.op("accounts.me", token=session["access_token"]).json["display_name"] == ""


def test_sessions_end(server, client, session):
    server.sql(f"UPDATE accounts_sessions SET expires_at = NOW(6) - INTERVAL 1 SECOND WHERE id = '{session['session']}'")
    assert soon(lambda: whoami(client, session["access_token"]).status == 401)
    assert refresh(client, session["refresh_token"]).status == 401


def test_only_hashes_are_stored(server, client, session):
    rows = json.dumps([server.sql(f"SELECT * FROM accounts_{table}") for table in ("users", "sessions", "refresh_tokens", "attempts")])
    assert session["refresh_token"] not in rows and session["access_token"] not in rows and GOOD not in rows
    assert "$y$j9T$" in rows
    log = server.log_text()
    assert GOOD not in log and session["refresh_token"] not in log and session["access_token"] not in log


# ---- HTTP Basic --------------------------------------------------------------------------------------------------------------


def test_basic_with_name_and_password(client, user):
    assert basic(client, user, GOOD).json["actor"] == f"user:{user}"
    assert basic(client, user, GOOD + "x").status == 401
    assert basic(client, user, "").status == 401
    assert basic(client, a_name(), GOOD).status == 401
    assert basic(client, user, "x" * 2000).status == 401


def test_basic_guesses_are_counted(client, user):
    assert 429 in [basic(client, user, f"guess number {i:02d}").status for i in range(12)]


def test_a_password_that_was_right_is_not_hashed_again_for_a_while(server, client, user):
    assert basic(client, user, GOOD).status == 200
    server.sql(f"UPDATE accounts_users SET password_hash = 'broken' WHERE name = '{user}'")  # whoever asks it will fail
    time.sleep(1)  # the gate's own memory
    assert basic(client, user, GOOD).status == 200
    server.sql(f"UPDATE accounts_users SET version = version + 1 WHERE name = '{user}'")
    assert soon(lambda: basic(client, user, GOOD).status == 401)


# ---- Tokens: made by others, for others, with another algorithm ------------------------------------------------------------------


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """A key as another node would have it in the database: the daemon knows its public part, the test its private one."""

    def __init__(self, server, folder, algorithm="ES256"):
        self.server, self.algorithm, self.kid, self.key = server, algorithm, f"jwk_t{time.monotonic_ns()}", folder / "key.pem"
        kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "ES256" else ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        openssl("genpkey", "-algorithm", *kind, "-out", str(self.key))
        self.public = openssl("pkey", "-in", str(self.key), "-pubout", "-outform", "DER")
        server.sql("INSERT INTO accounts_keys (id, algorithm, public_key, sealed, sealed_by, created_at) VALUES"
                   f" ('{self.kid}', '{algorithm}', X'{self.public.hex()}', '', 'elsewhere', NOW(6))")

    def sign(self, text):
        made = openssl("dgst", "-sha256", "-sign", str(self.key), stdin=text.encode())
        if self.algorithm != "ES256":
            return made
        r_size = made[3]
        r, s = made[4:4 + r_size], made[6 + r_size:]
        return b"".join(int.from_bytes(n, "big").to_bytes(32, "big") for n in (r, s))

    def token(self, claims, **header):
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "at+jwt", **header}
        text = ".".join(b64(json.dumps({k: v for k, v in part.items() if v is not None}).encode()) for part in (head, claims))
        return f"{text}.{b64(self.sign(text))}"


def openssl(*arguments, stdin=None):
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def claims_of(token, **other):
    return {**json.loads(unb64(token.split(".")[1])), **other}


@pytest.fixture
def signer(server, tmp_path):
    return Signer(server, tmp_path)


def test_what_another_node_signed_is_taken(server, client, session, signer, tmp_path):
    assert whoami(client, signer.token(claims_of(session["access_token"]))).json["actor"] == f"user:{session['name']}"
    (tmp_path / "rsa").mkdir()
    rsa = Signer(server, tmp_path / "rsa", "RS256")
    assert whoami(client, rsa.token(claims_of(session["access_token"]))).json["actor"] == f"user:{session['name']}"


def test_the_token_says_what_it_should(session):
    header, claims = (json.loads(unb64(part)) for part in session["access_token"].split(".")[:2])
    assert set(header) == {"alg", "kid", "typ"} and (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert (claims["iss"], claims["aud"], claims["sid"], claims["exp"] - claims["iat"]) == ("purlin", "purlin", session["session"], 600)
    assert claims["sub"].startswith("usr_") and claims["jti"].startswith("tok_")


@pytest.mark.parametrize("header", [
    {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": "ES384"}, {"alg": "es256"}, {"alg": None}, {"typ": "JWT"}, {"typ": None},
    {"typ": "AT+JWT"}, {"kid": None}, {"kid": "jwk_none"}, {"kid": "../../etc/passwd"}, {"kid": "' OR 1=1 -- "}, {"kid": "x" * 65}, {"kid": 1},
    {"jku": "http://127.0.0.1:1/jwks.json"}, {"x5u": "http://127.0.0.1:1/x"}, {"jwk": {"kty": "EC"}}, {"x5c": []}, {"crit": ["exp"]},
    {"crit": []}, {"zip": "DEF"}, {"cty": "JWT"}, {"b64": False}])
def test_a_header_that_is_not_ours_is_refused(client, session, signer, header):
    assert whoami(client, signer.token(claims_of(session["access_token"]), **header)).status == 401


@pytest.mark.parametrize("claims", [
    {"iss": "other"}, {"iss": None}, {"iss": ["purlin"]}, {"aud": "other"}, {"aud": None}, {"aud": ["purlin"]}, {"exp": 1}, {"exp": None},
    {"exp": "9999999999"}, {"exp": -1}, {"exp": 1e300}, {"iat": 99999999999}, {"sub": "usr_other"}, {"sub": None}, {"sid": "ses_other"},
    {"sid": None}, {"admin": True}, {"nbf": 0}])
def test_claims_that_are_not_ours_are_refused(client, session, signer, claims):
    assert whoami(client, signer.token(claims_of(session["access_token"], **claims))).status == 401


def test_a_token_for_the_session_of_another_is_refused(client, session, signer):
    client.op("accounts.create_user", {"name": (other := a_name()), "password": GOOD})
    theirs = claims_of(login(client, other).json["access_token"])
    assert whoami(client, signer.token(claims_of(session["access_token"], sid=theirs["sid"]))).status == 401


def test_no_signature_and_the_public_key_as_a_secret(client, session, signer):
    token = session["access_token"]
    head, claims, signature = token.split(".")
    none = b64(json.dumps({"alg": "none", "kid": json.loads(unb64(head))["kid"], "typ": "at+jwt"}).encode())
    for forged in (f"{none}.{claims}.", f"{none}.{claims}.AA", f"{head}.{claims}.", f"{head}.{claims}", f"{head}..{signature}", f".{claims}.{signature}",
                   f"{token}.", f"{token}.AA", f"{token}A", f"{token}=", f"{head}.{claims}.{b64(bytes(64))}", " ", "..", "x" * 9000):
        assert whoami(client, forged).status in (401, 431), forged
    confused = b64(json.dumps({"alg": "HS256", "kid": signer.kid, "typ": "at+jwt"}).encode()) + "." + claims
    pem = openssl("pkey", "-in", str(signer.key), "-pubout")
    for secret in (signer.public, pem, pem.strip(), b""):
        assert whoami(client, f"{confused}.{b64(hmac.digest(secret, confused.encode(), 'sha256'))}").status == 401


def test_a_member_that_stands_twice_is_refused(client, session, signer):
    text = ".".join((b64(f'{{"alg":"ES256","alg":"ES256","kid":"{signer.kid}","typ":"at+jwt"}}'.encode()), session["access_token"].split(".")[1]))
    assert whoami(client, f"{text}.{b64(signer.sign(text))}").status == 401


def test_rotation_logs_nobody_out(server, client, session):
    new = client.op("accounts.rotate_key")
    assert new.status == 201
    assert whoami(client, session["access_token"]).status == 200
    after = login(client, session["name"]).json["access_token"]
    assert json.loads(unb64(after.split(".")[0]))["kid"] == new.json["id"]
    kids = {key["kid"] for key in client.get("/.well-known/jwks.json", token=False).json["keys"]}
    assert {new.json["id"], json.loads(unb64(session["access_token"].split(".")[0]))["kid"]} <= kids
    assert client.op("accounts.rotate_key", {"at_once": True}).status == 201
    assert soon(lambda: whoami(client, after).status == 401)
    assert whoami(client, refresh(client, session["refresh_token"]).json["access_token"]).status == 200


def test_the_published_keys_verify(client, session, tmp_path):
    answer = client.get("/.well-known/jwks.json", token=False)
    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    head, claims, signature = session["access_token"].split(".")
    jwk = next(k for k in answer.json["keys"] if k["kid"] == json.loads(unb64(head))["kid"])
    assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig") and "d" not in jwk
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + unb64(jwk["x"]) + unb64(jwk["y"])
    (tmp_path / "public.der").write_bytes(spki)
    raw = unb64(signature)
    numbers = b"".join(b"\x02" + bytes([len(n)]) + n for n in map(minimal, (raw[:32], raw[32:])))
    (tmp_path / "signature").write_bytes(b"\x30" + bytes([len(numbers)]) + numbers)
    openssl("dgst", "-sha256", "-verify", str(tmp_path / "public.der"), "-keyform", "DER", "-signature", str(tmp_path / "signature"),
            stdin=f"{head}.{claims}".encode())


def minimal(number):
    """A positive INTEGER of DER."""
    number = number.lstrip(b"\x00") or b"\x00"
    return b"\x00" + number if number[0] & 0x80 else number


@pytest.mark.parametrize("algorithm", ["RS256", "HS256"])
def test_other_algorithms_by_configuration(new_daemon, algorithm):
    own = new_daemon(configuration=f'plugin "accounts" {{ algorithm = "{algorithm}", issuer = "https://a.example", audience = "b" }}\n')
    client = own.client()
    client.op("accounts.create_user", {"name": "ana", "password": GOOD})
    token = login(client, "ana").json["access_token"]
    assert json.loads(unb64(token.split(".")[0]))["alg"] == algorithm
    assert (claims_of(token)["iss"], claims_of(token)["aud"]) == ("https://a.example", "b")
    assert whoami(client, token).json["actor"] == "user:ana"
    assert [k["alg"] for k in client.get("/.well-known/jwks.json", token=False).json["keys"]] == (["RS256"] if algorithm == "RS256" else [])
    client.close()


def test_tokens_outlive_a_restart_and_the_key_file_is_private(new_daemon):
    own = new_daemon()
    client = own.client()
    client.op("accounts.create_user", {"name": "ana", "password": GOOD})
    token = login(client, "ana").json["access_token"]
    client.close()
    own.stop()
    key = own.state / "secrets.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and key.stat().st_size == 32
    own.start()
    client = own.client()
    assert whoami(client, token).json["actor"] == "user:ana"
    client.close()
    own.stop()
    key.unlink()  # lost: the node makes another file and another key, and still takes what the old one signed
    own.start()
    client = own.client()
    assert whoami(client, token).json["actor"] == "user:ana"
    fresh = login(client, "ana").json["access_token"]
    assert fresh.split(".")[0] != token.split(".")[0] and whoami(client, fresh).status == 200
    client.close()
    own.stop()
    key.chmod(0o644)
    own.launch()
    assert own.process.wait(30) != 0 and "can be read or written by others" in own.log_text()


def test_a_dearer_hash_takes_over_at_login(new_daemon):
    own = new_daemon(start=False, configuration='plugin "accounts" { password_cost = 1 }\n')
    own.start()
    client = own.client()
    client.op("accounts.create_user", {"name": "ana", "password": GOOD})
    client.close()
    own.stop()
    before = own.folder / "purlin.lua"
    before.write_text('plugin "accounts" { password_cost = 3 }\n')
    own.start()
    stored = lambda: own.sql("SELECT password_hash FROM accounts_users WHERE name = 'ana'")[0][0]  # noqa: E731
    old, client = stored(), own.client()
    assert login(client, "ana").status == 200
    assert stored().split("$")[2] != old.split("$")[2]
    assert login(client, "ana").status == 200 and login(client, "ana", "x" + GOOD).status == 401
    client.close()


# ---- Names that look like others, and what takes as long ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\u0430dmin", "\uff41na", "\u202eana", "ana\u200f", "an\u200ba", "ana\ufeff", "\u0131van", "\u0130van", "\u017fam", "\u212bke", "aNa", "ANA",
                                  "ana ", " ana", "ana\u00a0", "a\u0301na", "\u00e1na", "\u24d0na", "ana\t", "-", "ana\n", "\U0001d41ana", "_ana", "ana\u00ad"])
def test_no_login_name_looks_like_another(client, name):
    """Cyrillic, wide, mirrored, invisible, without a dot, in capitals: none is a name, and none logs in as another."""
    refused = client.op("accounts.create_user", {"name": name, "password": GOOD})
    assert refused.status == 400 and refused.json["errors"][0]["field"] == "name"
    assert login(client, name).status == 401


def test_what_is_shown_of_a_user_hides_nothing(client, session):
    token = session["access_token"]
    for name in ("ana\u202enimda", "a\nb", "\u200bana", "a\u2066b", "x\u001b[31m", "ana\ue000"):
        refused = client.op("accounts.rename", {"display_name": name}, token=token)
        assert refused.status == 400 and refused.json["errors"][0]["field"] == "display_name", name
        assert client.op("accounts.create_user", {"name": a_name(), "display_name": name}).status == 400
    assert client.op("accounts.rename", {"display_name": " Ana  Gro\u0308\u00dfe\u00a0"}, token=token).json["display_name"] == "Ana Gr\u00f6\u00dfe"
    moved = client.put("/api/v1/accounts/me/email", {"password": GOOD, "email": "gro\u0308\u00dfe@Example.ORG"}, token=token)
    assert moved.json["email"] == "gr\u00f6\u00dfe@example.org"


@pytest.mark.parametrize("iat, status", [(-10**6, 200), (-1, 200), (0, 200), (50, 200), (70, 401), (3600, 401)])
def test_clocks_of_nodes_may_differ_by_a_minute(client, session, signer, iat, status):
    now = int(time.time())
    assert whoami(client, signer.token(claims_of(session["access_token"], iat=now + iat, exp=now + 4000))).status == status


def cpu_ns(server):
    """What all threads of the daemon have used."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())


def test_a_login_costs_the_same_whoever_it_is_for(new_daemon):
    """By processor time, which other things on the machine do not change: one hash each, whether there is a user, a password, or neither."""
    own = new_daemon(configuration='plugin "accounts" { password_cost = 6 }\n')
    client, used = own.client(), {"wrong": [], "unknown": [], "disabled": [], "without": [], "no text": []}
    for _ in range(5):
        names = {what: a_name() for what in used}
        for what in ("wrong", "disabled"):
            client.op("accounts.create_user", {"name": names[what], "password": GOOD})
        client.op("accounts.create_user", {"name": names["without"]})
        client.op("accounts.disable_user", {"name": names["disabled"]})
        for what, took in used.items():
            before = cpu_ns(own)
            answer = basic(client, names[what], "not the right one \udcff".encode("utf-8", "surrogateescape").decode("latin-1")) if what == "no text" else login(client, names[what], "not the right one")
            assert answer.status == 401
            took.append(cpu_ns(own) - before)
    client.close()
    medians = {what: sorted(took)[len(took) // 2] for what, took in used.items()}
    assert max(medians.values()) < 1.5 * min(medians.values()), medians


def test_a_login_that_breaks_off_costs_nothing_but_itself(own_server):
    for path in ("login", "refresh", "logout"):
        with own_server.socket() as one:
            one.sendall(f"POST /api/v1/accounts/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n".encode() + b'{"name":"ana","pass')
            time.sleep(0.1)  # it is being read
    time.sleep(0.2)
    assert own_server.process.poll() is None, own_server.log_text()
    client = own_server.client()
    assert client.get("/healthz").status == 200
    client.close()
