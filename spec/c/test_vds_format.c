/*
** Formatting: what is made, what is refused before anything is lost, what a
** cancel leaves, and what is said of devices that fail.
*/
#include "vds_format_case.h"

static void make_one(const char *fs, unsigned megabytes, const char *label) {
  scratch s = scratch_of(megabytes);
  answer a = format_it(s.device, "{'fs':'%s','label':'%s'}", fs, label);
  if (a.code != 0) printf("%s: %s\n", fs, a.message);
  CHECK_INT(a.code, 0);
  const value *made = value_get(a.output, "volume");
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 101);
  CHECK_TEXT(text_of(made, "fs"), fs);
  CHECK_TEXT(text_of(made, "label"), label);
  CHECK_TEXT(text_of(made, "path"), s.device);
  CHECK_TEXT(text_of(made, "health"), "healthy");
  CHECK_TEXT(text_of(made, "transition"), "stable");
  vds_probe p = seen(s.fd);
  CHECK_TEXT(p.uuid, text_of(made, "uuid"));
  CHECK(p.uuid[0] != '\0');
  forget(&a);
  check_is_good(fs, s.device);
  CHECK_INT(records_left(), 0);
  drop(&s);
}

TEST(an_ext4_is_made) {
  NEED("ext4");
  make_one("ext4", 32, "scratch");
}

TEST(an_xfs_is_made) {
  NEED("xfs");
  make_one("xfs", 320, "scratch");
}

TEST(a_btrfs_is_made) {
  NEED("btrfs");
  make_one("btrfs", 128, "scratch");
}

TEST(a_vfat_is_made) {
  NEED("vfat");
  make_one("vfat", 32, "SCRATCH");
}

TEST(a_swap_is_made) {
  NEED("swap");
  make_one("swap", 16, "scratch");
}

/* Nothing is lost by what is refused: it is what it was. */
TEST(what_cannot_be_is_refused_before_anything_is_lost) {
  NEED("ext4");
  static const struct {
    const char *options;
    uint32_t code;
    const char *says;
  } cases[] = {
      {"{'fs':'zfs'}", VDS_E_INVALID_FS_TYPE,
       "ext4, xfs, btrfs, vfat and swap"},
      {"{}", VDS_E_INVALID_FS_TYPE, "ext4"},
      {"{'fs':'xfs'}", VDS_E_VOLUME_TOO_SMALL, "314572800"},
      {"{'fs':'ext4','label':'12345678901234567'}", VDS_E_BAD_LABEL,
       "17 bytes"},
      {"{'fs':'ext4','label':'a\\nb'}", VDS_E_BAD_LABEL, "control"},
      {"{'fs':'ext4','label':'a\\u0000b'}", VDS_E_BAD_LABEL, "control"},
      {"{'fs':'vfat','label':'a/b'}", VDS_E_BAD_LABEL, "'/'"},
      {"{'fs':'vfat','label':'\\u00e4'}", VDS_E_BAD_LABEL, "ASCII"},
      {"{'fs':'vfat','label':' a'}", VDS_E_BAD_LABEL, "space"},
      {"{'fs':'ext4','block':3000}", SAROS_E_INVALIDARG, "power of two"},
      {"{'fs':'ext4','block':512}", SAROS_E_INVALIDARG, "1024"},
      {"{'fs':'swap','block':4096}", SAROS_E_INVALIDARG, "chosen"},
      {"{'fs':'ext4','block':-1024}", SAROS_E_INVALIDARG, "power of two"},
      {"{'fs':'ext4','force':true}", SAROS_E_INVALIDARG, "force"}};
  scratch s = scratch_of(16);
  CHECK_ANSWER(format_it(s.device, "{'fs':'ext4','label':'before'}"), 0);
  vds_probe before = seen(s.fd);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    answer a = format_it(s.device, "%s", cases[i].options);
    CHECK_INT(a.code, cases[i].code);
    CHECK(said(&a, cases[i].says));
    forget(&a);
  }
  vds_probe after = seen(s.fd);
  CHECK_TEXT(after.uuid, before.uuid);
  CHECK_TEXT(after.label, "before");
  CHECK_ANSWER(ask("format", "{'fs':'ext4'}"), SAROS_E_INVALIDARG);
  CHECK_INT(records_left(), 0);
  drop(&s);
}

static bool plan_says(const scratch *s, const char *fs, const char *danger) {
  answer a = format_it(s->device, "{'fs':'%s','plan':true}", fs);
  CHECK_INT(a.code, 0);
  const value *denied = value_get(a.output, "denied");
  bool said = denied != NULL && denied->count == 1 &&
              strcmp(text_of(denied->as.items[0], "danger"), danger) == 0 &&
              !value_boolean(value_get(a.output, "allowed"), true);
  forget(&a);
  return said;
}

/* Who has it and has no name, and what cannot be there. */
TEST(a_plan_says_what_the_call_would_meet) {
  NEED("xfs");
  scratch s = scratch_of(16);
  CHECK(plan_says(&s, "xfs", "impossible"));
  int fd = open(s.device, O_RDONLY | O_EXCL | O_CLOEXEC);
  CHECK(fd >= 0);
  CHECK(plan_says(&s, "swap", "held"));
  somebody_stays = true;
  CHECK_ANSWER(format_it(s.device, "{'fs':'swap'}"), VDS_E_DEVICE_IN_USE);
  somebody_stays = false;
  close(fd);
  drop(&s);
}

TEST(a_plan_changes_nothing) {
  NEED("ext4");
  scratch s = scratch_of(16);
  CHECK_ANSWER(format_it(s.device, "{'fs':'ext4','label':'before'}"), 0);
  answer a = format_it(s.device, "{'fs':'swap','plan':true}");
  CHECK_INT(a.code, 0);
  CHECK(value_boolean(value_get(a.output, "allowed"), false));
  const value *lost = value_get(value_get(a.output, "lost"), "file_systems");
  CHECK(lost != NULL && lost->count == 1);
  if (lost != NULL && lost->count == 1)
    CHECK_TEXT(text_of(lost->as.items[0], "label"), "before");
  forget(&a);
  CHECK_TEXT(seen(s.fd).label, "before");
  drop(&s);
}

TEST(what_is_mounted_is_formatted_only_when_forced) {
  NEED("ext4");
  scratch s = scratch_of(16);
  const char *at = place("at");
  mkdir(at, 0700);
  CHECK_ANSWER(format_it(s.device, "{'fs':'ext4','label':'before'}"), 0);
  if (mount(s.device, at, "ext4", 0, NULL) != 0)
    SKIP("no ext4 can be mounted here");
  answer a = format_it(s.device, "{'fs':'swap'}");
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(said(&a, "is mounted at"));
  forget(&a);
  CHECK_TEXT(seen(s.fd).label, "before");
  CHECK_ANSWER(format_it(s.device, "{'fs':'swap','force':['mounted']}"), 0);
  CHECK_TEXT(seen(s.fd).fs, "swap");
  CHECK_INT(umount2(at, 0), -1);
  drop(&s);
}

TEST(a_disk_with_a_table_is_refused) {
  NEED("ext4");
  if (!volumes_have("sfdisk")) SKIP("no sfdisk: apt-get install fdisk");
  const char *path = make_image(32);
  CHECK_INT(
      volumes_run(
          "printf 'label: gpt\\n,16M\\n' | sfdisk -q --no-tell-kernel '%s' "
          ">/dev/null 2>&1",
          path),
      0);
  answer a = ask("attach", "{'path':'%s'}", path);
  CHECK_INT(a.code, 0);
  char node[80], part[90];
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  snprintf(part, sizeof part, "%sp1", node);
  forget(&a);
  a = format_it(node, "{'fs':'ext4'}");
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(said(&a, "clean the disk"));
  forget(&a);
  a = format_it(node, "{'fs':'ext4','plan':true}");
  CHECK_INT(a.code, 0);
  CHECK(!value_boolean(value_get(a.output, "allowed"), true));
  forget(&a);
  /* Its partition is another matter. */
  CHECK_ANSWER(format_it(part, "{'fs':'ext4','label':'one'}"), 0);
  a = ask("volume", "{'path':'%s'}", part);
  CHECK_TEXT(text_of(a.output, "label"), "one");
  CHECK_TEXT(text_of(a.output, "fs"), "ext4");
  forget(&a);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
}

/* An empty file where the program was. */
TEST(a50_a_missing_maker_names_its_package_and_nothing_is_lost) {
  NEED("xfs");
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  char maker[300] = "";
  FILE *f = popen(
      "PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:"
      "/usr/bin:/bin; readlink -f \"$(command -v mkfs.xfs)\"",
      "r");
  CHECK(f != NULL && fgets(maker, sizeof maker, f) != NULL);
  if (f != NULL) pclose(f);
  maker[strcspn(maker, "\n")] = '\0';
  scratch s = scratch_of(320);
  CHECK_ANSWER(format_it(s.device, "{'fs':'swap','label':'before'}"), 0);
  if (mount("/dev/null", maker, "none", MS_BIND, NULL) != 0) {
    drop(&s);
    SKIP("nothing can be mounted over a program here");
  }
  answer a = format_it(s.device, "{'fs':'xfs'}");
  CHECK_INT(umount2(maker, 0), 0);
  CHECK_INT(a.code, 0x80070002u);
  CHECK(said(&a, "mkfs.xfs"));
  CHECK(said(&a, "apt-get install xfsprogs"));
  forget(&a);
  CHECK_TEXT(seen(s.fd).label, "before");
  CHECK_INT(records_left(), 0);
  drop(&s);
}

/* ------------------------------------------------------------------
** Full ones
** ---------------------------------------------------------------- */

/* Nothing of what was there is left anywhere. */
TEST(a_full_one_leaves_nothing_of_what_was_there) {
  NEED("ext4");
  static const char secret[] = "what was there before";
  scratch s = scratch_of(80);
  char buffer_[sizeof secret];
  for (off_t at = 3 << 20; at < 80 << 20; at += 7 << 20)
    CHECK_INT(pwrite(s.fd, secret, sizeof secret, at), sizeof secret);
  CHECK_INT(fsync(s.fd), 0);
  CHECK_ANSWER(format_it(s.device, "{'fs':'ext4','quick':false}"), 0);
  for (off_t at = 3 << 20; at < 80 << 20; at += 7 << 20) {
    CHECK_INT(pread(s.fd, buffer_, sizeof secret, at), sizeof secret);
    CHECK(memcmp(buffer_, secret, sizeof secret) != 0);
  }
  check_is_good("ext4", s.device);
  drop(&s);
}

TEST(each_can_be_full_and_have_blocks) {
  static const struct {
    const char *fs, *block;
    unsigned megabytes;
  } cases[] = {{"ext4", "2048", 16},
               {"xfs", "1024", 320},
               {"btrfs", "4096", 128},
               {"vfat", "4096", 32},
               {"swap", "0", 16}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (missing(cases[i].fs) != NULL) {
      printf("left out: %s: %s\n", cases[i].fs, missing(cases[i].fs));
      continue;
    }
    scratch s = scratch_of(cases[i].megabytes);
    CHECK_ANSWER(format_it(s.device, "{'fs':'%s','quick':false,'block':%s}",
                           cases[i].fs, cases[i].block),
                 0);
    CHECK_TEXT(seen(s.fd).fs, cases[i].fs);
    check_is_good(cases[i].fs, s.device);
    vds_probe p = seen(s.fd);
    vds_usage u;
    if (i < 2) {
      CHECK(vds_probe_usage(s.fd, &p, &u));
      CHECK_INT(u.block, atoi(cases[i].block));
    }
    drop(&s);
  }
}


static saros_op *polled;
static uint32_t polled_last, polled_times;

/* At each step of it, from where it works. */
static void poll_it(const char *step) {
  uint32_t hr = 0, percent = 0;
  if (polled == NULL) {
    hold_hook(step);
    return;
  }
  CHECK_INT(saros_vds_query_status(polled, &hr, &percent), 0);
  CHECK_INT(hr, PENDING);
  CHECK(percent <= 99 && percent >= polled_last);
  if (strcmp(step, "format: zeroed") == 0) CHECK_INT(percent, 90);
  if (strcmp(step, "format: committed") == 0) CHECK_INT(percent, 99);
  polled_last = percent;
  polled_times++;
}

TEST(a32_a33_a41_a42_a52_a_full_one_at_each_step) {
  NEED("ext4");
  scratch s = scratch_of(200);
  polled = NULL;
  polled_last = polled_times = 0;
  hold_at("format: record written");
  atomic_store(&vds_hook, poll_it);
  saros_op *op = start(s.device, "{'fs':'ext4','quick':false}");
  await_held();
  polled = op;
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  atomic_store(&vds_hook, NULL);
  polled = NULL;
  CHECK(polled_times > 6);
  drop(&s);
}


/* ------------------------------------------------------------------
** Cancelled, and what fails
** ---------------------------------------------------------------- */

/* Whether what was there before is still there; that it is gone is said. */
static bool cancel_at(const scratch *s, const char *step) {
  CHECK_ANSWER(format_it(s->device, "{'fs':'ext4','label':'before'}"), 0);
  hold_at(step);
  saros_op *op = start(s->device, "{'fs':'ext4','quick':false}");
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  let_on();
  answer a = end_of(op);
  CHECK_INT(a.code, VDS_E_OPERATION_CANCELED);
  CHECK_INT(records_left(), 0);
  vds_probe p = seen(s->fd);
  bool left = strcmp(p.label, "before") == 0;
  CHECK(left || p.fs[0] == '\0');
  CHECK(left || strstr(cleanup_of(a.op), "before") != NULL);
  forget(&a);
  return left;
}

TEST(a_cancelled_one_is_as_it_was_or_raw) {
  NEED("ext4");
  scratch s = scratch_of(80);
  CHECK(cancel_at(&s, "format: record written"));
  CHECK(!cancel_at(&s, "format: wiped"));
  CHECK(!cancel_at(&s, "zero: chunk"));
  CHECK(!cancel_at(&s, "format: zeroed"));
  CHECK(!cancel_at(&s, "tool: looked"));
  CHECK(!cancel_at(&s, "format: made"));
  CHECK(!cancel_at(&s, "format: looked at"));
  CHECK(!cancel_at(&s, "format: durable"));
  drop(&s);
}

TEST(committed_it_is_too_late) {
  NEED("ext4");
  scratch s = scratch_of(16);
  hold_at("format: committed");
  saros_op *op = start(s.device, "{'fs':'ext4','label':'after'}");
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  /* One at a time. */
  CHECK_ANSWER(format_it(s.device, "{'fs':'swap'}"),
               VDS_E_ANOTHER_CALL_IN_PROGRESS);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_TEXT(seen(s.fd).label, "after");
  drop(&s);
}

/* The image lies on a disk that is full. */
TEST(a49_a_full_disk_under_the_image) {
  NEED("ext4");
  const char *dir = place("tiny");
  char image[300], device[32];
  mkdir(dir, 0700);
  if (mount("tiny", dir, "tmpfs", 0, "size=32k") != 0)
    SKIP("no tmpfs can be mounted here");
  snprintf(image, sizeof image, "%s/x.img", dir);
  int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 64 << 20) == 0);
  if (fd >= 0) close(fd);
  int loop = volumes_attach(image, 0, 0, device);
  CHECK(loop >= 0);
  CHECK_ANSWER(format_it(device, "{'fs':'ext4'}"), 0x80070070u);
  CHECK_TEXT(seen(loop).fs, "");
  close(loop);
  unlink(image);
  umount2(dir, MNT_DETACH);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
}

/* The file behind the disk is shorter by now, or gets so in the middle: nothing
   is believed that cannot be read. */
TEST(a_truncated_file_behind_it) {
  NEED("ext4");
  scratch s = scratch_of(64);
  CHECK_INT(truncate(s.image, 1 << 20), 0);
  CHECK_ANSWER(format_it(s.device, "{'fs':'ext4'}"), VDS_E_IO_ERROR);
  CHECK_INT(records_left(), 0);
  CHECK_INT(truncate(s.image, 64 << 20), 0);
  hold_at("format: wiped");
  saros_op *op = start(s.device, "{'fs':'ext4'}");
  await_held();
  CHECK_INT(truncate(s.image, 0), 0);
  let_on();
  CHECK_ANSWER(end_of(op), VDS_E_IO_ERROR);
  /* Its end may not have been mended; then that is known. */
  CHECK_INT(truncate(s.image, 64 << 20), 0);
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(seen(s.fd).fs, "");
  drop(&s);
}

/* Whichever of its allocations fails, it ends, nothing is left that nobody
   knows of, and the volume is what it was, raw, or new. */
TEST(a48_without_memory_nothing_is_left) {
  NEED("ext4");
  scratch s = scratch_of(16);
  bool more = true;
  long n = 1;
  CHECK_ANSWER(format_it(s.device, "{'fs':'swap','label':'before'}"), 0);
  for (; more; n += is_brief() ? 149 : 29) {
    vds_identity who = identity_at(s.device);
    value *options = options_on(&who, "{'fs':'swap','label':'before'}");
    value_put(options, "state_dir", value_text(state_place()));
    uint32_t why = 0, percent = 0, code = 0;
    mem_fail_at(n);
    saros_op *op = vds_call_begin(vds_work_find("format"), options, NULL, &why);
    if (op != NULL) {
      CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
      CHECK_INT(saros_vds_query_status(op, &code, &percent), 0);
      saros_op_unref(op);
    } else {
      code = why;
    }
    more = mem_fail_left() == 0;
    mem_fail_at(0);
    if (code != 0) CHECK_INT(code, 0x8007000Eu);
    CHECK_INT(records_left(), 0);
    vds_probe p = seen(s.fd);
    CHECK(p.fs[0] == '\0' || strcmp(p.label, "before") == 0);
  }
  CHECK(n > 10);
  drop(&s);
}

static void all(void) {
  RUN(an_ext4_is_made);
  RUN(an_xfs_is_made);
  RUN(a_btrfs_is_made);
  RUN(a_vfat_is_made);
  RUN(a_swap_is_made);
  RUN(what_cannot_be_is_refused_before_anything_is_lost);
  RUN(a_plan_changes_nothing);
  RUN(a_plan_says_what_the_call_would_meet);
  RUN(what_is_mounted_is_formatted_only_when_forced);
  RUN(a_disk_with_a_table_is_refused);
  RUN(a50_a_missing_maker_names_its_package_and_nothing_is_lost);
  RUN(a_full_one_leaves_nothing_of_what_was_there);
  RUN(each_can_be_full_and_have_blocks);
  RUN(a32_a33_a41_a42_a52_a_full_one_at_each_step);
  RUN(a_cancelled_one_is_as_it_was_or_raw);
  RUN(committed_it_is_too_late);
  RUN(a49_a_full_disk_under_the_image);
  RUN(a_truncated_file_behind_it);
  RUN(a48_without_memory_nothing_is_left);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
