/*
** restore_case: what the suites about restoring share. What a tree of files is,
** as a text: two trees are the same when their texts are. A small writer of
** repositories, which puts into them what nobody honest would. And the
** operation, begun and waited for.
*/
#ifndef SAROS_RESTORE_CASE_H
#define SAROS_RESTORE_CASE_H

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "cheap_case.h"
#include "gate.h"
#include "repository/call.h"
#include "repository/repo_parts.h"
#include "restic_case.h"
#include "store_case.h"

/* ------------------------------------------------------------------
** A tree as a text
** ---------------------------------------------------------------- */

typedef struct describing {
  buffer *out;
  struct {
    dev_t dev;
    ino_t ino;
    char *path;
  } seen[64]; /* those with further names */
  unsigned count;
  bool temps; /* what is half written was found */
} describing;

static inline int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void put_own_attributes(buffer *out, const char *path) {
  char names[4096], data[4096], *list[64];
  ssize_t size = llistxattr(path, names, sizeof names);
  unsigned count = 0;
  for (ssize_t i = 0; i < size && count < 64;
       i += (ssize_t)strlen(names + i) + 1)
    list[count++] = names + i;
  qsort(list, count, sizeof list[0], by_text);
  for (unsigned i = 0; i < count; i++) {
    ssize_t n = lgetxattr(path, list[i], data, sizeof data);
    buffer_format(out, " %s=", list[i]);
    for (ssize_t k = 0; k < n; k++)
      buffer_format(out, "%02x", (unsigned)(unsigned char)data[k]);
  }
}

static inline void put_content(buffer *out, const char *path) {
  static char bytes[1 << 20];
  char text[REPO_ID_TEXT];
  repo_id id;
  repo_hash *h = repo_hash_new();
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOATIME);
  for (ssize_t n; fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0;)
    repo_hash_add(h, bytes, (size_t)n);
  if (fd >= 0) close(fd);
  repo_hash_end(h, &id);
  repo_hash_free(h);
  repo_id_format(&id, text);
  buffer_format(out, " %s", text);
}

static inline void describe_one(describing *d, const char *path, size_t root,
                                const struct stat *st) {
  buffer *out = d->out;
  char target[4097];
  text_escape(out, path + root, strlen(path + root));
  buffer_format(out, " %o %u:%u %lld.%09ld", (unsigned)st->st_mode,
                (unsigned)st->st_uid, (unsigned)st->st_gid,
                (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
  if (S_ISREG(st->st_mode)) {
    buffer_format(out, " %lld", (long long)st->st_size);
    put_content(out, path);
  }
  if (S_ISLNK(st->st_mode)) {
    ssize_t n = readlink(path, target, sizeof target);
    buffer_text(out, " -> ");
    text_escape(out, target, n > 0 ? (size_t)n : 0);
  }
  if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
    buffer_format(out, " %u,%u", major(st->st_rdev), minor(st->st_rdev));
  put_own_attributes(out, path);
  unsigned i = 0;
  while (i < d->count &&
         (d->seen[i].dev != st->st_dev || d->seen[i].ino != st->st_ino))
    i++;
  if (i < d->count) {
    buffer_text(out, " is ");
    text_escape(out, d->seen[i].path, strlen(d->seen[i].path));
  } else if (st->st_nlink > 1 && !S_ISDIR(st->st_mode) && i < 64) {
    d->seen[i].dev = st->st_dev;
    d->seen[i].ino = st->st_ino;
    d->seen[d->count++].path = mem_text(path + root);
  }
  buffer_byte(out, '\n');
}

static inline void describe_below(describing *d, const char *folder,
                                  size_t root) {
  char *names[2048];
  unsigned count = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
        count < 2048)
      names[count++] = mem_text(e->d_name);
  if (dir != NULL) closedir(dir);
  qsort(names, count, sizeof names[0], by_text);
  for (unsigned i = 0; i < count; i++) {
    char *path = path_join(folder, names[i]);
    struct stat st;
    if (strncmp(names[i], ".saros-restore-", 15) == 0) d->temps = true;
    if (path != NULL && lstat(path, &st) == 0) {
      describe_one(d, path, root, &st);
      if (S_ISDIR(st.st_mode)) describe_below(d, path, root);
    }
    mem_free(path);
    mem_free(names[i]);
  }
}

/* All below it, but not itself. */
static inline char *described_with(const char *folder, bool *temps) {
  buffer b = BUFFER_EMPTY;
  describing d = {.out = &b};
  buffer_text(&b, "");
  describe_below(&d, folder, strlen(folder));
  for (unsigned i = 0; i < d.count; i++) mem_free(d.seen[i].path);
  if (temps != NULL) *temps = d.temps;
  return buffer_take(&b);
}

static inline char *described(const char *folder) {
  return described_with(folder, NULL);
}

/* The first line that is different is printed. */
static inline bool same_text(char *a, char *b) {
  bool same = a != NULL && b != NULL && strcmp(a, b) == 0;
  const char *x = a != NULL ? a : "", *y = b != NULL ? b : "";
  while (!same && strcspn(x, "\n") == strcspn(y, "\n") && *x != '\0' &&
         strncmp(x, y, strcspn(x, "\n")) == 0) {
    x += strcspn(x, "\n") + 1;
    y += strcspn(y, "\n") + 1;
  }
  if (!same)
    printf("not the same:\n  %.*s\n  %.*s\n", (int)strcspn(x, "\n"), x,
           (int)strcspn(y, "\n"), y);
  mem_free(a);
  mem_free(b);
  return same;
}

static inline bool same_trees(const char *a, const char *b) {
  return same_text(described(a), described(b));
}


/* ------------------------------------------------------------------
** The operation
** ---------------------------------------------------------------- */

static inline repo *restore_open(const char *path, const char *password) {
  error *e = NULL;
  value *o = value_map();
  value_put(o, "location", value_text(path));
  value_put(o, "password", value_text(password));
  value_put(o, "durable", value_bool(false));
  repo *r = repo_new(o, &e);
  value_free(o);
  if (r != NULL) e = repo_open(r, NULL);
  if (e != NULL) printf("cannot open %s: %s\n", path, e->message);
  CHECK(e == NULL);
  error_unref(e);
  repo_lock_time.settle = 1;
  return r;
}

/* Options as a JSON text: no bytes that are not UTF-8 in them. */
static inline value *json_options(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static inline value *json_options(const char *format, ...) {
  char text[4096];
  va_list args;
  error *e = NULL;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (char *c = text; *c != '\0'; c++)
    if (*c == '\'') *c = '"';
  value *v = json_read(text, strlen(text), NULL, &e);
  if (v == NULL) printf("%s: %s\n", text, e->message);
  CHECK(v != NULL);
  error_unref(e);
  return v;
}

static inline saros_op *call_begin(repo *r, const char *work, value *options) {
  uint32_t why = 0;
  const repo_work *w = repo_work_find(work);
  CHECK(w != NULL);
  saros_op *op = repo_call_begin(r, w, options, NULL, &why);
  CHECK_INT(why, 0);
  return op;
}

typedef struct call_result {
  uint32_t code;
  value *output;
  char message[1000];
} call_result;

static inline call_result call_end(saros_op *op) {
  call_result c = {0};
  CHECK(saros_op_wait(op, 10 * GATE_BOUND_MS) == 1);
  c.code = saros_op_code(op);
  const value *out = op_output(op);
  if (out != NULL) c.output = value_copy(out);
  error *e = op_error(op);
  if (e != NULL) snprintf(c.message, sizeof c.message, "%s", e->message);
  error_unref(e);
  saros_op_unref(op);
  if (getenv("V") != NULL && c.message[0] != '\0')
    printf("  (%s)\n", c.message);
  return c;
}

static inline call_result call_now(repo *r, const char *work, value *options) {
  return call_end(call_begin(r, work, options));
}

static inline void call_free(call_result *c) {
  value_free(c->output);
  c->output = NULL;
}

static inline int64_t call_number(const call_result *c, const char *name) {
  return value_integer(value_get(c->output, name), -1);
}

static inline unsigned call_errors(const call_result *c) {
  const value *list = value_get(c->output, "errors");
  if (getenv("V") != NULL)
    for (uint32_t i = 0; list != NULL && i < list->count; i++)
      printf("  (%s: %s)\n",
             value_chars(value_get(list->as.items[i], "path"), "?"),
             value_chars(value_get(list->as.items[i], "message"), "?"));
  return list != NULL ? list->count : 0;
}

/* Whether one of the errors is of this path, and says that. */
static inline bool call_tells(const call_result *c, const char *path,
                              const char *says) {
  const value *list = value_get(c->output, "errors");
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(value_chars(value_get(list->as.items[i], "path"), ""), path) ==
            0 &&
        strstr(value_chars(value_get(list->as.items[i], "message"), ""), says))
      return true;
  return false;
}


/* ------------------------------------------------------------------
** A writer of repositories
** ---------------------------------------------------------------- */

static inline repo *writer_new(const char *path) {
  error *e = NULL;
  value *o = value_map();
  value_put(o, "location", value_text(path));
  value_put(o, "password", value_text("x"));
  value_put(o, "durable", value_bool(false));
  repo *r = repo_new(o, &e);
  value_free(o);
  repo_cost_test = &store_cheap;
  if (r != NULL) e = repo_create(r, NULL);
  CHECK(e == NULL);
  error_unref(e);
  repo_lock_time.settle = 1;
  return r;
}

/* A blob in a pack of its own, and an index that says so; `claims` is what the
   index says of it, NULL: the truth. */
static inline repo_id put_blob_as(repo *r, repo_blob_type type,
                                  const void *data, size_t size,
                                  const repo_blob *claims) {
  repo_tool *tool;
  repo_blob b = {.type = (uint8_t)type, .length = (uint32_t)(size + REPO_SEAL)};
  repo_id pack, index;
  const void *bytes;
  size_t length;
  repo_id_of(&b.id, data, size);
  CHECK(repo_tools_take(r->tools, &tool) == NULL);
  repo_pack *p = repo_pack_new(type, REPO_PACK_LEAST);
  void *room = repo_pack_room(p, b.length);
  CHECK(repo_seal(tool->sealer, data, size, room) == NULL);
  CHECK(repo_pack_add(p, &b) == NULL);
  CHECK(repo_pack_end(p, tool->sealer, &bytes, &length, &pack) == NULL);
  repo_piece piece = {bytes, length};
  CHECK(r->store->way->save(r->store, REPO_PACKS, &pack, &piece, 1, false,
                            NULL) == NULL);
  if (claims != NULL) {
    repo_blob c = *claims;
    if (c.length == 0) c.length = b.length;
    b = c;
  }
  repo_index_text t = {BUFFER_EMPTY, 0};
  repo_index_text_add(&t, &pack, &b, 1);
  repo_index_text_end(&t);
  CHECK(repo_tools_save(r->tools, r->store, REPO_INDEXES, t.json.data,
                        t.json.size, &index, NULL) == NULL);
  buffer_free(&t.json);
  repo_pack_free(p);
  repo_tools_give(r->tools, tool);
  return b.id;
}

static inline repo_id put_blob(repo *r, repo_blob_type type, const void *data,
                               size_t size) {
  return put_blob_as(r, type, data, size, NULL);
}

#define NODE_REST                                                  \
  "'mtime':'2020-01-02T03:04:05Z','atime':'2020-01-02T03:04:05Z'," \
  "'ctime':'2020-01-02T03:04:05Z','uid':0,'gid':0"

/* A tree of nodes as JSON, in which ' is ". */
static inline repo_id put_tree(repo *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline repo_id put_tree(repo *r, const char *format, ...) {
  static char nodes[65536], text[70000];
  va_list args;
  va_start(args, format);
  vsnprintf(nodes, sizeof nodes, format, args);
  va_end(args);
  snprintf(text, sizeof text, "{'nodes':[%s]}\n", nodes);
  for (char *c = text; *c != '\0'; c++)
    if (*c == '\'') *c = '"';
  return put_blob(r, REPO_TREE, text, strlen(text));
}

static inline const char *id_text(repo_id id);

/* Directories, each in the one before, and `tree` in the last: all of them in
   one pack. The first one's id. */
static inline repo_id put_deep(repo *r, repo_id tree, unsigned levels) {
  repo_tool *tool;
  repo_id pack, index;
  const void *bytes;
  size_t length;
  char text[500];
  repo_blob *all = calloc(levels, sizeof *all);
  CHECK(repo_tools_take(r->tools, &tool) == NULL);
  repo_pack *p = repo_pack_new(REPO_TREE, REPO_PACK_LEAST);
  for (unsigned i = 0; i < levels; i++) {
    int size = snprintf(text, sizeof text,
                        "{'nodes':[{'name':'d','type':'dir','mode':2147484141,"
                        "'content':null,'subtree':'%s'," NODE_REST "}]}\n",
                        id_text(tree));
    for (char *c = text; *c != '\0'; c++)
      if (*c == '\'') *c = '"';
    repo_id_of(&tree, text, (size_t)size);
    all[i] = (repo_blob){
        .type = REPO_TREE, .id = tree, .length = (uint32_t)size + REPO_SEAL};
    void *room = repo_pack_room(p, all[i].length);
    CHECK(repo_seal(tool->sealer, text, (size_t)size, room) == NULL);
    CHECK(repo_pack_add(p, &all[i]) == NULL);
  }
  CHECK(repo_pack_end(p, tool->sealer, &bytes, &length, &pack) == NULL);
  repo_piece piece = {bytes, length};
  CHECK(r->store->way->save(r->store, REPO_PACKS, &pack, &piece, 1, false,
                            NULL) == NULL);
  repo_index_text t = {BUFFER_EMPTY, 0};
  repo_index_text_add(&t, &pack, all, levels);
  repo_index_text_end(&t);
  CHECK(repo_tools_save(r->tools, r->store, REPO_INDEXES, t.json.data,
                        t.json.size, &index, NULL) == NULL);
  buffer_free(&t.json);
  repo_pack_free(p);
  repo_tools_give(r->tools, tool);
  free(all);
  return tree;
}

static inline const char *id_text(repo_id id) {
  static char texts[64][REPO_ID_TEXT];
  static unsigned next;
  char *text = texts[next++ % 64];
  repo_id_format(&id, text);
  return text;
}

/* A version with this tree; its id, which lasts. */
static inline const char *put_version(repo *r, repo_id tree) {
  static char versions[100][REPO_ID_TEXT];
  static unsigned next;
  char text[400];
  repo_id id;
  snprintf(text, sizeof text,
           "{\"time\":\"2020-01-02T03:04:05Z\",\"tree\":\"%s\",\"paths\":[\"/"
           "x\"],\"hostname\":\"h\"}",
           id_text(tree));
  CHECK(repo_tools_save(r->tools, r->store, REPO_SNAPSHOTS, text, strlen(text),
                        &id, NULL) == NULL);
  repo_id_format(&id, versions[next % 100]);
  return versions[next++ % 100];
}

#endif
