/*
** What the tests of processes held still share: applications to be stopped,
** which are our children, owners that hold them and are killed, and what the
** record of their guard says.
*/
#ifndef SAROS_STILL_CASE_H
#define SAROS_STILL_CASE_H

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gate.h"
#include "vss/guard_parts.h"
#include "vss/record.h"
#include "vss/still_parts.h"

static char state_dir[200], runtime[300];

static inline void still_case_open(void) {
  const char *mark = getenv("SAROS_SUITE");
  error *e = NULL;
  snprintf(state_dir, sizeof state_dir, "/tmp/saros-%s-XXXXXX",
           mark != NULL ? mark : "still");
  if (mkdtemp(state_dir) == NULL) abort();
  places *p = places_open(state_dir, &e);
  if (p == NULL) abort();
  snprintf(runtime, sizeof runtime, "%s", p->runtime);
  places_unref(p);
  prctl(PR_SET_CHILD_SUBREAPER, 1); /* what an owner leaves is seen */
}

static inline void still_case_close(void) {
  char command[300];
  snprintf(command, sizeof command, "rm -rf --one-file-system '%s'", state_dir);
  if (system(command) != 0) abort();
}

/* How many records there are; the only one's text. */
static inline int records(char *text, size_t room) {
  char pattern[400];
  glob_t found;
  snprintf(pattern, sizeof pattern, "%s/frozen/*.json", runtime);
  int count = glob(pattern, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
  FILE *f = count == 1 && text != NULL ? fopen(found.gl_pathv[0], "re") : NULL;
  if (f != NULL) text[fread(text, 1, room - 1, f)] = '\0';
  if (f != NULL) fclose(f);
  globfree(&found);
  return count;
}

static inline pid_t guard_in_record(void) {
  char text[4096] = "";
  error *e = NULL;
  CHECK_INT(records(text, sizeof text), 1);
  value *r = json_read(text, strlen(text), NULL, &e);
  int64_t pid = value_integer(value_get(value_get(r, "guard"), "pid"), 0);
  value_free(r);
  error_unref(e);
  return (pid_t)pid;
}


/* ------------------------------------------------------------------
** Applications
** ---------------------------------------------------------------- */

#define APPS 128

static pid_t apps[APPS];
static int app_count;

/* Ends with us. */
static inline pid_t start_app(void (*body)(void)) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(GATE_BOUND_MS / 1000);
    body();
    _exit(0);
  }
  if (app_count < APPS) apps[app_count++] = pid;
  return pid;
}

static inline void app_waits(void) {
  for (;;) pause();
}

static inline void *thread_waits(void *unused) {
  for (;;) pause();
  return unused;
}

static inline void app_with_threads(void) {
  pthread_t id;
  for (int i = 0; i < 3; i++) pthread_create(&id, NULL, thread_waits, NULL);
  app_waits();
}

/* Its children, too, and theirs. */
static inline void end_apps(void) {
  for (int i = 0; i < app_count; i++) kill(apps[i], SIGKILL);
  for (int i = 0; i < app_count; i++) waitpid(apps[i], NULL, 0);
  app_count = 0;
  while (waitpid(-1, NULL, WNOHANG) > 0) {}
}

static inline bool is_stopped(pid_t pid) {
  return identity_state(pid) == 'T';
}

static inline bool runs(pid_t pid) {
  char state = identity_state(pid);
  return state != 0 && state != 'T';
}


/* ------------------------------------------------------------------
** Holding
** ---------------------------------------------------------------- */

/* Of options as JSON without the last brace. */
static inline saros_op *hold_begin(error **e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline saros_op *hold_begin(error **e, const char *format, ...) {
  char text[2000];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  snprintf(text + n, sizeof text - (size_t)n, ", \"state_dir\": \"%s\"}",
           state_dir);
  value *options = json_read(text, strlen(text), NULL, e);
  if (options == NULL) abort();
  saros_op *op = still_begin(options, e);
  value_free(options);
  return op;
}

#define BEGIN(...) begin_good(&(error *){NULL}, __VA_ARGS__)
#define begin_good(e, ...) checked(hold_begin(e, __VA_ARGS__), e)

static inline saros_op *checked(saros_op *op, error **e) {
  CHECK(op != NULL);
  if (op == NULL) printf("not begun: %s\n", (*e)->message);
  error_unref(*e);
  if (op == NULL) abort();
  return op;
}

/* How it ended; says why. */
static inline uint32_t end_of(saros_op *op) {
  CHECK(gate_wait(op));
  uint32_t code = saros_op_code(op);
  error *e = op_error(op);
  if (e != NULL) printf("  %s\n", e->message);
  error_unref(e);
  return code;
}

static inline bool says(saros_op *op, const char *what) {
  error *e = op_error(op);
  bool good = e != NULL && strstr(e->message, what) != NULL;
  error_unref(e);
  return good;
}

static inline uint32_t release_of(saros_op *held) {
  error *e = NULL;
  saros_op *op = still_release(held, &e);
  CHECK(op != NULL);
  if (op == NULL) return e->code;
  uint32_t code = end_of(op);
  saros_op_unref(op);
  return code;
}

static inline unsigned listed(saros_op *op, const char *name) {
  const value *list = value_get(op_output(op), name);
  return list != NULL ? list->count : 0;
}

static inline void await_gone(pid_t pid) {
  GATE_UNTIL(waitpid(pid, NULL, WNOHANG) != 0 || kill(pid, 0) != 0);
}


/* ------------------------------------------------------------------
** Owners, in processes of their own
** ---------------------------------------------------------------- */

/* One that holds it, and waits to be killed. */
static inline pid_t start_owner(pid_t app, double seconds) {
  int ends[2];
  char byte = 0;
  fflush(stdout);
  if (pipe2(ends, O_CLOEXEC) != 0) abort();
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(GATE_BOUND_MS / 1000);
    saros_op *op = BEGIN("{\"pids\": [%d], \"seconds\": %g", app, seconds);
    bool good = end_of(op) == SAROS_S_OK;
    if (write(ends[1], good ? "y" : "n", 1) != 1) _exit(3);
    for (;;) pause();
  }
  close(ends[1]);
  CHECK_INT(read(ends[0], &byte, 1), 1);
  CHECK_INT(byte, 'y');
  close(ends[0]);
  return pid;
}

/* The guard first, so that it cannot act. */
static inline void kill_both(pid_t owner) {
  pid_t keeper = guard_in_record();
  CHECK(keeper > 0);
  if (keeper <= 0) return;
  kill(keeper, SIGSTOP);
  kill(keeper, SIGKILL);
  kill(owner, SIGKILL);
  waitpid(owner, NULL, 0);
  await_gone(keeper);
}

#endif
