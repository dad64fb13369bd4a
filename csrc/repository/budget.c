/*
** budget: a count, and where it ends.
*/
#include "repository/budget.h"

#include <unistd.h>

#ifdef SAROS_TEST
uint64_t repo_budget_test;
#endif

uint64_t repo_budget_most(void) {
#ifdef SAROS_TEST
  if (repo_budget_test != 0) return repo_budget_test;
#endif
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || size <= 0) return (uint64_t)1 << 31;
  return (uint64_t)pages / 2 * (uint64_t)size;
}

repo_budget repo_budget_new(void) {
  return (repo_budget){0, repo_budget_most()};
}

error *repo_budget_take(repo_budget *b, uint64_t bytes, const char *advice) {
  if (bytes <= b->most - b->used) {
    b->used += bytes;
    return NULL;
  }
  return repo_error(SAROS_E_REFUSED,
                    "it takes more than half of the memory of this machine "
                    "(%llu MiB): %s",
                    (unsigned long long)(b->most >> 20), advice);
}
