/*
** The config, fuzzed: what is taken for one is of a format that we know, cuts
** files by an irreducible polynomial, and is the same when it is written.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/chunker.h"
#include "repository/config.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  repo_config config, back;
  repo_id id;
  buffer json = BUFFER_EMPTY;
  error *e = repo_config_read(&config, (const char *)data, size);
  if (e != NULL) {
    size_t length = strlen(e->message);
    REQUIRE(e->code == SAROS_E_DAMAGED || e->code == SAROS_E_NOTIMPL);
    REQUIRE(text_is_utf8(e->message, length) && length < 1000);
    error_unref(e);
    return 0;
  }
  REQUIRE(config.version == 1 || config.version == 2);
  REQUIRE(repo_id_parse(&id, config.id, strlen(config.id)));
  REQUIRE(repo_polynomial_irreducible(config.polynomial));
  REQUIRE(repo_config_write(&config, &json) == NULL);
  e = repo_config_read(&back, json.data, json.size);
  if (e == NULL) {
    REQUIRE(back.version == config.version && strcmp(back.id, config.id) == 0 &&
            back.polynomial == config.polynomial);
    REQUIRE((back.unknown == NULL) == (config.unknown == NULL));
    REQUIRE(back.unknown == NULL || value_equal(back.unknown, config.unknown));
    repo_config_clear(&back);
  } else { /* escapes made it too long */
    REQUIRE(json.size > ((size_t)64 << 10));
    error_unref(e);
  }
  buffer_free(&json);
  repo_config_clear(&config);
  return 0;
}
