/*
** Key files: what they say, who they let in, and how they are changed.
**
** not under valgrind: deriving a key takes minutes; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include "repository/key.h"

#include "repo_case.h"
#include "repository/key_parts.h"
#include "test_base_sweep.h"

static const repo_cost cheap = CHEAP;

static repo_password password(const char *text) {
  repo_password p = {0};
  if (text[0] != '\0') CHECK_GOOD(repo_password_text(&p, text, strlen(text)));
  return p;
}

static error *add(memory_store *m, const repo_key *master, const char *text,
                  repo_id *id) {
  repo_password p = password(text);
  error *e = repo_key_add(&m->store, master, &p, &cheap, id, NULL);
  repo_password_clear(&p);
  return e;
}

static error *open_with(memory_store *m, const char *text, const repo_id *hint,
                        repo_key *master, repo_id *id) {
  repo_password p = password(text);
  error *e = repo_key_open(&m->store, &p, hint, master, id, NULL);
  repo_password_clear(&p);
  return e;
}


/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

TEST(many_passwords_one_key) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id ids[5], id;
  char text[32];
  CHECK_GOOD(repo_key_random(&master));
  for (int i = 0; i < 5; i++) {
    snprintf(text, sizeof text, "password %d", i);
    CHECK_GOOD(add(&m, &master, text, &ids[i]));
  }
  for (int i = 0; i < 5; i++) {
    snprintf(text, sizeof text, "password %d", i);
    for (int hinted = 0; hinted < 3; hinted++) {
      memset(&found, 0, sizeof found);
      const repo_id *hint = hinted > 0 ? &ids[hinted] : NULL;
      CHECK_GOOD(open_with(&m, text, hint, &found, &id));
      CHECK(memcmp(&found, &master, sizeof found) == 0);
      CHECK(repo_id_equal(&id, &ids[i]));
    }
  }
  /* A good hint costs one look. */
  m.loads = 0;
  CHECK_GOOD(open_with(&m, "password 4", &ids[4], &found, &id));
  CHECK_INT(m.loads, 1);
  CHECK_ERROR(open_with(&m, "password 5", NULL, &found, &id),
              SAROS_E_WRONG_PASSWORD);
  CHECK_ERROR(open_with(&m, "", NULL, &found, &id), SAROS_E_WRONG_PASSWORD);
  memory_clear(&m);
  CHECK_ERROR(open_with(&m, "password 4", &ids[4], &found, &id), 0x80070002u);
  CHECK_ERROR(open_with(&m, "password 4", NULL, &found, &id), SAROS_E_DAMAGED);
}

TEST(the_empty_password_is_one) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id id;
  CHECK_GOOD(repo_key_random(&master));
  CHECK_GOOD(add(&m, &master, "", &id));
  CHECK_GOOD(open_with(&m, "", NULL, &found, &id));
  CHECK_ERROR(open_with(&m, "x", NULL, &found, &id), SAROS_E_WRONG_PASSWORD);
  memory_clear(&m);
}

TEST(twenty_are_tried_and_the_hint) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id ids[REPO_KEYS_TRIED + 3], id, last = {{0}};
  CHECK_GOOD(repo_key_random(&master));
  for (int i = 0; i < REPO_KEYS_TRIED + 3; i++) {
    char text[32];
    snprintf(text, sizeof text, "%d", i);
    CHECK_GOOD(add(&m, &master, text, &ids[i]));
  }
  int reached = 0;
  for (int i = 0; i < REPO_KEYS_TRIED + 3; i++) {
    char text[32];
    snprintf(text, sizeof text, "%d", i);
    error *e = open_with(&m, text, NULL, &found, &id);
    if (e == NULL) {
      reached++;
      if (repo_id_compare(&id, &last) > 0) last = id;
    } else {
      CHECK(strstr(e->message, "of 23") != NULL);
      CHECK_ERROR(e, SAROS_E_WRONG_PASSWORD);
      CHECK_GOOD(open_with(&m, text, &ids[i], &found, &id));
    }
  }
  CHECK_INT(reached, REPO_KEYS_TRIED);
  int behind = 0; /* it was the first ones by name */
  for (int i = 0; i < REPO_KEYS_TRIED + 3; i++)
    behind += repo_id_compare(&ids[i], &last) > 0;
  CHECK_INT(behind, 3);
  memory_clear(&m);
}

/* A damaged key file does not lock out those who have another. */
TEST(damage_beside_it) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id one, two, id;
  CHECK_GOOD(repo_key_random(&master));
  CHECK_GOOD(add(&m, &master, "one", &one));
  CHECK_GOOD(add(&m, &master, "two", &two));
  memory_find(&m.store, REPO_KEYS, &one)->data[100] ^= 1;
  CHECK_GOOD(open_with(&m, "two", NULL, &found, &id));
  CHECK_GOOD(open_with(&m, "two", &one, &found, &id));
  error *e = open_with(&m, "one", NULL, &found, &id);
  CHECK(e != NULL && e->cause != NULL && e->cause->code == SAROS_E_DAMAGED);
  CHECK_ERROR(e, SAROS_E_WRONG_PASSWORD);
  CHECK_GOOD(memory_remove(&m.store, REPO_KEYS, &two, NULL));
  CHECK_ERROR(open_with(&m, "one", NULL, &found, &id), SAROS_E_DAMAGED);
  memory_find(&m.store, REPO_KEYS, &one)->data[100] ^= 1;
  m.bad_loads = 1; /* one bad read is no bad file */
  CHECK_GOOD(open_with(&m, "one", NULL, &found, &id));
  m.bad_loads = 2;
  CHECK_ERROR(open_with(&m, "one", NULL, &found, &id), SAROS_E_DAMAGED);
  m.fail_loads = 1;
  e = open_with(&m, "one", NULL, &found, &id);
  CHECK(e != NULL && e->number == EIO);
  error_unref(e);
  memory_clear(&m);
}

static bool always(const repo_stop *stop) {
  (void)stop;
  return true;
}

TEST(cancelled) {
  memory_store m = MEMORY_STORE;
  repo_stop stop = {always};
  repo_key master, found;
  repo_id id;
  repo_password p = password("one");
  CHECK_GOOD(repo_key_random(&master));
  CHECK_GOOD(add(&m, &master, "one", &id));
  CHECK_ERROR(repo_key_open(&m.store, &p, NULL, &found, &id, &stop),
              SAROS_E_CANCELLED);
  CHECK_ERROR(repo_key_open(&m.store, &p, &id, &found, &id, &stop),
              SAROS_E_CANCELLED);
  repo_password_clear(&p);
  memory_clear(&m);
}


/* ------------------------------------------------------------------
** The text
** ---------------------------------------------------------------- */

/* With the right name the file's hash refuses every one of them. Whoever may
   rename it can change who made it when and where; and nothing else. */
TEST(every_flipped_bit_is_refused) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id id;
  CHECK_GOOD(repo_key_random(&master));
  CHECK_GOOD(add(&m, &master, "word", &id));
  memory_file *f = memory_find(&m.store, REPO_KEYS, &id);
  const char *harmless = memmem(f->data, f->size, "\"kdf\"", 5);
  repo_id right = id;
  for (size_t bit = 0; bit < 8 * f->size; bit++) {
    f->data[bit / 8] ^= (char)(1u << bit % 8);
    CHECK_ERROR(open_with(&m, "word", NULL, &found, &id), SAROS_E_DAMAGED);
    repo_id_of(&f->id, f->data, f->size);
    error *e = open_with(&m, "word", NULL, &found, &id);
    if (e == NULL) {
      CHECK(f->data + bit / 8 < harmless);
      CHECK(memcmp(&found, &master, sizeof found) == 0);
    } else {
      CHECK(e->code == SAROS_E_DAMAGED || e->code == SAROS_E_WRONG_PASSWORD);
    }
    error_unref(e);
    f->id = right;
    f->data[bit / 8] ^= (char)(1u << bit % 8);
  }
  CHECK_GOOD(open_with(&m, "word", NULL, &found, &id));
  memory_clear(&m);
}

#define SALT                                                                 \
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
  "AAAAAAAAAAAAAA=="
#define DATA "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

TEST(strict) {
  static const char *const good[] = {
      "{\"created\":\"x\",\"username\":\"u\",\"hostname\":\"h\",\"kdf\":"
      "\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"new\":[{}],\"salt\":"
      "\"" SALT "\",\"data\":\"" DATA "\",\"hostname\":null} ",
  };
  static const char *const bad[] = {
      "",
      "{}",
      "[]",
      "null",
      "7",
      "{\"kdf\":\"scrypt\"}",
      "{\"kdf\":7}",
      "{\"kdf\":\"bcrypt\",\"N\":2,\"r\":1,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2.5,\"r\":1,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":-2,\"r\":1,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":0,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":\"1\",\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"N\":2,\"r\":1,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"salt\":\"AAAA\",\"data\":"
      "\"" DATA "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"salt\":\"" SALT
      "\",\"data\":\"A\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"salt\":\"" SALT "\"}",
      "{\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"data\":\"" DATA "\"}",
      "{\"username\":7,\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,\"salt\":"
      "\"" SALT "\",\"data\":\"" DATA "\"}",
      "{\"username\":\"a\\u0000b\",\"kdf\":\"scrypt\",\"N\":2,\"r\":1,\"p\":1,"
      "\"salt\":\"" SALT "\",\"data\":\"" DATA "\"}",
  };
  repo_key_file file;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    CHECK_GOOD(repo_key_file_read(&file, good[i], strlen(good[i])));
    CHECK_INT(file.cost.n, 2);
    CHECK_INT(file.sealed.size, 36);
    repo_key_file_clear(&file);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    CHECK_ERROR(repo_key_file_read(&file, bad[i], strlen(bad[i])),
                SAROS_E_DAMAGED);
  char *large = malloc(REPO_KEY_FILE_MOST + 2);
  memset(large, ' ', REPO_KEY_FILE_MOST + 2);
  memcpy(large, good[0], strlen(good[0]));
  CHECK_GOOD(repo_key_file_read(&file, large, REPO_KEY_FILE_MOST));
  repo_key_file_clear(&file);
  CHECK_ERROR(repo_key_file_read(&file, large, REPO_KEY_FILE_MOST + 1),
              SAROS_E_DAMAGED);
  free(large);
}

/* The right password for something that is no master key. */
TEST(what_is_sealed_must_be_a_key) {
  static const char *const texts[] = {
      "{\"mac\":{\"k\":\"Cpz7JtlSmsmCR8YzHg2HJA==\",\"r\":\"P1JVATBiAADAWpcJ8P0"
      "GDg==\"},\"encrypt\":\"UHW/yclAOxepGpbCVUKzc44DGoHHIPefwI7EtQp9Mdg=\"}",
      " { \"encrypt\" : \"UHW/yclAOxepGpbCVUKzc44DGoHHIPefwI7EtQp9Mdg=\" ,\n"
      "\"mac\": {\"r\":\"P1JVATBiAADAWpcJ8P0GDg==\" , \"k\":"
      "\"Cpz7JtlSmsmCR8YzHg2HJA==\" } } "};
  repo_key key, first;
  char text[256], written[REPO_KEY_TEXT + 1];
  for (int i = 0; i < 2; i++) {
    memset(&key, 0, sizeof key);
    CHECK(repo_key_text_read(&key, texts[i], strlen(texts[i])));
    if (i == 0) first = key;
    CHECK(memcmp(&key, &first, sizeof key) == 0);
  }
  CHECK_INT(key.k[0], 0x0a);
  CHECK_INT(key.encrypt[31], 0xd8);
  repo_key_text_write(&key, written);
  CHECK_TEXT(written, texts[0]);
  CHECK_INT(strlen(written), REPO_KEY_TEXT);
  for (size_t n = 0; n < REPO_KEY_TEXT; n++) {
    char *exact = malloc(n > 0 ? n : 1);
    memcpy(exact, texts[0], n);
    CHECK(!repo_key_text_read(&key, exact, n));
    free(exact);
  }
  snprintf(text, sizeof text, "%sx", texts[0]);
  CHECK(!repo_key_text_read(&key, text, strlen(text)));
  for (size_t at = 0; at < REPO_KEY_TEXT; at++) {
    memcpy(text, texts[0], REPO_KEY_TEXT + 1);
    text[at] = '='; /* none of it can be one where there is none */
    CHECK(repo_key_text_read(&key, text, REPO_KEY_TEXT) ==
          (texts[0][at] == '='));
    text[at] = '\x80';
    CHECK(!repo_key_text_read(&key, text, REPO_KEY_TEXT));
  }
  /* Twice the one and not the other, and zeros. */
  static const char *const none[] = {
      "{\"encrypt\":\"UHW/yclAOxepGpbCVUKzc44DGoHHIPefwI7EtQp9Mdg=\","
      "\"encrypt\":\"UHW/yclAOxepGpbCVUKzc44DGoHHIPefwI7EtQp9Mdg=\"}",
      "{\"mac\":{\"k\":\"Cpz7JtlSmsmCR8YzHg2HJA==\",\"k\":\"Cpz7JtlSmsmCR8YzHg2"
      "HJA==\"},\"encrypt\":\"UHW/yclAOxepGpbCVUKzc44DGoHHIPefwI7EtQp9Mdg=\"}",
      "{\"mac\":{\"k\":\"Cpz7JtlSmsmCR8YzHg2HJA==\",\"r\":"
      "\"AAAAAAAAAAAAAAAAAAAA"
      "AA==\"},\"encrypt\":\"UHW/yclAOxepGpbCVUKzc44DGoHHIPefwI7EtQp9Mdg=\"}",
  };
  for (int i = 0; i < 3; i++)
    CHECK(!repo_key_text_read(&key, none[i], strlen(none[i])));
}


/* ------------------------------------------------------------------
** Changing
** ---------------------------------------------------------------- */

TEST(the_one_in_use_stays) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id one, two, id;
  CHECK_GOOD(repo_key_random(&master));
  CHECK_GOOD(add(&m, &master, "one", &one));
  CHECK_GOOD(add(&m, &master, "two", &two));
  CHECK_ERROR(repo_key_remove(&m.store, &one, &one, NULL), SAROS_E_REFUSED);
  CHECK_INT(m.count, 2);
  CHECK_GOOD(repo_key_remove(&m.store, &two, &one, NULL));
  CHECK_INT(m.count, 1);
  error *e = repo_key_remove(&m.store, &two, &one, NULL);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  CHECK_GOOD(open_with(&m, "one", NULL, &found, &id));
  CHECK_ERROR(open_with(&m, "two", NULL, &found, &id), SAROS_E_WRONG_PASSWORD);
  memory_clear(&m);
}

TEST(another_password) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id in_use, old_one, id;
  repo_password p = password("new");
  CHECK_GOOD(repo_key_random(&master));
  CHECK_GOOD(add(&m, &master, "old", &in_use));
  old_one = in_use;
  /* Whatever goes wrong, somebody's password still opens it. */
  m.fail_saves = 1;
  error *e = repo_key_change(&m.store, &master, &p, &cheap, &in_use, NULL);
  CHECK(e != NULL && e->number == ENOSPC);
  error_unref(e);
  m.bad_loads = 2; /* it cannot be read back */
  CHECK_ERROR(repo_key_change(&m.store, &master, &p, &cheap, &in_use, NULL),
              SAROS_E_DAMAGED);
  CHECK_INT(m.count, 1);
  CHECK(repo_id_equal(&in_use, &old_one));
  CHECK_GOOD(open_with(&m, "old", NULL, &found, &id));
  CHECK_GOOD(repo_key_change(&m.store, &master, &p, &cheap, &in_use, NULL));
  CHECK_INT(m.count, 1);
  CHECK(!repo_id_equal(&in_use, &old_one));
  CHECK_GOOD(open_with(&m, "new", NULL, &found, &id));
  CHECK(repo_id_equal(&id, &in_use));
  CHECK(memcmp(&found, &master, sizeof found) == 0);
  CHECK_ERROR(open_with(&m, "old", NULL, &found, &id), SAROS_E_WRONG_PASSWORD);
  repo_password_clear(&p);
  memory_clear(&m);
}

TEST(listed) {
  memory_store m = MEMORY_STORE;
  repo_key master;
  repo_id one, two;
  error *e = NULL;
  CHECK_GOOD(repo_key_random(&master));
  value *none = repo_key_list(&m.store, NULL, NULL, &e);
  CHECK(none != NULL && none->count == 0);
  value_free(none);
  CHECK_GOOD(add(&m, &master, "one", &one));
  CHECK_GOOD(add(&m, &master, "two", &two));
  memory_find(&m.store, REPO_KEYS, &two)->data[9] ^= 1;
  value *list = repo_key_list(&m.store, &one, NULL, &e);
  CHECK_GOOD(e);
  CHECK(list != NULL && list->count == 2);
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    const value *k = list->as.items[i];
    char text[REPO_ID_TEXT];
    bool first = value_boolean(value_get(k, "current"), false);
    repo_id_format(first ? &one : &two, text);
    CHECK_TEXT(value_chars(value_get(k, "id"), NULL), text);
    CHECK_INT(value_get(k, "error") == NULL, first);
    CHECK_INT(value_integer(value_get(k, "N"), 0), first ? 16 : 0);
    CHECK_INT(value_chars(value_get(k, "created"), NULL) != NULL, first);
    CHECK_INT(value_chars(value_get(k, "hostname"), NULL) != NULL, first);
  }
  value_free(list);
  memory_clear(&m);
}

#ifdef SAROS_TEST
static bool whole_life(void) {
  memory_store m = MEMORY_STORE;
  repo_key master, found;
  repo_id id, in_use;
  error *e = NULL;
  repo_password p = {0}, q = {0};
  value *list = NULL;
  memset(&master, 7, sizeof master);
  e = repo_password_text(&p, "one", 3);
  if (e == NULL) e = repo_password_text(&q, "two", 3);
  if (e == NULL) e = repo_key_add(&m.store, &master, &p, &cheap, &in_use, NULL);
  if (e == NULL) e = repo_key_open(&m.store, &p, NULL, &found, &id, NULL);
  if (e == NULL)
    e = repo_key_change(&m.store, &master, &q, &cheap, &in_use, NULL);
  if (e == NULL) list = repo_key_list(&m.store, &in_use, NULL, &e);
  bool whole = e == NULL;
  CHECK(whole || e->code == SAROS_E_OUTOFMEMORY);
  CHECK(m.count <= 1); /* nothing half done */
  error_unref(e);
  value_free(list);
  repo_password_clear(&p);
  repo_password_clear(&q);
  memory_clear(&m);
  return whole;
}
#endif

TEST(without_memory) {
#ifdef SAROS_TEST
  SWEEP(whole_life, 30);
#else
  SKIP("needs -DSAROS_TEST");
#endif
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(many_passwords_one_key);
  RUN(the_empty_password_is_one);
  RUN(twenty_are_tried_and_the_hint);
  RUN(damage_beside_it);
  RUN(cancelled);
  RUN(every_flipped_bit_is_refused);
  RUN(strict);
  RUN(what_is_sealed_must_be_a_key);
  RUN(the_one_in_use_stays);
  RUN(another_password);
  RUN(listed);
  RUN(without_memory);
  return check_end();
}
