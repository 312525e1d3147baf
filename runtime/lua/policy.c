/* policy.c: answering policy points, purlin.policy("serving.promote", function(question) ... return answer end), and running event
 * rules, purlin.on("drift.alert", function(event) ... end). */
#include "access/access.h"
#include "events/events.h"
#include "lua/generation.h"
#include "lua/host.h"
#include "observe/log.h"
#include "operation/operation.h"

#include <stdlib.h>
#include <string.h>

/* ---- Who acts ------------------------------------------------------------------------------------------------------------------- */

/* Scripts act by the operator's will, not with the rights of whoever caused the question. */
typedef struct previous_identity {
  const identity *who;
  const char *actor, *workspace, *project;
} previous_identity;

static previous_identity act_as(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  previous_identity previous = {ctx->who, ctx->actor, ctx->workspace, ctx->project};
  identity *who = (identity *)(uintptr_t)ctx->who;
  if (who != NULL && who->release != NULL) who->references++; /* access_identify lets go of it */
  access_identify(ctx, actor, workspace, project);
  return previous;
}

static void act_again_as(purlin_ctx *ctx, previous_identity previous) {
  ctx->who = previous.who; /* the script's lives in the arena: nothing to let go */
  ctx->actor = previous.actor;
  ctx->workspace = previous.workspace;
  ctx->project = previous.project;
}

/* ---- Policies ------------------------------------------------------------------------------------------------------------------- */

typedef struct policy_call {
  int function;
  const char *point;
  purlin_json question, answer;
} policy_call;

typedef struct schema_search {
  const char *point;
  const purlin_schema *schema;
} schema_search;

static void look_at(void *to, const char *name, const purlin_policy *policy) {
  schema_search *search = to;
  if (strcmp(name, search->point) == 0) search->schema = policy->answer();
}

/* Only asked when the answer holds an empty table. */
static const purlin_schema *schema_of_answer(const char *point) {
  schema_search search = {point, NULL};
  policies_visit(look_at, &search);
  return search.schema;
}

static int run_policy(lua_State *L) {
  policy_call *call = lua_touserdata(L, 1);
  purlin_ctx *ctx = run_of(L)->ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
  value_push_json(L, call->question.text, call->question.size, VALUE_DROP_NULLS, &ctx->memory);
  lua_call(L, 1, 1);
  if (!lua_istable(L, -1)) return luaL_error(L, "the policy must return a table, not %s", luaL_typename(L, -1));
  call->answer = host_json(L, lua_gettop(L), NULL, "the answer");
  if (memmem(call->answer.text, call->answer.size, "{}", 2) != NULL)
    call->answer = host_json(L, lua_gettop(L), schema_of_answer(call->point), "the answer");
  return 0;
}

static purlin_status answer_policy(purlin_ctx *ctx, const char *point, uint32_t timeout_ms, purlin_json question,
                                   purlin_json *answer) {
  found_entry found;
  if (!generation_policy(point, &found)) return PURLIN_NOT_FOUND;
  policy_call call = {.function = found.function, .point = point, .question = question};
  previous_identity previous = act_as(ctx, found.state->script->actor, ctx->workspace, ctx->project);
  purlin_status status = run_script(ctx, &(run_call){.state = found.state,
                                                     .name = found.entry->title,
                                                     .line = found.entry->line,
                                                     .kind = "policy",
                                                     .timeout_ms = timeout_ms,
                                                     .decides = true,
                                                     .body = run_policy,
                                                     .argument = &call});
  act_again_as(ctx, previous);
  *answer = call.answer;
  return status;
}

static bool answers(const char *point) {
  found_entry found;
  return generation_policy(point, &found);
}

void policies_begin(void) { policy_set_answerer(answer_policy, answers); }
void policies_end(void) { policy_set_answerer(NULL, NULL); }

/* ---- Rules ---------------------------------------------------------------------------------------------------------------------- */

/* A listener that some generation had; kept until the end, since a delivery may be under way whenever a script changes. */
typedef struct rule {
  char *name, *file, *event; /* "rule:drift.lua:drift.alert" names the durable cursor */
  events_listener *listener; /* NULL: not listening now */
  bool wanted;
  struct rule *next;
} rule;

static rule *rules; /* only by the fiber that reloads, one at a time */

static void set_text(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

typedef struct rule_call {
  int function;
  const event_record *event;
} rule_call;

static int run_rule(lua_State *L) {
  const rule_call *call = lua_touserdata(L, 1);
  const event_record *event = call->event;
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
  lua_createtable(L, 0, 9);
  lua_pushinteger(L, event->sequence);
  lua_setfield(L, -2, "sequence");
  set_text(L, "id", event->id);
  set_text(L, "name", event->name);
  set_text(L, "key", event->key);
  set_text(L, "workspace", event->workspace);
  set_text(L, "project", event->project);
  set_text(L, "actor", event->actor);
  lua_pushnumber(L, (lua_Number)event->at.unix_us / 1e6);
  lua_setfield(L, -2, "at");
  if (event->payload.text == NULL) lua_newtable(L);
  else value_push_json(L, event->payload.text, event->payload.size, VALUE_DROP_NULLS, &run_of(L)->ctx->memory);
  lua_setfield(L, -2, "payload");
  lua_call(L, 1, 0);
  return 0;
}

static purlin_status deliver(purlin_ctx *ctx, const event_record *event, void *argument) {
  const rule *r = argument;
  found_entry found;
  if (!generation_entry(r->file, ENTRY_RULE, r->event, &found)) return PURLIN_OK; /* it was taken out just now */
  rule_call call = {found.function, event};
  previous_identity previous = act_as(ctx, found.state->script->actor, event->workspace, event->project);
  purlin_status status = run_script(ctx, &(run_call){.state = found.state,
                                                     .name = found.entry->title,
                                                     .line = found.entry->line,
                                                     .kind = "rule",
                                                     .timeout_ms = script_settings()->timeout_ms,
                                                     .body = run_rule,
                                                     .argument = &call});
  act_again_as(ctx, previous);
  return status;
}

static void free_rule(rule *r) {
  if (r == NULL) return;
  free(r->name);
  free(r->file);
  free(r->event);
  free(r);
}

static rule *rule_of(const char *file, const char *event) {
  for (rule *r = rules; r != NULL; r = r->next)
    if (strcmp(r->file, file) == 0 && strcmp(r->event, event) == 0) return r;
  buffer name = {0};
  buffer_format(&name, "rule:%s:%s", file, event);
  rule *r = calloc(1, sizeof *r);
  if (r != NULL) {
    r->name = strdup(buffer_end(&name));
    r->file = strdup(file);
    r->event = strdup(event);
  }
  buffer_free(&name);
  if (r == NULL || r->name == NULL || r->file == NULL || r->event == NULL) {
    free_rule(r);
    return NULL;
  }
  r->next = rules;
  rules = r;
  return r;
}

static void want(const script *s, const script_entry *entry) {
  rule *r = rule_of(s->file, entry->name);
  if (r == NULL) {
    log_write(PURLIN_ERROR, "lua", "%s:%d: no memory to listen to %s", s->file, entry->line, entry->name);
    return;
  }
  r->wanted = true;
  if (r->listener != NULL) return;
  purlin_status status = events_listen(r->name, r->event, deliver, r, NULL, "lua", &r->listener);
  if (status == PURLIN_OK) return;
  r->listener = NULL;
  log_write(PURLIN_ERROR, "lua", "%s:%d: cannot listen to %s: %s", s->file, entry->line, entry->name,
            purlin_status_text(status));
}

void rules_follow(const generation *g) {
  for (rule *r = rules; r != NULL; r = r->next) r->wanted = false;
  for (size_t i = 0; i < g->count; i++)
    for (size_t j = 0; j < g->scripts[i]->entry_count; j++)
      if (g->scripts[i]->entries[j].kind == ENTRY_RULE) want(g->scripts[i], &g->scripts[i]->entries[j]);
  for (rule *r = rules; r != NULL; r = r->next) {
    if (r->wanted || r->listener == NULL) continue;
    events_unlisten(r->listener);
    r->listener = NULL;
  }
}

/* The queue of events has ended before: its listeners are gone with it. */
void rules_end(void) {
  while (rules != NULL) {
    rule *next = rules->next;
    free_rule(rules);
    rules = next;
  }
}
