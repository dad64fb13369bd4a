/*
** What providers run other programs with: what they say, and their end.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/prctl.h>

#include "shadow_case.h"
#include "vss/provider/tool.h"

static saros_op *running;

static void cancelled(saros_op *op, void *self) {
  (void)self;
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

static const saros_kind op_kind = {.size = sizeof(saros_kind),
                                   .name = "test.tool",
                                   .facade = SAROS_FACADE_VSS,
                                   .flags = SAROS_CANCELLABLE,
                                   .cancel = cancelled};


static error *run_shell(const char *script, unsigned seconds, saros_op *op,
                        char **out) {
  const char *argv[] = {"sh", "-c", script, NULL};
  tool_call call = {.argv = argv, .lock = -1, .seconds = seconds, .op = op};
  return tool_run(&call, out);
}

TEST(what_a_program_says) {
  char *out;
  DONE(run_shell("echo one; echo two; cat", 60, NULL, &out));
  CHECK_TEXT(out, "one\ntwo\n"); /* and nothing to read */
  mem_free(out);
  DONE(run_shell("yes | head -c 200000", 60, NULL, &out));
  CHECK(out != NULL && strlen(out) == 200000);
  mem_free(out);
  DONE(run_shell("echo $LC_ALL; locale >/dev/null 2>&1; trap", 60, NULL, &out));
  CHECK_TEXT(out, "C\n");
  mem_free(out);
  error *e =
      run_shell("echo no; echo why >&2; echo more >&2; exit 5", 60, NULL, &out);
  CHECK(out == NULL);
  CHECK(case_says(e, SAROS_E_EXIT, "failed with 5: why;more"));
  CHECK(case_says(run_shell("kill -9 $$", 60, NULL, NULL), SAROS_E_SIGNAL,
                  "signal 9"));
  const char *argv[] = {"no-such-program-here", NULL};
  tool_call call = {.argv = argv, .lock = -1, .seconds = 60};
  CHECK(case_says(tool_run(&call, NULL), VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "no-such-program-here"));
  CHECK(tool_is_there("sh") && !tool_is_there("no-such-program-here"));
}

/* What it left running does not hold us up. */
TEST(a_program_that_leaves_one) {
  char *out;
  DONE(run_shell("sleep 300 & echo $!", 60, NULL, &out));
  pid_t left = out != NULL ? (pid_t)strtol(out, NULL, 10) : 0;
  CHECK(left > 1);
  if (left > 1) kill(left, SIGKILL);
  mem_free(out);
}

TEST(a_program_that_takes_too_long) {
  CHECK(case_says(run_shell("exec sleep 300", 0, NULL, NULL), SAROS_E_TIMEOUT,
                  "took longer"));
}

static void *cancel_when_there(void *file) {
  while (access(file, F_OK) != 0) usleep(1000);
  saros_op_cancel(running);
  return NULL;
}

TEST(a_program_that_is_cancelled) {
  pthread_t thread;
  char script[800], file[700];
  engine_acquire();
  snprintf(file, sizeof file, "%s", volumes_in("begun"));
  snprintf(script, sizeof script, "touch '%s'; exec sleep 300", file);
  running = saros_op_new(&op_kind, NULL, NULL);
  CHECK_INT(saros_op_start(running), 0);
  pthread_create(&thread, NULL, cancel_when_there, file);
  error *e = run_shell(script, 600, running, NULL);
  CHECK_INT(case_end(e, SAROS_E_CANCELLED), SAROS_E_CANCELLED);
  pthread_join(thread, NULL);
  saros_op_unref(running);
  engine_release();
}

/* Whoever made it is killed, it goes on, and who comes after waits for it. */
TEST(a_program_that_outlives_its_maker) {
  char script[2500], go[700], begun[700], ended[700];
  snprintf(go, sizeof go, "%s", volumes_in("go"));
  snprintf(begun, sizeof begun, "%s", volumes_in("it-began"));
  snprintf(ended, sizeof ended, "%s", volumes_in("it-ended"));
  CHECK_INT(mkfifo(go, 0600), 0);
  snprintf(script, sizeof script, "touch '%s'; read line <'%s'; touch '%s'",
           begun, go, ended);
  int place = open(volumes_scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fflush(stdout);
  pid_t maker = fork();
  if (maker == 0) {
    int lock;
    if (tool_lock(place, "lock", 1, &lock) != NULL) _exit(1);
    const char *argv[] = {"sh", "-c", script, NULL};
    tool_call call = {.argv = argv, .lock = lock, .seconds = 600};
    tool_run(&call, NULL);
    _exit(0);
  }
  while (access(begun, F_OK) != 0) usleep(1000);
  kill(maker, SIGKILL);
  CHECK_INT(waitpid(maker, NULL, 0), maker);
  int lock = -1;
  CHECK(case_says(tool_lock(place, "lock", 0, &lock), SAROS_E_LOCKED,
                  "still runs"));
  CHECK(access(ended, F_OK) != 0);
  int fd = open(go, O_WRONLY | O_CLOEXEC);
  CHECK_INT(write(fd, "go\n", 3), 3);
  close(fd);
  DONE(tool_lock(place, "lock", 60, &lock));
  CHECK(access(ended, F_OK) == 0);
  close(lock);
  close(place);
}

static void all(void) {
  RUN(what_a_program_says);
  RUN(a_program_that_leaves_one);
  RUN(a_program_that_takes_too_long);
  RUN(a_program_that_is_cancelled);
  RUN(a_program_that_outlives_its_maker);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
