/*
** unpacked: files that are no packs.
*/
#include "repository/unpacked.h"

#include <string.h>

enum { COMPRESSED = 2 }; /* the first byte of what is not plain JSON */


static error *damaged(repo_file kind, const repo_id *id, const char *what,
                      error *cause) {
  char name[96];
  repo_file_describe(kind, id, name);
  error *e = repo_error(SAROS_E_DAMAGED, "%s is damaged: %s", name, what);
  return cause != NULL ? error_because(e, cause) : e;
}


/* ------------------------------------------------------------------
** Loading
** ---------------------------------------------------------------- */

/* The file's bytes, which have the right hash. */
static error *load_bytes(repo_store *store, repo_file kind, const repo_id *id,
                         size_t most, buffer *file, const repo_stop *stop) {
  /* What cannot be compressed is a little larger in its file. */
  most = REPO_SEAL + 1 + repo_zip_bound(most);
  for (int look = 0; look < 2; look++) {
    repo_id actual;
    buffer_clear(file);
    error *e = store->way->load(store, kind, id, most, file, stop);
    if (e != NULL) return e;
    repo_id_of(&actual, file->data, file->size);
    if (repo_id_equal(&actual, id)) return NULL;
  }
  return damaged(kind, id, "its content is not what its name says", NULL);
}


error *repo_unpacked_decode(repo_zip *z, const uint8_t *payload, size_t size,
                            size_t most, buffer *b) {
  if (size > 0 && payload[0] == COMPRESSED)
    return repo_zip_unpack_all(z, payload + 1, size - 1, most, b);
  if (size == 0 || (payload[0] != '{' && payload[0] != '['))
    return repo_error(SAROS_E_DAMAGED,
                      "what is sealed in it is neither JSON nor compressed");
  buffer_put(b, payload, size);
  return b->failed ? error_no_memory() : NULL;
}


error *repo_unpacked_load(repo_store *store, repo_file kind, const repo_id *id,
                          repo_sealer *s, repo_zip *z, size_t most, buffer *b,
                          const repo_stop *stop) {
  buffer file = BUFFER_EMPTY;
  error *e = load_bytes(store, kind, id, most, &file, stop);
  if (e == NULL) {
    e = repo_unseal(s, file.data, file.size, file.data + REPO_IV);
    if (e == NULL)
      e = repo_unpacked_decode(z, (const uint8_t *)file.data + REPO_IV,
                               file.size - REPO_SEAL, most, b);
    if (e != NULL && e->code == SAROS_E_DAMAGED)
      e = damaged(kind, id, "its seal or what is in it is not right", e);
  }
  buffer_free(&file);
  return e;
}


/* ------------------------------------------------------------------
** Saving
** ---------------------------------------------------------------- */

/* IV, payload and tag, with the payload in its place and not yet sealed. */
static error *lay_out(unsigned version, repo_zip *z, repo_level level,
                      const void *plain, size_t size, buffer *b) {
  size_t most = version >= 2 ? 1 + repo_zip_bound(size) : size;
  char *room = buffer_room(b, REPO_SEAL + most);
  if (room == NULL) return error_no_memory();
  if (version < 2) {
    memcpy(room + REPO_IV, plain, size);
    b->size = REPO_SEAL + size;
    return NULL;
  }
  most--;
  room[REPO_IV] = COMPRESSED;
  error *e = repo_zip_pack(z, level, plain, size, room + REPO_IV + 1, &most);
  b->size = REPO_SEAL + 1 + most;
  return e;
}


error *repo_unpacked_save(repo_store *store, repo_file kind, unsigned version,
                          repo_sealer *s, repo_zip *z, repo_level level,
                          const void *plain, size_t size, repo_id *id,
                          const repo_stop *stop) {
  buffer b = BUFFER_EMPTY;
  error *e = lay_out(version, z, level, plain, size, &b);
  if (e == NULL) e = repo_seal(s, b.data + REPO_IV, b.size - REPO_SEAL, b.data);
  if (e == NULL) {
    repo_piece piece = {b.data, b.size};
    repo_id_of(id, b.data, b.size);
    e = store->way->save(store, kind, id, &piece, 1, false, stop);
  }
  buffer_free(&b);
  return e;
}
