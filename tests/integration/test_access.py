"""Who may do what: keys and what they are narrowed to, roles, projects, workspaces, and the operator's last word."""
import base64
import subprocess
import time

import pytest

from daemon import Client


@pytest.fixture
def made_key(server, client):
    """A function that makes a key of the administrator's, or of somebody else's, and a client that shows it."""
    opened = []

    def make(permissions=("*",), **more):
        answer = client.op("access.create_key", {"name": "test", "permissions": list(permissions), **more})
        assert answer.status == 201, answer
        opened.append(Client(server.port, answer.json["secret"]))
        opened[-1].id = answer.json["id"]
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def project(client):
    return client.op("access.create_project", {"name": f"p{time.monotonic_ns()}"}).json


def someone():
    return f"user:u{time.monotonic_ns()}"


def whoami(client):
    return client.get("/api/v1/access/whoami")


# ---- Keys ------------------------------------------------------------------------------------------------------------------


def test_the_first_key_is_the_administrators(client):
    who = whoami(client).json
    assert (who["actor"], who["workspace"], who["grants"]) == ("user:admin", "default", [{"permissions": ["*"]}])


def test_a_key_permits_what_it_is_narrowed_to(made_key):
    reader = made_key(["models:read"])
    assert reader.op("registry.list_models").status == 200
    assert reader.op("registry.create_model", {"name": "m"}).status == 403
    assert reader.get("/api/v1/jobs").status == 403
    assert made_key(["*:read"]).get("/api/v1/jobs").status == 200
    assert made_key(["models:*"]).get("/api/v1/jobs").status == 403


def test_a_narrow_key_ends_no_wider_one(made_key):
    narrow, wide = made_key(["models:read"]), made_key(["models:*"])
    for verb in ("revoke", "rotate"):
        assert narrow.op(f"access.{verb}_key", {"id": wide.id}).status == 403
    assert whoami(wide).status == 200
    assert wide.op("access.revoke_key", {"id": narrow.id}).status == 200
    assert wide.op("access.revoke_key", {"id": wide.id}).status == 200  # itself


@pytest.mark.parametrize("wanted", ["*", "models:*", "*:read", "models:write", "models:readx", "mode"])
def test_a_narrow_key_makes_no_wider_one(made_key, wanted):
    narrow = made_key(["models:read", "datasets:*"])
    assert narrow.op("access.create_key", {"name": "wider", "permissions": [wanted]}).status == 403
    assert narrow.op("access.create_key", {"name": "same", "permissions": ["models:read", "datasets:write"]}).status == 201


def test_a_key_permits_nothing_that_its_owner_is_not_granted(client, made_key):
    nobody = made_key(["*"], owner=someone())
    assert whoami(nobody).json["grants"] == []
    assert nobody.op("registry.list_models").status == 403
    assert nobody.op("access.list_keys").json["keys"][0]["id"] == nobody.id  # their own, and no other
    assert len(nobody.op("access.list_keys").json["keys"]) == 1
    assert nobody.op("access.create_key", {"name": "x", "owner": "user:admin", "permissions": ["*"]}).status == 403


def test_the_secret_is_shown_once(client, made_key):
    key = made_key()
    assert key.token not in client.op("access.list_keys", {"limit": 1000}).body.decode()


def test_a_revoked_key_is_refused_within_a_second(made_key, client):
    key = made_key()
    assert whoami(key).status == 200
    assert client.delete(f"/api/v1/access/keys/{key.id}").json["revoked_at"]
    time.sleep(1)
    answer = whoami(key)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert client.op("access.rotate_key", {"id": key.id}).status == 409


def test_rotation_overlaps_as_long_as_was_asked(server, made_key, client):
    old = made_key(["models:read"])
    fresh = Client(server.port, client.op("access.rotate_key", {"id": old.id, "overlap_s": 2}).json["secret"])
    assert whoami(fresh).json["scope"] == ["models:read"]
    assert whoami(old).status == 200
    time.sleep(3)
    assert (whoami(old).status, whoami(fresh).status) == (401, 200)
    fresh.close()


def test_somebody_elses_key_is_not_there(made_key):
    mine, stranger = made_key(), made_key(["*"], owner=someone())
    for operation in ("access.revoke_key", "access.rotate_key"):
        assert stranger.op(operation, {"id": mine.id}).status == 404
        assert stranger.op(operation, {"id": "key_none"}).status == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "bearer purlin_x", "Basic", "Basic !!", "Digest x", "Bearer " + "x" * 7000,
                                    "Basic " + base64.b64encode(b"no colon").decode(), "Basic " + base64.b64encode(b"a:b\0c").decode()])
def test_what_is_no_credential_is_401(client, header):
    answer = client.get("/api/v1/access/whoami", token=False, headers={"Authorization": header})
    assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")


def test_http_basic_takes_a_key_as_the_password(client, made_key):
    key = made_key(["models:read"])
    basic = base64.b64encode(f"anything:{key.token}".encode()).decode()
    answer = client.get("/api/v1/access/whoami", token=False, headers={"Authorization": f"Basic {basic}"})
    assert answer.json["scope"] == ["models:read"]


def test_the_use_of_a_key_is_written_down(made_key, client):
    key = made_key()
    whoami(key)
    found = [k for k in client.op("access.list_keys", {"limit": 1000}).json["keys"] if k["id"] == key.id]
    assert found[0]["last_used_at"]


# ---- Roles and projects -------------------------------------------------------------------------------------------------------


def test_a_role_in_a_project_reaches_that_project_alone(client, made_key, project):
    ana = someone()
    other = client.op("access.create_project", {"name": f"other{time.monotonic_ns()}"}).json
    assert client.op("access.grant_role", {"subject": ana, "role": "owner", "project": project["name"]}).status == 201
    hers = made_key(["*"], owner=ana)
    assert [p["id"] for p in hers.op("access.list_projects").json["projects"]] == [project["id"]]
    assert hers.op("access.get_project", {"name": other["name"]}).status == 404
    assert hers.op("access.grant_role", {"subject": someone(), "role": "viewer", "project": project["id"]}).status == 201
    assert hers.op("access.grant_role", {"subject": someone(), "role": "viewer"}).status == 403
    assert hers.op("access.grant_role", {"subject": someone(), "role": "viewer", "project": other["id"]}).status == 404
    assert hers.op("access.create_project", {"name": "more"}).status == 403
    assert hers.op("access.create_role", {"name": "mine", "summary": "-", "permissions": ["models:read"]}).status == 403


def test_what_does_not_look_at_projects_wants_the_whole_workspace(client, made_key, project):
    ana = someone()
    client.op("access.grant_role", {"subject": ana, "role": "owner", "project": project["id"]})
    hers = made_key(["*"], owner=ana)
    assert hers.get("/api/v1/jobs").status == 403
    client.op("access.grant_role", {"subject": ana, "role": "viewer"})
    time.sleep(1)
    assert hers.get("/api/v1/jobs").status == 200


def test_the_header_chooses_the_project_of_new_things(client, made_key, project):
    named = client.get("/api/v1/access/whoami", headers={"Purlin-Project": project["name"]})
    assert named.json["project"] == project["id"]
    nobody = made_key(["*"], owner=someone())
    assert nobody.get("/api/v1/access/whoami", headers={"Purlin-Project": project["name"]}).status == 404
    assert client.get("/api/v1/access/whoami", headers={"Purlin-Project": "none"}).status == 404
    assert client.get("/api/v1/access/whoami", headers={"Purlin-Project": "p" * 65}).status == 400


def test_a_key_of_a_project_reaches_no_other(client, made_key, project):
    bound = made_key(["*"], project=project["name"])
    assert {g["project"] for g in whoami(bound).json["grants"]} == {project["id"]}
    assert bound.get("/api/v1/jobs").status == 403
    assert bound.op("access.create_key", {"name": "out", "permissions": ["*"], "project": "default"}).status in (403, 404)
    inner = bound.op("access.create_key", {"name": "in", "permissions": ["*"]})
    assert inner.status == 201
    assert whoami(Client(bound.connection.port, inner.json["secret"])).json["grants"][0]["project"] == project["id"]
    # Nor does it make one of a key of the same owner that reaches everything.
    whole = client.op("access.create_key", {"name": "whole", "permissions": ["*"]}).json["id"]
    assert [bound.op(f"access.{verb}_key", {"id": whole}).status for verb in ("rotate", "revoke")] == [403, 403]
    rotated = bound.op("access.rotate_key", {"id": inner.json["id"]})
    assert {g["project"] for g in whoami(Client(bound.connection.port, rotated.json["secret"])).json["grants"]} == {project["id"]}


def test_a_role_for_an_object_reaches_that_object_alone(client, made_key, project):
    ana, here = someone(), {"Purlin-Project": project["id"]}
    mine, other = (client.post("/api/v1/models", {"name": f"m{time.monotonic_ns()}"}, headers=here).json for _ in range(2))
    client.op("access.grant_role", {"subject": ana, "role": "editor", "project": project["id"], "object": mine["id"]})
    hers = made_key(["*"], owner=ana)
    assert [m["name"] for m in hers.op("registry.list_models").json["models"]] == [mine["name"]]
    assert hers.op("registry.get_model", {"name": mine["name"]}).json["project"] == project["id"]
    assert hers.op("registry.delete_alias", {"name": mine["name"], "alias": "none"}).status == 404  # as far as looking for the alias
    assert hers.op("registry.get_model", {"name": other["name"]}).status == 404
    assert hers.post("/api/v1/models", {"name": "more"}, headers=here).status == 403


@pytest.mark.parametrize("name_of", [lambda model: model["project"], lambda model: model["id"], lambda model: f"x,{model['project']}", lambda model: "*"],
                         ids=["another project", "an object of another", "a list", "everything"])
def test_a_role_for_an_object_opens_no_other_project(client, made_key, project, name_of):
    """Whoever owns a project grants roles for any object there: one that is named like something elsewhere opens nothing there."""
    ana, model = someone(), client.op("registry.create_model", {"name": f"m{time.monotonic_ns()}"}).json
    client.op("access.grant_role", {"subject": ana, "role": "owner", "project": project["id"]})
    hers = made_key(["*"], owner=ana)
    bob = someone()
    granted = hers.op("access.grant_role", {"subject": bob, "role": "viewer", "project": project["id"], "object": name_of(model)})
    assert granted.status in (201, 400)
    his = made_key(["*"], owner=bob)
    assert his.op("registry.list_models").json.get("models", []) == []
    assert his.op("registry.get_model", {"name": model["name"]}).status == (404 if granted.status == 201 else 403)


def test_nobody_grants_more_than_they_hold(client, made_key):
    ana = someone()
    role = f"granter{time.monotonic_ns()}"
    assert client.op("access.create_role", {"name": role, "summary": "-", "permissions": ["access:*", "models:read"]}).status == 201
    client.op("access.grant_role", {"subject": ana, "role": role})
    hers = made_key(["*"], owner=ana)
    assert hers.op("access.grant_role", {"subject": ana, "role": "owner"}).status == 403
    assert hers.op("access.grant_role", {"subject": ana, "role": "viewer"}).status == 403
    assert hers.op("access.create_role", {"name": "up", "summary": "-", "permissions": ["models:*"]}).status == 403
    assert hers.op("access.grant_role", {"subject": someone(), "role": role}).status == 201
    narrow = made_key(["access:write"])
    assert narrow.op("access.grant_role", {"subject": ana, "role": "owner"}).status == 403


def test_a_role_that_is_granted_stays(client):
    role = f"r{time.monotonic_ns()}"
    client.op("access.create_role", {"name": role, "summary": "-", "permissions": ["models:read"]})
    given = client.op("access.grant_role", {"subject": someone(), "role": role}).json
    assert client.op("access.delete_role", {"name": role}).status == 409
    assert client.op("access.create_role", {"name": role, "summary": "-", "permissions": ["*"]}).status == 409
    assert client.op("access.revoke_grant", {"id": given["id"]}).status == 200
    assert client.op("access.delete_role", {"name": role}).status == 200
    assert client.op("access.delete_role", {"name": role}).status == 404
    assert client.op("access.delete_role", {"name": "owner"}).status == 409
    assert client.op("access.grant_role", {"subject": someone(), "role": role}).status == 400


def test_the_last_owner_stays(server, client):
    made = client.op("access.create_workspace", {"name": f"w{time.monotonic_ns()}", "owner": "user:eve"}).json
    eve = Client(server.port, made["secret"])
    only = eve.op("access.list_grants").json["grants"][0]
    refused = eve.op("access.revoke_grant", {"id": only["id"]})
    assert refused.status == 409 and "last owner" in refused.json["detail"]
    second = eve.op("access.grant_role", {"subject": "user:joe", "role": "owner"})
    assert (second.status, eve.op("access.revoke_grant", {"id": second.json["id"]}).status) == (201, 200)
    eve.close()


# ---- Workspaces -----------------------------------------------------------------------------------------------------------------


def test_nothing_crosses_workspaces(server, client, project):
    name = f"w{time.monotonic_ns()}"
    made = client.op("access.create_workspace", {"name": name, "owner": "user:bob"})
    assert made.status == 201
    bob = Client(server.port, made.json["secret"])
    assert whoami(bob).json["workspace"] == name
    client.op("registry.create_model", {"name": f"secret{name}"})
    assert bob.op("registry.list_models").json == {"models": []}
    assert bob.op("registry.get_model", {"name": f"secret{name}"}).status == 404
    assert [p["id"] for p in bob.op("access.list_projects").json["projects"]] == ["default"]
    assert bob.op("access.get_project", {"name": project["id"]}).status == 404
    assert bob.op("access.grant_role", {"subject": "user:bob", "role": "owner", "project": project["id"]}).status == 404
    assert {g["subject"] for g in bob.op("access.list_grants").json["grants"]} == {"user:bob"}
    theirs = client.op("access.list_grants").json["grants"][0]["id"]
    assert bob.op("access.revoke_grant", {"id": theirs}).status == 404
    assert bob.op("access.create_workspace", {"name": "more", "owner": "user:bob"}).status == 403
    assert bob.get("/api/v1/access/whoami", headers={"Purlin-Workspace": "default"}).status == 403
    assert client.get("/api/v1/access/whoami", headers={"Purlin-Workspace": name}).status == 403
    bob.close()


# ---- The operator's last word -----------------------------------------------------------------------------------------------------


def test_a_policy_can_take_away_and_not_give(new_daemon):
    own = new_daemon(start=False)
    (own.policies / "hours.lua").write_text(
        'purlin.policy("access.authorize", function(q)\n'
        '  local hour = tonumber(purlin.time.format(purlin.time.now()):sub(12, 13))\n'
        '  if q.permission == "models:write" and hour >= 0 and hour < 24 then return { allow = false, reason = "not on a Sunday" } end\n'
        '  return { allow = true }\n'
        'end)\n')
    own.start()
    client = own.client()
    for refused in (client.post("/api/v1/models", {"name": "n"}), client.op("registry.create_model", {"name": "m"})):
        assert (refused.status, refused.json["detail"]) == (403, "not on a Sunday")
    assert client.get("/api/v1/models").status == 200
    nobody = client.op("access.create_key", {"name": "x", "owner": "user:nobody", "permissions": ["*"]}).json["secret"]
    assert client.get("/api/v1/models", token=nobody).status == 403
    client.close()
