/* parse.c: llhttp over a whole head, between our own checks.
 *
 * The parser lives on the stack for one call: it sees one head, from its first byte to its last, and is paused at the end of
 * the headers. So it keeps no state between requests, an idle connection pays nothing for it, and "Upgrade" and CONNECT
 * cannot swallow what follows: bytes after the head never reach it. */
#include "http/head.h"

#include <llhttp.h>

typedef struct parsing {
  llhttp_t parser;
  const char *data;
  http_head *head;
  http_refusal refusal;
  bool complete;
} parsing;

static int stop(parsing *p, http_refusal refusal) {
  p->refusal = refusal;
  return HPE_USER;
}

static uint32_t place(const parsing *p, const char *at) { return (uint32_t)(at - p->data); }

static int on_name(llhttp_t *parser, const char *at, size_t size) {
  parsing *p = parser->data;
  http_head *head = p->head;
  if (head->field_count == head->field_capacity) return stop(p, HTTP_REFUSE(431, "there are too many headers"));
  http_field *field = &head->fields[head->field_count++];
  field->name = (http_slice){place(p, at), (uint32_t)size};
  field->value = (http_slice){field->name.at + field->name.size, 0};
  return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t size) {
  parsing *p = parser->data;
  if (p->head->field_count == 0) return stop(p, HTTP_REFUSE(400, "a header has no name"));
  http_field *field = &p->head->fields[p->head->field_count - 1];
  if (field->value.size != 0) return stop(p, HTTP_REFUSE(400, "a header is folded over two lines"));
  while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t')) size--;
  if (size == 0) return 0; /* it may be placed on the next line: an empty value stays where its name ends */
  field->value = (http_slice){place(p, at), (uint32_t)size};
  return 0;
}

static int on_headers_complete(llhttp_t *parser) {
  parsing *p = parser->data;
  p->complete = true;
  return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name, .on_header_value = on_value, .on_headers_complete = on_headers_complete};

static http_refusal refused_by_parser(llhttp_errno_t error) {
  switch (error) {
  case HPE_INVALID_METHOD: return HTTP_REFUSE(501, "this server does not know the method");
  case HPE_INVALID_VERSION: return HTTP_REFUSE(505, "this server speaks HTTP/1.1 and HTTP/1.0");
  case HPE_INVALID_URL: return HTTP_REFUSE(400, "the address is malformed");
  case HPE_INVALID_CONTENT_LENGTH:
  case HPE_UNEXPECTED_CONTENT_LENGTH:
    return HTTP_REFUSE(400, "Content-Length is malformed, given twice, or beside Transfer-Encoding");
  case HPE_INVALID_TRANSFER_ENCODING: return HTTP_REFUSE(400, "the only Transfer-Encoding is 'chunked'");
  default: return HTTP_REFUSE(400, "the headers are malformed");
  }
}

static http_refusal run_parser(const char *data, size_t size, http_head *head) {
  parsing p = {.data = data, .head = head};
  llhttp_init(&p.parser, HTTP_REQUEST, &settings);
  p.parser.data = &p;
  llhttp_errno_t error = llhttp_execute(&p.parser, data, size);
  if (p.refusal.status != 0) return p.refusal;
  /* CONNECT never comes here, and an upgrade is paused only later than where we pause. */
  if (p.complete && error == HPE_PAUSED) return HTTP_ACCEPTED;
  return error == HPE_OK ? HTTP_REFUSE(400, "the headers are malformed") : refused_by_parser(error);
}

http_refusal http_parse_head(const http_scan *scan, const http_limits *limits, const char *data, size_t size,
                             http_head *head) {
  http_field *fields = head->fields;
  uint32_t capacity = head->field_capacity;
  *head = (http_head){.fields = fields, .field_capacity = capacity};
  const char *feed = memchr(data, '\n', size);
  if (feed == NULL || feed == data) return HTTP_REFUSE(400, "this is no request line");
  size_t line_size = (size_t)(feed - data) - 1;
  if (size - line_size > limits->max_header_bytes + 4) return HTTP_REFUSE(431, "the headers are too large");
  http_refusal refusal = http_strict_line(data, line_size, limits, head);
  if (refusal.status == 0) refusal = run_parser(data, size, head);
  if (refusal.status != 0) return refusal;
  /* A parser that saw other headers than we saw lines read something else than we did. */
  if (head->field_count + 1 != scan->lines) return HTTP_REFUSE(400, "the headers are malformed");
  for (size_t i = 0; i < head->field_count && refusal.status == 0; i++) refusal = http_strict_field(data, &head->fields[i]);
  return refusal.status != 0 ? refusal : http_strict_framing(data, head);
}
