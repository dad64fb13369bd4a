/*
** When a file that has failed is tried again.
**
** Two stages. Up to three failures in a row without progress are hiccups: the
** file waits a while of its own (full jitter: anything up to 1, 2, 4 s), and
** the other files of its job go on. From the fourth on the job's retry delay
** (600 s, unless it says otherwise; BITS' "minimum retry delay") is waited in
** full, and the jitter, which grows up to 5 min, comes on top. What the server
** asks for (Retry-After) is waited at least, up to an hour. A byte more than
** ever before, and it counts from the beginning.
**
** A job is in transient error while none of its files can go on: it is over
** when the first may. A host has a gate besides (mover_host.c), so that many
** files do not try all at once what one of them can find out.
*/
#include "bits/mover_parts.h"

/* splitmix64 */
uint64_t retry_random(uint64_t *seed) {
  uint64_t z = *seed += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

uint64_t retry_backoff(uint64_t *seed, unsigned tries) {
  uint64_t top = RETRY_CAP_MS;
  if (tries == 0) tries = 1;
  if (tries <= 16 && (uint64_t)RETRY_BASE_MS << (tries - 1) < top)
    top = (uint64_t)RETRY_BASE_MS << (tries - 1);
  return 1 + retry_random(seed) % top;
}

uint64_t retry_wait(uint64_t *seed, unsigned tries, const bits_result *r,
                    uint64_t retry_delay_ms) {
  uint64_t wait = retry_backoff(seed, tries);
  if (tries > RETRY_QUICK) wait += retry_delay_ms;
  if (r->has_wait) {
    uint64_t least =
        r->wait_ms < RETRY_AFTER_MOST_MS ? r->wait_ms : RETRY_AFTER_MOST_MS;
    if (wait < least) wait = least;
  }
  return wait;
}
