/*
** zstd, with contexts that are used again: one for each thread.
*/
#ifndef SAROS_REPOSITORY_COMPRESS_H
#define SAROS_REPOSITORY_COMPRESS_H

#include "repository/repository.h"

typedef enum repo_level {
  REPO_LEVEL_OFF,
  REPO_LEVEL_FASTEST,
  REPO_LEVEL_AUTO,
  REPO_LEVEL_BETTER,
  REPO_LEVEL_MAX
} repo_level;

typedef struct repo_zip repo_zip;
repo_zip *repo_zip_new(void); /* NULL: no memory */
void repo_zip_free(repo_zip *z);

size_t repo_zip_bound(size_t size);
/* Whether it looks as if compressing would gain nothing. */
bool repo_zip_is_hopeless(const void *data, size_t size);
/* *size: the room (repo_zip_bound), then what was used. */
error *repo_zip_pack(repo_zip *z, repo_level level, const void *data,
                     size_t data_size, void *out, size_t *size);
/* The same of what files hold, one after the other. Small blobs of which little
   can be saved, as it was with some before them, are compressed with less care:
   what is lost is not a hundredth. */
error *repo_zip_pack_data(repo_zip *z, repo_level level, const void *data,
                          size_t data_size, void *out, size_t *size);
/* Exactly `size` bytes come out: else SAROS_E_DAMAGED. */
error *repo_zip_unpack(repo_zip *z, const void *data, size_t data_size,
                       void *out, size_t size);
/* As many as there are, appended; `most` bounds it: a bomb is
   SAROS_E_DAMAGED. */
error *repo_zip_unpack_all(repo_zip *z, const void *data, size_t data_size,
                           size_t most, buffer *b);

#endif
