"""Models and versions in Purlin's own words: tags, stages, aliases, searches, and places of files that are elsewhere."""
import pytest

from daemon import Client, Threads, unique
from models import deploy, infer, register

S3 = "s3://bucket/models/1"


@pytest.fixture()
def model(client):
    name = unique("model")
    assert client.post("/api/v1/models", {"name": name}).status == 201
    return name


def add(client, model, source=S3, **more):
    answer = client.post(f"/api/v1/models/{model}/registrations", {"source": source, **more})
    assert answer.status == 201, answer
    return answer.json


def versions(client, condition, **more):
    answer = client.post("/api/v1/versions/search", {"condition": condition, **more})
    assert answer.status == 200, answer
    return answer.json


def test_versions_from_another_server_keep_their_numbers(client, model):
    assert add(client, model, number=3)["version"] == 3
    assert add(client, model)["version"] == 4
    for number in (1, 3, 4):
        taken = client.post(f"/api/v1/models/{model}/registrations", {"source": S3, "number": number})
        assert taken.status == 409 and "the next one is 5" in taken.json["detail"], taken
    for number in (0, -1, 10**10):
        assert client.post(f"/api/v1/models/{model}/registrations", {"source": S3, "number": number}).status == 400


# ---- Models ----------------------------------------------------------------------------------------------------------------------


def test_a_model_is_described_renamed_and_deleted(client, model):
    made = client.get(f"/api/v1/models/{model}").json
    assert made["tags"] == made["aliases"] == made["latest_versions"] == [] and made["updated_at"] == made["created_at"]
    changed = client.call("PATCH", f"/api/v1/models/{model}", {"description": "ä"}).json
    assert changed["description"] == "ä" and changed["updated_at"] > made["updated_at"]
    add(client, model)
    new = unique("renamed")
    assert client.post(f"/api/v1/models/{model}/rename", {"new_name": new}).json["name"] == new
    assert client.get(f"/api/v1/models/{model}").status == 404
    assert client.get(f"/api/v1/models/{new}/versions/1").json["name"] == new
    other = unique("other")
    client.post("/api/v1/models", {"name": other})
    assert client.post(f"/api/v1/models/{other}/rename", {"new_name": new}).status == 409
    client.put(f"/api/v1/models/{new}/aliases/champion", {"version": 1})
    client.put(f"/api/v1/models/{new}/tags", {"key": "a", "value": "b"})
    client.put(f"/api/v1/models/{new}/versions/1/tags", {"key": "a", "value": "b"})
    assert client.delete(f"/api/v1/models/{new}").status == 200
    for gone in ("", "/versions/1", "/aliases/champion"):
        assert client.get(f"/api/v1/models/{new}{gone}").status == 404
    assert client.delete(f"/api/v1/models/{new}").status == 404


def test_numbers_are_not_used_again(client, model):
    assert [add(client, model)["version"] for _ in range(3)] == [1, 2, 3]
    client.put(f"/api/v1/models/{model}/aliases/champion", {"version": 3})
    assert client.delete(f"/api/v1/models/{model}/versions/@champion").status == 200
    assert client.get(f"/api/v1/models/{model}/aliases/champion").status == 404
    assert client.get(f"/api/v1/models/{model}/versions/3").status == 404
    assert add(client, model)["version"] == 4
    assert [v["version"] for v in client.get(f"/api/v1/models/{model}/versions").json["versions"]] == [4, 2, 1]


def test_versions_that_come_at_once_have_numbers_of_their_own(server, model):
    clients = [server.client() for _ in range(4)]
    made = []
    Threads(*[lambda c=c: made.extend(add(c, model)["version"] for _ in range(10)) for c in clients]).join()
    assert sorted(made) == list(range(1, 41))


def test_what_is_deleted_goes_on_serving(server, client):
    endpoint, model = deploy(server, client, ["x"])
    assert client.delete(f"/api/v1/models/{model}/versions/1").status == 200
    assert infer(client, endpoint, [[0.1]]).status == 200
    assert client.delete(f"/api/v1/models/{model}").status == 200
    assert infer(client, endpoint, [[0.1]]).status == 200
    assert client.get(f"/api/v1/endpoints/{endpoint}").json["model"] == model


def test_what_has_no_bytes_of_ours_says_so(client, model):
    add(client, model)
    version = client.get(f"/api/v1/models/{model}/versions/1").json
    assert [version.get(k) for k in ("framework", "sha256", "size", "signature", "location", "run_id")] == [None] * 6
    assert (version["source"], version["stage"], version["metrics"]) == (S3, "None", {})
    answer = client.post("/api/v1/endpoints", {"name": unique("e"), "model": model, "version": "1"})
    assert answer.status == 409 and "which this server does not read" in answer.json["detail"]


# ---- Tags ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["", "/versions/1", "/versions/@champion"])
def test_tags(client, model, of):
    add(client, model)
    client.put(f"/api/v1/models/{model}/aliases/champion", {"version": 1})
    path = f"/api/v1/models/{model}{of}"
    for key, value in (("b", "1"), ("a", "ü" * 100000), ("b", ""), ("mlflow.x y/z", "'; DROP TABLE x; --"), ("ö" * 250, "v")):
        assert client.put(f"{path}/tags", {"key": key, "value": value}).status == 200, key
    tags = {t["key"]: t["value"] for t in client.get(path).json["tags"]}
    assert tags == {"b": "", "a": "ü" * 100000, "mlflow.x y/z": "'; DROP TABLE x; --", "ö" * 250: "v"}
    assert client.delete(f"{path}/tags?key=b").status == 200
    assert client.delete(f"{path}/tags?key=b").status == 200
    assert "b" not in {t["key"] for t in client.get(path).json["tags"]}
    for key, value in (("", "v"), ("k" * 251, "v"), ("k", "v" * 100001), ("ö" * 251, "v"), ("a\nb", "v")):
        assert client.put(f"{path}/tags", {"key": key, "value": value}).status == 400, key


def test_tags_of_one_object_are_bounded(client, model):
    many = [{"key": f"k{i}", "value": "v"} for i in range(1000)]
    name = unique("tagged")
    assert client.post("/api/v1/models", {"name": name, "tags": many}).status == 201
    assert len(client.get(f"/api/v1/models/{name}").json["tags"]) == 1000
    assert client.put(f"/api/v1/models/{name}/tags", {"key": "k1", "value": "again"}).status == 200
    assert client.put(f"/api/v1/models/{name}/tags", {"key": "one more", "value": "v"}).status == 400
    for i in range(41):
        answer = client.put(f"/api/v1/models/{model}/tags", {"key": f"k{i}", "value": "x" * 100000})
    assert answer.status == 200
    assert client.put(f"/api/v1/models/{model}/tags", {"key": "k41", "value": "x" * 100000}).status == 400
    assert client.get(f"/api/v1/models/{model}").status == 200


# ---- Aliases and stages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V22", "a b", "a/b", "a@b", "a.b", "x" * 256, "ä" * 256, "%00", "a:b"])
def test_aliases_that_are_none(client, model, alias):
    add(client, model)
    answer = client.op("registry.set_alias", {"name": model, "alias": alias, "version": 1})
    assert answer.status == 400, answer


@pytest.mark.parametrize("alias", ["vx", "v", "1st", "-", "ä" * 255, "latest2"])
def test_aliases(client, model, alias):
    add(client, model)
    assert client.op("registry.set_alias", {"name": model, "alias": alias, "version": 1}).status == 200
    version = client.op("registry.get_version", {"name": model, "version": f"@{alias}"}).json
    assert version["version"] == 1 and version["aliases"] == [alias]
    assert client.get(f"/api/v1/models/{model}").json["aliases"][0]["alias"] == alias


def test_stages(client, model):
    for _ in range(4):
        add(client, model)
    path = f"/api/v1/models/{model}"
    for version, stage in ((1, "Production"), (2, "Production"), (3, "Staging")):
        moved = client.put(f"{path}/versions/{version}/stage", {"stage": stage})
        assert moved.status == 200 and moved.json["stage"] == stage

    def latest(query=""):
        return {v["stage"]: v["version"] for v in client.get(f"{path}/latest{query}").json["versions"]}

    assert latest() == {"None": 4, "Staging": 3, "Production": 2}
    assert latest("?stages=Production&stages=Archived") == {"Production": 2}
    assert client.put(f"{path}/versions/3/stage", {"stage": "Production", "archive_others": True}).status == 200
    assert latest() == {"None": 4, "Production": 3, "Archived": 2}
    assert {v["stage"]: v["version"] for v in client.get(path).json["latest_versions"]} == latest()
    assert client.put(f"{path}/versions/3/stage", {"stage": "production"}).status == 400
    assert client.put(f"{path}/versions/9/stage", {"stage": "Staging"}).status == 404


# ---- Searches --------------------------------------------------------------------------------------------------------------------------


def test_models_are_found(client):
    group = unique("g")
    names = [f"{group}-{i}" for i in range(5)]
    for i, name in enumerate(names):
        tags = [{"key": "even", "value": str(i % 2 == 0)}] + ([{"key": "mlflow.prompt.is_prompt", "value": "true"}] if i == 4 else [])
        assert client.post("/api/v1/models", {"name": name, "tags": tags}).status == 201

    def found(condition, **more):
        answer = client.post("/api/v1/models/search", {"condition": f"name LIKE '{group}%'" + condition, **more})
        assert answer.status == 200, answer
        return [int(m["name"][-1]) for m in answer.json["models"]]

    assert found("") == [0, 1, 2, 3, 4]
    assert found(" AND tags.even = 'True'") == [0, 2, 4]
    assert found(" AND tag.`mlflow.prompt.is_prompt` != 'true'") == [0, 1, 2, 3]
    assert found(" AND tag.`mlflow.prompt.is_prompt` = 'true'") == [4]
    assert found(" AND (tags.even = 'False' OR name = '%s')" % names[0], order="name DESC") == [3, 1, 0]
    client.call("PATCH", f"/api/v1/models/{names[2]}", {"description": "new"})
    assert found("", order="last_updated_timestamp DESC", limit=1) == [2]
    pages, page = [], ""
    while page is not None:
        answer = client.post("/api/v1/models/search", {"condition": f"name LIKE '{group}%'", "limit": 2, "page": page}).json
        pages.append([m["name"] for m in answer["models"]])
        page = answer.get("next_page") or None
    assert pages == [names[0:2], names[2:4], names[4:]]
    for wrong in ("nom = 'x'", "name > 'x'", "name = 3", "tags.a", "name = 'x' ORDER BY name"):
        assert client.post("/api/v1/models/search", {"condition": wrong}).status == 400


def test_versions_are_found(client):
    group = unique("g")
    for i in range(3):
        client.post("/api/v1/models", {"name": f"{group}-{i}"})
        for j in range(3):
            add(client, f"{group}-{i}", source=f"s3://b/{group}/{j}", tags=[{"key": "j", "value": str(j)}], run_link="https://else/where",
                run_id=f"elsewhere{j}")

    def found(condition, **more):
        return [(int(v["name"][-1]), v["version"]) for v in versions(client, condition, **more)["versions"]]

    mine = f"name LIKE '{group}%'"
    assert found(mine) == [(2, 3), (2, 2), (2, 1), (1, 3), (1, 2), (1, 1), (0, 3), (0, 2), (0, 1)]  # the last change first
    assert found(mine, order="name, version_number DESC") == [(0, 3), (0, 2), (0, 1), (1, 3), (1, 2), (1, 1), (2, 3), (2, 2), (2, 1)]
    assert found(f"name = '{group}-1'") == [(1, 3), (1, 2), (1, 1)]
    assert found(f"{mine} AND run_id IN ('elsewhere0', 'elsewhere2')") == [(2, 3), (2, 1), (1, 3), (1, 1), (0, 3), (0, 1)]
    assert found(f"source_path = 's3://b/{group}/1'") == [(2, 2), (1, 2), (0, 2)]
    assert found(f"{mine} AND version_number >= 2 AND tags.j != '2'") == [(2, 2), (1, 2), (0, 2)]
    assert found(f"{mine} AND tags.nothing != 'x'") == [] and len(found(f"{mine} AND tags.`mlflow.prompt.is_prompt` != 'true'")) == 9
    assert found(mine, order="version_number, name DESC", limit=4) == [(2, 1), (1, 1), (0, 1), (2, 2)]
    client.put(f"/api/v1/models/{group}-1/aliases/best", {"version": 2})
    one = versions(client, f"name = '{group}-1' AND version_number = 2")["versions"][0]
    assert one["aliases"] == ["best"] and one["tags"] == [{"key": "j", "value": "1"}]


def test_nobody_finds_what_they_may_not_see(server, client):
    name = unique("hidden")
    made = client.post("/api/v1/models", {"name": name, "tags": [{"key": "t", "value": name}]})
    assert made.status == 201, made
    add(client, name, tags=[{"key": "t", "value": name}])
    other = Client(client.connection.port, server.token_for(unique("workspace")))
    for operation in ("registry.search_models", "registry.search_versions"):
        for condition in (f"name = '{name}'", f"tags.t = '{name}'"):
            answer = other.op(operation, {"condition": condition}).json
            assert (answer.get("models") or answer.get("versions") or []) == []


# ---- Places ------------------------------------------------------------------------------------------------------------------------------

REFUSED = [
    "", "x", "/etc/passwd", "./x", "../x", "file:///etc/passwd", "file:/etc/passwd", "FILE:///etc", "file://host/x", "C:\\x", "C:/x", "\\\\host\\x",
    "s3://b/../x", "s3://b/%2e%2e/x", "s3://b/%252e%252e/x", "s3://b/x/..", "s3:/b/./x", "s3://b/..%2fx", "s3://b/..%5cx", "s3://b/x#y", "s3://b/x?y",
    "s3://b/x%23y", "s3://b/x%3fy", "s3://b/%00", "s3://b/%2500", "s3://b/a\nb", "s3://b/a\u0001b", "s3://b/a\x7f", "s3://b/%0a", "s3://" + "x" * 2048,
    "s3://b/%" + "25" * 20 + "2e./x", "gopher://x/y", "jdbc:x", "javascript:alert(1)", "data:text/plain,x", "unix:/run/x", "s3", "s3:", "s3:x",
    "http://h:1/api/2.0/mlflow-artifacts/artifacts/x", "https://h/api/2.0/mlflow-artifacts/artifacts/../../x", "http://h/a/%6dlflow-artifacts/artifacts/x",
    "runs:/", "runs://host/run/x", "runs:/run_x/m", "runs:/run_x/../y", "models:/", "models:/m-none", "models:///x", "models://host/x/1",
    "models:/x/1/2", "models:/@a", "models:/x@", "mlflow-artifacts:/", "mlflow-artifacts:/0/run_x/artifacts/m", "mlflow-artifacts://h/0/run_x/artifacts",
    "mlflow-artifacts:/../0/x", "mlflow-artifacts:x", "Mlflow-Artifacts:/0/x/artifacts", "dummy-source",
]


@pytest.mark.parametrize("source", REFUSED)
def test_places_that_are_none(client, model, source):
    answer = client.post(f"/api/v1/models/{model}/registrations", {"source": source})
    assert answer.status == 400, answer
    assert client.get(f"/api/v1/models/{model}").json["versions"] == 0


@pytest.mark.parametrize("source", [
    "s3://b/a b/c", "s3://b//c", "gs://b/x", "abfss://c@a.dfs.core.windows.net/x", "wasbs://c@a/x", "hdfs://h:9000/x", "dbfs:/x", "https://h/x+y%20z", "S3://b/x",
    "s3://b/...", "s3://b/a..b", "s3://b/100%", "ftp://h/x"])
def test_places_elsewhere(client, model, source):
    assert add(client, model, source=source)["source"] == source


def test_a_run_must_hold_the_source_that_is_here(client, model):
    """Where the files are in another store, a run is just told of: it may be another server's, or purged."""
    path = f"/api/v1/models/{model}/registrations"
    for source in ("runs:/run_none/m", "mlflow-artifacts:/0/run_none/artifacts/m"):
        answer = client.post(path, {"source": source, "run_id": "run_none"})
        assert answer.status == 400 and "The run_id request parameter must identify" in answer.json["detail"]
    assert add(client, model, run_id="run_none")["run_id"] == "run_none"
    add(client, model, run_id="run_none", run_link="https://other/#/runs/run_none")
    answer = client.post(path, {"source": "runs:/run_none/m", "run_id": "run_none", "run_link": "https://other"})
    assert answer.status == 400


def test_files_of_runs_and_logged_models(client, model):
    path = f"/api/v1/models/{model}/registrations"
    name = unique("experiment")
    experiment = client.post("/api/v1/experiments", {"name": name}).json["id"]
    runs = [client.post(f"/api/v1/experiments/{name}/runs", {}).json for _ in range(2)]
    files, run = runs[0]["artifact_uri"], runs[0]["id"]
    assert files == f"mlflow-artifacts:/{experiment}/{run}/artifacts"
    for source in (f"runs:/{run}/a/b", f"runs:/{run}", files, f"{files}/model", f"{files}/a%20b/"):
        assert add(client, model, source=source, run_id=run)["run_id"] == run
        other = client.post(path, {"source": source, "run_id": runs[1]["id"]})
        assert other.status == 400 and "must identify the resource" in other.json["detail"]
        assert client.post(path, {"source": source}).status == 400
    for source in (f"{files}x", f"{files}/..", f"{files}/%2e%2e/x", f"{files}//x", f"mlflow-artifacts://host/{experiment}/{run}/artifacts"):
        assert client.post(path, {"source": source, "run_id": run}).status == 400, source
    logged = client.post("/api/v1/logged-models", {"experiment_id": experiment, "source_run_id": run}).json
    made = add(client, model, source=f"models:/{logged['id']}", logged_model=logged["id"])
    assert (made["run_id"], made["location"], made["logged_model"]) == (run, logged["artifact_uri"], logged["id"])
    assert add(client, model, source=logged["artifact_uri"] + "/x", logged_model=logged["id"])["location"] is None
    assert add(client, model, source=S3, logged_model=logged["id"])
    for source, more in ((f"models:/{logged['id']}", {}), ("models:/m-other", {"logged_model": logged["id"]}), (files, {"logged_model": logged["id"]}),
                         (f"runs:/{run}/x", {"logged_model": logged["id"], "run_id": run}), (S3, {"logged_model": "m-none"})):
        assert client.post(path, {"source": source, **more}).status == 400, source


def test_only_files_that_one_may_see(server, client, model):
    """Whoever may change models and sees no runs registers none of their files."""
    name = unique("experiment")
    client.post("/api/v1/experiments", {"name": name})
    run = client.post(f"/api/v1/experiments/{name}/runs", {}).json
    blind = Client(client.connection.port, server.token_for("default", ["models:read", "models:write"]))
    body = {"source": run["artifact_uri"], "run_id": run["id"]}
    answer = blind.post(f"/api/v1/models/{model}/registrations", body)
    assert answer.status == 400 and "must identify the resource" in answer.json["detail"]
    assert client.post(f"/api/v1/models/{model}/registrations", body).status == 201


def test_copies(client, model):
    other = unique("copy")
    client.post("/api/v1/models", {"name": other})
    add(client, model, run_id="r", run_link="https://x")
    client.put(f"/api/v1/models/{model}/aliases/best", {"version": 1})
    client.put(f"/api/v1/models/{model}/versions/1/stage", {"stage": "Staging"})
    for number, suffix in enumerate(("/1", "@best", "/latest", "/staging"), 1):
        copy = add(client, other, source=f"models:/{model}{suffix}")
        assert (copy["version"], copy["source"], copy["location"], copy["run_id"]) == (number, f"models:/{model}/1", S3, "r")
    again = add(client, model, source=f"models:/{other}/1")
    assert again["location"] == S3
    for wrong, status in ((f"models:/{model}/9", 404), (f"models:/{model}@none", 404), ("models:/none/1", 404), (f"models:/{model}/odd", 404)):
        assert client.post(f"/api/v1/models/{other}/registrations", {"source": wrong}).status == status
    answer = client.post(f"/api/v1/models/{other}/registrations", {"source": f"models:/{model}/1", "run_id": "other"})
    assert answer.status == 400 and "must match the referenced" in answer.json["detail"]


def test_prompts_have_no_files(client, model):
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    assert add(client, model, source="dummy-source", tags=prompt)["source"] == "dummy-source"
    assert client.post(f"/api/v1/models/{model}/registrations", {"source": S3, "tags": prompt}).status == 400
    copy = client.post(f"/api/v1/models/{model}/registrations", {"source": f"models:/{model}/1"})
    assert copy.status == 400 and "Prompt versions" in copy.json["detail"]


def test_events_tell_of_it(server, client, model):
    add(client, model, tags=[{"key": "k", "value": "v"}])
    client.put(f"/api/v1/models/{model}/aliases/best", {"version": 1})
    client.delete(f"/api/v1/models/{model}/aliases/best")
    client.put(f"/api/v1/models/{model}/versions/1/tags", {"key": "a", "value": "x" * 40000})
    client.delete(f"/api/v1/models/{model}")
    rows = server.sql(f"SELECT name FROM events_outbox WHERE event_key = '{model}' UNION SELECT name FROM events_log WHERE event_key = '{model}' ORDER BY 1")
    assert sorted(name.split(".")[1] for [name] in rows) == ["alias_deleted", "alias_moved", "model_created", "model_deleted", "version_created",
                                                            "version_tag_set"]


def test_searches_read_what_they_answer(server):
    """Among 2,000 models with 6,000 versions, a page costs its rows and not theirs: no scan, and no statement for each row."""
    workspace = unique("many")
    client = Client(server.port, server.token_for(workspace))
    id, rows = f"CONCAT('{workspace}-', m.seq)", "seq_1_to_2000 m"
    own = f"'{workspace}', 'default'"
    server.sql(f"""INSERT INTO registry_models (id, workspace, project, name, versions, created_at, updated_at, created_by)
                     SELECT {id}, {own}, CONCAT('model-', LPAD(m.seq, 4, '0')), 3, NOW(6), NOW(6), 'x' FROM {rows};
                   INSERT INTO registry_versions (id, workspace, project, model_id, model_name, version, metrics, source, run_id, stage, created_at, updated_at, created_by)
                     SELECT CONCAT({id}, '/', v.seq), {own}, {id}, CONCAT('model-', LPAD(m.seq, 4, '0')), v.seq, '{{}}', 's3://b', CONCAT('run-', m.seq, '-', v.seq),
                     ELT(v.seq, 'Archived', 'Production', 'None'), NOW(6), NOW(6) - INTERVAL m.seq SECOND, 'x' FROM {rows} JOIN seq_1_to_3 v;
                   INSERT INTO registry_model_tags (workspace, project, model_id, name, value) SELECT {own}, {id}, 'team', m.seq MOD 400 FROM {rows};
                   INSERT INTO registry_version_tags (workspace, project, version_id, name, value)
                     SELECT {own}, CONCAT({id}, '/', v.seq), 'gate', m.seq MOD 400 FROM {rows} JOIN seq_1_to_3 v;
                   INSERT INTO registry_aliases (workspace, project, model_id, alias, version, updated_at, updated_by)
                     SELECT {own}, {id}, 'best', 2, NOW(6), 'x' FROM {rows};
                   ANALYZE TABLE registry_models, registry_versions, registry_model_tags, registry_version_tags, registry_aliases""")

    def counted():
        status = dict(server.sql("SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Handler_read%' OR Variable_name = 'Com_stmt_execute'"))
        return sum(int(n) for name, n in status.items() if name.startswith("Handler")), int(status["Com_stmt_execute"])

    def cost(operation, fields, found):
        """Rows read and statements run; tried again when they are many, since the server does something for itself, too."""
        least = (10 ** 9, 10 ** 9)
        for _ in range(6):
            before = counted()
            answer = client.op(operation, fields)
            after = counted()
            listed = answer.json.get("models", answer.json.get("versions"))
            assert answer.status == 200 and (len(listed) if isinstance(listed, list) else 1) == found, answer
            least = tuple(min(one, now - then) for one, now, then in zip(least, after, before, strict=True))
            if least[0] < 700 and least[1] < 20:
                break
        return least

    try:
        for operation, fields, found in (
                ("get_model", {"name": "model-1000"}, 1), ("get_version", {"name": "model-1000", "version": "@best"}, 1), ("latest_versions", {"name": "model-1000"}, 3),
                ("search_models", {"limit": 5}, 5), ("search_models", {"limit": 5, "order": "name DESC"}, 5), ("search_models", {"condition": "name = 'model-0777'"}, 1),
                ("search_models", {"condition": "tags.team = '7'"}, 5), ("search_models", {"condition": "tags.`mlflow.prompt.is_prompt` = 'true'"}, 0),
                ("search_models", {"condition": "tags.`mlflow.prompt.is_prompt` != 'true'", "limit": 5}, 5), ("search_models", {"condition": "name LIKE 'model-100%'", "limit": 5}, 5),
                ("search_versions", {"limit": 5}, 5), ("search_versions", {"condition": "name = 'model-0777'"}, 3), ("search_versions", {"condition": "run_id IN ('run-7-1', 'run-8-2')"}, 2),
                ("search_versions", {"condition": "tags.gate = '7'"}, 15), ("search_versions", {"condition": "tag.`mlflow.prompt.is_prompt` != 'true'", "limit": 5}, 5)):
            read, statements = cost(f"registry.{operation}", fields, found)
            assert read < 700 and statements < 20, (operation, fields, read, statements)
        _, few = cost("registry.search_models", {"limit": 10}, 10)
        _, many = cost("registry.search_models", {"limit": 100}, 100)
        assert many <= few + 12, (few, many)
    finally:
        for table in ("aliases", "version_tags", "model_tags", "versions", "models"):
            server.sql(f"DELETE FROM registry_{table} WHERE workspace = '{workspace}'")
        client.close()
