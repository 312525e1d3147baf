#include "import.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LINE_EVERY_MS = 10000, BAR_EVERY_MS = 200, MOST_PROBLEMS = 100 };

static int64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool on_terminal(void) {
  static int known = -1;
  const char *terminal = getenv("TERM");
  if (known < 0) known = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
  return known == 1;
}

static int columns(void) {
  struct winsize size = {0};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void show(const char *text, int most) {
  for (const char *at = text; *at && (most < 0 || at - text < most); at++) {
    bool control = (unsigned char)*at < 0x20 || *at == 0x7f;
    /* U+0080 to U+009F begin with this byte, and are controls too. */
    if ((unsigned char)*at == 0xc2 && (unsigned char)at[1] < 0xa0) control = true, at += at[1] != 0;
    (void)fputc(control ? '?' : *at, stderr);
  }
}

/* Runs in a second: how it was lately counts most, since those that are here already take next to no time. */
static double rate_of(const importing *of, int64_t now) {
  static int64_t at_ms, runs;
  static double rate;
  int64_t all = of->copied + of->unchanged;
  if (at_ms == 0) at_ms = now;
  if (now - at_ms < 2000) return rate;
  double lately = (double)(all - runs) * 1000 / (double)(now - at_ms);
  rate = rate > 0 ? rate * 0.7 + lately * 0.3 : lately;
  at_ms = now;
  runs = all;
  return rate;
}

static const char *time_left(const importing *of, double rate) {
  int64_t left = of->expected - of->copied - of->unchanged;
  if (rate <= 0 || left <= 0) return "";
  long long seconds = (long long)((double)left / rate) + 1;
  if (seconds >= 7200) return say(", %lld h left", seconds / 3600);
  return seconds >= 120 ? say(", %lld min left", seconds / 60) : say(", %lld s left", seconds);
}

static const char *bar(const importing *of) {
  enum { WIDTH = 20 };
  static const char full[] = "####################", none[] = "--------------------";
  int64_t all = of->expected > 0 ? of->expected : 1, done = of->copied + of->unchanged;
  if (done > all) done = all; /* some began since they were counted */
  int filled = (int)(done * WIDTH / all);
  return say("%s%.*s%.*s%s%3d%% ", on_terminal() ? "[" : "", on_terminal() ? filled : 0, full,
             on_terminal() ? WIDTH - filled : 0, none, on_terminal() ? "] " : "", (int)(done * 100 / all));
}

void progress(importing *of, const char *what) {
  static int64_t shown_ms;
  int64_t now = now_ms();
  if (shown_ms == 0) shown_ms = now;
  double rate = rate_of(of, now);
  if (now - shown_ms < (on_terminal() ? BAR_EVERY_MS : LINE_EVERY_MS)) return;
  shown_ms = now;
  pool_block *mark = pool_mark();
  long long done = (long long)of->copied + (long long)of->unchanged;
  const char *line = of->dry ? say("counting: %lld experiments, %lld runs: %s", (long long)of->there[EXPERIMENTS],
                                   (long long)of->there[RUNS], what)
                             : say("%s%lld/%lld runs, %.1f/s%s; %lld points, %lld files, %.1f MiB: %s", bar(of), done,
                                   (long long)of->expected, rate, time_left(of, rate), (long long)of->here[POINTS],
                                   (long long)of->here[FILES], (double)of->here[BYTES] / 1048576, what);
  if (on_terminal()) (void)fputs("\r\033[K", stderr);
  show(line, on_terminal() ? columns() - 1 : -1);
  if (!on_terminal()) (void)fputc('\n', stderr);
  pool_release(mark);
}

void progress_end(importing *of) {
  (void)of;
  if (on_terminal()) (void)fputs("\r\033[K", stderr);
}

void problem(importing *of, const char *format, ...) {
  if (++of->problems > MOST_PROBLEMS) return;
  char text[2048];
  va_list list;
  va_start(list, format);
  (void)vsnprintf(text, sizeof text, format, list);
  va_end(list);
  progress_end(of);
  (void)fputs("purlin-import-mlflow: ", stderr);
  show(text, -1);
  (void)fputc('\n', stderr);
  if (of->problems == MOST_PROBLEMS) (void)fputs("purlin-import-mlflow: no more of them are told\n", stderr);
}
