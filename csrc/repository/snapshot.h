/*
** A version: what was backed up when, and its tree. And which of them to keep.
*/
#ifndef SAROS_REPOSITORY_SNAPSHOT_H
#define SAROS_REPOSITORY_SNAPSHOT_H

#include <time.h>

#include "repository/id.h"
#include "repository/repository.h"

typedef struct repo_summary {
  struct timespec start, end;
  uint64_t files_new, files_changed, files_unmodified;
  uint64_t dirs_new, dirs_changed, dirs_unmodified;
  uint64_t data_blobs, tree_blobs, data_added, data_added_packed;
  uint64_t files, bytes; /* processed */
} repo_summary;

/* Made by repo_snapshot_read or _new; owns what it points to. Fields that we do
   not know are kept, and written again. */
typedef struct repo_snapshot {
  repo_id id; /* of its file; all zero: not stored yet */
  struct timespec time;
  int32_t zone;
  repo_id tree;
  bool has_parent, has_original, has_summary;
  repo_id parent, original;
  value *paths, *tags, *excludes; /* lists of texts; NULL: none */
  char *hostname, *username, *program;
  uint32_t uid, gid;
  repo_summary summary;
  value *unknown; /* a map, or NULL */
} repo_snapshot;

repo_snapshot *repo_snapshot_new(void);
void repo_snapshot_free(repo_snapshot *s);
repo_snapshot *repo_snapshot_read(const char *json, size_t size, error **e);
error *repo_snapshot_write(const repo_snapshot *s, buffer *b);
/* As a person or a script sees it. NULL: no memory. */
value *repo_snapshot_value(const repo_snapshot *s);

/* Forgetting: which of them stay, and why. */
typedef struct repo_span {
  int years, months, days, hours;
} repo_span;
typedef enum repo_rule {
  REPO_KEEP_LAST,
  REPO_KEEP_HOURLY,
  REPO_KEEP_DAILY,
  REPO_KEEP_WEEKLY,
  REPO_KEEP_MONTHLY,
  REPO_KEEP_YEARLY,
  REPO_RULES
} repo_rule;
typedef struct repo_policy {
  int keep[REPO_RULES];         /* -1: all of them; 0: no rule */
  repo_span within[REPO_RULES]; /* of REPO_KEEP_LAST: keep-within itself */
  bool has_within[REPO_RULES];
  value *tags; /* a list of lists: one that has all of one of them stays */
} repo_policy;
bool repo_policy_is_empty(const repo_policy *p);
bool repo_span_read(const char *text, repo_span *span); /* "1y5m7d2h" */
/* keep[i] is set for each; reasons (a list of texts each) may be NULL. One
   group: the caller has grouped them. */
error *repo_policy_apply(const repo_policy *p, repo_snapshot *const *all,
                         size_t count, bool *keep, value **reasons);

#endif
