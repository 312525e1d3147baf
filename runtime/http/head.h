/* head.h: from the bytes of a request's head to its parts, and from the bytes of its body to the body.
 *
 * Pure functions over bytes: no sockets, no memory of their own, so that tests and the fuzzer reach them directly. A head is
 * parsed only when it is there whole, in one piece: scan.c finds its end as bytes arrive, parse.c runs llhttp over it, and
 * strict.c refuses what llhttp (any version) lets through. Bodies are decoded by chunked.c, which is strict by itself.
 *
 * Every refusal is an HTTP status and a text for people; both are static. */
#ifndef PURLIN_HTTP_HEAD_H
#define PURLIN_HTTP_HEAD_H

#include "http/method.h"

typedef struct http_limits {
  size_t max_url, max_header_bytes, max_headers;
} http_limits;

typedef struct http_refusal {
  unsigned status; /* 0: nothing is refused */
  const char *why;
} http_refusal;

#define HTTP_ACCEPTED ((http_refusal){0, NULL})
#define HTTP_REFUSE(status, why) ((http_refusal){status, why})

/* ---- Finding the end of a head ------------------------------------------------------------------------------------------- */

/* How far a head has been looked at. All zero at its start. */
typedef struct http_scan {
  uint32_t at;    /* bytes looked at */
  uint32_t line;  /* where the last line starts */
  uint32_t lines; /* complete lines, the request line included, the empty one not */
} http_scan;

/* `data` is the head so far, from its first byte. *head_size: its bytes when it is complete, else 0. Refuses as early as it can:
 * lines that do not end with CR LF, folded lines, empty names, everything over a limit. */
http_refusal http_scan_head(http_scan *scan, const http_limits *limits, const char *data, size_t size, size_t *head_size);

/* ---- The head ------------------------------------------------------------------------------------------------------------- */

/* A part of the head, as offset and size, so that it stays right when the head is copied. */
typedef struct http_slice {
  uint32_t at, size;
} http_slice;
typedef struct http_field {
  http_slice name, value;
} http_field;

typedef struct http_head {
  http_method_index method;
  uint8_t minor;   /* of HTTP/1.x */
  bool close;      /* "Connection: close" */
  bool keep_alive; /* "Connection: keep-alive", which HTTP/1.0 has to ask for */
  bool expect_continue;
  bool chunked;
  bool has_length;
  uint64_t length; /* Content-Length */
  http_slice method_text;
  http_slice path;      /* without the query; size 0 stands for "/" */
  http_slice query;     /* without the question mark */
  http_slice authority; /* of an absolute target; size 0: none */
  int32_t traceparent;  /* index of the field, -1: none */
  uint32_t field_count;
  uint32_t field_capacity;
  http_field *fields; /* the caller's, of field_capacity = max_headers */
} http_head;

/* `data` is a whole head as http_scan_head found it. On a refusal the connection must be closed after the answer, since nobody
 * can know where the next request starts. */
http_refusal http_parse_head(const http_scan *scan, const http_limits *limits, const char *data, size_t size,
                             http_head *head);

/* What llhttp leaves to us; used by parse.c. */
http_refusal http_strict_line(const char *data, size_t line_size, const http_limits *limits, http_head *head);
http_refusal http_strict_field(const char *data, const http_field *field);
http_refusal http_strict_framing(const char *data, http_head *head);

bool http_is_token(const char *text, size_t size); /* a name of a method or header; not empty */
bool http_is_value(const char *text, size_t size); /* visible ASCII, spaces and tabs */

/* ---- The body ------------------------------------------------------------------------------------------------------------- */

typedef enum http_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED } http_framing;

/* Extension bytes and trailer bytes that one body may have. */
#define HTTP_MAX_CHUNK_OVERHEAD 16384

typedef struct http_body {
  uint8_t framing;   /* http_framing */
  uint8_t state;     /* of chunked.c */
  uint8_t digits;    /* of the chunk size so far */
  uint8_t name_size; /* of the trailer's name so far */
  char name[20];     /* lower case */
  uint32_t overhead; /* extension and trailer bytes so far */
  uint64_t left;     /* bytes of the body, or of the chunk, that are to come */
  uint64_t decoded;  /* bytes given out so far */
} http_body;

void http_body_begin(http_body *body, const http_head *head);
bool http_body_ended(const http_body *body);
/* Takes bytes from *data (*size of them), puts at most `room` decoded ones into `out` (NULL: they are thrown away) and tells how many in
 * *got. Stops at the end of the body: what is left in *data belongs to the next request. */
http_refusal http_body_take(http_body *body, const char **data, size_t *size, char *out, size_t room, size_t *got);

#endif
