/*
** The reader of trees, fuzzed: it never hands out a name that leads elsewhere,
** names rise, and what it read is written as a tree that reads the same and is
** written as the same text.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/tree.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(error *e) {
  size_t length = strlen(e->message);
  REQUIRE(e->code == SAROS_E_DAMAGED);
  REQUIRE(text_is_utf8(e->message, length) && length < 300);
  error_unref(e);
}

static void check_text(const char *text) {
  if (text != NULL) REQUIRE(text_is_utf8(text, strlen(text)) && *text != '\0');
}

static void check_node(const repo_node *n) {
  REQUIRE(n->name_size > 0);
  REQUIRE(memchr(n->name, '/', n->name_size) == NULL);
  REQUIRE(memchr(n->name, '\0', n->name_size) == NULL);
  REQUIRE(strcmp(n->name, ".") != 0 && strcmp(n->name, "..") != 0);
  REQUIRE(n->type <= REPO_NODE_OTHER && (n->mode & ~07777u) == 0);
  REQUIRE((n->target == NULL) == (n->target_size == 0));
  if (n->target != NULL) REQUIRE(strlen(n->target) == n->target_size);
  REQUIRE(n->has_content || n->content_count == 0);
  check_text(n->user);
  check_text(n->group);
  check_text(n->error_text);
  for (size_t i = 0; i < n->attribute_count; i++)
    REQUIRE(*n->attributes[i].name != '\0');
}

/* Reads all; what can be written is. False: it was refused. */
static bool again(const char *json, size_t size, buffer *out) {
  repo_tree_reader *r = repo_tree_reader_new(json, size);
  repo_tree_text *t = repo_tree_text_new();
  repo_node n;
  error *e = NULL;
  REQUIRE(r != NULL && t != NULL);
  while (repo_tree_reader_next(r, &n, &e)) {
    check_node(&n);
    if (n.type == REPO_NODE_FILE && !n.has_content) continue;
    if (n.type == REPO_NODE_DIRECTORY && !n.has_subtree) continue;
    REQUIRE(repo_tree_text_add(t, &n) == NULL);
  }
  bool good = e == NULL;
  if (!good) check_error(e);
  REQUIRE(repo_tree_text_end(t, &json, &size) == NULL);
  buffer_put(out, json, size);
  repo_tree_reader_free(r);
  repo_tree_text_free(t);
  return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  buffer text = BUFFER_EMPTY, same = BUFFER_EMPTY;
  again((const char *)data, size, &text);
  REQUIRE(again(text.data, text.size, &same));
  REQUIRE(text.size == same.size);
  REQUIRE(memcmp(text.data, same.data, same.size) == 0);
  buffer_free(&text);
  buffer_free(&same);
  return 0;
}
