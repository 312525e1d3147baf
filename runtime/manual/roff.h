/* roff.h: manual pages: texts with the macros of man(7), in lines that are not longer than such files like them. What comes from
 * elsewhere is escaped: no text becomes a request. */
#ifndef PURLIN_MANUAL_ROFF_H
#define PURLIN_MANUAL_ROFF_H

#include <purlin/schema.h>
#include "core/buffer.h"

/* The head of a page, with its NAME. Its date is that of $SOURCE_DATE_EPOCH, else today's. */
void roff_begin(buffer *out, const char *name, const char *section, const char *summary);
void roff_section(buffer *out, const char *title);    /* "OPTIONS" */
void roff_subsection(buffer *out, const char *title); /* in bold letters as they are */
/* Paragraphs, as manual_chapter has them. Each begins with a break of its own unless it is the first after a title: `first`. */
void roff_paragraphs(buffer *out, const char *text, bool first);
/* A term of a list in bold, and what it takes in italics (NULL: nothing); its text, as a sentence, follows by roff_sentence. */
void roff_term(buffer *out, const char *term, const char *value);
/* Text in lines, with `bold` between backticks. It has no break before it. */
void roff_sentence(buffer *out, const char *text);
/* A line of a synopsis: words in bold, CAPITALS in italics. */
void roff_synopsis(buffer *out, const char *program, const char *words);
/* The fields of a schema as a list of terms, nested ones indented below theirs: type, default, choices and limits. `dashes`: as flags
 * of a command. */
void roff_fields(buffer *out, const purlin_schema *schema, bool dashes);

#endif
