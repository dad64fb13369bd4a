/*
** One pass over the source: what was not seen before as it is now is made
** again, what is gone is removed. The first pass finds nothing seen, so that
** there is one way of doing all this.
**
** How a change is found: a print of the entry's inode, size, times, links,
** owner and mode differs from the one that was seen. Two kinds of changes are
** not found so, and for both the source is written out when a live pass
** begins, and what has changed since then is not trusted but made again by
** the next pass:
**
**   - a second change within one tick of the clock that stamps files;
**   - a store to a page of a shared mapping that is dirty already: only the
**     first store after the page was written out changes the times.
**
** On tmpfs, which writes nothing out, no file is ever trusted.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vss/provider/tree_parts.h"

#define TICK_NS 20000000 /* more than any kernel's */
#define COARSE_SECONDS 2 /* file systems that stamp whole seconds */

bool pass_sure(const tree *t, const struct stat *st) {
  struct timespec c = st->st_ctim;
  if (t->blind && S_ISREG(st->st_mode)) return false;
  if (c.tv_nsec == 0) c.tv_sec += COARSE_SECONDS;
  return c.tv_sec < t->sure.tv_sec ||
         (c.tv_sec == t->sure.tv_sec && c.tv_nsec < t->sure.tv_nsec);
}

bool pass_seen(tree *t, const walk_dir *d, const char *name, uint64_t key,
               uint64_t print) {
  uint64_t was = seen_get(&t->seen, key);
  if ((was & ~(uint64_t)SEEN_BITS) != print) return false;
  if (t->held && (was & SEEN_UNREAD) != 0) lack_add(t, LACK_UNREAD, d, name, 0);
  if (t->held && (was & SEEN_PLAIN) != 0) lack_add(t, LACK_PLAIN, d, name, 0);
  return true;
}

static int open_dir(crew *w, walk_dir *parent, const char *name) {
  return copy_open(w->c, parent->from, name,
                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/* A shadow does not go into itself, nor do others that lie beside it. */
static bool is_shadow(const tree *t, const walk_dir *d) {
  guid id;
  if (walk_same(d->from_id, t->place_id)) return true;
  return d->parent != NULL && walk_same(d->parent->from_id, t->above_id) &&
         guid_parse(d->name, &id);
}

static int again(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}


/* ------------------------------------------------------------------
** Counting
** ---------------------------------------------------------------- */

static bool count_enter(crew *w, walk_dir *d) {
  tree *t = tree_of(w->c);
  d->skip = !d->root && (is_shadow(t, d) || walk_is_mount(d->from, d));
  atomic_fetch_add(&t->entries, 1);
  return true;
}

static void count_entry(crew *w, worker *me, walk_dir *d, const char *name,
                        unsigned char type) {
  tree *t = tree_of(w->c);
  struct stat st;
  (void)me;
  (void)type;
  if (fstatat(d->from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
  atomic_fetch_add(&t->entries, 1);
  if (!S_ISREG(st.st_mode)) return;
  uint64_t links = st.st_nlink > 0 ? (uint64_t)st.st_nlink : 1;
  atomic_fetch_add(&t->need, (uint64_t)st.st_blocks * 512 / links);
  atomic_fetch_add(&t->c.total, (uint64_t)st.st_size);
}

static void count_leave(crew *w, worker *me, walk_dir *d) {
  (void)w;
  (void)me;
  (void)d;
}

/* Whoever copies will meet it again. */
static void count_lost(crew *w, int number, walk_dir *d, const char *name) {
  (void)w;
  (void)number;
  (void)d;
  (void)name;
}

static const walk_kind counting = {.open = open_dir,
                                   .enter = count_enter,
                                   .entry = count_entry,
                                   .leave = count_leave,
                                   .lost = count_lost};


/* ------------------------------------------------------------------
** Directories
** ---------------------------------------------------------------- */

static bool is_name_for_us(int number) {
  return number == EILSEQ || number == EINVAL || number == ENAMETOOLONG;
}

/* Makes it in the copy, or finds it there. */
static bool make_dir(crew *w, walk_dir *d) {
  copy *c = w->c;
  walk_dir *up = d->parent;
  for (int tries = 0; tries < 2; tries++) {
    int number = mkdirat(up->to, d->name, 0700) == 0 ? 0 : errno;
    if (number != 0 && number != EEXIST) {
      if (is_name_for_us(number)) {
        if (tree_of(c)->held)
          lack_add(tree_of(c), LACK_UNREAD, d, NULL, number);
        return false;
      }
      return copy_failed(c, number, "cannot make the directory", d, NULL,
                         COPY_TARGET);
    }
    d->fresh = number == 0;
    if (d->fresh) atomic_store(&up->touched, true);
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    d->to = copy_open(c, up->to, d->name, flags);
    if (d->to < 0 && errno == EACCES &&
        meta_chmod_at(up->to, d->name, 0700) == 0) {
      d->to = copy_open(c, up->to, d->name, flags);
      atomic_store(&d->touched, true);
    }
    if (d->to >= 0) return true;
    if (errno != ENOTDIR && errno != ELOOP) break;
    if (!entry_clear(w, up, d->name)) return false; /* it was no directory */
  }
  return copy_failed(c, errno, "cannot open", d, NULL, COPY_TARGET);
}

/* What is in the copy and no longer in the source. */
static void prune(crew *w, walk_dir *d) {
  tree *t = tree_of(w->c);
  struct stat st;
  int fd = openat(d->to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
  if (list == NULL) {
    int number = errno;
    if (fd >= 0) close(fd);
    copy_fail(w->c,
              error_of_errno(SAROS_FACADE_SAROS, number,
                             "cannot list a directory of the shadow", t->c.to));
    return;
  }
  for (struct dirent *e; copy_goes_on(w->c) && (e = readdir(list)) != NULL;) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (fstatat(d->from, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) continue;
    if (errno != ENOENT) continue;
    entry_clear(w, d, e->d_name);
    seen_put(&t->seen, seen_key(&t->seen, d->key, e->d_name), 0);
    atomic_fetch_add(&t->changed, 1);
  }
  closedir(list);
}

/* Its mode may be one that does not let us work in it; it gets that back. */
static void make_writable(walk_dir *d) {
  struct stat st;
  if (fstat(d->to, &st) != 0 || (st.st_mode & 0700) == 0700) return;
  if (fchmod(d->to, 0700) == 0) atomic_store(&d->touched, true);
}

static bool enter(crew *w, walk_dir *d) {
  tree *t = tree_of(w->c);
  struct stat st;
  if (is_shadow(t, d)) return false;
  if (fstat(d->from, &st) != 0)
    return copy_failed(w->c, errno, "cannot stat", d, NULL, COPY_SOURCE);
  d->key = seen_key(&t->seen, d->parent != NULL ? d->parent->key : 0, d->name);
  d->print = seen_print(&t->seen, &st);
  if (d->root)
    d->fresh = t->pass == 1;
  else if (!make_dir(w, d))
    return false;
  /* What was in a new one's place has been removed, seen or not. */
  if (d->fresh || !pass_seen(t, d, NULL, d->key, d->print)) {
    atomic_fetch_add(&t->changed, 1);
    atomic_store(&d->touched, true);
  }
  if (!pass_sure(t, &st)) d->print = 0;
  d->m = meta_of(&st);
  bool mounted = !d->root && walk_is_mount(d->from, d);
  if (mounted && t->held) lack_add(t, LACK_MOUNT, d, NULL, 0);
  if (mounted) return false;
  if (!d->fresh) make_writable(d);
  if (!d->fresh && atomic_load(&d->touched)) prune(w, d);
  return true;
}

static void leave(crew *w, worker *me, walk_dir *d) {
  tree *t = tree_of(w->c);
  if (d->to < 0) return;
  if (atomic_load(&d->touched) || d->fresh) {
    bool plain = !meta_copy(w->c, me, d->from, d->to, &d->m, d, NULL);
    if (!copy_goes_on(w->c)) return;
    if (plain && t->held) lack_add(t, LACK_PLAIN, d, NULL, 0);
    if (plain && d->print != 0) d->print |= SEEN_PLAIN;
  } else {
    return; /* it is remembered as it is */
  }
  if (!t->held) seen_put(&t->seen, d->key, d->print);
}

static void lost(crew *w, int number, walk_dir *d, const char *name) {
  tree *t = tree_of(w->c);
  if (number == ENOMEM) {
    copy_fail(w->c, error_no_memory());
  } else if (number == ESTALE || number == EBADF) {
    /* Directories above were moved: what is left of them was not walked. */
    t->strayed = true;
  } else if (number == EMFILE || number == ENFILE) {
    copy_failed(w->c, number, "cannot read the directory", d, name,
                COPY_SOURCE);
  } else if (t->held && number != ENOENT) {
    if (name != NULL && d->to >= 0) entry_clear(w, d, name);
    lack_add(t, LACK_UNREAD, d, name, number);
  }
}

static const walk_kind passing = {.open = open_dir,
                                  .enter = enter,
                                  .entry = entry_make,
                                  .leave = leave,
                                  .lost = lost};


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

/* A single file: as an entry of a directory that is not walked. */
static void walk_single(crew *w, tree *t, walk_dir *d) {
  d->key = seen_key(&t->seen, 0, "");
  d->fresh = t->pass == 1;
  w->kind->entry(w, &w->own, d, t->single, DT_UNKNOWN);
  crew_work_until(w, READY_FINISHED, NULL);
  close(d->from);
  d->from = -1; /* so that it is not left: it is not ours */
  walk_unpin(w, &w->own, d);
}

static error *walk_all(tree *t, const walk_kind *kind, int target) {
  crew w;
  struct stat st;
  copy *c = &t->c;
  crew_open(&w, c, kind);
  int from = again(t->source), to = target >= 0 ? again(target) : -1;
  bool open = from >= 0 && (to >= 0 || target < 0) && fstat(from, &st) == 0;
  int number = errno;
  if (open) lseek(from, 0, SEEK_SET); /* it is shared with the last pass */
  walk_dir *root = open ? walk_root(&w, from, to, &st) : NULL;
  if (root == NULL) {
    copy_fail(c, open ? error_no_memory()
                      : error_of_errno(SAROS_FACADE_SAROS, number,
                                       "cannot open the source of the shadow",
                                       c->from));
    if (from >= 0) close(from);
    if (to >= 0) close(to);
  } else if (t->single != NULL) {
    walk_single(&w, t, root);
  } else {
    if (!kind->enter(&w, root)) root->skip = true;
    walk(&w, root);
  }
  crew_close(&w);
  if (!copy_goes_on(c)) return tree_error(t);
  return NULL;
}

error *pass_count(tree *t) {
  atomic_store(&t->need, 0);
  atomic_store(&t->entries, 0);
  return walk_all(t, &counting, -1);
}

static void look_at_clock(tree *t) {
  struct statfs fs;
  clock_gettime(CLOCK_REALTIME_COARSE, &t->sure);
  t->sure.tv_nsec -= TICK_NS;
  if (t->sure.tv_nsec < 0) {
    t->sure.tv_nsec += 1000000000;
    t->sure.tv_sec--;
  }
  t->blind = fstatfs(t->source, &fs) != 0 || fs.f_type == TMPFS_MAGIC ||
             fs.f_type == RAMFS_MAGIC;
  syncfs(t->source); /* what it could not write, it could not write before */
}

error *pass_run(tree *t, bool held) {
  t->pass++;
  t->held = held;
  t->strayed = false;
  atomic_store(&t->copied, 0);
  atomic_store(&t->changed, 0);
  if (!held) look_at_clock(t);
  error *e = walk_all(t, &passing, t->target);
  if (e == NULL && held && t->strayed)
    e = vss_error(SAROS_E_CHANGED,
                  "cannot make the shadow of \"%s\": directories in it were "
                  "moved while its writers should have held still; let them, "
                  "and try again",
                  t->s->given);
  return e;
}
