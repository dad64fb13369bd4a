/*
** Lists: a whole one is read and understood before anybody is told of what is
** in it, so that one that was cut tells nothing. Version 2 of the protocol says
** names and sizes, version 1 names alone; the sizes are asked for, then.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repository/scan.h"
#include "repository/store/rest_parts.h"

#define LIST_MOST ((size_t)1 << 30)

typedef struct list {
  rest_found *all;
  size_t count, room;
  buffer name, field; /* of the entry that is being read */
} list;

static bool keep(list *l, uint64_t size) {
  repo_id id;
  if (!repo_id_parse(&id, l->name.data != NULL ? l->name.data : "",
                     l->name.size))
    return true;
  if (l->count == l->room) {
    size_t room = l->room == 0 ? 1000 : l->room * 2;
    rest_found *all = mem_grow(l->all, room * sizeof *all);
    if (all == NULL) return false;
    l->all = all;
    l->room = room;
  }
  l->all[l->count++] = (rest_found){id, size};
  return true;
}

static bool is(const buffer *b, const char *name) {
  return b->size == strlen(name) && memcmp(b->data, name, b->size) == 0;
}

/* {"name":"…","size":N}, in any order; what else is in it is passed over. */
static void read_entry(list *l, repo_scan *s) {
  uint64_t size = 0;
  bool has_name = false, has_size = false;
  buffer_clear(&l->name);
  if (repo_scan_take(s, '}')) return;
  do {
    buffer_clear(&l->field);
    repo_scan_string(s, &l->field);
    repo_scan_expect(s, ':');
    if (!repo_scan_is_well(s)) return;
    if (is(&l->field, "name") && !has_name) {
      repo_scan_string(s, &l->name);
      has_name = true;
    } else if (is(&l->field, "size") && !has_size) {
      size = repo_scan_number(s, INT64_MAX);
      has_size = true;
    } else {
      repo_scan_skip(s);
    }
  } while (repo_scan_take(s, ','));
  repo_scan_expect(s, '}');
  if (!repo_scan_is_well(s) || !has_name) return;
  if (!keep(l, has_size ? size : HTTP_UNKNOWN)) s->no_memory = true;
}

static void read_name(list *l, repo_scan *s) {
  buffer_clear(&l->name);
  repo_scan_string(s, &l->name);
  if (repo_scan_is_well(s) && !keep(l, HTTP_UNKNOWN)) s->no_memory = true;
}

error *repo_restful_read_list(const char *json, size_t size, rest_found **all,
                              size_t *count) {
  repo_scan s = repo_scan_of(json, size);
  list l = {0};
  error *e = NULL;
  repo_scan_expect(&s, '[');
  if (!repo_scan_take(&s, ']')) {
    do {
      if (repo_scan_take(&s, '{'))
        read_entry(&l, &s);
      else
        read_name(&l, &s);
    } while (repo_scan_is_well(&s) && !s.no_memory && repo_scan_take(&s, ','));
    if (!s.no_memory) repo_scan_expect(&s, ']');
  }
  if (!s.no_memory) repo_scan_finish(&s);
  if (s.no_memory || l.name.failed || l.field.failed)
    e = error_no_memory();
  else if (!repo_scan_is_well(&s))
    e = repo_scan_error(&s, "the list");
  buffer_free(&l.name);
  buffer_free(&l.field);
  *all = l.all;
  *count = l.count;
  return e;
}

static error *fetch(rest *s, repo_file kind, buffer *b, bool *empty,
                    const repo_stop *stop) {
  char path[32], doing[64];
  const char *folder = repo_file_folder(kind);
  snprintf(path, sizeof path, "/%s/", folder);
  snprintf(doing, sizeof doing, "list the %s",
           kind == REPO_PACKS ? "packs" : folder);
  rest_call c = {.doing = doing,
                 .method = "GET",
                 .path = path,
                 .into = b,
                 .most = LIST_MOST,
                 .stop = stop};
  error *e = repo_restful_call(s, &c);
  /* A folder that is not there yet has nothing in it. (rclone makes them as
     they are needed, and says "not found" of other failures.) */
  *empty = e != NULL && c.trouble.fate == REST_ABSENT && !c.is_rclone;
  if (*empty) {
    error_unref(e);
    e = NULL;
  }
  return e;
}

static error *tell(repo_store *store, repo_file kind, rest_found *f,
                   repo_store_each each, void *context, const repo_stop *stop) {
  if (f->size == HTTP_UNKNOWN) {
    error *e = repo_restful_size(store, kind, &f->id, &f->size, stop);
    if (e != NULL && e->number == ENOENT) { /* it is gone meanwhile */
      error_unref(e);
      return NULL;
    }
    if (e != NULL) return e;
  }
  if (kind == REPO_LOCKS && f->size == 0) return NULL;
  return each(context, &f->id, f->size);
}

error *repo_restful_list(repo_store *store, repo_file kind,
                         repo_store_each each, void *context,
                         const repo_stop *stop) {
  rest *s = (rest *)store;
  rest_found *all = NULL;
  size_t count = 0;
  buffer b = BUFFER_EMPTY;
  bool empty = true;
  error *e = repo_restful_forked(s);
  if (e == NULL && kind != REPO_CONFIG) e = fetch(s, kind, &b, &empty, stop);
  if (e == NULL && !empty) {
    e = repo_restful_read_list(b.data != NULL ? b.data : "", b.size, &all,
                               &count);
    if (e != NULL && e->code != SAROS_E_OUTOFMEMORY)
      e = error_because(
          repo_error(SAROS_E_DAMAGED,
                     "the list of what is in %s cannot be understood: is that "
                     "a REST server for restic?",
                     s->location),
          e);
  }
  buffer_free(&b);
  for (size_t i = 0; e == NULL && i < count; i++)
    e = tell(store, kind, &all[i], each, context, stop);
  mem_free(all);
  return e;
}
