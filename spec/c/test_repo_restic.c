/*
** What restic wrote is read, what we wrote restic reads: keys, config, and
** small files. Without restic the fixtures remain.
**
** not under valgrind: it asks restic; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include <ftw.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repo_case.h"
#include "repository/config.h"
#include "repository/key.h"
#include "repository/unpacked.h"

typedef struct opened {
  memory_store m;
  repo_key master;
  repo_config config;
  repo_sealer *s;
  repo_zip *z;
} opened;

static repo_password password(const char *text) {
  repo_password p = {0};
  CHECK_GOOD(repo_password_text(&p, text, strlen(text)));
  return p;
}

/* False when it did not open; then there is nothing to close. */
static bool open_it(opened *o, const char *root, const char *word) {
  error *e = NULL;
  repo_id id;
  *o = (opened){.m = MEMORY_STORE};
  for (int kind = REPO_CONFIG; kind < REPO_PACKS; kind++)
    memory_fill(&o->m, root, (repo_file)kind);
  repo_password p = password(word);
  e = repo_key_open(&o->m.store, &p, NULL, &o->master, &id, NULL);
  repo_password_clear(&p);
  if (e == NULL) o->s = repo_sealer_new(&o->master, &e);
  if (e == NULL) e = repo_config_load(&o->config, &o->m.store, o->s, NULL);
  o->z = repo_zip_new();
  CHECK_GOOD(e);
  return e == NULL;
}

static void close_it(opened *o) {
  memory_clear(&o->m);
  repo_config_clear(&o->config);
  repo_sealer_free(o->s);
  repo_zip_free(o->z);
}

/* Every snapshot and index; whether each has this text. */
static int read_all(opened *o, repo_file kind, const char *wanted) {
  int found = 0;
  for (size_t i = 0; i < o->m.count; i++) {
    memory_file *f = &o->m.files[i];
    buffer b = BUFFER_EMPTY;
    if (f->kind != kind) continue;
    CHECK_GOOD(repo_unpacked_load(&o->m.store, kind, &f->id, o->s, o->z,
                                  1 << 20, &b, NULL));
    CHECK(b.data != NULL && strstr(b.data, wanted) != NULL);
    buffer_free(&b);
    found++;
  }
  return found;
}


/* ------------------------------------------------------------------
** The fixtures
** ---------------------------------------------------------------- */

#define HELLO "378fa093c62ce97660fcadbddefcdad0ac3fb9700766f02c1045992f74351aa2"

TEST(fixtures) {
  static const char *const roots[] = {"spec/fixtures/repo-v1",
                                      "spec/fixtures/repo-v2"};
  static const char *const words[] = {"saros-fixture", "second word"};
  static const char *const ids[] = {
      "5b97132eed4426f99549ef34f0d3c22d91b75d2001a9283d7da6ce3222b3df49",
      "e806f8325105153a5091b8d46e349773dcbc0bae23c4ba835b21b09d77463f38"};
  static const uint64_t polynomials[] = {0x3c93b8cf94b9d5, 0x3ad0ea56837177};
  bool all = getenv("SAROS_LONG") != NULL;
  for (unsigned v = 0; v < 2; v++)
    for (unsigned w = 0; w < 2; w++) {
      opened o;
      if (!all && w != v) continue; /* these keys cost what they should */
      if (open_it(&o, roots[v], words[w])) {
        CHECK_INT(o.config.version, v + 1);
        CHECK(o.config.polynomial == polynomials[v]);
        CHECK_TEXT(o.config.id, ids[v]);
        CHECK_INT(read_all(&o, REPO_SNAPSHOTS,
                           "\"paths\":[\"/tmp/fixture/src\"],\"hostname\":"
                           "\"fixture\""),
                  1);
        CHECK_INT(read_all(&o, REPO_INDEXES, HELLO), 1);
      }
      close_it(&o);
    }
}

TEST(fixture_with_a_wrong_password) {
  memory_store m = MEMORY_STORE;
  repo_key master;
  repo_id id;
  repo_password p = password("saros-fixtura");
  CHECK_INT(memory_fill(&m, "spec/fixtures/repo-v2", REPO_KEYS), 2);
  CHECK_ERROR(repo_key_open(&m.store, &p, NULL, &master, &id, NULL),
              SAROS_E_WRONG_PASSWORD);
  repo_password_clear(&p);
  memory_clear(&m);
}


/* ------------------------------------------------------------------
** restic itself
** ---------------------------------------------------------------- */

static const char no_restic[] = "restic is not installed here";
static char folder[] = "/tmp/saros-restic-XXXXXX";

/* What it printed, and its status. */
static int restic(const char *word, const char *arguments, char *out,
                  size_t size) {
  char line[1024];
  snprintf(line, sizeof line,
           "cd %s && RESTIC_PASSWORD='%s' restic --no-cache -r repo %s 2>&1",
           folder, word, arguments);
  FILE *f = popen(line, "r");
  size_t n = f != NULL ? fread(out, 1, size - 1, f) : 0;
  out[n] = '\0';
  int status = f != NULL ? pclose(f) : -1;
  if (status != 0) printf("%s: %s", arguments, out);
  return status;
}

static bool has_restic(void) {
  return system("restic version >/dev/null 2>&1") == 0;
}

static int drop(const char *path, const struct stat *s, int kind,
                struct FTW *f) {
  (void)s;
  (void)kind;
  (void)f;
  return remove(path);
}

static const char *fresh(void) {
  static char path[64];
  snprintf(path, sizeof path, "%s/repo", folder);
  nftw(path, drop, 16, FTW_DEPTH | FTW_PHYS);
  return path;
}

TEST(what_restic_wrote) {
  if (!has_restic()) SKIP(no_restic);
  static char out[65536];
  /* (The first format is in spec/repository_spec.lua.) */
  for (int version = getenv("SAROS_LONG") != NULL ? 1 : 2; version <= 2;
       version++) {
    char arguments[128];
    opened o;
    const char *root = fresh();
    snprintf(arguments, sizeof arguments, "init --repository-version %d",
             version);
    CHECK_INT(restic("tiger lion", arguments, out, sizeof out), 0);
    CHECK_INT(
        restic("tiger lion", "backup --tag one /etc/hostname", out, sizeof out),
        0);
    if (open_it(&o, root, "tiger lion")) {
      CHECK_INT(o.config.version, version);
      CHECK_INT(read_all(&o, REPO_SNAPSHOTS, "\"tags\":[\"one\"]"), 1);
      CHECK_INT(read_all(&o, REPO_INDEXES, "{\"packs\":["), 1);
      CHECK_INT(restic("tiger lion", "cat config", out, sizeof out), 0);
      CHECK(strstr(out, o.config.id) != NULL);
    }
    close_it(&o);
  }
}

/* A repository of ours: made, its password changed, another one added. */
TEST(what_we_wrote) {
  if (!has_restic()) SKIP(no_restic);
  static char out[65536];
  static const char index[] = "{\"packs\":[]}\n";
  const repo_cost cost = {1024, 8, 1};
  for (unsigned version = 1; version <= 2; version++) {
    char text[REPO_ID_TEXT], arguments[128];
    memory_store m = MEMORY_STORE;
    repo_key master;
    repo_config config, back;
    repo_id key, other, id;
    error *e = NULL;
    repo_password one = password("one"), two = password("two \xC3\xA4"),
                  three = password("three");
    CHECK_GOOD(repo_key_random(&master));
    repo_sealer *s = repo_sealer_new(&master, &e);
    repo_zip *z = repo_zip_new();
    CHECK_GOOD(repo_key_add(&m.store, &master, &one, &cost, &key, NULL));
    /* Once what it costs is measured. */
    CHECK_GOOD(repo_key_add(&m.store, &master, &two,
                            version == 2 ? NULL : &cost, &other, NULL));
    CHECK_GOOD(repo_config_make(&config, version));
    CHECK_GOOD(repo_config_save(&config, &m.store, s, false, NULL));
    CHECK_GOOD(repo_key_change(&m.store, &master, &three, &cost, &key, NULL));
    CHECK_GOOD(repo_unpacked_save(&m.store, REPO_INDEXES, version, s, z,
                                  REPO_LEVEL_MAX, index, sizeof index - 1, &id,
                                  NULL));
    memory_pour(&m, fresh());
    CHECK_INT(restic("three", "cat config", out, sizeof out), 0);
    CHECK(strstr(out, config.id) != NULL);
    CHECK_INT(restic("two \xC3\xA4", "cat masterkey", out, sizeof out), 0);
    CHECK(restic("one", "cat config", out, sizeof out) != 0);
    repo_id_format(&id, text);
    snprintf(arguments, sizeof arguments, "cat index %s", text);
    CHECK_INT(restic("three", arguments, out, sizeof out), 0);
    CHECK(strncmp(out, index, strlen(index) - 1) == 0);
    repo_id_format(&key, text);
    CHECK_INT(restic("three", "key list", out, sizeof out), 0);
    text[8] = '\0';
    CHECK(strstr(out, text) != NULL);
    CHECK_INT(restic("three", "backup /etc/hostname", out, sizeof out), 0);
    CHECK_INT(restic("two \xC3\xA4", "check --read-data", out, sizeof out), 0);
    CHECK_GOOD(repo_config_load(&back, &m.store, s, NULL));
    repo_password_clear(&one);
    repo_password_clear(&two);
    repo_password_clear(&three);
    repo_sealer_free(s);
    repo_zip_free(z);
    memory_clear(&m);
  }
}

/* The same password from the same file or command. */
TEST(passwords_as_restic_reads_them) {
  if (!has_restic()) SKIP(no_restic);
  static char out[4096];
  char path[64];
  repo_password p = {0};
  fresh();
  CHECK_INT(restic("a word", "init", out, sizeof out), 0);
  snprintf(path, sizeof path, "%s/word", folder);
  FILE *f = fopen(path, "w");
  CHECK(f != NULL);
  if (f == NULL) return;
  fputs("\xEF\xBB\xBF a word \r\n\n", f);
  fclose(f);
  CHECK_INT(restic("", "-p word cat config", out, sizeof out), 0);
  setenv("RESTIC_PASSWORD_FILE", path, 1);
  CHECK_GOOD(repo_password_restic(&p, NULL));
  CHECK(p.size == 6 && memcmp(p.text, "a word", 6) == 0);
  unsetenv("RESTIC_PASSWORD_FILE");
  static const char *const lines[] = {
      "printf 'a word'", "printf ' a%sword\\n' \" \"", "echo  a\tword"};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    setenv("RESTIC_PASSWORD_COMMAND", lines[i], 1);
    CHECK_INT(restic("", "cat config", out, sizeof out), 0);
    repo_password_clear(&p);
    CHECK_GOOD(repo_password_restic(&p, NULL));
    CHECK(p.size == 6 && memcmp(p.text, "a word", 6) == 0);
    unsetenv("RESTIC_PASSWORD_COMMAND");
  }
  repo_password_clear(&p);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  unsetenv("RESTIC_PASSWORD_FILE");
  unsetenv("RESTIC_PASSWORD_COMMAND");
  unsetenv("RESTIC_PASSWORD");
  if (mkdtemp(folder) == NULL) return 1;
  RUN(fixtures);
  RUN(fixture_with_a_wrong_password);
  RUN(what_restic_wrote);
  RUN(what_we_wrote);
  RUN(passwords_as_restic_reads_them);
  nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
  return check_end();
}
