/*
** exclude_match: a pattern of several components against a path, as restic's
** filter does it. Each ** may stand for any number of components; restic tries
** all numbers for all of them, which is exponential: here one row of results
** for each component of the pattern is enough.
**
** In restic the components of ** are added before it is known whether the rest
** has room: with m of k stars tried, no more than path + m - pattern of them
** fit. (So /a/ ** /b/ ** does not match /a/x/b, but all in it.) That is kept,
** since a file that one of the two leaves out and the other does not would be
** a difference between them.
*/
#include "repository/exclude_match.h"

#include <limits.h>
#include <string.h>

typedef enum part_kind {
  PART_LITERAL,
  PART_SUFFIX, /* "*" and a literal */
  PART_PREFIX, /* a literal and "*" */
  PART_GLOB,
  PART_ANY /* "**" */
} part_kind;

typedef struct pattern_part {
  part_kind kind;
  repo_part text; /* without the star of a suffix or prefix */
} pattern_part;

struct repo_pattern {
  char *text; /* cleaned; the parts point into it */
  pattern_part *parts;
  size_t count;
  bool negated, absolute;
  bool has_any;  /* a part is PART_ANY */
  bool only_any; /* all are */
};


/* ------------------------------------------------------------------
** Taking apart
** ---------------------------------------------------------------- */

static size_t count_parts(const char *path, size_t size) {
  size_t n = 1;
  for (size_t i = 0; i < size; i++) n += path[i] == '/';
  return n;
}

static void split(repo_part *parts, const char *path, size_t size) {
  size_t from = 0, n = 0;
  for (size_t i = 0; i <= size; i++) {
    if (i < size && path[i] != '/') continue;
    parts[n++] = (repo_part){path + from, i - from};
    from = i + 1;
  }
  if (parts[0].size == 0) parts[0] = (repo_part){"/", 1};
}

error *repo_parts_of(repo_parts *p, const char *path, size_t size) {
  p->count = count_parts(path, size);
  p->at = p->few;
  if (p->count > sizeof p->few / sizeof p->few[0])
    p->at = mem_alloc(p->count * sizeof *p->at);
  if (p->at == NULL) return error_no_memory();
  split(p->at, path, size);
  return NULL;
}

void repo_parts_free(repo_parts *p) {
  if (p->at != p->few) mem_free(p->at);
}

/* filepath.Clean: one slash at a time, no ".", no "..": by its text alone.
   `out` has room for what goes in and two bytes more. */
static size_t clean(const char *path, char *out) {
  size_t size = strlen(path), n = 0, stop = 0, at = 0;
  bool rooted = size > 0 && path[0] == '/';
  if (rooted) {
    out[n++] = '/';
    stop = n;
    at = 1;
  }
  while (at < size) {
    size_t end = at;
    while (end < size && path[end] != '/') end++;
    size_t length = end - at;
    bool parent = length == 2 && path[at] == '.' && path[at + 1] == '.';
    if (parent && n > stop) {
      n--;
      while (n > stop && out[n] != '/') n--;
    } else if (parent && !rooted) {
      if (n > 0) out[n++] = '/';
      out[n++] = '.';
      out[n++] = '.';
      stop = n;
    } else if (!parent && length > 0 && !(length == 1 && path[at] == '.')) {
      if (n > (size_t)rooted) out[n++] = '/';
      memcpy(out + n, path + at, length);
      n += length;
    }
    at = end + 1;
  }
  if (n == 0) out[n++] = '.';
  return n;
}


/* ------------------------------------------------------------------
** Compiling
** ---------------------------------------------------------------- */

static bool is_special(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (text[i] != '\0' && strchr("\\[]*?", text[i]) != NULL) return true;
  return false;
}

/* An empty component is a ** to restic, too: "/" is one, and matches all. */
static bool is_any(repo_part p) {
  return p.size == 0 || (p.size == 2 && memcmp(p.text, "**", 2) == 0);
}

static pattern_part compile(repo_part p) {
  if (is_any(p)) return (pattern_part){PART_ANY, p};
  if (!is_special(p.text, p.size)) return (pattern_part){PART_LITERAL, p};
  repo_part tail = {p.text + 1, p.size - 1}, head = {p.text, p.size - 1};
  if (p.text[0] == '*' && p.size > 1 && !is_special(tail.text, tail.size))
    return (pattern_part){PART_SUFFIX, tail};
  if (p.text[p.size - 1] == '*' && p.size > 1 &&
      !is_special(head.text, head.size))
    return (pattern_part){PART_PREFIX, head};
  return (pattern_part){PART_GLOB, p};
}

static error *malformed(const char *pattern) {
  buffer shown = BUFFER_EMPTY;
  size_t size = strlen(pattern);
  text_escape(&shown, pattern, size < 300 ? size : 300);
  error *e = shown.failed
                 ? error_no_memory()
                 : repo_error(SAROS_E_INVALIDARG,
                              "the pattern \"%s\" is malformed: a [ is not "
                              "closed, a class is empty, or a \\ is the last",
                              shown.data != NULL ? shown.data : "");
  buffer_free(&shown);
  return e;
}

static error *compile_parts(repo_pattern *p, const char *pattern, size_t size) {
  p->count = count_parts(p->text, size);
  repo_part *parts = mem_alloc(p->count * sizeof *parts);
  p->parts = mem_alloc(p->count * sizeof *p->parts);
  if (parts == NULL || p->parts == NULL) {
    mem_free(parts);
    return error_no_memory();
  }
  split(parts, p->text, size);
  error *e = NULL;
  p->only_any = true;
  for (size_t i = 0; e == NULL && i < p->count; i++) {
    if (!repo_glob_is_good(parts[i].text, parts[i].size))
      e = malformed(pattern);
    p->parts[i] = compile(parts[i]);
    bool any = p->parts[i].kind == PART_ANY;
    p->has_any = p->has_any || any;
    p->only_any = p->only_any && any;
  }
  if (e == NULL) p->absolute = p->text[0] == '/';
  mem_free(parts);
  return e;
}

repo_pattern *repo_pattern_new(const char *text, error **e) {
  const char *pattern = text;
  repo_pattern *p = mem_zero(sizeof *p);
  *e = NULL;
  if (p != NULL) p->text = mem_alloc(strlen(text) + 3);
  if (p == NULL || p->text == NULL) {
    repo_pattern_free(p);
    *e = error_no_memory();
    return NULL;
  }
  p->negated = *text == '!';
  if (p->negated) text++;
  *e = compile_parts(p, pattern, clean(text, p->text));
  if (*e == NULL) return p;
  repo_pattern_free(p);
  return NULL;
}

void repo_pattern_free(repo_pattern *p) {
  if (p == NULL) return;
  mem_free(p->text);
  mem_free(p->parts);
  mem_free(p);
}

bool repo_pattern_is_negated(const repo_pattern *p) {
  return p->negated;
}


/* ------------------------------------------------------------------
** Matching
** ---------------------------------------------------------------- */

static bool is_root(repo_part p) {
  return p.size == 1 && p.text[0] == '/';
}

static bool match_part(const pattern_part *p, repo_part s) {
  size_t size = p->text.size;
  switch (p->kind) {
    case PART_LITERAL:
      return size == s.size && memcmp(p->text.text, s.text, size) == 0;
    case PART_SUFFIX:
      return size <= s.size && !is_root(s) &&
             memcmp(p->text.text, s.text + s.size - size, size) == 0;
    case PART_PREFIX:
      return size <= s.size && memcmp(p->text.text, s.text, size) == 0;
    case PART_GLOB: return repo_glob_match(p->text.text, size, s.text, s.size);
    case PART_ANY: return !is_root(s);
  }
  return false;
}

/* Where a pattern may begin: an absolute one only at the root, another one
   anywhere behind it. */
static size_t first_offset(const repo_pattern *p, const repo_parts *path) {
  return !p->absolute && is_root(path->at[0]);
}

static bool match_plain(const repo_pattern *p, const repo_parts *path) {
  if (p->count > path->count) return false;
  size_t last = p->absolute ? 0 : path->count - p->count;
  for (size_t from = first_offset(p, path); from <= last; from++) {
    size_t i = p->count;
    while (i > 0 && match_part(&p->parts[i - 1], path->at[from + i - 1])) i--;
    if (i == 0) return true;
  }
  return false;
}

/* For each place in the path, of how many components all ** so far stand at
   least when the pattern so far ends there; NEVER: it does not. */
#define NEVER INT32_MAX

static void match_any_part(const int32_t *row, int32_t *next,
                           const repo_parts *path, int64_t bound) {
  for (size_t i = 0; i <= path->count; i++) {
    next[i] = row[i];
    if (i == 0 || next[i - 1] == NEVER || is_root(path->at[i - 1])) continue;
    int32_t longer = next[i - 1] + 1;
    if (longer <= bound && longer < next[i]) next[i] = longer;
  }
}

static void match_one_part(const int32_t *row, int32_t *next,
                           const repo_parts *path, const pattern_part *part) {
  next[0] = NEVER;
  for (size_t i = 0; i < path->count; i++)
    next[i + 1] =
        row[i] != NEVER && match_part(part, path->at[i]) ? row[i] : NEVER;
}

/* `rows` has room for two. */
static bool match_rows(const repo_pattern *p, const repo_parts *path,
                       int32_t *rows) {
  int32_t *row = rows, *next = rows + path->count + 1;
  int64_t bound = (int64_t)path->count - (int64_t)p->count;
  if (bound < -1) return false; /* the first ** has no room */
  for (size_t i = 0; i <= path->count; i++) row[i] = NEVER;
  row[0] = first_offset(p, path) == 0 ? 0 : NEVER;
  for (size_t i = 1; !p->absolute && i <= path->count; i++) row[i] = 0;
  for (size_t i = 0; i < p->count; i++) {
    if (p->parts[i].kind == PART_ANY)
      match_any_part(row, next, path, ++bound);
    else
      match_one_part(row, next, path, &p->parts[i]);
    int32_t *old = row;
    row = next;
    next = old;
  }
  for (size_t i = 0; i <= path->count; i++)
    if (row[i] != NEVER) return true;
  return false;
}

/* Nothing but **: it matches what has a component that is not the root. */
static bool match_only_any(const repo_pattern *p, const repo_parts *path) {
  if (p->count > path->count + 1) return false;
  return path->count > 1 || !is_root(path->at[0]);
}

error *repo_pattern_match(const repo_pattern *p, const repo_parts *path,
                          bool *matched) {
  int32_t few[260], *rows = few;
  if (!p->has_any || p->only_any) {
    *matched = p->has_any ? match_only_any(p, path) : match_plain(p, path);
    return NULL;
  }
  size_t room = 2 * (path->count + 1);
  if (room > sizeof few / sizeof few[0]) rows = mem_alloc(room * sizeof *rows);
  if (rows == NULL) return error_no_memory();
  *matched = match_rows(p, path, rows);
  if (rows != few) mem_free(rows);
  return NULL;
}
