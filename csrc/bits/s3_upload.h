/*
** An upload in parts, from the inside: what is remembered of it (s3_resume.c),
** its parts (s3_parts.c), what is left over and taken back (s3_orphan.c), and
** the order of it all (s3.c).
*/
#ifndef SAROS_BITS_S3_UPLOAD_H
#define SAROS_BITS_S3_UPLOAD_H

#include "bits/upload.h"

#define S3_FLIGHT 4      /* parts at a time */
#define S3_INTENTS 8     /* uploads that may have begun, and nobody knows */
#define S3_OTHERS 64     /* of somebody else's, for the same key */
#define S3_PARTS 10000   /* of one upload */
#define S3_ID_MOST 2000u /* bytes of an upload's id */
#define S3_ANSWER ((size_t)4 << 20)

/* ------------------------------------------------------------------
** Answers (s3_xml.c)
** ---------------------------------------------------------------- */

#define S3_XML_FIELDS 4

/* A list of records below a root: what is read of each, and of the root. */
typedef struct s3_xml_list {
  const char *root, *record;
  const char *of_record[S3_XML_FIELDS], *of_root[S3_XML_FIELDS];
  /* The texts, NULL where there is none; false: no more. */
  bool (*each)(void *context, char *const *texts);
  void *context;
  char *found[S3_XML_FIELDS]; /* of the root: allocated */
} s3_xml_list;

/* False: it is no such document, or not whole. */
bool s3_xml_read(s3_xml_list *l, const buffer *answer);
void s3_xml_free(s3_xml_list *l);
/* One text of the root, allocated; NULL: it is another document, or has none.
   `called`, unless NULL, gets the root's name. */
char *s3_xml_text(const buffer *answer, const char *root, const char *name,
                  char called[64]);

/* ------------------------------------------------------------------
** What is remembered (s3_resume.c)
** ---------------------------------------------------------------- */

typedef struct s3_texts {
  char **items;
  unsigned count;
} s3_texts;

bool s3_texts_add(s3_texts *t, const char *text);
bool s3_texts_have(const s3_texts *t, const char *text);
void s3_texts_drop(s3_texts *t, unsigned i);

typedef struct s3_memory {
  char *id;     /* NULL: none has begun */
  char *sha256; /* of all of it, or NULL */
  uint64_t part, size, device, inode;
  int64_t changed;
  unsigned count; /* parts */
  /* ETags of those that are there; one that is no MD5 begins with '!'. */
  char **tags;
  s3_texts stale;              /* ids to be taken back */
  s3_texts others;             /* ids that were there before any of ours */
  int64_t intents[S3_INTENTS]; /* when uploads may have begun: server's time */
  unsigned intent_count;
} s3_memory;

/* Of a row, or what was written by us. False: it is none. */
bool s3_memory_read(s3_memory *m, const char *json);
/* JSON, also what an orphan's row is. NULL: no memory. */
char *s3_memory_write(const s3_memory *m, const bits_file *f,
                      const bits_terms *t);
/* Nothing of it has to be remembered. */
bool s3_memory_is_empty(const s3_memory *m);
void s3_memory_free(s3_memory *m);
/* The upload and its parts, not what is left of others. */
void s3_memory_forget(s3_memory *m);
bool s3_memory_split(s3_memory *m, const upload_local *l, uint64_t part);
uint64_t s3_memory_part(const s3_memory *m, unsigned i); /* its size */

/* ------------------------------------------------------------------
** The try
** ---------------------------------------------------------------- */

typedef struct s3_upload s3_upload;
typedef void (*s3_then)(s3_upload *s);

typedef struct s3_sender {
  s3_upload *s;
  upload_call call;
  upload_digest digest;
  buffer query;
  unsigned part, tries;
  bool busy;
} s3_sender;

/* Where the parts of a listing are until they are believed. */
typedef struct s3_listed {
  char *tag; /* NULL: it is not there, or not so long */
} s3_listed;

struct s3_upload {
  upload u; /* first */
  s3_memory m;
  s3_listed *listed;
  unsigned listed_count;
  unsigned next; /* part to be looked at */
  s3_sender senders[S3_FLIGHT];
  upload_call call; /* one at a time, but for parts */
  upload_digest digest;
  buffer query, document;
  s3_then then;     /* behind what is being done */
  unsigned unsaved; /* parts that are not yet remembered */
  bool moved;
  bool drops;         /* the upload is of no use any more */
  bool was_lost;      /* the server does not know it: is it completed? */
  bool is_completed;  /* it says so */
  char completed[80]; /* with this ETag */
  unsigned looks;
  unsigned page; /* of a listing */
  int64_t server_time;
  bool noting;  /* what is lost could be told from what is somebody else's */
  bool plainly; /* the server knows no Expect: 100-continue */
  /* s3_orphan.c: uploads that are there. */
  char *bucket, *key; /* its URL, and what is in it */
  bool tried_host;    /* the bucket may be the host's */
  s3_texts found;
  int64_t found_at[S3_OTHERS];
  unsigned at; /* of them, or of what is stale */
  bool too_young, too_many, unlisted;
  s3_then found_then;
  bits_file own; /* of an orphan, which has none */
  void (*done)(void *context, error *e);
  void *done_context;
};

static inline s3_upload *s3_of(upload *u) {
  return (s3_upload *)u;
}

/* s3.c: tells the row. */
void s3_remember(s3_upload *s);
/* The upload in `call`, its id behind `before`; false: the try is over. */
bool s3_ask(s3_upload *s, const char *method, const char *before,
            void (*done)(upload_call *c, const http_answer *a));
/* Ends the try as the answer says. */
void s3_refused(s3_upload *s, const upload_call *c, const http_answer *a,
                bool drain);
/* What the server has is no use, or was no truth: three times, then fatal. */
void s3_lied(s3_upload *s, const char *what);
/* The local file is another one: what has arrived is taken back. */
void s3_changed(s3_upload *s);
/* What comes of a call that went wrong: the file's error. */
void s3_digest_failed(s3_upload *s, int number);

/* s3_parts.c: sends what is not there, then calls s->then. */
void s3_parts_send(s3_upload *s);
/* s3_resume.c: asks what is there (listed), then calls s->then; s->was_lost:
   there is no such upload. */
void s3_parts_list(s3_upload *s);
/* s3_end.c: puts the parts together; looks at what is there. */
void s3_complete(s3_upload *s);
void s3_look(s3_upload *s);
/* s3_orphan.c: what is left to be done when the file is there. */
void s3_leave_rest(s3_upload *s);
void s3_orphan_free(s3_upload *s);
/* s3_orphan.c: takes back all that is stale, then calls s->then. */
void s3_stale_abort(s3_upload *s);
/* Notes whose uploads are there; then calls s->then. */
void s3_others_note(s3_upload *s);
/* Looks for uploads that began and of which nobody was told, takes them back;
   then calls s->then. */
void s3_sweep(s3_upload *s);
bool s3_may_be_missing(
    const http_answer *a); /* a Create may have gone through */

#ifdef SAROS_TEST
extern _Atomic int s3_orphan_age; /* seconds; -1: as usual */
#endif

#endif
