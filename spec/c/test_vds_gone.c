/*
** Disks that go while somebody is at work on them: one that is pulled out
** (scsi_debug's, in a guest), and a virtual disk whose file lies on such a one.
*/
#include <dirent.h>

#include "vds_dm_case.h"

/* ------------------------------------------------------------------
** A disk that can be pulled out, and comes back
** ---------------------------------------------------------------- */

static char node[32]; /* /dev/sda */

static bool find_disk(void) {
  FILE *f = popen(
      "ls /sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/"
      "target*/[0-9]*:*/block 2>/dev/null",
      "r");
  char name[20] = "";
  bool found = f != NULL && fgets(name, sizeof name, f) != NULL;
  if (f != NULL) pclose(f);
  name[strcspn(name, "\n")] = '\0';
  snprintf(node, sizeof node, "/dev/%s", name);
  return found && access(node, F_OK) == 0;
}

static bool disk_there(void) {
  if (access("/sys/module/scsi_debug", F_OK) != 0)
    CHECK_INT(volumes_run("/run/busybox modprobe scsi_debug dev_size_mb=160 "
                          "delay=0"),
              0);
  for (int i = 0; i < VDS_CASE_BOUND / 20 && !find_disk(); i++) {
    volumes_run(
        "for h in /sys/class/scsi_host/host*; do "
        "grep -q scsi_debug $h/proc_name && echo '- - -' >$h/scan; "
        "done");
    nanosleep(&(struct timespec){0, 20000000}, NULL);
  }
  bool good = find_disk();
  CHECK(good);
  return good;
}

static void pull_out(void) {
  CHECK_INT(volumes_run("echo 1 >/sys/block/%s/device/delete", node + 5), 0);
}

/* Whoever has it open keeps its number, not its bytes. */
static bool is_gone(void) {
  char path[80];
  snprintf(path, sizeof path, "/sys/block/%s", node + 5);
  return access(path, F_OK) != 0;
}

static bool is_told(uint32_t code) {
  return code == VDS_E_OBJECT_DELETED || code == VDS_E_IO_ERROR;
}

/* With a partition that the kernel found by itself. */
static void part(const char *mkfs, char *at, size_t size) {
  snprintf(at, size, "%s1", node);
  CHECK_INT(volumes_run("wipefs -qaf %s; printf 'label: gpt\\n,100M\\n' | "
                        "sfdisk -qf %s && %s %s",
                        node, node, mkfs, at),
            0);
  CHECK(access(at, F_OK) == 0);
}

typedef struct pulled {
  const char *call, *options, *step, *mkfs; /* mkfs NULL: the whole disk */
} pulled;

static void pull(const pulled *p) {
  char at[40];
  if (!disk_there()) return;
  snprintf(at, sizeof at, "%s", node);
  if (p->mkfs != NULL)
    part(p->mkfs, at, sizeof at);
  else
    CHECK_INT(volumes_run("wipefs -qaf %s", node), 0);
  hold_at(p->step);
  saros_op *op = begin_at(at, p->call, "%s", p->options);
  await_held();
  pull_out();
  let_on();
  answer a = end_of(op);
  printf("  %s %s, pulled out behind %s: 0x%X %.200s\n", p->call, p->options,
         p->step, a.code, a.message);
  CHECK(is_told(a.code));
  forget(&a);
  CHECK(is_gone());
  answer disks = ask("disks", "{}"), volumes = ask("volumes", "{}");
  CHECK_INT(disks.code, 0);
  CHECK_INT(volumes.code, 0);
  forget(&disks);
  forget(&volumes);
  reap_all();
  /* What could be half waits for its disk, if anybody can tell it again. */
  if (disk_there()) reap_all();
  CHECK_INT(records_left(), 0);
}

static const char ext4[] = "mke2fs -q -F -t ext4";
static const char small[] = "sh -c 'mke2fs -q -F -t ext4 $0 60M'";

TEST(a_disk_is_pulled_out) {
  const pulled all[] = {
      {"clean", "{'full':true}", "zero: chunk", NULL},
      {"clean", "{}", "clean: without partitions", NULL},
      {"format", "{'fs':'ext4'}", "format: wiped", NULL},
      {"format", "{'fs':'vfat'}", "format: made", ":"},
      {"format", "{'fs':'ext4','quick':false}", "zero: chunk", ":"},
      {"initialize", "{'style':'gpt'}", "table: committed", NULL},
      {"create_partition", "{'size':8388608}", "table: part written", NULL},
      {"extend", "{}", "extend: recorded", ext4},
      {"extend", "{}", "extend: committed", small},
      {"shrink", "{}", "shrink: begun", ext4},
      {"shrink", "{}", "shrink: file system", ext4},
      {"check", "{}", "check: open", ext4},
      {"check", "{'repair':true}", "check: open", ext4},
      {"label", "{'label':'another'}", "label: open", ext4},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) pull(&all[i]);
}

/* Under a file system that is mounted. */
TEST(a_mounted_disk_is_pulled_out) {
  char at[40];
  const char *where = place("mounted");
  if (!disk_there()) return;
  part(small, at, sizeof at);
  mkdir(where, 0700);
  CHECK_INT(mount(at, where, "ext4", 0, NULL), 0);
  hold_at("extend: committed");
  saros_op *op = begin_at(at, "extend", "{}");
  await_held();
  pull_out();
  let_on();
  answer a = end_of(op);
  printf("  extend, mounted, pulled out: 0x%X %.200s\n", a.code, a.message);
  CHECK((a.code & 0x80000000u) != 0);
  forget(&a);
  a = ask("volumes", "{}");
  CHECK_INT(a.code, 0);
  forget(&a);
  CHECK_INT(umount2(where, 0), 0);
  reap_all();
  if (disk_there()) reap_all();
  CHECK_INT(records_left(), 0);
}

/* An object from before, and another disk with the same name. */
TEST(what_came_back_is_another_one) {
  if (!disk_there()) return;
  vds_identity who = identity_at(node);
  pull_out();
  answer a = end_of(begin_with("clean", options_on(&who, "{}")));
  CHECK_INT(a.code, VDS_E_OBJECT_DELETED);
  forget(&a);
  if (!disk_there()) return;
  a = end_of(begin_with("clean", options_on(&who, "{}")));
  printf("  clean of what came back: 0x%X %s\n", a.code, a.message);
  CHECK(a.code == VDS_E_OBJECT_OUT_OF_SYNC || a.code == VDS_E_OBJECT_DELETED);
  forget(&a);
}


/* ------------------------------------------------------------------
** A virtual disk whose file is gone with what it lies on
** ---------------------------------------------------------------- */

typedef struct lost {
  const char *call, *options, *step;
} lost;

static void lose(const lost *l) {
  shaky s;
  char image[300], path[80];
  const char *below = place("below");
  if (!shaky_make(&s, 96)) return;
  mkdir(below, 0700);
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s", s.node), 0);
  CHECK_INT(mount(s.node, below, "ext4", 0, NULL), 0);
  snprintf(image, sizeof image, "%s/disk.img", below);
  CHECK_INT(volumes_run("truncate -s 48M '%s' && mke2fs -q -F -t ext4 '%s' 32M",
                        image, image),
            0);
  CHECK_INT(umount2(below, 0), 0); /* and nothing of it is in memory */
  forget_pages(s.node);
  CHECK_INT(mount(s.node, below, "ext4", 0, NULL), 0);
  answer a = ask("attach", "{'path':'%s'}", image);
  CHECK_INT(a.code, 0);
  snprintf(path, sizeof path, "%s", text_of(a.output, "path"));
  forget(&a);
  forget_pages(path);
  const turn t = {l->step, "error", 0, s.size};
  a = ask_turned(&s, &t, path, l->call, l->options);
  tell(&a, l->call, l->options, &t);
  CHECK(is_told(a.code));
  forget(&a);
  a = ask("volumes", "{}");
  CHECK_INT(a.code, 0);
  forget(&a);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", image), 0);
  CHECK(loops_become(1));
  reap_all();
  shaky_heal(&s);
  CHECK_INT(umount2(below, 0), 0);
  CHECK_INT(volumes_run("e2fsck -fy %s >/dev/null 2>&1; [ $? -le 1 ]", s.node),
            0);
  CHECK_INT(mount(s.node, below, "ext4", 0, NULL), 0);
  /* What was half done to it waits until it is attached again. */
  CHECK_ANSWER(ask("attach", "{'path':'%s'}", image), 0);
  reap_all();
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", image), 0);
  CHECK_INT(records_left(), 0);
  CHECK_INT(umount2(below, 0), 0);
  shaky_end(&s);
}

TEST(what_a_virtual_disk_lies_on_is_lost) {
  const lost all[] = {{"format", "{'fs':'ext4'}", "format: wiped"},
                      {"clean", "{'full':true}", "clean: opened"},
                      {"extend", "{}", "extend: committed"},
                      {"shrink", "{}", "shrink: begun"},
                      {"check", "{}", "check: open"}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) lose(&all[i]);
}

TEST(in_a_guest) {
  const char *why = guest_run("-m 1024");
  if (why != NULL) SKIP(why);
}

static void guest(void) {
  RUN(a_disk_is_pulled_out);
  RUN(a_mounted_disk_is_pulled_out);
  RUN(what_came_back_is_another_one);
  RUN(what_a_virtual_disk_lies_on_is_lost);
}

static void all(void) {
  RUN(in_a_guest);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, in_the_guest() ? guest : all);
}
