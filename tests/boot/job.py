"""The main job over HTTP: a dataset, a training, a model, an endpoint, predictions; and whether all of it is still there."""
import http.client
import json
import threading
import time

ROWS = 400
FEATURES = [[i * 7919 % 1000 / 1000, i * 1973 % 997 / 997] for i in range(ROWS)]
TABLE = "x1,x2,bought\n" + "".join(f"{a},{b},{int(a + b > 1)}\n" for a, b in FEATURES)


class Client(http.client.HTTPConnection):
    """Requests to the daemon of a root or a machine (`place.connect`), by its administrator's token."""

    def __init__(self, place, token, seconds=60):
        super().__init__("purlin", timeout=seconds)
        self.place, self.token, self.seconds = place, token, seconds

    def connect(self):
        self.sock = self.place.connect(8080, self.seconds)
        self.sock.settimeout(self.seconds)

    def send_once(self, method, path, body=None, media="application/json"):
        """One request on a connection of its own: its status and its answer. OSError or HTTPException, where none came."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if body is not None:
            headers["Content-Type"] = media
        try:
            self.request(method, path, body, headers)
            answer = self.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            self.close()

    def call(self, method, path, body=None, **more):
        status, answer = self.send_once(method, path, body, **more)
        assert status < 400, f"{method} {path}: {status} {answer}"
        return answer

    def op(self, operation, /, **members):
        return self.call("POST", f"/api/v1/op/{operation}", members)

    def ready(self):
        try:
            return self.send_once("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def train(client, model, rounds=20, seconds=300):
    """A training that succeeded; its job."""
    job = start_training(client, model, rounds)
    end = time.monotonic() + seconds
    while job["state"] in ("queued", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.2)
        job = client.op("training.get_job", job_id=job["id"])
    assert job["state"] == "succeeded", job
    return job


def start_training(client, model, rounds):
    return client.op("training.create_job", trainer="xgboost", dataset="sales", model=model, validation_rows=100,
                     specification={"label": "bought", "rounds": rounds, "threads": 1, "seed": 1})


def predictions(client, endpoint="sales"):
    rows = [value for row in FEATURES[:20] for value in row]
    answer = client.call("POST", f"/v2/models/{endpoint}/infer",
                         {"inputs": [{"name": "x", "shape": [20, 2], "datatype": "FP32", "data": rows}]})
    return answer["outputs"][0]["data"]


def play(client):
    """The whole job. What `intact` compares with."""
    client.call("POST", "/api/v1/datasets/sales/versions", TABLE, media="text/csv")
    job = train(client, "sales")
    client.op("serving.deploy", name="sales", model="sales", version=str(job["version"]))
    found = predictions(client)
    right = sum((value >= 0.5) == (a + b > 1) for value, (a, b) in zip(found, FEATURES))
    assert right >= 17, f"the model is right {right} times of 20"
    return found


def intact(client, found):
    """What was made by `play` is there and answers as it did."""
    assert client.call("GET", "/api/v1/models/sales")["versions"] == 1
    now = predictions(client)
    assert now == found, f"{now} instead of {found}"


class Load(threading.Thread):
    """Creates models one after another, each request on a connection of its own, and keeps which were acknowledged and which had no answer."""

    def __init__(self, place, token, prefix, pause_s=0.0):
        super().__init__(daemon=True)
        self.client, self.prefix, self.pause_s = Client(place, token, seconds=300), prefix, pause_s  # busy hosts let machines wait
        self.acknowledged, self.lost, self.refused, self.slowest_s = [], [], [], 0.0
        self.ended = threading.Event()

    def run(self):
        number = 0
        while not self.ended.is_set():
            name, number, begun = f"{self.prefix}-{number}", number + 1, time.monotonic()
            try:
                status, answer = self.client.send_once("POST", "/api/v1/op/registry.create_model", {"name": name})
                (self.acknowledged if status < 300 else self.refused).append((name, status, answer) if status >= 300 else name)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append((name, repr(error)))
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
            time.sleep(self.pause_s)

    def stop(self):
        self.ended.set()
        self.join(300)
        assert not self.is_alive(), "a request is still waiting"
        return self


def missing(client, names):
    """Which of these models, each acknowledged, the server does not know."""
    known, last = set(), ""
    while True:
        page = [model["name"] for model in client.op("registry.list_models", limit=1000, after=last)["models"]]
        if not page:
            return sorted(set(names) - known)
        known.update(page)
        last = page[-1]
