/*
** Planning a hold: which file systems, in which order, and whether they may
** be frozen at all. Everything that a freeze needs is made here, while nothing
** is frozen yet: descriptors, threads, the guard.
**
** Whether one may be frozen is asked of the register of devices, which knows
** what lies below a device. What must not be held up is put into it for the
** moment: the root directory, our own directories, the swap.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/hold_parts.h"

#define SECONDS 10.0       /* as the original holds writes */
#define SECONDS_MOST 600.0 /* nobody wants that */

/* The guard is for when we hang. As long as we do not, we are to be first. */
#define GUARD_LATER 0.25

#define DEPTH_MOST 16 /* loop devices in files on loop devices … */


/* ------------------------------------------------------------------
** What must not be held up
** ---------------------------------------------------------------- */

#define PROTECTED_MOST 64

typedef struct protected {
  device_hold *holds[PROTECTED_MOST];
  size_t count;
}
protected;

static error *protect_device(protected *p, dev_t device, const char *why,
                             const char *path) {
  if (device == 0 || p->count == PROTECTED_MOST) return NULL;
  device_hold *held = device_hold_dev(device, why, path);
  if (held == NULL) return error_no_memory();
  p->holds[p->count++] = held;
  return NULL;
}

/* The file system, and the device behind it: of btrfs they are not the same. */
static error *protect_path(protected *p, const char *path, const char *why) {
  if (path == NULL) return NULL;
  error *e = NULL;
  origin *o = origin_find(path, &e);
  if (o == NULL) {
    struct stat st; /* a root that has no name here, as in some sandboxes */
    if (e == error_no_memory() || stat(path, &st) != 0) return e;
    error_unref(e);
    return protect_device(p, st.st_dev, why, path);
  }
  e = protect_device(p, o->dev, why, path);
  if (e == NULL && o->disk != o->dev) e = protect_device(p, o->disk, why, path);
  origin_free(o);
  return e;
}

/* \040 and the like, in place. */
static void unescape(char *text) {
  char *to = text;
  for (const char *at = text; *at != '\0'; to++) {
    unsigned n;
    if (at[0] == '\\' && sscanf(at + 1, "%3o", &n) == 1 && n > 0 && n < 256) {
      *to = (char)n;
      at += 4;
    } else {
      *to = *at++;
    }
  }
  *to = '\0';
}

/* A swap file, or what a device that is swapped to lies on. */
static error *protect_swap(protected *p) {
  FILE *f = fopen("/proc/swaps", "re");
  if (f == NULL) return NULL; /* a kernel without swap */
  char line[4400];
  error *e = NULL;
  while (e == NULL && fgets(line, sizeof line, f) != NULL) {
    struct stat st;
    line[strcspn(line, " \t\n")] = '\0';
    unescape(line);
    if (line[0] != '/' || stat(line, &st) != 0) continue;
    dev_t device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    e = protect_device(p, device, "the swap of this machine", line);
  }
  fclose(f);
  return e;
}

/* What is said is the last one that fits. */
static error *protect_all(protected *p, const hold_options *o) {
  error *e = protect_swap(p);
  if (e == NULL) e = protect_path(p, o->runtime, "saros");
  if (e == NULL) e = protect_path(p, o->state, "saros");
  if (e == NULL) e = protect_path(p, "/", "the running system");
  return e;
}

static error *refuse(const stop *s, char *why) {
  error *e = vss_error(
      SAROS_E_REFUSED,
      "%s must not be frozen: %s, and would wait for ever for what waits for "
      "it; take another provider for it (\"copy\", say), move the one away "
      "from the other, or insist on it with force",
      s->path, why != NULL ? why : "saros itself needs it");
  mem_free(why);
  return error_at(e, s->path);
}

static error *check_all(const hold *h, const hold_options *o,
                        shadow *const *shadows) {
  if (o->force) return NULL;
 protected
  p = {.count = 0};
  error *e = protect_all(&p, o);
  for (size_t i = 0; i < h->shadow_count && e == NULL; i++) {
    if (h->stop_of[i] == h->count) continue;
    const origin *from = shadows[i]->from;
    char *why = NULL;
    if (device_is_held(from->dev, &why) ||
        (from->disk != 0 && device_is_held(from->disk, &why)))
      e = refuse(&h->stops[h->stop_of[i]], why);
  }
  while (p.count > 0) device_release(p.holds[--p.count]);
  return e;
}


/* ------------------------------------------------------------------
** What this set itself writes to
** ---------------------------------------------------------------- */

/* Its own directory, or the nearest one above that is there by now. */
static origin *find_place(const shadow *m, error **e) {
  error *why = NULL;
  char *at = mem_text(m->place);
  origin *o = at != NULL ? origin_find(at, &why) : NULL;
  while (at != NULL && o == NULL && why->code == VSS_E_OBJECT_NOT_FOUND &&
         strcmp(at, "/") != 0) {
    char *above = path_parent(at);
    mem_free(at);
    at = above;
    error_unref(why);
    why = NULL;
    if (at != NULL) o = origin_find(at, &why);
  }
  if (at == NULL) why = error_no_memory();
  mem_free(at);
  if (o == NULL) *e = why;
  return o;
}

/* Whether what is written to `device` reaches the file system. */
static error *reaches(dev_t device, const origin *from, bool *does) {
  if (device == 0) return NULL;
  device_hold *held = device_hold_dev(device, "saros", from->path);
  if (held == NULL) return error_no_memory();
  *does = *does || device_hold_has(held, from->dev) ||
          (from->disk != 0 && device_hold_has(held, from->disk));
  device_release(held);
  return NULL;
}

static error *refuse_nested(const stop *s, const shadow *m) {
  return error_at(
      vss_error(SAROS_E_REFUSED,
                "%s cannot be frozen while the shadow copy of %s is made, for "
                "that is made in %s, which lies on it and would wait for its "
                "thaw; make two sets of them, or take another provider for one "
                "of them (\"copy\", say)",
                s->path, m->given, m->place),
      s->path);
}

/* Whether what is made at `o` would wait for one that is frozen. */
static error *check_level(const hold *h, const shadow *m, const origin *o) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < h->shadow_count; i++) {
    if (h->stop_of[i] == h->count) continue;
    const origin *from = h->shadows[i]->from;
    bool does = false;
    e = reaches(o->dev, from, &does);
    if (e == NULL && o->disk != o->dev) e = reaches(o->disk, from, &does);
    if (e == NULL && does) e = refuse_nested(&h->stops[h->stop_of[i]], m);
  }
  return e;
}

/* No insisting helps here: the one would wait for the other until time is up.
   Below a file system there may be the file of its loop device, and below that
   a btrfs, of which only its own path leads on. */
static error *check_place(const hold *h, const shadow *m) {
  error *e = NULL;
  if (m->place == NULL) return NULL;
  origin *o = find_place(m, &e);
  for (int depth = 0; o != NULL && e == NULL && depth < DEPTH_MOST; depth++) {
    error *unseen = NULL;
    e = check_level(h, m, o);
    origin *below = NULL;
    if (e == NULL && o->loop_file != NULL)
      below = origin_find(o->loop_file, &unseen);
    error_unref(unseen); /* not ours to see: then it is none of the set's */
    origin_free(o);
    o = below;
  }
  origin_free(o);
  return e;
}

static error *check_places(const hold *h) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < h->shadow_count; i++)
    e = check_place(h, h->shadows[i]);
  return e;
}


/* ------------------------------------------------------------------
** Which, and in which order
** ---------------------------------------------------------------- */

static stop *find_stop(const hold *h, dev_t key) {
  for (size_t i = 0; i < h->count; i++)
    if (h->stops[i].key == key) return &h->stops[i];
  return NULL;
}

static error *add_stop(hold *h, const origin *from, dev_t key) {
  stop *s = &h->stops[h->count++];
  s->fd = -1;
  s->key = key;
  s->depth = origin_depth(from);
  s->path = mem_text(from->root);
  s->type = mem_text(from->type);
  return s->path != NULL && s->type != NULL ? NULL : error_no_memory();
}

/* One file system may have several st_dev (subvolumes), but one disk. */
static dev_t key_of(const origin *from) {
  return from->disk != 0 ? from->disk : from->dev;
}

static bool is_ours(const shadow *s) {
  return s->provider->freeze == FREEZE_CALLER;
}

static error *collect(hold *h, shadow *const *shadows) {
  error *e = NULL;
  for (size_t i = 0; i < h->shadow_count && e == NULL; i++) {
    h->shadows[i] = shadows[i];
    const origin *from = shadows[i]->from;
    if (is_ours(shadows[i]) && find_stop(h, key_of(from)) == NULL)
      e = add_stop(h, from, key_of(from));
  }
  return e;
}

/* Deepest first; what is as deep stays in its order. */
static void sort(hold *h) {
  for (size_t i = 1; i < h->count; i++) {
    stop s = h->stops[i];
    size_t at = i;
    for (; at > 0 && h->stops[at - 1].depth < s.depth; at--)
      h->stops[at] = h->stops[at - 1];
    h->stops[at] = s;
  }
}

static void settle_places(hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    h->stops[i].h = h;
    h->stops[i].item = h->count - 1 - i; /* the guard thaws in reverse */
  }
  for (size_t i = 0; i < h->shadow_count; i++) {
    h->stop_of[i] = h->count;
    if (!is_ours(h->shadows[i])) continue;
    stop *s = find_stop(h, key_of(h->shadows[i]->from));
    h->stop_of[i] = (size_t)(s - h->stops);
  }
}


/* ------------------------------------------------------------------
** What a freeze needs
** ---------------------------------------------------------------- */

static error *open_one(hold *h, size_t shadow_index) {
  stop *s = &h->stops[h->stop_of[shadow_index]];
  if (s->fd >= 0) return NULL;
  const origin *from = h->shadows[shadow_index]->from;
  struct stat st;
  const int how = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC;
  s->fd = fd_own(open(s->path, how));
  if (s->fd < 0 || fstat(s->fd, &st) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "cannot open what is to be frozen", s->path);
  /* Of btrfs the root may be another subvolume than the path. */
  if (st.st_dev == from->dev || strcmp(s->type, "btrfs") == 0) return NULL;
  return error_at(vss_error(SAROS_E_CHANGED,
                            "at %s another file system is mounted than there "
                            "was a moment ago; try again",
                            s->path),
                  s->path);
}

static error *open_all(hold *h) {
  error *e = NULL;
  for (size_t i = 0; i < h->shadow_count && e == NULL; i++)
    if (h->stop_of[i] < h->count) e = open_one(h, i);
  return e;
}

static error *await_others(const hold *h, const char *runtime) {
  dev_t devices[VOLUMES_MOST];
  struct stat st;
  size_t count = 0;
  for (size_t i = 0; i < h->count; i++)
    if (fstat(h->stops[i].fd, &st) == 0) devices[count++] = st.st_dev;
  return guard_await_others(runtime, devices, count);
}

/* One for each: it freezes, waits, and thaws. Those that commit meanwhile are
   their own business. */
static error *make_threads(hold *h) {
  int r = pool_ready(POOL_HELD, (unsigned)h->count);
  if (r == 0) h->threads = (unsigned)h->count;
  if (r == 0) return NULL;
  return error_of_errno(SAROS_FACADE_VSS, r,
                        "cannot make the threads that a freeze needs", NULL);
}

static error *arm(hold *h, const char *runtime) {
  guard_item items[VOLUMES_MOST];
  double ms = (h->seconds + GUARD_LATER) * 1000.0;
  memset(items, 0, sizeof items);
  for (size_t i = 0; i < h->count; i++) {
    const stop *s = &h->stops[i];
    items[s->item] = (guard_item){.action = GUARD_THAW,
                                  .fd = s->fd,
                                  .ms = (uint32_t)(ms + 0.5),
                                  .path = s->path};
  }
  error *e = NULL;
  h->guard = guard_arm(items, h->count, runtime, &e);
  return e;
}

static error *plan(hold *h, shadow *const *shadows, const hold_options *o) {
  error *e = collect(h, shadows);
  if (e != NULL) return e;
  sort(h);
  settle_places(h);
  if (h->count == 0) return NULL;
  if (h->count > VOLUMES_MOST)
    return vss_error(VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED,
                     "%zu file systems are more than can be frozen at once "
                     "(%d); make several sets",
                     h->count, VOLUMES_MOST);
  e = check_all(h, o, shadows);
  if (e == NULL) e = check_places(h);
  if (e == NULL) e = open_all(h);
  if (e == NULL) e = await_others(h, o->runtime);
  if (e == NULL) e = make_threads(h);
  if (e == NULL) e = arm(h, o->runtime);
  return e;
}

static hold *make(size_t shadows, double seconds) {
  hold *h = mem_zero(sizeof *h);
  if (h == NULL) return NULL;
  if (!(seconds > 0)) seconds = SECONDS;
  if (seconds > SECONDS_MOST) seconds = SECONDS_MOST;
  h->seconds = seconds;
  h->limit = (uint64_t)(seconds * 1e9);
  h->generation = fork_generation;
  h->grace = -1;
  h->shadow_count = shadows;
  pthread_mutex_init(&h->lock, NULL);
  pthread_cond_init(&h->go, NULL);
  h->stops = mem_zero((shadows + 1) * sizeof *h->stops);
  h->shadows = mem_zero((shadows + 1) * sizeof *h->shadows);
  h->stop_of = mem_zero((shadows + 1) * sizeof *h->stop_of);
  if (h->stops != NULL && h->shadows != NULL && h->stop_of != NULL) return h;
  hold_free(h);
  return NULL;
}

hold *hold_plan(shadow *const *shadows, size_t count,
                const hold_options *options, error **e) {
  hold *h = make(count, options->seconds);
  *e = h == NULL ? error_no_memory() : plan(h, shadows, options);
  if (*e == NULL) return h;
  if (h != NULL) hold_free(h);
  return NULL;
}

size_t hold_count(const hold *h) {
  return h->count;
}
