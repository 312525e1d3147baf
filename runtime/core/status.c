#include "core/status.h"

static const status_info table[PURLIN_STATUS_COUNT] = {
    [PURLIN_OK] = {200, "ok", "OK"},
    [PURLIN_INVALID] = {400, "invalid", "Invalid input"},
    [PURLIN_UNAUTHENTICATED] = {401, "unauthenticated", "Not authenticated"},
    [PURLIN_FORBIDDEN] = {403, "forbidden", "Not permitted"},
    [PURLIN_NOT_FOUND] = {404, "not-found", "Not found"},
    [PURLIN_NOT_ALLOWED] = {405, "not-allowed", "Method not allowed"},
    [PURLIN_CONFLICT] = {409, "conflict", "Conflict"},
    [PURLIN_PRECONDITION] = {412, "precondition", "Precondition failed"},
    [PURLIN_TOO_LARGE] = {413, "too-large", "Too large"},
    [PURLIN_UNSUPPORTED] = {415, "unsupported", "Unsupported media type"},
    [PURLIN_RANGE] = {416, "range", "Range not satisfiable"},
    [PURLIN_TOO_MANY] = {429, "too-many", "Too many requests"},
    [PURLIN_CANCELLED] = {499, "cancelled", "Cancelled"},
    [PURLIN_INTERNAL] = {500, "internal", "Internal error"},
    [PURLIN_NOT_IMPLEMENTED] = {501, "not-implemented", "Not implemented"},
    [PURLIN_BAD_UPSTREAM] = {502, "bad-upstream", "Bad answer from a service behind this one"},
    [PURLIN_UNAVAILABLE] = {503, "unavailable", "Unavailable"},
    [PURLIN_TIMEOUT] = {504, "timeout", "Deadline passed"},
    [PURLIN_NO_SPACE] = {507, "no-space", "No space left"},
};

const status_info *status_describe(purlin_status status) {
  unsigned index = (unsigned)status;
  return &table[index < PURLIN_STATUS_COUNT ? index : PURLIN_INTERNAL];
}

/* HTTP statuses of other services that are not in the table above under the same meaning. */
static const struct {
  uint16_t http;
  uint16_t status;
} others[] = {
    {408, PURLIN_TIMEOUT},  {410, PURLIN_NOT_FOUND},    {422, PURLIN_INVALID},      {423, PURLIN_CONFLICT},
    {425, PURLIN_TOO_MANY}, {428, PURLIN_PRECONDITION}, {500, PURLIN_BAD_UPSTREAM}, {501, PURLIN_BAD_UPSTREAM},
};

purlin_status status_from_http(unsigned http) {
  if (http >= 200 && http < 300) return PURLIN_OK;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (others[i].http == http) return (purlin_status)others[i].status;
  for (size_t i = 1; i < PURLIN_STATUS_COUNT; i++)
    if (table[i].http == http) return (purlin_status)i;
  return http >= 400 && http < 500 ? PURLIN_INVALID : PURLIN_BAD_UPSTREAM;
}
