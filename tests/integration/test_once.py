"""Idempotency-Key: what is sent again because its answer was lost takes effect once."""
import threading
import uuid

import pytest


def create(client, name, key, **more):
    return client.post("/api/v1/models", {"name": name, **more}, headers={"Idempotency-Key": key})


def fresh():
    return uuid.uuid4().hex


def test_a_repeat_is_answered_as_the_first_was(client):
    name, key = f"m{fresh()}", fresh()
    first, again = create(client, name, key), create(client, name, key)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert "Idempotent-Replayed" not in first.headers and again.headers["Idempotent-Replayed"] == "true"
    assert create(client, name, fresh()).status == 409  # another request


def test_by_name_and_by_address_are_one(client):
    name, key = f"m{fresh()}", fresh()
    first = create(client, name, key)
    again = client.op("registry.create_model", {"name": name}, headers={"Idempotency-Key": key})
    assert again.json == first.json


def test_a_key_is_of_one_request(client):
    key = fresh()
    assert create(client, f"m{fresh()}", key).status == 201
    for other in (create(client, f"m{fresh()}", key),
                  client.op("tracking.create_experiment", {"name": f"e{fresh()}"}, headers={"Idempotency-Key": key})):
        assert other.status == 409 and "another request" in other.json["detail"]


def test_a_key_is_of_one_project(client):
    project = client.op("access.create_project", {"name": f"p{fresh()}"}).json["id"]
    name, key = f"m{fresh()}", fresh()
    assert create(client, name, key).status == 201
    other = client.post("/api/v1/models", {"name": name}, headers={"Idempotency-Key": key, "Purlin-Project": project})
    assert other.status == 409 and "another request" in other.json["detail"]


def test_a_key_is_of_one_actor(server, client):
    name, key = f"m{fresh()}", fresh()
    first = create(client, name, key)
    other = client.post("/api/v1/models", {"name": name}, headers={"Idempotency-Key": key}, token=server.token_for("default"))
    assert (first.status, other.status) == (201, 409)
    assert "exists" in other.json["detail"]


def test_failures_are_not_kept(client):
    key = fresh()
    assert create(client, "", key).status == 400
    assert create(client, f"m{fresh()}", key).status == 201


def test_many_at_once_make_one(server):
    """Experiments' runs have no unique name that would stop a second one."""
    setup = server.client()
    experiment = f"e{fresh()}"
    assert setup.op("tracking.create_experiment", {"name": experiment}).status == 201
    key, answers = fresh(), []

    def send():
        client = server.client()
        answers.append(client.post(f"/api/v1/experiments/{experiment}/runs", {}, headers={"Idempotency-Key": key}))
        client.close()

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status for a in answers} == {201}
    assert len({a.json["id"] for a in answers}) == 1
    assert sum("Idempotent-Replayed" not in a.headers for a in answers) == 1
    assert len(setup.get(f"/api/v1/experiments/{experiment}/runs").json["runs"]) == 1
    setup.close()


def test_a_secret_is_not_kept(client, server):
    key, name = fresh(), f"k{fresh()}"
    made = client.op("access.create_key", {"name": name, "permissions": ["*:read"]}, headers={"Idempotency-Key": key})
    again = client.op("access.create_key", {"name": name, "permissions": ["*:read"]}, headers={"Idempotency-Key": key})
    assert (made.status, again.status) == (201, 409)
    assert "shown once" in again.json["detail"]
    assert [k["name"] for k in client.op("access.list_keys", {"limit": 1000}).json["keys"]].count(name) == 1
    assert server.sql(f"SELECT COUNT(*) FROM purlin_answers WHERE answer LIKE '%{made.json['secret']}%'") == [["0"]]


@pytest.mark.parametrize("key", ["", "x" * 256, 'quo"te'])
def test_what_is_no_key_is_refused(client, key):
    answer = create(client, f"m{fresh()}", key)
    assert answer.status == 400 and "Idempotency-Key" in answer.json["detail"]


def test_an_answer_survives_the_daemon(own_server):
    client = own_server.client()
    name, key = f"m{fresh()}", fresh()
    first = create(client, name, key)
    client.close()
    own_server.kill()
    own_server.start()
    client = own_server.client()
    assert create(client, name, key).json == first.json
    client.close()
