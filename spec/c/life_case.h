/*
** What the tests of persistent shadows share: one of a real file system, what a
** restart of the machine takes from it, and what can be seen of it then.
*/
#ifndef SAROS_LIFE_CASE_H
#define SAROS_LIFE_CASE_H

#include <sys/statvfs.h>

#include "real_case.h"

static char outer[300]; /* what the image lies on */
static int loops_before;

static inline bool begin_image(real *x) {
  const volume *v = volumes_get(EXT4_ON_XFS);
  if (v == NULL) return false;
  snprintf(outer, sizeof outer, "%s", volumes_get(XFS)->path);
  loops_before = volumes_loops(false);
  return make(x, EXT4_ON_XFS, &provider_image);
}

static inline value *now(const real *x) {
  error *e = NULL;
  value *r = record_load(x->p, x->id, &e);
  DONE(e);
  return r;
}

/* A file or directory in its place. */
static inline const char *placed(const real *x, const char *name) {
  static _Thread_local char ring[4][800];
  static _Thread_local int turn;
  char *path = NULL, *text = ring[turn++ % 4];
  value *r = now(x);
  DONE(keep_path_in(value_get(r, "keep"), "place", name, &path));
  snprintf(text, 800, "%s", path != NULL ? path : "");
  mem_free(path);
  value_free(r);
  return text;
}

/* How often something is mounted there. */
static inline int mounts_on(const char *point) {
  char line[5000], *name;
  int n = 0;
  FILE *f = fopen("/proc/self/mounts", "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    name = strchr(line, ' ') + 1;
    name[strcspn(name, " \n")] = 0;
    n += strcmp(name, point) == 0;
  }
  if (f != NULL) fclose(f);
  return n;
}

static inline bool is_readonly(const char *directory) {
  char path[900];
  snprintf(path, sizeof path, "%s/new", directory);
  bool made = mkdir(path, 0755) == 0;
  bool is = !made && errno == EROFS;
  if (made) rmdir(path);
  return is;
}

/* What a restart takes. */
static inline void take_mount(const real *x, const char *tree) {
  CHECK_INT(umount2(placed(x, tree), 0), 0);
  for (int i = 0; x->by == &provider_image && i < 6000; i++) {
    if (volumes_loops(false) == loops_before) return;
    usleep(10000); /* the kernel lets go of the device behind us */
  }
}

static inline void restart(const real *x, const char *tree) {
  take_mount(x, tree);
  value *r = now(x);
  age(r, r);
  value_put(r, "surfaced_boot", value_null());
  if (*record_text(r, "exposed") != 0)
    record_put_text(r, "exposed_boot", "11111111-1111-4111-8111-111111111111");
  DONE(record_save(x->p, r));
  value_free(r);
}

static inline value *reap(const real *x) {
  value *report = NULL;
  DONE(shadows_reap(x->p, NULL, &report));
  return report;
}

static inline void check_reap(const real *x, unsigned surfaced,
                              unsigned exposed, unsigned failed) {
  value *report = reap(x);
  CHECK_INT(value_get(report, "surfaced")->count, surfaced);
  CHECK_INT(value_get(report, "exposed")->count, exposed);
  CHECK_INT(value_get(report, "failed")->count, failed);
  CHECK_INT(value_get(report, "shadows")->count, 0);
  if (surfaced == 1) {
    CHECK_TEXT(word(value_get(report, "surfaced"), 0, "id"), x->id);
    CHECK_TEXT(word(value_get(report, "surfaced"), 0, "path"), x->path);
  }
  value_free(report);
}

/* Why it is missing; "" when it is not. */
static inline const char *missing(const real *x, const char *set) {
  static char text[1000];
  value *list = NULL;
  DONE(shadows_query(x->p, set, NULL, &list));
  text[0] = 0;
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(word(list, i, "id"), x->id) == 0)
      snprintf(text, sizeof text, "%s", word(list, i, "missing"));
  value_free(list);
  return text;
}

static inline error *find(const real *x) {
  value *properties = NULL;
  error *e = shadows_find(x->p, x->id, NULL, &properties);
  if (e == NULL && *record_text(properties, "missing") != 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND, "%s",
                  record_text(properties, "missing"));
  value_free(properties);
  return e;
}

static inline void delete_it(real *x) {
  unsigned deleted = 0;
  char not [37];
  DONE(shadows_delete(x->p, x->id, false, true, NULL, &deleted, not ));
  CHECK_INT(deleted, 1);
  CHECK(case_entries(x->path) == -1);
  if (x->by == &provider_image) CHECK_INT(volumes_loops(false), loops_before);
}

static inline void end(real *x) {
  delete_it(x);
  places_unref(x->p);
}

#endif
