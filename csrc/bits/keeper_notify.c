/*
** Command lines that are run when a job is transferred or in error, and is so
** still. That one is to be run is in the job's row before it is run, and goes
** from there when it has ended: a process that dies meanwhile runs it again; a
** queue that is closed leaves it to itself. No shell has a part in it. It is
** told by its environment what it is about.
**
** Ten thousand jobs may end in one moment: so many command lines are not begun
** at once. Nor does one that never ends keep others from it.
*/
#include <string.h>
#include <unistd.h>

#include "bits/keeper.h"

typedef struct command {
  const char **argv, **env;
  char *job, *state, *queue;
  size_t argc;
} command;

static void free_command(command *c) {
  mem_free(c->argv);
  mem_free(c->env);
  mem_free(c->job);
  mem_free(c->state);
  mem_free(c->queue);
}

static char *variable(const char *name, const char *text) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s=%s", name, text);
  return buffer_take(&b);
}

/* False: no memory. */
static bool make_env(command *c, const bits_job *j) {
  size_t n = 0, kept = 0;
  while (environ != NULL && environ[n] != NULL) n++;
  c->env = mem_zero((n + 4) * sizeof *c->env);
  c->job = variable("SAROS_JOB", j->guid);
  c->queue = variable("SAROS_QUEUE", j->m->path);
  c->state = variable("SAROS_JOB_STATE",
                      j->state == BITS_ERROR ? "error" : "transferred");
  if (c->env == NULL || c->job == NULL || c->queue == NULL || c->state == NULL)
    return false;
  for (size_t i = 0; i < n; i++)
    if (strncmp(environ[i], "SAROS_JOB", 9) != 0 &&
        strncmp(environ[i], "SAROS_QUEUE=", 12) != 0)
      c->env[kept++] = environ[i];
  c->env[kept++] = c->job;
  c->env[kept++] = c->state;
  c->env[kept] = c->queue;
  return true;
}

/* With the lock: copies, so that it can be let go. False: there is none, or no
   memory. */
static bool make_command(command *c, const bits_job *j) {
  const value *given = value_get(j->properties, "notify_command");
  memset(c, 0, sizeof *c);
  if (given == NULL || given->type != VALUE_LIST || given->count == 0)
    return false;
  size_t size = 0;
  for (uint32_t i = 0; i < given->count; i++)
    size += strlen(value_chars(given->as.items[i], "")) + 1;
  size_t list = (given->count + 1) * sizeof *c->argv;
  c->argv = mem_zero(list + size);
  if (c->argv == NULL || !make_env(c, j)) return false;
  char *text = (char *)c->argv + list;
  for (uint32_t i = 0; i < given->count; i++) {
    const char *argument = value_chars(given->as.items[i], "");
    size_t room = strlen(argument) + 1;
    memcpy(text, argument, room);
    c->argv[c->argc++] = text;
    text += room;
  }
  return true;
}

static void warn(const bits_job *j, const char *program, const char *what,
                 uint32_t code) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "the command line of job %s (%s) %s (0x%08x)", j->guid,
                program, what, code);
  if (!b.failed) saros_log(SAROS_LOG_WARNING, "bits", b.data);
  buffer_free(&b);
}

/* With the lock. What has happened to the job since is told, too. */
static void over(bits_job *j, uint32_t which) {
  if (j->notices != which) return;
  j->marks &= (uint8_t)~BITS_JOB_NOTIFY;
  bits_job_touch(j);
}

static bool runs(const bits_keeper *k, const bits_job *j) {
  for (const keeper_notice *n = k->notices; n != NULL; n = n->next)
    if (n->job == j) return true;
  return false;
}

/* With the lock, let go meanwhile; the job is held. */
static void start(bits_manager *m, bits_job *j) {
  bits_keeper *k = m->keeper;
  command c;
  uint32_t why = 0;
  uint32_t which = j->notices;
  if (!make_command(&c, j)) {
    free_command(&c);
    over(j, which);
    return;
  }
  keeper_notice *n = mem_zero(sizeof *n);
  k->starts = true;
  pthread_mutex_unlock(&m->lock);
  saros_process_options options = {
      .size = sizeof options, .argv = c.argv, .env = c.env, .limit = 4096};
  saros_op *op = n != NULL ? saros_process(&options, &why) : NULL;
  if (op == NULL) warn(j, c.argv[0], "cannot be run", why);
  free_command(&c);
  pthread_mutex_lock(&m->lock);
  k->starts = false;
  pthread_cond_broadcast(&m->done);
  if (op == NULL) {
    mem_free(n);
    over(j, which);
    return;
  }
  *n = (keeper_notice){.next = k->notices,
                       .job = bits_job_ref(j),
                       .which = which,
                       .began = http_clock(),
                       .op = op};
  k->notices = n;
  k->chores_at = http_clock() + KEEPER_TICK_MS;
}

/* Takes out those that have ended. */
static keeper_notice *ended(bits_keeper *k, bool all) {
  keeper_notice *list = NULL;
  for (keeper_notice **link = &k->notices, *n; (n = *link) != NULL;) {
    if (!all && !saros_state_is_terminal(saros_op_state(n->op))) {
      link = &n->next;
      continue;
    }
    *link = n->next;
    n->next = list;
    list = n;
  }
  return list;
}

/* With the lock, let go meanwhile. */
static void conclude(bits_manager *m, keeper_notice *list) {
  for (keeper_notice *n = list; n != NULL; n = n->next) over(n->job, n->which);
  pthread_mutex_unlock(&m->lock);
  for (keeper_notice *n = list, *next; n != NULL; n = next) {
    next = n->next;
    if (saros_op_state(n->op) == SAROS_FAILED)
      warn(n->job, "notify_command", "has failed", saros_op_code(n->op));
    saros_op_unref(n->op);
    bits_job_unref(n->job);
    mem_free(n);
  }
  pthread_mutex_lock(&m->lock);
}

/* The next one behind j (NULL: the first), with a reference. */
static bits_job *next_job(bits_manager *m, const bits_job *j) {
  bits_job *next = j != NULL ? j->next : m->first;
  while (next != NULL &&
         ((next->marks & BITS_JOB_NOTIFY) == 0 ||
          (next->marks & BITS_JOB_DIRTY) != 0 || runs(m->keeper, next)))
    next = next->next;
  return next != NULL ? bits_job_ref(next) : NULL;
}

#ifdef SAROS_TEST
uint64_t bits_notice_ms = KEEPER_NOTICE_MS;
#else
static const uint64_t bits_notice_ms = KEEPER_NOTICE_MS;
#endif

static bool has_place(const bits_keeper *k) {
  unsigned n = 0;
  uint64_t now = http_clock();
  for (const keeper_notice *i = k->notices; i != NULL; i = i->next)
    n += now - i->began < bits_notice_ms;
  return n < KEEPER_NOTICES;
}

void bits_notify_look(bits_manager *m) {
  bits_keeper *k = m->keeper;
  bits_job *j = NULL, *next;
  conclude(m, ended(k, false));
  k->crowded = false;
  while (!m->closing && (next = next_job(m, j)) != NULL) {
    k->crowded = !has_place(k);
    if (!k->crowded) start(m, next);
    pthread_mutex_unlock(&m->lock);
    if (j != NULL) bits_job_unref(j);
    pthread_mutex_lock(&m->lock);
    j = next;
    if (k->crowded) break;
  }
  if (j == NULL) return;
  /* It may have left the list meanwhile: then the others come next time. */
  k->crowded |= j->next == NULL && m->last != j;
  pthread_mutex_unlock(&m->lock);
  bits_job_unref(j);
  pthread_mutex_lock(&m->lock);
}

/* What was started goes on by itself. */
void bits_notify_end(bits_manager *m) {
  while (m->keeper->starts) pthread_cond_wait(&m->done, &m->lock);
  conclude(m, ended(m->keeper, true));
}
