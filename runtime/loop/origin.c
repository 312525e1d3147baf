/* What a context contributes to a log record: observe/ lies below and asks by this function. */
#include "loop/context.h"
#include "loop/internal.h"
#include "observe/log.h"

static void read_origin(const purlin_ctx *ctx, log_origin *origin) {
  *origin = (log_origin){.trace_id = ctx->trace.trace_id,
                         .workspace = ctx->workspace,
                         .plugin = ctx->plugin,
                         .job = ctx->job,
                         .operation = ctx->operation,
                         .actor = ctx->actor};
}

void context_register_origin(void) { log_set_origin_reader(read_origin); }
