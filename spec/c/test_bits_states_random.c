/*
** States: long random lives of jobs held against a model, and jobs that many
** ask something of at once.
*/
#include "bits_states_case.h"

/* ------------------------------------------------------------------
** A random life, and a model of it
** ---------------------------------------------------------------- */

static uint64_t seed;

static unsigned rnd(unsigned n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(seed >> 33) % n;
}

typedef struct model {
  bits_state state;
  unsigned files, done;
  bool failed;   /* an error is told */
  unsigned runs; /* begun */
  bool pending;  /* the last of them */
} model;

static bool is_active(bits_state s) {
  return s <= BITS_TRANSFERRING || s == BITS_TRANSIENT_ERROR;
}

static void enter(model *x, bits_state s) {
  if (x->state == s) return;
  x->state = s;
  if (s == BITS_TRANSFERRING || s == BITS_TRANSFERRED) x->failed = false;
  if (s == BITS_ERROR || s == BITS_TRANSFERRED || s >= BITS_ACKNOWLEDGED)
    x->pending = false;
}

static void model_resume(model *x) {
  if (x->state <= BITS_TRANSFERRING || x->state == BITS_TRANSFERRED) return;
  if (!x->pending) x->runs++;
  x->pending = true;
  enter(x, BITS_QUEUED);
  if (x->done == x->files) enter(x, BITS_TRANSFERRED);
}

static void one_done(bits_job *j, model *x) {
  lock();
  for (uint32_t i = 0; i < j->file_count; i++) {
    bits_file *f = j->files[i];
    if (f->state == BITS_FILE_DONE) continue;
    f->marks |= BITS_FILE_APPEARED;
    f->state = BITS_FILE_DONE;
    bits_job_file_done(j, f);
    x->done++;
    break;
  }
  unlock();
  if (x->done == x->files && is_active(x->state)) enter(x, BITS_TRANSFERRED);
}

static void one_fails(bits_job *j, model *x, bits_end end) {
  bits_result r = {.end = end,
                   .code = BG_E_TIMEOUT,
                   .context = BITS_CONTEXT_TRANSPORT,
                   .why = "so"};
  bits_file *waits = NULL;
  lock();
  for (uint32_t i = 0; waits == NULL && i < j->file_count; i++)
    if (j->files[i]->state == BITS_FILE_WAITS) waits = j->files[i];
  if (waits != NULL) bits_job_fails(j, waits, &r);
  unlock();
  if (waits == NULL || !is_active(x->state)) return;
  x->failed = true;
  enter(x, end == BITS_END_FAILED ? BITS_ERROR : BITS_TRANSIENT_ERROR);
}

static void step(bits_job *j, model *x) {
  static const bits_state heard[] = {BITS_CONNECTING, BITS_TRANSFERRING,
                                     BITS_QUEUED};
  bits_state s;
  uint32_t code;
  switch (rnd(10)) {
    case 0:
    case 1:
      error_unref(bits_job_resume(j));
      model_resume(x);
      break;
    case 2:
      error_unref(bits_job_suspend(j));
      enter(x, BITS_SUSPENDED);
      break;
    case 3:
    case 4:
    case 5:
      s = heard[rnd(3)];
      if (!is_active(x->state)) break; /* no try is at work */
      move(j, s);
      if (may(x->state, s)) enter(x, s);
      break;
    case 6: one_fails(j, x, rnd(2) ? BITS_END_AGAIN : BITS_END_FAILED); break;
    case 7:
      if (x->done < x->files) one_done(j, x);
      break;
    case 8:
      if (add_to(j) == 0) {
        x->files++;
        if (x->state == BITS_TRANSFERRED) enter(x, BITS_SUSPENDED);
      }
      break;
    default:
      if (rnd(8) > 0) break;
      if (rnd(2) == 0) {
        error_unref(bits_job_cancel(j, &code));
        enter(x, BITS_CANCELLED);
      } else {
        CHECK(is_fine(bits_job_complete(j, &code)));
        CHECK_INT(code, x->done == x->files ? 0 : BG_S_PARTIAL_COMPLETE);
        enter(x, BITS_ACKNOWLEDGED);
      }
  }
}

static bool agrees(bits_job *j, const model *x) {
  uint32_t code;
  value *v = bits_job_error(j, &code);
  bool shown = v != NULL;
  value_free(v);
  saros_op *run = bits_job_run(j);
  bool pending = run != NULL && !saros_state_is_terminal(saros_op_state(run));
  if (run != NULL) saros_op_unref(run);
  return bits_job_state(j) == x->state && j->file_count == x->files &&
         j->files_done == x->done && pending == x->pending &&
         shown == (x->failed && x->state < BITS_TRANSFERRED);
}

static void live(uint64_t with) {
  seed = with;
  bits_job *j = job_with("{}", 2);
  model x = {.state = BITS_SUSPENDED, .files = 2};
  for (unsigned n = 0; n < 60 && x.state < BITS_ACKNOWLEDGED; n++) {
    step(j, &x);
    if (agrees(j, &x)) continue;
    printf("seed %llu, step %u: %s, not %s; %u of %u; run %d; failed %d\n",
           (unsigned long long)with, n, bits_state_name(bits_job_state(j)),
           bits_state_name(x.state), j->files_done, j->file_count, x.pending,
           x.failed);
    CHECK(false);
    break;
  }
  drop(j);
}

TEST(random_lives) {
  unsigned lives = getenv("SAROS_LONG") != NULL ? 3000 : 60;
  for (unsigned i = 0; i < lives; i++) live(0x5A205 + i);
}

/* ------------------------------------------------------------------
** Everybody at once
** ---------------------------------------------------------------- */

typedef struct caller {
  bits_job *j;
  uint64_t seed;
  unsigned refused; /* for another reason than its state */
} caller;

static unsigned toss(caller *c, unsigned n) {
  c->seed = c->seed * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(c->seed >> 33) % n;
}

static uint32_t set_two(bits_job *j, unsigned n) {
  value *v =
      json_of("{'name':'%u','credentials':{'user':'u','password':'%u'}}", n, n);
  uint32_t code = code_of(bits_job_set(j, v));
  value_free(v);
  return code;
}

static uint32_t add_one(bits_job *j, unsigned n) {
  value *v = json_of("{'url':'http://127.0.0.1:1/x','path':'%s/storm-%u'}",
                     world_folder, n);
  uint32_t code = code_of(bits_job_add_file(j, v));
  value_free(v);
  return code == SAROS_E_INVALIDARG ? 0 : code; /* it was there */
}

static void one_call(caller *c) {
  bits_job *j = c->j;
  uint32_t code = 0;
  saros_op *run;
  switch (toss(c, 8)) {
    case 0: code = code_of(bits_job_resume(j)); break;
    case 1: code = code_of(bits_job_suspend(j)); break;
    case 2: code = set_two(j, toss(c, 1000)); break;
    case 3: code = add_one(j, toss(c, 1000)); break;
    case 4: code = set_url_of(j); break;
    case 5: value_free(bits_job_status(j)); break;
    case 6: value_free(bits_job_files(j, 0, 20)); break;
    default:
      run = bits_job_run(j);
      if (run != NULL) saros_op_unref(run);
      value_free(bits_job_error(j, &code));
      code = 0;
  }
  if (code != 0 && code != BG_E_INVALID_STATE) c->refused++;
}

static void *call_all(void *context) {
  caller *c = context;
  for (unsigned i = 0; i < 60; i++) one_call(c);
  return NULL;
}

#define CALLERS 4

TEST(everybody_at_once) {
  for (unsigned n = 0; n < 4; n++) {
    bits_job *j = job_with("{}", 1);
    caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++) {
      callers[i] = (caller){.j = j, .seed = n * 100 + i};
      CHECK(pthread_create(&threads[i], NULL, call_all, &callers[i]) == 0);
    }
    for (unsigned i = 0; i < 60; i++) { /* the tries of meanwhile */
      lock();
      bits_job_move(j, i % 2 ? BITS_TRANSFERRING : BITS_CONNECTING);
      if (i % 7 == 6) {
        bits_result r = {.end = i % 2 ? BITS_END_AGAIN : BITS_END_FAILED,
                         .code = BG_E_TIMEOUT};
        bits_job_fails(j, j->files[0], &r);
      }
      unlock();
      set_of(j);
    }
    saros_op *run = NULL;
    if (n % 2 == 1) run = bits_job_run(j);
    if (run != NULL) {
      saros_op_cancel(run);
      saros_op_unref(run);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
      pthread_join(threads[i], NULL);
      CHECK_INT(callers[i].refused, 0);
    }
    drop(j);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  world_make();
  m = open_queue("{'active':false}");
  RUN(random_lives);
  RUN(everybody_at_once);
  shut_queue(m);
  return check_end();
}
