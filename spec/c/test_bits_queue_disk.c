/*
** The queue and its disk: one that fails, is full, or forgets what was not
** synced when the power goes. A VFS between SQLite and the system remembers
** every file as it is on the disk for good, and what was written since.
**
** not under valgrind: it copies files at every sync
** not under thread: one thread
*/
#include <errno.h>
#include <limits.h>

#include "bits_queue_case.h"

/* ------------------------------------------------------------------
** The disk
** ---------------------------------------------------------------- */

enum { KEPT = 8, WRITES = 4000 };

typedef struct write_to { /* not synced yet */
  int64_t at;
  buffer bytes; /* of a truncation: none */
  bool cuts;
} write_to;

typedef struct kept_file { /* of a name, in the order of their coming */
  char name[400];
  bool used, exists; /* for good: its directory knows it */
  buffer durable;
  write_to *writes;
  int count;
} kept_file;

static struct {
  kept_file files[KEPT];
  bool records;
  long writes;    /* in all */
  long fails_at;  /* from this write on, until it is told to stop */
  int fails_with; /* SQLITE_FULL, SQLITE_IOERR_WRITE, … */
  bool fails_syncs, fails_reads;
  long cut_at; /* nothing that comes behind this write is remembered */
} disk;

typedef struct watched_file {
  sqlite3_file base;
  kept_file *kept; /* NULL: nobody asks for it */
  sqlite3_file *real;
} watched_file;

static sqlite3_vfs *real_vfs;

static void forget_writes(kept_file *f) {
  for (int i = 0; i < f->count; i++) buffer_free(&f->writes[i].bytes);
  f->count = 0;
}

static void disk_reset(void) {
  for (int i = 0; i < KEPT; i++) {
    forget_writes(&disk.files[i]);
    buffer_free(&disk.files[i].durable);
    free(disk.files[i].writes);
  }
  memset(&disk, 0, sizeof disk);
  disk.fails_at = disk.cut_at = LONG_MAX;
}

static kept_file *keep(const char *name) {
  for (int i = 0; i < KEPT; i++) {
    kept_file *f = &disk.files[i];
    if (f->used && strcmp(f->name, name) == 0) return f;
    if (f->used) continue;
    f->used = true;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->writes = calloc(WRITES, sizeof *f->writes);
    return f;
  }
  abort();
}

static void apply(buffer *to, int64_t at, const char *bytes, size_t size) {
  size_t end = (size_t)at + size;
  while (to->size < end) buffer_byte(to, '\0');
  if (size > 0) memcpy(to->data + at, bytes, size);
}

/* Whether what happens now still happens before the cut. */
static bool is_before_cut(void) {
  return disk.records && disk.writes < disk.cut_at;
}

static void remember(kept_file *f, int64_t at, const void *bytes, int size,
                     bool cuts) {
  if (f == NULL || !is_before_cut()) return;
  if (f->count == WRITES) abort();
  write_to *w = &f->writes[f->count++];
  *w = (write_to){.at = at, .cuts = cuts};
  if (size > 0) buffer_put(&w->bytes, bytes, (size_t)size);
}

static void play(buffer *to, const write_to *w, size_t size) {
  if (w->cuts && (int64_t)to->size > w->at) to->size = (size_t)w->at;
  if (!w->cuts) apply(to, w->at, w->bytes.data, size);
}

static int file_close(sqlite3_file *file) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xClose(w->real);
}

static int file_read(sqlite3_file *file, void *room, int size,
                     sqlite3_int64 at) {
  watched_file *w = (watched_file *)file;
  if (disk.fails_reads && size > 64) {
    errno = EIO;
    return SQLITE_IOERR_READ;
  }
  return w->real->pMethods->xRead(w->real, room, size, at);
}

static int file_write(sqlite3_file *file, const void *bytes, int size,
                      sqlite3_int64 at) {
  watched_file *w = (watched_file *)file;
  if (disk.writes++ >= disk.fails_at) {
    errno = disk.fails_with == SQLITE_FULL ? ENOSPC : EIO;
    return disk.fails_with;
  }
  remember(w->kept, at, bytes, size, false);
  return w->real->pMethods->xWrite(w->real, bytes, size, at);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
  watched_file *w = (watched_file *)file;
  remember(w->kept, size, NULL, 0, true);
  return w->real->pMethods->xTruncate(w->real, size);
}

static int file_sync(sqlite3_file *file, int flags) {
  watched_file *w = (watched_file *)file;
  if (disk.fails_syncs) return SQLITE_IOERR_FSYNC;
  if (w->kept != NULL && is_before_cut()) {
    for (int i = 0; i < w->kept->count; i++)
      play(&w->kept->durable, &w->kept->writes[i],
           w->kept->writes[i].bytes.size);
    forget_writes(w->kept);
    w->kept->exists = true;
  }
  return w->real->pMethods->xSync(w->real, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xFileSize(w->real, size);
}
static int file_lock(sqlite3_file *file, int lock) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xLock(w->real, lock);
}
static int file_unlock(sqlite3_file *file, int lock) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xUnlock(w->real, lock);
}
static int file_reserved(sqlite3_file *file, int *is) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xCheckReservedLock(w->real, is);
}
static int file_control(sqlite3_file *file, int op, void *argument) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xFileControl(w->real, op, argument);
}
static int file_sector(sqlite3_file *file) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xSectorSize(w->real);
}
/* Nothing is promised: a write may be torn, and come in any order. */
static int file_promises(sqlite3_file *file) {
  (void)file;
  return 0;
}
static int file_shm_map(sqlite3_file *file, int page, int size, int extend,
                        void volatile **map) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xShmMap(w->real, page, size, extend, map);
}
static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xShmLock(w->real, offset, n, flags);
}
static void file_shm_barrier(sqlite3_file *file) {
  watched_file *w = (watched_file *)file;
  w->real->pMethods->xShmBarrier(w->real);
}
static int file_shm_unmap(sqlite3_file *file, int deletes) {
  watched_file *w = (watched_file *)file;
  return w->real->pMethods->xShmUnmap(w->real, deletes);
}

static const sqlite3_io_methods watched_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_promises,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap};

static int watched_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                        int flags, int *got) {
  watched_file *w = (watched_file *)file;
  (void)vfs;
  memset(w, 0, sizeof *w);
  w->real = (sqlite3_file *)&w[1];
  int r = real_vfs->xOpen(real_vfs, name, w->real, flags, got);
  if (w->real->pMethods != NULL) w->base.pMethods = &watched_methods;
  if (disk.records && name != NULL) w->kept = keep(name);
  return r;
}

static void disk_begin(void) {
  static sqlite3_vfs vfs;
  real_vfs = sqlite3_vfs_find(NULL);
  vfs = *real_vfs;
  vfs.zName = "watched";
  vfs.pNext = NULL;
  vfs.szOsFile = (int)sizeof(watched_file) + real_vfs->szOsFile;
  vfs.xOpen = watched_open;
  sqlite3_vfs_register(&vfs, 1);
  disk.fails_at = disk.cut_at = LONG_MAX;
}


/* ------------------------------------------------------------------
** The power goes
** ---------------------------------------------------------------- */

/* What the machine finds when it is started again: all that was synced, and of
   the rest what chance has brought to the disk, torn at sectors. */
static void power_cut(uint64_t *random) {
  folder_empty(queue_folder);
  for (int i = 0; i < KEPT && disk.files[i].used; i++) {
    kept_file *f = &disk.files[i];
    buffer *b = &f->durable;
    unsigned luck = gate_below(random, 3); /* none of it, all of it, some */
    for (int j = 0; j < f->count; j++) {
      const write_to *w = &f->writes[j];
      size_t size = w->bytes.size;
      if (luck == 0 || (luck == 2 && gate_below(random, 2) == 0)) continue;
      if (luck == 2 && gate_below(random, 4) == 0)
        size = size / 512 * gate_below(random, 3) / 3 * 512;
      play(b, w, size);
    }
    if (f->exists || (luck > 0 && f->count > 0)) put_bytes(f->name, b);
  }
}

/* Begins to remember: what is there now is on the disk. */
static void record(void) {
  static const char *const all[] = {"", "-wal"};
  disk.records = true;
  for (int i = 0; i < 2; i++) {
    kept_file *f = keep(beside(all[i]));
    f->exists = is_there(all[i]);
    get_bytes(f->name, &f->durable);
  }
}

enum { NUMBERS = 30 };

static void one_round(uint64_t *random) {
  int64_t said = 0, k = 0; /* for good */
  folder_empty(queue_folder);
  disk_reset();
  bits_queue_close(open_sound_queue());
  record();
  disk.cut_at = disk.writes + 1 + gate_below(random, 1200);
  bits_queue *q = open_sound_queue();
  sqlite3_wal_autocheckpoint(q->db, 10 + (int)gate_below(random, 60));
  while (disk.writes < disk.cut_at) {
    bool full = gate_below(random, 5) == 0;
    CHECK(is_fine(bits_queue_begin(q, full)));
    k++;
    if (k == 1) CHECK(put_job(q, 1, BITS_QUEUED));
    CHECK(put_file(q, 1, (uint32_t)(k % NUMBERS), k));
    CHECK(is_fine(bits_queue_commit(q)));
    if (full && disk.writes < disk.cut_at) said = k;
  }
  disk.records = false;
  /* The process dies with the machine: SQLite is not to write any more. */
  disk.fails_at = 0;
  disk.fails_with = SQLITE_IOERR_WRITE;
  bits_queue_close(q);
  disk.fails_at = LONG_MAX;
  power_cut(random);
  q = open_sound_queue();
  if (q == NULL) return;
  loaded l = {0};
  sqlite3_stmt *s = NULL;
  CHECK(load(q, &l));
  /* The state behind one of the changes, and none older than what was said. */
  int64_t most = 0, rows = 0;
  CHECK_INT(queue_ask(q->db, "SELECT max(have) FROM files", &most), SQLITE_OK);
  CHECK(most >= said && most <= k);
  CHECK_INT(
      sqlite3_prepare_v2(q->db, "SELECT number, have FROM files", -1, &s, NULL),
      SQLITE_OK);
  while (sqlite3_step(s) == SQLITE_ROW) {
    int64_t have = sqlite3_column_int64(s, 1);
    CHECK_INT(have % NUMBERS, sqlite3_column_int64(s, 0));
    CHECK(have > most - NUMBERS);
    rows++;
  }
  sqlite3_finalize(s);
  CHECK_INT(rows, most < NUMBERS ? most : NUMBERS);
  bits_queue_close(q);
  buffer_free(&l.text);
}

TEST(the_power_goes) {
  uint64_t random = gate_seed("power");
  int rounds = getenv("SAROS_LONG") != NULL ? 300 : 12;
  for (int i = 0; i < rounds && check_bad == 0; i++) one_round(&random);
  disk_reset();
}


/* ------------------------------------------------------------------
** Full, failing
** ---------------------------------------------------------------- */

/* Fails at the n-th write, for every n; what was there is there, and it works
   as soon as there is room. */
static void fails(int with, uint32_t code) {
  folder_empty(queue_folder);
  disk_reset();
  bits_queue *q = open_sound_queue();
  fill(q, 2, 5);
  loaded before = {0}, after = {0};
  CHECK(load(q, &before));
  bool failed = true;
  for (long n = 0; failed && n < 100; n++) {
    disk.fails_at = disk.writes + n;
    disk.fails_with = with;
    error *e = bits_queue_begin(q, n % 2 == 0);
    for (uint32_t i = 0; e == NULL && i < 300; i++) {
      queue_file row = {.job = 2, .number = 1000 + i, .url = "u", .path = "p"};
      e = bits_queue_put_file(q, &row);
    }
    if (e == NULL) e = bits_queue_commit(q);
    disk.fails_at = LONG_MAX;
    failed = e != NULL;
    if (failed) {
      CHECK_INT(e->code, code);
      CHECK(strstr(e->message, queue_path) != NULL);
      error_unref(e);
      bits_queue_undo(q);
      CHECK(load(q, &after));
      CHECK_TEXT(after.text.data, before.text.data);
    }
  }
  CHECK(!failed);
  bits_queue_close(q);
  q = open_sound_queue();
  CHECK(load(q, &after));
  CHECK_INT(after.files, 310);
  bits_queue_close(q);
  buffer_free(&before.text);
  buffer_free(&after.text);
}

TEST(a_full_disk_loses_nothing) {
  fails(SQLITE_FULL, WIN32_(WIN32_DISK_FULL));
}

TEST(a_failing_disk_is_told) {
  fails(SQLITE_IOERR_WRITE, WIN32_(WIN32_WRITE_FAULT));
}

/* What cannot be synced is not said to be there for good. */
TEST(a_sync_that_fails) {
  folder_empty(queue_folder);
  disk_reset();
  bits_queue *q = open_sound_queue();
  fill(q, 1, 5);
  disk.fails_syncs = true;
  CHECK(is_fine(bits_queue_begin(q, true)));
  CHECK(put_job(q, 2, BITS_QUEUED));
  error *e = bits_queue_commit(q);
  CHECK(e != NULL);
  error_unref(e);
  bits_queue_undo(q);
  disk.fails_syncs = false;
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.jobs, 1);
  CHECK(is_fine(bits_queue_begin(q, true)));
  CHECK(put_job(q, 2, BITS_QUEUED));
  CHECK(is_fine(bits_queue_commit(q)));
  bits_queue_close(q);
  buffer_free(&l.text);
}

/* Not even a damaged one is set aside when that cannot be done whole. */
TEST(no_room_to_make_or_mend) {
  folder_empty(queue_folder);
  disk_reset();
  disk.fails_at = 0;
  disk.fails_with = SQLITE_FULL;
  CHECK_INT(refused(queue_path, true, NULL), WIN32_(WIN32_DISK_FULL));
  CHECK(!is_there(""));
  disk.fails_at = LONG_MAX;
  bits_queue *q = open_sound_queue();
  fill(q, 2, 5);
  bits_queue_close(q);
  CHECK(sqlite_does("UPDATE files SET have = 77 WHERE job = 1 AND number = 3"));
  for (long n = 0; n < 6; n++) {
    disk.fails_at = disk.writes + n;
    CHECK_INT(refused(queue_path, true, NULL), WIN32_(WIN32_DISK_FULL));
    CHECK(is_there(""));
    char suffix[300];
    CHECK(!find_beside(".damaged", suffix, sizeof suffix));
  }
  disk.fails_at = LONG_MAX;
  bool owner = true;
  error *told = NULL, *e = NULL;
  q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(told != NULL);
  CHECK(is_fine(e));
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.files, 9);
  CHECK_INT(l.torn, 2);
  error_unref(told);
  bits_queue_close(q);
  buffer_free(&l.text);
}

/* A disk that cannot be read for a while is no damaged queue. */
TEST(reads_that_fail) {
  folder_empty(queue_folder);
  disk_reset();
  bits_queue *q = open_sound_queue();
  fill(q, 2, 5);
  bits_queue_close(q);
  disk.fails_reads = true;
  buffer why = BUFFER_EMPTY;
  uint32_t code = refused(queue_path, true, &why);
  CHECK_INT(code, WIN32_(WIN32_READ_FAULT));
  disk.fails_reads = false;
  q = open_sound_queue();
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.files, 10);
  bits_queue_close(q);
  buffer_free(&l.text);
  buffer_free(&why);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  folder_make();
  disk_begin();
  GATE_RUN(the_power_goes);
  GATE_RUN(a_full_disk_loses_nothing);
  GATE_RUN(a_failing_disk_is_told);
  GATE_RUN(a_sync_that_fails);
  GATE_RUN(no_room_to_make_or_mend);
  GATE_RUN(reads_that_fail);
  disk_reset();
  return check_end();
}
