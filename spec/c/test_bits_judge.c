/*
** What an answer is worth: the table by which a partial file is gone on with,
** row by row.
*/
#include "bits_judge_case.h"

/* ------------------------------------------------------------------
** What is known
** ---------------------------------------------------------------- */

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define B64 "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define LONG                                                                   \
  "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeo" \
  "GlODJ6+SfaPg=="
#define LONG_HEX                                                             \
  "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c" \
  "5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"

TEST(what_is_known_is_what_can_be_relied_on) {
  static const struct {
    const char *lines, *etag, *modified, *encoding, *digest, *if_range;
  } rows[] = {
      {"ETag: \"a\"", "\"a\"", NULL, NULL, NULL, "\"a\""},
      {"ETag: W/\"a\"", "W/\"a\"", NULL, NULL, NULL, NULL},
      {"ETag: a", NULL, NULL, NULL, NULL, NULL},
      {"ETag: \"a", NULL, NULL, NULL, NULL, NULL},
      {"ETag: \"a\"b\"", NULL, NULL, NULL, NULL, NULL},
      {"ETag: \"a b\"", NULL, NULL, NULL, NULL, NULL},
      {"ETag: \"\"", "\"\"", NULL, NULL, NULL, "\"\""},
      {"ETag: \"a\"|ETag: \"b\"", NULL, NULL, NULL, NULL, NULL},
      {"ETag: \"a\"|ETag: \"a\"", "\"a\"", NULL, NULL, NULL, "\"a\""},
      {OLD, NULL, NULL, NULL, NULL, NULL}, /* how old, nobody says */
      {OLD "|" DATE, NULL, &OLD[15], NULL, NULL, &OLD[15]},
      {NEW "|" DATE, NULL, NULL, NULL, NULL, NULL},
      {"Last-Modified: nonsense|" DATE, NULL, NULL, NULL, NULL, NULL},
      {"ETag: W/\"a\"|" OLD "|" DATE, "W/\"a\"", &OLD[15], NULL, NULL,
       &OLD[15]},
      {"ETag: \"a\"|" OLD "|" DATE, "\"a\"", &OLD[15], NULL, NULL, "\"a\""},
      {"Content-Encoding: gzip", NULL, NULL, "gzip", NULL, NULL},
      {"Content-Encoding: identity", NULL, NULL, NULL, NULL, NULL},
      {"Repr-Digest: sha-256=:" B64 ":", NULL, NULL, NULL, "sha-256:" HEX,
       NULL},
      {"Repr-Digest: sha-512=:AAAA:, sha-256=:" B64 ":;q=1", NULL, NULL, NULL,
       "sha-256:" HEX, NULL},
      {"Repr-Digest: sha-256=:AAAA:", NULL, NULL, NULL, NULL, NULL},
      {"Repr-Digest: sha-256=" B64, NULL, NULL, NULL, NULL, NULL},
      {"Digest: md5=AAAA,SHA-256=" B64, NULL, NULL, NULL, "sha-256:" HEX, NULL},
      {"Digest: SHA-256=" B64 "x", NULL, NULL, NULL, NULL, NULL},
      {"Repr-Digest: sha-512=:" B64 B64 ":", NULL, NULL, NULL, NULL, NULL},
      {"Digest: SHA-512=" LONG, NULL, NULL, NULL, "sha-512:" LONG_HEX, NULL},
      {"Content-Digest: sha-256=:" B64 ":", NULL, NULL, NULL, "sha-256:" HEX,
       NULL},
      {"Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==", NULL, NULL, NULL, NULL, NULL},
      {"x-amz-checksum-sha256: " B64, NULL, NULL, NULL, "sha-256:" HEX, NULL},
      {"x-amz-checksum-sha256: " B64 "-3", NULL, NULL, NULL, NULL, NULL},
      {"x-amz-checksum-sha256: " B64 "-100", NULL, NULL, NULL, NULL, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    http_answer a = answer(200, 77, rows[i].lines);
    bits_known *k = judge_know(&a);
    const char *got[] = {k->etag, k->modified, k->encoding, k->digest,
                         judge_if_range(k)};
    const char *right[] = {rows[i].etag, rows[i].modified, rows[i].encoding,
                           rows[i].digest, rows[i].if_range};
    for (int j = 0; j < 5; j++) {
      if ((got[j] == NULL) != (right[j] == NULL))
        printf("row %zu, %d: %s\n", i, j, got[j] != NULL ? got[j] : "(null)");
      CHECK((got[j] == NULL) == (right[j] == NULL));
      if (got[j] != NULL && right[j] != NULL) CHECK_TEXT(got[j], right[j]);
    }
    CHECK_INT(judge_can_resume(k), rows[i].if_range != NULL);
    CHECK_INT(k->total, 77);
    bits_known_free(k);
  }
  CHECK(!judge_can_resume(NULL) && judge_if_range(NULL) == NULL);
  http_answer a = part(10, 19, 300, "");
  bits_known *k = judge_know(&a);
  CHECK_INT(k->total, 300);
  bits_known_free(k);
  a = part(10, 19, 300,
           "Content-Digest: sha-256=:" B64 ":|x-amz-checksum-sha256: " B64);
  k = judge_know(&a);
  CHECK(k->digest == NULL); /* they are of the part */
  bits_known_free(k);
}

TEST(no_memory_is_no_knowledge) {
  http_answer a = answer(200, 7,
                         "ETag: \"a\"|" OLD "|" DATE
                         "|Content-Encoding: br|"
                         "Repr-Digest: sha-256=:" B64 ":");
  long before = mem_blocks();
  for (long n = 1;; n++) {
    mem_fail_at(n);
    bits_known *k = judge_know(&a);
    long left = mem_fail_left();
    mem_fail_at(0);
    CHECK((k != NULL) == (left > 0));
    if (k != NULL) CHECK(k->digest != NULL);
    bits_known_free(k);
    CHECK_INT(mem_blocks(), before);
    if (left > 0) break;
  }
}

/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

typedef struct table_row {
  const char *name;
  const char *etag, *modified, *encoding; /* known */
  uint64_t total;
  char ask; /* a: all; r: a range with If-Range; b: a bare one */
  uint8_t marks;
  unsigned status;
  uint64_t length, from, last, answer_total;
  const char *lines;
  judge_verdict verdict;
  bits_end end; /* of a failure */
  uint32_t code;
} table_row;

#define URL "http://h/f?token=canary-7"
#define A "\"a\""
#define TAG "ETag: \"a\""
#define ALL 100, 0, 0, U
#define PART 60, 40, 99, 100

/* 60 of 100 bytes are here, and it is asked for from 40. */
static const table_row table[] = {
    /* 200, fresh */
    {"fresh, a length", NULL, NULL, NULL, U, 'a', 0, 200, ALL, TAG, JUDGE_STORE,
     0, 0},
    {"fresh, chunks", NULL, NULL, NULL, U, 'a', 0, 200, U, 0, 0, U,
     "Transfer-Encoding: chunked", JUDGE_STORE, 0, 0},
    {"fresh, no end", NULL, NULL, NULL, U, 'a', 0, 200, U, 0, 0, U, "",
     JUDGE_STORE, 0, 0},
    {"fresh, although something is known", A, NULL, NULL, 100, 'a', 0, 200, 7,
     0, 0, U, "ETag: \"b\"", JUDGE_STORE, 0, 0},
    {"fresh, encoded", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Encoding: gzip", JUDGE_STORE, 0, 0},
    {"fresh, and says that it is all", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Range: bytes 0-99/100", JUDGE_STORE, 0, 0},
    {"fresh, and says nothing that is", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Range: all of it", JUDGE_STORE, 0, 0},
    {"fresh, and its beginning", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Range: bytes 0-99/200", JUDGE_FAIL, AGAIN, BAD},
    {"fresh, and its end", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Range: Bytes 100-199/200", JUDGE_FAIL, AGAIN, BAD},
    {"fresh, and its end, of how much", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Range: bytes 100-199/*", JUDGE_FAIL, AGAIN, BAD},
    {"fresh, and its end, badly written", NULL, NULL, NULL, U, 'a', 0, 200, ALL,
     "Content-Range: bytes=100-199/200", JUDGE_FAIL, AGAIN, BAD},
    {"fresh, and its end, without a space", NULL, NULL, NULL, U, 'a', 0, 200,
     ALL, "Content-Range: bytes100-199/1e9", JUDGE_FAIL, AGAIN, BAD},
    /* 200 instead of a part */
    {"another ETag", A, NULL, NULL, 100, 'r', 0, 200, ALL, "ETag: \"b\"",
     JUDGE_CHANGED, 0, 0},
    {"another ETag, and a length", A, NULL, NULL, 100, 'r', 0, 200, 70, 0, 0, U,
     "ETag: \"b\"", JUDGE_CHANGED, 0, 0},
    {"weak meanwhile", A, NULL, NULL, 100, 'r', 0, 200, ALL, "ETag: W/\"a\"",
     JUDGE_CHANGED, 0, 0},
    {"another date", NULL, &OLD[15], NULL, 100, 'r', 0, 200, ALL, OTHER,
     JUDGE_CHANGED, 0, 0},
    {"the ETag, another date", A, &OLD[15], NULL, 100, 'r', 0, 200, ALL,
     TAG "|" OTHER, JUDGE_CHANGED, 0, 0},
    {"two ETags", A, NULL, NULL, 100, 'r', 0, 200, ALL, TAG "|ETag: \"b\"",
     JUDGE_CHANGED, 0, 0},
    {"encoded meanwhile", A, NULL, NULL, 100, 'r', 0, 200, ALL,
     TAG "|Content-Encoding: gzip", JUDGE_CHANGED, 0, 0},
    {"decoded meanwhile", A, NULL, "gzip", 100, 'r', 0, 200, ALL, TAG,
     JUDGE_CHANGED, 0, 0},
    {"If-Range is not known", A, NULL, NULL, 100, 'r', 0, 200, ALL, TAG,
     JUDGE_BARE, 0, 0},
    {"If-Range is not known, by date", NULL, &OLD[15], NULL, 100, 'r', 0, 200,
     ALL, OLD, JUDGE_BARE, 0, 0},
    {"If-Range is not known, no length", A, NULL, NULL, 100, 'r', 0, 200, U, 0,
     0, U, TAG "|Transfer-Encoding: chunked", JUDGE_BARE, 0, 0},
    {"nor was the bare range", A, NULL, NULL, 100, 'b', BITS_FILE_BARE, 200,
     ALL, TAG, JUDGE_RESTART, 0, 0},
    {"the ETag, another length", A, NULL, NULL, 100, 'r', 0, 200, 70, 0, 0, U,
     TAG, JUDGE_FAIL, AGAIN, BAD},
    {"the ETag is gone", A, NULL, NULL, 100, 'r', 0, 200, ALL, "", JUDGE_FAIL,
     AGAIN, BAD},
    {"the ETag is gone, the date is not", A, &OLD[15], NULL, 100, 'r', 0, 200,
     ALL, OLD, JUDGE_FAIL, AGAIN, BAD},
    {"the date is gone", NULL, &OLD[15], NULL, 100, 'r', 0, 200, ALL, "",
     JUDGE_FAIL, AGAIN, BAD},
    {"there was none", NULL, NULL, NULL, 100, 'b', 0, 200, ALL, "",
     JUDGE_CHANGED, 0, 0},
    {"there was a weak one", "W/\"a\"", NULL, NULL, 100, 'b', 0, 200, ALL,
     "ETag: W/\"a\"", JUDGE_CHANGED, 0, 0},
    /* 206 */
    {"the part", A, NULL, NULL, 100, 'r', 0, 206, PART, TAG, JUDGE_CONTINUE, 0,
     0},
    {"the part, by date", NULL, &OLD[15], NULL, 100, 'r', 0, 206, PART, OLD,
     JUDGE_CONTINUE, 0, 0},
    {"the part, bare", A, NULL, NULL, 100, 'b', 0, 206, PART, TAG,
     JUDGE_CONTINUE, 0, 0},
    {"less than was asked for", A, NULL, NULL, 100, 'r', 0, 206, 10, 40, 49,
     100, TAG, JUDGE_CONTINUE, 0, 0},
    {"of nobody knows how much", A, NULL, NULL, 100, 'r', 0, 206, 60, 40, 99, U,
     TAG, JUDGE_CONTINUE, 0, 0},
    {"the whole was not known", A, NULL, NULL, U, 'r', 0, 206, PART, TAG,
     JUDGE_CONTINUE, 0, 0},
    {"If-Range says enough", NULL, &OLD[15], NULL, 100, 'r', 0, 206, PART, "",
     JUDGE_CONTINUE, 0, 0},
    {"but for an ETag", A, &OLD[15], NULL, 100, 'r', 0, 206, PART, OLD,
     JUDGE_RESTART, 0, 0},
    {"even a weak one", "W/\"a\"", &OLD[15], NULL, 100, 'r', 0, 206, PART, "",
     JUDGE_RESTART, 0, 0},
    {"which is enough then", "W/\"a\"", &OLD[15], NULL, 100, 'r', 0, 206, PART,
     "ETag: W/\"a\"", JUDGE_CONTINUE, 0, 0},
    {"without it the ETag is demanded", A, &OLD[15], NULL, 100, 'b', 0, 206,
     PART, OLD, JUDGE_RESTART, 0, 0},
    {"chunks", A, NULL, NULL, 100, 'r', 0, 206, U, 40, 99, 100, TAG,
     JUDGE_CONTINUE, 0, 0},
    {"the encoding as before", A, NULL, "gzip", 100, 'r', 0, 206, PART,
     TAG "|Content-Encoding: GZIP", JUDGE_CONTINUE, 0, 0},
    {"the encoding unsaid", A, NULL, "gzip", 100, 'r', 0, 206, PART, TAG,
     JUDGE_CONTINUE, 0, 0},
    {"another encoding", A, NULL, "gzip", 100, 'r', 0, 206, PART,
     TAG "|Content-Encoding: br", JUDGE_RESTART, 0, 0},
    {"encoded meanwhile (a part)", A, NULL, NULL, 100, 'r', 0, 206, PART,
     TAG "|Content-Encoding: br", JUDGE_RESTART, 0, 0},
    {"another ETag (a part)", A, NULL, NULL, 100, 'r', 0, 206, PART,
     "ETag: \"b\"", JUDGE_CHANGED, 0, 0},
    {"another date (a part)", A, &OLD[15], NULL, 100, 'r', 0, 206, PART,
     TAG "|" OTHER, JUDGE_CHANGED, 0, 0},
    {"another start", A, NULL, NULL, 100, 'r', 0, 206, 59, 41, 99, 100, TAG,
     JUDGE_RESTART, 0, 0},
    {"an earlier start", A, NULL, NULL, 100, 'r', 0, 206, 61, 39, 99, 100, TAG,
     JUDGE_RESTART, 0, 0},
    {"backwards", A, NULL, NULL, 100, 'r', 0, 206, 60, 40, 39, 100, TAG,
     JUDGE_RESTART, 0, 0},
    {"longer than it was", A, NULL, NULL, 100, 'r', 0, 206, 60, 40, 99, 101,
     TAG, JUDGE_RESTART, 0, 0},
    {"shorter than it was", A, NULL, NULL, 100, 'r', 0, 206, 50, 40, 89, 90,
     TAG, JUDGE_RESTART, 0, 0},
    {"beyond its end", A, NULL, NULL, 100, 'r', 0, 206, 61, 40, 100, U, TAG,
     JUDGE_RESTART, 0, 0},
    {"the last is the total", A, NULL, NULL, U, 'r', 0, 206, 60, 40, 99, 99,
     TAG, JUDGE_RESTART, 0, 0},
    {"a length of its own", A, NULL, NULL, 100, 'r', 0, 206, 59, 40, 99, 100,
     TAG, JUDGE_RESTART, 0, 0},
    {"two ranges", A, NULL, NULL, 100, 'r', 0, 206, PART,
     TAG "|Content-Range: bytes 40-99/100|Content-Range: bytes 0-9/100",
     JUDGE_RESTART, 0, 0},
    {"parts of parts", A, NULL, NULL, 100, 'r', 0, 206, PART,
     TAG "|Content-Type: multipart/byteranges; boundary=x", JUDGE_RESTART, 0,
     0},
    {"a part unasked", NULL, NULL, NULL, U, 'a', 0, 206, 100, 0, 99, 100, TAG,
     JUDGE_FAIL, AGAIN, BAD},
    {"a weak one proves nothing", "W/\"a\"", NULL, NULL, 100, 'b', 0, 206, PART,
     "ETag: W/\"a\"", JUDGE_RESTART, 0, 0},
    {"nor does none", NULL, NULL, NULL, 100, 'b', 0, 206, PART, "",
     JUDGE_RESTART, 0, 0},
    {"none, and it says If-Range", NULL, NULL, NULL, 100, 'r', 0, 206, PART, "",
     JUDGE_RESTART, 0, 0},
    /* 416 */
    {"416 with less here", A, NULL, NULL, 100, 'r', 0, 416, 0, 0, 0, U,
     "Content-Range: bytes */100", JUDGE_RESTART, 0, 0},
    {"416 of all", A, NULL, NULL, 60, 'r', 0, 416, 0, 0, 0, U,
     "Content-Range: bytes */60", JUDGE_HAVE_ALL, 0, 0},
    {"416 of all, unsaid", A, NULL, NULL, 60, 'r', 0, 416, 0, 0, 0, U, "",
     JUDGE_HAVE_ALL, 0, 0},
    {"416, another total", A, NULL, NULL, 60, 'r', 0, 416, 0, 0, 0, U,
     "Content-Range: bytes */61", JUDGE_RESTART, 0, 0},
    {"416, garbage", A, NULL, NULL, 60, 'r', 0, 416, 0, 0, 0, U,
     "Content-Range: bytes 60", JUDGE_RESTART, 0, 0},
    {"416, another ETag", A, NULL, NULL, 60, 'r', 0, 416, 0, 0, 0, U,
     "ETag: \"b\"", JUDGE_CHANGED, 0, 0},
    {"416, no validator", NULL, NULL, NULL, 60, 'b', 0, 416, 0, 0, 0, U, "",
     JUDGE_RESTART, 0, 0},
    {"416, how much is not known", A, NULL, NULL, U, 'r', 0, 416, 0, 0, 0, U,
     "Content-Range: bytes */60", JUDGE_RESTART, 0, 0},
    {"416 unasked", NULL, NULL, NULL, U, 'a', 0, 416, 0, 0, 0, U, "",
     JUDGE_FAIL, AGAIN, BAD},
    /* others */
    {"412", A, NULL, NULL, 100, 'r', 0, 412, 0, 0, 0, U, "", JUDGE_CHANGED, 0,
     0},
    {"412 unasked", NULL, NULL, NULL, U, 'a', 0, 412, 0, 0, 0, U, "",
     JUDGE_FAIL, FAILED, BG_E_HTTP(412)},
    {"204", A, NULL, NULL, 100, 'r', 0, 204, U, 0, 0, U, TAG, JUDGE_FAIL, AGAIN,
     BAD},
    {"304", A, NULL, NULL, 100, 'r', 0, 304, U, 0, 0, U, TAG, JUDGE_FAIL,
     FAILED, BG_E_HTTP(304)},
    {"203", NULL, NULL, NULL, U, 'a', 0, 203, ALL, TAG, JUDGE_FAIL, AGAIN, BAD},
    {"404", A, NULL, NULL, 100, 'r', 0, 404, 9, 0, 0, U, "", JUDGE_FAIL, FAILED,
     BG_E_HTTP(404)},
    {"503", A, NULL, NULL, 100, 'r', 0, 503, 9, 0, 0, U, "Retry-After: 4",
     JUDGE_FAIL, AGAIN, BG_E_HTTP(503)},
};

static judge_verdict judged(const table_row *row, const bits_terms *terms,
                            bits_result *r) {
  bits_known k = {.etag = (char *)(uintptr_t)row->etag,
                  .modified = (char *)(uintptr_t)row->modified,
                  .encoding = (char *)(uintptr_t)row->encoding,
                  .total = row->total};
  bool knows = row->ask != 'a' || row->etag != NULL;
  bits_file f = {.marks = row->marks,
                 .url = (char *)(uintptr_t)URL,
                 .known = knows ? &k : NULL,
                 .size = row->total};
  judge_asked asked = {.ranged = row->ask != 'a',
                       .from = 40,
                       .last = U,
                       .conditional = row->ask == 'r',
                       .known = knows ? &k : NULL};
  http_answer a = answer(row->status, row->length, row->lines);
  atomic_store(&f.have, 60);
  a.from = row->from;
  a.last = row->last;
  a.total = row->answer_total;
  memset(r, 0xA5, sizeof *r);
  return judge_answer(&asked, terms, &f, &a, r);
}

TEST(the_table) {
  bits_terms terms = {.restart_changed = true};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    const table_row *row = &table[i];
    bits_result r;
    judge_verdict verdict = judged(row, &terms, &r);
    if (verdict != row->verdict)
      printf("\"%s\": %d, not %d (%s)\n", row->name, (int)verdict,
             (int)row->verdict, r.why);
    CHECK(verdict == row->verdict);
    if (verdict == JUDGE_FAIL) {
      if (r.end != row->end || r.code != row->code)
        printf("\"%s\": %d 0x%x\n", row->name, (int)r.end, r.code);
      CHECK(r.end == row->end && r.code == row->code);
      CHECK(strstr(r.why, "http://h/f") != NULL);
      CHECK(strstr(r.why, "canary") == NULL);
    } else {
      CHECK(r.code == 0);
    }
  }
}

TEST(what_has_changed_may_be_an_error) {
  bits_terms terms = {.restart_changed = false};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    bits_result r;
    if (table[i].verdict != JUDGE_CHANGED) continue;
    CHECK_INT(judged(&table[i], &terms, &r), JUDGE_FAIL);
    CHECK_INT(r.end, FAILED);
    CHECK_INT(r.code, BG_E_HTTP(412));
    CHECK_INT(r.transport, 0);
  }
}

TEST(a_length_can_be_demanded_and_bounded) {
  bits_terms terms = {.length_required = true};
  bits_result r;
  CHECK_INT(judged(&table[0], &terms, &r), JUDGE_STORE);
  CHECK_INT(judged(&table[1], &terms, &r), JUDGE_STORE); /* chunks end */
  CHECK_INT(judged(&table[2], &terms, &r), JUDGE_FAIL);
  CHECK_INT(r.end, FAILED);
  CHECK_INT(r.code, BG_E_MISSING_FILE_SIZE);
  terms.most = 100;
  CHECK_INT(judged(&table[0], &terms, &r), JUDGE_STORE);
  terms.most = 99;
  CHECK_INT(judged(&table[0], &terms, &r), JUDGE_FAIL);
  CHECK_INT(r.code, BG_E_TOO_LARGE);
  CHECK_INT(r.end, FAILED);
}

TEST(ranges_of_a_file_are_nothing_else) {
  bits_range range = {40, 20};
  bits_extra extra = {.ranges = &range, .range_count = 1};
  bits_terms terms = {.restart_changed = true};
  bits_known k = {.etag = (char *)(uintptr_t)A, .total = 100};
  bits_file f = {.url = (char *)(uintptr_t)URL, .extra = &extra};
  judge_asked asked = {.ranged = true, .from = 40, .last = 59};
  bits_result r;
  http_answer a = part(40, 59, 100, TAG);
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_CONTINUE);
  a = part(40, 60, 100, TAG); /* more than was asked for */
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_RESTART);
  a = answer(200, 100, TAG);
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_FAIL);
  CHECK_INT(r.code, BG_E_INSUFFICIENT_RANGE_SUPPORT);
  CHECK_INT(r.end, FAILED);
  a = answer(416, 0, "Content-Range: bytes */30");
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_FAIL);
  CHECK_INT(r.code, BG_E_INVALID_RANGE);
  asked.known = f.known = &k;
  asked.conditional = true;
  a = answer(200, 100, "ETag: \"b\"");
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_CHANGED);
  a = answer(200, 100, TAG);
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_BARE);
  asked.conditional = false;
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_FAIL);
  CHECK_INT(r.code, BG_E_INSUFFICIENT_RANGE_SUPPORT);
  asked.from = 100;
  a = answer(416, 0, "Content-Range: bytes */100");
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_FAIL);
  CHECK_INT(r.code, BG_E_INVALID_RANGE);
  a = answer(416, 0, "Content-Range: bytes */99");
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_RESTART);
  asked.from = 40;
  /* Of a file that is wanted as a whole nothing is a part from the start. */
  f.extra = NULL;
  f.known = NULL;
  asked.known = NULL;
  a = part(40, 59, 100, TAG);
  CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_RESTART);
}

TEST(what_http_found_wrong_is_not_believed) {
  bits_terms terms = {.restart_changed = true};
  bits_known k = {.etag = (char *)(uintptr_t)A, .total = 100};
  bits_file f = {.url = (char *)(uintptr_t)URL, .known = &k};
  judge_asked asked = {
      .ranged = true, .from = 40, .last = U, .conditional = true, .known = &k};
  bits_result r;
  for (int end = HTTP_CANCELLED; end < HTTP_ENDS; end++) {
    http_answer a = part(40, 99, 100, TAG);
    a.end = (http_end)end;
    CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r),
              end == HTTP_WRONG ? JUDGE_RESTART : JUDGE_FAIL);
    asked.ranged = false;
    CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_FAIL);
    CHECK(r.code != 0 && r.why[0] != '\0');
    asked.ranged = true;
  }
}

TEST(what_makes_no_sense_is_borne_three_times) {
  bits_terms terms = {.restart_changed = true};
  bits_file f = {.url = (char *)(uintptr_t)URL};
  judge_asked asked = {.last = U};
  for (uint8_t wrongs = 0; wrongs < 6; wrongs++) {
    bits_result r;
    http_answer a = answer(204, U, TAG);
    f.wrongs = wrongs;
    CHECK_INT(judge_answer(&asked, &terms, &f, &a, &r), JUDGE_FAIL);
    CHECK_INT(r.end, wrongs < 3 ? AGAIN : FAILED);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(what_is_known_is_what_can_be_relied_on);
  RUN(no_memory_is_no_knowledge);
  RUN(the_table);
  RUN(what_has_changed_may_be_an_error);
  RUN(a_length_can_be_demanded_and_bounded);
  RUN(ranges_of_a_file_are_nothing_else);
  RUN(what_http_found_wrong_is_not_believed);
  RUN(what_makes_no_sense_is_borne_three_times);
  http_head_free(&head);
  return check_end();
}
