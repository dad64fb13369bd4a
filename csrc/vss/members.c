/*
** The coordinator's jobs on workers: what the providers do for each member, and
** what is done once for all of them.
*/
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

#include "vss/shooting.h"

void shooting_submit(work *w, pool_lane lane, void (*run)(machine_job *mj)) {
  shooting *g = w->more;
  g->job_count = w->s->member_count;
  for (size_t i = 0; i < g->job_count; i++) {
    member_job *j = &g->jobs[i];
    j->w = w;
    j->m = w->s->members[i];
    int r = machine_submit(&w->m, &j->mj, lane, run);
    j->out = r == 0;
    if (r != 0)
      work_fails(w, error_of_errno(SAROS_FACADE_VSS, r,
                                   "no thread for a provider", NULL));
  }
}

/* All are back; what they brought is known. */
bool shooting_back(work *w) {
  shooting *g = w->more;
  bool all = true;
  for (size_t i = 0; i < g->job_count; i++) {
    member_job *j = &g->jobs[i];
    if (j->out && !atomic_load(&j->mj.back)) {
      all = false;
      continue;
    }
    j->out = false;
    if (j->e != NULL) {
      error *e = j->e;
      j->e = NULL;
      work_fails(w, e);
    }
  }
  return all;
}

/* Where this provider may make things. */
static error *give_place(shadow *m, const places *at) {
  char *base = m->provider->place_of != NULL ? m->provider->place_of(m->from)
                                             : path_join(at->state, "data");
  m->place = base != NULL ? path_join(base, m->id) : NULL;
  mem_free(base);
  return m->place != NULL ? NULL : error_no_memory();
}

bool shooting_noted(work *w) {
  shooting *g = w->more;
  for (size_t i = 0; i < g->job_count; i++)
    if (g->jobs[i].notes && !atomic_load(&g->jobs[i].noting.back)) return false;
  for (size_t i = 0; i < g->job_count; i++) {
    member_job *j = &g->jobs[i];
    error *e = j->note_error;
    value_free(j->record);
    j->record = NULL;
    j->note_error = NULL;
    j->notes = false;
    if (e != NULL) work_fails(w, e);
  }
  return true;
}

static error *note(shadow *m) {
  member_job *j = m->note_self;
  shooting *g = j->w->more;
  value *record = member_record(j->w->s, m, "preparing");
  if (record == NULL) return error_no_memory();
  error *e = record_save(g->at, record);
  value_free(record);
  return e;
}

static void job_note(machine_job *mj) {
  member_job *j = (member_job *)((char *)mj - offsetof(member_job, noting));
  shooting *g = j->w->more;
  j->note_error = record_save(g->at, j->record);
}

/* The disk is waited for beside the rest of what comes before the hold. What
   the record says is settled first: prepare may change the shadow. */
static error *note_meanwhile(member_job *j) {
  j->record = member_record(j->w->s, j->m, "preparing");
  if (j->record == NULL) return error_no_memory();
  j->notes = machine_submit(&j->w->m, &j->noting, POOL_LANE, job_note) == 0;
  if (!j->notes) job_note(&j->noting);
  return NULL;
}

/* A mount point that lost its file system since it was added is an empty
   directory of another one, and a copy of that would be a lie. */
static error *still_there(const shadow *m) {
  struct stat st;
  if (stat(m->from->path, &st) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "what was added to the set cannot be seen any more",
                          m->from->path);
  if (st.st_dev == m->from->dev) return NULL;
  return error_at(vss_error(SAROS_E_CHANGED,
                            "%s is on another file system than when it was "
                            "added to the set: one was mounted or unmounted "
                            "there; begin a new set",
                            m->given),
                  m->given);
}

/* On disk before the act: what plan names is recorded before prepare, or when
   that makes nothing, before the hold. */
void job_prepare(machine_job *mj) {
  member_job *j = (member_job *)mj;
  shooting *g = j->w->more;
  shadow *m = j->m;
  m->note = note;
  m->note_self = j;
  error *e = still_there(m);
  if (e == NULL) e = give_place(m, g->at);
  if (e == NULL) e = m->provider->plan(m);
  if (e == NULL) e = m->provider->late ? note_meanwhile(j) : note(m);
  if (e == NULL) e = m->provider->prepare(m, j->w->m.op);
  j->e = e;
}

void job_commit(machine_job *mj) {
  member_job *j = (member_job *)mj;
  j->m->commit_begin = engine_clock();
  j->e = j->m->provider->commit(j->m);
  j->m->commit_end = engine_clock();
  clock_gettime(CLOCK_REALTIME, &j->m->made);
}

static error *save_created(member_job *j) {
  shooting *g = j->w->more;
  value *record = member_record(j->w->s, j->m, "created");
  if (record == NULL) return error_no_memory();
  bool stays = (j->m->attributes & VSS_ATTR_PERSISTENT) != 0;
  error *e =
      stays ? record_save(g->at, record) : record_save_loose(g->at, record);
  value_free(record);
  return e;
}

void job_finish(machine_job *mj) {
  member_job *j = (member_job *)mj;
  error *e = j->m->provider->finish(j->m, j->w->m.op);
  if (e == NULL) e = save_created(j);
  j->e = e;
}

/* Whoever comes next goes on with it: of one that is being made he would
   believe that we still make it. */
static void leave_to_others(member_job *j) {
  shooting *g = j->w->more;
  value *record = member_record(j->w->s, j->m, "deleting");
  const value *owner = value_get(record, "owner");
  if (record != NULL && value_put(record, "deleter", value_copy(owner)))
    error_unref(record_save(g->at, record));
  value_free(record);
}

/* The record stays when something stays: the next session tries again. */
void job_destroy(machine_job *mj) {
  member_job *j = (member_job *)mj;
  shooting *g = j->w->more;
  shadow *m = j->m;
  if (m->self != NULL) m->provider->forget(m);
  m->self = NULL;
  if (m->place == NULL) return; /* nothing was planned */
  error *e = m->provider->destroy(m->keep, NULL);
  if (e != NULL) leave_to_others(j);
  if (e == NULL) e = record_remove(g->at, m->id);
  if (e != NULL && e->code != VSS_E_OBJECT_NOT_FOUND)
    saros_op_cleanup_failed(j->w->m.op, e->message);
  error_unref(e);
}

void job_plan(machine_job *mj) {
  work *w = (work *)mj->m;
  shooting *g = w->more;
  error *e = NULL;
  int r = pool_ready(POOL_HELD, (unsigned)w->s->member_count);
  if (r != 0)
    e = error_of_errno(SAROS_FACADE_VSS, r,
                       "cannot make the threads that commit", NULL);
  if (e == NULL)
    g->hold = hold_plan(w->s->members, w->s->member_count, &g->holding, &e);
  if (r == 0 && g->hold == NULL)
    pool_dismiss(POOL_HELD, (unsigned)w->s->member_count);
  job_fails(w, e);
}

void job_places(machine_job *mj) {
  work *w = (work *)mj->m;
  shooting *g = w->more;
  error *e = NULL;
  g->at = session_places(w->s, &e);
  if (g->at != NULL) {
    char *data = path_join(g->at->state, "data");
    if (data == NULL) e = error_no_memory();
    if (data != NULL && mkdir(data, 0700) != 0 && errno != EEXIST)
      e = error_of_errno(SAROS_FACADE_VSS, errno, "cannot make", data);
    mem_free(data);
  }
  job_fails(w, e);
}

/* The guard goes when it is not needed any more, and takes its time. */
void job_disarm(machine_job *mj) {
  work *w = (work *)mj->m;
  shooting *g = w->more;
  if (g->hold == NULL) return;
  hold_free(g->hold);
  g->hold = NULL;
  pool_dismiss(POOL_HELD, (unsigned)w->s->member_count);
}

/* Where nothing is frozen there is no guard, no descriptor and nothing that
   could block, and a thread's turn would take longer than the job. */
void shooting_plan(work *w) {
  bool freezes = false;
  for (size_t i = 0; i < w->s->member_count; i++)
    freezes |= w->s->members[i]->provider->freeze == FREEZE_CALLER;
  if (freezes)
    work_submit(w, job_plan);
  else
    job_plan(&w->job);
}

void shooting_disarm(work *w) {
  const shooting *g = w->more;
  if (hold_count(g->hold) > 0)
    work_submit(w, job_disarm);
  else
    job_disarm(&w->job);
}
