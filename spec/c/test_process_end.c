/*
** Processes: how they end. How they begin is in test_process.c.
*/
#include "op/group.h"
#include "op/spawn.h"
#include "process_case.h"

/* A shell that has said "ready", and the pid of its own. */
static saros_op *start_ready(const char *script, double grace) {
  saros_op *op = START(.argv = SH(script), .out = PROCESS_LINES, .grace = grace);
  CHECK_TEXT(next_line(op, 1), "ready");
  return op;
}

static double elapsed_since(uint64_t begun) {
  return (double)(engine_clock() - begun) / 1e9;
}


/* ------------------------------------------------------------------
** Statuses
** ---------------------------------------------------------------- */

WHOLE(a_status_is_a_failure) {
  saros_op *op =
      START(.argv = SH("echo result; echo first >&2; "
                       "printf '  last\\033 one \\n\\n' >&2; exit 3"));
  CHECK_INT(end_of(op), SAROS_E_EXIT);
  CHECK_INT(saros_op_state(op), SAROS_FAILED);
  CHECK_TEXT(message_of(op), "sh exited with status 3: last\\x1b one");
  CHECK(op_output(op) == NULL);
  CHECK_INT(detail_int(op, "status"), 3);
  CHECK(detail_is(op, "stdout", "result\n"));
  CHECK(detail_is(op, "stderr", "first\n  last\033 one \n\n"));
  saros_op_unref(op);
  op = START(.argv = ARGV("/usr/bin/env", "sh", "-c", "exit 255"));
  CHECK_INT(end_of(op), SAROS_E_EXIT);
  CHECK_TEXT(message_of(op), "env exited with status 255");
  saros_op_unref(op);
}

WHOLE(messages_are_short) {
  saros_op *op = START(.argv = SH("seq -s ' ä' 1 5000 >&2; exit 1"));
  CHECK_INT(end_of(op), SAROS_E_EXIT);
  const char *message = message_of(op);
  size_t size = strlen(message);
  CHECK(size <= 300 + strlen("sh exited with status 1: ") && size > 290);
  CHECK(text_is_utf8(message, size));
  value *status = op_status(op);
  const value *text = value_get(status, "stderr");
  CHECK(text != NULL && text->as.string.size == 4096);
  value_free(status);
  saros_op_unref(op);
}

WHOLE(a_signal_is_a_failure) {
  saros_op *op = START(.argv = SH("echo why >&2; kill -SEGV $$"));
  CHECK_INT(end_of(op), SAROS_E_SIGNAL);
  CHECK_TEXT(message_of(op), "sh was killed by signal 11 (SIGSEGV): why");
  CHECK_INT(detail_int(op, "signal"), 11);
  saros_op_unref(op);
}

WHOLE(any_status_is_a_success_if_asked) {
  saros_op *op = START(.argv = SH("echo x; exit 3"), .any_status = true);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(result_int(op, "status"), 3);
  CHECK_TEXT(result_text(op, "stdout"), "x\n");
  saros_op_unref(op);
  op = START(.argv = SH("kill -9 $$"), .any_status = true);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(result_int(op, "signal"), 9);
  CHECK_INT(result_int(op, "status"), 128 + 9);
  saros_op_unref(op);
}


/* ------------------------------------------------------------------
** Cancel and timeout
** ---------------------------------------------------------------- */

WHOLE(cancel_ends_it) {
  saros_op *op = start_ready("echo ready; exec sleep 1000", 0);
  long pid = (long)detail_int(op, "pid");
  CHECK(is_running(pid));
  CHECK_INT(saros_op_cancel(op), 0);
  CHECK_INT(saros_op_code(op), SAROS_E_CANCELLED); /* at once */
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK(kill((pid_t)pid, 0) != 0 && errno == ESRCH);
  CHECK_INT(detail_int(op, "signal"), SIGTERM);
  CHECK_INT(process_signal(op, SIGTERM), ESRCH);
  saros_op_unref(op);
}

static gated spawn_gate; /* only its lock, condition and counts */

static void hold_engine(timer *t) {
  (void)t;
  gated_run(NULL, &spawn_gate);
}

/* All lane threads are busy, so the job has not begun. */
WHOLE(cancel_before_it_was_started) {
  enum { BUSY = POOL_LANE_MOST };
  static gated busy[BUSY];
  for (int i = 0; i < BUSY; i++)
    gated_start_run(&busy[i], SAROS_FACADE_SAROS, SAROS_RUN_LANE);
  for (int i = 0; i < BUSY; i++)
    CHECK(gated_await(&busy[i], &busy[i].entered, 1));
  saros_op *a = START(.argv = ARGV("true"));
  saros_op *b = START(.argv = ARGV("true"), .timeout = 0.01);
  CHECK(detail_is(a, "phase", "spawning"));
  CHECK_INT(process_signal(a, SIGTERM), ESRCH);
  saros_op_cancel(a);
  CHECK_INT(end_of(a), SAROS_E_CANCELLED);
  CHECK_INT(end_of(b), SAROS_E_TIMEOUT);
  CHECK_INT(detail_int(a, "pid"), -1);
  saros_op_unref(a);
  saros_op_unref(b);
  /* Not even the machine's first step was made. */
  gated_kind(&spawn_gate, SAROS_FACADE_SAROS, 0);
  timer hold = {.fire = hold_engine};
  timer_set(&hold, engine_clock());
  CHECK(gated_await(&spawn_gate, &spawn_gate.entered, 1));
  saros_op *c = START(.argv = ARGV("true"));
  saros_op_cancel(c);
  gated_open(&spawn_gate, 0);
  CHECK_INT(end_of(c), SAROS_E_CANCELLED);
  saros_op_unref(c);
  for (int i = 0; i < BUSY; i++) {
    gated_open(&busy[i], 0);
    CHECK(gate_wait(busy[i].op));
    gated_done(&busy[i]);
  }
}

static void hold_spawn(const spawn *s) {
  (void)s;
  gated_run(NULL, &spawn_gate);
}

/* One whose job is held; NULL when its time was up before the job began. */
static saros_op *start_held(double timeout) {
  gated_kind(&spawn_gate, SAROS_FACADE_SAROS, 0);
  saros_op *op = START(.argv = SH("sleep 1000 & wait"), .timeout = timeout);
  for (unsigned i = 0; i < GATE_BOUND_MS; i++) {
    if (gated_count(&spawn_gate, &spawn_gate.entered) > 0) return op;
    if (op_is_over(op)) break;
    gate_nap();
  }
  CHECK_INT(end_of(op), SAROS_E_TIMEOUT);
  saros_op_unref(op);
  return NULL;
}

/* The child is there, and the engine has not seen it yet. */
WHOLE(cancel_while_it_is_started) {
  spawn_hook = hold_spawn;
  for (int timed = 0; timed < 2; timed++) {
    uint32_t code = timed ? SAROS_E_TIMEOUT : SAROS_E_CANCELLED;
    double timeout = timed ? 0.05 : 0;
    saros_op *op;
    while ((op = start_held(timeout)) == NULL) timeout *= 2;
    if (!timed) saros_op_cancel(op);
    GATE_UNTIL(saros_op_code(op) == code);
    CHECK(!op_is_over(op)); /* not unwound: it lives */
    gated_open(&spawn_gate, 0);
    CHECK_INT(end_of(op), code);
    CHECK_INT(detail_int(op, "signal"), SIGTERM);
    saros_op_unref(op);
  }
  spawn_hook = (void (*)(const spawn *))0;
}

WHOLE(cancel_at_any_moment) {
  uint64_t seed = gate_seed("cancel_at_any_moment");
  for (long i = 0; i < gate_loops(400); i++) {
    saros_op *op = START(.argv = SH("cat; sleep 1000 >/dev/null & exit 0"),
                         .input = "abc", .input_size = 3);
    struct timespec t = {.tv_nsec = (long)gate_below(&seed, 3000000)};
    nanosleep(&t, NULL); /* no order: a different moment each time */
    saros_op_cancel(op);
    uint32_t code = end_of(op);
    CHECK(code == SAROS_E_CANCELLED || code == SAROS_S_OK);
    saros_op_unref(op);
    CHECK(no_children());
  }
}

#define STUBBORN "trap '' TERM; echo ready; while :; do sleep 1000; done"

WHOLE(who_ignores_term_is_killed_after_the_grace) {
  saros_op *op = start_ready(STUBBORN, 0.1);
  uint64_t begun = engine_clock();
  saros_op_cancel(op);
  GATE_UNTIL(phase_is(op, "unwinding") || op_is_over(op));
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK(elapsed_since(begun) >= 0.1);
  CHECK_INT(detail_int(op, "signal"), SIGKILL);
  saros_op_unref(op);
  op = start_ready(STUBBORN, -1); /* no grace */
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK_INT(detail_int(op, "signal"), SIGKILL);
  saros_op_unref(op);
}

/* A grace longer than an unwinding step may take is still given. */
WHOLE(a_grace_may_be_long) {
  CHECK_INT(mkfifo(scratch_file("go"), 0600), 0);
  char script[512];
  snprintf(script, sizeof script,
           "trap 'echo got; read x <%s; exit 0' TERM; echo ready; "
           "while :; do sleep 0.01; done",
           scratch_file("go"));
  saros_op *op = start_ready(script, 1000);
  saros_op_cancel(op);
  CHECK_TEXT(next_line(op, 1), "got");
  CHECK(!op_is_over(op));
  int fd = open(scratch_file("go"), O_WRONLY | O_CLOEXEC);
  close(fd);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK_INT(detail_int(op, "status"), 0);
  saros_op_unref(op);
  unlink(scratch_file("go"));
}

WHOLE(time_is_up) {
  saros_op *op = START(.argv = ARGV("sleep", "1000"), .timeout = 0.05);
  CHECK_INT(end_of(op), SAROS_E_TIMEOUT);
  CHECK_TEXT(message_of(op),
             "sleep was not done after 0.05 s and was told to end");
  CHECK_INT(detail_int(op, "signal"), SIGTERM);
  saros_op_unref(op);
  /* The outcome is known when the time is up, not when it has died. */
  for (double t = 0.2;; t *= 2) {
    op = START(.argv = SH(STUBBORN), .out = PROCESS_LINES, .grace = 1000,
               .timeout = t);
    if (strcmp(next_line(op, 1), "ready") == 0) break;
    CHECK_INT(end_of(op), SAROS_E_TIMEOUT); /* before it could trap */
    saros_op_unref(op);
  }
  GATE_UNTIL(saros_op_state(op) == SAROS_FAILED);
  CHECK_INT(saros_op_code(op), SAROS_E_TIMEOUT);
  CHECK(!op_is_over(op));
  CHECK_INT(process_signal(op, SIGKILL), 0);
  CHECK_INT(end_of(op), SAROS_E_TIMEOUT);
  saros_op_unref(op);
  op = START(.argv = ARGV("true"), .timeout = 1e300);
  CHECK_INT(end_of(op), SAROS_S_OK);
  saros_op_unref(op);
}

static void whole_group(void) {
  saros_op *op = start_ready(
      "sleep 1000 & a=$!; (trap '' TERM; sleep 1000 >/dev/null 2>&1) & "
      "b=$!; echo ready; echo $a; echo $b; wait",
      0);
  long a = atol(next_line(op, 1)), b = atol(next_line(op, 1));
  CHECK(is_running(a) && is_running(b));
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK(!is_running(a));
  CHECK(!is_running(b));
  saros_op_unref(op);
  /* One that has ended by itself leaves nothing either. */
  op = START(.argv = SH("sleep 1000 >/dev/null 2>&1 & echo $!"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(!is_running(atol(result_text(op, "stdout"))));
  saros_op_unref(op);
  op = START(.argv = SH("sleep 1000 & echo $!")); /* holds the output */
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(!is_running(atol(result_text(op, "stdout"))));
  CHECK(!result_flag(op, "stdout_open"));
  saros_op_unref(op);
}

WHOLE(the_whole_group_dies) {
  whole_group();
}

WHOLE(the_whole_group_dies_on_an_old_kernel) {
  group_old_kernel = 1;
  whole_group();
  group_old_kernel = 0;
}

WHOLE(a_stopped_group_dies_of_term) {
  saros_op *op = start_ready("sleep 1000 & echo ready; wait", 1000);
  CHECK_INT(process_signal(op, SIGSTOP), 0);
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK_INT(detail_int(op, "signal"), SIGTERM);
  saros_op_unref(op);
}

WHOLE(signals_reach_the_group) {
  saros_op *op = start_ready(
      "trap 'echo usr1; exit 7' USR1; echo ready; "
      "while :; do sleep 0.01; done",
      0);
  CHECK_INT(process_signal(op, 0), 0);
  CHECK_INT(process_signal(op, 12345), EINVAL);
  CHECK_INT(process_signal(op, SIGUSR1), 0);
  /* The sleep dies of it, the shell says so. */
  CHECK_INT(end_of(op), SAROS_E_EXIT);
  CHECK_INT(detail_int(op, "status"), 7);
  CHECK_INT(process_signal(op, SIGUSR1), ESRCH);
  saros_op_unref(op);
}

/* A half input must not look like a whole one. */
WHOLE(cancel_does_not_end_the_input) {
  size_t size = 1u << 20;
  char *bytes = calloc(1, size);
  saros_op *op =
      START(.argv = SH("trap 'cat >/dev/null; echo all' TERM; echo ready; "
                       "while :; do sleep 0.01; done"),
            .input = bytes, .input_size = size, .out = PROCESS_LINES,
            .grace = 0.2);
  CHECK_TEXT(next_line(op, 1), "ready");
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK_TEXT(next_line(op, 1), "(end)"); /* not "all" */
  CHECK_INT(detail_int(op, "signal"), SIGKILL);
  free(bytes);
  saros_op_unref(op);
}

WHOLE(an_output_nobody_reads_does_not_hold_a_cancel) {
  saros_op *op = START(.argv = SH("trap 'seq 1 100000; exit 0' TERM; "
                                  "echo ready; yes"),
                       .out = PROCESS_LINES, .limit = 64, .grace = 1000);
  CHECK_TEXT(next_line(op, 1), "ready");
  CHECK_TEXT(next_line(op, 1), "y"); /* no shell any more, that may trap */
  saros_op_cancel(op);
  /* Some is dropped, but what comes has no hole, and no false last word. */
  char last[64] = "y", expected[32];
  int number = 0, y = 0;
  for (const char *line; strcmp(line = next_line(op, 1), "(end)") != 0;) {
    snprintf(expected, sizeof expected, "%d", number);
    if (number > 0) CHECK_TEXT(last, expected);
    snprintf(last, sizeof last, "%.63s", line);
    number += strcmp(line, "y") != 0;
    y++;
  }
  CHECK(y > 0);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK_INT(detail_int(op, "status"), 0); /* it could say its last words */
  saros_op_unref(op);
}

/* Not of its group: not ours to kill, and not waited for for ever. */
WHOLE(a_daemon_keeps_the_output_open) {
  CHECK_INT(mkfifo(scratch_file("go"), 0600), 0);
  char script[512];
  snprintf(script, sizeof script,
           "echo ready; setsid sh -c 'echo $$ >%s; exec sleep 1000' & "
           "read x <%s; echo $x",
           scratch_file("go"), scratch_file("go"));
  uint64_t begun = engine_clock();
  saros_op *op = START(.argv = SH(script));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(elapsed_since(begun) >= 2);
  CHECK(result_flag(op, "stdout_open"));
  CHECK(result_flag(op, "stderr_open"));
  long daemon = atol(result_text(op, "stdout") + strlen("ready\n"));
  CHECK(is_running(daemon));
  if (daemon > 1) kill((pid_t)daemon, SIGKILL);
  saros_op_unref(op);
  /* Who has cancelled does not wait for that. */
  op = start_ready(script, 0);
  daemon = atol(next_line(op, 1));
  GATE_UNTIL(phase_is(op, "draining"));
  begun = engine_clock();
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK(elapsed_since(begun) < 1.5);
  if (daemon > 1) kill((pid_t)daemon, SIGKILL);
  saros_op_unref(op);
  unlink(scratch_file("go"));
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
  gated_kind(&spawn_gate, SAROS_FACADE_SAROS, 0);
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
  CHECK(gated_await(&spawn_gate, &spawn_gate.entered, 1));
  close(open(go, O_WRONLY | O_CLOEXEC));
  for (unsigned i = 0; thief == 0 && i < GATE_BOUND_MS; i++) {
    gate_nap();
    thief = waitpid(-1, NULL, WNOHANG);
  }
  CHECK_INT(thief, detail_int(*op, "pid"));
  gated_open(&spawn_gate, 0);
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

/* There the group has but its number, which may be another's now: it is not
   killed, and that is said. */
WHOLE(what_was_stolen_on_an_old_kernel_is_left_alone) {
  group_old_kernel = 1;
  saros_op *op;
  long other = steal(&op);
  CHECK_INT(end_of(op), SAROS_E_STOLEN);
  group_old_kernel = 0;
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
  GATE_RUN(a_status_is_a_failure);
  GATE_RUN(messages_are_short);
  GATE_RUN(a_signal_is_a_failure);
  GATE_RUN(any_status_is_a_success_if_asked);
  GATE_RUN(cancel_ends_it);
  GATE_RUN(cancel_before_it_was_started);
  GATE_RUN(cancel_while_it_is_started);
  GATE_RUN(cancel_at_any_moment);
  GATE_RUN(who_ignores_term_is_killed_after_the_grace);
  GATE_RUN(a_grace_may_be_long);
  GATE_RUN(time_is_up);
  GATE_RUN(the_whole_group_dies);
  GATE_RUN(the_whole_group_dies_on_an_old_kernel);
  GATE_RUN(a_stopped_group_dies_of_term);
  GATE_RUN(signals_reach_the_group);
  GATE_RUN(cancel_does_not_end_the_input);
  GATE_RUN(an_output_nobody_reads_does_not_hold_a_cancel);
  GATE_RUN(a_daemon_keeps_the_output_open);
  GATE_RUN(a_host_that_ignores_sigchld);
  GATE_RUN(a_host_that_waits_for_everything);
  GATE_RUN(what_was_stolen_on_an_old_kernel_is_left_alone);
  GATE_RUN(a_forked_host_does_not_keep_the_input_open);
  GATE_RUN(two_hundred_at_once);
  GATE_RUN(sixty_four_from_four_threads);
  GATE_RUN(without_memory);
  rmdir(scratch_dir());
  return check_end();
}
