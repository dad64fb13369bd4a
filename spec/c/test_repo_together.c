/*
** Two at once in one repository, ours and ours, ours and restic's, either of
** them first: backups go on side by side, a prune lets nobody in and comes in
** nowhere; who must stay outside says who holds what since when; and whatever
** they did, all versions are what was backed up. Each is a process of its own.
** The server holds the first in the middle of what it does until the second
** has had its turn: nothing here depends on how fast anybody is.
**
** not under valgrind: it watches programs of their own
** not under address: its operations are those of programs that it starts
** not under thread: its operations are those of programs that it starts
*/
#include "where_case.h"

typedef enum who { OURS, THEIRS } who;

static const char *const who_names[] = {"ours", "restic's"};


/* ------------------------------------------------------------------
** One of the two
** ---------------------------------------------------------------- */

/* --child DEED LOCATION BASE STATE RETRY: says when it waits for a lock, and
   at last how it ended. */
static int child(char **argv) {
  const char *deed = argv[0];
  char more[100];
  where w = {.kind = WHERE_BUCKET};
  bool waits = false;
  snprintf(w.location, sizeof w.location, "%s", argv[1]);
  snprintf(care_base, sizeof care_base, "%s", argv[2]);
  where_state = atoi(argv[3]);
  snprintf(more, sizeof more, "{'retry_lock':%s}", argv[4]);
  store_engine();
  repo *r = where_open_with(&w, more);
  saros_op *op = call_begin(r, deed,
                            strcmp(deed, "backup") == 0
                                ? where_backup_options()
                                : json_options("{'max_unused':0}"));
  while (!saros_op_wait(op, 10)) {
    value *status = op_status(op);
    const char *phase = value_chars(value_get(status, "phase"), "");
    if (!waits && strcmp(phase, "waiting for a lock") == 0) {
      waits = true;
      printf("it waits\n");
      fflush(stdout);
    }
    value_free(status);
  }
  call_result c = call_end(op);
  printf("0x%x %s\n", c.code, c.message);
  call_free(&c);
  repo_unref(r);
  http_settle();
  return c.code == 0 ? 0 : 1;
}

typedef struct actor {
  who who;
  pid_t pid;
  FILE *out;
  char text[4000]; /* all it said */
  int status;
} actor;

static void act(const actor *a, const where *w, const char *deed,
                const char *retry) {
  char self[300], state[20], tree[200];
  snprintf(state, sizeof state, "%d", where_state);
  snprintf(tree, sizeof tree, "%s/src", care_base);
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = '\0';
  if (a->who == OURS)
    execl(self, self, "--child", deed, w->location, care_base, state, retry,
          (char *)NULL);
  snprintf(state, sizeof state, "s%d", where_state);
  if (strcmp(deed, "backup") == 0)
    execlp("restic", "restic", "--no-cache", "-q", "-r", w->location, "backup",
           "--force", "--pack-size", "4", "--tag", state, tree, (char *)NULL);
  execlp("restic", "restic", "--no-cache", "-q", "-r", w->location, "prune",
         "--max-unused", "0", (char *)NULL);
}

static actor begin(who whose, const where *w, const char *deed,
                   const char *retry) {
  actor a = {.who = whose, .status = -1};
  int out[2];
  CHECK(pipe2(out, O_CLOEXEC) == 0);
  where_env(w);
  fflush(stdout);
  a.pid = fork();
  if (a.pid == 0) {
    dup2(out[1], 1);
    dup2(out[1], 2);
    act(&a, w, deed, retry);
    _exit(127);
  }
  close(out[1]);
  a.out = fdopen(out[0], "r");
  return a;
}

static bool read_line(actor *a) {
  size_t size = strlen(a->text);
  return fgets(a->text + size, (int)(sizeof a->text - size), a->out) != NULL;
}

/* Whether it came to a good end. */
static bool ends(actor *a) {
  while (read_line(a)) continue;
  fclose(a->out);
  CHECK(waitpid(a->pid, &a->status, 0) == a->pid);
  return WIFEXITED(a->status) && WEXITSTATUS(a->status) == 0;
}

static bool says(const actor *a, const char *words) {
  if (strstr(a->text, words) != NULL) return true;
  printf("%s does not say \"%s\" but: %s\n", who_names[a->who], words, a->text);
  return false;
}

/* It stayed outside, because of the other one, and says so. */
static void stays_outside(actor *a, const actor *of, bool exclusively) {
  char pid[40], host[256] = "";
  CHECK(!ends(a));
  gethostname(host, sizeof host - 1);
  snprintf(pid, sizeof pid, "PID %ld on", (long)of->pid);
  CHECK(says(a, pid));
  CHECK(says(a, host));
  if (exclusively) CHECK(says(a, "exclusively"));
  if (a->who == OURS) {
    CHECK(says(a, "0xa5a5")); /* SAROS_E_LOCKED, and no other failure */
    CHECK(says(a, "the repository is locked"));
    CHECK(says(a, " since "));
    CHECK(says(a, "retry_lock"));
  } else {
    CHECK(says(a, "already locked"));
    CHECK(says(a, "lock was created at"));
  }
}


/* ------------------------------------------------------------------
** The gate
** ---------------------------------------------------------------- */

/* In the middle of a backup a pack is on its way; of a prune the index. */
static void hold_behind(const char *what, unsigned skip) {
  char plan[200];
  snprintf(plan, sizeof plan,
           "[{\"method\":\"PUT\",\"match\":\"/%s/\",\"fault\":\"hold\","
           "\"skip\":%u,\"times\":1}]",
           what, skip);
  control("/!plan", plan);
}

static void hold_at(const char *what) {
  hold_behind(what, 0);
}

static void is_held(void) {
  char *answer = server_ask(&s, "GET", "/!held", "");
  CHECK_TEXT(answer, "1");
  free(answer);
}

static void release(void) {
  control("/!release", "");
}

/* Nothing is lost, and nothing in the way of the next one. */
static void is_right(const where *w, int states, long versions) {
  CHECK(where_restic(w, "check"));
  repo *r = where_open(w);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  CHECK_INT(where_count(r, REPO_SNAPSHOTS, NULL), versions);
  CHECK_INT(where_versions(r), states);
  CHECK(care_is_whole(r));
  repo_unref(r);
}

typedef void (*scene)(who first, who second);

/* restic and restic is restic's own affair. Who is first when it takes part is
   another one each time. */
static void with_all(scene play) {
  static const who pairs[][2] = {{OURS, OURS}, {OURS, THEIRS}, {THEIRS, OURS}};
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  uint64_t seed = gate_seed("with_all");
  size_t not = getenv("SAROS_LONG") != NULL ? 3 : 1 + gate_below(&seed, 2);
  for (size_t i = 0; i < 3; i++) {
    int bad = check_bad;
    if (i == not ) continue;
    play(pairs[i][0], pairs[i][1]);
    if (check_bad > bad)
      printf("  (%s first, then %s)\n", who_names[pairs[i][0]],
             who_names[pairs[i][1]]);
  }
}


/* ------------------------------------------------------------------
** Two at once
** ---------------------------------------------------------------- */

static void backup_and_backup(who first, who second) {
  where w = where_copy("base", WHERE_BUCKET, "t");
  hold_at("data");
  actor one = begin(first, &w, "backup", "0");
  is_held();
  actor two = begin(second, &w, "backup", "0");
  CHECK(ends(&two)); /* while the first one is held */
  release();
  CHECK(ends(&one));
  is_right(&w, WHERE_OLD | WHERE_NOW, 5);
}

static void backup_and_prune(who first, who second) {
  where w = where_copy("base", WHERE_BUCKET, "t");
  hold_at("data");
  actor one = begin(first, &w, "backup", "0");
  is_held();
  actor two = begin(second, &w, "prune", "0");
  stays_outside(&two, &one, false);
  release();
  CHECK(ends(&one));
  two = begin(second, &w, "prune", "0");
  CHECK(ends(&two));
  is_right(&w, WHERE_OLD | WHERE_NOW, 4);
}

static void prune_and_backup(who first, who second) {
  where w = where_copy("base", WHERE_BUCKET, "t");
  hold_at("index");
  actor one = begin(first, &w, "prune", "0");
  is_held();
  actor two = begin(second, &w, "backup", "0");
  stays_outside(&two, &one, true);
  release();
  CHECK(ends(&one));
  is_right(&w, WHERE_OLD, 3);
}

static void prune_and_prune(who first, who second) {
  where w = where_copy("base", WHERE_BUCKET, "t");
  hold_at("index");
  actor one = begin(first, &w, "prune", "0");
  is_held();
  actor two = begin(second, &w, "prune", "0");
  stays_outside(&two, &one, true);
  release();
  CHECK(ends(&one));
  is_right(&w, WHERE_OLD, 3);
}

/* Ours can wait for it. */
static void waits_for(who first, const char *deed, const char *held,
                      const char *other, int states, long versions) {
  where w = where_copy("base", WHERE_BUCKET, "t");
  hold_at(held);
  actor one = begin(first, &w, deed, "0");
  is_held();
  actor two = begin(OURS, &w, other, "600");
  CHECK(read_line(&two));
  CHECK_TEXT(two.text, "it waits\n");
  release();
  CHECK(ends(&one));
  CHECK(ends(&two));
  is_right(&w, states, versions);
}

/* One has stored a pack that no index names yet, another one was killed: a
   third takes over what there is, also what is not left behind at all. */
TEST(beside_one_that_was_killed) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  where w = where_copy("base", WHERE_BUCKET, "t");
  repo *r = where_open(&w);
  hold_behind("data", 1);
  actor one = begin(OURS, &w, "backup", "0");
  is_held();
  hold_at("index");
  actor dead = begin(OURS, &w, "backup", "0");
  GATE_UNTIL(where_count(r, REPO_LOCKS, NULL) == 2);
  CHECK(kill(dead.pid, SIGKILL) == 0);
  CHECK(!ends(&dead));
  control("/!plan", "[]");
  call_result c = where_backup(r);
  CHECK_INT(c.code, 0);
  CHECK(call_number(&c, "packs_adopted") > 0);
  call_free(&c);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 1); /* who lives keeps its own */
  repo_unref(r);
  release();
  CHECK(ends(&one));
  is_right(&w, WHERE_OLD | WHERE_NOW, 5);
  actor prune = begin(OURS, &w, "prune", "0");
  CHECK(ends(&prune));
  is_right(&w, WHERE_OLD | WHERE_NOW, 5);
}

TEST(two_backups) {
  with_all(backup_and_backup);
}

TEST(a_prune_while_a_backup_goes_on) {
  with_all(backup_and_prune);
}

TEST(a_backup_while_a_prune_goes_on) {
  with_all(prune_and_backup);
}

TEST(two_prunes) {
  with_all(prune_and_prune);
}

TEST(waiting) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  waits_for(OURS, "prune", "index", "backup", WHERE_OLD | WHERE_NOW, 4);
  waits_for(THEIRS, "backup", "data", "prune", WHERE_OLD | WHERE_NOW, 4);
}

TEST(without_restic) {
  SKIP("restic is not installed: there is nobody to be together with");
}

int main(int argc, char **argv) {
  if (argc == 7 && strcmp(argv[1], "--child") == 0) return child(argv + 2);
  store_engine();
  gate_begin(argc, argv);
  if (!care_begin()) {
    GATE_RUN(without_restic);
    return check_end();
  }
  where_server();
  where_fill("base", 4);
  GATE_RUN(two_backups);
  GATE_RUN(a_prune_while_a_backup_goes_on);
  GATE_RUN(a_backup_while_a_prune_goes_on);
  GATE_RUN(two_prunes);
  GATE_RUN(waiting);
  GATE_RUN(beside_one_that_was_killed);
  where_end();
  return check_end();
}
