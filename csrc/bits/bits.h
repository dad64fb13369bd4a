/*
** bits: background transfers that survive anything. What stands on what:
**
**   queue*      rows in SQLite; who owns them
**   address, judge, part, fetch, send, s3, finish    one file, one try
**   terms, file, known    what a try reads, and what it has learned
**   job*, states, properties, manager    what scripts hold (groups: in Lua)
**   call*, work    the same by name, as operations
**   mover, share, retry, hours    which file goes next, how fast, when again
**   keeper      the thread that commits, syncs, verifies and watches the time
**
** Two threads a manager: the I/O thread (a lane of csrc/http), on which tries
** live and the mover decides, and the keeper, which commits; it has a hand, a
** thread for what may take long beside that (digests, syncs, names). Scripts
** call from anywhere.
**
** Locks: the manager's, and below it the engine's. It is never held while a
** disk or a server is waited for. A try holds it only to say what it has
** learned (know.c); nothing that is held by it is waited for by a try.
**
** In a forked child a manager is inert: nothing is written, sent or deleted.
*/
#ifndef SAROS_BITS_BITS_H
#define SAROS_BITS_BITS_H

#include "base/base.h"
#include "bits/codes.h"
#include "bits/file.h"
#include "saros.h"

typedef struct bits_manager bits_manager;

typedef enum bits_state {
  BITS_QUEUED,
  BITS_CONNECTING,
  BITS_TRANSFERRING,
  BITS_SUSPENDED,
  BITS_ERROR,
  BITS_TRANSIENT_ERROR,
  BITS_TRANSFERRED,
  BITS_ACKNOWLEDGED, /* this and what follows is final */
  BITS_CANCELLED
} bits_state;

typedef enum bits_priority {
  BITS_FOREGROUND,
  BITS_HIGH,
  BITS_NORMAL,
  BITS_LOW
} bits_priority;

typedef enum bits_type {
  BITS_DOWNLOAD,
  BITS_UPLOAD,
  BITS_UPLOAD_REPLY /* E_NOTIMPL */
} bits_type;

/* ------------------------------------------------------------------
** The manager. Calls that say "waits" may take as long as a disk does: they
** are for a worker (see call.h).
** ---------------------------------------------------------------- */

/* Waits. Options: a map, not kept: path, observe, limit_download,
   limit_upload, limits, connections, connections_per_host, active. *told: see
   queue.h. */
bits_manager *bits_manager_open(const value *options, error **told, error **e);
/* Waits until tries have let go and all is committed; jobs stay as they are. */
void bits_manager_close(bits_manager *m);
bits_manager *bits_manager_ref(bits_manager *m);
void bits_manager_unref(bits_manager *m);
bool bits_manager_is_inherited(const bits_manager *m);
bool bits_manager_is_closed(const bits_manager *m);
const char *bits_manager_path(const bits_manager *m);
bool bits_manager_is_owner(bits_manager *m);
/* Waits. New limits and the like; kept on the disk. */
error *bits_manager_set(bits_manager *m, const value *options);
/* { path, owner, jobs, limits, … } */
value *bits_manager_status(bits_manager *m);
/* All jobs, in the order they were made, each with a reference; count set. */
bits_job **bits_manager_jobs(bits_manager *m, size_t *count);
bits_job *bits_manager_job(bits_manager *m, const char *guid); /* or NULL */
/* An operation that ends with the next event behind `after` (0: the next at
   all): { number, what = "transferred" | "error" | "file" | "modified" |
   "state", job = guid, file }. */
saros_op *bits_manager_event(bits_manager *m, uint64_t after, uint32_t *why);
/* The number of the last event that said that the job is transferred or in
   error, and which; 0: there was none. For whom events were too many. */
uint64_t bits_job_told(bits_job *j, const char **what);

/* ------------------------------------------------------------------
** Jobs. `error *` NULL: it is done. Codes are the facade's.
** ---------------------------------------------------------------- */

/* Properties by name, as create and set take them and status shows them
** (without what is secret); what is not given is as usual. Times are seconds,
** whole or not.
**   name, description, method, cacert       texts
**   type "download" | "upload"; priority "foreground" | "high" | "normal" |
**     "low"; durability "file" | "group" | "none"; on_change "restart" |
**     "error"
**   retry_delay, no_progress_timeout, max_time, connect_timeout, stall_timeout
**   overwrite, length_required, dynamic     booleans
**   limit_download, limit_upload, max_size, part_size, redirects,
**     connections_per_host, notify_flags    whole numbers
**   headers { { name =, value = | reference =, secret = }, … }; a reference is
**     "env:NAME" or "file:/path", read whenever the queue is opened
**   credentials { user =, password = | reference = } or { token = | reference =
**     }; proxy: a URL, or "" for none; proxy_credentials { user =, password = |
**     reference = }; s3 { access_key =, secret_key =, session_token =,
**     region =, reference = } (of "file:": KEY and SECRET on two lines)
**   notify_command { "program", "argument", … }
**   group: the GUID of a QMgr group, and id: the job's own, of create alone;
**     kept: any map, stored and shown as it is, for whoever stands on top of
**     this
** A secret that has no reference is in memory alone: after the process a job
** that needs it is in ERROR (BG_E_INVALID_CREDENTIALS) until it is set again.
** An s3 reference may also be "env:AWS": AWS_ACCESS_KEY_ID and so on. */
bits_job *bits_job_ref(bits_job *j);
void bits_job_unref(bits_job *j);
/* Waits until it is in the queue. */
bits_job *bits_job_create(bits_manager *m, const value *options, error **e);
/* Only in memory, for a moment: it is on the disk when a call that waits has
   returned. { url, path, sha256, ranges } */
error *bits_job_add_file(bits_job *j, const value *options);
/* Several: each is looked at by itself when it is put, and all of them are
   entered, or none. */
typedef struct bits_files bits_files;
bits_files *bits_files_new(bits_job *j); /* NULL: no memory */
error *bits_files_put(bits_files *all, const value *options);
/* One of which no more is said; as most are. */
error *bits_files_put_plain(bits_files *all, const char *url, const char *path);
error *bits_files_enter(bits_files *all); /* NULL: it has none any more */
void bits_files_free(bits_files *all);    /* NULL is fine */
error *bits_job_resume(bits_job *j);      /* waits, as all below */
error *bits_job_suspend(bits_job *j);
error *bits_job_complete(bits_job *j, uint32_t *code); /* S_OK, BG_S_… */
error *bits_job_cancel(bits_job *j, uint32_t *code);
error *bits_job_set(bits_job *j, const value *properties);
/* { number = (from 0), url = } or { from =, to = }: a prefix of all. While it
   is suspended, or in error. */
error *bits_job_set_url(bits_job *j, const value *options);
const char *bits_job_id(const bits_job *j);
bits_state bits_job_state(bits_job *j);
/* { state, bytes, total, files, … } and { { url, path, state, … }, … } */
value *bits_job_status(bits_job *j);
value *bits_job_files(bits_job *j, size_t from, size_t most);
/* Its error: { code, context, file, message, … }; NULL and *code
   BG_E_ERROR_INFORMATION_UNAVAILABLE. */
value *bits_job_error(bits_job *j, uint32_t *code);
/* The present run, with a reference; NULL: there has been none. */
saros_op *bits_job_run(bits_job *j);
/* IBackgroundCopyJob1::GetStatus. */
uint32_t bits_job_get_status(bits_job *j, uint32_t *flags, uint32_t *win32,
                             uint32_t *transport, uint32_t *retries);

#endif
