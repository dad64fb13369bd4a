/*
** Who is meant to be held still. All of it is read from /proc and cgroupfs,
** bounded, and only true for a moment: still_stop.c stops what was found and
** asks again.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/still_parts.h"

#define KTHREAD 0x00200000u /* PF_KTHREAD, include/linux/sched.h */
#define COMMAND_MOST 65536
#define DEPTH_MOST 32
#define GUARD_COMM "saros-guard"

typedef struct one {
  pid_t pid, parent, session;
  bool chosen;
} one;

typedef struct crowd {
  one *list;
  size_t count, room;
  bool failed; /* no memory */
} crowd;


/* ------------------------------------------------------------------
** What /proc says
** ---------------------------------------------------------------- */

static bool read_of(pid_t pid, const char *name, size_t most, buffer *b) {
  char path[96];
  snprintf(path, sizeof path, "/proc/%ld/%.60s", (long)pid, name);
  int fd = fd_own(open(path, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return false;
  ssize_t n = 1;
  while (n > 0 && b->size < most) {
    char *to = buffer_room(b, 4096);
    n = to != NULL ? read(fd, to, 4096) : -1;
    if (n > 0) b->size += (size_t)n;
  }
  fd_close(&fd);
  buffer_byte(b, '\0');
  return n >= 0 && !b->failed;
}

bool still_look_at(pid_t pid, still_look *l) {
  buffer b = BUFFER_EMPTY;
  long parent = 0, session = 0;
  unsigned flags = 0;
  bool good = read_of(pid, "stat", 4096, &b);
  const char *name = good ? strchr(b.data, '(') : NULL;
  const char *end = good ? strrchr(b.data, ')') : NULL;
  char state = 0;
  good = name != NULL && end > name &&
         sscanf(end + 1, " %c %ld %*d %ld %*d %*d %u", &state, &parent,
                &session, &flags) == 4 &&
         state != 'Z' && state != 'X';
  if (good) {
    size_t size = (size_t)(end - name - 1);
    if (size > sizeof l->name - 1) size = sizeof l->name - 1;
    memcpy(l->name, name + 1, size);
    l->name[size] = '\0';
    l->pid = pid;
    l->parent = (pid_t)parent;
    l->session = (pid_t)session;
    l->kernel = (flags & KTHREAD) != 0;
  }
  buffer_free(&b);
  return good;
}

/* Calls f with the name of each thread of it, and of a file there, until one
   answers no. */
static bool each_thread(pid_t pid, const char *file,
                        bool (*f)(const buffer *b, const char *thread, void *),
                        void *self) {
  char path[96];
  snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
  DIR *d = opendir(path);
  bool good = true;
  for (struct dirent *t; good && d != NULL && (t = readdir(d)) != NULL;) {
    if (t->d_name[0] == '.') continue;
    buffer b = BUFFER_EMPTY;
    snprintf(path, sizeof path, "task/%.20s/%s", t->d_name, file);
    if (read_of(pid, path, 16384, &b)) good = f(&b, t->d_name, self);
    buffer_free(&b);
  }
  if (d != NULL) closedir(d);
  return good;
}

static bool add_switches(const buffer *b, const char *thread, void *self) {
  uint64_t *sum = self;
  unsigned long long waited = 0, pushed = 0;
  const char *at = strstr(b->data, "\nvoluntary_ctxt_switches:");
  if (at != NULL)
    sscanf(at,
           "\nvoluntary_ctxt_switches: %llu nonvoluntary_ctxt_switches: %llu",
           &waited, &pushed);
  *sum += ((uint64_t)strtoul(thread, NULL, 10) << 32) + waited + pushed;
  return true;
}

uint64_t still_mark(pid_t pid) {
  uint64_t sum = 0;
  each_thread(pid, "status", add_switches, &sum);
  return sum;
}

/* Where it sleeps in the kernel; 0 while it is to run. */
static bool sleeps(const buffer *b, const char *thread, void *unused) {
  (void)thread;
  (void)unused;
  return strcmp(b->data, "0") != 0;
}

bool still_rests(pid_t pid) {
  return each_thread(pid, "wchan", sleeps, NULL);
}

/* Its words with spaces between them, as people know it. */
static bool matches(const still_choice *c, pid_t pid) {
  buffer b = BUFFER_EMPTY;
  bool good = read_of(pid, "cmdline", COMMAND_MOST, &b) && b.size > 1;
  for (size_t i = 0; good && i + 2 < b.size; i++)
    if (b.data[i] == '\0') b.data[i] = ' ';
  good = good && regexec(&c->command, b.data, 0, NULL, 0) == 0;
  buffer_free(&b);
  return good;
}


/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

static one *find(const crowd *all, pid_t pid) {
  size_t low = 0, high = all->count;
  while (low < high) {
    size_t at = (low + high) / 2;
    if (all->list[at].pid == pid) return &all->list[at];
    if (all->list[at].pid < pid)
      low = at + 1;
    else
      high = at;
  }
  return NULL;
}

static void add(crowd *all, one o) {
  if (all->count == all->room) {
    size_t room = all->room == 0 ? 256 : all->room * 2;
    one *list = mem_grow(all->list, room * sizeof *list);
    all->failed |= list == NULL;
    if (list == NULL) return;
    all->list = list;
    all->room = room;
  }
  all->list[all->count++] = o;
}

static int by_pid(const void *a, const void *b) {
  pid_t x = ((const one *)a)->pid, y = ((const one *)b)->pid;
  return (x > y) - (x < y);
}

static error *scan(crowd *all) {
  DIR *d = opendir("/proc");
  if (d == NULL)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "cannot see which processes there are", "/proc");
  for (struct dirent *t; (t = readdir(d)) != NULL;) {
    still_look l;
    long pid = strtol(t->d_name, NULL, 10);
    if (pid > 0 && still_look_at((pid_t)pid, &l))
      add(all, (one){l.pid, l.parent, l.session, false});
  }
  closedir(d);
  if (all->count > 1) qsort(all->list, all->count, sizeof(one), by_pid);
  return all->failed ? error_no_memory() : NULL;
}

static bool is_chosen(const crowd *all, pid_t pid) {
  const one *o = pid > 0 ? find(all, pid) : NULL;
  return o != NULL && o->chosen;
}

/* Whoever has a parent that is meant, is; and whoever is in the session that
   one has begun: nobody gets there but by a fork, whoever is his parent now. */
static void choose_children(crowd *all) {
  bool more = true;
  while (more) {
    more = false;
    for (size_t i = 0; i < all->count; i++) {
      if (all->list[i].chosen) continue;
      const one *o = &all->list[i];
      if (!is_chosen(all, o->parent) && !is_chosen(all, o->session)) continue;
      all->list[i].chosen = more = true;
    }
  }
}

static error *choose_pids(const still_choice *c, crowd *all) {
  for (uint32_t i = 0; i < c->pids->count; i++) {
    int64_t n = value_integer(c->pids->as.items[i], 0);
    one *o = n > 0 && n <= INT32_MAX ? find(all, (pid_t)n) : NULL;
    if (o == NULL) continue; /* who has ended writes nothing */
    if (c->by_command && !matches(c, o->pid))
      return vss_error(
          SAROS_E_REFUSED,
          "process %lld is not stopped, because its command line "
          "is another one than was said: is its number an old one?",
          (long long)n);
    o->chosen = true;
  }
  return NULL;
}


/* ------------------------------------------------------------------
** A cgroup
** ---------------------------------------------------------------- */

static error *cgroup_failed(int number, const char *path) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "cannot see who is in the cgroup", path);
}

static error *read_cgroup(const still_choice *c, const char *path, crowd *all) {
  error *e = NULL;
  char *name = path_join(path, "cgroup.procs"), *line = NULL;
  FILE *f = name != NULL ? fopen(name, "re") : NULL;
  size_t room = 0;
  if (f == NULL) e = cgroup_failed(name != NULL ? errno : ENOMEM, path);
  while (e == NULL && getline(&line, &room, f) > 0) {
    long pid = strtol(line, NULL, 10);
    if (pid <= 0)
      e = error_at(vss_error(SAROS_E_REFUSED,
                             "a process in it is not seen from this container: "
                             "run this outside"),
                   path);
    else if (!c->by_command || matches(c, (pid_t)pid))
      add(all, (one){(pid_t)pid, 0, 0, true});
  }
  if (e == NULL && ferror(f)) e = cgroup_failed(EIO, path);
  if (f != NULL) fclose(f);
  free(line);
  mem_free(name);
  return e;
}

static error *walk_cgroup(const still_choice *c, const char *path, crowd *all,
                          unsigned depth) {
  error *e = read_cgroup(c, path, all);
  DIR *d = e == NULL && depth < DEPTH_MOST ? opendir(path) : NULL;
  for (struct dirent *t; e == NULL && d != NULL && (t = readdir(d)) != NULL;) {
    if (t->d_name[0] == '.' || t->d_type != DT_DIR) continue;
    char *below = path_join(path, t->d_name);
    e = below != NULL ? walk_cgroup(c, below, all, depth + 1)
                      : error_no_memory();
    if (e != NULL && e->number == ENOENT) { /* it was just taken away */
      error_unref(e);
      e = NULL;
    }
    mem_free(below);
  }
  if (d != NULL) closedir(d);
  return e != NULL ? e : all->failed ? error_no_memory() : NULL;
}


/* ------------------------------------------------------------------
** Both
** ---------------------------------------------------------------- */

static error *choose(const still_choice *c, crowd *all) {
  if (c->cgroup != NULL) {
    error *e = walk_cgroup(c, c->cgroup, all, 0);
    if (all->count > 1) qsort(all->list, all->count, sizeof(one), by_pid);
    return e;
  }
  error *e = scan(all);
  if (e == NULL && c->pids != NULL) {
    e = choose_pids(c, all);
  } else if (e == NULL) {
    for (size_t i = 0; i < all->count; i++)
      all->list[i].chosen = matches(c, all->list[i].pid);
  }
  if (e == NULL) choose_children(all);
  return e;
}

error *still_find(const still_choice *c, pid_t **list, size_t *count) {
  crowd all = {NULL, 0, 0, false};
  error *e = choose(c, &all);
  *list = NULL;
  *count = 0;
  if (e == NULL) *list = mem_alloc((all.count + 1) * sizeof **list);
  if (e == NULL && *list == NULL) e = error_no_memory();
  for (size_t i = 0; *list != NULL && i < all.count; i++) {
    bool again = i > 0 && all.list[i - 1].pid == all.list[i].pid;
    if (all.list[i].chosen && !again) (*list)[(*count)++] = all.list[i].pid;
  }
  mem_free(all.list);
  return e;
}


/* ------------------------------------------------------------------
** Who must not be stopped
** ---------------------------------------------------------------- */

static bool is_ancestor(pid_t pid) {
  still_look l = {.parent = getppid()};
  for (int i = 0; i < 4096 && l.parent > 0; i++) {
    if (l.parent == pid) return true;
    if (!still_look_at(l.parent, &l)) return false;
  }
  return false;
}

error *still_refuse(const still_look *l) {
  const char *why = NULL;
  if (l->pid == getpid())
    why = "it is this one, which would have to continue it";
  else if (l->pid == 1)
    why = "it is init";
  else if (l->kernel)
    why = "it is a thread of the kernel";
  else if (strcmp(l->name, GUARD_COMM) == 0)
    why = "it is a guard, which lets go what others hold";
  else if (is_ancestor(l->pid))
    why = "this one was started by it, and would hang with it";
  if (why == NULL) return NULL;
  return vss_error(SAROS_E_REFUSED,
                   "process %ld (%s) is not stopped, because %s; say more "
                   "exactly who is meant",
                   (long)l->pid, l->name, why);
}
