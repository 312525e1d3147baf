"""Roles, grants and keys, a thousand times made up, against a reference that says plainly what each permits.

In the reference a permission is a pair of a thing and a verb, a pattern is the set of pairs that it stands for, and whoever asks holds
what a grant gives there, cut down to what the key is narrowed to."""
import hashlib
import json

import pytest

from daemon import Client, Statements, unique

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as some  # noqa: E402

thousand = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
fewer = settings(thousand, max_examples=300)  # each is several keys and as many requests

THINGS, VERBS = ("models", "datasets", "jobs", "access", "anything"), ("read", "write", "predict", "anyhow")
PATTERNS = ["*", "*:read", "*:write", "models:*", "jobs:*", "access:*", "models:read", "models:write", "models:predict", "datasets:read", "jobs:read",
            "model", "models:", "models:rea", "Models:read"]
BUILTIN = {"owner": ["*"], "viewer": ["*:read"],
           "editor": ["*:read", "models:write", "models:predict", "models:feedback", "datasets:write", "runs:write", "training:write", "drift:write"]}
PLACES = ("one", "two")


def pairs(pattern):
    """What a pattern stands for."""
    everything = {(thing, verb) for thing in THINGS for verb in VERBS}
    if pattern == "*":
        return everything
    thing, colon, verb = pattern.partition(":")
    return {(t, v) for t, v in everything if colon and thing in ("*", t) and verb in ("*", v)}


def holds(permissions, asked):
    return any(pairs(asked) <= pairs(granted) for granted in permissions) and bool(pairs(asked))


class Somebody:
    """The reference: grants as (permissions, project or None, object or None), a scope, and the project that the key is bound to."""

    def __init__(self, grants, scope, bound):
        self.scope, self.grants = scope, []
        for permissions, project, thing in grants:
            if bound and project not in (None, bound):
                continue
            self.grants.append((permissions, bound or project, thing))

    def may(self, permission, project=None, thing=None):
        return holds(self.scope, permission) and any(
            holds(permissions, permission) and where in (None, project) and only in (None, thing) for permissions, where, only in self.grants)

    def may_somewhere(self, permission):
        return holds(self.scope, permission) and any(holds(permissions, permission) for permissions, _, _ in self.grants)


@pytest.fixture(scope="module")
def world(server):
    """A workspace with two projects and two models in each, and a connection to the database."""
    administrator, workspace = server.client(), unique("w")
    owner = Client(server.port, administrator.op("access.create_workspace", {"name": workspace, "owner": "user:boss"}).json["secret"])
    made = type("World", (), {})()
    made.workspace, made.owner, made.sql, made.projects, made.models = workspace, owner, Statements(server), {}, {}
    for place in PLACES:
        made.projects[place] = owner.op("access.create_project", {"name": place}).json["id"]
        for i in range(2):
            answer = owner.post("/api/v1/models", {"name": f"{place}{i}"}, headers={"Purlin-Project": place})
            made.models[f"{place}{i}"] = answer.json["id"], place
            signature = {"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]}
            sha256 = hashlib.sha256(place.encode()).hexdigest()
            assert owner.post(f"/api/v1/models/{place}{i}/versions", {"framework": "none", "sha256": sha256, "size": 1, "signature": signature}).status in (201, 404, 400)
    yield made
    made.sql.close()
    owner.close()
    administrator.close()


scopes = some.lists(some.sampled_from(PATTERNS), min_size=1, max_size=3) | some.just(["*"])
roles = some.sampled_from(list(BUILTIN)) | some.lists(some.sampled_from(PATTERNS), min_size=1, max_size=3).map(tuple)
places = some.none() | some.sampled_from(PLACES)
grants = some.lists(some.tuples(roles, places, some.none() | some.integers(0, 1)), max_size=4)


class Asker:
    """A new subject, with what was granted to it, and keys."""

    def __init__(self, world):
        self.world, self.subject, self.granted, self.waiting = world, f"user:{unique('u')}", [], []

    def grant(self, role, place, index):
        world, name = self.world, role if isinstance(role, str) else unique("r")
        model = f"{place}{index}" if place and index is not None else None
        if name not in BUILTIN:
            self.waiting.append("INSERT INTO access_roles (workspace, name, summary, permissions, created_at, created_by) VALUES"
                                f" ('{world.workspace}', '{name}', '-', '{json.dumps(list(role))}', NOW(6), 'x')")
        self.waiting.append("INSERT IGNORE INTO access_grants (id, workspace, subject, role, project, object, created_at, created_by) VALUES"
                            f" ('{unique('g')}', '{world.workspace}', '{self.subject}', '{name}', '{world.projects[place] if place else '*'}',"
                            f" '{world.models[model][0] if model else '*'}', NOW(6), 'x')")
        self.granted.append((BUILTIN.get(name) or list(role), place, model))

    def keys(self, *wanted):
        """New keys for pairs of a scope and the project that it is bound to (None: none): their tokens, after all that was granted."""
        world, tokens = self.world, [f"purlin_{unique('k')}" for _ in wanted]
        rows = [f"('{unique('k')}', SHA2('{token}', 256), 'x', '{self.subject}', '{world.workspace}', '{world.projects[bound] if bound else 'default'}',"
                f" '{json.dumps(scope)}', {int(bound is not None)}, NOW(6), NOW(6))" for token, (scope, bound) in zip(tokens, wanted, strict=True)]
        world.sql.run("BEGIN", *self.waiting, "INSERT INTO access_tokens (id, hash, name, actor, workspace, project, permissions, bound, created_at,"
                      f" last_used_at) VALUES {', '.join(rows)}", "COMMIT")
        self.waiting.clear()
        return tokens

    def key(self, scope, bound=None):
        """The token of a new key, and what the reference says of it."""
        return self.keys((scope, bound))[0], Somebody(self.granted, scope, bound)

    def sees(self, token):
        """The names of the models that are listed; None when it may not even ask."""
        answer = self.world.owner.op("registry.list_models", token=token)
        return None if answer.status == 403 else {model["name"] for model in answer.json["models"]}


def expected(world, who):
    if not who.may_somewhere("models:read"):
        return None
    return {name for name, (_, place) in world.models.items() if who.may("models:read", place, name)}


def asker_of(world, given):
    made = Asker(world)
    for role, place, index in given:
        made.grant(role, place, index)
    return made


@thousand
@given(given=grants, scope=scopes, bound=places, name=some.sampled_from([f"{place}{i}" for place in PLACES for i in range(2)]))
def test_what_is_permitted_is_what_the_reference_says(world, given, scope, bound, name):
    asker = asker_of(world, given)
    token, who = asker.key(scope, bound)
    place = world.models[name][1]
    assert asker.sees(token) == expected(world, who)
    reads = 200 if who.may("models:read", place, name) else 404 if who.may_somewhere("models:read") else 403
    assert world.owner.get(f"/api/v1/models/{name}", token=token).status == reads
    # an alias that is not there: whoever may take it away is told so, by its name
    gone = world.owner.op("registry.delete_alias", {"name": name, "alias": "no-such-alias"}, token=token)
    if who.may("models:write", place, name):
        assert gone.status == 404 and "no-such-alias" in gone.json["detail"]
    elif not who.may_somewhere("models:write"):
        assert gone.status == 403
    else:
        assert gone.status == (403 if who.may("models:read", place, name) else 404) and "no-such-alias" not in gone.json["detail"]
    assert world.owner.get("/api/v1/jobs", token=token).status == (200 if who.may("jobs:read") else 403)  # of the whole workspace


@fewer
@given(given=grants, more=some.tuples(roles, places, some.none() | some.integers(0, 1)), scope=scopes, bound=places)
def test_more_grants_permit_more_and_narrowing_less(world, given, more, scope, bound):
    """Nothing of the reference in here: only that sets lie within sets."""
    asker = asker_of(world, given)
    whole, narrow, bound_too = (asker.sees(token) or set() for token in asker.keys((["*"], None), (scope, None), (scope, bound or "one")))
    assert bound_too <= narrow <= whole <= set(world.models)
    asker.grant(*more)
    more_of_all, more_of_narrow = (asker.sees(token) or set() for token in asker.keys((["*"], None), (scope, None)))
    assert whole <= more_of_all and narrow <= more_of_narrow


@fewer
@given(given=grants, scope=scopes, bound=places, wanted=scopes, into=places)
def test_a_key_makes_no_key_that_permits_more(world, given, scope, bound, wanted, into):
    asker = asker_of(world, given)
    token, who = asker.key(scope, bound)
    body = {"name": "child", "permissions": wanted, **({"project": into} if into else {})}
    made = world.owner.op("access.create_key", body, token=token)
    reaches = not into or any(place in (None, into) for _, place, _ in who.grants)
    allowed = all(any(pattern == held or holds([held], pattern) for held in scope) for pattern in wanted)
    if made.status == 201:
        assert reaches and all(pairs(pattern) <= set().union(*map(pairs, scope)) for pattern in wanted)
        child = made.json["secret"]
        assert (asker.sees(child) or set()) <= (asker.sees(token) or set())
    else:
        assert made.status == (404 if not reaches else 403), made
        assert not reaches or not allowed or (bound and into not in (None, bound)) or any(not pairs(pattern) for pattern in wanted)


@fewer
@given(held=some.tuples(roles, places), role=roles, into=places)
def test_nobody_grants_what_they_do_not_hold(world, held, role, into):
    """Whoever may grant at all gives away no more than they have there."""
    asker = asker_of(world, [(held[0], held[1], None), (("access:*",), held[1], None)])
    token, who = asker.key(["*"])
    if isinstance(role, str):
        name, permissions = role, BUILTIN[role]
    else:
        name, permissions = unique("r"), list(role)
        world.sql.run("INSERT INTO access_roles (workspace, name, summary, permissions, created_at, created_by) VALUES"
                      f" ('{world.workspace}', '{name}', '-', '{json.dumps(permissions)}', NOW(6), 'x')")
    body = {"subject": f"user:{unique('u')}", "role": name, **({"project": into} if into else {})}
    answer = world.owner.op("access.grant_role", body, token=token)
    fits = all(any(pairs(asked) <= pairs(p) for granted, where, _ in who.grants if where in (None, into) for p in granted) for asked in permissions)
    reaches = not into or any(where in (None, into) for _, where, _ in who.grants)
    if answer.status == 201:
        assert reaches and who.may("access:write", into) and fits
    else:
        assert answer.status == (404 if not reaches else 403), answer
        assert not reaches or not who.may("access:write", into) or not fits or any(not pairs(p) for p in permissions)
