/*
** SIGKILL in the middle of a backup, a prune or a forget: at a call of the
** system, or behind a byte that is on its way to the disk or to the server,
** which a seed has chosen. Whoever is killed is a process of its own. Behind
** each kill restic finds nothing wrong, every version restores to what it was,
** what was done is done once more and comes to its end, no lock is in its way,
** and what had been stored is not stored again.
**
** not under valgrind: it kills programs that only run
** not under address: it kills programs, of which ASan would tell nobody
** not under thread: its operations are those of programs that it starts
*/
#include "instant.h"
#include "where_case.h"

typedef enum deed { BACKUP, PRUNE, FORGET, DEEDS } deed;

static const char *const deed_names[] = {"backup", "prune", "forget"};

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

static value *deed_options(deed d) {
  if (d == BACKUP) return where_backup_options();
  return json_options("%s", d == PRUNE ? "{'max_unused':0}"
                                       : "{'keep_last':1,'group_by':['host']}");
}


/* ------------------------------------------------------------------
** The child
** ---------------------------------------------------------------- */

/* --child DEED LOCATION BASE STATE CALL BYTE: what was counted, when it comes
   to its end. */
static int child(char **argv) {
  deed d = (deed)atoi(argv[0]);
  where w = {.kind = strncmp(argv[1], "s3:", 3) ? WHERE_FOLDER : WHERE_BUCKET};
  snprintf(w.location, sizeof w.location, "%s", argv[1]);
  snprintf(care_base, sizeof care_base, "%s", argv[2]);
  where_state = atoi(argv[3]);
  instant.call = atol(argv[4]);
  instant.byte = atol(argv[5]);
  store_engine();
  if (w.kind != WHERE_FOLDER) { /* where_env knows only one kind of bucket */
    snprintf(ceph_access, sizeof ceph_access, "%s",
             getenv("AWS_ACCESS_KEY_ID"));
    snprintf(ceph_secret, sizeof ceph_secret, "%s",
             getenv("AWS_SECRET_ACCESS_KEY"));
    w.kind = WHERE_CEPH;
  }
  const char *more = getenv("SAROS_SPEC_OPTIONS");
  repo *r = where_open_with(&w, more != NULL ? more : "{}");
  instant.armed = true;
  call_result c = call_now(r, deed_names[d], deed_options(d));
  instant.armed = false;
  if (c.code != 0) printf("%s: 0x%x %s\n", deed_names[d], c.code, c.message);
  printf("%ld %ld\n", (long)instant.calls, (long)instant.bytes);
  bool good = c.code == 0 && check_bad == 0;
  call_free(&c);
  repo_unref(r);
  http_settle();
  return good ? 0 : 3;
}

typedef struct fate {
  bool killed;
  long calls, bytes; /* of one that was not */
} fate;

static fate perform(deed d, const where *w, long call, long byte) {
  char self[300], numbers[5][24];
  fate f = {false, 0, 0};
  int out[2], status = -1;
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(n > 0 && pipe2(out, O_CLOEXEC) == 0);
  self[n > 0 ? n : 0] = '\0';
  long values[] = {d, where_state, call, byte};
  for (int i = 0; i < 4; i++)
    snprintf(numbers[i], sizeof numbers[i], "%ld", values[i]);
  where_env(w);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], 1);
    execl(self, self, "--child", numbers[0], w->location, care_base, numbers[1],
          numbers[2], numbers[3], (char *)NULL);
    _exit(127);
  }
  close(out[1]);
  char text[1000];
  size_t size = 0;
  while (size + 1 < sizeof text &&
         (n = read(out[0], text + size, sizeof text - 1 - size)) > 0)
    size += (size_t)n;
  text[size] = '\0';
  close(out[0]);
  CHECK(waitpid(pid, &status, 0) == pid);
  f.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  bool good = f.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                           sscanf(text, "%ld %ld", &f.calls, &f.bytes) == 2);
  if (!good) printf("%s: status 0x%x: %s\n", deed_names[d], status, text);
  CHECK(good);
  return f;
}


/* ------------------------------------------------------------------
** Behind a kill
** ---------------------------------------------------------------- */

/* What there is of a deed that nobody has killed. */
typedef struct whole {
  long calls, bytes;
  uint64_t packed; /* bytes of blobs that a backup adds */
} whole;

static whole wholes[DEEDS];
static uint64_t base_packs; /* bytes */
static long base_pack_count, base_indexes;

/* What a backup has stored it need not store again: the bytes of its whole
   packs, but for their headers. */
static int64_t repeat_backup(repo *r, int states, uint64_t left) {
  bool named = where_count(r, REPO_INDEXES, NULL) > base_indexes;
  long packs = where_count(r, REPO_PACKS, NULL) - base_pack_count;
  call_result c = where_backup(r);
  CHECK_INT(c.code, 0);
  if (c.code != 0) printf("  (%s)\n", c.message);
  int64_t packed = call_number(&c, "bytes_packed");
  int64_t all = (int64_t)wholes[BACKUP].packed, uploaded = (int64_t)left;
  CHECK_INT(call_number(&c, "packs_adopted"), named ? 0 : packs);
  CHECK(packed >= 0 && packed + uploaded < all + 65536);
  CHECK(states & WHERE_NOW || packed + uploaded > all - 65536);
  if (packed + uploaded >= all + 65536)
    printf("  (of %lld bytes %lld were there, and %lld were stored)\n",
           (long long)all, (long long)uploaded, (long long)packed);
  call_free(&c);
  return all - packed;
}

static void repeat(repo *r, deed d) {
  call_result c = call_now(r, deed_names[d], deed_options(d));
  CHECK_INT(c.code, 0);
  if (c.code != 0) printf("  (%s)\n", c.message);
  call_free(&c);
  if (d != PRUNE) return;
  c = call_now(r, "prune", json_options("{'max_unused':0,'dry_run':true}"));
  CHECK_INT(c.code, 0);
  CHECK_INT(call_number(&c, "packs_unreferenced"), 0);
  CHECK_INT(call_number(&c, "packs_removed"), 0);
  CHECK_INT(call_number(&c, "packs_repacked"), 0);
  CHECK_INT(call_number(&c, "packs_missing"), 0);
  call_free(&c);
}

/* How many bytes of a backup were used again. */
static int64_t survives(const where *w, deed d, bool thoroughly) {
  uint64_t packs;
  int64_t reused = 0;
  /* Whoever holds a lock is dead; restic need not know that. */
  CHECK(where_restic(w, "check --no-lock%s", thoroughly ? " --read-data" : ""));
  repo *r = where_open(w); /* as another process would see it */
  where_count(r, REPO_PACKS, &packs);
  int states = where_versions(r);
  CHECK(states == WHERE_OLD ||
        (d == BACKUP && states == (WHERE_OLD | WHERE_NOW)) ||
        (d == FORGET && states > 0 && (states & ~WHERE_OLD) == 0 &&
         states & 1 << 4));
  CHECK(d == PRUNE || packs >= base_packs);
  if (d == BACKUP)
    reused = repeat_backup(r, states, packs - base_packs);
  else
    repeat(r, d);
  CHECK_INT(where_count(r, REPO_LOCKS, NULL), 0);
  int now = where_versions(r);
  CHECK_INT(now, d == BACKUP  ? WHERE_OLD | WHERE_NOW
                 : d == PRUNE ? WHERE_OLD
                              : 1 << 4);
  if (thoroughly) {
    CHECK(care_is_whole(r));
    CHECK(where_restic(w, "check --read-data")); /* and takes a lock */
  }
  repo_unref(r);
  return reused;
}

/* Once without a kill: how many instants there are. */
static void measure(deed d, where_kind kind) {
  where w = where_copy("base", kind, "k");
  fate f = perform(d, &w, 0, 0);
  wholes[d].calls = f.calls;
  wholes[d].bytes = f.bytes;
  printf("%s: %ld calls, %ld bytes\n", deed_names[d], f.calls, f.bytes);
  CHECK(f.calls > 5 && (d == FORGET || f.bytes > 1000));
  repo *r = where_open(&w);
  uint64_t packs;
  where_count(r, REPO_PACKS, &packs);
  if (d == BACKUP) wholes[d].packed = packs - base_packs;
  repo_unref(r);
}

static void storm(where_kind kind, deed d, long rounds, uint64_t *seed) {
  long killed = 0, at_byte = 0;
  int64_t reused = 0;
  measure(d, kind);
  for (long i = 0; i < rounds && check_bad == 0; i++) {
    /* Most of the bytes are those of packs; of the calls one in three. */
    bool bytes = wholes[d].bytes > 1000 && gate_below(seed, 2) == 0;
    long most = bytes ? wholes[d].bytes : wholes[d].calls;
    if (!is_long()) most -= most / 4; /* there may be fewer another time */
    long n = 1 + (long)gate_below(seed, (unsigned)most);
    where w = where_copy("base", kind, "k");
    fate f = perform(d, &w, bytes ? 0 : n, bytes ? n : 0);
    killed += f.killed;
    at_byte += f.killed && bytes;
    reused += survives(&w, d, i % 4 == 3 || rounds < 4);
    if (check_bad > 0)
      printf("  (%s in %s, at %s %ld of %ld)\n", deed_names[d],
             where_names[kind], bytes ? "byte" : "call", n, most);
  }
  printf("%s in %s: %ld killed (%ld at a byte), %ld had come to their end",
         deed_names[d], where_names[kind], killed, at_byte, rounds - killed);
  if (d == BACKUP) printf("; used again: %lld KiB", (long long)(reused / 1024));
  printf("\n");
  CHECK(killed > rounds / 2);
}

/* A machine that failed may have left a pack that is not whole, or other bytes:
   that one is passed over, and the others are used. */
TEST(what_is_left_may_be_damaged) {
  measure(BACKUP, WHERE_FOLDER);
  where w = where_copy("base", WHERE_FOLDER, "k");
  /* Behind the second pack, and before the index; one at a time, for of those
     that are stored side by side each may be without its end. */
  setenv("SAROS_SPEC_OPTIONS", "{'connections':1}", 1);
  fate f = perform(BACKUP, &w, 0, wholes[BACKUP].bytes * 4 / 5);
  unsetenv("SAROS_SPEC_OPTIONS");
  CHECK(f.killed);
  SHELL(
      "cd '%s/data' && for f in $(find . -type f -newer ../config | sort); do "
      "[ -e ../../base/data/$f ] || echo $f; done >'%s/left' && "
      "[ $(wc -l <'%s/left') -ge 2 ] && truncate -s -1 $(head -n 1 '%s/left')",
      w.location, care_base, care_base, care_base);
  repo *r = where_open(&w);
  long left = where_count(r, REPO_PACKS, NULL) - base_pack_count;
  call_result c = where_backup(r);
  CHECK_INT(c.code, 0);
  CHECK_INT(call_number(&c, "packs_adopted"), left - 1);
  call_free(&c);
  CHECK_INT(where_versions(r), WHERE_OLD | WHERE_NOW);
  CHECK(where_restic(&w, "check"));
  repo_unref(r);
}

static void storms(where_kind kind, long rounds) {
  uint64_t seed = gate_seed(where_names[kind]);
  for (deed d = BACKUP; d < DEEDS; d++) storm(kind, d, rounds, &seed);
}

TEST(in_a_directory) {
  storms(WHERE_FOLDER, is_long() ? 60 : 1);
}

TEST(in_a_bucket) {
  if (s.port == 0) SKIP("there is no python3 here to serve with");
  storms(WHERE_BUCKET, is_long() ? 40 : 1);
}

TEST(in_a_real_bucket) {
  const char *why = where_ceph();
  if (why != NULL) SKIP(why);
  storms(WHERE_CEPH, 10);
}

TEST(without_restic) {
  SKIP("restic is not installed: nobody could say what is left");
}

int main(int argc, char **argv) {
  if (argc == 8 && strcmp(argv[1], "--child") == 0) return child(argv + 2);
  store_engine();
  gate_begin(argc, argv);
  if (is_long()) alarm(0); /* it is the storm that lasts */
  if (!care_begin()) {
    GATE_RUN(without_restic);
    return check_end();
  }
  where_server();
  where_fill("base", 10);
  where base = {WHERE_FOLDER, ""};
  snprintf(base.location, sizeof base.location, "%s", care_at("base"));
  repo *r = where_open(&base);
  base_pack_count = where_count(r, REPO_PACKS, &base_packs);
  base_indexes = where_count(r, REPO_INDEXES, NULL);
  repo_unref(r);
  GATE_RUN(what_is_left_may_be_damaged);
  GATE_RUN(in_a_directory);
  GATE_RUN(in_a_bucket);
  GATE_RUN(in_a_real_bucket);
  where_end();
  return check_end();
}
