"""Single sign-on against a real provider: who comes in, who does not, and what a provider or a browser may try."""
import re
import subprocess
import threading
import time
import urllib.parse

import pytest

import daemon
from sso import SECRET, Browser, Form, Provider
from test_command import PURLIN, environment

PEOPLE = {
    "42": {"preferred_username": "Ana", "name": "Ana Smith", "email": "ana@example.org", "email_verified": True, "groups": ["ml", "All Staff"]},
    "43": {"preferred_username": "bob", "name": "Bob", "email": "bob@example.org", "email_verified": True, "groups": ["ops"]},
    "44": {"preferred_username": "eve", "email": "eve@evil.example", "email_verified": True, "groups": ["ml"]},
    "45": {"preferred_username": "not a name", "groups": ["ml"]},
    "46": {"preferred_username": "dan", "email": "dan@example.org", "email_verified": False, "groups": ["ml"]},
    "47": {"preferred_username": "taken", "email": "t@example.org", "email_verified": True, "groups": ["ml"]},
    "48": {"preferred_username": "disabled", "email": "d@example.org", "email_verified": True, "groups": ["ml"]},
    "49": {"preferred_username": "gus", "email": "g@example.org", "email_verified": True, "groups": ["ml"]},
}


def configuration(issuer, **more):
    settings = {"issuer": issuer, "client_id": "purlin", "client_secret": SECRET, "scopes": ["openid", "profile", "email", "groups"],
                "keys_again_s": 1, **more}
    return 'plugin "auth-oidc" ' + lua(settings) + "\n"


def lua(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {lua(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "{ " + ", ".join(map(lua, value)) + " }"
    return str(value).lower() if isinstance(value, (bool, int)) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Sso:
    """A daemon and its provider."""

    def __init__(self, make, provider, port, **more):
        self.provider, self.port = provider, port
        self.server = make(configuration=configuration(provider.issuer, **more), arguments=("--port", str(port)))
        self.url = f"http://127.0.0.1:{port}"
        self.callback = f"{self.url}/api/v1/oidc/callback"

    def login(self, browser, **query):
        return browser.open(f"{self.url}/api/v1/oidc/login?{urllib.parse.urlencode(query)}")

    def code_for(self, person, browser, change=lambda url: url):
        """Up to where the provider sends the browser back, which is not gone to."""
        page = self.login(browser)
        assert page.status == 303, page
        back = browser.walk(change(page.location), person, self.callback)
        assert back.location and back.location.startswith(self.callback), back
        return back.location

    def come_in(self, person, browser=None):
        browser = browser or Browser()
        return browser, browser.open(self.code_for(person, browser))


def clients(port, **more):
    return [{"client_id": "purlin", "client_secret": SECRET, "redirect_uris": [f"http://127.0.0.1:{port}/api/v1/oidc/callback"],
             "post_logout_redirect_uris": [f"http://127.0.0.1:{port}/docs"],
             "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"], "response_types": ["code"],
             "backchannel_logout_uri": f"http://127.0.0.1:{port}/api/v1/oidc/backchannel-logout", **more}]


@pytest.fixture(scope="module")
def made(scratch, template):
    """Makes daemons that live as long as this file; and providers."""
    daemons, providers = [], []

    def make(**options):
        folder = scratch / daemon.unique("oidc")
        folder.mkdir()
        daemon.copy_state(template, folder)
        daemons.append(daemon.Daemon(folder, **options))
        return daemons[-1].start()

    def provide(port, **more):
        folder = scratch / daemon.unique("provider")
        folder.mkdir()
        providers.append(Provider(clients(port, **more), PEOPLE, folder))
        return providers[-1]

    make.provide = provide
    yield make
    for one in daemons:
        one.end()
    for one in providers:
        one.end()


@pytest.fixture(scope="module")
def shared(made):
    port = daemon.free_port()
    return Sso(made, made.provide(port), port, after_logout_url=f"http://127.0.0.1:{port}/docs",
               groups=[{"from": "ml", "to": "research"}, {"from": "All Staff", "to": "staff"}], group_prefix="sso-")


@pytest.fixture
def sso(shared):
    yield shared
    shared.provider.knobs()
    assert shared.server.process.poll() is None


def run(sso, home, *arguments):
    return subprocess.Popen([str(PURLIN), "--server", sso.url, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, cwd="/", env=environment(XDG_CONFIG_HOME=str(home)))


def detail(page):
    assert page.headers["Content-Type"].startswith("application/problem+json"), page
    return page.json["detail"]


# ---- In a browser ------------------------------------------------------------------------------------------------------------------


def whoami(sso, browser):
    return browser.open(f"{sso.url}/api/v1/access/whoami")


def test_a_browser_comes_in(sso):
    browser = Browser()
    page = sso.login(browser, next="/docs?x=1")
    asked = page.query
    assert page.status == 303 and page.location.startswith(sso.provider.issuer + "/auth?")
    assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43 and asked["scope"] == "openid profile email groups"
    assert len(asked["state"]) > 40 and len(asked["nonce"]) == 43
    cookie = browser.cookies()["purlin-oidc"]
    assert cookie.value not in page.location and cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "Lax"
    back = browser.walk(page.location, "42", sso.callback)
    page = browser.open(back.location)
    assert page.status == 303 and page.headers["Location"] == "/docs?x=1", page
    assert "purlin-oidc" not in browser.cookies()
    who = whoami(sso, browser).json
    assert who["actor"] == "user:ana"


def test_the_login_page_leads_there(sso, client):
    page = Browser().open(f"{sso.url}/login?next=/docs")
    assert '<a href="/api/v1/oidc/login?next=' in page.body and "Log in with single sign-on" in page.body
    where = re.search('href="(/api/v1/oidc/login[^"]*)"', page.body).group(1)
    assert Browser().open(sso.url + where).status == 303
    assert b"/api/v1/oidc/login" not in client.get("/login").body  # where no provider is configured


def test_the_roles_of_groups_count(sso):
    client = sso.server.client()
    assert client.op("access.grant_role", {"subject": "group:sso-research", "role": "viewer"}).status == 201
    browser, _ = sso.come_in("42")
    assert browser.open(f"{sso.url}/api/v1/models").status == 200
    other, _ = sso.come_in("43")  # in no group that is named here
    assert other.open(f"{sso.url}/api/v1/models").status == 403
    user = client.op("accounts.get_user", {"name": "ana"}).json
    assert (user["display_name"], user["email"], user["email_verified"]) == ("Ana Smith", "ana@example.org", True)
    sso.provider.control(people={"43": {**PEOPLE["43"], "groups": ["ml"]}})
    other, _ = sso.come_in("43")  # groups are taken anew each time
    assert other.open(f"{sso.url}/api/v1/models").status == 200
    sso.provider.control(people={"43": PEOPLE["43"]})
    sso.come_in("43")
    client.close()


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "/\r\nSet-Cookie: a=b", "evil", "", "/\x00"])
def test_nobody_is_sent_elsewhere(sso, path):
    page = sso.login(Browser(), next=path)
    assert page.status == 400 and page.location is None


def test_state_belongs_to_the_browser(sso):
    browser, victim = Browser(), Browser()
    back = sso.code_for("42", browser)
    assert victim.open(back).status == 401  # no login was begun there
    sso.login(victim)
    assert victim.open(back).status == 401  # another one was
    assert browser.open(back.replace("state=", "state=x")).status == 401
    assert browser.open(re.sub("state=[^&]*&?", "", back)).status == 401
    assert browser.open(back).status == 303  # none of that ended the right one


def test_state_and_code_count_once(sso):
    browser = Browser()
    back = sso.code_for("42", browser)
    cookie = browser.cookies()["purlin-oidc"]
    assert browser.open(back).status == 303
    browser.jar.set_cookie(cookie)  # as somebody who kept everything
    page = browser.open(back)
    assert page.status == 401 and "begin again" in detail(page)
    # A code that was used, in a login of one's own.
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
    thief = Browser()
    own = sso.code_for("43", thief)
    page = thief.open(re.sub("code=[^&]*", f"code={code}", own))
    assert page.status == 401 and "does not take the code" in detail(page)


def test_two_who_come_with_the_same_answer(sso):
    browser = Browser()
    back = sso.code_for("42", browser)
    cookie = "; ".join(f"{c.name}={c.value}" for c in browser.jar)
    got = []
    threads = [threading.Thread(target=lambda: got.append(Browser().open(back, headers={"Cookie": cookie}).status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == [303] + 5 * [401]


def test_a_login_lasts_ten_minutes(sso):
    browser = Browser()
    back = sso.code_for("42", browser)
    left = sso.server.sql("SELECT MAX(TIMESTAMPDIFF(SECOND, NOW(6), expires_at)) FROM auth_oidc_logins")
    assert 580 <= int(left[0][0]) <= 600
    sso.server.sql("UPDATE auth_oidc_logins SET expires_at = NOW(6)")
    assert browser.open(back).status == 401


def test_logins_are_begun_in_bounds(sso):
    sso.server.sql("INSERT INTO auth_oidc_logins SELECT SHA2(seq, 256), '', '/', '127.0.0.1', NOW(6) + INTERVAL 10 MINUTE FROM seq_1_to_200")
    page = sso.login(Browser())
    assert page.status == 429 and page.headers["Retry-After"]
    sso.server.sql("DELETE FROM auth_oidc_logins WHERE browser = ''")
    assert sso.login(Browser()).status == 303


def test_a_code_of_another_browser_is_worth_nothing(sso):
    """PKCE: the code of one login, brought into another one that began with another verifier."""
    mine, theirs = Browser(), Browser()
    my_back, their_back = sso.code_for("42", mine), sso.code_for("43", theirs)
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(their_back).query)["code"][0]
    assert mine.open(re.sub("code=[^&]*", f"code={code}", my_back)).status == 401


def test_without_the_challenge_the_code_is_worth_nothing(sso):
    """The downgrade of PKCE: somebody takes the challenge out of the address. The provider must then not take a verifier."""
    browser = Browser()
    back = sso.code_for("42", browser, change=lambda url: re.sub("&code_challenge(_method)?=[^&]*", "", url))
    assert browser.open(back).status == 401


def test_what_the_provider_refuses(sso):
    browser = Browser()
    page = sso.login(browser)
    back = browser.open(page.location + "&prompt=none")  # wants a login, and may not ask
    answer = browser.open(back.location)
    assert back.query["error"] == "login_required" and answer.status == 401
    assert "evil" not in browser.open(f"{sso.callback}?error=evil&state=x").body
    browser = Browser()
    state = sso.login(browser).query["state"]
    page = browser.open(f"{sso.callback}?error=access_denied&state={state}&iss={urllib.parse.quote(sso.provider.issuer)}")
    assert page.status == 403


# ---- What a provider may say ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knobs, why", [
    ({"claims": {"nonce": "another"}}, "(nonce)"),
    ({"claims": {"nonce": None}}, "(nonce)"),
    ({"claims": {"iss": "http://127.0.0.1:1"}}, "(iss)"),
    ({"claims": {"aud": "another"}}, "(aud)"),
    ({"claims": {"aud": ["purlin", "another"], "azp": "another"}}, "(azp)"),
    ({"claims": {"exp": 1700000000}}, "(exp)"),
    ({"claims": {"exp": None}}, "exp)"),
    ({"claims": {"iat": 4000000000, "exp": 4000000600}}, "(iat)"),
    ({"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}, "(at_hash)"),
    ({"claims": {"sub": None}}, "(sub)"),
    ({"signature": True}, "its signature"),
    ({"header": {"alg": "none"}}, "not a signed"),
    ({"header": {"alg": "HS256"}}, "not allowed here"),
    ({"header": {"alg": "ES256"}}, "no such key"),
    ({"header": {"kid": "ES256-1"}}, "no such key"),
    ({"header": {"kid": "nobody's", "jku": "http://127.0.0.1:1/keys"}}, "no such key"),
    ({"header": {"typ": "at+jwt"}}, "(typ)"),
    ({"authorization": {"iss": "http://127.0.0.1:1"}}, "(iss)"),  # mix-up
    ({"authorization": {"iss": None}}, "(iss)"),
    ({"authorization": {"code": ""}}, "no code"),
])
def test_a_token_that_is_not_for_this_login(sso, knobs, why):
    sso.provider.knobs(**knobs)
    browser, page = sso.come_in("42")
    assert page.status == 401 and why in detail(page), page
    assert whoami(sso, browser).status == 401


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_each_algorithm(sso, algorithm):
    sso.provider.control(algorithm=algorithm)
    browser, page = sso.come_in("42")
    sso.provider.control(algorithm="RS256")
    assert page.status == 303 and whoami(sso, browser).status == 200, page


def test_the_providers_keys_change(sso):
    time.sleep(1.1)  # an earlier test may just have had them read again
    before = sso.provider.count("/jwks")
    sso.provider.control(rotate=True)
    assert sso.come_in("42")[1].status == 303  # nobody had to be told
    assert sso.provider.count("/jwks") == before + 1
    sso.come_in("42")
    assert sso.provider.count("/jwks") == before + 1
    time.sleep(1.1)
    sso.provider.knobs(header={"kid": "nobody's"})
    for _ in range(3):  # whoever sends tokens does not have the provider asked for each
        sso.come_in("42")
    assert sso.provider.count("/jwks") <= before + 3


def test_the_provider_is_away(sso):
    browser = Browser()
    back = sso.code_for("42", browser)
    sso.provider.knobs(down=True)
    page = browser.open(back)
    assert page.status in (502, 503) and "127.0.0.1" not in page.body
    assert sso.login(Browser()).status == 303  # what it said before is known
    sso.provider.knobs()
    assert sso.come_in("42")[1].status == 303


# ---- Who comes in -----------------------------------------------------------------------------------------------------------------------


def test_names_that_cannot_be(sso):
    page = sso.come_in("45")[1]
    assert page.status == 403 and "cannot be a login name" in detail(page)


def test_a_name_that_is_somebody_elses(sso):
    client = sso.server.client()
    assert client.op("accounts.create_user", {"name": "taken", "password": "four plain garden words"}).status == 201
    page = sso.come_in("47")[1]
    assert page.status == 409 and "taken" in detail(page)
    assert client.op("accounts.get_user", {"name": "taken"}).json["email"] == ""
    client.close()


def test_who_is_disabled_here_does_not_come_in(sso):
    client = sso.server.client()
    browser, page = sso.come_in("48")
    assert page.status == 303 and whoami(sso, browser).status == 200
    assert client.op("accounts.disable_user", {"name": "disabled"}).status == 200
    daemon.wait_until(lambda: whoami(sso, browser).status == 401, 5, "the session goes on")
    assert sso.come_in("48")[1].status == 403
    client.close()


def test_who_may_come_in(made):
    port = daemon.free_port()
    provider = made.provide(port)
    sso = Sso(made, provider, port, required_groups=["ml"], email_domains=["example.org"])
    browser, page = sso.come_in("42")
    assert page.status == 303
    for person, why in (("43", "none of the groups"), ("44", "e-mail"), ("46", "e-mail")):
        page = sso.come_in(person)[1]
        assert page.status == 403 and why in detail(page)
    provider.control(people={"42": {**PEOPLE["42"], "groups": []}})
    assert sso.come_in("42")[1].status == 403
    daemon.wait_until(lambda: whoami(sso, browser).status == 401, 5, "whoever may not come in any more is still there")
    count = "SELECT COUNT(*) FROM audit_entries WHERE operation = 'auth-oidc.login' AND outcome = 'refused'"
    daemon.wait_until(lambda: sso.server.sql(count) == [["4"]], 5, "refusals are not in the audit log")
    provider.end()
    sso.server.stop()


# ---- At a terminal ----------------------------------------------------------------------------------------------------------------------


def begin_at_terminal(sso, home):
    process = run(sso, home, "login", "--sso")
    text = ""
    while "\n\nOr open" not in text or not text.endswith("\n\n") or text.count("http") < 2:
        line = process.stderr.readline()
        assert line, text
        text += line
    return process, re.findall(r"http://\S+", text)[-1], text


def test_a_terminal_comes_in(sso, tmp_path):
    process, where, text = begin_at_terminal(sso, tmp_path)
    assert where.startswith(sso.provider.issuer + "/device?user_code=")
    assert re.search(r"enter this code:\n\n    \S+\n", text)
    Browser().walk(where, "42", None)
    out, err = process.communicate(timeout=40)
    assert (process.returncode, out) == (0, f"Logged in to {sso.url} as ana.\n"), err
    done = run(sso, tmp_path, "--json", "access", "whoami")
    out, err = done.communicate(timeout=20)
    assert done.returncode == 0 and '"user:ana"' in out, err
    stored = sso.server.sql("SELECT COUNT(*) FROM auth_oidc_devices")
    assert stored == [["0"]]
    done = run(sso, tmp_path, "logout")
    assert done.communicate(timeout=20)[0] == f"Logged out of {sso.url}.\n"


def test_a_terminal_that_is_refused(sso, tmp_path):
    process, where, _ = begin_at_terminal(sso, tmp_path)
    browser = Browser()
    page = browser.walk(where, "42", None, until='name="abort"')
    form = Form(page.body)
    browser.open(urllib.parse.urljoin(page.url, form.action), {**form.fields, "abort": "yes"})
    out, err = process.communicate(timeout=40)
    assert process.returncode == 1 and "not to be" in err and not (tmp_path / "purlin").exists()


def test_polling_is_polite(sso):
    client = sso.server.client()
    begun = client.post("/api/v1/oidc/device", token=False).json
    assert set(begun) >= {"handle", "user_code", "verification_uri", "interval", "expires_in"} and "device_code" not in begun
    before = sso.provider.count("/token")
    for _ in range(5):
        answer = client.post("/api/v1/oidc/device/poll", {"handle": begun["handle"]}, token=False)
        assert answer.status == 202 and answer.json["interval"] >= 1
    assert sso.provider.count("/token") == before
    sso.server.sql("UPDATE auth_oidc_devices SET next_at = NOW(6)")
    assert client.post("/api/v1/oidc/device/poll", {"handle": begun["handle"]}, token=False).status == 202
    assert sso.provider.count("/token") == before + 1
    rows = sso.server.sql("SELECT HEX(sealed) FROM auth_oidc_devices")
    assert rows and all(begun["handle"].encode().hex().upper() not in row[0] for row in rows)
    sso.server.sql("UPDATE auth_oidc_devices SET expires_at = NOW(6)")
    late = client.post("/api/v1/oidc/device/poll", {"handle": begun["handle"]}, token=False)
    assert late.status == 404 and "too late" in late.json["detail"]
    assert client.post("/api/v1/oidc/device/poll", {"handle": "device_none"}, token=False).status == 404
    sso.server.sql("DELETE FROM auth_oidc_devices")
    client.close()


def test_terminals_begin_in_bounds_and_the_provider_is_not_asked(sso):
    sso.server.sql("INSERT INTO auth_oidc_devices SELECT SHA2(seq, 256), '', 5, NOW(6), '127.0.0.1', NOW(6) + INTERVAL 10 MINUTE FROM seq_1_to_50")
    client, before = sso.server.client(), sso.provider.count("/device/auth")
    refused = client.post("/api/v1/oidc/device", token=False)
    assert refused.status == 429 and refused.headers["Retry-After"]
    assert sso.provider.count("/device/auth") == before
    sso.server.sql("DELETE FROM auth_oidc_devices")
    assert client.post("/api/v1/oidc/device", token=False).status == 200 and sso.provider.count("/device/auth") == before + 1
    sso.server.sql("DELETE FROM auth_oidc_devices")
    client.close()


def test_who_does_not_come_again_is_known_no_more(made):
    port = daemon.free_port()
    provider = made.provide(port)
    sso = Sso(made, provider, port, known_days=3)
    client = sso.server.client()
    assert client.op("access.grant_role", {"subject": "user:ana", "role": "viewer"}).status == 201
    begun = client.post("/api/v1/oidc/device", token=False).json
    Browser().walk(begun["verification_uri_complete"], "42", None)

    def poll():
        sso.server.sql("UPDATE auth_oidc_devices SET next_at = NOW(6)")
        answer = client.post("/api/v1/oidc/device/poll", {"handle": begun["handle"]}, token=False)
        return answer.status == 200 and answer.json

    tokens = daemon.wait_until(poll, 20, "nobody came in")
    past = "UPDATE accounts_users SET looked_up_at = NOW(6) - INTERVAL 1 HOUR WHERE name = 'ana'; UPDATE auth_oidc_people SET seen_at = NOW(6) - INTERVAL"
    sso.server.sql(f"{past} 2 DAY")
    again = client.post("/api/v1/accounts/refresh", {"refresh_token": tokens["refresh_token"]}, token=False)
    assert again.status == 200
    sso.server.sql(f"{past} 4 DAY")
    assert client.post("/api/v1/accounts/refresh", {"refresh_token": again.json["refresh_token"]}, token=False).status == 401
    client.close()
    provider.end()
    sso.server.stop()


# ---- Logging out ------------------------------------------------------------------------------------------------------------------------


def logout_token(sso, **changed):
    claims = {"iss": sso.provider.issuer, "aud": "purlin", "iat": int(time.time()), "exp": int(time.time()) + 120, "jti": daemon.unique("jti"), "sub": "49",
              "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, **changed}
    return {name: value for name, value in claims.items() if value is not None}


def tell(sso, token):
    return Browser().open(f"{sso.url}/api/v1/oidc/backchannel-logout", {"logout_token": token})


def test_the_provider_logs_somebody_out(sso):
    browser, _ = sso.come_in("49")
    assert whoami(sso, browser).status == 200
    page = browser.open(f"{sso.url}/api/v1/oidc/logout")
    assert page.status == 303 and page.query == {"client_id": "purlin", "post_logout_redirect_uri": f"{sso.url}/docs"}
    last = browser.walk(page.location, "49", f"{sso.url}/docs", answers={"logout": "yes"})
    assert last.location == f"{sso.url}/docs", last
    daemon.wait_until(lambda: whoami(sso, browser).status == 401, 5, "the session goes on")
    assert whoami(sso, sso.come_in("49", browser)[0]).status == 200  # and in again


def test_logout_tokens_are_judged(sso):
    browser, _ = sso.come_in("49")
    bad = [logout_token(sso, iss="http://127.0.0.1:1"), logout_token(sso, aud="another"), logout_token(sso, exp=int(time.time()) - 600),
           logout_token(sso, nonce="n"), logout_token(sso, events={}), logout_token(sso, events=None), logout_token(sso, jti=None),
           logout_token(sso, sub=None, sid="x"), logout_token(sso, exp=int(time.time()) + 86400),
           logout_token(sso, events={"http://schemas.openid.net/event/backchannel-logout": True})]
    for claims in bad:
        page = tell(sso, sso.provider.control(logout_token=claims))
        assert page.status == 400, claims
    assert tell(sso, sso.provider.control(logout_token=logout_token(sso), header={"typ": "at+jwt"})).status == 400
    good = sso.provider.control(logout_token=logout_token(sso))
    assert tell(sso, good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")).status == 400
    assert Browser().open(f"{sso.url}/api/v1/oidc/backchannel-logout", {"other": good}).status == 400
    assert whoami(sso, browser).status == 200
    assert tell(sso, good).status == 200
    daemon.wait_until(lambda: whoami(sso, browser).status == 401, 5, "the session goes on")
    page = tell(sso, good)
    assert page.status == 400 and "(jti)" in detail(page)
    assert tell(sso, sso.provider.control(logout_token=logout_token(sso, sub="nobody"))).status == 200


def test_a_logout_that_had_no_effect_may_come_again(sso):
    browser, _ = sso.come_in("49")
    token = sso.provider.control(logout_token=logout_token(sso))
    sso.server.sql("RENAME TABLE accounts_sessions TO accounts_sessions_gone")
    assert tell(sso, token).status >= 500
    sso.server.sql("RENAME TABLE accounts_sessions_gone TO accounts_sessions")
    assert tell(sso, token).status == 200
    daemon.wait_until(lambda: whoami(sso, browser).status == 401, 5, "the session goes on")
    assert tell(sso, token).status == 400


# ---- Setting it up ----------------------------------------------------------------------------------------------------------------------


def steps(client):
    return {step["step"]: step for step in client.get("/api/v1/oidc/check").json["steps"]}


def test_check_says_what_works(sso):
    client = sso.server.client()
    found = steps(client)
    assert list(found) == ["redirect URL", "discovery", "authorization endpoint", "token endpoint", "PKCE", "client authentication",
                           "device flow (purlin login --sso)", "logout", "keys"]
    assert all(step["works"] for step in found.values()), found
    assert found["keys"]["detail"].endswith("good for RS256 PS256 ES256 EdDSA")
    assert SECRET not in str(found)
    sso.provider.knobs(discovery={"issuer": "https://elsewhere.example"})
    found = steps(client)
    assert not found["discovery"]["works"] and "https://elsewhere.example" in found["discovery"]["detail"] and "keys" not in found
    sso.provider.knobs(discovery={"token_endpoint": "http://elsewhere.example/token"})
    assert "token_endpoint is not an https:// address" in steps(client)["discovery"]["detail"]
    sso.provider.knobs(discovery={"jwks_uri": sso.provider.issuer + "/nothing"})
    found = steps(client)
    assert found["discovery"]["works"] and not found["keys"]["works"] and "404" in found["keys"]["detail"]
    sso.provider.knobs(down=True)
    assert "503" in steps(client)["discovery"]["detail"]
    client.close()


def test_a_provider_by_another_name_lets_nobody_in(made):
    port = daemon.free_port()
    provider = made.provide(port)
    provider.knobs(discovery={"issuer": provider.issuer + "/"})
    sso = Sso(made, provider, port)
    assert sso.login(Browser()).status == 502
    provider.end()
    sso.server.stop()


def test_without_a_provider_there_is_no_sso(client):
    for method, path in (("GET", "login"), ("GET", "callback"), ("GET", "logout"), ("POST", "device")):
        answer = client.call(method, f"/api/v1/oidc/{path}")
        assert answer.status == 404 and "no issuer" in answer.json["detail"]
    assert [(step["step"], step["works"]) for step in steps(client).values()] == [("configuration", False)]


@pytest.mark.parametrize("settings, why", [
    ({"issuer": "http://sso.example.org"}, "is not an https:// address"),
    ({"client_id": ""}, "client_id"),
    ({"scopes": ["profile"]}, "openid"),
    ({"algorithms": ["HS256"]}, "HS256"),
    ({"algorithms": ["none"]}, "none"),
    ({"redirect_url": "http://purlin.example.org/x"}, "redirect_url"),
    ({"required_claim": "department"}, "required_value"),
])
def test_wrong_settings_say_what_is_wrong(new_daemon, settings, why):
    issuer = settings.pop("issuer", "https://sso.example.org")
    broken = new_daemon(start=False, configuration=configuration(issuer, **settings))
    broken.launch()
    daemon.wait_until(lambda: broken.process.poll() is not None, 30, "it started")
    assert why in broken.log_text() and SECRET not in broken.log_text()
