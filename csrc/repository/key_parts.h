/*
** The text of key files, for the files key*.c and for their tests.
*/
#ifndef SAROS_REPOSITORY_KEY_PARTS_H
#define SAROS_REPOSITORY_KEY_PARTS_H

#include "repository/key.h"

/* The master key as JSON is this long, whatever it is. */
#define REPO_KEY_TEXT 128

typedef struct repo_key_file {
  char *created, *username, *hostname; /* allocated; never NULL */
  repo_cost cost;
  uint8_t salt[64];
  buffer sealed; /* the master key's JSON */
} repo_key_file;

/* Strict and bounded: the text may be hostile. */
error *repo_key_file_read(repo_key_file *file, const char *json, size_t size);
error *repo_key_file_write(const repo_key_file *file, buffer *json);
void repo_key_file_clear(repo_key_file *file);

/* What was in the seal; `text` and `key` are in secret memory. */
bool repo_key_text_read(repo_key *key, const char *text, size_t size);
void repo_key_text_write(const repo_key *key, char text[REPO_KEY_TEXT + 1]);

/* With a password. SAROS_E_WRONG_PASSWORD when it is not this one's. */
error *repo_key_file_seal(repo_key_file *file, const repo_key *master,
                          const repo_password *password);
error *repo_key_file_open(const repo_key_file *file, repo_key *master,
                          const repo_password *password);

#endif
