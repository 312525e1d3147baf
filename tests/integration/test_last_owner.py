"""The last owner of a workspace who can come in stays, whichever way they would go; and when two take each other away at once, one stays."""
import subprocess
import threading
import time

import pytest

from daemon import Client, Threads, unique
from test_accounts import GOOD, a_name, basic, login


@pytest.fixture
def tenant(server, client):
    """A new workspace and its first owner, who has a key and is no user."""
    made = client.op("access.create_workspace", {"name": unique("w"), "owner": f"user:{a_name()}"}).json
    owner = Client(server.port, made["secret"])
    owner.subject, owner.workspace = made["owner"], made["id"]
    owner.key = owner.op("access.list_keys").json["keys"][0]["id"]
    owner.grant = owner.op("access.list_grants").json["grants"][0]["id"]
    yield owner
    owner.close()


def owns(tenant, subject):
    answer = tenant.op("access.grant_role", {"subject": subject, "role": "owner"})
    assert answer.status == 201, answer
    return answer.json["id"]


def a_user(client, **more):
    name = a_name()
    assert client.op("accounts.create_user", {"name": name, **more}).status == 201
    return name


def spared(answer):
    """Refused, since nobody would be left."""
    assert answer.status == 409 and "last owner" in answer.json["detail"], answer
    return True


def test_the_grant_of_the_last_owner_stays(tenant):
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))
    assert tenant.op("access.list_grants").status == 200


@pytest.mark.parametrize("second", ["group:everybody", "user:nobody-yet", "service:no-key"])
def test_who_cannot_come_in_does_not_count(tenant, second):
    owns(tenant, second)
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))
    assert spared(tenant.op("access.revoke_key", {"id": tenant.key}))


def test_who_has_a_password_counts(client, tenant):
    owns(tenant, "user:" + a_user(client, password=GOOD))
    assert tenant.op("access.revoke_grant", {"id": tenant.grant}).status == 200


def test_who_has_no_password_yet_does_not(client, tenant):
    owns(tenant, "user:" + a_user(client))
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))


def test_who_is_disabled_does_not_count_not_even_with_a_key(client, tenant):
    name = a_user(client, password=GOOD)
    owns(tenant, f"user:{name}")
    tenant.op("access.create_key", {"name": "k", "owner": f"user:{name}", "permissions": ["*"]})
    assert client.op("accounts.disable_user", {"name": name}).status == 200
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))
    client.op("accounts.enable_user", {"name": name})
    assert tenant.op("access.revoke_grant", {"id": tenant.grant}).status == 200


@pytest.mark.parametrize("narrow", [{"permissions": ["access:*", "*:read"]}, {"permissions": ["*"], "project": "default"}])
def test_a_narrowed_key_is_no_way_in_for_an_owner(tenant, narrow):
    owns(tenant, "service:robot")
    assert tenant.op("access.create_key", {"name": "k", "owner": "service:robot", **narrow}).status == 201
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))
    tenant.op("access.create_key", {"name": "k", "owner": "service:robot", "permissions": ["*"]})
    assert tenant.op("access.revoke_grant", {"id": tenant.grant}).status == 200


def test_an_owner_of_a_project_or_an_object_is_no_owner_of_the_workspace(client, tenant):
    user = "user:" + a_user(client, password=GOOD)
    assert tenant.op("access.grant_role", {"subject": user, "role": "owner", "project": "default"}).status == 201
    assert tenant.op("access.grant_role", {"subject": user, "role": "owner", "project": "default", "object": "x"}).status == 201
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))


def test_a_role_that_permits_everything_is_not_that_of_an_owner(client, tenant):
    assert tenant.op("access.create_role", {"name": "all", "summary": "-", "permissions": ["*"]}).status == 201
    tenant.op("access.grant_role", {"subject": "user:" + a_user(client, password=GOOD), "role": "all"})
    assert spared(tenant.op("access.revoke_grant", {"id": tenant.grant}))
    assert tenant.op("access.delete_role", {"name": "owner"}).status == 409


def test_the_last_key_stays_until_there_is_another(server, tenant):
    assert spared(tenant.op("access.revoke_key", {"id": tenant.key}))
    fresh = tenant.op("access.rotate_key", {"id": tenant.key, "overlap_s": 0}).json
    with_fresh = Client(server.port, fresh["secret"])
    assert with_fresh.op("access.revoke_key", {"id": tenant.key}).status == 200
    assert spared(with_fresh.op("access.revoke_key", {"id": fresh["id"]}))
    assert with_fresh.get("/api/v1/access/whoami").status == 200
    with_fresh.close()


def test_a_key_that_has_expired_is_no_way_in(server, tenant):
    second = tenant.op("access.create_key", {"name": "k", "permissions": ["*"], "days": 1}).json["id"]
    server.sql(f"UPDATE access_tokens SET expires_at = NOW(6) - INTERVAL 1 SECOND WHERE id = '{second}'")
    assert spared(tenant.op("access.revoke_key", {"id": tenant.key}))


def test_others_may_go(client, tenant):
    """What takes no owner away is not asked about, even where nobody else is left."""
    key = tenant.op("access.create_key", {"name": "k", "owner": "service:small", "permissions": ["*"]}).json["id"]
    assert tenant.op("access.revoke_key", {"id": key}).status == 200
    grant = tenant.op("access.grant_role", {"subject": "service:small", "role": "viewer"}).json["id"]
    assert tenant.op("access.revoke_grant", {"id": grant}).status == 200
    user = a_user(client, password=GOOD)
    assert client.op("accounts.disable_user", {"name": user}).status == 200


def test_an_administrator_is_not_disabled_when_it_is_the_last(new_daemon):
    """Of the server: here only users own the first workspace, and keys have come to an end."""
    own = new_daemon()
    client = own.client()
    name = a_user(client, password=GOOD)
    helper = a_user(client, password=GOOD)
    for subject, role in ((name, "owner"), (helper, "people")):
        client.op("access.create_role", {"name": "people", "summary": "-", "permissions": ["users:*"]})
        assert client.op("access.grant_role", {"subject": f"user:{subject}", "role": role}).status == 201
    token = login(client, helper).json["access_token"]
    own.sql("UPDATE access_tokens SET expires_at = NOW(6) - INTERVAL 1 SECOND")
    assert spared(client.op("accounts.disable_user", {"name": name}, token=token))
    assert login(client, name).status == 200  # nothing of it took effect, the sessions neither
    boss = login(client, name).json["access_token"]
    assert client.op("accounts.disable_user", {"name": name}, token=boss).status == 409
    assert client.op("accounts.disable_user", {"name": helper}, token=boss).status == 200
    client.close()


# ---- At once ---------------------------------------------------------------------------------------------------------------------


def both_at_once(*calls):
    """What two calls answer that are sent at the same moment."""
    answers, gate = [None] * len(calls), threading.Barrier(len(calls))

    def run(i):
        gate.wait()
        answers[i] = calls[i]()

    Threads(*[lambda i=i: run(i) for i in range(len(calls))]).join()
    return answers


@pytest.mark.parametrize("how", ["grants", "keys", "grant and key"])
def test_two_owners_who_take_each_other_away_do_not_both_succeed(server, tenant, how):
    """The first owner watches; in each round two others, who are alone then, go for each other."""
    outcomes = set()
    for _ in range(12):
        pair = []
        for _ in range(2):
            subject = f"service:{unique('s')}"
            grant = owns(tenant, subject)
            made = tenant.op("access.create_key", {"name": "k", "owner": subject, "permissions": ["*"]}).json
            pair.append((Client(server.port, made["secret"]), grant, made["id"]))
        server.sql(f"UPDATE access_tokens SET revoked_at = NOW(6) WHERE id = '{tenant.key}'")
        (one, one_grant, one_key), (two, two_grant, two_key) = pair
        one.get("/healthz"), two.get("/healthz")
        calls = {"grants": (lambda: one.op("access.revoke_grant", {"id": two_grant}), lambda: two.op("access.revoke_grant", {"id": one_grant})),
                 "keys": (lambda: one.op("access.revoke_key", {"id": two_key}), lambda: two.op("access.revoke_key", {"id": one_key})),
                 "grant and key": (lambda: one.op("access.revoke_grant", {"id": two_grant}), lambda: two.op("access.revoke_key", {"id": one_key}))}
        answers = both_at_once(*calls[how])
        # whoever is taken away first may be nobody any more by the time that its own call is looked at
        assert sorted(a.status for a in answers)[0] == 200 and sorted(a.status for a in answers)[1] in (401, 403, 404, 409), answers
        outcomes.add(max(a.status for a in answers))
        server.sql(f"UPDATE access_tokens SET revoked_at = NULL WHERE id = '{tenant.key}'")
        for opened, grant, _ in pair:
            opened.close()
            assert tenant.op("access.revoke_grant", {"id": grant}).status in (200, 404)
    assert 409 in outcomes, "they never met"


def test_two_administrators_who_disable_each_other_do_not_both_succeed(new_daemon):
    own = new_daemon()
    client = own.client()
    outcomes, grants = set(), client.op("access.list_grants").json["grants"]
    for _ in range(10):
        names = [a_user(client, password=GOOD) for _ in range(2)]
        for name in names:
            assert client.op("access.grant_role", {"subject": f"user:{name}", "role": "owner"}).status == 201
        tokens = [login(client, name).json["access_token"] for name in names]
        own.sql("UPDATE access_tokens SET revoked_at = NOW(6)")
        each = [Client(own.port, token) for token in tokens]
        for one in each:
            assert one.get("/api/v1/access/whoami").status == 200
        answers = both_at_once(lambda: each[0].op("accounts.disable_user", {"name": names[1]}),
                               lambda: each[1].op("accounts.disable_user", {"name": names[0]}))
        left = own.sql(f"SELECT COUNT(*) FROM accounts_users WHERE name IN ('{names[0]}', '{names[1]}') AND disabled_at IS NULL")
        assert left == [["1"]] and sorted(a.status for a in answers)[0] == 200, answers
        outcomes.add(max(a.status for a in answers))
        own.sql(f"UPDATE access_tokens SET revoked_at = NULL; DELETE FROM access_grants WHERE id <> '{grants[0]['id']}'")
        for one in each:
            one.close()
        time.sleep(0.05)
    assert 409 in outcomes, "they never met"
    client.close()
