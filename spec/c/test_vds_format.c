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
  CHECK_INT(volumes_run("printf 'label: gpt\\n,16M\\n' | sfdisk -q '%s' "
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
  if (mount("/dev/null", maker, NULL, MS_BIND, NULL) != 0) {
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

static void all(void) {
  RUN(an_ext4_is_made);
  RUN(an_xfs_is_made);
  RUN(a_btrfs_is_made);
  RUN(a_vfat_is_made);
  RUN(a_swap_is_made);
  RUN(what_cannot_be_is_refused_before_anything_is_lost);
  RUN(a_plan_changes_nothing);
  RUN(what_is_mounted_is_formatted_only_when_forced);
  RUN(a_disk_with_a_table_is_refused);
  RUN(a50_a_missing_maker_names_its_package_and_nothing_is_lost);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
