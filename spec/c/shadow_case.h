/*
** What the tests of providers share: a shadow as the coordinator leads it from
** plan to finish, its record as JSON in a file (so that what destroy gets is
** what was on disk, and nothing else), and a death at any point between.
*/
#ifndef SAROS_SHADOW_CASE_H
#define SAROS_SHADOW_CASE_H

#include <pthread.h>
#include <stdatomic.h>

#include "op/engine.h"
#include "volumes.h"
#include "vss/place.h"
#include "vss/provider.h"

static inline error *case_note(shadow *s) {
  buffer text = BUFFER_EMPTY;
  char path[700];
  snprintf(path, sizeof path, "%s", (const char *)s->note_self);
  json_write(&text, s->keep, JSON_INDENTED);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool good = !text.failed && fd >= 0 &&
              write(fd, text.data, text.size) == (ssize_t)text.size;
  if (fd >= 0) close(fd);
  bool failed = text.failed;
  buffer_free(&text);
  if (good) return NULL;
  return failed ? error_no_memory()
                : vss_error(SAROS_E_FAIL, "cannot write the note");
}

static inline value *case_keep(const char *file) {
  static char text[100000];
  error *e = NULL;
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
  if (fd >= 0) close(fd);
  value *keep = n > 0 ? json_read(text, (size_t)n, NULL, &e) : NULL;
  error_unref(e);
  return keep;
}

/* Prints it, unless it is the code that was expected; 0 is NULL. */
static inline uint32_t case_end(error *e, uint32_t expected) {
  uint32_t code = e != NULL ? e->code : 0;
  if (code != expected)
    printf("error: %s\n", e != NULL ? e->message : "(none)");
  error_unref(e);
  return code;
}

/* The same, and its message has these words. */
static inline bool case_says(error *e, uint32_t expected, const char *words) {
  bool says =
      e != NULL && e->code == expected && strstr(e->message, words) != NULL;
  if (!says) printf("error: %s\n", e != NULL ? e->message : "(none)");
  error_unref(e);
  return says;
}

#define DONE(e) CHECK_INT(case_end((e), 0), 0)

static char case_file[700]; /* the record */

/* Found, planned and noted; NULL and *e. */
static inline shadow *case_plan(const provider *p, const char *path,
                                error **e) {
  static const char set[] = "11111111-2222-4333-8444-555555555555";
  snprintf(case_file, sizeof case_file, "%s", volumes_in("record.json"));
  origin *from = origin_find(path, e);
  if (from == NULL) return NULL;
  *e = p->probe(from);
  if (*e != NULL) {
    origin_free(from);
    return NULL;
  }
  shadow *s = shadow_make(set, path, from, p);
  if (s == NULL || !shadow_place(s, volumes_scratch)) {
    shadow_free(s);
    *e = error_no_memory();
    return NULL;
  }
  s->note = case_note;
  s->note_self = case_file;
  *e = p->plan(s);
  if (*e == NULL) *e = shadow_note(s);
  if (*e == NULL) return s;
  shadow_free(s);
  return NULL;
}

/* FIFREEZE and FITHAW of where the original lies, as its provider wants it. */
static inline int case_freeze(const shadow *s, bool on) {
  if (s->provider->freeze != FREEZE_CALLER) return 0;
  int fd = open(s->from->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int r = ioctl(fd, on ? FIFREEZE : FITHAW, 0);
  if (r != 0) printf("%s: %s\n", on ? "freeze" : "thaw", strerror(errno));
  close(fd);
  return r;
}

/* All of it, and what finish found is recorded too, as the coordinator does;
   what fails, fails the test. NULL: it did. */
static inline error *case_take(shadow *s) {
  error *e = s->provider->prepare(s, NULL);
  if (e != NULL) return e;
  CHECK_INT(case_freeze(s, true), 0);
  e = s->provider->commit(s);
  CHECK_INT(case_freeze(s, false), 0);
  if (e == NULL) e = s->provider->finish(s, NULL);
  return e != NULL ? e : shadow_note(s);
}

static inline shadow *case_shadow(const provider *p, const char *path) {
  error *e = NULL;
  shadow *s = case_plan(p, path, &e);
  if (s != NULL) e = case_take(s);
  CHECK_INT(case_end(e, 0), 0);
  return s;
}

/* Takes away what the record in the file names. */
static inline error *case_destroy(const provider *p) {
  value *keep = case_keep(case_file);
  if (keep == NULL) return NULL; /* nothing was made before it was written */
  error *e = p->destroy(keep, NULL);
  value_free(keep);
  return e;
}

static inline error *case_verify(const provider *p) {
  value *keep = case_keep(case_file);
  error *e = p->verify(keep);
  value_free(keep);
  return e;
}

static inline void case_drop(shadow *s) {
  const provider *p = s->provider;
  p->forget(s);
  DONE(case_destroy(p));
  shadow_free(s);
}

/* How many warnings have these words. */
static inline unsigned case_warned(const shadow *s, const char *words) {
  unsigned n = 0;
  for (uint32_t i = 0; i < s->warnings->count; i++)
    if (strstr(value_chars(s->warnings->as.items[i], ""), words) != NULL) n++;
  return n;
}

/* Files. */

static inline void case_put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
    printf("cannot write %s: %s\n", path, strerror(errno));
  if (fd >= 0) close(fd);
}

static inline const char *case_get(const char *path) {
  static char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  return n >= 0 ? text : NULL;
}

/* Entries of a directory; -1: it is not there. */
static inline int case_entries(const char *path) {
  DIR *d = opendir(path);
  int n = 0;
  if (d == NULL) return -1;
  while (readdir(d) != NULL) n++;
  closedir(d);
  return n - 2;
}

/* Runs `what` in a child that dies at the n-th step. True: it did not, but
   came to its end. */
static inline bool case_dies_at(int n, void (*what)(void)) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    check_bad = 0;
#ifdef SAROS_TEST
    provider_dies_at = n;
#else
    (void)n;
#endif
    what();
    fflush(stdout);
    _exit(check_bad > 0 ? 1 : 0);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL
                            : WEXITSTATUS(status) == 0);
  return WIFEXITED(status);
}

/* As another user, in a child. */
static inline void case_as_user(unsigned id, void (*what)(void)) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    check_bad = 0;
    if (setgid(id) != 0 || setuid(id) != 0) _exit(2);
    what();
    fflush(stdout);
    _exit(check_bad > 0 ? 1 : 0);
  }
  int status = 1;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK_INT(status, 0);
}

#endif
