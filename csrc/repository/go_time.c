/*
** go_time: RFC 3339 with nanoseconds, as Go's time.Time writes and reads it.
** By the civil calendar alone: no call here but repo_go_zone asks the system,
** so that what was written elsewhere can be written again.
*/
#include <string.h>

#include "repository/go.h"

#define DAY 86400

/* Beyond these no year can be told from the others: it is clamped anyway. */
#define MOST_SECONDS ((int64_t)1 << 55)


/* ------------------------------------------------------------------
** The calendar
** ---------------------------------------------------------------- */

int64_t repo_go_days(int64_t year, int64_t month, int64_t day) {
  /* Months are counted from March, so that the leap day is the last. */
  year += (month - 1) / 12;
  month = (month - 1) % 12;
  if (month < 0) {
    month += 12;
    year--;
  }
  month -= 2;
  if (month < 0) {
    month += 12;
    year--;
  }
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t of_era = year - era * 400;
  int64_t of_year = (153 * month + 2) / 5;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year +
         day - 1 - 719468;
}

void repo_go_civil(int64_t seconds, repo_civil *c) {
  int64_t days = seconds / DAY, rest = seconds % DAY;
  if (rest < 0) {
    rest += DAY;
    days--;
  }
  c->hour = (int)(rest / 3600);
  c->minute = (int)(rest / 60 % 60);
  c->second = (int)(rest % 60);
  c->weekday = (int)(((days + 4) % 7 + 7) % 7);
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t of_era = days - era * 146097;
  int64_t year =
      (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  int64_t month = (5 * of_year + 2) / 153;
  c->day = (int)(of_year - (153 * month + 2) / 5 + 1);
  c->month = (int)(month < 10 ? month + 3 : month - 9);
  c->year = year + era * 400 + (c->month <= 2);
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static void put_digits(char *to, int64_t n, int digits) {
  while (digits-- > 0) {
    to[digits] = (char)('0' + n % 10);
    n /= 10;
  }
}

/* Years that four digits cannot say become the nearest they can; where that
   one has no 29 February it is the day after, as Go's AddDate has it. */
static void clamp(repo_civil *c) {
  if (c->year < 0) c->year = 0;
  if (c->year <= 9999) return;
  c->year = 9999;
  if (c->month != 2 || c->day != 29) return;
  c->month = 3;
  c->day = 1;
}

size_t repo_go_time_text(char text[REPO_GO_TIME], struct timespec t,
                         int32_t zone) {
  repo_civil c;
  int64_t seconds = t.tv_sec;
  if (seconds > MOST_SECONDS) seconds = MOST_SECONDS;
  if (seconds < -MOST_SECONDS) seconds = -MOST_SECONDS;
  repo_go_civil(seconds + zone, &c);
  clamp(&c);
  memcpy(text, "0000-00-00T00:00:00.000000000", 30);
  put_digits(text, c.year, 4);
  put_digits(text + 5, c.month, 2);
  put_digits(text + 8, c.day, 2);
  put_digits(text + 11, c.hour, 2);
  put_digits(text + 14, c.minute, 2);
  put_digits(text + 17, c.second, 2);
  put_digits(text + 20, t.tv_nsec, 9);
  size_t size = 29;
  while (text[size - 1] == '0' && size > 20) size--;
  if (size == 20) size--; /* the point */
  if (zone == 0) {
    text[size] = 'Z';
    return size + 1;
  }
  /* Zones of long ago have seconds, for which there is no room. */
  int32_t minutes = zone / 60;
  memcpy(text + size, "+00:00", 6);
  if (minutes < 0) text[size] = '-';
  if (minutes < 0) minutes = -minutes;
  put_digits(text + size + 1, minutes / 60, 2);
  put_digits(text + size + 4, minutes % 60, 2);
  return size + 6;
}

void repo_go_time(buffer *b, struct timespec t, int32_t zone) {
  char text[REPO_GO_TIME];
  buffer_put(b, text, repo_go_time_text(text, t, zone));
}

int32_t repo_go_zone(time_t t) {
  struct tm tm;
  return localtime_r(&t, &tm) != NULL ? (int32_t)tm.tm_gmtoff : 0;
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* Exactly so many digits. */
static bool get_digits(const char *text, int digits, int *n) {
  *n = 0;
  for (int i = 0; i < digits; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    *n = *n * 10 + (text[i] - '0');
  }
  return true;
}

static int days_of(int year, int month) {
  static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap);
}

static bool get_date(const char *text, int64_t *seconds) {
  int year, month, day, hour, minute, second;
  if (!get_digits(text, 4, &year) || text[4] != '-' ||
      !get_digits(text + 5, 2, &month) || text[7] != '-' ||
      !get_digits(text + 8, 2, &day) || text[10] != 'T' ||
      !get_digits(text + 11, 2, &hour) || text[13] != ':' ||
      !get_digits(text + 14, 2, &minute) || text[16] != ':' ||
      !get_digits(text + 17, 2, &second))
    return false;
  if (month < 1 || month > 12 || day < 1 || day > days_of(year, month) ||
      hour > 23 || minute > 59 || second > 59)
    return false;
  *seconds =
      repo_go_days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
  return true;
}

/* ".123", or nothing. How long it is; -1: it is wrong. */
static int get_fraction(const char *text, size_t size, long *nanoseconds) {
  *nanoseconds = 0;
  if (size == 0 || text[0] != '.') return 0;
  long unit = 100000000;
  size_t i = 1;
  for (; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
    *nanoseconds += unit * (text[i] - '0');
    unit /= 10; /* digits behind the ninth say nothing */
  }
  return i > 1 && i < 100 ? (int)i : -1;
}

static bool get_zone(const char *text, size_t size, int32_t *zone) {
  int hours, minutes;
  *zone = 0;
  if (size == 1 && text[0] == 'Z') return true;
  if (size != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' ||
      !get_digits(text + 1, 2, &hours) || !get_digits(text + 4, 2, &minutes) ||
      hours > 23 || minutes > 59)
    return false;
  *zone = (int32_t)(hours * 3600 + minutes * 60);
  if (text[0] == '-') *zone = -*zone;
  return true;
}

bool repo_go_time_read(const char *text, size_t size, struct timespec *t,
                       int32_t *zone) {
  int64_t seconds;
  long nanoseconds;
  if (size < 20 || !get_date(text, &seconds)) return false;
  int fraction = get_fraction(text + 19, size - 19, &nanoseconds);
  if (fraction < 0) return false;
  size_t at = 19 + (size_t)fraction;
  if (!get_zone(text + at, size - at, zone)) return false;
  t->tv_sec = (time_t)(seconds - *zone);
  t->tv_nsec = nanoseconds;
  return true;
}
