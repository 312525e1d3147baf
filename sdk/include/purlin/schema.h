/* schema.h: a C struct and its JSON, declared once.
 *
 * A schema is a table of fields over a C struct. From it Purlin derives decoding, validation, encoding, the OpenAPI
 * document, the command line, the Lua table, database rows, and the form in which a value crosses to another process.
 *
 *   typedef struct { const char *name; int64_t keep_days; purlin_opt_text description; } model_in;
 *
 *   PURLIN_SCHEMA(model_in, "A model to register",
 *       PURLIN_REQUIRED(name, "Unique within the project", .pattern = "[^/:]+", .max_length = 250),
 *       PURLIN_DEFAULT(keep_days, "30", "Days to keep old versions", .min = 1, .max = 3650),
 *       PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000));
 *
 * defines model_in_schema(). The type of a field follows from the C member: a member of a type that no schema knows, a
 * misspelt member and a missing text are compile errors on their own line.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_SCHEMA_H
#define PURLIN_SCHEMA_H

#include <purlin/base.h>

PURLIN_BEGIN

/* ---- The C types of members ---------------------------------------------------------------------------------------- */

/* Whether an optional member was absent, null or given. All zero bytes are "absent". */
typedef enum purlin_presence { PURLIN_ABSENT = 0, PURLIN_NULL = 1, PURLIN_SET = 2 } purlin_presence;

typedef struct {
  purlin_presence state;
  bool value;
} purlin_opt_bool;
typedef struct {
  purlin_presence state;
  int64_t value;
} purlin_opt_int;
typedef struct {
  purlin_presence state;
  double value;
} purlin_opt_double;
typedef struct {
  purlin_presence state;
  const char *value;
} purlin_opt_text;

typedef struct {
  int64_t unix_us;
} purlin_time; /* RFC 3339 text in JSON; 0 is "no time", left out */
typedef struct {
  const char *text;
  size_t size;
} purlin_json; /* any JSON value, kept as its text; NULL: absent */
typedef struct {
  const void *data;
  size_t size;
} purlin_bytes; /* base64 in JSON; NULL: absent */
typedef struct {
  const char *const *items;
  size_t count;
} purlin_texts; /* items NULL: absent; count 0: empty */
typedef struct {
  const double *items;
  size_t count;
} purlin_doubles;

#define PURLIN_LIST_OF(type)                                                                                               \
  struct {                                                                                                                 \
    type *items;                                                                                                           \
    size_t count;                                                                                                          \
  }

typedef enum purlin_type {
  PURLIN_T_BOOL = 1, /* bool */
  PURLIN_T_INT,      /* int64_t: exact 64-bit integer */
  PURLIN_T_DOUBLE,   /* double */
  PURLIN_T_TEXT,     /* const char *: UTF-8, ends with NUL, holds no other NUL; NULL: absent */
  PURLIN_T_ENUM,     /* an enum of PURLIN_ENUM: a text in JSON */
  PURLIN_T_OPT_BOOL,
  PURLIN_T_OPT_INT,
  PURLIN_T_OPT_DOUBLE,
  PURLIN_T_OPT_TEXT,
  PURLIN_T_TIME,
  PURLIN_T_JSON,
  PURLIN_T_BYTES,
  PURLIN_T_TEXTS,
  PURLIN_T_DOUBLES,
  PURLIN_T_OBJECT, /* a nested struct with a schema of its own */
  PURLIN_T_LIST    /* PURLIN_LIST_OF(struct with a schema of its own) */
} purlin_type;

typedef struct purlin_schema purlin_schema;

typedef struct purlin_field {
  const char *name;
  uint32_t offset, size, type, required;
  const purlin_schema *(*of)(void); /* OBJECT, LIST: the schema of the element */
  const char *initial;              /* JSON text that is used when the member is absent */
  const char *doc;                  /* one line; the members below may follow it in a declaration, in this order */
  const char *choices;              /* "a, b, c": the only texts allowed, or the names of an enum */
  const char *pattern;              /* the whole text must match this POSIX extended expression */
  double min, max;                  /* of a number; both 0: no limit */
  uint32_t min_length,
      max_length; /* bytes of a text, items of a list; max_length 0: the default of 64 KiB, 100,000 items */
  bool secret;    /* never logged, never answered: encoded as "***" */
  bool
      non_finite; /* since 0.2; of a number: the texts "NaN", "Infinity" and "-Infinity" stand for what JSON cannot say, both ways */
  bool
      folder; /* since 0.2; of a text in a configuration: it is the path of a folder of files that a backup takes along, from the state
                * directory where it does not begin with '/'. A file there does not change once it has its name; folders in it that hold a
                * file ".nobackup" are left out. See purlin_files_held(). */
} purlin_field;

struct purlin_schema {
  uint32_t struct_size, field_size, field_count;
  const char *name, *doc;
  const purlin_field *fields;
};

/* One list gives the C enum and its names in JSON: PURLIN_ENUM(run_status, RUNNING, FINISHED) defines the enum run_status
 * and run_status_names, to be given as .choices = run_status_names. */
#define PURLIN_ENUM(type, ...)                                                                                             \
  typedef enum type { __VA_ARGS__ } type;                                                                                  \
  PURLIN_MAYBE_UNUSED static const char type##_names[] = #__VA_ARGS__

/* An empty input or answer: `purlin_nothing`. */
typedef struct purlin_nothing {
  char unused_;
} purlin_nothing;

/* ---- Internal: from the C type to the schema type -------------------------------------------------------------------- */
#ifndef __cplusplus
#define PURLIN_MEMBER_(member) (((purlin_self_ *)0)->member)
#define PURLIN_TYPE_(member)                                                                                               \
  _Generic(PURLIN_MEMBER_(member), bool: PURLIN_T_BOOL, long: PURLIN_T_INT, long long: PURLIN_T_INT,                   \
           double: PURLIN_T_DOUBLE, const char *: PURLIN_T_TEXT, unsigned: PURLIN_T_ENUM,                              \
           purlin_opt_bool: PURLIN_T_OPT_BOOL, purlin_opt_int: PURLIN_T_OPT_INT,                                       \
           purlin_opt_double: PURLIN_T_OPT_DOUBLE, purlin_opt_text: PURLIN_T_OPT_TEXT, purlin_time: PURLIN_T_TIME,     \
           purlin_json: PURLIN_T_JSON, purlin_bytes: PURLIN_T_BYTES, purlin_texts: PURLIN_T_TEXTS,                     \
           purlin_doubles: PURLIN_T_DOUBLES)
#define PURLIN_NULLABLE_(member)                                                                                           \
  _Generic(PURLIN_MEMBER_(member), const char *: PURLIN_T_TEXT, purlin_opt_bool: PURLIN_T_OPT_BOOL,                    \
           purlin_opt_int: PURLIN_T_OPT_INT, purlin_opt_double: PURLIN_T_OPT_DOUBLE,                                   \
           purlin_opt_text: PURLIN_T_OPT_TEXT, purlin_time: PURLIN_T_TIME, purlin_json: PURLIN_T_JSON,                 \
           purlin_bytes: PURLIN_T_BYTES, purlin_texts: PURLIN_T_TEXTS, purlin_doubles: PURLIN_T_DOUBLES)
#define PURLIN_IS_(place, schema, kind) _Generic(place, schema : kind)
#else
} /* extern "C" */
#include <type_traits>
template <class T, bool is_enum = std::is_enum<T>::value> struct purlin_type_of_;
template <class T> struct purlin_type_of_<T, true> {
  enum : uint32_t { value = PURLIN_T_ENUM };
};
#define PURLIN_TYPE_IS_(T, K)                                                                                              \
  template <> struct purlin_type_of_<T, false> {                                                                           \
    enum : uint32_t { value = K };                                                                                         \
  };
PURLIN_TYPE_IS_(bool, PURLIN_T_BOOL)
PURLIN_TYPE_IS_(long, PURLIN_T_INT)
PURLIN_TYPE_IS_(long long, PURLIN_T_INT)
PURLIN_TYPE_IS_(double, PURLIN_T_DOUBLE)
PURLIN_TYPE_IS_(const char *, PURLIN_T_TEXT)
PURLIN_TYPE_IS_(purlin_opt_bool, PURLIN_T_OPT_BOOL)
PURLIN_TYPE_IS_(purlin_opt_int, PURLIN_T_OPT_INT)
PURLIN_TYPE_IS_(purlin_opt_double, PURLIN_T_OPT_DOUBLE)
PURLIN_TYPE_IS_(purlin_opt_text, PURLIN_T_OPT_TEXT)
PURLIN_TYPE_IS_(purlin_time, PURLIN_T_TIME)
PURLIN_TYPE_IS_(purlin_json, PURLIN_T_JSON)
PURLIN_TYPE_IS_(purlin_bytes, PURLIN_T_BYTES)
PURLIN_TYPE_IS_(purlin_texts, PURLIN_T_TEXTS)
PURLIN_TYPE_IS_(purlin_doubles, PURLIN_T_DOUBLES)
template <class A, class B> struct purlin_same_ {
  static_assert(std::is_same<std::remove_reference_t<A>, B>::value, "the member is not of the schema's type");
  enum : uint32_t { value = 0 };
};
#define PURLIN_MEMBER_(member) (((purlin_self_ *)0)->member)
#define PURLIN_TYPE_(member) (purlin_type_of_<decltype(purlin_self_::member)>::value)
#define PURLIN_NULLABLE_(member) PURLIN_TYPE_(member)
#define PURLIN_IS_(place, schema, kind) (purlin_same_<decltype(place), schema>::value + (uint32_t)(kind))
extern "C" {
#endif

/* What a field does not say is zero, and C++17 compilers know designated initializers as an extension: no warnings of it. */
#ifdef __cplusplus
#define PURLIN_LENIENT_                                                                                                    \
  _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")                        \
      _Pragma("GCC diagnostic ignored \"-Wpedantic\"") _Pragma("GCC diagnostic ignored \"-Wc++20-extensions\"")
#define PURLIN_STRICT_ _Pragma("GCC diagnostic pop")
#else
#define PURLIN_LENIENT_
#define PURLIN_STRICT_
#endif

/* ---- Declaring --------------------------------------------------------------------------------------------------------- */

#define PURLIN_AT_(member)                                                                                                 \
  .name = #member, .offset = (uint32_t)offsetof(purlin_self_, member), .size = (uint32_t)sizeof(PURLIN_MEMBER_(member))

/* A member that must be there; one that may be absent or null; one with a default (JSON text). */
#define PURLIN_REQUIRED(member, ...)                                                                                       \
  { PURLIN_AT_(member), .type = PURLIN_TYPE_(member), .required = 1, .of = NULL, .initial = NULL, .doc = __VA_ARGS__ }
#define PURLIN_OPTIONAL(member, ...)                                                                                       \
  { PURLIN_AT_(member), .type = PURLIN_NULLABLE_(member), .required = 0, .of = NULL, .initial = NULL, .doc = __VA_ARGS__ }
#define PURLIN_DEFAULT(member, json, ...)                                                                                  \
  { PURLIN_AT_(member), .type = PURLIN_TYPE_(member), .required = 0, .of = NULL, .initial = json, .doc = __VA_ARGS__ }

/* A nested object (required) and a list of objects (may be absent). */
#define PURLIN_OBJECT(member, schema, ...)                                                                                 \
  {                                                                                                                        \
    PURLIN_AT_(member), .type = PURLIN_IS_(PURLIN_MEMBER_(member), schema, PURLIN_T_OBJECT), .required = 1,                \
                        .of = schema##_schema, .initial = NULL, .doc = __VA_ARGS__                                         \
  }
#define PURLIN_LIST(member, schema, ...)                                                                                   \
  {                                                                                                                        \
    PURLIN_AT_(member), .type = PURLIN_IS_(*(PURLIN_MEMBER_(member).items), schema, PURLIN_T_LIST), .required = 0,         \
                        .of = schema##_schema, .initial = NULL, .doc = __VA_ARGS__                                         \
  }

#define PURLIN_SCHEMA(type_, text, ...)                                                                                    \
  PURLIN_MAYBE_UNUSED static inline const purlin_schema *type_##_schema(void) {                                            \
    typedef type_ purlin_self_;                                                                                            \
    PURLIN_LENIENT_                                                                                                        \
    static const purlin_field fields[] = {__VA_ARGS__};                                                                    \
    PURLIN_STRICT_                                                                                                         \
    static const purlin_schema schema = {(uint32_t)sizeof(type_),                                                          \
                                         (uint32_t)sizeof(purlin_field),                                                   \
                                         (uint32_t)(sizeof fields / sizeof fields[0]),                                     \
                                         #type_,                                                                           \
                                         text,                                                                             \
                                         fields};                                                                          \
    return &schema;                                                                                                        \
  }                                                                                                                        \
  typedef type_ type_##_has_schema_

PURLIN_MAYBE_UNUSED static inline const purlin_schema *purlin_nothing_schema(void) {
  static const purlin_schema schema = {
      (uint32_t)sizeof(purlin_nothing), (uint32_t)sizeof(purlin_field), 0, "nothing", "Nothing", NULL};
  return &schema;
}

/* ---- Using ------------------------------------------------------------------------------------------------------------- */

/* Decodes JSON text into `out` (schema->struct_size bytes) and checks every rule; texts and lists come from the arena.
 * Unknown members are refused. On failure the context holds one message per field. `json` (`size` bytes) is borrowed. Does not park.
 * Errors: PURLIN_INVALID, PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_decode(purlin_ctx *ctx, const purlin_schema *schema, const char *json,
                                                      size_t size, void *out);

/* The same for payloads that were stored by an older or newer release: unknown members are ignored, absent ones take
 * their default. Does not park. Errors as above. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_decode_stored(purlin_ctx *ctx, const purlin_schema *schema, const char *json,
                                                             size_t size, void *out);

/* Encodes a struct as JSON text in the arena. Members that are absent are left out; secrets become "***". NaN and
 * infinities become null. `value` is borrowed. Does not park. Errors: PURLIN_TOO_LARGE (arena cap). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_encode(purlin_ctx *ctx, const purlin_schema *schema, const void *value,
                                                      purlin_json *out);

/* A list of texts as a JSON list: for a column, or for JSON_TABLE in a query. Arena; NULL without memory, recorded. Does not park. */
PURLIN_API const char *purlin_list_json(purlin_ctx *ctx, purlin_texts list);

PURLIN_END

#endif
