/*
** prune_plan: what happens to each pack. From figures alone: nothing is read,
** and nothing is changed.
*/
#include <inttypes.h>
#include <stdlib.h>

#include "repository/prune.h"

/* Small packs that are not worth the trouble, if there are fewer. */
#define SMALL_LEAST 10

typedef struct planning {
  const repo_prune_options *o;
  unsigned version;
  repo_prune_figures *figures;
  uint64_t large_enough; /* a pack of so many bytes is no small one */
  uint64_t allowed;      /* bytes that may stay, though unused */
  uint64_t unused;       /* that would stay by now */
  uint64_t repack;
  repo_prune_pack **candidates;
  size_t count;
} planning;

/* ------------------------------------------------------------------
** One pack
** ---------------------------------------------------------------- */

static bool must_compress(const planning *p, const repo_prune_pack *pack) {
  if (p->version < 2 || !pack->is_uncompressed) return false;
  return pack->type == REPO_TREE || p->o->repack_uncompressed;
}

static bool is_data(const repo_prune_pack *pack) {
  return pack->type == REPO_DATA && !pack->is_mixed;
}

static bool is_whole(const planning *p, const repo_prune_pack *pack) {
  return pack->unused == 0 && !pack->is_mixed && !must_compress(p, pack);
}

static error *missing(const repo_prune_pack *pack) {
  char text[REPO_ID_TEXT];
  repo_id_format(&pack->id, text);
  if (!pack->is_there)
    return repo_error(SAROS_E_DAMAGED,
                      "the pack %s is missing, and versions need it; nothing "
                      "was removed. Find out with check what is hit",
                      text);
  return repo_error(SAROS_E_DAMAGED,
                    "the pack %s has %" PRIu64
                    " bytes, and by the index it "
                    "should have %" PRIu64
                    "; nothing was removed. Find out "
                    "with check what is hit",
                    text, pack->there, pack->size);
}

/* What is clear from the pack alone; else it is a candidate. */
static error *judge(planning *p, repo_prune_pack *pack) {
  repo_prune_figures *f = p->figures;
  f->packs++;
  if (pack->used > 0 && (!pack->is_there || pack->there != pack->size))
    return missing(pack);
  if (pack->used == 0) {
    pack->what = pack->is_there ? REPO_PRUNE_DELETE : REPO_PRUNE_IGNORE;
    p->unused -= pack->unused_bytes;
    *(pack->is_there ? &f->removed : &f->ignored) += 1;
    if (pack->is_there) f->removed_bytes += pack->there;
    return NULL;
  }
  pack->what = REPO_PRUNE_KEEP;
  if (p->o->trees_only && is_data(pack)) return NULL;
  if (is_whole(p, pack) && pack->there >= p->large_enough) return NULL;
  p->candidates[p->count++] = pack;
  return NULL;
}


/* ------------------------------------------------------------------
** Those that may be repacked
** ---------------------------------------------------------------- */

/* Orders need to know what is large. */
typedef struct candidate {
  repo_prune_pack *pack;
  bool is_data, is_small;
  double unused; /* for one byte that is used */
} candidate;

static int first_worth(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->is_data != y->is_data) return x->is_data ? 1 : -1;
  if (x->is_small != y->is_small) return x->is_small ? -1 : 1;
  if (x->unused != y->unused) return x->unused > y->unused ? -1 : 1;
  return repo_id_compare(&x->pack->id, &y->pack->id);
}

static bool is_to_repack(const planning *p, const candidate *c) {
  uint64_t bytes = c->pack->size;
  if (p->o->max_repack != 0 && p->repack + bytes >= p->o->max_repack)
    return false;
  if (!c->is_data || must_compress(p, c->pack) || c->is_small) return true;
  return p->unused >= p->allowed;
}

static void repack(planning *p, repo_prune_pack *pack) {
  pack->what = REPO_PRUNE_REPACK;
  p->repack += pack->size;
  p->unused -= pack->unused_bytes;
  p->figures->repacked++;
  p->figures->repacked_bytes += pack->size;
}

/* A few small ones are left alone, or there would be no end of it. */
static void leave_few_small(planning *p) {
  size_t small = 0, n = 0;
  for (size_t i = 0; i < p->count; i++) small += is_whole(p, p->candidates[i]);
  if (small >= SMALL_LEAST) return;
  for (size_t i = 0; i < p->count; i++)
    if (!is_whole(p, p->candidates[i])) p->candidates[n++] = p->candidates[i];
  p->count = n;
}

static error *decide(planning *p) {
  candidate *all = mem_alloc((p->count + 1) * sizeof *all);
  if (all == NULL) return error_no_memory();
  for (size_t i = 0; i < p->count; i++) {
    repo_prune_pack *pack = p->candidates[i];
    all[i] = (candidate){pack, is_data(pack), pack->size < p->large_enough,
                         (double)pack->unused_bytes /
                             (double)(pack->size - pack->unused_bytes + 1)};
  }
  if (p->count > 1) qsort(all, p->count, sizeof *all, first_worth);
  for (size_t i = 0; i < p->count; i++)
    if (is_to_repack(p, &all[i])) repack(p, all[i].pack);
  mem_free(all);
  return NULL;
}


/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

static uint64_t allowed(const repo_prune_options *o, uint64_t used) {
  if (o->max_unused_share < 0) return o->max_unused;
  double bytes = o->max_unused_share * (double)used;
  return bytes < 9e18 ? (uint64_t)bytes : UINT64_MAX;
}

static error *plan(planning *p, repo_prune_pack *packs, size_t count) {
  repo_prune_figures *f = p->figures;
  error *e = NULL;
  for (size_t i = 0; i < count; i++) {
    p->unused += packs[i].unused_bytes;
    f->used_bytes += packs[i].used_bytes;
  }
  f->unused_bytes = p->unused;
  p->allowed = allowed(p->o, f->used_bytes);
  for (size_t i = 0; e == NULL && i < count; i++) e = judge(p, &packs[i]);
  if (e != NULL) return e;
  leave_few_small(p);
  e = decide(p);
  if (e != NULL) return e;
  f->kept = f->packs - f->removed - f->ignored - f->repacked;
  f->unused_after = p->unused;
  f->freed_bytes = f->removed_bytes + f->unreferenced_bytes;
  for (size_t i = 0; i < count; i++)
    if (packs[i].what == REPO_PRUNE_REPACK)
      f->freed_bytes += packs[i].unused_bytes;
  return NULL;
}

error *repo_prune_plan(const repo_prune_options *o, unsigned version,
                       repo_prune_pack *packs, size_t count,
                       repo_prune_figures *figures) {
  planning p = {.o = o, .version = version, .figures = figures};
  if (o->repack_uncompressed && version < 2)
    return repo_error(SAROS_E_INVALIDARG,
                      "repack_uncompressed: this repository is of format 1, "
                      "which compresses nothing");
  /* Only very small ones, or those that miss four fifths of what they could
     be. */
  p.large_enough = o->repack_small ? o->pack_size / 5 * 4 : o->pack_size / 25;
  p.candidates = mem_alloc((count + 1) * sizeof(repo_prune_pack *));
  if (p.candidates == NULL) return error_no_memory();
  error *e = plan(&p, packs, count);
  mem_free(p.candidates);
  return e;
}
