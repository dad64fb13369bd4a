/*
** hostile_case: trees that nobody honest has, many at a time: they are put into
** one pack, and one index file says where.
*/
#ifndef SAROS_HOSTILE_CASE_H
#define SAROS_HOSTILE_CASE_H

#include "restore_case.h"

typedef struct many {
  repo *r;
  repo_pack *pack;
  repo_tool *tool;
} many;

static inline many many_begin(repo *r) {
  many m = {.r = r, .pack = repo_pack_new(REPO_TREE, (size_t)64 << 20)};
  CHECK(m.pack != NULL && repo_tools_take(r->tools, &m.tool) == NULL);
  return m;
}

/* One tree more; in its nodes ' is ". */
static inline repo_id many_tree(many *m, const char *nodes) {
  repo_blob b = {.type = REPO_TREE};
  buffer text = BUFFER_EMPTY;
  buffer_format(&text, "{\"nodes\":[%s]}\n", nodes);
  for (size_t i = 0; i < text.size; i++)
    if (text.data[i] == '\'') text.data[i] = '"';
  repo_id_of(&b.id, text.data, text.size);
  b.length = (uint32_t)(text.size + REPO_SEAL);
  void *room = repo_pack_room(m->pack, b.length);
  CHECK(room != NULL &&
        repo_seal(m->tool->sealer, text.data, text.size, room) == NULL &&
        repo_pack_add(m->pack, &b) == NULL);
  buffer_free(&text);
  return b.id;
}

static inline void many_save(repo *r, const repo_id *pack,
                             const repo_blob *blobs, size_t count) {
  repo_index_text t = {BUFFER_EMPTY, 0};
  repo_id index;
  repo_index_text_add(&t, pack, blobs, count);
  repo_index_text_end(&t);
  CHECK(repo_tools_save(r->tools, r->store, REPO_INDEXES, t.json.data,
                        t.json.size, &index, NULL) == NULL);
  buffer_free(&t.json);
}

static inline void many_end(many *m) {
  const void *bytes;
  size_t size;
  repo_id pack;
  CHECK(repo_pack_end(m->pack, m->tool->sealer, &bytes, &size, &pack) == NULL);
  repo_piece piece = {bytes, size};
  CHECK(m->r->store->way->save(m->r->store, REPO_PACKS, &pack, &piece, 1, false,
                               NULL) == NULL);
  many_save(m->r, &pack, repo_pack_blobs(m->pack), repo_pack_count(m->pack));
  repo_pack_free(m->pack);
  repo_tools_give(m->r->tools, m->tool);
}

#define DIRECTORY_NODE(name)                                     \
  "{'name':'" name "','type':'dir','mode':2147484141," NODE_REST \
  ",'inode':1,"                                                  \
  "'content':null,'subtree':'%s'}"

/* So many levels, on each `names` (1 or 2) for the next one; the last is
   `leaf`. */
static inline repo_id many_levels(many *m, repo_id leaf, unsigned levels,
                                  unsigned names) {
  for (unsigned i = 0; i < levels; i++) {
    char nodes[1000];
    const char *below = id_text(leaf);
    if (names == 1)
      snprintf(nodes, sizeof nodes, DIRECTORY_NODE("a"), below);
    else
      snprintf(nodes, sizeof nodes, DIRECTORY_NODE("a") "," DIRECTORY_NODE("b"),
               below, below);
    leaf = many_tree(m, nodes);
  }
  return leaf;
}

#endif
