/*
** Processes that are held still: for applications that nobody can ask. They
** are stopped (SIGSTOP) while a shadow is made and continued after it, by us,
** or by the guard when we cannot any more.
*/
#ifndef SAROS_VSS_STILL_H
#define SAROS_VSS_STILL_H

#include "vss/vss.h"

/* Options, a map: who is meant,
     pids = list     these, and their children's children; whoever has lost his
                     parent, too, where one of these began his session
     cgroup = path   a directory of cgroupfs: all that is in it and below
     command = text  an extended regular expression: whose command line it
                     matches, and their children; beside pids or cgroup a
                     condition instead
   and seconds (30), after which the guard lets them go; patience (10), seconds
   that they may take to stop; allow_none: that there is nobody is no error;
   state_dir. Copied.

   The operation: stops them all, looks for new ones until there are none, and
   has seen every thread stopped when it succeeds. Its result: { pids =
   list, before = list }, the latter were stopped already and stay so. Refused
   are this process, its ancestors, init, threads of the kernel, guards, and
   who may not be signalled; then nobody is stopped. When it fails or is
   cancelled they go on. They also do when it is forgotten. Several operations
   may hold the same process: the last one that lets it go continues it. NULL
   and *e. */
saros_op *still_begin(const value *options, error **e);

/* An operation that lets go what that one holds. It fails when not all of
   them were still to the end: VSS_E_HOLD_WRITES_TIMEOUT, the guard was first;
   SAROS_E_CHANGED, somebody else continued one (and, perhaps, stopped it
   again), or one was started. NULL and *e, also when `held` is none of
   these. */
saros_op *still_release(saros_op *held, error **e);

#endif
