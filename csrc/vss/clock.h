/*
** One timer of a machine.
*/
#ifndef SAROS_VSS_CLOCK_H
#define SAROS_VSS_CLOCK_H

#include "op/engine.h"

typedef struct machine_clock {
  timer t; /* first */
  machine *m;
} machine_clock;

/* The machine is woken then, and not at what was set before; UINT64_MAX: not
   at all. Engine thread only. */
void machine_clock_set(machine_clock *c, machine *m, uint64_t when);

#endif
