"""The parts of a dataset that a trainer gets are those that were counted at its upload, whatever its lines look like."""
import pytest

from daemon import unique, wait_until


@pytest.fixture(scope="module")
def teacher(scratch, template):
    import daemon
    folder = scratch / "teacher"
    daemon.copy_state(template, folder)
    server = daemon.Daemon(folder, configuration='plugin "trainer-process" { allow = { "/bin/sh" } }').start()
    yield server
    server.end()


CASES = {
    "plain": (b"a,class\n1,0\n2,0\n3,1\n", b"a,class\n1,0\n2,0\n", b"a,class\n3,1\n"),
    "blank lines": (b"a,class\n\n1,0\n\n\n2,0\n\n3,1\n", b"a,class\n\n1,0\n\n\n2,0\n", b"a,class\n\n3,1\n"),
    "blank lines of Windows": (b"a,class\r\n\r\n1,0\r\n2,0\r\n\r\n3,1\r\n", b"a,class\r\n\r\n1,0\r\n2,0\r\n", b"a,class\r\n\r\n3,1\r\n"),
    "blank lines before the header": (b"\n\na,class\n1,0\n2,0\n3,1\n", b"\n\na,class\n1,0\n2,0\n", b"\n\na,class\n3,1\n"),
    "newlines in quotes": (b'a,class\n"x\n\ny",0\n2,0\n3,1', b'a,class\n"x\n\ny",0\n2,0\n', b"a,class\n3,1"),
    "one column with holes": (b"a\n1\n\n3\n", b"a\n1\n\n", b"a\n3\n"),
    "a quoted name with a comma": (b'"a,b"\n1\n\n3\n', b'"a,b"\n1\n\n', b'"a,b"\n3\n'),
}


@pytest.mark.parametrize("what", CASES)
def test_parts_are_cut_where_the_rows_were_counted(teacher, what):
    client = teacher.client()
    body, train, validation = CASES[what]
    name = unique("parts")
    uploaded = client.post(f"/api/v1/datasets/{name}/versions", body, headers={"Content-Type": "text/csv"})
    assert uploaded.status == 201 and uploaded.json["row_count"] == 3, uploaded
    script = "od -An -v -tx1 train.csv | tr -d ' \\n'; echo; od -An -v -tx1 validation.csv | tr -d ' \\n'; echo; touch m"
    made = client.post("/api/v1/training/jobs", {"trainer": "process", "dataset": name, "validation_rows": 1, "specification": {
        "command": ["/bin/sh", "-c", script], "download": True, "model_file": "m", "framework": "none", "signature": {"inputs": [{"name": "a"}]}}})
    assert made.status == 201, made
    job = made.json["id"]
    wait_until(lambda: client.get(f"/api/v1/training/jobs/{job}").json["state"] not in ("queued", "running"), 30, "the job does not end")
    lines = client.get(f"/api/v1/training/jobs/{job}/log").body.split()
    assert [bytes.fromhex(line.decode()) for line in lines[:2]] == [train, validation], client.get(f"/api/v1/training/jobs/{job}").json
    client.close()
