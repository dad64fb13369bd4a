/*
** A buffer that grows. It remembers that memory ran out, so that a writer
** may put a hundred things into it and ask once at the end.
*/
#ifndef SAROS_BASE_BUFFER_H
#define SAROS_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct buffer {
  char *data; /* always NUL-terminated once something was put in */
  size_t size;
  size_t capacity;
  bool failed; /* memory ran out: the content is not whole */
} buffer;

#define BUFFER_EMPTY \
  { NULL, 0, 0, false }

void buffer_put(buffer *b, const void *bytes, size_t size);
void buffer_text(buffer *b, const char *text);
void buffer_byte(buffer *b, char byte);
void buffer_format(buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Room for `size` more bytes at the end; NULL when memory ran out. */
char *buffer_room(buffer *b, size_t size);
void buffer_clear(buffer *b); /* keeps the memory */
void buffer_free(buffer *b);
/* The content as an allocated string; the buffer is empty afterwards.
   NULL when memory ran out at any time. */
char *buffer_take(buffer *b);

#endif
