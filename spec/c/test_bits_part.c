/*
** The partial file: its name, what is taken for it and what is not, and the
** room for it.
*/
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "bits_file_case.h"
#include "saros.h"

__attribute__((weak)) const saros_api *saros_api_table;

static place p;
static const char *what;

static char *part_of(const bits_file *f) {
  char *path = bits_part_name(f);
  if (path == NULL) abort();
  return path;
}

TEST(its_name) {
  bits_file *f = file_make(&p, 7, "a name");
  char *path = part_of(f), *right = place_path(&p, ".a name.0badcafe-7.part");
  CHECK_TEXT(path, right);
  free(right);
  mem_free(path);
  file_end(f);
}

/* At most 255 bytes, and no half of a character. */
TEST(a_long_name_is_cut) {
  char name[256];
  for (size_t shift = 0; shift < 2; shift++) {
    memset(name, 'x', sizeof name);
    for (size_t i = shift; i + 2 < 255; i += 2) memcpy(name + i, "\xC3\xA4", 2);
    name[255] = '\0';
    bits_file *f = file_make(&p, UINT32_MAX, name);
    char *path = part_of(f);
    const char *last = strrchr(path, '/') + 1;
    CHECK(strlen(last) <= 255 && strlen(last) > 250);
    CHECK(strstr(last, ".0badcafe-4294967295.part") != NULL);
    CHECK(text_is_utf8(last, strlen(last)));
    bits_part part;
    CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
    bits_part_close(&part);
    CHECK_INT(unlink(path), 0);
    mem_free(path);
    file_end(f);
  }
}

TEST(a_new_one_is_empty_and_ours_alone) {
  bits_file *f = file_make(&p, 0, "new");
  char *path = part_of(f);
  bits_part part;
  struct stat s;
  file_put(path, "something old", 13);
  mode_t mask = umask(0);
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
  umask(mask);
  CHECK_INT(stat(path, &s), 0);
  CHECK_INT(s.st_size, 0);
  CHECK_INT(s.st_mode & 0777, 0600);
  CHECK(s.st_ino == part.inode && s.st_dev == part.device);
  CHECK_INT(bits_part_write(&part, 0, "abc", 3), 0);
  CHECK_INT(bits_part_write(&part, 3, "def", 3), 0);
  CHECK_INT(part.size, 6);
  CHECK_INT(bits_part_sync(&part), 0);
  CHECK_INT(bits_part_close(&part), 0);
  CHECK(file_has(path, "abcdef", 6));
  unlink(path);
  mem_free(path);
  file_end(f);
}

TEST(what_a_link_names_is_not_touched) {
  bits_file *f = file_make(&p, 0, "linked");
  char *path = part_of(f), *other = place_path(&p, "precious");
  bits_part part;
  struct stat s;
  file_put(other, "precious", 8);
  CHECK_INT(symlink(other, path), 0);
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
  CHECK_INT(bits_part_write(&part, 0, "bytes", 5), 0);
  bits_part_close(&part);
  CHECK(lstat(path, &s) == 0 && S_ISREG(s.st_mode));
  CHECK(file_has(other, "precious", 8));
  unlink(path);
  unlink(other);
  free(other);
  mem_free(path);
  file_end(f);
}

TEST(where_it_cannot_be) {
  bits_file *f = file_make(&p, 0, "nowhere/file");
  bits_part part;
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), ENOENT);
  CHECK_TEXT(what, "the partial file cannot be made");
  CHECK_INT(part.fd, -1);
  file_end(f);
  f = file_make(&p, 0, "taken");
  char *path = part_of(f);
  mkdir(path, 0700);
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), EISDIR);
  rmdir(path);
  mem_free(path);
  file_end(f);
}

/* One with six bytes that is known. */
static bits_file *begun(char **path) {
  bits_file *f = file_make(&p, 0, "begun");
  bits_part part;
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
  CHECK_INT(bits_part_write(&part, 0, "abcdef", 6), 0);
  file_know(f, &part, 100);
  bits_part_close(&part);
  *path = part_of(f);
  return f;
}

static void ended(bits_file *f, char *path) {
  unlink(path);
  mem_free(path);
  file_end(f);
}

TEST(it_is_gone_on_with) {
  char *path;
  bits_file *f = begun(&path);
  bits_part part;
  CHECK_INT(bits_part_open(&part, f, BITS_UNKNOWN, &what), 0);
  CHECK(part.fd >= 0);
  CHECK_INT(part.size, 6);
  CHECK_INT(bits_part_same(&part, 0, "abcdef", 6), 0);
  CHECK_INT(bits_part_same(&part, 2, "cdx", 3), EBADMSG);
  CHECK_INT(bits_part_same(&part, 4, "efg", 3), EBADMSG); /* behind its end */
  bits_part_close(&part);
  /* Only four of them count. */
  CHECK_INT(bits_part_open(&part, f, 4, &what), 0);
  CHECK_INT(part.size, 4);
  bits_part_close(&part);
  CHECK(file_has(path, "abcd", 4));
  CHECK_INT(bits_part_open(&part, f, 50, &what), 0);
  CHECK_INT(part.size, 4);
  bits_part_close(&part);
  ended(f, path);
}

static void is_not_taken(const bits_file *f) {
  bits_part part;
  CHECK_INT(bits_part_open(&part, f, BITS_UNKNOWN, &what), 0);
  CHECK_INT(part.fd, -1);
}

TEST(another_is_not_taken_for_it) {
  char *path, *other = place_path(&p, "other");
  bits_file *f = begun(&path);
  CHECK_INT(rename(path, other), 0);
  is_not_taken(f); /* none there */
  file_put(path, "abcdef", 6);
  is_not_taken(f); /* a copy */
  unlink(path);
  CHECK_INT(symlink(other, path), 0);
  is_not_taken(f); /* a link to it */
  unlink(path);
  CHECK_INT(link(other, path), 0);
  is_not_taken(f); /* it, but somebody has it as well */
  unlink(path);
  CHECK_INT(mkfifo(path, 0600), 0);
  is_not_taken(f);
  unlink(path);
  CHECK_INT(mkdir(path, 0700), 0);
  is_not_taken(f);
  rmdir(path);
  CHECK_INT(rename(other, path), 0);
  f->known->device++;
  is_not_taken(f); /* of another disk */
  f->known->boot[0] ^= 1;
  bits_part part;
  CHECK_INT(bits_part_open(&part, f, BITS_UNKNOWN, &what), 0);
  CHECK(part.fd >= 0); /* which may have another number since */
  bits_part_close(&part);
  free(other);
  ended(f, path);
}

TEST(what_can_be_trusted) {
  char *path;
  bits_file *f = begun(&path);
  CHECK_INT(strlen(bits_boot()), 36);
  f->known->durable = 3;
  CHECK(bits_part_trusted(f) == BITS_UNKNOWN);
  f->known->boot[0] ^= 1;
  CHECK_INT(bits_part_trusted(f), 3);
  f->known->boot[0] = '\0';
  CHECK_INT(bits_part_trusted(f), 3);
  bits_known_free(f->known);
  f->known = NULL;
  CHECK_INT(bits_part_trusted(f), 0);
  ended(f, path);
}

TEST(how_long_it_will_be) {
  bits_file *f = file_make(&p, 0, "long");
  bits_range ranges[] = {{10, 5}, {100, 7}, {200, BITS_UNKNOWN}};
  CHECK(bits_file_length(f) == BITS_UNKNOWN);
  f->known = mem_zero(sizeof *f->known);
  f->known->total = 1000;
  CHECK_INT(bits_file_length(f), 1000);
  f->extra = mem_zero(sizeof *f->extra);
  f->extra->ranges = ranges;
  f->extra->range_count = 2;
  CHECK_INT(bits_file_length(f), 12);
  f->extra->range_count = 3;
  CHECK_INT(bits_file_length(f), 812);
  f->known->total = BITS_UNKNOWN;
  CHECK(bits_file_length(f) == BITS_UNKNOWN);
  f->extra->ranges = NULL;
  file_end(f);
}

/* ------------------------------------------------------------------
** Room
** ---------------------------------------------------------------- */

TEST(room_is_kept) {
  bits_file *f = file_make(&p, 0, "room");
  char *path = part_of(f);
  bits_part part;
  struct stat s;
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
  CHECK_INT(bits_part_reserve(&part, 0, 1 << 20), 0);
  CHECK_INT(fstat(part.fd, &s), 0);
  CHECK_INT(s.st_size, 0); /* which says how much is there */
  if (part.reserved != BITS_UNKNOWN) {
    CHECK_INT(part.reserved, 1 << 20);
    CHECK_INT(s.st_blocks, (1 << 20) / 512);
  }
  bits_part_close(&part);
  ended(f, path);
}

TEST(what_can_never_be_there_is_not_begun) {
  bits_file *f = file_make(&p, 0, "huge");
  char *path = part_of(f);
  bits_part part;
  struct stat s;
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
  CHECK_INT(bits_part_reserve(&part, 0, (uint64_t)8 << 60), ENOSPC);
  CHECK_INT(bits_part_reserve(&part, 0, (uint64_t)1 << 60), ENOSPC);
  CHECK_INT(fstat(part.fd, &s), 0);
  CHECK_INT(s.st_blocks, 0);
  bits_part_close(&part);
  ended(f, path);
}

#define CHILD(condition)                                               \
  do {                                                                 \
    if (!(condition)) {                                                \
      printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                        \
    }                                                                  \
  } while (0)

/* On a disk of 4 MiB. */
static int on_a_small_disk(void) {
  place small;
  bits_part part;
  static char bytes[1 << 20];
  place_make(&small, p.root);
  if (mount("none", small.root, "tmpfs", 0, "size=4m") != 0) return 77;
  bits_file *f = file_make(&small, 0, "file");
  CHILD(bits_part_create(&part, f, PART_MODE, &what) == 0);
  CHILD(bits_part_reserve(&part, 0, 8 << 20) == ENOSPC);
  CHILD(bits_part_reserve(&part, 0, 3 << 20) == 0);
  /* It has its room, whatever others do. */
  char *other = place_path(&small, "other");
  int fd = open(other, O_WRONLY | O_CREAT, 0600);
  while (write(fd, bytes, sizeof bytes) > 0) continue;
  for (uint64_t at = 0; at < 3 << 20; at += sizeof bytes)
    CHILD(bits_part_write(&part, at, bytes, sizeof bytes) == 0);
  CHILD(bits_part_write(&part, 3 << 20, bytes, sizeof bytes) == ENOSPC);
  CHILD(part.size >= 3 << 20 && part.size < 4 << 20);
  /* What it has counts as its own. */
  ftruncate(fd, 0);
  part.reserved = part.size;
  CHILD(bits_part_reserve(&part, part.size, (4 << 20) - 65536) == 0);
  close(fd);
  bits_part_close(&part);
  file_end(f);
  free(other);
  umount2(small.root, MNT_DETACH);
  return 0;
}

TEST(a_disk_that_is_full) {
  int status = 0;
  if (geteuid() != 0) SKIP("only root can mount");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
      _exit(77);
    int r = on_a_small_disk();
    fflush(stdout);
    _exit(r);
  }
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("nothing can be mounted here");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}


int main(int argc, char **argv) {
  check_begin(argc, argv);
  place_make(&p, NULL);
  long blocks = mem_blocks();
  RUN(its_name);
  RUN(a_long_name_is_cut);
  RUN(a_new_one_is_empty_and_ours_alone);
  RUN(what_a_link_names_is_not_touched);
  RUN(where_it_cannot_be);
  RUN(it_is_gone_on_with);
  RUN(another_is_not_taken_for_it);
  RUN(what_can_be_trusted);
  RUN(how_long_it_will_be);
  RUN(room_is_kept);
  RUN(what_can_never_be_there_is_not_begun);
  RUN(a_disk_that_is_full);
  CHECK_INT(mem_blocks(), blocks);
  place_end(&p);
  return check_end();
}
