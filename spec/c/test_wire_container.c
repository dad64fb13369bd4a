/*
** Writers and requesters in different containers that share a directory of
** sockets: the numbers of processes and users mean something else on each side.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sched.h>

#include "wire_case.h"

/* What a process of another container, with our number, would have put there
   in the moment before its socket has its name. */
WHOLE(a_number_is_nobodys_name) {
  enum { MANY = 64 };
  char names[MANY][40];
  int fds[MANY];
  for (int i = 0; i < MANY; i++) {
    snprintf(names[i], sizeof names[i], ".%ld+%d", (long)getpid(), i);
    fds[i] = raw_listen(names[i], SOCK_STREAM);
  }
  local l;
  error *e = NULL;
  local_open(&l);
  wire_server *server = wire_listen(place(), l.w, &e);
  CHECK(server != NULL);
  CHECK_INT(gate_entries(place()), 1);
  int there = 0;
  for (int i = 0; i < MANY; i++) {
    struct stat st;
    struct sockaddr_un at;
    raw_address(&at, names[i]);
    there += lstat(at.sun_path, &st) == 0;
  }
  CHECK_INT(there, MANY);
  for (int i = 0; i < MANY; i++) {
    close(fds[i]);
    raw_unlink(names[i]);
  }
  wire_close(server);
  local_close(&l);
}

static bool is_there(const char *name) {
  struct sockaddr_un at;
  struct stat st;
  raw_address(&at, name);
  return lstat(at.sun_path, &st) == 0;
}

/* Of who was killed in that moment; who is in the middle of it keeps it. */
WHOLE(an_aside_of_the_dead_is_removed) {
  char dead[WIRE_NAME], alive[WIRE_NAME];
  CHECK(wire_aside(dead) && wire_aside(alive) && strcmp(dead, alive) != 0);
  close(raw_listen(dead, SOCK_STREAM));
  int fd = raw_listen(alive, SOCK_STREAM);
  writer_list list = {NULL, 0};
  CHECK(wire_find(place(), &list) == NULL);
  CHECK_INT(list.count, 0);
  CHECK(!is_there(dead));
  CHECK(is_there(alive));
  writer_list_free(&list);
  close(fd);
  raw_unlink(alive);
}

/* Runs it in a user namespace in which user 0 is our user `mapped` (-1: nobody
   has a number there); its status, or 77 where there is none to be had. */
static int in_namespace(long mapped, int (*body)(int fd), int fd) {
  int made[2], go[2], status = -1;
  char byte = 'x', path[64], line[64];
  CHECK_INT(pipe2(made, O_CLOEXEC), 0);
  CHECK_INT(pipe2(go, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    check_bad = 0;
    if (unshare(CLONE_NEWUSER) != 0) _exit(77);
    if (write(made[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(2);
    if (mapped >= 0 && setresuid(0, 0, 0) != 0) _exit(3);
    _exit(body(fd));
  }
  close(made[1]);
  if (read(made[0], &byte, 1) == 1 && mapped >= 0) {
    snprintf(path, sizeof path, "/proc/%ld/uid_map", (long)pid);
    int n = snprintf(line, sizeof line, "0 %ld 1\n", mapped);
    int map = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(map >= 0 && write(map, line, (size_t)n) == n);
    close(map);
  }
  CHECK_INT(write(go[1], &byte, 1), 1);
  close(made[0]);
  close(go[0]);
  close(go[1]);
  CHECK_INT(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int believes_itself(int fd) {
  (void)fd;
  return wire_believes(geteuid()) ? 1 : 0;
}

static int accepts(int fd) {
  uid_t uid = 1;
  pid_t pid = 0;
  char who[WIRE_WHO];
  int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  if (peer < 0 || wire_peer(peer, &uid, &pid) != 0) return 4;
  printf("uid %lu: %s\n", (unsigned long)uid, wire_who(pid, uid, who));
  fflush(stdout);
  return wire_believes(uid) ? 1 : 0;
}

static int connects(int fd) {
  struct sockaddr_un at;
  raw_address(&at, ID ".sock");
  return connect(fd, (const struct sockaddr *)&at, sizeof at) == 0 ? 0 : 5;
}

static int stream(void) {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Whoever has no number there has that of all others who have none. */
WHOLE(who_has_no_number_is_nobody) {
  int r = in_namespace(-1, believes_itself, -1);
  if (r == 77) SKIP("no user namespace can be had here");
  CHECK_INT(r, 0);
  r = in_namespace((long)geteuid(), believes_itself, -1);
  CHECK_INT(r, 1);
  CHECK(wire_believes(geteuid()) && wire_believes(0));
}

static void meet(long inside, bool believed) {
  int fd = raw_listen(ID ".sock", SOCK_STREAM);
  int from_outside = stream();
  CHECK_INT(connects(from_outside), 0);
  CHECK_INT(in_namespace(inside, accepts, fd), believed);
  close(from_outside);
  close(fd);
  raw_unlink(ID ".sock");
}

/* A writer in a container, and who comes to it from outside. */
WHOLE(a_requester_from_outside) {
  if (in_namespace(-1, believes_itself, -1) == 77)
    SKIP("no user namespace can be had here");
  meet((long)geteuid(), true); /* its root is who we are */
  if (geteuid() != 0)
    SKIP("only root can make another user a container's root");
  meet(100000, false); /* root is nobody there */
}

/* A requester outside, and a writer in a container. */
WHOLE(a_writer_in_a_container) {
  uid_t uid = 1;
  pid_t pid = 0;
  if (geteuid() != 0)
    SKIP("only root can make another user a container's root");
  if (in_namespace(-1, believes_itself, -1) == 77)
    SKIP("no user namespace can be had here");
  CHECK_INT(chmod(place(), 01777), 0);
  static const long who[] = {0, 100000};
  for (int i = 0; i < 2; i++) {
    int fd = raw_listen(ID ".sock", SOCK_STREAM);
    struct sockaddr_un at;
    raw_address(&at, ID ".sock");
    CHECK_INT(chmod(at.sun_path, 0666), 0);
    int s = stream();
    int r = in_namespace(who[i], connects, s);
    close(s);
    CHECK_INT(r, 0);
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK_INT(wire_peer(peer, &uid, &pid), 0);
    CHECK_INT(uid, who[i]);
    CHECK_INT(wire_believes(uid), who[i] == 0);
    close(peer);
    close(fd);
    raw_unlink(ID ".sock");
  }
  CHECK_INT(chmod(place(), 0700), 0);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(a_number_is_nobodys_name);
  GATE_RUN(an_aside_of_the_dead_is_removed);
  GATE_RUN(who_has_no_number_is_nobody);
  GATE_RUN(a_requester_from_outside);
  GATE_RUN(a_writer_in_a_container);
  place_gone();
  return check_end();
}
