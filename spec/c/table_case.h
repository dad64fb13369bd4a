/*
** What the suites about partition tables share: a disk that is attached, calls
** about it, and its file's bytes, to be compared.
*/
#ifndef SAROS_SPEC_TABLE_CASE_H
#define SAROS_SPEC_TABLE_CASE_H

#include "vds/table.h"
#include "vds_case.h"

typedef struct disk {
  const char *file;
  value *object; /* as a script has it */
  char node[80];
} disk;

/* Attaches a file. */
static inline disk disk_of(const char *file) {
  disk d = {.file = file};
  answer a = ask("attach", "{'path':'%s'}", file);
  CHECK_INT(a.code, 0);
  if (a.code != 0) printf("it said: %s\n", a.message);
  d.object = a.output != NULL ? value_copy(a.output) : value_map();
  snprintf(d.node, sizeof d.node, "%s", text_of(a.output, "path"));
  forget(&a);
  return d;
}

static inline disk new_disk(unsigned megabytes) {
  return disk_of(make_image(megabytes));
}

static inline void drop(disk *d) {
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", d->file), 0);
  value_free(d->object);
  *d = (disk){0};
}

/* A call about an object, which stays the caller's. */
__attribute__((format(printf, 3, 4))) static inline saros_op *begin_on(
    const char *call, const value *object, const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args);
  va_end(args);
  if (options != NULL) value_put(options, "object", value_copy(object));
  return begin_with(call, options);
}

#define ask_on(...) end_of(begin_on(__VA_ARGS__))

/* Another end, for who has a file system grown or shrunk. */
static inline error *other_end(const disk *d, unsigned number, uint64_t size) {
  vds_identity who;
  vds_target t;
  vds_call c = {.options = value_map(), .committed = true};
  CHECK(vds_identity_get(d->object, &who));
  value_put(c.options, "state_dir", value_text(state_place()));
  error *e = vds_target_open(&who, 0, &t);
  if (e == NULL) e = vds_table_resize(&c, &t, number, size);
  vds_target_close(&t);
  value_free(c.options);
  return e;
}

static inline int64_t number_in(const value *map, const char *name) {
  return value_integer(value_get(map, name), -1);
}

/* All bytes of a file. */
typedef struct bytes {
  unsigned char *data;
  size_t size;
} bytes;

static inline bytes read_file(const char *path) {
  struct stat st;
  bytes b = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && fstat(fd, &st) == 0);
  if (fd < 0) return b;
  b.data = malloc((size_t)st.st_size);
  while (b.data != NULL && b.size < (size_t)st.st_size) {
    ssize_t n =
        pread(fd, b.data + b.size, (size_t)st.st_size - b.size, (off_t)b.size);
    if (n <= 0) break;
    b.size += (size_t)n;
  }
  CHECK_INT(b.size, st.st_size);
  close(fd);
  return b;
}

static inline void write_file(const char *path, const bytes *b) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  size_t done = 0;
  while (fd >= 0 && done < b->size) {
    ssize_t n = pwrite(fd, b->data + done, b->size - done, (off_t)done);
    if (n <= 0) break;
    done += (size_t)n;
  }
  CHECK_INT(done, b->size);
  if (fd >= 0) close(fd);
}

static inline bool same_bytes(const bytes *a, const bytes *b) {
  return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* What is behind a device goes into its file when somebody asks. */
static inline void flush(const disk *d) {
  int fd = open(d->node, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) fsync(fd);
  if (fd >= 0) close(fd);
}

/* What sfdisk has to say against a disk's table, if it is here. */
static inline bool is_sound(const disk *d) {
  if (!volumes_have("sfdisk")) return true;
  return volumes_run(
             "sfdisk --verify '%s' >'%s/verify' 2>&1 && "
             "! grep -qi 'corrupt\\|overlap' '%s/verify' || "
             "{ cat '%s/verify'; false; }",
             d->node, volumes_scratch, volumes_scratch, volumes_scratch) == 0;
}

#endif
