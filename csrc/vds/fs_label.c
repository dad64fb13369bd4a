/*
** fs_label: another name for a file system: by the kernel where it is mounted,
** by its own program where it is not.
*/
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "vds/fs_parts.h"


static error *run(vds_call *c, vds_target *t, const char *const *argv,
                  const char *package) {
  const vds_tool tool = {
      .argv = argv, .package = package, .lock = -1, .ignore_cancel = true};
  return vds_fs_run(c, t, &tool, NULL);
}


/* *can: whether this kernel can do that with this file system. */
static error *by_kernel(const vds_target *t, int mount, const char *label,
                        bool *can) {
  char text[FSLABEL_MAX] = "";
  snprintf(text, sizeof text, "%s", label);
  *can = true;
  if (ioctl(mount, FS_IOC_SETFSLABEL, text) == 0) return NULL;
  *can = errno != ENOTTY && errno != EOPNOTSUPP;
  return vds_errno(errno, "the label cannot be set while it is mounted",
                   t->path);
}


/* e2label is for mounted ones, too: older kernels leave that to it. */
error *vds_ext4_label(vds_call *c, vds_target *t, int mount,
                      const char *label) {
  bool can = false;
  const char *const argv[] = {"e2label", t->path, label, NULL};
  error *e = mount >= 0 ? by_kernel(t, mount, label, &can) : NULL;
  if (mount >= 0 && (e == NULL || can)) return e;
  error_unref(e);
  return run(c, t, argv, "e2fsprogs");
}


/* Not by xfs_admin: what is in the log would come over it. */
error *vds_xfs_label(vds_call *c, vds_target *t, int mount, const char *label) {
  bool can;
  (void)c;
  return by_kernel(t, mount, label, &can);
}


error *vds_vfat_label(vds_call *c, vds_target *t, int mount,
                      const char *label) {
  const char *const name[] = {"fatlabel", "--", t->path, label, NULL};
  const char *const none[] = {"fatlabel", "-r", "--", t->path, NULL};
  (void)mount;
  return run(c, t, *label != '\0' ? name : none, "dosfstools");
}


error *vds_swap_label(vds_call *c, vds_target *t, int mount,
                      const char *label) {
  const char *const argv[] = {"swaplabel", "-L", label, t->path, NULL};
  (void)mount;
  return run(c, t, argv, "util-linux");
}
