/*
** Dates of headers: the same as libcurl reads them, whatever is in them.
*/
#include <curl/curl.h>
#include <time.h>

#include "gate.h"
#include "http/http.h"

static bool is_same(const char *text) {
  int64_t date = -1;
  time_t then = curl_getdate(text, NULL);
  bool is = http_date(text, &date) == (then != -1) && date == (int64_t)then;
  if (!is)
    printf("%s: %lld, not %lld\n", text, (long long)date, (long long)then);
  return is;
}

TEST(dates_that_are_right) {
  uint64_t random = gate_seed("dates");
  char text[64];
  int64_t date;
  CHECK(http_date("Sun, 06 Nov 1994 08:49:37 GMT", &date));
  CHECK_INT(date, 784111777);
  for (int i = 0; i < 3000; i++) {
    struct tm tm;
    /* Each day for some years, then any second until 2099. */
    time_t t = i < 1600 ? (time_t)i * 86400 + 951782400 - 86400
                        : (time_t)(gate_random(&random) % 4102444800u);
    if (gmtime_r(&t, &tm) == NULL) abort();
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    CHECK(http_date(text, &date) && date == (int64_t)t);
    CHECK(is_same(text));
    if (check_bad > 0) return;
  }
}

TEST(other_forms_and_nonsense) {
  static const char *const all[] = {"Sunday, 06-Nov-94 08:49:37 GMT",
                                    "Sun Nov  6 08:49:37 1994",
                                    "",
                                    "x",
                                    "Sun, 06 Nov 1994 08:49:37 CET",
                                    "Sun, 06 Nov 1994 08:49:60 GMT",
                                    "Sun, 31 Feb 2024 08:49:37 GMT",
                                    "Xun, 06 Nov 1994 08:49:37 GMT",
                                    "Sun, 00 Nov 1994 08:49:37 GMT",
                                    "Sun, 06 Nov 1994 24:49:37 GMT",
                                    "Sun, 29 Feb 2024 08:49:37 GMT",
                                    "Sun, 29 Feb 2023 08:49:37 GMT",
                                    "Sun, 06 Nov 0000 08:49:37 GMT",
                                    "Sun, 06 Nov 2100 08:49:37 GMT",
                                    "Sun, 06 Nov 1969 08:49:37 GMT",
                                    "Sun, +6 Nov 1994 08:49:37 GMT",
                                    "Sun, 31 Apr 2024 08:49:37 GMT"};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    CHECK(is_same(all[i]));
  uint64_t random = gate_seed("nonsense");
  for (int i = 0; i < 3000; i++) {
    char text[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    static const char from[] = "0123456789 :,SunGMTJaFeb-+x";
    for (unsigned n = 1 + gate_below(&random, 3); n > 0; n--)
      text[gate_below(&random, sizeof text - 1)] =
          from[gate_below(&random, sizeof from - 1)];
    CHECK(is_same(text));
    if (check_bad > 0) return;
  }
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(dates_that_are_right);
  GATE_RUN(other_forms_and_nonsense);
  return check_end();
}
