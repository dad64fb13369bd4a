/*
** Processes: how they begin. What goes in and comes out is in test_process.c.
*/
#include <sys/resource.h>

#include "process_case.h"

static void cannot_start(const process_options *o, int number,
                         const char *part) {
  saros_op *op = start_with(o);
  CHECK_INT(end_of(op), code_of_errno(number));
  if (strstr(message_of(op), part) == NULL)
    CHECK_TEXT(message_of(op), part); /* shows both */
  CHECK(op_output(op) == NULL);
  saros_op_unref(op);
}

static void put_file(const char *path, const char *text, mode_t mode) {
  FILE *f = fopen(path, "we");
  fputs(text, f);
  fchmod(fileno(f), mode);
  fclose(f);
}

WHOLE(what_cannot_start_says_why) {
  const char *file = scratch_file("file");
  cannot_start(&(process_options){.argv = ARGV("no-such-program")}, ENOENT,
               "cannot start no-such-program: no program of that name is in "
               "PATH");
  cannot_start(&(process_options){.argv = ARGV("")}, ENOENT, "cannot start");
  cannot_start(&(process_options){.argv = ARGV("/no/such\n\033file")}, ENOENT,
               "cannot start /no/such\\n\\x1bfile: there is no such file");
  put_file(file, "#!/bin/sh\n", 0600);
  cannot_start(&(process_options){.argv = ARGV(file)}, EACCES, "chmod +x");
  put_file(file, "\x7f garbage", 0700);
  cannot_start(&(process_options){.argv = ARGV(file)}, ENOEXEC, "#!");
  cannot_start(
      &(process_options){.argv = ARGV("true"), .cwd = "/no/such/place"}, ENOENT,
      "its working directory /no/such/place: No such file");
  cannot_start(&(process_options){.argv = ARGV("true"), .cwd = file}, ENOTDIR,
               "its working directory");
  cannot_start(&(process_options){.argv = ARGV("no-such"), .cwd = "/"}, ENOENT,
               "no program of that name");
  unlink(file);
}

/* The host's PATH counts, not the child's. */
WHOLE(programs_are_looked_for_in_the_hosts_path) {
  char *before = strdup(getenv("PATH"));
  char path[512];
  mkdir(scratch_file("a"), 0700);
  mkdir(scratch_file("b"), 0700);
  put_file(scratch_file("a/prog"), "#!/bin/sh\n", 0600);
  put_file(scratch_file("b/prog"), "#!/bin/sh\necho found $A $PATH\n", 0700);
  snprintf(path, sizeof path, "/nowhere:%s:%s", scratch_file("a"),
           scratch_file("b"));
  setenv("PATH", path, 1);
  saros_op *op = START(.argv = ARGV("prog"), .env = ARGV("A=1", "PATH=2"));
  setenv("PATH", before, 1); /* it has been read */
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "found 1 2\n");
  saros_op_unref(op);
  /* An empty part is the directory it runs in. */
  setenv("PATH", "/nowhere:", 1);
  op = START(.argv = ARGV("prog"), .cwd = scratch_file("b"),
             .env = ARGV("A=1", "PATH=2"));
  unsetenv("PATH");
  saros_op *standard = START(.argv = ARGV("true"));
  snprintf(path, sizeof path, "%s:/nowhere", scratch_file("a"));
  setenv("PATH", path, 1); /* what may not be executed is worth a word */
  cannot_start(&(process_options){.argv = ARGV("prog")}, EACCES, "chmod");
  setenv("PATH", before, 1);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "found 1 2\n");
  CHECK_INT(end_of(standard), SAROS_S_OK);
  saros_op_unref(op);
  saros_op_unref(standard);
  unlink(scratch_file("a/prog"));
  unlink(scratch_file("b/prog"));
  rmdir(scratch_file("a"));
  rmdir(scratch_file("b"));
  free(before);
}

WHOLE(environment_and_directory) {
  setenv("SAROS_CASE", "inherited", 1);
  saros_op *op = START(.argv = SH("echo $SAROS_CASE; pwd"), .cwd = "/usr");
  setenv("SAROS_CASE", "too late", 1);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "inherited\n/usr\n");
  saros_op_unref(op);
  unsetenv("SAROS_CASE");
  op = START(.argv = ARGV("env"), .env = ARGV("A=b", "C=d"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "A=b\nC=d\n");
  saros_op_unref(op);
}

WHOLE(no_descriptor_is_inherited) {
  int fds[500];
  for (int i = 0; i < 500; i++) fds[i] = dup(2); /* not close-on-exec */
  saros_op *op =
      START(.argv = ARGV("ls", "/proc/self/fd"), .input = "x", .input_size = 1);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "0\n1\n2\n3\n"); /* 3: the listing */
  saros_op_unref(op);
  for (int i = 0; i < 500; i++) close(fds[i]);
}

WHOLE(signals_are_as_new_and_the_group_its_own) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  saros_op *op =
      START(.argv = ARGV("cat", "/proc/self/status", "/proc/self/stat"));
  CHECK_INT(end_of(op), SAROS_S_OK);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  signal(SIGUSR1, SIG_DFL);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  const char *text = result_text(op, "stdout");
  CHECK(strstr(text, "SigBlk:\t0000000000000000") != NULL);
  CHECK(strstr(text, "SigIgn:\t0000000000000000") != NULL);
  long pid = 0, parent = 0, group = 0;
  const char *stat = strstr(text, "(cat) ");
  CHECK(stat != NULL &&
        sscanf(stat, "(cat) %*c %ld %ld", &parent, &group) == 2);
  pid = (long)detail_int(op, "pid");
  CHECK_INT(group, pid);
  CHECK_INT(parent, getpid());
  saros_op_unref(op);
}

/* A host without some of 0, 1, 2: our ends land there. */
static int without(int closed) {
  for (int i = 0; i < 3; i++)
    if (closed & (1 << i)) close(i);
  static const process_end ends[] = {PROCESS_CAPTURE, PROCESS_STREAM,
                                     PROCESS_INHERIT};
  for (int i = 0; i < 3; i++) {
    error *e = NULL;
    saros_op *op = process_start(
        &(process_options){.argv = SH("ls /proc/self/fd >&2; cat"),
                           .input = "hello",
                           .input_size = 5,
                           .out = ends[i],
                           .err = PROCESS_CAPTURE},
        &e);
    if (op == NULL) return 1;
    char text[8] = "";
    int fd = process_take_stream(op);
    if (ends[i] == PROCESS_STREAM && (fd < 3 || read(fd, text, 7) != 5))
      return 2;
    if (fd >= 0) close(fd);
    if (!gate_wait(op) || saros_op_code(op) != 0) return 3;
    if (ends[i] == PROCESS_CAPTURE)
      snprintf(text, sizeof text, "%s", result_text(op, "stdout"));
    if (ends[i] != PROCESS_INHERIT && strcmp(text, "hello") != 0) return 4;
    if (strcmp(result_text(op, "stderr"), "0\n1\n2\n3\n") != 0) return 5;
    saros_op_unref(op);
  }
  return 0;
}

WHOLE(a_host_that_has_closed_0_1_or_2) {
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  int saved = fcntl(1, F_DUPFD_CLOEXEC, 3);
  fflush(stdout);
  dup2(null, 1); /* what is inherited is not for the reader of this test */
  int results[8];
  for (int closed = 0; closed < 8; closed++)
    results[closed] = in_fork(without, closed);
  dup2(saved, 1);
  close(saved);
  close(null);
  for (int closed = 0; closed < 8; closed++) CHECK_INT(results[closed], 0);
}

static int few_files(int limit) {
  struct rlimit l = {(rlim_t)limit, (rlim_t)limit};
  setrlimit(RLIMIT_NOFILE, &l);
  error *e = NULL;
  saros_op *op = process_start(
      &(process_options){.argv = ARGV("true"), .input = "x", .input_size = 1},
      &e);
  uint32_t code =
      op != NULL ? (gate_wait(op) ? saros_op_code(op) : 1) : e->code;
  bool said = code != code_of_errno(EMFILE) || op == NULL ||
              strstr(message_of(op), "ulimit -n") != NULL;
  if (op != NULL) saros_op_unref(op);
  error_unref(e);
  if (!no_children()) return 3;
  settle();
  if (fd_count() != 0) return 4;
  return code == 0 ? 0 : code == code_of_errno(EMFILE) && said ? 1 : 2;
}

/* Every descriptor in turn is the one that cannot be had. */
WHOLE(without_descriptors_it_fails_cleanly) {
  int result = 1;
  for (int limit = 3; limit < 64 && result == 1; limit++)
    result = in_fork(few_files, limit);
  CHECK_INT(result, 0);
}

WHOLE(the_public_function) {
  uint32_t why = 7;
  saros_process_options o = {
      .size = sizeof o, .argv = ARGV("cat"), .input = "abc", .input_size = 3};
  saros_op *op = saros_process(&o, &why);
  CHECK(op != NULL);
  CHECK_INT(why, 0);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_TEXT(result_text(op, "stdout"), "abc");
  CHECK_TEXT(saros_op_kind(op), "saros.process");
  saros_op_unref(op);
  o.argv = NULL;
  CHECK(saros_process(&o, &why) == NULL);
  CHECK_INT(why, SAROS_E_INVALIDARG);
  CHECK(saros_process(NULL, NULL) == NULL);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!can_hold_processes()) return check_end();
  signal(SIGPIPE, SIG_DFL);
  GATE_RUN(what_cannot_start_says_why);
  GATE_RUN(programs_are_looked_for_in_the_hosts_path);
  GATE_RUN(environment_and_directory);
  GATE_RUN(no_descriptor_is_inherited);
  GATE_RUN(signals_are_as_new_and_the_group_its_own);
  GATE_RUN(a_host_that_has_closed_0_1_or_2);
  GATE_RUN(without_descriptors_it_fails_cleanly);
  GATE_RUN(the_public_function);
  rmdir(scratch_dir());
  return check_end();
}
