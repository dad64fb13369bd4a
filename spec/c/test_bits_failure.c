/*
** What a request that went wrong is: every end and every status has its row.
*/
#include <errno.h>

#include <curl/curl.h>

#include "bits_judge_case.h"

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
  CHECK_INT(judge_is_borne(&r), end == AGAIN && row->often == FAILED);
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

/* A proxy that was asked to lead to a host. */
TEST(what_a_proxy_answers_is_told) {
  static const struct {
    unsigned status;
    bits_end end;
  } rows[] = {{302, FAILED}, {403, FAILED}, {405, FAILED}, {407, FAILED},
              {408, AGAIN},  {429, AGAIN},  {502, AGAIN},  {503, AGAIN}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    http_answer a = answer(200, U, "");
    bits_result r;
    a.end = HTTP_UNREACHED;
    a.status = 0;
    a.curl = CURLE_RECV_ERROR;
    a.proxy = rows[i].status;
    judge_failure(&a, 0, &r);
    CHECK_INT(r.end, rows[i].end);
    CHECK_INT(r.code, BG_E_HTTP(rows[i].status));
    CHECK_INT(r.context, TRANSPORT);
    CHECK_INT(r.transport, rows[i].status);
    CHECK(strstr(r.why, "the proxy answers") != NULL);
  }
}

/* Who is told that nobody listens at the server looks there in vain. */
TEST(it_says_which_of_two_is_at_fault) {
  http_answer a = answer(200, U, "");
  bits_result r;
  a.end = HTTP_UNREACHED;
  a.status = 0;
  a.curl = CURLE_COULDNT_CONNECT;
  a.number = ECONNREFUSED;
  judge_failure(&a, 0, &r);
  CHECK(strstr(r.why, "proxy") == NULL);
  a.by_proxy = true;
  judge_failure(&a, 0, &r);
  CHECK(strstr(r.why, "nobody listens there, or at the job's proxy") != NULL);
  a.by_proxy = false;
  a.end = HTTP_UNTRUSTED;
  a.curl = CURLE_SSL_CACERT_BADFILE;
  judge_failure(&a, 0, &r);
  CHECK(strstr(r.why, "the certificates to trust cannot be read") != NULL);
  CHECK_INT(r.code, BG_E_TRUST_FAILURE);
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
    CHECK_INT(judge_is_borne(&r), borne);
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

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(every_end_has_a_row);
  RUN(what_a_proxy_answers_is_told);
  RUN(it_says_which_of_two_is_at_fault);
  RUN(without_a_network_names_and_hosts_wait_for_one);
  RUN(every_status_has_a_row);
  RUN(it_is_the_host_that_needs_a_rest);
  RUN(retry_after_is_a_time_or_nothing);
  RUN(a_local_file_fails_and_says_what_to_do);
  RUN(a_sentence_is_whole_however_long_it_is);
  http_head_free(&head);
  return check_end();
}
