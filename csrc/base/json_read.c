/*
** json_read: JSON into values, strictly. It does not recurse: the containers
** that are open are on a list of their own. What was read so far hangs
** together from the root at any time, so that an error frees one value.
*/
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/path.h"

enum { SHOWN = 24 }; /* bytes of the text in a message */

typedef struct reader {
  const char *text, *at, *end;
  json_limits limits;
  size_t values; /* so far */
  value *root;
  value **open; /* the containers we are in */
  size_t depth, room;
  /* The name that the next value of a map gets. It lies in the text, or in
     the buffer when it had escapes. */
  const char *name, *name_at;
  size_t name_size;
  buffer name_space, space;
  locale_t c;
  error *e;
} reader;


/* ------------------------------------------------------------------
** Errors
** ---------------------------------------------------------------- */

/* What is there, for a message. */
static void describe(const reader *r, const char *at, buffer *b) {
  static const char word[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._";
  size_t left = (size_t)(r->end - at), size = 0;
  if (left == 0) {
    buffer_text(b, "the end of the text");
    return;
  }
  if (left >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) {
    buffer_text(b, "a byte order mark");
    return;
  }
  if (*at == '"') size++;
  while (size < left && size < SHOWN && at[size] != '\0' &&
         strchr(word, at[size]) != NULL)
    size++;
  if (*at == '"' && size > 1 && size < left && at[size] == '"') size++;
  if (size == 0) size = text_utf8(at, left);
  if (size == 0) size = 1;
  buffer_byte(b, '\'');
  text_escape(b, at, size);
  buffer_byte(b, '\'');
}


/* Always false, so that one can return it. The first error stays. */
static bool expected(reader *r, const char *at, const char *what) {
  if (r->e != NULL) return false;
  size_t line = 1, column = 1;
  for (const char *p = r->text; p < at; p++) {
    if (*p == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)*p & 0xC0) != 0x80) {
      column++; /* characters, not bytes */
    }
  }
  buffer found = BUFFER_EMPTY;
  describe(r, at, &found);
  r->e = found.failed
             ? error_no_memory()
             : error_make(SAROS_FACADE_SAROS, SAROS_E_INVALIDARG,
                          "line %zu, column %zu: expected %s, found %s", line,
                          column, what, found.data);
  buffer_free(&found);
  return false;
}


static bool too_many(reader *r, const char *at, size_t limit,
                     const char *what) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "at most %zu %s", limit, what);
  if (b.failed)
    r->e = error_no_memory();
  else
    expected(r, at, b.data);
  buffer_free(&b);
  return false;
}


static bool no_memory(reader *r) {
  if (r->e == NULL) r->e = error_no_memory();
  return false;
}


/* ------------------------------------------------------------------
** Strings
** ---------------------------------------------------------------- */

static bool read_hex(reader *r, unsigned *c) {
  *c = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    unsigned digit = 16;
    if (r->at < r->end && *r->at >= '0' && *r->at <= '9')
      digit = (unsigned)(*r->at - '0');
    else if (r->at < r->end && *r->at >= 'a' && *r->at <= 'f')
      digit = (unsigned)(*r->at - 'a') + 10;
    else if (r->at < r->end && *r->at >= 'A' && *r->at <= 'F')
      digit = (unsigned)(*r->at - 'A') + 10;
    if (digit == 16)
      return expected(r, r->at, "four hexadecimal digits behind \\u");
    *c = *c << 4 | digit;
  }
  return true;
}


/* Behind "\u". */
static bool read_unicode(reader *r, buffer *b) {
  unsigned high, low;
  const char *start = r->at - 2;
  if (!read_hex(r, &high)) return false;
  if (high >= 0xDC00 && high <= 0xDFFF)
    return expected(r, start, "the first half of a surrogate pair before it");
  if (high >= 0xD800 && high <= 0xDBFF) {
    const char *second = r->at;
    bool good = r->end - second >= 2 && second[0] == '\\' && second[1] == 'u';
    if (good) {
      r->at += 2;
      if (!read_hex(r, &low)) return false;
      good = low >= 0xDC00 && low <= 0xDFFF;
    }
    if (!good)
      return expected(r, second, "the second half of a surrogate pair");
    high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
  }
  text_put_utf8(b, high);
  return true;
}


static bool read_escape(reader *r, buffer *b) {
  static const char letters[] = "\"\\/bfnrt";
  static const char meant[] = "\"\\/\b\f\n\r\t";
  r->at++;
  char c = r->at < r->end ? *r->at : '\0';
  const char *letter = c != '\0' ? strchr(letters, c) : NULL;
  if (letter == NULL && c != 'u')
    return expected(r, r->at, "one of \"\\/bfnrtu behind a backslash");
  r->at++;
  if (c == 'u') return read_unicode(r, b);
  buffer_byte(b, meant[letter - letters]);
  return true;
}


/* The string that begins here. It lies in the text, or in `space` when it
   had escapes. */
static bool read_string(reader *r, buffer *space, const char **data,
                        size_t *size) {
  const char *plain = ++r->at; /* what is not yet put */
  bool escapes = false;
  buffer_clear(space);
  for (;;) {
    if (r->at == r->end) return expected(r, r->at, "'\"' behind the string");
    unsigned char c = (unsigned char)*r->at;
    if (c == '"') break;
    if (c < 0x20)
      return expected(r, r->at, "control characters of a string as escapes");
    if (c == '\\') {
      buffer_put(space, plain, (size_t)(r->at - plain));
      if (!read_escape(r, space)) return false;
      plain = r->at;
      escapes = true;
      continue;
    }
    size_t length = c < 0x80 ? 1 : text_utf8(r->at, (size_t)(r->end - r->at));
    if (length == 0) return expected(r, r->at, "UTF-8");
    r->at += length;
  }
  *data = plain;
  *size = (size_t)(r->at - plain);
  r->at++;
  if (!escapes) return true;
  buffer_put(space, *data, *size);
  if (space->failed) return no_memory(r);
  *data = space->data;
  *size = space->size;
  return true;
}


/* ------------------------------------------------------------------
** Numbers
** ---------------------------------------------------------------- */

static bool is_digit(const reader *r) {
  return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}


static bool read_digits(reader *r) {
  if (!is_digit(r)) return expected(r, r->at, "a digit");
  while (is_digit(r)) r->at++;
  return true;
}


/* An integer's value, or that it does not fit. It is summed up below zero,
   where there is one number more. */
static bool as_integer(const char *at, const char *end, int64_t *n) {
  bool negative = *at == '-';
  int64_t sum = 0;
  for (at += negative; at < end; at++) {
    if (__builtin_mul_overflow(sum, 10, &sum)) return false;
    if (__builtin_sub_overflow(sum, *at - '0', &sum)) return false;
  }
  if (!negative && sum == INT64_MIN) return false;
  *n = negative ? sum : -sum;
  return !negative || sum != 0; /* -0 has a sign to keep */
}


/* In the C locale, whatever locale the host has set. */
static bool as_real(reader *r, const char *start, double *n) {
  char small[64], *copy = small;
  size_t size = (size_t)(r->at - start);
  if (size < sizeof small) {
    memcpy(small, start, size);
    small[size] = '\0';
  } else if ((copy = mem_bytes(start, size)) == NULL) {
    return no_memory(r);
  }
  *n = r->c != (locale_t)0 ? strtod_l(copy, NULL, r->c) : strtod(copy, NULL);
  if (copy != small) mem_free(copy);
  return isfinite(*n) || expected(r, start, "a number that fits a double");
}


static value *read_number(reader *r) {
  const char *start = r->at;
  bool integer = true;
  if (*r->at == '-') r->at++;
  const char *digits = r->at;
  if (!read_digits(r)) return NULL;
  if (*digits == '0' && r->at - digits > 1) {
    expected(r, start, "a number without leading zeros");
    return NULL;
  }
  if (r->at < r->end && *r->at == '.') {
    integer = false;
    r->at++;
    if (!read_digits(r)) return NULL;
  }
  if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
    integer = false;
    r->at++;
    if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
    if (!read_digits(r)) return NULL;
  }
  int64_t whole;
  double real = 0;
  if (integer && as_integer(start, r->at, &whole)) return value_int(whole);
  return as_real(r, start, &real) ? value_real(real) : NULL;
}


/* ------------------------------------------------------------------
** Values
** ---------------------------------------------------------------- */

static void skip_space(reader *r) {
  while (r->at < r->end &&
         (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
    r->at++;
}


static bool here(const reader *r, char c) {
  return r->at < r->end && *r->at == c;
}


static bool word(reader *r, const char *text) {
  size_t size = strlen(text);
  if ((size_t)(r->end - r->at) < size || memcmp(r->at, text, size) != 0)
    return false;
  r->at += size;
  return true;
}


/* The value that begins here; a container without its items. NULL is an
   error: without one in r->e memory ran out. */
static value *read_one(reader *r) {
  const char *data = NULL;
  size_t size = 0;
  if (here(r, '{')) {
    r->at++;
    return value_map();
  }
  if (here(r, '[')) {
    r->at++;
    return value_list();
  }
  if (here(r, '"')) {
    if (!read_string(r, &r->space, &data, &size)) return NULL;
    return value_string(data, size);
  }
  if (here(r, '-') || is_digit(r)) return read_number(r);
  if (word(r, "true")) return value_bool(true);
  if (word(r, "false")) return value_bool(false);
  if (word(r, "null")) return value_null();
  expected(r, r->at, "a value");
  return NULL;
}


/* Puts a value where it belongs. */
static bool attach(reader *r, value *v) {
  if (r->depth == 0) {
    r->root = v;
    return true;
  }
  value *to = r->open[r->depth - 1];
  if (to->type == VALUE_LIST) return value_add(to, v) || no_memory(r);
  uint32_t before = to->count;
  if (!value_put_bytes(to, r->name, r->name_size, v)) return no_memory(r);
  if (to->count > before) return true;
  return expected(r, r->name_at, "a name that is not in this map yet");
}


static bool push(reader *r, value *container, const char *at) {
  if (r->depth == r->limits.depth)
    return too_many(r, at, r->limits.depth, "lists and maps in each other");
  if (r->depth == r->room) {
    size_t room = r->room > 0 ? 2 * r->room : 16;
    value **open = mem_grow(r->open, room * sizeof(value *));
    if (open == NULL) return no_memory(r);
    r->open = open;
    r->room = room;
  }
  r->open[r->depth++] = container;
  return true;
}


/* Reads one value. *opened: it is a container, and its items follow. */
static bool read_value(reader *r, bool *opened) {
  skip_space(r);
  const char *at = r->at;
  if (r->values++ == r->limits.values)
    return too_many(r, at, r->limits.values, "values");
  value *v = read_one(r);
  if (v == NULL) return no_memory(r);
  *opened = v->type == VALUE_LIST || v->type == VALUE_MAP;
  return attach(r, v) && (!*opened || push(r, v, at));
}


static bool read_name(reader *r) {
  r->name_at = r->at;
  if (!here(r, '"')) return expected(r, r->at, "a name in double quotes");
  if (!read_string(r, &r->name_space, &r->name, &r->name_size)) return false;
  skip_space(r);
  if (!here(r, ':')) return expected(r, r->at, "':' behind the name");
  r->at++;
  return true;
}


typedef enum next { NEXT_VALUE, NEXT_CLOSED, NEXT_WRONG } next;

/* What follows in the innermost container, which may be fresh: a value, to
   be read by the caller, or its end. */
static next read_next(reader *r, bool fresh) {
  bool map = r->open[r->depth - 1]->type == VALUE_MAP;
  skip_space(r);
  if (here(r, map ? '}' : ']')) {
    r->at++;
    r->depth--;
    return NEXT_CLOSED;
  }
  if (!fresh) {
    if (!here(r, ',')) {
      expected(r, r->at, map ? "',' or '}'" : "',' or ']'");
      return NEXT_WRONG;
    }
    r->at++;
    skip_space(r);
  }
  return map && !read_name(r) ? NEXT_WRONG : NEXT_VALUE;
}


static bool read_text(reader *r) {
  do {
    bool fresh = false;
    if (!read_value(r, &fresh)) return false;
    next what = NEXT_CLOSED;
    while (r->depth > 0 && what == NEXT_CLOSED) {
      what = read_next(r, fresh);
      fresh = false;
    }
    if (what == NEXT_WRONG) return false;
  } while (r->depth > 0);
  skip_space(r);
  return r->at == r->end || expected(r, r->at, "the end of the text");
}


static bool fits(const reader *r, size_t size, error **e) {
  if (size <= r->limits.size) return true;
  *e = error_make(SAROS_FACADE_SAROS, SAROS_E_INVALIDARG,
                  "the JSON text has %zu bytes, and at most %zu are read", size,
                  r->limits.size);
  return false;
}


value *json_read(const char *text, size_t size, const json_limits *limits,
                 error **e) {
  if (text == NULL) text = ""; /* of no bytes */
  reader r = {.text = text, .at = text};
  if (limits != NULL) r.limits = *limits;
  if (r.limits.depth == 0) r.limits.depth = 64;
  if (r.limits.size == 0) r.limits.size = (size_t)64 << 20;
  if (r.limits.values == 0) r.limits.values = 4000000;
  if (!fits(&r, size, e)) return NULL;
  r.end = text + size;
  r.c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  bool good = read_text(&r);
  if (r.c != (locale_t)0) freelocale(r.c);
  buffer_free(&r.name_space);
  buffer_free(&r.space);
  mem_free(r.open);
  if (good) return r.root;
  value_free(r.root);
  *e = r.e;
  return NULL;
}
