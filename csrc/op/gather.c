/*
** Waiting for several operations with one. Every member that is still
** pending carries a watch of ours. Until it is decided how this ends, the
** work's own reference keeps the memory; whoever decides takes one more, for
** all those watches together that are firing just then. (One for each watch
** would look to port_leave as if somebody held us.)
*/
#include "op/start.h"
#include "op/watch.h"

typedef struct gather gather;

typedef struct member {
  watch w;
  gather *g;
  saros_op *op;
} member;

struct gather {
  saros_op *self;
  gather_mode mode;
  _Atomic bool decided;
  _Atomic long index;
  _Atomic size_t left; /* members not over, and one while it starts */
  /* Watches that hang or fire, one while it starts, one until decided. */
  _Atomic size_t hung;
  size_t count;
  member members[];
};

static void release(void *self) {
  gather *g = self;
  for (size_t i = 0; i < g->count; i++)
    if (g->members[i].op != NULL) saros_op_unref(g->members[i].op);
  mem_free(g);
}

/* Somebody has decided how it ends: nobody else shall. */
static bool decide(gather *g) {
  if (atomic_exchange(&g->decided, true)) return false;
  saros_op_ref(g->self);
  return true;
}

/* The last thing anybody does with a gather that he does not hold. */
static void let_go(gather *g) {
  if (atomic_fetch_sub(&g->hung, 1) == 1) saros_op_unref(g->self);
}

/* Takes out every watch that has not fired; those that are firing let go by
   themselves. */
static void take_out(gather *g) {
  for (size_t i = 0; i < g->count; i++)
    if (watch_remove(&g->members[i].w)) let_go(g);
}

static void finish(gather *g) {
  value *output = value_map();
  if (output != NULL)
    value_put(output, "index", value_int(atomic_load(&g->index) + 1));
  op_set_output(g->self, output);
  op_finish_error(g->self, SAROS_S_OK, NULL);
}

static bool went_wrong(saros_op *op) {
  return saros_op_state(op) != SAROS_SUCCEEDED;
}

/* A member is over. */
static void over(gather *g, size_t i) {
  saros_op *op = g->members[i].op;
  bool last = atomic_fetch_sub(&g->left, 1) == 1;
  bool ends =
      g->mode == GATHER_FIRST || (g->mode == GATHER_FAILURE && went_wrong(op));
  if (!ends && !last) return;
  if (!decide(g)) return;
  if (ends) atomic_store(&g->index, (long)i);
  take_out(g);
  finish(g);
  let_go(g);
}

static void member_over(watch *w) {
  member *m = (member *)w;
  gather *g = m->g;
  over(g, (size_t)(m - g->members));
  let_go(g);
}

static const watch_way member_way = {.after = member_over};

static void cancel(saros_op *op, void *self) {
  gather *g = self;
  if (!decide(g)) return; /* it is ending by itself */
  take_out(g);
  op_finish_error(op, SAROS_E_CANCELLED, NULL);
  let_go(g);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "saros.gather",
                                .flags = SAROS_CANCELLABLE,
                                .cancel = cancel,
                                .release = release};

saros_op *gather_start(saros_op *const *ops, size_t count, gather_mode mode,
                       uint32_t *why) {
  gather *g = mem_zero(sizeof *g + count * sizeof *g->members);
  *why = SAROS_E_OUTOFMEMORY;
  if (g == NULL) return NULL;
  g->mode = mode;
  g->count = count;
  atomic_init(&g->left, count + 1);
  atomic_init(&g->hung, 2);
  atomic_init(&g->index, -1);
  saros_op *op = op_create(&kind, g, 0, NULL, why);
  if (op == NULL) {
    mem_free(g);
    return NULL;
  }
  g->self = op;
  *why = op_begin(op, SAROS_RUNNING);
  if (*why != 0) {
    saros_op_unref(op);
    return NULL;
  }
  for (size_t i = 0; i < count; i++) {
    member *m = &g->members[i];
    m->g = g;
    m->w.way = &member_way;
    m->w.op = ops[i]; /* before anybody may want to take it out */
    m->op = saros_op_ref(ops[i]);
  }
  for (size_t i = 0; i < count && !atomic_load(&g->decided); i++) {
    atomic_fetch_add(&g->hung, 1);
    if (watch_add(&g->members[i].w, ops[i])) continue;
    over(g, i);
    let_go(g);
  }
  /* A watch that was hung after another member had decided. */
  if (atomic_load(&g->decided)) {
    take_out(g);
  } else if (atomic_fetch_sub(&g->left, 1) == 1 && decide(g)) {
    finish(g);
    let_go(g);
  }
  let_go(g);
  return op;
}

bool op_is_gather(const saros_op *op) {
  return op->kind == &kind;
}

bool gather_needs_all(saros_op *op) {
  return ((gather *)op_self(op))->mode != GATHER_FIRST;
}

long gather_index(saros_op *op) {
  return atomic_load(&((gather *)op_self(op))->index);
}

saros_op *gather_member(saros_op *op, size_t index) {
  gather *g = op_self(op);
  return index < g->count ? g->members[index].op : NULL;
}
