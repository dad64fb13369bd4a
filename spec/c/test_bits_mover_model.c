/*
** bits: which file is next, against a model: whatever happens in whatever
** order, nobody has more than he may, nothing is begun before its time, nothing
** that could be begun is forgotten, and in the end everything is there.
*/
#include "mover_case.h"

#define JOBS 12
#define HOSTS 4
#define RUNS_MOST 64

static uint64_t seed;

static unsigned any(unsigned below) {
  return (unsigned)(retry_random(&seed) % below);
}

/* What the model knows of hosts and files: when one may be asked again. */
static uint64_t host_until[HOSTS];
static uint64_t file_until[JOBS * 4][64];
static bits_job *jobs[JOBS * 4];
static unsigned job_count;
static struct {
  bits_file *file;
  bits_committed call;
  void *context;
} commits[RUNS_MOST];
static unsigned commit_count;
static unsigned wrongs;
static const bits_file *again; /* it has its place already */

static void wrong(const char *what, const bits_job *j) {
  bits_mover *v = w.m.mover;
  printf("%s\n", what);
  if (j != NULL)
    printf("  job %lld of level %d: state %d, %u at work, %s, due in %lld\n",
           (long long)j->id, j->priority, j->state, j->running,
           j->turn.list == NULL                      ? "nowhere"
           : j->turn.list == &v->parked              ? "parked"
           : j->turn.list == &v->ring[j->turn.level] ? "in its ring"
                                                     : "at a host",
           (long long)(j->turn.due - w.now));
  for (uint32_t i = 0; j != NULL && i < j->turn.later_count; i++)
    printf("  %s (%d) in %lld\n", j->files[j->turn.later[i].file]->url,
           j->files[j->turn.later[i].file]->state,
           (long long)(j->turn.later[i].at - w.now));
  if (j != NULL && j->next_file < j->file_count)
    printf("  next: %s\n", j->files[j->next_file]->url);
  for (unsigned i = 0; i < MOVER_HOST_BUCKETS; i++)
    for (const mover_host *h = v->hosts[i]; h != NULL; h = h->next)
      printf("  %s: %u at work, %zu wait, gate %lld%s\n", h->name, h->active,
             h->waiting[0].count + h->waiting[1].count + h->waiting[2].count +
                 h->waiting[3].count,
             h->until == 0 ? 0 : (long long)(h->until - w.now),
             h->freed ? ", freed" : "");
  for (unsigned l = 0; l < MOVER_LEVELS; l++)
    printf("  level %u: %u at work, %zu in the ring, %zu at hosts\n", l,
           v->level_active[l], v->ring[l].count, v->host_waits[l]);
  printf("  %u of %u at work, %u at a host\n", v->active, v->connections,
         v->per_host);
  wrongs++;
}

static unsigned index_of(const bits_job *j) {
  return (unsigned)(j->id - 1);
}

static unsigned host_index(const bits_file *f) {
  return (unsigned)(f->url[7] - 'a');
}

static void model_commit(bits_file *f, bits_committed call, void *context) {
  commits[commit_count].file = f;
  commits[commit_count].call = call;
  commits[commit_count++].context = context;
}

/* Each start is held against the rules. */
static bits_try *model_start(mover_way way, const bits_try_ask *ask,
                             error **e) {
  bits_file *f = ask->file;
  bits_job *j = f->job;
  if (f->state != BITS_FILE_RUNS) wrong("begun, and does not run", j);
  if (fake_of(f) != NULL) wrong("begun twice", j);
  bits_mover *v = w.m.mover;
  if (f != again && v->active > v->connections)
    wrong("too many connections", j);
  if (f != again && host_of(v, f->url)->active > v->per_host)
    wrong("too many at its host", j);
  if (f != again && w.now < host_until[host_index(f)])
    wrong("its host has its rest", j);
  if (w.now < file_until[index_of(j)][f->number]) wrong("before its time", j);
  if (j->running > j->terms->per_host) wrong("more than the job may", j);
  for (unsigned i = 0; i < job_count && f != again; i++)
    if (jobs[i]->running > 0 && jobs[i]->priority < j->priority &&
        jobs[i]->turn.known && mover_may_run(jobs[i]))
      wrong("a higher one is at work", j);
  if (any(200) == 0) {
    *e = error_no_memory();
    return NULL;
  }
  return world_start(way, ask, e);
}

/* In the order in which they are tried: those whose time has come, the others.
   The first that has a host which may be asked: is there a connection? */
static bool could_go_on(bits_mover *v, const bits_job *j) {
  const mover_later *first = NULL;
  if (!mover_may_run(j) || j->running >= j->terms->per_host) return false;
  for (uint32_t i = 0; i < j->turn.later_count; i++) {
    const mover_later *l = &j->turn.later[i];
    const bits_file *f = j->files[l->file];
    /* A look may be so many milliseconds late: too early to say. */
    if (l->at <= w.now && l->at + 10 > w.now) return false;
    if (l->at > w.now || f->state != BITS_FILE_WAITS ||
        host_closed(host_of(v, f->url), w.now) != 0)
      continue;
    if (first == NULL || l->at < first->at ||
        (l->at == first->at && l->file < first->file))
      first = l;
  }
  if (first != NULL)
    return host_of(v, j->files[first->file]->url)->active < v->per_host;
  for (uint32_t i = j->next_file; i < j->file_count; i++) {
    mover_host *h = host_of(v, j->files[i]->url);
    if (j->files[i]->state == BITS_FILE_WAITS && !j->files[i]->later &&
        host_closed(h, w.now) == 0)
      return h->active < v->per_host;
  }
  return false;
}

/* After all that could be done was done. */
static void check_world(void) {
  bits_mover *v = w.m.mover;
  unsigned top = MOVER_LEVELS;
  if (fakes() + commit_count != v->active) wrong("not all is counted", NULL);
  for (unsigned i = 0; i < job_count; i++) {
    const bits_job *j = jobs[i];
    bool at_host = j->turn.list != NULL && j->turn.list->all != NULL;
    if ((j->running > 0 || at_host || could_go_on(v, j)) && j->priority < top)
      top = j->priority;
  }
  for (unsigned i = 0; i < job_count; i++) {
    const bits_job *j = jobs[i];
    if (j->priority == top && v->active < v->connections && could_go_on(v, j))
      wrong("it could go on, and does not", j);
    bool waits = false;
    for (uint32_t k = 0; k < j->file_count; k++)
      waits = waits || j->files[k]->state == BITS_FILE_WAITS;
    if (j->running == 0 && waits &&
        (j->state == BITS_CONNECTING || j->state == BITS_TRANSFERRING))
      wrong("it is said to be at work, and is not", j);
    if (j->running > 0 && j->state == BITS_QUEUED && !j->turn.stopping)
      wrong("it is at work, and said to wait", j);
    if (j->state == BITS_TRANSIENT_ERROR && j->running > 0)
      wrong("it is in error, and at work", j);
    if (j->state == BITS_TRANSIENT_ERROR &&
        w.m.look_at > (j->retry_at > w.now ? j->retry_at : w.now) + 10)
      wrong("nobody will look for it", j);
  }
}

/* ------------------------------------------------------------------
** What happens
** ---------------------------------------------------------------- */

static void add_job(void) {
  if (job_count >= JOBS * 4) return;
  char host[2] = {(char)('a' + any(HOSTS)), 0};
  bits_job *j = a_job((bits_priority)any(4), 1 + any(30), host);
  bool mixed = any(4) == 0;
  for (uint32_t i = 0; mixed && i < j->file_count; i++)
    j->files[i]->url[7] = (char)('a' + any(HOSTS));
  if (any(4) == 0) j->terms->per_host = 1 + any(3);
  jobs[job_count++] = j;
}

static void end_one(bool well) {
  unsigned n = fakes();
  if (n == 0) return;
  fake *t = w.tries;
  for (unsigned i = any(n); i > 0; i--) t = t->next;
  bits_file *f = t->file;
  bits_result r = {.end = BITS_END_WHOLE, .proven = true};
  bool *begun = &t->begun;
  atomic_store(&f->have, (uint64_t)any(40) << 20);
  if (!*begun && any(2) == 0) fake_begun(t);
  unsigned what = well ? 100 : any(60);
  if (t->stopped && any(4) != 0) {
    r.end = BITS_END_STOPPED;
  } else if (what < 12) {
    r.end = BITS_END_AGAIN;
    r.transport = 500;
    r.code = BG_E_HTTP(500);
    r.moved = any(3) == 0;
    if (what < 6) {
      r.has_wait = true;
      r.wait_ms = 1 + any(100000);
      r.gate_host = what < 4;
      uint64_t until = w.now + r.wait_ms;
      if (r.gate_host && host_until[host_index(f)] < until)
        host_until[host_index(f)] = until;
      file_until[index_of(f->job)][f->number] = until;
    }
  } else if (what < 14) {
    r.end = BITS_END_AGAIN;
    r.code = BG_E_CONNECT_FAILURE;
  } else if (what < 16) {
    r.end = BITS_END_OFFLINE;
  } else if (what < 17) {
    r.end = BITS_END_FAILED;
    r.code = BG_E_HTTP(404);
    r.transport = 404;
  } else if (what < 20) {
    r.end = BITS_END_AT_ONCE;
  }
  fake_ends(t, &r);
}

static void no_waits(const bits_job *j) {
  memset(file_until[index_of(j)], 0, sizeof file_until[0]);
  memset(host_until, 0, sizeof host_until);
}

static void ask_of_one(void) {
  if (job_count == 0) return;
  bits_job *j = jobs[any(job_count)];
  bool none;
  pthread_mutex_lock(&w.m.lock);
  switch (any(4)) {
    case 0:
      if (j->state != BITS_TRANSFERRED) j->state = BITS_SUSPENDED;
      bits_mover_stop(j, &none);
      break;
    case 1:
    case 2:
      if (j->state == BITS_SUSPENDED || j->state == BITS_ERROR ||
          j->state == BITS_TRANSIENT_ERROR) {
        no_waits(j);
        j->state = BITS_QUEUED;
      }
      break;
    default: j->priority = (bits_priority)any(4); break;
  }
  bits_mover_wake(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
}

static void commit_one(void) {
  if (commit_count == 0) return;
  unsigned i = any(commit_count);
  bits_committed call = commits[i].call;
  void *context = commits[i].context;
  again = commits[i].file;
  commits[i] = commits[--commit_count];
  error *e = any(10) == 0 ? error_no_memory() : NULL;
  call(context, e);
  again = NULL;
  turn();
}

static void change_settings(void) {
  char text[100];
  error *e = NULL;
  snprintf(text, sizeof text,
           "{\"connections\": %u, \"connections_per_host\": %u}", 1 + any(20),
           1 + any(8));
  value *v = json_read(text, strlen(text), NULL, &e);
  pthread_mutex_lock(&w.m.lock);
  e = bits_mover_settings(&w.m, v);
  pthread_mutex_unlock(&w.m.lock);
  value_free(v);
  turn();
}

static void one_life(uint64_t first) {
  seed = first;
  job_count = commit_count = 0;
  memset(host_until, 0, sizeof host_until);
  memset(file_until, 0, sizeof file_until);
  world_begin(NULL);
  mover_hook.start = model_start;
  mover_hook.commit = model_commit;
  mover_hook.seed = seed;
  unsigned before = wrongs;
  for (int i = 0; i < 400 && wrongs == before; i++) {
    unsigned what = any(100);
    if (what < 8 && job_count < JOBS)
      add_job(), wake();
    else if (what < 60)
      end_one(false);
    else if (what < 75)
      pass(any(3000));
    else if (what < 80)
      pass(any(1000000));
    else if (what < 90)
      ask_of_one();
    else if (what < 98)
      commit_one();
    else
      change_settings();
    check_world();
  }
  /* In the end everything comes. */
  for (int i = 0; i < 3000 && wrongs == before; i++) {
    bool over = true;
    for (unsigned k = 0; k < job_count; k++) {
      bits_job *j = jobs[k];
      if (j->state == BITS_SUSPENDED || j->state == BITS_ERROR) {
        no_waits(j);
        j->state = BITS_QUEUED;
        wake();
      }
      over = over && j->state == BITS_TRANSFERRED;
    }
    if (over) break;
    while (commit_count > 0) commit_one();
    if (w.tries != NULL)
      end_one(true);
    else
      pass(1000000);
    check_world();
  }
  for (unsigned k = 0; k < job_count && wrongs == before; k++)
    if (jobs[k]->state != BITS_TRANSFERRED) wrong("it never came", jobs[k]);
  if (wrongs != before) {
    printf("  seed %llu\n", (unsigned long long)first);
    exit(1);
  }
  while (commit_count > 0) commit_one();
  world_end();
}

TEST(whatever_happens) {
  const char *given = getenv("MOVER_SEED");
  if (given != NULL) {
    one_life(strtoull(given, NULL, 10));
    return;
  }
  const char *is_long = getenv("SAROS_LONG");
  uint64_t lives = is_long != NULL && *is_long == '1' ? 5000 : 150;
  for (uint64_t i = 1; i <= lives; i++) one_life(i);
  CHECK_INT(wrongs, 0);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(whatever_happens);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
