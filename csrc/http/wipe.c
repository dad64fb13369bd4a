/*
** wipe: what libcurl frees is wiped first. A password goes through its buffers
** and would stay in freed memory, for a core dump to find.
**
** libcurl has such functions once for the whole process, and takes them from
** whoever initialises it first. If that is us, they serve the host as well: a
** block is malloc's, as before, so that he may free it as he likes. If it is
** him, libcurl frees as he says, and nothing is wiped that we do not see.
*/
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_parts.h"

void http_wipe(void *bytes, size_t size) {
  explicit_bzero(bytes, size);
}

/* ------------------------------------------------------------------
** Buffers of bodies
**
** libcurl has one a request, and of their size malloc asks the kernel for new
** pages each time, which takes longer than a small file: ours keep some while
** they have something to do. These are wiped when they are let go.
** ---------------------------------------------------------------- */

#define LARGE ((size_t)32 << 10)
#define KEPT_MOST 8

static _Thread_local struct {
  bool on;
  unsigned count;
  void *blocks[KEPT_MOST];
} kept;

static void *take_kept(size_t size) {
  for (unsigned i = kept.count; i-- > 0;) {
    void *block = kept.blocks[i];
    size_t has = malloc_usable_size(block);
    if (has < size || has / 2 > size) continue;
    kept.blocks[i] = kept.blocks[--kept.count];
    return block;
  }
  return NULL;
}

static bool keep(void *block) {
  if (!kept.on || kept.count == KEPT_MOST) return false;
  kept.blocks[kept.count++] = block;
  return true;
}

/* Of a large block, which is a buffer of bodies: a header of ours stands at its
   beginning, and to wipe all of it takes longer than a small file. */
#define WIPED_MOST ((size_t)64 << 10)

#ifdef SAROS_TEST
void (*http_wiped)(const char *block, size_t size); /* looks at what goes */
#endif

static void wipe_and_free(void *block) {
  size_t size = malloc_usable_size(block);
  http_wipe(block, size < WIPED_MOST ? size : WIPED_MOST);
#ifdef SAROS_TEST
  if (http_wiped != NULL) http_wiped(block, size);
#endif
  free(block);
}

void http_wipe_keep(bool on) {
  kept.on = on;
  while (!on && kept.count > 0) wipe_and_free(kept.blocks[--kept.count]);
}

/* ------------------------------------------------------------------
** What libcurl calls
** ---------------------------------------------------------------- */

static void *wiped_alloc(size_t size) {
  void *block = size >= LARGE ? take_kept(size) : NULL;
  return block != NULL ? block : malloc(size);
}

static void *wiped_zero(size_t count, size_t size) {
  return calloc(count, size);
}

static char *wiped_copy(const char *text) {
  return strdup(text);
}

static void wiped_free(void *block) {
  if (block == NULL) return;
  if (malloc_usable_size(block) >= LARGE && keep(block)) return;
  wipe_and_free(block);
}

/* realloc might move it, and leave the old one as it was. */
static void *wiped_grow(void *block, size_t size) {
  size_t had = block != NULL ? malloc_usable_size(block) : 0;
  if (block != NULL && size <= had && size >= had / 2) return block;
  void *other = malloc(size);
  if (other == NULL || block == NULL) return other;
  memcpy(other, block, size < had ? size : had);
  wiped_free(block);
  return other;
}

bool http_wipe_begin(void) {
  return curl_global_init_mem(CURL_GLOBAL_DEFAULT, wiped_alloc, wiped_free,
                              wiped_grow, wiped_copy, wiped_zero) == CURLE_OK;
}
