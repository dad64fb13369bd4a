/*
** Which versions stay, against what restic says: seeded sets of versions are
** written into a repository of restic's, and `restic forget --dry-run` is asked
** with the same rules. (One rule is newer than restic 0.14: that the oldest
** stays while something is left. It is allowed to be the only difference.)
**
** not under valgrind: it asks restic; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include <fcntl.h>
#include <time.h>

#include "cheap_case.h"
#include "repository/crypto.h"
#include "repository/go.h"
#include "repository/snapshot.h"

enum { MOST = 200 };

static repo_snapshot *all[MOST];
static size_t count;
static repo_sealer *sealer;

static unsigned long long seed;
static unsigned next_random(unsigned below) {
  seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(seed >> 33) % below;
}


/* ------------------------------------------------------------------
** Versions in restic's repository
** ---------------------------------------------------------------- */

static void get_bytes(const value *v, const char *name, uint8_t *to,
                      size_t size) {
  buffer b = BUFFER_EMPTY;
  const char *text = value_chars(value_get(v, name), "");
  CHECK(text_unbase64(&b, text, strlen(text)) && b.size == size);
  if (b.size == size) memcpy(to, b.data, size);
  buffer_free(&b);
}

static void get_key(void) {
  value *v = restic_json("restic --no-cache --no-lock -q cat masterkey");
  repo_key *key = repo_secret_new(sizeof *key);
  error *e = NULL;
  CHECK(v != NULL && key != NULL);
  get_bytes(v, "encrypt", key->encrypt, 32);
  get_bytes(value_get(v, "mac"), "k", key->k, 16);
  get_bytes(value_get(v, "mac"), "r", key->r, 16);
  sealer = repo_sealer_new(key, &e);
  CHECK(sealer != NULL);
  repo_secret_free(key, sizeof *key);
  value_free(v);
}

static void store(repo_snapshot *s) {
  buffer b = BUFFER_EMPTY;
  char id[REPO_ID_TEXT], path[200];
  uint8_t sealed[4096];
  CHECK(repo_snapshot_write(s, &b) == NULL);
  CHECK(b.size + REPO_SEAL <= sizeof sealed);
  CHECK(repo_seal(sealer, b.data, b.size, sealed) == NULL);
  repo_id_of(&s->id, sealed, b.size + REPO_SEAL);
  repo_id_format(&s->id, id);
  snprintf(path, sizeof path, "%s/repository/snapshots/%s", restic_base, id);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK(write(fd, sealed, b.size + REPO_SEAL) == (ssize_t)b.size + REPO_SEAL);
  close(fd);
  buffer_free(&b);
}

static value *some_words(const char *const *from, unsigned n) {
  value *list = value_list();
  for (unsigned i = 0; i < n; i++)
    if (next_random(2)) value_add(list, value_text(from[i]));
  return list;
}

/* Close together and far apart, now and then in the future, but by no more than
   a clock may be that is right. */
static void make_all(size_t n) {
  static const int32_t zones[] = {0, 3600, -28800, 19800, 45900, -12600};
  static const char *const hosts[] = {"one", "two"};
  static const char *const paths[] = {"/a", "/b"};
  static const char *const tags[] = {"x", "y", "z"};
  static const int64_t steps[] = {60, 3600, 86400, 7 * 86400, 30 * 86400};
  int64_t at = 1500000000 + next_random(100000);
  for (count = 0; count < n; count++) {
    repo_snapshot *s = all[count] = repo_snapshot_new();
    at += 1 + next_random((unsigned)steps[next_random(5)]);
    s->time = (struct timespec){(time_t)at, 1000 * (long)next_random(1000000)};
    s->zone = zones[next_random(6)];
    s->hostname = mem_text(hosts[next_random(2)]);
    s->username = mem_text("root");
    s->paths = some_words(paths, 2);
    s->tags = some_words(tags, 3);
    s->tree.bytes[0] = (uint8_t)count;
    if (count + 3 > n && next_random(3) == 0)
      s->time.tv_sec = time(NULL) + 3600 + (time_t)count;
    store(s);
  }
}

static void free_all(void) {
  char id[REPO_ID_TEXT], path[200];
  while (count > 0) {
    repo_id_format(&all[--count]->id, id);
    snprintf(path, sizeof path, "%s/repository/snapshots/%s", restic_base, id);
    CHECK(unlink(path) == 0);
    repo_snapshot_free(all[count]);
  }
}


/* ------------------------------------------------------------------
** Rules
** ---------------------------------------------------------------- */

static const char *const rules[] = {"last",   "hourly",  "daily",
                                    "weekly", "monthly", "yearly"};

/* A policy, and the same as restic's arguments. */
static void make_policy(repo_policy *p, char *args, size_t room) {
  size_t at = 0;
  *p = (repo_policy){.keep = {0}};
  args[0] = '\0';
  for (int i = 0; i < REPO_RULES; i++) {
    if (next_random(3) == 0) {
      p->keep[i] = 1 + (int)next_random(8);
      at += (size_t)snprintf(args + at, room - at, " --keep-%s %d", rules[i],
                             p->keep[i]);
    }
    if (next_random(5) == 0) {
      char span[40];
      snprintf(span, sizeof span, "%uy%um%ud%uh", next_random(2),
               next_random(14), next_random(40), 1 + next_random(100));
      p->has_within[i] = true;
      CHECK(repo_span_read(span, &p->within[i]));
      at += (size_t)snprintf(args + at, room - at, " --keep-within%s%s %s",
                             i > 0 ? "-" : "", i > 0 ? rules[i] : "", span);
    }
  }
  if (next_random(4) == 0) {
    static const char *const lists[] = {"x", "x,y", "z", ""};
    const char *list = lists[next_random(4)];
    value *tags = value_list();
    value_add(tags, value_string(list, strcspn(list, ",")));
    if (strchr(list, ',') != NULL)
      value_add(tags, value_text(strchr(list, ',') + 1));
    p->tags = value_list();
    value_add(p->tags, tags);
    at += (size_t)snprintf(args + at, room - at, " --keep-tag '%s'", list);
  }
  if (repo_policy_is_empty(p)) {
    p->keep[0] = 1;
    snprintf(args + at, room - at, " --keep-last 1");
  }
}

static size_t find(const char *id) {
  char text[REPO_ID_TEXT];
  for (size_t i = 0; i < count; i++) {
    repo_id_format(&all[i]->id, text);
    if (strcmp(text, id) == 0) return i;
  }
  CHECK_TEXT(id, "the id of a version of ours");
  return 0;
}

/* What restic says: 1 keeps, 0 removes, and in which of its groups each is. */
static void read_answer(const value *groups, int *keeps, size_t *group,
                        const value **matches) {
  for (uint32_t g = 0; groups != NULL && g < groups->count; g++)
    for (int kept = 0; kept < 2; kept++) {
      const value *list =
          value_get(groups->as.items[g], kept ? "keep" : "remove");
      const value *why = value_get(groups->as.items[g], "reasons");
      if (list == NULL || list->type != VALUE_LIST) continue;
      for (uint32_t i = 0; i < list->count; i++) {
        size_t n = find(value_chars(value_get(list->as.items[i], "id"), ""));
        keeps[n] = kept;
        group[n] = g;
        if (kept) matches[n] = value_get(why->as.items[i], "matches");
      }
    }
}

static bool is_newer(const value *reason) {
  return strncmp(value_chars(reason, ""), "oldest ", 7) == 0;
}

/* Our reasons without those of the newer rule. */
static bool same_reasons(const value *ours, const value *theirs) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < ours->count; i++) {
    if (is_newer(ours->as.items[i])) continue;
    if (n == theirs->count ||
        strcmp(value_chars(ours->as.items[i], ""),
               value_chars(theirs->as.items[n++], "")) != 0)
      return false;
  }
  return n == theirs->count;
}

static bool only_newer(const value *ours) {
  for (uint32_t i = 0; i < ours->count; i++)
    if (!is_newer(ours->as.items[i])) return false;
  return true;
}

static size_t differences;

static void check_one(size_t i, bool keep, const value *ours, int theirs,
                      const value *matches, const char *args) {
  bool same = keep == (theirs == 1);
  if (keep && theirs == 1) same = same_reasons(ours, matches);
  if (keep && theirs == 0) {
    same = only_newer(ours);
    differences++;
  }
  CHECK(theirs >= 0);
  if (same) return;
  buffer b = BUFFER_EMPTY;
  CHECK(repo_snapshot_write(all[i], &b) == NULL);
  if (ours != NULL) json_write(&b, ours, JSON_COMPACT);
  if (matches != NULL) json_write(&b, matches, JSON_COMPACT);
  printf("seed %llu: ours %d, restic's %d:%s\n%s\n", seed, keep, theirs, args,
         b.data);
  buffer_free(&b);
  check_bad++;
}

static void compare(const repo_policy *p, unsigned by, const char *args) {
  char command[1500];
  int theirs[MOST];
  size_t group[MOST], groups, their_group[MOST];
  const value *matches[MOST] = {NULL};
  struct timespec now;
  snprintf(command, sizeof command,
           "TZ=UTC restic --no-cache --no-lock -q forget --dry-run --json "
           "--group-by '%s%s%s'%s",
           by & REPO_BY_HOST ? "host," : "", by & REPO_BY_PATHS ? "paths," : "",
           by & REPO_BY_TAGS ? "tags" : "", args);
  value *v = restic_json(command);
  clock_gettime(CLOCK_REALTIME, &now);
  for (size_t i = 0; i < count; i++) theirs[i] = -1;
  read_answer(v, theirs, their_group, matches);
  CHECK(repo_snapshots_group(all, count, by, group, &groups) == NULL);
  CHECK_INT(groups, v != NULL ? v->count : 0);
  for (size_t g = 0; g < groups; g++) {
    repo_snapshot *some[MOST];
    size_t which[MOST], n = 0;
    bool keep[MOST];
    value *reasons[MOST];
    for (size_t i = 0; i < count; i++)
      if (group[i] == g) {
        which[n] = i;
        some[n++] = all[i];
      }
    CHECK(repo_policy_apply(p, some, n, now, keep, reasons) == NULL);
    for (size_t i = 0; i < n; i++) {
      CHECK_INT(their_group[which[i]], their_group[which[0]]);
      check_one(which[i], keep[i], reasons[i], theirs[which[i]],
                matches[which[i]], args);
      value_free(reasons[i]);
    }
  }
  value_free(v);
}

TEST(as_restic_does) {
  size_t sets = getenv("SAROS_LONG") != NULL ? 20 : 3, compared = 0;
  if (getenv("SAROS_QUICK") != NULL) sets = 1;
  /* In the first format nothing is compressed: a seal is all it takes. */
  if (!cheap_restic_begin("/tmp", 1)) SKIP("restic is not installed");
  get_key();
  for (size_t set = 0; set < sets && check_bad == 0; set++) {
    seed = 20240301 + set * 977;
    make_all(20 + next_random(MOST - 20));
    for (int i = 0; i < 8 && check_bad == 0; i++) {
      char args[1000];
      repo_policy p;
      make_policy(&p, args, sizeof args);
      compare(&p, next_random(8), args);
      value_free(p.tags);
      compared += count;
    }
    free_all();
  }
  printf("%zu verdicts compared, %zu by the newer rule\n", compared,
         differences);
  repo_sealer_free(sealer);
  restic_end();
}

/* As days from a "now"; what stays, as bits, of a policy that keeps this. */
static unsigned stay(int last, int daily, const char *within, size_t n,
                     const double *days) {
  repo_snapshot *some[8];
  bool keeps[8];
  value *reasons[8];
  unsigned bits = 0;
  struct timespec now = {1700000000, 0};
  repo_policy p = {.keep = {last, 0, daily}};
  if (within != NULL)
    p.has_within[REPO_KEEP_LAST] =
        repo_span_read(within, &p.within[REPO_KEEP_LAST]);
  for (size_t i = 0; i < n; i++) {
    some[i] = repo_snapshot_new();
    some[i]->time.tv_sec = now.tv_sec + (time_t)(days[i] * 86400);
  }
  CHECK(repo_policy_apply(&p, some, n, now, keeps, reasons) == NULL);
  for (size_t i = 0; i < n; i++) {
    bits |= (unsigned)keeps[i] << i;
    CHECK(keeps[i] == (reasons[i] != NULL));
    bool said = keeps[i] && strcmp(value_chars(reasons[i]->as.items[0], ""),
                                   "ahead of the clock") == 0;
    CHECK_INT(said, days[i] > 2);
    value_free(reasons[i]);
    repo_snapshot_free(some[i]);
  }
  return bits;
}

TEST(what_is_ahead_of_the_clock_takes_nobodys_place) {
  const double days[] = {-3, -2, -1, -0.01, 365, 366};
  CHECK_INT(stay(1, 0, NULL, 6, days), 0x38);
  CHECK_INT(stay(0, 2, NULL, 6, days), 0x3c);
  CHECK_INT(stay(0, 0, "2d12h", 6, days), 0x3e);
  const double zones[] = {-3, -2, 0.5, 1.04};
  CHECK_INT(stay(1, 0, NULL, 4, zones), 8);
  const double later[] = {700, 365, 366};
  CHECK_INT(stay(1, 0, NULL, 3, later), 7);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  store_engine();
  RUN(what_is_ahead_of_the_clock_takes_nobodys_place);
  RUN(as_restic_does);
  return check_end();
}
