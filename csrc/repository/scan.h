/*
** A finger in JSON text, for what is too large or too plain to become values.
** Strict as base's reader (RFC 8259, UTF-8 checked), never recursing. Once
** something is wrong every call does nothing more: ask once, at the end.
*/
#ifndef SAROS_REPOSITORY_SCAN_H
#define SAROS_REPOSITORY_SCAN_H

#include "repository/repository.h"

typedef struct repo_scan {
  const char *begin, *at, *end;
  const char *wrong; /* what should have been there; NULL: all is well */
  bool no_memory;
} repo_scan;

#define REPO_SCAN_DEPTH 64 /* of what is passed over */

repo_scan repo_scan_of(const char *json, size_t size);
void repo_scan_is_wrong(repo_scan *s, const char *expected);
bool repo_scan_is_well(const repo_scan *s);
/* SAROS_E_DAMAGED with `what` ("the tree"), or that memory ran out. */
error *repo_scan_error(const repo_scan *s, const char *what);

/* Each passes over white space first. */
bool repo_scan_take(repo_scan *s, char c);   /* if it is there */
void repo_scan_expect(repo_scan *s, char c); /* it must be */
bool repo_scan_null(repo_scan *s);           /* if it is there */
/* A string, appended. */
void repo_scan_string(repo_scan *s, buffer *b);
/* One that is looked at once: where it stands, or, if it has escapes, in the
   buffer instead of what was there. No NUL is behind it. */
const char *repo_scan_text(repo_scan *s, buffer *b, size_t *size);
/* A whole number, without sign, fraction or exponent. */
uint64_t repo_scan_number(repo_scan *s, uint64_t most);
/* Any value; where it begins. */
const char *repo_scan_skip(repo_scan *s);
/* Nothing may follow. */
void repo_scan_finish(repo_scan *s);

#endif
