"""The command `purlin` before a server that means ill: nothing that it says may steer the terminal."""
import http.server
import json
import os
import subprocess
import threading

import pytest

from daemon import BUILD

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r"
OPERATION = {
    "x-operation": True, "operationId": f"demo.list{EVIL}", "summary": f"Lists{EVIL}", "x-permission": f"demo:read{EVIL}",
    "parameters": [{"name": f"field{EVIL}", "schema": {"type": f"string{EVIL}", "description": EVIL}}, {"schema": {}}, {}],
}
DOCUMENT = {"paths": {"/a": {"post": {**OPERATION, "operationId": "demo.list"}},
                      "/b": {"post": {**OPERATION, "operationId": "demo.get"}},
                      "/c": {"post": {**OPERATION, "operationId": "demo.fail", "requestBody": {
                          "content": {"application/json": {"schema": {"properties": [{"type": "string"}]}}}}}},
                      "/d": {"post": OPERATION}}}
ANSWERS = {
    "demo.list": (200, {"items": [{f"id{EVIL}": f"a\n{EVIL}", "name": "é" * 40}]}),
    "demo.get": (200, {"id": EVIL, "text": "a\nb"}),
    "demo.fail": (400, {"title": f"Bad{EVIL}", "detail": EVIL, "errors": [{"field": EVIL, "message": EVIL}]}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value, ensure_ascii=False).replace("\\u001b", "\x1b").replace("\\u0007", "\x07").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, DOCUMENT)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(*ANSWERS[self.path.rsplit("/", 1)[1]])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def evil_server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("arguments, code", [
    (["help"], 0), (["demo"], 0), (["demo", "list", "--help"], 0), (["demo", "fail", "--help"], 0), (["demo", "list"], 0),
    (["--json", "demo", "list"], 0), (["demo", "get"], 0), (["--json", "demo", "get"], 0), (["demo", "fail"], 1),
    (["demo", "get", "--nothing", "1"], 2)])
def test_nothing_that_a_server_says_steers_the_terminal(evil_server, arguments, code):
    ran = subprocess.run([BUILD / "bin" / "purlin", "--server", evil_server, *arguments], capture_output=True, timeout=20,
                         env={**os.environ, "PURLIN_TOKEN": "t"})
    said = (ran.stdout + ran.stderr).decode()  # every character whole
    assert ran.returncode == code, said
    assert [c for c in said if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160] == [], said
    if code == 0 and "--help" not in arguments and "get" in arguments:
        assert json.loads(ran.stdout) == ANSWERS["demo.get"][1]
    if arguments == ["demo", "list"]:
        assert len(said.splitlines()) == 2, said
