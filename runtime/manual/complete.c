#include "manual/manual.h"

void manual_offer(const manual_completion *c, const char *candidate, const char *text) {
  if (strncmp(candidate, c->begun, strlen(c->begun)) != 0) return;
  (void)fprintf(c->to, text && *text ? "%s\t%s\n" : "%s\n", candidate, text);
}

void manual_offer_choices(const manual_completion *c, const char *choices) {
  if (!choices) return;
  for (const char *at = choices; *at;) {
    size_t size = strcspn(at, ",");
    char word[128];
    if (size > 0 && size < sizeof word) {
      (void)snprintf(word, sizeof word, "%.*s", (int)size, at);
      manual_offer(c, word, NULL);
    }
    at += size;
    while (*at == ',' || *at == ' ') at++;
  }
}

static void offer_kind(const manual_completion *c, manual_kind kind) {
  if (kind == MANUAL_FILE) (void)fputs(":files\n", c->to);
  if (kind == MANUAL_FOLDER) (void)fputs(":folders\n", c->to);
}

void manual_offer_value(const manual_completion *c, const manual_option *option) {
  if (option->choices) manual_offer_choices(c, option->choices);
  else offer_kind(c, option->kind);
}

void manual_offer_options(const manual_completion *c, const manual_option *options, size_t count) {
  for (size_t i = 0; i < count; i++) manual_offer(c, options[i].name, options[i].text);
}

static bool is_begun_before(const manual_program *program, size_t index, const char *word) {
  for (size_t i = 0; i < index; i++) {
    const char *words = program->commands[i].words;
    if (strncmp(words, word, strlen(word)) == 0 && (words[strlen(word)] == ' ' || !words[strlen(word)])) return true;
  }
  return false;
}

void manual_offer_commands(const manual_completion *c, const manual_program *program) {
  for (size_t i = 0; i < program->command_count; i++) {
    const manual_command *about = &program->commands[i];
    char word[128];
    size_t size = strcspn(about->words, " ");
    if (size == 0 || size >= sizeof word) continue;
    (void)snprintf(word, sizeof word, "%.*s", (int)size, about->words);
    bool alone = about->words[size] == '\0';
    if (!is_begun_before(program, i, word)) manual_offer(c, word, alone ? about->summary : NULL);
  }
}

static const manual_option *option_of(const manual_option *options, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(options[i].name, name) == 0) return &options[i];
  return NULL;
}

int manual_complete_options(const manual_program *program, int count, char **words, FILE *to) {
  const manual_completion c = {words[count - 1], to};
  for (int i = 0; i < count; i++) {
    if (i + 1 == count && words[i][0] == '-') {
      manual_offer_options(&c, program->options, program->option_count);
      return -1;
    }
    if (i + 1 == count || words[i][0] != '-') return i;
    const manual_option *option = option_of(program->options, program->option_count, words[i]);
    if (!option || !option->value) continue;
    if (++i + 1 == count) {
      manual_offer_value(&c, option);
      return -1;
    }
  }
  return count - 1;
}

void manual_complete_command(const manual_command *about, int count, char **words, FILE *to) {
  const manual_completion c = {words[count - 1], to};
  const manual_option *before = count > 1 ? option_of(about->options, about->option_count, words[count - 2]) : NULL;
  if (before && before->value) {
    manual_offer_value(&c, before);
    return;
  }
  if (c.begun[0] == '-' || !about->operands) {
    manual_offer_options(&c, about->options, about->option_count);
    if (c.begun[0] == '-') manual_offer(&c, "--help", "What the command does");
    return;
  }
  if (about->choices && count == 1) manual_offer_choices(&c, about->choices);
  else offer_kind(&c, about->operand_kind);
}
