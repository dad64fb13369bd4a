/*
** What no backup program can do without, done as quickly as the libraries and
** the kernel do it, and nothing else. Prints wall and CPU seconds, of all the
** bytes of the directory.
**
**   repo_limits hash DIR         SHA-256 twice, of the blob and of the pack, by
**                                all cores
**   repo_limits pack DIR         zstd, level 3, 1.5 MiB at a time, by all cores
**   repo_limits open DIR PACKED  what is read of a repository: SHA-256 of what
**       is stored, AES-256-CTR and Poly1305, zstd (with `yes`), SHA-256 of what
**       comes out, by all cores
**   repo_limits back DIR PACKED TO     the same without the pack's hash, and
**       what comes out written to files in TO
**   repo_limits walk DIR         every name looked at, by one thread
**   repo_limits run COMMAND…     a command: its wall and CPU seconds, MB of
**                                memory, and how it ended
**   repo_limits scratch DIR COMMAND…   a command that finds a directory of its
**       own below DIR in SAROS_BENCH_DIR, which is gone when it ends, or when
**       this is told to
*/
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zstd.h>

#include "repo_sample.h"

#define PIECE ((size_t)3 << 19)
#define SEALED 32

/* What one thread does at once. */
typedef struct piece {
  const uint8_t *plain;
  size_t size;
  uint8_t *packed; /* as it is stored */
  size_t packed_size;
  size_t file, at;
} piece;

static piece *pieces;
static size_t piece_count;
static _Atomic size_t next_piece;
static bool is_packed;
static const char *target;
static void (*work)(const piece *p);

/* Of each thread. */
static _Thread_local ZSTD_CCtx *zip;
static _Thread_local ZSTD_DCtx *unzip;
static _Thread_local uint8_t *space;
static _Thread_local EVP_MD_CTX *digest;
static _Thread_local EVP_MAC_CTX *mac;
static _Thread_local EVP_CIPHER_CTX *ctr;

static void cut_pieces(const sample *s) {
  size_t room = s->size / PIECE + s->count + 1;
  pieces = memory(room * sizeof *pieces);
  for (size_t i = 0; i < s->count; i++)
    for (size_t at = 0, n; at < s->files[i].size; at += n) {
      n = s->files[i].size - at;
      if (n > PIECE) n = PIECE;
      const uint8_t *plain = s->data + s->files[i].at + at;
      pieces[piece_count++] =
          (piece){.plain = plain, .size = n, .file = i, .at = at};
    }
}

static const uint8_t key[32] = {1};
static EVP_MD *sha256; /* fetched once: that costs more than a small file */

static void hash(const void *data, size_t size) {
  uint8_t id[32];
  if (!EVP_DigestInit_ex(digest, sha256, NULL) ||
      !EVP_DigestUpdate(digest, data, size) ||
      !EVP_DigestFinal_ex(digest, id, NULL))
    abort();
}

static void hash_twice(const piece *p) {
  hash(p->plain, p->size);
  hash(p->plain, p->size);
}

static size_t pack(const piece *p, uint8_t *to) {
  size_t n = ZSTD_compressCCtx(zip, to, ZSTD_compressBound(PIECE), p->plain,
                               p->size, 3);
  if (ZSTD_isError(n)) abort();
  return n;
}

static void pack_it(const piece *p) {
  pack(p, space);
}

/* Decrypting is the same as encrypting, and so is the tag. */
static const uint8_t *opened(const piece *p) {
  int n;
  size_t tag_size;
  uint8_t tag[16], *plain = space;
  if (!EVP_MAC_init(mac, key, sizeof key, NULL) ||
      !EVP_MAC_update(mac, p->packed, p->packed_size) ||
      !EVP_MAC_final(mac, tag, &tag_size, sizeof tag) ||
      !EVP_EncryptInit_ex(ctr, NULL, NULL, NULL, key) ||
      !EVP_EncryptUpdate(ctr, space, &n, p->packed, (int)p->packed_size))
    abort();
  if (is_packed) {
    plain = space + ZSTD_compressBound(PIECE);
    size_t got =
        ZSTD_decompressDCtx(unzip, plain, PIECE, p->packed, p->packed_size);
    if (got != p->size) abort();
  }
  hash(plain, p->size);
  return plain;
}

static void open_it(const piece *p) {
  hash(p->packed, p->packed_size);
  opened(p);
}

static void back_it(const piece *p) {
  char path[4200];
  const uint8_t *plain = opened(p);
  snprintf(path, sizeof path, "%s/%zu", target, p->file);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || pwrite(fd, plain, p->size, (off_t)p->at) != (ssize_t)p->size)
    die(path);
  close(fd);
}

static void tools_make(void) {
  EVP_MAC *way = EVP_MAC_fetch(NULL, "POLY1305", NULL);
  digest = EVP_MD_CTX_new();
  mac = EVP_MAC_CTX_new(way);
  ctr = EVP_CIPHER_CTX_new();
  if (digest == NULL || mac == NULL || ctr == NULL ||
      !EVP_EncryptInit_ex(ctr, EVP_aes_256_ctr(), NULL, key, key))
    abort();
  EVP_MAC_free(way);
}

static void tools_free(void) {
  EVP_CIPHER_CTX_free(ctr);
  EVP_MAC_CTX_free(mac);
  EVP_MD_CTX_free(digest);
}

static void *all_pieces(void *none) {
  size_t i;
  tools_make();
  zip = ZSTD_createCCtx();
  unzip = ZSTD_createDCtx();
  space = memory(2 * ZSTD_compressBound(PIECE));
  memset(space, 1, 2 * ZSTD_compressBound(PIECE));
  while ((i = atomic_fetch_add(&next_piece, 1)) < piece_count) work(&pieces[i]);
  ZSTD_freeCCtx(zip);
  ZSTD_freeDCtx(unzip);
  tools_free();
  free(space);
  return none;
}

static void on_all_cores(void (*f)(const piece *p)) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  pthread_t threads[64];
  int count = 0;
  work = f;
  next_piece = 0;
  while (count + 1 < cores && count < 64 &&
         pthread_create(&threads[count], NULL, all_pieces, NULL) == 0)
    count++;
  all_pieces(NULL);
  while (count > 0) pthread_join(threads[--count], NULL);
  EVP_MD_free(sha256);
}

/* Not measured: what there is to be opened. */
static void make_packed(void) {
  zip = ZSTD_createCCtx();
  for (size_t i = 0; i < piece_count; i++) {
    piece *p = &pieces[i];
    p->packed = memory(ZSTD_compressBound(p->size));
    p->packed_size = is_packed ? pack(p, p->packed) : p->size;
    if (!is_packed) memcpy(p->packed, p->plain, p->size);
  }
  ZSTD_freeCCtx(zip);
}

static int compute(const char *dir, void (*f)(const piece *p)) {
  const sample *s = sample_take(dir);
  cut_pieces(s);
  if (f == open_it || f == back_it) make_packed();
  if (f == back_it && mkdir(target, 0700) != 0) die(target);
  double begun = seconds(), before = cpu();
  on_all_cores(f);
  printf("%.4f %.4f\n", sample_scale(s, seconds() - begun),
         sample_scale(s, cpu() - before));
  return 0;
}


/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

static size_t names;

static int look(const char *path, const struct stat *st, int type,
                struct FTW *at) {
  (void)path, (void)st, (void)type, (void)at;
  names++;
  return 0;
}

static int walk(const char *dir) {
  double begun = seconds(), before = cpu();
  if (nftw(dir, look, 64, FTW_PHYS) != 0 || names == 0) die(dir);
  printf("%.4f %.4f\n", seconds() - begun, cpu() - before);
  return 0;
}


/* ------------------------------------------------------------------
** Others
** ---------------------------------------------------------------- */

static int run(char **words) {
  struct rusage used;
  int status;
  double begun = seconds();
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execvp(words[0], words);
    _exit(127);
  }
  if (wait4(pid, &status, 0, &used) != pid) die("wait4");
  printf("%.4f %.4f %.1f %d\n", seconds() - begun, cpu_of(&used),
         (double)used.ru_maxrss * 1024 / 1e6,
         WIFEXITED(status) ? WEXITSTATUS(status) : 255);
  return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at) {
  (void)st, (void)at;
  return type == FTW_DP ? rmdir(path) : unlink(path);
}

static int scratch(const char *below, char **words) {
  char dir[4200];
  sigset_t ends, before;
  int status = 255, number;
  snprintf(dir, sizeof dir, "%s/saros-bench-XXXXXX", below);
  if (mkdtemp(dir) == NULL) die(dir);
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGHUP);
  sigaddset(&ends, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ends, &before);
  pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    setenv("SAROS_BENCH_DIR", dir, 1);
    execvp(words[0], words);
    _exit(127);
  }
  if (pid > 0) setpgid(pid, pid);
  while (pid > 0 && sigwait(&ends, &number) == 0) {
    if (number != SIGCHLD) kill(-pid, SIGKILL);
    if (waitpid(pid, &status, number == SIGCHLD ? WNOHANG : 0) == pid) break;
  }
  /* What it started may be writing still, for a moment. */
  for (int i = 0; i < 50; i++) {
    nftw(dir, remove_one, 64, FTW_PHYS | FTW_DEPTH);
    if (access(dir, F_OK) != 0) break;
    usleep(100000);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  if (strcmp(what, "scratch") == 0 && argc > 3)
    return scratch(argv[2], argv + 3);
  if (strcmp(what, "run") == 0) return run(argv + 2);
  if (strcmp(what, "hash") == 0) return compute(argv[2], hash_twice);
  if (strcmp(what, "pack") == 0) return compute(argv[2], pack_it);
  if (strcmp(what, "walk") == 0) return walk(argv[2]);
  if (strcmp(what, "open") == 0 && argc > 3) {
    is_packed = strcmp(argv[3], "yes") == 0;
    return compute(argv[2], open_it);
  }
  if (strcmp(what, "back") == 0 && argc > 4) {
    is_packed = strcmp(argv[3], "yes") == 0;
    target = argv[4];
    return compute(argv[2], back_it);
  }
  return 2;
}
