/*
** The assertions about IVssAsync with the real service: each of the eight
** methods hands out an operation that is pending while its work waits at a
** gate, and finished after; it fails with codes of its documented list alone;
** what answers too late changes nothing.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "session_case.h"

/* ------------------------------------------------------------------
** The eight
** ---------------------------------------------------------------- */

/* Pending at the gate of the writer's answer, finished behind it. */
static void pends_at(session *s, const char *method, const char *event) {
  hold_answer_of(event);
  saros_op *op = begin(s, method);
  gate_reach();
  CHECK_INT(status(op), VSS_S_ASYNC_PENDING);
  CHECK_INT(session_method(method), METHOD_ASYNC);
  answer();
  CHECK_INT(ended(op), VSS_S_ASYNC_FINISHED);
}

TEST(a53_a54_a55_a56_a59_of_a_backup) {
  trace_begin(0, NO_HARM);
  writer *w = gated_writer();
  session *s = opened(60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", NULL), 0);
  pends_at(s, "gather_writer_metadata", "identify");
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  pends_at(s, "prepare_for_backup", "prepare_backup");
  gate_close_at("provider commit");
  saros_op *op = begin(s, "do_snapshot_set");
  gate_reach();
  CHECK_INT(status(op), VSS_S_ASYNC_PENDING);
  gate_open();
  CHECK_INT(ended(op), VSS_S_ASYNC_FINISHED);
  pends_at(s, "gather_writer_status", "identify"); /* of this way it is asked */
  pends_at(s, "backup_complete", "backup_complete");
  finish(s);
  test_writer_gone(w);
  asked_forget();
}

TEST(a58_a60_of_a_restore) {
  size_t size = 0;
  trace_begin(0, NO_HARM);
  writer *w = gated_writer();
  session *s = prepared(60);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  char *text = document_of(s, &size);
  finish(s);
  s = opened(60);
  CHECK_INT(call(s, "initialize_for_restore", with_document(text, size)), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0);
  value *which = texts("writer", "one");
  value_put(which, "component", value_text("main"));
  CHECK_INT(call(s, "set_selected_for_restore", which), 0);
  pends_at(s, "pre_restore", "pre_restore");
  pends_at(s, "post_restore", "post_restore");
  /* A restore gives back the backup's document, to the letter. */
  size_t again = 0;
  char *same = document_of(s, &again);
  CHECK(again == size && memcmp(same, text, size) == 0);
  mem_free(same);
  finish(s);
  mem_free(text);
  test_writer_gone(w);
  asked_forget();
}

TEST(a57_of_an_import) {
  size_t size = 0;
  trace_begin(0, NO_HARM);
  session *s = opened(60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_context", texts("context", "nas_rollback")), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  char *text = document_of(s, &size);
  finish(s);
  CHECK_INT(shoot_records(), 1); /* it persists */
  s = opened(60);
  CHECK_INT(call(s, "initialize_for_backup", with_document(text, size)), 0);
  gate_close_at("provider verify");
  saros_op *op = begin(s, "import_snapshots");
  CHECK_INT(session_method("import_snapshots"), METHOD_ASYNC);
  gate_reach();
  CHECK_INT(status(op), VSS_S_ASYNC_PENDING);
  gate_open();
  CHECK_INT(ended(op), VSS_S_ASYNC_FINISHED);
  /* Once: and that is said with a code of its own list. */
  CHECK_INT(call(s, "import_snapshots", NULL), VSS_E_NO_SNAPSHOTS_IMPORTED);
  value *set = value_map(), *doc = NULL;
  error *e = NULL;
  doc = json_read(text, size, NULL, &e);
  value_put(set, "id", value_copy(value_get(doc, "set")));
  value_put(set, "set", value_bool(true));
  value_free(doc);
  CHECK_INT(call(s, "delete_snapshots", set), 0);
  CHECK_INT(shoot_records(), 0);
  finish(s);
  mem_free(text);
}


/* ------------------------------------------------------------------
** Codes
** ---------------------------------------------------------------- */

/* What somebody below comes up with, whatever it is. */
static uint32_t strange;

static error *strange_plan(shadow *s) {
  (void)s;
  return vss_error(strange, "something strange");
}

TEST(a10_only_listed_codes_of_do_snapshot_set) {
  static const struct {
    uint32_t code, expected;
  } cases[] = {
      {SAROS_E_ACCESSDENIED, SAROS_E_ACCESSDENIED},
      {SAROS_E_OUTOFMEMORY, SAROS_E_OUTOFMEMORY},
      {VSS_E_INSUFFICIENT_STORAGE, VSS_E_INSUFFICIENT_STORAGE},
      {VSS_E_PROVIDER_VETO, VSS_E_PROVIDER_VETO},
      {VSS_E_HOLD_WRITES_TIMEOUT, VSS_E_HOLD_WRITES_TIMEOUT},
      {VSS_E_FLUSH_WRITES_TIMEOUT, VSS_E_FLUSH_WRITES_TIMEOUT},
      {VSS_E_VOLUME_IN_USE, VSS_E_PROVIDER_VETO},
      {VSS_E_OBJECT_NOT_FOUND, VSS_E_PROVIDER_VETO},
      {SAROS_E_REFUSED, VSS_E_PROVIDER_VETO},
      {SAROS_E_CHANGED, VSS_E_PROVIDER_VETO},
      {SAROS_E_DAMAGED, VSS_E_UNEXPECTED_PROVIDER_ERROR},
      {0x80070002, VSS_E_UNEXPECTED_PROVIDER_ERROR},
      {VSS_S_ASYNC_PENDING | 0x80000000u, VSS_E_UNEXPECTED_PROVIDER_ERROR}};
  gated_provider.plan = strange_plan;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    trace_begin(0, NO_HARM);
    strange = cases[i].code;
    session *s = prepared(60);
    saros_op *op = begin(s, "do_snapshot_set");
    CHECK(saros_op_wait(op, GATE_BOUND_MS));
    CHECK_INT(status(op), cases[i].expected);
    error *e = op_error(op); /* what it was is not lost */
    CHECK(e != NULL && strstr(e->message, "strange") != NULL);
    if (e != NULL && cases[i].expected != strange)
      CHECK(e->cause != NULL && e->cause->code == strange);
    error_unref(e);
    saros_op_unref(op);
    finish(s);
  }
  gated_provider.plan = test_plan;
}

/* A state directory that is somebody else's. */
TEST(a10_only_listed_codes_of_the_others) {
  error *e = NULL;
  FILE *f = fopen(shoot_path("file"), "w");
  if (f != NULL) fclose(f);
  value *o = texts("state_dir", shoot_path("file"));
  session *s = session_open(o, &e);
  value_free(o);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  uint32_t code = call(s, "gather_writer_metadata", NULL);
  CHECK(code == VSS_E_WRITER_INFRASTRUCTURE || code == SAROS_E_ACCESSDENIED);
  CHECK_INT(call(s, "query_revert_status", texts("volume", "/")),
            VSS_E_OBJECT_NOT_FOUND);
  finish(s);
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  s = opened(60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", NULL), 0);
  value *require = value_map(), *list = value_list();
  value_add(list, value_text("nobody"));
  value_put(require, "require", list);
  CHECK_INT(call(s, "gather_writer_metadata", require),
            VSS_E_WRITER_INFRASTRUCTURE);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0); /* unharmed */
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  trace_begin(1, FAIL);
  CHECK_INT(call(s, "prepare_for_backup", NULL), VSS_E_UNEXPECTED_WRITER_ERROR);
  finish(s);
  CHECK(line_of("one abort") > 0); /* it was told of a backup, and of its end */
  test_writer_gone(w);
  asked_forget();
}


/* ------------------------------------------------------------------
** Who answers too late
** ---------------------------------------------------------------- */

/* It was given up, and answers only afterwards: the veto stays one. */
static void late(const char *method, const char *event, uint32_t code) {
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = opened(0.05);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", NULL), 0);
  uint32_t c = 0;
  static const char *const order[] = {"gather_writer_metadata",
                                      "start_snapshot_set", NULL,
                                      "prepare_for_backup", "do_snapshot_set"};
  for (int i = 0; i < 5 && c == 0; i++) {
    if (order[i] == NULL) {
      c = add(s, "a", "traced");
      continue;
    }
    if (strcmp(order[i], method) == 0) {
      int lines = trace.count;
      pthread_mutex_lock(&trace.lock);
      trace.at = lines + 1;
      trace.what = LATE;
      pthread_mutex_unlock(&trace.lock);
    }
    c = call(s, order[i], NULL);
  }
  CHECK(line_of(event) > 0);
  CHECK_INT(c, code);
  finish(s);
  test_writer_gone(w);
  asked_forget();
}

TEST(a_late_answer_is_none) {
  late("gather_writer_metadata", "one identify", 0); /* it is left out */
  CHECK_INT(line_of("one prepare_backup"), 0);
  late("prepare_for_backup", "one prepare_backup",
       VSS_E_UNEXPECTED_WRITER_ERROR);
  CHECK(line_of("one abort") > 0);
  late("do_snapshot_set", "one prepare_snapshot",
       VSS_E_UNEXPECTED_WRITER_ERROR);
  CHECK_INT(shoot_records(), 0);
}


static void all(void) {
  GATE_RUN(a53_a54_a55_a56_a59_of_a_backup);
  GATE_RUN(a58_a60_of_a_restore);
  GATE_RUN(a57_of_an_import);
  GATE_RUN(a10_only_listed_codes_of_do_snapshot_set);
  GATE_RUN(a10_only_listed_codes_of_the_others);
  GATE_RUN(a_late_answer_is_none);
}

int main(int argc, char **argv) {
  return session_main(argc, argv, all);
}
