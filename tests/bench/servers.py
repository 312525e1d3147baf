"""The servers under measurement: started on free ports of 127.0.0.1, ended again whatever happens, their CPU time read from /proc."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
started = []  # every process of ours, the newest last


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, log, **options):
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    started.append(process)
    try:  # the kernel schedules sessions as groups: this one is as nice as its processes
        Path(f"/proc/{process.pid}/autogroup").write_text(str(os.nice(0)))
    except OSError:
        pass
    return process


def stop(process):
    if process in started:
        started.remove(process)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def stop_all():
    for process in reversed(started[:]):
        stop(process)


def interrupted(number, frame):
    raise KeyboardInterrupt


@contextlib.contextmanager
def scratch(parent=None):
    """A folder to measure in. In the end all that was started is ended and the folder goes; when something went wrong it stays, for its logs.
    SIGTERM ends the program as Ctrl-C does."""
    signal.signal(signal.SIGTERM, interrupted)
    folder = Path(tempfile.mkdtemp(prefix="purlin-bench-", dir=parent))
    try:
        yield folder
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception:
        print(f"The logs are in {folder}", file=sys.stderr)
        folder = None
        raise
    finally:
        stop_all()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def tree(pid, without=0):
    """A process and all below it that live; one may be left out, with what is below it."""
    if pid == without:
        return []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []
    children = []
    for task in tasks:
        try:
            children += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except FileNotFoundError:
            pass
    return [pid] + [below for child in children for below in tree(int(child), without)]


def cpu_seconds(pid, without=0):
    """User and system time of a process and of what it started."""
    ticks = 0
    for one in tree(pid, without):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def proportional_kib(pid, without=0):
    return sum(
        int(line.split()[1])
        for one in tree(pid, without)
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )


def call(url, token=None, body=None, media="application/json", method=None):
    """An answer's JSON; raises on any error."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": media} if data is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def wait_for(url, process, seconds=60, pause=0.02, **options):
    """Until an address answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call(url, **options)
        except (OSError, urllib.error.URLError) as problem:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{url} does not answer: {problem}; its log is in the folder of this run") from problem
        time.sleep(pause)


class Database:
    """A MariaDB of our own that writes its log down at each commit."""

    def __init__(self, folder):
        self.socket = folder / "db.sock"
        data = folder / "mariadb"
        user = ["--user=root"] if os.getuid() == 0 else []
        log = folder / "mariadb.log"
        with open(log, "wb") as out:
            subprocess.run(
                ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", *user],
                check=True, stdout=out, stderr=out)
        server = shutil.which("mariadbd", path=os.environ["PATH"] + ":/usr/sbin:/usr/libexec")
        self.process = start(
            [server, "--no-defaults", f"--datadir={data}", f"--socket={self.socket}", f"--tmpdir={data}", f"--pid-file={data}/pid",
             "--skip-networking", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=128M",
             "--character-set-server=utf8mb4", *user], log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket))
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"mariadbd does not start: see {log}")


class Purlin:
    """purlind on a database; `loops` 0: one per core."""

    def __init__(self, folder, database, build, loops=0, extra="", policy="", name="bench"):
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        plugins = [str(build / "plugins")] + ([extra] if extra else [])
        policies = folder / "policies"
        policies.mkdir(exist_ok=True)
        (policies / "hello.lua").write_text(
            'purlin.route("GET /bench/lua", { permission = "models:read" }, function()\n'
            '  return { body = { hello = "world", number = 42 } }\nend)\n')
        (policies / "more.lua").write_text(policy)
        config = folder / f"purlin-{loops}.lua"
        config.write_text(
            f'server {{ port = {self.port}, loops = {loops}, state = "{self.state}" }}\n'
            f'database {{ socket = "{database.socket}", user = "root", name = "{name}" }}\n'
            f'log {{ access = "{folder / "purlin-access.log"}" }}\n'
            f'lua {{ policies = "{policies}", library = "{ROOT / "lua"}" }}\n'
            f"plugins {{ folders = {{ {', '.join(json.dumps(p) for p in plugins)} }} }}\n")
        began = time.monotonic()
        self.process = start([str(build / "bin" / "purlind"), "--config", str(config)], folder / "purlin.log")
        wait_for(self.url + "/readyz", self.process, pause=0.005)
        self.ready_seconds = time.monotonic() - began
        self.token = (self.state / "admin.token").read_text().strip()

    @property
    def pid(self):
        return self.process.pid


class Nginx:
    """One worker, a buffered access log, and the two constant answers; without its Lua module only the first."""

    MODULES = Path("/usr/lib/nginx/modules")

    def __init__(self, folder, body):
        self.lua = (self.MODULES / "ngx_http_lua_module.so").exists()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        modules = "".join(f"load_module {self.MODULES}/{name}.so;\n" for name in ("ndk_http_module", "ngx_http_lua_module") if self.lua)
        handler = self.lua_handler() if self.lua else ""
        config = folder / "nginx.conf"
        config.write_text(
            f"{modules}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log {folder}/nginx-access.log combined buffer=64k flush=1s; keepalive_requests 100000000;\n"
            f"  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n"
            f"  uwsgi_temp_path {folder}; scgi_temp_path {folder}; default_type application/json;\n"
            f"  server {{ listen 127.0.0.1:{self.port};\n    location = /constant {{ return 200 '{body}'; }}\n{handler} }} }}\n")
        self.process = start([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-c", str(config)], folder / "nginx.log")
        wait_for(self.url + "/constant", self.process)

    @staticmethod
    def lua_handler():
        # Debian's module comes without cjson: the text is made in the way in which one would do it there.
        return ('    location = /lua { content_by_lua_block {\n'
                '      local answer = { hello = "world", number = 42 }\n'
                '      ngx.print(string.format(\'{"hello":"%s","number":%d}\', answer.hello, answer.number))\n    } }\n')

    @property
    def pid(self):
        return self.process.pid


class Peer:
    """FastAPI under uvicorn, one worker, uvloop and httptools, its access log in a file."""

    def __init__(self, folder, python, token, model, columns):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = dict(os.environ, BENCH_TOKEN=token, BENCH_MODEL=str(model), BENCH_COLUMNS=",".join(columns), OMP_NUM_THREADS="1")
        self.process = start(
            [str(python), "-m", "uvicorn", "peer:app", "--app-dir", str(ROOT / "tests/bench"), "--host", "127.0.0.1", "--port", str(self.port),
             "--loop", "uvloop", "--http", "httptools", "--workers", "1"], folder / "peer.log", env=environment)
        wait_for(self.url + "/openapi.json", self.process)

    @property
    def pid(self):
        return self.process.pid
