/*
** Which version is meant: "latest", the beginning of an id, and a folder in
** it: "latest:srv/www". With a filter "latest" is the latest of those.
*/
#ifndef SAROS_REPOSITORY_VERSION_H
#define SAROS_REPOSITORY_VERSION_H

#include "repository/blob.h"
#include "repository/repo.h"
#include "repository/tree.h"

typedef struct repo_version {
  repo_snapshot *snapshot;
  char *folder; /* "" or "a/b": below which its root is meant */
  repo_id tree; /* of that */
} repo_version;

/* Whether a version is one of those: host, tags, paths (a map, may be NULL). */
bool repo_version_is_wanted(const repo_snapshot *s, const value *filter);
/* Finds it, without its tree. NULL as `text` is "latest". */
error *repo_version_find(repo *r, const char *text, const value *filter,
                         repo_version *v, const repo_stop *stop);
/* And the tree, which needs blobs. */
error *repo_version_enter(repo_version *v, repo_blobs *blobs,
                          const repo_stop *stop);
void repo_version_clear(repo_version *v);

/* What is at a path of a tree: its node is given to `found`, which copies what
   it needs. *is_there: whether there is one. */
error *repo_tree_look_up(repo_blobs *blobs, const repo_id *tree,
                         const char *path,
                         error *(*found)(void *context, const repo_node *n),
                         void *context, bool *is_there, const repo_stop *stop);

#endif
