/* auth_ldap.h: what the files of this plugin share. It answers the contract `directory` out of LDAP or Active Directory.
 *
 * settings.c      what no schema can say of the configuration
 * text.c          memory of one call; templates and the escaping of what goes into them
 * server.c        which of the servers to ask: those that failed are left alone for a while
 * connection.c    one connection: opened, secured, bound; binds and searches with a deadline
 * timed.c         no read or write of it waits longer than until a deadline
 * dn.c            distinguished names compared and taken apart
 * person.c        from an entry to a person: id, name, whether they are shut out
 * groups.c        which groups somebody is in, and what those are called here
 * conversation.c  one call from its first search to its answer
 * directory.c     the contract: calls wait for a connection, then run on the pool for blocking calls
 * test.c          the operation that says step by step what works
 *
 * libldap blocks, so all of it runs on the pool for blocking calls; only directory.c and test.c know of fibers. Every step has a time
 * limit and every call a deadline, and at most `connections` calls run at once, so a dead directory takes few threads, and those not for long. */
#ifndef AUTH_LDAP_H
#define AUTH_LDAP_H

#include <purlin/contracts/directory.h>
#include <purlin/purlin.h>

#define SERVERS_MOST 8u

typedef struct group_name {
  const char *dn, *name;
} group_name;
PURLIN_SCHEMA(group_name, "What a group of the directory is called here",
    PURLIN_REQUIRED(dn, "The group: \"cn=ml,ou=groups,dc=example,dc=org\"", .min_length = 3, .max_length = 1000),
    PURLIN_REQUIRED(name, "Here: \"research\", to which roles are granted as \"group:research\"", .pattern = "[A-Za-z0-9._@+-]+", .max_length = 190));

PURLIN_ENUM(nested_groups, no, walk, chain);

typedef struct auth_ldap_configuration {
  purlin_texts urls;
  bool start_tls;
  const char *ca_file, *bind_dn, *bind_password, *bind_template;
  const char *base, *user_filter;
  const char *id_attribute, *name_attribute, *display_name_attribute, *email_attribute;
  bool email_verified;
  const char *group_base, *group_filter, *group_name_attribute, *group_prefix, *member_of_attribute;
  nested_groups nested;
  PURLIN_LIST_OF(group_name) groups;
  const char *required_group;
  int64_t connections, connect_timeout_ms, timeout_ms;
} auth_ldap_configuration;
PURLIN_SCHEMA(auth_ldap_configuration, "Where people are known",
    PURLIN_OPTIONAL(urls, "The servers, asked in this order: ldaps://..., or ldap://..., which switches to TLS; none: nobody is known", .max_length = SERVERS_MOST),
    PURLIN_DEFAULT(start_tls, "true", "ldap:// switches to TLS, or nothing is asked; false: passwords go in the clear"),
    PURLIN_DEFAULT(ca_file, "\"\"", "Whose certificates are believed (PEM); empty: the system's authorities", .max_length = 1000),
    PURLIN_DEFAULT(bind_dn, "\"\"", "Who searches; empty: nobody in particular, or with bind_template who logs in", .max_length = 1000),
    PURLIN_DEFAULT(bind_password, "\"\"", "With this password: env(\"PURLIN_LDAP_PASSWORD\")", .max_length = 1000, .secret = true),
    PURLIN_DEFAULT(bind_template, "\"\"", "Without bind_dn: whom a name binds as: \"uid={name},ou=people,dc=example,dc=org\", \"{name}@ad.example.org\"", .max_length = 1000),
    PURLIN_DEFAULT(base, "\"\"", "Under which people are: \"ou=people,dc=example,dc=org\"", .max_length = 1000),
    PURLIN_DEFAULT(user_filter, "\"(&(objectClass=person)(uid={name}))\"", "Which entry a name means; Active Directory: (&(objectClass=user)(sAMAccountName={name}))", .pattern = "\\(.*\\{name\\}.*\\)", .max_length = 1000),
    PURLIN_DEFAULT(id_attribute, "\"entryUUID\"", "What never changes of a person; Active Directory: objectGUID", .pattern = "[A-Za-z][A-Za-z0-9-]*", .max_length = 100),
    PURLIN_DEFAULT(name_attribute, "\"uid\"", "Their login name; Active Directory: sAMAccountName", .pattern = "[A-Za-z][A-Za-z0-9-]*", .max_length = 100),
    PURLIN_DEFAULT(display_name_attribute, "\"cn\"", "What others call them; Active Directory: displayName", .pattern = "[A-Za-z][A-Za-z0-9-]*", .max_length = 100),
    PURLIN_DEFAULT(email_attribute, "\"mail\"", "Where mail reaches them", .pattern = "[A-Za-z][A-Za-z0-9-]*", .max_length = 100),
    PURLIN_DEFAULT(email_verified, "false", "Whether these addresses are theirs for sure: nobody writes their own"),
    PURLIN_DEFAULT(group_base, "\"\"", "Under which groups are, and no others count; empty: none are looked for, and member_of_attribute counts wherever they are", .max_length = 1000),
    PURLIN_DEFAULT(group_filter, "\"(member={dn})\"", "Which groups hold {dn}; empty: only member_of_attribute tells", .pattern = "(\\(.*\\{dn\\}.*\\))?", .max_length = 1000),
    PURLIN_DEFAULT(group_name_attribute, "\"cn\"", "What a group is called", .pattern = "[A-Za-z][A-Za-z0-9-]*", .max_length = 100),
    PURLIN_DEFAULT(group_prefix, "\"\"", "Before that name, so that no group of another directory is called alike: \"ldap-\"", .pattern = "[A-Za-z0-9._@+-]*", .max_length = 50),
    PURLIN_DEFAULT(member_of_attribute, "\"\"", "Of a person or group, the groups that hold it: memberOf", .pattern = "([A-Za-z][A-Za-z0-9-]*)?", .max_length = 100),
    PURLIN_DEFAULT(nested, "\"no\"", "Groups in groups: walk asks level by level, chain has Active Directory do it", .choices = nested_groups_names),
    PURLIN_LIST(groups, group_name, "What groups are called here, and no others count; none: all count, by group_name_attribute", .max_length = 1000),
    PURLIN_DEFAULT(required_group, "\"\"", "Only who is in this group (its DN) is let in", .max_length = 1000),
    PURLIN_DEFAULT(connections, "4", "How many calls are made at once", .min = 1, .max = 8),
    PURLIN_DEFAULT(connect_timeout_ms, "3000", "How long one server may take to connect, with TLS", .min = 100, .max = 20000),
    PURLIN_DEFAULT(timeout_ms, "4000", "How long it may take to answer", .min = 100, .max = 20000));

/* Whether these settings can work; `why` says what is wrong. Whether passwords would go in the clear to a server. Neither parks. */
bool settings_fine(const auth_ldap_configuration *settings, char *why, size_t capacity);
bool settings_say_clear(const auth_ldap_configuration *settings, const char *url);

/* The contract's functions. May park. */
purlin_status directory_check(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out);
purlin_status directory_look_up(purlin_ctx *ctx, const char *id, purlin_person *out);
/* Before the first call; the configuration is borrowed until the last. Does not park. */
void directory_start(const auth_ldap_configuration *configured);
/* After the last call. May park. */
purlin_status directory_stop(purlin_ctx *ctx);

#endif
