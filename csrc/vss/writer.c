/*
** Writers: their names of events, their references, and the register of those
** of this process. The register holds a reference of its own to each.
*/
#include "vss/writer.h"

#include <errno.h>
#include <string.h>

#include "op/fork.h"

static const char *const events[EVENTS] = {"identify",
                                           "prepare_backup",
                                           "prepare_snapshot",
                                           "freeze",
                                           "thaw",
                                           "post_snapshot",
                                           "abort",
                                           "backup_complete",
                                           "backup_shutdown",
                                           "pre_restore",
                                           "post_restore"};

const char *writer_event_name(writer_event event) {
  return (unsigned)event < EVENTS ? events[event] : "unknown";
}

writer_event writer_event_of(const char *name) {
  unsigned e = 0;
  while (e < EVENTS && (name == NULL || strcmp(events[e], name) != 0)) e++;
  return (writer_event)e;
}


/* ------------------------------------------------------------------
** One writer
** ---------------------------------------------------------------- */

/* False when it is no GUID; lower case, so that texts can be compared. */
static bool clean_guid(const char *text, char clean[37]) {
  guid g;
  if (text == NULL || !guid_parse(text, &g) || guid_is_null(&g)) return false;
  guid_format(&g, clean);
  return true;
}

static error *identify(writer *w, const char *id, const char *instance) {
  guid fresh;
  if (!clean_guid(id, w->id))
    return vss_error(SAROS_E_INVALIDARG,
                     "a writer needs an id that is a GUID, and always the "
                     "same one: make it once (uuidgen) and write it down");
  if (instance == NULL && !guid_make(&fresh))
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "no random number for a writer's instance", NULL);
  if (instance == NULL)
    guid_format(&fresh, w->instance);
  else if (!clean_guid(instance, w->instance))
    return vss_error(SAROS_E_INVALIDARG,
                     "the instance of a writer must be a GUID; leave it out, "
                     "and it gets one");
  return NULL;
}

writer *writer_make(const writer_way *way, const char *id, const char *instance,
                    const char *name, void *self, error **e) {
  writer *w = mem_zero(sizeof *w);
  if (w == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  *e = identify(w, id, instance);
  if (*e == NULL && name != NULL) {
    w->name = mem_text(name);
    if (w->name == NULL) *e = error_no_memory();
  }
  if (*e != NULL) {
    mem_free(w->name);
    mem_free(w);
    return NULL;
  }
  atomic_init(&w->refs, 1);
  w->way = way;
  w->self = self;
  w->generation = fork_generation;
  return w;
}

writer *writer_ref(writer *w) {
  atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
  return w;
}

void writer_unref(writer *w) {
  if (w == NULL) return;
  if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1) return;
  if (w->way->release != NULL) w->way->release(w);
  mem_free(w->name);
  mem_free(w);
}


/* ------------------------------------------------------------------
** The register
** ---------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static writer *registered;

/* The list is whole at the instant of a fork. What the child finds in it is
   its parent's: left out by its generation. */
static void before_fork(void) {
  pthread_mutex_lock(&lock);
}

static void after_fork(void) {
  pthread_mutex_unlock(&lock);
}

static void prepare(void) {
  pthread_atfork(before_fork, after_fork, after_fork);
}

static void hold(void) {
  pthread_once(&once, prepare);
  pthread_mutex_lock(&lock);
}

static bool same(const writer *a, const writer *b) {
  return a->generation == b->generation && strcmp(a->id, b->id) == 0 &&
         strcmp(a->instance, b->instance) == 0;
}

static bool is_there(const writer *w) {
  for (const writer *i = registered; i != NULL; i = i->next)
    if (i == w || same(i, w)) return true;
  return false;
}

error *writer_subscribe(writer *w) {
  if (w->generation != fork_generation)
    return vss_error(SAROS_E_FORKED,
                     "this writer was made before a fork, by the parent: make "
                     "one in this process");
  hold();
  bool taken = is_there(w);
  if (!taken) {
    w->next = registered;
    if (w->next != NULL) w->next->link = &w->next;
    w->link = &registered;
    registered = writer_ref(w);
  }
  pthread_mutex_unlock(&lock);
  if (!taken) return NULL;
  return vss_error(VSS_E_WRITER_ALREADY_SUBSCRIBED,
                   "writer %s, instance %s, is subscribed already: close that "
                   "one first, or leave the instance out",
                   w->id, w->instance);
}

void writer_unsubscribe(writer *w) {
  hold();
  bool was = w->link != NULL;
  if (was) {
    *w->link = w->next;
    if (w->next != NULL) w->next->link = w->link;
    w->next = NULL;
    w->link = NULL;
  }
  pthread_mutex_unlock(&lock);
  if (was) writer_unref(w);
}

error *writer_is_gone(const writer *w) {
  hold();
  bool gone = w->link == NULL;
  pthread_mutex_unlock(&lock);
  if (!gone) return NULL;
  return vss_error(VSS_E_WRITER_NOT_RESPONDING,
                   "the writer \"%s\" was closed, or its Lua state was: it is "
                   "told nothing any more",
                   w->name != NULL ? w->name : w->id);
}


/* ------------------------------------------------------------------
** Lists
** ---------------------------------------------------------------- */

bool writer_list_add(writer_list *list, writer *w) {
  /* Grows at 0, 1, 2, 4, …: the capacity need not be remembered. */
  if ((list->count & (list->count - 1)) == 0) {
    size_t capacity = list->count == 0 ? 1 : 2 * list->count;
    writer **items = mem_grow(list->items, capacity * sizeof(writer *));
    if (items == NULL) {
      writer_unref(w);
      return false;
    }
    list->items = items;
  }
  list->items[list->count++] = w;
  return true;
}

void writer_list_free(writer_list *list) {
  for (size_t i = 0; i < list->count; i++) writer_unref(list->items[i]);
  mem_free(list->items);
  list->items = NULL;
  list->count = 0;
}

/* In the order of subscription: the register has the last one first. */
static void turn_round(writer_list *list) {
  for (size_t i = 0; i < list->count / 2; i++) {
    writer *other = list->items[list->count - 1 - i];
    list->items[list->count - 1 - i] = list->items[i];
    list->items[i] = other;
  }
}

bool writer_local(writer_list *list) {
  *list = (writer_list){NULL, 0};
  bool good = true;
  hold();
  for (writer *w = registered; good && w != NULL; w = w->next)
    if (w->generation == fork_generation) {
      /* The register's reference keeps it: the last unref is not under the
         lock, also when this fails. */
      good = writer_list_add(list, writer_ref(w));
    }
  pthread_mutex_unlock(&lock);
  if (good)
    turn_round(list);
  else
    writer_list_free(list);
  return good;
}
