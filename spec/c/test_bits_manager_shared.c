/*
** bits: a queue that more than one process has: who owns it and who observes,
** one whose owner is killed, and a child.
**
** not under valgrind: it kills who owns a queue; ASan runs it
*/
#include "bits_case.h"

/* A text of the manager's status; static. */
static const char *status_text(bits_manager *m, const char *name) {
  static char text[300];
  value *v = bits_manager_status(m);
  snprintf(text, sizeof text, "%s", value_chars(value_get(v, name), ""));
  value_free(v);
  return text;
}

static uint32_t files_of(bits_job *j) {
  pthread_mutex_lock(&j->m->lock);
  uint32_t n = j->file_count;
  pthread_mutex_unlock(&j->m->lock);
  return n;
}

/* ------------------------------------------------------------------
** Two of them
** ---------------------------------------------------------------- */

TEST(who_comes_second_observes) {
  world_next();
  bits_manager *m = open_queue("{}"), *o = open_queue("{}");
  CHECK(bits_manager_is_owner(m) && !bits_manager_is_owner(o));
  CHECK(strstr(status_text(o, "owned_by"), "pid ") != NULL);
  bits_job *j = make_job(m, "{'name':'seen'}");
  bits_job *seen = NULL;
  AWAIT((seen = bits_manager_job(o, bits_job_id(j))) != NULL);
  CHECK_INT(code_of(bits_job_suspend(seen)), SAROS_E_LOCKED);
  value *v = json_of("{}");
  error *e = NULL;
  CHECK(bits_job_create(o, v, &e) == NULL);
  CHECK(e != NULL && strstr(e->message, "pid ") != NULL);
  CHECK_INT(code_of(e), SAROS_E_LOCKED);
  value_free(v);
  v = json_of("{'limit_upload':1}");
  CHECK_INT(code_of(bits_manager_set(o, v)), SAROS_E_LOCKED);
  value_free(v);
  /* Files that come later, and its end. */
  CHECK(add_file(j, nowhere, "a"));
  AWAIT(files_of(seen) == 1);
  uint32_t code;
  CHECK(is_fine(bits_job_cancel(j, &code)));
  AWAIT(status_number(o, "jobs") == 0);
  CHECK_INT(bits_job_state(seen), BITS_CANCELLED);
  bits_job_unref(seen);
  bits_job_unref(j);
  shut_queue(m);
  AWAIT(bits_manager_is_owner(o)); /* nobody else is there now */
  bits_job_unref(make_job(o, "{}"));
  shut_queue(o);
}

TEST(who_only_observes_takes_over_nothing) {
  world_next();
  bits_manager *m = open_queue("{}"), *o = open_queue("{'observe':true}");
  bits_manager *next = open_queue("{}");
  shut_queue(m);
  AWAIT(bits_manager_is_owner(next));
  CHECK(!bits_manager_is_owner(o));
  shut_queue(next);
  shut_queue(o);
}

/* The child owns it and is killed: no orderly end. */
TEST(an_owner_that_is_killed) {
  int out[2];
  char byte;
  world_next();
  CHECK(pipe2(out, O_CLOEXEC) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    bits_manager *m = open_queue("{}");
    bits_job *j = make_job(m, "{'name':'left'}");
    CHECK(add_file(j, nowhere, "left"));
    if (!is_fine(bits_keeper_flush(m, false))) _exit(1);
    if (write(out[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  CHECK(read(out[0], &byte, 1) == 1);
  bits_manager *m = open_queue("{}");
  CHECK(!bits_manager_is_owner(m));
  CHECK_INT(status_number(m, "jobs"), 1);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  AWAIT(bits_manager_is_owner(m));
  CHECK_INT(status_number(m, "jobs"), 1);
  bits_job_unref(make_job(m, "{}"));
  CHECK_INT(status_number(m, "jobs"), 2);
  shut_queue(m);
  close(out[0]);
  close(out[1]);
}

/* ------------------------------------------------------------------
** A fork
** ---------------------------------------------------------------- */

static int child_of_a_fork(bits_manager *m, bits_job *j) {
  uint32_t why = 0;
  size_t count;
  value *v = json_of("{}");
  error *e = NULL;
  if (!bits_manager_is_inherited(m) || bits_manager_is_owner(m)) return 1;
  if (bits_job_create(m, v, &e) != NULL || code_of(e) != SAROS_E_FORKED)
    return 2;
  if (code_of(bits_job_suspend(j)) != SAROS_E_FORKED) return 3;
  if (code_of(bits_manager_set(m, v)) != SAROS_E_FORKED) return 4;
  if (bits_manager_event(m, 0, &why) != NULL || why != SAROS_E_FORKED) return 5;
  if (bits_manager_jobs(m, &count) != NULL || count != 0) return 6;
  if (bits_manager_job(m, bits_job_id(j)) != NULL) return 7;
  if (code_of(bits_keeper_flush(m, true)) != SAROS_E_FORKED) return 8;
  value *s = bits_manager_status(m);
  if (!value_boolean(value_get(s, "inherited"), false)) return 9;
  value_free(s);
  value_free(v);
  bits_job_unref(j);
  shut_queue(m);
  return 0;
}

TEST(a_child_has_nothing_of_it) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  CHECK(add_file(j, nowhere, "a"));
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) _exit(child_of_a_fork(m, j));
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK_INT(status, 0);
  bits_job_unref(make_job(m, "{}"));
  bits_job_unref(j);
  shut_queue(m);
  m = open_queue("{}");
  CHECK_INT(status_number(m, "jobs"), 2);
  shut_queue(m);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  gate_counts before = gate_count();
  GATE_RUN(who_comes_second_observes);
  GATE_RUN(who_only_observes_takes_over_nothing);
  GATE_RUN(an_owner_that_is_killed);
  GATE_RUN(a_child_has_nothing_of_it);
  CHECK(gate_back_to(before));
  return check_end();
}
