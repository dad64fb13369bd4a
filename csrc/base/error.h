/*
** What went wrong, in C. One function makes every error. An error is never
** changed after it was made, and shared by counting references.
*/
#ifndef SAROS_BASE_ERROR_H
#define SAROS_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/codes.h"
#include "base/value.h"

typedef struct error error;

struct error {
  uint32_t code;
  saros_facade facade;
  bool retryable;
  char *message; /* what happened and what to do; never NULL */
  char *path;    /* what it happened to, or NULL */
  int number;    /* errno or a server's own number, or 0 */
  value *more;   /* a map of what else is known, or NULL */
  error *cause;
};

/* A code and a sentence. Never returns NULL: when memory ran out it returns
   one that says so and needs none. */
error *error_make(saros_facade facade, uint32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
error *error_make_v(saros_facade facade, uint32_t code, const char *format,
                    va_list args) __attribute__((format(printf, 3, 0)));
/* The same from an errno: the message is "what: strerror", and the path is
   kept (both may be NULL). */
error *error_of_errno(saros_facade facade, int number, const char *what,
                      const char *path);
/* Keeps a copy of the path with an error just made; returns `e`, or the one
   that says that memory ran out. */
error *error_at(error *e, const char *path);
/* Takes over `cause`, also just after `e` was made; returns `e`. */
error *error_because(error *e, error *cause);
/* Takes over `more`, just after `e` was made: its "errno", "retryable" and
   "path" become the error's own, the rest is kept as it is. Returns `e`, which
   may be NULL. */
error *error_with(error *e, value *more);
error *error_ref(error *e);
void error_unref(error *e);
/* The one that needs no memory. */
error *error_no_memory(void);

#endif
