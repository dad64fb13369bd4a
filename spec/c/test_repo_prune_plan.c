/*
** What a prune decides for each pack, from figures alone.
**
** not under thread: it has one thread; ASan runs it
*/
#include "check.h"
#include "repository/prune.h"

#define MB ((uint64_t)1 << 20)

static repo_prune_pack packs[40];
static repo_prune_figures figures;
static repo_prune_options options;

static void begin(void) {
  memset(packs, 0, sizeof packs);
  options = (repo_prune_options)REPO_PRUNE_OPTIONS;
}

/* So many bytes of it are used. */
static repo_prune_pack *pack(int n, uint64_t used, uint64_t unused) {
  repo_prune_pack *p = &packs[n];
  p->id.bytes[0] = (uint8_t)n;
  p->used_bytes = used;
  p->unused_bytes = unused;
  p->used = used > 0;
  p->unused = unused > 0;
  p->size = p->there = used + unused + 77;
  p->is_there = true;
  return p;
}

static uint32_t plan(size_t count) {
  memset(&figures, 0, sizeof figures);
  error *e = repo_prune_plan(&options, 2, packs, count, &figures);
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  return code;
}

TEST(full_and_used_packs_stay) {
  begin();
  pack(0, 16 * MB, 0);
  CHECK_INT(plan(1), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_KEEP);
  CHECK_INT(figures.kept, 1);
}

TEST(unused_packs_go) {
  begin();
  pack(0, 16 * MB, 0);
  pack(1, 0, 3 * MB);
  CHECK_INT(plan(2), 0);
  CHECK_INT(packs[1].what, REPO_PRUNE_DELETE);
  CHECK_INT(figures.removed_bytes, packs[1].there);
  CHECK_INT(figures.freed_bytes, packs[1].there);
  CHECK_INT(figures.unused_after, 0);
}

TEST(a_missing_pack_that_is_not_needed_is_ignored) {
  begin();
  pack(0, 0, 3 * MB)->is_there = false;
  CHECK_INT(plan(1), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_IGNORE);
}

TEST(a_missing_pack_that_is_needed_ends_it) {
  begin();
  pack(0, 0, 3 * MB);
  pack(1, 3 * MB, 0)->is_there = false;
  CHECK_INT(plan(2), SAROS_E_DAMAGED);
}

TEST(a_pack_of_another_size_that_is_needed_ends_it) {
  begin();
  pack(0, 3 * MB, 0)->there--;
  CHECK_INT(plan(1), SAROS_E_DAMAGED);
  begin();
  pack(0, 0, 3 * MB)->there--;
  CHECK_INT(plan(1), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_DELETE);
}

/* Five percent of all that is left may stay: of the worst none does. */
TEST(the_worst_are_repacked_first_until_it_is_little) {
  begin();
  for (int i = 0; i < 10; i++) pack(i, 15 * MB, 0);
  pack(10, 14 * MB, 1 * MB);
  pack(11, 1 * MB, 14 * MB);
  pack(12, 9 * MB, 6 * MB);
  CHECK_INT(plan(13), 0);
  CHECK_INT(packs[10].what, REPO_PRUNE_KEEP);
  CHECK_INT(packs[11].what, REPO_PRUNE_REPACK);
  CHECK_INT(packs[12].what, REPO_PRUNE_KEEP); /* 7 of 174 MB are left */
  options.max_unused_share = 0;
  CHECK_INT(plan(13), 0);
  CHECK_INT(packs[10].what, REPO_PRUNE_REPACK);
  CHECK_INT(packs[12].what, REPO_PRUNE_REPACK);
  CHECK_INT(figures.unused_after, 0);
  options.max_unused_share = -1;
  options.max_unused = UINT64_MAX;
  CHECK_INT(plan(13), 0);
  CHECK_INT(figures.repacked, 0);
  CHECK_INT(figures.unused_after, 21 * MB);
}

TEST(no_more_is_copied_than_was_allowed) {
  begin();
  options.max_unused_share = 0;
  options.max_repack = 20 * MB;
  pack(0, 1 * MB, 14 * MB);
  pack(1, 2 * MB, 13 * MB);
  CHECK_INT(plan(2), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_REPACK);
  CHECK_INT(packs[1].what, REPO_PRUNE_KEEP);
}

TEST(packs_with_trees_are_always_tidied) {
  begin();
  options.max_unused_share = -1;
  options.max_unused = UINT64_MAX;
  pack(0, 15 * MB, 1000)->type = REPO_TREE;
  pack(1, 15 * MB, 0)->is_mixed = true;
  pack(2, 15 * MB, 1000);
  repo_prune_pack *p = pack(3, 15 * MB, 0);
  p->type = REPO_TREE;
  p->is_uncompressed = true;
  CHECK_INT(plan(4), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_REPACK);
  CHECK_INT(packs[1].what, REPO_PRUNE_REPACK);
  CHECK_INT(packs[2].what, REPO_PRUNE_KEEP);
  CHECK_INT(packs[3].what, REPO_PRUNE_REPACK);
  options.trees_only = true;
  options.max_unused = 0;
  CHECK_INT(plan(4), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_REPACK);
  CHECK_INT(packs[2].what, REPO_PRUNE_KEEP);
}

TEST(what_is_not_compressed_is_when_asked_for) {
  begin();
  pack(0, 15 * MB, 0)->is_uncompressed = true;
  CHECK_INT(plan(1), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_KEEP);
  options.repack_uncompressed = true;
  CHECK_INT(plan(1), 0);
  CHECK_INT(packs[0].what, REPO_PRUNE_REPACK);
  error *e = repo_prune_plan(&options, 1, packs, 1, &figures);
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
}

/* Nine small ones stay for ever, or there would be no end of it. */
TEST(many_small_packs_are_put_together) {
  begin();
  for (int i = 0; i < 9; i++) pack(i, MB / 2, 0);
  CHECK_INT(plan(9), 0);
  CHECK_INT(figures.repacked, 0);
  pack(9, MB / 2, 0);
  CHECK_INT(plan(10), 0);
  CHECK_INT(figures.repacked, 10);
  begin();
  for (int i = 0; i < 10; i++) pack(i, 8 * MB, 0);
  CHECK_INT(plan(10), 0);
  CHECK_INT(figures.repacked, 0);
  options.repack_small = true;
  CHECK_INT(plan(10), 0);
  CHECK_INT(figures.repacked, 10);
}

static uint32_t read_options(const char *json) {
  error *e = NULL;
  value *v = json_read(json, strlen(json), NULL, &e);
  repo_prune_options o = REPO_PRUNE_OPTIONS;
  CHECK(v != NULL);
  e = repo_prune_read_options(v, &o);
  value_free(v);
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  options = o;
  return code;
}

TEST(options_are_read) {
  CHECK_INT(read_options("{\"max_unused\":\"10%\"}"), 0);
  CHECK(options.max_unused_share > 0.111 && options.max_unused_share < 0.112);
  CHECK_INT(read_options("{\"max_unused\":\"2G\"}"), 0);
  CHECK(options.max_unused_share < 0 && options.max_unused == 2048 * MB);
  CHECK_INT(read_options("{\"max_unused\":0,\"max_repack_size\":\"5M\"}"), 0);
  CHECK(options.max_unused == 0 && options.max_repack == 5 * MB);
  const char *const bad[] = {"{\"max_unused\":\"100%\"}",
                             "{\"max_unused\":\"-1\"}",
                             "{\"max_unused\":\"x\"}",
                             "{\"max_unused\":-1}",
                             "{\"pack_size\":\"1M\"}",
                             "{\"pack_size\":\"129M\"}",
                             "{\"max_repack_size\":\"5MB\"}",
                             "{\"max_repack_size\":\"99999999999G\"}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    CHECK_INT(read_options(bad[i]), SAROS_E_INVALIDARG);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(full_and_used_packs_stay);
  RUN(unused_packs_go);
  RUN(a_missing_pack_that_is_not_needed_is_ignored);
  RUN(a_missing_pack_that_is_needed_ends_it);
  RUN(a_pack_of_another_size_that_is_needed_ends_it);
  RUN(the_worst_are_repacked_first_until_it_is_little);
  RUN(no_more_is_copied_than_was_allowed);
  RUN(packs_with_trees_are_always_tidied);
  RUN(what_is_not_compressed_is_when_asked_for);
  RUN(many_small_packs_are_put_together);
  RUN(options_are_read);
  return check_end();
}
