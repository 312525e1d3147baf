/* database.h: MariaDB, in straight lines.
 *
 *   model found;
 *   purlin_status status = purlin_db_row(ctx, model, &found,
 *       "SELECT id, name, created_at FROM registry_models WHERE workspace = ? AND name = ?",
 *       purlin_workspace(ctx), in->name);
 *
 * Columns fill the members of the same name of a struct with a schema: nothing is fetched by hand. Statements are always
 * parameterised; they are prepared once per connection and kept. A fiber has one connection at most.
 *
 * In an operation that changes, the transaction begins at the first statement that writes, and commits before the answer;
 * on a deadlock the whole operation runs again. Elsewhere (jobs, listeners) a statement commits by itself unless it runs
 * within purlin_transaction(). While a transaction is open only database calls may park. */
#ifndef PURLIN_DATABASE_H
#define PURLIN_DATABASE_H

#include <purlin/schema.h>

PURLIN_BEGIN

/* ---- Values for the '?' of a statement, made from C values by their type ------------------------------------------------- */

typedef enum purlin_value_type {
  PURLIN_V_NULL,
  PURLIN_V_INT,
  PURLIN_V_DOUBLE,
  PURLIN_V_TEXT,
  PURLIN_V_BYTES,
  PURLIN_V_TIME
} purlin_value_type;

typedef struct purlin_value {
  purlin_value_type type;
  union {
    int64_t integer;
    double number;
    const void *data;
  } as;
  size_t size; /* of TEXT and BYTES */
} purlin_value;

/* None of these parks or fails; what they are given is borrowed until the statement has run. Macros call them for you. */
PURLIN_API purlin_value purlin_value_int(int64_t value);
PURLIN_API purlin_value purlin_value_bool(bool value);
PURLIN_API purlin_value purlin_value_double(double value);    /* NaN and infinities become NULL */
PURLIN_API purlin_value purlin_value_text(const char *value); /* NULL becomes NULL */
PURLIN_API purlin_value purlin_value_json(purlin_json value); /* NULL text becomes NULL, here and with bytes */
PURLIN_API purlin_value purlin_value_bytes(purlin_bytes value);
PURLIN_API purlin_value purlin_value_time(purlin_time value);         /* 0 becomes NULL; columns are DATETIME(6), in UTC */
PURLIN_API purlin_value purlin_value_opt_text(purlin_opt_text value); /* absent and null become NULL */
PURLIN_API purlin_value purlin_value_opt_int(purlin_opt_int value);
PURLIN_API purlin_value purlin_value_opt_double(purlin_opt_double value);
PURLIN_API purlin_value purlin_value_opt_bool(purlin_opt_bool value);

#ifndef __cplusplus
#define PURLIN_V_(x)                                                                                                       \
  _Generic((x), bool: purlin_value_bool, int: purlin_value_int, unsigned: purlin_value_int, long: purlin_value_int,       \
           unsigned long: purlin_value_int, long long: purlin_value_int, unsigned long long: purlin_value_int,            \
           double: purlin_value_double, float: purlin_value_double, char *: purlin_value_text,                            \
           const char *: purlin_value_text, purlin_json: purlin_value_json, purlin_bytes: purlin_value_bytes,             \
           purlin_time: purlin_value_time, purlin_opt_text: purlin_value_opt_text,                                        \
           purlin_opt_int: purlin_value_opt_int, purlin_opt_double: purlin_value_opt_double,                              \
           purlin_opt_bool: purlin_value_opt_bool, purlin_value: purlin_value_itself_)(x)
static inline purlin_value purlin_value_itself_(purlin_value value) { return value; }
#endif

/* ---- Statements. Each may park. -------------------------------------------------------------------------------------------
 * Errors of all: PURLIN_UNAVAILABLE (no connection in time, or the database is away; the client may retry), PURLIN_TIMEOUT,
 * PURLIN_CANCELLED, PURLIN_CONFLICT (a unique key exists already, or other rows refer to this one), PURLIN_NOT_FOUND (a foreign
 * key refers to a row that is not there; for both nothing is recorded for the client, the caller says what is wrong),
 * PURLIN_NO_SPACE, PURLIN_INTERNAL (the statement is wrong, or writes in an operation that only reads: a defect, logged with its
 * text). Values are borrowed until the call returns. */

/* A statement without rows. purlin_affected() tells how many rows it found and changed (an UPDATE that sets what was there
 * counts too: 0 means "no such row"), purlin_inserted() the AUTO_INCREMENT value. */
#define purlin_db_run(ctx, ...) purlin_db_run_(ctx, PURLIN_VALUES_(__VA_ARGS__))
/* The first row into *out, a struct with schema `type`. PURLIN_NOT_FOUND without one; nothing is recorded for the client. Every
 * column is a member, every required member a column that is not NULL; members that are not selected are zero. Lists and
 * objects are read from JSON text. */
#define purlin_db_row(ctx, type, out, ...)                                                                                 \
  purlin_db_row_(ctx, type##_schema(), PURLIN_SAME_(type, out), PURLIN_VALUES_(__VA_ARGS__))
/* All rows into a PURLIN_LIST_OF(type) in the arena; none is an empty list. PURLIN_TOO_LARGE beyond 100,000. */
#define purlin_db_list(ctx, type, list, ...)                                                                               \
  purlin_db_list_(ctx, type##_schema(), (void *)&(list)->items, &(list)->count, PURLIN_VALUES_(__VA_ARGS__))
/* Rows one by one, with flat memory: open, next until *got is false, close. Texts of a row live until the next `next`.
 * The rows are owned: close them, also after an error (NULL is fine). They hold the fiber's connection: no other statement until they
 * are closed, and neither purlin_read nor purlin_write, which a slow client would make last for ever (for those read a page at a
 * time); PURLIN_INTERNAL says so. Each may park; close cannot fail. */
typedef struct purlin_rows purlin_rows;
#define purlin_db_open(ctx, type, rows, ...) purlin_db_open_(ctx, type##_schema(), rows, PURLIN_VALUES_(__VA_ARGS__))
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_next(purlin_ctx *ctx, purlin_rows *rows, void *out, bool *got);
PURLIN_API void purlin_db_close(purlin_ctx *ctx, purlin_rows *rows);

/* Many rows in one statement, by the connector's bulk protocol: the '?' are the fields of `type`, in their order. `items` are borrowed.
 * All take effect or none; no items, no statement. It cannot return rows. */
#define purlin_db_bulk(ctx, type, items, count, sql)                                                                       \
  purlin_db_bulk_(ctx, type##_schema(), PURLIN_SAME_(const type, items), count, sql)

/* Of the last statement of this context, see purlin_db_run; 0 before the first. Neither parks. */
PURLIN_API uint64_t purlin_affected(const purlin_ctx *ctx);
PURLIN_API int64_t purlin_inserted(const purlin_ctx *ctx);

/* Runs `body` in one transaction: commits when it returns PURLIN_OK, rolls back otherwise, runs it again (from an arena mark)
 * on a deadlock or lock time-out: then it must find again what it changed outside the database. `argument` is borrowed. Inside an open
 * transaction it just runs. May park. Errors: those of the body and of statements; PURLIN_UNAVAILABLE after several deadlocks;
 * PURLIN_INTERNAL when rows are open. */
typedef purlin_status purlin_transaction_body(purlin_ctx *ctx, void *argument);
PURLIN_API PURLIN_CHECKED purlin_status purlin_transaction(purlin_ctx *ctx, purlin_transaction_body *body, void *argument);

/* The same in a transaction of its own, which has committed when this returns whatever becomes of the operation around it: for what is
 * also written elsewhere, such as a file. PURLIN_INTERNAL while a transaction is open, so before the first write of an operation. May
 * park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_transaction_apart(purlin_ctx *ctx, purlin_transaction_body *body,
                                                                 void *argument);

/* ---- Migrations: usually made by the build from the plugin's migrations/NNNN_name.sql -------------------------------------- */

typedef struct purlin_migration {
  purlin_declaration declared;
  const char *name; /* "0001_models": sorted by name, applied once, recorded with a checksum */
  const char *sql;  /* statements, each ended by ";" at the end of a line */
} purlin_migration;

#define PURLIN_MIGRATION(identifier, name, sql)                                                                            \
  static const purlin_migration identifier##_migration = {PURLIN_HEAD_(purlin_migration, PURLIN_KIND_MIGRATION), name,     \
                                                          sql};                                                            \
  PURLIN_DECLARE_(identifier##_migration);

/* ---- Internal to the macros ------------------------------------------------------------------------------------------------- */

/* What the macros call; described with them. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_run_(purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count);
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_row_(purlin_ctx *ctx, const purlin_schema *schema, void *out,
                                                       const purlin_value *sql_and_values, size_t count);
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_list_(purlin_ctx *ctx, const purlin_schema *schema, void *items,
                                                        size_t *item_count, const purlin_value *sql_and_values,
                                                        size_t count);
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_open_(purlin_ctx *ctx, const purlin_schema *schema, purlin_rows **rows,
                                                        const purlin_value *sql_and_values, size_t count);
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_bulk_(purlin_ctx *ctx, const purlin_schema *schema, const void *items,
                                                        size_t item_count, const char *sql);

#define PURLIN_SAME_(type, pointer) (1 ? (pointer) : (type *)NULL)

#ifndef __cplusplus
#define PURLIN_COUNT_(...) (sizeof((purlin_value[]){PURLIN_EACH_(__VA_ARGS__)}) / sizeof(purlin_value))
#define PURLIN_VALUES_(...) (const purlin_value[]){PURLIN_EACH_(__VA_ARGS__)}, PURLIN_NARGS_(__VA_ARGS__)
#define PURLIN_NARGS_(...)                                                                                                 \
  PURLIN_NARGS_PICK_(__VA_ARGS__, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11,  \
                     10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define PURLIN_NARGS_PICK_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, \
                           a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, n, ...)                                  \
  n
#define PURLIN_JOIN_(a, b) PURLIN_JOIN2_(a, b)
#define PURLIN_JOIN2_(a, b) a##b
#define PURLIN_EACH_(...) PURLIN_JOIN_(PURLIN_E, PURLIN_NARGS_(__VA_ARGS__))(__VA_ARGS__)
#define PURLIN_E1(x) PURLIN_V_(x)
#define PURLIN_E2(x, ...) PURLIN_V_(x), PURLIN_E1(__VA_ARGS__)
#define PURLIN_E3(x, ...) PURLIN_V_(x), PURLIN_E2(__VA_ARGS__)
#define PURLIN_E4(x, ...) PURLIN_V_(x), PURLIN_E3(__VA_ARGS__)
#define PURLIN_E5(x, ...) PURLIN_V_(x), PURLIN_E4(__VA_ARGS__)
#define PURLIN_E6(x, ...) PURLIN_V_(x), PURLIN_E5(__VA_ARGS__)
#define PURLIN_E7(x, ...) PURLIN_V_(x), PURLIN_E6(__VA_ARGS__)
#define PURLIN_E8(x, ...) PURLIN_V_(x), PURLIN_E7(__VA_ARGS__)
#define PURLIN_E9(x, ...) PURLIN_V_(x), PURLIN_E8(__VA_ARGS__)
#define PURLIN_E10(x, ...) PURLIN_V_(x), PURLIN_E9(__VA_ARGS__)
#define PURLIN_E11(x, ...) PURLIN_V_(x), PURLIN_E10(__VA_ARGS__)
#define PURLIN_E12(x, ...) PURLIN_V_(x), PURLIN_E11(__VA_ARGS__)
#define PURLIN_E13(x, ...) PURLIN_V_(x), PURLIN_E12(__VA_ARGS__)
#define PURLIN_E14(x, ...) PURLIN_V_(x), PURLIN_E13(__VA_ARGS__)
#define PURLIN_E15(x, ...) PURLIN_V_(x), PURLIN_E14(__VA_ARGS__)
#define PURLIN_E16(x, ...) PURLIN_V_(x), PURLIN_E15(__VA_ARGS__)
#define PURLIN_E17(x, ...) PURLIN_V_(x), PURLIN_E16(__VA_ARGS__)
#define PURLIN_E18(x, ...) PURLIN_V_(x), PURLIN_E17(__VA_ARGS__)
#define PURLIN_E19(x, ...) PURLIN_V_(x), PURLIN_E18(__VA_ARGS__)
#define PURLIN_E20(x, ...) PURLIN_V_(x), PURLIN_E19(__VA_ARGS__)
#define PURLIN_E21(x, ...) PURLIN_V_(x), PURLIN_E20(__VA_ARGS__)
#define PURLIN_E22(x, ...) PURLIN_V_(x), PURLIN_E21(__VA_ARGS__)
#define PURLIN_E23(x, ...) PURLIN_V_(x), PURLIN_E22(__VA_ARGS__)
#define PURLIN_E24(x, ...) PURLIN_V_(x), PURLIN_E23(__VA_ARGS__)
#endif

PURLIN_END

#ifdef __cplusplus
inline purlin_value purlin_v(bool x) { return purlin_value_bool(x); }
inline purlin_value purlin_v(int x) { return purlin_value_int(x); }
inline purlin_value purlin_v(long x) { return purlin_value_int(x); }
inline purlin_value purlin_v(long long x) { return purlin_value_int(x); }
inline purlin_value purlin_v(double x) { return purlin_value_double(x); }
inline purlin_value purlin_v(const char *x) { return purlin_value_text(x); }
inline purlin_value purlin_v(purlin_json x) { return purlin_value_json(x); }
inline purlin_value purlin_v(purlin_bytes x) { return purlin_value_bytes(x); }
inline purlin_value purlin_v(purlin_time x) { return purlin_value_time(x); }
inline purlin_value purlin_v(purlin_opt_text x) { return purlin_value_opt_text(x); }
inline purlin_value purlin_v(purlin_opt_int x) { return purlin_value_opt_int(x); }
inline purlin_value purlin_v(purlin_opt_double x) { return purlin_value_opt_double(x); }
inline purlin_value purlin_v(purlin_opt_bool x) { return purlin_value_opt_bool(x); }
template <class... T> struct purlin_values_ {
  purlin_value items[sizeof...(T)];
  explicit purlin_values_(T... t) : items{purlin_v(t)...} {}
};
#define PURLIN_VALUES_(...)                                                                                                \
  purlin_values_(__VA_ARGS__).items, sizeof(purlin_values_(__VA_ARGS__).items) / sizeof(purlin_value)
#endif

#endif
