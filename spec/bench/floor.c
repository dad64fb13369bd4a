/*
** The floor: a worker thread, a queue, an eventfd, poll(2), and nothing else.
** What a round trip costs before any library has done anything for it.
**   floor IN_FLIGHT COUNT  -->  microseconds of CPU per round trip
*/
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

typedef struct item item;
struct item {
  item *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static item *queue, **queue_last = &queue;
static item *done;
static int idle, wake_fd;

static void *worker(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (queue == NULL) {
      idle++;
      pthread_cond_wait(&work, &lock);
      idle--;
    }
    item *i = queue;
    queue = i->next;
    if (queue == NULL) queue_last = &queue;
    pthread_mutex_unlock(&lock);
    pthread_mutex_lock(&lock);
    int first = done == NULL;
    i->next = done;
    done = i;
    if (first) {
      uint64_t one = 1;
      if (write(wake_fd, &one, sizeof one) < 0) abort();
    }
  }
  return NULL;
}

static void submit(item *i) {
  pthread_mutex_lock(&lock);
  i->next = NULL;
  *queue_last = i;
  queue_last = &i->next;
  int call = idle > 0;
  pthread_mutex_unlock(&lock);
  if (call) pthread_cond_signal(&work);
}

int main(int argc, char **argv) {
  long in_flight = argc > 1 ? atol(argv[1]) : 1;
  long count = argc > 2 ? atol(argv[2]) : 30000;
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  wake_fd = eventfd(0, EFD_NONBLOCK);
  for (long c = 0; c < cores; c++) {
    pthread_t id;
    if (pthread_create(&id, NULL, worker, NULL) != 0) return 1;
  }
  item *items = calloc((size_t)in_flight, sizeof *items);
  if (items == NULL) return 1;
  for (long i = 0; i < in_flight; i++) submit(&items[i]);
  for (long left = count; left > 0;) {
    struct pollfd p = {.fd = wake_fd, .events = POLLIN};
    poll(&p, 1, -1);
    uint64_t n;
    if (read(wake_fd, &n, sizeof n) < 0) continue;
    pthread_mutex_lock(&lock);
    item *i = done;
    done = NULL;
    pthread_mutex_unlock(&lock);
    while (i != NULL) {
      item *next = i->next;
      if (--left > 0) submit(i);
      i = next;
    }
  }
  printf("%.4f\n", (double)clock() / CLOCKS_PER_SEC / (double)count * 1e6);
  return 0;
}
