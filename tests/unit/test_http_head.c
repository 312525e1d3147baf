/* Heads and bodies as pure functions: whole, and byte by byte. */
#include "http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const http_limits limits = {.max_url = 200, .max_header_bytes = 1000, .max_headers = 8};

typedef struct outcome {
  http_refusal refusal;
  size_t size;
  http_head head;
  http_field fields[8];
} outcome;

/* Gives the bytes in pieces of `piece`, each run over what there is so far, as a connection does. */
static outcome run(const char *text, size_t size, size_t piece) {
  outcome o = {.head = {.field_capacity = 8}};
  http_scan scan = {0};
  /* a copy of the exact size, so that sanitizers see a read beyond it */
  char *copy = malloc(size);
  assert_non_null(copy);
  memcpy(copy, text, size);
  for (size_t there = 0; there < size && o.size == 0 && o.refusal.status == 0;) {
    there = size - there < piece ? size : there + piece;
    o.refusal = http_scan_head(&scan, &limits, copy, there, &o.size);
  }
  o.head.fields = o.fields;
  if (o.refusal.status == 0 && o.size > 0) o.refusal = http_parse_head(&scan, &limits, copy, o.size, &o.head);
  free(copy);
  return o;
}

#define L(text) text, sizeof text - 1
#define HOST "Host: a\r\n"
#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10

static const struct {
  unsigned status;
  const char *text;
  size_t size;
} heads[] = {
    {0, L("GET / HTTP/1.1\r\n" HOST "\r\n")},
    {0, L("GET / HTTP/1.0\r\n\r\n")},
    {0, L("GET /a/b?c=d&e=%20f HTTP/1.1\r\nhOST:a:80\r\nX: \t y z \t\r\nEmpty:\r\n\r\n")},
    {0, L("GET http://a/b HTTP/1.1\r\n" HOST "\r\n")},
    {0, L("GET HTTP://A HTTP/1.1\r\n" HOST "\r\n")},
    {0, L("OPTIONS * HTTP/1.1\r\n" HOST "\r\n")},
    {0, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n")},
    {0, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n")},
    {0, L("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n")},
    {0, L("GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n")},
    {0, L("GET /a..b/.c/d../.../%2e%2e%2e HTTP/1.1\r\n" HOST "\r\n")},
    {0, L("GET /a|b[c]{d}^` HTTP/1.1\r\n" HOST "\r\n")},
    /* the request line */
    {400, L(" GET / HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("\x16\x03\x01\x02")},
    {400, L("GET  / HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /  HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET / HTTP/1.1 \r\n" HOST "\r\n")},
    {400, L("GET\t/ HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /\r\n\r\n")},
    {400, L("GET\r\n\r\n")},
    {400, L("G@T / HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET / http/1.1\r\n" HOST "\r\n")},
    {400, L("GET / HTTP/1.10\r\n" HOST "\r\n")},
    {400, L("GET / HTTP/11\r\n" HOST "\r\n")},
    {400, L("GET / RTSP/1.0\r\n" HOST "\r\n")},
    {505, L("GET / HTTP/2.0\r\n" HOST "\r\n")},
    {505, L("GET / HTTP/0.9\r\n" HOST "\r\n")},
    {505, L("GET / HTTP/1.2\r\n" HOST "\r\n")},
    {505, L("PRI * HTTP/2.0\r\n\r\n")},
    {501, L("BREW / HTTP/1.1\r\n" HOST "\r\n")},
    {501, L("get / HTTP/1.1\r\n" HOST "\r\n")},
    {501, L("TRACE / HTTP/1.1\r\n" HOST "\r\n")},
    {501, L("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n")},
    {501, L("PROPFIND / HTTP/1.1\r\n" HOST "\r\n")},
    /* the address */
    {400, L("GET /#x HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a%00 HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a%zz HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a%2 HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /?a=%zz HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /?a=%0 HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /../a HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a/.. HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a/./b HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a/%2e%2E/b HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a/.%2e HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a%2f..%2Fb HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a\\b HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a\x01 HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET /a\0b HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET a HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET * HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET http:///b HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET http://b/ HTTP/1.1\r\n" HOST "\r\n")},
    {400, L("GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n")},
    /* lines */
    {400, L("GET / HTTP/1.1\n" HOST "\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: a\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n chunked\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X Y: a\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X@: a\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X: \xc3\xa9\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST "X\xe9: a\r\n\r\n")},
    /* Host */
    {400, L("GET / HTTP/1.1\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost:\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\n" HOST HOST "\r\n")},
    {400, L("GET / HTTP/1.0\r\n" HOST HOST "\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: [zz::1]\r\n\r\n")},
    {400, L("GET / HTTP/1.1\r\nHost: :80\r\n\r\n")},
    /* where the body ends */
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding:\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: ,chunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
            "chunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n")},
    {400, L("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n")},
    {400, L("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n")},
    {417, L("POST / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n")},
    /* limits: 200 bytes of address, 1000 of headers, 8 headers */
    {414, L("GET /" A100 A100 " HTTP/1.1\r\n" HOST "\r\n")},
    {414, L("GET /" A100 A100 A100)},
    {431, L("GET / HTTP/1.1\r\n" HOST "X: " A100 A100 A100 A100 A100 A100 A100 A100 A100 A100 "\r\n\r\n")},
    {431, L("GET / HTTP/1.1\r\nX: " A100 A100 A100 A100 A100 A100 A100 A100 A100 A100 A100 A100 A100)},
    {431, L("GET / HTTP/1.1\r\n" HOST "b:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\n\r\n")},
    {0, L("GET / HTTP/1.1\r\n" HOST "b:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\n\r\n")},
};

static void accepts_and_refuses(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
    unsigned expected = heads[i].status;
    for (size_t piece = 1; piece <= heads[i].size; piece = piece * 3 + 1) {
      outcome o = run(heads[i].text, heads[i].size, piece);
      if (o.refusal.status != expected)
        fail_msg("%.*s: %u (%s), not %u", (int)heads[i].size, heads[i].text, o.refusal.status,
                 o.refusal.status != 0 ? o.refusal.why : "accepted", expected);
      if (expected == 0) assert_int_equal(o.size, heads[i].size);
      else assert_non_null(o.refusal.why);
    }
  }
}

static void assert_slice(const char *text, http_slice slice, const char *expected) {
  assert_int_equal(slice.size, strlen(expected));
  assert_memory_equal(text + slice.at, expected, slice.size);
}

static void gives_the_parts(void **state) {
  (void)state;
  static const char text[] =
      "POST http://a:80/x/y?q=1 HTTP/1.1\r\nHost: a:80\r\nConnection: foo, Close , bar\r\nEmpty:  \r\n"
      "Expect: 100-Continue\r\nTraceParent: 00-x\r\nV: \t b c \t\r\nContent-Length: 007\r\n\r\nrest";
  outcome o = run(text, sizeof text - 1, 5);
  assert_int_equal(o.refusal.status, 0);
  assert_int_equal(o.size, sizeof text - 1 - 4);
  assert_int_equal(o.head.method, METHOD_POST);
  assert_slice(text, o.head.method_text, "POST");
  assert_slice(text, o.head.authority, "a:80");
  assert_slice(text, o.head.path, "/x/y");
  assert_slice(text, o.head.query, "q=1");
  assert_int_equal(o.head.field_count, 7);
  assert_slice(text, o.fields[2].name, "Empty");
  assert_slice(text, o.fields[2].value, "");
  assert_int_equal(o.fields[2].value.at, o.fields[2].name.at + o.fields[2].name.size); /* not on the next line */
  assert_slice(text, o.fields[5].value, "b c");
  assert_int_equal(o.head.traceparent, 4);
  assert_true(o.head.close && !o.head.keep_alive && o.head.expect_continue && o.head.has_length && !o.head.chunked);
  assert_int_equal(o.head.length, 7);
  assert_int_equal(o.head.minor, 1);
}

static void an_absolute_address_without_a_path(void **state) {
  (void)state;
  static const char text[] = "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n";
  outcome o = run(text, sizeof text - 1, 100);
  assert_int_equal(o.refusal.status, 0);
  assert_int_equal(o.head.path.size, 0);
  assert_slice(text, o.head.query, "q");
}

/* ---- Bodies --------------------------------------------------------------------------------------------------------------------- */

typedef struct decoding {
  unsigned status;
  bool ended;
  char out[256];
  size_t size, left;
} decoding;

static decoding decode(const http_head *head, const char *text, size_t size, size_t piece, size_t room) {
  decoding d = {0};
  http_body body;
  http_body_begin(&body, head);
  char *copy = malloc(size + 1);
  assert_non_null(copy);
  memcpy(copy, text, size);
  const char *at = copy;
  size_t there = 0;
  while (d.status == 0 && !http_body_ended(&body)) {
    size_t got;
    if (there == 0) {
      size_t remaining = size - (size_t)(at - copy);
      if (remaining == 0) break;
      there = remaining < piece ? remaining : piece;
    }
    size_t space = sizeof d.out - d.size < room ? sizeof d.out - d.size : room;
    d.status = http_body_take(&body, &at, &there, d.out + d.size, space, &got).status;
    d.size += got;
  }
  d.ended = http_body_ended(&body);
  d.left = size - (size_t)(at - copy);
  if (d.status == 0) assert_int_equal(body.decoded, d.size);
  free(copy);
  return d;
}

static const struct {
  const char *text;
  size_t size;
  unsigned status;
  const char *body;
  size_t left;
} chunks[] = {
    {L("0\r\n\r\n"), 0, "", 0},
    {L("5\r\nhello\r\n0\r\n\r\n"), 0, "hello", 0},
    {L("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET /"), 0, "hello!", 5},
    {L("00a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n"), 0, "01234567890123456789", 0},
    {L("1;a=b;c=\"d\\\"e;\"\r\nx\r\n0;f\r\n\r\n"), 0, "x", 0},
    {L("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\nz"), 0, "x", 1},
    {L("1\r\nx\n\n0\r\n\r\n"), 400, "", 0},
    {L("1\r\nxab0\r\n\r\n"), 400, "", 0},
    {L("1\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L("1\r\nx\r\n0\r\n\n"), 400, "", 0},
    {L("1\r\nx\r\n0\n\r\n"), 400, "", 0},
    {L("1 \r\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L(" 1\r\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L("0x1\r\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L("-1\r\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L("\r\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L(";a\r\nx\r\n"), 400, "", 0},
    {L("g\r\nx\r\n"), 400, "", 0},
    {L("ffffffffffffffff\r\nx"), 400, "", 0},
    {L("00000000000000001\r\nx"), 400, "", 0},
    {L("1;a\nb\r\nx\r\n"), 400, "", 0},
    {L("1;a\x01\r\nx\r\n"), 400, "", 0},
    {L("1;\"a\r\n\r\nx"), 400, "", 0},
    {L("2\r\nx\r\n0\r\n\r\n"), 400, "", 0},
    {L("0\r\nContent-Length: 5\r\n\r\n"), 400, "", 0},
    {L("0\r\ntransfer-ENCODING: chunked\r\n\r\n"), 400, "", 0},
    {L("0\r\nHost: b\r\n\r\n"), 400, "", 0},
    {L("0\r\nAuthorization: b\r\n\r\n"), 400, "", 0},
    {L("0\r\nA : b\r\n\r\n"), 400, "", 0},
    {L("0\r\n: b\r\n\r\n"), 400, "", 0},
    {L("0\r\nA\r\n\r\n"), 400, "", 0},
    {L("0\r\n A: b\r\n\r\n"), 400, "", 0},
    {L("0\r\nA: b\n\r\n"), 400, "", 0},
    {L("0\r\nA: b\x80\r\n\r\n"), 400, "", 0},
};

static void decodes_chunks(void **state) {
  (void)state;
  const http_head head = {.chunked = true, .minor = 1};
  for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
    for (size_t piece = 1; piece <= chunks[i].size; piece++) {
      decoding d = decode(&head, chunks[i].text, chunks[i].size, piece, piece % 3 + 1);
      if (d.status != chunks[i].status) fail_msg("%s: %u, not %u", chunks[i].text, d.status, chunks[i].status);
      if (d.status != 0) continue;
      assert_true(d.ended);
      assert_int_equal(d.size, strlen(chunks[i].body));
      assert_memory_equal(d.out, chunks[i].body, d.size);
      assert_int_equal(d.left, chunks[i].left);
    }
  }
}

static void decodes_lengths(void **state) {
  (void)state;
  const http_head none = {.minor = 1}, five = {.minor = 1, .has_length = true, .length = 5};
  decoding d = decode(&none, "GET /", 5, 5, 9);
  assert_true(d.ended && d.size == 0 && d.left == 5);
  for (size_t piece = 1; piece < 9; piece++) {
    d = decode(&five, "helloGET", 8, piece, 2);
    assert_true(d.ended && d.size == 5 && d.left == 3);
    assert_memory_equal(d.out, "hello", 5);
  }
  d = decode(&five, "hel", 3, 3, 9);
  assert_true(!d.ended && d.size == 3 && d.status == 0);
}

/* Extensions and trailers are bounded over the whole body, however they are spread (CVE-2024-22019). */
static void bounds_overhead(void **state) {
  (void)state;
  const http_head head = {.chunked = true, .minor = 1};
  static const char *const pieces[][2] = {{"1;aaaaaaaaaaaaaaaa\r\n", "x\r\n"}, {"A: bbbbbbbbbbbbbbbbbb\r\n", ""}};
  for (size_t kind = 0; kind < 2; kind++) {
    http_body body;
    http_body_begin(&body, &head);
    size_t sent = 0;
    http_refusal refusal = HTTP_ACCEPTED;
    const char *start = kind == 0 ? "" : "0\r\n";
    size_t size = strlen(start), got;
    (void)http_body_take(&body, &start, &size, NULL, SIZE_MAX, &got);
    while (refusal.status == 0 && sent < 1000000) {
      for (size_t i = 0; i < 2 && refusal.status == 0; i++) {
        const char *at = pieces[kind][i];
        size = strlen(at);
        sent += size;
        refusal = http_body_take(&body, &at, &size, NULL, SIZE_MAX, &got);
      }
    }
    assert_int_equal(refusal.status, 413);
    assert_true(sent < 4 * HTTP_MAX_CHUNK_OVERHEAD);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accepts_and_refuses),
      cmocka_unit_test(gives_the_parts),
      cmocka_unit_test(an_absolute_address_without_a_path),
      cmocka_unit_test(decodes_chunks),
      cmocka_unit_test(decodes_lengths),
      cmocka_unit_test(bounds_overhead),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
