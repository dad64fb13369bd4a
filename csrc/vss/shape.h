/*
** Shapes: what a map that came from a file must look like before anybody
** believes it. A shape is a table; what does not fit it is described by where
** it is and what is wrong ("writers[2].name is missing"). Fields that no shape
** names are let through: who comes later may have more to say.
*/
#ifndef SAROS_VSS_SHAPE_H
#define SAROS_VSS_SHAPE_H

#include "base/base.h"

typedef enum shape_type {
  SHAPE_ANY,
  SHAPE_BOOL,
  SHAPE_INT,    /* from low to high */
  SHAPE_NUMBER, /* an integer or a real */
  SHAPE_TEXT,   /* without NULs, low to high bytes long */
  SHAPE_PATH,   /* the same, and absolute */
  SHAPE_GUID,   /* lower case, without braces: one text for one thing */
  SHAPE_TIME,   /* RFC 3339 with offset */
  SHAPE_WORD,   /* one of `words`, which end with NULL */
  SHAPE_LIST,   /* low to high items, each like `items` */
  SHAPE_MAP     /* with `fields`, which end with a name of NULL */
} shape_type;

typedef struct shape shape;

typedef struct shape_field {
  const char *name;
  const shape *of;
  bool optional; /* then null is as good as not there */
} shape_field;

struct shape {
  shape_type type;
  int64_t low, high;
  const char *const *words;
  const shape *items;
  const shape_field *fields;
};

extern const shape shape_any, shape_bool, shape_number, shape_text, shape_path,
    shape_guid, shape_time, shape_map, shape_texts, shape_bits; /* 32 of them */

/* False, and a clause that says where and what: "set is missing". */
bool shape_fits(const value *v, const shape *s, buffer *why);

#endif
