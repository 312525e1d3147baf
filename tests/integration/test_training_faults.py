"""Trainings when things die: the trainer, the daemon, or a node that comes back to find that another one went on. And trainings that need
more memory than they may have."""
import hashlib
import json
import os
import random
import signal
import sys
import time
import urllib.parse

import pytest

import daemon
from daemon import free_port, processes_marked, sql, wait_until

ALLOW = 'plugin "trainer-process" { allow = { "*" } }\n'
SIGNATURE = {"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]}

# Says its attempt, waits until it may go on, and leaves a model that tells which attempt made it.
PATIENT = """
number=$(sed 's/.*"attempt":\\([0-9]*\\).*/\\1/' "$PURLIN_TRAINING")
echo "attempt $number is here"
while [ ! -e "$0" ]; do sleep 0.05; done
echo "made by attempt $number" > model.txt
"""


def rows(count):
    dice = random.Random(1)
    lines = ["a,b,label"] + [f"{(a := dice.random()):.5f},{(b := dice.random()):.5f},{int(a > b)}" for _ in range(count)]
    return ("\n".join(lines) + "\n").encode()


def upload(client, count=2000):
    assert client.post("/api/v1/datasets/data/versions", rows(count), headers={"Content-Type": "text/csv"}).status in (200, 201)


def create(client, trainer, specification):
    body = {"trainer": trainer, "specification": specification, "dataset": "data", "model": "model"}
    answer = client.post("/api/v1/training/jobs", body)
    assert answer.status == 201, answer
    return answer.json["id"]


def create_patient(client, go):
    return create(client, "process", {"command": ["/bin/sh", "-c", PATIENT, str(go)], "model_file": "model.txt", "framework": "constant",
                                      "signature": SIGNATURE})


def look(client, job):
    return client.get(f"/api/v1/training/jobs/{job}").json


def log_of(client, job):
    return client.get(f"/api/v1/training/jobs/{job}/log").body.decode()


def wait_state(client, job, state, seconds=30):
    def there():
        now = look(client, job)
        assert now["state"] in (state, "queued", "running"), now
        return now if now["state"] == state else None
    return wait_until(there, seconds, f"the training is not {state}: {look(client, job)}")


def pid_of(server, job, attempt=1):
    """Of the process of that attempt, once it runs."""
    def there():
        row = sql(server, f"SELECT pid FROM training_jobs WHERE id = '{job}' AND attempt = {attempt} AND pid IS NOT NULL")
        return int(row[0][0]) if row else None
    return wait_until(there, 20, f"attempt {attempt} of {job} does not begin")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def queue_row(server, job):
    """State, attempt and attempts left of the job in the queue."""
    row = sql(server, f"SELECT j.state, j.attempt, j.max_attempts FROM purlin_jobs j JOIN training_jobs t ON t.queue_job = j.public_id WHERE t.id = '{job}'")
    return tuple(int(value) for value in row[0])


def versions(client):
    answer = client.op("registry.list_versions", {"name": "model"})
    return answer.json["versions"] if answer.status == 200 else []


def no_directories(server):
    runs = server.state / "runs"
    return not runs.exists() or not any(runs.iterdir())


# ---- the trainer is killed


def test_killed_trainer_is_started_again(own_server):
    client = own_server.client()
    upload(client)
    job = create(client, "xgboost", {"label": "label", "rounds": 6000})
    wait_until(lambda: look(client, job)["progress"] > 0.06, 20, "no progress")
    first = pid_of(own_server, job)
    os.kill(first, signal.SIGKILL)
    done = wait_state(client, job, "succeeded")
    assert done["attempt"] == 2 and done["version"] == 1
    log = log_of(client, job)
    assert "(attempt 1: the trainer was killed by signal 9" in log, log
    wait_until(lambda: queue_row(own_server, job)[:2] == (2, 2), 10, "the job in the queue does not end")
    assert [one["training_id"] for one in versions(client)] == [job]
    steps = sql(own_server, f"SELECT COUNT(*), COUNT(DISTINCT step) FROM training_metrics WHERE job_id = '{job}' AND name = 'train_logloss'")
    assert steps[0][0] == steps[0][1]
    wait_until(lambda: no_directories(own_server), 5, "directories stay")
    client.close()
    own_server.stop()


def test_trainer_that_always_dies_or_cannot_be_started_fails_the_job_in_the_end(new_daemon, tmp_path):
    """No training may stay 'running' when its job in the queue has ended."""
    server = new_daemon(configuration=ALLOW)
    client = server.client()
    upload(client)
    job, homeless = create_patient(client, tmp_path / "never"), create_patient(client, tmp_path / "never")
    pid = pid_of(server, homeless)
    sql(server, f"UPDATE training_jobs SET trainer = 'gone' WHERE id = '{homeless}'")  # its plugin is not there any more
    os.kill(pid, signal.SIGKILL)
    for attempt in range(1, 6):
        pid = pid_of(server, job, attempt)
        wait_until(lambda: f"attempt {attempt} is here" in log_of(client, job), 20, f"attempt {attempt} says nothing")
        os.kill(pid, signal.SIGKILL)
    failed = wait_state(client, job, "failed")
    assert failed["attempt"] == 5 and "killed by signal 9" in failed["message"] and failed.get("version") is None
    log = log_of(client, job)
    assert all(f"(attempt {attempt}: the trainer was killed" in log for attempt in range(1, 6)), log
    assert "'gone'" in wait_state(client, homeless, "failed", 40)["message"]
    assert not versions(client)
    # The commands that the trainers had started went with them.
    wait_until(lambda: not any(str(tmp_path) in line for line in server.left().values()), 5, f"left running: {server.left()}")
    client.close()
    server.stop()


# ---- the daemon ends, and comes back


def end(server, how):
    """Ends the daemon, not the trainer. How long it took."""
    started = time.monotonic()
    server.process.send_signal(how)
    code = server.process.wait(40)
    assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    return time.monotonic() - started


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_training_survives_restarts_in_the_same_attempt(new_daemon, tmp_path, how):
    server = new_daemon(configuration=ALLOW, arguments=("--port", str(free_port())))
    client = server.client()
    upload(client)
    go = tmp_path / "go"
    job, unwanted = create_patient(client, go), create_patient(client, tmp_path / "never")
    pid, other = pid_of(server, job), pid_of(server, unwanted)
    client.close()
    for number in range(1, 7):  # more restarts than a job has attempts
        took = end(server, how)
        assert took < 5, f"the stop took {took:.1f} s of the 10 that requests may take: it waited for the training"
        assert alive(pid) and alive(other), "the trainer ended with the daemon"
        server.start()
        # The lease is 30 s long: it was not waited for.
        wait_until(lambda: queue_row(server, job)[:2] == (1, number + 1), 5, f"nobody attends to it: {queue_row(server, job)}")
    client = server.client()
    now = look(client, job)
    assert (now["state"], now["attempt"]) == ("running", 1) and pid_of(server, job) == pid
    state, attempt, most = queue_row(server, job)
    assert most - attempt == 4, "restarts were counted as failures"
    assert client.delete(f"/api/v1/training/jobs/{unwanted}").status == 200
    wait_until(lambda: not alive(other), 10, "a cancelled training that was found again goes on")
    go.touch()
    done = wait_state(client, job, "succeeded")
    assert done["attempt"] == 1 and log_of(client, job).count("is here") == 1
    assert [one["sha256"] for one in versions(client)] == [hashlib.sha256(b"made by attempt 1\n").hexdigest()]
    wait_until(lambda: no_directories(server), 10, "directories stay")
    client.close()
    server.stop()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_training_that_ended_while_the_daemon_was_down_is_started_again(new_daemon, tmp_path, how):
    server = new_daemon(configuration=ALLOW, arguments=("--port", str(free_port())))
    client = server.client()
    upload(client)
    go = tmp_path / "go"
    job = create_patient(client, go)
    pid = pid_of(server, job)
    client.close()
    end(server, how)
    os.kill(pid, signal.SIGKILL)
    go.touch()
    server.start()
    client = server.client()
    assert wait_state(client, job, "succeeded")["attempt"] == 2
    client.close()
    server.stop()


# ---- two nodes


def two_nodes(new_daemon, lease_seconds=3):
    """Two daemons on one database and one storage."""
    jobs = f"jobs {{ lease_seconds = {lease_seconds} }}\n"
    first = new_daemon(configuration=ALLOW + jobs)
    second = new_daemon(with_state=False, dev=False, configuration=ALLOW + jobs +
                        f'database {{ socket = "{first.state}/mariadb/mariadb.sock", user = "root", name = "purlin" }}\n'
                        f'plugin "storage-fs" {{ root = "{first.state}/blobs" }}\n', start=False)
    return first, second


def join(first, second):
    second.state.mkdir(exist_ok=True)
    (second.state / "admin.token").write_text(first.token)
    second.start()
    second.token = first.token


def told(server, pid):
    """What the trainer was told: its addresses and its token."""
    (path,) = (server.state / "runs").glob(f"{pid}-*/training.json")
    return json.loads(path.read_text())


def try_to_take_effect(client, training):
    """As an attempt that does not know yet that it is over: whatever it does is refused, with its own address and with its successor's."""
    report = {"state": "succeeded", "framework": "constant", "signature": SIGNATURE, "log": "from the dead", "metrics": [{"key": "ghost", "value": 1}]}
    address = {name: urllib.parse.urlparse(training[f"{name}_url"]).path for name in ("dataset", "artifact", "callback")}
    for path in (lambda text: text, lambda text: text.replace("/1/", "/2/")):
        for answer in (client.get(path(address["dataset"]), token=training["token"]),
                       client.put(path(address["artifact"]) + "/model", b"made by nobody", token=training["token"]),
                       client.post(path(address["callback"]), {"message": "boo", "progress": 0.5}, token=training["token"]),
                       client.post(path(address["callback"]), report, token=training["token"])):
            assert answer.status == 401, answer


def test_of_two_attempts_one_takes_effect(new_daemon, tmp_path):
    """A node is stopped (SIGSTOP) past its lease; another one starts a second attempt, which succeeds. Then the first node and its
    trainer go on: nothing of what they do counts."""
    first, second = two_nodes(new_daemon)
    client = first.client()
    upload(client)
    go = tmp_path / "go"
    job = create_patient(client, go)
    old = pid_of(first, job)
    wait_until(lambda: "attempt 1 is here" in log_of(client, job), 10, "the first attempt says nothing")
    training = told(first, old)
    client.close()
    # As if the first node were another machine: its process cannot be seen from the second one.
    sql(first, f"UPDATE training_jobs SET boot = 'of another machine' WHERE id = '{job}'")
    join(first, second)
    first.process.send_signal(signal.SIGSTOP)
    try:
        new = pid_of(first, job, attempt=2)
        assert alive(old) and new != old
        client = second.client()
        try_to_take_effect(client, training)
        go.touch()  # for both
        done = wait_state(client, job, "succeeded")
        assert (done["attempt"], done["version"]) == (2, 1)
        try_to_take_effect(client, training)
    finally:
        first.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not alive(old), 30, "the first trainer does not notice that it is over")
    time.sleep(2)
    assert look(client, job) == done, "the first attempt changed what the second one had done"
    assert [one["sha256"] for one in versions(client)] == [hashlib.sha256(b"made by attempt 2\n").hexdigest()]
    assert sql(first, f"SELECT DISTINCT attempt FROM training_artifacts WHERE job_id = '{job}'") == [["2"]], "an artifact of the first attempt was kept"
    wait_until(lambda: queue_row(first, job)[:2] == (2, 2), 10, "the job in the queue does not end")
    events = sql(first, f"SELECT COUNT(*) FROM events_log WHERE name = 'training.finished' AND event_key = '{job}'")
    assert events == [["1"]], "its end was told twice"
    assert "dead" not in log_of(client, job) and "ghost" not in [metric["key"] for metric in done["metrics"]]
    client.close()
    second.stop()
    first.stop()


def test_node_that_lost_its_lease_records_nothing(new_daemon, tmp_path):
    """The same trainer, found by the second node: the first one, when it goes on, must not end the job that is another's now."""
    first, second = two_nodes(new_daemon)
    client = first.client()
    upload(client)
    job = create_patient(client, tmp_path / "never")
    pid = pid_of(first, job)
    client.close()
    join(first, second)
    first.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: queue_row(first, job)[:2] == (1, 2), 20, "the second node does not take it over")
        assert alive(pid) and look(second.client(), job)["attempt"] == 1, "the second node found the trainer, which is on the same machine"
        time.sleep(1)  # by now it waits for its end
        # While the first node stands still its trainer dies: both will see it, one may act on it.
        os.kill(pid, signal.SIGKILL)
        again = pid_of(first, job, attempt=2)
    finally:
        first.process.send_signal(signal.SIGCONT)
    time.sleep(2)
    client = second.client()
    now = look(client, job)
    assert (now["state"], now["attempt"]) == ("running", 2) and alive(again), f"the first node ended the second one's attempt: {now}"
    assert log_of(client, job).count("(attempt ") == 1, "both nodes recorded the end of an attempt"
    row = sql(first, f"SELECT pid, token_hash IS NOT NULL FROM training_jobs WHERE id = '{job}'")
    assert row == [[str(again), "1"]], "the first node took the token of the second one's attempt away"
    assert client.delete(f"/api/v1/training/jobs/{job}").status == 200
    wait_until(lambda: not alive(again), 10, "the cancelled training goes on")
    client.close()
    second.stop()
    first.stop()


# ---- memory

EATER = "import sys\nprint('hungry', flush=True)\nfood = [bytearray(50 << 20) for _ in range(40)]\n"


def test_command_that_needs_too_much_memory(new_daemon):
    server = new_daemon(configuration=ALLOW + 'plugin "training" { memory_mb = 400 }\n')
    client = server.client()
    upload(client)
    job = create(client, "process", {"command": [sys.executable, "-c", EATER], "framework": "constant", "signature": SIGNATURE})
    failed = wait_state(client, job, "failed")
    for text in (failed["message"], log_of(client, job)):
        assert "memory_mb" in text and "400 MiB" in text and "MemoryError" in text, text
    assert failed["attempt"] == 1, "what failed with a report is not tried again"
    modest = create(client, "process", {"command": [sys.executable, "-c", "open('model.txt', 'w').write('x'); food = bytearray(100 << 20)"],
                                        "model_file": "model.txt", "framework": "constant", "signature": SIGNATURE})
    wait_state(client, modest, "succeeded")
    client.close()
    server.stop()


@pytest.mark.skipif(not (daemon.PLUGINS / "trainer-xgboost.so").exists(), reason="no libxgboost")
def test_xgboost_that_needs_too_much_memory(new_daemon):
    server = new_daemon(configuration='plugin "training" { memory_mb = 40 }\n')
    client = server.client()
    upload(client, 100000)
    job = create(client, "xgboost", {"label": "label", "rounds": 50, "max_depth": 12, "threads": 1})
    failed = wait_state(client, job, "failed", 60)
    for text in (failed["message"], log_of(client, job)):
        assert "memory_mb" in text and "40 MiB" in text, text
    client.close()
    server.stop()


def test_default_limit_is_three_quarters_of_the_machine(new_daemon, tmp_path):
    server = new_daemon(configuration=ALLOW)
    client = server.client()
    upload(client)
    job = create_patient(client, tmp_path / "never")
    pid = pid_of(server, job)
    wait_until(lambda: "is here" in log_of(client, job), 10, "it says nothing")
    with open(f"/proc/{pid}/limits") as limits:
        limit = next(int(line.split()[3]) for line in limits if line.startswith("Max data size"))
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0.74 * whole < limit <= 0.75 * whole
    assert client.delete(f"/api/v1/training/jobs/{job}").status == 200
    wait_until(lambda: pid not in processes_marked(server.mark) and not alive(pid), 10, "it goes on")
    client.close()
    server.stop()
