/*
** Digests of a file, in slices: between two of them the lane carries other
** transfers on.
*/
#include <errno.h>

#include "bits/upload.h"

#define SLICE ((uint64_t)1 << 20)
#define ROOM ((size_t)256 << 10)

static void forget(upload_digest *d) {
  EVP_MD_CTX_free(d->md5_context);
  EVP_MD_CTX_free(d->sha256_context);
  mem_free(d->room);
  d->md5_context = d->sha256_context = NULL;
  d->room = NULL;
}

static bool add(upload_digest *d, size_t size) {
  return (d->md5_context == NULL ||
          EVP_DigestUpdate(d->md5_context, d->room, size) == 1) &&
         (d->sha256_context == NULL ||
          EVP_DigestUpdate(d->sha256_context, d->room, size) == 1);
}

static bool end(upload_digest *d) {
  uint8_t sha256[32];
  if (d->md5_context != NULL) {
    if (EVP_DigestFinal_ex(d->md5_context, d->md5, NULL) != 1) return false;
    http_sign_hex(d->md5_hex, d->md5, sizeof d->md5);
  }
  if (d->sha256_context != NULL) {
    if (EVP_DigestFinal_ex(d->sha256_context, sha256, NULL) != 1) return false;
    http_sign_hex(d->sha256, sha256, sizeof sha256);
  }
  return true;
}

static int slice(upload_digest *d) {
  uint64_t until = d->end - d->at > SLICE ? d->at + SLICE : d->end;
  while (d->at < until) {
    size_t n = until - d->at < ROOM ? (size_t)(until - d->at) : ROOM;
    int number = upload_read(&d->u->local, d->at, d->room, n);
    if (number != 0) return number;
    if (!add(d, n)) return ENOSYS;
    d->at += n;
  }
  return 0;
}

static void go_on(void *context) {
  upload_digest *d = context;
  upload *u = d->u;
  int number = u->over ? ECANCELED : slice(d);
  if (number == 0 && d->at < d->end) {
    if (http_lane_call(u->lane, go_on, d)) return;
    number = ENOMEM;
  }
  if (number == 0 && !end(d)) number = ENOSYS;
  forget(d);
  d->done(u, d, number);
  upload_leave(u);
}

static bool make(EVP_MD_CTX **context, const EVP_MD *md) {
  *context = EVP_MD_CTX_new();
  return *context != NULL && EVP_DigestInit_ex(*context, md, NULL) == 1;
}

bool upload_digest_start(upload_digest *d) {
  d->room = mem_alloc(ROOM);
  if (d->room != NULL && (!d->wants_md5 || make(&d->md5_context, EVP_md5())) &&
      (!d->wants_sha256 || make(&d->sha256_context, EVP_sha256())) &&
      http_lane_call(d->u->lane, go_on, d)) {
    upload_enter(d->u);
    return true;
  }
  forget(d);
  return false;
}
