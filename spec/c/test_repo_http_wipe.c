/*
** http: what libcurl frees is wiped; a large block, that may be kept for the
** next one, when it is let go.
*/
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "http/http_parts.h"
#include "saros.h"

__attribute__((weak)) const saros_api *saros_api_table;

extern void (*http_wiped)(const char *block, size_t size);

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

static size_t gone, letters;

static void look(const char *block, size_t size) {
  gone++;
  letters += left(block, size < WIPED ? size : WIPED);
}

TEST(what_is_freed) {
  static const size_t sizes[] = {1, 10, 300, 5000, 40000, 65536, 1000000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char *text = curls_text(sizes[i]);
    CHECK(text != NULL && left(text, sizes[i]) == sizes[i]);
    gone = letters = 0;
    curl_free(text);
    CHECK_INT(gone, 1);
    CHECK_INT(letters, 0);
  }
}

TEST(a_large_block_that_is_kept) {
  static const size_t sizes[] = {40000, 65536, 1000000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    http_wipe_keep(true);
    char *text = curls_text(sizes[i]);
    gone = letters = 0;
    curl_free(text);
    CHECK_INT(gone, 0); /* it is for the next one */
    http_wipe_keep(false);
    CHECK(gone > 0); /* with those that it was when it was shorter */
    CHECK_INT(letters, 0);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (!http_prepare()) return 1;
  http_wiped = look;
  RUN(what_is_freed);
  RUN(a_large_block_that_is_kept);
  return check_end();
}
