/*
** bits: who observes a queue, and takes it over: what he is told of others'
** changes, what counts when it is his, and what he leaves alone until then.
*/
#include <sys/syscall.h>

#include "bits/keeper.h"
#include "bits_case.h"

/* ------------------------------------------------------------------
** A file with a secret: who opens it may be held there
** ---------------------------------------------------------------- */

static pthread_mutex_t secret_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t secret_moved = PTHREAD_COND_INITIALIZER;
static bool secret_stops;
static int secret_opened;

static void note_open(const char *path) {
  size_t size = strlen(path);
  if (size < 7 || strcmp(path + size - 7, "/secret") != 0) return;
  pthread_mutex_lock(&secret_lock);
  secret_opened++;
  pthread_cond_broadcast(&secret_moved);
  while (secret_stops) pthread_cond_wait(&secret_moved, &secret_lock);
  pthread_mutex_unlock(&secret_lock);
}

__attribute__((visibility("default"))) int open(const char *path, int flags,
                                                ...) {
  va_list arguments;
  va_start(arguments, flags);
  unsigned mode = (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0;
  va_end(arguments);
  note_open(path);
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int opened(void) {
  pthread_mutex_lock(&secret_lock);
  int n = secret_opened;
  pthread_mutex_unlock(&secret_lock);
  return n;
}

static void secret_hold(bool stops) {
  pthread_mutex_lock(&secret_lock);
  secret_stops = stops;
  pthread_cond_broadcast(&secret_moved);
  pthread_mutex_unlock(&secret_lock);
}

static void write_secret(void) {
  int fd = open(in_world("secret"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && write(fd, "hidden", 6) == 6);
  close(fd);
}

/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

static int64_t setting(bits_manager *m, const char *name) {
  value *v = bits_manager_status(m);
  int64_t n = value_integer(value_get(value_get(v, "settings"), name), -1);
  value_free(v);
  return n;
}

static void set(bits_manager *m, const char *settings) {
  value *v = json_of("%s", settings);
  CHECK(is_fine(bits_manager_set(m, v)));
  value_free(v);
}

static bits_job *await_job(bits_manager *m, const bits_job *j) {
  bits_job *seen = NULL;
  AWAIT((seen = bits_manager_job(m, bits_job_id(j))) != NULL);
  if (seen == NULL) abort();
  return seen;
}

static bool is_seen(bits_manager *m, const bits_job *j) {
  bits_job *seen = bits_manager_job(m, bits_job_id(j));
  if (seen != NULL) bits_job_unref(seen);
  return seen != NULL;
}

static uint32_t files_of(bits_job *j) {
  pthread_mutex_lock(&j->m->lock);
  uint32_t n = j->file_count;
  pthread_mutex_unlock(&j->m->lock);
  return n;
}

/* What the owner has set counts, but for what the next one was opened with. */
TEST(settings_are_the_owners) {
  world_next();
  bits_manager *m = open_queue("{'limit_download':1000}");
  bits_manager *o = open_queue("{'limit_upload':7}");
  AWAIT(setting(o, "limit_download") == 1000);
  CHECK_INT(setting(o, "limit_upload"), -1);
  set(m, "{'limit_download':2000,'limit_upload':3000}");
  AWAIT(setting(o, "limit_download") == 2000);
  CHECK_INT(setting(o, "limit_upload"), 3000);
  shut_queue(m);
  AWAIT(bits_manager_is_owner(o));
  CHECK_INT(setting(o, "limit_download"), 2000);
  CHECK_INT(setting(o, "limit_upload"), 7);
  set(o, "{'connections':5}");
  shut_queue(o);
  m = open_queue("{}");
  CHECK_INT(setting(m, "limit_download"), 2000);
  CHECK_INT(setting(m, "limit_upload"), 7);
  CHECK_INT(setting(m, "connections"), 5);
  shut_queue(m);
}

/* Read again, though nobody writes any more. */
TEST(what_could_not_be_read) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_manager *o = open_queue("{'observe':true}");
  bits_job *j = make_job(m, "{}");
  AWAIT(is_seen(o, j));
  atomic_store(&bits_load_fails.looks, 3);
  uint32_t code;
  CHECK(is_fine(bits_job_cancel(j, &code)));
  AWAIT(!is_seen(o, j));
  CHECK_INT(atomic_load(&bits_load_fails.looks), 0);
  bits_job_unref(j);
  shut_queue(m);
  shut_queue(o);
}

#define SAME "{'id':'abcdef01-0000-4000-8000-00000000000a'}"

/* A GUID is the caller's: the next job may have the same. The observer has no
   look in between. */
TEST(another_job_of_the_same_name) {
  uint32_t code;
  world_next();
  bits_manager *m = open_queue("{}"), *o = open_queue("{}");
  bits_job_unref(make_job(m, "{}")); /* so that numbers go on */
  bits_job *j = make_job(m, SAME);
  for (int i = 0; i < 3; i++) {
    char name[20];
    snprintf(name, sizeof name, "f%d", i);
    CHECK(add_file(j, nowhere, name));
  }
  bits_job *seen = await_job(o, j);
  AWAIT(files_of(seen) == 3);
  pthread_mutex_lock(&o->lock); /* it looks at nothing */
  CHECK(is_fine(bits_job_cancel(j, &code)));
  bits_job_unref(j);
  j = make_job(m, SAME);
  CHECK(add_file(j, nowhere, "other"));
  CHECK(is_fine(bits_keeper_flush(m, false)));
  pthread_mutex_unlock(&o->lock);
  AWAIT(bits_job_state(seen) == BITS_CANCELLED);
  bits_job *next = await_job(o, j);
  CHECK(next != seen);
  AWAIT(files_of(next) == 1);
  bits_job_unref(seen);
  bits_job_unref(j);
  shut_queue(m);
  AWAIT(bits_manager_is_owner(o));
  value *v = json_of("{'name':'mine'}");
  CHECK(is_fine(bits_job_set(next, v)));
  value_free(v);
  bits_job_unref(next);
  shut_queue(o);
}

/* ------------------------------------------------------------------
** Taking over
** ---------------------------------------------------------------- */

/* It is tried again, and until then it only looks. */
TEST(a_take_over_that_fails) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  CHECK(add_file(j, nowhere, "a"));
  bits_manager *o = open_queue("{}");
  bits_job *seen = await_job(o, j);
  AWAIT(files_of(seen) == 1);
  bits_job_unref(j);
  atomic_store(&bits_load_fails.owns, 2);
  shut_queue(m);
  AWAIT(bits_manager_is_owner(o));
  CHECK_INT(atomic_load(&bits_load_fails.owns), 0);
  CHECK(is_fine(bits_job_suspend(seen)));
  bits_job_unref(seen);
  bits_job_unref(make_job(o, "{}"));
  shut_queue(o);
}

/* Who looks needs none; and who takes over may have to wait for it, but nobody
   who only asks how things are. */
TEST(secrets_of_others) {
  char options[300];
  world_next();
  write_secret();
  bits_manager *m = open_queue("{}");
  snprintf(options, sizeof options,
           "{'headers':[{'name':'X-Token','reference':'file:%s'}]}",
           in_world("secret"));
  bits_job *j = make_job(m, options);
  int before = opened();
  bits_manager *o = open_queue("{}");
  bits_job *seen = await_job(o, j);
  CHECK_INT(opened(), before);
  secret_hold(true);
  shut_queue(m);
  AWAIT(opened() == before + 1); /* it is being taken over */
  value *v = bits_job_status(seen);
  CHECK(value_get(v, "headers") != NULL);
  value_free(v);
  CHECK(!bits_manager_is_owner(o));
  secret_hold(false);
  AWAIT(bits_manager_is_owner(o));
  pthread_mutex_lock(&o->lock);
  CHECK_TEXT(seen->terms->headers[0].value, "hidden");
  pthread_mutex_unlock(&o->lock);
  bits_job_unref(seen);
  bits_job_unref(j);
  shut_queue(o);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  gate_counts before = gate_count();
  GATE_RUN(settings_are_the_owners);
  GATE_RUN(what_could_not_be_read);
  GATE_RUN(another_job_of_the_same_name);
  GATE_RUN(a_take_over_that_fails);
  GATE_RUN(secrets_of_others);
  CHECK(gate_back_to(before));
  return check_end();
}
