/*
** restic's REST protocol as a store: what its files share. rest_open.c reads
** the location, rest_call.c makes one call and says what its answer means,
** rest_file.c is what a store can do, rest_list.c reads lists.
*/
#ifndef SAROS_REPOSITORY_STORE_REST_PARTS_H
#define SAROS_REPOSITORY_STORE_REST_PARTS_H

#include "repository/crypto.h"
#include "repository/store/remote.h"

/* In secret memory. */
typedef struct rest_secret {
  char user[256], password[1024];
  char authorization[1800]; /* "Basic …"; "": nobody in particular */
} rest_secret;

typedef struct rest {
  repo_store store; /* first */
  remote net;
  char *location; /* for a person: without user and password */
  char *base;     /* "https://host:port/path", escaped, no slash at its end */
  rest_secret *secret;
} rest;

/* What to do about an answer that is no success. */
typedef enum rest_fate {
  REST_FAIL,
  REST_AGAIN,
  REST_FEW,
  REST_ABSENT, /* there is no such file */
  REST_DENIED, /* 403: also what is there already, and must not go */
  REST_SHORT   /* it is not that long */
} rest_fate;

typedef struct rest_trouble {
  rest_fate fate;
  uint32_t code;
  int number;
  unsigned status;
  const char *advice;
  char message[320]; /* for a person, escaped; or "" */
  uint64_t retry_after;
} rest_trouble;

typedef struct rest_call {
  const char *doing; /* "store pack 4f1a…" */
  const char *method;
  const char *path;         /* behind the base: "/data/4f1a…" */
  const repo_piece *pieces; /* the body; NULL: none */
  size_t piece_count;
  bool ranged;
  uint64_t from, last;
  buffer *into; /* as a remote_sink's */
  size_t most;
  char *window;
  size_t window_size;
  const repo_stop *stop;
  /* What came. */
  unsigned status;
  uint64_t length; /* announced, or HTTP_UNKNOWN */
  bool is_rclone;  /* which says "not found" of other things, too */
  remote_tries tries;
  rest_trouble trouble;
} rest_call;

/* NULL when it is a success. */
error *repo_restful_call(rest *s, rest_call *c);
/* The error of what is in c->trouble. */
error *repo_restful_error(const rest *s, const rest_call *c);
error *repo_restful_forked(const rest *s);

typedef struct rest_found {
  repo_id id;
  uint64_t size; /* HTTP_UNKNOWN: the list does not say */
} rest_found;

/* Reads a list, of either version; names that are no id are passed over.
   mem_free *all. */
error *repo_restful_read_list(const char *json, size_t size, rest_found **all,
                              size_t *count);

/* What a store can do. */
error *repo_restful_create(repo_store *store);
error *repo_restful_list(repo_store *store, repo_file kind,
                         repo_store_each each, void *context,
                         const repo_stop *stop);
error *repo_restful_read(repo_store *store, repo_file kind, const repo_id *id,
                         uint64_t offset, size_t size, void *into,
                         const repo_stop *stop);
error *repo_restful_load(repo_store *store, repo_file kind, const repo_id *id,
                         size_t most, buffer *b, const repo_stop *stop);
error *repo_restful_save(repo_store *store, repo_file kind, const repo_id *id,
                         const repo_piece *pieces, size_t count, bool replace,
                         const repo_stop *stop);
error *repo_restful_size(repo_store *store, repo_file kind, const repo_id *id,
                         uint64_t *size, const repo_stop *stop);
error *repo_restful_remove(repo_store *store, repo_file kind, const repo_id *id,
                           const repo_stop *stop);
error *repo_restful_may_remove(repo_store *store, const repo_stop *stop);

#endif
