/*
** A file of a job: where it comes from and goes to, and what is known of what
** is already here. There may be twenty thousand of them in one job, so nothing
** is in it that only few need.
*/
#ifndef SAROS_BITS_FILE_H
#define SAROS_BITS_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

#define BITS_UNKNOWN UINT64_MAX

typedef struct bits_job bits_job;
typedef struct bits_file bits_file;

typedef enum bits_file_state {
  BITS_FILE_WAITS,   /* to be tried (again) */
  BITS_FILE_RUNS,    /* a try is at work */
  BITS_FILE_FETCHED, /* its bytes are here: to be verified, synced, named */
  BITS_FILE_DONE
} bits_file_state;

/* What is remembered of the representation whose bytes are in the partial
   file. The invariant of all resuming: a row that says so never stands beside
   bytes of another one. So before the first byte of another representation is
   stored the row without it is committed, for good (see fetch.c); a partial
   file without a row begins again. */
typedef struct bits_known {
  char *etag;       /* as it came, with quotes; a weak one begins with W/ */
  char *modified;   /* Last-Modified, where it is a strong validator */
  char *encoding;   /* Content-Encoding, though none was asked for */
  char *digest;     /* "sha-256:<hex>": what the server says it is */
  uint64_t total;   /* or BITS_UNKNOWN */
  uint64_t durable; /* bytes of the part that are on the disk */
  uint64_t device, inode; /* of the part; 0: there is none yet (small.c) */
  char boot[37];          /* of the machine, when `durable` was written */
} bits_known;

/* A part of the remote file: from `offset`, `length` bytes (BITS_UNKNOWN: to
   its end). */
typedef struct bits_range {
  uint64_t offset, length;
} bits_range;

/* What few files have. */
typedef struct bits_extra {
  char *sha256;       /* the caller's, 64 hex digits, or NULL */
  bits_range *ranges; /* ascending and apart, or NULL */
  uint32_t range_count;
  char *upload; /* JSON: what an upload in parts remembers (s3.c) */
} bits_extra;

/* Bits of bits_file.marks; under the manager's lock. */
#define BITS_FILE_DIRTY 0x01u    /* its row has to be written */
#define BITS_FILE_VERIFIED 0x02u /* by a digest, or a length that was kept */
#define BITS_FILE_UNPROVEN 0x04u /* neither length nor digest: as it came */
#define BITS_FILE_APPEARED 0x08u /* has its name */
#define BITS_FILE_NO_RANGE 0x10u /* ranges are not to be asked for again */
#define BITS_FILE_BARE 0x20u     /* the server does not know If-Range */

struct bits_file {
  bits_job *job;
  uint32_t number;
  uint8_t state;      /* bits_file_state; the manager's lock */
  uint8_t marks;      /* the manager's lock */
  uint8_t bad_ranges; /* wrong answers to a range so far; the try's */
  uint8_t restarts;   /* for a wrong digest; the try's */
  uint8_t wrongs;     /* in a row, what a server says cannot be; the try's */
  bool later;         /* waits for its time; the mover's */
  bool stale;         /* what was known is forgotten, and its row may still say
                         it; as `known` */
  bool rowless;       /* it has none in the queue yet; the manager's lock */
  char *url;          /* constant while a try is at work */
  char *path;         /* absolute; constant likewise */
  bits_extra *extra;  /* NULL: nothing of it */
  bits_known *known;  /* NULL: nothing. Changed under the manager's lock, by the
                         try that is at work, else by whoever has the lock */
  struct bits_small *small; /* FETCHED, and its bytes lie here (small.c); or
                               NULL. The manager's lock */
  _Atomic uint64_t have;    /* bytes that are here, or were sent */
  uint64_t best; /* the most that was ever here, since this process began */
  uint64_t size; /* of all of it, or BITS_UNKNOWN; manager's lock */
  bits_file *next_dirty; /* manager's lock */
};

void bits_known_free(bits_known *k);              /* NULL is fine */
bits_known *bits_known_copy(const bits_known *k); /* NULL: no memory */
void bits_extra_free(bits_extra *x);
/* What the local file will be long: of all ranges, if there are some. As far
   as that is known: else BITS_UNKNOWN. */
uint64_t bits_file_length(const bits_file *f);
/* ".<name>.<first eight of the job's id>-<number>.part" beside `path`, cut to
   what a name may be long. Allocated; NULL: no memory. */
char *bits_part_name(const bits_file *f);

#endif
