/* display.h: texts on a terminal: how wide they are, and nothing that the terminal would obey. */
#ifndef PURLIN_CORE_DISPLAY_H
#define PURLIN_CORE_DISPLAY_H

#include <stdio.h>
#include "core/buffer.h"

/* Whatever a server says may have been written by anybody, so it passes through these on its way to a terminal. */
void display_begin(void);                                          /* once */
void display_add(buffer *out, const char *text, size_t size);      /* controls become \n, \u001b, ... */
void display_text(FILE *to, const char *text);                     /* prints the same */
size_t display_width(const char *text, size_t size);               /* columns that it takes */
size_t display_fit(const char *text, size_t size, size_t columns); /* bytes of it that take at most so many */
bool display_is_terminal(FILE *of);                                /* one that understands more than text */
bool display_is_coloured(FILE *of);                                /* and NO_COLOR does not forbid */

#endif
