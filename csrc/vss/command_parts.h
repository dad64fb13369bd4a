/*
** What command.c (what a command is) and command_ask.c (how it is told) share.
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

#endif
