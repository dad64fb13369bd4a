/*
** A value: what an operation hands out, and what JSON is read into. Numbers
** are integers where they can be; strings are bytes. A value is built by one
** thread, then only read; it is freed whole, at its root.
*/
#ifndef SAROS_BASE_VALUE_H
#define SAROS_BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum value_type {
  VALUE_NULL,
  VALUE_BOOL,
  VALUE_INT,
  VALUE_REAL,
  VALUE_STRING,
  VALUE_LIST,
  VALUE_MAP
} value_type;

typedef struct value value;

struct value {
  value_type type;
  uint32_t count;    /* of a list or a map */
  uint32_t capacity; /* internal */
  bool inner;        /* internal: its memory is that of what it is in */
  union {
    bool boolean;
    int64_t integer;
    double real;
    struct {
      char *data; /* NUL-terminated, may hold NULs */
      size_t size;
    } string;
    struct {
      union {
        value **items;              /* of a list */
        struct value_field *fields; /* of a map, in the order they were put */
      };
      struct value_block *blocks; /* internal: what lies in it */
    };
  } as;
};

typedef struct value_field {
  char *name; /* NUL-terminated */
  size_t size;
  value *item;
} value_field;

/* How deep lists and maps may be nested to be copied, compared or written. A
   deeper value can still be built and freed. */
#define VALUE_DEPTH 1000

/* Each returns NULL when memory ran out. */
value *value_null(void);
value *value_bool(bool b);
value *value_int(int64_t n);
value *value_real(double n);
value *value_string(const char *data, size_t size);
value *value_text(const char *text); /* NULL makes a null */
/* Without a copy: takes over `data`, which is one's own (memory.h) and has a
   NUL behind it; also when it fails. */
value *value_of_bytes(char *data, size_t size);
value *value_list(void);
value *value_map(void);
/* The same, with room for so many fields at once. */
value *value_map_of(uint32_t fields);

/* Both take over `item`, also when they fail (a NULL item fails), so that
   calls nest; false when memory ran out. A name that is in the map already
   keeps its place and gets the new item. */
bool value_add(value *list, value *item);
bool value_put(value *map, const char *name, value *item);
bool value_put_bytes(value *map, const char *name, size_t size, value *item);
/* The same for what is made by the thousand: the item lies in memory of what it
   is put into, and goes with that. An item that is returned (NULL: no memory)
   has room for so many of its own, and grows beyond. */
bool value_put_int(value *map, const char *name, int64_t n);
bool value_put_string(value *map, const char *name, const char *data,
                      size_t size);
value *value_put_map(value *map, const char *name, uint32_t fields);
value *value_put_list(value *map, const char *name, uint32_t items);
bool value_add_string(value *list, const char *data, size_t size);
value *value_add_map(value *list, uint32_t fields);

/* NULL when it is not there, or `map` is not a map. */
const value *value_get(const value *map, const char *name);
const value *value_get_bytes(const value *map, const char *name, size_t size);
/* The content where the type fits, else the fallback. */
int64_t value_integer(const value *v, int64_t fallback);
bool value_boolean(const value *v, bool fallback);
const char *value_chars(const value *v, const char *fallback);

void value_free(value *v);
/* The same, and nothing of its strings stays in memory that was freed. */
void value_wipe(value *v);
/* A copy, or NULL when memory ran out (or it is too deep). */
value *value_copy(const value *v);
/* Same type and content; maps regardless of order. 0.0 and -0.0 differ, as
   they do in JSON; what is too deep is not equal. */
bool value_equal(const value *a, const value *b);

#endif
