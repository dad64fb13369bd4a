/*
** sha: streams of bytes cut into blocks for the form that does the work.
*/
/* Its SHA256_Update takes a state without a context that must be allocated. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "repository/sha.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "repository/sha_parts.h"

#define BLOCK ((size_t)64)

static void openssl_one(uint32_t state[8], const uint8_t *data, size_t count) {
  SHA256_CTX context;
  memset(&context, 0, sizeof context);
  memcpy(context.h, state, sizeof context.h);
  context.md_len = SHA256_DIGEST_LENGTH;
  SHA256_Update(&context, data, count * BLOCK); /* cannot fail */
  memcpy(state, context.h, sizeof context.h);
}


static void openssl_two(uint32_t state[8], const uint8_t *data,
                        uint32_t other[8], const uint8_t *other_data,
                        size_t count) {
  openssl_one(state, data, count);
  openssl_one(other, other_data, count);
}


static repo_sha_form forms[2];
static size_t form_count;
static pthread_once_t forms_once = PTHREAD_ONCE_INIT;
static _Atomic(const repo_sha_form *) used;

static void find_forms(void) {
  if (repo_sha_can_ni())
    forms[form_count++] =
        (repo_sha_form){"sha-ni", repo_sha_ni_one, repo_sha_ni_two};
  forms[form_count++] = (repo_sha_form){"openssl", openssl_one, openssl_two};
}


const repo_sha_form *repo_sha_forms(size_t *count) {
  pthread_once(&forms_once, find_forms);
  *count = form_count;
  return forms;
}


void repo_sha_use(const repo_sha_form *form) {
  atomic_store(&used, form);
}


static const repo_sha_form *form_now(void) {
  size_t count;
  const repo_sha_form *form = atomic_load_explicit(&used, memory_order_relaxed);
  return form != NULL ? form : repo_sha_forms(&count);
}


void repo_sha_begin(repo_sha *s) {
  static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                    0xa54ff53a, 0x510e527f, 0x9b05688c,
                                    0x1f83d9ab, 0x5be0cd19};
  memcpy(s->state, first, sizeof first);
  s->size = 0;
}


/* Completes a block that was begun, if there is one; then whole blocks are
   left in *data, and the number of them is returned. */
static size_t open_block(const repo_sha_form *form, repo_sha *s,
                         const uint8_t **data, size_t *size) {
  size_t held = s->size % BLOCK;
  if (held > 0 && *size > 0) {
    size_t part = *size < BLOCK - held ? *size : BLOCK - held;
    memcpy(s->rest + held, *data, part);
    s->size += part;
    *data += part;
    *size -= part;
    if (s->size % BLOCK == 0) form->one(s->state, s->rest, 1);
  }
  return *size / BLOCK;
}


static void pass(repo_sha *s, const uint8_t **data, size_t *size,
                 size_t count) {
  s->size += count * BLOCK;
  *data += count * BLOCK;
  *size -= count * BLOCK;
}


/* The blocks that are left, and the beginning of another. */
static void close_block(const repo_sha_form *form, repo_sha *s,
                        const uint8_t *data, size_t size) {
  size_t count = size / BLOCK;
  if (count > 0) {
    form->one(s->state, data, count);
    pass(s, &data, &size, count);
  }
  if (size > 0) memcpy(s->rest, data, size);
  s->size += size;
}


void repo_sha_add(repo_sha *s, const void *data, size_t size) {
  const repo_sha_form *form = form_now();
  const uint8_t *p = data;
  open_block(form, s, &p, &size);
  if (size > 0) close_block(form, s, p, size);
}


void repo_sha_add_two(repo_sha *s, const void *data, size_t size,
                      repo_sha *other, const void *other_data,
                      size_t other_size) {
  const repo_sha_form *form = form_now();
  const uint8_t *p = data, *q = other_data;
  size_t count = open_block(form, s, &p, &size);
  size_t more = open_block(form, other, &q, &other_size);
  if (count > more) count = more;
  if (count > 0) {
    form->two(s->state, p, other->state, q, count);
    pass(s, &p, &size, count);
    pass(other, &q, &other_size, count);
  }
  if (size > 0) close_block(form, s, p, size);
  if (other_size > 0) close_block(form, other, q, other_size);
}


void repo_sha_end(repo_sha *s, repo_id *id) {
  const repo_sha_form *form = form_now();
  size_t held = s->size % BLOCK;
  uint64_t bits = s->size * 8;
  uint8_t end[2 * BLOCK] = {0};
  memcpy(end, s->rest, held);
  end[held] = 0x80;
  size_t size = held < BLOCK - 8 ? BLOCK : 2 * BLOCK;
  for (size_t i = 0; i < 8; i++) end[size - 1 - i] = (uint8_t)(bits >> 8 * i);
  form->one(s->state, end, size / BLOCK);
  for (size_t i = 0; i < 32; i++)
    id->bytes[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}
