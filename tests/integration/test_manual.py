"""Manual pages: made of the same tables as --help, and read by man without a complaint."""
import os
import re
import shutil
import subprocess

import pytest

from daemon import BUILD, PLUGINS

PURLIN = BUILD / "bin" / "purlin"
PAGES = ["purlin.1", "purlin-runtime.1", "purlind.8", "purlin-runner.8", "purlin.lua.5"]
NAMES = sorted(file.stem for file in PLUGINS.glob("*.so"))


def page(*words, **more):
    done = subprocess.run([str(PURLIN), *words], capture_output=True, text=True, timeout=60, env={**os.environ, **more})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def plain(text):
    done = subprocess.run(["mandoc", "-Tutf8"], input=text, capture_output=True, text=True, timeout=60)
    return re.sub(".\b", "", done.stdout)


@pytest.fixture(scope="module")
def pages():
    return {**{name: page("__manual", name) for name in PAGES},
            **{f"purlin-{name}.1": page("plugin", "manual", str(PLUGINS / f"{name}.so")) for name in NAMES}}


@pytest.mark.skipif(not shutil.which("mandoc"), reason="there is no mandoc")
def test_mandoc_finds_nothing(pages, tmp_path):
    assert len(pages) > 15
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
        done = subprocess.run(["mandoc", "-Tlint", str(tmp_path / name)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), name


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff")
def test_groff_has_no_warning(pages):
    for name, text in pages.items():
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-rLL=100n", "-z"], input=text, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), name


@pytest.mark.skipif(not shutil.which("mandoc"), reason="there is no mandoc")
def test_pages_tell_what_help_tells(pages):
    for program in ("purlin", "purlind", "purlin-runner"):
        help_text = subprocess.run([str(BUILD / "bin" / program), "--help"], capture_output=True, text=True, timeout=30).stdout
        text = plain(pages[f"{program}.{1 if program == 'purlin' else 8}"])
        options = re.findall(r"^  (--[a-z-]+)", help_text, re.M)
        commands = re.findall(r"^  (purlin \w[\w-]* [a-z]\w*)", help_text, re.M)
        assert options and (commands or program != "purlin")
        for told in options + commands:
            assert told in text, (program, told)


@pytest.mark.skipif(not shutil.which("mandoc"), reason="there is no mandoc")
def test_settings_and_operations_are_there(pages):
    text = plain(pages["purlin.lua.5"])
    for told in ("server { ... }", "drain_seconds integer", "Default 8080", "One of debug, info, warning, error", "credential(\"NAME\")", "rules list of objects"):
        assert told in text, told
    text = plain(pages["purlin-registry.1"])
    assert "purlin registry create-model" in text and "--name text" in text and "Required." in text and "models:write" in text
    text = plain(pages["purlin-runtime.1"])
    assert "purlin jobs list" in text and "purlin access create-key" in text and "--subject text" in text
    text = plain(pages["purlin-storage-fs.1"])
    assert "grace_s integer" in text and 'plugin "storage-fs" { ... }' in text


def test_the_same_source_makes_the_same_page():
    assert page("__manual", "purlin.1", SOURCE_DATE_EPOCH="86400") == page("__manual", "purlin.1", SOURCE_DATE_EPOCH="86400")
    assert ".TH \"PURLIN\" 1 1970-01-02 " in page("__manual", "purlin.1", SOURCE_DATE_EPOCH="86400")
    assert subprocess.run([str(PURLIN), "__manual", "nothing.1"], capture_output=True, timeout=30).returncode == 2
