"""ETag, If-Match and If-None-Match: nobody overwrites what they have not seen. And the log tells of before and after."""
import threading

import pytest

from daemon import unique
from models import deploy, register


@pytest.fixture()
def alias(server, client):
    """The address of an alias at version 1 of a model that has two."""
    name, _ = register(server, client, ["x"])
    register(server, client, ["x"], name=name)
    path = f"/api/v1/models/{name}/aliases/champion"
    assert client.put(path, {"version": 1}).status == 200
    return path


def test_what_is_read_has_an_etag_and_is_not_sent_again(client, alias):
    first = client.get(alias)
    etag = first.headers["ETag"]
    assert etag.startswith('"') and etag.endswith('"') and len(etag) == 34
    assert client.get(alias).headers["ETag"] == etag
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(alias, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"") and again.headers["ETag"] == etag
    for other in ('"other"', etag.strip('"'), f'"{etag.strip(chr(34))}', ""):
        assert client.get(alias, headers={"If-None-Match": other}).status == 200


def test_a_change_answers_the_etag_of_what_is_read_next(client, alias):
    changed = client.put(alias, {"version": 2})
    assert changed.headers["ETag"] == client.get(alias).headers["ETag"]


def test_who_has_not_seen_the_latest_does_not_overwrite_it(client, alias):
    seen = client.get(alias).headers["ETag"]
    assert client.put(alias, {"version": 2}, headers={"If-Match": seen}).status == 200
    late = client.put(alias, {"version": 1}, headers={"If-Match": seen})
    assert late.status == 412 and late.json["title"] == "Precondition failed"
    now = client.get(alias)
    assert now.json["version"] == 2 and now.headers["ETag"] in late.json["detail"]
    assert client.delete(alias, headers={"If-Match": seen}).status == 412
    assert client.delete(alias, headers={"If-Match": now.headers["ETag"]}).status == 200
    gone = client.put(alias, {"version": 1}, headers={"If-Match": now.headers["ETag"]})
    assert gone.status == 412 and "nothing here" in gone.json["detail"]
    assert client.get(alias).status == 404  # and the refused change made nothing


@pytest.mark.parametrize("header", ["*", '"no", {etag}', "{etag}, W/\"x\""])
def test_lists_and_anything(client, alias, header):
    etag = client.get(alias).headers["ETag"]
    assert client.put(alias, {"version": 2}, headers={"If-Match": header.format(etag=etag)}).status == 200


@pytest.mark.parametrize("header", ["W/{etag}", "{bare}", '"', "", "x" * 3000])
def test_weak_and_malformed_tags_match_nothing(client, alias, header):
    etag = client.get(alias).headers["ETag"]
    answer = client.put(alias, {"version": 2}, headers={"If-Match": header.format(etag=etag, bare=etag.strip('"'))})
    assert answer.status == 412
    assert client.get(alias).json["version"] == 1


def test_of_many_at_once_one_wins(server, client, alias):
    etag, statuses = client.get(alias).headers["ETag"], []

    def change():
        mine = server.client()
        statuses.append(mine.put(alias, {"version": 2}, headers={"If-Match": etag}).status)

    threads = [threading.Thread(target=change) for _ in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(statuses) == [200] + [412] * 15


def test_by_name_as_by_address(client, alias):
    _, _, _, _, model, _, name = alias.split("/")
    answer = client.op("registry.set_alias", {"name": model, "alias": name, "version": 2}, headers={"If-Match": '"no"'})
    assert answer.status == 412


def test_where_there_is_no_object_if_match_is_refused(client):
    answer = client.post("/api/v1/models", {"name": unique("m")}, headers={"If-Match": '"x"'})
    assert answer.status == 400 and "no object" in answer.json["detail"]


def test_an_operation_that_takes_its_time_first(server, client):
    """A deployment loads the model before its first write: no lock is held meanwhile, and If-Match holds all the same."""
    name, _ = deploy(server, client, ["x"])
    endpoint = client.get(f"/api/v1/endpoints/{name}")
    assert endpoint.status == 200
    body = {"name": name, "model": endpoint.json["model"], "version": str(endpoint.json["version"])}
    assert client.post("/api/v1/endpoints", body, headers={"If-Match": '"x"'}).status == 412
    assert client.post("/api/v1/endpoints", body, headers={"If-Match": endpoint.headers["ETag"]}).status == 201


# What changes something and is no change of one object that can be read, each with its reason.
WITHOUT = {
    "jobs.enqueue": "makes",
    "events.drop": "a dead letter has no address of its own",
    "events.redrive": "a dead letter has no address of its own",
    "audit.erase": "of many entries",
    "drift.evaluate": "makes evaluations",
    "storage-fs.collect": "of many blobs",
    "tracking.purge": "of many runs",
    "drift.answer_alerts": "of many alerts",
    "serving.feedback": "of many predictions",
    "tracking.log_metric": "adds a point",
    "tracking.log_batch": "adds points",
    "tracking.log_parameter": "adds a parameter",
    "tracking.set_tag": "of the many of a run",
    "tracking.delete_tag": "of the many of a run",
    "tracking.log_inputs": "adds inputs",
    "tracking.log_outputs": "adds outputs",
    "tracking.record_model": "adds to a list",
    "artifacts.delete": "of many files",
    "artifacts.complete_upload": "ends it, and once more does nothing",
    "artifacts.abort_upload": "ends it",
    "traces.link": "of many traces",
    "traces.delete": "of many traces",
    "traces.log_spans": "adds spans",
    "accounts.revoke_session": "a session has no address of its own",
    "accounts.replace_password": "proves itself by the password that there was",
    "accounts.send_verification": "sends a letter",
    "accounts.forgot_password": "sends a letter",
    "access.set_quota": "says outright what holds from then on",
    "accounts.confirm_registration": "by a token that is used once",
    "accounts.verify_email": "by a token that is used once",
    "accounts.reset_password": "by a token that is used once",
}


def test_every_changeable_object_can_be_held_to_what_was_read(client):
    operations = [o for methods in client.get("/openapi.json").json["paths"].values() for o in methods.values()]
    changing = [o for o in operations if o.get("x-effect") == "changes" and "x-binds" not in o]
    assert len(changing) > 25
    for operation in changing:
        held = any(p["name"] == "If-Match" for p in operation["parameters"])
        assert held != (operation["operationId"] in WITHOUT), f"{operation['operationId']}: If-Match, or a reason here"


def test_the_log_tells_of_before_and_after(client, alias):
    assert client.put(alias, {"version": 2}).status == 200
    entries = client.get("/api/v1/audit/entries?limit=50&operation=registry.set_alias").json["entries"]
    entry = max((e for e in entries if e.get("before")), key=lambda e: e["at"])
    assert entry["before"]["version"] == 1 and entry["after"]["version"] == 2
    assert client.delete(alias).status == 200
    entries = client.get("/api/v1/audit/entries?limit=50&operation=registry.delete_alias").json["entries"]
    entry = max(entries, key=lambda e: e["at"])
    assert entry["before"]["version"] == 2 and "after" not in entry
