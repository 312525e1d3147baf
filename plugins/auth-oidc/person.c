#include "person.h"
#include "claims.h"
#include <string.h>

enum { MOST_GROUPS = 500, LONGEST_DISPLAY_NAME = 200, LONGEST_EMAIL = 254 };

const char *person_id(purlin_ctx *ctx, const char *issuer, const char *subject) {
  char digits[65];
  const char *both = purlin_format(ctx, "%s\n%s", issuer, subject);
  if (!both) return NULL;
  purlin_sha256(both, strlen(both), digits);
  return purlin_copy(ctx, digits);
}

/* What was said, in the order in which it counts. */
typedef struct said {
  purlin_json by[2];
} said;

static const char *text(purlin_ctx *ctx, const said *s, const char *name) {
  const char *found;
  for (size_t i = 0; i < 2; i++)
    if (claims_text(ctx, s->by[i], name, &found)) return found;
  return NULL;
}

static purlin_texts texts(purlin_ctx *ctx, const said *s, const char *name) {
  purlin_texts found = {0};
  for (size_t i = 0; i < 2 && *name; i++)
    if (claims_texts(ctx, s->by[i], name, &found)) return found;
  return (purlin_texts){0};
}

/* An address counts as verified only by whoever said the address. */
static void read_email(purlin_ctx *ctx, const said *s, purlin_person *out) {
  for (size_t i = 0; i < 2; i++) {
    if (!claims_text(ctx, s->by[i], "email", &out->email) || strlen(out->email) > LONGEST_EMAIL) continue;
    out->email_verified = claims_true(ctx, s->by[i], "email_verified");
    return;
  }
  out->email = "";
}

static bool share_one(purlin_texts a, purlin_texts b) {
  for (size_t i = 0; i < a.count; i++)
    for (size_t k = 0; k < b.count; k++)
      if (strcmp(a.items[i], b.items[k]) == 0) return true;
  return false;
}

/* ---- Groups ------------------------------------------------------------------------------------------------------------------------------ */

/* What a group is called here; NULL: it does not count. */
static const char *name_of_group(const oidc_configuration *configured, const char *group) {
  if (configured->groups.count == 0) return rules_is_group(group) ? group : NULL;
  for (size_t i = 0; i < configured->groups.count; i++)
    if (strcmp(configured->groups.items[i].from, group) == 0) return configured->groups.items[i].to;
  return NULL;
}

static purlin_status take_groups(purlin_ctx *ctx, const oidc_configuration *configured, purlin_texts groups,
                                 purlin_person *out) {
  const char **items = purlin_alloc_array(ctx, groups.count ? groups.count : 1, sizeof *items);
  size_t count = 0;
  if (!items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < groups.count && count < MOST_GROUPS; i++) {
    const char *name = name_of_group(configured, groups.items[i]);
    if (!name) continue;
    items[count] = purlin_format(ctx, "group:%s%s", configured->group_prefix, name);
    if (!items[count++]) return PURLIN_TOO_LARGE;
  }
  out->groups = (purlin_texts){items, count};
  return PURLIN_OK;
}

/* ---- Coming in --------------------------------------------------------------------------------------------------------------------------- */

static purlin_status check_entry(purlin_ctx *ctx, const oidc_configuration *configured, const said *s, purlin_texts groups,
                                 const purlin_person *person) {
  const purlin_texts wanted = {&configured->required_value, 1};
  if (configured->required_groups.count > 0 && !share_one(configured->required_groups, groups))
    return oidc_refuse(ctx, person->name, "'%s' is in none of the groups that may come in here", person->name);
  if (*configured->required_claim && !share_one(wanted, texts(ctx, s, configured->required_claim)))
    return oidc_refuse(ctx, person->name, "'%s' does not have what it takes to come in here (%s)", person->name,
                       configured->required_claim);
  if (configured->email_domains.count == 0) return PURLIN_OK;
  if (!person->email_verified ||
      !rules_email_is_in(person->email, configured->email_domains.items, configured->email_domains.count))
    return oidc_refuse(ctx, person->name, "'%s' has no verified e-mail address of a domain that may come in here",
                       person->name);
  return PURLIN_OK;
}

static purlin_status take_name(purlin_ctx *ctx, const oidc_configuration *configured, const said *s, purlin_person *out) {
  char name[NAME_ROOM];
  const char *claimed = text(ctx, s, configured->name_claim);
  if (!claimed)
    return oidc_refuse(ctx, "", "the provider says no login name: its claim '%s' is not there", configured->name_claim);
  if (strcmp(configured->name_claim, "email") == 0 && !out->email_verified)
    return oidc_refuse(ctx, "", "the provider has not verified the e-mail address '%.100s', so it is no login name here",
                       claimed);
  if (!rules_login_name(claimed, configured->name_suffix, name))
    return oidc_refuse(
        ctx, "",
        "'%.100s', which the provider says, cannot be a login name here: letters, digits, '.', '_' and '-', at most 64",
        claimed);
  out->name = purlin_copy(ctx, name);
  return out->name ? PURLIN_OK : PURLIN_TOO_LARGE;
}

purlin_status person_from(purlin_ctx *ctx, const oidc_configuration *configured, purlin_json token, purlin_json userinfo,
                          purlin_person *out) {
  const said s = {{token, userinfo}};
  const char *subject, *full = text(ctx, &s, "name");
  *out = (purlin_person){.display_name = full ? purlin_copy_bytes(ctx, full, rules_cut(full, LONGEST_DISPLAY_NAME)) : ""};
  if (!out->display_name) return PURLIN_TOO_LARGE;
  if (!claims_text(ctx, token, "sub", &subject))
    return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the token is of nobody (sub)");
  out->id = person_id(ctx, configured->issuer, subject);
  if (!out->id) return PURLIN_TOO_LARGE;
  read_email(ctx, &s, out);
  purlin_texts groups = texts(ctx, &s, configured->groups_claim);
  purlin_status status = take_name(ctx, configured, &s, out);
  if (status == PURLIN_OK) status = check_entry(ctx, configured, &s, groups, out);
  return status == PURLIN_OK ? take_groups(ctx, configured, groups, out) : status;
}
