/*
** scrypt: from a password to a key, at a price. Who wrote the parameters may
** be hostile, so what they ask for is bounded: sixteen times what restic takes.
*/
#include <openssl/err.h>
#include <openssl/evp.h>
#include <time.h>

#include "base/traces.h"
#include "repository/crypto.h"
#include "repository/key.h"

/* Of memory in bytes, and of work: N·r·p is 2^21 for half a second. */
#define MEMORY_MOST ((uint64_t)512 << 20)
#define WORK_MOST ((uint64_t)1 << 25)


/* OpenSSL counts so: V, B, and two blocks. */
static uint64_t memory_of(uint64_t n, uint64_t r, uint64_t p) {
  return 128 * r * (n + p + 2);
}


static bool is_fit(uint64_t n, uint64_t r, uint64_t p) {
  return n > 1 && (n & (n - 1)) == 0 && r > 0 && p > 0 && n <= WORK_MOST &&
         r <= WORK_MOST && p <= WORK_MOST && n * r <= WORK_MOST &&
         n * r * p <= WORK_MOST && memory_of(n, r, p) <= MEMORY_MOST;
}


error *repo_scrypt(const char *password, size_t size, const uint8_t salt[64],
                   uint64_t n, uint64_t r, uint64_t p, uint8_t out[64]) {
  if (!is_fit(n, r, p))
    return repo_error(SAROS_E_DAMAGED,
                      "the cost of scrypt is not to be trusted (N=%llu, "
                      "r=%llu, p=%llu): N must be a power of two, and all of "
                      "it affordable",
                      (unsigned long long)n, (unsigned long long)r,
                      (unsigned long long)p);
  ERR_set_mark();
  int done = EVP_PBE_scrypt(password != NULL ? password : "", size, salt, 64, n,
                            r, p, memory_of(n, r, p) + 4096, out, 64);
  ERR_pop_to_mark();
  traces_wipe(); /* what it hashed last lies there yet */
  if (done == 1) return NULL;
  return repo_error(SAROS_E_OUTOFMEMORY,
                    "scrypt needs %llu MiB of memory, and did not get them",
                    (unsigned long long)(memory_of(n, r, p) >> 20) + 1);
}


static double seconds_here(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}


/* CPU seconds of one, with p = 1. */
static error *take_time(uint64_t n, double *seconds) {
  static const uint8_t salt[64] = {1};
  uint8_t out[64];
  double before = seconds_here();
  error *e = repo_scrypt("", 0, salt, n, REPO_COST_R, 1, out);
  *seconds = seconds_here() - before;
  repo_wipe(out, sizeof out);
  return e;
}


#ifdef SAROS_TEST
const repo_cost *repo_cost_test;
#endif

/* What takes longest within the bounds. Seconds of this thread alone count: a
   machine that is busy now must not get a weak key for ever. */
error *repo_cost_calibrate(repo_cost *cost) {
  double one = 0;
#ifdef SAROS_TEST
  if (repo_cost_test != NULL) {
    *cost = *repo_cost_test;
    return NULL;
  }
#endif
  *cost = (repo_cost){REPO_COST_N_MOST, REPO_COST_R, 1};
  for (;;) {
    error *e = take_time(cost->n, &one);
    if (e != NULL) return e;
    if (one <= REPO_COST_SECONDS || cost->n <= REPO_COST_N_LEAST) break;
    cost->n /= 2;
  }
  while (cost->p < REPO_COST_P_MOST &&
         (double)(cost->p + 1) * one <= REPO_COST_SECONDS)
    cost->p++;
  return NULL;
}
