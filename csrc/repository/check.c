/*
** check: in which order. Versions are listed before the index is read, and
** packs after it: what is added meanwhile is then never missed.
*/
#include "repository/check.h"

#include <stdlib.h>
#include <string.h>

#include "repository/check_parts.h"

/* ------------------------------------------------------------------
** What is to be read
** ---------------------------------------------------------------- */

static error *not_said(void) {
  return repo_error(SAROS_E_INVALIDARG,
                    "read_data: true, \"10%%\", \"1/5\" or a number of bytes "
                    "expected, such as \"500M\"");
}

static bool is_number(const char *text, const char *end) {
  return end != text && (*text >= '0' && *text <= '9');
}

static error *read_share(const char *text, repo_check_options *o) {
  char *end;
  double share = strtod(text, &end);
  if (!is_number(text, end) || strcmp(end, "%") != 0 || !(share > 0) ||
      share > 100)
    return not_said();
  o->which = REPO_CHECK_SHARE;
  o->share = share / 100;
  return NULL;
}

static error *read_part(const char *text, repo_check_options *o) {
  char *end, *rest;
  unsigned long part = strtoul(text, &end, 10);
  if (!is_number(text, end) || *end != '/') return not_said();
  unsigned long parts = strtoul(end + 1, &rest, 10);
  if (!is_number(end + 1, rest) || *rest != '\0' || part < 1 || part > parts ||
      parts > 256)
    return repo_error(SAROS_E_INVALIDARG,
                      "read_data: n/t expected, n from 1 to t, and t at most "
                      "256");
  o->which = REPO_CHECK_PART;
  o->part = (unsigned)part;
  o->of_parts = (unsigned)parts;
  return NULL;
}

static error *read_size(const char *text, repo_check_options *o) {
  static const char units[] = "KMGT";
  char *end;
  unsigned long long n = strtoull(text, &end, 10);
  const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
  unsigned shift = unit != NULL ? 10 * ((unsigned)(unit - units) + 1) : 0;
  if (!is_number(text, end) || (*end != '\0' && unit == NULL) ||
      (unit != NULL && end[1] != '\0') || n == 0 || n > UINT64_MAX >> shift)
    return not_said();
  o->which = REPO_CHECK_BYTES;
  o->bytes = (uint64_t)n << shift;
  return NULL;
}

error *repo_check_read_which(const value *v, repo_check_options *o) {
  o->which = REPO_CHECK_NONE;
  if (v == NULL) return NULL;
  if (v->type == VALUE_BOOL) {
    o->which = v->as.boolean ? REPO_CHECK_ALL : REPO_CHECK_NONE;
    return NULL;
  }
  if (v->type == VALUE_INT && v->as.integer > 0) {
    o->which = REPO_CHECK_BYTES;
    o->bytes = (uint64_t)v->as.integer;
    return NULL;
  }
  const char *text = value_chars(v, NULL);
  if (text == NULL) return not_said();
  if (strchr(text, '%') != NULL) return read_share(text, o);
  if (strchr(text, '/') != NULL) return read_part(text, o);
  return read_size(text, o);
}


/* ------------------------------------------------------------------
** The steps
** ---------------------------------------------------------------- */

typedef enum check_step {
  CHECK_SMALL,    /* config and keys, then */
  CHECK_VERSIONS, /* all versions, then */
  CHECK_INDEX,    /* all index files, then */
  CHECK_PACKS,    /* which packs there are, then */
  CHECK_TREES,    /* all trees, then */
  CHECK_DATA,     /* what is in packs, if that is wanted, then */
  CHECK_IMPACT,   /* who is hit, then */
  CHECK_STEPS     /* the end */
} check_step;

static error *find_small(checking *c, const char *kind, const repo_id *id,
                         error *why, const char *what) {
  if (why == NULL || (check_is_fatal(why) && why->number != ENOENT)) return why;
  return check_find(c, kind, id, why, NULL, "%s is damaged", what)
             ? NULL
             : error_no_memory();
}

static error *see_key(void *context, const repo_id *id, uint64_t size) {
  checking *c = context;
  repo_store *store = c->h->store;
  char text[96];
  repo_id found;
  buffer b = BUFFER_EMPTY;
  error *e =
      store->way->load(store, REPO_KEYS, id, (size_t)1 << 20, &b, &c->h->stop);
  (void)size;
  if (e == NULL && b.failed) e = error_no_memory();
  if (e == NULL) {
    repo_id_of(&found, b.data, b.size);
    if (!repo_id_equal(&found, id))
      e = repo_error(SAROS_E_DAMAGED,
                     "its content is not what its name says: its password "
                     "may not open the repository any more; add it anew");
  }
  buffer_free(&b);
  if (e != NULL && e->number == ENOENT) { /* removed since it was listed */
    error_unref(e);
    return NULL;
  }
  repo_file_describe(REPO_KEYS, id, text);
  return find_small(c, "key_damaged", id, e, text);
}

static error *check_small(checking *c) {
  repo_config config = {0};
  repo_tool *tool;
  error *e = repo_tools_take(repo_tools_of(c->r), &tool);
  if (e != NULL) return e;
  e = repo_config_load(&config, c->h->store, tool->sealer, &c->h->stop);
  repo_tools_give(repo_tools_of(c->r), tool);
  repo_config_clear(&config);
  e = find_small(c, "config_damaged", NULL, e, "the config");
  if (e != NULL) return e;
  return c->h->store->way->list(c->h->store, REPO_KEYS, see_key, c,
                                &c->h->stop);
}

static void tell_phase(const checking *c, check_step step) {
  static const char *const names[CHECK_STEPS] = {
      "reading the config", "reading versions", "reading the index",
      "looking for packs",  "reading trees",    "reading packs",
      "finding what is hit"};
  if (c->o->phase != NULL) c->o->phase(c->o->context, names[step]);
}

static error *run(checking *c, check_step step) {
  switch (step) {
    case CHECK_SMALL: return check_small(c);
    case CHECK_VERSIONS: return check_versions(c);
    case CHECK_INDEX: return check_index(c);
    case CHECK_PACKS: return check_packs(c);
    case CHECK_TREES: return check_trees(c);
    case CHECK_DATA:
      return c->o->which != REPO_CHECK_NONE ? check_data(c) : NULL;
    default: return check_impact(c);
  }
}

static error *run_all(checking *c) {
  error *e = NULL;
  for (int step = CHECK_SMALL; e == NULL && step < CHECK_STEPS; step++) {
    tell_phase(c, (check_step)step);
    e = run(c, (check_step)step);
    if (e == NULL && repo_stopped(&c->h->stop))
      e = repo_error(SAROS_E_CANCELLED, "checking was cancelled");
  }
  return e;
}

static void clear(checking *c) {
  for (size_t i = 0; i < c->version_count; i++)
    repo_snapshot_free(c->versions[i]);
  mem_free(c->versions);
  repo_index_free(c->index);
  repo_id_map_free(c->packs);
  repo_id_map_free(c->trees);
  repo_id_map_free(c->lost);
  mem_free(c->pack_list);
  mem_free(c->lost_findings);
  mem_free(c->bad);
  check_found_free(&c->found);
  check_found_free(&c->hints);
  pthread_mutex_destroy(&c->lock);
}

error *repo_check(repo_hold *h, const repo_check_options *o, value **report,
                  uint64_t *findings) {
  checking c = {.h = h,
                .r = h->r,
                .o = o,
                .index = repo_index_new(),
                .packs = repo_id_map_new(),
                .trees = repo_id_map_new(),
                .lost = repo_id_map_new()};
  pthread_mutex_init(&c.lock, NULL);
  bool good =
      c.index != NULL && c.packs != NULL && c.trees != NULL && c.lost != NULL;
  error *e = good ? run_all(&c) : error_no_memory();
  *findings = c.found.count;
  *report = e == NULL ? check_report(&c) : NULL;
  if (e == NULL && *report == NULL) e = error_no_memory();
  clear(&c);
  return e;
}
