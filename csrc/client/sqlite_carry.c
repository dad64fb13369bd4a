/*
** Who carries the statements out: a worker of the lane for each connection that
** has some. The lane has a limit, and a statement that waits for a lock keeps
** its worker. Were all of them waiting for one lock, whoever holds it would
** find no worker to let go of it with. So only some may be lent to connections
** without a transaction; one inside of a transaction always gets a worker.
*/
#include <stdlib.h>

#include "client/sqlite_parts.h"

/* The lane has 64, for everybody. */
#define PLACES 24

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* no other within */
static unsigned taken;
static sqlite *line, **line_end = &line; /* each with a reference */

/* The worker's: the `self` of its operation. */
typedef struct carrier {
  sqlite *c; /* a reference */
  bool placed;
} carrier;

static void carrier_free(void *self) {
  carrier *k = self;
  if (k->c != NULL) sqlite_unref(k->c);
  free(k);
}

/* The next in line, with its reference, for a place that has become free. */
static sqlite *next_in_line(void) {
  pthread_mutex_lock(&lock);
  sqlite *c = line;
  if (c == NULL) {
    taken--;
  } else {
    line = c->next;
    if (line == NULL) line_end = &line;
  }
  pthread_mutex_unlock(&lock);
  return c;
}

/* Takes the next statement; NULL: there is none, and nobody carries it now. */
static item *take(sqlite *c) {
  pthread_mutex_lock(&c->lock);
  item *it = c->first;
  if (it != NULL) {
    c->first = it->next;
    if (c->first == NULL) c->last = &c->first;
  } else {
    c->carried = false;
  }
  c->current = it;
  pthread_mutex_unlock(&c->lock);
  return it;
}

static void carry_out(sqlite *c) {
  item *it;
  while ((it = take(c)) != NULL) {
    trouble t = {""};
    uint32_t code = SAROS_E_CANCELLED;
    if (!saros_op_cancelled(it->op)) code = item_perform(it, &t);
    pthread_mutex_lock(&c->lock);
    c->inside = c->db != NULL && !sqlite3_get_autocommit(c->db);
    c->current = NULL;
    pthread_mutex_unlock(&c->lock);
    item_end(it, code, t.text[0] != '\0' ? t.text : NULL);
  }
}

static uint32_t run(saros_op *op, void *self) {
  carrier *k = self;
  (void)op;
  while (k->c != NULL) {
    carry_out(k->c);
    sqlite_unref(k->c);
    k->c = k->placed ? next_in_line() : NULL;
  }
  return SAROS_S_OK;
}

static const saros_kind carrier_kind = {.size = sizeof(saros_kind),
                                        .name = "sqlite.carry",
                                        .facade = SAROS_FACADE_SAROS,
                                        .flags = SAROS_RUN_LANE,
                                        .run = run,
                                        .release = carrier_free};

/* Takes over the reference. 0, or why there is no worker. */
static uint32_t start(sqlite *c, bool placed) {
  carrier *k = malloc(sizeof *k);
  if (k == NULL) return SAROS_E_OUTOFMEMORY;
  k->c = c;
  k->placed = placed;
  saros_op *op = saros_op_new(&carrier_kind, k, NULL);
  if (op == NULL) {
    free(k);
    return SAROS_E_OUTOFMEMORY;
  }
  sqlite_ref(c); /* should it fail, its release lets go of the other */
  uint32_t code = saros_op_start(op);
  saros_op_unref(op);
  if (code == 0) sqlite_unref(c);
  return code;
}

/* Takes over the reference. */
static void go(sqlite *c, bool placed) {
  while (c != NULL) {
    uint32_t code = start(c, placed);
    if (code == 0) return;
    sqlite_fail_all(c, code, "there is no thread to be had for it");
    sqlite_unref(c);
    c = placed ? next_in_line() : NULL;
  }
}

void carry(sqlite *c, bool urgent) {
  sqlite_ref(c);
  pthread_mutex_lock(&lock);
  bool now = urgent || taken < PLACES;
  if (now) {
    taken += !urgent;
  } else {
    c->next = NULL;
    *line_end = c;
    line_end = &c->next;
  }
  pthread_mutex_unlock(&lock);
  if (now) go(c, !urgent);
}

void carry_now(sqlite *c) {
  pthread_mutex_lock(&lock);
  sqlite **at = &line;
  while (*at != NULL && *at != c) at = &(*at)->next;
  bool waits = *at != NULL;
  if (waits) {
    *at = c->next;
    if (line_end == &c->next) line_end = at;
  }
  pthread_mutex_unlock(&lock);
  if (waits) go(c, false);
}

void carry_forget(void) {
  pthread_mutex_init(&lock, NULL);
  taken = 0;
  line = NULL;
  line_end = &line;
}
