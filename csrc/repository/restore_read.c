/*
** restore_read: what is near together in a pack is read at once; each blob of
** it is opened, two of them are hashed at a time, and written to all files that
** have them. A blob that is damaged there is looked for in other packs.
*/
#include <string.h>

#include "repository/restore_parts.h"

static repo_place place_of(const restore *r, const plan_blob *b) {
  return (repo_place){
      r->packs[b->pack],
      {b->id, REPO_DATA, b->offset, b->length, b->plain_length}};
}

/* Whether anybody still wants it: who failed does not. */
static bool has_users(const restore *r, const plan_blob *b) {
  for (uint32_t k = b->user; k < b->user + b->users; k++)
    if (atomic_load(&r->items[r->users[k].item].state) == ITEM_PLANNED)
      return true;
  return false;
}

static void write_to_all(restore *r, crew_mate *m, const plan_blob *b,
                         const char *data, size_t size) {
  for (uint32_t k = b->user; k < b->user + b->users; k++) {
    const plan_user *u = &r->users[k];
    if (!repo_restore_goes_on(r)) return;
    if (r->items[u->item].uses == 1)
      repo_out_write_whole(r, m, u->item, data, size);
    else
      repo_out_write_part(r, m, u->item, u->offset, data, size);
    repo_restore_progress(r, size, u->item);
  }
}

/* No copy of it is good: every file that has it is told. */
static void give_up(restore *r, crew_mate *m, const plan_blob *b, error *e) {
  uint32_t last = NO_ITEM;
  for (uint32_t k = b->user; k < b->user + b->users; k++) {
    uint32_t i = r->users[k].item;
    if (i != last) repo_restore_failed(r, i, error_ref(e));
    last = i;
    if (r->items[i].uses > 1) repo_out_give_up_part(r, m, i);
  }
  error_unref(e);
}

/* It is not good in the pack where it was looked for. */
static void another_copy(restore *r, crew_mate *m, const plan_blob *b,
                         error *why) {
  repo_bytes *bytes = NULL;
  error *e = why;
  if (e->code != SAROS_E_OUTOFMEMORY) {
    error_unref(why);
    e = repo_blobs_load(r->blobs, REPO_DATA, &b->id, &bytes, &r->stop);
  }
  if (e == NULL)
    write_to_all(r, m, b, bytes->data, bytes->size);
  else if (e->code == SAROS_E_CANCELLED || e->code == SAROS_E_OUTOFMEMORY)
    repo_restore_fail(r, e);
  else
    give_up(r, m, b, e);
  repo_bytes_free(r->blobs, bytes);
}

static void open_blob(restore *r, crew_mate *m, const plan_blob *b,
                      char *sealed, error *why) {
  repo_half *half = repo_pair_room(&m->pair);
  repo_place p = place_of(r, b);
  const char *data = NULL;
  size_t size = 0;
  error *e = why;
  if (e == NULL)
    e = repo_blob_unpack(m->tool, &p, sealed, &half->space, &data, &size);
  if (e != NULL)
    another_copy(r, m, b, e);
  else
    repo_pair_put(half, b, data, size);
}

/* Of those that are open, what has company; `alone`: all. */
static void write_blobs(restore *r, crew_mate *m, bool alone) {
  repo_half *half;
  repo_id id;
  while ((half = repo_pair_next(&m->pair, alone, &id)) != NULL) {
    const plan_blob *b = half->what;
    repo_place p = place_of(r, b);
    error *e = repo_blob_is(&p, &id);
    if (e != NULL)
      another_copy(r, m, b, e);
    else
      write_to_all(r, m, b, half->data, half->size);
    half->what = NULL;
  }
}

void repo_read_packs(restore *r, crew_mate *m, uint32_t i) {
  const plan_read *p = &r->reads[i];
  const plan_blob *first = &r->blobs_of[r->order[p->first]];
  const plan_blob *last = &r->blobs_of[r->order[p->first + p->count - 1]];
  size_t size = (size_t)last->offset + last->length - first->offset;
  repo_store *s = r->h->store;
  if (!repo_space_ensure(&m->sealed, size)) {
    repo_restore_fail(r, error_no_memory());
    return;
  }
  error *e = s->way->read(s, REPO_PACKS, &r->packs[first->pack], first->offset,
                          size, m->sealed.data, &r->stop);
  for (uint32_t k = 0; k < p->count && repo_restore_goes_on(r); k++) {
    const plan_blob *b = &r->blobs_of[r->order[p->first + k]];
    if (has_users(r, b))
      open_blob(r, m, b, m->sealed.data + (b->offset - first->offset),
                e != NULL ? error_ref(e) : NULL);
    else
      for (uint32_t u = b->user; u < b->user + b->users; u++)
        if (r->items[r->users[u].item].uses > 1)
          repo_out_give_up_part(r, m, r->users[u].item);
    write_blobs(r, m, false);
  }
  write_blobs(r, m, true);
  error_unref(e);
}
