/*
** error: one function makes every error.
*/
#include "base/error.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* An error as it is allocated. The count is not in the public structure, so
   that nobody but ref and unref touches it. */
typedef struct counted_error {
  error e; /* first: an error is its counted_error */
  atomic_uint references;
} counted_error;

static char no_memory_text[] = "there is not enough memory";

static error no_memory = {
    .code = SAROS_E_OUTOFMEMORY,
    .facade = SAROS_FACADE_SAROS,
    .message = no_memory_text,
};


error *error_no_memory(void) {
  return &no_memory;
}


/* With a message that is taken over. NULL is memory that ran out. */
static error *make(saros_facade facade, uint32_t code, char *message) {
  counted_error *made = message != NULL ? mem_zero(sizeof *made) : NULL;
  if (made == NULL) {
    mem_free(message);
    return error_no_memory();
  }
  const code_entry *entry = code_find(facade, code);
  made->e.code = code;
  made->e.facade = facade;
  made->e.retryable = entry != NULL && entry->retryable;
  made->e.message = message;
  atomic_init(&made->references, 1);
  return &made->e;
}


error *error_make_v(saros_facade facade, uint32_t code, const char *format,
                    va_list args) {
  va_list again;
  va_copy(again, args);
  int size = vsnprintf(NULL, 0, format, again);
  va_end(again);
  /* A format that cannot be printed is still better than no error. */
  if (size < 0) return make(facade, code, mem_text(format));
  char *message = mem_alloc((size_t)size + 1);
  if (message != NULL) vsnprintf(message, (size_t)size + 1, format, args);
  return make(facade, code, message);
}


error *error_make(saros_facade facade, uint32_t code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error *e = error_make_v(facade, code, format, args);
  va_end(args);
  return e;
}


/* strerror that may be called from any thread. */
static const char *describe(int number, char *buf, size_t size) {
#ifdef __GLIBC__
  return strerror_r(number, buf, size);
#else
  return strerror_r(number, buf, size) == 0 ? buf : "unknown error";
#endif
}


error *error_of_errno(saros_facade facade, int number, const char *what,
                      const char *path) {
  char buf[128];
  const char *text = describe(number, buf, sizeof buf);
  error *e =
      error_make(facade, code_of_errno(number), "%s%s%s",
                 what != NULL ? what : "", what != NULL ? ": " : "", text);
  if (e == &no_memory) return e;
  e->number = number;
  return error_at(e, path);
}


error *error_at(error *e, const char *path) {
  if (e == &no_memory || path == NULL) return e;
  mem_free(e->path);
  e->path = mem_text(path);
  if (e->path != NULL) return e;
  error_unref(e);
  return error_no_memory();
}


error *error_because(error *e, error *cause) {
  if (e == &no_memory) { /* shared by all: it has no room for a cause */
    error_unref(cause);
    return e;
  }
  error_unref(e->cause);
  e->cause = cause;
  return e;
}


error *error_with(error *e, value *more) {
  if (e == NULL || e == &no_memory || more == NULL) {
    value_free(more);
    return e;
  }
  value_free(e->more);
  e->more = more;
  e->number = (int)value_integer(value_get(more, "errno"), e->number);
  e->retryable = value_boolean(value_get(more, "retryable"), e->retryable);
  return error_at(e, value_chars(value_get(more, "path"), NULL));
}


error *error_ref(error *e) {
  if (e != NULL && e != &no_memory)
    atomic_fetch_add(&((counted_error *)e)->references, 1);
  return e;
}


/* Down the chain of causes in a loop: a chain may be long. */
void error_unref(error *e) {
  while (e != NULL && e != &no_memory) {
    counted_error *counted = (counted_error *)e;
    if (atomic_fetch_sub(&counted->references, 1) > 1) return;
    error *cause = e->cause;
    mem_free(e->message);
    mem_free(e->path);
    value_free(e->more);
    mem_free(counted);
    e = cause;
  }
}
