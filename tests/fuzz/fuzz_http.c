/* fuzz_http.c: bytes of a client into the parser's glue, as a connection does it: heads in pieces, bodies, the next request.
 *
 * Also checked: a head cut into pieces is read like one that comes whole, and what was accepted keeps its promises. Built with
 * clang -fsanitize=fuzzer, or without it (FUZZ_STANDALONE) as a program that reads files or makes up bytes itself. */
#include "http/head.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const http_limits limits = {.max_url = 512, .max_header_bytes = 2048, .max_headers = 16};

static void demand(bool holds) {
  if (!holds) abort();
}

static http_refusal scan_in_pieces(http_scan *scan, const char *data, size_t size, size_t piece, size_t *head_size) {
  http_refusal refusal = HTTP_ACCEPTED;
  *head_size = 0;
  for (size_t there = 0; there < size && *head_size == 0 && refusal.status == 0;) {
    there = size - there < piece ? size : there + piece;
    refusal = http_scan_head(scan, &limits, data, there, head_size);
  }
  return refusal;
}

static void check_head(const char *data, size_t size, const http_head *head) {
  demand(head->method < METHOD_COUNT && head->minor <= 1 && head->field_count <= limits.max_headers);
  demand(!(head->chunked && head->has_length));
  demand(head->path.at + head->path.size <= size && head->query.at + head->query.size <= size);
  demand(head->path.size <= limits.max_url);
  for (size_t i = 0; i < head->field_count; i++) {
    const http_field *field = &head->fields[i];
    demand(field->name.at + field->name.size <= field->value.at && field->value.at + field->value.size <= size);
    demand(http_is_token(data + field->name.at, field->name.size) &&
           http_is_value(data + field->value.at, field->value.size));
  }
}

/* Takes one request off the front; 0 when there is none. */
static size_t take_request(const char *data, size_t size, size_t piece) {
  http_scan whole_scan = {0}, scan = {0};
  size_t whole_size, head_size;
  http_refusal whole = scan_in_pieces(&whole_scan, data, size, size, &whole_size);
  http_refusal refusal = scan_in_pieces(&scan, data, size, piece, &head_size);
  demand(whole_size == head_size && (whole.status == 0) == (refusal.status == 0));
  if (refusal.status != 0 || head_size == 0) return 0;
  http_field fields[16];
  http_head head = {.fields = fields, .field_capacity = 16};
  if (http_parse_head(&scan, &limits, data, head_size, &head).status != 0) return 0;
  check_head(data, head_size, &head);
  http_body body;
  http_body_begin(&body, &head);
  const char *at = data + head_size;
  size_t left = size - head_size;
  char out[37];
  while (!http_body_ended(&body)) {
    size_t part = left < piece ? left : piece, before = part, got;
    if (part == 0) return 0;
    if (http_body_take(&body, &at, &part, out, piece % sizeof out + 1, &got).status != 0) return 0;
    demand(got <= piece % sizeof out + 1 && (before != part || http_body_ended(&body)));
    left -= before - part;
  }
  if (head.has_length) demand(body.decoded == head.length);
  return (size_t)(at - data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  size_t piece = data[0] % 61 + 1;
  const char *at = (const char *)data + 1;
  size--;
  for (size_t taken = 1; taken > 0 && size > 0;) {
    taken = take_request(at, size, piece);
    at += taken;
    size -= taken;
  }
  return 0;
}

#ifdef FUZZ_STANDALONE
#include <stdio.h>

/* Sound requests with random damage: `fuzz_http COUNT SEED`. */
int main(int count, char **arguments) {
  static const char *const seeds[] = {
      "POST /a/%20b?c=d HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
      "PUT http://a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: [::1]\r\nUpgrade: x\r\nConnection: upgrade, keep-alive\r\nAccept: */*\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"};
  static const char damage[] = "\r\n\t :;,%#/.?\"\\0aZ\x80\xff\x01";
  unsigned long rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
  srandom(count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1);
  for (unsigned long i = 0; i < rounds; i++) {
    const char *seed = seeds[random() % 3];
    size_t size = strlen(seed) + 1;
    char *bytes = malloc(size);
    if (bytes == NULL) return 1;
    bytes[0] = (char)random();
    memcpy(bytes + 1, seed, size - 1);
    for (long n = random() % 5; n > 0; n--) {
      size_t place = (size_t)random() % size;
      if (random() % 3 > 0) bytes[place] = damage[(size_t)random() % (sizeof damage)];
      else {
        memmove(bytes + place, bytes + place + 1, size - place - 1);
        if (size > 2) size--;
      }
    }
    (void)LLVMFuzzerTestOneInput((const uint8_t *)bytes, size);
    free(bytes);
  }
  printf("%lu rounds\n", rounds);
  return 0;
}
#endif
