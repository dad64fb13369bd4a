/*
** Disks that are cleaned: quickly and all of it, cancelled and killed at each
** step. A<n> are numbers of assertions.txt.
*/
#include "vds_clean_case.h"


/* ------------------------------------------------------------------
** Quick
** ---------------------------------------------------------------- */

TEST(a40_quick_is_a_success_that_says_what_is_left) {
  NEED_DISK(24);
  static const char words[] = "what lay in between";
  int fd = open(node, O_RDWR | O_CLOEXEC);
  CHECK_INT(pwrite(fd, words, sizeof words, 20 * MIB), sizeof words);
  CHECK_INT(fsync(fd), 0);
  close(fd);
  answer a = clean("");
  CHECK_INT(a.code, 0x0004241Au);
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 11);
  CHECK_INT(value_integer(value_get(a.output, "bytes"), 0), 2 * MIB);
  const value *failed = value_get(a.output, "failed");
  CHECK(failed != NULL && failed->count == 0);
  forget(&a);
  CHECK_INT(partitions(), 0);
  CHECK_TEXT(found_on(node), "raw");
  CHECK(is_zero(node, 0, MIB));
  CHECK(is_zero(node, SIZE - MIB, MIB));
  char *middle = bytes_of(node, 20 * MIB, sizeof words);
  CHECK_TEXT(middle, words);
  free(middle);
  /* Nothing comes back with a new table at the old places. */
  CHECK_INT(volumes_run("printf 'label: gpt\\n,8M\\n,8M\\n' | sfdisk -q "
                        "--no-reread --no-tell-kernel --wipe never '%s' "
                        ">/dev/null 2>&1",
                        disk_path),
            0);
  end_disk();
  a = ask("attach", "{'path':'%s'}", disk_path);
  identify(&a);
  forget(&a);
  CHECK_INT(partitions(), 2);
  CHECK_TEXT(found_on(part[0]), "raw");
  end_disk();
}

TEST(a_disk_of_two_megabytes_is_clean_at_once) {
  NEED_DISKS();
  disk_path = make_image(2);
  answer a = ask("attach", "{'path':'%s'}", disk_path);
  identify(&a);
  forget(&a);
  CHECK_INT(volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1", node), 0);
  CHECK_ANSWER(clean(""), 0);
  CHECK(is_zero(node, 0, 2 * MIB));
  end_disk();
}

TEST(what_is_no_disk_is_not_cleaned) {
  NEED_DISK(24);
  CHECK_ANSWER(ask("clean", "{}"), SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask("clean",
                   "{'object':{'major':7,'minor':1,'disk_major':7,"
                   "'disk_minor':0,'size':512,'number':1}}"),
               SAROS_E_INVALIDARG);
  answer a = clean(",'plan':true");
  CHECK_INT(a.code, 0);
  const value *lost = value_get(a.output, "lost");
  CHECK_INT(value_get(lost, "partitions")->count, 2);
  CHECK_INT(value_get(lost, "file_systems")->count, 1);
  forget(&a);
  CHECK_INT(partitions(), 2);
  CHECK_TEXT(found_on(part[0]), "ext2");
  end_disk();
}

TEST(what_is_mounted_goes_first_when_that_is_forced) {
  NEED_DISK(24);
  const char *at = place("at");
  mkdir(at, 0700);
  CHECK_INT(mount(part[0], at, "ext2", 0, NULL), 0);
  CHECK_ANSWER(clean(""), VDS_E_OPERATION_DENIED);
  CHECK_TEXT(found_on(part[0]), "ext2");
  CHECK_ANSWER(clean(",'force':['mounted']"), VDS_S_DISK_PARTIALLY_CLEANED);
  CHECK_INT(umount2(at, 0), -1);
  CHECK_INT(partitions(), 0);
  end_disk();
}

/* Somebody has a partition open, and not exclusively: there is no harm done. */
TEST(a_partition_that_is_open_is_kept_and_all_else) {
  NEED_DISK(24);
  char *before = bytes_of(disk_path, 0, SIZE);
  int fd = open(part[1], O_RDONLY | O_CLOEXEC);
  somebody_stays = true;
  CHECK_ANSWER(clean(""), VDS_E_DEVICE_IN_USE);
  CHECK_ANSWER(clean(",'full':true"), VDS_E_DEVICE_IN_USE);
  somebody_stays = false;
  close(fd);
  CHECK_INT(partitions(), 2);
  char *after = bytes_of(disk_path, 0, SIZE);
  CHECK(memcmp(before, after, SIZE) == 0);
  free(before);
  free(after);
  end_disk();
}

static int looker;

static void stop_looking(const char *step) {
  if (strcmp(step, "partition: in use") != 0) return;
  close(looker);
  looker = -1;
}

TEST(who_only_looks_is_waited_for) {
  NEED_DISK(24);
  looker = open(part[1], O_RDONLY | O_CLOEXEC);
  CHECK(looker >= 0);
  atomic_store(&vds_hook, stop_looking);
  CHECK_ANSWER(clean(""), VDS_S_DISK_PARTIALLY_CLEANED);
  atomic_store(&vds_hook, NULL);
  CHECK_INT(looker, -1);
  CHECK_INT(partitions(), 0);
  end_disk();
}


/* ------------------------------------------------------------------
** Full
** ---------------------------------------------------------------- */

static saros_op *watched;
static int chunks, wrong_percents;
static uint32_t last_percent;

/* On the thread that works: nothing goes on meanwhile. */
static void look_hook(const char *step) {
  uint32_t hr = 0, percent = 0;
  if (strcmp(step, "clean: opened") == 0) {
    sem_wait(&held_on); /* until `watched` is set */
    return;
  }
  if (strcmp(step, "zero: chunk") != 0) return;
  chunks++;
  if (saros_vds_query_status(watched, &hr, &percent) != 0 ||
      hr != 0x80042409u || percent > 99 || percent < last_percent)
    wrong_percents++;
  last_percent = percent;
}

TEST(a33_full_is_zero_to_99_until_every_byte_is_zero) {
  NEED_DISK(200);
  chunks = wrong_percents = 0;
  last_percent = 0;
  sem_init(&held_on, 0, 0);
  atomic_store(&vds_hook, look_hook);
  watched = begin_clean(",'full':true");
  sem_post(&held_on);
  answer a = end_of(watched);
  atomic_store(&vds_hook, NULL);
  CHECK_INT(a.code, 0);
  CHECK_INT(value_integer(value_get(a.output, "bytes"), 0), 200 * MIB);
  forget(&a);
  CHECK_INT(chunks, 4);
  CHECK_INT(wrong_percents, 0);
  CHECK_INT(last_percent, 99);
  CHECK_INT(partitions(), 0);
  CHECK(is_zero(disk_path, 0, 200 * MIB));
  struct stat st;
  CHECK_INT(stat(disk_path, &st), 0);
  CHECK(st.st_blocks * 512 < 4 * MIB); /* what was taken is given back */
  end_disk();
}

/* Until something is written nothing has happened; then it is said. */
TEST(a_cancelled_full_clean_says_what_it_did) {
  static const char *const before[] = {"clean: opened",
                                       "clean: without partitions"};
  static const char *const during[] = {
      "clean: partition wiped", "clean: end zeroed", "clean: beginning zeroed",
      "clean: wiped", "zero: chunk"};
  for (size_t i = 0; i < 7; i++) {
    NEED_DISK(24);
    char *whole = bytes_of(disk_path, 0, SIZE);
    hold_at(i < 2 ? before[i] : during[i - 2]);
    saros_op *op = begin_clean(",'full':true");
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    answer a = end_of(op);
    CHECK_INT(a.code, VDS_E_OPERATION_CANCELED);
    CHECK(left_over(a.op, "bytes are zero") == (i >= 2));
    CHECK(i != 6 || left_over(a.op, "25165824 of its 25165824 bytes"));
    forget(&a);
    char *now = bytes_of(disk_path, 0, SIZE);
    if (i < 2) {
      CHECK(memcmp(whole, now, SIZE) == 0);
      CHECK_INT(partitions(), 2);
    }
    free(whole);
    free(now);
    end_disk();
  }
}

TEST(a_quick_one_is_too_late_to_cancel_once_it_has_begun) {
  static const char *const late[] = {
      "clean: without partitions", "clean: partition wiped",
      "clean: end zeroed", "clean: beginning zeroed", "clean: wiped"};
  for (size_t i = 0; i < 6; i++) {
    NEED_DISK(24);
    hold_at(i == 0 ? "clean: opened" : late[i - 1]);
    saros_op *op = begin_clean("");
    await_held();
    CHECK_INT(saros_vds_cancel(op), i == 0 ? 0 : VDS_E_CANCEL_TOO_LATE);
    let_on();
    CHECK_ANSWER(end_of(op), i == 0 ? VDS_E_OPERATION_CANCELED
                                    : VDS_S_DISK_PARTIALLY_CLEANED);
    CHECK_INT(partitions(), i == 0 ? 2 : 0);
    end_disk();
  }
}

TEST(one_operation_per_disk) {
  NEED_DISK(24);
  hold_at("clean: opened");
  saros_op *op = begin_clean("");
  await_held();
  CHECK_ANSWER(clean(""), VDS_E_ANOTHER_CALL_IN_PROGRESS);
  let_on();
  CHECK_ANSWER(end_of(op), VDS_S_DISK_PARTIALLY_CLEANED);
  end_disk();
}


/* ------------------------------------------------------------------
** Death
** ---------------------------------------------------------------- */

static bool die_cleaning(const char *more, int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    atomic_store(&vds_dies_at, step);
    answer a = clean(more);
    _exit((a.code & 0x80000000u) == 0 ? 0 : 1);
  }
  return has_died(child);
}

static bool is_same(const char *before, off_t at) {
  char *now = bytes_of(disk_path, at, MIB);
  bool same = memcmp(before, now, MIB) == 0;
  free(now);
  return same;
}

/* The table is the old one, or there is none; and it can be cleaned again. */
static void death(const char *more) {
  bool died = true;
  int step = 1, old_ones = 0, none = 0;
  for (; died; step += next_step()) {
    if (!new_disk(24)) SKIP("needs sfdisk and mke2fs: fdisk, e2fsprogs");
    char *before[2] = {bytes_of(disk_path, 0, MIB),
                       bytes_of(disk_path, SIZE - MIB, MIB)};
    died = die_cleaning(more, step);
    bool head = is_same(before[0], 0), tail = is_same(before[1], SIZE - MIB);
    if (head)
      old_ones++;
    else
      none++;
    CHECK(head || is_zero(disk_path, 0, MIB));
    CHECK(tail || is_zero(disk_path, SIZE - MIB, MIB));
    CHECK(head || !tail);
    free(before[0]);
    free(before[1]);
    CHECK_ANSWER(ask("reap", "{}"), 0);
    answer a = clean(more);
    CHECK_INT(a.code & 0x80000000u, 0);
    forget(&a);
    CHECK_TEXT(found_on(node), "raw");
    end_disk();
  }
  CHECK(step > 7);
  CHECK(old_ones > 3 / next_step());
  CHECK(none > 2 / next_step());
}

TEST(death_at_every_step_of_a_quick_one) {
  NEED_DISKS();
  death("");
}

TEST(death_at_every_step_of_a_full_one) {
  NEED_DISKS();
  death(",'full':true");
}

static void all(void) {
  RUN(death_at_every_step_of_a_quick_one);
  RUN(death_at_every_step_of_a_full_one);
  RUN(a40_quick_is_a_success_that_says_what_is_left);
  RUN(a_disk_of_two_megabytes_is_clean_at_once);
  RUN(what_is_no_disk_is_not_cleaned);
  RUN(what_is_mounted_goes_first_when_that_is_forced);
  RUN(a_partition_that_is_open_is_kept_and_all_else);
  RUN(who_only_looks_is_waited_for);
  RUN(a33_full_is_zero_to_99_until_every_byte_is_zero);
  RUN(a_cancelled_full_clean_says_what_it_did);
  RUN(a_quick_one_is_too_late_to_cancel_once_it_has_begun);
  RUN(one_operation_per_disk);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
