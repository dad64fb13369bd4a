/*
** Tables that are damaged, or others', or the system's: what is read of them,
** and what is refused.
*/
#include "table_case.h"

#include "vds/blkpg.h"
#include "vds/table_parts.h"

#define MIB 1048576


/* ------------------------------------------------------------------
** Damaged
** ---------------------------------------------------------------- */

static void spoil(const disk *d, off_t at, size_t size) {
  char junk[4096];
  memset(junk, 'j', sizeof junk);
  int fd = open(d->node, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pwrite(fd, junk, size, at) == (ssize_t)size);
  if (fd >= 0) fsync(fd);
  if (fd >= 0) close(fd);
}

static void one_copy_spoiled(off_t at, size_t size) {
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  spoil(&d, at, size);
  answer a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "style"), "gpt");
  CHECK_TEXT(text_of(a.output, "health"), "failing");
  CHECK(text_of(a.output, "error")[0] != '\0');
  const value *table = value_get(a.output, "table");
  CHECK(table != NULL && table->count == 1);
  forget(&a);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK(is_sound(&d)); /* and so the other copy is whole again */
  a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "health"), "healthy");
  forget(&a);
  drop(&d);
}

TEST(a_gpt_with_one_copy_is_read_and_mended) {
  NEED_DISKS();
  one_copy_spoiled(512, 512);                   /* the first header */
  one_copy_spoiled(1024, 128);                  /* an entry */
  one_copy_spoiled((off_t)16 * MIB - 512, 512); /* the last header */
}

TEST(a_gpt_without_any_copy_is_no_empty_disk) {
  NEED_DISKS();
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  spoil(&d, 0, 512); /* the protective MBR alone: both headers are there */
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB),
               VDS_E_CORRUPT_PARTITION_INFO);
  drop(&d);
  d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  spoil(&d, 512, 512);
  spoil(&d, (off_t)16 * MIB - 512, 512);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB),
               VDS_E_CORRUPT_PARTITION_INFO);
  answer a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "health"), "failing");
  forget(&a);
  drop(&d);
}

/* Partitions over each other, beyond the end, and a chain that is a ring. */
TEST(hostile_mbrs) {
  NEED_DISKS();
  static const unsigned char entries[][16] = {
      {0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x40, 0, 0},
      {0, 0, 0, 0, 0x83, 0, 0, 0, 0, 16, 0, 0, 0, 0x40, 0, 0},
      {0, 0, 0, 0, 0x83, 0, 0, 0, 0, 0, 0, 0xF0, 0, 0, 0, 0xF0},
      {0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0x60, 0, 0, 0, 0x10, 0, 0}};
  unsigned char s[512] = {0};
  disk d = new_disk(16);
  memcpy(s + 446, entries, sizeof entries);
  s[510] = 0x55;
  s[511] = 0xAA;
  int fd = open(d.node, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pwrite(fd, s, sizeof s, 0) == (ssize_t)sizeof s);
  memcpy(s + 446, entries[0], 16);
  memset(s + 462, 0, 48);
  s[462 + 4] = 0x05; /* the next one is this one */
  s[462 + 12] = 1;
  CHECK(fd >= 0 &&
        pwrite(fd, s, sizeof s, (off_t)0x6000 * 512) == (ssize_t)sizeof s);
  fsync(fd);
  close(fd);
  answer a = ask_on("disk", d.object, "{}");
  CHECK_INT(a.code, 0);
  CHECK_TEXT(text_of(a.output, "style"), "mbr");
  CHECK_TEXT(text_of(a.output, "health"), "failing");
  forget(&a);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{}"),
               VDS_E_CORRUPT_PARTITION_INFO);
  error *e = other_end(&d, 1, MIB);
  CHECK(e != NULL && e->code == VDS_E_CORRUPT_PARTITION_INFO);
  error_unref(e);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  drop(&d);
}

/* What the disk had when its file was cut is an error, and no hang. */
TEST(a_truncated_file_is_told) {
  NEED_DISKS();
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK_INT(truncate(d.file, 8 * MIB), 0);
  answer a = ask_on("create_partition", d.object, "{'size':%d}", MIB);
  CHECK(a.code == VDS_E_IO_ERROR || a.code == 0);
  CHECK_INT(records_left(), 1);
  forget(&a);
  drop(&d);
}

TEST(too_small_for_a_table) {
  NEED_DISKS();
  const char *file = place("tiny.img");
  CHECK_ANSWER(ask("create_vdisk", "{'path':'%s','size':1024}", file), 0);
  disk d = disk_of(file);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_VOLUME_TOO_SMALL);
  drop(&d);
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':20480}", file), 0);
  d = disk_of(file);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_VOLUME_TOO_SMALL);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{}"),
               VDS_E_VOLUME_TOO_SMALL);
  drop(&d);
}


/* ------------------------------------------------------------------
** Not made anew
** ---------------------------------------------------------------- */

static void forget_in_kernel(const disk *d, unsigned number) {
  int fd = open(d->node, O_RDWR | O_CLOEXEC);
  error *e = vds_blkpg_remove(fd, number);
  CHECK(e == NULL);
  error_unref(e);
  if (fd >= 0) close(fd);
}

static void put_at(const disk *d, off_t at, const void *what, size_t size) {
  int fd = open(d->node, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pwrite(fd, what, size, at) == (ssize_t)size);
  if (fd >= 0) fsync(fd);
  if (fd >= 0) close(fd);
}

/* As long as the kernel has its partitions, it is not taken for empty. */
TEST(a_table_that_is_lost_may_have_partitions) {
  NEED_DISKS();
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  spoil(&d, 0, 512);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  forget_in_kernel(&d, 1);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), 0);
  CHECK(is_sound(&d));
  drop(&d);
}

TEST(a_hybrid_table_with_partitions_is_not_made_anew) {
  NEED_DISKS();
  static const unsigned char data[16] = {0, 0, 0, 0, 0x83, 0, 0, 0,
                                         0, 8, 0, 0, 0,    8, 0, 0};
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  put_at(&d, 446 + 16, data, sizeof data);
  forget_in_kernel(&d, 1);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB),
               VDS_E_PARTITION_STYLE_MISMATCH);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("clean", d.object, "{}"), VDS_S_DISK_PARTIALLY_CLEANED);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), 0);
  put_at(&d, 446 + 16, data, sizeof data);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), 0); /* there is nothing */
  CHECK(is_sound(&d));
  drop(&d);
}

TEST(a_table_of_another_kind_is_not_made_anew) {
  NEED_DISKS();
  static const unsigned char first[] = {'E', 'R', 2, 0, 0, 0, 0x80, 0};
  static const unsigned char map[] = {'P', 'M', 0, 0, 0, 0, 0, 1,
                                      0,   0,   0, 1, 0, 0, 0, 1};
  disk d = new_disk(16);
  put_at(&d, 0, first, sizeof first);
  put_at(&d, 512, map, sizeof map);
  put_at(&d, 512 + 48, "Apple_partition_map", 20);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB),
               VDS_E_PARTITION_STYLE_MISMATCH);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("clean", d.object, "{}"), VDS_S_DISK_PARTIALLY_CLEANED);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), 0);
  drop(&d);
}

/* What lies behind the last one that is seen is not free. */
TEST(more_partitions_than_can_be_seen) {
  if (!volumes_have("sfdisk")) SKIP("no sfdisk: apt-get install fdisk");
  const char *file = make_image(16);
  vds_extent list[8];
  vds_call c = {0};
  CHECK_INT(volumes_run(
                "{ printf 'label: gpt\ntable-length: 300\n'; i=0; "
                "while [ $i -lt 257 ]; do echo start=$((2048 + i * 8)),size=8;"
                " i=$((i + 1)); done; } | sfdisk -q '%s' >/dev/null 2>&1",
                file),
            0);
  int fd = open(file, O_RDWR | O_CLOEXEC);
  vds_table_job *j = vds_table_job_new(&c, &(vds_identity){0});
  CHECK(fd >= 0 && j != NULL);
  error *e = vds_table_copy(fd, &j->table);
  if (e == NULL) e = vds_table_read(fd, &j->table, false);
  if (e != NULL) printf("%s\n", e->message);
  CHECK(e == NULL);
  if (e == NULL) {
    CHECK_INT(vds_table_free_extents(&j->table, list, 8), 0);
    CHECK_INT(vds_table_behind(&j->table, 257), 0);
    e = vds_table_sound(j);
    CHECK(e != NULL && e->code == VDS_E_NOT_SUPPORTED);
    error_unref(e);
    e = NULL;
    CHECK_INT(fdisk_delete_partition(j->table.fdisk, 0), 0);
    CHECK_INT(vds_table_free_extents(&j->table, list, 8), 2);
    e = vds_table_sound(j);
    CHECK(e == NULL);
  }
  error_unref(e);
  vds_table_job_free(j);
  if (fd >= 0) close(fd);
}


/* ------------------------------------------------------------------
** The system's
** ---------------------------------------------------------------- */

static bool may(const answer *a) {
  CHECK_INT(a->code, 0);
  if (a->code != 0) printf("it said: %s\n", a->message);
  CHECK(value_boolean(value_get(a->output, "plan"), false));
  return value_boolean(value_get(a->output, "allowed"), false);
}

static void refuse_all(const disk *d, const value *part) {
  flush(d);
  bytes before = read_file(d->file);
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), VDS_E_OPERATION_DENIED);
  for (int n = 2; n <= 3; n++) {
    answer a = ask_on("delete_partition", d->object, "{'number':%d}", n);
    CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
    CHECK(strstr(a.message, "/boot of this machine") != NULL);
    forget(&a);
    a = ask_on("delete_partition", d->object, "{'number':%d,'plan':true}", n);
    CHECK(!may(&a));
    forget(&a);
  }
  CHECK_ANSWER(ask_on("create_partition", d->object, "{'size':%d}", MIB),
               VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("initialize", d->object, "{}"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("extend", part, "{}"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("shrink", part, "{}"), VDS_E_OPERATION_DENIED);
  error *e = other_end(d, 2, 9 * MIB);
  CHECK(e != NULL && e->code == VDS_E_OPERATION_DENIED);
  error_unref(e);
  flush(d);
  bytes after = read_file(d->file);
  CHECK(same_bytes(&before, &after));
  free(before.data);
  free(after.data);
}

/* /boot of this suite alone is on the first partition; the second one has a
   file system, and the third one is in the table only. */
TEST(the_table_of_the_disk_of_the_system_is_not_written) {
  NEED_DISKS();
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  if (access("/boot", F_OK) != 0) SKIP("there is no /boot to mount at");
  if (!volumes_have("mke2fs")) SKIP("no mke2fs: apt-get install e2fsprogs");
  disk d = new_disk(48);
  for (int n = 0; n < 3; n++)
    CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d,'offset':%d}",
                        8 * MIB, (1 + n * 12) * MIB),
                 0);
  forget_in_kernel(&d, 3);
  CHECK_INT(volumes_run("mke2fs -q -F '%sp1' >/dev/null 2>&1 && "
                        "mke2fs -q -F -t ext4 '%sp2' >/dev/null 2>&1 && "
                        "mount -o ro '%sp1' /boot",
                        d.node, d.node, d.node),
            0);
  answer a = ask("volume", "{'path':'%sp2'}", d.node);
  value *part = value_copy(a.output);
  forget(&a);
  refuse_all(&d, part);
  CHECK_INT(volumes_run("umount /boot"), 0);
  a = ask_on("delete_partition", d.object, "{'number':3,'plan':true}");
  CHECK(may(&a));
  forget(&a);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':9,'plan':true}"),
               VDS_E_OBJECT_NOT_FOUND);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':3}"), 0);
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), 0);
  CHECK(is_sound(&d));
  value_free(part);
  drop(&d);
}

/* What is written to is refused, and so says its plan; what is not may be
   done. */
TEST(a_disk_that_is_read_only) {
  NEED_DISKS();
  static const char *const writes[] = {"initialize", "create_partition",
                                       "clean"};
  disk d = new_disk(16);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", d.file), 0);
  value_free(d.object);
  answer a = ask("attach", "{'path':'%s','read_only':true}", d.file);
  d.object = value_copy(a.output);
  forget(&a);
  for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
    CHECK_ANSWER(ask_on(writes[i], d.object, "{}"),
                 VDS_E_MEDIA_WRITE_PROTECTED);
    a = ask_on(writes[i], d.object, "{'plan':true}");
    CHECK_INT(a.code, 0);
    CHECK(!value_boolean(value_get(a.output, "allowed"), true));
    forget(&a);
  }
  a = ask("detach", "{'path':'%s','plan':true}", d.file);
  CHECK(value_boolean(value_get(a.output, "allowed"), false));
  forget(&a);
  drop(&d);
}

static void all(void) {
  RUN(a_gpt_with_one_copy_is_read_and_mended);
  RUN(a_gpt_without_any_copy_is_no_empty_disk);
  RUN(hostile_mbrs);
  RUN(a_truncated_file_is_told);
  RUN(too_small_for_a_table);
  RUN(a_table_that_is_lost_may_have_partitions);
  RUN(a_hybrid_table_with_partitions_is_not_made_anew);
  RUN(a_table_of_another_kind_is_not_made_anew);
  RUN(more_partitions_than_can_be_seen);
  RUN(the_table_of_the_disk_of_the_system_is_not_written);
  RUN(a_disk_that_is_read_only);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
