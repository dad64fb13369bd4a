/*
** The pieces of holding processes still: who is meant (still_find.c), stopping
** them (still_stop.c), whether they stood still and letting them go
** (still_judge.c), those that several hold (still_share.c), and the operations
** (still.c).
*/
#ifndef SAROS_VSS_STILL_PARTS_H
#define SAROS_VSS_STILL_PARTS_H

#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>

#include "vss/guard_parts.h"
#include "vss/still.h"

typedef struct still_choice {
  const value *pids;  /* NULL: none given */
  const char *cgroup; /* likewise */
  bool by_command;
  regex_t command;
} still_choice;

typedef struct still_share still_share;

typedef struct stopped {
  identity who;
  char name[16];
  int fd;
  bool ours;          /* else it was stopped already */
  bool gone;          /* before all stood still */
  still_share *share; /* NULL: not ours, or let go */
  guard *g;
  size_t item;
  uint64_t mark; /* of how often it ran: see still_mark */
} stopped;

#define GUARDS_MOST 16

typedef struct still {
  _Atomic unsigned references;
  _Atomic bool unwanted; /* it was released: no more is to be stopped */
  uint16_t generation;   /* of the process: see fork.h */
  value *options;
  still_choice choice;
  double seconds, patience;
  bool allow_none;
  pthread_mutex_t lock; /* of all below */
  stopped *list;
  size_t count, room;
  guard *guards[GUARDS_MOST];
  size_t guard_count;
} still;

/* What /proc says of one. */
typedef struct still_look {
  pid_t pid, parent, session;
  bool kernel; /* a thread of the kernel */
  char name[16];
} still_look;

/* False: it is gone. */
bool still_look_at(pid_t pid, still_look *l);
/* Another number for each time that a thread of it got to run. */
uint64_t still_mark(pid_t pid);
/* Whether no thread of it is on its way to a processor, or off it: then the
   mark is that of one who stands. Also true when that is not told. */
bool still_rests(pid_t pid);
/* Those that are meant and live now, each once, by number; *list is the
   caller's to free. Blocking. */
error *still_find(const still_choice *c, pid_t **list, size_t *count);
/* Why it must not be stopped; NULL: it may. */
error *still_refuse(const still_look *l);

/* Says who holds `p`: we, perhaps beside others of this program, or whoever
   had stopped it before. */
error *still_share_begin(stopped *p);
/* SIGSTOP. 0 or errno. */
int still_share_stop(const stopped *p);
/* SIGCONT, if nobody else here holds it. */
void still_share_end(stopped *p);

/* 'T' when it is still, 0 when it has ended, or what it does. */
char still_state(const stopped *p);
stopped *still_known(const still *s, identity who);
/* All of them. Those that it did stop are let go by the caller. */
error *still_stop(still *s, saros_op *op);
error *still_cancelled(void);
void still_go_on(still *s);
/* True: a guard has let one go before us. */
bool still_dismiss(still *s);
/* The whole end, and whether all were still until then. */
error *still_end(still *s);

#endif
