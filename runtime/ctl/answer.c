#include "ctl/ctl.h"
#include <stdio.h>
#include <string.h>

enum { WIDEST_CELL = 48, MOST_COLUMNS = 32, GAP = 2 };

/* ---- JSON for people: the server's own text, so that no number changes, on lines of its own ----------------------------------------------- */

static void new_line(buffer *out, size_t depth) {
  buffer_char(out, '\n');
  for (size_t i = 0; i < depth; i++) buffer_text(out, "  ");
}

static size_t string_end(const char *text, size_t size, size_t at) {
  for (at++; at < size && text[at] != '"'; at++)
    if (text[at] == '\\') at++;
  return at < size ? at + 1 : size;
}

/* The same JSON with its strings made harmless, on one line or on many. */
static void add_json(buffer *out, const char *text, size_t size, bool lines) {
  size_t depth = 0;
  for (size_t at = 0; at < size;) {
    char c = text[at];
    if (c == '"') {
      size_t end = string_end(text, size, at);
      display_add(out, text + at, end - at);
      at = end;
      continue;
    }
    at++;
    if (!lines) {
      display_add(out, &c, c == '\n' || c == '\r' || c == '\t' ? 0 : 1);
      continue;
    }
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    bool opens = c == '{' || c == '[';
    if (opens && at < size && (text[at] == '}' || text[at] == ']')) { /* {} and [] stay together */
      buffer_char(out, c);
      buffer_char(out, text[at++]);
      continue;
    }
    if (opens) depth++;
    if ((c == '}' || c == ']') && depth > 0) new_line(out, --depth);
    display_add(out, &c, 1);
    if (opens || c == ',') new_line(out, depth);
    if (c == ':') buffer_char(out, ' ');
  }
}

/* ---- Tables ----------------------------------------------------------------------------------------------------------------------------------- */

typedef struct table {
  const cJSON *list;
  const char *names[MOST_COLUMNS];
  size_t widths[MOST_COLUMNS];
  size_t columns;
  bool narrow; /* for a terminal: long cells are cut; those of pairs always are */
} table;

static void add_plain(buffer *out, const cJSON *value) {
  if (!value || cJSON_IsNull(value)) return;
  if (cJSON_IsString(value)) {
    display_add(out, value->valuestring, strlen(value->valuestring));
    return;
  }
  char *text = cJSON_PrintUnformatted(value);
  if (text) display_add(out, text, strlen(text));
  cJSON_free(text);
}

static bool is_nested(const cJSON *value) { return cJSON_IsObject(value) || cJSON_IsArray(value); }

/* An object that is told by its first two members, such as a tag's key and value. */
static bool is_pair(const cJSON *value) {
  const cJSON *first = cJSON_IsObject(value) ? value->child : NULL, *second = first ? first->next : NULL;
  return second && !is_nested(second) && cJSON_IsString(first) && strcmp(first->string, "id") != 0;
}

/* Whether a table has room for it: plain values, and lists of plain values or of pairs. */
static bool is_for_cell(const cJSON *value) {
  if (!cJSON_IsArray(value)) return !cJSON_IsObject(value);
  const cJSON *item;
  cJSON_ArrayForEach(item, value) if (is_nested(item) && !is_pair(item)) return false;
  return value->child != NULL;
}

/* A list as "a, b", one of pairs as "champion=3, retired=1". */
static void add_value(buffer *out, const cJSON *value) {
  if (!is_for_cell(value)) return;
  if (!cJSON_IsArray(value)) {
    add_plain(out, value);
    return;
  }
  const cJSON *item;
  cJSON_ArrayForEach(item, value) {
    bool pair = is_pair(item);
    add_plain(out, pair ? item->child : item);
    if (pair) buffer_char(out, '=');
    if (pair) add_plain(out, item->child->next);
    if (item->next) buffer_text(out, ", ");
  }
}

static size_t cell(const table *t, const cJSON *row, size_t column, buffer *out) {
  buffer_clear(out);
  const cJSON *value = cJSON_GetObjectItemCaseSensitive(row, t->names[column]);
  add_value(out, value);
  size_t width = display_width(buffer_end(out), out->size);
  bool cut = t->narrow || (cJSON_IsArray(value) && is_pair(value->child));
  if (!cut || width <= WIDEST_CELL) return width;
  out->size = display_fit(out->data, out->size, WIDEST_CELL - 1);
  buffer_text(out, "\xe2\x80\xa6");
  return display_width(buffer_end(out), out->size);
}

static void add_column(table *t, const cJSON *member) {
  if (!is_for_cell(member) || t->columns == MOST_COLUMNS) return;
  for (size_t i = 0; i < t->columns; i++)
    if (strcmp(t->names[i], member->string) == 0) return;
  buffer shown = {0};
  display_add(&shown, member->string, strlen(member->string));
  t->names[t->columns] = member->string;
  t->widths[t->columns++] = display_width(buffer_end(&shown), shown.size);
  buffer_free(&shown);
}

static void measure(table *t) {
  const cJSON *row, *member;
  buffer text = {0};
  cJSON_ArrayForEach(row, t->list) cJSON_ArrayForEach(member, row) add_column(t, member);
  cJSON_ArrayForEach(row, t->list) for (size_t i = 0; i < t->columns; i++) {
    size_t width = cell(t, row, i, &text);
    if (width > t->widths[i]) t->widths[i] = width;
  }
  buffer_free(&text);
}

static void add_cell(const table *t, size_t column, const buffer *text, size_t width, buffer *line) {
  buffer_add(line, text->data, text->size);
  for (size_t i = width; i < t->widths[column] + GAP; i++) buffer_char(line, ' ');
}

/* Nothing but spaces at its end is left out. */
static void print_line(buffer *line, bool bold) {
  while (line->size > 0 && line->data[line->size - 1] == ' ') line->size--;
  (void)printf("%s%s%s\n", bold ? "\033[1m" : "", buffer_end(line), bold ? "\033[0m" : "");
  buffer_clear(line);
}

static void print_names(const table *t, buffer *line) {
  buffer name = {0};
  for (size_t i = 0; i < t->columns; i++) {
    buffer_clear(&name);
    display_add(&name, t->names[i], strlen(t->names[i]));
    add_cell(t, i, &name, display_width(name.data, name.size), line);
  }
  buffer_free(&name);
  print_line(line, display_is_coloured(stdout));
}

static void print_table(const cJSON *list) {
  table t = {.list = list, .narrow = display_is_terminal(stdout)};
  measure(&t);
  if (!list->child || t.columns == 0) {
    (void)puts("(none)");
    return;
  }
  buffer text = {0}, line = {0};
  const cJSON *row;
  print_names(&t, &line);
  cJSON_ArrayForEach(row, list) {
    for (size_t i = 0; i < t.columns; i++) {
      size_t width = cell(&t, row, i, &text);
      add_cell(&t, i, &text, width, &line);
    }
    print_line(&line, false);
  }
  buffer_free(&text);
  buffer_free(&line);
}

/* The one list of objects of an answer whose other members are plain, such as the `next` of a page. */
static const cJSON *only_list(const cJSON *answer) {
  const cJSON *list = NULL, *member;
  if (!cJSON_IsObject(answer)) return NULL;
  cJSON_ArrayForEach(member, answer) {
    if (cJSON_IsObject(member) || (cJSON_IsArray(member) && list)) return NULL;
    if (cJSON_IsArray(member)) list = member;
  }
  const cJSON *item;
  cJSON_ArrayForEach(item, list) if (!cJSON_IsObject(item)) return NULL;
  return list;
}

static void print_rest(const cJSON *answer, const cJSON *list) {
  const cJSON *member;
  buffer text = {0};
  cJSON_ArrayForEach(member, answer) {
    if (member == list || cJSON_IsNull(member)) continue;
    buffer_clear(&text);
    add_plain(&text, member);
    (void)puts("");
    display_text(stdout, member->string);
    (void)printf(": %s", buffer_end(&text));
    if (strcmp(member->string, "next") == 0) (void)printf("   (there is more: --after %s)", buffer_end(&text));
    (void)puts("");
  }
  buffer_free(&text);
}

void answer_print(const session *s, const buffer *answer) {
  cJSON *parsed = s->json ? NULL : cJSON_ParseWithLength(answer->data, answer->size);
  const cJSON *list = only_list(parsed);
  buffer text = {0};
  if (list) {
    print_table(list);
    print_rest(parsed, list);
  } else if (answer->size > 0) {
    add_json(&text, answer->data, answer->size, !s->json || display_is_terminal(stdout));
    (void)puts(buffer_end(&text));
  }
  buffer_free(&text);
  cJSON_Delete(parsed);
}
