#include "person.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ID_MOST = 250, DISPLAY_NAME_MOST = 200, EMAIL_MOST = 254 };

/* ---- Who is shut out ------------------------------------------------------------------------------------------------------------------- */

static bool is_disabled_there(const char *flags) { return (strtoll(flags, NULL, 10) & 2) != 0; }

static bool is_true(const char *text) { return strcasecmp(text, "true") == 0; }

/* This time means: by an administrator, until they say otherwise. Another one is that of a lock after wrong passwords, which the
 * directory itself minds when somebody binds; whoever only guesses at passwords cannot end sessions so. */
static bool is_locked_for_good(const char *time) { return strcmp(time, "000001010000Z") == 0; }

/* In tenths of microseconds since 1601; 0 and the largest number: never. */
static bool is_over(const char *time) {
  long long at = strtoll(time, NULL, 10);
  return at > 0 && at < INT64_MAX && at / 10 - 11644473600000000LL < purlin_now_us();
}

static const struct {
  const char *attribute;
  bool (*holds)(const char *text);
  const char *why;
} SHUT_OUT[] = {
    {"userAccountControl", is_disabled_there, "the account is disabled"},
    {"accountExpires", is_over, "the account has expired"},
    {"nsAccountLock", is_true, "the account is locked"},
    {"pwdAccountLockedTime", is_locked_for_good, "the account is locked"},
};
enum { SHUT_OUT_COUNT = sizeof SHUT_OUT / sizeof SHUT_OUT[0] };

/* ---- Reading ----------------------------------------------------------------------------------------------------------------------------- */

const char *const *person_attributes(call *c) {
  const auth_ldap_configuration *s = c->settings;
  const char *const wanted[] = {s->id_attribute, s->name_attribute, s->display_name_attribute, s->email_attribute,
                                s->member_of_attribute};
  enum { WANTED = sizeof wanted / sizeof wanted[0] };
  const char **list = scratch_alloc(&c->memory, (WANTED + SHUT_OUT_COUNT + 1) * sizeof *list);
  size_t count = 0;
  for (size_t i = 0; list && i < WANTED + SHUT_OUT_COUNT; i++) {
    const char *name = i < WANTED ? wanted[i] : SHUT_OUT[i - WANTED].attribute;
    bool known = !*name;
    for (size_t k = 0; k < count && !known; k++) known = strcasecmp(list[k], name) == 0;
    if (!known) list[count++] = name;
  }
  return list;
}

static const attribute *find(const entry *e, const char *name) {
  for (size_t i = 0; i < e->count; i++)
    if (strcasecmp(e->attributes[i].name, name) == 0) return &e->attributes[i];
  return NULL;
}

/* The only value of an attribute, which everything else stands on. */
static const value *only_value(call *c, const entry *e, const char *name) {
  const attribute *a = find(e, name);
  if (a && a->count == 1) return &a->values[0];
  (void)call_fails(c, PURLIN_UNAUTHENTICATED, "%s has %zu values of '%s', and is to have one", e->dn, a ? a->count : 0,
                   name);
  return NULL;
}

static const char *first_text(const entry *e, const char *name, size_t most) {
  const attribute *a = find(e, name);
  if (!a || !a->count || !a->values[0].size || a->values[0].size > most) return NULL;
  return is_plain_text(a->values[0].bytes, a->values[0].size) ? a->values[0].bytes : NULL;
}

static bool is_guid(const char *attribute_name) { return strcasecmp(attribute_name, "objectGUID") == 0; }

static const char *read_id(call *c, const entry *from) {
  const char *name = c->settings->id_attribute;
  const value *v = only_value(c, from, name);
  if (!v) return NULL;
  if (is_guid(name) && v->size == 16) {
    char *text = scratch_alloc(&c->memory, 37);
    if (text) guid_text((const unsigned char *)v->bytes, text);
    return text;
  }
  if (v->size && v->size <= ID_MOST && !is_guid(name) && is_plain_text(v->bytes, v->size)) return v->bytes;
  (void)call_fails(c, PURLIN_UNAUTHENTICATED,
                   "'%s' of %s can be no id: it is to be a text of at most %d bytes, or an objectGUID", name, from->dn,
                   ID_MOST);
  return NULL;
}

char *person_id_filter(call *c, const char *id) {
  unsigned char guid[16];
  if (!is_guid(c->settings->id_attribute)) return escape_filter(&c->memory, id, strlen(id));
  return guid_parse(id, guid) ? escape_filter(&c->memory, (const char *)guid, sizeof guid) : NULL;
}

static const char *read_name(call *c, const entry *from) {
  const value *v = only_value(c, from, c->settings->name_attribute);
  const char *name = v ? login_name(&c->memory, v->bytes, v->size) : NULL;
  if (v && !name)
    (void)call_fails(
        c, PURLIN_UNAUTHENTICATED,
        "'%s' of %s is no login name: those are of at most 64 letters a-z, digits, '.', '_' and '-', and begin with a letter or a digit",
        c->settings->name_attribute, from->dn);
  return name;
}

/* What accounts takes for an address; "" where it would not. */
static const char *read_email(call *c, const entry *from) {
  const char *text = first_text(from, c->settings->email_attribute, EMAIL_MOST);
  const char *at = text ? strchr(text, '@') : NULL;
  return at && at != text && at[1] && !strchr(at + 1, '@') && !strchr(text, ' ') ? text : "";
}

static const char *read_shut_out(const entry *from) {
  for (size_t i = 0; i < SHUT_OUT_COUNT; i++) {
    const attribute *a = find(from, SHUT_OUT[i].attribute);
    for (size_t k = 0; a && k < a->count; k++)
      if (SHUT_OUT[i].holds(a->values[k].bytes)) return SHUT_OUT[i].why;
  }
  return NULL;
}

purlin_status person_read(call *c, const entry *from, person *out) {
  (void)call_fails(c, PURLIN_OK, "out of memory");
  *out = (person){.dn = from->dn, .id = read_id(c, from)};
  if (!*from->dn) return call_fails(c, PURLIN_UNAUTHENTICATED, "the entry has no DN");
  if (out->id) out->name = read_name(c, from);
  if (!out->name) return PURLIN_UNAUTHENTICATED; /* and why is said */
  out->display_name = first_text(from, c->settings->display_name_attribute, DISPLAY_NAME_MOST);
  if (!out->display_name) out->display_name = out->name;
  out->email = read_email(c, from);
  out->shut_out = read_shut_out(from);
  return PURLIN_OK;
}
