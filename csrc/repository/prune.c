/*
** prune: in which order. Each step leaves a repository that is whole: whoever
** is killed in the middle of one has lost nothing, and the next one goes on.
*/
#include "repository/prune.h"

#include <stdlib.h>
#include <string.h>

#include "repository/prune_parts.h"

/* ------------------------------------------------------------------
** Options
** ---------------------------------------------------------------- */

static bool read_bytes(const value *v, uint64_t *bytes) {
  static const char units[] = "KMGT";
  const char *text = value_chars(v, NULL);
  char *end;
  if (v->type == VALUE_INT && v->as.integer >= 0) {
    *bytes = (uint64_t)v->as.integer;
    return true;
  }
  if (text == NULL || *text < '0' || *text > '9') return false;
  unsigned long long n = strtoull(text, &end, 10);
  const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
  unsigned shift = unit != NULL ? 10 * ((unsigned)(unit - units) + 1) : 0;
  if ((*end != '\0' && unit == NULL) || (unit != NULL && end[1] != '\0') ||
      n > UINT64_MAX >> shift)
    return false;
  *bytes = (uint64_t)n << shift;
  return true;
}

static bool read_unused(const value *v, repo_prune_options *o) {
  const char *text = value_chars(v, "");
  char *end;
  o->max_unused_share = -1;
  if (strcmp(text, "unlimited") == 0) {
    o->max_unused = UINT64_MAX;
    return true;
  }
  if (strchr(text, '%') == NULL) return read_bytes(v, &o->max_unused);
  double share = strtod(text, &end);
  if (*text < '0' || *text > '9' || strcmp(end, "%") != 0 ||
      !(share >= 0 && share < 100))
    return false;
  o->max_unused_share = share / (100 - share);
  return true;
}

error *repo_prune_read_options(const value *v, repo_prune_options *o) {
  const value *unused = value_get(v, "max_unused");
  const value *repack = value_get(v, "max_repack_size");
  const value *size = value_get(v, "pack_size");
  if (unused != NULL && !read_unused(unused, o))
    return repo_error(SAROS_E_INVALIDARG,
                      "max_unused: \"5%%\", \"unlimited\" or a number of bytes "
                      "expected, such as \"1G\"");
  if (repack != NULL && (!read_bytes(repack, &o->max_repack)))
    return repo_error(SAROS_E_INVALIDARG,
                      "max_repack_size: a number of bytes expected, such as "
                      "\"10G\"");
  if (size != NULL &&
      (!read_bytes(size, &o->pack_size) || o->pack_size < REPO_PACK_LEAST ||
       o->pack_size > REPO_PACK_MOST))
    return repo_error(SAROS_E_INVALIDARG,
                      "pack_size: from 4 to 128 MiB expected, in bytes or as "
                      "\"16M\"");
  o->repack_small = value_boolean(value_get(v, "repack_small"), false);
  o->repack_uncompressed =
      value_boolean(value_get(v, "repack_uncompressed"), false);
  o->trees_only = value_boolean(value_get(v, "repack_trees_only"), false);
  o->dry_run = value_boolean(value_get(v, "dry_run"), false);
  return NULL;
}


/* ------------------------------------------------------------------
** Removing
** ---------------------------------------------------------------- */

typedef struct removing {
  pruning *p;
  const prune_ids *ids;
} removing;

static error *remove_one(void *context, repo_hand *hand, size_t number) {
  removing *r = context;
  repo_store *store = r->p->h->store;
  return store->way->remove(store, REPO_PACKS, &r->ids->list[number],
                            &hand->stop);
}

static error *remove_packs(pruning *p, const prune_ids *ids) {
  removing r = {p, ids};
  repo_side side = {.store = p->h->store,
                    .tools = repo_tools_of(p->r),
                    .stop = &p->h->stop,
                    .count = ids->count,
                    .each = remove_one,
                    .context = &r};
  return ids->count > 0 ? repo_side_by_side(&side) : NULL;
}

static error *remove_old(pruning *p) {
  prune_ids ids = {NULL, 0, 0};
  error *e = NULL;
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(p->packs); n++) {
    uint8_t what = p->pack_list[n].what;
    if (what == REPO_PRUNE_DELETE || what == REPO_PRUNE_REPACK)
      e = prune_ids_add(&ids, &p->pack_list[n].id);
  }
  if (e == NULL) e = remove_packs(p, &ids);
  mem_free(ids.list);
  return e;
}


/* ------------------------------------------------------------------
** The steps
** ---------------------------------------------------------------- */

typedef enum prune_step {
  PRUNE_LOOK,         /* what is needed, and where it is, then */
  PRUNE_PLAN,         /* what happens to each pack; a dry run ends here; then */
  PRUNE_UNREFERENCED, /* packs that nobody names are removed, then */
  PRUNE_REPACK,       /* what is needed is copied and named, then */
  PRUNE_INDEXES,      /* old index files give way to new ones, then */
  PRUNE_REMOVE,       /* old packs are removed, then */
  PRUNE_STEPS         /* the end */
} prune_step;

static error *remove_unreferenced(pruning *p) {
  repo_store *store = p->h->store;
  error *e = NULL;
  if (store->way->tidy != NULL) e = store->way->tidy(store, &p->h->stop);
  return e != NULL ? e : remove_packs(p, &p->unreferenced);
}

/* Else one that keeps everything would say so after all was copied. */
static error *may_remove(pruning *p) {
  repo_store *store = p->h->store;
  if (store->way->may_remove == NULL || p->o->dry_run) return NULL;
  error *e = store->way->may_remove(store, &p->h->stop);
  if (e == NULL || e->code != SAROS_E_ACCESSDENIED) return e;
  error *made =
      repo_error(SAROS_E_ACCESSDENIED,
                 "nothing was pruned, and nothing changed: %s", e->message);
  error_unref(e);
  return made;
}

static error *make_plan(pruning *p) {
  error *e = repo_prune_plan(p->o, p->version, p->pack_list,
                             repo_id_map_count(p->packs), &p->figures);
  if (e == NULL) e = may_remove(p);
  return e != NULL ? e : prune_mark(p);
}

/* To copy needs room before any is made. */
static error *repack(pruning *p) {
  error *e = prune_repack(p);
  if (!repo_is_full(e)) return e;
  error *made = repo_error(e->code,
                           "there is no room for what is to be copied out of "
                           "packs that would go; max_repack_size = 1 copies "
                           "nothing, and removes what nobody needs: %s",
                           e->message);
  if (made != error_no_memory()) made->number = e->number;
  error_unref(e);
  return made;
}

static error *run(pruning *p, prune_step step) {
  switch (step) {
    case PRUNE_LOOK: return prune_look(p);
    case PRUNE_PLAN: return make_plan(p);
    case PRUNE_UNREFERENCED: return remove_unreferenced(p);
    case PRUNE_REPACK: return repack(p);
    case PRUNE_INDEXES: return prune_indexes(p);
    default: return remove_old(p);
  }
}

static void tell_phase(const pruning *p, prune_step step) {
  static const char *const names[PRUNE_STEPS] = {
      "finding what is needed", "planning",
      "removing unnamed packs", "repacking",
      "writing a new index",    "removing old packs"};
  if (p->o->phase != NULL) p->o->phase(p->o->context, names[step]);
}

static error *run_all(pruning *p) {
  int end = p->o->dry_run ? PRUNE_UNREFERENCED : PRUNE_STEPS;
  error *e = NULL;
  for (int step = PRUNE_LOOK; e == NULL && step < end; step++) {
    tell_phase(p, (prune_step)step);
    e = run(p, (prune_step)step);
    if (e == NULL && repo_stopped(&p->h->stop) && step + 1 < end)
      e = repo_error(SAROS_E_CANCELLED, "pruning was cancelled");
  }
  return e;
}


/* ------------------------------------------------------------------
** The report
** ---------------------------------------------------------------- */

static bool put(value *map, const char *name, uint64_t n) {
  return value_put(map, name, value_int((int64_t)n));
}

static value *report_of(const pruning *p) {
  const repo_prune_figures *f = &p->figures;
  value *map = value_map();
  bool good = map != NULL &&
              value_put(map, "dry_run", value_bool(p->o->dry_run)) &&
              put(map, "packs", f->packs) && put(map, "packs_kept", f->kept) &&
              put(map, "packs_repacked", f->repacked) &&
              put(map, "packs_removed", f->removed) &&
              put(map, "packs_unreferenced", f->unreferenced) &&
              put(map, "packs_missing", f->ignored) &&
              put(map, "packs_new", p->new_packs) &&
              put(map, "blobs_used", f->used_blobs) &&
              put(map, "blobs_unused", f->unused_blobs) &&
              put(map, "blobs_duplicate", f->duplicate_blobs) &&
              put(map, "bytes_used", f->used_bytes) &&
              put(map, "bytes_unused", f->unused_bytes) &&
              put(map, "bytes_repacked", f->repacked_bytes) &&
              put(map, "bytes_new", p->new_bytes) &&
              put(map, "bytes_removed", f->removed_bytes) &&
              put(map, "bytes_unreferenced", f->unreferenced_bytes) &&
              put(map, "bytes_freed", f->freed_bytes) &&
              put(map, "bytes_unused_after", f->unused_after) &&
              put(map, "index_files_new", p->new_indexes) &&
              put(map, "index_files_removed", p->old_indexes);
  if (good) return map;
  value_free(map);
  return NULL;
}

static void clear(pruning *p) {
  repo_id_map_free(p->used);
  repo_id_map_free(p->packs);
  mem_free(p->pack_list);
  mem_free(p->unreferenced.list);
  mem_free(p->index_files.list);
  repo_pack_free(p->open[0]);
  repo_pack_free(p->open[1]);
  buffer_free(&p->text.json);
  pthread_mutex_destroy(&p->lock);
}

error *repo_prune(repo_hold *h, const repo_prune_options *o, value **report) {
  pruning p = {.h = h,
               .r = h->r,
               .o = o,
               .version = repo_config_of(h->r)->version,
               .used = repo_id_map_new(),
               .packs = repo_id_map_new()};
  *report = NULL;
  pthread_mutex_init(&p.lock, NULL);
  /* What this process knows beyond the index files, of a backup that failed
     say, is not to be relied on: nobody else would know of it. */
  repo_index_forget(h->r);
  error *e =
      p.used != NULL && p.packs != NULL ? run_all(&p) : error_no_memory();
  if (!o->dry_run) repo_index_forget(h->r);
  if (e == NULL) *report = report_of(&p);
  if (e == NULL && *report == NULL) e = error_no_memory();
  clear(&p);
  return e;
}
