/*
** Where a repository's files are: a directory, a bucket, a REST server. A store
** knows names and bytes, and nothing of what is in them. Its calls block, and
** any thread may make them. A further kind is a further repo_store_way.
*/
#ifndef SAROS_REPOSITORY_STORE_H
#define SAROS_REPOSITORY_STORE_H

#include "repository/id.h"
#include "repository/repository.h"

typedef enum repo_file {
  REPO_CONFIG, /* one; it has no id */
  REPO_KEYS,
  REPO_LOCKS,
  REPO_SNAPSHOTS,
  REPO_INDEXES,
  REPO_PACKS,
  REPO_FILES
} repo_file;

typedef struct repo_store repo_store;

/* A piece of what is written: a pack is many. */
typedef struct repo_piece {
  const void *data;
  size_t size;
} repo_piece;

/* The size is that of a pack; of other files it may be 0, where it would have
   to be asked of each. */
typedef error *(*repo_store_each)(void *context, const repo_id *id,
                                  uint64_t size);

typedef struct repo_store_way {
  const char *name; /* "local", "s3", "rest" */
  /* Makes what a new, empty repository needs. SAROS_E_REFUSED when there is
     one already. */
  error *(*create)(repo_store *s);
  /* Names that are no id are passed over, and so are empty lock files. An
     error of `each` ends it and is returned. */
  error *(*list)(repo_store *s, repo_file kind, repo_store_each each,
                 void *context, const repo_stop *stop);
  /* A part of it, into `into`. SAROS_E_DAMAGED when it is shorter; number
     ENOENT when it is not there. */
  error *(*read)(repo_store *s, repo_file kind, const repo_id *id,
                 uint64_t offset, size_t size, void *into,
                 const repo_stop *stop);
  /* All of it, appended to a buffer; `most` bounds it (SAROS_E_DAMAGED). */
  error *(*load)(repo_store *s, repo_file kind, const repo_id *id, size_t most,
                 buffer *b, const repo_stop *stop);
  /* Whole or not at all, and durable when it returns. The id is the SHA-256 of
     the pieces (not of a config). One that is there already is no error; but
     a config is: EEXIST, unless `replace`. */
  error *(*save)(repo_store *s, repo_file kind, const repo_id *id,
                 const repo_piece *pieces, size_t count, bool replace,
                 const repo_stop *stop);
  error *(*size)(repo_store *s, repo_file kind, const repo_id *id,
                 uint64_t *size, const repo_stop *stop);
  /* One that is not there is no error. */
  error *(*remove)(repo_store *s, repo_file kind, const repo_id *id,
                   const repo_stop *stop);
  /* May be NULL. Something that writes begins, or has ended: as often the one
     as the other. */
  void (*busy)(repo_store *s, bool begins);
  /* May be NULL. Whether it lets anything but locks be removed, as far as can
     be known without doing it. */
  error *(*may_remove)(repo_store *s, const repo_stop *stop);
  /* May be NULL. Takes away what calls that never ended have left behind; when
     nobody else writes. */
  error *(*tidy)(repo_store *s, const repo_stop *stop);
  /* May be NULL. Whatever is there is durable when it returns, whoever has
     stored it: for what is found and will be relied on. */
  error *(*settle)(repo_store *s, const repo_stop *stop);
  /* May be NULL: no. Whether what one has done the next one sees, wherever he
     is: there is no cache between them. */
  bool (*at_once)(repo_store *s);
  void (*close)(repo_store *s);
} repo_store_way;

struct repo_store {
  const repo_store_way *way;
  const char *location; /* as a person wrote it, without secrets */
  unsigned connections; /* how many calls at once do any good */
};

/* By what the location says: "s3:…", "rest:…" or a path. Touches nothing yet.
   `options`: a map (may be NULL); s3_open.c, rest_open.c and remote.h say what
   they know; a directory knows durable (false: no fsync). */
repo_store *repo_store_open(const char *location, const value *options,
                            error **e);
repo_store *repo_store_local(const char *path, const value *options, error **e);
repo_store *repo_store_s3(const char *location, const value *options,
                          error **e);
repo_store *repo_store_rest(const char *location, const value *options,
                            error **e);
void repo_store_close(repo_store *s);
/* The same one, but no more bytes a second than these (0: no limit); it is
   closed with what is returned, which is itself when nothing is limited. NULL:
   no memory, and it is still there. */
repo_store *repo_store_limit(repo_store *store, uint64_t upload,
                             uint64_t download);

/* Where files of a kind are, below the location: "index"; "" of a config. */
const char *repo_file_folder(repo_file kind);
/* "snapshot 4f1a…" for a message. */
void repo_file_describe(repo_file kind, const repo_id *id, char text[96]);

#endif
