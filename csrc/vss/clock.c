/*
** One timer of a machine: see clock.h.
*/
#include "vss/clock.h"

static void ring(timer *t) {
  machine_wake(((machine_clock *)t)->m);
}

void machine_clock_set(machine_clock *c, machine *m, uint64_t when) {
  timer_cancel(&c->t); /* on the engine thread: exact */
  if (when == UINT64_MAX) return;
  c->m = m;
  c->t.fire = ring;
  timer_set(&c->t, when);
}
