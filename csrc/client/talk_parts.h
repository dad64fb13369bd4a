/*
** The parts of talk: what a connection is.
*/
#ifndef SAROS_CLIENT_TALK_PARTS_H
#define SAROS_CLIENT_TALK_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "client/talk.h"

/* Something that was asked: the `self` of its operation, which frees it. */
typedef struct item item;
struct item {
  item *next;
  talk *t;      /* a reference */
  saros_op *op; /* none: its work has one of its own */
  bool closes;  /* not a question: the end */
  talk_question q;
};

struct talk {
  _Atomic unsigned refs;
  unsigned generation; /* of the process that opened it */
  const talk_driver *driver;
  void *self;
  char *label;
  int wake; /* an eventfd: look again */
  /* Taken with no other lock held; what follows is under it. */
  pthread_mutex_t lock;
  item *first, **last;
  item *current;
  bool served;   /* there is a thread */
  bool closing;  /* nothing can be asked any more */
  bool hurries;  /* and what there is was cancelled */
  bool forsaken; /* nobody waits for the end */
  int fd;        /* the socket, or -1 */
  dev_t device;  /* which it is: its number may be another's by now */
  ino_t inode;
  talk *before, *after; /* in `all` */
};

/* With its lock held, or alone in a child. */
bool talk_is_its_socket(const talk *t);
/* It was woken: once is enough. */
void talk_drain(talk *t);

#endif
