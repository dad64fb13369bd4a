/*
** Results that other modules and hosts build: the values of the ground floor,
** as saros.h has them.
*/
#include "base/value.h"
#include "op/op.h"

#define OURS(v) ((value *)(void *)(v))
#define THEIRS(v) ((saros_value *)(void *)(v))

saros_value *saros_value_integer(int64_t n) {
  return THEIRS(value_int(n));
}

saros_value *saros_value_real(double n) {
  return THEIRS(value_real(n));
}

saros_value *saros_value_boolean(int b) {
  return THEIRS(value_bool(b != 0));
}

saros_value *saros_value_bytes(const void *bytes, size_t size) {
  return THEIRS(value_string(bytes, size));
}

saros_value *saros_value_list(void) {
  return THEIRS(value_list());
}

saros_value *saros_value_map(void) {
  return THEIRS(value_map());
}

saros_value *saros_value_map_of(uint32_t fields) {
  return THEIRS(value_map_of(fields));
}

int saros_value_add(saros_value *list, saros_value *item) {
  return value_add(OURS(list), OURS(item));
}

int saros_value_put(saros_value *map, const char *name, saros_value *item) {
  return value_put(OURS(map), name, OURS(item));
}

int saros_value_put_integer(saros_value *map, const char *name, int64_t n) {
  return value_put_int(OURS(map), name, n);
}

int saros_value_put_bytes(saros_value *map, const char *name, const void *bytes,
                          size_t size) {
  return value_put_string(OURS(map), name, bytes, size);
}

saros_value *saros_value_put_map(saros_value *map, const char *name,
                                 uint32_t fields) {
  return THEIRS(value_put_map(OURS(map), name, fields));
}

saros_value *saros_value_put_list(saros_value *map, const char *name,
                                  uint32_t items) {
  return THEIRS(value_put_list(OURS(map), name, items));
}

int saros_value_add_bytes(saros_value *list, const void *bytes, size_t size) {
  return value_add_string(OURS(list), bytes, size);
}

saros_value *saros_value_add_map(saros_value *list, uint32_t fields) {
  return THEIRS(value_add_map(OURS(list), fields));
}

void saros_value_free(saros_value *v) {
  value_free(OURS(v));
}

void saros_op_detail(saros_op *op, const char *name, saros_value *v) {
  if (v != NULL) op_set_detail(op, name, OURS(v));
}

void saros_op_output(saros_op *op, saros_value *v) {
  op_set_output(op, OURS(v));
}
