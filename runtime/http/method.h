/* method.h: the methods that we serve. Others are answered with 501. */
#ifndef PURLIN_HTTP_METHOD_H
#define PURLIN_HTTP_METHOD_H

#include <purlin/base.h>
#include <string.h>

typedef enum http_method_index {
  METHOD_DELETE,
  METHOD_GET,
  METHOD_HEAD,
  METHOD_OPTIONS,
  METHOD_PATCH,
  METHOD_POST,
  METHOD_PUT,
  METHOD_COUNT
} http_method_index;

/* In the order of the alphabet, which is the order of Allow. */
static const struct {
  const char *name;
  uint8_t size;
} http_methods[METHOD_COUNT] = {{"DELETE", 6}, {"GET", 3},  {"HEAD", 4}, {"OPTIONS", 7},
                                {"PATCH", 5},  {"POST", 4}, {"PUT", 3}};

/* METHOD_COUNT: one that we do not serve. */
static inline http_method_index http_method_find(const char *name, size_t size) {
  for (unsigned i = 0; i < METHOD_COUNT; i++)
    if (http_methods[i].size == size && memcmp(http_methods[i].name, name, size) == 0) return (http_method_index)i;
  return METHOD_COUNT;
}

#endif
