/*
** backup: the call. Everything is looked at before anything is written; packs
** come before the index files that name them, and the version's own file comes
** last of all: until it is there nothing has happened, and when it is, all of
** it has.
*/
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "repository/adopt.h"
#include "repository/backup_parts.h"
#include "repository/go.h"

#define PROGRAM "saros 0.1"

static bool backup_stopped(const repo_stop *stop) {
  const backup *b = (const backup *)stop;
  return b->failed || repo_stopped(&b->h->stop);
}


/* ------------------------------------------------------------------
** The crew
** ---------------------------------------------------------------- */

static void hand_end(void *context, void *hand_) {
  backup *b = context;
  hand *h = hand_;
  repo_tools_give(repo_tools_of(b->c->r), h->tool);
  repo_node_maker_free(h->maker);
  repo_backup_blobs_free(h->blobs);
  buffer_free(&h->piece);
  buffer_free(&h->path);
  buffer_free(&h->names);
  mem_free(h->small);
  mem_free(h);
}

static void *hand_begin(void *context, error **e) {
  backup *b = context;
  hand *h = mem_zero(sizeof *h);
  *e = NULL;
  if (h != NULL) {
    h->b = b;
    h->maker = repo_node_maker_new(b->users);
    h->blobs = repo_backup_blobs_new(b);
    h->small = mem_alloc(SMALL + 1);
    if (h->maker != NULL && h->blobs != NULL && h->small != NULL)
      *e = repo_tools_take(repo_tools_of(b->c->r), &h->tool);
    if (h->tool != NULL) return h;
    hand_end(b, h);
  }
  if (*e == NULL) *e = error_no_memory();
  return NULL;
}

static const crew_way way = {hand_begin, hand_end};

/* Open files are the host's, too. */
static int few_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 64;
  rlim_t quarter = limit.rlim_cur / 4;
  return quarter > 256 ? 256 : quarter < 8 ? 8 : (int)quarter;
}

/* All that is to be read, and its trees; packs that are not full are left. */
static error *walk(backup *b, const plan *root) {
  error *e;
  before of = {.has_tree = b->parent != NULL};
  if (of.has_tree) of.tree = b->parent->tree;
  b->crew = repo_crew_new(b->o.threads, &way, b, &e);
  if (b->crew == NULL) return e;
  repo_backup_directory_begin(b, root, &of);
  repo_crew_wait(b->crew);
  repo_crew_free(b->crew);
  b->crew = NULL;
  if (!b->failed && repo_stopped(&b->h->stop)) repo_backup_ends(b);
  if (b->why != NULL) return error_ref(b->why);
  if (b->counts.nodes > 0 || b->counts.failed == 0) return NULL;
  /* None when there was no memory to keep it. */
  bool kept = b->errors != NULL && b->errors->count > 0;
  const value *first =
      kept ? value_get(b->errors->as.items[0], "message") : NULL;
  return repo_error(SAROS_E_FAIL,
                    "nothing could be read of what was to be backed up: %s",
                    value_chars(first, "memory ran out"));
}


/* ------------------------------------------------------------------
** The version
** ---------------------------------------------------------------- */

/* The end by the clock that it began by: that on the wall may have been set
   meanwhile. */
static struct timespec end_of(const backup *b) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  t.tv_sec += b->begun.tv_sec - b->steady.tv_sec;
  t.tv_nsec += b->begun.tv_nsec - b->steady.tv_nsec;
  if (t.tv_nsec < 0) {
    t.tv_nsec += 1000000000;
    t.tv_sec -= 1;
  } else if (t.tv_nsec >= 1000000000) {
    t.tv_nsec -= 1000000000;
    t.tv_sec += 1;
  }
  return t;
}

static void put_summary(backup *b, repo_snapshot *s) {
  packer_counts stored;
  backup_counts *n = &b->counts;
  repo_packer_count(b->packer, &stored);
  struct timespec now = end_of(b);
  s->has_summary = true;
  s->summary = (repo_summary){.start = b->begun,
                              .end = now,
                              .start_zone = repo_go_zone(b->begun.tv_sec),
                              .end_zone = repo_go_zone(now.tv_sec),
                              .files_new = n->files_new,
                              .files_changed = n->files_changed,
                              .files_unmodified = n->files_unmodified,
                              .dirs_new = n->dirs_new,
                              .dirs_changed = n->dirs_changed,
                              .dirs_unmodified = n->dirs_unmodified,
                              .data_blobs = stored.data_blobs,
                              .tree_blobs = stored.tree_blobs,
                              .data_added = stored.bytes,
                              .data_added_packed = stored.packed,
                              .files = n->files,
                              .bytes = n->bytes};
}

static bool copy_list(value **to, const value *list) {
  if (list == NULL || list->count == 0) return true;
  *to = value_copy(list);
  return *to != NULL;
}

static bool fill_snapshot(backup *b, const value *paths, repo_snapshot *s) {
  buffer name = BUFFER_EMPTY;
  s->time = b->o.time;
  s->zone = repo_go_zone(s->time.tv_sec);
  s->tree = b->tree;
  s->uid = (uint32_t)getuid();
  s->gid = (uint32_t)getgid();
  if (b->parent != NULL) {
    s->has_parent = true;
    s->parent = b->parent->id;
  }
  bool has_name = repo_users_user(b->users, s->uid, &name);
  if (has_name) s->username = buffer_take(&name);
  buffer_free(&name);
  s->hostname = mem_text(b->o.host);
  s->program = mem_text(PROGRAM);
  put_summary(b, s);
  return s->hostname != NULL && s->program != NULL &&
         (!has_name || s->username != NULL) && copy_list(&s->paths, paths) &&
         copy_list(&s->tags, b->o.tags) &&
         copy_list(&s->excludes, b->o.patterns);
}

static error *write_snapshot(backup *b, const value *paths, repo_snapshot *s) {
  buffer json = BUFFER_EMPTY;
  if (!fill_snapshot(b, paths, s)) return error_no_memory();
  error *e = repo_snapshot_write(s, &json);
  if (e == NULL && json.failed) e = error_no_memory();
  BACKUP_TEST(b, "version", "");
  /* Whoever cancels from here on is told that it is too late. */
  if (e == NULL && !b->o.dry_run && !saros_op_point_of_no_return(b->c->op))
    e = repo_error(SAROS_E_CANCELLED, "the backup was cancelled");
  if (e == NULL && !b->o.dry_run)
    e = repo_tools_save(repo_tools_of(b->c->r), b->h->store, REPO_SNAPSHOTS,
                        json.data, json.size, &s->id, &b->h->stop);
  buffer_free(&json);
  return e;
}


/* ------------------------------------------------------------------
** The result
** ---------------------------------------------------------------- */

static bool put_number(value *map, const char *name, uint64_t n) {
  return value_put(map, name,
                   value_int(n > INT64_MAX ? INT64_MAX : (int64_t)n));
}

static bool put_id(value *map, const char *name, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return value_put(map, name, value_text(text));
}

static bool put_counts(value *map, const repo_snapshot *s) {
  const repo_summary *n = &s->summary;
  double seconds = (double)(n->end.tv_sec - n->start.tv_sec) +
                   (double)(n->end.tv_nsec - n->start.tv_nsec) / 1e9;
  return put_number(map, "files_new", n->files_new) &&
         put_number(map, "files_changed", n->files_changed) &&
         put_number(map, "files_unmodified", n->files_unmodified) &&
         put_number(map, "dirs_new", n->dirs_new) &&
         put_number(map, "dirs_changed", n->dirs_changed) &&
         put_number(map, "dirs_unmodified", n->dirs_unmodified) &&
         put_number(map, "data_blobs", n->data_blobs) &&
         put_number(map, "tree_blobs", n->tree_blobs) &&
         put_number(map, "bytes_added", n->data_added) &&
         put_number(map, "bytes_packed", n->data_added_packed) &&
         put_number(map, "files", n->files) &&
         put_number(map, "bytes", n->bytes) &&
         value_put(map, "duration", value_real(seconds));
}

static error *tell(backup *b, const repo_snapshot *s, bool stored) {
  value *map = b->c->output = value_map();
  uint64_t failed = b->counts.failed;
  b->c->partial = failed > 0;
  bool good =
      map != NULL && (!stored || put_id(map, "id", &s->id)) &&
      put_id(map, "tree", &b->tree) &&
      (b->parent == NULL || put_id(map, "parent", &b->parent->id)) &&
      put_counts(map, s) && put_number(map, "failed", failed) &&
      put_number(map, "packs_adopted", b->adopted) &&
      value_put(map, "torn", value_bool(b->counts.torn)) &&
      value_put(map, "skipped",
                value_bool(!stored && !b->o.dry_run && !b->counts.torn));
  value *errors = b->errors != NULL ? b->errors : value_list();
  b->errors = NULL;
  return value_put(map, "errors", errors) && good ? NULL : error_no_memory();
}

static error *conclude(backup *b, const value *paths) {
  bool same = b->parent != NULL && repo_id_equal(&b->parent->tree, &b->tree);
  bool skip = (b->o.skip_if_unchanged && same) || b->counts.torn;
  repo_snapshot *s = repo_snapshot_new();
  error *e = NULL;
  if (s == NULL) return error_no_memory();
  if (skip)
    put_summary(b, s);
  else
    e = write_snapshot(b, paths, s);
  if (e == NULL) e = tell(b, s, !skip && !b->o.dry_run);
  repo_snapshot_free(s);
  return e;
}


/* ------------------------------------------------------------------
** From begin to end
** ---------------------------------------------------------------- */

static error *store(backup *b, const plan *root) {
  error *e;
  b->packer = repo_packer_new(b->h, b->index, &b->o.pack, &b->stop, &e);
  if (b->packer == NULL) return e;
  saros_op_phase(b->c->op, "backing up");
  e = walk(b, root);
  repo_backup_tell_counts(b);
  BACKUP_TEST(b, "walked", "");
  saros_op_phase(b->c->op, e == NULL ? "storing" : "unwinding");
  error *why = repo_packer_end(b->packer, e != NULL);
  if (e == NULL) return why;
  error_unref(why);
  return e;
}

static error *run(backup *b, const value *paths) {
  plan *root;
  error *e = repo_backup_plan_make(&b->o, &root);
  if (e != NULL) return e;
  saros_op_phase(b->c->op, "looking for the version before");
  e = repo_backup_parent_find(b,
                              paths); /* before the index: it knows all of it */
  saros_op_phase(b->c->op, "reading the index");
  if (e == NULL) e = repo_index_of(b->h, &b->index);
  if (e == NULL && b->h->inherits && !b->o.dry_run)
    e = repo_adopt(b->h, b->index, &b->adopted);
  if (e == NULL) e = store(b, root);
  saros_op_phase(b->c->op, "writing the version");
  if (e == NULL) e = conclude(b, paths);
  repo_packer_free(b->packer);
  repo_backup_plan_free(root);
  return e;
}

static error *under_lock(backup *b) {
  value *paths = repo_backup_plan_paths(&b->o);
  if (paths == NULL) return error_no_memory();
  error *e = repo_call_hold(b->c, b->o.dry_run ? REPO_READS : REPO_ADDS, &b->h);
  if (e == NULL) e = repo_call_let_go(b->c, b->h, run(b, paths));
  value_free(paths);
  return e;
}

error *repo_work_backup(repo_call *c) {
  char host[256] = "";
  backup b = {.stop = {backup_stopped}, .c = c, .open_most = few_files()};
  clock_gettime(CLOCK_REALTIME, &b.begun);
  clock_gettime(CLOCK_BOOTTIME, &b.steady);
  error *e = repo_check_open(c->r);
  if (e == NULL) e = repo_backup_options_read(c, &b.o);
  if (e == NULL) {
    gethostname(host, sizeof host - 1);
    if (b.o.host == NULL) b.o.host = host;
    if (!b.o.has_time) b.o.time = b.begun;
    b.segment_most = b.o.threads + 2;
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.moved, NULL);
    b.users = repo_users_new();
    b.chunker = repo_chunker_new(repo_config_of(c->r)->polynomial);
    e = b.users == NULL || b.chunker == NULL ? error_no_memory()
                                             : under_lock(&b);
    repo_backup_segments_free(&b);
    repo_users_free(b.users);
    repo_chunker_free(b.chunker);
    pthread_cond_destroy(&b.moved);
    pthread_mutex_destroy(&b.lock);
  }
  repo_snapshot_free(b.parent);
  value_free(b.errors);
  error_unref(b.why);
  repo_backup_options_free(&b.o);
  return e;
}
