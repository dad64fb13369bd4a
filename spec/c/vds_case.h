/*
** What the suites about disks share: calls made of a name and options (JSON
** with single quotes), and their answers; virtual disks in a scratch folder of
** volumes.h, which takes all of it away, however a suite ends.
**
**     answer a = ask("create_vdisk", "{'path':'%s','size':1048576}", path);
**     CHECK_INT(a.code, 0);
**     forget(&a);
*/
#ifndef SAROS_SPEC_VDS_CASE_H
#define SAROS_SPEC_VDS_CASE_H

#include <dirent.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <time.h>

#include "fork_rest.h"
#include "op/op.h"
#include "vds/attach.h"
#include "vds/object.h"
#include "vds/record.h"
#include "vds/step.h"
#include "volumes.h"

__attribute__((weak)) const saros_api *saros_api_table;
const saros_api *saros_api_own(void);

enum { VDS_CASE_BOUND = 60000 }; /* ms; reached only when something hangs */

typedef struct answer {
  saros_op *op;
  uint32_t code;
  const value *output; /* the operation's */
  char message[1000];
} answer;

/* A path in the scratch folder that stays good. */
static inline const char *place(const char *name) {
  static char all[64][300];
  static unsigned next;
  char *path = all[next++ % 64];
  snprintf(path, sizeof all[0], "%s/%s", volumes_scratch, name);
  return path;
}

static inline const char *state_place(void) {
  static char path[300];
  snprintf(path, sizeof path, "%s/state", volumes_scratch);
  return path;
}

__attribute__((format(printf, 1, 0))) static inline value *vds_json(
    const char *format, va_list args) {
  static _Thread_local char text[8192];
  error *e = NULL;
  vsnprintf(text, sizeof text, format, args);
  for (char *c = text; *c != '\0'; c++)
    if (*c == '\'') *c = '"';
  value *v = json_read(text, strlen(text), NULL, &e);
  if (v == NULL) {
    check_bad++;
    printf("%s: %s\n", text, e->message);
  }
  error_unref(e);
  return v;
}

/* Somebody has it, and stays: he is not waited for. All others, who just look,
   are: other suites list all devices there are, and may be stopped meanwhile.
 */
static bool somebody_stays;

/* Begins with options, to which the state directory of this suite is added. */
static inline saros_op *begin_with(const char *call, value *options) {
  const vds_work *work = vds_work_find(call);
  uint32_t why = 0;
  saros_api_table = saros_api_own();
  atomic_store(&vds_patience,
               somebody_stays ? 0 : VDS_CASE_BOUND / 2 * UINT64_C(1000000));
  CHECK(work != NULL);
  if (work == NULL || options == NULL) return NULL;
  if (value_get(options, "state_dir") == NULL)
    value_put(options, "state_dir", value_text(state_place()));
  mkdir(state_place(), 0700);
  saros_op *op = vds_call_begin(work, options, NULL, &why);
  CHECK_INT(why, 0);
  return op;
}

static inline answer end_of(saros_op *op) {
  answer a = {.op = op, .code = 0xFFFFFFFFu};
  CHECK(op != NULL);
  if (op == NULL) return a;
  CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
  uint32_t percent = 0;
  CHECK_INT(saros_vds_query_status(op, &a.code, &percent), 0);
  CHECK_INT(percent, 100);
  a.output = op_output(op);
  error *e = op_error(op);
  if (e != NULL) snprintf(a.message, sizeof a.message, "%s", e->message);
  error_unref(e);
  return a;
}

__attribute__((format(printf, 2, 3))) static inline saros_op *begin(
    const char *call, const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args);
  va_end(args);
  return begin_with(call, options);
}

__attribute__((format(printf, 2, 3))) static inline answer ask(
    const char *call, const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args);
  va_end(args);
  return end_of(begin_with(call, options));
}

static inline void forget(answer *a) {
  if (a->op != NULL) saros_op_unref(a->op);
  *a = (answer){0};
}

/* The code alone; what was said is shown when it is another one. */
#define CHECK_ANSWER(answer_, expected)              \
  do {                                               \
    answer check_answer = (answer_);                 \
    if (check_answer.code != (expected))             \
      printf("it said: %s\n", check_answer.message); \
    CHECK_INT(check_answer.code, expected);          \
    forget(&check_answer);                           \
  } while (0)

static inline bool said(const answer *a, const char *what) {
  if (strstr(a->message, what) != NULL) return true;
  printf("not said: '%s' in '%s'\n", what, a->message);
  return false;
}

/* Its number may be that of another suite's device by now. */
static inline bool says_gone(answer a) {
  bool gone =
      a.code == VDS_E_OBJECT_DELETED || a.code == VDS_E_OBJECT_OUT_OF_SYNC;
  if (!gone) printf("it said: %s\n", a.message);
  forget(&a);
  return gone;
}

static inline const char *text_of(const value *map, const char *name) {
  return value_chars(value_get(map, name), "");
}

/* What an operation could not undo, in one line. */
static inline const char *cleanup_of(saros_op *op) {
  static char text[2000];
  value *status = op_status(op);
  const value *list = value_get(status, "cleanup");
  text[0] = '\0';
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s; ",
             value_chars(list->as.items[i], ""));
  value_free(status);
  return text;
}

static inline bool is_brief(void) {
  return getenv("SAROS_QUICK") != NULL || getenv("SAROS_SANITIZER") != NULL;
}

/* From one step of a death at every step to the next: a sanitizer, which judges
   nobody who was killed, has some of them, and any other run all. */
static inline int next_step(void) {
  return is_brief() ? 3 : 1;
}

/* How a child has ended; and whether it died, or lived and found all well. */
static inline int status_of(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

static inline bool has_died(pid_t child) {
  int status = status_of(child);
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

/* Whether virtual disks can be had here; else why not. */
static inline const char *vds_missing(void) {
  if (getuid() != 0) return "needs root, for loop devices";
  if (access("/dev/loop-control", R_OK | W_OK) != 0)
    return "there is no /dev/loop-control here";
  return NULL;
}
#define NEED_DISKS() \
  if (vds_missing() != NULL) SKIP(vds_missing())

/* valgrind knows no fsopen, nor does a kernel before 5.2. */
#define NEED_MOUNTS()                                      \
  NEED_DISKS();                                            \
  do {                                                     \
    int need_fd = fsopen("tmpfs", FSOPEN_CLOEXEC);         \
    if (need_fd < 0 && errno == ENOSYS)                    \
      SKIP("nothing can be mounted without a place here"); \
    if (need_fd >= 0) close(need_fd);                      \
  } while (0)

/* A new image of so many MiB. */
static inline const char *make_image(unsigned megabytes) {
  static unsigned number;
  char name[40];
  snprintf(name, sizeof name, "disk%u.img", ++number);
  const char *path = place(name);
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, (off_t)megabytes << 20) == 0);
  if (fd >= 0) close(fd);
  return path;
}

/* A real operation that is held still at a step, until it is let go. */
static sem_t held_there, held_on;
static const char *held_at, *held_or;

static inline void hold_hook(const char *step) {
  if (held_at == NULL ||
      (strcmp(step, held_at) != 0 && strcmp(step, held_or) != 0))
    return;
  held_at = NULL; /* once */
  sem_post(&held_there);
  sem_wait(&held_on);
}

/* Before it is begun. Work in the kernel that is quick may be over before
   anybody looks after it: then it is held there. */
static inline void hold_at(const char *step) {
  sem_init(&held_there, 0, 0);
  sem_init(&held_on, 0, 0);
  held_at = step;
  held_or = strcmp(step, "watch: looks") == 0 ? "watch: over" : step;
  atomic_store(&vds_hook, hold_hook);
}

/* After: it is there now. (Not by sem_clockwait, which ThreadSanitizer does not
   know: it would take what is shared with the hook for a race.) */
static inline void await_held(void) {
  int r = -1;
  for (int i = 0; i < VDS_CASE_BOUND; i++) {
    r = sem_trywait(&held_there);
    if (r == 0) break;
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  CHECK_INT(r, 0);
}

static inline void let_on(void) {
  sem_post(&held_on);
}

/* Waits until that many devices are over files of this suite. What nobody has
   open any more goes by itself, but whoever just looks at all devices (another
   suite that lists them) may have it open at this moment. */
static inline bool loops_become(int expected) {
  for (int i = 0; i < VDS_CASE_BOUND / 10; i++) {
    if (volumes_loops(false) == expected) return true;
    nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  return false;
}

/* The process that does it next dies behind the step of this name. */
static const char *dies_behind;

static inline void die_hook(const char *step) {
  if (strcmp(step, dies_behind) == 0) kill(getpid(), SIGKILL);
}

/* How many records of this suite are there. */
static inline size_t records_left(void) {
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  size_t count = list != NULL ? list->count : 0;
  value_free(list);
  mem_free(at);
  CHECK(e == NULL);
  error_unref(e);
  return count;
}

#endif
