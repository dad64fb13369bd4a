/*
** restore_item: one node as an item of the plan, the blobs that a file wants,
** and which items are but further names of others.
*/
#include <string.h>

#include "repository/restore_plan_parts.h"

/* ------------------------------------------------------------------
** Items
** ---------------------------------------------------------------- */

static error *keep_more(restore *r, item *it, const repo_node *n) {
  bool linked = n->links > 1 && n->type != REPO_NODE_DIRECTORY;
  if (n->target == NULL && n->attribute_count == 0 && n->device == 0 && !linked)
    return NULL;
  item_more m = {NULL,     n->target_size, NULL,     n->attribute_count,
                 n->inode, n->device_id,   n->device};
  if (n->target != NULL) {
    m.target = repo_plan_text(r, n->target, n->target_size);
    if (m.target == NULL) return error_no_memory();
  }
  if (n->attribute_count > 0) {
    size_t size = n->attribute_count * sizeof *n->attributes;
    repo_attribute *all = repo_restore_keep(r, n->attributes, size);
    if (all == NULL) return error_no_memory();
    for (size_t i = 0; i < n->attribute_count; i++) {
      all[i].name = repo_plan_text(r, all[i].name, strlen(all[i].name));
      all[i].data = repo_plan_text(r, all[i].data, all[i].size);
      if (all[i].name == NULL || all[i].data == NULL) return error_no_memory();
    }
    m.attributes = all;
  }
  it->more = repo_restore_keep(r, &m, sizeof m);
  return it->more != NULL ? NULL : error_no_memory();
}

/* What an item takes in the plan; its blobs are as many as the index has. */
static uint64_t memory_of(const repo_node *n) {
  uint64_t size = sizeof(item) + sizeof(folder) + n->name_size + 8;
  for (size_t i = 0; i < n->attribute_count; i++)
    size += sizeof *n->attributes + n->attributes[i].size + 16;
  size += n->content_count * (sizeof(uint32_t) + sizeof(plan_user));
  return size + (n->target != NULL ? n->target_size + sizeof(item_more) : 0);
}

error *repo_plan_item(restore *r, uint32_t parent, const repo_node *n,
                      uint32_t *index) {
  error *e = repo_budget_take(
      &r->budget, memory_of(n),
      "restore a part of it, by `include` or a folder of the version");
  if (e != NULL) return e;
  if (!repo_plan_more(&r->items, r->item_count, &r->item_room,
                      sizeof *r->items))
    return error_no_memory();
  item *it = &r->items[r->item_count];
  memset(it, 0, sizeof *it);
  it->name = repo_plan_text(r, n->name, n->name_size);
  if (it->name == NULL) return error_no_memory();
  it->mtime = n->mtime.tv_sec;
  it->mtime_ns = (uint32_t)n->mtime.tv_nsec;
  it->atime = n->atime.tv_sec;
  it->atime_ns = (uint32_t)n->atime.tv_nsec;
  it->uid = n->uid;
  it->gid = n->gid;
  it->mode = n->mode;
  it->folder = parent;
  it->link = NO_ITEM;
  it->fd = -1;
  it->type = (uint8_t)n->type;
  e = keep_more(r, it, n);
  if (e != NULL) return e;
  *index = r->item_count++;
  return NULL;
}

repo_node repo_restore_node(const item *it) {
  repo_node n = {.name = it->name,
                 .name_size = strlen(it->name),
                 .type = it->type,
                 .mode = it->mode,
                 .mtime = {it->mtime, it->mtime_ns},
                 .atime = {it->atime, it->atime_ns},
                 .uid = it->uid,
                 .gid = it->gid,
                 .size = it->size};
  if (it->more == NULL) return n;
  n.target = it->more->target;
  n.target_size = it->more->target_size;
  n.attributes = it->more->attributes;
  n.attribute_count = it->more->attribute_count;
  n.device = it->more->device;
  return n;
}

/* Its blobs. That its size is another than theirs together is told: they are
   what it was. */
error *repo_plan_content(restore *r, uint32_t i, const repo_node *n) {
  uint32_t use = r->use_count;
  uint64_t size = 0;
  error *e = NULL;
  if (!n->has_content)
    e = repo_error(SAROS_E_DAMAGED, "what was in this file was not kept");
  for (size_t k = 0; e == NULL && k < n->content_count; k++) {
    uint32_t blob = 0;
    if (!repo_plan_more(&r->uses, r->use_count, &r->use_room, sizeof *r->uses))
      return error_no_memory();
    e = repo_plan_blob(r, &n->content[k], &blob);
    if (e != NULL) break;
    r->uses[r->use_count++] = blob;
    uint64_t add = repo_plan_blob_size(&r->blobs_of[blob]);
    if (size > (uint64_t)INT64_MAX - add)
      e = repo_error(SAROS_E_DAMAGED, "no file can be as long");
    size += add;
  }
  if (e != NULL && e->code == SAROS_E_OUTOFMEMORY) return e;
  item *it = &r->items[i];
  it->size = size;
  it->use = use;
  it->uses = r->use_count - use;
  atomic_store(&it->left, it->uses);
  if (e != NULL) {
    r->use_count = use;
    it->uses = 0;
    repo_restore_failed(r, i, e);
  } else if (size != n->size) {
    char *path = repo_restore_path(r, it->folder, it->name);
    repo_restore_tell(
        r, path,
        repo_error(SAROS_E_DAMAGED,
                   "it should have %llu bytes, and its content has "
                   "%llu: that was restored",
                   (unsigned long long)n->size, (unsigned long long)size));
    mem_free(path);
  }
  return NULL;
}


/* ------------------------------------------------------------------
** Further names
** ---------------------------------------------------------------- */

static bool is_same_thing(const restore *r, const item *a, const item *b) {
  const item_more *x = a->more, *y = b->more;
  if (a->type != b->type || a->size != b->size || a->uses != b->uses)
    return false;
  if (a->uses > 0 && memcmp(r->uses + a->use, r->uses + b->use,
                            a->uses * sizeof *r->uses) != 0)
    return false;
  return x->device == y->device && x->target_size == y->target_size &&
         (x->target_size == 0 ||
          memcmp(x->target, y->target, x->target_size) == 0);
}

/* By all that is compared: many files with one inode and contents of their own
   do not meet. */
static uint32_t hash_thing(const restore *r, const item *it) {
  const item_more *m = it->more;
  uint64_t hash = repo_plan_mix(r->secret, m->inode);
  hash = repo_plan_mix(hash, m->device_id);
  hash = repo_plan_mix(hash, m->device);
  hash = repo_plan_mix(hash, it->size ^ (uint64_t)it->type << 60);
  for (uint32_t k = 0; k < it->uses; k++)
    hash = repo_plan_mix(hash, r->uses[it->use + k]);
  for (size_t k = 0; k < m->target_size; k++)
    hash = repo_plan_mix(hash, (unsigned char)m->target[k]);
  return (uint32_t)hash;
}

/* Items whose own names these are are in it, each with its hash. */
static error *links_room(restore *r) {
  if (r->links != NULL && r->link_count < r->link_room / 2) return NULL;
  if (r->link_room > UINT32_MAX / 2) return error_no_memory();
  uint32_t room = r->link_room > 0 ? r->link_room * 2 : 256;
  plan_link *fresh = mem_zero(room * sizeof *fresh);
  if (fresh == NULL) return error_no_memory();
  for (uint32_t i = 0; r->links != NULL && i < r->link_room; i++) {
    if (r->links[i].item == 0) continue;
    uint32_t at = r->links[i].hash & (room - 1);
    while (fresh[at].item != 0) at = (at + 1) & (room - 1);
    fresh[at] = r->links[i];
  }
  mem_free(r->links);
  r->links = fresh;
  r->link_room = room;
  return NULL;
}

error *repo_plan_link(restore *r, uint32_t i) {
  error *e = links_room(r);
  if (e != NULL) return e;
  item *it = &r->items[i];
  uint32_t hash = hash_thing(r, it), at = hash & (r->link_room - 1);
  for (; r->links[at].item != 0; at = (at + 1) & (r->link_room - 1)) {
    PLAN_STEP();
    if (r->links[at].hash != hash) continue;
    item *first = &r->items[r->links[at].item - 1];
    if (first->more->inode != it->more->inode ||
        first->more->device_id != it->more->device_id ||
        !is_same_thing(r, first, it))
      continue;
    it->link = r->links[at].item - 1;
    first->is_linked = true;
    if (it->uses > 0) r->use_count = it->use; /* they were the last */
    it->uses = 0;
    return NULL;
  }
  r->links[at] = (plan_link){i + 1, hash};
  r->link_count++;
  return NULL;
}
