/*
** A write of a table that dies, or is cancelled, at each of its steps: after
** that the disk has the old table or the new one, byte by byte, and never
** anything in between.
*/
#include "table_case.h"
#include "vds_left_case.h"

#define MIB 1048576
#define IDS                                             \
  "'table_uuid':'11111111-2222-4333-8444-555555555555'" \
  ",'uuid':'66666666-7777-4888-8999-aaaaaaaaaaaa'"

typedef struct change {
  const char *call, *options;
  bool
      persistent; /* the device outlives who died; else only the file is left */
} change;

/* A process that does it, and dies at its n-th step. Whether it came so far. */
static bool die_doing(const char *file, const change *w, int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    answer a = w->persistent ? ask("virtual_disks", "{}")
                             : ask("attach", "{'path':'%s'}", file);
    value *object = NULL;
    if (!w->persistent) {
      object = value_copy(a.output);
    } else {
      const value *v = a.output != NULL && a.output->count == 1
                           ? a.output->as.items[0]
                           : NULL;
      answer b = ask("disk", "{'path':'%s'}", text_of(v, "device"));
      object = value_copy(b.output);
      forget(&b);
    }
    forget(&a);
    atomic_store(&vds_dies_at, step);
    a = ask_on(w->call, object, "%s", w->options);
    if (a.code != 0) printf("it said: %s\n", a.message);
    atomic_store(&vds_dies_at, 0);
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
}

/* The bytes of the disk, when all that its device has is in the file. */
static bytes bytes_of(const char *file) {
  answer a = ask("virtual_disks", "{}");
  if (a.output != NULL && a.output->count == 1) {
    int fd =
        open(text_of(a.output->as.items[0], "device"), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) fsync(fd);
    if (fd >= 0) close(fd);
  }
  forget(&a);
  return read_file(file);
}

/* How many partitions of it the kernel has. */
static int partitions_of(const char *file) {
  answer a = ask("open_vdisk", "{'path':'%s'}", file);
  char node[80];
  snprintf(node, sizeof node, "%s", text_of(a.output, "device"));
  forget(&a);
  a = ask("disk", "{'path':'%s'}", node);
  const value *list = value_get(a.output, "partitions");
  int count = list != NULL ? (int)list->count : -1;
  forget(&a);
  return count;
}

/* Reaped, until nothing is busy: another program that just looks at all devices
   may have this one open for a moment. */
static void reap_all(size_t kept) {
  for (int tries = 0; tries < VDS_CASE_BOUND / 20; tries++) {
    CHECK_ANSWER(ask("reap", "{}"), 0);
    if (records_left() == kept && volumes_loops(false) == (int)kept) return;
    usleep(20000);
  }
  CHECK_INT(volumes_loops(false), kept);
  CHECK_INT(records_left(), kept);
}

/* From the bytes `before`, which are the caller's. Ids are given, so what is
   made is the same each time. */
static void dies(const char *file, const bytes *before, const change *w) {
  if (w->persistent)
    CHECK_ANSWER(ask("attach", "{'path':'%s','persistent':true}", file), 0);
  int kept = w->persistent ? 1 : 0;
  CHECK(!die_doing(file, w, 0));
  bytes after = bytes_of(file);
  int partitions = kept ? partitions_of(file) : 0;
  CHECK(!same_bytes(before, &after));
  int step = is_brief() ? kept - 2 : 0, halves = 0, olds = 0, news = 0;
  for (bool died = true; died && step < 100;) {
    if (kept) CHECK_ANSWER(ask("detach", "{'path':'%s'}", file), 0);
    write_file(file, before);
    if (kept)
      CHECK_ANSWER(ask("attach", "{'path':'%s','persistent':true}", file), 0);
    int partitions_before = kept ? partitions_of(file) : 0;
    died = die_doing(file, w, step += next_step());
    bytes is = bytes_of(file);
    if (!same_bytes(&is, before) && !same_bytes(&is, &after)) halves++;
    free(is.data);
    reap_all((size_t)kept);
    is = bytes_of(file);
    bool old = same_bytes(&is, before), new = same_bytes(&is, &after);
    CHECK(old || new);
    if (!old && !new) printf("%s, step %d\n", w->call, step);
    CHECK(died || new);
    if (old) olds++;
    if (new) news++;
    free(is.data);
    if (kept)
      CHECK_INT(partitions_of(file), old ? partitions_before : partitions);
  }
  CHECK(step > 6);
  CHECK(olds > 0 && news > 0);
  if (after.size > 0 && strcmp(w->options, "{'style':'mbr'}") != 0)
    CHECK(is_brief() || halves > 0); /* else nothing of this was tried */
  if (kept) CHECK_ANSWER(ask("detach", "{'path':'%s'}", file), 0);
  free(after.data);
}

static void each_way(const char *file, const char *call, const char *options) {
  bytes before = bytes_of(file);
  for (int i = 0; i < 2; i++) {
    change w = {call, options, i == 1};
    write_file(file, &before);
    dies(file, &before, &w);
  }
  free(before.data);
}

/* An old file system of it comes back with the old bytes. */
TEST(death_at_every_step_of_initialize) {
  NEED_DISKS();
  const char *file = make_image(6);
  volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1", file);
  each_way(file, "initialize", "{'style':'gpt'," IDS "}");
}

TEST(death_at_every_step_of_a_partition_without_a_table) {
  NEED_DISKS();
  each_way(make_image(6), "create_partition", "{" IDS "}");
}

static const char *with_partitions(void) {
  const char *file = make_image(6);
  disk d = disk_of(file);
  CHECK_ANSWER(ask_on("initialize", d.object, "{}"), 0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  flush(&d);
  drop(&d);
  return file;
}

TEST(death_at_every_step_of_a_partition) {
  NEED_DISKS();
  each_way(with_partitions(), "create_partition", "{" IDS "}");
}

TEST(death_at_every_step_of_a_deletion) {
  NEED_DISKS();
  each_way(with_partitions(), "delete_partition", "{'number':1}");
}

static size_t tables_left(void) {
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  size_t count = 0;
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(vds_record_text(list->as.items[i], "kind"), "table") == 0)
      count++;
  CHECK(e == NULL);
  error_unref(e);
  value_free(list);
  mem_free(at);
  return count;
}

/* Without a reap in between: who writes next mends it first. */
TEST(the_next_writer_mends_it) {
  NEED_DISKS();
  const char *file = with_partitions();
  bytes before = bytes_of(file);
  change w = {"create_partition", "{" IDS "}", false};
  size_t most = 0;
  for (int step = 1; step < 100; step += next_step()) {
    write_file(file, &before);
    if (!die_doing(file, &w, step)) break;
    if (tables_left() > most) most = tables_left();
    for (int i = 0; volumes_loops(false) > 0 && i < VDS_CASE_BOUND / 20; i++)
      usleep(20000); /* who else looks at it keeps it for a moment */
    disk d = disk_of(file);
    /* There is room for it where the dead one's was not kept. */
    answer a = ask_on("create_partition", d.object, "{'size':%d}", MIB);
    CHECK(a.code == 0 || a.code == VDS_E_NOT_ENOUGH_SPACE);
    forget(&a);
    CHECK(is_sound(&d));
    drop(&d);
    CHECK_INT(tables_left(), 0);
    reap_all(0);
  }
  CHECK_INT(most, 1);
  free(before.data);
}

/* Somebody has written there since: that is his. */
TEST(what_somebody_wrote_since_is_not_touched) {
  NEED_DISKS();
  const char *file = with_partitions();
  bytes before = bytes_of(file);
  change w = {"create_partition", "{" IDS "}", false};
  int step = 1;
  for (bool half = false; !half && step < 100; step++) {
    write_file(file, &before);
    CHECK(die_doing(file, &w, step));
    bytes is = bytes_of(file);
    half = !same_bytes(&is, &before);
    if (half) {
      memset(is.data + is.size - 512, 'x', 512); /* where the header was */
      write_file(file, &is);
    }
    reap_all(0);
    bytes then = bytes_of(file);
    CHECK(same_bytes(&is, &then));
    free(is.data);
    free(then.data);
  }
  free(before.data);
}

/* A file that is gone, or another one of its name, is nobody's table. */
TEST(its_file_is_gone) {
  NEED_DISKS();
  const char *file = with_partitions();
  change w = {"create_partition", "{" IDS "}", false};
  CHECK(die_doing(file, &w, 5));
  CHECK_INT(records_left(), 2);
  CHECK_INT(unlink(file), 0);
  reap_all(0);
}


/* It dies when a part of its table is written. */
static void die_in_the_middle(const char *file) {
  change w = {"create_partition", "{" IDS "}", false};
  bytes before = bytes_of(file);
  dies_behind = "table: part written";
  atomic_store(&vds_hook, die_hook);
  CHECK(die_doing(file, &w, 0));
  atomic_store(&vds_hook, NULL);
  CHECK(loops_become(0));
  bytes is = bytes_of(file);
  CHECK(!same_bytes(&is, &before));
  free(is.data);
  free(before.data);
}

TEST(a_file_that_cannot_be_had_now_is_not_gone) {
  NEED_DISKS();
  const char *made = with_partitions(), *file = image_below("images", 6);
  CHECK_INT(rename(made, file), 0);
  bytes before = bytes_of(file);
  for (int way = 0; way < HIDDEN_WAYS; way++) {
    die_in_the_middle(file);
    hide("images", way);
    CHECK_ANSWER(ask("reap", "{}"), 0);
    CHECK_INT(tables_left(), 1);
    show("images", way);
    reap_all(0);
    bytes is = bytes_of(file);
    CHECK(same_bytes(&is, &before));
    free(is.data);
  }
  free(before.data);
}

/* The record of the dead, as that of a disk that has no file, and had this
   one's number before another medium was put in. */
static void let_it_be_about(const disk *d, uint64_t size) {
  error *e = NULL;
  char *at = vds_records_at(state_place(), &e);
  value *list = at != NULL ? vds_record_list(at, &e) : NULL;
  vds_identity who;
  CHECK(list != NULL && vds_identity_get(d->object, &who));
  who.size = size;
  who.seq += 100000;
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    value *record = list->as.items[i], *object = value_map();
    CHECK(vds_identity_put(object, &who));
    if (strcmp(vds_record_text(record, "kind"), "table") == 0)
      CHECK(value_put(record, "path", value_text("")) &&
            value_put(record, "object", value_copy(object)) &&
            vds_record_save(at, record) == NULL);
    value_free(object);
  }
  value_free(list);
  mem_free(at);
}

TEST(another_disk_under_its_number_is_another_one) {
  NEED_DISKS();
  const char *file = with_partitions();
  die_in_the_middle(file);
  for (unsigned megabytes = 4; megabytes <= 6; megabytes += 2) {
    disk d = new_disk(megabytes);
    let_it_be_about(&d, 6 * MIB);
    CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
    CHECK_INT(tables_left(), 1);
    drop(&d);
  }
  /* Itself, under whatever number, is known by what is on it. */
  disk d = disk_of(file);
  let_it_be_about(&d, 6 * MIB);
  CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
  CHECK_INT(tables_left(), 0);
  CHECK(is_sound(&d));
  drop(&d);
  reap_all(0);
}


/* ------------------------------------------------------------------
** Not taken back
** ---------------------------------------------------------------- */

static const char *fails_on;

static void set_read_only(const char *node, int on) {
  int fd = open(node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && ioctl(fd, BLKROSET, &on) == 0);
  if (fd >= 0) close(fd);
}

/* From the first part on nothing can be written, nor be taken back. */
static void fail_hook(const char *step) {
  if (strcmp(step, "table: part written") == 0) set_read_only(fails_on, 1);
}

/* Who made it lives, and it is mended all the same. */
TEST(what_could_not_be_taken_back_is_mended_later) {
  NEED_DISKS();
  for (int i = 0; i < 2; i++) {
    disk d = disk_of(with_partitions());
    fails_on = d.node;
    atomic_store(&vds_hook, fail_hook);
    answer a = ask_on("create_partition", d.object, "{'size':%d}", MIB);
    atomic_store(&vds_hook, NULL);
    CHECK(a.code != 0);
    forget(&a);
    set_read_only(d.node, 0);
    CHECK_INT(tables_left(), 1);
    if (i == 0)
      CHECK_ANSWER(ask("reap", "{}"), 0);
    else
      CHECK_ANSWER(ask_on("create_partition", d.object, "{'size':%d}", MIB), 0);
    CHECK_INT(tables_left(), 0);
    CHECK_INT(partitions_of(d.file), 2 + i);
    CHECK(is_sound(&d));
    drop(&d);
  }
}


/* ------------------------------------------------------------------
** Cancelled
** ---------------------------------------------------------------- */

/* Held, or over: then why is told, and nobody waits for a step that never
   comes. */
static bool comes_to(saros_op *op) {
  for (int i = 0; i < VDS_CASE_BOUND / 5; i++) {
    if (sem_trywait(&held_there) == 0) return true;
    if (saros_op_wait(op, 5) && sem_trywait(&held_there) != 0) break;
  }
  return false;
}

/* Up to the commit it is undone; from there on it is too late. */
static void cancelled(const char *file, const char *call, const char *options,
                      const char *step, uint32_t expected) {
  disk d = disk_of(file);
  flush(&d);
  bytes before = read_file(file);
  hold_at(step);
  saros_op *op = begin_on(call, d.object, "%s", options);
  if (!comes_to(op)) {
    answer a = end_of(op);
    printf("%s did not come to '%s': %s\n", call, step, a.message);
    CHECK(false);
    forget(&a);
    free(before.data);
    drop(&d);
    return;
  }
  uint32_t hr = 0, percent = 1;
  CHECK_INT(saros_vds_query_status(op, &hr, &percent), 0);
  CHECK_INT(hr, VDS_E_OPERATION_PENDING);
  CHECK_INT(percent, 0);
  CHECK_INT(saros_vds_cancel(op), expected);
  let_on();
  CHECK_ANSWER(end_of(op), expected == 0 ? VDS_E_OPERATION_CANCELED : 0);
  flush(&d);
  bytes after = read_file(file);
  CHECK(same_bytes(&before, &after) == (expected == 0));
  CHECK_INT(records_left(), 1);
  free(before.data);
  free(after.data);
  CHECK(is_sound(&d));
  drop(&d);
}

TEST(a36_a43_a_cancel_is_undone_or_too_late) {
  NEED_DISKS();
  cancelled(with_partitions(), "create_partition", "{}", "table: recorded", 0);
  cancelled(with_partitions(), "create_partition", "{}", "table: committed",
            VDS_E_CANCEL_TOO_LATE);
  cancelled(with_partitions(), "create_partition", "{}", "table: part written",
            VDS_E_CANCEL_TOO_LATE);
  cancelled(with_partitions(), "delete_partition", "{'number':2}",
            "table: recorded", 0);
  cancelled(with_partitions(), "delete_partition", "{'number':2}",
            "delete partition: told", VDS_E_CANCEL_TOO_LATE);
  cancelled(make_image(6), "initialize", "{'style':'mbr'}", "table: written",
            VDS_E_CANCEL_TOO_LATE);
}

static void all(void) {
  RUN(death_at_every_step_of_initialize);
  RUN(death_at_every_step_of_a_partition_without_a_table);
  RUN(death_at_every_step_of_a_partition);
  RUN(death_at_every_step_of_a_deletion);
  RUN(the_next_writer_mends_it);
  RUN(what_somebody_wrote_since_is_not_touched);
  RUN(its_file_is_gone);
  RUN(a_file_that_cannot_be_had_now_is_not_gone);
  RUN(another_disk_under_its_number_is_another_one);
  RUN(what_could_not_be_taken_back_is_mended_later);
  RUN(a36_a43_a_cancel_is_undone_or_too_late);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
