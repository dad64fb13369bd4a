/*
** provider image: deaths at any point, memory that runs out, a cancel.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "image_case.h"
#include "test_base_sweep.h"

/* ------------------------------------------------------------------
** Deaths, memory, a cancel
** ---------------------------------------------------------------- */

static void take(void) {
  shadow *s = case_shadow(&provider_image, disk->path);
  shadow_free(s);
}

static void take_away(void) {
  DONE(case_destroy(&provider_image));
}

/* A dead process leaves its file system frozen: what the guard is for. */
static void thaw(void) {
  int fd = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ioctl(fd, FITHAW, 0);
  close(fd);
}

TEST(dies_while_it_is_made) {
  for (int i = 0; i < KINDS; i++) {
    int n = 1;
    if (!begin_on(i)) SKIP(volumes_missing);
    volumes_run("rm -f '%s'", volumes_in("record.json"));
    snprintf(case_file, sizeof case_file, "%s", volumes_in("record.json"));
    for (; n < 50; n++) {
      bool whole = case_dies_at(n, take);
      thaw();
      DONE(case_destroy(&provider_image));
      DONE(case_destroy(&provider_image));
      nothing_left();
      if (whole) break;
    }
#ifdef SAROS_TEST
    CHECK(n >= 10);
#endif
  }
}

TEST(dies_while_it_is_taken_away) {
  int n = 1;
  if (!begin()) SKIP(volumes_missing);
  for (; n < 50; n++) {
    take();
    bool whole = case_dies_at(n, take_away);
    DONE(case_destroy(&provider_image));
    nothing_left();
    if (whole) break;
  }
#ifdef SAROS_TEST
  CHECK(n >= 5);
#endif
}

static bool take_once(void) {
  error *e = NULL;
  shadow *s = case_plan(&provider_image, disk->path, &e);
  if (s != NULL) e = case_take(s);
  if (e == NULL) e = case_verify(&provider_image);
  bool good = e == NULL;
  if (!good && e->code != SAROS_E_OUTOFMEMORY)
    CHECK_INT(case_end(e, SAROS_E_OUTOFMEMORY), SAROS_E_OUTOFMEMORY);
  else
    error_unref(e);
  if (s != NULL) {
    provider_image.forget(s);
    mem_fail_at(0);
    DONE(provider_image.destroy(s->keep, NULL));
  }
  shadow_free(s);
  return good;
}

TEST(memory_runs_out) {
  if (!begin()) SKIP(volumes_missing);
  SWEEP(take_once, 120);
  nothing_left();
}

static const saros_kind kind = {
    .size = sizeof kind, .name = "test.shadow", .flags = SAROS_CANCELLABLE};

TEST(cancelled) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  saros_op *op = saros_op_new(&kind, NULL, NULL);
  CHECK(op != NULL);
  shadow *s = case_plan(&provider_image, disk->path, &e);
  DONE(e);
  CHECK(op_begin(op, SAROS_RUNNING) == 0);
  CHECK_INT(op_try_cancel(op), CANCEL_DONE);
  CHECK_INT(case_end(provider_image.prepare(s, op), SAROS_E_CANCELLED),
            SAROS_E_CANCELLED);
  case_drop(s);
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
  saros_op_unref(op);
  nothing_left();
}

static void all(void) {
  RUN(dies_while_it_is_made);
  RUN(dies_while_it_is_taken_away);
  RUN(memory_runs_out);
  RUN(cancelled);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
