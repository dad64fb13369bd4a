/*
** http: what libcurl frees is wiped. A large block is kept for the next one, so
** that it can be looked at here after libcurl has let go of it.
*/
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "http/http_parts.h"
#include "saros.h"

__attribute__((weak)) const saros_api *saros_api_table;

#define WIPED ((size_t)64 << 10) /* the most, of a buffer of bodies */

/* A text of libcurl's that is so long, as whoever calls it has it: nothing of
   it needs to be escaped. */
static char *curls_text(size_t size) {
  char *plain = malloc(size + 1);
  if (plain == NULL) abort();
  memset(plain, 's', size);
  plain[size] = '\0';
  char *text = curl_easy_escape(NULL, plain, (int)size);
  free(plain);
  return text;
}

/* How many of the secret's letters are in there. */
static size_t left(const char *bytes, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size; i++) n += bytes[i] == 's';
  return n;
}

TEST(a_large_block_that_is_freed) {
  static const size_t sizes[] = {40000, 60000, 65536, 100000, 1000000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    http_wipe_keep(true);
    char *text = curls_text(sizes[i]);
    CHECK(text != NULL && left(text, sizes[i]) == sizes[i]);
    curl_free(text);
    size_t wiped = sizes[i] < WIPED ? sizes[i] : WIPED;
    CHECK(text != NULL && left(text, wiped) == 0);
    http_wipe_keep(false);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (!http_prepare()) return 1;
  RUN(a_large_block_that_is_freed);
  return check_end();
}
