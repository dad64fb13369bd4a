/*
** Taking away what dead owners left, as an operation of its own.
*/
#include "vss/reap.h"

#include "vss/record.h"

static error *reap(saros_op *op, const char *state_dir, value **report) {
  error *e = NULL;
  places *p = places_open(state_dir, &e);
  if (p == NULL) return e;
  e = shadows_reap(p, op, report);
  places_unref(p);
  return e;
}

static uint32_t run(saros_op *op, void *self) {
  value *report = NULL;
  error *e = reap(op, self, &report);
  if (report != NULL) op_set_output(op, report);
  if (e == NULL) return SAROS_S_OK;
  uint32_t code = e->code;
  op_end_error(op, code, e);
  return code;
}

static void release(void *self) {
  mem_free(self);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.reap",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE | SAROS_RUN_LANE,
                                .run = run,
                                .release = release};

saros_op *reap_start(const char *state_dir, error **e) {
  char *copy = mem_text(state_dir);
  saros_op *op = NULL;
  if (copy != NULL || state_dir == NULL) op = saros_op_new(&kind, copy, NULL);
  if (op == NULL) {
    mem_free(copy);
    *e = error_no_memory();
    return NULL;
  }
  uint32_t why = saros_op_start(op);
  if (why == 0) return op;
  *e = vss_error(why, "no worker could be had to look for what was left");
  saros_op_unref(op);
  return NULL;
}
