/* export.c: the log as newline-delimited JSON: the newest head, then a line for each entry that it covers. What the leaf is the hash of
 * are the bytes between "entry": and the line's last brace. Of other workspaces there is the hash alone, and so of what was erased: the
 * whole tree can be computed by anybody who may read a part of it. */
#include "audit/head.h"
#include "audit/internal.h"
#include "audit/rows.h"
#include "core/text.h"
#include <purlin/route.h>
#include <string.h>

enum { PAGE = 200 };

static const char NEWEST[] =
    "SELECT s.origin, h.size, h.root, h.at, h.signer, h.signature FROM audit_heads h, audit_state s WHERE s.id = 1"
    " ORDER BY h.size DESC LIMIT 1";
static const char SELECT_LEAVES[] =
    "SELECT position, leaf_index AS sequence, leaf, workspace = ? AS mine, " AUDIT_COLUMNS " FROM audit_entries"
    " WHERE leaf_index >= ? AND leaf_index < ? ORDER BY leaf_index LIMIT ?";
typedef PURLIN_LIST_OF(audit_row) row_list;

static void add_line(const audit_row *row, buffer *out) {
  char leaf[65];
  text_hex(row->leaf.data, row->leaf.size <= 32 ? row->leaf.size : 0, leaf);
  buffer_format(out, "{\"sequence\":%lld,\"leaf\":\"%s\",", (long long)row->sequence.value, leaf);
  if (!row->mine.value) buffer_text(out, "\"withheld\":true}\n");
  else if (row->erased) buffer_text(out, "\"erased\":true}\n");
  else {
    const audit_entry entry = {row->id,          row->at,         row->workspace, row->project,
                               row->actor,       row->credential, row->address,   row->operation,
                               row->object,      row->outcome,    row->trace_id,  row->input,
                               row->input_bytes, row->input_hash, row->before,    row->after};
    buffer_text(out, "\"entry\":");
    schema_encode(audit_entry_schema(), &entry, SCHEMA_PUBLIC, out);
    buffer_text(out, "}\n");
  }
}

static purlin_status send_page(purlin_ctx *ctx, purlin_request *request, int64_t *next, int64_t end, size_t *count) {
  row_list rows = {0};
  purlin_status status = purlin_db_list(ctx, audit_row, &rows, SELECT_LEAVES, purlin_workspace(ctx), *next, end, PAGE);
  *count = rows.count;
  if (status != PURLIN_OK || rows.count == 0) return status;
  buffer lines = {0};
  for (size_t i = 0; i < rows.count; i++) add_line(&rows.items[i], &lines);
  *next = rows.items[rows.count - 1].sequence.value + 1;
  status = lines.failed ? purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory")
                        : purlin_write(ctx, request, lines.data, lines.size);
  buffer_free(&lines);
  return status;
}

PURLIN_ROUTE(audit_export, "GET /api/v1/audit/export",
    .summary = "The audit log as newline-delimited JSON, for purlin audit verify", .permission = "audit:read",
    .answer = "application/x-ndjson", .timeout_ms = UINT32_MAX) {
  audit_head head;
  purlin_status status = purlin_db_row(ctx, audit_head, &head, NEWEST);
  if (status == PURLIN_NOT_FOUND) {
    purlin_retry_after(ctx, 5);
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the log has no signed head yet: it takes a few seconds");
  }
  if (status != PURLIN_OK) return status;
  purlin_json first;
  status = purlin_encode(ctx, audit_head_schema(), &head, &first);
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, 200, "application/x-ndjson", -1);
  if (status == PURLIN_OK) status = purlin_write(ctx, request, first.text, first.size);
  if (status == PURLIN_OK) status = purlin_write(ctx, request, "\n", 1);
  size_t count = PAGE;
  for (int64_t next = 0; status == PURLIN_OK && count > 0 && next < head.size;) {
    purlin_mark mark = purlin_arena_mark(ctx);
    status = send_page(ctx, request, &next, head.size, &count);
    purlin_arena_reset(ctx, mark);
  }
  return status;
}
