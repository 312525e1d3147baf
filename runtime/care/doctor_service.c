#include "care/doctor.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
#include "core/text.h"

enum { ANSWER_MS = 5000 };

/* ---- Units ---- */

static void look_at_unit(doctor *d, const char *name, const unit_state *unit) {
  char restart[128];
  (void)snprintf(restart, sizeof restart, "journalctl -u %s -n 50; then systemctl restart %s", name, name);
  if (strcmp(unit->load, "masked") == 0)
    doctor_tell(d, REPORT_FAILED, "systemctl unmask purlin.service", "%s is masked: it can not be started", name);
  else if (strcmp(unit->active, "failed") == 0)
    doctor_tell(d, REPORT_FAILED, restart, "%s has failed (%s)", name, unit->result);
  else if (strcmp(unit->active, "activating") == 0)
    doctor_tell(d, REPORT_WARNING, restart, "%s is starting; it has restarted %llu times", name,
                (unsigned long long)unit->restarts);
  else if (strcmp(unit->active, "active") != 0)
    doctor_tell(d, REPORT_FAILED, "systemctl enable --now purlin", "%s is %s", name, unit->active);
  else if (unit->restarts > 0)
    doctor_tell(d, REPORT_WARNING, restart, "%s is active, but was restarted %llu times by itself", name,
                (unsigned long long)unit->restarts);
  else doctor_tell(d, REPORT_DONE, NULL, "%s is active", name);
}

/* A package that was upgraded by other means than `purlin upgrade`, and a service that was not restarted. */
static void look_for_old_program(doctor *d, const unit_state *unit) {
  char path[64], target[PATH_MAX];
  static const char deleted[] = " (deleted)";
  if (unit->pid == 0) return;
  (void)snprintf(path, sizeof path, "/proc/%llu/exe", (unsigned long long)unit->pid);
  ssize_t size = readlink(path, target, sizeof target - 1);
  if (size < (ssize_t)sizeof deleted) return;
  target[size] = '\0';
  if (strcmp(target + size - (ssize_t)(sizeof deleted - 1), deleted) == 0)
    doctor_tell(d, REPORT_WARNING, "systemctl restart purlin", "an older purlind still runs: another was installed since");
}

void doctor_units(doctor *d) {
  unit_state unit;
  buffer why = {0};
  if (!unit_ask(d->here, "purlin.service", &unit, &why)) {
    doctor_tell(d, REPORT_SKIPPED, NULL, "%s", buffer_end(&why));
    buffer_free(&why);
    return;
  }
  if (strcmp(unit.load, "not-found") == 0) {
    doctor_tell(d, REPORT_WARNING, "install the package purlin", "there is no purlin.service");
    return;
  }
  unit_state socket_unit = {0}, spawner = {0};
  bool by_socket = unit_ask(d->here, "purlin.socket", &socket_unit, &why) && strcmp(socket_unit.active, "active") == 0;
  if (by_socket && strcmp(unit.active, "inactive") == 0)
    doctor_tell(d, REPORT_DONE, NULL, "purlin.socket waits for a connection, which starts purlin.service");
  else look_at_unit(d, "purlin.service", &unit);
  if (!by_socket && strcmp(unit.active, "active") == 0 && strcmp(unit.file, "disabled") == 0)
    doctor_tell(d, REPORT_WARNING, "systemctl enable purlin", "purlin.service does not start with the machine");
  if (unit_ask(d->here, "purlin-spawner.service", &spawner, &why) && strcmp(spawner.active, "failed") == 0)
    look_at_unit(d, "purlin-spawner.service", &spawner);
  look_for_old_program(d, &unit);
  buffer_free(&why);
}

/* ---- The port ---- */

static int listen_once(int file, const struct sockaddr *address, socklen_t size) {
  const int yes = 1;
  (void)setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes); /* as the daemon does */
  return bind(file, address, size) == 0 && listen(file, 1) == 0 ? 0 : errno;
}

/* 0: the address is free for the service; else errno of binding. */
static int try_to_listen(const installation *i, const char *address, uint16_t port) {
  buffer why = {0};
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
  if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) return 0; /* a name: --check tells */
  int file = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) return errno;
  bool as_service = installation_act(i, &why);
  int error = is_six ? listen_once(file, (const struct sockaddr *)&six, sizeof six)
                     : listen_once(file, (const struct sockaddr *)&four, sizeof four);
  if (as_service) installation_act_no_more(i);
  buffer_free(&why);
  (void)close(file);
  return error;
}

/* ---- The server ---- */

/* The first administrator's, where it is there and we may read it: with it the server tells what is not ready. */
static bool read_token(const doctor *d, char out[512]) {
  char path[PATH_MAX];
  FILE *file = installation_path(d->here, "admin.token", path) ? fopen(path, "re") : NULL;
  bool read = file && fgets(out, 512, file);
  if (file) (void)fclose(file);
  out[read ? strcspn(out, "\r\n") : 0] = '\0';
  return read && out[0];
}

static void tell_parts(doctor *d, const cJSON *answer, report_outcome outcome) {
  const cJSON *part;
  cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(answer, "checks")) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(part, "name"),
                *detail = cJSON_GetObjectItemCaseSensitive(part, "detail");
    if (cJSON_IsString(name) && cJSON_IsString(detail))
      doctor_tell(d, outcome, "journalctl -u purlin -n 50", "%s: %s", name->valuestring, detail->valuestring);
  }
}

static void look_at_readiness(doctor *d) {
  buffer answer = {0}, url = {0}, why = {0};
  char token[512];
  unsigned status = 0;
  size_t before = d->told;
  const care_request request = {"GET", "/readyz", read_token(d, token) ? token : NULL, NULL, ANSWER_MS, true};
  bool answers = request_send(d->here, &request, &status, &answer, &why);
  cJSON *parsed = answers ? cJSON_ParseWithLength(buffer_end(&answer), answer.size) : NULL;
  const cJSON *word = cJSON_GetObjectItemCaseSensitive(parsed, "status");
  const char *ready = cJSON_IsString(word) ? word->valuestring : "says nothing that is understood";
  bool fine = status == 200 && strcmp(ready, "ready") == 0;
  installation_url(d->here, &url);
  if (!fine) tell_parts(d, parsed, status == 200 ? REPORT_WARNING : REPORT_FAILED);
  if (fine) doctor_tell(d, REPORT_DONE, NULL, "%s answers, and is ready", buffer_end(&url));
  else if (d->told == before)
    doctor_tell(d, status == 200 ? REPORT_WARNING : REPORT_FAILED, "journalctl -u purlin -n 50", "%s answers: %s",
                buffer_end(&url), answers ? ready : buffer_end(&why));
  text_wipe(token, sizeof token);
  cJSON_Delete(parsed);
  buffer_free(&answer);
  buffer_free(&url);
  buffer_free(&why);
}

static const char CHOOSE[] =
    "stop it, or choose another: server { port = ... } in purlin.lua; then systemctl restart purlin";

static void look_at_port(doctor *d) {
  const server_settings *s = &d->here->settings.server;
  char holder[128];
  int error = try_to_listen(d->here, s->address, (uint16_t)s->port);
  if (error == 0)
    doctor_tell(d, REPORT_FAILED, "systemctl start purlin; journalctl -u purlin -n 50 tells why it ended",
                "no server runs: nothing listens on %s:%lld", s->address, (long long)s->port);
  else if (error == EADDRINUSE) {
    listener_name(d->here, holder);
    doctor_tell(d, REPORT_FAILED, CHOOSE, "port %lld is taken by %s, which does not answer as Purlin does",
                (long long)s->port, holder);
  } else if (error == EACCES)
    doctor_tell(d, REPORT_FAILED, "systemctl disable --now purlin.service && systemctl enable --now purlin.socket",
                "port %lld takes a privilege that the service does not have: let systemd open it", (long long)s->port);
  else
    doctor_tell(d, REPORT_FAILED, "mend server { address = ... } of purlin.lua; ip address lists those of this machine",
                "%s:%lld cannot be listened on: %s", s->address, (long long)s->port, strerror(error));
}

/* Certificates are looked at by another check. */
static bool is_alive(const installation *i) {
  static const char alive[] = "{\"status\":\"ok\"}";
  const care_request request = {"GET", "/healthz", NULL, NULL, ANSWER_MS, true};
  buffer answer = {0}, why = {0};
  unsigned status = 0;
  bool is = request_send(i, &request, &status, &answer, &why) && status == 200 && strcmp(buffer_end(&answer), alive) == 0;
  buffer_free(&answer);
  buffer_free(&why);
  return is;
}

void doctor_server(doctor *d) {
  const installation *i = d->here;
  buffer why = {0};
  if (!i->readable || i->settings.server.port == 0) return;
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  bool ours = listener_is_ours(i, &why);
  bool asks = secure_is_on(&i->settings) && strcmp(i->settings.tls.client_certificate, "required") == 0;
  if (!is_alive(i)) {
    if (ours && asks) doctor_tell(d, REPORT_SKIPPED, NULL, "it wants clients' certificates, and this command has none");
    else look_at_port(d);
  } else if (!ours) doctor_tell(d, REPORT_FAILED, CHOOSE, "%s, and answers as Purlin does", buffer_end(&why));
  else look_at_readiness(d);
  buffer_free(&why);
  curl_global_cleanup();
}

/* ---- The clock ---- */

/* A program that is newer than now. Packages of reproducible builds have the date of their release. */
static bool is_before_build(time_t now) {
  struct stat about;
  enum { DAY_S = 86400 };
  return stat("/proc/self/exe", &about) == 0 && now < about.st_mtime - DAY_S;
}

void doctor_clock(doctor *d) {
  struct timex adjusting = {0};
  time_t now = time(NULL);
  struct tm parts;
  char date[32] = "";
  if (gmtime_r(&now, &parts)) (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &parts);
  if (is_before_build(now))
    doctor_tell(d, REPORT_FAILED, "timedatectl set-ntp true", "it is %s here, which was before this release was made",
                date);
  int state = adjtimex(&adjusting);
  if (state < 0)
    doctor_tell(d, REPORT_SKIPPED, NULL, "%s; whether it is kept right cannot be asked: %s", date, strerror(errno));
  else if (state == TIME_ERROR || (adjusting.status & STA_UNSYNC))
    doctor_tell(d, REPORT_WARNING, "apt-get install systemd-timesyncd && timedatectl set-ntp true",
                "%s; nothing keeps it right (no NTP): certificates, sessions and schedules go by it", date);
  else if (d->told == 0) doctor_tell(d, REPORT_DONE, NULL, "%s, kept right by NTP", date);
}
