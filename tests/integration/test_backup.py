"""purlin backup while the server serves, purlin restore onto an empty place: nothing acknowledged is missing, each byte is the same, and
whoever is killed, lied to or out of space leaves nothing half-made that counts."""
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

import daemon as daemons
from daemon import BUILD, PLUGINS, Threads, unique, wait_until

PURLIN = BUILD / "bin" / "purlin"
FULL = os.environ.get("PURLIN_FULL") == "yes"

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("age", "age-keygen", "mariadb-dump", "mariadb-binlog"))), reason="age or MariaDB's clients are not installed")


class MariaDB:
    """A server of our own that writes binary logs, on the data of a daemon that ran once."""

    def __init__(self, data):
        self.data, self.socket = data, data / "mariadb.sock"
        self.process = subprocess.Popen(
            ["mariadbd", "--no-defaults", f"--datadir={data}", f"--tmpdir={data}", f"--socket={self.socket}", f"--pid-file={data}/mariadb.pid",
             f"--log-error={data}/error.log", "--skip-networking", "--skip-name-resolve", "--performance-schema=OFF", "--innodb-buffer-pool-size=128M",
             "--innodb-log-file-size=64M", "--innodb-flush-log-at-trx-commit=2", "--innodb-file-per-table=OFF", "--innodb-doublewrite=OFF",
             "--max-allowed-packet=64M", "--character-set-server=utf8mb4",
             "--server-id=7", f"--log-bin={data}/bin"] + (["--user=root"] if os.geteuid() == 0 else []))
        wait_until(self.answers, 40, "MariaDB does not answer")

    def answers(self):
        return self.run("SELECT 1", check=False).returncode == 0

    def run(self, statement, database="mysql", check=True):
        done = subprocess.run(["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-NB", database, "-e", statement], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done

    def rows(self, statement, database="purlin"):
        return [line.split("\t") for line in self.run(statement, database).stdout.splitlines()]

    def end(self):
        self.process.kill()
        self.process.wait()


class Place:
    """An installation: its purlin.lua, state and database."""

    def __init__(self, folder, mariadb, database):
        self.folder, self.mariadb, self.database = folder, mariadb, database
        self.state = folder / "state"
        self.lua = f"""
            server {{ address = "127.0.0.1", port = 0, state = "{self.state}", monitors = {{ "127.0.0.0/8" }} }}
            database {{ socket = "{mariadb.socket}", user = "root", password = "", name = "{database}" }}
            lua {{ policies = "{folder}/policies", library = "{folder}/library" }}
            plugins {{ folders = {{ "{PLUGINS}" }} }}
            plugin "storage-fs" {{ grace_s = 1, collect_every_s = 1 }}
        """
        folder.mkdir(exist_ok=True)
        for name in ("policies", "library"):
            (folder / name).mkdir(exist_ok=True)
        self.config = folder / "installed.lua"
        self.config.write_text(self.lua)

    def daemon(self):
        return daemons.Daemon(self.folder, configuration=self.lua, dev=False)

    def empty(self):
        """As before anything was restored."""
        self.mariadb.run(f"DROP DATABASE IF EXISTS {self.database}")
        shutil.rmtree(self.state, ignore_errors=True)

    def files(self):
        """What its database says is stored, by the columns that name blobs."""
        named = set()
        for table, column in self.mariadb.rows("SELECT table_name, column_name FROM storage_fs_holders", self.database):
            named |= {(row[0], row[1]) for row in self.mariadb.rows(f"SELECT DISTINCT workspace, {column} FROM {table} WHERE {column} IS NOT NULL AND {column} <> ''", self.database)}
        return named

    def path(self, workspace, sha256):
        root = self.state / "blobs" if workspace == "default" else self.state / "blobs" / "workspaces" / workspace
        return root / sha256[:2] / sha256[2:]

    def check_files(self):
        """Nothing refers to what is missing, and all of it is what its name says."""
        for workspace, sha256 in self.files():
            assert hashlib.sha256(self.path(workspace, sha256).read_bytes()).hexdigest() == sha256


def purlin(*words, code=0):
    done = subprocess.run([str(PURLIN), *map(str, words)], capture_output=True, text=True, timeout=120)
    assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def machine(scratch, template):
    """A server that serves, on a MariaDB with binary logs."""
    folder = scratch / "backup"
    folder.mkdir()
    data = folder / "mariadb"
    shutil.copytree(template / "mariadb", data, ignore=shutil.ignore_patterns("*.sock", "*.pid"))
    mariadb = MariaDB(data)
    source = Place(folder / "source", mariadb, "purlin")
    source.state.mkdir()
    for name in ("secrets.key", "audit.key", "admin.token"):
        shutil.copy2(template / name, source.state / name)
    one = source.daemon().start()
    one.place = source
    one.maria = mariadb
    try:
        yield one
    finally:
        one.end()
        mariadb.end()


@pytest.fixture
def target(machine):
    place = Place(machine.place.folder.parent / unique("t"), machine.maria, "restored")
    yield place
    place.empty()


@pytest.fixture(scope="module")
def key(scratch):
    path = scratch / "age.key"
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    return path, re.search(r"age1\w+", path.read_text()).group()


@pytest.fixture
def repository(scratch):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bk", dir=scratch))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def backup(place, to, *more, code=0):
    return purlin("backup", "--config", place.config, "--to", to, *more, code=code)


def restore(place, source, *more, code=0):
    return purlin("restore", source, "--config", place.config, *more, code=code)


def names_of(repository):
    """What counts as a backup, by its name alone; there may be no folder yet."""
    return sorted(path.name for path in (repository / "backups").glob("*Z"))


def names(repository):
    return [one["name"] for one in json.loads(purlin("backup", "list", repository, "--json"))["backups"]]


class Writer:
    """Logs runs with metrics and files, and registers versions of a model; notes each as soon as it is acknowledged."""

    def __init__(self, machine, number):
        self.client, self.number, self.done, self.stop = machine.client(), number, [], threading.Event()
        self.gone = set()  # runs that were deleted for good, with all that they had
        self.experiment, self.model = unique(f"w{number}"), unique(f"m{number}")
        assert self.client.post("/api/v1/experiments", {"name": self.experiment}).status == 201
        assert self.client.op("registry.create_model", {"name": self.model}).status in (200, 201)

    def __call__(self):
        while not self.stop.is_set():
            self.write()
            if random.random() < 0.3:
                self.forget()

    def note(self, *what):
        """When it was answered, when it was asked, what it was."""
        self.done.append((time.time(), self.asked, *what))

    def forget(self):
        """Its bytes go a second later, if nothing holds them."""
        run = next(what[3] for what in self.done if what[2] == "run" and what[3] not in self.gone)
        self.gone.add(run)
        assert self.client.op("tracking.delete_run", {"run_id": run}).status == 200
        assert self.client.op("tracking.purge", {"run_ids": [run]}).status == 200

    def write(self):
        self.asked = time.time()
        answer = self.client.post(f"/api/v1/experiments/{self.experiment}/runs", {})
        assert answer.status == 201, answer
        run = answer.json["id"]
        self.note("run", run)
        self.asked = time.time()
        body = random.randbytes(random.choice((0, 10, 5000, 200_000)))
        answer = self.client.put(f"/api/v1/artifacts/run/{run}/of/{self.number}.bin", body)
        assert answer.status == 200, answer
        self.note("file", run, answer.json["sha256"])
        self.asked = time.time()
        answer = self.client.op("registry.register_version", {"name": self.model, "source": f"s3://bucket/{run}"})
        assert answer.status in (200, 201), answer
        self.note("version", self.model, answer.json["version"])


def check(client, what):
    """One acknowledged thing is there."""
    kind, *it = what
    if kind == "run":
        assert client.op("tracking.get_run", {"run_id": it[0]}).status == 200, what
    elif kind == "file":
        answer = client.get(f"/api/v1/artifacts/run/{it[0]}?path=of")
        assert answer.status == 200 and answer.json["entries"], what
        answer = client.get(f"/api/v1/artifacts/run/{it[0]}/of/{answer.json['entries'][0]['name']}")
        assert answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == it[1], what
    else:
        answer = client.op("registry.get_version", {"name": it[0], "version": str(it[1])})
        assert answer.status == 200, (what, answer)


def test_what_was_acknowledged_comes_back(machine, target, repository):
    writers = [Writer(machine, number) for number in range(4)]
    threads = Threads(*writers)
    wait_until(lambda: sum(len(writer.done) for writer in writers) > 60 and any(writer.gone for writer in writers), 60, "nothing is written")
    began = time.time()
    backup(machine.place, repository, "--with-secrets")
    written = sum(len(writer.done) for writer in writers)
    wait_until(lambda: sum(len(writer.done) for writer in writers) > written + 10, 60, "nothing is written")
    for writer in writers:
        writer.stop.set()
    threads.join()
    before = [one[2:] for writer in writers for one in writer.done if one[0] < began and one[3] not in writer.gone]
    after = [one for writer in writers for one in writer.done if one[0] > began]
    assert before and after
    assert "whole" in purlin("backup", "verify", repository)

    told = restore(target, repository)
    assert "the same" in told, told
    target.check_files()
    restored = target.daemon().start()
    try:
        client = restored.client()
        for what in before:
            check(client, what)
    finally:
        restored.end()
    assert {path.name: path.stat().st_mode & 0o777 for path in target.state.iterdir() if path.name in ("secrets.key", "admin.token", "blobs")} == \
        {"secrets.key": 0o600, "admin.token": 0o600, "blobs": 0o700}

    # what is new alone is copied
    files = sum(1 for path in (repository / "files").rglob("*") if path.is_file())
    told = backup(machine.place, repository)
    new = int(re.search(r"of which (\d+) are new", told).group(1))
    assert new < len(after) + 4 and files > 5, told


def test_encrypted(machine, target, repository, key):
    path, recipient = key
    writer = Writer(machine, 9)
    for _ in range(3):
        writer.write()
    backup(machine.place, repository, "--encrypt-to", recipient)
    # nothing lies there in the clear
    for stored in [*(repository / "files").rglob("*.age"), *(repository / "backups").rglob("*.age")]:
        assert stored.read_bytes().startswith(b"age-encryption.org/v1"), stored
    assert not [one for one in (repository / "files").rglob("*") if one.is_file() and one.suffix != ".age"]
    assert (machine.place.state / "secrets.key").read_bytes() not in b"".join(one.read_bytes() for one in repository.rglob("*") if one.is_file())
    assert "whole" in purlin("backup", "verify", repository, "--identity", path)

    assert "encrypted to age1" in restore(target, repository, code=1)
    wrong = path.with_name("wrong.key")
    subprocess.run(["age-keygen", "-o", str(wrong)], check=True, capture_output=True)
    told = restore(target, repository, "--identity", wrong, code=1)
    assert "age failed" in told and recipient in told, told
    assert not (target.state / "restoring").exists() and not machine.maria.rows("SHOW DATABASES LIKE 'restored'")
    wrong.unlink()

    if os.geteuid() == 0:  # the service's user is who has the state directory
        target.state.mkdir(mode=0o750)
        shutil.chown(target.state, "nobody")
    restore(target, repository, "--identity", path, "--configuration-to", target.folder / "was")
    if os.geteuid() == 0:
        assert {(one.owner(), oct(one.stat().st_mode & 0o077)) for one in target.state.rglob("*")} == {("nobody", "0o0")}
    assert (target.state / "secrets.key").read_bytes() == (machine.place.state / "secrets.key").read_bytes()
    assert (target.folder / "was" / "installed.lua").read_text() == machine.place.lua
    target.check_files()
    told = backup(machine.place, repository, "--encrypt-to", "not a recipient", code=1)
    assert "age ended with 1" in told and "not a recipient" in told, told


def test_refused(machine, target, repository):
    """Data that are there, a server that runs, a folder of something else, a backup that has changed: each is said, and nothing is touched."""
    backup(machine.place, repository, "--with-secrets")
    told = restore(machine.place, repository, code=1)
    assert "another purlind uses the state directory" in told and "systemctl stop purlin" in told
    machine.maria.run("CREATE DATABASE restored; CREATE TABLE restored.mine (id INT PRIMARY KEY)")
    told = restore(target, repository, code=1)
    assert "restored has 1 tables" in told and "--force" in told, told
    assert machine.maria.rows("SHOW TABLES", "restored") == [["mine"]]
    target.state.mkdir(exist_ok=True)
    (target.state / "audit.heads").write_text("of another log")
    restore(target, repository, "--force")
    assert [one.read_text() for one in target.state.glob("audit.heads*")] == ["of another log"] and not (target.state / "audit.heads").exists()
    assert ["mine"] not in machine.maria.rows("SHOW TABLES", "restored")

    elsewhere = target.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "letter").write_text("of mine")
    assert "something else than backups" in backup(machine.place, elsewhere, code=1)
    assert "no folder of backups" in restore(target, elsewhere, code=1)
    assert [path.name for path in elsewhere.iterdir()] == ["letter"]
    assert "is needed" in purlin("backup", "--config", machine.place.config, code=2)


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x20
    path.write_bytes(data)


def test_damage_is_found_and_named(machine, target, repository):
    Writer(machine, 7).write()
    backup(machine.place, repository, "--with-secrets")
    name, = names(repository)
    inside = repository / "backups" / name
    a_file = max((one for one in (repository / "files").rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    for path in (inside / "manifest.json", inside / "files.list", inside / "database.sql.gz", a_file):
        kept = path.read_bytes()
        damage(path)
        for told in (purlin("backup", "verify", repository, code=1), restore(target, repository, code=1)):
            assert str(path) in told and "have changed" in told, told
        path.unlink()
        told = purlin("backup", "verify", repository, code=1)
        assert str(path) in told and "No such file" in told, told
        path.write_bytes(kept)
    assert not target.state.exists()
    assert "whole" in purlin("backup", "verify", repository)


def test_old_ones_go(machine, repository):
    writer = Writer(machine, 5)
    for _ in range(3):
        writer.write()
        backup(machine.place, repository, "--with-secrets", "--keep", 2)
    kept = names(repository)
    assert len(kept) == 2
    assert sorted(path.name for path in (repository / "backups").iterdir()) == kept
    assert "whole" in purlin("backup", "verify", repository)


def killed_at(command, seconds):
    """False: it ended before."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def test_killed_and_run_again(machine, target, repository):
    """Whenever backup and restore are killed: what counts is whole, and the same command comes to the end."""
    writer = Writer(machine, 3)
    for _ in range(8):
        writer.write()
    command = [PURLIN, "backup", "--config", machine.place.config, "--to", repository, "--with-secrets"]
    took = -time.monotonic()
    backup(machine.place, repository / "first", "--with-secrets")
    took += time.monotonic()
    shutil.rmtree(repository / "first")
    killed = sum(killed_at(command, random.uniform(0.05, 0.8) * took) for _ in range(20 if FULL else 3))
    if names_of(repository):
        purlin("backup", "verify", repository)
    backup(machine.place, repository, "--with-secrets")
    assert "whole" in purlin("backup", "verify", repository)
    assert killed > 0 and not (repository / "backups" / "unfinished").exists()

    took = -time.monotonic()
    restore(target, repository)
    took += time.monotonic()
    target.empty()
    killed = 0
    for _ in range(20 if FULL else 3):
        if not killed_at([PURLIN, "restore", repository, "--config", target.config], random.uniform(0.3, 0.9) * took):
            target.empty()
            continue
        killed += 1
        if (target.state / "restoring").exists():
            refused = target.daemon().launch()  # a server does not start on what is half there
            try:
                assert refused.process.wait(30) == 1 and "did not come to its end" in refused.log_text()
            finally:
                refused.end()
    if not (target.state / "restoring").exists():
        target.empty()  # it was killed before it had begun
    restore(target, repository)
    assert killed > 0
    target.check_files()


def test_full_disk(machine, target, repository, full_disk):
    client = machine.client()
    experiment = unique("full")
    assert client.post("/api/v1/experiments", {"name": experiment}).status == 201
    run = client.post(f"/api/v1/experiments/{experiment}/runs", {}).json["id"]
    assert client.put(f"/api/v1/artifacts/run/{run}/large.bin", random.randbytes(6_000_000)).status == 200
    told = backup(machine.place, full_disk / "to", code=1)
    assert "No space left" in told, told
    assert names(full_disk / "to") == []
    shutil.rmtree(full_disk / "to")  # the next run would go on with what was stored, of which the disk is full
    backup(machine.place, repository)
    small = Place(full_disk / "installed", machine.maria, "restored")
    told = restore(small, repository, code=1)
    assert "has room for" in told and not (small.state / "restoring").exists(), told


def test_what_is_held_is_not_collected(machine):
    """Between a backup's snapshot and its copies nothing goes that it may need."""
    client = machine.client()
    data = random.randbytes(1000)
    sha256 = hashlib.sha256(data).hexdigest()
    experiment = unique("held")
    client.post("/api/v1/experiments", {"name": experiment})
    run = client.post(f"/api/v1/experiments/{experiment}/runs", {}).json["id"]
    assert client.put(f"/api/v1/artifacts/run/{run}/x", data).status == 200
    machine.maria.run("DELETE FROM purlin_leases WHERE name LIKE 'backup:%'", "purlin")  # of those that were killed
    machine.maria.run("INSERT INTO purlin_leases VALUES ('backup:test', 'test', UTC_TIMESTAMP(6) + INTERVAL 60 SECOND)", "purlin")
    machine.maria.run(f"DELETE FROM artifacts_files WHERE sha256 = '{sha256}'; UPDATE storage_fs_blobs SET wanted_at = '2020-01-01' WHERE sha256 = '{sha256}'", "purlin")
    assert client.op("storage-fs.collect", {}).json["count"] == 0
    time.sleep(2.5)  # the search that comes round by itself, too
    assert machine.place.path("default", sha256).exists()
    machine.maria.run("UPDATE purlin_leases SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE name = 'backup:test'", "purlin")
    wait_until(lambda: client.op("storage-fs.collect", {}).status == 200 and not machine.place.path("default", sha256).exists(), 10, "it stays")


def test_to_a_moment_between(machine, target, repository):
    """Writers write all the time: what was answered before a second is there, what was asked for from it on is not; over the gap
    between two backups, too."""
    writers = [Writer(machine, number) for number in range(2)]
    backup(machine.place, repository, "--with-secrets")
    threads, began = Threads(*writers), int(time.time())
    time.sleep(2)
    backup(machine.place, repository)
    time.sleep(2)
    for writer in writers:
        writer.stop.set()
    threads.join()
    ended = int(time.time())
    backup(machine.place, repository)
    moments = {began + 1, ended, *random.sample(range(began + 1, ended), 8 if FULL else 0)}
    for moment in sorted(moments):
        restore(target, repository, "--until", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)), "--force")
        runs = {row[0] for row in machine.maria.rows("SELECT id FROM tracking_runs", "restored")}
        files = dict(machine.maria.rows("SELECT owner, sha256 FROM artifacts_files", "restored"))
        for writer in writers:
            for answered, asked, kind, *it in writer.done:
                if it[0] in writer.gone:
                    continue
                there = it[0] in runs if kind == "run" else files.get(it[0]) == it[1] if kind == "file" else None
                assert there is not False or answered >= moment, (moment, answered, asked, kind, it)
                assert there is not True or asked < moment, (moment, answered, asked, kind, it)
        missing = [sha256 for workspace, sha256 in target.files() if not target.path(workspace, sha256).exists()]
        stored = {sha256 for workspace, sha256 in machine.place.files()}
        assert not stored & set(missing)  # only what was stored and gone again between two backups
    told = restore(target, repository, "--until", "2035-01-01 00:00:00", "--force", code=1)
    assert "reach from" in told, told
    assert "no backup" in restore(target, repository, "--until", "2020-01-01T00:00:00Z", "--force", code=1)
    assert "needs a time" in restore(target, repository, "--until", "yesterday", code=2)
