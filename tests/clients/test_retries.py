"""Answers that are lost: the client asks again, and nothing is there twice."""
import socket
import threading
import time
import urllib.parse

import mlflow
import pytest
from mlflow.entities import Metric, Param, RunTag


class Losing:
    """A proxy that carries whole exchanges, and drops the connection in place of an answer as often as it is told, after the server has given it."""

    def __init__(self, url):
        where = urllib.parse.urlsplit(url)
        self.server = (where.hostname, where.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.to_lose, self.lost = 0, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(connection,), daemon=True).start()

    @staticmethod
    def message(reader):
        """One whole request or answer, as bytes."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return None
            head += line
        fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])}
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = reader.readline()
                body += size + reader.read(int(size, 16) + 2)
                if int(size, 16) == 0:
                    return head + body
        return head + reader.read(int(fields.get("content-length", 0)))

    def carry(self, connection):
        with connection, socket.create_connection(self.server) as behind:
            asked, answered = connection.makefile("rb"), behind.makefile("rb")
            while request := self.message(asked):
                behind.sendall(request)
                answer = self.message(answered)
                if self.to_lose > 0:
                    self.to_lose -= 1
                    self.lost.append(answer[:15])
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                connection.sendall(answer)

    def close(self):
        self.listener.close()


@pytest.fixture
def losing(server, monkeypatch):
    proxy = Losing(server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    before = mlflow.get_tracking_uri()
    yield proxy
    mlflow.set_tracking_uri(before)
    proxy.close()


def test_a_batch_whose_answer_was_lost(client, run_id, losing):
    through = mlflow.MlflowClient(losing.url)
    losing.to_lose = 2
    now = int(time.time() * 1000)
    through.log_batch(run_id, metrics=[Metric("loss", n / 7, now + n, n) for n in range(1000 - 2)], params=[Param("p", "1")], tags=[RunTag("t", "1")])
    assert losing.lost == [b"HTTP/1.1 200 OK"] * 2
    found = client.get_run(run_id)
    assert len(client.get_metric_history(run_id, "loss")) == 998 and found.data.params == {"p": "1"} and found.data.tags["t"] == "1"


def test_single_values_whose_answers_were_lost(client, run_id, losing):
    through = mlflow.MlflowClient(losing.url)
    for log in (lambda: through.log_metric(run_id, "m", 0.5, timestamp=1000, step=1), lambda: through.log_param(run_id, "p", "1"), lambda: through.set_tag(run_id, "t", "1")):
        losing.to_lose = 1
        log()
    assert len(losing.lost) == 3
    assert len(client.get_metric_history(run_id, "m")) == 1 and client.get_run(run_id).data.params == {"p": "1"}


@pytest.mark.ours
def test_a_run_whose_answer_was_lost(client, experiment, losing, server, name):
    """The client sends no such header of its own: other clients do, and request header providers may."""
    import requests

    headers = {"Authorization": f"Bearer {server.token}", "Idempotency-Key": name("train")}
    body = {"experiment_id": experiment, "run_name": "once"}
    losing.to_lose = 1
    with pytest.raises(requests.ConnectionError):
        requests.post(losing.url + "/api/2.0/mlflow/runs/create", json=body, headers=headers, timeout=30)
    answer = requests.post(losing.url + "/api/2.0/mlflow/runs/create", json=body, headers=headers, timeout=30)
    assert answer.ok, answer.text
    assert [run.info.run_id for run in client.search_runs([experiment])] == [answer.json()["run"]["info"]["run_id"]]
    other = requests.post(losing.url + "/api/2.0/mlflow/runs/create", json=dict(body, run_name="twice"), headers=headers, timeout=30)
    assert other.status_code == 400 and other.json()["error_code"] == "RESOURCE_ALREADY_EXISTS", other.text


def test_an_artifact_whose_answer_was_lost(client, run_id, losing, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"0123456789" * 100_000)
    mlflow.set_tracking_uri(losing.url)
    losing.to_lose = 1
    through = mlflow.MlflowClient(losing.url)
    through.log_artifact(run_id, str(path), "folder")
    assert losing.lost
    assert [(one.path, one.file_size) for one in client.list_artifacts(run_id, "folder")] == [("folder/file.bin", 1_000_000)]
