"""People of a directory: a real slapd with TLS, and the plugin auth-ldap, first by its contract alone."""
import base64
import json
import os
import socket
import subprocess
import threading
import time

import pytest

import daemon
from daemon import PLUGINS, ROOT, Threads, wait_until
from slapd import BASE, GROUPS, PEOPLE, SEARCHER, SEARCHER_PASSWORD, Slapd
from test_accounts import whoami
from test_login import run
from test_tls import Authority


@pytest.fixture(scope="module")
def authority(scratch):
    return Authority(scratch / "ldap-authority")


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("slapd")


@pytest.fixture(scope="module")
def directory(scratch, authority, pair):
    """The slapd that tests share. What a test changes in it, only that test looks at."""
    made = Slapd(scratch / "slapd", authority.certificate, pair).start()
    try:
        yield made.fill()
        made.stop()
    finally:
        made.end()


@pytest.fixture
def new_directory(scratch, authority, pair, tmp_path):
    """A function that makes directories of this test's own."""
    made = []

    def make(name, pair=pair):
        made.append(Slapd(tmp_path / name, authority.certificate, pair))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="module")
def plugins(scratch):
    """All plugins, and one that asks directories."""
    folder = scratch / "with-asker"
    folder.mkdir()
    for plugin in PLUGINS.glob("*.so"):
        (folder / plugin.name).symlink_to(plugin)
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{ROOT / 'sdk' / 'include'}",
                    str(ROOT / "tests" / "integration" / "plugins" / "asker.c"), "-o", str(folder / "asker.so")], check=True)
    return folder


def lua(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {lua(one)}" for name, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(map(lua, value)) + " }"
    return json.dumps(value, ensure_ascii=False)


def settings(authority, *urls, **more):
    members = {"urls": list(urls), "ca_file": str(authority.certificate), "base": PEOPLE, "bind_dn": SEARCHER, "bind_password": SEARCHER_PASSWORD,
               "group_base": GROUPS, "nested": "walk", **more}
    return f'plugin "auth-ldap" {lua({name: value for name, value in members.items() if value is not None})}\n'


class Asker:
    """What the directory says, by the contract."""

    def __init__(self, server):
        self.server = server

    @property
    def client(self):
        """Anew each time: a connection that waits for long is closed."""
        return self.server.client()

    def check(self, name, password=None, client=None):
        password = f"{name}'s password" if password is None else password
        answer = (client or self.client).op("asker.check", {"directory": "ldap", "name": name, "password": password})
        assert answer.status == 200, answer
        return answer.json

    def cpu_s(self):
        """What the daemon has used of a processor."""
        fields = open(f"/proc/{self.server.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def look_up(self, id):
        return self.client.op("asker.look_up", {"directory": "ldap", "id": id}).json

    def test(self, name=None):
        answer = self.client.op("auth-ldap.test", {} if name is None else {"name": name})
        assert answer.status == 200, answer
        return answer.json

    def steps(self, name=None):
        """The steps, each as (step, fine), and the last detail."""
        told = self.test(name)
        return [(one["step"], one["fine"]) for one in told["steps"]], told["steps"][-1]["detail"]


@pytest.fixture
def asker(new_daemon, plugins, authority):
    def make(*urls, **more):
        return Asker(new_daemon(configuration=settings(authority, *urls, **more), plugins=plugins))
    return make


@pytest.fixture(scope="module")
def shared(scratch, template, plugins, authority, directory):
    """The asker that tests share; by ldaps."""
    folder = scratch / "asks"
    folder.mkdir()
    daemon.copy_state(template, folder)
    one = daemon.Daemon(folder, configuration=settings(authority, directory.secure), plugins=plugins)
    try:
        yield Asker(one.start())
        one.stop()
    finally:
        one.end()


# ---- Who somebody is ---------------------------------------------------------------------------------------------------------------------


def test_a_password_that_is_right_tells_who_it_is(shared):
    ana = shared.check("ana")
    assert (ana["outcome"], ana["name"], ana["display_name"], ana["email"]) == ("ok", "ana", "Ana Größe", "ana@example.org")
    assert len(ana["id"]) == 36 and not ana["email_verified"]
    assert sorted(ana["groups"]) == ["group:loop", "group:ml", "group:research", "group:staff"]  # and none of "Data Science"
    assert shared.look_up(ana["id"]) == ana
    assert shared.check("ANA", "ana's password")["name"] == "ana" == shared.check("ana")["name"]
    assert shared.check("eve", "Eve's password")["name"] == "eve"
    assert shared.check("bo")["email"] == "" == shared.check("mailless")["email"]


def test_a_wrong_password_is_none(shared):
    for password in ("", " ", "ana", "ana's password ", "ANA'S PASSWORD", "\u0001", "x" * 1000):
        assert shared.check("ana", password)["outcome"] == "not authenticated", password
    assert shared.check("nobody-here")["outcome"] == "not found"


@pytest.mark.parametrize("name", ["*", "a*", "*)(uid=*", "ana)(|(uid=*", "ana)(objectClass=*)", "ana\\00", "\\61na", "an\\61", ")", "(", "&", "|", "\\",
                                  "ana,ou=people", "ü", "x" * 250, "x" * 5000, " ", "", "\t", "ana\n", "cn=ana"])
def test_a_name_is_only_a_name(shared, name):
    """None of these is anybody, and none breaks the question."""
    assert shared.check(name, "ana's password")["outcome"] == "not found", name


def test_a_name_with_the_signs_of_filters_is_found_as_it_is(shared):
    steps, detail = shared.steps("o*neil(x)")
    assert steps[-1] == ("person", False) and "is no login name" in detail  # found, and no user can be called so
    assert shared.check("o*neil(x)")["outcome"] == "not authenticated"
    assert shared.check("not a name")["outcome"] == "not authenticated"


def test_who_cannot_be_told_from_others_is_refused(shared):
    assert shared.check("twin")["outcome"] == "not authenticated"
    assert shared.check("both")["outcome"] == "not authenticated"
    assert "more than one entry" in shared.steps("twin")[1] and "2 values of 'uid'" in shared.steps("both")[1]
    assert shared.check("outside")["outcome"] == "not found"


@pytest.mark.parametrize("name", ["disabled", "expired", "locked"])
def test_an_account_that_is_disabled_is_shut_out(shared, name):
    assert shared.check(name)["outcome"] == "not authenticated"
    steps, detail = shared.steps(name)
    assert steps[-1] == ("let in", False) and "account" in detail
    assert shared.check("normal")["outcome"] == "ok"


def test_an_account_that_an_administrator_locks_is_shut_out(shared, directory):
    shut = shared.check("shut")
    assert shut["outcome"] == "ok" == shared.look_up(shut["id"])["outcome"]
    directory.modify(f"cn=shut,{PEOPLE}", "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z")
    assert shared.check("shut")["outcome"] == "not authenticated" and shared.look_up(shut["id"])["outcome"] == "not found"


def test_ids_that_are_nobodys(shared):
    for id in ("6216cf9a-79df-1041-8142-000000000000", "*", "", "x" * 251, "6216cf9a)(uid=*", "\u0000"[:0] + "\\2a"):
        assert shared.look_up(id)["outcome"] in ("not found", "unavailable"), id
    assert shared.look_up("6216cf9a-79df-1041-8142-000000000000")["outcome"] == "not found"


# ---- Groups ------------------------------------------------------------------------------------------------------------------------------


def test_a_group_that_has_two_names_is_called_by_its_own(shared):
    assert sorted(shared.check("bo")["groups"]) == ["group:sly", "group:staff"]  # not owners; and admins are elsewhere


def test_groups_are_taken_as_they_are_now(shared, directory):
    id = shared.check("cy")["id"]
    assert shared.look_up(id)["groups"] == []
    directory.modify(f"cn=staff,{GROUPS}", f"add: member\nmember: cn=cy,{PEOPLE}")
    assert shared.look_up(id)["groups"] == ["group:staff"]
    directory.modify(f"cn=staff,{GROUPS}", f"delete: member\nmember: cn=cy,{PEOPLE}")
    assert shared.look_up(id)["groups"] == []


def test_groups_are_called_as_configured(asker, directory):
    one = asker(directory.secure, nested="no", groups=[{"dn": f"CN=ML, OU=groups, {BASE}", "name": "research"},
                                                       {"dn": f"cn=Data Science,{GROUPS}", "name": "Science"}])
    assert sorted(one.check("ana")["groups"]) == ["group:Science", "group:research"] and one.check("bo")["groups"] == []


def test_only_members_are_let_in_where_it_is_required(asker, directory):
    one = asker(directory.secure, group_filter="", member_of_attribute="memberOf", nested="no", required_group=f"cn=ml,{GROUPS}")
    ana, bo = one.check("ana"), one.check("bo")
    assert sorted(ana["groups"]) == ["group:ml", "group:staff"] and bo["outcome"] == "not authenticated"
    assert f"is not in cn=ml,{GROUPS}" in one.steps("bo")[1]


def test_a_directory_that_is_like_active_directory(asker, directory):
    """Binary ids, and whoever logs in searches for themselves."""
    one = asker(directory.secure, bind_dn=None, bind_password=None, bind_template=f"cn={{name}},{PEOPLE}", id_attribute="objectGUID")
    assert one.check("cy")["id"] == "efbeadde-0201-0403-0506-0708090a0b0c"
    assert one.check("cy", "bo's password")["outcome"] == "not authenticated" == one.check("cy", "")["outcome"]
    assert one.check("bo")["outcome"] == "not authenticated"  # has no objectGUID
    assert one.check(f"cy,{PEOPLE}", "cy's password")["outcome"] == "not authenticated"
    bound = asker(directory.secure, id_attribute="objectGUID")
    assert bound.look_up("efbeadde-0201-0403-0506-0708090a0b0c")["name"] == "cy"
    assert bound.look_up("efbeadde-0201-0403-0506-0708090a0b0d")["outcome"] == "not found"


# ---- The way there -------------------------------------------------------------------------------------------------------------------------


def test_each_step_is_told(shared, directory):
    told = shared.test("ana")
    assert all(one["fine"] for one in told["steps"])
    assert [one["step"] for one in told["steps"]] == ["connect", "tls", "bind", "search", "search", "person", "groups", "here", "let in"]
    assert sorted(told["steps"][7]["detail"].split("; ")) == ["group:loop", "group:ml", "group:research", "group:staff"]
    assert {one["server"] for one in told["steps"]} == {directory.secure} and told["steps"][1]["detail"].startswith("TLS")
    assert f"cn=Data Science,{GROUPS}" in told["steps"][6]["detail"] and SEARCHER_PASSWORD not in json.dumps(told)
    assert shared.steps("nobody-here")[0][-1] == ("search", False)


def test_it_is_for_administrators(shared):
    other = shared.server.client(token=shared.server.token_for("default", ["models:read"]))
    assert other.op("auth-ldap.test").status == 403
    assert shared.server.client(token=False).op("auth-ldap.test", token=False).status == 401


def test_without_configuration_there_is_no_directory(client):
    told = client.op("auth-ldap.test").json
    assert [(one["step"], one["fine"]) for one in told["steps"]] == [("configuration", False)]


def test_start_tls(asker, directory):
    one = asker(directory.clear)
    assert one.check("ana")["outcome"] == "ok"
    assert [step for step, fine in one.steps()[0] if fine] == ["connect", "tls", "bind", "search"]
    assert one.test()["steps"][1]["detail"].startswith("TLS")


def test_without_tls_only_when_told_so(asker, directory):
    one = asker(directory.clear, start_tls=False)
    assert one.check("ana")["outcome"] == "ok"
    assert any("in the clear" in record["message"] for record in one.server.records("warning")) or "in the clear" in one.server.log_text()


def test_only_where_the_server_may_call(new_daemon, plugins, authority, directory):
    inside = settings(authority, directory.secure)
    one = Asker(new_daemon(configuration=f"outbound {{ allow = {{}} }}\n{inside}", plugins=plugins))
    assert one.check("ana")["outcome"] == "unavailable"
    assert one.steps()[0] == [("connect", False)] and "outbound { allow" in one.steps()[1]
    granted = f'outbound {{ allow = {{ "127.0.0.1:{directory.secure_port}" }} }}\n{inside}'
    assert Asker(new_daemon(configuration=granted, plugins=plugins)).check("ana")["outcome"] == "ok"


class Stripper:
    """In the middle: answers StartTLS as a server without it, and passes everything else on. Keeps what clients sent."""

    def __init__(self, port):
        self.port, self.seen = port, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ldap://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.to_server, args=(client, server), daemon=True).start()
            threading.Thread(target=self.to_client, args=(server, client), daemon=True).start()

    def to_server(self, client, server):
        while data := client.recv(65536):
            self.seen += data
            if b"1.3.6.1.4.1.1466.20037" in data:  # message 1: protocolError
                client.sendall(bytes.fromhex("300c02010178070a010204000400"))
            else:
                server.sendall(data)
        server.close()

    def to_client(self, server, client):
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass


def test_start_tls_that_is_stripped_ends_it(asker, directory):
    middle = Stripper(directory.port)
    one = asker(middle.url)
    assert one.check("ana")["outcome"] == "unavailable"
    assert one.steps()[0] == [("connect", True), ("tls", False)] and "StartTLS is refused" in one.steps()[1]
    assert b"1.3.6.1.4.1.1466.20037" in middle.seen and SEARCHER_PASSWORD.encode() not in middle.seen and b"ana" not in middle.seen
    middle.listener.close()


def test_certificates_that_are_not_to_be_believed(asker, authority, new_directory, tmp_path):
    stranger = Authority(tmp_path / "stranger", "Stranger")
    pairs = {"stranger": stranger.issue("s"), "name": authority.issue("elsewhere", "/CN=elsewhere", "DNS:elsewhere.example.org"),
             "expired": authority.issue("old", begins="20200101000000Z", ends="20210101000000Z")}
    for what, pair in pairs.items():
        bad = new_directory(what, pair).start()
        one = asker(bad.secure, bad.clear)
        assert one.check("ana")["outcome"] == "unavailable", what
        steps = one.steps()[0]
        assert steps == [("connect", False), ("connect", True), ("tls", False)], what
        assert all("certificate" in step["detail"].lower() or "hostname" in step["detail"].lower() or "TLS fails" in step["detail"]
                   for step in one.test()["steps"] if not step["fine"]), one.test()
        bad.stop()
        one.server.stop()


def test_a_wrong_password_of_the_searcher_is_no_fault_of_people(asker, directory):
    one = asker(directory.secure, bind_password="wrong")
    assert one.check("ana")["outcome"] == "unavailable"
    assert one.steps()[0][-1] == ("bind", False) and "as bind_dn" in one.steps()[1]
    assert "wrong" not in one.server.log_text()


@pytest.mark.parametrize("wrong, why", [({"required_group": "ml"}, "'ml' is no distinguished name"), ({"user_filter": "(uid=ana)"}, "user_filter")])
def test_a_wrong_configuration_is_told_at_start(new_daemon, authority, wrong, why):
    one = new_daemon(start=False, configuration=settings(authority, "ldaps://127.0.0.1", **wrong))
    one.launch()
    assert one.process.wait(30) != 0 and why in one.log_text(), one.log_text()[-2000:]


# ---- Away and back ---------------------------------------------------------------------------------------------------------------------------


def test_a_directory_that_was_away_is_asked_again(asker, new_directory):
    own = new_directory("own").start().fill()
    one = asker(own.secure)
    ana = one.check("ana")
    assert ana["outcome"] == "ok"
    own.stop()
    assert one.check("ana")["outcome"] == "unavailable" == one.look_up(ana["id"])["outcome"]
    begun = time.monotonic()
    for _ in range(50):
        assert one.check("ana")["outcome"] == "unavailable"
    assert time.monotonic() - begun < 2
    own.start()
    wait_until(lambda: one.check("ana") == ana, 15, "it is never asked again")
    own.stop()
    own.start()
    assert one.check("ana") == ana  # a connection that was closed meanwhile is nobody's fault


def test_the_second_server_is_asked_when_the_first_is_away(asker, directory, new_directory):
    first = new_directory("first").start().fill()
    one = asker(first.secure, directory.secure, connect_timeout_ms=500, timeout_ms=500)
    assert one.check("bo")["outcome"] == "ok"
    first.pause()  # it takes connections, and says nothing
    begun = time.monotonic()
    assert one.check("bo")["outcome"] == "ok" and time.monotonic() - begun < 3
    begun = time.monotonic()
    assert one.check("bo")["outcome"] == "ok" and time.monotonic() - begun < 1
    steps = one.steps()[0]
    assert "Timed out" in one.test()["steps"][0]["detail"] and steps[0] == ("connect", False) and steps[1:] == [("connect", True), ("tls", True), ("bind", True), ("search", True)]
    first.end()
    assert one.check("bo")["outcome"] == "ok"


class Mute:
    """Takes connections, and says nothing, or begins an answer that never ends."""

    def __init__(self, says=b""):
        self.listener, self.says, self.held = socket.create_server(("127.0.0.1", 0), backlog=100), says, []
        self.url = f"ldap://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.held.append(self.listener.accept()[0])
                if self.says:
                    self.held[-1].recv(1000)
                    self.held[-1].sendall(self.says)
            except OSError:
                return


SAID = [b"", b"\x30\x84\x00\x00", bytes.fromhex("308400ffffff02010178"), bytes.fromhex("30847fffffff020101"), b"HTTP/1.1 400 No\r\n\r\n", b"\x16\x03\x03\x40\x00"]


@pytest.mark.parametrize("scheme, start_tls", [("ldap", True), ("ldap", False), ("ldaps", True)])
def test_directories_that_do_not_answer_hold_nobody_for_long(asker, scheme, start_tls):
    mutes = [Mute(says) for says in SAID]
    one = asker(*[mute.url.replace("ldap", scheme) for mute in mutes], start_tls=start_tls, connect_timeout_ms=300, timeout_ms=300)
    begun = time.monotonic()
    clients = [one.server.client() for _ in range(30)]
    Threads(*[lambda c=c: one.check("ana", client=c) for c in clients]).join(20)
    assert time.monotonic() - begun < 4  # four at once, and then they are left alone
    begun = time.monotonic()
    assert one.check("ana")["outcome"] == "unavailable" and one.client.get("/healthz").status == 200
    assert time.monotonic() - begun < 2
    begun, used = time.monotonic(), one.cpu_s()
    steps = one.steps()[0]
    assert [step for step, fine in steps if not fine] == [{"ldaps": "connect"}.get(scheme, "tls" if start_tls else "bind")] * len(SAID)
    assert time.monotonic() - begun < 4 and one.cpu_s() - used < 0.5  # it waits, and does not turn in circles
    for mute in mutes:
        mute.listener.close()


def test_two_hundred_at_once(shared):
    names = ["ana", "bo", "cy", "normal"]
    clients = [shared.server.client(timeout=60) for _ in range(200)]
    outcomes = []

    def log_in(number, client):
        name = names[number % 4]
        right = number % 5 > 0
        told = shared.check(name, f"{name}'s password" if right else "wrong", client)
        outcomes.append((told["outcome"], told["name"]) == (("ok", name) if right else ("not authenticated", "")))

    Threads(*[lambda n=n, c=c: log_in(n, c) for n, c in enumerate(clients)]).join(60)
    assert len(outcomes) == 200 and all(outcomes)
    for one in clients:
        one.close()
    text = shared.server.client().get("/metrics").body.decode()
    assert 'purlin_auth_ldap_calls_total{call="check",outcome="ok"}' in text and "purlin_auth_ldap_call_seconds_count" in text


# ---- Through the whole server ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(scratch, template, authority, pair):
    """A server and a directory of its own, whose word is good for a second."""
    folder = scratch / "whole"
    folder.mkdir()
    daemon.copy_state(template, folder)
    own = Slapd(folder / "slapd", authority.certificate, pair).start().fill()
    one = daemon.Daemon(folder, configuration=settings(authority, own.secure) + 'plugin "accounts" { directory_check_s = 1, directory_grace_s = 60 }\n')
    try:
        yield one.start(), own
        one.stop()
    finally:
        one.end()
        own.end()


def log_in(server, name, password=None):
    body = {"name": name, "password": f"{name}'s password" if password is None else password}
    return server.client(token=None).post("/api/v1/accounts/login", body, token=False)


def basic(server, name, password):
    shown = base64.b64encode(f"{name}:{password}".encode()).decode()
    return server.client(token=None).get("/api/v1/access/whoami", headers={"Authorization": f"Basic {shown}", "Purlin-Workspace": "default"})


def test_people_of_the_directory_log_in(whole, tmp_path):
    server, _ = whole
    answer = log_in(server, "ana")
    assert answer.status == 200, answer
    assert whoami(server.client(), answer.json["access_token"]).json["actor"] == "user:ana"
    made = server.client().get("/api/v1/accounts/users/ana").json
    assert (made["directory"], made["display_name"], made["email"]) == ("ldap", "Ana Größe", "ana@example.org")
    assert basic(server, "bo", "bo's password").json["actor"] == "user:bo" and basic(server, "bo", "wrong").status == 401
    assert run(server, tmp_path, "login", "bo", stdin="bo's password\n")[0] == 0
    code, out, _ = run(server, tmp_path, "--json", "access", "whoami")
    assert code == 0 and json.loads(out)["actor"] == "user:bo"
    code, out, _ = run(server, tmp_path, "auth-ldap", "test")
    assert code != 0 and "steps" not in out  # bo is no administrator
    assert "ana's password" not in server.log_text() and SEARCHER_PASSWORD not in server.log_text()


@pytest.mark.parametrize("name, password", [("ana", "wrong"), ("ana", " "), ("*", "ana's password"), ("*)(uid=*", "ana's password"), ("an\\61", "ana's password"),
                                            ("ana\x00", "ana's password"), ("locked", None), ("disabled", None), ("expired", None), ("twin", None), ("nobody-here", "x")])
def test_others_do_not(whole, name, password):
    answer = log_in(whole[0], name, password)
    assert answer.status in (400, 401) and (answer.status == 401 or "\x00" in name), answer


def test_roles_are_granted_to_groups(whole):
    server, own = whole
    admin = server.client()
    assert admin.op("access.grant_role", {"subject": "group:research", "role": "viewer"}).status == 201
    assert server.client(token=log_in(server, "bo").json["access_token"]).get("/api/v1/models").status == 403
    ana = log_in(server, "ana").json["access_token"]
    assert server.client(token=ana).get("/api/v1/models").status == 200  # ml, which is in research
    own.modify(f"cn=Research,{GROUPS}", f"delete: member\nmember: cn=ml,{GROUPS}")
    refreshed = log_in(server, "ana").json["access_token"]
    wait_until(lambda: server.client(token=refreshed).get("/api/v1/models").status == 403, 5, "a group that is gone still counts")
    own.modify(f"cn=Research,{GROUPS}", f"add: member\nmember: cn=ml,{GROUPS}")


def test_a_key_loses_what_its_owners_group_loses(whole):
    server, own = whole
    admin = server.client()
    assert admin.op("access.grant_role", {"subject": "group:staff", "role": "editor"}).status == 201
    token = log_in(server, "bo").json["access_token"]
    wait_until(lambda: server.client(token=token).get("/api/v1/models").status == 200, 5, "the grant does not count")
    key = server.client(token=token).op("access.create_key", {"name": "k", "permissions": ["models:read"]})
    assert key.status == 201, key
    works = lambda: server.client(token=key.json["secret"]).get("/api/v1/models").status  # noqa: E731
    assert works() == 200
    own.modify(f"cn=staff,{GROUPS}", f"delete: member\nmember: cn=bo,{PEOPLE}")
    wait_until(lambda: works() == 403, 8, "the key still has the group")


def test_who_is_locked_there_is_out_here(whole):
    server, own = whole
    shut = log_in(server, "shut").json
    assert whoami(server.client(), shut["access_token"]).status == 200
    own.modify(f"cn=shut,{PEOPLE}", "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z")
    time.sleep(2.1)  # the directory's word is good for a second, counted in whole ones
    refresh = server.client(token=None).post("/api/v1/accounts/refresh", {"refresh_token": shut["refresh_token"]}, token=False)
    assert refresh.status == 401 and log_in(server, "shut").status == 401
    wait_until(lambda: whoami(server.client(), shut["access_token"]).status == 401, 5, "the session goes on")


def test_sessions_go_on_while_the_directory_is_away(whole):
    server, own = whole
    session = log_in(server, "normal").json
    own.stop()
    assert log_in(server, "normal").status == 503
    time.sleep(2.1)  # the directory's word is good for a second, counted in whole ones
    refresh = server.client(token=None).post("/api/v1/accounts/refresh", {"refresh_token": session["refresh_token"]}, token=False)
    assert refresh.status == 200 and whoami(server.client(), refresh.json["access_token"]).status == 200
    own.start()
    wait_until(lambda: log_in(server, "normal").status == 200, 15, "nobody can log in again")
