/*
** One try to carry one file: begun by the mover, on the manager's I/O thread;
** everything here happens on it. Three kinds (fetch.c, send.c, s3.c) behind
** one struct. A try judges every answer itself (judge.h) and says in the end
** what became of it; whether, when and how often there is another one is the
** mover's to decide.
*/
#ifndef SAROS_BITS_TRANSFER_H
#define SAROS_BITS_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "bits/codes.h"
#include "bits/file.h"
#include "bits/terms.h"
#include "http/http.h"

typedef enum bits_end {
  BITS_END_WHOLE,   /* all bytes are in the part (or at the server) */
  BITS_END_AT_ONCE, /* nothing is wrong: another try, once what is known of the
                       file is committed for good. Costs no retry */
  BITS_END_AGAIN,   /* a passing failure: after a while */
  BITS_END_OFFLINE, /* no network at all: when there is one */
  BITS_END_FAILED,  /* it will not pass: the job is in error */
  BITS_END_STOPPED, /* it was told to stop */
  BITS_END_SINGLE   /* the upload in parts is too small: by one PUT (s3.c) */
} bits_end;

typedef struct bits_result {
  bits_end end;
  uint32_t code; /* HRESULT, of a failure */
  bits_context context;
  uint32_t win32;     /* 0: none */
  uint32_t transport; /* HTTP status, of a failure that has one; else 0 */
  bool has_wait;      /* the server said how long: at least */
  uint64_t wait_ms;
  bool gate_host; /* it is the host that needs a rest (429, 503, …) */
  bool borne;     /* AGAIN, but not for ever: see judge_is_borne */
  bool moved;     /* more is here, for good, than ever before */
  bool proven;    /* the end of the body was marked, or a length kept */
  bool verified;  /* by a digest */
  char why[400];  /* a sentence for a person; no secret is in it */
} bits_result;

typedef struct bits_try bits_try;

typedef struct bits_try_calls {
  /* Once, as the last thing; the try is freed behind it. */
  void (*ended)(void *context, const bits_result *r);
  /* The answer's header has come and is right: transferring, not connecting. */
  void (*begun)(void *context);
} bits_try_calls;

typedef struct bits_try_ask {
  bits_file *file;
  bits_terms *terms; /* a reference is taken */
  http_lane *lane;
  uint64_t down, up; /* bytes a second; 0: any */
  bool lone;         /* nothing else is transferred: large buffers */
  unsigned per_host; /* connections that the queue has to one; 0: as usual */
  const bits_try_calls *calls;
  void *context;
} bits_try_ask;

/* NULL: *e says why (memory; a local file that cannot be opened is no such
   error: that is a result). `ended` is never called from within. */
bits_try *bits_fetch_start(const bits_try_ask *ask, error **e);
bits_try *bits_send_start(const bits_try_ask *ask, error **e); /* one PUT */
bits_try *bits_s3_start(const bits_try_ask *ask, error **e);   /* in parts */
/* What the three kinds begin with. */
struct bits_try {
  void (*stop)(bits_try *t); /* `ended` follows soon. What has come stays */
  void (*limit)(bits_try *t, uint64_t down, uint64_t up);
};

/* ------------------------------------------------------------------
** What a try tells the manager (know.c). They take its lock; the row is
** written with the next commit. On the I/O thread.
** ---------------------------------------------------------------- */

/* Those bits of `marks` that a try may look at: it has no lock. */
uint8_t bits_file_marks(bits_file *f);
/* Else commit first: who died beside a part that no row knows would leave it
   for ever. */
bool bits_file_has_row(bits_file *f);
/* Replaces what is known (taken over; NULL: nothing). */
void bits_file_know(bits_file *f, bits_known *k);
void bits_file_mark(bits_file *f, uint8_t set, uint8_t clear);
void bits_file_size(bits_file *f, uint64_t size);
/* Replaces what an upload in parts remembers (taken over). */
void bits_file_upload(bits_file *f, char *json);
/* What is left at a server for others to take away (s3.c): kept by the queue
   until it is gone. False: no memory. */
bool bits_file_orphan(bits_file *f, const char *what, bits_terms *terms);
/* Calls back on the I/O thread once all that was told until now is committed,
   for good. An error: it could not be written. Never from within. */
typedef void (*bits_committed)(void *context, error *e);
void bits_file_commit(bits_file *f, bits_committed call, void *context);

/* ------------------------------------------------------------------
** What is done off the I/O thread when all bytes are here (finish.c), on the
** keeper's: verify, sync, name, sync the directory.
** ---------------------------------------------------------------- */

/* Both: BITS_END_WHOLE; AT_ONCE: another try (the part is gone or another,
   a digest differs: the file knows nothing any more; or the machine was booted
   since, and not all was on the disk); FAILED. They take the manager's lock.

   Holds the digests that are known against the bytes; `verified` when there
   were some. */
void bits_finish_verify(bits_file *f, const bits_terms *terms, bits_result *r);
/* Gives files their names: `count` of them together as `durability` says, what
   is not durable yet first made so. Each has a result of its own in r. One that
   has its name already is fine. Whose names are told, and how, is the
   caller's to say: a job's rows go when all have theirs. */
void bits_finish_name(bits_file *const *files, const bits_terms *terms,
                      size_t count, bits_result *r);
/* Takes the part away. false: it could not be (errno). */
bool bits_finish_drop(const bits_file *f);
/* Before a try of what a process left that died: it had its name already, and
   only its row does not know. Takes the manager's lock. */
bool bits_finish_appeared(bits_file *f);

#endif
