/*
** What a job asks of every transfer of its files: never changed once made, so
** that a try on the I/O thread reads it without a lock. A setter makes new
** terms; a try that is at work keeps the old ones.
*/
#ifndef SAROS_BITS_TERMS_H
#define SAROS_BITS_TERMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

typedef enum bits_durability {
  BITS_DURABLE_NONE,
  BITS_DURABLE_GROUP, /* the default: many at once */
  BITS_DURABLE_FILE   /* each before the next */
} bits_durability;

/* A line of a header. A secret one is in memory alone, or is read from where
   `reference` says each time the queue is opened. */
typedef struct bits_header {
  char *name, *value; /* value: NULL when it was secret and is lost */
  char *reference;    /* "env:NAME", "file:/path", or NULL */
  bool secret;
} bits_header;

typedef struct bits_terms {
  _Atomic unsigned refs;
  bits_header *headers;
  uint32_t header_count;
  char *method;      /* of a download "GET"; NULL: as usual */
  char *cacert;      /* a file, or NULL: the system's */
  char *proxy;       /* NULL: as the environment says; "": none; else its URL */
  char *proxy_login; /* "user:password", secret, or NULL */
  /* S3 (the location of an upload, or of what is fetched): NULL: not signed.
     Secret, wiped when freed. */
  char *s3_key, *s3_secret, *s3_token, *s3_region;
  char *s3_reference; /* where the keys were read from: "env:NAME",
                         "file:/path", or NULL: they are here alone */
  bits_durability durability;
  bool overwrite;       /* false: who has the name already keeps it */
  bool length_required; /* a body without an end that is marked is refused */
  bool restart_changed; /* what changed meanwhile begins again; else error */
  bool dynamic;         /* never resumed */
  unsigned connect_ms, stall_ms;
  unsigned redirects;
  uint64_t most;      /* of one file; 0: any */
  uint64_t part_size; /* of uploads in parts; 0: as it fits */
  unsigned per_host;
} bits_terms;

/* With what is usual, one reference; NULL: no memory. */
bits_terms *bits_terms_new(void);
bits_terms *bits_terms_ref(bits_terms *t);
void bits_terms_unref(bits_terms *t);
/* A copy with one reference, to be changed before anybody else has it. */
bits_terms *bits_terms_copy(const bits_terms *t);

#endif
