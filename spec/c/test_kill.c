/*
** SIGKILL of the requester at every step boundary, on real file systems: what
** it froze is thawed by the guard, its command writer hears the end of file,
** and the next session finds and takes away all it left.
**
** A victim is a process that runs a whole backup and is killed when the n-th
** boundary is reached: a stage of the coordinator, or a moment of the hold.
** SAROS_LONG=1 kills at each; else at a few that a seed picks, and always at
** those where something is frozen.
**
** not under valgrind: its children are forked or killed; ASan runs it
** not under thread: whoever is killed is not judged; the others run there
*/
#include <sys/mman.h>
#include <sys/wait.h>

#include "shoot_case.h"
#include "volumes.h"
#include "vss/hold.h"
#include "vss/shooting.h"

/* What victim and test both see. */
typedef struct seen {
  _Atomic int boundaries; /* so far */
  _Atomic int frozen;     /* FIFREEZE has returned, FITHAW was not called */
  int kill_at;            /* 0: never */
  bool was_frozen;        /* when it was killed */
} seen;
static seen *shared;

static void boundary(void) {
  int n = atomic_fetch_add(&shared->boundaries, 1) + 1;
  if (n != shared->kill_at) return;
  shared->was_frozen = atomic_load(&shared->frozen) > 0;
  kill(getpid(), SIGKILL);
}

static void stage_hook(int stage) {
  (void)stage;
  boundary();
}

static void moment_hook(const char *path, hold_moment moment) {
  (void)path;
  if (moment == MOMENT_FROZEN) atomic_fetch_add(&shared->frozen, 1);
  if (moment == MOMENT_THAW) atomic_fetch_sub(&shared->frozen, 1);
  boundary();
}


/* ------------------------------------------------------------------
** The victim
** ---------------------------------------------------------------- */

static char log_path[300];

/* Holds until the end of its standard input; writes down both. */
static const char script[] =
    "case \"$2\" in freeze)\n"
    "  echo freeze >>\"$1\"; echo frozen; cat >/dev/null;\n"
    "  echo thaw >>\"$1\" ;; esac\n";

static writer *scribe(void) {
  static const char *argv[] = {"/bin/sh", "-c", script, "sh", log_path, NULL};
  value *metadata = value_map(), *list = value_list(), *c = value_map();
  error *e = NULL;
  value_put(c, "name", value_text("main"));
  value_put(c, "type", value_text("database"));
  value_add(list, c);
  value_put(metadata, "name", value_text("scribe"));
  value_put(metadata, "components", list);
  command_options o = {.id = "5c71be00-1111-4111-8111-111111111111",
                       .name = "scribe",
                       .argv = argv,
                       .metadata = metadata};
  writer *w = command_writer(&o, &e);
  if (w == NULL || writer_subscribe(w) != NULL) {
    if (e != NULL) printf("no writer: %s\n", e->message);
    _exit(9);
  }
  value_free(metadata);
  return w;
}

typedef struct arena {
  const char *name, *with; /* the provider */
  const char *path;
} arena;

/* 0, or what a method answered. */
static uint32_t backup(const arena *a) {
  error *e = NULL;
  value *o = shoot_options(NULL, 60);
  session *s = session_open(o, &e);
  value_free(o);
  uint32_t c = call(s, "initialize_for_backup", NULL);
  if (c == 0) c = call(s, "set_backup_state", NULL);
  if (c == 0) c = call(s, "gather_writer_metadata", NULL);
  if (c == 0) c = call(s, "start_snapshot_set", NULL);
  value *args = texts("path", a->path);
  value_put(args, "provider", value_text(a->with));
  if (c == 0)
    c = call(s, "add_to_snapshot_set", args);
  else
    value_free(args);
  if (c == 0) c = call(s, "prepare_for_backup", NULL);
  if (c == 0) c = call(s, "do_snapshot_set", NULL);
  boundary();
  if (c == 0) c = call(s, "backup_complete", NULL);
  boundary();
  finish(s);
  return c;
}

static int in_a_child(const arena *a, int kill_at) {
  *shared = (seen){.kill_at = kill_at};
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    coordinator_hook = stage_hook;
    hold_hook = moment_hook;
    writer *w = scribe();
    uint32_t code = backup(a);
    writer_unsubscribe(w);
    writer_unref(w);
    if (code != 0) printf("%s: 0x%08x\n", a->name, code);
    fflush(stdout);
    _exit(code == 0 && check_bad == 0 ? 0 : 1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}


/* ------------------------------------------------------------------
** What must hold afterwards
** ---------------------------------------------------------------- */

/* A write in a process of its own: it would sleep for ever, and cannot be
   killed, on what stays frozen. */
static bool is_writable(const arena *a) {
  char path[600];
  snprintf(path, sizeof path, "%s/touched", a->path);
  pid_t child = fork();
  if (child == 0) {
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    _exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
  }
  int status = -1;
  for (int i = 0; i < 6000; i++) {
    if (waitpid(child, &status, WNOHANG) == child) return status == 0;
    usleep(10000);
  }
  return false;
}

static int count_of(const char *word) {
  char line[100];
  int n = 0;
  FILE *f = fopen(log_path, "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, word, strlen(word)) == 0) n++;
  if (f != NULL) fclose(f);
  return n;
}

/* The writer is a process of its own: it hears soon, not at once. */
static bool writer_has_heard(void) {
  for (int i = 0; i < 6000; i++) {
    if (count_of("freeze") == count_of("thaw")) return true;
    usleep(10000);
  }
  return false;
}

static int entries(const char *path) {
  int n = 0;
  DIR *d = opendir(path);
  for (struct dirent *x; d != NULL && (x = readdir(d)) != NULL;)
    if (x->d_name[0] != '.') n++;
  if (d != NULL) closedir(d);
  return n;
}

static int mounts_here(void) {
  char line[1500];
  int n = 0;
  FILE *f = fopen("/proc/self/mountinfo", "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (strstr(line, volumes_scratch) != NULL ||
        strstr(line, shoot_dir) != NULL)
      n++;
  if (f != NULL) fclose(f);
  return n;
}

typedef struct before {
  int mounts, loops;
} before;

static before look(void) {
  return (before){mounts_here(), volumes_loops(false)};
}

static bool clean(const arena *a, before b, int at) {
  bool good = true;
  /* The loop device of a lazy detach goes a moment after its last user. */
  for (int i = 0; i < 6000 && volumes_loops(false) != b.loops; i++)
    usleep(10000);
  if (mounts_here() != b.mounts) good = false;
  if (volumes_loops(false) != b.loops) good = false;
  if (shoot_records() != 0) good = false;
  if (entries(shoot_path("state/state/data")) != 0) good = false;
  if (entries(shoot_path("state/run/frozen")) != 0) good = false;
  if (!good)
    printf(
        "%s, killed at %d: %d mounts (%d), %d loops (%d), %zu records, "
        "%d data, %d frozen\n",
        a->name, at, mounts_here(), b.mounts, volumes_loops(false), b.loops,
        shoot_records(), entries(shoot_path("state/state/data")),
        entries(shoot_path("state/run/frozen")));
  return good;
}

static int kills, frozen_kills;

static void kill_once(const arena *a, int at) {
  before b = look();
  int status = in_a_child(a, at);
  if (!WIFSIGNALED(status)) {
    printf("%s: not killed at %d\n", a->name, at);
    CHECK(WIFSIGNALED(status));
    return;
  }
  kills++;
  frozen_kills += shared->was_frozen;
  /* The next one: it clears up first, and works; at once, or when we have seen
     that others work too. */
  bool at_once = kills % 2 == 0;
  if (at_once) CHECK_INT(in_a_child(a, 0), 0);
  CHECK(is_writable(a));
  CHECK(writer_has_heard());
  if (!at_once) CHECK_INT(in_a_child(a, 0), 0);
  if (!clean(a, b, at)) check_bad++;
}

static uint32_t seed = 20261121;
static uint32_t next_random(void) {
  seed = seed * 1664525u + 1013904223u;
  return seed >> 8;
}

static void matrix(const arena *a) {
  before b = look();
  CHECK_INT(in_a_child(a, 0), 0);
  CHECK(clean(a, b, 0));
  CHECK(count_of("freeze") > 0); /* it takes part */
  int all = atomic_load(&shared->boundaries);
  CHECK(all > 15);
  bool every = getenv("SAROS_LONG") != NULL;
  for (int at = 1; at <= all && check_bad == 0; at++) {
    /* The moments of the hold are in the middle of it. */
    bool middle = at > all / 3 && at < all * 2 / 3;
    if (every || (middle && next_random() % 2 == 0) || next_random() % 6 == 0)
      kill_once(a, at);
  }
  printf("%s: %d boundaries, %d kills, %d of them with a frozen file system\n",
         a->name, all, kills, frozen_kills);
  kills = frozen_kills = 0;
}

static void with_volume(volumes_kind kind, const char *name, const char *with) {
  const volume *v = volumes_get(kind);
  if (v == NULL) SKIP(volumes_missing);
  char path[400];
  snprintf(path, sizeof path, "%s/work", v->path);
  if (kind == BTRFS)
    CHECK_INT(volumes_run("btrfs subvolume create %s", path), 0);
  else
    mkdir(path, 0755);
  arena a = {.name = name, .with = with, .path = path};
  volumes_run("cp -r /etc/init.d %s/", path);
  matrix(&a);
}

TEST(ext4_in_an_image_on_xfs) {
  with_volume(EXT4_ON_XFS, "ext4 on XFS", "image");
}

TEST(ext4_in_an_image_on_btrfs) {
  with_volume(EXT4_ON_BTRFS, "ext4 on btrfs", "image");
}

TEST(xfs_in_an_image_on_xfs) {
  const volume *below = volumes_get(XFS);
  static volume v;
  if (below == NULL || !volume_make(&v, "xfs", 350, below->path, NULL))
    SKIP(volumes_missing);
  arena a = {.name = "XFS on XFS", .with = "image", .path = v.path};
  matrix(&a);
  volume_drop(&v);
}

TEST(btrfs) {
  with_volume(BTRFS, "btrfs", "btrfs");
}

TEST(reflinks_on_xfs) {
  with_volume(XFS, "reflinks", "reflink");
}

TEST(copies_of_ext4) {
  with_volume(EXT4, "copies", "copy");
}

static void all(void) {
  if (getuid() != 0) {
    printf("SKIPPED all: freezing and mounting need root\n");
    check_skipped++;
    return;
  }
  shoot_open();
  snprintf(log_path, sizeof log_path, "%s", shoot_path("log"));
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  RUN(ext4_in_an_image_on_xfs);
  RUN(ext4_in_an_image_on_btrfs);
  RUN(xfs_in_an_image_on_xfs);
  RUN(btrfs);
  RUN(reflinks_on_xfs);
  RUN(copies_of_ext4);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
