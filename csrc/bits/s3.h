/*
** S3: requests that are signed, and uploads in parts that nobody goes on with.
*/
#ifndef SAROS_BITS_S3_H
#define SAROS_BITS_S3_H

#include "bits/transfer.h"
#include "http/sign.h"
#include "http/xml.h"

#define BITS_S3_REGION 64
/* What is signed, and 64 lines of the job's and its credentials. */
#define BITS_S3_LINES 80

/* ------------------------------------------------------------------
** Signing: what a GET, HEAD or PUT of an object needs more than any other
** ---------------------------------------------------------------- */

/* What has been learned of a server, and the key made for it. Of one try. */
typedef struct bits_s3_place {
  char region[BITS_S3_REGION];
  int64_t skew; /* seconds that our clock is ahead of the server's */
  unsigned lessons;
  char scheme[8], first[256]; /* where it was to go: "https", host and port */
  char host[256];             /* where it goes now; "": there */
  char day[9], key_region[BITS_S3_REGION];
  uint8_t key[32];
} bits_s3_place;

/* The terms have keys: requests are to be signed. */
bool bits_s3_is_wanted(const bits_terms *t);
/* The region is the terms', or the one that the host's name says. */
void bits_s3_place_begin(bits_s3_place *p, const bits_terms *t,
                         const char *url);
void bits_s3_place_end(bits_s3_place *p); /* wipes */
/* It is at the host of this URL from now on: false when nobody there is to be
   told what is signed, or it is there already. */
bool bits_s3_move(bits_s3_place *p, const char *url);
/* Amazon's hosts are named after their region. */
void bits_s3_move_region(bits_s3_place *p);

typedef enum bits_s3_fields {
  BITS_S3_ALL, /* of the terms' header: of what makes an object, or reads it */
  BITS_S3_FEW  /* those that all requests about it need */
} bits_s3_fields;

typedef struct bits_s3_ask {
  const char *method;
  const char *url;
  const char *query;   /* more of it, escaped: "uploads=", or NULL */
  const char *payload; /* SHA-256 of the body; NULL: of none */
  const char *content_md5, *content_type; /* or NULL */
  const char *sha256; /* to be kept with the object, or NULL */
  bits_s3_fields fields;
} bits_s3_ask;

/* What is sent. Range and the like may be added: they are not signed. */
typedef struct bits_s3_letter {
  char *url;
  http_field fields[BITS_S3_LINES];
  size_t count;
} bits_s3_letter;

/* False: no memory (or no OpenSSL). */
bool bits_s3_write(bits_s3_place *p, const bits_terms *t,
                   const bits_s3_ask *ask, bits_s3_letter *l);
void bits_s3_letter_free(bits_s3_letter *l); /* wipes */

/* Reads the body of an answer that is no success. Servers say what they were
   sent: what is secret of it is left out. */
void bits_s3_problem(const bits_terms *t, const char *body, size_t size,
                     http_problem *problem);
/* Looks at such an answer: whether it was only the region or the
   clock, so that it is worth asking again at once. */
bool bits_s3_learn(bits_s3_place *p, const http_answer *a,
                   const http_problem *problem);
/* What it says otherwise; *r as judge_failure fills it. */
void bits_s3_judge(const http_answer *a, const http_problem *problem,
                   unsigned tries, bits_result *r);

#ifdef SAROS_TEST
extern _Atomic int bits_s3_ahead; /* seconds our clock is wrong */
#endif

#endif
