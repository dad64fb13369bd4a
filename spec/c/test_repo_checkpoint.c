/*
** A backup that is killed: what it had stored until then is named by index
** files that it wrote on the way, and the next one does not store it again.
**
** not under thread: a process made by one that has threads is killed here
** not under valgrind: the same; ASan runs it
*/
#include "backup_case.h"
#include "repository/packer_parts.h"

#define ALL \
  "{\"paths\":[\"@/src\"],\"pack_size\":\"4M\",\"read_concurrency\":1}"

/* At least: the first of several is stored when it is half full, so that they
   are not all full at once. */
#define TWO_PACKS (2 * 2000000)

/* Twenty megabytes, and one file behind them. */
static void put_much(void) {
  char name[40];
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "src/much%02d", i);
    put_random(name, 100 + (uint64_t)i, 1000000);
  }
  put_text("src/zlast", "last");
}

static bool all_named; /* or none */

static error *count_pack(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  (void)pack;
  (void)blobs;
  (void)count;
  ++*(long *)context;
  return NULL;
}

/* How many an index file names: what others may rely on is in the index. */
static long named_in(backup *b) {
  long count = 0;
  error_unref(repo_index_packs(b->index, count_pack, &count));
  return count;
}

/* Until the threads that store have done that much: by themselves, for nothing
   more comes from here. */
static void wait_and_die(backup *b, const char *what, const char *name) {
  if (strcmp(what, "entry") != 0 || strcmp(name, "zlast") != 0) return;
  repo_store *s = b->c->r->store;
  uint64_t until = repo_clock() + GATE_BOUND_MS;
  while (store_count(s, REPO_PACKS) < 2 ||
         (all_named && named_in(b) < store_count(s, REPO_PACKS))) {
    if (repo_clock() > until) _exit(5);
    usleep(1000);
  }
  raise(SIGKILL);
}

static void kill_one(uint64_t index_ms, bool wanted) {
  int status = -1;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    repo_packer_index_ms = index_ms;
    all_named = wanted;
    repo_backup_test = wait_and_die;
    repo *r = repo_open_at("r");
    if (repo_open(r, NULL) != NULL) _exit(3);
    saros_op *op = begin(r, ALL);
    saros_op_wait(op, GATE_BOUND_MS * 10);
    _exit(4); /* not reached */
  }
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  if (!WIFSIGNALED(status)) printf("ended with %d\n", WEXITSTATUS(status));
  CHECK(run_shell(NULL, "rm -f %s/*", at("r/locks")));
}

/* What is added: everything, or what the killed one had not stored. */
static void completes(int64_t least, int64_t most) {
  repo *r = repo_open_at("r");
  CHECK_INT(store_code(repo_open(r, NULL)), 0);
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 0);
  saros_op *op = backed_up(r, ALL, 0);
  int64_t added = number_in(op, "bytes_added");
  CHECK(added >= least && added <= most);
  if (check_bad > 0) printf("added %lld\n", (long long)added);
  CHECK_INT(number_in(op, "files"), 21);
  saros_op_unref(op);
  if (has_restic()) CHECK(restic_checks("r"));
  repo_unref(r);
}

/* Nothing comes any more when it is time to write one. */
TEST(what_is_stored_is_named_in_time) {
  place_make();
  put_much();
  repo_unref(repo_made("r", 2));
  kill_one(20, true);
  completes(0, 20000000 - TWO_PACKS);
  place_end();
}

/* Before that it is stored twice, unless the index is repaired. */
TEST(what_is_not_named_yet_is_found_by_a_repair) {
  for (int repaired = 0; repaired < 2; repaired++) {
    place_make();
    put_much();
    repo_unref(repo_made("r", 2));
    kill_one(3600000, false);
    repo *r = repo_open_at("r");
    CHECK_INT(store_code(repo_open(r, NULL)), 0);
    CHECK_INT(store_count(r->store, REPO_INDEXES), 0);
    uint32_t why;
    if (repaired) {
      saros_op *op =
          repo_call_begin(r, repo_work_find("repair"),
                          json_of("{\"what\":\"index\"}"), NULL, &why);
      CHECK(saros_op_wait(op, GATE_BOUND_MS * 10));
      CHECK_INT(saros_op_code(op), 0);
      CHECK_INT(number_in(op, "packs_added"),
                store_count(r->store, REPO_PACKS));
      saros_op_unref(op);
    }
    repo_unref(r);
    completes(repaired ? 0 : 20000000,
              repaired ? 20000000 - TWO_PACKS : 21000000);
    place_end();
  }
}

int main(int argc, char **argv) {
  store_engine();
  gate_begin(argc, argv);
  GATE_RUN(what_is_stored_is_named_in_time);
  GATE_RUN(what_is_not_named_yet_is_found_by_a_repair);
  return check_end();
}
