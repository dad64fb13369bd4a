/*
** Holding file systems still, on real ones: order, refusals, limits, what
** fails and what comes too late; SIGKILL at every moment of it.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/capability.h>
#include <sys/syscall.h>

#include "freeze_case.h"
#include "op/thread.h"
#include "vss/hold_parts.h"

#define LONG 60.0 /* seconds: no limit in this test */
#define SHORT 0.3 /* the limit is what is tested */


/* ------------------------------------------------------------------
** Shadows without a provider behind them
** ---------------------------------------------------------------- */

static const provider by_caller = {.name = "test", .freeze = FREEZE_CALLER};
static const provider by_itself = {.name = "test", .freeze = FREEZE_SELF};
static const provider by_nobody = {.name = "test", .freeze = FREEZE_NONE};

#define SHADOWS 4

typedef struct scene {
  shadow shadows[SHADOWS];
  shadow *list[SHADOWS];
  size_t count;
} scene;

static void add(scene *s, const char *path, const provider *p) {
  error *e = NULL;
  shadow *one = &s->shadows[s->count];
  one->provider = p;
  one->from = origin_find(path, &e);
  CHECK(one->from != NULL);
  if (e != NULL) printf("%s: %s\n", path, e->message);
  error_unref(e);
  s->list[s->count++] = one;
}

static void end_scene(scene *s) {
  for (size_t i = 0; i < s->count; i++) origin_free(s->shadows[i].from);
  s->count = 0;
}

static char runtime[300], state[300];

static hold *plan_with(scene *s, const hold_options *o, error **e) {
  return hold_plan(s->list, s->count, o, e);
}

static hold *plan(scene *s, double seconds) {
  error *e;
  hold_options o = {.runtime = runtime, .state = state, .seconds = seconds};
  hold *h = plan_with(s, &o, &e);
  if (h == NULL) printf("no hold: %s\n", e->message);
  CHECK(h != NULL);
  error_unref(e);
  return h;
}

static int records(void) {
  return names_in(in("run/frozen"));
}


/* ------------------------------------------------------------------
** A machine that holds: as the coordinator will
** ---------------------------------------------------------------- */

typedef struct driver {
  machine m;
  hold *h;
  int phase;
  _Atomic bool held, go_on;
  hold_result frozen, released;
  error *why_not, *why_void;
} driver;

static bool rehearsing; /* before it freezes */

static step_result step(machine *m) {
  driver *d = (driver *)m;
  switch (d->phase) {
    case -2: hold_rehearse(d->h, m); d->phase = -1; /* fall through */
    case -1:
      if (saros_op_cancelled(m->op)) break;
      d->frozen = hold_rehearse_step(d->h, &d->why_not);
      if (d->frozen == HOLD_WAIT) return STEP_WAIT;
      if (d->frozen == HOLD_FAILED) break;      /* fall through */
    case 0: hold_freeze(d->h, m); d->phase = 1; /* fall through */
    case 1:
      if (saros_op_cancelled(m->op)) break;
      d->frozen = hold_freeze_step(d->h, &d->why_not);
      if (d->frozen == HOLD_WAIT) return STEP_WAIT;
      if (d->frozen == HOLD_FAILED) break;
      d->phase = 2;
      atomic_store(&d->held, true); /* fall through */
    case 2:
      if (!atomic_load(&d->go_on) && !saros_op_cancelled(m->op))
        return STEP_WAIT;
      break;
    default:
      d->released = hold_release_step(d->h, &d->why_void);
      if (d->released == HOLD_WAIT) return STEP_WAIT;
      machine_finish(m, 0, NULL);
      return STEP_END;
  }
  hold_release(d->h);
  d->phase = 3;
  return STEP_AGAIN;
}

static void wake(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((driver *)self)->m);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "test.hold",
                                .flags = SAROS_CANCELLABLE,
                                .cancel = wake};

static void drive(driver *d, hold *h) {
  memset(d, 0, sizeof *d);
  d->h = h;
  d->m.step = step;
  d->phase = rehearsing ? -2 : 0;
  CHECK_INT(engine_acquire(), 0);
  d->m.op = saros_op_new(&kind, d, NULL);
  CHECK(d->m.op != NULL);
  CHECK_INT(op_begin(d->m.op, SAROS_RUNNING), 0);
  machine_wake(&d->m);
}

static void go_on(driver *d) {
  atomic_store(&d->go_on, true);
  machine_wake(&d->m);
}

/* The codes of both steps; 0 for what was done. */
typedef struct outcome {
  uint32_t freeze, release;
  char said[1000];
} outcome;

static outcome finish(driver *d, bool print) {
  outcome o = {0, 0, ""};
  CHECK(gate_wait(d->m.op));
  if (d->why_not != NULL) o.freeze = d->why_not->code;
  if (d->why_void != NULL) o.release = d->why_void->code;
  error *e = d->why_not != NULL ? d->why_not : d->why_void;
  if (e != NULL) snprintf(o.said, sizeof o.said, "%s", e->message);
  if (e != NULL && print) printf("said: %s\n", o.said);
  CHECK((d->frozen == HOLD_FAILED) == (d->why_not != NULL));
  CHECK((d->released == HOLD_FAILED) == (d->why_void != NULL));
  error_unref(d->why_not);
  error_unref(d->why_void);
  hold_times(d->h);
  saros_op_unref(d->m.op);
  hold_free(d->h);
  CHECK_INT(records(), 0);
  engine_release(); /* its threads are gone then */
  return o;
}

/* One that is to go well. */
static void until_held(driver *d) {
  GATE_UNTIL(atomic_load(&d->held) || op_is_over(d->m.op));
  CHECK(atomic_load(&d->held));
}

static void finish_well(driver *d) {
  go_on(d);
  outcome o = finish(d, true);
  CHECK_INT(o.freeze, 0);
  CHECK_INT(o.release, 0);
}

#define NO_HOOK ((void (*)(const char *, hold_moment))0)

/* Nothing may be left of any test. */
#define WHOLE(name)                                         \
  static void whole_##name(void);                           \
  TEST(name) {                                              \
    NEEDS_VOLUMES;                                          \
    gate_counts before = gate_count();                      \
    whole_##name();                                         \
    hold_hook = NO_HOOK;                                    \
    rehearsing = false;                                     \
    for (int i = 0; i < VOLUMES; i++) CHECK(!is_frozen(i)); \
    CHECK(gate_back_to(before));                            \
    thread_join_left();                                     \
  }                                                         \
  static void whole_##name(void)


/* ------------------------------------------------------------------
** All is well
** ---------------------------------------------------------------- */

WHOLE(one_is_held_and_let_go) {
  for (int which = EXT4; which <= XFS; which++) {
    scene s = {.count = 0};
    driver d;
    add(&s, volumes[which].path, &by_caller);
    drive(&d, plan(&s, LONG));
    until_held(&d);
    CHECK_INT(freeze(volumes[which].fd), EBUSY);
    CHECK_INT(records(), 1);
    uint64_t inside = engine_clock();
    finish_well(&d);
    CHECK(s.shadows[0].frozen_at != 0 && s.shadows[0].frozen_at < inside);
    CHECK(s.shadows[0].stalled_at != 0);
    CHECK(s.shadows[0].stalled_at <= s.shadows[0].frozen_at);
    CHECK(s.shadows[0].thawed_at > inside);
    end_scene(&s);
  }
}

WHOLE(nothing_to_freeze) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_itself);
  add(&s, volumes[XFS].path, &by_nobody);
  hold *h = plan(&s, LONG);
  CHECK_INT(hold_count(h), 0);
  CHECK_INT(records(), 0); /* no guard for nothing */
  drive(&d, h);
  until_held(&d);
  CHECK(!is_frozen(EXT4));
  finish_well(&d);
  CHECK_INT(s.shadows[0].frozen_at, 0);
  end_scene(&s);
}

WHOLE(each_file_system_once) {
  scene s = {.count = 0};
  driver d;
  mkdir(in("ext4/a"), 0755);
  mkdir(in("bound"), 0755);
  CHECK_INT(mount(in("ext4/a"), in("bound"), NULL, MS_BIND, NULL), 0);
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, in("ext4/a"), &by_caller);
  add(&s, in("bound"), &by_caller);
  hold *h = plan(&s, LONG);
  CHECK_INT(hold_count(h), 1);
  drive(&d, h);
  until_held(&d);
  finish_well(&d);
  for (int i = 0; i < 3; i++) CHECK(s.shadows[i].frozen_at != 0);
  end_scene(&s);
  CHECK_INT(umount2(in("bound"), MNT_DETACH), 0);
}

/* What happened, in order. */
static char story[64];
static pthread_mutex_t story_lock = PTHREAD_MUTEX_INITIALIZER;

static void tell(const char *path, hold_moment moment) {
  static const char letters[] = "-fFt"; /* freeze, frozen, thaw */
  if (moment == MOMENT_FLUSH) return;
  pthread_mutex_lock(&story_lock);
  size_t n = strlen(story);
  story[n] = letters[moment];
  story[n + 1] = strcmp(path, volumes[XFS].path) == 0     ? 'X'
                 : strcmp(path, volumes[INNER].path) == 0 ? 'I'
                                                          : 'E';
  pthread_mutex_unlock(&story_lock);
}

WHOLE(deepest_first_and_thawed_in_reverse) {
  scene s = {.count = 0};
  driver d;
  memset(story, 0, sizeof story);
  hold_hook = tell;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[INNER].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  CHECK_TEXT(story, "fIFIfXFX");
  finish_well(&d);
  CHECK_TEXT(story, "fIFIfXFXtXtI");
  end_scene(&s);
}

/* Neither comes out of this before the other is in it. */
static _Atomic int arrived;

static void meet(const char *path, hold_moment moment) {
  (void)path;
  if (moment != MOMENT_FREEZE) return;
  atomic_fetch_add(&arrived, 1);
  GATE_UNTIL(atomic_load(&arrived) >= 2);
}

WHOLE(those_of_one_depth_side_by_side) {
  scene s = {.count = 0};
  driver d;
  arrived = 0;
  hold_hook = meet;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  finish_well(&d);
  end_scene(&s);
}

/* Every thread of the lane sleeps, as in a write to what is frozen: thawed it
   is all the same. */
typedef struct sleeper {
  job j;
} sleeper;

static gated bed;

static void sleep_there(job *j) {
  (void)j;
  gate_pulse(&bed, &bed.entered);
  pthread_mutex_lock(&bed.lock);
  while (!bed.open) pthread_cond_wait(&bed.moved, &bed.lock);
  pthread_mutex_unlock(&bed.lock);
  gate_pulse(&bed, &bed.releases);
}

WHOLE(a_lane_that_is_full_cannot_keep_it) {
  enum { MANY = POOL_LANE_MOST + 10 };
  static sleeper sleepers[MANY];
  scene s = {.count = 0};
  driver d;
  gated_kind(&bed, SAROS_FACADE_VSS, 0);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  for (int i = 0; i < MANY; i++) {
    sleepers[i].j.run = sleep_there;
    CHECK_INT(pool_submit(&sleepers[i].j, POOL_LANE), 0);
  }
  CHECK(gated_await(&bed, &bed.entered, POOL_LANE_MOST - 1));
  CHECK_INT(engine_acquire(), 0); /* for the sleepers */
  finish_well(&d);
  CHECK(!is_frozen(EXT4));
  gated_open(&bed, 0);
  CHECK(gated_await(&bed, &bed.releases, MANY));
  engine_release();
  end_scene(&s);
}


/* ------------------------------------------------------------------
** What may not be frozen
** ---------------------------------------------------------------- */

/* The sentence, when it is refused; "" when it is not. Nothing is frozen. */
static const char *refusal(const char *path, const char *own_state,
                           const char *own_runtime, bool force) {
  static char said[1000];
  scene s = {.count = 0};
  error *e;
  hold_options o = {.runtime = own_runtime,
                    .state = own_state,
                    .seconds = LONG,
                    .force = force};
  add(&s, path, &by_caller);
  hold *h = plan_with(&s, &o, &e);
  said[0] = '\0';
  if (h != NULL) hold_free(h);
  if (e != NULL) {
    CHECK_INT(e->code, SAROS_E_REFUSED);
    snprintf(said, sizeof said, "%s", e->message);
  }
  error_unref(e);
  end_scene(&s);
  return said;
}

static bool says(const char *text, const char *part) {
  bool good = strstr(text, part) != NULL;
  if (!good) printf("\"%s\" is not in \"%s\"\n", part, text);
  return good;
}

WHOLE(what_we_need_ourselves_is_refused) {
  char there[400];
  CHECK_INT(engine_acquire(), 0);
  snprintf(there, sizeof there, "%s/saros", volumes[EXT4].path);
  mkdir(there, 0700);
  const char *path = volumes[EXT4].path;
  CHECK(says(refusal(path, there, runtime, false), "saros writes to"));
  CHECK(says(refusal(path, state, there, false), "saros writes to"));
  CHECK(says(refusal(path, there, runtime, false), "force"));
  CHECK_TEXT(refusal(path, there, runtime, true), "");
  CHECK_TEXT(refusal(path, state, runtime, false), "");
  CHECK(says(refusal("/", state, runtime, false),
             "the running system writes to /"));
  /* It is not on the XFS, but in an image that is. */
  snprintf(there, sizeof there, "%s/saros", volumes[INNER].path);
  mkdir(there, 0700);
  CHECK(says(refusal(volumes[XFS].path, there, runtime, false),
             "on a loop device whose file is"));
  CHECK_TEXT(refusal(path, there, runtime, false), "");
  engine_release();
}

WHOLE(what_is_registered_is_refused) {
  CHECK_INT(engine_acquire(), 0);
  char file[400];
  snprintf(file, sizeof file, "%s/queue.db", volumes[INNER].path);
  int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  device_hold *queue = device_hold_fd(fd, "the transfer queue", file);
  CHECK(queue != NULL);
  CHECK(says(refusal(volumes[INNER].path, state, runtime, false),
             "the transfer queue writes to"));
  CHECK(says(refusal(volumes[XFS].path, state, runtime, false),
             "the transfer queue writes to"));
  CHECK_TEXT(refusal(volumes[EXT4].path, state, runtime, false), "");
  device_release(queue);
  CHECK_TEXT(refusal(volumes[XFS].path, state, runtime, false), "");
  close(fd);
  engine_release();
}

TEST(what_is_swapped_to_is_refused) {
  NEEDS_VOLUMES;
  char command[2000], file[400];
  snprintf(file, sizeof file, "%s/swap file", volumes[EXT4].path);
  snprintf(command, sizeof command,
           "PATH=$PATH:/usr/sbin:/sbin; dd if=/dev/zero of='%s' bs=64k "
           "count=64 2>/dev/null && chmod 600 '%s' && mkswap '%s' >/dev/null",
           file, file, file);
  if (system(command) != 0) SKIP("no mkswap here");
  if (swapon(file, 0) != 0) SKIP("this machine permits no swap");
  CHECK_INT(engine_acquire(), 0);
  CHECK(says(refusal(volumes[EXT4].path, state, runtime, false),
             "the swap of this machine"));
  engine_release();
  CHECK_INT(swapoff(file), 0);
  unlink(file);
}


/* ------------------------------------------------------------------
** What cannot be frozen
** ---------------------------------------------------------------- */

WHOLE(frozen_by_somebody_else_stays_so) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_VOLUME_IN_USE);
  CHECK(says(o.said, "by somebody else"));
  CHECK_INT(o.release, 0);
  CHECK(is_frozen(EXT4)); /* still theirs */
  CHECK(!is_frozen(XFS));
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
  end_scene(&s);
}

WHOLE(one_that_cannot_freeze) {
  scene s = {.count = 0};
  driver d;
  mkdir(in("memory"), 0755);
  CHECK_INT(mount("none", in("memory"), "tmpfs", 0, NULL), 0);
  add(&s, in("memory"), &by_caller);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_VOLUME_NOT_SUPPORTED);
  CHECK(says(o.said, "tmpfs"));
  CHECK_INT(o.release, 0);
  end_scene(&s);
  CHECK_INT(umount2(in("memory"), MNT_DETACH), 0);
}

static bool give_up_right(int right) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return false;
  data[right / 32].effective &= ~(1u << (right % 32));
  return syscall(SYS_capset, &header, data) == 0;
}

static int without_right(void) {
  scene s = {.count = 0};
  driver d;
  if (!give_up_right(CAP_SYS_ADMIN)) return 2;
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  bool good = o.freeze == SAROS_E_ACCESSDENIED && o.release == 0 &&
              says(o.said, "CAP_SYS_ADMIN");
  return good && check_bad == 0 ? 0 : 3;
}

static int in_child(int (*body)(void)) {
  int status = -1;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(GATE_BOUND_MS / 1000);
    check_bad = 0;
    _exit(body());
  }
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

WHOLE(one_who_may_not) {
  CHECK_INT(in_child(without_right), 0);
}

WHOLE(one_that_is_not_there_any_more) {
  scene s = {.count = 0};
  error *e;
  hold_options o = {.runtime = runtime, .state = state, .seconds = LONG};
  CHECK_INT(engine_acquire(), 0);
  add(&s, volumes[EXT4].path, &by_caller);
  /* Another file system over it, meanwhile. */
  CHECK_INT(mount("none", volumes[EXT4].path, "tmpfs", 0, NULL), 0);
  CHECK(plan_with(&s, &o, &e) == NULL);
  CHECK_INT(e->code, SAROS_E_CHANGED);
  error_unref(e);
  CHECK_INT(umount2(volumes[EXT4].path, MNT_DETACH), 0);
  engine_release();
  end_scene(&s);
}


/* ------------------------------------------------------------------
** Limits
** ---------------------------------------------------------------- */

/* The machine does nothing about it: it waits for something else. */
WHOLE(held_for_too_long) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, SHORT));
  until_held(&d);
  GATE_UNTIL(!is_frozen(EXT4) && !is_frozen(XFS));
  CHECK(!op_is_over(d.m.op));
  go_on(&d);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, 0);
  CHECK_INT(o.release, VSS_E_HOLD_WRITES_TIMEOUT);
  end_scene(&s);
}

WHOLE(thawed_by_another) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
  go_on(&d);
  outcome o = finish(&d, false);
  CHECK_INT(o.release, VSS_E_HOLD_WRITES_TIMEOUT);
  CHECK(says(o.said, volumes[EXT4].path));
  end_scene(&s);
}

/* It must not be thawed by a rehearsal either. */
WHOLE(frozen_by_somebody_else_when_rehearsed) {
  scene s = {.count = 0};
  driver d;
  rehearsing = true;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_VOLUME_IN_USE);
  CHECK(says(o.said, "by somebody else"));
  CHECK_INT(o.release, 0);
  CHECK(is_frozen(EXT4));
  CHECK(!is_frozen(XFS));
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
  CHECK(s.shadows[0].frozen_at == 0);
  end_scene(&s);
}

static _Atomic int rehearsed;

static void count_rehearsals(const char *path, hold_moment moment) {
  (void)path;
  if (moment == MOMENT_REHEARSED) rehearsed++;
}

/* An image and what it lies on, too. */
WHOLE(rehearsed_and_held) {
  scene s = {.count = 0};
  driver d;
  rehearsing = true;
  rehearsed = 0;
  hold_hook = count_rehearsals;
  for (int i = 0; i < VOLUMES; i++) add(&s, volumes[i].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  CHECK_INT(rehearsed, VOLUMES);
  for (int i = 0; i < VOLUMES; i++) CHECK(is_frozen(i));
  finish_well(&d);
  for (int i = 0; i < VOLUMES; i++)
    CHECK(s.shadows[i].frozen_at > 0 &&
          s.shadows[i].thawed_at >= s.shadows[i].frozen_at);
  end_scene(&s);
}

/* The lane's thread is held up at this moment until the gate is opened. */
static gated late;
static hold_moment late_moment;

static void hold_up(const char *path, hold_moment moment) {
  if (moment != late_moment || strcmp(path, volumes[EXT4].path) != 0) return;
  gate_pulse(&late, &late.entered);
  pthread_mutex_lock(&late.lock);
  while (!late.open) pthread_cond_wait(&late.moved, &late.lock);
  pthread_mutex_unlock(&late.lock);
}

static bool has_given_up(hold *h) {
  pthread_mutex_lock(&h->lock);
  bool released = h->released;
  pthread_mutex_unlock(&h->lock);
  return released;
}

static void too_late_at(hold_moment moment, bool cancelled) {
  scene s = {.count = 0};
  driver d;
  gated_kind(&late, SAROS_FACADE_VSS, 0);
  late_moment = moment;
  hold_hook = hold_up;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, cancelled ? LONG : SHORT));
  CHECK(gated_await(&late, &late.entered, 1));
  if (cancelled) saros_cancel(d.m.op);
  /* The other one is let go, though this one is not back. */
  GATE_UNTIL(has_given_up(d.h));
  GATE_UNTIL(!is_frozen(XFS));
  GATE_UNTIL(atomic_load(&d.h->stops[0].state) != STOP_FREEZING);
  CHECK(!op_is_over(d.m.op)); /* it waits for what is in the kernel */
  /* Else the guard has come first by now. */
  if (moment == MOMENT_FROZEN && cancelled) CHECK(is_frozen(EXT4));
  gated_open(&late, 0);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, cancelled ? 0 : VSS_E_FLUSH_WRITES_TIMEOUT);
  CHECK_INT(o.release, 0);
  end_scene(&s);
}

WHOLE(a_flush_that_takes_too_long) {
  too_late_at(MOMENT_FLUSH, false);
}

WHOLE(a_freeze_that_begins_too_late) {
  too_late_at(MOMENT_FREEZE, false);
}

WHOLE(a_freeze_that_comes_back_too_late) {
  too_late_at(MOMENT_FROZEN, false);
}

WHOLE(cancelled_while_it_flushes) {
  too_late_at(MOMENT_FLUSH, true);
}

WHOLE(cancelled_while_it_freezes) {
  too_late_at(MOMENT_FROZEN, true);
}

WHOLE(a_rehearsal_that_takes_too_long) {
  rehearsing = true;
  too_late_at(MOMENT_REHEARSED, false);
}

WHOLE(cancelled_while_it_rehearses) {
  rehearsing = true;
  too_late_at(MOMENT_REHEARSED, true);
}

WHOLE(cancelled_while_it_holds) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  saros_cancel(d.m.op);
  outcome o = finish(&d, true);
  CHECK_INT(o.release, 0);
  end_scene(&s);
}

/* What lies below was frozen by somebody, so that the kernel itself does not
   come back. */
WHOLE(a_disk_that_does_not_answer) {
  scene s = {.count = 0};
  driver d;
  char name[400];
  snprintf(name, sizeof name, "%s/dirty", volumes[INNER].path);
  int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(write(fd, name, sizeof name) > 0);
  close(fd);
  CHECK_INT(freeze(volumes[XFS].fd), 0);
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, SHORT));
  GATE_UNTIL(has_given_up(d.h));
  CHECK(!is_frozen(EXT4));
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_FLUSH_WRITES_TIMEOUT);
  CHECK(says(o.said, volumes[INNER].path));
  CHECK_INT(o.release, 0);
  end_scene(&s);
}


/* ------------------------------------------------------------------
** Guards, forks, kills, memory
** ---------------------------------------------------------------- */

static void without_guard(bool rehearsal) {
  scene s = {.count = 0};
  driver d;
  CHECK_INT(engine_acquire(), 0);
  rehearsing = rehearsal;
  add(&s, volumes[EXT4].path, &by_caller);
  hold *h = plan(&s, LONG);
  int fd = pidfd_open(guard_pid(h->guard), 0);
  CHECK_INT(kill(guard_pid(h->guard), SIGKILL), 0);
  CHECK(await_fd(fd));
  close(fd);
  drive(&d, h);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, SAROS_E_REFUSED);
  CHECK(says(o.said, "guard"));
  CHECK_INT(o.release, 0);
  CHECK(s.shadows[0].frozen_at == 0);
  engine_release();
  end_scene(&s);
}

WHOLE(without_its_guard_nothing_is_frozen) {
  without_guard(false);
}

WHOLE(without_its_guard_nothing_is_rehearsed) {
  without_guard(true);
}

/* It hangs as a whole: now it is the guard that thaws. */
static int hang(void) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, SHORT));
  until_held(&d);
  raise(SIGSTOP);
  go_on(&d);
  outcome o = finish(&d, false);
  end_scene(&s);
  return o.release == VSS_E_HOLD_WRITES_TIMEOUT && check_bad == 0 ? 0 : 3;
}

WHOLE(the_whole_process_hangs) {
  int status;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(GATE_BOUND_MS / 1000);
    check_bad = 0;
    _exit(hang());
  }
  CHECK_INT(waitpid(pid, &status, WUNTRACED), pid);
  CHECK(WIFSTOPPED(status));
  GATE_UNTIL(!is_frozen(EXT4));
  kill(pid, SIGCONT);
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
}

WHOLE(in_a_forked_child_it_is_the_parents) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  hold *h = plan(&s, LONG);
  drive(&d, h);
  until_held(&d);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    hold_free(h);
    _exit(fd_count() == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  CHECK_INT(freeze(volumes[EXT4].fd), EBUSY);
  finish_well(&d);
  end_scene(&s);
}

/* SIGKILL at every moment, of each file system. */
static hold_moment fatal_moment;
static int fatal_volume;

static void die_there(const char *path, hold_moment moment) {
  if (moment == fatal_moment && strcmp(path, volumes[fatal_volume].path) == 0)
    raise(SIGKILL);
}

static int hold_till_death(void) {
  scene s = {.count = 0};
  driver d;
  hold_hook = die_there;
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  finish_well(&d);
  return 9; /* it should not have come to that */
}

static void await_no_records(void) {
  GATE_UNTIL(records() == 0); /* the guard has done all it had to do */
  GATE_UNTIL(no_children());
}

WHOLE(killed_at_every_moment) {
  rehearsing = true;
  for (int which = 0; which < VOLUMES; which++) {
    for (int moment = MOMENT_FLUSH; moment <= MOMENT_REHEARSED; moment++) {
      fatal_volume = which;
      fatal_moment = (hold_moment)moment;
      CHECK_INT(in_child(hold_till_death), SIGKILL);
      await_no_records();
      for (int i = 0; i < VOLUMES; i++) {
        if (!is_frozen(i)) continue;
        printf("volume %d, moment %d: %d stays frozen\n", which, moment, i);
        check_bad++;
        thaw_all();
      }
    }
  }
}

/* And at any other time. */
static int hold_for_ever(void) {
  for (;;) {
    scene s = {.count = 0};
    driver d;
    add(&s, volumes[XFS].path, &by_caller);
    add(&s, volumes[EXT4].path, &by_caller);
    drive(&d, plan(&s, LONG));
    until_held(&d);
    finish_well(&d);
    end_scene(&s);
    if (check_bad > 0) _exit(3);
  }
}

WHOLE(killed_at_any_time) {
  rehearsing = true;
  uint64_t seed = gate_seed("killed_at_any_time");
  for (long i = gate_loops(20); i > 0; i--) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(hold_for_ever());
    struct timespec t = {.tv_nsec = (long)gate_below(&seed, 150000000)};
    nanosleep(&t, NULL);
    kill(pid, SIGKILL);
    int status = 0;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, SIGKILL);
    await_no_records();
    for (int v = EXT4; v <= XFS; v++) CHECK(!is_frozen(v));
  }
}

TEST(memory_may_run_out_anywhere) {
  NEEDS_VOLUMES;
  scene s = {.count = 0};
  hold_options o = {.runtime = runtime, .state = state, .seconds = LONG};
  CHECK_INT(engine_acquire(), 0);
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[XFS].path, &by_nobody);
  hold *h = plan(&s, LONG); /* the threads stay */
  if (h != NULL) hold_free(h);
  gate_counts before = gate_count();
  bool done = false;
  long n = 0;
  for (; n < 3000 && !done; n++) {
    error *e;
    mem_fail_at(n);
    h = plan_with(&s, &o, &e);
    mem_fail_at(0);
    done = h != NULL && n > 0;
    if (h != NULL) hold_free(h);
    if (h == NULL && e->code != SAROS_E_OUTOFMEMORY)
      printf("request %ld: %s\n", n, e->message);
    if (h == NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    error_unref(e);
    CHECK_INT(records(), 0);
    CHECK(gate_back_to(before));
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
    if (check_bad > 0) break;
  }
  CHECK(done);
  printf("%ld requests for memory\n", n - 1);
  engine_release();
  end_scene(&s);
}

static void all(void) {
  snprintf(runtime, sizeof runtime, "%s", in("run"));
  snprintf(state, sizeof state, "%s", in("state"));
  mkdir(runtime, 0700);
  mkdir(state, 0700);
  GATE_RUN(one_is_held_and_let_go);
  GATE_RUN(nothing_to_freeze);
  GATE_RUN(each_file_system_once);
  GATE_RUN(deepest_first_and_thawed_in_reverse);
  GATE_RUN(those_of_one_depth_side_by_side);
  GATE_RUN(a_lane_that_is_full_cannot_keep_it);
  GATE_RUN(what_we_need_ourselves_is_refused);
  GATE_RUN(what_is_registered_is_refused);
  GATE_RUN(what_is_swapped_to_is_refused);
  GATE_RUN(frozen_by_somebody_else_stays_so);
  GATE_RUN(frozen_by_somebody_else_when_rehearsed);
  GATE_RUN(rehearsed_and_held);
  GATE_RUN(a_rehearsal_that_takes_too_long);
  GATE_RUN(cancelled_while_it_rehearses);
  GATE_RUN(one_that_cannot_freeze);
  GATE_RUN(one_who_may_not);
  GATE_RUN(one_that_is_not_there_any_more);
  GATE_RUN(held_for_too_long);
  GATE_RUN(thawed_by_another);
  GATE_RUN(a_flush_that_takes_too_long);
  GATE_RUN(a_freeze_that_begins_too_late);
  GATE_RUN(a_freeze_that_comes_back_too_late);
  GATE_RUN(cancelled_while_it_flushes);
  GATE_RUN(cancelled_while_it_freezes);
  GATE_RUN(cancelled_while_it_holds);
  GATE_RUN(a_disk_that_does_not_answer);
  GATE_RUN(without_its_guard_nothing_is_frozen);
  GATE_RUN(without_its_guard_nothing_is_rehearsed);
  GATE_RUN(the_whole_process_hangs);
  GATE_RUN(in_a_forked_child_it_is_the_parents);
  GATE_RUN(killed_at_every_moment);
  GATE_RUN(killed_at_any_time);
  GATE_RUN(memory_may_run_out_anywhere);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
