/*
** States: every move against a table of its own; every call in every state;
** what a status and an error say on the way. Nothing is transferred here: tries
** and the keeper are played by the test.
*/
#include "bits_states_case.h"

/* ------------------------------------------------------------------
** Moves
** ---------------------------------------------------------------- */

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
  shut_queue(m);
  return check_end();
}
