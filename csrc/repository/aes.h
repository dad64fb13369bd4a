/*
** AES as sealing has it: AES-256 in counter mode, and AES-128 of one block. The
** round keys lie in secret memory, and nowhere else: OpenSSL has its contexts
** on
** the ordinary heap, where a core dump would find them. Where the processor has
** AES we use it ourselves; elsewhere OpenSSL gets the key for one blob at a
** time
** and wipes it when that is done.
*/
#ifndef SAROS_REPOSITORY_AES_H
#define SAROS_REPOSITORY_AES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evp_cipher_ctx_st;

/* In secret memory. */
typedef struct repo_aes_keys {
  uint8_t big[32], small[16];            /* as they were given */
  uint8_t rounds[15][16], fewer[11][16]; /* of the big one, of the small one */
  uint8_t counter[16];
} repo_aes_keys;

typedef struct repo_aes_form repo_aes_form;

/* For one thread. */
typedef struct repo_aes {
  const repo_aes_form *form;
  repo_aes_keys *keys;
  struct evp_cipher_ctx_st *context; /* without a key, but between begin, end */
} repo_aes;

/* False: OpenSSL failed. */
struct repo_aes_form {
  const char *name;
  void (*expand)(repo_aes_keys *keys);
  bool (*block)(repo_aes *a, const uint8_t in[16], uint8_t out[16]);
  bool (*begin)(repo_aes *a, const uint8_t iv[16]);
  /* In whole blocks but the last time. `out` may be `in`. */
  bool (*count)(repo_aes *a, const uint8_t *in, uint8_t *out, size_t size);
  void (*end)(repo_aes *a); /* also when something failed */
};

/* `keys` with big and small in it; it stays the caller's, as long as this.
   False: no memory. */
bool repo_aes_open(repo_aes *a, repo_aes_keys *keys);
void repo_aes_close(repo_aes *a);

/* What this processor can do, the fastest first; all give the same. */
const repo_aes_form *repo_aes_forms(size_t *count);
/* Of what is opened from now on. NULL: the fastest. For tests. */
void repo_aes_use(const repo_aes_form *form);

#endif
