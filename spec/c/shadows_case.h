/*
** What the tests of deleting and of reaping share.
*/
#ifndef SAROS_SHADOWS_CASE_H
#define SAROS_SHADOWS_CASE_H

#include "record_case.h"

static inline void save(const places *p, const value *r) {
  CHECK_CODE(record_save(p, r), 0);
}

static inline value *load(const places *p, const value *r) {
  error *e = NULL;
  value *found = record_load(p, id_of(r), &e);
  error_unref(e);
  return found;
}

static inline bool is_recorded(const places *p, const value *r) {
  value *found = load(p, r);
  value_free(found);
  return found != NULL;
}

static inline uint32_t count_of(const places *p) {
  error *e = NULL;
  value *list = record_list(p, &e);
  uint32_t count = list != NULL ? list->count : 9999;
  value_free(list);
  return count;
}

static const char nothing[] = "00000000-0000-0000-0000-000000000000";

/* One; the code, 0 for none. */
static inline uint32_t delete_it(const places *p, const value *r, bool force) {
  unsigned deleted;
  char not [GUID_TEXT];
  error *e = shadows_delete(p, id_of(r), false, force, NULL, &deleted, not );
  CHECK_INT(deleted, e == NULL);
  CHECK_TEXT(not, e == NULL ? nothing : id_of(r));
  CHECK(e == NULL || strlen(e->message) > 5);
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  return code;
}

static inline value *reap(const places *p) {
  value *report = NULL;
  CHECK_CODE(shadows_reap(p, NULL, &report), 0);
  return report;
}

static inline unsigned in_report(const value *report, const char *list) {
  const value *v = value_get(report, list);
  return v != NULL ? v->count : 9999;
}

/* Reaps; how many were taken away, and how many could not be. */
static inline void check_reap(const places *p, unsigned taken,
                              unsigned failed) {
  value *report = reap(p);
  CHECK_INT(in_report(report, "shadows"), taken);
  CHECK_INT(in_report(report, "failed"), failed);
  CHECK_INT(in_report(report, "thawed"), 0);
  value_free(report);
}


typedef struct made {
  places *p;
  value *r[3];
} made;

/* Takes over what its parent made, and saves it. */
static inline int make_mine(void *with) {
  made *m = with;
  for (int i = 0; i < 3 && m->r[i] != NULL; i++) {
    owner_put(m->r[i]);
    error *e = record_save(m->p, m->r[i]);
    if (e != NULL) return 1;
  }
  return 0;
}

typedef struct deleting {
  const places *p;
  const value *r;
  uint32_t code;
} deleting;

#endif
