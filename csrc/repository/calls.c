/*
** Everything that can be asked of a repository, by name.
*/
#include <string.h>

#include "repository/call.h"

static const repo_work works[] = {
    {"open", REPO_KIND("open", SAROS_NO_ESTIMATE), repo_work_open},
    {"create", REPO_KIND("init", SAROS_NO_ESTIMATE), repo_work_create},
    {"versions", REPO_KIND("versions", SAROS_NO_ESTIMATE), repo_work_versions},
    {"stats", REPO_KIND("stats", SAROS_NO_ESTIMATE), repo_work_stats},
    {"keys", REPO_KIND("keys", SAROS_NO_ESTIMATE), repo_work_keys},
    {"add_key", REPO_KIND("add_key", SAROS_NO_ESTIMATE), repo_work_add_key},
    {"remove_key", REPO_KIND("remove_key", SAROS_NO_ESTIMATE),
     repo_work_remove_key},
    {"change_password", REPO_KIND("change_password", SAROS_NO_ESTIMATE),
     repo_work_change_password},
    {"locks", REPO_KIND("locks", SAROS_NO_ESTIMATE), repo_work_locks},
    {"backup", REPO_KIND("backup", 0), repo_work_backup},
    {"check", REPO_KIND("check", 0), repo_work_check},
    {"forget", REPO_KIND("forget", 0), repo_work_forget},
    {"prune", REPO_KIND("prune", 0), repo_work_prune},
    {"restore", REPO_KIND("restore", 0), repo_work_restore},
    {"ls", REPO_KIND("ls", SAROS_NO_ESTIMATE), repo_work_ls},
    {"find", REPO_KIND("find", 0), repo_work_find_files},
    {"diff", REPO_KIND("diff", SAROS_NO_ESTIMATE), repo_work_diff},
    {"dump", REPO_KIND("dump", SAROS_NO_ESTIMATE), repo_work_dump},
    {"read_pipe", REPO_KIND("read", SAROS_NO_ESTIMATE), repo_work_read_pipe},
    {"sizes", REPO_KIND("stats", SAROS_NO_ESTIMATE), repo_work_sizes},
    {"copy", REPO_KIND("copy", 0), repo_work_copy},
    {"repair", REPO_KIND("repair", 0), repo_work_repair},
    {"mount", REPO_KIND("mount", SAROS_NO_ESTIMATE), repo_work_mount},
    {"unlock", REPO_KIND("unlock", SAROS_NO_ESTIMATE), repo_work_unlock},
};

const repo_work *repo_work_find(const char *name) {
  for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
    if (strcmp(works[i].name, name) == 0) return &works[i];
  return NULL;
}
