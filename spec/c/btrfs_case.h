/*
** What the tests of the btrfs provider share: a fresh subvolume for each, on a
** real file system, and what may be there before and after.
*/
#ifndef SAROS_BTRFS_CASE_H
#define SAROS_BTRFS_CASE_H

#include <linux/btrfs.h>

#include "shadow_case.h"
#include "vss/provider/btrfs_parts.h"

#define P(...) (snprintf(path, sizeof path, __VA_ARGS__), path)

static const volume *disk;
static char top[300];  /* where it is mounted */
static char home[400]; /* a subvolume of it */

static inline bool subvolume(const char *path) {
  struct btrfs_ioctl_vol_args args = {0};
  char parent[900];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  *slash = 0;
  snprintf(args.name, sizeof args.name, "%s", slash + 1);
  int fd = open(parent, O_RDONLY | O_CLOEXEC);
  bool good = ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, &args) >= 0;
  close(fd);
  return good;
}

static inline bool unsubvolume(const char *path) {
  return volumes_run("btrfs -q subvolume delete '%s' >/dev/null", path) == 0;
}

static inline bool begins(const char *text, const char *with) {
  return strncmp(text, with, strlen(with)) == 0;
}

/* How many subvolumes there are in all. */
static inline int subvolumes(void) {
  return volumes_run("exit $(btrfs subvolume list '%s' | wc -l)", top);
}

/* A fresh one for each test, with a file. */
static inline bool begin(void) {
  char path[900];
  disk = volumes_get(BTRFS);
  if (disk == NULL) return false;
  if (!volumes_have("btrfs")) {
    volumes_missing = "needs the program btrfs";
    return false;
  }
  snprintf(top, sizeof top, "%s", disk->path);
  snprintf(home, sizeof home, "%s/home", top);
  CHECK_INT(subvolumes(), 0);
  CHECK(subvolume(home));
  case_put(P("%s/file", home), "as it was");
  mkdir(P("%s/dir", home), 0755);
  case_put(P("%s/dir/inner", home), "as it was inside");
  return true;
}

static inline void end(void) {
  CHECK(unsubvolume(home));
  CHECK_INT(subvolumes(), 0);
  CHECK_INT(case_entries(top), 0);
}

static inline error *probe(const char *path) {
  error *e = NULL;
  origin *from = origin_find(path, &e);
  if (from != NULL) e = provider_btrfs.probe(from);
  origin_free(from);
  return e;
}

#endif
