/*
** What is done with what the walk finds: first it is counted, then copied.
**
** Hard links: a file that has several names gets, as soon as its copy has
** been created, one more name in a directory of ours beside the copy, the
** farm, made of its device and inode number. Whoever meets another of its
** names makes a link to that; whoever loses the race to put it there takes
** his own copy back. So the file system is the table, nothing is kept in
** memory, and depth and length of paths do not matter.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "op/copy_parts.h"

static int open_dir(crew *w, walk_dir *parent, const char *name) {
  return copy_open(w->c, parent->from, name,
                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

static int open_root(copy *c) {
  return copy_open(c, c->source_dir, c->source_name,
                   O_RDONLY | O_DIRECTORY | c->source_flags);
}


/* ------------------------------------------------------------------
** Counting
** ---------------------------------------------------------------- */

static bool count_enter(crew *w, walk_dir *d) {
  d->skip = w->c->one_system && walk_is_mount(d->from, d);
  return true;
}

static void count_entry(crew *w, worker *me, walk_dir *d, const char *name,
                        unsigned char type) {
  struct stat st;
  (void)me;
  if (type != DT_REG && type != DT_UNKNOWN) return;
  if (fstatat(d->from, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISREG(st.st_mode))
    atomic_fetch_add(&w->c->total, (uint64_t)st.st_size);
}

static void count_leave(crew *w, worker *me, walk_dir *d) {
  (void)w;
  (void)me;
  (void)d;
}

/* Only a number is lost: the copy will fail in the same place, and say so. */
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

bool tree_count(copy *c) {
  crew w;
  struct stat st;
  int fd = open_root(c);
  if (fd < 0 || fstat(fd, &st) != 0) {
    int number = errno;
    if (fd >= 0) close(fd);
    return copy_failed(c, number, "cannot read", NULL, NULL, COPY_SOURCE);
  }
  op_phase_literal(c->op, "counting");
  crew_open(&w, c, &counting);
  walk_dir *root = walk_root(&w, fd, -1, &st);
  if (root != NULL) {
    walk(&w, root);
  } else {
    close(fd);
    copy_fail(c, error_no_memory());
  }
  crew_close(&w);
  atomic_store(&c->n.vanished, 0);
  return copy_goes_on(c);
}


/* ------------------------------------------------------------------
** Hard links
** ---------------------------------------------------------------- */

/* The farm's descriptor; -1 when it failed. */
static int farm(copy *c) {
  int fd = atomic_load(&c->farm);
  if (fd >= 0) return fd;
  int number = 0;
  pthread_mutex_lock(&c->lock);
  fd = atomic_load(&c->farm);
  if (fd < 0) {
    if (mkdirat(c->parent, c->farm_name, 0700) == 0)
      fd = openat(c->parent, c->farm_name,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    number = fd < 0 ? errno : 0;
    if (fd >= 0) {
      meta_strip(fd);
      atomic_store(&c->farm, fd);
    }
  }
  pthread_mutex_unlock(&c->lock);
  if (number != 0)
    copy_failed(c, number, "cannot make a directory beside", NULL, NULL,
                COPY_TARGET);
  return fd;
}

static void key_of(const struct stat *st, char key[40]) {
  snprintf(key, 40, "%llx-%llx", (unsigned long long)st->st_dev,
           (unsigned long long)st->st_ino);
}

static link_result cannot_link(copy *c, int number, walk_dir *d,
                               const char *name) {
  bool none = number == EPERM || number == EOPNOTSUPP || number == ENOSYS;
  if (none) {
    if (!atomic_exchange(&c->no_links, true))
      log_write(LOG_WARNING, "copy",
                "the target's file system has no hard links: each name "
                "becomes a file of its own");
    return LINK_NONE;
  }
  copy_failed(c, number, "cannot link", d, name, COPY_TARGET);
  return LINK_FAILED;
}

link_result farm_again(copy *c, walk_dir *d, const char *name,
                       const char *key) {
  int fd = farm(c);
  if (fd < 0) return LINK_FAILED;
  int r = linkat(fd, key, d->to, name, 0);
  /* It has as many names as a file can have: ours for the farm can go. */
  if (r != 0 && errno == EMLINK) r = renameat(fd, key, d->to, name);
  if (r != 0 && errno == ENOENT) return LINK_FIRST;
  if (r != 0) return cannot_link(c, errno, d, name);
  atomic_fetch_add(&c->n.links, 1);
  return LINK_MADE;
}

link_result farm_first(copy *c, walk_dir *d, const char *name,
                       const char *key) {
  if (linkat(d->to, name, atomic_load(&c->farm), key, 0) == 0)
    return LINK_FIRST;
  if (errno != EEXIST) return cannot_link(c, errno, d, name);
  if (unlinkat(d->to, name, 0) != 0) return cannot_link(c, errno, d, name);
  link_result r = farm_again(c, d, name, key);
  /* Then that one got its last name meanwhile, and has left the farm. */
  return r == LINK_FIRST ? cannot_link(c, EMLINK, d, name) : r;
}

static link_result link_done(copy *c, walk_dir *d, const char *name,
                             const struct stat *st, link_result r) {
  uint64_t size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
  if (r == LINK_MADE) copy_progress(c, size, d, name);
  return r;
}

/* Another name for what was copied already. */
static link_result link_again(copy *c, walk_dir *d, const char *name,
                              const struct stat *st) {
  char key[40];
  key_of(st, key);
  return link_done(c, d, name, st, farm_again(c, d, name, key));
}

/* What was just created here becomes the one that all link to. */
static link_result link_first(copy *c, walk_dir *d, const char *name,
                              const struct stat *st) {
  char key[40];
  key_of(st, key);
  return link_done(c, d, name, st, farm_first(c, d, name, key));
}

static bool has_links(copy *c, const walk_dir *d, const struct stat *st) {
  return st->st_nlink > 1 && !d->alone && !atomic_load(&c->no_links);
}


/* ------------------------------------------------------------------
** Copying
** ---------------------------------------------------------------- */

static void copy_regular(crew *w, worker *me, walk_dir *d, const char *name,
                         const char *to_name) {
  copy *c = w->c;
  struct stat st;
  int from = copy_open(c, d->from, name,
                       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (from < 0 && errno == ENOENT && !d->alone) {
    atomic_fetch_add(&c->n.vanished, 1);
    return;
  }
  if (from < 0 || fstat(from, &st) != 0) {
    copy_failed(c, errno, "cannot read", d, name, COPY_SOURCE);
    if (from >= 0) close(from);
    return;
  }
  link_result link = LINK_NONE;
  bool goes_on = S_ISREG(st.st_mode) ||
                 copy_changed(c, "it was a file and is none any more", d, name);
  bool linked = goes_on && has_links(c, d, &st);
  if (linked) link = link_again(c, d, to_name, &st);
  int to = -1;
  if (goes_on && (link == LINK_NONE || link == LINK_FIRST)) {
    if (d->alone) { /* it was made with the claim */
      to = c->file;
      c->file = -1;
    } else {
      to = openat(d->to, to_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                  (st.st_mode & 0777) | 0600);
    }
    if (to < 0) {
      copy_failed(c, errno, "cannot create", d, name, COPY_TARGET);
    } else if (link == LINK_FIRST) {
      link = link_first(c, d, to_name, &st);
      if (link == LINK_MADE || link == LINK_FAILED) {
        close(to);
        to = -1;
      }
    }
  }
  if (to < 0) {
    close(from);
    return;
  }
  if (d->alone) meta_strip(to);
  file_copy(w, me, d, name, from, to, &st);
}

int make_symlink(worker *me, walk_dir *d, const char *name,
                 const char *to_name) {
  char *text = worker_scratch(me);
  if (text == NULL) return ENOMEM;
  ssize_t size = readlinkat(d->from, name, text, COPY_SCRATCH - 1);
  if (size < 0) return errno;
  text[size] = 0;
  return symlinkat(text, d->to, to_name) == 0 ? 0 : errno;
}

/* A symbolic link, a fifo, a socket, a device. */
static void copy_special(crew *w, worker *me, walk_dir *d, const char *name,
                         const char *to_name, const struct stat *st) {
  copy *c = w->c;
  if (has_links(c, d, st)) {
    link_result link = link_again(c, d, to_name, st);
    if (link == LINK_MADE || link == LINK_FAILED) return;
  }
  bool symlink = S_ISLNK(st->st_mode);
  bool device = S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode);
  int r = 0;
  if (symlink)
    r = make_symlink(me, d, name, to_name);
  else if (mknodat(d->to, to_name, (st->st_mode & S_IFMT) | 0600,
                   device ? st->st_rdev : 0) != 0)
    r = errno;
  if (r != 0) {
    const char *what = symlink  ? "cannot make the symbolic link"
                       : device ? "cannot make the device (only root can)"
                                : "cannot make";
    copy_failed(c, r, what, d, name, COPY_TARGET);
    return;
  }
  if (has_links(c, d, st)) {
    link_result link = link_first(c, d, to_name, st);
    if (link == LINK_MADE || link == LINK_FAILED) return;
  }
  if (d->alone) meta_strip_at(d->to, to_name);
  meta m = meta_of(st);
  if (!meta_copy_at(c, me, d, name, to_name, &m)) return;
  atomic_fetch_add(symlink ? &c->n.symlinks : &c->n.others, 1);
  copy_progress(c, 0, d, name);
}

static void copy_as(crew *w, worker *me, walk_dir *d, const char *name,
                    const char *to_name, unsigned char type) {
  struct stat st;
  if (type != DT_REG) {
    if (fstatat(d->from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT && !d->alone)
        atomic_fetch_add(&w->c->n.vanished, 1);
      else
        copy_failed(w->c, errno, "cannot stat", d, name, COPY_SOURCE);
      return;
    }
    if (S_ISDIR(st.st_mode)) {
      copy_changed(w->c, "it has just become a directory", d, name);
      return;
    }
    if (!S_ISREG(st.st_mode)) {
      copy_special(w, me, d, name, to_name, &st);
      return;
    }
  }
  copy_regular(w, me, d, name, to_name);
}

static void copy_entry(crew *w, worker *me, walk_dir *d, const char *name,
                       unsigned char type) {
  copy_as(w, me, d, name, name, type);
}

static bool copy_enter(crew *w, walk_dir *d) {
  copy *c = w->c;
  walk_dir *parent = d->parent;
  if (walk_same(d->from_id, c->root))
    return copy_failed(c, ELOOP, "cannot copy a directory into itself", d, NULL,
                       COPY_SOURCE);
  if (mkdirat(parent->to, d->name, 0700) != 0)
    return copy_failed(c, errno, "cannot make the directory", d, NULL,
                       COPY_TARGET);
  d->to =
      copy_open(c, parent->to, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (d->to < 0)
    return copy_failed(c, errno, "cannot open", d, NULL, COPY_TARGET);
  d->skip = c->one_system && walk_is_mount(d->from, d);
  return true;
}

static void copy_leave(crew *w, worker *me, walk_dir *d) {
  copy *c = w->c;
  if (d->root) return; /* last of all: until then nobody may enter */
  if (!meta_copy(c, me, d->from, d->to, &d->m, d, NULL)) return;
  atomic_fetch_add(&c->n.directories, 1);
  copy_progress(c, 0, d, NULL);
}

static void copy_lost(crew *w, int number, walk_dir *d, const char *name) {
  if (number == ENOMEM)
    copy_fail(w->c, error_no_memory());
  else if (number == ESTALE)
    copy_changed(w->c, "it was moved while it was copied", d, name);
  else
    copy_failed(w->c, number, "cannot read the directory", d, name,
                COPY_SOURCE);
}

static const walk_kind copying = {.open = open_dir,
                                  .enter = copy_enter,
                                  .entry = copy_entry,
                                  .leave = copy_leave,
                                  .lost = copy_lost};

/* Opens the root of what is made; -1 when it failed. */
static int root_of(copy *c) {
  struct stat st;
  int to =
      copy_open(c, c->parent, c->temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (to < 0 || fstat(to, &st) != 0) {
    copy_failed(c, errno, "cannot open", NULL, NULL, COPY_TARGET);
    if (to >= 0) close(to);
    return -1;
  }
  c->root = (identity){st.st_dev, st.st_ino};
  /* Its parent may have given it setgid and ACLs, which it would give on. */
  meta_strip(to);
  fchmod(to, 0700);
  return to;
}

static int again(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void copy_below(crew *w, int from, int to, const struct stat *st) {
  copy *c = w->c;
  int walk_from = again(from), walk_to = again(to);
  walk_dir *root = NULL;
  if (walk_from < 0 || walk_to < 0)
    copy_failed(c, errno, "cannot open", NULL, NULL, COPY_TARGET);
  else if ((root = walk_root(w, walk_from, walk_to, st)) == NULL)
    copy_fail(c, error_no_memory());
  if (root != NULL) {
    walk(w, root);
    return;
  }
  if (walk_from >= 0) close(walk_from);
  if (walk_to >= 0) close(walk_to);
}

bool tree_copy(copy *c) {
  crew w;
  struct stat st;
  int from = open_root(c);
  if (from < 0 || fstat(from, &st) != 0) {
    copy_failed(c, errno, "cannot read", NULL, NULL, COPY_SOURCE);
    if (from >= 0) close(from);
    return false;
  }
  int to = root_of(c);
  crew_open(&w, c, &copying);
  if (to >= 0) copy_below(&w, from, to, &st);
  crew_work_until(&w, READY_FINISHED, NULL);
  meta m = meta_of(&st);
  if (copy_goes_on(c) && meta_copy(c, &w.own, from, to, &m, NULL, NULL))
    atomic_fetch_add(&c->n.directories, 1);
  crew_close(&w);
  close(from);
  if (to >= 0) close(to);
  return copy_goes_on(c);
}

/* One that is no directory: as an entry of a directory that is not copied
   itself, under another name. */
bool single_copy(copy *c) {
  crew w;
  struct stat st = {.st_mode = S_IFDIR};
  int from = again(c->source_dir), to = again(c->parent);
  crew_open(&w, c, &copying);
  walk_dir *d = NULL;
  if (from >= 0 && to >= 0) d = walk_root(&w, from, to, &st);
  if (d != NULL) {
    d->alone = true;
    c->made = true;
    unsigned char type = S_ISREG(c->source.st_mode) ? DT_REG : DT_UNKNOWN;
    copy_as(&w, &w.own, d, c->source_name, c->temp, type);
    crew_work_until(&w, READY_FINISHED, NULL);
    close(d->from);
    d->from = -1; /* so that it is not left: it is not ours */
    walk_unpin(&w, &w.own, d);
  } else {
    if (from < 0 || to < 0)
      copy_failed(c, errno, "cannot open", NULL, NULL, COPY_TARGET);
    else
      copy_fail(c, error_no_memory());
    if (from >= 0) close(from);
    if (to >= 0) close(to);
  }
  crew_close(&w);
  return copy_goes_on(c);
}
