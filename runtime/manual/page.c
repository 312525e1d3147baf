#include "manual/manual.h"
#include "manual/roff.h"

static void options(buffer *out, const manual_option *all, size_t count) {
  buffer text = {0};
  for (size_t i = 0; i < count; i++) {
    buffer_clear(&text);
    buffer_format(&text, "%s.", all[i].text);
    if (all[i].choices) buffer_format(&text, " One of %s.", all[i].choices);
    if (all[i].required) buffer_text(&text, " Required.");
    roff_term(out, all[i].name, all[i].value);
    roff_sentence(out, buffer_end(&text));
  }
  buffer_free(&text);
}

static void commands(buffer *out, const manual_program *program) {
  if (program->command_count > 0) roff_section(out, "COMMANDS");
  buffer words = {0}, sentence = {0};
  for (size_t i = 0; i < program->command_count; i++) {
    const manual_command *about = &program->commands[i];
    if (about->group) roff_subsection(out, about->group);
    buffer_clear(&words);
    buffer_clear(&sentence);
    manual_synopsis(about, true, &words);
    buffer_format(&sentence, "%s.", about->summary);
    buffer_text(out, ".TP\n");
    roff_synopsis(out, program->name, buffer_end(&words));
    roff_sentence(out, buffer_end(&sentence));
    if (about->text || about->option_count > 0) buffer_text(out, ".RS\n");
    if (about->text) roff_paragraphs(out, about->text, false);
    options(out, about->options, about->option_count);
    if (about->text || about->option_count > 0) buffer_text(out, ".RE\n");
  }
  buffer_free(&words);
  buffer_free(&sentence);
}

static void chapter(buffer *out, const manual_chapter *about) {
  roff_section(out, about->title);
  if (about->text) roff_paragraphs(out, about->text, true);
  for (size_t i = 0; i < about->term_count; i++) {
    roff_term(out, about->terms[i].name, NULL);
    roff_sentence(out, about->terms[i].text);
  }
}

/* "0 done; 1 refused or failed" */
static void exits(buffer *out, const char *text) {
  roff_section(out, "EXIT STATUS");
  while (*text) {
    size_t size = strcspn(text, ";"), code = strcspn(text, " ");
    buffer part = {0};
    buffer_format(&part, "%.*s", (int)code, text);
    roff_term(out, buffer_end(&part), NULL);
    buffer_clear(&part);
    buffer_format(&part, "%.*s.", (int)(size > code ? size - code : 0), text + code);
    roff_sentence(out, buffer_end(&part));
    buffer_free(&part);
    text += size;
    while (*text == ';' || *text == ' ') text++;
  }
}

void manual_page(const manual_program *program, buffer *out) {
  roff_begin(out, program->name, program->section, program->summary);
  if (program->synopsis_count > 0) roff_section(out, "SYNOPSIS");
  for (size_t i = 0; i < program->synopsis_count; i++) {
    if (i > 0) buffer_text(out, ".br\n");
    roff_synopsis(out, program->name, program->synopsis[i]);
  }
  if (program->text) roff_section(out, "DESCRIPTION");
  if (program->text) roff_paragraphs(out, program->text, true);
  commands(out, program);
  if (program->option_count > 0) roff_section(out, "OPTIONS");
  options(out, program->options, program->option_count);
  for (size_t i = 0; i < program->chapter_count; i++) chapter(out, &program->chapters[i]);
  if (program->exits) exits(out, program->exits);
  if (!program->see_also) return;
  roff_section(out, "SEE ALSO");
  roff_sentence(out, program->see_also);
}
