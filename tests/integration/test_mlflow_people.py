"""Users and permissions as MLflow's clients ask for them: what is granted at one door is seen at the other."""
import base64

import pytest

from daemon import unique, wait_until

GOOD = "four plain garden words"
OTHER = "another four plain words"
USERS = "/api/2.0/mlflow/users"
EVERYWHERE = "/api/3.0/mlflow/users/permissions"
MODELS = "/api/2.0/mlflow/registered-models/permissions"
EXPERIMENTS = "/api/2.0/mlflow/experiments/permissions"


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def patch(client, path, body, **more):
    return client.call("PATCH", path, body, **more)


def code(answer):
    return answer.status, answer.json["error_code"]


@pytest.fixture
def user(client):
    name = unique("u")
    made = client.post(f"{USERS}/create", {"username": name, "password": GOOD})
    assert made.status == 200, made
    assert made.json["user"] == {"id": name, "username": name, "is_admin": False,
                                 "experiment_permissions": [], "registered_model_permissions": []}
    return name


@pytest.fixture
def model(client):
    name = unique("model")
    made = client.post("/api/v1/models", {"name": name})
    assert made.status == 201, made
    return made.json


@pytest.fixture
def experiment(client):
    made = client.post("/api/v1/experiments", {"name": unique("experiment")})
    assert made.status == 201, made
    return made.json


def test_a_user_of_mlflows_client_is_a_user_of_accounts(client, user):
    assert client.get(f"/api/v1/accounts/users/{user}").json["disabled"] is False
    assert client.get(f"{USERS}/get?username={user}").json["user"]["username"] == user
    assert user in [u["username"] for u in client.get(f"{USERS}/list").json["users"]]
    again = client.post(f"{USERS}/create", {"username": user, "password": GOOD})
    assert code(again) == (400, "RESOURCE_ALREADY_EXISTS") and again.json["message"] == f"User (username={user}) already exists."


def test_what_is_wrong_with_a_new_user_is_told_in_mlflows_words(client):
    missing = client.post(f"{USERS}/create", {"username": "somebody"})
    assert code(missing) == (400, "INVALID_PARAMETER_VALUE")
    assert missing.json["message"].startswith("Missing value for required parameter 'password'")
    weak = client.post(f"{USERS}/create", {"username": "somebody", "password": "password"})
    assert code(weak) == (400, "INVALID_PARAMETER_VALUE") and "'password'" in weak.json["message"]
    assert '"password"' not in weak.json["message"]
    unknown = client.get(f"{USERS}/get?username=nobody-of-that-name")
    assert code(unknown) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert unknown.json["message"] == "User with username=nobody-of-that-name not found"


def test_who_shows_nothing_is_told_how(client):
    answer = client.get(f"{USERS}/current", token=False)
    assert code(answer) == (401, "UNAUTHENTICATED") and answer.headers["WWW-Authenticate"]


def test_everybody_learns_who_they_are(client, user):
    own = client.get(f"{USERS}/current", token=False, headers=basic(user, GOOD))
    assert own.json == {"user": {"id": user, "username": user, "is_admin": False, "experiment_permissions": [],
                                 "registered_model_permissions": []}, "is_basic_auth": True}
    assert client.get(f"{USERS}/get?username={user}", token=False, headers=basic(user, GOOD)).status == 200
    assert client.get(f"{USERS}/get?username=admin", token=False, headers=basic(user, GOOD)).status == 403
    admin = client.get(f"{USERS}/current").json
    assert admin["user"]["is_admin"] is True and admin["is_basic_auth"] is False


def test_an_administrator_owns_the_workspace(client, user):
    for admin in (True, True, False, False):
        assert patch(client, f"{USERS}/update-admin", {"username": user, "is_admin": admin}).status == 200
        assert client.get(f"{USERS}/get?username={user}").json["user"]["is_admin"] is admin
        grants = client.get(f"/api/v1/access/grants?subject=user:{user}&role=owner").json["grants"]
        assert len(grants) == admin
    assert code(patch(client, f"{USERS}/update-admin", {"username": "nobody-here", "is_admin": True})) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_passwords(client, user):
    own = {"token": False, "headers": basic(user, GOOD)}
    path, body = f"{USERS}/update-password", {"username": user, "password": OTHER}
    refused = patch(client, path, body, **own)
    assert code(refused) == (400, "INVALID_PARAMETER_VALUE") and "current_password" in refused.json["message"]
    refused = patch(client, path, {**body, "current_password": "wrong"}, **own)
    assert code(refused) == (400, "INVALID_PARAMETER_VALUE") and "wrong" not in refused.json["message"]
    assert patch(client, path, {"username": "admin", "password": OTHER}, **own).status == 403
    assert patch(client, path, {**body, "current_password": GOOD}, **own).status == 200
    wait_until(lambda: client.get(f"{USERS}/current", **own).status == 401, 5, "the old password opens")  # remembered for a moment
    assert client.get(f"{USERS}/current", token=False, headers=basic(user, OTHER)).status == 200
    assert patch(client, path, {"username": user, "password": GOOD}).status == 200  # whoever manages users needs no old one
    assert client.get(f"{USERS}/current", **own).status == 200
    assert code(patch(client, path, {"username": "nobody-here", "password": OTHER})) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_guesses_of_ones_own_password_are_counted(client, user):
    body = {"username": user, "password": OTHER, "current_password": "wrong"}
    answers = [patch(client, f"{USERS}/update-password", body, token=False, headers=basic(user, GOOD)).status for _ in range(10)]
    assert answers[:8] == [400] * 8 and answers[-1] == 429, answers


def test_who_was_deleted_comes_in_no_more_and_their_name_stays_theirs(client, user):
    assert client.delete(f"{USERS}/delete", body={"username": user}).status == 200
    assert client.get(f"{USERS}/current", token=False, headers=basic(user, GOOD)).status == 401
    assert code(client.get(f"{USERS}/get?username={user}")) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert code(client.delete(f"{USERS}/delete", body={"username": user})) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert user not in [u["username"] for u in client.get(f"{USERS}/list").json["users"]]
    assert client.post(f"{USERS}/create", {"username": user, "password": GOOD}).status == 400
    assert client.get(f"/api/v1/accounts/users/{user}").json["disabled"] is True


ROLES = {"READ": "viewer", "USE": "caller", "EDIT": "editor", "MANAGE": "owner"}


def granted(client, user, of):
    grants = client.get(f"/api/v1/access/grants?subject=user:{user}").json["grants"]
    return [g["role"] for g in grants if g.get("object") == of["id"] and g["project"] == of["project"]]


DOORS = {"experiment": (EXPERIMENTS, "experiment_id", "id", "experiment_permission"),
         "model": (MODELS, "name", "name", "registered_model_permission")}


@pytest.mark.parametrize("kind", DOORS)
def test_a_permission_of_2x_is_a_role_on_that_object(client, user, kind, request):
    of, (path, key, own, wrapper) = request.getfixturevalue(kind), DOORS[kind]
    who = {key: of[own], "username": user}
    where = f"{path}/get?{key}={of[own]}&username={user}"
    assert code(client.get(where)) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert code(patch(client, f"{path}/update", {**who, "permission": "READ"})) == (404, "RESOURCE_DOES_NOT_EXIST")
    made = client.post(f"{path}/create", {**who, "permission": "READ"})
    assert made.status == 200 and made.json[wrapper] == {key: of[own], "user_id": user, "permission": "READ"}
    assert code(client.post(f"{path}/create", {**who, "permission": "EDIT"})) == (400, "RESOURCE_ALREADY_EXISTS")
    for permission, role in ROLES.items():
        assert patch(client, f"{path}/update", {**who, "permission": permission}).status == 200
        assert client.get(where).json[wrapper]["permission"] == permission
        assert granted(client, user, of) == [role]
    assert client.delete(f"{path}/delete", body=who).status == 200
    assert granted(client, user, of) == []
    assert code(client.delete(f"{path}/delete", body=who)) == (404, "RESOURCE_DOES_NOT_EXIST")
    grant = {"subject": f"user:{user}", "role": "editor", "project": of["project"], "object": of["id"]}
    assert client.post("/api/v1/access/grants", grant).status == 201
    assert client.get(where).json[wrapper]["permission"] == "EDIT"  # given at the other door


@pytest.mark.parametrize("kind", DOORS)
def test_a_permission_of_3x(client, user, kind, request):
    of = request.getfixturevalue(kind)
    resource = {"username": user, "resource_type": {"model": "registered_model"}.get(kind, kind), "resource_id": of[DOORS[kind][2]]}
    query = "&".join(f"{key}={value}" for key, value in resource.items())
    assert client.get(f"{EVERYWHERE}/get?{query}").json == {"allowed": False, "permission": "NO_PERMISSIONS"}
    assert code(client.post(f"{EVERYWHERE}/revoke", resource)) == (404, "RESOURCE_DOES_NOT_EXIST")
    for permission, role in ROLES.items():
        assert client.post(f"{EVERYWHERE}/grant", {**resource, "permission": permission}).status == 200
        assert code(client.post(f"{EVERYWHERE}/grant", {**resource, "permission": "READ"})) == (400, "RESOURCE_ALREADY_EXISTS")
        assert granted(client, user, of) == [role]
        shown = "READ" if (kind, permission) == ("experiment", "USE") else permission  # nothing of an experiment is used but read
        told = client.get(f"{EVERYWHERE}/get?{query}", token=False, headers=basic(user, GOOD)).json
        assert told == {"allowed": shown != "READ", "permission": shown}
        assert client.post(f"{EVERYWHERE}/revoke", resource).status == 200
    assert client.post("/api/v1/access/grants", {"subject": f"user:{user}", "role": "viewer"}).status == 201
    assert client.get(f"{EVERYWHERE}/get?{query}").json == {"allowed": False, "permission": "READ"}  # by the workspace's role


def test_a_permission_holds(client, user, model):
    own = {"token": False, "headers": {**basic(user, GOOD), "Purlin-Workspace": "default"}}
    path = f"/api/v1/models/{model['name']}"
    assert client.get(path, **own).status in (403, 404)
    assert client.post(f"{MODELS}/create", {"name": model["name"], "username": user, "permission": "MANAGE"}).status == 200
    other = unique("u")
    assert client.post(f"{USERS}/create", {"username": other, "password": GOOD}).status == 200
    wait_until(lambda: client.get(path, **own).status == 200, 5, "the permission does not hold")  # grants are remembered for a moment
    given = client.post(f"{MODELS}/create", {"name": model["name"], "username": other, "permission": "EDIT"}, **own)
    assert given.status == 200, given  # who manages it gives it to others
    assert patch(client, f"{USERS}/update-admin", {"username": user, "is_admin": True}, **own).status == 403


@pytest.mark.parametrize("permission", ["NO_PERMISSIONS", "DENY"])
def test_nothing_denies(client, user, model, permission):
    who = {"name": model["name"], "username": user}
    refused = client.post(f"{MODELS}/create", {**who, "permission": permission})
    assert code(refused) == (400, "INVALID_PARAMETER_VALUE") and "delete the permission" in refused.json["message"]
    assert client.post(f"{MODELS}/create", {**who, "permission": "READ"}).status == 200
    assert patch(client, f"{MODELS}/update", {**who, "permission": permission}).status == 400
    assert granted(client, user, model) == ["viewer"]


def test_what_cannot_be_given(client, user, model):
    resource = {"username": user, "resource_type": "registered_model", "resource_id": model["name"], "permission": "READ"}
    for change in ({"permission": "read"}, {"resource_type": "scorer"}, {"resource_type": "workspace"}, {"resource_id": "*"}):
        assert code(client.post(f"{EVERYWHERE}/grant", {**resource, **change})) == (400, "INVALID_PARAMETER_VALUE"), change
    for change in ({"username": "nobody-here"}, {"resource_id": "no-such-model"}):
        assert code(client.post(f"{EVERYWHERE}/grant", {**resource, **change})) == (404, "RESOURCE_DOES_NOT_EXIST"), change
    assert granted(client, user, model) == []


def test_the_log_tells_what_was_done(client, user, model):
    assert client.post(f"{MODELS}/create", {"name": model["name"], "username": user, "permission": "READ"}).status == 200
    entries = client.get("/api/v1/audit/entries?limit=20&operation=access.grant_role").json["entries"]
    assert f"user:{user}" in str(entries)
