/*
** place: directories of our own for what providers make.
*/
#include "vss/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifdef SAROS_TEST
#include <signal.h>
#endif

#include "vss/xfs.h"

enum { TRIES = 10 };

#ifdef SAROS_TEST
_Atomic int provider_dies_at;

void provider_step(void) {
  if (provider_dies_at > 0 && --provider_dies_at == 0) kill(getpid(), SIGKILL);
}
#endif


/* ------------------------------------------------------------------
** Paths and files in keep
** ---------------------------------------------------------------- */

/* JSON has no bytes that are not UTF-8: such a path goes as base64 beside. */
bool keep_put_path(value *keep, const char *name, const char *path) {
  size_t size = strlen(path);
  if (!value_put(keep, name, value_string(path, size))) return false;
  if (text_is_utf8(path, size)) return true;
  buffer key = BUFFER_EMPTY, bytes = BUFFER_EMPTY;
  buffer_format(&key, "%s_b64", name);
  text_base64(&bytes, path, size);
  bool good = !key.failed && !bytes.failed &&
              value_put(keep, key.data, value_string(bytes.data, bytes.size));
  buffer_free(&key);
  buffer_free(&bytes);
  return good;
}


error *keep_path(const value *keep, const char *name, char **path) {
  buffer key = BUFFER_EMPTY, bytes = BUFFER_EMPTY;
  buffer_format(&key, "%s_b64", name);
  if (key.failed) return error_no_memory();
  const char *coded = value_chars(value_get(keep, key.data), NULL);
  const char *plain = value_chars(value_get(keep, name), NULL);
  buffer_free(&key);
  bool good = true;
  if (coded != NULL)
    good = text_unbase64(&bytes, coded, strlen(coded));
  else if (plain != NULL)
    buffer_text(&bytes, plain);
  bool absolute = good && bytes.size > 0 && bytes.data[0] == '/';
  bool failed = bytes.failed;
  *path = absolute ? buffer_take(&bytes) : NULL;
  buffer_free(&bytes);
  if (*path != NULL) return NULL;
  if (failed || absolute) return error_no_memory();
  return vss_error(SAROS_E_DAMAGED,
                   "the record of the shadow copy has no path \"%s\": it is "
                   "not whole, or not one of this provider",
                   name);
}


error *keep_path_in(const value *keep, const char *name, const char *file,
                    char **path) {
  char *directory = NULL;
  error *e = keep_path(keep, name, &directory);
  *path = NULL;
  if (e != NULL || directory == NULL) return e;
  *path = path_join(directory, file);
  mem_free(directory);
  return *path != NULL ? NULL : error_no_memory();
}


/* Its number, and when it was born, because numbers are used again. Without
   the device: that has another number after the next start. */
static bool describe_file(int fd, char text[80]) {
  struct statx sx;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &sx) != 0)
    return false;
  bool born = (sx.stx_mask & STATX_BTIME) != 0;
  snprintf(text, 80, "%llu@%lld.%09u", (unsigned long long)sx.stx_ino,
           born ? (long long)sx.stx_btime.tv_sec : 0,
           born ? sx.stx_btime.tv_nsec : 0);
  return true;
}


bool keep_put_file(value *keep, const char *name, int fd) {
  char text[80];
  return describe_file(fd, text) && value_put(keep, name, value_text(text));
}


bool keep_is_file(const value *keep, const char *name, int fd) {
  char text[80];
  const char *kept = value_chars(value_get(keep, name), NULL);
  return kept != NULL && describe_file(fd, text) && strcmp(kept, text) == 0;
}


/* ------------------------------------------------------------------
** Which file system
** ---------------------------------------------------------------- */

/* The id that its maker gave it, which no mount changes. "" when it has
   none that we know how to ask for: then nothing is compared. */
static void file_system_id(int fd, char text[GUID_TEXT]) {
  struct btrfs_ioctl_fs_info_args info = {0};
  struct xfs_geometry geometry = {0};
  guid id;
  text[0] = '\0';
  if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) >= 0) {
    memcpy(id.bytes, info.fsid, sizeof id.bytes);
  } else if (ioctl(fd, XFS_GEOMETRY, &geometry) == 0) {
    memcpy(id.bytes, geometry.uuid, sizeof id.bytes);
  } else {
    return;
  }
  guid_format(&id, text);
}


static int open_directory(const char *path) {
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}


/* The nearest directory above that exists. */
static int open_above(const char *path) {
  char *at = mem_text(path);
  int fd = -1;
  errno = ENOMEM;
  while (at != NULL && (fd = open_directory(at)) < 0 &&
         (errno == ENOENT || errno == ENOTDIR) && strcmp(at, "/") != 0) {
    char *parent = path_parent(at);
    mem_free(at);
    at = parent;
    errno = ENOMEM;
  }
  int failed = errno;
  mem_free(at);
  errno = failed;
  return fd;
}


static error *wrong_file_system(const char *path) {
  return error_at(
      vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR,
                "the file system of the shadow copy in %s is not mounted "
                "there now; mount it and try again",
                path),
      path);
}


/* ------------------------------------------------------------------
** The place
** ---------------------------------------------------------------- */

char *place_below(const char *directory) {
  char name[40] = ".saros-shadows";
  if (geteuid() != 0)
    snprintf(name, sizeof name, ".saros-shadows-%u", (unsigned)geteuid());
  return path_join(directory, name);
}


error *place_plan(shadow *s, const char *sample) {
  char id[GUID_TEXT];
  if (s->place == NULL)
    return vss_error(SAROS_E_UNEXPECTED, "the shadow copy has no place yet");
  int fd = open_directory(sample);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the directory for shadow copies cannot be opened",
                          sample);
  file_system_id(fd, id);
  close(fd);
  if (value_put(s->keep, "file_system", value_text(id)) &&
      keep_put_path(s->keep, "place", s->place))
    return NULL;
  return error_no_memory();
}


bool place_planned(const value *keep) {
  return value_get(keep, "place") != NULL;
}


static int create_subvolume(int above, const char *name) {
  struct btrfs_ioctl_vol_args args = {0};
  snprintf(args.name, sizeof args.name, "%s", name);
  return ioctl(above, BTRFS_IOC_SUBVOL_CREATE, &args) < 0 ? -1 : 0;
}


static error *no_parent(const char *path, int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "no directory for shadow copies can be made", path);
}


/* Another user who was there first could swap what we make under our hands. */
static error *check_parent(int fd, const char *path) {
  struct stat st;
  if (fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
      ((st.st_mode & 077) == 0 || fchmod(fd, 0700) == 0))
    return NULL;
  return error_at(vss_error(SAROS_E_REFUSED,
                            "%s belongs to somebody else (user %u), who could "
                            "swap shadow copies made there; move it away",
                            path, (unsigned)st.st_uid),
                  path);
}


/* Opens <path>, made when it is missing. */
static error *open_parent(const char *path, bool subvolume, int *fd) {
  char *above = path_parent(path);
  size_t length;
  int dir = above != NULL ? open_directory(above) : -1;
  int failed = above == NULL ? ENOMEM : errno;
  mem_free(above);
  if (dir < 0) return no_parent(path, failed);
  const char *name = path_base(path, &length);
  int r = subvolume ? create_subvolume(dir, name) : -1;
  if (r != 0 && (!subvolume || errno == ENOTTY || errno == EPERM))
    r = mkdirat(dir, name, 0700);
  failed = r != 0 ? errno : 0;
  *fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (*fd >= 0) failed = 0;
  close(dir);
  if (failed != 0) return no_parent(path, failed);
  error *e = check_parent(*fd, path);
  if (e == NULL) return NULL;
  close(*fd);
  *fd = -1;
  return e;
}


error *place_look(const shadow *s) {
  char *parent = path_parent(s->place);
  if (parent == NULL) return error_no_memory();
  error *e = NULL;
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0)
    e = check_parent(fd, parent);
  else if (errno != ENOENT)
    e = no_parent(parent, errno);
  if (fd >= 0) close(fd);
  mem_free(parent);
  return e;
}


/* Somebody's last shadow may take the parent away while we make ours. */
error *place_make(const shadow *s, bool subvolume, int *fd) {
  size_t length;
  const char *name = path_base(s->place, &length);
  char *parent = path_parent(s->place);
  error *e = NULL;
  int failed = ENOMEM;
  *fd = -1;
  for (int i = 0; parent != NULL && *fd < 0 && e == NULL && i < TRIES; i++) {
    int above = -1;
    e = open_parent(parent, subvolume, &above);
    if (e != NULL) break;
    provider_step();
    failed = mkdirat(above, name, 0700) == 0 ? 0 : errno;
    if (failed == 0) {
      *fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (*fd < 0) failed = errno;
    }
    close(above);
    if (failed != ENOENT && failed != 0) break;
  }
  mem_free(parent);
  if (e == NULL && *fd < 0) {
    e = failed == ENOMEM
            ? error_no_memory()
            : error_of_errno(SAROS_FACADE_VSS, failed,
                             "no directory for the shadow copy can be made",
                             s->place);
  }
  provider_step();
  return e;
}


error *place_open(const value *keep, int *fd) {
  char *path = NULL, id[GUID_TEXT];
  const char *wanted = value_chars(value_get(keep, "file_system"), "");
  error *e = keep_path(keep, "place", &path);
  *fd = -1;
  if (e != NULL || path == NULL) return e;
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  bool there = dir >= 0;
  if (!there && errno == ENOENT) dir = open_above(path);
  if (dir < 0) {
    e = error_of_errno(SAROS_FACADE_VSS, errno,
                       "the directory of the shadow copy cannot be opened",
                       path);
  } else {
    file_system_id(dir, id);
    if (strcmp(id, wanted) != 0) e = wrong_file_system(path);
  }
  if (there && e == NULL)
    *fd = dir;
  else if (dir >= 0)
    close(dir);
  mem_free(path);
  return e;
}


error *place_check(const value *keep, int fd) {
  struct stat st;
  char *path = NULL;
  if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
      (st.st_mode & 077) == 0)
    return NULL;
  error *e = keep_path(keep, "place", &path);
  if (path == NULL) return e;
  if (fd < 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "the shadow copy in %s is not there any more; delete it, and "
                  "make another",
                  path);
  else
    e = vss_error(SAROS_E_REFUSED,
                  "%s is not a directory of ours alone, as it was made, so "
                  "what lies in it was left alone; look at it and take it away",
                  path);
  e = error_at(e, path);
  mem_free(path);
  return e;
}


error *place_remove(const value *keep) {
  char *path = NULL;
  error *e = keep_path(keep, "place", &path);
  if (e != NULL || path == NULL) return e;
  if (rmdir(path) != 0 && errno != ENOENT) {
    bool full = errno == ENOTEMPTY || errno == EEXIST;
    e = full ? error_at(vss_error(SAROS_E_REFUSED,
                                  "%s holds something that no shadow copy put "
                                  "there; look at it and take it away",
                                  path),
                        path)
             : error_of_errno(SAROS_FACADE_VSS, errno,
                              "the directory of the shadow copy cannot be "
                              "removed",
                              path);
  }
  char *parent = e == NULL ? path_parent(path) : NULL;
  if (parent != NULL) rmdir(parent); /* when this was the last one in it */
  provider_step();
  mem_free(parent);
  /* Else a crash could bring back what no record names any more. */
  int fd = e == NULL ? open_above(path) : -1;
  if (fd >= 0) {
    syncfs(fd);
    close(fd);
  }
  mem_free(path);
  return e;
}


/* ------------------------------------------------------------------
** Open files, for mount(2)
** ---------------------------------------------------------------- */

const char *fd_name(int fd, char name[40]) {
  snprintf(name, 40, "/proc/self/fd/%d", fd);
  return name;
}


bool fd_is_mount(int fd) {
  struct statx sx;
  return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_INO, &sx) == 0 &&
         (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}


/* ------------------------------------------------------------------
** Capabilities
** ---------------------------------------------------------------- */

bool has_capability(unsigned capability) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32) & 1u) != 0;
}
