"""An installation as a package makes it, in folders of its own: a MariaDB that knows users by their socket, purlin.lua, a state directory of
the service's user, who is `nobody` here."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from daemon import BUILD, PLUGINS, free_port, wait_until

PURLIN = BUILD / "bin" / "purlin"
PURLIND = BUILD / "bin" / "purlind"
SERVICE = "nobody"


class MariaDB:
    def __init__(self, folder, *arguments):
        self.folder, self.socket, self.port = folder, folder / "s", free_port()
        self.arguments = arguments
        done = subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=socket",
                               "--skip-test-db", "--user=root"], capture_output=True, text=True)
        assert done.returncode == 0, done
        self.start()

    def start(self):
        program = next(path for path in ("/usr/sbin/mariadbd", "/usr/libexec/mariadbd") if os.path.exists(path))
        self.process = subprocess.Popen([program, "--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={self.socket}", f"--port={self.port}",
                                         "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}", "--user=root", "--innodb-log-file-size=64M",
                                         "--performance-schema=OFF", "--skip-name-resolve", *self.arguments],
                                        stdout=open(self.folder / "log", "w"), stderr=subprocess.STDOUT)
        wait_until(lambda: self.run("SELECT 1").returncode == 0, 30, "no MariaDB")

    def run(self, statement, *arguments):
        return subprocess.run(["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-NB", *arguments, "-e", statement], capture_output=True, text=True)

    def sql(self, statement):
        done = self.run(statement)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def end(self):
        self.process.terminate()
        self.process.wait(30)


class Installation:
    def __init__(self, folder, database, plugins=PLUGINS):
        self.folder, self.database, self.plugins, self.port = folder, database, plugins, free_port()
        self.state, self.config = folder / "state", folder / "purlin.lua"
        self.policies, self.library = folder / "policies", folder / "library"
        for made in (self.policies, self.library):
            made.mkdir()
        self.state.mkdir(mode=0o750)
        shutil.chown(self.state, SERVICE, pwd.getpwnam(SERVICE).pw_gid)
        self.process = None
        self.configure()

    def configure(self, database=None, server="", more=""):
        """`database`: its section's members, beside the name."""
        members = database if database is not None else f'socket = "{self.database.socket}", user = "{SERVICE}", connections = 4'
        self.config.write_text(f'server {{ state = "{self.state}", port = {self.port}, loops = 1, {server} }}\n'
                               f'database {{ name = "purlin", {members} }}\n'
                               f'lua {{ policies = "{self.policies}", library = "{self.library}" }}\n'
                               f'plugins {{ folders = {{ "{self.plugins}" }} }}\n{more}\n')
        self.config.chmod(0o644)

    def run(self, *arguments, user=None, env=None, config=True):
        """Exit code, standard output, standard error."""
        more = ["--config", str(self.config)] if config else []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PURLIN_")}
        done = subprocess.run([str(PURLIN), *arguments, *more], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, cwd="/",
                              env={**kept, **(env or {})}, **({"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}))
        return done.returncode, done.stdout, done.stderr

    def json(self, *arguments, **more):
        code, said, complaints = self.run(*arguments, "--json", **more)
        try:
            return code, json.loads(said)
        except ValueError as error:
            raise AssertionError(f"{code}: {said} {complaints}") from error

    def start(self):
        """The daemon, as the service's user."""
        account = pwd.getpwnam(SERVICE)
        self.log = self.folder / "log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(PURLIND), "--config", str(self.config)], user=SERVICE, group=account.pw_gid, extra_groups=[],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.state)
        wait_until(lambda: "ready at" in self.log.read_text() or self.process.poll() is not None, 60, "not ready")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.process = None


def readable_by_others(path):
    return all(parent.stat().st_mode & 0o1 for parent in pathlib.Path(path).resolve().parents)


def make_root():
    """A folder that the service's user reaches; the test is left out where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("acting as several users needs root")
    if not readable_by_others(PURLIND):
        pytest.skip(f"{PURLIND} lies in a folder that only its owner reaches")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="purlin-care-"))
    folder.chmod(0o755)
    return folder
