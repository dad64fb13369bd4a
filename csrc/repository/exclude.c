/*
** exclude: the rules together, and what is asked of them.
*/
#include "repository/exclude.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repository/exclude_match.h"

enum { MOST_MARKS = 64, MOST_HEADER = 4096 };

/* Patterns in the order they were given in. */
typedef struct list {
  repo_pattern **at;
  size_t count, room;
  bool has_negated;
} list;

typedef struct mark {
  char *name;
  char *header; /* NULL: the name is enough */
} mark;

struct repo_exclude {
  list exact, folded;
  mark marks[MOST_MARKS];
  size_t mark_count;
  bool has_size;
  uint64_t size;
};

repo_exclude *repo_exclude_new(void) {
  return mem_zero(sizeof(repo_exclude));
}

static void free_list(list *l) {
  for (size_t i = 0; i < l->count; i++) repo_pattern_free(l->at[i]);
  mem_free(l->at);
}

void repo_exclude_free(repo_exclude *x) {
  if (x == NULL) return;
  free_list(&x->exact);
  free_list(&x->folded);
  for (size_t i = 0; i < x->mark_count; i++) {
    mem_free(x->marks[i].name);
    mem_free(x->marks[i].header);
  }
  mem_free(x);
}


/* ------------------------------------------------------------------
** Patterns
** ---------------------------------------------------------------- */

static error *add(list *l, const char *pattern) {
  error *e;
  if (l->count == l->room) {
    size_t room = l->room > 0 ? l->room * 2 : 16;
    repo_pattern **at = mem_grow(l->at, room * sizeof *at);
    if (at == NULL) return error_no_memory();
    l->at = at;
    l->room = room;
  }
  repo_pattern *p = repo_pattern_new(pattern, &e);
  if (p == NULL) return e;
  l->at[l->count++] = p;
  if (repo_pattern_is_negated(p)) l->has_negated = true;
  return NULL;
}

error *repo_exclude_pattern(repo_exclude *x, const char *pattern, bool fold) {
  if (*pattern == '\0') return NULL;
  if (!fold) return add(&x->exact, pattern);
  buffer b = BUFFER_EMPTY;
  repo_fold(&b, pattern, strlen(pattern));
  error *e = b.failed ? error_no_memory() : add(&x->folded, b.data);
  buffer_free(&b);
  return e;
}

/* The last that has something to say decides. */
static error *match_list(const list *l, const char *path, size_t size,
                         bool *excluded) {
  repo_parts parts;
  error *e = repo_parts_of(&parts, path, size);
  bool out = false;
  for (size_t i = 0; e == NULL && i < l->count; i++) {
    bool matched = false;
    if (out && !l->has_negated) break;
    e = repo_pattern_match(l->at[i], &parts, &matched);
    if (matched) out = !repo_pattern_is_negated(l->at[i]);
  }
  if (parts.at != NULL) repo_parts_free(&parts);
  if (e == NULL && out) *excluded = true;
  return e;
}

error *repo_exclude_path(const repo_exclude *x, const char *path, size_t size,
                         bool *excluded) {
  error *e = NULL;
  *excluded = false;
  if (size == 0) return NULL;
  if (x->exact.count > 0) e = match_list(&x->exact, path, size, excluded);
  if (e != NULL || *excluded || x->folded.count == 0) return e;
  buffer b = BUFFER_EMPTY;
  repo_fold(&b, path, size);
  e = b.failed ? error_no_memory()
               : match_list(&x->folded, b.data, b.size, excluded);
  buffer_free(&b);
  return e;
}


/* ------------------------------------------------------------------
** Files that mark a directory
** ---------------------------------------------------------------- */

error *repo_exclude_if_present(repo_exclude *x, const char *rule) {
  const char *colon = strchr(rule, ':');
  size_t size = colon != NULL ? (size_t)(colon - rule) : strlen(rule);
  if (size == 0)
    return repo_error(SAROS_E_INVALIDARG,
                      "the rule for a file that marks a directory names none");
  if (colon != NULL && strlen(colon + 1) > MOST_HEADER)
    return repo_error(SAROS_E_INVALIDARG,
                      "the header of the file %.100s is longer than %d bytes",
                      rule, MOST_HEADER);
  if (x->mark_count == MOST_MARKS)
    return repo_error(SAROS_E_INVALIDARG,
                      "there are more than %d rules for files that mark a "
                      "directory",
                      MOST_MARKS);
  mark m = {mem_bytes(rule, size), NULL};
  bool has_header = colon != NULL && colon[1] != '\0';
  if (has_header) m.header = mem_text(colon + 1);
  if (m.name == NULL || (has_header && m.header == NULL)) {
    mem_free(m.name);
    mem_free(m.header);
    return error_no_memory();
  }
  x->marks[x->mark_count++] = m;
  return NULL;
}

error *repo_exclude_caches(repo_exclude *x) {
  return repo_exclude_if_present(
      x, "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55");
}

/* Whether the file begins so; -1 and errno when it cannot be read. Nothing
   but a regular file is opened: a fifo would wait, a tape would wind. */
static int has_header(int directory, const mark *m) {
  char bytes[MOST_HEADER];
  size_t size = strlen(m->header), got = 0;
  struct stat st;
  if (fstatat(directory, m->name, &st, 0) != 0) return -1;
  if (!S_ISREG(st.st_mode)) return 0;
  int fd =
      openat(directory, m->name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = 1;
  while (got < size && n > 0) {
    n = read(fd, bytes + got, size - got);
    if (n < 0 && errno == EINTR)
      n = 1;
    else if (n > 0)
      got += (size_t)n;
  }
  int number = errno;
  close(fd);
  errno = number;
  if (n < 0) return -1;
  return got == size && memcmp(bytes, m->header, size) == 0;
}

static void tell(error **partial, const mark *m) {
  if (errno == ENOENT || *partial != NULL) return;
  *partial =
      error_of_errno(SAROS_FACADE_SAROS, errno,
                     "cannot read the file that marks a directory", m->name);
}

uint64_t repo_exclude_marks(const repo_exclude *x, int directory,
                            error **partial) {
  uint64_t marks = 0;
  *partial = NULL;
  for (size_t i = 0; i < x->mark_count; i++) {
    const mark *m = &x->marks[i];
    struct stat st;
    int r = 1;
    if (fstatat(directory, m->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      r = -1;
    else if (m->header != NULL)
      r = has_header(directory, m);
    if (r > 0) marks |= (uint64_t)1 << i;
    if (r < 0) tell(partial, m);
  }
  return marks;
}

bool repo_exclude_marked(const repo_exclude *x, uint64_t marks,
                         const char *name) {
  for (size_t i = 0; marks != 0 && i < x->mark_count; i++)
    if ((marks >> i & 1) && strcmp(x->marks[i].name, name) != 0) return true;
  return false;
}


/* ------------------------------------------------------------------
** Size
** ---------------------------------------------------------------- */

void repo_exclude_larger_than(repo_exclude *x, uint64_t size) {
  x->has_size = true;
  x->size = size;
}

bool repo_exclude_read_size(const char *text, uint64_t *size) {
  static const char units[] = "bkmgt";
  uint64_t n = 0;
  const char *from = text;
  for (; *text >= '0' && *text <= '9'; text++) {
    unsigned d = (unsigned)(*text - '0');
    if (n > ((uint64_t)INT64_MAX - d) / 10) return false;
    n = n * 10 + d;
  }
  if (text == from) return false;
  if (*text != '\0') {
    const char *unit = strchr(units, *text | 32);
    if (unit == NULL || text[1] != '\0') return false;
    for (; unit > units; unit--) {
      if (n > (uint64_t)INT64_MAX / 1024) return false;
      n *= 1024;
    }
  }
  *size = n;
  return true;
}

bool repo_exclude_size(const repo_exclude *x, uint32_t st_mode, uint64_t size) {
  return x->has_size && !S_ISDIR(st_mode) && size > x->size;
}
