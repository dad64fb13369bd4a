/*
** What shadow copies are compared with: the same system calls and nothing
** else, and the commands of others. Prints milliseconds.
**
**   shadow_floor volumes COMMAND…        runs it beside real file systems,
**       which are named in its environment (SAROS_BENCH_BTRFS, _XFS, _IMAGES),
**       and takes them away however it ends
**   shadow_floor snapshot FROM INTO      one bare ioctl
**   shadow_floor synced FROM INTO        after a syncfs, as ours is
**   shadow_floor recorded FROM INTO DIR  after a file was brought to the disk
**       in DIR, as whoever keeps a record of what he is about to make must
**   shadow_floor deleted FROM INTO       synced, and deleted and synced again
**   shadow_floor command FROM INTO       btrfs subvolume snapshot -r
**   shadow_floor hold CLONE FS IMAGE…    FIFREEZE, FICLONE, FITHAW; of several
**       (FS IMAGE FS IMAGE …) each on a thread of its own
**   shadow_floor clone FROM TO THREADS   the files of the directories in FROM,
**       each opened, made, cloned and given its times: wall and CPU time
**   shadow_floor run COMMAND…            its wall time, and its CPU time
*/
#include <dirent.h>
#include <linux/btrfs.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "../c/volumes.h"

#define SNAPSHOT "floor"
#define IMAGES 16
#define IMAGE_MEGABYTES 64

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int bad(const char *what) {
  fprintf(stderr, "shadow_floor: %s: %s\n", what, strerror(errno));
  return 1;
}


/* ------------------------------------------------------------------
** The same system calls
** ---------------------------------------------------------------- */

static int delete_snapshot(int into) {
  struct btrfs_ioctl_vol_args_v2 args = {0};
  snprintf(args.name, sizeof args.name, SNAPSHOT);
  return ioctl(into, BTRFS_IOC_SNAP_DESTROY_V2, &args) < 0 ? -1 : 0;
}

/* Written beside its place, synced, renamed, and the directory synced. */
static int record(const char *dir) {
  char text[1000], temporary[4200], file[4200];
  snprintf(temporary, sizeof temporary, "%s/floor.tmp", dir);
  snprintf(file, sizeof file, "%s/floor.json", dir);
  memset(text, 'x', sizeof text);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool good = fd >= 0 && d >= 0 &&
              write(fd, text, sizeof text) == (ssize_t)sizeof text &&
              fsync(fd) == 0 && rename(temporary, file) == 0 && fsync(d) == 0;
  if (fd >= 0) close(fd);
  if (d >= 0) close(d);
  return good ? 0 : -1;
}

static int snapshot(const char *how, const char *from, const char *into,
                    const char *records) {
  int dir = open(into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int source = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct btrfs_ioctl_vol_args_v2 args = {.fd = source,
                                         .flags = BTRFS_SUBVOL_RDONLY};
  snprintf(args.name, sizeof args.name, SNAPSHOT);
  if (dir < 0 || source < 0) return bad(from);
  bool deleted = strcmp(how, "deleted") == 0;
  double begun = now();
  if (records != NULL && record(records) != 0) return bad(records);
  if (strcmp(how, "snapshot") != 0 && syncfs(source) != 0) return bad(from);
  if (ioctl(dir, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0) return bad("snapshot");
  if (deleted && (delete_snapshot(dir) != 0 || syncfs(dir) != 0))
    return bad("delete");
  double end = now();
  if (!deleted && delete_snapshot(dir) != 0) return bad("delete");
  syncfs(dir);
  if (records != NULL) {
    char file[4200];
    snprintf(file, sizeof file, "%s/floor.json", records);
    unlink(file);
  }
  printf("%.4f\n", end - begun);
  return 0;
}

/* One that is held. All are frozen before the first is cloned, and all are
   cloned before the first is thawed, or it were no set. */
typedef struct held {
  int inner, from, to;
  double begun, thawed;
  const char *failed;
  int why;
} held;

static pthread_barrier_t all_begin, all_frozen, all_cloned;

static void *hold_one(void *one) {
  held *h = one;
  pthread_barrier_wait(&all_begin);
  h->begun = now();
  bool frozen = ioctl(h->inner, FIFREEZE, 0) == 0;
  if (!frozen) h->failed = "FIFREEZE", h->why = errno;
  pthread_barrier_wait(&all_frozen);
  if (frozen && ioctl(h->to, FICLONE, h->from) != 0)
    h->failed = "FICLONE", h->why = errno;
  pthread_barrier_wait(&all_cloned);
  if (frozen && ioctl(h->inner, FITHAW, 0) != 0)
    h->failed = "FITHAW", h->why = errno;
  h->thawed = now();
  return NULL;
}

static bool open_one(held *h, const char *clone, char **names) {
  h->inner = open(names[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  h->from = open(names[1], O_RDONLY | O_CLOEXEC);
  h->to = open(clone, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (h->inner < 0 || h->from < 0 || h->to < 0) return false;
  unlink(clone);
  return syncfs(h->inner) == 0 && fdatasync(h->from) == 0;
}

/* From the first call of a FIFREEZE to the end of the last thaw, as what is
   held of a set is. */
static int hold(const char *clone, char **names, unsigned count) {
  held all[IMAGES] = {{0}};
  pthread_t threads[IMAGES];
  for (unsigned i = 0; i < count; i++)
    if (!open_one(&all[i], clone, names + 2 * (size_t)i))
      return bad(names[2 * i]);
  for (unsigned i = 0; i < count; i++) syncfs(all[i].inner);
  pthread_barrier_init(&all_begin, NULL, count);
  pthread_barrier_init(&all_frozen, NULL, count);
  pthread_barrier_init(&all_cloned, NULL, count);
  /* Nothing is frozen before all of them are there. */
  for (unsigned i = 1; i < count; i++)
    if (pthread_create(&threads[i], NULL, hold_one, &all[i]) != 0)
      return bad("a thread");
  hold_one(&all[0]);
  double begun = all[0].begun, thawed = all[0].thawed;
  for (unsigned i = 0; i < count; i++) {
    if (i > 0) pthread_join(threads[i], NULL);
    errno = all[i].why;
    if (all[i].failed != NULL) return bad(all[i].failed);
    if (all[i].begun < begun) begun = all[i].begun;
    if (all[i].thawed > thawed) thawed = all[i].thawed;
  }
  printf("%.4f\n", thawed - begun);
  return 0;
}


/* ------------------------------------------------------------------
** Many clones
** ---------------------------------------------------------------- */

typedef struct cloning {
  pthread_t thread;
  const char *from, *to;
  unsigned first, step;
  bool failed;
} cloning;

static bool clone_one(int from, int to, const char *name) {
  struct stat st;
  int a = openat(from, name, O_RDONLY | O_NOATIME | O_CLOEXEC);
  if (a < 0 || fstat(a, &st) != 0) return false;
  int b = openat(to, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode);
  struct timespec times[2] = {st.st_atim, st.st_mtim};
  bool good = b >= 0 && ioctl(b, FICLONE, a) == 0 && futimens(b, times) == 0;
  close(a);
  if (b >= 0) close(b);
  return good;
}

static bool clone_directory(int from, int to, const char *name) {
  mkdirat(to, name, 0755);
  int a = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int b = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = a >= 0 ? fdopendir(a) : NULL;
  bool good = list != NULL && b >= 0;
  for (struct dirent *e; good && (e = readdir(list)) != NULL;)
    if (e->d_type == DT_REG) good = clone_one(a, b, e->d_name);
  if (list != NULL) closedir(list);
  if (b >= 0) close(b);
  return good;
}

/* Every step-th directory, so that no two threads meet in one. */
static void *clone_some(void *context) {
  cloning *c = context;
  DIR *list = opendir(c->from);
  int to = open(c->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  unsigned n = 0;
  c->failed = list == NULL || to < 0;
  for (struct dirent *e; !c->failed && (e = readdir(list)) != NULL;)
    if (e->d_type == DT_DIR && e->d_name[0] != '.' && n++ % c->step == c->first)
      c->failed = !clone_directory(dirfd(list), to, e->d_name);
  if (list != NULL) closedir(list);
  if (to >= 0) close(to);
  return NULL;
}

static int clone_tree(const char *from, const char *to, unsigned threads) {
  cloning c[16];
  struct timespec used;
  bool failed = threads == 0 || threads > 16;
  double begun = now();
  failed = failed || mkdir(to, 0700) != 0;
  for (unsigned i = 0; i < threads && !failed; i++) {
    c[i] = (cloning){.from = from, .to = to, .first = i, .step = threads};
    failed = pthread_create(&c[i].thread, NULL, clone_some, &c[i]) != 0;
    if (failed) threads = i;
  }
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(c[i].thread, NULL);
    failed = failed || c[i].failed;
  }
  double wall = now() - begun;
  if (failed) return bad("clone");
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  printf("%.4f %.4f\n", wall,
         (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6);
  return 0;
}


/* ------------------------------------------------------------------
** The commands of others
** ---------------------------------------------------------------- */

static int run(char **argv, double *wall, double *cpu) {
  int status = 1;
  struct rusage used;
  double begun = now();
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execvp(argv[0], argv);
    _exit(127);
  }
  while (wait4(child, &status, 0, &used) < 0 && errno == EINTR) continue;
  *wall = now() - begun;
  *cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int run_and_tell(char **argv) {
  double wall, cpu;
  int r = run(argv, &wall, &cpu);
  if (r == 0) printf("%.4f %.4f\n", wall, cpu);
  return r;
}

static int command(char *from, const char *into) {
  char to[4200], name[] = "btrfs", a[] = "subvolume", b[] = "snapshot",
                 c[] = "-r";
  snprintf(to, sizeof to, "%s/" SNAPSHOT, into);
  char *argv[] = {name, a, b, c, from, to, NULL};
  double wall, cpu;
  int r = run(argv, &wall, &cpu);
  int dir = open(into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (r == 0 && (delete_snapshot(dir) != 0 || syncfs(dir) != 0))
    return bad("delete");
  if (r == 0) printf("%.4f\n", wall);
  return r;
}


/* ------------------------------------------------------------------
** Real file systems
** ---------------------------------------------------------------- */

static volume btrfs, xfs, images[IMAGES];
static volatile sig_atomic_t child;

/* What cannot be had is left out; the cases that need it say so. */
static void make_all(void) {
  char list[IMAGES * 600] = "";
  size_t n = 0;
  if (volume_make(&btrfs, "btrfs", 1500, NULL, NULL))
    setenv("SAROS_BENCH_BTRFS", btrfs.path, 1);
  if (!volume_make(&xfs, "xfs", 3000, NULL, "-m reflink=1")) return;
  setenv("SAROS_BENCH_XFS", xfs.path, 1);
  for (int i = 0; i < IMAGES; i++) {
    volume *v = &images[i];
    if (!volume_make(v, "ext4", IMAGE_MEGABYTES, xfs.path, NULL)) return;
    n += (size_t)snprintf(list + n, sizeof list - n, "%s %s\n", v->path,
                          v->image);
  }
  setenv("SAROS_BENCH_IMAGES", list, 1);
}

static void pass_on(int number) {
  if (child > 0) kill((pid_t)child, number);
}

static int volumes(char **argv) {
  const char *tmp = getenv("TMPDIR");
  snprintf(volumes_scratch, sizeof volumes_scratch, "%.150s/saros-bench-XXXXXX",
           tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(volumes_scratch) == NULL) return bad(volumes_scratch);
  setenv("SAROS_BENCH_DIR", volumes_scratch, 1);
  if (unshare(CLONE_NEWNS) == 0 &&
      mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0)
    make_all();
  else
    volumes_missing = "needs root, for mounting";
  setenv("SAROS_BENCH_MISSING", volumes_missing, 1);
  signal(SIGTERM, pass_on); /* we must live to clean up */
  signal(SIGINT, pass_on);
  signal(SIGHUP, pass_on);
  pid_t pid = fork();
  child = (sig_atomic_t)pid;
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[0], argv);
    _exit(127);
  }
  int status = 1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  child = 0;
  volumes_unmount_all();
  volumes_loops(true);
  volumes_wipe(volumes_scratch);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "";
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (strcmp(how, "volumes") == 0 && argc > 2) return volumes(argv + 2);
  if (strcmp(how, "run") == 0 && argc > 2) return run_and_tell(argv + 2);
  if (strcmp(how, "hold") == 0 && argc > 4 && argc % 2 == 1 &&
      argc <= 3 + 2 * IMAGES)
    return hold(argv[2], argv + 3, (unsigned)(argc - 3) / 2);
  if (strcmp(how, "command") == 0 && argc == 4)
    return command(argv[2], argv[3]);
  if (strcmp(how, "clone") == 0 && argc == 5)
    return clone_tree(argv[2], argv[3], (unsigned)atoi(argv[4]));
  if (strcmp(how, "recorded") == 0 && argc == 5)
    return snapshot(how, argv[2], argv[3], argv[4]);
  if (argc == 4) return snapshot(how, argv[2], argv[3], NULL);
  fprintf(stderr, "shadow_floor: see its first lines\n");
  return 2;
}
