#include "webhooks.h"
#include <string.h>

#define PROMPT_TEXT "mlflow.prompt.text"

/* ---- Examples ------------------------------------------------------------------------------------------------------------------------- */

#define MODEL "\"name\":\"example_model\""
#define PROMPT "\"name\":\"example_prompt\""
#define VERSION ",\"version\":\"1\""
#define KEY ",\"key\":\"example_key\""
#define VALUE ",\"value\":\"example_value\""
#define ALIAS ",\"alias\":\"example_alias\""
#define TOLD(what) ",\"tags\":{\"example_key\":\"example_value\"},\"description\":\"An example " what "\""

static const struct {
  const char *event, *data;
} examples[] = {
    {"registered_model.created", "{" MODEL TOLD("registered model") "}"},
    {"model_version.created",
     "{" MODEL VERSION ",\"source\":\"models:/123\",\"run_id\":\"abcd1234abcd5678\"" TOLD("model version") "}"},
    {"model_version_tag.set", "{" MODEL VERSION KEY VALUE "}"},
    {"model_version_tag.deleted", "{" MODEL VERSION KEY "}"},
    {"model_version_alias.created", "{" MODEL ALIAS VERSION "}"},
    {"model_version_alias.deleted", "{" MODEL ALIAS "}"},
    {"prompt.created", "{" PROMPT TOLD("prompt") "}"},
    {"prompt_version.created", "{" PROMPT VERSION ",\"template\":\"Hello {{name}}!\"" TOLD("prompt version") "}"},
    {"prompt_tag.set", "{" PROMPT KEY VALUE "}"},
    {"prompt_tag.deleted", "{" PROMPT KEY "}"},
    {"prompt_version_tag.set", "{" PROMPT VERSION KEY VALUE "}"},
    {"prompt_version_tag.deleted", "{" PROMPT VERSION KEY "}"},
    {"prompt_alias.created", "{" PROMPT ALIAS VERSION "}"},
    {"prompt_alias.deleted", "{" PROMPT ALIAS "}"},
};

const char *webhook_example(const char *event) {
  for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
    if (strcmp(examples[i].event, event) == 0) return examples[i].data;
  return NULL;
}

/* ---- As receivers read them ----------------------------------------------------------------------------------------------------------- */

typedef struct named_tag {
  const char *key, *value;
} named_tag;
PURLIN_SCHEMA(named_tag, "A tag", PURLIN_REQUIRED(key, "key"), PURLIN_REQUIRED(value, "value"));

/* Every event of the registry, as far as it is told. */
typedef struct happened {
  const char *name, *alias, *key;
  purlin_opt_int version;
  purlin_opt_text source, run_id, description, value;
  bool prompt;
  PURLIN_LIST_OF(named_tag) tags;
} happened;
PURLIN_SCHEMA(happened, "An event of the registry",
    PURLIN_REQUIRED(name, "model"),
    PURLIN_OPTIONAL(alias, "alias"),
    PURLIN_OPTIONAL(key, "key of a tag"),
    PURLIN_OPTIONAL(version, "version"),
    PURLIN_OPTIONAL(source, "source"),
    PURLIN_OPTIONAL(run_id, "run"),
    PURLIN_OPTIONAL(description, "description"),
    PURLIN_OPTIONAL(value, "of a tag"),
    PURLIN_DEFAULT(prompt, "false", "whether it is a prompt"),
    PURLIN_LIST(tags, named_tag, "tags"));

typedef struct told {
  const char *name, *alias, *version, *key;
  purlin_opt_text value, source, run_id, template, description;
  purlin_json tags;
} told;
PURLIN_SCHEMA(told, "What is told of an event",
    PURLIN_REQUIRED(name, "The model or prompt"),
    PURLIN_OPTIONAL(alias, "An alias of it"),
    PURLIN_OPTIONAL(version, "Its version"),
    PURLIN_OPTIONAL(key, "A tag's key"),
    PURLIN_OPTIONAL(value, "A tag's value, unless it is long"),
    PURLIN_OPTIONAL(source, "Where its files are"),
    PURLIN_OPTIONAL(run_id, "The run that made it"),
    PURLIN_OPTIONAL(template, "The text of a prompt, unless it is long"),
    PURLIN_OPTIONAL(tags, "Its tags; none when they are long"),
    PURLIN_OPTIONAL(description, "What it is for"));

/* What only says that it is a prompt, and of which kind. */
static bool is_of_prompts(const char *key) {
  return strcmp(key, "mlflow.prompt.is_prompt") == 0 || strcmp(key, "_mlflow_prompt_type") == 0 ||
         strcmp(key, PROMPT_TEXT) == 0;
}

static purlin_opt_text or_null(purlin_opt_text text) {
  return text.state == PURLIN_SET ? text : (purlin_opt_text){PURLIN_NULL, NULL};
}

/* The JSON of a text. Arena; NULL: no memory. */
static const char *quoted(purlin_ctx *ctx, const char *text) {
  const char *list = purlin_list_json(ctx, (purlin_texts){&text, 1});
  return list ? purlin_copy_bytes(ctx, list + 1, strlen(list) - 2) : NULL;
}

static purlin_status tags_object(purlin_ctx *ctx, const happened *event, purlin_json *out) {
  const char *text = "{";
  for (size_t i = 0; i < event->tags.count && text; i++) {
    const named_tag *tag = &event->tags.items[i];
    if (event->prompt && is_of_prompts(tag->key)) continue;
    const char *key = quoted(ctx, tag->key), *value = quoted(ctx, tag->value);
    text = key && value ? purlin_format(ctx, "%s%s%s:%s", text, text[1] ? "," : "", key, value) : NULL;
  }
  text = text ? purlin_format(ctx, "%s}", text) : NULL;
  *out = (purlin_json){text, text ? strlen(text) : 0};
  return text ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_opt_text prompt_text(const happened *event) {
  for (size_t i = 0; i < event->tags.count; i++)
    if (strcmp(event->tags.items[i].key, PROMPT_TEXT) == 0)
      return (purlin_opt_text){PURLIN_SET, event->tags.items[i].value};
  return (purlin_opt_text){PURLIN_NULL, NULL};
}

static purlin_status tell(purlin_ctx *ctx, const happened *event, const char *model_event, const char *prompt_event) {
  const char *name = event->prompt ? prompt_event : model_event;
  if (!name) return PURLIN_OK;
  told t = {.name = event->name, .alias = event->alias, .key = event->key, .value = event->value};
  bool created = strstr(name, "created") && !event->alias, versioned = event->version.state == PURLIN_SET;
  if (versioned) t.version = purlin_format(ctx, "%lld", (long long)event->version.value);
  if (versioned && !t.version) return PURLIN_TOO_LARGE;
  if (strstr(name, "alias.deleted")) t.version = NULL;
  if (created) {
    t.description = or_null(event->description);
    purlin_status status = tags_object(ctx, event, &t.tags);
    if (status != PURLIN_OK) return status;
  }
  if (created && versioned && event->prompt) t.template = prompt_text(event);
  if (created && versioned && !event->prompt) {
    t.source = or_null(event->source);
    t.run_id = or_null(event->run_id);
  }
  return webhook_enqueue(ctx, name, told_schema(), &t);
}

/* ---- What happens ---------------------------------------------------------------------------------------------------------------------- */

PURLIN_LISTENER(on_model, "registry.model_created", happened) {
  return tell(ctx, event, "registered_model.created", "prompt.created");
}
PURLIN_LISTENER(on_version, "registry.version_created", happened) {
  return tell(ctx, event, "model_version.created", "prompt_version.created");
}
PURLIN_LISTENER(on_model_tag, "registry.model_tag_set", happened) { return tell(ctx, event, NULL, "prompt_tag.set"); }
PURLIN_LISTENER(on_no_model_tag, "registry.model_tag_deleted", happened) {
  return tell(ctx, event, NULL, "prompt_tag.deleted");
}
PURLIN_LISTENER(on_version_tag, "registry.version_tag_set", happened) {
  return tell(ctx, event, "model_version_tag.set", "prompt_version_tag.set");
}
PURLIN_LISTENER(on_no_version_tag, "registry.version_tag_deleted", happened) {
  return tell(ctx, event, "model_version_tag.deleted", "prompt_version_tag.deleted");
}
PURLIN_LISTENER(on_alias, "registry.alias_moved", happened) {
  return tell(ctx, event, "model_version_alias.created", "prompt_alias.created");
}
PURLIN_LISTENER(on_no_alias, "registry.alias_deleted", happened) {
  return tell(ctx, event, "model_version_alias.deleted", "prompt_alias.deleted");
}
