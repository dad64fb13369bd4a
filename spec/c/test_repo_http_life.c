/*
** http: the thread behind all requests. Many threads, forks, the end; next to a
** host that has libcurl too, and without memory.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include <curl/curl.h>
#include <dirent.h>

#include "http_case.h"

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
        launch(paths[which], (http_ask){.per_host = 1 + which}, &t);
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
    http_request *r = launch("ok/1000", (http_ask){0}, &t);
    CHECK(await(r) != NULL);
    CHECK_INT(t.end, HTTP_WHOLE);
    told_free(&t, r);
    http_settle();
    CHECK_INT(http_threads(), 0);
    CHECK_INT(descriptors(), before);
  }
  unsigned kept = http_keep();
  told t = {0};
  http_request *r = launch("ok/1000", (http_ask){0}, &t);
  CHECK(await(r) != NULL);
  told_free(&t, r);
  t = (told){0};
  r = launch("ok/1000", (http_ask){0}, &t);
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
  http_request *r = launch("ok/5000", (http_ask){0}, &t);
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
  http_request *r = launch("hold/f1", (http_ask){0}, &t);
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
  r = launch("ok/5000", (http_ask){0}, &u);
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
  http_request *r = launch("ok/1", (http_ask){0}, &t);
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
  if (!http_suite_begin(argc, argv)) return server_missing();
  RUN(storm_of_threads);
  RUN(it_leaves_when_nothing_is_left);
  RUN(fork_in_the_middle);
  RUN(forks_under_load);
  RUN(a_host_with_libcurl_of_its_own);
  RUN(without_memory);
  return http_suite_end();
}
