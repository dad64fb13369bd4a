/*
** The end of a download on file systems that lack something, and on disks that
** lose something: no name without all its bytes, and none of somebody else's.
*/
#include "bits_finish_case.h"

/* ------------------------------------------------------------------
** A file system
** ---------------------------------------------------------------- */

typedef int rename_call(int, const char *, int, const char *, unsigned);
typedef int link_call(int, const char *, int, const char *, int);
typedef int unlink_call(int, const char *, int);
typedef int sync_call(int);

rename_call __wrap_renameat2, __real_renameat2;
link_call __wrap_linkat, __real_linkat;
unlink_call __wrap_unlinkat, __real_unlinkat;
sync_call __wrap_fdatasync, __real_fdatasync;
sync_call __wrap_syncfs, __real_syncfs;
sync_call __wrap_fsync, __real_fsync;
typedef int range_call(int, off_t, off_t, unsigned);
range_call __wrap_sync_file_range, __real_sync_file_range;

/* With which errno a call fails; 0: it does not. */
static struct {
  int renames, links, unlinks, data, system, directory;
  int written; /* what was written behind our back */
  ino_t whose; /* data, written: only of this file; 0: of all */
} bad;

static int failing(int number) {
  errno = number;
  return -1;
}

int __wrap_renameat2(int from, const char *old, int to, const char *name,
                     unsigned flags) {
  if (bad.renames != 0) return failing(bad.renames);
  return __real_renameat2(from, old, to, name, flags);
}

int __wrap_linkat(int from, const char *old, int to, const char *name,
                  int flags) {
  if (bad.links != 0) return failing(bad.links);
  return __real_linkat(from, old, to, name, flags);
}

int __wrap_unlinkat(int directory, const char *name, int flags) {
  if (bad.unlinks != 0) return failing(bad.unlinks);
  return __real_unlinkat(directory, name, flags);
}

int __wrap_fdatasync(int fd) {
  struct stat about;
  if (bad.data != 0 && fstat(fd, &about) == 0 &&
      (bad.whose == 0 || bad.whose == about.st_ino))
    return failing(bad.data);
  return __real_fdatasync(fd);
}

int __wrap_sync_file_range(int fd, off_t at, off_t size, unsigned flags) {
  struct stat about;
  if (bad.written != 0 && fstat(fd, &about) == 0 &&
      (bad.whose == 0 || bad.whose == about.st_ino))
    return failing(bad.written);
  return __real_sync_file_range(fd, at, size, flags);
}

int __wrap_syncfs(int fd) {
  return bad.system != 0 ? failing(bad.system) : __real_syncfs(fd);
}

int __wrap_fsync(int fd) {
  return bad.directory != 0 ? failing(bad.directory) : __real_fsync(fd);
}

static void all_is_well(void) {
  memset(&bad, 0, sizeof bad);
}

/* ------------------------------------------------------------------
** Names
** ---------------------------------------------------------------- */

/* Where nothing is renamed without taking a name. */
TEST(by_a_second_name) {
  static const int numbers[] = {EINVAL, ENOSYS};
  for (size_t i = 0; i < 2; i++) {
    make();
    bad.renames = numbers[i];
    CHECK_INT(name(), BITS_END_WHOLE);
    CHECK(file_has(b.path, "abc", 3));
    CHECK_INT(place_names(&b.p), 1);
    bed_end(&b);
    make();
    file_put(b.path, "mine", 4);
    CHECK_INT(name(), BITS_END_FAILED);
    is_local(WIN32_ALREADY_EXISTS);
    CHECK(file_has(b.path, "mine", 4) && file_has(b.part, "abc", 3));
    all_is_well();
    bed_end(&b);
  }
}

/* Somebody died between the two steps, or the second failed. */
TEST(it_has_both_names) {
  static const int numbers[] = {0, EINVAL};
  for (size_t i = 0; i < 2; i++) {
    make();
    CHECK_INT(link(b.part, b.path), 0);
    bad.renames = numbers[i];
    CHECK_INT(name(), BITS_END_WHOLE);
    CHECK(file_has(b.path, "abc", 3));
    CHECK_INT(place_names(&b.p), 1);
    all_is_well();
    bed_end(&b);
  }
  make();
  bad.renames = EINVAL;
  bad.unlinks = EIO;
  CHECK_INT(name(), BITS_END_FAILED);
  CHECK_INT(r.context, BITS_CONTEXT_LOCAL);
  all_is_well();
  CHECK_INT(name(), BITS_END_WHOLE);
  CHECK_INT(place_names(&b.p), 1);
  bed_end(&b);
}

TEST(neither_is_possible) {
  static const int numbers[] = {EPERM, EOPNOTSUPP, EIO};
  for (size_t i = 0; i < 3; i++) {
    make();
    bad.renames = EINVAL;
    bad.links = numbers[i];
    CHECK_INT(name(), BITS_END_FAILED);
    CHECK_INT(r.context, BITS_CONTEXT_LOCAL);
    CHECK_INT(strstr(r.why, "overwrite") != NULL, i < 2);
    CHECK(strstr(r.why, b.path) != NULL);
    CHECK(file_has(b.part, "abc", 3) && b.f->known != NULL);
    b.terms->overwrite = true;
    CHECK_INT(name(), BITS_END_WHOLE);
    all_is_well();
    bed_end(&b);
  }
}

/* ------------------------------------------------------------------
** Bytes
** ---------------------------------------------------------------- */

/* Nobody is told twice that a disk has lost something: it is fetched again. */
static void is_lost(bits_file *f, const bits_result *result) {
  CHECK_INT(result->end, BITS_END_FAILED);
  CHECK_INT(result->context, BITS_CONTEXT_LOCAL);
  CHECK(f->known == NULL && f->stale && atomic_load(&f->have) == 0);
  CHECK(access(f->path, F_OK) != 0);
}

TEST(the_disk_loses_one) {
  make();
  b.terms->durability = BITS_DURABLE_GROUP;
  bad.data = EIO;
  CHECK_INT(name(), BITS_END_FAILED);
  is_lost(b.f, &r);
  all_is_well();
  bed_end(&b);
}

/* It was told somebody else, and of another file. */
TEST(the_disk_has_lost_it_before) {
  make();
  b.f->known->durable = 3; /* as a sync of all said */
  b.terms->durability = BITS_DURABLE_GROUP;
  bad.written = EINVAL; /* some have no such thing */
  CHECK_INT(name(), BITS_END_WHOLE);
  bed_end(&b);
  make();
  b.f->known->durable = 3;
  b.terms->durability = BITS_DURABLE_GROUP;
  bad.written = EIO;
  CHECK_INT(name(), BITS_END_FAILED);
  is_lost(b.f, &r);
  all_is_well();
  bed_end(&b);
}

static void lose(bits_durability durability, int system) {
  enum { COUNT = 20 };
  bits_file *files[COUNT];
  bits_result results[COUNT];
  struct stat about;
  make();
  b.terms->durability = durability;
  for (uint32_t i = 0; i < COUNT; i++) {
    char file_name[32];
    snprintf(file_name, sizeof file_name, "f%u", i);
    files[i] = put(file_name, i + 1, "abc");
  }
  files[3]->known->durable = 3; /* it is there already */
  char *part = bits_part_name(files[7]);
  CHECK_INT(stat(part, &about), 0);
  mem_free(part);
  bad.data = bad.written = EIO;
  bad.whose = about.st_ino;
  bad.system = system;
  bits_finish_name(files, b.terms, COUNT, results);
  for (uint32_t i = 0; i < COUNT; i++) {
    bool is_bad = system != 0 ? i != 3 : i == 7;
    if (is_bad)
      is_lost(files[i], &results[i]);
    else
      CHECK_INT(results[i].end, BITS_END_WHOLE);
    CHECK_INT(file_has(files[i]->path, "abc", 3), !is_bad);
    file_end(files[i]);
  }
  all_is_well();
  bed_end(&b);
}

TEST(the_disk_loses_some_of_many) {
  lose(BITS_DURABLE_FILE, 0);
  lose(BITS_DURABLE_GROUP, 0);
  lose(BITS_DURABLE_GROUP, EIO);
}

TEST(a_name_that_does_not_come_to_the_disk) {
  make();
  b.terms->durability = BITS_DURABLE_GROUP;
  bad.directory = EIO;
  CHECK_INT(name(), BITS_END_FAILED);
  CHECK_INT(r.context, BITS_CONTEXT_LOCAL);
  bad.directory = EINVAL; /* some have no such thing */
  CHECK_INT(name(), BITS_END_WHOLE);
  CHECK(file_has(b.path, "abc", 3));
  all_is_well();
  bed_end(&b);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  long blocks = least_blocks();
  GATE_RUN(by_a_second_name);
  GATE_RUN(it_has_both_names);
  GATE_RUN(neither_is_possible);
  GATE_RUN(the_disk_loses_one);
  GATE_RUN(the_disk_has_lost_it_before);
  GATE_RUN(the_disk_loses_some_of_many);
  GATE_RUN(a_name_that_does_not_come_to_the_disk);
  http_settle();
  CHECK(has_no_more_blocks(blocks));
  return check_end();
}
