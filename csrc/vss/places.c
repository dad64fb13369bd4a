/*
** places: the directories that a session keeps things in, made and checked.
** state/shadows has the records, and is nobody else's to look into;
** runtime/writers has sockets.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/record_parts.h"

/* As they are allocated: the count is nobody else's business. */
typedef struct counted_places {
  places p; /* first: places are their counted_places */
  atomic_uint references;
} counted_places;


/* A directory that must be ours refused: to a requester that is one thing,
   whatever the reason is. */
static error *refused(error *why) {
  if (why->code != SAROS_E_REFUSED) return why;
  error *e =
      error_at(vss_error(SAROS_E_ACCESSDENIED, "%s", why->message), why->path);
  return error_because(e, why);
}


static error *check(int fd, const char *path) {
  struct stat st;
  if (fstat(fd, &st) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot look at it", path);
  if (st.st_uid != geteuid())
    return error_at(
        vss_error(SAROS_E_ACCESSDENIED,
                  "'%s' belongs to user %lu and not to user %lu, "
                  "who runs this; name another state directory",
                  path, (unsigned long)st.st_uid, (unsigned long)geteuid()),
        path);
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return error_at(vss_error(SAROS_E_ACCESSDENIED,
                              "other users can write to '%s' (mode %04o); "
                              "chmod go-w it, or name another state directory",
                              path, (unsigned)(st.st_mode & 07777)),
                    path);
  return NULL;
}


/* A directory of ours in a directory that is known to be. Links are not
   followed: there is no reason for one. */
static error *make_inside(const char *parent, const char *name, mode_t mode,
                          char **made) {
  error *e = NULL;
  char *path = path_join(parent, name);
  if (path == NULL) return error_no_memory();
  int there = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (there < 0 && errno == ENOENT) {
    if (mkdir(path, mode) != 0 && errno != EEXIST)
      e = error_of_errno(SAROS_FACADE_VSS, errno, "cannot make the directory",
                         path);
    if (e == NULL)
      there = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* The umask may have taken something that others need. */
    if (there >= 0 && mode != 0700 && fchmod(there, mode) != 0)
      e = error_of_errno(SAROS_FACADE_VSS, errno, "cannot set its mode", path);
  }
  struct stat st;
  if (e == NULL && there < 0) {
    int number = errno;
    if ((number == ENOTDIR || number == ELOOP) && lstat(path, &st) == 0)
      e = error_at(
          vss_error(SAROS_E_ACCESSDENIED,
                    "'%s' is %s and not a directory; remove it, or "
                    "name another state directory",
                    path,
                    S_ISLNK(st.st_mode) ? "a symbolic link" : "something else"),
          path);
    else
      e = error_of_errno(SAROS_FACADE_VSS, number, "cannot open the directory",
                         path);
  }
  if (e == NULL) e = check(there, path);
  if (there >= 0) close(there);
  if (e == NULL && made != NULL)
    *made = path;
  else
    mem_free(path);
  return e;
}


places *places_open(const char *state_dir, error **e) {
  error *why = NULL;
  counted_places *c = mem_zero(sizeof *c);
  if (c == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  atomic_init(&c->references, 1);
  places *p = &c->p;
  p->state = path_directory(PATH_STATE, state_dir, &why);
  if (p->state != NULL)
    p->runtime = path_directory(PATH_RUNTIME, state_dir, &why);
  if (why == NULL) why = make_inside(p->state, "shadows", 0700, NULL);
  if (why == NULL)
    why = make_inside(p->runtime, "writers", geteuid() == 0 ? 0755 : 0700,
                      &p->writers);
  if (why == NULL) return p;
  *e = refused(why);
  places_unref(p);
  return NULL;
}


places *places_ref(places *p) {
  if (p != NULL) atomic_fetch_add(&((counted_places *)p)->references, 1);
  return p;
}


void places_unref(places *p) {
  counted_places *c = (counted_places *)p;
  if (p == NULL || atomic_fetch_sub(&c->references, 1) > 1) return;
  mem_free(p->state);
  mem_free(p->runtime);
  mem_free(p->writers);
  mem_free(c);
}


int places_shadows(const places *p, error **e) {
  char *path = path_join(p->state, "shadows");
  if (path == NULL) {
    *e = error_no_memory();
    return -1;
  }
  int fd = fd_own(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd < 0)
    *e = error_of_errno(SAROS_FACADE_VSS, errno,
                        "cannot open the directory of the records", path);
  mem_free(path);
  return fd;
}
