/*
** Dates as RFC 9110 wants them written ("Sun, 06 Nov 1994 08:49:37 GMT"), of
** which each answer has two: libcurl, which knows every other form, takes as
** long for one as for the rest of the header.
*/
#include <curl/curl.h>
#include <string.h>

#include "http/http.h"

/* Digits that are nothing else; -1. */
static int digits(const char *text, int count) {
  int n = 0;
  for (int i = 0; i < count; i++) {
    if (text[i] < '0' || text[i] > '9') return -1;
    n = n * 10 + (text[i] - '0');
  }
  return n;
}

/* Which three letters of them these are; -1. */
static int name(const char *text, const char *names) {
  for (int i = 0; names[i * 3] != '\0'; i++)
    if (memcmp(text, names + i * 3, 3) == 0) return i;
  return -1;
}

static bool is_usual(const char *text, int64_t *date) {
  static const int before[] = {0,   31,  59,  90,  120, 151,
                               181, 212, 243, 273, 304, 334};
  if (strlen(text) != 29 || memcmp(text + 3, ", ", 2) != 0 || text[7] != ' ' ||
      text[11] != ' ' || text[16] != ' ' || text[19] != ':' ||
      text[22] != ':' || memcmp(text + 25, " GMT", 4) != 0)
    return false;
  int month = name(text + 8, "JanFebMarAprMayJunJulAugSepOctNovDec");
  int day = digits(text + 5, 2), year = digits(text + 12, 4);
  int hour = digits(text + 17, 2), minute = digits(text + 20, 2);
  int second = digits(text + 23, 2);
  if (name(text, "SunMonTueWedThuFriSat") < 0 || month < 0 || day < 1 ||
      day > 28 + 3 * (month != 1) || year < 1970 || year > 2099 || hour < 0 ||
      hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
    return false;
  /* Every fourth year has a day more, from here to there; it comes behind its
     February. */
  int days = (year - 1970) * 365 + (year - 1969) / 4 + before[month] + day - 1 +
             (year % 4 == 0 && month > 1);
  *date = ((int64_t)days * 24 + hour) * 3600 + minute * 60 + second;
  return true;
}

bool http_date(const char *text, int64_t *date) {
  if (is_usual(text, date)) return true;
  time_t t = curl_getdate(text, NULL);
  if (t == -1) return false;
  *date = t;
  return true;
}
