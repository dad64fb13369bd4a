/*
** progress: how far a program is, by what it says. It comes in pieces, cut at
** the end of a line or where that is written over, and sometimes in the middle;
** what is not understood says nothing, and nothing goes back.
*/
#include <stdbool.h>
#include <string.h>

#include "vds/tool.h"

/* A text that is being read. */
typedef struct reading {
  const char *at, *end;
} reading;


static bool skip(reading *r, const char *text) {
  size_t size = strlen(text);
  if ((size_t)(r->end - r->at) < size || memcmp(r->at, text, size) != 0)
    return false;
  r->at += size;
  return true;
}


static void skip_spaces(reading *r) {
  while (r->at < r->end && *r->at == ' ') r->at++;
}


static bool is_digit(const reading *r) {
  return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}


/* What is too large for it is no number of ours. */
static bool number(reading *r, uint64_t *n) {
  *n = 0;
  if (!is_digit(r)) return false;
  while (is_digit(r)) {
    if (*n > UINT64_MAX / 10 - 10) return false;
    *n = *n * 10 + (uint64_t)(*r->at++ - '0');
  }
  return true;
}


/* To behind the next one of these; false: there is none. */
static bool find(reading *r, const char *text) {
  for (; r->at < r->end; r->at++)
    if (skip(r, text)) return true;
  return false;
}


/* `done` of `total` between two thousandths. */
static int between(unsigned from, unsigned to, uint64_t done, uint64_t total) {
  if (total == 0 || done > total) done = total = 1;
  return (int)from + (int)((double)done / (double)total * (double)(to - from));
}


static int reached(vds_saying *s, int at) {
  if (at > 1000) at = 1000;
  if (at > s->at) s->at = at;
  return s->at;
}


/* ------------------------------------------------------------------
** mke2fs: "Writing inode tables: 12/32", then "13/32" alone, then "done"
** ---------------------------------------------------------------- */

static const struct {
  const char *says;
  unsigned from, to;
} makes[] = {{"Discarding device blocks: ", 0, 300},
             {"Allocating group tables: ", 300, 350},
             {"Writing inode tables: ", 350, 800},
             {"Creating journal ", 800, 900},
             {"Writing superblocks and filesystem accounting ", 900, 1000}};

int vds_saying_mke2fs(vds_saying *s, const char *text, size_t size) {
  enum { MAKES = sizeof makes / sizeof *makes };
  reading r = {text, text + size};
  uint64_t done, total;
  bool named = false;
  for (unsigned i = 0; i < MAKES && !named; i++) {
    named = skip(&r, makes[i].says);
    if (named) s->pass = i + 1;
  }
  if (s->pass < 1 || s->pass > MAKES) return -1;
  unsigned from = makes[s->pass - 1].from, to = makes[s->pass - 1].to;
  if (named) {
    reached(s, (int)from);
    if (r.at[-2] != ':') find(&r, ": ");
  }
  skip_spaces(&r);
  if (skip(&r, "done")) return reached(s, (int)to);
  if (number(&r, &done) && skip(&r, "/") && number(&r, &total) && done <= total)
    return reached(s, between(from, to, done, total));
  return named ? s->at : -1;
}


/* ------------------------------------------------------------------
** e2fsck -C 1: "3 12 512 /dev/loop0": the pass, and how far that is
** ---------------------------------------------------------------- */

int vds_saying_e2fsck(vds_saying *s, const char *text, size_t size) {
  static const unsigned ends[] = {0, 700, 900, 920, 950, 1000};
  reading r = {text, text + size};
  uint64_t pass, done, total;
  if (!number(&r, &pass) || !skip(&r, " ") || !number(&r, &done) ||
      !skip(&r, " ") || !number(&r, &total) || !skip(&r, " "))
    return -1;
  if (pass < 1 || pass > 5 || total == 0 || done > total) return -1;
  s->pass = (unsigned)pass;
  return reached(s, between(ends[pass - 1], ends[pass], done, total));
}


/* ------------------------------------------------------------------
** resize2fs -p: "Begin pass 2 (max = 32)", then a bar of 40 that is drawn over
** with one X after the other
** ---------------------------------------------------------------- */

int vds_saying_resize2fs(vds_saying *s, const char *text, size_t size) {
  static const unsigned ends[] = {0, 50, 750, 900, 950, 1000};
  enum { BAR = 40 };
  reading r = {text, text + size};
  uint64_t pass;
  if (skip(&r, "Begin pass ")) {
    if (!number(&r, &pass) || pass < 1 || pass > 5) return -1;
    s->pass = (unsigned)pass;
    s->bar = 0;
    return reached(s, (int)ends[pass - 1]);
  }
  if (s->pass < 1 || s->pass > 5 || size == 0) return -1;
  for (size_t i = 0; i < size; i++)
    if (text[i] != 'X') return -1;
  s->bar = s->bar + size < BAR ? s->bar + (unsigned)size : BAR;
  return reached(s, between(ends[s->pass - 1], ends[s->pass], s->bar, BAR));
}


/* ------------------------------------------------------------------
** xfs_repair: "Phase 3 - for each AG..."; of seven
** ---------------------------------------------------------------- */

int vds_saying_xfs(vds_saying *s, const char *text, size_t size) {
  reading r = {text, text + size};
  uint64_t phase;
  if (!skip(&r, "Phase ") || !number(&r, &phase) || !skip(&r, " - ") ||
      phase < 1 || phase > 7)
    return -1;
  s->pass = (unsigned)phase;
  return reached(s, between(0, 1000, phase - 1, 7));
}


/* ------------------------------------------------------------------
** btrfs check -p: "[2/7] checking extents    (0:00:01 elapsed, ...)"
** ---------------------------------------------------------------- */

int vds_saying_btrfs(vds_saying *s, const char *text, size_t size) {
  reading r = {text, text + size};
  uint64_t pass, passes;
  if (!skip(&r, "[") || !number(&r, &pass) || !skip(&r, "/") ||
      !number(&r, &passes) || !skip(&r, "]") || pass < 1 || pass > passes)
    return -1;
  return reached(s, between(0, 1000, pass - 1, passes));
}
