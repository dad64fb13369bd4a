/*
** pack: one that is being written, in memory.
**
** Its hash may lag behind what is in it: whoever has other bytes to hash brings
** it up to date at the same time, and the end does what is left.
*/
#include "repository/pack.h"

#include <string.h>

#include "repository/pack_parts.h"
#include "repository/sha.h"

struct repo_pack {
  repo_blob_type type;
  size_t target;
  repo_pages pages;
  size_t size;
  size_t room;   /* that was asked for, behind `size` */
  size_t header; /* bytes of it, not sealed */
  size_t plain;  /* bytes of blobs that are not compressed */
  repo_sha hash;
  size_t hashed; /* bytes of `data` that are in the hash */
  repo_blob *blobs;
  size_t count, blob_capacity;
  bool ended;
};


repo_pack *repo_pack_new(repo_blob_type type, size_t target) {
  repo_pack *p = mem_zero(sizeof *p);
  if (p == NULL) return NULL;
  p->type = type;
  p->target = target;
  repo_sha_begin(&p->hash);
  return p;
}


void repo_pack_free(repo_pack *p) {
  if (p == NULL) return;
  repo_pages_free(&p->pages);
  mem_free(p->blobs);
  mem_free(p);
}


/* Half of its memory stays warm: what is given back has to be zeroed again.
   With blobs that are only sealed that would be felt, so quickly it is full. */
void repo_pack_clear(repo_pack *p) {
  if (p->plain <= p->size / 2) repo_pages_let_go(&p->pages, p->target / 2);
  p->size = p->room = p->header = p->plain = p->hashed = p->count = 0;
  p->ended = false;
  repo_sha_begin(&p->hash);
}


/* Memory for `more` bytes behind what is there. Most packs end a little beyond
   their target, so that is the first size; pages nobody touches cost nothing.
 */
static bool reserve(repo_pack *p, size_t more) {
  if (more > SIZE_MAX / 2 - p->size) return false;
  size_t wanted = p->size + more, there = p->pages.size;
  if (wanted <= there) return true;
  size_t first = p->target <= REPO_PACK_MOST ? p->target : REPO_PACK_MOST;
  if (there == 0 && wanted < first + first / 8)
    wanted = first + first / 8;
  else if (there > 0 && wanted < there + there / 4)
    wanted = there + there / 4;
  return repo_pages_grow(&p->pages, wanted);
}


void *repo_pack_room(repo_pack *p, size_t size) {
  if (p->ended || !reserve(p, size)) return NULL;
  p->room = size;
  return p->pages.data + p->size;
}


static size_t entry_size(const repo_blob *blob) {
  return blob->plain_length > 0 ? REPO_ENTRY_PACKED : REPO_ENTRY_PLAIN;
}


static error *refuse(const repo_pack *p, const repo_blob *blob) {
  if (p->ended)
    return repo_error(SAROS_E_UNEXPECTED,
                      "nothing is added to a pack that has ended");
  if (blob->type != p->type)
    return repo_error(SAROS_E_UNEXPECTED,
                      "a pack of %s gets no other blobs: begin one for them",
                      p->type == REPO_DATA ? "data" : "trees");
  if (blob->length < REPO_SEAL || blob->length > p->room)
    return repo_error(SAROS_E_UNEXPECTED,
                      "a blob of %lu bytes is no sealed one, or has no room: "
                      "ask for it first",
                      (unsigned long)blob->length);
  if (p->size > UINT32_MAX - blob->length ||
      p->header + entry_size(blob) > REPO_HEADER_PLAIN_MOST)
    return repo_error(SAROS_E_REFUSED,
                      "the pack would be too large for its format: end it, and "
                      "begin another");
  return NULL;
}


error *repo_pack_add(repo_pack *p, repo_blob *blob) {
  error *e = refuse(p, blob);
  if (e != NULL) return e;
  if (p->count == p->blob_capacity) {
    size_t capacity = p->blob_capacity > 0 ? 2 * p->blob_capacity : 64;
    repo_blob *blobs = mem_grow(p->blobs, capacity * sizeof *blobs);
    if (blobs == NULL) return error_no_memory();
    p->blobs = blobs;
    p->blob_capacity = capacity;
  }
  blob->offset = (uint32_t)p->size;
  p->blobs[p->count++] = *blob;
  p->size += blob->length;
  p->header += entry_size(blob);
  if (blob->plain_length == 0) p->plain += blob->length;
  p->room = 0;
  return NULL;
}


void repo_pack_hash(repo_pack *p, const void *data, size_t size, repo_id *id) {
  repo_sha s;
  repo_sha_begin(&s);
  if (p != NULL && p->hashed < p->size) {
    /* No more of it than that much: the rest has other blobs to go with. */
    size_t part = p->size - p->hashed;
    if (part > size) part = size;
    repo_sha_add_two(&s, data, size, &p->hash, p->pages.data + p->hashed, part);
    p->hashed += part;
  } else {
    repo_sha_add(&s, data, size);
  }
  repo_sha_end(&s, id);
}


bool repo_pack_is_full(const repo_pack *p) {
  return p->size + p->header + REPO_SEAL + 4 >= p->target ||
         p->header + REPO_ENTRY_PACKED > REPO_HEADER_PLAIN_MOST;
}


size_t repo_pack_count(const repo_pack *p) {
  return p->count;
}


const repo_blob *repo_pack_blobs(const repo_pack *p) {
  return p->blobs;
}


const uint8_t *repo_pack_data(const repo_pack *p) {
  return p->pages.data;
}


size_t repo_pack_bytes(const repo_pack *p) {
  return p->size;
}


static uint8_t *put_number(uint8_t *to, size_t n) {
  for (int i = 0; i < 4; i++) *to++ = (uint8_t)(n >> 8 * i);
  return to;
}


static void put_entries(const repo_pack *p, uint8_t *to) {
  for (size_t i = 0; i < p->count; i++) {
    const repo_blob *blob = &p->blobs[i];
    bool packed = blob->plain_length > 0;
    *to++ = (uint8_t)(blob->type | (packed ? REPO_ENTRY_IS_PACKED : 0));
    to = put_number(to, blob->length);
    if (packed) to = put_number(to, blob->plain_length);
    memcpy(to, blob->id.bytes, REPO_ID);
    to += REPO_ID;
  }
}


error *repo_pack_end(repo_pack *p, repo_sealer *s, const void **data,
                     size_t *size, repo_id *id) {
  size_t sealed = p->header + REPO_SEAL;
  if (p->ended || p->count == 0)
    return repo_error(SAROS_E_UNEXPECTED,
                      "a pack ends once, and not without a blob");
  if (!reserve(p, sealed + 4)) return error_no_memory();
  uint8_t *header = p->pages.data + p->size;
  put_entries(p, header + REPO_IV);
  error *e = repo_seal(s, header + REPO_IV, p->header, header);
  if (e != NULL) return e;
  put_number(header + sealed, sealed);
  p->size += sealed + 4;
  p->ended = true;
  repo_sha_add(&p->hash, p->pages.data + p->hashed, p->size - p->hashed);
  p->hashed = p->size;
  repo_sha_end(&p->hash, id);
  *data = p->pages.data;
  *size = p->size;
  return NULL;
}


uint64_t repo_pack_size(const repo_blob *blobs, size_t count) {
  uint64_t size = REPO_SEAL + 4;
  for (size_t i = 0; i < count; i++)
    size += (uint64_t)blobs[i].length + entry_size(&blobs[i]);
  return size;
}
