/* trace.c: W3C trace context: new ids, and the continuation of a caller's. */
#include "core/text.h"
#include "loop/context.h"
#include <string.h>

/* Ids must be unique, not secret: a generator per thread (xorshift128+), seeded once, instead of a system call each. */
static uint64_t random_bits(void) {
  static _Thread_local uint64_t state[2];
  if (!(state[0] | state[1])) text_random(state, sizeof state);
  uint64_t x = state[0], y = state[1];
  state[0] = y;
  x ^= x << 23;
  state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
  return state[1] + y;
}

/* `words` (1 or 2) * 16 hexadecimal digits, never all zero, which the standard forbids. */
static void new_id(char *out, size_t words) {
  uint64_t id[2] = {random_bits(), words > 1 ? random_bits() : 0};
  if (!id[0]) id[0] = 1;
  text_hex(id, words * sizeof id[0], out);
}

/* Lower-case hexadecimal only, and not all zeros where that means "none". */
static bool is_hex(const char *text, size_t size, bool zeros_allowed) {
  bool any = false;
  for (size_t i = 0; i < size; i++) {
    bool digit = text[i] >= '0' && text[i] <= '9';
    if (!digit && !(text[i] >= 'a' && text[i] <= 'f')) return false;
    any = any || text[i] != '0';
  }
  return any || zeros_allowed;
}

/* version "-" trace id "-" parent id "-" flags; later versions may go on with "-..." */
static bool is_traceparent(const char *text) {
  enum { TRACE = 3, PARENT = 36, FLAGS = 53, END = 55 };
  if (strnlen(text, END) < END || text[2] != '-' || text[PARENT - 1] != '-' || text[FLAGS - 1] != '-') return false;
  if (!is_hex(text, 2, true) || memcmp(text, "ff", 2) == 0) return false;
  if (!is_hex(text + TRACE, 32, false) || !is_hex(text + PARENT, 16, false) || !is_hex(text + FLAGS, 2, true)) return false;
  return text[END] == 0 || (text[END] == '-' && memcmp(text, "00", 2) != 0);
}

bool context_trace_from(purlin_ctx *ctx, const char *traceparent) {
  context_trace *trace = &ctx->trace;
  new_id(trace->span_id, 1);
  if (!traceparent || !is_traceparent(traceparent)) {
    new_id(trace->trace_id, 2);
    trace->parent_span_id[0] = 0;
    trace->sampled = false;
    return false;
  }
  memcpy(trace->trace_id, traceparent + 3, 32);
  memcpy(trace->parent_span_id, traceparent + 36, 16);
  trace->trace_id[32] = 0;
  trace->parent_span_id[16] = 0;
  char low = traceparent[54]; /* bit 0 of the flags: '1', '3', ..., '9', 'b', 'd', 'f' */
  trace->sampled = (low <= '9' ? low - '0' : low - 'a' + 10) % 2 == 1;
  return true;
}
