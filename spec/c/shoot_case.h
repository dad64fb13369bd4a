/*
** shoot_case: writers and a provider of a test, which write down what they are
** told, and of which the test says what happens at the n-th step: a failure, a
** cancel, a silence. With them every way out of the coordinator is taken.
*/
#ifndef SAROS_SHOOT_CASE_H
#define SAROS_SHOOT_CASE_H

#include <ftw.h>
#include <sys/stat.h>

/* A thread that had ended, but was not joined yet when a child was forked,
   would be a leak of the child. */
#define GATE_TSAN_OPTIONS "report_thread_leaks=0:die_after_fork=0"
#include "gate.h"
#include "op/thread.h"
#include "vss/session.h"

/* ------------------------------------------------------------------
** The trace
** ---------------------------------------------------------------- */

typedef enum mischief {
  NO_HARM,
  FAIL,
  CANCEL,
  SILENCE, /* until it is given up */
  LATE,    /* the same, and it answers only a while after that */
  TWICE    /* it answers, and later once more */
} mischief;

static struct {
  pthread_mutex_t lock;
  char lines[512][96];
  int count;
  int at; /* the step that goes wrong; 0: none */
  mischief what;
  bool done;                  /* it has */
  saros_op *op;               /* what CANCEL cancels */
  mischief (*pick)(int line); /* or it says which steps go wrong */
  char gone[32][24];          /* writers that were hung up on */
  int gone_count;
  char broken[100]; /* what a writer may not be asked, and was */
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void trace_begin(int at, mischief what) {
  pthread_mutex_lock(&trace.lock);
  trace.count = 0;
  trace.at = at;
  trace.what = what;
  trace.done = false;
  trace.op = NULL;
  trace.pick = NULL;
  trace.gone_count = 0;
  trace.broken[0] = '\0';
  pthread_mutex_unlock(&trace.lock);
}

/* Writes a line; says whether this is the step that goes wrong, and how. */
static inline mischief step(const char *who, const char *what) {
  mischief m = NO_HARM;
  saros_op *op = NULL;
  pthread_mutex_lock(&trace.lock);
  if (trace.count < 512)
    snprintf(trace.lines[trace.count++], 96, "%s %s", who, what);
  if (trace.pick != NULL) m = trace.pick(trace.count);
  if (trace.count == trace.at) m = trace.what;
  if (m != NO_HARM) {
    trace.done = true;
    op = trace.op;
  }
  pthread_mutex_unlock(&trace.lock);
  if (m == CANCEL) {
    /* The operation may not be known yet in its very first steps. */
    if (op != NULL) saros_op_cancel(op);
    return NO_HARM;
  }
  return m;
}

/* The place of a line, from 1; 0 when it is not there. */
static inline int line_of(const char *text) {
  for (int i = 0; i < trace.count; i++)
    if (strcmp(trace.lines[i], text) == 0) return i + 1;
  return 0;
}

static inline int last_of(const char *text) {
  for (int i = trace.count; i > 0; i--)
    if (strcmp(trace.lines[i - 1], text) == 0) return i;
  return 0;
}

static inline bool is_gone(const char *name) {
  for (int i = 0; i < trace.gone_count; i++)
    if (strcmp(trace.gone[i], name) == 0) return true;
  return false;
}

static inline void print_trace(void) {
  for (int i = 0; i < trace.count; i++)
    printf("    %d %s\n", i + 1, trace.lines[i]);
}


/* ------------------------------------------------------------------
** Writers
** ---------------------------------------------------------------- */

typedef struct told {
  bool late;
} told;

/* Who answers too late, or again: a thread of its own, some time later. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  saros_op *ops[64];
  int count;
  bool stop;
  pthread_t thread;
} latecomer = {.lock = PTHREAD_MUTEX_INITIALIZER,
               .moved = PTHREAD_COND_INITIALIZER};

static inline void *latecomer_main(void *unused) {
  pthread_mutex_lock(&latecomer.lock);
  for (;;) {
    while (latecomer.count == 0 && !latecomer.stop)
      pthread_cond_wait(&latecomer.moved, &latecomer.lock);
    if (latecomer.count == 0) break;
    pthread_mutex_unlock(&latecomer.lock);
    gate_nap();
    pthread_mutex_lock(&latecomer.lock);
    saros_op *op = latecomer.ops[--latecomer.count];
    pthread_mutex_unlock(&latecomer.lock);
    saros_op_finish(op, SAROS_S_OK, NULL);
    saros_op_unref(op);
    pthread_mutex_lock(&latecomer.lock);
  }
  pthread_mutex_unlock(&latecomer.lock);
  return unused;
}

static inline void latecomer_open(void) {
  latecomer.stop = false;
  CHECK_INT(pthread_create(&latecomer.thread, NULL, latecomer_main, NULL), 0);
}

static inline void latecomer_close(void) {
  pthread_mutex_lock(&latecomer.lock);
  latecomer.stop = true;
  pthread_cond_broadcast(&latecomer.moved);
  pthread_mutex_unlock(&latecomer.lock);
  pthread_join(latecomer.thread, NULL);
}

/* False: there is no room (or nobody to do it). */
static inline bool answer_later(saros_op *op) {
  pthread_mutex_lock(&latecomer.lock);
  bool can = latecomer.thread != 0 && !latecomer.stop && latecomer.count < 64;
  if (can) latecomer.ops[latecomer.count++] = saros_op_ref(op);
  pthread_cond_broadcast(&latecomer.moved);
  pthread_mutex_unlock(&latecomer.lock);
  return can;
}

static inline void told_cancel(saros_op *op, void *self) {
  if (((told *)self)->late && answer_later(op)) return;
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

/* The engine's own thread has gone with the last operation. */
static inline void shoot_end(void) {
  GATE_UNTIL(engine_users() == 0);
  GATE_UNTIL(gate_entries("/proc/self/task") <= 2 + GATE_TSAN);
  thread_join_left();
}

/* What each writer was asked last: the next comes when that is over, but for
   what ends a backup beside what was given up. */
static struct {
  const writer *w;
  saros_op *op;
} asked[16];

static inline void asked_forget(void) {
  for (int i = 0; i < 16; i++) {
    if (asked[i].op != NULL) saros_op_unref(asked[i].op);
    asked[i].op = NULL;
    asked[i].w = NULL;
  }
}

/* Engine thread, or when nothing runs. */
static inline void asked_note(const writer *w, saros_op *op,
                              writer_event event) {
  int i = 0;
  while (i < 15 && asked[i].w != NULL && asked[i].w != w) i++;
  saros_op *last = asked[i].op;
  bool ends = event == EVENT_ABORT || event == EVENT_BACKUP_SHUTDOWN;
  if (asked[i].w == w && last != NULL && !op_is_over(last) &&
      !(ends && saros_op_cancelled(last)))
    snprintf(trace.broken, sizeof trace.broken, "%s: %s beside another",
             w->name, writer_event_name(event));
  if (last != NULL) saros_op_unref(last);
  asked[i].w = w;
  asked[i].op = saros_op_ref(op);
}

static inline void told_release(void *self) {
  free(self);
}

static const saros_kind told_kind = {.size = sizeof(saros_kind),
                                     .name = "test.told",
                                     .flags = SAROS_CANCELLABLE,
                                     .cancel = told_cancel,
                                     .release = told_release};

static inline writer_link *test_connect(writer *w, const char *whose,
                                        error **e) {
  (void)whose;
  (void)e;
  return (writer_link *)w;
}

static inline value *test_metadata(const writer *w) {
  value *v = value_map(), *list = value_list(), *c = value_map();
  const char *level = w->self;
  bool good = c != NULL && value_put(c, "name", value_text("main")) &&
              value_put(c, "type", value_text("database"));
  if (good)
    good = value_add(list, c);
  else
    value_free(c);
  good = good && value_put(v, "id", value_text(w->id)) &&
         value_put(v, "name", value_text(w->name)) &&
         value_put(v, "level", value_text(level));
  if (good && value_put(v, "components", list)) return v;
  if (!good) value_free(list);
  value_free(v);
  return NULL;
}

/* Which may be in the making while its writers are told that it is not. */
static inline bool names_a_shadow(const value *details) {
  const value *volumes = value_get(details, "volumes");
  bool named = false;
  for (uint32_t i = 0; volumes != NULL && i < volumes->count; i++)
    named = named || value_get(volumes->as.items[i], "shadow") != NULL;
  return named;
}

static inline saros_op *test_tell(writer_link *link, const writer_call *call,
                                  error **e) {
  writer *w = (writer *)link;
  mischief m = step(w->name, writer_event_name(call->event));
  if (call->event == EVENT_ABORT) CHECK(!names_a_shadow(call->details));
  told *t = calloc(1, sizeof *t);
  t->late = m == LATE;
  saros_op *op = saros_op_new(&told_kind, t, NULL);
  if (op == NULL) {
    free(t);
    *e = error_no_memory();
    return NULL;
  }
  uint32_t why = saros_op_start(op);
  if (why != 0) {
    saros_op_unref(op);
    *e = vss_error(why, "no writer without an engine");
    return NULL;
  }
  asked_note(w, op, call->event);
  if (m == SILENCE || m == LATE) return op; /* until it is given up */
  if (call->event == EVENT_IDENTIFY) {
    value *metadata = test_metadata(w);
    if (metadata == NULL) {
      saros_op_finish(op, SAROS_E_OUTOFMEMORY, NULL);
      return op;
    }
    op_set_output(op, metadata);
  }
  if (m == TWICE) answer_later(op);
  saros_op_finish(op, m == FAIL ? SAROS_E_FAIL : SAROS_S_OK,
                  m == FAIL ? "no, says the writer" : NULL);
  return op;
}

static inline void test_hang_up(writer_link *link) {
  const writer *w = (const writer *)link;
  pthread_mutex_lock(&trace.lock);
  if (trace.gone_count < 32)
    snprintf(trace.gone[trace.gone_count++], 24, "%.23s", w->name);
  pthread_mutex_unlock(&trace.lock);
}

static inline void test_release(writer *w) {
  (void)w;
}

static writer_way test_way = {.name = "test",
                              .connect = test_connect,
                              .tell = test_tell,
                              .hang_up = test_hang_up,
                              .release = test_release};

static inline writer *test_writer(unsigned n, const char *name,
                                  const char *level) {
  char id[40];
  error *e = NULL;
  snprintf(id, sizeof id, "%08x-1111-4111-8111-111111111111", n);
  writer *w =
      writer_make(&test_way, id, NULL, name, (void *)(uintptr_t)level, &e);
  CHECK(w != NULL);
  if (e == NULL) e = writer_subscribe(w);
  CHECK(e == NULL);
  error_unref(e);
  return w;
}

static inline void test_writer_gone(writer *w) {
  writer_unsubscribe(w);
  writer_unref(w);
}


/* ------------------------------------------------------------------
** A provider
** ---------------------------------------------------------------- */

static inline error *provide(const char *id, const char *what) {
  char who[16];
  snprintf(who, sizeof who, "%.8s", id);
  (void)who;
  if (step("provider", what) != FAIL) return NULL;
  return vss_error(VSS_E_PROVIDER_VETO, "no, says the provider at %s", what);
}

static inline error *test_probe(const origin *from) {
  (void)from;
  return NULL;
}

static inline error *test_plan(shadow *s) {
  error *e = provide(s->id, "plan");
  if (e != NULL) return e;
  return value_put(s->keep, "id", value_text(s->id)) ? NULL : error_no_memory();
}

static inline error *test_prepare(shadow *s, saros_op *op) {
  (void)op;
  s->self = strdup("held");
  return provide(s->id, "prepare");
}

static inline error *test_commit(shadow *s) {
  return provide(s->id, "commit");
}

static inline error *test_finish(shadow *s, saros_op *op) {
  (void)op;
  s->path = mem_text(s->given);
  error *e = provide(s->id, "finish");
  return e == NULL && s->path == NULL ? error_no_memory() : e;
}

static inline error *test_destroy(const value *keep, saros_op *op) {
  (void)op;
  return provide(value_chars(value_get(keep, "id"), "?"), "destroy");
}

static inline void test_forget(shadow *s) {
  free(s->self);
  s->self = NULL;
  error_unref(provide(s->id, "forget"));
}

static const provider traced = {.name = "traced",
                                .id = "7f0f7f3e-6d9d-4c53-9d5c-2f1d1d6f7a01",
                                .freeze = FREEZE_NONE,
                                .atomic = ATOMIC_NOTHING,
                                .worth = "nothing: it is a test's",
                                .rank = -1,
                                .probe = test_probe,
                                .plan = test_plan,
                                .prepare = test_prepare,
                                .commit = test_commit,
                                .finish = test_finish,
                                .destroy = test_destroy,
                                .forget = test_forget};


/* ------------------------------------------------------------------
** Places
** ---------------------------------------------------------------- */

static char shoot_dir[300];

static inline int remove_one(const char *path, const struct stat *st, int type,
                             struct FTW *f) {
  (void)st;
  (void)type;
  (void)f;
  return remove(path);
}

static inline void shoot_wipe(void) {
  if (shoot_dir[0] == '/')
    nftw(shoot_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *shoot_path(const char *name) {
  static char paths[4][400];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, 400, "%s/%s", shoot_dir, name);
  return path;
}

/* A state directory and two directories to be shadowed. */
static inline void shoot_open(void) {
  const char *tmp = getenv("TMPDIR");
  snprintf(shoot_dir, sizeof shoot_dir, "%.200s/saros-shoot-XXXXXX",
           tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(shoot_dir) == NULL) exit(2);
  mkdir(shoot_path("a"), 0755);
  mkdir(shoot_path("b"), 0755);
  atexit(shoot_wipe);
}

static inline size_t shoot_records(void) {
  size_t count = 0;
  DIR *d = opendir(shoot_path("state/state/shadows"));
  for (struct dirent *x; d != NULL && (x = readdir(d)) != NULL;)
    if (strstr(x->d_name, ".json") != NULL) count++;
  if (d != NULL) closedir(d);
  return count;
}

static inline value *texts(const char *name, const char *text) {
  value *v = value_map();
  value_put(v, name, value_text(text));
  return v;
}

static inline value *shoot_options(const char *on_veto, double freeze) {
  value *v = value_map(), *t = value_map();
  value_put(v, "state_dir", value_text(shoot_path("state")));
  if (on_veto != NULL) value_put(v, "on_veto", value_text(on_veto));
  value_put(t, "freeze", value_real(freeze));
  value_put(t, "identify", value_real(freeze));
  value_put(t, "prepare", value_real(freeze));
  value_put(t, "post", value_real(freeze));
  value_put(t, "complete", value_real(freeze));
  value_put(v, "timeouts", t);
  return v;
}


/* ------------------------------------------------------------------
** A session's methods, as a test calls them
** ---------------------------------------------------------------- */

/* The code a method answers with at once, or ends with. */
static inline uint32_t call(session *s, const char *name, value *args) {
  error *e = NULL;
  value *result = NULL;
  uint32_t code = 0;
  if (session_method(name) == METHOD_NOW) {
    e = session_now(s, name, args, &result);
  } else {
    saros_op *op = session_begin(s, name, args, &e);
    if (op != NULL) {
      pthread_mutex_lock(&trace.lock);
      trace.op = saros_op_ref(op);
      pthread_mutex_unlock(&trace.lock);
      CHECK(saros_op_wait(op, GATE_BOUND_MS));
      code = saros_op_code(op);
      if (code != 0 && getenv("V") != NULL && (e = op_error(op)) != NULL) {
        printf("%s: %s\n", name, e->message);
        error_unref(e);
        e = NULL;
      }
      pthread_mutex_lock(&trace.lock);
      trace.op = NULL;
      pthread_mutex_unlock(&trace.lock);
      saros_op_unref(op);
      saros_op_unref(op);
    }
  }
  if (e != NULL) code = e->code;
  if (e != NULL && getenv("V") != NULL) printf("%s: %s\n", name, e->message);
  error_unref(e);
  value_free(result);
  value_free(args);
  return code;
}

static inline void finish(session *s) {
  error *e = NULL;
  saros_op *op = session_close(s, &e);
  CHECK(op != NULL);
  if (op != NULL) {
    CHECK(saros_op_wait(op, GATE_BOUND_MS));
    saros_op_unref(op);
  }
  error_unref(e);
  session_drop(s);
}

static inline uint32_t add(session *s, const char *dir, const char *with) {
  value *args = texts("path", shoot_path(dir));
  if (with != NULL) value_put(args, "provider", value_text(with));
  return call(s, "add_to_snapshot_set", args);
}

#endif
