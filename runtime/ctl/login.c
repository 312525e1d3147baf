#include "ctl/credentials.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LONGEST_LINE = 2048 };

/* ---- Asking ------------------------------------------------------------------------------------------------------------------------------ */

static struct termios before; /* what a signal that ends the program must bring back */

static void restore(int number) {
  (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  (void)signal(number, SIG_DFL);
  (void)raise(number);
}

static bool hide(bool hidden) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  if (hidden && tcgetattr(STDIN_FILENO, &before) != 0) return false;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) (void)signal(numbers[i], hidden ? restore : SIG_DFL);
  struct termios wanted = before;
  if (hidden) wanted.c_lflag &= ~(tcflag_t)ECHO;
  return tcsetattr(STDIN_FILENO, TCSAFLUSH, &wanted) == 0;
}

/* A line of standard input, asked for where that is a terminal. */
static bool ask(const char *what, bool secret, char line[LONGEST_LINE]) {
  bool terminal = isatty(STDIN_FILENO);
  bool hidden = terminal && secret;
  if (terminal) (void)fprintf(stderr, "%s: ", what);
  if (hidden && !hide(true)) {
    (void)fputs("purlin: the terminal would show the password\n", stderr);
    return false;
  }
  bool got = fgets(line, LONGEST_LINE, stdin) != NULL;
  if (hidden) {
    (void)hide(false);
    (void)fputc('\n', stderr);
  }
  if (got) line[strcspn(line, "\r\n")] = '\0';
  if (!got || !*line) (void)fprintf(stderr, "purlin: there is no %s on standard input\n", secret ? "password" : "name");
  return got && *line;
}

/* ---- login --------------------------------------------------------------------------------------------------------------------------------- */

static char *body_of(const char *name, const char *value, const char *second, const char *second_value) {
  cJSON *body = cJSON_CreateObject();
  bool fine = body && cJSON_AddStringToObject(body, name, value) &&
              (!second || cJSON_AddStringToObject(body, second, second_value));
  char *text = fine ? cJSON_PrintUnformatted(body) : NULL;
  cJSON_Delete(body);
  return text;
}

static int keep(const session *s, const char *name, const buffer *answer) {
  credentials c;
  cJSON *tokens = cJSON_ParseWithLength(answer->data, answer->size);
  bool fine = credentials_open(&c, true) && credentials_put(&c, s->server, name, tokens);
  credentials_close(&c);
  cJSON_Delete(tokens);
  if (!fine) return CTL_FAILED;
  (void)printf("Logged in to %s as ", s->server);
  display_text(stdout, name);
  (void)puts(".");
  const char *first = session_variable("PURLIN_TOKEN") ? "PURLIN_TOKEN" : "PURLIN_TOKEN_FILE";
  if (session_variable(first))
    (void)fprintf(stderr, "purlin: %s is set and goes before this session: unset %s\n", first, first);
  return CTL_FINE;
}

static int send_login(session *s, const char *name, const char *password) {
  buffer answer = {0};
  unsigned http = 0;
  char *body = body_of("name", name, "password", password);
  int code = CTL_UNREACHABLE;
  s->token = NULL;
  if (body && session_request(s, "POST", "/api/v1/accounts/login", body, &http, &answer)) {
    code = http == 200 ? keep(s, name, &answer) : CTL_FAILED;
    if (http == 404) (void)fprintf(stderr, "purlin: the server at %s has no plugin 'accounts' to log in with\n", s->server);
    else if (http != 200) session_complain(s, http, &answer);
  }
  if (body) explicit_bzero(body, strlen(body));
  cJSON_free(body);
  if (answer.data) explicit_bzero(answer.data, answer.size);
  buffer_free(&answer);
  return code;
}

/* ---- login --sso: the device flow, in which the server does all that concerns the provider ------------------------------------------ */

enum { LEAST_INTERVAL_S = 1, MOST_INTERVAL_S = 60, GIVE_UP_AFTER_FAILURES = 5 };

static const char *text_in(const cJSON *of, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, name));
  return text ? text : "";
}

static unsigned seconds_in(const cJSON *of, const char *name, unsigned least, unsigned most) {
  const cJSON *number = cJSON_GetObjectItemCaseSensitive(of, name);
  double value = cJSON_IsNumber(number) ? number->valuedouble : least;
  if (!(value > least)) return least;
  return value < most ? (unsigned)value : most;
}

/* NULL: said on stderr. Owned: cJSON_Delete. */
static cJSON *begin_device(session *s, int *code) {
  buffer answer = {0};
  unsigned http = 0;
  cJSON *begun = NULL;
  *code = CTL_UNREACHABLE;
  if (session_request(s, "POST", "/api/v1/oidc/device", "", &http, &answer)) {
    *code = CTL_FAILED;
    begun = http == 200 ? cJSON_ParseWithLength(answer.data, answer.size) : NULL;
    if (!begun) session_complain(s, http, &answer);
  }
  buffer_free(&answer);
  return begun;
}

/* Whatever the provider is called came from elsewhere, so it goes through display_text. */
static void say_where(const cJSON *begun) {
  const char *whole = text_in(begun, "verification_uri_complete");
  (void)fputs("Open ", stderr);
  display_text(stderr, text_in(begun, "verification_uri"));
  (void)fputs(" in a browser, on any device, and enter this code:\n\n    ", stderr);
  display_text(stderr, text_in(begun, "user_code"));
  (void)fputs("\n\n", stderr);
  if (!*whole) return;
  (void)fputs("Or open this, and compare the code:\n\n    ", stderr);
  display_text(stderr, whole);
  (void)fputs("\n\n", stderr);
}

/* One question; true: it is over, as *code says. What passes (no answer, 429, 5xx) is asked again, a few times. */
static bool poll_device(session *s, const char *body, unsigned *interval_s, unsigned *failures, int *code) {
  buffer answer = {0};
  unsigned http = 0;
  bool answered = session_request(s, "POST", "/api/v1/oidc/device/poll", body, &http, &answer);
  cJSON *said = answered ? cJSON_ParseWithLength(answer.data, answer.size) : NULL;
  bool passes = !answered || http == 202 || http == 429 || http >= 500;
  *failures = answered && http == 202 ? 0 : *failures + 1;
  if (*failures >= GIVE_UP_AFTER_FAILURES) passes = false;
  if (http == 202) *interval_s = seconds_in(said, "interval", LEAST_INTERVAL_S, MOST_INTERVAL_S);
  *code = answered ? CTL_FAILED : CTL_UNREACHABLE;
  if (http == 200) *code = keep(s, text_in(said, "name"), &answer);
  else if (answered && !passes) session_complain(s, http, &answer);
  cJSON_Delete(said);
  if (answer.data) explicit_bzero(answer.data, answer.size);
  buffer_free(&answer);
  return !passes;
}

static int login_elsewhere(session *s) {
  int code;
  s->token = NULL;
  cJSON *begun = begin_device(s, &code);
  if (!begun) return code;
  unsigned interval_s = seconds_in(begun, "interval", LEAST_INTERVAL_S, MOST_INTERVAL_S), waited_s = 0, failures = 0;
  unsigned most_s = seconds_in(begun, "expires_in", 1, 3600);
  char *body = body_of("handle", text_in(begun, "handle"), NULL, NULL);
  say_where(begun);
  cJSON_Delete(begun);
  bool over = !body;
  code = CTL_FAILED;
  for (; !over && waited_s <= most_s; waited_s += interval_s) {
    (void)sleep(interval_s);
    over = poll_device(s, body, &interval_s, &failures, &code);
  }
  if (!over) (void)fputs("purlin: nobody entered the code in time\n", stderr);
  if (body) explicit_bzero(body, strlen(body));
  cJSON_free(body);
  return over ? code : CTL_FAILED;
}

int login_command(void *to, const manual_command *about, int count, char **arguments) {
  session *s = to;
  manual_given given;
  char name[LONGEST_LINE], password[LONGEST_LINE];
  if (!manual_read_or_say(about, count, arguments, &given)) return CTL_USAGE;
  session_address(s);
  if (manual_value(&given, "--sso")) return login_elsewhere(s);
  if (given.operand_count == 1) (void)snprintf(name, sizeof name, "%s", given.operands[0]);
  else if (!ask("Name", false, name)) return CTL_USAGE;
  if (!ask("Password", true, password)) return CTL_USAGE;
  int code = send_login(s, name, password);
  explicit_bzero(password, sizeof password);
  return code;
}

/* ---- logout -------------------------------------------------------------------------------------------------------------------------------- */

int logout_command(void *to, const manual_command *about, int count, char **arguments) {
  session *s = to;
  manual_given given;
  if (!manual_read_or_say(about, count, arguments, &given)) return CTL_USAGE;
  session_address(s);
  credentials c;
  const cJSON *entry = credentials_open(&c, false) ? credentials_of(&c, s->server) : NULL;
  if (!entry) {
    credentials_close(&c);
    (void)printf("Nobody is logged in to %s.\n", s->server);
    return CTL_FINE;
  }
  const char *refresh = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "refresh_token"));
  char *body = body_of("refresh_token", refresh ? refresh : "", NULL, NULL);
  buffer answer = {0};
  unsigned http = 0;
  s->token = NULL;
  bool told = body && session_request(s, "POST", "/api/v1/accounts/logout", body, &http, &answer) && http == 200;
  bool gone = credentials_put(&c, s->server, "", NULL);
  credentials_close(&c);
  if (told && gone) (void)printf("Logged out of %s.\n", s->server);
  else if (gone)
    (void)fprintf(stderr, "purlin: the tokens are deleted here; the server was not told, and ends the session by itself\n");
  cJSON_free(body);
  buffer_free(&answer);
  return told && gone ? CTL_FINE : CTL_FAILED;
}
