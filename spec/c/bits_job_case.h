/*
** What tests of what is said to jobs, and of what they tell, share. The queue,
** `m`, begins nothing.
*/
#ifndef SAROS_SPEC_BITS_JOB_CASE_H
#define SAROS_SPEC_BITS_JOB_CASE_H

#include "bits/job_parts.h"
#include "bits_case.h"
#include "check.h"

#define HEX32 "0123456789abcdef0123456789ABCDEF"

static bits_manager *m;

static inline void drop(bits_job *j) {
  uint32_t code;
  error_unref(bits_job_cancel(j, &code));
  bits_job_unref(j);
}

/* '$' is the folder. */
static inline uint32_t add(bits_job *j, const char *options) {
  char text[2000];
  size_t n = 0;
  for (; *options != '\0' && n < sizeof text - 100; options++)
    if (*options == '$')
      n += (size_t)snprintf(text + n, sizeof text - n, "%s", world_folder);
    else
      text[n++] = *options;
  text[n] = '\0';
  value *v = json_of("%s", text);
  uint32_t code = code_of(bits_job_add_file(j, v));
  value_free(v);
  return code;
}

static inline const char *text_of(const value *map, const char *name) {
  return value_chars(value_get(map, name), "(none)");
}

#endif
