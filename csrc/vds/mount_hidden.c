/*
** mount_hidden: a mount that has no place in the tree. Nobody sees it, it ends
** with its descriptor, and so also with the process, however that ends. It is
** what is resized unseen, and what every mount is before it gets its place.
*/
#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/mount.h"

enum { MEMBERS = 64 };


/* ------------------------------------------------------------------
** Which device a mount is of
** ---------------------------------------------------------------- */

static bool is_member(const vds_world *w, dev_t dev, dev_t other) {
  dev_t list[MEMBERS];
  if (other == dev) return true;
  size_t n = vds_world_btrfs(w, dev, list, MEMBERS);
  for (size_t i = 0; i < n; i++)
    if (list[i] == other) return true;
  return false;
}


/* btrfs has numbers of its own: it is asked by which device it was mounted. */
static bool mounted_by(const vds_world *w, uint64_t id, dev_t dev) {
  struct libmnt_table *t = mnt_new_table_from_file("/proc/self/mountinfo");
  struct libmnt_iter *i = mnt_new_iter(MNT_ITER_FORWARD);
  struct libmnt_fs *fs;
  bool is = false;
  while (t != NULL && i != NULL && !is && mnt_table_next_fs(t, i, &fs) == 0) {
    struct stat st;
    const char *source = mnt_fs_get_source(fs);
    is = mnt_fs_get_id(fs) >= 0 && (uint64_t)mnt_fs_get_id(fs) == id &&
         source != NULL && source[0] == '/' && stat(source, &st) == 0 &&
         S_ISBLK(st.st_mode) && is_member(w, dev, st.st_rdev);
  }
  mnt_free_iter(i);
  mnt_unref_table(t);
  return is;
}


bool vds_mount_shows(const vds_world *w, int at, const char *name, dev_t dev) {
  struct statx s = {0};
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
  if (statx(at, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, &s) != 0)
    return false;
  if ((s.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
      (s.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0)
    return false;
  if (makedev(s.stx_dev_major, s.stx_dev_minor) == dev) return true;
  return s.stx_dev_major == 0 && (s.stx_mask & STATX_MNT_ID) != 0 &&
         mounted_by(w, s.stx_mnt_id, dev);
}


/* ------------------------------------------------------------------
** Making one
** ---------------------------------------------------------------- */

/* What is an attribute of the mount, and not of the file system. `set` of the
   opposite is `clear`. */
static const struct {
  const char *name;
  unsigned set, clear;
} attributes[] = {{"suid", 0, MOUNT_ATTR_NOSUID},
                  {"nosuid", MOUNT_ATTR_NOSUID, 0},
                  {"dev", 0, MOUNT_ATTR_NODEV},
                  {"nodev", MOUNT_ATTR_NODEV, 0},
                  {"exec", 0, MOUNT_ATTR_NOEXEC},
                  {"noexec", MOUNT_ATTR_NOEXEC, 0},
                  {"atime", 0, MOUNT_ATTR__ATIME},
                  {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
                  {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
                  {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
                  {"diratime", 0, MOUNT_ATTR_NODIRATIME},
                  {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
                  {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
                  {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
                  {"defaults", 0, 0},
                  {"rw", 0, 0}}; /* read_only says that */


static bool is_attribute(const char *name, size_t size, unsigned *flags) {
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
    if (strlen(attributes[i].name) == size &&
        memcmp(attributes[i].name, name, size) == 0) {
      *flags = (*flags & ~attributes[i].clear) | attributes[i].set;
      return true;
    }
  return false;
}


/* The kernel's own words about it, of which the last ones say most: "" when it
   says nothing. */
static void kernel_said(int context, char *text, size_t room) {
  char line[400];
  ssize_t n;
  text[0] = '\0';
  while ((n = read(context, line, sizeof line - 1)) > 0) {
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    const char *words = n > 2 && line[1] == ' ' ? line + 2 : line;
    snprintf(text, room, ": %s", words);
  }
}


static error *bad_option(int context, int number, const char *name) {
  char words[500];
  kernel_said(context, words, sizeof words);
  return vds_error(SAROS_E_INVALIDARG,
                   "the option '%s' is none of this file system (%s%s)", name,
                   strerror(number), words);
}


static error *set_one(int context, const char *name, const char *text) {
  int r = text != NULL ? fsconfig(context, FSCONFIG_SET_STRING, name, text, 0)
                       : fsconfig(context, FSCONFIG_SET_FLAG, name, NULL, 0);
  return r == 0 ? NULL : bad_option(context, errno, name);
}


static error *set_options(int context, const char *options, unsigned *flags) {
  char *copy = mem_text(options), *rest = copy, *name, *text;
  size_t name_size, text_size;
  error *e = copy == NULL ? error_no_memory() : NULL;
  int r = 1;
  while (e == NULL && (r = mnt_optstr_next_option(&rest, &name, &name_size,
                                                  &text, &text_size)) == 0) {
    if (text == NULL && is_attribute(name, name_size, flags)) continue;
    name[name_size] = '\0'; /* `rest` is behind that */
    if (text != NULL) text[text_size] = '\0';
    e = set_one(context, name, text);
  }
  mem_free(copy);
  if (e == NULL && r < 0)
    e = vds_error(SAROS_E_INVALIDARG, "the options cannot be read: '%s'",
                  options);
  return e;
}


static error *cannot_mount(int context, int number, const vds_target *t,
                           const char *fs, bool options) {
  char words[500];
  kernel_said(context, words, sizeof words);
  switch (number) {
    case EBUSY:
      return vds_error(VDS_E_DEVICE_IN_USE,
                       "%s cannot be mounted so: somebody has it mounted in "
                       "another way, or open for himself alone%s",
                       t->path, words);
    case EINVAL:
      if (options)
        return vds_error(SAROS_E_INVALIDARG,
                         "the kernel does not mount %s with these options%s",
                         t->path, words);
      break;
    case EUCLEAN:
    case EBADMSG:
    case ENOENT: break;
    default: return vds_errno(number, "it cannot be mounted", t->path);
  }
  return vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                   "%s cannot be mounted: its %s is damaged, or not of a kind "
                   "that this kernel knows (%s%s); check it first",
                   t->path, fs, strerror(number), words);
}


static error *none_such(const char *fs) {
  int number = errno;
  if (number == ENODEV)
    return vds_error(VDS_E_INCOMPATIBLE_FILE_SYSTEM,
                     "the kernel of this machine has no %s", fs);
  if (number == ENOSYS)
    return vds_error(VDS_E_NOT_SUPPORTED,
                     "the kernel of this machine cannot mount without a place "
                     "(Linux 5.2 can)");
  return vds_errno(number, "no mount can be made", NULL);
}


/* Kernels differ in what they call the same. */
static const struct {
  const char *name, *other;
} aliases[] = {{"ext2", "ext4"}, {"ext3", "ext4"}, {"ntfs", "ntfs3"}};


static int open_context(const char *fs) {
  int context = fsopen(fs, FSOPEN_CLOEXEC);
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
    if (context < 0 && errno == ENODEV && strcmp(aliases[i].name, fs) == 0)
      context = fsopen(aliases[i].other, FSOPEN_CLOEXEC);
  return context;
}


static error *configure(int context, const vds_target *t, const char *fs,
                        const char *options, bool read_only, unsigned *flags) {
  error *e = set_one(context, "source", t->path);
  if (e == NULL && read_only) e = set_one(context, "ro", NULL);
  if (e == NULL && options != NULL) e = set_options(context, options, flags);
  if (e == NULL && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
    e = cannot_mount(context, errno, t, fs,
                     options != NULL && options[0] != '\0');
  return e;
}


/* The node's name was looked up once more by the kernel: what it found there
   must be the device that is open. */
static error *same_device(int mount, const vds_target *t) {
  struct stat st;
  vds_identity is;
  vds_about *a = NULL;
  error *e = NULL;
  if (fstat(mount, &st) != 0)
    return vds_errno(errno, "the new mount cannot be looked at", t->path);
  if (major(st.st_dev) != 0 && st.st_dev != t->is.dev)
    return vds_error(VDS_E_OBJECT_OUT_OF_SYNC, "%s was replaced just now",
                     t->path);
  a = vds_about_new(t->is.dev, &e);
  if (e == NULL) vds_identity_of(a, &is);
  if (e == NULL && !vds_identity_same(&t->is, &is))
    e = vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                  "%s is another one by now; list the disks again", t->path);
  mem_free(a);
  return e;
}


error *vds_mount_make(const vds_target *t, const char *fs, const char *options,
                      bool read_only, int *mount) {
  unsigned flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                   (read_only ? MOUNT_ATTR_RDONLY : 0u);
  *mount = -1;
  int context = open_context(fs);
  if (context < 0) return none_such(fs);
  error *e = configure(context, t, fs, options, read_only, &flags);
  if (e == NULL) {
    *mount = fsmount(context, FSMOUNT_CLOEXEC, flags);
    if (*mount < 0) e = cannot_mount(context, errno, t, fs, false);
  }
  close(context);
  if (e == NULL) e = same_device(*mount, t);
  if (e != NULL && *mount >= 0) {
    close(*mount);
    *mount = -1;
  }
  return e;
}


/* ------------------------------------------------------------------
** An open directory
** ---------------------------------------------------------------- */

/* The one that was made last is what is seen at its place. */
int vds_mount_visible(const vds_world *w, dev_t dev) {
  vds_holders h = vds_holders_of(w, dev);
  int fd = -1;
  for (size_t i = h.count; fd < 0 && i-- > 0;) {
    struct statvfs v;
    if (h.items[i].kind != VDS_HOLD_MOUNT) continue;
    fd = open(h.items[i].who,
              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    if (vds_mount_shows(w, fd, "", dev) && fstatvfs(fd, &v) == 0 &&
        (v.f_flag & ST_RDONLY) == 0)
      continue;
    close(fd);
    fd = -1;
  }
  vds_holders_free(&h);
  return fd;
}


/* An open directory keeps a mount alive, wherever it is. */
static error *of_hidden(const vds_target *t, const char *fs, int *directory) {
  int mount = -1;
  error *e = vds_mount_make(t, fs, NULL, false, &mount);
  if (e != NULL) return e;
  *directory = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*directory < 0)
    e = vds_errno(errno, "the hidden mount cannot be opened", t->path);
  close(mount);
  return e;
}


error *vds_mount_hidden(const vds_target *t, const char *fs, int *directory) {
  vds_world *world = NULL;
  *directory = -1;
  error *e = vds_world_read(&world);
  if (e != NULL) return e;
  *directory = vds_mount_visible(world, t->is.dev);
  vds_world_free(world);
  return *directory >= 0 ? NULL : of_hidden(t, fs, directory);
}
