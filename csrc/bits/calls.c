/*
** Everything that can be asked of a queue and waited for, by name.
*/
#include <string.h>

#include "bits/call.h"

static const bits_work works[] = {
    {"open", BITS_KIND("open"), bits_work_open},
    {"close", BITS_KIND("close"), bits_work_close},
    {"configure", BITS_KIND("configure"), bits_work_configure},
    {"create", BITS_KIND("create"), bits_work_create},
    {"resume", BITS_KIND("resume"), bits_work_resume},
    {"suspend", BITS_KIND("suspend"), bits_work_suspend},
    {"complete", BITS_KIND("complete"), bits_work_complete},
    {"cancel", BITS_KIND("cancel"), bits_work_cancel},
    {"set", BITS_KIND("set"), bits_work_set},
    {"set_url", BITS_KIND("set_url"), bits_work_set_url},
    {"check_files", BITS_KIND("check_files"), bits_work_check_files},
};

const bits_work *bits_work_find(const char *name) {
  for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
    if (strcmp(works[i].name, name) == 0) return &works[i];
  return NULL;
}
