/*
** The queue and SIGKILL. Whoever writes it is killed at any moment, while it is
** made, written, checkpointed and mended; what a commit said is there, by
** SQLite's own account.
**
** not under valgrind: it kills processes that would take too long to begin
** not under thread: one thread a process
*/
#include <sys/mman.h>

#include "bits_queue_case.h"

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

/* ------------------------------------------------------------------
** Killed while it writes
** ---------------------------------------------------------------- */

enum { NUMBERS = 40 };

/* Change k gives file k % NUMBERS the number k. All in one transaction with the
   orphan that counts them. */
static bool change(bits_queue *q, int64_t k, bool full) {
  char text[40];
  snprintf(text, sizeof text, "%lld", (long long)k);
  queue_orphan count = {.id = 1, .what = text};
  return is_fine(bits_queue_begin(q, full)) && put_job(q, 1, BITS_QUEUED) &&
         put_file(q, 1, (uint32_t)(k % NUMBERS), k) &&
         is_fine(bits_queue_put_orphan(q, &count)) &&
         is_fine(bits_queue_commit(q));
}

/* How many changes there are, as SQLite reads them, or -1: not what they can
   be. */
static int64_t count_changes(void) {
  sqlite3 *db = NULL;
  sqlite3_stmt *s = NULL;
  int64_t count = 0, rows = 0;
  bool right = sqlite3_open(queue_path, &db) == SQLITE_OK &&
               queue_ask(db, "SELECT what FROM orphans", &count) == SQLITE_OK &&
               sqlite3_prepare_v2(db, "SELECT number, have FROM files", -1, &s,
                                  NULL) == SQLITE_OK;
  while (right && sqlite3_step(s) == SQLITE_ROW) {
    int64_t number = sqlite3_column_int64(s, 0);
    int64_t have = sqlite3_column_int64(s, 1);
    rows++;
    right = have % NUMBERS == number && have <= count && have > count - NUMBERS;
  }
  sqlite3_finalize(s);
  sqlite3_close(db);
  if (right) right = rows == (count < NUMBERS ? count : NUMBERS);
  return right ? count : -1;
}

typedef struct shared {
  _Atomic int64_t said; /* the last change that a commit said is there */
  _Atomic int opened;
} shared;
static shared *seen;

static _Noreturn void writes(int64_t from, uint64_t random) {
  bool owner = true;
  error *told = NULL, *e = NULL;
  alarm(60);
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  if (!is_fine(told) || !is_fine(e) || !owner) _exit(3);
  sqlite3_wal_autocheckpoint(q->db, 30); /* or it would hardly ever happen */
  atomic_fetch_add(&seen->opened, 1);
  for (int64_t k = from; k < from + 300; k++) {
    if (!change(q, k, gate_below(&random, 4) == 0)) _exit(4);
    atomic_store(&seen->said, k);
  }
  bits_queue_close(q);
  _exit(0);
}

TEST(killed_at_any_moment) {
  uint64_t random = gate_seed("kills");
  int rounds = is_long() ? 1600 : 20;
  seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(seen != MAP_FAILED);
  int killed = 0;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    if (i % 10 == 0) {
      folder_empty(queue_folder);
      atomic_store(&seen->said, 0);
    }
    int64_t from = atomic_load(&seen->said) + 1;
    /* What was committed, but not yet said. */
    if (i % 10 != 0) {
      int64_t count = count_changes();
      CHECK(count == from - 1 || count == from);
      from = count + 1;
    }
    uint64_t seed = gate_random(&random);
    pid_t child = fork();
    if (child == 0) writes(from, seed);
    /* Not to wait for something, but to be anywhere. */
    usleep(gate_below(&random, i % 3 == 0 ? 2000 : 15000));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    killed += WIFSIGNALED(status);
    bits_queue *q = open_sound_queue();
    loaded l = {0};
    CHECK(load(q, &l));
    CHECK_INT(l.torn, 0);
    CHECK(!is_there(".new") && !is_there(".mended"));
    bits_queue_close(q);
    buffer_free(&l.text);
    int64_t count = count_changes();
    CHECK(count >= atomic_load(&seen->said));
    CHECK(count <= atomic_load(&seen->said) + 1);
    atomic_store(&seen->said, count);
  }
  printf("killed %d times, of them %d before it was open\n", killed,
         rounds - atomic_load(&seen->opened));
  munmap(seen, sizeof *seen);
}


/* ------------------------------------------------------------------
** Killed while it makes or mends
** ---------------------------------------------------------------- */

static int last_step;

static void die_at(int step) {
  if (step == last_step) raise(SIGKILL);
}

static pid_t open_and_die_at(int step) {
  pid_t child = fork();
  if (child != 0) return child;
  bool owner = true;
  error *told = NULL, *e = NULL;
  last_step = step;
  queue_mend_step = die_at;
  bits_queue_close(bits_queue_open(queue_path, &owner, &told, &e));
  _exit(0);
}

TEST(killed_while_it_is_made) {
  for (int step = 10; step <= 11; step++) {
    folder_empty(queue_folder);
    int status = 0;
    waitpid(open_and_die_at(step), &status, 0);
    CHECK(WIFSIGNALED(status));
    bits_queue_close(open_sound_queue());
    CHECK(!is_there(".new"));
  }
}

static void leaves_a_wal(int tell) {
  bits_queue *q = open_sound_queue();
  fill(q, 1, 10);
  bits_queue_close(q);
  q = open_sound_queue();
  fill(q, 3, 10); /* only the WAL has these */
  CHECK_INT(write(tell, "x", 1), 1);
}

/* A row that was not written by us, in the WAL. */
static void spoil(void) {
  sqlite3 *db = NULL;
  CHECK_INT(sqlite3_open(queue_path, &db), SQLITE_OK);
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  CHECK_INT(sqlite3_exec(db,
                         "UPDATE files SET have = 999 WHERE job = 2 AND "
                         "number = 4",
                         NULL, NULL, NULL),
            SQLITE_OK);
  sqlite3_close(db);
  CHECK(is_there("-wal"));
}

/* Whether the queue that was set aside has all that the damaged one had. */
static bool is_kept(void) {
  char suffix[300], path[700];
  if (!find_beside(".damaged-", suffix, sizeof suffix)) return false;
  char *wal = strstr(suffix, "-wal");
  if (wal != NULL) *wal = '\0';
  snprintf(path, sizeof path, "%s%s", queue_path, suffix);
  sqlite3 *db = NULL;
  int64_t count = 0, have = 0;
  bool is = sqlite3_open(path, &db) == SQLITE_OK &&
            queue_ask(db, "SELECT count(*) FROM files", &count) == SQLITE_OK &&
            queue_ask(db, "SELECT have FROM files WHERE job = 2 AND number = 4",
                      &have) == SQLITE_OK;
  sqlite3_close(db);
  return is && count == 30 && have == 999;
}

TEST(killed_while_it_is_set_aside) {
  for (int step = 0; step <= 6; step++) {
    folder_empty(queue_folder);
    child_end(child_that(leaves_a_wal));
    spoil();
    int status = 0;
    if (step > 0) {
      waitpid(open_and_die_at(step), &status, 0);
      CHECK(WIFSIGNALED(status));
    }
    bool owner = true;
    error *told = NULL, *e = NULL;
    bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
    CHECK(is_fine(e));
    CHECK(owner);
    /* Before it counts, it is found damaged again. */
    CHECK((told != NULL) == (step < 3));
    CHECK(told == NULL || told->code == SAROS_E_DAMAGED);
    error_unref(told);
    loaded l = {0};
    CHECK(load(q, &l));
    CHECK_INT(l.jobs, 3);
    CHECK_INT(l.files, 29);
    CHECK_INT(l.torn, 3);
    CHECK(is_kept());
    CHECK(!is_there(".new") && !is_there(".mended"));
    fill(q, 4, 2);
    bits_queue_close(q);
    bits_queue_close(open_sound_queue());
    buffer_free(&l.text);
  }
}

/* Who reads goes over to the new one. */
TEST(an_observer_sees_it_mended) {
  folder_empty(queue_folder);
  child_end(child_that(leaves_a_wal));
  bool owner = false, changed = false;
  error *told = NULL, *e = NULL;
  bits_queue *reader = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(e));
  spoil();
  owner = true;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(q != NULL && owner && told != NULL);
  error_unref(told);
  CHECK(is_fine(bits_queue_changed(reader, &changed)));
  CHECK(changed);
  loaded l = {0};
  CHECK(load(reader, &l));
  CHECK_INT(l.files, 29);
  fill(q, 1, 20);
  CHECK(is_fine(bits_queue_changed(reader, &changed)));
  CHECK(changed);
  CHECK(load(reader, &l));
  CHECK_INT(l.files, 39);
  bits_queue_close(q);
  bits_queue_close(reader);
  bits_queue_close(open_sound_queue());
  buffer_free(&l.text);
}

/* Who reads may be the one who takes over, and mends. */
TEST(mended_when_it_is_taken_over) {
  folder_empty(queue_folder);
  child_end(child_that(leaves_a_wal));
  bool owner = false;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(e));
  spoil();
  CHECK(is_fine(bits_queue_take_over(q, &owner)));
  CHECK(owner);
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.files, 29);
  CHECK_INT(l.torn, 3);
  CHECK(is_kept());
  bits_queue_close(q);
  buffer_free(&l.text);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  folder_make();
  GATE_RUN(killed_at_any_moment);
  GATE_RUN(killed_while_it_is_made);
  GATE_RUN(killed_while_it_is_set_aside);
  GATE_RUN(an_observer_sees_it_mended);
  GATE_RUN(mended_when_it_is_taken_over);
  return check_end();
}
