/*
** A test program in C: TEST functions, CHECK inside them, RUN in main.
** A failed CHECK prints where and goes on; the closing line is the one that
** every suite here prints: "N passed, N failed, N skipped".
**
**     TEST(a02_success) { CHECK(code == VSS_S_ASYNC_FINISHED); }
**     int main(int argc, char **argv) {
**       check_begin(argc, argv);   // arguments: only tests whose names match
**       RUN(a02_success);
**       return check_end();
**     }
**
** With SAROS_TIMES=1 each says what it cost.
*/
#ifndef SAROS_CHECK_H
#define SAROS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int check_passed, check_failed, check_skipped;
static int check_bad; /* of the running test */
static int check_outside;
static const char *check_skip_reason;
static int check_argc;
static char **check_argv;

#define TEST(name) static void test_##name(void)
#define RUN(name) check_run(#name, test_##name)

#define CHECK(condition)                                               \
  do {                                                                 \
    if (!(condition)) {                                                \
      check_bad++;                                                     \
      printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                  \
  } while (0)

#define CHECK_INT(actual, expected)                                            \
  do {                                                                         \
    long long check_a = (long long)(actual);                                   \
    long long check_e = (long long)(expected);                                 \
    if (check_a != check_e) {                                                  \
      check_bad++;                                                             \
      printf("%s:%d: %s is %lld (0x%llx), not %lld (0x%llx)\n", __FILE__,      \
             __LINE__, #actual, check_a, (unsigned long long)check_a, check_e, \
             (unsigned long long)check_e);                                     \
    }                                                                          \
  } while (0)

#define CHECK_TEXT(actual, expected)                                           \
  do {                                                                         \
    const char *check_t = (actual);                                            \
    if (check_t == NULL || strcmp(check_t, (expected)) != 0) {                 \
      check_bad++;                                                             \
      printf("%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #actual, \
             check_t ? check_t : "(null)", (expected));                        \
    }                                                                          \
  } while (0)

#define SKIP(reason)              \
  do {                            \
    check_skip_reason = (reason); \
    return;                       \
  } while (0)

static inline void check_begin(int argc, char **argv) {
  check_argc = argc;
  check_argv = argv;
  setvbuf(stdout, NULL, _IOLBF, 0);
}

/* CPU seconds until now, also those of children that were waited for. */
static inline double check_seconds(void) {
  double seconds = 0;
  int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
  for (int i = 0; i < 2; i++) {
    struct rusage u;
    if (getrusage(whose[i], &u) != 0) continue;
    seconds += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec);
    seconds += (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
  }
  return seconds;
}

static inline void check_run(const char *name, void (*test)(void)) {
  int wanted = check_argc <= 1;
  for (int i = 1; i < check_argc; i++)
    if (strstr(name, check_argv[i]) != NULL) wanted = 1;
  if (!wanted) return;
  check_outside += check_bad; /* of a fixture, between two tests */
  check_bad = 0;
  check_skip_reason = NULL;
  double before = check_seconds();
  test();
  if (getenv("SAROS_TIMES") != NULL)
    printf("%8.2f CPU s  %s\n", check_seconds() - before, name);
  if (check_bad > 0) {
    check_failed++;
    printf("FAILED %s\n", name);
  } else if (check_skip_reason != NULL) {
    check_skipped++;
    printf("SKIPPED %s: %s\n", name, check_skip_reason);
  } else {
    check_passed++;
  }
  check_bad = 0;
}

static inline int check_end(void) {
  if (check_outside + check_bad > 0 && check_failed == 0) {
    check_failed++;
    printf("FAILED outside of any test\n");
  }
  printf("%d passed, %d failed, %d skipped\n", check_passed, check_failed,
         check_skipped);
  return check_failed > 0;
}

#endif
