/*
** The pieces of holding processes still: who is meant (still_find.c), stopping
** and letting go (still.c).
*/
#ifndef SAROS_VSS_STILL_PARTS_H
#define SAROS_VSS_STILL_PARTS_H

#include <regex.h>

#include "vss/still.h"

typedef struct still_choice {
  const value *pids;  /* NULL: none given */
  const char *cgroup; /* likewise */
  bool by_command;
  regex_t command;
} still_choice;

/* What /proc says of one. */
typedef struct still_look {
  pid_t pid, parent;
  bool kernel; /* a thread of the kernel */
  char name[16];
} still_look;

/* False: it is gone. */
bool still_look_at(pid_t pid, still_look *l);
/* Those that are meant and live now, each once, by number; *list is the
   caller's to free. Blocking. */
error *still_find(const still_choice *c, pid_t **list, size_t *count);
/* Why it must not be stopped; NULL: it may. */
error *still_refuse(const still_look *l);

#endif
