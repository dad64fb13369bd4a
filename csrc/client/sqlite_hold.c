/*
** sqlite-hold: holds databases still. A program of its own, because the locks
** of SQLite belong to a process, and whatever file of a database that process
** closes, the kernel takes all its locks on it away. Who makes a shadow opens
** and closes these very files.
**
**     sqlite-hold LOCK_MS HOLD_MS DATABASE …
**
** It says "held" when it has every write lock, and lets go when it is told to
** end (TERM, INT, HUP), or after HOLD_MS. What cannot be had it says in a line
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
