/*
** Timers: a hierarchical wheel (after Varghese and Lauck), so that setting,
** cancelling and firing cost the same with ten timers and with a million.
** The wheel itself knows no lock and no clock; the engine owns one.
*/
#ifndef SAROS_OP_TIMER_H
#define SAROS_OP_TIMER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct timer timer;

struct timer {
  timer *next, *prev; /* NULL when it is not set */
  uint64_t deadline;  /* monotonic nanoseconds */
  /* On the engine thread: see engine.h for which lock is held. */
  void (*fire)(timer *t);
};

#define WHEEL_BITS 6
#define WHEEL_SLOTS (1u << WHEEL_BITS)
#define WHEEL_LEVELS 8
#define WHEEL_TICK_SHIFT 14 /* a tick is 16.4 microseconds */

typedef struct wheel {
  uint64_t now; /* in ticks */
  uint64_t occupied[WHEEL_LEVELS];
  timer slots[WHEEL_LEVELS][WHEEL_SLOTS]; /* heads of rings */
  timer expired;                          /* head of a ring */
  uint64_t count;
} wheel;

void wheel_init(wheel *w, uint64_t now_ns);
void wheel_add(wheel *w, timer *t); /* t->deadline is set */
void wheel_remove(wheel *w, timer *t);
/* Moves what is due by `now_ns` to `expired`. */
void wheel_advance(wheel *w, uint64_t now_ns);
/* Takes one that is due, or NULL. */
timer *wheel_pop(wheel *w);
/* When to look again (never after the next deadline); UINT64_MAX: never. */
uint64_t wheel_next(const wheel *w);

#endif
