/*
** buffer: bytes that grow at the end.
*/
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

enum { SMALLEST = 64 };


/* Room for `size` more bytes and the NUL behind them. A buffer that failed
   stays so: what is put in later must not close up the hole. */
static bool reserve(buffer *b, size_t size) {
  if (b->failed) return false;
  if (size >= SIZE_MAX / 2 - b->size) {
    b->failed = true;
    return false;
  }
  size_t needed = b->size + size + 1;
  if (needed <= b->capacity) return true;
  size_t capacity = b->capacity > 0 ? b->capacity : SMALLEST;
  while (capacity < needed) capacity *= 2;
  char *data = mem_grow(b->data, capacity);
  if (data == NULL) {
    b->failed = true;
    return false;
  }
  b->data = data;
  b->capacity = capacity;
  return true;
}


void buffer_put(buffer *b, const void *bytes, size_t size) {
  if (!reserve(b, size)) return;
  if (size > 0) memcpy(b->data + b->size, bytes, size);
  b->size += size;
  b->data[b->size] = '\0';
}


void buffer_text(buffer *b, const char *text) {
  buffer_put(b, text, strlen(text));
}


void buffer_byte(buffer *b, char byte) {
  buffer_put(b, &byte, 1);
}


void buffer_format(buffer *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int size = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (size < 0) b->failed = true;
  if (size < 0 || !reserve(b, (size_t)size)) return;
  va_start(args, format);
  vsnprintf(b->data + b->size, (size_t)size + 1, format, args);
  va_end(args);
  b->size += (size_t)size;
}


char *buffer_room(buffer *b, size_t size) {
  if (!reserve(b, size)) return NULL;
  b->data[b->size] = '\0';
  return b->data + b->size;
}


void buffer_clear(buffer *b) {
  b->size = 0;
  b->failed = false;
  if (b->data != NULL) b->data[0] = '\0';
}


void buffer_free(buffer *b) {
  mem_free(b->data);
  *b = (buffer)BUFFER_EMPTY;
}


char *buffer_take(buffer *b) {
  /* Of one that nothing was put into: the empty string, not NULL. */
  char *text = reserve(b, 0) ? b->data : NULL;
  if (text == NULL) {
    buffer_free(b);
    return NULL;
  }
  text[b->size] = '\0';
  *b = (buffer)BUFFER_EMPTY;
  return text;
}
