/*
** Partition tables: made, partitions put into them and taken out, refused, and
** given another end, on real disks.
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
  CHECK_ANSWER(ask_on("delete_partition", part, "{}"), VDS_E_OBJECT_DELETED);
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

/* Another end, for who has a file system grown or shrunk. */
static error *other_end(const disk *d, unsigned number, uint64_t size) {
  vds_identity who;
  vds_target t;
  vds_call c = {.options = value_map(), .committed = true};
  CHECK(vds_identity_get(d->object, &who));
  value_put(c.options, "state_dir", value_text(state_place()));
  error *e = vds_target_open(&who, 0, &t);
  if (e == NULL) e = vds_table_resize(&c, &t, number, size);
  vds_target_close(&t);
  value_free(c.options);
  return e;
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

static void all(void) {
  RUN(a_new_table_and_a_partition);
  RUN(partitions_without_a_table_make_one);
  RUN(another_end_of_a_gpt_partition);
  RUN(another_end_of_an_mbr_partition);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
