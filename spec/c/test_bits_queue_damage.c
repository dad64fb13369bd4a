/*
** Queues that are damaged, or were made by somebody else. Whatever is in the
** file: no row is believed that was never written, what is lost is told, what
** was there is set aside, and the queue can be used.
*/
#include "bits_queue_case.h"

/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

enum { STATES = 6 };

/* A queue as it was when its owner was killed: half of it in the WAL. */
static buffer sound_db, sound_wal, sound_owner, foreign_wal;
static buffer states[STATES]; /* what could be loaded behind each commit */
static buffer all_lines;      /* of all of them */

static void keep_state(bits_queue *q, int i) {
  loaded l = {0};
  CHECK(load(q, &l));
  states[i] = l.text;
  buffer_put(&all_lines, l.text.data, l.text.size);
}

static void history(bits_queue *q, int i) {
  CHECK(is_fine(bits_queue_begin(q, false)));
  for (int j = 1; j <= 3; j++) {
    CHECK(put_job(q, j, i % 3));
    for (uint32_t k = 0; k < 30; k++) CHECK(put_file(q, j, k, i * 100 + j));
  }
  queue_orphan orphan = {.id = 1 + i % 2, .what = "{}"};
  CHECK(is_fine(bits_queue_put_orphan(q, &orphan)));
  CHECK(is_fine(bits_queue_commit(q)));
}

static void make_sound(void) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  for (int i = 0; i < STATES; i++) {
    if (i == STATES / 2) {
      bits_queue_close(q);
      q = open_sound_queue();
    }
    history(q, i);
    keep_state(q, i);
  }
  get_bytes(queue_path, &sound_db);
  get_bytes(beside("-wal"), &sound_wal);
  bits_queue_close(q);
  get_bytes(beside(".owner"), &sound_owner);
  /* The same rows, of another file. */
  folder_empty(queue_folder);
  q = open_sound_queue();
  for (int i = 0; i < STATES; i++) history(q, STATES - 1 - i);
  get_bytes(beside("-wal"), &foreign_wal);
  bits_queue_close(q);
  CHECK(sound_db.size > 20000 && sound_wal.size > 20000);
}

static void free_sound(void) {
  buffer *all[] = {&sound_db, &sound_wal, &sound_owner, &foreign_wal,
                   &all_lines};
  for (int i = 0; i < 5; i++) buffer_free(all[i]);
  for (int i = 0; i < STATES; i++) buffer_free(&states[i]);
}

/* Which of the states this is, or -1. */
static int state_of(const loaded *l) {
  for (int i = STATES - 1; i >= 0; i--)
    if (l->text.size == states[i].size &&
        memcmp(l->text.data, states[i].data, l->text.size) == 0)
      return i;
  return -1;
}

/* Each line was written once. */
static bool all_were_written(const loaded *l) {
  const char *at = l->text.size > 0 ? l->text.data : "";
  for (const char *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
    char line[1000];
    snprintf(line, sizeof line, "%.*s\n", (int)(end - at), at);
    if (strstr(all_lines.data, line) == NULL) {
      printf("never written: %s", line);
      return false;
    }
  }
  return true;
}

static void put_queue(const buffer *db, const buffer *wal) {
  folder_empty(queue_folder);
  put_bytes(beside(".owner"), &sound_owner); /* it is known to be one */
  put_bytes(queue_path, db);
  if (wal != NULL) put_bytes(beside("-wal"), wal);
}

/* Opened, whatever it holds: what must be true. The state, or -1. */
static int look_at_damaged(const char *what) {
  bool owner = true;
  error *told = NULL, *e = NULL;
  int bad = check_bad, state = -1;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  if (q == NULL) {
    /* A bit can make it a newer one, which is not touched. */
    CHECK(e != NULL && e->code == SAROS_E_REFUSED);
    if (e != NULL && e->code != SAROS_E_REFUSED) is_fine(error_ref(e));
  } else {
    loaded l = {0};
    char suffix[300];
    CHECK(owner);
    CHECK(load(q, &l));
    CHECK(all_were_written(&l));
    state = state_of(&l);
    /* Of nothing nothing is set aside. */
    CHECK((told != NULL && strstr(told->message, "cut to nothing") == NULL) ==
          find_beside(".damaged-", suffix, sizeof suffix));
    CHECK(told == NULL || told->code == SAROS_E_DAMAGED);
    /* It is whole, or it says so. */
    CHECK(state >= 0 || (told != NULL && l.torn == l.jobs));
    CHECK(told != NULL || l.torn == 0);
    fill(q, 4, 5);
    bits_queue_close(q);
    q = open_sound_queue();
    CHECK(load(q, &l));
    CHECK(l.jobs >= 4 && l.files >= 20);
    bits_queue_close(q);
    buffer_free(&l.text);
  }
  if (check_bad > bad) {
    printf("%s: %s\n", what, told != NULL ? told->message : "nothing told");
  }
  error_unref(told);
  error_unref(e);
  return state;
}

TEST(sound_it_is_as_it_was) {
  put_queue(&sound_db, &sound_wal);
  CHECK_INT(look_at_damaged("sound"), STATES - 1);
  put_queue(&sound_db, NULL);
  CHECK_INT(look_at_damaged("without its WAL"), STATES / 2 - 1);
  /* A WAL of another file does not fit. */
  put_queue(&sound_db, &foreign_wal);
  look_at_damaged("another's WAL");
}

static buffer copy_of(const buffer *b) {
  buffer copy = BUFFER_EMPTY;
  buffer_put(&copy, b->data, b->size);
  return copy;
}

TEST(bits_flip) {
  uint64_t random = gate_seed("flips");
  int rounds = getenv("SAROS_LONG") != NULL ? 5000 : gate_is_quick ? 8 : 100;
  int lost = 0;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    buffer db = copy_of(&sound_db), wal = copy_of(&sound_wal);
    bool in_wal = i % 4 == 0, with_wal = in_wal || i % 4 == 1;
    buffer *b = in_wal ? &wal : &db;
    for (int flips = 1 + (int)gate_below(&random, 3); flips > 0; flips--) {
      unsigned at = gate_below(&random, (unsigned)b->size);
      b->data[at] = (char)(b->data[at] ^ (1 << gate_below(&random, 8)));
    }
    put_queue(&db, with_wal ? &wal : NULL);
    if (look_at_damaged("bits") < 0) lost++;
    buffer_free(&db);
    buffer_free(&wal);
  }
  printf("%d of %d times rows were lost\n", lost, rounds);
}

/* Its first page says of what format it is, and more that SQLite believes. */
TEST(bits_of_its_beginning_flip) {
  for (unsigned at = 0; at < 100 && check_bad == 0; at++)
    for (unsigned bit = at % 2; bit < 8; bit += gate_is_quick ? 8 : 2) {
      buffer db = copy_of(&sound_db);
      db.data[at] = (char)(db.data[at] ^ (1 << bit));
      put_queue(&db, NULL);
      look_at_damaged("the beginning");
      buffer_free(&db);
    }
}

TEST(pages_are_lost) {
  uint64_t random = gate_seed("pages");
  int rounds = getenv("SAROS_LONG") != NULL ? 2000 : gate_is_quick ? 4 : 30;
  int rows = 0;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    buffer db = copy_of(&sound_db);
    /* Any but the first: without it nothing can be read. */
    unsigned pages = (unsigned)(db.size / 4096);
    unsigned at = 1 + gate_below(&random, pages - 1);
    for (size_t j = 0; j < 4096; j++)
      db.data[at * 4096 + j] = i % 2 == 0 ? 0 : (char)gate_random(&random);
    put_queue(&db, NULL);
    look_at_damaged("a page");
    loaded l = {0};
    bits_queue *q = open_sound_queue();
    CHECK(load(q, &l));
    rows += l.files;
    bits_queue_close(q);
    buffer_free(&l.text);
    buffer_free(&db);
  }
  printf("%d rows of %d are left\n", rows, rounds * 95);
}

TEST(it_is_cut) {
  uint64_t random = gate_seed("cuts");
  int rounds = getenv("SAROS_LONG") != NULL ? 1000 : gate_is_quick ? 6 : 40;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    buffer db = copy_of(&sound_db), wal = copy_of(&sound_wal);
    buffer *b = i % 2 == 0 ? &db : &wal;
    b->size = i < 6       ? (size_t)i / 3 * 50
              : i % 4 < 2 ? gate_below(&random, (unsigned)b->size)
                          : gate_below(&random, (unsigned)b->size) / 512 * 512;
    put_queue(&db, i % 3 == 0 ? &wal : NULL);
    look_at_damaged("cut");
    buffer_free(&db);
    buffer_free(&wal);
  }
}

/* Only its WAL is left: that is kept, too. */
TEST(the_file_is_gone) {
  put_queue(&sound_db, &sound_wal);
  unlink(queue_path);
  bool owner = true;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(e));
  CHECK(told != NULL && told->code == SAROS_E_DAMAGED);
  char suffix[300] = "";
  CHECK(find_beside(".damaged-", suffix, sizeof suffix));
  CHECK(strstr(suffix, "-wal") != NULL);
  error_unref(told);
  fill(q, 1, 1);
  bits_queue_close(q);
  bits_queue_close(open_sound_queue());
  /* All of it: somebody wanted that. */
  folder_empty(queue_folder);
  bits_queue_close(open_sound_queue());
  unlink(queue_path);
  bits_queue_close(open_sound_queue());
}

TEST(garbage_where_a_queue_was) {
  buffer db = BUFFER_EMPTY;
  uint64_t random = 7;
  for (int i = 0; i < 20000; i++) buffer_byte(&db, (char)gate_random(&random));
  put_queue(&db, &sound_wal);
  look_at_damaged("garbage");
  /* A database, but not ours any more. */
  folder_empty(queue_folder);
  bits_queue_close(open_sound_queue());
  unlink(queue_path);
  CHECK(sqlite_does("CREATE TABLE letters(a)"));
  bool owner = true;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(e));
  CHECK(told != NULL);
  error_unref(told);
  bits_queue_close(q);
  buffer_free(&db);
}


/* ------------------------------------------------------------------
** Somebody else's hand
** ---------------------------------------------------------------- */

/* What is changed with SQLite in a queue of two jobs with five files each. */
static void touched(const char *sql, bool is_damage, int jobs, int files,
                    int torn) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 2, 5);
  bits_queue_close(q);
  CHECK(sqlite_does(sql));
  bool owner = true;
  error *told = NULL, *e = NULL;
  loaded l = {0};
  int bad = check_bad;
  q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(e));
  CHECK((told != NULL) == is_damage);
  if (q != NULL) CHECK(load(q, &l));
  CHECK_INT(l.jobs, jobs);
  CHECK_INT(l.files, files);
  CHECK_INT(l.torn, torn);
  if (q != NULL) fill(q, 3, 5);
  bits_queue_close(q);
  bits_queue_close(open_sound_queue());
  if (check_bad > bad) printf("%s\n", sql);
  error_unref(told);
  buffer_free(&l.text);
}

TEST(what_others_have_added_does_nothing) {
  touched(
      "CREATE TRIGGER t AFTER UPDATE ON files BEGIN DELETE FROM jobs; END; "
      "CREATE TRIGGER u BEFORE INSERT ON jobs BEGIN SELECT "
      "RAISE(ABORT, 'no'); END",
      true, 2, 10, 0);
  touched("CREATE TABLE other(a); INSERT INTO other VALUES(1)", true, 2, 10, 0);
  touched("CREATE INDEX i ON files(hex(path))", true, 2, 10, 0);
  touched("CREATE UNIQUE INDEX i ON files(state + 1, job, number)", true, 2, 10,
          0);
  touched("CREATE VIEW v AS SELECT * FROM jobs", true, 2, 10, 0);
  touched("ALTER TABLE files ADD COLUMN more DEFAULT 5", true, 2, 10, 0);
  touched("ANALYZE", false, 2, 10, 0);
  touched("VACUUM", false, 2, 10, 0);
  touched("PRAGMA journal_mode = DELETE", false, 2, 10, 0);
  touched("PRAGMA user_version = 0", true, 2, 10, 0);
  touched("PRAGMA application_id = 5", true, 2, 10, 0);
}

TEST(tables_that_are_none) {
  touched("DROP TABLE orphans", true, 2, 10, 2);
  touched(
      "ALTER TABLE files RENAME TO others; CREATE VIEW files AS SELECT * "
      "FROM others",
      true, 2, 0, 2);
  touched(
      "ALTER TABLE jobs RENAME TO others; CREATE VIEW jobs AS SELECT * "
      "FROM others",
      true, 0, 0, 0);
  touched(
      "DROP TABLE jobs; CREATE VIRTUAL TABLE jobs USING fts5(id, guid, "
      "state, type, priority, torn, properties, sum)",
      true, 0, 0, 0);
  touched(
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = "
      "'CREATE TABLE jobs(' || sql",
      true, 0, 0, 0);
}

TEST(rows_that_cannot_be) {
  touched("UPDATE files SET have = -1 WHERE job = 1 AND number = 2", true, 2, 9,
          2);
  touched("UPDATE files SET path = '/etc/passwd' WHERE job = 1 AND number = 2",
          true, 2, 9, 2);
  touched("UPDATE files SET known = x'00' WHERE job = 1 AND number = 2", true,
          2, 9, 2);
  touched("UPDATE files SET url = 'a' || char(0) || 'b' WHERE job = 2", true, 2,
          5, 2);
  touched("UPDATE files SET size = 'large', have = 1.5 WHERE number = 0", true,
          2, 8, 2);
  touched("UPDATE files SET number = 99 WHERE job = 2 AND number = 4", true, 2,
          9, 2);
  touched("UPDATE files SET number = 'x' WHERE job = 2 AND number = 4", true, 2,
          9, 2);
  touched("UPDATE files SET job = 7 WHERE job = 2 AND number = 4", true, 2, 9,
          2);
  touched("UPDATE jobs SET state = 99 WHERE id = 1", true, 1, 5, 1);
  touched("UPDATE jobs SET guid = 'x' WHERE id = 1", true, 1, 5, 1);
  touched("UPDATE jobs SET id = -1 WHERE id = 1", true, 1, 5, 1);
  touched("DELETE FROM jobs WHERE id = 1", true, 1, 5, 1);
  touched("INSERT INTO settings VALUES('limits', '{}', 0)", true, 2, 10, 2);
}

TEST(a_long_text) {
  touched(
      "PRAGMA application_id; UPDATE files SET known = "
      "printf('%.*c', 5000000, 'x') WHERE job = 1 AND number = 3",
      true, 2, 9, 2);
  if (gate_is_quick) return;
  /* SQLite itself refuses to read that one. */
  touched(
      "UPDATE files SET extra = printf('%.*c', 20000000, 'x') "
      "WHERE job = 1 AND number = 3",
      true, 2, 9, 2);
}

/* Who reads passes over it, and leaves the rest to the owner. */
TEST(an_observer_of_a_damaged_one) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 2, 5);
  bits_queue_close(q);
  CHECK(sqlite_does("UPDATE files SET have = 3 WHERE job = 1 AND number = 2"));
  bool owner = false;
  error *told = NULL, *e = NULL;
  loaded l = {0};
  q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(e));
  CHECK(told == NULL);
  CHECK(load(q, &l));
  CHECK_INT(l.files, 9);
  bits_queue_close(q);
  CHECK(sqlite_does("DROP TABLE files"));
  CHECK_INT(refused(queue_path, false, NULL), SAROS_E_DAMAGED);
  buffer_free(&l.text);
}

TEST(a_million_rows) {
  int count = getenv("SAROS_LONG") != NULL ? 1000000 : 20000;
  if (gate_is_quick) count = 1000;
  char sql[300];
  snprintf(sql, sizeof sql,
           "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n "
           "WHERE i < %d) INSERT INTO files SELECT 1, i, 'u', 'p', 0, 0, 0, 0, "
           "NULL, NULL, i FROM n",
           count);
  touched(sql, true, 2, 10, 2);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  folder_make();
  make_sound();
  GATE_RUN(sound_it_is_as_it_was);
  GATE_RUN(bits_flip);
  GATE_RUN(bits_of_its_beginning_flip);
  GATE_RUN(pages_are_lost);
  GATE_RUN(it_is_cut);
  GATE_RUN(the_file_is_gone);
  GATE_RUN(garbage_where_a_queue_was);
  GATE_RUN(what_others_have_added_does_nothing);
  GATE_RUN(tables_that_are_none);
  GATE_RUN(rows_that_cannot_be);
  GATE_RUN(a_long_text);
  GATE_RUN(an_observer_of_a_damaged_one);
  GATE_RUN(a_million_rows);
  free_sound();
  return check_end();
}
