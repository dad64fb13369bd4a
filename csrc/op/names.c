/*
** The register of names: operations that a later request, another state or a
** person can find again. It holds a reference until the name is taken over
** by a new operation, or forgotten.
*/
#include <string.h>

#include "op/fork_parts.h"
#include "op/names.h"

#define BUCKETS 64

typedef struct entry entry;
struct entry {
  entry *next;
  saros_op *op; /* its extra has the name */
};

static entry *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void names_hold(void) {
  pthread_mutex_lock(&lock);
}

void names_let_go(void) {
  pthread_mutex_unlock(&lock);
}

static entry **find(const char *name) {
  uint32_t hash = 2166136261u;
  for (const char *c = name; *c != '\0'; c++)
    hash = (hash ^ (unsigned char)*c) * 16777619u;
  entry **at = &buckets[hash % BUCKETS];
  while (*at != NULL && strcmp(op_extra_get((*at)->op)->name, name) != 0)
    at = &(*at)->next;
  return at;
}

uint32_t names_put(saros_op *op, const char *name) {
  saros_op *old = NULL;
  entry *fresh = mem_alloc(sizeof *fresh);
  if (fresh == NULL) return SAROS_E_OUTOFMEMORY;
  pthread_mutex_lock(&lock);
  entry **at = find(name);
  if (*at != NULL) {
    old = (*at)->op;
    if (!op_is_over(old)) {
      pthread_mutex_unlock(&lock);
      mem_free(fresh);
      return SAROS_E_BUSY_NAME;
    }
    (*at)->op = op;
  } else {
    fresh->op = op;
    fresh->next = NULL;
    *at = fresh;
    fresh = NULL;
  }
  saros_op_ref(op);
  pthread_mutex_unlock(&lock);
  mem_free(fresh);
  if (old != NULL) saros_op_unref(old);
  return 0;
}

void op_forget_name(saros_op *op) {
  op_extra *x = op_extra_get(op);
  if (x == NULL || x->name == NULL) return;
  pthread_mutex_lock(&lock);
  entry **at = find(x->name);
  entry *found = *at;
  if (found != NULL && found->op == op)
    *at = found->next;
  else
    found = NULL;
  pthread_mutex_unlock(&lock);
  if (found == NULL) return;
  mem_free(found);
  saros_op_unref(op);
}

saros_op *saros_get(const char *name) {
  pthread_mutex_lock(&lock);
  entry **at = find(name);
  saros_op *op = *at != NULL ? saros_op_ref((*at)->op) : NULL;
  pthread_mutex_unlock(&lock);
  return op;
}

void op_each_named(void (*call)(void *context, saros_op *op), void *context) {
  /* One at a time and by position, because `call` may take long or raise;
     what comes or goes meanwhile may be missed or not. */
  for (unsigned b = 0; b < BUCKETS; b++) {
    for (unsigned skip = 0;; skip++) {
      pthread_mutex_lock(&lock);
      entry *e = buckets[b];
      for (unsigned i = 0; e != NULL && i < skip; i++) e = e->next;
      saros_op *op = e != NULL ? saros_op_ref(e->op) : NULL;
      pthread_mutex_unlock(&lock);
      if (op == NULL) break;
      call(context, op);
      saros_op_unref(op);
    }
  }
}
