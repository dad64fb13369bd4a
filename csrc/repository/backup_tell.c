/*
** backup_tell: how far it is, and what could not be read.
*/
#include <string.h>

#include "repository/backup_parts.h"

#define ERRORS_KEPT 1000
#define TELL_MS 100 /* not more often than that */

#ifdef SAROS_TEST
void (*repo_backup_test)(backup *b, const char *what, const char *name);
#endif

void repo_backup_fail(backup *b, error *e) {
  pthread_mutex_lock(&b->lock);
  if (b->why == NULL)
    b->why = e;
  else
    error_unref(e);
  b->failed = true;
  pthread_cond_broadcast(&b->moved);
  pthread_mutex_unlock(&b->lock);
}

bool repo_backup_ends(backup *b) {
  if (b->failed) return true;
  if (saros_op_checkpoint(b->c->op) && !repo_stopped(&b->h->stop)) return false;
  repo_backup_fail(b,
                   repo_error(SAROS_E_CANCELLED, "the backup was cancelled"));
  return true;
}

static value *item_of(const char *path, const error *e) {
  buffer b = BUFFER_EMPTY;
  value *map = value_map();
  buffer_text(&b, e->message);
  for (const error *c = e->cause; c != NULL; c = c->cause) {
    buffer_text(&b, ": ");
    buffer_text(&b, c->message);
  }
  bool good = map != NULL && !b.failed && path_put(map, path) &&
              value_put(map, "message", value_text(b.data)) &&
              value_put(map, "code", value_int(e->code)) &&
              (e->number == 0 || value_put(map, "errno", value_int(e->number)));
  buffer_free(&b);
  if (good) return map;
  value_free(map);
  return NULL;
}

static bool within(const char *path, const char *top) {
  size_t size = strlen(top);
  while (size > 0 && top[size - 1] == '/') size--;
  return strncmp(path, top, size) == 0 &&
         (path[size] == '/' || path[size] == '\0');
}

/* Whether what must be whole lacks something when this cannot be read. */
static bool tears(const backup *b, const char *path) {
  const value *list = b->o.whole;
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    const char *one = value_chars(list->as.items[i], "");
    if (within(path, one) || within(one, path)) return true;
  }
  return false;
}

/* Which items cannot be kept for ever; how many is always told. */
void repo_backup_item_failed(directory *d, size_t at, hand *h, error *e) {
  backup *b = d->b;
  const char *path = repo_backup_shown(d, at, h);
  value *item = b->counts.failed++ < ERRORS_KEPT ? item_of(path, e) : NULL;
  if (tears(b, path)) b->counts.torn = true;
  log_write(LOG_WARNING, "repository", "%s: %s", path, e->message);
  error_unref(e);
  if (item == NULL) return;
  pthread_mutex_lock(&b->lock);
  if (b->errors == NULL) b->errors = value_list();
  if (b->errors == NULL)
    value_free(item);
  else
    value_add(b->errors, item);
  pthread_mutex_unlock(&b->lock);
}

void repo_backup_tell_counts(backup *b) {
  saros_op *op = b->c->op;
  uint64_t done = b->counts.bytes;
  saros_op_detail(op, "files", saros_value_integer((int64_t)b->counts.files));
  saros_op_detail(op, "failed", saros_value_integer((int64_t)b->counts.failed));
  saros_op_progress(op, done, b->total > done ? b->total : 0);
}

void repo_backup_moved(directory *d, size_t at, uint64_t bytes, hand *h) {
  backup *b = d->b;
  atomic_fetch_add(&b->counts.bytes, bytes);
  uint64_t now = repo_clock(), told = b->told;
  if (now - told < TELL_MS ||
      !atomic_compare_exchange_strong(&b->told, &told, now))
    return;
  const char *path = repo_backup_shown(d, at, h);
  saros_op_detail(b->c->op, "path", saros_value_bytes(path, strlen(path)));
  repo_backup_tell_counts(b);
}
