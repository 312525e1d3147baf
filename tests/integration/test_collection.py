"""Stored bytes that nothing names any more go, and no others: what holds them, what a killed daemon leaves half removed, two daemons on
one folder."""
import hashlib
import threading
import time

import pytest

from daemon import Threads, staged, unique, wait_until

CSV = {"Content-Type": "text/csv"}
SOON = 'plugin "storage-fs" { grace_s = 1, collect_every_s = 1 }\n'


def csv(rows, mark):
    return b"x,y\n" + b"".join(b"%d,%d\n" % (row, mark) for row in range(rows))


def upload(client, name, data):
    answer = client.post(f"/api/v1/datasets/{name}/versions", data, headers=CSV)
    assert answer.status == 201, answer
    return answer.json["sha256"]


def forget(server, name):
    """The dataset goes, as if it could be deleted."""
    server.sql("DELETE v FROM datasets_versions v JOIN datasets_sets s ON s.id = v.set_id WHERE s.name = '%s';"
               " DELETE FROM datasets_sets WHERE name = '%s'" % (name, name))


def rows(server):
    return {sha256: int(size) for sha256, size in server.sql("SELECT sha256, size FROM storage_fs_blobs")}


def files(server):
    """Blobs of the workspace 'default' that lie in the folder."""
    return {folder.name + path.name for folder in (server.state / "blobs").glob("??") for path in folder.iterdir()}


def used(client):
    return next(one for one in client.get("/api/v1/quotas").json["quotas"] if one["name"] == "storage")["used"]


def gone(server, sha256, seconds=15):
    wait_until(lambda: sha256 not in rows(server) and sha256 not in files(server), seconds, f"{sha256} stays: {server.log_text()[-2000:]}")


@pytest.fixture(scope="module")
def daemon(scratch, template):
    import daemon as made
    folder = scratch / "collection"
    folder.mkdir()
    made.copy_state(template, folder)
    one = made.Daemon(folder, configuration=SOON).start()
    try:
        yield one
        one.stop()
    finally:
        one.end()


@pytest.fixture
def client(daemon):
    made = daemon.client()
    assert made.put("/api/v1/workspaces/default/quotas/storage", {"limit": 100000000}).status == 200
    yield made
    made.close()


def test_what_nothing_names_goes_and_what_something_names_stays(daemon, client):
    before = used(client)
    stays, twice, goes = unique("d"), unique("d"), unique("d")
    kept = upload(client, stays, csv(1000, 1))
    shared = upload(client, twice, csv(1000, 2))
    assert upload(client, unique("d"), csv(1000, 2)) == shared
    lost = upload(client, goes, csv(1000, 3))
    size = len(csv(1000, 1))
    assert used(client) == before + 3 * size
    forget(daemon, goes)
    forget(daemon, twice)
    gone(daemon, lost)
    assert used(client) == before + 2 * size
    time.sleep(2)
    assert {kept, shared} <= files(daemon) and {kept, shared} <= set(rows(daemon))
    assert client.get(f"/api/v1/datasets/{stays}/versions/1/content").body == csv(1000, 1)
    assert upload(client, goes, csv(1000, 3)) == lost, "the same bytes come again"
    assert client.get(f"/api/v1/datasets/{goes}/versions/1/content").body == csv(1000, 3)
    metrics = client.get("/metrics").body.decode()
    assert "purlin_storage_fs_collected_blobs_total" in metrics
    assert any("removed 1 blobs" in record["message"] for record in daemon.records("info"))


def test_each_column_that_names_blobs_holds_them(daemon, client):
    """Whatever plugin it is of."""
    columns = daemon.sql("SELECT table_name, column_name FROM storage_fs_holders ORDER BY 1, 2")
    assert {"artifacts_files.sha256", "artifacts_parts.sha256", "datasets_versions.sha256", "registry_versions.sha256", "serving_deployments.sha256", "training_artifacts.sha256",
            "training_jobs.artifact_sha256", "training_jobs.dataset_sha256"} <= {".".join(one) for one in columns}
    held = {}
    for table, column in columns:
        name, key = unique("d"), unique("x")
        sha256 = upload(client, name, csv(500, time.monotonic_ns() % 10**9))
        needed = daemon.sql("SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'purlin' AND is_nullable = 'NO'"
                            f" AND column_default IS NULL AND extra = '' AND table_name = '{table}'")
        values = {one: "'1'" if kind != "datetime" else "NOW(6)" for one, kind in needed}
        values.update({one: f"'{key}'" for one in ("id", "job_id", "endpoint_id", "set_id", "model_id") if one in values}, workspace="'default'",
                      **{column: f"'{sha256}'"})
        daemon.sql(f"SET foreign_key_checks = 0; INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")
        forget(daemon, name)
        held[sha256] = (table, column)
    time.sleep(3)
    for sha256, (table, column) in held.items():
        assert sha256 in files(daemon) and sha256 in rows(daemon), f"{table}.{column} named it"
        daemon.sql(f"DELETE FROM {table} WHERE {column} = '{sha256}'")
    for sha256 in held:
        gone(daemon, sha256)


def test_a_table_that_cannot_be_read_stops_it(daemon, client):
    """A plugin that is switched off keeps its blobs by its table; one whose table is away might have named anything."""
    name = unique("d")
    sha256 = upload(client, name, csv(500, 7))
    daemon.sql("INSERT INTO storage_fs_holders (table_name, column_name) VALUES ('elsewhere_files', 'sha256')")
    try:
        forget(daemon, name)
        wait_until(lambda: any("elsewhere_files.sha256" in record["message"] for record in daemon.records("error")), 10, "nothing is logged")
        time.sleep(1.5)
        assert sha256 in files(daemon)
        daemon.sql("CREATE TABLE elsewhere_files (workspace VARCHAR(64), sha256 CHAR(64), KEY (workspace, sha256));"
                   f" INSERT INTO elsewhere_files VALUES ('default', '{sha256}')")
        time.sleep(2.5)
        assert sha256 in files(daemon), "the table of a plugin that is not there names it"
    finally:
        daemon.sql("CREATE TABLE IF NOT EXISTS elsewhere_files (a INT); DROP TABLE elsewhere_files;"
                   " DELETE FROM storage_fs_holders WHERE table_name = 'elsewhere_files'")
    gone(daemon, sha256)


def test_what_nothing_names_is_told_with_its_time(daemon, client):
    name = unique("d")
    daemon.sql("UPDATE storage_fs_sweeps SET began_at = NOW(6) + INTERVAL 1 HOUR")  # nobody searches
    try:
        sha256, size = upload(client, name, csv(500, 18)), len(csv(500, 18))
        before = client.get("/api/v1/storage/unused")
        assert before.status == 200, daemon.records("error")
        before = before.json
        assert sha256 not in str(before) and before["collected"] and before["next"] == ""
        forget(daemon, name)
        young = client.op("storage-fs.unused").json
        (one,) = [blob for blob in young["blobs"] if blob["sha256"] == sha256]
        assert (young["count"], young["bytes"]) == (before["count"] + 1, before["bytes"] + size) and one["size"] == size
        assert one["wanted_at"] < one["goes_at"]
        time.sleep(1.1)
        old = client.get("/api/v1/storage/unused").json
        assert [blob["due"] for blob in old["blobs"] if blob["sha256"] == sha256] == [True]
        assert old["due"] == old["count"] and old["due_bytes"] == old["bytes"] == before["bytes"] + size
        assert client.get(f"/api/v1/storage/unused?after={sha256}").json["count"] <= old["count"] - 1
        assert client.get("/api/v1/storage/unused?after=x").status == 400
        stranger = daemon.client(daemon.token_for("default", ["runs:read"]))
        assert stranger.get("/api/v1/storage/unused").status == 403
        stranger.close()
    finally:
        daemon.sql("UPDATE storage_fs_sweeps SET began_at = NOW(6)")


def test_asked_what_would_go(daemon, client):
    name = unique("d")
    daemon.sql("UPDATE storage_fs_sweeps SET began_at = NOW(6) + INTERVAL 1 HOUR")  # nobody else searches
    try:
        sha256 = upload(client, name, csv(500, 8))
        forget(daemon, name)
        assert sha256 not in str(client.op("storage-fs.collect", {"dry_run": True}).json), "it is too young"
        time.sleep(1.2)
        told = client.post("/api/v1/storage/collect", {"dry_run": True})
        assert told.status == 200 and {"sha256": sha256, "size": len(csv(500, 8))} in told.json["blobs"], told
        assert sha256 in files(daemon) and told.json["next"] == ""
        done = client.op("storage-fs.collect")
        assert done.status == 200 and done.json["count"] == told.json["count"] and done.json["bytes"] == told.json["bytes"]
        assert sha256 not in files(daemon) and sha256 not in rows(daemon)
        assert client.op("storage-fs.collect").json["count"] == 0
        viewer = daemon.client(daemon.token_for("default", ["*:read"]))
        assert viewer.op("storage-fs.collect", {"dry_run": True}).status == 403
        viewer.close()
    finally:
        daemon.sql("UPDATE storage_fs_sweeps SET began_at = NOW(6)")


@pytest.mark.parametrize("moved", [False, True])
def test_a_removal_that_died_halfway_is_finished(daemon, client, moved):
    """After its row was doomed, and after its file was moved away."""
    before, name = used(client), unique("d")
    sha256 = upload(client, name, csv(500, 9 + moved))
    forget(daemon, name)
    daemon.sql(f"UPDATE storage_fs_blobs SET doomed_at = NOW(6) - INTERVAL 20 SECOND, doomed_by = 'gone_killed' WHERE sha256 = '{sha256}'")
    if moved:
        (daemon.state / "blobs" / sha256[:2] / sha256[2:]).unlink(missing_ok=True)
    gone(daemon, sha256)
    assert used(client) == before


def test_who_writes_what_is_being_removed_waits_for_it(daemon, client):
    """The removal has died just now: nobody may take it over yet. The same bytes wait, and then are there."""
    name, again = unique("d"), unique("d")
    sha256 = upload(client, name, csv(500, 11))
    before = used(client)
    forget(daemon, name)
    daemon.sql(f"UPDATE storage_fs_blobs SET doomed_at = NOW(6), doomed_by = 'gone_killed' WHERE sha256 = '{sha256}'")
    other = daemon.client()
    refused = other.op("datasets.add_version", {"name": unique("d"), "sha256": sha256})
    assert refused.status == 503 and int(refused.headers["Retry-After"]) >= 1, refused
    other.close()
    daemon.sql(f"UPDATE storage_fs_blobs SET doomed_at = NOW(6) - INTERVAL 11 SECOND WHERE sha256 = '{sha256}'")
    began = time.monotonic()
    assert upload(client, again, csv(500, 11)) == sha256
    assert time.monotonic() - began > 1, "it did not wait"
    assert client.get(f"/api/v1/datasets/{again}/versions/1/content").body == csv(500, 11)
    time.sleep(2)
    assert sha256 in files(daemon) and used(client) == before


def test_two_daemons_on_one_folder(new_daemon):
    """The one that starts leaves alone what the other is writing; what a killed one left is removed by the other. Both search at once,
    both write the same bytes while they are removed."""
    first = new_daemon(configuration=SOON)
    second = new_daemon(with_state=False, dev=False, start=False, configuration=
                        f'database {{ socket = "{first.state}/mariadb/mariadb.sock", user = "root", name = "purlin" }}\n'
                        f'plugin "storage-fs" {{ root = "{first.state}/blobs", grace_s = 1, collect_every_s = 1 }}\n')
    second.state.mkdir(exist_ok=True)
    blobs = first.state / "blobs"

    def begin(server):
        connection = server.socket()
        connection.sendall(b"POST /api/v1/datasets/slow/versions HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 2000000\r\n"
                           b"Authorization: Bearer " + first.token.encode() + b"\r\n\r\nx,y\n" + b"1,2\n" * 300000)
        return connection

    with begin(first) as slow:
        wait_until(lambda: staged(blobs), 10, "nothing is staged")
        (written,) = staged(blobs)
        (second.state / "admin.token").write_text(first.token)
        second.start()
        second.token = first.token
        time.sleep(1.5)
        assert written.exists(), "the second daemon removed what the first is writing"
        slow.sendall(b"1,2\n" * ((2000000 - 4 - 1200000) // 4))
        assert slow.recv(12) == b"HTTP/1.1 201"
    with begin(second):
        wait_until(lambda: staged(blobs), 10, "nothing is staged")
        second.kill()
        wait_until(lambda: not staged(blobs), 10, "what the killed daemon left stays")
    second.start()
    second.token = first.token
    names, lock, answers = [], threading.Lock(), []

    def work(server, number):
        mine = server.client()
        for round in range(5):
            name = unique("d")
            answer = mine.post(f"/api/v1/datasets/{name}/versions", csv(200, 20 + number % 2), headers=CSV)
            assert answer.status == 201, answer
            assert mine.get(f"/api/v1/datasets/{name}/versions/1/content").body == csv(200, 20 + number % 2)
            with lock:
                forget(first, name)
                time.sleep(0.3)
        mine.close()

    Threads(*[lambda server=server, number=number: work(server, number) for server in (first, second) for number in range(2)]).join(60)
    slow = hashlib.sha256(b"x,y\n" + b"1,2\n" * 499999).hexdigest()
    wait_until(lambda: set(rows(first)) == files(first) == {slow}, 15, "something stays")
    client = first.client()
    assert used(client) == 2000000
    client.close()
    second.stop()
    first.stop()
    assert [path.name for path in (first.state / "blobs" / "daemons").iterdir()] == [".nobackup"], "both have ended"
