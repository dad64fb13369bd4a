/*
** What the suites about btrfs share: disks that are mounted, files whose
** contents are known, and whether the file system is sound.
*/
#ifndef SAROS_SPEC_VDS_PLEX_CASE_H
#define SAROS_SPEC_VDS_PLEX_CASE_H

#include "vds_case.h"

#include "vds/btrfs.h"
#include "vds/plex_parts.h"

typedef struct disk {
  char image[300], node[32];
  dev_t dev;
  int fd; /* keeps it attached */
} disk;

/* Their files lie in memory, where one may: what is tested writes little, and
   syncs often. */
static inline const char *fast_place(void) {
  static char path[300];
  if (path[0] != '\0') return path;
  snprintf(path, sizeof path, "%s", place("fast"));
  mkdir(path, 0700);
  if (mount("fast", path, "tmpfs", 0, "size=1g") != 0) perror("tmpfs");
  return path;
}

static inline disk make_disk(unsigned megabytes) {
  static unsigned number;
  disk d = {.fd = -1};
  struct stat st;
  snprintf(d.image, sizeof d.image, "%.250s/disk%u.img", fast_place(),
           ++number);
  int file = open(d.image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  CHECK(file >= 0 && ftruncate(file, (off_t)megabytes << 20) == 0);
  if (file >= 0) close(file);
  d.fd = volumes_attach(d.image, 0, 0, d.node);
  CHECK(d.fd >= 0 && fstat(d.fd, &st) == 0);
  if (d.fd >= 0) d.dev = st.st_rdev;
  return d;
}

static inline void drop_disk(disk *d) {
  if (d->fd >= 0) {
    ioctl(d->fd, LOOP_CLR_FD, 0);
    close(d->fd);
  }
  unlink(d->image);
  d->fd = -1;
}

static inline vds_identity identity_of(const disk *d) {
  vds_identity who = {0};
  vds_about *a = mem_alloc(sizeof *a);
  error *e = vds_about_read(d->dev, a);
  CHECK(e == NULL);
  if (e == NULL) vds_identity_of(a, &who);
  error_unref(e);
  mem_free(a);
  return who;
}

/* The object of a node, as a listing gives it; as text for options. */
static inline const char *object(const disk *d) {
  static char all[8][600];
  static unsigned next;
  vds_identity who = identity_of(d);
  value *map = value_map();
  buffer b = BUFFER_EMPTY;
  char *text = all[next++ % 8];
  vds_identity_put(map, &who);
  json_write(&b, map, JSON_COMPACT);
  snprintf(text, sizeof all[0], "%s", b.data != NULL ? b.data : "{}");
  buffer_free(&b);
  value_free(map);
  return text;
}

/* Files of known contents: numbers that follow from one another. */
static inline void fill_file(const char *at, const char *name, unsigned seed,
                             unsigned megabytes) {
  static uint64_t block[1 << 17];
  char path[400];
  uint64_t x = seed * 2654435761u + 1;
  snprintf(path, sizeof path, "%s/%s", at, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  for (unsigned i = 0; i < megabytes; i++) {
    for (size_t j = 0; j < sizeof block / 8; j++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      block[j] = x;
    }
    CHECK_INT(write(fd, block, sizeof block), sizeof block);
  }
  CHECK_INT(fsync(fd), 0);
  close(fd);
}

static inline bool is_filled(const char *at, const char *name, unsigned seed,
                             unsigned megabytes) {
  static uint64_t block[1 << 17];
  char path[400];
  uint64_t x = seed * 2654435761u + 1;
  bool good = true;
  snprintf(path, sizeof path, "%s/%s", at, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  for (unsigned i = 0; good && i < megabytes; i++) {
    good = fd >= 0 && read(fd, block, sizeof block) == (ssize_t)sizeof block;
    for (size_t j = 0; good && j < sizeof block / 8; j++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      good = block[j] == x;
    }
  }
  if (fd >= 0) close(fd);
  return good;
}

/* A btrfs on the first disk (and, as raid1, on the second), mounted. Why there
   is none, or NULL. */
static inline const char *make_btrfs(const disk *one, const disk *two,
                                     const char *at) {
  mkdir(at, 0700);
  if (!volumes_have("mkfs.btrfs"))
    return "no mkfs.btrfs: apt-get install btrfs-progs";
  if (volumes_run("mkfs.btrfs -q -K -f %s %s %s >/dev/null 2>&1",
                  two != NULL ? "-d raid1 -m raid1" : "", one->node,
                  two != NULL ? two->node : "") != 0)
    return "mkfs.btrfs did not make a file system";
  /* Nobody else may be there to tell the kernel. */
  volumes_run("btrfs device scan %s %s >/dev/null 2>&1", one->node,
              two != NULL ? two->node : "");
  if (mount(one->node, at, "btrfs", 0, NULL) != 0)
    return "the kernel does not mount btrfs here";
  return NULL;
}

/* Unmounted, and nothing wrong is found in it. */
static inline void check_btrfs(const disk *d, const char *at) {
  CHECK_INT(umount2(at, 0), 0);
  CHECK_INT(volumes_run("btrfs check --readonly '%s' >'%s' 2>&1 || { cat '%s'; "
                        "false; }",
                        d->node, place("check.log"), place("check.log")),
            0);
}


/* ------------------------------------------------------------------
** Mirrors
** ---------------------------------------------------------------- */

/* MiB. The files are sparse; a btrfs that is smaller has no room to move. */
enum { SIZE = 8192, FILLED = 12 };

/* Files, and up to three disks; the first ones are a btrfs. */
typedef struct plexes {
  disk disks[3];
  const char *at, *missing;
} plexes;

static inline plexes make(bool mirrored) {
  static unsigned number;
  char name[20];
  plexes x;
  snprintf(name, sizeof name, "plex%u", ++number);
  x.at = place(name);
  for (int i = 0; i < 3; i++) x.disks[i] = make_disk(SIZE);
  x.missing = make_btrfs(&x.disks[0], mirrored ? &x.disks[1] : NULL, x.at);
  if (x.missing == NULL) fill_file(x.at, "one", 1, FILLED);
  return x;
}

/* The content is the same, and the file system sound. */
static inline void drop(plexes *x, int still) {
  if (x->missing == NULL) {
    CHECK(is_filled(x->at, "one", 1, FILLED));
    check_btrfs(&x->disks[still], x->at);
  }
  for (int i = 0; i < 3; i++) drop_disk(&x->disks[i]);
}

static inline unsigned copies(const plexes *x) {
  uint64_t data = 0, meta = 0;
  int fd = open(x->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(vds_btrfs_profiles(fd, &data, &meta) == NULL);
  close(fd);
  return vds_plex_copies(data);
}

static inline bool is_member(const plexes *x, int i) {
  vds_btrfs *b = mem_zero(sizeof *b);
  b->mount = open(x->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(vds_btrfs_look(b) == NULL);
  bool member = vds_btrfs_find(b, x->disks[i].dev) != NULL;
  vds_btrfs_close(b);
  mem_free(b);
  return member;
}

static inline const char *fs_on(const disk *d) {
  static vds_probe p;
  CHECK(vds_probe_fd(d->fd, &p) == NULL);
  return p.ambivalent ? "two at once" : p.fs;
}

#endif
