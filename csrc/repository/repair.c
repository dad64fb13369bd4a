/*
** repair: the call. Nothing old goes before what takes its place is stored and
** named: whoever is killed in the middle has lost nothing, and the next one
** goes on.
*/
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "repository/check_parts.h"
#include "repository/repair_parts.h"

/* ------------------------------------------------------------------
** What is told
** ---------------------------------------------------------------- */

static bool put_finding(repairing *g, const char *kind, const repo_id *id,
                        const buffer *b) {
  char text[REPO_ID_TEXT];
  value *map = value_map();
  if (id != NULL) repo_id_format(id, text);
  if (map != NULL && value_put(map, "kind", value_text(kind)) &&
      value_put(map, "message", value_string(b->data, b->size)) &&
      (id == NULL || value_put(map, "id", value_text(text))))
    return value_add(g->findings, map);
  value_free(map);
  return false;
}

error *repair_find(repairing *g, const char *kind, const repo_id *id,
                   error *why, const char *format, ...) {
  char text[600];
  buffer b = BUFFER_EMPTY;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  buffer_text(&b, text);
  if (why != NULL) {
    buffer_text(&b, ": ");
    check_sentences(&b, why);
  }
  error_unref(why);
  pthread_mutex_lock(&g->lock);
  bool good = !b.failed;
  if (g->finding_count++ < REPAIR_FINDINGS_MOST)
    good = good && put_finding(g, kind, id, &b);
  pthread_mutex_unlock(&g->lock);
  buffer_free(&b);
  return good ? NULL : error_no_memory();
}

static bool put(value *map, const char *name, uint64_t n) {
  return value_put(map, name, value_int((int64_t)n));
}

static value *report(repairing *g) {
  value *map = value_map(), *findings = g->findings;
  bool good = map != NULL &&
              value_put(map, "changed", value_bool(g->changed)) &&
              value_put(map, "dry_run", value_bool(g->dry_run)) &&
              put(map, "packs", repo_id_map_count(g->packs)) &&
              put(map, "packs_read", g->packs_read) &&
              put(map, "packs_added", g->packs_added) &&
              put(map, "packs_missing", g->packs_missing) &&
              put(map, "packs_damaged", g->packs_damaged) &&
              put(map, "packs_unreadable", g->packs_unreadable) &&
              put(map, "packs_removed", g->packs_removed) &&
              put(map, "blobs_saved", g->blobs_saved) &&
              put(map, "blobs_lost", g->blobs_lost) &&
              put(map, "blobs_unread", g->blobs_unread) &&
              put(map, "index_files_damaged", g->index_damaged) &&
              put(map, "index_files_new", g->index_new) &&
              put(map, "index_files_removed", g->index_removed) &&
              put(map, "finding_count", g->finding_count);
  if (good) {
    g->findings = NULL;
    good = value_put(map, "findings", findings);
  }
  if (good) return map;
  value_free(map);
  return NULL;
}


/* ------------------------------------------------------------------
** The index, and packs
** ---------------------------------------------------------------- */

typedef enum repair_step {
  REPAIR_STEP_LOOK, /* which packs there are, and what the index says, then */
  REPAIR_STEP_READ, /* packs that must be asked themselves, then */
  REPAIR_STEP_SALVAGE, /* what is good of broken ones is stored and named; a dry
                          run ends here; then */
  REPAIR_STEP_INDEX,   /* new index files, then the old ones go, then */
  REPAIR_STEP_REMOVE,  /* broken packs go, then */
  REPAIR_STEPS         /* the end */
} repair_step;

static error *run_step(repairing *g, repair_step step) {
  switch (step) {
    case REPAIR_STEP_LOOK: return repair_look(g);
    case REPAIR_STEP_READ: return repair_read_packs(g);
    case REPAIR_STEP_SALVAGE: return repair_salvage(g);
    case REPAIR_STEP_INDEX: return g->changed ? repair_write_index(g) : NULL;
    default: return g->packs_too ? repair_remove_packs(g) : NULL;
  }
}

static error *run_all(repairing *g) {
  static const char *const names[REPAIR_STEPS] = {
      "reading the index", "reading packs", "saving what is good",
      "writing a new index", "removing bad packs"};
  int end = g->dry_run ? REPAIR_STEP_INDEX : REPAIR_STEPS;
  error *e = NULL;
  for (int step = 0; e == NULL && step < end; step++) {
    saros_op_phase(g->c->op, names[step]);
    e = run_step(g, (repair_step)step);
    if (e == NULL && repo_stopped(g->stop) && step + 1 < end)
      e = repo_error(SAROS_E_CANCELLED, "the repair was cancelled");
  }
  return e;
}

static error *run(repairing *g) {
  g->r = g->h->r;
  g->stop = &g->h->stop;
  /* What this process knows beyond the index files is not to be relied on. */
  repo_index_forget(g->r);
  error *e = run_all(g);
  if (!g->dry_run) repo_index_forget(g->r);
  return e;
}

static void clear(repairing *g) {
  for (size_t i = 0; i < repo_id_map_count(g->packs); i++)
    mem_free(g->list[i].blobs);
  mem_free(g->list);
  repo_index_free(g->old);
  repo_index_free(g->fresh);
  repo_id_map_free(g->packs);
  repo_id_map_free(g->saved);
  mem_free(g->index_files.list);
  mem_free(g->new_files.list);
  value_free(g->findings);
  pthread_mutex_destroy(&g->lock);
}

static error *repair_files(repo_call *c, bool packs_too) {
  repairing g = {
      .c = c,
      .packs_too = packs_too,
      .dry_run = value_boolean(value_get(c->options, "dry_run"), false),
      .read_all = value_boolean(value_get(c->options, "read_all_packs"), false),
      .which = value_get(c->options, "packs")};
  if (g.which != NULL && (!packs_too || g.which->type != VALUE_LIST))
    return repo_error(SAROS_E_INVALIDARG,
                      "packs: a list of ids expected, with what = \"packs\"");
  pthread_mutex_init(&g.lock, NULL);
  g.old = repo_index_new();
  g.fresh = repo_index_new();
  g.packs = repo_id_map_new();
  g.saved = repo_id_map_new();
  g.findings = value_list();
  bool good = g.old != NULL && g.fresh != NULL && g.packs != NULL &&
              g.saved != NULL && g.findings != NULL;
  error *e = good ? NULL : error_no_memory();
  if (e == NULL)
    e = repo_call_hold(c, g.dry_run ? REPO_READS : REPO_REMOVES, &g.h);
  if (e == NULL) e = repo_call_let_go(c, g.h, run(&g));
  if (good) {
    value **to = e == NULL ? &c->output : &c->details;
    *to = report(&g);
    if (e == NULL && *to == NULL) e = error_no_memory();
    c->partial = g.blobs_lost + g.blobs_unread + g.packs_unreadable > 0;
  }
  clear(&g);
  return e;
}

error *repo_work_repair(repo_call *c) {
  const char *what = value_chars(value_get(c->options, "what"), "");
  error *e = repo_check_open(c->r);
  if (e != NULL) return e;
  if (strcmp(what, "index") == 0) return repair_files(c, false);
  if (strcmp(what, "packs") == 0) return repair_files(c, true);
  if (strcmp(what, "versions") == 0) return repair_versions(c);
  return repo_error(SAROS_E_INVALIDARG,
                    "what: \"index\", \"packs\" or \"versions\" expected");
}
