/*
** What the suites about refusals share: a call that judges as every verb does,
** and does nothing.
*/
#ifndef SAROS_SPEC_VDS_JUDGE_CASE_H
#define SAROS_SPEC_VDS_JUDGE_CASE_H

#include "vds_case.h"

#include "vds/refuse.h"

static const vds_verb verbs[] = {{VDS_LOSES_NOTHING, 0},
                                 {VDS_LOSES_ACCESS, 0},
                                 {VDS_LOSES_VOLUME, 0},
                                 {VDS_LOSES_DISK, 0},
                                 {VDS_LOSES_NOTHING, VDS_DANGER_MOUNTED}};
static unsigned seen_forced;
static bool seen_go;

static inline error *judge(vds_call *c) {
  vds_identity who;
  if (!vds_identity_get(value_get(c->options, "object"), &who))
    return vds_error(SAROS_E_INVALIDARG, "no object");
  const vds_verb *verb = &verbs[vds_integer(c, "verb", 0)];
  return vds_permit(c, &who, verb, &seen_forced, &seen_go);
}

static const vds_work work = {"judge", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
                              VDS_KIND("judge", SAROS_CANCELLABLE), judge};

/* The object of a node, as a listing gives it. */
static inline value *object_of(const char *path) {
  vds_about a;
  vds_identity who;
  dev_t dev = 0;
  value *map = value_map();
  error *e = vds_about_named(path, &dev);
  if (e == NULL) e = vds_about_read(dev, &a);
  if (e != NULL) {
    printf("%s: %s\n", path, e->message);
    check_bad++;
    error_unref(e);
    return map;
  }
  vds_identity_of(&a, &who);
  vds_identity_put(map, &who);
  return map;
}

__attribute__((format(printf, 3, 4))) static inline answer judged(
    const char *path, int verb, const char *format, ...) {
  va_list args;
  uint32_t why = 0;
  va_start(args, format);
  value *options = vds_json(format, args);
  va_end(args);
  value_put(options, "object", object_of(path));
  value_put(options, "verb", value_int(verb));
  saros_api_table = saros_api_own();
  seen_go = false;
  seen_forced = 0;
  saros_op *op = vds_call_begin(&work, options, NULL, &why);
  CHECK_INT(why, 0);
  return end_of(op);
}

#define CHECK_REFUSED(path, verb, options, what) \
  do {                                           \
    answer a_ = judged(path, verb, options);     \
    CHECK_INT(a_.code, VDS_E_OPERATION_DENIED);  \
    CHECK(said(&a_, what));                      \
    CHECK(!seen_go);                             \
    forget(&a_);                                 \
  } while (0)

#endif
