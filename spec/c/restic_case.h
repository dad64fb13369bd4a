/*
** The real restic, asked from a test: what it writes is what ours must be. It
** has a repository of its own in a folder that is removed afterwards.
*/
#ifndef SAROS_RESTIC_CASE_H
#define SAROS_RESTIC_CASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "check.h"

static char restic_base[64]; /* "" when there is none */

/* All that a shell command writes, appended. False: it did not end with 0. */
static inline bool run_shell(buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool run_shell(buffer *out, const char *format, ...) {
  char command[8192], bytes[65536];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  FILE *f = popen(command, "r");
  if (f == NULL) return false;
  for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
    if (out != NULL) buffer_put(out, bytes, n);
  int status = pclose(f);
  if (status != 0) printf("status %d of: %s\n", status, command);
  return status == 0;
}

/* Whether restic is here; then there is a folder, and the environment says
   where in it the repository is to be. */
static inline bool restic_begin(const char *folder) {
  if (system("command -v restic >/dev/null 2>&1") != 0) return false;
  snprintf(restic_base, sizeof restic_base, "%s/saros-restic.XXXXXX", folder);
  if (mkdtemp(restic_base) == NULL) return false;
  char repository[100];
  snprintf(repository, sizeof repository, "%s/repository", restic_base);
  setenv("RESTIC_REPOSITORY", repository, 1);
  setenv("RESTIC_PASSWORD", "x", 1);
  setenv("RESTIC_PROGRESS_FPS", "0.1", 1);
  return true;
}

static inline void restic_end(void) {
  if (restic_base[0] != '\0') run_shell(NULL, "rm -rf '%s'", restic_base);
  restic_base[0] = '\0';
}

/* A blob's bytes. */
static inline bool restic_blob(const char *id, buffer *b) {
  return run_shell(b, "restic --no-cache --no-lock -q cat blob %s", id);
}

/* What a command says in JSON. */
static inline value *restic_json(const char *command) {
  buffer b = BUFFER_EMPTY;
  error *e = NULL;
  value *v = NULL;
  if (run_shell(&b, "%s", command)) v = json_read(b.data, b.size, NULL, &e);
  if (e != NULL) printf("%s\n", e->message);
  error_unref(e);
  buffer_free(&b);
  return v;
}

#endif
