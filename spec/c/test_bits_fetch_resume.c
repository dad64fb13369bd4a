/*
** Going on with what is here: where it is right, and where it is not. The file
** is
** one version of what the server has, whole, whatever happens between.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "bits_fetch_case.h"

static bed b;

/* ------------------------------------------------------------------
** Where it is right
** ---------------------------------------------------------------- */

TEST(at_every_offset) {
  static const unsigned offsets[] = {0,    1,     4095,  4096, 4097,
                                     8192, 50000, 59999, 60000};
  for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
    char name[32], query[128], range[64];
    snprintf(name, sizeof name, "at%zu", i);
    snprintf(query, sizeof query, "size=60000&plan=%s:%u,ok",
             i % 2 ? "drop" : "reset", offsets[i]);
    bed_make(&b, name, query);
    bits_end end = bed_try(&b);
    if (offsets[i] < 60000) CHECK_INT(end, BITS_END_AGAIN);
    CHECK_INT(atomic_load(&b.f->have), offsets[i]);
    CHECK_INT(b.result.moved, offsets[i] > 0);
    CHECK(bed_comes(&b, 1, 60000, 0));
    CHECK_INT(ranges_asked(name), offsets[i] > 0);
    unsigned from = offsets[i] < 4096 ? 0 : offsets[i] - 4096;
    snprintf(range, sizeof range, "\"range\": \"bytes=%u-\"", from);
    if (offsets[i] > 0 && offsets[i] < 60000) {
      CHECK(log_has(name, range));
      CHECK(log_has(name, "\"if-range\""));
      CHECK_INT(b.commits, 0); /* it is the same one */
    }
    bed_end(&b);
  }
}

/* All is here, and only nobody noted it. */
TEST(when_all_is_here) {
  bed_make(&b, "all", "size=60000");
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK(log_has("all", "\"range\": \"bytes=55904-\""));
  bed_end(&b);
  bed_make(&b, "allbut", "size=60000&plan=ok,416:60000,ok");
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK_INT(bed_try(&b), BITS_END_WHOLE); /* it has all: so the server */
  CHECK_INT(server_count("/f/allbut"), 2);
  CHECK_INT(bed_finish(&b), BITS_END_WHOLE);
  CHECK(bed_has(&b, 60000, 0));
  bed_end(&b);
}

TEST(by_a_date_where_there_is_no_tag) {
  bed_make(&b, "date", "size=60000&all=etag:none&plan=drop:30000,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK_INT(ranges_asked("date"), 1);
  bed_end(&b);
}

TEST(short_parts_are_put_together) {
  bed_make(&b, "short", "size=60000&plan=drop:10000,range:short:15000");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK_INT(b.begun, 1);
  bed_end(&b);
  /* Those that are never more than what is here lead nowhere. */
  bed_make(&b, "tiny", "size=60000&plan=drop:10000,range:short:4000");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(b.result.code, BG_E_INSUFFICIENT_RANGE_SUPPORT);
  CHECK(!b.result.moved);
  CHECK_INT(atomic_load(&b.f->have), 10000);
  bed_end(&b);
}

TEST(a_total_that_is_not_known) {
  bed_make(&b, "star", "size=60000&plan=chunked+drop:30000,range:star");
  b.terms->length_required = false;
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK_INT(server_count("/f/star"), 3); /* it asked what comes behind */
  bed_end(&b);
  bed_make(&b, "starting", "size=60000&plan=chunked+drop:30000,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(b.f->known->total == BITS_UNKNOWN);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK(b.f->known->total == 60000);
  bed_end(&b);
}

/* Cut at seeded bytes until it is whole. */
TEST(cut_again_and_again) {
  unsigned seed = 20260101;
  for (int round = 0; round < 6; round++) {
    char query[512] = "size=150000&plan=";
    for (int i = 0; i < 8; i++) {
      seed = seed * 1103515245 + 12345;
      snprintf(query + strlen(query), sizeof query - strlen(query), "%s:%u,",
               (seed >> 30) & 1 ? "drop" : "reset", 4097 + (seed >> 8) % 30000);
    }
    strcat(query, "ok");
    char name[32];
    snprintf(name, sizeof name, "cut%d", round);
    bed_make(&b, name, query);
    CHECK(bed_comes(&b, 20, 150000, 0));
    CHECK_INT(b.commits, 0);
    bed_end(&b);
  }
}

TEST(what_moves_is_more_than_ever) {
  bed_make(&b, "moves", "size=60000&plan=drop:30000,drop:0,drop:5000,ok");
  bed_try(&b);
  CHECK(b.result.moved);
  bed_try(&b);
  CHECK(!b.result.moved);
  bed_try(&b);
  CHECK(b.result.moved);
  CHECK(bed_comes(&b, 1, 60000, 0));
  bed_end(&b);
  /* Without a validator nothing is ever kept. */
  bed_make(&b, "standing", "size=60000&all=bare&plan=drop:30000,drop:40000,ok");
  bed_try(&b);
  CHECK(!b.result.moved);
  bed_try(&b);
  CHECK(!b.result.moved);
  CHECK(bed_comes(&b, 1, 60000, 0));
  CHECK_INT(ranges_asked("standing"), 0);
  bed_end(&b);
}

/* ------------------------------------------------------------------
** Where it is not
** ---------------------------------------------------------------- */

typedef struct turn {
  const char *name, *plan;
  unsigned version; /* of what comes in the end */
  unsigned commits; /* that something was forgotten; 99: any */
} turn;

static const turn turns[] = {
    {"changed", "drop:30000,version:1", 1, 1},
    {"twice", "drop:30000,version:1,version:1+drop:20000,version:2", 2, 2},
    {"weak", "etag:weak+drop:30000,etag:weak+version:1", 1, 1},
    {"weaker", "etag:weak+modified:none+drop:30000,version:1", 1, 1},
    {"dated", "etag:none+drop:30000,etag:none+version:1", 1, 1},
    {"bare", "bare+drop:30000,bare+version:1", 1, 1},
    {"young", "etag:none+modified:new+drop:30000,ok", 0, 1},
    {"tagged", "drop:30000,tag:7", 0, 1},
    {"rangeless", "drop:30000,no-range", 0, 1},
    {"ignored", "drop:30000,if-range:ignored", 0, 0},
    {"ignoring", "drop:30000,if-range:ignored+version:1", 1, 1},
    {"refused", "drop:30000,if-range:refused", 0, 0},
    {"refusing", "drop:30000,if-range:refused+version:1", 1, 1},
    /* The same validators, and other bytes: mirrors that disagree. */
    {"lying", "drop:30000,bytes:1", 1, 1},
    {"shift", "drop:30000,range:shift,ok", 0, 1},
    {"lie", "drop:30000,range:lie:7,ok", 0, 1},
    {"earlier", "drop:30000,range:earlier:5,ok", 0, 1},
    {"rangenone", "drop:30000,range:none,ok", 0, 1},
    {"garbage", "drop:30000,range:garbage,ok", 0, 1},
    {"items", "drop:30000,range:items,ok", 0, 1},
    {"backward", "drop:30000,range:backward,ok", 0, 1},
    {"total", "drop:30000,range:total:5,ok", 0, 1},
    {"badtotal", "drop:30000,range:bad-total,ok", 0, 1},
    {"two", "drop:30000,range:two:5,ok", 0, 1},
    {"multipart", "drop:30000,range:multipart,ok", 0, 1},
    {"long", "drop:30000,range:long:50,ok", 0, 1},
    {"beyond", "drop:30000,416:20000,ok", 0, 1},
    {"beyondall", "drop:30000,416:none,ok", 0, 1},
    {"zipped", "drop:30000,encoding:gzip,ok", 0, 99},
    {"unzipped", "encoding:gzip+drop:30000,ok", 0, 99},
    {"always", "drop:30000,range:shift,drop:30000,range:shift,drop:100,ok", 0,
     99},
    {"busy", "drop:30000,503,drop:10000,500,ok", 0, 0},
    {"silent", "drop:30000,bare,ok", 0, 0},
};

TEST(what_changes_between) {
  for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
    const turn *t = &turns[i];
    char query[256];
    snprintf(query, sizeof query, "size=60000&plan=%s", t->plan);
    bed_make(&b, t->name, query);
    bool came = bed_comes(&b, 12, 60000, t->version);
    if (!came || (t->commits != 99 && b.commits != t->commits)) {
      check_bad++;
      printf("%s: %u commits\n", t->plan, b.commits);
    }
    bed_end(&b);
  }
}

/* The same validator and another length: somebody between us and the server. */
TEST(a_page_in_between) {
  bed_make(&b, "page", "size=60000&plan=drop:30000,200:9,302,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  bits_end end = bed_try(&b);
  CHECK(end == BITS_END_AGAIN);
  CHECK_INT(atomic_load(&b.f->have), 30000); /* kept */
  CHECK_INT(b.commits, 0);
  bed_end(&b);
}

TEST(who_forbids_to_begin_again) {
  bed_make(&b, "forbids", "size=60000&plan=drop:30000,version:1");
  b.terms->restart_changed = false;
  CHECK_INT(bed_carry(&b, 5), BITS_END_FAILED);
  CHECK_INT(b.commits, 0);
  CHECK_INT(atomic_load(&b.f->have), 30000);
  bed_end(&b);
}

TEST(who_is_dynamic_is_never_gone_on_with) {
  bed_make(&b, "dynamic", "size=60000&plan=drop:30000,ok");
  b.terms->dynamic = true;
  CHECK(bed_comes(&b, 5, 60000, 0));
  CHECK_INT(ranges_asked("dynamic"), 0);
  CHECK_INT(b.commits, 1);
  bed_end(&b);
}

/* It is not asked for ever what it does not do. */
TEST(ranges_are_given_up) {
  bed_make(&b, "givenup",
           "size=60000&plan=drop:30000,no-range+drop:50000,"
           "drop:50000,drop:50000,ok");
  CHECK(bed_comes(&b, 12, 60000, 0));
  CHECK((b.f->marks & BITS_FILE_NO_RANGE) != 0 || ranges_asked("givenup") < 4);
  bed_end(&b);
  bed_make(&b, "giveup",
           "size=60000&plan=drop:30000,range:shift,drop:30000,"
           "range:shift,drop:30000,drop:40000,ok");
  CHECK(bed_comes(&b, 12, 60000, 0));
  CHECK((b.f->marks & BITS_FILE_NO_RANGE) != 0);
  CHECK_INT(ranges_asked("giveup"), 2);
  bed_end(&b);
}

int main(int argc, char **argv) {
  if (!bed_suite_begin(argc, argv)) return server_missing();
  GATE_RUN(at_every_offset);
  GATE_RUN(when_all_is_here);
  GATE_RUN(by_a_date_where_there_is_no_tag);
  GATE_RUN(short_parts_are_put_together);
  GATE_RUN(a_total_that_is_not_known);
  GATE_RUN(cut_again_and_again);
  GATE_RUN(what_moves_is_more_than_ever);
  GATE_RUN(what_changes_between);
  GATE_RUN(a_page_in_between);
  GATE_RUN(who_forbids_to_begin_again);
  GATE_RUN(who_is_dynamic_is_never_gone_on_with);
  GATE_RUN(ranges_are_given_up);
  return bed_suite_end();
}
