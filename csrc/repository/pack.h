/*
** A pack: blobs one after the other, then a sealed header that lists them. It
** is put together in memory, its hash running along.
*/
#ifndef SAROS_REPOSITORY_PACK_H
#define SAROS_REPOSITORY_PACK_H

#include "repository/crypto.h"
#include "repository/id.h"

typedef enum repo_blob_type { REPO_DATA, REPO_TREE } repo_blob_type;

/* One blob, and where it is in its pack. */
typedef struct repo_blob {
  repo_id id;
  uint8_t type; /* repo_blob_type */
  uint32_t offset;
  uint32_t length;       /* as stored, sealed */
  uint32_t plain_length; /* 0: not compressed */
} repo_blob;

#define REPO_PACK_LEAST ((size_t)4 << 20)
#define REPO_PACK_DEFAULT ((size_t)16 << 20)
#define REPO_PACK_MOST ((size_t)128 << 20)
#define REPO_HEADER_MOST (((size_t)16 << 20) + 4)

typedef struct repo_pack repo_pack; /* being written; not shared by threads */
repo_pack *repo_pack_new(repo_blob_type type, size_t target);
void repo_pack_free(repo_pack *p);
/* Room for the next blob, sealed: at most `size`. NULL: no memory. */
void *repo_pack_room(repo_pack *p, size_t size);
/* It is there now, `blob->length` bytes of it; `blob->offset` is set. A pack
   has blobs of its type alone. SAROS_E_UNEXPECTED: it is no blob, or there was
   no room asked for; SAROS_E_REFUSED: it makes the pack too large. Nothing was
   added then. */
error *repo_pack_add(repo_pack *p, repo_blob *blob);
/* The id of other bytes, a blob's before it is sealed, and the pack's own hash
   brought up to date meanwhile: both together cost little more than one. `p`
   may be NULL. */
void repo_pack_hash(repo_pack *p, const void *data, size_t size, repo_id *id);
bool repo_pack_is_full(const repo_pack *p);
size_t repo_pack_count(const repo_pack *p);
const repo_blob *repo_pack_blobs(const repo_pack *p);
/* What is in it so far, without a header. */
const uint8_t *repo_pack_data(const repo_pack *p);
size_t repo_pack_bytes(const repo_pack *p);
/* Adds the header. All bytes, and the id. Nothing is added after it. */
error *repo_pack_end(repo_pack *p, repo_sealer *s, const void **data,
                     size_t *size, repo_id *id);
void repo_pack_clear(repo_pack *p); /* as new */

/* How large a pack of these blobs is, to the byte. */
uint64_t repo_pack_size(const repo_blob *blobs, size_t count);

/* How much of the end of a pack to read first; enough for most headers. */
#define REPO_PACK_EAGER 651
/* From the last `size` bytes of a pack of `whole` bytes. 0 in *need: the blobs,
   in their order, mem_alloc'd, of which there is at least one; else so many
   bytes of the end are needed, always more than there were. What does not add
   up to a pack of `whole` bytes is SAROS_E_DAMAGED. */
error *repo_pack_read_header(repo_sealer *s, const void *end, size_t size,
                             uint64_t whole, size_t *need, repo_blob **blobs,
                             size_t *count);

#endif
