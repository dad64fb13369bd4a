/*
** A lock as it comes out of its seal: whoever has the key may write what he
** likes. It is read, judged, described, and written as our own.
*/
#include "repository/lock_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  repo_lock_file f = {0}, again = {0};
  repo_owner here = {.hostname = mem_text("host"),
                     .username = mem_text("user"),
                     .pid = 2,
                     .boot = "0f4e2af2-19a1-448a-a768-f3cb75cbacfe",
                     .pids = 1,
                     .started = 3};
  buffer b = BUFFER_EMPTY, sentence = BUFFER_EMPTY;
  error *e = repo_lock_file_read(&f, (const char *)data, size);
  if (e == NULL) {
    repo_lock_file_describe(&f, &sentence);
    if (!text_is_utf8(sentence.data, sentence.size)) abort();
    value_free(repo_lock_file_value(&f, &here));
    repo_lock_file_write(&f, &b);
    /* What we write we can read. */
    error *why = repo_lock_file_read(&again, b.data, b.size);
    if (why != NULL || again.time.tv_sec != f.time.tv_sec) abort();
    repo_lock_file_clear(&again);
    repo_lock_file_clear(&f);
  }
  error_unref(e);
  buffer_free(&b);
  buffer_free(&sentence);
  repo_owner_clear(&here);
  return 0;
}
