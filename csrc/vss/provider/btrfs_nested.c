/*
** provider btrfs: the subvolumes that a snapshot leaves out.
**
** In a snapshot a nested subvolume is an empty directory. Who only finds that
** out when he restores has no backup of it; so each is named when the snapshot
** is made. The calls need no privilege, but the right to read the way.
*/
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vss/place.h"
#include "vss/provider/btrfs_parts.h"

/* Allocated: "<subvolume>/<way>/<name>". NULL: it cannot be seen, or no
   memory. */
static char *nested_path(const shadow *s, int source, uint64_t id,
                         uint64_t directory) {
  struct btrfs_ioctl_ino_lookup_user_args *args = mem_zero(sizeof *args);
  if (args == NULL) return NULL;
  args->dirid = directory;
  args->treeid = id;
  char *path = NULL;
  if (ioctl(source, BTRFS_IOC_INO_LOOKUP_USER, args) >= 0) {
    buffer text = BUFFER_EMPTY;
    /* The way ends with a slash, or is empty. */
    buffer_format(
        &text, "%s/%s%s",
        strcmp(s->from->subvolume, "/") == 0 ? "" : s->from->subvolume,
        args->path, args->name);
    path = buffer_take(&text);
  }
  mem_free(args);
  return path;
}


static error *warn_of(shadow *s, int source, uint64_t id, uint64_t directory) {
  char *path = nested_path(s, source, id, directory);
  bool good = true;
  if (path == NULL) {
    good = shadow_warn(s,
                       "nested subvolume %llu, which may not be looked at, is "
                       "not in the shadow",
                       (unsigned long long)id);
  } else {
    char *parent = path_parent(s->place);
    char *below = *s->from->within == '\0'
                      ? mem_text(s->from->subvolume)
                      : path_join(s->from->subvolume, s->from->within);
    good = parent != NULL && below != NULL;
    /* Our own is meant to be left out; and what is not below the path is
       nothing that was asked for. */
    if (good && strcmp(path, parent) != 0 && path_within(path, below))
      good = shadow_warn(s, "nested subvolume %s is not in the shadow", path);
    mem_free(parent);
    mem_free(below);
  }
  mem_free(path);
  return good ? NULL : error_no_memory();
}


error *btrfs_warn_nested(shadow *s, int source) {
  struct btrfs_ioctl_get_subvol_rootref_args *args = mem_zero(sizeof *args);
  error *e = NULL;
  bool more = args != NULL;
  if (args == NULL) return error_no_memory();
  while (more && e == NULL) {
    /* EOVERFLOW: these, and there are more. */
    int r = ioctl(source, BTRFS_IOC_GET_SUBVOL_ROOTREF, args);
    more = r < 0 && errno == EOVERFLOW;
    if (r < 0 && !more) {
      if (!shadow_warn(s,
                       "it cannot be told whether %s has nested subvolumes "
                       "(%s); they would not be in the shadow",
                       s->from->subvolume, strerror(errno)))
        e = error_no_memory();
      break;
    }
    for (unsigned i = 0; e == NULL && i < args->num_items; i++)
      e = warn_of(s, source, args->rootref[i].treeid, args->rootref[i].dirid);
  }
  mem_free(args);
  return e;
}
