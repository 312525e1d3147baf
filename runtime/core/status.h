/* status.h: one table for the error taxonomy. */
#ifndef PURLIN_CORE_STATUS_H
#define PURLIN_CORE_STATUS_H

#include <purlin/base.h>

typedef struct status_info {
  uint16_t http;
  const char *type;  /* the last part of the problem type: "not-found" */
  const char *title; /* "Not found" */
} status_info;

const status_info *status_describe(purlin_status status);
/* The status for a service's HTTP answer: 404 -> PURLIN_NOT_FOUND, 5xx -> PURLIN_BAD_UPSTREAM, ... */
purlin_status status_from_http(unsigned http);

#endif
