/* The process's own numbers, under the names that every Prometheus client library uses. */
#include "observe/metrics_parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Reads a small file of /proc as a text. */
static bool read_text(const char *path, char *out, size_t size) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  size_t used = 0;
  while (used + 1 < size) {
    ssize_t got = read(descriptor, out + used, size - 1 - used);
    if (got <= 0) break;
    used += (size_t)got;
  }
  (void)close(descriptor);
  out[used] = '\0';
  return used > 0;
}

static double cpu_seconds(void) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return (double)NAN;
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The n-th number (from 0) of /proc/self/statm, in bytes: 0 virtual, 1 resident. */
static double memory_bytes(unsigned which) {
  char text[256];
  if (!read_text("/proc/self/statm", text, sizeof text)) return (double)NAN;
  char *at = text;
  for (unsigned i = 0; i < which; i++) {
    at = strchr(at, ' ');
    if (at == NULL) return (double)NAN;
    at++;
  }
  return (double)strtoull(at, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

static double virtual_bytes(void) { return memory_bytes(0); }
static double resident_bytes(void) { return memory_bytes(1); }

static double open_descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  if (folder == NULL) return (double)NAN;
  size_t count = 0;
  for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
    if (entry->d_name[0] != '.') count++;
  }
  (void)closedir(folder);
  return (double)(count - 1); /* not the folder itself */
}

static double most_descriptors(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : (double)NAN;
}

/* Field 22 of /proc/self/stat counts clock ticks since the boot, which /proc/stat names. */
static double start_time_read(void) {
  static char stat[64 * 1024]; /* /proc/stat is long on large machines; read once */
  char own[1024];
  if (!read_text("/proc/self/stat", own, sizeof own) || !read_text("/proc/stat", stat, sizeof stat)) return (double)NAN;
  const char *at = strrchr(own, ')'); /* the command's name may hold anything */
  const char *boot = strstr(stat, "\nbtime ");
  for (unsigned field = 2; at != NULL && field < 22; field++) {
    at = strchr(at, ' ');
    if (at != NULL) at++;
  }
  if (at == NULL || boot == NULL) return (double)NAN;
  return (double)strtoull(boot + strlen("\nbtime "), NULL, 10) +
         (double)strtoull(at, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
}

static double started;
static void start_time_once(void) { started = start_time_read(); }

static double start_time(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, start_time_once);
  return started;
}

static const struct {
  const char *name, *help;
  purlin_metric_type type;
  double (*read)(void);
} numbers[] = {
    {"process_cpu_seconds_total", "CPU time spent, user and system", PURLIN_METRIC_COUNTER, cpu_seconds},
    {"process_max_fds", "File descriptors that may be open", PURLIN_METRIC_GAUGE, most_descriptors},
    {"process_open_fds", "Open file descriptors", PURLIN_METRIC_GAUGE, open_descriptors},
    {"process_resident_memory_bytes", "Resident memory", PURLIN_METRIC_GAUGE, resident_bytes},
    {"process_start_time_seconds", "Start of the process since 1970", PURLIN_METRIC_GAUGE, start_time},
    {"process_virtual_memory_bytes", "Virtual memory", PURLIN_METRIC_GAUGE, virtual_bytes},
};

void metrics_render_process(buffer *out, bool open) {
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    double value = numbers[i].read();
    if (isnan(value)) continue; /* no /proc here */
    metrics_render_head(out, open, numbers[i].name, numbers[i].help, numbers[i].type);
    buffer_text(out, numbers[i].name);
    buffer_char(out, ' ');
    metrics_render_value(out, value);
    buffer_char(out, '\n');
  }
}
