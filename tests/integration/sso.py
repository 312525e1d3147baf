"""A real OpenID provider (npm's oidc-provider) and a browser that knows cookies and forms, for test_oidc.py."""
import html.parser
import http.cookiejar
import json
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

FOLDER = pathlib.Path(__file__).parent / "oidc"
SECRET = "s3cret & s3cret"  # so that how it is escaped counts


def modules():
    done = subprocess.run([str(FOLDER / "install.sh")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"the provider cannot be installed: {done.stderr}"
    return done.stdout.strip()


class Provider:
    """Its issuer, and what a test makes it do."""

    def __init__(self, clients, people, folder, port=0):
        self.log = open(pathlib.Path(folder) / "provider.log", "w+")
        options = json.dumps({"clients": clients, "people": people})
        self.process = subprocess.Popen(["node", str(FOLDER / "provider.mjs"), modules(), options, str(port)], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        end = time.monotonic() + 30
        while not self.said("ready at (http://[^ ]*)\n"):
            assert self.process.poll() is None and time.monotonic() < end, self.text()
            time.sleep(0.05)
        self.issuer = self.said("ready at (http://[^ ]*)\n")

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def said(self, pattern):
        found = re.search(pattern, self.text())
        return found and found.group(1)

    def control(self, **asked):
        request = urllib.request.Request(self.issuer + "/control", json.dumps(asked).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def knobs(self, **knobs):
        self.control(knobs=knobs)

    def count(self, path):
        with urllib.request.urlopen(self.issuer + "/counts", timeout=10) as answer:
            return json.load(answer).get(path, 0)

    def end(self):
        self.process.kill()
        self.process.wait(10)
        self.log.close()


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, and what it sends without anybody's doing."""

    def __init__(self, text):
        super().__init__()
        self.action, self.fields, self.inside = None, {}, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form" and self.action is None:
            self.action, self.inside = a.get("action"), True
        if tag in ("input", "button") and self.inside and a.get("name"):
            self.fields[a["name"]] = a.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False


class Page:
    def __init__(self, url, answer):
        self.url, self.status, self.headers = url, answer.status, answer.headers
        self.body = answer.read().decode()

    @property
    def location(self):
        where = self.headers.get("Location")
        return where and urllib.parse.urljoin(self.url, where)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def query(self):
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.location).query))

    def __repr__(self):
        return f"<{self.status} {self.url} {self.body[:300]!r}>"


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    def __init__(self):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar), NoRedirects())

    def open(self, url, form=None, headers=None):
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            return Page(url, self.opener.open(urllib.request.Request(url, data, headers or {}), timeout=20))
        except urllib.error.HTTPError as answer:
            return Page(url, answer)

    def walk(self, url, person, stop, answers=None, until=None):
        """Follows redirects and fills in forms as that person until somebody is sent to an address that begins with `stop`, or there is
        nothing more to fill in, or a page says `until`."""
        page = self.open(url)
        for _ in range(20):
            if page.location:
                if stop and page.location.startswith(stop):
                    return page
                page = self.open(page.location)
                continue
            form = Form(page.body)
            if page.status >= 400 or form.action is None or (until and until in page.body):
                return page
            fields = {**form.fields, **{"login": person, "password": "any"}} if "login" in form.fields else form.fields
            page = self.open(urllib.parse.urljoin(page.url, form.action), {**fields, **(answers or {})})
        raise AssertionError(f"goes round in circles: {page}")

    def cookies(self):
        return {cookie.name: cookie for cookie in self.jar}
