/*
** The terminal, lent to a child: its group, which is not ours, reads from it
** and is interrupted by its keys, as a shell's job is.
*/
#ifndef SAROS_OP_TERMINAL_H
#define SAROS_OP_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

typedef struct terminal {
  int fd; /* -1: none is lent */
  bool has_modes;
  struct termios modes;
} terminal;

/* Ours, when we have one and are who reads from it; else none. */
void terminal_find(terminal *t);
/* The child (or 0) is over, or never was: our group has it again, and what it
   changed of it and did not change back, as the echo, is as it was. Nothing of
   that where somebody else has the terminal by now. Every signal is blocked
   here. */
void terminal_take_back(terminal *t, pid_t child);

#endif
