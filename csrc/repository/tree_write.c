/*
** tree_write: a directory's JSON. Fields, their order and what is left out are
** as encoding/json makes them of restic's struct: a byte more or less, and
** the tree would be stored a second time.
*/
#include <string.h>

#include "repository/go.h"
#include "repository/tree.h"

struct repo_tree_text {
  buffer json;
  buffer last; /* the name before */
  bool ended;  /* the next call begins a new one */
};

repo_tree_text *repo_tree_text_new(void) {
  return mem_zero(sizeof(repo_tree_text));
}

void repo_tree_text_free(repo_tree_text *t) {
  if (t == NULL) return;
  buffer_free(&t->json);
  buffer_free(&t->last);
  mem_free(t);
}


/* ------------------------------------------------------------------
** Names and types
** ---------------------------------------------------------------- */

static const char *const type_names[] = {
    [REPO_NODE_FILE] = "file",         [REPO_NODE_DIRECTORY] = "dir",
    [REPO_NODE_SYMLINK] = "symlink",   [REPO_NODE_DEVICE] = "dev",
    [REPO_NODE_CHARACTER] = "chardev", [REPO_NODE_FIFO] = "fifo",
    [REPO_NODE_SOCKET] = "socket",     [REPO_NODE_OTHER] = "irregular",
};

const char *repo_node_type_name(repo_node_type type) {
  return (unsigned)type <= REPO_NODE_OTHER ? type_names[type]
                                           : type_names[REPO_NODE_OTHER];
}

repo_node_type repo_node_type_of(const char *name) {
  for (int i = 0; i < REPO_NODE_OTHER; i++)
    if (strcmp(name, type_names[i]) == 0) return (repo_node_type)i;
  return REPO_NODE_OTHER;
}

uint32_t repo_node_st_mode(const repo_node *n) {
  static const uint32_t bits[] = {
      [REPO_NODE_FILE] = 0100000,      [REPO_NODE_DIRECTORY] = 0040000,
      [REPO_NODE_SYMLINK] = 0120000,   [REPO_NODE_DEVICE] = 0060000,
      [REPO_NODE_CHARACTER] = 0020000, [REPO_NODE_FIFO] = 0010000,
      [REPO_NODE_SOCKET] = 0140000,    [REPO_NODE_OTHER] = 0,
  };
  return (n->mode & 07777) | bits[n->type];
}

bool repo_node_name_is_good(const char *name, size_t size) {
  if (size == 0 || memchr(name, '/', size) != NULL ||
      memchr(name, '\0', size) != NULL)
    return false;
  return !(name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')));
}

int repo_node_name_compare(const char *a, size_t a_size, const char *b,
                           size_t b_size) {
  size_t both = a_size < b_size ? a_size : b_size;
  int r = both > 0 ? memcmp(a, b, both) : 0;
  if (r != 0) return r;
  return a_size < b_size ? -1 : a_size > b_size;
}


/* ------------------------------------------------------------------
** Fields
** ---------------------------------------------------------------- */

/* printf would be half of the time. */
static void put_number(buffer *b, uint64_t n) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  buffer_put(b, digits + at, sizeof digits - at);
}

/* `what` is the comma, the name and the colon. */
static void put_count(buffer *b, const char *what, uint64_t n) {
  if (n == 0) return;
  buffer_text(b, what);
  put_number(b, n);
}

static void put_time(buffer *b, const char *what, struct timespec t,
                     int32_t zone) {
  buffer_text(b, what);
  repo_go_time(b, t, zone);
  buffer_byte(b, '"');
}

static void put_text(buffer *b, const char *what, const char *text,
                     size_t size) {
  if (size == 0) return;
  buffer_text(b, what);
  repo_go_string(b, text, size);
}

static void put_id(buffer *b, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  buffer_byte(b, '"');
  buffer_put(b, text, REPO_ID_TEXT - 1);
  buffer_byte(b, '"');
}

/* What is no UTF-8 reads wrong everywhere but in the second field, which
   restic knows since 0.16. */
static void put_target(buffer *b, const repo_node *n) {
  put_text(b, ",\"linktarget\":", n->target, n->target_size);
  if (n->target_size == 0 || text_is_utf8(n->target, n->target_size)) return;
  buffer_text(b, ",\"linktarget_raw\":\"");
  text_base64(b, n->target, n->target_size);
  buffer_byte(b, '"');
}

static void put_attributes(buffer *b, const repo_node *n) {
  for (size_t i = 0; i < n->attribute_count; i++) {
    const repo_attribute *a = &n->attributes[i];
    buffer_text(
        b, i == 0 ? ",\"extended_attributes\":[{\"name\":" : ",{\"name\":");
    repo_go_string(b, a->name, strlen(a->name));
    buffer_text(b, ",\"value\":\"");
    text_base64(b, a->data, a->size);
    buffer_text(b, "\"}");
  }
  if (n->attribute_count > 0) buffer_byte(b, ']');
}

static void put_content(buffer *b, const repo_node *n) {
  if (!n->has_content) {
    buffer_text(b, ",\"content\":null");
    return;
  }
  buffer_text(b, ",\"content\":[");
  for (size_t i = 0; i < n->content_count; i++) {
    if (i > 0) buffer_byte(b, ',');
    put_id(b, &n->content[i]);
  }
  buffer_byte(b, ']');
}

void repo_node_write(buffer *b, const repo_node *n) {
  buffer_text(b, "{\"name\":");
  repo_go_name(b, n->name, n->name_size);
  buffer_text(b, ",\"type\":\"");
  buffer_text(b, repo_node_type_name(n->type));
  buffer_byte(b, '"');
  uint32_t mode = repo_go_mode(repo_node_st_mode(n));
  put_count(b, ",\"mode\":", mode);
  put_time(b, ",\"mtime\":\"", n->mtime, n->mtime_zone);
  put_time(b, ",\"atime\":\"", n->atime, n->atime_zone);
  put_time(b, ",\"ctime\":\"", n->ctime, n->ctime_zone);
  buffer_text(b, ",\"uid\":");
  put_number(b, n->uid);
  buffer_text(b, ",\"gid\":");
  put_number(b, n->gid);
  if (n->user != NULL) put_text(b, ",\"user\":", n->user, strlen(n->user));
  if (n->group != NULL) put_text(b, ",\"group\":", n->group, strlen(n->group));
  put_count(b, ",\"inode\":", n->inode);
  put_count(b, ",\"device_id\":", n->device_id);
  put_count(b, ",\"size\":", n->size);
  put_count(b, ",\"links\":", n->links);
  put_target(b, n);
  put_attributes(b, n);
  if (n->generic_json != NULL) {
    buffer_text(b, ",\"generic_attributes\":");
    buffer_put(b, n->generic_json, n->generic_size);
  }
  put_count(b, ",\"device\":", n->device);
  put_content(b, n);
  if (n->has_subtree) {
    buffer_text(b, ",\"subtree\":");
    put_id(b, &n->subtree);
  }
  if (n->error_text != NULL)
    put_text(b, ",\"error\":", n->error_text, strlen(n->error_text));
  buffer_byte(b, '}');
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

static void begin(repo_tree_text *t) {
  if (t->ended) {
    buffer_clear(&t->json);
    buffer_clear(&t->last);
    t->ended = false;
  }
  if (t->json.size == 0) buffer_text(&t->json, "{\"nodes\":[");
}

/* Names are for a person here, and may be anything. */
static error *wrong_name(const char *what, const repo_node *n) {
  buffer name = BUFFER_EMPTY;
  text_escape(&name, n->name, n->name_size < 200 ? n->name_size : 200);
  error *e = name.failed
                 ? error_no_memory()
                 : repo_error(SAROS_E_UNEXPECTED,
                              "a tree cannot have the name \"%s\" here: %s",
                              name.data != NULL ? name.data : "", what);
  buffer_free(&name);
  return e;
}

error *repo_tree_text_add(repo_tree_text *t, const repo_node *n) {
  begin(t);
  if (!repo_node_name_is_good(n->name, n->name_size))
    return wrong_name("it is not the name of a file in a directory", n);
  if (repo_node_name_compare(n->name, n->name_size, t->last.data,
                             t->last.size) <= 0)
    return wrong_name("it does not come after the one before", n);
  if (n->type == REPO_NODE_FILE && !n->has_content)
    return wrong_name("it is a file, and has no content", n);
  if (n->type == REPO_NODE_DIRECTORY && !n->has_subtree)
    return wrong_name("it is a directory, and has no subtree", n);
  buffer_clear(&t->last);
  buffer_put(&t->last, n->name, n->name_size);
  if (t->json.size > 10) buffer_byte(&t->json, ',');
  repo_node_write(&t->json, n);
  return t->json.failed || t->last.failed ? error_no_memory() : NULL;
}

error *repo_tree_text_end(repo_tree_text *t, const char **json, size_t *size) {
  begin(t);
  buffer_text(&t->json, "]}\n");
  t->ended = true;
  *json = t->json.data;
  *size = t->json.size;
  return t->json.failed ? error_no_memory() : NULL;
}
