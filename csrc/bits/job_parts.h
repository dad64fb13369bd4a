/*
** What the files of a job share. "With the lock": the manager's.
*/
#ifndef SAROS_BITS_JOB_PARTS_H
#define SAROS_BITS_JOB_PARTS_H

#include "bits/parts.h"

#define BITS_RANGES_MOST 500
#define BITS_FILES_MOST 1000000
#define BITS_RETRY_DELAY_MS 600000u
#define BITS_NO_PROGRESS_MS (14u * 86400000u)
#define BITS_MAX_TIME_MS (90ull * 86400000u)
#define BITS_INACTIVE_MS (90ull * 86400000u)

#define state_is_final(state) ((state) >= BITS_ACKNOWLEDGED)

/* What goes on by itself. */
static inline bool state_is_active(bits_state state) {
  return state <= BITS_TRANSFERRING || state == BITS_TRANSIENT_ERROR;
}

/* The lock; false, without it, in a child that has the job of its parent. */
bool bits_job_lock(bits_job *j);
void bits_job_unlock(bits_job *j);
/* With the lock: why it cannot be changed now; NULL: it can. */
error *bits_job_may_change(bits_job *j);
/* With the lock: "the job 'name'" for a sentence. */
const char *bits_job_name(const bits_job *j);
/* With the lock, which is let go meanwhile: no try is at work, and nobody else
   has its files: it is seized. */
void bits_job_hold_files(bits_job *j);

/* job_files.c */
void bits_file_free(bits_file *f);

/* job_extra.c: what the caller says besides. */
error *bits_extra_read(const value *options, bits_file *f);
/* A whole number of zero or more, also as a real one; false: it is none. */
bool bits_read_number(const value *v, uint64_t *n);

/* job_end.c: with the lock: CANCELLED, and the rest on a thread of its own. */
void bits_job_cancel_begin(bits_job *j);

/* job_run.c: with the lock. */
bool bits_run_begin(bits_job *j); /* false: no memory */
void bits_run_follow(bits_job *j);
void bits_run_end(bits_job *j, uint32_t code, const char *message);
/* Without it: a cancelled one is over. */
void bits_run_cancelled(saros_op *run);

/* states.c: with the lock. */
void bits_failure_clear(bits_failure *f);

/* properties.c: what a setter works on without the lock. */
typedef struct bits_draft {
  bool stored; /* nothing is refused, what is wrong is left out */
  bool looks;  /* an observer's: what is secret is not read */
  bits_terms *terms;
  value *properties;
  bits_priority priority;
  uint64_t retry_delay_ms, no_progress_ms, max_time_ms, down, up;
} bits_draft;

/* With the lock: false: no memory. */
bool bits_draft_begin(bits_draft *d, const bits_job *j);
/* With nothing set yet, for a row. */
bool bits_draft_usual(bits_draft *d, const bits_job *j);
/* `create`: type and group are known, too. */
error *bits_draft_read(bits_draft *d, const value *properties, bool create);
/* With the lock: the job has it, and the draft what the job had. */
void bits_draft_swap(bits_draft *d, bits_job *j);
void bits_draft_free(bits_draft *d);

/* properties_secret.c: what is never stored. Each replaces what the terms have
   of it, and shows (*shown) what may be seen. */
error *bits_secret_headers(bits_draft *d, const value *v, value **shown);
error *bits_secret_credentials(bits_draft *d, const value *v, value **shown);
error *bits_secret_proxy_login(bits_draft *d, const value *v, value **shown);
error *bits_secret_s3(bits_draft *d, const value *v, value **shown);
/* The property whose secret was lost when the process ended; or NULL. */
const char *bits_secret_lost(const bits_terms *t, const value *properties);

/* properties_reference.c: what "env:NAME" or "file:/path" says, to be wiped;
   NULL and *e. */
char *bits_reference_read(const char *reference, error **e);
bool bits_reference_is(const char *text);
void bits_secret_free(char *text); /* wiped; NULL is fine */

#ifdef SAROS_TEST
/* The least delay of a retry: 5000 ms in earnest. SAROS_RETRY_LEAST_MS in the
   environment sets it, too. */
extern _Atomic unsigned bits_retry_least_ms;
#endif

#endif
