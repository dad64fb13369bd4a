/*
** Key files, fuzzed, and the master key's text in their seal: what is taken for
** one can be written and reads back the same; scrypt is never asked for more
** than it may cost.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/key_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(error *e) {
  size_t length = strlen(e->message);
  REQUIRE(text_is_utf8(e->message, length) && length < 1000);
  for (size_t i = 0; i < length; i++)
    REQUIRE((unsigned char)e->message[i] >= ' ' && e->message[i] != 0x7F);
  error_unref(e);
}

static void check_file(const repo_key_file *file) {
  repo_key_file back;
  repo_key *key = repo_secret_new(sizeof *key);
  repo_password none = {0};
  buffer json = BUFFER_EMPTY;
  REQUIRE(repo_key_file_write(file, &json) == NULL);
  if (json.size <= REPO_KEY_FILE_MOST) { /* escapes make it longer */
    REQUIRE(repo_key_file_read(&back, json.data, json.size) == NULL);
    REQUIRE(strcmp(back.created, file->created) == 0 &&
            strcmp(back.username, file->username) == 0 &&
            strcmp(back.hostname, file->hostname) == 0 &&
            back.cost.n == file->cost.n && back.cost.r == file->cost.r &&
            back.cost.p == file->cost.p &&
            memcmp(back.salt, file->salt, 64) == 0 &&
            back.sealed.size == file->sealed.size);
    repo_key_file_clear(&back);
  }
  buffer_free(&json);
  /* Affordable costs are for another day: the fuzzer has few seconds. */
  if (file->cost.n > 1024 || file->cost.r > 8 || file->cost.p > 8 ||
      file->cost.n * file->cost.r * file->cost.p < 4096) {
    bool dear = file->cost.n > 1u << 25 || file->cost.r > 1u << 25 ||
                file->cost.p > 1u << 25;
    error *e = NULL;
    if (dear || file->cost.n < 64) e = repo_key_file_open(file, key, &none);
    REQUIRE(!dear || e != NULL);
    if (e != NULL) check_error(e);
  }
  repo_secret_free(key, sizeof *key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  repo_key_file file;
  repo_key *key = repo_secret_new(sizeof *key), *back;
  char text[REPO_KEY_TEXT + 1];
  back = repo_secret_new(sizeof *back);
  REQUIRE(key != NULL && back != NULL);
  error *e = repo_key_file_read(&file, (const char *)data, size);
  if (e == NULL) {
    check_file(&file);
    repo_key_file_clear(&file);
  } else {
    REQUIRE(e->code == SAROS_E_DAMAGED);
    check_error(e);
  }
  if (repo_key_text_read(key, (const char *)data, size)) {
    repo_key_text_write(key, text);
    REQUIRE(repo_key_text_read(back, text, REPO_KEY_TEXT));
    REQUIRE(memcmp(key, back, sizeof *key) == 0);
  }
  repo_secret_free(key, sizeof *key);
  repo_secret_free(back, sizeof *back);
  return 0;
}
