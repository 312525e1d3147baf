-- When to retrain, and when to promote. Edit it: saving is enough, a mistake is refused and the old rule goes on.
--
-- In one sentence: retrain when the champion is worse than it promised, or when an input drifts and that is news; judge the challenger on the
-- newest rows, which neither it nor the champion has learned from; promote it only if it wins there.
--
-- Nothing is remembered here. What was done before stands in the labels of the training jobs, so that a restart forgets nothing and an
-- event that is delivered twice is answered once.

local WINDOW   = 4000   -- labelled rows to learn from (the newest)
local LEAST    = 1500   -- with fewer there is no retraining yet
local HOLD_OUT = 500    -- the newest of them judge the challenger
local COOLDOWN = 1000   -- labelled rows between two retrains, refused ones included; not below HOLD_OUT
local NEWS     = 8000   -- for so many labelled rows the drift of an input that caused a retrain is no news
local BUDGET   = 20     -- retrains of an endpoint, then people decide

local TRAINER = "xgboost"
local SPECIFICATION = {
  label = "class", rounds = 100, max_depth = 6, eta = 0.1,
  min_child_weight = 10, -- few and noisy rows: a leaf should not rest on four of them
  seed = 0, threads = 1,
}

local op = purlin.op

-- The retrains of an endpoint so far: how many, at which row the last one began, which inputs caused one when, and whether one is under way.
local function history(endpoint, model)
  local past = { retrains = 0, last = nil, caused = {}, running = false, causes = {}, judged = {} }
  for _, job in ipairs(op.training.list_jobs{ model = model, limit = 1000 }.jobs) do
    local labels = job.labels
    if labels.endpoint == endpoint and labels.stage then
      if job.state == "queued" or job.state == "running" then past.running = true end
      if labels.stage == "judge" then
        past.retrains = past.retrains + 1
        past.last = math.max(past.last or 0, labels.labelled)
        past.causes[job.cause] = job.id
        for _, name in ipairs(labels.news or {}) do past.caused[name] = math.max(past.caused[name] or 0, labels.labelled) end
      else
        past.judged[labels.judge] = job.id
      end
    end
  end
  return past
end

-- Why not to retrain now, or nil and the inputs whose drift is news.
local function objection(alert, past)
  local row = alert.labelled
  if past.running then return "a retrain is running" end
  if past.last and row - past.last < COOLDOWN then return ("cooldown: the last retrain was %d rows ago"):format(row - past.last) end
  if past.retrains >= BUDGET then return ("the budget of %d retrains is spent"):format(BUDGET) end
  if row < LEAST then return ("only %d labelled rows so far"):format(row) end
  local news = {}
  for _, input in ipairs(alert.features or {}) do
    local before = past.caused[input.name]
    if not before or row - before >= NEWS then news[#news + 1] = input.name end
  end
  if not alert.accuracy_alert and #news == 0 then return "this drift was answered before; accuracy decides" end
  return nil, news
end

local function train(of, stage, cause, labels)
  labels.stage = stage
  return op.training.create_job{
    trainer = TRAINER, specification = SPECIFICATION, model = of.model, registers = stage == "final",
    dataset = of.dataset, dataset_version = of.dataset_version,
    validation_rows = stage == "judge" and HOLD_OUT or 0,
    cause = cause, labels = labels,
  }
end

purlin.on("drift.alert", function(event)
  local alert = event.payload
  local past = history(alert.endpoint, alert.model)
  local job_id = past.causes[alert.alert_id] -- there already when the event is delivered twice
  local why_not, news
  if not job_id then why_not, news = objection(alert, past) end
  if not job_id and not why_not then
    local rows = op.serving.export{
      endpoint = alert.endpoint, from = math.max(0, alert.labelled - WINDOW), to = alert.labelled,
      dataset = alert.endpoint .. "-recent", origin = "for a retrain caused by " .. alert.alert_id,
    }
    local job = train({ model = alert.model, dataset = rows.dataset, dataset_version = rows.version }, "judge", alert.alert_id, {
      endpoint = alert.endpoint, labelled = alert.labelled, rows = rows.rows, news = #news > 0 and news or nil,
      champion = alert.version, accuracy = alert.accuracy, baseline = alert.baseline_accuracy,
    })
    job_id = job.id
  end
  local answer = why_not or "retrain " .. job_id
  op.drift.answer_alerts{ endpoint = alert.endpoint, labelled = alert.labelled, answer = answer }
  purlin.log.info(("%s at row %d of %s: %s"):format(alert.kind, alert.labelled, alert.endpoint, answer))
end)

-- The challenger has been trained without the newest rows: it and the champion are tried on them.
local function judge(job)
  local labels = op.training.get_job{ job_id = job.job_id }.labels
  if labels.verdict then return end
  if job.state ~= "succeeded" then
    labels.verdict = job.state
  else
    local champion = op.serving.evaluate{
      model = job.model, version = tostring(labels.champion), dataset = job.dataset, dataset_version = job.dataset_version,
      first_row = labels.rows - HOLD_OUT, rows = HOLD_OUT,
    }
    labels.champion_accuracy, labels.challenger_accuracy = champion.accuracy, job.metrics["validation_accuracy"]
    labels.verdict = labels.challenger_accuracy > labels.champion_accuracy and "won" or "refused"
  end
  -- The recipe that won learns from all rows, the newest included: that model is deployed, not the very one that was judged.
  if labels.verdict == "won" and not history(labels.endpoint, job.model).judged[job.job_id] then
    train(job, "final", job.cause, {
      endpoint = labels.endpoint, labelled = labels.labelled, judge = job.job_id, baseline = labels.challenger_accuracy,
    })
  end
  op.training.label_job{ job_id = job.job_id, labels = labels }
  purlin.log.info(("challenger of %s %s: %.3f against %.3f"):format(labels.endpoint, labels.verdict, labels.challenger_accuracy or 0,
                                                                   labels.champion_accuracy or 0))
end

local function promote(job)
  local labels = op.training.get_job{ job_id = job.job_id }.labels
  if labels.deployed or job.state ~= "succeeded" then return end
  local now = op.serving.deploy{ name = labels.endpoint, model = job.model, version = tostring(job.version), cause = job.cause }
  op.drift.set_champion{
    endpoint = labels.endpoint, model = job.model, version = job.version, since = now.labelled,
    dataset = job.dataset, dataset_version = job.dataset_version, baseline_accuracy = labels.baseline,
  }
  labels.deployed = now.labelled
  op.training.label_job{ job_id = job.job_id, labels = labels }
end

purlin.on("training.finished", function(event)
  local job = event.payload
  local stage = job.labels.endpoint and job.labels.stage
  if stage == "judge" then judge(job) elseif stage == "final" then promote(job) end
end)
