/*
** policy: which versions stay. From the newest to the oldest, each rule keeps
** the first of every hour, day, … that it has not used up; what no rule keeps
** may go. As restic since 0.16 does it, but that all arithmetic is done in the
** version's own offset, never in the zone of whoever asks.
*/
#include <limits.h>
#include <string.h>

#include "repository/go.h"
#include "repository/snapshot.h"

static const char *const rule_names[REPO_RULES] = {
    "last", "hourly", "daily", "weekly", "monthly", "yearly"};

static bool span_is_zero(const repo_span *s) {
  return s->years == 0 && s->months == 0 && s->days == 0 && s->hours == 0;
}

static bool has_within(const repo_policy *p, int rule) {
  return p->has_within[rule] && !span_is_zero(&p->within[rule]);
}

bool repo_policy_is_empty(const repo_policy *p) {
  if (p->tags != NULL && p->tags->count > 0) return false;
  for (int i = 0; i < REPO_RULES; i++)
    if (p->keep[i] != 0 || has_within(p, i)) return false;
  return true;
}


/* ------------------------------------------------------------------
** Spans
** ---------------------------------------------------------------- */

/* Bounded, so that no sum of them leaves the calendar. */
enum { MOST = 100000000 };

bool repo_span_read(const char *text, repo_span *span) {
  *span = (repo_span){0, 0, 0, 0};
  if (*text == '\0') return false;
  while (*text != '\0') {
    int n = 0;
    const char *from = text;
    for (; *text >= '0' && *text <= '9'; text++) {
      n = n * 10 + (*text - '0');
      if (n > MOST) return false;
    }
    if (text == from) return false;
    switch (*text++) {
      case 'y': span->years = n; break;
      case 'm': span->months = n; break;
      case 'd': span->days = n; break;
      case 'h': span->hours = n; break;
      default: return false;
    }
  }
  return true;
}

static void put_span(buffer *b, const repo_span *s) {
  if (s->years != 0) buffer_format(b, "%dy", s->years);
  if (s->months != 0) buffer_format(b, "%dm", s->months);
  if (s->days != 0) buffer_format(b, "%dd", s->days);
  if (s->hours != 0) buffer_format(b, "%dh", s->hours);
}

/* The instant that lies so far before, by the calendar: a day of a month that
   has no such day is one of the next. */
static struct timespec before(struct timespec t, int32_t zone,
                              const repo_span *s) {
  repo_civil c;
  repo_go_civil((int64_t)t.tv_sec + zone, &c);
  int64_t days = repo_go_days(c.year - s->years, (int64_t)c.month - s->months,
                              (int64_t)c.day - s->days);
  int64_t seconds = days * 86400 + c.hour * 3600 + c.minute * 60 + c.second;
  seconds -= (int64_t)s->hours * 3600 + zone;
  return (struct timespec){(time_t)seconds, t.tv_nsec};
}

static bool is_after(struct timespec a, struct timespec b) {
  if (a.tv_sec != b.tv_sec) return a.tv_sec > b.tv_sec;
  return a.tv_nsec > b.tv_nsec;
}

bool repo_snapshot_is_ahead(const repo_snapshot *s, struct timespec now) {
  now.tv_sec += 26 * 3600;
  return is_after(s->time, now);
}


/* ------------------------------------------------------------------
** Buckets
** ---------------------------------------------------------------- */

/* The year and week of ISO 8601: those of that week's Thursday. */
static int64_t iso_week(int64_t local) {
  repo_civil c;
  repo_go_civil(local, &c);
  int64_t thursday = local + (int64_t)(3 - (c.weekday + 6) % 7) * 86400;
  repo_go_civil(thursday, &c);
  int64_t day =
      repo_go_days(c.year, c.month, c.day) - repo_go_days(c.year, 1, 1);
  return c.year * 100 + day / 7 + 1;
}

/* Two versions with the same number are in the same bucket. */
static int64_t bucket(int rule, const repo_snapshot *s, size_t position) {
  repo_civil c;
  int64_t local = (int64_t)s->time.tv_sec + s->zone;
  repo_go_civil(local, &c);
  switch (rule) {
    case REPO_KEEP_LAST: return (int64_t)position;
    case REPO_KEEP_HOURLY:
      return c.year * 1000000 + c.month * 10000 + c.day * 100 + c.hour;
    case REPO_KEEP_DAILY: return c.year * 10000 + c.month * 100 + c.day;
    case REPO_KEEP_WEEKLY: return iso_week(local);
    case REPO_KEEP_MONTHLY: return c.year * 100 + c.month;
    default: return c.year;
  }
}

/* A policy being applied. */
typedef struct applying {
  const repo_policy *p;
  int left[REPO_RULES];
  int64_t last[REPO_RULES], last_within[REPO_RULES];
  struct timespec latest;
  int32_t zone; /* of the latest */
  size_t count; /* of the versions */
  bool keep;    /* the one at hand */
  value *reasons;
  bool no_memory;
} applying;

/* Keeps the one at hand. The parts of the reason may be empty. */
static void keep(applying *a, const char *oldest, const char *what,
                 const char *kind, const repo_span *span) {
  a->keep = true;
  if (a->reasons == NULL) return;
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, oldest);
  buffer_text(&b, what);
  buffer_text(&b, kind);
  if (span != NULL) put_span(&b, span);
  if (b.failed || !value_add(a->reasons, value_string(b.data, b.size)))
    a->no_memory = true;
  buffer_free(&b);
}

/* While a rule has something left, the oldest of all stays too: so history is
   as long as it can be. */
static void apply_count(applying *a, const repo_snapshot *s, int rule,
                        size_t position) {
  bool oldest = position + 1 == a->count;
  if (a->left[rule] == 0) return;
  int64_t b = bucket(rule, s, position);
  bool same = b == a->last[rule];
  if (same && !oldest) return;
  a->last[rule] = b;
  if (a->left[rule] > 0) a->left[rule]--;
  keep(a, same ? "oldest " : "", rule_names[rule], " snapshot", NULL);
}

static void apply_within(applying *a, const repo_snapshot *s, int rule,
                         size_t position) {
  const repo_span *span = &a->p->within[rule];
  bool oldest = position + 1 == a->count;
  if (!has_within(a->p, rule)) return;
  if (!is_after(s->time, before(a->latest, a->zone, span))) return;
  if (rule == REPO_KEEP_LAST) { /* keep-within itself has no buckets */
    keep(a, "", "within ", "", span);
    return;
  }
  int64_t b = bucket(rule, s, position);
  bool same = b == a->last_within[rule];
  if (same && !oldest) return;
  a->last_within[rule] = b;
  keep(a, same ? "oldest " : "", rule_names[rule], " within ", span);
}

static void put_tags(buffer *b, const value *tags) {
  buffer_text(b, "has tags [");
  for (uint32_t i = 0; i < tags->count; i++) {
    if (i > 0) buffer_text(b, ", ");
    buffer_text(b, value_chars(tags->as.items[i], ""));
  }
  buffer_byte(b, ']');
}

static void apply_tags(applying *a, const repo_snapshot *s) {
  const value *lists = a->p->tags;
  for (uint32_t i = 0; lists != NULL && i < lists->count; i++) {
    const value *tags = lists->as.items[i];
    if (tags->type != VALUE_LIST || !repo_snapshot_has_tags(s, tags)) continue;
    buffer b = BUFFER_EMPTY;
    put_tags(&b, tags);
    if (b.failed)
      a->no_memory = true;
    else
      keep(a, "", b.data, "", NULL);
    buffer_free(&b);
  }
}

static void apply_all(applying *a, const repo_snapshot *s, size_t position) {
  apply_tags(a, s);
  apply_within(a, s, REPO_KEEP_LAST, position);
  for (int rule = 0; rule < REPO_RULES; rule++)
    apply_count(a, s, rule, position);
  for (int rule = REPO_KEEP_HOURLY; rule < REPO_RULES; rule++)
    apply_within(a, s, rule, position);
}


/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

typedef struct entry {
  const repo_snapshot *snapshot;
  size_t index;
} entry;

/* Newest first; those of the same time as they were given. */
static int newest_first(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (is_after(x->snapshot->time, y->snapshot->time)) return -1;
  if (is_after(y->snapshot->time, x->snapshot->time)) return 1;
  return x->index < y->index ? -1 : x->index > y->index;
}

static entry *sorted(repo_snapshot *const *all, size_t count) {
  entry *entries = mem_alloc((count > 0 ? count : 1) * sizeof *entries);
  if (entries == NULL) return NULL;
  for (size_t i = 0; i < count; i++) entries[i] = (entry){all[i], i};
  qsort(entries, count, sizeof *entries, newest_first);
  return entries;
}

/* The newest that is not in the future; when all are, before all time: then
   everything is within. */
static void find_latest(applying *a, const entry *entries, size_t count,
                        struct timespec now) {
  a->latest = (struct timespec){-62135596800, 0};
  a->zone = 0;
  for (size_t i = 0; i < count; i++) {
    const repo_snapshot *s = entries[i].snapshot;
    if (!is_after(now, s->time)) continue;
    if (is_after(a->latest, s->time)) break; /* nothing is older than that */
    a->latest = s->time;
    a->zone = s->zone;
    break;
  }
}

static void apply_ahead(applying *a) {
  keep(a, "", "ahead of the clock", "", NULL);
}

static void begin(applying *a, const repo_policy *p, size_t count) {
  *a = (applying){.p = p, .count = count};
  for (int i = 0; i < REPO_RULES; i++) {
    a->left[i] = p->keep[i];
    a->last[i] = a->last_within[i] = INT64_MIN;
  }
}

/* What is ahead of the clock stays, and is none of those that are counted: else
   it would be the newest for ever, and what is new would go in its place. */
static error *apply(applying *a, const entry *entries, struct timespec now,
                    bool *keep, value **reasons) {
  size_t ahead = 0;
  while (ahead < a->count &&
         repo_snapshot_is_ahead(entries[ahead].snapshot, now))
    ahead++;
  size_t all = a->count;
  a->count -= ahead;
  for (size_t i = 0; i < all; i++) {
    a->keep = false;
    a->reasons = reasons != NULL ? value_list() : NULL;
    if (reasons != NULL && a->reasons == NULL) a->no_memory = true;
    if (!a->no_memory && i < ahead)
      apply_ahead(a);
    else if (!a->no_memory)
      apply_all(a, entries[i].snapshot, i - ahead);
    keep[entries[i].index] = a->keep;
    if (!a->keep || a->no_memory)
      value_free(a->reasons);
    else if (reasons != NULL)
      reasons[entries[i].index] = a->reasons;
    if (a->no_memory) return error_no_memory();
  }
  return NULL;
}

/* Every one stays, and the reason is that nobody asked. */
static error *keep_all(size_t count, bool *keep, value **reasons) {
  for (size_t i = 0; i < count; i++) {
    keep[i] = true;
    if (reasons == NULL) continue;
    reasons[i] = value_list();
    if (reasons[i] == NULL ||
        !value_add(reasons[i], value_text("policy is empty")))
      return error_no_memory();
  }
  return NULL;
}

error *repo_policy_apply(const repo_policy *p, repo_snapshot *const *all,
                         size_t count, struct timespec now, bool *keep,
                         value **reasons) {
  error *e;
  for (size_t i = 0; i < count; i++) {
    keep[i] = true;
    if (reasons != NULL) reasons[i] = NULL;
  }
  if (repo_policy_is_empty(p)) {
    e = keep_all(count, keep, reasons);
  } else {
    entry *entries = sorted(all, count);
    if (entries == NULL) return error_no_memory();
    applying a;
    begin(&a, p, count);
    find_latest(&a, entries, count, now);
    e = apply(&a, entries, now, keep, reasons);
    mem_free(entries);
  }
  /* What was not judged is not to be removed. */
  for (size_t i = 0; e != NULL && i < count; i++) {
    keep[i] = true;
    if (reasons == NULL) continue;
    value_free(reasons[i]);
    reasons[i] = NULL;
  }
  return e;
}
