/*
** record_form: what a record looks like, and what is believed of a file that
** says it is one. Anybody may have damaged it.
*/
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/format.h"
#include "vss/bytes.h"
#include "vss/record_parts.h"

#define EPOCH_1601 11644473600LL /* seconds from 1601 to 1970 */

static const char *const states[] = {"preparing", "created", "deleting", NULL};

static const shape version = {.type = SHAPE_INT, .low = 1, .high = 1};
static const shape state = {.type = SHAPE_WORD, .words = states};
static const shape members = {
    .type = SHAPE_INT, .low = 1, .high = VOLUMES_MOST};
static const shape name = {.type = SHAPE_TEXT, .low = 1, .high = 255};
static const shape ticks = {.type = SHAPE_INT, .high = INT64_MAX};

static const shape_field fields[] = {
    {"version", &version, false},
    {"program", &shape_text, true},
    {"id", &shape_guid, false},
    {"set", &shape_guid, false},
    {"count", &members, false},
    {"state", &state, false},
    {"provider", &name, false},
    {"keep", &shape_map, false},
    {"attributes", &shape_bits, false},
    {"original", &shape_path, false},
    {"original_volume", &shape_text, true},
    {"path", &shape_path, true},
    {"device", &shape_text, true},
    {"created", &shape_time, false},
    {"created_100ns", &ticks, false},
    {"machine", &shape_text, true},
    {"owner", &shape_map, false},
    {"deleter", &shape_map, true},
    {"persistent", &shape_bool, false},
    {"exposed", &shape_path, true},
    {"exposed_boot", &shape_text, true},
    {"exposed_made", &shape_bool, true},
    {"surfaced_boot", &shape_text, true},
    {"loosening", &shape_bool, true},
    {"consistency", &shape_text, true},
    {"held", &shape_number, true},
    {"rehearsed", &shape_number, true},
    {"warnings", &shape_texts, true},
    {NULL, NULL, false},
};

const shape record_shape = {.type = SHAPE_MAP, .fields = fields};


bool record_id(const char *text, char id[GUID_TEXT]) {
  guid g;
  if (!guid_parse(text, &g)) return false;
  guid_format(&g, id);
  return true;
}


const char *record_text(const value *record, const char *name_) {
  return value_chars(value_get(record, name_), "");
}


bool record_is(const value *record, const char *state_) {
  return strcmp(record_text(record, "state"), state_) == 0;
}


bool record_put_text(value *record, const char *name_, const char *text) {
  return value_put(record, name_, value_text(text));
}


bool record_fits(const value *record, const char *id, buffer *why) {
  if (!shape_fits(record, &record_shape, why)) return false;
  if (id != NULL && strcmp(record_text(record, "id"), id) != 0) {
    buffer_format(why, "its id is %s, and its name says %s",
                  record_text(record, "id"), id);
    return false;
  }
  if (record_is(record, "created") && *record_text(record, "path") == '\0') {
    buffer_text(why, "path is missing");
    return false;
  }
  return true;
}


static error *damaged(const char *id, const char *what) {
  return vss_error(SAROS_E_DAMAGED,
                   "the record %s is damaged: %s; look into it, and put it "
                   "right or take it away",
                   id != NULL ? id : "of a shadow copy", what);
}


/* Takes over `v`. */
static value *believe(value *v, const char *id, error **e) {
  char what[64];
  snprintf(what, sizeof what, "the record %s",
           id != NULL ? id : "of a shadow copy");
  *e = format_newer(SAROS_FACADE_VSS, VSS_E_NOT_SUPPORTED, v, 1, what);
  if (*e != NULL) {
    value_free(v);
    return NULL;
  }
  v = bytes_in(v);
  if (v == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  buffer why = BUFFER_EMPTY;
  if (record_fits(v, id, &why)) {
    buffer_free(&why);
    return v;
  }
  *e = why.failed ? error_no_memory() : damaged(id, why.data);
  buffer_free(&why);
  value_free(v);
  return NULL;
}


value *record_parse(const char *text, size_t size, const char *id, error **e) {
  static const json_limits limits = {
      .depth = RECORD_DEPTH_MOST, .size = RECORD_SIZE_MOST, .values = 100000};
  error *why = NULL;
  value *v = json_read(text, size, &limits, &why);
  if (v != NULL) return believe(v, id, e);
  if (why->code == SAROS_E_OUTOFMEMORY)
    *e = why;
  else
    *e = error_because(damaged(id, why->message), why);
  return NULL;
}


/* ------------------------------------------------------------------
** Times
** ---------------------------------------------------------------- */

int64_t record_time(const struct timespec *when, char text[40]) {
  struct timespec now;
  struct tm tm;
  if (when == NULL) {
    clock_gettime(CLOCK_REALTIME, &now);
    when = &now;
  }
  localtime_r(&when->tv_sec, &tm);
  long offset = tm.tm_gmtoff / 60;
  size_t n = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + n, 40 - n, ".%03ld%c%02ld:%02ld", when->tv_nsec / 1000000,
           offset < 0 ? '-' : '+', labs(offset) / 60, labs(offset) % 60);
  return (when->tv_sec + EPOCH_1601) * 10000000 + when->tv_nsec / 100;
}


bool record_stamp(value *record, const struct timespec *when) {
  char text[40];
  int64_t since = record_time(when, text);
  return value_put(record, "created", value_text(text)) &&
         value_put(record, "created_100ns", value_int(since));
}
