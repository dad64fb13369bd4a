/*
** The wire, fuzzed: what comes over a socket in pieces of any size is cut into
** the lines that it has, each is read as a message or refused with a reason,
** and what is believed of it has been checked. The first byte says how large
** the pieces are.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/wire_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

#define ID "6b0c9d5a-7b1f-4a59-9d53-5d6a0d6c1f01"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message is for a person, whatever was read. */
static void check_error(error *e, size_t most) {
  size_t length = strlen(e->message);
  REQUIRE(code_failed(e->code));
  REQUIRE(text_is_utf8(e->message, length) && length < most);
  for (size_t i = 0; i < length; i++)
    REQUIRE((unsigned char)e->message[i] >= ' ' && e->message[i] != 0x7F);
  error_unref(e);
}

/* What is believed is believed again, and stays what it is. */
static void check_metadata(const value *said) {
  error *e = NULL;
  value *m = writer_metadata(said, ID, &e);
  if (m == NULL) {
    check_error(e, 400);
    return;
  }
  REQUIRE(e == NULL);
  REQUIRE(strcmp(value_chars(value_get(m, "id"), ""), ID) == 0);
  REQUIRE(value_get(m, "components")->type == VALUE_LIST);
  value *again = writer_metadata(m, ID, &e);
  REQUIRE(again != NULL && value_equal(again, m));
  value_free(again);
  value_free(m);
}

static void check_line(const char *line, size_t size) {
  wire_message m;
  error *e = wire_parse(line, size, &m);
  if (e != NULL) {
    REQUIRE(m.body == NULL);
    check_error(e, 400);
    return;
  }
  REQUIRE(m.body != NULL && m.body->type == VALUE_MAP);
  REQUIRE(m.kind == WIRE_OTHER || m.n > 0);
  check_metadata(m.body);
  if (m.kind == WIRE_ANSWER) {
    check_metadata(value_get(m.body, "metadata"));
    e = writer_veto(m.body);
    value *back = wire_refusal(m.n, e);
    error *again = writer_veto(back);
    REQUIRE(again->code == e->code && again->retryable == e->retryable);
    check_error(again, 4 * WRITER_MESSAGE_MOST + 8);
    check_error(e, 4 * WRITER_MESSAGE_MOST + 8);
    value_free(back);
  }
  /* What was read can be said again, if it is not too long for that. */
  buffer b = BUFFER_EMPTY;
  if (wire_format(&b, m.body)) {
    wire_message same;
    REQUIRE(wire_parse(b.data, b.size - 1, &same) == NULL);
    REQUIRE(same.kind == m.kind && same.n == m.n);
    REQUIRE(value_equal(same.body, m.body));
    value_free(same.body);
  }
  buffer_free(&b);
  value_free(m.body);
}

/* All lines that are there by now; they are those of the text. */
static bool take_lines(wire_stream *s, const char *text, size_t *at) {
  const char *line;
  size_t size;
  error *e = NULL;
  while (wire_line(s, &line, &size, &e)) {
    REQUIRE(memcmp(line, text + *at, size) == 0 && text[*at + size] == '\n');
    REQUIRE(memchr(line, '\n', size) == NULL);
    *at += size + 1;
    check_line(line, size);
  }
  if (e == NULL) return true;
  check_error(e, 400);
  return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  size_t piece = (size_t)data[0] * data[0] + 1, at = 0, sent = 0;
  const char *text = (const char *)data + 1;
  size--;
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  wire_stream s;
  wire_open(&s, fd_own(ends[0]));
  bool good = true;
  while (good && sent < size) {
    size_t n = size - sent < piece ? size - sent : piece;
    ssize_t put = send(ends[1], text + sent, n, MSG_NOSIGNAL);
    if (put > 0) sent += (size_t)put;
    error *e = wire_turn(&s);
    REQUIRE(e == NULL);
    good = take_lines(&s, text, &at);
    REQUIRE(s.in.size - s.start <= WIRE_LINE_MOST + 65536);
  }
  shutdown(ends[1], SHUT_WR);
  for (int i = 0; good && !s.ended && i < 1000; i++) {
    error *e = wire_turn(&s);
    REQUIRE(e == NULL);
    good = take_lines(&s, text, &at);
  }
  /* What is left is no line: that was said, or there is nothing left. */
  REQUIRE(!good || at == size);
  wire_shut(&s);
  close(ends[1]);
  return 0;
}
