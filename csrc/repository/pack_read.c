/*
** pack_read: the header of a pack, which may be anything: nothing in it is
** believed before all of it adds up to the size that the pack has.
*/
#include <string.h>

#include "repository/pack_parts.h"

#define TRAILER ((size_t)4)
/* One blob of nothing. */
#define LEAST (REPO_SEAL + REPO_ENTRY_PLAIN + REPO_SEAL + TRAILER)

static uint32_t number(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
         (uint32_t)p[3] << 24;
}


static error *damaged(const char *what) {
  return repo_error(SAROS_E_DAMAGED,
                    "a pack's header is damaged, %s: repair the index, and "
                    "back up again what was in it",
                    what);
}


/* One entry; how many bytes it took, 0: it is none. */
static size_t read_entry(const uint8_t *p, size_t size, repo_blob *blob) {
  if (size < REPO_ENTRY_PLAIN || p[0] > (REPO_TREE | REPO_ENTRY_IS_PACKED))
    return 0;
  bool packed = (p[0] & REPO_ENTRY_IS_PACKED) != 0;
  size_t taken = packed ? REPO_ENTRY_PACKED : REPO_ENTRY_PLAIN;
  if (size < taken) return 0;
  blob->type = p[0] & REPO_TREE;
  blob->length = number(p + 1);
  blob->plain_length = packed ? number(p + 5) : 0;
  memcpy(blob->id.bytes, p + taken - REPO_ID, REPO_ID);
  if (blob->length < REPO_SEAL) return 0;
  if (packed && blob->plain_length == 0) return 0; /* it would not be packed */
  return taken;
}


/* All of them, and into `blobs` if that is not NULL. */
static error *read_entries(const uint8_t *p, size_t size, uint64_t room,
                           repo_blob *blobs, size_t *count) {
  uint64_t offset = 0;
  size_t n = 0;
  while (size > 0) {
    repo_blob blob;
    size_t taken = read_entry(p, size, &blob);
    if (taken == 0) return damaged("an entry of it is none");
    if (offset > UINT32_MAX) return damaged("a blob is beyond 4 GiB");
    blob.offset = (uint32_t)offset;
    offset += blob.length;
    if (offset > room) return damaged("it lists more than the pack has");
    if (blobs != NULL) blobs[n] = blob;
    n++;
    p += taken;
    size -= taken;
  }
  if (offset != room) return damaged("it lists less than the pack has");
  *count = n;
  return NULL;
}


static error *read_plain(const uint8_t *plain, size_t size, uint64_t room,
                         repo_blob **blobs, size_t *count) {
  error *e = read_entries(plain, size, room, NULL, count);
  if (e != NULL) return e;
  repo_blob *all = mem_alloc(*count * sizeof *all);
  if (all == NULL) return error_no_memory();
  (void)read_entries(plain, size, room, all, count); /* as before */
  *blobs = all;
  return NULL;
}


error *repo_pack_read_header(repo_sealer *s, const void *end, size_t size,
                             uint64_t whole, size_t *need, repo_blob **blobs,
                             size_t *count) {
  const uint8_t *last = (const uint8_t *)end + size;
  *need = 0;
  *blobs = NULL;
  *count = 0;
  if (size > whole)
    return repo_error(SAROS_E_UNEXPECTED,
                      "the end of a pack is longer than the pack");
  if (whole < LEAST) return damaged("the pack is too short to have one");
  if (size < TRAILER) {
    *need = whole < REPO_PACK_EAGER ? (size_t)whole : REPO_PACK_EAGER;
    return NULL;
  }
  uint32_t sealed = number(last - TRAILER);
  if (sealed < REPO_SEAL + REPO_ENTRY_PLAIN || sealed > REPO_HEADER_MOST - 4 ||
      sealed > whole - TRAILER)
    return damaged("its length is impossible");
  if (size < sealed + TRAILER) {
    *need = sealed + TRAILER;
    return NULL;
  }
  uint8_t *plain = mem_alloc(sealed - REPO_SEAL);
  if (plain == NULL) return error_no_memory();
  error *e = repo_unseal(s, last - TRAILER - sealed, sealed, plain);
  if (e == NULL)
    e = read_plain(plain, sealed - REPO_SEAL, whole - TRAILER - sealed, blobs,
                   count);
  mem_free(plain);
  return e;
}
