/*
** pack_pages: the memory of a pack, a mapping of its own. Its pages are large
** where the kernel has such, so that they cost next to nothing to get; then a
** pack that is stored holds none, and at the end all of it is the host's again.
*/
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "repository/pack_parts.h"

static bool are_large;
static pthread_once_t look_once = PTHREAD_ONCE_INIT;

/* What is in use stands in brackets. */
static void look(void) {
  char text[64] = "";
  int fd =
      open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  are_large = n > 0 && (strstr(text, "[always]") != NULL ||
                        strstr(text, "[madvise]") != NULL);
}

bool repo_pages_are_large(void) {
  pthread_once(&look_once, look);
  return are_large;
}

static size_t whole_pages(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (size + page - 1) / page * page;
}

bool repo_pages_grow(repo_pages *p, size_t size) {
  if (size > SIZE_MAX / 2) return false;
  size_t whole = whole_pages(size);
  /* A block of mem_grow's, so that mem_fail_at reaches us, too. */
  void *counted = mem_grow(p->counted, 1);
  if (counted == NULL) return false;
  p->counted = counted;
  void *at = p->data == NULL ? mmap(NULL, whole, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                             : mremap(p->data, p->size, whole, MREMAP_MAYMOVE);
  if (at == MAP_FAILED) return false;
  (void)madvise(at, whole, MADV_HUGEPAGE);
  p->data = at;
  p->size = whole;
  return true;
}

/* Small ones cost too much to get again. */
void repo_pages_let_go(repo_pages *p, size_t keep) {
  if (p->data == NULL || keep >= p->size || !repo_pages_are_large()) return;
  keep = whole_pages(keep);
  if (keep < p->size)
    (void)madvise(p->data + keep, p->size - keep, MADV_DONTNEED);
}

void repo_pages_free(repo_pages *p) {
  if (p->data != NULL) munmap(p->data, p->size);
  mem_free(p->counted);
  *p = (repo_pages){0};
}
