/* strict.c: what llhttp leaves to us or, in older versions, lets through: the request line, names and values of headers, and
 * everything that decides where a body ends. Two programs that read one request differently is how requests are smuggled, so
 * whatever is not plainly right is refused. */
#include "http/head.h"

#include "core/text.h"

#define TOKEN 1  /* of names and methods */
#define TARGET 2 /* of an address, '%' included */
#define HOST 4   /* of a host's name, without brackets and port */
#define VALUE 8  /* of a header's value */

#define ALPHA_ (TOKEN | TARGET | HOST | VALUE)
#define MARK_ ALPHA_
#define SUB_ (TARGET | VALUE)

/* RFC 9110 tokens; RFC 3986 characters and those that browsers send unescaped: ^ ` { | } [ ] */
static const uint8_t classes[256] = {
    ['\t'] = VALUE,       [' '] = VALUE,  ['!'] = MARK_,  ['"'] = VALUE,        ['#'] = TOKEN | VALUE,
    ['$'] = MARK_,        ['%'] = ALPHA_, ['&'] = MARK_,  ['\''] = MARK_,       ['('] = SUB_ | HOST,
    [')'] = SUB_ | HOST,  ['*'] = MARK_,  ['+'] = MARK_,  [','] = SUB_ | HOST,  ['-'] = ALPHA_,
    ['.'] = ALPHA_,       ['/'] = SUB_,   ['0'] = ALPHA_, ['1'] = ALPHA_,       ['2'] = ALPHA_,
    ['3'] = ALPHA_,       ['4'] = ALPHA_, ['5'] = ALPHA_, ['6'] = ALPHA_,       ['7'] = ALPHA_,
    ['8'] = ALPHA_,       ['9'] = ALPHA_, [':'] = SUB_,   [';'] = SUB_ | HOST,  ['<'] = VALUE,
    ['='] = SUB_ | HOST,  ['>'] = VALUE,  ['?'] = SUB_,   ['@'] = SUB_,         ['A'] = ALPHA_,
    ['B'] = ALPHA_,       ['C'] = ALPHA_, ['D'] = ALPHA_, ['E'] = ALPHA_,       ['F'] = ALPHA_,
    ['G'] = ALPHA_,       ['H'] = ALPHA_, ['I'] = ALPHA_, ['J'] = ALPHA_,       ['K'] = ALPHA_,
    ['L'] = ALPHA_,       ['M'] = ALPHA_, ['N'] = ALPHA_, ['O'] = ALPHA_,       ['P'] = ALPHA_,
    ['Q'] = ALPHA_,       ['R'] = ALPHA_, ['S'] = ALPHA_, ['T'] = ALPHA_,       ['U'] = ALPHA_,
    ['V'] = ALPHA_,       ['W'] = ALPHA_, ['X'] = ALPHA_, ['Y'] = ALPHA_,       ['Z'] = ALPHA_,
    ['['] = SUB_,         ['\\'] = VALUE, [']'] = SUB_,   ['^'] = TOKEN | SUB_, ['_'] = ALPHA_,
    ['`'] = TOKEN | SUB_, ['a'] = ALPHA_, ['b'] = ALPHA_, ['c'] = ALPHA_,       ['d'] = ALPHA_,
    ['e'] = ALPHA_,       ['f'] = ALPHA_, ['g'] = ALPHA_, ['h'] = ALPHA_,       ['i'] = ALPHA_,
    ['j'] = ALPHA_,       ['k'] = ALPHA_, ['l'] = ALPHA_, ['m'] = ALPHA_,       ['n'] = ALPHA_,
    ['o'] = ALPHA_,       ['p'] = ALPHA_, ['q'] = ALPHA_, ['r'] = ALPHA_,       ['s'] = ALPHA_,
    ['t'] = ALPHA_,       ['u'] = ALPHA_, ['v'] = ALPHA_, ['w'] = ALPHA_,       ['x'] = ALPHA_,
    ['y'] = ALPHA_,       ['z'] = ALPHA_, ['{'] = SUB_,   ['|'] = TOKEN | SUB_, ['}'] = SUB_,
    ['~'] = ALPHA_,
};

static bool all_of(const char *text, size_t size, uint8_t class) {
  uint8_t all = class;
  for (size_t i = 0; i < size; i++) all &= classes[(unsigned char)text[i]];
  return all != 0;
}

bool http_is_token(const char *text, size_t size) { return size > 0 && all_of(text, size, TOKEN); }
bool http_is_value(const char *text, size_t size) { return all_of(text, size, VALUE); }

/* ---- The request line -------------------------------------------------------------------------------------------------------- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that stands at `at`, escapes undone, and how many bytes it takes; a negative number for a broken escape or NUL. */
static int decoded_byte(const char *at, const char *end, size_t *step) {
  *step = 1;
  if (*at != '%') return (unsigned char)*at;
  if (end - at < 3) return -1;
  int high = hex_digit(at[1]), low = hex_digit(at[2]);
  *step = 3;
  return high < 0 || low < 0 || (high == 0 && low == 0) ? -1 : high * 16 + low;
}

/* No broken escapes, and no segment "." or ".." however it is written: clients resolve those, so who sends one wants to get
 * around something. */
static http_refusal check_path(const char *at, const char *end) {
  size_t step;
  int dots = 0; /* of a segment that is dots only; -1 for others */
  for (; at < end; at += step) {
    int byte = decoded_byte(at, end, &step);
    if (byte < 0) return HTTP_REFUSE(400, "the address holds a broken escape");
    if (byte == '/') {
      if (dots == 1 || dots == 2) return HTTP_REFUSE(400, "the address holds a segment of dots");
      dots = 0;
    } else if (byte == '.' && dots >= 0) dots++;
    else dots = -1;
  }
  return dots == 1 || dots == 2 ? HTTP_REFUSE(400, "the address holds a segment of dots") : HTTP_ACCEPTED;
}

static http_refusal check_query(const char *at, const char *end) {
  size_t step;
  for (; at < end; at += step)
    if (decoded_byte(at, end, &step) < 0) return HTTP_REFUSE(400, "the query holds a broken escape");
  return HTTP_ACCEPTED;
}

/* Cuts "http://" and the authority off an absolute target. */
static http_refusal take_authority(const char *data, http_slice *target, http_head *head) {
  const char *text = data + target->at;
  size_t scheme = 0;
  if (target->size > 7 && text_equal_ignoring_case(text, 7, "http://", 7)) scheme = 7;
  else if (target->size > 8 && text_equal_ignoring_case(text, 8, "https://", 8)) scheme = 8;
  else return HTTP_REFUSE(400, "the address must start with a slash");
  size_t end = scheme;
  while (end < target->size && text[end] != '/' && text[end] != '?') end++;
  if (end == scheme) return HTTP_REFUSE(400, "the address has no host");
  head->authority = (http_slice){target->at + (uint32_t)scheme, (uint32_t)(end - scheme)};
  target->at += (uint32_t)end;
  target->size -= (uint32_t)end;
  return HTTP_ACCEPTED;
}

static http_refusal check_target(const char *data, http_slice target, http_head *head) {
  if (target.size == 0 || !all_of(data + target.at, target.size, TARGET))
    return HTTP_REFUSE(400, "the address holds a byte that must be escaped");
  if (target.size == 1 && data[target.at] == '*') {
    head->path = target;
    return head->method == METHOD_OPTIONS ? HTTP_ACCEPTED : HTTP_REFUSE(400, "the address '*' goes with OPTIONS only");
  }
  http_refusal refusal = HTTP_ACCEPTED;
  if (data[target.at] != '/') refusal = take_authority(data, &target, head);
  if (refusal.status != 0) return refusal;
  const char *text = data + target.at, *end = text + target.size;
  const char *mark = memchr(text, '?', target.size);
  const char *path_end = mark == NULL ? end : mark;
  head->path = (http_slice){target.at, (uint32_t)(path_end - text)};
  if (mark != NULL) head->query = (http_slice){(uint32_t)(mark + 1 - data), (uint32_t)(end - mark - 1)};
  refusal = check_path(text, path_end);
  return refusal.status != 0 || mark == NULL ? refusal : check_query(mark + 1, end);
}

static http_refusal check_version(const char *text, size_t size, http_head *head) {
  if (size != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' || text[5] < '0' || text[5] > '9' || text[7] < '0' ||
      text[7] > '9')
    return HTTP_REFUSE(400, "the request line does not end with a version");
  if (text[5] != '1' || text[7] > '1') return HTTP_REFUSE(505, "this server speaks HTTP/1.1 and HTTP/1.0");
  head->minor = (uint8_t)(text[7] - '0');
  return HTTP_ACCEPTED;
}

/* METHOD SP TARGET SP VERSION, with single spaces. `line_size` is without CR LF. */
http_refusal http_strict_line(const char *data, size_t line_size, const http_limits *limits, http_head *head) {
  const char *space = memchr(data, ' ', line_size);
  if (space == NULL || !http_is_token(data, (size_t)(space - data))) return HTTP_REFUSE(400, "this is no request line");
  size_t target_at = (size_t)(space - data) + 1;
  const char *second = memchr(data + target_at, ' ', line_size - target_at);
  if (second == NULL) return HTTP_REFUSE(400, "the request line has no version");
  http_slice target = {(uint32_t)target_at, (uint32_t)((size_t)(second - data) - target_at)};
  size_t version_at = (size_t)(second - data) + 1;
  http_refusal refusal = check_version(data + version_at, line_size - version_at, head);
  if (refusal.status != 0) return refusal;
  head->method_text = (http_slice){0, (uint32_t)(space - data)};
  head->method = http_method_find(data, head->method_text.size);
  if (head->method == METHOD_COUNT) return HTTP_REFUSE(501, "this server does not know the method");
  if (target.size > limits->max_url) return HTTP_REFUSE(414, "the address is too long");
  return check_target(data, target, head);
}

/* ---- Headers ------------------------------------------------------------------------------------------------------------------- */

http_refusal http_strict_field(const char *data, const http_field *field) {
  if (!http_is_token(data + field->name.at, field->name.size))
    return HTTP_REFUSE(400, "a header's name holds a byte that it must not");
  if (!http_is_value(data + field->value.at, field->value.size))
    return HTTP_REFUSE(400, "a header's value holds a control character or a byte that is not ASCII");
  return HTTP_ACCEPTED;
}

static bool named(const char *data, const http_field *field, const char *name, size_t size) {
  return text_equal_ignoring_case(data + field->name.at, field->name.size, name, size);
}

static bool valued(const char *data, http_slice value, const char *text, size_t size) {
  return text_equal_ignoring_case(data + value.at, value.size, text, size);
}

/* NAME or [ADDRESS], and perhaps :PORT. */
static bool is_host(const char *text, size_t size) {
  const char *end = text + size, *at = text;
  if (size > 0 && *at == '[') {
    at = memchr(text, ']', size);
    if (at == NULL || at - text < 3) return false;
    for (const char *c = text + 1; c < at; c++)
      if (hex_digit(*c) < 0 && *c != ':' && *c != '.') return false;
    at++;
  } else {
    while (at < end && *at != ':') at++;
    if (at == text || !all_of(text, (size_t)(at - text), HOST)) return false;
  }
  if (at == end) return true;
  uint64_t port = 0;
  return *at == ':' && (at + 1 == end || (text_to_uint(at + 1, (size_t)(end - at) - 1, &port) && port <= 65535));
}

static void take_connection(const char *data, http_slice value, http_head *head) {
  const char *at = data + value.at, *end = at + value.size;
  while (at < end) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *stop = comma == NULL ? end : comma;
    const char *last = stop;
    while (at < last && (*at == ' ' || *at == '\t')) at++;
    while (last > at && (last[-1] == ' ' || last[-1] == '\t')) last--;
    if (text_equal_ignoring_case(at, (size_t)(last - at), "close", 5)) head->close = true;
    if (text_equal_ignoring_case(at, (size_t)(last - at), "keep-alive", 10)) head->keep_alive = true;
    at = stop == end ? end : stop + 1;
  }
}

static http_refusal take_length(const char *data, http_slice value, http_head *head) {
  if (head->has_length) return HTTP_REFUSE(400, "Content-Length is given twice");
  const char *text = data + value.at;
  if (value.size == 0 || text[0] < '0' || text[0] > '9' || !text_to_uint(text, value.size, &head->length) ||
      head->length > INT64_MAX)
    return HTTP_REFUSE(400, "Content-Length is not a number of bytes");
  head->has_length = true;
  return HTTP_ACCEPTED;
}

static http_refusal take_coding(const char *data, http_slice value, http_head *head) {
  if (head->chunked) return HTTP_REFUSE(400, "Transfer-Encoding is given twice");
  if (head->minor == 0) return HTTP_REFUSE(400, "HTTP/1.0 has no Transfer-Encoding");
  if (!valued(data, value, "chunked", 7)) return HTTP_REFUSE(400, "the only Transfer-Encoding is 'chunked'");
  head->chunked = true;
  return HTTP_ACCEPTED;
}

static http_refusal take_expect(const char *data, http_slice value, http_head *head) {
  if (!valued(data, value, "100-continue", 12)) return HTTP_REFUSE(417, "the only expectation is '100-continue'");
  head->expect_continue = head->minor == 1;
  return HTTP_ACCEPTED;
}

typedef struct hosts {
  size_t count;
  http_slice value;
} hosts;

/* The headers that we act on ourselves; told apart by length first, since most are none of them. */
static http_refusal take_field(const char *data, size_t index, hosts *found, http_head *head) {
  const http_field *field = &head->fields[index];
  switch (field->name.size) {
  case 4:
    if (!named(data, field, "host", 4)) break;
    found->count++;
    found->value = field->value;
    break;
  case 6:
    if (named(data, field, "expect", 6)) return take_expect(data, field->value, head);
    break;
  case 10:
    if (named(data, field, "connection", 10)) take_connection(data, field->value, head);
    break;
  case 11:
    if (named(data, field, "traceparent", 11)) head->traceparent = (int32_t)index;
    break;
  case 14:
    if (named(data, field, "content-length", 14)) return take_length(data, field->value, head);
    break;
  case 17:
    if (named(data, field, "transfer-encoding", 17)) return take_coding(data, field->value, head);
    break;
  default: break;
  }
  return HTTP_ACCEPTED;
}

http_refusal http_strict_framing(const char *data, http_head *head) {
  hosts found = {0};
  head->traceparent = -1;
  for (size_t i = 0; i < head->field_count; i++) {
    http_refusal refusal = take_field(data, i, &found, head);
    if (refusal.status != 0) return refusal;
  }
  if (head->chunked && head->has_length) return HTTP_REFUSE(400, "Content-Length and Transfer-Encoding exclude each other");
  if (found.count > 1) return HTTP_REFUSE(400, "Host is given twice");
  if (found.count == 0 && head->minor == 1) return HTTP_REFUSE(400, "Host is missing");
  if (found.count == 1 && !is_host(data + found.value.at, found.value.size)) return HTTP_REFUSE(400, "Host is malformed");
  if (head->authority.size == 0) return HTTP_ACCEPTED;
  if (!is_host(data + head->authority.at, head->authority.size))
    return HTTP_REFUSE(400, "the host in the address is malformed");
  if (found.count == 1 && !valued(data, found.value, data + head->authority.at, head->authority.size))
    return HTTP_REFUSE(400, "Host is not the host in the address");
  return HTTP_ACCEPTED;
}
