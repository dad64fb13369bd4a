/*
** Disks with sectors that can neither be read nor written, and such that can be
** read alone: what is said of them, and what is there afterwards.
*/
#include "vds_dm_case.h"

/* ------------------------------------------------------------------
** Clean
** ---------------------------------------------------------------- */

/* One range, or several that touch. */
static void check_listed(const value *failed, uint64_t from, uint64_t size) {
  uint64_t end = from;
  for (uint32_t n = 0; failed != NULL && n < failed->count; n++) {
    const value *one = failed->as.items[n];
    CHECK_INT(value_integer(value_get(one, "offset"), -1), end);
    end += (uint64_t)value_integer(value_get(one, "size"), 0);
  }
  CHECK_INT(end, from + size);
}

/* Not at the edges of anything, and one of a single sector. */
TEST(bad_sectors_are_skipped_and_listed) {
  static const struct {
    uint64_t from, size;
  } bad[] = {{5 * MIB + 512, 3 * 512}, {16 * MIB - 512, 1024}};
  shaky s;
  if (!shaky_make(&s, 24)) return;
  for (int i = 0; i < 2; i++) {
    const turn t = {NULL, "error", bad[i].from, bad[i].size};
    answer a = ask_turned(&s, &t, s.node, "clean", "{'full':true}");
    tell(&a, "clean", "full", &t);
    CHECK_INT(a.code, VDS_S_DISK_PARTIALLY_CLEANED);
    CHECK_INT(value_integer(value_get(a.output, "bytes"), 0),
              s.size - bad[i].size);
    const value *failed = value_get(a.output, "failed");
    check_listed(failed, bad[i].from, bad[i].size);
    forget(&a);
    shaky_heal(&s);
  }
  shaky_end(&s);
}

/* What cannot be written there cannot be read either: it is listed, as with a
   full one. */
TEST(an_edge_that_is_bad_is_listed) {
  shaky s;
  if (!shaky_make(&s, 24)) return;
  for (int last = 0; last < 2; last++) {
    CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s", s.node), 0);
    const turn t = {"clean: opened", "error",
                    last ? s.size - 64 * 512 : 64 * 1024, 512};
    answer a = ask_turned(&s, &t, s.node, "clean", "{}");
    tell(&a, "clean", "quick", &t);
    CHECK_INT(a.code, VDS_S_DISK_PARTIALLY_CLEANED);
    check_listed(value_get(a.output, "failed"), t.from, t.size);
    CHECK_INT(records_left(), 0);
    forget(&a);
    shaky_heal(&s);
    CHECK_TEXT(fs_at(s.node), "raw");
  }
  shaky_end(&s);
}

/* The end goes before the beginning: it is what it was. */
TEST(a_clean_without_a_writable_sector) {
  shaky s;
  if (!shaky_make(&s, 24)) return;
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s", s.node), 0);
  for (int full = 0; full < 2; full++) {
    const turn t = {"clean: opened", "error", 0, s.size};
    const char *how = full ? "{'full':true}" : "{}";
    answer a = ask_turned(&s, &t, s.node, "clean", how);
    tell(&a, "clean", how, &t);
    CHECK_INT(a.code, VDS_E_IO_ERROR);
    CHECK_INT(records_left(), 0);
    forget(&a);
    shaky_heal(&s);
    CHECK_TEXT(fs_at(s.node), "ext4");
    CHECK_INT(volumes_run("e2fsck -fn %s >/dev/null 2>&1", s.node), 0);
  }
  shaky_end(&s);
}


/* ------------------------------------------------------------------
** Format
** ---------------------------------------------------------------- */

/* It is whole, or it is raw. */
static void format_on(shaky *s, int i, const turn *t) {
  const char *fs = fs_kinds[i].fs;
  char options[80];
  snprintf(options, sizeof options, "{'fs':'%s'}", fs);
  answer a = ask_turned(s, t, s->node, "format", options);
  tell(&a, "format", fs, t);
  if (a.code != 0) CHECK_INT(a.code, VDS_E_IO_ERROR);
  bool made = a.code == 0;
  forget(&a);
  if (!made) CHECK(strcmp(fs_at(s->node), fs) != 0);
  shaky_heal(s);
  reap_all();
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(fs_at(s->node), made ? fs : "raw");
  if (made)
    CHECK_INT(volumes_run("%s %s >/dev/null 2>&1", fs_kinds[i].check, s->node),
              0);
  CHECK_INT(volumes_run("wipefs -qa %s", s->node), 0);
}

/* Of the places some are never written by some of them. */
TEST(formats_of_bad_disks) {
  static const char wiped[] = "format: wiped";
  for (int i = 0; i < 5; i++) {
    shaky s;
    if (!shaky_make(&s, fs_kinds[i].megabytes)) return;
    const turn turns[] = {{NULL, "error", 0, 8192},
                          {wiped, "error", 0, 8192},
                          {wiped, "error", 64 << 10, 8192},
                          {wiped, "error", 1 * MIB, 8192},
                          {wiped, "error", s.size / 2, 8192},
                          {wiped, "error", 0, s.size},
                          {"format: made", "error", 0, s.size}};
    for (size_t at = 0; at < sizeof turns / sizeof *turns; at++)
      format_on(&s, i, &turns[at]);
    shaky_end(&s);
  }
}

/* Every byte is written: whatever is bad ends it. */
TEST(a_full_format_finds_all_that_is_bad) {
  shaky s;
  if (!shaky_make(&s, 32)) return;
  const turn t = {NULL, "error", 20 * MIB + 512, 512};
  answer a =
      ask_turned(&s, &t, s.node, "format", "{'fs':'ext4','quick':false}");
  tell(&a, "format", "full", &t);
  CHECK_INT(a.code, VDS_E_IO_ERROR);
  CHECK(strstr(a.message, "too many") == NULL);
  forget(&a);
  CHECK_INT(records_left(), 0);
  CHECK_TEXT(fs_at(s.node), "raw");
  shaky_end(&s);
}


/* ------------------------------------------------------------------
** Tables: a loop device over it, which the kernel looks for partitions on
** ---------------------------------------------------------------- */

static void write_on(shaky *s, const char *loop, const char *call,
                     const char *options, int parts, const turn *t) {
  const char *table = parts > 0 ? "label: gpt\\n,4M\\n" : "";
  CHECK_INT(volumes_run("wipefs -qaf %s; [ -z '%s' ] || printf '%s' | "
                        "sfdisk -qf %s",
                        loop, table, table, loop),
            0);
  CHECK_INT(partitions_of(loop), parts);
  keep_edges(s);
  answer a = ask_turned(s, t, loop, call, options);
  tell(&a, call, options, t);
  CHECK_INT(a.code, VDS_E_IO_ERROR);
  forget(&a);
  shaky_heal(s);
  reap_all();
  CHECK_INT(records_left(), 0);
  CHECK(has_edges(s));
  CHECK_INT(partitions_of(loop), parts);
}

TEST(tables_are_old_or_new) {
  static const struct {
    const char *call, *options;
    int parts;
  } calls[] = {{"create_partition", "{'size':2097152}", 1},
               {"delete_partition", "{'number':1}", 1},
               {"initialize", "{'style':'gpt'}", 0}};
  shaky s;
  char loop[32];
  if (!shaky_make(&s, 10)) return;
  int fd =
      volumes_attach(s.node, LO_FLAGS_DIRECT_IO | LO_FLAGS_PARTSCAN, 0, loop);
  CHECK(fd >= 0);
  /* The header, the entries, those of the backup, its header, and all. */
  const turn turns[] = {{"table: committed", "error", 512, 512},
                        {"table: committed", "error", 1024, 512},
                        {"table: committed", "error", s.size - 33 * 512, 512},
                        {"table: committed", "error", s.size - 512, 512},
                        {"table: part written", "error", 0, s.size}};
  for (int i = 0; i < 3; i++)
    for (size_t at = 0; at < sizeof turns / sizeof *turns; at++)
      write_on(&s, loop, calls[i].call, calls[i].options, calls[i].parts,
               &turns[at]);
  close(fd);
  shaky_end(&s);
}

TEST(in_a_guest) {
  const char *why = guest_run("");
  if (why != NULL) SKIP(why);
}

static void guest(void) {
  RUN(bad_sectors_are_skipped_and_listed);
  RUN(an_edge_that_is_bad_is_listed);
  RUN(a_clean_without_a_writable_sector);
  RUN(formats_of_bad_disks);
  RUN(a_full_format_finds_all_that_is_bad);
  RUN(tables_are_old_or_new);
}

static void all(void) {
  RUN(in_a_guest);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, in_the_guest() ? guest : all);
}
