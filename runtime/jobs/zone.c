/* zone.c: reading TZif files (RFC 8536) and finding the offset that holds at a time. */
#include "jobs/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONE_FOLDER "/usr/share/zoneinfo"
#define ZONE_MAX_FILE ((size_t)1024 * 1024)
#define ZONE_MAX_CHANGES 20000u
#define HEADER_BYTES 44u

/* ---- The calendar -------------------------------------------------------------------------------------------------------- */

int64_t zone_days_from_date(int64_t year, unsigned month, unsigned day) {
  int64_t y = month <= 2 ? year - 1 : year; /* years begin in March, so that the leap day is the last one */
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  int64_t year_of_era = y - era * 400;
  int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + (int64_t)day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

void zone_date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day) {
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  int64_t day_of_era = z - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted_month = (5 * day_of_year + 2) / 153;
  *day = (unsigned)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  *month = (unsigned)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

unsigned zone_days_of_month(int64_t year, unsigned month) {
  static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29u : days[month - 1];
}

/* ---- The file ------------------------------------------------------------------------------------------------------------ */

typedef struct tzif_block {
  const unsigned char *times, *indices, *types, *end;
  size_t time_count, type_count, time_bytes;
  unsigned char version;
} tzif_block;

static uint32_t big32(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static int64_t big_time(const unsigned char *p, size_t bytes) {
  if (bytes == 4) return (int32_t)big32(p);
  return (int64_t)((uint64_t)big32(p) << 32 | big32(p + 4));
}

/* One header and its data at `p`; false when it is not all there. */
static bool read_block(const unsigned char *p, size_t size, size_t time_bytes, tzif_block *block) {
  if (size < HEADER_BYTES || memcmp(p, "TZif", 4) != 0) return false;
  uint32_t utc_count = big32(p + 20), std_count = big32(p + 24), leap_count = big32(p + 28);
  uint32_t time_count = big32(p + 32), type_count = big32(p + 36), text_bytes = big32(p + 40);
  if (time_count > ZONE_MAX_CHANGES || type_count == 0 || type_count > 256 || leap_count > 1000) return false;
  if (utc_count > 256 || std_count > 256 || text_bytes > 100000) return false;
  size_t need = (size_t)time_count * (time_bytes + 1) + (size_t)type_count * 6 + text_bytes +
                (size_t)leap_count * (time_bytes + 4) + std_count + utc_count;
  if (need > size - HEADER_BYTES) return false;
  block->version = p[4];
  block->time_bytes = time_bytes;
  block->time_count = time_count;
  block->type_count = type_count;
  block->times = p + HEADER_BYTES;
  block->indices = block->times + (size_t)time_count * time_bytes;
  block->types = block->indices + time_count;
  block->end = p + HEADER_BYTES + need;
  return leap_count == 0; /* the "right/" zones count leap seconds: their times are not Unix times */
}

static bool fill_table(const tzif_block *block, zone *out) {
  out->changes = calloc(block->time_count + 1, sizeof *out->changes);
  if (out->changes == NULL) return false;
  out->first_offset_s = (int32_t)big32(block->types);
  int32_t last = out->first_offset_s;
  for (size_t i = 0; i < block->time_count; i++) {
    if (block->indices[i] >= block->type_count) return false;
    int32_t offset = (int32_t)big32(block->types + (size_t)block->indices[i] * 6);
    int64_t at = big_time(block->times + i * block->time_bytes, block->time_bytes);
    if (offset < -200000 || offset > 200000) return false;
    if (out->count > 0 && at <= out->changes[out->count - 1].at_s) return false;
    if (offset == last) continue; /* a change of the name only */
    out->changes[out->count++] = (zone_change){at, offset};
    last = offset;
  }
  return true;
}

static bool read_rule(const tzif_block *block, const unsigned char *file_end, zone *out) {
  const unsigned char *p = block->end;
  if (p >= file_end || *p != '\n') return false;
  p++;
  const unsigned char *line_end = memchr(p, '\n', (size_t)(file_end - p));
  if (line_end == NULL) return false;
  if (line_end == p) return true; /* no rule: the last offset holds */
  return zone_append_rule(out, (const char *)p, (size_t)(line_end - p));
}

purlin_status zone_read(const void *data, size_t size, zone *out, buffer *why) {
  const unsigned char *bytes = data;
  tzif_block block;
  memset(out, 0, sizeof *out);
  if (!read_block(bytes, size, 4, &block)) goto broken;
  if (block.version >= '2') {
    size_t first = (size_t)(block.end - bytes);
    if (!read_block(bytes + first, size - first, 8, &block)) goto broken;
  }
  if (!fill_table(&block, out)) goto broken;
  if (block.version >= '2' && !read_rule(&block, bytes + size, out)) goto broken;
  return PURLIN_OK;
broken:
  zone_free(out);
  buffer_text(why, "the file is not a time zone (TZif)");
  return PURLIN_INTERNAL;
}

static bool is_zone_name(const char *name) {
  size_t length = strlen(name);
  if (length == 0 || length > 100 || name[0] == '/' || strstr(name, "..") != NULL) return false;
  return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == length;
}

static purlin_status read_file(const char *name, unsigned char *data, size_t *size, buffer *why) {
  char path[160];
  int written = snprintf(path, sizeof path, "%s/%s", ZONE_FOLDER, name);
  if (written < 0 || (size_t)written >= sizeof path) return PURLIN_INVALID;
  FILE *file = fopen(path, "rbe");
  if (file == NULL) {
    FILE *any = fopen(ZONE_FOLDER "/UTC", "rbe");
    if (any == NULL) buffer_format(why, "there are no time zones in %s: install the package tzdata", ZONE_FOLDER);
    else buffer_format(why, "there is no time zone '%s' (IANA names are like Europe/Brussels)", name);
    if (any != NULL) fclose(any);
    return PURLIN_INVALID;
  }
  *size = fread(data, 1, ZONE_MAX_FILE, file);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (!failed && *size > 0) return PURLIN_OK;
  buffer_format(why, "'%s' is not a time zone that can be read", name); /* a folder, such as "Europe" */
  return PURLIN_INVALID;
}

purlin_status zone_load(const char *name, zone *out, buffer *why) {
  memset(out, 0, sizeof *out);
  if (name == NULL || strcmp(name, "UTC") == 0) return PURLIN_OK;
  if (!is_zone_name(name)) {
    buffer_text(why, "a time zone is an IANA name such as Europe/Brussels");
    return PURLIN_INVALID;
  }
  unsigned char *data = malloc(ZONE_MAX_FILE);
  if (data == NULL) return PURLIN_UNAVAILABLE;
  size_t size = 0;
  purlin_status status = read_file(name, data, &size, why);
  if (status == PURLIN_OK) status = zone_read(data, size, out, why);
  free(data);
  return status;
}

void zone_free(zone *z) {
  free(z->changes);
  memset(z, 0, sizeof *z);
}

zone_span zone_span_at(const zone *z, int64_t at_s) {
  size_t low = 0, high = z->count; /* the number of changes at or before at_s */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (z->changes[middle].at_s <= at_s) low = middle + 1;
    else high = middle;
  }
  zone_span span = {.start_s = INT64_MIN, .end_s = INT64_MAX, .offset_s = z->first_offset_s};
  if (low > 0) {
    span.start_s = z->changes[low - 1].at_s;
    span.offset_s = z->changes[low - 1].offset_s;
  }
  span.previous_offset_s = low > 1 ? z->changes[low - 2].offset_s : z->first_offset_s;
  if (low < z->count) span.end_s = z->changes[low].at_s;
  return span;
}
