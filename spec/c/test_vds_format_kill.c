/*
** Formats that are killed: at each step, with each file system. What is left is
** the old one, nothing, or the new one and whole; until that is so it is known,
** and says so.
*/
#include "vds_format_case.h"
#include "vds_left_case.h"

#include <sys/file.h>

/* What it has to show for itself. */
typedef struct kind {
  const char *fs;
  unsigned megabytes;
} kind;

static const kind kinds[] = {
    {"ext4", 16}, {"xfs", 300}, {"btrfs", 112}, {"vfat", 16}, {"swap", 16}};

static const char *const steps[] = {
    "format: record written", "format: wiped",     "format: wiped for good",
    "tool: looked",           "format: made",      "format: looked at",
    "format: durable",        "format: committed", "format: done"};

/* The child's answer, when it lived. */
static bool die_formatting(const char *device, const char *fs) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    answer a = format_it(device, "{'fs':'%s','label':'AFTER'}", fs);
    if (a.code != 0) printf("%s: %s\n", fs, a.message);
    fflush(stdout);
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
}

/* Dies behind a step. */
static bool die_at(const char *device, const char *fs, const char *step) {
  dies_behind = step;
  atomic_store(&vds_hook, die_hook);
  bool died = die_formatting(device, fs);
  atomic_store(&vds_hook, NULL);
  return died;
}

/* The lock of the only record, or -1 without one. It is had when the program
   that was begun has ended. */
static int lock_of_record(char uuid[64], bool *made) {
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  int fd = -1;
  CHECK(list != NULL && list->count <= 1);
  if (list != NULL && list->count == 1) {
    char path[5000];
    snprintf(path, sizeof path, "%s/%s.lock", at,
             vds_record_text(list->as.items[0], "id"));
    snprintf(uuid, 64, "%s", vds_record_text(list->as.items[0], "uuid"));
    *made = strcmp(text_of(list->as.items[0], "state"), "made") == 0;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
  }
  value_free(list);
  mem_free(at);
  error_unref(e);
  return fd;
}

static void check_listed(const char *device, bool failed) {
  answer a = ask("volume", "{'path':'%s'}", device);
  CHECK_INT(a.code, 0);
  CHECK_TEXT(text_of(a.output, "health"), failed ? "failed" : "healthy");
  CHECK_TEXT(text_of(a.output, "unfinished"), failed ? "format" : "");
  forget(&a);
}

static size_t listed(const answer *a, const char *name) {
  const value *list = value_get(a->output, name);
  return list != NULL ? list->count : 999;
}

/* It was killed: what there is, before and after a reap. `old`: its uuid. */
static void look_at_it(const scratch *s, const kind *k, const char *old) {
  char uuid[64] = "";
  bool made = false;
  int lock = lock_of_record(uuid, &made);
  bool left = lock >= 0;
  vds_probe p = seen(s->fd);
  bool was = strcmp(p.uuid, old) == 0;
  /* Without a record it had come to its end, or had done nothing yet. */
  bool ours = left ? strcmp(p.uuid, uuid) == 0 : strcmp(p.fs, k->fs) == 0;
  if (!left) CHECK(ours && strcmp(p.label, was ? "before" : "AFTER") == 0);
  CHECK(!p.ambivalent);
  CHECK(was || ours || p.fs[0] == '\0');
  bool whole = ours && !p.unfinished;
  bool known = whole && (!left || made || strcmp(k->fs, "vfat") != 0);
  check_listed(s->device, left && !was && !known);
  if (left) {
    /* Somebody is at it. */
    answer a = ask("reap", "{}");
    CHECK_INT(a.code, 0);
    CHECK_INT(listed(&a, "busy"), 1);
    CHECK_INT(records_left(), 1);
    forget(&a);
    close(lock);
  }
  answer a = ask("reap", "{}");
  CHECK_INT(a.code, 0);
  CHECK_INT(listed(&a, "busy"), 0);
  CHECK_INT(listed(&a, "forgotten"), left ? 1 : 0);
  forget(&a);
  CHECK_INT(records_left(), 0);
  p = seen(s->fd);
  CHECK(!p.ambivalent && !p.unfinished);
  if (whole) {
    if (left) CHECK_TEXT(p.uuid, uuid);
    CHECK_TEXT(p.fs, k->fs);
    check_is_good(k->fs, s->device);
  } else if (!was) {
    CHECK_TEXT(p.fs, "");
  }
  check_listed(s->device, false);
}

static void old_content(const scratch *s, char uuid[64]) {
  CHECK_ANSWER(format_it(s->device, "{'fs':'ext4','label':'before'}"), 0);
  snprintf(uuid, 64, "%s", seen(s->fd).uuid);
}

TEST(death_at_each_named_step_of_each) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (missing(kinds[i].fs) != NULL || missing("ext4") != NULL) {
      printf("left out: %s: %s\n", kinds[i].fs, missing(kinds[i].fs));
      continue;
    }
    scratch s = scratch_of(kinds[i].megabytes);
    for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
      char old[64];
      old_content(&s, old);
      bool died = die_at(s.device, kinds[i].fs, steps[j]);
      CHECK(died || strcmp(steps[j], "format: kept as made") == 0);
      if (!died) continue;
      look_at_it(&s, &kinds[i], old);
    }
    drop(&s);
  }
}

/* How often the program is looked at is not known beforehand: it ends when it
   lives. */
TEST(death_at_every_step) {
  NEED("ext4");
  scratch s = scratch_of(16);
  char old[64];
  bool died = true;
  int step = 1;
  for (; died; step += next_step()) {
    old_content(&s, old);
    atomic_store(&vds_dies_at, step);
    died = die_formatting(s.device, "ext4");
    atomic_store(&vds_dies_at, 0);
    if (died) look_at_it(&s, &kinds[0], old);
  }
  CHECK(step > 7);
  CHECK_TEXT(seen(s.fd).label, "AFTER");
  CHECK_INT(records_left(), 0);
  drop(&s);
}

/* As one whose maker was killed: its second table was not written. */
static void break_fat(const char *path) {
  unsigned char b[512];
  int fd = open(path, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pread(fd, b, sizeof b, 0) == (ssize_t)sizeof b);
  off_t second = (off_t)512 * (b[14] + 256 * b[15] + b[22] + 256 * b[23]);
  CHECK_INT(pwrite(fd, "old", 3, second + 100), 3);
  CHECK_INT(fsync(fd), 0);
  close(fd);
}

/* FAT looks whole before it is; when it is, that is known for certain. */
TEST(a_whole_fat_stays) {
  NEED("vfat");
  static const char *const late[] = {"format: durable", "format: kept as made",
                                     "format: committed"};
  scratch s = scratch_of(16);
  for (size_t i = 0; i < 3; i++) {
    CHECK(die_at(s.device, "vfat", late[i]));
    check_listed(s.device, i == 0); /* that is not looked at then */
    CHECK_ANSWER(ask("reap", "{}"), 0);
    CHECK_INT(records_left(), 0);
    CHECK_TEXT(seen(s.fd).label, "AFTER");
  }
  CHECK(die_at(s.device, "vfat", "format: durable"));
  break_fat(s.device);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_TEXT(seen(s.fd).fs, "");
  drop(&s);
}

/* Whoever mounts it by himself before it is reaped keeps what he puts there;
   what was there before is no reason to keep it. */
TEST(a_fat_that_was_used_since_stays) {
  NEED("vfat");
  char at[400], file[500];
  scratch s = scratch_of(16);
  snprintf(at, sizeof at, "%s", place("used"));
  snprintf(file, sizeof file, "%s/file", at);
  mkdir(at, 0700);
  CHECK(die_at(s.device, "vfat", "format: durable"));
  bool can = mount(s.device, at, "vfat", 0, NULL) == 0;
  if (can) {
    CHECK_INT(volumes_run("echo mine > '%s'", file), 0);
    CHECK_INT(umount2(at, 0), 0);
    CHECK_ANSWER(ask("reap", "{}"), 0);
    CHECK_INT(records_left(), 0);
    CHECK_INT(mount(s.device, at, "vfat", 0, NULL), 0);
    CHECK_INT(volumes_run("grep -q mine '%s'", file), 0);
    CHECK_INT(umount2(at, 0), 0);
  }
  CHECK_ANSWER(ask("reap", "{}"), 0);
  drop(&s);
  if (!can) SKIP("the kernel does not mount vfat here");
}

/* The root directory is written last: it may be that of a FAT that was there
   before, whose files lie nowhere, or have files of somebody by now; or it was
   mounted, and not unmounted. Whether it stayed. */
static bool stays(const scratch *s, bool taken, bool dirty) {
  unsigned char b[512], file[32] = "OLD     TXT ";
  CHECK(die_at(s->device, "vfat", "format: durable"));
  int fd = open(s->device, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pread(fd, b, sizeof b, 0) == (ssize_t)sizeof b);
  off_t table = (off_t)512 * (b[14] + 256 * b[15]);
  off_t size = (off_t)512 * (b[22] + 256 * b[23]);
  file[26] = 3;
  CHECK_INT(pwrite(fd, file, sizeof file, table + b[16] * size), sizeof file);
  for (int i = 0; taken && i < b[16]; i++)
    CHECK_INT(pwrite(fd, "\xFF\xFF", 2, table + i * size + 6), 2);
  if (dirty) CHECK_INT(pwrite(fd, "\1", 1, 37), 1);
  CHECK_INT(fsync(fd), 0);
  close(fd);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  return strcmp(seen(s->fd).fs, "vfat") == 0;
}

TEST(a_fat_with_an_older_root_is_a_half) {
  NEED("vfat");
  scratch s = scratch_of(16);
  CHECK(!stays(&s, false, false));
  CHECK(stays(&s, true, false));
  CHECK(stays(&s, false, true));
  drop(&s);
}

/* What somebody made on it since is his. */
TEST(what_was_made_since_is_not_touched) {
  NEED("ext4");
  scratch s = scratch_of(16);
  CHECK(die_at(s.device, "ext4", "format: wiped"));
  check_listed(s.device, true);
  CHECK_ANSWER(format_it(s.device, "{'fs':'ext4','label':'since'}"), 0);
  check_listed(s.device, false);
  CHECK_INT(records_left(), 1);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen(s.fd).label, "since");
  drop(&s);
}

/* A half that cannot be had now is not forgotten. */
TEST(a_half_that_is_held_stays_known) {
  NEED("vfat");
  scratch s = scratch_of(16);
  CHECK(die_at(s.device, "vfat", "format: durable"));
  break_fat(s.device);
  int fd = open(s.device, O_RDONLY | O_EXCL | O_CLOEXEC);
  CHECK(fd >= 0);
  answer a = ask("reap", "{}");
  CHECK_INT(listed(&a, "busy"), 1);
  forget(&a);
  CHECK_INT(records_left(), 1);
  check_listed(s.device, true);
  close(fd);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen(s.fd).fs, "");
  drop(&s);
}

/* A disk that went with its process is known again by its file, whatever device
   it is then. */
static void die_with_its_disk(const char *path, const char *step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    char node[80];
    answer a = ask("attach", "{'path':'%s'}", path);
    snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
    dies_behind = step;
    atomic_store(&vds_hook, die_hook);
    forget(&a);
    CHECK_ANSWER(format_it(node, "{'fs':'vfat'}"), 0);
    _exit(1);
  }
  CHECK(has_died(child));
  CHECK(loops_become(0));
}

static vds_probe seen_in(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  vds_probe p = seen(fd);
  close(fd);
  return p;
}

TEST(a_disk_that_went_with_its_process_is_known_by_its_file) {
  NEED("vfat");
  const char *path = make_image(16);
  die_with_its_disk(path, "format: durable");
  break_fat(path);
  answer a = ask("attach", "{'path':'%s'}", path);
  CHECK_INT(a.code, 0);
  char node[80];
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  forget(&a);
  check_listed(node, true);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  check_listed(node, false);
  CHECK_INT(records_left(), 1); /* the disk's */
  a = ask("volume", "{'path':'%s'}", node);
  CHECK_TEXT(text_of(a.output, "fs"), "raw");
  forget(&a);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
}

TEST(a_file_that_is_no_disk_now_is_mended_as_one) {
  NEED("vfat");
  const char *path = make_image(16);
  die_with_its_disk(path, "format: durable");
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen_in(path).fs, "vfat");
  die_with_its_disk(path, "format: durable");
  break_fat(path);
  CHECK_TEXT(seen_in(path).fs, "vfat");
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen_in(path).fs, "");
  /* Another file of that name is another one. */
  die_with_its_disk(path, "format: durable");
  char other[400];
  snprintf(other, sizeof other, "%s.other", path);
  CHECK_INT(volumes_run("cp --sparse=always '%s' '%s' && mv '%s' '%s'", path,
                        other, other, path),
            0);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen_in(path).fs, "vfat");
}

TEST(a_file_that_cannot_be_had_now_is_not_gone) {
  NEED("vfat");
  const char *path = image_below("images", 16);
  for (int way = 0; way < HIDDEN_WAYS; way++) {
    die_with_its_disk(path, "format: durable");
    break_fat(path);
    hide("images", way);
    answer a = ask("reap", "{}");
    CHECK_INT(a.code, 0);
    CHECK_INT(listed(&a, "busy"), 1);
    forget(&a);
    CHECK_INT(records_left(), 1);
    show("images", way);
    CHECK_TEXT(seen_in(path).fs, "vfat");
    CHECK_ANSWER(ask("reap", "{}"), 0);
    CHECK_INT(records_left(), 0);
    CHECK_TEXT(seen_in(path).fs, "");
  }
}

/* He lived when the list was read: his record was old when he was dead. */
static void ends_while_reaped(const scratch *s, const char *dies) {
  halfway h = halfway_to("format: wiped", dies);
  if (h.child == 0) {
    answer a = format_it(s->device, "{'fs':'vfat','label':'AFTER'}");
    _exit(a.code == 0 ? 0 : 1);
  }
  hold_at("reap: listed");
  saros_op *op = begin("reap", "{}");
  await_held();
  halfway_end(&h, dies != NULL);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen(s->fd).label, "AFTER");
}

TEST(one_that_ended_well_while_reaped_stays) {
  NEED("vfat");
  scratch s = scratch_of(16);
  ends_while_reaped(&s, "format: kept as made");
  ends_while_reaped(&s, NULL);
  drop(&s);
}

/* It shows itself as whole, and what is put on it would be lost. */
TEST(a_half_is_not_mounted) {
  NEED("vfat");
  char at[PATH_MAX];
  scratch s = scratch_of(16);
  mkdir(place("at"), 0700);
  CHECK(realpath(place("at"), at) != NULL);
  CHECK(die_at(s.device, "vfat", "format: durable"));
  break_fat(s.device);
  vds_identity who = identity_at(s.device);
  answer a = end_of(begin_with("mount", options_on(&who, "{'path':'%s'}", at)));
  CHECK_INT(a.code, VDS_E_VOLUME_NOT_HEALTHY);
  CHECK(said(&a, "format it anew"));
  forget(&a);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_ANSWER(
      end_of(begin_with("mount", options_on(&who, "{'path':'%s'}", at))),
      VDS_E_FS_NOT_DETERMINED);
  drop(&s);
}

static void all(void) {
  RUN(death_at_each_named_step_of_each);
  RUN(death_at_every_step);
  RUN(a_whole_fat_stays);
  RUN(a_fat_that_was_used_since_stays);
  RUN(a_fat_with_an_older_root_is_a_half);
  RUN(what_was_made_since_is_not_touched);
  RUN(a_half_that_is_held_stays_known);
  RUN(a_disk_that_went_with_its_process_is_known_by_its_file);
  RUN(a_file_that_is_no_disk_now_is_mended_as_one);
  RUN(a_file_that_cannot_be_had_now_is_not_gone);
  RUN(one_that_ended_well_while_reaped_stays);
  RUN(a_half_is_not_mounted);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
