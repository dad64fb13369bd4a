/*
** Where the time of a backup goes: its stages one after the other on one
** thread, with the functions that the backup itself calls. Prints the CPU
** seconds of each for all bytes of the directory.
**   repo_stages DIR TO     TO: where the packs would be
*/
#include <string.h>

#include "repo_sample.h"
#include "repository/chunker.h"
#include "repository/compress.h"
#include "repository/crypto.h"
#include "repository/id.h"
#include "repository/sha.h"

#define POLYNOMIAL 0x3DA3358B4DC173

typedef struct chunk {
  const uint8_t *data;
  size_t size;
  uint8_t *stored;
  size_t stored_size;
  bool is_packed;
} chunk;

static const sample *s;
static chunk *chunks;
static size_t count, room;
static double last;

static void stage(const char *name) {
  double now = cpu();
  printf("%s %.4f\n", name, sample_scale(s, now - last));
  last = cpu();
}

static void must(error *e) {
  if (e == NULL) return;
  fprintf(stderr, "repo_stages: %s\n", e->message);
  exit(1);
}

static void add_chunk(const uint8_t *data, size_t size) {
  if (count == room) {
    room = room * 2 + 64;
    chunks = realloc(chunks, room * sizeof *chunks);
    if (chunks == NULL) die("memory");
  }
  chunks[count++] = (chunk){.data = data, .size = size};
}

static void read_all(void) {
  uint8_t *space = memory(SAMPLE_MOST);
  memset(space, 1, SAMPLE_MOST < s->size ? SAMPLE_MOST : s->size);
  last = cpu();
  for (size_t i = 0; i < s->count; i++) {
    const sample_file *f = &s->files[i];
    struct stat st;
    if (f->size == 0) continue;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) != 0) die(f->path);
    size_t most = f->size < SAMPLE_MOST ? f->size : SAMPLE_MOST;
    if (pread(fd, space, most, 0) != (ssize_t)most) die(f->path);
    close(fd);
  }
  stage("read");
  free(space);
}

static void cut_all(void) {
  repo_chunker *c = repo_chunker_new(POLYNOMIAL);
  if (c == NULL) die("memory");
  for (size_t i = 0; i < s->count; i++) {
    const uint8_t *data = s->data + s->files[i].at;
    for (size_t at = 0, n; at < s->files[i].size; at += n) {
      n = repo_chunker_cut(c, data + at, s->files[i].size - at, true);
      add_chunk(data + at, n);
    }
  }
  stage("cut");
  repo_chunker_free(c);
}

static void pack_all(void) {
  repo_zip *z = repo_zip_new();
  if (z == NULL) die("memory");
  for (size_t i = 0; i < count; i++) {
    chunk *c = &chunks[i];
    c->stored_size = repo_zip_bound(c->size);
    c->stored = memory(c->stored_size + REPO_SEAL);
    memset(c->stored, 1, c->stored_size + REPO_SEAL);
  }
  last = cpu();
  for (size_t i = 0; i < count; i++)
    chunks[i].is_packed = !repo_zip_is_hopeless(chunks[i].data, chunks[i].size);
  stage("probe");
  for (size_t i = 0; i < count; i++) {
    chunk *c = &chunks[i];
    if (!c->is_packed) continue;
    must(repo_zip_pack_data(z, REPO_LEVEL_AUTO, c->data, c->size,
                            c->stored + REPO_IV, &c->stored_size));
    c->is_packed = c->stored_size < c->size;
  }
  stage("compress");
  repo_zip_free(z);
}

static void seal_all(void) {
  repo_key key;
  error *e = NULL;
  must(repo_random(&key, sizeof key));
  repo_sealer *sealer = repo_sealer_new(&key, &e);
  must(e);
  for (size_t i = 0; i < count; i++) {
    chunk *c = &chunks[i];
    const void *from = c->is_packed ? c->stored + REPO_IV : c->data;
    if (!c->is_packed) c->stored_size = c->size;
    must(repo_seal(sealer, from, c->stored_size, c->stored));
  }
  stage("seal");
  repo_sealer_free(sealer);
}

/* The blob, and the one before it as a part of its pack. */
static void hash_all(void) {
  repo_sha pack;
  repo_id id;
  repo_sha_begin(&pack);
  for (size_t i = 0; i < count; i++) {
    const chunk *c = &chunks[i], *before = &chunks[i > 0 ? i - 1 : 0];
    repo_sha blob;
    repo_sha_begin(&blob);
    repo_sha_add_two(&blob, c->data, c->size, &pack, before->stored,
                     before->stored_size + REPO_SEAL);
    repo_sha_end(&blob, &id);
  }
  stage("hash");
}

static void write_all(const char *to) {
  int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) die(to);
  unlink(to);
  for (size_t i = 0; i < count; i++) {
    size_t size = chunks[i].stored_size + REPO_SEAL;
    if (write(fd, chunks[i].stored, size) != (ssize_t)size) die(to);
  }
  close(fd);
  stage("write");
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  s = sample_take(argv[1]);
  read_all();
  cut_all();
  pack_all();
  seal_all();
  hash_all();
  write_all(argv[2]);
  return 0;
}
