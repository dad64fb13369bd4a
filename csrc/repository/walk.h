/*
** Through the trees of a version, in the order of names, each directory before
** what is in it. Trees may be hostile: names and depth are checked here, and
** what is damaged is told and passed over.
*/
#ifndef SAROS_REPOSITORY_WALK_H
#define SAROS_REPOSITORY_WALK_H

#include "repository/blob.h"
#include "repository/tree.h"

#define REPO_WALK_DEEP 2048u

typedef struct repo_walk_at {
  const char *path; /* "/a/b": from the root that was walked */
  size_t size;
  unsigned depth;  /* of the directory it is in: 0 in the root */
  uint64_t parent; /* the mark of that directory */
} repo_walk_at;

typedef struct repo_walk {
  /* A node. A directory is entered when *enter, which is true for one that can
     be, stays so; *mark is then the parent of what is in it. */
  error *(*node)(void *context, const repo_walk_at *at, const repo_node *n,
                 bool *enter, uint64_t *mark);
  /* Behind all that is in a directory, also in one that is damaged. May be
     NULL. */
  error *(*leave)(void *context, const repo_walk_at *at, uint64_t mark);
  /* A directory of which not all could be read; `e` is taken over. It returns
     NULL to go on. */
  error *(*damaged)(void *context, const repo_walk_at *at, error *e);
  void *context;
} repo_walk;

/* `mark`: of the root. */
error *repo_walk_tree(repo_blobs *blobs, const repo_id *tree, uint64_t mark,
                      const repo_walk *w, const repo_stop *stop);

#endif
