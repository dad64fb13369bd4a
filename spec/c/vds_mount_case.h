/*
** What the suites about mounts share: a virtual disk with a file system on it,
** attached by us.
*/
#ifndef SAROS_SPEC_VDS_MOUNT_CASE_H
#define SAROS_SPEC_VDS_MOUNT_CASE_H

#include "vds/mount.h"
#include "vds_case.h"

/* A virtual disk with a file system on it, attached by us; its object. */
static const char *disk_path; /* of its file */
static char node[80];
static vds_identity who;
static char object[400]; /* what a call takes for it */

static inline void identify(answer *a) {
  CHECK_INT(a->code, 0);
  CHECK(vds_identity_get(a->output, &who));
  snprintf(node, sizeof node, "%s", text_of(a->output, "path"));
  snprintf(object, sizeof object,
           "{'major':%u,'minor':%u,'disk_major':%u,'disk_minor':%u,'seq':%llu,"
           "'size':%llu,'number':0}",
           major(who.dev), minor(who.dev), major(who.dev), minor(who.dev),
           (unsigned long long)who.seq, (unsigned long long)who.size);
  forget(a);
}

static inline bool new_disk(const char *fs, unsigned megabytes) {
  const char *path = make_image(megabytes);
  if (volumes_run("mkfs.%s -q %s '%s' >/dev/null 2>&1", fs,
                  strncmp(fs, "ext", 3) == 0 ? "-F" : "-f", path) != 0)
    return false;
  answer a = ask("attach", "{'path':'%s'}", path);
  disk_path = path;
  identify(&a);
  return true;
}

static inline void end_disk(void) {
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", disk_path), 0);
}

/* Whether anything is mounted from the device, in our table. */
static inline bool is_mounted(void) {
  vds_world *w = NULL;
  error *e = vds_world_read(&w);
  CHECK(e == NULL);
  vds_holders h = vds_holders_of(w, who.dev);
  bool is = false;
  for (size_t i = 0; i < h.count; i++)
    if (h.items[i].kind == VDS_HOLD_MOUNT) is = true;
  vds_holders_free(&h);
  vds_world_free(w);
  return is;
}

/* Whether the kernel lets somebody have the device for himself. */
static inline bool is_free(void) {
  int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

#define NEED_EXT4() \
  NEED_MOUNTS();    \
  if (!new_disk("ext4", 16)) SKIP("needs mkfs.ext4: e2fsprogs")

#endif
