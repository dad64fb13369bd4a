/*
** bits: limits by the time of day. Texts, and what counts at which moment:
** days, midnight, summer time, a clock that was set.
*/
#include "mover_case.h"

/* Local time to seconds: year, month, day, hour, minute. */
static time_t at(int year, int month, int day, int hour, int minute) {
  struct tm t = {.tm_year = year - 1900,
                 .tm_mon = month - 1,
                 .tm_mday = day,
                 .tm_hour = hour,
                 .tm_min = minute,
                 .tm_isdst = -1};
  return mktime(&t);
}

static hours of(const char *text) {
  hours h;
  value *v = value_text(text);
  error *e = hours_read(v, &h);
  if (e != NULL) printf("%s\n", e->message);
  CHECK(e == NULL);
  error_unref(e);
  value_free(v);
  return h;
}

static bool fits(const hours *h, time_t now, uint64_t wanted) {
  uint64_t down = 7, up = 7;
  if (!hours_at(h, now, &down, &up)) return false;
  CHECK(down == wanted);
  CHECK(up == wanted);
  return true;
}

TEST(rates) {
  static const struct {
    const char *text;
    uint64_t rate;
  } all[] = {{"1", 1},           {"500K", 500 << 10},
             {"1M", 1 << 20},    {"1.5M", 3 << 19},
             {"2g", 2ull << 30}, {"none", HOURS_ANY},
             {"0", 0},           {" 0.25k ", 256},
             {"0.0001", 1},      {"1.9999999999K", 2047}};
  static const char *const bad[] = {
      "", "x", "-1", ".5", "K", "no", "99999999999999999999", "4294967296g"};
  const char *end;
  uint64_t rate;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    CHECK(hours_rate(all[i].text, &end, &rate) && *end == '\0');
    if (rate != all[i].rate)
      printf("%s is %llu\n", all[i].text, (unsigned long long)rate);
    CHECK(rate == all[i].rate);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK(!hours_rate(bad[i], &end, &rate));
  CHECK(hours_rate("1 M", &end, &rate) && *end == 'M');
}

TEST(texts_that_are_none) {
  static const char *const bad[] = {"",
                                    "9-17: 1M",
                                    "09:00: 1M",
                                    "09:00-17:30",
                                    "09:00-17:30 1M",
                                    "09:00-17:30: ",
                                    "09:00-17:30: 1M/",
                                    "09:00-17:30: 1M x",
                                    "25:00-26:00: 1M",
                                    "09:60-10:00: 1M",
                                    "24:01-25:00: 1M",
                                    "24:00-09:00: 1M",
                                    "09:00-09:00: 1M",
                                    "09:00-17:30 mo-fr: 1M",
                                    "09:00-17:30 mon-: 1M",
                                    "09:00-17:30 mon,: 1M",
                                    "09:00 17:30 mon: 1M"};
  hours h;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    value *v = value_text(bad[i]);
    error *e = hours_read(v, &h);
    if (e == NULL) printf("\"%s\" is taken\n", bad[i]);
    CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
    CHECK(h.rules == NULL && h.count == 0);
    error_unref(e);
    value_free(v);
  }
  value *n = value_int(3), *list = value_list();
  value_add(list, value_text("09:00-10:00: 1M"));
  value_add(list, value_int(3));
  error *e = hours_read(n, &h);
  CHECK(e != NULL);
  error_unref(e);
  e = hours_read(list, &h); /* the first was good */
  CHECK(e != NULL && h.rules == NULL);
  error_unref(e);
  value_free(n);
  value_free(list);
  CHECK(hours_read(NULL, &h) == NULL && h.count == 0);
}

TEST(days_of_the_week) {
  hours h = of("09:00-17:30 mon-fri: 1M");
  /* 2026-11-23 is a Monday. */
  for (int d = 0; d < 7; d++) {
    bool works = d < 5;
    CHECK(!fits(&h, at(2026, 11, 23 + d, 8, 59), 1 << 20));
    CHECK(fits(&h, at(2026, 11, 23 + d, 9, 0), 1 << 20) == works);
    CHECK(fits(&h, at(2026, 11, 23 + d, 17, 29), 1 << 20) == works);
    CHECK(!fits(&h, at(2026, 11, 23 + d, 17, 30), 1 << 20));
  }
  hours_free(&h);
  h = of("00:00-24:00 Sat , sun,tue-wed: 5");
  static const bool wanted[] = {false, true, true, false, false, true, true};
  for (int d = 0; d < 7; d++)
    CHECK(fits(&h, at(2026, 11, 23 + d, 23, 59), 5) == wanted[d]);
  hours_free(&h);
  h = of("00:00-24:00 fri-mon: 5");
  static const bool turned[] = {true, false, false, false, true, true, true};
  for (int d = 0; d < 7; d++)
    CHECK(fits(&h, at(2026, 11, 23 + d, 0, 0), 5) == turned[d]);
  hours_free(&h);
}

/* A night belongs to the evening on which it begins. */
TEST(over_midnight) {
  hours h = of("22:00-06:00 fri: 0");
  CHECK(!fits(&h, at(2026, 11, 27, 5, 0), 0)); /* Friday's morning */
  CHECK(!fits(&h, at(2026, 11, 27, 21, 59), 0));
  CHECK(fits(&h, at(2026, 11, 27, 22, 0), 0));
  CHECK(fits(&h, at(2026, 11, 28, 0, 0), 0));
  CHECK(fits(&h, at(2026, 11, 28, 5, 59), 0));
  CHECK(!fits(&h, at(2026, 11, 28, 6, 0), 0));
  CHECK(!fits(&h, at(2026, 11, 28, 23, 0), 0));
  hours_free(&h);
}

TEST(the_first_that_fits) {
  value *list = value_list();
  value_add(list, value_text("12:00-13:00: none/64K"));
  value_add(list, value_text("09:00-17:00: 1M"));
  hours h;
  uint64_t down, up;
  CHECK(hours_read(list, &h) == NULL && h.count == 2);
  CHECK(hours_at(&h, at(2026, 11, 23, 12, 30), &down, &up));
  CHECK(down == HOURS_ANY && up == 64 << 10);
  CHECK(fits(&h, at(2026, 11, 23, 13, 0), 1 << 20));
  hours_free(&h);
  value_free(list);
}

/* 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00. */
TEST(summer_time) {
  hours h = of("02:00-03:00: 9");
  time_t spring = at(2026, 3, 29, 0, 0), autumn = at(2026, 10, 25, 0, 0);
  int minutes = 0;
  for (int i = 0; i < 6 * 60; i++) minutes += fits(&h, spring + i * 60, 9);
  CHECK_INT(minutes, 0); /* there is no such hour */
  for (int i = 0; i < 6 * 60; i++) minutes += fits(&h, autumn + i * 60, 9);
  CHECK_INT(minutes, 120); /* it comes twice */
  hours_free(&h);
  h = of("01:30-03:30: 9");
  minutes = 0;
  for (int i = 0; i < 6 * 60; i++) minutes += fits(&h, spring + i * 60, 9);
  CHECK_INT(minutes, 60);
  hours_free(&h);
}

/* The queue itself: what runs is told, and a clock that was set is seen. */
TEST(while_it_runs) {
  world_begin("{\"limits\": \"09:00-17:30: 1M\", \"limit_download\": \"4M\"}");
  w.wall = at(2026, 11, 23, 8, 59) + 30;
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  CHECK_INT(w.tries->down, 4 << 20);
  w.wall += 30;
  pass(30000);
  CHECK_INT(w.tries->down, 1 << 20);
  w.wall = at(2026, 11, 23, 20, 0); /* somebody sets the clock */
  pass(60000);
  CHECK(w.tries->down > 3 << 20);
  unsigned looks = w.looks;
  ends(j->files[0], BITS_END_WHOLE);
  pass(3600000);
  CHECK(w.looks < looks + 4); /* nothing is transferred: nobody looks */
  world_end();
}

TEST(hours_in_which_nothing_goes) {
  world_begin("{\"limits\": \"09:00-17:30 mon-fri: 0\"}");
  w.wall = at(2026, 11, 23, 8, 0);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  CHECK_INT(j->running, 1);
  w.wall = at(2026, 11, 23, 9, 0);
  pass(61000);
  CHECK(w.tries->stopped);
  stopped_end();
  CHECK_INT(j->running, 0);
  CHECK_INT(j->state, BITS_QUEUED);
  CHECK_INT(w.failure_count, 0);
  pass(3600000);
  CHECK_INT(j->running, 0);
  w.wall = at(2026, 11, 23, 17, 30);
  pass(61000);
  CHECK_INT(j->running, 1);
  world_end();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); /* needs no tables */
  tzset();
  RUN(rates);
  RUN(texts_that_are_none);
  RUN(days_of_the_week);
  RUN(over_midnight);
  RUN(the_first_that_fits);
  RUN(summer_time);
  RUN(while_it_runs);
  RUN(hours_in_which_nothing_goes);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
