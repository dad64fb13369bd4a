/*
** busy: a list of claims. There are few of them at a time.
*/
#include "vds/busy.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "vds/object.h"

enum { DEVICES_MOST = 64 };

typedef struct claimed {
  dev_t whole, dev; /* a disk: the same twice */
} claimed;

struct vds_claim {
  vds_claim *next;
  const vds_work *work;
  saros_op *op; /* no reference: its release gives the claim back first */
  unsigned generation;
  claimed devices[DEVICES_MOST];
  size_t count;
  dev_t file_device; /* a virtual disk's file, or a name that is none yet */
  ino_t file;
  char *path;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static vds_claim *claims;


/* ------------------------------------------------------------------
** Who is in the way
** ---------------------------------------------------------------- */

static bool devices_meet(const claimed *a, const claimed *b) {
  if (a->whole != b->whole) return false;
  return a->dev == b->dev || a->dev == a->whole || b->dev == b->whole;
}


static bool meet(const vds_claim *a, const vds_claim *b) {
  if (a->file != 0 && a->file == b->file && a->file_device == b->file_device)
    return true;
  if (a->path != NULL && b->path != NULL && strcmp(a->path, b->path) == 0)
    return true;
  for (size_t i = 0; i < a->count; i++)
    for (size_t j = 0; j < b->count; j++)
      if (devices_meet(&a->devices[i], &b->devices[j])) return true;
  return false;
}


/* One that was cancelled before a worker had it never runs, and gives nothing
   back: it is over all the same. */
static bool is_over(const vds_claim *c) {
  return c->generation != vds_generation() || saros_op_wait(c->op, 0);
}


static const vds_claim *in_the_way(const vds_claim *mine) {
  for (const vds_claim *c = claims; c != NULL; c = c->next)
    if (c != mine && meet(c, mine) && !is_over(c)) return c;
  return NULL;
}


static error *refusal(const vds_claim *other) {
  error *e = vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                       "%s is still at work on it; wait until that has ended",
                       other->work->kind.name);
  return e;
}


/* ------------------------------------------------------------------
** Taking and giving
** ---------------------------------------------------------------- */

static void discard(vds_claim *c) {
  if (c == NULL) return;
  mem_free(c->path);
  mem_free(c);
}


static void add_object(vds_claim *claim, const value *object) {
  vds_identity who;
  if (!vds_identity_get(object, &who)) return;
  claim->devices[claim->count++] = (claimed){who.whole, who.dev};
}


static bool describe(vds_claim *claim, const vds_call *c, error **e) {
  struct stat st;
  if (c->work->claims == VDS_CLAIMS_OBJECT) {
    add_object(claim, value_get(c->options, "object"));
    add_object(claim, value_get(c->options, "other"));
    return claim->count > 0;
  }
  const char *path = value_chars(value_get(c->options, "path"), NULL);
  if (path == NULL) return false;
  claim->path = mem_text(path);
  if (claim->path == NULL) {
    *e = error_no_memory();
    return false;
  }
  if (stat(path, &st) == 0) {
    claim->file_device = st.st_dev;
    claim->file = st.st_ino;
  }
  return true;
}


static vds_claim *new_claim(const vds_work *work, saros_op *op, error **e) {
  vds_claim *claim = mem_zero(sizeof *claim);
  if (claim == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  claim->work = work;
  claim->generation = vds_generation();
  claim->op = op;
  return claim;
}


vds_claim *vds_busy_take(const vds_call *c, saros_op *op, error **e) {
  *e = NULL;
  if (c->work->claims == VDS_CLAIMS_NOTHING || vds_flag(c, "plan")) return NULL;
  vds_claim *claim = new_claim(c->work, op, e);
  if (claim == NULL) return NULL;
  if (!describe(claim, c, e)) {
    discard(claim);
    return NULL;
  }
  pthread_mutex_lock(&lock);
  const vds_claim *other = in_the_way(claim);
  if (other != NULL) {
    *e = refusal(other);
  } else {
    claim->next = claims;
    claims = claim;
  }
  pthread_mutex_unlock(&lock);
  if (*e == NULL) return claim;
  discard(claim);
  return NULL;
}


static error *look_up(const dev_t *devices, size_t count, claimed *found) {
  vds_about *a = mem_alloc(sizeof *a);
  if (a == NULL) return error_no_memory();
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < count; i++) {
    e = vds_about_read(devices[i], a);
    if (e == NULL) found[i] = (claimed){a->whole, a->dev};
  }
  mem_free(a);
  return e;
}


static error *extend(vds_claim *claim, bool first, const claimed *found,
                     size_t count) {
  error *e = NULL;
  pthread_mutex_lock(&lock);
  size_t before = claim->count;
  memcpy(claim->devices + before, found, count * sizeof *found);
  claim->count += count;
  const vds_claim *other = in_the_way(claim);
  if (other != NULL) {
    e = refusal(other);
    claim->count = before;
  } else if (first) {
    claim->next = claims;
    claims = claim;
  }
  pthread_mutex_unlock(&lock);
  return e;
}


error *vds_busy_more(vds_call *c, const dev_t *devices, size_t count) {
  claimed found[DEVICES_MOST];
  error *e = NULL;
  if (count == 0) return NULL;
  bool first = c->claim == NULL;
  vds_claim *claim = first ? new_claim(c->work, c->op, &e) : c->claim;
  if (claim == NULL) return e;
  if (claim->count + count > DEVICES_MOST)
    e = vds_error(VDS_E_NOT_SUPPORTED, "it has more than %d devices",
                  DEVICES_MOST);
  if (e == NULL) e = look_up(devices, count, found);
  if (e == NULL) e = extend(claim, first, found, count);
  if (first && e == NULL) c->claim = claim;
  if (first && e != NULL) discard(claim);
  return e;
}


void vds_busy_give(vds_claim *claim) {
  if (claim == NULL) return;
  pthread_mutex_lock(&lock);
  for (vds_claim **at = &claims; *at != NULL; at = &(*at)->next)
    if (*at == claim) {
      *at = claim->next;
      break;
    }
  pthread_mutex_unlock(&lock);
  discard(claim);
}


const char *vds_busy_with(dev_t whole, dev_t dev) {
  const claimed who = {whole, dev};
  const char *name = NULL;
  pthread_mutex_lock(&lock);
  for (const vds_claim *c = claims; c != NULL && name == NULL; c = c->next)
    for (size_t i = 0; i < c->count && name == NULL; i++)
      if (devices_meet(&c->devices[i], &who) && !is_over(c))
        name = c->work->name;
  pthread_mutex_unlock(&lock);
  return name;
}


/* The lock may be somebody's in the parent; the claims are the parent's. */
void vds_busy_forked(void) {
  lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
  claims = NULL;
}
