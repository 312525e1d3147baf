"""`purlin doctor` on an installation of its own: each thing that can be wrong is named with what mends it, and is well again after that."""
import datetime
import http.server
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

import pytest

from daemon import BUILD, PLUGINS, wait_until
from installation import PURLIN, PURLIND, SERVICE, Installation, MariaDB, make_root
from test_tls import Authority

ALWAYS = ("clock", "units")  # as this machine is: neither systemd nor NTP may be here


@pytest.fixture(scope="module")
def root():
    folder = make_root()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def database(root):
    folder = root / "db"
    folder.mkdir()
    made = MariaDB(folder, "--log-bin", "--sync-binlog=1", "--max-allowed-packet=64M", "--max-connections=50")
    yield made
    made.end()


@pytest.fixture(scope="module")
def installed(root, database):
    folder = root / "i"
    folder.mkdir(mode=0o755)
    # One plugin is enough for what is tested here, and each costs time in each test.
    plugins = root / "few"
    plugins.mkdir()
    shutil.copy(PLUGINS / "storage-fs.so", plugins)
    made = Installation(folder, database, plugins)
    assert made.run("setup")[0] == 0
    made.start()
    yield made
    made.end()


@pytest.fixture
def here(installed):
    """As it was when all was well."""
    before = installed.config.read_text()
    yield installed
    installed.config.write_text(before)


def examine(here, **more):
    """Exit code, and what was found, without what depends on the machine that the tests run on."""
    code, document = here.json("doctor", **more)
    found = [one for one in document["checks"] if one["name"] not in ALWAYS]
    assert document["problems"] == len([one for one in document["checks"] if one["outcome"] == "problem"])
    assert document["ok"] == (document["problems"] == 0) == (code == 0), document
    return code, found


def of(found, check, outcome=None):
    return [one for one in found if one["name"] == check and outcome in (None, one["outcome"])]


def the(found, check, outcome, words):
    """The one finding of this kind."""
    fitting = [one for one in of(found, check, outcome) if words in one["detail"]]
    assert len(fitting) == 1, found
    return fitting[0]


def is_well(here):
    code, found = examine(here)
    assert code == 0 and {one["outcome"] for one in found} == {"ok"}, found


def shell(command):
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done


def test_all_is_well(here):
    code, found = examine(here)
    assert code == 0 and {one["outcome"] for one in found} == {"ok"}, found
    assert [one["name"] for one in found if one["name"] != "upgrade"] == [
        "configuration", "plugins", "permissions", "disk", "disk", "database", "database", "server"]
    assert "is ready" in of(found, "server")[0]["detail"] and "migrations of this release are applied" in of(found, "database")[1]["detail"]


def test_for_people(here):
    code, said, complaints = here.run("doctor")
    assert code == 0 and complaints == "" and "\033" not in said
    assert f"  ok      configuration: {here.config}: valid" in said
    code, said, _ = here.run("doctor", "--help", config=False)
    assert code == 0 and said.startswith("Usage: purlin doctor")
    assert here.run("doctor", "--nonsense", config=False)[0] == 2


# ---- Configuration, plugins ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content, place", [("server { prot = 1 }\n", "purlin.lua:1: "), ("server {", "purlin.lua"), ("error('x')", "purlin.lua:1")])
def test_a_broken_configuration(here, content, place):
    here.config.write_text(content)
    code, found = examine(here)
    problem = the(found, "configuration", "problem", place)
    assert code == 1 and f"purlind --check --config {here.config}" in problem["remedy"]
    assert [one["outcome"] for one in of(found, "database")] == ["skipped"] and "can be read" in of(found, "database")[0]["detail"]


def test_a_configuration_that_the_service_cannot_read(here):
    here.config.chmod(0o600)
    try:
        code, found = examine(here)
        assert code == 1 and the(found, "configuration", "problem", str(here.config))
        # Nor can an ordinary user, who is told whom to ask.
        code, found = examine(here, user="daemon")
        assert code == 0 and the(found, "configuration", "skipped", str(here.config))["remedy"] == "sudo purlin doctor"
    finally:
        here.config.chmod(0o644)


def test_a_configuration_that_is_not_there(here):
    code, said, _ = here.run("doctor", "--config", "/nowhere/purlin.lua", config=False)
    assert code == 1 and "/nowhere/purlin.lua" in said


def test_warnings_of_the_configuration(here):
    here.configure(f'socket = "{here.database.socket}", user = "{SERVICE}", connections = 4, password = "open"')
    _, found = examine(here)
    assert the(found, "configuration", "warning", "password")


def test_a_plugin_that_is_none(here, root):
    folder = root / "plugins"
    folder.mkdir()
    (folder / "broken.so").write_text("this is no library")
    shutil.copy(PLUGINS / "storage-fs.so", folder)
    here.config.write_text(here.config.read_text().replace(str(here.plugins), str(folder)))
    code, found = examine(here)
    problem = the(found, "plugins", "problem", "broken.so")
    assert code == 1 and 'disabled = { "broken" }' in problem["remedy"]
    here.config.write_text(here.config.read_text().replace("plugins { ", 'plugins { disabled = { "broken" }, '))
    code, found = examine(here)
    assert the(found, "plugins", "ok", "1 fit this release")


def test_a_folder_of_plugins_that_is_not_there(here):
    here.config.write_text(here.config.read_text().replace(str(here.plugins), "/nowhere/plugins"))
    code, found = examine(here)
    assert code == 1 and the(found, "plugins", "problem", "/nowhere/plugins")


# ---- Permissions -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, mode", [("admin.token", 0o640), ("admin.token", 0o604), ("secrets.key", 0o644), ("secrets.key", 0o660)])
def test_a_secret_that_others_see(here, name, mode):
    path = here.state / name
    path.chmod(mode)
    code, found = examine(here)
    problem = the(found, "permissions", "problem", f"{mode:04o}")
    assert code == 1 and str(path) in problem["detail"] and problem["remedy"].startswith("chmod ")
    shell(problem["remedy"])
    is_well(here)


@pytest.mark.parametrize("what", ["policies", "a policy", "configuration"])
def test_code_that_others_may_change(here, what):
    policy = here.policies / "p.lua"
    path = {"policies": here.policies, "a policy": policy, "configuration": here.config}[what]
    policy.write_text("-- nothing\n")
    before = path.stat().st_mode
    path.chmod(before | 0o002)
    try:
        code, found = examine(here)
        problem = the(found, "permissions", "problem", "anybody on this machine")
        assert code == 1 and str(path) in problem["detail"]
        shell(problem["remedy"])
        is_well(here)
    finally:
        path.chmod(before)
        policy.unlink()


def test_what_root_has_left_in_the_state(here):
    (here.state / "made-by-root" / "deep").mkdir(parents=True)
    try:
        code, found = examine(here)
        problem = the(found, "permissions", "problem", "made-by-root")
        assert code == 1 and "2 files" in problem["detail"]
        shell(problem["remedy"])
        is_well(here)
    finally:
        shutil.rmtree(here.state / "made-by-root")


def test_a_state_that_the_service_cannot_write(here):
    here.state.chmod(0o550)
    try:
        code, found = examine(here)
        problem = the(found, "permissions", "problem", "may not write")
        assert code == 1 and f"chmod 0750 {here.state}" in problem["remedy"]
    finally:
        here.state.chmod(0o750)


def test_a_state_that_others_see(here):
    here.state.chmod(0o755)
    try:
        code, found = examine(here)
        assert code == 0 and the(found, "permissions", "warning", "0755")
    finally:
        here.state.chmod(0o750)


def test_as_an_ordinary_user(here):
    code, found = examine(here, user="daemon")
    assert code == 0, found
    assert the(found, "permissions", "skipped", "cannot be seen by you")["remedy"] == "sudo purlin doctor"
    assert the(found, "database", "skipped", "Access denied")["remedy"] == "sudo purlin doctor"
    assert the(found, "server", "ok", "is ready")


def test_as_the_service(here):
    code, found = examine(here, user=SERVICE)
    assert code == 0 and {one["outcome"] for one in found} == {"ok"}, found


# ---- Disks -----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(root):
    made = []

    def mount(options):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="small", dir=root))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount here: {done.stderr}")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def with_state(here, folder):
    shutil.chown(folder, SERVICE)
    folder.chmod(0o750)
    here.config.write_text(here.config.read_text().replace(f'state = "{here.state}"', f'state = "{folder}"'))


def test_a_full_disk(here, small):
    folder = small("size=200m")
    with_state(here, folder)
    _, found = examine(here)
    assert the(found, "disk", "warning", str(folder))  # 200 MiB are not much
    with open(folder / "ballast", "wb") as ballast:
        ballast.write(b"x" * (150 << 20))
    shutil.chown(folder / "ballast", SERVICE)
    code, found = examine(here)
    problem = the(found, "disk", "problem", str(folder))
    assert code == 1 and "50.0 MiB free (25 %)" in problem["detail"] and f"du -xhd1 {folder}" in problem["remedy"]


def test_no_inodes(here, small):
    folder = small("size=100g,nr_inodes=1000")
    with_state(here, folder)
    for i in range(960):
        (folder / str(i)).touch()
        shutil.chown(folder / str(i), SERVICE)
    code, found = examine(here)
    assert the(found, "disk", "warning", "of the inodes are free")
    for i in range(960, 995):
        (folder / str(i)).touch()
        shutil.chown(folder / str(i), SERVICE)
    code, found = examine(here)
    assert code == 1 and the(found, "disk", "problem", "of the inodes are free")


def test_mounted_read_only(here, small):
    folder = small("size=90g")
    with_state(here, folder)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    code, found = examine(here)
    assert code == 1 and the(found, "disk", "problem", "read-only") and the(found, "permissions", "problem", "may not write")


# ---- Certificates ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(root):
    return Authority(root / "authority")


def day(offset):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=offset)).strftime("%Y%m%d%H%M%SZ")


@pytest.mark.parametrize("begins, ends, outcome, words", [(-5, 200.5, "ok", "ends in 200 days"), (-5, 9.5, "warning", "ends in 9 days"), (-5, -1, "problem", "")])
def test_when_a_certificate_ends(here, authority, begins, ends, outcome, words):
    certificate, key = authority.issue(f"ends{ends}", begins=day(begins), ends=day(ends))
    shutil.chown(key, SERVICE)
    here.configure(more=f'tls {{ certificate = "{certificate}", key = "{key}" }}')
    _, found = examine(here)
    one = the(found, "certificates", outcome, words)
    assert str(certificate) in one["detail"] and ("renew" in one.get("remedy", "") or outcome == "ok")


def test_a_key_of_another_certificate(here, authority):
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    shutil.chown(key, SERVICE)
    here.configure(more=f'tls {{ certificate = "{certificate}", key = "{key}" }}')
    code, found = examine(here)
    assert code == 1 and the(found, "certificates", "problem", "key")
    key.chmod(0o644)
    _, found = examine(here)
    assert the(found, "permissions", "problem", "0644")
    here.configure(more=f'tls {{ certificate = "/nowhere.pem", key = "{key}" }}')
    _, found = examine(here)
    assert the(found, "certificates", "problem", "/nowhere.pem")


# ---- The clock ---------------------------------------------------------------------------------------------------------------------------------


def test_before_this_release_was_made(here, root):
    folder = root / "future" / "bin"
    folder.mkdir(mode=0o755, parents=True)
    (root / "future" / "runtime").symlink_to(BUILD / "runtime")  # where a program of a build looks for its library
    shutil.copy(PURLIN, folder)
    (folder / "purlind").symlink_to(PURLIND)
    os.utime(folder / "purlin", (4e9, 4e9))
    done = subprocess.run([str(folder / "purlin"), "doctor", "--config", str(here.config)], capture_output=True, text=True)
    assert done.returncode == 1 and "before this release was made" in done.stdout and "timedatectl set-ntp true" in done.stdout


def test_the_databases_clock_differs(here):
    here.database.sql("SET GLOBAL init_connect = 'SET @@timestamp = UNIX_TIMESTAMP() - 30'")
    try:
        code, found = examine(here)
        assert code == 0 and the(found, "database", "warning", "its clock and ours differ by")
        here.database.sql("SET GLOBAL init_connect = 'SET @@timestamp = 1000000000'")
        code, found = examine(here)
        assert code == 1 and the(found, "database", "problem", "its clock and ours differ") and the(found, "database", "problem", "the clock has gone back")
    finally:
        here.database.sql("SET GLOBAL init_connect = ''")


# ---- The database --------------------------------------------------------------------------------------------------------------------------------


def test_a_wrong_socket(here):
    here.configure(f'socket = "/nowhere/s", user = "{SERVICE}"')
    code, found = examine(here)
    problem = the(found, "database", "problem", "/nowhere/s")
    assert code == 1 and problem["remedy"].startswith("systemctl start mariadb") and "purlin setup --check" in problem["remedy"]


def test_a_host_that_does_not_answer(here):
    here.configure('host = "127.0.0.2", port = 9, password = "x"')
    code, found = examine(here)
    assert code == 1 and "database { host, port }" in the(found, "database", "problem", "127.0.0.2:9")["remedy"]


def test_rights_that_were_taken(here):
    here.database.sql(f"REVOKE ALL PRIVILEGES ON purlin.* FROM {SERVICE}@localhost")
    code, found = examine(here)
    problem = the(found, "database", "problem", "Access denied")
    assert code == 1 and problem["remedy"] == "purlin setup"
    assert here.run("setup")[0] == 0
    is_well(here)


@pytest.mark.parametrize("variable, bad, good, outcome, words", [
    ("max_allowed_packet", 1048576, 67108864, "warning", "max_allowed_packet is 1048576"),
    ("innodb_flush_log_at_trx_commit", 2, 1, "warning", "innodb_flush_log_at_trx_commit is 2"),
    ("sync_binlog", 0, 1, "warning", "sync_binlog is 0"),
    ("read_only", 1, 0, "problem", "read_only is 1"),
    ("max_connections", 11, 50, "problem", "it allows 11 connections"),
    ("max_prepared_stmt_count", 20, 16382, "problem", "prepared statements"),
])
def test_settings_of_the_database(here, variable, bad, good, outcome, words):
    here.database.sql(f"SET GLOBAL {variable} = {bad}")
    try:
        code, found = examine(here)
        assert the(found, "database", outcome, words)["remedy"] and code == (1 if outcome == "problem" else 0)
    finally:
        here.database.sql(f"SET GLOBAL {variable} = {good}")
    is_well(here)


def test_tables_without_transactions(here):
    here.database.sql("CREATE TABLE purlin.careless (id INT) ENGINE=MyISAM")
    try:
        code, found = examine(here)
        assert code == 1 and the(found, "database", "problem", "1 tables are not of InnoDB")
    finally:
        here.database.sql("DROP TABLE purlin.careless")


@pytest.mark.parametrize("name, statement, state, outcome, words", [
    ("9999_later", 0, "applied", "warning", "a newer release has used it (purlin/9999_later"),
    ("9999_later", -1, "applied", "problem", "this one cannot work with it (purlin/9999_later)"),
    ("9999_later", 3, "started", "warning", "1 migrations were interrupted"),
])
def test_migrations_of_a_newer_release(here, name, statement, state, outcome, words):
    here.database.sql(f"INSERT INTO purlin.purlin_migrations (component, name, statement, checksum, state) VALUES ('purlin', '{name}', {statement}, '', '{state}')")
    try:
        code, found = examine(here)
        assert the(found, "database", outcome, words) and code == (1 if outcome == "problem" else 0)
    finally:
        here.database.sql(f"DELETE FROM purlin.purlin_migrations WHERE name = '{name}'")


def test_migrations_that_wait(here):
    rows = here.database.sql("SELECT COUNT(*) FROM purlin.purlin_migrations WHERE name = 'jobs_0002_turns'")
    assert int(rows[0][0]) > 0
    here.database.sql("CREATE TABLE purlin.kept AS SELECT * FROM purlin.purlin_migrations WHERE name = 'jobs_0002_turns';"
                      "DELETE FROM purlin.purlin_migrations WHERE name = 'jobs_0002_turns'")
    try:
        code, found = examine(here)
        assert code == 0 and the(found, "database", "warning", "1 migrations of this release are not applied yet")
    finally:
        here.database.sql("INSERT INTO purlin.purlin_migrations SELECT * FROM purlin.kept; DROP TABLE purlin.kept")


def test_a_plugin_that_was_taken_away_is_no_newer_release(here):
    here.database.sql("INSERT INTO purlin.purlin_migrations (component, name, statement, checksum, state) VALUES ('gone', '0001_x', 0, '', 'applied')")
    try:
        is_well(here)
    finally:
        here.database.sql("DELETE FROM purlin.purlin_migrations WHERE component = 'gone'")


# ---- The server ----------------------------------------------------------------------------------------------------------------------------------


def test_the_port_is_taken(here):
    """By a server that is not ours."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        here.config.write_text(here.config.read_text().replace(f"port = {here.port}", f"port = {other.server_port}"))
        code, found = examine(here)
        problem = the(found, "server", "problem", f"port {other.server_port} is taken by")
        assert code == 1 and f"(process {os.getpid()})" in problem["detail"] and "server { port = ... }" in problem["remedy"]
        other.shutdown()


IMPOSTOR = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, self.headers.get("authorization"), flush=True)
        body = b'{"status":"ok"}' if self.path == "/healthz" else b'{"status":"ready"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_who_only_answers_as_the_server_does_is_told_no_token(here):
    """Any user of the machine may listen on the port while the service does not."""
    with subprocess.Popen(["python3", "-c", IMPOSTOR], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, user="daemon") as impostor:
        port = int(impostor.stdout.readline())
        here.config.write_text(here.config.read_text().replace(f"port = {here.port}", f"port = {port}"))
        code, found = examine(here)
        impostor.terminate()
        asked = impostor.stdout.read()
    problem = the(found, "server", "problem", "of the user daemon")
    assert code == 1 and f"(process {impostor.pid})" in problem["detail"] and "server { port = ... }" in problem["remedy"]
    assert "/healthz" in asked and (here.state / "admin.token").read_text().strip() not in asked


def test_a_port_that_needs_a_privilege(here):
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81:
        pytest.skip("every port is open to everybody here")
    here.config.write_text(here.config.read_text().replace(f"port = {here.port}", "port = 81"))
    code, found = examine(here)
    assert code == 1 and "purlin.socket" in the(found, "server", "problem", "takes a privilege")["remedy"]


def test_an_address_of_another_machine(here):
    here.config.write_text(here.config.read_text().replace("loops = 1,", 'loops = 1, address = "192.0.2.1",'))
    code, found = examine(here)
    assert code == 1 and the(found, "server", "problem", "192.0.2.1") and len(of(found, "server")) == 1


def test_a_refused_script_is_a_warning(here):
    script = here.policies / "bad.lua"
    script.write_text("this is no Lua\n")
    try:
        wait_until(lambda: any("bad.lua" in one["detail"] for one in of(examine(here)[1], "server", "warning")), 15, "no warning of the script")
    finally:
        script.unlink()
    wait_until(lambda: of(examine(here)[1], "server", "ok"), 15, "the warning stays")


# What takes the shared ones away comes last.


def test_the_database_is_down(here):
    here.database.end()
    try:
        wait_until(lambda: of(examine(here)[1], "server", "problem"), 15, "the server has not noticed")
        code, found = examine(here)
        assert code == 1 and the(found, "database", "problem", str(here.database.socket))["remedy"].startswith("systemctl start mariadb")
        assert the(found, "server", "problem", "answers: not ready")
    finally:
        here.database.start()
    wait_until(lambda: of(examine(here)[1], "server", "ok"), 30, "the server does not come back")


def test_no_server(here):
    here.end()
    code, found = examine(here)
    assert code == 1 and "systemctl start purlin" in the(found, "server", "problem", "nothing listens on")["remedy"]


def test_a_new_release_waits_beside_the_configuration(here):
    beside = here.config.with_name("purlin.lua.dpkg-dist")
    beside.write_text("")
    _, found = examine(here)
    assert f"diff -u {here.config} {beside}" in the(found, "upgrade", "warning", "newer release's")["remedy"]
    beside.unlink()
