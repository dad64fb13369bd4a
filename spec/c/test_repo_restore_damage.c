/*
** Damaged and hostile repositories. Every kind of damage is found and named,
** and no file is there that is wrong; whatever somebody wrote into a
** repository, nothing leaves the target.
*/
#include <sys/syscall.h>

#include "restore_case.h"

static store_place place;
static char out[200];
static repo *made;

static void begin_place(void) {
  store_place_make(&place);
  snprintf(out, sizeof out, "%s", store_path(&place, "out"));
  made = writer_new(store_path(&place, "r"));
}

static bool is_there(const char *name) {
  struct stat st;
  char path[300];
  snprintf(path, sizeof path, "%s/%s", out, name);
  return lstat(path, &st) == 0;
}

static call_result restored(repo *r, const char *version, const char *more) {
  run_shell(NULL, "rm -rf '%s'", out);
  return call_now(
      r, "restore",
      json_options("{'version':'%s','target':'%s'%s}", version, out, more));
}

/* Nothing is beside the target: the repository and it are all. */
static void check_inside(void) {
  CHECK_INT(gate_entries(place.path), is_there(".") ? 2 : 1);
}


/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

static const char text_a[] = "the first";

/* Two files, and the packs of both of their blobs and of the tree. */
typedef struct sample {
  repo_id a, b, tree, pack[2];
  const char *version;
} sample;

enum { ONE = 14, TWO = 15 };

static sample put_sample(void) {
  static unsigned number;
  sample s;
  char one[32], two[32];
  snprintf(one, sizeof one, "the first %04u", number);
  snprintf(two, sizeof two, "the second %04u", number++);
  repo_place p;
  s.a = put_blob(made, REPO_DATA, one, ONE);
  s.b = put_blob(made, REPO_DATA, two, TWO);
  s.tree = put_tree(made,
                    "{'name':'a','type':'file','mode':420," NODE_REST
                    ",'size':%d,'content':['%s']},"
                    "{'name':'b','type':'file','mode':420," NODE_REST
                    ",'size':%d,'content':['%s']}",
                    ONE, id_text(s.a), TWO, id_text(s.b));
  s.version = put_version(made, s.tree);
  repo_hold *h;
  repo_index *index;
  CHECK(repo_hold_take(made, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  CHECK(repo_index_of(h, &index) == NULL);
  CHECK(repo_index_find(index, REPO_DATA, &s.a, 0, &p));
  s.pack[0] = p.pack;
  CHECK(repo_index_find(index, REPO_TREE, &s.tree, 0, &p));
  s.pack[1] = p.pack;
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  return s;
}

static const char *pack_path(const repo_id *id) {
  char below[100];
  snprintf(below, sizeof below, "r/data/%.2s/%s", id_text(*id), id_text(*id));
  return store_path(&place, below);
}

static void flip(const char *path, off_t at) {
  unsigned char byte = 0;
  chmod(path, 0600);
  int fd = open(path, O_RDWR);
  CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
  byte ^= 0x10;
  CHECK(pwrite(fd, &byte, 1, at) == 1);
  close(fd);
}

/* How much room was asked for at once. */
static _Atomic off_t largest;

int fallocate(int fd, int mode, off_t offset, off_t size) {
  if (size > largest) largest = size;
  return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

/* Each byte of a data blob as it is stored: IV, content, tag. */
TEST(every_byte_of_a_blob) {
  sample s = put_sample();
  const char *path = pack_path(&s.pack[0]);
  char kept[300];
  snprintf(kept, sizeof kept, "%s", path);
  for (size_t at = 0; at < ONE + REPO_SEAL; at++) {
    flip(kept, (off_t)at);
    call_result c = restored(made, s.version, "");
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK(call_tells(&c, "/a", id_text(s.pack[0])));
    CHECK_INT(call_errors(&c), 1);
    CHECK(!is_there("a") && is_there("b"));
    call_free(&c);
    flip(kept, (off_t)at);
  }
  call_result c = restored(made, s.version, "");
  CHECK_INT(c.code, 0);
  CHECK(is_there("a") && is_there("b"));
  call_free(&c);
}

TEST(a_pack_is_short_or_gone) {
  sample s = put_sample();
  char path[300], away[310];
  snprintf(path, sizeof path, "%s", pack_path(&s.pack[0]));
  snprintf(away, sizeof away, "%s.away", path);
  CHECK(rename(path, away) == 0);
  call_result c = restored(made, s.version, "");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/a", "is missing"));
  CHECK(!is_there("a") && is_there("b"));
  call_free(&c);
  CHECK(run_shell(NULL, "head -c 20 '%s' >'%s'", away, path));
  c = restored(made, s.version, "");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/a", id_text(s.pack[0])));
  CHECK(!is_there("a") && is_there("b"));
  call_free(&c);
  CHECK(rename(away, path) == 0);
}

TEST(a_tree_is_damaged) {
  sample s = put_sample();
  repo_id top =
      put_tree(made,
               "{'name':'bad','type':'dir','mode':2147484141," NODE_REST
               ",'content':null,'subtree':'%s'},"
               "{'name':'good','type':'file','mode':420," NODE_REST
               ",'size':%zu,'content':['%s']}",
               id_text(s.tree), (size_t)TWO, id_text(s.b));
  const char *version = put_version(made, top);
  char path[300];
  snprintf(path, sizeof path, "%s", pack_path(&s.pack[1]));
  flip(path, 30);
  call_result c = restored(made, version, ",'delete':true");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/bad", id_text(s.tree)));
  CHECK(is_there("good") && !is_there("bad/a"));
  call_free(&c);
  /* What should be in it nobody knows: nothing is removed there. */
  CHECK(run_shell(NULL, "echo >'%s/bad/mine'; echo >'%s/mine'", out, out));
  c = call_now(made, "restore",
               json_options("{'version':'%s','target':'%s','delete':true}",
                            version, out));
  CHECK(is_there("bad/mine"));
  call_free(&c);
  flip(path, 30);
}

/* One copy is damaged, another is not: then all is well. */
TEST(another_copy) {
  static const char text[] = "twice there";
  repo_id id = put_blob(made, REPO_DATA, text, sizeof text);
  repo_hold *h;
  repo_index *index;
  repo_place first, second;
  put_blob(made, REPO_DATA, text, sizeof text);
  CHECK(repo_hold_take(made, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  CHECK(repo_index_of(h, &index) == NULL);
  CHECK(repo_index_find(index, REPO_DATA, &id, 0, &first));
  CHECK(repo_index_find(index, REPO_DATA, &id, 1, &second));
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  const char *version = put_version(
      made, put_tree(made,
                     "{'name':'f','type':'file','mode':420," NODE_REST
                     ",'size':%zu,'content':['%s']}",
                     sizeof text, id_text(id)));
  const repo_id packs[] = {first.pack, second.pack};
  for (int both = 0; both < 2; both++)
    for (int i = 0; i < 2; i++) {
      char path[300], other[300];
      snprintf(path, sizeof path, "%s", pack_path(&packs[i]));
      snprintf(other, sizeof other, "%s", pack_path(&packs[1 - i]));
      flip(path, 20);
      if (both) flip(other, 21);
      call_result c = restored(made, version, "");
      CHECK_INT(c.code, both ? SAROS_S_PARTIAL : 0);
      CHECK(is_there("f") == !both);
      call_free(&c);
      if (both) flip(other, 21);
      flip(path, 20);
    }
}

/* What is there already stays when what should replace it is damaged. */
TEST(damage_replaces_nothing) {
  sample s = put_sample();
  call_result c = restored(made, s.version, "");
  call_free(&c);
  CHECK(run_shell(NULL, "echo mine >'%s/a'", out));
  char path[300];
  snprintf(path, sizeof path, "%s", pack_path(&s.pack[0]));
  flip(path, 33);
  c = call_now(made, "restore",
               json_options("{'version':'%s','target':'%s'}", s.version, out));
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  call_free(&c);
  CHECK(run_shell(NULL, "grep -q mine '%s/a' && test $(ls -A '%s' | wc -l) = 2",
                  out, out));
  flip(path, 33);
}


/* ------------------------------------------------------------------
** Lies
** ---------------------------------------------------------------- */

/* A blob that is not what its name says, and lengths that cannot be. */
TEST(an_index_that_lies) {
  static const struct {
    const char *says;
    uint32_t length, plain;
  } lies[] = {{"what its name says", 0, 0},
              {"no blob has", 1u << 31, 0},
              {"no blob has", 0, 4000000000u},
              {"damaged", 0, 100000},
              {"damaged", 34, 0},
              {"cannot be read", 60000, 0},
              {"", 5, 0}};
  for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    char text[32], hidden[40];
    snprintf(text, sizeof text, "wanted %u", i);
    snprintf(hidden, sizeof hidden, "something else %u", i);
    repo_blob b = {.type = REPO_DATA,
                   .length = lies[i].length,
                   .plain_length = lies[i].plain};
    repo_id_of(&b.id, text, strlen(text));
    put_blob_as(made, REPO_DATA, hidden, strlen(hidden), &b);
    const char *version = put_version(
        made, put_tree(made,
                       "{'name':'f','type':'file','mode':420," NODE_REST
                       ",'size':8,'content':['%s']}",
                       id_text(b.id)));
    call_result c = restored(made, version, "");
    bool refused = c.code == SAROS_E_DAMAGED; /* the index itself */
    CHECK(refused || c.code == SAROS_S_PARTIAL);
    CHECK(refused || call_tells(&c, "/f", lies[i].says));
    CHECK(!is_there("f"));
    call_free(&c);
    if (refused) printf("lie %u: %s\n", i, c.message);
  }
}

/* Some bytes that would become very many. */
TEST(a_bomb) {
  size_t size = (size_t)200 << 20;
  char *zeros = mem_zero(size);
  void *packed = mem_alloc(repo_zip_bound(size));
  size_t packed_size = repo_zip_bound(size);
  repo_tool *tool;
  CHECK(repo_tools_take(made->tools, &tool) == NULL);
  CHECK(repo_zip_pack(tool->zip, REPO_LEVEL_FASTEST, zeros, size, packed,
                      &packed_size) == NULL);
  repo_tools_give(made->tools, tool);
  for (int i = 0; i < 2; i++) {
    repo_blob b = {.type = REPO_DATA,
                   .plain_length = i ? 1000 : (uint32_t)size};
    repo_id_of(&b.id, zeros, size - (size_t)i);
    put_blob_as(made, REPO_DATA, packed, packed_size, &b);
    const char *version = put_version(
        made, put_tree(made,
                       "{'name':'f','type':'file','mode':420," NODE_REST
                       ",'size':8,'content':['%s']}",
                       id_text(b.id)));
    call_result c = restored(made, version, "");
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK(call_tells(&c, "/f", i ? "damaged" : "no blob has"));
    CHECK(!is_there("f"));
    call_free(&c);
  }
  mem_free(packed);
  mem_free(zeros);
}

/* Names that lead elsewhere make the tree one that cannot be read. */
TEST(names_that_lead_out) {
  static const char *const names[] = {"..",     ".",    "",         "a/b",
                                      "/etc/x", "../x", "a\\\\x00b"};
  repo_id id = put_blob(made, REPO_DATA, text_a, sizeof text_a);
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
    repo_id sub = put_tree(made,
                           "{'name':'%s','type':'file','mode':420," NODE_REST
                           ",'size':%zu,'content':['%s']}",
                           names[i], sizeof text_a, id_text(id));
    const char *version = put_version(
        made, put_tree(made,
                       "{'name':'d','type':'dir','mode':2147484141," NODE_REST
                       ",'content':null,'subtree':'%s'}",
                       id_text(sub)));
    call_result c = restored(made, version, "");
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK_INT(call_errors(&c), 1);
    CHECK(run_shell(NULL, "test -z \"$(ls -A '%s/d')\"", out));
    check_inside();
    call_free(&c);
  }
}

/* A link, and a directory of the same name with a file in it. */
TEST(a_link_and_a_directory_of_its_name) {
  repo_id id = put_blob(made, REPO_DATA, text_a, sizeof text_a);
  repo_id sub = put_tree(made,
                         "{'name':'f','type':'file','mode':420," NODE_REST
                         ",'size':%zu,'content':['%s']}",
                         sizeof text_a, id_text(id));
  const char *version = put_version(
      made, put_tree(made,
                     "{'name':'l','type':'symlink','mode':134218239," NODE_REST
                     ",'linktarget':'%s','content':null},"
                     "{'name':'l','type':'dir','mode':2147484141," NODE_REST
                     ",'content':null,'subtree':'%s'}",
                     place.path, id_text(sub)));
  call_result c = restored(made, version, "");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_errors(&c) > 0);
  check_inside();
  CHECK(access(store_path(&place, "f"), F_OK) != 0);
  call_free(&c);
}

/* Targets of links are data: they are made as they are, and not followed. */
TEST(links_to_anywhere) {
  const char *version = put_version(
      made,
      put_tree(made,
               "{'name':'a','type':'symlink','mode':134218239," NODE_REST
               ",'linktarget':'/etc/passwd','content':null},"
               "{'name':'b','type':'symlink','mode':134218239," NODE_REST
               ",'linktarget':'x','linktarget_raw':'Lv8v','content':null},"
               "{'name':'c','type':'symlink','mode':134218239," NODE_REST
               ",'linktarget':'','content':null}"));
  char target[100] = "";
  for (int i = 0; i < 2; i++) {
    if (i == 0) run_shell(NULL, "rm -rf '%s'", out);
    call_result c =
        call_now(made, "restore",
                 json_options("{'version':'%s','target':'%s'}", version, out));
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK(call_tells(&c, "/c", "cannot make"));
    CHECK_INT(call_errors(&c), 1);
    call_free(&c);
  }
  char path[300];
  snprintf(path, sizeof path, "%s/b", out);
  CHECK(readlink(path, target, sizeof target) == 3 &&
        memcmp(target, ".\xff/", 3) == 0);
}

TEST(what_is_not_there) {
  char none[REPO_ID_TEXT];
  memset(none, 'a', sizeof none);
  none[64] = '\0';
  repo_id id = put_blob(made, REPO_DATA, text_a, sizeof text_a);
  const char *version = put_version(
      made,
      put_tree(made,
               "{'name':'a','type':'file','mode':420," NODE_REST
               ",'size':9,'content':['%s','%s']},"
               "{'name':'b','type':'file','mode':420," NODE_REST ",'size':9},"
               "{'name':'c','type':'dir','mode':2147484141," NODE_REST
               ",'content':null},"
               "{'name':'d','type':'dir','mode':2147484141," NODE_REST
               ",'content':null,'subtree':'%s'},"
               "{'name':'e','type':'what','mode':420," NODE_REST
               ",'content':null},"
               "{'name':'f','type':'file','mode':420," NODE_REST
               ",'size':9000000000000000000,'content':['%s']},"
               "{'name':'g','type':'file','mode':420," NODE_REST
               ",'size':0,'content':[]}",
               id_text(id), none, none, id_text(id)));
  call_result c = restored(made, version, "");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/a", none));
  CHECK(call_tells(&c, "/b", "not kept"));
  CHECK(call_tells(&c, "/c", "not kept"));
  CHECK(call_tells(&c, "/d", none));
  CHECK(call_tells(&c, "/e", "cannot be made"));
  CHECK(call_tells(&c, "/f", "9000000000000000000"));
  CHECK(!is_there("a") && !is_there("b") && is_there("f") && is_there("g"));
  call_free(&c);
  version = put_version(made, id); /* its tree is not there */
  c = restored(made, version, "");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/", "in no pack"));
  call_free(&c);
}

/* One small blob, so often that no disk has room for it. */
TEST(huge) {
  static char zeros[1 << 20];
  buffer list = BUFFER_EMPTY;
  if (gate_is_quick) SKIP("takes long under a sanitizer");
  repo_id id = put_blob(made, REPO_DATA, zeros, sizeof zeros);
  buffer_format(&list,
                "{\"nodes\":[{\"name\":\"f\",\"type\":\"file\",\"mode\":420,"
                "\"mtime\":\"2020-01-02T03:04:05Z\",\"uid\":0,\"gid\":0,"
                "\"content\":[\"%s\"",
                id_text(id));
  char next[REPO_ID_TEXT + 3];
  int size = snprintf(next, sizeof next, ",\"%s\"", id_text(id));
  for (long i = 1; i < 4000000; i++) buffer_put(&list, next, (size_t)size);
  buffer_text(&list, "]}]}\n");
  /* As many as there are it may have, or be told that it has too many. */
  repo_id tree = put_blob(made, REPO_TREE, list.data, list.size);
  const char *version = put_version(made, tree);
  call_result c = restored(made, version, "");
  CHECK(c.code == 0x80070070u || c.code == SAROS_S_PARTIAL);
  CHECK(!is_there("f"));
  CHECK(largest < (off_t)1 << 40); /* nobody else's disk was full meanwhile */
  call_free(&c);
  buffer_free(&list);
}

/* Directories in directories, as deep as nobody has them. */
TEST(deep) {
  repo_id tree =
      put_tree(made, "{'name':'x','type':'fifo','mode':33554848," NODE_REST
                     ",'content':null}");
  unsigned deep = gate_is_quick ? 300 : 2300;
  const char *version = put_version(made, put_deep(made, tree, deep));
  call_result c = restored(made, version, "");
  CHECK_INT(c.code, deep > 2048 ? SAROS_S_PARTIAL : 0);
  CHECK_INT(call_errors(&c), deep > 2048 ? 1 : 0);
  call_free(&c);
  CHECK(run_shell(NULL, "rm -rf '%s'", out));
}

/* Other names that are no other names: another content, the same inode. */
TEST(false_links) {
  sample s = put_sample();
  const char *version = put_version(
      made, put_tree(made,
                     "{'name':'a','type':'file','mode':420," NODE_REST
                     ",'inode':7,'device_id':1,'links':2,'size':%zu,"
                     "'content':['%s']},"
                     "{'name':'b','type':'file','mode':420," NODE_REST
                     ",'inode':7,'device_id':1,'links':2,'size':%zu,"
                     "'content':['%s']},"
                     "{'name':'c','type':'file','mode':420," NODE_REST
                     ",'inode':7,'device_id':1,'links':2,'size':%zu,"
                     "'content':['%s']}",
                     (size_t)ONE, id_text(s.a), (size_t)TWO, id_text(s.b),
                     (size_t)ONE, id_text(s.a)));
  call_result c = restored(made, version, "");
  CHECK_INT(c.code, 0);
  call_free(&c);
  CHECK(run_shell(NULL,
                  "cd '%s' && test a -ef c && test ! a -ef b && "
                  "grep -q first a && grep -q second b",
                  out));
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  begin_place();
  GATE_RUN(every_byte_of_a_blob);
  GATE_RUN(a_pack_is_short_or_gone);
  GATE_RUN(a_tree_is_damaged);
  GATE_RUN(another_copy);
  GATE_RUN(damage_replaces_nothing);
  GATE_RUN(names_that_lead_out);
  GATE_RUN(a_link_and_a_directory_of_its_name);
  GATE_RUN(links_to_anywhere);
  GATE_RUN(what_is_not_there);
  GATE_RUN(false_links);
  GATE_RUN(huge);
  GATE_RUN(deep);
  GATE_RUN(a_bomb);
  GATE_RUN(an_index_that_lies);
  repo_unref(made);
  store_place_end(&place);
  return check_end();
}
