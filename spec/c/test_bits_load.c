/*
** bits: what is loaded of a queue that somebody has written to hurt.
*/
#include "bits_case.h"

TEST(a_file_with_a_huge_number) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = make_job(m, "{}");
  int64_t id = j->id;
  char *path = mem_text(m->path);
  bits_job_unref(j);
  shut_queue(m);
  bool owner = true;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(path, &owner, &told, &e);
  CHECK(q != NULL && owner && told == NULL);
  queue_file row = {.job = id,
                    .number = 4000000000u,
                    .url = "http://127.0.0.1:1/x",
                    .path = "/nowhere/x",
                    .size = -1};
  CHECK(is_fine(bits_queue_begin(q, true)));
  CHECK(is_fine(bits_queue_put_file(q, &row)));
  CHECK(is_fine(bits_queue_commit(q)));
  bits_queue_close(q);
  m = open_queue("{}"); /* and not all memory is gone */
  j = m->first;
  CHECK(j != NULL && j->file_count == 0);
  /* Nobody takes it for whole. */
  CHECK(j != NULL && bits_job_state(j) == BITS_ERROR);
  CHECK(j != NULL && j->failure.code == SAROS_E_DAMAGED);
  shut_queue(m);
  mem_free(path);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  GATE_RUN(a_file_with_a_huge_number);
  return check_end();
}
