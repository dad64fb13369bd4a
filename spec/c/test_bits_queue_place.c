/*
** The files of a queue that is open, and what people do to them: what can no
** longer be kept is not taken, and what was taken is not lost.
*/
#include "bits_queue_case.h"

/* The code with which a change is refused; 0: it is made. */
static uint32_t refuses(bits_queue *q, const char *naming) {
  error *e = bits_queue_begin(q, true);
  uint32_t code = e != NULL ? e->code : 0;
  if (e == NULL) {
    CHECK(put_job(q, 99, BITS_SUSPENDED));
    e = bits_queue_commit(q);
    CHECK(is_fine(e));
  } else {
    CHECK(naming != NULL && strstr(e->message, naming) != NULL);
    error_unref(e);
    bits_queue_undo(q);
  }
  return code;
}

static bool is_same(const buffer *a, const buffer *b) {
  return a->data != NULL && b->data != NULL && a->size == b->size &&
         memcmp(a->data, b->data, a->size) == 0;
}

TEST(what_is_beside_it_is_removed) {
  static const char *const suffixes[] = {"-wal", "-shm"};
  for (int i = 0; i < 2; i++) {
    loaded before = {0}, after = {0};
    buffer db = BUFFER_EMPTY;
    folder_empty(queue_folder);
    bits_queue *q = open_sound_queue();
    fill(q, 3, 4);
    CHECK(load(q, &before));
    CHECK(unlink(beside(suffixes[i])) == 0);
    CHECK_INT(refuses(q, beside(suffixes[i])), WIN32_(WIN32_FILE_NOT_FOUND));
    CHECK_INT(refuses(q, "open it again"), WIN32_(WIN32_FILE_NOT_FOUND));
    get_bytes(queue_path, &db);
    bits_queue_close(q);
    q = open_sound_queue();
    CHECK(load(q, &after) && is_same(&before.text, &after.text));
    CHECK_INT(refuses(q, NULL), 0);
    bits_queue_close(q);
    /* As it is if nobody came to close it. */
    folder_empty(queue_folder);
    put_bytes(queue_path, &db);
    q = open_sound_queue();
    CHECK(load(q, &after) && is_same(&before.text, &after.text));
    bits_queue_close(q);
    buffer_free(&db);
    buffer_free(&before.text);
    buffer_free(&after.text);
  }
}

TEST(it_is_put_back) {
  loaded before = {0}, after = {0};
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 3, 4);
  CHECK(load(q, &before));
  CHECK(rename(queue_path, beside(".away")) == 0);
  CHECK_INT(refuses(q, queue_path), WIN32_(WIN32_FILE_NOT_FOUND));
  CHECK_INT(refuses(q, "is lost when"), WIN32_(WIN32_FILE_NOT_FOUND));
  CHECK(load(q, &after) && is_same(&before.text, &after.text));
  CHECK(rename(beside(".away"), queue_path) == 0);
  CHECK_INT(refuses(q, NULL), 0);
  bits_queue_close(q);
  q = open_sound_queue();
  CHECK(load(q, &after));
  CHECK_INT(after.jobs, 4);
  bits_queue_close(q);
  buffer_free(&before.text);
  buffer_free(&after.text);
}

/* Who puts another queue there finds it as he has put it. */
TEST(another_is_in_its_place) {
  static const char *const suffixes[] = {"", "-wal"};
  buffer put[2] = {BUFFER_EMPTY, BUFFER_EMPTY};
  loaded l = {0};
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 2, 2);
  for (int i = 0; i < 2; i++) get_bytes(beside(suffixes[i]), &put[i]);
  bits_queue_close(q);
  folder_empty(queue_folder);
  q = open_sound_queue();
  fill(q, 1, 1);
  for (int i = 0; i < 2; i++) {
    CHECK(unlink(beside(suffixes[i])) == 0);
    put_bytes(beside(suffixes[i]), &put[i]);
  }
  CHECK_INT(refuses(q, queue_path), SAROS_E_CHANGED);
  bits_queue_close(q);
  for (int i = 0; i < 2; i++) {
    buffer b = BUFFER_EMPTY;
    get_bytes(beside(suffixes[i]), &b);
    CHECK(is_same(&b, &put[i]));
    buffer_free(&b);
    buffer_free(&put[i]);
  }
  q = open_sound_queue();
  CHECK(load(q, &l));
  CHECK_INT(l.jobs, 2);
  bits_queue_close(q);
  buffer_free(&l.text);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  folder_make();
  RUN(what_is_beside_it_is_removed);
  RUN(it_is_put_back);
  RUN(another_is_in_its_place);
  return check_end();
}
