/*
** The record of a shadow, fuzzed: what is taken for one fits, reads back as an
** equal one, and can be asked everything that is asked of a record; what is
** not is refused in a sentence for a person.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vss/bytes.h"
#include "vss/record_parts.h"

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
  REQUIRE(e->code == SAROS_E_DAMAGED || e->code == VSS_E_NOT_SUPPORTED);
  REQUIRE(text_is_utf8(e->message, length) && length < 1000);
  for (size_t i = 0; i < length; i++)
    REQUIRE((unsigned char)e->message[i] >= ' ' && e->message[i] != 0x7F);
  error_unref(e);
}

static void check_written(const value *record) {
  buffer text = BUFFER_EMPTY;
  bool deep;
  error *e = NULL;
  const value *outside = bytes_out(record, &deep);
  REQUIRE(outside != NULL && !deep);
  json_write(&text, outside, JSON_INDENTED);
  /* Escapes make it longer: it may not fit any more, and then is refused. */
  if (text.size <= RECORD_SIZE_MOST) {
    value *back = record_parse(text.data, text.size, NULL, &e);
    REQUIRE(back != NULL && value_equal(back, record));
    value_free(back);
  }
  if (outside != record) value_free((value *)(uintptr_t)outside);
  buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  error *e = NULL;
  buffer why = BUFFER_EMPTY;
  error *none = NULL;
  value *record = record_parse((const char *)data, size, NULL, &e);
  value *last = record_parse_last((const char *)data, size, NULL, &none);
  REQUIRE((record == NULL) == (e != NULL));
  REQUIRE((last == NULL) == (none != NULL));
  /* What is whole is its own last one. */
  REQUIRE(record == NULL || value_equal(last, record));
  value_free(last);
  if (none != NULL) check_error(none);
  if (record == NULL) {
    check_error(e);
    return 0;
  }
  REQUIRE(record_fits(record, record_text(record, "id"), &why));
  check_written(record);
  value *properties = shadows_properties(record);
  REQUIRE(properties != NULL);
  value_free(properties);
  (void)owner_is_alive(record);
  (void)owner_is_us(record);
  value_free(record);
  return 0;
}
