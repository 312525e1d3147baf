#include "access/quota.h"
#include "access/access.h"
#include "access/rate.h"
#include "db/db.h"
#include <purlin/metric.h>
#include <purlin/operation.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(quota_refused_total, "Calls refused because a workspace has all of a quota that it may have", "quota");

PURLIN_MIGRATION(
    quota_0001, "quota_0001_limits",
    "CREATE TABLE purlin_quotas (\n"
    "  workspace   VARCHAR(64) NOT NULL COMMENT 'empty: the number of changes, which tells nodes to read again',\n"
    "  name        VARCHAR(64) NOT NULL,\n"
    "  used        BIGINT      NOT NULL COMMENT 'what there is, where a limit is set',\n"
    "  quota_limit BIGINT      NULL,\n"
    "  PRIMARY KEY (workspace, name)\n"
    ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
    "INSERT INTO purlin_quotas VALUES ('', 'changes', 0, NULL);\n")

enum { MOST_QUOTAS = 64, REFRESH_MS = 900, LONGEST_WORKSPACE = 64 };

/* Those that nobody takes: a rate, and what is counted from leases. */
PURLIN_QUOTA(requests, .summary = "Requests of everybody together", .unit = "requests a minute");
PURLIN_QUOTA(jobs, .summary = "Jobs that run at once", .unit = "jobs",
    .count = "SELECT COUNT(*) AS used FROM purlin_jobs FORCE INDEX (claim) WHERE state = 1 AND lease_until > NOW(6) AND workspace = ?");

/* ---- What is declared -------------------------------------------------------------------------------------------------------------- */

/* Written at start only. */
static const purlin_quota *quotas[MOST_QUOTAS];
static size_t quota_count;

static bool is_taken(const purlin_quota *quota) { return quota != &requests_quota && quota != &jobs_quota; }

static const purlin_quota *find(const char *name) {
  for (size_t i = 0; i < quota_count; i++)
    if (strcmp(quotas[i]->name, name) == 0) return quotas[i];
  return NULL;
}

purlin_status quotas_register(const char *plugin, const purlin_quota *quota, buffer *why) {
  if (!quota->summary || !quota->unit || (!quota->count && is_taken(quota))) {
    buffer_format(why, "the quota '%s' of '%s' needs .summary, .unit and .count", quota->name, plugin);
    return PURLIN_INVALID;
  }
  if (find(quota->name) || quota_count == MOST_QUOTAS) {
    buffer_format(why, "the quota '%s' of '%s': %s", quota->name, plugin,
                  find(quota->name) ? "there is one of this name already" : "there are too many");
    return PURLIN_CONFLICT;
  }
  quotas[quota_count++] = quota;
  return PURLIN_OK;
}

/* ---- The limits, in memory ------------------------------------------------------------------------------------------------------------ */

typedef struct limit {
  const purlin_quota *quota;
  int64_t most;
  char workspace[LONGEST_WORKSPACE + 1];
} limit;

static struct {
  pthread_rwlock_t lock;
  atomic_size_t count; /* 0: nobody need look */
  limit *items;        /* under the lock; by workspace */
  int64_t seen;        /* the number of changes; of loop 0 */
} limits = {.lock = PTHREAD_RWLOCK_INITIALIZER, .seen = -1};

static bool limit_of(const char *workspace, const purlin_quota *quota, int64_t *most) {
  if (atomic_load_explicit(&limits.count, memory_order_relaxed) == 0) return false;
  bool found = false;
  (void)pthread_rwlock_rdlock(&limits.lock);
  size_t first = 0, last = atomic_load(&limits.count);
  while (first < last) {
    size_t middle = first + (last - first) / 2;
    if (strcmp(limits.items[middle].workspace, workspace) < 0) first = middle + 1;
    else last = middle;
  }
  for (size_t i = first, count = atomic_load(&limits.count); i < count; i++) {
    if (strcmp(limits.items[i].workspace, workspace) != 0) break;
    found = limits.items[i].quota == quota;
    if (found) *most = limits.items[i].most;
    if (found) break;
  }
  (void)pthread_rwlock_unlock(&limits.lock);
  return found;
}

bool quotas_requests(const char *workspace, int64_t *per_minute) {
  return limit_of(workspace, &requests_quota, per_minute);
}
bool quotas_jobs(const char *workspace, int64_t *at_once) { return limit_of(workspace, &jobs_quota, at_once); }

static void replace_limits(limit *items, size_t count) {
  (void)pthread_rwlock_wrlock(&limits.lock);
  limit *old = limits.items;
  limits.items = items;
  atomic_store(&limits.count, count);
  (void)pthread_rwlock_unlock(&limits.lock);
  free(old);
}

/* A limit that was met in its row, before the next look at the changes. Without memory, and where there is one, nothing happens. */
static void remember(const char *workspace, const purlin_quota *quota, int64_t most) {
  size_t size = strlen(workspace), at = 0;
  if (size > LONGEST_WORKSPACE || (quota == &requests_quota && rates_prepare() != PURLIN_OK)) return;
  (void)pthread_rwlock_wrlock(&limits.lock);
  size_t known = atomic_load(&limits.count);
  while (at < known && strcmp(limits.items[at].workspace, workspace) < 0) at++;
  bool there = false;
  for (size_t i = at; i < known && !there && strcmp(limits.items[i].workspace, workspace) == 0; i++)
    there = limits.items[i].quota == quota;
  limit *items = there ? NULL : realloc(limits.items, (known + 1) * sizeof *items);
  if (items) {
    memmove(items + at + 1, items + at, (known - at) * sizeof *items);
    items[at] = (limit){.quota = quota, .most = most};
    memcpy(items[at].workspace, workspace, size + 1);
    limits.items = items;
    atomic_store(&limits.count, known + 1);
  }
  (void)pthread_rwlock_unlock(&limits.lock);
}

typedef struct quota_row {
  const char *workspace, *name;
  int64_t used;
  purlin_opt_int quota_limit;
} quota_row;
PURLIN_SCHEMA(quota_row, "A row of purlin_quotas",
    PURLIN_REQUIRED(workspace, "Whose"),
    PURLIN_REQUIRED(name, "Of what"),
    PURLIN_REQUIRED(used, "How much there is"),
    PURLIN_OPTIONAL(quota_limit, "How much may be"));
typedef PURLIN_LIST_OF(quota_row) quota_rows;

typedef struct used_row {
  int64_t used;
} used_row;
PURLIN_SCHEMA(used_row, "A count", PURLIN_REQUIRED(used, "How much"));

static const char CHANGES[] = "SELECT used FROM purlin_quotas WHERE workspace = '' AND name = 'changes'";
static const char ALL_LIMITS[] = "SELECT workspace, name, used, quota_limit FROM purlin_quotas"
                                 " WHERE quota_limit IS NOT NULL AND workspace > '' ORDER BY workspace, name";

static purlin_status take_limits(purlin_ctx *ctx, const quota_rows *rows) {
  limit *items = calloc(rows->count + 1, sizeof *items);
  size_t count = 0;
  if (!items) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  for (size_t i = 0; i < rows->count; i++) {
    const quota_row *row = &rows->items[i];
    const purlin_quota *quota = find(row->name); /* NULL: its plugin is not loaded */
    size_t size = strlen(row->workspace);
    if (!quota || size > LONGEST_WORKSPACE) continue;
    if (quota == &requests_quota && rates_prepare() != PURLIN_OK) continue;
    items[count] = (limit){.quota = quota, .most = row->quota_limit.value};
    memcpy(items[count++].workspace, row->workspace, size + 1);
  }
  replace_limits(items, count);
  return PURLIN_OK;
}

static purlin_status read_limits(purlin_ctx *ctx) {
  used_row changes = {0};
  quota_rows rows = {0};
  purlin_status status = purlin_db_row(ctx, used_row, &changes, CHANGES);
  if (status != PURLIN_OK || changes.used == limits.seen) return status;
  status = purlin_db_list(ctx, quota_row, &rows, ALL_LIMITS);
  if (status == PURLIN_OK) status = take_limits(ctx, &rows);
  if (status == PURLIN_OK) limits.seen = changes.used;
  return status;
}

static void refresh(purlin_ctx *ctx, void *argument) {
  (void)argument;
  if (loop_index(ctx->loop) != 0 || read_limits(ctx) == PURLIN_OK) return;
  purlin_log(ctx, PURLIN_WARNING, "the quotas of workspaces cannot be read: %s", purlin_failure(ctx));
  purlin_clear_failure(ctx);
}

purlin_status quotas_start(purlin_ctx *ctx) {
  purlin_status status = read_limits(ctx);
  return status == PURLIN_OK ? purlin_background(ctx, "quotas", REFRESH_MS, refresh, NULL) : status;
}

void quotas_stop(purlin_ctx *ctx) {
  if (purlin_background_stop(ctx, "quotas") != PURLIN_OK) purlin_clear_failure(ctx);
}

void quotas_end(void) {
  replace_limits(NULL, 0);
  limits.seen = -1;
  quota_count = 0;
}

/* ---- Taking ------------------------------------------------------------------------------------------------------------------------------ */

#define ROW_COLUMNS "SELECT workspace, name, used, quota_limit FROM purlin_quotas WHERE workspace = ? AND name = ?"
static const char READ_ROW[] = ROW_COLUMNS;
static const char SHARE_ROW[] = ROW_COLUMNS " LOCK IN SHARE MODE";
static const char LOCK_ROW[] = ROW_COLUMNS " FOR UPDATE";
/* Of several that make it one does, the others wait for it and then share its lock. */
static const char MAKE_ROW[] = "INSERT IGNORE INTO purlin_quotas (workspace, name, used) VALUES (?, ?, 0)";
static const char COUNT_ROW[] = "UPDATE purlin_quotas SET used = GREATEST(used + ?, 0) WHERE workspace = ? AND name = ?"
                                " AND quota_limit IS NOT NULL AND (? <= 0 OR ? <= quota_limit - used)";

static purlin_status refuse(purlin_ctx *ctx, const purlin_quota *quota, int64_t used, int64_t most, int64_t amount) {
  purlin_count(quota_refused_total, 1, quota->name);
  purlin_status status = quota->space ? PURLIN_NO_SPACE : PURLIN_TOO_MANY;
  const char *more = amount == 1 ? "" : purlin_format(ctx, ", and %lld more do not fit", (long long)amount);
  status = purlin_fail(ctx, status, "the workspace has %lld of at most %lld %s%s (the quota '%s')", (long long)used,
                       (long long)most, quota->unit, more ? more : "", quota->name);
  context_tell_failure(ctx);
  return status;
}

/* Where a limit is set. */
static purlin_status count(purlin_ctx *ctx, const purlin_quota *quota, int64_t amount) {
  const char *workspace = purlin_workspace(ctx);
  quota_row row = {0};
  for (int i = 0; i < 2; i++) {
    purlin_status status = purlin_db_run(ctx, COUNT_ROW, amount, workspace, quota->name, amount, amount);
    if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
    if (i == 1) break;
    /* Refused, or the limit has gone, or somebody gave back meanwhile: under the lock there is one answer. */
    status = purlin_db_row(ctx, quota_row, &row, LOCK_ROW, workspace, quota->name);
    if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
    if (status != PURLIN_OK || row.quota_limit.state != PURLIN_SET) return status;
    if (amount > row.quota_limit.value - row.used) break;
  }
  return refuse(ctx, quota, row.used, row.quota_limit.value, amount);
}

/* Where none is known of: holds whoever wants to set one until the transaction ends. */
static purlin_status share(purlin_ctx *ctx, const purlin_quota *quota, quota_row *row) {
  const char *workspace = purlin_workspace(ctx);
  purlin_status status = purlin_db_row(ctx, quota_row, row, SHARE_ROW, workspace, quota->name);
  if (status != PURLIN_NOT_FOUND) return status;
  status = purlin_db_run(ctx, MAKE_ROW, workspace, quota->name);
  return status == PURLIN_OK ? purlin_db_row(ctx, quota_row, row, SHARE_ROW, workspace, quota->name) : status;
}

purlin_status purlin_quota_take_(purlin_ctx *ctx, const purlin_quota *quota, int64_t amount) {
  int64_t most;
  if (amount == 0) return PURLIN_OK;
  if (!db_in_transaction(ctx))
    return purlin_fail(ctx, PURLIN_INTERNAL, "the quota '%s' was taken outside a transaction", quota->name);
  if (limit_of(purlin_workspace(ctx), quota, &most)) return count(ctx, quota, amount);
  quota_row row = {0};
  purlin_status status = share(ctx, quota, &row);
  if (status != PURLIN_OK || row.quota_limit.state != PURLIN_SET) return status;
  remember(purlin_workspace(ctx), quota, row.quota_limit.value);
  return count(ctx, quota, amount);
}

purlin_status purlin_quota_left_(purlin_ctx *ctx, const purlin_quota *quota, int64_t *left) {
  const char *workspace = purlin_workspace(ctx);
  quota_row row = {0};
  *left = INT64_MAX;
  int64_t most;
  if (!limit_of(workspace, quota, &most)) return PURLIN_OK;
  purlin_status status = purlin_db_row(ctx, quota_row, &row, READ_ROW, workspace, quota->name);
  if (status == PURLIN_OK && row.quota_limit.state == PURLIN_SET)
    *left = row.quota_limit.value > row.used ? row.quota_limit.value - row.used : 0;
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
}

purlin_status purlin_quota_refuse_(purlin_ctx *ctx, const purlin_quota *quota, int64_t amount, int64_t left) {
  int64_t most = left;
  (void)limit_of(purlin_workspace(ctx), quota, &most); /* it has just gone: then by what was left */
  return refuse(ctx, quota, most > left ? most - left : 0, most, amount);
}

/* ---- Operations ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct quota_view {
  const char *workspace, *name, *summary, *unit;
  purlin_opt_int limit, used;
} quota_view;
PURLIN_SCHEMA(quota_view, "How much of something a workspace may have",
    PURLIN_REQUIRED(workspace, "The workspace"),
    PURLIN_REQUIRED(name, "The quota"),
    PURLIN_REQUIRED(summary, "What is counted"),
    PURLIN_REQUIRED(unit, "In what"),
    PURLIN_OPTIONAL(limit, "How much there may be; absent: as much as you like"),
    PURLIN_OPTIONAL(used, "How much there is; absent where nothing accumulates"));

static purlin_status count_anew(purlin_ctx *ctx, const purlin_quota *quota, const char *workspace, int64_t *used) {
  used_row row = {0};
  purlin_status status = purlin_db_row(ctx, used_row, &row, quota->count, workspace);
  *used = row.used;
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
}

static purlin_status view(purlin_ctx *ctx, const purlin_quota *quota, const char *workspace, quota_view *out) {
  quota_row row = {0};
  purlin_status status = purlin_db_row(ctx, quota_row, &row, READ_ROW, workspace, quota->name);
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  bool limited = row.quota_limit.state == PURLIN_SET;
  *out = (quota_view){.workspace = workspace,
                      .name = quota->name,
                      .summary = quota->summary,
                      .unit = quota->unit,
                      .limit = row.quota_limit,
                      .used = {PURLIN_SET, row.used}};
  if (!limited) out->limit = (purlin_opt_int){PURLIN_ABSENT, 0};
  if (quota == &requests_quota) out->used = (purlin_opt_int){PURLIN_ABSENT, 0};
  else if (!limited || !is_taken(quota)) return count_anew(ctx, quota, workspace, &out->used.value);
  return PURLIN_OK;
}

static purlin_status need_administrator(purlin_ctx *ctx) {
  if (strcmp(purlin_workspace(ctx), "default") != 0)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "quotas are set by administrators of the server, in the workspace 'default'");
  return purlin_require_on(ctx, "workspaces:write", NULL, NULL);
}

static purlin_status find_workspace(purlin_ctx *ctx, const char *name) {
  used_row row;
  purlin_status status = purlin_db_row(ctx, used_row, &row, "SELECT 1 AS used FROM access_workspaces WHERE id = ?", name);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "there is no workspace '%s'", name) : status;
}

static purlin_status find_quota(purlin_ctx *ctx, const char *name, const purlin_quota **out) {
  *out = find(name);
  if (*out) return PURLIN_OK;
  const char *names = "";
  for (size_t i = 0; i < quota_count && names; i++)
    names = purlin_format(ctx, "%s%s%s", names, i ? ", " : "", quotas[i]->name);
  return names ? purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no quota '%s'; there are: %s", name, names)
               : PURLIN_TOO_LARGE;
}

typedef struct set_quota_in {
  const char *workspace, *name;
  purlin_opt_int limit;
} set_quota_in;
PURLIN_SCHEMA(set_quota_in, "How much a workspace may have",
    PURLIN_REQUIRED(workspace, "The workspace", .max_length = 64),
    PURLIN_REQUIRED(name, "The quota; access.list_quotas names them", .max_length = 64),
    PURLIN_OPTIONAL(limit, "At most so much; absent: as much as they like. Less than there is takes nothing away", .min = 0, .max = 9e15));

/* The row is there and locked when this has run, whether it was there before or not. */
static const char TAKE_ROW[] =
    "INSERT INTO purlin_quotas (workspace, name, used) VALUES (?, ?, 0) ON DUPLICATE KEY UPDATE name = VALUES(name)";
static const char SET_LIMIT[] = "UPDATE purlin_quotas SET used = ?, quota_limit = ? WHERE workspace = ? AND name = ?";
static const char COUNT_CHANGE[] = "UPDATE purlin_quotas SET used = used + 1 WHERE workspace = '' AND name = 'changes'";

typedef struct setting {
  const char *workspace;
  const purlin_quota *quota;
  int64_t most;
} setting;

static void on_set(void *argument) {
  const setting *s = argument;
  remember(s->workspace, s->quota, s->most);
}

static purlin_status tell_this_node(purlin_ctx *ctx, const purlin_quota *quota, const set_quota_in *in) {
  setting *s = purlin_alloc(ctx, sizeof *s);
  if (!s) return PURLIN_TOO_LARGE;
  *s = (setting){in->workspace, quota, in->limit.value};
  return in->limit.state == PURLIN_SET ? db_after_commit(ctx, on_set, s) : PURLIN_OK;
}

static purlin_status set_limit(purlin_ctx *ctx, const purlin_quota *quota, const set_quota_in *in) {
  quota_row row = {0};
  purlin_status status = purlin_db_run(ctx, TAKE_ROW, in->workspace, quota->name);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, quota_row, &row, LOCK_ROW, in->workspace, quota->name);
  if (status == PURLIN_OK && row.quota_limit.state != PURLIN_SET && is_taken(quota))
    status = count_anew(ctx, quota, in->workspace, &row.used); /* whoever took uncounted has committed: see share */
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_LIMIT, row.used, in->limit, in->workspace, quota->name);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, COUNT_CHANGE);
  return status == PURLIN_OK ? tell_this_node(ctx, quota, in) : status;
}

PURLIN_OPERATION(access_set_quota, set_quota_in, quota_view,
    .summary = "Limit what a workspace may have of something", .permission = "workspaces:write", .effect = PURLIN_CHANGES,
    .http = "PUT /api/v1/workspaces/{workspace}/quotas/{name}") {
  const purlin_quota *quota = NULL;
  purlin_status status = need_administrator(ctx);
  if (status == PURLIN_OK) status = find_workspace(ctx, in->workspace);
  if (status == PURLIN_OK) status = find_quota(ctx, in->name, &quota);
  if (status != PURLIN_OK) return status;
  if (quota == &requests_quota && in->limit.state == PURLIN_SET && in->limit.value == 0)
    return purlin_fail_field(ctx, "limit", "expected at least 1: nobody of the workspace could do anything");
  status = set_limit(ctx, quota, in);
  return status == PURLIN_OK ? view(ctx, quota, in->workspace, out) : status;
}

typedef struct list_quotas_in {
  const char *workspace;
} list_quotas_in;
PURLIN_SCHEMA(list_quotas_in, "Whose",
    PURLIN_DEFAULT(workspace, "\"\"", "Of this workspace, for administrators of the server; your own when it is empty", .max_length = 64));

typedef struct quota_page {
  PURLIN_LIST_OF(quota_view) quotas;
} quota_page;
PURLIN_SCHEMA(quota_page, "What a workspace has and may have", PURLIN_LIST(quotas, quota_view, "The quotas"));

PURLIN_OPERATION(access_list_quotas, list_quotas_in, quota_page,
    .summary = "How much your workspace has, and may have", .permission = "projects:read", .by_project = true, .http = "GET /api/v1/quotas") {
  const char *workspace = *in->workspace ? in->workspace : purlin_workspace(ctx);
  purlin_status status = PURLIN_OK;
  if (strcmp(workspace, purlin_workspace(ctx)) != 0) {
    status = need_administrator(ctx);
    if (status == PURLIN_OK) status = find_workspace(ctx, workspace);
  }
  out->quotas.items = purlin_alloc_array(ctx, quota_count + 1, sizeof *out->quotas.items);
  if (!out->quotas.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < quota_count && status == PURLIN_OK; i++)
    status = view(ctx, quotas[i], workspace, &out->quotas.items[out->quotas.count++]);
  return status;
}
