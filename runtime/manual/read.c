#include "manual/manual.h"
#include "core/text.h"

/* ---- Operands: "FILE [NAME ...]" ------------------------------------------------------------------------------------------------------ */

typedef struct operands {
  size_t least, most;
} operands;

static operands operands_of(const char *text) {
  operands o = {0};
  bool choice = false;
  for (const char *at = text ? text : ""; *at;) {
    size_t size = strcspn(at, " ");
    if (size == 1 && *at == '|') choice = true; /* "A | B" is one operand */
    else if (size >= 3 && strncmp(at, "...", 3) == 0) o.most = MANUAL_MOST_OPERANDS;
    else if (choice) choice = false;
    else {
      o.most = o.most < MANUAL_MOST_OPERANDS ? o.most + 1 : o.most;
      if (*at != '[') o.least++;
    }
    at += size;
    while (*at == ' ') at++;
  }
  return o;
}

/* ---- Options -------------------------------------------------------------------------------------------------------------------------- */

static const manual_option *find(const manual_command *about, const char *name, size_t size, const char **meant) {
  size_t far = TEXT_FAR;
  for (size_t i = 0; i < about->option_count; i++) {
    const char *known = about->options[i].name;
    if (strlen(known) == size && memcmp(known, name, size) == 0) return &about->options[i];
    if (text_is_nearer(name, size, known, &far)) *meant = known;
  }
  return NULL;
}

static bool is_choice(const char *choices, const char *value) {
  size_t size = strlen(value);
  for (const char *at = choices; *at;) {
    size_t word = strcspn(at, ",");
    if (word == size && memcmp(at, value, size) == 0) return true;
    at += word;
    while (*at == ',' || *at == ' ') at++;
  }
  return false;
}

/* Takes the option at *at and its value. */
static bool take(const manual_command *about, int count, char **arguments, int *at, manual_given *out, buffer *why) {
  const char *argument = arguments[*at], *meant = NULL, *equals = strchr(argument, '=');
  size_t size = equals ? (size_t)(equals - argument) : strlen(argument);
  const manual_option *option = find(about, argument, size, &meant);
  if (!option) {
    buffer_format(why, "unknown option '%.*s'", (int)size, argument);
    if (meant) buffer_format(why, "; did you mean %s?", meant);
    return false;
  }
  const char *value = equals ? equals + 1 : NULL;
  if (!option->value && value) {
    buffer_format(why, "%s takes no value", option->name);
    return false;
  }
  if (option->value && !value && *at + 1 < count) value = arguments[++*at];
  if (option->value && !value) {
    buffer_format(why, "%s needs a value: %s", option->name, option->value);
    return false;
  }
  if (value && option->choices && !is_choice(option->choices, value)) {
    buffer_format(why, "%s is one of %s, not '%s'", option->name, option->choices, value);
    return false;
  }
  out->values[option - about->options] = option->value ? value : option->name;
  return true;
}

static bool is_whole(const manual_command *about, const manual_given *out, buffer *why) {
  for (size_t i = 0; i < about->option_count; i++) {
    if (!about->options[i].required || out->values[i]) continue;
    buffer_format(why, "%s %s is missing", about->options[i].name, about->options[i].value);
    return false;
  }
  operands wanted = operands_of(about->operands);
  if (out->operand_count < wanted.least) {
    buffer_format(why, "%s is missing", about->operands);
    return false;
  }
  if (out->operand_count <= wanted.most) return true;
  buffer_format(why, "'%s' is not expected", out->operands[wanted.most]);
  return false;
}

bool manual_read(const manual_command *about, int count, char **arguments, manual_given *out, buffer *why) {
  *out = (manual_given){.options = about->options, .option_count = about->option_count};
  if (about->option_count > MANUAL_MOST_OPTIONS) {
    buffer_format(why, "the command has more than %d options", MANUAL_MOST_OPTIONS);
    return false;
  }
  bool only_operands = false;
  for (int i = 0; i < count; i++) {
    const char *argument = arguments[i];
    bool option = !only_operands && argument[0] == '-' && argument[1];
    if (option && strcmp(argument, "--") == 0) only_operands = true;
    else if (option) {
      if (!take(about, count, arguments, &i, out, why)) return false;
    } else if (out->operand_count == MANUAL_MOST_OPERANDS) {
      buffer_format(why, "'%s' is not expected: there are too many", argument);
      return false;
    } else out->operands[out->operand_count++] = argument;
  }
  return is_whole(about, out, why);
}

bool manual_read_or_say(const manual_command *about, int count, char **arguments, manual_given *out) {
  buffer why = {0};
  bool fine = manual_read(about, count, arguments, out, &why);
  buffer usage = {0};
  if (!fine) manual_synopsis(about, true, &usage);
  if (!fine)
    (void)fprintf(stderr, "purlin: %s: %s\nUsage: purlin %s\n", about->words, buffer_end(&why), buffer_end(&usage));
  buffer_free(&usage);
  buffer_free(&why);
  return fine;
}

const char *manual_value(const manual_given *given, const char *name) {
  for (size_t i = 0; i < given->option_count; i++)
    if (strcmp(given->options[i].name, name) == 0) return given->values[i];
  return NULL;
}

/* ---- Commands ------------------------------------------------------------------------------------------------------------------------- */

bool manual_is_help(const char *argument) {
  return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0 || strcmp(argument, "help") == 0;
}

bool manual_asks_for_help(int count, char **arguments) {
  if (count > 0 && manual_is_help(arguments[0])) return true;
  for (int i = 0; i < count; i++)
    if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0) return true;
  return false;
}

/* How many arguments the words of a command are; 0: they are others. */
static int matches(const char *words, int count, char **arguments) {
  int matched = 0;
  while (*words) {
    size_t size = strcspn(words, " ");
    if (matched == count || strlen(arguments[matched]) != size || memcmp(arguments[matched], words, size) != 0) return 0;
    matched++;
    words += size;
    while (*words == ' ') words++;
  }
  return matched;
}

const manual_command *manual_find(const manual_program *program, int count, char **arguments, int *words) {
  const manual_command *found = NULL;
  *words = 0;
  for (size_t i = 0; i < program->command_count; i++) {
    int matched = matches(program->commands[i].words, count, arguments);
    if (matched <= *words) continue;
    *words = matched;
    found = &program->commands[i];
  }
  return found;
}
