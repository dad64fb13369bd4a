/*
** mounts: the mount table.
**
** A name in it has its blanks, newlines, backslashes and '#' as \ooo; what is
** not such an escape is taken as it stands. A line that cannot be understood
** is left out: a table with a hole is better than none.
*/
#include "vss/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vss/vss.h"


/* ------------------------------------------------------------------
** Reading a line
** ---------------------------------------------------------------- */

static bool is_octal(char c) {
  return c >= '0' && c <= '7';
}


/* In place. */
static void decode(char *text) {
  char *to = text;
  for (const char *at = text; *at != '\0'; to++) {
    if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && is_octal(at[2]) &&
        is_octal(at[3])) {
      int byte = (at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0');
      *to = (char)byte;
      at += 4;
    } else {
      *to = *at++;
    }
  }
  *to = '\0';
}


/* The next word of a line, which it ends; NULL when there is none. */
static char *word(char **line) {
  char *begin = *line;
  if (begin == NULL || *begin == '\0') return NULL;
  char *blank = strchr(begin, ' ');
  if (blank != NULL) *blank = '\0';
  *line = blank != NULL ? blank + 1 : NULL;
  return begin;
}


static char *decoded(char *text) {
  if (text != NULL) decode(text);
  return mem_text(text);
}


static void free_entry(mount_entry *m) {
  mem_free(m->root);
  mem_free(m->point);
  mem_free(m->options);
  mem_free(m->type);
  mem_free(m->source);
}


/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=…":
   0, EINVAL when it is no such line, or ENOMEM. */
static int parse_line(char *line, mount_entry *m) {
  unsigned long long id;
  unsigned a, b;
  char *number = word(&line), *parent = word(&line), *dev = word(&line);
  char *root = word(&line), *point = word(&line), *options = word(&line);
  char *more = word(&line); /* optional fields, up to a dash */
  while (more != NULL && strcmp(more, "-") != 0) more = word(&line);
  char *type = word(&line), *source = word(&line), *super = word(&line);
  if (parent == NULL || options == NULL || type == NULL ||
      sscanf(number, "%llu", &id) != 1 || sscanf(dev, "%u:%u", &a, &b) != 2)
    return EINVAL;
  buffer both = BUFFER_EMPTY;
  buffer_text(&both, options);
  if (super != NULL) buffer_format(&both, ",%s", super);
  *m = (mount_entry){
      .id = id,
      .dev = makedev(a, b),
      .root = decoded(root),
      .point = decoded(point),
      .options = buffer_take(&both),
      .type = decoded(type),
      .source = source != NULL ? decoded(source) : mem_text(""),
  };
  if (m->root != NULL && m->point != NULL && m->options != NULL &&
      m->type != NULL && m->source != NULL)
    return 0;
  free_entry(m);
  return ENOMEM;
}


/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

void mount_table_free(mount_table *t) {
  if (t == NULL) return;
  for (size_t i = 0; t->items != NULL && i < t->count; i++)
    free_entry(&t->items[i]);
  mem_free(t->items);
  mem_free(t);
}


mount_table *mount_table_parse(char *text, size_t size) {
  mount_table *t = mem_zero(sizeof *t);
  size_t room = 1;
  for (size_t i = 0; i < size; i++) room += text[i] == '\n';
  if (t != NULL) t->items = mem_zero(room * sizeof *t->items);
  if (t == NULL || t->items == NULL) {
    mount_table_free(t);
    return NULL;
  }
  for (char *line = text, *end = text + size; line < end;) {
    char *newline = memchr(line, '\n', (size_t)(end - line));
    if (newline == NULL) break; /* the last line is whole, or is no line */
    *newline = '\0';
    int failed = parse_line(line, &t->items[t->count]);
    if (failed == ENOMEM) {
      mount_table_free(t);
      return NULL;
    }
    if (failed == 0) t->count++;
    line = newline + 1;
  }
  return t;
}


static int read_all(const char *path, buffer *text) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  for (;;) {
    char *room = buffer_room(text, 65536);
    ssize_t n = room != NULL ? read(fd, room, 65536) : -1;
    if (n < 0 && room != NULL && errno == EINTR)
      n = 0;
    else if (n <= 0) {
      int failed = room == NULL ? ENOMEM : n < 0 ? errno : 0;
      close(fd);
      return failed;
    }
    text->size += (size_t)n;
  }
}


mount_table *mount_table_read(error **e) {
  static const char path[] = "/proc/self/mountinfo";
  buffer text = BUFFER_EMPTY;
  int failed = read_all(path, &text);
  if (failed == ENOMEM || text.failed) {
    *e = error_no_memory();
  } else if (failed != 0) {
    *e = error_of_errno(SAROS_FACADE_VSS, failed,
                        "the mount table cannot be read; is /proc mounted?",
                        path);
  }
  mount_table *t = NULL;
  if (failed == 0) {
    t = mount_table_parse(text.data, text.size);
    if (t == NULL) *e = error_no_memory();
  }
  buffer_free(&text);
  return t;
}


const mount_entry *mount_table_find(const mount_table *t, uint64_t id) {
  for (size_t i = 0; i < t->count; i++)
    if (t->items[i].id == id) return &t->items[i];
  return NULL;
}


/* Kernels before 5.8 tell it in fdinfo alone. */
static int mount_id_by_fdinfo(int fd, uint64_t *id) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  int info = open(path, O_RDONLY | O_CLOEXEC);
  if (info < 0) return errno;
  ssize_t n = read(info, text, sizeof text - 1);
  close(info);
  if (n < 0) return EIO;
  text[n] = '\0';
  unsigned long long found;
  const char *at = strstr(text, "mnt_id:");
  if (at == NULL || sscanf(at + 7, "%llu", &found) != 1) return ENOSYS;
  *id = found;
  return 0;
}


int mount_id_of(int fd, uint64_t *id) {
#ifdef STATX_MNT_ID
  struct statx sx;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &sx) ==
          0 &&
      (sx.stx_mask & STATX_MNT_ID) != 0) {
    *id = sx.stx_mnt_id;
    return 0;
  }
#endif
  return mount_id_by_fdinfo(fd, id);
}
