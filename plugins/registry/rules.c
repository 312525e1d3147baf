#include "registry.h"
#include <string.h>
#include <strings.h>

enum { DESCRIPTION_LONGEST = 5000 };

size_t registry_characters(const char *text) {
  size_t count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
  return count;
}

static bool is_control(char c) { return (unsigned char)c < 0x20 || c == 0x7f; }

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n")] == '\0'; }

static bool has_control(const char *text) {
  for (; *text; text++)
    if (is_control(*text)) return true;
  return false;
}

purlin_status registry_check_name(purlin_ctx *ctx, const char *name) {
  if (is_blank(name) || strpbrk(name, "/:@") || has_control(name))
    return purlin_fail_field(
        ctx, "name", "Invalid model name '%.300s'. Names cannot contain '/', ':', '@' or control characters, nor be empty.",
        name);
  if (registry_characters(name) > REGISTRY_NAME_LONGEST)
    return purlin_fail_field(ctx, "name", "a name has at most %d characters", REGISTRY_NAME_LONGEST);
  return PURLIN_OK;
}

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         (unsigned char)c >= 0x80;
}

/* v7 looks like a version. */
static bool is_version_like(const char *alias) {
  return (alias[0] == 'v' || alias[0] == 'V') && alias[1] && alias[1 + strspn(alias + 1, "0123456789")] == '\0';
}

purlin_status registry_check_alias(purlin_ctx *ctx, const char *alias) {
  const char *at = alias;
  while (*at && is_word(*at)) at++;
  if (at == alias && !*at) return purlin_fail(ctx, PURLIN_INVALID, "Registered model alias name cannot be empty.");
  if (*at)
    return purlin_fail(
        ctx, PURLIN_INVALID,
        "Invalid alias name: '%.300s'. Names may only contain alphanumerics, underscores (_), and dashes (-).", alias);
  if (registry_characters(alias) > REGISTRY_ALIAS_LONGEST)
    return purlin_fail(ctx, PURLIN_INVALID, "'Registered model alias name' exceeds the maximum length of %d characters",
                       REGISTRY_ALIAS_LONGEST);
  if (strcasecmp(alias, "latest") == 0)
    return purlin_fail(ctx, PURLIN_INVALID, "'latest' alias name (case insensitive) is reserved.");
  if (is_version_like(alias)) return purlin_fail(ctx, PURLIN_INVALID, "Version alias name '%.300s' is reserved.", alias);
  return PURLIN_OK;
}

purlin_status registry_check_tag(purlin_ctx *ctx, const char *key, const char *value) {
  if (!*key || has_control(key)) return purlin_fail_field(ctx, "key", "a key is not empty, and has no control characters");
  if (registry_characters(key) > REGISTRY_KEY_LONGEST)
    return purlin_fail(ctx, PURLIN_INVALID, "'key' exceeds the maximum length of %d characters", REGISTRY_KEY_LONGEST);
  if (registry_characters(value) > REGISTRY_VALUE_LONGEST)
    return purlin_fail(ctx, PURLIN_INVALID, "'value' exceeds the maximum length of %d characters", REGISTRY_VALUE_LONGEST);
  return PURLIN_OK;
}

purlin_status registry_check_description(purlin_ctx *ctx, purlin_opt_text description) {
  if (description.state == PURLIN_SET && registry_characters(description.value) > DESCRIPTION_LONGEST)
    return purlin_fail_field(ctx, "description", "at most %d characters", DESCRIPTION_LONGEST);
  return PURLIN_OK;
}

bool registry_is_prompt(const registry_tag *tags, size_t count) {
  bool prompt = false;
  for (size_t i = 0; i < count; i++)
    if (strcmp(tags[i].key, REGISTRY_PROMPT_TAG) == 0)
      prompt = strcasecmp(tags[i].value, "true") == 0; /* the last one counts */
  return prompt;
}
