"""Files that come in parts, and files by links: with the addresses of MLflow's clients, too. With the real clients: tests/clients."""
import hashlib
import http.client
import random
import threading
import urllib.parse

import pytest

from daemon import Threads, staged, unique, wait_until
from test_artifacts import address, listed, put
from test_mlflow_artifacts import PROXY, make_run, refused

MPU = "/api/2.0/mlflow-artifacts/mpu"
UPLOADS = "/api/v1/artifact-uploads"


@pytest.fixture
def run(client):
    return make_run(client)[1]


def begin(client, run, path, parts, status=201):
    answer = client.post(UPLOADS, {"kind": "run", "owner": run, "path": path, "parts": parts})
    assert answer.status == status, answer
    return answer.json


def send(client, link, body):
    """Nobody's token goes with it: the link is enough."""
    answer = client.put(link, body, token=False)
    assert answer.status == 200, answer
    assert answer.headers["ETag"] == answer.json["etag"]
    return answer.json["etag"]


def complete(client, run, path, upload, etags):
    parts = [{"number": number + 1, "etag": etag} for number, etag in enumerate(etags)]
    return client.post(f"{UPLOADS}/{upload}/complete", {"kind": "run", "owner": run, "path": path, "parts": parts})


def parts_left(server, upload):
    return server.sql(f"SELECT number FROM artifacts_parts WHERE upload = '{upload}'")


def blobs(server):
    return {sha for sha, in server.sql("SELECT sha256 FROM storage_fs_blobs")}


def test_parts_become_a_file(server, client, run):
    bodies = [random.randbytes(size) for size in (700_000, 1, 0, 600_000, 64 * 1024)]
    begun = begin(client, run, "of/parts.bin", len(bodies))
    assert [link["number"] for link in begun["links"]] == [1, 2, 3, 4, 5]
    etags = [None] * len(bodies)
    for i in random.sample(range(len(bodies)), len(bodies)):
        etags[i] = send(client, begun["links"][i]["link"], bodies[i])
    assert listed(client, run) == [], "nothing is there yet"
    whole = b"".join(bodies)
    done = complete(client, run, "of/parts.bin", begun["upload"], etags)
    assert done.status == 200 and done.json["sha256"] == hashlib.sha256(whole).hexdigest() and done.json["size"] == len(whole), done
    assert client.get(address(run, "of/parts.bin")).body == whole
    again = complete(client, run, "of/parts.bin", begun["upload"], etags)
    assert (again.status, again.json) == (200, done.json), "once more does nothing"
    wait_until(lambda: not parts_left(server, begun["upload"]), 25, "the parts stay")
    assert blobs(server) & {done.json["sha256"], *(etag.strip('"') for etag in etags)} == {done.json["sha256"]}, "the bytes of the parts stay"
    assert complete(client, run, "of/parts.bin", begun["upload"], etags).json == done.json, "also when its parts are gone"
    entries = client.get("/api/v1/audit/entries?limit=50&operation=artifacts.upload").json["entries"]
    assert len([e for e in entries if e.get("object") == run]) == 1
    assert client.put(begun["links"][0]["link"], b"x", token=False).status == 401, "it has ended"


def test_what_does_not_fit_is_refused(client, run):
    begun = begin(client, run, "a", 2)
    upload, links = begun["upload"], [link["link"] for link in begun["links"]]
    first = send(client, links[0], b"one")
    answer = complete(client, run, "a", upload, [first, first])
    assert answer.status == 400 and "part 2" in answer.body.decode(), answer
    replaced, second = send(client, links[0], b"ONE"), send(client, links[1], b"two")
    for etags in ([first, second], [replaced], [second, replaced], [replaced, second, second], ["", ""], []):
        assert complete(client, run, "a", upload, etags).status == 400, etags
    for path, of in (("b", upload), ("a", "upl_none")):
        assert complete(client, run, path, of, [replaced, second]).status == 404
    assert complete(client, make_run(client)[1], "a", upload, [replaced, second]).status == 404
    assert listed(client, run) == []
    assert complete(client, run, "a", upload, [replaced.strip('"'), second]).status == 200
    assert client.get(address(run, "a")).body == b"ONEtwo"
    begin(client, run, "a/b", 1, status=409)
    begin(client, run, "../x", 1, status=400)
    begin(client, run, "x", 0, status=400)
    begin(client, run, "x", 10001, status=400)


def test_an_upload_that_is_given_up_leaves_nothing(server, client, run):
    begun = begin(client, run, "a", 2)
    etag = send(client, begun["links"][0]["link"], b"one")
    assert etag.strip('"') in blobs(server)
    about = {"kind": "run", "owner": run, "path": "a"}
    for _ in range(2):
        assert client.post(f"{UPLOADS}/{begun['upload']}/abort", about).status == 200
    assert client.put(begun["links"][1]["link"], b"two", token=False).status == 401
    assert complete(client, run, "a", begun["upload"], [etag, etag]).status == 404
    wait_until(lambda: not parts_left(server, begun["upload"]) and etag.strip('"') not in blobs(server), 25, "its part stays")
    assert listed(client, run) == []


def test_an_upload_that_is_forgotten_goes(server, client, run):
    begun = begin(client, run, "a", 1)
    send(client, begun["links"][0]["link"], b"one")
    server.sql(f"UPDATE artifacts_uploads SET begun_at = NOW(6) - INTERVAL 25 HOUR WHERE id = '{begun['upload']}'")
    wait_until(lambda: not parts_left(server, begun["upload"]), 25, "its part stays")


def test_two_that_complete_it_at_once(server, client, run):
    begun = begin(client, run, "a", 3)
    etags = [send(client, link["link"], random.randbytes(400_000)) for link in begun["links"]]
    answers = []

    def finish():
        own = server.client()
        answers.append(complete(own, run, "a", begun["upload"], etags))
        own.close()

    Threads(finish, finish, finish).join()
    assert [answer.status for answer in answers] == [200] * 3 and len({answer.json["sha256"] for answer in answers}) == 1


def test_a_link_does_what_it_was_given_for_and_nothing_else(server, client, run):
    put(client, run, "a", b"bytes")
    begun = begin(client, run, "p", 2)
    part = [link["link"] for link in begun["links"]]
    read = client.op("artifacts.link_download", {"kind": "run", "owner": run, "path": "a"}).json["link"]
    assert client.get(read, token=False).body == b"bytes"
    sealed = {name: urllib.parse.urlsplit(link).query.removeprefix("link=") for name, link in (("part", part[0]), ("read", read))}
    wrong = [part[0].replace("/1?", "/2?"), part[0].replace(begun["upload"], "upl_x"), f"{part[0].split('?')[0]}?link={sealed['read']}"]
    for name in sealed:
        text = sealed[name]
        flipped = text[:-1] + ("0" if text[-1] != "0" else "1")
        wrong += [f"{part[0].split('?')[0]}?link={bad}" for bad in (flipped, text[:-2], text + "00", "00" + text, text.upper(), "", "zz", "0" * 100, "a" * 7000)]
    for link in wrong + [part[0].split("?")[0]]:
        assert client.put(link, b"x", token=False).status == 401, link
    for bad in (sealed["part"], sealed["read"][:-2], sealed["read"][:-1] + "g", ""):
        assert client.get(f"/api/v1/artifact-bytes?link={bad}", token=False).status == 401
    for method, link in (("GET", part[0]), ("DELETE", part[0]), ("POST", part[0]), ("PUT", read), ("DELETE", read)):
        assert client.call(method, link, b"x" if method != "GET" else None, token=False).status in (404, 405), (method, link)
    send(client, part[0], b"still fine")
    assert not any(text in server.log_text() for text in sealed.values()), "a link is logged"
    assert server.records("error") == []


def test_a_link_ends(server, client, run):
    """Its time, and that of what it is of; bytes that took the place of the file's are not given to it."""
    put(client, run, "a", b"first")
    about = {"kind": "run", "owner": run, "path": "a"}
    read = client.op("artifacts.link_download", about).json
    put(client, run, "a", b"the second")
    assert read["size"] == 5 and client.get(read["link"], token=False).body == b"first"
    answer = client.get(read["link"], token=False, headers={"Range": "bytes=1-2"})
    assert (answer.status, answer.body) == (206, b"ir")
    assert client.call("HEAD", read["link"], token=False).headers["Content-Length"] == "5"
    assert client.op("artifacts.delete", about).status == 200
    assert client.get(read["link"], token=False).status == 404


def test_links_of_another_workspace(server, client, run):
    """Nothing of a link can be changed, its workspace included; who may not read gets none."""
    put(client, run, "a", b"bytes")
    about = {"kind": "run", "owner": run, "path": "a"}
    other = server.client(token=server.token_for(unique("w")))
    assert other.op("artifacts.link_download", about).status == 404
    assert other.post(UPLOADS, {**about, "parts": 1}).status == 404
    begun = begin(client, run, "p", 1)
    etag = send(client, begun["links"][0]["link"], b"x")
    assert complete(other, run, "p", begun["upload"], [etag]).status == 404
    other.close()


def test_as_mlflows_clients_do(server, client):
    experiment, run, _ = make_run(client)
    folder = f"{experiment}/{run}/artifacts/models"
    host = f"http://127.0.0.1:{server.port}"
    made = client.post(f"{MPU}/create/{folder}", {"path": "/home/x/large file.bin", "num_parts": 2})
    assert made.status == 200, made
    credentials = made.json["credentials"]
    assert [c["part_number"] for c in credentials] == [1, 2] and all(c["headers"] == {} and c["url"].startswith(f"{host}/") for c in credentials)
    parts = []
    for credential, body in zip(credentials, (b"1" * 100, b"2")):
        answer = client.put(credential["url"].removeprefix(host), body, token=False)
        parts.append({"part_number": credential["part_number"], "etag": answer.headers["ETag"], "url": credential["url"]})
    asked = {"path": "/home/x/large file.bin", "upload_id": made.json["upload_id"]}
    for _ in range(2):
        answer = client.post(f"{MPU}/complete/{folder}", {**asked, "parts": parts})
        assert (answer.status, answer.json) == (200, {}), answer
    path = f"{folder}/large%20file.bin"
    assert client.get(f"{PROXY}/{path}").body == b"1" * 100 + b"2"
    assert (client.post(f"{MPU}/abort/{folder}", asked).status, client.get(f"{PROXY}/{path}").status) == (200, 200), "it stays"
    signed = client.get(f"/api/2.0/mlflow-artifacts/presigned/{path}").json
    assert (signed["headers"], signed["file_size"]) == ({}, 101)
    assert client.get(signed["url"].removeprefix(host), token=False, headers={"Range": "bytes=99-100"}).body == b"12"
    refused(client.get(f"/api/2.0/mlflow-artifacts/presigned/{folder}/none"), 404, "RESOURCE_DOES_NOT_EXIST")
    refused(client.post(f"{MPU}/create/{folder}", {"num_parts": 2}), 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'path'")
    assert client.post(f"{MPU}/create/{folder}/..", {"path": "x"}).status == 400
    refused(client.post(f"{MPU}/create/{folder}", {"path": "/x/.."}), 400, "INVALID_PARAMETER_VALUE", "Invalid path")
    refused(client.post(f"{MPU}/complete/{folder}", {**asked, "upload_id": "upl_x", "parts": parts}), 404, "RESOURCE_DOES_NOT_EXIST")
    windows = client.post(f"{MPU}/create/{folder}", {"path": "C:\\data\\w.bin"}).json["upload_id"]
    assert client.post(f"{MPU}/abort/{folder}", {"path": "C:\\data\\w.bin", "upload_id": windows}).status == 200


def test_kill_in_the_middle(new_daemon):
    """Of a part, and of a completion: the file is there whole or not at all, and nothing is left over."""
    server = new_daemon()
    client = server.client()
    run = make_run(client)[1]
    size = 24 << 20
    body = random.randbytes(size)
    sha256 = hashlib.sha256(body).hexdigest()
    begun = begin(client, run, "a", 3)
    etags = [send(client, link["link"], body[i * (8 << 20):(i + 1) * (8 << 20)]) for i, link in enumerate(begun["links"])]
    with server.socket() as s:
        s.sendall(f"PUT {begun['links'][0]['link']} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n".encode() + body[:3_000_000])
        server.kill()
    client = server.start().client()
    assert [number for number, in parts_left(server, begun["upload"])] == ["1", "2", "3"], "the part that was there stays"
    for pause in (0.02, 0.05, 0.15):
        def finish():
            own = server.client(timeout=10)
            try:
                answers.append(complete(own, run, "a", begun["upload"], etags).status)
            except (OSError, http.client.HTTPException):
                pass

        answers, stop = [], threading.Event()
        threads = Threads(finish)
        stop.wait(pause)
        server.kill()
        threads.join()
        client = server.start().client()
        there = listed(client, run)
        assert there in ([], [("a", size)]), there
        assert answers != [200] or there
    assert complete(client, run, "a", begun["upload"], etags).json["sha256"] == sha256
    assert hashlib.sha256(client.get(address(run, "a")).body).hexdigest() == sha256
    wait_until(lambda: not parts_left(server, begun["upload"]), 25, "parts are left")
    wait_until(lambda: blobs(server) == {sha256}, 25, "bytes are left")
    assert not staged(server.state / "blobs")
