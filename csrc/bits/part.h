/*
** The partial file: beside where the file shall be, so that a rename is all
** that is missing. Everything goes through the directory's descriptor, opened
** once: what becomes of a path meanwhile is nobody's way out of it. Never
** followed: symbolic links in place of the part.
*/
#ifndef SAROS_BITS_PART_H
#define SAROS_BITS_PART_H

#include "bits/file.h"
#include "bits/terms.h"

typedef struct bits_part {
  int directory, fd; /* -1: closed */
  uint64_t size;
  uint64_t device, inode;
  uint64_t reserved; /* room that the disk has promised */
} bits_part;

#define PART_CLOSED ((bits_part){.directory = -1, .fd = -1})
#define PART_OVERLAP 4096u

/* 0 or errno (`*what` a literal: what was tried). `keep`: bytes of it that
   count, if it is the one that is known (device, inode): it is cut to so many;
   0: it is made anew, empty, mode 0600. *kept is what is left. */
int bits_part_open(bits_part *p, const bits_file *f, uint64_t keep,
                   uint64_t *kept, const char **what);
/* How much of what is there can be trusted: all of it while the machine has
   not been booted since, else what was known to be durable. */
uint64_t bits_part_trusted(const bits_file *f);
/* Room for so many bytes in all, kept from others; no more than 1 GiB ahead of
   what is there, whatever a server claims. ENOSPC as soon as that is clear. */
int bits_part_reserve(bits_part *p, uint64_t total);
int bits_part_write(bits_part *p, uint64_t at, const void *data, size_t size);
/* 0; EBADMSG when it differs. */
int bits_part_same(bits_part *p, uint64_t at, const void *data, size_t size);
int bits_part_sync(bits_part *p);
void bits_part_close(bits_part *p);
/* This machine's boot, 36 characters, or "" when nobody knows. */
const char *bits_boot(void);

#endif
