/*
** http: the thread and its requests. Cancelling at every moment, pauses,
** stalls, connections, forks, the end; and next to a host that has libcurl too.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include <curl/curl.h>
#include <dirent.h>

#include "http_case.h"

static http_request *start(const char *path, http_ask ask, void *context) {
  error *e = NULL;
  ask.url = at(path);
  ask.proxy = "";
  if (ask.method == NULL) ask.method = "GET";
  if (ask.calls == NULL) ask.calls = &told_calls;
  ask.context = context;
  http_request *r = http_start(&ask, &e);
  if (r == NULL) printf("%s\n", e->message);
  return r;
}

/* ------------------------------------------------------------------
** Cancelling
** ---------------------------------------------------------------- */

TEST(cancel_while_it_waits_for_an_answer) {
  told t = {0};
  http_request *r = start("stall/c1", (http_ask){0}, &t);
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
  http_request *r = start("ok/10", (http_ask){0}, &t);
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
    http_request *r = start("stallbody", (http_ask){.calls = &calls}, &c);
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
  http_request *r = start("ok/100000", (http_ask){.calls = &calls}, &t);
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
  for (int i = 0; i < 6; i++) r[i] = start("hold/q1", ask, &t[i]);
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
    r[i] = start("hold/h1", (http_ask){.per_host = 3}, &t[i]);
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
  http_request *r = start("ok/200000", (http_ask){.calls = &calls}, &p);
  while (atomic_load(&p.pauses) == 0 && !http_wait(r, 0)) usleep(100);
  /* Paused it does not stall, however long that is: the thread looks behind
     one request, and then there is the next. (In its first time the header
     came.) */
  for (int i = 0; i < 4; i++) {
    told t = {0};
    if (i % 2 == 0) atomic_fetch_add(&http_clock_ahead, 100000);
    http_request *other = start("ok/1", (http_ask){0}, &t);
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
  http_request *r = start("stall/s1", (http_ask){.stall_ms = 100}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_STALLED);
  told_free(&t, r);
  /* In the middle of a body: a server that needs longer than that to begin one
     has stalled, too, and is given more time. */
  bool begun = false;
  for (unsigned ms = 100; !begun && ms < 60000; ms *= 4) {
    t = (told){0};
    r = start("stallbody", (http_ask){.stall_ms = ms}, &t);
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
  r = start("drip/1000", (http_ask){.stall_ms = 300, .stall_bytes = 2000}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_STALLED);
  told_free(&t, r);
  t = (told){0};
  r = start("drip/50", (http_ask){.stall_ms = 60000, .stall_bytes = 1}, &t);
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
    http_request *r = start("connection", (http_ask){0}, &t);
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
    http_request *r = start("diesidle", ask, &t);
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
    http_request *r = start("diesidle", ask, &t);
    CHECK(await(r) != NULL);
    CHECK_INT(t.end, HTTP_WHOLE);
    CHECK(!http_answer_of(r)->reused);
    told_free(&t, r);
  }
  http_drop(kept);
}

/* ------------------------------------------------------------------
** Many threads
** ---------------------------------------------------------------- */

static _Atomic unsigned storm_seed = 1;

static void *storm(void *context) {
  int rounds = *(int *)context;
  unsigned seed = atomic_fetch_add(&storm_seed, 1) * 2654435761u;
  for (int i = 0; i < rounds; i++) {
    static const char *const paths[] = {"ok/3000",      "ok/100000",
                                        "chunked/5000", "short/100",
                                        "diesidle",     "stall/storm"};
    seed = seed * 1103515245u + 12345;
    unsigned which = (seed >> 16) % 6;
    told t = {0};
    http_request *r =
        start(paths[which], (http_ask){.per_host = 1 + which}, &t);
    if (which == 5 || (seed >> 24) % 3 == 0) {
      for (unsigned j = (seed >> 8) % 2000; j > 0; j--)
        __asm__ volatile("" ::: "memory");
      http_cancel(r);
      http_resume(r);
    }
    if (await(r) == NULL) abort();
    CHECK_INT(t.dones, 1);
    CHECK(t.end == HTTP_WHOLE || t.end == HTTP_CANCELLED ||
          (which == 3 && t.end == HTTP_CUT));
    if (t.end == HTTP_WHOLE && which == 1)
      CHECK(is_pattern(&t.body, 100000, 0));
    told_free(&t, r);
  }
  return NULL;
}

TEST(storm_of_threads) {
  enum { N = 6 };
  pthread_t threads[N];
  int rounds = getenv("SAROS_LONG") != NULL    ? 1000
               : getenv("SAROS_QUICK") != NULL ? 10
                                               : 60;
  for (int i = 0; i < N; i++)
    CHECK(pthread_create(&threads[i], NULL, storm, &rounds) == 0);
  for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
}

/* ------------------------------------------------------------------
** The thread's life
** ---------------------------------------------------------------- */

static unsigned descriptors(void) {
  unsigned n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (d != NULL && readdir(d) != NULL) n++;
  if (d != NULL) closedir(d);
  return n;
}

TEST(it_leaves_when_nothing_is_left) {
  http_settle();
  CHECK_INT(http_threads(), 0);
  unsigned before = descriptors();
  for (int i = 0; i < 3; i++) {
    told t = {0};
    http_request *r = start("ok/1000", (http_ask){0}, &t);
    CHECK(await(r) != NULL);
    CHECK_INT(t.end, HTTP_WHOLE);
    told_free(&t, r);
    http_settle();
    CHECK_INT(http_threads(), 0);
    CHECK_INT(descriptors(), before);
  }
  unsigned kept = http_keep();
  told t = {0};
  http_request *r = start("ok/1000", (http_ask){0}, &t);
  CHECK(await(r) != NULL);
  told_free(&t, r);
  t = (told){0};
  r = start("ok/1000", (http_ask){0}, &t);
  CHECK(await(r) != NULL);
  CHECK(http_answer_of(r)->reused);
  CHECK_INT(http_threads(), 1);
  told_free(&t, r);
  http_drop(kept);
  http_settle();
  CHECK_INT(descriptors(), before);
}

static int in_child(unsigned kept, http_request *pending) {
  check_bad = 0;
  CHECK(http_is_inherited(kept));
  http_cancel(pending); /* the parent's: nothing happens */
  CHECK(!http_wait(pending, 10));
  http_unref(pending);
  http_drop(kept);
  CHECK_INT(http_threads(), 0);
  /* What is begun here works. */
  told t = {0};
  http_request *r = start("ok/5000", (http_ask){0}, &t);
  CHECK(r != NULL && await(r) != NULL);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(is_pattern(&t.body, 5000, 0));
  CHECK(!http_answer_of(r)->reused);
  told_free(&t, r);
  http_settle();
  return check_bad > 0;
}

TEST(fork_in_the_middle) {
  unsigned kept = http_keep();
  told t = {0}, u = {0};
  http_request *r = start("hold/f1", (http_ask){0}, &t);
  free(server_ask(&s, "GET", "/held/f1/1", ""));
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    if (child == 0) _exit(in_child(kept, r));
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
  }
  CHECK(!http_wait(r, 0));
  free(server_ask(&s, "GET", "/release/f1", ""));
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_WHOLE);
  told_free(&t, r);
  r = start("ok/5000", (http_ask){0}, &u);
  CHECK(await(r) != NULL);
  CHECK_INT(u.end, HTTP_WHOLE);
  told_free(&u, r);
  http_drop(kept);
  http_settle();
}

/* Forks while requests run: none of the children hangs, nor does the parent. */
TEST(forks_under_load) {
  pthread_t threads[2];
  int rounds = getenv("SAROS_QUICK") != NULL ? 5 : 40;
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, storm, &rounds);
  for (int i = 0; i < 10; i++) {
    pid_t child = fork();
    if (child == 0) _exit((int)http_threads());
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

static size_t discard(char *data, size_t one, size_t size, void *context) {
  (void)data;
  (void)context;
  return one * size;
}

static void *host(void *context) {
  (void)context;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL *e = curl_easy_init();
  for (int i = 0; i < 20; i++) {
    curl_easy_setopt(e, CURLOPT_URL, at("ok/20000"));
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, discard);
    CHECK_INT(curl_easy_perform(e), CURLE_OK);
  }
  curl_easy_cleanup(e);
  curl_global_cleanup();
  return NULL;
}

TEST(a_host_with_libcurl_of_its_own) {
  pthread_t thread;
  int rounds = 20;
  CHECK(pthread_create(&thread, NULL, host, NULL) == 0);
  storm(&rounds);
  pthread_join(thread, NULL);
  told t = {0};
  http_request *r = start("ok/1", (http_ask){0}, &t);
  CHECK(await(r) != NULL);
  CHECK_INT(t.end, HTTP_WHOLE); /* although the host has cleaned up */
  told_free(&t, r);
}

/* Memory that runs out at any moment: an error, or an end; never a leak. */
TEST(without_memory) {
  http_settle();
  static const http_field field = {"X-A", "b", true};
  long blocks = mem_blocks();
  for (long n = 1; n < 60; n++) {
    told t = {0};
    error *e = NULL;
    http_ask ask = {.url = at("redirect/302?/ok/5000"),
                    .method = "GET",
                    .proxy = "",
                    .cacert = "/tmp/x",
                    .fields = &field,
                    .field_count = 1,
                    .redirects = 1,
                    .calls = &told_calls,
                    .context = &t};
    mem_fail_at(n);
    http_request *r = http_start(&ask, &e);
    if (r != NULL) {
      CHECK(await(r) != NULL);
      CHECK_INT(t.dones, 1);
      CHECK(t.end == HTTP_WHOLE || t.end == HTTP_FAILED ||
            t.end == HTTP_ASTRAY);
    } else {
      CHECK(e != NULL);
      error_unref(e);
    }
    bool reached = mem_fail_left() == 0;
    mem_fail_at(0);
    told_free(&t, r);
    http_settle();
    CHECK_INT(mem_blocks(), blocks);
    if (!reached) {
      CHECK(n > 10);
      return;
    }
  }
  printf("it never succeeds\n");
  CHECK(false);
}

int main(int argc, char **argv) {
  static const char *const command[] = {"python3", "spec/http/server.py", NULL};
  check_begin(argc, argv);
  if (!server_start(&s, command)) {
    printf("SKIPPED all: there is no python3 here to serve with\n");
    printf("0 passed, 0 failed, 1 skipped\n");
    return 0;
  }
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
  RUN(storm_of_threads);
  RUN(it_leaves_when_nothing_is_left);
  RUN(fork_in_the_middle);
  RUN(forks_under_load);
  RUN(a_host_with_libcurl_of_its_own);
  RUN(without_memory);
  server_stop(&s);
  http_settle();
  return check_end();
}
