/*
** dump_tar: a tree as a tar archive. What a plain header cannot say (long
** names, large numbers, parts of a second, attributes) stands in a pax header
** before it. A file that is damaged ends the archive: it could not be told
** later what is missing in it.
*/
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "repository/dump_parts.h"

#define BLOCK 512

typedef struct header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], check[8];
  char type, target[100], magic[6], version[2], user[32], group[32];
  char major[8], minor[8], prefix[155], rest[12];
} header;

_Static_assert(sizeof(header) == BLOCK, "a header is a block");

static const char zeros[2 * BLOCK];


/* ------------------------------------------------------------------
** Headers
** ---------------------------------------------------------------- */

/* False: it does not fit, and is 0. */
static bool put_octal(char *field, size_t size, uint64_t n) {
  bool fits = size > 21 || n < (uint64_t)1 << (3 * (size - 1));
  snprintf(field, size, "%0*" PRIo64, (int)size - 1, fits ? n : 0);
  return fits;
}

static bool put_name(char *field, size_t size, const char *text,
                     size_t length) {
  bool fits = length <= size;
  memcpy(field, text, fits ? length : size);
  return fits;
}

static void put_check(header *h) {
  unsigned sum = 0;
  memset(h->check, ' ', sizeof h->check);
  for (size_t i = 0; i < sizeof *h; i++) sum += ((unsigned char *)h)[i];
  snprintf(h->check, sizeof h->check, "%06o", sum & 0777777u);
}

/* "LENGTH NAME=VALUE\n", where the length counts itself. */
static void put_record(buffer *b, const char *name, const void *data,
                       size_t size) {
  size_t rest = strlen(name) + size + 3, length = rest + 1;
  char digits[24];
  for (;;) {
    int n = snprintf(digits, sizeof digits, "%zu", length);
    if (rest + (size_t)n == length) break;
    length = rest + (size_t)n;
  }
  buffer_format(b, "%zu %s=", length, name);
  buffer_put(b, data, size);
  buffer_byte(b, '\n');
}

static void put_number(buffer *b, const char *name, uint64_t n) {
  char text[24];
  put_record(b, name, text, (size_t)snprintf(text, sizeof text, "%" PRIu64, n));
}

/* Seconds before 1970 are negative, and the fraction goes the other way. */
static void put_time(buffer *b, const char *name, struct timespec t) {
  char text[48];
  int n;
  if (t.tv_sec < 0 && t.tv_nsec > 0)
    n = snprintf(text, sizeof text, "-%" PRId64 ".%09ld",
                 -(int64_t)(t.tv_sec + 1), 1000000000 - t.tv_nsec);
  else
    n = snprintf(text, sizeof text, "%" PRId64 ".%09ld", (int64_t)t.tv_sec,
                 t.tv_nsec);
  put_record(b, name, text, (size_t)n);
}

static error *write_padding(dump *d, uint64_t size) {
  size_t over = (size_t)(size % BLOCK);
  return over != 0 ? repo_dump_write(d, zeros, BLOCK - over) : NULL;
}

static error *write_pax(dump *d, const buffer *b) {
  header h;
  memset(&h, 0, sizeof h);
  if (b->failed) return error_no_memory();
  if (b->size == 0) return NULL;
  put_name(h.name, sizeof h.name, "PaxHeaders/saros", 16);
  put_octal(h.mode, sizeof h.mode, 0644);
  put_octal(h.uid, sizeof h.uid, 0);
  put_octal(h.gid, sizeof h.gid, 0);
  put_octal(h.size, sizeof h.size, b->size);
  put_octal(h.mtime, sizeof h.mtime, 0);
  h.type = 'x';
  memcpy(h.magic, "ustar", 6);
  memcpy(h.version, "00", 2);
  put_check(&h);
  error *e = repo_dump_write(d, &h, sizeof h);
  if (e == NULL) e = repo_dump_write(d, b->data, b->size);
  return e != NULL ? e : write_padding(d, b->size);
}


/* ------------------------------------------------------------------
** Nodes
** ---------------------------------------------------------------- */

static char type_of(const repo_node *n) {
  switch (n->type) {
    case REPO_NODE_FILE: return '0';
    case REPO_NODE_SYMLINK: return '2';
    case REPO_NODE_CHARACTER: return '3';
    case REPO_NODE_DEVICE: return '4';
    case REPO_NODE_DIRECTORY: return '5';
    case REPO_NODE_FIFO: return '6';
    case REPO_NODE_SOCKET:
    case REPO_NODE_OTHER: break;
  }
  return 0;
}

static void put_attributes(buffer *pax, const repo_node *n) {
  char name[300];
  for (size_t i = 0; i < n->attribute_count; i++) {
    const repo_attribute *a = &n->attributes[i];
    snprintf(name, sizeof name, "SCHILY.xattr.%.255s", a->name);
    put_record(pax, name, a->data, a->size);
  }
}

static void fill(header *h, buffer *pax, const char *path, size_t length,
                 const repo_node *n, uint64_t size) {
  memset(h, 0, sizeof *h);
  bool directory = n->type == REPO_NODE_DIRECTORY;
  if (!put_name(h->name, sizeof h->name, path, length))
    put_record(pax, "path", path, length);
  put_octal(h->mode, sizeof h->mode, n->mode & 07777u);
  if (!put_octal(h->uid, sizeof h->uid, n->uid)) put_number(pax, "uid", n->uid);
  if (!put_octal(h->gid, sizeof h->gid, n->gid)) put_number(pax, "gid", n->gid);
  if (!put_octal(h->size, sizeof h->size, directory ? 0 : size))
    put_number(pax, "size", size);
  bool plain = n->mtime.tv_sec >= 0 &&
               put_octal(h->mtime, sizeof h->mtime, (uint64_t)n->mtime.tv_sec);
  if (!plain) put_octal(h->mtime, sizeof h->mtime, 0);
  if (!plain || n->mtime.tv_nsec != 0) put_time(pax, "mtime", n->mtime);
  h->type = type_of(n);
  if (n->target != NULL &&
      !put_name(h->target, sizeof h->target, n->target, n->target_size))
    put_record(pax, "linkpath", n->target, n->target_size);
  memcpy(h->magic, "ustar", 6);
  memcpy(h->version, "00", 2);
  if (n->user != NULL) snprintf(h->user, sizeof h->user, "%s", n->user);
  if (n->group != NULL) snprintf(h->group, sizeof h->group, "%s", n->group);
  bool device = n->type == REPO_NODE_DEVICE || n->type == REPO_NODE_CHARACTER;
  put_octal(h->major, sizeof h->major, device ? major(n->device) : 0);
  put_octal(h->minor, sizeof h->minor, device ? minor(n->device) : 0);
  put_attributes(pax, n);
  put_check(h);
}

/* What is there is dumped: the archive is good, and it is told. */
static error *tell_size(dump *d, const repo_walk_at *at, const repo_node *n,
                        uint64_t size) {
  if (size == n->size) return NULL;
  return repo_listing_tell(
      &d->l, at->path,
      repo_error(SAROS_E_DAMAGED,
                 "it should have %llu bytes, and its content has %llu: that "
                 "was dumped",
                 (unsigned long long)n->size, (unsigned long long)size));
}

static error *tar_node(void *context, const repo_walk_at *at,
                       const repo_node *n, bool *enter, uint64_t *mark) {
  dump *d = context;
  buffer pax = BUFFER_EMPTY, path = BUFFER_EMPTY;
  header h;
  uint64_t size = 0;
  (void)enter, (void)mark;
  if (type_of(n) == 0) return NULL; /* a socket */
  error *e = NULL;
  if (n->type == REPO_NODE_FILE) e = repo_dump_size(d, n, &size);
  if (e != NULL) return error_because(repo_error(e->code, "%s", at->path), e);
  if (n->type == REPO_NODE_FILE && (e = tell_size(d, at, n, size)) != NULL)
    return e;
  buffer_put(&path, at->path + 1, at->size - 1);
  if (n->type == REPO_NODE_DIRECTORY) buffer_byte(&path, '/');
  if (path.failed) {
    buffer_free(&path);
    return error_no_memory();
  }
  fill(&h, &pax, path.data, path.size, n, size);
  e = write_pax(d, &pax);
  if (e == NULL) e = repo_dump_write(d, &h, sizeof h);
  uint64_t before = d->done;
  if (e == NULL && n->type == REPO_NODE_FILE) e = repo_dump_content(d, n);
  if (e == NULL && d->done - before != size)
    e = repo_error(SAROS_E_DAMAGED,
                   "%s: it has another size than by the index: repair the "
                   "index",
                   at->path);
  if (e == NULL) e = write_padding(d, size);
  buffer_free(&pax);
  buffer_free(&path);
  return e;
}

static error *tar_damaged(void *context, const repo_walk_at *at, error *e) {
  return repo_listing_tell(context, at->path, e);
}

error *repo_dump_tar(dump *d, const repo_id *tree) {
  repo_walk w = {tar_node, NULL, tar_damaged, d};
  error *e = repo_walk_tree(d->l.blobs, tree, 0, &w, &d->l.h->stop);
  return e != NULL ? e : repo_dump_write(d, zeros, sizeof zeros);
}
