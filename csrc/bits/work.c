/*
** What the calls do: mostly what bits.h says by the same name.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/call.h"
#include "bits/parts.h"

/* Its output says what was wrong with the queue, when that was set aside. */
error *bits_work_open(bits_call *c) {
  error *e = NULL, *told = NULL;
  bits_manager *m = bits_manager_open(c->options, &told, &e);
  if (m == NULL) return e;
  if (told != NULL) {
    c->output = value_text(told->message);
    error_unref(told);
  }
  atomic_store(&c->opened, m);
  return NULL;
}

error *bits_work_close(bits_call *c) {
  bits_manager_close(c->m);
  return NULL;
}

error *bits_work_configure(bits_call *c) {
  return bits_manager_set(c->m, c->options);
}

/* Its output is the GUID, by which the job is found. */
error *bits_work_create(bits_call *c) {
  error *e = NULL;
  bits_job *j = bits_job_create(c->m, c->options, &e);
  if (j == NULL) return e;
  c->output = value_text(bits_job_id(j));
  bits_job_unref(j);
  return c->output != NULL ? NULL : error_no_memory();
}

error *bits_work_resume(bits_call *c) {
  return bits_job_resume(c->j);
}

error *bits_work_suspend(bits_call *c) {
  return bits_job_suspend(c->j);
}

static error *tell(bits_call *c, error *e, uint32_t code) {
  if (e != NULL) return e;
  c->output = value_int(code);
  return c->output != NULL ? NULL : error_no_memory();
}

/* Their outputs are S_OK or BG_S_… */
error *bits_work_complete(bits_call *c) {
  uint32_t code = SAROS_S_OK;
  error *e = bits_job_complete(c->j, &code);
  return tell(c, e, code);
}

error *bits_work_cancel(bits_call *c) {
  uint32_t code = SAROS_S_OK;
  error *e = bits_job_cancel(c->j, &code);
  return tell(c, e, code);
}

error *bits_work_set(bits_call *c) {
  return bits_job_set(c->j, c->options);
}

error *bits_work_set_url(bits_call *c) {
  return bits_job_set_url(c->j, c->options);
}


/* ------------------------------------------------------------------
** What QMgr's AddFiles looks at before anything is added
** ---------------------------------------------------------------- */

#define PATH_MOST 4096

static error *check_directory(const char *path) {
  char directory[PATH_MOST];
  struct stat st;
  const char *slash = strrchr(path, '/');
  if (slash == NULL || (size_t)(slash - path) >= sizeof directory)
    return bits_fail(SAROS_E_INVALIDARG, "the local name is no full path");
  memcpy(directory, path, (size_t)(slash - path));
  directory[slash - path] = '\0';
  if (*directory == '\0') strcpy(directory, "/");
  if (stat(directory, &st) != 0 && errno == EACCES)
    return error_at(bits_fail(SAROS_E_ACCESSDENIED,
                              "the directory of the local file cannot be "
                              "entered"),
                    directory);
  if (stat(directory, &st) != 0 || !S_ISDIR(st.st_mode))
    return error_at(bits_fail(SAROS_E_INVALIDARG,
                              "the directory of the local file does not "
                              "exist; make it first"),
                    directory);
  if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0) return NULL;
  return error_at(bits_fail(SAROS_E_ACCESSDENIED,
                            "nothing may be written to the directory of the "
                            "local file"),
                  directory);
}

/* { paths = { … } } */
error *bits_work_check_files(bits_call *c) {
  const value *paths = value_get(c->options, "paths");
  for (uint32_t i = 0; paths != NULL && i < paths->count; i++) {
    error *e = check_directory(value_chars(paths->as.items[i], ""));
    if (e != NULL) return e;
  }
  return NULL;
}
