/*
** The wheel. Level n has 64 slots of 64^n ticks; a timer hangs in the level
** of the highest digit in which its deadline differs from now, so it moves
** down at most seven times before it fires.
*/
#include "op/timer.h"

#include <stddef.h>
#include <string.h>

static uint64_t ticks_of(uint64_t ns) {
  return ns >> WHEEL_TICK_SHIFT;
}

/* A deadline is late by at most a tick, never early. */
static uint64_t ticks_up(uint64_t ns) {
  return (ns >> WHEEL_TICK_SHIFT) + 1;
}

static void ring_init(timer *head) {
  head->next = head->prev = head;
}

static bool ring_empty(const timer *head) {
  return head->next == head;
}

static void ring_put(timer *head, timer *t) {
  t->next = head;
  t->prev = head->prev;
  head->prev->next = t;
  head->prev = t;
}

static void ring_out(timer *t) {
  t->prev->next = t->next;
  t->next->prev = t->prev;
  t->next = t->prev = NULL;
}

static void hang(wheel *w, timer *t) {
  uint64_t when = ticks_up(t->deadline);
  if (when <= w->now) {
    ring_put(&w->expired, t);
    return;
  }
  unsigned level =
      (63u - (unsigned)__builtin_clzll(when ^ w->now)) / WHEEL_BITS;
  if (level >= WHEEL_LEVELS) { /* centuries away: as late as we can tell */
    level = WHEEL_LEVELS - 1;
    when = w->now + ((uint64_t)(WHEEL_SLOTS - 1) << (WHEEL_BITS * level));
  }
  unsigned slot = (unsigned)(when >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1);
  ring_put(&w->slots[level][slot], t);
  w->occupied[level] |= 1ULL << slot;
}


void wheel_init(wheel *w, uint64_t now_ns) {
  memset(w, 0, sizeof *w);
  w->now = ticks_of(now_ns);
  ring_init(&w->expired);
  for (unsigned level = 0; level < WHEEL_LEVELS; level++)
    for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
      ring_init(&w->slots[level][slot]);
}

void wheel_add(wheel *w, timer *t) {
  hang(w, t);
  w->count++;
}

void wheel_remove(wheel *w, timer *t) {
  ring_out(t); /* an empty slot keeps its bit until somebody looks */
  w->count--;
}

/* Slots of one level that lie behind us when its digit goes from `from` on by
   `passed` slots: a bit for each, counted round. */
static uint64_t passed_slots(unsigned from, uint64_t passed) {
  if (passed >= WHEEL_SLOTS) return UINT64_MAX;
  uint64_t bits = (1ULL << passed) - 1; /* slots from+1 .. from+passed */
  unsigned by = (from + 1) & (WHEEL_SLOTS - 1);
  return by == 0 ? bits : (bits << by) | (bits >> (WHEEL_SLOTS - by));
}

static void advance_to(wheel *w, uint64_t now) {
  timer moved;
  ring_init(&moved);
  for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
    unsigned shift = WHEEL_BITS * level;
    uint64_t passed = (now >> shift) - (w->now >> shift);
    if (passed == 0) break; /* nor has any higher digit changed */
    unsigned from = (unsigned)(w->now >> shift) & (WHEEL_SLOTS - 1);
    uint64_t due = passed_slots(from, passed) & w->occupied[level];
    w->occupied[level] &= ~due;
    while (due != 0) {
      timer *head = &w->slots[level][__builtin_ctzll(due)];
      due &= due - 1;
      if (ring_empty(head)) continue;
      head->next->prev = moved.prev; /* the whole ring at once */
      moved.prev->next = head->next;
      head->prev->next = &moved;
      moved.prev = head->prev;
      ring_init(head);
    }
  }
  w->now = now;
  while (!ring_empty(&moved)) {
    timer *t = moved.next;
    ring_out(t);
    hang(w, t);
  }
}

timer *wheel_pop(wheel *w) {
  if (ring_empty(&w->expired)) return NULL;
  timer *t = w->expired.next;
  wheel_remove(w, t);
  return t;
}

/* The tick at which the next slot that may hold something begins. */
static uint64_t next_tick(const wheel *w) {
  uint64_t next = UINT64_MAX;
  for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
    if (w->occupied[level] == 0) continue;
    unsigned shift = WHEEL_BITS * level;
    uint64_t digit = w->now >> shift;
    unsigned at = (unsigned)digit & (WHEEL_SLOTS - 1);
    uint64_t bits = w->occupied[level];
    unsigned by = (at + 1) & (WHEEL_SLOTS - 1);
    bits = by == 0 ? bits : (bits >> by) | (bits << (WHEEL_SLOTS - by));
    uint64_t tick = (digit + 1 + (unsigned)__builtin_ctzll(bits)) << shift;
    if (tick < next) next = tick;
  }
  return next;
}

/* Slot by slot, so that however late we come they expire in order. */
void wheel_advance(wheel *w, uint64_t now_ns) {
  uint64_t now = ticks_of(now_ns);
  while (w->now < now) {
    uint64_t next = next_tick(w);
    advance_to(w, next < now ? next : now);
  }
}

uint64_t wheel_next(const wheel *w) {
  if (!ring_empty(&w->expired)) return w->now << WHEEL_TICK_SHIFT;
  if (w->count == 0) return UINT64_MAX;
  uint64_t next = next_tick(w);
  return next == UINT64_MAX ? next : next << WHEEL_TICK_SHIFT;
}
