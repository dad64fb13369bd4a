/*
** Limits by the time of day: "09:00-17:30 mon-fri: 1M". A rule is a span of
** local time, the days on which it begins (all, when none is named) and a
** rate: for both ways, or "down/up"; "none" lifts a limit, 0 lets nothing
** through. A span that ends before it begins goes over midnight and belongs to
** the day of its beginning. The first rule that fits counts.
**
** What counts now is asked of the wall clock each time, and at least once a
** minute while anything is transferred: so a clock that was set, and an hour
** that comes twice or not at all, need no rule of their own.
*/
#include <string.h>
#include <strings.h>

#include "bits/mover_parts.h"

#define DAY_MINUTES (24 * 60)

static const char *skip_blanks(const char *t) {
  while (*t == ' ' || *t == '\t') t++;
  return t;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* HH:MM, also 24:00. */
static bool read_time(const char **text, uint16_t *minutes) {
  const char *t = *text;
  unsigned hour = 0, minute = 0;
  if (!is_digit(*t)) return false;
  hour = (unsigned)(*t++ - '0');
  if (is_digit(*t)) hour = hour * 10 + (unsigned)(*t++ - '0');
  if (*t++ != ':' || !is_digit(t[0]) || !is_digit(t[1])) return false;
  minute = (unsigned)(t[0] - '0') * 10 + (unsigned)(t[1] - '0');
  t += 2;
  if (minute > 59 || hour * 60 + minute > DAY_MINUTES) return false;
  *minutes = (uint16_t)(hour * 60 + minute);
  *text = t;
  return true;
}

static bool read_day(const char **text, unsigned *day) {
  static const char *const names[] = {"sun", "mon", "tue", "wed",
                                      "thu", "fri", "sat"};
  for (unsigned i = 0; i < 7; i++)
    if (strncasecmp(*text, names[i], 3) == 0) {
      *text += 3;
      *day = i;
      return true;
    }
  return false;
}

/* "mon-fri", "sat,sun", "fri-mon"; nothing: all. */
static bool read_days(const char **text, uint8_t *days) {
  *days = 0;
  if (**text == ':') {
    *days = 0x7F;
    return true;
  }
  for (;;) {
    unsigned from, to;
    if (!read_day(text, &from)) return false;
    to = from;
    if (**text == '-') {
      ++*text;
      if (!read_day(text, &to)) return false;
    }
    for (unsigned d = from;; d = (d + 1) % 7) {
      *days = (uint8_t)(*days | 1u << d);
      if (d == to) break;
    }
    *text = skip_blanks(*text);
    if (**text != ',') return true;
    *text = skip_blanks(*text + 1);
  }
}

static int shift_of(char c) {
  switch (c) {
    case 'k':
    case 'K': return 10;
    case 'm':
    case 'M': return 20;
    case 'g':
    case 'G': return 30;
    default: return 0;
  }
}

bool hours_rate(const char *text, const char **end, uint64_t *rate) {
  const char *t = skip_blanks(text);
  if (strncasecmp(t, "none", 4) == 0) {
    *rate = HOURS_ANY;
    *end = skip_blanks(t + 4);
    return true;
  }
  uint64_t whole = 0, part = 0, parts = 1;
  if (!is_digit(*t)) return false;
  for (; is_digit(*t); t++) {
    if (whole > (uint64_t)1 << 40) return false;
    whole = whole * 10 + (uint64_t)(*t - '0');
  }
  if (*t == '.' && is_digit(t[1]))
    for (t++; is_digit(*t); t++)
      if (parts < 1000000) {
        part = part * 10 + (uint64_t)(*t - '0');
        parts *= 10;
      }
  int shift = shift_of(*t);
  if (shift > 0) t++;
  if (whole >= (uint64_t)1 << (62 - shift)) return false;
  *rate = (whole << shift) + ((part << shift) / parts);
  /* The least that is not nothing. */
  if (*rate == 0 && part > 0) *rate = 1;
  *end = skip_blanks(t);
  return true;
}

/* A literal that says what is wrong, or NULL. */
static const char *read_rule(const char *t, hours_rule *r) {
  t = skip_blanks(t);
  if (!read_time(&t, &r->from)) return "it does not begin with a time, 09:00";
  t = skip_blanks(t);
  if (*t++ != '-') return "its span is not written 09:00-17:30";
  t = skip_blanks(t);
  if (!read_time(&t, &r->to)) return "its span does not end with a time, 17:30";
  if (r->from == r->to || r->from == DAY_MINUTES)
    return "its span is empty (a whole day is 00:00-24:00)";
  t = skip_blanks(t);
  if (!read_days(&t, &r->days))
    return "its days are not like mon-fri or sat,sun";
  t = skip_blanks(t);
  if (*t++ != ':') return "a colon and a rate do not follow";
  if (!hours_rate(t, &t, &r->down)) return "its rate is not like 1M, 0 or none";
  r->up = r->down;
  if (*t == '/' && !hours_rate(t + 1, &t, &r->up))
    return "its second rate is not like 1M, 0 or none";
  if (*t != '\0') return "something stands behind its rate";
  return NULL;
}

static error *add_rule(hours *h, const char *text) {
  hours_rule r;
  const char *why = read_rule(text, &r);
  if (why != NULL)
    return bits_fail(SAROS_E_INVALIDARG,
                     "\"%.80s\" is no limit by the time of day: %s. Write it "
                     "like \"09:00-17:30 mon-fri: 1M\"",
                     text, why);
  hours_rule *rules = mem_grow(h->rules, (h->count + 1) * sizeof *rules);
  if (rules == NULL) return error_no_memory();
  h->rules = rules;
  h->rules[h->count++] = r;
  return NULL;
}

error *hours_read(const value *v, hours *h) {
  error *e = NULL;
  *h = (hours){NULL, 0};
  if (v == NULL || v->type == VALUE_NULL) return NULL;
  if (v->type == VALUE_STRING) {
    e = add_rule(h, value_chars(v, ""));
  } else if (v->type == VALUE_LIST ||
             (v->type == VALUE_MAP && v->count == 0)) { /* {} may be either */
    for (uint32_t i = 0; v->type == VALUE_LIST && e == NULL && i < v->count;
         i++) {
      const char *text = value_chars(v->as.items[i], NULL);
      e = text != NULL ? add_rule(h, text)
                       : bits_fail(SAROS_E_INVALIDARG,
                                   "limits is a list of texts, each like "
                                   "\"09:00-17:30 mon-fri: 1M\"");
    }
  } else {
    e = bits_fail(SAROS_E_INVALIDARG,
                  "limits is a text like \"09:00-17:30 mon-fri: 1M\", or a "
                  "list of such");
  }
  if (e != NULL) hours_free(h);
  return e;
}

void hours_free(hours *h) {
  mem_free(h->rules);
  *h = (hours){NULL, 0};
}

static bool fits(const hours_rule *r, unsigned day, unsigned minute) {
  if (r->from < r->to)
    return (r->days >> day & 1) != 0 && minute >= r->from && minute < r->to;
  /* Over midnight: the evening of this day, or the morning behind the last. */
  if (minute >= r->from) return (r->days >> day & 1) != 0;
  return minute < r->to && (r->days >> (day + 6) % 7 & 1) != 0;
}

bool hours_at(const hours *h, time_t now, uint64_t *down, uint64_t *up) {
  struct tm t;
  if (h->count == 0 || localtime_r(&now, &t) == NULL) return false;
  unsigned minute = (unsigned)(t.tm_hour * 60 + t.tm_min);
  for (size_t i = 0; i < h->count; i++)
    if (fits(&h->rules[i], (unsigned)t.tm_wday, minute)) {
      *down = h->rules[i].down;
      *up = h->rules[i].up;
      return true;
    }
  return false;
}
