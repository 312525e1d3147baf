/* print.c: what a server says, on a terminal. Control characters would let it move the cursor, hide lines or type for us: they are
 * written as JSON writes them, so that they are seen, and JSON stays JSON. */
#include "ctl/ctl.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The control character that stands at `at`, and how many bytes it has; -1: another one. C1 controls, 0x80 to 0x9f, are two bytes. */
static int control_at(const char *at, size_t left, size_t *size) {
  unsigned char c = (unsigned char)at[0], next = left > 1 ? (unsigned char)at[1] : 0;
  bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
  *size = c1 ? 2 : 1;
  if (c1) return next;
  return c < 0x20 || c == 0x7f ? c : -1;
}

void add_visible(buffer *out, const char *text, size_t size, const char *allowed) {
  for (const char *end = text + size; text < end;) {
    size_t step;
    int control = control_at(text, (size_t)(end - text), &step);
    if (control < 0 || (control > 0 && strchr(allowed, control))) buffer_char(out, *text);
    else buffer_format(out, "\\u%04x", (unsigned)control);
    text += step;
  }
}

void print_visible(FILE *to, const char *text, size_t size) {
  buffer visible = {0};
  add_visible(&visible, text, size, "\n\t");
  if (!visible.failed) (void)fwrite(buffer_end(&visible), 1, visible.size, to);
  buffer_free(&visible);
}

void print(FILE *to, const char *format, ...) {
  va_list values;
  char *text = NULL;
  va_start(values, format);
  int size = vasprintf(&text, format, values);
  va_end(values);
  if (size < 0) return;
  print_visible(to, text, (size_t)size);
  free(text);
}
