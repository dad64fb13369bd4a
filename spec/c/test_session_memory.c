/*
** Memory that runs out in the middle of a backup: the n-th request fails, for
** every n, from the opening of the session to its end. Nothing hangs, nothing
** is left, and the writers that were told to hold still hear of the end.
**
** not under valgrind: each of so many requests takes a backup; ASan runs it
** not under thread: the same; and each backup has few threads
*/
#include "shoot_case.h"

#define WRITERS 2

static writer *writers[WRITERS];
static const char *const names[WRITERS] = {"front", "back"};

/* What a backup calls, made while there is memory. */
typedef struct plan {
  value *options;
  struct {
    const char *name;
    value *args;
  } calls[13];
  int count;
} plan;

static void will(plan *p, const char *name, value *args) {
  p->calls[p->count].name = name;
  p->calls[p->count++].args = args;
}

static value *member(const char *dir) {
  value *args = texts("path", shoot_path(dir));
  value_put(args, "provider", value_text("traced"));
  return args;
}

static plan make_plan(void) {
  plan p = {.options = shoot_options(NULL, 60)};
  value *component = texts("writer", "back");
  value_put(component, "component", value_text("main"));
  value *state = texts("type", "full");
  value_put(state, "select_components", value_bool(true));
  value *front = texts("writer", "front");
  value_put(front, "component", value_text("main"));
  value *required = value_map(), *list = value_list();
  for (int i = 0; i < WRITERS; i++) value_add(list, value_text(names[i]));
  value_put(required, "require", list);
  will(&p, "initialize_for_backup", NULL);
  will(&p, "set_backup_state", state);
  will(&p, "gather_writer_metadata", required);
  will(&p, "add_component", component);
  will(&p, "add_component", front);
  will(&p, "start_snapshot_set", NULL);
  will(&p, "add_to_snapshot_set", member("a"));
  will(&p, "add_to_snapshot_set", member("b"));
  will(&p, "prepare_for_backup", NULL);
  will(&p, "do_snapshot_set", NULL);
  will(&p, "gather_writer_status", NULL); /* which asks each */
  will(&p, "save", NULL);
  will(&p, "backup_complete", NULL);
  return p;
}

/* The code of the first that fails. Of one that could not be called the session
   must be unharmed: then the whole backup goes on. */
static uint32_t follow(plan *p, session *s) {
  uint32_t code = 0;
  for (int i = 0; i < p->count; i++) {
    value *args = p->calls[i].args;
    if (s != NULL && code == 0)
      code = call(s, p->calls[i].name, args);
    else
      value_free(args);
  }
  return code;
}

/* It could be the closing that had none. */
static void end(session *s) {
  error *e = NULL;
  saros_op *op = session_close(s, &e);
  if (op == NULL) {
    CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    error_unref(e);
    op = session_close(s, &e);
  }
  CHECK(op != NULL && saros_op_wait(op, GATE_BOUND_MS));
  if (op != NULL) saros_op_unref(op);
  session_drop(s);
}

static const char *said(int who, const char *what) {
  static char text[4][96];
  static int next;
  char *t = text[next++ % 4];
  snprintf(t, 96, "%s %s", names[who], what);
  return t;
}

static bool bad;

static void must(bool good, const char *what, long n, uint32_t code) {
  if (good) return;
  bad = true;
  printf("request %ld, code 0x%08x: %s\n", n, code, what);
}

static void check(long n, uint32_t code) {
  for (int i = 0; i < WRITERS; i++) {
    int frozen = line_of(said(i, "freeze"));
    must(frozen == 0 || line_of(said(i, "thaw")) > frozen ||
             last_of(said(i, "abort")) > frozen || is_gone(names[i]),
         "a writer that was frozen never heard of the end", n, code);
  }
  must(code == 0 || code == SAROS_E_OUTOFMEMORY ||
           code == VSS_E_UNEXPECTED_WRITER_ERROR ||
           code == VSS_E_WRITER_INFRASTRUCTURE,
       "what is that?", n, code);
  must(trace.broken[0] == '\0', trace.broken, n, code);
}

/* What could not be taken away is in the next session. */
static void clear_up(void) {
  error *e = NULL;
  value *o = shoot_options(NULL, 60);
  trace_begin(0, NO_HARM);
  session *s = session_open(o, &e);
  value_free(o);
  call(s, "initialize_for_backup", NULL);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  finish(s);
}

static long unharmed;

/* False when the n-th request never came. */
static bool run(long n) {
  error *e = NULL;
  long before = mem_blocks();
  plan p = make_plan();
  trace_begin(0, NO_HARM);
  mem_fail_at(n);
  session *s = session_open(p.options, &e);
  if (s == NULL) must(e->code == SAROS_E_OUTOFMEMORY, "no session", n, e->code);
  error_unref(e);
  uint32_t code = follow(&p, s);
  if (s != NULL) end(s);
  bool came = mem_fail_left() == 0;
  mem_fail_at(0);
  check(n, code);
  if (code == 0) unharmed++;
  if (bad) print_trace();
  value_free(p.options);
  asked_forget();
  if (shoot_records() > 0) clear_up();
  must(shoot_records() == 0, "a record is left", n, code);
  for (unsigned i = 0; mem_blocks() != before && i < GATE_BOUND_MS; i++)
    gate_nap();
  must(mem_blocks() == before, "memory is left", n, code);
  return came;
}

TEST(anywhere_in_a_backup) {
  long every = gate_is_quick ? 37 : getenv("SAROS_LONG") != NULL ? 1 : 5;
  long n = 1, runs = 0;
  for (int i = 0; i < WRITERS; i++)
    writers[i] =
        test_writer((unsigned)i + 1, names[i], i == 0 ? "front_end" : "system");
  run(1000000); /* what is made once */
  unharmed = 0;
  /* Every n-th, and another n-th each time. */
  uint64_t seed = gate_seed("anywhere_in_a_backup");
  for (n = 1 + (long)(seed % (uint64_t)every); run(n) && !bad;
       n += every, runs++)
    alarm(GATE_HANG);
  CHECK(!bad);
  CHECK(runs > 10);
  printf(
      "%ld requests in a backup, %ld of them failed, %ld backups did "
      "without\n",
      n, runs, unharmed);
  for (int i = 0; i < WRITERS; i++) test_writer_gone(writers[i]);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  shoot_open();
  provider_test = &traced;
  test_way.asked = true;
  GATE_RUN(anywhere_in_a_backup);
  shoot_end();
  return check_end();
}
