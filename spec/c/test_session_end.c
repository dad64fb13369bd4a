/*
** How a session lives and ends: what runs is seen through by who closes, aborts
** or drops it; nothing of it is left, and in a child of a fork it is inert.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "session_case.h"

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
    GATE_UNTIL(mem_blocks() <= before.blocks);
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


static void all(void) {
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
}

int main(int argc, char **argv) {
  return session_main(argc, argv, all);
}
