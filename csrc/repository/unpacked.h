/*
** Files that are no packs: indexes, snapshots, locks. JSON, in format 2
** compressed, sealed, and named by the hash of what comes out.
*/
#ifndef SAROS_REPOSITORY_UNPACKED_H
#define SAROS_REPOSITORY_UNPACKED_H

#include "repository/compress.h"
#include "repository/crypto.h"
#include "repository/store.h"

/* The plain text of it, appended. `most` bounds the text. A file
   whose content is not what its name says is read once more before it is
   SAROS_E_DAMAGED. */
error *repo_unpacked_load(repo_store *store, repo_file kind, const repo_id *id,
                          repo_sealer *s, repo_zip *z, size_t most, buffer *b,
                          const repo_stop *stop);
/* `version`: the format's, 2 compresses. *id is its name, once it is stored. */
error *repo_unpacked_save(repo_store *store, repo_file kind, unsigned version,
                          repo_sealer *s, repo_zip *z, repo_level level,
                          const void *plain, size_t size, repo_id *id,
                          const repo_stop *stop);

/* What was in the seal, as text: for the two above, and to be tested. */
error *repo_unpacked_decode(repo_zip *z, const uint8_t *payload, size_t size,
                            size_t most, buffer *b);

#endif
