/*
** Disks that take what is written and forget it, and disks that stop to take
** it: in the middle of a table, a format, a shrink, a growth, a clean. What is
** said afterwards is what is there.
*/
#include "vds_dm_case.h"

/* What a work says when it is not done; a program's own words are no less. */
static bool is_failure(uint32_t code) {
  return (code & 0x80000000u) != 0;
}

static const char *const targets[] = {"drop_writes", "error_writes"};


/* ------------------------------------------------------------------
** Formats
** ---------------------------------------------------------------- */

/* Raw, or what had been there when nothing has reached it. */
static void format_on(shaky *s, int i, const turn *t) {
  const char *fs = fs_kinds[i].fs;
  char options[80];
  CHECK_INT(volumes_run("wipefs -qa %s; mkfs.vfat -n BEFORE %s >/dev/null",
                        s->node, s->node),
            0);
  keep_edges(s);
  snprintf(options, sizeof options, "{'fs':'%s'}", fs);
  answer a = ask_turned(s, t, s->node, "format", options);
  tell(&a, "format", fs, t);
  CHECK(is_failure(a.code));
  forget(&a);
  shaky_heal(s);
  if (strcmp(fs_at(s->node), "raw") != 0 && !has_edges(s))
    CHECK(strstr(fs_at(s->node), " failed") != NULL);
  reap_all();
  CHECK_INT(records_left(), 0);
  if (strcmp(fs_at(s->node), "raw") != 0) CHECK(has_edges(s));
}

TEST(formats_that_are_forgotten) {
  for (int i = 0; i < 5; i++) {
    shaky s;
    if (!shaky_make(&s, fs_kinds[i].megabytes)) return;
    for (int k = 0; k < 4; k++) {
      const turn t = {k < 2 ? "format: wiped" : "format: record written",
                      targets[k % 2], 0, s.size};
      format_on(&s, i, &t);
    }
    shaky_end(&s);
  }
}

/* All of it was written before: then it is there. */
TEST(a_format_that_was_written_is_there) {
  shaky s;
  if (!shaky_make(&s, 32)) return;
  const turn t = {"format: durable", "drop_writes", 0, s.size};
  answer a = ask_turned(&s, &t, s.node, "format", "{'fs':'ext4'}");
  tell(&a, "format", "ext4", &t);
  CHECK_INT(a.code, 0);
  forget(&a);
  shaky_heal(&s);
  CHECK_TEXT(fs_at(s.node), "ext4");
  CHECK_INT(volumes_run("e2fsck -fn %s >/dev/null 2>&1", s.node), 0);
  CHECK_INT(records_left(), 0);
  shaky_end(&s);
}


/* ------------------------------------------------------------------
** Tables
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
  CHECK(is_failure(a.code));
  forget(&a);
  shaky_heal(s);
  reap_all();
  CHECK_INT(records_left(), 0);
  CHECK(has_edges(s));
  CHECK_INT(partitions_of(loop), parts);
}

TEST(tables_that_are_forgotten) {
  static const struct {
    const char *call, *options;
    int parts;
  } calls[] = {{"create_partition", "{'size':2097152}", 1},
               {"delete_partition", "{'number':1}", 1},
               {"initialize", "{'style':'gpt'}", 0}};
  static const char *const steps[] = {"table: committed",
                                      "table: part written"};
  shaky s;
  char loop[32];
  if (!shaky_make(&s, 10)) return;
  int fd =
      volumes_attach(s.node, LO_FLAGS_DIRECT_IO | LO_FLAGS_PARTSCAN, 0, loop);
  CHECK(fd >= 0);
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 4; k++) {
      const turn t = {steps[k / 2], targets[k % 2], 0, s.size};
      write_on(&s, loop, calls[i].call, calls[i].options, calls[i].parts, &t);
    }
  close(fd);
  shaky_end(&s);
}


/* ------------------------------------------------------------------
** Other sizes, a label, a clean
** ---------------------------------------------------------------- */

/* A file system of 32 MiB on a disk of 48, with a file at its end. */
static void fill(const shaky *s, const char *mkfs, const char *fs) {
  const char *at = place("at");
  mkdir(at, 0700);
  CHECK_INT(volumes_run("wipefs -qa %s; %s", s->node, mkfs), 0);
  CHECK_INT(mount(s->node, at, fs, 0, NULL), 0);
  CHECK_INT(volumes_run("cd '%s' && seq 200000 >a && seq 300000 >b && "
                        "seq 400000 >c && rm a && cat b c | cksum >'%s'",
                        at, place("sum")),
            0);
  CHECK_INT(umount2(at, 0), 0);
}

static bool is_whole(const shaky *s, const char *fs, const char *check) {
  const char *at = place("at");
  bool good = volumes_run("%s %s >/dev/null 2>&1", check, s->node) == 0 &&
              mount(s->node, at, fs, MS_RDONLY, NULL) == 0;
  if (!good) return false;
  good = volumes_run("cd '%s' && cat b c | cksum | cmp -s - '%s'", at,
                     place("sum")) == 0;
  CHECK_INT(umount2(at, 0), 0);
  return good;
}

TEST(changes_of_an_ext4_that_are_forgotten) {
  char mkfs[80];
  static const char *const calls[][3] = {
      {"shrink", "{}", "shrink: begun"},
      {"extend", "{}", "extend: committed"},
      {"label", "{'label':'another'}", "label: open"}};
  shaky s;
  if (!shaky_make(&s, 48)) return;
  snprintf(mkfs, sizeof mkfs, "mke2fs -q -F -t ext4 %s 32M", s.node);
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 2; k++) {
      fill(&s, mkfs, "ext4");
      const turn t = {calls[i][2], targets[k], 0, s.size};
      answer a = ask_turned(&s, &t, s.node, calls[i][0], calls[i][1]);
      tell(&a, calls[i][0], calls[i][1], &t);
      CHECK(is_failure(a.code));
      forget(&a);
      shaky_heal(&s);
      reap_all();
      CHECK_INT(records_left(), 0);
      CHECK(is_whole(&s, "ext4", "e2fsck -fn"));
    }
  }
  shaky_end(&s);
}

/* Quick: its edges are looked at again, for it is for them that it is done. */
TEST(a_clean_that_is_forgotten) {
  shaky s;
  if (!shaky_make(&s, 24)) return;
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s", s.node), 0);
  for (int k = 0; k < 4; k++) {
    const turn t = {"clean: opened", targets[k % 2], 0, s.size};
    const char *how = k < 2 ? "{}" : "{'full':true}";
    answer a = ask_turned(&s, &t, s.node, "clean", how);
    tell(&a, "clean", how, &t);
    CHECK_INT(a.code, VDS_E_IO_ERROR);
    forget(&a);
    shaky_heal(&s);
    CHECK_TEXT(fs_at(s.node), "ext4");
    CHECK_INT(volumes_run("e2fsck -fn %s >/dev/null 2>&1", s.node), 0);
    CHECK_INT(records_left(), 0);
  }
  shaky_end(&s);
}

TEST(in_a_guest) {
  const char *why = guest_run("");
  if (why != NULL) SKIP(why);
}

static void guest(void) {
  RUN(formats_that_are_forgotten);
  RUN(a_format_that_was_written_is_there);
  RUN(tables_that_are_forgotten);
  RUN(changes_of_an_ext4_that_are_forgotten);
  RUN(a_clean_that_is_forgotten);
}

static void all(void) {
  RUN(in_a_guest);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, in_the_guest() ? guest : all);
}
