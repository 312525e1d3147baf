/* scan.c: finds the end of a head as its bytes arrive, and refuses what no line may look like.
 *
 * llhttp 8.1 accepts lines that end with LF alone, folded lines and empty names, 9.x does not; here none of them gets as far. */
#include "http/head.h"

static http_refusal check_limits(const http_scan *scan, const http_limits *limits, size_t line_end) {
  if (scan->lines == 0)
    return line_end > limits->max_url + 64 ? HTTP_REFUSE(414, "the address is too long") : HTTP_ACCEPTED;
  /* The request line is at most max_url + 64 bytes, so this bounds the head without remembering where the fields begin. */
  if (line_end > limits->max_url + 64 + limits->max_header_bytes) return HTTP_REFUSE(431, "the headers are too large");
  if (scan->lines > limits->max_headers + 1) return HTTP_REFUSE(431, "there are too many headers");
  return HTTP_ACCEPTED;
}

static http_refusal check_line_start(const http_scan *scan, const char *data) {
  char first = data[scan->line];
  if (scan->lines == 0)
    return http_is_token(&first, 1) ? HTTP_ACCEPTED : HTTP_REFUSE(400, "this does not start as a request does");
  if (first == ' ' || first == '\t') return HTTP_REFUSE(400, "a header is folded over two lines");
  if (first == ':') return HTTP_REFUSE(400, "a header has no name");
  return HTTP_ACCEPTED;
}

http_refusal http_scan_head(http_scan *scan, const http_limits *limits, const char *data, size_t size, size_t *head_size) {
  *head_size = 0;
  http_refusal refusal;
  while (scan->at < size) {
    if (scan->at == scan->line) {
      refusal = check_line_start(scan, data);
      if (refusal.status != 0) return refusal;
    }
    const char *feed = memchr(data + scan->at, '\n', size - scan->at);
    size_t end = feed == NULL ? size : (size_t)(feed - data);
    if (end > UINT32_MAX / 2) return HTTP_REFUSE(431, "the headers are too large");
    refusal = check_limits(scan, limits, end);
    if (refusal.status != 0) return refusal;
    scan->at = (uint32_t)end;
    if (feed == NULL) return HTTP_ACCEPTED;
    if (end == scan->line || data[end - 1] != '\r') return HTTP_REFUSE(400, "a line does not end with CR LF");
    scan->at = (uint32_t)end + 1;
    if (end == scan->line + 1) {
      if (scan->lines == 0) return HTTP_REFUSE(400, "this does not start as a request does");
      *head_size = end + 1;
      return HTTP_ACCEPTED;
    }
    scan->line = scan->at;
    scan->lines++;
  }
  return HTTP_ACCEPTED;
}
