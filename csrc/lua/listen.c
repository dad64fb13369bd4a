/*
** A writer of this process that other processes find, too: its socket is made
** on a worker, because that touches a disk, and may be closed meanwhile.
*/
#include "lua/writer.h"
#include "op/fork.h"
#include "vss/record.h"

struct listening {
  _Atomic unsigned refs; /* the handle's and the operation's */
  pthread_mutex_t lock;
  bool stopped;
  wire_server *server;
  writer *w;
  char *state_dir; /* or NULL */
  uint16_t generation;
};

static void unref(listening *l) {
  if (atomic_fetch_sub(&l->refs, 1) != 1) return;
  if (l->generation == fork_generation) pthread_mutex_destroy(&l->lock);
  writer_unref(l->w);
  mem_free(l->state_dir);
  mem_free(l);
}

static void release(void *self) {
  unref(self);
}

static error *make_socket(listening *l) {
  error *e = NULL;
  places *p = places_open(l->state_dir, &e);
  if (p == NULL) return e;
  wire_server *server = wire_listen(p->writers, l->w, &e);
  places_unref(p);
  if (server == NULL) return e;
  pthread_mutex_lock(&l->lock);
  bool stopped = l->stopped;
  if (!stopped) l->server = server;
  pthread_mutex_unlock(&l->lock);
  if (stopped) wire_close(server);
  return NULL;
}

static uint32_t run(saros_op *op, void *self) {
  error *e = make_socket(self);
  if (e == NULL) return SAROS_S_OK;
  uint32_t code = e->code;
  op_end_error(op, code, e);
  return code;
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.listen",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_RUN_LANE,
                                .run = run,
                                .release = release};

saros_op *listening_start(writer *w, const char *state_dir, listening **out,
                          error **e) {
  listening *l = mem_zero(sizeof *l);
  char *copy = mem_text(state_dir);
  saros_op *op = NULL;
  if (l != NULL && (copy != NULL || state_dir == NULL))
    op = saros_op_new(&kind, l, NULL);
  if (op == NULL) {
    mem_free(copy);
    mem_free(l);
    *e = error_no_memory();
    return NULL;
  }
  atomic_init(&l->refs, 2);
  pthread_mutex_init(&l->lock, NULL);
  l->generation = fork_generation;
  l->w = writer_ref(w);
  l->state_dir = copy;
  *out = l;
  uint32_t why = saros_op_start(op);
  if (why == 0) return op;
  *out = NULL;
  *e = vss_error(why, "no worker could be had to make a writer's socket");
  unref(l);
  saros_op_unref(op);
  return NULL;
}

void listening_stop(listening *l) {
  wire_server *server = NULL;
  if (l->generation == fork_generation) {
    pthread_mutex_lock(&l->lock);
    l->stopped = true;
    server = l->server;
    l->server = NULL;
    pthread_mutex_unlock(&l->lock);
  }
  if (server != NULL) wire_close(server);
  unref(l);
}
