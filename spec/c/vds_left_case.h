/*
** What the suites about what dead owners left share: a child that stands still
** in the middle until it is told to go on, and files that cannot be had for a
** while.
*/
#ifndef SAROS_SPEC_VDS_LEFT_CASE_H
#define SAROS_SPEC_VDS_LEFT_CASE_H

#include "vds_case.h"

/* ------------------------------------------------------------------
** A child between two of its steps
** ---------------------------------------------------------------- */

typedef struct halfway {
  pid_t child;
  int there, on; /* pipes: it has come so far, and may go on */
} halfway;

static int halfway_there, halfway_on;
static const char *halfway_at;

/* Then it lives on, or dies behind another step. */
static inline void halfway_hook(const char *step) {
  char byte = 'x';
  if (halfway_at != NULL && strcmp(step, halfway_at) == 0) {
    halfway_at = NULL;
    if (write(halfway_there, &byte, 1) != 1 || read(halfway_on, &byte, 1) != 1)
      _exit(3);
  }
  if (dies_behind != NULL) die_hook(step);
}

/* In the child 0 is returned, and it does its work then. */
static inline halfway halfway_to(const char *step, const char *dies) {
  int there[2], on[2];
  char byte;
  CHECK(pipe2(there, O_CLOEXEC) == 0 && pipe2(on, O_CLOEXEC) == 0);
  halfway h = {fork_at_rest(), there[0], on[1]};
  if (h.child == 0) {
    close(there[0]);
    close(on[1]);
    halfway_there = there[1];
    halfway_on = on[0];
    halfway_at = step;
    dies_behind = dies;
    atomic_store(&vds_hook, halfway_hook);
    return h;
  }
  close(there[1]);
  close(on[0]);
  CHECK_INT(read(h.there, &byte, 1), 1);
  return h;
}

/* It goes on, and is over. */
static inline void halfway_end(halfway *h, bool dies) {
  int status = 0;
  CHECK_INT(write(h->on, "x", 1), 1);
  while (waitpid(h->child, &status, 0) < 0 && errno == EINTR) continue;
  CHECK(dies ? WIFSIGNALED(status) : status == 0);
  close(h->there);
  close(h->on);
}


/* ------------------------------------------------------------------
** A file that is not to be had, and not gone
** ---------------------------------------------------------------- */

enum { HIDDEN_WAYS = 3 };

/* An image in a directory of its own. */
static inline const char *image_below(const char *dir, unsigned megabytes) {
  const char *image = make_image(megabytes), *path = NULL;
  char name[80];
  mkdir(place(dir), 0700);
  snprintf(name, sizeof name, "%s/it.img", dir);
  path = place(name);
  CHECK_INT(rename(image, path), 0);
  return path;
}

/* Its directory is not there; it is a mount point without its file system; the
   file system takes no write. */
static inline void hide(const char *dir, int way) {
  char away[400];
  const char *path = place(dir);
  snprintf(away, sizeof away, "%s.away", path);
  if (way == 0) CHECK_INT(rename(path, away), 0);
  if (way == 1) CHECK_INT(mount("over", path, "tmpfs", 0, "size=1m"), 0);
  if (way == 2) {
    CHECK_INT(mount(path, path, "none", MS_BIND, NULL), 0);
    CHECK_INT(
        mount("none", path, "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
  }
}

static inline void show(const char *dir, int way) {
  char away[400];
  const char *path = place(dir);
  snprintf(away, sizeof away, "%s.away", path);
  CHECK_INT(way == 0 ? rename(away, path) : umount2(path, 0), 0);
}

#endif
