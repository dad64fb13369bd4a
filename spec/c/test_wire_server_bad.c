/*
** The writer's end of the wire, against requesters that lie, and strangers.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "wire_server_case.h"

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

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(garbage);
  GATE_RUN(a_line_without_end);
  GATE_RUN(answers_that_nobody_reads);
  GATE_RUN(a_hello_in_pieces_and_then_the_end);
  GATE_RUN(strangers_are_sent_away);
  place_gone();
  return check_end();
}
