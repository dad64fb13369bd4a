/*
** Who of a crew works on what: a worker takes up a directory in which nobody
** works, while there is one.
*/
#include <fcntl.h>
#include <unistd.h>

#include "gate.h"
#include "op/copy_parts.h"
#include "op/engine.h"

#define FILES (BATCH_NAMES * 3)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static pthread_t walker;
static bool begun, over; /* the helper has a batch; it may go on */
static walk_dir *helped, *walked;
static unsigned entries;

static int open_dir(crew *w, walk_dir *parent, const char *name) {
  return copy_open(w->c, parent->from, name, O_RDONLY | O_DIRECTORY);
}

/* The second directory is entered when the helper is at work in the first. */
static bool enter(crew *w, walk_dir *d) {
  static unsigned count;
  (void)w;
  if (d->root || ++count < 2) return true;
  pthread_mutex_lock(&lock);
  while (!begun) pthread_cond_wait(&moved, &lock);
  pthread_mutex_unlock(&lock);
  return true;
}

static void entry(crew *w, worker *me, walk_dir *d, const char *name,
                  unsigned char type) {
  (void)w;
  (void)me;
  (void)name;
  (void)type;
  pthread_mutex_lock(&lock);
  entries++;
  if (pthread_equal(pthread_self(), walker) != 0) {
    if (walked == NULL) walked = d;
    over = true;
  } else if (helped == NULL) {
    helped = d;
    begun = true;
  }
  pthread_cond_broadcast(&moved);
  while (!over) pthread_cond_wait(&moved, &lock);
  pthread_mutex_unlock(&lock);
}

static void leave(crew *w, worker *me, walk_dir *d) {
  (void)w;
  (void)me;
  (void)d;
}

static void lost(crew *w, int number, walk_dir *d, const char *name) {
  (void)w;
  (void)d;
  printf("%s: errno %d\n", name != NULL ? name : "(the directory)", number);
  CHECK_INT(number, 0);
}

static void make_files(const char *dir) {
  char path[300];
  CHECK_INT(mkdir(dir, 0700), 0);
  for (int i = 0; i < FILES; i++) {
    snprintf(path, sizeof path, "%s/%d", dir, i);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
  }
}

TEST(a_directory_of_ones_own) {
  static const walk_kind kind = {.open = open_dir,
                                 .enter = enter,
                                 .entry = entry,
                                 .leave = leave,
                                 .lost = lost};
  static char scratch[] = "/tmp/saros-crew-test-XXXXXX";
  char path[200];
  struct stat st;
  copy c = {.from = scratch, .to = scratch};
  crew w;
  CHECK(mkdtemp(scratch) != NULL);
  snprintf(path, sizeof path, "%s/a", scratch);
  make_files(path);
  snprintf(path, sizeof path, "%s/b", scratch);
  make_files(path);
  pthread_mutex_init(&c.lock, NULL);
  engine_acquire();
  walker = pthread_self();
  crew_open(&w, &c, &kind);
  w.helpers_most = 1;
  int fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(fstat(fd, &st) == 0);
  walk(&w, walk_root(&w, fd, -1, &st));
  crew_close(&w);
  engine_release();
  pthread_mutex_destroy(&c.lock);
  CHECK_INT(entries, 2 * FILES);
  CHECK(helped != NULL && walked != NULL);
  CHECK(helped != walked); /* they are compared, and not looked into */
  snprintf(path, sizeof path, "rm -rf '%s'", scratch);
  CHECK_INT(system(path), 0);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  RUN(a_directory_of_ones_own);
  return check_end();
}
