"""The prompts of both clients: they are kept as models and versions are, and neither is taken for the other."""
import json

import mlflow
import pytest

from conftest import MAJOR, pages

since3 = pytest.mark.since3


@pytest.fixture
def prompt(name):
    """A function that registers a version of a prompt of this test's own, and gives it."""
    made = name("prompt")
    register = mlflow.genai.register_prompt if MAJOR >= 3 else mlflow.register_prompt
    return lambda template="Say {{ what }}.", **more: register(made, template, **more)


def test_versions_and_what_is_in_them(prompt):
    load = mlflow.genai.load_prompt if MAJOR >= 3 else mlflow.load_prompt
    for n in range(1, 4):
        made = prompt(f"Say {{{{ what }}}} {n} times.\nÜ \"'\\", commit_message=f"the {n}.")
        assert (int(made.version), made.commit_message) == (n, f"the {n}.")
    found = load(f"prompts:/{made.name}/2")
    assert found.template == "Say {{ what }} 2 times.\nÜ \"'\\" and found.variables == {"what"}
    assert found.format(what="it").startswith("Say it 2 times.") and int(load(made.name, version=3).version) == 3
    for none in (f"prompts:/{made.name}/9", f"prompts:/{made.name}-none/1"):
        with pytest.raises(mlflow.exceptions.MlflowException, match="not found"):
            load(none)


def test_aliases(client, prompt, fails):
    first, second = prompt(), prompt("Do say {{ what }}.")
    client.set_prompt_alias(first.name, "best", 1)
    client.set_prompt_alias(first.name, "best", 2)
    assert client.load_prompt(f"prompts:/{first.name}@best").template == second.template
    client.delete_prompt_alias(first.name, "best")
    with fails("INVALID_PARAMETER_VALUE" if MAJOR >= 3 else "RESOURCE_DOES_NOT_EXIST", "best"):
        client.load_prompt(f"prompts:/{first.name}@best", **({"cache_ttl_seconds": 0} if MAJOR >= 3 else {}))


def test_a_prompt_is_no_model(client, prompt, name, fails):
    made, model = prompt(), client.create_registered_model(name("model")).name
    assert made.name not in [one.name for one in client.search_registered_models(f"name = '{made.name}'")]
    with pytest.raises(mlflow.exceptions.MlflowException, match="already taken by a prompt|already exists|is registered as a prompt"):
        client.create_registered_model(made.name)
    with pytest.raises(mlflow.exceptions.MlflowException, match="exists with the same name|already taken by a registered model|is registered as a model"):
        (mlflow.genai.register_prompt if MAJOR >= 3 else mlflow.register_prompt)(model, "Say {{ what }}.")
    assert [int(one.version) for one in client.search_model_versions(f"name = '{model}'")] == []
    for ask in (client.get_registered_model, client.delete_registered_model):
        with fails("RESOURCE_DOES_NOT_EXIST"):
            ask(made.name)


def test_runs_know_their_prompts(client, prompt, run_id):
    made = prompt()
    if MAJOR < 3:
        client.log_prompt(run_id, f"prompts:/{made.name}/1")
        assert [one.name for one in client.list_logged_prompts(run_id)] == [made.name]
        client.detach_prompt_from_run(run_id, f"prompts:/{made.name}/1")
        assert client.list_logged_prompts(run_id) == []
        return
    client.link_prompt_version_to_run(run_id, f"prompts:/{made.name}/1")
    linked = json.loads(client.get_run(run_id).data.tags["mlflow.linkedPrompts"])
    assert linked == [{"name": made.name, "version": "1"}]


@since3
def test_tags_of_prompts_and_their_versions(prompt):
    made = prompt(tags={"team": "grid", "owner": "Zoë"})
    genai, which = mlflow.genai, f"prompts:/{made.name}/1"
    assert made.tags["owner"] == "Zoë"
    genai.set_prompt_tag(made.name, "kind", "short")
    assert genai.get_prompt_tags(made.name)["kind"] == "short"
    genai.delete_prompt_tag(made.name, "kind")
    assert "kind" not in genai.get_prompt_tags(made.name)
    genai.set_prompt_version_tag(made.name, 1, "checked", "yes")
    assert genai.load_prompt(which, cache_ttl_seconds=0).tags["checked"] == "yes"
    genai.delete_prompt_version_tag(made.name, 1, "checked")
    assert "checked" not in genai.load_prompt(which, cache_ttl_seconds=0).tags


@since3
def test_conversations_formats_and_configurations(prompt):
    talk = [{"role": "system", "content": "You are {{ kind }}."}, {"role": "user", "content": "{{ question }}"}]
    shape = {"type": "object", "properties": {"answer": {"type": "string"}}}
    made = prompt(talk, response_format=shape, model_config={"model_name": "m", "temperature": 0.5})
    found = mlflow.genai.load_prompt(made.name, version=1, cache_ttl_seconds=0)
    assert found.template == talk and found.response_format == shape and found.model_config == {"model_name": "m", "temperature": 0.5}
    assert found.format(kind="kind", question="Why?")[1] == {"role": "user", "content": "Why?"}
    mlflow.genai.set_prompt_model_config(made.name, 1, {"model_name": "other"})
    assert mlflow.genai.load_prompt(made.name, version=1, cache_ttl_seconds=0).model_config == {"model_name": "other"}
    mlflow.genai.delete_prompt_model_config(made.name, 1)
    assert mlflow.genai.load_prompt(made.name, version=1, cache_ttl_seconds=0).model_config is None


@since3
def test_long_templates(prompt, fails):
    longest = "{{ x }}" + "ä" * 99_993
    assert mlflow.genai.load_prompt(prompt(longest).name, version=1).template == longest
    with fails("INVALID_PARAMETER_VALUE", "100000"):
        prompt(longest + "ä")


@since3
def test_prompts_are_searched(client, name):
    group = name("p")
    for n in range(5):
        mlflow.genai.register_prompt(f"{group}-{n}", "Say {{ what }}.", tags={"parity": str(n % 2)})
        mlflow.genai.set_prompt_tag(f"{group}-{n}", "kind", "even" if n % 2 == 0 else "odd")
    client.create_registered_model(f"{group}-model", tags={"kind": "odd"})

    def found(condition, **more):
        return [one.name[len(group) + 1:] for one in mlflow.genai.search_prompts(condition, **more)]

    mine = f"name LIKE '{group}%'"
    assert sorted(found(mine)) == ["0", "1", "2", "3", "4"]
    assert sorted(found(f"{mine} AND tags.kind = 'odd'")) == ["1", "3"]
    assert sorted(found(f"{mine} AND tags.kind != 'odd'")) == ["0", "2", "4"]
    by_page = pages(client.search_prompts, filter_string=mine, max_results=2, order_by=["name DESC"])
    assert [[one.name[-1] for one in page] for page in by_page] == [["4", "3"], ["2", "1"], ["0"]]
    assert [one.name for one in client.search_registered_models(mine)] == [f"{group}-model"]


@since3
def test_versions_are_listed_and_go(client, prompt, fails):
    for n in range(3):
        made = prompt(f"{n} {{{{ x }}}}")
    assert [one.version for page in pages(lambda page_token: client.search_prompt_versions(made.name, 2, page_token)) for one in page] == [3, 2, 1]
    client.delete_prompt_version(made.name, "2")
    assert [one.version for one in client.search_prompt_versions(made.name)] == [3, 1]
    assert prompt("again {{ x }}").version == 4
    assert client.get_prompt(made.name).name == made.name
    for version in ("1", "3", "4"):
        client.delete_prompt_version(made.name, version)
    client.delete_prompt(made.name)
    assert client.get_prompt(made.name) is None
