/*
** repair_versions: versions of which something is lost are written once more,
** without that. All new directories are stored and named before the first new
** version is, and that before an old one goes. What is lost of them is found
** out first, by all threads; only where something is are directories written
** anew.
*/
#include <string.h>

#include "repository/check_parts.h"
#include "repository/repair_parts.h"
#include "repository/sweep.h"
#include "repository/version.h"

#define KEPT ((size_t)64 << 20)

typedef struct mended {
  repo_snapshot *s;
  repo_id tree;
  repair_tree what;
  value *lost;
  uint64_t lost_count;
} mended;

typedef struct versions {
  mending m; /* first */
  bool forget;
  mended *list;
  size_t count;
  repair_ids ids;
  value *unreadable, *told;
  _Atomic bool any;
} versions;

/* ------------------------------------------------------------------
** Which versions
** ---------------------------------------------------------------- */

static bool is_named(const value *names, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  for (uint32_t i = 0; i < names->count; i++) {
    const char *name = value_chars(names->as.items[i], "");
    if (strlen(name) >= 4 && strncmp(text, name, strlen(name)) == 0)
      return true;
  }
  return false;
}

/* Takes over `e`. */
static error *unreadable(versions *v, const repo_id *id, error *e) {
  char text[REPO_ID_TEXT];
  buffer b = BUFFER_EMPTY;
  value *map = value_map();
  if (check_is_fatal(e)) {
    value_free(map);
    return e;
  }
  check_sentences(&b, e);
  error_unref(e);
  repo_id_format(id, text);
  bool good = map != NULL && !b.failed &&
              value_put(map, "version", value_text(text)) &&
              value_put(map, "message", value_string(b.data, b.size));
  buffer_free(&b);
  v->m.c->partial = true;
  if (!good) {
    value_free(map);
    return error_no_memory();
  }
  return value_add(v->unreadable, map) ? NULL : error_no_memory();
}

static error *load(versions *v, const repo_id *id) {
  const value *options = v->m.c->options;
  const value *names = value_get(options, "versions");
  repo_snapshot *s = NULL;
  buffer b = BUFFER_EMPTY;
  if (names != NULL && !is_named(names, id)) return NULL;
  error *e =
      repo_tools_load(repo_tools_of(v->m.h->r), v->m.h->store, REPO_SNAPSHOTS,
                      id, REPO_SNAPSHOT_FILE_MOST, &b, v->m.stop);
  if (e == NULL && b.failed) e = error_no_memory();
  if (e == NULL) s = repo_snapshot_read(b.data, b.size, &e);
  buffer_free(&b);
  if (e != NULL) return unreadable(v, id, e);
  s->id = *id;
  if (!repo_version_is_wanted(s, options)) {
    repo_snapshot_free(s);
    return NULL;
  }
  v->list[v->count++] = (mended){.s = s, .tree = s->tree};
  return NULL;
}

static error *choose(versions *v) {
  const value *names = value_get(v->m.c->options, "versions");
  if (names != NULL && names->type != VALUE_LIST)
    return repo_error(SAROS_E_INVALIDARG,
                      "versions: a list of ids, or of at least the first four "
                      "digits of each, expected");
  error *e = repair_ids_list(&v->ids, v->m.h, REPO_SNAPSHOTS);
  if (e != NULL) return e;
  v->list = mem_zero((v->ids.count + 1) * sizeof *v->list);
  if (v->list == NULL) return error_no_memory();
  for (size_t i = 0; e == NULL && i < v->ids.count; i++)
    e = load(v, &v->ids.list[i]);
  return e;
}

static error *see_pack(void *context, const repo_id *id, uint64_t size) {
  mending *m = context;
  uint32_t n;
  bool fresh;
  if (repo_id_map_count(m->packs) >= m->room) {
    size_t room = m->room * 2 + 64;
    uint64_t *sizes = mem_grow(m->sizes, room * sizeof *sizes);
    if (sizes == NULL) return error_no_memory();
    m->sizes = sizes;
    m->room = room;
  }
  if (!repo_id_map_put(m->packs, 0, id, &n, &fresh)) return error_no_memory();
  m->sizes[n] = size;
  return NULL;
}

/* A directory that is written anew must not be taken for one that is there. */
static error *look_for_pack(void *context, const repo_id *id,
                            const repo_blob *blobs, size_t count) {
  const mending *m = context;
  char text[REPO_ID_TEXT];
  uint32_t n;
  (void)blobs;
  if (count == 0 || repo_id_map_find(m->packs, 0, id, &n)) return NULL;
  repo_id_format(id, text);
  return repo_error(SAROS_E_REFUSED,
                    "the index names the pack %s, which is missing: repair the "
                    "index first (what = \"index\")",
                    text);
}


/* ------------------------------------------------------------------
** Whether anything is lost
** ---------------------------------------------------------------- */

static error *see_node(void *context, const repo_id *tree, const repo_node *n) {
  versions *v = context;
  (void)tree;
  bool good = n->type == REPO_NODE_FILE        ? n->has_content
              : n->type == REPO_NODE_DIRECTORY ? n->has_subtree
                                               : true;
  for (size_t i = 0; good && i < n->content_count; i++)
    good = repair_is_there(&v->m, REPO_DATA, &n->content[i]);
  if (!good) v->any = true;
  return NULL;
}

static error *see_broken(void *context, const repo_id *tree, error *e) {
  versions *v = context;
  (void)tree;
  if (check_is_fatal(e)) return e;
  error_unref(e);
  v->any = true;
  return NULL;
}

static error *sweep(versions *v) {
  mending *m = &v->m;
  repo_sweep w = {.store = m->h->store,
                  .tools = repo_tools_of(m->h->r),
                  .index = m->index,
                  .stop = m->stop,
                  .node = see_node,
                  .broken = see_broken,
                  .context = v};
  repo_id *roots = mem_alloc((v->count + 1) * sizeof *roots);
  repo_id_map *trees = repo_id_map_new();
  for (size_t i = 0; roots != NULL && i < v->count; i++)
    roots[i] = v->list[i].tree;
  error *e = roots != NULL && trees != NULL
                 ? repo_sweep_trees(&w, roots, v->count, trees)
                 : error_no_memory();
  mem_free(roots);
  repo_id_map_free(trees);
  return e;
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static error *mend_all(versions *v) {
  mending *m = &v->m;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < v->count; i++) {
    mended *one = &v->list[i];
    m->lost = one->lost = value_list();
    m->lost_count = 0;
    if (m->lost == NULL) return error_no_memory();
    e = repair_mend(m, &one->tree, &one->what);
    one->lost_count = m->lost_count;
    saros_op_progress(m->c->op, i + 1, v->count);
  }
  return e;
}

/* The directories; then they are there, and stay. */
static error *write_trees(versions *v) {
  mending *m = &v->m;
  packer_options o;
  error *e = repo_call_pack_options(m->c, &o);
  if (e != NULL) return e;
  if (m->dry_run) return mend_all(v);
  m->packer = repo_packer_new(m->h, m->index, &o, m->stop, &e);
  if (m->packer == NULL) return e;
  e = repo_tools_take(repo_tools_of(m->h->r), &m->tool);
  if (e == NULL) e = mend_all(v);
  repo_tools_give(repo_tools_of(m->h->r), m->tool);
  error *why = repo_packer_end(m->packer, e != NULL);
  repo_packer_free(m->packer);
  m->packer = NULL;
  if (e == NULL) return why;
  error_unref(why);
  return e;
}

/* Unless the old one goes it says of itself that it is a repaired one. */
static error *add_tag(repo_snapshot *s) {
  if (s->tags == NULL) s->tags = value_list();
  for (uint32_t i = 0; s->tags != NULL && i < s->tags->count; i++)
    if (strcmp(value_chars(s->tags->as.items[i], ""), "repaired") == 0)
      return NULL;
  return s->tags != NULL && value_add(s->tags, value_text("repaired"))
             ? NULL
             : error_no_memory();
}

static error *write_version(versions *v, const mended *one, repo_id *id) {
  repo_snapshot *s = one->s;
  buffer b = BUFFER_EMPTY;
  error *e = v->forget ? NULL : add_tag(s);
  s->tree = one->tree;
  s->original = s->id;
  s->has_original = true;
  if (e == NULL) e = repo_snapshot_write(s, &b);
  if (e == NULL)
    e = repo_tools_save(repo_tools_of(v->m.h->r), v->m.h->store, REPO_SNAPSHOTS,
                        b.data, b.size, id, v->m.stop);
  buffer_free(&b);
  return e;
}

static bool put_id(value *map, const char *name, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return value_put(map, name, value_text(text));
}

static error *tell(versions *v, mended *one, const repo_id *id, bool removed) {
  value *map = value_map(), *lost = one->lost;
  one->lost = NULL;
  if (map == NULL) {
    value_free(lost);
    return error_no_memory();
  }
  bool good = value_put(map, "lost", lost) &&
              put_id(map, "version", &one->s->id) &&
              (id == NULL || put_id(map, "id", id)) &&
              value_put(map, "removed", value_bool(removed)) &&
              value_put(map, "lost_count", value_int((int64_t)one->lost_count));
  if (good) return value_add(v->told, map) ? NULL : error_no_memory();
  value_free(map);
  return error_no_memory();
}

/* One of which nothing is left is only forgotten, if that is asked for. */
static error *end_version(versions *v, mended *one) {
  repo_hold *h = v->m.h;
  repo_id id;
  bool writes = one->what == REPAIR_TREE_NEW && !v->m.dry_run;
  bool removes = v->forget && !v->m.dry_run;
  error *e = writes ? write_version(v, one, &id) : NULL;
  if (e == NULL && removes)
    e = h->store->way->remove(h->store, REPO_SNAPSHOTS, &one->s->id, v->m.stop);
  if (e != NULL) return e;
  if (one->what == REPAIR_TREE_LOST && !removes) v->m.c->partial = true;
  return tell(v, one, writes ? &id : NULL, removes);
}


/* ------------------------------------------------------------------
** The call
** ---------------------------------------------------------------- */

static error *report(versions *v, uint64_t whole) {
  value *map = v->m.c->output = value_map();
  if (map == NULL) return error_no_memory();
  value *told = v->told, *bad = v->unreadable;
  v->told = NULL;
  bool good = value_put(map, "versions", told);
  if (good) v->unreadable = NULL;
  good = good && value_put(map, "unreadable", bad) &&
         value_put(map, "whole", value_int((int64_t)whole)) &&
         value_put(map, "dry_run", value_bool(v->m.dry_run));
  return good ? NULL : error_no_memory();
}

static error *carry_out(versions *v) {
  mending *m = &v->m;
  uint64_t whole = 0;
  saros_op_phase(m->c->op, "finding what is lost");
  error *e = choose(v);
  if (e == NULL) e = repo_index_of(m->h, &m->index);
  if (e == NULL)
    e = m->h->store->way->list(m->h->store, REPO_PACKS, see_pack, m, m->stop);
  if (e == NULL && !m->dry_run)
    e = repo_index_packs(m->index, look_for_pack, m);
  if (e == NULL) e = sweep(v);
  if (e == NULL && v->any) {
    saros_op_phase(m->c->op, "leaving it out");
    m->blobs =
        repo_blobs_new(m->h->store, repo_tools_of(m->h->r), m->index, KEPT);
    e = m->blobs != NULL ? write_trees(v) : error_no_memory();
    repo_blobs_free(m->blobs);
  }
  for (size_t i = 0; e == NULL && i < v->count; i++) {
    mended *one = &v->list[i];
    whole += one->what == REPAIR_TREE_SAME;
    if (one->what != REPAIR_TREE_SAME) e = end_version(v, one);
  }
  return e != NULL ? e : report(v, whole);
}

error *repair_versions(repo_call *c) {
  versions v = {
      .m = {.c = c,
            .packs = repo_id_map_new(),
            .whole = repo_id_map_new(),
            .dry_run = value_boolean(value_get(c->options, "dry_run"), false)},
      .forget = value_boolean(value_get(c->options, "forget"), false),
      .unreadable = value_list(),
      .told = value_list()};
  bool good = v.m.packs != NULL && v.m.whole != NULL && v.unreadable != NULL &&
              v.told != NULL;
  error *e = good ? NULL : error_no_memory();
  if (e == NULL)
    e = repo_call_hold(c, v.m.dry_run ? REPO_READS : REPO_REMOVES, &v.m.h);
  if (e == NULL) {
    v.m.stop = &v.m.h->stop;
    repo_index_forget(c->r);
    e = repo_call_let_go(c, v.m.h, carry_out(&v));
  }
  for (size_t i = 0; i < v.count; i++) {
    repo_snapshot_free(v.list[i].s);
    value_free(v.list[i].lost);
  }
  mem_free(v.list);
  mem_free(v.ids.list);
  mem_free(v.m.sizes);
  buffer_free(&v.m.path);
  repo_id_map_free(v.m.packs);
  repo_id_map_free(v.m.whole);
  value_free(v.unreadable);
  value_free(v.told);
  return e;
}
