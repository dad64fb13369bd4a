/*
** The calls check, forget and prune.
*/
#include <inttypes.h>

#include "repository/call.h"
#include "repository/check.h"
#include "repository/forget.h"
#include "repository/prune.h"
#include "repository/prune_owner.h"

static void phase(void *context, const char *name) {
  saros_op_phase(((repo_call *)context)->op, name);
}

static void progress(void *context, uint64_t done, uint64_t total) {
  saros_op_progress(((repo_call *)context)->op, done, total);
}


/* ------------------------------------------------------------------
** check
** ---------------------------------------------------------------- */

/* The first sentence, and how many there are; the status has them all. */
static error *damaged(const value *report, uint64_t count) {
  const value *list = value_get(report, "findings");
  const value *first =
      list != NULL && list->count > 0 ? list->as.items[0] : NULL;
  const char *text = value_chars(value_get(first, "message"), "");
  if (count == 1) return repo_error(SAROS_E_DAMAGED, "%s", text);
  return repo_error(SAROS_E_DAMAGED,
                    "%" PRIu64
                    " things are not as they should be (the status "
                    "has the findings); the first: %s",
                    count, text);
}

error *repo_work_check(repo_call *c) {
  repo_check_options o = {.phase = phase, .progress = progress, .context = c};
  repo_hold *h;
  value *report = NULL;
  uint64_t count = 0;
  error *e = repo_check_read_which(value_get(c->options, "read_data"), &o);
  if (e == NULL) e = repo_call_hold(c, REPO_READS, &h);
  if (e != NULL) return e;
  e = repo_call_let_go(c, h, repo_check(h, &o, &report, &count));
  if (e == NULL && count > 0) {
    e = damaged(report, count);
    c->details = report;
    return e;
  }
  c->output = report;
  return e;
}


/* ------------------------------------------------------------------
** forget and prune
** ---------------------------------------------------------------- */

static error *read_prune(repo_call *c, const value *v, repo_prune_options *o) {
  *o = (repo_prune_options)REPO_PRUNE_OPTIONS;
  o->phase = phase;
  o->progress = progress;
  o->context = c;
  return repo_prune_read_options(v, o);
}

error *repo_work_prune(repo_call *c) {
  repo_prune_options o;
  repo_hold *h;
  error *e = read_prune(c, c->options, &o);
  if (e == NULL) e = repo_call_hold(c, REPO_REMOVES, &h);
  if (e != NULL) return e;
  value *other = NULL;
  if (!o.dry_run) e = repo_prune_other(h, c->options, &other);
  if (e == NULL && other != NULL) e = repo_prune_refused(other);
  value_free(other);
  if (e == NULL) e = repo_prune(h, &o, &c->output);
  return repo_call_let_go(c, h, e);
}

/* Where another host prunes, it will. */
static error *leave_it(repo_call *c, value *other) {
  log_write(LOG_NOTICE, "repository", "nothing is pruned: another host does");
  return value_put(c->output, "prune_left_to", other) ? NULL
                                                      : error_no_memory();
}

/* What was forgotten stays so, also when the prune behind it fails. */
static error *prune_too(repo_call *c, repo_hold *h,
                        const repo_prune_options *o) {
  value *report = NULL, *other = NULL;
  error *e = repo_hold_catch_up(h);
  const value *prune = value_get(c->options, "prune");
  if (e == NULL) e = repo_prune_other(h, prune, &other);
  if (other != NULL) return leave_it(c, other);
  if (e == NULL) e = repo_prune(h, o, &report);
  if (e == NULL)
    return value_put(c->output, "prune", report) ? NULL : error_no_memory();
  c->details = c->output;
  c->output = NULL;
  return e;
}

error *repo_work_forget(repo_call *c) {
  const value *prune = value_get(c->options, "prune");
  bool prunes = prune != NULL &&
                (prune->type == VALUE_MAP || value_boolean(prune, false));
  repo_forget_options o;
  repo_prune_options and_prune;
  repo_hold *h;
  error *e = read_prune(c, prune, &and_prune);
  if (e == NULL) e = repo_forget_read_options(c->options, &o);
  if (e != NULL) return e;
  o.progress = progress;
  o.context = c;
  /* What a dry run would remove is there still, so nothing is known yet of
     what could be pruned then. */
  prunes = prunes && !o.dry_run;
  e = repo_call_hold(c, o.dry_run ? REPO_READS : REPO_MAKES_ROOM, &h);
  if (e == NULL) {
    e = repo_forget(h, &o, &c->output);
    if (e == NULL && prunes) e = prune_too(c, h, &and_prune);
    e = repo_call_let_go(c, h, e);
  }
  repo_forget_clear(&o);
  return e;
}
