/* page.c: the login page, without a script: a form that is posted to where it came from.
 *
 * Login and logout of a browser are taken from a page of this server only (purlin_same_origin), so that nobody is logged in as somebody
 * else, or out, by another site's page. What is shown comes from this file, the names of single sign-on and, escaped, what was typed. */
#include "browser.h"
#include "form.h"
#include <openssl/evp.h>
#include <purlin/audit.h>
#include <purlin/contracts/sign_on.h>
#include <string.h>

enum { LARGEST_FORM = 16 * 1024 };

#define HOME "/docs"

static const char style[] =
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:20rem;margin:12vh auto;padding:0 1rem}"
    "h1{font-size:1.4rem}label{display:block;margin:.8rem 0}input{display:block;box-sizing:border-box;width:100%;font:inherit;padding:.4rem}"
    "button{font:inherit;padding:.4rem 1.2rem;margin:.8rem 0}.wrong{border-left:.25rem solid #c33;padding-left:.6rem}";

/* ---- What is sent ---------------------------------------------------------------------------------------------------------------------------- */

/* Its own style, forms to this server and nothing else. Forms say where they come from (Origin) only when the referrer is not withheld. */
static purlin_status set_headers(purlin_ctx *ctx, purlin_request *request) {
  unsigned char hash[32], text[48];
  if (EVP_Digest(style, sizeof style - 1, hash, NULL, EVP_sha256(), NULL) != 1) return PURLIN_INTERNAL;
  (void)EVP_EncodeBlock(text, hash, sizeof hash);
  const char *policy = purlin_format(
      ctx, "default-src 'none'; style-src 'sha256-%s'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      (char *)text);
  if (!policy) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_set_header(ctx, request, "Content-Security-Policy", policy);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Referrer-Policy", "same-origin");
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  return status == PURLIN_OK ? purlin_set_header(ctx, request, "Vary", "Cookie") : status;
}

static purlin_status send_page(purlin_ctx *ctx, purlin_request *request, unsigned http_status, const char *main) {
  const char *page = main ? purlin_format(ctx,
                                          "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                                          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                                          "<title>Purlin: log in</title>\n<style>%s</style>\n<h1>Purlin</h1>\n%s</html>\n",
                                          style, main)
                          : NULL;
  if (!page) return PURLIN_TOO_LARGE;
  purlin_status status = set_headers(ctx, request);
  if (status != PURLIN_OK) return status;
  return purlin_respond_bytes(ctx, request, http_status, "text/html; charset=utf-8", page, strlen(page));
}

/* See other: whoever loads it again does not post it again. */
static purlin_status send_to(purlin_ctx *ctx, purlin_request *request, const char *path) {
  purlin_status status = purlin_set_header(ctx, request, "Location", path);
  return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 303, NULL, "", 0) : status;
}

/* ---- The page ---------------------------------------------------------------------------------------------------------------------------------- */

/* "<a> by single sign-on", one for each plugin that has a page of its own. */
static const char *sign_on_links(purlin_ctx *ctx, const char *next) {
  purlin_texts names;
  const char *out = "";
  if (purlin_providers(ctx, sign_on, &names) != PURLIN_OK) return NULL;
  for (size_t i = 0; i < names.count && out; i++) {
    const purlin_sign_on *sign_on = purlin_use(ctx, sign_on, names.items[i]);
    if (!sign_on || !sign_on->label || !form_is_own_path(sign_on->path)) continue;
    const char *wanted = form_escape_query(ctx, next);
    const char *path = wanted && *next ? purlin_format(ctx, "%s?next=%s", sign_on->path, wanted) : sign_on->path;
    const char *label = form_escape_html(ctx, sign_on->label), *link = path ? form_escape_html(ctx, path) : NULL;
    out = label && link ? purlin_format(ctx, "%s<p><a href=\"%s\">Log in with %s</a></p>\n", out, link, label) : NULL;
  }
  return out;
}

static purlin_status show_form(purlin_ctx *ctx, purlin_request *request, unsigned http_status, const char *wrong,
                               const char *name, const char *next) {
  const char *links = sign_on_links(ctx, next), *safe_name = form_escape_html(ctx, name),
             *safe_next = form_escape_html(ctx, next);
  if (!links || !safe_name || !safe_next) return PURLIN_TOO_LARGE;
  return send_page(
      ctx, request, http_status,
      purlin_format(
          ctx,
          "%s%s%s<form method=\"post\" action=\"/login\">\n<input type=\"hidden\" name=\"next\" value=\"%s\">\n"
          "<label>Name<input name=\"name\" value=\"%s\" autocomplete=\"username\" autocapitalize=\"none\" required"
          " maxlength=\"64\"></label>\n<label>Password<input type=\"password\" name=\"password\""
          " autocomplete=\"current-password\" required></label>\n<button>Log in</button>\n</form>\n%s",
          *wrong ? "<p class=\"wrong\" role=\"alert\">" : "", wrong, *wrong ? "</p>\n" : "", safe_next, safe_name, links));
}

PURLIN_ROUTE(login_page, "GET /login",
    .summary = "The login page, for browsers", .permission = "public", .answer = "text/html") {
  const char *next = purlin_query_value(request, "next"), *who = browser_user(ctx, request);
  const char *safe = who ? form_escape_html(ctx, who) : NULL;
  if (!form_is_own_path(next)) next = "";
  if (!who) return show_form(ctx, request, 200, "", "", next);
  return send_page(ctx, request, 200,
                   safe ? purlin_format(ctx,
                                        "<p>You are logged in as <strong>%s</strong>.</p>\n<p><a href=\"" HOME
                                        "\">The API</a></p>\n"
                                        "<form method=\"post\" action=\"/logout\"><button>Log out</button></form>\n",
                                        safe)
                        : NULL);
}

/* ---- Logging in and out --------------------------------------------------------------------------------------------------------------------------- */

static purlin_status require_own_page(purlin_ctx *ctx, const purlin_request *request) {
  if (purlin_same_origin(request)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "this is for pages of this server only");
}

/* Under the name that was claimed, which is nobody's word. */
static void note_refusal(purlin_ctx *ctx, const char *name) {
  const purlin_audit_entry entry = {.operation = "accounts.login", .object = name, .outcome = PURLIN_AUDIT_REFUSED};
  if (purlin_audit(ctx, &entry) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a login that was refused could not be written into the audit log");
}

static purlin_status refuse(purlin_ctx *ctx, purlin_request *request, purlin_status status, const login_form *form) {
  const char *next = form_is_own_path(form->next) ? form->next : "";
  if (status != PURLIN_UNAUTHENTICATED && status != PURLIN_TOO_MANY && status != PURLIN_UNAVAILABLE) return status;
  if (status == PURLIN_UNAVAILABLE) {
    purlin_log(ctx, PURLIN_WARNING, "nobody can be logged in: %s", purlin_failure(ctx));
    return show_form(ctx, request, 503, "Nobody can be logged in at the moment. Try again in a while.", form->name, next);
  }
  note_refusal(ctx, form->name);
  if (status == PURLIN_TOO_MANY)
    return show_form(ctx, request, 429, "Too many attempts failed. Try again later.", form->name, next);
  return show_form(ctx, request, 401, "The name or the password is wrong.", form->name, next);
}

static purlin_status read_form(purlin_ctx *ctx, purlin_request *request, login_form *form) {
  const char *body, *type = purlin_header(request, "content-type");
  size_t size;
  if (!type || strncmp(type, FORM_TYPE, sizeof FORM_TYPE - 1) != 0)
    return purlin_fail(ctx, PURLIN_UNSUPPORTED, "send " FORM_TYPE);
  purlin_status status = purlin_read_all(ctx, request, LARGEST_FORM, &body, &size);
  if (status == PURLIN_OK && !form_read(ctx, body, size, form))
    status = purlin_fail(ctx, PURLIN_INVALID, "the form cannot be read");
  if (status == PURLIN_OK || status == PURLIN_INVALID) explicit_bzero((char *)(uintptr_t)body, size);
  if (status == PURLIN_OK && (strlen(form->name) > 64 || strlen(form->password) > PASSWORD_LONGEST))
    status = purlin_fail(ctx, PURLIN_INVALID, "the name or the password is too long");
  return status;
}

PURLIN_ROUTE(browser_login, "POST /login",
    .summary = "Begin a browser's session: sets its cookie", .permission = "public", .body = FORM_TYPE, .answer = "text/html") {
  login_form form = {"", "", ""};
  login_row row;
  purlin_status status = require_own_page(ctx, request);
  if (status == PURLIN_OK) status = browser_can_begin(ctx, request);
  if (status == PURLIN_OK) status = read_form(ctx, request, &form);
  if (status != PURLIN_OK) return status;
  status = accounts_check(ctx, form.name, form.password, purlin_address(request), &row);
  explicit_bzero((char *)(uintptr_t)form.password, strlen(form.password));
  if (status == PURLIN_OK) status = browser_begin(ctx, request, &row);
  if (status != PURLIN_OK) return refuse(ctx, request, status, &form);
  return send_to(ctx, request, form_is_own_path(form.next) ? form.next : HOME);
}

PURLIN_ROUTE(browser_logout, "POST /logout",
    .summary = "End a browser's session: takes its cookie away", .permission = "public", .answer = "text/html") {
  purlin_status status = require_own_page(ctx, request);
  if (status == PURLIN_OK) status = browser_end(ctx, request);
  return status == PURLIN_OK ? send_to(ctx, request, "/login") : status;
}
