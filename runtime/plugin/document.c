/* The manifest as documentation in Markdown: what `purlin plugin show FILE.so` prints. */
#include "plugin/host.h"
#include "core/schema.h"
#include <purlin/contracts/trainer.h>
#include <purlin/quota.h>
#include <string.h>

static void fields(buffer *out, const purlin_schema *schema, const char *title) {
  if (schema->field_count == 0) return;
  buffer_format(out, "\n%s\n\n| field | type | | meaning |\n| --- | --- | --- | --- |\n", title);
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    buffer_format(out, "| `%s` | %s | ", field->name, schema_type_word(field));
    if (field->required) buffer_text(out, "required");
    else if (field->initial) buffer_format(out, "default `%s`", field->initial);
    buffer_format(out, " | %s", field->doc);
    if (field->choices) buffer_format(out, " (one of: %s)", field->choices);
    buffer_text(out, " |\n");
  }
}

typedef struct chapter {
  buffer *out;
  const char *title;
  bool begun;
} chapter;

static buffer *begin(void *to) {
  chapter *c = to;
  if (!c->begun) buffer_format(c->out, "\n## %s\n", c->title);
  c->begun = true;
  return c->out;
}

static void operation_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_operation *op = (const void *)declared;
  buffer *out = begin(to);
  buffer_format(out, "\n### %s.%s\n\n%s.", p->name, op->name, op->summary);
  if (op->description) buffer_format(out, " %s", op->description);
  buffer_format(out, " Needs `%s`.", op->permission);
  if (op->http) buffer_format(out, " `%s`", op->http);
  buffer_char(out, '\n');
  fields(out, op->in(), "Input:");
  fields(out, op->out(), "Answer:");
}

static void route_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_route *route = (const void *)declared;
  buffer_format(begin(to), "\n- `%s`: %s. Needs `%s`.", route->http, route->summary, route->permission);
}

static void event_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_event *event = (const void *)declared;
  buffer *out = begin(to);
  buffer_format(out, "\n### %s.%s\n\n%s.\n", p->name, event->name, event->summary);
  fields(out, event->payload(), "Payload:");
}

static void policy_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_policy *policy = (const void *)declared;
  buffer *out = begin(to);
  buffer_format(out, "\n### %s.%s\n\n%s Without a policy: `%s`.\n", p->name, policy->name, policy->summary,
                policy->fallback);
  fields(out, policy->question(), "Question:");
  fields(out, policy->answer(), "Answer:");
}

static void job_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_job *job = (const void *)declared;
  buffer *out = begin(to);
  buffer_format(out, "\n### %s.%s\n\n%s.\n", p->name, job->name, job->summary);
  fields(out, job->in(), "Payload:");
}

static void metric_part(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_metric *metric = (const void *)declared;
  buffer_format(begin(to), "\n- `purlin_%s_%s`%s%s%s: %s", p->name, metric->name, metric->labels ? " {" : "",
                metric->labels ? metric->labels : "", metric->labels ? "}" : "", metric->help);
}

static void quota_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_quota *quota = (const void *)declared;
  buffer_format(begin(to), "\n- `%s`: %s, in %s", quota->name, quota->summary, quota->unit);
}

static void capability_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_capability *capability = (const void *)declared;
  buffer *out = begin(to);
  buffer_format(out, "\n- `%s` as `%s`", capability->contract, capability->name);
  if (strcmp(capability->contract, "trainer") != 0) return;
  const purlin_trainer *trainer = capability->functions;
  buffer_format(out, ": %s\n", trainer->summary);
  fields(out, trainer->specification(), "Specification:");
}

static void requirement_part(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_requirement *requirement = (const void *)declared;
  buffer_format(begin(to), "\n- %s `%s`", requirement->contract ? "the capability" : "the plugin",
                requirement->contract ? requirement->contract : requirement->plugin);
}

static const struct {
  const char *title;
  purlin_kind kind;
  void (*part)(void *to, const plugin *p, const purlin_declaration *declared);
} CHAPTERS[] = {
    {"Needs", PURLIN_KIND_REQUIREMENT, requirement_part},
    {"Provides", PURLIN_KIND_CAPABILITY, capability_part},
    {"Operations", PURLIN_KIND_OPERATION, operation_part},
    {"Routes", PURLIN_KIND_ROUTE, route_part},
    {"Events", PURLIN_KIND_EVENT, event_part},
    {"Policy points", PURLIN_KIND_POLICY, policy_part},
    {"Jobs", PURLIN_KIND_JOB, job_part},
    {"Metrics", PURLIN_KIND_METRIC, metric_part},
    {"Quotas", PURLIN_KIND_QUOTA, quota_part},
};

void plugin_document(const plugin *p, buffer *out) {
  buffer_format(out, "# %s %s\n\n%s.\n", p->name, p->version, p->manifest->summary);
  if (p->manifest->description) buffer_format(out, "\n%s\n", p->manifest->description);
  if (p->manifest->author) buffer_format(out, "\nAuthor: %s\n", p->manifest->author);
  if (p->manifest->license) buffer_format(out, "\nLicense: %s\n", p->manifest->license);
  if (p->manifest->configuration) {
    buffer_format(out, "\n## Configuration\n\n`plugin \"%s\" { ... }` in purlin.lua\n", p->name);
    fields(out, p->manifest->configuration(), "Settings:");
  }
  for (size_t i = 0; i < sizeof CHAPTERS / sizeof CHAPTERS[0]; i++) {
    chapter c = {out, CHAPTERS[i].title, false};
    plugin_visit(p, CHAPTERS[i].kind, CHAPTERS[i].part, &c);
    if (c.begun) buffer_char(out, '\n');
  }
}
