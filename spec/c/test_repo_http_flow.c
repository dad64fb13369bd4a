/*
** http: requests on their way. Cancelling at every moment, pauses, stalls, and
** the connections they go over.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "http_case.h"

/* ------------------------------------------------------------------
** Cancelling
** ---------------------------------------------------------------- */

TEST(cancel_while_it_waits_for_an_answer) {
  told t = {0};
  http_request *r = launch("stall/c1", (http_ask){0}, &t);
  free(server_ask(&s, "GET", "/opened/c1", "")); /* the server has it */
  http_cancel(r);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_CANCELLED);
  CHECK_INT(t.dones, 1);
  http_cancel(r); /* too late, and no harm */
  told_free(&t, r);
}

TEST(cancel_before_it_begins) {
  told t = {0};
  http_request *r = launch("ok/10", (http_ask){0}, &t);
  http_cancel(r);
  CHECK(await(r) != NULL);
  CHECK(t.end == HTTP_CANCELLED || t.end == HTTP_WHOLE);
  CHECK_INT(t.dones, 1);
  told_free(&t, r);
}

typedef struct canceller {
  told t;
  http_request *_Atomic r;
  http_flow says;
} canceller;

static http_flow cancel_in_body(void *context, const void *data, size_t size) {
  canceller *c = context;
  (void)data;
  (void)size;
  http_request *r;
  while ((r = atomic_load(&c->r)) == NULL) continue;
  http_cancel(r);
  return c->says;
}

TEST(cancel_from_a_callback) {
  static const http_calls calls = {.body = cancel_in_body, .done = told_done};
  static const http_flow says[] = {HTTP_GO, HTTP_PAUSE, HTTP_STOP};
  static const http_end ends[] = {HTTP_CANCELLED, HTTP_CANCELLED, HTTP_STOPPED};
  for (int i = 0; i < 3; i++) {
    canceller c = {.says = says[i]};
    http_request *r = launch("stallbody", (http_ask){.calls = &calls}, &c);
    atomic_store(&c.r, r);
    CHECK(await(r) != NULL);
    CHECK_INT(c.t.end, ends[i]);
    CHECK_INT(c.t.dones, 1);
    told_free(&c.t, r);
  }
}

static http_flow stop_at_head(void *context, const http_answer *a) {
  (void)context;
  return a->status == 200 ? HTTP_STOP : HTTP_GO;
}

TEST(stopped_at_its_header) {
  static const http_calls calls = {
      .head = stop_at_head, .body = told_body, .done = told_done};
  told t = {0};
  http_request *r = launch("ok/100000", (http_ask){.calls = &calls}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_STOPPED);
  CHECK_INT(t.body.size, 0);
  told_free(&t, r);
}

/* Those that wait for their turn with a host end without ever going. */
TEST(cancel_in_the_queue) {
  told t[6] = {0};
  http_request *r[6];
  http_ask ask = {.per_host = 2};
  for (int i = 0; i < 6; i++) r[i] = launch("hold/q1", ask, &t[i]);
  free(server_ask(&s, "GET", "/held/q1/2", ""));
  for (int i = 2; i < 6; i++) http_cancel(r[i]);
  for (int i = 2; i < 6; i++) {
    CHECK(await(r[i]) != NULL);
    CHECK_INT(t[i].end, HTTP_CANCELLED);
  }
  free(server_ask(&s, "GET", "/release/q1", ""));
  for (int i = 0; i < 2; i++) {
    CHECK(await(r[i]) != NULL);
    CHECK_INT(t[i].end, HTTP_WHOLE);
  }
  char *most = server_ask(&s, "GET", "/held/q1/0", "");
  CHECK_TEXT(most, "2");
  free(most);
  for (int i = 0; i < 6; i++) told_free(&t[i], r[i]);
}

TEST(so_many_go_to_one_host) {
  enum { N = 30 };
  static told t[N];
  http_request *r[N];
  memset(t, 0, sizeof t);
  for (int i = 0; i < N; i++)
    r[i] = launch("hold/h1", (http_ask){.per_host = 3}, &t[i]);
  free(server_ask(&s, "GET", "/held/h1/3", ""));
  free(server_ask(&s, "GET", "/release/h1", ""));
  for (int i = 0; i < N; i++) {
    CHECK(await(r[i]) != NULL);
    CHECK_INT(t[i].end, HTTP_WHOLE);
    told_free(&t[i], r[i]);
  }
  char *most = server_ask(&s, "GET", "/held/h1/0", "");
  CHECK_TEXT(most, "3");
  free(most);
}

/* ------------------------------------------------------------------
** Pauses and stalls
** ---------------------------------------------------------------- */

typedef struct pauser {
  told t;
  http_request *_Atomic r;
  _Atomic unsigned pauses;
  bool done_with; /* the next piece is taken */
} pauser;

/* Every piece is refused once, and taken after http_resume. */
static http_flow pause_often(void *context, const void *data, size_t size) {
  pauser *p = context;
  if (!p->done_with) {
    p->done_with = true;
    atomic_fetch_add(&p->pauses, 1);
    return HTTP_PAUSE;
  }
  p->done_with = false;
  buffer_put(&p->t.body, data, size);
  return HTTP_GO;
}

TEST(paused_and_resumed) {
  static const http_calls calls = {.body = pause_often, .done = told_done};
  pauser p = {0};
  http_request *r = launch("ok/200000", (http_ask){.calls = &calls}, &p);
  while (atomic_load(&p.pauses) == 0 && !http_wait(r, 0)) usleep(100);
  /* Paused it does not stall, however long that is: the thread looks behind
     one request, and then there is the next. (In its first time the header
     came.) */
  for (int i = 0; i < 4; i++) {
    told t = {0};
    if (i % 2 == 0) atomic_fetch_add(&http_clock_ahead, 100000);
    http_request *other = launch("ok/1", (http_ask){0}, &t);
    CHECK(await(other) != NULL);
    told_free(&t, other);
  }
  CHECK(!http_wait(r, 0));
  while (!http_wait(r, 1)) http_resume(r);
  CHECK_INT(p.t.end, HTTP_WHOLE);
  CHECK(is_pattern(&p.t.body, 200000, 0));
  CHECK(atomic_load(&p.pauses) > 5);
  told_free(&p.t, r);
}

TEST(stalls_end) {
  told t = {0};
  http_request *r = launch("stall/s1", (http_ask){.stall_ms = 100}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_STALLED);
  told_free(&t, r);
  /* In the middle of a body: a server that needs longer than that to begin one
     has stalled, too, and is given more time. */
  bool begun = false;
  for (unsigned ms = 100; !begun && ms < 60000; ms *= 4) {
    t = (told){0};
    r = launch("stallbody", (http_ask){.stall_ms = ms}, &t);
    CHECK(await(r) != NULL);
    CHECK_INT(t.end, HTTP_STALLED);
    begun = t.body.size > 0;
    CHECK(!begun || is_pattern(&t.body, 100, 0));
    told_free(&t, r);
  }
  CHECK(begun);
  /* One byte now and then is too little where more is demanded; where it is
     not, it may take as long as it takes. */
  t = (told){0};
  r = launch("drip/1000", (http_ask){.stall_ms = 300, .stall_bytes = 2000}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_STALLED);
  told_free(&t, r);
  t = (told){0};
  r = launch("drip/50", (http_ask){.stall_ms = 60000, .stall_bytes = 1}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_WHOLE);
  told_free(&t, r);
}

/* ------------------------------------------------------------------
** Connections
** ---------------------------------------------------------------- */

TEST(connections_are_used_again) {
  char first[20] = "";
  unsigned kept = http_keep();
  for (int i = 0; i < 20; i++) {
    told t = {0};
    http_request *r = launch("connection", (http_ask){0}, &t);
    CHECK(await(r) != NULL);
    if (i == 0) snprintf(first, sizeof first, "%s", t.body.data);
    CHECK_TEXT(t.body.data, first);
    if (i > 0) CHECK(http_answer_of(r)->reused);
    told_free(&t, r);
  }
  http_drop(kept);
}

/* The server gives up the connection just when it is used again: nobody
   notices, also not of a body that must be sent twice. */
TEST(dead_connections_are_no_failure) {
  static const http_piece piece = {"abcde", 5};
  unsigned kept = http_keep();
  for (int i = 0; i < 20; i++) {
    told t = {0};
    http_ask ask = {0};
    if (i % 2 == 1)
      ask = (http_ask){.method = "PUT", .pieces = &piece, .piece_count = 1};
    http_request *r = launch("diesidle", ask, &t);
    CHECK(await(r) != NULL);
    if (t.end != HTTP_WHOLE)
      printf("%d: %s (%d, reused %d)\n", i, t.why, http_answer_of(r)->curl,
             http_answer_of(r)->reused);
    CHECK_INT(t.end, HTTP_WHOLE);
    CHECK_INT(t.heads, 1);
    told_free(&t, r);
  }
  /* What must not be sent twice does not go over one that may be dead. */
  for (int i = 0; i < 10; i++) {
    told t = {0};
    http_ask ask = {
        .method = "POST", .pieces = &piece, .piece_count = 1, .once = true};
    http_request *r = launch("diesidle", ask, &t);
    CHECK(await(r) != NULL);
    CHECK_INT(t.end, HTTP_WHOLE);
    CHECK(!http_answer_of(r)->reused);
    told_free(&t, r);
  }
  http_drop(kept);
}

int main(int argc, char **argv) {
  if (!http_suite_begin(argc, argv)) return server_missing();
  RUN(cancel_while_it_waits_for_an_answer);
  RUN(cancel_before_it_begins);
  RUN(cancel_from_a_callback);
  RUN(stopped_at_its_header);
  RUN(cancel_in_the_queue);
  RUN(so_many_go_to_one_host);
  RUN(paused_and_resumed);
  RUN(stalls_end);
  RUN(connections_are_used_again);
  RUN(dead_connections_are_no_failure);
  return http_suite_end();
}
