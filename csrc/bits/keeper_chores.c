/*
** What has its time: how far running files have come is told now and then, so
** that those who watch a run or observe the queue see it; the clock is kept
** while nothing else is; uploads that were given up are taken away from
** servers; command lines are seen to; jobs that do nothing by themselves are
** looked at for their times.
*/
#include "bits/keeper.h"

#define BUSY_MS 1000u
#define IDLE_MS 60000u
#define LEAST_MS 10u
#define LOOKED_AT 1024u /* files of a job, for those that run */

/* Running files are just before the next one that waits, nearly always. */
static bool tell_progress(bits_job *j) {
  unsigned found = 0;
  uint32_t i = j->next_file < j->file_count ? j->next_file + 1 : j->file_count;
  for (unsigned looked = 0; i-- > 0 && looked < LOOKED_AT; looked++) {
    if (found == j->running) break;
    if (j->files[i]->state != BITS_FILE_RUNS) continue;
    bits_file_touch(j->files[i]);
    found++;
  }
  return true;
}

/* Those that are under way the mover looks at. */
static void look_at_times(bits_job *j) {
  if (j->state > BITS_TRANSFERRING && j->state != BITS_TRANSIENT_ERROR)
    bits_job_tick(j);
}

void bits_keeper_watch(bits_manager *m) {
  bits_keeper *k = m->keeper;
  uint64_t soon = http_clock() + BUSY_MS;
  if (k->chores_at <= soon) return;
  for (const bits_job *j = m->first; j != NULL; j = j->next)
    if (j->running > 0) {
      k->chores_at = soon;
      return;
    }
}

void bits_keeper_tell(bits_manager *m) {
  bits_keeper *k = m->keeper;
  uint64_t now = http_clock();
  bool any = false;
  for (bits_job *j = m->first; j != NULL; j = j->next) {
    if (j->running == 0) continue;
    bits_job_tell(j);
    any = true;
  }
  k->tell_at = any ? now + KEEPER_TICK_MS : KEEPER_NEVER;
}

void bits_keeper_chores(bits_manager *m) {
  bits_keeper *k = m->keeper;
  bool busy = k->notices != NULL;
  for (bits_job *j = m->first; j != NULL; j = j->next) {
    busy |= j->running > 0 && tell_progress(j);
    look_at_times(j);
  }
  busy |= bits_devices_tidy(m);
  if (k->notices != NULL) bits_notify_look(m);
  bits_orphans_ask(m);
  if (m->job_count > 0 && !busy && k->commit_at == KEEPER_NEVER)
    k->commit_at = http_clock(); /* the clock alone */
  k->chores_at = http_clock() + (k->crowded ? KEEPER_TICK_MS
                                 : busy     ? BUSY_MS
                                            : IDLE_MS);
  uint64_t next = bits_orphans_next(m), least = http_clock() + LEAST_MS;
  if (k->chores_at > next) k->chores_at = next;
  /* Never a loop of chores, whatever somebody says of his time: nobody else
     would ever have the lock. */
  if (k->chores_at < least) k->chores_at = least;
}
