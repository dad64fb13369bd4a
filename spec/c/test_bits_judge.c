/*
** What an answer is worth, row by row: every end and every status of a request
** that failed, and the table by which a partial file is gone on with.
*/
#include <errno.h>

#include <curl/curl.h>

#include "bits/judge.h"
#include "check.h"
#include "http/http_parts.h"

__attribute__((weak)) const saros_api *saros_api_table;

#define URL "http://h/f?token=canary-7"
#define DATE "Date: Tue, 14 Nov 2023 23:13:20 GMT"
#define OLD "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"
#define OTHER "Last-Modified: Tue, 14 Nov 2023 22:13:21 GMT"
#define NEW "Last-Modified: Tue, 14 Nov 2023 23:12:50 GMT"
#define U HTTP_UNKNOWN

static http_head head;

/* An answer with these lines of a header ("a: b|c: d"). */
static http_answer answer(unsigned status, uint64_t length, const char *lines) {
  char text[1024], *rest, *line;
  int n = snprintf(text, sizeof text, "HTTP/1.1 %u x\r\n", status);
  http_head_clear(&head);
  CHECK(http_head_line(&head, text, (size_t)n) == NULL);
  snprintf(text, sizeof text, "%s", lines);
  for (line = strtok_r(text, "|", &rest); line != NULL;
       line = strtok_r(NULL, "|", &rest))
    CHECK(http_head_line(&head, line, strlen(line)) == NULL);
  CHECK(http_head_line(&head, "\r\n", 2) == NULL);
  return (http_answer){.end = HTTP_WHOLE,
                       .status = status,
                       .length = length,
                       .total = U,
                       .fields = &head,
                       .why = ""};
}

static http_answer part(uint64_t from, uint64_t last, uint64_t total,
                        const char *lines) {
  http_answer a = answer(206, last - from + 1, lines);
  a.from = from;
  a.last = last;
  a.total = total;
  return a;
}

/* ------------------------------------------------------------------
** Failures
** ---------------------------------------------------------------- */

typedef struct fail_row {
  http_end end;
  unsigned status;
  int curl, number;
  bits_end first, often; /* the first time, and the fourth */
  uint32_t code;
  bits_context context;
  uint32_t win32, transport;
  bool gate;
} fail_row;

#define REMOTE BITS_CONTEXT_REMOTE
#define TRANSPORT BITS_CONTEXT_TRANSPORT
#define QUEUE BITS_CONTEXT_QUEUE
#define AGAIN BITS_END_AGAIN
#define FAILED BITS_END_FAILED
#define OFFLINE BITS_END_OFFLINE
#define STOPPED BITS_END_STOPPED
#define BAD BG_E_INVALID_SERVER_RESPONSE

/* With a network. */
static const fail_row fails[] = {
    {HTTP_CANCELLED, 0, 0, 0, STOPPED, STOPPED, BG_E_REQUEST_CANCELED, QUEUE, 0,
     0, false},
    {HTTP_STOPPED, 200, 0, 0, STOPPED, STOPPED, BG_E_REQUEST_CANCELED, QUEUE, 0,
     0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, ECONNREFUSED, AGAIN, AGAIN,
     BG_E_CONNECT_FAILURE, TRANSPORT, 1225, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, EHOSTUNREACH, AGAIN, AGAIN,
     BG_E_CONNECT_FAILURE, TRANSPORT, 1232, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, EHOSTDOWN, AGAIN, AGAIN,
     BG_E_CONNECT_FAILURE, TRANSPORT, 1232, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, ENETUNREACH, OFFLINE, OFFLINE,
     BG_E_NETWORK_DISCONNECTED, TRANSPORT, 1231, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, ENETDOWN, OFFLINE, OFFLINE,
     BG_E_NETWORK_DISCONNECTED, TRANSPORT, 1231, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, ETIMEDOUT, AGAIN, AGAIN,
     BG_E_TIMEOUT, TRANSPORT, 1460, 0, false},
    {HTTP_UNREACHED, 0, CURLE_OPERATION_TIMEDOUT, 0, AGAIN, AGAIN, BG_E_TIMEOUT,
     TRANSPORT, 1460, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, EACCES, AGAIN, AGAIN,
     BG_E_CONNECT_FAILURE, TRANSPORT, 12029, 0, false},
    {HTTP_UNREACHED, 0, CURLE_PROXY, 0, AGAIN, AGAIN, BG_E_CONNECT_FAILURE,
     TRANSPORT, 12029, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_RESOLVE_HOST, 0, AGAIN, AGAIN,
     BG_E_NAME_RESOLUTION_FAILURE, TRANSPORT, 12007, 0, false},
    {HTTP_UNREACHED, 0, CURLE_COULDNT_RESOLVE_PROXY, 0, AGAIN, AGAIN,
     BG_E_PROXY_NAME_RESOLUTION_FAILURE, TRANSPORT, 12007, 0, false},
    {HTTP_UNREACHED, 0, CURLE_SSL_CONNECT_ERROR, 0, AGAIN, FAILED,
     BG_E_SECURE_CHANNEL_FAILURE, TRANSPORT, 0, 0, false},
    {HTTP_CUT, 0, CURLE_GOT_NOTHING, 0, AGAIN, AGAIN, BG_E_CONNECTION_CLOSED,
     TRANSPORT, 12030, 0, false},
    {HTTP_CUT, 200, CURLE_PARTIAL_FILE, 0, AGAIN, AGAIN, BG_E_CONNECTION_CLOSED,
     TRANSPORT, 12030, 0, false},
    {HTTP_STALLED, 206, 0, 0, AGAIN, AGAIN, BG_E_TIMEOUT, TRANSPORT, 1460, 0,
     false},
    {HTTP_WRONG, 0, 0, 0, AGAIN, FAILED, BAD, REMOTE, 0, 0, false},
    {HTTP_WRONG, 200, 0, 0, AGAIN, FAILED, BAD, REMOTE, 0, 0, false},
    {HTTP_WRONG, 500, 0, 0, AGAIN, FAILED, BAD, REMOTE, 0, 500, false},
    {HTTP_TOO_LARGE, 0, 0, 0, AGAIN, FAILED, BAD, REMOTE, 0, 0, false},
    {HTTP_TOO_LARGE, 200, 0, 0, FAILED, FAILED, BG_E_TOO_LARGE, REMOTE, 0, 0,
     false},
    {HTTP_UNTRUSTED, 0, CURLE_PEER_FAILED_VERIFICATION, 0, FAILED, FAILED,
     BG_E_TRUST_FAILURE, TRANSPORT, 0, 0, false},
    {HTTP_ASTRAY, 302, 0, 0, FAILED, FAILED, BAD, REMOTE, 0, 302, false},
    {HTTP_MISUSED, 0, 0, 0, FAILED, FAILED, SAROS_E_INVALIDARG, QUEUE, 0, 0,
     false},
    {HTTP_FAILED, 0, 0, 0, AGAIN, AGAIN, SAROS_E_OUTOFMEMORY, QUEUE, 0, 0,
     false},
};

static void check_fail(const fail_row *row, unsigned tries, bits_end end) {
  http_answer a = answer(row->status == 0 ? 200 : row->status, U, "");
  bits_result r;
  a.end = row->end;
  a.status = row->status;
  a.curl = row->curl;
  a.number = row->number;
  a.url = "http://h/f";
  a.why = "it broke";
  memset(&r, 0xA5, sizeof r);
  judge_failure(&a, tries, &r);
  CHECK_INT(r.end, end);
  CHECK_INT(r.code, row->code);
  CHECK_INT(r.context, row->context);
  CHECK_INT(r.win32, row->win32);
  CHECK_INT(r.transport, row->transport);
  CHECK_INT(r.gate_host, row->gate);
  CHECK(!r.has_wait && r.wait_ms == 0);
  CHECK(!r.moved && !r.proven && !r.verified);
  CHECK(strncmp(r.why, "http://h/f: ", 12) == 0 && strlen(r.why) > 20);
}

TEST(every_end_has_a_row) {
  bool seen[HTTP_ENDS] = {[HTTP_WHOLE] = true};
  judge_pretend(1);
  for (size_t i = 0; i < sizeof fails / sizeof fails[0]; i++) {
    const fail_row *row = &fails[i];
    seen[row->end] = true;
    for (unsigned tries = 0; tries < 6; tries++)
      check_fail(row, tries, tries < 3 ? row->first : row->often);
  }
  for (int end = 0; end < HTTP_ENDS; end++) CHECK(seen[end]);
  judge_pretend(0);
}

TEST(without_a_network_names_and_hosts_wait_for_one) {
  static const fail_row none[] = {
      {HTTP_UNREACHED, 0, CURLE_COULDNT_RESOLVE_HOST, 0, OFFLINE, OFFLINE,
       BG_E_NETWORK_DISCONNECTED, TRANSPORT, 1231, 0, false},
      {HTTP_UNREACHED, 0, CURLE_COULDNT_RESOLVE_PROXY, 0, OFFLINE, OFFLINE,
       BG_E_NETWORK_DISCONNECTED, TRANSPORT, 1231, 0, false},
      {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, EHOSTUNREACH, OFFLINE, OFFLINE,
       BG_E_NETWORK_DISCONNECTED, TRANSPORT, 1231, 0, false},
      {HTTP_UNREACHED, 0, CURLE_COULDNT_CONNECT, ECONNREFUSED, AGAIN, AGAIN,
       BG_E_CONNECT_FAILURE, TRANSPORT, 1225, 0, false},
  };
  judge_pretend(2);
  CHECK(!judge_has_network());
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
    check_fail(&none[i], 0, none[i].first);
  judge_pretend(1);
  CHECK(judge_has_network());
  judge_pretend(0);
}

/* What passes: 408 425 429 500 502 503 504 509 520-527 529, and 423 and 511. */
static bool passes(unsigned status) {
  switch (status) {
    case 408:
    case 423:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
    case 509:
    case 511:
    case 529: return true;
    default: return status >= 520 && status <= 527;
  }
}

TEST(every_status_has_a_row) {
  for (unsigned status = 200; status <= 999; status++) {
    bits_result r;
    http_answer a = answer(status, 5, "Retry-After: 7");
    bool borne =
        status < 300 || status == 416 || status == 417 || status == 421;
    a.url = "http://h/f";
    judge_failure(&a, 0, &r);
    CHECK_INT(r.end, passes(status) || borne ? AGAIN : FAILED);
    CHECK_INT(r.code, status < 300 ? BAD : BG_E_HTTP(status));
    CHECK_INT(r.transport, status);
    CHECK_INT(r.win32, 0);
    CHECK_INT(r.context, status == 407 ? TRANSPORT : REMOTE);
    CHECK_INT(r.has_wait, passes(status));
    CHECK_INT(r.wait_ms, passes(status) ? 7000 : 0);
    CHECK_INT(r.gate_host, passes(status));
    judge_failure(&a, 3, &r);
    CHECK_INT(r.end, passes(status) ? AGAIN : FAILED);
  }
}

TEST(it_is_the_host_that_needs_a_rest) {
  static const unsigned rests[] = {429, 502, 503, 504, 509, 520, 527, 529};
  for (unsigned status = 400; status <= 599; status++) {
    bits_result r;
    bool gate = false;
    http_answer a = answer(status, 5, "");
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++)
      if (rests[i] == status || (status > 520 && status < 527)) gate = true;
    judge_failure(&a, 0, &r);
    CHECK_INT(r.gate_host, gate);
    CHECK(!r.has_wait);
  }
}

TEST(retry_after_is_a_time_or_nothing) {
  static const struct {
    const char *lines;
    bool has;
    uint64_t ms;
  } rows[] = {
      {"Retry-After: 0", true, 0},
      {"Retry-After: 3599", true, 3599000},
      {"Retry-After: 3601", true, 3600000},
      {"Retry-After: 900000000000000000", true, 3600000},
      {"Retry-After: 999999999999999999999999999999", false, 0},
      {"Retry-After: -5", false, 0},
      {"Retry-After: soon", false, 0},
      {"Retry-After:", false, 0},
      {DATE "|Retry-After: Tue, 14 Nov 2023 23:13:50 GMT", true, 30000},
      {DATE "|Retry-After: Tue, 14 Nov 2023 23:13:19 GMT", true, 0},
      {DATE "|Retry-After: Wed, 14 Nov 2029 23:13:19 GMT", true, 3600000},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bits_result r;
    http_answer a = answer(503, 5, rows[i].lines);
    judge_failure(&a, 9, &r);
    CHECK_INT(r.end, AGAIN);
    CHECK_INT(r.has_wait, rows[i].has);
    CHECK_INT(r.wait_ms, rows[i].ms);
  }
}

TEST(a_local_file_fails_and_says_what_to_do) {
  static const struct {
    int number;
    uint32_t win32;
    const char *advice;
  } rows[] = {
      {ENOSPC, 112, "make room"}, {EDQUOT, 112, "quota"},
      {EACCES, 5, "allow it"},    {ENOENT, 2, "make that directory"},
      {EIO, 1117, "disk"},        {EROFS, 19, "another place"},
      {EEXIST, 183, "overwrite"}, {0, 1117, "disk"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bits_result r;
    judge_local(rows[i].number, "write", "/a/b\033[1m", &r);
    CHECK_INT(r.end, FAILED);
    CHECK_INT(r.code, 0x80070000u | rows[i].win32);
    CHECK_INT(r.win32, rows[i].win32);
    CHECK_INT(r.transport, 0);
    CHECK_INT(r.context, BITS_CONTEXT_LOCAL);
    CHECK(strncmp(r.why, "/a/b\\x1B[1m: write: ", 20) == 0 ||
          strncmp(r.why, "/a/b\\x1b[1m: write: ", 20) == 0);
    CHECK(strstr(r.why, rows[i].advice) != NULL);
  }
}

TEST(a_sentence_is_whole_however_long_it_is) {
  char url[600] = "http://h/", why[320];
  bits_result r;
  for (size_t i = 9; i + 3 < sizeof url; i += 2) memcpy(url + i, "ä", 3);
  memset(why, 'x', sizeof why);
  why[sizeof why - 1] = '\0';
  for (size_t cut = 0; cut < 4; cut++) {
    http_answer a = answer(200, 5, "");
    a.end = HTTP_CUT;
    a.url = url + cut;
    a.why = why;
    judge_failure(&a, 0, &r);
    CHECK(strlen(r.why) < sizeof r.why && strstr(r.why, "…: ") != NULL);
    CHECK(cut > 0 || text_is_utf8(r.why, strlen(r.why)));
  }
}

/* ------------------------------------------------------------------
** What is known
** ---------------------------------------------------------------- */

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define B64 "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

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
      {OLD "|" DATE, NULL, OLD + 15, NULL, NULL, OLD + 15},
      {NEW "|" DATE, NULL, NULL, NULL, NULL, NULL},
      {"Last-Modified: nonsense|" DATE, NULL, NULL, NULL, NULL, NULL},
      {"ETag: W/\"a\"|" OLD "|" DATE, "W/\"a\"", OLD + 15, NULL, NULL,
       OLD + 15},
      {"ETag: \"a\"|" OLD "|" DATE, "\"a\"", OLD + 15, NULL, NULL, "\"a\""},
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
      {"Content-Digest: sha-256=:" B64 ":", NULL, NULL, NULL, NULL, NULL},
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
}

TEST(no_memory_is_no_knowledge) {
  http_answer a = answer(200, 7,
                         "ETag: \"a\"|" OLD "|" DATE
                         "|Content-Encoding: br|"
                         "Repr-Digest: sha-256=:" B64 ":");
  long before = mem_blocks();
  for (long n = 1; n <= 4; n++) {
    mem_fail_at(n);
    CHECK(judge_know(&a) == NULL);
    CHECK_INT(mem_blocks(), before);
  }
  mem_fail_at(0);
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
    /* 200 instead of a part */
    {"another ETag", A, NULL, NULL, 100, 'r', 0, 200, ALL, "ETag: \"b\"",
     JUDGE_CHANGED, 0, 0},
    {"another ETag, and a length", A, NULL, NULL, 100, 'r', 0, 200, 70, 0, 0, U,
     "ETag: \"b\"", JUDGE_CHANGED, 0, 0},
    {"weak meanwhile", A, NULL, NULL, 100, 'r', 0, 200, ALL, "ETag: W/\"a\"",
     JUDGE_CHANGED, 0, 0},
    {"another date", NULL, OLD + 15, NULL, 100, 'r', 0, 200, ALL, OTHER,
     JUDGE_CHANGED, 0, 0},
    {"the ETag, another date", A, OLD + 15, NULL, 100, 'r', 0, 200, ALL,
     TAG "|" OTHER, JUDGE_CHANGED, 0, 0},
    {"two ETags", A, NULL, NULL, 100, 'r', 0, 200, ALL, TAG "|ETag: \"b\"",
     JUDGE_CHANGED, 0, 0},
    {"encoded meanwhile", A, NULL, NULL, 100, 'r', 0, 200, ALL,
     TAG "|Content-Encoding: gzip", JUDGE_CHANGED, 0, 0},
    {"decoded meanwhile", A, NULL, "gzip", 100, 'r', 0, 200, ALL, TAG,
     JUDGE_CHANGED, 0, 0},
    {"If-Range is not known", A, NULL, NULL, 100, 'r', 0, 200, ALL, TAG,
     JUDGE_BARE, 0, 0},
    {"If-Range is not known, by date", NULL, OLD + 15, NULL, 100, 'r', 0, 200,
     ALL, OLD, JUDGE_BARE, 0, 0},
    {"If-Range is not known, no length", A, NULL, NULL, 100, 'r', 0, 200, U, 0,
     0, U, TAG "|Transfer-Encoding: chunked", JUDGE_BARE, 0, 0},
    {"nor was the bare range", A, NULL, NULL, 100, 'b', BITS_FILE_BARE, 200,
     ALL, TAG, JUDGE_RESTART, 0, 0},
    {"it was marked already", A, NULL, NULL, 100, 'r', BITS_FILE_BARE, 200, ALL,
     TAG, JUDGE_RESTART, 0, 0},
    {"the ETag, another length", A, NULL, NULL, 100, 'r', 0, 200, 70, 0, 0, U,
     TAG, JUDGE_FAIL, AGAIN, BAD},
    {"the ETag is gone", A, NULL, NULL, 100, 'r', 0, 200, ALL, "", JUDGE_FAIL,
     AGAIN, BAD},
    {"the ETag is gone, the date is not", A, OLD + 15, NULL, 100, 'r', 0, 200,
     ALL, OLD, JUDGE_FAIL, AGAIN, BAD},
    {"the date is gone", NULL, OLD + 15, NULL, 100, 'r', 0, 200, ALL, "",
     JUDGE_FAIL, AGAIN, BAD},
    {"there was none", NULL, NULL, NULL, 100, 'b', 0, 200, ALL, "",
     JUDGE_CHANGED, 0, 0},
    {"there was a weak one", "W/\"a\"", NULL, NULL, 100, 'b', 0, 200, ALL,
     "ETag: W/\"a\"", JUDGE_CHANGED, 0, 0},
    /* 206 */
    {"the part", A, NULL, NULL, 100, 'r', 0, 206, PART, TAG, JUDGE_CONTINUE, 0,
     0},
    {"the part, by date", NULL, OLD + 15, NULL, 100, 'r', 0, 206, PART, OLD,
     JUDGE_CONTINUE, 0, 0},
    {"the part, bare", A, NULL, NULL, 100, 'b', 0, 206, PART, TAG,
     JUDGE_CONTINUE, 0, 0},
    {"less than was asked for", A, NULL, NULL, 100, 'r', 0, 206, 10, 40, 49,
     100, TAG, JUDGE_CONTINUE, 0, 0},
    {"of nobody knows how much", A, NULL, NULL, 100, 'r', 0, 206, 60, 40, 99, U,
     TAG, JUDGE_CONTINUE, 0, 0},
    {"the whole was not known", A, NULL, NULL, U, 'r', 0, 206, PART, TAG,
     JUDGE_CONTINUE, 0, 0},
    {"If-Range says enough", A, OLD + 15, NULL, 100, 'r', 0, 206, PART, "",
     JUDGE_CONTINUE, 0, 0},
    {"without it the ETag is demanded", A, OLD + 15, NULL, 100, 'b', 0, 206,
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
    {"another date (a part)", A, OLD + 15, NULL, 100, 'r', 0, 206, PART,
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

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(every_end_has_a_row);
  RUN(without_a_network_names_and_hosts_wait_for_one);
  RUN(every_status_has_a_row);
  RUN(it_is_the_host_that_needs_a_rest);
  RUN(retry_after_is_a_time_or_nothing);
  RUN(a_local_file_fails_and_says_what_to_do);
  RUN(a_sentence_is_whole_however_long_it_is);
  RUN(what_is_known_is_what_can_be_relied_on);
  RUN(no_memory_is_no_knowledge);
  RUN(the_table);
  RUN(what_has_changed_may_be_an_error);
  RUN(a_length_can_be_demanded_and_bounded);
  RUN(ranges_of_a_file_are_nothing_else);
  RUN(what_http_found_wrong_is_not_believed);
  http_head_free(&head);
  return check_end();
}
