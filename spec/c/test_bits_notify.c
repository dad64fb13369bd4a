/*
** bits: command lines that are run when a job has ended: once, each time that
** it does, also by a later process, and not thousands of them at once.
**
** not under valgrind: it kills programs that have started others; ASan runs it
*/
#include <sys/stat.h>
#include <sys/wait.h>

#include "bits/keeper.h"
#include "bits_case.h"

/* What it has written, without the newline; static. */
static const char *said(const char *name) {
  static char text[300];
  FILE *f = fopen(in_world(name), "r");
  text[0] = '\0';
  if (f == NULL) return "";
  if (fgets(text, sizeof text, f) == NULL) text[0] = '\0';
  fclose(f);
  text[strcspn(text, "\n")] = '\0';
  return text;
}

static bits_job *notified(bits_manager *m, const char *script, const char *to) {
  char options[1000];
  snprintf(options, sizeof options,
           "{'notify_command':['/bin/sh','-c','%s','sh','%s']}", script,
           in_world(to));
  bits_job *j = make_job(m, options);
  CHECK(add_file(j, nowhere, "never"));
  return j;
}

static void fail_job(bits_job *j) {
  bits_result r = {.end = BITS_END_FAILED, .code = BG_E_HTTP(404)};
  pthread_mutex_lock(&j->m->lock);
  bits_job_move(j, BITS_QUEUED);
  bits_job_fails(j, j->files[0], &r);
  pthread_mutex_unlock(&j->m->lock);
}

static bool is_marked(bits_job *j) {
  pthread_mutex_lock(&j->m->lock);
  bool marked = (j->marks & BITS_JOB_NOTIFY) != 0;
  pthread_mutex_unlock(&j->m->lock);
  return marked;
}

TEST(a_command_line_is_run) {
  char wanted[100];
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = notified(
      m, "echo $SAROS_JOB $SAROS_JOB_STATE > $1.new; mv $1.new $1", "note");
  fail_job(j);
  AWAIT(is_there("note"));
  snprintf(wanted, sizeof wanted, "%s error", bits_job_id(j));
  CHECK_TEXT(said("note"), wanted);
  AWAIT(!is_marked(j));
  bits_job_unref(j);
  shut_queue(m);
  unlink(in_world("note"));
  m = open_queue("{}"); /* once is enough */
  CHECK(is_fine(bits_keeper_flush(m, true)));
  CHECK(!is_marked(m->first));
  shut_queue(m);
  CHECK(!is_there("note"));
}

/* Command lines run while it is there. */
static void write_gate(void) {
  int fd = open(in_world("runs.gate"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  close(fd);
}

/* Whoever dies while it runs has it run again. */
TEST(a_command_line_that_nobody_saw_end) {
  world_next();
  write_gate();
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    bits_manager *m = open_queue("{}");
    bits_job *j = notified(
        m, "echo run >> $1; while [ -e $1.gate ]; do sleep 0.05; done", "runs");
    fail_job(j);
    for (;;) pause();
  }
  AWAIT(strcmp(said("runs"), "run") == 0);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  unlink(in_world("runs"));
  bits_manager *m = open_queue("{}");
  AWAIT(strcmp(said("runs"), "run") == 0);
  CHECK(is_marked(m->first));
  unlink(in_world("runs.gate"));
  AWAIT(!is_marked(m->first));
  shut_queue(m);
}

TEST(a_command_line_that_cannot_be_run) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{'notify_command':['/nowhere/at/all']}");
  CHECK(add_file(j, nowhere, "never"));
  fail_job(j);
  AWAIT(is_marked(j) || bits_job_state(j) == BITS_ERROR);
  AWAIT(!is_marked(j)); /* told in the log */
  bits_job_unref(j);
  shut_queue(m);
}

/* Commands that say so, and then wait for a line of this. */
static const char waiting[] = "echo run >> $1; read x < $1.gate";

static int gate_of(const char *name) {
  char fifo[64];
  snprintf(fifo, sizeof fifo, "%s.gate", name);
  CHECK(mkfifo(in_world(fifo), 0600) == 0);
  return open(in_world(fifo), O_RDWR | O_CLOEXEC);
}

static void let_end(int gate, unsigned count) {
  for (unsigned i = 0; i < count; i++) CHECK(write(gate, "\n", 1) == 1);
}

static unsigned lines_of(const char *name) {
  unsigned lines = 0;
  FILE *f = fopen(in_world(name), "r");
  if (f == NULL) return 0;
  for (int c; (c = getc(f)) != EOF;) lines += c == '\n';
  fclose(f);
  return lines;
}

/* It goes on by itself, and is not run again. */
TEST(a_command_line_that_outlives_the_queue) {
  world_next();
  int gate = gate_of("left");
  bits_manager *m = open_queue("{}");
  bits_job *j =
      notified(m, "echo run >> $1; read x < $1.gate; echo over >> $1", "left");
  fail_job(j);
  AWAIT(lines_of("left") == 1);
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  CHECK(!is_marked(m->first));
  let_end(gate, 1);
  AWAIT(lines_of("left") == 2);
  CHECK_TEXT(said("left"), "run");
  shut_queue(m);
  close(gate);
}

/* While it runs the job is resumed, and fails once more. */
TEST(what_happens_meanwhile_is_told_too) {
  world_next();
  int gate = gate_of("twice");
  bits_manager *m = open_queue("{}");
  bits_job *j = notified(m, waiting, "twice");
  fail_job(j);
  AWAIT(lines_of("twice") == 1);
  fail_job(j);
  let_end(gate, 1);
  AWAIT(lines_of("twice") == 2);
  CHECK(is_marked(j));
  let_end(gate, 1);
  AWAIT(!is_marked(j));
  bits_job_unref(j);
  shut_queue(m);
  close(gate);
}

TEST(what_is_so_no_more_is_not_told) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = notified(m, "echo run >> $1", "runs");
  pthread_mutex_lock(&m->lock);
  bits_result r = {.end = BITS_END_FAILED, .code = BG_E_HTTP(404)};
  bits_job_move(j, BITS_QUEUED);
  bits_job_fails(j, j->files[0], &r);
  CHECK((j->marks & BITS_JOB_NOTIFY) != 0);
  bits_job_move(j, BITS_SUSPENDED);
  CHECK((j->marks & BITS_JOB_NOTIFY) == 0);
  pthread_mutex_unlock(&m->lock);
  bits_job_unref(j);
  shut_queue(m);
}

static bool is_crowded(bits_manager *m) {
  pthread_mutex_lock(&m->lock);
  bool crowded = m->keeper->crowded;
  pthread_mutex_unlock(&m->lock);
  return crowded;
}

TEST(not_all_command_lines_at_once) {
  enum { MORE = KEEPER_NOTICES + 8 };
  world_next();
  int gate = gate_of("many");
  bits_manager *m = open_queue("{}");
  bits_job *jobs[MORE];
  bits_notice_ms = UINT64_MAX;
  for (int i = 0; i < MORE; i++) jobs[i] = notified(m, waiting, "many");
  for (int i = 0; i < MORE; i++) fail_job(jobs[i]);
  AWAIT(is_crowded(m));
  AWAIT(lines_of("many") == KEEPER_NOTICES);
  let_end(gate, MORE);
  AWAIT(lines_of("many") == MORE);
  for (int i = 0; i < MORE; i++) {
    AWAIT(!is_marked(jobs[i]));
    bits_job_unref(jobs[i]);
  }
  shut_queue(m);
  close(gate);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  gate_counts before = gate_count();
  GATE_RUN(a_command_line_is_run);
  GATE_RUN(a_command_line_that_nobody_saw_end);
  GATE_RUN(a_command_line_that_cannot_be_run);
  GATE_RUN(a_command_line_that_outlives_the_queue);
  GATE_RUN(what_happens_meanwhile_is_told_too);
  GATE_RUN(what_is_so_no_more_is_not_told);
  GATE_RUN(not_all_command_lines_at_once);
  CHECK(gate_back_to(before));
  return check_end();
}
