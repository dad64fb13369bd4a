/*
** What fails in the middle of a backup, a prune, a restore: a disk that is full
** or gives back errors, a server that errs, lies, resets, stands still. Either
** it passes and all is well, or the call fails and says of what; then what is
** there is right, and the call, made again, comes to its end. A cancel at such
** a moment loses nothing.
**
** not under valgrind: it has a server that waits; ASan runs it
** not under thread: it makes calls fail that the tool watches
*/
#include <sys/mount.h>

#include "instant.h"
#include "where_case.h"

typedef enum deed { BACKUP, PRUNE, RESTORE, DEEDS } deed;

static const char *const deed_names[] = {"backup", "prune", "restore"};

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

static saros_op *begin(repo *r, deed d) {
  value *o =
      d == BACKUP ? where_backup_options()
      : d == PRUNE
          ? json_options("{'max_unused':0}")
          : json_options("{'version':'latest','target':'%s/at'}", care_base);
  return call_begin(r, deed_names[d], o);
}

static call_result perform(repo *r, deed d) {
  return call_end(begin(r, d));
}

/* What a restore that came to a good end has made. */
static bool is_restored(void) {
  char path[300];
  snprintf(path, sizeof path, "%s/at%s/src", care_base, care_base);
  char *is = described(path);
  bool same = strcmp(is, where_texts[4]) == 0;
  mem_free(is);
  SHELL("rm -rf '%s/at'", care_base);
  return same;
}

/* Every file that is there under its name has all of its bytes, however the
   restore ended; times and owners come last. */
static void nothing_wrong_is_there(void) {
  SHELL(
      "cd '%s/at%s/src' 2>/dev/null || exit 0; "
      "find . -type f ! -name '.saros-restore-*' | while read -r f; do "
      "cmp -s \"$f\" \"%s/four/$f\" || { echo \"wrong: $f\"; exit 1; }; done",
      care_base, care_base, care_base);
}

/* Everything that was there is, and what was to be done can be. */
static void is_right(const where *w, deed d, bool done) {
  repo *r = where_open(w);
  int states = where_versions(r);
  CHECK((states & ~WHERE_NOW) == WHERE_OLD);
  CHECK(d == BACKUP || states == WHERE_OLD);
  CHECK(!done || d != BACKUP || states == (WHERE_OLD | WHERE_NOW));
  CHECK(care_is_whole(r));
  if (!done) {
    call_result c = perform(r, d);
    CHECK_INT(c.code, 0);
    if (c.code != 0) printf("  again: %s\n", c.message);
    call_free(&c);
    CHECK(d != RESTORE || is_restored());
    states = where_versions(r);
    CHECK_INT(states, d == BACKUP ? WHERE_OLD | WHERE_NOW : WHERE_OLD);
    CHECK(care_is_whole(r));
  } else if (d == RESTORE) {
    CHECK(is_restored());
  }
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  repo_unref(r);
}


/* ------------------------------------------------------------------
** Disks
** ---------------------------------------------------------------- */

static bool mounted;

static bool mount_small(const char *megabytes) {
  char options[60];
  snprintf(options, sizeof options, "size=%s", megabytes);
  SHELL("mkdir -p '%s'", care_at("full"));
  mounted = mount("none", care_at("full"), "tmpfs", 0, options) == 0;
  return mounted;
}

static void resize(const char *size) {
  char options[60];
  snprintf(options, sizeof options, "size=%s", size);
  CHECK(mount("none", care_at("full"), "tmpfs", MS_REMOUNT, options) == 0);
}

static void unmount(void) {
  if (mounted) CHECK(umount2(care_at("full"), 0) == 0);
  mounted = false;
}

static bool says_no_room(const call_result *c) {
  bool says = c->code == code_of_errno(ENOSPC) &&
              strstr(c->message, care_at("full")) != NULL;
  if (!says) printf("0x%x %s\n", c->code, c->message);
  return says;
}

/* A copy of the repository, and so many KiB. */
static where on_a_disk_with(long room) {
  where w = {.kind = WHERE_FOLDER};
  char size[30];
  buffer b = BUFFER_EMPTY;
  snprintf(w.location, sizeof w.location, "%s", care_at("full"));
  resize("200m");
  SHELL("rm -rf '%s'/* && cp -a '%s/.' '%s'", w.location, care_at("base"),
        w.location);
  CHECK(run_shell(&b, "df -k --output=used '%s' | tail -n 1", w.location));
  snprintf(size, sizeof size, "%ldk", atol(b.data) + room);
  buffer_free(&b);
  resize(size);
  return w;
}

/* One pack and a half fit: the one need not be stored again. One at a time:
   of two that are written side by side neither might. */
static void full_in_the_middle(void) {
  uint64_t before, after;
  where w = on_a_disk_with(6000);
  repo *r = where_open_with(&w, "{'connections':1}");
  where_count(r, REPO_PACKS, &before);
  call_result c = perform(r, BACKUP);
  CHECK(says_no_room(&c));
  call_free(&c);
  where_count(r, REPO_PACKS, &after);
  CHECK(after > before);
  CHECK_INT(where_count(r, REPO_SNAPSHOTS, NULL), 3);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  CHECK(care_is_whole(r));
  repo_unref(r);
  resize("200m");
  r = where_open(&w);
  c = perform(r, BACKUP);
  CHECK_INT(c.code, 0);
  CHECK(call_number(&c, "bytes_packed") + (int64_t)(after - before) <
        call_number(&c, "bytes"));
  call_free(&c);
  repo_unref(r);
  is_right(&w, BACKUP, true);
}

/* Nearly nothing fits, or nothing at all, not even a lock. */
static void full_from_the_beginning(deed d, long room) {
  where w = on_a_disk_with(room);
  repo *r = where_open(&w);
  call_result c = perform(r, d);
  CHECK(says_no_room(&c));
  call_free(&c);
  CHECK_INT(where_count(r, REPO_SNAPSHOTS, NULL), 3);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  repo_unref(r);
  resize("200m");
  is_right(&w, d, false);
}

static call_result ask(repo *r, const char *name, const char *options) {
  value *o = json_options("%s", options);
  saros_op *op = call_begin(r, name, o);
  CHECK(gate_wait(op));
  return call_end(op);
}

/* Not a byte is free, so there is no lock; but a version can go, and then there
   is room for one. */
static void room_is_made(void) {
  where w = on_a_disk_with(0);
  repo *r = where_open(&w);
  call_result c = ask(r, "prune", "{'max_repack_size':1}");
  CHECK(says_no_room(&c));
  CHECK(strstr(c.message, "forget needs none") != NULL);
  call_free(&c);
  c = ask(r, "check", "{}");
  CHECK(says_no_room(&c));
  CHECK(strstr(c.message, "no_lock") != NULL);
  call_free(&c);
  c = ask(r, "forget", "{'keep_last':1,'group_by':[]}");
  CHECK_INT(c.code, 0);
  call_free(&c);
  CHECK_INT(where_count(r, REPO_SNAPSHOTS, NULL), 1);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  c = ask(r, "prune", "{'max_repack_size':1}");
  CHECK_INT(c.code, 0);
  call_free(&c);
  resize("200m");
  CHECK(care_is_whole(r));
  repo_unref(r);

  /* Somebody who was there before has the repository. */
  w = on_a_disk_with(64);
  r = where_open(&w);
  repo_hold *h = NULL;
  CHECK(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h) == NULL);
  SHELL("cat /dev/zero >'%s/filler' 2>/dev/null; true", w.location);
  repo *other = where_open(&w);
  c = ask(other, "forget", "{'keep_last':1,'group_by':[]}");
  CHECK_INT(c.code, SAROS_E_LOCKED);
  call_free(&c);
  CHECK_INT(where_count(r, REPO_SNAPSHOTS, NULL), 3);
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  repo_unref(other);
  repo_unref(r);
}

TEST(a_full_disk) {
  if (geteuid() != 0 || !mount_small("200m"))
    SKIP("only root can mount a small disk");
  full_in_the_middle();
  full_from_the_beginning(BACKUP, 12);
  full_from_the_beginning(PRUNE, 0);
  room_is_made();
  if (is_long()) full_from_the_beginning(BACKUP, 0);
  if (is_long()) full_from_the_beginning(PRUNE, 12);
  unmount();
}

/* A lock that could not be removed is that of this process, which lives: the
   operation has said so, and it is removed here. */
static bool lock_stays(repo *r, saros_op *op, const where *w) {
  if (where_count(r, REPO_LOCKS, NULL) == 0) return false;
  value *status = op_status(op);
  const value *cleanup = value_get(status, "cleanup");
  /* One that failed to take it has nobody to tell. */
  CHECK((cleanup != NULL && cleanup->count > 0) || saros_op_code(op) != 0);
  value_free(status);
  SHELL("rm -f '%s'/locks/*", w->location);
  return true;
}

/* From the n-th call of the system on that changes or reads something, or it
   alone. */
static void errs_at(deed d, int number, long n, bool lasts) {
  where w = where_copy("base", WHERE_FOLDER, "f");
  repo *r = where_open(&w);
  instant.calls = 0;
  instant.reads = d != BACKUP;
  instant.fails_at = n;
  instant.fails_forever = lasts;
  instant.fails = number;
  instant.armed = true;
  saros_op *op = begin(r, d);
  CHECK(gate_wait(op));
  instant.armed = false;
  instant.fails = 0;
  bool stays = lock_stays(r, op, &w);
  call_result c = call_end(op);
  bool good = c.code == 0;
  if (c.code == SAROS_S_PARTIAL) {
    CHECK(d == RESTORE && call_errors(&c) > 0);
  } else if (!good) {
    CHECK_INT(c.code, code_of_errno(number));
    CHECK(strstr(c.message, " in /") != NULL); /* where */
  }
  if (!good && getenv("V") != NULL) printf("  (%s)\n", c.message);
  call_free(&c);
  repo_unref(r);
  if (d == RESTORE) nothing_wrong_is_there();
  is_right(&w, d, good);
  if (stays && getenv("V") != NULL) printf("  (its lock had stayed)\n");
  if (check_bad > 0)
    printf("  (%s, call %ld%s)\n", deed_names[d], n, lasts ? " and on" : "");
}

static void errors(deed d, int number) {
  uint64_t seed = gate_seed(deed_names[d]);
  errs_at(d, number, LONG_MAX, false);
  long calls = instant.calls, count = is_long() ? 2 * calls : 2;
  CHECK(calls > 10);
  for (long i = 0; i < count && check_bad == 0; i++)
    errs_at(d, number,
            1 + (is_long() ? i / 2 : (long)gate_below(&seed, (unsigned)calls)),
            i % 2 == 1);
  printf("%s: a disk that errs at %ld of %ld calls\n", deed_names[d],
         is_long() ? calls : count, calls);
}

TEST(a_disk_that_errs) {
  errors(BACKUP, EIO);
  errors(PRUNE, EIO);
  errors(RESTORE, EIO);
}


/* ------------------------------------------------------------------
** Servers
** ---------------------------------------------------------------- */

static const char *const passing[] = {
    "\"fault\":\"status\",\"status\":500,\"code\":\"InternalError\"",
    "\"fault\":\"status\",\"status\":503,\"code\":\"SlowDown\",\"after\":1",
    "\"fault\":\"status\",\"status\":503",
    "\"fault\":\"reset\"",      /* before anything was done */
    "\"fault\":\"lost\"",       /* it was done, and nobody was told */
    "\"fault\":\"half\"",       /* in the middle of the answer */
    "\"fault\":\"stall\"",      /* nothing comes */
    "\"fault\":\"store half\"", /* it says that it has stored it */
    "\"fault\":\"shift\"",      /* it sends another part */
};

static const char *const plans[] = {"",
                                    "\"method\":\"PUT\",",
                                    "\"method\":\"GET\",",
                                    "\"method\":\"DELETE\",",
                                    "\"match\":\"/data/\",",
                                    "\"match\":\"/index/\",",
                                    "\"match\":\"/snapshots/\","};

#define IMPATIENT "{'stall_seconds':0.3,'retry_seconds':60}"

/* Each fault some times, at chosen requests: all comes to a good end. */
TEST(a_server_that_errs_and_recovers) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  uint64_t seed = gate_seed("a_server_that_errs_and_recovers");
  size_t kinds = sizeof passing / sizeof passing[0];
  long rounds = is_long() ? 150 : 3;
  for (long i = 0; i < rounds && check_bad == 0; i++) {
    deed d = (deed)gate_below(&seed, DEEDS);
    char plan[900];
    int n = 0;
    where w = where_copy("base", WHERE_BUCKET, "f");
    repo *r = where_open_with(&w, IMPATIENT);
    for (int k = 0; k < 3; k++) {
      const char *fault = passing[(size_t)(i * 3 + k) % kinds];
      n += snprintf(plan + n, sizeof plan - (size_t)n,
                    "%s{%s%s,\"skip\":%u,\"times\":%u}", k > 0 ? "," : "[",
                    plans[gate_below(&seed, sizeof plans / sizeof plans[0])],
                    fault, gate_below(&seed, 5), 1 + gate_below(&seed, 2));
    }
    snprintf(plan + n, sizeof plan - (size_t)n, "]");
    control("/!plan", plan);
    call_result c = perform(r, d);
    CHECK_INT(c.code, 0);
    if (c.code != 0)
      printf("  (%s: %s\n   %s)\n", deed_names[d], c.message, plan);
    call_free(&c);
    control("/!plan", "[]");
    repo_unref(r);
    is_right(&w, d, true);
    if (check_bad > 0) printf("  (%s: %s)\n", deed_names[d], plan);
  }
}

/* From a chosen request on for ever: it fails, says so, and nothing is lost. */
TEST(a_server_that_goes_on_erring) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  uint64_t seed = gate_seed("a_server_that_goes_on_erring");
  long rounds = is_long() ? 100 : 3, failed = 0;
  size_t first = gate_below(&seed, 6);
  for (long i = 0; i < rounds && check_bad == 0; i++) {
    static const struct {
      const char *fault, *words;
    } lasting[] = {
        {"\"fault\":\"status\",\"status\":500", "500"},
        {"\"fault\":\"status\",\"status\":503,\"after\":1", "503"},
        {"\"fault\":\"reset\"", "http"},
        {"\"fault\":\"status\",\"status\":403,\"code\":\"AccessDenied\"",
         "may not do that"},
        {"\"fault\":\"status\",\"status\":507", "room"},
        {"\"fault\":\"stall\"", "http"},
    };
    deed d = (deed)gate_below(&seed, DEEDS);
    char plan[300];
    size_t kind = (first + (size_t)i) % (sizeof lasting / sizeof lasting[0]);
    where w = where_copy("base", WHERE_BUCKET, "f");
    /* Patient with what the plan does not name: on a machine that is busy an
       answer may take its time. */
    bool stalls = strstr(lasting[kind].fault, "stall") != NULL;
    repo *r =
        where_open_with(&w, stalls ? "{'stall_seconds':3,'retry_seconds':0.5}"
                                   : "{'retry_seconds':0.5}");
    snprintf(plan, sizeof plan,
             "[{\"match\":\"/%s/\",%s,\"skip\":%u,\"times\":99999}]",
             gate_below(&seed, 2) ? "data" : "index", lasting[kind].fault,
             is_long() ? gate_below(&seed, 4) : 0);
    control("/!plan", plan);
    call_result c = perform(r, d);
    control("/!plan", "[]");
    failed += c.code != 0;
    if (c.code != 0 && c.code != SAROS_S_PARTIAL) {
      bool says = strstr(c.message, lasting[kind].words) != NULL;
      CHECK(says && strstr(c.message, "canary") == NULL);
      if (!says) printf("  (%s)\n", c.message);
    }
    if (d == RESTORE) nothing_wrong_is_there();
    CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
    bool done = c.code == 0;
    call_free(&c);
    repo_unref(r);
    is_right(&w, d, done);
    if (check_bad > 0) printf("  (%s: %s)\n", deed_names[d], plan);
  }
  CHECK(failed > rounds / 3);
}


/* ------------------------------------------------------------------
** A server that stands still
** ---------------------------------------------------------------- */

static void hold_a(const char *method, const char *what, unsigned skip) {
  char plan[200];
  snprintf(plan, sizeof plan,
           "[{\"method\":\"%s\",\"match\":\"/%s/\",\"fault\":\"hold\","
           "\"skip\":%u,\"times\":1}]",
           method, what, skip);
  control("/!plan", plan);
}

static void is_held(void) {
  char *answer = server_ask(&s, "GET", "/!held", "");
  CHECK_TEXT(answer, "1");
  free(answer);
}

/* In the middle of it the server is stopped; when it has been asked again, it
   goes on. */
static void stands_still(deed d, const char *method, const char *what,
                         bool cancels) {
  where w = where_copy("base", WHERE_BUCKET, "f");
  repo *r = where_open_with(&w, IMPATIENT);
  hold_a(method, what, 0);
  instant.calls = 0;
  saros_op *op = begin(r, d);
  is_held();
  CHECK(kill(s.pid, SIGSTOP) == 0);
  instant.armed = true; /* whatever is sent from now on is a new try */
  GATE_UNTIL(instant.calls > 1);
  instant.armed = false;
  if (cancels) CHECK_INT(saros_op_cancel(op), 0);
  CHECK(kill(s.pid, SIGCONT) == 0);
  control("/!release", "");
  call_result c = call_end(op);
  CHECK_INT(c.code, cancels ? SAROS_E_CANCELLED : 0);
  if (c.code != 0 && !cancels) printf("  (%s)\n", c.message);
  call_free(&c);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  repo_unref(r);
  is_right(&w, d, !cancels);
  if (check_bad > 0) printf("  (%s, at a %s)\n", deed_names[d], method);
}

TEST(a_server_that_stands_still) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  stands_still(BACKUP, "PUT", "data", false);
  stands_still(PRUNE, "DELETE", "index", false);
  stands_still(RESTORE, "GET", "data", false);
  stands_still(BACKUP, "PUT", "data", true);
  if (is_long()) stands_still(PRUNE, "PUT", "index", true);
}

/* While a pack is on its way. What had been stored is named, and used. */
TEST(cancelled_loses_nothing) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  uint64_t base, packs;
  where w = where_copy("base", WHERE_BUCKET, "f");
  repo *r = where_open_with(&w, "{'connections':1}");
  where_count(r, REPO_PACKS, &base);
  hold_a("PUT", "data", 1);
  saros_op *op = begin(r, BACKUP);
  is_held();
  CHECK_INT(saros_op_cancel(op), 0);
  call_result c = call_end(op); /* while it is held */
  CHECK_INT(c.code, SAROS_E_CANCELLED);
  call_free(&c);
  where_count(r, REPO_PACKS, &packs);
  CHECK(packs > base);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  control("/!release", "");
  repo_unref(r);
  r = where_open(&w);
  c = perform(r, BACKUP);
  CHECK_INT(c.code, 0);
  CHECK(call_number(&c, "bytes_packed") + (int64_t)(packs - base) <
        call_number(&c, "bytes"));
  call_free(&c);
  repo_unref(r);
  is_right(&w, BACKUP, true);
}

TEST(without_restic) {
  SKIP("restic is not installed");
}

int main(int argc, char **argv) {
  store_engine();
  gate_begin(argc, argv);
  if (is_long()) alarm(0);
  if (!care_begin()) {
    GATE_RUN(without_restic);
    return check_end();
  }
  where_server();
  where_fill("base", 6);
  SHELL(
      "mkdir '%s/four' && restic --no-cache -q -r '%s' restore latest --target "
      "'%s/four.all' && mv '%s/four.all%s/src'/* '%s/four'",
      care_base, care_at("base"), care_base, care_base, care_base, care_base);
  GATE_RUN(a_full_disk);
  GATE_RUN(a_disk_that_errs);
  GATE_RUN(a_server_that_errs_and_recovers);
  GATE_RUN(a_server_that_goes_on_erring);
  GATE_RUN(a_server_that_stands_still);
  GATE_RUN(cancelled_loses_nothing);
  unmount();
  where_end();
  return check_end();
}
