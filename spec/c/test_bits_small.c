/*
** bits: small files lie in memory until the keeper's hand writes them. It is
** held here as long as a test wishes, so that they lie there; then it lets go,
** or the process dies, the queue is closed, the job cancelled, the disk bad.
*/
#include <semaphore.h>
#include <sys/mount.h>

#include "bits/keeper.h"
#include "bits/part.h"
#include "bits_case.h"
#include "bits_server_case.h"

extern size_t bits_small_most;
extern void (*bits_small_written)(bits_file *f);

/* ------------------------------------------------------------------
** The hand, held
** ---------------------------------------------------------------- */

typedef struct grip {
  sem_t held, go;
} grip;

static void wait_for(sem_t *it) {
  while (sem_wait(it) != 0) continue;
}

static void hold(void *context) {
  grip *g = context;
  sem_post(&g->held);
  wait_for(&g->go);
}

static void hold_hand(bits_manager *m, grip *g) {
  sem_init(&g->held, 0, 0);
  sem_init(&g->go, 0, 0);
  CHECK(bits_keeper_call(m, hold, NULL, g));
  wait_for(&g->held);
}

/* ------------------------------------------------------------------
** Jobs
** ---------------------------------------------------------------- */

typedef struct entry {
  const char *name, *query;
  size_t size;
} entry;

static bits_job *job_of(bits_manager *m, const char *options, const entry *all,
                        size_t count) {
  bits_job *j = make_job(m, options);
  for (size_t i = 0; i < count; i++) {
    char path[200];
    snprintf(path, sizeof path, "f/%s?size=%zu%s", all[i].name, all[i].size,
             all[i].query);
    char *url = mem_text(at(path));
    CHECK(add_file(j, url, all[i].name));
    mem_free(url);
  }
  CHECK(is_fine(bits_job_resume(j)));
  return j;
}

static size_t count_in(bits_job *j, bits_file_state state) {
  size_t n = 0;
  pthread_mutex_lock(&j->m->lock);
  for (uint32_t i = 0; i < j->file_count; i++)
    n += j->files[i]->state == state && j->running == 0;
  pthread_mutex_unlock(&j->m->lock);
  return n;
}

static bool in_memory(bits_job *j, uint32_t i) {
  pthread_mutex_lock(&j->m->lock);
  bool is = j->files[i]->small != NULL;
  pthread_mutex_unlock(&j->m->lock);
  return is;
}

static size_t lent(bits_manager *m) {
  pthread_mutex_lock(&m->lock);
  size_t n = m->keeper->small;
  pthread_mutex_unlock(&m->lock);
  return n;
}

static bool has_part(const bits_job *j, uint32_t i) {
  struct stat about;
  char *part = bits_part_name(j->files[i]);
  bool there = lstat(part, &about) == 0;
  mem_free(part);
  return there;
}

static bool is_right(const entry *e) {
  return is_content_file(in_world(e->name), e->name, e->size, 0);
}

static void complete(bits_job *j) {
  uint32_t code;
  CHECK(is_fine(bits_job_complete(j, &code)));
  CHECK_INT(code, 0);
}

static void remove_all(const entry *all, size_t count) {
  for (size_t i = 0; i < count; i++) unlink(in_world(all[i].name));
  CHECK_INT(world_count(".part"), 0);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------------
** All is well
** ---------------------------------------------------------------- */

static const entry sizes[] = {
    {"none", "", 0},     {"one", "", 1},
    {"some", "", 4096},  {"most", "", 65536},
    {"more", "", 65537}, {"chunks", "&plan=chunked", 3000}};

static void all_sizes(const char *options) {
  grip g;
  world_next();
  server_reset();
  bits_manager *m = open_queue("{}");
  hold_hand(m, &g);
  bits_job *j = job_of(m, options, sizes, COUNT(sizes));
  AWAIT(count_in(j, BITS_FILE_FETCHED) == COUNT(sizes));
  for (uint32_t i = 0; i < COUNT(sizes); i++) {
    CHECK_INT(in_memory(j, i), i < 4);
    CHECK_INT(has_part(j, i), i >= 4);
    CHECK_INT(atomic_load(&j->files[i]->have), sizes[i].size);
  }
  CHECK(lent(m) >= 1 + 4096 + 65536);
  mode_t mask = umask(027);
  sem_post(&g.go);
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK_INT(lent(m), 0);
  complete(j);
  umask(mask);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    struct stat about;
    CHECK(is_right(&sizes[i]));
    CHECK(lstat(in_world(sizes[i].name), &about) == 0 &&
          (about.st_mode & 07777) == 0640);
  }
  CHECK_INT(server_count("/f/"), COUNT(sizes));
  bits_job_unref(j);
  shut_queue(m);
  remove_all(sizes, COUNT(sizes));
}

TEST(they_are_right_whatever_their_size) {
  all_sizes("{'durability':'none'}");
  all_sizes("{'durability':'group'}");
  all_sizes("{'durability':'file'}");
}

TEST(a_group_appears_at_once) {
  all_sizes("{'group':'11111111-0000-4000-8000-000000000001'}");
}

TEST(no_more_lie_there_than_may) {
  static const entry three[] = {
      {"a", "", 4096}, {"b", "", 4000}, {"c", "", 4096}};
  grip g;
  world_next();
  bits_small_most = 9000;
  bits_manager *m = open_queue("{'connections_per_host':1}");
  hold_hand(m, &g);
  bits_job *j = job_of(m, "{}", three, 3);
  AWAIT(count_in(j, BITS_FILE_FETCHED) == 3);
  CHECK(in_memory(j, 0) && in_memory(j, 1) && !in_memory(j, 2));
  CHECK(has_part(j, 2));
  CHECK(lent(m) <= 9000);
  sem_post(&g.go);
  CHECK(await_state(j, BITS_TRANSFERRED));
  complete(j);
  for (size_t i = 0; i < 3; i++) CHECK(is_right(&three[i]));
  bits_job_unref(j);
  shut_queue(m);
  bits_small_most = (size_t)1 << 20;
  remove_all(three, 3);
}

/* What is said of it is held against what lies there, too. */
TEST(a_checksum_counts) {
  grip g;
  world_next();
  server_reset();
  bits_manager *m = open_queue("{}");
  hold_hand(m, &g);
  static const entry e = {"sum", "", 5000};
  bits_job *j = make_job(m, "{}");
  char *url = mem_text(at("f/sum?size=5000"));
  value *v = json_of("{'url':'%s','path':'%s','sha256':'%064d'}", url,
                     in_world(e.name), 7);
  CHECK(is_fine(bits_job_add_file(j, v)));
  value_free(v);
  CHECK(is_fine(bits_job_resume(j)));
  AWAIT(count_in(j, BITS_FILE_FETCHED) == 1);
  CHECK(in_memory(j, 0));
  sem_post(&g.go);
  CHECK(await_state(j, BITS_ERROR));
  uint32_t code;
  value *why = bits_job_error(j, &code);
  CHECK_INT(value_integer(value_get(why, "code"), 0), BG_E_VALIDATION_FAILED);
  value_free(why);
  CHECK(!has_part(j, 0) && lent(m) == 0);
  CHECK(is_fine(bits_job_cancel(j, &code)));
  bits_job_unref(j);
  mem_free(url);
  shut_queue(m);
  remove_all(&e, 1);
}

/* ------------------------------------------------------------------
** It does not all come
** ---------------------------------------------------------------- */

static void cut(const char *plan, const char *range) {
  entry e = {"cut", plan, 9000};
  world_next();
  server_reset();
  bits_manager *m = open_queue("{}");
  bits_job *j = job_of(m, "{'retry_delay':0}", &e, 1);
  CHECK(await_state(j, BITS_TRANSFERRED));
  char *asked = server_told("!range?of=/f/cut");
  CHECK_TEXT(asked, range);
  free(asked);
  CHECK_INT(server_count("/f/cut"), 2);
  complete(j);
  CHECK(is_right(&e));
  CHECK_INT(lent(m), 0);
  bits_job_unref(j);
  shut_queue(m);
  remove_all(&e, 1);
}

TEST(what_came_is_gone_on_with) {
  cut("&plan=drop:6000,ok", "1904-");
}

TEST(what_cannot_be_gone_on_with_is_not_kept) {
  cut("&plan=drop:6000+bare,bare", "none");
}

/* ------------------------------------------------------------------
** They are there, and it ends
** ---------------------------------------------------------------- */

static const entry few[] = {
    {"first", "", 3000}, {"second", "", 0}, {"third", "", 40000}};

static int tell;

static void stay(bool good) {
  if (write(tell, good ? "y" : "n", 1) != 1) _exit(1);
  for (;;) pause();
}

/* The hand has just written the second of them, and told nobody. Which one that
   is depends on who came first. */
static void written(bits_file *f) {
  static int count;
  if (++count == 2) stay(is_fine(bits_keeper_flush(f->job->m, false)));
}

/* A child has fetched all of them, and says so when its rows are on the disk;
   the hand never gets there, or not further than that. */
static void fetch_and_stay(bool writes) {
  grip g;
  bits_manager *m = open_queue("{}");
  hold_hand(m, &g);
  bits_job *j = job_of(m, "{'name':'killed'}", few, COUNT(few));
  AWAIT(count_in(j, BITS_FILE_FETCHED) == COUNT(few));
  bool good = is_fine(bits_keeper_flush(m, false)) && check_bad == 0;
  for (uint32_t i = 0; i < COUNT(few); i++) good &= in_memory(j, i);
  if (!writes) stay(good);
  bits_small_written = written;
  sem_post(&g.go);
  for (;;) pause();
}

static void killed(bool writes) {
  int out[2];
  char byte = 0;
  size_t count;
  world_next();
  server_reset();
  CHECK(pipe2(out, O_CLOEXEC) == 0);
  fflush(stdout);
  pid_t pid = fork();
  tell = out[1];
  if (pid == 0) fetch_and_stay(writes);
  close(out[1]);
  CHECK(read(out[0], &byte, 1) == 1 && byte == 'y');
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  close(out[0]);
  CHECK_INT(world_count(".part"), writes ? 2 : 0);
  bits_manager *m = open_queue("{}");
  bits_job **all = bits_manager_jobs(m, &count);
  CHECK_INT(count, 1);
  CHECK(await_state(all[0], BITS_TRANSFERRED));
  CHECK_INT(server_count("/f/"), 2 * COUNT(few) - writes);
  complete(all[0]);
  for (size_t i = 0; i < COUNT(few); i++) CHECK(is_right(&few[i]));
  bits_job_unref(all[0]);
  mem_free(all);
  shut_queue(m);
  remove_all(few, COUNT(few));
}

TEST(who_is_killed_has_fetched_nothing) {
  killed(false);
  killed(true);
}

static void *close_it(void *m) {
  bits_manager_close(m);
  return NULL;
}

static bool is_stopping(bits_manager *m) {
  pthread_mutex_lock(&m->lock);
  bool stops = m->keeper->hand_stops;
  pthread_mutex_unlock(&m->lock);
  return stops;
}

TEST(who_closes_loses_nothing) {
  grip g;
  pthread_t closer;
  size_t count;
  world_next();
  server_reset();
  bits_manager *m = open_queue("{}");
  hold_hand(m, &g);
  bits_job *j = job_of(m, "{}", few, COUNT(few));
  AWAIT(count_in(j, BITS_FILE_FETCHED) == COUNT(few));
  CHECK(in_memory(j, 0));
  CHECK_INT(pthread_create(&closer, NULL, close_it, m), 0);
  AWAIT(is_stopping(m)); /* and waits for the hand */
  sem_post(&g.go);
  pthread_join(closer, NULL);
  for (uint32_t i = 0; i < COUNT(few); i++) CHECK(has_part(j, i));
  bits_job_unref(j);
  bits_manager_unref(m);
  m = open_queue("{}");
  bits_job **all = bits_manager_jobs(m, &count);
  CHECK_INT(count, 1);
  CHECK(await_state(all[0], BITS_TRANSFERRED));
  CHECK_INT(server_count("/f/"), COUNT(few)); /* not once more */
  complete(all[0]);
  for (size_t i = 0; i < COUNT(few); i++) CHECK(is_right(&few[i]));
  bits_job_unref(all[0]);
  mem_free(all);
  shut_queue(m);
  remove_all(few, COUNT(few));
}

static void *cancel_it(void *j) {
  uint32_t code;
  CHECK(is_fine(bits_job_cancel(j, &code)));
  return NULL;
}

TEST(who_cancels_leaves_nothing) {
  grip g;
  pthread_t canceller;
  world_next();
  bits_manager *m = open_queue("{}");
  hold_hand(m, &g);
  bits_job *j = job_of(m, "{}", few, COUNT(few));
  AWAIT(count_in(j, BITS_FILE_FETCHED) == COUNT(few));
  CHECK_INT(pthread_create(&canceller, NULL, cancel_it, j), 0);
  sem_post(&g.go);
  pthread_join(canceller, NULL);
  CHECK_INT(lent(m), 0);
  bits_job_unref(j);
  shut_queue(m);
  remove_all(few, COUNT(few));
}

/* It waits for the hand, and does not when the queue is closed: nothing is
   written behind that. */
TEST(who_cancels_and_closes_leaves_nothing) {
  grip g;
  pthread_t canceller, closer;
  world_next();
  bits_manager *m = open_queue("{}");
  hold_hand(m, &g);
  bits_job *j = job_of(m, "{}", few, COUNT(few));
  AWAIT(count_in(j, BITS_FILE_FETCHED) == COUNT(few));
  CHECK_INT(pthread_create(&canceller, NULL, cancel_it, j), 0);
  CHECK(await_state(j, BITS_CANCELLED));
  CHECK_INT(pthread_create(&closer, NULL, close_it, m), 0);
  pthread_join(canceller, NULL);
  sem_post(&g.go);
  pthread_join(closer, NULL);
  for (uint32_t i = 0; i < COUNT(few); i++) CHECK(!has_part(j, i));
  bits_job_unref(j);
  bits_manager_unref(m);
  m = open_queue("{}");
  CHECK_INT(status_number(m, "jobs"), 0);
  shut_queue(m);
  remove_all(few, COUNT(few));
}

/* ------------------------------------------------------------------
** It cannot be written
** ---------------------------------------------------------------- */

/* The job says so, and goes on when that is mended. */
static void refused(bits_manager *m, void (*spoil)(void), void (*mend)(void)) {
  static const entry deep[] = {{"deep/a", "", 3000}, {"deep/b", "", 40000}};
  grip g;
  uint32_t code;
  server_reset();
  hold_hand(m, &g);
  bits_job *j = job_of(m, "{}", deep, 2);
  AWAIT(count_in(j, BITS_FILE_FETCHED) == 2);
  CHECK(in_memory(j, 0) && in_memory(j, 1));
  spoil();
  sem_post(&g.go);
  CHECK(await_state(j, BITS_ERROR));
  value *why = bits_job_error(j, &code);
  CHECK_INT(value_integer(value_get(why, "context"), 0), BITS_CONTEXT_LOCAL);
  value_free(why);
  mend();
  CHECK(is_fine(bits_job_resume(j)));
  CHECK(await_state(j, BITS_TRANSFERRED));
  complete(j);
  CHECK(is_right(&deep[0]) && is_right(&deep[1]));
  CHECK_INT(lent(m), 0);
  bits_job_unref(j);
  unlink(in_world("deep/a"));
  unlink(in_world("deep/b"));
}

static void remove_folder(void) {
  CHECK_INT(rmdir(in_world("deep")), 0);
}

static void make_folder(void) {
  CHECK_INT(mkdir(in_world("deep"), 0700), 0);
}

TEST(the_folder_is_gone) {
  world_next();
  make_folder();
  bits_manager *m = open_queue("{}");
  refused(m, remove_folder, make_folder);
  shut_queue(m);
  remove_folder();
}

static void mount_disk(unsigned long how, const char *size) {
  CHECK_INT(mount("none", in_world("deep"), "tmpfs", how, size), 0);
}

/* Room for two pages: the second file finds none. */
static void fill_disk(void) {
  mount_disk(0, "size=8k");
}

static void grow_disk(void) {
  mount_disk(MS_REMOUNT, "size=1m");
}

static int on_a_full_disk(void) {
  if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0) return 77;
  make_folder();
  bits_manager *m = open_queue("{}");
  refused(m, fill_disk, grow_disk);
  shut_queue(m);
  CHECK_INT(umount2(in_world("deep"), MNT_DETACH), 0);
  remove_folder();
  fflush(stdout);
  return check_bad > 0;
}

TEST(the_disk_is_full) {
  int status = 0;
  world_next();
  if (geteuid() != 0) SKIP("only root can mount");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    check_bad = 0;
    _exit(unshare(CLONE_NEWNS) == 0 ? on_a_full_disk() : 77);
  }
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("nothing can be mounted here");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  if (!faults_start(false)) return server_missing();
  GATE_RUN(the_disk_is_full); /* forks: before there are threads */
  GATE_RUN(who_is_killed_has_fetched_nothing);
  GATE_RUN(they_are_right_whatever_their_size);
  GATE_RUN(a_group_appears_at_once);
  GATE_RUN(no_more_lie_there_than_may);
  GATE_RUN(a_checksum_counts);
  GATE_RUN(what_came_is_gone_on_with);
  GATE_RUN(what_cannot_be_gone_on_with_is_not_kept);
  GATE_RUN(who_closes_loses_nothing);
  GATE_RUN(who_cancels_leaves_nothing);
  GATE_RUN(who_cancels_and_closes_leaves_nothing);
  GATE_RUN(the_folder_is_gone);
  faults_stop();
  return check_end();
}
