#include "person.h"
#include <string.h>
#include <strings.h>

enum { LEVELS_MOST = 10, AT_ONCE = 50 /* members asked for in one search */ };

/* "member={dn}" becomes "member:1.2.840.113556.1.4.1941:={dn}": Active Directory then follows groups in groups. */
#define IN_CHAIN ":1.2.840.113556.1.4.1941:={dn}"

static bool is_under(const char *normal, const char *base) {
  size_t size = strlen(normal), tail = strlen(base);
  if (size == tail) return strcmp(normal, base) == 0;
  return size > tail && normal[size - tail - 1] == ',' && strcmp(normal + size - tail, base) == 0;
}

/* By the first part of its DN, where that names it; else by its only name. A group whose owner adds a second name to it is not that, too. */
static const char *label_of(call *c, const char *dn, const attribute *name) {
  const char *text = dn_first_value(&c->memory, dn, c->settings->group_name_attribute), *label = NULL;
  if (text) label = group_label(&c->memory, text, strlen(text));
  else if (name && name->count == 1) label = group_label(&c->memory, name->values[0].bytes, name->values[0].size);
  size_t prefix = strlen(c->settings->group_prefix);
  char *whole = label ? scratch_alloc(&c->memory, prefix + strlen(label) + 1) : NULL;
  if (!whole) return NULL;
  memcpy(whole, c->settings->group_prefix, prefix);
  memcpy(whole + prefix, label, strlen(label));
  return whole;
}

/* Adds a group that is not there yet. What is no DN, or not under group_base, is none. */
static bool add(call *c, groups *g, const char *dn, const attribute *name) {
  const char *normal = dn_normal(&c->memory, dn);
  if (!normal || (g->base && !is_under(normal, g->base))) return true;
  for (size_t i = 0; i < g->count; i++)
    if (strcmp(g->items[i].normal, normal) == 0) return true;
  if (g->count == GROUPS_MOST) {
    g->more = true;
    return false;
  }
  g->items[g->count++] = (group){dn, normal, label_of(c, dn, name)};
  return true;
}

/* Of the person's own entry. */
static void add_member_of(call *c, groups *g, const entry *of) {
  for (size_t i = 0; *c->settings->member_of_attribute && i < of->count; i++) {
    const attribute *a = &of->attributes[i];
    if (strcasecmp(a->name, c->settings->member_of_attribute) != 0) continue;
    for (size_t k = 0; k < a->count; k++)
      if (is_plain_text(a->values[k].bytes, a->values[k].size) && !add(c, g, a->values[k].bytes, NULL)) return;
  }
}

/* "(|(member=A)(member=B))" */
static char *filter_of(call *c, const char *const *members, size_t count) {
  const char *pattern = c->settings->group_filter;
  char *parts[AT_ONCE] = {NULL};
  size_t size = sizeof "(|)";
  if (c->settings->nested == chain) pattern = expand(&c->memory, pattern, "={dn}", IN_CHAIN);
  for (size_t i = 0; pattern && i < count; i++) {
    char *dn = escape_filter(&c->memory, members[i], strlen(members[i]));
    parts[i] = dn ? expand(&c->memory, pattern, "{dn}", dn) : NULL;
    if (!parts[i]) return NULL;
    size += strlen(parts[i]);
  }
  char *out = pattern ? scratch_alloc(&c->memory, size) : NULL, *to = out;
  if (!out) return NULL;
  memcpy(to, "(|", 2);
  to += 2;
  for (size_t i = 0; i < count; i++) {
    memcpy(to, parts[i], strlen(parts[i]));
    to += strlen(parts[i]);
  }
  *to = ')';
  return out;
}

static purlin_status search_for(call *c, connection *k, const char *const *members, size_t count, groups *g) {
  const char *const attributes[] = {c->settings->group_name_attribute, NULL};
  const search s = {c->settings->group_base, filter_of(c, members, count), attributes, GROUPS_MOST};
  entries found;
  if (!s.filter) return call_fails(c, PURLIN_UNAVAILABLE, "out of memory");
  purlin_status status = connection_search(c, k, &s, &found);
  if (status != PURLIN_OK) return status;
  g->more = g->more || found.more;
  for (size_t i = 0; i < found.count; i++)
    if (!add(c, g, found.items[i].dn, found.items[i].count ? &found.items[i].attributes[0] : NULL)) break;
  return PURLIN_OK;
}

/* The groups of the person, then those of these groups, and so on, each asked about once. */
static purlin_status walk_up(call *c, connection *k, const char *dn, groups *g) {
  purlin_status status = search_for(c, k, &dn, 1, g);
  size_t from = 0;
  for (int level = 1; status == PURLIN_OK && c->settings->nested == walk && level < LEVELS_MOST && from < g->count;
       level++) {
    size_t end = g->count;
    while (status == PURLIN_OK && from < end) {
      const char *members[AT_ONCE];
      size_t count = 0;
      while (count < AT_ONCE && from < end) members[count++] = g->items[from++].dn;
      status = search_for(c, k, members, count, g);
    }
  }
  return status;
}

/* ---- What they are called here ------------------------------------------------------------------------------------------------------------ */

static bool add_label(call *c, groups *g, size_t capacity, const char *label) {
  char *subject = expand(&c->memory, "group:@", "@", label);
  if (!subject) return false;
  for (size_t i = 0; i < g->label_count; i++)
    if (strcmp(g->labels[i], subject) == 0) return true;
  if (g->label_count < capacity) g->labels[g->label_count++] = subject;
  return true;
}

bool groups_hold(call *c, const groups *g, const char *dn) {
  const char *normal = dn_normal(&c->memory, dn);
  for (size_t i = 0; normal && i < g->count; i++)
    if (strcmp(g->items[i].normal, normal) == 0) return true;
  return false;
}

static bool name_all(call *c, groups *g) {
  const auth_ldap_configuration *s = c->settings;
  size_t capacity = s->groups.count ? s->groups.count : g->count;
  g->labels = scratch_alloc(&c->memory, (capacity + 1) * sizeof *g->labels);
  bool fine = g->labels != NULL;
  for (size_t i = 0; fine && i < s->groups.count; i++)
    if (groups_hold(c, g, s->groups.items[i].dn)) fine = add_label(c, g, capacity, s->groups.items[i].name);
  for (size_t i = 0; fine && !s->groups.count && i < g->count; i++)
    if (g->items[i].label) fine = add_label(c, g, capacity, g->items[i].label);
  return fine;
}

purlin_status groups_read(call *c, connection *k, const entry *of, groups *out) {
  *out = (groups){.items = scratch_alloc(&c->memory, GROUPS_MOST * sizeof *out->items)};
  if (!out->items) return call_fails(c, PURLIN_UNAVAILABLE, "out of memory");
  if (*c->settings->group_base) {
    out->base = dn_normal(&c->memory, c->settings->group_base);
    if (!out->base) return call_fails(c, PURLIN_UNAVAILABLE, "group_base is no DN");
  }
  add_member_of(c, out, of);
  purlin_status status = PURLIN_OK;
  if (*c->settings->group_base && *c->settings->group_filter) status = walk_up(c, k, of->dn, out);
  if (status != PURLIN_OK) return status;
  return name_all(c, out) ? PURLIN_OK : call_fails(c, PURLIN_UNAVAILABLE, "out of memory");
}
