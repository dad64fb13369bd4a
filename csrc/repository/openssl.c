/*
** openssl: the algorithms, fetched once and kept as long as the process lives.
*/
#include "repository/openssl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>

/* A lock of its own, below all others: nothing is called under it but
   OpenSSL. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static repo_openssl kept;
static _Atomic(const repo_openssl *) ready;


/* What was found stays found, so that a second try needs only the rest. */
static const repo_openssl *fetch(void) {
  /* The host may be OpenSSL's user too: its clean-up at exit is his to ask
     for, and what we do wrong does not belong among his errors. */
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
  ERR_set_mark();
  if (kept.sha256 == NULL) kept.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  if (kept.ctr == NULL) kept.ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
  if (kept.ecb == NULL) kept.ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
  if (kept.poly1305 == NULL)
    kept.poly1305 = EVP_MAC_fetch(NULL, "POLY1305", NULL);
  ERR_pop_to_mark();
  if (kept.sha256 == NULL || kept.ctr == NULL || kept.ecb == NULL ||
      kept.poly1305 == NULL)
    return NULL;
  return &kept;
}


const repo_openssl *repo_openssl_get(void) {
  const repo_openssl *found = atomic_load(&ready);
  if (found != NULL) return found;
  pthread_mutex_lock(&lock);
  found = atomic_load(&ready);
  if (found == NULL) {
    found = fetch();
    atomic_store(&ready, found);
  }
  pthread_mutex_unlock(&lock);
  return found;
}
