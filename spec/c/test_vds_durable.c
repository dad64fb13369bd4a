/*
** What a loss of power would take: which syncs lie between which steps. Here
** fsync is one that writes down what it has done, or fails.
*/
#include <pthread.h>
#include <sys/syscall.h>

#include "vds_format_case.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char events[256][48];
static int count;
static const char *failing; /* "device", "record": so many of its syncs */
static int failures;

static void note(const char *what) {
  pthread_mutex_lock(&lock);
  if (count < 256) snprintf(events[count++], sizeof events[0], "%s", what);
  pthread_mutex_unlock(&lock);
}

static bool fails(const char *what) {
  pthread_mutex_lock(&lock);
  bool now = failing != NULL && failures > 0 && strcmp(failing, what) == 0;
  if (now) failures--;
  pthread_mutex_unlock(&lock);
  return now;
}

int fsync(int fd) {
  struct stat st;
  const char *what = fstat(fd, &st) != 0   ? "unknown"
                     : S_ISBLK(st.st_mode) ? "device"
                     : S_ISDIR(st.st_mode) ? "directory"
                                           : "record";
  if (fails(what)) {
    errno = EIO;
    return -1;
  }
  int r = (int)syscall(SYS_fsync, fd);
  if (r == 0) note(what);
  return r;
}

static void begin_notes(void) {
  count = 0;
  atomic_store(&vds_hook, note);
}

static void end_notes(void) {
  atomic_store(&vds_hook, NULL);
}

static int place_of(const char *what, int from) {
  for (int i = from; i < count; i++)
    if (strcmp(events[i], what) == 0) return i;
  return -1;
}

/* How often it is there between the first of one and the first of the other. */
static int between(const char *one, const char *other, const char *what) {
  int from = place_of(one, 0), to = place_of(other, 0), n = 0;
  CHECK(from >= 0 && to > from);
  for (int i = from; i < to; i++) n += strcmp(events[i], what) == 0;
  return n;
}


/* ------------------------------------------------------------------
** Formats
** ---------------------------------------------------------------- */

typedef struct kind {
  const char *fs;
  unsigned megabytes;
} kind;

static const kind kinds[] = {
    {"ext4", 16}, {"xfs", 300}, {"btrfs", 112}, {"vfat", 16}, {"swap", 16}};

/* Nothing comes back of what was there, whatever the program writes first. */
static void check_format(const kind *k, bool something_was_there) {
  bool fat = strcmp(k->fs, "vfat") == 0;
  const char *end = "format: committed";
  CHECK_INT(between("format: wiped", "tool: looked", "device"),
            something_was_there ? 1 : 0);
  /* The record: before the maker is begun; and of FAT once more as "made"
     before it goes. */
  CHECK_INT(between("format: record written", end, "record"), fat ? 2 : 1);
  CHECK_INT(between("format: record written", end, "directory"), fat ? 2 : 1);
  CHECK_INT(between("format: record written", "tool: looked", "record"), 1);
  CHECK_INT(between("format: record written", "tool: looked", "directory"), 1);
  if (fat) {
    CHECK_INT(between("format: kept as made", end, "record"), 1);
    CHECK_INT(between("format: kept as made", end, "directory"), 1);
  }
  CHECK_INT(between("format: made", "format: durable", "device"), 1);
  CHECK(place_of("record", 0) < place_of("directory", 0));
  /* That it is gone is not waited for. */
  CHECK_INT(place_of("directory", place_of(end, 0)), -1);
}

TEST(nothing_is_made_on_what_could_come_back) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const kind *k = &kinds[i];
    if (missing(k->fs) != NULL) {
      printf("left out: %s: %s\n", k->fs, missing(k->fs));
      continue;
    }
    scratch s = scratch_of(k->megabytes);
    for (int again = 0; again < 2; again++) {
      begin_notes();
      answer a = format_it(s.device, "{'fs':'%s'}", k->fs);
      end_notes();
      CHECK_ANSWER(a, 0);
      check_format(k, again != 0);
    }
    drop(&s);
  }
}

static answer failing_format(const scratch *s, const char *fs, const char *what,
                             int times) {
  CHECK_ANSWER(format_it(s->device, "{'fs':'swap','label':'old'}"), 0);
  failing = what;
  failures = times;
  begin_notes();
  answer a = format_it(s->device, "{'fs':'%s'}", fs);
  end_notes();
  failing = NULL;
  return a;
}

/* Nothing is begun without its record. */
TEST(a_record_that_cannot_be_kept) {
  static const char *const kept[] = {"vfat", "record",    "swap", "record",
                                     "vfat", "directory", "swap", "directory"};
  NEED("vfat");
  NEED("swap");
  scratch s = scratch_of(16);
  for (int i = 0; i < 8; i += 2) {
    answer a = failing_format(&s, kept[i], kept[i + 1], 1);
    CHECK_INT(a.code, VDS_E_IO_ERROR);
    CHECK(said(&a, "cannot be kept"));
    forget(&a);
    CHECK_INT(place_of("tool: looked", 0), -1);
    CHECK_TEXT(seen(s.fd).fs, "");
    CHECK_INT(records_left(), 0);
  }
  drop(&s);
}

TEST(a_wipe_that_is_not_taken_ends_it) {
  NEED("swap");
  scratch s = scratch_of(16);
  answer a = failing_format(&s, "swap", "device", 1);
  CHECK_INT(a.code, VDS_E_IO_ERROR);
  CHECK(said(&a, "does not take what was written"));
  forget(&a);
  CHECK_INT(place_of("tool: looked", 0), -1);
  CHECK_TEXT(seen(s.fd).fs, "");
  CHECK_INT(records_left(), 0);
  drop(&s);
}

/* The device was raw: its first sync is that of what was made. */
TEST(a_file_system_that_is_not_taken_is_none) {
  NEED("swap");
  scratch s = scratch_of(16);
  failing = "device";
  failures = 1;
  begin_notes();
  answer a = format_it(s.device, "{'fs':'swap'}");
  end_notes();
  failing = NULL;
  CHECK_INT(a.code, VDS_E_IO_ERROR);
  CHECK(said(&a, "does not take what was written"));
  forget(&a);
  CHECK(place_of("format: made", 0) >= 0);
  CHECK_INT(place_of("format: committed", 0), -1);
  CHECK_TEXT(seen(s.fd).fs, "");
  CHECK_INT(records_left(), 0);
  drop(&s);
}


/* ------------------------------------------------------------------
** Clean
** ---------------------------------------------------------------- */

static bool with_table(const scratch *s, const char *style) {
  return volumes_run(
             "printf 'label: %s\\n,4M\\n,4M\\n' | sfdisk -q --no-reread -f "
             "'%s' >/dev/null 2>&1",
             style, s->device) == 0;
}

static answer clean(const scratch *s) {
  vds_identity who = identity_at(s->device);
  return end_of(begin_with("clean", options_on(&who, "{}")));
}
#define NEED_TABLE(s, style)     \
  if (!with_table(s, style)) {   \
    drop(s);                     \
    SKIP("needs sfdisk: fdisk"); \
  }

/* Of a table with a backup the backup is gone for good before its beginning is
   touched, and what was in the partitions with it. */
TEST(a_backup_goes_for_good_before_its_table) {
  NEED_DISKS();
  scratch s = scratch_of(16);
  NEED_TABLE(&s, "gpt");
  begin_notes();
  CHECK_ANSWER(clean(&s), VDS_S_DISK_PARTIALLY_CLEANED);
  end_notes();
  CHECK_INT(between("clean: taken", "clean: end zeroed", "device"), 0);
  CHECK_INT(between("clean: end zeroed", "clean: beginning zeroed", "device"),
            1);
  CHECK_INT(between("clean: beginning zeroed", "clean: wiped", "device"), 0);
  CHECK_INT(between("clean: wiped", "clean: durable", "device"), 1);
  CHECK_TEXT(seen(s.fd).table, "");
  drop(&s);
}

TEST(what_has_no_backup_is_synced_once) {
  NEED_DISKS();
  scratch s = scratch_of(16);
  NEED_TABLE(&s, "dos");
  begin_notes();
  CHECK_ANSWER(clean(&s), VDS_S_DISK_PARTIALLY_CLEANED);
  end_notes();
  CHECK(place_of("clean: partition wiped", 0) >= 0);
  CHECK_INT(between("clean: taken", "clean: wiped", "device"), 0);
  CHECK_INT(between("clean: wiped", "clean: durable", "device"), 1);
  CHECK_TEXT(seen(s.fd).table, "");
  drop(&s);
}

/* The old table is still what there is. */
TEST(a_backup_that_stays_keeps_the_table) {
  NEED_DISKS();
  scratch s = scratch_of(16);
  NEED_TABLE(&s, "gpt");
  failing = "device";
  failures = 1;
  begin_notes();
  CHECK_ANSWER(clean(&s), VDS_E_IO_ERROR);
  end_notes();
  failing = NULL;
  CHECK_TEXT(seen(s.fd).table, "gpt");
  drop(&s);
}

static void all(void) {
  RUN(nothing_is_made_on_what_could_come_back);
  RUN(a_record_that_cannot_be_kept);
  RUN(a_wipe_that_is_not_taken_ends_it);
  RUN(a_file_system_that_is_not_taken_is_none);
  RUN(a_backup_goes_for_good_before_its_table);
  RUN(what_has_no_backup_is_synced_once);
  RUN(a_backup_that_stays_keeps_the_table);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
