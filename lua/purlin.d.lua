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

---@class purlin.Due
---@field name string  the name that it was given
---@field due number   when it was due, in seconds since 1970

---Comes round: every so many seconds, or when a cron text says. Each time it runs once in the cluster, as the job
---"purlin.call_periodic", in the workspace "default"; a run that lasts longer than its interval puts off the next, and a time that was
---missed by more than a minute, because no server ran, is left out. When the function fails it is tried again, 3 times in all.
---@param when number|string  whole seconds, from 1; or "15 3 * * *" (minute hour day month weekday), "@hourly", "@every 90s"
---@param name string         what it is called in logs, jobs and scripts.list; each once in a script
---@param run fun(what: purlin.Due)
---@param options? { time_zone?: string }  of a cron text: "Europe/Brussels"; UTC
function purlin.every(when, name, run, options) end

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
---@field headers? table<string, string|purlin.Secret>
---@field media_type? string   by default text/plain for a text, application/json for anything else
---@field body? any            a text is sent as it is, anything else as JSON

---Answers requests. An error of an operation that the function does not catch is answered as that operation would be.
---A public route does not look at a token, so that it answers while the database is away, and acts as nobody. With
---identity = "optional" it acts as whoever holds the token that was sent, or as nobody when none was; a token that nobody holds is
---refused with 401.
---@param http string  "GET /hello/{name}"
---@param options { permission: string, identity?: "none"|"optional", summary?: string, timeout_ms?: integer }  permission "public": anyone
---@param answer fun(request: purlin.Request): purlin.Response|string
function purlin.route(http, options, answer) end

-- ---- In a policy, a rule, a route or what comes round -------------------------------------------------------------------------------------------------

---The workspace and the project that this run belongs to, and who acts: "rule:FILE", or in a route whoever sent the request; nil when
---nobody is known, as in a public route.
---@return string
function purlin.workspace() end
---@return string
function purlin.project() end
---@return string?
function purlin.actor() end
---Whether who acts holds a permission such as "models:write".
---@param permission string
---@return boolean
function purlin.permitted(permission) end

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
---Reads rows: at most 10,000. A value stands for each '?'. Only SELECT: things are changed by operations, or by execute. Tables of users' data have a
---column `workspace`: name it in WHERE. Waits.
---@param sql string
---@param ... string|number|boolean|nil
---@return table[]
function purlin.db.query(sql, ...) end
---Changes rows: INSERT, UPDATE, DELETE or REPLACE, with a value for each '?'; committed when it returns. Only for scripts that
---lua { writers = { "cleanup.lua" } } in purlin.lua names, and never in a policy, which only decides. Prefer operations: nothing is
---checked, audited or announced here. Tables of plugins change with their releases: write to your own, made by hand, and to
---theirs only what their README offers. Waits.
---@param sql string
---@param ... string|number|boolean|nil
---@return integer affected  rows that were found, changed or not
---@return integer inserted  the AUTO_INCREMENT value that was made, or 0
function purlin.db.execute(sql, ...) end
---The same for several statements in one transaction: all of them or, when one fails, none. Within a list write purlin.null for NULL.
---On a deadlock they run again. Waits.
---@param statements table[]  { { "UPDATE a SET b = ? WHERE c = ?", 1, "x" }, { "DELETE FROM d" } }; 100 at most
---@return integer[] affected
function purlin.db.execute_all(statements) end

---@class purlin.HttpCall
---@field url string
---@field method? string
---@field headers? table<string, string|purlin.Secret>
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

---@class purlin.Secret
---@operator concat(string): purlin.Secret
---A secret of the workspace that the script runs in, by its name ("vault:NAME": of the provider "vault"). The script never has its
---value: purlin.http puts that in its place when it sends the header:
---`headers = { Authorization = "Bearer " .. purlin.secret("slack-token") }`. tostring() tells the name.
---@param name string
---@return purlin.Secret
function purlin.secret(name) end

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
