/*
** What the files of a download share: fetch.c is the try from its beginning to
** its end, fetch_ask.c what is asked for (fetch_s3.c: signed), fetch_store.c
** where what comes goes.
*/
#ifndef SAROS_BITS_FETCH_PARTS_H
#define SAROS_BITS_FETCH_PARTS_H

#include "bits/judge.h"
#include "bits/part.h"
#include "bits/parts.h"

/* What is done when libcurl has let go of the request. */
typedef enum fetch_then {
  FETCH_JUDGE, /* as it ended */
  FETCH_S3,    /* what S3 says of a refusal */
  FETCH_END,   /* the result is there */
  FETCH_FORGET /* likewise, once nothing is known any more, for good */
} fetch_then;

typedef struct fetch {
  bits_try base; /* first */
  bits_file *f;
  bits_terms *terms;
  http_lane *lane;
  const bits_try_calls *calls;
  void *context;
  uint64_t down, up;
  bool lone;
  unsigned per_host;
  bool begun, stopped, waits;
  fetch_then then;
  http_request *request;
  judge_asked asked;
  bits_part part;
  bits_small *small;   /* instead of the part, or NULL */
  bits_device *device; /* that it is on */
  struct fetch_s3 *s3; /* of a request that is signed, or NULL */
  uint64_t have;       /* bytes of the part that count */
  uint64_t at;  /* where the next that comes belongs: before `have` it is held
                   against what is there */
  uint64_t had; /* when this request began */
  bool stored;  /* this try has added bytes */
  /* What is on the disk for good. */
  bool syncing;
  uint64_t synced, sync_to, synced_at;
  int sync_number;
  bits_result result;
} fetch;

/* ------------------------------------------------------------------
** fetch_ask.c
** ---------------------------------------------------------------- */

/* Sends a request for what is missing. False: the result says why not. */
bool fetch_ask(fetch *t);
/* It is made of ranges of the remote file. */
bool fetch_has_ranges(const fetch *t);

/* ------------------------------------------------------------------
** fetch_s3.c
** ---------------------------------------------------------------- */

/* What is sent, until it is written again. False: no memory. */
bool fetch_s3_write(fetch *t, const char *method, const char **url,
                    const http_field **fields, size_t *count);
/* Of an answer that is a refusal. */
void fetch_s3_body(fetch *t, const void *data, size_t size);
/* It has come. True: it is worth asking again at once; else the result says
   why not. */
bool fetch_s3_refused(fetch *t, const http_answer *a);
void fetch_s3_end(fetch *t);

/* ------------------------------------------------------------------
** fetch_store.c
** ---------------------------------------------------------------- */

/* The part is there, for what this answer begins or goes on with. False: the
   result says why not. */
bool fetch_store_begin(fetch *t, const http_answer *a);
bool fetch_store_go_on(fetch *t, const http_answer *a);
/* All is here, and only now its length is known. */
bool fetch_store_end(fetch *t);
/* The end of what lies in memory: with the file, of one that is whole; else in
   the part. 0 or errno. */
int fetch_store_small(fetch *t);
/* Bytes, in their order. EBADMSG, with no result: what is there differs. */
int fetch_store(fetch *t, const void *data, size_t size);
/* The result: a local failure. */
void fetch_local(fetch *t, int number, const char *what);

#ifdef SAROS_TEST
extern uint64_t fetch_sync_bytes;
#endif

/* fetch.c */
extern const http_calls fetch_http_calls;
/* The result: what is wrong with what the server says, and at which URL. */
void fetch_fails(fetch *t, bits_end end, uint32_t code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What was begun to make bytes durable is over. */
void fetch_synced(fetch *t);

#endif
