/* chunked.c: from the bytes behind a head to the body.
 *
 * We decode chunks ourselves: llhttp 8.1 takes any two bytes for the CR LF behind a chunk and Content-Length in trailers, no version
 * bounds the bytes of extensions, and a decoder that is asked for bytes (rather than one that calls back) is what holds the
 * client back while nobody reads. */
#include "http/head.h"

#include "core/text.h"

enum {
  SIZE,
  EXTENSION,
  QUOTED,
  QUOTED_PAIR,
  SIZE_FEED,
  DATA,
  DATA_RETURN,
  DATA_FEED,
  TRAILER_START,
  TRAILER_NAME,
  TRAILER_VALUE,
  TRAILER_FEED,
  LAST_FEED,
  ENDED
};

#define MOST_DIGITS 15 /* below 2^60: no sum of what we keep overflows */

void http_body_begin(http_body *body, const http_head *head) {
  *body = (http_body){.framing = FRAMING_NONE, .state = ENDED};
  if (head->chunked) *body = (http_body){.framing = FRAMING_CHUNKED, .state = SIZE};
  else if (head->length > 0) *body = (http_body){.framing = FRAMING_LENGTH, .state = DATA, .left = head->length};
}

bool http_body_ended(const http_body *body) { return body->state == ENDED; }

static const char broken[] = "the body's chunks are malformed";

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Fields that say where messages end or who asks must not come behind the body. */
static bool forbidden(const http_body *body) {
  static const char *const names[] = {
      "content-length",   "transfer-encoding", "host",          "connection", "trailer", "te",         "authorization",
      "content-encoding", "content-type",      "content-range", "expect",     "cookie",  "traceparent"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strlen(names[i]) == body->name_size && memcmp(names[i], body->name, body->name_size) == 0) return true;
  return false;
}

static http_refusal take_size(http_body *body, char c) {
  int digit = hex_digit(c);
  if (digit >= 0) {
    if (body->digits == MOST_DIGITS) return HTTP_REFUSE(400, "a chunk's size is not a sensible number");
    body->left = body->left * 16 + (uint64_t)digit;
    body->digits++;
    return HTTP_ACCEPTED;
  }
  if (body->digits == 0 || (c != '\r' && c != ';')) return HTTP_REFUSE(400, broken);
  body->digits = 0;
  body->state = c == ';' ? EXTENSION : SIZE_FEED;
  return HTTP_ACCEPTED;
}

static http_refusal count_overhead(http_body *body) {
  return ++body->overhead > HTTP_MAX_CHUNK_OVERHEAD
             ? HTTP_REFUSE(413, "the body has too many bytes of chunk extensions and trailers")
             : HTTP_ACCEPTED;
}

static http_refusal take_extension(http_body *body, char c) {
  if (body->state != QUOTED_PAIR && body->state != QUOTED && c == '\r') {
    body->state = SIZE_FEED;
    return HTTP_ACCEPTED;
  }
  if (!http_is_value(&c, 1)) return HTTP_REFUSE(400, broken);
  if (body->state == QUOTED_PAIR) body->state = QUOTED;
  else if (body->state == QUOTED && c == '\\') body->state = QUOTED_PAIR;
  else if (c == '"') body->state = body->state == QUOTED ? EXTENSION : QUOTED;
  return count_overhead(body);
}

static http_refusal take_trailer(http_body *body, char c) {
  if (body->state == TRAILER_START) {
    body->name_size = 0;
    body->state = c == '\r' ? LAST_FEED : TRAILER_NAME;
    if (c == '\r') return HTTP_ACCEPTED;
  }
  if (body->state == TRAILER_NAME && c == ':') {
    if (body->name_size == 0 || forbidden(body)) return HTTP_REFUSE(400, "a trailer holds a header that it must not");
    body->state = TRAILER_VALUE;
  } else if (body->state == TRAILER_NAME) {
    if (!http_is_token(&c, 1)) return HTTP_REFUSE(400, broken);
    if (body->name_size < sizeof body->name) body->name[body->name_size++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == '\r') {
    body->state = TRAILER_FEED;
  } else if (!http_is_value(&c, 1)) return HTTP_REFUSE(400, broken);
  return count_overhead(body);
}

/* A byte that is not of the body itself. */
static http_refusal take_byte(http_body *body, char c) {
  switch (body->state) {
  case SIZE: return take_size(body, c);
  case EXTENSION:
  case QUOTED:
  case QUOTED_PAIR: return take_extension(body, c);
  case TRAILER_START:
  case TRAILER_NAME:
  case TRAILER_VALUE: return take_trailer(body, c);
  case DATA_RETURN:
    if (c != '\r') return HTTP_REFUSE(400, broken);
    body->state = DATA_FEED;
    return HTTP_ACCEPTED;
  default: break; /* the four that wait for a line feed */
  }
  if (c != '\n') return HTTP_REFUSE(400, broken);
  if (body->state == SIZE_FEED) body->state = body->left == 0 ? TRAILER_START : DATA;
  else if (body->state == DATA_FEED) body->state = SIZE;
  else body->state = body->state == TRAILER_FEED ? TRAILER_START : ENDED;
  return HTTP_ACCEPTED;
}

http_refusal http_body_take(http_body *body, const char **data, size_t *size, char *out, size_t room, size_t *got) {
  *got = 0;
  while (*size > 0 && body->state != ENDED) {
    if (body->state != DATA) {
      http_refusal refusal = take_byte(body, **data);
      if (refusal.status != 0) return refusal;
      (*data)++;
      (*size)--;
      continue;
    }
    size_t count = *size < room - *got ? *size : room - *got;
    if (count > body->left) count = (size_t)body->left;
    if (count == 0) return HTTP_ACCEPTED;
    if (out != NULL) memcpy(out + *got, *data, count);
    *data += count;
    *size -= count;
    *got += count;
    body->left -= count;
    body->decoded += count;
    if (body->left == 0) body->state = body->framing == FRAMING_CHUNKED ? DATA_RETURN : ENDED;
  }
  return HTTP_ACCEPTED;
}
