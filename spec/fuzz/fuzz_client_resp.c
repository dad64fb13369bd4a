/*
** What a Redis server may answer, fuzzed: the same bytes at once and one after
** the other give the same, and nothing that was not there.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/value.h"
#include "client/redis_resp.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

/* The reader has the engine through the table, as in its own module. */
const saros_api *saros_api_table;
const saros_api *saros_api_own(void);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 32

typedef struct heard {
  unsigned count;
  resp_state state[MOST];
  saros_value *value[MOST];
  char text[MOST][600];
} heard;

static void note(heard *h, resp *r, resp_state state) {
  h->state[h->count] = state;
  h->value[h->count] = r->value;
  r->value = NULL;
  memcpy(h->text[h->count++], r->text, sizeof r->text);
}

static void read_all(heard *h, const uint8_t *data, size_t size, size_t most) {
  resp r = {0};
  size_t at = 0;
  h->count = 0;
  while (h->count < MOST) {
    resp_state state = resp_next(&r);
    REQUIRE(r.depth <= RESP_DEPTH && r.at <= r.size && r.size <= r.room);
    /* Memory for what came, not for what was announced. */
    REQUIRE(r.room <= 4 * size + (1 << 20));
    if (state == RESP_MORE) {
      size_t room;
      if (at == size) break;
      char *to = resp_room(&r, &room);
      REQUIRE(to != NULL && room > 0);
      if (room > most) room = most;
      if (room > size - at) room = size - at;
      memcpy(to, data + at, room);
      resp_got(&r, room);
      at += room;
      continue;
    }
    note(h, &r, state);
    if (state == RESP_BROKEN || state == RESP_NO_MEMORY) break;
  }
  resp_free(&r);
}

static void let_go(heard *h) {
  for (unsigned i = 0; i < h->count; i++)
    if (h->value[i] != NULL) saros_value_free(h->value[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static heard whole, pieces;
  saros_api_table = saros_api_own();
  read_all(&whole, data, size, SIZE_MAX);
  read_all(&pieces, data, size, 1);
  REQUIRE(whole.count == pieces.count);
  for (unsigned i = 0; i < whole.count; i++) {
    const value *a = (const value *)whole.value[i];
    const value *b = (const value *)pieces.value[i];
    REQUIRE(whole.state[i] == pieces.state[i]);
    /* What is wrong first depends on how much is there. */
    if (whole.state[i] != RESP_BROKEN)
      REQUIRE(strcmp(whole.text[i], pieces.text[i]) == 0);
    REQUIRE((a == NULL) == (b == NULL));
    if (a != NULL && !value_equal(a, b)) {
      /* A real that is no number is not equal to itself. */
      REQUIRE(memmem(data, size, ",", 1) != NULL);
    }
  }
  let_go(&whole);
  let_go(&pieces);
  return 0;
}
