#include "otlp.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Protocol buffers are read in place: a message is a row of fields, each a number, a wire type and a value. */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static bool take_varint(otlp_bytes *bytes, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; shift < 70 && bytes->at < bytes->end; shift += 7) {
    uint8_t byte = *bytes->at++;
    if (shift == 63 && byte > 1) return false;
    *value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

static bool take_fixed(otlp_bytes *bytes, size_t size, uint64_t *value) {
  if ((size_t)(bytes->end - bytes->at) < size) return false;
  *value = 0;
  for (size_t i = 0; i < size; i++) *value |= (uint64_t)bytes->at[i] << (8 * i);
  bytes->at += size;
  return true;
}

static bool take_bytes(otlp_bytes *bytes, otlp_bytes *out) {
  uint64_t size;
  if (!take_varint(bytes, &size) || size > (uint64_t)(bytes->end - bytes->at)) return false;
  *out = (otlp_bytes){bytes->at, bytes->at + size};
  bytes->at += size;
  return true;
}

bool otlp_next(otlp_bytes *bytes, otlp_item *item, bool *broken) {
  uint64_t tag;
  *broken = false;
  if (bytes->at >= bytes->end) return false;
  *broken = true;
  if (!take_varint(bytes, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return false;
  *item = (otlp_item){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
  switch (item->wire) {
  case WIRE_VARINT: *broken = !take_varint(bytes, &item->value); break;
  case WIRE_FIXED64: *broken = !take_fixed(bytes, 8, &item->value); break;
  case WIRE_FIXED32: *broken = !take_fixed(bytes, 4, &item->value); break;
  case WIRE_BYTES: *broken = !take_bytes(bytes, &item->bytes); break;
  default: break; /* groups are history */
  }
  return !*broken;
}

/* ---- Into JSON ------------------------------------------------------------------------------------------------------------------- */

static const uint32_t wires[] = {
    [OTLP_TEXT] = WIRE_BYTES,     [OTLP_BYTES] = WIRE_BYTES,   [OTLP_ID] = WIRE_BYTES,        [OTLP_BOOL] = WIRE_VARINT,
    [OTLP_INT] = WIRE_VARINT,     [OTLP_SMALL] = WIRE_VARINT,  [OTLP_FIXED64] = WIRE_FIXED64, [OTLP_FIXED32] = WIRE_FIXED32,
    [OTLP_DOUBLE] = WIRE_FIXED64, [OTLP_MESSAGE] = WIRE_BYTES,
};

static void put_number(growing *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_number(growing *out, const char *format, ...) {
  char text[64];
  va_list values;
  va_start(values, format);
  int size = vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (size > 0 && (size_t)size < sizeof text) growing_put(out, text, (size_t)size);
}

static void put_double(growing *out, uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  growing_double(out, value);
}

static void put_hex(growing *out, otlp_bytes bytes) {
  static const char digits[] = "0123456789abcdef";
  growing_char(out, '"');
  for (const uint8_t *at = bytes.at; at < bytes.end; at++) {
    char pair[] = {digits[*at >> 4], digits[*at & 15]};
    growing_put(out, pair, sizeof pair);
  }
  growing_char(out, '"');
}

static void put_base64(growing *out, otlp_bytes bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  growing_char(out, '"');
  for (const uint8_t *at = bytes.at; at < bytes.end; at += 3) {
    size_t left = (size_t)(bytes.end - at);
    uint32_t three = (uint32_t)at[0] << 16 | (left > 1 ? (uint32_t)at[1] << 8 : 0) | (left > 2 ? at[2] : 0);
    char four[] = {digits[three >> 18], digits[three >> 12 & 63], left > 1 ? digits[three >> 6 & 63] : '=',
                   left > 2 ? digits[three & 63] : '='};
    growing_put(out, four, sizeof four);
    if (left < 3) break;
  }
  growing_char(out, '"');
}

static bool put_message(growing *out, const otlp_message *message, otlp_bytes bytes, unsigned depth);

static bool put_value(growing *out, const otlp_field *field, const otlp_item *item, unsigned depth) {
  switch (field->kind) {
  case OTLP_TEXT: growing_quoted(out, (const char *)item->bytes.at, (size_t)(item->bytes.end - item->bytes.at)); break;
  case OTLP_BYTES: put_base64(out, item->bytes); break;
  case OTLP_ID: put_hex(out, item->bytes); break;
  case OTLP_BOOL: growing_text(out, item->value ? "true" : "false"); break;
  case OTLP_INT: put_number(out, "\"%" PRId64 "\"", (int64_t)item->value); break;
  case OTLP_FIXED64: put_number(out, "\"%" PRIu64 "\"", item->value); break;
  case OTLP_SMALL: put_number(out, "%" PRId32, (int32_t)(uint32_t)item->value); break;
  case OTLP_FIXED32: put_number(out, "%" PRIu32, (uint32_t)item->value); break;
  case OTLP_DOUBLE: put_double(out, item->value); break;
  case OTLP_MESSAGE: return put_message(out, field->of, item->bytes, depth + 1);
  }
  return true;
}

static void put_name(growing *out, const otlp_field *field, bool *first) {
  growing_text(out, *first ? "\"" : ",\"");
  growing_text(out, field->name);
  growing_text(out, "\":");
  *first = false;
}

/* All of a repeated field, which may lie apart; the last of another one. */
static bool put_field(growing *out, const otlp_field *field, otlp_bytes bytes, unsigned depth, bool *first) {
  otlp_item item, last = {0};
  bool broken, found = false;
  while (otlp_next(&bytes, &item, &broken)) {
    if (item.number != field->number || item.wire != wires[field->kind]) continue;
    if (!field->repeated) last = item;
    else if (!found) put_name(out, field, first);
    if (field->repeated) {
      growing_char(out, found ? ',' : '[');
      if (!put_value(out, field, &item, depth)) return false;
    }
    found = true;
  }
  if (!found) return true;
  if (field->repeated) {
    growing_char(out, ']');
    return true;
  }
  put_name(out, field, first);
  return put_value(out, field, &last, depth);
}

static const otlp_field *find_field(const otlp_message *message, const otlp_item *item) {
  for (size_t i = 0; i < message->count; i++)
    if (message->fields[i].number == item->number && wires[message->fields[i].kind] == item->wire)
      return &message->fields[i];
  return NULL;
}

static bool put_message(growing *out, const otlp_message *message, otlp_bytes bytes, unsigned depth) {
  otlp_bytes rest = bytes;
  otlp_item item;
  uint64_t present = 0;
  bool broken, first = true;
  if (depth > OTLP_DEEPEST) return false;
  while (otlp_next(&rest, &item, &broken)) {
    const otlp_field *field = find_field(message, &item);
    if (!field) continue;
    if (message->one_of) present = 0;
    present |= UINT64_C(1) << (field - message->fields);
  }
  if (broken) return false;
  growing_char(out, '{');
  for (size_t i = 0; i < message->count && !out->failed; i++)
    if (present >> i & 1 && !put_field(out, &message->fields[i], bytes, depth, &first)) return false;
  growing_char(out, '}');
  return true;
}

bool otlp_from_protobuf(growing *out, const otlp_message *message, otlp_bytes bytes) {
  return put_message(out, message, bytes, 0);
}
