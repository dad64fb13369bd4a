/*
** Who made a shadow, and who may make one now: the owner of a record, and the
** lock of the one creation at a time.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/sched.h>
#include <sys/syscall.h>

#include "record_case.h"


/* ------------------------------------------------------------------
** Owners
** ---------------------------------------------------------------- */

static value *owned(void) {
  value *map = value_map();
  CHECK(owner_put(map));
  return map;
}

static value *owned_but(const char *field, value *changed) {
  value *map = owned();
  value *owner = value_copy(value_get(map, "owner"));
  value_put(owner, field, changed);
  value_put(map, "owner", owner);
  return map;
}

static void check_owner(value *map, bool alive, bool us) {
  CHECK_INT(owner_is_alive(map), alive);
  CHECK_INT(owner_is_us(map), us);
  value_free(map);
}

TEST(owner_is_this_process) {
  check_owner(owned(), true, true);
  const char other[] = "11111111-1111-4111-8111-111111111111";
  check_owner(owned_but("boot", value_text(other)), false, false);
  check_owner(owned_but("start", value_int(7)), false, false); /* came again */
  check_owner(owned_but("pid", value_int(INT32_MAX)), false, false);
}

/* Then nobody may take away what it has. */
TEST(owner_that_cannot_be_told_lives) {
  check_owner(value_map(), true, false);
  check_owner(value_null(), true, false);
  check_owner(owned_but("boot", value_null()), true, false);
  check_owner(owned_but("boot", value_text("")), true, false);
  check_owner(owned_but("pid", value_text("7")), true, false);
  check_owner(owned_but("pid", value_int(0)), true, false);
  check_owner(owned_but("pid", value_int(-1)), true, false);
  check_owner(owned_but("pid", value_int(INT64_MAX)), true, false);
  check_owner(owned_but("start", value_int(0)), true, false);
  check_owner(owned_but("time_space", value_int(3)), true, false);
}

typedef struct shared {
  char text[2000];
  size_t size;
} shared;

static shared *common;

/* What a process says of itself, so that others can see it. */
static int tell(void *unused) {
  (void)unused;
  value *map = owned();
  buffer b = BUFFER_EMPTY;
  json_write(&b, map, JSON_COMPACT);
  memcpy(common->text, b.data, b.size);
  common->size = b.size;
  int us = owner_is_us(map);
  buffer_free(&b);
  value_free(map);
  return us ? 0 : 1;
}

static value *told(void) {
  error *e = NULL;
  return json_read(common->text, common->size, NULL, &e);
}

static int is_parent_alive(void *map) {
  return owner_is_alive(map) && !owner_is_us(map) ? 0 : 1;
}

TEST(owner_is_another_process) {
  stranger s = stranger_new(tell, NULL);
  value *map = told();
  CHECK(owner_is_alive(map) && !owner_is_us(map));
  close(s.end); /* dead, but not waited for: a corpse owns nothing */
  siginfo_t info;
  CHECK_INT(waitid(P_PID, (id_t)s.pid, &info, WEXITED | WNOWAIT), 0);
  CHECK(!owner_is_alive(map));
  waitpid(s.pid, NULL, 0);
  CHECK(!owner_is_alive(map));
  value_free(map);
  map = owned();
  CHECK_INT(in_child(is_parent_alive, map), 0); /* the child of an owner */
  value_free(map);
}

static int odd_name(void *unused) {
  prctl(PR_SET_NAME, "x) R 1 2 (3)");
  return tell(unused);
}

TEST(owner_with_an_odd_name) {
  stranger s = stranger_new(odd_name, NULL);
  value *map = told();
  CHECK(owner_is_alive(map));
  stranger_end(&s);
  CHECK(!owner_is_alive(map));
  value_free(map);
}

static int hold_open[2], threads_up[2];

static void *stays(void *unused) {
  char byte;
  if (write(threads_up[1], "x", 1) != 1) abort();
  while (read(hold_open[0], &byte, 1) < 0) continue;
  _exit(0);
  return unused;
}

static bool is_zombie(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *f = fopen(path, "r");
  size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
  text[n] = '\0';
  if (f != NULL) fclose(f);
  return strstr(text, ") Z ") != NULL;
}

/* Its first thread ends, another goes on: that is a living process. */
TEST(owner_without_its_first_thread) {
  if (GATE_TSAN) SKIP("a runtime of threads does not like that");
  char byte;
  CHECK(pipe(hold_open) == 0 && pipe(threads_up) == 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    pthread_t id;
    close(hold_open[1]);
    tell(NULL);
    pthread_create(&id, NULL, stays, NULL);
    syscall(SYS_exit, 0);
  }
  CHECK_INT(read(threads_up[0], &byte, 1), 1);
  GATE_UNTIL(is_zombie(child));
  value *map = told();
  CHECK(owner_is_alive(map));
  close(hold_open[1]);
  waitpid(child, NULL, 0);
  CHECK(!owner_is_alive(map));
  close(hold_open[0]);
  close(threads_up[0]);
  close(threads_up[1]);
  value_free(map);
}

/* A process that is number 1 of a container of its own. */
static int container(void *outside) {
  mount("proc", "/proc", "proc", 0, NULL);
  if (!owner_is_alive(outside)) return 3; /* it cannot know */
  if (owner_is_us(outside)) return 4;
  return tell(NULL);
}

TEST(owner_in_a_container) {
  if (!has_mounts) SKIP("needs root and a mount namespace");
  char byte;
  int end[2], ready[2];
  CHECK(pipe2(end, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0);
  value *mine = owned();
  struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNS,
                            .exit_signal = SIGCHLD};
  fflush(stdout);
  pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (child == 0) {
    close(end[1]);
    char r = (char)container(mine);
    if (write(ready[1], &r, 1) != 1) _exit(1);
    while (read(end[0], &byte, 1) < 0) continue;
    _exit(0);
  }
  value_free(mine);
  if (child < 0) SKIP("no pid namespaces here");
  close(end[0]);
  close(ready[1]);
  byte = 9;
  CHECK_INT(read(ready[0], &byte, 1), 1);
  CHECK_INT(byte, 0);
  value *map = told();
  CHECK_INT(value_integer(value_get(value_get(map, "owner"), "pid"), 0), 1);
  CHECK(owner_is_alive(map) && !owner_is_us(map));
  close(end[1]);
  waitpid(child, NULL, 0);
  struct stat st;
  bool outermost =
      stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == 0xEFFFFFFC;
  CHECK_INT(owner_is_alive(map), !outermost);
  value_free(map);
  close(ready[0]);
  if (!outermost) SKIP("not in the first pid namespace: the half was proved");
}


/* ------------------------------------------------------------------
** The lock
** ---------------------------------------------------------------- */

static set_lock *take(const places *p) {
  error *e = NULL;
  set_lock *l = set_lock_take(p, &e);
  CHECK_CODE(e, 0);
  return l;
}

static bool is_taken(const places *p, const char *word) {
  error *e = NULL;
  set_lock *l = set_lock_take(p, &e);
  bool taken = l == NULL && e->code == VSS_E_SNAPSHOT_SET_IN_PROGRESS &&
               e->retryable && strstr(e->message, word) != NULL;
  if (l == NULL && !taken) printf("'%s' is not in: %s\n", word, e->message);
  error_unref(e);
  set_lock_give(l);
  return taken;
}

static void *take_in_thread(void *p) {
  return is_taken(p, "this process") ? p : NULL;
}

TEST(lock_excludes_this_process) {
  places *p = open_places(), *q = open_places();
  set_lock *l = take(p);
  CHECK(is_taken(p, "this process"));
  CHECK(is_taken(p, "since 20"));
  pthread_t id;
  void *r = NULL;
  CHECK_INT(pthread_create(&id, NULL, take_in_thread, p), 0);
  pthread_join(id, &r);
  CHECK(r == p);
  set_lock *other = take(q); /* other places, another lock */
  set_lock_give(l);
  l = take(p);
  set_lock_give(other);
  set_lock_give(l);
  set_lock_give(NULL);
  places_unref(p);
  places_unref(q);
}

static int take_and_keep(void *p) {
  error *e = NULL;
  return set_lock_take(p, &e) == NULL;
}

TEST(lock_excludes_other_processes) {
  places *p = open_places();
  char who[64];
  stranger s = stranger_new(take_and_keep, p);
  snprintf(who, sizeof who, "process %d (", (int)s.pid);
  CHECK(is_taken(p, who));
  CHECK(is_taken(p, "since 20"));
  char path[900];
  snprintf(path, sizeof path, "%s/lock", p->runtime);
  int fd = open(path, O_WRONLY | O_CLOEXEC); /* what it says is not believed */
  static const char lie[] =
      "{\"owner\":{\"pid\":1},\"program\":\"init\",\"since\":\"1999\"}";
  CHECK(ftruncate(fd, 0) == 0 && write(fd, lie, sizeof lie - 1) > 0);
  snprintf(who, sizeof who, "process %d has", (int)s.pid);
  CHECK(is_taken(p, who));
  CHECK(ftruncate(fd, 0) == 0 && write(fd, "{{{{", 4) == 4);
  CHECK(is_taken(p, who));
  close(fd);
  kill(s.pid, SIGKILL); /* it goes with its holder */
  waitpid(s.pid, NULL, 0);
  close(s.end);
  set_lock_give(take(p));
  places_unref(p);
}

typedef struct forking {
  places *p;
  int up, end[2];
} forking;

/* Takes it, forks a child that stays, and says so. */
static int take_and_fork(void *with) {
  forking *f = with;
  error *e = NULL;
  char byte;
  if (set_lock_take(f->p, &e) == NULL) return 1;
  if (fork() == 0) {
    close(f->end[1]);
    if (write(f->up, "x", 1) != 1) _exit(1);
    while (read(f->end[0], &byte, 1) < 0) continue;
    _exit(0);
  }
  return 0;
}

/* The child has every descriptor, and not the lock. */
TEST(lock_goes_with_its_holder_not_with_its_children) {
  forking f = {.p = open_places()};
  int up[2];
  char byte;
  CHECK(pipe2(up, O_CLOEXEC) == 0 && pipe2(f.end, O_CLOEXEC) == 0);
  f.up = up[1];
  stranger s = stranger_new(take_and_fork, &f);
  CHECK_INT(read(up[0], &byte, 1), 1);
  CHECK(is_taken(f.p, "process"));
  kill(s.pid, SIGKILL);
  waitpid(s.pid, NULL, 0);
  close(s.end);
  set_lock_give(take(f.p)); /* the child still lives */
  close(f.end[1]);
  close(f.end[0]);
  close(up[0]);
  close(up[1]);
  places_unref(f.p);
}

typedef struct inherited {
  places *p;
  set_lock *l;
} inherited;

static int use_inherited(void *with) {
  inherited *i = with;
  if (!is_taken(i->p, "process")) return 1;
  set_lock_give(i->l); /* not its own */
  return is_taken(i->p, "process") ? 0 : 2;
}

static int take_own(void *p) {
  error *e = NULL;
  set_lock *l = set_lock_take(p, &e);
  if (l == NULL) return 1;
  if (!is_taken(p, "this process")) return 2;
  set_lock_give(l);
  return is_taken(p, "process") ? 3 : 0;
}

TEST(lock_is_inert_in_a_child) {
  inherited i = {.p = open_places()};
  i.l = take(i.p);
  CHECK_INT(in_child(use_inherited, &i), 0);
  CHECK(is_taken(i.p, "this process"));
  CHECK_INT(in_child(use_inherited, &i), 0);
  set_lock_give(i.l);
  CHECK_INT(in_child(take_own, i.p), 0);
  places_unref(i.p);
}

/* The file may be swept away while nobody has it, and while somebody has. */
TEST(lock_without_its_file) {
  places *p = open_places();
  char path[900];
  snprintf(path, sizeof path, "%s/lock", p->runtime);
  set_lock *l = take(p);
  unlink(path);
  CHECK(is_taken(p, "this process"));
  set_lock_give(l);
  l = take(p);
  CHECK(there(path));
  set_lock_give(l);
  unlink(path);
  CHECK_INT(symlink("/etc/passwd", path), 0); /* nobody follows that */
  error *e = NULL;
  CHECK(set_lock_take(p, &e) == NULL);
  CHECK(e != NULL && e->number == ELOOP);
  error_unref(e);
  places_unref(p);
}

static places *storm_places;
static _Atomic int *storm_inside, *storm_takes;

static void *storm_thread(void *unused) {
  for (long i = 0; i < gate_loops(200); i++) {
    error *e = NULL;
    set_lock *l = set_lock_take(storm_places, &e);
    error_unref(e);
    if (l == NULL) continue;
    CHECK_INT(atomic_fetch_add(storm_inside, 1), 0);
    atomic_fetch_add(storm_takes, 1);
    CHECK_INT(atomic_fetch_sub(storm_inside, 1), 1);
    set_lock_give(l);
  }
  return unused;
}

static int storm_process(void *unused) {
  pthread_t ids[3];
  (void)unused;
  for (int i = 0; i < 3; i++) pthread_create(&ids[i], NULL, storm_thread, NULL);
  for (int i = 0; i < 3; i++) pthread_join(ids[i], NULL);
  return check_bad > 0;
}

/* Threads of several processes: never two inside. */
TEST(lock_in_a_storm) {
  storm_places = open_places();
  storm_inside = (_Atomic int *)mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  storm_takes = storm_inside + 16;
  pid_t children[3];
  fflush(stdout);
  for (int i = 0; i < 3; i++)
    if ((children[i] = fork()) == 0) _exit(storm_process(NULL));
  for (int i = 0; i < 3; i++) {
    int status = 1;
    waitpid(children[i], &status, 0);
    CHECK_INT(status, 0);
  }
  CHECK(atomic_load(storm_takes) > 0);
  munmap((void *)(uintptr_t)storm_inside, 4096);
  places_unref(storm_places);
}


static void all(void) {
  common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  RUN(owner_is_this_process);
  RUN(owner_that_cannot_be_told_lives);
  RUN(owner_is_another_process);
  RUN(owner_with_an_odd_name);
  RUN(owner_without_its_first_thread);
  RUN(owner_in_a_container);
  RUN(lock_excludes_this_process);
  RUN(lock_excludes_other_processes);
  RUN(lock_goes_with_its_holder_not_with_its_children);
  RUN(lock_is_inert_in_a_child);
  RUN(lock_without_its_file);
  RUN(lock_in_a_storm);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
