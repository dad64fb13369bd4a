/*
** node_users: who a number is. A lookup may ask a directory server, a tree has
** few owners: so the last names are kept, a fixed number of them.
*/
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>

#include "repository/node.h"

enum { SLOTS = 512 };
#define SMALLEST ((size_t)1024)
#define LARGEST ((size_t)1 << 20) /* of a group's record, with its members */

typedef struct slot {
  bool is_used;
  uint32_t id;
  char *name; /* NULL: it has none */
} slot;

struct repo_users {
  pthread_mutex_t lock; /* of the slots; nothing is locked inside it */
  slot users[SLOTS], groups[SLOTS];
};

repo_users *repo_users_new(void) {
  repo_users *u = mem_zero(sizeof *u);
  if (u == NULL) return NULL;
  if (pthread_mutex_init(&u->lock, NULL) != 0) {
    mem_free(u);
    return NULL;
  }
  return u;
}

void repo_users_free(repo_users *u) {
  if (u == NULL) return;
  for (int i = 0; i < SLOTS; i++) {
    mem_free(u->users[i].name);
    mem_free(u->groups[i].name);
  }
  pthread_mutex_destroy(&u->lock);
  mem_free(u);
}

/* 0 when it is known that there is a name or none, which is NULL or points
   into `room`; else an errno. */
static int look_up(bool group, uint32_t id, char *room, size_t size,
                   const char **name) {
  *name = NULL;
  if (group) {
    struct group record, *found = NULL;
    int r = getgrgid_r(id, &record, room, size, &found);
    if (found != NULL) *name = record.gr_name;
    return r;
  }
  struct passwd record, *found = NULL;
  int r = getpwuid_r(id, &record, room, size, &found);
  if (found != NULL) *name = record.pw_name;
  return r;
}

/* NSS says in one of these ways that there is none. */
static bool is_none(int r) {
  return r == 0 || r == ENOENT || r == ESRCH || r == EBADF || r == EPERM;
}

/* The name, allocated, or NULL; *known is false when that may be otherwise
   the next time. */
static char *ask(bool group, uint32_t id, bool *known) {
  char *name = NULL;
  *known = false;
  for (size_t size = SMALLEST; size <= LARGEST; size *= 4) {
    const char *found;
    char *room = mem_alloc(size);
    if (room == NULL) break;
    int r = look_up(group, id, room, size, &found);
    if (found != NULL) name = mem_text(found);
    *known = is_none(r) && (found == NULL || name != NULL);
    mem_free(room);
    if (r != ERANGE) break;
  }
  return name;
}

static bool put_name(buffer *b, const char *name) {
  if (name == NULL || *name == '\0') return false;
  buffer_text(b, name);
  return true;
}

static bool find(repo_users *u, bool group, uint32_t id, buffer *b) {
  slot *s = (group ? u->groups : u->users) + id % SLOTS;
  bool known = false, has_name = false;
  pthread_mutex_lock(&u->lock);
  if (s->is_used && s->id == id) {
    known = true;
    has_name = put_name(b, s->name);
  }
  pthread_mutex_unlock(&u->lock);
  if (known) return has_name;
  char *name = ask(group, id, &known), *old = name;
  has_name = put_name(b, name);
  if (known) {
    pthread_mutex_lock(&u->lock);
    old = s->name;
    *s = (slot){true, id, name};
    pthread_mutex_unlock(&u->lock);
  }
  mem_free(old);
  return has_name;
}

bool repo_users_user(repo_users *u, uint32_t uid, buffer *b) {
  return find(u, false, uid, b);
}

bool repo_users_group(repo_users *u, uint32_t gid, buffer *b) {
  return find(u, true, gid, b);
}
