/*
** The states of a job, and every move between them. Nobody else writes
** job->state. A move that is not in the table is not made: what a try says of a
** job that was suspended meanwhile comes too late.
*/
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bits/job_parts.h"
#include "bits/part.h"

#define TELL_MS 100 /* between two tidings of progress */

#define TO(state) (1u << (state))
/* What a person may ask of any that is not final. */
#define ASKED TO(BITS_SUSPENDED) | TO(BITS_ACKNOWLEDGED) | TO(BITS_CANCELLED)

static const uint16_t moves[] = {
    [BITS_QUEUED] = TO(BITS_CONNECTING) | TO(BITS_TRANSIENT_ERROR) |
                    TO(BITS_ERROR) | TO(BITS_TRANSFERRED) | ASKED,
    [BITS_CONNECTING] = TO(BITS_QUEUED) | TO(BITS_TRANSFERRING) |
                        TO(BITS_TRANSIENT_ERROR) | TO(BITS_ERROR) |
                        TO(BITS_TRANSFERRED) | ASKED,
    [BITS_TRANSFERRING] = TO(BITS_QUEUED) | TO(BITS_TRANSIENT_ERROR) |
                          TO(BITS_ERROR) | TO(BITS_TRANSFERRED) | ASKED,
    [BITS_SUSPENDED] =
        TO(BITS_QUEUED) | TO(BITS_ACKNOWLEDGED) | TO(BITS_CANCELLED),
    [BITS_ERROR] = TO(BITS_QUEUED) | ASKED,
    [BITS_TRANSIENT_ERROR] = TO(BITS_QUEUED) | TO(BITS_ERROR) | ASKED,
    /* ERROR: the disk has lost what was there. */
    [BITS_TRANSFERRED] = TO(BITS_ERROR) | ASKED,
    [BITS_ACKNOWLEDGED] = 0,
    [BITS_CANCELLED] = 0,
};

const char *bits_state_name(bits_state state) {
  static const char *const names[] = {
      "queued",          "connecting",  "transferring", "suspended", "error",
      "transient_error", "transferred", "acknowledged", "cancelled"};
  return names[state];
}

void bits_failure_clear(bits_failure *f) {
  mem_free(f->why);
  *f = (bits_failure){0};
}

static void forget_failure(bits_job *j) {
  bits_failure_clear(&j->failure);
  j->tries = 0;
}

/* ------------------------------------------------------------------
** Telling
** ---------------------------------------------------------------- */

#define NOTIFY_TRANSFERRED 1
#define NOTIFY_ERROR 2
#define NOTIFY_DISABLED 4

/* Its command line is to be run. */
static void notify(bits_job *j, int64_t why) {
  const value *flags = value_get(j->properties, "notify_flags");
  int64_t wanted = value_integer(flags, NOTIFY_TRANSFERRED | NOTIFY_ERROR);
  if ((wanted & NOTIFY_DISABLED) != 0 || (wanted & why) == 0) return;
  const value *command = value_get(j->properties, "notify_command");
  if (command == NULL || command->count == 0) return;
  j->marks |= BITS_JOB_NOTIFY;
  j->notices++;
}

static void stop_tries(bits_job *j) {
  bool none;
  bits_mover_stop(j, &none);
}

/* What a state means besides. */
static void entered(bits_job *j) {
  /* Of what is so no more nobody is told. */
  j->marks &= (uint8_t)~BITS_JOB_NOTIFY;
  switch (j->state) {
    case BITS_QUEUED: j->retry_at = 0; break;
    case BITS_TRANSFERRING: bits_failure_clear(&j->failure); break;
    case BITS_SUSPENDED:
      j->retry_at = 0;
      stop_tries(j);
      break;
    case BITS_ERROR:
      j->retry_at = 0;
      stop_tries(j);
      notify(j, NOTIFY_ERROR);
      break;
    case BITS_TRANSFERRED:
      forget_failure(j);
      j->retries = 0;
      j->transferred = time(NULL);
      notify(j, NOTIFY_TRANSFERRED);
      break;
    case BITS_ACKNOWLEDGED:
    case BITS_CANCELLED: stop_tries(j); break;
    default: break;
  }
}

void bits_job_move(bits_job *j, bits_state to) {
  bits_state from = j->state;
  if (from == to) return;
  if ((moves[from] & TO(to)) == 0) {
    log_write(LOG_DEBUG, "bits", "%s is %s and does not become %s", j->guid,
              bits_state_name(from), bits_state_name(to));
    return;
  }
  j->state = to;
  j->modified = time(NULL);
  entered(j);
  bits_job_touch(j);
  bits_run_follow(j);
  bits_event(j, "state", -1);
  if (to == BITS_TRANSFERRED) bits_event(j, "transferred", -1);
  if (to == BITS_ERROR) bits_event(j, "error", j->failure.file);
  bits_mover_touch(j);
}

/* ------------------------------------------------------------------
** What tries and the keeper say
** ---------------------------------------------------------------- */

static void waits_again(bits_job *j, bits_file *f) {
  if (f->state == BITS_FILE_WAITS) return; /* the mover has seen to it */
  if (f->state == BITS_FILE_DONE) j->files_done--;
  f->state = BITS_FILE_WAITS;
  bits_file_touch(f);
  if (f->number < j->next_file) j->next_file = f->number;
}

static void remember(bits_job *j, const bits_file *f, const bits_result *r) {
  bits_failure_clear(&j->failure);
  j->failure = (bits_failure){.code = r->code != 0 ? r->code : SAROS_E_FAIL,
                              .context = r->context,
                              .win32 = r->win32,
                              .transport = r->transport,
                              .file = f != NULL ? f->number : 0,
                              .why = mem_text(r->why)};
  j->error_count++;
}

/* Whether it is not tried again, though the failure would pass. A network that
   is lost is waited for, however long that takes. */
static bool has_no_time(const bits_job *j, const bits_result *r, uint64_t now) {
  if (j->no_progress_ms == 0) return true;
  if (r->end == BITS_END_OFFLINE) return false;
  return j->retry_delay_ms > j->no_progress_ms ||
         (now >= j->progress_at && now - j->progress_at >= j->no_progress_ms);
}

/* Tries and retries are counted, and the time of the next is chosen, by the
   mover. */
void bits_job_fails(bits_job *j, bits_file *f, const bits_result *r) {
  uint64_t now = bits_now(j->m);
  if (f != NULL) waits_again(j, f);
  if (!state_is_active(j->state) && j->state != BITS_TRANSFERRED) return;
  bool passes = r->end == BITS_END_AGAIN || r->end == BITS_END_OFFLINE;
  bool tried =
      passes && j->state != BITS_TRANSFERRED && !has_no_time(j, r, now);
  remember(j, f, r);
  if (tried) j->retry_at = now + j->retry_delay_ms;
  if (tried && j->state == BITS_TRANSIENT_ERROR) bits_job_touch(j);
  bits_job_move(j, tried ? BITS_TRANSIENT_ERROR : BITS_ERROR);
}

/* Of the representation that is whole nothing is asked for any more. There may
   be twenty thousand of them. */
static void forget_validators(bits_file *f) {
  bits_known *k = f->known;
  if (k == NULL || f->job->type != BITS_DOWNLOAD) return;
  mem_free(k->etag);
  mem_free(k->modified);
  mem_free(k->digest);
  k->etag = k->modified = k->digest = NULL;
}

void bits_job_file_done(bits_job *j, bits_file *f) {
  forget_validators(f);
  if (f->state != BITS_FILE_DONE) {
    f->state = BITS_FILE_DONE;
    bits_file_touch(f);
  }
  j->files_done++;
  j->progress_at = bits_now(j->m);
  bits_job_touch(j);
  bits_event(j, "file", f->number);
  /* It adds up all files: not for each of twenty thousand. */
  if (j->files_done == j->file_count || j->progress_at >= j->tell_at) {
    j->tell_at = j->progress_at + TELL_MS;
    bits_job_tell(j);
  }
  if (j->files_done == j->file_count && state_is_active(j->state)) {
    if (j->state == BITS_TRANSIENT_ERROR) bits_job_move(j, BITS_QUEUED);
    bits_job_move(j, BITS_TRANSFERRED);
  }
  pthread_cond_broadcast(&j->m->done);
}

static bool has_fetched(const bits_job *j) {
  for (uint32_t i = 0; i < j->file_count; i++)
    if (j->files[i]->state == BITS_FILE_FETCHED) return true;
  return false;
}

void bits_job_idle(bits_job *j) {
  if ((j->state == BITS_CONNECTING || j->state == BITS_TRANSFERRING) &&
      !has_fetched(j))
    bits_job_move(j, BITS_QUEUED);
  pthread_cond_broadcast(&j->m->done);
}

/* ------------------------------------------------------------------
** Time
** ---------------------------------------------------------------- */

static uint64_t after(uint64_t at, uint64_t most) {
  return most == 0 || at > UINT64_MAX - most ? UINT64_MAX : at + most;
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static void gives_up(bits_job *j, uint32_t code, const char *why) {
  bits_result r = {
      .end = BITS_END_FAILED, .code = code, .context = BITS_CONTEXT_QUEUE};
  snprintf(r.why, sizeof r.why, "%s", why);
  remember(j, NULL, &r);
  bits_job_move(j, BITS_ERROR);
}

static uint64_t tick_active(bits_job *j, uint64_t now) {
  uint64_t up = after(j->begun_at, j->max_time_ms);
  if (now >= up) {
    gives_up(j, BG_E_MAXDOWNLOAD_TIMEOUT,
             "it has taken longer than max_time allows");
    return UINT64_MAX;
  }
  if (j->state != BITS_TRANSIENT_ERROR) return up;
  uint64_t hopeless = j->failure.code == BG_E_NETWORK_DISCONNECTED
                          ? UINT64_MAX
                          : after(j->progress_at, j->no_progress_ms);
  if (now >= hopeless) {
    bits_job_move(j, BITS_ERROR); /* with what failed last */
    return UINT64_MAX;
  }
  if (now >= j->retry_at) {
    bits_job_move(j, BITS_QUEUED);
    return up;
  }
  return least(least(up, hopeless), j->retry_at);
}

static uint64_t last_sign(const bits_job *j) {
  return j->touched_at > j->progress_at ? j->touched_at : j->progress_at;
}

uint64_t bits_job_tick(bits_job *j) {
  uint64_t now = bits_now(j->m);
  if (state_is_final(j->state) || (j->marks & BITS_JOB_ENDING) != 0)
    return UINT64_MAX;
  if (j->running > 0) j->touched_at = now;
  uint64_t forgotten = after(last_sign(j), j->inactive_ms);
  if (now >= forgotten) {
    log_write(LOG_WARNING, "bits",
              "%s is cancelled: nothing has happened to it for %llu days",
              j->guid, (unsigned long long)(j->inactive_ms / 86400000u));
    bits_job_cancel_begin(j);
    return UINT64_MAX;
  }
  if (!state_is_active(j->state)) return forgotten;
  return least(forgotten, tick_active(j, now));
}

/* ------------------------------------------------------------------
** From the queue
** ---------------------------------------------------------------- */

/* What a dead machine may have taken with it: such a file is not done. */
static bool is_doubtful(const bits_job *j, const bits_file *f) {
  if (j->type != BITS_DOWNLOAD || (f->marks & BITS_FILE_APPEARED) != 0 ||
      f->state == BITS_FILE_WAITS)
    return false;
  if ((j->marks & BITS_JOB_DURABLE) != 0 && f->state == BITS_FILE_DONE)
    return false;
  uint64_t have = atomic_load(&f->have);
  if (f->known == NULL) return true;
  return strcmp(f->known->boot, bits_boot()) != 0 && f->known->durable < have;
}

static void load_file(bits_job *j, bits_file *f) {
  if (f->state == BITS_FILE_RUNS) f->state = BITS_FILE_WAITS;
  if (!is_doubtful(j, f)) return;
  uint64_t have = f->known != NULL ? bits_part_trusted(f) : 0;
  f->state = BITS_FILE_WAITS;
  if (have < atomic_load(&f->have)) atomic_store(&f->have, have);
  bits_file_touch(f);
}

static void load_files(bits_job *j) {
  j->files_done = 0;
  j->next_file = j->file_count;
  for (uint32_t i = 0; i < j->file_count; i++) {
    bits_file *f = j->files[i];
    load_file(j, f);
    if (f->state == BITS_FILE_DONE) j->files_done++;
    if (f->state == BITS_FILE_WAITS && i < j->next_file) j->next_file = i;
    if (f->state == BITS_FILE_FETCHED) bits_keeper_finish(j->m, f);
  }
}

/* Where it goes on from. */
static bits_state state_of_loaded(const bits_job *j) {
  if (state_is_active(j->state)) return BITS_QUEUED;
  bool whole = j->files_done == j->file_count;
  return j->state == BITS_TRANSFERRED && !whole ? BITS_QUEUED : j->state;
}

void bits_job_loaded(bits_job *j) {
  if (!j->m->owner) return;
  if (state_is_final(j->state)) {
    for (uint32_t i = 0; i < j->file_count; i++)
      if (j->files[i]->state != BITS_FILE_DONE)
        j->files[i]->state = BITS_FILE_WAITS; /* for nobody */
    bits_job_cancel_begin(j);
    return;
  }
  load_files(j);
  bits_state to = state_of_loaded(j);
  if (to != j->state) {
    j->state = to;
    j->retry_at = 0;
    j->marks &= (uint8_t)~BITS_JOB_NOTIFY;
    bits_job_touch(j);
  }
  if (to != BITS_QUEUED) return;
  j->begun_at = least(j->begun_at, bits_now(j->m));
  bits_run_begin(j); /* without memory nobody can wait for it, but it goes on */
  const char *lost = bits_secret_lost(j->terms, j->properties);
  if (lost != NULL) {
    bits_result r = {.end = BITS_END_FAILED,
                     .code = BG_E_INVALID_CREDENTIALS,
                     .context = BITS_CONTEXT_QUEUE};
    snprintf(r.why, sizeof r.why,
             "what its %s had secret was in the memory of a process that has "
             "ended",
             lost);
    remember(j, NULL, &r);
    bits_job_move(j, BITS_ERROR);
  } else if (j->file_count == j->files_done) {
    bits_job_move(j, BITS_TRANSFERRED);
  }
  bits_mover_touch(j);
}
