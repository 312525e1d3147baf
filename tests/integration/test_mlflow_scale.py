"""Many runs, large runs, and many clients at one run."""
import concurrent.futures

import pytest

from daemon import unique

API = "/api/2.0/mlflow"
HANDLERS = "SHOW GLOBAL STATUS LIKE 'Handler_read%'"


def ok(answer):
    assert answer.status == 200, answer
    return answer.json


def fill(server, experiment, count):
    """Runs of an experiment, a second apart, each with two metrics, a parameter and a tag. Run n has the id EXPERIMENT-00000n."""
    began = "TIMESTAMP'2024-01-01 00:00:00' + INTERVAL n SECOND"
    each = f"(SELECT CONCAT('{experiment}-', LPAD(seq, 6, '0')) AS id, seq AS n FROM seq_0_to_{count - 1}) r"
    whose = "workspace, project, experiment_id"
    of = f"SELECT 'default', 'default', '{experiment}'"
    server.sql(f"INSERT INTO tracking_runs ({whose}, id, name, status, created_at, started_at, created_by) {of}, id, 'r', 'finished', {began}, {began}, 'x' FROM {each};"
               f"INSERT INTO tracking_latest_metrics ({whose}, run_id, name, step, at, value) {of}, id, k, 0, {began}, RAND(n) FROM {each}"
               " JOIN (SELECT 'accuracy' AS k UNION SELECT 'loss') k;"
               f"INSERT INTO tracking_parameters ({whose}, run_id, started_at, name, value) {of}, id, {began}, 'depth', n MOD 7 FROM {each};"
               f"INSERT INTO tracking_tags ({whose}, run_id, started_at, name, value) {of}, id, {began}, 'team', n MOD 10 FROM {each}")
    return [f"{experiment}-{n:06}" for n in range(count)]


@pytest.fixture
def experiment(client):
    return ok(client.post(f"{API}/experiments/create", {"name": unique("scale")}))["experiment_id"]


def touched(server, ask):
    """Rows that are read for a request, the least of several: the daemon reads for itself now and then."""
    ask()
    found = []
    for _ in range(5):
        before = {name: int(value) for name, value in server.sql(HANDLERS)}
        ask()
        found.append(sum(int(value) - before[name] for name, value in server.sql(HANDLERS)))
    return min(found)


def test_reads_touch_as_many_rows_among_many_runs_as_among_few(server, client):
    counted = []
    for count in (1000, 10_000):
        experiment = ok(client.post(f"{API}/experiments/create", {"name": unique("scale")}))["experiment_id"]
        runs = fill(server, experiment, count)

        def search(first=runs[-1], **asked):
            found = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "max_results": 20, **asked}))
            assert len(found["runs"]) == 20 and (first is None or found["runs"][0]["info"]["run_id"] == first)
            return found["next_page_token"]

        by_loss = {"order_by": ["metrics.loss ASC"]}
        second, second_by_loss = search(), search(None, **by_loss)
        counted.append([touched(server, lambda: ok(client.get(f"{API}/runs/get?run_id={runs[count // 2]}"))),
                        touched(server, search), touched(server, lambda: search(runs[-21], page_token=second)),
                        touched(server, lambda: search(runs[0], order_by=["start_time ASC"])),
                        touched(server, lambda: search(None, order_by=["metrics.accuracy DESC"])), touched(server, lambda: search(None, **by_loss)),
                        touched(server, lambda: search(None, page_token=second_by_loss, **by_loss))])
    few, many = counted
    # The daemon looks for work now and then; a read that went through runs would touch thousands.
    assert all(b <= a + 40 for a, b in zip(few, many)), counted
    # Conditions: the newest with a tag, the best with a parameter, and what hardly any run fulfils. 10,000 runs have 50,000 rows.
    for one in ({"filter": "tags.team = '3'"}, {"filter": "params.depth = '3' AND tags.team != '5'"}, {"filter": "params.depth = '3'", "order_by": ["metrics.loss"]},
                {"filter": "metrics.accuracy > 0.5 AND metrics.loss > 0.5"}, {"filter": "metrics.accuracy < 0.01 AND tags.team LIKE '%'", "order_by": ["metrics.loss"]}):
        assert touched(server, lambda: search(None, **one)) < 8000, one


def test_a_page_ends_where_an_answer_would_be_too_large(server, client, experiment):
    runs = fill(server, experiment, 50)
    server.sql("INSERT INTO tracking_parameters (workspace, project, experiment_id, run_id, started_at, name, value) SELECT 'default', 'default',"
               f" '{experiment}', r.id, r.started_at, CONCAT('p', seq), REPEAT('x', 6000) FROM tracking_runs r JOIN seq_1_to_80 WHERE r.experiment_id = '{experiment}'")
    for order in ([], ["metrics.loss DESC"]):
        seen, sizes, token = [], [], ""
        while True:
            page = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "order_by": order, "max_results": 1000, "page_token": token}))
            assert all(len(run["data"]["params"]) == 81 for run in page["runs"])
            seen += [run["info"]["run_id"] for run in page["runs"]]
            sizes.append(len(page["runs"]))
            token = page.get("next_page_token")
            if not token:
                break
        assert len(sizes) > 1 and sizes[0] >= 20 and sorted(seen) == runs, sizes
        assert order or seen == runs[::-1]


def test_many_clients_at_one_run(server, client, experiment):
    run = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]
    metrics = [{"key": f"m{n % 20}", "value": n, "timestamp": 1 + n, "step": n} for n in range(200)]

    def work(n):
        mine = server.client()
        try:
            mine.post(f"{API}/runs/set-tag", {"run_id": run, "key": "who", "value": str(n)})
            ok(mine.post(f"{API}/runs/log-batch", {"run_id": run, "metrics": metrics, "params": [{"key": "same", "value": "1"}], "tags": [{"key": "t", "value": str(n)}]}))
            ok(mine.post(f"{API}/runs/log-metric", {"run_id": run, "key": "each", "value": n, "timestamp": 1, "step": n}))
            return n, mine.post(f"{API}/runs/log-parameter", {"run_id": run, "key": "first", "value": str(n)})
        finally:
            mine.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = dict(pool.map(work, range(16)))
    taken = [n for n, answer in answers.items() if answer.status == 200]
    assert len(taken) == 1
    for n, answer in answers.items():
        assert n in taken or (answer.status == 400 and f"already logged with value='{taken[0]}'" in answer.json["message"]), answer
    data = ok(client.get(f"{API}/runs/get?run_id={run}"))["run"]["data"]
    assert {one["key"]: one["value"] for one in data["params"]} == {"first": str(taken[0]), "same": "1"}
    assert {one["key"]: one["step"] for one in data["metrics"]} == {"each": 15, **{f"m{n}": 180 + n for n in range(20)}}
    for key, count in (("m7", 10), ("each", 16)):
        assert len(ok(client.get(f"{API}/metrics/get-history?run_id={run}&metric_key={key}"))["metrics"]) == count


@pytest.mark.parametrize("key, fits", [("ä/ü " + "é" * 246, True), ("x" * 250, True), ("a/b/c d:e-f_g.h", True), ("é" * 251, False), ("x" * 251, False)])
def test_long_keys_in_any_script(client, experiment, key, fits):
    run = ok(client.post(f"{API}/runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]
    bodies = (("log-metric", {"key": key, "value": 1, "timestamp": 1}), ("log-parameter", {"key": key, "value": "v"}), ("set-tag", {"key": key, "value": "v"}),
              ("log-batch", {"metrics": [{"key": key, "value": 2, "timestamp": 2, "step": 1}], "tags": [{"key": key, "value": "w"}]}))
    for path, body in bodies:
        answer = client.post(f"{API}/runs/{path}", {"run_id": run, **body})
        assert answer.status == (200 if fits else 400) and (fits or answer.json["error_code"] == "INVALID_PARAMETER_VALUE"), answer
    data = ok(client.get(f"{API}/runs/get?run_id={run}"))["run"]["data"]
    assert [one["key"] for one in data["metrics"] + data["params"]] == [key] * (2 * fits)
    if fits:
        found = ok(client.post(f"{API}/runs/search", {"experiment_ids": [experiment], "filter": f"metrics.`{key}` = 2 AND params.`{key}` = 'v' AND tags.`{key}` LIKE 'w%'"}))
        assert [one["info"]["run_id"] for one in found["runs"]] == [run]
