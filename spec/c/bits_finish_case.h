/*
** A file whose bytes are all here, to be verified and given its name.
*/
#ifndef SAROS_SPEC_BITS_FINISH_CASE_H
#define SAROS_SPEC_BITS_FINISH_CASE_H

#include "bits_fetch_case.h"

static bed b;
static bits_result r;

/* A part that is whole; "abc" and its SHA-256. */
static inline bits_file *put(const char *name, uint32_t number,
                             const char *text) {
  const char *what;
  bits_part part;
  bits_file *f = file_make(&b.p, number, name);
  CHECK_INT(bits_part_create(&part, f, PART_MODE, &what), 0);
  CHECK_INT(bits_part_write(&part, 0, text, strlen(text)), 0);
  file_know(f, &part, strlen(text));
  atomic_store(&f->have, strlen(text));
  f->size = strlen(text);
  bits_part_close(&part);
  return f;
}

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define NOT "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae"

static inline void make(void) {
  bed_make(&b, "file", "");
  file_end(b.f);
  b.f = put("file", 0, "abc");
}

static inline void caller_says(const char *hex) {
  b.f->extra = mem_zero(sizeof *b.f->extra);
  b.f->extra->sha256 = mem_text(hex);
}

static inline bits_end verify(void) {
  bits_finish_verify(b.f, b.terms, &r);
  return r.end;
}

static inline bits_end name(void) {
  bits_finish_name(&b.f, b.terms, 1, &r);
  return r.end;
}

static inline void is_local(uint32_t win32) {
  CHECK_INT(r.end, BITS_END_FAILED);
  CHECK_INT(r.context, BITS_CONTEXT_LOCAL);
  CHECK_INT(r.win32, win32);
  CHECK_INT(r.code, WIN32_(win32));
  CHECK_INT(r.transport, 0);
}

#endif
