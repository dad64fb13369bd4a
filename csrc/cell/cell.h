/*
** What the rooms of the cell share. See cell.c for what it is.
*/
#ifndef SAROS_CELL_CELL_H
#define SAROS_CELL_CELL_H

#include <stdnoreturn.h>
#include <sys/types.h>

enum {
  CELL_MOST = 1024,  /* directories of one kind */
  CELL_CANNOT = 125, /* its status when there is no cell */
  CELL_NO_PROGRAM = 127
};

typedef struct cell_plan {
  const char *writable[CELL_MOST]; /* real paths */
  const char *hidden[CELL_MOST];   /* real paths */
  int writable_count, hidden_count;
  const char *cwd;
  uid_t uid;
  gid_t gid;
  int stop; /* the signal that asks the program to end */
} cell_plan;

/* Says which step could not be taken, with errno as the reason, and ends. */
noreturn void cell_fail(const char *step, const char *detail);
/* The same for what is no fault of the system. */
noreturn void cell_refuse(const char *step, const char *why);

/* Hides the sockets that listen in this network: asked before we leave it. */
void world_note_sockets(cell_plan *plan);
/* In namespaces of our own: makes of the world what a program in a cell sees.
 */
void world_make(const cell_plan *plan);

#endif
