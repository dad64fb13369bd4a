/*
** What the suites about uploads in parts share: the server of spec/s3, and what
** it says.
*/
#ifndef SAROS_SPEC_S3_UPLOAD_CASE_H
#define SAROS_SPEC_S3_UPLOAD_CASE_H

#include "bits/s3_upload.h"
#include "upload_case.h"

#define ACCESS "AKTEST"
#define SECRET "sEcReT/canary+key"
#define TOKEN "tOkEn/canary=="

#define PART 65536u

/* What is answered to a request of this method with `match` in its URL: a fault
   of the server's, or a refusal; once, or so often. Parts of a plan. */
#define S3_WHEN(method, match, answer) \
  "{\"method\": \"" method "\", \"match\": \"" match "\", " answer "}"
#define S3_FAULT(what) "\"fault\": \"" what "\""
#define S3_STATUS(status, code) \
  S3_FAULT("status") ", \"status\": " #status ", \"code\": \"" code "\""
#define S3_TIMES(n) ", \"times\": " #n
#define S3_AFTER(seconds) ", \"after\": " #seconds
#define S3_MORE(xml) ", \"more\": \"" xml "\""

/* All parts are there, and it cannot be put together now. */
#define S3_NOT_COMPLETED \
  S3_WHEN("POST", "uploadId", S3_STATUS(500, "InternalError"))

/* What goes wrong from now on; what was asked before is forgotten. */
#define S3_PLAN(...) s3_plan((const char *const[]){__VA_ARGS__, NULL})

static inline void control(const char *path, const char *body) {
  free(server_ask(&s, "POST", path, body));
}

static inline void s3_plan(const char *const *parts) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "[");
  for (size_t i = 0; parts[i] != NULL; i++)
    buffer_format(&b, "%s%s", i > 0 ? ", " : "", parts[i]);
  buffer_text(&b, "]");
  control("/!plan", b.data);
  buffer_free(&b);
}

/* Nothing does. */
static inline void s3_no_plan(void) {
  control("/!plan", "[]");
}

static inline bool s3_suite_begin(void) {
  const char *argv[] = {"python3", "spec/s3/server.py", NULL};
  return server_start(&s, argv) && upload_suite_begin();
}

static inline void s3_suite_end(void) {
  free(upload_orphan);
  upload_suite_end();
  server_stop(&s);
}

/* An empty bucket, and a file to be sent in parts of 64 KiB. */
static inline void s3_begin(tried *t, const char *name, size_t size) {
  char path[128];
  control("/!clear", "");
  control("/!bucket/bucket", "");
  control("/!set", "{\"least\": 1}");
  s3_orphan_age = -1;
  free(upload_orphan);
  upload_orphan = NULL;
  snprintf(path, sizeof path, "bucket/%s", name);
  upload_case(t, name, size, at(path));
  t->start = bits_s3_start;
  t->ask.terms->part_size = PART;
  t->ask.terms->s3_key = mem_text(ACCESS);
  t->ask.terms->s3_secret = mem_text(SECRET);
}

/* How many requests there were that begin so, and all are forgotten. */
static inline unsigned s3_asked(const char *like) {
  char *log = server_ask(&s, "GET", "/!log", "");
  unsigned n = 0;
  for (char *c = log; (c = strstr(c, like)) != NULL; c++) n++;
  free(log);
  return n;
}

static inline unsigned s3_parts_sent(void) {
  return s3_asked("partNumber=");
}

static inline bool s3_any_upload(void) {
  char *text = server_ask(&s, "GET", "/!uploads", "");
  bool any = text[0] != '\0';
  free(text);
  return any;
}

/* The bytes of an object, by a plain socket. */
static inline bool s3_is_stored_at(const char *key, const char *name,
                                   size_t size) {
  char path[512];
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t)s.port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  buffer b = BUFFER_EMPTY;
  char part[65536];
  ssize_t n;
  snprintf(path, sizeof path,
           "GET /!object/bucket/%s HTTP/1.1\r\nHost: x\r\n"
           "Content-Length: 0\r\n\r\n",
           key);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
      write(fd, path, strlen(path)) != (ssize_t)strlen(path))
    abort();
  shutdown(fd, SHUT_WR);
  while ((n = read(fd, part, sizeof part)) > 0) buffer_put(&b, part, (size_t)n);
  close(fd);
  char *end = b.data != NULL ? strstr(b.data, "\r\n\r\n") : NULL;
  size_t head = end != NULL ? (size_t)(end + 4 - b.data) : b.size;
  bool same = is_content((b.data != NULL ? b.data : "") + head, b.size - head,
                         name, size, 0);
  if (!same) printf("%s: %zu bytes are there\n", key, b.size - head);
  buffer_free(&b);
  return same;
}

static inline bool s3_is_stored(const tried *t, const char *name, size_t size) {
  (void)t;
  return s3_is_stored_at(name, name, size);
}

/* Waits until a request is held. */
static inline void s3_await_held(void) {
  free(server_ask(&s, "GET", "/!held", ""));
}

/* What is held goes on. */
static inline void s3_let_go(void) {
  free(server_ask(&s, "GET", "/!release", ""));
}

/* That, and all that is asked of the server is done: what nobody waits for any
   more, too. */
static inline void s3_release(void) {
  s3_let_go();
  free(server_ask(&s, "GET", "/!quiet", ""));
}

/* Somebody else's. */
static inline void s3_put_object(const char *key, const char *name,
                                 size_t size) {
  char path[200];
  snprintf(path, sizeof path, "/!fill/bucket/%s/%zu/%s", key, size, name);
  control(path, "");
}

static inline bool s3_row_has(const tried *t, const char *text) {
  const bits_extra *x = t->file.extra;
  bool has = x != NULL && x->upload != NULL && strstr(x->upload, text) != NULL;
  if (!has)
    printf("remembered: %s\n",
           x != NULL && x->upload != NULL ? x->upload : "nothing");
  return has;
}

#endif
