/*
** The shadow of a tree that is a second tree: what `copy` and `reflink` have
** in common. It is made in passes. The first go over everything while the
** application runs; the last one, under the writers' hold, makes again what
** has changed since, which takes the time of a walk and no more. What a pass
** saw of each entry is remembered in 16 bytes (tree_seen.c).
**
** In the place, a directory of our own:
**
**   root      the copy: of a directory itself, or with a single file in it
**   links     names for what has several, until the shadow is finished
*/
#ifndef SAROS_VSS_PROVIDER_TREE_H
#define SAROS_VSS_PROVIDER_TREE_H

#include "op/copy.h"
#include "vss/provider.h"

/* Functions of a provider; those of `copy` and `reflink` call them. */
error *tree_probe(const origin *from);
error *tree_plan(shadow *s);
error *tree_prepare(shadow *s, saros_op *op, copy_clone clone);
error *tree_commit(shadow *s);
error *tree_finish(shadow *s, saros_op *op);
/* Goes on to the end although `op` was cancelled: this is the undoing. Both
   here and in the others `op` may be NULL. */
error *tree_destroy(const value *keep, saros_op *op);
void tree_forget(shadow *s);
error *tree_verify(const value *keep);
bool tree_surfaced(const value *keep);
error *tree_surface(const value *keep, saros_op *op, char **device);
error *tree_loosen(const value *keep, char **where);

#ifdef SAROS_TEST
/* Between the passes and at their ends, with a word for where. */
extern void (*_Atomic tree_hook)(shadow *s, const char *where);
/* Nanoseconds that make a live pass a long one, which another one follows. A
   test says it, for else what it sees is a matter of speed. */
extern uint64_t tree_long;
/* Entries that the last pass of this shadow made. */
uint64_t tree_copied(const shadow *s);
#endif

#endif
