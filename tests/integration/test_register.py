"""People who make themselves users: not where it is closed, at once where it is open, after a letter where addresses are verified."""
import re
import time

import pytest

import daemon
from daemon import wait_until
from test_accounts import GOOD, a_name, login, soon, whoami
from test_accounts_mail import Sink

POLICY = """
purlin.policy("accounts.register", function(question)
  if question.email:sub(-12) == "@example.org" then return { allow = true, role = "viewer" } end
  if question.email:sub(-12) == "@example.net" then return { allow = true, role = "no-such-role" } end
  if question.email == "" or question.email:sub(-10) == "@slow.test" then return { allow = true } end
  if question.email:sub(-10) == "@boom.test" then error("boom") end
  return { allow = false, reason = "only @example.org, not " .. question.address }
end)
"""


def started(scratch, template, name, configuration):
    folder = scratch / name
    folder.mkdir()
    daemon.copy_state(template, folder)
    own = daemon.Daemon(folder, configuration=configuration)
    (own.policies / "register.lua").write_text(POLICY)
    return own.start()


@pytest.fixture(scope="module")
def opened(scratch, template):
    own = started(scratch, template, "open", 'server { trusted_proxies = { "127.0.0.1" } }\n'
                  'plugin "accounts" { registration = "open", registration_role = "approver", password_cost = 1 }\n')
    yield own
    own.end()


@pytest.fixture(scope="module")
def verified(scratch, template):
    sink = Sink()
    own = started(scratch, template, "verified", 'server { trusted_proxies = { "127.0.0.1" } } outbound { allow = { "127.0.0.0/8" } }\n'
                  f'plugin "accounts" {{ registration = "verified", password_cost = 1, smtp_url = "smtp://127.0.0.1:{sink.server_address[1]}",'
                  ' smtp_starttls = false, mail_from = "purlin@example.org", link_url = "https://ml.example.org" }\n')
    own.sink = sink
    yield own
    own.end()
    sink.shutdown()


@pytest.fixture
def free(opened):
    made = opened.client()
    yield made
    made.close()


@pytest.fixture
def by_mail(verified):
    made = verified.client()
    yield made
    made.close()


def from_elsewhere(counter=[0]):
    """An address of its own for each, since those who come often wait."""
    counter[0] += 1
    return f"198.51.{counter[0] // 200}.{counter[0] % 200 + 1}"


def register(client, name, password=GOOD, address=None, **more):
    return client.post("/api/v1/accounts/register", {"name": name, "password": password, **more}, token=False,
                       headers={"X-Forwarded-For": address or from_elsewhere()})


def letters(verified, address, count=1):
    return wait_until(lambda: (found := verified.sink.to(address)) and len(found) >= count and found, 15, f"no letter {count} to {address}")


def token_in(letter):
    found = re.search(r"register_\w{40}", letter)
    return found and found.group(0)


def confirm(client, token, password=GOOD):
    return client.op("accounts.confirm_registration", {"token": token, "password": password}, token=False)


# ---- Closed, as it is by default -------------------------------------------------------------------------------------------------


def test_nobody_registers_by_default(client):
    name = a_name()
    refused = register(client, name)
    assert refused.status == 403 and "administrator" in refused.json["detail"]
    assert client.get(f"/api/v1/accounts/users/{name}").status == 404


def test_letters_need_a_mail_server(new_daemon):
    own = new_daemon(start=False, configuration='plugin "accounts" { registration = "verified" }\n')
    own.launch()
    assert own.process.wait(30) == 1 and "smtp_url" in own.log_text()


# ---- Open ------------------------------------------------------------------------------------------------------------------------


def test_whoever_registers_can_log_in(free):
    name = a_name()
    made = register(free, name, display_name="  Ana   Gro\u0308\u00dfe ", email="Ana@Example.ORG")
    assert (made.status, made.json) == (201, {"state": "ready"})
    about = free.get(f"/api/v1/accounts/users/{name}").json
    assert (about["display_name"], about["email"], about["email_verified"]) == ("Ana Gr\u00f6\u00dfe", "Ana@example.org", False)
    assert about["created_by"] == f"user:{name}"
    token = login(free, name).json["access_token"]
    assert whoami(free, token).json["grants"] == [{"permissions": ["*:read"]}]  # what the policy said
    assert soon(lambda: free.get(f"/api/v1/audit/entries?operation=accounts.register&object={name}").json["entries"], 8)
    assert GOOD not in free.get("/api/v1/audit/entries?limit=1000").body.decode()


def test_the_role_is_that_of_the_policy_else_the_configured_else_none(opened, free):
    roles = {}
    for domain in ("example.org", "slow.test", "example.net"):
        name = a_name()
        assert register(free, name, email=f"{name}@{domain}").status == 201
        found = opened.sql(f"SELECT role, workspace FROM access_grants WHERE subject = 'user:{name}'")
        roles[domain] = found and found[0]
    assert roles == {"example.org": ["viewer", "default"], "slow.test": ["approver", "default"], "example.net": []}
    assert soon(lambda: "no-such-role" in opened.log_text(), 5)


def test_the_operator_decides(free):
    name = a_name()
    refused = register(free, name, email="ana@example.com", address="203.0.113.9")
    assert refused.status == 403 and refused.json["detail"] == "only @example.org, not 203.0.113.9"
    failed = register(free, a_name(), email="ana@boom.test")
    assert failed.status == 403 and failed.json["detail"] == "the policy failed"
    assert free.get(f"/api/v1/accounts/users/{name}").status == 404


def test_a_name_that_something_is_granted_to_cannot_be_had(opened, free):
    """Not a role, not a key, in no workspace: and it is told like a name that is taken."""
    taken = a_name()
    assert register(free, taken).status == 201
    answers = [register(free, taken)]
    for grant in ("role", "elsewhere", "key", "revoked", "capital"):
        name = a_name()
        if grant == "role":
            free.op("access.grant_role", {"subject": f"user:{name}", "role": "owner"})
        elif grant == "capital":
            free.op("access.grant_role", {"subject": f"user:{name.upper()}", "role": "owner"})
        elif grant == "elsewhere":
            assert free.op("access.create_workspace", {"name": f"w{time.monotonic_ns()}", "owner": f"user:{name}"}).status == 201
        else:
            key = free.op("access.create_key", {"name": "k", "owner": f"user:{name}", "permissions": ["*"]}).json["id"]
            if grant == "revoked":
                free.op("access.revoke_key", {"id": key})
        answers.append(register(free, name))
        answers[-1].name, taken = name, taken
    told = {(a.status, a.json["detail"].replace(getattr(a, "name", taken), "X")) for a in answers}
    assert told == {(409, "the name 'X' is taken: choose another")}
    assert register(free, "admin").status == 400 and register(free, "root").status == 400


@pytest.mark.parametrize("field, value", [("name", ""), ("name", "Ana"), ("name", "\u0430na"), ("name", "x" * 65), ("password", "short"),
                                          ("password", "Password1234!"), ("email", "ana"), ("email", "<a>@example.org"), ("email", "a" * 65 + "@x.org"),
                                          ("display_name", "ana\u202enimda"), ("display_name", "a\nb"), ("display_name", "x" * 201)])
def test_what_is_wrong_is_named(free, field, value):
    refused = register(free, **{"name": a_name(), field: value})
    assert refused.status == 400 and refused.json["errors"][0]["field"] == field


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name":"ana"}', b'{"name":"ana","password":"' + GOOD.encode() + b'","role":"owner"}',
                                  b'{"name":"ana","password":"' + b"x" * 20000 + b'"}', b'{"name":"\xff","password":"x"}'])
def test_a_malformed_registration_is_refused(free, body):
    assert free.post("/api/v1/accounts/register", body, token=False).status in (400, 413)


def test_who_registers_often_waits(free):
    address = from_elsewhere()
    answers = [register(free, a_name(), address=address) for _ in range(12)]
    assert [a.status for a in answers[:8]] == [201] * 8
    late = [a for a in answers if a.status == 429]
    assert late and int(late[-1].headers["Retry-After"]) >= 1
    assert register(free, a_name()).status == 201  # from elsewhere


def test_many_at_once_for_one_name_make_one_user(opened, free):
    name, answers = a_name(), []

    def one():
        own = opened.client()
        answers.append(register(own, name).status)
        own.close()

    daemon.Threads(*[one] * 6).join()
    assert sorted(answers) == [201] + [409] * 5


def test_who_has_a_network_of_ipv6_guesses_as_one(free):
    name = a_name()
    free.op("accounts.create_user", {"name": name, "password": GOOD})

    def guess(address):
        return free.post("/api/v1/accounts/login", {"name": name, "password": "not the right one"}, token=False, headers={"X-Forwarded-For": address}).status

    assert 429 in [guess(f"2001:db8:1:2:{i:x}::{i + 1:x}") for i in range(16)]
    assert guess("2001:db8:1:3::1") == 401
    assert 429 in [register(free, a_name(), address=f"2001:db8:1:4::{i + 1:x}", email="a@example.org").status for i in range(16)]


# ---- Verified --------------------------------------------------------------------------------------------------------------------


def test_a_user_there_is_only_after_the_letter(verified, by_mail):
    name = a_name()
    asked = register(by_mail, name, email=f"{name}@example.org")
    assert (asked.status, asked.json) == (202, {"state": "letter"})
    assert login(by_mail, name).status == 401 and by_mail.get(f"/api/v1/accounts/users/{name}").status == 404
    letter = letters(verified, f"{name}@example.org")[0]
    assert f"'{name}'" in letter and "https://ml.example.org" in letter and GOOD not in letter
    token = token_in(letter)
    stored = str(verified.sql("SELECT * FROM accounts_registrations") + verified.sql("SELECT payload FROM purlin_jobs"))
    assert token not in stored and GOOD not in stored and "$y$" in stored
    assert confirm(by_mail, "register_" + "a" * 40).status == 400
    assert (confirm(by_mail, token).status, confirm(by_mail, token).status) == (200, 400)  # once
    access = login(by_mail, name).json["access_token"]
    about = by_mail.op("accounts.me", token=access).json
    assert about["email_verified"] and about["email"] == f"{name}@example.org"
    assert whoami(by_mail, access).json["grants"] == [{"permissions": ["*:read"]}]
    log = verified.log_text()
    assert token not in log and GOOD not in log


def test_a_mailbox_is_not_lent_to_who_registered(verified, by_mail):
    """Somebody registers with another's address, whose owner takes the letter for one of theirs: the policy grants by addresses."""
    name = a_name()
    assert register(by_mail, name, password="the attacker knows this", email=f"{name}@example.org").status == 202
    letter = letters(verified, f"{name}@example.org")[0]
    assert "password that you chose" in letter
    refused = confirm(by_mail, token_in(letter), "the victim does not")
    assert refused.status == 400 and refused.json["errors"][0]["field"] == "password"
    assert by_mail.op("accounts.confirm_registration", {"token": token_in(letter)}, token=False).status == 400
    assert login(by_mail, name, "the attacker knows this").status == 401
    assert confirm(by_mail, token_in(letter), "the attacker knows this").status == 200  # who has both


def test_an_address_is_needed_and_no_letter_goes_without_the_policys_word(verified, by_mail):
    missing = register(by_mail, a_name())
    assert missing.status == 400 and missing.json["errors"][0]["field"] == "email"
    name = a_name()
    assert register(by_mail, name, email=f"{name}@example.com").status == 403
    time.sleep(0.5)
    assert not verified.sink.to(f"{name}@example.com")


def test_the_answer_tells_nobody_what_is_taken(verified, by_mail):
    """The same bytes, and only the mailbox learns it."""
    known, granted = a_name(), a_name()
    by_mail.op("accounts.create_user", {"name": known, "password": GOOD, "email": f"{known}@example.org"})
    verified.sql(f"UPDATE accounts_users SET email_verified_at = NOW(6) WHERE name = '{known}'")
    by_mail.op("access.grant_role", {"subject": f"user:{granted}", "role": "owner"})
    asked = {"free": (a_name(), f"{a_name()}@example.org"), "name": (known, f"{a_name()}@example.org"), "granted": (granted, f"{a_name()}@example.org"),
             "address": (a_name(), f"{known}@example.org")}
    answers = {what: register(by_mail, name, email=email) for what, (name, email) in asked.items()}
    assert {(a.status, a.body) for a in answers.values()} == {(202, answers["free"].body)}
    found = {what: letters(verified, email)[0] for what, (_, email) in asked.items()}
    assert token_in(found["free"]) and not any(token_in(found[what]) for what in ("name", "granted", "address"))
    assert "cannot be had" in found["name"] and "cannot be had" in found["granted"] and f"user there already: '{known}'" in found["address"]
    assert known not in found["free"] + found["granted"]


def test_the_first_that_confirms_has_the_name(verified, by_mail):
    name = a_name()
    for mailbox in ("one", "two"):
        assert register(by_mail, name, email=f"{mailbox}.{name}@example.org").status == 202
    tokens = [token_in(letters(verified, f"{mailbox}.{name}@example.org")[0]) for mailbox in ("one", "two")]
    answers = []

    def one(token):
        own = verified.client()
        answers.append(confirm(own, token).status)
        own.close()

    daemon.Threads(*[lambda token=token: one(token) for token in tokens]).join()
    assert sorted(answers) == [200, 409]
    assert verified.sql(f"SELECT COUNT(*) FROM accounts_users WHERE name = '{name}'") == [["1"]]


def test_what_was_granted_meanwhile_is_not_taken(verified, by_mail):
    name = a_name()
    assert register(by_mail, name, email=f"{name}@example.org").status == 202
    token = token_in(letters(verified, f"{name}@example.org")[0])
    by_mail.op("access.grant_role", {"subject": f"user:{name}", "role": "owner"})
    assert confirm(by_mail, token).status == 409
    assert by_mail.get(f"/api/v1/accounts/users/{name}").status == 404


def test_one_address_is_one_user(verified, by_mail):
    names = [a_name(), a_name()]
    tokens = []
    for i, name in enumerate(names):
        register(by_mail, name, email=f"{names[0]}@example.org")
        tokens.append(token_in(letters(verified, f"{names[0]}@example.org", i + 1)[-1]))
    assert confirm(by_mail, tokens[1]).json == {"name": names[1]}
    second = confirm(by_mail, tokens[0])
    assert second.status == 409 and names[1] in second.json["detail"]


def test_a_token_that_is_over(verified, by_mail):
    name = a_name()
    assert register(by_mail, name, email=f"{name}@example.org").status == 202
    token = token_in(letters(verified, f"{name}@example.org")[0])
    verified.sql(f"UPDATE accounts_registrations SET expires_at = NOW(6) - INTERVAL 1 SECOND WHERE name = '{name}'")
    assert confirm(by_mail, token).status == 400
    for wrong in ("", "x" * 101, "' OR 1=1 -- ", token.replace("register", "reset")):
        assert confirm(by_mail, wrong).status == 400


def test_a_mailbox_is_not_flooded_with_registrations(verified, by_mail):
    email = f"{a_name()}@example.org"
    for count in range(1, 4):
        assert register(by_mail, a_name(), email=email).status == 202
        letters(verified, email, count)
    assert register(by_mail, a_name(), email=email).status == 202
    assert soon(lambda: verified.sql(f"SELECT COUNT(*) FROM accounts_registrations WHERE email = '{email}'") == [["3"]], 10)
    assert len(verified.sink.to(email)) == 3


def test_a_letter_that_was_not_taken_is_sent_again(verified, by_mail):
    verified.sink.refusals = 1
    name = a_name()
    assert register(by_mail, name, email=f"{name}@example.org").status == 202
    assert confirm(by_mail, token_in(letters(verified, f"{name}@example.org")[0])).status == 200
