/*
** crypto: sealing. The counter's first value is the IV; the one-time key of
** Poly1305 is r and the IV, encrypted once; so the tag binds the IV although
** it is taken of the ciphertext alone.
**
** Keys rest in secret memory alone. OpenSSL's Poly1305 has r while it works,
** and wipes it with the end of the tag; what it and we leave on the stack and
** in
** registers is wiped behind every call.
*/
#include "repository/crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/traces.h"
#include "repository/aes.h"
#include "repository/openssl.h"
#include "repository/secret.h"

/* How much is encrypted before it is hashed: it is then still in the cache.
   And how many IVs are got from the kernel at once. */
enum { PIECE = 32 << 10, IVS = 64 };

/* In memory of its own. In a child of fork all of it is zero. */
typedef struct secrets {
  repo_aes_keys aes;
  uint8_t one_time[32]; /* r, then s */
  bool here;            /* false: this is a child */
  unsigned left;
  uint8_t ivs[IVS][REPO_IV]; /* the last `left` of them are not used yet */
} secrets;

struct repo_sealer {
  repo_aes aes;
  EVP_MAC_CTX *mac; /* without a key, but between begin and end */
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
  secrets *x = s->secret;
  memcpy(x->one_time, key->r, sizeof key->r);
  memcpy(x->aes.big, key->encrypt, sizeof key->encrypt);
  memcpy(x->aes.small, key->k, sizeof key->k);
  x->here = true;
  s->mac = EVP_MAC_CTX_new(o->poly1305);
  bool good = s->mac != NULL && repo_aes_open(&s->aes, &x->aes);
  traces_wipe();
  return good;
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
  return s;
}


void repo_sealer_free(repo_sealer *s) {
  if (s == NULL) return;
  repo_aes_close(&s->aes);
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
  uint8_t *one_time = s->secret->one_time;
  return s->aes.form->block(&s->aes, iv, one_time + 16) &&
         EVP_MAC_init(s->mac, one_time, sizeof s->secret->one_time, NULL) &&
         s->aes.form->begin(&s->aes, iv);
}


static bool take_tag(repo_sealer *s, uint8_t tag[REPO_TAG]) {
  size_t size;
  return EVP_MAC_final(s->mac, tag, &size, REPO_TAG) && size == REPO_TAG;
}


/* The tag was taken, or is wanted by nobody: to take it wipes the key. */
static void end(repo_sealer *s, bool good) {
  uint8_t nobodys[REPO_TAG];
  if (!good) (void)take_tag(s, nobodys);
  s->aes.form->end(&s->aes);
  traces_wipe_few();
}


static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}


/* Encrypts and hashes what comes out, piece by piece. */
static bool encrypt(repo_sealer *s, const uint8_t *plain, size_t size,
                    uint8_t *out) {
  for (size_t done = 0, piece; done < size; done += piece) {
    piece = least(size - done, PIECE);
    if (!s->aes.form->count(&s->aes, plain + done, out + done, piece) ||
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
  bool good = begin(s, iv) && encrypt(s, plain, size, to + REPO_IV) &&
              take_tag(s, to + REPO_IV + size);
  end(s, good);
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
              take_tag(s, tag);
  bool same = good &&
              CRYPTO_memcmp(tag, from + REPO_IV + size, REPO_TAG) == 0 &&
              !is_zero(iv, REPO_IV);
  if (same) good = s->aes.form->count(&s->aes, from + REPO_IV, plain, size);
  end(s, good);
  ERR_pop_to_mark();
  if (!good) return openssl_failed();
  if (same) return NULL;
  return repo_error(SAROS_E_DAMAGED,
                    "the data is not what was sealed with this key: it was "
                    "changed, or sealed with another one");
}
