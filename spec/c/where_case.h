/*
** where_case: one story about a repository, told of a directory and of buckets:
** that of the small server in spec/s3, and Ceph's. What the story needs: a tree
** that changes from backup to backup, a repository that has some versions of
** it, copies of that elsewhere, and whether everything in one is as it was.
*/
#ifndef SAROS_SPEC_WHERE_CASE_H
#define SAROS_SPEC_WHERE_CASE_H

#include "care_case.h"
#include "s3_case.h"

typedef enum where_kind { WHERE_FOLDER, WHERE_BUCKET, WHERE_CEPH } where_kind;

typedef struct where {
  where_kind kind;
  char location[200];
} where;

static const char *const where_names[] = {"a directory", "a bucket", "Ceph"};

/* Ceph's, when it runs. */
static int ceph_port, ceph_osd;
static char ceph_folder[100], ceph_access[64], ceph_secret[64];

/* Where the tree is; the texts of what it was, from 1. */
#define WHERE_STATES 6
static char *where_texts[WHERE_STATES];
static int where_state;


/* ------------------------------------------------------------------
** Places
** ---------------------------------------------------------------- */

/* Ours and restic's keys are the environment's. */
static inline void where_env(const where *w) {
  bool ceph = w->kind == WHERE_CEPH;
  setenv("AWS_ACCESS_KEY_ID", ceph ? ceph_access : ACCESS, 1);
  setenv("AWS_SECRET_ACCESS_KEY", ceph ? ceph_secret : SECRET, 1);
}

/* One with nothing in it, called so; what was in it is gone. */
static inline where where_new(where_kind kind, const char *name) {
  static unsigned count;
  where w = {.kind = kind};
  if (kind == WHERE_FOLDER) {
    snprintf(w.location, sizeof w.location, "%.150s", care_at(name));
    SHELL("rm -rf '%s'", w.location);
  } else if (kind == WHERE_BUCKET) {
    control("/!clear", "");
    snprintf(w.location, sizeof w.location, "s3:http://127.0.0.1:%d/buck/%s",
             s.port, name);
  } else {
    snprintf(w.location, sizeof w.location, "s3:http://127.0.0.1:%d/buck/%s%u",
             ceph_port, name, ++count);
  }
  where_env(&w);
  return w;
}

/* With these options besides, as JSON; it is not open yet. */
static inline repo *where_repo(const where *w, const char *more) {
  error *e = NULL;
  value *o = json_options("%s", more);
  value_put(o, "location", value_text(w->location));
  value_put(o, "password", value_text("x"));
  value_put(o, "durable", value_bool(false));
  where_env(w);
  repo *r = repo_new(o, &e);
  value_free(o);
  FINE(e);
  repo_lock_time.settle = 1;
  repo_lock_time.retry_least = 20;
  repo_lock_time.retry_most = 100;
  repo_s3_backoff_ms = 20;
  return r;
}

static inline repo *where_open_with(const where *w, const char *more) {
  repo *r = where_repo(w, more);
  error *e = r != NULL ? repo_open(r, NULL) : NULL;
  if (e != NULL) printf("cannot open %s: %s\n", w->location, e->message);
  CHECK(e == NULL);
  error_unref(e);
  return r;
}

static inline repo *where_open(const where *w) {
  return where_open_with(w, "{}");
}

/* What restic is asked of it. */
static inline bool where_restic(const where *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool where_restic(const where *w, const char *format, ...) {
  char command[1000];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  where_env(w);
  return run_shell(NULL,
                   "restic --no-cache -q -r '%s' %s >'%s/restic' 2>&1 || { "
                   "cat '%s/restic'; false; }",
                   w->location, command, care_base, care_base);
}


/* ------------------------------------------------------------------
** Copies
** ---------------------------------------------------------------- */

typedef struct where_copying {
  repo_store *from, *to;
  repo_file kind;
} where_copying;

static inline error *where_copy_one(void *context, const repo_id *id,
                                    uint64_t size) {
  where_copying *c = context;
  buffer b = BUFFER_EMPTY;
  (void)size;
  error *e =
      c->from->way->load(c->from, c->kind, id, (size_t)1 << 30, &b, NULL);
  repo_piece piece = {b.data, b.size};
  if (e == NULL)
    e = c->to->way->save(c->to, c->kind, id, &piece, 1, false, NULL);
  buffer_free(&b);
  return e;
}

/* From a directory to anywhere; the config comes last. */
static inline where where_copy(const char *from, where_kind kind,
                               const char *name) {
  static const repo_file kinds[] = {REPO_KEYS, REPO_PACKS, REPO_INDEXES,
                                    REPO_SNAPSHOTS};
  where w = where_new(kind, name);
  error *e = NULL;
  if (kind == WHERE_FOLDER) {
    care_copy(from, name);
    return w;
  }
  where_copying c = {.from = store_open_at(care_at(from)),
                     .to = repo_store_open(w.location, NULL, &e)};
  FINE(e);
  FINE(c.to->way->create(c.to));
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    c.kind = kinds[i];
    FINE(c.from->way->list(c.from, c.kind, where_copy_one, &c, NULL));
  }
  c.kind = REPO_CONFIG;
  FINE(where_copy_one(&c, NULL, 0));
  repo_store_close(c.from);
  repo_store_close(c.to);
  return w;
}

static inline error *where_add(void *context, const repo_id *id,
                               uint64_t size) {
  uint64_t *sums = context;
  (void)id;
  sums[0]++;
  sums[1] += size;
  return NULL;
}

/* How many files of a kind there are; *bytes (may be NULL): what they have. */
static inline long where_count(repo *r, repo_file kind, uint64_t *bytes) {
  uint64_t sums[2] = {0, 0};
  FINE(r->store->way->list(r->store, kind, where_add, sums, NULL));
  if (bytes != NULL) *bytes = sums[1];
  return (long)sums[0];
}


/* ------------------------------------------------------------------
** The tree, and its versions
** ---------------------------------------------------------------- */

/* What it is next: some of it stays for good, some for two versions, some for
   this one alone, and all of that in the same packs. */
static inline void where_change(int files) {
  int n = ++where_state;
  SHELL(
      "mkdir -p '%s/src/d%d/e' && cd '%s/src' && rm -rf d%d && seq %d 30000 "
      ">d%d/text && head -c 9000 /dev/urandom >d%d/e/b && ln -s text d%d/link "
      "&& for i in $(seq %d); do head -c 1500000 /dev/urandom >d%d/f$i; done "
      "&& head -c 700000 /dev/urandom >once",
      care_base, n, care_base, n - 2, n, n, n, n, files, n);
  SHELL("cd '%s/src' && { [ -e always ] || seq 90000 >always; }", care_base);
  mem_free(where_texts[n]);
  char path[200];
  snprintf(path, sizeof path, "%s/src", care_base);
  where_texts[n] = described(path);
}

static inline value *where_backup_options(void) {
  return json_options(
      "{'paths':['%s/src'],'tags':['s%d'],'pack_size':'4M','host':'h'}",
      care_base, where_state);
}

/* The tree as it is now, in a version that says which state that is. */
static inline call_result where_backup(repo *r) {
  return call_now(r, "backup", where_backup_options());
}

static inline void where_backed_up(repo *r) {
  call_result c = where_backup(r);
  CHECK_INT(c.code, 0);
  if (c.code != 0) printf("  (%s)\n", c.message);
  call_free(&c);
}

/* Four versions, of which the first is forgotten; the tree is at the fifth,
   which has so many files more. */
static inline void where_fill(const char *name, int files) {
  where w = where_new(WHERE_FOLDER, name);
  repo *r = where_repo(&w, "{}");
  repo_cost_test = &store_cheap;
  FINE(repo_create(r, NULL));
  for (int i = 0; i < 4; i++) {
    where_change(2);
    where_backed_up(r);
  }
  value *report;
  FINE(care_forget(r, "{'keep_last':3,'group_by':['host']}", &report));
  value_free(report);
  repo_unref(r);
  where_change(files);
}

static inline int where_state_of(const repo_snapshot *v) {
  const char *tag =
      v->tags != NULL ? value_chars(v->tags->as.items[0], "") : "";
  int state = tag[0] == 's' ? atoi(tag + 1) : 0;
  CHECK(state > 0 && state < WHERE_STATES);
  return state;
}

/* Whether a version, restored, is what the tree was. */
static inline bool where_restores(repo *r, const repo_snapshot *v) {
  char id[REPO_ID_TEXT], path[300];
  repo_id_format(&v->id, id);
  call_result c = call_now(
      r, "restore",
      json_options("{'version':'%s','target':'%s/to'}", id, care_base));
  bool good = c.code == 0;
  if (!good) printf("restore: 0x%x %s\n", c.code, c.message);
  call_free(&c);
  snprintf(path, sizeof path, "%s/to%s/src", care_base, care_base);
  char *is = good ? described(path) : NULL;
  if (good && strcmp(is, where_texts[where_state_of(v)]) != 0) {
    printf("version %s is not what the tree was:\n%s\n", id, is);
    good = false;
  }
  mem_free(is);
  SHELL("rm -rf '%s/to'", care_base);
  return good;
}

#define WHERE_OLD (1 << 2 | 1 << 3 | 1 << 4) /* what where_fill leaves */
#define WHERE_NOW (1 << where_state)

/* Which states have a version, as bits; -1: one is not what it was. */
static inline int where_versions(repo *r) {
  repo_snapshot **list;
  size_t count;
  int states = 0;
  error *e = repo_versions(r, &list, &count, NULL);
  FINE(e);
  for (size_t i = 0; e == NULL && i < count && states >= 0; i++)
    states =
        where_restores(r, list[i]) ? states | 1 << where_state_of(list[i]) : -1;
  repo_versions_free(list);
  return states;
}


/* ------------------------------------------------------------------
** Servers
** ---------------------------------------------------------------- */

static inline bool where_server(void) {
  static const char *const command[] = {"python3", "spec/s3/server.py", NULL};
  unsetenv("http_proxy");
  unsetenv("AWS_REGION");
  unsetenv("AWS_DEFAULT_REGION");
  unsetenv("AWS_SESSION_TOKEN");
  return server_start(&s, command);
}

/* NULL: it runs; else why it does not. */
static inline const char *where_ceph(void) {
  char command[200], line[200] = "";
  if (getenv("SAROS_LONG") == NULL)
    return "a real S3 server takes its time (SAROS_LONG=1)";
  snprintf(ceph_folder, sizeof ceph_folder, "%.90s/rgw", care_base);
  snprintf(command, sizeof command, "spec/s3/up %s", ceph_folder);
  FILE *f = popen(command, "r");
  if (f == NULL) return "no shell";
  bool read = fgets(line, sizeof line, f) != NULL &&
              sscanf(line, "%d %63s %63s %d", &ceph_port, ceph_access,
                     ceph_secret, &ceph_osd) == 4;
  int status = pclose(f);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    return "there is no Ceph here, or you are not root (spec/deps s3 installs "
           "it)";
  CHECK(read && status == 0);
  return read ? NULL : "the S3 server did not start";
}

static inline void where_end(void) {
  server_stop(&s);
  http_settle();
  if (ceph_folder[0] != '\0') run_shell(NULL, "spec/s3/down %s", ceph_folder);
  for (int i = 0; i < WHERE_STATES; i++) mem_free(where_texts[i]);
  care_end();
}

#endif
