/*
** The one file that says what a repository is: its format's version, its id,
** and the polynomial by which files are cut. Sealed, never compressed.
*/
#ifndef SAROS_REPOSITORY_CONFIG_H
#define SAROS_REPOSITORY_CONFIG_H

#include "repository/crypto.h"
#include "repository/store.h"

typedef struct repo_config {
  unsigned version; /* 1, or 2, which compresses */
  char id[REPO_ID_TEXT];
  uint64_t polynomial; /* irreducible */
  value *unknown; /* a map of what others have put there, or NULL; is kept */
} repo_config;

/* A new one. */
error *repo_config_make(repo_config *config, unsigned version);
void repo_config_clear(repo_config *config);

/* Strict: SAROS_E_DAMAGED; SAROS_E_NOTIMPL for a version we do not know. */
error *repo_config_read(repo_config *config, const char *json, size_t size);
error *repo_config_write(const repo_config *config, buffer *json);

error *repo_config_load(repo_config *config, repo_store *store, repo_sealer *s,
                        const repo_stop *stop);
/* EEXIST when there is one and it is not to be replaced. */
error *repo_config_save(const repo_config *config, repo_store *store,
                        repo_sealer *s, bool replace, const repo_stop *stop);

#endif
