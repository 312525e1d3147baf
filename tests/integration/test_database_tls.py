"""MariaDB over TLS: a real server with a certificate, with a wrong one, and with none."""
import os
import shutil
import subprocess
import tempfile
import pathlib

import pytest

from daemon import Threads, free_port, unique, wait_until
from test_start import refuses
from test_tls import Authority


class Database:
    """A MariaDB on a port of its own, with the tables of a daemon that was started once."""

    def __init__(self, folder, template, certificate=None):
        self.folder, self.port = folder, free_port()
        shutil.copytree(template / "mariadb", folder / "data", ignore=shutil.ignore_patterns("*.sock", "*.pid"))
        self.socket = folder / "s"
        secure = [f"--ssl-cert={certificate[0]}", f"--ssl-key={certificate[1]}"] if certificate else ["--skip-ssl"]
        program = next(path for path in ("/usr/sbin/mariadbd", "/usr/libexec/mariadbd") if os.path.exists(path))
        self.process = subprocess.Popen([program, "--no-defaults", f"--datadir={folder / 'data'}", f"--socket={self.socket}", f"--port={self.port}",
                                         "--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}", "--innodb-log-file-size=64M", "--skip-log-bin",
                                         *(["--user=root"] if os.geteuid() == 0 else []), *secure],
                                        stdout=open(folder / "log", "w"), stderr=subprocess.STDOUT)
        wait_until(lambda: self.run("SELECT 1").returncode == 0, 30, "no MariaDB")
        self.sql("CREATE USER purlin@'127.0.0.1' IDENTIFIED BY 'geheim'; GRANT ALL ON purlin.* TO purlin@'127.0.0.1'")

    def run(self, statement):
        return subprocess.run(["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-NB", "-e", statement], capture_output=True, text=True)

    def sql(self, statement):
        done = self.run(statement)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def section(self, **more):
        members = {"host": "127.0.0.1", "port": self.port, "user": "purlin", "password": "geheim", **more}
        return "database { " + ", ".join(f'{name} = {value}' if isinstance(value, int) else f'{name} = "{value}"' for name, value in members.items()) + " }\n"

    def end(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def authority(scratch):
    return Authority(scratch / "db-authority")


@pytest.fixture
def make_database(scratch, template):
    made = []

    def make(certificate=None):
        made.append(Database(pathlib.Path(tempfile.mkdtemp(prefix="db", dir=scratch)), template, certificate))
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_everything_goes_over_tls(new_daemon, make_database, authority, template, scratch):
    database = make_database(authority.issue("db"))
    database.sql("ALTER USER purlin@'127.0.0.1' REQUIRE SSL")
    server = new_daemon(dev=False, with_state=False, start=False, configuration=database.section(tls_ca=authority.certificate))
    server.state.mkdir()
    shutil.copy(template / "admin.token", server.state)
    server.start()

    def work():
        client = server.client()
        for _ in range(20):
            name = unique("m")
            assert client.post("/api/v1/models", {"name": name}).status == 201
            assert client.get(f"/api/v1/models/{name}").json["name"] == name
        client.close()

    Threads(*[work] * 4).join()
    threads = database.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'purlin'")
    assert int(threads[0][0]) >= 2
    server.stop()
    # Neither a stranger's authority, nor none of ours where the server wants one.
    stranger = Authority(scratch / "db-stranger").certificate
    refuses(new_daemon(dev=False, start=False, configuration=database.section(tls_ca=stranger)), "cannot connect to MariaDB", f"certificate (ssl_cert, ssl_key) for '127.0.0.1'",
            also_check=False)
    database.sql("ALTER USER purlin@'127.0.0.1' REQUIRE X509")
    refuses(new_daemon(dev=False, start=False, configuration=database.section(tls_ca=authority.certificate)), "Access denied", also_check=False)


def test_a_certificate_of_another_name(new_daemon, make_database, authority):
    database = make_database(authority.issue("db-other", "/CN=elsewhere", "DNS:elsewhere.example"))
    refuses(new_daemon(dev=False, start=False, configuration=database.section(tls_ca=authority.certificate)), "cannot connect to MariaDB", "for '127.0.0.1'", also_check=False)


def test_a_server_without_tls(new_daemon, make_database, authority):
    database = make_database()
    refuses(new_daemon(dev=False, start=False, configuration=database.section(tls_ca=authority.certificate)), "cannot connect to MariaDB", "the server needs a certificate",
            also_check=False)


@pytest.mark.parametrize("settings, said", [('tls_ca = "/no/such.pem"', "cannot be read"), ('tls_ca = "/dev/null", socket = "/x"', "a Unix socket"),
                                            ('tls_ca = "/dev/null", tls_key = "/dev/null"', "both"), ('tls_certificate = "/dev/null", tls_key = "/dev/null"', "tls_ca")])
def test_settings_that_do_not_fit(new_daemon, settings, said):
    refuses(new_daemon(dev=False, start=False, configuration=f"database {{ {settings} }}\n"), "purlin.lua:1: database: ", said)
