/*
** restore_order: who wants which blob, and what of the packs is read at once.
*/
#include <stdlib.h>

#include "repository/restore_plan_parts.h"

/* ------------------------------------------------------------------
** Who wants what, and what is read at once
** ---------------------------------------------------------------- */

static bool is_wanted(const restore *r, uint32_t i) {
  const item *it = &r->items[i];
  return it->type == REPO_NODE_FILE && it->link == NO_ITEM &&
         it->state == ITEM_PLANNED;
}

/* A use that is there already is none any more. */
#define HAS(r, use) ((r)->uses[use] & USE_HAS)

static error *find_users(restore *r) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < r->item_count; i++) {
    const item *it = &r->items[i];
    if (!is_wanted(r, i)) continue;
    for (uint32_t k = it->use; k < it->use + it->uses; k++)
      if (!HAS(r, k)) r->blobs_of[r->uses[k]].users++, count++;
  }
  if (count >= UINT32_MAX) return error_no_memory();
  r->users = mem_alloc((size_t)(count + 1) * sizeof *r->users);
  if (r->users == NULL) return error_no_memory();
  uint32_t at = 0;
  for (uint32_t b = 0; b < r->blob_count; b++) {
    r->blobs_of[b].user = at;
    at += r->blobs_of[b].users;
    r->blobs_of[b].users = 0;
  }
  for (uint32_t i = 0; i < r->item_count; i++) {
    const item *it = &r->items[i];
    uint64_t offset = 0;
    if (!is_wanted(r, i)) continue;
    for (uint32_t k = it->use; k < it->use + it->uses; k++) {
      plan_blob *b = &r->blobs_of[r->uses[k] & ~USE_HAS];
      if (!HAS(r, k)) r->users[b->user + b->users++] = (plan_user){offset, i};
      offset += repo_plan_blob_size(b);
    }
  }
  return NULL;
}

typedef struct place {
  uint32_t pack, offset, blob;
} place;

static int by_place(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->pack != y->pack) return x->pack < y->pack ? -1 : 1;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

static error *sort_blobs(restore *r, uint32_t *count) {
  uint32_t n = 0;
  place *all = mem_alloc((r->blob_count + 1) * sizeof *all);
  r->order = mem_alloc((r->blob_count + 1) * sizeof *r->order);
  if (all == NULL || r->order == NULL) {
    mem_free(all);
    return error_no_memory();
  }
  for (uint32_t b = 0; b < r->blob_count; b++)
    if (r->blobs_of[b].users > 0)
      all[n++] = (place){r->blobs_of[b].pack, r->blobs_of[b].offset, b};
  qsort(all, n, sizeof *all, by_place);
  for (uint32_t i = 0; i < n; i++) r->order[i] = all[i].blob;
  mem_free(all);
  *count = n;
  return NULL;
}

/* What lies so near together is read at once, gap and all; a gap costs less
   than a further call. */
#define READ_GAP ((uint64_t)256 << 10)
#define READ_MOST ((uint64_t)4 << 20)

static bool goes_with(const plan_blob *first, const plan_blob *last,
                      const plan_blob *b) {
  uint64_t end = (uint64_t)last->offset + last->length;
  return b->pack == first->pack && b->offset >= end &&
         b->offset - end <= READ_GAP &&
         (uint64_t)b->offset + b->length - first->offset <= READ_MOST;
}

static error *cut_reads(restore *r, uint32_t count) {
  r->reads = mem_alloc((count + 1) * sizeof *r->reads);
  if (r->reads == NULL) return error_no_memory();
  r->read_count = 0;
  for (uint32_t i = 0; i < count; i++) {
    plan_read *p = &r->reads[r->read_count > 0 ? r->read_count - 1 : 0];
    const plan_blob *b = &r->blobs_of[r->order[i]];
    if (r->read_count > 0 && goes_with(&r->blobs_of[r->order[p->first]],
                                       &r->blobs_of[r->order[i - 1]], b))
      p->count++;
    else
      r->reads[r->read_count++] = (plan_read){i, 1};
  }
  return NULL;
}

error *repo_plan_reads(restore *r) {
  uint32_t count = 0;
  error *e = find_users(r);
  if (e == NULL) e = sort_blobs(r, &count);
  return e != NULL ? e : cut_reads(r, count);
}
