/*
** crypto: sealing. The counter's first value is the IV; the one-time key of
** Poly1305 is r and the IV, encrypted once; so the tag binds the IV although
** it is taken of the ciphertext alone.
*/
#include "repository/crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "repository/openssl.h"
#include "repository/secret.h"

/* How much is encrypted before it is hashed: it is then still in the cache.
   And how many IVs are got from the kernel at once. */
enum { PIECE = 32 << 10, IVS = 64 };

/* In memory of its own. In a child of fork all of it is zero. */
typedef struct secrets {
  bool here;            /* false: this is a child */
  uint8_t one_time[32]; /* r, then s */
  unsigned left;
  uint8_t ivs[IVS][REPO_IV]; /* the last `left` of them are not used yet */
} secrets;

struct repo_sealer {
  EVP_CIPHER_CTX *ctr, *ecb; /* with their keys: only the IV is set again */
  EVP_MAC_CTX *mac;
  secrets *secret;
  bool many; /* IVs may wait here, since a child of fork would not see them */
};


/* ------------------------------------------------------------------
** The sealer
** ---------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t size) {
  uint8_t any = 0;
  for (size_t i = 0; i < size; i++) any |= bytes[i];
  return any == 0;
}


bool repo_key_is_valid(const repo_key *key) {
  return !is_zero(key->encrypt, sizeof key->encrypt) &&
         !is_zero(key->k, sizeof key->k) && !is_zero(key->r, sizeof key->r);
}


static bool set_up(repo_sealer *s, const repo_openssl *o, const repo_key *key) {
  s->ctr = EVP_CIPHER_CTX_new();
  s->ecb = EVP_CIPHER_CTX_new();
  s->mac = EVP_MAC_CTX_new(o->poly1305);
  return s->ctr != NULL && s->ecb != NULL && s->mac != NULL &&
         EVP_EncryptInit_ex2(s->ctr, o->ctr, key->encrypt, NULL, NULL) &&
         EVP_EncryptInit_ex2(s->ecb, o->ecb, key->k, NULL, NULL) &&
         EVP_CIPHER_CTX_set_padding(s->ecb, 0);
}


repo_sealer *repo_sealer_new(const repo_key *key, error **e) {
  if (!repo_key_is_valid(key)) {
    *e = repo_error(SAROS_E_DAMAGED,
                    "the key is none: a part of it is zero. Open the "
                    "repository again, and not in a child of fork");
    return NULL;
  }
  const repo_openssl *o = repo_openssl_get();
  if (o == NULL) {
    *e = repo_error(SAROS_E_FAIL,
                    "OpenSSL has no SHA-256, AES or Poly1305 here; see its "
                    "configuration (openssl.cnf)");
    return NULL;
  }
  repo_sealer *s = mem_zero(sizeof *s);
  if (s != NULL) s->secret = repo_secret_map(sizeof *s->secret, &s->many);
  ERR_set_mark();
  bool good = s != NULL && s->secret != NULL && set_up(s, o, key);
  ERR_pop_to_mark();
  if (!good) {
    repo_sealer_free(s);
    *e = error_no_memory();
    return NULL;
  }
  s->secret->here = true;
  memcpy(s->secret->one_time, key->r, sizeof key->r);
  return s;
}


void repo_sealer_free(repo_sealer *s) {
  if (s == NULL) return;
  EVP_CIPHER_CTX_free(s->ctr); /* these wipe what they have */
  EVP_CIPHER_CTX_free(s->ecb);
  EVP_MAC_CTX_free(s->mac);
  repo_secret_free(s->secret, sizeof *s->secret);
  mem_free(s);
}


static error *in_a_child(void) {
  return repo_error(SAROS_E_FORKED,
                    "the repository was opened before a fork, by the parent; "
                    "open it here to use it here");
}


static error *openssl_failed(void) {
  return repo_error(SAROS_E_FAIL,
                    "OpenSSL could not encrypt or decrypt; there may be too "
                    "little memory");
}


/* ------------------------------------------------------------------
** Sealing
** ---------------------------------------------------------------- */

/* The next that was never used and is not zero. */
static error *take_iv(repo_sealer *s, uint8_t iv[REPO_IV]) {
  secrets *x = s->secret;
  do {
    if (x->left == 0) {
      unsigned count = s->many ? IVS : 1;
      error *e = repo_random(x->ivs[IVS - count], (size_t)count * REPO_IV);
      if (e != NULL) return e;
      x->left = count;
    }
    uint8_t *next = x->ivs[IVS - x->left];
    memcpy(iv, next, REPO_IV);
    x->left--;
    repo_wipe(next, REPO_IV);
  } while (is_zero(iv, REPO_IV));
  return NULL;
}


/* Sets the IV, for the cipher and for the tag. */
static bool begin(repo_sealer *s, const uint8_t iv[REPO_IV]) {
  int size;
  uint8_t *one_time = s->secret->one_time;
  return EVP_EncryptUpdate(s->ecb, one_time + 16, &size, iv, REPO_IV) &&
         size == REPO_IV &&
         EVP_MAC_init(s->mac, one_time, sizeof s->secret->one_time, NULL);
}


static bool end(repo_sealer *s, uint8_t tag[REPO_TAG]) {
  size_t size;
  return EVP_MAC_final(s->mac, tag, &size, REPO_TAG) && size == REPO_TAG;
}


static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}


/* Encrypts and hashes what comes out, piece by piece. */
static bool encrypt(repo_sealer *s, const uint8_t iv[REPO_IV],
                    const uint8_t *plain, size_t size, uint8_t *out) {
  if (!EVP_EncryptInit_ex2(s->ctr, NULL, NULL, iv, NULL)) return false;
  for (size_t done = 0, piece; done < size; done += piece) {
    int put;
    piece = least(size - done, PIECE);
    if (!EVP_EncryptUpdate(s->ctr, out + done, &put, plain + done,
                           (int)piece) ||
        !EVP_MAC_update(s->mac, out + done, piece))
      return false;
  }
  return true;
}


error *repo_seal_with(repo_sealer *s, const uint8_t iv[REPO_IV],
                      const void *plain, size_t size, void *out) {
  uint8_t *to = out;
  if (!s->secret->here) return in_a_child();
  ERR_set_mark();
  bool good = begin(s, iv) && encrypt(s, iv, plain, size, to + REPO_IV) &&
              end(s, to + REPO_IV + size);
  ERR_pop_to_mark();
  memcpy(to, iv, REPO_IV);
  return good ? NULL : openssl_failed();
}


error *repo_seal(repo_sealer *s, const void *plain, size_t size, void *out) {
  uint8_t iv[REPO_IV];
  if (!s->secret->here) return in_a_child();
  error *e = take_iv(s, iv);
  return e != NULL ? e : repo_seal_with(s, iv, plain, size, out);
}


/* ------------------------------------------------------------------
** Unsealing
** ---------------------------------------------------------------- */

/* In steps, since OpenSSL counts in int. */
static bool decrypt(repo_sealer *s, const uint8_t iv[REPO_IV],
                    const uint8_t *from, size_t size, uint8_t *to) {
  enum { MOST = 1 << 30 };
  if (!EVP_EncryptInit_ex2(s->ctr, NULL, NULL, iv, NULL)) return false;
  for (size_t done = 0, piece; done < size; done += piece) {
    int put;
    piece = least(size - done, MOST);
    if (!EVP_EncryptUpdate(s->ctr, to + done, &put, from + done, (int)piece))
      return false;
  }
  return true;
}


error *repo_unseal(repo_sealer *s, const void *sealed, size_t size,
                   void *plain) {
  const uint8_t *from = sealed;
  uint8_t iv[REPO_IV], tag[REPO_TAG];
  if (!s->secret->here) return in_a_child();
  if (size < REPO_SEAL)
    return repo_error(SAROS_E_DAMAGED,
                      "%zu bytes are too few to be sealed data", size);
  size -= REPO_SEAL;
  memcpy(iv, from, REPO_IV); /* `plain` may lie over it */
  ERR_set_mark();
  bool good = begin(s, iv) && EVP_MAC_update(s->mac, from + REPO_IV, size) &&
              end(s, tag);
  bool same = good &&
              CRYPTO_memcmp(tag, from + REPO_IV + size, REPO_TAG) == 0 &&
              !is_zero(iv, REPO_IV);
  if (same) good = decrypt(s, iv, from + REPO_IV, size, plain);
  ERR_pop_to_mark();
  if (!good) return openssl_failed();
  if (same) return NULL;
  return repo_error(SAROS_E_DAMAGED,
                    "the data is not what was sealed with this key: it was "
                    "changed, or sealed with another one");
}
