/*
** What is done with the bytes when all are here: they are held against what
** the caller or the server says that they are. On the keeper's thread.
*/
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/finish_parts.h"
#include "bits/judge.h"
#include "http/sign.h"

/* ------------------------------------------------------------------
** The part
** ---------------------------------------------------------------- */

void bits_finish_local(const bits_file *f, int number, const char *what,
                       bits_result *r) {
  *r = (bits_result){.end = BITS_END_FAILED};
  judge_local(number, what, f->path, r);
}

void bits_finish_again(bits_file *f, uint32_t code, bits_result *r) {
  r->end = f->restarts++ == 0 ? BITS_END_AT_ONCE : BITS_END_FAILED;
  r->code = code;
  atomic_store(&f->have, 0);
  bits_file_know(f, NULL);
}

static bool is_the_one(const bits_file *f, const struct stat *s) {
  const bits_known *k = f->known;
  return k != NULL && S_ISREG(s->st_mode) &&
         bits_part_is_known(k, s->st_dev, s->st_ino);
}

/* It is the one, on a device of this number now. */
static void note_device(bits_file *f, uint64_t device) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  f->known->device = device;
  pthread_mutex_unlock(&m->lock);
}

/* All of what came. */
static uint64_t length_of(const bits_file *f) {
  uint64_t length = bits_file_length(f);
  return length != BITS_UNKNOWN ? length : atomic_load(&f->have);
}

static void lost(bits_file *f, const char *why, bits_result *r) {
  *r = (bits_result){.context = BITS_CONTEXT_LOCAL,
                     .win32 = WIN32_FILE_NOT_FOUND};
  bits_finish_again(f, WIN32_(WIN32_FILE_NOT_FOUND), r);
  snprintf(r->why, sizeof r->why, "%s: %.300s", why, f->path);
}

bool bits_finish_is_durable(bits_file *f) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  bool durable = (f->job->marks & BITS_JOB_DURABLE) != 0;
  pthread_mutex_unlock(&m->lock);
  return durable || (f->known != NULL && f->known->durable >= length_of(f));
}

/* Not all of it was on the disk when the machine went down. */
static bool was_lost(bits_file *f, bits_result *r) {
  if (bits_part_trusted(f) >= length_of(f) || bits_finish_is_durable(f))
    return false;
  *r = (bits_result){.end = BITS_END_AT_ONCE};
  snprintf(r->why, sizeof r->why,
           "the machine went down before all of it was on the disk");
  return true;
}

static int open_path(const bits_file *f) {
  char *path = bits_part_name(f);
  if (path == NULL) {
    errno = ENOMEM;
    return -1;
  }
  int fd =
      open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  int number = errno;
  mem_free(path);
  errno = number;
  return fd;
}

int bits_finish_open(bits_file *f, bits_result *r) {
  struct stat s;
  if (was_lost(f, r)) return -1;
  int fd = open_path(f);
  if (fd < 0 && errno != ENOENT && errno != ELOOP) {
    bits_finish_local(f, errno, "the partial file cannot be opened", r);
    return -1;
  }
  if (fd < 0 && bits_finish_is_named(f)) {
    *r = (bits_result){.end = BITS_END_WHOLE};
  } else if (fd < 0) {
    lost(f, "the partial file is gone", r);
  } else if (fstat(fd, &s) != 0) {
    bits_finish_local(f, errno, "the partial file cannot be read", r);
  } else if (!is_the_one(f, &s)) {
    lost(f, "somebody has put another file in place of the partial one", r);
  } else if ((uint64_t)s.st_size != length_of(f)) {
    lost(f, "somebody has changed the length of the partial file", r);
  } else {
    *r = (bits_result){.end = BITS_END_WHOLE};
    if (f->known->device != s.st_dev) note_device(f, s.st_dev);
    return fd;
  }
  if (fd >= 0) close(fd);
  return -1;
}

bool bits_finish_is_ready(const bits_file *f, mode_t mode) {
  struct stat s;
  if (bits_part_trusted(f) < length_of(f)) return false;
  char *path = bits_part_name(f);
  bool found = path != NULL && lstat(path, &s) == 0;
  mem_free(path);
  return found && is_the_one(f, &s) && f->known->device == s.st_dev &&
         (uint64_t)s.st_size == length_of(f) && (s.st_mode & 07777) == mode;
}

bool bits_finish_drop(const bits_file *f) {
  char *path = bits_part_name(f);
  int number = path == NULL ? ENOMEM : unlink(path) == 0 ? 0 : errno;
  mem_free(path);
  errno = number;
  return number == 0 || number == ENOENT;
}

bool bits_finish_is_named(const bits_file *f) {
  struct stat s;
  return lstat(f->path, &s) == 0 && is_the_one(f, &s) &&
         (uint64_t)s.st_size == length_of(f);
}

/* A length that nobody kept proves nothing. And what had its name before its
   bytes were on the disk is given up when the machine went down: as a part. */
bool bits_finish_appeared(bits_file *f) {
  struct stat s;
  bits_result r;
  if (f->known == NULL || bits_file_length(f) == BITS_UNKNOWN) return false;
  char *part = bits_part_name(f);
  bool gone = part != NULL && lstat(part, &s) != 0 && errno == ENOENT;
  bool named = gone && bits_finish_is_named(f);
  if (named && was_lost(f, &r)) {
    named = false;
    if (rename(f->path, part) != 0) unlink(f->path);
  }
  mem_free(part);
  return named;
}

/* ------------------------------------------------------------------
** Digests
** ---------------------------------------------------------------- */

#define CHUNK ((size_t)256 << 10)

typedef struct digest {
  EVP_MD_CTX *context;
  char name[16];
  const char *hex; /* what it should be */
  const char *who;
} digest;

/* "sha-256" is OpenSSL's "sha256". False: nobody knows it here. */
static bool begin_digest(digest *d, const char *name, size_t size,
                         const char *hex, const char *who) {
  size_t used = 0;
  for (size_t i = 0; i < size && used < sizeof d->name - 1; i++)
    if (name[i] != '-') d->name[used++] = name[i];
  d->name[used] = '\0';
  d->hex = hex;
  d->who = who;
  d->context = EVP_MD_CTX_new();
  EVP_MD *md = EVP_MD_fetch(NULL, d->name, NULL);
  bool begun = d->context != NULL && md != NULL &&
               EVP_DigestInit_ex2(d->context, md, NULL) == 1;
  EVP_MD_free(md);
  if (begun) return true;
  EVP_MD_CTX_free(d->context);
  return false;
}

/* Those that are known. The server's is of the whole remote file. */
static size_t begin_digests(const bits_file *f, digest d[2], bool *failed) {
  const bits_extra *x = f->extra;
  const char *server = f->known != NULL ? f->known->digest : NULL;
  size_t count = 0;
  *failed = false;
  if (x != NULL && x->sha256 != NULL) {
    *failed = !begin_digest(&d[0], "sha256", 6, x->sha256, "the caller");
    if (!*failed) count++;
  }
  const char *colon = server != NULL ? strchr(server, ':') : NULL;
  if (colon == NULL || (x != NULL && x->ranges != NULL)) return count;
  if (begin_digest(&d[count], server, (size_t)(colon - server), colon + 1,
                   "the server"))
    count++;
  return count;
}

/* 0 or errno. */
static int read_all(int fd, digest *d, size_t count) {
  unsigned char *bytes = mem_alloc(CHUNK);
  int number = bytes == NULL ? ENOMEM : 0;
  while (number == 0) {
    ssize_t n = read(fd, bytes, CHUNK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) number = errno;
    if (n <= 0) break;
    for (size_t i = 0; i < count; i++)
      if (EVP_DigestUpdate(d[i].context, bytes, (size_t)n) != 1)
        number = ENOMEM;
  }
  mem_free(bytes);
  return number;
}

static bool is_right(digest *d, char hex[2 * EVP_MAX_MD_SIZE + 1]) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_DigestFinal_ex(d->context, bytes, &size) != 1) size = 0;
  http_sign_hex(hex, bytes, size);
  return size > 0 && strcasecmp(hex, d->hex) == 0;
}

static void differs(bits_file *f, const digest *d, const char *hex,
                    bits_result *r) {
  *r = (bits_result){.context = BITS_CONTEXT_REMOTE};
  snprintf(r->why, sizeof r->why, "its %s is %.128s, and %s says %.128s",
           d->name, hex, d->who, d->hex);
  bits_finish_drop(f);
  bits_finish_again(f, BG_E_VALIDATION_FAILED, r);
}

static void verify(bits_file *f, digest *d, size_t count, bits_result *r) {
  char hex[2 * EVP_MAX_MD_SIZE + 1];
  int fd = bits_finish_open(f, r);
  if (fd < 0 && r->end == BITS_END_WHOLE) /* it has its name already */
    fd = open(f->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  else if (fd < 0)
    return;
  int number = fd < 0 ? errno : read_all(fd, d, count);
  if (fd >= 0) close(fd);
  if (number != 0) {
    bits_finish_local(f, number, "the partial file cannot be read", r);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    if (is_right(&d[i], hex)) continue;
    differs(f, &d[i], hex, r);
    return;
  }
  r->verified = r->proven = true;
  bits_file_mark(f, BITS_FILE_VERIFIED, BITS_FILE_UNPROVEN);
}

void bits_finish_verify(bits_file *f, const bits_terms *terms, bits_result *r) {
  digest d[2];
  bool failed;
  size_t count = begin_digests(f, d, &failed);
  (void)terms;
  *r = (bits_result){.end = BITS_END_WHOLE};
  if (failed)
    bits_finish_local(f, ENOMEM, "its SHA-256 cannot be computed", r);
  else if (count > 0)
    verify(f, d, count, r);
  for (size_t i = 0; i < count; i++) EVP_MD_CTX_free(d[i].context);
}
