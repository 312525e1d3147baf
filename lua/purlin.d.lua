---@meta purlin
-- The table `purlin` that every script finds: annotations for the Lua language server. Nothing here is ever run.
-- "Waits" means that the run is set aside while others go on; its time runs on.

---@class purlin
---@field op table<string, table<string, fun(input?: table): table>>  every operation of every plugin: purlin.op.registry.create_model{ name = "churn" }. Waits. Errors are purlin.Error
---@field null lightuserdata  JSON's null where it must be kept: in purlin.json and purlin.shared. Elsewhere a member that is null is nil
purlin = {}

---What a failed call raises. pcall catches it; tostring(e) is its message with the place.
---@class purlin.Error
---@field status integer  as over HTTP: 400, 403, 404, 409, 429, 503, 504, ...
---@field error string    "not-found", "conflict", "invalid", ...
---@field message string
---@field fields { field: string, message: string }[]  what is wrong with which member of the input; empty otherwise

-- ---- While the script is loaded ------------------------------------------------------------------------------------------------

---Answers a policy point. Only one script may answer a point. The function must return within the time of the point (by default a
---second, waiting included); if it fails or is late, the point's answer for failures counts.
---@param point string  "serving.promote"
---@param answer fun(question: table): table
function purlin.policy(point, answer) end

---@class purlin.Event
---@field sequence integer
---@field id string
---@field name string       "drift.alert"
---@field key string        the id of what it is about
---@field workspace string
---@field project string
---@field actor string      who caused it
---@field at number         seconds since 1970
---@field payload table

---Hears an event, also one that happened while the server was down. Each event is delivered at least once, in order; when the function
---fails it is delivered again later, with backoff, and set aside after 8 attempts.
---@param event string
---@param run fun(event: purlin.Event)
function purlin.on(event, run) end

---@class purlin.Request
---@field method string
---@field path string
---@field address string   of the client
---@field body string      read when it is asked for, at most 8 MiB. Waits
local request = {}
---@param name string  in any case
---@return string?
function request:header(name) end
---@param name string
---@return string?
function request:query(name) end
---@param name string  {name} in the address
---@return string?
function request:parameter(name) end
---The body as JSON. Waits.
---@return any
function request:json() end

---@class purlin.Response
---@field status? integer      200
---@field headers? table<string, string>
---@field media_type? string   by default text/plain for a text, application/json for anything else
---@field body? any            a text is sent as it is, anything else as JSON

---Answers requests. An error of an operation that the function does not catch is answered as that operation would be.
---@param http string  "GET /hello/{name}"
---@param options { permission: string, summary?: string, timeout_ms?: integer }  permission "public": anyone
---@param answer fun(request: purlin.Request): purlin.Response|string
function purlin.route(http, options, answer) end

-- ---- In a policy, rule or route -------------------------------------------------------------------------------------------------

---The workspace and the project that this run belongs to, and who acts: in a policy or rule "rule:FILE".
---@return string
function purlin.workspace() end
---@return string
function purlin.project() end
---@return string
function purlin.actor() end

purlin.log = {}
---One value is logged as it is; with more, the first is a format of string.format.
---@param format any
function purlin.log.debug(format, ...) end
---@param format any
function purlin.log.info(format, ...) end
---@param format any
function purlin.log.warning(format, ...) end
---@param format any
function purlin.log.error(format, ...) end

purlin.json = {}
---@param value any  tables with members 1..n are lists, others objects; an empty one is an object unless purlin.array made it
---@return string
function purlin.json.encode(value) end
---@param text string
---@return any
function purlin.json.decode(text) end
---Marks a table as a list, so that it stays one when it is empty.
---@param list? any[]
---@return any[]
function purlin.array(list) end

purlin.db = {}
---Reads rows: at most 10,000. A value stands for each '?'. Only SELECT: things are changed by operations. Tables of users' data have a
---column `workspace`: name it in WHERE. Waits.
---@param sql string
---@param ... string|number|boolean|nil
---@return table[]
function purlin.db.query(sql, ...) end

---@class purlin.HttpCall
---@field url string
---@field method? string
---@field headers? table<string, string>
---@field body? string
---@field json? any            sent as JSON instead of body
---@field timeout_ms? integer  of each attempt: 10,000
---@field retries? integer     further attempts after 429, 502, 503, 504 or a lost connection: 0
---@class purlin.HttpAnswer
---@field status integer
---@field body string
---@field media_type string
---@field location string

purlin.http = {}
---Each waits. An answer of any status is an answer; none at all is an error.
---@param call purlin.HttpCall
---@return purlin.HttpAnswer
function purlin.http.get(call) end
---@param call purlin.HttpCall
---@return purlin.HttpAnswer
function purlin.http.post(call) end
---@param call purlin.HttpCall
---@return purlin.HttpAnswer
function purlin.http.request(call) end

purlin.jobs = {}
---Puts a job into the durable queue. Waits.
---@param name string  "reports.send_report"
---@param payload? table
---@param options? { priority?: integer, delay_ms?: integer, unique_key?: string }
---@return string id
function purlin.jobs.enqueue(name, payload, options) end

purlin.events = {}
---Announces something, durably. Waits.
---@param name string  "rule.SOMETHING"
---@param key string   what it is about
---@param payload? table
function purlin.events.emit(name, key, payload) end

purlin.metrics = {}
---Each is shown at /metrics as purlin_rule_NAME. The names of the labels must be the same each time.
---@param name string  ends with _total
---@param by? number
---@param labels? table<string, string>
function purlin.metrics.count(name, by, labels) end
---@param name string
---@param value number
---@param labels? table<string, string>
function purlin.metrics.gauge(name, value, labels) end
---@param name string
---@param value number
---@param labels? table<string, string>
function purlin.metrics.observe(name, value, labels) end

---Values that all scripts on all threads see, copied in and out; gone when the server stops. 256 KiB each, 64 MiB in all.
purlin.shared = {}
---@param key string
---@return any value, integer version  version 0: there is none
function purlin.shared.get(key) end
---@param key string
---@param value any
---@param seconds? number  to live
---@return integer version
function purlin.shared.set(key, value, seconds) end
---Adds to a number, which begins at 0. Without `seconds` it keeps the time that it has.
---@param key string
---@param by? number
---@param seconds? number
---@return number
function purlin.shared.incr(key, by, seconds) end
---Sets if the version is still the one that get() told.
---@param key string
---@param version integer
---@param value any
---@param seconds? number
---@return boolean
function purlin.shared.cas(key, version, value, seconds) end
---@param key string
---@return boolean existed
function purlin.shared.delete(key) end

purlin.time = {}
---@return number seconds since 1970
function purlin.time.now() end
---@return number seconds of a clock that never jumps
function purlin.time.monotonic() end
---Waits.
---@param seconds number
function purlin.time.sleep(seconds) end
---@param seconds? number  since 1970; now
---@return string  "2024-05-01T12:00:00Z"
function purlin.time.format(seconds) end
---@param text string
---@return number seconds since 1970
function purlin.time.parse(text) end
