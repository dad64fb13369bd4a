/*
** What was begun at a server and shall not be left there: uploads in parts
** whose jobs are gone. Each has a row until the server has taken it away, and
** is asked for again and again, ever more seldom, for a day.
*/
#include "bits/keeper.h"

#define PATIENCE_MS 5000u
#define PATIENCE_DOUBLED 9 /* some 40 minutes */
#define TRIES 45           /* some 24 hours: then it is left to the server */
#define AT_ONCE 4

static void free_one(keeper_orphan *o) {
  bits_terms_unref(o->terms);
  mem_free(o->what);
  mem_free(o);
}

static keeper_orphan *add(bits_manager *m, int64_t id, const char *what,
                          bits_terms *terms) {
  keeper_orphan *o = mem_zero(sizeof *o);
  char *copy = mem_text(what);
  if (o == NULL || copy == NULL) {
    mem_free(o);
    mem_free(copy);
    return NULL;
  }
  *o = (keeper_orphan){.m = m, .id = id, .what = copy};
  o->terms = terms != NULL ? bits_terms_ref(terms) : NULL;
  o->next = m->keeper->orphans;
  m->keeper->orphans = o;
  return o;
}

bool bits_orphans_load(bits_manager *m, const queue_orphan *row) {
  for (const keeper_orphan *o = m->keeper->orphans; o != NULL; o = o->next)
    if (o->id == row->id) return true;
  return add(m, row->id, row->what, NULL) != NULL;
}

bool bits_keeper_orphan(bits_manager *m, const char *what, bits_terms *terms) {
  if (add(m, 0, what, terms) == NULL) return false;
  m->changes++;
  m->keeper->chores_at = 0;
  bits_keeper_told(m);
  return true;
}

/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

/* On the lane. It is freed by the keeper, with its row, or with the manager. */
static void asked(void *context, error *e) {
  keeper_orphan *o = context;
  bits_manager *m = o->m;
  bits_keeper *k = m->keeper;
  pthread_mutex_lock(&m->lock);
  o->asked = false;
  o->gone = e == NULL || o->tries == TRIES;
  unsigned tries = o->tries < PATIENCE_DOUBLED ? o->tries : PATIENCE_DOUBLED;
  o->tries++;
  o->at = http_clock() + ((uint64_t)PATIENCE_MS << tries);
  if (o->gone) {
    m->changes++;
    bits_keeper_told(m);
  }
  uint64_t next = bits_orphans_next(m); /* another may have waited for it */
  if (k->chores_at > next) k->chores_at = next;
  bits_keeper_wake(m);
  pthread_mutex_unlock(&m->lock);
  bits_manager_unref(m);
}

static void ask(void *context) {
  keeper_orphan *o = context;
  bits_manager *m = o->m;
  pthread_mutex_lock(&m->lock);
  bool closing = m->closing;
  pthread_mutex_unlock(&m->lock);
  if (closing)
    asked(o, error_no_memory());
  else
    bits_s3_abort(m->lane, o->what, o->terms, asked, o);
}

/* Nobody waits for them when it is closed. */
static bool may_ask(const bits_manager *m) {
  unsigned under_way = 0;
  for (const keeper_orphan *o = m->keeper->orphans; o != NULL; o = o->next)
    under_way += o->asked;
  return under_way < AT_ONCE && !m->closing;
}

void bits_orphans_ask(bits_manager *m) {
  uint64_t now = http_clock();
  for (keeper_orphan *o = m->keeper->orphans; o != NULL && may_ask(m);
       o = o->next) {
    if (o->asked || o->gone || o->id == 0 || now < o->at) continue;
    o->asked = http_lane_call(m->lane, ask, o);
    if (o->asked)
      bits_manager_ref(m);
    else
      o->at = now + PATIENCE_MS; /* no memory */
  }
}

/* While none may be asked for it is whoever comes back that says so: else the
   keeper would look for it again and again, with the lock. */
uint64_t bits_orphans_next(const bits_manager *m) {
  uint64_t next = KEEPER_NEVER;
  if (!may_ask(m)) return next;
  for (const keeper_orphan *o = m->keeper->orphans; o != NULL; o = o->next)
    if (!o->asked && !o->gone && o->id != 0 && o->at < next) next = o->at;
  return next;
}

/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

/* The list only ever grows elsewhere, at its beginning. */
static keeper_orphan *first(bits_manager *m) {
  pthread_mutex_lock(&m->lock);
  keeper_orphan *o = m->keeper->orphans;
  pthread_mutex_unlock(&m->lock);
  return o;
}

static bool is_gone(bits_manager *m, const keeper_orphan *o) {
  pthread_mutex_lock(&m->lock);
  bool gone = o->gone;
  pthread_mutex_unlock(&m->lock);
  return gone;
}

static error *write_one(bits_manager *m, keeper_orphan *o) {
  bits_queue *q = m->keeper->queue;
  o->dropped = is_gone(m, o);
  if (o->dropped) return bits_queue_drop_orphan(q, o->id);
  if (o->id != 0) return NULL;
  queue_orphan row = {.id = 0, .what = o->what};
  error *e = bits_queue_put_orphan(q, &row);
  o->fresh = row.id;
  return e;
}

error *bits_orphans_write(bits_manager *m) {
  error *e = NULL;
  for (keeper_orphan *o = first(m); e == NULL && o != NULL; o = o->next)
    e = write_one(m, o);
  return e;
}

/* With the lock: the transaction is committed, or was undone. */
void bits_orphans_written(bits_manager *m, bool committed) {
  for (keeper_orphan **link = &m->keeper->orphans, *o; (o = *link) != NULL;) {
    if (o->fresh != 0 && committed) {
      o->id = o->fresh;
      m->keeper->chores_at = 0; /* it may be asked for */
    }
    o->fresh = 0;
    if (!o->dropped || !committed) {
      o->dropped = false;
      link = &o->next;
      continue;
    }
    *link = o->next;
    free_one(o);
  }
}

void bits_orphans_free(bits_manager *m) {
  for (keeper_orphan *o = m->keeper->orphans, *next; o != NULL; o = next) {
    next = o->next;
    free_one(o);
  }
  m->keeper->orphans = NULL;
}
