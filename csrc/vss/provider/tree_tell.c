/*
** What the shadow lacks, told: it never looks whole when it is not. Of many
** paths the first are named, and all are counted. In the warnings they are for
** people; in keep they are as they are, for who looks whose files these were.
*/
#include <stdio.h>
#include <string.h>

#include "vss/provider/tree_parts.h"

#define NAMED 100u   /* paths kept of each kind */
#define IN_WARNING 5 /* of those, in the sentence */

static const char *const sentences[LACKS] = {
    "could not be read and so is not in the shadow",
    "has something else mounted on it, which is not in the shadow: shadow that "
    "by itself",
    "was written to while it was copied under the hold, so its copy may be of "
    "no one instant: let its writer hold still, or choose a provider that is "
    "atomic",
    "could not be made (only root may) and so is not in the shadow",
    "lacks owner, mode or attributes that could not be given to it"};

static const char *const sentences_many[LACKS] = {
    "could not be read and so are not in the shadow",
    "have something else mounted on them, which is not in the shadow: shadow "
    "those by themselves",
    "were written to while they were copied under the hold, so their copies "
    "may be of no one instant: let their writers hold still, or choose a "
    "provider that is atomic",
    "could not be made (only root may) and so are not in the shadow",
    "lack owner, mode or attributes that could not be given to them"};

void lack_add(tree *t, lack what, const walk_dir *d, const char *name,
              int number) {
  lacking *l = &t->lacks[what];
  pthread_mutex_lock(&t->c.lock);
  uint64_t count = ++l->count;
  pthread_mutex_unlock(&t->c.lock);
  if (count > NAMED) return;
  bool whole;
  char *at = copy_raw_path(&t->c, d, name, COPY_SOURCE, &whole);
  if (at != NULL && !whole) { /* counted, and not named: it is not its name */
    mem_free(at);
    return;
  }
  value *path = at != NULL ? value_text(at) : NULL;
  value *why = number != 0 ? value_text(strerror(number)) : value_null();
  mem_free(at);
  pthread_mutex_lock(&t->c.lock);
  if (l->paths == NULL) l->paths = value_list();
  if (l->reasons == NULL) l->reasons = value_list();
  bool good = false;
  if (l->paths != NULL && l->reasons != NULL && path != NULL && why != NULL) {
    good = value_add(l->paths, path) && value_add(l->reasons, why);
  } else {
    value_free(path);
    value_free(why);
  }
  pthread_mutex_unlock(&t->c.lock);
  if (!good) copy_fail(&t->c, error_no_memory());
}

static bool warn(tree *t, lack what) {
  const lacking *l = &t->lacks[what];
  buffer b = BUFFER_EMPTY;
  if (l->count == 0) return true;
  unsigned shown = l->paths != NULL ? l->paths->count : 0;
  if (shown > IN_WARNING) shown = IN_WARNING;
  for (unsigned i = 0; i < shown; i++) {
    const char *why = value_chars(l->reasons->as.items[i], NULL);
    const value *path = l->paths->as.items[i];
    buffer_text(&b, i > 0 ? ", \"" : "\"");
    text_escape(&b, path->as.string.data, path->as.string.size);
    buffer_byte(&b, '"');
    if (why != NULL) buffer_format(&b, " (%s)", why);
  }
  if (l->count > shown)
    buffer_format(&b, shown > 0 ? " and %llu more" : "%llu with long names",
                  (unsigned long long)(l->count - shown));
  buffer_format(&b, " %s",
                l->count == 1 ? sentences[what] : sentences_many[what]);
  bool good = !b.failed && value_add(t->s->warnings, value_text(b.data));
  buffer_free(&b);
  return good;
}

static bool record(tree *t, lack what, const char *name) {
  const lacking *l = &t->lacks[what];
  char count[40];
  if (l->count == 0) return true;
  snprintf(count, sizeof count, "%s_count", name);
  return (l->paths == NULL ||
          value_put(t->s->keep, name, value_copy(l->paths))) &&
         value_put(t->s->keep, count, value_int((int64_t)l->count));
}

/* What meta_copy left out without failing, because only root may keep it. */
static bool warn_counts(tree *t) {
  unsigned long long owners = atomic_load(&t->c.n.skipped_owners);
  unsigned long long attributes = atomic_load(&t->c.n.skipped_xattrs);
  if (owners + attributes == 0) return true;
  return shadow_warn(t->s,
                     "%llu owners and %llu extended attributes could not be "
                     "kept in the shadow: root, or a provider that is atomic, "
                     "keeps all of them",
                     owners, attributes);
}

bool lack_tell(tree *t) {
  for (int i = 0; i < LACKS; i++)
    if (!warn(t, (lack)i)) return false;
  return record(t, LACK_TORN, "torn") && record(t, LACK_UNREAD, "unread") &&
         warn_counts(t);
}

void lack_free(tree *t) {
  for (int i = 0; i < LACKS; i++) {
    value_free(t->lacks[i].paths);
    value_free(t->lacks[i].reasons);
  }
}
