/*
** Disks that others stand on, in a guest: device mapper, LVM, md, loop devices
** over all of that, and the disk that the system runs from. What is refused
** says who has it.
*/
#include "vds_dm_case.h"

static bool says(const answer *a, const char *what) {
  if (strstr(a->message, what) != NULL) return true;
  printf("  not said: '%s' in '%s'\n", what, a->message);
  return false;
}

typedef struct verb {
  const char *call, *options;
} verb;

static const verb disk_verbs[] = {
    {"clean", "{}"}, {"clean", "{'full':true}"}, {"format", "{'fs':'ext4'}"}};
static const verb part_verbs[] = {
    {"format", "{'fs':'ext4'}"}, {"shrink", "{}"}, {"delete_partition", "{}"}};

/* Whatever is forced: nobody takes it from under others. */
static void refused(const char *node, const verb *verbs, size_t count,
                    const char *holder) {
  for (size_t i = 0; i < count; i++) {
    char options[200];
    size_t n = strlen(verbs[i].options) - 1;
    snprintf(options, sizeof options,
             "%.*s%s'force':['mounted','swap','foreign']}", (int)n,
             verbs[i].options, n > 1 ? "," : "");
    if (strcmp(verbs[i].call, "shrink") == 0)
      snprintf(options, sizeof options, "{}");
    answer a = ask_at(node, verbs[i].call, "%s", options);
    printf("  %s %s: 0x%X %.200s\n", verbs[i].call, node, a.code, a.message);
    CHECK(a.code == VDS_E_OPERATION_DENIED || a.code == VDS_E_CANNOT_SHRINK);
    if (a.code == VDS_E_OPERATION_DENIED) CHECK(says(&a, holder));
    forget(&a);
  }
}
#define REFUSED(node, verbs, holder) \
  refused(node, verbs, sizeof(verbs) / sizeof(verbs)[0], holder)

/* Attached, with a partition of 16 MiB that the kernel has found. */
static int loop_with_part(char loop[32], char part[40], const char **image) {
  *image = make_image(24);
  CHECK_INT(volumes_run("printf 'label: gpt\n,16M\n' | sfdisk -q '%s'", *image),
            0);
  int fd = volumes_attach(*image, LO_FLAGS_PARTSCAN, 0, loop);
  snprintf(part, 40, "%sp1", loop);
  CHECK(fd >= 0 && access(part, F_OK) == 0);
  return fd;
}

TEST(a_device_of_the_mapper_holds_a_partition) {
  char loop[32], part[40];
  const char *image;
  int fd = loop_with_part(loop, part, &image);
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s && dmsetup create upon "
                        "--table \"0 $(blockdev --getsz %s) linear %s 0\"",
                        part, part, part),
            0);
  REFUSED(loop, disk_verbs, "dm-");
  REFUSED(part, part_verbs, "dm-");
  /* The uppermost one is free. */
  CHECK_ANSWER(ask_at("/dev/mapper/upon", "format", "{'fs':'ext4'}"), 0);
  CHECK_TEXT(fs_at("/dev/mapper/upon"), "ext4");
  CHECK_INT(records_left(), 0);
  CHECK_INT(volumes_run("dmsetup remove --retry upon"), 0);
  CHECK_ANSWER(ask_at(loop, "clean", "{}"), VDS_S_DISK_PARTIALLY_CLEANED);
  close(fd);
  CHECK(loops_become(0));
}

/* A loop device over a file in a file system on a mapped device. */
TEST(a_loop_device_holds_what_its_file_lies_on) {
  shaky s;
  char loop[32];
  const char *at = place("below");
  if (!shaky_make(&s, 32)) return;
  mkdir(at, 0700);
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s", s.node), 0);
  CHECK_INT(mount(s.node, at, "ext4", 0, NULL), 0);
  CHECK_INT(volumes_run("truncate -s 8M '%s/image'", at), 0);
  int fd = volumes_attach(place("below/image"), 0, 0, loop);
  CHECK(fd >= 0);
  REFUSED(s.node, disk_verbs, "loop");
  REFUSED(s.below, disk_verbs, "dm-");
  close(fd);
  CHECK(loops_become(1));
  /* And over the device itself. */
  CHECK_INT(umount2(at, 0), 0);
  fd = volumes_attach(s.node, 0, 0, loop);
  CHECK(fd >= 0);
  REFUSED(s.node, disk_verbs, "loop");
  close(fd);
  CHECK(loops_become(1));
  shaky_end(&s);
}

/* What the system boots from, through the device mapper; nothing forces it. The
   disk of the guest's own root can only be read. */
TEST(the_disk_of_the_system) {
  shaky s;
  if (!shaky_make(&s, 32)) return;
  mkdir("/boot", 0755);
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 %s", s.node), 0);
  CHECK_INT(mount(s.node, "/boot", "ext4", 0, NULL), 0);
  for (int below = 0; below < 2; below++) {
    const char *node = below ? s.below : s.node;
    answer a = ask("disk", "{'path':'%s'}", node);
    CHECK_INT(a.code, 0);
    CHECK(value_boolean(value_get(a.output, "system"), false));
    forget(&a);
    REFUSED(node, disk_verbs, "/boot");
    a = ask_at(node, "create_partition", "{'size':1048576}");
    CHECK((a.code & 0x80000000u) != 0);
    forget(&a);
  }
  CHECK_INT(umount2("/boot", 0), 0);
  shaky_end(&s);
  for (size_t i = 0; i < sizeof disk_verbs / sizeof *disk_verbs; i++)
    CHECK_ANSWER(
        ask_at("/dev/vda", disk_verbs[i].call, "%s", disk_verbs[i].options),
        VDS_E_MEDIA_WRITE_PROTECTED);
}


/* ------------------------------------------------------------------
** LVM, md
** ---------------------------------------------------------------- */

/* A field of its entry in the list of volumes; "" when it is not there. */
static const char *listed(const char *path, const char *field) {
  static char text[100];
  answer a = ask("volumes", "{}");
  text[0] = '\0';
  for (uint32_t i = 0; a.output != NULL && i < a.output->count; i++) {
    const value *one = a.output->as.items[i];
    if (strcmp(text_of(one, "path"), path) == 0)
      snprintf(text, sizeof text, "%s", text_of(one, field));
  }
  forget(&a);
  return text;
}

static void node_of(const char *path, char out[80]) {
  struct stat st;
  CHECK_INT(stat(path, &st), 0);
  snprintf(out, 80, "/dev/dm-%u", minor(st.st_rdev));
}

TEST(lvm) {
  char loop[2][32], node[80];
  int fd[2];
  for (int i = 0; i < 2; i++)
    fd[i] = volumes_attach(make_image(48), 0, 0, loop[i]);
  CHECK_INT(volumes_run("pvcreate -q %s %s >/dev/null && "
                        "vgcreate -q two %s %s >/dev/null && "
                        "lvcreate -q -y -n over -l 100%%FREE two >/dev/null",
                        loop[0], loop[1], loop[0], loop[1]),
            0);
  node_of("/dev/two/over", node);
  for (int i = 0; i < 2; i++) {
    CHECK_TEXT(fs_at(loop[i]), "LVM2_member");
    REFUSED(loop[i], disk_verbs, "dm-");
  }
  CHECK_ANSWER(ask_at(node, "format", "{'fs':'ext4','label':'upon'}"), 0);
  CHECK_TEXT(listed(node, "fs"), "ext4");
  CHECK_TEXT(listed(node, "label"), "upon");
  CHECK_ANSWER(ask_at(node, "check", "{}"), 0);
  CHECK_INT(volumes_run("vgchange -q -an two >/dev/null"), 0);
  /* Nobody stands on them now; they are still somebody's. */
  answer a = ask_at(loop[0], "clean", "{}");
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(says(&a, "LVM2_member"));
  forget(&a);
  CHECK_ANSWER(ask_at(loop[0], "clean", "{'force':['foreign']}"),
               VDS_S_DISK_PARTIALLY_CLEANED);
  CHECK_TEXT(fs_at(loop[0]), "raw");
  close(fd[0]);
  close(fd[1]);
  CHECK(loops_become(0));
}

TEST(md) {
  char loop[2][32];
  int fd[2];
  for (int i = 0; i < 2; i++)
    fd[i] = volumes_attach(make_image(24), 0, 0, loop[i]);
  CHECK_INT(volumes_run("mdadm --create /dev/md9 --run --quiet --level=1 "
                        "--raid-devices=2 --assume-clean --metadata=1.2 "
                        "%s %s 2>/dev/null",
                        loop[0], loop[1]),
            0);
  for (int i = 0; i < 2; i++) {
    CHECK_TEXT(fs_at(loop[i]), "linux_raid_member");
    REFUSED(loop[i], disk_verbs, "md9");
  }
  CHECK_ANSWER(ask_at("/dev/md9", "format", "{'fs':'ext4','label':'pair'}"), 0);
  CHECK_TEXT(listed("/dev/md9", "label"), "pair");
  CHECK_ANSWER(ask_at("/dev/md9", "check", "{}"), 0);
  CHECK_ANSWER(ask_at("/dev/md9", "clean", "{}"), VDS_S_DISK_PARTIALLY_CLEANED);
  CHECK_INT(volumes_run("mdadm --stop --quiet /dev/md9"), 0);
  answer a = ask_at(loop[0], "format", "{'fs':'ext4'}");
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(says(&a, "linux_raid_member"));
  forget(&a);
  close(fd[0]);
  close(fd[1]);
  CHECK(loops_become(0));
}

TEST(in_a_guest) {
  const char *why = guest_run("");
  if (why != NULL) SKIP(why);
}

static void guest(void) {
  RUN(a_device_of_the_mapper_holds_a_partition);
  RUN(a_loop_device_holds_what_its_file_lies_on);
  RUN(the_disk_of_the_system);
  RUN(lvm);
  RUN(md);
}

static void all(void) {
  RUN(in_a_guest);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, in_the_guest() ? guest : all);
}
