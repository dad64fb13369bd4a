/*
** What tests of properties and rows share: a manager that has only its lock,
** `m`, jobs of it, what setting is answered with, and a row read into another
** job.
*/
#ifndef SAROS_SPEC_BITS_PROPERTIES_CASE_H
#define SAROS_SPEC_BITS_PROPERTIES_CASE_H

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/job_parts.h"
#include "check.h"

__attribute__((weak)) const saros_api *saros_api_table;

/* Nothing here needs a queue. */
static bits_manager m;

static inline void properties_begin(int argc, char **argv) {
  check_begin(argc, argv);
  atomic_init(&m.refs, 1000000);
  pthread_mutex_init(&m.lock, NULL);
}

static inline bits_job *new_job(void) {
  bits_job *j = bits_job_new(&m, "01234567-89ab-4cde-8f01-23456789abcd", 1,
                             BITS_DOWNLOAD);
  if (j == NULL) abort();
  return j;
}

/* JSON with single quotes. */
static inline value *json(const char *text) {
  char *copy = strdup(text);
  for (char *c = copy; *c != '\0'; c++)
    if (*c == '\'') *c = '"';
  error *e = NULL;
  value *v = json_read(copy, strlen(copy), NULL, &e);
  if (v == NULL) {
    printf("%s: %s\n", copy, e->message);
    abort();
  }
  free(copy);
  return v;
}

static char said[1000];

static inline uint32_t set_value(bits_job *j, const value *v) {
  error *e = bits_properties_read(j, v, false);
  uint32_t code = e != NULL ? e->code : 0;
  snprintf(said, sizeof said, "%s", e != NULL ? e->message : "");
  error_unref(e);
  return code;
}

static inline uint32_t set(bits_job *j, const char *text) {
  value *v = json(text);
  uint32_t code = set_value(j, v);
  value_free(v);
  return code;
}

/* The row, read into another job. */
static inline bits_job *reload(const bits_job *j) {
  char *row = bits_properties_write(j);
  error *e = NULL;
  value *v = json_read(row, strlen(row), NULL, &e);
  if (v == NULL) abort();
  bits_job *other = new_job();
  error_unref(bits_properties_read(other, v, true));
  value_free(v);
  mem_free(row);
  return other;
}

#define BAD SAROS_E_INVALIDARG

#endif
