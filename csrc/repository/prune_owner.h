/*
** Which host prunes a repository that several share.
*/
#ifndef SAROS_REPOSITORY_PRUNE_OWNER_H
#define SAROS_REPOSITORY_PRUNE_OWNER_H

#include "repository/repo.h"

#define REPO_PRUNE_OWNER "saros-prune-owner"

/* The newest of the versions in which saros notes something about the
   repository itself: no rule of forgetting is about those. */
bool repo_is_note(repo_snapshot *const *all, size_t count, size_t i);

/* *other: the note of another host that prunes here; NULL: we may. The options
   have `host` (ours, if that is not the machine's name) and `force`. */
error *repo_prune_other(repo_hold *h, const value *options, value **other);
error *repo_prune_refused(const value *other);

#endif
