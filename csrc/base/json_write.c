/*
** json_write: values as JSON. What is written reads back as an equal value:
** integers stay integers, reals stay the same real. (Exceptions: infinities
** and NaN are null, bytes that are no UTF-8 are U+FFFD.)
*/
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/path.h"

/* A container that is being written, and its next item. */
typedef struct step {
  const value *v;
  uint32_t next;
} step;


/* ------------------------------------------------------------------
** Strings
** ---------------------------------------------------------------- */

static void write_escape(buffer *b, unsigned character) {
  switch (character) {
    case '"': buffer_text(b, "\\\""); break;
    case '\\': buffer_text(b, "\\\\"); break;
    case '\b': buffer_text(b, "\\b"); break;
    case '\f': buffer_text(b, "\\f"); break;
    case '\n': buffer_text(b, "\\n"); break;
    case '\r': buffer_text(b, "\\r"); break;
    case '\t': buffer_text(b, "\\t"); break;
    default: buffer_format(b, "\\u%04x", character);
  }
}


/* The character that is there if it must be escaped, or -1. DEL and C1 need
   no escape in JSON, but some terminals obey them. */
static int to_escape(const unsigned char *s, size_t length) {
  if (length == 2 && s[0] == 0xC2 && s[1] < 0xA0) return s[1];
  if (length != 1) return -1;
  if (s[0] < 0x20 || s[0] == 0x7F || s[0] == '"' || s[0] == '\\') return s[0];
  return -1;
}


void json_write_string(buffer *b, const char *data, size_t size) {
  size_t plain = 0; /* bytes before `data` that are not yet put */
  buffer_byte(b, '"');
  while (size > 0) {
    size_t length = text_utf8(data, size);
    int character = to_escape((const unsigned char *)data, length);
    if (length > 0 && character < 0) {
      plain += length;
    } else {
      buffer_put(b, data - plain, plain);
      plain = 0;
      if (length == 0) {
        buffer_text(b, "\xEF\xBF\xBD"); /* U+FFFD */
        length = 1;
      } else {
        write_escape(b, (unsigned)character);
      }
    }
    data += length;
    size -= length;
  }
  buffer_put(b, data - plain, plain);
  buffer_byte(b, '"');
}


/* ------------------------------------------------------------------
** Numbers
** ---------------------------------------------------------------- */

/* As few digits as bring the same double back. */
static void shortest(double n, char text[32]) {
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, 32, "%.*g", digits, n);
    if (strtod(text, NULL) == n) return; /* 17 always do */
  }
}


static void write_real(buffer *b, double n) {
  if (!isfinite(n)) {
    buffer_text(b, "null");
    return;
  }
  char text[32];
  /* The host may have set a locale that writes a comma. Its thread gets it
     back; the C locale itself costs no memory. */
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  locale_t hosts = uselocale(c);
  shortest(n, text);
  uselocale(hosts);
  if (c != (locale_t)0) freelocale(c);
  buffer_text(b, text);
  if (strpbrk(text, ".e") == NULL) buffer_text(b, ".0"); /* still a real */
}


/* ------------------------------------------------------------------
** Values
** ---------------------------------------------------------------- */

/* Everything but the items of a container. */
static void write_one(buffer *b, const value *v) {
  switch (v->type) {
    case VALUE_NULL: buffer_text(b, "null"); break;
    case VALUE_BOOL: buffer_text(b, v->as.boolean ? "true" : "false"); break;
    case VALUE_INT: buffer_format(b, "%lld", (long long)v->as.integer); break;
    case VALUE_REAL: write_real(b, v->as.real); break;
    case VALUE_STRING:
      json_write_string(b, v->as.string.data, v->as.string.size);
      break;
    case VALUE_LIST: buffer_text(b, v->count > 0 ? "[" : "[]"); break;
    case VALUE_MAP: buffer_text(b, v->count > 0 ? "{" : "{}"); break;
  }
}


static void new_line(buffer *b, json_style style, size_t depth) {
  if (style != JSON_INDENTED) return;
  buffer_byte(b, '\n');
  while (depth-- > 0) buffer_text(b, "  ");
}


/* What stands before an item: comma, line, name. Returns the item. */
static const value *write_next(buffer *b, step *at, json_style style,
                               size_t depth) {
  if (at->next > 0) buffer_byte(b, ',');
  new_line(b, style, depth);
  if (at->v->type == VALUE_LIST) return at->v->as.items[at->next++];
  const value_field *field = &at->v->as.fields[at->next++];
  json_write_string(b, field->name, field->size);
  buffer_text(b, style == JSON_INDENTED ? ": " : ":");
  return field->item;
}


void json_write(buffer *b, const value *v, json_style style) {
  step steps[VALUE_DEPTH]; /* in place of recursion */
  size_t depth = 0;
  for (;;) {
    if (v == NULL) { /* a value that could not be made */
      b->failed = true;
      return;
    }
    write_one(b, v);
    if ((v->type == VALUE_LIST || v->type == VALUE_MAP) && v->count > 0) {
      if (depth == VALUE_DEPTH) b->failed = true;
      if (b->failed) return;
      steps[depth++] = (step){v, 0};
    }
    while (depth > 0 && steps[depth - 1].next == steps[depth - 1].v->count) {
      const value *closed = steps[--depth].v;
      new_line(b, style, depth);
      buffer_byte(b, closed->type == VALUE_LIST ? ']' : '}');
    }
    if (depth == 0 || b->failed) return;
    v = write_next(b, &steps[depth - 1], style, depth);
  }
}
