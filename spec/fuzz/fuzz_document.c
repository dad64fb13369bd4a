/*
** The backup components document, fuzzed: what is taken for one is written,
** and reads back as an equal one that is written as the same text.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vss/document.h"

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
  REQUIRE(e->code == VSS_E_CORRUPT_XML_DOCUMENT ||
          e->code == VSS_E_INVALID_XML_DOCUMENT);
  REQUIRE(text_is_utf8(e->message, length) && length < 1000);
  for (size_t i = 0; i < length; i++)
    REQUIRE((unsigned char)e->message[i] >= ' ' && e->message[i] != 0x7F);
  error_unref(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  error *e = NULL;
  buffer text = BUFFER_EMPTY, again = BUFFER_EMPTY;
  value *doc = document_parse((const char *)data, size, &e);
  REQUIRE((doc == NULL) == (e != NULL));
  if (doc == NULL) {
    check_error(e);
    return 0;
  }
  REQUIRE(document_write(doc, &text) == NULL);
  value *back = document_parse(text.data, text.size, &e);
  REQUIRE(back != NULL && value_equal(back, doc));
  REQUIRE(document_write(back, &again) == NULL);
  REQUIRE(again.size == text.size);
  REQUIRE(memcmp(again.data, text.data, text.size) == 0);
  value_free(back);
  value_free(doc);
  buffer_free(&text);
  buffer_free(&again);
  return 0;
}
