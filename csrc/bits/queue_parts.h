/*
** What the files of the queue share: queue.c opens and closes, queue_base.c
** speaks to SQLite, queue_owner.c knows who owns it, queue_place.c whether its
** files are where they were, queue_rows.c writes rows and queue_load.c reads
** them, queue_mend.c sets damaged ones aside.
**
** Nothing here opens the database but SQLite: whoever closes another descriptor
** of it takes away all locks that this process has on it.
*/
#ifndef SAROS_BITS_QUEUE_PARTS_H
#define SAROS_BITS_QUEUE_PARTS_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "bits/codes.h"
#include "bits/queue.h"

#define queue_fail(code, ...) error_make(SAROS_FACADE_BITS, code, __VA_ARGS__)

#define QUEUE_APPLICATION 0x53524251 /* "SRBQ" */
#define QUEUE_VERSION 1
/* The longest text in a row. A longer one is not ours. */
#define QUEUE_LONGEST (4 << 20)

/* Every statement that is used again and again. */
enum queue_statement {
  QUEUE_BEGIN,
  QUEUE_COMMIT,
  QUEUE_ROLLBACK,
  QUEUE_PUT_JOB,
  QUEUE_DROP_JOB,
  QUEUE_DROP_FILES,
  QUEUE_PUT_FILE,
  QUEUE_DROP_FILE,
  QUEUE_PUT_ORPHAN,
  QUEUE_DROP_ORPHAN,
  QUEUE_PUT_SETTING,
  QUEUE_GET_SETTING,
  QUEUE_DATA_VERSION,
  QUEUE_STATEMENTS
};

/* A file that SQLite has open: the database, its WAL, the WAL's index. */
enum { QUEUE_PLACES = 3 };
typedef struct queue_place {
  bool known;
  dev_t device;
  ino_t inode;
} queue_place;

struct bits_queue {
  bits_queue *next;  /* of all in this process */
  unsigned process;  /* queue_process, when it was opened */
  char *path;        /* no symbolic link is in it */
  char *parent;      /* its directory */
  bool known;        /* it has been owned before: it is a queue */
  uint64_t known_id; /* what it was called then */
  uint64_t id;       /* what it calls itself: sums are over that, too */
  bool owner;        /* and `lock` is held */
  int lock;          /* the descriptor, or -1 */
  char who[256];     /* what the file beside it says of us */
  queue_place places[QUEUE_PLACES];
  /* Who speaks to SQLite. A fork takes it, so that none is torn apart. */
  pthread_mutex_t turn;
  bool torn;      /* by a fork that could not wait for it */
  bool abandoned; /* closed in a child, which must not touch it */
  sqlite3 *db;    /* NULL: it is being opened anew */
  sqlite3_stmt *statements[QUEUE_STATEMENTS];
  bool full;       /* what `synchronous` is set to */
  bool inside;     /* a transaction is open */
  int64_t version; /* of the data, as last seen */
  _Atomic bool gives_up;
  int64_t waits_since; /* ms */
};

/* queue.c ------------------------------------------------------------- */

/* Changes with every fork. */
extern _Atomic unsigned queue_process;
/* Begins to speak to SQLite; an error: it is inherited. */
error *queue_take_turn(bits_queue *q);
void queue_end_turn(bits_queue *q);

/* queue_base.c: with the turn, or nobody else has it yet ------------------ */

typedef enum queue_find {
  QUEUE_OURS,
  QUEUE_EMPTY,  /* a database without anything, or a file without a byte */
  QUEUE_BROKEN, /* no database, or one that cannot be read */
  QUEUE_CHANGED /* ours, but not as we make them */
} queue_find;

/* What happened, from SQLite's answer. `doing`: "write the queue". */
error *queue_trouble(const bits_queue *q, sqlite3 *db, int r,
                     const char *doing);
/* Whether the answer says that the file is damaged. */
bool queue_is_damage(int r);
/* Connects, with all that keeps a hostile file in its place. What is written is
   carried over from the WAL when it is closed only once that is asked for. */
int queue_connect(bits_queue *q, const char *path, int flags, sqlite3 **db);
/* A single integer. */
int queue_ask(sqlite3 *db, const char *sql, int64_t *answer);
/* What this connection sees. Errors: somebody else's, a newer version, or it
   could not be seen. */
error *queue_look(bits_queue *q, sqlite3 *db, queue_find *what);
/* Makes a queue where there is no file. */
error *queue_make(bits_queue *q, const char *path, uint64_t *id, sqlite3 **db);
error *queue_prepare(bits_queue *q);
void queue_disconnect(bits_queue *q);
/* Carries out a prepared statement without rows. */
int queue_do(bits_queue *q, enum queue_statement which);
error *queue_sync_parent(const bits_queue *q);
/* "path" + suffix, allocated. */
char *queue_beside(const bits_queue *q, const char *suffix);
error *queue_no_memory(void) __attribute__((returns_nonnull));

/* queue_owner.c --------------------------------------------------------- */

/* *taken: nobody who lives has it, and now we do. */
error *queue_owner_take(bits_queue *q, bool *taken);
void queue_owner_release(bits_queue *q);
/* Whether the file beside it says that it has been owned before: q->known. */
void queue_owner_known(bits_queue *q);
/* It names the queue, too. */
void queue_owner_note_id(bits_queue *q);
void queue_owner_tell(bits_queue *q, buffer *b);

/* queue_place.c ---------------------------------------------------------- */

/* Remembers what has just been opened; 0, or errno. */
int queue_place_note(bits_queue *q);
/* Whether it is the database that was opened. */
bool queue_place_is(const bits_queue *q, const struct stat *st);
/* Whether another one is where it was. */
bool queue_place_has_other(const bits_queue *q);
/* An error: what is open has no longer its name. */
error *queue_place_check(bits_queue *q);

/* queue_load.c ------------------------------------------------------------ */

/* What a row should have in its last column. */
int64_t queue_sum_job(uint64_t id, const queue_job *row);
int64_t queue_sum_file(uint64_t id, const queue_file *row);
int64_t queue_sum_orphan(uint64_t id, const queue_orphan *row);
int64_t queue_sum_setting(uint64_t id, const char *name, const char *json);
/* What the queue calls itself; 0: it does not. */
int queue_read_id(sqlite3 *db, uint64_t *id);

/* Rows that are right, in their order; others are counted. With `around`, what
   cannot be read at all is gone round. */
typedef struct queue_reading {
  bits_queue *q;
  sqlite3 *db;
  uint64_t id;
  const queue_calls *calls; /* a call that is NULL: only counted */
  error *(*setting)(void *context, const char *name, const char *json);
  void *context;
  bool around;
  bool unlocked;     /* the turn is let go while somebody is called */
  int64_t good, bad; /* rows */
  int gaps;          /* in a table */
  int budget;        /* of seeks that may fail */
} queue_reading;

/* SQLITE_OK, what SQLite said, or SQLITE_ABORT: *e of a call. */
int queue_read(queue_reading *r, error **e);
/* Whether all of it is sound: *said, allocated, or NULL. */
error *queue_check(bits_queue *q, char **said);

/* queue_mend.c ------------------------------------------------------------ */

/* A new queue takes the place of what is there. */
error *queue_mend_make(bits_queue *q);
/* What a mending that was cut short has left. */
error *queue_mend_finish(bits_queue *q);
/* Sets it aside (q is disconnected), with a new one in its place; *told. */
error *queue_mend(bits_queue *q, const char *why, error **told);
/* A database that is gone, whose WAL is still here. */
error *queue_mend_lone(bits_queue *q, error **told);

#ifdef SAROS_TEST
/* Called before each step of a mending that a crash may come between. */
extern void (*queue_mend_step)(int step);
#endif

#endif
