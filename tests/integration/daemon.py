"""A real purlind with its private MariaDB in a folder of its own, and a small HTTP client for it."""
import http.client
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("PURLIN_BUILD", "build")).resolve()
PURLIND = BUILD / "bin" / "purlind"
PLUGINS = BUILD / "plugins"
# Under valgrind, say: what comes before the daemon's command, and how many times as long everything may take (CONTRIBUTING.md).
WRAPPER = shlex.split(os.environ.get("PURLIN_WRAPPER", ""))
PATIENCE = float(os.environ.get("PURLIN_PATIENCE", "1"))
MARK = "PURLIN_TEST_MARK"  # in the environment of every process that a test starts, so that none is overlooked


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Client:
    """One keep-alive connection; not for several threads at once."""

    def __init__(self, port, token, timeout=30):
        self.token = token
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout * PATIENCE)

    def call(self, method, path, body=None, headers=None, token=True):
        sent = dict(headers or {})
        if token is True and self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        elif isinstance(token, str):
            sent["Authorization"] = f"Bearer {token}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            self.connection.request(method, path, body, sent)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except Exception:
            self.connection.close()  # the next call connects anew
            raise

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)

    def put(self, path, body=None, **more):
        return self.call("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)

    def op(self, name, body=None, **more):
        return self.post(f"/api/v1/op/{name}", {} if body is None else body, **more)

    def close(self):
        self.connection.close()


def processes_marked(mark):
    """The pids of living processes that carry the mark in their environment, with their command lines."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            if (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                continue
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, IndexError):
            continue
    return found


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.02)


class Daemon:
    """purlind on a folder. May be started again after it ended or was killed."""

    def __init__(self, folder, configuration=None, plugins=PLUGINS, dev=True, arguments=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self.folder / "state"
        self.policies = self.folder / "policies"
        self.policies.mkdir(exist_ok=True)
        self.library = self.folder / "library"
        self.library.mkdir(exist_ok=True)
        self.log = self.folder / "log"
        self.mark = uuid.uuid4().hex
        self.command = [str(PURLIND), "--state", str(self.state), "--plugins", str(plugins), "--policies", str(self.policies),
                        "--library", str(self.library)]
        if dev:
            self.command.append("--dev")
        if configuration is not None:
            path = self.folder / "purlin.lua"
            path.write_text(configuration)
            self.command += ["--config", str(path)]
        self.command += list(arguments)
        if "--port" not in self.command:
            self.command += ["--port", "0"]
        self.process = None
        self.port = None

    def launch(self, arguments=()):
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(WRAPPER + self.command + list(arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, MARK: self.mark}, start_new_session=True)
        return self

    def start(self, seconds=40):
        self.launch()
        wait_until(lambda: self._ready_line() or self.process.poll() is not None, seconds, f"not ready; log: {self.log_text()}")
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log_text()}"
        self.port = self._ready_line()
        self.token = (self.state / "admin.token").read_text().strip()
        return self

    def _ready_line(self):
        found = re.search(r"ready at https?://127\.0\.0\.1:(\d+)", self.log_text())
        return int(found.group(1)) if found else None

    def log_text(self):
        """What was logged since the last start."""
        with open(self.log, "rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def records(self, level):
        lines = [line for line in self.log_text().splitlines() if line.startswith("{")]
        return [record for record in map(json.loads, lines) if record["level"] == level]

    def client(self, token=True, timeout=30):
        return Client(self.port, self.token if token is True else token, timeout)

    def socket(self, timeout=15):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ready(self):
        client = self.client(timeout=5)
        try:
            return client.get("/readyz").status == 200
        except OSError:
            return False
        except http.client.HTTPException:
            return False
        finally:
            client.close()

    def left(self):
        return {pid: line for pid, line in processes_marked(self.mark).items()}

    def mariadb(self):
        """The pid of the private MariaDB."""
        found = [pid for pid, line in self.left().items() if f"--datadir={self.state.resolve()}/mariadb" in line]
        assert len(found) == 1, self.left()
        return found[0]

    def sql(self, statement):
        """Straight into the private MariaDB: the rows, as lists of texts. For what no client may do, such as making the past."""
        done = subprocess.run(["mariadb", "--no-defaults", f"--socket={self.state.resolve()}/mariadb/mariadb.sock", "-N", "-B", "purlin", "-e", statement],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def token_for(self, workspace, permissions=("*",)):
        """A new key that may do this, in this workspace, for an owner of it."""
        token = f"purlin_{uuid.uuid4().hex}"
        granted = json.dumps(list(permissions))
        self.sql("INSERT INTO access_tokens (id, hash, name, actor, workspace, project, permissions, created_at) VALUES"
                 f" ('key_{uuid.uuid4().hex}', SHA2('{token}', 256), 'test', 'user:test', '{workspace}', 'default', '{granted}', NOW(6))")
        self.sql("INSERT IGNORE INTO access_grants VALUES"
                 f" ('grt_{uuid.uuid4().hex}', '{workspace}', 'user:test', 'owner', '*', '*', NOW(6), 'test')")
        return token

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, seconds=30):
        """Asks it to end; fails unless it ends with 0 and nothing is left of it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"did not end within {seconds} s of SIGTERM: {self.log_text()[-3000:]}") from None
        assert code == 0, f"exit code {code}: {self.log_text()[-3000:]}"
        wait_until(lambda: not self.left(), 3, f"left running: {self.left()}")

    def end(self):
        """Cleans up whatever is still there, whatever happened."""
        if self.process and self.process.poll() is None:
            self.kill()
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        end = time.monotonic() + 10
        while self.left() and time.monotonic() < end:
            time.sleep(0.02)


def copy_state(template, folder):
    """A state directory with an initialised database, without the seconds that it takes to make one."""
    target = pathlib.Path(folder) / "state"
    shutil.copytree(template, target, ignore=shutil.ignore_patterns("*.sock", "*.pid", "lock"))
    return target


class Threads:
    """Runs functions at once, and raises what any of them raised."""

    def __init__(self, *functions):
        self.errors = []
        self.threads = [threading.Thread(target=self._run, args=(function,), daemon=True) for function in functions]
        for thread in self.threads:
            thread.start()

    def _run(self, function):
        try:
            function()
        except BaseException as error:  # noqa: BLE001: it is raised again by join
            self.errors.append(error)

    def join(self, seconds=60):
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
            assert not thread.is_alive(), "a thread hangs"
        if self.errors:
            raise self.errors[0]


def staged(blobs):
    """The files that are being written in this folder of storage-fs; beside them lies a mark for backups."""
    return [path for path in (blobs / "staging").iterdir() if path.name != ".nobackup"]


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def free_port():
    """Below the ports that the kernel gives to clients: it must still be free when the daemon comes back."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def sql(server, statement):
    """Rows of the private MariaDB, as lists of texts."""
    command = ["mariadb", f"--socket={server.state}/mariadb/mariadb.sock", "-uroot", "-NB", "purlin", "-e", statement]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in out.splitlines()]


class Statements:
    """One connection to the private MariaDB that stays open: for tests that run thousands of statements."""

    def __init__(self, server):
        self.client = subprocess.Popen(["mariadb", "--no-defaults", f"--socket={server.state.resolve()}/mariadb/mariadb.sock", "-N", "-B", "--unbuffered", "purlin"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, *statements):
        """Each takes effect before this returns; the rows, as lists of texts. What fails ends the connection, and the test."""
        self.client.stdin.write("".join(f"{statement};\n" for statement in statements) + "SELECT 'done';\n")
        self.client.stdin.flush()
        rows = []
        while (line := self.client.stdout.readline()) != "done\n":
            assert line, "a statement failed"
            rows.append(line.rstrip("\n").split("\t"))
        return rows

    def close(self):
        self.client.stdin.close()
        self.client.wait(10)
        self.client.stdout.close()
