/*
** AES-256-CTR, then Poly1305-AES over what came out; scrypt; randomness; and
** memory for secrets, which is locked, left out of core dumps and wiped.
*/
#ifndef SAROS_REPOSITORY_CRYPTO_H
#define SAROS_REPOSITORY_CRYPTO_H

#include "repository/repository.h"

#define REPO_IV 16
#define REPO_TAG 16
#define REPO_SEAL (REPO_IV + REPO_TAG) /* what sealing adds */

typedef struct repo_key {
  uint8_t encrypt[32], k[16], r[16];
} repo_key;

/* False: a part of it is zero, as all are in a child of fork. */
bool repo_key_is_valid(const repo_key *key);

/* A key's schedule: one for each thread. In a child of fork it answers
   SAROS_E_FORKED. */
typedef struct repo_sealer repo_sealer;
repo_sealer *repo_sealer_new(const repo_key *key, error **e);
void repo_sealer_free(repo_sealer *s);

/* `out` gets size + REPO_SEAL bytes; plain may be out + REPO_IV. */
error *repo_seal(repo_sealer *s, const void *plain, size_t size, void *out);
/* With an IV of the caller's, who must never take it twice: for tests. */
error *repo_seal_with(repo_sealer *s, const uint8_t iv[REPO_IV],
                      const void *plain, size_t size, void *out);
/* The tag is checked first. `plain` gets size - REPO_SEAL bytes; it may be
   sealed + REPO_IV. SAROS_E_DAMAGED when it is not what was sealed. */
error *repo_unseal(repo_sealer *s, const void *sealed, size_t size,
                   void *plain);

error *repo_random(void *bytes, size_t size);
/* 64 bytes: the user's key. Parameters are checked, also for what they cost:
   whoever wrote them may be hostile. */
error *repo_scrypt(const char *password, size_t size, const uint8_t salt[64],
                   uint64_t n, uint64_t r, uint64_t p, uint8_t out[64]);

/* For secrets: zero at first, and again in a child of fork; locked and left
   out of core dumps where that can be had. NULL: no memory.

   What holds: while nothing is sealed, unsealed or derived, the master key, its
   round keys, r, the password and what was made of it are here and nowhere else
   in the process: not on the heap, in freed memory, on a stack, in a register,
   nor in a child. Behind the last repo_unref they are not even here.

   What does not: in the middle of a blob a thread has round keys in registers,
   and OpenSSL's Poly1305 r on the ordinary heap and on the stack; a dump that
   is taken just then has them, and so has the stack of a thread when a signal
   handler ran there meanwhile, until the next blob. Where the processor has no
   AES of its own OpenSSL has the round keys on the heap for as long. Registers
   are wiped on x86 only. What the caller has is his: a string of Lua's, the
   environment, a file. A hibernated machine writes all of it to disk, and root
   reads it from a process that lives. And what is backed up is in ordinary
   memory until it is sealed. */
void *repo_secret_new(size_t size);
void repo_secret_free(void *secret, size_t size); /* wipes it first */
void repo_wipe(void *bytes, size_t size);

#endif
