/*
** What a repository that is open leaves in memory: a child opens one and works
** with it; its parent, who finds out the keys for himself, looks for them in
** the child's memory and registers.
**
** not under valgrind: it is the tool's memory that would be looked at
*/
#include "repo_case.h" /* first: it has names of its own */

#include "backup_case.h"
#include "memory_case.h"
#include "repository/aes.h"
#include "repository/key_parts.h"

/* ------------------------------------------------------------------
** What is looked for
** ---------------------------------------------------------------- */

static uint8_t times(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (; b > 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = (uint8_t)(a << 1 ^ (a >> 7) * 0x1b);
  }
  return product;
}

static uint8_t substitute(uint8_t a) {
  uint8_t inverse = 1, out = 0x63;
  for (int i = 0; i < 254; i++) inverse = times(inverse, a);
  if (a == 0) inverse = 0;
  for (int i = 0; i < 5; i++)
    out ^= (uint8_t)(inverse << i | inverse >> (8 - i));
  return out;
}

/* AES's round keys, as FIPS 197 has them; `size` is 16 or 32. */
static size_t expand(const uint8_t *key, size_t size, uint8_t out[240]) {
  size_t whole = size == 16 ? 176 : 240;
  uint8_t round = 1;
  memcpy(out, key, size);
  for (size_t i = size; i < whole; i += 4) {
    uint8_t t[4] = {out[i - 4], out[i - 3], out[i - 2], out[i - 1]};
    if (i % size == 0) {
      uint8_t first = t[0];
      t[0] = (uint8_t)(substitute(t[1]) ^ round);
      t[1] = substitute(t[2]);
      t[2] = substitute(t[3]);
      t[3] = substitute(first);
      round = times(round, 2);
    } else if (size == 32 && i % size == 16) {
      for (int n = 0; n < 4; n++) t[n] = substitute(t[n]);
    }
    for (size_t n = 0; n < 4; n++) out[i + n] = out[i + n - size] ^ t[n];
  }
  return whole;
}

TEST(expansion_is_right) {
  uint8_t key[32], out[240], wanted[16];
  hex(key, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
  hex(wanted, "fe4890d1e6188d0b046df344706c631e");
  CHECK_INT(expand(key, 32, out), 240);
  CHECK(memcmp(out + 224, wanted, 16) == 0);
  hex(key, "2b7e151628aed2a6abf7158809cf4f3c");
  hex(wanted, "d014f9a8c9ee2589e13f0cc8b6630ca6");
  CHECK_INT(expand(key, 16, out), 176);
  CHECK(memcmp(out + 160, wanted, 16) == 0);
}

static void want_schedule(memory_look *l, const char *name, const uint8_t *key,
                          size_t size) {
  uint8_t out[240];
  size_t whole = expand(key, size, out);
  for (size_t i = 0; i < whole; i += 16) memory_want(l, name, out + i, 16);
}

/* As it is, masked, and in limbs of 26 bits, as vectors have them: of a limb 20
   bits are anybody's, and of two that are equal a process has a thousand. */
static void want_r(memory_look *l, const char *name, const uint8_t r[16]) {
  static unsigned group;
  uint8_t masked[17] = {0};
  group++;
  memory_want(l, name, r, 16);
  memcpy(masked, r, 16);
  for (int i = 3; i < 16; i += 4) masked[i] &= 15;
  for (int i = 4; i < 16; i += 4) masked[i] &= 252;
  if (memcmp(masked, r, 16) != 0) memory_want(l, name, masked, 16);
  uint32_t limbs[5];
  for (unsigned i = 0; i < 5; i++) {
    uint64_t wide = 0;
    size_t from = i * 26 / 8;
    memcpy(&wide, masked + from, from + 8 <= 17 ? 8 : 17 - from);
    limbs[i] = (uint32_t)(wide >> i * 26 % 8) & 0x3ffffff;
    uint64_t wider[2] = {limbs[i], limbs[i]};
    uint32_t four[4] = {limbs[i], limbs[i], limbs[i], limbs[i]};
    memory_want(l, name, wider, 16);
    memory_is_part(l, group, i + 1);
    memory_want(l, name, four, 16);
    memory_is_part(l, group, i + 1);
  }
  memory_want(l, name, limbs, 16);
}

/* One limb alone is anything; two of them beside each other are a key. */
TEST(limbs_are_found_in_company) {
  static const uint8_t r[16] = {0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33,
                                0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5, 0x06, 0xa8};
  memory_look l = {.quiet = true};
  uint8_t room[3 * MEMORY_NEAR] = {0};
  want_r(&l, "r", r);
  for (size_t i = 0; i < l.count; i++) {
    const memory_needle *n = &l.needles[i], *next = &l.needles[(i + 2) % 12];
    if (n->group == 0 || next->group == 0) continue;
    memset(room, 0, sizeof room);
    memcpy(room + 100, n->bytes, n->size);
    memory_forget(&l);
    memory_search(&l, room, sizeof room, "room", 0);
    CHECK_INT(memory_seen(&l, NULL), 0);
    memcpy(room + 100 + MEMORY_NEAR, next->bytes, next->size);
    memory_forget(&l);
    memory_search(&l, room, sizeof room, "room", 0);
    CHECK_INT(memory_seen(&l, NULL), 0);
    memcpy(room + 200, next->bytes, next->size);
    memory_forget(&l);
    memory_search(&l, room, sizeof room, "room", 0);
    CHECK(memory_seen(&l, NULL) > 0);
  }
}

static void want_key(memory_look *l, const repo_key *key) {
  want_schedule(l, "encrypt", key->encrypt, 32);
  want_schedule(l, "k", key->k, 16);
  want_r(l, "r", key->r);
}

static void want_text(memory_look *l, const char *name, const char *text) {
  memory_want(l, name, text, strlen(text));
}

/* What is in the seal of a key file. */
static void want_json(memory_look *l, const repo_key *key) {
  char text[REPO_KEY_TEXT + 1];
  repo_key_text_write(key, text);
  const char *begin = strstr(text, "\"encrypt\":\"") + 11;
  memory_want(l, "encrypt as text", begin, 20);
  memory_want(l, "encrypt as text", begin + 20, 20);
  memory_want(l, "k as text", strstr(text, "\"k\":\"") + 5, 20);
  memory_want(l, "r as text", strstr(text, "\"r\":\"") + 5, 20);
}

/* What scrypt makes of the password, with which the key file is sealed. */
static void want_user(memory_look *l, repo_store *store, const repo_id *id,
                      const repo_password *password) {
  repo_key_file found = {0};
  buffer b = BUFFER_EMPTY;
  uint8_t out[64];
  CHECK_GOOD(store->way->load(store, REPO_KEYS, id, 1 << 16, &b, NULL));
  CHECK_GOOD(repo_key_file_read(&found, b.data, b.size));
  CHECK_GOOD(repo_scrypt(password->text, password->size, found.salt,
                         found.cost.n, found.cost.r, found.cost.p, out));
  want_schedule(l, "user's encrypt", out, 32);
  want_schedule(l, "user's k", out + 32, 16);
  want_r(l, "user's r", out + 48);
  repo_key_file_clear(&found);
  buffer_free(&b);
}

/* Finds out for himself what the child has. */
static void want_all(memory_look *l, const char *typed) {
  repo_password password = {0};
  repo_key key;
  repo_id id;
  repo_store *store = store_open_at(at("r"));
  CHECK_GOOD(repo_password_text(&password, typed, strlen(typed)));
  CHECK_GOOD(repo_key_open(store, &password, NULL, &key, &id, NULL));
  want_text(l, "password", typed);
  want_key(l, &key);
  want_json(l, &key);
  want_user(l, store, &id, &password);
  repo_password_clear(&password);
  repo_store_close(store);
}


/* ------------------------------------------------------------------
** The child
** ---------------------------------------------------------------- */

static repo *theirs;

static void act_create(void) {
  value *o = options_of(
      "{\"password\":{\"file\":\"@/tmp/password\"},"
      "\"location\":\"@/r\",\"durable\":false}");
  error *e;
  repo_lock_time.settle = 1;
  repo_cost_test = &store_cheap;
  theirs = repo_new(o, &e);
  value_wipe(o);
  CHECK(theirs != NULL);
  CHECK_GOOD(repo_create(theirs, NULL));
}

static void act_call(const char *work, const char *options) {
  uint32_t why = 0;
  saros_op *op = repo_call_begin(theirs, repo_work_find(work),
                                 options_of(options), NULL, &why);
  CHECK(op != NULL && saros_op_wait(op, GATE_BOUND_MS * 10));
  CHECK_INT(saros_op_code(op), 0);
  if (saros_op_code(op) != 0) show_error(op);
  saros_op_unref(op);
}

/* All that is sealed and unsealed. */
static void act_work(void) {
  act_call("backup", "{\"paths\":[\"@/src\"]}");
  act_call("check", "{\"read_data\":true}");
  act_call("restore", "{\"version\":\"latest\",\"target\":\"@/other\"}");
  act_call("add_key", "{\"password\":{\"file\":\"@/tmp/password\"}}");
  act_call("keys", "{}");
}

static int act_fork(void) {
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  return pid;
}

static void act_close(void) {
  repo_close(theirs);
  repo_unref(theirs);
  theirs = NULL;
}

static int act(char command) {
  switch (command) {
    case 'o': act_create(); break;
    case 'w': act_work(); break;
    case 'f': return act_fork();
    case 'c': act_close(); break;
  }
  return 0;
}


/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

/* One who has it open; the password comes about only now, in a file. */
static actor open_one(memory_look *l) {
  char text[33] = "";
  uint8_t bytes[16];
  place_make();
  put_random("src/large", 1, 3 << 20);
  put_random("src/middle", 2, 70000);
  put_text("src/small", "small");
  actor a = actor_begin(act);
  CHECK_GOOD(repo_random(bytes, sizeof bytes));
  for (size_t i = 0; i < 16; i++)
    snprintf(text + 2 * i, 3, "%02x", (unsigned)bytes[i]);
  put_text("tmp/password", text);
  CHECK_INT(actor_do(&a, 'o'), 0);
  want_all(l, text);
  want_text(l, "(no secret)", at("r"));
  l->needles[l->count - 1].is_known = true;
  return a;
}

static void end_one(actor *a) {
  actor_end(a);
  place_end();
}

/* Nothing of it but the place, which shows that the look was thorough. */
static void check_none(const memory_look *l) {
  for (size_t i = 0; i < l->count; i++)
    CHECK_INT(l->needles[i].seen > 0, l->needles[i].is_known);
}

static void look_at_rest(memory_look *l, const actor *a) {
  memory_forget(l);
  CHECK(memory_of(l, a->pid, false));
  CHECK(l->left > 0);
  check_none(l);
  memory_forget(l);
  CHECK(memory_of_threads(l, a->pid));
  CHECK(l->threads > 0);
  CHECK_INT(memory_seen(l, NULL), 0);
}

/* Opened, and after it was worked with. */
static void at_rest(void) {
  memory_look l = {0};
  actor a = open_one(&l);
  look_at_rest(&l, &a);
  CHECK_INT(actor_do(&a, 'w'), 0);
  look_at_rest(&l, &a);
  /* They are found where they are: so the look would have found them. */
  memory_forget(&l);
  l.quiet = true;
  CHECK(memory_of(&l, a.pid, true));
  CHECK(memory_seen(&l, "encrypt") > 0);
  CHECK(memory_seen(&l, "k") > 0);
  CHECK(memory_seen(&l, "r") > 0);
  end_one(&a);
}

TEST(at_rest_no_key_is_in_memory) {
  MEMORY_NOT_HERE;
  size_t count;
  const repo_aes_form *forms = repo_aes_forms(&count);
  for (size_t i = 0; i < count; i++) {
    repo_aes_use(&forms[i]);
    at_rest();
  }
  repo_aes_use(NULL);
}

TEST(after_closing_no_key_is_anywhere) {
  MEMORY_NOT_HERE;
  memory_look l = {0};
  actor a = open_one(&l);
  CHECK_INT(actor_do(&a, 'w'), 0);
  CHECK_INT(actor_do(&a, 'c'), 0);
  memory_forget(&l);
  CHECK(memory_of(&l, a.pid, true));
  CHECK(memory_of_threads(&l, a.pid));
  for (size_t i = 0; i < l.count; i++)
    CHECK(l.needles[i].seen == 0 || l.needles[i].is_known);
  end_one(&a);
}

TEST(a_child_of_fork_has_no_key) {
  MEMORY_NOT_HERE;
  memory_look l = {0};
  actor a = open_one(&l);
  CHECK_INT(actor_do(&a, 'w'), 0);
  int child = actor_do(&a, 'f');
  CHECK(child > 0);
  memory_forget(&l);
  CHECK(memory_of(&l, child, true));
  check_none(&l);
  if (child > 0) kill(child, SIGKILL);
  end_one(&a);
}

/* As a debugger writes it: what the kernel would write, and where we want. */
TEST(a_core_dump_has_no_key) {
  MEMORY_NOT_HERE;
  if (system("command -v gcore >/dev/null 2>&1") != 0)
    SKIP("there is no gcore here (gdb)");
  memory_look l = {0};
  actor a = open_one(&l);
  CHECK_INT(actor_do(&a, 'w'), 0);
  char path[200], command[500];
  snprintf(path, sizeof path, "%s.%d", at("tmp/core"), (int)a.pid);
  snprintf(command, sizeof command, "gcore -o %s %d >%s 2>&1", at("tmp/core"),
           (int)a.pid, at("tmp/gcore"));
  bool dumped = system(command) == 0 && access(path, R_OK) == 0;
  if (dumped) {
    CHECK(memory_of_file(&l, path));
    check_none(&l);
  }
  end_one(&a);
  if (!dumped) SKIP("gcore may not look at our own child here");
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  store_engine();
  RUN(expansion_is_right);
  RUN(limbs_are_found_in_company);
  RUN(at_rest_no_key_is_in_memory);
  RUN(after_closing_no_key_is_anywhere);
  RUN(a_child_of_fork_has_no_key);
  RUN(a_core_dump_has_no_key);
  return check_end();
}
