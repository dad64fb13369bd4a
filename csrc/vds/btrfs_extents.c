/*
** btrfs_extents: the tree of devices, read by BTRFS_IOC_TREE_SEARCH_V2.
*/
#include "vds/btrfs_extents.h"

#include <endian.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

enum { ROOM = 64 << 10 };

#define FIRST (1ull << 20) /* no chunk lies before it */

typedef struct extent {
  uint64_t start, size;
} extent;

typedef struct extents {
  extent *items; /* by where they begin */
  size_t count, room;
} extents;


static error *add(extents *x, uint64_t start, uint64_t size) {
  if (x->count == x->room) {
    size_t room = x->room * 2 + 64;
    extent *more = mem_grow(x->items, room * sizeof *more);
    if (more == NULL) return error_no_memory();
    x->items = more;
    x->room = room;
  }
  x->items[x->count++] = (extent){start, size};
  return NULL;
}


/* What one search found. Items are not aligned. */
static error *take(extents *x, const struct btrfs_ioctl_search_args_v2 *args,
                   uint64_t *last) {
  const unsigned char *at = (const unsigned char *)args->buf;
  const unsigned char *end = at + ROOM;
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && i < args->key.nr_items; i++) {
    struct btrfs_ioctl_search_header head;
    struct btrfs_dev_extent item;
    if ((size_t)(end - at) < sizeof head) break;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    if ((size_t)(end - at) < head.len) break;
    *last = head.offset;
    if (head.type == BTRFS_DEV_EXTENT_KEY && head.len >= sizeof item) {
      memcpy(&item, at, sizeof item);
      e = add(x, head.offset, le64toh(item.length));
    }
    at += head.len;
  }
  return e;
}


static error *read_all(int mount, uint64_t device, extents *x) {
  struct btrfs_ioctl_search_args_v2 *args = mem_alloc(sizeof *args + ROOM);
  uint64_t from = 0;
  error *e = NULL;
  if (args == NULL) return error_no_memory();
  while (e == NULL) {
    memset(args, 0, sizeof *args);
    args->key =
        (struct btrfs_ioctl_search_key){.tree_id = BTRFS_DEV_TREE_OBJECTID,
                                        .min_objectid = device,
                                        .max_objectid = device,
                                        .min_offset = from,
                                        .max_offset = UINT64_MAX,
                                        .max_transid = UINT64_MAX,
                                        .min_type = BTRFS_DEV_EXTENT_KEY,
                                        .max_type = BTRFS_DEV_EXTENT_KEY,
                                        .nr_items = UINT32_MAX};
    args->buf_size = ROOM;
    if (ioctl(mount, BTRFS_IOC_TREE_SEARCH_V2, args) != 0)
      e = vds_errno(errno, "btrfs does not tell where its chunks are", NULL);
    if (e != NULL || args->key.nr_items == 0) break;
    uint64_t last = from;
    e = take(x, args, &last);
    if (last == UINT64_MAX) break;
    from = last + 1;
  }
  mem_free(args);
  return e;
}


bool vds_btrfs_beyond(int mount, uint64_t device, uint64_t offset,
                      uint64_t *bytes) {
  extents x = {0};
  error *e = read_all(mount, device, &x);
  *bytes = 0;
  for (size_t i = 0; i < x.count; i++)
    if (x.items[i].start + x.items[i].size > offset) *bytes += x.items[i].size;
  bool good = e == NULL;
  error_unref(e);
  mem_free(x.items);
  return good;
}


uint64_t vds_btrfs_end(int mount, uint64_t device) {
  extents x = {0};
  uint64_t end = 0;
  error *e = read_all(mount, device, &x);
  if (e == NULL && x.count > 0)
    end = x.items[x.count - 1].start + x.items[x.count - 1].size;
  error_unref(e);
  mem_free(x.items);
  return end;
}


/* The first gap before `end` that is large enough is made smaller. */
static bool fill(extents *gaps, uint64_t size, uint64_t end) {
  for (size_t i = 0; i < gaps->count; i++) {
    extent *g = &gaps->items[i];
    if (g->size < size || g->start + size > end) continue;
    g->start += size;
    g->size -= size;
    return true;
  }
  return false;
}


static error *find_gaps(const extents *x, extents *gaps) {
  uint64_t at = FIRST;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < x->count; i++) {
    if (x->items[i].start > at) e = add(gaps, at, x->items[i].start - at);
    at = x->items[i].start + x->items[i].size;
  }
  return e;
}


/* Less than all chunks together it cannot be; the last ones go into gaps as
   long as there are some. The largest that moves is needed twice for a
   while. */
error *vds_btrfs_minimum(int mount, uint64_t device, uint64_t *size) {
  extents x = {0}, gaps = {0};
  uint64_t sum = FIRST, most = 0;
  error *e = read_all(mount, device, &x);
  if (e == NULL) e = find_gaps(&x, &gaps);
  *size = FIRST;
  for (size_t i = 0; i < x.count; i++) sum += x.items[i].size;
  for (size_t i = x.count; e == NULL && i-- > 0;) {
    const extent *last = &x.items[i];
    uint64_t end = last->start + last->size;
    *size = end;
    if (end <= sum || !fill(&gaps, last->size, last->start)) break;
    if (last->size > most) most = last->size;
    *size = sum;
  }
  if (*size < sum) *size = sum;
  *size += most;
  mem_free(x.items);
  mem_free(gaps.items);
  return e;
}
