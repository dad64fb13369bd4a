/*
** What spawn.c (everything around a child) and spawn_child.c (its first
** moments) share.
*/
#ifndef SAROS_OP_SPAWN_PARTS_H
#define SAROS_OP_SPAWN_PARTS_H

#include "op/spawn.h"

/* The child, from nothing to its program: the first of `files` (one after
   another, each with its NUL, the last one is empty) that can be executed. It
   is bound to the calling thread: see spawn_child.c. 0 and *pid, or why there
   is none. */
int spawn_child(const spawn *s, const char *files, pid_t *pid);

#endif
