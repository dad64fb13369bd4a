/*
** What is found on a device, by whom it is wiped, and that what was read once
** is as good as what is read again.
*/
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#include "vds/probe.h"

__attribute__((weak)) const saros_api *saros_api_table;

enum { SIZE = 8 << 20, PLACES = 3 };

static const off_t places[PLACES] = {1080, 4086, 510};

static int file_of(const char *bytes, size_t size) {
  int fd = memfd_create("disk", MFD_CLOEXEC);
  CHECK(fd >= 0);
  CHECK_INT(pwrite(fd, bytes, size, 0), size);
  CHECK_INT(ftruncate(fd, SIZE), 0);
  return fd;
}

/* An ext2, a swap and a table of one partition: each is hidden by another. */
static int many(void) {
  static char b[8192];
  memcpy(b + 1024, (char[]){16, 0, 0, 0, 64}, 5); /* inodes, blocks */
  memcpy(b + 1080, (char[]){0x53, (char)0xEF}, 2);
  memcpy(b + 1024, (char[]){1, 0, 0, 0, 63}, 5); /* version, last page */
  memcpy(b + 4086, "SWAPSPACE2", 10);
  memcpy(b + 446, (char[]){0, 0, 0, 0, (char)0x83, 0, 0, 0, 8, 0, 0, 0, 64},
         13);
  memcpy(b + 510, (char[]){0x55, (char)0xAA}, 2);
  return file_of(b, sizeof b);
}

static bool is_zero_at(int fd, off_t at) {
  char two[2] = {1, 1};
  CHECK_INT(pread(fd, two, 2, at), 2);
  return two[0] == 0 && two[1] == 0;
}

static bool is_raw(int fd) {
  vds_probe p;
  CHECK(vds_probe_fd(fd, &p) == NULL);
  return p.fs[0] == '\0' && p.table[0] == '\0' && !p.ambivalent;
}

TEST(what_was_seen_is_wiped_as_what_is_read) {
  unsigned read = 0, seen = 0;
  vds_sight *kept;
  vds_probe p;
  int one = many(), two = many();
  CHECK(!is_raw(one));
  CHECK(vds_probe_zap(one, 0, 0, &read) == NULL);
  CHECK(vds_probe_keep(two, &p, &kept) == NULL);
  CHECK(vds_sight_zap(kept, two, 0, UINT64_MAX, &seen) == NULL);
  vds_sight_free(kept);
  CHECK_INT(read, PLACES);
  CHECK_INT(seen, PLACES);
  for (int i = 0; i < PLACES; i++) {
    CHECK(is_zero_at(one, places[i]));
    CHECK(is_zero_at(two, places[i]));
  }
  CHECK(is_raw(one));
  CHECK(is_raw(two));
  CHECK(vds_probe_wiped(two, 0, 0) == NULL);
  close(one);
  close(two);
}

TEST(what_its_caller_writes_over_is_his) {
  unsigned seen = 0;
  vds_sight *kept;
  vds_probe p;
  int fd = many();
  CHECK(vds_probe_keep(fd, &p, &kept) == NULL);
  CHECK(vds_sight_zap(kept, fd, 512, 4086, &seen) == NULL);
  vds_sight_free(kept);
  CHECK_INT(seen, PLACES);
  for (int i = 0; i < PLACES; i++) CHECK(is_zero_at(fd, places[i]) == (i == 0));
  close(fd);
}

TEST(what_is_raw_is_left_alone) {
  unsigned seen = 7;
  vds_sight *kept;
  vds_probe p;
  int fd = file_of("nothing", 7);
  CHECK(vds_probe_keep(fd, &p, &kept) == NULL);
  CHECK_TEXT(p.fs, "");
  CHECK(vds_sight_zap(kept, fd, 0, UINT64_MAX, &seen) == NULL);
  CHECK_INT(seen, 0);
  vds_sight_free(kept);
  vds_sight_free(NULL);
  close(fd);
}

TEST(what_cannot_be_read_is_not_kept) {
  vds_sight *kept;
  vds_probe p;
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  error *e = vds_probe_keep(fd, &p, &kept);
  CHECK(e != NULL);
  CHECK(kept == NULL);
  error_unref(e);
  close(fd);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(what_was_seen_is_wiped_as_what_is_read);
  RUN(what_its_caller_writes_over_is_his);
  RUN(what_is_raw_is_left_alone);
  RUN(what_cannot_be_read_is_not_kept);
  return check_end();
}
