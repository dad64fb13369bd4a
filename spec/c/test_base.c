/*
** base: memory, buffer, guid and error.
*/
#include "base/base.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#include "check.h"
#include "test_base_sweep.h"

/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

TEST(memory_copies_text) {
  char *copy = mem_text("saros");
  CHECK_TEXT(copy, "saros");
  mem_free(copy);
  CHECK(mem_text(NULL) == NULL);
  copy = mem_text("");
  CHECK_TEXT(copy, "");
  mem_free(copy);
}

TEST(memory_copies_bytes_and_ends_them) {
  char *copy = mem_bytes("a\0b", 3);
  CHECK(copy != NULL && memcmp(copy, "a\0b\0", 4) == 0);
  mem_free(copy);
  copy = mem_bytes(NULL, 0);
  CHECK_TEXT(copy, "");
  mem_free(copy);
  CHECK(mem_bytes("x", SIZE_MAX) == NULL);
}

#ifdef SAROS_TEST

TEST(memory_counts_blocks) {
  long before = mem_blocks();
  void *a = mem_alloc(10);
  void *b = mem_zero(20);
  void *c = mem_grow(NULL, 30);
  CHECK_INT(mem_blocks(), before + 3);
  c = mem_grow(c, 3000);
  CHECK_INT(mem_blocks(), before + 3);
  mem_free(a);
  mem_free(b);
  CHECK_INT(mem_blocks(), before + 1);
  mem_free(c);
  mem_free(NULL);
  CHECK_INT(mem_blocks(), before);
}

TEST(memory_zero_is_zero) {
  unsigned char *b = mem_zero(64);
  for (int i = 0; i < 64; i++) CHECK_INT(b[i], 0);
  mem_free(b);
}

TEST(memory_fails_the_nth_once) {
  mem_fail_at(2);
  void *a = mem_alloc(1);
  void *b = mem_alloc(1);
  void *c = mem_alloc(1);
  CHECK(a != NULL);
  CHECK(b == NULL);
  CHECK(c != NULL);
  mem_fail_at(1);
  CHECK(mem_zero(1) == NULL);
  mem_fail_at(1);
  CHECK(mem_grow(a, 100) == NULL); /* and `a` is still there */
  mem_fail_at(1);
  mem_fail_at(0);
  void *d = mem_alloc(1);
  CHECK(d != NULL);
  mem_free(a);
  mem_free(c);
  mem_free(d);
}

enum { THREADS = 4, REQUESTS = 2000 };

static void *request(void *unused) {
  (void)unused;
  intptr_t failed = 0;
  for (int i = 0; i < REQUESTS; i++) {
    void *block = mem_alloc(8);
    if (block == NULL) failed++;
    mem_free(block);
  }
  return (void *)failed;
}

TEST(memory_fails_once_among_threads) {
  pthread_t threads[THREADS];
  intptr_t failed = 0;
  long before = mem_blocks();
  mem_fail_at(THREADS * REQUESTS / 2);
  for (int i = 0; i < THREADS; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, request, NULL), 0);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    failed += (intptr_t)result;
  }
  CHECK_INT(failed, 1);
  CHECK_INT(mem_blocks(), before);
}

#endif

/* ------------------------------------------------------------------
** Buffer
** ---------------------------------------------------------------- */

TEST(buffer_puts_one_behind_the_other) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "ab");
  buffer_byte(&b, 'c');
  buffer_put(&b, "d\0e", 3);
  CHECK_INT(b.size, 6);
  CHECK(memcmp(b.data, "abcd\0e\0", 7) == 0);
  buffer_format(&b, "-%d-%s", 42, "x");
  CHECK_TEXT(b.data + 6, "-42-x");
  CHECK_INT(b.size, 11);
  CHECK(!b.failed);
  buffer_free(&b);
  CHECK(b.data == NULL && b.size == 0 && b.capacity == 0);
}

TEST(buffer_is_terminated_at_every_size) {
  buffer b = BUFFER_EMPTY;
  for (size_t i = 1; i <= 1000; i++) {
    buffer_byte(&b, 'x');
    CHECK_INT(strlen(b.data), i);
    CHECK(b.capacity > b.size);
  }
  buffer_free(&b);
}

TEST(buffer_formats_more_than_it_has_room_for) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%0500d", 7);
  CHECK_INT(b.size, 500);
  CHECK_INT(strlen(b.data), 500);
  CHECK(b.data[499] == '7');
  buffer_format(&b, "%s", "");
  CHECK_INT(b.size, 500);
  CHECK(!b.failed);
  buffer_free(&b);
}

TEST(buffer_room_is_written_by_the_caller) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "ab");
  char *room = buffer_room(&b, 100);
  CHECK(room == b.data + 2);
  CHECK_INT(b.size, 2);
  CHECK(b.capacity >= 103);
  memcpy(room, "cd", 3);
  b.size += 2;
  buffer_byte(&b, 'e');
  CHECK_TEXT(b.data, "abcde");
  buffer_free(&b);
}

TEST(buffer_clear_keeps_the_memory) {
  buffer b = BUFFER_EMPTY;
  buffer_clear(&b); /* of one that has none */
  CHECK(b.data == NULL);
  buffer_text(&b, "abc");
  char *data = b.data;
  buffer_clear(&b);
  CHECK(b.data == data);
  CHECK_INT(b.size, 0);
  CHECK_TEXT(b.data, "");
  buffer_free(&b);
}

TEST(buffer_take_gives_the_content_away) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "mine");
  char *text = buffer_take(&b);
  CHECK_TEXT(text, "mine");
  CHECK(b.data == NULL && b.size == 0);
  mem_free(text);
  text = buffer_take(&b);
  CHECK_TEXT(text, "");
  mem_free(text);
}

TEST(buffer_refuses_what_cannot_be) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "abc");
  CHECK(buffer_room(&b, SIZE_MAX) == NULL);
  CHECK(b.failed);
  buffer_clear(&b);
  CHECK(!b.failed);
  CHECK(buffer_room(&b, SIZE_MAX / 2) == NULL);
  buffer_text(&b, "hidden");
  CHECK(b.failed);
  CHECK_INT(b.size, 0);
  CHECK(buffer_take(&b) == NULL);
  CHECK(b.data == NULL && !b.failed);
}

static bool fill_buffer(void) {
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < 20; i++) {
    buffer_format(&b, "%050d", i);
    buffer_text(&b, "!");
  }
  CHECK(b.failed || b.size == 20 * 51);
  if (b.failed) CHECK(b.size % 51 == 0 || b.size % 51 == 50);
  bool failed = b.failed;
  size_t size = b.size;
  buffer_byte(&b, 'x'); /* must not close up the hole */
  CHECK_INT(b.size, failed ? size : size + 1);
  char *text = buffer_take(&b);
  CHECK((text == NULL) == failed);
  mem_free(text);
  return text != NULL;
}

TEST(buffer_survives_without_memory) {
  SWEEP(fill_buffer, 4);
}

/* ------------------------------------------------------------------
** GUIDs
** ---------------------------------------------------------------- */

TEST(guid_is_made_of_version_4) {
  guid a, b;
  char text[GUID_TEXT];
  for (int i = 0; i < 100; i++) {
    CHECK(guid_make(&a));
    CHECK(guid_make(&b));
    CHECK(!guid_equal(&a, &b));
    CHECK(!guid_is_null(&a));
    memset(text, 'x', sizeof text);
    guid_format(&a, text);
    CHECK_INT(strlen(text), 36);
    CHECK(text[14] == '4');
    CHECK(strchr("89ab", text[19]) != NULL);
    CHECK(guid_parse(text, &b));
    CHECK(guid_equal(&a, &b));
  }
}

TEST(guid_reads_what_people_write) {
  static const guid known = {{0x50, 0x7c, 0x37, 0xb4, 0xcf, 0x5b, 0x4e, 0x95,
                              0xb0, 0xaf, 0x14, 0xeb, 0x97, 0x67, 0x46, 0x7e}};
  guid g;
  CHECK(guid_parse("507c37b4-cf5b-4e95-b0af-14eb9767467e", &g));
  CHECK(guid_equal(&g, &known));
  CHECK(guid_parse("507C37B4-CF5B-4E95-B0AF-14EB9767467E", &g));
  CHECK(guid_equal(&g, &known));
  CHECK(guid_parse("{507C37b4-CF5B-4e95-B0AF-14EB9767467E}", &g));
  CHECK(guid_equal(&g, &known));
  char text[GUID_TEXT];
  guid_format(&known, text);
  CHECK_TEXT(text, "507c37b4-cf5b-4e95-b0af-14eb9767467e");
}

TEST(guid_refuses_everything_else) {
  static const char *const wrong[] = {
      "",
      "{",
      "{}",
      "507c37b4",
      "507c37b4cf5b4e95b0af14eb9767467e",
      "507c37b4-cf5b-4e95-b0af-14eb9767467",
      "507c37b4-cf5b-4e95-b0af-14eb9767467e0",
      "507c37b4-cf5b-4e95-b0af-14eb9767467g",
      "507c37b4-cf5b-4e95-b0af-14eb9767467e ",
      " 507c37b4-cf5b-4e95-b0af-14eb9767467e",
      "{507c37b4-cf5b-4e95-b0af-14eb9767467e",
      "507c37b4-cf5b-4e95-b0af-14eb9767467e}",
      "{507c37b4-cf5b-4e95-b0af-14eb9767467e}}",
      "507c37b4-cf5b4-e95-b0af-14eb9767467e",
      "507c37b4_cf5b_4e95_b0af_14eb9767467e",
      "+07c37b4-cf5b-4e95-b0af-14eb9767467e",
      "0x7c37b4-cf5b-4e95-b0af-14eb9767467e",
  };
  guid g = {{7}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    if (guid_parse(wrong[i], &g)) printf("accepted: '%s'\n", wrong[i]);
    CHECK(!guid_parse(wrong[i], &g));
  }
  CHECK(!guid_parse(NULL, &g));
  CHECK_INT(g.bytes[0], 7); /* left alone */
}

TEST(guid_knows_the_null_one) {
  guid g;
  CHECK(guid_parse("00000000-0000-0000-0000-000000000000", &g));
  CHECK(guid_is_null(&g));
  CHECK(guid_parse("00000000-0000-0000-0000-000000000001", &g));
  CHECK(!guid_is_null(&g));
}

/* ------------------------------------------------------------------
** Errors
** ---------------------------------------------------------------- */

TEST(error_has_what_it_was_made_of) {
  error *e =
      error_make(SAROS_FACADE_VSS, VSS_E_BAD_STATE, "call %d of %s", 3, "x");
  CHECK_INT(e->code, VSS_E_BAD_STATE);
  CHECK_INT(e->facade, SAROS_FACADE_VSS);
  CHECK_TEXT(e->message, "call 3 of x");
  CHECK(e->path == NULL && e->number == 0 && e->cause == NULL);
  CHECK(!e->retryable);
  error_unref(e);
}

TEST(error_may_say_nothing) {
  error *e = error_make(SAROS_FACADE_VSS, VSS_E_BAD_STATE, "%s", "");
  CHECK_TEXT(e->message, "");
  error_unref(e);
}

TEST(error_is_retryable_as_its_facade_says) {
  /* The same number, once a timeout and once a disk. */
  error *vss = error_make(SAROS_FACADE_VSS, 0x80042313u, "x");
  error *vds = error_make(SAROS_FACADE_VDS, 0x80042463u, "x");
  error *unknown = error_make(SAROS_FACADE_SAROS, 0xDEADBEEFu, "x");
  CHECK(vss->retryable);
  CHECK(vds->retryable);
  CHECK(!unknown->retryable);
  error_unref(vss);
  error_unref(vds);
  error_unref(unknown);
}

TEST(error_of_errno_says_what_and_where) {
  error *e =
      error_of_errno(SAROS_FACADE_SAROS, ENOSPC, "cannot write", "/srv/x");
  CHECK_INT(e->code, 0x80070070u);
  CHECK_INT(e->number, ENOSPC);
  CHECK_TEXT(e->path, "/srv/x");
  CHECK_TEXT(e->message, "cannot write: No space left on device");
  error_unref(e);
  e = error_of_errno(SAROS_FACADE_BITS, ECONNREFUSED, NULL, NULL);
  CHECK_TEXT(e->message, "Connection refused");
  CHECK(e->path == NULL);
  CHECK(e->retryable);
  error_unref(e);
  e = error_of_errno(SAROS_FACADE_BITS, 99999, "odd", NULL);
  CHECK_INT(e->code, 0x8007001Fu);
  CHECK(strncmp(e->message, "odd: ", 5) == 0);
  CHECK_INT(e->number, 99999);
  error_unref(e);
}

TEST(error_keeps_a_path) {
  error *e = error_make(SAROS_FACADE_SAROS, SAROS_E_REFUSED, "no");
  e = error_at(e, "/a");
  CHECK_TEXT(e->path, "/a");
  e = error_at(e, "/b");
  CHECK_TEXT(e->path, "/b");
  e = error_at(e, NULL);
  CHECK_TEXT(e->path, "/b");
  error_unref(e);
  CHECK(error_at(error_no_memory(), "/a") == error_no_memory());
  CHECK(error_no_memory()->path == NULL);
}

TEST(error_is_shared_by_counting) {
  long before = mem_blocks();
  error *cause = error_make(SAROS_FACADE_SAROS, SAROS_E_LUA, "the cause");
  error *e = error_because(
      error_make(SAROS_FACADE_VSS, VSS_E_UNEXPECTED, "outer"), cause);
  CHECK(e->cause == cause);
  CHECK(error_ref(e) == e);
  error_ref(cause);
  error_unref(e);
  CHECK_TEXT(e->message, "outer"); /* still referenced */
  error_unref(e);
  CHECK_TEXT(cause->message, "the cause"); /* by us */
  error_unref(cause);
  CHECK_INT(mem_blocks(), before);
  CHECK(error_ref(NULL) == NULL);
  error_unref(NULL);
}

TEST(error_frees_a_long_chain_of_causes) {
  long before = mem_blocks();
  error *e = NULL;
  for (int i = 0; i < 100000; i++)
    e = error_because(error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "%d", i), e);
  CHECK_TEXT(e->message, "99999");
  CHECK_TEXT(e->cause->cause->message, "99997");
  error_unref(e); /* a recursive one would overflow the stack */
  CHECK_INT(mem_blocks(), before);
}

TEST(error_without_memory_is_never_changed) {
  long before = mem_blocks();
  error *none = error_no_memory();
  CHECK_INT(none->code, SAROS_E_OUTOFMEMORY);
  CHECK(none->message != NULL && *none->message != '\0');
  CHECK(error_ref(none) == none);
  for (int i = 0; i < 10; i++) error_unref(none);
  error *cause = error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "x");
  CHECK(error_because(none, cause) == none); /* which frees the cause */
  CHECK(none->cause == NULL);
  CHECK_INT(mem_blocks(), before);
}

TEST(error_takes_over_a_second_cause) {
  long before = mem_blocks();
  error *e = error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "x");
  e = error_because(e, error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "1"));
  e = error_because(e, error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "2"));
  CHECK_TEXT(e->cause->message, "2");
  error_unref(e);
  CHECK_INT(mem_blocks(), before);
}

TEST(error_keeps_what_else_is_known) {
  long before = mem_blocks();
  value *more = value_map();
  value_put(more, "errno", value_int(1040));
  value_put(more, "retryable", value_bool(true));
  value_put(more, "path", value_text("/run/x"));
  value_put(more, "server", value_text("Too many connections"));
  error *e = error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "refused");
  CHECK(error_with(e, more) == e);
  CHECK_INT(e->number, 1040);
  CHECK(e->retryable);
  CHECK_TEXT(e->path, "/run/x");
  CHECK_TEXT(value_chars(value_get(e->more, "server"), ""),
             "Too many connections");
  CHECK(error_with(e, NULL) == e);
  CHECK(error_with(e, value_map()) == e);
  CHECK_INT(e->number, 1040); /* what the map does not say stays */
  CHECK_TEXT(e->path, "/run/x");
  error_unref(e);
  CHECK(error_with(NULL, value_map()) == NULL);
  CHECK(error_with(error_no_memory(), value_map()) == error_no_memory());
  CHECK_INT(mem_blocks(), before);
}

static bool make_errors(void) {
  error *e = error_of_errno(SAROS_FACADE_SAROS, EIO, "cannot read", "/dev/x");
  CHECK(e != NULL);
  e = error_because(
      e, error_make(SAROS_FACADE_VSS, VSS_E_BAD_STATE, "%s", "a cause"));
  bool whole = e != error_no_memory() && e->cause != error_no_memory();
  if (e == error_no_memory()) {
    CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
  } else {
    CHECK_TEXT(e->message, "cannot read: Input/output error");
    CHECK_TEXT(e->path, "/dev/x");
    CHECK(e->cause != NULL);
  }
  error_unref(e);
  return whole;
}

TEST(error_survives_without_memory) {
  SWEEP(make_errors, 5);
}

static error *shared_error;

static void *share_error(void *unused) {
  (void)unused;
  for (int i = 0; i < 10000; i++) error_unref(error_ref(shared_error));
  error_unref(shared_error); /* this thread's own */
  return NULL;
}

TEST(error_is_shared_between_threads) {
  long before = mem_blocks();
  pthread_t threads[4];
  shared_error = error_make(SAROS_FACADE_SAROS, SAROS_E_FAIL, "shared");
  for (int i = 1; i < 4; i++) error_ref(shared_error);
  for (int i = 0; i < 4; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, share_error, NULL), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_INT(mem_blocks(), before);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(memory_copies_text);
  RUN(memory_copies_bytes_and_ends_them);
#ifdef SAROS_TEST
  RUN(memory_counts_blocks);
  RUN(memory_zero_is_zero);
  RUN(memory_fails_the_nth_once);
  RUN(memory_fails_once_among_threads);
#endif
  RUN(buffer_puts_one_behind_the_other);
  RUN(buffer_is_terminated_at_every_size);
  RUN(buffer_formats_more_than_it_has_room_for);
  RUN(buffer_room_is_written_by_the_caller);
  RUN(buffer_clear_keeps_the_memory);
  RUN(buffer_take_gives_the_content_away);
  RUN(buffer_refuses_what_cannot_be);
  RUN(buffer_survives_without_memory);
  RUN(guid_is_made_of_version_4);
  RUN(guid_reads_what_people_write);
  RUN(guid_refuses_everything_else);
  RUN(guid_knows_the_null_one);
  RUN(error_has_what_it_was_made_of);
  RUN(error_may_say_nothing);
  RUN(error_is_retryable_as_its_facade_says);
  RUN(error_of_errno_says_what_and_where);
  RUN(error_keeps_a_path);
  RUN(error_is_shared_by_counting);
  RUN(error_frees_a_long_chain_of_causes);
  RUN(error_without_memory_is_never_changed);
  RUN(error_takes_over_a_second_cause);
  RUN(error_keeps_what_else_is_known);
  RUN(error_survives_without_memory);
  RUN(error_is_shared_between_threads);
  return check_end();
}
