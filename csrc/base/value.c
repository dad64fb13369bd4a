/*
** value: making, freeing, copying and comparing. Nothing here recurses: a
** value may be as deep as its maker likes, and the thread that meets it may
** have a small stack. Maps are in value_map.c.
*/
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "base/value_parts.h"

enum { FIRST_ITEMS = 4 };


static value *make(value_type type) {
  value *v = mem_zero(sizeof *v);
  if (v != NULL) v->type = type;
  return v;
}


value *value_null(void) {
  return make(VALUE_NULL);
}


value *value_bool(bool b) {
  value *v = make(VALUE_BOOL);
  if (v != NULL) v->as.boolean = b;
  return v;
}


value *value_int(int64_t n) {
  value *v = make(VALUE_INT);
  if (v != NULL) v->as.integer = n;
  return v;
}


value *value_real(double n) {
  value *v = make(VALUE_REAL);
  if (v != NULL) v->as.real = n;
  return v;
}


/* Its bytes lie behind it: most are small, and there are many. */
value *value_string(const char *data, size_t size) {
  if (size >= SIZE_MAX - sizeof(value)) return NULL;
  value *v = mem_alloc(sizeof *v + size + 1);
  if (v == NULL) return NULL;
  *v = (value){.type = VALUE_STRING};
  v->as.string.data = (char *)(v + 1);
  v->as.string.size = size;
  if (size > 0) memcpy(v->as.string.data, data, size);
  v->as.string.data[size] = '\0';
  return v;
}


value *value_of_bytes(char *data, size_t size) {
  value *v = data != NULL ? make(VALUE_STRING) : NULL;
  if (v == NULL) {
    mem_free(data);
    return NULL;
  }
  v->as.string.data = data;
  v->as.string.size = size;
  return v;
}


value *value_text(const char *text) {
  return text != NULL ? value_string(text, strlen(text)) : value_null();
}


value *value_list(void) {
  return make(VALUE_LIST);
}


value *value_map(void) {
  return make(VALUE_MAP);
}


static bool grow_list(value *list) {
  uint32_t capacity = list->capacity > 0 ? list->capacity : FIRST_ITEMS / 2;
  if (capacity > UINT32_MAX / 16) return false;
  value **items =
      value_room(list, list->as.items, list->count * sizeof(value *),
                 2 * (size_t)capacity * sizeof(value *));
  if (items == NULL) return false;
  list->as.items = items;
  list->capacity = 2 * capacity;
  return true;
}


bool value_add(value *list, value *item) {
  bool fits = list != NULL && list->type == VALUE_LIST && item != NULL;
  if (!fits || (list->count == list->capacity && !grow_list(list))) {
    value_free(item);
    return false;
  }
  list->as.items[list->count++] = item;
  value_has(list, item);
  return true;
}


int64_t value_integer(const value *v, int64_t fallback) {
  return v != NULL && v->type == VALUE_INT ? v->as.integer : fallback;
}


bool value_boolean(const value *v, bool fallback) {
  return v != NULL && v->type == VALUE_BOOL ? v->as.boolean : fallback;
}


const char *value_chars(const value *v, const char *fallback) {
  return v != NULL && v->type == VALUE_STRING ? v->as.string.data : fallback;
}


static bool has_items(const value *v) {
  return v->type == VALUE_LIST || v->type == VALUE_MAP;
}


/* Where the container keeps its item. */
static value **slot(const value *v, uint32_t index) {
  if (v->type == VALUE_LIST) return &v->as.items[index];
  return &v->as.fields[index].item;
}


static void free_string(value *v, bool wipe) {
  char *data = v->as.string.data;
  if (wipe) explicit_bzero(data, v->as.string.size);
  if (data != (char *)(v + 1)) mem_free(data);
}


static void free_one(value *v, bool wipe) {
  if (v->type == VALUE_STRING) free_string(v, wipe);
  if (has_items(v)) value_free_room(v);
  if (!v->inner) mem_free(v);
}


/* Goes down into the last item of each container, and while it is down there
   keeps the way back in the slot that the item came from: freeing needs
   neither stack nor memory. */
static void let_go(value *v, bool wipe) {
  value *parent = NULL;
  while (v != NULL) {
    if (has_items(v) && v->count > 0 && (wipe || !value_is_whole(v))) {
      value **last = slot(v, v->count - 1);
      value *item = *last;
      *last = parent;
      parent = v;
      v = item;
      continue;
    }
    free_one(v, wipe);
    v = parent;
    if (v == NULL) return;
    v->count--;
    parent = *slot(v, v->count);
  }
}


void value_free(value *v) {
  let_go(v, false);
}


void value_wipe(value *v) {
  let_go(v, true);
}


/* Where a walk through a tree stands: the container and its next item. */
typedef struct step {
  const value *from;
  union {
    value *to;         /* of a copy: what the items are put into */
    const value *with; /* of a comparison: the other one */
  } other;
  uint32_t next;
} step;


/* One value alone: a container comes without its items. */
static value *copy_one(const value *v) {
  switch (v->type) {
    case VALUE_NULL: return value_null();
    case VALUE_BOOL: return value_bool(v->as.boolean);
    case VALUE_INT: return value_int(v->as.integer);
    case VALUE_REAL: return value_real(v->as.real);
    case VALUE_STRING:
      return value_string(v->as.string.data, v->as.string.size);
    case VALUE_LIST:
    case VALUE_MAP: return make(v->type);
  }
  return NULL;
}


/* Puts a copy of the next item where it belongs. NULL when memory ran out. */
static value *copy_next(step *at) {
  value *to = at->other.to;
  if (to->type == VALUE_LIST) {
    value *copy = copy_one(at->from->as.items[at->next++]);
    return value_add(to, copy) ? copy : NULL;
  }
  const value_field *field = &at->from->as.fields[at->next++];
  value *copy = copy_one(field->item);
  return value_put_bytes(to, field->name, field->size, copy) ? copy : NULL;
}


value *value_copy(const value *v) {
  step steps[VALUE_DEPTH];
  size_t depth = 0;
  if (v == NULL) return NULL;
  value *root = copy_one(v);
  if (root == NULL) return NULL;
  if (has_items(v)) steps[depth++] = (step){v, {.to = root}, 0};
  while (depth > 0) {
    step *top = &steps[depth - 1];
    if (top->next == top->from->count) {
      depth--;
      continue;
    }
    const value *item = *slot(top->from, top->next);
    value *copy = copy_next(top);
    bool deeper = copy != NULL && has_items(item);
    if (copy == NULL || (deeper && depth == VALUE_DEPTH)) {
      value_free(root);
      return NULL;
    }
    if (deeper) steps[depth++] = (step){item, {.to = copy}, 0};
  }
  return root;
}


/* Whether two doubles are the same: 0 and -0 are two, all NaN are one. */
static bool same_real(double a, double b) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  return memcmp(&a, &b, sizeof a) == 0;
}


/* Of containers, only whether they have as many items. */
static bool equal_one(const value *a, const value *b) {
  if (a->type != b->type) return false;
  switch (a->type) {
    case VALUE_NULL: return true;
    case VALUE_BOOL: return a->as.boolean == b->as.boolean;
    case VALUE_INT: return a->as.integer == b->as.integer;
    case VALUE_REAL: return same_real(a->as.real, b->as.real);
    case VALUE_STRING:
      return a->as.string.size == b->as.string.size &&
             memcmp(a->as.string.data, b->as.string.data, a->as.string.size) ==
                 0;
    case VALUE_LIST:
    case VALUE_MAP: return a->count == b->count;
  }
  return false;
}


bool value_equal(const value *a, const value *b) {
  step steps[VALUE_DEPTH];
  size_t depth = 0;
  if (a == NULL || b == NULL) return a == b;
  if (!equal_one(a, b)) return false;
  if (has_items(a)) steps[depth++] = (step){a, {.with = b}, 0};
  while (depth > 0) {
    step *top = &steps[depth - 1];
    if (top->next == top->from->count) {
      depth--;
      continue;
    }
    const value *with = NULL;
    if (top->from->type == VALUE_LIST) {
      with = top->other.with->as.items[top->next];
    } else {
      /* As many names, each of them once: all that are here are all. */
      const value_field *field = &top->from->as.fields[top->next];
      with = value_get_bytes(top->other.with, field->name, field->size);
    }
    const value *item = *slot(top->from, top->next++);
    if (with == NULL || !equal_one(item, with)) return false;
    if (!has_items(item)) continue;
    if (depth == VALUE_DEPTH) return false;
    steps[depth++] = (step){item, {.with = with}, 0};
  }
  return true;
}
