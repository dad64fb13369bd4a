/*
** Side by side: the same done to many things on some threads, each with what it
** needs to read blobs. The thread that asks works, too.
*/
#ifndef SAROS_REPOSITORY_SIDE_H
#define SAROS_REPOSITORY_SIDE_H

#include "repository/pair.h"

/* What each of the threads has for itself. */
typedef struct repo_hand {
  repo_stop stop; /* another thread failed, or who asks wants it to end */
  repo_tool *tool;
  repo_space sealed, space;
  repo_pair pair;
  buffer file;
} repo_hand;

typedef struct repo_side {
  repo_store *store; /* says how many threads do any good */
  repo_tools *tools;
  const repo_stop *stop;
  size_t count; /* numbers 0 … count - 1 are given out */
  /* Instead of that, when it is not NULL: the next number, false when there is
     none any more. On several threads at once; it may wait. */
  bool (*next)(void *context, repo_hand *hand, size_t *number);
  error *(*each)(void *context, repo_hand *hand, size_t number);
  void *context;
} repo_side;

/* The first error ends it. */
error *repo_side_by_side(const repo_side *s);

#endif
