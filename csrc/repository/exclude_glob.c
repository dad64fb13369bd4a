/*
** exclude_glob: filepath.Match of Go 1.19. Between two stars a piece of the
** pattern is looked for where it first fits and never again: so the time is at
** most the product of both lengths.
*/
#include <string.h>

#include "repository/exclude_match.h"

/* A character, or U+FFFD for a byte that is none; how long it is. */
static size_t decode(const char *text, size_t size, uint32_t *c) {
  const unsigned char *b = (const unsigned char *)text;
  size_t n = text_utf8(text, size);
  *c = 0xFFFD;
  if (n == 0) return 1;
  *c = n == 1 ? b[0] : b[0] & (0xFFu >> (n + 1));
  for (size_t i = 1; i < n; i++) *c = *c << 6 | (b[i] & 0x3Fu);
  return n;
}

/* What is left of a pattern or a name. */
typedef struct rest {
  const char *at;
  size_t size;
} rest;

static void drop(rest *r, size_t n) {
  r->at += n;
  r->size -= n;
}

/* A character of a class, which may be escaped. False: it is malformed. */
static bool class_character(rest *glob, uint32_t *c) {
  if (glob->size == 0 || *glob->at == '-' || *glob->at == ']') return false;
  if (*glob->at == '\\') {
    drop(glob, 1);
    if (glob->size == 0) return false;
  }
  size_t n = decode(glob->at, glob->size, c);
  if (*c == 0xFFFD && n == 1) return false;
  drop(glob, n);
  return glob->size > 0; /* the class must be closed */
}

/* A class, behind its bracket. False: it is malformed. */
static bool class(rest *glob, uint32_t c, bool *matched) {
  bool negated = glob->size > 0 && *glob->at == '^', found = false;
  if (negated) drop(glob, 1);
  for (size_t ranges = 0;; ranges++) {
    uint32_t low, high;
    if (glob->size > 0 && *glob->at == ']' && ranges > 0) {
      drop(glob, 1);
      *matched = found != negated;
      return true;
    }
    if (!class_character(glob, &low)) return false;
    high = low;
    if (*glob->at == '-') {
      drop(glob, 1);
      if (!class_character(glob, &high)) return false;
    }
    if (low <= c && c <= high) found = true;
  }
}

bool repo_glob_is_good(const char *glob, size_t size) {
  rest r = {glob, size};
  bool matched;
  while (r.size > 0) {
    char c = *r.at;
    drop(&r, 1);
    if (c == '[' && !class(&r, 0, &matched)) return false;
    if (c == '\\') {
      if (r.size == 0) return false;
      drop(&r, 1);
    }
  }
  return true;
}

/* The piece of a pattern up to the next star. */
static rest next_piece(rest *glob, bool *star) {
  *star = false;
  while (glob->size > 0 && *glob->at == '*') {
    *star = true;
    drop(glob, 1);
  }
  rest r = *glob;
  bool bracket = false;
  size_t i = 0;
  for (; i < r.size; i++) {
    if (r.at[i] == '\\') {
      if (i + 1 < r.size) i++;
    } else if (r.at[i] == '[') {
      bracket = true;
    } else if (r.at[i] == ']') {
      bracket = false;
    } else if (r.at[i] == '*' && !bracket) {
      break;
    }
  }
  r.size = i;
  drop(glob, i);
  return r;
}

/* A piece at the beginning of a name, of which *name keeps what is behind. */
static bool match_piece(rest piece, rest *name) {
  rest n = *name;
  while (piece.size > 0) {
    uint32_t c;
    bool matched = true;
    if (n.size == 0) return false;
    char p = *piece.at;
    drop(&piece, 1);
    if (p == '[') {
      drop(&n, decode(n.at, n.size, &c));
      if (!class(&piece, c, &matched) || !matched) return false;
      continue;
    }
    if (p == '?') {
      if (*n.at == '/') return false;
      drop(&n, decode(n.at, n.size, &c));
      continue;
    }
    if (p == '\\') {
      if (piece.size == 0) return false;
      p = *piece.at;
      drop(&piece, 1);
    }
    if (p != *n.at) return false;
    drop(&n, 1);
  }
  *name = n;
  return true;
}

/* A piece behind a star: where it first fits. The last one must reach the end
   of the name. */
static bool find_piece(rest piece, rest *name, bool last) {
  rest from = *name;
  for (;;) {
    rest n = from;
    if (match_piece(piece, &n) && !(last && n.size > 0)) {
      *name = n;
      return true;
    }
    if (from.size == 0 || *from.at == '/') return false;
    drop(&from, 1);
  }
}

bool repo_glob_match(const char *glob, size_t glob_size, const char *name,
                     size_t size) {
  rest g = {glob, glob_size}, n = {name, size};
  while (g.size > 0) {
    bool star;
    rest piece = next_piece(&g, &star);
    if (star && piece.size == 0) return memchr(n.at, '/', n.size) == NULL;
    rest behind = n;
    bool last = g.size == 0;
    bool here = match_piece(piece, &behind) && !(last && behind.size > 0);
    if (!here) {
      behind = n;
      if (!star || !find_piece(piece, &behind, last)) return false;
    }
    n = behind;
  }
  return n.size == 0;
}
