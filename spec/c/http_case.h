/*
** What the suites about HTTP share: a server in a process of its own, a client
** of its own to speak to it without the code that is tested, and requests that
** are waited for.
*/
#ifndef SAROS_SPEC_HTTP_CASE_H
#define SAROS_SPEC_HTTP_CASE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "http/http.h"
#include "saros.h"

/* The module has the engine's table from Lua; a test that has it not needs it
   all the same to be linked. */
#ifndef SAROS_SPEC_BITS_CASE_H /* which has it, too */
__attribute__((weak)) const saros_api *saros_api_table;
#endif

/* ------------------------------------------------------------------
** The server
** ---------------------------------------------------------------- */

typedef struct server {
  pid_t pid;
  int input; /* it serves until this is closed */
  int port;
  int more[8]; /* others that it said in the same line, or 0 */
} server;

/* False when there is no python3 here. `argv` ends with NULL. */
static inline bool server_start(server *s, const char *const *argv) {
  int in[2], out[2];
  memset(s, 0, sizeof *s);
  if (pipe2(in, O_CLOEXEC) != 0) return false;
  if (pipe2(out, O_CLOEXEC) != 0) return false;
  s->pid = fork();
  if (s->pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  s->input = in[1];
  FILE *f = fdopen(out[0], "r");
  char line[256] = "", *end = line;
  if (f == NULL || fgets(line, sizeof line, f) == NULL) line[0] = '\0';
  if (f != NULL) fclose(f);
  s->port = (int)strtol(line, &end, 10);
  for (int i = 0; i < 8; i++) s->more[i] = (int)strtol(end, &end, 10);
  return s->port > 0;
}

/* What a program comes to that cannot have one. */
static inline int server_missing(void) {
  printf("SKIPPED all: there is no python3 here to serve with\n");
  check_skipped++;
  return check_end();
}

static inline void server_stop(server *s) {
  if (s->pid <= 0) return;
  close(s->input);
  waitpid(s->pid, NULL, 0);
  s->pid = 0;
}

/* One with a certificate of its own, folder/ca.pem; to be stopped also when it
   has not begun. */
static inline bool start_tls(server *tls, char folder[64], const char *name) {
  snprintf(folder, 64, "/tmp/saros-spec-http-XXXXXX");
  if (mkdtemp(folder) == NULL) return false;
  const char *argv[] = {"python3", "spec/http/server.py",          "--tls",
                        folder,    name != NULL ? "--name" : NULL, name,
                        NULL};
  return server_start(tls, argv);
}

static inline void stop_tls(server *tls, const char *folder) {
  char path[100];
  server_stop(tls);
  snprintf(path, sizeof path, "%s/ca.pem", folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/key.pem", folder);
  unlink(path);
  rmdir(folder);
}

/* The body of an answer, by a plain socket; to be freed. */
static inline char *server_ask(const server *s, const char *method,
                               const char *path, const char *body) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t)s->port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  buffer b = BUFFER_EMPTY, got = BUFFER_EMPTY;
  char part[4096];
  ssize_t n;
  buffer_format(&b,
                "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n"
                "Connection: close\r\n\r\n%s",
                method, path, strlen(body), body);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
      write(fd, b.data, b.size) == (ssize_t)b.size) {
    size_t whole = 0;
    while ((n = read(fd, part, sizeof part)) > 0) {
      buffer_put(&got, part, (size_t)n);
      char *end = strstr(got.data, "\r\n\r\n");
      char *length = strstr(got.data, "Content-Length: ");
      if (end != NULL && length != NULL)
        whole = (size_t)(end + 4 - got.data) + strtoul(length + 16, NULL, 10);
      if (whole > 0 && got.size >= whole) break;
    }
  }
  close(fd);
  char *end = got.data != NULL ? strstr(got.data, "\r\n\r\n") : NULL;
  char *text = strdup(end != NULL ? end + 4 : "");
  buffer_free(&b);
  buffer_free(&got);
  return text;
}

/* ------------------------------------------------------------------
** A request, and what came
** ---------------------------------------------------------------- */

typedef struct told {
  buffer body;
  unsigned heads, dones;
  http_end end;
  unsigned status;
  char why[320];
} told;

static http_flow told_head(void *context, const http_answer *a) {
  told *t = context;
  t->heads++;
  t->status = a->status;
  return HTTP_GO;
}

static http_flow told_body(void *context, const void *data, size_t size) {
  told *t = context;
  buffer_put(&t->body, data, size);
  return HTTP_GO;
}

static void told_done(void *context, const http_answer *a) {
  told *t = context;
  t->dones++;
  t->end = a->end;
  t->status = a->status;
  snprintf(t->why, sizeof t->why, "%s", a->why);
}

static const http_calls told_calls = {
    .head = told_head, .body = told_body, .done = told_done};

/* Waits for it; NULL after a minute, which is a hang. */
static inline const http_answer *await(http_request *r) {
  for (int i = 0; i < 600; i++)
    if (http_wait(r, 100)) return http_answer_of(r);
  printf("a request hangs\n");
  return NULL;
}

/* As asked, to the end. The request is the caller's, for its answer. */
static inline http_request *go(const char *url, const http_ask *like, told *t) {
  http_ask ask = *like;
  error *e = NULL;
  memset(t, 0, sizeof *t);
  ask.url = url;
  if (ask.method == NULL) ask.method = "GET";
  if (ask.calls == NULL) ask.calls = &told_calls;
  if (ask.context == NULL) ask.context = t;
  if (ask.proxy == NULL) ask.proxy = "";
  http_request *r = http_start(&ask, &e);
  if (r == NULL) {
    snprintf(t->why, sizeof t->why, "%s", e->message);
    t->end = HTTP_MISUSED;
    error_unref(e);
    return NULL;
  }
  if (await(r) == NULL) abort();
  return r;
}

static inline bool is_pattern(const buffer *b, size_t size, size_t start) {
  if (b->size != size) return false;
  for (size_t i = 0; i < size; i++)
    if ((unsigned char)b->data[i] != ((i + start) * 7 + 3) % 251) return false;
  return true;
}

static server s;

static inline const char *at(const char *path) {
  static _Thread_local char url[4096];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", s.port, path);
  return url;
}

/* As asked of the server, and not waited for. */
static inline http_request *launch(const char *path, http_ask ask,
                                   void *context) {
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

static inline void told_free(told *t, http_request *r) {
  buffer_free(&t->body);
  http_unref(r);
}

/* Blocks of memory, when the thread behind all requests has put things away,
   which it does behind whoever waited for them. */
static inline long least_blocks(void) {
  long least = mem_blocks();
  for (int i = 0; i < 100; i++) {
    usleep(1000);
    long now = mem_blocks();
    if (now < least) least = now;
  }
  return least;
}

static inline bool has_no_more_blocks(long than) {
  for (int i = 0; i < 60000 && mem_blocks() > than; i++) usleep(1000);
  if (mem_blocks() > than) printf("%ld blocks, not %ld\n", mem_blocks(), than);
  return mem_blocks() <= than;
}

/* ------------------------------------------------------------------
** A suite
** ---------------------------------------------------------------- */

/* With the server of spec/http; false: there is none. */
static inline bool http_suite_begin(int argc, char **argv) {
  static const char *const command[] = {"python3", "spec/http/server.py", NULL};
  check_begin(argc, argv);
  return server_start(&s, command);
}

static inline int http_suite_end(void) {
  server_stop(&s);
  http_settle();
  return check_end();
}

#endif
