/*
** The writer's end of the wire: a writer in C is served, to one requester and
** to
** several, and whatever they do it does not stay frozen.
*/
#include "wire_server_case.h"

WHOLE(a_whole_backup_is_heard) {
  scene s;
  begin(&s);
  int fd = join();
  event(fd, 1, "identify");
  value *v = hear_value(fd);
  const value *m = value_get(v, "metadata");
  CHECK_TEXT(value_chars(value_get(m, "id"), NULL), ID);
  CHECK_TEXT(value_chars(value_get(m, "instance"), NULL), ID);
  value_free(v);
  static const char *const names[] = {
      "prepare_backup", "prepare_snapshot", "freeze",         "thaw",
      "post_snapshot",  "backup_complete",  "backup_shutdown"};
  for (int i = 0; i < 7; i++) {
    consented(fd, i + 2, names[i]);
    CHECK_INT(local_told(&s.l, writer_event_of(names[i])), 1);
  }
  close(fd);
  end(&s);
  CHECK_INT(s.l.told[EVENT_ABORT], 0);
  CHECK_INT(s.l.told[EVENT_IDENTIFY], 1);
}

WHOLE(a_veto_goes_out_as_it_is) {
  scene s;
  begin(&s);
  s.l.mode[EVENT_PREPARE_BACKUP] = SAYS_NO;
  s.l.mode[EVENT_PREPARE_SNAPSHOT] = HAS_NONE;
  int fd = join();
  event(fd, 1, "prepare_backup");
  hear_refusal(fd, 1, VSS_E_WRITERERROR_RETRYABLE, true);
  event(fd, 2, "prepare_snapshot");
  value *v = hear_value(fd);
  CHECK_TEXT(value_chars(value_get(v, "message"), NULL), "nobody is there");
  value_free(v);
  event(fd, 3, "dance");
  hear_refusal(fd, 3, VSS_E_NOT_SUPPORTED, false);
  event(fd, 4, "thaw");
  hear_refusal(fd, 4, VSS_E_BAD_STATE, false);
  CHECK_INT(local_told(&s.l, EVENT_THAW), 0);
  CHECK(value_put(s.l.metadata, "name", value_int(7)));
  event(fd, 5, "identify");
  hear_refusal(fd, 5, SAROS_E_INVALIDARG, false);
  close(fd);
  end(&s);
}


/* ------------------------------------------------------------------
** Nothing stays frozen
** ---------------------------------------------------------------- */

/* How far it came before its requester died, and whether an abort is due. */
static void check_death(const char *const *names, int aborts) {
  scene s;
  begin(&s);
  int fd = join();
  for (int i = 0; names[i] != NULL; i++) consented(fd, i + 1, names[i]);
  close(fd);
  if (aborts > 0) GATE_UNTIL(local_told(&s.l, EVENT_ABORT) == aborts);
  end(&s);
  CHECK_INT(s.l.told[EVENT_ABORT], aborts);
}

#define DIES_AFTER(aborts, ...) \
  check_death((const char *const[]){__VA_ARGS__, NULL}, aborts)

WHOLE(a_requester_that_dies) {
  DIES_AFTER(0, NULL);
  DIES_AFTER(1, "prepare_backup");
  DIES_AFTER(1, "prepare_snapshot");
  DIES_AFTER(1, "prepare_snapshot", "freeze");
  DIES_AFTER(1, "freeze");
  DIES_AFTER(0, "prepare_snapshot", "freeze", "thaw");
  DIES_AFTER(1, "prepare_snapshot", "freeze", "abort");
  DIES_AFTER(1, "prepare_backup", "prepare_snapshot", "freeze", "thaw");
  DIES_AFTER(0, "prepare_backup", "prepare_snapshot", "freeze", "thaw",
             "post_snapshot", "backup_complete");
  DIES_AFTER(0, "prepare_backup", "backup_shutdown");
}

WHOLE(a_requester_that_dies_while_it_is_told) {
  static const char *const names[] = {"prepare_snapshot", "freeze"};
  for (int i = 0; i < 2; i++) {
    scene s;
    begin(&s);
    writer_event e = writer_event_of(names[i]);
    s.l.mode[e] = IS_ASKED;
    s.l.ends_when_cancelled = i == 0;
    int fd = join();
    event(fd, 1, names[i]);
    saros_op *op = local_held(&s.l, e);
    close(fd);
    GATE_UNTIL(local_told(&s.l, EVENT_ABORT) == 1);
    GATE_UNTIL(local_count(&s.l, &s.l.cancelled) == 1);
    /* The link stays until the handler is over. */
    if (i == 1) CHECK_INT(local_count(&s.l, &s.l.links), 1);
    if (i == 1) op_finish_error(op, SAROS_S_OK, NULL);
    saros_op_unref(op);
    end(&s);
  }
}

WHOLE(a_window_that_runs_out) {
  scene s;
  begin(&s);
  CHECK(value_put(s.l.metadata, "freeze_timeout", value_real(0.05)));
  int fd = join();
  event(fd, 1, "identify");
  hear(fd);
  consented(fd, 2, "prepare_snapshot");
  consented(fd, 3, "freeze");
  GATE_UNTIL(local_told(&s.l, EVENT_ABORT) == 1);
  event(fd, 4, "thaw");
  hear_refusal(fd, 4, VSS_E_WRITERERROR_TIMEOUT, true);
  CHECK_INT(local_told(&s.l, EVENT_THAW), 0);
  consented(fd, 5, "abort"); /* more than once is no harm */
  consented(fd, 6, "prepare_snapshot");
  close(fd);
  end(&s);
}

WHOLE(a_window_that_runs_out_in_the_freeze) {
  scene s;
  begin(&s);
  CHECK(value_put(s.l.metadata, "freeze_timeout", value_real(0.05)));
  s.l.mode[EVENT_FREEZE] = IS_ASKED;
  s.l.mode[EVENT_ABORT] = IS_ASKED;
  int fd = join();
  event(fd, 1, "identify");
  hear(fd);
  event(fd, 2, "freeze");
  saros_op *op = local_held(&s.l, EVENT_FREEZE);
  hear_refusal(fd, 2, SAROS_E_CANCELLED, false);
  CHECK_INT(ended(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
  /* Its own abort comes while that of the window is being told: one. */
  event(fd, 3, "abort");
  event(fd, 4, "prepare_backup");
  hear_refusal(fd, 4, VSS_E_BAD_STATE, false);
  local_answer(&s.l, EVENT_ABORT);
  hear_consent(fd, 3);
  CHECK_INT(local_told(&s.l, EVENT_ABORT), 1);
  close(fd);
  end(&s);
}

WHOLE(closing_while_it_is_frozen) {
  scene s;
  begin(&s);
  int fd = join(), idle = join();
  consented(fd, 1, "freeze");
  wire_close(s.server);
  s.server = NULL;
  CHECK_INT(gate_entries(place()), 0);
  hear_end(fd);
  hear_end(idle);
  GATE_UNTIL(local_told(&s.l, EVENT_ABORT) == 1);
  end(&s);
}


/* ------------------------------------------------------------------
** Several
** ---------------------------------------------------------------- */

WHOLE(one_shadow_copy_at_a_time) {
  scene s;
  begin(&s);
  int a = join(), b = join();
  consented(a, 1, "prepare_snapshot");
  event(b, 1, "prepare_snapshot");
  hear_refusal(b, 1, VSS_E_WRITERERROR_RETRYABLE, true);
  consented(a, 2, "freeze");
  event(b, 2, "freeze");
  hear_refusal(b, 2, VSS_E_WRITERERROR_RETRYABLE, true);
  event(b, 3, "thaw");
  hear_refusal(b, 3, VSS_E_BAD_STATE, false);
  consented(b, 4, "abort"); /* of nothing: the other stays frozen */
  CHECK_INT(local_told(&s.l, EVENT_ABORT), 0);
  consented(b, 5, "prepare_backup");
  close(b);
  consented(a, 3, "thaw");
  CHECK_INT(local_told(&s.l, EVENT_ABORT), 0);
  b = join();
  consented(b, 1, "prepare_snapshot");
  close(b);
  GATE_UNTIL(local_told(&s.l, EVENT_ABORT) == 1);
  consented(a, 4, "prepare_snapshot");
  close(a);
  end(&s);
}

WHOLE(more_than_are_let_in) {
  scene s;
  begin(&s);
  int fds[33];
  for (int i = 0; i < 32; i++) fds[i] = join();
  fds[32] = raw_connect(NAME);
  hear_end(fds[32]);
  close(fds[7]);
  bool in = false;
  for (unsigned i = 0; i < GATE_BOUND_MS && !in; i++) {
    fds[7] = raw_connect(NAME);
    in = hear(fds[7])[0] == '{';
    if (!in) close(fds[7]);
    gate_nap();
  }
  CHECK(in);
  for (int i = 0; i < 32; i++) close(fds[i]);
  end(&s);
}

WHOLE(one_thing_at_a_time) {
  scene s;
  begin(&s);
  s.l.mode[EVENT_PREPARE_BACKUP] = IS_ASKED;
  int fd = join();
  event(fd, 1, "prepare_backup");
  event(fd, 2, "prepare_snapshot");
  hear_refusal(fd, 2, VSS_E_BAD_STATE, false);
  local_answer(&s.l, EVENT_PREPARE_BACKUP);
  hear_consent(fd, 1);
  close(fd);
  end(&s);
}

WHOLE(a_cancel_is_passed_on) {
  scene s;
  begin(&s);
  s.l.mode[EVENT_PREPARE_BACKUP] = IS_ASKED;
  s.l.ends_when_cancelled = false;
  int fd = join();
  event(fd, 1, "prepare_backup");
  saros_op *op = local_held(&s.l, EVENT_PREPARE_BACKUP);
  say(fd, "{\"cancel\":7}\n{\"cancel\":1}\n{\"cancel\":1}\n");
  GATE_UNTIL(local_count(&s.l, &s.l.cancelled) == 1);
  consented(fd, 2, "abort"); /* beside the one that is given up */
  op_finish_error(op, SAROS_S_OK, NULL);
  saros_op_unref(op);
  hear_refusal(fd, 1, SAROS_E_CANCELLED, false);
  close(fd);
  end(&s);
}

WHOLE(a_deadline_is_kept_here_too) {
  scene s;
  begin(&s);
  s.l.mode[EVENT_PREPARE_BACKUP] = IS_ASKED;
  int fd = join();
  say(fd, "{\"n\":1,\"event\":\"prepare_backup\",\"deadline\":0.05}\n");
  saros_op *op = local_held(&s.l, EVENT_PREPARE_BACKUP);
  hear_refusal(fd, 1, VSS_E_WRITERERROR_TIMEOUT, true);
  CHECK_INT(ended(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
  close(fd);
  end(&s);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(a_whole_backup_is_heard);
  GATE_RUN(a_veto_goes_out_as_it_is);
  GATE_RUN(a_requester_that_dies);
  GATE_RUN(a_requester_that_dies_while_it_is_told);
  GATE_RUN(a_window_that_runs_out);
  GATE_RUN(a_window_that_runs_out_in_the_freeze);
  GATE_RUN(closing_while_it_is_frozen);
  GATE_RUN(one_shadow_copy_at_a_time);
  GATE_RUN(more_than_are_let_in);
  GATE_RUN(one_thing_at_a_time);
  GATE_RUN(a_cancel_is_passed_on);
  GATE_RUN(a_deadline_is_kept_here_too);
  place_gone();
  return check_end();
}
