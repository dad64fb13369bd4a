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
  int32_t start_zone, end_zone;
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
  value *unknown;         /* a map, or NULL */
  value *unknown_summary; /* the same of the summary's fields */
  char small[64];         /* texts that have no memory of their own */
  uint32_t small_used;
} repo_snapshot;

repo_snapshot *repo_snapshot_new(void);
void repo_snapshot_free(repo_snapshot *s);
/* The text may be hostile: SAROS_E_DAMAGED. The id is the caller's to set. */
repo_snapshot *repo_snapshot_read(const char *json, size_t size, error **e);
/* As restic writes it, to the byte; appended. */
error *repo_snapshot_write(const repo_snapshot *s, buffer *b);
/* As a person or a script sees it. NULL: no memory. */
value *repo_snapshot_value(const repo_snapshot *s);
/* The same for whoever has maps of another kind. Each returns 0 or NULL when
   there is no memory. */
typedef struct repo_teller {
  int (*put_int)(void *map, const char *name, int64_t n);
  int (*put_bytes)(void *map, const char *name, const void *bytes, size_t size);
  void *(*put_map)(void *map, const char *name, uint32_t fields);
  void *(*put_list)(void *map, const char *name, uint32_t items);
  int (*add_bytes)(void *list, const void *bytes, size_t size);
} repo_teller;
#define REPO_SNAPSHOT_FIELDS 16 /* it puts no more than these */
bool repo_snapshot_tell(const repo_snapshot *s, const repo_teller *t,
                        void *map);
/* Whether it has all of these tags (a list of texts). The tag "" is had by one
   that has none at all. */
bool repo_snapshot_has_tags(const repo_snapshot *s, const value *tags);

/* Whether saros made it for itself: what it notes of the repository, and what
   belongs to another version. It holds no path of anybody's. */
bool repo_snapshot_is_own(const repo_snapshot *s);

/* Those that belong together. group[i] is which group each is in, counted from
   0 as they appear; *groups how many there are. The order in which paths and
   tags were given makes no difference. What is saros' own is never among the
   others: there it would take the place of one of them. */
enum { REPO_BY_HOST = 1, REPO_BY_PATHS = 2, REPO_BY_TAGS = 4 };
error *repo_snapshots_group(repo_snapshot *const *all, size_t count,
                            unsigned by, size_t *group, size_t *groups);

/* Whether a clock must have been wrong, then or now: two that are right, each
   taken for one of another zone, are 26 hours apart at most. */
bool repo_snapshot_is_ahead(const repo_snapshot *s, struct timespec now);

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
/* keep[i] is set for each; reasons (a list of texts each, which the caller
   frees; NULL for one that does not stay) may be NULL. One group: the caller
   has grouped them. An empty policy keeps all. Everything is counted in each
   version's own offset, so that where and when the question is asked makes no
   difference; `now` only says which are in the future. What is so far ahead
   that a clock was wrong stays, and no rule counts it. */
error *repo_policy_apply(const repo_policy *p, repo_snapshot *const *all,
                         size_t count, struct timespec now, bool *keep,
                         value **reasons);

#endif
