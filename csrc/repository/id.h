/*
** SHA-256, by which everything in a repository is named.
*/
#ifndef SAROS_REPOSITORY_ID_H
#define SAROS_REPOSITORY_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPO_ID 32      /* bytes */
#define REPO_ID_TEXT 65 /* hex and a NUL */

typedef struct repo_id {
  uint8_t bytes[REPO_ID];
} repo_id;

void repo_id_of(repo_id *id, const void *data, size_t size);
/* Exactly 64 lower-case hex digits. */
bool repo_id_parse(repo_id *id, const char *text, size_t size);
void repo_id_format(const repo_id *id, char text[REPO_ID_TEXT]);
int repo_id_compare(const repo_id *a, const repo_id *b);
bool repo_id_equal(const repo_id *a, const repo_id *b);

/* The same over what comes in pieces. */
typedef struct repo_hash repo_hash;
repo_hash *repo_hash_new(void); /* NULL: no memory */
void repo_hash_add(repo_hash *h, const void *data, size_t size);
/* The id of what was added; then it is as new. */
void repo_hash_end(repo_hash *h, repo_id *id);
void repo_hash_free(repo_hash *h);

#endif
