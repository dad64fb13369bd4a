/*
** Forgetting: versions that no rule keeps are removed, and nothing but their
** files; what they alone needed goes with the next prune.
**
** By file: forget_rules.c reads options, forget.c decides and removes.
*/
#ifndef SAROS_REPOSITORY_FORGET_H
#define SAROS_REPOSITORY_FORGET_H

#include "repository/repo.h"

/* What is asked for. Points into the options that it was read from, but for
   the policy's tags. */
typedef struct repo_forget_options {
  repo_policy policy;
  unsigned group_by;         /* REPO_BY_… */
  const char *host;          /* a filter: NULL, or its versions alone */
  const value *tags, *paths; /* … and lists */
  const value *ids;          /* these, and no policy: a list; NULL */
  bool dry_run, remove_all;
  void (*progress)(void *context, uint64_t done, uint64_t total);
  void *context; /* both may be NULL */
} repo_forget_options;

/* keep_last … keep_yearly (numbers, -1 or "unlimited": all), keep_within,
   keep_within_hourly … ("1y5m7d2h"), keep_tags (a list of texts or lists),
   group_by, host, tags, paths, ids, dry_run, unsafe_allow_remove_all. */
error *repo_forget_read_options(const value *v, repo_forget_options *o);
void repo_forget_clear(repo_forget_options *o);

/* Under an exclusive lock; for a dry run a shared one will do. A map: groups,
   each with what is kept, and why, and what is removed. */
error *repo_forget(repo_hold *h, const repo_forget_options *o, value **report);

#endif
