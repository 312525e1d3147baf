"""What is written for people is true of the tree: settings and their defaults, links, commands' names."""
import json
import re

import pytest

from daemon import ROOT

DOCUMENTS = sorted({path for pattern in ("*.md", "docs/*.md", "lua/*.md", "sdk/docs/*.md", "plugins/*/*.md", "packaging/*.md", "packaging/*/*.md") for path in ROOT.glob(pattern)})
FIELD = re.compile(r'PURLIN_(DEFAULT|OPTIONAL|REQUIRED|LIST)\((\w+)(?:, "((?:[^"\\]|\\.)*)")?')
SCHEMA = re.compile(r"PURLIN_SCHEMA\((\w+),(.*?)\);", re.S)


PLACES = {"PURLIN_PLUGINS_FOLDER": "/usr/lib/purlin/plugins", "PURLIN_DATA_FOLDER": "/usr/share/purlin"}  # of an installation, as the file is written


def read(source):
    text = source.read_text()
    for name, place in PLACES.items():
        text = text.replace(f'" {name} "', place)
    return text


def schemas(*sources):
    """By name, what a schema declares: a field's name and its default as JSON, None where it has none."""
    return {name: {field: json.loads(json.loads(f'"{text}"')) if kind == "DEFAULT" else None
                   for kind, field, text in FIELD.findall(body)}
            for source in sources for name, body in SCHEMA.findall(read(source))}


def in_lua(value):
    if isinstance(value, list):
        return "{}" if not value else "{ " + ", ".join(map(in_lua, value)) + " }"
    return json.dumps(value)


def sections(text):
    """The text of each section of purlin.lua, commented out or not: up to the brace that closes it."""
    text = re.sub(r"^ *-- ?(?=[ a-z}])", "", text, flags=re.M)  # a setting that is commented out reads as one that is not
    found = {}
    for begin in re.finditer(r"^(\w+) \{", text, re.M):
        depth = 0
        for at in range(begin.end() - 1, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 0:
                found[begin.group(1)] = text[begin.end():at]
                break
    return found


def settings():
    found = schemas(ROOT / "runtime" / "daemon" / "settings.c")
    return [(name.removesuffix("_settings"), field, default) for name, fields in found.items() for field, default in fields.items()]


def test_the_settings_are_found():
    assert {"server", "tls", "database", "audit", "outbound", "secrets"} <= {section for section, _, _ in settings()}
    assert ("server", "port", 8080) in settings() and ("database", "socket", None) in settings()


@pytest.mark.parametrize("section,name,default", settings(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_shipped_configuration_shows_every_setting_with_its_default(section, name, default):
    shown = sections((ROOT / "conf" / "purlin.lua").read_text())
    found = re.search(rf"\b{name} = (.*)", shown[section])
    assert found, f"{section}.{name} is not shown"
    if default is not None and (section, name) not in {("outbound", "allow"), ("secrets", "keys")}:  # examples: to show them empty would set them
        assert found.group(1).startswith(in_lua(default)), f"{section}.{name}: {found.group(1)}, not {in_lua(default)}"


CONFIGURATIONS = {source.parent.name: fields for source in ROOT.glob("plugins/*/*.[ch]")
                  for name, fields in schemas(source).items() if name.endswith("_configuration")}


@pytest.mark.parametrize("plugin", sorted(CONFIGURATIONS))
def test_a_plugins_readme_names_its_settings(plugin):
    text = (ROOT / "plugins" / plugin / "README.md").read_text()
    assert [name for name in CONFIGURATIONS[plugin] if not re.search(rf"\b{name}\b", text)] == []


def anchors(path):
    """As GitHub makes them of headings."""
    return {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in path.read_text().splitlines() if line.startswith("#")}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), f"{target}: there is no such file"
        assert not anchor or anchor in anchors(there), f"{target}: there is no such heading"
