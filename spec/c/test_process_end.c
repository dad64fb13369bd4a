/*
** Processes: how they end.
*/
#include "op/group.h"
#include "op/process_parts.h"
#include "op/spawn.h"
#include "process_case.h"

/* A shell that has said "ready", and the pid of its own. */
static saros_op *start_ready(const char *script, double grace) {
  saros_op *op =
      START(.argv = SH(script), .out = PROCESS_LINES, .grace = grace);
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
  char said[100];
  saros_op *op;
  for (double t = 0.05;; t *= 2) {
    op = START(.argv = ARGV("sleep", "1000"), .timeout = t);
    CHECK_INT(end_of(op), SAROS_E_TIMEOUT);
    snprintf(said, sizeof said,
             "sleep was not done after %g s and was told to end", t);
    if (detail_int(op, "pid") > 0 || t > 10) break;
    saros_op_unref(op); /* before it was started */
  }
  CHECK_TEXT(message_of(op), said);
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
  uint64_t begun = engine_clock(), drain = process_drain_ns;
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
  process_drain_ns = 1000 * UINT64_C(1000000000);
  op = start_ready(script, 0);
  daemon = atol(next_line(op, 1));
  GATE_UNTIL(phase_is(op, "draining"));
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  process_drain_ns = drain;
  if (daemon > 1) kill((pid_t)daemon, SIGKILL);
  saros_op_unref(op);
  unlink(scratch_file("go"));
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
  rmdir(scratch_dir());
  return check_end();
}
