/*
** mount_file: reading a file that is mounted, by pieces that are loaded when
** they are asked for.
*/
#include <errno.h>
#include <string.h>

#include "repository/mount_parts.h"

int mount_file_open(mounted *m, mount_node *n, mount_file **file) {
  if (n->kind != MOUNT_FILE) return EINVAL;
  mount_file *f =
      mem_alloc(sizeof *f + (n->content_count + 1) * sizeof f->starts[0]);
  uint64_t at = 0;
  if (f == NULL) return ENOMEM;
  f->handle.is_listing = false;
  f->of = n;
  for (size_t i = 0; i < n->content_count; i++) {
    char text[REPO_ID_TEXT];
    repo_place p;
    f->starts[i] = at;
    if (repo_index_find(m->index, REPO_DATA, &n->content[i], 0, &p)) {
      at += repo_blob_size(&p.blob);
      continue;
    }
    mem_free(f);
    repo_id_format(&n->content[i], text);
    return mount_errno(
        m, repo_error(SAROS_E_DAMAGED,
                      "the data blob %s is in no pack that the index knows",
                      text));
  }
  f->starts[n->content_count] = at;
  mount_handle_keep(m, &f->handle);
  *file = f;
  return 0;
}

/* The piece in which an offset is. */
static size_t piece_at(const mount_file *f, uint64_t offset) {
  size_t low = 0, high = f->of->content_count;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (f->starts[middle] <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

ssize_t mount_file_read(mounted *m, const mount_file *f, uint64_t offset,
                        char *into, size_t size) {
  size_t count = f->of->content_count, done = 0;
  for (size_t i = piece_at(f, offset); i < count && done < size; i++) {
    repo_bytes *bytes;
    if (offset >= f->starts[i + 1]) continue;
    error *e = repo_blobs_load(m->blobs, REPO_DATA, &f->of->content[i], &bytes,
                               &m->stop);
    if (e != NULL) return -mount_errno(m, e);
    size_t from = (size_t)(offset - f->starts[i]);
    size_t n = bytes->size > from ? bytes->size - from : 0;
    if (n > size - done) n = size - done;
    memcpy(into + done, bytes->data + from, n);
    repo_bytes_free(m->blobs, bytes);
    done += n;
    offset += n;
  }
  return (ssize_t)done;
}
