/*
** id: SHA-256. Each thread keeps one context of OpenSSL's, since to make one
** costs as much as to hash a kilobyte.
*/
#define OPENSSL_SUPPRESS_DEPRECATED /* see hash_without_memory */
#include "repository/id.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "repository/openssl.h"

struct repo_hash {
  EVP_MD_CTX *context;
};


/* ------------------------------------------------------------------
** Hashing
** ---------------------------------------------------------------- */

static pthread_key_t thread_context;
static bool thread_context_works;

static void drop(void *context) {
  EVP_MD_CTX_free(context);
}


static void make_key(void) {
  thread_context_works = pthread_key_create(&thread_context, drop) == 0;
}


/* This thread's; NULL: no memory for one. */
static EVP_MD_CTX *context_here(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_key);
  if (!thread_context_works) return NULL;
  EVP_MD_CTX *context = pthread_getspecific(thread_context);
  if (context != NULL) return context;
  context = EVP_MD_CTX_new();
  if (context == NULL) return NULL;
  if (pthread_setspecific(thread_context, context) == 0) return context;
  EVP_MD_CTX_free(context);
  return NULL;
}


/* The old functions are deprecated, but they allocate nothing: an id cannot
   fail to be made, however little memory there is. */
static void hash_without_memory(repo_id *id, const void *data, size_t size) {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, data, size);
  SHA256_Final(id->bytes, &context);
}


void repo_id_of(repo_id *id, const void *data, size_t size) {
  const repo_openssl *openssl = repo_openssl_get();
  EVP_MD_CTX *context = openssl != NULL ? context_here() : NULL;
  if (context == NULL || !EVP_DigestInit_ex2(context, openssl->sha256, NULL) ||
      !EVP_DigestUpdate(context, data, size) ||
      !EVP_DigestFinal_ex(context, id->bytes, NULL))
    hash_without_memory(id, data, size);
}


repo_hash *repo_hash_new(void) {
  const repo_openssl *openssl = repo_openssl_get();
  if (openssl == NULL) return NULL;
  repo_hash *h = mem_zero(sizeof *h);
  if (h == NULL) return NULL;
  h->context = EVP_MD_CTX_new();
  if (h->context != NULL &&
      EVP_DigestInit_ex2(h->context, openssl->sha256, NULL))
    return h;
  repo_hash_free(h);
  return NULL;
}


/* With a context that was set up once these have nothing left to fail at. */
void repo_hash_add(repo_hash *h, const void *data, size_t size) {
  EVP_DigestUpdate(h->context, data, size);
}


void repo_hash_end(repo_hash *h, repo_id *id) {
  EVP_DigestFinal_ex(h->context, id->bytes, NULL);
  EVP_DigestInit_ex2(h->context, NULL, NULL);
}


void repo_hash_free(repo_hash *h) {
  if (h == NULL) return;
  EVP_MD_CTX_free(h->context);
  mem_free(h);
}


/* ------------------------------------------------------------------
** As text
** ---------------------------------------------------------------- */

/* 16 and more: it is none. Without a branch: no processor could predict it, and
   an index has millions of them. */
static unsigned digit(char c) {
  unsigned number = (unsigned)(uint8_t)c - '0',
           letter = (unsigned)(uint8_t)c - 'a';
  unsigned of_letter = letter < 6 ? letter + 10 : 16;
  return number < 10 ? number : of_letter;
}


bool repo_id_parse(repo_id *id, const char *text, size_t size) {
  repo_id parsed;
  unsigned any = 0;
  if (size != (size_t)2 * REPO_ID) return false;
  for (size_t i = 0; i < REPO_ID; i++) {
    unsigned high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    any |= high | low;
    parsed.bytes[i] = (uint8_t)(high << 4 | low);
  }
  if (any > 15) return false;
  *id = parsed;
  return true;
}


void repo_id_format(const repo_id *id, char text[REPO_ID_TEXT]) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < REPO_ID; i++) {
    text[2 * i] = digits[id->bytes[i] >> 4];
    text[2 * i + 1] = digits[id->bytes[i] & 15];
  }
  text[2 * REPO_ID] = '\0';
}


int repo_id_compare(const repo_id *a, const repo_id *b) {
  return memcmp(a->bytes, b->bytes, REPO_ID);
}


bool repo_id_equal(const repo_id *a, const repo_id *b) {
  return memcmp(a->bytes, b->bytes, REPO_ID) == 0;
}
