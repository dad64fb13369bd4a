/*
** A set that is given up while its freeze is rehearsed: it is cancelled, or its
** time is up, and the kernel has the file system in its hands. Everything of
** the hold is there until that is thawed again, and only then do the writers
** hear the end.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "shoot_case.h"
#include "volumes.h"
#include "vss/hold.h"

static struct {
  _Atomic int rehearsed, ended; /* file systems */
  _Atomic bool told_early;
  bool cancels;
} seen;

static bool heard(const char *line) {
  pthread_mutex_lock(&trace.lock);
  bool is = line_of(line) != 0;
  pthread_mutex_unlock(&trace.lock);
  return is;
}

/* The engine has been round so often: whatever was to be done at once is. */
static void engine_turns(int count) {
  for (int i = 0; i < count; i++) {
    saros_op *op = saros_sleep(0);
    if (op == NULL) continue;
    saros_op_wait(op, GATE_BOUND_MS);
    saros_op_unref(op);
  }
}

static saros_op *running(void) {
  pthread_mutex_lock(&trace.lock);
  saros_op *op = trace.op != NULL ? saros_op_ref(trace.op) : NULL;
  pthread_mutex_unlock(&trace.lock);
  return op;
}

/* It has decided how it ends, and goes back. */
static bool is_ending(saros_op *op) {
  return saros_op_state(op) >= SAROS_SUCCEEDED;
}

static void hold_up(const char *path, hold_moment moment) {
  (void)path;
  if (moment == MOMENT_REHEARSAL_ENDS) atomic_fetch_add(&seen.ended, 1);
  if (moment != MOMENT_REHEARSED) return;
  saros_op *op = running();
  for (; op == NULL; op = running()) gate_nap(); /* it has just begun */
  atomic_fetch_add(&seen.rehearsed, 1);
  if (seen.cancels) saros_op_cancel(op);
  GATE_UNTIL(is_ending(op));
  engine_turns(20);
  if (heard("one abort")) atomic_store(&seen.told_early, true);
  saros_op_unref(op);
}

static bool is_frozen(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int r = ioctl(fd, FIFREEZE, 0) == 0 ? 0 : errno;
  if (r == 0) ioctl(fd, FITHAW, 0);
  close(fd);
  return r == EBUSY;
}

/* Whether it was rehearsed before so many seconds were over. */
static bool given_up(const volume *v, bool cancels, double limit) {
  error *e = NULL;
  writer *w = test_writer(1, "one", "front_end");
  value *o = shoot_options(NULL, 60);
  if (!cancels)
    value_put((value *)(uintptr_t)value_get(o, "timeouts"), "hold",
              value_real(limit));
  session *s = session_open(o, &e);
  value_free(o);
  CHECK(s != NULL);
  trace_begin(0, NO_HARM);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", NULL), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  value *args = texts("path", v->path);
  value_put(args, "provider", value_text("image"));
  CHECK_INT(call(s, "add_to_snapshot_set", args), 0);
  CHECK_INT(call(s, "prepare_for_backup", NULL), 0);
  atomic_store(&seen.rehearsed, 0);
  atomic_store(&seen.ended, 0);
  atomic_store(&seen.told_early, false);
  seen.cancels = cancels;
  hold_hook = hold_up;
  uint32_t code = call(s, "do_snapshot_set", NULL);
  hold_hook = (void (*)(const char *, hold_moment))0;
  CHECK_INT(code, cancels ? SAROS_E_CANCELLED : VSS_E_FLUSH_WRITES_TIMEOUT);
  bool rehearsed = atomic_load(&seen.rehearsed) > 0;
  if (rehearsed) {
    CHECK_INT(atomic_load(&seen.rehearsed), 1);
    CHECK_INT(atomic_load(&seen.ended), 1);
  }
  CHECK(!atomic_load(&seen.told_early));
  CHECK(heard("one abort") && !heard("one freeze"));
  CHECK(!is_frozen(v->path));
  CHECK_INT(gate_entries(shoot_path("state/run/frozen")), 0);
  finish(s);
  CHECK_INT(shoot_records(), 0);
  test_writer_gone(w);
  asked_forget();
  shoot_end();
  return rehearsed;
}

TEST(cancelled_while_it_is_rehearsed) {
  const volume *v = volumes_get(EXT4_ON_XFS);
  if (v == NULL) SKIP(volumes_missing);
  CHECK(given_up(v, true, 60));
}

/* A slow disk needs more time to be frozen at all. */
TEST(out_of_time_while_it_is_rehearsed) {
  const volume *v = volumes_get(EXT4_ON_XFS);
  if (v == NULL) SKIP(volumes_missing);
  double limit = 0.2;
  while (!given_up(v, false, limit) && limit < 30) limit *= 2;
  CHECK(limit < 30);
}

static void all(void) {
  if (getuid() != 0) {
    printf("SKIPPED all: freezing and mounting need root\n");
    check_skipped++;
    return;
  }
  shoot_open();
  RUN(cancelled_while_it_is_rehearsed);
  RUN(out_of_time_while_it_is_rehearsed);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
