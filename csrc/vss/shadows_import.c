/*
** shadows_import: shadows that are taken over from a document. What has a
** record
** here is taken as that says; of what has none only the document speaks, and
** anybody may have written that. What stands in a record is mounted, exposed,
** and one day destroyed: so nothing gets into one that was not found to be
** true, and nothing at all is done on the document's word but looking, and
** mounting what lies in a directory of our own.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vss/place.h"
#include "vss/record_parts.h"


static int64_t attributes_of(const value *record) {
  return value_integer(value_get(record, "attributes"), 0);
}


/* Ours from now on. */
static error *make_ours(const places *p, value *record) {
  if (!value_put(record, "attributes",
                 value_int(attributes_of(record) | VSS_ATTR_IMPORTED)) ||
      !owner_put(record))
    return error_no_memory();
  return record_save(p, record);
}


static error *import_known(const places *p, value *record) {
  const char *id = record_text(record, "id");
  if (!record_is(record, "created"))
    return vss_error(VSS_E_OBJECT_NOT_FOUND,
                     "the shadow copy %s is not complete (any more)", id);
  if ((attributes_of(record) & VSS_ATTR_IMPORTED) != 0)
    return vss_error(VSS_E_OBJECT_ALREADY_EXISTS,
                     "the shadow copy %s was imported already", id);
  if (owner_is_alive(record) && !owner_is_us(record))
    return vss_error(VSS_E_VOLUME_IN_USE,
                     "the process that made the shadow copy %s still has it",
                     id);
  error *e = record_ready(p, record, NULL);
  return e != NULL ? e : make_ours(p, record);
}


/* ------------------------------------------------------------------
** What a document says
** ---------------------------------------------------------------- */

static error *refused(const value *record, const char *why, const char *path) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, path, strlen(path));
  error *e =
      vss_error(SAROS_E_REFUSED,
                "the document says of the shadow copy %s what cannot be "
                "believed: %s (%s)",
                record_text(record, "id"), why, b.size > 0 ? b.data : "");
  buffer_free(&b);
  return e;
}


/* A text that says where it leads: nothing in it goes up again. */
static bool is_straight(const char *path) {
  char *clean = path_clean(path);
  bool is = clean != NULL && *path == '/' && strcmp(clean, path) == 0;
  for (const char *at = path; is && (at = strstr(at, "/..")) != NULL; at += 3)
    is = at[3] != '/' && at[3] != '\0';
  mem_free(clean);
  return is;
}


/* Nobody else can put anything there, or anything else in its place. */
static bool is_ours(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
         (st.st_mode & 022) == 0;
}


/* Each shadow has a place of its own, that is called after it: so that none can
   say that it lies in another's. */
static error *check_place(const value *record, const char *place) {
  size_t size;
  const char *name = path_base(place, &size);
  if (!is_straight(place) || strcmp(name, record_text(record, "id")) != 0)
    return refused(record, "that is no place of it", place);
  if (!path_within(record_text(record, "path"), place) ||
      !is_straight(record_text(record, "path")))
    return refused(record, "it does not lie in its place",
                   record_text(record, "path"));
  char *above = path_parent(place);
  if (above == NULL) return error_no_memory();
  int fd = open(above, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  error *e = NULL;
  if (fd < 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "the shadow copy %s is not there: %s cannot be opened",
                  record_text(record, "id"), above);
  else if (!is_ours(fd))
    e = refused(record, "others could have put it there", above);
  if (fd >= 0) close(fd);
  mem_free(above);
  return e;
}


/* By no link, also of those that are in the shadow. -1: there is nothing. */
static int open_below(int place, const char *below) {
  const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  char name[NAME_MAX + 1];
  int at = openat(place, ".", flags | O_DIRECTORY);
  while (at >= 0 && *(below += strspn(below, "/")) != '\0') {
    size_t size = strcspn(below, "/");
    if (size > NAME_MAX) break;
    memcpy(name, below, size);
    name[size] = '\0';
    below += size;
    int next = openat(at, name, flags | (*below != '\0' ? O_DIRECTORY : 0));
    close(at);
    at = next;
  }
  if (at >= 0 && *below == '\0') return at;
  if (at >= 0) close(at);
  return -1;
}


/* What a provider mounts to be read-only is so, where we could mount. That of
   a subvolume is its provider's to verify. */
static bool may_be_written(const provider *by, int fd) {
  char name[40];
  if (by->surface == NULL || !has_capability(CAP_SYS_ADMIN)) return false;
  return faccessat(AT_FDCWD, fd_name(fd, name), W_OK, AT_EACCESS) == 0 ||
         errno != EROFS;
}


static error *check_path(const value *record, const provider *by,
                         const char *place, int fd) {
  struct stat st;
  const char *path = record_text(record, "path");
  int at = open_below(fd, path + strlen(place));
  error *e = NULL;
  if (at < 0 || fstat(at, &st) != 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "the shadow copy %s is not there: there is no %s without a "
                  "link on the way",
                  record_text(record, "id"), path);
  else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    e = refused(record, "that is neither a directory nor a file", path);
  else if (may_be_written(by, at))
    e = refused(record, "it can be written to", path);
  if (at >= 0) close(at);
  return e;
}


/* Where the document names both, what it says the shadow is of lies in what a
   revert would roll back. */
static error *check_original(const value *record) {
  const value *keep = value_get(record, "keep");
  const char *given = record_text(record, "original");
  char *named = NULL, real[PATH_MAX], root[PATH_MAX];
  if (value_get(keep, "subvolume") == NULL) return NULL;
  error *e = keep_path(keep, "subvolume", &named);
  if (e == NULL && realpath(given, real) != NULL &&
      realpath(named, root) != NULL && !path_within(real, root))
    e = refused(record, "that is not what it is a shadow copy of", given);
  mem_free(named);
  return e;
}


static error *check_shadow(value *record, const provider *by,
                           const char *place) {
  const value *keep = value_get(record, "keep");
  bool again, changed;
  int fd = -1;
  error *e = place_open(keep, &fd);
  if (e == NULL) e = place_check(keep, fd);
  if (e == NULL) e = check_original(record);
  error *hidden =
      e == NULL ? surface_in_memory(record, NULL, &again, &changed) : NULL;
  if (e == NULL) e = by->verify(keep);
  if (e != NULL && hidden != NULL) { /* that says more */
    error_unref(e);
    e = error_ref(hidden);
  }
  error_unref(hidden);
  if (e == NULL) e = check_path(record, by, place, fd);
  if (fd >= 0) close(fd);
  return e;
}


/* Without what only the machine that wrote it can have known. */
static value *told(const value *said) {
  static const char *const not_said[] = {"exposed",      "exposed_made",
                                         "exposed_boot", "surfaced_boot",
                                         "loosening",    "deleter"};
  value *record = value_copy(said);
  bool good = record != NULL;
  for (size_t i = 0; good && i < sizeof not_said / sizeof *not_said; i++)
    good = value_put(record, not_said[i], value_null());
  int64_t bits = good ? attributes_of(record) : 0;
  bits &= ~(int64_t)(VSS_ATTR_EXPOSED_LOCALLY | VSS_ATTR_EXPOSED_REMOTELY);
  if (good && value_put(record, "attributes", value_int(bits))) return record;
  value_free(record);
  return NULL;
}


static error *import_unknown(const places *p, const value *said) {
  error *e = NULL;
  const provider *by = record_provider(said, &e);
  if (by == NULL) return e;
  if (by->verify == NULL || !place_planned(value_get(said, "keep")))
    return vss_error(VSS_E_OBJECT_NOT_FOUND,
                     "there is no record of the shadow copy %s here, and the "
                     "provider %s cannot tell whether it is there",
                     record_text(said, "id"), by->name);
  char *place = NULL;
  value *record = told(said);
  e = record != NULL ? keep_path(value_get(record, "keep"), "place", &place)
                     : error_no_memory();
  if (e == NULL && place != NULL) {
    e = check_place(record, place);
    if (e == NULL) e = check_shadow(record, by, place);
    if (e == NULL) e = make_ours(p, record);
  }
  mem_free(place);
  value_free(record);
  return e;
}


/* ------------------------------------------------------------------
** One after the other
** ---------------------------------------------------------------- */

static error *import_one(const places *p, const value *said) {
  buffer why = BUFFER_EMPTY;
  error *e = NULL;
  bool good = record_fits(said, NULL, &why) && record_is(said, "created");
  if (!good)
    e = vss_error(VSS_E_INVALID_XML_DOCUMENT,
                  "that is not a record of a shadow copy: %s",
                  why.size > 0 ? why.data : "it is not complete");
  buffer_free(&why);
  if (!good) return e;
  const char *id = record_text(said, "id");
  int claim = claim_take(p, id, &e);
  if (claim < 0) return e;
  value *record = record_load(p, id, &e);
  if (record != NULL) {
    e = import_known(p, record);
  } else if (e->code == VSS_E_OBJECT_NOT_FOUND) {
    error_unref(e);
    e = import_unknown(p, said);
  }
  value_free(record);
  claim_give(&claim);
  return e;
}


error *shadows_import(const places *p, const value *records, uint32_t *code) {
  unsigned taken = 0;
  error *first = NULL;
  *code = 0;
  for (uint32_t i = 0;
       records != NULL && records->type == VALUE_LIST && i < records->count;
       i++) {
    error *e = import_one(p, records->as.items[i]);
    if (e == NULL) {
      taken++;
      continue;
    }
    log_write(LOG_WARNING, "vss", "not imported: %s", e->message);
    if (first == NULL)
      first = e;
    else
      error_unref(e);
  }
  if (taken == 0) {
    error *e = vss_error(VSS_E_NO_SNAPSHOTS_IMPORTED,
                         "none of the shadow copies could be imported: %s",
                         first != NULL ? first->message : "there are none");
    return error_because(e, first);
  }
  if (first != NULL) *code = VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED;
  error_unref(first);
  return NULL;
}
