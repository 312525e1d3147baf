#include "plugin/host.h"
#include "core/schema.h"
#include <purlin/contracts/trainer.h>
#include <purlin/quota.h>
#include <string.h>

static void text_member(buffer *out, const char *name, const char *value) {
  if (!value) return;
  if (out->data[out->size - 1] != '{') buffer_char(out, ',');
  buffer_json_text(out, name, strlen(name));
  buffer_char(out, ':');
  buffer_json_text(out, value, strlen(value));
}

static void schema_member(buffer *out, const char *name, const purlin_schema *(*get)(void)) {
  if (!get) return;
  if (out->data[out->size - 1] != '{') buffer_char(out, ',');
  buffer_json_text(out, name, strlen(name));
  buffer_char(out, ':');
  schema_json_schema(get(), out);
}

typedef struct listing {
  buffer *out;
  bool first;
} listing;

static buffer *open_item(void *to) {
  listing *l = to;
  if (!l->first) buffer_char(l->out, ',');
  l->first = false;
  buffer_char(l->out, '{');
  return l->out;
}

static void operation_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  static const char *const effects[] = {"reads", "changes", "creates"};
  const purlin_operation *op = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", op->name);
  text_member(out, "summary", op->summary);
  text_member(out, "permission", op->permission);
  text_member(out, "http", op->http);
  text_member(out, "effect", (unsigned)op->effect < 3 ? effects[op->effect] : "unknown");
  schema_member(out, "in", op->in);
  schema_member(out, "out", op->out);
  buffer_char(out, '}');
}

static void route_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_route *route = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "http", route->http);
  text_member(out, "summary", route->summary);
  text_member(out, "permission", route->permission);
  buffer_char(out, '}');
}

static void event_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_event *event = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", event->name);
  text_member(out, "summary", event->summary);
  schema_member(out, "payload", event->payload);
  buffer_char(out, '}');
}

static void listener_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_listener *listener = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", listener->name);
  text_member(out, "event", listener->event);
  buffer_char(out, '}');
}

static void policy_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_policy *policy = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", policy->name);
  text_member(out, "summary", policy->summary);
  text_member(out, "fallback", policy->fallback);
  schema_member(out, "question", policy->question);
  schema_member(out, "answer", policy->answer);
  buffer_char(out, '}');
}

static void job_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_job *job = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", job->name);
  text_member(out, "summary", job->summary);
  schema_member(out, "payload", job->in);
  buffer_char(out, '}');
}

static void schedule_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_schedule *schedule = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", schedule->name);
  text_member(out, "cron", schedule->cron);
  text_member(out, "time_zone", schedule->time_zone ? schedule->time_zone : "UTC");
  text_member(out, "job", schedule->job);
  buffer_char(out, '}');
}

static void metric_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_metric *metric = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", metric->name);
  text_member(out, "help", metric->help);
  text_member(out, "labels", metric->labels);
  buffer_char(out, '}');
}

static void quota_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_quota *quota = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "name", quota->name);
  text_member(out, "summary", quota->summary);
  text_member(out, "unit", quota->unit);
  buffer_char(out, '}');
}

static void migration_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  buffer *out = open_item(to);
  text_member(out, "name", ((const purlin_migration *)(const void *)declared)->name);
  buffer_char(out, '}');
}

static void sealed_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_sealed *sealed = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "table", sealed->table);
  text_member(out, "column", sealed->column);
  buffer_char(out, '}');
}

static void capability_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_capability *capability = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "contract", capability->contract);
  text_member(out, "name", capability->name);
  buffer_format(out, ",\"version\":%u", capability->version);
  if (strcmp(capability->contract, "trainer") == 0) {
    const purlin_trainer *trainer = capability->functions;
    text_member(out, "summary", trainer->summary);
    schema_member(out, "specification", trainer->specification);
  }
  buffer_char(out, '}');
}

static void requirement_item(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_requirement *requirement = (const void *)declared;
  buffer *out = open_item(to);
  text_member(out, "contract", requirement->contract);
  text_member(out, "plugin", requirement->plugin);
  buffer_char(out, '}');
}

static const struct {
  const char *name;
  purlin_kind kind;
  void (*item)(void *to, const plugin *p, const purlin_declaration *declared);
} PARTS[] = {
    {"requires", PURLIN_KIND_REQUIREMENT, requirement_item},
    {"capabilities", PURLIN_KIND_CAPABILITY, capability_item},
    {"operations", PURLIN_KIND_OPERATION, operation_item},
    {"routes", PURLIN_KIND_ROUTE, route_item},
    {"events", PURLIN_KIND_EVENT, event_item},
    {"listeners", PURLIN_KIND_LISTENER, listener_item},
    {"policies", PURLIN_KIND_POLICY, policy_item},
    {"jobs", PURLIN_KIND_JOB, job_item},
    {"schedules", PURLIN_KIND_SCHEDULE, schedule_item},
    {"metrics", PURLIN_KIND_METRIC, metric_item},
    {"migrations", PURLIN_KIND_MIGRATION, migration_item},
    {"quotas", PURLIN_KIND_QUOTA, quota_item},
    {"sealed", PURLIN_KIND_SEALED, sealed_item},
};

void plugin_describe(const plugin *p, buffer *out) {
  buffer_char(out, '{');
  if (out->failed) return;
  text_member(out, "name", p->name);
  text_member(out, "version", p->version);
  text_member(out, "summary", p->manifest->summary);
  text_member(out, "description", p->manifest->description);
  text_member(out, "author", p->manifest->author);
  text_member(out, "license", p->manifest->license);
  text_member(out, "homepage", p->manifest->homepage);
  buffer_format(out, ",\"abi\":\"%u.%u\",\"contained\":%s", PURLIN_ABI_MAJOR, PURLIN_ABI_MINOR,
                p->contained ? "true" : "false");
  schema_member(out, "configuration", p->manifest->configuration);
  for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
    buffer_format(out, ",\"%s\":[", PARTS[i].name);
    listing l = {out, true};
    plugin_visit(p, PARTS[i].kind, PARTS[i].item, &l);
    buffer_char(out, ']');
  }
  buffer_char(out, '}');
}
