/*
** Bandwidth: the queue's limit is dealt out to jobs, a job's to its files,
** four times a second while there is a limit at all. Nobody gets more than he
** has a use for: what one leaves the others have.
**
** libcurl keeps a limit on average, and small files are over before it could.
** So what has come is charged, too: a bucket (a quarter of a second deep) for
** the queue and for each job that has a limit. A file that begins is charged
** with what it will probably be; who owes too much begins nothing until he owes
** less, and what runs meanwhile is slowed down a little, so that it is paid
** back.
*/
#include "bits/mover_parts.h"

#define DEPTH 4 /* parts of a second */

static uint64_t min_of(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static uint64_t add(uint64_t a, uint64_t b) {
  return a > SHARE_ANY - b ? SHARE_ANY : a + b;
}

void share_fill(uint64_t limit, const uint64_t *wants, uint64_t *gets,
                size_t count) {
  if (limit == SHARE_ANY) {
    for (size_t i = 0; i < count; i++) gets[i] = wants[i];
    return;
  }
  size_t open = count;
  for (size_t i = 0; i < count; i++) gets[i] = SHARE_ANY; /* not dealt yet */
  for (bool again = true; again && open > 0;) {
    uint64_t each = limit / open;
    again = false;
    for (size_t i = 0; i < count && open > 0; i++)
      if (gets[i] == SHARE_ANY && wants[i] <= each) {
        gets[i] = wants[i];
        limit -= wants[i];
        open--;
        again = true;
      }
  }
  for (size_t i = 0; i < count && open > 0; i++)
    if (gets[i] == SHARE_ANY) {
      gets[i] = limit / open;
      limit -= gets[i];
      open--;
    }
}

/* ------------------------------------------------------------------
** What counts
** ---------------------------------------------------------------- */

static time_t wall(void) {
#ifdef SAROS_TEST
  if (mover_hook.wall != NULL) return mover_hook.wall();
#endif
  return time(NULL);
}

static int64_t depth_of(uint64_t rate) {
  return (int64_t)min_of(rate / DEPTH + 1, INT64_MAX / 4);
}

/* Nobody owes more of a new limit than it lets go in a moment, whatever he owed
   of the one before; nor has he more. */
static void bound(uint64_t rate, int64_t *tokens) {
  int64_t full = depth_of(rate);
  if (*tokens > full) *tokens = full;
  if (*tokens < -full) *tokens = -full;
}

/* Another limit counts from now on: what has come until now has come under the
   one before. */
static void change_rate(bits_mover *v, share_bucket *b, uint64_t rate) {
  if (b->rate == rate) return;
  for (mover_run *run = v->runs; run != NULL; run = run->next) run_count(run);
  b->rate = rate;
  bound(rate, &b->tokens);
}

void share_rates(bits_mover *v) {
  uint64_t down = v->limit_down > 0 ? v->limit_down : SHARE_ANY;
  uint64_t up = v->limit_up > 0 ? v->limit_up : SHARE_ANY;
  v->hours_at = MOVER_NEVER;
  if (v->hours.count > 0) {
    time_t now = wall();
    hours_at(&v->hours, now, &down, &up);
    /* Rules begin and end with a minute. */
    v->hours_at = mover_now(v->m) + (uint64_t)(60 - now % 60) * 1000;
  }
  change_rate(v, &v->down, down);
  change_rate(v, &v->up, up);
}

/* What counts, which is what was set when somebody looked last. */
static uint64_t job_limit(const bits_job *j) {
  return j->turn.limit > 0 ? j->turn.limit : SHARE_ANY;
}

/* The same of a job, of which a setter may have said something else. */
static void renew_limit(bits_mover *v, bits_job *j) {
  uint64_t limit = j->type == BITS_DOWNLOAD ? j->down : j->up;
  if (j->turn.limit == limit) return;
  for (mover_run *run = v->runs; run != NULL; run = run->next)
    if (run->job == j) run_count(run);
  j->turn.limit = limit;
  bound(job_limit(j), &j->turn.tokens);
}

static share_bucket *bucket_of(bits_mover *v, const bits_job *j) {
  return j->type == BITS_DOWNLOAD ? &v->down : &v->up;
}

/* Time has passed: tokens come, at most a bucket full. */
static void fill(uint64_t rate, int64_t *tokens, uint64_t *at, uint64_t now) {
  if (rate == SHARE_ANY || now < *at) {
    *tokens = 0;
    *at = now;
    return;
  }
  int64_t full = depth_of(rate);
  uint64_t passed = now - *at;
  /* Longer than any debt would last. */
  if (passed > 3600000) passed = 3600000;
  if (rate > UINT64_MAX / 3600001 / 2) rate = UINT64_MAX / 3600001 / 2;
  uint64_t come = rate * passed / 1000;
  if (come == 0) return;
  if (*tokens < full && come < (uint64_t)(full - *tokens)) {
    *tokens += (int64_t)come;
    *at = now - passed + (come * 1000 + rate - 1) / rate; /* what it took */
  } else {
    *tokens = full;
    *at = now;
  }
}

static void fill_both(bits_mover *v, bits_job *j, uint64_t now) {
  share_bucket *b = bucket_of(v, j);
  renew_limit(v, j);
  fill(b->rate, &b->tokens, &b->at, now);
  fill(job_limit(j), &j->turn.tokens, &j->turn.tokens_at, now);
}

static bool is_limited(bits_mover *v, const bits_job *j) {
  return bucket_of(v, j)->rate != SHARE_ANY || job_limit(j) != SHARE_ANY;
}

bool share_owes(bits_mover *v, bool upload, uint64_t now) {
  share_bucket *b = upload ? &v->up : &v->down;
  if (b->rate == SHARE_ANY || b->rate == 0) return false;
  fill(b->rate, &b->tokens, &b->at, now);
  return b->tokens < -depth_of(b->rate);
}

share_word share_may_begin(bits_mover *v, bits_job *j, uint64_t now) {
  renew_limit(v, j);
  if (!is_limited(v, j)) return SHARE_GO;
  share_bucket *b = bucket_of(v, j);
  uint64_t limit = job_limit(j);
  if (b->rate == 0) return SHARE_CLOSED;
  fill_both(v, j, now);
  if (share_owes(v, j->type != BITS_DOWNLOAD, now)) return SHARE_ALL_OWE;
  if (limit != SHARE_ANY && j->turn.tokens < -depth_of(limit))
    return SHARE_OWES;
  return SHARE_GO;
}

static void take(mover_run *run, int64_t bytes) {
  bits_mover *v = run->mover;
  share_bucket *b = bucket_of(v, run->job);
  if (b->rate != SHARE_ANY) b->tokens -= bytes;
  if (job_limit(run->job) != SHARE_ANY) run->job->turn.tokens -= bytes;
}

void share_prepay(mover_run *run, uint64_t now) {
  bits_mover *v = run->mover;
  bits_file *f = run->file;
  uint64_t have = atomic_load(&f->have), size = v->mean;
  run->prepaid = 0;
  if (!is_limited(v, run->job)) return;
  if (f->size != BITS_UNKNOWN) size = f->size > have ? f->size - have : 0;
  /* What is large obeys its limit, and pays as it comes. */
  run->prepaid = min_of(size, (uint64_t)64 << 10);
  take(run, (int64_t)run->prepaid);
  if (v->tick_at == MOVER_NEVER) v->tick_at = now + SHARE_TICK_MS;
  share_deal(v, now);
}

void share_charge(mover_run *run, uint64_t bytes) {
  run->used += bytes;
  if (!is_limited(run->mover, run->job)) return;
  uint64_t paid = min_of(run->prepaid, bytes);
  run->prepaid -= paid;
  take(run, (int64_t)min_of(bytes - paid, INT64_MAX / 4));
}

void share_settle(mover_run *run) {
  bits_mover *v = run->mover;
  take(run, -(int64_t)run->prepaid);
  run->prepaid = 0;
  v->mean = (v->mean * 7 + min_of(run->bytes, (uint64_t)1 << 20)) / 8;
}

/* ------------------------------------------------------------------
** The deal
** ---------------------------------------------------------------- */

/* A limit, less what is owed: within a second that is paid back. */
static uint64_t rate_with(uint64_t rate, int64_t tokens) {
  if (rate == SHARE_ANY || rate == 0 || tokens >= 0) return rate;
  uint64_t least = rate / 4 + 1, owed = (uint64_t)-tokens;
  return rate > least && owed < rate - least ? rate - owed : least;
}

/* At the end of a tick: what it had a use for, and a little more. */
static uint64_t want_of(const mover_run *run) {
  uint64_t has = run->upload ? run->up : run->down;
  if (has == 0) return SHARE_ANY;
  uint64_t second = run->used * (1000 / SHARE_TICK_MS);
  return second >= has - has / 4 ? SHARE_ANY : second * 2 + 4096;
}

static void grant(mover_run *run, uint64_t share) {
  uint64_t *now = run->upload ? &run->up : &run->down;
  uint64_t to = share == SHARE_ANY ? 0 : share == 0 ? 1 : share;
  uint64_t apart = to > *now ? to - *now : *now - to;
  if (apart == 0 || (to > 0 && *now > 0 && apart < *now / 16)) return;
  *now = to;
  if (run->try == NULL || run->relimit) return;
  run->relimit = true;
  run->mover->relimits++;
}

/* What nobody has a use for now somebody may have in a moment. */
static void spread(uint64_t limit, const uint64_t *caps, uint64_t *gets,
                   size_t count) {
  uint64_t dealt = 0;
  if (limit == SHARE_ANY || count == 0) return;
  for (size_t i = 0; i < count; i++) dealt = add(dealt, gets[i]);
  if (dealt >= limit) return;
  uint64_t each = (limit - dealt) / count;
  for (size_t i = 0; i < count; i++)
    gets[i] = min_of(add(gets[i], each), caps != NULL ? caps[i] : SHARE_ANY);
}

/* Of one job. */
static void deal_job(mover_run *const *runs, size_t count, uint64_t limit) {
  uint64_t wants[MOVER_RUNS_MOST], gets[MOVER_RUNS_MOST];
  for (size_t i = 0; i < count; i++)
    wants[i] = limit == SHARE_ANY ? SHARE_ANY : runs[i]->want;
  share_fill(limit, wants, gets, count);
  spread(limit, NULL, gets, count);
  for (size_t i = 0; i < count; i++) grant(runs[i], gets[i]);
}

static void deal_way(bits_mover *v, bool upload) {
  mover_run *runs[MOVER_RUNS_MOST];
  uint64_t wants[MOVER_RUNS_MOST], own[MOVER_RUNS_MOST], gets[MOVER_RUNS_MOST];
  size_t starts[MOVER_RUNS_MOST + 1], count = 0, jobs = 0;
  const share_bucket *b = upload ? &v->up : &v->down;
  uint64_t limit = rate_with(b->rate, b->tokens);
  for (mover_run *first = v->runs; first != NULL; first = first->next) {
    bool had = first->upload != upload;
    for (size_t i = 0; i < jobs && !had; i++)
      had = runs[starts[i]]->job == first->job;
    if (had) continue;
    uint64_t all = 0;
    starts[jobs] = count;
    for (mover_run *run = first; run != NULL; run = run->next)
      if (run->job == first->job) {
        runs[count++] = run;
        all = add(all, run->want);
      }
    own[jobs] = rate_with(job_limit(first->job), first->job->turn.tokens);
    wants[jobs] = limit == SHARE_ANY ? own[jobs] : min_of(all, own[jobs]);
    jobs++;
  }
  if (jobs == 0) return;
  starts[jobs] = count;
  share_fill(limit, wants, gets, jobs);
  spread(limit, own, gets, jobs);
  for (size_t i = 0; i < jobs; i++)
    deal_job(runs + starts[i], starts[i + 1] - starts[i], gets[i]);
}

void share_deal(bits_mover *v, uint64_t now) {
  for (mover_run *run = v->runs; run != NULL; run = run->next)
    fill_both(v, run->job, now);
  deal_way(v, false);
  deal_way(v, true);
}

void share_tick(bits_mover *v, uint64_t now) {
  bool limited = false;
  if (now < v->tick_at) return; /* or there is no limit */
  for (mover_run *run = v->runs; run != NULL; run = run->next) {
    renew_limit(v, run->job);
    limited =
        limited || is_limited(v, run->job) || run->down > 0 || run->up > 0;
    if (bucket_of(v, run->job)->rate == 0 && !run->stop) {
      run->stop = true;
      v->stops++;
    }
  }
  if (!limited) {
    v->tick_at = MOVER_NEVER;
    return;
  }
  for (mover_run *run = v->runs; run != NULL; run = run->next) {
    run_count(run);
    run->want = want_of(run);
    run->used = 0;
  }
  share_deal(v, now);
  v->tick_at = now + SHARE_TICK_MS;
}
