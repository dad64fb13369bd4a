/*
** restore: the operation. A plan is made of the trees; then a crew of threads
** looks at what is there, reads packs and writes files; then links, what is to
** be removed, and directories. What was restored before it was cancelled, or
** failed, or its process was killed, is whole, and is not written again.
*/
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "repository/restore_parts.h"

#define CREW_MOST 16
#define TELL_MS 100 /* the status moves at most so often */
#define TREES_KEPT ((size_t)64 << 20)

/* ------------------------------------------------------------------
** What is told
** ---------------------------------------------------------------- */

static bool stopped(const repo_stop *stop) {
  const restore *r = (const restore *)stop;
  return r->failed || repo_stopped(&r->h->stop);
}

bool repo_restore_goes_on(restore *r) {
  return !stopped(&r->stop);
}

void repo_restore_fail(restore *r, error *e) {
  pthread_mutex_lock(&r->report);
  bool first = r->why == NULL;
  if (first) r->why = e;
  pthread_mutex_unlock(&r->report);
  if (!first) error_unref(e);
  r->failed = true;
}

char *repo_restore_path(const restore *r, uint32_t f, const char *name) {
  size_t size = strlen(name) + 1, at;
  for (uint32_t p = f; p != 0; p = r->folders[p].parent)
    size += strlen(r->items[r->folders[p].item].name) + 1;
  char *path = mem_alloc(size + 1);
  if (path == NULL) return NULL;
  at = size;
  path[at] = '\0';
  for (;;) {
    size_t length = strlen(name);
    at -= length;
    memcpy(path + at, name, length);
    path[--at] = '/';
    if (f == 0) return path;
    name = r->items[r->folders[f].item].name;
    f = r->folders[f].parent;
  }
}

/* All that is behind it, as one sentence. */
static void put_sentence(buffer *b, const error *e) {
  buffer_text(b, e->message);
  for (e = e->cause; e != NULL; e = e->cause) {
    buffer_text(b, ": ");
    buffer_text(b, e->message);
  }
}

static value *sentence(const error *e) {
  buffer b = BUFFER_EMPTY;
  put_sentence(&b, e);
  value *v = b.failed ? NULL : value_string(b.data, b.size);
  buffer_free(&b);
  return v;
}

#define TOLD_SIZE 500 /* a map of a few texts, about */

/* With `report` held. Takes over `m`, which may be not `good`. */
static error *add_told(restore *r, value *list, bool good, value *m,
                       const char *path) {
  error *e = good ? repo_budget_take(&r->told, TOLD_SIZE + strlen(path),
                                     "restore a part of it")
                  : error_no_memory();
  if (e == NULL) return value_add(list, m) ? NULL : error_no_memory();
  value_free(m);
  return e;
}

void repo_restore_tell(restore *r, const char *path, error *e) {
  if (e->code == SAROS_E_OUTOFMEMORY || path == NULL) {
    repo_restore_fail(r, e);
    return;
  }
  value *m = value_map();
  bool good = m != NULL && path_put(m, path) &&
              value_put(m, "message", sentence(e)) &&
              value_put(m, "code", value_int(e->code));
  error_unref(e);
  pthread_mutex_lock(&r->report);
  r->c->partial = true;
  e = add_told(r, r->errors, good, m, path);
  pthread_mutex_unlock(&r->report);
  if (e != NULL) repo_restore_fail(r, e);
}

/* What concerns one file is no reason to give up all others. */
static bool concerns_all(const error *e) {
  return e->code == SAROS_E_OUTOFMEMORY || e->code == SAROS_E_CANCELLED ||
         e->number == ENOSPC || e->number == EDQUOT || e->number == EROFS ||
         e->number == EMFILE || e->number == ENFILE;
}

void repo_restore_failed(restore *r, uint32_t i, error *e) {
  uint8_t was = atomic_exchange(&r->items[i].state, ITEM_FAILED);
  char *path = repo_restore_path(r, r->items[i].folder, r->items[i].name);
  if (concerns_all(e) && path != NULL && e->code != SAROS_E_CANCELLED) {
    buffer b = BUFFER_EMPTY;
    text_escape(&b, path, strlen(path));
    error *all = b.failed ? error_no_memory()
                          : repo_error(e->code, "restoring %s", b.data);
    if (all != error_no_memory()) all->number = e->number;
    repo_restore_fail(r, error_because(all, e));
    buffer_free(&b);
  } else if (was != ITEM_FAILED) {
    repo_restore_tell(r, path, e);
  } else {
    error_unref(e);
  }
  mem_free(path);
}

void repo_restore_list_path(restore *r, const char *path, const char *action,
                            const char *type) {
  if (r->list == NULL) return;
  value *m = value_map();
  bool good = m != NULL && path_put(m, path) &&
              value_put(m, "action", value_text(action)) &&
              (type == NULL || value_put(m, "type", value_text(type)));
  pthread_mutex_lock(&r->report);
  error *e = add_told(r, r->list, good, m, path);
  pthread_mutex_unlock(&r->report);
  if (e != NULL) repo_restore_fail(r, e);
}

void repo_restore_list(restore *r, uint32_t i, const char *action) {
  const item *it = &r->items[i];
  if (r->list == NULL) return;
  char *path = repo_restore_path(r, it->folder, it->name);
  if (path != NULL)
    repo_restore_list_path(r, path, action, repo_node_type_name(it->type));
  mem_free(path);
}

static void tell_counts(restore *r) {
  saros_op *op = r->c->op;
  uint64_t files = atomic_load(&r->restored) + atomic_load(&r->same);
  saros_op_detail(op, "files", saros_value_integer((int64_t)files));
  saros_op_progress(op, atomic_load(&r->done), atomic_load(&r->total));
}

void repo_restore_progress(restore *r, uint64_t bytes, uint32_t i) {
  atomic_fetch_add(&r->done, bytes);
  uint64_t now = repo_clock(), next = atomic_load(&r->next_tell);
  if (now < next ||
      !atomic_compare_exchange_strong(&r->next_tell, &next, now + TELL_MS))
    return;
  char *path = repo_restore_path(r, r->items[i].folder, r->items[i].name);
  saros_op *op = r->c->op;
  if (path != NULL)
    saros_op_detail(op, "path", saros_value_bytes(path, strlen(path)));
  mem_free(path);
  tell_counts(r);
}


/* ------------------------------------------------------------------
** The crew
** ---------------------------------------------------------------- */

static void *crew_work(void *argument) {
  crew_mate *m = argument;
  restore *r = m->r;
  while (repo_restore_goes_on(r)) {
    uint32_t at = atomic_fetch_add(&r->next, r->work_step);
    if (at >= r->work_count) break;
    for (uint32_t i = at; i < at + r->work_step && i < r->work_count; i++) {
      if (!repo_restore_goes_on(r)) break;
      r->work(r, m, i);
    }
  }
  return NULL;
}

static void mate_end(crew_mate *m) {
  repo_place_forget(m);
  repo_tools_give(repo_tools_of(m->r->c->r), m->tool);
  repo_space_free(&m->sealed);
  repo_pair_free(&m->pair);
  repo_space_free(&m->text);
}

static unsigned crew_size(const restore *r) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  unsigned size = r->h->store->connections;
  if (cores > 0 && (unsigned)cores > size) size = (unsigned)cores;
  return size < CREW_MOST ? size : CREW_MOST;
}

error *repo_restore_crew(restore *r, uint32_t count, uint32_t step,
                         void (*work)(restore *r, crew_mate *m, uint32_t i)) {
  crew_mate *mates = mem_zero(CREW_MOST * sizeof *mates);
  pthread_t threads[CREW_MOST];
  unsigned wanted = crew_size(r), made = 0, begun = 0;
  error *e = NULL;
  sigset_t all, before;
  if (mates == NULL) return error_no_memory();
  if (wanted > (count + step - 1) / step) wanted = (count + step - 1) / step;
  for (; made < wanted && e == NULL; made++) {
    mates[made].r = r;
    e = repo_tools_take(repo_tools_of(r->c->r), &mates[made].tool);
  }
  r->work = work;
  r->work_count = count;
  r->work_step = step;
  atomic_store(&r->next, 0);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host's */
  while (e == NULL && begun + 1 < wanted &&
         pthread_create(&threads[begun], NULL, crew_work, &mates[begun + 1]) ==
             0)
    begun++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (e == NULL && wanted > 0) crew_work(&mates[0]);
  while (begun > 0) pthread_join(threads[--begun], NULL);
  while (made > 0) mate_end(&mates[--made]);
  mem_free(mates);
  return e;
}


/* ------------------------------------------------------------------
** What is asked
** ---------------------------------------------------------------- */

static error *misused(const char *what) {
  return repo_error(SAROS_E_INVALIDARG, "%s", what);
}

/* One pattern, or a list of them. NULL when there are none. */
static error *read_patterns(const value *v, bool fold, repo_exclude **x) {
  if (v == NULL || (v->type != VALUE_STRING && v->count == 0)) return NULL;
  if (*x == NULL && (*x = repo_exclude_new()) == NULL) return error_no_memory();
  if (v->type == VALUE_STRING)
    return repo_exclude_pattern(*x, v->as.string.data, fold);
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && v->type == VALUE_LIST && i < v->count; i++)
    e = v->as.items[i]->type == VALUE_STRING
            ? repo_exclude_pattern(*x, v->as.items[i]->as.string.data, fold)
            : misused("include, exclude: patterns expected");
  return e;
}

static error *read_overwrite(const char *text, restore_overwrite *o) {
  static const char *const names[] = {"always", "if-changed", "if-newer",
                                      "never"};
  for (unsigned i = 0; i < 4; i++)
    if (strcmp(text, names[i]) == 0) {
      *o = (restore_overwrite)i;
      return NULL;
    }
  return misused(
      "overwrite: \"always\", \"if-changed\", \"if-newer\" or \"never\" "
      "expected");
}

static error *read_options(restore *r) {
  const value *o = r->c->options;
  const char *target = value_chars(value_get(o, "target"), NULL);
  const value *include = value_get(o, "include");
  if (target == NULL || *target == '\0')
    return misused("where to? Give the directory to restore to as `target`");
  r->target = path_clean(target);
  if (r->target == NULL) return error_no_memory();
  r->removes = value_boolean(value_get(o, "delete"), false);
  r->dry_run = value_boolean(value_get(o, "dry_run"), false);
  r->sparse = value_boolean(value_get(o, "sparse"), false);
  r->verify = value_boolean(value_get(o, "verify"), false);
  error *e = read_overwrite(value_chars(value_get(o, "overwrite"), "always"),
                            &r->overwrite);
  if (e == NULL) e = read_patterns(include, false, &r->include);
  if (e == NULL) e = read_patterns(value_get(o, "iinclude"), true, &r->include);
  if (e == NULL) e = read_patterns(value_get(o, "exclude"), false, &r->exclude);
  if (e == NULL) e = read_patterns(value_get(o, "iexclude"), true, &r->exclude);
  return e;
}


/* ------------------------------------------------------------------
** The phases
** ---------------------------------------------------------------- */

/* A file whose other names' first one stays as it was is restored itself. */
static void relink(restore *r) {
  for (uint32_t i = 0; i < r->item_count; i++) {
    item *it = &r->items[i];
    if (it->link == NO_ITEM || it->state != ITEM_PLANNED) continue;
    item *first = &r->items[it->link];
    if (first->state != ITEM_SKIPPED) continue;
    if (first->link == NO_ITEM) {
      it->use = first->use;
      it->uses = first->uses;
      atomic_store(&it->left, it->uses);
      it->size = first->size;
      it->is_linked = true;
      first->link = i; /* for those that follow */
      it->link = NO_ITEM;
    } else {
      it->link = first->link;
    }
  }
  /* A name that stays as it is is of nothing. */
  for (uint32_t i = 0; i < r->item_count; i++)
    if (r->items[i].state == ITEM_SKIPPED) r->items[i].link = NO_ITEM;
}

static void sum_up(restore *r) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < r->item_count; i++) {
    const item *it = &r->items[i];
    if (it->type == REPO_NODE_FILE && it->link == NO_ITEM &&
        it->state == ITEM_PLANNED)
      total += it->size;
  }
  atomic_store(&r->total, total);
}

static error *open_files(restore *r) {
  struct rlimit limit;
  pthread_mutex_init(&r->files, NULL);
  pthread_cond_init(&r->opened, NULL);
  pthread_mutex_init(&r->report, NULL);
  r->open_most = 256;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < 256)
    r->open_most = (uint32_t)(limit.rlim_cur / 4) + 1;
  r->open = mem_alloc((r->open_most + 64) * sizeof *r->open);
  r->errors = value_list();
  r->told = repo_budget_new();
  uint8_t random[8];
  error *e = repo_random(random, sizeof random);
  for (unsigned i = 0; i < sizeof random; i++)
    snprintf(r->token + 2 * i, 3, "%02x", random[i]);
  if (r->dry_run) r->list = value_list();
  if (e != NULL) return e;
  if (r->open == NULL || r->errors == NULL || (r->dry_run && r->list == NULL))
    return error_no_memory();
  return NULL;
}

static void list_all(restore *r) {
  for (uint32_t i = 0; i < r->item_count; i++) {
    const item *it = &r->items[i];
    if (it->type == REPO_NODE_DIRECTORY || it->state == ITEM_FAILED) continue;
    bool skipped = it->state == ITEM_SKIPPED, same = it->state == ITEM_SAME;
    if (it->link != NO_ITEM) same = repo_rest_is_linked(r, i);
    if (!skipped) atomic_fetch_add(same ? &r->same : &r->restored, 1);
    if (!skipped && !same && it->type != REPO_NODE_FILE)
      atomic_fetch_add(&r->others, 1);
    repo_restore_list(r, i,
                      skipped     ? "skip"
                      : same      ? "keep"
                      : it->there ? "replace"
                                  : "create");
  }
}

/* Through all items, some at a time. */
#define STEP 32

static error *carry_out(restore *r) {
  error *e = repo_plan_reads(r);
  saros_op_phase(r->c->op, "restoring");
  if (e == NULL) e = repo_restore_crew(r, r->read_count, 1, repo_read_packs);
  if (e == NULL) e = repo_restore_crew(r, r->item_count, STEP, repo_rest_item);
  if (e == NULL) e = repo_restore_crew(r, r->item_count, STEP, repo_rest_link);
  if (e != NULL || !repo_restore_goes_on(r)) return e;
  repo_rest_remove(r);
  saros_op_phase(r->c->op, "directories");
  repo_rest_folders(r);
  if (!r->verify || !repo_restore_goes_on(r)) return NULL;
  saros_op_phase(r->c->op, "verifying");
  return repo_restore_crew(r, r->item_count, 1, repo_verify_item);
}

static error *perform(restore *r) {
  repo_index *index;
  error *e = repo_index_of(r->h, &index);
  if (e != NULL) return e;
  r->blobs =
      repo_blobs_new(r->h->store, repo_tools_of(r->c->r), index, TREES_KEPT);
  if (r->blobs == NULL) return error_no_memory();
  e = repo_version_enter(&r->version, r->blobs, &r->stop);
  if (e == NULL) e = repo_place_target(r);
  saros_op_phase(r->c->op, "planning");
  if (e == NULL) e = repo_plan_make(r);
  if (e == NULL) sum_up(r);
  if (e == NULL && !r->is_new)
    e = repo_restore_crew(r, r->item_count, STEP, repo_look_at);
  if (e == NULL) relink(r);
  if (e != NULL || !repo_restore_goes_on(r)) return e;
  if (!r->dry_run) return carry_out(r);
  list_all(r);
  repo_rest_remove(r);
  return NULL;
}

static bool put(value *map, const char *name, uint64_t n) {
  return value_put(map, name, value_int((int64_t)n));
}

static error *tell_result(restore *r) {
  tell_counts(r);
  value *m = r->c->output = value_map();
  char id[REPO_ID_TEXT];
  repo_id_format(&r->version.snapshot->id, id);
  bool good = m != NULL && value_put(m, "version", value_text(id)) &&
              path_put(m, r->target) && put(m, "files", r->restored) &&
              put(m, "others", r->others) && put(m, "unchanged", r->same) &&
              put(m, "skipped", r->skipped) && put(m, "removed", r->removed) &&
              put(m, "directories", r->directories) &&
              put(m, "not_given_away", r->kept_owner) &&
              put(m, "bytes", r->done);
  value *errors = r->errors, *list = r->list; /* the map has them now, or… */
  r->errors = r->list = NULL;                 /* … they are gone */
  good = value_put(m, "errors", errors) && good;
  if (list != NULL) good = value_put(m, "items", list) && good;
  return good ? NULL : error_no_memory();
}

static error *restore_all(restore *r) {
  error *e = open_files(r);
  if (e == NULL) e = perform(r);
  if (e != NULL) repo_restore_fail(r, e);
  if (!r->dry_run) repo_out_clean(r);
  e = r->why;
  r->why = NULL;
  if (e == NULL && repo_stopped(&r->h->stop))
    e = repo_error(SAROS_E_CANCELLED, "the restore was cancelled");
  return e != NULL ? e : tell_result(r);
}

static void restore_end(restore *r) {
  repo_place_end(r);
  repo_plan_free(r);
  repo_blobs_free(r->blobs);
  value_free(r->errors);
  value_free(r->list);
  mem_free(r->open);
  pthread_mutex_destroy(&r->files);
  pthread_cond_destroy(&r->opened);
  pthread_mutex_destroy(&r->report);
}

/* The version is found before the index is loaded: what it needs is in there
   then. */
error *repo_work_restore(repo_call *c) {
  restore r = {.stop = {stopped}, .c = c, .root = -1};
  const char *text = value_chars(value_get(c->options, "version"), NULL);
  error *e = read_options(&r);
  if (e == NULL) e = repo_call_hold(c, REPO_READS, &r.h);
  if (e == NULL) {
    e = repo_version_find(c->r, text, c->options, &r.version, &r.h->stop);
    if (e == NULL) {
      e = restore_all(&r);
      restore_end(&r);
    }
    repo_version_clear(&r.version);
    e = repo_call_let_go(c, r.h, e);
  }
  repo_exclude_free(r.include);
  repo_exclude_free(r.exclude);
  mem_free(r.target);
  return e;
}
