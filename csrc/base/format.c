/*
** Versions of what is kept.
*/
#include "base/format.h"

#include <string.h>

#include "base/path.h"

/* No program's name is longer; what is shown of one. */
#define PROGRAM_MOST 60

bool format_stamp(value *map, int64_t version) {
  return value_put(map, "version", value_int(version)) &&
         value_put(map, "program", value_text(SAROS_RELEASE));
}

error *format_newer(saros_facade facade, uint32_t code, const value *map,
                    int64_t known, const char *what) {
  int64_t version = value_integer(value_get(map, "version"), 0);
  const value *program = value_get(map, "program");
  buffer who = BUFFER_EMPTY;
  if (version <= known) return NULL;
  if (program != NULL && program->type == VALUE_STRING &&
      program->as.string.size > 0 && program->as.string.size <= PROGRAM_MOST)
    text_escape(&who, program->as.string.data, program->as.string.size);
  error *e = error_make(
      facade, code,
      "%s was written by a newer saros%s%s%s: its version is %lld, and this "
      "one (" SAROS_RELEASE
      ") knows %lld. Use that program; nothing of it was changed",
      what, who.size > 0 && !who.failed ? " (" : "",
      who.size > 0 && !who.failed ? who.data : "",
      who.size > 0 && !who.failed ? ")" : "", (long long)version,
      (long long)known);
  buffer_free(&who);
  return e;
}
