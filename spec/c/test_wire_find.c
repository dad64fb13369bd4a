/*
** Writers of other processes: found by their sockets, believed or not, and one
** in another language that really holds a database.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "wire_case.h"

#define OTHER "6b0c9d5a-7b1f-4a59-9d53-5d6a0d6c1f02"
#define THIRD "6b0c9d5a-7b1f-4a59-9d53-5d6a0d6c1f03"

static writer_list find(void) {
  writer_list list = {NULL, 0};
  error *e = wire_find(place(), &list);
  if (e != NULL) printf("%s\n", e->message);
  CHECK(e == NULL);
  error_unref(e);
  return list;
}

static void check_found(size_t expected) {
  writer_list list = find();
  CHECK_INT(list.count, expected);
  writer_list_free(&list);
}

static void make_file(const char *name) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", place(), name);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  close(fd);
}

WHOLE(names_are_read) {
  int a = raw_listen(OTHER ".sock", SOCK_STREAM);
  int b = raw_listen(ID "." THIRD ".sock", SOCK_STREAM);
  writer_list list = find();
  CHECK_INT(list.count, 2);
  CHECK_TEXT(list.items[0]->id, ID);
  CHECK_TEXT(list.items[0]->instance, THIRD);
  CHECK_TEXT(list.items[1]->id, OTHER);
  CHECK_TEXT(list.items[1]->instance, OTHER);
  CHECK_TEXT(list.items[1]->way->name, "socket");
  writer_list_free(&list);
  /* Nobody has noticed that anybody looked. */
  struct pollfd p = {.fd = a, .events = POLLIN};
  CHECK_INT(poll(&p, 1, 0), 0);
  close(a);
  close(b);
  raw_unlink(OTHER ".sock");
  raw_unlink(ID "." THIRD ".sock");
}

WHOLE(what_is_no_writer) {
  static const char *const names[] = {"readme",
                                      "x.sock",
                                      ID,
                                      ID ".sock.sock",
                                      ID "." ID,
                                      ID "-" THIRD ".sock",
                                      "00000000-0000-0000-0000-000000000000"
                                      ".sock",
                                      ID ".sock"};
  for (int i = 0; i < 8; i++) make_file(names[i]);
  int datagram = raw_listen(OTHER ".sock", SOCK_DGRAM);
  int hidden = raw_listen("." OTHER ".sock", SOCK_STREAM);
  check_found(0);
  CHECK_INT(gate_entries(place()), 9); /* nothing is touched */
  for (int i = 0; i < 8; i++) raw_unlink(names[i]);
  raw_unlink(OTHER ".sock");
  raw_unlink("." OTHER ".sock");
  close(datagram);
  close(hidden);
}

WHOLE(what_is_dead_is_removed) {
  close(raw_listen(ID ".sock", SOCK_STREAM));
  int alive = raw_listen(OTHER ".sock", SOCK_STREAM);
  /* Bound, but it does not listen yet: that is not dead. */
  struct sockaddr_un at;
  raw_address(&at, THIRD ".sock");
  int young = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_INT(bind(young, (const struct sockaddr *)&at, sizeof at), 0);
  check_found(2);
  CHECK_INT(gate_entries(place()), 2);
  check_found(2);
  close(alive);
  close(young);
  check_found(0);
  CHECK_INT(gate_entries(place()), 0);
}

WHOLE(what_belongs_to_others) {
  if (geteuid() != 0) SKIP("only root can give a socket away");
  int fd = raw_listen(ID ".sock", SOCK_STREAM);
  struct sockaddr_un at;
  raw_address(&at, ID ".sock");
  CHECK_INT(chown(at.sun_path, 65534, 65534), 0);
  check_found(0);
  close(fd);
  check_found(0); /* dead, but not ours to remove */
  CHECK_INT(gate_entries(place()), 1);
  raw_unlink(ID ".sock");
}

WHOLE(directories_that_are_not_believed) {
  writer_list list = {NULL, 0};
  CHECK(wire_find("/nonexistent/writers", &list) == NULL);
  CHECK_INT(list.count, 0);
  CHECK_INT(chmod(place(), 0770), 0);
  check_error(wire_find(place(), &list), SAROS_E_ACCESSDENIED, "written to");
  CHECK_INT(chmod(place(), 01777), 0); /* sticky: each has his own */
  check_found(0);
  CHECK_INT(chmod(place(), 0700), 0);
  if (geteuid() != 0) return;
  CHECK_INT(chown(place(), 65534, 0), 0);
  check_error(wire_find(place(), &list), SAROS_E_ACCESSDENIED, "another user");
  CHECK_INT(chown(place(), 0, 0), 0);
}

/* Its socket has been given to us, but who listens there has not. */
WHOLE(a_process_that_is_not_believed) {
  if (geteuid() != 0) SKIP("only root can be somebody else");
  CHECK_INT(chmod(place(), 01777), 0);
  int gate[2], stop[2];
  CHECK_INT(pipe2(gate, O_CLOEXEC), 0);
  CHECK_INT(pipe2(stop, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    close(stop[1]);
    if (setresuid(65534, 65534, 65534) != 0) _exit(1);
    raw_listen(ID ".sock", SOCK_STREAM);
    char byte = 'x';
    if (write(gate[1], &byte, 1) != 1) _exit(2);
    _exit(read(stop[0], &byte, 1) == 0 ? 0 : 3);
  }
  char byte;
  CHECK_INT(read(gate[0], &byte, 1), 1);
  struct sockaddr_un at;
  raw_address(&at, ID ".sock");
  CHECK_INT(chown(at.sun_path, 0, 0), 0);
  writer_list list = find();
  CHECK_INT(list.count, 1);
  if (list.count == 1) {
    writer *w = list.items[0];
    error *e = NULL;
    writer_link *link = w->way->connect(w, SESSION, &e);
    ends_with(tell(w, link, EVENT_IDENTIFY, FOR_EVER), SAROS_E_ACCESSDENIED,
              "user 65534");
    w->way->hang_up(link);
  }
  writer_list_free(&list);
  for (int i = 0; i < 2; i++) {
    close(gate[i]);
    close(stop[i]);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  raw_unlink(ID ".sock");
  CHECK_INT(chmod(place(), 0700), 0);
}


/* ------------------------------------------------------------------
** Both ends
** ---------------------------------------------------------------- */

/* What this process serves is local already; its child sees it as another's. */
static int find_in_child(void) {
  writer_list list = {NULL, 0};
  error *e = wire_find(place(), &list);
  int n = e == NULL ? (int)list.count : 100;
  writer_list_free(&list);
  return n;
}

WHOLE(ours_are_left_out) {
  local l;
  error *e = NULL;
  local_open_as(&l, ID, THIRD);
  wire_server *server = wire_listen(place(), l.w, &e);
  CHECK(server != NULL);
  check_found(0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) _exit(find_in_child());
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status));
  CHECK_INT(WEXITSTATUS(status), 1);
  wire_close(server);
  local_close(&l);
}

/* A path longer than a socket's address holds. */
WHOLE(both_ends_by_a_long_path) {
  char deep[300], name[90];
  snprintf(deep, sizeof deep, "%s/%0100d", place(), 0);
  CHECK_INT(mkdir(deep, 0700), 0);
  snprintf(name, sizeof name, "%s.%s.sock", ID, OTHER);
  local l;
  error *e = NULL;
  local_open_as(&l, ID, OTHER);
  wire_server *server = wire_listen(deep, l.w, &e);
  CHECK(server != NULL);
  writer *w = wire_writer(deep, name, ID, OTHER, &e);
  CHECK(w != NULL);
  writer_link *link = w->way->connect(w, SESSION, &e);
  saros_op *op = tell(w, link, EVENT_IDENTIFY, FOR_EVER);
  CHECK_INT(ended(op), 0);
  CHECK_TEXT(value_chars(value_get(op_output(op), "name"), NULL), "local");
  saros_op_unref(op);
  l.mode[EVENT_PREPARE_SNAPSHOT] = SAYS_NO;
  op = tell(w, link, EVENT_PREPARE_SNAPSHOT, FOR_EVER);
  CHECK_INT(ended(op), VSS_E_WRITERERROR_RETRYABLE);
  error *why = op_error(op);
  CHECK_TEXT(why->message, "not \"now\"");
  CHECK(why->retryable);
  error_unref(why);
  saros_op_unref(op);
  ends_with(tell(w, link, EVENT_FREEZE, FOR_EVER), 0, NULL);
  w->way->hang_up(link);
  GATE_UNTIL(local_told(&l, EVENT_ABORT) == 1);
  writer_unref(w);
  wire_close(server);
  local_close(&l);
  CHECK_INT(rmdir(deep), 0);
}

/* Any number of sessions at once, each with a link; nothing is lost, nothing
   is answered twice. */
WHOLE(many_sessions) {
  enum { SESSIONS = 20, ROUNDS = 20 };
  local l;
  error *e = NULL;
  local_open(&l);
  wire_server *server = wire_listen(place(), l.w, &e);
  CHECK(server != NULL);
  writer *w = wire_writer(place(), ID ".sock", ID, ID, &e);
  writer_link *links[SESSIONS];
  saros_op *ops[SESSIONS];
  for (int i = 0; i < SESSIONS; i++) links[i] = w->way->connect(w, SESSION, &e);
  for (int k = 0; k < ROUNDS; k++) {
    for (int i = 0; i < SESSIONS; i++)
      ops[i] = tell(w, links[i], EVENT_POST_RESTORE, FOR_EVER);
    for (int i = 0; i < SESSIONS; i++) ends_with(ops[i], 0, NULL);
  }
  for (int i = 0; i < SESSIONS; i++) w->way->hang_up(links[i]);
  CHECK_INT(local_told(&l, EVENT_POST_RESTORE), SESSIONS * ROUNDS);
  writer_unref(w);
  wire_close(server);
  local_close(&l);
}

WHOLE(finding_without_memory) {
  int fd = raw_listen(ID ".sock", SOCK_STREAM);
  bool good = false;
  int failures = 0;
  for (long i = 1; !good && i < 100; i++) {
    writer_list list = {NULL, 0};
    mem_fail_at(i);
    error *e = wire_find(place(), &list);
    mem_fail_at(0);
    good = e == NULL && list.count == 1;
    CHECK(good || (e != NULL && e->code == SAROS_E_OUTOFMEMORY));
    failures += !good;
    error_unref(e);
    writer_list_free(&list);
  }
  CHECK(good && failures >= 4);
  close(fd);
  raw_unlink(ID ".sock");
}


/* ------------------------------------------------------------------
** In another language
** ---------------------------------------------------------------- */

#define PYTHON_ID "3f0d1a52-8f43-4c0c-9a51-6f2c1f6f8f10"

/* Runs it; its first line comes through the pipe. */
static pid_t python(const char *const *argv, int *out) {
  int ends[2];
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], 1);
    alarm(0);
    execvp("python3", (char *const *)(uintptr_t)argv);
    _exit(127);
  }
  close(ends[1]);
  *out = ends[0];
  return pid;
}

static int python_status(const char *code, const char *database) {
  const char *const argv[] = {"python3", "-c", code, database, NULL};
  int out, status = -1;
  pid_t pid = python(argv, &out);
  waitpid(pid, &status, 0);
  close(out);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 0: another could write to it now; 1: it is held. */
static int is_held(const char *database) {
  return python_status(
      "import sqlite3, sys\n"
      "c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
      "try: c.execute('BEGIN IMMEDIATE')\n"
      "except sqlite3.OperationalError: sys.exit(1)\n",
      database);
}

static void hold_from(const writer_list *list, const char *database) {
  writer *w = list->items[0];
  error *e = NULL;
  writer_link *a = w->way->connect(w, SESSION, &e);
  writer_link *b = w->way->connect(w, SESSION, &e);
  saros_op *op = tell(w, a, EVENT_IDENTIFY, FOR_EVER);
  CHECK_INT(ended(op), 0);
  const value *m = op_output(op);
  CHECK_TEXT(value_chars(value_get(m, "name"), NULL), "sqlite");
  CHECK_INT(value_get(m, "components")->count, 1);
  saros_op_unref(op);
  ends_with(tell(w, a, EVENT_PREPARE_SNAPSHOT, FOR_EVER), 0, NULL);
  CHECK_INT(is_held(database), 0);
  ends_with(tell(w, a, EVENT_FREEZE, 20000), 0, NULL);
  CHECK_INT(is_held(database), 1);
  ends_with(tell(w, b, EVENT_FREEZE, 20000), VSS_E_WRITERERROR_RETRYABLE,
            "another session");
  ends_with(tell(w, b, EVENT_ABORT, FOR_EVER), 0, NULL);
  CHECK_INT(is_held(database), 1);
  ends_with(tell(w, a, EVENT_THAW, FOR_EVER), 0, NULL);
  CHECK_INT(is_held(database), 0);
  /* Held again; then the connection goes, as when we die. */
  ends_with(tell(w, a, EVENT_FREEZE, 20000), 0, NULL);
  CHECK_INT(is_held(database), 1);
  w->way->hang_up(a);
  GATE_UNTIL(is_held(database) == 0);
  w->way->hang_up(b);
}

WHOLE(a_writer_in_python) {
  if (access("examples/writer.py", R_OK) != 0)
    SKIP("examples/writer.py is not here: run from the top of the tree");
  if (python_status("import sqlite3", NULL) != 0)
    SKIP("there is no python3 with sqlite3");
  char database[100];
  snprintf(database, sizeof database, "%s/app.db", place());
  CHECK_INT(is_held(database), 0);
  const char *const argv[] = {"python3", "examples/writer.py", place(),
                              database, NULL};
  int out;
  pid_t pid = python(argv, &out);
  char line[16] = "";
  CHECK(read(out, line, 9) == 9);
  CHECK_TEXT(line, "listening");
  writer_list list = find();
  CHECK_INT(list.count, 1);
  if (list.count == 1) hold_from(&list, database);
  writer_list_free(&list);
  kill(pid, SIGKILL);
  CHECK_INT(waitpid(pid, NULL, 0), pid);
  close(out);
  check_found(0); /* what it left is gone */
  if (access(database, F_OK) == 0) raw_unlink("app.db");
  CHECK_INT(gate_entries(place()), 0);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(names_are_read);
  GATE_RUN(what_is_no_writer);
  GATE_RUN(what_is_dead_is_removed);
  GATE_RUN(what_belongs_to_others);
  GATE_RUN(directories_that_are_not_believed);
  GATE_RUN(a_process_that_is_not_believed);
  GATE_RUN(ours_are_left_out);
  GATE_RUN(both_ends_by_a_long_path);
  GATE_RUN(many_sessions);
  GATE_RUN(finding_without_memory);
  GATE_RUN(a_writer_in_python);
  place_gone();
  return check_end();
}
