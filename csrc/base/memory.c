/*
** memory: copies of strings, and in a test build the counting allocator.
*/
#include "base/memory.h"

#include <stdint.h>
#include <string.h>

#ifdef SAROS_TEST

#include <stdatomic.h>
#include <stdbool.h>

static atomic_long fail_in; /* requests until the one that fails, 0: never */
static atomic_long blocks;


/* Whether this request is the one. Requests come from many threads, and just
   one of them may see the count arrive. */
static bool fails(void) {
  long left = atomic_load(&fail_in);
  while (left > 0)
    if (atomic_compare_exchange_weak(&fail_in, &left, left - 1))
      return left == 1;
  return false;
}


static void *counted(void *block) {
  if (block != NULL) atomic_fetch_add(&blocks, 1);
  return block;
}


void *mem_alloc(size_t size) {
  return fails() ? NULL : counted(malloc(size));
}


void *mem_zero(size_t size) {
  return fails() ? NULL : counted(calloc(1, size));
}


void *mem_grow(void *block, size_t size) {
  if (fails()) return NULL;
  if (block == NULL) return counted(malloc(size));
  return realloc(block, size);
}


void mem_free(void *block) {
  if (block != NULL) atomic_fetch_sub(&blocks, 1);
  free(block);
}


void mem_fail_at(long n) {
  atomic_store(&fail_in, n);
}


long mem_fail_left(void) {
  return atomic_load(&fail_in);
}


long mem_blocks(void) {
  return atomic_load(&blocks);
}

#endif


char *mem_text(const char *text) {
  return text != NULL ? mem_bytes(text, strlen(text)) : NULL;
}


char *mem_bytes(const void *bytes, size_t size) {
  if (size == SIZE_MAX) return NULL;
  char *copy = mem_alloc(size + 1);
  if (copy == NULL) return NULL;
  if (size > 0) memcpy(copy, bytes, size); /* `bytes` may be NULL when not */
  copy[size] = '\0';
  return copy;
}
