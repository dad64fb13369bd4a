/*
** check_trees: all trees of all versions, and whether what they name is there.
*/
#include "repository/check_parts.h"
#include "repository/sweep.h"

/* Whether it is in packs alone of which it is known that they are bad: then
   there is a finding that says so. */
static bool is_known_bad(checking *c, repo_blob_type type, const repo_id *id) {
  repo_place p;
  size_t n = 0;
  for (; repo_index_find(c->index, type, id, n, &p); n++) {
    uint32_t pack;
    if (!repo_id_map_find(c->packs, 0, &p.pack, &pack)) return false;
    const check_pack *k = &c->pack_list[pack];
    bool cut = (uint64_t)p.blob.offset + p.blob.length > k->there;
    if (k->is_there && !cut) return false;
  }
  return n > 0;
}

static error *lose(checking *c, repo_blob_type type, const repo_id *id,
                   const char *kind, const char *what, error *why) {
  char text[REPO_ID_TEXT];
  uint32_t number = 0, n;
  repo_id_format(id, text);
  pthread_mutex_lock(&c->lock);
  bool good = true, known = repo_id_map_find(c->lost, (uint8_t)type, id, &n);
  if (known) error_unref(why);
  if (!known)
    good = check_find(c, kind, id, why, &number, "the %s %s %s",
                      type == REPO_TREE ? "tree" : "piece", text, what) &&
           check_lose(c, (uint8_t)type, id, number);
  pthread_mutex_unlock(&c->lock);
  return good ? NULL : error_no_memory();
}

static error *broken(void *context, const repo_id *tree, error *e) {
  checking *c = context;
  repo_place p;
  if (check_is_fatal(e)) return e;
  if (is_known_bad(c, REPO_TREE, tree)) {
    error_unref(e);
    return NULL;
  }
  bool there = repo_index_find(c->index, REPO_TREE, tree, 0, &p);
  if (there) return lose(c, REPO_TREE, tree, "tree_damaged", "is damaged", e);
  error_unref(e);
  return lose(c, REPO_TREE, tree, "blob_missing",
              "is in no pack that the index knows", NULL);
}

static error *bad_copy_of(void *context, const repo_place *p, error *e) {
  checking *c = context;
  char text[REPO_ID_TEXT];
  uint32_t pack;
  if (check_is_fatal(e)) return e;
  bool known = repo_id_map_find(c->packs, 0, &p->pack, &pack) &&
               c->pack_list[pack].finding != 0;
  if (known) {
    error_unref(e);
    return NULL;
  }
  repo_id_format(&p->blob.id, text);
  pthread_mutex_lock(&c->lock);
  bool good = check_find(c, "copy_damaged", &p->blob.id, e, NULL,
                         "of the tree %s one copy is damaged, and another one "
                         "is good",
                         text);
  pthread_mutex_unlock(&c->lock);
  return good ? NULL : error_no_memory();
}

/* A node that nobody could restore. */
static error *bad_node(checking *c, const repo_id *tree, const repo_node *n,
                       const char *what) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, n->name, n->name_size);
  error *why = b.failed
                   ? NULL
                   : repo_error(SAROS_E_DAMAGED, "\"%.200s\" %s", b.data, what);
  buffer_free(&b);
  if (why == NULL) return error_no_memory();
  return lose(c, REPO_TREE, tree, "tree_damaged", "is damaged", why);
}

static error *see_file(checking *c, const repo_id *tree, const repo_node *n) {
  repo_place p;
  error *e = NULL;
  if (!n->has_content)
    return bad_node(c, tree, n, "is a file without a content");
  for (size_t i = 0; e == NULL && i < n->content_count; i++)
    if (!repo_index_find(c->index, REPO_DATA, &n->content[i], 0, &p))
      e = lose(c, REPO_DATA, &n->content[i], "blob_missing",
               "is in no pack that the index knows", NULL);
  return e;
}

static error *see(void *context, const repo_id *tree, const repo_node *n) {
  checking *c = context;
  switch (n->type) {
    case REPO_NODE_FILE: return see_file(c, tree, n);
    case REPO_NODE_DIRECTORY:
      return n->has_subtree
                 ? NULL
                 : bad_node(c, tree, n, "is a directory without a tree");
    default: return NULL;
  }
}

static void progress(void *context, uint64_t done, uint64_t known) {
  checking *c = context;
  if (c->o->which == REPO_CHECK_NONE && c->o->progress != NULL)
    c->o->progress(c->o->context, done, known);
}

error *check_trees(checking *c) {
  repo_id *roots = mem_alloc((c->version_count + 1) * sizeof *roots);
  if (roots == NULL) return error_no_memory();
  for (size_t i = 0; i < c->version_count; i++) roots[i] = c->versions[i]->tree;
  repo_sweep w = {.store = c->h->store,
                  .tools = repo_tools_of(c->r),
                  .index = c->index,
                  .stop = &c->h->stop,
                  .node = see,
                  .broken = broken,
                  .bad_copy = bad_copy_of,
                  .progress = progress,
                  .context = c};
  error *e = repo_sweep_trees(&w, roots, c->version_count, c->trees);
  mem_free(roots);
  return e;
}
