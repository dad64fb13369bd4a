/*
** Where paths really lead. On the lane: whatever is mounted there may not
** answer.
*/
#include "vss/real_paths.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Cuts off its last name, until what is left can be followed; allocated. NULL:
   no memory. */
static char *real_of(const char *path) {
  char real[PATH_MAX];
  if (*path != '/') return mem_text(path);
  char *clean = path_clean(path);
  if (clean == NULL) return NULL;
  size_t size = strlen(clean), at = size;
  bool found = false;
  while (!found) {
    char kept = clean[at];
    clean[at] = '\0';
    found = realpath(at == 0 ? "/" : clean, real) != NULL || at == 0;
    clean[at] = kept;
    while (!found && clean[--at] != '/') {}
  }
  const char *rest = clean + at + (clean[at] == '/' ? 1 : 0);
  char *joined = *rest == '\0' ? mem_text(real) : path_join(real, rest);
  mem_free(clean);
  return joined;
}

static value *follow(const value *paths) {
  value *list = value_list();
  bool good = list != NULL;
  for (uint32_t i = 0; good && i < paths->count; i++) {
    char *real = real_of(value_chars(paths->as.items[i], ""));
    good = real != NULL && value_add(list, value_text(real));
    mem_free(real);
  }
  if (good) return list;
  value_free(list);
  return NULL;
}

static uint32_t run(saros_op *op, void *self) {
  value *list = follow(self);
  if (list == NULL) return SAROS_E_OUTOFMEMORY;
  op_set_output(op, list);
  return SAROS_S_OK;
}

static void release(void *self) {
  value_free(self);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.real_paths",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE | SAROS_RUN_LANE,
                                .run = run,
                                .release = release};

saros_op *real_paths_start(value *paths, error **e) {
  saros_op *op = NULL;
  if (paths != NULL && paths->type == VALUE_LIST)
    op = saros_op_new(&kind, paths, NULL);
  if (op == NULL) {
    *e = paths == NULL || paths->type == VALUE_LIST
             ? error_no_memory()
             : vss_error(SAROS_E_INVALIDARG, "a list of paths is wanted");
    value_free(paths);
    return NULL;
  }
  uint32_t why = saros_op_start(op);
  if (why == 0) return op;
  *e = vss_error(why, "no worker could be had to see where paths lead");
  saros_op_unref(op);
  return NULL;
}
