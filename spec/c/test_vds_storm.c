/*
** Every call, cancelled and killed at steps that a seed says, on a disk of its
** own; then what dead owners left is reaped, and what has to hold holds:
**
**   - every device over a file of ours has a record, and after reap no dead
**     owner has one;
**   - a table is the old one or the new one;
**   - a volume is what it was, what it was to be, or raw; never two at once,
**     and never half;
**   - a file system that was to get another size is whole, with what was in it.
**
** Which steps there are is learned from one run that is let alone. With
** SAROS_LONG many steps of each call are tried, else a few.
*/
#include "vds_whole_case.h"

#include <sys/syscall.h>

#include "vds/blkpg.h"

typedef enum stage {
  ON_NOTHING, /* the path of a file that is not there */
  ON_FILE,    /* a file */
  ON_KEPT,    /* attached to stay, by a process that has ended */
  ON_EMPTY,   /* a disk with a table, and nothing in it */
  ON_DISK,    /* a disk with a partition, and ext4 on that */
  ON_VOLUME,  /* the partition of such a disk */
  ON_MOUNTED  /* the same, mounted */
} stage;

typedef struct scene {
  const char *path, *at;
  vds_identity disk, part;
  char node[80];
  char table[400], fs[400]; /* in words, before */
} scene;

typedef struct play {
  const char *call, *options; /* %s: the mount point */
  stage on;
  unsigned keeps; /* the file system is whole whatever happens */
} play;

static const play plays[] = {
    {"create_vdisk", "'size':134217728,'full':true", ON_NOTHING, 0},
    {"attach", "'persistent':true", ON_FILE, 0},
    {"attach", "'read_only':true", ON_FILE, 0},
    {"detach", "'force':['mounted']", ON_KEPT, 0},
    {"expand", "'size':125829120", ON_FILE, 0},
    {"compact", "'x':0", ON_FILE, 0},
    {"initialize", "'style':'mbr'", ON_EMPTY, 0},
    {"create_partition", "'size':8388608", ON_DISK, 1},
    {"delete_partition", "'x':0", ON_VOLUME, 0},
    {"clean", "'x':0", ON_DISK, 0},
    {"clean", "'full':true", ON_DISK, 0},
    {"format", "'fs':'ext4','label':'new'", ON_VOLUME, 0},
    {"format", "'fs':'vfat','label':'NEW','quick':false", ON_VOLUME, 0},
    {"format", "'fs':'swap'", ON_VOLUME, 0},
    {"mount", "'path':'%s'", ON_VOLUME, 1},
    {"unmount", "'x':0", ON_MOUNTED, 1},
    {"extend", "'size':16777216", ON_VOLUME, 1},
    {"shrink", "'size':8388608", ON_VOLUME, 1},
    {"check", "'repair':true", ON_VOLUME, 1},
    {"label", "'label':'other'", ON_VOLUME, 1},
};

enum { PLAYS = sizeof plays / sizeof *plays };

/* What a run that was let alone made of it. */
static struct {
  int steps;
  char table[400], fs[400];
} known[PLAYS];

static unsigned seed;


/* ------------------------------------------------------------------
** The stage
** ---------------------------------------------------------------- */

/* The table that is on the disk in words: every partition's number, start and
   size. (Which of them the kernel has is another matter: a clean takes them
   from it first.) */
static void table_of(const scene *s, char text[400]) {
  static vds_slot slots[VDS_PARTITIONS_MOST];
  size_t count = 0;
  char path[80];
  error *e = vds_about_node(s->disk.dev, path);
  int fd = e == NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (e == NULL) e = vds_blkpg_table(fd, slots, &count);
  CHECK(fd >= 0 && e == NULL);
  int n = snprintf(text, 400, "%zu", count);
  for (size_t i = 0; i < count && n < 300; i++)
    n += snprintf(text + n, 400 - (size_t)n, " %u:%llu:%llu", slots[i].number,
                  (unsigned long long)slots[i].start,
                  (unsigned long long)slots[i].size);
  error_unref(e);
  if (fd >= 0) close(fd);
}

static void volume_of(const scene *s, char text[400]) {
  snprintf(text, 400, "no volume");
  if (access(s->node, F_OK) != 0) return;
  vds_identity now = identity_at(s->node);
  answer a = end_of(begin_with("volume", options_on(&now, "{}")));
  snprintf(text, 400, "%s %s %s", text_of(a.output, "fs"),
           text_of(a.output, "label"), text_of(a.output, "health"));
  if (a.code != 0) snprintf(text, 400, "%.399s", a.message);
  forget(&a);
}

static void make_file_system(scene *s) {
  snprintf(s->node, sizeof s->node, "/dev/loop%up1", minor(s->disk.dev));
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 -L old -d '%s/kept' '%s' "
                        ">/dev/null 2>&1",
                        volumes_scratch, s->node),
            0);
  s->part = identity_at(s->node);
}

static void attach_elsewhere(const char *path) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    answer a = ask("attach", "{'path':'%s','persistent':true}", path);
    _exit(a.code != 0);
  }
  CHECK_INT(status_of(child), 0);
}

/* sfdisk has all disks of the machine synced: once is enough. */
static void make_tables(void) {
  CHECK_INT(volumes_run("for how in empty: one:,32M; do"
                        "  truncate -s 100M '%s'/${how%%:*}.img &&"
                        "  printf 'label: gpt\\n%%s\\n' ${how#*:} |"
                        "    sfdisk -q --no-tell-kernel '%s'/${how%%:*}.img"
                        "      >/dev/null 2>&1 || exit 1; done",
                        volumes_scratch, volumes_scratch),
            0);
}

static void copy_table(const char *from, const char *path) {
  CHECK_INT(volumes_run("cp --sparse=always '%s' '%s'", place(from), path), 0);
}

static void set_up(scene *s, stage on) {
  *s = (scene){.path = place("stage.img"), .at = place("at")};
  CHECK_INT(access(s->path, F_OK), -1);
  if (on == ON_NOTHING) return;
  s->path = make_image(100);
  if (on == ON_FILE) return;
  if (on == ON_KEPT) {
    attach_elsewhere(s->path);
    return;
  }
  copy_table(on == ON_EMPTY ? "empty.img" : "one.img", s->path);
  s->disk = attach_image(s->path);
  if (on != ON_EMPTY) make_file_system(s);
  if (on == ON_MOUNTED) CHECK_INT(mount(s->node, s->at, "ext4", 0, NULL), 0);
  table_of(s, s->table);
  volume_of(s, s->fs);
}

static value *options_of(const scene *s, const play *p) {
  char text[600];
  int n = snprintf(text, sizeof text, "{");
  if (p->on <= ON_KEPT)
    n += snprintf(text + n, sizeof text - (size_t)n, "'path':'%s',", s->path);
  const char *mark = strstr(p->options, "%s");
  if (mark != NULL)
    snprintf(text + n, sizeof text - (size_t)n, "%.*s%s%s}",
             (int)(mark - p->options), p->options, s->at, mark + 2);
  else
    snprintf(text + n, sizeof text - (size_t)n, "%s}", p->options);
  return options_on(p->on >= ON_VOLUME ? &s->part : &s->disk, "%s", text);
}


/* ------------------------------------------------------------------
** What has to hold
** ---------------------------------------------------------------- */

static bool has_told; /* of the play whose check failed */

static void tell(const play *p, const char *how, int step) {
  if (!has_told)
    printf("  in: %s {%s}, %s at step %d\n", p->call, p->options, how, step);
  has_told = true;
}

/* Programs that were begun for it may outlive who began them: until they have
   ended it is busy. */
static void reap_all(void) {
  bool busy = true;
  for (int i = 0; busy && i < VDS_CASE_BOUND / 10; i++) {
    answer a = ask("reap", "{}");
    if (a.code != 0) printf("reap: %s\n", a.message);
    CHECK_INT(a.code, 0);
    const value *list = value_get(a.output, "busy");
    busy = a.code == 0 && list != NULL && list->count > 0;
    forget(&a);
    if (busy) nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  CHECK(!busy);
}

/* No dead owner has a record, but of what was to stay. */
static void check_records(void) {
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    const value *r = list->as.items[i];
    bool stays = value_boolean(value_get(r, "persistent"), false) &&
                 strcmp(text_of(r, "state"), "attached") == 0;
    if (vds_owner_is_alive(r) || stays) continue;
    check_bad++;
    printf("a record of a dead owner is left: %s\n", text_of(r, "kind"));
  }
  CHECK(list != NULL);
  value_free(list);
  mem_free(at);
  error_unref(e);
}

static void check_file(const scene *s, bool done) {
  struct stat st;
  if (stat(s->path, &st) == 0) CHECK_INT(st.st_size, 134217728);
  if (done) CHECK_INT(access(s->path, F_OK), 0);
}

static bool is_one_of(const char *text, const char *a, const char *b,
                      const char *c) {
  if (strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0)
    return true;
  printf("'%s' is neither '%s' nor '%s' nor '%s'\n", text, a, b, c);
  return false;
}

static void check_whole(const scene *s) {
  if (umount2(s->at, 0) != 0) CHECK(errno == EINVAL);
  CHECK_INT(volumes_run("e2fsck -fn '%s' >'%s/said' 2>&1 || cat '%s/said'",
                        s->node, volumes_scratch, volumes_scratch),
            0);
  CHECK_INT(volumes_run("debugfs -R 'cat /note' '%s' 2>/dev/null | "
                        "cmp -s - '%s/kept/note'",
                        s->node, volumes_scratch),
            0);
}

static void check_disk(const scene *s, const play *p, bool done) {
  size_t which = (size_t)(p - plays);
  char table[400], fs[400];
  table_of(s, table);
  volume_of(s, fs);
  CHECK(is_one_of(table, done ? known[which].table : s->table,
                  known[which].table, known[which].table));
  CHECK(is_one_of(fs, done ? known[which].fs : s->fs, known[which].fs,
                  done || p->keeps ? known[which].fs : "raw  healthy"));
  if (p->keeps) check_whole(s);
}

static void take_down(scene *s, const play *p) {
  umount2(s->at, MNT_DETACH);
  if (p->on != ON_NOTHING && volumes_loops(false) > 0) detach_image(s->path);
  CHECK(loops_become(0));
  CHECK_INT(records_left(), 0);
  unlink(s->path);
}


/* ------------------------------------------------------------------
** Let alone, cancelled, killed
** ---------------------------------------------------------------- */

static atomic_int steps_passed, stops_in;

static void count_hook(const char *step) {
  (void)step;
  atomic_fetch_add(&steps_passed, 1);
}

static void learn(size_t which) {
  const play *p = &plays[which];
  scene s;
  set_up(&s, p->on);
  atomic_store(&steps_passed, 0);
  atomic_store(&vds_hook, count_hook);
  answer a = end_of(begin_with(p->call, options_of(&s, p)));
  atomic_store(&vds_hook, NULL);
  if ((a.code & 0x80000000u) != 0) {
    printf("%s: %s\n", p->call, a.message);
    check_bad++;
    tell(p, "let alone", 0);
  }
  forget(&a);
  known[which].steps = atomic_load(&steps_passed);
  if (known[which].steps == 0) printf("%s has no steps\n", p->call);
  if (s.disk.dev != 0) {
    table_of(&s, known[which].table);
    volume_of(&s, known[which].fs);
    if (p->keeps) check_whole(&s);
  }
  reap_all();
  take_down(&s, p);
}

static void stop_hook(const char *step) {
  (void)step;
  if (atomic_load(&stops_in) == 0 || atomic_fetch_sub(&stops_in, 1) != 1)
    return;
  sem_post(&held_there);
  sem_wait(&held_on);
}

static void cancel(const play *p, int step) {
  scene s;
  set_up(&s, p->on);
  sem_init(&held_there, 0, 0);
  sem_init(&held_on, 0, 0);
  atomic_store(&stops_in, step);
  atomic_store(&vds_hook, stop_hook);
  saros_op *op = begin_with(p->call, options_of(&s, p));
  /* It may have fewer steps this time. */
  while (sem_trywait(&held_there) != 0 && saros_op_wait(op, 1) == 0) continue;
  uint32_t how = saros_vds_cancel(op);
  sem_post(&held_on);
  answer a = end_of(op);
  atomic_store(&vds_hook, NULL);
  bool cancelled = a.code == VDS_E_OPERATION_CANCELED;
  if (how == 0) CHECK(cancelled);
  if (!cancelled && (a.code & 0x80000000u) != 0) {
    check_bad++;
    printf("%s\n", a.message);
  }
  forget(&a);
  reap_all();
  check_records();
  if (p->on == ON_NOTHING) check_file(&s, !cancelled);
  if (s.disk.dev != 0) check_disk(&s, p, !cancelled);
  if (check_bad > 0) tell(p, "cancelled", step);
  take_down(&s, p);
}

static void in_child(void) {
  vds_forked();
  vds_attach_forked();
}

static void kill_it(const play *p, int step) {
  scene s;
  set_up(&s, p->on);
  pid_t child = fork_at_rest();
  if (child == 0) {
    in_child();
    atomic_store(&vds_dies_at, step);
    answer a = end_of(begin_with(p->call, options_of(&s, p)));
    _exit((a.code & 0x80000000u) != 0);
  }
  int status = 1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  bool done = WIFEXITED(status);
  if (done) CHECK_INT(WEXITSTATUS(status), 0);
  CHECK((size_t)volumes_loops(false) <= records_left());
  reap_all();
  check_records();
  if (p->on == ON_NOTHING) check_file(&s, done);
  if (s.disk.dev != 0) check_disk(&s, p, done);
  if (check_bad > 0) tell(p, "killed", step);
  take_down(&s, p);
}

static int rounds(void) {
  if (getenv("SAROS_LONG") != NULL) return 60;
  return 1;
}

/* valgrind knows no fsopen, nor does a kernel before 5.2. */
static bool has_mounts(void) {
  long fd = syscall(SYS_fsopen, "tmpfs", 0);
  if (fd >= 0) close((int)fd);
  return fd >= 0 || errno != ENOSYS;
}

static bool can_play(const play *p) {
  if (!is_here(p->call)) return false;
  if (strcmp(p->call, "mount") == 0 && !has_mounts()) return false;
  return strstr(p->options, "vfat") == NULL || volumes_have("mkfs.vfat");
}

static void storm(void (*act)(const play *p, int step)) {
  for (size_t i = 0; i < PLAYS; i++) {
    has_told = false;
    if (!can_play(&plays[i]) || known[i].steps == 0) continue;
    for (int n = 0; n < rounds(); n++)
      act(&plays[i],
          1 + (int)((unsigned)rand_r(&seed) % (unsigned)known[i].steps));
  }
}

static const char *why_not(void) {
  if (vds_missing() != NULL) return vds_missing();
  if (!volumes_have("sfdisk")) return "no sfdisk: apt-get install fdisk";
  if (!volumes_have("mke2fs") || !volumes_have("debugfs"))
    return "no mke2fs: apt-get install e2fsprogs";
  return NULL;
}

TEST(let_alone_each_ends_well) {
  if (why_not() != NULL) SKIP(why_not());
  mkdir(place("kept"), 0700);
  mkdir(place("at"), 0700);
  FILE *f = fopen(place("kept/note"), "we");
  for (int i = 0; f != NULL && i < 100000; i++) fprintf(f, "%d\n", i);
  CHECK(f != NULL && fclose(f) == 0);
  make_tables();
  for (size_t i = 0; i < PLAYS; i++) {
    has_told = false;
    if (can_play(&plays[i])) learn(i);
  }
}

TEST(cancelled_at_any_step) {
  if (why_not() != NULL) SKIP(why_not());
  storm(cancel);
}

TEST(killed_at_any_step) {
  if (why_not() != NULL) SKIP(why_not());
  storm(kill_it);
}

static void all(void) {
  const char *given = getenv("SAROS_SEED");
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  seed = given != NULL                  ? (unsigned)strtoul(given, NULL, 0)
         : getenv("SAROS_LONG") != NULL ? (unsigned)now.tv_nsec
                                        : 20261122;
  printf("SAROS_SEED=%u\n", seed);
  RUN(let_alone_each_ends_well);
  RUN(cancelled_at_any_step);
  RUN(killed_at_any_step);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
