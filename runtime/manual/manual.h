/* manual.h: what a program can do, declared once in tables: its --help, its manual page, the completion of shells and the reading of
 * its arguments follow from them, so none of these tells of an option that another does not know.
 *
 * manual/read.c      arguments, by the table
 * manual/help.c      --help
 * manual/complete.c  what may stand next on a command line
 * manual/page.c      the manual page of a program
 * manual/roff.c      texts and schemas in roff (roff.h), for pages of other kinds
 *
 * The tables are the programs' own: ctl/commands.c, daemon/arguments.c, runner/runner.c. Uses core alone. */
#ifndef PURLIN_MANUAL_MANUAL_H
#define PURLIN_MANUAL_MANUAL_H

#include "core/buffer.h"
#include <stdio.h>

/* What a value is, for completion. */
typedef enum manual_kind { MANUAL_WORD = 0, MANUAL_FILE, MANUAL_FOLDER } manual_kind;

typedef struct manual_option {
  const char *name;  /* "--config" */
  const char *value; /* what it takes, in capitals: "FILE"; NULL: nothing, it is a flag */
  const char *text;  /* what it does, without a full stop at its end */
  manual_kind kind;
  const char *choices; /* the only values: "a, b"; NULL: any */
  bool required;
} manual_option;

/* Does what a command is for, and returns the program's exit code. `to` is what the program hands to all of its commands, `arguments`
 * what follows the command's words. */
struct manual_command;
typedef int manual_run(void *to, const struct manual_command *about, int count, char **arguments);

typedef struct manual_command {
  const char *words;    /* "audit verify"; "": not a command but a way to call the program */
  const char *operands; /* "FILE", "[NAME]", "URL [OPTION ...]"; NULL: none */
  const char *summary;  /* one line */
  const char *text;     /* more, as in manual_chapter; NULL: nothing */
  const manual_option *options;
  size_t option_count;
  manual_kind operand_kind;
  const char *choices; /* of its first operand; NULL: any */
  const char *group;   /* the heading under which it and those after it stand; NULL: as before */
  manual_run *run;     /* NULL: an operation of the server, for which this is a shorter way */
  bool raw;            /* reads its arguments itself, --help among them */
  bool shared;         /* its first word is a plugin of the server, too */
} manual_command;

/* A text is paragraphs with an empty line between them; what stands between `backticks` is literal, and so is a line that begins with
 * four spaces. */
typedef struct manual_term {
  const char *name, *text;
} manual_term;
typedef struct manual_chapter {
  const char *title; /* "FILES" */
  const char *text;  /* NULL: only the terms */
  const manual_term *terms;
  size_t term_count;
} manual_chapter;

typedef struct manual_program {
  const char *name, *section, *summary; /* "purlind", "8", "the Purlin daemon" */
  const char *const *synopsis;          /* what follows the name, a line each */
  size_t synopsis_count;
  const char *text; /* DESCRIPTION */
  const manual_option *options;
  size_t option_count;
  const manual_command *commands;
  size_t command_count;
  const manual_chapter *chapters; /* after the options */
  size_t chapter_count;
  const char *exits;    /* "0 done; 1 failed": parts of "CODE MEANING" */
  const char *see_also; /* "purlin(1), purlin.lua(5)" */
} manual_program;

/* For members that are an array and its size. */
#define MANUAL_ALL(array) (array), sizeof(array) / sizeof((array)[0])
#define MANUAL_OPTIONS(array) .options = (array), .option_count = sizeof(array) / sizeof((array)[0])

/* ---- Arguments --------------------------------------------------------------------------------------------------------------------- */

enum { MANUAL_MOST_OPTIONS = 24, MANUAL_MOST_OPERANDS = 16 };

typedef struct manual_given {
  const manual_option *options;
  size_t option_count;
  const char *values[MANUAL_MOST_OPTIONS]; /* of options[i]: NULL when it was not given; of a flag its name */
  const char *operands[MANUAL_MOST_OPERANDS];
  size_t operand_count;
} manual_given;

/* Reads "--name VALUE", "--name=VALUE", flags and operands ("--": only these follow), and holds them to the table: known, given with a
 * value, one of the choices, all that is required, as many operands as there are names. False: `why` says what is wrong. The last of
 * several counts. */
bool manual_read(const manual_command *about, int count, char **arguments, manual_given *out, buffer *why);
/* The same for a command of purlin: false was said on stderr, with the usage. */
bool manual_read_or_say(const manual_command *about, int count, char **arguments, manual_given *out);
/* What was given for an option of the table; NULL: nothing. */
const char *manual_value(const manual_given *given, const char *name);
/* --help, -h or help is the first of them; is somewhere among them (the word "help" excepted). */
bool manual_is_help(const char *argument);
bool manual_asks_for_help(int count, char **arguments);
/* The command whose words the arguments begin with, the longest such; NULL: none. `words` is how many they are. */
const manual_command *manual_find(const manual_program *program, int count, char **arguments, int *words);

/* ---- Help -------------------------------------------------------------------------------------------------------------------------- */

void manual_synopsis(const manual_command *about, bool with_options,
                     buffer *out); /* "audit verify FILE [--head RECEIPT]" */
void manual_help(const manual_program *program, FILE *to);
void manual_help_command(const manual_program *program, const manual_command *about, FILE *to);
/* One line for each command whose first word this is; how many they were. */
size_t manual_help_group(const manual_program *program, const char *word, FILE *to);

/* ---- Completion -------------------------------------------------------------------------------------------------------------------- */

/* What a shell asks by `PROGRAM __complete WORD ...`: the last word is the one that is being written, and may be empty. The answer is a
 * candidate a line, with a tab and what it is behind it; ":files" and ":folders" stand for those that begin so. */
typedef struct manual_completion {
  const char *begun;
  FILE *to;
} manual_completion;
/* Offers a candidate when it begins as it should. */
void manual_offer(const manual_completion *c, const char *candidate, const char *text);
void manual_offer_choices(const manual_completion *c, const char *choices);
void manual_offer_value(const manual_completion *c, const manual_option *option);
void manual_offer_options(const manual_completion *c, const manual_option *options, size_t count);
/* The first words of the commands. */
void manual_offer_commands(const manual_completion *c, const manual_program *program);
/* How many of the words the program's own options before the first command take. -1: the last word is one of them, or its value, and
 * was completed. */
int manual_complete_options(const manual_program *program, int count, char **words, FILE *to);
/* What follows the words of a command. */
void manual_complete_command(const manual_command *about, int count, char **words, FILE *to);

/* ---- Pages ------------------------------------------------------------------------------------------------------------------------- */

void manual_page(const manual_program *program, buffer *out);

#endif
