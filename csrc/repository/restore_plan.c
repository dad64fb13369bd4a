/*
** restore_plan: the trees become a plan. Directories are made on the way, so
** that what is in one that is new need not be looked for; of files it is noted
** which blobs they want, and of blobs, who wants them.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/restore_parts.h"
#include "repository/walk.h"

/* Names of the tree of a directory that is walked: only when what is not among
   them is to be removed. */
typedef struct names {
  const char **at;
  size_t count, room;
} names;

typedef struct planning {
  restore *r;
  names *stack; /* of the directories that are being walked */
  size_t depth, room;
} planning;


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

#define BLOCK ((size_t)256 << 10)

struct arena_block {
  arena_block *next;
  size_t used, size;
  char data[];
};

void *repo_restore_keep(restore *r, const void *data, size_t size) {
  size_t need = (size + 7) & ~(size_t)7;
  arena_block *b = r->arena;
  if (b == NULL || b->size - b->used < need) {
    size_t room = need > BLOCK / 4 ? need : BLOCK;
    b = mem_alloc(sizeof *b + room);
    if (b == NULL) return NULL;
    b->size = room;
    b->used = 0;
    b->next = r->arena;
    r->arena = b;
  }
  char *to = b->data + b->used;
  b->used += need;
  if (data != NULL && size > 0) memcpy(to, data, size);
  return to;
}

static char *keep_text(restore *r, const char *text, size_t size) {
  char *to = repo_restore_keep(r, NULL, size + 1);
  if (to == NULL) return NULL;
  memcpy(to, text, size);
  to[size] = '\0';
  return to;
}

/* One more: the array, which may move, has room for it. */
static bool more(void *array, uint32_t count, uint32_t *room, size_t size) {
  if (count < *room) return true;
  if (*room >= UINT32_MAX / 2) return false;
  uint32_t bigger = *room > 0 ? *room + *room / 2 + 16 : 256;
  void *data = mem_grow(*(void **)array, bigger * size);
  if (data == NULL) return false;
  *(void **)array = data;
  *room = bigger;
  return true;
}


/* ------------------------------------------------------------------
** Numbers by their ids
** ---------------------------------------------------------------- */

static uint32_t hash_of(const repo_id *id) {
  uint32_t h;
  memcpy(&h, id->bytes + 8, sizeof h);
  return h;
}

/* A table of indexes + 1 into an array of `stride`, each item beginning with
   its id. */
static bool table_room(uint32_t **table, uint32_t *room, uint32_t count,
                       const void *items, size_t stride) {
  if (*table != NULL && count < *room / 2) return true;
  uint32_t bigger = *room > 0 ? *room * 2 : 1024;
  if (bigger < *room) return false;
  uint32_t *fresh = mem_zero(bigger * sizeof *fresh);
  if (fresh == NULL) return false;
  for (uint32_t i = 0; i < count; i++) {
    const repo_id *id = (const void *)((const char *)items + i * stride);
    uint32_t at = hash_of(id) & (bigger - 1);
    while (fresh[at] != 0) at = (at + 1) & (bigger - 1);
    fresh[at] = i + 1;
  }
  mem_free(*table);
  *table = fresh;
  *room = bigger;
  return true;
}

/* Where it is, or where it belongs. */
static uint32_t *table_find(uint32_t *table, uint32_t room, const repo_id *id,
                            const void *items, size_t stride) {
  uint32_t at = hash_of(id) & (room - 1);
  for (; table[at] != 0; at = (at + 1) & (room - 1)) {
    const char *one = (const char *)items + (table[at] - 1) * stride;
    if (memcmp(one, id->bytes, REPO_ID) == 0) break;
  }
  return &table[at];
}

static error *number_pack(restore *r, const repo_id *id, uint32_t *number) {
  if (!table_room(&r->pack_table, &r->pack_table_room, r->pack_count, r->packs,
                  sizeof *r->packs) ||
      !more(&r->packs, r->pack_count, &r->pack_room, sizeof *r->packs))
    return error_no_memory();
  uint32_t *at = table_find(r->pack_table, r->pack_table_room, id, r->packs,
                            sizeof *r->packs);
  if (*at == 0) {
    r->packs[r->pack_count] = *id;
    *at = ++r->pack_count;
  }
  *number = *at - 1;
  return NULL;
}

static error *add_blob(restore *r, const repo_id *id, uint32_t *at) {
  repo_place p;
  uint32_t pack = 0;
  if (!repo_index_find(repo_blobs_index(r->blobs), REPO_DATA, id, 0, &p)) {
    char text[REPO_ID_TEXT];
    repo_id_format(id, text);
    return repo_error(SAROS_E_DAMAGED,
                      "its blob %s is in no pack that the index knows", text);
  }
  error *e = repo_blob_check(&p);
  if (e == NULL) e = number_pack(r, &p.pack, &pack);
  if (e == NULL &&
      !more(&r->blobs_of, r->blob_count, &r->blob_room, sizeof *r->blobs_of))
    e = error_no_memory();
  if (e != NULL) return e;
  r->blobs_of[r->blob_count] = (plan_blob){
      *id, pack, p.blob.offset, p.blob.length, p.blob.plain_length, 0, 0};
  *at = ++r->blob_count;
  return NULL;
}

static error *number_blob(restore *r, const repo_id *id, uint32_t *number) {
  if (!table_room(&r->table, &r->table_room, r->blob_count, r->blobs_of,
                  sizeof *r->blobs_of))
    return error_no_memory();
  uint32_t *at =
      table_find(r->table, r->table_room, id, r->blobs_of, sizeof *r->blobs_of);
  error *e = *at == 0 ? add_blob(r, id, at) : NULL;
  if (e == NULL) *number = *at - 1;
  return e;
}

static uint64_t size_of(const plan_blob *b) {
  return b->plain_length != 0 ? b->plain_length : b->length - REPO_SEAL;
}


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
    m.target = keep_text(r, n->target, n->target_size);
    if (m.target == NULL) return error_no_memory();
  }
  if (n->attribute_count > 0) {
    size_t size = n->attribute_count * sizeof *n->attributes;
    repo_attribute *all = repo_restore_keep(r, n->attributes, size);
    if (all == NULL) return error_no_memory();
    for (size_t i = 0; i < n->attribute_count; i++) {
      all[i].name = keep_text(r, all[i].name, strlen(all[i].name));
      all[i].data = keep_text(r, all[i].data, all[i].size);
      if (all[i].name == NULL || all[i].data == NULL) return error_no_memory();
    }
    m.attributes = all;
  }
  it->more = repo_restore_keep(r, &m, sizeof m);
  return it->more != NULL ? NULL : error_no_memory();
}

static error *add_item(restore *r, uint32_t parent, const repo_node *n,
                       uint32_t *index) {
  if (!more(&r->items, r->item_count, &r->item_room, sizeof *r->items))
    return error_no_memory();
  item *it = &r->items[r->item_count];
  memset(it, 0, sizeof *it);
  it->name = keep_text(r, n->name, n->name_size);
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
  error *e = keep_more(r, it, n);
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
static error *add_content(restore *r, uint32_t i, const repo_node *n) {
  uint32_t use = r->use_count;
  uint64_t size = 0;
  error *e = NULL;
  if (!n->has_content)
    e = repo_error(SAROS_E_DAMAGED, "what was in this file was not kept");
  for (size_t k = 0; e == NULL && k < n->content_count; k++) {
    uint32_t blob = 0;
    if (!more(&r->uses, r->use_count, &r->use_room, sizeof *r->uses))
      return error_no_memory();
    e = number_blob(r, &n->content[k], &blob);
    if (e != NULL) break;
    r->uses[r->use_count++] = blob;
    uint64_t add = size_of(&r->blobs_of[blob]);
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

static uint32_t hash_inode(const item_more *m) {
  uint64_t h = (m->inode ^ m->device_id << 32) * 0x9E3779B97F4A7C15u;
  return (uint32_t)(h >> 32);
}

static error *links_room(restore *r) {
  if (r->links != NULL && r->link_count < r->link_room / 2) return NULL;
  uint32_t room = r->link_room > 0 ? r->link_room * 2 : 256;
  uint32_t *fresh = mem_zero(room * sizeof *fresh);
  if (fresh == NULL) return error_no_memory();
  for (uint32_t i = 0; r->links != NULL && i < r->link_room; i++) {
    if (r->links[i] == 0) continue;
    uint32_t at = hash_inode(r->items[r->links[i] - 1].more) & (room - 1);
    while (fresh[at] != 0) at = (at + 1) & (room - 1);
    fresh[at] = r->links[i];
  }
  mem_free(r->links);
  r->links = fresh;
  r->link_room = room;
  return NULL;
}

/* An item that is another name of an earlier one is made one. */
static error *find_link(restore *r, uint32_t i) {
  error *e = links_room(r);
  if (e != NULL) return e;
  item *it = &r->items[i];
  uint32_t at = hash_inode(it->more) & (r->link_room - 1);
  for (; r->links[at] != 0; at = (at + 1) & (r->link_room - 1)) {
    item *first = &r->items[r->links[at] - 1];
    if (first->more->inode != it->more->inode ||
        first->more->device_id != it->more->device_id ||
        !is_same_thing(r, first, it))
      continue;
    it->link = r->links[at] - 1;
    first->is_linked = true;
    if (it->uses > 0) r->use_count = it->use; /* they were the last */
    it->uses = 0;
    return NULL;
  }
  r->links[at] = i + 1;
  r->link_count++;
  return NULL;
}


/* ------------------------------------------------------------------
** Names that the version does not have
** ---------------------------------------------------------------- */

static error *note_name(planning *g, const repo_node *n) {
  names *s = &g->stack[g->depth - 1];
  if (s->count == s->room) {
    size_t room = s->room > 0 ? s->room * 2 : 64;
    const char **at = mem_grow(s->at, room * sizeof *at);
    if (at == NULL) return error_no_memory();
    s->at = at;
    s->room = room;
  }
  s->at[s->count] = keep_text(g->r, n->name, n->name_size);
  return s->at[s->count++] != NULL ? NULL : error_no_memory();
}

static error *push_names(planning *g) {
  if (!g->r->removes) return NULL;
  if (g->depth == g->room) {
    size_t room = g->room > 0 ? g->room * 2 : 16;
    names *stack = mem_grow(g->stack, room * sizeof *stack);
    if (stack == NULL) return error_no_memory();
    g->stack = stack;
    g->room = room;
  }
  g->stack[g->depth++] = (names){0};
  return NULL;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static error *select_path(restore *r, const char *path, size_t size,
                          bool *selected, bool *enter) {
  bool matched = false;
  error *e = NULL;
  *selected = true;
  if (r->exclude != NULL) {
    e = repo_exclude_path(r->exclude, path, size, &matched);
    if (matched) *selected = *enter = false;
  }
  if (e == NULL && *selected && r->include != NULL) {
    e = repo_exclude_path(r->include, path, size, &matched);
    *selected = matched;
  }
  return e;
}

static error *add_extra(restore *r, uint32_t f, const char *name) {
  bool selected, enter = true;
  char *path = repo_restore_path(r, f, name);
  if (path == NULL) return error_no_memory();
  error *e = select_path(r, path, strlen(path), &selected, &enter);
  mem_free(path);
  if (e != NULL || !selected) return e;
  if (!more(&r->extras, r->extra_count, &r->extra_room, sizeof *r->extras))
    return error_no_memory();
  name = keep_text(r, name, strlen(name));
  if (name == NULL) return error_no_memory();
  r->extras[r->extra_count++] = (plan_extra){f, name};
  return NULL;
}

/* What is in a directory that was there, against what its tree has. Of one
   that could not be read whole nobody knows what it should have. */
static error *find_extras(planning *g, uint32_t f) {
  restore *r = g->r;
  const names *s = &g->stack[g->depth - 1];
  const folder *o = &r->folders[f];
  error *e = NULL;
  if (o->fresh || o->half || o->failed || r->root < 0) return NULL;
  int fd = repo_place_open_once(r, f, O_RDONLY | O_DIRECTORY);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL) {
    if (fd >= 0) close(fd);
    return NULL; /* it is not there, or it was told already */
  }
  for (struct dirent *entry; e == NULL && (entry = readdir(d)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (s->count > 0 &&
        bsearch(&name, s->at, s->count, sizeof *s->at, compare_names) != NULL)
      continue;
    e = add_extra(r, f, name);
  }
  closedir(d);
  return e;
}

static error *pop_names(planning *g, uint32_t f) {
  if (!g->r->removes) return NULL;
  error *e = find_extras(g, f);
  mem_free(g->stack[--g->depth].at);
  return e;
}


/* ------------------------------------------------------------------
** The walk
** ---------------------------------------------------------------- */

static error *add_folder(restore *r, uint32_t parent, uint32_t i,
                         uint32_t *index) {
  if (!more(&r->folders, r->folder_count, &r->folder_room, sizeof *r->folders))
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
  e = add_item(r, parent, n, &i);
  if (e == NULL) e = add_folder(r, parent, i, &f);
  if (e != NULL) return e;
  r->folders[f].is_asked = selected;
  *mark = f;
  if (selected && !repo_place_make(r, f)) *enter = false;
  return *enter ? push_names(g) : NULL;
}

static error *plan_item(restore *r, uint32_t parent, const repo_node *n) {
  uint32_t i = 0;
  if (n->type == REPO_NODE_SOCKET) return NULL; /* nobody listens there now */
  if (!repo_place_make(r, parent)) return NULL;
  error *e = add_item(r, parent, n, &i);
  if (e != NULL) return e;
  if (n->type == REPO_NODE_OTHER) {
    repo_restore_failed(
        r, i, repo_error(SAROS_E_NOTIMPL, "what it is cannot be made here"));
    return NULL;
  }
  if (n->type == REPO_NODE_FILE) e = add_content(r, i, n);
  bool failed = r->items[i].state == ITEM_FAILED;
  if (e == NULL && n->links > 1 && n->inode != 0 && !failed)
    e = find_link(r, i);
  return e;
}

static error *plan_node(void *context, const repo_walk_at *at,
                        const repo_node *n, bool *enter, uint64_t *mark) {
  planning *g = context;
  restore *r = g->r;
  bool selected;
  error *e = NULL;
  if (!repo_restore_goes_on(r)) return error_ref(r->why);
  if (r->removes) e = note_name(g, n);
  if (e == NULL) e = select_path(r, at->path, at->size, &selected, enter);
  if (e != NULL) return e;
  if (n->type == REPO_NODE_DIRECTORY)
    return plan_folder(g, (uint32_t)at->parent, n, selected, enter, mark);
  return selected ? plan_item(r, (uint32_t)at->parent, n) : NULL;
}

static error *plan_leave(void *context, const repo_walk_at *at, uint64_t mark) {
  (void)at;
  return pop_names(context, (uint32_t)mark);
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
  error *e = add_folder(r, 0, NO_ITEM, &f);
  if (e != NULL) return e;
  r->folders[0].made = r->root >= 0;
  r->folders[0].fresh = r->is_new;
  e = push_names(&g);
  if (e == NULL)
    e = repo_walk_tree(r->blobs, &r->version.tree, 0, &w, &r->stop);
  if (e == NULL && g.depth > 0) e = pop_names(&g, 0);
  while (g.depth > 0) mem_free(g.stack[--g.depth].at);
  mem_free(g.stack);
  return e;
}


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
      offset += size_of(b);
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
  while (r->arena != NULL) {
    arena_block *next = r->arena->next;
    mem_free(r->arena);
    r->arena = next;
  }
}
