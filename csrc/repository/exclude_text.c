/*
** exclude_text: a file of patterns, as restic reads it: Go's TrimSpace and
** os.Expand, and what Windows' editors put in front of a text.
*/
#include <string.h>

#include "repository/exclude.h"

#define MOST ((size_t)16 << 20) /* of patterns nobody has more */


/* ------------------------------------------------------------------
** Encodings
** ---------------------------------------------------------------- */

/* Halves of a pair that stand alone, and half a unit, are U+FFFD. */
static void put_utf16(buffer *b, const unsigned char *text, size_t size,
                      bool big) {
  for (size_t i = 0; i < size; i += 2) {
    uint32_t c = 0xFFFD, other = 0;
    if (i + 1 < size)
      c = big ? (uint32_t)text[i] << 8 | text[i + 1]
              : (uint32_t)text[i + 1] << 8 | text[i];
    if (i + 3 < size)
      other = big ? (uint32_t)text[i + 2] << 8 | text[i + 3]
                  : (uint32_t)text[i + 3] << 8 | text[i + 2];
    if (c >= 0xD800 && c <= 0xDFFF) {
      bool pair = c < 0xDC00 && other >= 0xDC00 && other <= 0xDFFF;
      c = pair ? 0x10000 + ((c - 0xD800) << 10) + (other - 0xDC00) : 0xFFFD;
      if (pair) i += 2;
    }
    text_put_utf8(b, c);
  }
}

static void put_utf8(buffer *b, const char *text, size_t size) {
  if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
    buffer_put(b, text + 3, size - 3);
  else if (size >= 2 && memcmp(text, "\xFE\xFF", 2) == 0)
    put_utf16(b, (const unsigned char *)text + 2, size - 2, true);
  else if (size >= 2 && memcmp(text, "\xFF\xFE", 2) == 0)
    put_utf16(b, (const unsigned char *)text + 2, size - 2, false);
  else
    buffer_put(b, text, size);
}


/* ------------------------------------------------------------------
** Space around a line
** ---------------------------------------------------------------- */

/* How long the white space is that a text begins with; 0: it does not. */
static size_t leading_space(const char *s, size_t size) {
  static const char *const wide[] = {
      "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8",
      "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
  };
  if (size > 0 && (*s == ' ' || (*s >= '\t' && *s <= '\r'))) return 1;
  for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
    size_t n = strlen(wide[i]);
    if (size >= n && memcmp(s, wide[i], n) == 0) return n;
  }
  if (size >= 3 && memcmp(s, "\xE2\x80", 2) == 0 && (s[2] & 0xFF) <= 0x8A &&
      (s[2] & 0xFF) >= 0x80)
    return 3; /* U+2000 to U+200A */
  return 0;
}

static size_t trailing_space(const char *s, size_t size) {
  for (size_t n = 1; n <= 3 && n <= size; n++)
    if (leading_space(s + size - n, n) == n) return n;
  return 0;
}

static void trim(const char **s, size_t *size) {
  for (size_t n; (n = leading_space(*s, *size)) > 0;) {
    *s += n;
    *size -= n;
  }
  for (size_t n; (n = trailing_space(*s, *size)) > 0;) *size -= n;
}


/* ------------------------------------------------------------------
** Variables
** ---------------------------------------------------------------- */

static bool is_special(char c) {
  return c != '\0' && strchr("*#$@!?-0123456789", c) != NULL;
}

static bool is_name(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         (c >= 'A' && c <= 'Z');
}

/* The name behind a dollar, and how much of the text it takes; a name of size
   0 that takes something is wrong, and is eaten. */
static size_t get_name(const char *s, size_t size, const char **name,
                       size_t *length) {
  *name = s;
  *length = 0;
  if (*s == '{') {
    const char *close = memchr(s, '}', size);
    if (close == NULL) return 1;
    *name = s + 1;
    *length = (size_t)(close - s) - 1;
    return *length + 2;
  }
  if (is_special(*s)) {
    *length = 1;
    return 1;
  }
  while (*length < size && is_name(s[*length])) ++*length;
  return *length;
}

static void put_variable(buffer *b, const char *name, size_t length,
                         repo_variable variable, void *context) {
  if (length == 1 && *name == '$') {
    buffer_byte(b, '$');
    return;
  }
  char *text = mem_bytes(name, length);
  if (text == NULL) {
    b->failed = true;
    return;
  }
  const char *said = variable != NULL ? variable(context, text) : NULL;
  if (said != NULL) buffer_text(b, said);
  mem_free(text);
}

static void expand(buffer *b, const char *line, size_t size,
                   repo_variable variable, void *context) {
  for (size_t i = 0; i < size; i++) {
    const char *name;
    size_t length;
    if (line[i] != '$' || i + 1 == size) {
      buffer_byte(b, line[i]);
      continue;
    }
    size_t taken = get_name(line + i + 1, size - i - 1, &name, &length);
    if (length > 0)
      put_variable(b, name, length, variable, context);
    else if (taken == 0)
      buffer_byte(b, '$');
    i += taken;
  }
}


/* ------------------------------------------------------------------
** Lines
** ---------------------------------------------------------------- */

static error *add_line(repo_exclude *x, const char *line, size_t size,
                       bool fold, repo_variable variable, void *context) {
  trim(&line, &size);
  if (size == 0 || *line == '#') return NULL;
  buffer b = BUFFER_EMPTY;
  expand(&b, line, size, variable, context);
  error *e = b.failed ? error_no_memory() : NULL;
  if (e == NULL && b.size > 0) {
    if (memchr(b.data, '\0', b.size) != NULL)
      e = repo_error(SAROS_E_INVALIDARG,
                     "a pattern has a NUL in it; is that a file of patterns?");
    else
      e = repo_exclude_pattern(x, b.data, fold);
  }
  buffer_free(&b);
  return e;
}

error *repo_exclude_text(repo_exclude *x, const char *text, size_t size,
                         bool fold, repo_variable variable, void *context) {
  buffer b = BUFFER_EMPTY;
  if (size > MOST)
    return repo_error(SAROS_E_INVALIDARG,
                      "a file of patterns has %zu bytes; at most %zu are read",
                      size, MOST);
  put_utf8(&b, text, size);
  error *e = b.failed ? error_no_memory() : NULL;
  const char *at = b.data;
  size_t left = b.size;
  while (e == NULL && left > 0) {
    const char *end = memchr(at, '\n', left);
    size_t length = end != NULL ? (size_t)(end - at) : left;
    e = add_line(x, at, length, fold, variable, context);
    if (end != NULL) length++;
    at += length;
    left -= length;
  }
  buffer_free(&b);
  return e;
}
