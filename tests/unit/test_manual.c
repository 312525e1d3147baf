#include "manual/manual.h"
#include "manual/roff.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static int nothing(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  (void)about;
  (void)count;
  (void)arguments;
  return 0;
}

static const manual_option OPTIONS[] = {
    {"--to", "DIR", .text = "Where it goes", .kind = MANUAL_FOLDER, .required = true},
    {"--level", "LEVEL", .text = "How much", .choices = "low, high"},
    {"--quick", .text = "Without a look"},
};
static const manual_command COMMANDS[] = {
    {"", "PLUGIN", .summary = "Its operations", .group = "Server"},
    {"keep", "FILE [MORE ...]", .summary = "Keep files", .text = "They stay.\n\n    keep -a\n\n`All` of them.",
     MANUAL_OPTIONS(OPTIONS), .operand_kind = MANUAL_FILE, .run = nothing},
    {"keep nothing", .summary = "Keep none", .group = "Odd", .run = nothing},
    {"serve", "A | B", .summary = "Serve", .run = nothing},
};
static const char *const SYNOPSIS[] = {"[OPTION ...]"};
static const manual_program PROGRAM = {
    .name = "tool",
    .section = "1",
    .summary = "a tool",
    .synopsis = SYNOPSIS,
    .synopsis_count = 1,
    .text = ".first 'words' of a \\ text",
    .commands = COMMANDS,
    .command_count = 4,
    MANUAL_OPTIONS(OPTIONS),
    .exits = "0 done; 1 not",
    .see_also = "`other`(1)",
};

#define WORDS(...)                                                                                                         \
  (char **)(uintptr_t)(const char *[]) { __VA_ARGS__ }
#define COUNT(...) (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

/* ---- Arguments --------------------------------------------------------------------------------------------------------------------- */

static bool read_words(const manual_command *about, manual_given *given, char *why, int count, char **words) {
  buffer text = {0};
  bool fine = manual_read(about, count, words, given, &text);
  (void)snprintf(why, 200, "%s", buffer_end(&text));
  buffer_free(&text);
  return fine;
}
#define READ(about, given, why, ...) read_words(about, given, why, COUNT(__VA_ARGS__), WORDS(__VA_ARGS__))

static void arguments_are_read_by_the_table(void **state) {
  (void)state;
  manual_given given;
  char why[200];
  assert_true(READ(&COMMANDS[1], &given, why, "a", "--to", "x", "--level=high", "--quick", "b", "--", "--to"));
  assert_string_equal(manual_value(&given, "--to"), "x");
  assert_string_equal(manual_value(&given, "--level"), "high");
  assert_non_null(manual_value(&given, "--quick"));
  assert_null(manual_value(&given, "--other"));
  assert_int_equal(given.operand_count, 3);
  assert_string_equal(given.operands[2], "--to");
  assert_true(READ(&COMMANDS[1], &given, why, "-", "--to", "x", "--to", "--quick"));
  assert_string_equal(manual_value(&given, "--to"), "--quick");
  assert_null(manual_value(&given, "--quick"));
  assert_true(READ(&COMMANDS[3], &given, why, "b"));
}

static void wrong_arguments_are_named(void **state) {
  (void)state;
  manual_given given;
  char why[200];
  const struct {
    const char *words[4];
    const char *said;
  } cases[] = {
      {{"a", "--ot", "x"}, "unknown option '--ot'; did you mean --to?"},
      {{"a", "--entirely=x"}, "unknown option '--entirely'"},
      {{"a", "--to"}, "--to needs a value: DIR"},
      {{"a", "--quick=yes"}, "--quick takes no value"},
      {{"a", "--level", "hig"}, "--level is one of low, high, not 'hig'"},
      {{"a", "--quick"}, "--to DIR is missing"},
      {{"--to", "x"}, "FILE [MORE ...] is missing"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int count = 0;
    while (count < 4 && cases[i].words[count]) count++;
    assert_false(read_words(&COMMANDS[1], &given, why, count, (char **)(uintptr_t)cases[i].words));
    assert_string_equal(why, cases[i].said);
  }
  assert_false(READ(&COMMANDS[3], &given, why, "a", "b"));
  assert_string_equal(why, "'b' is not expected");
  char *many[MANUAL_MOST_OPERANDS + 1];
  for (size_t i = 0; i <= MANUAL_MOST_OPERANDS; i++) many[i] = (char *)(uintptr_t) "x";
  assert_false(read_words(&COMMANDS[1], &given, why, MANUAL_MOST_OPERANDS + 1, many));
  assert_non_null(strstr(why, "too many"));
}

static void the_longest_command_is_found(void **state) {
  (void)state;
  int words;
  assert_ptr_equal(manual_find(&PROGRAM, 2, WORDS("keep", "nothing"), &words), &COMMANDS[2]);
  assert_int_equal(words, 2);
  assert_ptr_equal(manual_find(&PROGRAM, 2, WORDS("keep", "nothin"), &words), &COMMANDS[1]);
  assert_int_equal(words, 1);
  assert_null(manual_find(&PROGRAM, 1, WORDS("kee"), &words));
  assert_null(manual_find(&PROGRAM, 0, NULL, &words));
  assert_true(manual_asks_for_help(2, WORDS("x", "-h")));
  assert_false(manual_asks_for_help(2, WORDS("x", "help")));
}

/* ---- What is printed ----------------------------------------------------------------------------------------------------------------- */

static char *printed(void (*print)(FILE *to)) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  assert_non_null(to);
  print(to);
  assert_int_equal(fclose(to), 0);
  return text;
}

static void print_help(FILE *to) { manual_help(&PROGRAM, to); }
static void print_command(FILE *to) { manual_help_command(&PROGRAM, &COMMANDS[1], to); }

static void help_follows_from_the_table(void **state) {
  (void)state;
  char *text = printed(print_help);
  assert_string_equal(text, "tool: a tool\n\nUsage: tool [OPTION ...]\n\n"
                            "Server:\n"
                            "  tool PLUGIN                         Its operations\n"
                            "  tool keep FILE [MORE ...] --to DIR  Keep files\n"
                            "\nOdd:\n"
                            "  tool keep nothing                   Keep none\n"
                            "  tool serve A | B                    Serve\n"
                            "\nOptions:\n"
                            "  --to DIR       Where it goes (required)\n"
                            "  --level LEVEL  How much (one of low, high)\n"
                            "  --quick        Without a look\n"
                            "\nExit codes: 0 done; 1 not\n");
  free(text);
  text = printed(print_command);
  assert_non_null(strstr(text, "Usage: tool keep FILE [MORE ...] --to DIR [--level LEVEL] [--quick]\n\nKeep files.\n\n"
                               "They stay.\n\n    keep -a\n\n'All' of them.\n"));
  free(text);
}

/* ---- Completion ----------------------------------------------------------------------------------------------------------------------- */

static char *completed(int count, char **words) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  assert_non_null(to);
  int skipped = manual_complete_options(&PROGRAM, count, words, to), matched;
  if (skipped >= 0) {
    const manual_completion c = {words[count - 1], to};
    const manual_command *about = manual_find(&PROGRAM, count - skipped - 1, words + skipped, &matched);
    if (about) manual_complete_command(about, count - skipped - matched, words + skipped + matched, to);
    else manual_offer_commands(&c, &PROGRAM);
  }
  assert_int_equal(fclose(to), 0);
  return text;
}
#define COMPLETED(expected, ...)                                                                                           \
  do {                                                                                                                     \
    char *text_ = completed(COUNT(__VA_ARGS__), WORDS(__VA_ARGS__));                                                       \
    assert_string_equal(text_, expected);                                                                                  \
    free(text_);                                                                                                           \
  } while (0)

static void completion_follows_from_the_table(void **state) {
  (void)state;
  COMPLETED("keep\tKeep files\nserve\tServe\n", "");
  COMPLETED("serve\tServe\n", "s");
  COMPLETED("keep\tKeep files\n", "--quick", "--to", "x", "k");
  COMPLETED("--to\tWhere it goes\n", "--t");
  COMPLETED(":folders\n", "--to", "");
  COMPLETED("low\nhigh\n", "--level", "");
  COMPLETED("high\n", "keep", "--level", "h");
  COMPLETED(":files\n", "keep", "a");
  COMPLETED("--quick\tWithout a look\n", "keep", "a", "--q");
  COMPLETED("", "keep", "nothing", "x");
}

/* ---- Pages ----------------------------------------------------------------------------------------------------------------------------- */

static void a_text_is_never_a_request(void **state) {
  (void)state;
  buffer out = {0};
  roff_paragraphs(&out, ".so /etc/passwd\n\n'br \\*(xx `a-b` --c -\n\n    .sy x\n    'y'", true);
  assert_string_equal(buffer_end(&out), "\\&.so /etc/passwd\n.PP\n\\&'br \\e*(xx \\fBa\\-b\\fR \\-\\-c -\n"
                                        ".PP\n.RS 4\n.nf\n\\&.sy x\n\\&\\(aqy\\(aq\n.fi\n.RE\n");
  buffer_free(&out);
}

static void lines_are_short(void **state) {
  (void)state;
  buffer out = {0}, text = {0};
  for (int i = 0; i < 400; i++) buffer_text(&text, i % 7 == 0 ? "'word " : "`x-y` ");
  roff_sentence(&out, buffer_end(&text));
  size_t longest = 0, at = 0;
  while (at < out.size) {
    const char *end = memchr(out.data + at, '\n', out.size - at);
    assert_non_null(end);
    size_t size = (size_t)(end - out.data) - at;
    longest = size > longest ? size : longest;
    at += size + 1;
  }
  assert_in_range(longest, 60, 80);
  buffer_free(&out);
  buffer_free(&text);
}

static void a_page_has_all_of_the_table(void **state) {
  (void)state;
  buffer out = {0};
  assert_int_equal(setenv("SOURCE_DATE_EPOCH", "1700000000", 1), 0);
  manual_page(&PROGRAM, &out);
  const char *text = buffer_end(&out);
  static const char *const parts[] = {".TH \"TOOL\" 1 2023-11-14 \"Purlin ",
                                      ".SH NAME\ntool \\-\na tool\n",
                                      ".SH DESCRIPTION\n\\&.first 'words' of a \\e text\n",
                                      ".SS Odd\n",
                                      "\\fBtool\\fR \\fBkeep\\fR \\fIFILE\\fR",
                                      "\\fB\\-\\-to\\fR \\fIDIR\\fR\nWhere it goes. Required.\n",
                                      ".SH EXIT STATUS\n.TP\n\\fB0\\fR\ndone.\n.TP\n\\fB1\\fR\nnot.\n",
                                      ".SH SEE ALSO\n\\fBother\\fR(1)\n"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (!strstr(text, parts[i])) fail_msg("'%s' is not in\n%s", parts[i], text);
  buffer_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arguments_are_read_by_the_table),
      cmocka_unit_test(wrong_arguments_are_named),
      cmocka_unit_test(the_longest_command_is_found),
      cmocka_unit_test(help_follows_from_the_table),
      cmocka_unit_test(completion_follows_from_the_table),
      cmocka_unit_test(a_text_is_never_a_request),
      cmocka_unit_test(lines_are_short),
      cmocka_unit_test(a_page_has_all_of_the_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
