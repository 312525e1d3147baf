"""Users who are known elsewhere: by a directory that is asked for passwords, and by a plugin that lets people in itself. The directories
are two books (plugins/phonebook.c) whose people a test writes down."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import daemon
from daemon import Client, Threads, unique

SOURCE = pathlib.Path(__file__).parent / "plugins" / "phonebook.c"
GOOD = "four plain garden words"
LOGIN = "/api/v1/accounts/login"
CONFIGURATION = 'plugin "accounts" { directory_check_s = 1, directory_grace_s = 2 }\n'


def build(source, to, *more):
    include = daemon.ROOT / "sdk" / "include"
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{include}", *more,
                    str(source), "-o", str(to)], check=True)


def with_books(folder):
    """All plugins, and two directories."""
    folder.mkdir()
    for plugin in daemon.PLUGINS.glob("*.so"):
        (folder / plugin.name).symlink_to(plugin)
    for book in ("phonebook", "yellowpages"):
        build(SOURCE, folder / f"{book}.so", f'-DBOOK="{book}"')
    return folder


@pytest.fixture(scope="module")
def books(scratch, template):
    """A daemon with two directories, whose answers are good for a second."""
    folder = scratch / "books"
    folder.mkdir()
    daemon.copy_state(template, folder)
    made = daemon.Daemon(folder, plugins=with_books(folder / "plugins"), configuration=CONFIGURATION)
    try:
        yield made.start()
        made.stop()
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def admin(books):
    made = books.client()
    yield made
    for book in ("phonebook", "yellowpages"):
        made.op(f"{book}.set", {})
    made.close()


@pytest.fixture
def nobody(books):
    made = Client(books.port, None)
    yield made
    made.close()


def person(admin, name=None, book="phonebook", **more):
    """Somebody new in a book."""
    fields = {"id": unique("id"), "name": name or unique("p"), "password": GOOD, **more}
    assert admin.op(f"{book}.put", fields).status == 200
    return fields


def log_in(nobody, of, **more):
    return nobody.post(LOGIN, {"name": of["name"], "password": of["password"], **more})


def as_basic(name, password=GOOD):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def entries(admin, **of):
    found = admin.op("audit.list", {"limit": 1000, **of}).json["entries"]
    return [entry for entry in found if all(entry.get(key) == value for key, value in of.items())]


def whoami(books, token):
    mine = Client(books.port, token)
    try:
        return mine.op("access.whoami")
    finally:
        mine.close()


# ---- logging in

def test_the_first_login_makes_a_user(books, admin, nobody):
    of = person(admin, email="ana@example.org", verified=True, groups=["group:research", "group:research", "user:admin", "role:owner"])
    answer = log_in(nobody, of)
    assert answer.status == 200, answer
    assert whoami(books, answer.json["access_token"]).json["actor"] == f"user:{of['name']}"
    made = admin.get(f"/api/v1/accounts/users/{of['name']}").json
    assert (made["directory"], made["email"], made["email_verified"]) == ("phonebook", "ana@example.org", True)
    assert made["created_by"] == "directory:phonebook" and made["display_name"] == f"{of['name']} of the phonebook"
    assert books.sql(f"SELECT `groups`, password_hash FROM accounts_users WHERE name = '{of['name']}'") == [['["group:research"]', "NULL"]]
    assert log_in(nobody, of).status == 200
    assert books.sql(f"SELECT COUNT(*) FROM accounts_users WHERE name = '{of['name']}'") == [["1"]]
    mine = entries(admin, operation="accounts.create_user", object=made["id"])
    assert len(mine) == 1 and mine[0]["actor"] == "directory:phonebook"


def test_a_name_that_something_was_granted_to_is_not_for_who_chooses_it(books, new_daemon):
    own = new_daemon(plugins=books.folder / "plugins", configuration='plugin "accounts" { granted_names = false }\n')
    client, nobody = own.client(), Client(own.port, None)
    granted, keyed, free = (person(client) for _ in range(3))
    assert client.op("access.grant_role", {"subject": f"user:{granted['name']}", "role": "owner"}).status == 201
    assert client.op("access.create_key", {"name": "k", "owner": f"user:{keyed['name']}", "permissions": ["*"]}).status == 201
    assert [log_in(nobody, of).status for of in (granted, keyed, free)] == [401, 401, 200]
    assert nobody.post(f"/phonebook/enter?id={granted['id']}").status == 409
    assert client.op("access.grant_role", {"subject": f"user:{free['name']}", "role": "viewer"}).status == 201
    assert log_in(nobody, free).status == 200  # theirs since they came
    for one in (client, nobody):
        one.close()


def test_first_logins_at_once_make_one_user(books, admin):
    of = person(admin)
    answers = []

    def come():
        mine = Client(books.port, None)
        answers.append(log_in(mine, of).status)
        mine.close()
    Threads(*[come] * 6).join()
    assert answers == [200] * 6
    assert books.sql(f"SELECT COUNT(*) FROM accounts_users WHERE name = '{of['name']}'") == [["1"]]


def test_what_a_group_was_granted_holds_by_session_basic_and_key(books, admin, nobody):
    group = unique("group:g")
    of = person(admin, groups=[group])
    token = log_in(nobody, of).json["access_token"]
    mine = Client(books.port, token)
    assert mine.get("/api/v1/models").status == 403
    assert admin.op("access.grant_role", {"subject": group, "role": "editor"}).status == 201
    time.sleep(1.1)
    assert mine.get("/api/v1/models").status == 200
    key = mine.op("access.create_key", {"name": "k", "permissions": ["models:read"]})
    assert key.status == 201, key
    with_key = Client(books.port, key.json["secret"])
    assert with_key.get("/api/v1/models").status == 200
    basic = as_basic(of["name"])
    assert nobody.get("/api/v1/models", headers=basic, token=False).status == 200
    admin.op("phonebook.put", {**of, "groups": []})
    daemon.wait_until(lambda: with_key.get("/api/v1/models").status == 403, 5, "the key still has the group")
    for one in (mine, with_key):
        one.close()


def test_basic_asks_the_directory_once_a_minute(admin, nobody):
    of = person(admin)
    basic = as_basic(of["name"])
    before = admin.op("phonebook.set", {}).json["checks"]
    for _ in range(20):
        assert nobody.post("/api/v1/op/access.whoami", {}, headers=basic, token=False).status == 200
    time.sleep(1)
    assert nobody.post("/api/v1/op/access.whoami", {}, headers=basic, token=False).status == 200
    assert admin.op("phonebook.set", {}).json["checks"] == before + 1


# ---- whose name it is

def same_as_wrong(nobody, books, of, why):
    answer = log_in(nobody, of)
    assert answer.status == 401 and answer.json["detail"] == "the name or the password is wrong", answer
    assert why in books.log_text(), books.log_text()[-2000:]


def test_a_local_user_is_judged_here_only(books, admin, nobody):
    name = unique("local")
    assert admin.op("accounts.create_user", {"name": name, "password": GOOD}).status == 201
    before = admin.op("phonebook.set", {}).json["checks"]
    of = person(admin, name, password="another four plain words")
    assert log_in(nobody, of).status == 401 and log_in(nobody, {"name": name, "password": GOOD}).status == 200
    assert admin.op("phonebook.set", {}).json["checks"] == before
    assert nobody.post(f"/phonebook/enter?id={of['id']}").status == 409
    assert admin.get(f"/api/v1/accounts/users/{name}").json["directory"] == ""


def test_a_user_without_password_is_not_taken_over(admin, nobody):
    name = unique("reserved")
    assert admin.op("accounts.create_user", {"name": name}).status == 201
    assert log_in(nobody, person(admin, name)).status == 401
    assert admin.get(f"/api/v1/accounts/users/{name}").json["directory"] == ""


def test_a_name_belongs_to_the_directory_that_was_first(books, admin, nobody):
    first = person(admin, book="yellowpages", password="yellow " + GOOD)
    assert log_in(nobody, first).status == 200
    second = person(admin, first["name"], password="white " + GOOD)
    before = admin.op("phonebook.set", {}).json["checks"]
    assert log_in(nobody, second).status == 401 and log_in(nobody, first).status == 200
    assert admin.op("phonebook.set", {}).json["checks"] == before  # which gets no password of the other's people
    assert nobody.post(f"/phonebook/enter?id={second['id']}").status == 409
    daemon.wait_until(lambda: entries(admin, operation="accounts.login", object=first["name"], outcome="refused"), 5, "no entry")


def test_a_name_given_to_somebody_else_there_is_not_let_in(books, admin, nobody):
    of = person(admin)
    assert log_in(nobody, of).status == 200
    admin.op("phonebook.put", {"id": of["id"]})
    same_as_wrong(nobody, books, person(admin, of["name"]), f"the name '{of['name']}' is another user's here")


def test_somebody_renamed_there_keeps_their_name_here(books, admin, nobody):
    of = person(admin)
    assert log_in(nobody, of).status == 200
    renamed = {**of, "name": unique("other")}
    admin.op("phonebook.put", renamed)
    answer = log_in(nobody, renamed)
    assert answer.status == 200 and whoami(books, answer.json["access_token"]).json["actor"] == f"user:{of['name']}"
    basic = as_basic(renamed["name"])
    for _ in range(2):
        assert nobody.op("access.whoami", headers=basic, token=False).json["actor"] == f"user:{of['name']}"
    assert log_in(nobody, of).status == 401


def test_nobody_becomes_the_first_administrator(books, admin, nobody):
    of = person(admin, "admin")
    try:
        same_as_wrong(nobody, books, of, "the name 'admin' is another user's here")
        assert nobody.post(f"/phonebook/enter?id={of['id']}").status == 409
    finally:
        admin.op("phonebook.put", {"id": of["id"]})


@pytest.mark.parametrize("name", ["Ana", "a b", "ä", "-x", "n" * 65, "*", "x)(uid=*"])
def test_names_that_are_none_are_not_asked_for(books, admin, nobody, name):
    of = person(admin, name)
    before = admin.op("phonebook.set", {}).json["checks"]
    assert log_in(nobody, of).status in (400, 401)
    assert admin.op("phonebook.set", {}).json["checks"] == before
    assert nobody.post(f"/phonebook/enter?id={of['id']}").status == 400
    assert books.sql("SELECT COUNT(*) FROM accounts_users WHERE external_id = '" + of["id"] + "'") == [["0"]]
    admin.op("phonebook.put", {"id": of["id"]})


def test_an_empty_password_is_not_asked_for(admin, nobody):
    of = person(admin)
    before = admin.op("phonebook.set", {}).json["checks"]
    basic = as_basic(of["name"], "")
    assert nobody.op("access.whoami", headers=basic, token=False).status == 401
    assert admin.op("phonebook.set", {}).json["checks"] == before


def test_an_id_that_is_too_long_is_nobody(admin, nobody):
    of = person(admin, id="i" * 251)
    assert log_in(nobody, of).status == 401 and nobody.post(f"/phonebook/enter?id={of['id']}").status == 400
    admin.op("phonebook.put", {"id": of["id"]})


def test_wrong_passwords_wait_longer_and_longer(admin, nobody):
    of = person(admin)
    wrong = {**of, "password": "wrong"}
    answers = []

    def guess():
        mine = Client(nobody.connection.port, None)
        answers.append(log_in(mine, wrong).status)
        mine.close()
    Threads(*[guess] * 12).join()
    assert sorted(set(answers)) == [401, 429], answers


def test_answers_take_as_long_for_all_that_is_wrong(admin, nobody):
    name = unique("local")
    admin.op("accounts.create_user", {"name": name, "password": GOOD})
    known = person(admin)
    admin.op("phonebook.set", {"latency_ms": 150})

    def takes(of):
        start = time.monotonic()
        assert log_in(nobody, {**of, "password": "wrong"}).status == 401
        return time.monotonic() - start
    times = [takes(of) for of in ({"name": name}, known, {"name": unique("nobody")})]
    assert min(times) >= 0.4, times
    assert len({json.dumps(log_in(nobody, {"name": n, "password": "wrong"}).json["detail"]) for n in (name, known["name"], unique("no"))}) == 1


# ---- no password here

def test_the_directory_keeps_password_and_profile(admin, nobody, books):
    of = person(admin, email="x@example.org")
    mine = Client(books.port, log_in(nobody, of).json["access_token"])
    conflicts = [admin.op("accounts.set_password", {"name": of["name"], "password": "another four plain words"}),
                 mine.put("/api/v1/accounts/me/password", {"password": GOOD, "new_password": "another four plain words"}),
                 mine.put("/api/v1/accounts/me/email", {"password": GOOD, "email": "y@example.org"}),
                 mine.put("/api/v1/accounts/me/name", {"display_name": "Y"})]
    assert [answer.status for answer in conflicts] == [409] * 4, conflicts
    assert all("phonebook" in answer.json["detail"] for answer in conflicts)
    mine.close()


# ---- going on

def key_of(books, admin, mine, of):
    assert admin.op("access.grant_role", {"subject": f"user:{of['name']}", "role": "viewer"}).status == 201
    time.sleep(1.1)
    return Client(books.port, mine.op("access.create_key", {"name": "k", "permissions": ["models:read"]}).json["secret"])


def refresh(nobody, tokens):
    return nobody.post("/api/v1/accounts/refresh", {"refresh_token": tokens["refresh_token"]})


def test_who_is_gone_there_goes_on_nowhere(books, admin, nobody):
    of = person(admin)
    tokens, other = log_in(nobody, of).json, log_in(nobody, of).json
    mine = Client(books.port, tokens["access_token"])
    key = key_of(books, admin, mine, of)
    assert key.op("access.whoami").status == 200
    admin.op("phonebook.put", {"id": of["id"]})
    time.sleep(2.1)
    assert refresh(nobody, tokens).status == 401
    daemon.wait_until(lambda: mine.op("access.whoami").status == 401, 3, "the session goes on")
    daemon.wait_until(lambda: key.op("access.whoami").status == 401, 3, "the key goes on")
    assert refresh(nobody, other).status == 401  # all of them
    assert len(entries(admin, operation="accounts.end_sessions")) >= 1
    admin.op("phonebook.put", of)
    assert log_in(nobody, of).status == 200
    assert key.op("access.whoami").status == 200
    for one in (mine, key):
        one.close()


def test_a_directory_that_is_away_shuts_nobody_out_for_a_while(books, admin, nobody):
    of = person(admin)
    tokens = log_in(nobody, of).json
    mine = Client(books.port, tokens["access_token"])
    key = key_of(books, admin, mine, of)
    admin.op("phonebook.set", {"away": True})
    assert log_in(nobody, of).status == 503
    time.sleep(2.1)
    tokens = refresh(nobody, tokens)
    assert tokens.status == 200 and key.op("access.whoami").status == 200
    time.sleep(2.2)
    assert refresh(nobody, tokens.json).status == 401 and key.op("access.whoami").status == 401
    admin.op("phonebook.set", {})
    time.sleep(1.1)
    assert key.op("access.whoami").status == 200 and log_in(nobody, of).status == 200
    for one in (mine, key):
        one.close()


def test_another_directory_answers_while_one_is_away(admin, nobody):
    of = person(admin, book="yellowpages")
    admin.op("phonebook.set", {"away": True})
    assert log_in(nobody, of).status == 200
    assert log_in(nobody, {**of, "name": unique("x")}).status == 503


def test_whoever_is_disabled_here_is_shut_out(books, admin, nobody):
    of = person(admin)
    tokens = log_in(nobody, of).json
    mine = Client(books.port, tokens["access_token"])
    assert admin.op("accounts.disable_user", {"name": of["name"]}).status == 200
    before = admin.op("phonebook.set", {}).json["checks"]
    assert log_in(nobody, of).status == 401 and refresh(nobody, tokens).status == 401
    assert admin.op("phonebook.set", {}).json["checks"] == before
    assert nobody.post(f"/phonebook/enter?id={of['id']}").status == 403
    daemon.wait_until(lambda: mine.op("access.whoami").status == 401, 2, "the session goes on")
    assert admin.op("accounts.enable_user", {"name": of["name"]}).status == 200
    assert log_in(nobody, of).status == 200
    mine.close()


@pytest.mark.parametrize("said, shown", [("  Zoe\u0308   Smith ", "Zo\u00eb Smith"), ("Ana \u202eadmin", ""), ("A\u200bna", ""), ("A\x07na", ""),
                                         ("\u0958" * 90, "\u0915\u093c" * 66)])
def test_names_and_addresses_of_a_directory_have_the_form_of_ours(admin, nobody, said, shown):
    of = person(admin, shown=said, email="zoe\u0308@Example.ORG", verified=True)
    assert log_in(nobody, of).status == 200
    made = admin.op("accounts.get_user", {"name": of["name"]}).json
    assert (made["display_name"], made["email"], made["email_verified"]) == (shown, "zo\u00eb@example.org", True)


@pytest.mark.parametrize("email", ["a\u202e@example.org", "a@b@example.org", "a@example.org,b", "<a>@example.org"])
def test_an_address_of_a_directory_that_is_none_is_not_kept(admin, nobody, email):
    of = person(admin, email=email, verified=True)
    assert log_in(nobody, of).status == 200
    made = admin.op("accounts.get_user", {"name": of["name"]}).json
    assert (made["email"], made["email_verified"]) == ("", False)


# ---- the contract sessions

def test_a_plugin_begins_and_ends_sessions(books, admin, nobody):
    of = person(admin, groups=["group:g"])
    tokens = nobody.post(f"/phonebook/enter?id={of['id']}", headers={"User-Agent": "a door"}).json
    assert tokens["session"].startswith("ses_")
    mine = Client(books.port, tokens["access_token"])
    listed = mine.get("/api/v1/accounts/sessions").json["sessions"]
    assert [(one["id"], one["agent"], one["address"]) for one in listed] == [(tokens["session"], "a door", "127.0.0.1")]
    tokens = refresh(nobody, tokens).json
    assert nobody.post(f"/phonebook/leave?id={of['id']}").status == 200
    assert refresh(nobody, tokens).status == 401
    daemon.wait_until(lambda: mine.op("access.whoami").status == 401, 2, "the session goes on")
    assert nobody.post(f"/yellowpages/leave?id={of['id']}").status == 404
    assert nobody.post("/phonebook/leave?id=none").status == 404
    mine.close()
