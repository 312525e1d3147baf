#include "manual/manual.h"

enum { WIDTH = 100, WIDEST_NAME = 34 };

/* ---- Lines ---------------------------------------------------------------------------------------------------------------------------- */

static void spaces(buffer *out, size_t count) {
  for (size_t i = 0; i < count; i++) buffer_char(out, ' ');
}

/* Breaks one paragraph between words; the first line goes on at `column`, the others begin at `indent`. */
static void wrap(buffer *out, const char *text, size_t size, size_t column, size_t indent) {
  bool begun = false;
  for (size_t at = 0; at < size;) {
    size_t word = 0;
    while (at + word < size && text[at + word] != ' ' && text[at + word] != '\n') word++;
    if (begun && column + 1 + word > WIDTH) {
      buffer_char(out, '\n');
      spaces(out, indent);
      column = indent;
    } else if (begun && word > 0) {
      buffer_char(out, ' ');
      column++;
    }
    for (size_t i = 0; i < word; i++) buffer_char(out, text[at + i] == '`' ? '\'' : text[at + i]);
    column += word;
    begun = begun || word > 0;
    for (at += word; at < size && (text[at] == ' ' || text[at] == '\n');) at++;
  }
  buffer_char(out, '\n');
}

/* Paragraphs; the lines that begin with four spaces stay as they are. */
static void paragraphs(buffer *out, const char *text) {
  while (*text) {
    const char *end = strstr(text, "\n\n");
    size_t size = end ? (size_t)(end - text) : strlen(text);
    if (strncmp(text, "    ", 4) == 0) {
      buffer_add(out, text, size);
      buffer_char(out, '\n');
    } else wrap(out, text, size, 0, 0);
    text += size + (end ? 2 : 0);
    if (*text) buffer_char(out, '\n');
  }
}

/* A name, and its text in the column behind all names; behind a name that is too long for it, on the next line. */
static void row(buffer *out, const char *name, const char *text, size_t widest) {
  size_t indent = widest + 4, size = strlen(name);
  buffer_format(out, "  %s", name);
  if (size > widest) buffer_char(out, '\n');
  spaces(out, size > widest ? indent : indent - 2 - size);
  wrap(out, text, strlen(text), indent, indent);
}

static void print(FILE *to, buffer *text) {
  (void)fputs(buffer_end(text), to);
  buffer_free(text);
}

/* ---- Options -------------------------------------------------------------------------------------------------------------------------- */

static void option_name(const manual_option *option, buffer *out) {
  buffer_text(out, option->name);
  if (option->value) buffer_format(out, " %s", option->value);
}

static void options(buffer *out, const manual_option *all, size_t count) {
  size_t widest = 0;
  buffer name = {0}, text = {0};
  for (size_t i = 0; i < count; i++) {
    buffer_clear(&name);
    option_name(&all[i], &name);
    if (name.size > widest && name.size <= WIDEST_NAME) widest = name.size;
  }
  for (size_t i = 0; i < count; i++) {
    buffer_clear(&name);
    buffer_clear(&text);
    option_name(&all[i], &name);
    buffer_text(&text, all[i].text);
    if (all[i].choices) buffer_format(&text, " (one of %s)", all[i].choices);
    if (all[i].required) buffer_text(&text, " (required)");
    row(out, buffer_end(&name), buffer_end(&text), widest);
  }
  buffer_free(&name);
  buffer_free(&text);
}

/* ---- Commands ------------------------------------------------------------------------------------------------------------------------- */

void manual_synopsis(const manual_command *about, bool with_options, buffer *out) {
  buffer_text(out, about->words);
  if (about->operands) buffer_format(out, "%s%s", about->words[0] ? " " : "", about->operands);
  for (size_t i = 0; i < about->option_count; i++) {
    const manual_option *option = &about->options[i];
    if (!with_options && !option->required) continue;
    buffer_text(out, option->required ? " " : " [");
    option_name(option, out);
    if (!option->required) buffer_char(out, ']');
  }
}

static void command_row(buffer *out, const manual_program *program, const manual_command *about, size_t widest) {
  buffer name = {0};
  buffer_format(&name, "%s ", program->name);
  manual_synopsis(about, false, &name);
  while (name.size > 0 && name.data[name.size - 1] == ' ') name.size--;
  row(out, buffer_end(&name), about->summary, widest);
  buffer_free(&name);
}

static void commands(buffer *out, const manual_program *program) {
  for (size_t i = 0; i < program->command_count; i++) {
    const manual_command *about = &program->commands[i];
    if (about->group || i == 0) buffer_format(out, "\n%s:\n", about->group ? about->group : "Commands");
    command_row(out, program, about, WIDEST_NAME);
  }
}

void manual_help(const manual_program *program, FILE *to) {
  buffer out = {0};
  buffer_format(&out, "%s: %s\n\n", program->name, program->summary);
  for (size_t i = 0; i < program->synopsis_count; i++)
    buffer_format(&out, "%s %s %s\n", i == 0 ? "Usage:" : "      ", program->name, program->synopsis[i]);
  commands(&out, program);
  if (program->option_count > 0) buffer_text(&out, "\nOptions:\n");
  options(&out, program->options, program->option_count);
  if (program->exits) {
    buffer_char(&out, '\n');
    buffer line = {0};
    buffer_format(&line, "Exit codes: %s", program->exits);
    wrap(&out, line.data, line.size, 0, 12);
    buffer_free(&line);
  }
  print(to, &out);
}

static bool is_first_word(const manual_command *about, const char *word) {
  size_t size = strlen(word);
  return strncmp(about->words, word, size) == 0 && (about->words[size] == ' ' || about->words[size] == '\0');
}

size_t manual_help_group(const manual_program *program, const char *word, FILE *to) {
  buffer out = {0}, name = {0};
  size_t count = 0;
  for (size_t i = 0; i < program->command_count; i++) {
    const manual_command *about = &program->commands[i];
    if (!is_first_word(about, word)) continue;
    buffer_clear(&name);
    manual_synopsis(about, true, &name);
    buffer_format(&out, "%s %s %s\n", count == 0 ? "Usage:" : "      ", program->name, buffer_end(&name));
    spaces(&out, 11);
    wrap(&out, about->summary, strlen(about->summary), 11, 11);
    count++;
  }
  buffer_free(&name);
  print(to, &out);
  return count;
}

void manual_help_command(const manual_program *program, const manual_command *about, FILE *to) {
  buffer out = {0}, usage = {0};
  manual_synopsis(about, true, &usage);
  buffer_format(&out, "Usage: %s ", program->name);
  wrap(&out, usage.data, usage.size, strlen(program->name) + 8, 11);
  buffer_char(&out, '\n');
  buffer_format(&out, "%s.\n", about->summary);
  if (about->text) buffer_char(&out, '\n');
  if (about->text) paragraphs(&out, about->text);
  if (about->option_count > 0) buffer_text(&out, "\nOptions:\n");
  options(&out, about->options, about->option_count);
  buffer_free(&usage);
  print(to, &out);
}
