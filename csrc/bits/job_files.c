/*
** The files of a job: added (cheaply: ten thousand in a moment), and given
** another address.
*/
#include <string.h>

#include "bits/address.h"
#include "bits/job_parts.h"

/* Its local name is in the same block of memory: there may be twenty thousand
   of them. */
static bits_file *file_new(bits_job *j, const char *url, const char *path) {
  size_t size = strlen(path) + 1;
  bits_file *f = mem_zero(sizeof *f + size);
  if (f == NULL) return NULL;
  f->path = (char *)(f + 1);
  memcpy(f->path, path, size);
  f->job = j;
  f->state = BITS_FILE_WAITS;
  f->size = BITS_UNKNOWN;
  atomic_init(&f->have, 0);
  f->url = mem_text(url);
  if (f->url != NULL) return f;
  mem_free(f);
  return NULL;
}

void bits_file_free(bits_file *f) {
  bits_known_free(f->known);
  bits_extra_free(f->extra);
  mem_free(f->small);
  mem_free(f->url);
  mem_free(f);
}

static bool make_room(bits_job *j) {
  if (j->file_count < j->file_room) return true;
  uint32_t room = j->file_room == 0 ? 4 : j->file_room * 2;
  bits_file **files = mem_grow(j->files, room * sizeof *files);
  if (files == NULL) return false;
  j->files = files;
  j->file_room = room;
  return true;
}

static void append(bits_job *j, bits_file *f) {
  f->number = j->file_count;
  j->files[j->file_count++] = f;
}

bits_file *bits_job_append(bits_job *j, const char *url, const char *path) {
  bits_file *f = file_new(j, url, path);
  if (f == NULL) return NULL;
  if (!make_room(j)) {
    bits_file_free(f);
    return NULL;
  }
  append(j, f);
  return f;
}

/* ------------------------------------------------------------------
** Names: a table of numbers (one more than the file's), found by hash
** ---------------------------------------------------------------- */

static uint32_t hash_of(const char *path) {
  uint32_t h = 2166136261u;
  for (; *path != '\0'; path++) h = (h ^ (unsigned char)*path) * 16777619u;
  return h ^ h >> 15;
}

/* Where this name is, or would be. */
static uint32_t *name_slot(const bits_job *j, const char *path) {
  uint32_t at = hash_of(path) & (j->name_room - 1);
  while (j->names[at] != 0 &&
         strcmp(j->files[j->names[at] - 1]->path, path) != 0)
    at = (at + 1) & (j->name_room - 1);
  return &j->names[at];
}

/* Room for one more, less than half full. */
static bool make_names(bits_job *j) {
  if (j->names != NULL && j->file_count < j->name_room / 2) return true;
  uint32_t room = 16;
  while (room / 2 <= j->file_count) room *= 2;
  if (room <= j->name_room) room = j->name_room;
  uint32_t *names = mem_zero(room * sizeof *names);
  if (names == NULL) return false;
  mem_free(j->names);
  j->names = names;
  j->name_room = room;
  for (uint32_t i = 0; i < j->file_count; i++)
    *name_slot(j, j->files[i]->path) = i + 1;
  return true;
}

/* ------------------------------------------------------------------
** Added
** ---------------------------------------------------------------- */

static error *known_names(const value *options) {
  static const char *const names[] = {"url", "path", "sha256", "ranges"};
  if (options == NULL || options->type != VALUE_MAP)
    return bits_fail(SAROS_E_INVALIDARG, "a file has a url and a path");
  for (uint32_t i = 0; i < options->count; i++) {
    const value_field *field = &options->as.fields[i];
    bool known = false;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
      known = known || strcmp(field->name, names[k]) == 0;
    if (!known)
      return bits_fail(SAROS_E_INVALIDARG,
                       "a file has url, path, sha256 and ranges, but no '%s'",
                       field->name);
  }
  return NULL;
}

/* A text without NULs, or NULL. */
static const char *text_of(const value *options, const char *name) {
  const value *v = value_get(options, name);
  const char *text = value_chars(v, NULL);
  return text != NULL && strlen(text) == v->as.string.size ? text : NULL;
}

static error *check_texts(const char *url, const char *path) {
  if (url == NULL)
    return bits_fail(SAROS_E_INVALIDARG, "a file has a url, a text");
  if (path == NULL)
    return bits_fail(SAROS_E_INVALIDARG, "a file has a path, a text");
  error *e = bits_address_check(url);
  return e != NULL ? e : bits_address_check_path(path);
}

/* With the lock. */
static error *may_have_more(const bits_job *j) {
  if (j->type == BITS_DOWNLOAD && j->file_count >= BITS_FILES_MOST)
    return bits_fail(BG_E_TOO_MANY_FILES_IN_JOB,
                     "the job '%s' has %u files, as many as it may",
                     bits_job_name(j), j->file_count);
  if (j->type != BITS_DOWNLOAD && j->file_count >= 1)
    return bits_fail(BG_E_TOO_MANY_FILES,
                     "an upload has one file: make another job");
  return NULL;
}

/* With the lock. */
static error *may_have_ranges(const bits_job *j) {
  if (j->type != BITS_DOWNLOAD)
    return bits_fail(SAROS_E_NOTIMPL, "only downloads may have ranges");
  if (j->terms->dynamic)
    return bits_fail(SAROS_E_INVALIDARG,
                     "a file of a dynamic job cannot have ranges");
  return NULL;
}

/* With the lock; nobody is told yet. */
static error *enter(bits_job *j, bits_file *f) {
  error *e = may_have_more(j);
  if (e == NULL && j->type == BITS_DOWNLOAD)
    e = bits_address_check_apart(f->path, j->m->path);
  if (e == NULL && f->extra != NULL && f->extra->range_count > 0)
    e = may_have_ranges(j);
  if (e != NULL) return e;
  if (!make_names(j) || !make_room(j)) return error_no_memory();
  uint32_t *slot = name_slot(j, f->path);
  if (*slot != 0) {
    buffer b = BUFFER_EMPTY;
    text_escape(&b, f->path, strlen(f->path));
    e = bits_fail(SAROS_E_INVALIDARG,
                  "the job has a file with the path %s already",
                  b.failed ? "" : b.data);
    buffer_free(&b);
    return e;
  }
  append(j, f);
  *slot = f->number + 1;
  f->rowless = true;
  return NULL;
}

/* With the lock: those behind the first `count` are not the job's any more. */
static void take_back(bits_job *j, uint32_t count) {
  if (j->file_count == count) return;
  j->file_count = count;
  mem_free(j->names); /* made anew with the next file */
  j->names = NULL;
  j->name_room = 0;
}

/* With the lock. Of what is whole already the state changes: there is something
   to do again, once somebody says so. */
static error *enter_all(bits_job *j, bits_file **files, uint32_t count) {
  uint32_t before = j->file_count;
  error *e = bits_job_may_change(j);
  for (uint32_t i = 0; e == NULL && i < count; i++) e = enter(j, files[i]);
  if (e != NULL) take_back(j, before);
  if (e != NULL || count == 0) return e;
  for (uint32_t i = 0; i < count; i++) bits_file_touch(files[i]);
  if (j->state == BITS_TRANSFERRED) bits_job_move(j, BITS_SUSPENDED);
  j->touched_at = bits_now(j->m);
  if (state_is_active(j->state)) bits_mover_touch(j);
  return NULL;
}

struct bits_files {
  bits_job *j; /* a reference */
  bits_file **files;
  uint32_t count, room;
};

bits_files *bits_files_new(bits_job *j) {
  bits_files *all = mem_zero(sizeof *all);
  if (all != NULL) all->j = bits_job_ref(j);
  return all;
}

void bits_files_free(bits_files *all) {
  if (all == NULL) return;
  for (uint32_t i = 0; i < all->count; i++) bits_file_free(all->files[i]);
  mem_free(all->files);
  bits_job_unref(all->j);
  mem_free(all);
}

static error *prepare(bits_job *j, const char *url, const char *path,
                      bits_file **made) {
  error *e = check_texts(url, path);
  if (e != NULL) return e;
  char *clean = path_clean(path);
  *made = clean != NULL ? file_new(j, url, clean) : NULL;
  mem_free(clean);
  return *made != NULL ? NULL : error_no_memory();
}

static bool make_place(bits_files *all) {
  if (all->count < all->room) return true;
  uint32_t room = all->room == 0 ? 4 : all->room * 2;
  bits_file **files = mem_grow(all->files, room * sizeof *files);
  if (files == NULL) return false;
  all->files = files;
  all->room = room;
  return true;
}

/* The file is theirs, or gone with an error (its own, if it came with one). */
static error *keep(bits_files *all, bits_file *f, error *e) {
  if (e == NULL && all->count >= BITS_FILES_MOST)
    e = bits_fail(BG_E_TOO_MANY_FILES_IN_JOB, "a job may have %u files",
                  BITS_FILES_MOST);
  if (e == NULL && !make_place(all)) e = error_no_memory();
  if (e == NULL)
    all->files[all->count++] = f;
  else if (f != NULL)
    bits_file_free(f);
  return e;
}

error *bits_files_put(bits_files *all, const value *options) {
  bits_file *f = NULL;
  error *e = known_names(options);
  if (e == NULL)
    e = prepare(all->j, text_of(options, "url"), text_of(options, "path"), &f);
  if (e == NULL) e = bits_extra_read(options, f);
  return keep(all, f, e);
}

error *bits_files_put_plain(bits_files *all, const char *url,
                            const char *path) {
  bits_file *f = NULL;
  error *e = prepare(all->j, url, path, &f);
  return keep(all, f, e);
}

error *bits_files_enter(bits_files *all) {
  if (!bits_job_lock(all->j))
    return bits_fail(SAROS_E_FORKED, "the job is the parent process's");
  error *e = enter_all(all->j, all->files, all->count);
  if (e == NULL) all->count = 0;
  bits_job_unlock(all->j);
  return e;
}

error *bits_job_add_file(bits_job *j, const value *options) {
  bits_files *all = bits_files_new(j);
  if (all == NULL) return error_no_memory();
  error *e = bits_files_put(all, options);
  if (e == NULL) e = bits_files_enter(all);
  bits_files_free(all);
  return e;
}

/* ------------------------------------------------------------------
** Another address
** ---------------------------------------------------------------- */

static bool is_same_place(const char *a, const char *b) {
  size_t size = strcspn(a, "?#");
  return size == strcspn(b, "?#") && memcmp(a, b, size) == 0;
}

/* With the lock: what an upload in parts has left at the old address nobody
   would take away from there. */
static void leave_upload(bits_file *f, const char *url) {
  bits_extra *x = f->extra;
  if (x == NULL || x->upload == NULL || is_same_place(f->url, url) ||
      !bits_keeper_orphan(f->job->m, x->upload, f->job->terms))
    return;
  mem_free(x->upload);
  x->upload = NULL;
  atomic_store(&f->have, 0);
}

/* With the lock. What is here of the file stays: the server's validators say
   whether it is the same. */
static void take_url(bits_file *f, char *url) {
  leave_upload(f, url);
  mem_free(f->url);
  f->url = url;
  f->marks &= (uint8_t) ~(BITS_FILE_NO_RANGE | BITS_FILE_BARE);
  f->bad_ranges = 0;
  bits_file_touch(f);
}

/* With the lock. */
static error *set_one(bits_job *j, uint64_t number, const char *url) {
  error *e = bits_address_check(url);
  if (e != NULL) return e;
  if (number >= j->file_count)
    return bits_fail(BG_E_FILE_NOT_FOUND,
                     "the job '%s' has %u file%s, and none of that number",
                     bits_job_name(j), j->file_count,
                     j->file_count == 1 ? "" : "s");
  char *copy = mem_text(url);
  if (copy == NULL) return error_no_memory();
  take_url(j->files[number], copy);
  return NULL;
}

/* All or none: `urls` has what each file shall have. */
static error *replace_each(bits_job *j, const char *from, const char *to,
                           char **urls, uint32_t *found) {
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && i < j->file_count; i++) {
    bool no_memory = false;
    urls[i] = bits_address_replace(j->files[i]->url, from, to, &no_memory);
    if (no_memory) e = error_no_memory();
    if (urls[i] == NULL) continue;
    e = bits_address_check(urls[i]);
    (*found)++;
  }
  if (e == NULL && *found == 0)
    e = bits_fail(BG_E_FILE_NOT_FOUND,
                  "no file of the job '%s' has a url that begins so",
                  bits_job_name(j));
  return e;
}

/* With the lock. */
static error *set_prefix(bits_job *j, const char *from, const char *to) {
  char **urls = mem_zero((j->file_count + 1) * sizeof *urls);
  if (urls == NULL) return error_no_memory();
  uint32_t found = 0;
  error *e = replace_each(j, from, to, urls, &found);
  for (uint32_t i = 0; i < j->file_count; i++) {
    if (urls[i] == NULL) continue;
    if (e == NULL)
      take_url(j->files[i], urls[i]);
    else
      mem_free(urls[i]);
  }
  mem_free(urls);
  return e;
}

static error *may_set_url(bits_job *j) {
  error *e = bits_job_may_change(j);
  if (e != NULL) return e;
  if (j->state == BITS_SUSPENDED || j->state == BITS_ERROR ||
      j->state == BITS_TRANSIENT_ERROR)
    return NULL;
  return bits_fail(BG_E_INVALID_STATE,
                   "the job '%s' is %s: suspend it, then its files can be "
                   "given another url",
                   bits_job_name(j), bits_state_name(j->state));
}

/* With the lock, which is let go meanwhile: nothing reads a url now. */
static error *hold_for_url(bits_job *j) {
  error *e = may_set_url(j);
  while (e == NULL && (j->running > 0 || (j->marks & BITS_JOB_BUSY) != 0)) {
    pthread_cond_wait(&j->m->done, &j->m->lock);
    e = may_set_url(j);
  }
  return e;
}

static error *set_url(bits_job *j, const value *options) {
  const char *url = text_of(options, "url");
  const char *from = text_of(options, "from"), *to = text_of(options, "to");
  uint64_t number = 0;
  if (url != NULL && bits_read_number(value_get(options, "number"), &number))
    return set_one(j, number, url);
  if (from != NULL && from[0] != '\0' && to != NULL)
    return set_prefix(j, from, to);
  return bits_fail(SAROS_E_INVALIDARG,
                   "give a number and a url, or from and to, two prefixes");
}

error *bits_job_set_url(bits_job *j, const value *options) {
  if (!bits_job_lock(j))
    return bits_fail(SAROS_E_FORKED, "the job is the parent process's");
  error *e = hold_for_url(j);
  if (e == NULL) e = set_url(j, options);
  if (e == NULL) {
    j->touched_at = bits_now(j->m);
    bits_job_touch(j);
    bits_event(j, "modified", -1);
  }
  bits_job_unlock(j);
  return e != NULL ? e : bits_keeper_flush(j->m, false);
}
