/*
** Checking: whether everything that the versions need is there, and is what it
** was. Nothing is changed, and a shared lock is enough: what others add
** meanwhile is left out.
**
** By file: check.c in which order, check_found.c what was found, check_index.c
** versions and index files, check_packs.c which packs there are, check_trees.c
** all trees, check_data.c what is in packs, check_impact.c which versions and
** paths are hit.
*/
#ifndef SAROS_REPOSITORY_CHECK_H
#define SAROS_REPOSITORY_CHECK_H

#include "repository/repo.h"

/* Which packs are read. */
typedef enum repo_check_which {
  REPO_CHECK_NONE,
  REPO_CHECK_ALL,
  REPO_CHECK_SHARE, /* that much of them, by chance */
  REPO_CHECK_BYTES, /* as many, by chance */
  REPO_CHECK_PART   /* the n-th of so many parts, always the same ones */
} repo_check_which;

typedef struct repo_check_options {
  repo_check_which which;
  double share;            /* 0 … 1 */
  uint64_t bytes;          /* at least one pack */
  unsigned part, of_parts; /* 1 … of_parts */
  void (*phase)(void *context, const char *name);
  void (*progress)(void *context, uint64_t done, uint64_t total);
  void *context; /* both may be NULL; progress is told by many threads */
} repo_check_options;

/* true, "10%", "1/5", a number of bytes, also as "500M": SAROS_E_INVALIDARG
   for all else. NULL: none. */
error *repo_check_read_which(const value *v, repo_check_options *o);

#ifdef SAROS_TEST
/* Nodes that are looked at to find out what is hit. */
extern uint64_t repo_check_impact_test;
#endif

/* A map: what was looked at; findings, a list of maps, of which there are
   finding_count; and hints the same. The error is that it could not be done,
   not what was found. */
error *repo_check(repo_hold *h, const repo_check_options *o, value **report,
                  uint64_t *findings);

#endif
