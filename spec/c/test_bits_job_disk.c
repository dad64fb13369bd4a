/*
** How jobs end beside a disk that does not move just then: a thread of ours is
** held at it, for as long as the test likes.
*/
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "bits/keeper.h"
#include "bits_end_case.h"

/* ------------------------------------------------------------------
** A disk that does not move: for the hand, or for the queue
** ---------------------------------------------------------------- */

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t disk_moved = PTHREAD_COND_INITIALIZER;
static const char *disk_stops; /* a thread's name, or NULL */
static int disk_waits;         /* threads that were stopped */
static bool disk_full;         /* until something is deleted */

/* False: it is full. */
static bool disk_use(void) {
  char name[17] = "";
  prctl(PR_GET_NAME, name);
  pthread_mutex_lock(&disk_lock);
  while (disk_stops != NULL && strcmp(disk_stops, name) == 0) {
    disk_waits++;
    pthread_cond_broadcast(&disk_moved);
    pthread_cond_wait(&disk_moved, &disk_lock);
  }
  bool full = disk_full;
  pthread_mutex_unlock(&disk_lock);
  if (full) errno = ENOSPC;
  return !full;
}

static void disk_fill(bool full) {
  pthread_mutex_lock(&disk_lock);
  disk_full = full;
  pthread_mutex_unlock(&disk_lock);
}

static void disk_stop(const char *thread) {
  pthread_mutex_lock(&disk_lock);
  disk_stops = thread;
  disk_waits = 0;
  pthread_cond_broadcast(&disk_moved);
  pthread_mutex_unlock(&disk_lock);
}

static void await_stopped(void) {
  pthread_mutex_lock(&disk_lock);
  while (disk_waits == 0) pthread_cond_wait(&disk_moved, &disk_lock);
  pthread_mutex_unlock(&disk_lock);
}

#define OURS __attribute__((visibility("default")))

OURS int fdatasync(int fd) {
  disk_use();
  return (int)syscall(SYS_fdatasync, fd);
}

OURS ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  return disk_use() ? syscall(SYS_pwrite64, fd, data, size, offset) : -1;
}

OURS int unlink(const char *path) {
  disk_use();
  disk_fill(false);
  return (int)syscall(SYS_unlink, path);
}

/* ------------------------------------------------------------------
** Files that are added when the others are there already
** ---------------------------------------------------------------- */

/* They are nobody's business who makes the others durable, and no try that is
   at work loses what it has to him. */
TEST(added_while_the_others_are_synced) {
  uint32_t code;
  bits_job *j = job_with("{}", 1);
  CHECK(is_fine(bits_job_resume(j)));
  disk_stop("saros-hand");
  fetched(j, 0, true);
  await_stopped();
  for (int i = 0; i < 20; i++) { /* the list of them moves */
    char name[40];
    snprintf(name, sizeof name, "added-%d", i);
    CHECK(add_file(j, "http://127.0.0.1:1/x", name));
  }
  disk_stop(NULL);
  AWAIT(has_done(j, 1));
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  for (uint32_t i = 1; i <= 20; i++) fetched(j, i, true);
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK_INT(complete(j, &code), 0);
  remove_names(j);
  bits_job_unref(j);
}

static bool is_marked(bits_job *j, uint8_t mark) {
  pthread_mutex_lock(&m->lock);
  bool is = (j->marks & mark) != 0;
  pthread_mutex_unlock(&m->lock);
  return is;
}

static int file_state(const bits_job *j, uint32_t number) {
  pthread_mutex_lock(&m->lock);
  int state = j->files[number]->state;
  pthread_mutex_unlock(&m->lock);
  return state;
}

/* A row that says that all of a job is on the disk, beside one of a file that
   is done, and is not: the next power cut would make a wrong file of that. */
TEST(done_when_no_row_calls_it_durable) {
  uint32_t code;
  bits_job *j = whole_job("{}", 1);
  CHECK(is_marked(j, BITS_JOB_DURABLE));
  for (int i = 0; i < 2; i++) {
    char name[40];
    snprintf(name, sizeof name, "more-%d", i);
    CHECK(add_file(j, "http://127.0.0.1:1/x", name));
  }
  CHECK(is_fine(bits_job_resume(j)));
  disk_stop("saros-keeper");
  fetched(j, 1, true);
  await_stopped();
  AWAIT(is_marked(j, BITS_JOB_BUSY)); /* the hand has it, and waits */
  CHECK_INT(file_state(j, 1), BITS_FILE_FETCHED);
  disk_stop(NULL);
  AWAIT(has_done(j, 2));
  CHECK(!is_marked(j, BITS_JOB_DURABLE));
  fetched(j, 2, true);
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK(is_marked(j, BITS_JOB_DURABLE));
  CHECK_INT(complete(j, &code), 0);
  remove_names(j);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Rows, and what is fetched
** ---------------------------------------------------------------- */

static bool flush(bool full) {
  return is_fine(bits_keeper_flush(m, full));
}

TEST(what_has_no_row_yet) {
  uint32_t code;
  bits_job *j = job_with("{}", 1);
  CHECK(flush(false));
  CHECK(bits_file_has_row(j->files[0]));
  disk_stop("saros-keeper");
  CHECK(add_file(j, "http://127.0.0.1:1/x", "without-a-row"));
  CHECK(!bits_file_has_row(j->files[1]));
  disk_stop(NULL);
  CHECK(flush(true));
  CHECK(bits_file_has_row(j->files[1]));
  CHECK_INT(cancel(j, &code), 0);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** A full disk
** ---------------------------------------------------------------- */

/* Its files are what fills it. */
TEST(cancelled_to_make_room) {
  uint32_t code;
  bits_job *j = whole_job("{}", 2);
  disk_fill(true);
  CHECK_INT(cancel(j, &code), 0);
  CHECK_INT(code, SAROS_S_OK);
  CHECK(!has_part(j, 0) && !has_part(j, 1) && has_left(j));
  bits_job_unref(j);
}

static size_t jobs_of(bits_manager *of) {
  pthread_mutex_lock(&of->lock);
  size_t count = of->job_count;
  pthread_mutex_unlock(&of->lock);
  return count;
}

TEST(what_cannot_be_made_is_not_there) {
  world_next();
  bits_manager *of = open_queue("{}");
  value *v = json_of("{}");
  error *e = NULL;
  disk_fill(true);
  CHECK(bits_job_create(of, v, &e) == NULL);
  CHECK_INT(code_of(e), WIN32_(WIN32_DISK_FULL));
  CHECK_INT(jobs_of(of), 0);
  disk_fill(false);
  bits_job_unref(make_job(of, "{}"));
  CHECK_INT(jobs_of(of), 1);
  shut_queue(of);
  of = open_queue("{}");
  CHECK_INT(jobs_of(of), 1);
  shut_queue(of);
  value_free(v);
}

/* ------------------------------------------------------------------
** Closed meanwhile
** ---------------------------------------------------------------- */

typedef struct ending {
  bits_manager *of;
  bits_job *j;
  uint32_t result;
  bool entered, held;
} ending;

static void *cancel_it(void *context) {
  ending *c = context;
  uint32_t code;
  prctl(PR_SET_NAME, "canceller");
  c->result = cancel(c->j, &code);
  return NULL;
}

static void *close_it(void *context) {
  bits_manager_close(context);
  return NULL;
}

static bool is_stopping(bits_manager *of) {
  pthread_mutex_lock(&of->lock);
  bool stops = of->keeper->hand_stops;
  pthread_mutex_unlock(&of->lock);
  return stops;
}

/* Nobody keeps what is over: neither the job nor its manager. */
TEST(closed_while_it_is_cancelled) {
  pthread_t canceller, closer;
  bits_manager *before = m;
  world_next();
  m = open_queue("{'active':false}");
  bits_job *j = job_with("{}", 1);
  fetched(j, 0, false);
  CHECK(flush(true));
  ending c = {.of = m, .j = j};
  disk_stop("saros-keeper");
  CHECK(pthread_create(&canceller, NULL, cancel_it, &c) == 0);
  await_stopped(); /* it says that it is cancelled */
  CHECK(pthread_create(&closer, NULL, close_it, m) == 0);
  AWAIT(is_stopping(m));
  disk_stop("canceller");
  await_stopped(); /* its files go */
  pthread_join(closer, NULL);
  disk_stop(NULL);
  pthread_join(canceller, NULL);
  CHECK_INT(c.result, SAROS_E_CLOSED);
  CHECK(!has_part(j, 0));
  bits_job_unref(j);
  CHECK_INT(atomic_load(&m->refs), 1);
  bits_manager_unref(m);
  m = open_queue("{'active':false}");
  AWAIT(jobs_of(m) == 0); /* and that is what the next one makes of it */
  shut_queue(m);
  m = before;
}

static void *hold_files(void *context) {
  ending *c = context;
  pthread_mutex_lock(&c->of->lock);
  c->entered = true;
  bits_job_hold_files(c->j);
  c->held = true;
  bits_job_let_go(c->j);
  pthread_mutex_unlock(&c->of->lock);
  return NULL;
}

static bool has_entered(ending *c) {
  pthread_mutex_lock(&c->of->lock);
  bool entered = c->entered;
  pthread_mutex_unlock(&c->of->lock);
  return entered;
}

/* A try that ends, because it is closed, may still make a part. */
TEST(files_are_a_trys_until_it_has_ended) {
  uint32_t code;
  pthread_t thread;
  bits_job *j = job_with("{}", 1);
  ending c = {.of = m, .j = j};
  pthread_mutex_lock(&m->lock);
  m->closing = true;
  j->running = 1;
  pthread_mutex_unlock(&m->lock);
  CHECK(pthread_create(&thread, NULL, hold_files, &c) == 0);
  AWAIT(has_entered(&c));
  pthread_mutex_lock(&m->lock);
  CHECK(!c.held);
  m->closing = false;
  j->running = 0;
  pthread_cond_broadcast(&m->done);
  pthread_mutex_unlock(&m->lock);
  pthread_join(thread, NULL);
  CHECK(c.held);
  CHECK_INT(cancel(j, &code), 0);
  bits_job_unref(j);
}

static void *resume(void *context) {
  CHECK(is_fine(bits_job_resume(context)));
  return NULL;
}

/* A try that waits for a commit. */
static bool has_waiting_try(bits_manager *of) {
  bool found = false;
  pthread_mutex_lock(&of->lock);
  for (const keeper_waiter *w = of->keeper->waiters; w != NULL; w = w->next)
    found |= w->call != NULL;
  pthread_mutex_unlock(&of->lock);
  return found;
}

/* Whoever dies then would leave a part that nobody knows of. */
TEST(nothing_is_fetched_that_has_no_row) {
  uint32_t code;
  pthread_t thread;
  world_next();
  bits_manager *busy = open_queue("{}");
  bits_job *j = make_job(busy, "{}");
  disk_stop("saros-keeper");
  CHECK(add_file(j, "http://127.0.0.1:1/x", "unknown"));
  await_stopped();
  CHECK(pthread_create(&thread, NULL, resume, j) == 0);
  AWAIT(has_waiting_try(busy));
  disk_stop(NULL);
  pthread_join(thread, NULL);
  CHECK_INT(cancel(j, &code), 0);
  bits_job_unref(j);
  shut_queue(busy);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  m = open_queue("{'active':false}");
  GATE_RUN(added_while_the_others_are_synced);
  GATE_RUN(done_when_no_row_calls_it_durable);
  GATE_RUN(what_has_no_row_yet);
  GATE_RUN(cancelled_to_make_room);
  GATE_RUN(what_cannot_be_made_is_not_there);
  GATE_RUN(closed_while_it_is_cancelled);
  GATE_RUN(files_are_a_trys_until_it_has_ended);
  GATE_RUN(nothing_is_fetched_that_has_no_row);
  shut_queue(m);
  return check_end();
}
