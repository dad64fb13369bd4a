/*
** chunker_polynomial: which polynomials may be used, and a random one.
*/
#include "repository/chunker.h"
#include "repository/crypto.h"

#define DEGREE 53
#define BITS (((uint64_t)1 << (DEGREE + 1)) - 1)

/* About one in 27 is irreducible. */
#define TRIES 1000000

/* a * b modulo p, which has DEGREE; so have neither a nor b. */
static uint64_t times(uint64_t a, uint64_t b, uint64_t p) {
  uint64_t product = 0;
  for (; b != 0; b >>= 1) {
    if (b & 1) product ^= a;
    a <<= 1;
    if (a >> DEGREE & 1) a ^= p;
  }
  return product;
}


static int degree(uint64_t a) {
  return 63 - __builtin_clzll(a);
}


static uint64_t common(uint64_t a, uint64_t b) {
  while (b != 0) {
    while (a != 0 && degree(a) >= degree(b)) a ^= b << (degree(a) - degree(b));
    uint64_t rest = a;
    a = b;
    b = rest;
  }
  return a;
}


/* Ben-Or: it has no factor of degree i when it has none in common with
   x^(2^i) - x, and one of its factors has at most half its degree. */
bool repo_polynomial_irreducible(uint64_t p) {
  if (p >> DEGREE != 1) return false;
  uint64_t power = 2; /* x */
  for (int i = 1; i <= DEGREE / 2; i++) {
    power = times(power, power, p);
    if (common(p, power ^ 2) != 1) return false;
  }
  return true;
}


error *repo_polynomial_random(uint64_t *p) {
  for (long i = 0; i < TRIES; i++) {
    uint64_t candidate;
    error *e = repo_random(&candidate, sizeof candidate);
    if (e != NULL) return e;
    candidate = (candidate & BITS) | (uint64_t)1 << DEGREE | 1;
    if (!repo_polynomial_irreducible(candidate)) continue;
    *p = candidate;
    return NULL;
  }
  return repo_error(SAROS_E_FAIL,
                    "no polynomial was found: the random numbers of this "
                    "machine are not random");
}
