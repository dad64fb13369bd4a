/*
** A small reference model of the operation, and schedules against it:
** random ones by seed, and every one of two operations up to some depth. After
** each step all that can be asked is compared, which is how the invariants I1
** to I10 are looked at; where each is, a comment says.
*/
#include "gate.h"

#define SENTINEL 0xDEADBEEFu

/* ------------------------------------------------------------------
** The model
** ---------------------------------------------------------------- */

typedef struct model {
  saros_facade facade;
  uint32_t flags;
  saros_state state;
  bool working, ended, unwound, point, output, transfer;
  uint32_t code, percent, win32, transport, retries;
  uint64_t done;
  int cancels, pauses, resumes;
} model;

static bool is_pending(const model *m) {
  return !saros_state_is_terminal(m->state);
}

static bool model_end(model *m, uint32_t code) {
  if (!is_pending(m)) return false;
  m->state = code_failed(code) ? SAROS_FAILED : SAROS_SUCCEEDED;
  m->code = code;
  return true;
}

static bool model_finish(model *m, uint32_t code) {
  bool won = model_end(m, code);
  m->ended = m->unwound = true;
  m->working = false;
  return won;
}

static cancel_result model_cancel(model *m) {
  if (m->state == SAROS_CANCELLED_STATE) return CANCEL_ALREADY;
  if (!is_pending(m)) return CANCEL_ENDED;
  if (!(m->flags & SAROS_CANCELLABLE)) return CANCEL_UNSUPPORTED;
  if (m->point) return CANCEL_TOO_LATE;
  m->state = SAROS_CANCELLED_STATE;
  m->code = SAROS_E_CANCELLED;
  if (m->working)
    m->cancels++; /* told, and it unwinds */
  else
    model_finish(m, 0);
  return CANCEL_DONE;
}

static bool model_go(model *m, unsigned from, saros_state to) {
  if (!(from & (1u << m->state))) return false;
  m->state = to;
  return true;
}

#define IN(s) (1u << (s))

static bool model_reopen(model *m) {
  if (!(m->flags & SAROS_REOPENABLE) || m->state != SAROS_FAILED) return false;
  if (!m->ended || !m->unwound || m->working) return false;
  m->state = SAROS_QUEUED;
  m->ended = m->unwound = m->point = m->transfer = false;
  m->code = m->win32 = m->transport = m->retries = 0;
  return true;
}

static void model_progress(model *m, uint64_t done, uint64_t total) {
  if (!is_pending(m)) return;
  if (done > m->done) m->done = done;
  if (m->flags & SAROS_NO_ESTIMATE || total == 0) return;
  uint32_t percent = m->done >= total ? 99 : (uint32_t)(m->done * 100 / total);
  if (percent > 99) percent = 99;
  if (percent > m->percent) m->percent = percent;
}

static uint32_t cancel_code(const model *m, cancel_result r) {
  bool done = r == CANCEL_DONE, again = r == CANCEL_ALREADY;
  bool ended = r == CANCEL_ENDED;
  switch (m->facade) {
    case SAROS_FACADE_VSS:
      if (done) return 0;
      if (again) return VSS_S_ASYNC_CANCELLED;
      if (!ended) return VSS_E_NOT_SUPPORTED;
      return m->code == 0 ? VSS_S_ASYNC_FINISHED : m->code;
    case SAROS_FACADE_WSB: return done || again || ended ? 0 : SAROS_E_FAIL;
    case SAROS_FACADE_VDS:
      if (r == CANCEL_UNSUPPORTED) return VDS_E_NOT_SUPPORTED;
      if (again) return VDS_E_OPERATION_CANCELED;
      return done ? 0 : VDS_E_CANCEL_TOO_LATE;
    case SAROS_FACADE_BITS: return done ? 0 : BG_E_INVALID_STATE;
    default:
      if (done || again) return 0;
      return ended ? m->code : 0x80070032u;
  }
}

/* ------------------------------------------------------------------
** What is asked, and what the model says
** ---------------------------------------------------------------- */

typedef struct answers {
  uint32_t method, a, b, c, d; /* of the facade's query */
  uint32_t code;
  saros_state state;
  bool over, output, why;
} answers;

static answers ask(saros_op *op) {
  answers n = {SENTINEL, SENTINEL,      SENTINEL, SENTINEL, SENTINEL,
               0,        SAROS_CREATED, false,    false,    false};
  switch (op->kind->facade) {
    case SAROS_FACADE_VSS:
      n.method = saros_vss_query_status(op, &n.a, NULL);
      break;
    case SAROS_FACADE_WSB: n.method = saros_wsb_query_status(op, &n.a); break;
    case SAROS_FACADE_VDS:
      n.method = saros_vds_query_status(op, &n.a, &n.b);
      break;
    case SAROS_FACADE_BITS:
      n.method = saros_bits_get_status(op, &n.a, &n.b, &n.c, &n.d);
      break;
    default: n.method = saros_query_status(op, &n.a, &n.b);
  }
  n.code = saros_op_code(op);
  n.state = saros_op_state(op);
  n.over = op_is_over(op);
  n.output = op_output(op) != NULL;
  return n;
}

static answers expect(const model *m) {
  answers n = {0, SENTINEL, SENTINEL,   SENTINEL, SENTINEL,
               0, m->state, m->unwound, false,    false};
  bool pending = is_pending(m), cancelled = m->state == SAROS_CANCELLED_STATE;
  n.code = pending ? SAROS_S_PENDING : m->code;
  n.output = m->state == SAROS_SUCCEEDED && m->output;
  uint32_t percent = pending ? m->percent : 100;
  switch (m->facade) {
    case SAROS_FACADE_VSS:
      n.a = pending        ? VSS_S_ASYNC_PENDING
            : cancelled    ? VSS_S_ASYNC_CANCELLED
            : m->code == 0 ? VSS_S_ASYNC_FINISHED
                           : m->code;
      break;
    case SAROS_FACADE_WSB:
      n.a = pending ? WSBAPP_ASYNC_IN_PROGRESS : m->code;
      break;
    case SAROS_FACADE_VDS:
      n.a = pending     ? VDS_E_OPERATION_PENDING
            : cancelled ? VDS_E_OPERATION_CANCELED
                        : m->code;
      n.b = percent;
      break;
    case SAROS_FACADE_BITS:
      if (cancelled) {
        n.method = QM_E_ITEM_NOT_FOUND; /* I6: and nothing is written */
        break;
      }
      n.a = m->state == SAROS_SUCCEEDED ? 0x04
            : m->state == SAROS_FAILED  ? 0x10
                                        : 0x08;
      n.b = n.c = n.d = 0;
      if (m->state == SAROS_RETRY_WAIT) n.a |= 0x10;
      if (!(n.a & 0x10)) break;
      n.d = m->retries;
      if (m->transfer) {
        n.b = m->win32;
        n.c = m->transport;
      }
      if (m->state == SAROS_FAILED && n.b == 0 && n.c == 0) {
        if ((m->code & 0xFFFF0000u) == 0x80070000u) n.b = m->code & 0xFFFFu;
        if ((m->code & 0xFFFF0000u) == 0x80190000u) n.c = m->code & 0xFFFFu;
      }
      break;
    default: n.a = n.code; n.b = percent;
  }
  return n;
}

static bool same(const answers *x, const answers *y) {
  return x->method == y->method && x->a == y->a && x->b == y->b &&
         x->c == y->c && x->d == y->d && x->code == y->code &&
         x->state == y->state && x->over == y->over && x->output == y->output;
}

/* ------------------------------------------------------------------
** Both together
** ---------------------------------------------------------------- */

typedef struct pair {
  gated g;
  model m;
  bool settled; /* it has been seen terminal, with these answers: */
  answers last;
} pair;

static long steps_bad;

static void bad(const pair *p, const char *what) {
  if (steps_bad++ > 5) return;
  printf("facade %d flags %x state %d: %s\n", (int)p->m.facade, p->m.flags,
         (int)p->m.state, what);
}

/* Everything is asked, twice: I4, a query changes nothing. */
static void compare(pair *p) {
  answers real = ask(p->g.op), again = ask(p->g.op), due = expect(&p->m);
  if (!same(&real, &again)) bad(p, "a query changed something (I4)");
  if (!same(&real, &due)) {
    bad(p, "not what the model says (I2, I3, I5, I6, I8)");
    if (steps_bad <= 5)
      printf(
          "  real %x: %x %x %x %x %x s%d o%d, model %x: %x %x %x %x %x s%d "
          "o%d\n",
          real.method, real.a, real.b, real.c, real.d, real.code,
          (int)real.state, real.over, due.method, due.a, due.b, due.c, due.d,
          due.code, (int)due.state, due.over);
  }
  if (p->g.cancels != p->m.cancels || p->g.pauses != p->m.pauses ||
      p->g.resumes != p->m.resumes)
    bad(p, "a callback too many or too few");
  if (p->g.releases != 0) bad(p, "released too early (I10)");
  /* I1: once terminal, for ever the same; only `over` is still to come. */
  if (p->settled) {
    answers now = real;
    now.over = p->last.over;
    if (!same(&now, &p->last)) bad(p, "a terminal answer changed (I1)");
  }
  p->settled = !is_pending(&p->m);
  p->last = real;
}

static const uint32_t kinds[] = {
    SAROS_CANCELLABLE, 0, SAROS_CANCELLABLE | SAROS_NO_ESTIMATE,
    SAROS_CANCELLABLE | SAROS_REOPENABLE, SAROS_REOPENABLE};
static const uint32_t codes[] = {0,           0,           0,
                                 1,           0x0004241Au, SAROS_E_FAIL,
                                 0x80070070u, 0x80190194u, SAROS_E_TIMEOUT};
#define PICK(array, n) ((array)[(n) % (sizeof(array) / sizeof *(array))])

static void pair_begin(pair *p, saros_facade whose, uint32_t flags) {
  gated_kind(&p->g, whose, flags);
  gated_new(&p->g, NULL);
  p->m = (model){.facade = whose, .flags = flags, .state = SAROS_CREATED};
  p->settled = false;
}

/* I9: whatever it is, it can be ended. I10: letting go cancels nothing, and
   the work holds it until its end. */
static void pair_end(pair *p, bool let_go_first) {
  saros_op *op = p->g.op;
  int cancels = p->g.cancels;
  bool working = p->m.working;
  if (let_go_first && working) {
    saros_op_unref(op);
    if (p->g.releases != 0) bad(p, "the work did not hold it (I10)");
    saros_op_finish(op, 0, NULL);
  } else {
    if (working || is_pending(&p->m)) saros_op_finish(op, 0, NULL);
    if (!op_is_over(op) && p->m.ended) bad(p, "never over (I9)");
    saros_op_unref(op);
  }
  if (p->g.releases != 1) bad(p, "not released (I10)");
  if (p->g.cancels != cancels) bad(p, "let go is not cancel (I10)");
  pthread_cond_destroy(&p->g.moved);
  pthread_mutex_destroy(&p->g.lock);
}

typedef enum action {
  START,
  PROGRESS,
  FINISH_GOOD,
  CANCEL,
  PAUSE,
  RESUME,
  RETRY,
  RUNNING,
  POINT,
  FINISH_BAD,
  END_BAD,
  REOPEN,
  OUTPUT,
  TRANSFER,
  ACTIONS
} action;

/* Does it to both; `n` is chance. Answers must agree. */
static void act(pair *p, action what, uint64_t n) {
  saros_op *op = p->g.op;
  model *m = &p->m;
  bool r = false, e = false;
  uint32_t code = PICK(codes, n);
  switch (what) {
    case START: {
      bool can = is_pending(m) && !m->working;
      if (can) {
        m->working = true;
        if (m->state != SAROS_PAUSED) m->state = SAROS_RUNNING;
      }
      r = saros_op_start(op) == 0;
      e = can;
      break;
    }
    case PROGRESS:
      model_progress(m, n % 1100, n % 7 == 0 ? 0 : 1000);
      saros_op_progress(op, n % 1100, n % 7 == 0 ? 0 : 1000);
      break;
    case FINISH_GOOD:
      if (code_failed(code)) code = 0;
      e = model_finish(m, code);
      r = saros_op_finish(op, code, NULL);
      break;
    case FINISH_BAD:
      if (!code_failed(code)) code = SAROS_E_FAIL;
      e = model_finish(m, code);
      r = saros_op_finish(op, code, n % 2 ? "why" : NULL);
      break;
    case END_BAD:
      if (!code_failed(code)) code = SAROS_E_FAIL;
      e = model_end(m, code);
      r = saros_op_end(op, code, NULL);
      break;
    case CANCEL:
      e = true;
      code = cancel_code(m, model_cancel(m));
      r = saros_op_cancel(op) == code;
      break;
    case PAUSE:
      e = model_go(m,
                   IN(SAROS_QUEUED) | IN(SAROS_RUNNING) | IN(SAROS_RETRY_WAIT),
                   SAROS_PAUSED);
      m->pauses += e;
      r = saros_op_pause(op);
      break;
    case RESUME:
      e = model_go(m, IN(SAROS_PAUSED) | IN(SAROS_RETRY_WAIT), SAROS_QUEUED);
      m->resumes += e;
      r = saros_op_resume(op);
      break;
    case RETRY:
      e = model_go(m, IN(SAROS_RUNNING), SAROS_RETRY_WAIT);
      if (e) {
        m->transfer = true;
        m->win32 = (uint32_t)(n % 3);
        m->transport = (uint32_t)(n % 5);
        m->retries++;
      }
      r = saros_op_retry_wait(op, (uint32_t)(n % 3), (uint32_t)(n % 5));
      break;
    case RUNNING:
      e = model_go(m,
                   IN(SAROS_CREATED) | IN(SAROS_QUEUED) | IN(SAROS_RUNNING) |
                       IN(SAROS_RETRY_WAIT),
                   SAROS_RUNNING);
      r = saros_op_running(op);
      break;
    case POINT:
      e = is_pending(m);
      if (e) m->point = true;
      r = saros_op_point_of_no_return(op);
      break;
    case REOPEN:
      e = model_reopen(m);
      r = op_reopen(op);
      if (e) p->settled = false; /* the one exit of I1 */
      break;
    case OUTPUT:
      if (is_pending(m)) m->output = true;
      op_set_output(op, value_int((int64_t)n));
      break;
    default:
      if (is_pending(m)) {
        m->transfer = true;
        m->win32 = (uint32_t)(n % 4);
        m->transport = (uint32_t)(n % 2);
      }
      saros_op_transfer_error(op, (uint32_t)(n % 4), (uint32_t)(n % 2));
  }
  if (r != e) bad(p, "a call answered something else");
  compare(p);
}

/* ------------------------------------------------------------------
** Gathers over them
** ---------------------------------------------------------------- */

#define MEMBERS 4

typedef struct swarm {
  saros_op *op; /* NULL: there is none */
  gather_mode mode;
  pair *members[MEMBERS];
  bool seen[MEMBERS]; /* this member was over */
  size_t count, left;
  long index;
  saros_state state;
} swarm;

static void flock_sees(swarm *f, size_t i) {
  f->seen[i] = true;
  f->left--;
  if (saros_state_is_terminal(f->state)) return;
  bool wrong = f->members[i]->m.state != SAROS_SUCCEEDED;
  bool ends = f->mode == GATHER_FIRST || (f->mode == GATHER_FAILURE && wrong);
  if (ends) f->index = (long)i;
  if (ends || f->left == 0) f->state = SAROS_SUCCEEDED;
}

static void flock_look(swarm *f) {
  if (f->op == NULL) return;
  for (size_t i = 0; i < f->count; i++)
    if (!f->seen[i] && f->members[i]->m.unwound) flock_sees(f, i);
  if (saros_op_state(f->op) != f->state ||
      op_is_over(f->op) != saros_state_is_terminal(f->state) ||
      gather_index(f->op) != f->index) {
    if (steps_bad++ < 5)
      printf("gather mode %d: state %d index %ld, not %d %ld\n", (int)f->mode,
             (int)saros_op_state(f->op), gather_index(f->op), (int)f->state,
             f->index);
  }
}

static void flock_begin(swarm *f, pair *pairs, unsigned among, uint64_t *seed) {
  saros_op *ops[MEMBERS];
  uint32_t why;
  memset(f, 0, sizeof *f);
  f->mode = (gather_mode)gate_below(seed, 3);
  f->count = f->left = gate_below(seed, MEMBERS + 1);
  f->index = -1;
  f->state = f->count == 0 ? SAROS_SUCCEEDED : SAROS_RUNNING;
  for (size_t i = 0; i < f->count; i++) {
    f->members[i] = &pairs[gate_below(seed, among)];
    ops[i] = f->members[i]->g.op;
  }
  f->op = gather_start(ops, f->count, f->mode, &why);
  flock_look(f);
}

static void flock_end(swarm *f, bool cancel) {
  if (f->op == NULL) return;
  if (cancel || !saros_state_is_terminal(f->state)) {
    uint32_t code = saros_cancel(f->op);
    if (code != 0) steps_bad++; /* accepted, or it had succeeded */
  }
  if (!op_is_over(f->op)) steps_bad++;
  saros_op_unref(f->op);
  f->op = NULL;
}

/* ------------------------------------------------------------------
** Schedules
** ---------------------------------------------------------------- */

#define PAIRS 12
#define FLOCKS 3

TEST(random_schedules) {
  static pair pairs[PAIRS];
  static swarm flocks[FLOCKS];
  uint64_t seed = gate_seed("model");
  long steps = gate_loops(1000000), renewed = 0;
  gate_counts before = gate_count();
  atomic_store(&op_unwinding_ms, 3600000);
  CHECK_INT(engine_acquire(), 0); /* else it starts and stops all the time */
  steps_bad = 0;
  for (unsigned i = 0; i < PAIRS; i++)
    pair_begin(&pairs[i], (saros_facade)(i % SAROS_FACADES), PICK(kinds, i));
  for (long step = 0; step < steps && steps_bad == 0; step++) {
    unsigned which = gate_below(&seed, PAIRS), what = gate_below(&seed, 40);
    pair *p = &pairs[which];
    if (what == 39 || (what == 38 && p->m.ended)) { /* another instead */
      for (int i = 0; i < FLOCKS; i++) flock_end(&flocks[i], step % 2);
      pair_end(p, step % 3 == 0);
      pair_begin(p, (saros_facade)gate_below(&seed, SAROS_FACADES),
                 PICK(kinds, gate_random(&seed)));
      renewed++;
    } else if (what >= 36) {
      swarm *f = &flocks[gate_below(&seed, FLOCKS)];
      flock_end(f, what == 37);
      flock_begin(f, pairs, PAIRS, &seed);
    } else {
      /* What ends is rarer than what goes on, or nothing would happen. */
      action a = (action)(what % ACTIONS);
      bool ends = a == FINISH_GOOD || a == FINISH_BAD || a == END_BAD ||
                  a == CANCEL || a == POINT;
      if (ends && gate_below(&seed, 3) != 0) a = START;
      act(p, a, gate_random(&seed));
    }
    for (int i = 0; i < FLOCKS; i++) flock_look(&flocks[i]);
    if (step % 64 == 0)
      for (unsigned i = 0; i < PAIRS; i++) compare(&pairs[i]);
    if (steps_bad > 0) printf("in step %ld\n", step);
  }
  CHECK_INT(steps_bad, 0);
  for (int i = 0; i < FLOCKS; i++) flock_end(&flocks[i], false);
  for (unsigned i = 0; i < PAIRS; i++) pair_end(&pairs[i], i % 2);
  CHECK_INT(steps_bad, 0);
  printf("%ld steps, %ld operations\n", steps, renewed + PAIRS);
  engine_release();
  atomic_store(&op_unwinding_ms, 0);
  CHECK(gate_back_to(before));
}

/* Every schedule of two operations and a gather over both, from the state in
   which both have been started. */
static long schedules;

static void replay(const unsigned *choices, int depth, saros_facade whose) {
  static pair two[2];
  swarm f;
  uint32_t why;
  for (int i = 0; i < 2; i++) {
    pair_begin(&two[i], whose,
               SAROS_CANCELLABLE | (i == 1 ? SAROS_REOPENABLE : 0));
    act(&two[i], START, 0);
  }
  saros_op *ops[] = {two[0].g.op, two[1].g.op};
  f = (swarm){.mode = (gather_mode)(schedules % 3),
              .members = {&two[0], &two[1]},
              .count = 2,
              .left = 2,
              .index = -1,
              .state = SAROS_RUNNING};
  f.op = gather_start(ops, 2, f.mode, &why);
  for (int i = 0; i < depth; i++) {
    act(&two[choices[i] % 2], (action)(choices[i] / 2 + 1), choices[i]);
    flock_look(&f);
  }
  if (steps_bad > 0 && steps_bad < 5) {
    printf("after");
    for (int i = 0; i < depth; i++) printf(" %u", choices[i]);
    printf("\n");
  }
  flock_end(&f, schedules % 2);
  for (int i = 0; i < 2; i++) pair_end(&two[i], i == 1);
  schedules++;
}

TEST(every_schedule_of_two) {
  enum { CHOICES = 2 * (ACTIONS - 1) };
  gate_counts before = gate_count();
  int most = gate_is_quick ? 3 : 4;
  atomic_store(&op_unwinding_ms, 3600000);
  CHECK_INT(engine_acquire(), 0);
  steps_bad = 0;
  schedules = 0;
  unsigned choices[4] = {0};
  for (bool more = true; more && steps_bad == 0;) {
    /* The facade does not change the way the states go: each takes turns. */
    replay(choices, most, (saros_facade)(schedules % SAROS_FACADES));
    int at = most - 1;
    while (at >= 0 && ++choices[at] == CHOICES) choices[at--] = 0;
    more = at >= 0;
  }
  CHECK_INT(steps_bad, 0);
  printf("%ld schedules of depth %d\n", schedules, most);
  engine_release();
  atomic_store(&op_unwinding_ms, 0);
  CHECK(gate_back_to(before));
}

/* I7: the names of the same number differ. */
TEST(i7_names_are_per_facade) {
  char a[11], b[11];
  CHECK(strcmp(code_name(SAROS_FACADE_VSS, 0x8004240Cu, a),
               code_name(SAROS_FACADE_VDS, 0x8004240Cu, b)) != 0);
  CHECK_TEXT(code_name(SAROS_FACADE_VDS, 0x80042409u, b),
             "VDS_E_OPERATION_PENDING");
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(random_schedules);
  GATE_RUN(every_schedule_of_two);
  GATE_RUN(i7_names_are_per_facade);
  return check_end();
}
