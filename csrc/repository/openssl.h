/*
** What we use of OpenSSL, looked up once: to fetch an algorithm costs more
** than to hash a small file with it.
*/
#ifndef SAROS_REPOSITORY_OPENSSL_H
#define SAROS_REPOSITORY_OPENSSL_H

#include <openssl/evp.h>

typedef struct repo_openssl {
  EVP_MD *sha256;
  EVP_CIPHER *ctr; /* AES-256-CTR */
  EVP_CIPHER *ecb; /* AES-128-ECB */
  EVP_MAC *poly1305;
} repo_openssl;

/* Any thread. NULL: OpenSSL has not all of them here, or no memory; the next
   call tries again. */
const repo_openssl *repo_openssl_get(void);

#endif
