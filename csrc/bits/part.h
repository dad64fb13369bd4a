/*
** The partial file: beside where the file shall be, so that a rename is all
** that is missing. It is one file from its beginning to its end, told by device
** and inode: what somebody puts in its place (a symbolic link, another file) is
** neither written to nor taken for it. (Numbers of devices are given anew when
** the machine is booted, and of some file systems nearly always others.)
*/
#ifndef SAROS_BITS_PART_H
#define SAROS_BITS_PART_H

#include <sys/types.h>

#include "bits/file.h"
#include "bits/terms.h"

typedef struct bits_part {
  int fd; /* -1: closed */
  uint64_t size;
  uint64_t device, inode;
  uint64_t reserved; /* room that the disk has promised */
} bits_part;

#define PART_CLOSED ((bits_part){.fd = -1})
#define PART_MODE 0600
#define PART_OVERLAP 4096u
#define PART_AHEAD ((uint64_t)256 << 20)

/* 0 or errno (`*what` a literal: what was tried). The one that is known, cut
   to at most `keep` bytes; closed, and 0, when it is not there, or not the
   one. */
int bits_part_open(bits_part *p, const bits_file *f, uint64_t keep,
                   const char **what);
/* A new one, empty, instead of whatever has its name: with PART_MODE nobody
   else reads half of it. */
int bits_part_create(bits_part *p, const bits_file *f, mode_t mode,
                     const char **what);
/* Whether these are the numbers of the one that is known. */
bool bits_part_is_known(const bits_known *k, uint64_t device, uint64_t inode);
/* How much of what is there can be trusted: all of it (BITS_UNKNOWN) while the
   machine has not been booted since, else what was known to be durable. */
uint64_t bits_part_trusted(const bits_file *f);
/* Room for so many bytes in all, kept from others; no more than PART_AHEAD
   ahead of `at`, whatever a server claims. ENOSPC as soon as it is clear that
   it does not fit. */
int bits_part_reserve(bits_part *p, uint64_t at, uint64_t total);
int bits_part_write(bits_part *p, uint64_t at, const void *data, size_t size);
/* 0; EBADMSG when it differs. */
int bits_part_same(bits_part *p, uint64_t at, const void *data, size_t size);
int bits_part_sync(bits_part *p);
/* 0, or an errno of which nobody was told: what was written behind our back
   did not come to the disk. A file system that is synced as a whole tells that
   only the first who asks, of which file he may. */
int bits_part_check(int fd);
/* 0 or errno: some file systems say only now what was not written. */
int bits_part_close(bits_part *p);
/* This machine's boot, 36 characters, or "" when nobody knows. */
const char *bits_boot(void);

#endif
