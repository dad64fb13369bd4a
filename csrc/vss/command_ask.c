/*
** How a writer that is an executable is told: each event is a run of it with
** a verb as its last argument. `freeze` stays alive while it holds: it prints
** "frozen" when it does, and the end of its standard input is its thaw; so that
** whatever kills us lets go of it. What it is told is a machine around the
** child's operation.
*/
#include <string.h>

#include "op/fork.h"
#include "op/process.h"
#include "op/watch.h"
#include "vss/clock.h"
#include "vss/command_parts.h"

#define SECOND 1000000000ull

/* How long a child has to end by itself, once its input is closed. */
#ifdef SAROS_TEST
extern _Atomic unsigned command_patience_ms;
_Atomic unsigned command_patience_ms = 10000;
#else
static const unsigned command_patience_ms = 10000;
#endif

struct writer_link {
  _Atomic uint32_t refs;
  writer *w;
  uint16_t generation;
  pthread_mutex_t lock;
  saros_op *held; /* the freeze that is not over yet; under the lock */
};

typedef enum stage { LETTING_GO, RUNNING } stage;

/* One thing that it is told, or, without a link, one that is let go. */
typedef struct ask {
  machine m; /* first */
  watch w;
  machine_clock clock;
  writer_link *link;
  writer_event event;
  stage stage;
  uint64_t deadline, patience; /* 0: none */
  char *input;
  saros_op *child;
  _Atomic bool over; /* the child is */
  bool told_to_end;
  bool was_gone; /* a freeze that had ended before its thaw */
} ask;

static const command *command_of(const writer_link *l) {
  return l->w->self;
}

static void link_unref(writer_link *l) {
  if (l == NULL) return;
  if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1) return;
  pthread_mutex_destroy(&l->lock);
  writer_unref(l->w);
  mem_free(l);
}

/* With a reference, or NULL. */
static saros_op *held_by(writer_link *l) {
  pthread_mutex_lock(&l->lock);
  saros_op *op = l->held != NULL ? saros_op_ref(l->held) : NULL;
  pthread_mutex_unlock(&l->lock);
  return op;
}

/* `op` takes the place of what was held; its reference goes along. */
static void hold(writer_link *l, saros_op *op) {
  pthread_mutex_lock(&l->lock);
  saros_op *old = l->held;
  l->held = op;
  pthread_mutex_unlock(&l->lock);
  if (old != NULL) saros_op_unref(old);
}


/* ------------------------------------------------------------------
** The child
** ---------------------------------------------------------------- */

/* On any thread. Its reference keeps the ask until it has been woken. */
static void child_over(watch *w) {
  ask *a = (ask *)((char *)w - offsetof(ask, w));
  saros_op *op = a->m.op;
  atomic_store(&a->over, true);
  machine_wake(&a->m);
  saros_op_unref(op);
}

static const watch_way child_way = {.after = child_over};

/* Takes over the reference to `child`. */
static void attend(ask *a, saros_op *child) {
  a->child = child;
  a->w = (watch){.way = &child_way, .op = child};
  atomic_store(&a->over, false);
  saros_op_ref(a->m.op);
  if (watch_add(&a->w, child)) return;
  atomic_store(&a->over, true);
  saros_op_unref(a->m.op);
}

/* It is the link's from now on, or it is over. */
static void turn_away(ask *a) {
  process_wakes(a->child, NULL);
  if (watch_remove(&a->w)) saros_op_unref(a->m.op);
  saros_op_unref(a->child);
  a->child = NULL;
}

static error *start(ask *a) {
  const command *c = command_of(a->link);
  char verb[32];
  strncpy(verb, writer_event_name(a->event), sizeof verb - 1);
  verb[sizeof verb - 1] = '\0';
  for (char *at = verb; *at != '\0'; at++)
    if (*at == '_') *at = '-';
  c->argv[c->verb] = verb; /* of the engine thread; copied by process_start */
  bool freezes = a->event == EVENT_FREEZE;
  process_options o = {.argv = (const char *const *)c->argv,
                       .env = (const char *const *)c->env,
                       .cwd = c->cwd,
                       .input = a->input,
                       .input_size = strlen(a->input),
                       .input_hold = freezes,
                       .out = freezes ? PROCESS_LINES : PROCESS_CAPTURE,
                       .limit = COMMAND_OUTPUT_MOST,
                       .any_status = true,
                       .outlives = true}; /* to let go what it holds */
  error *e = NULL;
  saros_op *child = process_start(&o, &e);
  c->argv[c->verb] = NULL;
  if (child == NULL) return e;
  if (freezes) {
    process_wakes(child, &a->m);
    hold(a->link, saros_op_ref(child));
  }
  attend(a, child);
  return NULL;
}


/* ------------------------------------------------------------------
** The machine
** ---------------------------------------------------------------- */

static step_result finish(ask *a, error *e) {
  machine_clock_set(&a->clock, &a->m, UINT64_MAX);
  if (a->child != NULL) turn_away(a);
  machine_finish(&a->m, e != NULL ? e->code : SAROS_S_OK, e);
  return STEP_END;
}

/* Of a child that is over. */
static error *judge(ask *a) {
  value *more = NULL;
  error *e = command_judge(a->link->w, a->event, a->child, a->was_gone, &more);
  if (more != NULL) op_set_output(a->m.op, more);
  return e;
}

static bool says_frozen(ask *a) {
  buffer line = BUFFER_EMPTY;
  bool frozen = false;
  while (!frozen && process_line(a->child, 1, &line) == LINE_READY) {
    frozen = line.size == 6 && memcmp(line.data, "frozen", 6) == 0;
    buffer_clear(&line);
  }
  buffer_free(&line);
  return frozen;
}

/* What it says after that is nobody's; it must not wait for a reader. */
static step_result is_frozen(ask *a) {
  process_ignore_lines(a->child);
  return finish(a, NULL);
}

static error *too_late(const ask *a) {
  return vss_error(VSS_E_WRITER_NOT_RESPONDING,
                   "%s: %s was not done in time and was told to end",
                   writer_event_name(a->event), command_of(a->link)->argv[0]);
}

/* Cancelled, or late: the whole group ends. */
static void look_at_time(ask *a) {
  uint64_t now = engine_clock();
  bool late = a->deadline != 0 && now >= a->deadline;
  if (late && !saros_op_cancelled(a->m.op)) {
    error *e = too_late(a);
    op_end_error(a->m.op, e->code, e);
  }
  bool patient = a->patience == 0 || now < a->patience;
  if (a->told_to_end || (patient && !saros_op_cancelled(a->m.op))) return;
  a->told_to_end = true;
  op_try_cancel(a->child);
}

static void set_clock(ask *a) {
  uint64_t when = UINT64_MAX;
  if (!a->told_to_end && a->deadline != 0) when = a->deadline;
  if (!a->told_to_end && a->patience != 0 && a->patience < when)
    when = a->patience;
  machine_clock_set(&a->clock, &a->m, when);
}

/* The freeze that was in the way is over: now the verb of the abort. */
static step_result go_on(ask *a) {
  if (a->link == NULL) return finish(a, NULL);
  hold(a->link, NULL);
  turn_away(a);
  a->stage = RUNNING;
  a->patience = 0;
  a->told_to_end = false;
  if (saros_op_cancelled(a->m.op)) return finish(a, NULL);
  error *e = start(a);
  return e == NULL ? STEP_AGAIN : finish(a, e);
}

static step_result step(machine *m) {
  ask *a = (ask *)m;
  bool given_up = saros_op_cancelled(m->op);
  if (a->event == EVENT_FREEZE && !given_up && says_frozen(a))
    return is_frozen(a);
  if (!atomic_load(&a->over)) {
    look_at_time(a);
    set_clock(a);
    return STEP_WAIT;
  }
  if (a->stage == LETTING_GO) return go_on(a);
  if (a->event == EVENT_FREEZE || a->event == EVENT_THAW) hold(a->link, NULL);
  return finish(a, given_up ? NULL : judge(a));
}


/* ------------------------------------------------------------------
** Asks
** ---------------------------------------------------------------- */

static void ask_cancel(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((ask *)self)->m);
}

static void ask_release(void *self) {
  ask *a = self;
  mem_free(a->input);
  link_unref(a->link);
  mem_free(a);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.command",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE | SAROS_NO_ESTIMATE,
                                .cancel = ask_cancel,
                                .release = ask_release};

static error *no_engine(uint32_t code) {
  if (code == SAROS_E_OUTOFMEMORY) return error_no_memory();
  return vss_error(code, "no engine to run a command of a writer with");
}

/* Created, with its operation (the caller's reference); `link` may be NULL. */
static ask *ask_make(writer_link *link, writer_event event, error **e) {
  ask *a = mem_zero(sizeof *a);
  uint32_t why = SAROS_E_OUTOFMEMORY;
  if (a != NULL) {
    a->m.step = step;
    a->event = event;
    a->stage = RUNNING;
    a->m.op = op_create(&kind, a, 0, NULL, &why);
  }
  if (a == NULL || a->m.op == NULL) {
    mem_free(a);
    *e = no_engine(why);
    return NULL;
  }
  if (link != NULL) {
    atomic_fetch_add(&link->refs, 1);
    a->link = link;
  }
  op_phase_literal(a->m.op, "asking");
  /* What its end has to say has a place now, or never. */
  why = op_extra_get(a->m.op) != NULL ? op_begin(a->m.op, SAROS_RUNNING)
                                      : SAROS_E_OUTOFMEMORY;
  if (why == 0) return a;
  saros_op_unref(a->m.op);
  *e = no_engine(why);
  return NULL;
}

static error *set_input(ask *a, const value *details) {
  buffer b = BUFFER_EMPTY;
  if (details != NULL)
    json_write(&b, details, JSON_COMPACT);
  else
    buffer_text(&b, "{}");
  buffer_byte(&b, '\n');
  a->input = buffer_take(&b);
  return a->input != NULL ? NULL : error_no_memory();
}

static void let_go(ask *a, saros_op *held) {
  a->was_gone = a->event == EVENT_THAW && op_is_over(held);
  process_end_input(held);
  attend(a, held);
}

/* What it is told is under way, or already known: then it ends here. */
static error *begin(ask *a, const command *c) {
  saros_op *held = NULL;
  if (a->event == EVENT_IDENTIFY && c->metadata != NULL) {
    value *m = value_copy(c->metadata);
    if (m == NULL) return error_no_memory();
    op_set_output(a->m.op, m);
    return NULL;
  }
  if (a->event == EVENT_FREEZE || a->event == EVENT_THAW ||
      a->event == EVENT_ABORT)
    held = held_by(a->link);
  if (a->event == EVENT_THAW && held == NULL) return NULL; /* knew no freeze */
  if (held == NULL) return start(a);
  if (a->event == EVENT_FREEZE) {
    saros_op_unref(held);
    return vss_error(VSS_E_BAD_STATE, "%s is frozen already", c->argv[0]);
  }
  if (a->event == EVENT_ABORT) {
    a->stage = LETTING_GO;
    a->patience = engine_clock() + command_patience_ms * (SECOND / 1000);
  }
  let_go(a, held);
  return NULL;
}

static saros_op *way_tell(writer_link *l, const writer_call *call, error **e) {
  if (l->generation != fork_generation) {
    *e = vss_error(SAROS_E_FORKED, "this writer was connected before a fork");
    return NULL;
  }
  ask *a = ask_make(l, call->event, e);
  if (a == NULL) return NULL;
  saros_op *op = a->m.op;
  a->deadline = call->deadline;
  error *why = set_input(a, call->details);
  if (why == NULL) why = begin(a, command_of(l));
  if (a->child == NULL)
    finish(a, why);
  else
    machine_wake(&a->m);
  return op;
}


/* ------------------------------------------------------------------
** The way
** ---------------------------------------------------------------- */

static writer_link *way_connect(writer *w, const char *session, error **e) {
  (void)session; /* it is in the details */
  writer_link *l = mem_zero(sizeof *l);
  if (l == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  atomic_init(&l->refs, 1);
  l->w = writer_ref(w);
  l->generation = fork_generation;
  pthread_mutex_init(&l->lock, NULL);
  return l;
}

/* Its input is closed; it has a while to end, and nobody waits for it but a
   machine of its own. */
static void see_out(saros_op *held) {
  error *e = NULL;
  process_end_input(held);
  ask *a = ask_make(NULL, EVENT_ABORT, &e);
  if (a == NULL) { /* no time can be kept for it */
    error_unref(e);
    op_try_cancel(held);
    saros_op_unref(held);
    return;
  }
  saros_op *op = a->m.op;
  a->stage = LETTING_GO;
  a->patience = engine_clock() + command_patience_ms * (SECOND / 1000);
  attend(a, held);
  machine_wake(&a->m);
  saros_op_unref(op);
}

static void way_hang_up(writer_link *l) {
  bool ours = l->generation == fork_generation;
  /* In a child of a fork the lock may be another thread's for ever. */
  if (ours) pthread_mutex_lock(&l->lock);
  saros_op *held = l->held;
  l->held = NULL;
  if (ours) pthread_mutex_unlock(&l->lock);
  if (held != NULL && ours)
    see_out(held);
  else if (held != NULL)
    saros_op_unref(held);
  link_unref(l);
}

/* Between its verbs nothing of it runs that could have died. */
static error *way_alive(writer_link *l) {
  return writer_is_gone(l->w);
}

const writer_way command_way = {.name = "command",
                                .connect = way_connect,
                                .tell = way_tell,
                                .hang_up = way_hang_up,
                                .release = command_release,
                                .alive = way_alive};
