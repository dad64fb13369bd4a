/*
** Where the files of the queue are. SQLite goes on with what it has open, also
** when somebody has removed it or has put another file in its place: all that
** is said to it then is nowhere when the process ends. So each change looks
** first whether the names still lead to what was opened.
**
** What was overwritten in place is not seen here: it is the same file.
*/
#include <errno.h>
#include <string.h>

#include "bits/queue_parts.h"

static const char *const suffixes[QUEUE_PLACES] = {"", "-wal", "-shm"};

static bool is_same(const queue_place *p, const struct stat *st) {
  return st->st_dev == p->device && st->st_ino == p->inode;
}

/* 0, or errno. */
static int look(const bits_queue *q, int which, struct stat *st) {
  char *path = queue_beside(q, suffixes[which]);
  if (path == NULL) return ENOMEM;
  int number = lstat(path, st) == 0 ? 0 : errno;
  mem_free(path);
  return number;
}

int queue_place_note(bits_queue *q) {
  struct stat st;
  for (int i = 0; i < QUEUE_PLACES; i++) {
    int number = look(q, i, &st);
    q->places[i] = (queue_place){.known = number == 0};
    /* Of the two beside it SQLite says what it is: they may be elsewhere. */
    if (number != 0 && (i == 0 || number == ENOMEM)) return number;
    if (number != 0) continue;
    q->places[i].device = st.st_dev;
    q->places[i].inode = st.st_ino;
  }
  return 0;
}

bool queue_place_is(const bits_queue *q, const struct stat *st) {
  return q->places[0].known && is_same(&q->places[0], st);
}

bool queue_place_has_other(const bits_queue *q) {
  struct stat st;
  return lstat(q->path, &st) == 0 && !queue_place_is(q, &st);
}

static error *lost(const bits_queue *q, int which, int number) {
  return queue_fail(number == 0 ? SAROS_E_CHANGED : code_of_errno(number),
                    "cannot write the queue: %s%s %s while it is in use (%s): "
                    "put back what was there%s",
                    q->path, suffixes[which],
                    number == 0        ? "was replaced"
                    : number == ENOENT ? "was removed"
                                       : "is out of reach",
                    number == 0 ? "it is another file now" : strerror(number),
                    which == 0
                        ? "; else the queue is lost when it is closed"
                        : ", or close the queue and open it again: only what "
                          "could not be written is forgotten then");
}

error *queue_place_check(bits_queue *q) {
  for (int i = 0; i < QUEUE_PLACES; i++) {
    struct stat st;
    if (!q->places[i].known) continue;
    int number = look(q, i, &st);
    if (number == ENOMEM) return queue_no_memory();
    if (number == 0 && is_same(&q->places[i], &st)) continue;
    /* What was committed to a WAL without a name goes to the queue itself, so
       that it is there whatever becomes of us. */
    if (i > 0)
      sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                NULL);
    return lost(q, i, number);
  }
  return NULL;
}
