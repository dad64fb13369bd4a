/*
** What command.c (what a command is), command_ask.c (how it is told) and
** command_judge.c (what came of it) share.
*/
#ifndef SAROS_VSS_COMMAND_PARTS_H
#define SAROS_VSS_COMMAND_PARTS_H

#include "vss/writer.h"

typedef struct command {
  char **argv; /* with a place for the verb before its NULL */
  size_t verb; /* which */
  char **env;
  char *cwd;
  value *metadata; /* clean, or NULL: it is asked */
} command;

extern const writer_way command_way;
void command_release(writer *w);

enum { COMMAND_OUTPUT_MOST = 131072 }; /* bytes of metadata that are read */

/* Of a child that is over: NULL for consent, and in *more of identify its
   metadata, else what it said, if anything.
   `was_gone`: it had ended before it was told to. */
error *command_judge(const writer *w, writer_event event, saros_op *child,
                     bool was_gone, value **more);

#endif
