/*
** The session's order, and every way out of the coordinator: each step of a
** set with three writers and two members fails, is cancelled, or is silent;
** and always the writers that were told to hold still hear of the end, what
** was planned is destroyed, and nothing is left.
*/
#include "shoot_case.h"

static error *opened_error;

static session *opened(const char *on_veto, double freeze) {
  value *o = shoot_options(on_veto, freeze);
  session *s = session_open(o, &opened_error);
  CHECK(s != NULL);
  value_free(o);
  return s;
}

static value *backup_state(void) {
  return texts("type", "full");
}

/* ------------------------------------------------------------------
** Order
** ---------------------------------------------------------------- */

/* What can be called at a point, and nothing else can. `there` names what is
   allowed by its position in the original's diagram. */
static void only(session *s, const char *const *there, const char *point) {
  for (size_t i = 0; session_method_name(i) != NULL; i++) {
    const char *name = session_method_name(i);
    bool may = false;
    for (int k = 0; there[k] != NULL; k++)
      if (strcmp(there[k], name) == 0) may = true;
    if (may) continue;
    uint32_t code = call(s, name, NULL);
    if (code != VSS_E_BAD_STATE) {
      printf("at %s: %s answered 0x%08x\n", point, name, code);
      check_bad++;
    }
  }
}

TEST(order_of_a_fresh_one) {
  session *s = opened(NULL, 60);
  const char *const init[] = {"initialize_for_backup", "initialize_for_restore",
                              NULL};
  only(s, init, "fresh");
  CHECK_INT(call(s, "initialize_for_restore", NULL), SAROS_E_INVALIDARG);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "initialize_for_backup", NULL), VSS_E_BAD_STATE);
  session_drop(s);
}

TEST(order_of_a_backup) {
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = opened(NULL, 60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "prepare_for_backup", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "do_snapshot_set", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "backup_complete", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "pre_restore", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "writers", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "set_context", texts("context", "backup")), 0);
  CHECK_INT(call(s, "set_context", texts("context", "backup")),
            VSS_E_BAD_STATE);
  CHECK_INT(call(s, "set_backup_state", backup_state()), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "disable_writer_classes", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "writers", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "prepare_for_backup", NULL), VSS_E_BAD_STATE);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(add(s, "a", "traced"), VSS_E_OBJECT_ALREADY_EXISTS);
  CHECK_INT(add(s, "nowhere", "traced"), VSS_E_OBJECT_NOT_FOUND);
  CHECK_INT(add(s, "b", "no such"), 0x80042304);
  CHECK_INT(call(s, "do_snapshot_set", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "prepare_for_backup", NULL), 0);
  CHECK_INT(add(s, "b", "traced"), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "backup_complete", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  CHECK_INT(call(s, "do_snapshot_set", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "writer_status", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "gather_writer_status", NULL), 0);
  CHECK_INT(call(s, "writer_status", NULL), 0);
  CHECK_INT(call(s, "backup_complete", NULL), 0);
  CHECK_INT(call(s, "backup_complete", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "save", NULL), 0);
  CHECK_INT(shoot_records(), 1);
  finish(s);
  CHECK_INT(shoot_records(), 0);
  static const char *const order[] = {
      "one identify",        "one prepare_backup", "one prepare_snapshot",
      "provider plan",       "provider prepare",   "one freeze",
      "provider commit",     "one thaw",           "provider finish",
      "one post_snapshot",   "provider forget",    "one backup_complete",
      "one backup_shutdown", "provider destroy"};
  for (int i = 0; i < 14; i++) CHECK_TEXT(trace.lines[i], order[i]);
  CHECK_INT(trace.count, 14);
  test_writer_gone(w);
}

TEST(closed_is_closed) {
  session *s = opened(NULL, 60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  error *e = NULL;
  saros_op *op = session_close(s, &e), *again = session_close(s, &e);
  CHECK(op == again);
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  const char *const none[] = {NULL};
  only(s, none, "closed");
  saros_op_unref(op);
  saros_op_unref(again);
  session_drop(s);
}

TEST(contexts) {
  static const struct {
    int64_t context, attributes;
    uint32_t code;
  } cases[] = {{0x00, 0, 0},
               {0x10, 0, 0},
               {0x19, 0, 0},
               {0x09, 0, 0},
               {0x1D, 0, 0},
               {0x0D, 0, 0},
               {0xFFFFFFFF, 0, 0},
               {0x00, 0x20, 0},
               {0x00, 0x20 | 0x20000, 0},
               {0x00, 0x20000 | 0x40000, VSS_E_UNSUPPORTED_CONTEXT},
               {0x1D, 0x20, VSS_E_UNSUPPORTED_CONTEXT},
               {0x01, 0, VSS_E_UNSUPPORTED_CONTEXT},
               {-1, 0, SAROS_E_INVALIDARG}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    session *s = opened(NULL, 60);
    CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
    value *args = value_map();
    value_put(args, "context", value_int(cases[i].context));
    value_put(args, "attributes", value_int(cases[i].attributes));
    CHECK_INT(call(s, "set_context", args), cases[i].code);
    session_drop(s);
  }
  session *s = opened(NULL, 60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_context", texts("context", "bakcup")),
            SAROS_E_INVALIDARG);
  CHECK_INT(call(s, "set_context", texts("context", "all")), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), VSS_E_BAD_STATE);
  session_drop(s);
}

TEST(one_creation_at_a_time) {
  session *a = opened(NULL, 60), *b = opened(NULL, 60);
  CHECK_INT(call(a, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(b, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(a, "start_snapshot_set", NULL), 0);
  CHECK_INT(call(b, "start_snapshot_set", NULL),
            VSS_E_SNAPSHOT_SET_IN_PROGRESS);
  CHECK_INT(call(a, "abort_backup", NULL), 0);
  CHECK_INT(call(b, "start_snapshot_set", NULL), 0);
  finish(a);
  finish(b);
}

/* A session without writers needs no gathering, and tells nobody. */
TEST(a_context_without_writers) {
  trace_begin(0, NO_HARM);
  writer *w = test_writer(1, "one", "front_end");
  session *s = opened(NULL, 60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_context", texts("context", "file_share_backup")), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(call(s, "prepare_for_backup", NULL), VSS_E_BAD_STATE);
  CHECK_INT(call(s, "do_snapshot_set", NULL), 0);
  CHECK_INT(call(s, "backup_complete", NULL), VSS_E_BAD_STATE);
  finish(s);
  CHECK(line_of("one identify") == 0 && line_of("one freeze") == 0);
  test_writer_gone(w);
}


/* ------------------------------------------------------------------
** Every way out
** ---------------------------------------------------------------- */

static writer *three[3];
static const char *const names[] = {"front", "back", "system"};

static void three_open(void) {
  three[0] = test_writer(1, "front", "front_end");
  three[1] = test_writer(2, "back", "back_end");
  three[2] = test_writer(3, "system", "system");
}

static void three_close(void) {
  for (int i = 0; i < 3; i++) test_writer_gone(three[i]);
}

/* A whole backup; the code of the first method that does not succeed. */
static uint32_t whole(session *s) {
  uint32_t c;
  if ((c = call(s, "initialize_for_backup", NULL)) != 0) return c;
  if ((c = call(s, "set_backup_state", backup_state())) != 0) return c;
  if ((c = call(s, "gather_writer_metadata", NULL)) != 0) return c;
  if ((c = call(s, "start_snapshot_set", NULL)) != 0) return c;
  if ((c = add(s, "a", "traced")) != 0) return c;
  if ((c = add(s, "b", "traced")) != 0) return c;
  if ((c = call(s, "prepare_for_backup", NULL)) != 0) return c;
  if ((c = call(s, "do_snapshot_set", NULL)) != 0) return c;
  return call(s, "backup_complete", NULL);
}

static const char *said(int who, const char *what) {
  static char text[4][96];
  static int next;
  char *t = text[next++ % 4];
  snprintf(t, 96, "%s %s", names[who], what);
  return t;
}

static int bad;
static void must(bool good, const char *what, int at, mischief m, uint32_t c) {
  if (good) return;
  bad++;
  printf("step %d, mischief %d, code 0x%08x: %s\n", at, (int)m, c, what);
}

/* What holds whatever has happened. */
static void invariants(int at, mischief m, uint32_t code) {
  int first_abort = 0;
  for (int i = 0; i < 3; i++) {
    int frozen = last_of(said(i, "freeze"));
    int thawed = last_of(said(i, "thaw"));
    int aborted = last_of(said(i, "abort")), first = line_of(said(i, "abort"));
    if (first != 0 && (first_abort == 0 || first < first_abort))
      first_abort = first;
    must(frozen == 0 || thawed > frozen || aborted > frozen,
         "a frozen writer never heard of the end", at, m, code);
    must(code != 0 || frozen == 0 || thawed > frozen || m != NO_HARM,
         "a good set without thaw", at, m, code);
  }
  int plans = 0, destroys = 0;
  for (int i = 0; i < trace.count; i++) {
    if (strcmp(trace.lines[i], "provider plan") == 0) plans++;
    if (strcmp(trace.lines[i], "provider destroy") == 0) destroys++;
    must(strcmp(trace.lines[i], "provider destroy") != 0 || code == 0 ||
             first_abort == 0 || i + 1 > first_abort,
         "destroyed before Abort", at, m, code);
  }
  must(destroys >= plans, "planned, and not destroyed", at, m, code);
  /* front first, system last; thawed in reverse */
  int f = line_of("front freeze"), b = line_of("back freeze"),
      y = line_of("system freeze");
  must((b == 0 || f < b) && (y == 0 || b < y), "freeze order", at, m, code);
  f = line_of("front thaw"), b = line_of("back thaw"),
  y = line_of("system thaw");
  must((b == 0 || f == 0 || b < f) && (y == 0 || b == 0 || y < b), "thaw order",
       at, m, code);
}

static int run_once(int at, mischief m, uint32_t *code, const char *on_veto) {
  trace_begin(at, m);
  session *s = opened(on_veto, m == SILENCE ? 0.05 : 60);
  *code = whole(s);
  finish(s);
  invariants(at, m, *code);
  bool destroy_failed = at > 0 && m == FAIL && at <= trace.count &&
                        strcmp(trace.lines[at - 1], "provider destroy") == 0;
  if (destroy_failed) { /* the next session takes away what stayed */
    session *next = opened(NULL, 60);
    call(next, "initialize_for_backup", NULL);
    CHECK_INT(call(next, "start_snapshot_set", NULL), 0);
    finish(next);
  }
  must(shoot_records() == 0, "a record is left", at, m, *code);
  return trace.count;
}

static void everywhere(mischief m, const char *on_veto) {
  uint32_t code;
  three_open();
  int steps = run_once(0, NO_HARM, &code, on_veto);
  CHECK_INT(code, 0);
  bad = 0;
  for (int at = 1; at <= steps; at++) {
    run_once(at, m, &code, on_veto);
    must(trace.done || at > trace.count, "the step never came", at, m, code);
    if (bad > 0) {
      print_trace();
      break;
    }
  }
  CHECK_INT(bad, 0);
  /* The engine leaves with the last operation, and all descriptors too. */
  for (int i = 0; i < 60000 && fd_count() != 0; i++) usleep(1000);
  CHECK_INT(fd_count(), 0);
  three_close();
}

TEST(a_failure_at_every_step) {
  everywhere(FAIL, NULL);
}

TEST(a_failure_at_every_step_ignored) {
  everywhere(FAIL, "ignore");
}

TEST(a_cancel_at_every_step) {
  everywhere(CANCEL, NULL);
}

TEST(a_silence_at_every_step) {
  everywhere(SILENCE, NULL);
}

/* What a set ends with, by the step that went wrong. */
TEST(codes) {
  static const struct {
    const char *line;
    mischief m;
    uint32_t code;
  } cases[] = {{"front prepare_backup", FAIL, VSS_E_UNEXPECTED_WRITER_ERROR},
               {"back prepare_snapshot", FAIL, VSS_E_UNEXPECTED_WRITER_ERROR},
               {"system freeze", FAIL, VSS_E_UNEXPECTED_WRITER_ERROR},
               {"back freeze", SILENCE, VSS_E_UNEXPECTED_WRITER_ERROR},
               {"front thaw", FAIL, VSS_E_UNEXPECTED_WRITER_ERROR},
               {"front post_snapshot", FAIL, 0},
               {"front backup_complete", FAIL, 0},
               {"provider plan", FAIL, VSS_E_PROVIDER_VETO},
               {"provider commit", FAIL, VSS_E_PROVIDER_VETO},
               {"provider finish", FAIL, VSS_E_PROVIDER_VETO},
               {"system freeze", CANCEL, SAROS_E_CANCELLED},
               {"front post_snapshot", CANCEL, SAROS_E_CANCELLED}};
  uint32_t code;
  three_open();
  run_once(0, NO_HARM, &code, NULL);
  int at[12];
  for (int i = 0; i < 12; i++) at[i] = line_of(cases[i].line);
  for (int i = 0; i < 12; i++) {
    CHECK(at[i] > 0);
    run_once(at[i], cases[i].m, &code, NULL);
    if (code != cases[i].code) {
      printf("%s: 0x%08x, not 0x%08x\n", cases[i].line, code, cases[i].code);
      check_bad++;
    }
  }
  three_close();
}

/* ------------------------------------------------------------------
** A provider that makes nothing before commit
** ---------------------------------------------------------------- */

static size_t records_at_commit;

/* The directory of the records goes away when it has been planned. */
static mischief lose_records(int line) {
  const char *now = trace.lines[line - 1];
  char away[300];
  snprintf(away, sizeof away, "%s", shoot_path("state/state/away"));
  if (strcmp(now, "provider plan") == 0)
    CHECK_INT(rename(shoot_path("state/state/shadows"), away), 0);
  if (strcmp(now, "provider destroy") == 0)
    CHECK_INT(rename(away, shoot_path("state/state/shadows")), 0);
  return NO_HARM;
}

static mischief count_records(int line) {
  if (strcmp(trace.lines[line - 1], "provider commit") == 0)
    records_at_commit = shoot_records();
  return NO_HARM;
}

static uint32_t set_of_one(mischief (*pick)(int line)) {
  trace_begin(0, NO_HARM);
  session *s = opened(NULL, 60);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_backup_state", backup_state()), 0);
  CHECK_INT(call(s, "gather_writer_metadata", NULL), 0);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  CHECK_INT(add(s, "a", "traced"), 0);
  CHECK_INT(call(s, "prepare_for_backup", NULL), 0);
  trace.pick = pick;
  uint32_t code = call(s, "do_snapshot_set", NULL);
  trace.pick = NULL;
  finish(s);
  CHECK_INT(shoot_records(), 0);
  return code;
}

static provider late_one;

/* Its record is written beside prepare, and waited for before the hold. */
TEST(no_commit_without_a_record) {
  late_one = traced;
  late_one.late = true;
  provider_test = &late_one;
  CHECK_INT(set_of_one(count_records), 0);
  CHECK_INT(records_at_commit, 1);
  CHECK(set_of_one(lose_records) != 0);
  CHECK(line_of("provider prepare") > 0);
  CHECK_INT(line_of("provider commit"), 0);
  CHECK(line_of("provider destroy") > 0);
  provider_test = &traced;
  CHECK(set_of_one(lose_records) != 0);
  CHECK_INT(line_of("provider prepare"), 0);
}

TEST(a_failure_or_a_cancel_beside_a_record) {
  late_one = traced;
  late_one.late = true;
  provider_test = &late_one;
  everywhere(FAIL, NULL);
  everywhere(CANCEL, NULL);
  provider_test = &traced;
}

static void all(void) {
  RUN(order_of_a_fresh_one);
  RUN(order_of_a_backup);
  RUN(closed_is_closed);
  RUN(contexts);
  RUN(one_creation_at_a_time);
  RUN(a_context_without_writers);
  RUN(codes);
  RUN(no_commit_without_a_record);
  RUN(a_failure_or_a_cancel_beside_a_record);
  RUN(a_failure_at_every_step);
  RUN(a_failure_at_every_step_ignored);
  RUN(a_cancel_at_every_step);
  RUN(a_silence_at_every_step);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  shoot_open();
  provider_test = &traced;
  all();
  return check_end();
}
