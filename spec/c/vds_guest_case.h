/*
** Tests that need a kernel of their own, or a right that is missing here: the
** program is run once more, in a guest (spec/vm), with SAROS_GUEST set, and its
** main runs other tests there.
*/
#ifndef SAROS_SPEC_VDS_GUEST_CASE_H
#define SAROS_SPEC_VDS_GUEST_CASE_H

#include "volumes.h"

static char guest_last_line[500];

static inline bool in_the_guest(void) {
  return getenv("SAROS_GUEST") != NULL;
}

/* Its output is ours, each line marked; its status. */
static inline int guest_show(const char *command) {
  char line[500];
  FILE *f = popen(command, "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    line[strcspn(line, "\n")] = 0;
    printf("  guest: %s\n", line);
    snprintf(guest_last_line, sizeof guest_last_line, "%s", line);
  }
  int status = f != NULL ? pclose(f) : -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* NULL: all passed there, or it is counted as failed here; else why there is no
   guest. `options` are spec/vm/run's. */
static inline const char *guest_run(const char *options) {
  static char reason[600];
  char command[1500], self[500];
  const char *build = getenv("SAROS_BUILD");
  if (getenv("SAROS_LONG") == NULL)
    return "a guest takes minutes: make test-long";
  if (getenv("SAROS_SANITIZER") != NULL)
    return "under a sanitizer or valgrind no guest is started";
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = 0;
  if (build == NULL) build = "build";
  snprintf(command, sizeof command, "spec/vm/build '%s/vm' 2>&1", build);
  int r = guest_show(command);
  if (r == 0) {
    snprintf(command, sizeof command,
             "spec/vm/run %s -e SAROS_GUEST=1 -e SAROS_TIMES=1 -t 900 '%s/vm' "
             "'%s' 2>&1",
             options, build, self);
    r = guest_show(command);
  }
  if (r == 77) {
    snprintf(reason, sizeof reason, "no guest here: %s", guest_last_line);
    return reason;
  }
  CHECK_INT(r, 0);
  CHECK(strstr(guest_last_line, " passed, 0 failed, 0 skipped") != NULL);
  return NULL;
}

#endif
