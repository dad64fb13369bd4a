/*
** bits: managers. Queues are opened, closed, and opened again with all that was
** in them; settings, events, a damaged queue.
**
** not under valgrind: threads make thousands of jobs; ASan runs it
*/
#include <pthread.h>

#include "bits_case.h"

/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

TEST(a_queue_is_made) {
  struct stat s;
  world_next();
  bits_manager *m = open_queue("{}");
  CHECK(bits_manager_is_owner(m));
  CHECK(!bits_manager_is_closed(m));
  CHECK_TEXT(bits_manager_path(m), world_queue);
  CHECK_INT(status_number(m, "jobs"), 0);
  CHECK(stat(world_queue, &s) == 0 && (s.st_mode & 0777) == 0600);
  bits_manager_close(m);
  CHECK(bits_manager_is_closed(m));
  CHECK(!bits_manager_is_owner(m));
  bits_manager_close(m); /* again: no harm */
  bits_manager_unref(m);
}

TEST(what_cannot_be_opened) {
  static const char *const options[] = {
      "{'path':''}", "{'path':'/nowhere/at/all/queue.db'}",
      "{'path':'/dev/null'}", "{'colour':'red'}", "{'path':17}"};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    uint32_t code;
    bool told;
    world_next();
    bits_manager *m = try_queue(options[i], &code, &told);
    CHECK(m == NULL && code != 0 && !told);
    if (m != NULL) shut_queue(m);
  }
}

TEST(a_relative_path_means_the_same_later) {
  char before[4096];
  CHECK(getcwd(before, sizeof before) != NULL);
  CHECK(chdir(world_folder) == 0);
  bits_manager *m = open_queue("{'path':'relative.db'}");
  CHECK_TEXT(bits_manager_path(m), in_world("relative.db"));
  CHECK(chdir("/") == 0);
  bits_job_unref(make_job(m, "{}"));
  shut_queue(m);
  CHECK(is_there("relative.db"));
  CHECK(chdir(before) == 0);
}

/* ------------------------------------------------------------------
** Jobs that come back
** ---------------------------------------------------------------- */

TEST(jobs_come_back) {
  char ids[20][37];
  world_next();
  bits_manager *m = open_queue("{}");
  for (int i = 0; i < 20; i++) {
    char options[100], name[40];
    snprintf(options, sizeof options, "{'name':'job %d','priority':'%s'}", i,
             i % 2 ? "high" : "low");
    bits_job *j = make_job(m, options);
    for (int k = 0; k < i; k++) {
      snprintf(name, sizeof name, "f%d", k);
      CHECK(add_file(j, nowhere, name));
    }
    snprintf(ids[i], sizeof ids[i], "%s", bits_job_id(j));
    bits_job_unref(j);
  }
  shut_queue(m);
  m = open_queue("{}");
  size_t count;
  bits_job **all = bits_manager_jobs(m, &count);
  CHECK_INT(count, 20);
  for (size_t i = 0; i < count; i++) {
    char name[40];
    snprintf(name, sizeof name, "job %zu", i);
    CHECK_TEXT(bits_job_id(all[i]), ids[i]);
    CHECK_INT(all[i]->file_count, i);
    CHECK_INT(all[i]->priority, i % 2 ? BITS_HIGH : BITS_LOW);
    CHECK_INT(bits_job_state(all[i]), BITS_SUSPENDED);
    CHECK_TEXT(value_chars(value_get(all[i]->properties, "name"), ""), name);
    bits_job_unref(all[i]);
  }
  mem_free(all);
  shut_queue(m);
}

TEST(one_by_its_guid) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}"), *found;
  char text[60];
  snprintf(text, sizeof text, "{%s}", bits_job_id(j));
  for (char *c = text; *c != '\0'; c++)
    if (*c >= 'a' && *c <= 'f') *c = (char)(*c - 'a' + 'A');
  CHECK((found = bits_manager_job(m, text)) == j);
  bits_job_unref(found);
  CHECK(bits_manager_job(m, "00000000-0000-4000-8000-000000000000") == NULL);
  CHECK(bits_manager_job(m, "nonsense") == NULL);
  bits_job_unref(j);
  shut_queue(m);
}

#define JOBS gate_loops(10000)
enum { MAKERS = 10 };

static void *make_many(void *context) {
  for (int i = 0; i < JOBS / MAKERS; i++)
    bits_job_unref(make_job(context, "{}"));
  return NULL;
}

TEST(ten_thousand_jobs) {
  pthread_t makers[MAKERS];
  world_next();
  bits_manager *m = open_queue("{}");
  for (int i = 0; i < MAKERS; i++)
    CHECK(pthread_create(&makers[i], NULL, make_many, m) == 0);
  for (int i = 0; i < MAKERS; i++) pthread_join(makers[i], NULL);
  CHECK_INT(status_number(m, "jobs"), JOBS);
  shut_queue(m);
  m = open_queue("{}");
  CHECK_INT(status_number(m, "jobs"), JOBS);
  size_t count;
  bits_job **all = bits_manager_jobs(m, &count);
  for (size_t i = 0; i < count; i++) {
    bits_job *j = bits_manager_job(m, bits_job_id(all[i]));
    CHECK(j == all[i]);
    bits_job_unref(j);
    bits_job_unref(all[i]);
  }
  mem_free(all);
  shut_queue(m);
}

/* A secret or not, what was set is kept, and what is wrong is refused. */
TEST(settings_are_kept) {
  world_next();
  bits_manager *m = open_queue("{'limit_download':1000000}");
  value *v = json_of("{'limit_upload':5000,'connections_per_host':3}");
  CHECK(is_fine(bits_manager_set(m, v)));
  value_free(v);
  v = json_of("{'limit_download':-1}");
  CHECK(code_of(bits_manager_set(m, v)) != 0);
  value_free(v);
  v = json_of("{'path':'/elsewhere'}");
  CHECK_INT(code_of(bits_manager_set(m, v)), SAROS_E_INVALIDARG);
  value_free(v);
  shut_queue(m);
  m = open_queue("{}");
  v = bits_manager_status(m);
  const value *set = value_get(v, "settings");
  CHECK_INT(value_integer(value_get(set, "limit_download"), 0), 1000000);
  CHECK_INT(value_integer(value_get(set, "limit_upload"), 0), 5000);
  CHECK_INT(value_integer(value_get(set, "connections_per_host"), 0), 3);
  value_free(v);
  shut_queue(m);
}

/* The queue's own clock goes on where it stopped. */
TEST(the_clock_goes_on) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job_unref(make_job(m, "{}"));
  AWAIT(bits_now(m) >= 30);
  bits_job_unref(make_job(m, "{}"));
  uint64_t before = bits_now(m);
  CHECK(is_fine(bits_keeper_flush(m, false)));
  shut_queue(m);
  m = open_queue("{}");
  CHECK(bits_now(m) >= 30 && bits_now(m) < before + 3600000);
  shut_queue(m);
}

/* ------------------------------------------------------------------
** Closed while others are busy with it
** ---------------------------------------------------------------- */

static void *busy(void *context) {
  bits_manager *m = context;
  uint32_t code = 0;
  for (;;) {
    value *v = json_of("{}");
    error *e = NULL;
    bits_job *j = bits_job_create(m, v, &e);
    value_free(v);
    code = code_of(e);
    if (j != NULL) {
      add_file(j, nowhere, "a");
      error_unref(bits_job_suspend(j));
      value_free(bits_manager_status(m));
      bits_job_unref(j);
    }
    if (code != 0) break;
  }
  bits_manager_unref(m);
  return (void *)(uintptr_t)code;
}

TEST(closed_while_busy) {
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  world_next();
  bits_manager *m = open_queue("{}");
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, busy, bits_manager_ref(m)) == 0);
  AWAIT(status_number(m, "jobs") > 20);
  shut_queue(m);
  for (int i = 0; i < THREADS; i++) {
    void *code;
    pthread_join(threads[i], &code);
    CHECK_INT((uintptr_t)code, SAROS_E_CLOSED);
  }
}

/* ------------------------------------------------------------------
** Events
** ---------------------------------------------------------------- */

static int64_t number_of(saros_op *op, const char **what) {
  const value *v = op_output(op);
  *what = value_chars(value_get(v, "what"), "");
  return value_integer(value_get(v, "number"), -1);
}

TEST(events_by_their_numbers) {
  uint32_t why;
  const char *what;
  world_next();
  bits_manager *m = open_queue("{}");
  saros_op *first = bits_manager_event(m, 0, &why);
  saros_op *same = bits_manager_event(m, 0, &why);
  saros_op *second = bits_manager_event(m, 1, &why);
  CHECK(first != NULL && second != NULL);
  bits_job *j = make_job(m, "{}");
  CHECK(await_op(first) && await_op(same));
  CHECK_INT(saros_op_code(first), 0);
  CHECK_INT(number_of(first, &what), 1);
  CHECK_TEXT(what, "state");
  CHECK_INT(number_of(same, &what), 1);
  CHECK_TEXT(value_chars(value_get(op_output(first), "job"), ""),
             bits_job_id(j));
  CHECK(!saros_state_is_terminal(saros_op_state(second)));
  value *v = json_of("{'name':'other'}");
  CHECK(is_fine(bits_job_set(j, v)));
  value_free(v);
  CHECK(await_op(second));
  CHECK_INT(number_of(second, &what), 2);
  CHECK_TEXT(what, "modified");
  /* Who comes late gets what was. */
  saros_op *late = bits_manager_event(m, 1, &why);
  CHECK(await_op(late));
  CHECK_INT(number_of(late, &what), 2);
  saros_op_unref(first);
  saros_op_unref(same);
  saros_op_unref(second);
  saros_op_unref(late);
  bits_job_unref(j);
  shut_queue(m);
}

TEST(events_that_were_missed) {
  uint32_t why;
  const char *what;
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  pthread_mutex_lock(&m->lock);
  for (int i = 0; i < 5000; i++) bits_event(j, "modified", i);
  pthread_mutex_unlock(&m->lock);
  saros_op *op = bits_manager_event(m, 1, &why);
  CHECK(await_op(op));
  int64_t n = number_of(op, &what);
  CHECK(n > 3000 && n < 5001); /* the oldest that is kept */
  CHECK_INT(value_integer(value_get(op_output(op), "file"), -1), n - 2);
  saros_op_unref(op);
  bits_job_unref(j);
  shut_queue(m);
}

TEST(events_that_never_come) {
  enum { MANY = 100 };
  saros_op *ops[MANY];
  uint32_t why;
  world_next();
  bits_manager *m = open_queue("{}");
  for (int i = 0; i < MANY; i++) ops[i] = bits_manager_event(m, 0, &why);
  for (int i = 0; i < MANY; i += 2) CHECK_INT(saros_op_cancel(ops[i]), 0);
  bits_manager_close(m);
  for (int i = 0; i < MANY; i++) {
    CHECK(await_op(ops[i]));
    CHECK_INT(saros_op_code(ops[i]),
              i % 2 ? SAROS_E_CLOSED : SAROS_E_CANCELLED);
    saros_op_unref(ops[i]);
  }
  saros_op *op = bits_manager_event(m, 0, &why);
  CHECK(op != NULL && await_op(op));
  CHECK_INT(saros_op_code(op), SAROS_E_CLOSED);
  saros_op_unref(op);
  bits_manager_unref(m);
}

/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

TEST(a_damaged_queue_is_told_of) {
  uint32_t code;
  bool told;
  world_next();
  bits_manager *m = open_queue("{}");
  for (int i = 0; i < 50; i++) bits_job_unref(make_job(m, "{'name':'x'}"));
  shut_queue(m);
  int fd = open(world_queue, O_WRONLY | O_CLOEXEC);
  char noise[4096];
  memset(noise, 0xA5, sizeof noise);
  CHECK(pwrite(fd, noise, sizeof noise, 4096) == sizeof noise);
  close(fd);
  m = try_queue("{}", &code, &told);
  CHECK(m != NULL && told);
  if (m == NULL) return;
  bits_job_unref(make_job(m, "{}")); /* it can be used */
  shut_queue(m);
  m = open_queue("{}");
  shut_queue(m);
  CHECK(world_count("damaged") > 0);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  gate_counts before = gate_count();
  GATE_RUN(a_queue_is_made);
  GATE_RUN(what_cannot_be_opened);
  GATE_RUN(a_relative_path_means_the_same_later);
  GATE_RUN(jobs_come_back);
  GATE_RUN(one_by_its_guid);
  GATE_RUN(ten_thousand_jobs);
  GATE_RUN(settings_are_kept);
  GATE_RUN(the_clock_goes_on);
  GATE_RUN(closed_while_busy);
  GATE_RUN(events_by_their_numbers);
  GATE_RUN(events_that_were_missed);
  GATE_RUN(events_that_never_come);
  GATE_RUN(a_damaged_queue_is_told_of);
  CHECK(gate_back_to(before));
  return check_end();
}
