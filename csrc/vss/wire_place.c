/*
** The directory of the writers' sockets: who may be believed there, what lives
** and what is left over.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/wire_parts.h"

#define ASIDE ".saros-"

enum { FOUND_MOST = 256, GUID_SIZE = 36 };


/* ------------------------------------------------------------------
** Who is believed
** ---------------------------------------------------------------- */

/* The first numbers of a small file; how many. */
static int read_numbers(const char *path, unsigned long numbers[3]) {
  FILE *f = fopen(path, "re");
  if (f == NULL) return 0;
  int n = fscanf(f, "%lu %lu %lu", &numbers[0], &numbers[1], &numbers[2]);
  fclose(f);
  return n;
}

/* In a user namespace (of a container) all who are outside of it have one
   number, which may be ours, too: that says nothing of who they are. */
static bool is_nameless(uid_t uid) {
  unsigned long over[3] = {65534}, map[3];
  (void)read_numbers("/proc/sys/kernel/overflowuid", over);
  if (uid != (uid_t)over[0]) return false;
  return read_numbers("/proc/self/uid_map", map) != 3 || map[0] != 0 ||
         map[1] != 0 || map[2] < 0xFFFFFFFFul;
}

bool wire_believes(uid_t uid) {
  return uid == 0 || (uid == geteuid() && !is_nameless(uid));
}

const char *wire_who(pid_t pid, uid_t uid, char text[WIRE_WHO]) {
  char whose[48] = "a user who is not of this container";
  char process[40] = "a process of another container";
  if (!is_nameless(uid))
    snprintf(whose, sizeof whose, "user %lu", (unsigned long)uid);
  if (pid != 0) snprintf(process, sizeof process, "process %ld", (long)pid);
  snprintf(text, WIRE_WHO, "%s, of %s,", process, whose);
  return text;
}


/* ------------------------------------------------------------------
** The directory
** ---------------------------------------------------------------- */

static error *not_believed(const char *directory, const char *why) {
  return error_at(
      vss_error(SAROS_E_ACCESSDENIED,
                "the directory of the writers' sockets, %s, %s: whoever "
                "listens there could pretend to be a writer. Make it mode "
                "0755, of root or of this user",
                directory, why),
      directory);
}

error *wire_place_open(const char *directory, wire_place *place) {
  struct stat s;
  *place = (wire_place){NULL, -1};
  int fd = fd_own(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (fd < 0 || fstat(fd, &s) != 0) {
    error *e =
        error_of_errno(SAROS_FACADE_VSS, errno,
                       "the directory of the writers' sockets", directory);
    fd_close(&fd);
    return e;
  }
  error *e = NULL;
  if (!wire_believes(s.st_uid))
    e = not_believed(directory, "belongs to another user");
  else if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (s.st_mode & S_ISVTX) == 0)
    e = not_believed(directory, "can be written to by other users");
  if (e == NULL) {
    place->directory = mem_text(directory);
    if (place->directory == NULL) e = error_no_memory();
  }
  if (e == NULL)
    place->fd = fd;
  else
    fd_close(&fd);
  return e;
}

void wire_place_close(wire_place *place) {
  fd_close(&place->fd);
  mem_free(place->directory);
  place->directory = NULL;
}

int wire_address(const char *directory, int fd, const char *name,
                 struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  size_t size = sizeof address->sun_path;
  int n = snprintf(address->sun_path, size, "%s/%s", directory, name);
  if (n >= 0 && (size_t)n < size) return 0;
  if (fd < 0) return ENAMETOOLONG;
  n = snprintf(address->sun_path, size, "/proc/self/fd/%d/%s", fd, name);
  return n >= 0 && (size_t)n < size ? 0 : ENAMETOOLONG;
}

int wire_connect(const char *directory, const char *name, int fd) {
  struct sockaddr_un to;
  int at = -1;
  int r = wire_address(directory, at, name, &to);
  if (r == ENAMETOOLONG) {
    at = fd_own(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
    r = at < 0 ? errno : wire_address(directory, at, name, &to);
  }
  if (r == 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
    r = errno;
  fd_close(&at);
  return r;
}

int wire_peer(int fd, uid_t *uid, pid_t *pid) {
  struct ucred who;
  socklen_t size = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return errno;
  *uid = who.uid;
  *pid = who.pid;
  return 0;
}


/* ------------------------------------------------------------------
** Dead sockets
** ---------------------------------------------------------------- */

/* Asked with a datagram socket: where a stream socket is bound, listening or
   not yet, the kernel says EPROTOTYPE and the other end notices nothing. Only
   where nobody has it any more does it say ECONNREFUSED. */
static int knock(const wire_place *place, const char *name) {
  struct sockaddr_un to;
  int r = wire_address(place->directory, place->fd, name, &to);
  if (r != 0) return r;
  int fd = fd_socket(AF_UNIX, SOCK_DGRAM);
  if (fd < 0) return errno;
  r = connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
  fd_close(&fd);
  return r;
}

bool wire_is_dead(const wire_place *place, const char *name) {
  return knock(place, name) == ECONNREFUSED;
}

bool wire_aside(char name[WIRE_NAME]) {
  guid g;
  char text[GUID_TEXT];
  if (!guid_make(&g)) return false;
  guid_format(&g, text);
  snprintf(name, WIRE_NAME, ASIDE "%s", text);
  return true;
}

/* Somebody may bind a new one of that name just now. So it is moved aside,
   looked at again, and put back if it is not the dead one. */
bool wire_remove_dead(const wire_place *place, const char *name) {
  char aside[WIRE_NAME];
  if (!wire_aside(aside)) return false;
  if (renameat2(place->fd, name, place->fd, aside, RENAME_NOREPLACE) != 0)
    return errno == ENOENT;
  if (!wire_is_dead(place, aside)) {
    if (renameat2(place->fd, aside, place->fd, name, RENAME_NOREPLACE) != 0)
      log_write(LOG_WARNING, "vss", "a writer's socket is now called %s/%s: %s",
                place->directory, aside, strerrordesc_np(errno));
    return false;
  }
  unlinkat(place->fd, aside, 0);
  log_write(LOG_NOTICE, "vss",
            "removed %s/%s: the writer that listened there is gone",
            place->directory, name);
  return true;
}


/* ------------------------------------------------------------------
** Names
** ---------------------------------------------------------------- */

/* GUID.sock, which is its class's only instance and has the class's GUID, or
   GUID.GUID.sock: the class, and which of it. */
static bool read_name(const char *name, char id[37], char instance[37]) {
  guid g;
  size_t size = strlen(name);
  bool both = size == 2 * GUID_SIZE + 6;
  if (!both && size != GUID_SIZE + 5) return false;
  if (strcmp(name + size - 5, ".sock") != 0) return false;
  memcpy(id, name, GUID_SIZE);
  memcpy(instance, both ? name + GUID_SIZE + 1 : name, GUID_SIZE);
  id[GUID_SIZE] = instance[GUID_SIZE] = '\0';
  if (both && name[GUID_SIZE] != '.') return false;
  return guid_parse(id, &g) && !guid_is_null(&g) && guid_parse(instance, &g) &&
         !guid_is_null(&g);
}


/* ------------------------------------------------------------------
** Looking round
** ---------------------------------------------------------------- */

static void left_out(const wire_place *place, const char *name,
                     const char *why) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, name, strlen(name));
  log_write(LOG_NOTICE, "vss", "no writer: %s/%s: %s", place->directory,
            b.data != NULL && !b.failed ? b.data : "?", why);
  buffer_free(&b);
}

/* NULL, or why it is left out; "" when nobody need be told. */
static const char *why_not(const wire_place *place, const char *name) {
  struct stat s;
  if (fstatat(place->fd, name, &s, AT_SYMLINK_NOFOLLOW) != 0) return "";
  if (!S_ISSOCK(s.st_mode)) return "it is no socket";
  if (!wire_believes(s.st_uid)) return "it belongs to another user";
  if (wire_is_ours(s.st_dev, s.st_ino)) return "";
  switch (knock(place, name)) {
    case EPROTOTYPE: return NULL;
    case ECONNREFUSED: break;
    case ENOENT: return "";
    case 0: return "it is a datagram socket";
    case EACCES: return "it may not be connected to";
    default: return "it cannot be connected to";
  }
  if (s.st_uid != geteuid()) return "nobody listens there any more";
  return wire_remove_dead(place, name) ? "" : NULL;
}

/* Of one that was killed before its socket had its name. */
static void look_at_aside(const wire_place *place, const char *name) {
  struct stat s;
  if (fstatat(place->fd, name, &s, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISSOCK(s.st_mode) && s.st_uid == geteuid() && wire_is_dead(place, name))
    unlinkat(place->fd, name, 0);
}

static error *look_at(const wire_place *place, const char *name,
                      writer_list *list) {
  char id[37], instance[37];
  if (strncmp(name, ASIDE, sizeof ASIDE - 1) == 0) look_at_aside(place, name);
  if (name[0] == '.') return NULL;
  if (!read_name(name, id, instance)) {
    left_out(place, name, "a socket is called ID.sock or ID.INSTANCE.sock");
    return NULL;
  }
  const char *why = why_not(place, name);
  if (why != NULL) {
    if (why[0] != '\0') left_out(place, name, why);
    return NULL;
  }
  error *e = NULL;
  writer *w = wire_writer(place->directory, name, id, instance, &e);
  if (w != NULL && !writer_list_add(list, w)) e = error_no_memory();
  return e;
}

static int by_id(const void *a, const void *b) {
  const writer *x = *(writer *const *)a, *y = *(writer *const *)b;
  int order = strcmp(x->id, y->id);
  return order != 0 ? order : strcmp(x->instance, y->instance);
}

static error *look_round(const wire_place *place, DIR *d, writer_list *list) {
  error *e = NULL;
  size_t first = list->count;
  for (struct dirent *i; e == NULL && (i = readdir(d)) != NULL;) {
    if (list->count - first == FOUND_MOST) {
      log_write(LOG_WARNING, "vss", "more than %d writers in %s: not asked",
                FOUND_MOST, place->directory);
      break;
    }
    e = look_at(place, i->d_name, list);
  }
  if (list->count > first) /* the same order every time */
    qsort(list->items + first, list->count - first, sizeof *list->items, by_id);
  return e;
}

error *wire_find(const char *directory, writer_list *list) {
  wire_place place;
  error *e = wire_place_open(directory, &place);
  if (e != NULL && e->number == ENOENT) { /* nobody has ever listened there */
    error_unref(e);
    return NULL;
  }
  if (e != NULL) return e;
  int fd = fd_own(openat(place.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL) {
    e = error_of_errno(SAROS_FACADE_VSS, errno,
                       "the writers' sockets cannot be listed", directory);
    fd_close(&fd);
  } else {
    e = look_round(&place, d, list);
    fd_disown(fd);
    closedir(d);
  }
  wire_place_close(&place);
  return e;
}
