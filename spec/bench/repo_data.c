/*
** What is backed up when backups are compared: four sets that stress four
** things, the same to the byte on every machine.
**
**   repo_data SET DIR [PERMILLE]           makes it
**   repo_data SET DIR PERMILLE change N    changes it as time goes by; another
**                                          N is another change
**
** A  4 files of 512 MiB of noise: what is hashed. Change: 1 MiB is inserted.
** B  8 files of 256 MiB of prose, logs and records: what is compressed.
**    Change: 16 MiB more in two of them.
** C  100,000 files of 2 to 20 KiB in 5,000 directories, text and noise: what is
**    opened and told. Change: one in a hundred is written anew.
** D  1 GiB of pages of a database. Change: one page in a hundred.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)8192)

static void die(const char *what) {
  perror(what);
  exit(1);
}


/* ------------------------------------------------------------------
** Chance: xoshiro256**
** ---------------------------------------------------------------- */

static uint64_t state[4];

static void seed(uint64_t x) {
  for (int i = 0; i < 4; i++) {
    uint64_t z = x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    state[i] = z ^ z >> 31;
  }
}

static uint64_t turn(uint64_t x, int by) {
  return x << by | x >> (64 - by);
}

static uint64_t any(void) {
  uint64_t result = turn(state[1] * 5, 7) * 9, kept = state[1] << 17;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= kept;
  state[3] = turn(state[3], 45);
  return result;
}

static unsigned below(unsigned n) {
  return (unsigned)(any() % n);
}

static void fill_noise(char *to, size_t size) {
  for (size_t i = 0; i < size; i += 8) {
    uint64_t x = any();
    memcpy(to + i, &x, size - i < 8 ? size - i : 8);
  }
}


/* ------------------------------------------------------------------
** Words: a vocabulary, of which a few are had all the time
** ---------------------------------------------------------------- */

enum { WORDS = 20000 };

static char words[WORDS][40];
static uint16_t by_chance[1 << 16];

static void make_words(void) {
  static const char *const first[] = {
      "b", "c", "d", "f", "g",  "h",  "k",  "l",  "m",  "n",  "p",  "r",
      "s", "t", "v", "w", "st", "tr", "pl", "qu", "ch", "sh", "th", "br"};
  static const char *const middle[] = {"a",  "e",  "i",  "o", "u",
                                       "ea", "ou", "io", "ai"};
  static const char *const last[] = {"",  "",   "n",  "r",  "s", "t",
                                     "l", "nd", "ng", "st", "m"};
  seed(4242);
  for (unsigned i = 0; i < WORDS; i++) {
    unsigned parts = i > 30 ? 2 : 1;
    if (i > 600) parts += below(2);
    if (i > 4000) parts += below(2);
    for (; parts > 0; parts--) {
      strcat(words[i], first[below(24)]);
      strcat(words[i], middle[below(9)]);
      strcat(words[i], last[below(11)]);
    }
  }
  /* As often as its place in the list says (Zipf). */
  double all = 0, sum = 0;
  for (int i = 0; i < WORDS; i++) all += 1 / (i + 2.7);
  unsigned at = 0;
  for (int i = 0; i < WORDS; i++) {
    sum += 1 / (i + 2.7) / all;
    while (at < 65536 && at < (unsigned)(sum * 65536))
      by_chance[at++] = (uint16_t)i;
  }
  while (at < 65536) by_chance[at++] = WORDS - 1;
}

static const char *word(void) {
  return words[by_chance[any() & 65535]];
}

static char line[2048];
static size_t line_size;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line + line_size, sizeof line - line_size, format, list);
  va_end(list);
  if (n > 0) line_size += (size_t)n;
}

static void say_prose(void) {
  for (unsigned i = 6 + below(14); i > 0; i--) say("%s ", word());
  line[0] = (char)(line[0] - 'a' + 'A');
  line[line_size - 1] = below(5) != 0 ? '.' : '?';
  say("\n");
}

static void say_log(uint64_t ms) {
  static const char *const levels[] = {"INFO",  "INFO", "INFO",
                                       "DEBUG", "WARN", "ERROR"};
  say("%llu.%03u %s [%s-%u] ", (unsigned long long)(ms / 1000),
      (unsigned)(ms % 1000), levels[below(6)], word(), below(32));
  say("10.%u.%u.%u %s ", below(4), below(256), below(256), word());
  say("%s id=%016llx took=%ums\n", word(), (unsigned long long)any(),
      below(2000));
}

static void say_record(void) {
  say("{\"id\":%u,\"name\":\"%s\",", below(1000000), word());
  say("\"kind\":\"%s\",\"value\":%u.%02u,", word(), below(10000), below(100));
  say("\"tags\":[\"%s\",\"%s\"],", word(), word());
  say("\"ok\":%s}\n", below(2) != 0 ? "true" : "false");
}

static void fill_text(char *to, size_t size) {
  uint64_t ms = 1700000000000u + below(1000000000);
  for (size_t at = 0, n; at < size; at += n) {
    unsigned kind = below(8);
    line_size = 0;
    if (kind < 4) {
      say_prose();
    } else if (kind < 7) {
      ms += below(5000);
      say_log(ms);
    } else {
      say_record();
    }
    n = line_size < size - at ? line_size : size - at;
    memcpy(to + at, line, n);
  }
}

/* A header, line pointers, a gap, and rows from the end. */
static void fill_page(char *to, uint32_t number) {
  uint64_t stamp = any();
  size_t top = PAGE, pointer = 24;
  memset(to, 0, PAGE);
  memcpy(to, &number, 4);
  memcpy(to + 8, &stamp, 8);
  for (unsigned rows = 20 + below(30); rows > 0; rows--) {
    char key[12], sum[16];
    fill_noise(key, sizeof key);
    fill_noise(sum, sizeof sum);
    line_size = 0;
    say("%s %s@%s.com", word(), word(), word());
    size_t name = line_size;
    say("%s %s %s %s ", word(), word(), word(), word());
    say("%s %s", word(), word());
    size_t size = sizeof key + line_size + sizeof sum;
    if (top < pointer + 8 + size) break;
    top -= size;
    memcpy(to + top, key, sizeof key);
    memcpy(to + top + sizeof key, line, name);
    memcpy(to + top + sizeof key + name, sum, sizeof sum);
    memcpy(to + top + sizeof key + name + sizeof sum, line + name,
           line_size - name);
    uint16_t where[2] = {(uint16_t)top, (uint16_t)size};
    memcpy(to + pointer, where, sizeof where);
    pointer += sizeof where;
  }
}


/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

static char bytes[MIB];
static const char *dir;
static size_t permille = 1000;
static char path[4096];

static void name(const char *what, unsigned n) {
  snprintf(path, sizeof path, "%s/%s%u", dir, what, n);
}

static int open_it(int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0644);
  if (fd < 0) die(path);
  return fd;
}

static void put(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n <= 0) die(path);
    data += n;
    size -= (size_t)n;
  }
}

/* Times that do not depend on when this is run, and move with each change. */
static void end(int fd, unsigned change) {
  struct timespec t[2] = {{1700000000 + change, 123456789},
                          {1700000000 + change, 123456789}};
  if (futimens(fd, t) != 0 || close(fd) != 0) die(path);
}

static void make_large(const char *what, unsigned files, size_t mib,
                       unsigned from, void (*fill)(char *to, size_t size)) {
  for (unsigned i = 0; i < files; i++) {
    name(what, i);
    int fd = open_it(O_WRONLY | O_CREAT | O_TRUNC);
    seed(from + i);
    for (size_t n = mib * permille / 1000; n > 0; n--) {
      fill(bytes, MIB);
      put(fd, bytes, MIB);
    }
    end(fd, 0);
  }
}

static void insert(unsigned change) {
  static char noise[MIB];
  struct stat st;
  name("noise", 1);
  int from = open_it(O_RDONLY);
  if (fstat(from, &st) != 0) die(path);
  size_t half = (size_t)st.st_size / 2 / MIB;
  name("new", 1);
  int to = open_it(O_WRONLY | O_CREAT | O_TRUNC);
  seed(101010 + change);
  fill_noise(noise, MIB);
  ssize_t n;
  for (size_t k = 0; (n = read(from, bytes, MIB)) > 0; k++) {
    if (k == half) put(to, noise, MIB);
    put(to, bytes, (size_t)n);
  }
  close(from);
  end(to, change);
  char other[sizeof path];
  memcpy(other, path, sizeof other);
  name("noise", 1);
  if (rename(other, path) != 0) die(path);
}

static void append(unsigned change) {
  for (unsigned i = 0; i < 2; i++) {
    name("text", i);
    int fd = open_it(O_WRONLY | O_APPEND);
    seed(2222 + 2 * change + i);
    size_t left = 16 * MIB * permille / 1000;
    for (size_t n; left > 0; left -= n) {
      n = left < MIB ? left : MIB;
      fill_text(bytes, n);
      put(fd, bytes, n);
    }
    end(fd, change);
  }
}

/* The directories of a path. */
static void make_way(void) {
  for (char *p = path + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
    *p = '\0';
    if (mkdir(path, 0755) != 0 && errno != EEXIST) die(path);
  }
}

/* Twenty a directory, five levels deep; a third is text, a sixth noise, the
   rest half of each. */
static void make_small(unsigned i, uint64_t from, unsigned change) {
  unsigned d = i / 20;
  int size =
      snprintf(path, sizeof path, "%s/p%u/mod%u/src%u/pkg%u/unit%u/file%06u.%s",
               dir, d % 4, d / 4 % 5, d / 20 % 5, d / 100 % 5, d / 500, i,
               i % 3 != 0 ? "txt" : "dat");
  if (size < 0) die("the name");
  if (i % 20 == 0) make_way();
  seed(from + i);
  size_t n = 2048 + below(18433), noise = i % 6 == 0 ? n : n / 2;
  if (i % 3 != 0) noise = 0;
  fill_noise(bytes, noise);
  fill_text(bytes + noise, n - noise);
  int fd = open_it(O_WRONLY | O_CREAT | O_TRUNC);
  put(fd, bytes, n);
  end(fd, i % 10000000 + change);
}

static unsigned small_count(void) {
  return (unsigned)(100000 * permille / 1000);
}

static void make_pages(void) {
  uint32_t count = (uint32_t)(131072 * permille / 1000);
  name("table", 0);
  int fd = open_it(O_WRONLY | O_CREAT | O_TRUNC);
  seed(400);
  for (uint32_t i = 0; i < count; i++) {
    fill_page(bytes, i);
    put(fd, bytes, PAGE);
  }
  end(fd, 0);
}

static void change_pages(unsigned change) {
  unsigned count = (unsigned)(131072 * permille / 1000);
  name("table", 0);
  int fd = open_it(O_WRONLY);
  seed(400 + change);
  for (unsigned n = count / 100; n > 0; n--) {
    uint32_t i = below(count);
    fill_page(bytes, i);
    if (pwrite(fd, bytes, PAGE, (off_t)(i * PAGE)) != (ssize_t)PAGE) die(path);
  }
  end(fd, change);
}


/* ------------------------------------------------------------------ */

static int make(char set) {
  if (mkdir(dir, 0755) != 0 && errno != EEXIST) die(dir);
  switch (set) {
    case 'A': make_large("noise", 4, 512, 100, fill_noise); return 0;
    case 'B': make_large("text", 8, 256, 200, fill_text); return 0;
    case 'C':
      for (unsigned i = 0; i < small_count(); i++) make_small(i, 300000, 0);
      return 0;
    case 'D': make_pages(); return 0;
    default: return 2;
  }
}

static int change(char set, unsigned n) {
  switch (set) {
    case 'A': insert(n); return 0;
    case 'B': append(n); return 0;
    case 'C':
      for (unsigned i = n % 100; i < small_count(); i += 100)
        make_small(i, 900000 * (uint64_t)n, n);
      return 0;
    case 'D': change_pages(n); return 0;
    default: return 2;
  }
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4 && argc != 6) return 2;
  dir = argv[2];
  if (argc > 3) permille = strtoul(argv[3], NULL, 10);
  make_words();
  if (argc < 6) return make(argv[1][0]);
  return change(argv[1][0], (unsigned)strtoul(argv[5], NULL, 10));
}
