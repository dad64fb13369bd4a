/*
** The sealers and compressors of one repository, for any number of threads:
** each takes one, and gives it back. With them the files that are no packs are
** read and written.
*/
#ifndef SAROS_REPOSITORY_TOOLS_H
#define SAROS_REPOSITORY_TOOLS_H

#include "repository/compress.h"
#include "repository/crypto.h"
#include "repository/store.h"

typedef struct repo_tools repo_tools;

typedef struct repo_tool {
  repo_sealer *sealer;
  repo_zip *zip;
  struct repo_tool *next;
} repo_tool;

/* The key is copied. NULL: no memory. */
repo_tools *repo_tools_new(const repo_key *key, unsigned version);
void repo_tools_free(repo_tools *t);
error *repo_tools_take(repo_tools *t, repo_tool **tool);
void repo_tools_give(repo_tools *t, repo_tool *tool);

/* As repo_unpacked_load and _save, on any thread. */
error *repo_tools_load(repo_tools *t, repo_store *store, repo_file kind,
                       const repo_id *id, size_t most, buffer *b,
                       const repo_stop *stop);
error *repo_tools_save(repo_tools *t, repo_store *store, repo_file kind,
                       const void *plain, size_t size, repo_id *id,
                       const repo_stop *stop);

#endif
