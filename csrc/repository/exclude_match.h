/*
** exclude_match: one pattern. Private to exclude*.c.
*/
#ifndef SAROS_REPOSITORY_EXCLUDE_MATCH_H
#define SAROS_REPOSITORY_EXCLUDE_MATCH_H

#include "repository/repository.h"

/* A component of a path or of a pattern. */
typedef struct repo_part {
  const char *text;
  size_t size;
} repo_part;

/* A path taken apart; the first part of an absolute one is "/". */
typedef struct repo_parts {
  repo_part few[64];
  repo_part *at; /* `few`, or allocated */
  size_t count;
} repo_parts;

/* NULL, or that memory ran out. The text must stay. */
error *repo_parts_of(repo_parts *p, const char *path, size_t size);
void repo_parts_free(repo_parts *p);

typedef struct repo_pattern repo_pattern;
/* NULL and *e: it is malformed, or memory ran out. Never of an empty text. */
repo_pattern *repo_pattern_new(const char *text, error **e);
void repo_pattern_free(repo_pattern *p);
bool repo_pattern_is_negated(const repo_pattern *p);
error *repo_pattern_match(const repo_pattern *p, const repo_parts *path,
                          bool *matched);

/* filepath.Match of a pattern that is well-formed. */
bool repo_glob_match(const char *glob, size_t glob_size, const char *name,
                     size_t size);
bool repo_glob_is_good(const char *glob, size_t size);

/* Appends the text in lower case, character by character; bytes that are no
   UTF-8 become U+FFFD, as strings.ToLower has it. */
void repo_fold(buffer *b, const char *text, size_t size);

#endif
