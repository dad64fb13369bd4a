/*
** Uploads in parts as jobs of a queue: taken back when they are cancelled, also
** by whoever opens the queue next, and killed at any moment without a wrong
** object, a secret in the queue, or anything left at the server.
**
** not under valgrind: it kills processes that would take too long to begin
** not under thread: it forks, and its children have threads
*/
#include "bits/job_parts.h"
#include "bits/s3_upload.h"
#include "bits_case.h"
#include "bits_server_case.h"

#define KEYS "AKTEST\nsEcReT/canary+key\n"
#define PART 65536u
#define SIZE (9 * PART + 1000)

static void control(const char *path, const char *body) {
  free(server_ask(&s, "POST", path, body));
}

static void empty_bucket(void) {
  control("/!clear", "");
  control("/!bucket/bucket", "");
  control("/!set", "{\"least\": 1}");
}

static bool any_upload(void) {
  char *text = server_ask(&s, "GET", "/!uploads", "");
  bool any = text[0] != '\0';
  free(text);
  return any;
}

/* The server says what it is. */
static bool is_stored_at(const char *key, const char *name, size_t size) {
  char path[128], want[65];
  unsigned char *data = server_content(name, size, 0);
  http_sign_sha256(data, size, want);
  free(data);
  snprintf(path, sizeof path, "/!sha256/bucket/%s", key);
  char *there = server_ask(&s, "GET", path, "");
  bool same = strcmp(there, want) == 0;
  if (!same) printf("%s is %s, not %s\n", key, there, want);
  free(there);
  return same;
}

static bool is_stored(const char *name, size_t size) {
  return is_stored_at(name, name, size);
}

static void write_file(const char *name, size_t size) {
  unsigned char *data = server_content(name, size, 0);
  FILE *f = fopen(in_world(name), "wb");
  CHECK(f != NULL && fwrite(data, 1, size, f) == size);
  if (f != NULL) fclose(f);
  free(data);
}

static void add_object(bits_job *j, const char *name) {
  char path[100];
  snprintf(path, sizeof path, "bucket/%s", name);
  CHECK(add_file(j, at(path), name));
}

/* `keys` of the property s3. */
static bits_job *make_upload(bits_manager *m, const char *name,
                             const char *keys) {
  char options[400];
  snprintf(options, sizeof options,
           "{'type':'upload','part_size':%u,'proxy':'','retry_delay':0,"
           "'s3':{%s}}",
           PART, keys);
  bits_job *j = make_job(m, options);
  add_object(j, name);
  return j;
}

static const char by_reference[] = "'reference':'env:SAROS_TEST_KEYS'";
static const char by_text[] =
    "'access_key':'AKTEST','secret_key':'sEcReT/canary+key'";

static bool has_canary(const char *path) {
  char *text = malloc(8u << 20);
  FILE *f = fopen(path, "rb");
  size_t n = f != NULL && text != NULL ? fread(text, 1, 8u << 20, f) : 0;
  bool has = memmem(text, n, "canary", 6) != NULL ||
             memmem(text, n, "AKTEST", 6) != NULL;
  if (f != NULL) fclose(f);
  free(text);
  return has;
}

static bool is_queue_clean(void) {
  char wal[100];
  snprintf(wal, sizeof wal, "%s-wal", world_queue);
  return !has_canary(world_queue) && !has_canary(wal);
}

TEST(a_job_is_uploaded) {
  world_next();
  empty_bucket();
  write_file("job", SIZE);
  bits_manager *m = open_queue("{}");
  bits_job *j = make_upload(m, "job", by_text);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK(is_stored("job", SIZE));
  CHECK(!any_upload());
  CHECK(is_queue_clean());
  uint32_t code = 1;
  CHECK(is_fine(bits_job_complete(j, &code)));
  CHECK_INT(code, 0);
  bits_job_unref(j);
  shut_queue(m);
  CHECK(is_queue_clean());
}

/* A small one, and one without keys: the other ways. */
TEST(a_job_is_uploaded_at_once) {
  world_next();
  empty_bucket();
  write_file("small", 1000);
  bits_manager *m = open_queue("{}");
  bits_job *j = make_upload(m, "small", by_text);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK(is_stored("small", 1000));
  bits_job_unref(j);
  shut_queue(m);
}

/* Until a part is held by the server. */
static bits_job *upload_half(bits_manager *m, const char *name,
                             const char *keys) {
  control("/!plan",
          "[{\"method\": \"PUT\", \"match\": \"partNumber=8&\", "
          "\"fault\": \"hold\"}]");
  write_file(name, SIZE);
  bits_job *j = make_upload(m, name, keys);
  CHECK(is_fine(bits_job_resume(j)));
  free(server_ask(&s, "GET", "/!held", ""));
  return j;
}

TEST(a_cancelled_job_is_taken_back) {
  uint32_t code;
  world_next();
  empty_bucket();
  bits_manager *m = open_queue("{}");
  bits_job *j = upload_half(m, "cancelled", by_text);
  CHECK(is_fine(bits_job_cancel(j, &code)));
  free(server_ask(&s, "GET", "/!release", ""));
  AWAIT(!any_upload());
  bits_job_unref(j);
  shut_queue(m);
}

/* It goes elsewhere now: what has arrived is taken back from where it was. */
TEST(another_address_leaves_nothing_at_the_first) {
  world_next();
  empty_bucket();
  bits_manager *m = open_queue("{}");
  bits_job *j = upload_half(m, "moved", by_text);
  CHECK(is_fine(bits_job_suspend(j)));
  free(server_ask(&s, "GET", "/!release", ""));
  value *v = json_of("{'number':0,'url':'%s'}", at("bucket/elsewhere"));
  CHECK(is_fine(bits_job_set_url(j, v)));
  value_free(v);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK(is_stored_at("elsewhere", "moved", SIZE));
  AWAIT(!any_upload());
  bits_job_unref(j);
  shut_queue(m);
}

/* The server does not take it back now: whoever opens the queue next does. */
TEST(what_is_left_is_taken_back_later) {
  uint32_t code;
  world_next();
  empty_bucket();
  setenv("SAROS_TEST_KEYS", KEYS, 1);
  bits_manager *m = open_queue("{}");
  bits_job *j = upload_half(m, "later", by_reference);
  control("/!plan",
          "[{\"method\": \"DELETE\", \"fault\": \"status\", \"status\": 503, "
          "\"code\": \"SlowDown\", \"times\": 1000}]");
  CHECK(is_fine(bits_job_cancel(j, &code)));
  free(server_ask(&s, "GET", "/!release", ""));
  bits_job_unref(j);
  shut_queue(m);
  CHECK(any_upload());
  CHECK(is_queue_clean());
  control("/!plan", "[]");
  m = open_queue("{}");
  AWAIT(!any_upload());
  shut_queue(m);
}

/* ------------------------------------------------------------------
** Killed
** ---------------------------------------------------------------- */

/* Goes on with the job of the queue, or makes it. */
static _Noreturn void child(const char *name) {
  alarm(200);
  s3_orphan_age = 0;
  bits_retry_least_ms = 20;
  bits_manager *m = open_queue("{}");
  size_t count;
  bits_job **jobs = bits_manager_jobs(m, &count);
  bits_job *j = count > 0 ? jobs[0] : make_upload(m, name, by_reference);
  if (j->file_count == 0) add_object(j, name); /* killed just then */
  bits_state state = bits_job_state(j);
  if (state == BITS_SUSPENDED && !is_fine(bits_job_resume(j))) _exit(3);
  while ((state = bits_job_state(j)) != BITS_TRANSFERRED) {
    if (state == BITS_ERROR) {
      uint32_t code;
      value *v = bits_job_error(j, &code);
      buffer b = BUFFER_EMPTY;
      json_write(&b, v, JSON_COMPACT);
      printf("%s\n", b.data);
      _exit(4);
    }
    usleep(500);
  }
  shut_queue(m);
  _exit(0);
}

static pid_t begin_child(const char *name) {
  pid_t pid = fork();
  if (pid == 0) child(name);
  return pid;
}

static int end_of(pid_t pid) {
  int status;
  while (waitpid(pid, &status, 0) != pid) continue;
  return status;
}

static void kill_child(pid_t pid) {
  kill(pid, SIGKILL);
  end_of(pid);
}

/* All is there, and nothing else: what began without anybody being told, too,
   is found by whoever opens the queue next. */
static void check_all(const char *name, size_t size) {
  CHECK(is_stored(name, size));
  CHECK(is_queue_clean());
  s3_orphan_age = 0;
  bits_manager *m = open_queue("{}");
  AWAIT(!any_upload());
  shut_queue(m);
  http_settle();
}

/* One is held, before the server does what it is asked, or behind that. */
static bool kill_at(const char *name, unsigned request, const char *how) {
  char plan[200];
  world_next();
  empty_bucket();
  snprintf(plan, sizeof plan,
           "[{\"match\": \"/bucket\", \"skip\": %u, \"fault\": \"%s\"}, "
           "{\"match\": \"/!\", \"times\": 0}]",
           request, how);
  control("/!plan", plan);
  pid_t pid = begin_child(name);
  char *held = server_ask(&s, "GET", "/!held/100", "");
  bool was = held[0] == '1';
  free(held);
  if (was) kill_child(pid);
  CHECK(was || end_of(pid) == 0);
  free(server_ask(&s, "GET", "/!release", ""));
  /* It does what it was asked to, though nobody waits for it. */
  free(server_ask(&s, "GET", "/!quiet", ""));
  if (was) CHECK_INT(end_of(begin_child(name)), 0);
  return was;
}

TEST(killed_at_each_request) {
  static const char *const how[] = {"hold", "hold answer"};
  const size_t size = 2 * PART + 5; /* three parts */
  setenv("SAROS_TEST_KEYS", KEYS, 1);
  write_file("each", size);
  unsigned kills = 0;
  /* Who is there; begin; the parts; all together; a look. */
  for (unsigned request = 0; request < 7; request++)
    for (int i = 0; i < 2; i++) {
      kills += kill_at("each", request, how[i]);
      check_all("each", size);
    }
  CHECK_INT(kills, 14);
}

TEST(killed_at_any_moment) {
  uint64_t random = gate_seed("uploads");
  unsigned rounds = getenv("SAROS_LONG") != NULL ? 10 : 1, kills = 0;
  setenv("SAROS_TEST_KEYS", KEYS, 1);
  for (unsigned i = 0; i < rounds; i++) {
    char name[32];
    snprintf(name, sizeof name, "killed%u", i);
    write_file(name, SIZE);
    world_next();
    empty_bucket();
    int status = -1;
    for (unsigned n = 0; n < 10; n++) {
      pid_t pid = begin_child(name);
      usleep((1 + gate_below(&random, 60)) * 1000);
      kill(pid, SIGKILL);
      status = end_of(pid);
      free(server_ask(&s, "GET", "/!quiet", ""));
      if (status == 0) break;
      kills++;
    }
    if (status != 0) CHECK_INT(end_of(begin_child(name)), 0);
    check_all(name, SIZE);
  }
  printf("killed %u times\n", kills);
}

int main(int argc, char **argv) {
  const char *server_argv[] = {"python3", "spec/s3/server.py", NULL};
  check_begin(argc, argv);
  if (!server_start(&s, server_argv)) return server_missing();
  world_make();
  RUN(killed_at_each_request);
  RUN(killed_at_any_moment);
  RUN(a_job_is_uploaded);
  RUN(a_job_is_uploaded_at_once);
  RUN(a_cancelled_job_is_taken_back);
  RUN(another_address_leaves_nothing_at_the_first);
  RUN(what_is_left_is_taken_back_later);
  server_stop(&s);
  return check_end();
}
