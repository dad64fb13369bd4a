/*
** Processes: what goes in and comes out. How they begin and end is in
** test_process_begin.c and test_process_end.c, and what a host may do to them
** in test_process_host.c.
*/
#include <poll.h>
#include <sys/eventfd.h>

#include "process_case.h"

/* ------------------------------------------------------------------
** What comes out
** ---------------------------------------------------------------- */

WHOLE(captures_both_outputs) {
  saros_op *op = START(.argv = SH("echo out; echo err >&2"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(op_is_process(op));
  CHECK_TEXT(result_text(op, "stdout"), "out\n");
  CHECK_TEXT(result_text(op, "stderr"), "err\n");
  CHECK_INT(result_int(op, "status"), 0);
  CHECK(value_get(op_output(op), "signal") == NULL);
  CHECK(value_get(op_output(op), "stdout_truncated") == NULL);
  CHECK(value_get(op_output(op), "stdout_open") == NULL);
  CHECK(detail_int(op, "pid") > 1);
  CHECK_INT(detail_int(op, "done"), 8);
  saros_op_unref(op);
}

WHOLE(captures_nothing_and_bytes_that_are_no_text) {
  saros_op *op = START(.argv = ARGV("true"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "");
  CHECK_TEXT(result_text(op, "stderr"), "");
  saros_op_unref(op);
  op = START(.argv = ARGV("printf", "a\\0b\\377"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(result_size(op, "stdout"), 4);
  CHECK(memcmp(result_text(op, "stdout"), "a\0b\377", 5) == 0);
  saros_op_unref(op);
}

WHOLE(keeps_the_head_of_one_and_the_tail_of_the_other) {
  saros_op *op =
      START(.argv = SH("seq 1 50000; seq 1 50000 >&2"), .limit = 1000);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(result_size(op, "stdout"), 1000);
  CHECK_INT(result_size(op, "stderr"), 1000);
  CHECK(strncmp(result_text(op, "stdout"), "1\n2\n3\n", 6) == 0);
  CHECK_TEXT(result_text(op, "stderr") + 1000 - 12, "49999\n50000\n");
  CHECK(result_flag(op, "stdout_truncated"));
  CHECK(result_flag(op, "stderr_truncated"));
  saros_op_unref(op);
}

WHOLE(a_limit_that_is_met_exactly_truncates_nothing) {
  saros_op *op =
      START(.argv = SH("printf 12345; printf 67890 >&2"), .limit = 5);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "12345");
  CHECK_TEXT(result_text(op, "stderr"), "67890");
  CHECK(!result_flag(op, "stdout_truncated"));
  CHECK(!result_flag(op, "stderr_truncated"));
  saros_op_unref(op);
}

/* The ring, at every distance from its end. */
WHOLE(the_tail_is_right_wherever_it_wraps) {
  for (size_t limit = 1; limit < 16; limit += 2) {
    saros_op *op =
        START(.argv =
                  SH("exec >&2; for i in 1 2 3 4 5 6 7; do printf abc$i; done"),
              .limit = limit);
    const char all[] = "abc1abc2abc3abc4abc5abc6abc7";
    CHECK_INT(end_of(op), SAROS_S_OK);
    CHECK_TEXT(result_text(op, "stderr"), all + sizeof all - 1 - limit);
    saros_op_unref(op);
  }
}

WHOLE(one_output_goes_where_the_other_goes) {
  saros_op *op = START(.argv = SH("echo a; echo b >&2; echo c; exit 4"),
                       .err = PROCESS_STDOUT, .any_status = true);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "a\nb\nc\n");
  CHECK(value_get(op_output(op), "stderr") == NULL);
  CHECK_INT(result_int(op, "status"), 4);
  saros_op_unref(op);
  op = START(.argv = SH("echo a; echo b >&2; exit 4"), .err = PROCESS_STDOUT);
  CHECK_INT(end_of(op), SAROS_E_EXIT);
  CHECK_TEXT(message_of(op), "sh exited with status 4: b");
  saros_op_unref(op);
}

WHOLE(nothing_is_kept_of_null) {
  saros_op *op = START(.argv = SH("echo a; echo b >&2; readlink /proc/$$/fd/0 "
                                  ">/dev/null"),
                       .out = PROCESS_NULL, .err = PROCESS_NULL);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(value_get(op_output(op), "stdout") == NULL);
  CHECK(value_get(op_output(op), "stderr") == NULL);
  saros_op_unref(op);
}

/* What the host's output was when it started, not what it is later. */
WHOLE(inherits_what_the_host_has) {
  int ends[2];
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  fflush(stdout);
  int saved = fcntl(1, F_DUPFD_CLOEXEC, 3);
  dup2(ends[1], 1);
  error *e = NULL;
  saros_op *op = process_start(
      &(process_options){.argv = ARGV("echo", "hello"), .out = PROCESS_INHERIT},
      &e);
  dup2(saved, 1);
  close(saved);
  close(ends[1]);
  CHECK(op != NULL);
  char text[16] = "";
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(read(ends[0], text, sizeof text - 1), 6);
  CHECK_TEXT(text, "hello\n");
  CHECK_INT(read(ends[0], text, 1), 0); /* nobody holds it any more */
  close(ends[0]);
  saros_op_unref(op);
}


/* ------------------------------------------------------------------
** What goes in
** ---------------------------------------------------------------- */

WHOLE(ten_megabytes_go_through) {
  size_t size = 10u << 20;
  char *bytes = malloc(size);
  uint64_t seed = 42;
  for (size_t i = 0; i < size; i++) bytes[i] = (char)gate_random(&seed);
  saros_op *op = START(.argv = ARGV("cat"), .input = bytes, .input_size = size,
                       .limit = size + 1);
  char *copy = malloc(size);
  memcpy(copy, bytes, size);
  memset(bytes, 0, size); /* it has its own */
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(result_size(op, "stdout"), size);
  CHECK(memcmp(result_text(op, "stdout"), copy, size) == 0);
  CHECK(!result_flag(op, "stdout_truncated"));
  CHECK_INT(detail_int(op, "done"), size);
  free(bytes);
  free(copy);
  saros_op_unref(op);
}

WHOLE(no_input_is_the_end_at_once) {
  saros_op *op = START(.argv = ARGV("readlink", "/proc/self/fd/0"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "/dev/null\n");
  saros_op_unref(op);
  op = START(.argv = ARGV("cat"), .input = "", .input_size = 0);
  CHECK_INT(end_of(op), SAROS_S_OK);
  saros_op_unref(op);
}

/* Whether the engine's own thread, and nobody else, has SIGPIPE pending. */
static bool engine_has_sigpipe(void) {
  bool found = false;
  DIR *d = opendir("/proc/self/task");
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    char path[300], line[256], name[64] = "";
    unsigned long long pending = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
      sscanf(line, "Name: %63s", name);
      sscanf(line, "SigPnd: %llx", &pending);
    }
    if (f != NULL) fclose(f);
    bool has = (pending >> (SIGPIPE - 1)) & 1;
    if (has) CHECK_TEXT(name, "saros-engine");
    found |= has;
  }
  closedir(d);
  return found;
}

/* SIGPIPE is at its default here: one that was raised would kill us. */
WHOLE(a_child_that_does_not_want_its_input) {
  struct sigaction now;
  sigaction(SIGPIPE, NULL, &now);
  CHECK(now.sa_handler == SIG_DFL);
  size_t size = 1u << 20;
  char *bytes = calloc(1, size);
  saros_op *op =
      START(.argv = SH("exec 0<&-; echo closed; exec sleep 1000"),
            .input = bytes, .input_size = size, .out = PROCESS_LINES);
  CHECK_TEXT(next_line(op, 1), "closed");
  GATE_UNTIL(engine_has_sigpipe());
  sigset_t pending;
  sigpending(&pending);
  CHECK(!sigismember(&pending, SIGPIPE));
  CHECK_INT(saros_op_state(op), SAROS_RUNNING);
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
  for (int i = 0; i < 20; i++) {
    op = START(.argv = ARGV("true"), .input = bytes, .input_size = size);
    CHECK_INT(end_of(op), SAROS_S_OK);
    saros_op_unref(op);
  }
  free(bytes);
}

WHOLE(one_reads_what_another_writes) {
  saros_op *a =
      START(.argv = ARGV("seq", "1", "100000"), .out = PROCESS_STREAM);
  saros_op *b =
      START(.argv = ARGV("sort", "-n"), .input_from = a, .out = PROCESS_STREAM);
  saros_op *c = START(.argv = ARGV("tail", "-n", "1"), .input_from = b);
  CHECK_INT(process_take_stream(a), -1);
  CHECK_INT(end_of(c), SAROS_S_OK);
  CHECK_INT(end_of(b), SAROS_S_OK);
  CHECK_INT(end_of(a), SAROS_S_OK);
  CHECK_TEXT(result_text(c, "stdout"), "100000\n");
  saros_op_unref(a);
  saros_op_unref(b);
  saros_op_unref(c);
}

WHOLE(a_stream_is_taken_once_and_is_the_takers) {
  saros_op *op = START(.argv = ARGV("echo", "x"), .out = PROCESS_STREAM);
  int fd = process_take_stream(op);
  CHECK(fd > 2);
  CHECK_INT(process_take_stream(op), -1);
  CHECK_INT(end_of(op), SAROS_S_OK);
  saros_op_unref(op);
  char text[8];
  CHECK_INT(read(fd, text, sizeof text), 2);
  CHECK_INT(read(fd, text, sizeof text), 0);
  CHECK_INT(close(fd), 0);
  /* Nobody takes it. */
  op = START(.argv = ARGV("echo", "x"), .out = PROCESS_STREAM);
  CHECK_INT(end_of(op), SAROS_S_OK);
  saros_op_unref(op);
  /* It was never started: that is an end, too. */
  op = START(.argv = ARGV("/nowhere/at/all"), .out = PROCESS_STREAM);
  fd = process_take_stream(op);
  CHECK_INT(read(fd, text, sizeof text), 0);
  close(fd);
  CHECK_INT(end_of(op), code_of_errno(ENOENT));
  saros_op_unref(op);
}

WHOLE(misuse_is_refused) {
  error *e = NULL;
  saros_op *a = START(.argv = ARGV("true"));
  const process_options wrong[] = {
      {.argv = NULL},
      {.argv = (const char *const[]){NULL}},
      {.argv = ARGV("true"), .out = PROCESS_STDOUT},
      {.argv = ARGV("true"), .err = PROCESS_STREAM},
      {.argv = ARGV("true"), .input = "x", .input_inherit = true},
      {.argv = ARGV("true"), .input_from = a}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    CHECK(process_start(&wrong[i], &e) == NULL);
    CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
    error_unref(e);
  }
  CHECK_INT(end_of(a), SAROS_S_OK);
  CHECK_INT(process_take_stream(a), -1);
  buffer line = BUFFER_EMPTY;
  CHECK_INT(process_line(a, 1, &line), LINE_END);
  CHECK_INT(process_line(a, 0, &line), LINE_END);
  saros_op_unref(a);
}

/* What could not begin has taken nothing. */
WHOLE(a_stream_comes_back_from_one_that_did_not_begin) {
  error *e = NULL;
  saros_op *a =
      START(.argv = ARGV("echo", "x"), .out = PROCESS_STREAM, .name = "stream");
  process_options o = {.argv = ARGV("cat"), .input_from = a, .name = "stream"};
  CHECK(process_start(&o, &e) == NULL);
  CHECK_INT(e->code, SAROS_E_BUSY_NAME);
  error_unref(e);
  o.name = NULL;
  saros_op *b = start_with(&o);
  CHECK_INT(end_of(b), SAROS_S_OK);
  CHECK_TEXT(result_text(b, "stdout"), "x\n");
  CHECK_INT(end_of(a), SAROS_S_OK);
  op_forget_name(a);
  saros_op_unref(a);
  saros_op_unref(b);
}


/* ------------------------------------------------------------------
** Lines
** ---------------------------------------------------------------- */

WHOLE(lines_one_by_one) {
  saros_op *op =
      START(.argv =
                SH("printf 'aaaaaaaaaa\\nbbbbbbbbbbbbbbbbbbbbbbbbb\\n\\ncc' "
                   "| tee /dev/stderr"),
            .out = PROCESS_LINES, .err = PROCESS_LINES, .limit = 10);
  for (int which = 1; which <= 2; which++) {
    CHECK_TEXT(next_line(op, which), "aaaaaaaaaa");
    CHECK_TEXT(next_line(op, which), "bbbbbbbbbb");
    CHECK_TEXT(next_line(op, which), "bbbbbbbbbb");
    CHECK_TEXT(next_line(op, which), "bbbbb");
    CHECK_TEXT(next_line(op, which), "");
    CHECK_TEXT(next_line(op, which), "cc");
    CHECK_TEXT(next_line(op, which), "(end)");
  }
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(value_get(op_output(op), "stdout") == NULL);
  CHECK_TEXT(next_line(op, 1), "(end)");
  saros_op_unref(op);
}

/* Less than a line is there, and the buffer was full: who waits for the rest
   must not wait for ever. */
WHOLE(half_a_line_is_waited_for) {
  saros_op *op =
      START(.argv = SH("printf 'a\\nbbbbbbbbbbcc\\nddd\\n'; exec sleep 1000"),
            .out = PROCESS_LINES, .limit = 10);
  GATE_UNTIL(detail_int(op, "done") == 11);
  CHECK_TEXT(next_line(op, 1), "a");
  CHECK_TEXT(next_line(op, 1), "bbbbbbbbbb");
  CHECK_TEXT(next_line(op, 1), "cc");
  CHECK_TEXT(next_line(op, 1), "ddd");
  saros_op_cancel(op);
  CHECK_TEXT(next_line(op, 1), "(end)");
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
}

/* The bound holds while it writes, and it writes on when some are taken. */
WHOLE(lines_hold_the_writer_back) {
  size_t limit = 4096;
  saros_op *op =
      START(.argv = ARGV("yes"), .out = PROCESS_LINES, .limit = limit);
  for (int i = 1; i <= 10000; i++) {
    CHECK_TEXT(next_line(op, 1), "y");
    if (i % 100 == 0) {
      /* The count is told a moment after the lines are: only the bound. */
      int64_t done = detail_int(op, "done");
      /* It may be told a little later than the lines can be taken. */
      CHECK(done <= 2 * i + (int64_t)limit + 1);
    }
  }
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  /* What had come is still there, and then it ends. */
  int more = 0;
  while (strcmp(next_line(op, 1), "y") == 0) more++;
  CHECK((size_t)more <= limit / 2 + 1);
  CHECK_TEXT(next_line(op, 1), "(end)");
  saros_op_unref(op);
}

/* A child that has ended is not kept by somebody who does not read. */
WHOLE(lines_nobody_reads_do_not_hold_the_end) {
  saros_op *op = START(.argv = ARGV("seq", "1", "5000"), .out = PROCESS_LINES,
                       .limit = 100);
  CHECK_INT(end_of(op), SAROS_S_OK);
  for (int i = 1; i <= 5000; i++) {
    char number[16];
    snprintf(number, sizeof number, "%d", i);
    CHECK_TEXT(next_line(op, 1), number);
  }
  CHECK_TEXT(next_line(op, 1), "(end)");
  CHECK(!result_flag(op, "stdout_open"));
  saros_op_unref(op);
  op = START(.argv = ARGV("yes"), .out = PROCESS_LINES, .timeout = 0.05);
  CHECK_INT(end_of(op), SAROS_E_TIMEOUT);
  saros_op_unref(op);
}

typedef struct told {
  watch w;
  int fd;
} told;

static port *tell(watch *w) {
  uint64_t one = 1;
  CHECK_INT(write(((told *)w)->fd, &one, sizeof one), sizeof one);
  return NULL;
}

static const watch_way telling = {.fire = tell, .progress = true};

/* Nobody polls: who waits is told of each line, and of the end. */
WHOLE(who_waits_for_lines_is_told) {
  uint64_t times;
  told t = {.w = {.way = &telling},
            .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  struct pollfd p = {.fd = t.fd, .events = POLLIN};
  CHECK_INT(mkfifo(scratch_file("go"), 0600), 0);
  char script[512];
  snprintf(script, sizeof script, "echo one; read x <%s; echo two; printf 3",
           scratch_file("go"));
  saros_op *op = START(.argv = SH(script), .out = PROCESS_LINES);
  CHECK(watch_add(&t.w, op));
  static const char *const expected[] = {"one", "two", "3"};
  buffer line = BUFFER_EMPTY;
  for (int i = 0; i < 3;) {
    CHECK(read(t.fd, &times, sizeof times) > 0 || errno == EAGAIN);
    buffer_clear(&line);
    line_result r = process_line(op, 1, &line);
    if (r == LINE_LATER) {
      int got = poll(&p, 1, GATE_BOUND_MS);
      CHECK_INT(got, 1);
      if (got != 1) break;
      continue;
    }
    CHECK_INT(r, LINE_READY);
    CHECK_TEXT(line.data, expected[i]);
    if (i++ == 0) {
      int fd = open(scratch_file("go"), O_WRONLY | O_CLOEXEC);
      CHECK_INT(write(fd, "\n", 1), 1);
      close(fd);
    }
  }
  buffer_free(&line);
  CHECK_INT(end_of(op), SAROS_S_OK);
  watch_remove(&t.w);
  close(t.fd);
  saros_op_unref(op);
  unlink(scratch_file("go"));
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!can_hold_processes()) return check_end();
  signal(SIGPIPE, SIG_DFL);
  GATE_RUN(captures_both_outputs);
  GATE_RUN(captures_nothing_and_bytes_that_are_no_text);
  GATE_RUN(keeps_the_head_of_one_and_the_tail_of_the_other);
  GATE_RUN(a_limit_that_is_met_exactly_truncates_nothing);
  GATE_RUN(the_tail_is_right_wherever_it_wraps);
  GATE_RUN(one_output_goes_where_the_other_goes);
  GATE_RUN(nothing_is_kept_of_null);
  GATE_RUN(inherits_what_the_host_has);
  GATE_RUN(ten_megabytes_go_through);
  GATE_RUN(no_input_is_the_end_at_once);
  GATE_RUN(a_child_that_does_not_want_its_input);
  GATE_RUN(one_reads_what_another_writes);
  GATE_RUN(a_stream_is_taken_once_and_is_the_takers);
  GATE_RUN(misuse_is_refused);
  GATE_RUN(a_stream_comes_back_from_one_that_did_not_begin);
  GATE_RUN(lines_one_by_one);
  GATE_RUN(half_a_line_is_waited_for);
  GATE_RUN(lines_hold_the_writer_back);
  GATE_RUN(lines_nobody_reads_do_not_hold_the_end);
  GATE_RUN(who_waits_for_lines_is_told);
  rmdir(scratch_dir());
  return check_end();
}
