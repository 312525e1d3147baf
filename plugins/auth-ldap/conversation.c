#include "conversation.h"
#include <string.h>

enum { ATTEMPTS = 3, NAME_MOST = 250 };

/* By id: whoever the filter would find by whatever name, and who has the id. */
static const char *filter_for(call *c, const question *q) {
  const auth_ldap_configuration *s = c->settings;
  char *text = q->id ? person_id_filter(c, q->id) : escape_filter(&c->memory, q->name, strlen(q->name));
  char *filter = text ? expand(&c->memory, s->user_filter, "{name}", q->id ? "*" : text) : NULL;
  if (!q->id || !filter) return filter;
  filter = expand(&c->memory, "(&{filter}({id}={value}))", "{filter}", filter);
  if (filter) filter = expand(&c->memory, filter, "{id}", s->id_attribute);
  return filter ? expand(&c->memory, filter, "{value}", text) : NULL;
}

purlin_status find_entry(call *c, connection *k, const question *q, entry *out) {
  const search s = {c->settings->base, filter_for(c, q), person_attributes(c), 1};
  entries found;
  if (!s.filter || !s.attributes) return call_fails(c, PURLIN_UNAVAILABLE, "out of memory, or an id that can be nobody's");
  purlin_status status = connection_search(c, k, &s, &found);
  if (status != PURLIN_OK) return status;
  if (!found.count) return call_fails(c, PURLIN_NOT_FOUND, "nothing under %s fits %.300s", s.base, s.filter);
  if (found.more)
    return call_fails(c, PURLIN_UNAUTHENTICATED, "more than one entry under %s fits %.300s", s.base, s.filter);
  *out = found.items[0];
  return PURLIN_OK;
}

purlin_status judge(call *c, const answer *a) {
  const char *required = c->settings->required_group;
  if (a->who.shut_out) return call_fails(c, PURLIN_UNAUTHENTICATED, "%s: %s", a->who.dn, a->who.shut_out);
  if (*required && !groups_hold(c, &a->in, required))
    return call_fails(c, PURLIN_UNAUTHENTICATED, "%s is not in %s", a->who.dn, required);
  return PURLIN_OK;
}

/* The rest, once it is known whose entry it is. */
static purlin_status read_and_judge(call *c, connection *k, const entry *e, answer *out) {
  purlin_status status = person_read(c, e, &out->who);
  if (status == PURLIN_OK) status = groups_read(c, k, e, &out->in);
  return status == PURLIN_OK ? judge(c, out) : status;
}

/* A name that nobody has takes a bind, too, so that the time tells little. */
static purlin_status pretend_to_bind(call *c, line *l, const char *password) {
  char why[sizeof c->why];
  memcpy(why, c->why, sizeof why);
  char *dn = expand(&c->memory, "cn=nobody of this name,@", "@", c->settings->base);
  bool bound = dn && connection_ensure(c, &l->people, false) == PURLIN_OK &&
               connection_bind(c, &l->people, dn, password) == PURLIN_OK;
  (void)bound; /* whatever came of it */
  c->lost = false;
  memcpy(c->why, why, sizeof why);
  return PURLIN_NOT_FOUND;
}

/* Somebody else searches for the entry; then its owner is asked for the password. */
static purlin_status check_by_search(call *c, line *l, const question *q, answer *out) {
  entry e;
  purlin_status status = connection_ensure(c, &l->search, true);
  if (status == PURLIN_OK) status = find_entry(c, &l->search, q, &e);
  if (status == PURLIN_NOT_FOUND) return pretend_to_bind(c, l, q->password);
  if (status == PURLIN_OK) status = connection_ensure(c, &l->people, false);
  if (status == PURLIN_OK) status = connection_bind(c, &l->people, e.dn, q->password);
  return status == PURLIN_OK ? read_and_judge(c, &l->search, &e, out) : status;
}

/* "uid={name},ou=people" or "{name}@ad.example.org". NULL: no memory, or no name for it. */
static char *template_dn(call *c, const char *name) {
  const char *pattern = c->settings->bind_template;
  char *text =
      strchr(pattern, '=') ? escape_dn(&c->memory, name, strlen(name)) : login_name(&c->memory, name, strlen(name));
  return text ? expand(&c->memory, pattern, "{name}", text) : NULL;
}

/* Whoever logs in searches for themselves. That the entry which is found is theirs, a bind as it says. */
static purlin_status check_by_template(call *c, line *l, const question *q, answer *out) {
  entry e;
  const char *dn = q->name ? template_dn(c, q->name) : NULL;
  if (!dn) return call_fails(c, PURLIN_UNAUTHENTICATED, "this name cannot be put into bind_template");
  purlin_status status = connection_ensure(c, &l->people, false);
  if (status == PURLIN_OK) status = connection_bind(c, &l->people, dn, q->password);
  if (status == PURLIN_OK) status = find_entry(c, &l->people, q, &e);
  if (status == PURLIN_NOT_FOUND) return call_fails(c, PURLIN_UNAUTHENTICATED, "%s is bound, but %s", dn, c->why);
  if (status != PURLIN_OK) return status;
  const char *bound = dn_normal(&c->memory, dn), *found = dn_normal(&c->memory, e.dn);
  if (!bound || !found || strcmp(bound, found) != 0) status = connection_bind(c, &l->people, e.dn, q->password);
  return status == PURLIN_OK ? read_and_judge(c, &l->people, &e, out) : status;
}

static purlin_status look(call *c, line *l, const question *q, answer *out) {
  entry e;
  purlin_status status = connection_ensure(c, &l->search, true);
  if (status == PURLIN_OK) status = find_entry(c, &l->search, q, &e);
  if (status == PURLIN_NOT_FOUND && *c->settings->bind_template && !*c->settings->bind_dn)
    return call_fails(c, PURLIN_UNAVAILABLE, "without bind_dn this may not be visible: %s", c->why);
  if (status == PURLIN_OK) status = read_and_judge(c, &l->search, &e, out);
  return status == PURLIN_UNAUTHENTICATED ? PURLIN_NOT_FOUND : status;
}

purlin_status converse(call *c, line *l, const question *q, answer *out) {
  purlin_status status = PURLIN_UNAVAILABLE;
  const char *name = q->name ? q->name : q->id;
  if (!*name || strlen(name) > NAME_MOST || !is_plain_text(name, strlen(name)))
    return call_fails(c, PURLIN_NOT_FOUND, "this can be nobody's name");
  if (q->password && !*q->password) return call_fails(c, PURLIN_UNAUTHENTICATED, "without a password nobody binds");
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    c->lost = false;
    *out = (answer){0};
    if (!q->password) status = look(c, l, q, out);
    else if (*c->settings->bind_template && !*c->settings->bind_dn) status = check_by_template(c, l, q, out);
    else status = check_by_search(c, l, q, out);
    if (!c->lost || purlin_ticks_ns() / 1000000 >= c->deadline_ms) break;
  }
  return status;
}
