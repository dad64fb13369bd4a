/*
** How much memory one call may take for what somebody else's trees make it
** remember. Forty small directories can have 2^40 paths: what nobody could list
** shall end with a sentence, and not with a machine that has no memory left.
*/
#ifndef SAROS_REPOSITORY_BUDGET_H
#define SAROS_REPOSITORY_BUDGET_H

#include "repository/repository.h"

/* Half of the memory of this machine. */
uint64_t repo_budget_most(void);

typedef struct repo_budget {
  uint64_t used, most;
} repo_budget;

repo_budget repo_budget_new(void);
/* So many bytes more. SAROS_E_REFUSED: they are too many; `advice` says what
   to ask for instead. */
error *repo_budget_take(repo_budget *b, uint64_t bytes, const char *advice);

#ifdef SAROS_TEST
extern uint64_t repo_budget_test; /* instead of that half; 0: that */
#endif

#endif
