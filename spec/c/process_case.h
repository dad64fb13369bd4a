/*
** What the tests of processes share: starting, reading, and proof that
** nothing is left.
*/
#ifndef SAROS_PROCESS_CASE_H
#define SAROS_PROCESS_CASE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gate.h"
#include "op/process.h"
#include "op/thread.h"

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SH(script) ARGV("sh", "-c", script)

static inline saros_op *start_with(const process_options *o) {
  error *e = NULL;
  saros_op *op = process_start(o, &e);
  CHECK(op != NULL);
  if (e != NULL) printf("not begun: %s\n", e->message);
  error_unref(e);
  return op;
}

#define START(...) start_with(&(process_options){__VA_ARGS__})

/* Over, by itself and not by running out of time; how it ended. */
static inline uint32_t end_of(saros_op *op) {
  CHECK(gate_wait(op));
  CHECK((op_flags_now(op) & OP_ABANDONED) == 0);
  return saros_op_code(op);
}

/* A string of the result; "(absent)" when it is not there. */
static inline const char *result_text(saros_op *op, const char *name) {
  return value_chars(value_get(op_output(op), name), "(absent)");
}

static inline size_t result_size(saros_op *op, const char *name) {
  const value *v = value_get(op_output(op), name);
  return v != NULL && v->type == VALUE_STRING ? v->as.string.size : SIZE_MAX;
}

static inline bool result_flag(saros_op *op, const char *name) {
  return value_boolean(value_get(op_output(op), name), false);
}

static inline int64_t result_int(saros_op *op, const char *name) {
  return value_integer(value_get(op_output(op), name), -1);
}

static inline int64_t detail_int(saros_op *op, const char *name) {
  value *status = op_status(op);
  int64_t n = value_integer(value_get(status, name), -1);
  value_free(status);
  return n;
}

static inline bool detail_is(saros_op *op, const char *name, const char *is) {
  value *status = op_status(op);
  const char *text = value_chars(value_get(status, name), "(absent)");
  bool same = strcmp(text, is) == 0;
  if (!same) printf("%s is \"%s\", not \"%s\"\n", name, text, is);
  value_free(status);
  return same;
}

static inline bool phase_is(saros_op *op, const char *is) {
  value *status = op_status(op);
  const char *text = value_chars(value_get(status, "phase"), "(absent)");
  bool same = strcmp(text, is) == 0;
  value_free(status);
  return same;
}

/* The message of a failed one; lives until the next call. */
static inline const char *message_of(saros_op *op) {
  static char text[1024];
  error *e = op_error(op);
  snprintf(text, sizeof text, "%s", e != NULL ? e->message : "(no error)");
  error_unref(e);
  return text;
}

/* The next line, within the bound; "(end)" at the end. Lives until the next
   call. */
static inline const char *next_line(saros_op *op, int which) {
  static buffer line;
  buffer_free(&line);
  for (unsigned i = 0; i < GATE_BOUND_MS; i++) {
    line_result r = process_line(op, which, &line);
    if (r == LINE_END) return "(end)";
    if (r == LINE_READY && line.data == NULL) return "";
    if (r == LINE_READY) {
      static char text[8192];
      snprintf(text, sizeof text, "%s", line.data);
      buffer_free(&line);
      return text;
    }
    gate_nap();
  }
  return "(never)";
}

/* valgrind 3.19 knows no pidfd_open, nor does a kernel before 5.3. */
static inline bool can_hold_processes(void) {
  int fd = pidfd_open(getpid(), 0);
  if (fd < 0) {
    printf("SKIPPED everything: pidfd_open: %s\n", strerror(errno));
    check_skipped++;
    return false;
  }
  close(fd);
  return true;
}

/* A process of this number does something: neither gone nor a zombie that
   somebody has not reaped yet. */
static inline bool is_running(long pid) {
  char name[64], text[512], *at;
  snprintf(name, sizeof name, "/proc/%ld/stat", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) close(fd);
  if (n <= 0) return false;
  text[n] = '\0';
  at = strrchr(text, ')');
  return at != NULL && at[2] != 'Z' && at[2] != 'X';
}

static inline bool no_children(void) {
  return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

/* A directory of this program's own. */
static inline const char *scratch_dir(void) {
  static char path[] = "/tmp/process-case-XXXXXX";
  static bool made;
  if (!made) made = mkdtemp(path) != NULL;
  return path;
}

static inline const char *scratch_file(const char *name) {
  static char path[4][256];
  static unsigned turn;
  char *to = path[turn++ % 4];
  snprintf(to, sizeof path[0], "%s/%s", scratch_dir(), name);
  return to;
}

static inline bool threads_of_ours(void) {
  bool any = false;
  DIR *d = opendir("/proc/self/task");
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    char path[300], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
    FILE *f = fopen(path, "re");
    if (f != NULL && fgets(name, sizeof name, f) != NULL)
      any |= strncmp(name, "saros-", 6) == 0;
    if (f != NULL) fclose(f);
  }
  if (d != NULL) closedir(d);
  return any;
}

/* The engine's thread is the last to leave, and joined by who comes next. */
static inline void settle(void) {
  for (unsigned i = 0; i < GATE_BOUND_MS; i++) {
    if (fd_count() == 0 && !threads_of_ours()) break;
    gate_nap();
  }
  thread_join_left();
}

/* Each test leaves all as it found it. */
#define WHOLE(name)                    \
  static void whole_##name(void);      \
  TEST(name) {                         \
    gate_counts before = gate_count(); \
    whole_##name();                    \
    CHECK(gate_back_to(before));       \
    CHECK(no_children());              \
    thread_join_left();                \
  }                                    \
  static void whole_##name(void)

/* In a child of this process: what it returns, 0..255. */
static inline int in_fork(int (*f)(int), int argument) {
  int status = -1;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int result = f(argument);
    settle();
    _exit(result);
  }
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

#endif
