/*
** What may be said of a file besides where it is and where it goes: the ranges
** that are wanted of it, and the digest that it shall have.
*/
#include <stdlib.h>
#include <string.h>

#include "bits/job_parts.h"

bool bits_read_number(const value *v, uint64_t *n) {
  if (v == NULL) return false;
  if (v->type == VALUE_REAL && v->as.real >= 0 && v->as.real < 9e15 &&
      v->as.real == (double)(int64_t)v->as.real) {
    *n = (uint64_t)v->as.real;
    return true;
  }
  if (v->type != VALUE_INT || v->as.integer < 0) return false;
  *n = (uint64_t)v->as.integer;
  return true;
}

static bool has_more(const value *v) {
  for (uint32_t i = 0; i < v->count; i++)
    if (strcmp(v->as.fields[i].name, "offset") != 0 &&
        strcmp(v->as.fields[i].name, "length") != 0)
      return true;
  return false;
}

/* A "lenght" that nobody minds would be a range to the end. */
static error *read_range(const value *v, bits_range *r) {
  const value *length = value_get(v, "length");
  r->length = BITS_UNKNOWN;
  if (v->type != VALUE_MAP || has_more(v) ||
      !bits_read_number(value_get(v, "offset"), &r->offset) ||
      (length != NULL && !bits_read_number(length, &r->length)))
    return bits_fail(SAROS_E_INVALIDARG,
                     "a range has an offset and a length, whole numbers of "
                     "bytes, and nothing else; without a length it goes to the "
                     "end");
  if (r->length == 0)
    return bits_fail(BG_E_INVALID_RANGE, "a range of no bytes is none");
  if (r->length != BITS_UNKNOWN && r->length > INT64_MAX - r->offset)
    return bits_fail(BG_E_INVALID_RANGE, "no file is as long as that range");
  return NULL;
}

static int compare_ranges(const void *a, const void *b) {
  const bits_range *x = a, *y = b;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static error *check_apart(bits_range *ranges, uint32_t count) {
  qsort(ranges, count, sizeof *ranges, compare_ranges);
  for (uint32_t i = 1; i < count; i++) {
    const bits_range *r = &ranges[i - 1];
    if (r->length == BITS_UNKNOWN || r->offset + r->length > ranges[i].offset)
      return bits_fail(
          BG_E_OVERLAPPING_RANGES, "the ranges from %llu and from %llu overlap",
          (unsigned long long)r->offset, (unsigned long long)ranges[i].offset);
  }
  return NULL;
}

static error *read_ranges(const value *v, bits_extra *x) {
  if (v->type != VALUE_LIST || v->count == 0)
    return bits_fail(SAROS_E_INVALIDARG, "ranges is a list of ranges");
  if (v->count > BITS_RANGES_MOST)
    return bits_fail(BG_E_TOO_MANY_RANGES_IN_FILE,
                     "a file may have %d ranges, not %u", BITS_RANGES_MOST,
                     v->count);
  x->ranges = mem_zero(v->count * sizeof *x->ranges);
  if (x->ranges == NULL) return error_no_memory();
  x->range_count = v->count;
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && i < v->count; i++)
    e = read_range(v->as.items[i], &x->ranges[i]);
  return e != NULL ? e : check_apart(x->ranges, x->range_count);
}

static error *read_sha256(const value *v, bits_extra *x) {
  const char *text = value_chars(v, "");
  size_t size = strlen(text);
  if (size != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
    return bits_fail(SAROS_E_INVALIDARG,
                     "sha256 is a digest of 64 hexadecimal digits");
  x->sha256 = mem_bytes(text, size);
  if (x->sha256 == NULL) return error_no_memory();
  for (char *c = x->sha256; *c != '\0'; c++)
    if (*c >= 'A' && *c <= 'F') *c = (char)(*c - 'A' + 'a');
  return NULL;
}

error *bits_extra_read(const value *options, bits_file *f) {
  const value *sha256 = value_get(options, "sha256");
  const value *ranges = value_get(options, "ranges");
  if (sha256 == NULL && ranges == NULL) return NULL;
  f->extra = mem_zero(sizeof *f->extra);
  if (f->extra == NULL) return error_no_memory();
  error *e = sha256 != NULL ? read_sha256(sha256, f->extra) : NULL;
  if (e == NULL && ranges != NULL) e = read_ranges(ranges, f->extra);
  return e;
}
