/*
** A directory as a blob: JSON to the byte as Go writes it, since its hash is
** its name. Nodes are in the order of their names' bytes.
*/
#ifndef SAROS_REPOSITORY_TREE_H
#define SAROS_REPOSITORY_TREE_H

#include <time.h>

#include "repository/id.h"
#include "repository/repository.h"

typedef enum repo_node_type {
  REPO_NODE_FILE,
  REPO_NODE_DIRECTORY,
  REPO_NODE_SYMLINK,
  REPO_NODE_DEVICE,
  REPO_NODE_CHARACTER,
  REPO_NODE_FIFO,
  REPO_NODE_SOCKET,
  REPO_NODE_OTHER /* "irregular", and what nobody knows yet */
} repo_node_type;

typedef struct repo_attribute {
  const char *name;
  const void *data;
  size_t size;
} repo_attribute;

/* Pointers are the maker's; of one that was read they last until the next. */
typedef struct repo_node {
  const char *name; /* bytes: one component, no '/', no NUL, not ".." */
  size_t name_size;
  repo_node_type type;
  uint32_t mode; /* st_mode's permission bits and set-id and sticky bits */
  struct timespec mtime, atime, ctime;
  int32_t mtime_zone, atime_zone, ctime_zone; /* seconds east, as written */
  uint32_t uid, gid;
  const char *user, *group; /* NULL: not known */
  uint64_t inode, device_id, size, links, device;
  const char *target; /* of a symlink: bytes */
  size_t target_size;
  const repo_attribute *attributes;
  size_t attribute_count;
  const repo_id *content; /* of a file */
  size_t content_count;
  bool has_content; /* not null */
  bool has_subtree;
  repo_id subtree;
  const char *error_text;   /* NULL: none */
  const char *generic_json; /* generic_attributes as it was; NULL: none */
  size_t generic_size;
} repo_node;

/* "file", "dir", …, and back (OTHER for any other). */
const char *repo_node_type_name(repo_node_type type);
repo_node_type repo_node_type_of(const char *name);
/* Its st_mode, with the type; 0 for the type of an OTHER. */
uint32_t repo_node_st_mode(const repo_node *n);
/* Whether it may be a node's name, and the order of names. */
bool repo_node_name_is_good(const char *name, size_t size);
int repo_node_name_compare(const char *a, size_t a_size, const char *b,
                           size_t b_size);

/* Writing. The caller adds in order; an unordered or repeated name, a file
   without content and a directory without a subtree are SAROS_E_UNEXPECTED,
   and leave out that node alone. */
typedef struct repo_tree_text repo_tree_text;
repo_tree_text *repo_tree_text_new(void);
void repo_tree_text_free(repo_tree_text *t);
error *repo_tree_text_add(repo_tree_text *t, const repo_node *node);
/* The whole of it with its newline; then it is as new (the bytes stay until
   the next call). */
error *repo_tree_text_end(repo_tree_text *t, const char **json, size_t *size);

/* One node alone, appended as it stands in a tree; nothing is checked. Its
   subtree's 64 digits come last, before a quote and a brace, unless it has an
   error. */
void repo_node_write(buffer *b, const repo_node *node);

/* Reading: strict, bounded, from a blob that may be hostile: SAROS_E_DAMAGED,
   and nothing after it. Names are checked as said above, and their order. A
   file without content and a directory without a subtree are the caller's to
   judge. The bytes stay the caller's, until the reader is freed. */
typedef struct repo_tree_reader repo_tree_reader;
repo_tree_reader *repo_tree_reader_new(const char *json, size_t size);
void repo_tree_reader_free(repo_tree_reader *r);
/* False: there is no other; or *e is set. */
bool repo_tree_reader_next(repo_tree_reader *r, repo_node *node, error **e);
/* The text of the node that was read last, as it stands in the tree. */
void repo_tree_reader_raw(const repo_tree_reader *r, const char **json,
                          size_t *size);
/* Where that one begins; and the next is one that began there, of the same
   bytes, read well by any reader. */
size_t repo_tree_reader_at(const repo_tree_reader *r);
void repo_tree_reader_go(repo_tree_reader *r, size_t at);

#endif
