/*
** The JSON reader, fuzzed: what it reads is written in both styles, and reads
** back as an equal value, which is written as the same text.
**
**     clang -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE
**       -DSAROS_STATIC -Icsrc spec/fuzz/fuzz_json.c BASE
**     ./a.out spec/fuzz/corpus/json
**
** where BASE is every .c file in csrc/base.
**
** With -DFUZZ_MAIN it needs no libFuzzer: main runs every file of the
** directories that are its arguments.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/path.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message is for a person: one line of text, whatever was read. */
static void check_error(error *e) {
  size_t length = strlen(e->message);
  REQUIRE(e->code == SAROS_E_INVALIDARG);
  REQUIRE(text_is_utf8(e->message, length) && length < 400);
  for (size_t i = 0; i < length; i++)
    REQUIRE((unsigned char)e->message[i] >= ' ' && e->message[i] != 0x7F);
  error_unref(e);
}

static void check_written(const value *v, json_style style) {
  buffer text = BUFFER_EMPTY, again = BUFFER_EMPTY;
  error *e = NULL;
  json_write(&text, v, style);
  REQUIRE(!text.failed);
  REQUIRE(text_is_utf8(text.data, text.size));
  for (size_t i = 0; i < text.size; i++)
    REQUIRE((unsigned char)text.data[i] >= ' ' || text.data[i] == '\n');
  value *back = json_read(text.data, text.size, NULL, &e);
  REQUIRE(back != NULL);
  REQUIRE(value_equal(v, back));
  json_write(&again, back, style);
  REQUIRE(again.size == text.size);
  REQUIRE(memcmp(again.data, text.data, text.size) == 0);
  value_free(back);
  buffer_free(&text);
  buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  error *e = NULL;
  value *v = json_read((const char *)data, size, NULL, &e);
  REQUIRE((v == NULL) == (e != NULL));
  if (v == NULL) {
    check_error(e);
    return 0;
  }
  check_written(v, JSON_COMPACT);
  check_written(v, JSON_INDENTED);
  value *copy = value_copy(v);
  REQUIRE(copy != NULL && value_equal(v, copy));
  value_free(copy);
  value_free(v);
  return 0;
}

#ifdef FUZZ_MAIN

#include <dirent.h>

static int passed, failed;

/* Into memory of exactly its size, so that a sanitizer sees the end. */
static void run_file(const char *path) {
  FILE *file = fopen(path, "rb");
  long size = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
  uint8_t *data = size >= 0 ? malloc(size > 0 ? (size_t)size : 1) : NULL;
  if (data != NULL) rewind(file);
  if (data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size) {
    LLVMFuzzerTestOneInput(data, (size_t)size); /* aborts when it fails */
    passed++;
  } else {
    printf("cannot read %s\n", path);
    failed++;
  }
  free(data);
  if (file != NULL) fclose(file);
}

int main(int argc, char **argv) {
  char path[4096];
  for (int i = 1; i < argc; i++) {
    DIR *directory = opendir(argv[i]);
    struct dirent *entry;
    if (directory == NULL) {
      printf("cannot open %s\n", argv[i]);
      failed++;
      continue;
    }
    while ((entry = readdir(directory)) != NULL) {
      if (entry->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
      run_file(path);
    }
    closedir(directory);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}

#endif
