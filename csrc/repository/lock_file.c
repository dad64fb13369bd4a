/*
** A lock as a file: JSON with restic's fields in restic's order, and behind
** them what ours say more, which restic passes over.
*/
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "repository/go.h"
#include "repository/lock_parts.h"

void repo_lock_file_clear(repo_lock_file *f) {
  repo_owner_clear(&f->owner);
}


/* ------------------------------------------------------------------
** The name of the host
** ---------------------------------------------------------------- */

/* `restic unlock` asks whether a process of its own host is there by sending it
   SIGHUP, which restic itself ignores. It would end the program that we are a
   guest of, or make it read its configuration anew. So, unless that ignores it,
   too, the host is called so that restic takes it for another one, of which it
   asks no process; such a lock is stale to it when it was not refreshed. */
static const char apart[] = " (saros)";

static bool ignores_hangups(void) {
  struct sigaction now;
  return sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void put_host(buffer *b, const char *hostname) {
  buffer name = BUFFER_EMPTY;
  buffer_text(&name, hostname);
  if (!ignores_hangups()) buffer_text(&name, apart);
  buffer_text(b, ",\"hostname\":");
  repo_go_string(b, name.data != NULL ? name.data : "", name.size);
  b->failed = b->failed || name.failed;
  buffer_free(&name);
}

static void plain_host(char *hostname) {
  size_t size = strlen(hostname), more = sizeof apart - 1;
  if (size >= more && strcmp(hostname + size - more, apart) == 0)
    hostname[size - more] = '\0';
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static void write_text(buffer *b, const char *name, const char *text) {
  buffer_format(b, ",\"%s\":", name);
  repo_go_string(b, text, strlen(text));
}

static void write_time(buffer *b, const char *name, struct timespec t) {
  buffer_format(b, "\"%s\":\"", name);
  repo_go_time(b, t, repo_go_zone(t.tv_sec));
  buffer_text(b, "\"");
}

void repo_lock_file_write(const repo_lock_file *f, buffer *b) {
  const repo_owner *o = &f->owner;
  buffer_byte(b, '{');
  write_time(b, "time", f->time);
  buffer_format(b, ",\"exclusive\":%s", f->exclusive ? "true" : "false");
  put_host(b, o->hostname);
  write_text(b, "username", o->username);
  buffer_format(b, ",\"pid\":%lld", (long long)o->pid);
  if (o->uid != 0) buffer_format(b, ",\"uid\":%u", o->uid);
  if (o->gid != 0) buffer_format(b, ",\"gid\":%u", o->gid);
  buffer_text(b, ",\"saros\":{");
  write_time(b, "since", f->since);
  write_text(b, "boot", o->boot);
  write_text(b, "machine", o->machine);
  buffer_format(b, ",\"pids\":%llu,\"started\":%llu}}",
                (unsigned long long)o->pids, (unsigned long long)o->started);
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static bool read_time(const value *v, struct timespec *t, int32_t *zone) {
  return v != NULL && v->type == VALUE_STRING &&
         repo_go_time_read(v->as.string.data, v->as.string.size, t, zone);
}

/* A text without a NUL in it, not longer than any host's name or user's. */
static char *read_name(const value *v) {
  const char *text = value_chars(v, "");
  return strlen(text) <= 1024 ? mem_text(text) : mem_text("");
}

static void read_short(const value *v, char *into, size_t size) {
  const char *text = value_chars(v, "");
  if (strlen(text) < size) memcpy(into, text, strlen(text) + 1);
}

static void read_ours(repo_lock_file *f, const value *ours) {
  repo_owner *o = &f->owner;
  int32_t zone;
  read_short(value_get(ours, "boot"), o->boot, sizeof o->boot);
  read_short(value_get(ours, "machine"), o->machine, sizeof o->machine);
  o->pids = (uint64_t)value_integer(value_get(ours, "pids"), 0);
  o->started = (uint64_t)value_integer(value_get(ours, "started"), 0);
  if (!read_time(value_get(ours, "since"), &f->since, &zone))
    f->since.tv_sec = 0;
  /* Half of it proves nothing. */
  if (o->pids == 0 || o->started == 0) o->boot[0] = '\0';
}

static error *read_map(repo_lock_file *f, const value *map) {
  repo_owner *o = &f->owner;
  int64_t pid = value_integer(value_get(map, "pid"), 0);
  if (!read_time(value_get(map, "time"), &f->time, &f->zone))
    return repo_error(SAROS_E_DAMAGED, "the lock does not say of when it is");
  f->exclusive = value_boolean(value_get(map, "exclusive"), false);
  o->pid = pid > 0 && pid <= INT32_MAX ? pid : 0;
  o->uid = (uint32_t)value_integer(value_get(map, "uid"), 0);
  o->gid = (uint32_t)value_integer(value_get(map, "gid"), 0);
  o->hostname = read_name(value_get(map, "hostname"));
  o->username = read_name(value_get(map, "username"));
  if (o->hostname == NULL || o->username == NULL) return error_no_memory();
  const value *ours = value_get(map, "saros");
  if (ours != NULL) read_ours(f, ours);
  if (ours != NULL) plain_host(o->hostname);
  return NULL;
}

error *repo_lock_file_read(repo_lock_file *f, const char *json, size_t size) {
  static const json_limits limits = {
      .depth = 8, .size = REPO_LOCK_FILE_MOST, .values = 200};
  error *e = NULL;
  repo_id id = f->id;
  memset(f, 0, sizeof *f);
  f->id = id;
  value *map = json_read(json, size, &limits, &e);
  if (map == NULL) {
    if (e->code == SAROS_E_OUTOFMEMORY) return e;
    return error_because(repo_error(SAROS_E_DAMAGED, "the lock is no JSON"), e);
  }
  e = read_map(f, map);
  value_free(map);
  if (e != NULL) repo_lock_file_clear(f);
  return e;
}


/* ------------------------------------------------------------------
** For a person
** ---------------------------------------------------------------- */

uint64_t repo_lock_file_age(const repo_lock_file *f) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t seconds = (int64_t)now.tv_sec - (int64_t)f->time.tv_sec;
  int64_t ms = seconds * 1000 + (now.tv_nsec - f->time.tv_nsec) / 1000000;
  return seconds < 0 || ms < 0 ? 0 : (uint64_t)ms;
}

static void put_age(buffer *b, uint64_t ms) {
  uint64_t s = ms / 1000;
  if (s < 120)
    buffer_format(b, "%llu seconds", (unsigned long long)s);
  else if (s < 7200)
    buffer_format(b, "%llu minutes", (unsigned long long)(s / 60));
  else
    buffer_format(b, "%llu hours", (unsigned long long)(s / 3600));
}

/* Whoever wrote it may be hostile. */
static void put_name(buffer *b, const char *text) {
  text_escape(b, text, strnlen(text, 100));
}

void repo_lock_file_describe(const repo_lock_file *f, buffer *b) {
  const repo_owner *o = &f->owner;
  bool known = f->since.tv_sec != 0;
  buffer_format(b, "PID %lld on host ", (long long)o->pid);
  put_name(b, o->hostname[0] != '\0' ? o->hostname : "(unknown)");
  if (o->username[0] != '\0') {
    buffer_text(b, " (user ");
    put_name(b, o->username);
    buffer_text(b, ")");
  }
  buffer_format(b, " holds it%s since ", f->exclusive ? " exclusively" : "");
  struct timespec since = known ? f->since : f->time;
  since.tv_nsec = 0;
  repo_go_time(b, since, repo_go_zone(since.tv_sec));
  buffer_text(b,
              known ? ", and said so last " : " or longer, and said so last ");
  put_age(b, repo_lock_file_age(f));
  buffer_text(b, " ago");
}

static value *time_value(struct timespec t) {
  buffer b = BUFFER_EMPTY;
  repo_go_time(&b, t, repo_go_zone(t.tv_sec));
  value *v = b.failed ? NULL : value_string(b.data, b.size);
  buffer_free(&b);
  return v;
}

value *repo_lock_file_value(const repo_lock_file *f, const repo_owner *here) {
  char id[REPO_ID_TEXT];
  const repo_owner *o = &f->owner;
  value *map = value_map();
  repo_id_format(&f->id, id);
  bool good =
      map != NULL && value_put(map, "id", value_text(id)) &&
      value_put(map, "exclusive", value_bool(f->exclusive)) &&
      value_put(map, "pid", value_int(o->pid)) &&
      value_put(map, "hostname", value_text(o->hostname)) &&
      value_put(map, "username", value_text(o->username)) &&
      value_put(map, "time", time_value(f->time)) &&
      value_put(map, "stale", value_bool(repo_lock_file_is_stale(f, here))) &&
      value_put(map, "dead", value_bool(repo_lock_file_is_dead(f, here)));
  if (good && f->since.tv_sec != 0)
    good = value_put(map, "since", time_value(f->since));
  if (good) return map;
  value_free(map);
  return NULL;
}
