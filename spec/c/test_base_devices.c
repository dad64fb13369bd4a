/*
** base: the register of devices we write to.
*/
#include "base/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/memory.h"
#include "check.h"
#include "test_base_sweep.h"

static bool held(unsigned a, unsigned b) {
  return device_is_held(makedev(a, b), NULL);
}

/* The sentence about a device that is held. */
static void check_why(dev_t device, const char *wanted) {
  char *why = NULL;
  CHECK(device_is_held(device, &why));
  CHECK_TEXT(why, wanted);
  mem_free(why);
}

/* ------------------------------------------------------------------
** Holding and asking
** ---------------------------------------------------------------- */

TEST(device_is_held_until_it_is_released) {
  long before = mem_blocks();
  CHECK(!held(240, 1));
  device_hold *hold =
      device_hold_dev(makedev(240, 1), "the transfer queue", "/var/q.db");
  CHECK(hold != NULL);
  CHECK(held(240, 1));
  CHECK(!held(240, 2));
  CHECK(!held(241, 1));
  check_why(makedev(240, 1), "the transfer queue writes to /var/q.db");
  char *why = mem_text("untouched");
  CHECK(!device_is_held(makedev(240, 2), &why));
  CHECK_TEXT(why, "untouched");
  mem_free(why);
  device_release(hold);
  CHECK(!held(240, 1));
  device_release(NULL);
  CHECK_INT(mem_blocks(), before);
}

TEST(device_is_held_as_often_as_it_is) {
  long before = mem_blocks();
  device_hold *a = device_hold_dev(makedev(240, 1), "a", "/a");
  device_hold *b = device_hold_dev(makedev(240, 1), "b", "/b");
  device_hold *c = device_hold_dev(makedev(240, 2), "c", "/c");
  device_release(b);
  CHECK(held(240, 1));
  check_why(makedev(240, 1), "a writes to /a");
  device_release(c);
  CHECK(held(240, 1) && !held(240, 2));
  device_release(a);
  CHECK(!held(240, 1));
  CHECK_INT(mem_blocks(), before);
}

TEST(device_of_an_open_file) {
  char path[] = "/tmp/saros-device-XXXXXX";
  int fd = mkstemp(path);
  struct stat st = {0};
  CHECK(fd >= 0 && fstat(fd, &st) == 0);
  device_hold *hold = device_hold_fd(fd, "a test", path);
  CHECK(hold != NULL);
  close(fd);
  unlink(path);
  CHECK(device_is_held(st.st_dev, NULL));
  char wanted[128];
  snprintf(wanted, sizeof wanted, "a test writes to %s", path);
  check_why(st.st_dev, wanted);
  device_release(hold);
  CHECK(!device_is_held(st.st_dev, NULL));
  errno = 0;
  CHECK(device_hold_fd(-1, "a test", "/x") == NULL);
  CHECK_INT(errno, EBADF);
}

TEST(device_path_is_escaped_for_a_person) {
  device_hold *hold = device_hold_dev(makedev(240, 1), "x", "/a\n\x1b\xFF");
  check_why(makedev(240, 1), "x writes to /a\\n\\x1b\\xff");
  device_release(hold);
}

TEST(device_list_names_all) {
  long before = mem_blocks();
  value *list = device_list();
  CHECK(list != NULL && list->count == 0);
  value_free(list);
  device_hold *a = device_hold_dev(makedev(8, 1), "the queue", "/q");
  device_hold *b = device_hold_dev(makedev(0, 45), "the cache", "/\xFF");
  list = device_list();
  CHECK(list != NULL && list->count == 2);
  buffer text = BUFFER_EMPTY;
  json_write(&text, list, JSON_COMPACT);
  CHECK_TEXT(text.data,
             "[{\"device\":\"0:45\",\"why\":\"the cache\",\"path\":\"/\\\\xff\""
             ",\"path_b64\":\"L/8=\"},"
             "{\"device\":\"8:1\",\"why\":\"the queue\",\"path\":\"/q\"}]");
  buffer_free(&text);
  value_free(list);
  device_release(a);
  device_release(b);
  CHECK_INT(mem_blocks(), before);
}

static bool use_devices(void) {
  device_hold *hold =
      device_hold_dev(makedev(240, 7), "a writer", "/some/\xFF");
  if (hold == NULL) {
    CHECK_INT(errno, ENOMEM);
    CHECK(!held(240, 7));
    return false;
  }
  char *why = NULL;
  CHECK(device_is_held(makedev(240, 7), &why)); /* whether it can say so */
  bool whole = why != NULL;
  mem_free(why);
  value *list = device_list();
  whole = whole && list != NULL;
  CHECK(list == NULL || list->count == 1);
  value_free(list);
  device_release(hold);
  CHECK(!held(240, 7));
  return whole;
}

TEST(device_survives_without_memory) {
  SWEEP(use_devices, 25);
}

/* ------------------------------------------------------------------
** What is below
** ---------------------------------------------------------------- */

#ifdef SAROS_TEST

static char scratch[64];

static const char *in(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static const char *in(const char *format, ...) {
  static char paths[4][PATH_MAX];
  static int next;
  char *path = paths[next++ % 4];
  int size = snprintf(path, PATH_MAX, "%s/", scratch);
  va_list args;
  va_start(args, format);
  vsnprintf(path + size, (size_t)(PATH_MAX - size), format, args);
  va_end(args);
  return path;
}

/* A file, and the directories before it. */
static void put_file(const char *path, const char *text) {
  char part[PATH_MAX];
  for (const char *slash = path + strlen(scratch) + 1;
       (slash = strchr(slash, '/')) != NULL; slash++) {
    snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
    mkdir(part, 0700);
  }
  FILE *file = fopen(path, "w");
  CHECK(file != NULL);
  if (file == NULL) return;
  fprintf(file, "%s\n", text);
  fclose(file);
}

static char sysfs[PATH_MAX];

static void enter_scratch(void) {
  strcpy(scratch, "/tmp/saros-sysfs-XXXXXX");
  if (mkdtemp(scratch) == NULL) abort();
  strcpy(sysfs, in("sys"));
  device_sysfs = sysfs;
}

static void leave_scratch(void) {
  char command[128];
  device_sysfs = "/sys";
  snprintf(command, sizeof command, "rm -rf '%s'", scratch);
  CHECK_INT(system(command), 0);
}

static int open_files(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

static dev_t device_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_dev : 0;
}

TEST(device_of_a_loop_file_is_held) {
  enter_scratch();
  long before = mem_blocks();
  put_file(in("disk\t.img"), "");
  put_file(in("sys/dev/block/7:3/loop/backing_file"), in("disk\t.img"));
  device_hold *hold = device_hold_dev(makedev(7, 3), "the cache", "/mnt/c");
  CHECK(held(7, 3));
  check_why(makedev(7, 3), "the cache writes to /mnt/c");
  char wanted[PATH_MAX];
  snprintf(wanted, sizeof wanted,
           "the cache writes to /mnt/c, which is on a loop device whose file "
           "is %s/disk\\t.img",
           scratch);
  check_why(device_of(scratch), wanted);
  device_release(hold);
  CHECK(!device_is_held(device_of(scratch), NULL));
  /* One whose file is gone. */
  put_file(in("sys/dev/block/7:3/loop/backing_file"), in("gone (deleted)"));
  hold = device_hold_dev(makedev(7, 3), "the cache", "/mnt/c");
  CHECK(held(7, 3));
  CHECK(!device_is_held(device_of(scratch), NULL));
  device_release(hold);
  CHECK_INT(mem_blocks(), before);
  leave_scratch();
}

TEST(device_of_a_loop_on_a_loop_is_held) {
  if (geteuid() != 0) SKIP("needs root");
  enter_scratch();
  put_file(in("disk.img"), "");
  put_file(in("sys/dev/block/7:0/loop/backing_file"), in("disk.img"));
  for (unsigned i = 0; i < 3; i++) {
    char node[PATH_MAX];
    strcpy(node, in("loop%u", i));
    CHECK_INT(mknod(node, S_IFBLK | 0600, makedev(7, i)), 0);
    put_file(in("sys/dev/block/7:%u/loop/backing_file", i + 1), node);
  }
  device_hold *hold = device_hold_dev(makedev(7, 3), "x", "/x");
  CHECK(held(7, 3) && held(7, 2) && held(7, 1) && held(7, 0));
  CHECK(!held(7, 4));
  CHECK(device_is_held(device_of(scratch), NULL));
  device_release(hold);
  /* The device file itself is what is written to. */
  int fd = open(in("loop2"), O_PATH | O_CLOEXEC);
  CHECK(fd >= 0);
  hold = device_hold_fd(fd, "x", "/x");
  close(fd);
  CHECK(held(7, 2) && held(7, 0) && !held(7, 3));
  device_release(hold);
  /* A circle, which cannot be, ends. */
  put_file(in("sys/dev/block/7:0/loop/backing_file"), in("loop2"));
  hold = device_hold_dev(makedev(7, 2), "x", "/x");
  CHECK(held(7, 2) && held(7, 1) && held(7, 0));
  CHECK(!device_is_held(device_of(scratch), NULL));
  device_release(hold);
  leave_scratch();
}

TEST(device_below_a_partition_and_a_volume_is_held) {
  enter_scratch();
  long before = mem_blocks();
  put_file(in("disk.img"), "");
  /* A volume of a partition of a loop device, and of a disk. */
  put_file(in("sys/devices/loop5/dev"), "7:5");
  put_file(in("sys/devices/loop5/loop/backing_file"), in("disk.img"));
  put_file(in("sys/devices/loop5/loop5p1/dev"), "259:4");
  put_file(in("sys/devices/loop5/loop5p1/partition"), "1");
  put_file(in("sys/devices/dm-0/slaves/loop5p1/dev"), "259:4");
  put_file(in("sys/devices/dm-0/slaves/sdb/dev"), "8:16");
  put_file(in("sys/dev/block/x"), "");
  CHECK_INT(symlink("../../devices/loop5", in("sys/dev/block/7:5")), 0);
  CHECK_INT(symlink("../../devices/loop5/loop5p1", in("sys/dev/block/259:4")),
            0);
  CHECK_INT(symlink("../../devices/dm-0", in("sys/dev/block/253:0")), 0);
  device_hold *hold = device_hold_dev(makedev(253, 0), "x", "/x");
  CHECK(held(253, 0) && held(259, 4) && held(7, 5) && held(8, 16));
  CHECK(device_is_held(device_of(scratch), NULL));
  check_why(makedev(8, 16),
            "x writes to /x, whose device 253:0 lies on this "
            "one");
  char wanted[PATH_MAX];
  snprintf(
      wanted, sizeof wanted,
      "x writes to /x, which is on a loop device whose file is %s/disk.img",
      scratch);
  check_why(device_of(scratch), wanted);
  device_release(hold);
  CHECK_INT(mem_blocks(), before);
  leave_scratch();
}

TEST(device_with_very_much_below_is_bounded) {
  enter_scratch();
  long before = mem_blocks();
  for (int i = 0; i < 100; i++) {
    char number[16];
    snprintf(number, sizeof number, "8:%d", i);
    put_file(in("sys/dev/block/253:0/slaves/s%d/dev", i), number);
  }
  put_file(in("sys/dev/block/253:0/slaves/odd/dev"), "no number");
  device_hold *hold = device_hold_dev(makedev(253, 0), "x", "/x");
  CHECK(hold != NULL && held(253, 0));
  int count = 0;
  for (unsigned i = 0; i < 100; i++) count += held(8, i);
  CHECK_INT(count, 15);
  device_release(hold);
  CHECK_INT(mem_blocks(), before);
  leave_scratch();
}

/* What the kernel never says, but a mistake must not grow from. */
TEST(device_files_may_be_odd) {
  static char line[2 * PATH_MAX];
  enter_scratch();
  long before = mem_blocks();
  int files = open_files();
  memset(line, 'x', sizeof line - 1);
  put_file(in("sys/dev/block/7:1/loop/backing_file"), line);
  put_file(in("sys/dev/block/7:2/loop/backing_file"), "");
  CHECK_INT(truncate(in("sys/dev/block/7:2/loop/backing_file"), 0), 0);
  put_file(in("sys/dev/block/7:2/slaves/a/dev"), "8:7");
  put_file(in("sys/dev/block/7:3/partition"), "1");
  put_file(in("sys/dev/block/7:4/partition"), "1");
  put_file(in("sys/dev/block/dev"), "8:8:8");
  for (unsigned i = 1; i <= 4; i++) {
    device_hold *hold = device_hold_dev(makedev(7, i), "x", "/x");
    CHECK(hold != NULL && held(7, i));
    CHECK(!device_is_held(device_of(scratch), NULL));
    CHECK(held(8, 7) == (i == 2)); /* no loop device: a volume */
    CHECK(!held(8, 8) && !held(0, 0));
    device_release(hold);
  }
  CHECK_INT(open_files(), files);
  CHECK_INT(mem_blocks(), before);
  leave_scratch();
}

static bool hold_a_stack(void) {
  device_hold *hold = device_hold_dev(makedev(7, 3), "the cache", "/mnt/c");
  if (hold == NULL) {
    CHECK_INT(errno, ENOMEM);
    return false;
  }
  char *why = NULL; /* one that is there is whole */
  CHECK(device_is_held(device_of(scratch), &why));
  CHECK(why == NULL || strstr(why, "loop device whose file is") != NULL);
  bool whole = why != NULL;
  mem_free(why);
  device_release(hold);
  return whole;
}

TEST(device_stack_survives_without_memory) {
  enter_scratch();
  put_file(in("disk.img"), "");
  put_file(in("sys/dev/block/7:3/slaves/a/dev"), "7:4");
  put_file(in("sys/dev/block/7:4/loop/backing_file"), in("disk.img"));
  SWEEP(hold_a_stack, 6);
  leave_scratch();
}

#endif

/* With a real loop device, where one can be had. */
TEST(device_of_a_real_loop) {
  char path[] = "/tmp/saros-loop-XXXXXX", name[32];
  int image = mkstemp(path);
  CHECK(image >= 0 && ftruncate(image, 1 << 20) == 0);
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
  snprintf(name, sizeof name, "/dev/loop%d", number);
  int loop = number < 0 ? -1 : open(name, O_RDWR | O_CLOEXEC);
  bool set = loop >= 0 && ioctl(loop, LOOP_SET_FD, image) == 0;
  if (set) {
    struct stat st;
    CHECK_INT(fstat(image, &st), 0);
    CHECK(!device_is_held(st.st_dev, NULL));
    device_hold *hold = device_hold_fd(loop, "a test", name);
    char wanted[256];
    snprintf(wanted, sizeof wanted,
             "a test writes to %s, which is on a loop device whose file is %s",
             name, path);
    check_why(st.st_dev, wanted);
    device_release(hold);
    CHECK(!device_is_held(st.st_dev, NULL));
    ioctl(loop, LOOP_CLR_FD);
  }
  if (loop >= 0) close(loop);
  if (control >= 0) close(control);
  close(image);
  unlink(path);
  if (!set) SKIP("no loop device can be had");
}

/* ------------------------------------------------------------------
** Threads and forks
** ---------------------------------------------------------------- */

static void *hold_much(void *number) {
  unsigned minor_number = *(unsigned *)number;
  int wrong = 0;
  for (int i = 0; i < 300; i++) {
    device_hold *hold = device_hold_dev(makedev(240, minor_number), "t", "/t");
    wrong += !held(240, minor_number);
    value *list = device_list();
    wrong += list == NULL || list->count < 1;
    value_free(list);
    device_release(hold);
    wrong += held(240, minor_number);
  }
  *(unsigned *)number = (unsigned)wrong;
  return NULL;
}

TEST(device_is_held_by_many_threads) {
  pthread_t threads[4];
  unsigned numbers[4];
  long before = mem_blocks();
  for (unsigned i = 0; i < 4; i++) {
    numbers[i] = i;
    CHECK_INT(pthread_create(&threads[i], NULL, hold_much, &numbers[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    CHECK_INT(numbers[i], 0);
  }
  CHECK_INT(mem_blocks(), before);
}

TEST(device_is_the_parents_after_a_fork) {
  device_hold *a = device_hold_dev(makedev(240, 1), "a", "/a");
  device_hold *b = device_hold_dev(makedev(240, 2), "b", "/b");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    device_forked();
    bool good = !held(240, 1) && !held(240, 2);
    device_hold *own = device_hold_dev(makedev(240, 3), "c", "/c");
    device_release(a); /* frees it, and touches nothing else */
    good = good && held(240, 3) && !held(240, 1);
    device_release(own);
    device_release(b);
    value *list = device_list();
    good = good && list != NULL && list->count == 0;
    value_free(list);
    _exit(good ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK_INT(status, 0);
  CHECK(held(240, 1) && held(240, 2));
  device_release(a);
  device_release(b);
}

static atomic_bool stopped;

static void *hold_until_stopped(void *unused) {
  (void)unused;
  while (!atomic_load(&stopped)) {
    device_hold *hold = device_hold_dev(makedev(240, 9), "t", "/t");
    for (int i = 0; i < 100; i++) value_free(device_list());
    device_release(hold);
  }
  return NULL;
}

/* Some of these forks happen while the thread holds the lock. */
TEST(device_works_in_a_child) {
  pthread_t thread;
  atomic_store(&stopped, false);
  CHECK_INT(pthread_create(&thread, NULL, hold_until_stopped, NULL), 0);
  fflush(stdout);
  for (int i = 0; i < 50; i++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(60);
      device_forked();
      if (!held(240, 9)) raise(SIGKILL);
      _exit(1); /* and not 0: valgrind has a say in that one */
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    bool good = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK(good);
    if (!good) break;
  }
  atomic_store(&stopped, true);
  pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(device_is_held_until_it_is_released);
  RUN(device_is_held_as_often_as_it_is);
  RUN(device_of_an_open_file);
  RUN(device_path_is_escaped_for_a_person);
  RUN(device_list_names_all);
  RUN(device_survives_without_memory);
#ifdef SAROS_TEST
  RUN(device_of_a_loop_file_is_held);
  RUN(device_of_a_loop_on_a_loop_is_held);
  RUN(device_below_a_partition_and_a_volume_is_held);
  RUN(device_with_very_much_below_is_bounded);
  RUN(device_files_may_be_odd);
  RUN(device_stack_survives_without_memory);
#endif
  RUN(device_of_a_real_loop);
  RUN(device_is_held_by_many_threads);
  RUN(device_is_the_parents_after_a_fork);
  RUN(device_works_in_a_child);
  return check_end();
}
