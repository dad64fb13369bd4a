/*
** What the suites about the repository's small files share: bytes from hex, a
** store in memory that can be made to lie, and a look into directories.
*/
#ifndef SAROS_REPO_CASE_H
#define SAROS_REPO_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "repository/store.h"

/* What is cheap enough to be derived a hundred times. */
#define CHEAP \
  { 16, 8, 1 }

static inline size_t hex(uint8_t *out, const char *text) {
  size_t n = 0;
  for (; text[0] != '\0'; text++) {
    unsigned byte;
    if (*text == ' ') continue;
    if (sscanf(text, "%2x", &byte) != 1) break;
    out[n++] = (uint8_t)byte;
    text++;
  }
  return n;
}

/* Checks the code, and that the message is for a person. */
static inline void check_error(error *e, uint32_t code, int line) {
  if (e == NULL || e->code != code) {
    check_bad++;
    printf("line %d: 0x%x (%s), not 0x%x\n", line, e != NULL ? e->code : 0,
           e != NULL ? e->message : "no error", code);
  }
  error_unref(e);
}
#define CHECK_ERROR(e, code) check_error(e, code, __LINE__)
#define CHECK_GOOD(e) check_error_none(e, __LINE__)

static inline void check_error_none(error *e, int line) {
  if (e == NULL) return;
  check_bad++;
  printf("line %d: 0x%x %s\n", line, e->code, e->message);
  error_unref(e);
}


/* ------------------------------------------------------------------
** A store in memory
** ---------------------------------------------------------------- */

typedef struct memory_file {
  repo_file kind;
  repo_id id;
  char *data;
  size_t size;
} memory_file;

typedef struct memory_store {
  repo_store store; /* first */
  memory_file files[256];
  size_t count;
  int loads;      /* how many were asked for */
  int bad_loads;  /* so many of the next ones get a wrong byte */
  int fail_saves; /* so many of the next ones fail */
  int fail_loads;
} memory_store;

static inline memory_file *memory_find(repo_store *s, repo_file kind,
                                       const repo_id *id) {
  memory_store *m = (memory_store *)s;
  for (size_t i = 0; i < m->count; i++)
    if (m->files[i].kind == kind &&
        (kind == REPO_CONFIG || repo_id_equal(&m->files[i].id, id)))
      return &m->files[i];
  return NULL;
}

static inline error *memory_list(repo_store *s, repo_file kind,
                                 repo_store_each each, void *context,
                                 const repo_stop *stop) {
  memory_store *m = (memory_store *)s;
  if (repo_stopped(stop)) return repo_error(SAROS_E_CANCELLED, "cancelled");
  for (size_t i = 0; i < m->count; i++) {
    if (m->files[i].kind != kind) continue;
    error *e = each(context, &m->files[i].id, m->files[i].size);
    if (e != NULL) return e;
  }
  return NULL;
}

static inline error *memory_load(repo_store *s, repo_file kind,
                                 const repo_id *id, size_t most, buffer *b,
                                 const repo_stop *stop) {
  memory_store *m = (memory_store *)s;
  m->loads++;
  if (repo_stopped(stop)) return repo_error(SAROS_E_CANCELLED, "cancelled");
  if (m->fail_loads > 0) {
    m->fail_loads--;
    return error_of_errno(SAROS_FACADE_SAROS, EIO, "it cannot be read", NULL);
  }
  memory_file *f = memory_find(s, kind, id);
  if (f == NULL)
    return error_of_errno(SAROS_FACADE_SAROS, ENOENT, "not there", NULL);
  if (f->size > most) return repo_error(SAROS_E_DAMAGED, "it is too large");
  buffer_put(b, f->data, f->size);
  if (b->failed) return error_no_memory();
  if (m->bad_loads > 0 && f->size > 0) {
    m->bad_loads--;
    b->data[b->size / 2] ^= 1;
  }
  return NULL;
}

static inline error *memory_save(repo_store *s, repo_file kind,
                                 const repo_id *id, const repo_piece *pieces,
                                 size_t count, bool replace,
                                 const repo_stop *stop) {
  memory_store *m = (memory_store *)s;
  if (repo_stopped(stop)) return repo_error(SAROS_E_CANCELLED, "cancelled");
  if (m->fail_saves > 0) {
    m->fail_saves--;
    return error_of_errno(SAROS_FACADE_SAROS, ENOSPC, "no room", NULL);
  }
  memory_file *f = memory_find(s, kind, id);
  if (f != NULL && kind == REPO_CONFIG && !replace)
    return error_of_errno(SAROS_FACADE_SAROS, EEXIST, "the config", NULL);
  if (f != NULL && kind != REPO_CONFIG) return NULL;
  if (f == NULL) {
    f = &m->files[m->count++];
    *f = (memory_file){.kind = kind};
    if (id != NULL) f->id = *id;
  }
  free(f->data);
  f->data = NULL;
  f->size = 0;
  for (size_t i = 0; i < count; i++) {
    f->data = realloc(f->data, f->size + pieces[i].size + 1);
    memcpy(f->data + f->size, pieces[i].data, pieces[i].size);
    f->size += pieces[i].size;
  }
  return NULL;
}

static inline error *memory_size(repo_store *s, repo_file kind,
                                 const repo_id *id, uint64_t *size,
                                 const repo_stop *stop) {
  (void)stop;
  memory_file *f = memory_find(s, kind, id);
  if (f == NULL)
    return error_of_errno(SAROS_FACADE_SAROS, ENOENT, "not there", NULL);
  *size = f->size;
  return NULL;
}

static inline error *memory_remove(repo_store *s, repo_file kind,
                                   const repo_id *id, const repo_stop *stop) {
  memory_store *m = (memory_store *)s;
  (void)stop;
  memory_file *f = memory_find(s, kind, id);
  if (f == NULL) return NULL;
  free(f->data);
  *f = m->files[--m->count];
  return NULL;
}

static const repo_store_way memory_way = {
    .name = "memory",
    .list = memory_list,
    .load = memory_load,
    .save = memory_save,
    .size = memory_size,
    .remove = memory_remove,
};

#define MEMORY_STORE \
  { .store = {&memory_way, "memory", 1}, .count = 0 }

static inline void memory_clear(memory_store *m) {
  for (size_t i = 0; i < m->count; i++) free(m->files[i].data);
  m->count = 0;
}


/* ------------------------------------------------------------------
** From a directory, and to one
** ---------------------------------------------------------------- */

static const char *const memory_folders[] = {"config",    "keys",  "locks",
                                             "snapshots", "index", "data"};

static inline char *read_whole(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) return NULL;
  char *data = malloc(1 << 20);
  *size = fread(data, 1, 1 << 20, f);
  fclose(f);
  return data;
}

/* How many files of that kind it has now. */
static inline size_t memory_fill(memory_store *m, const char *root,
                                 repo_file kind) {
  char path[4096];
  size_t before = m->count;
  snprintf(path, sizeof path, "%s/%s", root, memory_folders[kind]);
  if (kind == REPO_CONFIG) {
    memory_file *f = &m->files[m->count];
    *f = (memory_file){.kind = kind};
    f->data = read_whole(path, &f->size);
    if (f->data != NULL) m->count++;
    return m->count - before;
  }
  DIR *d = opendir(path);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    memory_file *f = &m->files[m->count];
    *f = (memory_file){.kind = kind};
    if (!repo_id_parse(&f->id, e->d_name, strlen(e->d_name))) continue;
    snprintf(path, sizeof path, "%s/%s/%s", root, memory_folders[kind],
             e->d_name);
    f->data = read_whole(path, &f->size);
    if (f->data != NULL) m->count++;
  }
  if (d != NULL) closedir(d);
  return m->count - before;
}

static inline void memory_pour(const memory_store *m, const char *root) {
  char path[4096], name[REPO_ID_TEXT];
  mkdir(root, 0700);
  for (int i = REPO_KEYS; i <= REPO_PACKS; i++) {
    snprintf(path, sizeof path, "%s/%s", root, memory_folders[i]);
    mkdir(path, 0700);
  }
  for (size_t i = 0; i < m->count; i++) {
    const memory_file *f = &m->files[i];
    repo_id_format(&f->id, name);
    if (f->kind == REPO_CONFIG)
      snprintf(path, sizeof path, "%s/config", root);
    else
      snprintf(path, sizeof path, "%s/%s/%s", root, memory_folders[f->kind],
               name);
    unlink(path);
    FILE *out = fopen(path, "wb");
    CHECK(out != NULL);
    if (out == NULL) continue;
    CHECK_INT(fwrite(f->data, 1, f->size, out), f->size);
    fclose(out);
  }
}

#endif
