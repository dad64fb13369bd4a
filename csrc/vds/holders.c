/*
** holders: the mount table and the swaps, read once with libmount, and /sys.
*/
#include "vds/holders.h"

#include <fcntl.h>
#include <libmount/libmount.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vds/overlay.h"

enum { STOREYS = 16, MEMBERS = 64 };

typedef struct mounted {
  dev_t dev; /* of the file system; of btrfs the device it was mounted by */
  bool btrfs;
  char *where;
} mounted;

typedef struct overlay {
  struct overlay *next;
  const char *where; /* one of system_places */
  char options[];
} overlay;

typedef struct pair {
  dev_t dev, on; /* a loop device, dm, md …; on: what is below it */
} pair;

typedef struct member {
  char id[GUID_TEXT]; /* of the btrfs */
  dev_t dev;
} member;

struct vds_world {
  mounted *mounts;
  size_t mount_count, mount_room;
  overlay *overlays; /* that the system lives on */
  dev_t swaps[64];
  size_t swap_count;
  vds_about **abouts; /* each no longer than its file's name */
  size_t about_count, about_room;
  pair *loops, *stands;
  size_t loop_count, loop_room, stand_count, stand_room;
  const char *last_file; /* of the last one of `loops` */
  member *members;
  size_t member_count, member_room;
  struct {
    dev_t dev;
    const char *where; /* in mounts, or a literal */
  } system[64];        /* with all that they stand on */
  size_t system_count;
  bool failed;
};

static const char *const system_places[] = {"/", "/boot", "/boot/efi", "/efi",
                                            "/usr"};


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static void *one_more(void *items, size_t size, size_t count, size_t *room) {
  if (count < *room) return items;
  *room = *room * 2 + 32;
  return mem_grow(items, *room * size);
}


static void add_mount(vds_world *w, dev_t dev, bool btrfs, const char *where) {
  mounted *more =
      one_more(w->mounts, sizeof *more, w->mount_count, &w->mount_room);
  char *copy = mem_text(where);
  if (more != NULL) w->mounts = more;
  if (more == NULL || copy == NULL) {
    mem_free(copy);
    w->failed = true;
    return;
  }
  w->mounts[w->mount_count++] = (mounted){dev, btrfs, copy};
}


static void add_overlay(vds_world *w, const char *target, const char *options) {
  for (size_t i = 0; i < sizeof system_places / sizeof *system_places; i++) {
    if (strcmp(target, system_places[i]) != 0) continue;
    overlay *o = mem_alloc(sizeof *o + strlen(options) + 1);
    if (o == NULL) {
      w->failed = true;
      return;
    }
    o->next = w->overlays;
    o->where = system_places[i];
    memcpy(o->options, options, strlen(options) + 1);
    w->overlays = o;
  }
}


/* The source of a mount is a name that somebody gave. For btrfs it is all there
   is, and a wrong one is found out: no member has that number. */
static dev_t device_named(const char *source) {
  struct stat st;
  if (source == NULL || source[0] != '/') return 0;
  return stat(source, &st) == 0 && S_ISBLK(st.st_mode) ? st.st_rdev : 0;
}


static error *read_mounts(vds_world *w) {
  struct libmnt_table *t = mnt_new_table_from_file("/proc/self/mountinfo");
  struct libmnt_iter *i = mnt_new_iter(MNT_ITER_FORWARD);
  struct libmnt_fs *fs;
  error *e = NULL;
  if (t == NULL || i == NULL)
    e = vds_error(SAROS_E_FAIL,
                  "the mount table cannot be read, so nobody knows what is in "
                  "use; is /proc mounted?");
  while (e == NULL && mnt_table_next_fs(t, i, &fs) == 0) {
    dev_t dev = mnt_fs_get_devno(fs);
    const char *type = mnt_fs_get_fstype(fs);
    bool btrfs = type != NULL && strcmp(type, "btrfs") == 0;
    if (type != NULL && strcmp(type, "overlay") == 0 &&
        mnt_fs_get_target(fs) != NULL && mnt_fs_get_fs_options(fs) != NULL)
      add_overlay(w, mnt_fs_get_target(fs), mnt_fs_get_fs_options(fs));
    if (btrfs || (major(dev) == 0 && type != NULL))
      dev = device_named(mnt_fs_get_source(fs));
    if (dev != 0 && mnt_fs_get_target(fs) != NULL)
      add_mount(w, dev, btrfs, mnt_fs_get_target(fs));
  }
  mnt_free_iter(i);
  mnt_unref_table(t);
  return e;
}


static void read_swaps(vds_world *w) {
  struct libmnt_table *t = mnt_new_table();
  struct libmnt_iter *i = mnt_new_iter(MNT_ITER_FORWARD);
  struct libmnt_fs *fs;
  struct stat st;
  if (t != NULL && i != NULL && mnt_table_parse_swaps(t, NULL) == 0)
    while (mnt_table_next_fs(t, i, &fs) == 0 && w->swap_count < 64) {
      const char *source = mnt_fs_get_source(fs);
      if (source == NULL || stat(source, &st) != 0) continue;
      /* A file that is swap holds what it lies on, as a mount does already. */
      if (S_ISBLK(st.st_mode)) w->swaps[w->swap_count++] = st.st_rdev;
    }
  mnt_free_iter(i);
  mnt_unref_table(t);
}


/* The device that a btrfs' directory has is its own; who mounted it knows by
   what it was mounted. */
static dev_t device_of_file(const vds_world *w, const char *path) {
  struct stat st;
  if (stat(path, &st) != 0) return 0;
  if (S_ISBLK(st.st_mode)) return st.st_rdev;
  if (major(st.st_dev) != 0) return st.st_dev;
  const mounted *best = NULL;
  for (size_t i = 0; i < w->mount_count; i++)
    if (path_within(path, w->mounts[i].where) &&
        (best == NULL || strlen(w->mounts[i].where) >= strlen(best->where)))
      best = &w->mounts[i];
  return best != NULL ? best->dev : 0;
}


/* Files of one directory are on one device: the kernel's name of a file has no
   links in it. Disks often lie side by side. */
static dev_t device_of_next(vds_world *w, const char *path) {
  size_t size = (size_t)(strrchr(path, '/') - path);
  const char *last = w->last_file; /* of the last pair */
  if (last != NULL && strncmp(last, path, size + 1) == 0 &&
      strchr(last + size + 1, '/') == NULL)
    return w->loops[w->loop_count - 1].on;
  return device_of_file(w, path);
}


static bool add_pair(pair **items, size_t *count, size_t *room, dev_t dev,
                     dev_t on) {
  pair *more = one_more(*items, sizeof *more, *count, room);
  if (more == NULL) return false;
  *items = more;
  (*items)[(*count)++] = (pair){dev, on};
  return true;
}


/* Those that never stand on another one; there may be hundreds of them. */
static bool is_plain(const vds_about *a) {
  static const char *const names[] = {"loop", "sd",  "nvme", "vd",
                                      "xvd",  "ram", "nbd",  "mmcblk"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strncmp(a->name, names[i], strlen(names[i])) == 0) return true;
  return a->number > 0;
}


static error *read_about(void *context, const vds_about *a) {
  vds_world *w = context;
  dev_t below[MEMBERS];
  size_t size = offsetof(vds_about, file) + strlen(a->file) + 1;
  vds_about **more =
      one_more(w->abouts, sizeof *more, w->about_count, &w->about_room);
  if (more == NULL) return error_no_memory();
  w->abouts = more;
  vds_about *copy = mem_alloc(size);
  if (copy == NULL) return error_no_memory();
  memcpy(copy, a, size);
  w->abouts[w->about_count++] = copy;
  size_t n = is_plain(a) ? 0 : vds_about_slaves(a->dev, below, MEMBERS);
  for (size_t i = 0; i < n; i++)
    if (!add_pair(&w->stands, &w->stand_count, &w->stand_room, a->dev,
                  below[i]))
      return error_no_memory();
  dev_t on = a->file[0] != '\0' ? device_of_next(w, a->file) : 0;
  if (on != 0 &&
      !add_pair(&w->loops, &w->loop_count, &w->loop_room, a->dev, on))
    return error_no_memory();
  if (on != 0) w->last_file = copy->file;
  return NULL;
}


static void read_member(void *context, const char *id, dev_t dev) {
  vds_world *w = context;
  member *more =
      one_more(w->members, sizeof *more, w->member_count, &w->member_room);
  if (more != NULL) {
    w->members = more;
    member *m = &w->members[w->member_count++];
    snprintf(m->id, sizeof m->id, "%s", id);
    m->dev = dev;
  } else {
    w->failed = true;
  }
}


error *vds_world_each(const vds_world *w,
                      error *(*each)(void *context, const vds_about *a),
                      void *context) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < w->about_count; i++)
    e = each(context, w->abouts[i]);
  return e;
}


/* The id of the btrfs that it is in, or NULL. */
static const char *btrfs_of(const vds_world *w, dev_t dev) {
  for (size_t i = 0; i < w->member_count; i++)
    if (w->members[i].dev == dev) return w->members[i].id;
  return NULL;
}


size_t vds_world_btrfs(const vds_world *w, dev_t dev, dev_t *list,
                       size_t most) {
  const char *id = btrfs_of(w, dev);
  size_t count = 0;
  for (size_t i = 0; id != NULL && i < w->member_count && count < most; i++)
    if (strcmp(w->members[i].id, id) == 0) list[count++] = w->members[i].dev;
  return count;
}


/* ------------------------------------------------------------------
** What the system stands on
** ---------------------------------------------------------------- */

const vds_about *vds_world_about(const vds_world *w, dev_t dev) {
  for (size_t i = 0; i < w->about_count; i++)
    if (w->abouts[i]->dev == dev) return w->abouts[i];
  return NULL;
}


static void add_system(vds_world *w, dev_t dev, const char *where,
                       unsigned storeys) {
  dev_t below[MEMBERS];
  if (dev == 0 || storeys == 0) return;
  for (size_t i = 0; i < w->system_count; i++)
    if (w->system[i].dev == dev) return;
  if (w->system_count == 64) return;
  w->system[w->system_count].dev = dev;
  w->system[w->system_count++].where = where;
  const vds_about *a = vds_world_about(w, dev);
  if (a != NULL && a->whole != dev) add_system(w, a->whole, where, storeys - 1);
  size_t n = vds_world_btrfs(w, dev, below, MEMBERS);
  for (size_t i = 0; i < n; i++) add_system(w, below[i], where, storeys - 1);
  for (size_t i = 0; i < w->stand_count; i++)
    if (w->stands[i].dev == dev)
      add_system(w, w->stands[i].on, where, storeys - 1);
  for (size_t i = 0; i < w->loop_count; i++)
    if (w->loops[i].dev == dev)
      add_system(w, w->loops[i].on, where, storeys - 1);
}


/* The id of a btrfs, whatever its mount was made by. */
static bool btrfs_at(int at, char id[GUID_TEXT]) {
  struct btrfs_ioctl_fs_info_args info = {0};
  struct statfs fs;
  guid g;
  if (fstatfs(at, &fs) != 0 || fs.f_type != BTRFS_SUPER_MAGIC) return false;
  int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool told = fd >= 0 && ioctl(fd, BTRFS_IOC_FS_INFO, &info) == 0;
  if (fd >= 0) close(fd);
  memcpy(&g, info.fsid, sizeof g);
  guid_format(&g, id);
  return told;
}


/* A mount table does not show all: in a chroot that is no mount point there is
   no "/", and a btrfs that was mounted as "/dev/root" names a device that is
   not there. So the directory itself is asked as well; without opening it,
   which would have something mounted that is only mounted when it is needed. */
static void add_directory(vds_world *w, const char *path, const char *where) {
  char id[GUID_TEXT];
  struct stat st;
  int at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return;
  if (fstat(at, &st) == 0 && major(st.st_dev) != 0) {
    add_system(w, st.st_dev, where, STOREYS);
  } else if (btrfs_at(at, id)) {
    for (size_t i = 0; i < w->member_count; i++)
      if (strcmp(w->members[i].id, id) == 0)
        add_system(w, w->members[i].dev, where, STOREYS);
  }
  close(at);
}


typedef struct layers {
  vds_world *w;
  const char *where;
} layers;


/* What its name leads to here. One that leads nowhere, for it was given
   elsewhere, is protected by the kernel alone, who gives nobody its device
   exclusively (O_EXCL) while it is mounted anywhere, and lets nobody take its
   partition away. */
static void add_layer(void *context, const char *path) {
  const layers *l = context;
  add_directory(l->w, path, l->where);
}


static void find_system(vds_world *w) {
  for (size_t i = 0; i < w->mount_count; i++)
    for (size_t j = 0; j < sizeof system_places / sizeof *system_places; j++)
      if (strcmp(w->mounts[i].where, system_places[j]) == 0)
        add_system(w, w->mounts[i].dev, system_places[j], STOREYS);
  for (size_t j = 0; j < sizeof system_places / sizeof *system_places; j++)
    add_directory(w, system_places[j], system_places[j]);
  for (const overlay *o = w->overlays; o != NULL; o = o->next) {
    layers l = {w, o->where};
    if (!vds_overlay_layers(o->options, add_layer, &l)) w->failed = true;
  }
}


error *vds_world_read(vds_world **out) {
  vds_world *w = mem_zero(sizeof *w);
  *out = NULL;
  if (w == NULL) return error_no_memory();
  error *e = read_mounts(w);
  if (e == NULL) {
    read_swaps(w);
    vds_about_btrfs(read_member, w);
    e = vds_about_all(read_about, w);
  }
  if (e == NULL && !w->failed) find_system(w);
  if (e == NULL && w->failed) e = error_no_memory();
  if (e == NULL) {
    *out = w;
    return NULL;
  }
  vds_world_free(w);
  return e;
}


void vds_world_free(vds_world *w) {
  if (w == NULL) return;
  for (size_t i = 0; i < w->mount_count; i++) mem_free(w->mounts[i].where);
  mem_free(w->mounts);
  for (size_t i = 0; i < w->about_count; i++) mem_free(w->abouts[i]);
  mem_free(w->abouts);
  mem_free(w->loops);
  mem_free(w->stands);
  mem_free(w->members);
  for (overlay *o = w->overlays, *next; o != NULL; o = next) {
    next = o->next;
    mem_free(o);
  }
  mem_free(w);
}


bool vds_world_is_system(const vds_world *w, dev_t dev, const char **where) {
  for (size_t i = 0; i < w->system_count; i++)
    if (w->system[i].dev == dev) {
      *where = w->system[i].where;
      return true;
    }
  return false;
}


/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

static void add(vds_holders *h, vds_hold_kind kind, dev_t dev,
                const char *who) {
  vds_hold *more = mem_grow(h->items, (h->count + 1) * sizeof *more);
  char *copy = mem_text(who);
  if (more != NULL) h->items = more;
  if (more == NULL || copy == NULL) {
    mem_free(copy);
    h->failed = true;
    return;
  }
  h->items[h->count++] = (vds_hold){kind, dev, copy};
}


static void add_device(const vds_world *w, vds_holders *h, vds_hold_kind kind,
                       dev_t dev, dev_t holder) {
  char path[80];
  const vds_about *a = vds_world_about(w, holder);
  snprintf(path, sizeof path, "%u:%u", major(holder), minor(holder));
  if (a != NULL) snprintf(path, sizeof path, "/dev/%s", a->name);
  add(h, kind, dev, path);
}


/* A btrfs that is mounted stands in /sys with all its members, wherever it is
   mounted. */
static void add_btrfs(const vds_world *w, dev_t dev, vds_holders *h) {
  const char *id = btrfs_of(w, dev);
  size_t before = h->count;
  if (id == NULL) return;
  for (size_t i = 0; i < w->mount_count; i++) {
    if (!w->mounts[i].btrfs) continue;
    const char *other = btrfs_of(w, w->mounts[i].dev);
    if (other != NULL && strcmp(other, id) == 0)
      add(h, VDS_HOLD_MOUNT, dev, w->mounts[i].where);
  }
  if (h->count == before) add(h, VDS_HOLD_ELSEWHERE, dev, id);
}


vds_holders vds_holders_of(const vds_world *w, dev_t dev) {
  vds_holders h = {0};
  for (size_t i = 0; i < w->mount_count; i++)
    if (w->mounts[i].dev == dev && !w->mounts[i].btrfs)
      add(&h, VDS_HOLD_MOUNT, dev, w->mounts[i].where);
  add_btrfs(w, dev, &h);
  for (size_t i = 0; i < w->swap_count; i++)
    if (w->swaps[i] == dev) add(&h, VDS_HOLD_SWAP, dev, "swap");
  for (size_t i = 0; i < w->stand_count; i++)
    if (w->stands[i].on == dev)
      add_device(w, &h, VDS_HOLD_DEVICE, dev, w->stands[i].dev);
  for (size_t i = 0; i < w->loop_count; i++)
    if (w->loops[i].on == dev)
      add_device(w, &h, VDS_HOLD_LOOP, dev, w->loops[i].dev);
  return h;
}


void vds_holders_free(vds_holders *h) {
  for (size_t i = 0; i < h->count; i++) mem_free(h->items[i].who);
  mem_free(h->items);
  *h = (vds_holders){0};
}
