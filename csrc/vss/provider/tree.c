/*
** The life of a tree's shadow: see tree.h.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/engine.h"
#include "vss/place.h"
#include "vss/provider/tree_parts.h"

#define LIVE_PASSES 3
/* A pass that took longer than this is worth another one, so that the one
   under the hold is short. */
#define LONG_NS UINT64_C(1000000000)

#ifdef SAROS_TEST
uint64_t tree_long = LONG_NS;
#undef LONG_NS
#define LONG_NS tree_long

void (*_Atomic tree_hook)(shadow *s, const char *where);

uint64_t tree_copied(const shadow *s) {
  const tree *t = s->self;
  return atomic_load(&t->copied);
}

void tree_at(tree *t, const char *where) {
  void (*hook)(shadow *, const char *) = atomic_load(&tree_hook);
  if (hook != NULL) hook(t->s, where);
}
#endif

static bool is_no_room(int number) {
  return number == ENOSPC || number == EDQUOT;
}

error *tree_error(tree *t) {
  error *why = t->c.why;
  if (why == NULL)
    return vss_error(SAROS_E_CANCELLED,
                     "the shadow copy of \"%s\" was cancelled", t->s->given);
  if (!is_no_room(why->number)) return error_ref(why);
  error *e = vss_error(VSS_E_INSUFFICIENT_STORAGE,
                       "there is no more room for the shadow of \"%s\" in %s; "
                       "make room there, or choose another provider",
                       t->s->given, t->s->place);
  return error_because(error_at(e, t->s->place), error_ref(why));
}


/* ------------------------------------------------------------------
** Probe and plan
** ---------------------------------------------------------------- */

/* They hold no data of their own, but questions to the kernel. */
static bool is_pseudo(const char *type) {
  static const char *const pseudo[] = {
      "proc",      "sysfs",  "cgroup", "cgroup2",    "devpts",     "debugfs",
      "tracefs",   "bpf",    "mqueue", "securityfs", "configfs",   "pstore",
      "hugetlbfs", "autofs", "nsfs",   "selinuxfs",  "efivarfs",   "devtmpfs",
      "fusectl",   "sockfs", "pipefs", "rpc_pipefs", "binfmt_misc"};
  for (size_t i = 0; i < sizeof pseudo / sizeof *pseudo; i++)
    if (strcmp(type, pseudo[i]) == 0) return true;
  return false;
}

error *tree_probe(const origin *from) {
  struct stat st;
  if (lstat(from->path, &st) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot find", from->path);
  const char *why = NULL;
  if (from->type != NULL && is_pseudo(from->type))
    why = "it shows what the kernel knows, and is no data";
  else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    why = "it is neither a directory nor a file";
  if (why != NULL)
    return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                              "\"%s\" cannot be copied: %s", from->path, why),
                    from->path);
  int mode = S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK;
  if (faccessat(AT_FDCWD, from->path, mode, AT_EACCESS) == 0) return NULL;
  return error_at(vss_error(SAROS_E_ACCESSDENIED,
                            "\"%s\" may not be read by user %u; ask its owner, "
                            "or root",
                            from->path, (unsigned)geteuid()),
                  from->path);
}

/* The nearest directory above the place that is there. */
static error *plan_place(shadow *s) {
  char *sample = path_parent(s->place);
  while (sample != NULL && access(sample, F_OK) != 0 && errno == ENOENT &&
         strcmp(sample, "/") != 0) {
    char *up = path_parent(sample);
    mem_free(sample);
    sample = up;
  }
  error *e = sample != NULL ? place_plan(s, sample) : error_no_memory();
  mem_free(sample);
  return e;
}

error *tree_plan(shadow *s) {
  if (s->place == NULL)
    return vss_error(SAROS_E_UNEXPECTED, "the shadow copy has no place yet");
  error *e = plan_place(s);
  if (e != NULL) return e;
  if (value_put(s->keep, "user", value_int((int64_t)geteuid()))) return NULL;
  return error_no_memory();
}


/* ------------------------------------------------------------------
** Prepare
** ---------------------------------------------------------------- */

static tree *tree_new(shadow *s, saros_op *op, copy_clone clone) {
  tree *t = mem_zero(sizeof *t);
  if (t == NULL) return NULL;
  pthread_mutex_init(&t->c.lock, NULL);
  t->s = s;
  t->op = op != NULL ? saros_op_ref(op) : NULL;
  t->c.op = op;
  t->c.manner = &tree_manner;
  t->c.manner_self = t;
  t->c.clone = clone;
  t->c.one_system = true;
  t->c.source_dir = t->c.parent = t->source = t->target = -1;
  atomic_init(&t->c.farm, -1);
  if (!seen_init(&t->seen))
    log_write(LOG_WARNING, "vss", "the kernel has no random numbers");
  return t;
}

/* Again while a pass lost its way, or took so long that much has changed
   meanwhile and the hold would be long. */
static error *run_live(tree *t) {
  for (int i = 0; i < LIVE_PASSES; i++) {
    uint64_t begun = engine_clock();
    error *e = pass_run(t, false);
    if (e != NULL) return e;
    tree_at(t, "live");
    bool took_long = engine_clock() - begun > LONG_NS;
    if (!t->strayed && (!took_long || atomic_load(&t->copied) == 0)) break;
  }
  return NULL;
}

error *tree_prepare(shadow *s, saros_op *op, copy_clone clone) {
  tree *t = tree_new(s, op, clone);
  if (t == NULL) return error_no_memory();
  s->self = t;
  error *e = tree_open(t);
  if (e == NULL) e = cancelled_error(op);
  if (e == NULL) e = tree_make(t);
  /* Clones need next to no room, and counting takes as long as a third of
     them. */
  if (e == NULL && clone != CLONE_ALWAYS) e = pass_count(t);
  if (e == NULL && clone != CLONE_ALWAYS) e = tree_room(t);
  /* What is dirty is written out by a clone, and would be under the hold. */
  if (e == NULL && clone == CLONE_ALWAYS) e = presync(t->source, -1, op);
  if (e == NULL) e = run_live(t);
  if (e == NULL && clone == CLONE_ALWAYS) e = presync(t->source, -1, op);
  return e;
}


/* ------------------------------------------------------------------
** Commit and finish
** ---------------------------------------------------------------- */

/* Somebody may have put another directory there since. */
static error *check_source(tree *t) {
  struct stat st;
  if (lstat(t->source_path, &st) == 0 && st.st_dev == t->source_id.dev &&
      st.st_ino == t->source_id.ino)
    return NULL;
  return error_at(vss_error(SAROS_E_CHANGED,
                            "\"%s\" was replaced or moved while its shadow was "
                            "made; try again",
                            t->source_path),
                  t->source_path);
}

/* A single file that is not in the shadow is no shadow. */
static error *check_single(tree *t) {
  struct stat st;
  if (t->single == NULL ||
      fstatat(t->target, t->single, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return NULL;
  return error_at(vss_error(SAROS_E_CHANGED,
                            "\"%s\" was removed, or could not be read, when "
                            "its shadow was made; try again",
                            t->s->given),
                  t->s->given);
}

error *tree_commit(shadow *s) {
  tree *t = s->self;
  tree_at(t, "commit");
  error *e = cancelled_error(t->op);
  if (e == NULL) e = check_source(t);
  if (e == NULL) e = pass_run(t, true);
  if (e == NULL) e = check_single(t);
  tree_at(t, "held");
  return e;
}

static error *write_out(tree *t) {
  if (syncfs(t->target) == 0) return NULL;
  if (!is_no_room(errno))
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the shadow cannot be written out", t->c.to);
  copy_fail(&t->c, error_of_errno(SAROS_FACADE_VSS, errno,
                                  "the shadow cannot be written out", t->c.to));
  return tree_error(t);
}

/* What a script reads, and what later tells this shadow from another. */
static error *name_result(tree *t) {
  shadow *s = t->s;
  s->device = mem_text(t->c.to);
  s->path =
      t->single != NULL ? path_join(t->c.to, t->single) : mem_text(t->c.to);
  if (s->device == NULL || s->path == NULL) return error_no_memory();
  return keep_put_file(s->keep, "root", t->target) ? NULL : error_no_memory();
}

error *tree_finish(shadow *s, saros_op *op) {
  tree *t = s->self;
  error *e = cancelled_error(op);
  if (e == NULL) e = tree_clean(t);
  if (e == NULL) e = write_out(t);
  if (e == NULL) e = name_result(t);
  if (e == NULL && !lack_tell(t)) e = error_no_memory();
  if (e == NULL) e = tree_lock(t);
  if (t->hold != NULL) device_release(t->hold);
  t->hold = NULL;
  return e;
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void tree_forget(shadow *s) {
  tree *t = s->self;
  s->self = NULL;
  if (t == NULL) return;
  int farm = atomic_exchange(&t->c.farm, -1);
  close_fd(&farm);
  close_fd(&t->c.parent);
  close_fd(&t->source);
  close_fd(&t->target);
  if (t->hold != NULL) device_release(t->hold);
  if (t->op != NULL) saros_op_unref(t->op);
  error_unref(t->c.why);
  lack_free(t);
  seen_free(&t->seen);
  mem_free(t->c.from);
  mem_free(t->c.to);
  mem_free(t->single);
  mem_free(t->source_path);
  pthread_mutex_destroy(&t->c.lock);
  mem_free(t);
}
