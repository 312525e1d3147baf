#include "http/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static http_target targets[40];

/* Targets are told apart by name; the same name gives the same target. */
static http_target *named(const char *name) {
  size_t i = 0;
  while (targets[i].name != NULL && strcmp(targets[i].name, name) != 0) i++;
  assert_true(i < 39);
  targets[i] = (http_target){.name = name, .plugin = "test"};
  return &targets[i];
}

static http_router *built(const char *const *routes) {
  http_router *router = http_router_create();
  assert_non_null(router);
  for (; *routes != NULL; routes++) {
    buffer why = {0};
    purlin_status status = http_router_add(router, *routes, named(*routes), &why);
    if (status != PURLIN_OK) fail_msg("%s: %s", *routes, buffer_end(&why));
    buffer_free(&why);
  }
  return router;
}

static const char *const table[] = {
    "GET /",
    "GET /healthz",
    "GET /api/v1/models",
    "POST /api/v1/models",
    "GET /api/v1/models/{name}",
    "DELETE /api/v1/models/{id}",
    "GET /api/v1/models/{name}/versions/{version}",
    "GET /api/v1/models/latest",
    "GET /api/v1/models/latest/only",
    "HEAD /files/{path...}",
    "GET /files/{path...}",
    "PUT /files/fixed",
    "GET /ui/",
    NULL,
};

static void finds(void **state) {
  (void)state;
  static const struct {
    const char *method, *path, *route, *parameters;
    purlin_status status;
  } cases[] = {
      {"GET", "/", "GET /", "", PURLIN_OK},
      {"GET", "/healthz", "GET /healthz", "", PURLIN_OK},
      {"HEAD", "/healthz", "GET /healthz", "", PURLIN_OK},
      {"GET", "/healthz/", NULL, "", PURLIN_NOT_FOUND},
      {"GET", "/health", NULL, "", PURLIN_NOT_FOUND},
      {"GET", "/api/v1", NULL, "", PURLIN_NOT_FOUND},
      {"POST", "/api/v1/models", "POST /api/v1/models", "", PURLIN_OK},
      {"PUT", "/api/v1/models", NULL, "GET, HEAD, POST", PURLIN_NOT_ALLOWED},
      {"BREW", "/api/v1/models", NULL, "GET, HEAD, POST", PURLIN_NOT_ALLOWED},
      {"GET", "/api/v1/models/a%20b", "GET /api/v1/models/{name}", "name=a%20b;", PURLIN_OK},
      {"DELETE", "/api/v1/models/7", "DELETE /api/v1/models/{id}", "id=7;", PURLIN_OK},
      {"GET", "/api/v1/models/", NULL, "", PURLIN_NOT_FOUND},
      {"GET", "/api/v1/models//versions/1", NULL, "", PURLIN_NOT_FOUND},
      {"GET", "/api/v1/models/m/versions/3", "GET /api/v1/models/{name}/versions/{version}", "name=m;version=3;",
       PURLIN_OK},
      {"GET", "/api/v1/models/latest", "GET /api/v1/models/latest", "", PURLIN_OK},
      /* the literal is tried first, then the parameter */
      {"GET", "/api/v1/models/latest/versions/3", "GET /api/v1/models/{name}/versions/{version}", "name=latest;version=3;",
       PURLIN_OK},
      {"DELETE", "/api/v1/models/latest", "DELETE /api/v1/models/{id}", "id=latest;", PURLIN_OK},
      {"GET", "/files/a/b//c", "GET /files/{path...}", "path=a/b//c;", PURLIN_OK},
      {"HEAD", "/files/a", "HEAD /files/{path...}", "path=a;", PURLIN_OK},
      {"GET", "/files/", "GET /files/{path...}", "path=;", PURLIN_OK},
      {"GET", "/files", NULL, "", PURLIN_NOT_FOUND},
      {"PUT", "/files/fixed", "PUT /files/fixed", "", PURLIN_OK},
      {"GET", "/files/fixed", "GET /files/{path...}", "path=fixed;", PURLIN_OK},
      {"PUT", "/files/other", NULL, "GET, HEAD", PURLIN_NOT_ALLOWED},
      {"GET", "/ui/", "GET /ui/", "", PURLIN_OK},
      {"GET", "*", NULL, "", PURLIN_NOT_FOUND},
      {"GET", "", NULL, "", PURLIN_NOT_FOUND},
  };
  http_router *router = built(table);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    http_match match;
    purlin_status status = http_router_find(router, cases[i].method, cases[i].path, strlen(cases[i].path), &match);
    if (status != cases[i].status) fail_msg("%s %s: status %d", cases[i].method, cases[i].path, (int)status);
    if (status == PURLIN_NOT_ALLOWED) assert_string_equal(match.allow, cases[i].parameters);
    if (status != PURLIN_OK) {
      assert_null(match.target);
      continue;
    }
    assert_string_equal(match.target->name, cases[i].route);
    buffer text = {0};
    for (size_t p = 0; p < match.parameter_count; p++)
      buffer_format(&text, "%s=%.*s;", match.parameters[p].name, (int)match.parameters[p].size, match.parameters[p].value);
    assert_string_equal(buffer_end(&text), cases[i].parameters);
    buffer_free(&text);
  }
  http_router_release(router);
}

static void the_path_ends_where_it_is_said_to(void **state) {
  (void)state;
  http_router *router = built(table);
  http_match match;
  assert_int_equal(http_router_find(router, "GET", "/healthz?x=1", 8, &match), PURLIN_OK);
  assert_int_equal(http_router_find(router, "GET", "/healthz?x=1", 9, &match), PURLIN_NOT_FOUND);
  http_router_release(router);
}

static void refuses_malformed_patterns(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "/models",
      "GET models",
      "GET  /models",
      "FETCH /models",
      "get /models",
      "GET /a//b",
      "GET /a/{b",
      "GET /a/x{b}",
      "GET /a/{b}x",
      "GET /a/{}",
      "GET /a/{...}",
      "GET /a/{b...}/c",
      "GET /a/{b}/{b}",
      "GET /a b",
      "GET /a?b",
      "GET /a%20b",
      "GET /{a-b}",
      "",
      "GET /{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}",
  };
  http_router *router = http_router_create();
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    buffer why = {0};
    if (http_router_add(router, wrong[i], named("wrong"), &why) != PURLIN_INVALID) fail_msg("accepted: %s", wrong[i]);
    assert_true(why.size > 0);
    buffer_free(&why);
  }
  http_router_release(router);
}

static void names_both_of_a_conflict(void **state) {
  (void)state;
  http_router *router = http_router_create();
  buffer why = {0};
  assert_int_equal(http_router_add(router, "GET /a/{x}", named("one.get"), &why), PURLIN_OK);
  assert_int_equal(http_router_add(router, "GET /a/{y}", named("two.get"), &why), PURLIN_CONFLICT);
  assert_non_null(strstr(buffer_end(&why), "one.get"));
  assert_non_null(strstr(buffer_end(&why), "two.get"));
  http_match match;
  assert_int_equal(http_router_find(router, "GET", "/a/1", 4, &match), PURLIN_OK);
  assert_string_equal(match.target->name, "one.get");
  buffer_free(&why);
  http_router_release(router);
}

static void a_place_of_one_dialect_has_a_family(void **state) {
  (void)state;
  static const char english[] = "english", french[] = "french";
  static http_target targets_of[] = {{.name = "one", .plugin = "test", .dialect = english},
                                     {.name = "two", .plugin = "test", .dialect = english},
                                     {.name = "three", .plugin = "test", .dialect = french},
                                     {.name = "plain", .plugin = "test"}};
  static const char *const routes[] = {"POST /v2/models/{name}/infer", "GET /v2", "GET /api/2.0/french/{x}",
                                       "GET /api/v1/models"};
  http_router *router = http_router_create();
  buffer why = {0};
  for (size_t i = 0; i < 4; i++) assert_int_equal(http_router_add(router, routes[i], &targets_of[i], &why), PURLIN_OK);
  static const struct {
    const char *path, *dialect;
  } cases[] = {{"/v2/nothing", english},
               {"/v2/models/x/ready", english},
               {"/v2/models/x/infer", english},
               {"/v2", english},
               {"/v20", NULL},
               {"/api/2.0/x", french},
               {"/api/2.0/french/x/y", french},
               {"/api/v1/x", NULL},
               {"/api/x", NULL},
               {"/", NULL},
               {"/x", NULL},
               {"/api/2.0//", french}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    http_match match;
    assert_int_not_equal(http_router_find(router, "PUT", cases[i].path, strlen(cases[i].path), &match), PURLIN_OK);
    const void *dialect = match.family ? match.family->dialect : NULL;
    if (dialect != cases[i].dialect) fail_msg("%s", cases[i].path);
  }
  http_router_release(router);
  buffer_free(&why);
}

static void note(void *to, const char *method, const char *path, const http_target *target) {
  char whole[128];
  snprintf(whole, sizeof whole, "%s %s", method, path);
  assert_string_equal(whole, target->name);
  buffer_format(to, "%s\n", whole);
}

static void visits_in_order(void **state) {
  (void)state;
  static const char *const routes[] = {"POST /b", "GET /b", "GET /a/{x}", "DELETE /b", "GET /a", NULL};
  http_router *router = built(routes);
  buffer text = {0};
  http_router_visit(router, note, &text);
  assert_string_equal(buffer_end(&text), "GET /a\nGET /a/{x}\nDELETE /b\nGET /b\nPOST /b\n");
  buffer_free(&text);
  http_router_release(router);
}

static void name_it(void *to, const char *method, const char *path, const http_target *target) {
  (void)method, (void)path;
  buffer_format(to, "%s ", target->name);
}

/* What answers to GET at the root of a router that has a route that yields there, added before or after the other. */
static void expect_at_root(const char *other, bool yielding_first, const char *wanted) {
  http_target yields = {.name = "yields", .plugin = "test", .yields = true};
  http_router *router = http_router_create();
  buffer why = {0};
  if (yielding_first) assert_int_equal(http_router_add(router, "GET /", &yields, &why), PURLIN_OK);
  if (other != NULL) assert_int_equal(http_router_add(router, other, named(other), &why), PURLIN_OK);
  if (!yielding_first) assert_int_equal(http_router_add(router, "GET /", &yields, &why), PURLIN_OK);
  for (size_t i = 0; i < 2; i++) {
    http_match match;
    assert_int_equal(http_router_find(router, i == 0 ? "GET" : "HEAD", "/", 1, &match), PURLIN_OK);
    assert_string_equal(match.target->name, wanted);
  }
  buffer text = {0};
  http_router_visit(router, name_it, &text);
  if (other != NULL && strcmp(other, "GET /") == 0) assert_string_equal(buffer_end(&text), "GET / ");
  buffer_free(&text);
  buffer_free(&why);
  http_router_release(router);
}

static void one_that_yields_answers_where_no_other_does(void **state) {
  (void)state;
  for (int first = 0; first < 2; first++) {
    expect_at_root(NULL, first, "yields");
    expect_at_root("POST /", first, "yields");
    expect_at_root("GET /{one}", first, "yields");
    expect_at_root("GET /", first, "GET /");
    expect_at_root("GET /{rest...}", first, "GET /{rest...}");
  }
}

static void many_routes_and_references(void **state) {
  (void)state;
  http_router *router = http_router_create();
  http_target *target = named("many");
  buffer why = {0};
  for (int i = 0; i < 2000; i++) {
    char route[64];
    snprintf(route, sizeof route, "GET /many/r%d/{id}", (i * 7919) % 2000);
    assert_int_equal(http_router_add(router, route, target, &why), PURLIN_OK);
  }
  http_router_retain(router);
  http_router_release(router);
  for (int i = 0; i < 2000; i++) {
    char path[64];
    int size = snprintf(path, sizeof path, "/many/r%d/x", i);
    http_match match;
    assert_int_equal(http_router_find(router, "GET", path, (size_t)size, &match), PURLIN_OK);
  }
  buffer_free(&why);
  http_router_release(router);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds),
      cmocka_unit_test(the_path_ends_where_it_is_said_to),
      cmocka_unit_test(refuses_malformed_patterns),
      cmocka_unit_test(names_both_of_a_conflict),
      cmocka_unit_test(visits_in_order),
      cmocka_unit_test(a_place_of_one_dialect_has_a_family),
      cmocka_unit_test(one_that_yields_answers_where_no_other_does),
      cmocka_unit_test(many_routes_and_references),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
