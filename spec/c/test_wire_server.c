/*
** The writer's end of the wire: a writer in C is served, and the test is its
** requesters, good and bad.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "wire_case.h"

#define NAME ID ".sock"

typedef struct scene {
  local l;
  wire_server *server;
} scene;

static void begin(scene *s) {
  error *e = NULL;
  local_open(&s->l);
  s->server = wire_listen(place(), s->l.w, &e);
  CHECK(s->server != NULL);
  if (e != NULL) printf("%s\n", e->message);
}

static void end(scene *s) {
  wire_close(s->server);
  local_close(&s->l);
}

/* A requester that has said hello. */
static int join(void) {
  int fd = raw_connect(NAME);
  hear_hello(fd, "writer");
  say(fd,
      "{\"saros\":\"requester\",\"version\":1,\"session\":\"" SESSION "\"}\n");
  return fd;
}

static void event(int fd, int n, const char *name) {
  say(fd, "{\"n\":%d,\"event\":\"%s\",\"deadline\":100}\n", n, name);
}

static void consented(int fd, int n, const char *name) {
  event(fd, n, name);
  hear_consent(fd, n);
}

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


/* ------------------------------------------------------------------
** Bad ones
** ---------------------------------------------------------------- */

static void check_sent_away(const char *bytes, size_t size) {
  scene s;
  begin(&s);
  int good = join(), fd = raw_connect(NAME);
  hear_hello(fd, "writer");
  raw_send(fd, bytes, size);
  hear_end(fd);
  consented(good, 1, "freeze"); /* another is none the worse for it */
  consented(good, 2, "thaw");
  close(good);
  end(&s);
}

#define SENT_AWAY(text) check_sent_away(text, sizeof text - 1)
#define HI "{\"saros\":\"requester\",\"version\":1}\n"

WHOLE(garbage) {
  SENT_AWAY("GET / HTTP/1.1\r\n");
  SENT_AWAY("\n");
  SENT_AWAY("{\"n\":1,\"event\":\"freeze\"}\n");
  SENT_AWAY("{\"saros\":\"writer\",\"version\":1}\n");
  SENT_AWAY("{\"saros\":\"requester\"}\n");
  SENT_AWAY(HI HI);
  SENT_AWAY(HI "{\"n\":1,\"event\":7}\n");
  SENT_AWAY(HI "{\"n\":0,\"event\":\"freeze\"}\n");
  SENT_AWAY(HI "{\"event\":\"freeze\"}\n");
  SENT_AWAY(HI "{\"cancel\":\"1\"}\n");
  SENT_AWAY(HI "\xFF\xFE\n");
  SENT_AWAY(HI "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n");
}

WHOLE(a_line_without_end) {
  scene s;
  begin(&s);
  int fd = join();
  char chunk[65536];
  memset(chunk, ' ', sizeof chunk);
  size_t sent = 0;
  while (sent < (size_t)1 << 30 && raw_send(fd, chunk, sizeof chunk))
    sent += sizeof chunk;
  CHECK(sent < (size_t)8 << 20);
  close(fd);
  end(&s);
}

/* Asks and asks, and never reads an answer: what we would have to keep for it
   is bounded. */
WHOLE(answers_that_nobody_reads) {
  scene s;
  begin(&s);
  int fd = join();
  static const char ask[] = "{\"n\":1,\"event\":\"dance\"}\n";
  size_t sent = 0;
  while (sent < (size_t)1 << 30 && raw_send(fd, ask, sizeof ask - 1))
    sent += sizeof ask - 1;
  CHECK(sent < (size_t)8 << 20);
  close(fd);
  end(&s);
}

WHOLE(a_hello_in_pieces_and_then_the_end) {
  scene s;
  begin(&s);
  int fd = raw_connect(NAME);
  say(fd, "{\"saros\":\"requ");
  close(fd);
  fd = raw_connect(NAME); /* one that says nothing at all */
  close(fd);
  fd = join();
  consented(fd, 1, "prepare_backup");
  say(fd, "{\"n\":2,\"event\":");
  close(fd);
  GATE_UNTIL(local_told(&s.l, EVENT_ABORT) == 1);
  end(&s);
}

/* With the socket open to everybody it is the credentials that count. */
static int as_nobody(void) {
  struct sockaddr_un at;
  raw_address(&at, NAME);
  if (setresgid(65534, 65534, 65534) != 0 ||
      setresuid(65534, 65534, 65534) != 0)
    return 10;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) return 11;
  char byte;
  return recv(fd, &byte, 1, 0) == 0 || errno == ECONNRESET ? 0 : 12;
}

WHOLE(strangers_are_sent_away) {
  if (geteuid() != 0) SKIP("only root can be somebody else");
  scene s;
  begin(&s);
  struct sockaddr_un at;
  raw_address(&at, NAME);
  struct stat is;
  CHECK_INT(stat(at.sun_path, &is), 0);
  CHECK_INT(is.st_mode & 07777, 0600);
  CHECK_INT(chmod(at.sun_path, 0666), 0);
  CHECK_INT(chmod(place(), 0755), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) _exit(as_nobody());
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  end(&s);
}


/* ------------------------------------------------------------------
** Places
** ---------------------------------------------------------------- */

WHOLE(the_same_place_twice) {
  scene s;
  begin(&s);
  local other;
  local_open(&other);
  error *e = NULL;
  CHECK(wire_listen(place(), other.w, &e) == NULL);
  check_error(e, VSS_E_WRITER_ALREADY_SUBSCRIBED, "another process");
  CHECK_INT(gate_entries(place()), 1);
  int fd = join();
  consented(fd, 1, "prepare_snapshot");
  close(fd);
  local_close(&other);
  end(&s);
}

/* What a killed writer left is no obstacle. */
WHOLE(the_place_of_a_dead_one) {
  close(raw_listen(NAME, SOCK_STREAM));
  scene s;
  begin(&s);
  CHECK_INT(gate_entries(place()), 1);
  close(join());
  end(&s);
}

WHOLE(places_that_are_none) {
  local l;
  local_open(&l);
  error *e = NULL;
  CHECK(wire_listen("/nonexistent/writers", l.w, &e) == NULL);
  check_error(e, code_of_errno(ENOENT), "directory of the writers");
  e = NULL;
  CHECK_INT(chmod(place(), 0777), 0);
  CHECK(wire_listen(place(), l.w, &e) == NULL);
  check_error(e, SAROS_E_ACCESSDENIED, "written to by other users");
  CHECK_INT(chmod(place(), 0700), 0);
  if (geteuid() == 0) {
    e = NULL;
    CHECK_INT(chown(place(), 65534, 65534), 0);
    CHECK(wire_listen(place(), l.w, &e) == NULL);
    check_error(e, SAROS_E_ACCESSDENIED, "belongs to another user");
    CHECK_INT(chown(place(), 0, 0), 0);
  }
  local_close(&l);
}

WHOLE(listening_without_memory) {
  local l;
  local_open(&l);
  bool good = false;
  int failures = 0;
  for (long i = 1; !good && i < 100; i++) {
    error *e = NULL;
    mem_fail_at(i);
    wire_server *server = wire_listen(place(), l.w, &e);
    mem_fail_at(0);
    CHECK((server == NULL) == (e != NULL));
    if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    error_unref(e);
    good = server != NULL;
    failures += !good;
    wire_close(server);
    CHECK_INT(gate_entries(place()), 0);
  }
  CHECK(good && failures >= 3);
  local_close(&l);
}

/* Whatever fails, the writer is told to abort or the requester is answered,
   and nobody waits for ever. */
WHOLE(serving_without_memory) {
  bool good = false;
  int failures = 0;
  for (long i = 1; !good && i < 400; i++) {
    scene s;
    begin(&s);
    int fd = join();
    mem_fail_at(i);
    event(fd, 1, "freeze");
    const char *line = hear(fd);
    mem_fail_at(0);
    good = strstr(line, "true") != NULL;
    CHECK(good || line[0] == '{' || strcmp(line, "(end)") == 0);
    failures += !good;
    close(fd);
    if (local_told(&s.l, EVENT_FREEZE) > 0)
      GATE_UNTIL(local_told(&s.l, EVENT_ABORT) >= 1);
    end(&s);
  }
  CHECK(good && failures >= 3);
}

/* The parent's socket and connections are not kept open by a child. */
WHOLE(a_forked_child_lets_go) {
  scene s;
  begin(&s);
  int fd = join(), gate[2];
  consented(fd, 1, "prepare_backup");
  CHECK_INT(pipe2(gate, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    close(gate[1]);
    close(fd);
    wire_close(s.server); /* takes no socket away */
    char byte;
    _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
  }
  consented(fd, 2, "freeze");
  wire_close(s.server);
  s.server = NULL;
  hear_end(fd); /* though the child lives */
  close(gate[0]);
  close(gate[1]);
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  end(&s);
}

/* A writer whose process is killed while it is served: the next may come. */
WHOLE(a_served_writer_that_is_killed) {
  int gate[2];
  CHECK_INT(pipe2(gate, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    scene s;
    begin(&s);
    ssize_t n = write(gate[1], "x", 1);
    for (;;) pause();
    _exit((int)n);
  }
  char byte;
  CHECK_INT(read(gate[0], &byte, 1), 1);
  int fd = join();
  consented(fd, 1, "prepare_snapshot");
  kill(pid, SIGKILL);
  hear_end(fd);
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(gate_entries(place()), 1);
  scene s;
  begin(&s);
  close(join());
  end(&s);
  close(gate[0]);
  close(gate[1]);
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
  GATE_RUN(garbage);
  GATE_RUN(a_line_without_end);
  GATE_RUN(answers_that_nobody_reads);
  GATE_RUN(a_hello_in_pieces_and_then_the_end);
  GATE_RUN(strangers_are_sent_away);
  GATE_RUN(the_same_place_twice);
  GATE_RUN(the_place_of_a_dead_one);
  GATE_RUN(places_that_are_none);
  GATE_RUN(listening_without_memory);
  GATE_RUN(serving_without_memory);
  GATE_RUN(a_forked_child_lets_go);
  GATE_RUN(a_served_writer_that_is_killed);
  place_gone();
  return check_end();
}
