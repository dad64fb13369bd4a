/*
** path_directory: where saros keeps things, made and checked.
**
** The way there is walked one name at a time, each opened relative to the
** directory before it and without following links, and what is checked is
** what was opened: whoever may rename things on the way cannot slip another
** directory in between the check and the use. Links are followed here, by
** hand, when they are root's or our own.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/path.h"

enum {
  MOST_LINKS = 40, /* as the kernel */
  BY_OTHERS = S_IWGRP | S_IWOTH
};

typedef struct walk {
  int at;           /* where we are */
  char *way;        /* what is still before us */
  const char *next; /* where in it */
  unsigned links;   /* followed so far */
  uid_t user;
  bool look;    /* nothing is made */
  bool missing; /* so it is not there */
} walk;


/* ------------------------------------------------------------------
** Which directory
** ---------------------------------------------------------------- */

/* A variable that names a directory; relative ones mean nothing, and a
   program with the rights of another user does not trust them at all. */
static const char *variable(const char *name) {
  const char *text = secure_getenv(name);
  return text != NULL && *text == '/' ? text : NULL;
}


static bool is_there(const char *path) {
  struct stat st;
  return path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}


static char *below(const char *base, path_kind kind) {
  buffer b = BUFFER_EMPTY;
  if (*base != '/') {
    char *cwd = buffer_room(&b, PATH_MAX);
    if (cwd != NULL && getcwd(cwd, PATH_MAX) == NULL) {
      int number = errno; /* freeing must not change it */
      buffer_free(&b);
      errno = number;
      return NULL;
    }
    if (cwd != NULL) b.size = strlen(cwd);
    buffer_byte(&b, '/');
  }
  buffer_text(&b, base);
  buffer_text(&b, kind == PATH_STATE ? "/state" : "/run");
  char *joined = buffer_take(&b);
  char *clean = joined != NULL ? path_clean(joined) : NULL;
  mem_free(joined);
  if (clean == NULL) errno = ENOMEM;
  return clean;
}


/* NULL and errno when it cannot be told. */
static char *choose(path_kind kind, const char *base, uid_t user) {
  if (base != NULL && *base != '\0') return below(base, kind);
  bool state = kind == PATH_STATE;
  const char *root = NULL, *name = "saros";
  char own[64];
  if (user == 0) {
    root = state ? "/var/lib" : "/run";
  } else if (state) {
    root = variable("XDG_STATE_HOME");
    if (root == NULL && is_there(variable("HOME"))) {
      root = variable("HOME");
      name = ".local/state/saros";
    }
  } else if (is_there(variable("XDG_RUNTIME_DIR"))) {
    root = variable("XDG_RUNTIME_DIR"); /* su leaves one that is not there */
  }
  if (root == NULL) {
    snprintf(own, sizeof own, "/tmp/saros-%lu", (unsigned long)user);
    root = own;
    name = state ? "state" : "run";
  }
  char *path = path_join(root, name);
  if (path == NULL) errno = ENOMEM;
  return path;
}


/* ------------------------------------------------------------------
** The way there
** ---------------------------------------------------------------- */

static error *failed(const char *what) {
  return error_of_errno(SAROS_FACADE_SAROS, errno, what, NULL);
}


/* The next name of the way into `name`. False at the end. */
static bool next_name(walk *w, char name[NAME_MAX + 1], size_t *size) {
  const char *start = w->next + strspn(w->next, "/");
  *size = strcspn(start, "/");
  w->next = start + *size;
  if (*size > NAME_MAX) return true; /* the caller refuses it */
  memcpy(name, start, *size);
  name[*size] = '\0';
  return *size > 0;
}


/* Makes a directory where none was. Its mode is what is asked for whatever
   the umask is. -1 and errno. */
static int make(const walk *w, const char *name) {
  mode_t mode = w->user == 0 ? 0755 : 0700;
  if (mkdirat(w->at, name, mode) != 0 && errno != EEXIST) return -1;
  int fd = openat(w->at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != w->user) return fd;
  if ((st.st_mode & 07777) == mode || fchmod(fd, mode) == 0) return fd;
  int number = errno;
  close(fd);
  errno = number;
  return -1;
}


/* Puts what the link says before the rest of the way. */
static error *follow(walk *w, int link, const struct stat *st,
                     const char *name) {
  if (st->st_uid != w->user && st->st_uid != 0)
    return error_make(SAROS_FACADE_SAROS, SAROS_E_REFUSED,
                      "'%s' is a symbolic link of user %lu, who could point "
                      "it anywhere; name another directory",
                      name, (unsigned long)st->st_uid);
  if (++w->links > MOST_LINKS) {
    errno = ELOOP;
    return failed("cannot follow its links");
  }
  buffer b = BUFFER_EMPTY;
  char *target = buffer_room(&b, PATH_MAX);
  if (target == NULL) return error_no_memory();
  ssize_t size = readlinkat(link, "", target, PATH_MAX);
  if (size < 0) {
    error *e = failed("cannot read a link");
    buffer_free(&b);
    return e;
  }
  b.size = (size_t)size;
  buffer_text(&b, w->next); /* which begins with a slash, or is all */
  char *way = buffer_take(&b);
  if (way == NULL) return error_no_memory();
  mem_free(w->way);
  w->way = way;
  w->next = way;
  if (*way != '/') return NULL;
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return failed("cannot open /");
  close(w->at);
  w->at = root;
  return NULL;
}


/* Goes into the directory `fd`. Who may write to it may put something else in
   the place of what lies in it; the sticky bit prevents that. */
static error *enter(walk *w, int fd, const struct stat *st, const char *name) {
  bool last = w->next[strspn(w->next, "/")] == '\0';
  close(w->at);
  w->at = fd;
  if (last || !(st->st_mode & S_IWOTH) || (st->st_mode & S_ISVTX)) return NULL;
  return error_make(SAROS_FACADE_SAROS, SAROS_E_REFUSED,
                    "anybody can write to '%s' (mode %04o) on the way there; "
                    "chmod o-w it, or name another directory",
                    name, (unsigned)(st->st_mode & 07777));
}


static error *step(walk *w, const char *name) {
  int fd = openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    w->missing = w->look;
    if (!w->look) fd = make(w, name);
  }
  if (fd < 0) return failed("cannot make or open the directory");
  struct stat st;
  error *e = NULL;
  if (fstat(fd, &st) != 0) {
    e = failed("cannot look at the directory");
  } else if (S_ISDIR(st.st_mode)) {
    return enter(w, fd, &st, name);
  } else if (S_ISLNK(st.st_mode)) {
    e = follow(w, fd, &st, name);
  } else {
    errno = ENOTDIR;
    e = failed("cannot keep anything there");
  }
  close(fd);
  return e;
}


/* What is at the end of the way: ours, and only ours to write to. */
static error *check(const walk *w) {
  struct stat st;
  if (fstat(w->at, &st) != 0) return failed("cannot look at the directory");
  if (st.st_uid != w->user)
    return error_make(SAROS_FACADE_SAROS, SAROS_E_REFUSED,
                      "the directory belongs to user %lu and not to user %lu, "
                      "who runs this; name another directory",
                      (unsigned long)st.st_uid, (unsigned long)w->user);
  if ((st.st_mode & BY_OTHERS) != 0)
    return error_make(SAROS_FACADE_SAROS, SAROS_E_REFUSED,
                      "other users can write to the directory (mode %04o); "
                      "chmod go-w it, or name another directory",
                      (unsigned)(st.st_mode & 07777));
  return NULL;
}


static error *walk_to(const char *path, uid_t user, bool look, bool *missing) {
  walk w = {.user = user, .way = mem_text(path), .look = look};
  if (w.way == NULL) return error_no_memory();
  w.next = w.way;
  w.at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  error *e = w.at < 0 ? failed("cannot open /") : NULL;
  char name[NAME_MAX + 1];
  size_t size;
  while (e == NULL && next_name(&w, name, &size)) {
    if (size > NAME_MAX) {
      errno = ENAMETOOLONG;
      e = failed("cannot make or open the directory");
    } else {
      e = step(&w, name);
    }
  }
  if (e == NULL) e = check(&w);
  if (w.at >= 0) close(w.at);
  mem_free(w.way);
  *missing = w.missing;
  return e;
}


static char *find(path_kind kind, const char *base, bool look, error **e) {
  uid_t user = geteuid();
  char *path = choose(kind, base, user);
  bool missing = false;
  error *why = path != NULL ? walk_to(path, user, look, &missing)
                            : failed("cannot tell where to keep things");
  if (why == NULL) return path;
  if (missing)
    error_unref(why);
  else
    *e = error_at(why, path);
  mem_free(path);
  return NULL;
}


char *path_directory(path_kind kind, const char *base, error **e) {
  return find(kind, base, false, e);
}


char *path_directory_there(path_kind kind, const char *base, error **e) {
  return find(kind, base, true, e);
}
