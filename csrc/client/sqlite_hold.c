/*
** sqlite-hold: holds databases still. A program of its own, because the locks
** of SQLite belong to a process, and whatever file of a database that process
** closes, the kernel takes all its locks on it away. Who makes a shadow opens
** and closes these very files.
**
**     sqlite-hold LOCK_MS HOLD_MS DATABASE …
**
** When it has every write lock it says of each database, so that a copy can be
** held against it, in digits of 16 what its header counts, and the beginning
** of its log ("-": it has none):
**
**     at <number> <size> <header from 24 to 31> <size of the log> <its first
*32>
**
** and then "held". It lets go when it is told to end (TERM, INT, HUP), or after
** HOLD_MS. What cannot be had it says in a line
**
**     failed <code of SQLite> <errno> <number of the database> <message>
**
** Told to end it says "let go", so that it is known to have held until then; or
** "moved <number>" of a database whose file is not under its name any more:
** whoever came to that name was held by nobody.
**
** However it ends, the kernel lets go of the locks. The order of the databases
** is the caller's: always the same, or two would wait for each other.
*/
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t deadline; /* monotonic milliseconds: for the locks */
static sigset_t ends;    /* signals that end it */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether a signal came within that time. */
static int told_to_end(int64_t ms) {
  struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                       .tv_nsec = (long)(ms % 1000) * 1000000};
  return sigtimedwait(&ends, NULL, &t) > 0;
}

static void let_go(sqlite3 **list, int count) {
  while (count-- > 0) sqlite3_close_v2(list[count]); /* that rolls back */
}

/* Somebody else writes: sleeps, and 1 to try again. Never for long: who writes
   all the time leaves only the moment between two commits, and on a slow disk
   that is a thousandth of it. */
static int busy(void *argument, int count) {
  (void)argument;
  (void)count;
  if (deadline <= now_ms()) return 0;
  if (told_to_end(1)) _exit(0);
  return 1;
}

/* The code of SQLite. */
static int hold(const char *path, sqlite3 **db) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  int r = sqlite3_open_v2(path, db, flags, NULL);
  if (r != SQLITE_OK) return r;
  sqlite3_busy_handler(*db, busy, NULL);
  r = sqlite3_exec(*db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (r != SQLITE_OK) return r;
  /* What may not be written to was opened for reading, and this has begun to
     read: which keeps nobody from anything. */
  return sqlite3_db_readonly(*db, "main") ? SQLITE_READONLY : SQLITE_OK;
}

/* The number of the first that is not there any more; 0: all are. */
static int moved(sqlite3 **list, int count) {
  for (int i = 0; i < count; i++) {
    int away = 0;
    int r =
        sqlite3_file_control(list[i], "main", SQLITE_FCNTL_HAS_MOVED, &away);
    if (r == SQLITE_OK && away != 0) return i + 1;
  }
  return 0;
}

/* While it holds. */
static void say_so(sqlite3 **list, int count) {
  int away = moved(list, count);
  if (away != 0)
    printf("moved %d\n", away);
  else
    printf("let go\n");
  fflush(stdout);
}

static void say_bytes(const unsigned char *bytes, int count) {
  putchar(' ');
  for (int i = 0; i < count; i++) printf("%02x", bytes[i]);
}

/* By SQLite's own descriptors: were one of ours closed, the locks were gone. */
static sqlite3_file *file_of(sqlite3 *db, int which) {
  sqlite3_file *f = NULL;
  int r = sqlite3_file_control(db, "main", which, &f);
  return r == SQLITE_OK && f != NULL && f->pMethods != NULL ? f : NULL;
}

static void say_where(sqlite3 *db, int number) {
  sqlite3_file *f = file_of(db, SQLITE_FCNTL_FILE_POINTER);
  sqlite3_file *log = file_of(db, SQLITE_FCNTL_JOURNAL_POINTER);
  sqlite3_int64 size = 0, log_size = 0;
  unsigned char head[100], log_head[32];
  if (f == NULL || f->pMethods->xFileSize(f, &size) != SQLITE_OK ||
      f->pMethods->xRead(f, head, sizeof head, 0) != SQLITE_OK)
    return; /* it is empty: there is nothing to be lost */
  printf("at %d %lld", number, (long long)size);
  say_bytes(head + 24, 8);
  bool has = head[18] == 2 && log != NULL &&
             log->pMethods->xFileSize(log, &log_size) == SQLITE_OK &&
             log->pMethods->xRead(log, log_head, sizeof log_head, 0) == 0;
  printf(" %lld", has ? (long long)log_size : 0ll);
  if (has)
    say_bytes(log_head, sizeof log_head);
  else
    printf(" -");
  printf("\n");
}

static int run(char **paths, int count, int64_t hold_ms, sqlite3 **list) {
  for (int i = 0; i < count; i++) {
    int r = hold(paths[i], &list[i]);
    if (r == SQLITE_OK) continue;
    bool said = list[i] != NULL && sqlite3_errcode(list[i]) != SQLITE_OK;
    printf("failed %d %d %d %s\n", r & 0xFF,
           said ? sqlite3_system_errno(list[i]) : 0, i + 1,
           said ? sqlite3_errmsg(list[i]) : sqlite3_errstr(r));
    let_go(list, i + 1);
    return 1;
  }
  for (int i = 0; i < count; i++) say_where(list[i], i + 1);
  printf("held\n");
  fflush(stdout);
  int told = told_to_end(hold_ms);
  if (told) say_so(list, count);
  let_go(list, count);
  return told ? 0 : 2;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: sqlite-hold LOCK_MS HOLD_MS DATABASE …\n");
    return 64;
  }
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGHUP);
  sigprocmask(SIG_BLOCK, &ends, NULL);
  deadline = now_ms() + strtoll(argv[1], NULL, 10);
  int count = argc - 3;
  sqlite3 **list = calloc((size_t)count, sizeof(sqlite3 *));
  if (list == NULL) return 1;
  int code = run(argv + 3, count, strtoll(argv[2], NULL, 10), list);
  free(list);
  return code;
}
