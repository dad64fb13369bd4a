/*
** Passwords, wherever they come from, and where they must not go.
**
** not under valgrind: its children are forked or killed; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include "repository/password.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repo_case.h"
#include "repository/crypto.h"
#include "test_base_sweep.h"

static char folder[] = "/tmp/saros-password-XXXXXX";

static const char *file_with(const char *bytes, size_t size) {
  static char path[64];
  snprintf(path, sizeof path, "%s/file", folder);
  FILE *f = fopen(path, "wb");
  CHECK(f != NULL);
  if (f != NULL) {
    CHECK_INT(fwrite(bytes, 1, size, f), size);
    fclose(f);
  }
  return path;
}

#define CHECK_PASSWORD(call, wanted)                              \
  do {                                                            \
    CHECK_GOOD(call);                                             \
    CHECK_INT(p.size, strlen(wanted));                            \
    CHECK(p.text != NULL && memcmp(p.text, wanted, p.size) == 0); \
    repo_password_clear(&p);                                      \
  } while (0)

/* Refused, and `secret` does not stand in the error. */
static void refused(error *e, uint32_t code, const char *secret, int line) {
  for (const error *c = e; c != NULL; c = c->cause) {
    if (secret != NULL && (strstr(c->message, secret) != NULL ||
                           (c->path != NULL && strstr(c->path, secret)))) {
      check_bad++;
      printf("line %d: the secret is in \"%s\"\n", line, c->message);
    }
  }
  check_error(e, code, line);
}
#define REFUSED(e, code, secret) refused(e, code, secret, __LINE__)

TEST(text) {
  repo_password p = {0};
  CHECK_PASSWORD(repo_password_text(&p, "a\n", 2), "a\n"); /* as it is */
  CHECK_GOOD(repo_password_text(&p, "a\0b", 3));
  CHECK(p.size == 3 && memcmp(p.text, "a\0b", 3) == 0);
  REFUSED(repo_password_text(&p, "", 0), SAROS_E_REFUSED, NULL);
  CHECK(p.text == NULL);
  char *large = malloc(REPO_PASSWORD_MOST + 1);
  memset(large, 'z', REPO_PASSWORD_MOST + 1);
  CHECK_GOOD(repo_password_text(&p, large, REPO_PASSWORD_MOST));
  CHECK_INT(p.size, REPO_PASSWORD_MOST);
  REFUSED(repo_password_text(&p, large, REPO_PASSWORD_MOST + 1),
          SAROS_E_INVALIDARG, "zz");
  free(large);
  repo_password_clear(&p);
  repo_password_clear(&p);
}

TEST(file) {
  static const char *const files[][2] = {
      {"word", "word"},       {"word\n", "word"},       {"word\n\n", "word\n"},
      {"word\r\n", "word\r"}, {" a word ", " a word "}, {"\nword", "\nword"},
  };
  repo_password p = {0};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    CHECK_PASSWORD(
        repo_password_file(&p, file_with(files[i][0], strlen(files[i][0]))),
        files[i][1]);
  REFUSED(repo_password_file(&p, file_with("", 0)), SAROS_E_REFUSED, NULL);
  REFUSED(repo_password_file(&p, file_with("\n", 1)), SAROS_E_REFUSED, NULL);
  error *e = repo_password_file(&p, "/nonexistent/file");
  CHECK(e != NULL && e->number == ENOENT);
  CHECK(e != NULL && e->path != NULL);
  error_unref(e);
  e = repo_password_file(&p, folder);
  CHECK(e != NULL && e->number == EISDIR);
  error_unref(e);
  REFUSED(repo_password_file(&p, "/dev/zero"), SAROS_E_INVALIDARG, NULL);
  CHECK(p.text == NULL);
}

TEST(variable) {
  repo_password p = {0};
  setenv("SAROS_TEST_WORD", "a word\n", 1);
  CHECK_PASSWORD(repo_password_variable(&p, "SAROS_TEST_WORD"), "a word\n");
  setenv("SAROS_TEST_WORD", "", 1);
  REFUSED(repo_password_variable(&p, "SAROS_TEST_WORD"), SAROS_E_REFUSED, NULL);
  unsetenv("SAROS_TEST_WORD");
  REFUSED(repo_password_variable(&p, "SAROS_TEST_WORD"), SAROS_E_INVALIDARG,
          NULL);
}


/* ------------------------------------------------------------------
** Commands
** ---------------------------------------------------------------- */

static error *shell(repo_password *p, const char *line) {
  const char *argv[] = {"sh", "-c", line, NULL};
  return repo_password_command(p, argv, NULL);
}

/* Whether there is a child that nobody has reaped. */
static bool has_child(void) {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

TEST(command) {
  repo_password p = {0};
  const char *plain[] = {"echo", "$HOME `x`", NULL};
  CHECK_PASSWORD(repo_password_command(&p, plain, NULL), "$HOME `x`");
  CHECK_PASSWORD(shell(&p, "printf 'one\\n\\n'"), "one\n");
  CHECK_PASSWORD(shell(&p, "printf 'on'; printf 'e\\n'"), "one");
  CHECK_PASSWORD(shell(&p, "cat; echo input is empty"), "input is empty");
  REFUSED(shell(&p, "exit 0"), SAROS_E_REFUSED, NULL);
  REFUSED(shell(&p, "echo tiger; exit 3"), SAROS_E_EXIT, "tiger");
  REFUSED(shell(&p, "echo tiger; kill -9 $$"), SAROS_E_SIGNAL, "tiger");
  REFUSED(shell(&p, "cat /dev/zero"), SAROS_E_INVALIDARG, NULL);
  REFUSED(shell(&p, "kill -STOP $$"), SAROS_E_FAIL, NULL);
  const char *none[] = {"/nonexistent/tiger", "lion", NULL};
  error *e = repo_password_command(&p, none, NULL);
  CHECK(e != NULL && e->number == ENOENT);
  CHECK(e != NULL && strstr(e->message, "tiger") == NULL);
  CHECK(e != NULL && e->path == NULL);
  error_unref(e);
  CHECK(p.text == NULL);
  CHECK(!has_child());
}

/* Whatever it leaves running dies with it. */
TEST(its_group_ends_with_it) {
  repo_password p = {0};
  CHECK_GOOD(shell(&p, "sleep 1000 >/dev/null & echo $!"));
  char text[16] = "";
  memcpy(text, p.text, p.size < 15 ? p.size : 15);
  pid_t left = (pid_t)atol(text);
  CHECK(left > 1);
  /* A zombie is nobody's to wait for here but init's; it is dead all the
     same. */
  for (int i = 0; i < 6000 && left > 1; i++) {
    char path[64], line[256] = "", *state;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)left);
    FILE *f = fopen(path, "r");
    if (f == NULL) break;
    bool got = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    state = strrchr(line, ')');
    if (!got || (state != NULL && state[2] == 'Z')) break;
    usleep(10000);
    CHECK(i < 5999);
  }
  repo_password_clear(&p);
}

/* What it must not inherit: blocked and ignored signals, descriptors. */
TEST(it_starts_clean) {
  repo_password p = {0};
  sigset_t all, before;
  int spare = open("/dev/null", O_RDONLY); /* without close-on-exec */
  CHECK(spare >= 0);
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  signal(SIGUSR1, SIG_IGN);
  CHECK_PASSWORD(shell(&p, "grep SigBlk /proc/self/status | tr -d '0\\t'"),
                 "SigBlk:");
  REFUSED(shell(&p, "kill -USR1 $$; echo tiger"), SAROS_E_SIGNAL, "tiger");
  signal(SIGUSR1, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, NULL);
  char line[64];
  snprintf(line, sizeof line, "test -e /proc/self/fd/%d || echo closed", spare);
  CHECK_PASSWORD(shell(&p, line), "closed");
  close(spare);
}

/* Also where a program has closed its own. */
TEST(without_standard_descriptors) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    repo_password p = {0};
    close(0);
    close(1);
    close(2);
    error *e = shell(&p, "echo tiger");
    _exit(e == NULL && p.size == 5 && memcmp(p.text, "tiger", 5) == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
}

typedef struct counting_stop {
  repo_stop stop; /* first */
  atomic_int left;
} counting_stop;

static bool count_down(const repo_stop *stop) {
  counting_stop *c = (counting_stop *)(uintptr_t)stop;
  return atomic_fetch_sub(&c->left, 1) <= 0;
}

TEST(cancelled) {
  repo_password p = {0};
  for (int looks = 0; looks < 3; looks++) {
    counting_stop c = {{count_down}, looks};
    const char *argv[] = {"sleep", "1000", NULL};
    REFUSED(repo_password_command(&p, argv, &c.stop), SAROS_E_CANCELLED, NULL);
    counting_stop d = {{count_down}, looks};
    const char *deaf[] = {"sh", "-c",
                          "trap '' TERM INT HUP; exec >&-; sleep 1000", NULL};
    REFUSED(repo_password_command(&p, deaf, &d.stop), SAROS_E_CANCELLED, NULL);
  }
  CHECK(!has_child());
}


/* ------------------------------------------------------------------
** As restic does it
** ---------------------------------------------------------------- */

/* The words with a bar between them, or "-". */
static const char *split(const char *line) {
  static char out[256];
  error *e = NULL;
  value *words = repo_password_words(line, &e);
  strcpy(out, words == NULL ? "-" : "");
  for (uint32_t i = 0; words != NULL && i < words->count; i++) {
    if (i > 0) strcat(out, "|");
    strcat(out, value_chars(words->as.items[i], "?"));
  }
  CHECK((words == NULL) == (e != NULL));
  error_unref(e);
  value_free(words);
  return out;
}

TEST(words) {
  CHECK_TEXT(split("pass show backup"), "pass|show|backup");
  CHECK_TEXT(split("  pass\tshow  "), "pass|show");
  CHECK_TEXT(split("a \"b c\" d"), "a|b c|d");
  CHECK_TEXT(split("a 'b \"c' d"), "a|b \"c|d");
  CHECK_TEXT(split("a 'b' 'c'"), "a|b|c");
  CHECK_TEXT(split("a'b'c"), "a|b|c");
  CHECK_TEXT(split("a $HOME"), "a|$HOME");
  CHECK_TEXT(split("a 'b"), "-");
  CHECK_TEXT(split("a \"b"), "-");
  CHECK_TEXT(split(""), "-");
  CHECK_TEXT(split("  "), "-");
}

static void unset_all(void) {
  unsetenv("RESTIC_PASSWORD");
  unsetenv("RESTIC_PASSWORD_FILE");
  unsetenv("RESTIC_PASSWORD_COMMAND");
}

TEST(environment) {
  repo_password p = {0};
  unset_all();
  REFUSED(repo_password_restic(&p, NULL), SAROS_E_INVALIDARG, NULL);
  setenv("RESTIC_PASSWORD", " word \n", 1);
  CHECK_PASSWORD(repo_password_restic(&p, NULL), " word \n");
  CHECK_PASSWORD(repo_password_value(&p, NULL, NULL), " word \n");
  setenv("RESTIC_PASSWORD_FILE", file_with(" two words \r\n\n", 14), 1);
  CHECK_PASSWORD(repo_password_restic(&p, NULL), "two words");
  file_with("\xEF\xBB\xBFword\n", 8);
  CHECK_PASSWORD(repo_password_restic(&p, NULL), "word");
  file_with(" \n", 2);
  REFUSED(repo_password_restic(&p, NULL), SAROS_E_REFUSED, NULL);
  setenv("RESTIC_PASSWORD_COMMAND", "printf ' three  $HOME words \\n'", 1);
  REFUSED(repo_password_restic(&p, NULL), SAROS_E_INVALIDARG, "HOME");
  unsetenv("RESTIC_PASSWORD_FILE");
  CHECK_PASSWORD(repo_password_restic(&p, NULL), "three  $HOME words");
  setenv("RESTIC_PASSWORD_COMMAND", "tiger", 1); /* who mixed them up */
  error *e = repo_password_restic(&p, NULL);
  CHECK(e != NULL && e->number == ENOENT);
  CHECK(e != NULL && strstr(e->message, "tiger") == NULL);
  error_unref(e);
  unset_all();
}

static error *by_value(repo_password *p, const char *json) {
  error *e = NULL;
  value *v = json_read(json, strlen(json), NULL, &e);
  if (v == NULL) return e;
  e = repo_password_value(p, v, NULL);
  value_free(v);
  return e;
}

TEST(values) {
  repo_password p = {0};
  char json[128];
  snprintf(json, sizeof json, "{\"file\":\"%s\"}",
           file_with("in a file\n", 10));
  setenv("SAROS_TEST_WORD", "word", 1);
  CHECK_PASSWORD(by_value(&p, "\"plain\""), "plain");
  CHECK_PASSWORD(by_value(&p, "{\"text\":\"plain\"}"), "plain");
  CHECK_PASSWORD(by_value(&p, json), "in a file");
  CHECK_PASSWORD(by_value(&p, "{\"env\":\"SAROS_TEST_WORD\"}"), "word");
  CHECK_PASSWORD(by_value(&p, "{\"command\":[\"echo\",\"$a b\"]}"), "$a b");
  CHECK_PASSWORD(by_value(&p, "{\"command\":\"a=x; echo $a b\"}"), "x b");
  CHECK_GOOD(by_value(&p, "{\"none\":true}"));
  CHECK(p.size == 0);
  static const char *const bad[] = {
      "7",
      "[]",
      "{}",
      "{\"none\":false}",
      "{\"text\":7}",
      "{\"file\":\"\"}",
      "{\"file\":7}",
      "{\"tiger\":\"lion\"}",
      "{\"command\":[]}",
      "{\"command\":[7]}",
      "{\"command\":[\"\"]}",
      "{\"command\":7}",
      "{\"command\":[\"a\\u0000b\"]}",
      "{\"file\":\"a\\u0000b\"}",
      "{\"text\":\"tiger\",\"env\":\"lion\"}",
      "{\"command\":[\"echo\",7]}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    REFUSED(by_value(&p, bad[i]), SAROS_E_INVALIDARG, "tiger");
  REFUSED(by_value(&p, "\"\""), SAROS_E_REFUSED, NULL);
  CHECK(p.text == NULL);
  unsetenv("SAROS_TEST_WORD");
}


/* ------------------------------------------------------------------
** Where it must not be
** ---------------------------------------------------------------- */

/* The word is put together where nobody looks, so that it is nowhere but in
   what is being tested. */
static bool holds_word(const char *at, size_t size) {
  static const char masked[] = "sepfs.ofhfof.sfujh"; /* each one too far */
  size_t n = sizeof masked - 1;
  for (size_t i = 0; i + n <= size; i++) {
    size_t same = 0;
    while (same < n && at[i + same] == (char)(masked[same] - 1)) same++;
    if (same == n) return true;
  }
  return false;
}

/* How many mappings that a core dump would have hold it. */
static int dumped(void) {
  FILE *f = fopen("/proc/self/smaps", "r");
  int mem = open("/proc/self/mem", O_RDONLY), found = 0;
  static char line[512], page[1 << 16];
  unsigned long long from = 0, to = 0, a, b;
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    char mode[8];
    if (sscanf(line, "%llx-%llx %7s", &a, &b, mode) == 3) {
      from = a;
      to = mode[1] == 'w' ? b : a;
    }
    if (strncmp(line, "VmFlags:", 8) != 0 || strstr(line, " dd") != NULL)
      continue;
    for (; from < to; from += sizeof page - 32) {
      size_t n = to - from < sizeof page ? (size_t)(to - from) : sizeof page;
      ssize_t got = pread(mem, page, n, (off_t)from);
      /* Not what we look with. */
      if (got > 0 && !(from <= (uintptr_t)page + sizeof page &&
                       from + n >= (uintptr_t)page))
        found += holds_word(page, (size_t)got);
      memset(page, 0, sizeof page);
    }
  }
  if (f != NULL) fclose(f);
  if (mem >= 0) close(mem);
  return found;
}

static void write_word(const char *path) {
  static const char masked[] = "sepfs.ofhfof.sfujh";
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  char word[sizeof masked];
  for (size_t i = 0; i + 1 < sizeof masked; i++)
    word[i] = (char)(masked[i] - 1);
  CHECK_INT(write(fd, word, sizeof masked - 1), sizeof masked - 1);
  repo_wipe(word, sizeof word);
  close(fd);
}

TEST(no_core_dump_has_it) {
  if (getenv("SAROS_SANITIZER") != NULL)
    SKIP("a sanitizer keeps copies of its own");
  repo_password p = {0};
  uint8_t salt[64] = {1}, out[64];
  char path[64], command[128];
  snprintf(path, sizeof path, "%s/file", folder);
  write_word(path);
  CHECK_INT(dumped(), 0);
  CHECK_GOOD(repo_password_file(&p, path));
  CHECK(holds_word(p.text, p.size)); /* we do find it */
  CHECK_GOOD(repo_scrypt(p.text, p.size, salt, 1024, 8, 1, out));
  CHECK_INT(dumped(), 0);
  char *leak = malloc(32); /* and it would be found */
  memcpy(leak, p.text, p.size);
  CHECK_INT(dumped(), 1);
  memset(leak, 0, 32);
  __asm__ volatile("" ::"r"(leak) : "memory");
  free(leak);
  repo_password_clear(&p);
  snprintf(command, sizeof command, "cat %s", path);
  CHECK_GOOD(shell(&p, command));
  CHECK(holds_word(p.text, p.size));
  CHECK_INT(dumped(), 0);
  repo_password_clear(&p);
  CHECK_INT(dumped(), 0);
}

#ifdef SAROS_TEST
static bool whole_life(void) {
  repo_password p = {0};
  error *e = by_value(&p, "{\"command\":[\"echo\",\"a\"]}");
  if (e == NULL) {
    setenv("RESTIC_PASSWORD_COMMAND", "echo 'a b'", 1);
    e = repo_password_restic(&p, NULL);
  }
  bool whole = e == NULL;
  CHECK(whole || e->code == SAROS_E_OUTOFMEMORY);
  CHECK(whole == (p.text != NULL));
  error_unref(e);
  repo_password_clear(&p);
  unset_all();
  return whole;
}
#endif

TEST(without_memory) {
#ifdef SAROS_TEST
  unset_all();
  SWEEP(whole_life, 5);
  CHECK(!has_child());
#else
  SKIP("needs -DSAROS_TEST");
#endif
}

int main(int argc, char **argv) {
  char path[64];
  check_begin(argc, argv);
  if (mkdtemp(folder) == NULL) return 1;
  RUN(text);
  RUN(file);
  RUN(variable);
  RUN(command);
  RUN(its_group_ends_with_it);
  RUN(it_starts_clean);
  RUN(without_standard_descriptors);
  RUN(cancelled);
  RUN(words);
  RUN(environment);
  RUN(values);
  RUN(no_core_dump_has_it);
  RUN(without_memory);
  snprintf(path, sizeof path, "%s/file", folder);
  unlink(path);
  rmdir(folder);
  return check_end();
}
