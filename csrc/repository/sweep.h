/*
** A sweep over all trees: each that can be reached from some roots, once,
** however often it is used, on several threads. In memory is one id a tree.
** Trees may be hostile: there is no recursion, and what is damaged is told.
*/
#ifndef SAROS_REPOSITORY_SWEEP_H
#define SAROS_REPOSITORY_SWEEP_H

#include "repository/id_map.h"
#include "repository/side.h"
#include "repository/tree.h"

typedef struct repo_sweep {
  repo_store *store;
  repo_tools *tools;
  repo_index *index;
  const repo_stop *stop;
  /* All of these on several threads at once. A node, and which tree it is in;
     the sweep itself goes into directories. */
  error *(*node)(void *context, const repo_id *tree, const repo_node *n);
  /* A tree of which not all could be read; takes over `e`, and returns NULL to
     go on. */
  error *(*broken)(void *context, const repo_id *tree, error *e);
  /* May be NULL: one copy of a tree is bad, and another one was taken. */
  error *(*bad_copy)(void *context, const repo_place *p, error *e);
  /* May be NULL: so many are done, of so many that are known yet. */
  void (*progress)(void *context, uint64_t done, uint64_t known);
  void *context;
} repo_sweep;

/* `trees`: then it has all of them, of type REPO_TREE. Those that are in it at
   first are known already: the sweep does not go into them. */
error *repo_sweep_trees(const repo_sweep *w, const repo_id *roots, size_t count,
                        repo_id_map *trees);

#endif
