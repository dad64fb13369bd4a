/*
** What tests of the states of a job share: jobs that are brought into a state
** by ways that are allowed, failures, and what is told of them. Nothing is
** transferred: tries are played by the test.
**
**     world_make();
**     m = open_queue("{'active':false}");
**     bits_job *j = job_with("{}", 1);
**     bring(j, BITS_TRANSFERRING);
**     fails(j, BITS_END_FAILED, BG_E_HTTP(404), 0, 404);
**     check_status(j, 0x10, 0, 404, 0);
**     drop(j);
*/
#ifndef SAROS_SPEC_BITS_STATES_CASE_H
#define SAROS_SPEC_BITS_STATES_CASE_H

#include "bits_end_case.h"
#include "check.h"

#define STATES 9

static inline void lock(void) {
  pthread_mutex_lock(&m->lock);
}

static inline void unlock(void) {
  pthread_mutex_unlock(&m->lock);
}

static inline void move(bits_job *j, bits_state to) {
  lock();
  bits_job_move(j, to);
  unlock();
}

/* All its files are there, and have their names, so that none is looked for. */
static inline void finish_files(bits_job *j) {
  lock();
  for (uint32_t i = 0; i < j->file_count; i++) {
    bits_file *f = j->files[i];
    if (f->state == BITS_FILE_DONE) continue;
    f->marks |= BITS_FILE_APPEARED;
    f->state = BITS_FILE_DONE;
    bits_job_file_done(j, f);
  }
  unlock();
}

static inline void fails(bits_job *j, bits_end end, uint32_t code,
                         uint32_t win32, uint32_t transport) {
  bits_result r = {.end = end,
                   .code = code,
                   .context = BITS_CONTEXT_REMOTE,
                   .win32 = win32,
                   .transport = transport,
                   .why = "it did not work"};
  lock();
  if (end == BITS_END_AGAIN) j->retries++; /* as the mover does */
  bits_job_fails(j, j->files[0], &r);
  unlock();
}

/* By allowed ways only. */
static inline void bring(bits_job *j, bits_state to) {
  uint32_t code;
  if (to == BITS_SUSPENDED) return;
  if (to == BITS_CANCELLED) {
    CHECK(is_fine(bits_job_cancel(j, &code)));
    return;
  }
  CHECK(is_fine(bits_job_resume(j)));
  if (to == BITS_QUEUED) return;
  move(j, BITS_CONNECTING);
  if (to == BITS_TRANSFERRING) move(j, BITS_TRANSFERRING);
  if (to == BITS_ERROR) fails(j, BITS_END_FAILED, BG_E_HTTP(404), 0, 404);
  if (to == BITS_TRANSIENT_ERROR)
    fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  if (to == BITS_TRANSFERRED || to == BITS_ACKNOWLEDGED) finish_files(j);
  if (to == BITS_ACKNOWLEDGED) CHECK(is_fine(bits_job_complete(j, &code)));
  CHECK_INT(bits_job_state(j), to);
}

static inline void drop(bits_job *j) {
  uint32_t code;
  if (bits_job_state(j) < BITS_ACKNOWLEDGED)
    error_unref(bits_job_cancel(j, &code));
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Moves
** ---------------------------------------------------------------- */

/* Rows: from. As BITS has them; and TRANSFERRED falls back to ERROR when
   the disk has lost a file. */
static const char *const allowed[STATES] = {
    /*            Q C T S E t d A X */
    /* queued */ ".C.SEtdAX",
    "Q.TSEtdAX",
    "Q..SEtdAX",
    "Q......AX",
    "Q..S...AX",
    "Q..SE..AX",
    "...SE..AX",
    ".........",
    ".........",
};

static inline bool may(bits_state from, bits_state to) {
  static const char letters[] = "QCTSEtdAX";
  return strchr(allowed[from], letters[to]) != NULL;
}

/* ------------------------------------------------------------------
** Calls
** ---------------------------------------------------------------- */

static inline uint32_t set_of(bits_job *j) {
  value *v = json_of("{'description':'x'}");
  uint32_t code = code_of(bits_job_set(j, v));
  value_free(v);
  return code;
}

static inline uint32_t set_url_of(bits_job *j) {
  value *v = json_of("{'number':0,'url':'http://127.0.0.1:2/y'}");
  uint32_t code = code_of(bits_job_set_url(j, v));
  value_free(v);
  return code;
}

static inline uint32_t add_to(bits_job *j) {
  static unsigned names;
  char name[40];
  snprintf(name, sizeof name, "more-%u", ++names);
  value *v =
      json_of("{'url':'http://127.0.0.1:1/x','path':'%s'}", in_world(name));
  uint32_t code = code_of(bits_job_add_file(j, v));
  value_free(v);
  return code;
}

/* ------------------------------------------------------------------
** What is told
** ---------------------------------------------------------------- */

typedef struct told {
  uint32_t hr, flags, win32, transport, retries;
} told;

static inline told status_of(bits_job *j) {
  told t = {0, 99, 99, 99, 99};
  t.hr = bits_job_get_status(j, &t.flags, &t.win32, &t.transport, &t.retries);
  return t;
}

static inline void check_status(bits_job *j, uint32_t flags, uint32_t win32,
                                uint32_t transport, uint32_t retries) {
  told t = status_of(j);
  CHECK_INT(t.hr, SAROS_S_OK); /* A82 */
  CHECK_INT(t.flags, flags);
  CHECK_INT(t.win32, win32);
  CHECK_INT(t.transport, transport);
  CHECK_INT(t.retries, retries);
}

static inline saros_state run_state(bits_job *j) {
  saros_op *run = bits_job_run(j);
  if (run == NULL) return SAROS_CREATED;
  saros_state s = saros_op_state(run);
  saros_op_unref(run);
  return s;
}

#endif
