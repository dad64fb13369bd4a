/*
** tools: a list of them. Making one costs a key schedule and some megabytes.
*/
#include "repository/tools.h"

#include <pthread.h>

#include "base/traces.h"
#include "repository/unpacked.h"

struct repo_tools {
  repo_key *key; /* secret memory */
  unsigned version;
  pthread_mutex_t lock; /* innermost */
  repo_tool *idle;
};

repo_tools *repo_tools_new(const repo_key *key, unsigned version) {
  repo_tools *t = mem_zero(sizeof *t);
  if (t == NULL) return NULL;
  t->key = repo_secret_new(sizeof *t->key);
  if (t->key == NULL) {
    mem_free(t);
    return NULL;
  }
  *t->key = *key;
  traces_wipe();
  t->version = version;
  pthread_mutex_init(&t->lock, NULL);
  return t;
}

static void tool_free(repo_tool *tool) {
  if (tool->sealer != NULL) repo_sealer_free(tool->sealer);
  if (tool->zip != NULL) repo_zip_free(tool->zip);
  mem_free(tool);
}

void repo_tools_free(repo_tools *t) {
  if (t == NULL) return;
  while (t->idle != NULL) {
    repo_tool *next = t->idle->next;
    tool_free(t->idle);
    t->idle = next;
  }
  repo_secret_free(t->key, sizeof *t->key);
  pthread_mutex_destroy(&t->lock);
  mem_free(t);
}

error *repo_tools_take(repo_tools *t, repo_tool **tool) {
  error *e = NULL;
  pthread_mutex_lock(&t->lock);
  *tool = t->idle;
  if (*tool != NULL) t->idle = (*tool)->next;
  pthread_mutex_unlock(&t->lock);
  if (*tool != NULL) return NULL;
  repo_tool *fresh = mem_zero(sizeof *fresh);
  if (fresh == NULL) return error_no_memory();
  fresh->sealer = repo_sealer_new(t->key, &e);
  if (e == NULL) fresh->zip = repo_zip_new();
  if (e == NULL && fresh->zip == NULL) e = error_no_memory();
  if (e != NULL)
    tool_free(fresh);
  else
    *tool = fresh;
  return e;
}

void repo_tools_give(repo_tools *t, repo_tool *tool) {
  if (tool == NULL) return;
  pthread_mutex_lock(&t->lock);
  tool->next = t->idle;
  t->idle = tool;
  pthread_mutex_unlock(&t->lock);
}

error *repo_tools_load(repo_tools *t, repo_store *store, repo_file kind,
                       const repo_id *id, size_t most, buffer *b,
                       const repo_stop *stop) {
  repo_tool *tool;
  error *e = repo_tools_take(t, &tool);
  if (e != NULL) return e;
  e = repo_unpacked_load(store, kind, id, tool->sealer, tool->zip, most, b,
                         stop);
  repo_tools_give(t, tool);
  return e;
}

error *repo_tools_save(repo_tools *t, repo_store *store, repo_file kind,
                       const void *plain, size_t size, repo_id *id,
                       const repo_stop *stop) {
  repo_tool *tool;
  error *e = repo_tools_take(t, &tool);
  if (e != NULL) return e;
  e = repo_unpacked_save(store, kind, t->version, tool->sealer, tool->zip,
                         REPO_LEVEL_AUTO, plain, size, id, stop);
  repo_tools_give(t, tool);
  return e;
}
