"""Sessions of browsers: a cookie that no script reads, that no other site's page can use, and that is worth nothing afterwards.

No browser runs here (Chromium 156 was driven through the same by hand): Browser keeps cookies as RFC 6265bis says and sends what a
browser of today sends by itself (Sec-Fetch-*, Origin) for the page that asks; what such headers cannot say, or old browsers say, the tests
send by hand."""
import base64
import hashlib
import http.client
import json
import re
import ssl
import time
import urllib.parse

import pytest

import daemon
from daemon import Answer, Client, Threads, unique
from test_directories import GOOD, build, with_books
from test_tls import Authority, section

FORM = "application/x-www-form-urlencoded"
PLAIN, SECURE = "purlin-session", "__Host-purlin-session"
CONFIGURATION = 'plugin "accounts" { browser_idle_s = 1000, sessions_per_user = 20 }\n'
SAME = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
NAVIGATES = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


class Browser:
    def __init__(self, port, context=None, host="127.0.0.1"):
        self.host, self.port, self.context, self.cookies = host, port, context, {}
        self.origin = f"{'https' if context else 'http'}://{host}:{port}"
        self.connection = (http.client.HTTPSConnection(host, port, context=context, timeout=30) if context
                           else http.client.HTTPConnection(host, port, timeout=30))

    def keep(self, answer):
        for line in answer.headers.get_all("Set-Cookie") or []:
            pair, *attributes = [part.strip() for part in line.split(";")]
            name, value = pair.split("=", 1)
            has = {part.split("=")[0].lower(): part.partition("=")[2] for part in attributes}
            if "secure" in has and not self.context:
                continue
            if name.startswith("__Host-") and not ("secure" in has and has.get("path") == "/" and "domain" not in has):
                continue
            if has.get("max-age") == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def call(self, method, path, body=None, headers=None, cookies=True):
        sent = dict(headers or {})
        if cookies and self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body, sent)
        got = self.connection.getresponse()
        answer = Answer(got.status, got.headers, got.read())
        self.keep(answer)
        return answer

    def from_page(self, method, path, body=None, **more):
        """A script of our own page."""
        headers = {**SAME, **({"Origin": self.origin} if method not in ("GET", "HEAD") else {}), **more}
        return self.call(method, path, body, headers)

    def submit(self, path, fields=None, **more):
        """A form of our own page."""
        headers = {"Content-Type": FORM, "Origin": self.origin, "Sec-Fetch-Site": "same-origin", **NAVIGATES, **more}
        return self.call("POST", path, urllib.parse.urlencode(fields or {}), headers)

    def log_in(self, name, password=GOOD, **fields):
        return self.submit("/login", {"name": name, "password": password, **fields})

    def whoami(self):
        return self.from_page("POST", "/api/v1/op/access.whoami", {})

    def close(self):
        self.connection.close()


def started(scratch, template, name, **options):
    folder = scratch / name
    folder.mkdir()
    daemon.copy_state(template, folder)
    return daemon.Daemon(folder, **options).start()


@pytest.fixture(scope="module")
def site(scratch, template):
    own = started(scratch, template, "site", configuration=CONFIGURATION, plugins=with_books(scratch / "site-plugins"))
    yield own
    own.stop()
    own.end()


@pytest.fixture
def admin(site):
    made = site.client()
    yield made
    made.close()


@pytest.fixture
def open_browser(site):
    made = []

    def make(**more):
        made.append(Browser(site.port, **more))
        return made[-1]
    yield make
    for one in made:
        one.close()


def new_user(admin, role="editor"):
    name = unique("u")
    assert admin.op("accounts.create_user", {"name": name, "password": GOOD}).status == 201
    assert admin.op("access.grant_role", {"subject": f"user:{name}", "role": role}).status == 201
    return name


@pytest.fixture
def user(admin):
    return new_user(admin)


@pytest.fixture
def browser(open_browser, user):
    made = open_browser()
    assert made.log_in(user).status == 303
    return made


# ---- the page

def test_the_page_runs_nothing_and_is_in_no_frame(open_browser):
    answer = open_browser().call("GET", "/login")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert "script" not in policy and "unsafe" not in policy and "script" not in answer.body.decode()
    assert not re.search(r"(src|href)=\"(?!/)", answer.body.decode())
    assert answer.headers["X-Frame-Options"] == "DENY" and answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    style = re.search(r"<style>(.*)</style>", answer.body.decode()).group(1)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy


def test_login_lasts_until_logout(open_browser, user):
    mine = open_browser()
    answer = mine.log_in(user)
    assert (answer.status, answer.headers["Location"]) == (303, "/docs")
    assert mine.whoami().json["actor"] == f"user:{user}"
    assert f"logged in as <strong>{user}" in mine.call("GET", "/login").body.decode()
    assert mine.from_page("POST", "/api/v1/models", {"name": unique("m")}).status == 201
    answer = mine.submit("/logout")
    assert (answer.status, answer.headers["Location"], mine.cookies) == (303, "/login", {})
    assert mine.from_page("GET", "/api/v1/models").status == 401


def test_a_wrong_password_is_told_on_the_page(open_browser, admin, user):
    mine = open_browser()
    evil = '"><script>alert(1)</script>&'
    for name in (user, unique("no"), evil):
        answer = mine.log_in(name, "wrong")
        text = answer.body.decode()
        assert answer.status == 401 and "The name or the password is wrong." in text and "wrong\"" in text and "<script" not in text
        assert mine.cookies == {}
    assert "&quot;&gt;&lt;script&gt;" in text
    daemon.wait_until(lambda: [e for e in admin.op("audit.list", {"limit": 1000}).json["entries"]
                               if e["operation"] == "accounts.login" and e["outcome"] == "refused" and e.get("object") == user], 5, "no entry")


@pytest.mark.parametrize("target,wanted", [("/docs?a=1#x", "/docs?a=1#x"), ("//evil.example", "/docs"), ("https://evil.example/", "/docs"),
                                           ("/\\evil.example", "/docs"), ("/a\r\nSet-Cookie: x=1", "/docs"), ("javascript:alert(1)", "/docs"),
                                           ("/\t/evil.example", "/docs"), ("", "/docs"), ("/" + "a" * 2000, "/docs"), ("/ä", "/docs")])
def test_where_to_go_on_is_a_place_of_ours(open_browser, user, target, wanted):
    mine = open_browser()
    assert mine.log_in(user, next=target).headers["Location"] == wanted
    mine.cookies.clear()
    page = mine.call("GET", "/login?next=" + urllib.parse.quote(target)).body.decode()
    assert re.search(r'name="next" value="([^"]*)"', page).group(1) == (wanted if target == wanted else "")


@pytest.mark.parametrize("body", [b"name=a&name=b&password=c", b"name=%zz&password=c", b"name=%", b"name=%4", b"name=a%00b&password=c",
                                  b"name=%ff&password=c", b"name=%ed%a0%80&password=x", b"name=" + b"a" * 65 + b"&password=b",
                                  b"name=a&password=" + b"b" * 1025])
def test_broken_forms_are_refused(open_browser, body):
    mine = open_browser()
    headers = {"Content-Type": FORM, "Sec-Fetch-Site": "same-origin"}
    assert mine.call("POST", "/login", body, headers).status == 400
    assert mine.call("POST", "/login", b"x" * 17000, headers).status == 413
    assert mine.call("POST", "/login", b'{"name":"a"}', {**headers, "Content-Type": "application/json"}).status == 415


def test_an_empty_form_is_nobody(open_browser):
    assert open_browser().submit("/login", {}).status == 401


# ---- the cookie

def test_the_cookie_in_the_clear_is_of_this_host_only(open_browser, user):
    line, = open_browser().log_in(user).headers.get_all("Set-Cookie")
    value, *flags = line.split("; ")
    assert re.fullmatch(PLAIN + r"=browser_[0-9a-z]{40}", value) and sorted(flags) == ["HttpOnly", "Path=/", "SameSite=Lax"]


def test_the_database_does_not_have_it(site, browser):
    secret = browser.cookies[PLAIN]
    assert site.sql(f"SELECT COUNT(*) FROM accounts_sessions WHERE cookie = SHA2('{secret}', 256)") == [["1"]]
    assert secret not in json.dumps(site.sql("SELECT * FROM accounts_sessions"))
    assert secret not in site.log_text()


@pytest.fixture(scope="module")
def secure_site(scratch, template):
    authority = Authority(scratch / "browser-authority")
    own = started(scratch, template, "secure-site", configuration=section(*authority.issue("site")))
    own.authority = authority
    yield own
    own.end()


def test_the_cookie_over_tls_is_bound_to_the_host(secure_site):
    context = ssl.create_default_context(cafile=secure_site.authority.certificate)
    mine = Browser(secure_site.port, context, "localhost")
    name = unique("u")
    token = {"Authorization": f"Bearer {secure_site.token}"}
    assert mine.call("POST", "/api/v1/op/accounts.create_user", {"name": name, "password": GOOD}, token).status == 201
    line, = mine.log_in(name).headers.get_all("Set-Cookie")
    value, *flags = line.split("; ")
    assert value.startswith(SECURE + "=browser_") and sorted(flags) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]
    assert mine.whoami().json["actor"] == f"user:{name}"
    secret = mine.cookies.pop(SECURE)
    mine.cookies = {PLAIN: secret}  # which another server on this host, or one in the middle, could have set
    assert mine.whoami().status == 401
    mine.cookies = {SECURE: secret}
    assert mine.submit("/logout").status == 303 and mine.cookies == {}
    mine.close()


def test_elsewhere_in_the_clear_there_is_none(new_daemon):
    own = new_daemon(configuration='server { trusted_proxies = { "127.0.0.1" } }\n')
    admin = own.client()
    name = new_user(admin)
    mine = Browser(own.port)
    client = {"X-Forwarded-For": "192.0.2.7"}
    assert mine.submit("/login", {"name": name, "password": GOOD}, **client).status == 403
    # behind a proxy that says so it is TLS, and so is the origin
    over_tls = {**client, "X-Forwarded-Proto": "https"}
    assert mine.submit("/login", {"name": name, "password": GOOD}, **over_tls).status == 303
    answer = mine.submit("/login", {"name": name, "password": GOOD}, **over_tls)
    secret = re.search(SECURE + "=([^;]*); .*Secure", answer.headers["Set-Cookie"]).group(1)
    cookie = {"Cookie": f"{SECURE}={secret}"}
    own_origin = f"https://127.0.0.1:{own.port}"
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, {**over_tls, **cookie, "Origin": own_origin}).status == 200
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, {**over_tls, **cookie, "Origin": mine.origin}).status == 403
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, {**client, **cookie, **SAME}).status == 401
    # two names at once are two worlds
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, {"Cookie": f"{PLAIN}={secret}", **SAME}).status == 200
    mine.close()
    admin.close()


def test_a_proxy_that_nobody_trusts_is_not_this_host(open_browser, user):
    mine = open_browser()
    for header in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"):
        answer = mine.submit("/login", {"name": user, "password": GOOD}, **{header: "https"})
        assert answer.status == 403 and "trusted_proxies" in answer.json["detail"], header


def test_no_session_is_fixed_beforehand(site, open_browser, admin, user):
    mine = open_browser()
    planted = "browser_" + "a" * 40
    mine.cookies = {PLAIN: planted}
    assert mine.log_in(user).status == 303
    first = mine.cookies[PLAIN]
    assert first != planted and mine.whoami().status == 200
    thief = open_browser()
    thief.cookies = {PLAIN: planted}
    assert thief.whoami().status == 401
    # the cookie of whoever was there before is another's after the login, and worth nothing
    other = new_user(admin)
    assert mine.log_in(other).status == 303 and mine.cookies[PLAIN] != first
    assert mine.whoami().json["actor"] == f"user:{other}"
    thief.cookies = {PLAIN: first}
    daemon.wait_until(lambda: thief.whoami().status == 401, 2, "the session before the login goes on")


def test_a_cookie_that_is_there_twice_is_none(browser):
    secret = browser.cookies[PLAIN]
    for cookie in (f"{PLAIN}={secret}; {PLAIN}={secret}", f"{PLAIN}=x; {PLAIN}={secret}"):
        assert browser.from_page("GET", "/api/v1/models", Cookie=cookie).status == 401
    for cookie in (f"a=b; {PLAIN}={secret}", f"{PLAIN}={secret}; b=c", f"x{PLAIN}=1;{PLAIN}={secret};  ", f"{PLAIN}x=1; {PLAIN}={secret}"):
        assert browser.from_page("GET", "/api/v1/models", Cookie=cookie).status == 200


@pytest.mark.parametrize("value", ["", "x", "browser_", "browser_" + "b" * 40, "browser_" + "c" * 9000, "browser_' OR 1=1 -- ", "ses_x"])
def test_cookies_that_are_none_of_ours_open_nothing(browser, value):
    assert browser.from_page("GET", "/api/v1/models", Cookie=f"{PLAIN}={value}").status == 401


def test_the_header_authorization_goes_first(site, browser, user):
    token = {"Authorization": f"Bearer {site.token}"}
    assert browser.call("POST", "/api/v1/op/access.whoami", {}, token).json["actor"] == "user:admin"  # and needs no more
    assert browser.call("POST", "/api/v1/op/access.whoami", {}, {"Authorization": "Bearer wrong", **SAME}).status == 401
    assert browser.whoami().json["actor"] == f"user:{user}"


def test_what_a_session_sees_is_in_no_cache(browser):
    answer = browser.from_page("GET", "/api/v1/models")
    assert "no-store" in answer.headers["Cache-Control"] and "Cookie" in ", ".join(answer.headers.get_all("Vary"))


# ---- what ends it

def test_what_was_stolen_is_worth_nothing_after_logout(open_browser, browser):
    thief = open_browser()
    thief.cookies = dict(browser.cookies)
    assert thief.whoami().status == 200
    browser.submit("/logout")
    daemon.wait_until(lambda: thief.whoami().status == 401, 1.5, "the cookie goes on")
    assert thief.call("GET", "/login").body.decode().count("logged in as") == 0
    assert thief.submit("/logout").status == 303


def sessions_of(site, name, alive=True):
    return [row[0] for row in site.sql(f"SELECT s.id FROM accounts_sessions s JOIN accounts_users u ON u.id = s.user_id WHERE u.name = '{name}'"
                                       + (" AND s.revoked_at IS NULL AND s.expires_at > NOW(6)" if alive else ""))]


@pytest.mark.parametrize("how", ["revoke", "disable", "password"])
def test_a_session_that_is_taken_away_ends_within_a_second(site, admin, browser, user, how):
    if how == "revoke":
        listed = browser.from_page("GET", "/api/v1/accounts/sessions").json["sessions"]
        assert [one["current"] for one in listed] == [True]
        assert admin.delete(f"/api/v1/accounts/sessions/{listed[0]['id']}").status == 200
    elif how == "disable":
        assert admin.op("accounts.disable_user", {"name": user}).status == 200
    else:
        assert admin.op("accounts.set_password", {"name": user, "password": "another four plain words"}).status == 200
    daemon.wait_until(lambda: browser.whoami().status == 401, 1.5, "the session goes on")


def test_it_ends_when_it_is_not_used_and_at_its_end(site, browser, user):
    mine, = sessions_of(site, user)
    row = site.sql(f"SELECT TIMESTAMPDIFF(SECOND, NOW(6), expires_at), TIMESTAMPDIFF(SECOND, NOW(6), ends_at) FROM accounts_sessions WHERE id = '{mine}'")
    assert 900 < int(row[0][0]) <= 1000 and 604000 < int(row[0][1]) <= 604800
    # used after a while: it lives on ...
    site.sql(f"UPDATE accounts_sessions SET refreshed_at = NOW(6) - INTERVAL 100 SECOND, expires_at = NOW(6) + INTERVAL 10 SECOND WHERE id = '{mine}'")
    time.sleep(1)
    assert browser.whoami().status == 200
    left = int(site.sql(f"SELECT TIMESTAMPDIFF(SECOND, NOW(6), expires_at) FROM accounts_sessions WHERE id = '{mine}'")[0][0])
    assert 900 < left <= 1000
    # ... but not beyond its end
    site.sql(f"UPDATE accounts_sessions SET refreshed_at = NOW(6) - INTERVAL 100 SECOND, ends_at = NOW(6) + INTERVAL 3 SECOND WHERE id = '{mine}'")
    daemon.wait_until(lambda: browser.whoami().status == 401, 6, "it outlived its end")
    site.sql(f"UPDATE accounts_sessions SET ends_at = NOW(6) + INTERVAL 1 DAY, expires_at = NOW(6) - INTERVAL 1 SECOND WHERE id = '{mine}'")
    assert browser.whoami().status == 401


def test_a_user_has_twenty_browsers_and_twenty_programs(site, admin, open_browser, user):
    nobody = Client(site.port, None)
    browsers, tokens = [], []
    for i in range(22):
        mine = open_browser()
        assert mine.log_in(user).status == 303
        browsers.append(mine)
        tokens.append(nobody.post("/api/v1/accounts/login", {"name": user, "password": GOOD}).json["refresh_token"])
    assert len(sessions_of(site, user)) == 40
    daemon.wait_until(lambda: browsers[1].whoami().status == 401, 2, "the oldest goes on")
    assert [one.whoami().status for one in browsers[2:]] == [200] * 20
    refreshed = [nobody.post("/api/v1/accounts/refresh", {"refresh_token": token}).status for token in tokens]
    assert refreshed == [401] * 2 + [200] * 20
    nobody.close()


def test_the_limit_holds_for_logins_at_once(site, admin, user):
    def come():
        for _ in range(4):
            mine = Browser(site.port)
            assert mine.log_in(user).status == 303
            mine.close()
    Threads(*[come] * 6).join()
    assert len(sessions_of(site, user)) == 20 and len(sessions_of(site, user, alive=False)) == 24


# ---- who asks: every method, what a browser says of itself, and what the body is

SITES = {"same-origin": True, "same-site": False, "cross-site": False, "none": False, "SAME-ORIGIN": False, "": False}
TYPES = ["application/json", "text/plain", FORM, "multipart/form-data; boundary=x", None]


def origins(own):
    return {own: True, "https://evil.example": False, "null": False, own.replace("http:", "https:"): False, own + ".evil.example": False,
            own.rsplit(":", 1)[0]: False, own + "/": False, own.replace("127.0.0.1", "localhost"): False, "": False}


@pytest.mark.parametrize("method,path", [("POST", "/api/v1/op/access.whoami"), ("POST", "/api/v1/models"), ("PUT", "/api/v1/accounts/me/name"),
                                         ("DELETE", "/api/v1/models/none/aliases/none"),
                                         ("POST", "/api/v1/datasets/x/versions")])
def test_only_our_own_page_changes_anything(browser, method, path):
    """403 from the gate, before the body is looked at; anything else is the operation's own."""
    def refused(headers, kind=None):
        answer = browser.call(method, path, b"{}", {**headers, **({"Content-Type": kind} if kind else {})})
        return answer.status == 403 and "another origin" in answer.json["detail"]
    for kind in TYPES:
        for site, may in SITES.items():
            for origin in [None, browser.origin, "https://evil.example"]:
                headers = {"Sec-Fetch-Site": site, **({"Origin": origin} if origin else {})}
                assert refused(headers, kind) is not may, (headers, kind)
        assert refused({}, kind), kind
    for origin, may in origins(browser.origin).items():
        assert refused({"Origin": origin}) is not may, origin
        assert refused({"Origin": origin, "Purlin-Csrf": "1"}) is not may, origin  # what says where it comes from is believed
    assert not refused({"Purlin-Csrf": "1"}) and refused({"Purlin-Csrf": "0"}) and refused({"X-Requested-With": "XMLHttpRequest"})
    assert refused({"Referer": browser.origin + "/docs"})  # which many leave out, and which says less


def test_without_a_session_other_origins_are_as_everybody(open_browser, site):
    mine = open_browser()
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, evil).status == 401
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, {**evil, "Cookie": "other=1"}).status == 401
    assert mine.call("POST", "/api/v1/op/access.whoami", {}, {**evil, "Authorization": f"Bearer {site.token}"}).status == 200


@pytest.mark.parametrize("headers,status", [
    ({}, 200), (SAME, 200), ({"Sec-Fetch-Site": "none", **NAVIGATES}, 200),
    ({"Sec-Fetch-Site": "cross-site", **NAVIGATES}, 200), ({"Sec-Fetch-Site": "same-site", **NAVIGATES}, 200),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 401),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 401),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 401),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 401),
    ({"Origin": "https://evil.example"}, 401), ({"Origin": "null"}, 401)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_pages_see_nothing(browser, method, headers, status):
    assert browser.call(method, "/api/v1/models", headers=headers).status == status


def test_events_are_for_our_own_pages(site, browser):
    def opens(headers):
        browser.connection.close()
        browser.connection.request("GET", "/api/v1/events", headers={"Cookie": f"{PLAIN}={browser.cookies[PLAIN]}", **headers})
        answer = browser.connection.getresponse()
        browser.connection.close()
        return answer.status
    assert opens(SAME) == 200
    for site_of in ("same-site", "cross-site"):
        assert opens({"Sec-Fetch-Site": site_of, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": "https://evil.example"}) == 401
    assert opens({"Origin": "https://evil.example"}) == 401
    # no socket of ours speaks WebSocket, which a page may open to anywhere
    assert opens({**SAME, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}) != 101


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
                                     {"Origin": "https://evil.example"}, {"Origin": "null"}, {}])
def test_no_other_page_logs_anybody_in_or_out(open_browser, browser, user, headers):
    victim = open_browser()
    sent = {"Content-Type": FORM, **headers}
    answer = victim.call("POST", "/login", urllib.parse.urlencode({"name": user, "password": GOOD}), sent)
    assert answer.status == 403 and "Set-Cookie" not in answer.headers
    answer = browser.call("POST", "/logout", b"", sent)
    assert answer.status == 403 and "Set-Cookie" not in answer.headers and browser.whoami().status == 200


def test_cors_opens_no_hole(new_daemon):
    friend = "https://app.example.org"
    for credentials in (False, True):
        own = new_daemon(configuration=f'cors {{ origins = {{ "{friend}" }}, credentials = {str(credentials).lower()} }}\n')
        admin = own.client()
        name = new_user(admin)
        mine = Browser(own.port)
        assert mine.log_in(name).status == 303
        asks = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": friend}
        # it reads with the session only where that was granted, and changes nothing even then
        assert mine.call("GET", "/api/v1/models", headers=asks).status == (200 if credentials else 401)
        assert mine.call("GET", "/api/v1/models", headers={**asks, "Origin": "https://evil.example"}).status == 401
        assert mine.call("POST", "/api/v1/models", {"name": "m"}, asks).status == 403
        assert mine.call("POST", "/api/v1/models", {"name": "m"}, {"Origin": friend}).status == 403
        preflight = mine.call("OPTIONS", "/api/v1/models", headers={"Origin": friend, "Access-Control-Request-Method": "POST",
                                                                   "Access-Control-Request-Headers": "purlin-csrf"}, cookies=False)
        assert "purlin-csrf" not in preflight.headers["Access-Control-Allow-Headers"].lower()
        mine.close()
        admin.close()
        own.end()


def test_what_changes_something_is_not_bound_to_get(new_daemon, tmp_path):
    source = tmp_path / "getter.c"
    source.write_text("""#include <purlin/purlin.h>
        PURLIN_PLUGIN("getter", "0.1.0", .summary = "Changes by GET", .license = "Apache-2.0");
        PURLIN_OPERATION(wipe, purlin_nothing, purlin_nothing, .summary = "Wipe all", .permission = "models:write",
            .effect = PURLIN_CHANGES, .http = "GET /wipe") { return PURLIN_OK; }""")
    build(source, tmp_path / "getter.so")
    own = new_daemon(start=False, plugins=tmp_path)
    own.launch()
    assert own.process.wait(30) != 0
    assert "'wipe' changes something and is bound to GET" in own.log_text()


# ---- other plugins begin sessions

def test_single_sign_on_begins_a_session_in_the_browser(site, admin, open_browser):
    of = {"id": unique("id"), "name": unique("p"), "password": GOOD, "groups": ["group:g"]}
    assert admin.op("phonebook.put", of).status == 200
    mine = open_browser()
    page = mine.call("GET", "/login?next=/docs").body.decode()
    assert '<a href="/phonebook/enter?next=/docs">Log in with &lt;the phonebook&gt;</a>' in page
    mine.cookies = {PLAIN: "browser_" + "a" * 40}
    answer = mine.call("GET", f"/phonebook/enter?id={of['id']}", headers={"Sec-Fetch-Site": "cross-site", **NAVIGATES})
    assert answer.status == 200 and mine.whoami().json["actor"] == f"user:{of['name']}"
    assert mine.cookies[PLAIN] != "browser_" + "a" * 40
    assert mine.call("POST", f"/phonebook/leave?id={of['id']}", b"", SAME).status == 200
    daemon.wait_until(lambda: mine.whoami().status == 401, 1.5, "the session goes on")
    far = mine.call("GET", f"/phonebook/enter?id={of['id']}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert far.status == 403 and "Set-Cookie" not in far.headers


def test_a_browser_is_asked_about_at_its_directory(new_daemon, scratch):
    own = new_daemon(configuration='plugin "accounts" { directory_check_s = 1, directory_grace_s = 2 }\n', plugins=scratch / "site-plugins")
    admin = own.client()
    of = {"id": unique("id"), "name": unique("p"), "password": GOOD}
    admin.op("phonebook.put", of)
    mine, other = Browser(own.port), Browser(own.port)
    for one in (mine, other):
        assert one.log_in(of["name"]).status == 303
    admin.op("phonebook.set", {"away": True})
    time.sleep(1.5)
    assert mine.whoami().status == 200
    admin.op("phonebook.set", {})
    admin.op("phonebook.put", {"id": of["id"]})
    daemon.wait_until(lambda: mine.whoami().status == 401, 5, "who is gone there goes on")
    assert other.whoami().status == 401
    for one in (mine, other, admin):
        one.close()
