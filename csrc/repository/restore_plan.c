/*
** restore_plan: the trees become a plan. Directories are made on the way, so
** that what is in one that is new need not be looked for; of files it is noted
** which blobs they want, and of blobs, who wants them.
*/
#include <string.h>

#include "repository/restore_plan_parts.h"

/* ------------------------------------------------------------------
** The walk
** ---------------------------------------------------------------- */

static error *add_folder(restore *r, uint32_t parent, uint32_t i,
                         uint32_t *index) {
  if (!repo_plan_more(&r->folders, r->folder_count, &r->folder_room,
                      sizeof *r->folders))
    return error_no_memory();
  r->folders[r->folder_count] = (folder){.parent = parent, .item = i};
  *index = r->folder_count++;
  return NULL;
}

static error *plan_folder(planning *g, uint32_t parent, const repo_node *n,
                          bool selected, bool *enter, uint64_t *mark) {
  restore *r = g->r;
  uint32_t i = 0, f = 0;
  error *e = NULL;
  if (!*enter && !selected) return NULL;
  e = repo_plan_item(r, parent, n, &i);
  if (e == NULL) e = add_folder(r, parent, i, &f);
  if (e != NULL) return e;
  r->folders[f].is_asked = selected;
  *mark = f;
  if (selected && !repo_place_make(r, f)) *enter = false;
  return *enter ? repo_plan_names_push(g) : NULL;
}

static error *plan_item(restore *r, uint32_t parent, const repo_node *n) {
  uint32_t i = 0;
  if (n->type == REPO_NODE_SOCKET) return NULL; /* nobody listens there now */
  if (!repo_place_make(r, parent)) return NULL;
  error *e = repo_plan_item(r, parent, n, &i);
  if (e != NULL) return e;
  if (n->type == REPO_NODE_OTHER) {
    repo_restore_failed(
        r, i, repo_error(SAROS_E_NOTIMPL, "what it is cannot be made here"));
    return NULL;
  }
  if (n->type == REPO_NODE_FILE) e = repo_plan_content(r, i, n);
  bool failed = r->items[i].state == ITEM_FAILED;
  if (e == NULL && n->links > 1 && n->inode != 0 && !failed)
    e = repo_plan_link(r, i);
  return e;
}

static error *plan_node(void *context, const repo_walk_at *at,
                        const repo_node *n, bool *enter, uint64_t *mark) {
  planning *g = context;
  restore *r = g->r;
  bool selected;
  error *e = NULL;
  if (!repo_restore_goes_on(r)) return error_ref(r->why);
  if (r->removes) e = repo_plan_note(g, n);
  if (e == NULL) e = repo_plan_select(r, at->path, at->size, &selected, enter);
  if (e != NULL) return e;
  if (n->type == REPO_NODE_DIRECTORY)
    return plan_folder(g, (uint32_t)at->parent, n, selected, enter, mark);
  return selected ? plan_item(r, (uint32_t)at->parent, n) : NULL;
}

static error *plan_leave(void *context, const repo_walk_at *at, uint64_t mark) {
  (void)at;
  return repo_plan_names_pop(context, (uint32_t)mark);
}

static error *plan_damaged(void *context, const repo_walk_at *at, error *e) {
  planning *g = context;
  restore *r = g->r;
  /* It is of the directory that is being read, or was to be: the last, then,
     with this path; both are not to be cleared out. */
  r->folders[at->parent].half = true;
  if (r->folder_count > 0) r->folders[r->folder_count - 1].half = true;
  repo_restore_tell(r, at->path, e);
  return NULL;
}

error *repo_plan_make(restore *r) {
  planning g = {.r = r};
  uint32_t f;
  repo_walk w = {plan_node, plan_leave, plan_damaged, &g};
  error *e = repo_random(&r->secret, sizeof r->secret);
  r->budget = repo_budget_new();
  if (e == NULL) e = add_folder(r, 0, NO_ITEM, &f);
  if (e != NULL) return e;
  r->folders[0].made = r->root >= 0;
  r->folders[0].fresh = r->is_new;
  e = repo_plan_names_push(&g);
  if (e == NULL)
    e = repo_walk_tree(r->blobs, &r->version.tree, 0, &w, &r->stop);
  if (e == NULL && g.depth > 0) e = repo_plan_names_pop(&g, 0);
  while (g.depth > 0) mem_free(g.stack[--g.depth].at);
  mem_free(g.stack);
  return e;
}

void repo_plan_free(restore *r) {
  mem_free(r->items);
  mem_free(r->folders);
  mem_free(r->uses);
  mem_free(r->blobs_of);
  mem_free(r->table);
  mem_free(r->packs);
  mem_free(r->pack_table);
  mem_free(r->users);
  mem_free(r->order);
  mem_free(r->reads);
  mem_free(r->links);
  mem_free(r->extras);
  repo_plan_arena_free(r);
}
