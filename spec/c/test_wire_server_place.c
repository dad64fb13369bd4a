/*
** The writer's end of the wire: its place in the directory of sockets, and what
** becomes of that without memory, in a forked child, and when it is killed.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "wire_server_case.h"

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
