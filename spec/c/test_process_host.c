/*
** Processes: what a host may do to them: steal their statuses, fork, start
** many, run out of memory.
*/
#include "op/group.h"
#include "op/spawn.h"
#include "process_case.h"

static gated engine_gate; /* only its lock, condition and counts */

static void hold_engine(timer *t) {
  (void)t;
  gated_run(NULL, &engine_gate);
}


/* ------------------------------------------------------------------
** Stolen
** ---------------------------------------------------------------- */

static void stolen_is_said(saros_op *op) {
  CHECK_INT(end_of(op), SAROS_E_STOLEN);
  CHECK(strstr(message_of(op), "nobody knows how sh (process ") != NULL);
  CHECK(strstr(message_of(op), "waitpid(-1)") != NULL);
  CHECK_INT(detail_int(op, "status"), -1);
  CHECK(detail_is(op, "stdout", "out\n"));
  saros_op_unref(op);
}

WHOLE(a_host_that_ignores_sigchld) {
  for (int old = 0; old < 2; old++) {
    group_old_kernel = old;
    signal(SIGCHLD, SIG_IGN);
    saros_op *op = START(.argv = SH("echo out; exit 3"));
    stolen_is_said(op);
    op = START(.argv = SH("echo out"), .any_status = true);
    stolen_is_said(op);
    signal(SIGCHLD, SIG_DFL);
  }
  group_old_kernel = 0;
  spawn_lost = 1;
  saros_op *op = START(.argv = SH("echo out; exit 3"));
  stolen_is_said(op);
  spawn_lost = 0;
}

/* The engine is held, so that the thief is the first. Returns the number of
   a process of the group that was not ended yet. */
static long steal(saros_op **op) {
  gated_kind(&engine_gate, SAROS_FACADE_SAROS, 0);
  const char *go = scratch_file("go"), *file = scratch_file("pid");
  char script[600], text[32] = "";
  CHECK_INT(mkfifo(go, 0600), 0);
  snprintf(script, sizeof script,
           "read x <%s; sleep 1000 & echo $! >%s; echo out; exit 3", go, file);
  *op = START(.argv = SH(script), .any_status = true);
  GATE_UNTIL(detail_int(*op, "pid") > 0);
  pid_t thief = 0;
  timer hold = {.fire = hold_engine};
  timer_set(&hold, engine_clock());
  CHECK(gated_await(&engine_gate, &engine_gate.entered, 1));
  close(open(go, O_WRONLY | O_CLOEXEC));
  for (unsigned i = 0; thief == 0 && i < GATE_BOUND_MS; i++) {
    gate_nap();
    thief = waitpid(-1, NULL, WNOHANG);
  }
  CHECK_INT(thief, detail_int(*op, "pid"));
  gated_open(&engine_gate, 0);
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  CHECK(read(fd, text, sizeof text - 1) > 0);
  close(fd);
  unlink(go);
  unlink(file);
  return atol(text);
}

WHOLE(a_host_that_waits_for_everything) {
  saros_op *op;
  long other = steal(&op);
  stolen_is_said(op);
  CHECK(!is_running(other));
}

/* There the group has its number, which may be another's now, and its
   lifeline, which is nobody else's. */
WHOLE(what_was_stolen_on_an_old_kernel_dies_by_its_lifeline) {
  group_old_kernel = 1;
  saros_op *op;
  long other = steal(&op);
  CHECK_INT(end_of(op), SAROS_E_STOLEN);
  group_old_kernel = 0;
  CHECK(!is_running(other));
  stolen_is_said(op);
}

/* Where it has but the number it is not killed, and that is said. */
WHOLE(what_was_stolen_on_an_old_kernel_is_left_alone) {
  group_old_kernel = lifeline_refused = 1;
  saros_op *op;
  long other = steal(&op);
  CHECK_INT(end_of(op), SAROS_E_STOLEN);
  group_old_kernel = lifeline_refused = 0;
  CHECK(is_running(other));
  value *status = op_status(op);
  const value *cleanup = value_get(status, "cleanup");
  CHECK(cleanup != NULL && cleanup->count == 1);
  value_free(status);
  if (other > 1) kill((pid_t)other, SIGKILL);
  stolen_is_said(op);
}

/* ------------------------------------------------------------------
** Fork
** ---------------------------------------------------------------- */

/* The host forks, and the child of that lives on: it must not hold our ends
   of the pipes. */
WHOLE(a_forked_host_does_not_keep_the_input_open) {
  CHECK_INT(mkfifo(scratch_file("go"), 0600), 0);
  char script[512];
  snprintf(script, sizeof script, "echo ready; read x <%s; wc -c",
           scratch_file("go"));
  size_t size = 1u << 20;
  char *bytes = calloc(1, size);
  saros_op *op = START(.argv = SH(script), .input = bytes, .input_size = size,
                       .out = PROCESS_LINES);
  saros_op *stream = START(.argv = ARGV("echo", "x"), .out = PROCESS_STREAM);
  CHECK_TEXT(next_line(op, 1), "ready");
  CHECK_INT(end_of(stream), SAROS_S_OK);
  int ends[2];
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    buffer line = BUFFER_EMPTY;
    int wrong = fd_count() != 0;
    wrong |= saros_op_code(op) != SAROS_E_FORKED ? 2 : 0;
    wrong |= process_line(op, 1, &line) != LINE_END ? 4 : 0;
    wrong |= process_signal(op, SIGTERM) != ESRCH ? 8 : 0;
    wrong |= process_take_stream(stream) != -1 ? 16 : 0;
    int others[64]; /* the same numbers again, and ours */
    for (int i = 0; i < 64; i++)
      others[i] = fd_own(open("/dev/null", O_RDONLY | O_CLOEXEC));
    saros_op_unref(stream);
    saros_op_unref(op);
    for (int i = 0; i < 64; i++)
      if (fcntl(others[i], F_GETFD) < 0) wrong |= 32;
    char c = (char)('0' + wrong);
    wrong |= write(ends[1], &c, 1) != 1;
    for (;;) pause();
  }
  char c = 0;
  CHECK_INT(read(ends[0], &c, 1), 1);
  CHECK_INT(c, '0');
  int fd = open(scratch_file("go"), O_WRONLY | O_CLOEXEC);
  close(fd);
  CHECK_TEXT(next_line(op, 1), "1048576");
  CHECK_INT(end_of(op), SAROS_S_OK);
  kill(pid, SIGKILL);
  CHECK_INT(waitpid(pid, NULL, 0), pid);
  close(ends[0]);
  close(ends[1]);
  free(bytes);
  saros_op_unref(op);
  saros_op_unref(stream);
  unlink(scratch_file("go"));
}


/* ------------------------------------------------------------------
** Many, and little memory
** ---------------------------------------------------------------- */

/* All have our standard input, and end when that ends. */
WHOLE(two_hundred_at_once) {
  enum { MANY = 200 };
  saros_op *ops[MANY];
  int ends[2], saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  dup2(ends[0], 0);
  for (int i = 0; i < MANY; i++)
    ops[i] = START(.argv = SH("cat; echo abc"), .input_inherit = true);
  dup2(saved, 0);
  close(saved);
  close(ends[0]);
  for (int i = 0; i < MANY; i++) GATE_UNTIL(detail_int(ops[i], "pid") > 0);
  for (int i = 0; i < MANY; i += 4) saros_op_cancel(ops[i]);
  for (int i = 0; i < MANY; i++) CHECK(i % 4 == 0 || !op_is_over(ops[i]));
  close(ends[1]);
  for (int i = 0; i < MANY; i++) {
    CHECK_INT(end_of(ops[i]), i % 4 == 0 ? SAROS_E_CANCELLED : SAROS_S_OK);
    if (i % 4 != 0) CHECK_TEXT(result_text(ops[i], "stdout"), "abc\n");
    saros_op_unref(ops[i]);
  }
}

static void *start_some(void *argument) {
  saros_op *ops[16];
  error *e = NULL;
  _Atomic int *good = argument;
  for (int i = 0; i < 16; i++)
    ops[i] = process_start(
        &(process_options){.argv = SH("cat; echo x"),
                           .input = "y",
                           .input_size = 1,
                           .out = i % 2 ? PROCESS_LINES : PROCESS_CAPTURE},
        &e);
  for (int i = 0; i < 16; i++) {
    if (ops[i] == NULL) continue;
    buffer line = BUFFER_EMPTY;
    if (i % 3 == 0) process_signal(ops[i], SIGCONT);
    while (i % 2 && process_line(ops[i], 1, &line) == LINE_LATER) gate_nap();
    if (gate_wait(ops[i]) && saros_op_code(ops[i]) == 0 &&
        (i % 2 == 0 || strcmp(line.data, "yx") == 0))
      atomic_fetch_add(good, 1);
    buffer_free(&line);
    saros_op_unref(ops[i]);
  }
  return NULL;
}

WHOLE(sixty_four_from_four_threads) {
  pthread_t threads[4];
  _Atomic int good = 0;
  for (int i = 0; i < 4; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, start_some, &good), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_INT(good, 64);
}

/* The n-th request for memory fails: either it did without, or it failed for
   want of memory, and nothing is left. Returns whether it did without. */
static bool starve(const process_options *o, uint32_t whole, long n) {
  error *e = NULL;
  gate_counts before = gate_count();
  mem_fail_at(n);
  saros_op *op = process_start(o, &e);
  uint32_t code;
  if (op == NULL) {
    code = e->code;
    error_unref(e);
  } else {
    buffer line = BUFFER_EMPTY;
    while (o->out == PROCESS_LINES) {
      line_result r = process_line(op, 1, &line);
      if (r == LINE_END) break;
      buffer_clear(&line); /* one that failed comes once more */
      if (r == LINE_LATER) gate_nap();
    }
    buffer_free(&line);
    code = end_of(op);
  }
  mem_fail_at(0);
  if (code != whole) CHECK_INT(code, SAROS_E_OUTOFMEMORY);
  if (op != NULL && code == 0 && o->out == PROCESS_CAPTURE)
    CHECK_TEXT(result_text(op, "stdout"), "hello");
  if (op != NULL) saros_op_unref(op);
  CHECK(gate_back_to(before));
  CHECK(no_children());
  return code == whole;
}

/* Further than any of them asks for memory: the last ones all get through. */
static void starve_all(const process_options *o, uint32_t whole) {
  enum { MOST = 120, SURE = 20 };
  int failed = 0;
  for (int n = 1; n <= MOST; n++) {
    bool without = starve(o, whole, n);
    failed += !without;
    if (n > MOST - SURE) CHECK(without);
  }
  CHECK(failed > 10);
}

WHOLE(without_memory) {
  process_options o = {.argv = SH("cat; echo problem >&2"),
                       .input = "hello",
                       .input_size = 5,
                       .env = ARGV("A=b", "PATH=/usr/bin:/bin"),
                       .cwd = "/"};
  starve_all(&o, SAROS_S_OK);
  o.argv = SH("echo problem >&2; exit 3");
  starve_all(&o, SAROS_E_EXIT);
  o.argv = SH("seq 1 1000");
  o.out = PROCESS_LINES;
  o.limit = 100;
  starve_all(&o, SAROS_S_OK);
  o.argv = ARGV("sleep", "1000");
  o.out = PROCESS_NULL;
  o.timeout = 0.01;
  starve_all(&o, SAROS_E_TIMEOUT);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!can_hold_processes()) return check_end();
  signal(SIGPIPE, SIG_DFL);
  GATE_RUN(a_host_that_ignores_sigchld);
  GATE_RUN(a_host_that_waits_for_everything);
  GATE_RUN(what_was_stolen_on_an_old_kernel_dies_by_its_lifeline);
  GATE_RUN(what_was_stolen_on_an_old_kernel_is_left_alone);
  GATE_RUN(a_forked_host_does_not_keep_the_input_open);
  GATE_RUN(two_hundred_at_once);
  GATE_RUN(sixty_four_from_four_threads);
  GATE_RUN(without_memory);
  rmdir(scratch_dir());
  return check_end();
}
