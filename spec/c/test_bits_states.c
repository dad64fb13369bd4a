/*
** States: every move against a table of its own; every call in every state;
** what a run, a status and an error say on the way; times; and long random
** lives held against a model. Nothing is transferred here: tries and the keeper
** are played by the test.
*/
#include "bits/job_parts.h"
#include "bits_case.h"
#include "check.h"

static bits_manager *m;
static unsigned names;

#define STATES 9

/* With one file, or more. */
static bits_job *job_with(const char *options, unsigned files) {
  bits_job *j = make_job(m, options);
  for (unsigned i = 0; i < files; i++) {
    char name[40];
    snprintf(name, sizeof name, "file-%u", ++names);
    CHECK(add_file(j, "http://127.0.0.1:1/x", name));
  }
  return j;
}

static void lock(void) {
  pthread_mutex_lock(&m->lock);
}

static void unlock(void) {
  pthread_mutex_unlock(&m->lock);
}

static void move(bits_job *j, bits_state to) {
  lock();
  bits_job_move(j, to);
  unlock();
}

/* All its files are there, and have their names, so that none is looked for. */
static void finish_files(bits_job *j) {
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

static void fails(bits_job *j, bits_end end, uint32_t code, uint32_t win32,
                  uint32_t transport) {
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
static void bring(bits_job *j, bits_state to) {
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

static void drop(bits_job *j) {
  uint32_t code;
  if (bits_job_state(j) < BITS_ACKNOWLEDGED)
    error_unref(bits_job_cancel(j, &code));
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Moves
** ---------------------------------------------------------------- */

/* Rows: from. As the facts have it; and TRANSFERRED falls back to ERROR when
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

static bool may(bits_state from, bits_state to) {
  static const char letters[] = "QCTSEtdAX";
  return strchr(allowed[from], letters[to]) != NULL;
}

TEST(every_move) {
  for (int from = 0; from < STATES; from++)
    for (int to = 0; to < STATES; to++) {
      bits_job *j = job_with("{}", 1);
      bring(j, (bits_state)from);
      CHECK_INT(bits_job_state(j), from);
      lock(); /* nobody looks at its times meanwhile */
      bits_job_move(j, (bits_state)to);
      bits_state now = j->state;
      unlock();
      bool expected = from == to || may((bits_state)from, (bits_state)to);
      if ((now == (bits_state)to) != expected)
        printf("%s to %s\n", bits_state_name((bits_state)from),
               bits_state_name((bits_state)to));
      CHECK_INT(now == (bits_state)to, expected);
      if (!expected) CHECK_INT(now, from);
      if (from != to && to >= BITS_ACKNOWLEDGED && expected) {
        lock(); /* what the call would have done */
        j->marks |= BITS_JOB_GONE;
        bits_job_touch(j);
        unlock();
      }
      drop(j);
    }
}

/* ------------------------------------------------------------------
** Calls
** ---------------------------------------------------------------- */

typedef enum call {
  RESUME,
  SUSPEND,
  COMPLETE,
  CANCEL,
  SET,
  SET_URL,
  ADD_FILE,
  CALLS
} call;

static uint32_t last_code; /* of complete and cancel */

static uint32_t set_of(bits_job *j) {
  value *v = json_of("{'description':'x'}");
  uint32_t code = code_of(bits_job_set(j, v));
  value_free(v);
  return code;
}

static uint32_t set_url_of(bits_job *j) {
  value *v = json_of("{'number':0,'url':'http://127.0.0.1:2/y'}");
  uint32_t code = code_of(bits_job_set_url(j, v));
  value_free(v);
  return code;
}

static uint32_t add_to(bits_job *j) {
  char name[40];
  snprintf(name, sizeof name, "more-%u", ++names);
  value *v =
      json_of("{'url':'http://127.0.0.1:1/x','path':'%s'}", in_world(name));
  uint32_t code = code_of(bits_job_add_file(j, v));
  value_free(v);
  return code;
}

static uint32_t do_call(bits_job *j, call c) {
  last_code = 0;
  switch (c) {
    case RESUME: return code_of(bits_job_resume(j));
    case SUSPEND: return code_of(bits_job_suspend(j));
    case COMPLETE: return code_of(bits_job_complete(j, &last_code));
    case CANCEL: return code_of(bits_job_cancel(j, &last_code));
    case SET: return set_of(j);
    case SET_URL: return set_url_of(j);
    default: return add_to(j);
  }
}

/* What state a call leaves behind, by the state before: '!' it is refused. */
static const char *const after[CALLS] = {
    /* RESUME */ "QCTQQQd!!",
    /* SUSPEND */ "SSSSSSS!!",
    /* COMPLETE */ "AAAAAAA!!",
    /* CANCEL */ "XXXXXXX!!",
    /* SET */ "QCTSEtd!!",
    /* SET_URL */ "!!!SEt!!!",
    /* ADD_FILE */ "QCTSEtS!!",
};

TEST(every_call_in_every_state) {
  static const char letters[] = "QCTSEtdAX";
  for (int c = 0; c < CALLS; c++)
    for (int s = 0; s < STATES; s++) {
      bits_job *j = job_with("{}", 1);
      bring(j, (bits_state)s);
      uint32_t code = do_call(j, (call)c);
      char expected = after[c][s];
      if (expected == '!') expected = letters[s];
      uint32_t refused = after[c][s] == '!' ? BG_E_INVALID_STATE : 0;
      char now = letters[bits_job_state(j)];
      if (now != expected || code != refused)
        printf("call %d in %s: %c 0x%x\n", c, bits_state_name((bits_state)s),
               now, code);
      CHECK_INT(now, expected);
      CHECK_INT(code, refused);
      if (c == COMPLETE && refused == 0)
        CHECK_INT(last_code,
                  s == BITS_TRANSFERRED ? SAROS_S_OK : BG_S_PARTIAL_COMPLETE);
      drop(j);
    }
}

TEST(an_upload_is_completed_when_it_is_there) {
  for (int s = 0; s < STATES; s++) {
    bits_job *j = job_with("{'type':'upload'}", 1);
    bring(j, (bits_state)s);
    uint32_t code = do_call(j, COMPLETE);
    CHECK_INT(code, s == BITS_TRANSFERRED ? 0 : BG_E_INVALID_STATE);
    CHECK_INT(bits_job_state(j), s == BITS_TRANSFERRED ? BITS_ACKNOWLEDGED : s);
    drop(j);
  }
}

TEST(without_files_it_stays_suspended) {
  bits_job *j = make_job(m, "{}");
  CHECK_INT(code_of(bits_job_resume(j)), BG_E_EMPTY);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  CHECK(bits_job_run(j) == NULL);
  drop(j);
}

TEST(a_lost_secret_is_asked_for) {
  bits_job *j = job_with("{'credentials':{'user':'u','password':'p'}}", 1);
  lock();
  bits_secret_free(j->terms->headers[0].value);
  j->terms->headers[0].value = NULL;
  unlock();
  CHECK_INT(code_of(bits_job_resume(j)), BG_E_INVALID_CREDENTIALS);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  value *v = json_of("{'credentials':{'user':'u','password':'q'}}");
  CHECK(is_fine(bits_job_set(j, v)));
  value_free(v);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(dynamic_is_decided_before_it_is_resumed) {
  bits_job *j = job_with("{}", 1);
  value *v = json_of("{'dynamic':true}"), *w = json_of("{'dynamic':false}");
  CHECK(is_fine(bits_job_set(j, v)));
  CHECK(is_fine(bits_job_resume(j)));
  CHECK(is_fine(bits_job_set(j, v))); /* nothing new */
  CHECK_INT(code_of(bits_job_set(j, w)), BG_E_INVALID_STATE);
  value_free(v);
  value_free(w);
  drop(j);
}

/* ------------------------------------------------------------------
** What is told
** ---------------------------------------------------------------- */

typedef struct told {
  uint32_t hr, flags, win32, transport, retries;
} told;

static bool has_left(bits_job *j) {
  bits_job *found = bits_manager_job(m, bits_job_id(j));
  if (found != NULL) bits_job_unref(found);
  return found == NULL;
}

static told status_of(bits_job *j) {
  told t = {0, 99, 99, 99, 99};
  t.hr = bits_job_get_status(j, &t.flags, &t.win32, &t.transport, &t.retries);
  return t;
}

static void check_status(bits_job *j, uint32_t flags, uint32_t win32,
                         uint32_t transport, uint32_t retries) {
  told t = status_of(j);
  CHECK_INT(t.hr, SAROS_S_OK); /* A82 */
  CHECK_INT(t.flags, flags);
  CHECK_INT(t.win32, win32);
  CHECK_INT(t.transport, transport);
  CHECK_INT(t.retries, retries);
}

TEST(a70_a83_get_status) {
  bits_job *j = job_with("{}", 1);
  check_status(j, 0x08, 0, 0, 0); /* suspended reads incomplete */
  bring(j, BITS_QUEUED);
  check_status(j, 0x08, 0, 0, 0);
  move(j, BITS_CONNECTING);
  check_status(j, 0x08, 0, 0, 0);
  move(j, BITS_TRANSFERRING);
  check_status(j, 0x08, 0, 0, 0);                          /* A70, A78 */
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0); /* A75, A76 */
  check_status(j, 0x18, 1225, 0, 1);
  for (unsigned n = 2; n <= 3; n++) {
    CHECK(is_fine(bits_job_resume(j)));
    check_status(j, 0x08, 0, 0, 0); /* A81 */
    move(j, BITS_CONNECTING);
    fails(j, BITS_END_AGAIN, BG_E_HTTP(503), 0, 503);
    check_status(j, 0x18, 0, 503, n); /* A80 */
  }
  CHECK(is_fine(bits_job_resume(j)));
  fails(j, BITS_END_FAILED, BG_E_HTTP(404), 0, 404);
  check_status(j, 0x10, 0, 404, 3); /* A72, A77 */
  CHECK(is_fine(bits_job_resume(j)));
  check_status(j, 0x08, 0, 0, 0);
  finish_files(j);
  check_status(j, 0x04, 0, 0, 0); /* A71, A83 */
  uint32_t code;
  CHECK(is_fine(bits_job_complete(j, &code)));
  check_status(j, 0x04, 0, 0, 0);
  bits_job_unref(j);
}

TEST(numbers_out_of_the_code) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_CONNECTING);
  fails(j, BITS_END_FAILED, 0x80070070u, 0, 0);
  check_status(j, 0x10, 112, 0, 0); /* A79 */
  CHECK(is_fine(bits_job_resume(j)));
  fails(j, BITS_END_FAILED, BG_E_HTTP(410), 0, 0);
  check_status(j, 0x10, 0, 410, 0);
  drop(j);
}

TEST(a_cancelled_job_has_left) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_CANCELLED);
  told t = status_of(j);
  CHECK_INT(t.hr, QM_E_ITEM_NOT_FOUND);
  CHECK(t.flags == 99 && t.win32 == 99 && t.transport == 99 && t.retries == 99);
  CHECK(has_left(j));
  bits_job_unref(j);
}

TEST(pointers) {
  bits_job *j = job_with("{}", 1);
  uint32_t a = 99, b = 99, c = 99, d = 99;
  char room[16];
  uint32_t *odd = (uint32_t *)(void *)(room + 1);
  if ((uintptr_t)odd % 4 == 0) odd = (uint32_t *)(void *)(room + 2);
  CHECK_INT(bits_job_get_status(j, NULL, &b, &c, &d), SAROS_E_INVALIDARG);
  CHECK_INT(bits_job_get_status(j, &a, NULL, &c, &d), SAROS_E_INVALIDARG);
  CHECK_INT(bits_job_get_status(j, &a, &b, NULL, &d), SAROS_E_INVALIDARG);
  CHECK_INT(bits_job_get_status(j, &a, &b, &c, NULL), SAROS_E_INVALIDARG);
  CHECK_INT(bits_job_get_status(j, &a, &b, &c, odd), SAROS_E_INVALIDARG);
  CHECK(a == 99 && b == 99 && c == 99 && d == 99);
  drop(j);
}

TEST(its_error_is_told_until_bytes_come) {
  bits_job *j = job_with("{}", 1);
  uint32_t code;
  CHECK(bits_job_error(j, &code) == NULL);
  CHECK_INT(code, BG_E_ERROR_INFORMATION_UNAVAILABLE);
  bring(j, BITS_ERROR);
  value *v = bits_job_error(j, &code);
  CHECK_INT(code, SAROS_S_OK);
  CHECK_INT(value_integer(value_get(v, "code"), 0), BG_E_HTTP(404));
  CHECK_INT(value_integer(value_get(v, "context"), 0), BITS_CONTEXT_REMOTE);
  CHECK_INT(value_integer(value_get(v, "file"), -1), 0);
  CHECK_TEXT(value_chars(value_get(v, "message"), NULL), "it did not work");
  CHECK_TEXT(value_chars(value_get(v, "context_name"), NULL), "remote_file");
  value_free(v);
  CHECK(is_fine(bits_job_resume(j)));
  move(j, BITS_CONNECTING);
  v = bits_job_error(j, &code);
  CHECK(v != NULL);
  value_free(v);
  move(j, BITS_TRANSFERRING);
  CHECK(bits_job_error(j, &code) == NULL);
  CHECK_INT(code, BG_E_ERROR_INFORMATION_UNAVAILABLE);
  CHECK_INT(j->error_count, 1);
  drop(j);
}

/* ------------------------------------------------------------------
** The run
** ---------------------------------------------------------------- */

static saros_state run_state(bits_job *j) {
  saros_op *run = bits_job_run(j);
  if (run == NULL) return SAROS_CREATED;
  saros_state s = saros_op_state(run);
  saros_op_unref(run);
  return s;
}

TEST(a_run_follows_its_job) {
  bits_job *j = job_with("{}", 1);
  CHECK(bits_job_run(j) == NULL);
  CHECK(is_fine(bits_job_resume(j)));
  saros_op *run = bits_job_run(j);
  CHECK_INT(saros_op_state(run), SAROS_QUEUED);
  CHECK_TEXT(saros_op_kind(run), "bits.job");
  move(j, BITS_CONNECTING);
  CHECK_INT(saros_op_state(run), SAROS_RUNNING);
  move(j, BITS_TRANSFERRING);
  CHECK_INT(saros_op_state(run), SAROS_RUNNING);
  CHECK(is_fine(bits_job_suspend(j)));
  CHECK_INT(saros_op_state(run), SAROS_PAUSED);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(saros_op_state(run), SAROS_QUEUED);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  CHECK_INT(saros_op_state(run), SAROS_RETRY_WAIT);
  uint32_t flags, win32, transport, retries;
  CHECK_INT(saros_bits_get_status(run, &flags, &win32, &transport, &retries),
            SAROS_S_OK);
  CHECK_INT(flags, 0x18);
  CHECK_INT(win32, 1225);
  CHECK_INT(retries, 1);
  CHECK_INT(saros_op_wait(run, 0), 0);
  CHECK(is_fine(bits_job_suspend(j)));
  CHECK_INT(saros_op_state(run), SAROS_PAUSED);
  CHECK(is_fine(bits_job_resume(j)));
  move(j, BITS_CONNECTING);
  move(j, BITS_QUEUED); /* its slice is over */
  CHECK_INT(saros_op_state(run), SAROS_QUEUED);
  finish_files(j);
  CHECK(await_op(run));
  CHECK_INT(saros_op_state(run), SAROS_SUCCEEDED);
  CHECK_INT(saros_op_code(run), SAROS_S_OK);
  const value *out = op_output(run);
  CHECK_INT(value_integer(value_get(out, "files"), 0), 1);
  CHECK(value_get(out, "bytes") != NULL);
  CHECK_INT(run_state(j), SAROS_SUCCEEDED);
  CHECK(is_fine(bits_job_resume(j))); /* there is nothing to do */
  saros_op *same = bits_job_run(j);
  CHECK(same == run);
  saros_op_unref(same);
  saros_op_unref(run);
  drop(j);
}

TEST(a_failed_run_says_why_and_what_to_do) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_ERROR);
  saros_op *run = bits_job_run(j);
  CHECK(await_op(run));
  CHECK_INT(saros_op_state(run), SAROS_FAILED);
  CHECK_INT(saros_op_code(run), BG_E_HTTP(404));
  error *e = op_error(run);
  CHECK(strstr(e->message, "it did not work") != NULL);
  CHECK(strstr(e->message, world_folder) != NULL);
  CHECK(strstr(e->message, "set_url") != NULL);
  error_unref(e);
  CHECK(is_fine(bits_job_resume(j)));
  saros_op *next = bits_job_run(j);
  CHECK(next != run);
  CHECK_INT(saros_op_state(next), SAROS_QUEUED);
  CHECK_INT(saros_op_state(run), SAROS_FAILED); /* for ever */
  saros_op_unref(run);
  saros_op_unref(next);
  drop(j);
}

TEST(cancelling_a_run_cancels_its_job) {
  for (int s = 0; s < STATES; s++) {
    if (s == BITS_SUSPENDED || s == BITS_ERROR || s >= BITS_TRANSFERRED)
      continue; /* there is none that is pending */
    bits_job *j = job_with("{}", 1);
    bring(j, (bits_state)s);
    saros_op *run = bits_job_run(j);
    CHECK_INT(saros_op_cancel(run), SAROS_S_OK);
    CHECK(await_op(run));
    CHECK_INT(saros_op_state(run), SAROS_CANCELLED_STATE);
    CHECK_INT(bits_job_state(j), BITS_CANCELLED);
    AWAIT(has_left(j));
    saros_op_unref(run);
    bits_job_unref(j);
  }
}

TEST(a_suspended_run_can_be_cancelled) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_TRANSFERRING);
  CHECK(is_fine(bits_job_suspend(j)));
  saros_op *run = bits_job_run(j);
  CHECK_INT(saros_op_cancel(run), SAROS_S_OK);
  CHECK(await_op(run));
  CHECK_INT(bits_job_state(j), BITS_CANCELLED);
  saros_op_unref(run);
  bits_job_unref(j);
}

TEST(cancelling_a_job_cancels_its_run) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  saros_op *run = bits_job_run(j);
  uint32_t code = 99;
  CHECK(is_fine(bits_job_cancel(j, &code)));
  CHECK_INT(code, SAROS_S_OK);
  CHECK_INT(saros_op_wait(run, 0), 1);
  CHECK_INT(saros_op_state(run), SAROS_CANCELLED_STATE);
  saros_op_unref(run);
  bits_job_unref(j);
}

TEST(a_part_completed_ends_its_run) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  saros_op *run = bits_job_run(j);
  uint32_t code = 99;
  CHECK(is_fine(bits_job_complete(j, &code)));
  CHECK_INT(code, BG_S_PARTIAL_COMPLETE);
  CHECK(await_op(run));
  CHECK_INT(saros_op_state(run), SAROS_SUCCEEDED);
  CHECK_INT(saros_op_code(run), BG_S_PARTIAL_COMPLETE);
  saros_op_unref(run);
  bits_job_unref(j);
}

TEST(progress_is_told_in_bytes) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  saros_op *run = bits_job_run(j);
  uint32_t percent = 99;
  lock();
  j->files[0]->size = 100;
  atomic_store(&j->files[0]->have, 50);
  bits_job_tell(j);
  unlock();
  saros_op_query(run, &percent);
  CHECK_INT(percent, 0); /* nobody knows the other's size */
  lock();
  j->files[1]->size = 100;
  bits_job_tell(j);
  unlock();
  saros_op_query(run, &percent);
  CHECK_INT(percent, 25);
  saros_op_unref(run);
  drop(j);
}

/* ------------------------------------------------------------------
** Time
** ---------------------------------------------------------------- */

static uint64_t tick(bits_job *j) {
  lock();
  uint64_t at = bits_job_tick(j);
  unlock();
  return at;
}

/* So much later, on the queue's clock. */
static void later(uint64_t ms) {
  lock();
  *(uint64_t *)&m->clock_base += ms;
  unlock();
}

TEST(a_retry_has_its_time) {
  bits_job *j = job_with("{'retry_delay':20}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  uint64_t at = tick(j);
  CHECK_INT(bits_job_state(j), BITS_TRANSIENT_ERROR);
  CHECK(at != UINT64_MAX && at >= bits_now(m));
  later(20000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(no_progress_for_too_long_is_an_error) {
  bits_job *j = job_with("{'retry_delay':100,'no_progress_timeout':300}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  later(150000);
  CHECK(is_fine(bits_job_resume(j))); /* the clock starts anew */
  move(j, BITS_CONNECTING);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  later(100000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  move(j, BITS_CONNECTING);
  later(200000);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  check_status(j, 0x10, 1225, 0, 3);
  drop(j);
}

TEST(no_progress_is_noticed_while_it_waits) {
  bits_job *j = job_with("{'retry_delay':100,'no_progress_timeout':150}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  lock();
  j->retry_at = bits_now(m) + 900000; /* the host asked for a rest */
  unlock();
  later(150000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  drop(j);
}

TEST(a_delay_longer_than_the_time_out) {
  bits_job *j = job_with("{'retry_delay':200,'no_progress_timeout':100}", 1);
  bring(j, BITS_CONNECTING);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  drop(j);
}

TEST(without_time_every_error_is_fatal) {
  bits_job *j = job_with("{'no_progress_timeout':0}", 1);
  bring(j, BITS_CONNECTING);
  fails(j, BITS_END_OFFLINE, BG_E_NETWORK_DISCONNECTED, 0, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  drop(j);
}

/* Neither the delay nor the time counts: it is no failure of anybody's. */
TEST(a_lost_network_is_waited_for) {
  bits_job *j = job_with("{'retry_delay':200,'no_progress_timeout':100}", 1);
  bring(j, BITS_CONNECTING);
  later(150000);
  fails(j, BITS_END_OFFLINE, BG_E_NETWORK_DISCONNECTED, 1231, 0);
  CHECK_INT(bits_job_state(j), BITS_TRANSIENT_ERROR);
  later(150000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_TRANSIENT_ERROR);
  later(50000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(it_may_take_so_long) {
  bits_job *j = job_with("{'max_time':50}", 1);
  bring(j, BITS_TRANSFERRING);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRING);
  later(50000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  CHECK_INT(j->failure.code, BG_E_MAXDOWNLOAD_TIMEOUT);
  CHECK(is_fine(bits_job_resume(j)));
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(ninety_days_of_nothing) {
  bits_job *j = job_with("{}", 1), *touched = job_with("{}", 1);
  later(89ull * 86400000u);
  set_of(touched);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  later(1ull * 86400000u);
  tick(j);
  tick(touched);
  CHECK_INT(bits_job_state(j), BITS_CANCELLED);
  CHECK_INT(bits_job_state(touched), BITS_SUSPENDED);
  AWAIT(has_left(j));
  bits_job_unref(j);
  drop(touched);
}

/* ------------------------------------------------------------------
** Too late
** ---------------------------------------------------------------- */

TEST(what_a_try_says_of_a_suspended_job) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  CHECK(is_fine(bits_job_suspend(j)));
  fails(j, BITS_END_FAILED, BG_E_HTTP(404), 0, 404);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  move(j, BITS_TRANSFERRING);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  finish_files(j); /* they were on their way */
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRED);
  CHECK_INT(run_state(j), SAROS_SUCCEEDED);
  drop(j);
}

TEST(a_file_that_the_disk_has_lost) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_TRANSFERRED);
  fails(j, BITS_END_FAILED, BG_E_LOCAL_FILE_CHANGED, 0, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  CHECK_INT(j->files_done, 0);
  CHECK_INT(j->files[0]->state, BITS_FILE_WAITS);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(idle_jobs_wait_in_line) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  lock();
  j->files[0]->state = BITS_FILE_FETCHED;
  bits_job_idle(j);
  unlock();
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRING);
  lock();
  j->files[0]->state = BITS_FILE_WAITS;
  bits_job_idle(j);
  unlock();
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

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
  RUN(every_move);
  RUN(every_call_in_every_state);
  RUN(an_upload_is_completed_when_it_is_there);
  RUN(without_files_it_stays_suspended);
  RUN(a_lost_secret_is_asked_for);
  RUN(dynamic_is_decided_before_it_is_resumed);
  RUN(a70_a83_get_status);
  RUN(numbers_out_of_the_code);
  RUN(a_cancelled_job_has_left);
  RUN(pointers);
  RUN(its_error_is_told_until_bytes_come);
  RUN(a_run_follows_its_job);
  RUN(a_failed_run_says_why_and_what_to_do);
  RUN(cancelling_a_run_cancels_its_job);
  RUN(a_suspended_run_can_be_cancelled);
  RUN(cancelling_a_job_cancels_its_run);
  RUN(a_part_completed_ends_its_run);
  RUN(progress_is_told_in_bytes);
  RUN(a_retry_has_its_time);
  RUN(no_progress_for_too_long_is_an_error);
  RUN(no_progress_is_noticed_while_it_waits);
  RUN(a_delay_longer_than_the_time_out);
  RUN(without_time_every_error_is_fatal);
  RUN(a_lost_network_is_waited_for);
  RUN(it_may_take_so_long);
  RUN(ninety_days_of_nothing);
  RUN(what_a_try_says_of_a_suspended_job);
  RUN(a_file_that_the_disk_has_lost);
  RUN(idle_jobs_wait_in_line);
  RUN(random_lives);
  RUN(everybody_at_once);
  shut_queue(m);
  return check_end();
}
