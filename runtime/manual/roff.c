#include "manual/roff.h"
#include "core/schema.h"
#include "core/text.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WIDTH = 78 };

/* ---- Characters ------------------------------------------------------------------------------------------------------------------------ */

/* In roff a backslash begins an escape, and several signs of ASCII would be set as others that cannot be typed. `literal`: what somebody
 * types, in which every hyphen is one. */
static void add_char(buffer *out, char c, bool literal) {
  switch (c) {
  case '\\': buffer_text(out, "\\e"); return;
  case '-': buffer_text(out, literal ? "\\-" : "-"); return;
  case '~': buffer_text(out, "\\(ti"); return;
  case '^': buffer_text(out, "\\(ha"); return;
  case '"': buffer_text(out, "\\(dq"); return;
  case '\'': buffer_text(out, literal ? "\\(aq" : "'"); return;
  case '`': buffer_text(out, "\\(ga"); return;
  default: buffer_char(out, (unsigned char)c < ' ' ? ' ' : c);
  }
}

static void add_literal(buffer *out, const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) add_char(out, text[i], true);
}

/* ---- Lines ----------------------------------------------------------------------------------------------------------------------------- */

/* Words are gathered into lines; one that would begin a line as a request is guarded. */
typedef struct filling {
  buffer *out;
  size_t column;
  bool bold;
} filling;

static void end_line(filling *f) {
  if (f->column > 0) buffer_char(f->out, '\n');
  f->column = 0;
}

static void add_word(filling *f, const char *text, size_t size) {
  buffer word = {0};
  bool flag = size > 1 && text[0] == '-'; /* "--config" in prose */
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '`') {
      buffer_text(&word, f->bold ? "\\fR" : "\\fB");
      f->bold = !f->bold;
    } else add_char(&word, text[i], f->bold || flag);
  }
  if (f->column > 0 && f->column + 1 + word.size > WIDTH) end_line(f);
  if (f->column > 0) buffer_char(f->out, ' ');
  else if (word.size > 0 && (word.data[0] == '.' || word.data[0] == '\'')) buffer_text(f->out, "\\&");
  f->column += word.size + 1;
  buffer_add(f->out, word.data, word.size);
  buffer_free(&word);
}

static void fill(buffer *out, const char *text, size_t size) {
  filling f = {.out = out};
  for (size_t at = 0; at < size;) {
    size_t word = 0;
    while (at + word < size && text[at + word] != ' ' && text[at + word] != '\n') word++;
    if (word > 0) add_word(&f, text + at, word);
    at += word + 1;
  }
  if (f.bold) buffer_text(out, "\\fR"); /* a backtick without another */
  end_line(&f);
}

void roff_sentence(buffer *out, const char *text) { fill(out, text, strlen(text)); }

/* Lines that stay as they are, without the four spaces before them. */
static void literal_lines(buffer *out, const char *text, size_t size, bool first) {
  buffer_text(out, first ? ".RS 4\n.nf\n" : ".PP\n.RS 4\n.nf\n");
  for (size_t at = 0; at < size;) {
    const char *end = memchr(text + at, '\n', size - at);
    size_t line = end ? (size_t)(end - text) - at : size - at, skip = 0;
    while (skip < 4 && skip < line && text[at + skip] == ' ') skip++;
    if (line > skip && (text[at + skip] == '.' || text[at + skip] == '\'')) buffer_text(out, "\\&");
    add_literal(out, text + at + skip, line - skip);
    buffer_char(out, '\n');
    at += line + 1;
  }
  buffer_text(out, ".fi\n.RE\n");
}

void roff_paragraphs(buffer *out, const char *text, bool first) {
  while (*text) {
    const char *end = strstr(text, "\n\n");
    size_t size = end ? (size_t)(end - text) : strlen(text);
    while (size > 0 && text[size - 1] == '\n') size--;
    if (strncmp(text, "    ", 4) == 0) literal_lines(out, text, size, first);
    else {
      if (!first) buffer_text(out, ".PP\n");
      fill(out, text, size);
    }
    first = false;
    text = end ? end + 2 : text + strlen(text);
  }
}

/* ---- Titles and terms ---------------------------------------------------------------------------------------------------------------------- */

static void date(char out[16]) {
  const char *given = getenv("SOURCE_DATE_EPOCH");
  int64_t seconds;
  time_t now = given && text_to_int(given, strlen(given), &seconds) ? (time_t)seconds : time(NULL);
  struct tm at;
  if (!gmtime_r(&now, &at) || strftime(out, 16, "%Y-%m-%d", &at) == 0) (void)snprintf(out, 16, "1970-01-01");
}

void roff_begin(buffer *out, const char *name, const char *section, const char *summary) {
  char day[16];
  date(day);
  buffer_text(out, ".\\\" Made from the program's own tables, which --help prints, too.\n.TH \"");
  for (const char *at = name; *at; at++) add_char(out, (char)toupper((unsigned char)*at), true);
  buffer_format(out, "\" %s %s \"Purlin %s\" \"Purlin\"\n.nh\n.ad l\n.SH NAME\n", section, day, PURLIN_VERSION);
  add_literal(out, name, strlen(name));
  buffer_text(out, " \\-\n");
  roff_sentence(out, summary);
}

void roff_section(buffer *out, const char *title) {
  buffer_text(out, ".SH ");
  for (const char *at = title; *at; at++) add_char(out, *at, false);
  buffer_char(out, '\n');
}

void roff_subsection(buffer *out, const char *title) {
  buffer_text(out, ".SS ");
  for (const char *at = title; *at; at++) add_char(out, *at, true);
  buffer_char(out, '\n');
}

void roff_term(buffer *out, const char *term, const char *value) {
  buffer_text(out, ".TP\n\\fB");
  add_literal(out, term, strlen(term));
  buffer_text(out, "\\fR");
  if (value) buffer_text(out, " \\fI");
  if (value) add_literal(out, value, strlen(value));
  buffer_text(out, value ? "\\fR\n" : "\n");
}

static bool is_capitals(const char *text, size_t size) {
  bool letters = false;
  for (size_t i = 0; i < size; i++) {
    if (islower((unsigned char)text[i])) return false;
    letters = letters || isupper((unsigned char)text[i]);
  }
  return letters;
}

/* The letters of a word in one font, the signs around and between them in another. */
static void synopsis_word(buffer *out, const char *text, size_t size) {
  for (size_t at = 0; at < size;) {
    bool sign = strchr("[]|.=@/", text[at]) != NULL;
    size_t part = 1;
    while (at + part < size && (strchr("[]|.=@/", text[at + part]) != NULL) == sign) part++;
    if (sign) add_literal(out, text + at, part);
    else {
      buffer_text(out, is_capitals(text + at, part) ? "\\fI" : "\\fB");
      add_literal(out, text + at, part);
      buffer_text(out, "\\fR");
    }
    at += part;
  }
}

void roff_synopsis(buffer *out, const char *program, const char *words) {
  buffer_text(out, "\\fB");
  add_literal(out, program, strlen(program));
  buffer_text(out, "\\fR");
  for (const char *at = words; *at;) {
    size_t size = strcspn(at, " ");
    if (size > 0) buffer_char(out, ' ');
    synopsis_word(out, at, size);
    at += size;
    while (*at == ' ') at++;
  }
  buffer_char(out, '\n');
}

/* ---- Schemas ---------------------------------------------------------------------------------------------------------------------------------- */

static void limit(buffer *out, const char *before, double value) {
  buffer_text(out, before);
  buffer_double(out, value);
}

static void rules(const purlin_field *field, buffer *out) {
  if (field->choices) buffer_format(out, " One of %s.", field->choices);
  if (field->min != 0 || field->max != 0) {
    limit(out, " From ", field->min);
    if (field->max != 0) limit(out, " to ", field->max);
    buffer_char(out, '.');
  }
  if (field->required) buffer_text(out, " Required.");
  else if (field->initial && strcmp(field->initial, "[]") != 0 && strcmp(field->initial, "\"\"") != 0)
    buffer_format(out, " Default `%s`.", field->initial);
}

void roff_fields(buffer *out, const purlin_schema *schema, bool dashes) {
  buffer name = {0}, text = {0};
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    buffer_clear(&name);
    buffer_clear(&text);
    if (dashes) buffer_text(&name, "--");
    for (const char *at = field->name; *at; at++) buffer_char(&name, dashes && *at == '_' ? '-' : *at);
    size_t size = strlen(field->doc);
    buffer_format(&text, "%s%s", field->doc, size > 0 && strchr(".:?!", field->doc[size - 1]) ? "" : ".");
    rules(field, &text);
    roff_term(out, buffer_end(&name), schema_type_word(field));
    roff_sentence(out, buffer_end(&text));
    bool nested = field->of && (field->type == PURLIN_T_LIST || field->type == PURLIN_T_OBJECT);
    if (!nested || field->of()->field_count == 0) continue;
    buffer_text(out, ".RS\n");
    roff_fields(out, field->of(), false);
    buffer_text(out, ".RE\n");
  }
  buffer_free(&name);
  buffer_free(&text);
}
