/*
** index_write: an index file's text, as restic writes it.
*/
#include <string.h>

#include "repository/index.h"

/* More than any blob takes: names, 64 digits, three numbers. */
#define BLOB_MOST 256

static char *put_number(char *to, uint32_t n) {
  char digits[10];
  int count = 0;
  do {
    digits[count++] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  while (count > 0) *to++ = digits[--count];
  return to;
}


static char *put_id(char *to, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  memcpy(to, text, REPO_ID_TEXT - 1);
  return to + REPO_ID_TEXT - 1;
}


static void put_blob(buffer *b, const repo_blob *blob, bool first) {
  char text[BLOB_MOST], *to = text;
  if (!first) *to++ = ',';
  to = stpcpy(to, "{\"id\":\"");
  to = put_id(to, &blob->id);
  to = stpcpy(to, blob->type == REPO_TREE ? "\",\"type\":\"tree\""
                                          : "\",\"type\":\"data\"");
  to = stpcpy(to, ",\"offset\":");
  to = put_number(to, blob->offset);
  to = stpcpy(to, ",\"length\":");
  to = put_number(to, blob->length);
  if (blob->plain_length > 0) {
    to = stpcpy(to, ",\"uncompressed_length\":");
    to = put_number(to, blob->plain_length);
  }
  *to++ = '}';
  buffer_put(b, text, (size_t)(to - text));
}


void repo_index_text_add(repo_index_text *t, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  char id[REPO_ID_TEXT];
  repo_id_format(pack, id);
  buffer_text(&t->json,
              t->json.size == 0 ? "{\"packs\":[{\"id\":\"" : ",{\"id\":\"");
  buffer_text(&t->json, id);
  buffer_text(&t->json, "\",\"blobs\":[");
  for (size_t i = 0; i < count; i++) put_blob(&t->json, &blobs[i], i == 0);
  buffer_text(&t->json, "]}");
  t->blobs += count;
}


void repo_index_text_end(repo_index_text *t) {
  if (t->json.size == 0) buffer_text(&t->json, "{\"packs\":[");
  buffer_text(&t->json, "]}\n");
}
