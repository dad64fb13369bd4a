/*
** Making the first, the second, the third, ... request for memory fail, until
** a run gets through: after each nothing may be left behind.
*/
#ifndef SAROS_TEST_BASE_SWEEP_H
#define SAROS_TEST_BASE_SWEEP_H

#include <stdbool.h>

#include "base/memory.h"
#include "check.h"

#ifdef SAROS_TEST

/* `run` returns whether it did all it wanted. It may do without one piece of
   memory or another, so it is run at least `least` times. */
static inline void sweep(bool (*run)(void), int least) {
  bool whole = false;
  for (int n = 1; n < 100000 && (!whole || n <= least); n++) {
    long before = mem_blocks();
    mem_fail_at(n);
    whole = run();
    mem_fail_at(0);
    CHECK_INT(mem_blocks(), before);
  }
  CHECK(whole);
}

#define SWEEP(run, least) sweep(run, least)

#else

/* SKIP without its return: the test may have something to tidy up. */
#define SWEEP(run, least)                     \
  do {                                        \
    (void)(run);                              \
    (void)(least);                            \
    check_skip_reason = "needs -DSAROS_TEST"; \
  } while (0)

static inline long mem_blocks(void) {
  return 0;
}

#endif

#endif
