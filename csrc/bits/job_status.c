/*
** What is told of a job: what a script sees of it, its files, its error; and
** IBackgroundCopyJob1::GetStatus.
*/
#include <string.h>

#include "bits/address.h"
#include "bits/job_parts.h"
#include "op/facade.h"

static bool put_count(value *map, const char *name, uint64_t n) {
  return value_put(map, name,
                   value_int(n > INT64_MAX ? INT64_MAX : (int64_t)n));
}

static bool put_text(value *map, const char *name, const char *text) {
  return text == NULL || value_put(map, name, value_text(text));
}

/* A map that is whole, or NULL. */
static value *whole(value *map, bool good) {
  if (good) return map;
  value_free(map);
  return NULL;
}

static value *seconds(uint64_t ms) {
  return ms % 1000 == 0 ? value_int((int64_t)(ms / 1000))
                        : value_real((double)ms / 1000);
}

/* ------------------------------------------------------------------
** Its error
** ---------------------------------------------------------------- */

static const char *context_name(bits_context context) {
  static const char *const names[] = {
      "none",       "unknown",     "queue",     "notification",
      "local_file", "remote_file", "transport", "application"};
  return names[context];
}

/* With the lock: it is told until bytes come again. */
static bool has_failed(const bits_job *j) {
  return j->failure.code != 0 && !state_is_final(j->state) &&
         j->state != BITS_TRANSFERRED;
}

static bool put_failed_file(value *map, const bits_job *j) {
  const bits_failure *f = &j->failure;
  if (f->context == BITS_CONTEXT_QUEUE || f->file >= j->file_count) return true;
  buffer url = BUFFER_EMPTY;
  bits_address_show(&url, j->files[f->file]->url);
  bool good = !url.failed && put_count(map, "file", f->file) &&
              path_put(map, j->files[f->file]->path) &&
              value_put(map, "url", value_text(url.data));
  buffer_free(&url);
  return good;
}

static value *failure_of(const bits_job *j) {
  const bits_failure *f = &j->failure;
  char room[11];
  value *map = value_map();
  return whole(
      map,
      map != NULL && put_count(map, "code", f->code) &&
          put_text(map, "name", code_name(SAROS_FACADE_BITS, f->code, room)) &&
          put_count(map, "context", f->context) &&
          put_text(map, "context_name", context_name(f->context)) &&
          put_count(map, "win32", f->win32) &&
          put_count(map, "transport", f->transport) &&
          put_text(map, "message", f->why) && put_failed_file(map, j));
}

value *bits_job_error(bits_job *j, uint32_t *code) {
  *code = BG_E_ERROR_INFORMATION_UNAVAILABLE;
  if (!bits_job_lock(j)) {
    *code = SAROS_E_FORKED;
    return NULL;
  }
  value *v = NULL;
  if (has_failed(j)) {
    v = failure_of(j);
    *code = v != NULL ? SAROS_S_OK : SAROS_E_OUTOFMEMORY;
  }
  bits_job_unlock(j);
  return v;
}

/* ------------------------------------------------------------------
** The job
** ---------------------------------------------------------------- */

typedef struct sums {
  uint64_t have, total;
  uint32_t unknown;
} sums;

static sums sum_up(const bits_job *j) {
  sums s = {0, 0, 0};
  for (uint32_t i = 0; i < j->file_count; i++) {
    const bits_file *f = j->files[i];
    s.have += atomic_load_explicit(&f->have, memory_order_relaxed);
    if (f->size == BITS_UNKNOWN)
      s.unknown++;
    else
      s.total += f->size;
  }
  return s;
}

static bool put_sums(value *map, const bits_job *j) {
  sums s = sum_up(j);
  return put_count(map, "bytes", s.have) &&
         (s.unknown > 0 || put_count(map, "total", s.total)) &&
         put_count(map, "files", j->file_count) &&
         put_count(map, "files_done", j->files_done) &&
         put_count(map, "files_unknown", s.unknown);
}

static bool put_times(value *map, const bits_job *j) {
  uint64_t now = bits_now(j->m);
  uint64_t wait = j->retry_at > now ? j->retry_at - now : 0;
  return value_put(map, "created", value_int(j->created)) &&
         value_put(map, "modified", value_int(j->modified)) &&
         (j->transferred == 0 ||
          value_put(map, "transferred", value_int(j->transferred))) &&
         (j->state != BITS_TRANSIENT_ERROR ||
          value_put(map, "retry_in", seconds(wait)));
}

static bool put_counters(value *map, const bits_job *j) {
  return put_count(map, "running", j->running) &&
         put_count(map, "tries", j->tries) &&
         put_count(map, "retries", j->retries) &&
         put_count(map, "error_count", j->error_count);
}

/* What is usual is shown, too, where somebody may want to know. */
static bool put_usual(value *map, const bits_job *j) {
  static const char *const priorities[] = {"foreground", "high", "normal",
                                           "low"};
  return put_text(map, "priority", priorities[j->priority]) &&
         value_put(map, "retry_delay", seconds(j->retry_delay_ms)) &&
         value_put(map, "no_progress_timeout", seconds(j->no_progress_ms)) &&
         value_put(map, "max_time", seconds(j->max_time_ms)) &&
         put_count(map, "limit_download", j->down) &&
         put_count(map, "limit_upload", j->up);
}

static bool put_set(value *map, const bits_job *j) {
  for (uint32_t i = 0; i < j->properties->count; i++) {
    const value_field *f = &j->properties->as.fields[i];
    if (!value_put_bytes(map, f->name, f->size, value_copy(f->item)))
      return false;
  }
  return true;
}

static value *status(const bits_job *j) {
  value *map = value_map();
  return whole(
      map, map != NULL && put_text(map, "id", j->guid) && put_set(map, j) &&
               put_text(map, "type",
                        j->type == BITS_DOWNLOAD ? "download" : "upload") &&
               put_text(map, "state", bits_state_name(j->state)) &&
               put_text(map, "group", j->group) && put_usual(map, j) &&
               put_sums(map, j) && put_times(map, j) && put_counters(map, j) &&
               (!has_failed(j) || value_put(map, "error", failure_of(j))));
}

value *bits_job_status(bits_job *j) {
  if (!bits_job_lock(j)) {
    value *map = value_map();
    return whole(map, map != NULL && put_text(map, "id", j->guid) &&
                          value_put(map, "inherited", value_bool(true)));
  }
  value *v = status(j);
  bits_job_unlock(j);
  return v;
}

bits_state bits_job_state(bits_job *j) {
  if (!bits_job_lock(j)) return j->state; /* as it was when it was inherited */
  bits_state state = j->state;
  bits_job_unlock(j);
  return state;
}

saros_op *bits_job_run(bits_job *j) {
  if (!bits_job_lock(j)) return j->run != NULL ? saros_op_ref(j->run) : NULL;
  saros_op *run = j->run != NULL ? saros_op_ref(j->run) : NULL;
  bits_job_unlock(j);
  return run;
}

/* ------------------------------------------------------------------
** Its files
** ---------------------------------------------------------------- */

static const char *file_state(const bits_file *f) {
  static const char *const names[] = {"waiting", "transferring", "fetched",
                                      "done"};
  return names[f->state];
}

static bool put_ranges(value *map, const bits_extra *x) {
  if (x == NULL || x->range_count == 0) return true;
  value *list = value_list();
  bool good = list != NULL;
  for (uint32_t i = 0; good && i < x->range_count; i++) {
    value *r = value_map();
    good = r != NULL && put_count(r, "offset", x->ranges[i].offset) &&
           (x->ranges[i].length == BITS_UNKNOWN ||
            put_count(r, "length", x->ranges[i].length));
    good = value_add(list, whole(r, good)) && good;
  }
  return value_put(map, "ranges", whole(list, good)) && good;
}

/* Where its bytes are now. */
static bool put_part(value *map, const bits_file *f) {
  if (f->job->type != BITS_DOWNLOAD || (f->marks & BITS_FILE_APPEARED) != 0 ||
      (f->state == BITS_FILE_WAITS && f->known == NULL))
    return true;
  char *part = bits_part_name(f);
  value *v = part != NULL ? value_text(part) : NULL;
  mem_free(part);
  return value_put(map, "temporary", v);
}

static bool put_marks(value *map, const bits_file *f) {
  const bits_extra *x = f->extra;
  return value_put(map, "verified",
                   value_bool((f->marks & BITS_FILE_VERIFIED) != 0)) &&
         value_put(map, "unproven",
                   value_bool((f->marks & BITS_FILE_UNPROVEN) != 0)) &&
         value_put(map, "appeared",
                   value_bool((f->marks & BITS_FILE_APPEARED) != 0)) &&
         put_text(map, "sha256", x != NULL ? x->sha256 : NULL) &&
         put_text(map, "content_encoding",
                  f->known != NULL ? f->known->encoding : NULL) &&
         put_ranges(map, x);
}

static value *file_value(const bits_file *f) {
  buffer url = BUFFER_EMPTY;
  bits_address_show(&url, f->url);
  value *map = value_map();
  bool good = map != NULL && !url.failed &&
              put_count(map, "number", f->number) &&
              value_put(map, "url", value_text(url.data)) &&
              path_put(map, f->path) && put_text(map, "state", file_state(f)) &&
              put_count(map, "bytes",
                        atomic_load_explicit(&f->have, memory_order_relaxed)) &&
              (f->size == BITS_UNKNOWN || put_count(map, "total", f->size)) &&
              put_marks(map, f) && put_part(map, f);
  buffer_free(&url);
  return whole(map, good);
}

/* So many with the lock at once; 0: there are no more. */
#define FILES_AT_ONCE 256

static size_t add_files(bits_job *j, size_t from, size_t most, value *list,
                        bool *good) {
  size_t n = 0;
  if (!bits_job_lock(j)) return 0;
  while (*good && n < most && n < FILES_AT_ONCE && from + n < j->file_count)
    *good = value_add(list, file_value(j->files[from + n++]));
  bits_job_unlock(j);
  return n;
}

value *bits_job_files(bits_job *j, size_t from, size_t most) {
  value *list = value_list();
  if (list == NULL) return NULL;
  bool good = true;
  for (size_t n; good && most > 0; from += n, most -= n) {
    n = add_files(j, from, most, list, &good);
    if (n == 0) break;
  }
  return whole(list, good);
}

/* ------------------------------------------------------------------
** GetStatus
** ---------------------------------------------------------------- */

typedef struct qm_status {
  uint32_t flags, win32, transport, retries;
} qm_status;

/* With the lock: what went wrong, as both numbers have it. */
static void put_error(qm_status *s, const bits_job *j) {
  uint32_t code = j->failure.code;
  s->flags |= QM_STATUS_JOB_ERROR;
  s->win32 = j->failure.win32;
  s->transport = j->failure.transport;
  s->retries = j->retries;
  if (s->win32 != 0 || s->transport != 0) return;
  if ((code & 0xFFFF0000u) == WIN32_(0)) s->win32 = code & 0xFFFFu;
  if ((code & 0xFFFF0000u) == BG_E_HTTP(0)) s->transport = code & 0xFFFFu;
}

/* With the lock; false: it has left the queue. */
static bool read_status(const bits_job *j, qm_status *s) {
  *s = (qm_status){.flags = QM_STATUS_JOB_INCOMPLETE};
  switch (j->state) {
    case BITS_CANCELLED: return false;
    case BITS_TRANSFERRED:
    case BITS_ACKNOWLEDGED: s->flags = QM_STATUS_JOB_COMPLETE; break;
    case BITS_ERROR:
      s->flags = 0;
      put_error(s, j);
      break;
    case BITS_TRANSIENT_ERROR: put_error(s, j); break;
    default: break;
  }
  return true;
}

uint32_t bits_job_get_status(bits_job *j, uint32_t *flags, uint32_t *win32,
                             uint32_t *transport, uint32_t *retries) {
  if (!facade_can_write(flags) || !facade_can_write(win32) ||
      !facade_can_write(transport) || !facade_can_write(retries))
    return SAROS_E_INVALIDARG;
  if (!bits_job_lock(j)) return SAROS_E_FORKED;
  qm_status s;
  bool there = read_status(j, &s);
  bits_job_unlock(j);
  if (!there) return QM_E_ITEM_NOT_FOUND;
  *flags = s.flags;
  *win32 = s.win32;
  *transport = s.transport;
  *retries = s.retries;
  return SAROS_S_OK;
}
