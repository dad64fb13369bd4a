/*
** list: the calls ls and find: what is in a version, and in which versions
** something is.
*/
#include <errno.h>
#include <string.h>

#include "repository/exclude.h"
#include "repository/listing.h"

/* ------------------------------------------------------------------
** ls
** ---------------------------------------------------------------- */

typedef struct ls {
  listing l;        /* first */
  const char *path; /* without slashes around it; "" for all */
  size_t size;
  bool full, deep;
  value *items;
} ls;

/* On the way to what is asked for, it, or in it. */
typedef enum relation { ELSEWHERE, ABOVE, ITSELF, BELOW } relation;

static relation relate(const ls *g, const repo_walk_at *at) {
  const char *path = at->path + 1;
  size_t size = at->size - 1;
  size_t common = size < g->size ? size : g->size;
  if (g->size == 0) return BELOW;
  if (memcmp(path, g->path, common) != 0) return ELSEWHERE;
  if (size == g->size) return ITSELF;
  if (size < g->size) return g->path[size] == '/' ? ABOVE : ELSEWHERE;
  return path[g->size] == '/' ? BELOW : ELSEWHERE;
}

static error *ls_node(void *context, const repo_walk_at *at, const repo_node *n,
                      bool *enter, uint64_t *mark) {
  ls *g = context;
  relation is = relate(g, at);
  (void)mark;
  if (is == ELSEWHERE || (is == BELOW && !g->deep)) *enter = false;
  if (is == ELSEWHERE || is == ABOVE) return NULL;
  return repo_listing_add(&g->l, g->items,
                          repo_node_value(at->path, n, g->full));
}

static error *damaged(void *context, const repo_walk_at *at, error *e) {
  return repo_listing_tell(context, at->path, e);
}

static error *tell_items(listing *l, const repo_version *v, value **items) {
  value *m = l->c->output = value_map();
  char id[REPO_ID_TEXT];
  if (v != NULL) repo_id_format(&v->snapshot->id, id);
  bool good =
      m != NULL && (v == NULL || value_put(m, "version", value_text(id)));
  good = value_put(m, "items", *items) && good;
  *items = NULL;
  good = value_put(m, "errors", l->errors) && good;
  l->errors = NULL;
  return good ? NULL : error_no_memory();
}

/* The path as it is in a version: no slashes around it, none twice. */
static char *clean(const char *path) {
  char *text = path_clean(path);
  if (text == NULL) return NULL;
  size_t skip = strspn(text, "/");
  if (strcmp(text, ".") == 0) skip = 1;
  memmove(text, text + skip, strlen(text + skip) + 1);
  return text;
}

static error *list_version(ls *g, repo_version *v) {
  repo_walk w = {ls_node, NULL, damaged, g};
  error *e = repo_listing_begin(&g->l);
  if (e == NULL) e = repo_version_enter(v, g->l.blobs, &g->l.h->stop);
  if (e == NULL) e = repo_walk_tree(g->l.blobs, &v->tree, 0, &w, &g->l.h->stop);
  if (e == NULL && g->size > 0 && g->items->count == 0 && !g->l.c->partial)
    e = repo_error(code_of_errno(ESRCH), "there is no /%.1000s in this version",
                   g->path);
  return e != NULL ? e : tell_items(&g->l, v, &g->items);
}

error *repo_work_ls(repo_call *c) {
  ls g = {.full = value_boolean(value_get(c->options, "long"), false),
          .deep = value_boolean(value_get(c->options, "recursive"), true)};
  repo_version v = {0};
  error *e = repo_listing_lock(&g.l, c);
  if (e != NULL) return e;
  char *path = clean(value_chars(value_get(c->options, "path"), ""));
  g.items = value_list();
  if (path == NULL || g.items == NULL) e = error_no_memory();
  if (path != NULL) g.path = path;
  if (path != NULL) g.size = strlen(path);
  if (e == NULL)
    e = repo_version_find(c->r,
                          value_chars(value_get(c->options, "version"), NULL),
                          c->options, &v, &g.l.h->stop);
  if (e == NULL) e = list_version(&g, &v);
  repo_version_clear(&v);
  mem_free(path);
  value_free(g.items);
  return repo_listing_end(&g.l, e);
}


/* ------------------------------------------------------------------
** find
** ---------------------------------------------------------------- */

typedef struct find {
  listing l;
  repo_exclude *names, *paths; /* patterns without a slash, and with one */
  const char *type;            /* NULL: any */
  char version[REPO_ID_TEXT];
  value *items;
} find;

static error *add_pattern(find *f, const value *v, bool fold) {
  if (v->type != VALUE_STRING)
    return repo_error(SAROS_E_INVALIDARG, "pattern: a text, or texts expected");
  const char *text = v->as.string.data;
  repo_exclude **x = strchr(text, '/') != NULL ? &f->paths : &f->names;
  if (*x == NULL && (*x = repo_exclude_new()) == NULL) return error_no_memory();
  return repo_exclude_pattern(*x, text, fold);
}

static error *add_patterns(find *f, const value *v, bool fold) {
  error *e = NULL;
  if (v == NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "what is to be found? Give `pattern`");
  if (v->type != VALUE_LIST) return add_pattern(f, v, fold);
  for (uint32_t i = 0; e == NULL && i < v->count; i++)
    e = add_pattern(f, v->as.items[i], fold);
  return e;
}

/* A pattern of paths says yes to all below what it names, too. */
static error *is_found(const find *f, const repo_walk_at *at,
                       const repo_node *n, bool *found) {
  error *e = NULL;
  *found = false;
  if (f->names != NULL)
    e = repo_exclude_path(f->names, n->name, n->name_size, found);
  if (e != NULL || *found || f->paths == NULL) return e;
  e = repo_exclude_path(f->paths, at->path, at->size, found);
  size_t parent = at->size - n->name_size - 1;
  if (e != NULL || !*found || parent == 0) return e;
  bool above;
  e = repo_exclude_path(f->paths, at->path, parent, &above);
  *found = !above;
  return e;
}

static error *find_node(void *context, const repo_walk_at *at,
                        const repo_node *n, bool *enter, uint64_t *mark) {
  find *f = context;
  bool found;
  (void)enter, (void)mark;
  error *e = is_found(f, at, n, &found);
  if (e != NULL || !found) return e;
  if (f->type != NULL && strcmp(f->type, repo_node_type_name(n->type)) != 0)
    return NULL;
  value *m = repo_node_value(at->path, n, true);
  if (m != NULL && !value_put(m, "version", value_text(f->version))) {
    value_free(m);
    m = NULL;
  }
  return repo_listing_add(&f->l, f->items, m);
}

/* The version that was asked for, by its id; else all that the filter wants. */
static bool is_searched(const find *f, const repo_version *only,
                        const repo_snapshot *s) {
  if (only->snapshot != NULL) return repo_id_equal(&s->id, &only->snapshot->id);
  return repo_version_is_wanted(s, f->l.c->options);
}

static error *find_all(find *f, const repo_version *only, repo_snapshot **all,
                       size_t count) {
  repo_walk w = {find_node, NULL, damaged, f};
  error *e = repo_listing_begin(&f->l);
  for (size_t i = 0; e == NULL && i < count; i++) {
    if (!is_searched(f, only, all[i])) continue;
    repo_id_format(&all[i]->id, f->version);
    saros_op_progress(f->l.c->op, i, count);
    e = repo_walk_tree(f->l.blobs, &all[i]->tree, 0, &w, &f->l.h->stop);
  }
  return e != NULL ? e : tell_items(&f->l, NULL, &f->items);
}

static error *find_version(const find *f, repo_version *only) {
  const repo_call *c = f->l.c;
  const char *text = value_chars(value_get(c->options, "version"), NULL);
  if (text == NULL) return NULL;
  return repo_version_find(c->r, text, c->options, only, &f->l.h->stop);
}

error *repo_work_find_files(repo_call *c) {
  find f = {.type = value_chars(value_get(c->options, "type"), NULL)};
  bool fold = value_boolean(value_get(c->options, "ignore_case"), false);
  repo_version only = {0};
  repo_snapshot **all = NULL;
  size_t count = 0;
  error *e = repo_listing_lock(&f.l, c);
  if (e != NULL) return e;
  f.items = value_list();
  if (f.items == NULL) e = error_no_memory();
  if (e == NULL) e = add_patterns(&f, value_get(c->options, "pattern"), fold);
  if (e == NULL) e = find_version(&f, &only);
  if (e == NULL) e = repo_versions(c->r, &all, &count, &f.l.h->stop);
  if (e == NULL) e = find_all(&f, &only, all, count);
  repo_version_clear(&only);
  repo_versions_free(all);
  repo_exclude_free(f.names);
  repo_exclude_free(f.paths);
  value_free(f.items);
  return repo_listing_end(&f.l, e);
}
