/*
** What the suites about all calls together share: operations on a disk that was
** attached before, and questions of the original's kind.
*/
#ifndef SAROS_SPEC_VDS_WHOLE_CASE_H
#define SAROS_SPEC_VDS_WHOLE_CASE_H

#include "vds_case.h"

#include "vds/about.h"

#define PENDING 0x80042409u

static inline bool is_here(const char *call) {
  return vds_work_find(call) != NULL;
}

/* The object as a listing gives it; and the options with it. */
__attribute__((format(printf, 2, 3))) static inline value *options_on(
    const vds_identity *who, const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args), *object = value_map();
  va_end(args);
  vds_identity_put(object, who);
  value_put(options, "object", object);
  return options;
}

static inline vds_identity identity_at(const char *path) {
  vds_identity who = {0};
  dev_t dev = 0;
  error *e = vds_about_named(path, &dev);
  vds_about *a = e == NULL ? vds_about_new(dev, &e) : NULL;
  if (a != NULL) vds_identity_of(a, &who);
  if (e != NULL) {
    check_bad++;
    printf("%s: %s\n", path, e->message);
  }
  error_unref(e);
  mem_free(a);
  return who;
}

/* The identity of what was handed out by an attach. */
static inline vds_identity attach_image(const char *path) {
  vds_identity who = {0};
  answer a = ask("attach", "{'path':'%s'}", path);
  if (a.code != 0) printf("attach: %s\n", a.message);
  CHECK_INT(a.code, 0);
  if (a.output != NULL) CHECK(vds_identity_get(a.output, &who));
  forget(&a);
  return who;
}

/* A program that outlived who began it may have it open, or somebody who looks
   at all devices: that is waited for. */
static inline void detach_image(const char *path) {
  uint32_t code = VDS_E_DEVICE_IN_USE;
  for (int i = 0; code == VDS_E_DEVICE_IN_USE && i < 30; i++) {
    answer a = ask("detach", "{'path':'%s','force':['mounted','swap']}", path);
    code = a.code;
    if (code != 0) printf("detach: %s\n", a.message);
    forget(&a);
    if (code != 0) nanosleep(&(struct timespec){0, 20000000}, NULL);
  }
  CHECK_INT(code, 0);
}

/* QueryStatus, which has to succeed: the percentage, and *hr. */
static inline uint32_t percent_of(saros_op *op, uint32_t *hr) {
  uint32_t percent = 0xDEADBEEFu;
  *hr = 0xDEADBEEFu;
  CHECK_INT(saros_vds_query_status(op, hr, &percent), 0);
  return percent;
}

#endif
