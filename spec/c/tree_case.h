/*
** Trees to copy, and a comparison of two that knows nothing of the code that
** made the second.
*/
#ifndef SAROS_TREE_CASE_H
#define SAROS_TREE_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ------------------------------------------------------------------
** Making trees
** ---------------------------------------------------------------- */

static inline void put_file(const char *path, size_t size, unsigned seed) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  static char bytes[65536];
  while (size > 0) {
    size_t n = size < sizeof bytes ? size : sizeof bytes;
    for (size_t i = 0; i + 4 <= sizeof bytes && i < n + 4; i += 4) {
      seed = seed * 1664525u + 1013904223u;
      memcpy(bytes + i, &seed, 4);
    }
    if (write(fd, bytes, n) != (ssize_t)n) {
      printf("cannot write %s: %s\n", path, strerror(errno));
      break;
    }
    size -= n;
  }
  close(fd);
}

/* `count` small files, `each` in a directory. */
static inline void make_many(const char *root, unsigned count, unsigned each,
                             size_t size) {
  char path[900];
  mkdir(root, 0755);
  for (unsigned i = 0; i < count; i++) {
    if (i % each == 0) {
      snprintf(path, sizeof path, "%s/d%u", root, i / each);
      mkdir(path, 0755);
    }
    snprintf(path, sizeof path, "%s/d%u/file-%u", root, i / each, i);
    put_file(path, size, i + 1);
  }
}


/* ------------------------------------------------------------------
** Comparing
** ---------------------------------------------------------------- */

typedef struct pairs {
  struct pair {
    dev_t dev;
    ino_t a, b;
  } * at;
  size_t count, room;
} pairs;

typedef struct comparison {
  pairs links_seen;
  unsigned differences;
  bool holes; /* the copy uses no more blocks than the source, or little */
  bool owners;
  bool count_links; /* so many names in each tree */
} comparison;

static inline void differs(comparison *c, const char *path, const char *what) {
  if (++c->differences <= 10) printf("differs: %s: %s\n", path, what);
}

static inline bool same_links(pairs *p, const struct stat *a,
                              const struct stat *b) {
  for (size_t i = 0; i < p->count; i++) {
    bool one = p->at[i].a == a->st_ino && p->at[i].dev == a->st_dev;
    if (one || p->at[i].b == b->st_ino) return one && p->at[i].b == b->st_ino;
  }
  if (p->count == p->room)
    p->at = realloc(p->at, (p->room = p->room * 2 + 64) * sizeof *p->at);
  p->at[p->count++] = (struct pair){a->st_dev, a->st_ino, b->st_ino};
  return true;
}

/* Without what XFS shows of its ACLs a second time. */
static inline ssize_t names_of(const char *path, char *names, size_t room) {
  ssize_t size = llistxattr(path, names, room), kept = 0;
  for (ssize_t at = 0, n; at < size; at += n) {
    n = (ssize_t)strlen(names + at) + 1;
    if (strncmp(names + at, "trusted.SGI_ACL", 15) == 0) continue;
    memmove(names + kept, names + at, (size_t)n);
    kept += n;
  }
  return kept;
}

static inline void compare_xattrs(comparison *c, const char *a, const char *b) {
  static char names[65536], other[65536], x[65536], y[65536];
  ssize_t size = names_of(a, names, sizeof names);
  ssize_t size_b = names_of(b, other, sizeof other);
  if (size != size_b) differs(c, a, "names of extended attributes");
  for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
    ssize_t n = lgetxattr(a, names + at, x, sizeof x);
    ssize_t m = lgetxattr(b, names + at, y, sizeof y);
    if (n != m || (n > 0 && memcmp(x, y, (size_t)n) != 0))
      differs(c, a, names + at);
  }
}

static inline void compare_content(comparison *c, const char *a, const char *b,
                                   const struct stat *st) {
  static char x[1 << 18], y[1 << 18];
  int fa = open(a, O_RDONLY | O_NOATIME | O_CLOEXEC);
  int fb = open(b, O_RDONLY | O_NOATIME | O_CLOEXEC);
  for (off_t at = 0; at < st->st_size;) {
    ssize_t n = pread(fa, x, sizeof x, at), m = pread(fb, y, sizeof y, at);
    if (n <= 0 || n != m || memcmp(x, y, (size_t)n) != 0) {
      differs(c, a, "content");
      break;
    }
    at += n;
  }
  close(fa);
  close(fb);
}

static inline void compare_paths(comparison *c, const char *a, const char *b);

static inline void compare_entries(comparison *c, const char *a,
                                   const char *b) {
  DIR *d = opendir(a), *other = opendir(b);
  char x[2000], y[2000];
  int count = 0;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    count++;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    snprintf(x, sizeof x, "%s/%s", a, e->d_name);
    snprintf(y, sizeof y, "%s/%s", b, e->d_name);
    compare_paths(c, x, y);
  }
  while (other != NULL && readdir(other) != NULL) count--;
  if (count != 0) differs(c, a, "number of entries");
  if (d != NULL) closedir(d);
  if (other != NULL) closedir(other);
}

static inline bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static inline void compare_paths(comparison *c, const char *a, const char *b) {
  struct stat sa, sb;
  char x[4096], y[4096];
  if (lstat(a, &sa) != 0 || lstat(b, &sb) != 0) {
    differs(c, a, "is not there");
    return;
  }
  if (sa.st_mode != sb.st_mode) differs(c, a, "mode");
  if (c->owners && (sa.st_uid != sb.st_uid || sa.st_gid != sb.st_gid))
    differs(c, a, "owner");
  if (!same_time(sa.st_mtim, sb.st_mtim)) differs(c, a, "mtime");
  if (!S_ISDIR(sa.st_mode) && !S_ISLNK(sa.st_mode) &&
      !same_time(sa.st_atim, sb.st_atim))
    differs(c, a, "atime");
  if (c->count_links && !S_ISDIR(sa.st_mode) && sa.st_nlink != sb.st_nlink)
    differs(c, a, "number of links");
  if (!S_ISDIR(sa.st_mode) && sa.st_nlink > 1 &&
      !same_links(&c->links_seen, &sa, &sb))
    differs(c, a, "linked to another");
  if (sa.st_rdev != sb.st_rdev) differs(c, a, "device number");
  compare_xattrs(c, a, b);
  if (S_ISREG(sa.st_mode)) {
    if (sa.st_size != sb.st_size) differs(c, a, "size");
    /* XFS allocates ahead of what is written, and takes it back later. */
    if (c->holes && sb.st_blocks > sa.st_blocks + sa.st_blocks / 50 + 64) {
      printf("%lld blocks, not %lld: ", (long long)sb.st_blocks,
             (long long)sa.st_blocks);
      differs(c, a, "holes");
    }
    compare_content(c, a, b, &sa);
  } else if (S_ISLNK(sa.st_mode)) {
    ssize_t n = readlink(a, x, sizeof x), m = readlink(b, y, sizeof y);
    if (n != m || memcmp(x, y, (size_t)n) != 0) differs(c, a, "text of link");
  } else if (S_ISDIR(sa.st_mode)) {
    compare_entries(c, a, b);
  }
}

/* How many differences; reading changes atimes, so those are kept out of the
   way by mount options or do not matter twice. */
static inline unsigned compare(const char *a, const char *b) {
  comparison c = {.owners = true, .holes = true, .count_links = true};
  compare_paths(&c, a, b);
  free(c.links_seen.at);
  return c.differences;
}

#endif
