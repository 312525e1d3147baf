/* The manifest as the manual page purlin-NAME(1): what `purlin plugin manual FILE.so` prints. */
#include "manual/roff.h"
#include "plugin/host.h"
#include <purlin/quota.h>
#include <string.h>

/* A chapter, whose title comes with its first part. */
typedef struct chapter {
  buffer *out;
  const char *title;
  bool begun;
} chapter;

static buffer *begin(void *to) {
  chapter *c = to;
  if (!c->begun) roff_section(c->out, c->title);
  c->begun = true;
  return c->out;
}

static void sentence(buffer *out, const char *text, const char *more) {
  buffer line = {0};
  size_t size = strlen(text);
  buffer_format(&line, "%s%s%s", text, size > 0 && strchr(".:?!", text[size - 1]) ? "" : ".", more ? more : "");
  roff_sentence(out, buffer_end(&line));
  buffer_free(&line);
}

static void who_may(const char *permission, buffer *out) {
  if (strcmp(permission, "public") == 0) buffer_text(out, " For everybody.");
  else if (strcmp(permission, "authenticated") == 0) buffer_text(out, " For whoever is logged in, or has a key.");
  else buffer_format(out, " Needs the permission `%s`.", permission);
}

static void operation_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_operation *op = (const void *)declared;
  if (op->binds) return; /* an address of another operation, in another protocol: no command */
  buffer *out = begin(to);
  buffer words = {0}, more = {0};
  size_t place = p->builtin ? strcspn(op->name, "_") : SIZE_MAX; /* jobs_list is `purlin jobs list` */
  if (!p->builtin) buffer_format(&words, "%s ", p->name);
  for (size_t i = 0; op->name[i]; i++) buffer_char(&words, i == place ? ' ' : op->name[i] == '_' ? '-' : op->name[i]);
  roff_subsection(out, buffer_end(&words) + (p->builtin ? 0 : strlen(p->name) + 1));
  roff_synopsis(out, "purlin", buffer_end(&words));
  buffer_text(out, ".br\n");
  if (op->description) buffer_format(&more, " %s", op->description);
  who_may(op->permission, &more);
  sentence(out, op->summary, buffer_end(&more));
  roff_fields(out, op->in(), true);
  buffer_free(&words);
  buffer_free(&more);
}

/* A term "PLUGIN.NAME", or NAME alone without a plugin. */
static void named(buffer *out, const char *plugin_name, const char *name, const char *value, const char *text) {
  buffer term = {0};
  buffer_format(&term, "%s%s%s", plugin_name ? plugin_name : "", plugin_name ? "." : "", name);
  roff_term(out, buffer_end(&term), value);
  sentence(out, text, NULL);
  buffer_free(&term);
}

static void binding_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_operation *op = (const void *)declared;
  if (!op->binds || !op->http) return;
  buffer text = {0}, *out = begin(to);
  buffer_format(&text, "%s. Leads to `%s`.", op->summary ? op->summary : op->name, op->binds);
  roff_term(out, op->http, NULL);
  roff_sentence(out, buffer_end(&text));
  buffer_free(&text);
}

static void route_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_route *route = (const void *)declared;
  named(begin(to), NULL, route->http, NULL, route->summary);
}

static void event_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_event *event = (const void *)declared;
  named(begin(to), p->name, event->name, NULL, event->summary);
}

static void policy_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_policy *policy = (const void *)declared;
  buffer *out = begin(to);
  buffer name = {0}, more = {0};
  buffer_format(&name, "%s.%s", p->name, policy->name);
  buffer_format(&more, " Without a policy: `%s`.", policy->fallback);
  roff_term(out, buffer_end(&name), NULL);
  sentence(out, policy->summary, buffer_end(&more));
  buffer_free(&name);
  buffer_free(&more);
}

static void metric_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_metric *metric = (const void *)declared;
  buffer name = {0};
  buffer_format(&name, "purlin_%s_%s", p->name, metric->name);
  for (size_t i = 0; i < name.size; i++)
    if (name.data[i] == '-') name.data[i] = '_';
  named(begin(to), NULL, buffer_end(&name), metric->labels, metric->help);
  buffer_free(&name);
}

static void quota_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_quota *quota = (const void *)declared;
  named(begin(to), NULL, quota->name, quota->unit, quota->summary);
}

static const struct {
  const char *title;
  purlin_kind kind;
  void (*part)(void *to, const plugin *p, const purlin_declaration *declared);
} CHAPTERS[] = {
    {"OPERATIONS", PURLIN_KIND_OPERATION, operation_part},
    {"ADDRESSES", PURLIN_KIND_OPERATION, binding_part},
    {"ROUTES", PURLIN_KIND_ROUTE, route_part},
    {"EVENTS", PURLIN_KIND_EVENT, event_part},
    {"POLICY POINTS", PURLIN_KIND_POLICY, policy_part},
    {"METRICS", PURLIN_KIND_METRIC, metric_part},
    {"QUOTAS", PURLIN_KIND_QUOTA, quota_part},
};

static void configuration(const plugin *p, buffer *out) {
  const purlin_schema *schema = p->manifest->configuration();
  buffer section = {0};
  roff_section(out, "CONFIGURATION");
  buffer_format(&section, "In `purlin.lua`(5):\n\n    plugin \"%s\" { ... }", p->name);
  roff_paragraphs(out, buffer_end(&section), true);
  roff_fields(out, schema, false);
  buffer_free(&section);
}

static void count_operation(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  size_t *count = to;
  if (!((const purlin_operation *)(const void *)declared)->binds) ++*count;
}

static void see_also(buffer *out) {
  roff_section(out, "SEE ALSO");
  roff_sentence(out, "`purlin`(1), `purlind`(8), `purlin.lua`(5)");
}

void plugin_manual_runtime(buffer *out) {
  chapter operations = {out, "OPERATIONS", false};
  roff_begin(out, "purlin-runtime", "1", "what each Purlin server can do, whichever plugins it has");
  roff_section(out, "SYNOPSIS");
  roff_synopsis(out, "purlin", "access|audit|events|jobs|plugins|schedules|scripts|secrets OPERATION [--FIELD VALUE ...]");
  roff_section(out, "DESCRIPTION");
  roff_sentence(
      out,
      "Operations of the runtime itself: who may do what, the audit log, jobs and events, and what is loaded. Those of plugins "
      "are in pages of their own, `purlin-PLUGIN`(1).");
  plugin_visit(plugin_builtin(), PURLIN_KIND_OPERATION, operation_part, &operations);
  see_also(out);
}

void plugin_manual(const plugin *p, buffer *out) {
  buffer name = {0};
  size_t operations = 0;
  buffer_format(&name, "purlin-%s", p->name);
  roff_begin(out, buffer_end(&name), "1", p->manifest->summary);
  plugin_visit(p, PURLIN_KIND_OPERATION, count_operation, &operations);
  if (operations > 0) roff_section(out, "SYNOPSIS");
  buffer_clear(&name);
  buffer_format(&name, "%s OPERATION [--FIELD VALUE ...]", p->name);
  if (operations > 0) roff_synopsis(out, "purlin", buffer_end(&name));
  roff_section(out, "DESCRIPTION");
  buffer_clear(&name);
  buffer_format(&name, "%s %s is a plugin of `purlind`(8).", p->name, p->version);
  roff_sentence(out, buffer_end(&name));
  if (p->manifest->description) roff_paragraphs(out, p->manifest->description, false);
  if (p->manifest->configuration) configuration(p, out);
  for (size_t i = 0; i < sizeof CHAPTERS / sizeof CHAPTERS[0]; i++) {
    chapter c = {out, CHAPTERS[i].title, false};
    plugin_visit(p, CHAPTERS[i].kind, CHAPTERS[i].part, &c);
  }
  see_also(out);
  buffer_free(&name);
}
