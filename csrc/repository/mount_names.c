/*
** mount_names: the directories above the versions, as restic's mount has them.
*/
#include <stdio.h>
#include <string.h>

#include "repository/go.h"
#include "repository/mount_parts.h"

enum { ROOT, IDS, SNAPSHOTS, HOSTS, TAGS };

static error *add_directory(mount_layout *l, size_t *number) {
  if (l->count == l->room) {
    size_t room = l->room * 2 + 16;
    mount_names *list = mem_grow(l->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    l->list = list;
    l->room = room;
  }
  *number = l->count;
  l->list[l->count++] = (mount_names){NULL, 0, 0};
  return NULL;
}

static const mount_name *find(const mount_names *d, const char *name) {
  for (size_t i = 0; i < d->count; i++)
    if (strcmp(d->list[i].name, name) == 0) return &d->list[i];
  return NULL;
}

static error *add(mount_layout *l, size_t in, const char *name,
                  mount_name_kind kind, size_t number, const char *target) {
  mount_names *d = &l->list[in];
  if (d->count == d->room) {
    size_t room = d->room * 2 + 16;
    mount_name *list = mem_grow(d->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    d->list = list;
    d->room = room;
  }
  mount_name n = {mem_text(name), kind, number, mem_text(target)};
  if (n.name == NULL || (target != NULL && n.target == NULL)) {
    mem_free(n.name);
    mem_free(n.target);
    return error_no_memory();
  }
  d->list[d->count++] = n;
  return NULL;
}

/* What can be no name of a directory is made one. */
static void clean(char name[256], const char *text) {
  snprintf(name, 256, "%s", text);
  for (char *c = name; *c != '\0'; c++)
    if (*c == '/') *c = '_';
  if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    snprintf(name, 256, "_");
}

/* A name that is there already gets "-1", "-2", … */
static error *add_version(mount_layout *l, size_t in, const char *time,
                          size_t version) {
  char name[80];
  snprintf(name, sizeof name, "%.60s", time);
  for (unsigned i = 1; find(&l->list[in], name) != NULL; i++)
    snprintf(name, sizeof name, "%.60s-%u", time, i);
  return add(l, in, name, MOUNT_NAME_VERSION, version, NULL);
}

static error *add_below(mount_layout *l, size_t in, const char *text,
                        const char *time, size_t version) {
  char name[256];
  size_t number = 0;
  clean(name, text);
  const mount_name *there = find(&l->list[in], name);
  if (there != NULL) return add_version(l, there->number, time, version);
  error *e = add_directory(l, &number);
  if (e == NULL) e = add(l, in, name, MOUNT_NAME_DIRECTORY, number, NULL);
  return e != NULL ? e : add_version(l, number, time, version);
}

static error *add_id(mount_layout *l, const repo_snapshot *s, size_t version) {
  char text[REPO_ID_TEXT], name[REPO_ID_TEXT];
  size_t size = 8;
  repo_id_format(&s->id, text);
  do {
    snprintf(name, sizeof name, "%.*s", (int)size, text);
  } while (find(&l->list[IDS], name) != NULL && ++size < REPO_ID_TEXT);
  return add(l, IDS, name, MOUNT_NAME_VERSION, version, NULL);
}

static error *add_everywhere(mount_layout *l, const repo_snapshot *s,
                             size_t version) {
  buffer time = BUFFER_EMPTY;
  repo_go_time(&time, (struct timespec){.tv_sec = s->time.tv_sec}, s->zone);
  error *e = time.failed ? error_no_memory() : add_id(l, s, version);
  if (e == NULL) e = add_version(l, SNAPSHOTS, time.data, version);
  if (e == NULL)
    e = add_below(l, HOSTS, s->hostname != NULL ? s->hostname : "", time.data,
                  version);
  for (uint32_t i = 0; e == NULL && s->tags != NULL && i < s->tags->count; i++)
    e = add_below(l, TAGS, value_chars(s->tags->as.items[i], ""), time.data,
                  version);
  buffer_free(&time);
  return e;
}

/* Versions come by their time: the last one is the latest. */
static error *add_latest(mount_layout *l, size_t in) {
  const mount_names *d = &l->list[in];
  if (d->count == 0 || d->list[d->count - 1].kind != MOUNT_NAME_VERSION)
    return NULL;
  return add(l, in, "latest", MOUNT_NAME_LINK, 0, d->list[d->count - 1].name);
}

error *mount_layout_make(mount_layout *l, repo_snapshot *const *versions,
                         size_t count) {
  static const char *const names[] = {"", "ids", "snapshots", "hosts", "tags"};
  size_t number = 0;
  error *e = add_directory(l, &number);
  for (int i = IDS; e == NULL && i <= TAGS; i++) {
    e = add_directory(l, &number);
    if (e == NULL)
      e = add(l, ROOT, names[i], MOUNT_NAME_DIRECTORY, number, NULL);
  }
  for (size_t i = 0; e == NULL && i < count; i++)
    e = add_everywhere(l, versions[i], i);
  for (size_t i = SNAPSHOTS; e == NULL && i < l->count; i++)
    e = add_latest(l, i);
  return e;
}

void mount_layout_free(mount_layout *l) {
  for (size_t i = 0; i < l->count; i++) {
    for (size_t k = 0; k < l->list[i].count; k++) {
      mem_free(l->list[i].list[k].name);
      mem_free(l->list[i].list[k].target);
    }
    mem_free(l->list[i].list);
  }
  mem_free(l->list);
  *l = (mount_layout){NULL, 0, 0};
}
