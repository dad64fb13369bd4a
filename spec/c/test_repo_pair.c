/*
** Two hashes at a time: each comes out as if it had been alone, whatever its
** company was, and whatever went along.
**
** not under thread: it has one thread; ASan runs it
*/
#include "repository/pair.h"

#include "repo_case.h"
#include "repository/crypto.h"

enum { MOST = 5000, COUNT = 300 };

static uint8_t noise[COUNT + MOST];
static uint32_t chance = 1;

static uint32_t below(uint32_t n) {
  chance = chance * 1664525u + 1013904223u;
  return (chance >> 8) % n;
}

typedef struct one {
  const uint8_t *data;
  size_t size;
  bool seen;
} one;

static void make(one *all) {
  CHECK_GOOD(repo_random(noise, sizeof noise));
  for (size_t i = 0; i < COUNT; i++) {
    size_t size = below(4) == 0 ? below(3) * 64 : below(MOST);
    all[i] = (one){noise + i, size, false};
  }
}

/* All that come out now, each as it is alone. */
static size_t take(repo_pair *p, bool alone) {
  repo_half *half;
  repo_id id, expected;
  size_t count = 0;
  while ((half = repo_pair_next(p, alone, &id)) != NULL) {
    one *o = (one *)(uintptr_t)half->what;
    CHECK(!o->seen);
    o->seen = true;
    repo_id_of(&expected, o->data, o->size);
    CHECK(repo_id_equal(&id, &expected));
    half->what = NULL;
    count++;
  }
  return count;
}

static void pass(bool beside) {
  static one all[COUNT];
  repo_pair p = {0};
  repo_sha other;
  repo_id id, expected;
  size_t done = 0, along = 0;
  make(all);
  repo_sha_begin(&other);
  for (size_t i = 0; i < COUNT; i++) {
    repo_half *half = repo_pair_room(&p);
    CHECK(half != NULL);
    repo_pair_put(half, &all[i], (const char *)all[i].data, all[i].size);
    size_t more = beside ? below(2000) : 0;
    if (more > sizeof noise - along) more = sizeof noise - along;
    if (more > 0) along += repo_pair_beside(&p, &other, noise + along, more);
    done += take(&p, false);
    /* There is room for the next, and one waits for company at the most. */
    CHECK(done >= i);
  }
  done += take(&p, true);
  CHECK_INT(done, COUNT);
  repo_sha_end(&other, &id);
  repo_id_of(&expected, noise, along);
  CHECK(repo_id_equal(&id, &expected));
  CHECK(beside == (along > 0));
  repo_pair_free(&p);
}

TEST(each_as_if_alone) {
  for (int i = 0; i < 5; i++) pass(false);
}

TEST(and_what_goes_along) {
  for (int i = 0; i < 5; i++) pass(true);
}

TEST(nothing_to_hash) {
  repo_pair p = {0};
  repo_sha other;
  repo_id id;
  repo_sha_begin(&other);
  CHECK(repo_pair_next(&p, false, &id) == NULL);
  CHECK(repo_pair_next(&p, true, &id) == NULL);
  CHECK_INT(repo_pair_beside(&p, &other, "abc", 3), 0);
  repo_pair_free(&p);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(each_as_if_alone);
  RUN(and_what_goes_along);
  RUN(nothing_to_hash);
  return check_end();
}
