/*
** Every kind of damage in what we wrote ourselves: a check finds it and names
** it, and a restore leaves out what it hits: never is there a byte that is not
** what it was. And a restore for which memory runs out anywhere.
*/
/* A thread of the engine's is not joined. */
#define GATE_TSAN_OPTIONS "report_thread_leaks=0"

#include <glob.h>

#include "care_case.h"

static store_place place;
static char root[80], origin[100], out[100];
static char oldest[REPO_ID_TEXT], newest[REPO_ID_TEXT];
static repo *opened; /* before anything was damaged */

static const char *const names[] = {"large", "text",  "small",
                                    "empty", "again", "d/e/deep"};
#define NAMES (sizeof names / sizeof names[0])

static const char *path_of(const char *folder, const char *name) {
  static char texts[4][300];
  static unsigned next;
  char *text = texts[next++ % 4];
  bool is_out = folder == out; /* there it is with all that is above it */
  snprintf(text, sizeof texts[0], "%s%s/%s", is_out ? out : "", origin, name);
  return text;
}

static bool load(const char *path, buffer *b) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  buffer_clear(b);
  if (fd < 0) return false;
  for (;;) {
    char *room = buffer_room(b, 65536);
    ssize_t n = room != NULL ? read(fd, room, 65536) : 0;
    if (n <= 0) break;
    b->size += (size_t)n;
  }
  close(fd);
  return true;
}

static void save(const char *path, const char *data, size_t size) {
  unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  if (fd >= 0) close(fd);
}

static void save_random(const char *name, size_t size) {
  char *data = malloc(size + 1);
  for (size_t i = 0; i < size; i++) data[i] = (char)care_random(256);
  save(path_of(origin, name), data, size);
  free(data);
}

static call_result back_up(repo *r) {
  call_result c = call_now(
      r, "backup",
      json_options("{'paths':['%s'],'pack_size':%lu,'compression':'off'}",
                   origin, (unsigned long)REPO_PACK_LEAST));
  CHECK_INT(c.code, 0);
  return c;
}

/* Two versions: packs of data and of trees, and more than one index file. */
static void begin_all(void) {
  store_place_make(&place);
  snprintf(root, sizeof root, "%s", store_path(&place, "r"));
  snprintf(origin, sizeof origin, "%s", store_path(&place, "s"));
  snprintf(out, sizeof out, "%s", store_path(&place, "out"));
  SHELL("mkdir -p '%s/d/e'", origin);
  save_random("large", 6000000);
  save_random("small", 900);
  save(path_of(origin, "empty"), "", 0);
  save(path_of(origin, "text"), "before", 6);
  SHELL("cd '%s' && cp large again && cp small d/e/deep", origin);
  opened = writer_new(root);
  call_result c = back_up(opened);
  snprintf(oldest, sizeof oldest, "%s",
           value_chars(value_get(c.output, "id"), ""));
  call_free(&c);
  save(path_of(origin, "text"), "a text of today", 15);
  c = back_up(opened);
  snprintf(newest, sizeof newest, "%s",
           value_chars(value_get(c.output, "id"), ""));
  call_free(&c);
  CHECK(care_is_whole(opened));
}


/* ------------------------------------------------------------------
** What is found, and what is restored
** ---------------------------------------------------------------- */

static bool finds(const char *kind, const char *id) {
  uint64_t count;
  value *report = care_check(opened, REPO_CHECK_ALL, &count);
  const value *f = care_first(report, kind);
  bool does =
      f != NULL && strstr(value_chars(value_get(f, "message"), ""), id) != NULL;
  if (!does) printf("  (%s %s is not found)\n", kind, id);
  if (!does && report != NULL) care_tell(report);
  value_free(report);
  return does;
}

/* What is there of a name is what it was. */
static bool is_right(const char *name) {
  buffer a = BUFFER_EMPTY, b = BUFFER_EMPTY;
  bool there = load(path_of(origin, name), &a);
  CHECK(there);
  bool right = !load(path_of(out, name), &b) ||
               (a.size == b.size &&
                (a.size == 0 || memcmp(a.data, b.data, a.size) == 0));
  if (!right) printf("  (%s is wrong)\n", name);
  buffer_free(&a);
  buffer_free(&b);
  return right;
}

static unsigned count_there(void) {
  unsigned n = 0;
  for (size_t i = 0; i < NAMES; i++)
    n += access(path_of(out, names[i]), F_OK) == 0;
  return n;
}

/* Opened anew, so that nothing is remembered. All that is there is right; and
   all is there when it says so. */
static uint32_t restores_nothing_wrong(void) {
  error *e = NULL;
  value *o = value_map();
  value_put(o, "location", value_text(root));
  value_put(o, "password", value_text("x"));
  repo *r = repo_new(o, &e);
  value_free(o);
  run_shell(NULL, "rm -rf '%s'", out);
  if (r != NULL) e = repo_open(r, NULL);
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  if (code == 0) {
    call_result c =
        call_now(r, "restore",
                 json_options("{'version':'%s','target':'%s'}", newest, out));
    code = c.code;
    CHECK(code != 0 || count_there() == NAMES);
    CHECK(code != SAROS_S_PARTIAL || call_errors(&c) > 0);
    call_free(&c);
  }
  for (size_t i = 0; i < NAMES; i++) CHECK(is_right(names[i]));
  repo_unref(r);
  return code;
}


/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

typedef struct structure {
  const char *pattern, *damaged, *missing;
} structure;

static const structure structures[] = {
    {"config", "config_damaged", "config_damaged"},
    {"keys/*", "key_damaged", NULL}, /* another one may be there */
    {"snapshots/*", "version_damaged", NULL},
    {"index/*", "index_damaged", "blob_missing"},
    {"data/*/*", "pack_damaged", "pack_missing"}};

static void name_of(const char *path, char id[REPO_ID_TEXT]) {
  const char *name = strrchr(path, '/') + 1;
  snprintf(id, REPO_ID_TEXT, "%.8s", strlen(name) == 64 ? name : "");
}

/* A bit of it, the end of it, all of it. */
static void damage(const char *path, const structure *s, const buffer *was) {
  char id[REPO_ID_TEXT];
  buffer b = BUFFER_EMPTY;
  long flips = getenv("SAROS_LONG") != NULL ? 100 : gate_is_quick ? 1 : 2;
  name_of(path, id);
  for (long i = 0; i < flips; i++) {
    buffer_clear(&b);
    buffer_put(&b, was->data, was->size);
    size_t at = care_random((unsigned)was->size);
    if (i == 0) at = care_random(16);                /* a seal's, or a brace */
    if (i == 1) at = was->size - 1 - care_random(4); /* a tag's, or a length */
    b.data[at] = (char)(b.data[at] ^ 1 << care_random(8));
    save(path, b.data, b.size);
    CHECK(finds(s->damaged, id));
    restores_nothing_wrong();
    if (check_bad > 0) printf("  (%s, byte %zu)\n", path, at);
  }
  save(path, was->data, care_random((unsigned)was->size));
  bool pack = strcmp(s->damaged, "pack_damaged") == 0;
  CHECK(finds(pack ? "pack_size" : s->damaged, id));
  restores_nothing_wrong();
  CHECK(unlink(path) == 0);
  if (s->missing != NULL) CHECK(finds(s->missing, pack ? id : ""));
  restores_nothing_wrong();
  save(path, was->data, was->size);
  buffer_free(&b);
}

TEST(every_structure) {
  for (size_t i = 0; i < sizeof structures / sizeof structures[0]; i++) {
    char pattern[200];
    glob_t g;
    snprintf(pattern, sizeof pattern, "%s/%s", root, structures[i].pattern);
    CHECK(glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc > 0);
    for (size_t k = 0; k < g.gl_pathc; k++) {
      buffer was = BUFFER_EMPTY;
      CHECK(load(g.gl_pathv[k], &was));
      damage(g.gl_pathv[k], &structures[i], &was);
      buffer_free(&was);
    }
    globfree(&g);
  }
  CHECK(care_is_whole(opened));
  CHECK_INT(restores_nothing_wrong(), 0);
}

TEST(another_key) {
  error *e = NULL;
  value *o = value_map();
  value_put(o, "location", value_text(root));
  value_put(o, "password", value_text("y"));
  repo *r = repo_new(o, &e);
  value_free(o);
  CHECK_INT(store_code(repo_open(r, NULL)), SAROS_E_WRONG_PASSWORD);
  repo_unref(r);
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

/* Then it fails, or does without; what is there is right, and nothing half is
   left. */
TEST(memory_may_run_out_in_a_restore) {
  unsigned long failures = 0;
  long step = getenv("SAROS_LONG") != NULL ? 1 : gate_is_quick ? 97 : 13;
  bool reached = true;
  for (long n = 1 + care_random((unsigned)step); reached; n += step) {
    bool temps = false;
    run_shell(NULL, "rm -rf '%s'", out);
    value *options = json_options("{'target':'%s','verify':true}", out);
    uint32_t why;
    mem_fail_at(n);
    saros_op *op =
        repo_call_begin(opened, repo_work_find("restore"), options, NULL, &why);
    if (op != NULL) CHECK(saros_op_wait(op, GATE_BOUND_MS));
    reached = mem_fail_left() == 0;
    mem_fail_at(0);
    uint32_t code = op != NULL ? saros_op_code(op) : SAROS_E_OUTOFMEMORY;
    failures += code == SAROS_E_OUTOFMEMORY;
    CHECK(code == 0 || code == SAROS_E_OUTOFMEMORY || code == SAROS_S_PARTIAL);
    CHECK(code != 0 || count_there() == NAMES);
    for (size_t i = 0; i < NAMES; i++) CHECK(is_right(names[i]));
    mem_free(described_with(out, &temps));
    CHECK(!temps);
    if (op != NULL) saros_op_unref(op);
    if (check_bad > 0) {
      printf("  (at %ld, code 0x%x)\n", n, code);
      break;
    }
  }
  CHECK(failures > 0);
  SHELL("rm -f '%s'/locks/*", root);
}

/* The same of what only reads. */
TEST(memory_may_run_out_anywhere) {
  char dumped[120];
  snprintf(dumped, sizeof dumped, "%s", store_path(&place, "dumped"));
  const struct {
    const char *work;
    value *options;
  } calls[] = {
      {"ls", json_options("{'long':true}")},
      {"find", json_options("{'pattern':['*e*','/**/deep']}")},
      {"diff", json_options("{'from':'%.8s','to':'%.8s','metadata':true}",
                            oldest, newest)},
      {"dump", json_options("{'path':'/','target':'%s'}", dumped)},
      {"sizes", json_options("{}")},
      {"restore", json_options("{'dry_run':true,'target':'%s'}", dumped)},
      {"check", json_options("{}")},
      {"prune", json_options("{'dry_run':true}")},
      {"forget", json_options("{'keep_last':1,'dry_run':true}")}};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    long step = getenv("SAROS_LONG") != NULL ? 1 : gate_is_quick ? 67 : 9;
    bool reached = true;
    uint32_t code = 0;
    const repo_work *work = repo_work_find(calls[i].work);
    CHECK(work != NULL);
    if (work == NULL) continue;
    for (long n = 1 + care_random((unsigned)step); reached; n += step) {
      value *options = value_copy(calls[i].options);
      uint32_t why;
      mem_fail_at(n);
      saros_op *op = repo_call_begin(opened, work, options, NULL, &why);
      if (op != NULL) CHECK(saros_op_wait(op, GATE_BOUND_MS));
      reached = mem_fail_left() == 0;
      mem_fail_at(0);
      code = op != NULL ? saros_op_code(op) : SAROS_E_OUTOFMEMORY;
      CHECK(code == 0 || code == SAROS_E_OUTOFMEMORY);
      if (code != 0 && code != SAROS_E_OUTOFMEMORY)
        printf("  (%s at %ld, code 0x%x)\n", calls[i].work, n, code);
      if (op != NULL) saros_op_unref(op);
    }
    CHECK_INT(code, 0);
    value_free(calls[i].options);
    unlink(dumped);
  }
  SHELL("rm -f '%s'/locks/*", root);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  care_seed = gate_seed("check_ours");
  begin_all();
  GATE_RUN(every_structure);
  GATE_RUN(another_key);
  GATE_RUN(memory_may_run_out_in_a_restore);
  GATE_RUN(memory_may_run_out_anywhere);
  repo_unref(opened);
  store_place_end(&place);
  return check_end();
}
