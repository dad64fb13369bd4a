/*
** aes: which form is used; and OpenSSL's, for processors without AES.
*/
#include "repository/aes.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "repository/aes_parts.h"
#include "repository/openssl.h"

/* ------------------------------------------------------------------
** OpenSSL's
** ---------------------------------------------------------------- */

static void openssl_expand(repo_aes_keys *keys) {
  (void)keys;
}


/* The reset wipes what the context has of the key, and frees it. */
static void openssl_end(repo_aes *a) {
  EVP_CIPHER_CTX_reset(a->context);
}


static bool openssl_block(repo_aes *a, const uint8_t in[16], uint8_t out[16]) {
  int size = 0;
  bool good = EVP_EncryptInit_ex2(a->context, repo_openssl_get()->ecb,
                                  a->keys->small, NULL, NULL) &&
              EVP_CIPHER_CTX_set_padding(a->context, 0) &&
              EVP_EncryptUpdate(a->context, out, &size, in, 16) && size == 16;
  openssl_end(a);
  return good;
}


static bool openssl_begin(repo_aes *a, const uint8_t iv[16]) {
  return EVP_EncryptInit_ex2(a->context, repo_openssl_get()->ctr, a->keys->big,
                             iv, NULL);
}


/* In steps, since OpenSSL counts in int. */
static bool openssl_count(repo_aes *a, const uint8_t *in, uint8_t *out,
                          size_t size) {
  const size_t most = (size_t)1 << 30;
  while (size > 0) {
    int put, piece = (int)(size < most ? size : most);
    if (!EVP_EncryptUpdate(a->context, out, &put, in, piece)) return false;
    in += piece;
    out += piece;
    size -= (size_t)piece;
  }
  return true;
}


/* ------------------------------------------------------------------
** Which
** ---------------------------------------------------------------- */

static repo_aes_form forms[3];
static size_t form_count;
static pthread_once_t forms_once = PTHREAD_ONCE_INIT;
static _Atomic(const repo_aes_form *) used;

static void find_forms(void) {
  form_count = repo_aes_ni_forms(forms);
  forms[form_count++] =
      (repo_aes_form){"openssl",     openssl_expand, openssl_block,
                      openssl_begin, openssl_count,  openssl_end};
}


const repo_aes_form *repo_aes_forms(size_t *count) {
  pthread_once(&forms_once, find_forms);
  *count = form_count;
  return forms;
}


void repo_aes_use(const repo_aes_form *form) {
  atomic_store(&used, form);
}


bool repo_aes_open(repo_aes *a, repo_aes_keys *keys) {
  size_t count;
  const repo_aes_form *form = atomic_load(&used);
  a->form = form != NULL ? form : repo_aes_forms(&count);
  a->keys = keys;
  a->context = NULL;
  if (a->form->begin == openssl_begin) {
    a->context = EVP_CIPHER_CTX_new();
    if (a->context == NULL) return false;
  }
  a->form->expand(keys);
  return true;
}


void repo_aes_close(repo_aes *a) {
  EVP_CIPHER_CTX_free(a->context);
  *a = (repo_aes){0};
}
