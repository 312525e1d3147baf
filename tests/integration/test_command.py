"""The command `purlin`: what a newcomer meets, and what a script relies on."""
import http.server
import json
import os
import pathlib
import pty
import re
import select
import subprocess
import threading
import time

import pytest

from daemon import BUILD, PLUGINS, unique
from models import register

PURLIN = BUILD / "bin" / "purlin"


def environment(server=None, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PURLIN_") and name not in ("NO_COLOR", "TERM")}
    if server:
        kept.update(PURLIN_SERVER=f"http://127.0.0.1:{server.port}", PURLIN_TOKEN=server.token)
    return {**kept, "LANG": "C", **more}


def run(*arguments, server=None, stdin="", cwd="/", **more):
    """Exit code, standard output and standard error."""
    done = subprocess.run([str(PURLIN), *arguments], capture_output=True, text=True, timeout=30, input=stdin, cwd=cwd,
                          env=environment(server, **more))
    return done.returncode, done.stdout, done.stderr


def on_terminal(*arguments, server=None, **more):
    """What a terminal gets to see."""
    own, its = pty.openpty()
    process = subprocess.Popen([str(PURLIN), *arguments], stdin=subprocess.DEVNULL, stdout=its, stderr=its, cwd="/",
                               env=environment(server, **{"TERM": "xterm", **more}))
    os.close(its)
    seen, end = b"", time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([own], [], [], 0.1)[0]:
            continue
        try:
            block = os.read(own, 65536)
        except OSError:
            break
        if not block:
            break
        seen += block
    os.close(own)
    assert process.wait(10) == 0, seen
    return seen.decode()


@pytest.fixture
def model(client):
    name = unique("model")
    assert client.post("/api/v1/models", {"name": name, "description": "日本語 ☕ und mehr"}).status == 201
    return name


# ---- help


def test_help_needs_no_server():
    code, out, err = run("--help")
    assert code == 0 and "Usage:" in out and "Exit codes" in out and err == ""
    code, out, err = run("--version")
    assert code == 0 and re.fullmatch(r"purlin \d+\.\d+\.\d+\n", out)


def test_without_words_it_lists_the_plugins_once_each(server):
    code, out, _ = run(server=server)
    names = re.findall(r"^  (\S+) +\d+ operations?$", out, re.M)
    assert code == 0 and "registry" in names and names == sorted(set(names))


def test_help_of_a_plugin_and_of_an_operation(server):
    for arguments in (["registry"], ["registry", "--help"], ["help", "registry"]):
        code, out, _ = run(*arguments, server=server)
        assert code == 0 and re.search(r"^  create-model +Register a model$", out, re.M), arguments
    for arguments in (["jobs", "list", "--help"], ["help", "jobs", "list"], ["jobs.list", "-h"]):
        code, out, _ = run(*arguments, server=server)
        assert code == 0 and "(default 50)" in out and "one of waiting, running" in out, arguments
    assert "(required)" in run("registry", "get-model", "--help", server=server)[1]
    for words, who in [(("registry", "get-model"), "Needs the permission models:read."), (("access", "whoami"), "For whoever is logged in, or has a key."),
                       (("accounts", "forgot-password"), "For everybody.")]:
        assert f"\n{who}\n" in run(*words, "--help", server=server)[1], words
    assert "purlin audit verify FILE" in run("audit", server=server)[1]


# ---- mistakes


@pytest.mark.parametrize("arguments, said", [
    (["registry", "lst-models"], "did you mean 'purlin registry list-models'?"),
    (["registry", "reticulate"], "'purlin registry' lists them"),
    (["regstry", "list-models"], "did you mean 'purlin registry'?"),
    (["nothing-like-it"], "'purlin' lists them"),
    (["registry", "get-model", "--nmae", "x"], "did you mean --name?"),
    (["registry", "get-model", "--zzz", "x"], "--help lists the fields of registry.get_model"),
    (["registry", "get-model", "--name"], "--name needs a value"),
    (["registry", "get-model", "x"], "'x' is not expected"),
    (["registry", "list-models", "--limit", "many"], "--limit wants an integer, not 'many'"),
    (["registry", "list-models", "--limit", '"5"'], "--limit wants an integer"),
    (["registry", "get-model", "{"], "no JSON object"),
    (["registry", "get-model", "-"], "no JSON object"),
    (["--sevrer", "x"], "unknown option '--sevrer'"),
    (["--server"], "--server needs a value"),
    (["--token-file", "/no/such", "jobs", "list"], "/no/such: No such file"),
    (["--token-file", "/dev/null", "jobs", "list"], "it is empty"),
    (["plugin", "sho", "x"], "purlin plugin show"),
])
def test_wrong_arguments_exit_with_2_and_say_what_to_do(server, arguments, said):
    code, out, err = run(*arguments, server=server)
    assert (code, out) == (2, "") and said in err, (code, out, err)


def test_a_refusal_exits_with_1_and_names_the_field(server):
    code, out, err = run("registry", "get-model", "--name", "nobody", server=server)
    assert (code, out) == (1, "") and "nobody" in err and "404" in err
    code, _, err = run("registry", "list-models", "--limit", "0", server=server)
    assert code == 1 and "  limit: " in err


def test_no_server_exits_with_3():
    code, out, err = run("jobs", "list", PURLIN_SERVER="http://127.0.0.1:1")
    assert (code, out) == (3, "") and "no server answers at http://127.0.0.1:1" in err and "PURLIN_SERVER" in err
    code, out, err = run(PURLIN_SERVER="http://127.0.0.1:1")
    assert code == 3 and "Usage:" in out, "help is there all the same"
    assert run("jobs", "list", PURLIN_SERVER="file:///etc/passwd")[0] == 3


def test_wrong_and_missing_tokens(server):
    code, _, err = run("jobs", "list", server=server, PURLIN_TOKEN="purlin_wrong")
    assert code == 1 and "401" in err and "not one of this server" in err
    assert "from PURLIN_TOKEN, is" in err, "whose token it was"
    bare = environment(PURLIN_TOKEN="", PURLIN_TOKEN_FILE="")  # an empty variable is none
    done = subprocess.run([str(PURLIN), "--server", f"http://127.0.0.1:{server.port}", "jobs", "list"], capture_output=True, text=True,
                          cwd="/", env=bare, timeout=30)
    if not pathlib.Path("/var/lib/purlin/admin.token").exists():
        assert done.returncode == 1 and "--token-file" in done.stderr


class Stub(http.server.BaseHTTPRequestHandler):
    """A server that says what it should not, slowly."""
    document = {"paths": {"/api/v1/x": {"post": {"x-operation": True, "operationId": "x.run", "summary": "Runs\x1b[31m", "x-permission": "a:b"}}}}
    answer, status, delay, seen = {}, 200, 0.0, []

    def log_message(self, *_):
        pass

    def send(self, status, body):
        Stub.seen.append(self.headers.get("Authorization"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send(200, json.dumps(self.document, ensure_ascii=False).encode() if self.document else b"<html>")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.delay)
        self.send(self.status, json.dumps(self.answer, ensure_ascii=False).encode())


@pytest.fixture
def stub(monkeypatch):
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setattr(Stub, "seen", [])
    served.url = f"http://127.0.0.1:{served.server_address[1]}"
    yield served
    served.shutdown()
    served.server_close()


def test_what_is_no_purlin_server_is_told_so(stub, monkeypatch):
    monkeypatch.setattr(Stub, "document", None)
    code, _, err = run("jobs", "list", PURLIN_SERVER=stub.url + "/")
    assert code == 3 and "is no Purlin server" in err


EVIL = "a\x1b]0;owned\x07\x9b31m\u202egpj.exe\r\nb\x7f"


def test_a_server_cannot_command_the_terminal(stub, monkeypatch):
    def is_harmless(text):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text.replace("\r\n", "\n")), repr(text)

    monkeypatch.setattr(Stub, "answer", {"things": [{"name": EVIL, EVIL: 1, "list": [EVIL, "b"]}], "next": EVIL})
    code, out, _ = run("x", "run", PURLIN_SERVER=stub.url)
    assert code == 0 and "\\u001b]0;owned" in out and len(out.splitlines()) == 4
    is_harmless(out)
    is_harmless(on_terminal("x", "run", PURLIN_SERVER=stub.url, NO_COLOR="1"))
    is_harmless(on_terminal("--json", "x", "run", PURLIN_SERVER=stub.url, NO_COLOR="1"))
    monkeypatch.setattr(Stub, "answer", {"one": {"name": EVIL}})
    code, out, _ = run("x", "run", PURLIN_SERVER=stub.url)
    is_harmless(out)
    assert code == 0 and json.loads(out) == Stub.answer, "escaped, it is still the same JSON"
    is_harmless(run("x", PURLIN_SERVER=stub.url)[1])
    is_harmless(run("x", "run", "--help", PURLIN_SERVER=stub.url)[1])
    monkeypatch.setattr(Stub, "status", 409)
    monkeypatch.setattr(Stub, "answer", {"title": EVIL, "detail": EVIL, "errors": [{"field": EVIL, "message": EVIL}]})
    code, out, err = run("x", "run", PURLIN_SERVER=stub.url)
    assert code == 1 and out == "" and len(err.splitlines()) == 2
    is_harmless(err)


def test_a_long_wait_is_shown_on_a_terminal_only(stub, monkeypatch):
    monkeypatch.setattr(Stub, "delay", 3.2)
    monkeypatch.setattr(Stub, "answer", {"done": True})
    seen = on_terminal("x", "run", PURLIN_SERVER=stub.url)
    assert "waiting for the server, 2 s" in seen and seen.rstrip().endswith("}")
    assert "waiting" not in on_terminal("x", "run", PURLIN_SERVER=stub.url, TERM="dumb")
    assert run("x", "run", PURLIN_SERVER=stub.url)[2] == ""


def test_a_token_of_this_machine_is_not_sent_elsewhere(stub, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "admin.token").write_text("purlin_secret\n")
    assert run("x", cwd=tmp_path, PURLIN_SERVER=stub.url)[0] == 0
    assert Stub.seen == ["Bearer purlin_secret"]
    elsewhere = stub.url.replace("127.0.0.1", "127.0.0.1.nip.invalid")
    assert run("x", cwd=tmp_path, PURLIN_SERVER=elsewhere, http_proxy=stub.url)[0] == 0, "the stub plays a proxy"
    assert Stub.seen == ["Bearer purlin_secret", None]


# ---- answers


def test_tables_are_aligned_whatever_is_in_them(server, client, model):
    other = unique("café☕日本")
    assert client.post("/api/v1/models", {"name": other, "description": "e\u0301"}).status == 201
    code, out, _ = run("registry", "list-models", "--limit", "500", server=server)
    lines = out.splitlines()
    assert code == 0 and not any(line.endswith(" ") for line in lines)

    def width(text):
        import unicodedata
        return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)

    starts = {width(line[:line.index("user:admin")]) for line in lines[1:]}
    assert starts == {width(lines[0][:lines[0].index("created_by")])}


def test_an_empty_list_and_the_next_page(server, client):
    code, out, _ = run("jobs", "list", "--name", "nobody.nothing", server=server)
    assert (code, out) == (0, "(none)\n")
    made = [client.post("/api/v1/jobs", {"name": "training.run", "payload": {"job_id": "trn_c"}, "delay_ms": 600000}).json["id"] for _ in range(3)]
    _, first, _ = run("jobs", "list", "--limit=2", server=server)
    after = re.search(r"--after (\S+)\)", first).group(1)
    _, second, _ = run("jobs", "list", "--limit=1", "--after", after, server=server)
    assert made[2] in first and made[1] in first and made[0] in second
    for job in made:
        client.post(f"/api/v1/jobs/{job}/cancel")


def test_json_is_the_servers_own(server, client, model):
    expected = client.op("registry.get_model", {"name": model}).body.decode()
    for arguments in (["--json", "registry", "get-model", "--name", model], ["registry", "get-model", "--json", "--name", model],
                      ["registry", "get-model", json.dumps({"name": model}), "--json"]):
        assert run(*arguments, server=server) == (0, expected + "\n", ""), arguments
    code, out, _ = run("registry", "get-model", "-", server=server, stdin=json.dumps({"name": model}))
    assert code == 0 and json.loads(out) == json.loads(expected) and out.startswith('{\n  "id": ')


def test_colour_only_where_it_is_wanted(server, model):
    arguments = ["registry", "list-models"]
    assert "\x1b[1mid" in on_terminal(*arguments, server=server)
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal(*arguments, server=server, **more)
    assert "\x1b" not in run(*arguments, server=server, TERM="xterm")[1]


def test_long_cells_are_cut_on_a_terminal_only(server, client):
    name, long = unique("long"), "日本 " * 40
    assert client.post("/api/v1/models", {"name": name, "description": long}).status == 201
    assert "…" in on_terminal("registry", "list-models", "--limit", "500", server=server)
    piped = run("registry", "list-models", "--limit", "500", server=server)[1]
    assert long.strip() in piped and "…" not in piped


def test_lists_and_booleans_as_flags(server):
    code, _, err = run("training", "create-job", "--trainer", "nobody", "--dataset", "none", "--registers", server=server)
    assert code == 1 and "nobody" in err
    code, _, err = run("training", "create-job", "--trainer", "nobody", "--dataset", "none", "--registers=maybe", server=server)
    assert code == 2 and "boolean" in err


def test_output_that_cannot_be_written_is_an_error(server):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(PURLIN), "registry", "list-models"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
                              env=environment(server), cwd="/")
    assert done.returncode == 1 and "cannot be written" in done.stderr


# ---- plugins


def test_plugin_files_are_shown_and_checked(tmp_path):
    code, out, _ = run("plugin", "show", str(PLUGINS / "registry.so"))
    assert code == 0 and "registry" in out and len(out.splitlines()) > 10
    assert run("plugin", "check", str(PLUGINS / "registry.so"))[0] == 0
    (tmp_path / "notes.so").write_text("hello")
    code, out, err = run("plugin", "check", str(tmp_path / "notes.so"))
    assert (code, out) == (1, "") and "ELF" in err
    assert run("plugin", "--help")[0] == 0


# ---- Where -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(client):
    """Somebody who has a role in two workspaces, by their token, and a project of the second."""
    from test_accounts import GOOD, a_name, login
    name, workspace, project = a_name(), f"w{time.monotonic_ns()}", f"p{time.monotonic_ns()}"
    client.op("accounts.create_user", {"name": name, "password": GOOD})
    client.op("access.grant_role", {"subject": f"user:{name}", "role": "viewer"})
    owner = client.op("access.create_workspace", {"name": workspace, "owner": f"user:{name}"}).json["secret"]
    assert client.op("access.create_project", {"name": project}, token=owner).status == 201
    return login(client, name).json["access_token"], workspace, project


def where(server, *options, token, **variables):
    code, out, err = run(*options, "--json", "access", "whoami", server=server, **{**variables, "PURLIN_TOKEN": token})
    return json.loads(out)["workspace"] if code == 0 else err


def test_the_workspace_is_an_option_or_a_variable(server, places):
    token, workspace, _ = places
    assert "Purlin-Workspace" in where(server, token=token)  # in which of the two?
    assert where(server, "--workspace", workspace, token=token) == workspace
    assert where(server, token=token, PURLIN_WORKSPACE=workspace) == workspace
    assert where(server, "--workspace", "default", token=token, PURLIN_WORKSPACE=workspace) == "default"
    assert "Purlin-Workspace" in where(server, "--workspace", "", token=token, PURLIN_WORKSPACE="")
    nowhere = run("--workspace", "nowhere", "registry", "list-models", server=server, PURLIN_TOKEN=token)
    assert nowhere[0] == 1 and "models:read" in nowhere[2]  # there, or not there: nothing is granted


def test_the_project_is_an_option_or_a_variable(server, places):
    token, workspace, project = places
    for options, variables in ((("--project", project), {}), ((), {"PURLIN_PROJECT": project})):
        code, out, err = run(*options, "--workspace", workspace, "--json", "registry", "create-model", "--name", f"m{time.monotonic_ns()}", server=server,
                             **{**variables, "PURLIN_TOKEN": token})
        assert code == 0, err
        assert json.loads(out)["project"].startswith("prj_")
    code, _, err = run("--project", "none", "--workspace", workspace, "registry", "list-models", server=server, PURLIN_TOKEN=token)
    assert code == 1 and "there is no project 'none'" in err


@pytest.mark.parametrize("value", ["a b", "a\r\nAuthorization: x", "\u00e4", "\t"])
def test_no_header_hides_in_a_place(server, value):
    for options, variables in ((("--workspace", value), {}), (("--project", value), {}), ((), {"PURLIN_WORKSPACE": value}), ((), {"PURLIN_PROJECT": value})):
        code, _, err = run(*options, "access", "whoami", server=server, **variables)
        assert code == 2 and "is no name" in err


def test_a_model_is_deployed_in_few_words(server, client):
    name, _ = register(server, client, ["a", "b"])
    usage = "purlin models deploy NAME@ALIAS | NAME/VERSION | NAME"
    assert usage in run("models", server=server)[1] and usage in run("models", "--help", server=server)[1]
    code, out, _ = run("models", "deploy", "--help", server=server)
    assert code == 0 and out.startswith(f"Usage: {usage}") and "--endpoint" in out
    code, out, errors = run("models", "deploy", f"{name}/1", "--cause", "first", server=server)
    assert code == 0 and errors == "" and json.loads(out)["name"] == name and json.loads(out)["cause"] == "first"
    assert json.loads(run("models", "deploy", "--endpoint", f"{name}-2", "--model", name, server=server)[1])["version"] == 1
    assert json.loads(run("models", "deploy", json.dumps({"model": name}), server=server)[1])["deployment"] == 2
    assert "purlin: the model is read and loaded" in on_terminal("models", "deploy", name, server=server)
    for words, part in (([f"{name}@best"], "has no alias 'best'"), ([f"{name}/"], "churn@champion"), (["nothing-there"], "nothing-there"), ([], "model: is required")):
        code, out, errors = run("models", "deploy", *words, server=server)
        assert code == 1 and out == "" and part in errors, words
    code, out, errors = run("models", "deploy", name, "more", server=server)
    assert code == 2 and "'more' is not expected" in errors
