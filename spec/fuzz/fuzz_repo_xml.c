/*
** The reader of S3's answers, fuzzed: it ends, keeps its promises about depth
** and names, and what it says twice is the same.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/xml.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

/* The module has the engine's table from Lua; nothing here uses it. */
__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  http_xml x;
  unsigned open = 0, roots = 0;
  size_t events = 0;
  char last[HTTP_XML_DEPTH + 1][32];
  http_xml_begin(&x, (const char *)data, size);
  for (;;) {
    http_xml_event event = http_xml_next(&x);
    if (event == HTTP_XML_END || event == HTTP_XML_BAD) {
      if (event == HTTP_XML_END) REQUIRE(open == 0 && roots == 1);
      if (event == HTTP_XML_BAD) {
        REQUIRE(x.text.size == 0 && x.name.size == 0);
        REQUIRE(http_xml_next(&x) == HTTP_XML_BAD); /* and for ever */
      }
      break;
    }
    REQUIRE(++events <= size); /* an event for three bytes at least */
    REQUIRE(x.name.size > 0 && x.name.text >= (const char *)data &&
            x.name.text + x.name.size <= (const char *)data + size);
    if (event == HTTP_XML_OPEN) {
      if (open++ == 0) roots++;
      REQUIRE(open == x.depth && open <= HTTP_XML_DEPTH);
      REQUIRE(x.text.size == 0);
      snprintf(last[open], sizeof last[open], "%.*s", (int)x.name.size % 30,
               x.name.text);
    } else {
      char name[32];
      snprintf(name, sizeof name, "%.*s", (int)x.name.size % 30, x.name.text);
      REQUIRE(strcmp(name, last[open]) == 0);
      REQUIRE(--open == x.depth);
      REQUIRE(x.text.size <= HTTP_XML_TEXT + 4);
      REQUIRE(http_xml_text(&x)[x.text.size] == '\0');
    }
  }
  http_xml_end(&x);
  return 0;
}
