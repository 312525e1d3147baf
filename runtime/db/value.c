/* value.c: C values as parameters of statements. */
#include <purlin/database.h>

#include <math.h>
#include <string.h>

static const purlin_value null_value = {.type = PURLIN_V_NULL};

static purlin_value of_data(purlin_value_type type, const void *data, size_t size) {
  if (!data) return null_value;
  return (purlin_value){.type = type, .as.data = data, .size = size};
}

purlin_value purlin_value_int(int64_t value) { return (purlin_value){.type = PURLIN_V_INT, .as.integer = value}; }

purlin_value purlin_value_bool(bool value) { return purlin_value_int(value ? 1 : 0); }

purlin_value purlin_value_double(double value) {
  if (!isfinite(value)) return null_value;
  return (purlin_value){.type = PURLIN_V_DOUBLE, .as.number = value};
}

purlin_value purlin_value_text(const char *value) { return of_data(PURLIN_V_TEXT, value, value ? strlen(value) : 0); }

purlin_value purlin_value_json(purlin_json value) { return of_data(PURLIN_V_TEXT, value.text, value.size); }

purlin_value purlin_value_bytes(purlin_bytes value) { return of_data(PURLIN_V_BYTES, value.data, value.size); }

purlin_value purlin_value_time(purlin_time value) {
  if (value.unix_us == 0) return null_value;
  return (purlin_value){.type = PURLIN_V_TIME, .as.integer = value.unix_us};
}

purlin_value purlin_value_opt_text(purlin_opt_text value) {
  return value.state == PURLIN_SET ? purlin_value_text(value.value) : null_value;
}

purlin_value purlin_value_opt_int(purlin_opt_int value) {
  return value.state == PURLIN_SET ? purlin_value_int(value.value) : null_value;
}

purlin_value purlin_value_opt_double(purlin_opt_double value) {
  return value.state == PURLIN_SET ? purlin_value_double(value.value) : null_value;
}

purlin_value purlin_value_opt_bool(purlin_opt_bool value) {
  return value.state == PURLIN_SET ? purlin_value_bool(value.value) : null_value;
}
