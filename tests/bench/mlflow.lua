-- What wrk sends to an MLflow server, in the very bodies of the official client. wrk ... -- CASE FILE: the file says what
-- goes with the case: `return { token = "...", experiment = "...", runs = { ... }, ... }`.
local case, given, count = nil, nil, 0
local now = os.time() * 1000
local METRIC = '{"run_uuid": "%s", "key": "loss", "value": %.6f, "timestamp": %d, "step": %d, "run_id": "%s"}'
local CREATE = '{"experiment_id": "%s", "user_id": "bench", "run_name": "train", "start_time": %d, "tags": [{"key": "mlflow.user", "value": "bench"}, '
  .. '{"key": "mlflow.source.name", "value": "train.py"}, {"key": "mlflow.source.type", "value": "LOCAL"}, {"key": "mlflow.runName", "value": "train"}]}'

local headers = { ["Content-Type"] = "application/json", ["User-Agent"] = "mlflow-python-client/3.17.2", ["X-MLflow-Client-Version"] = "3.17.2" }
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local function post(path, body)
  return wrk.format("POST", "/api/2.0/mlflow/" .. path, headers, body)
end

-- One batch of `keys` metrics over `steps` steps each; its texts that stay are made once.
local function batch(run, keys, steps, first)
  local parts = {}
  for key = 1, keys do
    for step = first, first + steps - 1 do
      parts[#parts + 1] = string.format('{"key": "metric-%d", "value": %.6f, "timestamp": %d, "step": %d}', key, (step * 7 + key) % 1000 / 1000, now + step, step)
    end
  end
  return '{"run_id": "' .. run .. '", "metrics": [' .. table.concat(parts, ", ") .. "]}"
end

local cases = {}

function cases.log_metric()
  local run = given.runs[count % #given.runs + 1]
  return post("runs/log-metric", METRIC:format(run, count % 1000 / 1000, now + count, count, run))
end

function cases.log_batch()
  local run = given.runs[count % #given.runs + 1]
  return post("runs/log-batch", batch(run, 10, 100, math.floor(count / #given.runs) * 100))
end

function cases.create_run()
  return post("runs/create", CREATE:format(given.experiment, now + count))
end

function cases.get_run()
  local run = given.runs[count * 7919 % #given.runs + 1]
  return wrk.format("GET", "/api/2.0/mlflow/runs/get?run_uuid=" .. run .. "&run_id=" .. run, headers)
end

function cases.search()
  return post("runs/search", given.body)
end

-- A training: creates its run, logs 50 batches of 10 metrics, a parameter and a tag, and ends. One connection a thread.
local run, at = nil, 0
function cases.training()
  local step = at
  if step == 0 then return post("runs/create", CREATE:format(given.experiment, now + count)) end
  if step <= 50 then return post("runs/log-batch", batch(run, 10, 1, step)) end
  if step == 51 then return post("runs/log-parameter", ('{"run_uuid": "%s", "key": "depth", "value": "6", "run_id": "%s"}'):format(run, run)) end
  if step == 52 then return post("runs/set-tag", ('{"run_uuid": "%s", "key": "stage", "value": "final", "run_id": "%s"}'):format(run, run)) end
  return post("runs/update", ('{"run_uuid": "%s", "status": "FINISHED", "end_time": %d, "run_id": "%s"}'):format(run, now + count, run))
end

-- wrk asks for a request once more than it sends: what comes next follows from the answers.
local function answered(status, _, body)
  if status ~= 200 then return end
  if at == 0 then run = body:match('"run_id": ?"([^"]+)"') end
  at = (at + 1) % 54
end

function init(args)
  given = dofile(args[2])
  if given.token then headers["Authorization"] = "Bearer " .. given.token end
  case = cases[args[1]]
  count = (given.first or 0) + number * 1000000
  if args[1] == "training" then response = answered end
end

function request()
  count = count + 1
  return case()
end
