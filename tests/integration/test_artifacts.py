"""Files of runs: whole or not at all, in folders, and in no path that ever led out of one."""
import hashlib
import http.client
import json
import os
import random
import re
import socket
import threading
import time
import urllib.parse

import pytest

from daemon import Client, Threads, staged, unique, wait_until


def make_run(client, experiment=None):
    if experiment is None:
        experiment = unique("files")
        assert client.post("/api/v1/experiments", {"name": experiment}).status == 201
    answer = client.post(f"/api/v1/experiments/{experiment}/runs", {})
    assert answer.status == 201, answer
    return answer.json["id"]


@pytest.fixture
def run(client):
    return make_run(client)


def address(run, path):
    return f"/api/v1/artifacts/run/{run}/{urllib.parse.quote(path)}"


def put(client, run, path, body):
    answer = client.put(address(run, path), body)
    assert answer.status == 200, answer
    return answer.json


def listed(client, run, path="", limit=1000):
    entries, page = [], ""
    while True:
        query = urllib.parse.urlencode({"path": path, "limit": limit, "page": page})
        answer = client.get(f"/api/v1/artifacts/run/{run}?{query}")
        assert answer.status == 200, answer
        assert len(answer.json["entries"]) <= limit
        entries += [(e["name"], e.get("size")) for e in answer.json["entries"]]
        assert all(e["is_folder"] == ("size" not in e) for e in answer.json["entries"])
        page = answer.json["next_page"]
        if not page:
            return entries


def test_what_was_stored_comes_back(client, run):
    for size in (0, 1, 70000, 3 * 256 * 1024, 2_000_001):
        body = random.randbytes(size)
        stored = put(client, run, f"of/{size}.bin", body)
        assert stored["size"] == size and stored["sha256"] == hashlib.sha256(body).hexdigest()
        answer = client.get(address(run, f"of/{size}.bin"))
        assert answer.status == 200 and answer.body == body
        assert answer.headers["ETag"] == f'"{stored["sha256"]}"'
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        head = client.call("HEAD", address(run, f"of/{size}.bin"))
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))
    about = client.op("artifacts.get", {"kind": "run", "owner": run, "path": "of/1.bin"}).json
    assert about["size"] == 1 and about["created_by"] == "user:admin"


def test_chunked_bodies_of_unknown_length(client, run):
    pieces = [random.randbytes(size) for size in (1, 100_000, 65536, 5)]
    connection = client.connection
    connection.request("PUT", address(run, "c.bin"), iter(pieces), {"Authorization": f"Bearer {client.token}"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200 and json.loads(answer.read())["size"] == sum(map(len, pieces))
    assert client.get(address(run, "c.bin")).body == b"".join(pieces)


def test_ranges_and_what_the_client_has_already(client, run):
    body = random.randbytes(700_000)
    etag = f'"{put(client, run, "r.bin", body)["sha256"]}"'
    for asked, first, last in (("0-0", 0, 0), ("5-", 5, 699_999), ("-10", 699_990, 699_999), ("262143-262145", 262_143, 262_145)):
        answer = client.get(address(run, "r.bin"), headers={"Range": f"bytes={asked}"})
        assert answer.status == 206 and answer.body == body[first:last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/700000"
    assert client.get(address(run, "r.bin"), headers={"Range": "bytes=700000-"}).status == 416
    assert client.get(address(run, "r.bin"), headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status == 200
    for known in (etag, "*", f'"other", {etag}', f"W/{etag}"):
        answer = client.get(address(run, "r.bin"), headers={"If-None-Match": known})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert client.get(address(run, "r.bin"), headers={"If-None-Match": '"other"'}).status == 200


def test_a_second_upload_takes_the_place_of_the_first(server, client, run):
    first, again = put(client, run, "a", b"one"), put(client, run, "a", b"one")
    assert first == again  # once more, after an answer that was lost: nothing happened
    entries = client.get("/api/v1/audit/entries?limit=50&operation=artifacts.upload").json["entries"]
    assert len([e for e in entries if e.get("object") == run]) == 1
    put(client, run, "a", b"two")
    assert client.get(address(run, "a")).body == b"two"
    assert listed(client, run) == [("a", 3)]


def test_of_two_at_once_one_is_there_and_whole(server, client, run):
    bodies = [bytes([i]) * 300_000 for i in range(8)]

    def upload(body):
        own = server.client()
        put(own, run, "same", body)
        own.close()

    Threads(*[lambda b=b: upload(b) for b in bodies]).join()
    assert client.get(address(run, "same")).body in bodies


def test_a_file_is_no_folder(server, client, run):
    put(client, run, "a/b/c", b"1")
    for path in ("a", "a/b"):
        assert client.put(address(run, path), b"2").status == 409
    for path in ("a/b/c/d", "a/b/c/d/e"):
        assert client.put(address(run, path), b"2").status == 409
    put(client, run, "a/b-", b"3")
    put(client, run, "a/b0", b"4")
    assert listed(client, run, "a") == [("b-", 1), ("b", None), ("b0", 1)]


def test_of_a_file_and_a_folder_at_once_one_is_there(server, client, run):
    """Each round several want the name, as a file and as a folder."""
    own = [server.client() for _ in range(4)]
    for i in range(10):
        paths = [f"r{i}", f"r{i}/x", f"r{i}/x/y", f"r{i}/z"]
        Threads(*[lambda c=c, p=p: c.put(address(run, p), b"1") for c, p in zip(own, paths)]).join()
    for one in own:
        one.close()
    rows = {path for path, in server.sql(f"SELECT path FROM artifacts_files WHERE owner = '{run}'")}
    assert len(rows) >= 10
    assert not [path for path in rows for other in rows if other.startswith(path + "/")]


def test_folders_in_pages(server, client, run):
    paths = [f"d{i:02}/{j}" for i in range(30) for j in range(40)] + [f"f{i}" for i in range(25)] + ["d05-", "d050", "e/deep/er/x"]
    values = ", ".join(f"('default', 'run', '{run}', '{path}', 'default', 'x', REPEAT('0', 64), 7, NOW(6), 'x')" for path in paths)
    server.sql(f"INSERT INTO artifacts_files VALUES {values}")
    expected = sorted({(path.split("/")[0] + "/", None) if "/" in path else (path, 7) for path in paths})
    expected = [(name.rstrip("/"), size) for name, size in expected]
    for limit in (1, 3, 7, 1000):
        assert listed(client, run, limit=limit) == expected
    assert listed(client, run, "d05", limit=9) == [(str(j), 7) for j in sorted(range(40), key=str)]
    assert listed(client, run, "e") == [("deep", None)]
    assert listed(client, run, "f1") == listed(client, run, "nothing") == []
    for page in ("x", "f", "f2e2e", "f612f62", "fzz", "d6", "f" + "61" * 2900):
        answer = client.get(f"/api/v1/artifacts/run/{run}?page={page}")
        assert answer.status == 400, (page, answer)


def test_what_lies_deep_costs_a_list_nothing(server, client, run):
    """One folder of 20,000 files beside others: the list of what is above reads few of their rows."""
    values = ("SELECT 'default', 'run', '{0}', CONCAT('{1}/', seq), 'default', 'x', REPEAT('0', 64), 7, NOW(6), 'x' FROM seq_1_to_{2}")
    server.sql("INSERT INTO artifacts_files " + values.format(run, "big", 20000) + " UNION ALL " + values.format(run, "small", 3))
    read = lambda: int(server.sql("SHOW GLOBAL STATUS LIKE 'Handler_read_next'")[0][1])  # noqa: E731
    before = read()
    assert listed(client, run) == [("big", None), ("small", None)]
    assert read() - before < 2000
    assert len(listed(client, run, "big", limit=10000)) == 20000


def test_deleting(server, client, run):
    for path in ("a/1", "a/b/2", "a-", "a0", "c"):
        put(client, run, path, b"x")
    delete = lambda path: client.op("artifacts.delete", {"kind": "run", "owner": run, "path": path}).json["files"]  # noqa: E731
    assert delete("nothing") == 0
    assert delete("a") == 2
    assert [name for name, _ in listed(client, run)] == ["a-", "a0", "c"]
    assert delete("c") == 1 and delete("c") == 0
    assert client.get(address(run, "c")).status == 404
    put(client, run, "c/d", b"now a folder")
    assert delete("") == 3
    assert listed(client, run) == []


def test_a_deleted_run_takes_no_files_and_loses_none(server, client, run):
    put(client, run, "a", b"1")
    server.sql(f"UPDATE tracking_runs SET lifecycle = 'deleted' WHERE id = '{run}'")
    assert client.put(address(run, "b"), b"1").status == 409
    assert client.op("artifacts.delete", {"kind": "run", "owner": run, "path": "a"}).status == 409
    assert client.get(address(run, "a")).status == 200


def test_files_of_logged_models(server, client):
    experiment = client.post("/api/v1/experiments", {"name": unique("models")}).json["id"]
    model = client.post("/api/v1/logged-models", {"experiment_id": experiment, "name": "m"}).json["id"]
    assert client.put(f"/api/v1/artifacts/model/{model}/MLmodel", b"flavors: {}").status == 200
    assert client.get(f"/api/v1/artifacts/model/{model}/MLmodel").body == b"flavors: {}"
    assert client.get(f"/api/v1/artifacts/run/{model}/MLmodel").status == 404
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{model}/artifacts"
    assert client.get(f"{path}/MLmodel").body == b"flavors: {}"
    assert client.put(f"{path}/a/b", b"1").status == 200
    listed = client.get(f"/ajax-api/2.0/mlflow-artifacts/artifacts?path={experiment}/models/{model}/artifacts").json["files"]
    assert listed == [{"path": "MLmodel", "is_dir": False, "file_size": 11}, {"path": "a", "is_dir": True}]


def test_files_of_traces(server, client):
    experiment = client.post("/api/v1/experiments", {"name": unique("traces")}).json["id"]
    trace = f"tr-{random.randbytes(16).hex()}"
    server.sql("INSERT INTO traces_traces (workspace, project, experiment_id, id, state, request_time, told, artifact_location) VALUES ('default', 'default',"
               f" '{experiment}', '{trace}', 'ok', NOW(6), TRUE, 'mlflow-artifacts:/{experiment}/traces/{trace}/artifacts')")
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/traces/{trace}/artifacts/traces.json"
    assert client.put(path, b"{}").status == 200
    assert client.get(path).body == client.get(f"/api/v1/artifacts/trace/{trace}/traces.json").body == b"{}"


def test_nothing_without_an_owner(client, run):
    for kind, owner in (("run", "run_none"), ("model", "m-none"), ("trace", "tr-none"), ("nobody", run), ("run", "r%C3%BCn"), ("run", "x" * 3000), ("run", "%20")):
        for method, body in (("PUT", b"x"), ("GET", None)):
            assert client.call(method, f"/api/v1/artifacts/{kind}/{owner}/a", body).status == 404, (kind, owner)


BAD_PATHS = ["...", ".%20", "..%20/a", "a/%20/b", "....%20.", "..", "a/..", "../a", "a/../b", "a//b", "a/", "./a", "a/.", "%2e%2e", "%2e%2e/a", "a/%2e%2e/b", "%252e%252e/a", "%25252e%25252e/a", "..%2fa",
             "a%2f..%2fb", "%2fetc/passwd", "/etc/passwd", "..%5ca", "a%5cb", "%255c..", "a%00b", "a%2500b", "a%0ab", "a%09b", "a%7fb", "a%23b", "a%2523b",
             "file:///etc/passwd", "file%3Aa", "File%3A%2F%2Fa", "C:/x", "c%3Ax", "%ff", "a%c0%af", "%c0%ae%c0%ae/a", "%ed%a0%80", "a%C2%85b",
             "x" * 701, "/".join("x" * 101), "%C3%A9" * 701]


def test_paths_that_lead_elsewhere(server, client, run):
    for path in BAD_PATHS:
        for method, body in (("PUT", b"x"), ("GET", None)):
            answer = client.call(method, f"/api/v1/artifacts/run/{run}/{path}", body)
            assert answer.status in (400, 404, 414), (method, path, answer)
            assert answer.status != 404 or method == "GET", (path, answer)
    assert listed(client, run) == []
    assert server.records("error") == []


def test_names_that_are_only_odd(client, run):
    names = ["a b", " a ", "a+b", "100%", "x%41.txt", "ünïcode-日本.txt", "~x", "-rf", "$(x)", "a;b=c&d", "..a", "a..", ".a.", "\u00e9", "e\u0301", "a?b", "'\"", "*",
             "x" * 700, "/".join("y" * 100), "😀" * 600]
    for name in names:
        put(client, run, name, name.encode())
    for name in names:
        answer = client.get(address(run, name))
        assert answer.status == 200 and answer.body == name.encode(), name
    assert len(listed(client, run)) == len(names)


def test_permission_is_asked_before_the_body(server, client, run):
    """Who may not write is told so without sending anything."""
    key = client.op("access.create_key", {"name": "k", "permissions": ["runs:read"]}).json["secret"]
    for token, status in ((key, 403), ("purlin_wrong", 401)):
        with server.socket() as s:
            s.sendall(f"PUT {address(run, 'x')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000000\r\n"
                      "Expect: 100-continue\r\n\r\n".encode())
            assert s.recv(4096).startswith(f"HTTP/1.1 {status}".encode())


def test_an_upload_that_breaks_off_leaves_nothing(server, client, run):
    with server.socket() as s:
        s.sendall(f"PUT {address(run, 'half')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 1000000\r\n\r\n".encode()
                  + b"x" * 600_000)
    wait_until(lambda: not staged(server.state / "blobs"), 10, "the staging file is still there")
    assert listed(client, run) == []


def hashed(client):
    """Bytes that storage-fs has hashed while it read them."""
    line = re.search(rb"^purlin_storage_fs_verified_bytes_total (\S+)$", client.get("/metrics").body, re.M)
    return float(line[1]) if line else 0


def what_was_found_right_is_not_hashed_again_until_it_is_touched(server, client, run):
    body = random.randbytes(700_000)
    sha256 = put(client, run, "often", body)["sha256"]
    fetch = lambda: client.get(address(run, "often")).body == body  # noqa: E731
    before = hashed(client)
    assert fetch() and hashed(client) == before + len(body)
    time.sleep(3)  # whether a file changes is not seen in its first moment
    assert fetch()
    before = hashed(client)
    assert fetch() and fetch() and hashed(client) == before
    path = server.state / "blobs" / sha256[:2] / sha256[2:]
    about = path.stat()
    os.chmod(path, 0o600)
    with open(path, "r+b") as blob:
        blob.seek(350_000)
        blob.write(bytes([body[350_000] ^ 1]))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))  # who hides it
    with pytest.raises((http.client.HTTPException, OSError, AssertionError)):
        assert fetch()


def a_damaged_file_never_arrives_whole(server, client, run):
    for size in (100, 256 * 1024, 900_000):
        body = random.randbytes(size)
        sha256 = put(client, run, f"d{size}", body)["sha256"]
        path = server.state / "blobs" / sha256[:2] / sha256[2:]
        os.chmod(path, 0o600)
        with open(path, "r+b") as blob:
            blob.seek(size // 2)
            blob.write(bytes([body[size // 2] ^ 1]))
        with pytest.raises((http.client.HTTPException, OSError, AssertionError)):
            answer = client.get(address(run, f"d{size}"))
            assert answer.status == 200 and len(answer.body) == size
    assert any("is damaged" in record["message"] for record in server.records("error"))


def a_link_in_the_folder_is_not_followed(server, client, run):
    """Somebody put one in the place of a file of ours."""
    secret = server.folder / "secret"
    secret.write_bytes(b"not for you")
    sha256 = put(client, run, "l", b"a file of ours")["sha256"]
    path = server.state / "blobs" / sha256[:2] / sha256[2:]
    path.unlink()
    path.symlink_to(secret)
    answer = client.get(address(run, "l"))
    assert answer.status == 500 and b"not for you" not in answer.body
    assert secret.read_bytes() == b"not for you"


def test_kill_in_the_middle_leaves_all_or_nothing(new_daemon):
    server = new_daemon()
    client = server.client()
    run = make_run(client)
    acknowledged = {}
    for round_ in range(4):
        stop = threading.Event()

        def write(number):
            own, count = server.client(timeout=10), 0
            try:
                while not stop.is_set():
                    count += 1
                    path, body = f"r{round_}/{number}/{count % 5}", random.randbytes(random.randrange(400_000))
                    acknowledged.setdefault(path, set()).add(hashlib.sha256(body).hexdigest())
                    if own.put(address(run, path), body).status == 200:
                        acknowledged[path] = {hashlib.sha256(body).hexdigest()}
            except (OSError, http.client.HTTPException):
                pass
            finally:
                own.close()

        threads = Threads(*[lambda n=n: write(n) for n in range(3)])
        stop.wait(0.3 + random.random() / 2)
        server.kill()
        stop.set()
        threads.join()
        server.start()
    client = server.client()
    there = {f"r{r}/{n}/{name}" for r in range(4) for n in range(3) for name, _ in listed(client, run, f"r{r}/{n}")}
    for path, digests in acknowledged.items():
        answer = client.get(address(run, path))
        if path not in there:
            assert answer.status == 404
        else:
            assert hashlib.sha256(answer.body).hexdigest() in digests, path
    wait_until(lambda: not staged(server.state / "blobs"), 10, "staging files are left")


def test_memory_does_not_grow_with_a_file(new_daemon):
    server = new_daemon(configuration="server { loops = 1 }")
    client = server.client(timeout=120)
    run = make_run(client)
    size, block = 256 << 20, random.randbytes(1 << 20)
    put(client, run, "warm", block * 8)
    assert client.get(address(run, "warm")).status == 200
    rss = lambda key: int(next(l for l in open(f"/proc/{server.process.pid}/status") if l.startswith(key)).split()[1])  # noqa: E731
    before = rss("VmHWM")
    client.connection.request("PUT", address(run, "large"), (block for _ in range(size >> 20)),
                              {"Authorization": f"Bearer {client.token}", "Content-Length": str(size)})
    answer = client.connection.getresponse()
    assert json.loads(answer.read())["size"] == size
    client.connection.request("GET", address(run, "large"), headers={"Authorization": f"Bearer {client.token}"})
    answer = client.connection.getresponse()
    got = 0
    while piece := answer.read(1 << 20):
        got += len(piece)
    assert got == size
    assert rss("VmHWM") - before < 16 * 1024, "purlind took more than 16 MiB for a file"
    a_link_in_the_folder_is_not_followed(server, client, run)
    what_was_found_right_is_not_hashed_again_until_it_is_touched(server, client, run)
    a_damaged_file_never_arrives_whole(server, client, run)  # in a daemon of its own: it logs errors
