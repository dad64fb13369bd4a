/*
** scan: reading JSON in place. What it is given may be hostile and large: no
** call looks at a byte twice, and only strings are copied.
*/
#include "repository/scan.h"

#include <string.h>

repo_scan repo_scan_of(const char *json, size_t size) {
  return (repo_scan){json, json, json + size, NULL, false};
}

void repo_scan_is_wrong(repo_scan *s, const char *expected) {
  if (s->wrong == NULL) s->wrong = expected;
}

bool repo_scan_is_well(const repo_scan *s) {
  return s->wrong == NULL && !s->no_memory;
}

error *repo_scan_error(const repo_scan *s, const char *what) {
  if (s->no_memory) return error_no_memory();
  return repo_error(SAROS_E_DAMAGED,
                    "%s is damaged at byte %zu: %s expected; check the "
                    "repository",
                    what, (size_t)(s->at - s->begin), s->wrong);
}


/* ------------------------------------------------------------------
** What stands between values
** ---------------------------------------------------------------- */

static void space(repo_scan *s) {
  while (s->at < s->end &&
         (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
    s->at++;
}

bool repo_scan_take(repo_scan *s, char c) {
  if (!repo_scan_is_well(s)) return false;
  space(s);
  if (s->at == s->end || *s->at != c) return false;
  s->at++;
  return true;
}

void repo_scan_expect(repo_scan *s, char c) {
  if (repo_scan_take(s, c)) return;
  switch (c) {
    case '{': repo_scan_is_wrong(s, "an object"); break;
    case '[': repo_scan_is_wrong(s, "a list"); break;
    case ':': repo_scan_is_wrong(s, "a colon"); break;
    case ']': repo_scan_is_wrong(s, "a comma or the end of the list"); break;
    case '}': repo_scan_is_wrong(s, "a comma or the end of the object"); break;
    default: repo_scan_is_wrong(s, "another character");
  }
}

void repo_scan_finish(repo_scan *s) {
  if (!repo_scan_is_well(s)) return;
  space(s);
  if (s->at < s->end) repo_scan_is_wrong(s, "the end");
}

static bool take_word(repo_scan *s, const char *word) {
  size_t size = strlen(word);
  if ((size_t)(s->end - s->at) < size || memcmp(s->at, word, size) != 0)
    return false;
  s->at += size;
  return true;
}

bool repo_scan_null(repo_scan *s) {
  if (!repo_scan_is_well(s)) return false;
  space(s);
  return take_word(s, "null");
}


/* ------------------------------------------------------------------
** Strings
** ---------------------------------------------------------------- */

/* Eight bytes at once: whether each may stand there as it is and is ASCII. A
   byte can borrow from the next one, but only when it is none of these itself:
   what is said to be plain is. */
static bool is_plain(const char *at) {
  const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
  uint64_t w;
  memcpy(&w, at, sizeof w);
  uint64_t quote = w ^ ones * '"', backslash = w ^ ones * '\\';
  return ((w | (w - ones * ' ') | (quote - ones) | (backslash - ones)) &
          tops) == 0;
}

/* Bytes that may stand there as they are. */
static size_t plain(repo_scan *s) {
  const char *from = s->at;
  while (s->end - s->at >= 8 && is_plain(s->at)) s->at += 8;
  while (s->at < s->end) {
    unsigned char c = (unsigned char)*s->at;
    if (c < ' ' || c == '"' || c == '\\') break;
    size_t n = c < 0x80 ? 1 : text_utf8(s->at, (size_t)(s->end - s->at));
    if (n == 0) {
      repo_scan_is_wrong(s, "UTF-8");
      break;
    }
    s->at += n;
  }
  return (size_t)(s->at - from);
}

static bool hex4(repo_scan *s, uint32_t *c) {
  *c = 0;
  if (s->end - s->at < 4) return false;
  for (int i = 0; i < 4; i++) {
    char h = s->at[i];
    uint32_t d;
    if (h >= '0' && h <= '9')
      d = (uint32_t)(h - '0');
    else if ((h | 32) >= 'a' && (h | 32) <= 'f')
      d = (uint32_t)((h | 32) - 'a' + 10);
    else
      return false;
    *c = *c << 4 | d;
  }
  s->at += 4;
  return true;
}

static void put_character(buffer *b, uint32_t c) {
  if (b != NULL) text_put_utf8(b, c);
}

/* What follows "\u"; a surrogate has its other half behind it. */
static void unicode(repo_scan *s, buffer *b) {
  uint32_t c, other;
  if (!hex4(s, &c)) {
    repo_scan_is_wrong(s, "four hexadecimal digits");
    return;
  }
  if (c >= 0xD800 && c <= 0xDFFF) {
    if (c > 0xDBFF || !take_word(s, "\\u") || !hex4(s, &other) ||
        other < 0xDC00 || other > 0xDFFF) {
      repo_scan_is_wrong(s, "both halves of a surrogate pair");
      return;
    }
    c = 0x10000 + ((c - 0xD800) << 10) + (other - 0xDC00);
  }
  put_character(b, c);
}

static void escape(repo_scan *s, buffer *b) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  bool more = s->at < s->end && *s->at != '\0';
  const char *found = more ? strchr(from, *s->at) : NULL;
  if (found != NULL) {
    s->at++;
    put_character(b, (unsigned char)to[found - from]);
  } else if (more && *s->at == 'u') {
    s->at++;
    unicode(s, b);
  } else {
    repo_scan_is_wrong(s, "an escape");
  }
}

static bool opens(repo_scan *s) {
  space(s);
  if (s->at < s->end && *s->at == '"') {
    s->at++;
    return true;
  }
  repo_scan_is_wrong(s, "a string");
  return false;
}

/* What is left of it. `b` may be NULL. */
static void rest(repo_scan *s, buffer *b) {
  while (s->wrong == NULL) {
    const char *from = s->at;
    size_t size = plain(s);
    if (b != NULL) buffer_put(b, from, size);
    if (s->wrong != NULL) return;
    if (s->at == s->end) {
      repo_scan_is_wrong(s, "the end of a string");
    } else if (*s->at == '"') {
      s->at++;
      return;
    } else if (*s->at == '\\') {
      s->at++;
      escape(s, b);
    } else {
      repo_scan_is_wrong(s, "no control character");
    }
  }
}

static void string(repo_scan *s, buffer *b) {
  if (opens(s)) rest(s, b);
}

const char *repo_scan_text(repo_scan *s, buffer *b, size_t *size) {
  *size = 0;
  if (!repo_scan_is_well(s) || !opens(s)) return "";
  const char *from = s->at;
  *size = plain(s);
  if (s->at < s->end && *s->at == '"') {
    s->at++;
    return from;
  }
  buffer_clear(b);
  buffer_put(b, from, *size);
  rest(s, b);
  *size = b->size;
  if (b->failed) s->no_memory = true;
  return b->data != NULL ? b->data : "";
}

void repo_scan_string(repo_scan *s, buffer *b) {
  if (!repo_scan_is_well(s)) return;
  string(s, b);
  if (b->failed) s->no_memory = true;
}


/* ------------------------------------------------------------------
** Numbers
** ---------------------------------------------------------------- */

static bool is_digit(const repo_scan *s) {
  return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

uint64_t repo_scan_number(repo_scan *s, uint64_t most) {
  if (!repo_scan_is_well(s)) return 0;
  space(s);
  const char *from = s->at;
  uint64_t n = 0;
  while (is_digit(s)) {
    unsigned d = (unsigned)(*s->at - '0');
    if (n > (most - d) / 10 || d > most) {
      repo_scan_is_wrong(s, "a smaller number");
      return 0;
    }
    n = n * 10 + d;
    s->at++;
  }
  bool leading = s->at - from > 1 && *from == '0';
  bool more = s->at < s->end && (*s->at == '.' || (*s->at | 32) == 'e');
  if (s->at == from || leading || more) repo_scan_is_wrong(s, "a whole number");
  return n;
}

static void digits(repo_scan *s) {
  if (!is_digit(s)) repo_scan_is_wrong(s, "a digit");
  while (is_digit(s)) s->at++;
}

/* Any number, passed over. */
static void skip_number(repo_scan *s) {
  if (s->at < s->end && *s->at == '-') s->at++;
  if (s->at < s->end && *s->at == '0')
    s->at++;
  else
    digits(s);
  if (s->at < s->end && *s->at == '.') {
    s->at++;
    digits(s);
  }
  if (s->at < s->end && (*s->at | 32) == 'e') {
    s->at++;
    if (s->at < s->end && (*s->at == '+' || *s->at == '-')) s->at++;
    digits(s);
  }
}


/* ------------------------------------------------------------------
** Values that nobody wants
** ---------------------------------------------------------------- */

/* All but lists and objects. */
static void skip_scalar(repo_scan *s) {
  if (s->at < s->end && *s->at == '"')
    string(s, NULL);
  else if (is_digit(s) || (s->at < s->end && *s->at == '-'))
    skip_number(s);
  else if (!take_word(s, "true") && !take_word(s, "false") &&
           !take_word(s, "null"))
    repo_scan_is_wrong(s, "a value");
}

static void skip_name(repo_scan *s) {
  string(s, NULL);
  repo_scan_expect(s, ':');
}

const char *repo_scan_skip(repo_scan *s) {
  uint64_t objects = 0; /* a bit for each level: whether it is one */
  unsigned depth = 0;
  if (!repo_scan_is_well(s)) return s->at;
  space(s);
  const char *from = s->at;
  do {
    bool opens = false;
    space(s);
    if (s->at < s->end && (*s->at == '{' || *s->at == '[')) {
      bool object = *s->at++ == '{';
      if (depth == REPO_SCAN_DEPTH) {
        repo_scan_is_wrong(s, "fewer levels");
        break;
      }
      objects = objects << 1 | object;
      depth++;
      opens = true;
    } else {
      skip_scalar(s);
    }
    /* To where the next value begins, out of all that ends here. */
    while (depth > 0 && repo_scan_is_well(s)) {
      bool object = objects & 1;
      if (repo_scan_take(s, object ? '}' : ']')) {
        objects >>= 1;
        depth--;
        opens = false;
        continue;
      }
      if (!opens) {
        if (!repo_scan_take(s, ',')) repo_scan_expect(s, object ? '}' : ']');
      }
      if (object) skip_name(s);
      break;
    }
  } while (depth > 0 && repo_scan_is_well(s));
  return from;
}
