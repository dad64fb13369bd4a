/*
** Locks: who may be there with whom, who is waited for, who is dead, and what
** happens to one that cannot be refreshed. All waits of the real ones are
** shortened; what must be in order is held by gates.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/wait.h>

#include "gate.h"
#include "repository/lock_parts.h"
#include "store_case.h"

static const repo_key key = {.encrypt = {1, 2, 3}, .k = {4, 5}, .r = {6, 7}};

/* A store with its tools. */
typedef struct bench {
  store_place place;
  repo_store *inner, *store;
  faulty_store faulty;
  repo_tools *tools;
  repo_locker k;
} bench;

static void quick(void) {
  repo_lock_time = (repo_lock_times){.settle = 1,
                                     .refresh = 3600000,
                                     .late = 3600000,
                                     .stale = 1800000,
                                     .retry_least = 1,
                                     .retry_most = 4,
                                     .unreadable = 1};
}

static void begin(bench *b) {
  quick();
  memset(b, 0, sizeof *b);
  store_place_make(&b->place);
  b->inner = store_open_hasty(store_path(&b->place, "r"));
  /* All that locks need of a repository. */
  CHECK(mkdir(store_path(&b->place, "r"), 0700) == 0);
  CHECK(mkdir(store_path(&b->place, "r/locks"), 0700) == 0);
  b->store = faulty_around(&b->faulty, b->inner);
  b->tools = repo_tools_new(&key, 2);
  CHECK(b->tools != NULL);
  b->k = (repo_locker){.store = b->store, .tools = b->tools};
}

static void end(bench *b) {
  repo_tools_free(b->tools);
  repo_store_close(b->inner);
  store_place_end(&b->place);
}

static long locks(bench *b) {
  return store_count(b->inner, REPO_LOCKS);
}

static error *take(bench *b, bool exclusive, repo_lock **l) {
  return repo_lock_take(&b->k, exclusive, NULL, l);
}

static repo_lock *taken(bench *b, bool exclusive) {
  repo_lock *l;
  CHECK_INT(store_code(take(b, exclusive, &l)), 0);
  return l;
}

static void release(repo_lock *l) {
  CHECK_INT(store_code(repo_lock_release(l)), 0);
}

static error *first(void *context, const repo_id *id, uint64_t size) {
  (void)size;
  *(repo_id *)context = *id;
  return NULL;
}

static repo_id the_lock(bench *b) {
  repo_id id = {{0}};
  CHECK_INT(
      store_code(b->inner->way->list(b->inner, REPO_LOCKS, first, &id, NULL)),
      0);
  return id;
}

/* Stores a lock that somebody else might have written. */
static repo_id plant(bench *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static repo_id plant(bench *b, const char *format, ...) {
  char json[2000];
  repo_id id;
  va_list args;
  va_start(args, format);
  vsnprintf(json, sizeof json, format, args);
  va_end(args);
  CHECK_INT(store_code(repo_tools_save(b->tools, b->inner, REPO_LOCKS, json,
                                       strlen(json), &id, NULL)),
            0);
  return id;
}

/* As RFC 3339, so many seconds ago. */
static const char *ago(long seconds) {
  static char text[4][40];
  static unsigned next;
  char *into = text[next++ % 4];
  time_t t = time(NULL) - seconds;
  struct tm parts;
  gmtime_r(&t, &parts);
  strftime(into, sizeof text[0], "%Y-%m-%dT%H:%M:%SZ", &parts);
  return into;
}

static const char *host(void) {
  static char name[256];
  gethostname(name, sizeof name - 1);
  return name;
}

#define RESTIC_LOCK                                                     \
  "{\"time\":\"%s\",\"exclusive\":%s,\"hostname\":\"%s\",\"username\":" \
  "\"root\",\"pid\":%ld}"

/* A process that has ended, and that nobody has asked for yet, or has. */
static pid_t dead_process(bool reaped) {
  siginfo_t info;
  pid_t child = fork();
  if (child == 0) _exit(0);
  waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
  if (reaped) waitpid(child, NULL, 0);
  return child;
}

static bool sees_all_processes(void) {
  struct stat st;
  return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == 0xEFFFFFFCu &&
         access("/proc/1/status", R_OK) == 0;
}


/* ------------------------------------------------------------------
** Taking
** ---------------------------------------------------------------- */

TEST(shared_and_exclusive) {
  bench b;
  repo_lock *l;
  begin(&b);
  repo_lock *one = taken(&b, false), *two = taken(&b, false);
  CHECK_INT(locks(&b), 2);
  CHECK_INT(store_code(take(&b, true, &l)), SAROS_E_LOCKED);
  CHECK(l == NULL);
  CHECK_INT(locks(&b), 2);
  release(one);
  CHECK_INT(store_code(take(&b, true, &l)), SAROS_E_LOCKED);
  release(two);
  CHECK_INT(locks(&b), 0);
  one = taken(&b, true);
  CHECK(repo_lock_is_exclusive(one));
  CHECK_INT(store_code(take(&b, false, &l)), SAROS_E_LOCKED);
  CHECK_INT(store_code(take(&b, true, &l)), SAROS_E_LOCKED);
  CHECK_INT(locks(&b), 1);
  release(one);
  release(taken(&b, false));
  CHECK_INT(store_code(repo_lock_release(NULL)), 0);
  end(&b);
}

TEST(it_says_who) {
  bench b;
  repo_lock *l;
  char text[100];
  begin(&b);
  plant(&b, RESTIC_LOCK, ago(300), "true", "we\\u0007b1", 1L);
  error *e = take(&b, false, &l);
  CHECK(e != NULL && strstr(e->message, "exclusively since ") != NULL);
  CHECK(e != NULL && strstr(e->message, "last 5 minutes ago") != NULL);
  CHECK(e != NULL && strstr(e->message, "retry_lock") != NULL);
  CHECK(e != NULL && e->retryable);
  CHECK(store_says(e, "PID 1 on host we\\x07b1 (user root)"));
  CHECK(store_says(take(&b, true, &l), "PID 1 on host"));
  end(&b);
  begin(&b);
  plant(&b, RESTIC_LOCK, ago(5 * 3600), "false", "other", 1L);
  CHECK(store_says(take(&b, true, &l), "unlock removes the lock"));
  end(&b);
  begin(&b);
  repo_lock *ours = taken(&b, true);
  snprintf(text, sizeof text, "PID %ld on host ", (long)getpid());
  CHECK(store_says(take(&b, false, &l), text));
  CHECK(store_says(take(&b, false, &l), "of this very process"));
  release(ours);
  end(&b);
}

/* Two that want it for themselves both write before either looks again: not
   both have it, and who has not has left nothing behind. */
typedef struct race {
  bench b;
  pthread_barrier_t written;
  _Atomic int lists[2];
  _Atomic int winners;
} race;

static __thread int racer = -1;

/* Both have looked before either writes. */
static void at_the_second_look(void *context, unsigned call, repo_file kind) {
  race *r = context;
  if (racer < 0 || kind != REPO_LOCKS) return;
  if (call == STORE_SAVE || (call == STORE_LIST && ++r->lists[racer] % 2 == 0))
    pthread_barrier_wait(&r->written);
}

static void *races(void *argument) {
  static _Atomic int next;
  race *r = argument;
  repo_lock *l;
  racer = next++ % 2;
  error *e = take(&r->b, true, &l);
  CHECK(e == NULL || e->code == SAROS_E_LOCKED);
  if (e == NULL) {
    r->winners++;
    release(l);
  }
  error_unref(e);
  return NULL;
}

TEST(two_at_once) {
  race r;
  pthread_t threads[2];
  memset(&r, 0, sizeof r);
  begin(&r.b);
  r.b.faulty.before = at_the_second_look;
  r.b.faulty.context = &r;
  for (long i = 0; i < gate_loops(40); i++) {
    pthread_barrier_init(&r.written, NULL, 2);
    r.winners = 0;
    for (int k = 0; k < 2; k++)
      CHECK_INT(pthread_create(&threads[k], NULL, races, &r), 0);
    for (int k = 0; k < 2; k++) pthread_join(threads[k], NULL);
    CHECK(r.winners <= 1);
    pthread_barrier_destroy(&r.written);
  }
  CHECK_INT(locks(&r.b), 0);
  end(&r.b);
}

/* Each takes it for itself again and again: never two at a time. */
typedef struct crowd {
  bench b;
  _Atomic int inside, most, had;
} crowd;

static void *crowds(void *argument) {
  crowd *c = argument;
  repo_locker k = c->b.k;
  k.retry_ms = GATE_BOUND_MS;
  for (long i = 0; i < gate_loops(60) / 6 + 1; i++) {
    repo_lock *l;
    CHECK_INT(store_code(repo_lock_take(&k, true, NULL, &l)), 0);
    if (l == NULL) continue;
    int now = ++c->inside;
    if (now > c->most) c->most = now;
    gate_nap();
    c->had++;
    c->inside--;
    release(l);
  }
  return NULL;
}

static void crowds_into(bool at_once) {
  enum { THREADS = 3 };
  crowd c;
  pthread_t threads[THREADS];
  memset(&c, 0, sizeof c);
  begin(&c.b);
  repo_lock_time.settle = 20; /* a loaded machine may write slowly */
  repo_lock_time.retry_most = 40;
  if (at_once) {
    c.b.k.store = c.b.inner;
    repo_lock_time.settle = 600000; /* nobody waits for that */
  }
  for (int i = 0; i < THREADS; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, crowds, &c), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_INT(c.most, 1);
  CHECK(c.had >= THREADS);
  CHECK_INT(locks(&c.b), 0);
  end(&c.b);
}

TEST(one_after_the_other) {
  crowds_into(false);
}

/* Where it lies what others write is seen at once. */
TEST(one_after_the_other_at_once) {
  crowds_into(true);
}


/* ------------------------------------------------------------------
** Waiting
** ---------------------------------------------------------------- */

typedef struct waiting {
  bench b;
  repo_stop stop;
  _Atomic bool waits, stopped;
  repo_lock *l;
  uint32_t code;
} waiting;

static void tell_waits(void *context, const char *why) {
  waiting *w = context;
  CHECK(strstr(why, "PID ") != NULL);
  w->waits = true;
}

static bool is_stopped(const repo_stop *stop) {
  return ((const waiting *)((const char *)stop - offsetof(waiting, stop)))
      ->stopped;
}

static void *waits_for_it(void *argument) {
  waiting *w = argument;
  w->code = store_code(repo_lock_take(&w->b.k, true, &w->stop, &w->l));
  return NULL;
}

static void begin_waiting(waiting *w, pthread_t *thread, uint64_t ms) {
  memset(w, 0, sizeof *w);
  begin(&w->b);
  w->stop.asked = is_stopped;
  w->b.k.retry_ms = ms;
  w->b.k.waits = tell_waits;
  w->b.k.context = w;
  (void)thread;
}

TEST(waits_until_it_is_free) {
  waiting w;
  pthread_t thread;
  begin_waiting(&w, &thread, GATE_BOUND_MS);
  repo_lock *l = taken(&w.b, false);
  CHECK_INT(pthread_create(&thread, NULL, waits_for_it, &w), 0);
  GATE_UNTIL(w.waits);
  release(l);
  pthread_join(thread, NULL);
  CHECK_INT(w.code, 0);
  release(w.l);
  CHECK_INT(locks(&w.b), 0);
  end(&w.b);
}

TEST(waiting_can_be_cancelled) {
  waiting w;
  pthread_t thread;
  begin_waiting(&w, &thread, GATE_BOUND_MS);
  repo_lock *l = taken(&w.b, true);
  repo_lock_time.retry_least = repo_lock_time.retry_most = 600000;
  CHECK_INT(pthread_create(&thread, NULL, waits_for_it, &w), 0);
  GATE_UNTIL(w.waits);
  w.stopped = true;
  pthread_join(thread, NULL);
  CHECK_INT(w.code, SAROS_E_CANCELLED);
  CHECK_INT(locks(&w.b), 1);
  release(l);
  end(&w.b);
}

static void cancel_then(void *context, unsigned call, repo_file kind) {
  waiting *w = context;
  if (call == STORE_SAVE && kind == REPO_LOCKS) w->stopped = true;
}

TEST(cancelled_while_it_settles) {
  waiting w;
  repo_lock *l;
  begin_waiting(&w, NULL, 0);
  w.b.faulty.before = cancel_then;
  w.b.faulty.context = &w;
  repo_lock_time.settle = 600000;
  CHECK_INT(store_code(repo_lock_take(&w.b.k, false, &w.stop, &l)),
            SAROS_E_CANCELLED);
  CHECK_INT(locks(&w.b), 0);
  end(&w.b);
}

TEST(waits_only_so_long) {
  waiting w;
  repo_lock *l;
  begin_waiting(&w, NULL, 0);
  plant(&w.b, RESTIC_LOCK, ago(1), "true", "other", 1L);
  /* Who had no processor until it was over does not wait at all. */
  for (uint64_t ms = 10; !w.waits && ms < GATE_BOUND_MS; ms *= 4) {
    w.b.k.retry_ms = ms;
    CHECK_INT(store_code(repo_lock_take(&w.b.k, false, &w.stop, &l)),
              SAROS_E_LOCKED);
  }
  CHECK(w.waits);
  end(&w.b);
}


/* ------------------------------------------------------------------
** The dead
** ---------------------------------------------------------------- */

/* A child takes a lock and is killed. */
static pid_t killed_with_a_lock(bench *b) {
  int fds[2];
  char byte;
  CHECK_INT(pipe(fds), 0);
  pid_t child = fork();
  if (child == 0) {
    repo_lock *l;
    b->k.tools = repo_tools_new(&key, 2); /* a child has no secrets */
    error *e = take(b, true, &l);
    if (e == NULL && write(fds[1], "x", 1) == 1) pause();
    _exit(1);
  }
  close(fds[1]);
  CHECK_INT(read(fds[0], &byte, 1), 1);
  close(fds[0]);
  return child;
}

TEST(the_lock_of_a_killed_one_is_removed) {
  bench b;
  repo_lock *l;
  begin(&b);
  pid_t child = killed_with_a_lock(&b);
  CHECK_INT(locks(&b), 1);
  CHECK_INT(store_code(take(&b, false, &l)), SAROS_E_LOCKED);
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
  release(taken(&b, true)); /* nobody has asked for the child yet */
  CHECK_INT(locks(&b), 0);
  waitpid(child, NULL, 0);
  end(&b);
}

/* The number of its process is another's now. */
TEST(a_number_used_again) {
  bench b;
  begin(&b);
  repo_lock *l = taken(&b, true);
  repo_lock_file f = l->mine;
  buffer json = BUFFER_EMPTY;
  f.owner.started += 1;
  repo_lock_file_write(&f, &json);
  release(l);
  plant(&b, "%s", json.data);
  release(taken(&b, true));
  CHECK_INT(locks(&b), 0);
  buffer_free(&json);
  end(&b);
}

/* Another boot of this machine; a machine that is only called the same. */
TEST(after_a_restart) {
  static const struct {
    const char *boot, *machine;
    long age;
    bool dead;
  } cases[] = {{"00000000-0000-4000-8000-000000000000", NULL, 600, true},
               {"00000000-0000-4000-8000-000000000000", NULL, 60, false},
               {"00000000-0000-4000-8000-000000000000", "other", 600, false},
               {"00000000-0000-4000-8000-000000000000", "", 600, false}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    bench b;
    repo_lock *l;
    begin(&b);
    repo_lock_time.refresh = 300000;
    l = taken(&b, true);
    repo_lock_file f = l->mine;
    if (f.owner.machine[0] == '\0') {
      release(l);
      end(&b);
      SKIP("this machine has no /etc/machine-id");
    }
    buffer json = BUFFER_EMPTY;
    strcpy(f.owner.boot, cases[i].boot);
    if (cases[i].machine != NULL) strcpy(f.owner.machine, cases[i].machine);
    f.time.tv_sec -= cases[i].age;
    repo_lock_file_write(&f, &json);
    release(l);
    plant(&b, "%s", json.data);
    uint32_t code = store_code(take(&b, true, &l));
    CHECK_INT(code, cases[i].dead ? 0 : SAROS_E_LOCKED);
    if (code == 0) release(l);
    buffer_free(&json);
    end(&b);
  }
}

/* restic's say less: then all processes of this machine must be seen. */
TEST(dead_ones_of_restic) {
  bench b;
  repo_lock *l;
  if (!sees_all_processes())
    SKIP("only from outside of all containers one can tell who has died");
  for (int reaped = 0; reaped < 2; reaped++) {
    begin(&b);
    pid_t gone = dead_process(reaped != 0);
    plant(&b, RESTIC_LOCK, ago(0), "true", host(), (long)gone);
    release(taken(&b, true));
    CHECK_INT(locks(&b), 0);
    if (!reaped) waitpid(gone, NULL, 0);
    end(&b);
  }
  begin(&b); /* it is there: this process */
  plant(&b, RESTIC_LOCK, ago(0), "true", host(), (long)getpid());
  CHECK_INT(store_code(take(&b, false, &l)), SAROS_E_LOCKED);
  end(&b);
  begin(&b); /* … and the clock was set after it wrote this */
  plant(&b, RESTIC_LOCK, ago(1000), "true", host(), (long)getpid());
  CHECK_INT(store_code(take(&b, false, &l)), SAROS_E_LOCKED);
  end(&b);
  begin(&b); /* it was written before this process was */
  plant(&b, RESTIC_LOCK, ago(90000000), "true", host(), (long)getpid());
  release(taken(&b, true));
  end(&b);
  begin(&b); /* the same number elsewhere proves nothing */
  pid_t gone = dead_process(true);
  plant(&b, RESTIC_LOCK, ago(0), "true", "other", (long)gone);
  CHECK_INT(store_code(take(&b, false, &l)), SAROS_E_LOCKED);
  end(&b);
}

TEST(unlock) {
  bench b;
  uint64_t removed;
  error *e;
  begin(&b);
  pid_t gone = dead_process(true);
  repo_lock *l = taken(&b, false);
  plant(&b, RESTIC_LOCK, ago(0), "false", "other", 1L);
  plant(&b, RESTIC_LOCK, ago(29 * 60), "false", "other", 2L);
  plant(&b, RESTIC_LOCK, ago(31 * 60), "true", "other", 3L);
  plant(&b, RESTIC_LOCK, ago(1), "true", host(), (long)gone);
  repo_id junk;
  CHECK_INT(store_code(store_put(b.inner, REPO_LOCKS, "no lock", &junk)), 0);
  value *list = repo_lock_list(b.store, b.tools, NULL, &e);
  CHECK(list != NULL && list->count == 6);
  int stale = 0, bad = 0;
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    stale += value_boolean(value_get(list->as.items[i], "stale"), false);
    bad += value_get(list->as.items[i], "error") != NULL;
  }
  CHECK_INT(stale, 2);
  CHECK_INT(bad, 1);
  value_free(list);
  CHECK_INT(
      store_code(repo_lock_clear(b.store, b.tools, false, NULL, &removed)), 0);
  CHECK_INT(removed, 2);
  CHECK_INT(locks(&b), 4);
  release(l);
  CHECK_INT(store_code(repo_lock_clear(b.store, b.tools, true, NULL, &removed)),
            0);
  CHECK_INT(removed, 3);
  CHECK_INT(locks(&b), 0);
  end(&b);
}


/* ------------------------------------------------------------------
** What is no lock
** ---------------------------------------------------------------- */

TEST(unreadable_is_no_free) {
  bench b;
  repo_lock *l;
  repo_id id;
  begin(&b);
  CHECK_INT(store_code(store_put(b.inner, REPO_LOCKS, "no lock", &id)), 0);
  CHECK(store_says(take(&b, false, &l), "cannot be read"));
  CHECK_INT(locks(&b), 1);
  CHECK_INT(b.faulty.seen > 4, 1); /* it was looked at again */
  end(&b);
}

static void remove_it(void *context, unsigned call, repo_file kind) {
  bench *b = context;
  repo_id id = the_lock(b);
  if (call == STORE_LOAD && kind == REPO_LOCKS)
    error_unref(b->inner->way->remove(b->inner, REPO_LOCKS, &id, NULL));
}

/* Between being listed and being read. */
TEST(let_go_meanwhile) {
  bench b;
  begin(&b);
  plant(&b, RESTIC_LOCK, ago(1), "true", "other", 1L);
  b.faulty.before = remove_it;
  b.faulty.context = &b;
  repo_lock *l = taken(&b, true);
  b.faulty.before = NULL;
  release(l);
  end(&b);
}

TEST(empty_ones_are_none) {
  bench b;
  char path[300], text[REPO_ID_TEXT];
  begin(&b);
  repo_id id;
  memset(&id, 9, sizeof id);
  repo_id_format(&id, text);
  snprintf(path, sizeof path, "%s/r/locks/%s", b.place.path, text);
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0);
  close(fd);
  release(taken(&b, true));
  end(&b);
}

TEST(hostile_ones) {
  static const char numbers[] =
      "{\"time\":\"2020-01-01T00:00:00Z\",\"pid\":99999999999999,"
      "\"exclusive\":true,\"saros\":{\"boot\":7,\"pids\":-1}}";
  static const char *const bad[] = {
      "",
      "{}",
      "[]",
      "null",
      "{\"time\":1}",
      "{\"time\":\"yesterday\"}",
      "{\"time\":\"2020-01-01T00:00:00Z\",\"hostname\":3,\"pid\":\"x\"}",
      "{\"time\":\"2020-01-01T00:00:00Z\",\"pid\":-5,\"saros\":[1]}",
      numbers};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    repo_lock_file f = {0};
    repo_owner here;
    CHECK_INT(store_code(repo_owner_here(&here)), 0);
    error *e = repo_lock_file_read(&f, bad[i], strlen(bad[i]));
    CHECK((e == NULL) == (i >= 6));
    if (e == NULL) {
      CHECK(!repo_lock_file_is_dead(&f, &here));
      value_free(repo_lock_file_value(&f, &here));
      repo_lock_file_clear(&f);
    }
    error_unref(e);
    repo_owner_clear(&here);
  }
}


/* ------------------------------------------------------------------
** Refreshing
** ---------------------------------------------------------------- */

TEST(refreshed) {
  bench b;
  begin(&b);
  repo_lock_time.refresh = 5;
  repo_lock *l = taken(&b, true);
  repo_id before = the_lock(&b), now;
  GATE_UNTIL((now = the_lock(&b), !repo_id_equal(&now, &before)));
  before = now;
  GATE_UNTIL((now = the_lock(&b), !repo_id_equal(&now, &before)));
  CHECK(!repo_lock_is_lost(l));
  CHECK_INT(store_code(repo_lock_assure(l, NULL)), 0);
  release(l);
  CHECK_INT(locks(&b), 0);
  end(&b);
}

/* The store does not answer for long; what would write has to wait, and is
   refused at last. */
TEST(lost) {
  bench b;
  repo_id id;
  begin(&b);
  repo_lock_time.refresh = 2;
  repo_lock_time.late = 20;
  repo_lock *l = taken(&b, false);
  repo_store *guarded = repo_store_guard(b.store, l);
  CHECK_INT(store_code(store_put(guarded, REPO_PACKS, "one", &id)), 0);
  b.faulty.lasts = true;
  b.faulty.kinds = 1u << REPO_LOCKS;
  faulty_at(&b.faulty, STORE_FAILS, STORE_SAVE, 1);
  GATE_UNTIL(repo_lock_is_lost(l));
  CHECK(store_says(store_put(guarded, REPO_PACKS, "two", &id),
                   "could not be refreshed in time"));
  CHECK_INT(store_code(guarded->way->remove(guarded, REPO_PACKS, &id, NULL)),
            SAROS_E_LOCKED);
  CHECK_INT(store_count(guarded, REPO_PACKS), 1); /* reading goes on */
  atomic_store(&b.faulty.left, 0);
  CHECK_INT(store_code(repo_lock_assure(l, NULL)), SAROS_E_LOCKED);
  repo_store_close(guarded);
  release(l);
  CHECK_INT(locks(&b), 0);
  end(&b);
}

/* As after a night of sleep: nobody has taken it away meanwhile. */
static repo_lock *late(bench *b) {
  begin(b);
  repo_lock *l = taken(b, true);
  repo_lock_time.late = 1000;
  atomic_store(&l->fresh, repo_clock() - 5000);
  return l;
}

TEST(late_and_saved) {
  bench b;
  repo_lock *l = late(&b);
  repo_id before = the_lock(&b);
  repo_lock_time.late = 60000;
  atomic_store(&l->fresh, repo_clock() - 70000);
  CHECK_INT(store_code(repo_lock_assure(l, NULL)), 0);
  repo_id now = the_lock(&b);
  CHECK(!repo_id_equal(&now, &before));
  CHECK_INT(locks(&b), 1);
  release(l);
  end(&b);
}

TEST(late_and_gone) {
  bench b;
  repo_lock *l = late(&b);
  repo_id id = the_lock(&b);
  CHECK_INT(store_code(b.inner->way->remove(b.inner, REPO_LOCKS, &id, NULL)),
            0);
  CHECK_INT(store_code(repo_lock_assure(l, NULL)), SAROS_E_LOCKED);
  CHECK(repo_lock_is_lost(l));
  CHECK_INT(locks(&b), 0);
  release(l);
  end(&b);
}

/* It goes while the new one settles. */
static void take_it_away(void *context, unsigned call, repo_file kind) {
  bench *b = context;
  static _Atomic int saved;
  if (call == STORE_SAVE && kind == REPO_LOCKS) saved = 1;
  if (call != STORE_SIZE || !saved) return;
  saved = 0;
  repo_lock *l = b->k.context;
  error_unref(b->inner->way->remove(b->inner, REPO_LOCKS, &l->mine.id, NULL));
}

TEST(late_and_gone_while_it_settles) {
  bench b;
  repo_lock *l = late(&b);
  b.k.context = l;
  b.faulty.context = &b;
  b.faulty.before = take_it_away;
  CHECK_INT(store_code(repo_lock_assure(l, NULL)), SAROS_E_LOCKED);
  CHECK_INT(locks(&b), 0);
  release(l);
  end(&b);
}

/* Somebody has removed it in time, and has done meanwhile what it was to keep
   off, may be: whether he is there still says nothing. */
TEST(removed_by_somebody) {
  for (int other = 0; other < 2; other++) {
    bench b;
    begin(&b);
    repo_lock *l = taken(&b, false);
    repo_id id = the_lock(&b);
    CHECK_INT(store_code(b.inner->way->remove(b.inner, REPO_LOCKS, &id, NULL)),
              0);
    if (other != 0) plant(&b, RESTIC_LOCK, ago(0), "true", "other", 1L);
    pthread_mutex_lock(&l->lock);
    l->asked = true;
    pthread_cond_broadcast(&l->moved);
    while (l->asked && !l->lost) pthread_cond_wait(&l->moved, &l->lock);
    pthread_mutex_unlock(&l->lock);
    CHECK(repo_lock_is_lost(l));
    release(l);
    CHECK_INT(locks(&b), other);
    end(&b);
  }
}

/* What others rely on is not stored on the word of a lock that was looked at
   minutes ago. */
TEST(removed_before_a_version_is_stored) {
  bench b;
  repo_id id;
  begin(&b);
  repo_lock *l = taken(&b, false);
  repo_store *guarded = repo_store_guard(b.store, l);
  CHECK_INT(store_code(store_put(guarded, REPO_SNAPSHOTS, "one", &id)), 0);
  atomic_store(&l->fresh, repo_clock() - 60000);
  repo_id before = the_lock(&b), now;
  CHECK_INT(store_code(store_put(guarded, REPO_SNAPSHOTS, "two", &id)), 0);
  now = the_lock(&b);
  CHECK(!repo_id_equal(&now, &before));
  atomic_store(&l->fresh, repo_clock() - 60000);
  CHECK_INT(store_code(b.inner->way->remove(b.inner, REPO_LOCKS, &now, NULL)),
            0);
  CHECK_INT(store_code(store_put(guarded, REPO_SNAPSHOTS, "three", &id)),
            SAROS_E_LOCKED);
  CHECK_INT(store_count(b.inner, REPO_SNAPSHOTS), 2);
  repo_store_close(guarded);
  release(l);
  CHECK_INT(locks(&b), 0);
  end(&b);
}

/* The process is stopped between being told that the lock holds and storing
   what others rely on; when it is continued, the lock is gone for long. */
static void sleep_long(void *context, unsigned call, repo_file kind) {
  bench *b = context;
  if (call != STORE_SAVE || kind == REPO_LOCKS) return;
  repo_lock *l = b->k.context;
  error_unref(b->inner->way->remove(b->inner, REPO_LOCKS, &l->mine.id, NULL));
  atomic_store(&l->fresh, repo_clock() - repo_lock_time.late - 1);
}

TEST(stopped_while_storing) {
  static const repo_file kinds[] = {REPO_INDEXES, REPO_SNAPSHOTS};
  for (int i = 0; i < 2; i++) {
    bench b;
    repo_id id;
    begin(&b);
    repo_lock *l = taken(&b, false);
    repo_lock_time.late = 60000;
    repo_store *guarded = repo_store_guard(b.store, l);
    b.k.context = l;
    b.faulty.context = &b;
    b.faulty.before = sleep_long;
    CHECK_INT(store_code(store_put(guarded, kinds[i], "one", &id)),
              SAROS_E_LOCKED);
    CHECK_INT(store_count(b.inner, kinds[i]), 0);
    repo_store_close(guarded);
    release(l);
    end(&b);
  }
}


/* ------------------------------------------------------------------
** Forks, faults, memory
** ---------------------------------------------------------------- */

TEST(a_child_lets_it_be) {
  bench b;
  begin(&b);
  repo_lock *l = taken(&b, true);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    error *e = repo_lock_release(l);
    _exit(e != NULL || locks(&b) != 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  CHECK_INT(locks(&b), 1);
  release(l);
  end(&b);
}

/* Whatever call fails: no lock of ours stays, unless it could not be removed.
 */
TEST(faults) {
  for (int how = 0; how < 2; how++)
    for (long n = 1; n < 8; n++) {
      bench b;
      repo_lock *l;
      begin(&b);
      plant(&b, RESTIC_LOCK, ago(1), "false", "other", 1L);
      faulty_at(&b.faulty, how == 0 ? STORE_FAILS : STORE_FAILS_AFTER,
                STORE_LIST | STORE_LOAD | STORE_SAVE, n);
      error *e = take(&b, false, &l);
      atomic_store(&b.faulty.left, 0);
      if (e == NULL) release(l);
      CHECK(e == NULL || e->number == EIO);
      CHECK(n < 3 ? e != NULL : true);
      CHECK_INT(locks(&b), 1);
      error_unref(e);
      end(&b);
    }
}

TEST(without_memory) {
  bench b;
  begin(&b);
  release(taken(&b, false));
  long before = mem_blocks();
  int failed = 0;
  for (long n = 1; n < 120; n++) {
    repo_lock *l;
    plant(&b, RESTIC_LOCK, ago(1), "false", "other", 1L);
    mem_fail_at(n);
    error *e = take(&b, false, &l);
    if (e == NULL) e = repo_lock_release(l);
    mem_fail_at(0);
    failed += e != NULL;
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    error_unref(e);
    uint64_t removed;
    CHECK_INT(
        store_code(repo_lock_clear(b.inner, b.tools, true, NULL, &removed)), 0);
    CHECK(removed <= 2);
  }
  CHECK(failed > 20);
  CHECK_INT(mem_blocks(), before);
  end(&b);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  GATE_RUN(shared_and_exclusive);
  GATE_RUN(it_says_who);
  GATE_RUN(two_at_once);
  GATE_RUN(one_after_the_other);
  GATE_RUN(one_after_the_other_at_once);
  GATE_RUN(waits_until_it_is_free);
  GATE_RUN(waiting_can_be_cancelled);
  GATE_RUN(cancelled_while_it_settles);
  GATE_RUN(waits_only_so_long);
  GATE_RUN(the_lock_of_a_killed_one_is_removed);
  GATE_RUN(a_number_used_again);
  GATE_RUN(after_a_restart);
  GATE_RUN(dead_ones_of_restic);
  GATE_RUN(unlock);
  GATE_RUN(unreadable_is_no_free);
  GATE_RUN(let_go_meanwhile);
  GATE_RUN(empty_ones_are_none);
  GATE_RUN(hostile_ones);
  GATE_RUN(refreshed);
  GATE_RUN(lost);
  GATE_RUN(late_and_saved);
  GATE_RUN(late_and_gone);
  GATE_RUN(late_and_gone_while_it_settles);
  GATE_RUN(removed_by_somebody);
  GATE_RUN(removed_before_a_version_is_stored);
  GATE_RUN(stopped_while_storing);
  GATE_RUN(a_child_lets_it_be);
  GATE_RUN(faults);
  GATE_RUN(without_memory);
  return check_end();
}
