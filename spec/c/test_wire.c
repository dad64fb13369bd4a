/*
** The requester's end of the wire, against writers that hang, die and lie.
** The test itself is the writer, so that every order is its own.
*/
#include "wire_case.h"

#define NAME ID ".sock"

/* A requester with one link to a writer that the test plays. */
typedef struct scene {
  int listens, fd;
  writer *w;
  writer_link *link;
} scene;

static scene begin(void) {
  error *e = NULL;
  scene s = {.listens = raw_listen(NAME, SOCK_STREAM), .fd = -1};
  s.w = wire_writer(place(), NAME, ID, ID, &e);
  CHECK(s.w != NULL);
  s.link = s.w->way->connect(s.w, SESSION, &e);
  CHECK(s.link != NULL);
  return s;
}

static void end(scene *s) {
  if (s->link != NULL) s->w->way->hang_up(s->link);
  if (s->fd >= 0) close(s->fd);
  close(s->listens);
  raw_unlink(NAME);
  writer_unref(s->w);
}

#define HELLO "{\"saros\":\"writer\",\"version\":1,\"id\":\"" ID "\"}\n"

/* Both have said hello. */
static void greet(scene *s) {
  s->fd = raw_accept(s->listens);
  hear_hello(s->fd, "requester");
  say(s->fd, HELLO);
}

/* Told, and heard by the writer as number *n. */
static saros_op *ask(scene *s, writer_event event, unsigned ms, int64_t *n) {
  saros_op *op = tell(s->w, s->link, event, ms);
  if (s->fd < 0) greet(s);
  *n = hear_event(s->fd, writer_event_name(event));
  return op;
}

static void answer(scene *s, int64_t n) {
  say(s->fd, "{\"n\":%lld,\"ok\":true}\n", (long long)n);
}


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
** Liars
** ---------------------------------------------------------------- */

/* The writer's first bytes, instead of a hello; then the connection is over
   and stays so, until a new beginning. */
static void check_first(const char *bytes, size_t size, const char *says) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_PREPARE_BACKUP, FOR_EVER);
  s.fd = raw_accept(s.listens);
  hear_hello(s.fd, "requester");
  CHECK(raw_send(s.fd, bytes, size));
  ends_with(op, VSS_E_UNEXPECTED_WRITER_ERROR, says);
  hear_end(s.fd);
  s.fd = -1;
  error *e = NULL;
  CHECK(tell_or(s.w, s.link, EVENT_THAW, FOR_EVER, &e) == NULL);
  check_error(e, VSS_E_UNEXPECTED_WRITER_ERROR, says);
  int64_t n;
  op = ask(&s, EVENT_IDENTIFY, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"ok\":true,\"metadata\":{\"name\":\"app\"}}\n",
      (long long)n);
  ends_with(op, 0, NULL);
  end(&s);
}

#define FIRST(text, says) check_first(text, sizeof text - 1, says)

WHOLE(a_hello_that_is_none) {
  FIRST("hello\n", "not JSON");
  FIRST("\n", "not JSON");
  FIRST("\0\0\0\n", "not JSON");
  FIRST("{\"saros\":\"writer\",\"version\":1,\"id\":\"\xFF\"}\n", "not JSON");
  FIRST("{\"saros\":\"writer\",\"saros\":\"writer\"}\n", "not JSON");
  FIRST("[1]\n", "no JSON object");
  FIRST("7\n", "no JSON object");
  FIRST("{\"saros\":1,\"version\":1}\n", "wrong type");
  FIRST("{\"saros\":\"writer\"}\n", "wrong type");
  FIRST("{\"saros\":\"writer\",\"version\":\"1\"}\n", "wrong type");
  FIRST("{\"saros\":\"writer\",\"version\":0}\n", "wrong type");
  FIRST("{\"saros\":\"writer\",\"version\":1e99}\n", "wrong type");
  FIRST("{\"saros\":\"requester\",\"version\":1}\n", "hello of a writer");
  FIRST("{\"saros\":\"writer\",\"version\":1}\n", "another writer");
  FIRST("{\"saros\":\"writer\",\"version\":1,\"id\":\"" SESSION "\"}\n",
        "another writer");
  FIRST("{\"n\":1,\"ok\":true}\n", "hello of a writer");
  FIRST("{\"what\":1}\n", "hello of a writer");
  FIRST(HELLO HELLO, "hello of a writer");
}

WHOLE(deep_json_is_no_danger) {
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < 100000; i++) buffer_byte(&b, '[');
  buffer_byte(&b, '\n');
  check_first(b.data, b.size, "too deep");
  buffer_free(&b);
  buffer_text(&b, "{\"a\":[");
  for (int i = 0; i < 20000; i++) buffer_text(&b, "0,");
  buffer_text(&b, "0]}\n");
  check_first(b.data, b.size, "not JSON");
  buffer_free(&b);
}

/* It would send for ever; we hang up after a line's worth. */
WHOLE(a_line_without_end) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_PREPARE_BACKUP, FOR_EVER);
  s.fd = raw_accept(s.listens);
  char chunk[65536];
  memset(chunk, 'x', sizeof chunk);
  size_t sent = 0;
  while (sent < (size_t)1 << 30 && raw_send(s.fd, chunk, sizeof chunk))
    sent += sizeof chunk;
  CHECK(sent < (size_t)8 << 20); /* what socket buffers hold, and ours */
  ends_with(op, VSS_E_UNEXPECTED_WRITER_ERROR, "longer than 128 KiB");
  end(&s);
}

WHOLE(talking_without_end) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  size_t sent = 0;
  while (sent < (size_t)1 << 30 && raw_send(s.fd, "{}\n{}\n{}\n{}\n", 12))
    sent += 12;
  CHECK(sent < (size_t)8 << 20);
  ends_with(op, VSS_E_UNEXPECTED_WRITER_ERROR, "keeps talking");
  end(&s);
}

static void check_answer(const char *text, const char *says) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  say(s.fd, "%s", text);
  ends_with(op, VSS_E_UNEXPECTED_WRITER_ERROR, says);
  end(&s);
}

WHOLE(answers_that_are_none) {
  check_answer("yes\n", "not JSON");
  check_answer("{\"n\":1,\"ok\":1}\n", "wrong type");
  check_answer("{\"n\":\"1\",\"ok\":true}\n", "wrong type");
  check_answer("{\"ok\":true}\n", "wrong type");
  check_answer("{\"n\":-1,\"ok\":true}\n", "wrong type");
  check_answer(HELLO, "hello of a writer");
  check_answer("{\"n\":1,\"ok\":tr\xC3\x28\n", "not JSON");
}

WHOLE(metadata_that_are_wrong) {
  static const char *const said[] = {
      "", ",\"metadata\":7", ",\"metadata\":{}",
      ",\"metadata\":{\"name\":\"a\",\"id\":\"" SESSION "\"}",
      ",\"metadata\":{\"name\":\"a\",\"freeze_timeout\":1e9}"};
  scene s = begin();
  for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
    int64_t n;
    saros_op *op = ask(&s, EVENT_IDENTIFY, FOR_EVER, &n);
    say(s.fd, "{\"n\":%lld,\"ok\":true%s}\n", (long long)n, said[i]);
    ends_with(op, VSS_E_UNEXPECTED_WRITER_ERROR, "the metadata of ");
  }
  end(&s);
}

WHOLE(answers_that_nobody_asked_for) {
  scene s = begin();
  int64_t n, m;
  saros_op *op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"ok\":false}\n{\"n\":999,\"ok\":true}\n",
      (long long)n + 1);
  answer(&s, n);
  answer(&s, n); /* and again */
  ends_with(op, 0, NULL);
  op = ask(&s, EVENT_PREPARE_SNAPSHOT, FOR_EVER, &m);
  CHECK(m != n);
  say(s.fd, "{\"n\":%lld,\"ok\":false}\n{\"n\":%lld,\"busy\":\"x\"}\n",
      (long long)n, (long long)n);
  answer(&s, m);
  ends_with(op, 0, NULL);
  end(&s);
}


/* ------------------------------------------------------------------
** Those that hang, and those that die
** ---------------------------------------------------------------- */

WHOLE(one_that_never_accepts) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_IDENTIFY, 50);
  ends_with(op, VSS_E_WRITER_NOT_RESPONDING, "says nothing");
  end(&s);
}

/* Its queue is full of connections that it does not accept. */
WHOLE(one_whose_queue_is_full) {
  scene s = begin();
  CHECK_INT(listen(s.listens, 0), 0);
  int others[2] = {raw_connect(NAME), -1};
  saros_op *op = tell(s.w, s.link, EVENT_IDENTIFY, 50);
  ends_with(op, VSS_E_WRITER_NOT_RESPONDING, "does not take the connection");
  /* It takes one more as soon as there is room. */
  op = tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER);
  others[1] = raw_accept(s.listens);
  s.fd = raw_accept(s.listens);
  hear_hello(s.fd, "requester");
  say(s.fd, HELLO);
  say(s.fd, "{\"n\":%lld,\"ok\":true,\"metadata\":{\"name\":\"a\"}}\n",
      (long long)hear_event(s.fd, "identify"));
  ends_with(op, 0, NULL);
  close(others[0]);
  close(others[1]);
  end(&s);
}

WHOLE(one_that_never_answers) {
  atomic_store(&wire_grace_ms, 20);
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_FREEZE, 50, &n);
  ends_with(op, VSS_E_WRITER_NOT_RESPONDING, "has not answered");
  /* It was asked to give up; then the end of file says so. */
  value *v = hear_value(s.fd);
  CHECK_INT(value_integer(value_get(v, "cancel"), -1), n);
  value_free(v);
  hear_end(s.fd);
  s.fd = -1;
  error *e = NULL;
  CHECK(tell_or(s.w, s.link, EVENT_ABORT, FOR_EVER, &e) == NULL);
  check_error(e, VSS_E_WRITER_NOT_RESPONDING, "has not answered");
  atomic_store(&wire_grace_ms, 5000);
  end(&s);
}

/* Not even our hello: what we would say waits, and costs no more than that. */
WHOLE(one_that_never_reads) {
  atomic_store(&wire_grace_ms, 20);
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_PREPARE_BACKUP, 50);
  s.fd = raw_accept(s.listens);
  say(s.fd, HELLO);
  ends_with(op, VSS_E_WRITER_NOT_RESPONDING, "has not answered");
  atomic_store(&wire_grace_ms, 5000);
  end(&s);
}

static void check_death(const char *last, bool before_hello) {
  scene s = begin();
  saros_op *op = tell(s.w, s.link, EVENT_FREEZE, FOR_EVER);
  if (before_hello) {
    s.fd = raw_accept(s.listens);
  } else {
    greet(&s);
    hear_event(s.fd, "freeze");
  }
  if (last != NULL) say(s.fd, "%s", last);
  close(s.fd);
  s.fd = -1;
  ends_with(op,
            last != NULL ? VSS_E_UNEXPECTED_WRITER_ERROR
                         : VSS_E_WRITER_NOT_RESPONDING,
            last != NULL ? "middle of a line" : "hung up");
  end(&s);
}

WHOLE(one_that_dies) {
  check_death(NULL, true);
  check_death("{\"saros\":\"wri", true);
  check_death(NULL, false);
  check_death("{\"n\":1,\"ok\":true}", false); /* but for its newline */
}

WHOLE(one_that_dies_while_it_holds) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_FREEZE, FOR_EVER, &n);
  answer(&s, n);
  ends_with(op, 0, NULL);
  close(s.fd);
  s.fd = -1;
  error *e = NULL;
  op = tell_or(s.w, s.link, EVENT_THAW, FOR_EVER, &e);
  if (op != NULL) /* told before it was noticed */
    ends_with(op, VSS_E_WRITER_NOT_RESPONDING, "hung up");
  else
    check_error(e, VSS_E_WRITER_NOT_RESPONDING, "hung up");
  end(&s);
}

/* What it said before it died counts. */
WHOLE(last_words) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_BACKUP_SHUTDOWN, FOR_EVER, &n);
  answer(&s, n);
  close(s.fd);
  s.fd = -1;
  ends_with(op, 0, NULL);
  end(&s);
}

WHOLE(one_that_is_gone) {
  scene s = begin();
  close(s.listens);
  ends_with(tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER),
            VSS_E_WRITER_NOT_RESPONDING, "process is gone");
  raw_unlink(NAME);
  ends_with(tell(s.w, s.link, EVENT_IDENTIFY, FOR_EVER),
            VSS_E_WRITER_NOT_RESPONDING, "process is gone");
  s.listens = raw_listen(NAME, SOCK_STREAM);
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
  GATE_RUN(a_hello_that_is_none);
  GATE_RUN(deep_json_is_no_danger);
  GATE_RUN(a_line_without_end);
  GATE_RUN(talking_without_end);
  GATE_RUN(answers_that_are_none);
  GATE_RUN(metadata_that_are_wrong);
  GATE_RUN(answers_that_nobody_asked_for);
  GATE_RUN(one_that_never_accepts);
  GATE_RUN(one_whose_queue_is_full);
  GATE_RUN(one_that_never_answers);
  GATE_RUN(one_that_never_reads);
  GATE_RUN(one_that_dies);
  GATE_RUN(one_that_dies_while_it_holds);
  GATE_RUN(last_words);
  GATE_RUN(one_that_is_gone);
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
