/*
** What the files that make a plan of restoring share:
**
**   restore_number.c   what a plan is kept in, and ids as small numbers
**   restore_item.c     nodes as items, what they want, and further names
**   restore_extra.c    what is there and not in the version
**   restore_plan.c     the walk through the trees
**   restore_order.c    who wants what, and what is read at once
*/
#ifndef SAROS_REPOSITORY_RESTORE_PLAN_PARTS_H
#define SAROS_REPOSITORY_RESTORE_PLAN_PARTS_H

#include "repository/restore_parts.h"
#include "repository/walk.h"

/* Names of the tree of a directory that is walked: only when what is not among
   them is to be removed. */
typedef struct names {
  const char **at;
  size_t count, room;
} names;

typedef struct planning {
  restore *r;
  names *stack; /* of the directories that are being walked */
  size_t depth, room;
} planning;

/* restore_number.c */
/* A text in the arena; NULL: no memory. */
char *repo_plan_text(restore *r, const char *text, size_t size);
/* One more: the array, which may move, has room for it. */
bool repo_plan_more(void *array, uint32_t count, uint32_t *room, size_t size);
/* Keyed by this plan's own secret: whoever wrote the trees cannot make what is
   in them meet. Begins with r->secret. */
uint64_t repo_plan_mix(uint64_t hash, uint64_t word);
/* Which blob it is, a new one if need be: SAROS_E_DAMAGED when the index has
   none. */
error *repo_plan_blob(restore *r, const repo_id *id, uint32_t *number);
/* How long it is when it is open. */
uint64_t repo_plan_blob_size(const plan_blob *b);
void repo_plan_arena_free(restore *r);

/* restore_item.c */
error *repo_plan_item(restore *r, uint32_t folder, const repo_node *n,
                      uint32_t *index);
/* What a file wants. */
error *repo_plan_content(restore *r, uint32_t i, const repo_node *n);
/* An item that is another name of an earlier one is made one. */
error *repo_plan_link(restore *r, uint32_t i);

/* restore_extra.c */
/* Whether a path is asked for, and whether something below it may be. */
error *repo_plan_select(restore *r, const char *path, size_t size,
                        bool *selected, bool *enter);
error *repo_plan_note(planning *g, const repo_node *n);
/* A directory is begun, and was gone through. */
error *repo_plan_names_push(planning *g);
error *repo_plan_names_pop(planning *g, uint32_t folder);

/* How many places of its tables were looked at. */
#ifdef SAROS_TEST
extern _Atomic uint64_t repo_plan_test_steps;
#define PLAN_STEP() ((void)repo_plan_test_steps++)
#else
#define PLAN_STEP() ((void)0)
#endif

#endif
