/*
** Who owns the queue: one who lives. Others read, and take over from the dead.
** Processes are killed here, forked at awkward moments, and two at once want
** the same.
*/

#include <poll.h>
#include <sys/file.h>

#include "bits_queue_case.h"

static bits_queue *open_any(bool *owner) {
  error *told = NULL, *e = NULL;
  *owner = true;
  bits_queue *q = bits_queue_open(queue_path, owner, &told, &e);
  CHECK(is_fine(told));
  CHECK(is_fine(e));
  return q;
}

static bool is_owned(bits_queue *q, long long pid) {
  buffer b = BUFFER_EMPTY, begins = BUFFER_EMPTY;
  bits_queue_owner(q, &b);
  if (pid > 0) buffer_format(&begins, "pid %lld (", pid);
  bool is = pid == 0 ? b.size == 0
                     : b.size > begins.size &&
                           strncmp(b.data, begins.data, begins.size) == 0 &&
                           strstr(b.data, "), since 20") != NULL;
  if (!is) printf("it is owned by \"%s\"\n", b.size > 0 ? b.data : "");
  buffer_free(&b);
  buffer_free(&begins);
  return is;
}

static bool takes_over(bits_queue *q) {
  bool owner = false;
  CHECK(is_fine(bits_queue_take_over(q, &owner)));
  return owner;
}

/* What has changed since this was asked last. */
static bool sees_change(bits_queue *q) {
  bool changed = false;
  CHECK(is_fine(bits_queue_changed(q, &changed)));
  return changed;
}


/* ------------------------------------------------------------------
** In one process
** ---------------------------------------------------------------- */

TEST(the_second_one_reads) {
  folder_empty(queue_folder);
  bits_queue *first = open_sound_queue();
  fill(first, 1, 3);
  CHECK(is_owned(first, getpid()));
  bool owner;
  bits_queue *second = open_any(&owner);
  CHECK(!owner);
  CHECK(is_owned(second, getpid()));
  loaded l = {0};
  CHECK(load(second, &l));
  CHECK_INT(l.files, 3);
  CHECK(!sees_change(second));
  fill(first, 2, 3);
  CHECK(sees_change(second));
  CHECK(!sees_change(second));
  CHECK(!sees_change(first)); /* nobody else has written */
  CHECK(load(second, &l));
  CHECK_INT(l.files, 6);
  /* It cannot write, and cannot become the owner, until the first has gone. */
  error *e = bits_queue_begin(second, false);
  CHECK(e != NULL && e->code == SAROS_E_ACCESSDENIED);
  error_unref(e);
  CHECK(!takes_over(second));
  bits_queue_close(first);
  CHECK(is_owned(second, 0));
  CHECK(takes_over(second));
  CHECK(is_owned(second, getpid()));
  fill(second, 3, 3);
  CHECK(load(second, &l));
  CHECK_INT(l.files, 9);
  bits_queue_close(second);
  buffer_free(&l.text);
}

TEST(who_only_wants_to_read_owns_nothing) {
  folder_empty(queue_folder);
  CHECK_INT(refused(queue_path, false, NULL), WIN32_(WIN32_FILE_NOT_FOUND));
  CHECK(!is_there("") && !is_there(".owner"));
  bits_queue_close(open_sound_queue());
  bool owner = false;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(q != NULL && !owner);
  bits_queue *other = open_sound_queue();
  CHECK(is_owned(q, getpid()));
  bits_queue_close(other);
  bits_queue_close(q);
}


/* ------------------------------------------------------------------
** In two
** ---------------------------------------------------------------- */

static void owns(int tell) {
  bits_queue *q = open_sound_queue();
  fill(q, 2, 10);
  CHECK_INT(write(tell, "x", check_bad == 0 ? 1 : 0), 1);
}

/* A transaction is open, and some of it may be in the WAL already. */
static void owns_and_writes(int tell) {
  bits_queue *q = open_sound_queue();
  fill(q, 1, 2);
  CHECK(is_fine(bits_queue_begin(q, false)));
  for (uint32_t i = 0; i < 3000; i++) CHECK(put_file(q, 1, i, 7));
  CHECK_INT(write(tell, "x", 1), 1);
}

TEST(a_dead_owner_is_succeeded) {
  for (int round = 0; round < 2; round++) {
    folder_empty(queue_folder);
    pid_t child = child_that(round == 0 ? owns : owns_and_writes);
    bool owner;
    bits_queue *q = open_any(&owner);
    CHECK(!owner);
    CHECK(is_owned(q, child));
    CHECK(!takes_over(q));
    child_end(child);
    CHECK(is_owned(q, 0));
    CHECK(takes_over(q));
    loaded l = {0};
    CHECK(load(q, &l));
    CHECK_INT(l.files, round == 0 ? 20 : 2);
    CHECK_INT(l.torn, 0);
    bits_queue_close(q);
    q = open_sound_queue();
    bits_queue_close(q);
    buffer_free(&l.text);
  }
}

/* It has died, but nobody has asked for it yet: it is no owner either. */
TEST(a_zombie_is_dead) {
  folder_empty(queue_folder);
  pid_t child = child_that(owns);
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
  bits_queue *q = open_sound_queue();
  CHECK(q != NULL);
  bits_queue_close(q);
  waitpid(child, NULL, 0);
}

static void stopped(int tell) {
  owns(tell);
  raise(SIGSTOP);
}

TEST(who_sleeps_lives) {
  folder_empty(queue_folder);
  pid_t child = child_that(stopped);
  bool owner;
  bits_queue *q = open_any(&owner);
  CHECK(!owner && is_owned(q, child));
  CHECK(!takes_over(q));
  child_end(child);
  CHECK(takes_over(q));
  bits_queue_close(q);
}

/* A host closes what it does not know: the lock is gone, the owner is not. */
static void loses_its_lock(int tell) {
  bits_queue *q = open_sound_queue();
  flock(q->lock, LOCK_UN);
  CHECK_INT(write(tell, "x", 1), 1);
}

TEST(who_lives_without_a_lock_lives) {
  folder_empty(queue_folder);
  pid_t child = child_that(loses_its_lock);
  bool owner;
  bits_queue *q = open_any(&owner);
  CHECK(!owner && is_owned(q, child));
  CHECK(!takes_over(q));
  child_end(child);
  CHECK(takes_over(q));
  bits_queue_close(q);
}

/* What another boot, another process of the same number, or nobody who can be
   understood has left there. */
TEST(what_the_file_may_say) {
  static const char *const all[] = {
      "",
      "saros queue 1\n",
      "saros queue 1\nboot x\npids 1\npid 1\nstarted 1\n"
      "name init\nsince 2020\n",
      "\xFF\xFE"
      "garbage",
      "saros queue 1\nboot",
      "saros queue 1\nboot x\npids -1\npid 99999999999999999999999\n"};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    folder_empty(queue_folder);
    bits_queue_close(open_sound_queue());
    int fd = open(beside(".owner"), O_WRONLY | O_TRUNC);
    CHECK_INT(write(fd, all[i], strlen(all[i])), (ssize_t)strlen(all[i]));
    close(fd);
    bits_queue *q = open_sound_queue();
    CHECK(is_owned(q, getpid()));
    bits_queue_close(q);
  }
  /* Our own number, but when that was another's: a boot ago, or a process. */
  folder_empty(queue_folder);
  bits_queue_close(open_sound_queue());
  FILE *f = fopen(beside(".owner"), "w");
  fprintf(f,
          "saros queue 1\nboot %s\npids 1\npid %d\nstarted 1\nname x\n"
          "since x\n",
          "x", getppid());
  fclose(f);
  bits_queue_close(open_sound_queue());
}

enum { RACERS = 4 };

/* Many want it at once, often; never have two of them got it. */
static int race(int rounds) {
  int alone = open(beside(".alone"), O_RDWR | O_CREAT | O_CLOEXEC, 0600),
      won = 0;
  check_bad = 0;
  for (int i = 0; i < rounds; i++) {
    bool owner;
    bits_queue *q = open_any(&owner);
    if (q != NULL && owner) {
      won++;
      CHECK_INT(flock(alone, LOCK_EX | LOCK_NB), 0);
      if (check_bad == 0) fill(q, 1, 1);
      flock(alone, LOCK_UN);
    }
    bits_queue_close(q);
  }
  return check_bad > 0 ? 2 : won == 0;
}

TEST(of_many_one_gets_it) {
  folder_empty(queue_folder);
  bits_queue_close(open_sound_queue());
  pid_t children[RACERS];
  int rounds = gate_is_quick ? 5 : 30;
  for (int i = 0; i < RACERS; i++) {
    children[i] = fork();
    if (children[i] == 0) _exit(race(rounds));
  }
  for (int i = 0; i < RACERS; i++) {
    int status = -1;
    waitpid(children[i], &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 2);
  }
  bits_queue_close(open_sound_queue());
}


/* ------------------------------------------------------------------
** Forks
** ---------------------------------------------------------------- */

/* All that a child may do with what it has inherited: nothing. */
static int inherited(bits_queue *q) {
  check_bad = 0;
  error *e = bits_queue_begin(q, false);
  CHECK(e != NULL && e->code == SAROS_E_FORKED);
  error_unref(e);
  bool changed, owner;
  e = bits_queue_changed(q, &changed);
  CHECK(e != NULL && e->code == SAROS_E_FORKED);
  error_unref(e);
  e = bits_queue_take_over(q, &owner);
  error_unref(e);
  bits_queue_undo(q);
  bits_queue_close(q);
  /* One of its own: the parent is the owner. */
  bits_queue *own = open_any(&owner);
  CHECK(own != NULL && !owner);
  CHECK(is_owned(own, getppid()));
  loaded l = {0};
  CHECK(load(own, &l));
  CHECK_INT(l.files, 6);
  buffer_free(&l.text);
  bits_queue_close(own);
  return check_bad > 0;
}

TEST(a_child_neither_writes_nor_unlocks) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 2, 3);
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    if (child == 0) _exit(inherited(q));
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
    /* The parent goes on, and still is the owner. */
    pid_t other = fork();
    if (other == 0) {
      check_bad = 0;
      bool owner;
      bits_queue *own = open_any(&owner);
      _exit(own == NULL || owner || check_bad > 0);
    }
    waitpid(other, &status, 0);
    CHECK_INT(status, 0);
    fill(q, 2, 3);
  }
  bits_queue_close(q);
  bits_queue_close(open_sound_queue());
}

/* In the middle of a change: the child cannot open it, the parent goes on. */
TEST(forked_in_the_middle_of_a_change) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  CHECK(is_fine(bits_queue_begin(q, false)));
  CHECK(put_job(q, 1, BITS_QUEUED));
  CHECK(put_file(q, 1, 0, 1));
  pid_t child = fork();
  if (child == 0) {
    check_bad = 0;
    bits_queue_undo(q);
    bits_queue_close(q);
    CHECK_INT(refused(queue_path, true, NULL), SAROS_E_FORKED);
    _exit(check_bad > 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  CHECK(is_fine(bits_queue_commit(q)));
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.files, 1);
  bits_queue_close(q);
  buffer_free(&l.text);
}

/* The owner dies, its child lives: it does not keep the queue. */
static void owns_with_a_child(int tell) {
  bits_queue *q = open_sound_queue();
  fill(q, 1, 1);
  int ends[2];
  CHECK_INT(pipe(ends), 0);
  if (fork() == 0) {
    CHECK_INT(write(tell, "x", 1), 1);
    close(ends[1]);
    for (char byte; read(ends[0], &byte, 1) > 0;) continue;
    poll(NULL, 0, 300); /* it outlives its parent for a moment */
    _exit(0);
  }
}

TEST(a_child_that_lives_on_holds_nothing) {
  folder_empty(queue_folder);
  pid_t child = child_that(owns_with_a_child);
  child_end(child);
  bits_queue *q = open_sound_queue();
  CHECK(q != NULL);
  bits_queue_close(q);
}

static _Atomic bool storm_ends;

static void *storm_of_forks(void *unused) {
  while (!atomic_load(&storm_ends)) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
  }
  return unused;
}

TEST(forks_while_it_writes) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  pthread_t thread;
  atomic_store(&storm_ends, false);
  CHECK_INT(pthread_create(&thread, NULL, storm_of_forks, NULL), 0);
  int rounds = gate_is_quick ? 10 : 300;
  for (int i = 0; i < rounds; i++) fill(q, 1, 20);
  atomic_store(&storm_ends, true);
  pthread_join(thread, NULL);
  bits_queue_close(q);
  bits_queue_close(open_sound_queue());
}


/* ------------------------------------------------------------------
** Somebody else's lock
** ---------------------------------------------------------------- */

static void *interrupts(void *context) {
  bits_queue *q = context;
  /* It is sticky: whichever comes first, the wait gives up. */
  bits_queue_interrupt(q);
  return NULL;
}

TEST(a_wait_for_a_lock_gives_up) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  sqlite3 *db = NULL;
  CHECK_INT(sqlite3_open(queue_path, &db), SQLITE_OK);
  CHECK_INT(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  pthread_t thread;
  CHECK_INT(pthread_create(&thread, NULL, interrupts, q), 0);
  error *e = bits_queue_begin(q, false);
  CHECK(e != NULL && e->code == SAROS_E_LOCKED);
  error_unref(e);
  bits_queue_undo(q);
  pthread_join(thread, NULL);
  /* What is read is read all the same. */
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  fill(q, 1, 1);
  bits_queue_close(q);
  buffer_free(&l.text);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  folder_make();
  GATE_RUN(the_second_one_reads);
  GATE_RUN(who_only_wants_to_read_owns_nothing);
  GATE_RUN(a_dead_owner_is_succeeded);
  GATE_RUN(a_zombie_is_dead);
  GATE_RUN(who_sleeps_lives);
  GATE_RUN(who_lives_without_a_lock_lives);
  GATE_RUN(what_the_file_may_say);
  GATE_RUN(of_many_one_gets_it);
  GATE_RUN(a_child_neither_writes_nor_unlocks);
  GATE_RUN(forked_in_the_middle_of_a_change);
  GATE_RUN(a_child_that_lives_on_holds_nothing);
  GATE_RUN(forks_while_it_writes);
  GATE_RUN(a_wait_for_a_lock_gives_up);
  return check_end();
}
