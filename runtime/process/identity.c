#include "process/parts.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static ssize_t read_small(const char *path, char *out, size_t size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t got = read(file, out, size - 1);
  (void)close(file);
  out[got > 0 ? got : 0] = '\0';
  return got;
}

static const char *skip_fields(const char *at, int count) {
  while (count-- > 0) {
    at = strchr(at, ' ');
    if (!at) return NULL;
    at++;
  }
  return at;
}

bool process_read_stat(int64_t pid, process_stat *stat) {
  char path[40], text[1024];
  if (pid <= 0) return false;
  (void)snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  if (read_small(path, text, sizeof text) <= 0) return false;
  const char *at = strrchr(text, ')'); /* the name before it may hold anything */
  if (!at || at[1] != ' ') return false;
  stat->state = at[2];
  const char *session = skip_fields(at + 2, 3), *started = skip_fields(at + 2, 19); /* fields 6 and 22 of proc(5) */
  if (!session || !started) return false;
  stat->session = strtoll(session, NULL, 10);
  stat->started = strtoll(started, NULL, 10);
  return true;
}

uint64_t process_age_ns(void) {
  const uint64_t second_ns = 1000000000u;
  process_stat self;
  struct timespec now;
  long ticks_a_second = sysconf(_SC_CLK_TCK);
  bool known = ticks_a_second > 0 && process_read_stat(getpid(), &self) && clock_gettime(CLOCK_BOOTTIME, &now) == 0;
  if (!known) return 0;
  uint64_t began_ns = (uint64_t)self.started * (second_ns / (uint64_t)ticks_a_second);
  uint64_t now_ns = (uint64_t)now.tv_sec * second_ns + (uint64_t)now.tv_nsec;
  return now_ns > began_ns ? now_ns - began_ns : 0;
}

static char boot[64];

static void read_boot(void) {
  if (read_small("/proc/sys/kernel/random/boot_id", boot, sizeof boot) <= 0) boot[0] = '\0';
  boot[strcspn(boot, "\n")] = '\0';
}

const char *process_boot_id(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, read_boot);
  return boot;
}

bool purlin_process_alive(const purlin_process *process) {
  process_stat stat;
  if (!process->boot || strcmp(process->boot, process_boot_id()) != 0) return false;
  if (!process_read_stat(process->pid, &stat) || stat.started != process->started) return false;
  return stat.state != 'Z' && stat.state != 'X';
}

void process_kill_session(int64_t session) {
  DIR *processes = opendir("/proc");
  if (!processes) return;
  for (struct dirent *entry = readdir(processes); entry; entry = readdir(processes)) {
    process_stat stat;
    int64_t pid = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? strtoll(entry->d_name, NULL, 10) : 0;
    if (pid > 1 && process_read_stat(pid, &stat) && stat.session == session && stat.state != 'Z')
      (void)kill((pid_t)pid, SIGKILL);
  }
  (void)closedir(processes);
}
