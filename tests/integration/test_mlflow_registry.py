"""MLflow's model registry as its clients see it: addresses, words, limits and errors. The clients themselves: tests/clients."""
import urllib.parse

import pytest

from daemon import unique

API = "/api/2.0/mlflow/"
S3 = "s3://bucket/models/1"
PROMPT = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]


def say(answer, status=200):
    assert answer.status == status, answer
    return answer.json


def refused(answer, code, *words, status=400):
    assert answer.status == status and answer.json["error_code"] == code, answer
    for word in words:
        assert word in answer.json["message"], answer


def post(client, path, **body):
    return client.post(API + path, body)


def patch(client, path, **body):
    return client.call("PATCH", API + path, body)


def remove(client, path, **body):
    return client.call("DELETE", API + path, body)


@pytest.fixture()
def model(client):
    name = unique("model")
    say(post(client, "registered-models/create", name=name))
    return name


def add(client, model, source=S3, **more):
    return say(post(client, "model-versions/create", name=model, source=source, **more))["model_version"]


def test_a_model_as_it_is_told(client):
    name = unique("model")
    made = say(post(client, "registered-models/create", name=name, description="d", tags=[{"key": "a", "value": "1"}, {"key": "b"}], unknown=1))
    told = made["registered_model"]
    assert told["name"] == name and told["description"] == "d"
    assert isinstance(told["creation_timestamp"], int) and told["creation_timestamp"] > 1.7e12
    add(client, name, tags=[{"key": "k", "value": "v"}], run_link="https://x", run_id="r", description="first")
    say(post(client, "registered-models/alias", name=name, alias="best", version="1"))
    told = say(client.get(f"{API}registered-models/get?name={name}"))["registered_model"]
    assert told["aliases"] == [{"alias": "best", "version": "1"}] and told["tags"] == [{"key": "a", "value": "1"}, {"key": "b", "value": ""}]
    version = told["latest_versions"][0]
    del version["creation_timestamp"], version["last_updated_timestamp"]
    assert version == {"name": name, "version": "1", "user_id": "user:admin", "current_stage": "None", "description": "first", "source": S3, "run_id": "r",
                       "run_link": "https://x", "status": "READY", "tags": [{"key": "k", "value": "v"}], "aliases": ["best"]}
    assert say(client.get(f"/ajax-api/2.0/mlflow/registered-models/get?name={name}"))["registered_model"]["name"] == name


def test_models_are_changed(client, model):
    assert say(patch(client, "registered-models/update", name=model, description="x"))["registered_model"]["description"] == "x"
    assert not say(patch(client, "registered-models/update", name=model))["registered_model"].get("description")
    assert say(post(client, "registered-models/set-tag", name=model, key="k", value="v")) == {}
    assert say(remove(client, "registered-models/delete-tag", name=model, key="k")) == say(remove(client, "registered-models/delete-tag", name=model, key="k")) == {}
    new = unique("new")
    assert say(post(client, "registered-models/rename", name=model, new_name=new))["registered_model"]["name"] == new
    assert say(remove(client, "registered-models/delete", name=new)) == {}
    gone = f"Registered Model with name={new} not found"
    for answer in (client.get(f"{API}registered-models/get?name={new}"), remove(client, "registered-models/delete", name=new),
                   patch(client, "registered-models/update", name=new), post(client, "registered-models/rename", name=new, new_name="x"),
                   post(client, "registered-models/set-tag", name=new, key="k", value="v"), post(client, "model-versions/create", name=new, source=S3),
                   post(client, "registered-models/get-latest-versions", name=new), remove(client, "registered-models/alias", name=new, alias="a"),
                   client.get(f"{API}registered-models/alias?name={new}&alias=a")):
        refused(answer, "RESOURCE_DOES_NOT_EXIST", gone, status=404)


def test_names(client, model):
    create = "registered-models/create"
    refused(post(client, create, name=model), "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={model}) already exists")
    refused(post(client, create, name=model, tags=PROMPT), "RESOURCE_ALREADY_EXISTS", "Tried to create a prompt with name", "already taken by a registered model")
    refused(post(client, create), "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'name'")
    refused(post(client, create, name=" "), "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'name'")
    for bad in ("a/b", "a:b", "a@b"):
        refused(post(client, create, name=bad), "INVALID_PARAMETER_VALUE", f"Invalid model name '{bad}'. Names cannot contain")
    for bad in (".", "..", "../x", "x" * 257, "a\nb", "a\u0000b", 7, None, [], {}):
        refused(post(client, create, name=bad), "INVALID_PARAMETER_VALUE")
    other = unique("other")
    say(post(client, create, name=other))
    refused(post(client, "registered-models/rename", name=other, new_name=model), "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={model}) already exists")
    refused(post(client, "registered-models/rename", name=other, new_name=""), "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'new_name'")
    longest = unique("ä")[:20] + "ü" * 236
    say(post(client, create, name=longest))


HOSTILE = ["..", "../../etc/passwd", "..%2f..%2fetc", "%2e%2e", "%252e%252e", "#x", "a#b", "/etc/passwd", "file:///etc/passwd", "a?b", "a\\b", "a\u0000b", "\u202e", "' OR 1=1 -- ",
           "`", "%", "_", "\U0001f600", "x" * 257, "y" * 3000]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(client, model, name):
    """Refused, or a name like any other: found by itself alone, and nothing else is by it."""
    asked = urllib.parse.quote(name, safe="")
    made = post(client, "registered-models/create", name=name)
    assert made.status in (200, 400), made
    found = client.get(f"{API}registered-models/get?name={asked}")
    if made.status == 200:
        assert say(found)["registered_model"]["name"] == name
        quoted = name.replace("'", "''")
        assert [m["name"] for m in say(post(client, "registered-models/search", filter=f"name = '{quoted}'"))["registered_models"]] == [name]
        assert add(client, name)["name"] == name
        assert say(remove(client, "registered-models/delete", name=name)) == {}
    else:
        assert made.json["error_code"] == "INVALID_PARAMETER_VALUE" and found.status in (400, 404)
    assert post(client, "registered-models/rename", name=model, new_name=name).status == made.status
    for path in ("registered-models/alias", "registered-models/set-tag"):
        answer = post(client, path, name=model if made.status != 200 else name, alias=name, key=name, value="v", version="1")
        assert answer.status in (200, 400, 404) and b"root:" not in answer.body


def test_versions(client, model):
    assert [add(client, model)["version"] for _ in range(3)] == ["1", "2", "3"]
    version = {"name": model, "version": "2"}
    assert say(patch(client, "model-versions/update", description="x", **version))["model_version"]["description"] == "x"
    assert "description" not in say(patch(client, "model-versions/update", **version))["model_version"]
    assert say(post(client, "model-versions/set-tag", key="k", value="v", **version)) == {}
    told = say(client.get(f"{API}model-versions/get?name={model}&version=2"))["model_version"]
    assert told["tags"] == [{"key": "k", "value": "v"}] and told["version"] == "2"
    assert say(remove(client, "model-versions/delete-tag", key="k", **version)) == {}
    assert say(client.get(f"{API}model-versions/get-download-uri?name={model}&version=2")) == {"artifact_uri": S3}
    assert say(remove(client, "model-versions/delete", **version)) == {}
    gone = f"Model Version (name={model}, version=2) not found"
    for answer in (client.get(f"{API}model-versions/get?name={model}&version=2"), remove(client, "model-versions/delete", **version),
                   patch(client, "model-versions/update", **version), post(client, "model-versions/transition-stage", stage="Staging", **version),
                   post(client, "model-versions/set-tag", key="k", value="v", **version), remove(client, "model-versions/delete-tag", key="k", **version),
                   client.get(f"{API}model-versions/get-download-uri?name={model}&version=2"), post(client, "registered-models/alias", alias="a", **version)):
        refused(answer, "RESOURCE_DOES_NOT_EXIST", gone, status=404)
    refused(client.get(f"{API}model-versions/get?name={model}&version=0"), "RESOURCE_DOES_NOT_EXIST", status=404)
    for bad in ("x", "@best", "1.5", "9" * 30):
        refused(client.get(f"{API}model-versions/get?name={model}&version={bad}"), "INVALID_PARAMETER_VALUE", "'version' must be an integer")
    assert add(client, model)["version"] == "4"


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc", "s3://b/../x", "mlflow-artifacts://h:1/..%2f..%2f", "http://h/api/2.0/mlflow-artifacts/artifacts%00",
                                    "models:/m-none", "runs:/r/x", "s3://b#x", "s3://b?x", "", "dummy-source", "s3://b/%2e%2e/x", "s3://b/%252e%252e/x", "s3://b/a\\..\\x", "FILE:///etc",
                                    "file:etc", "//host/x", "a/b", "s3://b/a\x00b", "s3://b/a\nb", "mlflow-artifacts:/../../etc", "mlflow-artifacts:///0/%2e%2e/x", "runs:/../x",
                                    "models:/../1", "dbfs:/../x", "http://h/%2e%2e/x", "s3://b/" + "x" * 2048, "s3://b/" + "x" * 8000])
def test_sources(client, model, source):
    refused(post(client, "model-versions/create", name=model, source=source), "INVALID_PARAMETER_VALUE", f"Invalid model version source: '{source[:300]}" if source and len(source) < 8000 and '\0' not in source else "")


def test_stages(client, model):
    for _ in range(3):
        add(client, model)

    def move(version, stage, **more):
        return post(client, "model-versions/transition-stage", name=model, version=version, stage=stage, **more)

    assert say(move("1", "production"))["model_version"]["current_stage"] == "Production"
    assert say(move("2", "PRODUCTION", archive_existing_versions=True))["model_version"]["current_stage"] == "Production"
    latest = say(post(client, "registered-models/get-latest-versions", name=model))["model_versions"]
    assert {v["current_stage"]: v["version"] for v in latest} == {"Archived": "1", "Production": "2", "None": "3"}
    latest = say(client.get(f"{API}registered-models/get-latest-versions?name={model}&stages=production&stages=staging"))["model_versions"]
    assert [v["version"] for v in latest] == ["2"]
    refused(move("1", "Gone"), "INVALID_PARAMETER_VALUE", "Invalid Model Version stage: Gone. Value must be one of None, Staging, Production, Archived.")
    refused(move("1", "None", archive_existing_versions=True), "INVALID_PARAMETER_VALUE", "is not an Active stage")
    refused(post(client, "registered-models/get-latest-versions", name=model, stages=["x"]), "INVALID_PARAMETER_VALUE", "Invalid Model Version stage: x")


def test_aliases(client, model):
    path = "registered-models/alias"

    def get(alias):
        return client.get(f"{API}{path}?name={model}&alias={alias}")

    refused(get("latest"), "RESOURCE_DOES_NOT_EXIST", f"Latest version not found for model {model}.", status=404)
    add(client, model)
    add(client, model)
    assert say(get("LATEST"))["model_version"]["version"] == "2"
    for version in ("2", "1"):
        assert say(post(client, path, name=model, alias="best", version=version)) == {}
        assert say(get("best"))["model_version"]["version"] == version
    assert say(remove(client, path, name=model, alias="best")) == say(remove(client, path, name=model, alias="best")) == {}
    refused(get("best"), "INVALID_PARAMETER_VALUE", "Registered model alias best not found.")
    refused(post(client, path, name=model, alias="Latest", version="1"), "INVALID_PARAMETER_VALUE", "'latest' alias name (case insensitive) is reserved.")
    refused(post(client, path, name=model, alias="V12", version="1"), "INVALID_PARAMETER_VALUE", "Version alias name 'V12' is reserved.")
    refused(post(client, path, name=model, alias="a b", version="1"), "INVALID_PARAMETER_VALUE", "Invalid alias name: 'a b'.")
    refused(post(client, path, name=model, alias="x" * 256, version="1"), "INVALID_PARAMETER_VALUE", "Registered model alias name")
    refused(post(client, path, name=model, version="1"), "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'alias'")


def test_searches(client):
    group = unique("g")
    for i in range(4):
        tags = [{"key": "i", "value": str(i)}] + (PROMPT if i == 3 else [])
        say(post(client, "registered-models/create", name=f"{group}{i}", tags=tags))
        for _ in range(2):
            add(client, f"{group}{i}", source="dummy-source" if i == 3 else f"s3://b/{i}", tags=PROMPT if i == 3 else [])

    def models(condition="", **more):
        body = {"filter": f"name LIKE '{group}%'{condition}", **more}
        answers = [say(client.post(f"{API}registered-models/search", body))]
        return [m["name"][len(group):] for m in answers[0].get("registered_models", [])]

    assert models() == models(" AND tag.`mlflow.prompt.is_prompt` != 'true'") == ["0", "1", "2"]
    assert models(" AND tags.`mlflow.prompt.is_prompt` = 'true'") == ["3"]
    assert models(order_by=["name DESC"]) == ["2", "1", "0"]
    say(patch(client, "registered-models/update", name=f"{group}1", description="x"))
    assert models(order_by=["last_updated_timestamp DESC", "name"])[0] == "1"
    assert models(order_by=["timestamp DESC"], max_results=1) == ["1"]
    query = f"{API}registered-models/search?filter=name+LIKE+%27{group}%25%27&max_results=2&order_by=name+ASC"
    page = say(client.get(query))
    assert len(page["registered_models"]) == 2 and page["registered_models"][0]["latest_versions"][0]["version"] == "2"
    rest = say(client.get(f"{query}&page_token={page['next_page_token']}"))
    assert [m["name"] for m in rest["registered_models"]] == [f"{group}2"] and not rest.get("next_page_token")
    refused(client.get(f"{API}registered-models/search?page_token=x"), "INVALID_PARAMETER_VALUE", "Invalid page token")
    refused(client.get(f"{API}registered-models/search?max_results=1001"), "INVALID_PARAMETER_VALUE", "max_results")
    refused(client.get(f"{API}registered-models/search?order_by=size"), "INVALID_PARAMETER_VALUE", "size")
    refused(client.get(f"{API}model-versions/search?max_results=200001"), "INVALID_PARAMETER_VALUE", "max_results")

    def versions(condition, **more):
        answer = say(client.post(f"{API}model-versions/search", {"filter": condition, **more}))
        return [(v["name"][len(group):], v["version"]) for v in answer.get("model_versions", [])]

    assert versions(f"name = '{group}0'") == [("0", "2"), ("0", "1")]
    assert versions(f"name LIKE '{group}%'", order_by=["name ASC", "version_number ASC"], max_results=200000) == [
        (str(i), v) for i in range(3) for v in ("1", "2")]
    assert versions(f"name='{group}3' AND tags.`mlflow.prompt.is_prompt` = 'true'") == [("3", "2"), ("3", "1")]
    assert versions(f"name LIKE '{group}%' AND source_path = 's3://b/1' AND version_number > 1") == [("1", "2")]
    assert versions("name = 'x' OR name = 'y'") == []
    for none in ("run_id != 'x'", "run_id NOT IN ('x', 'y')"):  # what has no run is of no other one, too
        assert versions(f"name = '{group}0' AND {none}") == [("0", "2"), ("0", "1")]
    assert versions(f"name = '{group}0' AND tags.none != 'x'") == []


def test_prompts(client):
    name = unique("prompt")
    say(post(client, "registered-models/create", name=name, tags=PROMPT))
    refused(post(client, "registered-models/create", name=name, tags=PROMPT), "RESOURCE_ALREADY_EXISTS", f"Prompt (name={name}) already exists")
    text = {"key": "mlflow.prompt.text", "value": "Hello {{name}} " + "x" * 90000}
    made = add(client, name, source="dummy-source", tags=PROMPT + [text])
    assert text in made["tags"] and made["source"] == "dummy-source"
    refused(post(client, "model-versions/create", name=name, source=S3, tags=PROMPT), "INVALID_PARAMETER_VALUE", f"Invalid prompt source: '{S3}'")


def test_what_a_client_registers_is_seen_at_every_door(client, model):
    add(client, model, tags=[{"key": "k", "value": "v"}])
    own = say(client.get(f"/api/v1/models/{model}/versions/1"))
    assert own["source"] == S3 and own["tags"] == [{"key": "k", "value": "v"}]
    say(client.put(f"/api/v1/models/{model}/aliases/champion", {"version": 1}))
    assert say(client.get(f"{API}registered-models/alias?name={model}&alias=champion"))["model_version"]["aliases"] == ["champion"]
    entries = say(client.get("/api/v1/audit/entries?limit=200&operation=registry.register_version"))["entries"]
    assert any(model in str(entry) for entry in entries)
