/* plan.c: making plans, and reading rows by them. */
#include "db/plan.h"

#include <stdlib.h>
#include <string.h>

#include "core/schema.h"
#include "core/text.h"
#include "db/connection.h"
#include "db/sql.h"

typedef struct plan_column {
  db_column column;
  const purlin_field *field;
} plan_column;

struct db_plan {
  db_plan *next;
  const purlin_schema *schema;
  size_t count;
  plan_column columns[];
};

typedef enum read_result { READ_OK, READ_NO_MEMORY, READ_DOES_NOT_FIT } read_result;

/* One conversion: the cell is not NULL, `member` points into the struct. */
typedef read_result convert(const plan_column *c, const db_cell *cell, arena *memory, void *member);

/* ---- Conversions, one per type of member ---- */

static read_result to_bool(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  int64_t value;
  (void)memory;
  if (!db_cell_int(&c->column, cell, &value)) return READ_DOES_NOT_FIT;
  *(bool *)member = value != 0;
  return READ_OK;
}

static read_result to_int(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  (void)memory;
  return db_cell_int(&c->column, cell, member) ? READ_OK : READ_DOES_NOT_FIT;
}

static read_result to_double(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  (void)memory;
  return db_cell_double(&c->column, cell, member) ? READ_OK : READ_DOES_NOT_FIT;
}

/* The cell as text, numbers and times in the same spelling as in JSON. */
static read_result text_of(const plan_column *c, const db_cell *cell, arena *memory, const char **text, size_t *size) {
  char spelled[32];
  int64_t integer;
  double number;
  const char *from = (const char *)cell->data;
  *size = cell->size;
  switch (c->column.kind) {
  case COLUMN_INT:
    if (!db_cell_int(&c->column, cell, &integer)) return READ_DOES_NOT_FIT;
    *size = text_from_int(integer, spelled);
    from = spelled;
    break;
  case COLUMN_DOUBLE:
    if (!db_cell_double(&c->column, cell, &number)) return READ_DOES_NOT_FIT;
    *size = text_from_double(number, spelled);
    from = spelled;
    break;
  case COLUMN_DATE:
    if (!db_cell_time(cell, &integer)) return READ_DOES_NOT_FIT;
    *size = text_from_time(integer, spelled);
    from = spelled;
    break;
  case COLUMN_BYTES:
    if (!text_is_utf8(from, *size)) return READ_DOES_NOT_FIT;
    break;
  default: break;
  }
  *text = arena_copy(memory, from, *size);
  return *text ? READ_OK : READ_NO_MEMORY;
}

static read_result to_text(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  size_t size;
  return text_of(c, cell, memory, member, &size);
}

static read_result to_enum(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  int64_t value;
  (void)memory;
  if (c->column.kind == COLUMN_INT) {
    if (!db_cell_int(&c->column, cell, &value) || value < 0 || value > INT32_MAX) return READ_DOES_NOT_FIT;
  } else {
    value = schema_choice_index(c->field->choices, (const char *)cell->data, cell->size);
    if (value < 0) return READ_DOES_NOT_FIT;
  }
  *(unsigned *)member = (unsigned)value;
  return READ_OK;
}

static read_result to_time(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  (void)c;
  (void)memory;
  return db_cell_time(cell, &((purlin_time *)member)->unix_us) ? READ_OK : READ_DOES_NOT_FIT;
}

static read_result to_json(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  purlin_json *json = member;
  return text_of(c, cell, memory, &json->text, &json->size);
}

static read_result to_bytes(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  (void)c;
  char *copy = arena_copy(memory, (const char *)cell->data, cell->size);
  if (!copy) return READ_NO_MEMORY;
  *(purlin_bytes *)member = (purlin_bytes){copy, cell->size};
  return READ_OK;
}

static read_result to_opt_bool(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  purlin_opt_bool *opt = member;
  opt->state = PURLIN_SET;
  return to_bool(c, cell, memory, &opt->value);
}

static read_result to_opt_int(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  purlin_opt_int *opt = member;
  opt->state = PURLIN_SET;
  return to_int(c, cell, memory, &opt->value);
}

static read_result to_opt_double(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  purlin_opt_double *opt = member;
  opt->state = PURLIN_SET;
  return to_double(c, cell, memory, &opt->value);
}

static read_result to_opt_text(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  purlin_opt_text *opt = member;
  opt->state = PURLIN_SET;
  return to_text(c, cell, memory, &opt->value);
}

static void ignore_complaint(void *to, const char *field, const char *message) { (void)to, (void)field, (void)message; }

/* Lists and objects are JSON text in the column: read as the only member of an object of a schema with this field alone. */
static read_result to_structure(const plan_column *c, const db_cell *cell, arena *memory, void *member) {
  purlin_field field = *c->field;
  field.offset = 0;
  const purlin_schema alone = {field.size, (uint32_t)sizeof field, 1, c->field->name, c->field->name, &field};
  size_t name_size = strlen(field.name);
  if (cell->size > SIZE_MAX - name_size - 8) return READ_NO_MEMORY;
  size_t size = name_size + cell->size + 5;
  char *json = arena_alloc_raw(memory, size, 1);
  if (!json) return READ_NO_MEMORY;
  json[0] = '{';
  json[1] = '"';
  memcpy(json + 2, field.name, name_size);
  memcpy(json + 2 + name_size, "\":", 2);
  memcpy(json + 4 + name_size, cell->data, cell->size);
  json[size - 1] = '}';
  const schema_reading reading = {.memory = memory, .complain = ignore_complaint, .tolerant = true};
  switch (schema_decode(&reading, &alone, json, size, member)) {
  case PURLIN_OK: return READ_OK;
  case PURLIN_TOO_LARGE: return READ_NO_MEMORY;
  default: return READ_DOES_NOT_FIT;
  }
}

#define KIND(kind) (1u << (kind))
#define NUMBERS (KIND(COLUMN_INT) | KIND(COLUMN_DOUBLE) | KIND(COLUMN_DECIMAL))
#define WORDS (KIND(COLUMN_TEXT) | KIND(COLUMN_BYTES))

static const struct {
  convert *convert;
  unsigned from;
  bool nullable;
  const char *name;
} conversions[] = {
    [PURLIN_T_BOOL] = {to_bool, KIND(COLUMN_INT) | KIND(COLUMN_BIT), false, "bool"},
    [PURLIN_T_INT] = {to_int, NUMBERS | KIND(COLUMN_BIT), false, "int64_t"},
    [PURLIN_T_DOUBLE] = {to_double, NUMBERS, false, "double"},
    [PURLIN_T_TEXT] = {to_text, NUMBERS | WORDS | KIND(COLUMN_DATE), false, "const char *"},
    [PURLIN_T_ENUM] = {to_enum, WORDS | KIND(COLUMN_INT), false, "enum"},
    [PURLIN_T_OPT_BOOL] = {to_opt_bool, KIND(COLUMN_INT) | KIND(COLUMN_BIT), true, "purlin_opt_bool"},
    [PURLIN_T_OPT_INT] = {to_opt_int, NUMBERS | KIND(COLUMN_BIT), true, "purlin_opt_int"},
    [PURLIN_T_OPT_DOUBLE] = {to_opt_double, NUMBERS, true, "purlin_opt_double"},
    [PURLIN_T_OPT_TEXT] = {to_opt_text, NUMBERS | WORDS | KIND(COLUMN_DATE), true, "purlin_opt_text"},
    [PURLIN_T_TIME] = {to_time, KIND(COLUMN_DATE), false, "purlin_time"},
    [PURLIN_T_JSON] = {to_json, NUMBERS | WORDS, false, "purlin_json"},
    [PURLIN_T_BYTES] = {to_bytes, WORDS, false, "purlin_bytes"},
    [PURLIN_T_TEXTS] = {to_structure, WORDS, false, "purlin_texts"},
    [PURLIN_T_DOUBLES] = {to_structure, WORDS, false, "purlin_doubles"},
    [PURLIN_T_OBJECT] = {to_structure, WORDS, false, "an object"},
    [PURLIN_T_LIST] = {to_structure, WORDS, false, "a list"},
};

/* ---- Making a plan ---- */

static const char *const column_names[COLUMN_KINDS] = {"NULL",      "an integer", "a floating-point number",
                                                       "a decimal", "a text",     "bytes",
                                                       "a date",    "bits",       "of a type that members cannot hold"};

static bool fail(purlin_ctx *ctx, const db_statement *statement, const purlin_schema *schema, const char *name,
                 const char *problem) {
  (void)purlin_fail(ctx, PURLIN_INTERNAL, "%s: '%s' %s; statement: %.*s", schema->name, name, problem,
                    (int)sql_excerpt(statement->sql, statement->size, 200), statement->sql);
  return false;
}

static bool plan_column_of(purlin_ctx *ctx, const db_statement *statement, const purlin_schema *schema,
                           const MYSQL_FIELD *from, plan_column *c) {
  c->column = db_column_of(from);
  c->field = schema_find(schema, from->name, strlen(from->name));
  if (!c->field) return fail(ctx, statement, schema, from->name, "is selected, but no member has this name");
  uint32_t type = c->field->type;
  if (type >= sizeof conversions / sizeof conversions[0] || !conversions[type].convert)
    return fail(ctx, statement, schema, from->name, "is a member of a type that rows cannot fill");
  if (c->column.kind == COLUMN_NULL || (conversions[type].from & KIND(c->column.kind)) != 0) return true;
  char problem[128];
  snprintf(problem, sizeof problem, "is %s in the row, which does not fit %s", column_names[c->column.kind],
           conversions[type].name);
  return fail(ctx, statement, schema, from->name, problem);
}

static bool all_required_selected(purlin_ctx *ctx, const db_statement *statement, const db_plan *plan) {
  for (size_t i = 0; i < plan->schema->field_count; i++) {
    const purlin_field *field = schema_field(plan->schema, i);
    size_t at = 0;
    while (field->required && at < plan->count && plan->columns[at].field != field) at++;
    if (field->required && at == plan->count)
      return fail(ctx, statement, plan->schema, field->name, "is required, but not selected");
  }
  return true;
}

static bool fill_plan(purlin_ctx *ctx, const db_statement *statement, db_plan *plan) {
  const MYSQL_FIELD *fields = mariadb_stmt_fetch_fields(statement->stmt);
  for (size_t i = 0; i < plan->count; i++) {
    if (!plan_column_of(ctx, statement, plan->schema, &fields[i], &plan->columns[i])) return false;
    for (size_t j = 0; j < i; j++)
      if (plan->columns[j].field == plan->columns[i].field)
        return fail(ctx, statement, plan->schema, fields[i].name, "is selected twice");
  }
  return all_required_selected(ctx, statement, plan);
}

const db_plan *db_plan_for(purlin_ctx *ctx, db_statement *statement, const purlin_schema *schema) {
  for (const db_plan *plan = statement->plans; plan; plan = plan->next)
    if (plan->schema == schema) return plan;
  if (statement->columns == 0) {
    fail(ctx, statement, schema, "the statement", "has no rows");
    return NULL;
  }
  db_plan *plan = calloc(1, sizeof *plan + statement->columns * sizeof plan->columns[0]);
  if (!plan) {
    (void)purlin_fail(ctx, PURLIN_INTERNAL, "no memory for a plan");
    return NULL;
  }
  plan->schema = schema;
  plan->count = statement->columns;
  if (!fill_plan(ctx, statement, plan)) {
    free(plan);
    return NULL;
  }
  plan->next = statement->plans;
  statement->plans = plan;
  return plan;
}

void db_plans_free(db_plan *plans) {
  for (db_plan *next; plans; plans = next) {
    next = plans->next;
    free(plans);
  }
}

/* ---- Reading a row ---- */

/* NULL is "absent", which a required member cannot be: better a clear defect than a silent zero. */
static bool set_null(const plan_column *c, void *member) {
  if (!conversions[c->field->type].nullable) return c->field->required == 0;
  *(purlin_presence *)member = PURLIN_NULL; /* `state` comes first in all four */
  return true;
}

purlin_status db_plan_read(purlin_ctx *ctx, const db_plan *plan, const db_statement *statement, arena *memory, void *out) {
  memset(out, 0, plan->schema->struct_size);
  for (size_t i = 0; i < plan->count; i++) {
    const plan_column *c = &plan->columns[i];
    const db_cell *cell = &statement->cells[i];
    void *member = (char *)out + c->field->offset;
    if (!cell->data) {
      if (set_null(c, member)) continue;
      fail(ctx, statement, plan->schema, c->field->name, "is required, but the row has NULL");
      return PURLIN_INTERNAL;
    }
    switch (conversions[c->field->type].convert(c, cell, memory, member)) {
    case READ_OK: break;
    case READ_NO_MEMORY: return purlin_fail(ctx, PURLIN_TOO_LARGE, "the rows are too large");
    case READ_DOES_NOT_FIT:
      fail(ctx, statement, plan->schema, c->field->name, "has a value in the row that does not fit the member");
      return PURLIN_INTERNAL;
    }
  }
  return PURLIN_OK;
}
