/*
** bits: when again. How long a file waits, and a heap of such files.
*/
#include "mover_case.h"

TEST(jitter_is_full) {
  uint64_t seed = 1;
  for (unsigned tries = 0; tries < 100; tries++) {
    uint64_t top = tries <= 1    ? 1000
                   : tries >= 10 ? 300000
                                 : 1000ull << (tries - 1);
    if (top > RETRY_CAP_MS) top = RETRY_CAP_MS;
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
      uint64_t wait = retry_backoff(&seed, tries);
      if (wait < least) least = wait;
      if (wait > most) most = wait;
    }
    CHECK(least >= 1 && least < top / 20);
    CHECK(most <= top && most > top - top / 20);
  }
  uint64_t a = 7, b = 7;
  for (int i = 0; i < 100; i++)
    CHECK(retry_backoff(&a, 5) == retry_backoff(&b, 5));
}

TEST(what_the_server_asks_for) {
  uint64_t seed = 1;
  bits_result r = {.end = BITS_END_AGAIN, .has_wait = true, .wait_ms = 30000};
  for (int i = 0; i < 100; i++) CHECK(retry_wait(&seed, 1, &r, 5000) == 30000);
  r.wait_ms = UINT64_MAX; /* an hour is enough */
  CHECK(retry_wait(&seed, 1, &r, 5000) == RETRY_AFTER_MOST_MS);
  r.wait_ms = 0;
  CHECK(retry_wait(&seed, 1, &r, 5000) <= 1000);
  r.wait_ms = 5;
  r.has_wait = false;
  CHECK(retry_wait(&seed, 1, &r, 5000) <= 1000);
}

TEST(hiccups_and_what_stays) {
  uint64_t seed = 1;
  bits_result r = {.end = BITS_END_AGAIN};
  for (int i = 0; i < 200; i++) {
    CHECK(retry_wait(&seed, RETRY_QUICK, &r, 600000) <= 4000);
    uint64_t wait = retry_wait(&seed, RETRY_QUICK + 1, &r, 600000);
    CHECK(wait > 600000 && wait <= 608000);
    wait = retry_wait(&seed, 1000000, &r, 5000);
    CHECK(wait > 5000 && wait <= 5000 + RETRY_CAP_MS);
  }
}

TEST(the_first_comes_first) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 500, "a");
  uint64_t seed = 3;
  for (int round = 0; round < 50; round++) {
    unsigned n = (unsigned)(retry_random(&seed) % 500);
    for (unsigned i = 0; i < n; i++) {
      CHECK(later_put(j, retry_random(&seed) % 50, i, i));
      CHECK(j->files[i]->later);
    }
    if (round % 3 == 0) later_all_at(j, 20);
    mover_later before = {0, 0, 0};
    for (unsigned i = 0; i < n; i++) {
      mover_later l = later_take(j);
      CHECK(l.at > before.at || i == 0 ||
            (l.at == before.at && l.file > before.file));
      CHECK(l.tries == l.file);
      CHECK(!j->files[l.file]->later);
      if (round % 3 == 0) CHECK(l.at <= 20);
      before = l;
    }
    CHECK_INT(j->turn.later_count, 0);
  }
  CHECK(later_put(j, 1, 7, 0));
  later_free(j);
  CHECK(!j->files[7]->later && j->turn.later == NULL);
  world_end();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(jitter_is_full);
  RUN(what_the_server_asks_for);
  RUN(hiccups_and_what_stays);
  RUN(the_first_comes_first);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
