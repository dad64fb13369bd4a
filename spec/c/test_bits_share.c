/*
** bits: bandwidth. How a limit is dealt out, against the plainest way to do it;
** and what comes through within a time when everybody takes what he may, or
** files are so small that no limit slows them down.
*/
#include "mover_case.h"

/* ------------------------------------------------------------------
** Dealing
** ---------------------------------------------------------------- */

/* Byte by byte: to whoever has least and wants more. */
static void plainly(uint64_t limit, const uint64_t *wants, uint64_t *gets,
                    size_t count) {
  memset(gets, 0, count * sizeof *gets);
  for (; limit > 0; limit--) {
    size_t who = count;
    for (size_t i = count; i-- > 0;)
      if (gets[i] < wants[i] && (who == count || gets[i] <= gets[who])) who = i;
    if (who == count) return;
    gets[who]++;
  }
}

TEST(a_limit_is_dealt_out) {
  uint64_t seed = 5;
  for (int n = 0; n < 3000; n++) {
    uint64_t wants[8], gets[8], plain[8], sum = 0, wanted = 0;
    size_t count = 1 + (size_t)(retry_random(&seed) % 8);
    uint64_t limit = retry_random(&seed) % 300;
    for (size_t i = 0; i < count; i++) {
      wants[i] = retry_random(&seed) % 100;
      wanted += wants[i];
      if (retry_random(&seed) % 5 == 0) wants[i] = SHARE_ANY;
      if (wants[i] == SHARE_ANY) wanted += 1000;
    }
    share_fill(limit, wants, gets, count);
    plainly(limit, wants, plain, count);
    for (size_t i = 0; i < count; i++) {
      sum += gets[i];
      CHECK(gets[i] <= wants[i]);
      /* What cannot be divided one of them has. */
      CHECK(gets[i] <= plain[i] + 1 && plain[i] <= gets[i] + 1);
    }
    CHECK(sum == (limit < wanted ? limit : wanted));
  }
  uint64_t wants[2] = {SHARE_ANY, 7}, gets[2];
  share_fill(SHARE_ANY, wants, gets, 2);
  CHECK(gets[0] == SHARE_ANY && gets[1] == 7);
}

/* ------------------------------------------------------------------
** Carrying
** ---------------------------------------------------------------- */

/* What each try may is carried for so long, as far as its server is that
   fast. The bytes that came. */
static uint64_t carry(uint64_t ms, uint64_t server) {
  uint64_t sum = 0;
  for (uint64_t t = 0; t < ms; t += 50) {
    for (fake *f = w.tries; f != NULL; f = f->next) {
      uint64_t rate = f->way == MOVER_FETCH ? f->down : f->up;
      if (rate == 0 || rate > server) rate = server;
      atomic_fetch_add(&f->file->have, rate / 20);
      sum += rate / 20;
    }
    pass(50);
  }
  return sum;
}

static bool is_about(uint64_t bytes, uint64_t wanted) {
  bool about = bytes > wanted - wanted / 12 && bytes < wanted + wanted / 12;
  if (!about)
    printf("%llu bytes, not %llu\n", (unsigned long long)bytes,
           (unsigned long long)wanted);
  return about;
}

static uint64_t bytes_of(const bits_job *j) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < j->file_count; i++)
    sum += atomic_load(&j->files[i]->have);
  return sum;
}

/* Of a job, or (NULL) of the queue; from now on. */
static void settle_limit(bits_job *j, uint64_t limit) {
  pthread_mutex_lock(&w.m.lock);
  if (j != NULL)
    j->down = limit;
  else
    w.m.mover->limit_down = limit;
  bits_mover_limits(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
}

TEST(no_limit_nobody_wakes) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 3, "a");
  wake();
  unsigned looks = w.looks;
  CHECK_INT(carry(10000, 1000), 30000);
  CHECK_INT(w.looks, looks);
  CHECK_INT(w.tries->limits, 0);
  CHECK_INT(w.tries->down, 0);
  (void)j;
  world_end();
}

TEST(the_queue_has_a_limit) {
  world_begin("{\"limit_download\": 1000000}");
  bits_job *one = a_job(BITS_NORMAL, 2, "a");
  bits_job *two = a_job(BITS_NORMAL, 4, "b");
  wake();
  CHECK(is_about(carry(10000, 10000000), 10000000));
  /* Job by job, not file by file. */
  CHECK(is_about(bytes_of(one), bytes_of(two)));
  for (fake *f = w.tries; f != NULL; f = f->next) CHECK(f->limits < 45);
  world_end();
}

TEST(a_job_has_a_limit) {
  world_begin("{\"limit_download\": 1000000}");
  bits_job *one = a_job(BITS_NORMAL, 2, "a");
  bits_job *two = a_job(BITS_NORMAL, 2, "b");
  one->down = 100000;
  wake();
  carry(10000, 10000000);
  CHECK(is_about(bytes_of(one), 1000000));
  CHECK(is_about(bytes_of(two), 9000000));
  one->down = 0; /* changed while it runs */
  wake();
  uint64_t before = bytes_of(one);
  carry(10000, 10000000);
  CHECK(is_about(bytes_of(one) - before, 5000000));
  world_end();
}

TEST(what_one_has_no_use_for_others_have) {
  world_begin("{\"limit_download\": 1000000}");
  bits_job *slow = a_job(BITS_NORMAL, 1, "a");
  bits_job *fast = a_job(BITS_NORMAL, 1, "b");
  wake();
  for (int t = 0; t < 400; t++) {
    for (fake *f = w.tries; f != NULL; f = f->next)
      atomic_fetch_add(&f->file->have,
                       f->file->job == slow
                           ? (f->down < 50000 ? f->down : 50000) / 40
                           : f->down / 40);
    pass(25);
  }
  CHECK(is_about(bytes_of(slow), 500000));
  CHECK(bytes_of(fast) > 8000000);
  CHECK(bytes_of(fast) + bytes_of(slow) < 10800000);
  world_end();
}

TEST(a_limit_comes_and_goes) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  j->down = 50000;
  wake();
  CHECK(w.tries->down <= 50000 + 50000 / 4 && w.tries->down > 40000);
  j->down = 0;
  wake();
  pass(1000);
  CHECK_INT(w.tries->down, 0);
  CHECK(w.m.look_at == MOVER_NEVER);
  world_end();
}

/* What came before there was a limit is no debt. */
TEST(a_limit_counts_from_when_it_is_set) {
  for (int of_job = 0; of_job < 2; of_job++) {
    world_begin(NULL);
    bits_job *j = a_job(BITS_NORMAL, 2, "a");
    wake();
    carry(10000, 1000000000);
    settle_limit(of_job ? j : NULL, 1000000);
    uint64_t sum = carry(10000, 1000000000);
    CHECK(is_about(sum, 10000000));
    world_end();
  }
}

/* Who has carried much under a high limit owes no hours of a low one. */
TEST(a_limit_that_is_lowered_stalls_nobody) {
  for (int of_job = 0; of_job < 2; of_job++) {
    world_begin(NULL);
    bits_job *j = a_job(BITS_NORMAL, 1000, "a");
    settle_limit(of_job ? j : NULL, 1000000000);
    wake();
    for (int i = 0; i < 6; i++) atomic_fetch_add(&j->files[i]->have, 400000000);
    pass(250); /* it owes a second, and more */
    settle_limit(of_job ? j : NULL, 100000);
    pass(1000);
    unsigned before = w.starts;
    for (int i = 0; i < 6; i++) ends(w.tries->file, BITS_END_WHOLE);
    pass(10000);
    CHECK(w.starts > before);
    world_end();
  }
}

/* What has arrived of an upload and is lost on its way is not charged twice,
   nor is all that is there already. */
TEST(an_upload_that_goes_back_owes_nothing) {
  world_begin("{\"limit_upload\": 1000000}");
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  j->type = BITS_UPLOAD;
  atomic_store(&j->files[0]->have, 5ull << 30);
  wake();
  pass(250);
  atomic_fetch_sub(&j->files[0]->have, 3 << 20);
  pass(1000);
  CHECK(w.m.mover->up.tokens > -1000000);
  CHECK(w.tries->up > 900000);
  world_end();
}

/* Next to nothing of a small limit is lost to rounding. */
TEST(small_limits_are_kept_to) {
  static const uint64_t limits[] = {1, 3, 7, 30, 999};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    world_begin(NULL);
    bits_mover *v = w.m.mover;
    v->limit_down = limits[i];
    share_rates(v);
    v->down.at = w.now;
    v->down.tokens = -1000000;
    for (int t = 0; t < 4000; t++) {
      w.now += 251;
      share_owes(v, false, w.now);
    }
    uint64_t come = (uint64_t)(v->down.tokens + 1000000);
    uint64_t all = limits[i] * 4000 * 251 / 1000;
    CHECK(come <= all && come >= all - all / 100);
    world_end();
  }
}

TEST(up_and_down_are_apart) {
  world_begin("{\"limit_upload\": 100000}");
  bits_job *up = a_job(BITS_NORMAL, 1, "a");
  bits_job *down = a_job(BITS_NORMAL, 1, "b");
  up->type = BITS_UPLOAD;
  wake();
  carry(10000, 1000000);
  CHECK(is_about(bytes_of(up), 1000000));
  CHECK_INT(bytes_of(down), 10000000);
  world_end();
}

/* ------------------------------------------------------------------
** Small files: they come at once, whatever the limit
** ---------------------------------------------------------------- */

static unsigned small_files(uint64_t ms, uint64_t size) {
  unsigned came = 0;
  for (uint64_t end = w.now + ms; w.now < end;) {
    for (int i = 0; i < 1000 && w.tries != NULL; i++) {
      atomic_store(&w.tries->file->have, size);
      came++;
      ends(w.tries->file, BITS_END_WHOLE);
    }
    pass(10);
  }
  return came;
}

TEST(small_files_have_the_limit_too) {
  static const uint64_t sizes[] = {100, 4096, 60000};
  static const uint64_t limits[] = {10000, 1000000, 20000000};
  for (size_t s = 0; s < 3; s++)
    for (size_t l = 0; l < 3; l++) {
      char settings[100];
      snprintf(settings, sizeof settings, "{\"limit_download\": %llu}",
               (unsigned long long)limits[l]);
      uint64_t wanted = limits[l] * 10 / sizes[s];
      if (wanted > 20000) continue;
      world_begin(settings);
      bits_job *j = a_job(BITS_NORMAL, 40000, "a");
      wake();
      uint64_t came = small_files(10000, sizes[s]);
      /* A bucket, and one file for each connection, at most besides. */
      uint64_t most = wanted + wanted / 15 + 2 * MOVER_PER_HOST;
      if (came > most || came + wanted / 8 + 12 < wanted)
        printf("%llu files of %llu at %llu, not %llu\n",
               (unsigned long long)came, (unsigned long long)sizes[s],
               (unsigned long long)limits[l], (unsigned long long)wanted);
      CHECK(came <= most && came + wanted / 8 + 12 >= wanted);
      CHECK(j->state != BITS_TRANSIENT_ERROR);
      world_end();
    }
}

/* Who owes waits, and who has no limit does not. */
TEST(a_limited_job_does_not_hold_up_others) {
  world_begin(NULL);
  bits_job *one = a_job(BITS_NORMAL, 5000, "a");
  bits_job *two = a_job(BITS_NORMAL, 5000, "b");
  one->down = 20000;
  wake();
  small_files(1000, 4096);
  CHECK(one->files_done < 30);
  CHECK_INT(two->files_done, 5000);
  world_end();
}

/* A large file that runs at its limit leaves room for another to begin. */
TEST(a_large_file_does_not_starve_others) {
  world_begin("{\"limit_download\": 1000000}");
  a_job(BITS_NORMAL, 1, "a");
  wake();
  carry(5000, 100000000);
  bits_job *two = a_job(BITS_NORMAL, 50, "b");
  wake();
  for (int i = 0; i < 200; i++) {
    carry(50, 100000000);
    for (uint32_t k = 0; k < two->file_count; k++) {
      if (two->files[k]->state != BITS_FILE_RUNS) continue;
      if (atomic_load(&two->files[k]->have) > 50000)
        ends(two->files[k], BITS_END_WHOLE);
    }
  }
  CHECK_INT(two->state, BITS_TRANSFERRED);
  world_end();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(a_limit_is_dealt_out);
  RUN(no_limit_nobody_wakes);
  RUN(the_queue_has_a_limit);
  RUN(a_job_has_a_limit);
  RUN(what_one_has_no_use_for_others_have);
  RUN(a_limit_comes_and_goes);
  RUN(a_limit_counts_from_when_it_is_set);
  RUN(a_limit_that_is_lowered_stalls_nobody);
  RUN(an_upload_that_goes_back_owes_nothing);
  RUN(small_limits_are_kept_to);
  RUN(up_and_down_are_apart);
  RUN(small_files_have_the_limit_too);
  RUN(a_limited_job_does_not_hold_up_others);
  RUN(a_large_file_does_not_starve_others);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
