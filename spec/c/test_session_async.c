/*
** The assertions about IVssAsync with the real service: each of the eight
** methods hands out an operation that is pending while its work waits at a
** gate, and finished after; it fails with codes of its documented list alone.
** And how a session lives: what runs is seen through by who closes, aborts or
** drops it, what answers too late changes nothing, nothing is left.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
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
static void gate_close_at(const char *line) {
  pthread_mutex_lock(&gate.lock);
  gate.at = line;
  gate.reached = gate.open = false;
  pthread_mutex_unlock(&gate.lock);
}

static void gate_open(void) {
  pthread_mutex_lock(&gate.lock);
  gate.open = true;
  gate.at = NULL;
  pthread_cond_broadcast(&gate.moved);
  pthread_mutex_unlock(&gate.lock);
}

static void gate_reach(void) {
  pthread_mutex_lock(&gate.lock);
  while (!gate.reached) pthread_cond_wait(&gate.moved, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

static void gate_pass(const char *line) {
  pthread_mutex_lock(&gate.lock);
  if (gate.at != NULL && strcmp(gate.at, line) == 0) {
    gate.reached = true;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open) pthread_cond_wait(&gate.moved, &gate.lock);
  }
  pthread_mutex_unlock(&gate.lock);
}

static error *gated_commit(shadow *s) {
  gate_pass("provider commit");
  return test_commit(s);
}

static error *gated_finish(shadow *s, saros_op *op) {
  gate_pass("provider finish");
  return test_finish(s, op);
}

static error *gated_verify(const value *keep) {
  (void)keep;
  gate_pass("provider verify");
  return NULL;
}

static error *gated_destroy(const value *keep, saros_op *op) {
  gate_pass("provider destroy");
  return test_destroy(keep, op);
}

static provider gated_provider;

/* A writer whose answers wait for the test. */
static saros_op *held_answer;
static const char *hold_event;

static saros_op *gated_tell(writer_link *link, const writer_call *call,
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

static void hold_answer_of(const char *event) {
  gate_close_at(NULL);
  hold_event = event;
}

static void answer(void) {
  hold_event = NULL;
  saros_op_finish(held_answer, SAROS_S_OK, NULL);
  saros_op_unref(held_answer);
  held_answer = NULL;
}

static writer_way gated_way;

static writer *gated_writer(void) {
  error *e = NULL;
  writer *w = writer_make(&gated_way, "00000001-1111-4111-8111-111111111111",
                          NULL, "one", (void *)(uintptr_t) "front_end", &e);
  CHECK(w != NULL && writer_subscribe(w) == NULL);
  return w;
}

static session *opened(double seconds) {
  error *e = NULL;
  value *o = shoot_options(NULL, seconds);
  session *s = session_open(o, &e);
  CHECK(s != NULL);
  value_free(o);
  return s;
}

static saros_op *begin(session *s, const char *name) {
  error *e = NULL;
  saros_op *op = session_begin(s, name, NULL, &e);
  CHECK(op != NULL);
  if (e != NULL) printf("%s: %s\n", name, e->message);
  error_unref(e);
  return op;
}

static uint32_t status(saros_op *op) {
  uint32_t hr = 0xDEADBEEF;
  CHECK_INT(saros_vss_query_status(op, &hr, NULL), SAROS_S_OK);
  return hr;
}

static uint32_t ended(saros_op *op) {
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  uint32_t hr = status(op);
  saros_op_unref(op);
  return hr;
}

/* Prepared: only do_snapshot_set is left. */
static session *prepared(double seconds) {
  session *s = opened(seconds);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", NULL), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(call(s, "prepare_for_backup", NULL), 0);
  return s;
}

static char *document_of(session *s, size_t *size) {
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

static value *with_document(const char *text, size_t size) {
  value *args = value_map();
  value_put(args, "document", value_string(text, size));
  return args;
}


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


/* ------------------------------------------------------------------
** Who ends it
** ---------------------------------------------------------------- */

static session *at_commit(saros_op **op) {
  session *s = prepared(60);
  gate_close_at("provider commit");
  *op = begin(s, "do_snapshot_set");
  gate_reach();
  return s;
}

/* Everybody's end was told, and nothing is left. */
static void nothing_left(void) {
  CHECK(line_of("one thaw") == 0 && line_of("one abort") > 0);
  CHECK(line_of("provider destroy") > line_of("one abort"));
  CHECK_INT(shoot_records(), 0);
}

TEST(closed_while_the_set_is_taken) {
  saros_op *op;
  error *e = NULL;
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = at_commit(&op);
  CHECK_INT(call(s, "writers", NULL), VSS_E_BAD_STATE); /* it runs */
  saros_op *close = session_close(s, &e);
  GATE_UNTIL(status(op) == VSS_S_ASYNC_CANCELLED);
  CHECK(!op_is_over(op) && !op_is_over(close)); /* a commit still runs */
  gate_open();
  CHECK(saros_op_wait(close, GATE_BOUND_MS));
  CHECK(op_is_over(op));
  CHECK_INT(ended(op), VSS_S_ASYNC_CANCELLED);
  nothing_left();
  CHECK(line_of("one backup_shutdown") > 0);
  saros_op_unref(close);
  session_drop(s);
  test_writer_gone(w);
  asked_forget();
}

TEST(dropped_while_the_set_is_taken) {
  saros_op *op;
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = at_commit(&op);
  session_drop(s); /* nobody has it any more */
  GATE_UNTIL(status(op) == VSS_S_ASYNC_CANCELLED);
  gate_open();
  CHECK_INT(ended(op), VSS_S_ASYNC_CANCELLED);
  GATE_UNTIL(engine_users() == 0);
  nothing_left();
  test_writer_gone(w);
  asked_forget();
}

TEST(aborted_while_the_set_is_taken) {
  saros_op *op;
  error *e = NULL;
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = at_commit(&op);
  saros_op *one = begin(s, "abort_backup"), *two = begin(s, "abort_backup");
  GATE_UNTIL(status(op) == VSS_S_ASYNC_CANCELLED);
  CHECK(!op_is_over(one) && !op_is_over(two));
  value *result = NULL;
  e = session_now(s, "save", NULL, &result); /* not beside an abort */
  CHECK(e != NULL && e->code == VSS_E_BAD_STATE);
  error_unref(e);
  gate_open();
  CHECK_INT(ended(two), VSS_S_ASYNC_FINISHED);
  CHECK_INT(ended(one), VSS_S_ASYNC_FINISHED);
  CHECK_INT(ended(op), VSS_S_ASYNC_CANCELLED);
  nothing_left();
  /* The lock is free: the next one may begin. */
  session *next = prepared(60);
  CHECK_INT(call(s, "start_snapshot_set", NULL), VSS_E_BAD_STATE);
  finish(next);
  finish(s);
  int aborts = 0;
  for (int i = 0; i < trace.count; i++)
    aborts += strcmp(trace.lines[i], "one abort") == 0;
  CHECK_INT(aborts, 2); /* one of each backup */
  test_writer_gone(w);
  asked_forget();
}

/* From the very end on there is nothing to cancel; a commit before that is. */
TEST(cancelled_behind_the_point_of_no_return) {
  trace_begin(0, NO_HARM);
  session *s = prepared(60);
  gate_close_at("provider finish");
  saros_op *op = begin(s, "do_snapshot_set");
  gate_reach();
  CHECK_INT(saros_vss_cancel(op), SAROS_S_OK);
  CHECK_INT(saros_vss_cancel(op), VSS_S_ASYNC_CANCELLED);
  gate_open();
  CHECK_INT(ended(op), VSS_S_ASYNC_CANCELLED);
  CHECK_INT(shoot_records(), 0);
  finish(s);
  s = prepared(60);
  op = begin(s, "do_snapshot_set");
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_vss_cancel(op), VSS_S_ASYNC_FINISHED);
  CHECK_INT(ended(op), VSS_S_ASYNC_FINISHED);
  CHECK_INT(shoot_records(), 1);
  finish(s);
  CHECK_INT(shoot_records(), 0);
}


/* ------------------------------------------------------------------
** Smaller things
** ---------------------------------------------------------------- */

TEST(a_context_without_writers_tells_nobody) {
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = opened(60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_context", texts("context", "file_share_backup")), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0); /* it may ask */
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  finish(s);
  CHECK(line_of("one identify") > 0 && line_of("one prepare_snapshot") == 0);
  CHECK(line_of("one freeze") == 0 && line_of("one post_snapshot") == 0);
  test_writer_gone(w);
  asked_forget();
}

TEST(the_65th_member) {
  trace_begin(0, NO_HARM);
  session *s = opened(60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_context", texts("context", "file_share_backup")), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  char name[40];
  for (int i = 0; i <= VOLUMES_MOST; i++) {
    snprintf(name, sizeof name, "m%d", i);
    mkdir(shoot_path(name), 0755);
    CHECK_INT(add(s, name, "traced"),
              i < VOLUMES_MOST ? 0 : VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED);
  }
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  CHECK_INT(shoot_records(), VOLUMES_MOST);
  finish(s);
  CHECK_INT(shoot_records(), 0);
}

/* An administrator is deleting what the closing is about to: that waits for
   him, and has nothing to say of it. */
TEST(deleted_by_two) {
  error *e = NULL;
  trace_begin(0, NO_HARM);
  session *s = prepared(60), *other = opened(60);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  CHECK_INT(call(other, "initialize_for_backup", NULL), 0);
  size_t size = 0;
  char *text = document_of(s, &size);
  value *doc = json_read(text, size, NULL, &e), *args = value_map();
  value_put(args, "id", value_copy(value_get(doc, "set")));
  value_put(args, "set", value_bool(true));
  gate_close_at("provider destroy");
  saros_op *deletion = session_begin(other, "delete_snapshots", args, &e);
  gate_reach();
  saros_op *close = session_close(s, &e);
  CHECK(!saros_op_wait(close, 200)); /* it is still his */
  gate_open();
  CHECK(saros_op_wait(close, GATE_BOUND_MS));
  CHECK_INT(ended(deletion), VSS_S_ASYNC_FINISHED);
  value *end = op_status(close);
  CHECK(end != NULL && value_get(end, "cleanup") == NULL);
  value_free(end);
  saros_op_unref(close);
  CHECK_INT(line_of("provider destroy"), last_of("provider destroy"));
  CHECK_INT(shoot_records(), 0);
  session_drop(s);
  finish(other);
  value_free(args);
  value_free(doc);
  mem_free(text);
}

static error *gone;
static error *is_alive(writer_link *link) {
  (void)link;
  return gone != NULL ? error_ref(gone) : NULL;
}

/* GatherWriterStatus sees who is not there any more. */
TEST(the_status_of_the_dead) {
  trace_begin(0, NO_HARM);
  writer *w = gated_writer();
  session *s = prepared(60);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  gone = vss_error(VSS_E_WRITER_NOT_RESPONDING, "it hung up");
  CHECK_INT(call(s, "gather_writer_status", NULL), 0);
  value *list = NULL;
  error *e = session_now(s, "writer_status", NULL, &list);
  CHECK(e == NULL && list != NULL && list->count == 1);
  const value *one = list != NULL ? list->as.items[0] : NULL;
  CHECK_INT(value_integer(value_get(one, "failure"), 0),
            VSS_E_WRITER_NOT_RESPONDING);
  CHECK_INT(value_integer(value_get(one, "state"), -1), WRITER_UNKNOWN);
  value_free(list);
  error_unref(gone);
  gone = NULL;
  finish(s);
  test_writer_gone(w);
  asked_forget();
}

/* The session, its operations and what hangs on them are freed, each whoever
   lets go of it last. */
static void once_through(int which) {
  error *e = NULL;
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = prepared(60);
  saros_op *op = begin(s, "do_snapshot_set"), *close = NULL;
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  if (which == 0) session_drop(s);
  if (which == 1) close = session_close(s, &e);
  if (which == 1) session_drop(s);
  if (which == 2) finish(s);
  if (which == 3) CHECK_INT(call(s, "abort_backup", NULL), 0);
  if (which == 3) finish(s);
  if (close != NULL) saros_op_unref(close);
  saros_op_unref(op);
  GATE_UNTIL(engine_users() == 0);
  test_writer_gone(w);
  asked_forget();
}

TEST(nothing_of_a_session_is_left) {
  shoot_end();
  gate_counts before = gate_count();
  for (int which = 0; which < 4; which++) {
    once_through(which);
    GATE_UNTIL(mem_blocks() == before.blocks);
    thread_join_left();
    CHECK(gate_back_to(before));
    CHECK_INT(shoot_records(), 0);
  }
}

/* In a child of a fork nothing of it answers, nothing hangs, and what the
   parent has made stays. */
static int in_the_child(session *s, saros_op *op) {
  error *e = NULL;
  int bad = 0;
  value *result = NULL;
  e = session_now(s, "save", NULL, &result);
  bad += e == NULL || e->code != SAROS_E_FORKED;
  error_unref(e);
  saros_op *none = session_begin(s, "query", NULL, &e);
  bad += none != NULL || e->code != SAROS_E_FORKED;
  error_unref(e);
  none = session_close(s, &e);
  bad += none != NULL || e->code != SAROS_E_FORKED;
  error_unref(e);
  session_drop(s);
  saros_op_unref(op);
  return bad;
}

TEST(forked) {
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = prepared(60);
  saros_op *op = begin(s, "do_snapshot_set");
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(in_the_child(s, op));
  }
  int status_ = -1;
  while (waitpid(child, &status_, 0) < 0 && errno == EINTR) continue;
  CHECK_INT(status_, 0);
  CHECK_INT(shoot_records(), 1);
  saros_op_unref(op);
  finish(s);
  CHECK_INT(shoot_records(), 0);
  test_writer_gone(w);
  asked_forget();
}

int main(int argc, char **argv) {
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
  GATE_RUN(a53_a54_a55_a56_a59_of_a_backup);
  GATE_RUN(a58_a60_of_a_restore);
  GATE_RUN(a57_of_an_import);
  GATE_RUN(a10_only_listed_codes_of_do_snapshot_set);
  GATE_RUN(a10_only_listed_codes_of_the_others);
  GATE_RUN(a_late_answer_is_none);
  GATE_RUN(closed_while_the_set_is_taken);
  GATE_RUN(dropped_while_the_set_is_taken);
  GATE_RUN(aborted_while_the_set_is_taken);
  GATE_RUN(cancelled_behind_the_point_of_no_return);
  GATE_RUN(a_context_without_writers_tells_nobody);
  GATE_RUN(the_65th_member);
  GATE_RUN(deleted_by_two);
  GATE_RUN(the_status_of_the_dead);
  GATE_RUN(nothing_of_a_session_is_left);
  GATE_RUN(forked);
  shoot_end();
  latecomer_close();
  return check_end();
}
