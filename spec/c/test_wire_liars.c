/*
** The requester's end of the wire, against writers that lie, hang and die. The
** test itself is the writer, so that every order is its own.
*/
#include "wire_requester_case.h"

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
  bool connected = false; /* before the time was over */
  for (unsigned ms = 50; !connected && ms < GATE_BOUND_MS; ms *= 2) {
    scene s = begin();
    saros_op *op = tell(s.w, s.link, EVENT_IDENTIFY, ms);
    CHECK(gate_wait(op));
    error *e = op_error(op);
    connected = e != NULL && strstr(e->message, "says nothing") != NULL;
    error_unref(e);
    ends_with(op, VSS_E_WRITER_NOT_RESPONDING,
              connected ? "says nothing" : "does not take the connection");
    end(&s);
  }
  CHECK(connected);
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
  saros_op *op = ask(&s, EVENT_PREPARE_BACKUP, FOR_EVER, &n);
  answer(&s, n); /* so the time is that of the freeze alone */
  ends_with(op, 0, NULL);
  op = ask(&s, EVENT_FREEZE, 50, &n);
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
  bool heard = false; /* its hello, before the time was over */
  for (unsigned ms = 50; !heard && ms < GATE_BOUND_MS; ms *= 2) {
    scene s = begin();
    saros_op *op = tell(s.w, s.link, EVENT_PREPARE_BACKUP, ms);
    s.fd = raw_accept(s.listens);
    say(s.fd, HELLO);
    CHECK(gate_wait(op));
    error *e = op_error(op);
    heard = e != NULL && strstr(e->message, "says nothing") == NULL;
    error_unref(e);
    ends_with(op, VSS_E_WRITER_NOT_RESPONDING,
              heard ? "has not answered" : "says nothing");
    end(&s);
  }
  CHECK(heard);
  atomic_store(&wire_grace_ms, 5000);
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

int main(int argc, char **argv) {
  gate_begin(argc, argv);
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
  place_gone();
  return check_end();
}
