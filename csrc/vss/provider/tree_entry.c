/*
** What a pass does with one entry that is no directory. A live pass takes
** what it can get: whatever goes wrong with an entry, the next pass tries it
** again. The pass under the hold is the last, and says what is missing.
**
** Hard links: the farm (op/copy_tree.c) has a name for each file that has
** several, made of its inode and its print. So what changed since it was
** copied is never found there, and is copied anew.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vss/place.h"
#include "vss/provider/tree_parts.h"

/* One entry on its way through. */
typedef struct entry {
  tree *t;
  crew *w;
  worker *me;
  walk_dir *d;
  const char *name;
  struct stat st;
  uint64_t key, print;
} entry;


/* ------------------------------------------------------------------
** What does not go well
** ---------------------------------------------------------------- */

static bool is_no_room(int number) {
  return number == ENOSPC || number == EDQUOT;
}

/* What ends it all: no room, no memory, no descriptors, and whatever else the
   copy's own side says but about one name or one attribute. */
static bool forgive(copy *c, int number, const char *what, copy_side side) {
  (void)c;
  if (strstr(what, "an extended attribute") != NULL)
    return number != ENOMEM; /* ENOSPC: it does not fit beside the inode */
  if (is_no_room(number)) return false;
  switch (number) {
    case ENOMEM:
    case EMFILE:
    case ENFILE: return false;
    case EPERM:
    case EACCES:
    case EINVAL:
    case EILSEQ:
    case EFBIG:
    case ENAMETOOLONG:
    case EOPNOTSUPP:
    case ERANGE:
    case E2BIG: return true;
    default: return side == COPY_SOURCE;
  }
}

/* A name that is gone, or another thing than a moment ago: a live pass leaves
   that to the next one. */
static bool is_gone(int number) {
  return number == ENOENT || number == ENOTDIR || number == ELOOP ||
         number == ESTALE || number == ENXIO;
}

/* It is not in the copy. */
static void missing(const entry *e, lack what, int number) {
  tree *t = e->t;
  if (is_gone(number)) {
    seen_put(&t->seen, e->key, 0);
    if (t->held && number != ENOENT)
      lack_add(t, LACK_UNREAD, e->d, e->name, number);
    return;
  }
  if (t->held)
    lack_add(t, what, e->d, e->name, number);
  else
    seen_put(&t->seen, e->key,
             pass_sure(t, &e->st) ? e->print | SEEN_UNREAD : 0);
}

static void made(const entry *e, bool attributes) {
  tree *t = e->t;
  provider_step();
  atomic_store(&e->d->touched, true);
  atomic_fetch_add(&t->copied, 1);
  bool plain = !attributes && copy_goes_on(&t->c);
  if (t->held && plain) lack_add(t, LACK_PLAIN, e->d, e->name, 0);
  if (!t->held)
    seen_put(&t->seen, e->key,
             pass_sure(t, &e->st) ? e->print | (plain ? SEEN_PLAIN : 0) : 0);
}


/* ------------------------------------------------------------------
** The copy's side
** ---------------------------------------------------------------- */

bool entry_clear(crew *w, walk_dir *d, const char *name) {
  if (d->fresh) return true; /* nothing is there yet */
  atomic_store(&d->touched, true);
  if (unlinkat(d->to, name, 0) == 0 || errno == ENOENT) return true;
  return remove_all(w->c, d->to, name, "what it was before");
}

static void left(copy *c, const char *sentence) {
  copy_fail(c, vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR, "%s", sentence));
}

static void farm_key(const tree *t, const struct stat *st, uint64_t print,
                     char key[40]) {
  unsigned pass = pass_sure(t, st) ? 0 : t->pass;
  snprintf(key, 40, "%llx-%u", (unsigned long long)print, pass);
}

/* LINK_NONE also for what has one name only. */
static link_result find_link(const entry *e) {
  char key[40];
  copy *c = &e->t->c;
  if (e->st.st_nlink < 2 || atomic_load(&c->no_links)) return LINK_NONE;
  farm_key(e->t, &e->st, e->print, key);
  return farm_again(c, e->d, e->name, key);
}

static bool put_link(tree *t, walk_dir *d, const char *name,
                     const struct stat *st, uint64_t print) {
  char key[40];
  if (st->st_nlink < 2 || atomic_load(&t->c.no_links)) return true;
  farm_key(t, st, print, key);
  return farm_first(&t->c, d, name, key) != LINK_FAILED;
}


/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

/* Under the hold nobody should have written to it. What was cloned is of one
   instant all the same; another name, owner or mode (SQLite as root gives it
   one whenever it opens a log) is no write. */
static bool is_torn(const tree *t, const file_end *end) {
  struct stat now;
  if (!t->held || end->cloned) return false;
  return fstat(end->from, &now) != 0 || now.st_size != end->was->st_size ||
         now.st_mtim.tv_sec != end->was->st_mtim.tv_sec ||
         now.st_mtim.tv_nsec != end->was->st_mtim.tv_nsec;
}

static void file_done(copy *c, const file_end *end) {
  tree *t = tree_of(c);
  entry e = {.t = t,
             .d = end->d,
             .name = end->name,
             .st = *end->was,
             .key = seen_key(&t->seen, end->d->key, end->name),
             .print = seen_print(&t->seen, end->was)};
  if (end->number != 0) {
    unlinkat(e.d->to, e.name, 0); /* half of a file is none */
    if (end->number != ECANCELED) missing(&e, LACK_UNREAD, end->number);
    return;
  }
  if (!put_link(t, e.d, e.name, &e.st, e.print)) {
    missing(&e, LACK_UNREAD, EMLINK);
    return;
  }
  tree_at(t, "file");
  if (end->cloned) pieces_look(t, end);
  if (is_torn(t, end)) lack_add(t, LACK_TORN, e.d, e.name, 0);
  made(&e, end->attributes);
}

/* In a set what is prepared is told from 10 to 45 (coordinator.c). */
const copy_manner tree_manner = {.forgive = forgive,
                                 .file_done = file_done,
                                 .left = left,
                                 .from = 10,
                                 .to = 45,
                                 .fuzzy = true};

/* One thing mounted on one file. */
static bool is_mounted(const entry *e, int fd) {
  return e->t->single == NULL && e->st.st_dev != e->d->from_id.dev &&
         walk_is_mount(fd, e->d);
}

/* The new file; -1 when there is none. */
static int create(const entry *e) {
  copy *c = &e->t->c;
  int to = openat(e->d->to, e->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                  (e->st.st_mode & 0777) | 0600);
  if (to >= 0) return to;
  int number = errno;
  copy_failed(c, number, "cannot create", e->d, e->name, COPY_TARGET);
  if (forgive(c, number, "", COPY_TARGET)) missing(e, LACK_UNREAD, number);
  return -1;
}

/* Open for reading, and still a file; -1 when it is not. */
static int open_source(entry *e) {
  copy *c = &e->t->c;
  int from = copy_open(c, e->d->from, e->name,
                       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  int number = from < 0 || fstat(from, &e->st) != 0 ? errno : 0;
  if (number == 0 && !S_ISREG(e->st.st_mode)) number = ESTALE;
  if (number == 0 && is_mounted(e, from)) {
    if (e->t->held) lack_add(e->t, LACK_MOUNT, e->d, e->name, 0);
    close(from);
    return -1;
  }
  if (number == 0) {
    e->print = seen_print(&e->t->seen, &e->st);
    return from;
  }
  if (from >= 0) close(from);
  if (e->print == 0 && /* nobody has looked at it yet */
      fstatat(e->d->from, e->name, &e->st, AT_SYMLINK_NOFOLLOW) == 0)
    e->print = seen_print(&e->t->seen, &e->st);
  if (number == ENOMEM || number == EMFILE || number == ENFILE)
    copy_failed(c, number, "cannot read", e->d, e->name, COPY_SOURCE);
  else
    missing(e, LACK_UNREAD, number);
  return -1;
}

static void make_regular(entry *e) {
  int from = open_source(e);
  if (from < 0) return;
  link_result link = find_link(e);
  int to = link == LINK_NONE || link == LINK_FIRST ? create(e) : -1;
  if (to >= 0) {
    file_copy(e->w, e->me, e->d, e->name, from, to, &e->st);
    return;
  }
  close(from);
  if (link == LINK_MADE) made(e, true);
}


/* ------------------------------------------------------------------
** Everything else
** ---------------------------------------------------------------- */

/* A symbolic link, a fifo, a socket, a device. */
static void make_special(entry *e) {
  copy *c = &e->t->c;
  link_result link = find_link(e);
  if (link == LINK_MADE) made(e, true);
  if (link == LINK_MADE || link == LINK_FAILED) return;
  int number = 0;
  mode_t kind = e->st.st_mode & S_IFMT;
  bool device = kind == S_IFBLK || kind == S_IFCHR;
  if (kind == S_IFLNK)
    number = make_symlink(e->me, e->d, e->name, e->name);
  else if (mknodat(e->d->to, e->name, kind | 0600,
                   device ? e->st.st_rdev : 0) != 0)
    number = errno;
  if (number != 0) {
    bool gone = kind == S_IFLNK && (is_gone(number) || number == EINVAL);
    if (!gone)
      copy_failed(c, number, "cannot make", e->d, e->name, COPY_TARGET);
    if (gone || forgive(c, number, "", COPY_TARGET))
      missing(e, LACK_SPECIAL, gone ? ESTALE : number);
    return;
  }
  meta m = meta_of(&e->st);
  bool attributes = meta_copy_at(c, e->me, e->d, e->name, e->name, &m);
  if (put_link(e->t, e->d, e->name, &e->st, e->print)) made(e, attributes);
}

void entry_make(crew *w, worker *me, walk_dir *d, const char *name,
                unsigned char type) {
  tree *t = tree_of(w->c);
  entry e = {.t = t, .w = w, .me = me, .d = d, .name = name};
  if (d->to < 0) return;
  e.key = seen_key(&t->seen, d->key, name);
  if (d->fresh && type == DT_REG) { /* there is nothing to compare it with */
    atomic_fetch_add(&t->changed, 1);
    make_regular(&e);
    return;
  }
  if (fstatat(d->from, name, &e.st, AT_SYMLINK_NOFOLLOW) != 0) {
    int number = errno;
    if (entry_clear(w, d, name)) missing(&e, LACK_UNREAD, number);
    return;
  }
  e.print = seen_print(&t->seen, &e.st);
  if (!d->fresh && pass_seen(t, d, name, e.key, e.print)) return;
  if (!entry_clear(w, d, name)) return;
  atomic_fetch_add(&t->changed, 1);
  if (S_ISREG(e.st.st_mode))
    make_regular(&e);
  else if (S_ISDIR(e.st.st_mode))
    missing(&e, LACK_UNREAD, ESTALE);
  else
    make_special(&e);
}
