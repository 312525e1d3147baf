"""An installation that can be upgraded without being root of a machine: real packages (dpkg-deb makes and unpacks them), a real purlind on a
real MariaDB; only what keeps the books of a system is played: dpkg's list of packages, apt, and the service manager."""
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

from daemon import BUILD, Client, free_port, wait_until
from test_database_tls import Database

SYSTEM = r'''
"""dpkg, dpkg-query, apt-get, apt-cache and the service manager of one folder, by the name that it is called by."""
import json, os, pathlib, re, shutil, signal, subprocess, sys, time
folder = pathlib.Path(__file__).resolve().parent.parent
root, book = folder / "root", folder / "installed.json"
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with open(folder / "calls", "a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\n")

def fault(what):
    path = folder / "fault"
    return path.read_text().split() == what.split() if path.exists() else False

def installed():
    return json.loads(book.read_text())

def keep(now):
    fresh = book.with_suffix(".new")
    fresh.write_text(json.dumps(now))
    fresh.rename(book)

def show(file):
    out = subprocess.run(["dpkg-deb", "--show", "--showformat=${Package}\t${Version}\t${Architecture}", file], capture_output=True, text=True, check=True).stdout
    return out.split("\t")

def install(files):
    for file in files:
        package, version, architecture = show(file)
        now = installed()
        now[package] = {"version": version, "architecture": architecture, "state": "iU "}
        keep(now)
        if fault(f"kill {version}"):
            (folder / "fault").unlink()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.3)  # and goes on, as a package manager does that nobody has ended
        if fault(f"full {version}"):
            (root / "usr/sbin/purlind").unlink()
            print("dpkg: error processing archive: cannot copy extracted data: failed to write (No space left on device)", file=sys.stderr)
            sys.exit(1)
        subprocess.run(["dpkg-deb", "--extract", file, str(root)], check=True)
        listing = subprocess.run(["dpkg-deb", "--contents", file], capture_output=True, text=True, check=True).stdout
        now[package].update(state="ii ", files=[str(root / line.split(" ./", 1)[1]) for line in listing.splitlines() if " ./" in line])
        keep(now)

def files_of(words):
    return [word for word in words if word.endswith(".deb")]

def fill(form, package, entry):
    fields = {"Package": package, "Version": entry["version"], "Architecture": entry["architecture"], "source:Package": entry.get("source", "purlin"),
              "db:Status-Abbrev": entry["state"]}
    return re.sub(r"\$\{([^}]*)\}", lambda found: fields[found.group(1)], form).replace("\\t", "\t").replace("\\n", "\n")

def pid():
    try:
        found = int((folder / "pid").read_text())
        os.kill(found, 0)
        return found if "Z" != open(f"/proc/{found}/stat").read().rsplit(")", 1)[1].split()[0] else 0
    except (OSError, ValueError):
        return 0

if name == "dpkg":
    if "--compare-versions" in arguments:
        os.execv("/usr/bin/dpkg", ["dpkg", *arguments])
    if "--install" in arguments:
        install(files_of(arguments))
elif name == "dpkg-query":
    form = next((word.split("=", 1)[1] for word in arguments if word.startswith("--showformat=")), "")
    if "--listfiles" in arguments:
        for package in arguments[1:]:
            print("\n".join(installed()[package].get("files", [])))
    else:
        wanted = arguments[arguments.index("--") + 1:] if "--" in arguments else list(installed())
        for package in wanted:
            if package not in installed():
                sys.exit(1)
            sys.stdout.write(fill(form, package, installed()[package]))
elif name == "apt-get":
    if "download" in arguments:
        package, version = arguments[-1].split("=")
        found = list((folder / "archive").glob(f"{package}_{version}_*.deb"))
        if not found:
            sys.exit(f"E: Version '{version}' for '{package}' was not found")
        shutil.copy(found[0], ".")
    elif "--simulate" in arguments:
        if fault("depends"):
            sys.exit("E: Unmet dependencies. purlin : Depends: libnothing1 but it is not installable")
        for file in files_of(arguments):
            print(f"Inst {show(file)[0]}")
        if fault("removes"):
            print("Remv something-else [1.0]")
    else:
        install(files_of(arguments))
elif name == "apt-cache":
    versions = [path.name.split("_")[1] for path in (folder / "archive").glob(f"{arguments[-1]}_*.deb")]
    print(f"{arguments[-1]}:\n  Installed: x\n  Candidate: {max(versions, default='(none)')}")
elif name == "service":
    word = arguments[0]
    if word == "status":
        sys.exit(0 if pid() else 3)
    if word == "stop" and pid():
        stopping = pid()
        os.kill(stopping, signal.SIGTERM)
        while pid() == stopping:
            time.sleep(0.05)
    if word == "start":
        with open(folder / "log", "ab") as log:
            started = subprocess.Popen([str(root / "usr/sbin/purlind"), "--config", str(folder / "purlin.lua")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        (folder / "pid").write_text(str(started.pid))
'''


class Site:
    """Releases 1 and others of a Purlin, of which one is installed and serves."""

    def __init__(self, folder, template):
        self.folder, self.root = folder, folder / "root"
        for made in ("bin", "root", "made", "archive", "policies", "state", "third"):
            (folder / made).mkdir()
        database = folder / "database"
        database.mkdir()
        self.database = Database(database, template)
        shutil.copy(template / "admin.token", folder / "state")
        self.state, self.port = folder / "state", free_port()
        self.token = (folder / "state" / "admin.token").read_text().strip()
        self.configure()
        for name in ("dpkg", "dpkg-query", "apt-get", "apt-cache", "service"):
            program = folder / "bin" / name
            program.write_text(f"#!{sys.executable}\n{SYSTEM}")
            program.chmod(0o755)
        (folder / "installed.json").write_text("{}")
        try:
            self.system("dpkg", "--install", str(self.package("1")))
            self.system("service", "start", "purlin")
            self.wait_ready()
        except BaseException:
            self.end()
            raise

    def configure(self, more=""):
        (self.folder / "purlin.lua").write_text(
            f'server {{ state = "{self.state}", port = {self.port}, loops = 1, drain_seconds = 2 }}\n{self.database.section(connections=4)}'
            f'lua {{ policies = "{self.folder}/policies" }}\n'
            f'plugins {{ folders = {{ "{self.root}/usr/lib/purlin/plugins", "{self.folder}/third" }} }}\n{more}')

    def system(self, *arguments):
        done = subprocess.run([self.folder / "bin" / arguments[0], *arguments[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done
        return done.stdout

    def package(self, version, purlind=None, name="purlin", more=None):
        """A package of this build; `purlind`: a script in the place of the daemon, in which @REAL@ is the real one."""
        path = self.folder / "made" / f"{name}_{version}_amd64.deb"
        if path.exists():
            return path
        tree = self.folder / "made" / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n")
        if name == "purlin":
            for folder in ("usr/bin", "usr/sbin", "usr/libexec/purlin", "usr/lib/purlin/plugins", "usr/runtime"):
                (tree / folder).mkdir(parents=True)
            os.link(stripped("bin/purlin", self.folder), tree / "usr/bin/purlin")
            os.link(stripped("bin/purlin-runner", self.folder), tree / "usr/libexec/purlin/purlin-runner")
            os.link(stripped("bin/purlin-runner", self.folder), tree / "usr/sbin/purlin-runner")
            os.link(stripped("runtime/libpurlin.so.1", self.folder), tree / "usr/lib/libpurlin.so.1")
            os.link(stripped("runtime/libpurlin.so.1", self.folder), tree / "usr/runtime/libpurlin.so.1")  # where programs of a build look
            for plugin in sorted((BUILD / "plugins").glob("*.so")):
                os.link(stripped(f"plugins/{plugin.name}", self.folder), tree / "usr/lib/purlin/plugins" / plugin.name)
            real = stripped("bin/purlind", self.folder)
            if purlind:
                os.link(real, tree / "usr/sbin/purlind.real")
                (tree / "usr/sbin/purlind").write_text(purlind.replace("@REAL@", 'exec "$0.real" "$@"'))
                (tree / "usr/sbin/purlind").chmod(0o755)
            else:
                os.link(real, tree / "usr/sbin/purlind")
        for place, text in (more or {}).items():
            (tree / place).parent.mkdir(parents=True, exist_ok=True)
            (tree / place).write_text(text)
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, path], check=True, capture_output=True)
        shutil.rmtree(tree)
        return path

    # ---- What it says of itself

    def installed(self):
        return {name: entry["version"] for name, entry in json.loads((self.folder / "installed.json").read_text()).items() if entry["state"] == "ii "}

    def client(self, timeout=30):
        return Client(self.port, self.token, timeout)

    def ready(self):
        client = self.client(5)
        try:
            return client.get("/readyz").status == 200
        except OSError:
            return False
        finally:
            client.close()

    def wait_ready(self):
        wait_until(self.ready, 60, f"not ready: {(self.folder / 'log').read_text()[-3000:]}")

    def fault(self, what=None):
        path = self.folder / "fault"
        path.unlink(missing_ok=True)
        if what:
            path.write_text(what)

    # ---- The command

    def command(self, *arguments):
        return [str(self.root / "usr/bin/purlin"), "upgrade", *map(str, arguments)]

    def environment(self):
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PURLIN_UPGRADE_FOLDER": str(self.folder / "upgrade")}

    def begin(self, *arguments, config=True):
        more = ["--service", self.folder / "bin" / "service", "--config", self.folder / "purlin.lua", "--wait", "30"] if config else []
        return subprocess.Popen(self.command(*arguments, *more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                                env=self.environment(), cwd="/", start_new_session=True)

    def upgrade(self, *arguments, **more):
        """Its exit code and what it said."""
        running = self.begin(*arguments, **more)
        said, _ = running.communicate(timeout=240)
        return running.returncode, said

    def to(self, package, *arguments):
        return self.upgrade("--to", package, "--without-backup", *self.copies(), *arguments)

    def copies(self):
        """apt has none here of what is installed."""
        return [word for name, version in self.installed().items() for word in ("--old", self.folder / "made" / f"{name}_{version}_amd64.deb")]

    def status(self):
        code, said = self.upgrade("--status", "--json", config=False)
        assert code == 0, said
        return json.loads(said)

    def journal(self):
        """The records of the upgrade that is under way."""
        try:
            text = (self.folder / "upgrade" / "journal").read_bytes().split(b"\0")[0].decode()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def kill_at(self, running, step, state):
        """SIGKILL as soon as the journal says so; true: it was killed."""
        end = time.monotonic() + 120
        while running.poll() is None and time.monotonic() < end:
            if any(record.get("step") == step and record.get("is") == state for record in self.journal()):
                running.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        running.communicate(timeout=60)
        return running.returncode == -signal.SIGKILL

    def end(self):
        self.fault()
        self.system("service", "stop", "purlin")
        self.database.end()


def stripped(place, folder):
    """A file of the build without what only debuggers read, made once per site."""
    path = folder / "made" / "stripped" / place
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUILD / place, path)
        subprocess.run(["strip", "--strip-debug", path], check=True)
        path.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    return path


class Writer:
    """Somebody who goes on working all the while, and remembers what was acknowledged."""

    def __init__(self, site):
        self.site, self.acknowledged, self.ended = site, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        client, number = self.site.client(5), 0
        while not self.ended:
            name = f"w{id(self)}-{number}"
            number += 1
            try:
                if client.post("/api/v1/models", {"name": name}).status == 201:
                    self.acknowledged.append(name)
            except Exception:  # noqa: BLE001: the daemon is being replaced
                time.sleep(0.05)
            time.sleep(0.01)
        client.close()

    def end(self):
        """How many were acknowledged; each is there."""
        self.ended = True
        self.thread.join(30)
        client = self.site.client()
        for name in self.acknowledged:
            assert client.get(f"/api/v1/models/{name}").status == 200, name
        client.close()
        return len(self.acknowledged)
