/*
** A Redis connection, its thread and its end, without Lua: with a server that
** says what it likes, from many threads at once, and with no memory. What a
** real one answers is spec/client_redis_spec.lua's.
*/
#include "check.h"

#ifndef HAS_redis

int main(void) {
  printf(
      "SKIPPED all: the client was left out\n0 passed, 0 failed, "
      "1 skipped\n");
  return 0;
}

#else

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/value.h"
#include "client/redis.h"
#include "gate.h"
#include "op/engine.h"
#include "op/op.h"
#include "op/thread.h"

/* The client has the engine through the table, as in its own module. */
extern const saros_api *saros_api_table;
const saros_api *saros_api_table;

static char directory[] = "/tmp/saros-redis-XXXXXX";
static char path[100];

/* ------------------------------------------------------------------
** The server
** ---------------------------------------------------------------- */

/* What it says to whatever is said to it; NULL: nothing, ever. */
static const char *_Atomic says;
static _Atomic int piece;   /* so many bytes at a time; 0: at once */
static _Atomic int hang_up; /* 1: behind what it said; 2: before it is asked */
static _Atomic int asked;
static _Atomic int guests;
static int door = -1;

static void say(int fd, const char *text) {
  size_t size = strlen(text), at = 0;
  while (at < size) {
    size_t most =
        piece > 0 && (size_t)piece < size - at ? (size_t)piece : size - at;
    ssize_t n = send(fd, text + at, most, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += (size_t)n;
  }
}

static void *serve(void *argument) {
  int fd = (int)(intptr_t)argument;
  char bytes[4096];
  ssize_t n = 1;
  while (hang_up != 2 && (n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
    const char *text = says;
    asked++;
    if (text != NULL) say(fd, text);
    if (hang_up) break;
  }
  close(fd);
  guests--;
  return NULL;
}

static void *listen_on(void *unused) {
  int fd;
  (void)unused;
  while ((fd = accept4(door, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
    pthread_t thread;
    guests++;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0)
      abort();
    pthread_detach(thread);
  }
  return NULL;
}

static pthread_t host;

static void open_door(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(path, sizeof path, "%s/socket", directory);
  memcpy(a.sun_path, path, strlen(path));
  door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(door, (struct sockaddr *)&a, sizeof a) != 0 ||
      listen(door, 64) != 0 ||
      pthread_create(&host, NULL, listen_on, NULL) != 0)
    abort();
}

static void close_door(void) {
  shutdown(door, SHUT_RDWR);
  pthread_join(host, NULL);
  close(door);
  unlink(path);
}


/* ------------------------------------------------------------------
** The client
** ---------------------------------------------------------------- */

static redis *open_it(void) {
  redis_options o = {.socket = path, .connect_ms = GATE_BOUND_MS};
  return redis_open(&o);
}

static saros_op *ask(redis *c) {
  redis_word words[] = {{"GET", 3}, {"key", 3}};
  return redis_ask(c, words, 2);
}

static uint32_t end_of(saros_op *op) {
  if (op == NULL) return SAROS_E_OUTOFMEMORY;
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  uint32_t code = saros_op_code(op);
  saros_op_unref(op);
  return code;
}

static void close_it(redis *c) {
  CHECK_INT(end_of(redis_close(c, true)), SAROS_S_OK);
  redis_unref(c);
}

static int threads_before;

static void all_ended(void) {
  GATE_UNTIL(guests == 0);
  GATE_UNTIL(engine_users() == 0);
  GATE_UNTIL(gate_count().threads <= threads_before);
  thread_join_left();
}

/* How a question ends that is answered so. */
static uint32_t answered(const char *text, int bytes, int then) {
  says = text;
  piece = bytes;
  hang_up = then;
  redis *c = open_it();
  uint32_t code = end_of(ask(c));
  close_it(c);
  return code;
}

TEST(in_order) {
  says = "*2\r\n$3\r\nabc\r\n:1\r\n";
  hang_up = 0;
  for (piece = 0; piece < 4; piece++) {
    redis *c = open_it();
    saros_op *ops[100];
    for (int i = 0; i < 100; i++) ops[i] = ask(c);
    for (int i = 0; i < 100; i++) {
      CHECK(saros_op_wait(ops[i], GATE_BOUND_MS));
      const value *v = op_output(ops[i]);
      CHECK(v != NULL && v->type == VALUE_LIST && v->count == 2);
      CHECK_INT(end_of(ops[i]), SAROS_S_OK);
    }
    close_it(c);
  }
  all_ended();
}

TEST(strange_answers) {
  static const struct {
    const char *text;
    uint32_t code;
  } known[] = {{"$-1\r\n", SAROS_S_OK},
               {"-ERR no\r\n", SAROS_E_FAIL},
               {"-NOAUTH\r\n", SAROS_E_ACCESSDENIED},
               {"-LOADING\r\n", SAROS_E_FAIL},
               {"HTTP/1.0 400 Bad\r\n\r\n", SAROS_E_DAMAGED},
               {"$67108865\r\n", SAROS_E_DAMAGED},
               {"*9999999\r\n", SAROS_E_DAMAGED},
               {"*-7\r\n", SAROS_E_DAMAGED},
               {"$1\r\nab\r\n", SAROS_E_DAMAGED},
               {":x\r\n", SAROS_E_DAMAGED}};
  for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
    for (int bytes = 0; bytes < 2; bytes++) {
      CHECK_INT(answered(known[i].text, bytes, 0), known[i].code);
      CHECK_INT(answered(known[i].text, bytes, 1), known[i].code);
    }
  }
  CHECK_INT(answered("$10\r\nabc", 0, 1), SAROS_E_CLOSED);
  CHECK_INT(answered("*2\r\n:1\r\n", 1, 1), SAROS_E_CLOSED);
  CHECK_INT(answered("", 0, 1), SAROS_E_CLOSED);
  CHECK_INT(answered("", 0, 2), SAROS_E_CLOSED);
  all_ended();
}

/* Two answers to one question: nobody knows any more what is answered. */
TEST(answers_nobody_asked_for) {
  says = "+OK\r\n+OK\r\n";
  piece = hang_up = 0;
  redis *c = open_it();
  CHECK_INT(end_of(ask(c)), SAROS_S_OK);
  GATE_UNTIL(!redis_is_open(c) || guests == 0);
  GATE_UNTIL(!redis_is_open(c));
  CHECK_INT(end_of(ask(c)), SAROS_E_CLOSED);
  close_it(c);
  all_ended();
}

TEST(never_answered) {
  says = NULL;
  piece = hang_up = 0;
  asked = 0;
  redis *c = open_it();
  saros_op *first = ask(c), *second = ask(c);
  GATE_UNTIL(asked == 1);
  saros_op_cancel(second);
  CHECK_INT(end_of(second), SAROS_E_CANCELLED);
  CHECK(redis_is_open(c));
  saros_op_cancel(first);
  CHECK_INT(end_of(first), SAROS_E_CANCELLED);
  GATE_UNTIL(!redis_is_open(c));
  close_it(c);
  c = open_it();
  saros_op *op = ask(c);
  GATE_UNTIL(asked == 2);
  CHECK_INT(end_of(redis_close(c, true)), SAROS_S_OK);
  CHECK(redis_close(c, true) == NULL);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  CHECK_INT(end_of(ask(c)), SAROS_E_CLOSED);
  redis_unref(c);
  all_ended();
}

TEST(closed_behind_what_was_asked) {
  says = "+OK\r\n";
  piece = hang_up = 0;
  redis *c = open_it();
  saros_op *first = ask(c), *second = ask(c), *closing = redis_close(c, false);
  redis_unref(c);
  CHECK_INT(end_of(closing), SAROS_S_OK);
  CHECK_INT(end_of(first), SAROS_S_OK);
  CHECK_INT(end_of(second), SAROS_S_OK);
  all_ended();
}

#ifdef SAROS_TEST
TEST(without_memory) {
  says = "*3\r\n:1\r\n$1\r\nx\r\n-ERR\r\n";
  piece = hang_up = 0;
  int without = 0;
  for (long n = 1; n < 60; n++) {
    mem_fail_at(n);
    redis *c = open_it();
    saros_op *op = c != NULL ? ask(c) : NULL;
    uint32_t code = end_of(op);
    saros_op *closing = c != NULL ? redis_close(c, true) : NULL;
    if (closing != NULL) end_of(closing);
    mem_fail_at(0);
    if (c != NULL) redis_unref(c);
    CHECK(code == SAROS_S_OK || code == SAROS_E_OUTOFMEMORY);
    without += code != SAROS_S_OK;
  }
  CHECK(without > 5);
  all_ended();
}
#endif


/* ------------------------------------------------------------------
** From many threads
** ---------------------------------------------------------------- */

enum { THREADS = 6, CONNECTIONS = 3 };

typedef struct storm {
  redis *connections[CONNECTIONS];
  pthread_mutex_t lock; /* to exchange one */
  _Atomic unsigned seed;
  int rounds;
} storm;

/* With a reference of the caller's. */
static saros_op *ask_one(storm *s, unsigned i) {
  pthread_mutex_lock(&s->lock);
  saros_op *op = ask(s->connections[i]);
  pthread_mutex_unlock(&s->lock);
  return op;
}

static void exchange(storm *s, unsigned i, bool cancel) {
  redis *fresh = open_it();
  pthread_mutex_lock(&s->lock);
  redis *old = s->connections[i];
  s->connections[i] = fresh;
  pthread_mutex_unlock(&s->lock);
  saros_op *op = redis_close(old, cancel);
  redis_unref(old);
  CHECK_INT(end_of(op), SAROS_S_OK);
}

static void *bluster(void *argument) {
  storm *s = argument;
  unsigned seed = atomic_fetch_add(&s->seed, 1);
  for (int n = 0; n < s->rounds; n++) {
    unsigned i = (unsigned)rand_r(&seed) % CONNECTIONS;
    int what = rand_r(&seed) % 20;
    if (what == 0) {
      exchange(s, i, rand_r(&seed) % 2);
      continue;
    }
    saros_op *op = ask_one(s, i);
    if (op != NULL && what < 6) saros_op_cancel(op);
    uint32_t code = end_of(op);
    CHECK(code == SAROS_S_OK || code == SAROS_E_CANCELLED ||
          code == SAROS_E_CLOSED);
  }
  return NULL;
}

TEST(storm) {
  storm s = {.seed = 1, .rounds = gate_is_quick ? 50 : 400};
  pthread_t threads[THREADS];
  says = "$5\r\nhello\r\n";
  piece = hang_up = 0;
  pthread_mutex_init(&s.lock, NULL);
  for (int i = 0; i < CONNECTIONS; i++) s.connections[i] = open_it();
  for (int i = 0; i < THREADS; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, bluster, &s), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < CONNECTIONS; i++) close_it(s.connections[i]);
  pthread_mutex_destroy(&s.lock);
  all_ended();
}

int main(int argc, char **argv) {
  saros_api_table = saros_api_own();
  if (mkdtemp(directory) == NULL) return 2;
  gate_begin(argc, argv);
  open_door();
  threads_before = gate_count().threads;
  RUN(in_order);
  RUN(strange_answers);
  RUN(answers_nobody_asked_for);
  RUN(never_answered);
  RUN(closed_behind_what_was_asked);
#ifdef SAROS_TEST
  RUN(without_memory);
#endif
  RUN(storm);
  close_door();
  rmdir(directory);
  return check_end();
}

#endif
