"""`purlin import mlflow` against servers that are none, or mean: what it refuses, and what it says. With real ones: tests/clients/test_import.py."""
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest

from daemon import BUILD, unique

PURLIN = BUILD / "bin" / "purlin"


class Source:
    """As much of an MLflow server as an import asks for; answers may be replaced by path."""

    def __init__(self):
        self.experiments, self.runs, self.files, self.answers, self.asked, self.headers = [], {}, {}, {}, [], []
        handler = type("Handler", (Handler,), {"source": self})
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def add_run(self, **info):
        """A run in an experiment of its own; the names of both."""
        name, run_id = unique("import"), uuid.uuid4().hex
        number = str(len(self.experiments) + 1)
        self.experiments.append({"experiment_id": number, "name": name, "lifecycle_stage": "active", "tags": []})
        self.runs[number] = [{"info": {"run_id": run_id, "experiment_id": number, "status": "FINISHED", "start_time": 1700000000000,
                                       "end_time": 1700000001000, "lifecycle_stage": "active", "run_name": "r", "artifact_uri": "x", **info}, "data": {}}]
        return name, run_id

    def answer(self, path, query, body):
        """A body, or (status, headers, body)."""
        if path in self.answers:
            return self.answers[path](query, body)
        if path == "/version":
            return "3.17.2"
        if not path.startswith("/api/"):
            return 404, {}, "<html>"
        if path.endswith("/experiments/search"):
            return {"experiments": self.experiments}
        if path.endswith("/runs/search"):
            return {"runs": self.runs[body["experiment_ids"][0]]}
        if path.endswith("/artifacts/list"):
            return {"files": self.files.get(query.get("path", ""), [])}
        if path.endswith("/registered-models/search"):
            return {}
        return 404, {}, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "nothing"}

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        where = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(where.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        self.source.asked.append(self.path)
        self.source.headers.append(self.headers.get("Authorization"))
        answer = self.source.answer(where.path, query, body)
        status, headers, content = answer if isinstance(answer, tuple) else (200, {}, answer)
        if callable(content):  # writes by itself
            return content(self)
        content = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def source():
    made = Source()
    yield made
    made.close()


def begin(server, url, *more, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PURLIN_", "MLFLOW_"))}
    return subprocess.Popen([str(PURLIN), "import", "mlflow", url, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**kept, "PURLIN_SERVER": f"http://127.0.0.1:{server.port}", "PURLIN_TOKEN": server.token, **environment})


def run(server, url, *more, **environment):
    """Exit code, standard output and standard error."""
    process = begin(server, url, *more, **environment)
    out, said = process.communicate(timeout=60)
    return process.returncode, out, said


def test_what_is_there_is_here_with_its_id(server, client, source):
    name, run_id = source.add_run()
    source.files[""] = [{"path": "a b.txt", "is_dir": False, "file_size": 5}]
    source.answers["/get-artifact"] = lambda query, body: "hello"
    code, out, said = run(server, source.url)
    assert code == 0 and "1 runs were copied, 0 were here already" in out, out + said
    made = client.get(f"/api/v1/runs/{run_id}").json
    assert (made["experiment"], made["status"], made["started_at"]) == (name, "finished", "2023-11-14T22:13:20Z")
    assert {tag["key"]: tag["value"] for tag in made["tags"]}["purlin.import.source"] == f"{source.url}/runs/{run_id}"
    assert client.get(f"/get-artifact?run_uuid={run_id}&path=a%20b.txt").body == b"hello"
    asked = len(source.asked)
    code, out, said = run(server, source.url.replace("127.0.0.1", "localhost"), "--as", source.url)
    assert code == 0 and client.op("tracking.list_runs", {"experiment": name}).json["runs"][0]["id"] == run_id, out + said
    assert not any(path.startswith("/get-artifact") for path in source.asked[asked:])


@pytest.mark.parametrize("path", ["../../../../../v1/op/tracking.delete_run", "..", "a/../../b", "/etc/passwd", "deep/file", "a\x01b", ""])
def test_files_stay_below_their_folder(server, source, path):
    source.add_run()
    source.files[""] = [{"path": path, "is_dir": False, "file_size": 1}]
    source.answers["/get-artifact"] = lambda query, body: "x"
    code, out, said = run(server, source.url)
    assert code == 1 and "no place below its folder" in said and "\x01" not in said, said
    assert not any(asked.startswith("/get-artifact") for asked in source.asked)


def test_folders_within_folders_end(server, source):
    source.add_run()
    source.answers["/api/2.0/mlflow/artifacts/list"] = lambda query, body: {
        "files": [{"path": f"{query['path']}/a" if query.get("path") else "a", "is_dir": True}]}
    code, out, said = run(server, source.url)
    assert code == 1 and "too deep" in said, said


@pytest.mark.parametrize("token", ["'same'", "str(next(count))"])
def test_pages_end(server, source, token):
    source.add_run()
    count = iter(range(10**9))
    source.answers["/api/2.0/mlflow/runs/search"] = lambda query, body: {"runs": [], "next_page_token": eval(token, {"count": count, "next": next})}
    code, out, said = run(server, source.url)
    assert code == 1 and "pages of runs have no end" in said, said
    assert len(source.asked) < 1000


@pytest.mark.parametrize("told, sent, words", [(3, b"x" * (8 << 20), "more than the 3 bytes"), (9, b"short", "less than the 9 bytes")])
def test_a_file_is_as_long_as_was_said(server, client, source, told, sent, words):
    name, run_id = source.add_run()
    source.files[""] = [{"path": "f", "is_dir": False, "file_size": told}]
    source.answers["/get-artifact"] = lambda query, body: sent
    code, out, said = run(server, source.url)
    assert code == 1 and words in said and f"{run_id}: f:" in said and "differs" in out, out + said
    assert client.get(f"/get-artifact?run_uuid={run_id}&path=f").status == 404


def test_redirects_are_not_followed(server, source):
    source.add_run()
    source.files[""] = [{"path": "f", "is_dir": False, "file_size": 1}]
    source.answers["/inner"] = lambda query, body: "x"
    source.answers["/get-artifact"] = lambda query, body: (302, {"Location": f"{source.url}/inner"}, "x")
    code, out, said = run(server, source.url)
    assert code == 1 and "answered with 302" in said, said
    source.answers["/api/2.0/mlflow/experiments/search"] = lambda query, body: (307, {"Location": f"{source.url}/inner"}, "")
    code, out, said = run(server, source.url)
    assert code == 1 and "which is not followed" in said, said
    assert "/inner" not in source.asked


def test_an_answer_without_end_is_not_read_to_it(server, source):
    def pour(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * (1 << 20))
        except OSError:
            handler.close_connection = True

    source.answers["/api/2.0/mlflow/experiments/search"] = lambda query, body: (200, {}, pour)
    code, out, said = run(server, source.url)
    assert code == 1 and "larger than 32 MiB" in said, said


def test_what_a_terminal_would_obey_is_not_shown(server, source):
    evil = "\x1b]0;owned\x07\x9b31m"
    source.answers["/version"] = lambda query, body: evil
    source.answers["/api/2.0/mlflow/registered-models/search"] = lambda query, body: (400, {}, {"message": evil})
    code, out, said = run(server, source.url)
    assert code == 1 and "owned" in said and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said), said


def test_files_that_the_server_cannot_reach_are_named(server, source):
    name, run_id = source.add_run()
    source.answers["/api/2.0/mlflow/artifacts/list"] = lambda query, body: (500, {}, {"message": "the bucket is gone"})
    code, out, said = run(server, source.url)
    assert code == 1 and run_id in said and "the bucket is gone" in said, said


def test_who_asks(server, source, tmp_path):
    held = tmp_path / "token"
    held.write_text("secret-1\n")
    cases = [({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"), ({"MLFLOW_TRACKING_TOKEN": server.token}, None),
             ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "Basic dTpw"),
             ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": server.token}, None)]
    for environment, expected in cases:
        source.headers.clear()
        assert run(server, source.url, "--dry-run", **environment)[0] == 0
        assert set(source.headers) == {expected}, environment
    source.headers.clear()
    assert run(server, source.url, "--dry-run", "--token-file", str(held), MLFLOW_TRACKING_TOKEN="other")[0] == 0
    assert set(source.headers) == {"Bearer secret-1"}
    source.answers["/api/2.0/mlflow/experiments/search"] = lambda query, body: (401, {}, {"message": "who?"})
    code, out, said = run(server, source.url)
    assert code == 3 and "lets nobody in" in said and "who?" in said


def test_wrong_arguments_and_servers(server, source):
    url = f"http://127.0.0.1:{server.port}"
    for arguments, wanted, words in [((source.url, "--experiment", "none"), 1, "no experiment 'none'"), ((f"{source.url}/other",), 1, "no MLflow server"),
                                     (("http://127.0.0.1:1",), 3, "does not answer"), (("ftp://x",), 2, "begins with http://"), ((url,), 2, "Purlin itself"),
                                     ((source.url, "--token-file", "/none"), 2, "/none"), ((source.url, "--what"), 2, "Usage"),
                                     ((source.url, "--as", "a'b"), 2, "--as")]:
        code, out, said = run(server, *arguments)
        assert code == wanted and words in said, (arguments, code, said)
    assert run(server, source.url, PURLIN_TOKEN="wrong")[0] == 3


def test_killed_in_the_middle_of_a_file_it_goes_on(server, client, source):
    name, run_id = source.add_run()
    reached, content = threading.Event(), os.urandom(1 << 20)
    source.files[""] = [{"path": "f", "is_dir": False, "file_size": len(content)}]

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:300000])
        reached.set()
        time.sleep(1)
        handler.close_connection = True

    source.answers["/get-artifact"] = lambda query, body: (200, {}, stall)
    process = begin(server, source.url)
    assert reached.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert client.get(f"/get-artifact?run_uuid={run_id}&path=f").status == 404
    source.answers["/get-artifact"] = lambda query, body: content
    code, out, said = run(server, source.url)
    assert code == 0 and client.get(f"/get-artifact?run_uuid={run_id}&path=f").body == content, out + said
    assert len(client.op("tracking.list_runs", {"experiment": name}).json["runs"]) == 1
