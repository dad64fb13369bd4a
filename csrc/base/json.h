/*
** JSON (RFC 8259), strictly: UTF-8 checked, no duplicate names, no comments,
** no trailing commas, bounded depth and size. Reading never recurses deeper
** than `depth`. The writer is exact: integers stay integers, a double reads
** back as the same double, and output is the same for the same value.
*/
#ifndef SAROS_BASE_JSON_H
#define SAROS_BASE_JSON_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/value.h"

typedef struct json_limits {
  unsigned depth; /* nested lists and maps; 0 means 64 */
  size_t size;    /* of the text in bytes; 0 means 64 MiB */
  size_t values;  /* in all; 0 means 4 million */
} json_limits;

/* Returns NULL and sets *e (which the caller unrefs) when the text is not
   JSON; the message has line, column and what was expected. `limits` may be
   NULL. */
value *json_read(const char *text, size_t size, const json_limits *limits,
                 error **e);

typedef enum json_style { JSON_COMPACT, JSON_INDENTED } json_style;

/* Strings that are not UTF-8 get U+FFFD for each bad byte (whoever must keep
   the bytes adds them as base64 himself); infinities and NaN are null.
   Control characters are escaped. Failure is the buffer's. */
void json_write(buffer *b, const value *v, json_style style);
/* A string with quotes and escapes. */
void json_write_string(buffer *b, const char *data, size_t size);

#endif
