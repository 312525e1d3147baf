"""Artifacts through the proxy: files of any size, folders, paths of every kind."""
import hashlib
import http.client
import os
import pathlib
import urllib.parse

import mlflow
import pytest
from conftest import FULL

MIB = 1 << 20


def write(path, size):
    """A file of that size which does not compress; its SHA-256."""
    digest = hashlib.sha256()
    block = os.urandom(MIB)
    with open(path, "wb") as out:
        for at in range(0, size, MIB):
            part = (at.to_bytes(8, "big") + block)[:min(MIB, size - at)]
            digest.update(part)
            out.write(part)
    return digest.hexdigest()


def digest_of(path):
    with open(path, "rb") as given:
        return hashlib.file_digest(given, "sha256").hexdigest()


def there_and_back(client, run_id, tmp_path, size):
    path = tmp_path / f"file-{size}.bin"
    digest = write(path, size)
    client.log_artifact(run_id, str(path), "sizes")
    path.unlink()
    listed = {found.path: found for found in client.list_artifacts(run_id, "sizes")}
    assert (listed[f"sizes/file-{size}.bin"].file_size or 0) == size
    back = pathlib.Path(client.download_artifacts(run_id, f"sizes/file-{size}.bin", str(tmp_path)))
    assert back.stat().st_size == size and digest_of(back) == digest
    back.unlink()


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, MIB + 1, 40 * MIB])
def test_a_file_of_any_size(client, run_id, tmp_path, size):
    there_and_back(client, run_id, tmp_path, size)


@pytest.mark.full
def test_a_file_of_two_gigabytes(client, run_id, tmp_path):
    there_and_back(client, run_id, tmp_path, 2 << 30)


def test_a_folder_of_many_files(client, run_id, tmp_path):
    count = 10_000 if FULL else 300
    folder = tmp_path / "many"
    for n in range(count):
        path = folder / f"part-{n // 100}" / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {n}")
    client.log_artifacts(run_id, str(folder), "many")
    listed = client.list_artifacts(run_id, "many")
    assert len(listed) == count // 100 and all(found.is_dir for found in listed)
    assert len(client.list_artifacts(run_id, "many/part-1")) == 100
    back = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="many", dst_path=str(tmp_path / "back")))
    found = sorted(path for path in back.rglob("*") if path.is_file())
    assert len(found) == count and all(path.read_text() == f"file {path.stem}" for path in found)


def test_a_file_is_replaced(client, run_id):
    client.log_text(run_id, "first", "note.txt")
    client.log_text(run_id, "the second", "note.txt")
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/note.txt") == "the second"
    assert [(found.path, found.file_size) for found in client.list_artifacts(run_id)] == [("note.txt", 10)]


@pytest.mark.parametrize("path", ["with space.txt", "ünï/✓.txt", "plus+and&amp.txt", "a'quote.txt", "deep/" * 20 + "end.txt", "dots..in.name", ".hidden", pytest.param("per%20cent.txt", marks=pytest.mark.ours), "tilde~file", "a,b;c=d.txt"])
def test_a_name_of_any_kind(client, run_id, path):
    client.log_text(run_id, path, path)
    assert mlflow.artifacts.load_text(f"mlflow-artifacts:/{client.get_run(run_id).info.experiment_id}/{run_id}/artifacts/{path}"
                                      if not set(path) & set("%;") else f"runs:/{run_id}/{path}") == path
    folder = os.path.dirname(path)
    shown = urllib.parse.unquote(path)  # the client undoes escapes in what is listed, if there are any or not
    assert shown in [found.path for found in client.list_artifacts(run_id, folder or None)]


def test_a_whole_run_is_downloaded(client, run_id, tmp_path):
    client.log_text(run_id, "1", "one.txt")
    client.log_text(run_id, "2", "folder/two.txt")
    back = pathlib.Path(client.download_artifacts(run_id, "", str(tmp_path)))
    assert {str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()} == {"one.txt", "folder/two.txt"}


def test_nothing_is_there(client, run_id, tmp_path):
    assert client.list_artifacts(run_id) == []
    assert client.list_artifacts(run_id, "nothing/here") == []


@pytest.mark.ours
def test_a_missing_file_is_said_at_once(client, run_id, tmp_path):
    """MLflow's server answers 500, which its client asks for again for minutes."""
    with pytest.raises(Exception) as raised:
        client.download_artifacts(run_id, "nothing.txt", str(tmp_path))
    assert "404" in str(raised.value) or "not" in str(raised.value).lower()


@pytest.mark.ours
@pytest.mark.parametrize("path", ["../outside", "a/../../b", "/etc/passwd", "%2e%2e/outside", "a/%2e%2e/%2e%2e/b", "..%2foutside", "a%00b", "%252e%252e/%252e%252e/x"])
def test_no_path_leads_outside(server, run_id, client, path):
    experiment = client.get_run(run_id).info.experiment_id
    where = urllib.parse.urlsplit(server.url)
    for method in ("PUT", "GET", "DELETE"):
        raw = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        raw.request(method, f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/{path}", b"x" if method == "PUT" else None,
                    {"Authorization": f"Bearer {server.token}"})
        answer = raw.getresponse()
        assert 400 <= answer.status < 500, (method, answer.status, answer.read())
        raw.close()


def test_multipart_uploads(client, run_id, tmp_path, monkeypatch):
    """Files above a size go in parts where the server offers it."""
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 * MIB))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MIB))
    there_and_back(client, run_id, tmp_path, 12 * MIB + 17)


def count_calls(monkeypatch, function):
    """Of a function of the client's repository of artifacts; it does what it did."""
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    real, calls = getattr(HttpArtifactRepository, function), []

    def counted(self, *arguments, **named):
        calls.append(arguments)
        return real(self, *arguments, **named)

    monkeypatch.setattr(HttpArtifactRepository, function, counted)
    return calls


@pytest.mark.ours
def test_multipart_uploads_are_in_parts(client, run_id, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 * MIB))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MIB))
    completed = count_calls(monkeypatch, "complete_multipart_upload")
    there_and_back(client, run_id, tmp_path, 12 * MIB + 17)
    there_and_back(client, run_id, tmp_path, 6 * MIB - 1)
    assert len(completed) == 1 and len(completed[0][2]) == 3
    given_up = count_calls(monkeypatch, "abort_multipart_upload")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", "100")  # more parts than any upload may have
    (tmp_path / "never.bin").write_bytes(bytes(7 * MIB))
    with pytest.raises(Exception):
        client.log_artifact(run_id, str(tmp_path / "never.bin"))
    assert client.list_artifacts(run_id) == [found for found in client.list_artifacts(run_id) if found.path == "sizes"] and not given_up


@pytest.mark.ours
@pytest.mark.since3
def test_presigned_downloads_are_in_ranges(client, run_id, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE", str(3 * MIB))
    ranges = count_calls(monkeypatch, "_multipart_download")
    for size in (0, 1, 10 * MIB + 5):
        there_and_back(client, run_id, tmp_path, size)
    assert len(ranges) == 3
