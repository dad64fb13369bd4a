/*
** Death at every step of a shrink and of an extension: afterwards reap has
** everything back, or has come to the end, and nothing that was there is lost.
*/
#include "vds_volume_case.h"

/* A process that asks, and dies at the n-th step since one. Whether it came to
   that. */
static const char *counts_from;
static int counts;

static void die_nth(const char *step) {
  if (counts_from != NULL && strcmp(step, counts_from) == 0) counts_from = NULL;
  if (counts_from == NULL && counts-- == 0) kill(getpid(), SIGKILL);
}

static bool die_in(const disk_case *d, const char *call, int64_t size,
                   const char *from, int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    counts_from = from;
    counts = step;
    atomic_store(&vds_hook, die_nth);
    answer a = ask_of(d, call, ",'size':%lld", (long long)size);
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
}

/* A program that it began comes to its end by itself; then reap does the rest.
   It is told that somebody is busy until then. */
static void reap_all(void) {
  for (int i = 0; i < 6000 && unfinished() > 0; i++) {
    answer a = ask("reap", "{}");
    CHECK_INT(a.code, 0);
    const value *busy = value_get(a.output, "busy");
    CHECK(busy != NULL && (busy->count > 0) == (unfinished() > 0));
    bool again = busy != NULL && busy->count > 0;
    forget(&a);
    if (!again) break;
    usleep(10000);
  }
  CHECK_INT(unfinished(), 0);
  CHECK_INT(undo_files(), 0);
}

static bool have_ext4(disk_case *d, unsigned megabytes) {
  return volumes_have("mke2fs") && volumes_have("resize2fs") &&
         disk_make(d, megabytes, "mke2fs -q -F -t ext4 -b 4096");
}

/* The size it has now, by its super block: one of both, never another. */
static int64_t whole_size(const disk_case *d, const char *type, int64_t before,
                          int64_t after) {
  int64_t size = size_by_super(d, type);
  CHECK(size == before || size == after);
  return size;
}

TEST(death_at_every_step_of_a_shrink) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 64)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 2));
  int64_t before = 64 * MB, after = 44 * MB;
  int step = 0, went_back = 0;
  while (die_in(&d, "shrink", before - after, "shrink: noted", step)) {
    reap_all();
    CHECK(is_healthy(&d));
    CHECK(is_the_same(&d, "ext4"));
    if (whole_size(&d, "ext4", before, after) == after)
      CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
    else
      went_back++;
    CHECK_INT(size_by_super(&d, "ext4"), before);
    step += next_step();
  }
  CHECK(step > 6);
  CHECK(went_back > 3 / next_step());
  CHECK_INT(size_by_super(&d, "ext4"), after);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

/* The image is attached anew, as another device: it is found again by what is
   on it. */
TEST(it_is_found_under_another_number) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 64)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 2));
  CHECK(die_in(&d, "shrink", 20 * MB, "shrink: file system", 0));
  CHECK_INT(unfinished(), 1);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", d.image), 0);
  /* It is not there: that is no reason to forget it. */
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(unfinished(), 1);
  char other[32];
  const char *image = make_image(8);
  int fd = volumes_attach(image, 0, 0, other); /* takes its number */
  CHECK(attach_again(&d));
  reap_all();
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  if (fd >= 0) close(fd);
  disk_end(&d);
}

/* As a loss of power may leave it: its second half was never written. */
static void damage_undo_file(void) {
  CHECK_INT(volumes_run("f=$(find '%s' -name '*.undo') && "
                        "n=$(stat -c %%s \"$f\") && "
                        "truncate -s $((n / 2)) \"$f\" && "
                        "truncate -s $n \"$f\"",
                        state_place()),
            0);
}

static bool was_mounted_long_ago(const disk_case *d) {
  return volumes_run(
             "debugfs -w -R 'set_super_value mtime 20200101' '%s' "
             ">/dev/null 2>&1",
             d->node) == 0;
}

/* Who mounts it then takes it as it is. */
TEST(what_is_not_whole_is_not_written_back) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 64) || !volumes_have("debugfs")) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 2));
  CHECK(was_mounted_long_ago(&d));
  CHECK(die_in(&d, "shrink", 20 * MB, "shrink: file system", 0));
  damage_undo_file();
  CHECK(keep_bytes(&d, "damaged"));
  answer a = ask("reap", "{}");
  CHECK_INT(a.code, 0);
  const value *busy = value_get(a.output, "busy");
  CHECK(busy != NULL && busy->count == 1);
  forget(&a);
  CHECK_INT(unfinished(), 1);
  CHECK_INT(undo_files(), 1);
  CHECK(has_bytes(&d, "damaged"));
  CHECK(is_healthy(&d));
  CHECK(mount_it(&d, "ext4"));
  CHECK_INT(umount2(d.at, 0), 0);
  reap_all();
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

/* Whoever makes something else of it after that death has it. */
TEST(what_was_made_on_it_since_is_left_alone) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 64)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 2));
  CHECK(die_in(&d, "shrink", 20 * MB, "shrink: file system", 0));
  CHECK_INT(undo_files(), 1);
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 '%s' >/dev/null", d.node), 0);
  CHECK(fill(&d, "ext4", 6, 4));
  CHECK(keep_bytes(&d, "made"));
  reap_all();
  CHECK(has_bytes(&d, "made"));
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

TEST(what_was_made_on_it_since_does_not_grow) {
  NEED_DISKS();
  disk_case d;
  if (!volumes_have("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 64, 24, "mke2fs -q -F -t ext4 -b 4096"));
  CHECK(die_in(&d, "extend", 8 * MB, "extend: partition", 0));
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 '%s' 16M >/dev/null", d.node), 0);
  CHECK(keep_bytes(&d, "small"));
  reap_all();
  CHECK(has_bytes(&d, "small"));
  CHECK_INT(partition_size(&d), 32 * MB);
  disk_end(&d);
}

/* The program that shrank it came to its end, and somebody took it as it was
   then. */
TEST(what_was_used_since_is_not_rolled_back) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 64) || !volumes_have("debugfs")) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 2));
  CHECK(was_mounted_long_ago(&d));
  CHECK(die_in(&d, "shrink", 20 * MB, "shrink: file system", 0));
  CHECK(mount_it(&d, "ext4"));
  CHECK(pass_file(&d, 99, 4, false));
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK(keep_bytes(&d, "used"));
  reap_all();
  CHECK(has_bytes(&d, "used"));
  CHECK_INT(size_by_super(&d, "ext4"), 44 * MB);
  CHECK(is_healthy(&d));
  disk_end(&d);
}

/* In another boot the numbers of devices mean others. */
static void boot_again(void) {
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    value *record = list->as.items[i], *owner = NULL;
    if (strcmp(text_of(record, "kind"), "shrink") != 0) continue;
    owner = value_copy(value_get(record, "owner"));
    CHECK(owner != NULL && value_put(owner, "boot", value_text("another")));
    CHECK(value_put(record, "owner", owner));
    CHECK(vds_record_save(at, record) == NULL);
  }
  CHECK(e == NULL);
  value_free(list);
  mem_free(at);
}

TEST(a_number_counts_in_its_own_boot_alone) {
  NEED_DISKS();
  disk_case d;
  char other[32];
  if (!have_ext4(&d, 64)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 2));
  CHECK(die_in(&d, "shrink", 20 * MB, "shrink: file system", 0));
  CHECK(keep_bytes(&d, "shrunk"));
  boot_again();
  /* It looks like two: nobody can know which one was meant. */
  int fd = volumes_attach(place("shrunk"), 0, 0, other);
  CHECK(fd >= 0);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(unfinished(), 1);
  CHECK(has_bytes(&d, "shrunk"));
  if (fd >= 0) close(fd);
  CHECK(loops_become(1));
  reap_all();
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

TEST(death_at_every_step_of_an_extension) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 32)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 4, 2));
  disk_expand(&d, 40);
  int64_t before = 32 * MB;
  int step = 0, went_on = 0;
  while (die_in(&d, "extend", 8 * MB, "extend: ready", step)) {
    reap_all();
    CHECK(is_healthy(&d));
    CHECK(is_the_same(&d, "ext4"));
    if (whole_size(&d, "ext4", before, 40 * MB) == 40 * MB) {
      went_on++;
      CHECK_ANSWER(ask_of(&d, "shrink", ",'size':%lld", 8 * (long long)MB), 0);
    }
    step += next_step();
  }
  CHECK(step > 4);
  CHECK(went_on > 2 / next_step());
  CHECK_INT(size_by_super(&d, "ext4"), 40 * MB);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

/* The program outlives who began it: as long as it runs nobody else resizes.
 */
TEST(a_program_that_grows_it_is_waited_for) {
  NEED_DISKS();
  const char *tool = "/usr/sbin/resize2fs";
  char script[500];
  disk_case d;
  if (!have_ext4(&d, 32) || access(tool, X_OK) != 0) SKIP("no e2fsprogs here");
  disk_expand(&d, 40);
  snprintf(script, sizeof script, "until test -e '%s'; do sleep 0.02; done",
           place("go"));
  if (!replace_tool(tool, script))
    SKIP("nothing can be mounted over a program here");
  CHECK(die_in(&d, "extend", 8 * MB, "tool: looked", 0));
  CHECK_INT(umount2(tool, MNT_DETACH), 0);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(unfinished(), 1);
  CHECK_INT(size_by_super(&d, "ext4"), 32 * MB);
  CHECK_INT(volumes_run("touch '%s'", place("go")), 0);
  reap_all();
  CHECK_INT(size_by_super(&d, "ext4"), 40 * MB);
  disk_end(&d);
}

/* Table, kernel and file system: all three have the one size or the other. */
TEST(death_with_a_partition) {
  NEED_DISKS();
  static const struct {
    const char *call, *from;
    int64_t before, after;
  } both[] = {{"shrink", "shrink: file system", 32 * MB, 24 * MB},
              {"extend", "extend: ready", 24 * MB, 32 * MB}};
  disk_case d;
  if (!volumes_have("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 64, 32, "mke2fs -q -F -t ext4 -b 4096"));
  CHECK(fill(&d, "ext4", 4, 2));
  for (size_t i = 0; i < 2; i++) {
    bool shrinks = both[i].before > both[i].after;
    int64_t difference = shrinks ? both[i].before - both[i].after
                                 : both[i].after - both[i].before;
    int step = 0;
    /* Another process has resized it: it is looked at anew. */
    while (die_in(&d, both[i].call, difference, both[i].from, step)) {
      reap_all();
      CHECK(is_healthy(&d));
      CHECK(is_the_same(&d, "ext4"));
      int64_t size = whole_size(&d, "ext4", both[i].before, both[i].after);
      CHECK_INT(partition_size(&d), size);
      look_again(&d);
      if (size == both[i].after)
        CHECK_ANSWER(ask_of(&d, shrinks ? "extend" : "shrink", ",'size':%lld",
                            (long long)difference),
                     0);
      CHECK_INT(partition_size(&d), both[i].before);
      look_again(&d);
      step += next_step();
    }
    CHECK(step > 5);
    CHECK_INT(partition_size(&d), both[i].after);
    look_again(&d);
  }
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

TEST(death_in_btrfs) {
  NEED_MOUNTS();
  disk_case d;
  if (!volumes_have("mkfs.btrfs"))
    SKIP("no mkfs.btrfs: apt-get install btrfs-progs");
  CHECK(disk_make(&d, 512, "mkfs.btrfs -q -f"));
  CHECK(fill(&d, "btrfs", 4, 2));
  int64_t before = 512 * MB, after = 448 * MB;
  int step = 0;
  while (die_in(&d, "shrink", before - after, "shrink: noted", step)) {
    reap_all();
    if (whole_size(&d, "btrfs", before, after) == after)
      CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
    CHECK(is_the_same(&d, "btrfs"));
    step += next_step();
  }
  CHECK(step > 4);
  CHECK_INT(size_by_super(&d, "btrfs"), after);
  CHECK(is_the_same(&d, "btrfs"));
  disk_end(&d);
}

static void all(void) {
  RUN(death_at_every_step_of_a_shrink);
  RUN(it_is_found_under_another_number);
  RUN(what_is_not_whole_is_not_written_back);
  RUN(what_was_made_on_it_since_is_left_alone);
  RUN(what_was_made_on_it_since_does_not_grow);
  RUN(what_was_used_since_is_not_rolled_back);
  RUN(a_number_counts_in_its_own_boot_alone);
  RUN(death_at_every_step_of_an_extension);
  RUN(a_program_that_grows_it_is_waited_for);
  RUN(death_with_a_partition);
  RUN(death_in_btrfs);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
