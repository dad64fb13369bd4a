/*
** tree_read: a directory's JSON, one node after the other, so that one of a
** million names needs no more memory than its text and a node. Strings of a
** node are put into one buffer, which moves as it grows: until the node is
** whole they are only known by where they begin in it.
*/
#include <string.h>

#include "repository/go.h"
#include "repository/scan.h"
#include "repository/tree.h"

/* Where a string begins and how long it is; it has a NUL behind it. */
typedef struct piece {
  size_t at, size;
  bool is_there;
} piece;

typedef struct attribute_pieces {
  piece name, data;
} attribute_pieces;

/* An array that grows and is used again. */
typedef struct room {
  void *data;
  size_t count, capacity;
} room;

typedef enum position {
  AT_BEGIN, /* next: the object and its "nodes" */
  AT_FIRST, /* in the list; next: a node, or its end */
  AT_NEXT,  /* behind a node; next: a comma and a node, or the end */
  AT_END    /* there is nothing more, or it is damaged */
} position;

struct repo_tree_reader {
  repo_scan scan;
  position position;
  buffer key, raw, text, last;
  piece name, user, group, target, raw_target, error_text;
  room pieces, attributes, content;
  uint64_t seen;     /* fields of this node: a bit each */
  unsigned expected; /* the field that is likely next */
  const char *raw_begin;
};

repo_tree_reader *repo_tree_reader_new(const char *json, size_t size) {
  repo_tree_reader *r = mem_zero(sizeof *r);
  if (r != NULL) r->scan = repo_scan_of(json, size);
  return r;
}

void repo_tree_reader_free(repo_tree_reader *r) {
  if (r == NULL) return;
  buffer_free(&r->key);
  buffer_free(&r->raw);
  buffer_free(&r->text);
  buffer_free(&r->last);
  mem_free(r->pieces.data);
  mem_free(r->attributes.data);
  mem_free(r->content.data);
  mem_free(r);
}

/* One more item of `size` bytes; NULL when memory ran out. */
static void *room_add(room *m, size_t size) {
  if (m->count == m->capacity) {
    size_t capacity = m->capacity > 0 ? m->capacity * 2 : 16;
    void *data = mem_grow(m->data, capacity * size);
    if (data == NULL) return NULL;
    m->data = data;
    m->capacity = capacity;
  }
  return (char *)m->data + m->count++ * size;
}


/* ------------------------------------------------------------------
** Values
** ---------------------------------------------------------------- */

/* What was put into `text` since `at`. */
static piece end_piece(repo_tree_reader *r, size_t at) {
  piece p = {at, r->text.size - at, true};
  buffer_byte(&r->text, '\0');
  if (r->text.failed) r->scan.no_memory = true;
  return p;
}

/* A string that C shall see: a NUL in it would hide the rest. */
static piece read_text(repo_tree_reader *r) {
  size_t at = r->text.size;
  repo_scan_string(&r->scan, &r->text);
  size_t size = r->text.size - at;
  if (size > 0 && memchr(r->text.data + at, '\0', size) != NULL)
    repo_scan_is_wrong(&r->scan, "no NUL in a string");
  return end_piece(r, at);
}

static const char *read_raw(repo_tree_reader *r, size_t *size) {
  buffer_clear(&r->raw);
  repo_scan_string(&r->scan, &r->raw);
  *size = r->raw.size;
  return r->raw.data != NULL ? r->raw.data : "";
}

static piece read_base64(repo_tree_reader *r) {
  size_t at = r->text.size, size;
  if (!repo_scan_null(&r->scan)) {
    const char *text = read_raw(r, &size);
    if (repo_scan_is_well(&r->scan) && !text_unbase64(&r->text, text, size)) {
      if (r->text.failed)
        r->scan.no_memory = true;
      else
        repo_scan_is_wrong(&r->scan, "base64");
    }
  }
  return end_piece(r, at);
}

static void read_id(repo_tree_reader *r, repo_id *id) {
  size_t size;
  const char *text = read_raw(r, &size);
  if (repo_scan_is_well(&r->scan) && !repo_id_parse(id, text, size))
    repo_scan_is_wrong(&r->scan, "an id");
}

static void read_time(repo_tree_reader *r, struct timespec *t, int32_t *zone) {
  size_t size;
  const char *text = read_raw(r, &size);
  if (repo_scan_is_well(&r->scan) && !repo_go_time_read(text, size, t, zone))
    repo_scan_is_wrong(&r->scan, "a time");
}

static void read_name(repo_tree_reader *r) {
  size_t size, at = r->text.size;
  const char *text = read_raw(r, &size);
  if (!repo_scan_is_well(&r->scan)) return;
  if (!repo_go_unquote(&r->text, text, size)) {
    repo_scan_is_wrong(&r->scan, "a quoted name");
    return;
  }
  r->name = end_piece(r, at);
}

static void read_type(repo_tree_reader *r, repo_node *n) {
  size_t size;
  const char *text = read_raw(r, &size);
  if (size == 0 || memchr(text, '\0', size) != NULL)
    repo_scan_is_wrong(&r->scan, "the type of a node");
  else
    n->type = repo_node_type_of(text);
}

static void read_mode(repo_tree_reader *r, repo_node *n) {
  bool known;
  uint32_t mode = (uint32_t)repo_scan_number(&r->scan, UINT32_MAX);
  n->mode = repo_go_mode_read(mode, &known) & 07777;
}


/* ------------------------------------------------------------------
** Lists
** ---------------------------------------------------------------- */

static void read_content(repo_tree_reader *r, repo_node *n) {
  if (repo_scan_null(&r->scan)) return;
  n->has_content = true;
  repo_scan_expect(&r->scan, '[');
  if (repo_scan_take(&r->scan, ']')) return;
  do {
    repo_id *id = room_add(&r->content, sizeof *id);
    if (id == NULL)
      r->scan.no_memory = true;
    else
      read_id(r, id);
  } while (repo_scan_take(&r->scan, ','));
  repo_scan_expect(&r->scan, ']');
}

static bool key_is(const repo_tree_reader *r, const char *name) {
  return r->key.size == strlen(name) &&
         memcmp(r->key.data, name, r->key.size) == 0;
}

static void read_key(repo_tree_reader *r) {
  buffer_clear(&r->key);
  repo_scan_string(&r->scan, &r->key);
  repo_scan_expect(&r->scan, ':');
}

static void read_attribute(repo_tree_reader *r, attribute_pieces *a) {
  *a = (attribute_pieces){{0, 0, false}, {0, 0, false}};
  repo_scan_expect(&r->scan, '{');
  if (repo_scan_take(&r->scan, '}')) {
    repo_scan_is_wrong(&r->scan, "an attribute's name");
    return;
  }
  do {
    read_key(r);
    if (!repo_scan_is_well(&r->scan)) return;
    bool name = key_is(r, "name"), data = key_is(r, "value");
    if ((name && a->name.is_there) || (data && a->data.is_there))
      repo_scan_is_wrong(&r->scan, "each field once");
    else if (name)
      a->name = read_text(r);
    else if (data)
      a->data = read_base64(r);
    else
      repo_scan_skip(&r->scan);
  } while (repo_scan_take(&r->scan, ','));
  repo_scan_expect(&r->scan, '}');
  if (!a->name.is_there || a->name.size == 0)
    repo_scan_is_wrong(&r->scan, "an attribute's name");
}

static void read_attributes(repo_tree_reader *r) {
  if (repo_scan_null(&r->scan)) return;
  repo_scan_expect(&r->scan, '[');
  if (repo_scan_take(&r->scan, ']')) return;
  do {
    attribute_pieces a;
    read_attribute(r, &a);
    attribute_pieces *kept = room_add(&r->pieces, sizeof a);
    if (kept == NULL)
      r->scan.no_memory = true;
    else
      *kept = a;
  } while (repo_scan_take(&r->scan, ','));
  repo_scan_expect(&r->scan, ']');
}

static void read_generic(repo_tree_reader *r, repo_node *n) {
  if (repo_scan_null(&r->scan)) return;
  const char *from = repo_scan_skip(&r->scan);
  if (!repo_scan_is_well(&r->scan)) return;
  if (*from != '{') repo_scan_is_wrong(&r->scan, "an object");
  n->generic_json = from;
  n->generic_size = (size_t)(r->scan.at - from);
}


/* ------------------------------------------------------------------
** A node
** ---------------------------------------------------------------- */

typedef enum field {
  NAME,
  TYPE,
  MODE,
  MTIME,
  ATIME,
  CTIME,
  UID,
  GID,
  USER,
  GROUP,
  INODE,
  DEVICE_ID,
  SIZE,
  LINKS,
  TARGET,
  RAW_TARGET,
  ATTRIBUTES,
  GENERIC,
  DEVICE,
  CONTENT,
  SUBTREE,
  ERROR_TEXT,
  FIELDS
} field;

static const char *const field_names[FIELDS] = {
    [NAME] = "name",
    [TYPE] = "type",
    [MODE] = "mode",
    [MTIME] = "mtime",
    [ATIME] = "atime",
    [CTIME] = "ctime",
    [UID] = "uid",
    [GID] = "gid",
    [USER] = "user",
    [GROUP] = "group",
    [INODE] = "inode",
    [DEVICE_ID] = "device_id",
    [SIZE] = "size",
    [LINKS] = "links",
    [TARGET] = "linktarget",
    [RAW_TARGET] = "linktarget_raw",
    [ATTRIBUTES] = "extended_attributes",
    [GENERIC] = "generic_attributes",
    [DEVICE] = "device",
    [CONTENT] = "content",
    [SUBTREE] = "subtree",
    [ERROR_TEXT] = "error",
};

/* Looked for from behind the last one: restic's order finds it at once. */
static field find_field(repo_tree_reader *r) {
  for (unsigned i = 0; i < FIELDS; i++) {
    unsigned f = (r->expected + i) % FIELDS;
    if (!key_is(r, field_names[f])) continue;
    r->expected = f + 1;
    return (field)f;
  }
  return FIELDS;
}

static void read_value(repo_tree_reader *r, repo_node *n, field f) {
  repo_scan *s = &r->scan;
  switch (f) {
    case NAME: read_name(r); break;
    case TYPE: read_type(r, n); break;
    case MODE: read_mode(r, n); break;
    case MTIME: read_time(r, &n->mtime, &n->mtime_zone); break;
    case ATIME: read_time(r, &n->atime, &n->atime_zone); break;
    case CTIME: read_time(r, &n->ctime, &n->ctime_zone); break;
    case UID: n->uid = (uint32_t)repo_scan_number(s, UINT32_MAX); break;
    case GID: n->gid = (uint32_t)repo_scan_number(s, UINT32_MAX); break;
    case USER: r->user = read_text(r); break;
    case GROUP: r->group = read_text(r); break;
    case INODE: n->inode = repo_scan_number(s, UINT64_MAX); break;
    case DEVICE_ID: n->device_id = repo_scan_number(s, UINT64_MAX); break;
    case SIZE: n->size = repo_scan_number(s, UINT64_MAX); break;
    case LINKS: n->links = repo_scan_number(s, UINT64_MAX); break;
    case TARGET: r->target = read_text(r); break;
    case RAW_TARGET: r->raw_target = read_base64(r); break;
    case ATTRIBUTES: read_attributes(r); break;
    case GENERIC: read_generic(r, n); break;
    case DEVICE: n->device = repo_scan_number(s, UINT64_MAX); break;
    case CONTENT: read_content(r, n); break;
    case SUBTREE:
      if (repo_scan_null(s)) break;
      n->has_subtree = true;
      read_id(r, &n->subtree);
      break;
    case ERROR_TEXT: r->error_text = read_text(r); break;
    case FIELDS: repo_scan_skip(s); break;
  }
}

static void read_field(repo_tree_reader *r, repo_node *n) {
  read_key(r);
  if (!repo_scan_is_well(&r->scan)) return;
  field f = find_field(r);
  if (f != FIELDS && (r->seen >> f & 1)) {
    repo_scan_is_wrong(&r->scan, "each field once");
    return;
  }
  r->seen |= f != FIELDS ? (uint64_t)1 << f : 0;
  read_value(r, n, f);
}

/* What Go has for a time that is not there. */
static const struct timespec no_time = {-62135596800, 0};

static void begin_node(repo_tree_reader *r, repo_node *n) {
  *n = (repo_node){.mtime = no_time, .atime = no_time, .ctime = no_time};
  const piece none = {0, 0, false};
  r->name = r->user = r->group = none;
  r->target = r->raw_target = r->error_text = none;
  r->pieces.count = r->attributes.count = r->content.count = 0;
  r->seen = 0;
  r->expected = 0;
  buffer_clear(&r->text);
}

/* An empty string is none, as where restic leaves it out. */
static const char *text_of(const repo_tree_reader *r, piece p) {
  return p.is_there && p.size > 0 ? r->text.data + p.at : NULL;
}

static bool end_attributes(repo_tree_reader *r, repo_node *n) {
  const attribute_pieces *pieces = r->pieces.data;
  for (size_t i = 0; i < r->pieces.count; i++) {
    repo_attribute *a = room_add(&r->attributes, sizeof *a);
    if (a == NULL) return false;
    a->name = r->text.data + pieces[i].name.at;
    a->data = r->text.data + pieces[i].data.at;
    a->size = pieces[i].data.size;
  }
  n->attributes = r->attributes.data;
  n->attribute_count = r->attributes.count;
  return true;
}

/* Nothing moves any more: pieces become pointers. */
static void end_node(repo_tree_reader *r, repo_node *n) {
  piece target = r->raw_target.size > 0 ? r->raw_target : r->target;
  n->name = r->text.data + r->name.at;
  n->name_size = r->name.size;
  n->user = text_of(r, r->user);
  n->group = text_of(r, r->group);
  n->error_text = text_of(r, r->error_text);
  n->target = text_of(r, target);
  n->target_size = target.size;
  n->content = r->content.data;
  n->content_count = r->content.count;
  if (n->target != NULL && memchr(n->target, '\0', n->target_size) != NULL)
    repo_scan_is_wrong(&r->scan, "no NUL in a target");
  if (!end_attributes(r, n)) r->scan.no_memory = true;
}

/* A name that is none leads out of the directory; one that is out of order
   may be there twice. */
static void check_name(repo_tree_reader *r, const repo_node *n) {
  if (!repo_node_name_is_good(n->name, n->name_size))
    repo_scan_is_wrong(&r->scan, "the name of a file in a directory");
  else if (repo_node_name_compare(n->name, n->name_size, r->last.data,
                                  r->last.size) <= 0)
    repo_scan_is_wrong(&r->scan, "names in their order");
  buffer_clear(&r->last);
  buffer_put(&r->last, n->name, n->name_size);
  if (r->last.failed) r->scan.no_memory = true;
}

static void read_node(repo_tree_reader *r, repo_node *n) {
  begin_node(r, n);
  repo_scan_expect(&r->scan, '{');
  if (!repo_scan_take(&r->scan, '}')) {
    do {
      read_field(r, n);
    } while (repo_scan_take(&r->scan, ','));
    repo_scan_expect(&r->scan, '}');
  }
  if (!repo_scan_is_well(&r->scan)) return;
  if (!r->name.is_there || !(r->seen >> TYPE & 1)) {
    repo_scan_is_wrong(&r->scan, "a node with a name and a type");
    return;
  }
  end_node(r, n);
  check_name(r, n);
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

/* Up to the list. What comes before it is passed over. */
static void read_begin(repo_tree_reader *r) {
  repo_scan_expect(&r->scan, '{');
  do {
    read_key(r);
    if (!repo_scan_is_well(&r->scan) || key_is(r, "nodes")) break;
    repo_scan_skip(&r->scan);
  } while (repo_scan_take(&r->scan, ','));
  if (!repo_scan_is_well(&r->scan)) return;
  if (!key_is(r, "nodes"))
    repo_scan_is_wrong(&r->scan, "\"nodes\"");
  else
    repo_scan_expect(&r->scan, '[');
}

static void read_end(repo_tree_reader *r) {
  repo_scan_expect(&r->scan, ']');
  while (repo_scan_take(&r->scan, ',')) {
    read_key(r);
    if (repo_scan_is_well(&r->scan) && key_is(r, "nodes"))
      repo_scan_is_wrong(&r->scan, "each field once");
    repo_scan_skip(&r->scan);
  }
  repo_scan_expect(&r->scan, '}');
  repo_scan_finish(&r->scan);
}

/* Whether there is another node. */
static bool advance(repo_tree_reader *r) {
  if (r->position == AT_BEGIN) {
    read_begin(r);
    r->position = AT_FIRST;
  }
  if (!repo_scan_is_well(&r->scan)) return false;
  if (r->position == AT_NEXT) {
    if (repo_scan_take(&r->scan, ',')) return true;
  } else {
    if (!repo_scan_take(&r->scan, ']')) {
      r->position = AT_NEXT;
      return true;
    }
    r->scan.at--; /* for read_end */
  }
  read_end(r);
  r->position = AT_END;
  return false;
}

bool repo_tree_reader_next(repo_tree_reader *r, repo_node *n, error **e) {
  *e = NULL;
  bool more = r->position != AT_END && advance(r);
  r->raw_begin = r->scan.at;
  if (more) read_node(r, n);
  if (repo_scan_is_well(&r->scan)) return more;
  r->position = AT_END;
  *e = repo_scan_error(&r->scan, "a tree");
  return false;
}

void repo_tree_reader_raw(const repo_tree_reader *r, const char **json,
                          size_t *size) {
  *json = r->raw_begin;
  *size = (size_t)(r->scan.at - r->raw_begin);
}

size_t repo_tree_reader_at(const repo_tree_reader *r) {
  return (size_t)(r->raw_begin - r->scan.begin);
}

void repo_tree_reader_go(repo_tree_reader *r, size_t at) {
  r->scan = repo_scan_of(r->scan.begin, (size_t)(r->scan.end - r->scan.begin));
  r->scan.at += at;
  r->position = AT_FIRST;
  buffer_clear(&r->last);
}
