/*
** The reader of versions, fuzzed: what it takes is written, reads back, and is
** written as the same text; and it can be grouped and judged.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/snapshot.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(repo_snapshot *s) {
  repo_policy p = {.keep = {0, 1, 1, 1, 1, 1}};
  repo_snapshot *two[2] = {s, s};
  bool keep[2];
  value *reasons[2];
  size_t group[2], groups;
  p.has_within[0] = p.has_within[5] = true;
  p.within[0] = (repo_span){1, 2, 3, 4};
  p.within[5] = (repo_span){100000000, 100000000, 100000000, 100000000};
  REQUIRE(repo_snapshots_group(two, 2, 7, group, &groups) == NULL);
  REQUIRE(groups == 1 && group[0] == 0 && group[1] == 0);
  REQUIRE(repo_policy_apply(&p, two, 2, (struct timespec){1767225600, 0}, keep,
                            reasons) == NULL);
  REQUIRE(keep[0]);
  value_free(reasons[0]);
  value_free(reasons[1]);
  value *v = repo_snapshot_value(s);
  REQUIRE(v != NULL);
  value_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  buffer text = BUFFER_EMPTY, same = BUFFER_EMPTY;
  error *e = NULL;
  repo_snapshot *s = repo_snapshot_read((const char *)data, size, &e);
  REQUIRE((s == NULL) == (e != NULL));
  if (s == NULL) {
    REQUIRE(e->code == SAROS_E_DAMAGED);
    error_unref(e);
    return 0;
  }
  judge(s);
  REQUIRE(repo_snapshot_write(s, &text) == NULL);
  repo_snapshot *back = repo_snapshot_read(text.data, text.size, &e);
  REQUIRE(back != NULL);
  REQUIRE(repo_snapshot_write(back, &same) == NULL);
  REQUIRE(text.size == same.size);
  REQUIRE(memcmp(text.data, same.data, same.size) == 0);
  repo_snapshot_free(s);
  repo_snapshot_free(back);
  buffer_free(&text);
  buffer_free(&same);
  return 0;
}
