/*
** What the tests of a session's life share: a provider and a writer whose every
** step waits at a gate, and sessions that have come so far.
*/
#ifndef SAROS_SESSION_CASE_H
#define SAROS_SESSION_CASE_H

#include <errno.h>
#include <sys/wait.h>

#include "base/json.h"
#include "shoot_case.h"

/* ------------------------------------------------------------------
** A gate that every step of a backup passes
** ---------------------------------------------------------------- */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  const char *at; /* the line that waits, or NULL */
  bool reached, open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* On a provider's worker it waits; a writer's answer is LATE instead. */
static inline void gate_close_at(const char *line) {
  pthread_mutex_lock(&gate.lock);
  gate.at = line;
  gate.reached = gate.open = false;
  pthread_mutex_unlock(&gate.lock);
}

static inline void gate_open(void) {
  pthread_mutex_lock(&gate.lock);
  gate.open = true;
  gate.at = NULL;
  pthread_cond_broadcast(&gate.moved);
  pthread_mutex_unlock(&gate.lock);
}

static inline void gate_reach(void) {
  pthread_mutex_lock(&gate.lock);
  while (!gate.reached) pthread_cond_wait(&gate.moved, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

static inline void gate_pass(const char *line) {
  pthread_mutex_lock(&gate.lock);
  if (gate.at != NULL && strcmp(gate.at, line) == 0) {
    gate.reached = true;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open) pthread_cond_wait(&gate.moved, &gate.lock);
  }
  pthread_mutex_unlock(&gate.lock);
}

static inline error *gated_commit(shadow *s) {
  gate_pass("provider commit");
  return test_commit(s);
}

static inline error *gated_finish(shadow *s, saros_op *op) {
  gate_pass("provider finish");
  return test_finish(s, op);
}

static inline error *gated_verify(const value *keep) {
  (void)keep;
  gate_pass("provider verify");
  return NULL;
}

static inline error *gated_destroy(const value *keep, saros_op *op) {
  gate_pass("provider destroy");
  return test_destroy(keep, op);
}

static provider gated_provider;

/* A writer whose answers wait for the test. */
static saros_op *held_answer;
static const char *hold_event;

static inline saros_op *gated_tell(writer_link *link, const writer_call *call,
                                   error **e) {
  writer *w = (writer *)link;
  const char *event = writer_event_name(call->event);
  if (hold_event == NULL || strcmp(hold_event, event) != 0)
    return test_tell(link, call, e);
  step(w->name, event);
  told *t = calloc(1, sizeof *t);
  saros_op *op = saros_op_new(&told_kind, t, NULL);
  saros_op_start(op);
  if (call->event == EVENT_IDENTIFY) op_set_output(op, test_metadata(w));
  pthread_mutex_lock(&gate.lock);
  held_answer = saros_op_ref(op);
  gate.reached = true;
  pthread_cond_broadcast(&gate.moved);
  pthread_mutex_unlock(&gate.lock);
  return op;
}

static inline void hold_answer_of(const char *event) {
  gate_close_at(NULL);
  hold_event = event;
}

static inline void answer(void) {
  hold_event = NULL;
  saros_op_finish(held_answer, SAROS_S_OK, NULL);
  saros_op_unref(held_answer);
  held_answer = NULL;
}

/* Why the gated writer is not there any more, or NULL. */
static error *gone;
static inline error *is_alive(writer_link *link) {
  (void)link;
  return gone != NULL ? error_ref(gone) : NULL;
}

static writer_way gated_way;

static inline writer *gated_writer(void) {
  error *e = NULL;
  writer *w = writer_make(&gated_way, "00000001-1111-4111-8111-111111111111",
                          NULL, "one", (void *)(uintptr_t) "front_end", &e);
  CHECK(w != NULL && writer_subscribe(w) == NULL);
  return w;
}

static inline session *opened(double seconds) {
  error *e = NULL;
  value *o = shoot_options(NULL, seconds);
  session *s = session_open(o, &e);
  CHECK(s != NULL);
  value_free(o);
  return s;
}

static inline saros_op *begin(session *s, const char *name) {
  error *e = NULL;
  saros_op *op = session_begin(s, name, NULL, &e);
  CHECK(op != NULL);
  if (e != NULL) printf("%s: %s\n", name, e->message);
  error_unref(e);
  return op;
}

static inline uint32_t status(saros_op *op) {
  uint32_t hr = 0xDEADBEEF;
  CHECK_INT(saros_vss_query_status(op, &hr, NULL), SAROS_S_OK);
  return hr;
}

static inline uint32_t ended(saros_op *op) {
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  uint32_t hr = status(op);
  saros_op_unref(op);
  return hr;
}

/* Prepared: only do_snapshot_set is left. */
static inline session *prepared(double seconds) {
  session *s = opened(seconds);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", NULL), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(call(s, "prepare_for_backup", NULL), 0);
  return s;
}

static inline char *document_of(session *s, size_t *size) {
  error *e = NULL;
  value *text = NULL;
  e = session_now(s, "save", NULL, &text);
  CHECK(e == NULL && text != NULL);
  char *copy = text != NULL
                   ? mem_bytes(text->as.string.data, text->as.string.size)
                   : NULL;
  *size = text != NULL ? text->as.string.size : 0;
  value_free(text);
  error_unref(e);
  return copy;
}

static inline value *with_document(const char *text, size_t size) {
  value *args = value_map();
  value_put(args, "document", value_string(text, size));
  return args;
}


/* Begins, runs the tests, and ends. */
static inline int session_main(int argc, char **argv, void (*all)(void)) {
  gate_begin(argc, argv);
  shoot_open();
  gated_provider = traced;
  gated_provider.commit = gated_commit;
  gated_provider.finish = gated_finish;
  gated_provider.verify = gated_verify;
  gated_provider.destroy = gated_destroy;
  provider_test = &gated_provider;
  gated_way = test_way;
  gated_way.tell = gated_tell;
  gated_way.alive = is_alive;
  gated_way.asked = true;
  latecomer_open();
  all();
  shoot_end();
  latecomer_close();
  return check_end();
}

#endif
