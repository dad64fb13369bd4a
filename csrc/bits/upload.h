/*
** What uploads share: a local file that shall not change meanwhile, digests of
** it that are made in slices so that other transfers go on, and requests that
** are signed where there are keys. Everything on the lane's thread.
*/
#ifndef SAROS_BITS_UPLOAD_H
#define SAROS_BITS_UPLOAD_H

#include <openssl/evp.h>

#include "bits/address.h"
#include "bits/judge.h"
#include "bits/s3.h"
#include "bits/transfer.h"

/* ------------------------------------------------------------------
** The local file (send_file.c)
** ---------------------------------------------------------------- */

typedef struct upload_local {
  int fd; /* -1: closed */
  uint64_t device, inode, size;
  int64_t changed; /* when, in nanoseconds */
} upload_local;

/* 0 or errno; *what a literal: what was tried. */
int upload_open(upload_local *l, const char *path, const char **what);
void upload_close(upload_local *l);
/* All of it, or errno; ESTALE: it is shorter than it was. */
int upload_read(const upload_local *l, uint64_t at, void *room, size_t size);
/* It is not what it was, or its name is another one's. */
bool upload_is_changed(const upload_local *l, const char *path);

/* ------------------------------------------------------------------
** A try to upload (send_try.c): it is over when something is decided and all
** that was begun has come back.
** ---------------------------------------------------------------- */

typedef struct upload upload;
typedef struct upload_call upload_call;

struct upload {
  bits_try try; /* first */
  bits_file *file;
  bits_terms *terms;
  http_lane *lane;
  const bits_try_calls *calls;
  void *context;
  uint64_t up;
  unsigned per_host;
  upload_local local;
  bits_s3_place place;
  uint64_t settled;      /* bytes that have arrived, and are not sent again */
  unsigned pending;      /* calls that come back */
  upload_call *requests; /* those that are under way */
  unsigned request_count;
  bool stopped, over, begun;
  bits_result result;
  void (*ends)(upload *u);  /* before `ended`: a last word. NULL: none */
  void (*frees)(upload *u); /* what is around it */
};

/* Begins with `first` on the lane, soon. False: it cannot (*e); then nothing
   is left of what was begun here. */
bool upload_begin(upload *u, const bits_try_ask *ask, void (*first)(upload *u),
                  error **e);
/* One more call that comes back, and it did: as the last thing of a callback.
   The try may be gone. */
void upload_enter(upload *u);
void upload_leave(upload *u);
/* It is decided; the first word counts. Requests that are under way are
   cancelled, but with `drain`, when they may still do some good. */
void upload_over(upload *u, const bits_result *r, bool drain);
/* What is borne three times is counted. */
void upload_count(upload *u, const bits_result *r);
void upload_fail(upload *u, bits_end end, uint32_t code, bits_context context,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
void upload_fail_local(upload *u, int number, const char *what);
void upload_fail_memory(upload *u);
/* What is sent is no longer what the file is. */
void upload_fail_changed(upload *u);
/* What has arrived, and what is on its way. */
void upload_progress(upload *u);

/* ------------------------------------------------------------------
** Digests (send_digest.c)
** ---------------------------------------------------------------- */

typedef struct upload_digest upload_digest;
typedef void (*upload_digested)(upload *u, upload_digest *d, int number);

struct upload_digest {
  upload *u;
  uint64_t at, end;
  bool wants_md5, wants_sha256;
  upload_digested done; /* errno, ECANCELED when it is over, or 0 */
  /* What it found. */
  uint8_t md5[16];
  char md5_hex[33], sha256[HTTP_SIGN_HEX];
  /* Its own. */
  EVP_MD_CTX *md5_context, *sha256_context;
  char *room;
};

/* Of the bytes from at up to end. `done` comes once, never from within; false:
   no memory, or no such digest here. */
bool upload_digest_start(upload_digest *d);

/* ------------------------------------------------------------------
** One request (send_call.c)
** ---------------------------------------------------------------- */

struct upload_call {
  upload *u;
  const char *method;
  const char *url;   /* NULL: the file's */
  const char *query; /* more of it, escaped, or NULL */
  bits_s3_fields fields;
  /* A body: text, or bytes of the file. */
  const char *text;
  bool gives;
  uint64_t from, size;
  const upload_digest *digest; /* of what is given; or NULL */
  const char *content_type;
  const char *sha256; /* to be kept with the object, or NULL */
  bool once;
  bool plainly; /* without Expect: 100-continue */
  bool anyway;  /* also when the try is over: its last word */
  bool hashes;  /* an MD5 is made of what goes */
  size_t most;  /* bytes of the answer that are kept; more are an error, unless
                   it is 0 */
  /* Called once; a->… is valid in it. Also when the try is over. */
  void (*done)(upload_call *c, const http_answer *a);
  /* What came. */
  buffer answer;
  http_problem problem; /* of a request that is signed */
  char etag[80];        /* without its quotes; "" when there is none */
  bool etag_is_md5;
  bool etag_is_sealed; /* of what is encrypted: no digest of ours */
  int number;          /* errno of the file, or 0 */
  /* Its own. */
  uint64_t at;
  EVP_MD_CTX *md5;
  http_request *request;
  upload_call *next, **link;
  http_piece piece;
  char digest_of_text[HTTP_SIGN_HEX];
};

/* False: the try is over, and says why; `done` is not called. */
bool upload_call_start(upload_call *c);
/* The bytes that went of it. */
bool upload_call_md5(upload_call *c, char hex[33]);
void upload_call_free(upload_call *c); /* what came, not itself */
/* 2xx, whole. */
bool upload_call_is_good(const upload_call *c, const http_answer *a);
/* Limits go to the requests that are under way, each the same. */
void upload_divide(upload *u);

#endif
