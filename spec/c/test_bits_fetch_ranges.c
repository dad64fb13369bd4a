/*
** A file that is made of ranges of another: they stand one after the other, all
** of one version, or it is none.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "bits_fetch_case.h"

static bed b;

static void make(const char *name, const char *plan, const bits_range *ranges,
                 uint32_t count) {
  char query[256];
  snprintf(query, sizeof query, "size=60000&plan=%s", plan);
  bed_make(&b, name, query);
  b.f->extra = mem_zero(sizeof *b.f->extra);
  b.f->extra->ranges = mem_alloc(count * sizeof *ranges);
  memcpy(b.f->extra->ranges, ranges, count * sizeof *ranges);
  b.f->extra->range_count = count;
}

/* What it should be, of this version. */
static bool is_right(unsigned version) {
  const char *name = strrchr(b.path, '/') + 1;
  unsigned char *all = server_content(name, 60000, version);
  size_t size = 0;
  unsigned char *parts = malloc(60000);
  for (uint32_t i = 0; i < b.f->extra->range_count; i++) {
    const bits_range *r = &b.f->extra->ranges[i];
    size_t n =
        (size_t)(r->length == BITS_UNKNOWN ? 60000 - r->offset : r->length);
    memcpy(parts + size, all + r->offset, n);
    size += n;
  }
  bool same = file_has(b.path, parts, size) && b.f->size == size;
  free(parts);
  free(all);
  return same;
}

static bool comes(unsigned tries, unsigned version) {
  bits_end end = bed_carry(&b, tries);
  if (end == BITS_END_WHOLE) end = bed_finish(&b);
  if (end != BITS_END_WHOLE)
    printf("%d 0x%08x %s\n", (int)end, b.result.code, b.result.why);
  return end == BITS_END_WHOLE && is_right(version);
}

static const bits_range three[] = {
    {100, 5000}, {20000, 10000}, {50000, BITS_UNKNOWN}};
static const bits_range two[] = {{0, 10}, {59999, 1}};

TEST(one_after_the_other) {
  make("three", "ok", three, 3);
  CHECK(comes(1, 0));
  CHECK_INT(b.f->size, 25000);
  CHECK_INT(server_count("/f/three"), 3);
  CHECK_INT(b.begun, 1);
  char *log = server_told("!log?of=/f/three");
  CHECK(strstr(log, "bytes=100-5099") != NULL);
  CHECK(strstr(log, "bytes=20000-29999") != NULL);
  CHECK(strstr(log, "bytes=50000-") != NULL);
  free(log);
  bed_end(&b);
  make("two", "ok", two, 2);
  CHECK(comes(1, 0));
  bed_end(&b);
  make("one", "bare", two, 1); /* alone it needs no validator */
  CHECK(comes(1, 0));
  bed_end(&b);
}

TEST(it_is_gone_on_with) {
  make("on", "ok,drop:3000,ok,drop:7000,ok", three, 3);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(atomic_load(&b.f->have), 8000);
  CHECK(comes(3, 0));
  CHECK_INT(b.commits, 0);
  bed_end(&b);
  make("crash", "ok,drop:3000,ok", three, 3);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  bed_crash(&b);
  CHECK(comes(3, 0));
  bed_end(&b);
  make("all", "ok", three, 3);
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(comes(1, 0)); /* all is here */
  bed_end(&b);
}

TEST(short_ones_are_put_together) {
  make("short", "range:short:6000", three, 3);
  CHECK(comes(1, 0));
  bed_end(&b);
}

TEST(of_one_version) {
  make("changes", "ok,version:1", three, 3);
  CHECK(comes(5, 1));
  CHECK_INT(b.commits, 1);
  bed_end(&b);
  /* It changes all the time: that is no reason to ask without a pause. */
  make("never",
       "ok,version:1,version:1,version:2,version:2,version:3,"
       "version:3,version:4,version:4",
       three, 3);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(comes(8, 4));
  bed_end(&b);
  make("ignored", "if-range:ignored,if-range:ignored+version:1", three, 3);
  CHECK(comes(5, 1));
  bed_end(&b);
}

static void fails(uint32_t code) {
  CHECK_INT(bed_carry(&b, 5), BITS_END_FAILED);
  CHECK_INT(b.result.code, code);
  CHECK_INT(b.result.context, BITS_CONTEXT_REMOTE);
  CHECK(strncmp(b.result.why, "http://127.0.0.1:", 17) == 0);
  CHECK(access(b.path, F_OK) != 0);
  bed_end(&b);
}

TEST(what_is_no_part_of_it) {
  static const bits_range beyond[] = {{10, 10}, {59990, 20}};
  static const bits_range behind[] = {{10, 10}, {60000, 20}};
  static const bits_range only[] = {{70000, 20}};
  make("beyond", "ok", beyond, 2);
  fails(BG_E_INVALID_RANGE);
  make("behind", "ok", behind, 2);
  fails(BG_E_INVALID_RANGE);
  make("only", "ok", only, 1);
  fails(BG_E_INVALID_RANGE);
}

TEST(a_server_that_cannot) {
  make("rangeless", "no-range", three, 3);
  fails(BG_E_INSUFFICIENT_RANGE_SUPPORT);
  make("later", "ok,no-range", three, 3);
  fails(BG_E_INSUFFICIENT_RANGE_SUPPORT);
  make("nameless", "bare", three, 3);
  fails(BG_E_INSUFFICIENT_RANGE_SUPPORT);
}

int main(int argc, char **argv) {
  if (!bed_suite_begin(argc, argv)) return server_missing();
  GATE_RUN(one_after_the_other);
  GATE_RUN(it_is_gone_on_with);
  GATE_RUN(short_ones_are_put_together);
  GATE_RUN(of_one_version);
  GATE_RUN(what_is_no_part_of_it);
  GATE_RUN(a_server_that_cannot);
  return bed_suite_end();
}
