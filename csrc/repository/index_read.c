/*
** index_read: an index file's JSON. An index may be hundreds of megabytes, so
** no value is built of it: it is read once, front to back, into the blobs of
** one pack at a time. Whoever wrote it may be hostile: nothing is believed, and
** what it costs is bounded by its size.
*/
#include <string.h>

#include "repository/crypto.h"
#include "repository/index.h"

#define DEPTH_MOST 32 /* of what we do not know and pass over */

typedef struct reader {
  repo_index *index;
  const repo_id *file;
  const char *text, *at, *end;
  const char *wanted; /* the first thing that was not there */
  error *failed;      /* what is not the text's fault */
  repo_blob *blobs;   /* of one pack */
  size_t count, room;
} reader;

/* A string as it stands in the text, between its quotes. */
typedef struct slice {
  const char *text;
  size_t size;
} slice;


/* ------------------------------------------------------------------
** JSON
** ---------------------------------------------------------------- */

static bool miss(reader *r, const char *wanted) {
  if (r->wanted == NULL) r->wanted = wanted;
  return false;
}


static void pass_space(reader *r) {
  while (r->at < r->end &&
         (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
    r->at++;
}


/* Whether this is what comes next; then it is behind us. */
static bool take(reader *r, char c) {
  pass_space(r);
  if (r->at == r->end || *r->at != c) return false;
  r->at++;
  return true;
}


static bool take_word(reader *r, const char *word) {
  size_t size = strlen(word);
  pass_space(r);
  if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
    return false;
  r->at += size;
  return true;
}


static bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
         (c >= 'A' && c <= 'F');
}


/* At a backslash. */
static bool pass_escape(reader *r) {
  size_t left = (size_t)(r->end - r->at);
  if (left < 2 || strchr("\"\\/bfnrtu", r->at[1]) == NULL || r->at[1] == '\0')
    return miss(r, "an escape");
  if (r->at[1] == 'u') {
    for (size_t i = 2; i < 6; i++)
      if (i >= left || !is_hex(r->at[i])) return miss(r, "four hex digits");
    r->at += 4;
  }
  r->at += 2;
  return true;
}


static bool read_string(reader *r, slice *s) {
  if (!take(r, '"')) return miss(r, "a string");
  s->text = r->at;
  for (;;) {
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' &&
           (unsigned char)*r->at >= ' ')
      r->at++;
    if (r->at == r->end || (unsigned char)*r->at < ' ')
      return miss(r, "the end of a string");
    if (*r->at == '"') break;
    if (!pass_escape(r)) return false;
  }
  s->size = (size_t)(r->at++ - s->text);
  return true;
}


static bool read_key(reader *r, slice *key) {
  return read_string(r, key) && (take(r, ':') || miss(r, "a colon"));
}


/* After a member: whether there is another. The first is asked with `first`. */
static bool more(reader *r, char close, bool *first, bool *ok) {
  bool was_first = *first;
  *first = false;
  *ok = true;
  if (take(r, close)) return false;
  if (was_first || take(r, ',')) return true;
  *ok = miss(r, close == '}' ? "a comma or }" : "a comma or ]");
  return false;
}


static bool is(slice s, const char *text) {
  return s.size == strlen(text) && memcmp(s.text, text, s.size) == 0;
}


static bool is_digit(const reader *r) {
  return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}


static bool pass_digits(reader *r) {
  if (!is_digit(r)) return miss(r, "a digit");
  while (is_digit(r)) r->at++;
  return true;
}


static bool pass_number(reader *r) {
  if (r->at < r->end && *r->at == '-') r->at++;
  if (r->at < r->end && *r->at == '0')
    r->at++;
  else if (!pass_digits(r))
    return false;
  if (r->at < r->end && *r->at == '.') {
    r->at++;
    if (!pass_digits(r)) return false;
  }
  if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
    r->at++;
    if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
    return pass_digits(r);
  }
  return true;
}


/* Any value, to which nobody listens. */
static bool pass_value(reader *r, int depth) {
  slice ignored;
  bool first = true, ok = true;
  pass_space(r);
  if (r->at == r->end) return miss(r, "a value");
  if (*r->at == '"') return read_string(r, &ignored);
  if (*r->at == '{' || *r->at == '[') {
    char close = *r->at++ == '{' ? '}' : ']';
    if (depth == DEPTH_MOST) return miss(r, "less nesting");
    while (more(r, close, &first, &ok))
      if ((close == '}' && !read_key(r, &ignored)) || !pass_value(r, depth + 1))
        return false;
    return ok;
  }
  if (take_word(r, "true") || take_word(r, "false") || take_word(r, "null"))
    return true;
  return pass_number(r);
}


/* ------------------------------------------------------------------
** An index
** ---------------------------------------------------------------- */

static bool read_id(reader *r, repo_id *id) {
  slice s;
  if (!read_string(r, &s)) return false;
  return repo_id_parse(id, s.text, s.size) || miss(r, "64 hex digits before");
}


static bool read_number(reader *r, uint32_t *n) {
  uint64_t sum = 0;
  pass_space(r);
  const char *begin = r->at;
  if (!is_digit(r)) return miss(r, "a number");
  for (; is_digit(r); r->at++) {
    sum = sum * 10 + (uint64_t)(*r->at - '0');
    if (sum > UINT32_MAX) return miss(r, "a number below 2^32");
  }
  if (*begin == '0' && r->at - begin > 1) return miss(r, "a number");
  *n = (uint32_t)sum;
  return true;
}


static bool read_type(reader *r, uint8_t *type) {
  slice s;
  if (!read_string(r, &s)) return false;
  *type = is(s, "tree") ? REPO_TREE : REPO_DATA;
  return *type == REPO_TREE || is(s, "data") ||
         miss(r, "\"data\" or \"tree\" before");
}


/* Each name once: a second one could make of a blob another. */
static bool once(reader *r, unsigned *seen, unsigned which) {
  if (*seen & which) return miss(r, "no name twice");
  *seen |= which;
  return true;
}


enum { ID = 1, TYPE = 2, OFFSET = 4, LENGTH = 8, PLAIN = 16, BLOBS = 32 };

static bool read_blob_member(reader *r, repo_blob *blob, unsigned *seen) {
  slice key;
  if (!read_key(r, &key)) return false;
  if (is(key, "id")) return once(r, seen, ID) && read_id(r, &blob->id);
  if (is(key, "type")) return once(r, seen, TYPE) && read_type(r, &blob->type);
  if (is(key, "offset"))
    return once(r, seen, OFFSET) && read_number(r, &blob->offset);
  if (is(key, "length"))
    return once(r, seen, LENGTH) && read_number(r, &blob->length);
  if (is(key, "uncompressed_length"))
    return once(r, seen, PLAIN) && read_number(r, &blob->plain_length);
  return pass_value(r, 0);
}


static bool reserve_blob(reader *r) {
  if (r->count < r->room) return true;
  size_t room = r->room == 0 ? 256 : 2 * r->room;
  repo_blob *blobs = mem_grow(r->blobs, room * sizeof *blobs);
  if (blobs == NULL) {
    r->failed = error_no_memory();
    return false;
  }
  r->blobs = blobs;
  r->room = room;
  return true;
}


static bool read_blob(reader *r) {
  const unsigned all = ID | TYPE | OFFSET | LENGTH;
  repo_blob blob = {.plain_length = 0};
  unsigned seen = 0;
  bool first = true, ok;
  if (!take(r, '{')) return miss(r, "a blob");
  while (more(r, '}', &first, &ok))
    if (!read_blob_member(r, &blob, &seen)) return false;
  if (!ok) return false;
  if ((seen & all) != all)
    return miss(r, "id, type, offset and length of a blob before");
  if (blob.length < REPO_SEAL)
    return miss(r, "a blob of 32 bytes or more before");
  if (!reserve_blob(r)) return false;
  r->blobs[r->count++] = blob;
  return true;
}


static bool read_blobs(reader *r) {
  bool first = true, ok;
  if (take_word(r, "null")) return true;
  if (!take(r, '[')) return miss(r, "a list of blobs");
  while (more(r, ']', &first, &ok))
    if (!read_blob(r)) return false;
  return ok;
}


static bool read_pack(reader *r) {
  repo_id id;
  unsigned seen = 0;
  bool first = true, ok;
  r->count = 0;
  if (!take(r, '{')) return miss(r, "a pack");
  while (more(r, '}', &first, &ok)) {
    slice key;
    if (!read_key(r, &key)) return false;
    if (is(key, "id"))
      ok = once(r, &seen, ID) && read_id(r, &id);
    else if (is(key, "blobs"))
      ok = once(r, &seen, BLOBS) && read_blobs(r);
    else
      ok = pass_value(r, 0);
    if (!ok) return false;
  }
  if (!ok) return false;
  if ((seen & ID) == 0) return miss(r, "the id of a pack before");
  r->failed = repo_index_add(r->index, &id, r->blobs, r->count);
  return r->failed == NULL;
}


static bool read_packs(reader *r) {
  bool first = true, ok;
  if (take_word(r, "null")) return true;
  if (!take(r, '[')) return miss(r, "a list of packs");
  while (more(r, ']', &first, &ok))
    if (!read_pack(r)) return false;
  return ok;
}


static bool read_all(reader *r) {
  bool first = true, ok;
  unsigned seen = 0;
  if (take(r, '[')) return miss(r, "an index that is not of restic before 0.2");
  if (!take(r, '{')) return miss(r, "an index");
  while (more(r, '}', &first, &ok)) {
    slice key;
    if (!read_key(r, &key)) return false;
    ok = is(key, "packs") ? once(r, &seen, BLOBS) && read_packs(r)
                          : pass_value(r, 0);
    if (!ok) return false;
  }
  if (!ok) return false;
  pass_space(r);
  return r->at == r->end || miss(r, "its end");
}


error *repo_index_read(repo_index *x, const repo_id *file, const char *plain,
                       size_t size) {
  reader r = {.index = x, .file = file, .text = size > 0 ? plain : ""};
  r.at = r.text;
  r.end = r.text + size;
  bool good = read_all(&r);
  mem_free(r.blobs);
  if (good || r.failed != NULL) return r.failed;
  char name[REPO_ID_TEXT];
  repo_id_format(file, name);
  return repo_error(SAROS_E_DAMAGED,
                    "index %.8s is damaged at byte %zu, where %s was expected: "
                    "repair the index",
                    name, (size_t)(r.at - r.text),
                    r.wanted != NULL ? r.wanted : "JSON");
}
