/*
** A store with a rate: what is due is waited for, what is locked is not, and a
** wait that is cancelled has moved nothing. Nobody looks at a clock: at a byte
** a second what is waited for does not come before the test's own deadline.
*/
#include "gate.h"
#include "repository/repository.h"
#include "store_case.h"

/* Says to end when it has been asked so often. */
typedef struct patience {
  repo_stop stop;
  atomic_int left;
} patience;

static bool runs_out(const repo_stop *stop) {
  return atomic_fetch_sub(&((patience *)(uintptr_t)stop)->left, 1) <= 0;
}

static repo_store *limited_at(store_place *p, uint64_t up, uint64_t down) {
  store_place_make(p);
  repo_store *plain = store_open_hasty(store_path(p, "r"));
  CHECK_INT(store_code(plain->way->create(plain)), 0);
  repo_store *s = repo_store_limit(plain, up, down);
  CHECK(s != NULL);
  return s;
}

static void end(repo_store *s, store_place *p) {
  repo_store_close(s);
  store_place_end(p);
}

static error *put_with(repo_store *s, repo_file kind, const char *text,
                       repo_id *id, const repo_stop *stop) {
  repo_piece piece = {text, strlen(text)};
  repo_id_of(id, text, strlen(text));
  return s->way->save(s, kind, id, &piece, 1, false, stop);
}

TEST(nothing_is_limited) {
  store_place p;
  store_place_make(&p);
  repo_store *plain = store_open_hasty(store_path(&p, "r"));
  CHECK(repo_store_limit(plain, 0, 0) == plain);
  end(plain, &p);
}

TEST(what_is_written_waits) {
  store_place p;
  repo_id id, other;
  char back[5];
  repo_store *s = limited_at(&p, 1, 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "a day of bytes", &id)), 0);
  patience little = {{runs_out}, 3};
  CHECK(store_says(put_with(s, REPO_PACKS, "more", &other, &little.stop),
                   "rate limit"));
  CHECK_INT(store_count(s, REPO_PACKS), 1);
  /* A lock does not wait, and nobody waits to read. */
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "{}", &other)), 0);
  for (int i = 0; i < 100; i++)
    CHECK_INT(store_code(
                  s->way->read(s, REPO_PACKS, &id, 2, sizeof back, back, NULL)),
              0);
  CHECK(memcmp(back, "day o", 5) == 0);
  end(s, &p);
}

/* It is what a cancelled backup has yet to write. */
TEST(what_names_the_packs_does_not_wait) {
  static const repo_file kinds[] = {REPO_INDEXES, REPO_SNAPSHOTS, REPO_KEYS};
  store_place p;
  repo_id id;
  repo_store *s = limited_at(&p, 1, 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "a day of bytes", &id)), 0);
  for (size_t i = 0; i < 3; i++) {
    patience few = {{runs_out}, 3};
    CHECK_INT(store_code(put_with(s, kinds[i], "an index", &id, &few.stop)), 0);
    CHECK_INT(store_count(s, kinds[i]), 1);
  }
  patience little = {{runs_out}, 3}; /* but who comes next pays for them */
  CHECK(store_says(put_with(s, REPO_PACKS, "more", &id, &little.stop),
                   "rate limit"));
  end(s, &p);
}

TEST(what_is_read_waits) {
  store_place p;
  repo_id id, other;
  char back[14];
  buffer b = BUFFER_EMPTY;
  repo_store *s = limited_at(&p, 0, 1);
  for (int i = 0; i < 100; i++)
    CHECK_INT(store_code(store_put(s, REPO_PACKS, "a day of bytes", &id)), 0);
  CHECK_INT(store_code(store_put(s, REPO_INDEXES, "an index", &other)), 0);
  /* How much it is is known when it is there: the next one waits. */
  CHECK_INT(store_code(s->way->load(s, REPO_INDEXES, &other, 100, &b, NULL)),
            0);
  CHECK(b.size == 8);
  patience little = {{runs_out}, 3};
  CHECK(store_says(s->way->read(s, REPO_PACKS, &id, 0, 14, back, &little.stop),
                   "rate limit"));
  little.left = 3;
  CHECK(store_says(s->way->load(s, REPO_INDEXES, &other, 100, &b, &little.stop),
                   "rate limit"));
  CHECK(b.size == 8);
  buffer_free(&b);
  /* What is no content costs nothing. */
  uint64_t size;
  CHECK_INT(store_code(s->way->size(s, REPO_PACKS, &id, &size, NULL)), 0);
  CHECK(size == 14);
  CHECK_INT(store_code(s->way->remove(s, REPO_PACKS, &id, NULL)), 0);
  CHECK_INT(store_count(s, REPO_PACKS), 0);
  end(s, &p);
}

TEST(a_high_rate_is_nobodys_limit) {
  store_place p;
  repo_id id;
  char text[24];
  repo_store *s = limited_at(&p, (uint64_t)1 << 40, (uint64_t)1 << 40);
  for (int i = 0; i < 50; i++) {
    snprintf(text, sizeof text, "text %d", i);
    CHECK_INT(store_code(store_put(s, REPO_PACKS, text, &id)), 0);
  }
  CHECK_INT(store_count(s, REPO_PACKS), 50);
  CHECK(s->connections > 0);
  end(s, &p);
}

static int asked;

static error *never(repo_store *s, const repo_stop *stop) {
  (void)s, (void)stop;
  asked++;
  return repo_error(SAROS_E_REFUSED, "append only");
}

/* What a store may not do it may not do slowly either. */
TEST(everything_is_passed_on) {
  store_place p;
  repo_store *s = limited_at(&p, 1, 1);
  CHECK_INT(store_code(s->way->may_remove(s, NULL)), 0);
  CHECK_INT(store_code(s->way->tidy(s, NULL)), 0);
  repo_store_close(s);
  repo_store *plain = store_open_hasty(store_path(&p, "r"));
  repo_store_way strict = *plain->way;
  strict.may_remove = strict.tidy = never;
  plain->way = &strict;
  s = repo_store_limit(plain, 1, 1);
  CHECK(s != NULL);
  CHECK_INT(store_code(s->way->may_remove(s, NULL)), SAROS_E_REFUSED);
  CHECK_INT(store_code(s->way->tidy(s, NULL)), SAROS_E_REFUSED);
  CHECK(asked == 2);
  s->way->busy(s, true);
  s->way->busy(s, false);
  end(s, &p);
}

TEST(without_memory) {
  store_place p;
  store_place_make(&p);
  repo_store *plain = store_open_hasty(store_path(&p, "r"));
  mem_fail_at(1);
  CHECK(repo_store_limit(plain, 1, 1) == NULL);
  mem_fail_at(0);
  end(plain, &p);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  GATE_RUN(nothing_is_limited);
  GATE_RUN(what_is_written_waits);
  GATE_RUN(what_names_the_packs_does_not_wait);
  GATE_RUN(what_is_read_waits);
  GATE_RUN(a_high_rate_is_nobodys_limit);
  GATE_RUN(everything_is_passed_on);
  GATE_RUN(without_memory);
  return check_end();
}
