/*
** compress: zstd. Frames carry no checksum, since what is around them has one.
*/
#include "repository/compress.h"

#include <zstd.h>
#include <zstd_errors.h>

struct repo_zip {
  ZSTD_CCtx *pack;
  ZSTD_DCtx *unpack;
  unsigned poor; /* small blobs in a row that gave little */
};


void repo_zip_free(repo_zip *z) {
  if (z == NULL) return;
  ZSTD_freeCCtx(z->pack);
  ZSTD_freeDCtx(z->unpack);
  mem_free(z);
}


repo_zip *repo_zip_new(void) {
  repo_zip *z = mem_zero(sizeof *z);
  if (z == NULL) return NULL;
  z->pack = ZSTD_createCCtx();
  z->unpack = ZSTD_createDCtx();
  if (z->pack != NULL && z->unpack != NULL) return z;
  repo_zip_free(z);
  return NULL;
}


/* ------------------------------------------------------------------
** Packing
** ---------------------------------------------------------------- */

/* What restic calls so. What is compressed although it is off (trees) is so as
   if nobody had said anything. */
static int zstd_level(repo_level level) {
  switch (level) {
    case REPO_LEVEL_FASTEST: return 1;
    case REPO_LEVEL_BETTER: return 7;
    case REPO_LEVEL_MAX: return 12;
    case REPO_LEVEL_OFF:
    case REPO_LEVEL_AUTO: return 3;
  }
  return 3;
}


/* How zstd looks for what was there before. Zeros: as the level has it. */
typedef struct search {
  int strategy, least, short_log, long_log;
} search;

/* What is compressed most of the time is not quite zstd's level 3 when it is
   large: with a smaller table for short matches, of which less falls out of the
   processor's cache, it is a sixth quicker and loses less than two percent.
   What restic's level of this name makes is larger still. */
#define LARGE ((size_t)256 << 10)

static search search_for(int level, size_t size) {
  return level == 3 && size > LARGE ? (search){0, 0, 14, 17} : (search){0};
}

/* One table, of matches of four bytes. What gives little anyway loses less than
   a hundredth of it, and it is a third quicker; what gives much would lose up
   to a tenth. */
static const search quick = {ZSTD_fast, 4, 0, 0};


static size_t set(repo_zip *z, int level, const search *s) {
  const struct {
    ZSTD_cParameter name;
    int value;
  } list[] = {{ZSTD_c_compressionLevel, level},
              {ZSTD_c_strategy, s->strategy},
              {ZSTD_c_minMatch, s->least},
              {ZSTD_c_chainLog, s->short_log},
              {ZSTD_c_hashLog, s->long_log}};
  size_t result = 0;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    result = ZSTD_CCtx_setParameter(z->pack, list[i].name, list[i].value);
    if (ZSTD_isError(result)) break;
  }
  return result;
}


size_t repo_zip_bound(size_t size) {
  return ZSTD_compressBound(size);
}


static error *pack_failed(size_t result) {
  if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
    return error_no_memory();
  return repo_error(SAROS_E_UNEXPECTED, "zstd could not compress: %s",
                    ZSTD_getErrorName(result));
}


static error *pack_with(repo_zip *z, int level, search with, const void *data,
                        size_t data_size, void *out, size_t *size) {
  size_t result = set(z, level, &with);
  if (!ZSTD_isError(result))
    result = ZSTD_compress2(z->pack, out, *size, data, data_size);
  if (ZSTD_isError(result)) return pack_failed(result);
  *size = result;
  return NULL;
}


error *repo_zip_pack(repo_zip *z, repo_level level, const void *data,
                     size_t data_size, void *out, size_t *size) {
  int number = zstd_level(level);
  return pack_with(z, number, search_for(number, data_size), data, data_size,
                   out, size);
}


/* Files that lie together are of a kind. Who is wrong about one in so many has
   lost little. */
#define ENOUGH 8

/* More than this is left of it. */
static bool is_poor(size_t size, size_t packed) {
  return packed > size / 20 * 9;
}


error *repo_zip_pack_data(repo_zip *z, repo_level level, const void *data,
                          size_t data_size, void *out, size_t *size) {
  int number = zstd_level(level);
  size_t room = *size;
  if (number != 3 || data_size > LARGE)
    return repo_zip_pack(z, level, data, data_size, out, size);
  if (z->poor >= ENOUGH) {
    error *e = pack_with(z, number, quick, data, data_size, out, size);
    if (e != NULL || is_poor(data_size, *size)) return e;
    *size = room; /* it is worth more */
  }
  error *e = repo_zip_pack(z, level, data, data_size, out, size);
  if (e == NULL) z->poor = is_poor(data_size, *size) ? z->poor + 1 : 0;
  return e;
}


/* ------------------------------------------------------------------
** Unpacking
** ---------------------------------------------------------------- */

static error *unpack_failed(size_t result) {
  if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
    return error_no_memory();
  return repo_error(SAROS_E_DAMAGED, "the compressed data is damaged: %s",
                    ZSTD_getErrorName(result));
}


error *repo_zip_unpack(repo_zip *z, const void *data, size_t data_size,
                       void *out, size_t size) {
  size_t result = ZSTD_decompressDCtx(z->unpack, out, size, data, data_size);
  if (ZSTD_isError(result)) return unpack_failed(result);
  if (result == size) return NULL;
  return repo_error(SAROS_E_DAMAGED,
                    "the compressed data is damaged: it is %zu bytes, not %zu",
                    result, size);
}


#define SMALL ((size_t)64 << 10)

/* How large a window a frame may ask for, as a power of two: what our own and
   others' need, and no more than what may come out. */
static int window_most(size_t most) {
  int log = 23;
  while (log < 27 && ((size_t)1 << log) < most) log++;
  return log;
}


static error *too_much(size_t most) {
  return repo_error(SAROS_E_DAMAGED,
                    "the compressed data is damaged: more than %zu bytes would "
                    "come out",
                    most);
}


/* Appends what comes out, in steps: a frame need not say how much that is, and
   need not be believed. */
static error *unpack_steps(repo_zip *z, ZSTD_inBuffer *in, size_t most,
                           buffer *b) {
  size_t before = b->size, step = (size_t)64 << 10, result;
  do {
    size_t done = b->size - before;
    if (step > most - done + 1) step = most - done + 1;
    ZSTD_outBuffer out = {buffer_room(b, step), step, 0};
    if (out.dst == NULL) return error_no_memory();
    result = ZSTD_decompressStream(z->unpack, &out, in);
    if (ZSTD_isError(result)) return unpack_failed(result);
    b->size += out.pos;
    if (b->size - before > most) return too_much(most);
    if (result != 0 && in->pos == in->size && out.pos < step)
      return repo_error(SAROS_E_DAMAGED,
                        "the compressed data is damaged: its end is missing");
    if (step < (size_t)8 << 20) step *= 2;
  } while (result != 0 || in->pos < in->size);
  return NULL;
}


/* One frame that says how much comes out, and that is little: at once. False:
   it is not like that, or not as it says. */
static bool unpack_small(repo_zip *z, const void *data, size_t data_size,
                         size_t most, buffer *b) {
  unsigned long long size = ZSTD_getFrameContentSize(data, data_size);
  if (size > SMALL || size > most) return false; /* and what is not known */
  char *room = buffer_room(b, (size_t)size);
  if (room == NULL || ZSTD_decompressDCtx(z->unpack, room, (size_t)size, data,
                                          data_size) != size)
    return false;
  b->size += (size_t)size;
  b->data[b->size] = '\0';
  return true;
}


error *repo_zip_unpack_all(repo_zip *z, const void *data, size_t data_size,
                           size_t most, buffer *b) {
  if (unpack_small(z, data, data_size, most, b)) return NULL;
  if (b->failed) return error_no_memory();
  size_t before = b->size;
  ZSTD_inBuffer in = {data, data_size, 0};
  if (most > SIZE_MAX / 4) most = SIZE_MAX / 4;
  ZSTD_DCtx_reset(z->unpack, ZSTD_reset_session_only);
  size_t result =
      ZSTD_DCtx_setParameter(z->unpack, ZSTD_d_windowLogMax, window_most(most));
  error *e = ZSTD_isError(result) ? unpack_failed(result)
                                  : unpack_steps(z, &in, most, b);
  ZSTD_DCtx_reset(z->unpack, ZSTD_reset_session_only);
  if (e == NULL) {
    if (buffer_room(b, 0) == NULL) e = error_no_memory(); /* ends in a NUL */
  }
  if (e != NULL && b->data != NULL) {
    b->size = before;
    b->data[before] = '\0';
  }
  return e;
}
