/*
** What tests of whole managers and jobs share: a directory, options written as
** JSON with single quotes, and waits for a state that end, whatever happens.
**
**     world_make();                         // a folder; gone at exit
**     bits_manager *m = open_queue("{}");
**     bits_job *j = make_job(m, "{'name':'x'}");
**     CHECK(add_file(j, "http://127.0.0.1:1/x", "x"));
**     CHECK(is_fine(bits_job_resume(j)));
**     CHECK(await_state(j, BITS_TRANSFERRED));
**     bits_job_unref(j);
**     shut_queue(m);
*/
#ifndef SAROS_SPEC_BITS_CASE_H
#define SAROS_SPEC_BITS_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits/parts.h"
#include "gate.h"

#ifndef SAROS_SPEC_HTTP_CASE_H /* which comes first, if at all */
__attribute__((weak)) const saros_api *saros_api_table;
#endif

const saros_api *saros_api_own(void);

/* Where nobody listens. */
static const char nowhere[] = "http://127.0.0.1:9/x";

static char world_folder[64], world_queue[80];
static pid_t world_owner;

static inline bool is_fine(error *e) {
  if (e != NULL) printf("%s (0x%x)\n", e->message, e->code);
  error_unref(e);
  return e == NULL;
}

/* Its code; 0: there is none. */
static inline uint32_t code_of(error *e) {
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  return code;
}

/* ------------------------------------------------------------------
** A folder
** ---------------------------------------------------------------- */

static inline void world_wipe(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL) {
    unlinkat(parent, name, 0);
    return;
  }
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      world_wipe(fd, e->d_name);
  closedir(d);
  unlinkat(parent, name, AT_REMOVEDIR);
}

static inline void world_leave(void) {
  if (getpid() == world_owner && getenv("SAROS_KEEP") == NULL)
    world_wipe(AT_FDCWD, world_folder);
}

static inline void world_make(void) {
  saros_api_table = saros_api_own();
  strcpy(world_folder, "/tmp/saros-bits-XXXXXX");
  if (mkdtemp(world_folder) == NULL) abort();
  snprintf(world_queue, sizeof world_queue, "%s/queue.db", world_folder);
  world_owner = getpid();
  atexit(world_leave);
}

/* A queue that nobody has used yet. */
static inline void world_next(void) {
  static unsigned n;
  snprintf(world_queue, sizeof world_queue, "%s/queue-%u.db", world_folder,
           ++n);
}

/* In the folder; one of four buffers. */
static inline const char *in_world(const char *name) {
  static _Thread_local char path[4][300];
  static _Thread_local unsigned next;
  char *at = path[next++ % 4];
  snprintf(at, sizeof path[0], "%s/%s", world_folder, name);
  return at;
}

static inline bool is_there(const char *name) {
  struct stat about;
  return lstat(in_world(name), &about) == 0;
}

/* How many of the folder's names contain this. */
static inline unsigned world_count(const char *part) {
  DIR *d = opendir(world_folder);
  unsigned n = 0;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    n += strstr(e->d_name, part) != NULL;
  if (d != NULL) closedir(d);
  return n;
}

/* They, for whoever wonders. */
static inline void world_print(const char *part) {
  DIR *d = opendir(world_folder);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    if (strstr(e->d_name, part) != NULL) printf("there is %s\n", e->d_name);
  if (d != NULL) closedir(d);
}

/* ------------------------------------------------------------------
** Managers and jobs
** ---------------------------------------------------------------- */

__attribute__((format(printf, 1, 0))) static inline value *json_v(
    const char *format, va_list arguments) {
  char text[4096];
  error *e = NULL;
  vsnprintf(text, sizeof text, format, arguments);
  for (char *c = text; *c != '\0'; c++)
    if (*c == '\'') *c = '"';
  value *v = json_read(text, strlen(text), NULL, &e);
  if (v == NULL) printf("%s: %s\n", text, e->message);
  error_unref(e);
  return v;
}

__attribute__((format(printf, 1, 2))) static inline value *json_of(
    const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  value *v = json_v(format, arguments);
  va_end(arguments);
  return v;
}

/* *code is why not; *spoke: it said something. */
static inline bits_manager *try_queue(const char *options, uint32_t *code,
                                      bool *spoke) {
  value *v = json_of("%s", options);
  error *e = NULL, *said = NULL;
  if (value_get(v, "path") == NULL)
    value_put(v, "path", value_text(world_queue));
  bits_manager *m = bits_manager_open(v, &said, &e);
  value_free(v);
  *spoke = said != NULL;
  error_unref(said);
  *code = code_of(e);
  return m;
}

static inline bits_manager *open_queue(const char *options) {
  uint32_t code;
  bool spoke;
  bits_manager *m = try_queue(options, &code, &spoke);
  CHECK(m != NULL && !spoke);
  CHECK_INT(code, 0);
  if (m == NULL) abort();
  return m;
}

static inline void shut_queue(bits_manager *m) {
  bits_manager_close(m);
  bits_manager_unref(m);
}

/* A number of the manager's status; -1: there is none. */
static inline int64_t status_number(bits_manager *m, const char *name) {
  value *v = bits_manager_status(m);
  int64_t n = value_integer(value_get(v, name), -1);
  value_free(v);
  return n;
}

static inline bits_job *make_job(bits_manager *m, const char *options) {
  value *v = json_of("%s", options);
  error *e = NULL;
  bits_job *j = bits_job_create(m, v, &e);
  value_free(v);
  CHECK(is_fine(e));
  if (j == NULL) abort();
  return j;
}

/* `name` is in the folder. */
static inline bool add_file(bits_job *j, const char *url, const char *name) {
  value *v = json_of("{'url':'%s','path':'%s'}", url, in_world(name));
  error *e = bits_job_add_file(j, v);
  value_free(v);
  return is_fine(e);
}

/* Waits until it is so; false after a minute. */
#define AWAIT(condition)                                          \
  do {                                                            \
    int await_n = 0;                                              \
    while (!(condition) && await_n++ < 60000) usleep(1000);       \
    if (await_n >= 60000) printf("never came: %s\n", #condition); \
    if (await_n >= 60000) check_bad++;                            \
  } while (0)

static inline bool await_state(bits_job *j, bits_state wanted) {
  for (int i = 0; i < 60000; i++) {
    if (bits_job_state(j) == wanted) return true;
    usleep(1000);
  }
  printf("the job is in state %d, not %d\n", (int)bits_job_state(j),
         (int)wanted);
  return false;
}

static inline bool await_op(saros_op *op) {
  return saros_op_wait(op, GATE_BOUND_MS) == 1;
}

#endif
