/*
** check_packs: which packs there are, and how large.
*/
#include <inttypes.h>

#include "repository/check_parts.h"

typedef struct walking {
  checking *c;
  check_each_pack each;
  void *context;
} walking;

static error *with_number(void *context, const repo_id *id,
                          const repo_blob *blobs, size_t count) {
  walking *w = context;
  uint32_t n;
  if (!repo_id_map_find(w->c->packs, 0, id, &n)) return NULL;
  return w->each(w->context, n, blobs, count);
}

error *check_each(checking *c, check_each_pack each, void *context) {
  walking w = {c, each, context};
  return repo_index_packs(c->index, with_number, &w);
}


static error *see(void *context, const repo_id *id, uint64_t size) {
  checking *c = context;
  uint32_t n;
  if (repo_id_map_find(c->packs, 0, id, &n)) {
    c->pack_list[n].is_there = true;
    c->pack_list[n].there = size;
    return NULL;
  }
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  c->unreferenced++;
  c->unreferenced_bytes += size;
  return check_hint(c, "pack_unreferenced", id,
                    "no index file names the pack %s: a backup goes on, or "
                    "was interrupted; prune removes it",
                    text)
             ? NULL
             : error_no_memory();
}

/* Where the pack ends too early, so do the blobs. */
static bool note_bad(checking *c, const repo_id *id, const check_pack *p,
                     const repo_blob *blobs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const repo_blob *b = &blobs[i];
    if (p->is_there && (uint64_t)b->offset + b->length <= p->there) continue;
    repo_place place = {*id, *b};
    if (!check_bad(c, &place, p->finding,
                   p->is_there ? "it is behind the end of the pack" : NULL))
      return false;
  }
  return true;
}

static error *judge(void *context, uint32_t n, const repo_blob *blobs,
                    size_t count) {
  checking *c = context;
  check_pack *p = &c->pack_list[n];
  const repo_id *id = &repo_id_map_at(c->packs, n)->id;
  char text[REPO_ID_TEXT];
  bool good = true;
  if (p->is_there && p->there == p->size) return NULL;
  repo_id_format(id, text);
  if (p->is_there)
    good = check_find(c, "pack_size", id, NULL, &p->finding,
                      "the pack %s has %" PRIu64
                      " bytes, and by the index it should have %" PRIu64,
                      text, p->there, p->size);
  else
    good = check_find(c, "pack_missing", id, NULL, &p->finding,
                      "the pack %s is missing", text);
  p->all_bad = !p->is_there;
  return good && note_bad(c, id, p, blobs, count) ? NULL : error_no_memory();
}

/* After the index was read: what is named there must be there by now. */
error *check_packs(checking *c) {
  error *e =
      c->h->store->way->list(c->h->store, REPO_PACKS, see, c, &c->h->stop);
  return e != NULL ? e : check_each(c, judge, c);
}
