#include "connection.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool settings_say_clear(const auth_ldap_configuration *s, const char *url) {
  return !s->start_tls && strncasecmp(url, "ldap:", 5) == 0;
}

/* Settings that contradict each other, or that need each other. */
static const char *combination_flaw(const auth_ldap_configuration *s) {
  const struct {
    bool wrong;
    const char *flaw;
  } rules[] = {
      {!*s->base, "base is missing: under which people are"},
      {*s->bind_dn && !*s->bind_password, "bind_password is missing: without it bind_dn would bind as nobody"},
      {*s->bind_dn && *s->bind_template, "bind_dn searches for people, so there is no use for bind_template"},
      {*s->bind_template && !strstr(s->bind_template, "{name}"), "bind_template has no {name}"},
      {s->nested != no && (!*s->group_base || !*s->group_filter), "nested groups are found by group_base and group_filter"},
      {*s->member_of_attribute && !*s->group_base && !s->groups.count && !*s->required_group,
       "member_of_attribute counts groups wherever they are: say group_base, or groups"},
  };
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
    if (rules[i].wrong) return rules[i].flaw;
  return NULL;
}

static bool is_dn(const char *text) {
  scratch memory = {0};
  bool fine = dn_normal(&memory, text) != NULL;
  scratch_free(&memory);
  return fine;
}

/* The first text that is no DN and ought to be; NULL: none. */
static const char *no_dn(const auth_ldap_configuration *s) {
  const char *const names[] = {s->base, s->group_base, s->required_group};
  if (*s->bind_dn && !is_dn(s->bind_dn) && !strchr(s->bind_dn, '@'))
    return s->bind_dn; /* name@domain, says Active Directory */
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (*names[i] && !is_dn(names[i])) return names[i];
  for (size_t i = 0; i < s->groups.count; i++)
    if (!is_dn(s->groups.items[i].dn)) return s->groups.items[i].dn;
  return NULL;
}

bool settings_fine(const auth_ldap_configuration *s, char *why, size_t capacity) {
  for (size_t i = 0; i < s->urls.count; i++) {
    const char *flaw = connection_url_flaw(s->urls.items[i]);
    if (flaw) (void)snprintf(why, capacity, "urls: '%s': %s", s->urls.items[i], flaw);
    if (flaw) return false;
  }
  const char *flaw = combination_flaw(s), *wrong = no_dn(s);
  if (flaw) (void)snprintf(why, capacity, "%s", flaw);
  else if (wrong) (void)snprintf(why, capacity, "'%s' is no distinguished name", wrong);
  return !flaw && !wrong;
}
