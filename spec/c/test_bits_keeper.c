/*
** bits: the keeper. What is told is committed; a disk that is full, or does not
** move; what the hand is asked for; file systems that are written to.
**
** not under valgrind: it kills programs that have started others; ASan runs it
*/
#include <sys/syscall.h>

#include "base/devices.h"
#include "bits/keeper.h"
#include "bits_case.h"

/* ------------------------------------------------------------------
** The queue's disk: SQLite's writes are ours
** ---------------------------------------------------------------- */

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t disk_moved = PTHREAD_COND_INITIALIZER;
static bool disk_full, disk_stuck;
static int disk_waits; /* who waits for it */

__attribute__((visibility("default"))) ssize_t pwrite64(int fd,
                                                        const void *data,
                                                        size_t size,
                                                        off64_t offset) {
  pthread_mutex_lock(&disk_lock);
  bool full = disk_full;
  disk_waits++;
  pthread_cond_broadcast(&disk_moved);
  while (disk_stuck) pthread_cond_wait(&disk_moved, &disk_lock);
  disk_waits--;
  pthread_mutex_unlock(&disk_lock);
  if (full) {
    errno = ENOSPC;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

static void disk_is(bool full, bool stuck) {
  pthread_mutex_lock(&disk_lock);
  disk_full = full;
  disk_stuck = stuck;
  pthread_cond_broadcast(&disk_moved);
  pthread_mutex_unlock(&disk_lock);
}

static void await_stuck(void) {
  pthread_mutex_lock(&disk_lock);
  while (disk_waits == 0) pthread_cond_wait(&disk_moved, &disk_lock);
  pthread_mutex_unlock(&disk_lock);
}

static bool is_broken(bits_manager *m) {
  value *v = bits_manager_status(m);
  bool broken = value_get(v, "broken") != NULL;
  value_free(v);
  return broken;
}

static size_t jobs_of(bits_manager *m) {
  size_t count;
  bits_job **all = bits_manager_jobs(m, &count);
  for (size_t i = 0; i < count; i++) bits_job_unref(all[i]);
  mem_free(all);
  return count;
}

TEST(a_full_disk) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  disk_is(true, false);
  value *v = json_of("{'name':'said while it was full'}");
  CHECK(code_of(bits_job_set(j, v)) != 0);
  value_free(v);
  CHECK(is_broken(m));
  CHECK(add_file(j, nowhere, "a"));
  CHECK(code_of(bits_keeper_flush(m, true)) != 0); /* still */
  disk_is(false, false);
  AWAIT(!is_broken(m)); /* by itself */
  CHECK(is_fine(bits_keeper_flush(m, true)));
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  j = m->first;
  CHECK(j != NULL && j->file_count == 1);
  if (j != NULL)
    CHECK_TEXT(value_chars(value_get(j->properties, "name"), ""),
               "said while it was full");
  shut_queue(m);
}

/* Nothing is lost that was told while one commit failed, and another began. */
TEST(a_disk_that_is_full_now_and_then) {
  enum { MANY = 60 };
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  for (int i = 0; i < MANY; i++) {
    char name[40];
    snprintf(name, sizeof name, "f%d", i);
    disk_is(i % 3 == 1, false);
    CHECK(add_file(j, nowhere, name));
    uint32_t code = code_of(bits_keeper_flush(m, i % 2 == 0));
    CHECK((code != 0) == (i % 3 == 1));
  }
  disk_is(false, false);
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  CHECK(m->first != NULL && m->first->file_count == MANY);
  shut_queue(m);
}

static void *make_one(void *context) {
  bits_job_unref(make_job(context, "{'name':'late'}"));
  return NULL;
}

/* Who only looks is not held up. */
TEST(a_disk_that_does_not_move) {
  pthread_t thread;
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  disk_is(false, true);
  CHECK(pthread_create(&thread, NULL, make_one, m) == 0);
  await_stuck();
  for (int i = 0; i < 100; i++) {
    value_free(bits_manager_status(m));
    value_free(bits_job_status(j));
    CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
    char name[40];
    snprintf(name, sizeof name, "f%d", i);
    CHECK(add_file(j, nowhere, name));
  }
  AWAIT(jobs_of(m) == 2); /* it may have been stuck with something else */
  disk_is(false, false);
  pthread_join(thread, NULL);
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  CHECK_INT(jobs_of(m), 2);
  CHECK(m->first->file_count == 100);
  shut_queue(m);
}

TEST(closed_with_a_full_disk) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  disk_is(true, false);
  CHECK(add_file(j, nowhere, "a"));
  shut_queue(m);
  disk_is(false, false);
  CHECK(code_of(bits_job_suspend(j)) == SAROS_E_CLOSED);
  bits_job_unref(j);
}

/* Who asks for something is told; nothing that was said is forgotten when it
   comes back. */
TEST(a_queue_that_is_taken_away) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  char away[300];
  snprintf(away, sizeof away, "%s.away", m->path);
  CHECK(rename(m->path, away) == 0);
  value *v = json_of("{'name':'said while it was away'}");
  CHECK_INT(code_of(bits_job_set(j, v)), WIN32_(WIN32_FILE_NOT_FOUND));
  value_free(v);
  CHECK(is_broken(m));
  CHECK(add_file(j, nowhere, "a"));
  CHECK(rename(away, m->path) == 0);
  CHECK(is_fine(bits_keeper_flush(m, true)));
  CHECK(!is_broken(m));
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  j = m->first;
  CHECK(j != NULL && j->file_count == 1);
  if (j != NULL)
    CHECK_TEXT(value_chars(value_get(j->properties, "name"), ""),
               "said while it was away");
  shut_queue(m);
}

/* ------------------------------------------------------------------
** Commits
** ---------------------------------------------------------------- */

TEST(many_files_at_once) {
  int many = (int)gate_loops(20000);
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  for (int i = 0; i < many; i++) {
    char name[40];
    snprintf(name, sizeof name, "f%d", i);
    if (!add_file(j, nowhere, name)) break;
  }
  CHECK(is_fine(bits_keeper_flush(m, true)));
  pthread_mutex_lock(&m->lock);
  for (int i = 0; i < many; i++) bits_file_touch(j->files[i]);
  pthread_mutex_unlock(&m->lock);
  CHECK(is_fine(bits_keeper_flush(m, true)));
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  CHECK_INT(m->first->file_count, many);
  shut_queue(m);
}

typedef struct heard {
  bits_manager *m;
  _Atomic int works, thens;
  bool was_on_lane;
  _Atomic bool worked_elsewhere;
  bits_job *j;
} heard;

static void on_commit(void *context, error *e) {
  heard *h = context;
  h->was_on_lane = http_lane_is_here(h->m->lane) && e == NULL;
  atomic_fetch_add(&h->thens, 1);
}

TEST(a_try_is_told_of_a_commit) {
  world_next();
  bits_manager *m = open_queue("{}");
  heard h = {.m = m};
  bits_job *j = make_job(m, "{}");
  CHECK(add_file(j, nowhere, "a"));
  for (int i = 0; i < 20; i++) {
    bits_file_mark(j->files[0], BITS_FILE_BARE, 0);
    bits_file_commit(j->files[0], on_commit, &h);
  }
  AWAIT(atomic_load(&h.thens) == 20);
  CHECK(h.was_on_lane);
  bits_file_commit(j->files[0], on_commit, &h); /* nothing has changed */
  AWAIT(atomic_load(&h.thens) == 21);
  /* What was known and is not is still in the row: a try waits for that. */
  bits_file_know(j->files[0], NULL);
  CHECK(!j->files[0]->stale);
  bits_file_know(j->files[0], mem_zero(sizeof(bits_known)));
  CHECK(!j->files[0]->stale);
  bits_file_know(j->files[0], NULL);
  CHECK(j->files[0]->stale);
  bits_job_unref(j);
  shut_queue(m);
}

/* ------------------------------------------------------------------
** The hand
** ---------------------------------------------------------------- */

static void work(void *context) {
  heard *h = context;
  h->worked_elsewhere = !http_lane_is_here(h->m->lane);
  error_unref(bits_keeper_flush(h->m, true)); /* it may wait for the keeper */
  atomic_fetch_add(&h->works, 1);
}

static void then(void *context) {
  heard *h = context;
  h->was_on_lane = http_lane_is_here(h->m->lane);
  atomic_fetch_add(&h->thens, 1);
}

TEST(the_hand_does_what_it_is_asked) {
  world_next();
  bits_manager *m = open_queue("{}");
  heard h = {.m = m};
  for (int i = 0; i < 10; i++) CHECK(bits_keeper_call(m, work, then, &h));
  AWAIT(atomic_load(&h.thens) == 10);
  CHECK(h.worked_elsewhere && h.was_on_lane);
  /* What was asked before it is closed is done. */
  for (int i = 0; i < 10; i++) CHECK(bits_keeper_call(m, work, NULL, &h));
  bits_manager_close(m);
  CHECK_INT(atomic_load(&h.works), 20);
  CHECK(!bits_keeper_call(m, work, NULL, &h));
  bits_manager_unref(m);
}

/* ------------------------------------------------------------------
** File systems that are written to
** ---------------------------------------------------------------- */

static unsigned holds(const char *why) {
  value *list = device_list();
  unsigned n = 0;
  for (uint32_t i = 0; i < list->count; i++)
    n += strcmp(value_chars(value_get(list->as.items[i], "why"), ""), why) == 0;
  value_free(list);
  return n;
}

/* Uploads that are to be taken away from a server that is not there. */
static void add_orphans(bits_manager *m, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    queue_orphan row = {.id = 1000 + i,
                        .what =
                            "{\"url\":\"http://127.0.0.1:1/b/k\","
                            "\"proxy\":\"\",\"reference\":"
                            "\"env:SAROS_TEST_KEYS\",\"id\":\"x\","
                            "\"part\":5,\"size\":9}"};
    CHECK(bits_orphans_load(m, &row));
  }
}

static unsigned orphans_tried(bits_manager *m) {
  unsigned tried = 0;
  pthread_mutex_lock(&m->lock);
  for (const keeper_orphan *o = m->keeper->orphans; o != NULL; o = o->next)
    tried += o->tries > 0;
  pthread_mutex_unlock(&m->lock);
  return tried;
}

/* More than go at once, and some while it is being closed: who has to wait is
   not looked at again and again, while nobody else gets the lock. */
TEST(what_is_left_at_servers_waits_its_turn) {
  world_next();
  setenv("SAROS_TEST_KEYS", "KEY\nSECRET\n", 1);
  bits_manager *m = open_queue("{}");
  pthread_mutex_lock(&m->lock);
  uint64_t began = http_clock();
  add_orphans(m, 9);
  m->closing = true;
  bits_keeper_chores(m);
  CHECK(m->keeper->chores_at > began + 1000);
  m->closing = false;
  bits_keeper_chores(m);
  CHECK(m->keeper->chores_at > began + 1000);
  pthread_mutex_unlock(&m->lock);
  AWAIT(orphans_tried(m) == 9);
  shut_queue(m);
  unsetenv("SAROS_TEST_KEYS");
}

TEST(a_file_system_is_held_once) {
  world_next();
  unsigned before = holds("the transfer queue");
  bits_manager *m = open_queue("{}");
  CHECK_INT(holds("the transfer queue"), before + 1);
  int fd = open(world_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat s;
  CHECK_INT(fstat(fd, &s), 0);
  bits_device *d[50];
  for (int i = 0; i < 50; i++)
    d[i] = bits_device_enter(m, s.st_dev, fd, world_folder);
  CHECK_INT(holds("a transfer"), 1);
  for (int i = 0; i < 50; i++) bits_device_leave(m, d[i]);
  bits_device_leave(m, NULL);
  close(fd);
  /* Not for ever: the next chores after a moment let go of it. */
  for (int i = 0; i < 60000 && holds("a transfer") > 0; i++) {
    pthread_mutex_lock(&m->lock);
    bits_devices_tidy(m);
    pthread_mutex_unlock(&m->lock);
    usleep(1000);
  }
  CHECK_INT(holds("a transfer"), 0);
  shut_queue(m);
  CHECK_INT(holds("the transfer queue"), before);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  gate_counts before = gate_count();
  GATE_RUN(a_full_disk);
  GATE_RUN(a_disk_that_is_full_now_and_then);
  GATE_RUN(a_disk_that_does_not_move);
  GATE_RUN(closed_with_a_full_disk);
  GATE_RUN(a_queue_that_is_taken_away);
  GATE_RUN(many_files_at_once);
  GATE_RUN(a_try_is_told_of_a_commit);
  GATE_RUN(the_hand_does_what_it_is_asked);
  GATE_RUN(what_is_left_at_servers_waits_its_turn);
  GATE_RUN(a_file_system_is_held_once);
  CHECK(gate_back_to(before));
  return check_end();
}
