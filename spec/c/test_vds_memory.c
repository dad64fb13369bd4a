/*
** A48: whichever request for memory fails, a call fails whole or is done whole,
** and leaves nothing that nobody knows of.
*/
#include "vds_whole_case.h"

/* The n-th request for memory fails, for each n until there are no so many. A
   call that ends well all the same (a name of a phase was all that was lost) is
   whole; one that failed has left nothing. Whether that many were asked for. */
static bool without_memory(long n, const char *call, value *options,
                           uint32_t *code) {
  const vds_work *work = vds_work_find(call);
  uint32_t why = 0, percent = 0;
  saros_api_table = saros_api_own();
  value_put(options, "state_dir", value_text(state_place()));
  mem_fail_at(n);
  saros_op *op = vds_call_begin(work, options, NULL, &why);
  *code = why;
  if (op != NULL) {
    CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
    CHECK_INT(saros_vds_query_status(op, code, &percent), 0);
    CHECK_INT(percent, 100);
    saros_op_unref(op);
  }
  bool failed = mem_fail_left() == 0;
  mem_fail_at(0);
  /* That it was done all the same may be said in its own way. */
  if ((*code & 0x80000000u) == 0) *code = 0;
  if (*code != 0) CHECK_INT(*code, 0x8007000Eu);
  return failed;
}

static long stride(void) {
  return is_brief() ? 17 : 1;
}

TEST(a48_a_create_without_memory_leaves_no_file) {
  uint32_t code;
  long n = 1;
  for (bool more = true; more; n += stride()) {
    const char *path = place("lean.img");
    value *options = value_map();
    value_put(options, "path", value_text(path));
    value_put(options, "size", value_int(1 << 20));
    more = without_memory(n, "create_vdisk", options, &code);
    CHECK_INT(access(path, F_OK) == 0, code == 0);
    unlink(path);
  }
  CHECK(n > 10);
}

TEST(a48_an_attach_without_memory_leaves_no_device) {
  NEED_DISKS();
  const char *path = make_image(8);
  uint32_t code;
  long n = 1;
  for (bool more = true; more; n += stride()) {
    value *options = value_map();
    value_put(options, "path", value_text(path));
    more = without_memory(n, "attach", options, &code);
    if (code == 0) CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
    CHECK(loops_become(0));
    CHECK_INT(records_left(), 0);
  }
  CHECK(n > 10);
}

/* A volume is what it was, raw, or new; and none of them is unfinished when its
   operation has ended. */
TEST(a48_a_format_without_memory_ends_whole_or_raw) {
  NEED_DISKS();
  if (!is_here("format")) SKIP("there is no format in this build");
  if (!volumes_have("mkswap")) SKIP("no mkswap: apt-get install util-linux");
  const char *path = make_image(16);
  vds_identity who = attach_image(path);
  char node[80];
  uint32_t code;
  snprintf(node, sizeof node, "/dev/loop%u", minor(who.dev));
  /* Each is a program and some syncs: with steps, that are fewer later. */
  for (long n = 1, more = 1; more; n += is_brief() ? 41 : 1 + n / 12) {
    value *options = options_on(&who, "{'fs':'swap','label':'lean'}");
    more = without_memory(n, "format", options, &code);
    answer a = ask("volume", "{'path':'%s'}", node);
    const char *fs = text_of(a.output, "fs");
    if (code == 0)
      CHECK_TEXT(fs, "swap");
    else
      CHECK(strcmp(fs, "swap") == 0 || strcmp(fs, "raw") == 0);
    CHECK(value_get(a.output, "unfinished") == NULL);
    forget(&a);
    CHECK_INT(records_left(), 1); /* the disk's */
  }
  detach_image(path);
}

TEST(a48_a_clean_without_memory_is_begun_or_done) {
  NEED_DISKS();
  if (!is_here("clean")) SKIP("there is no clean in this build");
  const char *path = make_image(16);
  vds_identity who = attach_image(path);
  uint32_t code;
  for (long n = 1, more = 1; more; n += is_brief() ? 41 : 1 + n / 12) {
    value *options = options_on(&who, "{}");
    more = without_memory(n, "clean", options, &code);
    CHECK_INT(records_left(), 1);
  }
  detach_image(path);
}

/* What failed is not mounted, and what is mounted has not failed. */
TEST(a48_what_is_mounted_without_memory_is_told) {
  NEED_MOUNTS();
  if (!volumes_have("mke2fs")) SKIP("no mke2fs: apt-get install e2fsprogs");
  const char *path = make_image(16), *at = place("lean");
  struct stat before, now;
  uint32_t code;
  mkdir(at, 0700);
  CHECK_INT(volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1", path), 0);
  vds_identity who = attach_image(path);
  CHECK_INT(stat(at, &before), 0);
  for (long n = 1, more = 1; more; n += is_brief() ? 41 : 1 + n / 12) {
    value *options = options_on(&who, "{'path':'%s'}", at);
    more = without_memory(n, "mount", options, &code);
    CHECK_INT(stat(at, &now), 0);
    CHECK_INT(now.st_dev != before.st_dev, code == 0);
    if (now.st_dev != before.st_dev) CHECK_INT(umount2(at, 0), 0);
  }
  answer a = end_of(begin_with("mount", options_on(&who, "{'path':'%s'}", at)));
  CHECK_INT(a.code, 0);
  CHECK_TEXT(text_of(a.output, "path"), at);
  forget(&a);
  for (long n = 1, more = 1; more; n += is_brief() ? 41 : 1 + n / 12) {
    if (umount2(at, 0) == 0)
      CHECK_ANSWER(
          end_of(begin_with("mount", options_on(&who, "{'path':'%s'}", at))),
          0);
    more = without_memory(n, "unmount", options_on(&who, "{}"), &code);
    CHECK_INT(stat(at, &now), 0);
    CHECK_INT(now.st_dev == before.st_dev, code == 0);
    if (code == 0)
      CHECK_ANSWER(
          end_of(begin_with("mount", options_on(&who, "{'path':'%s'}", at))),
          0);
  }
  detach_image(path);
}

TEST(a48_what_is_detached_without_memory_is_told) {
  NEED_DISKS();
  const char *path = make_image(8);
  uint32_t code = 0;
  long n = 1;
  for (bool more = true; more; n += is_brief() ? 41 : 1 + n / 12) {
    if (volumes_loops(false) == 0)
      CHECK_ANSWER(ask("attach", "{'path':'%s'}", path), 0);
    value *options = value_map();
    value_put(options, "path", value_text(path));
    more = without_memory(n, "detach", options, &code);
    CHECK_INT(volumes_loops(false), code == 0 ? 0 : 1);
  }
  CHECK(n > 10);
  if (code != 0) detach_image(path);
}

static const char *device_of(const vds_identity *who) {
  static char path[40];
  snprintf(path, sizeof path, "/dev/loop%u", minor(who->dev));
  return path;
}

TEST(a48_what_grew_without_memory_is_told) {
  NEED_DISKS();
  const char *path = make_image(8);
  struct stat before, now;
  uint32_t code;
  vds_identity who = attach_image(path);
  for (long n = 1, more = 1; more; n += is_brief() ? 41 : 1 + n / 12) {
    value *options = value_map();
    CHECK_INT(stat(path, &before), 0);
    value_put(options, "path", value_text(path));
    value_put(options, "size", value_int(before.st_size + (1 << 20)));
    more = without_memory(n, "expand", options, &code);
    CHECK_INT(stat(path, &now), 0);
    CHECK_INT(now.st_size, before.st_size + (code == 0 ? 1 << 20 : 0));
    vds_identity grown = identity_at(device_of(&who));
    CHECK_INT(grown.size, now.st_size);
  }
  detach_image(path);
}

static void all(void) {
  RUN(a48_a_create_without_memory_leaves_no_file);
  RUN(a48_an_attach_without_memory_leaves_no_device);
  RUN(a48_a_format_without_memory_ends_whole_or_raw);
  RUN(a48_a_clean_without_memory_is_begun_or_done);
  RUN(a48_what_is_mounted_without_memory_is_told);
  RUN(a48_what_is_detached_without_memory_is_told);
  RUN(a48_what_grew_without_memory_is_told);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
