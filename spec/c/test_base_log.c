/*
** base: the log, from one thread and from many, and across a fork.
*/
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/path.h"
#include "check.h"
#include "test_base_sweep.h"

/* A sink that writes everything down. */
typedef struct notes {
  int count;
  log_record last;
  char *text; /* of the last one */
} notes;

static void note(void *context, const log_record *record) {
  notes *n = context;
  n->count++;
  n->last = *record;
  free(n->text);
  n->text = strdup(record->text);
}

TEST(log_hands_records_to_sinks) {
  long before = mem_blocks();
  notes a = {0}, b = {0};
  int first = log_attach(note, &a);
  CHECK(first > 0);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  log_write(LOG_WARNING, "area", "number %d of %s", 7, "x");
  CHECK_INT(a.count, 1);
  CHECK_TEXT(a.text, "number 7 of x");
  CHECK_TEXT(a.last.area, "area");
  CHECK_INT(a.last.level, LOG_WARNING);
  int64_t seconds = a.last.time / 1000000000;
  CHECK(seconds >= now.tv_sec && seconds <= now.tv_sec + 60);
  int second = log_attach(note, &b);
  CHECK(second > 0 && second != first);
  log_write(LOG_DEBUG, "area", "both");
  CHECK_INT(a.count, 2);
  CHECK_INT(b.count, 1);
  CHECK_INT(b.last.level, LOG_DEBUG);
  log_detach(first);
  log_write(LOG_DEBUG, "area", "one");
  CHECK_INT(a.count, 2);
  CHECK_INT(b.count, 2);
  log_detach(first); /* again, or one that never was */
  log_detach(0);
  log_detach(-1);
  log_detach(123456);
  log_write(LOG_DEBUG, "area", "one");
  CHECK_INT(b.count, 3);
  log_detach(second);
  log_write(LOG_DEBUG, "area", "none");
  CHECK_INT(b.count, 3);
  free(a.text);
  free(b.text);
  CHECK_INT(mem_blocks(), before);
}

typedef struct order {
  char *trace;
  char letter;
} order;

static void add_letter(void *context, const log_record *record) {
  (void)record;
  order *o = context;
  size_t size = strlen(o->trace);
  o->trace[size] = o->letter;
  o->trace[size + 1] = '\0';
}

TEST(log_sinks_are_called_in_order) {
  char trace[16] = "";
  order a = {trace, 'a'}, b = {trace, 'b'}, c = {trace, 'c'};
  int one = log_attach(add_letter, &a);
  int two = log_attach(add_letter, &b);
  int three = log_attach(add_letter, &c);
  log_write(LOG_DEBUG, "x", "x");
  CHECK_TEXT(trace, "abc");
  log_detach(two);
  two = log_attach(add_letter, &b);
  log_write(LOG_DEBUG, "x", "x");
  CHECK_TEXT(trace, "abcacb");
  log_detach(one);
  log_detach(two);
  log_detach(three);
}

TEST(log_text_is_escaped_but_for_lines) {
  notes n = {0};
  int id = log_attach(note, &n);
  log_write(LOG_NOTICE, "x", "a\nb\tc\x1b[0m\\ %s", "\xFF\xC3\xA9\r");
  CHECK_TEXT(n.text, "a\nb\\tc\\x1b[0m\\\\ \\xff\xC3\xA9\\x0d");
  log_write(LOG_NOTICE, "x", "\n\n");
  CHECK_TEXT(n.text, "\n\n");
  log_write(LOG_NOTICE, "x", "%s", "");
  CHECK_TEXT(n.text, "");
  log_detach(id);
  free(n.text);
}

static void spoil_errno(void *context, const log_record *record) {
  (void)context;
  (void)record;
  errno = EIO;
}

TEST(log_leaves_errno_alone) {
  int id = log_attach(spoil_errno, NULL);
  errno = ENOENT;
  log_write(LOG_ERROR, "x", "x");
  CHECK_INT(errno, ENOENT);
  log_detach(id);
}

TEST(log_text_may_be_long) {
  notes n = {0}, kept = {0};
  int id = log_attach(note, &n);
  static char text[10001];
  for (size_t size = 1000; size <= 10000; size += size < 1050 ? 1 : 995) {
    memset(text, 'x', size);
    text[size - 1] = '!';
    text[size] = '\0';
    log_write(LOG_NOTICE, "x", "%s", text);
    CHECK_TEXT(n.text, text); /* a sink gets it whole */
    log_replay(note, &kept);
    size_t is = strlen(kept.text);
    if (size < 1024) {
      CHECK_TEXT(kept.text, text); /* what is kept is bounded */
    } else {
      CHECK_INT(is, 1023);
      CHECK_TEXT(kept.text + is - 5, "x ...");
    }
  }
  log_detach(id);
  free(n.text);
  free(kept.text);
}

TEST(log_keeps_whole_characters) {
  notes kept = {0};
  char text[2048];
  for (size_t shift = 0; shift < 4; shift++) {
    memset(text, 'x', shift);
    for (size_t i = shift; i + 3 < sizeof text; i += 3)
      memcpy(text + i, "\xE2\x82\xAC", 4);
    log_write(LOG_NOTICE, "x", "%s", text);
    log_replay(note, &kept);
    CHECK(text_is_utf8(kept.text, strlen(kept.text)));
    CHECK(strlen(kept.text) > 1015);
  }
  free(kept.text);
}

static void count_and_check(void *context, const log_record *record) {
  int *next = context;
  char wanted[32];
  snprintf(wanted, sizeof wanted, "record %d", *next);
  CHECK_TEXT(record->text, wanted);
  CHECK_INT(record->level, *next % 4);
  (*next)++;
}

TEST(log_replays_the_last_records) {
  for (int i = 0; i < 200; i++) {
    log_write((log_level)(i % 4), "x", "record %d", i);
    if (i < 3 * LOG_KEPT - 5) continue;
    int next = i + 1 - LOG_KEPT;
    log_replay(count_and_check, &next);
    CHECK_INT(next, i + 1);
  }
}

TEST(log_levels_have_names) {
  CHECK_TEXT(log_level_name(LOG_ERROR), "error");
  CHECK_TEXT(log_level_name(LOG_WARNING), "warning");
  CHECK_TEXT(log_level_name(LOG_NOTICE), "notice");
  CHECK_TEXT(log_level_name(LOG_DEBUG), "debug");
  CHECK_TEXT(log_level_name((log_level)4), "unknown");
  CHECK_TEXT(log_level_name((log_level)99), "unknown");
}

#ifdef SAROS_TEST

TEST(log_survives_without_memory) {
  static char big[5000];
  memset(big, 'y', sizeof big - 1);
  notes n = {0};
  int id = log_attach(note, &n);
  for (int i = 1; i < 20; i++) {
    int before = n.count;
    mem_fail_at(i);
    log_write(LOG_ERROR, "x", "tab\tline ~\n\xC3\xA9");
    mem_fail_at(0);
    CHECK_INT(n.count, before + 1); /* not one is lost */
    CHECK(strcmp(n.text, "tab\\tline ~\n\xC3\xA9") == 0 ||
          strcmp(n.text, "tab?line ~\n??") == 0);
    CHECK(i > 1 || strcmp(n.text, "tab?line ~\n??") == 0);
    mem_fail_at(i);
    log_write(LOG_ERROR, "x", "%s\x1b", big);
    mem_fail_at(0);
    CHECK_INT(n.count, before + 2);
    CHECK(strncmp(n.text, "yyyy", 4) == 0);
    CHECK(strlen(n.text) > 1000);
    CHECK(strchr(n.text, '\x1b') == NULL);
  }
  log_detach(id);
  free(n.text);
  long before = mem_blocks();
  mem_fail_at(1);
  CHECK_INT(log_attach(note, &n), 0);
  mem_fail_at(0);
  CHECK_INT(mem_blocks(), before);
}

#endif

/* ------------------------------------------------------------------
** Threads
** ---------------------------------------------------------------- */

enum { THREADS = 4, RECORDS = 1000 };

static void count_only(void *context, const log_record *record) {
  (void)record;
  ++*(int *)context; /* under the log's lock, so this needs none */
}

static void *write_much(void *name) {
  for (int i = 0; i < RECORDS; i++)
    log_write(LOG_DEBUG, "thread", "%s %d", (const char *)name, i);
  return NULL;
}

static void *replay_much(void *unused) {
  (void)unused;
  for (int i = 0; i < 50; i++) {
    int count = 0;
    log_replay(count_only, &count);
  }
  return NULL;
}

static atomic_bool stopped;

/* Its context dies as soon as it is detached. */
static void touch(void *context, const log_record *record) {
  (void)record;
  ++*(int *)context;
}

static void *attach_much(void *unused) {
  (void)unused;
  while (!atomic_load(&stopped)) {
    int *context = malloc(sizeof *context);
    *context = 0;
    int id = log_attach(touch, context);
    sched_yield();
    log_detach(id);
    free(context);
  }
  return NULL;
}

TEST(log_is_written_by_many_threads) {
  pthread_t threads[THREADS], replayer, attacher;
  static char names[THREADS][16];
  int count = 0;
  atomic_store(&stopped, false);
  int id = log_attach(count_only, &count);
  CHECK_INT(pthread_create(&replayer, NULL, replay_much, NULL), 0);
  CHECK_INT(pthread_create(&attacher, NULL, attach_much, NULL), 0);
  for (int i = 0; i < THREADS; i++) {
    snprintf(names[i], sizeof names[i], "t%d", i);
    CHECK_INT(pthread_create(&threads[i], NULL, write_much, names[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  atomic_store(&stopped, true);
  pthread_join(replayer, NULL);
  pthread_join(attacher, NULL);
  log_detach(id);
  CHECK_INT(count, THREADS * RECORDS);
  count = 0;
  log_replay(count_only, &count);
  CHECK_INT(count, LOG_KEPT);
}

/* ------------------------------------------------------------------
** Fork
** ---------------------------------------------------------------- */

static int gate[2], arrived[2];

/* Holds the log's lock until the gate opens. */
static void wait_at_gate(void *context, const log_record *record) {
  (void)record;
  char byte = 0;
  if (getpid() != *(pid_t *)context) return;
  if (write(arrived[1], &byte, 1) != 1) abort();
  if (read(gate[0], &byte, 1) != 1) abort();
}

static void *write_one(void *unused) {
  (void)unused;
  log_write(LOG_DEBUG, "x", "held");
  return NULL;
}

/* The lock is held by a thread that the child does not have. */
TEST(log_works_in_a_child) {
  pthread_t thread;
  pid_t self = getpid();
  char byte = 0;
  notes n = {0};
  log_write(LOG_DEBUG, "x", "before");
  CHECK_INT(pipe(gate), 0);
  CHECK_INT(pipe(arrived), 0);
  int noting = log_attach(note, &n);
  int id = log_attach(wait_at_gate, &self);
  CHECK_INT(pthread_create(&thread, NULL, write_one, NULL), 0);
  CHECK_INT(read(arrived[0], &byte, 1), 1);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(60); /* rather than to hang */
    log_forked();
    log_write(LOG_DEBUG, "x", "child");
    int count = 0;
    log_replay(count_only, &count);
    log_detach(id);
    byte = n.text != NULL && strcmp(n.text, "child") == 0 && count > 0;
    _exit(write(arrived[1], &byte, 1) != 1);
  }
  /* Not its status: valgrind misses what the thread had there. */
  CHECK(waitpid(child, NULL, 0) == child);
  CHECK_INT(read(arrived[0], &byte, 1), 1);
  CHECK_INT(byte, 1);
  CHECK_INT(write(gate[1], &byte, 1), 1);
  pthread_join(thread, NULL);
  CHECK_TEXT(n.text, "held");
  log_detach(id);
  log_detach(noting);
  free(n.text);
  for (int i = 0; i < 2; i++) {
    close(gate[i]);
    close(arrived[i]);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(log_hands_records_to_sinks);
  RUN(log_sinks_are_called_in_order);
  RUN(log_text_is_escaped_but_for_lines);
  RUN(log_leaves_errno_alone);
  RUN(log_text_may_be_long);
  RUN(log_keeps_whole_characters);
  RUN(log_replays_the_last_records);
  RUN(log_levels_have_names);
#ifdef SAROS_TEST
  RUN(log_survives_without_memory);
#endif
  RUN(log_is_written_by_many_threads);
  RUN(log_works_in_a_child);
  return check_end();
}
