#include "traces.h"
#include <string.h>

enum { MOST_NAME = 250, MOST_VALUE = 8000, MOST_SESSION = 250, MOST_RUN_ID = 256 };

static const char *const write_pairs[][2] = {
    [TRACES_TAGS] = {"INSERT INTO traces_tags (workspace, project, trace, name, value) VALUES (?, ?, ?, ?, ?)"
                     " ON DUPLICATE KEY UPDATE value = value",
                     "INSERT INTO traces_tags (workspace, project, trace, name, value) VALUES (?, ?, ?, ?, ?)"
                     " ON DUPLICATE KEY UPDATE value = VALUES(value)"},
    [TRACES_METADATA] = {"INSERT INTO traces_metadata (workspace, project, trace, name, value) VALUES (?, ?, ?, ?, ?)"
                         " ON DUPLICATE KEY UPDATE value = value",
                         "INSERT INTO traces_metadata (workspace, project, trace, name, value) VALUES (?, ?, ?, ?, ?)"
                         " ON DUPLICATE KEY UPDATE value = VALUES(value)"},
    [TRACES_LINKS] = {"INSERT INTO traces_links (workspace, project, trace, kind, target) VALUES (?, ?, ?, ?, ?)"
                      " ON DUPLICATE KEY UPDATE target = target",
                      "INSERT INTO traces_links (workspace, project, trace, kind, target) VALUES (?, ?, ?, ?, ?)"
                      " ON DUPLICATE KEY UPDATE target = target"},
};
static const char SET_SESSION[] = "UPDATE traces_traces SET session_id = ? WHERE number = ?";

const char *traces_cut(purlin_ctx *ctx, const char *text, size_t characters) {
  size_t at = 0, seen = 0;
  for (; text[at]; at++)
    if (((unsigned char)text[at] & 0xC0) != 0x80 && ++seen > characters) return purlin_copy_bytes(ctx, text, at);
  return text;
}

purlin_status traces_add_pair(purlin_ctx *ctx, pair_rows *rows, const trace_place *of, const char *name,
                              const char *value) {
  if (rows->count == rows->room) {
    size_t room = rows->room ? rows->room * 2 : 16;
    pair_row *items = purlin_alloc_array(ctx, room, sizeof *items);
    if (!items) return PURLIN_TOO_LARGE;
    if (rows->count > 0) memcpy(items, rows->items, rows->count * sizeof *items);
    rows->items = items;
    rows->room = room;
  }
  value = traces_cut(ctx, value, MOST_VALUE);
  if (!value) return PURLIN_TOO_LARGE;
  rows->items[rows->count++] = (pair_row){purlin_workspace(ctx), of->project, of->number, name, value};
  return PURLIN_OK;
}

purlin_status traces_add_pairs(purlin_ctx *ctx, pair_rows *rows, const trace_place *of, const tracking_pair *pairs,
                               size_t count) {
  for (size_t i = 0; i < count; i++) {
    const char *cut = traces_cut(ctx, pairs[i].key, MOST_NAME);
    if (!cut) return PURLIN_TOO_LARGE;
    if (cut != pairs[i].key || !*cut)
      return purlin_fail(ctx, PURLIN_INVALID, "the key '%.60s...' has more than %d characters, or none", pairs[i].key,
                         MOST_NAME);
    purlin_status status = traces_add_pair(ctx, rows, of, cut, pairs[i].value ? pairs[i].value : "");
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

purlin_status traces_write_pairs(purlin_ctx *ctx, pair_table table, const pair_rows *rows, bool replace) {
  return purlin_db_bulk(ctx, pair_row, rows->items, rows->count, write_pairs[table][replace]);
}

purlin_status traces_follow_metadata(purlin_ctx *ctx, const trace_place *of, const tracking_pair *pairs, size_t count) {
  pair_rows links = {0};
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    const char *value = pairs[i].value ? pairs[i].value : "";
    if (strcmp(pairs[i].key, METADATA_SESSION) == 0) {
      value = traces_cut(ctx, value, MOST_SESSION);
      status = value ? purlin_db_run(ctx, SET_SESSION, value, of->number) : PURLIN_TOO_LARGE;
    } else if (strcmp(pairs[i].key, METADATA_RUN) == 0 && *value && strlen(value) <= MOST_RUN_ID) {
      status = traces_add_pair(ctx, &links, of, "run", value);
    }
  }
  return status == PURLIN_OK ? traces_write_pairs(ctx, TRACES_LINKS, &links, false) : status;
}
