/*
** What the suites about volumes share: an image with a file system, attached,
** with files in it whose sums are known; and what is asked of such a volume.
*/
#ifndef SAROS_SPEC_VDS_VOLUME_CASE_H
#define SAROS_SPEC_VDS_VOLUME_CASE_H

#include <string.h>

#include "vds/probe.h"
#include "vds_case.h"

#define MB ((int64_t)1 << 20)

typedef struct disk_case {
  const char *image;
  char node[80], at[300];
  vds_identity who;
  unsigned files, megabytes;
} disk_case;

static inline bool attach_again(disk_case *d) {
  answer a = ask("attach", "{'path':'%s'}", d->image);
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  bool good = a.code == 0 && vds_identity_get(a.output, &d->who);
  snprintf(d->node, sizeof d->node, "%s", text_of(a.output, "path"));
  forget(&a);
  return good;
}

/* `mkfs`: a command, behind which the image's name comes. */
static inline bool disk_make(disk_case *d, unsigned megabytes,
                             const char *mkfs) {
  static unsigned number;
  char name[40];
  *d = (disk_case){.image = make_image(megabytes)};
  snprintf(name, sizeof name, "at%u", ++number);
  snprintf(d->at, sizeof d->at, "%s", place(name));
  mkdir(d->at, 0700);
  if (volumes_run("%s '%s' >/dev/null 2>&1", mkfs, d->image) != 0) return false;
  return attach_again(d);
}

static inline void disk_end(disk_case *d) {
  umount2(d->at, MNT_DETACH);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", d->image), 0);
}

/* Its file is larger by now, and so is the device. */
static inline void disk_expand(disk_case *d, int64_t megabytes) {
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':%lld}", d->image,
                   (long long)(megabytes * MB)),
               0);
}

static inline const char *object_of(const disk_case *d) {
  static char text[400];
  snprintf(text, sizeof text,
           "'object':{'major':%u,'minor':%u,'disk_major':%u,'disk_minor':%u,"
           "'seq':%llu,'size':%llu,'start':%llu,'number':%u}",
           major(d->who.dev), minor(d->who.dev), major(d->who.whole),
           minor(d->who.whole), (unsigned long long)d->who.seq,
           (unsigned long long)d->who.size, (unsigned long long)d->who.start,
           d->who.number);
  return text;
}

/* A partition of so many MiB on a disk of so many, behind which is room. */
static inline bool partition_make(disk_case *d, unsigned disk,
                                  unsigned megabytes, const char *mkfs) {
  if (!disk_make(d, disk, ":")) return false;
  answer a = ask("create_partition", "{%s,'size':%lld}", object_of(d),
                 (long long)(megabytes * MB));
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  const value *made = value_get(a.output, "volume");
  bool good = made != NULL && vds_identity_get(made, &d->who);
  snprintf(d->node, sizeof d->node, "%s", text_of(made, "path"));
  forget(&a);
  return good && volumes_run("%s '%s' >/dev/null 2>&1", mkfs, d->node) == 0;
}

/* As the kernel has it. */
static inline int64_t partition_size(const disk_case *d) {
  uint64_t size = 0;
  int fd = open(d->node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && ioctl(fd, BLKGETSIZE64, &size) == 0);
  if (fd >= 0) close(fd);
  return (int64_t)size;
}

/* A call about it; `more`: ",'size':1048576" */
__attribute__((format(printf, 3, 4))) static inline saros_op *begin_of(
    const disk_case *d, const char *call, const char *more, ...) {
  char text[400];
  va_list args;
  va_start(args, more);
  vsnprintf(text, sizeof text, more, args);
  va_end(args);
  return begin(call, "{%s%s}", object_of(d), text);
}

#define ask_of(...) end_of(begin_of(__VA_ARGS__))

static inline int64_t int_of(const value *map, const char *name) {
  return value_integer(value_get(map, name), -1);
}

static inline bool mount_it(const disk_case *d, const char *type) {
  return mount(d->node, d->at, type, 0, NULL) == 0;
}

/* What a script would have, had it listed the volumes just now. */
static inline void look_again(disk_case *d) {
  answer a = ask("volume", "{'path':'%s'}", d->node);
  CHECK_INT(a.code, 0);
  CHECK(a.code == 0 && vds_identity_get(a.output, &d->who));
  forget(&a);
}

/* Bytes that the file system has for files and itself, as it says. */
static inline int64_t size_by_super(const disk_case *d, const char *type) {
  vds_probe p = {0};
  vds_usage u = {0};
  snprintf(p.fs, sizeof p.fs, "%s", type);
  int fd = open(d->node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && vds_probe_usage(fd, &p, &u));
  if (fd >= 0) close(fd);
  return (int64_t)u.size;
}

/* The content of the n-th file, from any place on. */
static inline void make_bytes(uint64_t *bytes, size_t words, unsigned file,
                              uint64_t at) {
  for (size_t i = 0; i < words; i++) {
    uint64_t x = ((uint64_t)file << 40) + at + i + 1;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    bytes[i] = x ^ x >> 31;
  }
}

/* Writes the n-th file, or compares it. */
static inline bool pass_file(const disk_case *d, unsigned file,
                             uint64_t megabytes, bool compares) {
  static uint64_t ours[1 << 15], theirs[1 << 15];
  char name[400];
  snprintf(name, sizeof name, "%s/f%u", d->at, file);
  int fd = compares ? open(name, O_RDONLY | O_CLOEXEC)
                    : open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool good = fd >= 0;
  for (uint64_t i = 0; good && i < megabytes * 4; i++) {
    make_bytes(ours, 1 << 15, file, i << 15);
    ssize_t n = compares ? read(fd, theirs, sizeof theirs)
                         : write(fd, ours, sizeof ours);
    good = n == (ssize_t)sizeof ours &&
           (!compares || memcmp(ours, theirs, sizeof ours) == 0);
  }
  if (fd >= 0) close(fd);
  return good;
}

static inline int syncfs_of(const char *at) {
  int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int r = fd >= 0 ? syncfs(fd) : -1;
  if (fd >= 0) close(fd);
  return r;
}

/* Files: many, of which every second one goes again, so that what stays lies
   all over it. */
static inline bool fill(disk_case *d, const char *type, unsigned files,
                        unsigned megabytes) {
  char name[400];
  if (!mount_it(d, type)) return false;
  bool good = true;
  d->files = files;
  d->megabytes = megabytes;
  for (unsigned i = 0; good && i < files; i++)
    good = pass_file(d, i, megabytes, false);
  CHECK_INT(syncfs_of(d->at), 0);
  for (unsigned i = 0; good && i < files; i += 2) {
    snprintf(name, sizeof name, "%s/f%u", d->at, i);
    good = unlink(name) == 0;
  }
  CHECK_INT(umount2(d->at, 0), 0);
  return good;
}

/* What was put there is there, byte by byte. */
static inline bool is_the_same(const disk_case *d, const char *type) {
  if (mount(d->node, d->at, type, MS_RDONLY, NULL) != 0) return false;
  bool good = true;
  for (unsigned i = 1; good && i < d->files; i += 2)
    good = pass_file(d, i, d->megabytes, true);
  CHECK_INT(umount2(d->at, 0), 0);
  return good;
}

/* Records of work that is not over; a virtual disk has one while it is
   attached. */
static inline size_t unfinished(void) {
  error *e = NULL;
  size_t count = 0;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(text_of(list->as.items[i], "kind"), "vdisk") != 0) count++;
  value_free(list);
  mem_free(at);
  CHECK(e == NULL);
  error_unref(e);
  return count;
}

/* What a shrink would be rolled back by. */
static inline int undo_files(void) {
  int count = 0;
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  DIR *dir = at != NULL ? opendir(at) : NULL;
  CHECK(dir != NULL);
  mem_free(at);
  error_unref(e);
  for (struct dirent *one; dir != NULL && (one = readdir(dir)) != NULL;)
    if (strstr(one->d_name, ".undo") != NULL) count++;
  if (dir != NULL) closedir(dir);
  return count;
}

/* Holds it at the n-th look at the program that runs after a step, or at the
   step where that has ended. */
static const char *tool_after, *tool_end;
static int tool_looks;

static inline void tool_hook(const char *step) {
  if (tool_after != NULL && strcmp(step, tool_after) == 0) tool_after = NULL;
  if (tool_after != NULL || tool_looks < 0) return;
  bool ended = strcmp(step, tool_end) == 0;
  if (!ended && strcmp(step, "tool: looked") != 0) return;
  if (!ended && tool_looks-- > 0) return;
  tool_looks = -1;
  sem_post(&held_there);
  sem_wait(&held_on);
}

static inline void hold_tool(const char *after, const char *end, int looks) {
  sem_init(&held_there, 0, 0);
  sem_init(&held_on, 0, 0);
  tool_after = after;
  tool_end = end;
  tool_looks = looks;
  atomic_store(&vds_hook, tool_hook);
}

/* All that is on it, byte by byte: kept, and compared with that. */
static inline bool keep_bytes(const disk_case *d, const char *name) {
  return volumes_run("cp --sparse=always '%s' '%s'", d->node, place(name)) == 0;
}

static inline bool has_bytes(const disk_case *d, const char *name) {
  return volumes_run("cmp -s '%s' '%s'", d->node, place(name)) == 0;
}

/* The n-th request for memory behind a step is denied, once. */
static const char *denied_behind;
static long denied_at;

static inline void deny_hook(const char *step) {
  if (denied_behind == NULL || strcmp(step, denied_behind) != 0) return;
  denied_behind = NULL;
  mem_fail_at(denied_at);
}

static inline void deny_behind(const char *step, long n) {
  denied_behind = step;
  denied_at = n;
  atomic_store(&vds_hook, deny_hook);
}

/* A script instead of a program, in this suite's own mount namespace alone,
   until that is unmounted. */
static inline bool replace_tool(const char *tool, const char *script) {
  const char *path = place("tool");
  FILE *f = fopen(path, "we");
  if (f == NULL) return false;
  fprintf(f, "#!/bin/sh\n%s\n", script);
  fclose(f);
  return chmod(path, 0755) == 0 &&
         mount(path, tool, "none", MS_BIND, NULL) == 0;
}

static inline bool is_healthy(const disk_case *d) {
  return volumes_run("e2fsck -fn '%s' >/dev/null 2>&1", d->node) == 0;
}

#endif
