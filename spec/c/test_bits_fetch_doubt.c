/*
** What is known of a part, and is worth less than it seems.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "bits_fetch_case.h"

static bed b;

/* Whoever has forgotten it, and did not wait until that was written. */
TEST(a_row_that_is_stale_goes_first) {
  bed_make(&b, "stale", "size=60000&plan=drop:30000,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  b.eager = false;
  bits_file_know(b.f, NULL);
  CHECK(b.row.known != NULL);
  b.refusals = 1;
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(b.result.context, BITS_CONTEXT_QUEUE);
  CHECK_INT(server_count("/f/stale"), 1);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK_INT(b.commits, 2);
  CHECK(b.row.known == NULL);
  char *range = server_told("!range?of=/f/stale");
  CHECK_TEXT(range, "none");
  free(range);
  bed_end(&b);
}

/* What came is no length that somebody said, however often it is asked. */
TEST(as_much_as_came_proves_nothing) {
  bed_make(&b, "little", "size=60000&plan=chunked+drop:30000,range:little");
  b.terms->length_required = true;
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_MISSING_FILE_SIZE);
  CHECK_INT(bed_try(&b), BITS_END_FAILED); /* still */
  CHECK_INT(b.result.code, BG_E_MISSING_FILE_SIZE);
  b.terms->length_required = false;
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(!b.result.proven);
  CHECK((b.f->marks & BITS_FILE_UNPROVEN) != 0);
  CHECK_INT(bed_try(&b), BITS_END_WHOLE); /* only its row was not written */
  CHECK(!b.result.proven);
  bed_end(&b);
}

TEST(nor_does_a_name) {
  bed_make(&b, "name", "size=60000&plan=close");
  b.terms->length_required = false;
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(!b.result.proven);
  CHECK_INT(bed_finish(&b), BITS_END_WHOLE);
  bed_crash(&b);
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(!b.result.proven);
  CHECK_INT(server_count("/f/name"), 1);
  bed_end(&b);
}

int main(int argc, char **argv) {
  if (!bed_suite_begin(argc, argv)) return server_missing();
  GATE_RUN(a_row_that_is_stale_goes_first);
  GATE_RUN(as_much_as_came_proves_nothing);
  GATE_RUN(nor_does_a_name);
  return bed_suite_end();
}
