/*
** Disks that fail, in a guest: a device of the device mapper over a file. A
** part of it can be exchanged at any time, also while somebody is at work on
** it, for one that gives errors ("error", or "error_writes" alone), or one that
** takes what is written and forgets it ("drop_writes").
*/
#ifndef SAROS_SPEC_VDS_DM_CASE_H
#define SAROS_SPEC_VDS_DM_CASE_H

#include "vds/probe.h"
#include "vds_guest_case.h"
#include "vds_whole_case.h"

#define MIB ((uint64_t)1 << 20)

typedef struct shaky {
  char name[32];  /* for dmsetup */
  char node[32];  /* /dev/dm-0 */
  char below[32]; /* a loop device over the file */
  const char *image;
  int fd; /* keeps that */
  uint64_t size;
} shaky;

static inline void shaky_line(FILE *f, const shaky *s, const char *target,
                              uint64_t from, uint64_t to) {
  unsigned long long at = from / 512, n = (to - from) / 512;
  if (n == 0) return;
  if (target == NULL)
    fprintf(f, "%llu %llu linear %s %llu\n", at, n, s->below, at);
  else if (strcmp(target, "error") == 0)
    fprintf(f, "%llu %llu error\n", at, n);
  else
    fprintf(f, "%llu %llu flakey %s %llu 0 1 1 %s\n", at, n, s->below, at,
            target);
}

static inline const char *shaky_table(const shaky *s, const char *target,
                                      uint64_t from, uint64_t size) {
  const char *path = place("dm.table");
  FILE *f = fopen(path, "we");
  CHECK(f != NULL);
  if (f == NULL) return path;
  shaky_line(f, s, NULL, 0, from);
  shaky_line(f, s, target, from, from + size);
  shaky_line(f, s, NULL, from + size, s->size);
  fclose(f);
  return path;
}

/* From now on `size` bytes from `from` on are of this kind; whoever has it
   mounted or open notices nothing else. */
static inline void shaky_turn(const shaky *s, const char *target, uint64_t from,
                              uint64_t size) {
  const char *table = shaky_table(s, target, from, size);
  CHECK_INT(volumes_run("dmsetup load %s '%s' && "
                        "dmsetup resume --nolockfs --noflush %s",
                        s->name, table, s->name),
            0);
}

/* What the page cache has of it is forgotten: what is read is on it. */
static inline void forget_pages(const char *node) {
  int fd = open(node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && ioctl(fd, BLKFLSBUF, 0) == 0);
  if (fd >= 0) close(fd);
}

static inline void shaky_heal(const shaky *s) {
  shaky_turn(s, NULL, 0, 0);
  forget_pages(s->node);
}

static inline bool shaky_make(shaky *s, unsigned megabytes) {
  static unsigned number;
  struct stat st;
  char path[80];
  *s = (shaky){.image = make_image(megabytes), .size = megabytes * MIB};
  snprintf(s->name, sizeof s->name, "shaky%u", ++number);
  s->fd = volumes_attach(s->image, 0, 0, s->below);
  CHECK(s->fd >= 0);
  CHECK_INT(volumes_run("dmsetup create %s '%s'", s->name,
                        shaky_table(s, NULL, 0, 0)),
            0);
  snprintf(path, sizeof path, "/dev/mapper/%s", s->name);
  bool good = stat(path, &st) == 0;
  CHECK(good);
  snprintf(s->node, sizeof s->node, "/dev/dm-%u", minor(st.st_rdev));
  return good;
}

static inline void shaky_end(shaky *s) {
  CHECK_INT(volumes_run("dmsetup remove --retry %s", s->name), 0);
  if (s->fd >= 0) close(s->fd);
  unlink(s->image);
  *s = (shaky){.fd = -1};
}


/* ------------------------------------------------------------------
** Calls
** ---------------------------------------------------------------- */

/* About the device as it is now. */
__attribute__((format(printf, 3, 4))) static inline saros_op *begin_at(
    const char *node, const char *call, const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args), *object = value_map();
  va_end(args);
  vds_identity who = identity_at(node);
  vds_identity_put(object, &who);
  value_put(options, "object", object);
  return begin_with(call, options);
}
#define ask_at(...) end_of(begin_at(__VA_ARGS__))

typedef struct turn {
  const char *step, *target; /* behind this step it is of this kind */
  uint64_t from, size;
} turn;

static inline answer ask_turned(const shaky *s, const turn *t, const char *node,
                                const char *call, const char *options) {
  if (t->step == NULL) {
    shaky_turn(s, t->target, t->from, t->size);
    return ask_at(node, call, "%s", options);
  }
  hold_at(t->step);
  saros_op *op = begin_at(node, call, "%s", options);
  await_held();
  shaky_turn(s, t->target, t->from, t->size);
  let_on();
  return end_of(op);
}

/* One line of each scenario. */
static inline void tell(const answer *a, const char *call, const char *options,
                        const turn *t) {
  printf("  %s %s, %s at %llu%s%s: 0x%X %.200s\n", call, options, t->target,
         (unsigned long long)t->from, t->step != NULL ? " behind " : "",
         t->step != NULL ? t->step : "", a->code, a->message);
}

static const __attribute__((unused)) struct {
  const char *fs, *check;
  unsigned megabytes;
} fs_kinds[] = {{"ext4", "e2fsck -fn", 32},
                {"xfs", "xfs_repair -n", 300},
                {"btrfs", "btrfs check", 128},
                {"vfat", "fsck.vfat -n", 32},
                {"swap", ":", 16}};

/* Its first and its last MiB, where all that it is known by is. */
static inline void keep_edges(const shaky *s) {
  CHECK_INT(volumes_run("head -c 1M %s >'%s'; tail -c 1M %s >'%s'", s->node,
                        place("head"), s->node, place("tail")),
            0);
}

static inline bool has_edges(const shaky *s) {
  return volumes_run(
             "head -c 1M %s | cmp -s - '%s' && "
             "tail -c 1M %s | cmp -s - '%s'",
             s->node, place("head"), s->node, place("tail")) == 0;
}

/* Read by the kernel itself, now. */
static inline int partitions_of(const char *node) {
  int n = 0;
  char path[80];
  int fd = open(node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && ioctl(fd, BLKFLSBUF, 0) == 0 && ioctl(fd, BLKRRPART) == 0);
  if (fd >= 0) close(fd);
  for (int i = 1; i < 5; i++) {
    snprintf(path, sizeof path, "/sys/class/block/%sp%d", node + 5, i);
    if (access(path, F_OK) == 0) n++;
  }
  return n;
}

/* The file system that a listing shows there, "?" when it cannot be told; one
   that has failed has a mark. */
static inline const char *fs_at(const char *node) {
  static char text[80];
  answer a = ask("volume", "{'path':'%s'}", node);
  bool failed = strcmp(text_of(a.output, "health"), "failed") == 0;
  snprintf(text, sizeof text, "%s%s",
           a.code == 0 ? text_of(a.output, "fs") : "?",
           failed ? " failed" : "");
  forget(&a);
  return text;
}

/* What was left behind is taken care of, and nobody has to be told of it any
   more. */
static inline void reap_all(void) {
  answer a = ask("reap", "{}");
  if (a.code != 0) printf("reap said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  forget(&a);
}

#endif
