/*
** Answers as they come from a server, for who judges them.
*/
#ifndef SAROS_SPEC_BITS_JUDGE_CASE_H
#define SAROS_SPEC_BITS_JUDGE_CASE_H

#include "bits/judge.h"
#include "check.h"
#include "http/http_parts.h"

__attribute__((weak)) const saros_api *saros_api_table;

#define DATE "Date: Tue, 14 Nov 2023 23:13:20 GMT"
#define OLD "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"
#define OTHER "Last-Modified: Tue, 14 Nov 2023 22:13:21 GMT"
#define NEW "Last-Modified: Tue, 14 Nov 2023 23:12:50 GMT"
#define U HTTP_UNKNOWN

static http_head head;

/* An answer with these lines of a header ("a: b|c: d"). */
static inline http_answer answer(unsigned status, uint64_t length,
                                 const char *lines) {
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

static inline http_answer part(uint64_t from, uint64_t last, uint64_t total,
                               const char *lines) {
  http_answer a = answer(206, last - from + 1, lines);
  a.from = from;
  a.last = last;
  a.total = total;
  return a;
}

#define REMOTE BITS_CONTEXT_REMOTE
#define TRANSPORT BITS_CONTEXT_TRANSPORT
#define QUEUE BITS_CONTEXT_QUEUE
#define AGAIN BITS_END_AGAIN
#define FAILED BITS_END_FAILED
#define OFFLINE BITS_END_OFFLINE
#define STOPPED BITS_END_STOPPED
#define BAD BG_E_INVALID_SERVER_RESPONSE

#endif
