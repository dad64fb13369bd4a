/*
** A bucket as a store: what its files share. s3_open.c reads the location,
** s3_call.c makes one call and makes it again, s3_judge.c says what an answer
** means, s3_file.c and s3_list.c are what a store can do, s3_create.c makes the
** bucket, s3_hash.c digests what is sent.
**
** The lock is a leaf: nothing is called with it but OpenSSL.
*/
#ifndef SAROS_REPOSITORY_STORE_S3_PARTS_H
#define SAROS_REPOSITORY_STORE_S3_PARTS_H

#include <time.h>

#include "http/sign.h"
#include "repository/crypto.h"
#include "repository/store/remote.h"

#define REPO_S3_REGION 64

/* In secret memory. */
typedef struct s3_secret {
  char access_key[256], secret_key[256], token[8192];
  /* The key of a day and a region, made once. */
  uint8_t signing[32];
  char day[9], region[REPO_S3_REGION];
} s3_secret;

typedef struct s3 {
  repo_store store; /* first */
  char *location;
  char *scheme;          /* "https" */
  char *endpoint;        /* host[:port], without the bucket */
  char *bucket, *prefix; /* the prefix has no slash at its ends */
  bool in_host;          /* the bucket is a part of the host's name */
  bool amazon;
  bool region_given;
  remote net;
  pthread_mutex_t lock;
  s3_secret *secret;
  char region[REPO_S3_REGION], profile_region[REPO_S3_REGION];
  bool has_moved;     /* its host is named after the region */
  bool no_conditions; /* 501 to If-None-Match */
  bool no_parts;      /* … and to an upload in parts */
  uint64_t multipart_size, part_size;
  char lock_mode[16]; /* "": no object lock */
  unsigned lock_days;
} s3;

/* ------------------------------------------------------------------
** Digests of what is sent
** ---------------------------------------------------------------- */

bool repo_s3_sha256(const repo_piece *pieces, size_t count,
                    char hex[HTTP_SIGN_HEX]);
/* False where there is no MD5. */
bool repo_s3_md5(const repo_piece *pieces, size_t count, uint8_t md5[16]);

/* ------------------------------------------------------------------
** Judging
** ---------------------------------------------------------------- */

/* What to do about an answer that is no success. */
typedef enum s3_fate {
  S3_FAIL,        /* it would be the same again */
  S3_AGAIN,       /* later, for as long as one may */
  S3_FEW,         /* again, but not often: it may be our fault */
  S3_ABSENT,      /* there is no such object */
  S3_EXISTS,      /* there is, and there was to be none */
  S3_SHORT,       /* it is not that long */
  S3_SKEW,        /* the clocks differ */
  S3_REGION,      /* it is in another region */
  S3_UNSUPPORTED, /* the server cannot do that */
} s3_fate;

/* What went wrong, as the server says it. */
typedef struct s3_trouble {
  s3_fate fate;
  uint32_t code; /* of the error */
  int number;    /* its errno, or 0 */
  const char *advice;
  unsigned status;
  char name[64];     /* "SlowDown", or "" */
  char message[256]; /* for a person, escaped; or "" */
  char region[REPO_S3_REGION];
  uint64_t retry_after; /* milliseconds; 0: it does not say */
  int64_t skew;         /* seconds that we are ahead; of S3_SKEW */
} s3_trouble;

/* Of an answer that came whole, and its body. */
void repo_s3_judge(const http_answer *a, const char *body, size_t size,
                   s3_trouble *t);
/* Of one that did not. */
void repo_s3_judge_end(const http_answer *a, s3_trouble *t);

/* ------------------------------------------------------------------
** Calling
** ---------------------------------------------------------------- */

typedef struct s3_call {
  const char *doing; /* "store pack 4f1a…" */
  const char *method;
  const char *key;   /* in the bucket; NULL: the bucket itself */
  const char *query; /* as it is signed, or NULL */
  /* To be sent, and signed; lower case, and sorted. */
  const char *content_md5, *content_type, *if_none_match;
  const repo_piece *pieces; /* the body; NULL: none */
  size_t piece_count;
  const char *payload; /* its SHA-256; NULL: of nothing */
  bool ranged;
  uint64_t from, last;
  /* Where a good body goes: to the end of a buffer, which holds `most` of it,
     or into `window`, which must be filled. */
  buffer *into;
  size_t most;
  char *window;
  size_t window_size;
  bool locks;        /* object lock, if there is to be any */
  bool makes_locked; /* … in the bucket that this makes */
  const repo_stop *stop;
  bool quiet; /* no retries: somebody only asks */
  bool once;  /* each time it is sent makes something: each is a try */
  /* What came. */
  unsigned status;
  remote_tries tries;
  uint64_t length; /* announced, or HTTP_UNKNOWN */
  char etag[64];
  bool etag_is_no_md5;
  char locked[100]; /* "it is locked until …", or "" */
  s3_trouble trouble;
} s3_call;

/* One PUT and all that belongs to it. */
typedef struct s3_put {
  s3_call c;
  uint64_t size;
  char payload[HTTP_SIGN_HEX], md5_hex[33];
  bool has_md5;
  buffer md5;
} s3_put;

/* NULL when it is a success. */
error *repo_s3_call(s3 *s, s3_call *c);
/* The error of what is in c->trouble. */
error *repo_s3_error(s3 *s, const s3_call *c);
error *repo_s3_forked(const s3 *s);
/* mem_alloc'd; NULL: no memory. */
char *repo_s3_key(const s3 *s, repo_file kind, const repo_id *id);

/* What a store can do. */
error *repo_s3_create(repo_store *store);
error *repo_s3_list(repo_store *store, repo_file kind, repo_store_each each,
                    void *context, const repo_stop *stop);
error *repo_s3_read(repo_store *store, repo_file kind, const repo_id *id,
                    uint64_t offset, size_t size, void *into,
                    const repo_stop *stop);
error *repo_s3_load(repo_store *store, repo_file kind, const repo_id *id,
                    size_t most, buffer *b, const repo_stop *stop);
error *repo_s3_save(repo_store *store, repo_file kind, const repo_id *id,
                    const repo_piece *pieces, size_t count, bool replace,
                    const repo_stop *stop);
error *repo_s3_size(repo_store *store, repo_file kind, const repo_id *id,
                    uint64_t *size, const repo_stop *stop);
error *repo_s3_remove(repo_store *store, repo_file kind, const repo_id *id,
                      const repo_stop *stop);

/* Whether the object is there. */
error *repo_s3_head(s3 *s, s3_call *c, bool *there);

/* s3_multipart.c: multipart_size, and what is at least as large. */
error *repo_s3_multipart_option(s3 *s, const value *options);
bool repo_s3_goes_in_parts(s3 *s, const s3_put *p);
/* S3_UNSUPPORTED is remembered in s->no_parts. */
error *repo_s3_put_parts(s3 *s, const s3_put *p, const repo_id *id);
error *repo_s3_tidy(repo_store *store, const repo_stop *stop);

/* s3_profile.c: profile. Fills keys, token and region (REPO_S3_REGION), or
   leaves them empty; *found: there are keys. */
error *repo_s3_profile(const value *options, s3_secret *k, char *region,
                       bool *found);

/* s3_lock.c: object_lock = { mode, days } */
error *repo_s3_lock_option(s3 *s, const value *options);
void repo_s3_lock_until(const s3 *s, char until[21]);
/* Locks what is there already. */
error *repo_s3_lock_put(s3 *s, const s3_call *of);
void repo_s3_lock_note(s3_call *c, const http_answer *a);
/* Takes over `e`, of a DELETE that failed; says until when, if that is why. */
error *repo_s3_lock_refused(s3 *s, s3_call *c, error *e);

#ifdef SAROS_TEST
#define repo_s3_backoff_ms repo_remote_backoff_ms
extern _Atomic int repo_s3_ahead; /* seconds our clock is wrong */
#endif

#endif
