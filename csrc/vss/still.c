/*
** The operations that hold processes still and let them go.
*/
#include "vss/still.h"

#include <string.h>

#include "op/engine.h"
#include "op/fork.h"
#include "vss/still_parts.h"

#define SECONDS 30.0
#define SECONDS_MOST 86400.0
#define PATIENCE 10.0


/* ------------------------------------------------------------------
** The operations
** ---------------------------------------------------------------- */

static void unref(void *self);

static value *said(const still *s) {
  value *map = value_map(), *pids = value_list(), *before = value_list();
  bool good = map != NULL && pids != NULL && before != NULL;
  for (size_t i = 0; good && i < s->count; i++)
    if (!s->list[i].gone)
      good = value_add(s->list[i].ours ? pids : before,
                       value_int(s->list[i].who.pid));
  good &= value_put(map, "pids", pids);
  good &= value_put(map, "before", before);
  if (good) return map;
  value_free(map);
  return NULL;
}

static uint32_t end(saros_op *op, error *e) {
  if (e == NULL) return SAROS_S_OK;
  uint32_t code = e->code;
  op_end_error(op, code, e);
  return code;
}

static uint32_t hold_run(saros_op *op, void *self) {
  still *s = self;
  pthread_mutex_lock(&s->lock);
  error *e = still_stop(s, op);
  value *result = e == NULL ? said(s) : NULL;
  if (e == NULL && result == NULL) e = error_no_memory();
  if (e == NULL) op_set_output(op, result);
  if (e == NULL && !saros_op_point_of_no_return(op)) e = still_cancelled();
  if (e != NULL) {
    still_go_on(s);
    still_dismiss(s);
  }
  pthread_mutex_unlock(&s->lock);
  return end(op, e);
}

static uint32_t release_run(saros_op *op, void *self) {
  still *s = self;
  pthread_mutex_lock(&s->lock);
  error *e = still_end(s);
  pthread_mutex_unlock(&s->lock);
  return end(op, e);
}

static const saros_kind hold_kind = {
    .size = sizeof(saros_kind),
    .name = "vss.still",
    .facade = SAROS_FACADE_VSS,
    .flags = SAROS_CANCELLABLE | SAROS_RUN_LANE,
    .run = hold_run,
    .release = unref};

/* It lets go whatever happens: nobody can cancel that. */
static const saros_kind release_kind = {.size = sizeof(saros_kind),
                                        .name = "vss.still_release",
                                        .facade = SAROS_FACADE_VSS,
                                        .flags = SAROS_RUN_LANE,
                                        .run = release_run,
                                        .release = unref};

static saros_op *begin(const saros_kind *kind, still *s, error **e) {
  saros_op *op = saros_op_new(kind, s, NULL);
  if (op == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  atomic_fetch_add(&s->references, 1);
  uint32_t why = saros_op_start(op);
  if (why == 0) return op;
  *e = vss_error(why,
                 "no worker could be had to stop processes or continue "
                 "them");
  saros_op_unref(op);
  return NULL;
}

saros_op *still_release(saros_op *held, error **e) {
  if (held->kind != &hold_kind) {
    *e = vss_error(SAROS_E_INVALIDARG, "this operation holds no processes");
    return NULL;
  }
  still *s = op_self(held);
  if (s->generation != fork_generation) {
    *e = vss_error(SAROS_E_FORKED, "the parent holds them, who forked");
    return NULL;
  }
  atomic_store(&s->unwanted, true);
  return begin(&release_kind, s, e);
}


/* ------------------------------------------------------------------
** Its beginning and its end
** ---------------------------------------------------------------- */

static void destroy(still *s) {
  for (size_t i = 0; i < s->guard_count; i++) guard_forget(s->guards[i]);
  if (s->choice.by_command) regfree(&s->choice.command);
  pthread_mutex_destroy(&s->lock);
  value_free(s->options);
  mem_free(s->list);
  mem_free(s);
}

/* Forgotten without a release: that is done now, and nobody waits for it. */
static void unref(void *self) {
  still *s = self;
  if (atomic_fetch_sub(&s->references, 1) != 1) return;
  if (s->count > 0 && s->generation == fork_generation) {
    error *e = NULL;
    still_go_on(s);
    atomic_store(&s->references, 1);
    saros_op *op = begin(&release_kind, s, &e);
    error_unref(e);
    if (op != NULL) {
      saros_op_unref(op);
      unref(s); /* it is the operation's now, or that was quick */
      return;
    }
    still_dismiss(s);
  }
  destroy(s);
}

static double number(const value *options, const char *name, double fallback) {
  const value *v = value_get(options, name);
  double n = v == NULL               ? fallback
             : v->type == VALUE_REAL ? v->as.real
                                     : (double)value_integer(v, 0);
  return n > 0 ? (n < SECONDS_MOST ? n : SECONDS_MOST) : fallback;
}

static error *choose(still *s) {
  still_choice *c = &s->choice;
  const value *pids = value_get(s->options, "pids");
  const char *command = value_chars(value_get(s->options, "command"), NULL);
  c->pids = pids != NULL && pids->type == VALUE_LIST ? pids : NULL;
  c->cgroup = value_chars(value_get(s->options, "cgroup"), NULL);
  if (c->pids == NULL && c->cgroup == NULL && command == NULL)
    return vss_error(SAROS_E_INVALIDARG,
                     "who is to be held still? pids, cgroup or command");
  if (c->cgroup != NULL && (*c->cgroup != '/' || c->pids != NULL))
    return vss_error(SAROS_E_INVALIDARG,
                     "cgroup is an absolute path, and not beside pids");
  if (command == NULL) return NULL;
  if (*command == '\0')
    return vss_error(SAROS_E_INVALIDARG, "an empty command matches all");
  int r = regcomp(&c->command, command, REG_EXTENDED | REG_NOSUB);
  char why[200];
  c->by_command = r == 0;
  if (r == 0) return NULL;
  regerror(r, &c->command, why, sizeof why);
  return vss_error(SAROS_E_INVALIDARG,
                   "command is no extended regular expression: %s", why);
}

saros_op *still_begin(const value *options, error **e) {
  still *s = mem_zero(sizeof *s);
  *e = NULL;
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  atomic_init(&s->references, 1);
  s->generation = fork_generation;
  pthread_mutex_init(&s->lock, NULL);
  s->options = value_copy(options);
  if (s->options == NULL)
    *e = error_no_memory();
  else
    *e = choose(s);
  s->seconds = number(s->options, "seconds", SECONDS);
  s->patience = number(s->options, "patience", PATIENCE);
  s->allow_none = value_boolean(value_get(s->options, "allow_none"), false);
  saros_op *op = *e == NULL ? begin(&hold_kind, s, e) : NULL;
  unref(s);
  return op;
}
