/*
** Preloaded under valgrind. A child of a process with threads inherits what
** they held, and not the stacks that pointed there: for the child it is lost,
** through no fault of anybody. Which is why a child looks for no leaks; what
** else it does wrong is still an error of its own.
*/
#include <pthread.h>
#include <valgrind/valgrind.h>

static void child(void) {
  VALGRIND_CLO_CHANGE("--leak-check=no");
}

__attribute__((constructor)) static void begin(void) {
  pthread_atfork(NULL, NULL, child);
}
