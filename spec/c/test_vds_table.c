/*
** Partition tables: made, partitions put into them and taken out, refused, and
** given another end, on real disks. Damaged ones: see
** test_vds_table_refuse.c.
*/
#include "table_case.h"

#define MIB 1048576

TEST(a_new_table_and_a_partition) {
  NEED_DISKS();
  disk d = new_disk(64);
  CHECK_ANSWER(ask_on("initialize", d.object, "{'style':'gpt'}"), 0);
  answer a = ask_on("create_partition", d.object,
                    "{'size':10000000,'label':'one','type':'linux'}");
  CHECK_INT(a.code, 0);
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(number_in(a.output, "vds_type"), 10);
  CHECK_INT(number_in(a.output, "offset"), MIB);
  CHECK_INT(number_in(a.output, "size"), 10 * MIB);
  CHECK_INT(number_in(a.output, "number"), 1);
  const value *v = value_get(a.output, "volume");
  CHECK_TEXT(text_of(v, VDS_CLASS_FIELD), VDS_CLASS_VOLUME);
  CHECK_INT(number_in(v, "size"), 10 * MIB);
  CHECK_INT(access(text_of(v, "path"), F_OK), 0);
  CHECK_TEXT(text_of(v, "fs"), "raw");
  CHECK_TEXT(text_of(v, "transition"), "stable");
  char id[64];
  snprintf(id, sizeof id, "%s", text_of(a.output, "id"));
  CHECK(strlen(id) == 36);
  forget(&a);
  CHECK(is_sound(&d));
  a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "style"), "gpt");
  CHECK_TEXT(text_of(a.output, "health"), "healthy");
  CHECK(strlen(text_of(a.output, "table_uuid")) == 36);
  const value *table = value_get(a.output, "table");
  CHECK(table != NULL && table->count == 1);
  if (table != NULL && table->count == 1) {
    CHECK_TEXT(text_of(table->as.items[0], "label"), "one");
    CHECK_TEXT(text_of(table->as.items[0], "uuid"), id);
    CHECK_TEXT(text_of(table->as.items[0], "type"),
               "0FC63DAF-8483-4772-8E79-3D69D8477DE4");
  }
  const value *room = value_get(a.output, "free");
  CHECK(room != NULL && room->count == 1);
  if (room != NULL && room->count == 1)
    CHECK_INT(number_in(room->as.items[0], "offset"), 11 * MIB);
  forget(&a);
  CHECK_INT(records_left(), 1); /* the virtual disk's */
  drop(&d);
}

TEST(partitions_without_a_table_make_one) {
  NEED_DISKS();
  disk d = new_disk(64);
  answer a = ask_on("create_partition", d.object, "{}");
  CHECK_INT(a.code, 0);
  CHECK_INT(number_in(a.output, "offset"), MIB);
  CHECK_INT(number_in(a.output, "size"), 62 * MIB);
  value *part = value_copy(value_get(a.output, "volume"));
  forget(&a);
  CHECK(is_sound(&d));
  CHECK_ANSWER(ask_on("create_partition", d.object, "{}"),
               VDS_E_NOT_ENOUGH_SPACE);
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), 0);
  CHECK(access(text_of(part, "path"), F_OK) != 0);
  CHECK(says_gone(ask_on("delete_partition", part, "{}")));
  a = ask_on("disk", d.object, "{}");
  const value *table = value_get(a.output, "table");
  CHECK(table != NULL && table->count == 0);
  forget(&a);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'number':7}"), 0);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':1}"),
               VDS_E_OBJECT_NOT_FOUND);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':7}"), 0);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{}"), SAROS_E_INVALIDARG);
  value_free(part);
  drop(&d);
}

static uint64_t room_behind(const disk *d, unsigned number) {
  vds_identity who;
  vds_target t;
  uint64_t room = 0;
  CHECK(vds_identity_get(d->object, &who));
  error *e = vds_target_open(&who, 0, &t);
  if (e == NULL) e = vds_table_room(&t, number, &room);
  CHECK(e == NULL);
  error_unref(e);
  vds_target_close(&t);
  return room;
}

static uint64_t kernel_size(const char *node) {
  uint64_t size = 0;
  int fd = open(node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && ioctl(fd, BLKGETSIZE64, &size) == 0);
  if (fd >= 0) close(fd);
  return size;
}

static void ends(const char *style) {
  disk d = new_disk(64);
  char node[100];
  CHECK_ANSWER(ask_on("initialize", d.object, "{'style':'%s'}", style), 0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", 8 * MIB), 0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d,'offset':%d}",
                      8 * MIB, 32 * MIB),
               0);
  snprintf(node, sizeof node, "%sp1", d.node);
  CHECK_INT(room_behind(&d, 1), 23 * MIB);
  CHECK(other_end(&d, 1, 31 * MIB) == NULL);
  CHECK_INT(kernel_size(node), 31 * MIB);
  CHECK_INT(room_behind(&d, 1), 0);
  error *e = other_end(&d, 1, 31 * MIB + 512);
  CHECK(e != NULL && e->code == VDS_E_NOT_ENOUGH_SPACE);
  error_unref(e);
  CHECK_INT(kernel_size(node), 31 * MIB);
  CHECK(other_end(&d, 1, 4 * MIB) == NULL);
  CHECK_INT(kernel_size(node), 4 * MIB);
  e = other_end(&d, 1, 4 * MIB + 100);
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
  e = other_end(&d, 3, 4 * MIB);
  CHECK(e != NULL && e->code == VDS_E_OBJECT_NOT_FOUND);
  error_unref(e);
  CHECK(is_sound(&d));
  /* The disk grows, and so does what is behind the last one. */
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':%d}", d.file, 96 * MIB), 0);
  CHECK(room_behind(&d, 2) > 50 * MIB);
  CHECK(other_end(&d, 2, 50 * MIB) == NULL);
  snprintf(node, sizeof node, "%sp2", d.node);
  CHECK_INT(kernel_size(node), 50 * MIB);
  CHECK(is_sound(&d));
  CHECK_INT(records_left(), 1);
  drop(&d);
}

TEST(another_end_of_a_gpt_partition) {
  NEED_DISKS();
  ends("gpt");
}

TEST(another_end_of_an_mbr_partition) {
  NEED_DISKS();
  ends("mbr");
}


/* ------------------------------------------------------------------
** Refused
** ---------------------------------------------------------------- */

/* A disk that has grown is none that fails, and what was added to it is free.
 */
TEST(a_disk_that_grows_has_more_room) {
  NEED_DISKS();
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':%d}", d.file, 64 * MIB), 0);
  flush(&d);
  bytes before = read_file(d.file);
  answer a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "health"), "healthy");
  if (value_get(a.output, "error") != NULL)
    printf("it said: %s\n", text_of(a.output, "error"));
  const value *room = value_get(a.output, "free");
  CHECK(room != NULL && room->count == 1);
  if (room != NULL && room->count == 1)
    CHECK(number_in(room->as.items[0], "size") > 61 * MIB);
  forget(&a);
  flush(&d);
  bytes after = read_file(d.file);
  CHECK(same_bytes(&before, &after)); /* it was only looked at */
  free(before.data);
  free(after.data);
  drop(&d);
}

TEST(where_a_partition_may_be) {
  NEED_DISKS();
  disk d = new_disk(32);
  static const struct {
    const char *options;
    uint32_t code;
  } tries[] = {
      {"{'size':-1}", SAROS_E_INVALIDARG},
      {"{'size':0}", SAROS_E_INVALIDARG},
      {"{'align':0}", VDS_E_ALIGN_IS_ZERO},
      {"{'align':1000000}", VDS_E_ALIGN_NOT_A_POWER_OF_TWO},
      {"{'align':256}", VDS_E_ALIGN_NOT_A_POWER_OF_TWO},
      {"{'size':33554432}", VDS_E_NOT_ENOUGH_SPACE},
      {"{'size':9223372036854775807}", VDS_E_NOT_ENOUGH_SPACE},
      {"{'offset':9223372036854775807,'size':1}", VDS_E_INVALID_SPACE},
      {"{'offset':33554432}", VDS_E_INVALID_SPACE},
      {"{'number':129}", VDS_E_PARTITION_LIMIT_REACHED},
      {"{'number':-1}", SAROS_E_INVALIDARG},
      {"{'uuid':'no'}", SAROS_E_INVALIDARG},
      {"{'type':''}", VDS_E_INVALID_PARTITION_TYPE},
      {"{'type':'83'}", VDS_E_INVALID_PARTITION_TYPE},
      {"{'type':'%n%s$(reboot)'}", VDS_E_INVALID_PARTITION_TYPE},
      {"{'label':'1234567890123456789012345678901234567'}", VDS_E_BAD_LABEL},
      {"{'label':'\\u0001'}", VDS_E_BAD_LABEL},
      {"{'label':'a\\u0000b'}", VDS_E_BAD_LABEL},
      {"{'label':'\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00"
       "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00"
       "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00"
       "\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00\\ud83d\\ude00x'}",
       VDS_E_BAD_LABEL}};
  bytes before = read_file(d.file);
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    answer a = ask_on("create_partition", d.object, "%s", tries[i].options);
    if (a.code != tries[i].code)
      printf("%s: %s\n", tries[i].options, a.message);
    CHECK_INT(a.code, tries[i].code);
    forget(&a);
  }
  flush(&d);
  bytes after = read_file(d.file);
  CHECK(same_bytes(&before, &after)); /* not even a table */
  free(before.data);
  free(after.data);
  /* 36 UTF-16 units, of four bytes some. */
  CHECK_ANSWER(ask_on("create_partition", d.object,
                      "{'size':1,'type':'efi','label':'\\ud83d\\ude00"
                      "1234567890123456789012345678901234'}"),
               0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'offset':1}"),
               VDS_E_INVALID_SPACE);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'number':1}"),
               VDS_E_OBJECT_EXISTS);
  answer a = ask_on("create_partition", d.object,
                    "{'offset':%d,'size':512,'align':512}", 5 * MIB + 512);
  CHECK_INT(a.code, 0);
  CHECK_INT(number_in(a.output, "offset"), 5 * MIB + 512);
  CHECK_INT(number_in(a.output, "size"), 512);
  forget(&a);
  CHECK(is_sound(&d));
  drop(&d);
}

TEST(an_mbr_has_four) {
  NEED_DISKS();
  disk d = new_disk(32);
  CHECK_ANSWER(ask_on("initialize", d.object,
                      "{'style':'mbr','table_uuid':'0xcafe0001'}"),
               0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'label':'x'}"),
               VDS_E_BAD_LABEL);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'type':'05'}"),
               VDS_E_INVALID_PARTITION_TYPE);
  static const char *const types[] = {"83", "swap", "0c", "99"};
  for (int i = 0; i < 4; i++)
    CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d,'type':'%s'}",
                        MIB, types[i]),
                 0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB),
               VDS_E_PARTITION_LIMIT_REACHED);
  answer a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "style"), "mbr");
  CHECK_TEXT(text_of(a.output, "table_uuid"), "0xcafe0001");
  const value *table = value_get(a.output, "table");
  CHECK(table != NULL && table->count == 4);
  if (table != NULL && table->count == 4)
    CHECK_TEXT(text_of(table->as.items[3], "type"), "99");
  forget(&a);
  CHECK(is_sound(&d));
  drop(&d);
}

TEST(a_logical_partition_is_left_alone_but_the_last) {
  NEED_DISKS();
  if (!volumes_have("sfdisk")) SKIP("no sfdisk: apt-get install fdisk");
  const char *file = make_image(64);
  CHECK_INT(
      volumes_run("printf 'label: dos\\nd1 : size=8M\\nd2 : size=32M,type=E\\n"
                  "d5 : size=4M\\nd6 : size=4M\\nd7 : size=4M\\n' | "
                  "sfdisk -q --no-tell-kernel '%s' >/dev/null 2>&1",
                  file),
      0);
  disk d = disk_of(file);
  answer a = ask_on("disk", d.object, "{}");
  const value *parts = value_get(a.output, "partitions");
  CHECK(parts != NULL && parts->count == 4);
  forget(&a);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':2}"),
               VDS_E_NOT_SUPPORTED);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':5}"),
               VDS_E_NOT_SUPPORTED);
  error *e = other_end(&d, 7, MIB);
  CHECK(e != NULL && e->code == VDS_E_NOT_SUPPORTED);
  error_unref(e);
  CHECK_INT(room_behind(&d, 7), 0);
  for (int n = 7; n >= 5; n--)
    CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':%d}", n), 0);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':2}"), 0);
  CHECK(is_sound(&d));
  a = ask_on("disk", d.object, "{}");
  parts = value_get(a.output, "partitions");
  CHECK(parts != NULL && parts->count == 1);
  forget(&a);
  drop(&d);
}

TEST(what_has_partitions_is_not_initialized) {
  NEED_DISKS();
  answer a;
  disk d = new_disk(16);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  a = ask_on("initialize", d.object, "{'plan':true}"); /* a plan says so, too */
  CHECK_INT(a.code, 0);
  CHECK(!value_boolean(value_get(a.output, "allowed"), true));
  const value *denied = value_get(a.output, "denied");
  CHECK(denied != NULL && denied->count == 1);
  forget(&a);
  CHECK_ANSWER(ask_on("initialize", d.object, "{'style':'x'}"),
               SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':1}"), 0);
  CHECK_ANSWER(ask_on("initialize", d.object, "{'style':'mbr'}"), 0);
  a = ask_on("disk", d.object, "{}"); /* and no GPT comes back */
  CHECK_TEXT(text_of(a.output, "style"), "mbr");
  CHECK_TEXT(text_of(a.output, "health"), "healthy");
  forget(&a);
  CHECK_ANSWER(ask_on("initialize", d.object, "{'table_uuid':'x'}"),
               SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), 0);
  a = ask_on("disk", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "style"), "gpt");
  forget(&a);
  drop(&d);
}

/* A disk that is a file system has no table, and is not empty. */
TEST(a_file_system_is_not_taken_for_an_empty_disk) {
  NEED_DISKS();
  if (!volumes_have("mke2fs")) SKIP("no mke2fs: apt-get install e2fsprogs");
  const char *file = make_image(16);
  CHECK_INT(volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1", file), 0);
  disk d = disk_of(file);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{}"),
               VDS_E_OPERATION_DENIED);
  answer a = ask_on("initialize", d.object, "{'plan':true}");
  const value *lost = value_get(value_get(a.output, "lost"), "file_systems");
  CHECK(lost != NULL && lost->count == 1);
  forget(&a);
  CHECK_INT(volumes_run("mkdir -p '%s/at' && mount '%s' '%s/at'",
                        volumes_scratch, d.node, volumes_scratch),
            0);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("initialize", d.object, "{'force':['mounted']}"), 0);
  a = ask_on("volume", d.object, "{}");
  CHECK_TEXT(text_of(a.output, "fs"), "raw");
  forget(&a);
  drop(&d);
}

/* The file system that was there before is not in the new partition. */
TEST(an_old_file_system_does_not_come_back) {
  NEED_DISKS();
  if (!volumes_have("mke2fs")) SKIP("no mke2fs: apt-get install e2fsprogs");
  disk d = new_disk(32);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'offset':%d,'size':%d}",
                      8 * MIB, 8 * MIB),
               0);
  CHECK_INT(volumes_run("mke2fs -q -F '%sp1' >/dev/null 2>&1", d.node), 0);
  answer a = ask("volume", "{'path':'%sp1'}", d.node);
  CHECK(strncmp(text_of(a.output, "fs"), "ext", 3) == 0);
  forget(&a);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':1}"), 0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'offset':%d,'size':%d}",
                      8 * MIB, 8 * MIB),
               0);
  a = ask("volume", "{'path':'%sp1'}", d.node);
  CHECK_TEXT(text_of(a.output, "fs"), "raw");
  forget(&a);
  drop(&d);
}

/* Mounted or open: refused, and nothing has changed. */
TEST(a_partition_in_use_is_not_deleted) {
  NEED_DISKS();
  if (!volumes_have("mke2fs")) SKIP("no mke2fs: apt-get install e2fsprogs");
  disk d = new_disk(32);
  answer a = ask_on("create_partition", d.object, "{'size':%d}", 16 * MIB);
  value *part = value_copy(value_get(a.output, "volume"));
  forget(&a);
  const char *node = text_of(part, "path");
  CHECK_INT(volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1 && mkdir -p '%s/b'"
                        " && mount '%s' '%s/b'",
                        node, volumes_scratch, node, volumes_scratch),
            0);
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), VDS_E_OPERATION_DENIED);
  /* What is refused anyhow ends nothing before. */
  CHECK_ANSWER(ask_on("initialize", d.object, "{'force':['mounted']}"),
               VDS_E_OPERATION_DENIED);
  /* Beside it there may be another one, and it may grow. */
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK_ANSWER(ask_on("delete_partition", d.object, "{'number':2}"), 0);
  CHECK(other_end(&d, 1, 20 * MIB) == NULL);
  CHECK_INT(kernel_size(node), 20 * MIB);
  CHECK(other_end(&d, 1, 16 * MIB) == NULL);
  CHECK_ANSWER(ask_on("delete_partition", part, "{'plan':true}"), 0);
  CHECK_INT(volumes_run("umount '%s/b'", volumes_scratch), 0);
  int fd = open(node, O_RDONLY | O_CLOEXEC);
  bytes before = read_file(d.file);
  somebody_stays = true;
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), VDS_E_DEVICE_IN_USE);
  somebody_stays = false;
  bytes after = read_file(d.file);
  CHECK(same_bytes(&before, &after));
  CHECK_INT(access(node, F_OK), 0);
  close(fd);
  free(before.data);
  free(after.data);
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), 0);
  value_free(part);
  drop(&d);
}

/* What the kernel has under a number, and what the table has, may differ. */
TEST(the_table_and_the_kernel_must_agree) {
  NEED_DISKS();
  if (!volumes_have("sfdisk")) SKIP("no sfdisk: apt-get install fdisk");
  disk d = new_disk(32);
  answer a = ask_on("create_partition", d.object, "{'size':%d}", 4 * MIB);
  value *part = value_copy(value_get(a.output, "volume"));
  /* Open, it keeps the kernel from reading the table anew by itself, as it is
     told to where there is udev. */
  int fd = open(text_of(part, "path"), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  forget(&a);
  CHECK_INT(
      volumes_run("printf 'label: gpt\\nstart=20480,size=2048\\n' | sfdisk"
                  " -q --no-reread --no-tell-kernel --force '%s' "
                  ">/dev/null 2>&1",
                  d.node),
      0);
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"),
               VDS_E_OBJECT_OUT_OF_SYNC);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'offset':%d,'size':%d}",
                      2 * MIB, MIB),
               VDS_E_DEVICE_IN_USE); /* the kernel has something there */
  CHECK(is_sound(&d));
  a = ask_on("disk", d.object, "{}");
  const value *table = value_get(a.output, "table");
  CHECK(table != NULL && table->count == 1);
  forget(&a);
  CHECK_INT(records_left(), 1);
  value_free(part);
  close(fd);
  drop(&d);
}

static void all(void) {
  RUN(a_new_table_and_a_partition);
  RUN(partitions_without_a_table_make_one);
  RUN(another_end_of_a_gpt_partition);
  RUN(another_end_of_an_mbr_partition);
  RUN(a_disk_that_grows_has_more_room);
  RUN(where_a_partition_may_be);
  RUN(an_mbr_has_four);
  RUN(a_logical_partition_is_left_alone_but_the_last);
  RUN(what_has_partitions_is_not_initialized);
  RUN(a_file_system_is_not_taken_for_an_empty_disk);
  RUN(an_old_file_system_does_not_come_back);
  RUN(a_partition_in_use_is_not_deleted);
  RUN(the_table_and_the_kernel_must_agree);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
