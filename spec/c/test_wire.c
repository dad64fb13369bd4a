/*
** The requester's end of the wire: a backup as it should be, and giving up. The
** test itself is the writer, so that every order is its own.
*/
#include "wire_requester_case.h"

/* ------------------------------------------------------------------
** As it should be
** ---------------------------------------------------------------- */

WHOLE(a_whole_backup_is_told) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_IDENTIFY, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"ok\":true,\"metadata\":{\"name\":\"app\"}}\n",
      (long long)n);
  CHECK_INT(ended(op), 0);
  CHECK_TEXT(value_chars(value_get(op_output(op), "name"), NULL), "app");
  CHECK_TEXT(value_chars(value_get(op_output(op), "id"), NULL), ID);
  saros_op_unref(op);
  static const writer_event events[] = {
      EVENT_PREPARE_BACKUP,  EVENT_PREPARE_SNAPSHOT,
      EVENT_FREEZE,          EVENT_THAW,
      EVENT_POST_SNAPSHOT,   EVENT_BACKUP_COMPLETE,
      EVENT_BACKUP_SHUTDOWN, EVENT_PRE_RESTORE,
      EVENT_POST_RESTORE};
  for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
    op = ask(&s, events[i], FOR_EVER, &n);
    answer(&s, n);
    ends_with(op, 0, NULL);
  }
  s.w->way->hang_up(s.link);
  s.link = NULL;
  hear_end(s.fd);
  s.fd = -1;
  end(&s);
}

WHOLE(a_call_brings_its_details) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_PREPARE_BACKUP, 20000);
  greet(&s);
  value *v = hear_value(s.fd);
  CHECK_TEXT(value_chars(value_get(v, "session"), NULL), SESSION);
  const value *deadline = value_get(v, "deadline");
  CHECK(deadline != NULL && deadline->as.real > 0 && deadline->as.real <= 20);
  answer(&s, value_integer(value_get(v, "n"), 0));
  value_free(v);
  ends_with(op, 0, NULL);
  end(&s);
}

WHOLE(a_veto_is_the_writers_own) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  say(s.fd,
      "{\"n\":%lld,\"ok\":false,\"code\":2147754995,\"message\":\"busy\\u001b "
      "just now\"}\n",
      (long long)n);
  CHECK_INT(ended(op), VSS_E_WRITERERROR_RETRYABLE);
  error *e = op_error(op);
  CHECK_TEXT(e->message, "busy\\x1b just now");
  CHECK(e->retryable);
  error_unref(e);
  saros_op_unref(op);
  op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  say(s.fd,
      "{\"n\":%lld,\"ok\":false,\"code\":\"VSS_E_WRITERERROR_TIMEOUT\"}\n",
      (long long)n);
  ends_with(op, VSS_E_WRITERERROR_TIMEOUT, "no reason");
  /* What is no failure cannot be failed with. */
  op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  say(s.fd,
      "{\"n\":%lld,\"ok\":false,\"code\":271114,\"message\":\"x\","
      "\"retryable\":true}\n",
      (long long)n);
  CHECK_INT(ended(op), VSS_E_WRITERERROR_NONRETRYABLE);
  e = op_error(op);
  CHECK(e->retryable);
  error_unref(e);
  saros_op_unref(op);
  /* A reason of any length is cut, and not inside of a character. */
  op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"ok\":false,\"message\":\"a", (long long)n);
  for (int i = 0; i < 2000; i++) say(s.fd, "\xC3\xA4");
  say(s.fd, "\"}\n");
  CHECK_INT(ended(op), VSS_E_WRITERERROR_NONRETRYABLE);
  e = op_error(op);
  CHECK_INT(strlen(e->message), WRITER_MESSAGE_MOST - 1);
  CHECK(text_is_utf8(e->message, strlen(e->message)));
  error_unref(e);
  saros_op_unref(op);
  end(&s);
}

WHOLE(busy_is_a_phase) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_PREPARE_SNAPSHOT, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"busy\":\"flushing\"}\n", (long long)n);
  bool seen = false;
  for (unsigned i = 0; i < GATE_BOUND_MS && !seen; i++) {
    value *status = op_status(op);
    seen = strcmp(value_chars(value_get(status, "phase"), ""), "flushing") == 0;
    value_free(status);
    gate_nap();
  }
  CHECK(seen);
  answer(&s, n);
  ends_with(op, 0, NULL);
  end(&s);
}

/* Written byte by byte, and several in one write. */
WHOLE(lines_come_in_any_pieces) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_PREPARE_BACKUP, FOR_EVER);
  s.fd = raw_accept(s.listens);
  for (const char *c = HELLO; *c != '\0'; c++) say(s.fd, "%c", *c);
  hear_hello(s.fd, "requester");
  int64_t n = hear_event(s.fd, "prepare_backup");
  say(s.fd,
      "{\"of\":\"a version to come\"}\n{\"n\":%lld,\"busy\":1}\n"
      "{\"n\":%lld,\"ok\":true}\n",
      (long long)n, (long long)n);
  ends_with(op, 0, NULL);
  end(&s);
}


/* ------------------------------------------------------------------
** Giving up
** ---------------------------------------------------------------- */

static void hear_cancel(int fd, int64_t n) {
  value *v = hear_value(fd);
  CHECK_INT(value_integer(value_get(v, "cancel"), -1), n);
  value_free(v);
}

WHOLE(a_cancelled_call_waits_for_its_answer) {
  atomic_store(&wire_grace_ms, 25000);
  scene s = begin();
  int64_t n, m;
  saros_op *op = ask(&s, EVENT_FREEZE, FOR_EVER, &n);
  CHECK_INT(op_try_cancel(op), CANCEL_DONE);
  CHECK(!op_is_over(op));
  hear_cancel(s.fd, n);
  saros_op *abort = ask(&s, EVENT_ABORT, FOR_EVER, &m);
  answer(&s, m); /* beside the other */
  ends_with(abort, 0, NULL);
  CHECK(!op_is_over(op));
  answer(&s, n); /* too late to be consent */
  ends_with(op, SAROS_E_CANCELLED, NULL);
  op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  answer(&s, n);
  ends_with(op, 0, NULL);
  atomic_store(&wire_grace_ms, 5000);
  end(&s);
}

WHOLE(a_call_that_was_not_sent_is_over_at_once) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_FREEZE, FOR_EVER);
  s.fd = raw_accept(s.listens);
  CHECK_INT(op_try_cancel(op), CANCEL_DONE);
  ends_with(op, SAROS_E_CANCELLED, NULL);
  hear_hello(s.fd, "requester");
  say(s.fd, HELLO);
  int64_t n;
  op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  answer(&s, n);
  ends_with(op, 0, NULL);
  end(&s);
}

WHOLE(hanging_up_ends_all) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_FREEZE, FOR_EVER, &n);
  s.w->way->hang_up(s.link);
  s.link = NULL;
  ends_with(op, SAROS_E_CLOSED, "hung up");
  hear_end(s.fd);
  s.fd = -1;
  end(&s);
}

WHOLE(hanging_up_before_anything) {
  scene s = begin();
  end(&s);
}

WHOLE(too_much_to_tell) {
  scene s = begin();
  error *e = NULL;
  value *details = value_map();
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < WIRE_LINE_MOST; i++) buffer_byte(&b, 'x');
  CHECK(value_put(details, "reason", value_string(b.data, b.size)));
  teller t = {.m = {.step = teller_step},
              .way = s.w->way,
              .link = s.link,
              .call = {.event = EVENT_FREEZE, .details = details}};
  static const saros_kind kind = {.size = sizeof(saros_kind),
                                  .name = "test.teller"};
  t.m.op = op_create(&kind, &t, 0, NULL, NULL);
  CHECK_INT(op_begin(t.m.op, SAROS_RUNNING), 0);
  machine_wake(&t.m);
  CHECK(gate_wait(t.m.op));
  saros_op_unref(t.m.op);
  CHECK(t.op == NULL);
  e = t.e;
  check_error(e, SAROS_E_INVALIDARG, "longer than");
  value_free(details);
  buffer_free(&b);
  end(&s);
}

/* Wherever memory runs out, it says so or it does not matter. */
WHOLE(without_memory) {
  int failures = 0;
  bool good = false;
  for (long i = 1; !good && i < 400; i++) {
    scene s = begin();
    error *e = NULL;
    tell_fail_at = i;
    saros_op *op = tell_or(s.w, s.link, EVENT_PREPARE_BACKUP, FOR_EVER, &e);
    tell_fail_at = 0;
    if (op != NULL) {
      s.fd = raw_accept(s.listens);
      if (hear(s.fd)[0] == '{') say(s.fd, HELLO);
      if (hear(s.fd)[0] == '{') answer(&s, 1);
      uint32_t code = ended(op);
      CHECK(code == 0 || code == SAROS_E_OUTOFMEMORY);
      good = code == 0;
      saros_op_unref(op);
    }
    mem_fail_at(0);
    CHECK((op == NULL) == (e != NULL));
    error_unref(e);
    failures += !good;
    end(&s);
  }
  CHECK(good);
  CHECK(failures > 20);
}

WHOLE(a_forked_child_is_inert) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_PREPARE_SNAPSHOT, FOR_EVER, &n);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    s.w->way->hang_up(s.link);
    writer_unref(s.w);
    _exit(op_is_over(op) ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  answer(&s, n); /* the parent's goes on */
  ends_with(op, 0, NULL);
  end(&s);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(a_whole_backup_is_told);
  GATE_RUN(a_call_brings_its_details);
  GATE_RUN(a_veto_is_the_writers_own);
  GATE_RUN(busy_is_a_phase);
  GATE_RUN(lines_come_in_any_pieces);
  GATE_RUN(a_cancelled_call_waits_for_its_answer);
  GATE_RUN(a_call_that_was_not_sent_is_over_at_once);
  GATE_RUN(hanging_up_ends_all);
  GATE_RUN(hanging_up_before_anything);
  GATE_RUN(too_much_to_tell);
  GATE_RUN(without_memory);
  GATE_RUN(a_forked_child_is_inert);
  place_gone();
  return check_end();
}
