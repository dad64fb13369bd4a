/*
** Starting a child process: everything between a list of words and a pid.
** What belongs to the caller's moment (environment, PATH, inherited
** descriptors) is copied when it is made; what may block (opening files,
** exec) happens in spawn_run, on a worker.
**
** Neither a child (spawn_child.c) nor its group (lifeline.h) outlives us,
** however we end.
*/
#ifndef SAROS_OP_SPAWN_H
#define SAROS_OP_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/base.h"
#include "op/lifeline.h"
#include "op/pool.h"
#include "op/terminal.h"

/* What a descriptor of the child is. */
typedef enum spawn_end {
  SPAWN_NULL,  /* /dev/null */
  SPAWN_PIPE,  /* spawn_run makes one and leaves our end in `ours` */
  SPAWN_GIVEN, /* it is in `theirs` already */
  SPAWN_SAME   /* standard error goes where standard output goes */
} spawn_end;

typedef struct spawn {
  char **argv, **env;
  char *path;      /* where programs are looked for */
  char *cwd;       /* or NULL */
  bool outlives;   /* neither it nor its group dies with us */
  bool foreground; /* it has the terminal, if we have: see terminal.h */
  terminal lent;
  spawn_end ends[3];
  int theirs[3]; /* the child's ends, while it has not begun; ours to close */
  int ours[3];   /* our ends of pipes, non-blocking */
  pid_t pid;     /* 0: none */
  int pidfd;     /* -1: it was reaped before we could hold it */
  error *why;    /* why there is none */
  pool_staying *maker; /* its thread, which must not leave before it */
  lifeline line;
} spawn;

void spawn_init(spawn *s);
/* Copies; a NULL env is ours. False without memory. */
bool spawn_words(spawn *s, const char *const *argv, const char *const *env,
                 const char *cwd);
/* The child's descriptor `to` is a copy of our `from` (or /dev/null when we
   have none). 0 or errno. */
int spawn_inherit(spawn *s, int to, int from);
/* The child's descriptor `to` is one end of a pipe; returns the other one,
   blocking and ours, or -1 (errno says). */
int spawn_pipe(spawn *s, int to);
/* Starts it: on a worker, which then stays. Either pid or why is set then. */
void spawn_run(spawn *s);
/* The child was reaped, by us or another: its worker may leave, and its group
   dies, if we can. */
void spawn_over(spawn *s);
void spawn_free(spawn *s); /* closes what is still here */

#ifdef SAROS_TEST
extern _Atomic int spawn_lost; /* somebody reaps it before we can hold it */
extern void (*_Atomic spawn_hook)(const spawn *s); /* at the end of the job */
#endif

#endif
