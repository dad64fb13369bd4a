/*
** What the tests of the provider `image` share: a file system in an image, on
** XFS and on btrfs, and whether anything is left of a shadow of it.
*/
#ifndef SAROS_IMAGE_CASE_H
#define SAROS_IMAGE_CASE_H

#include <sys/statvfs.h>

#include "shadow_case.h"
#include "vss/disks.h"
#include "vss/provider/image_parts.h"

#define P(...) (snprintf(path, sizeof path, __VA_ARGS__), path)

static const volumes_kind kinds[] = {EXT4_ON_XFS, EXT4_ON_BTRFS};
#define KINDS 2

static const volume *disk;
static char outer[300]; /* what the image lies on */
static int loops_before;

/* The file system that the tests below work on, with a file. */
static inline bool begin_on(int i) {
  char path[900];
  disk = volumes_get(kinds[i]);
  if (disk == NULL) return false;
  snprintf(outer, sizeof outer, "%s",
           volumes_get(kinds[i] == EXT4_ON_XFS ? XFS : BTRFS)->path);
  loops_before = volumes_loops(false);
  case_put(P("%s/file", disk->path), "as it was");
  mkdir(P("%s/dir", disk->path), 0755);
  case_put(P("%s/dir/inner", disk->path), "as it was inside");
  return true;
}

static inline bool begin(void) {
  return begin_on(0);
}

/* Nothing is left of any shadow. */
static inline void nothing_left(void) {
  char path[900], line[5000];
  CHECK_INT(volumes_loops(false), loops_before);
  CHECK_INT(case_entries(P("%s/.saros-shadows", outer)), -1);
  FILE *f = fopen("/proc/self/mounts", "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    CHECK(strstr(line, ".saros-shadows") == NULL);
  if (f != NULL) fclose(f);
}

static inline const char *image_of(const shadow *s) {
  static char path[900];
  return P("%s/" IMAGE_CLONE, s->place);
}

static inline dev_t device_of(const char *node) {
  struct stat st;
  return stat(node, &st) == 0 ? st.st_rdev : 0;
}

#endif
