/*
** care_case: what the suites about checking and pruning share: a repository
** that restic has filled and forgotten half of, copies of it that cost nothing,
** and what a check says about them.
*/
#ifndef SAROS_CARE_CASE_H
#define SAROS_CARE_CASE_H

#include "repository/check.h"
#include "repository/forget.h"
#include "repository/prune.h"
#include "restore_case.h"

static char care_base[100];
static unsigned long long care_seed = 1;

static inline unsigned care_random(unsigned below) {
  care_seed = care_seed * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(care_seed >> 33) % below;
}

static inline const char *care_at(const char *name) {
  static char texts[8][400];
  static unsigned next;
  char *text = texts[next++ % 8];
  snprintf(text, sizeof texts[0], "%s/%s", care_base, name);
  return text;
}

#define SHELL(...) CHECK(run_shell(NULL, __VA_ARGS__))

/* What restic is asked of a repository below the base. */
static inline bool care_restic(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool care_restic(const char *name, const char *format, ...) {
  char command[1000];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  return run_shell(NULL, "restic --no-cache -q -r '%s' %s >/dev/null",
                   care_at(name), command);
}

/* Six versions; the files of each are partly those of the one before. Three are
   forgotten, and a pack is there that nobody names. */
static inline void care_fill(const char *name, int version) {
  cheap_repository(care_at(name), "x", (unsigned)version);
  SHELL("mkdir -p '%s/s' && head -c 300000 /dev/urandom >'%s/s/always'",
        care_base, care_base);
  for (int i = 0; i < 6; i++) {
    SHELL(
        "cd '%s/s' && mkdir -p d%d/e && head -c 1500000 /dev/urandom >d%d/a "
        "&& seq %d 60000 >d%d/e/text && head -c 9000 /dev/urandom >d%d/e/b "
        "&& rm -rf d%d/a d%d/e",
        care_base, i, i, i, i, i, i - 2, i - 3);
    if (i == 1) /* what this one stores the next one stores again */
      SHELL("mkdir '%s/away' && mv '%s/%s/index/'* '%s/away/'", care_base,
            care_base, name, care_base);
    CHECK(care_restic(name, "backup --force --pack-size 4 '%s/s'", care_base));
    if (i == 1)
      SHELL("mv '%s/away/'* '%s/%s/index/' && rmdir '%s/away'", care_base,
            care_base, name, care_base);
  }
  CHECK(care_restic(name, "forget --keep-last 3"));
  SHELL(
      "cd '%s/%s' && head -c 50000 /dev/urandom >x && "
      "n=$(sha256sum x | cut -c-64) && "
      "d=data/$(echo $n | cut -c-2) && mkdir -p $d && mv x $d/$n && "
      "rm -rf '%s/s' && "
      "find data -type d -empty -delete", /* or each copy had all 256 */
      care_base, name, care_base);
}

/* A copy whose files are the same ones, until they are damaged; in the same
   directory as the copy before. */
static inline void care_copy(const char *from, const char *to) {
  SHELL("mkdir -p '%s' && rm -rf '%s'/* && cp -al '%s/.' '%s'", care_at(to),
        care_at(to), care_at(from), care_at(to));
}

static inline bool care_begin(void) {
  if (system("command -v restic >/dev/null 2>&1") != 0) return false;
  const char *mark = getenv("SAROS_SUITE");
  /* Nobody waits for a disk; what has to reach one is test_repo_durable's. */
  snprintf(care_base, sizeof care_base, "%s/saros-%.60s-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
           mark != NULL ? mark : "care");
  if (mkdtemp(care_base) == NULL) return false;
  setenv("RESTIC_PASSWORD", "x", 1);
  setenv("RESTIC_PROGRESS_FPS", "0.1", 1);
  repo_lock_time.settle = 0;
  return true;
}

static inline void care_end(void) {
  if (care_base[0] != '\0') run_shell(NULL, "rm -rf '%s'", care_base);
}


/* ------------------------------------------------------------------
** Ours
** ---------------------------------------------------------------- */

static inline void care_tell(const value *report) {
  const value *list = value_get(report, "findings");
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    printf("  (%s: %s)\n",
           value_chars(value_get(list->as.items[i], "kind"), "?"),
           value_chars(value_get(list->as.items[i], "message"), "?"));
}

/* What a check says; NULL when it could not be done. */
static inline value *care_check(repo *r, repo_check_which which,
                                uint64_t *count) {
  repo_check_options o = {.which = which};
  repo_hold *h = NULL;
  value *report = NULL;
  *count = 0;
  error *e = repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h);
  if (e == NULL)
    e = repo_hold_end(h, repo_check(h, &o, &report, count), NULL, NULL);
  if (e != NULL) printf("check: %s\n", e->message);
  error_unref(e);
  if (report != NULL && getenv("V") != NULL) care_tell(report);
  return report;
}

static inline bool care_is_whole(repo *r) {
  uint64_t count;
  value *report = care_check(r, REPO_CHECK_ALL, &count);
  if (count > 0) care_tell(report);
  bool whole = report != NULL && count == 0;
  value_free(report);
  return whole;
}

static inline const value *care_first(const value *report, const char *kind) {
  const value *list = value_get(report, "findings");
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(value_chars(value_get(list->as.items[i], "kind"), ""), kind) ==
        0)
      return list->as.items[i];
  return NULL;
}

static inline int64_t care_number(const value *report, const char *name) {
  return value_integer(value_get(report, name), -1);
}

static inline error *care_prune(repo *r, const repo_prune_options *o,
                                value **report) {
  repo_hold *h = NULL;
  *report = NULL;
  error *e = repo_hold_take(r, REPO_REMOVES, NULL, NULL, NULL, &h);
  if (e != NULL) return e;
  return repo_hold_end(h, repo_prune(h, o, report), NULL, NULL);
}

static inline error *care_forget(repo *r, const char *options, value **report) {
  repo_forget_options o;
  repo_hold *h = NULL;
  value *v = json_options("%s", options);
  *report = NULL;
  error *e = repo_forget_read_options(v, &o);
  if (e == NULL) {
    e = repo_hold_take(r, REPO_REMOVES, NULL, NULL, NULL, &h);
    if (e == NULL) e = repo_hold_end(h, repo_forget(h, &o, report), NULL, NULL);
    repo_forget_clear(&o);
  }
  value_free(v);
  return e;
}

#endif
