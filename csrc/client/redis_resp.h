/*
** RESP: what a Redis server answers, read as it comes. It is believed nothing:
** room is made for bytes that are there, never for those that are announced,
** and a reply has a limit in bytes, in values and in depth.
*/
#ifndef SAROS_CLIENT_REDIS_RESP_H
#define SAROS_CLIENT_REDIS_RESP_H

#include <stdbool.h>

#include "saros.h"

#define RESP_DEPTH 16
#define RESP_VALUES (1u << 20)
#define RESP_BYTES ((size_t)64 << 20)
#define RESP_LINE \
  ((size_t)64 << 10) /* of a line: a type and a number or text */

typedef enum resp_state {
  RESP_MORE,   /* the rest has not come yet */
  RESP_REPLY,  /* `value`, the caller's; NULL: nil */
  RESP_ERROR,  /* `text`, until the next call */
  RESP_BROKEN, /* no RESP, or beyond a limit: `text`; nothing can follow */
  RESP_NO_MEMORY
} resp_state;

typedef struct resp {
  char *bytes;
  size_t room, size, at; /* `at`: what is before it was read */
  size_t seen;           /* no line ends before it */
  size_t total;          /* bytes of this reply */
  unsigned values;
  unsigned depth;
  struct {
    saros_value *list;
    uint64_t left;
    char type;
  } open[RESP_DEPTH];
  saros_value *value;
  char text[600];
} resp;

/* All zeros is a good beginning. */
void resp_free(resp *r);
/* Where the next bytes belong, and how many; NULL: no memory. */
char *resp_room(resp *r, size_t *size);
void resp_got(resp *r, size_t size);
/* Reads on. Text is bytes, an integer an integer, what is nil within a list is
   false, an error there { err = text }; a map is the list of its names and
   values. What a server pushes unasked is read and dropped. */
resp_state resp_next(resp *r);

#endif
