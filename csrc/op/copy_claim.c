/*
** The temporary a copy is made in, and what a copy that was killed has left
** of it.
**
** Its name comes of the target's name, so that the next copy to that place
** finds it with one look, however many entries the directory has. Whoever
** works on it holds a lock (flock) on it, which the kernel takes from him when
** he dies; one that can be locked and bears its own name then is nobody's any
** more. This is believed only where it is sure:
**
** - The file system is a local one: on others a lock may be one machine's own.
** - Nobody else may rename in the directory. Else a thing of ours could be put
**   under that name, for us to remove what its owner could not.
**
** Everywhere else the name is a random one, and nothing is ever taken away.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "op/copy_parts.h"

#define CLAIMS 4 /* copies to one place at a time, before names are random */

#ifndef ZFS_SUPER_MAGIC
#define ZFS_SUPER_MAGIC 0x2FC12FC1
#endif

static bool is_local(int fd) {
  struct statfs fs;
  if (fstatfs(fd, &fs) != 0) return false;
  switch ((unsigned long)fs.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case ZFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return true;
    default: return false;
  }
}

/* Whether only we, or root, could have given an entry of ours its name. */
static bool is_ours_alone(int dir) {
  struct stat st;
  if (fstat(dir, &st) != 0) return false;
  if (st.st_uid != geteuid() && st.st_uid != 0) return false;
  return (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 || (st.st_mode & S_ISVTX) != 0;
}

static void set_farm_name(copy *c) {
  snprintf(c->farm_name, sizeof c->farm_name, "%s.links", c->temp);
}

static void name_by_chance(copy *c) {
  uint64_t random;
  if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
    random = (uint64_t)(uintptr_t)c ^ (uint64_t)time(NULL); /* still O_EXCL */
  snprintf(c->temp, sizeof c->temp, ".saros-copy-%ld-%016llx", (long)getpid(),
           (unsigned long long)random);
  set_farm_name(c);
}

/* FNV-1a: two names that share one share their temporaries, no more. */
static void name_by_target(copy *c, int number) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char *at = c->base; *at != 0; at++)
    hash = (hash ^ (unsigned char)*at) * 0x100000001B3u;
  snprintf(c->temp, sizeof c->temp, ".saros-copy-%016llx-%d",
           (unsigned long long)hash, number);
  set_farm_name(c);
}

static int open_temp(copy *c) {
  return copy_open(c, c->parent, c->temp,
                   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

/* Locks it, if that is still what bears the name. */
static bool lock(copy *c, int fd, struct stat *st) {
  struct stat named;
  return flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, st) == 0 &&
         fstatat(c->parent, c->temp, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         named.st_dev == st->st_dev && named.st_ino == st->st_ino;
}


/* ------------------------------------------------------------------
** What was left
** ---------------------------------------------------------------- */

static bool may_be_left(const struct stat *st) {
  return st->st_uid == geteuid() &&
         (S_ISDIR(st->st_mode) || (S_ISREG(st->st_mode) && st->st_nlink == 1));
}

/* The links go first: as long as the rest is there they are found. */
static bool remove_left(copy *c) {
  struct stat farm;
  if (fstatat(c->parent, c->farm_name, &farm, AT_SYMLINK_NOFOLLOW) == 0 &&
      (!may_be_left(&farm) ||
       !remove_all(c, c->parent, c->farm_name, "the links of a killed copy")))
    return false;
  return remove_all(c, c->parent, c->temp, "what a killed copy has left");
}

/* Whether the name is free now. */
static bool reap(copy *c) {
  struct stat st;
  int fd = open_temp(c);
  if (fd < 0) return errno == ENOENT;
  bool dead = fstat(fd, &st) == 0 && may_be_left(&st) && lock(c, fd, &st);
  if (dead) {
    log_write(LOG_NOTICE, "copy", "removing what a killed copy has left: %s",
              c->temp);
    op_phase_literal(c->op, "removing what a killed copy has left");
  }
  bool gone = dead && remove_left(c);
  close(fd);
  return gone;
}


/* ------------------------------------------------------------------
** Claiming
** ---------------------------------------------------------------- */

/* Makes what the copy goes into; 0 or an errno. A file stays open for who
   writes it. */
static int make(copy *c) {
  if (S_ISDIR(c->source.st_mode))
    return mkdirat(c->parent, c->temp, 0700) == 0 ? 0 : errno;
  c->file =
      openat(c->parent, c->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return c->file >= 0 ? 0 : errno;
}

/* Somebody may have found it without a lock, just now: then it is his. */
static bool hold(copy *c) {
  struct stat st;
  c->claim = open_temp(c);
  if (c->claim >= 0 && lock(c, c->claim, &st)) return true;
  if (c->claim >= 0) close(c->claim);
  if (c->file >= 0) close(c->file);
  c->claim = c->file = -1;
  return false;
}

/* 0, EEXIST when the name is not to be had, or another errno. */
static int claim(copy *c, int number) {
  name_by_target(c, number);
  int r = make(c);
  if (r == EEXIST && reap(c)) r = make(c);
  if (r != 0) return r;
  return hold(c) ? 0 : EEXIST;
}

bool claim_make(copy *c) {
  int r = EEXIST;
  if (!S_ISDIR(c->source.st_mode) && !S_ISREG(c->source.st_mode)) {
    name_by_chance(c); /* made in one step, by who knows how */
    return true;
  }
  if (is_local(c->parent) && is_ours_alone(c->parent))
    for (int i = 0; i < CLAIMS && r == EEXIST && copy_goes_on(c); i++)
      r = claim(c, i);
  if (r == EEXIST && copy_goes_on(c)) {
    name_by_chance(c);
    r = make(c);
  }
  c->made = r == 0;
  if (r == 0 || !copy_goes_on(c)) return copy_goes_on(c);
  return copy_failed(c, r,
                     S_ISDIR(c->source.st_mode) ? "cannot make the directory"
                                                : "cannot create",
                     NULL, NULL, COPY_TARGET);
}

void claim_let_go(copy *c) {
  if (c->claim >= 0) close(c->claim);
  c->claim = -1;
}
