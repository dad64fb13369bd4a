/*
** A directory as a store: what has a name shall have it behind a power cut,
** too. A file is durable before it is named, and its folder before anybody is
** told of it; the folder's own name, and that of the folder above, are no less
** needed. What others have named this moment, and may not have made durable
** yet, is made so before something of ours relies on it.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "repository/store/local_parts.h"

#ifdef SAROS_TEST
_Atomic int repo_local_fault;
void (*_Atomic repo_local_synced)(int fd, bool all);

int repo_local_fails(void) {
  return repo_local_fault != 0 ? atomic_exchange(&repo_local_fault, 0) : 0;
}

static int tell(int number, int fd, bool all) {
  void (*told)(int, bool) = repo_local_synced;
  if (number == 0 && told != NULL) told(fd, all);
  return number;
}
#else
#define tell(number, fd, all) (number)
#endif

int repo_local_sync(bool durable, int fd) {
  int number = repo_local_fails();
  if (number != 0 || !durable) return number;
  /* Some file systems have nothing to sync a directory with. */
  return tell(fsync(fd) != 0 && errno != EINVAL ? errno : 0, fd, false);
}

#define FOLDER (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

int repo_local_sync_folder(int root, const char *name) {
  int fd = openat(root, name, FOLDER);
  if (fd < 0) return errno == ENOENT ? 0 : errno;
  int number = repo_local_sync(true, fd);
  close(fd);
  return number;
}


/* ------------------------------------------------------------------
** The names of folders
** ---------------------------------------------------------------- */

/* Below `parent`, and durable. One that somebody else has just made is as good,
   but he may not have come so far. */
static int make_one(bool durable, int parent, const char *name, mode_t mode) {
  struct stat st;
  if (mkdirat(parent, name, mode) != 0) {
    if (errno != EEXIST) return errno;
  } else if ((mode & 070) != 0 && fstatat(parent, name, &st, 0) == 0) {
    /* Others of the group must get in, whatever the umask; a set-group-id bit
       that it has inherited stays. */
    fchmodat(parent, name, mode | (st.st_mode & 07000), 0);
  }
  return repo_local_sync(durable, parent);
}

int repo_local_make_folder(bool durable, int root, const char *path,
                           mode_t mode) {
  char outer[REPO_LOCAL_PATH];
  const char *slash = strchr(path, '/'); /* data/01 */
  if (slash == NULL) return make_one(durable, root, path, mode);
  snprintf(outer, sizeof outer, "%.*s", (int)(slash - path), path);
  int number = make_one(durable, root, outer, mode);
  int parent = number == 0 ? openat(root, outer, FOLDER) : -1;
  if (number == 0 && parent < 0) number = errno;
  if (number == 0) number = make_one(durable, parent, slash + 1, mode);
  if (parent >= 0) close(parent);
  return number;
}

/* Where a folder is in what this store is sure of. */
static unsigned number_of(const char *path) {
  unsigned number;
  if (sscanf(path, "data/%2x", &number) == 1) return number & 0xFF;
  return REPO_LOCAL_SURE - 1; /* all that are below the root */
}

int repo_local_be_sure(local *l, int root, const char *path) {
  bool there[REPO_LOCAL_SURE] = {false};
  unsigned number = number_of(path);
  if (atomic_load(&l->sure[number])) return 0;
  /* All at once: one is made seldom, and a pack may lie in any. */
  bool packs = number < REPO_LOCAL_SURE - 1;
  for (unsigned i = 0; packs && i < REPO_LOCAL_SURE - 1; i++) {
    char name[16];
    snprintf(name, sizeof name, "data/%02x", i);
    there[i] = faccessat(root, name, F_OK, 0) == 0;
  }
  there[REPO_LOCAL_SURE - 1] = true;
  int failed = packs ? repo_local_sync_folder(root, "data") : 0;
  if (failed == 0) failed = repo_local_sync(true, root);
  for (unsigned i = 0; failed == 0 && i < REPO_LOCAL_SURE; i++)
    if (there[i]) atomic_store(&l->sure[i], true);
  return failed;
}

int repo_local_sync_parent(const char *path) {
  char *above = mem_text(path);
  if (above == NULL) return ENOMEM;
  char *slash = strrchr(above, '/');
  if (slash != NULL) slash[slash == above] = '\0';
  int fd = slash != NULL ? open(above, FOLDER) : -1;
  mem_free(above);
  /* Whoever may not read it must leave it to others. */
  if (fd < 0) return slash == NULL || errno == EACCES ? 0 : errno;
  int number = repo_local_sync(true, fd);
  close(fd);
  return number;
}


/* ------------------------------------------------------------------
** All that is there
** ---------------------------------------------------------------- */

error *repo_local_settle(repo_store *store, const repo_stop *stop) {
  local *l = (local *)store;
  int root;
  (void)stop;
  error *e = l->durable ? repo_local_root(l, &root) : NULL;
  if (e != NULL || !l->durable) return e;
  int number = repo_local_fails();
  if (number == 0) number = tell(syncfs(root) != 0 ? errno : 0, root, true);
  if (number == 0) return NULL;
  return repo_local_error(l, number, "make durable", REPO_PACKS, NULL);
}
