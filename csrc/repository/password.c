/*
** password: from a string, a file, a variable, or a description of one of
** them. Commands are in password_command.c.
*/
#include "repository/password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/crypto.h"
#include "repository/password_parts.h"


void repo_password_clear(repo_password *p) {
  repo_secret_free(p->text, REPO_PASSWORD_MOST);
  *p = (repo_password){0};
}


error *password_begin(repo_password *p) {
  repo_password_clear(p);
  p->text = repo_secret_new(REPO_PASSWORD_MOST);
  return p->text != NULL ? NULL : error_no_memory();
}


error *password_end(repo_password *p, error *e, const char *origin) {
  if (e == NULL && p->size == 0)
    e = repo_error(SAROS_E_REFUSED,
                   "the password %s is empty; if there shall be none, say so",
                   origin);
  if (e != NULL) repo_password_clear(p);
  return e;
}


error *password_too_long(const char *origin) {
  return repo_error(SAROS_E_INVALIDARG,
                    "the password %s is longer than %zu bytes; is it one?",
                    origin, REPO_PASSWORD_MOST);
}


static void strip_newline(repo_password *p) {
  if (p->size > 0 && p->text[p->size - 1] == '\n') p->size--;
}


/* ASCII's, of which a password may well be surrounded by an editor. */
static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}


static void strip_spaces(repo_password *p) {
  size_t front = 0;
  while (p->size > 0 && is_space(p->text[p->size - 1])) p->size--;
  while (front < p->size && is_space(p->text[front])) front++;
  p->size -= front;
  memmove(p->text, p->text + front, p->size);
}


/* ------------------------------------------------------------------
** String, file, variable
** ---------------------------------------------------------------- */

static error *copy(repo_password *p, const char *text, size_t size,
                   const char *origin) {
  if (size > REPO_PASSWORD_MOST) return password_too_long(origin);
  error *e = password_begin(p);
  if (e == NULL) {
    memcpy(p->text, text, size);
    p->size = size;
  }
  return password_end(p, e, origin);
}


error *repo_password_text(repo_password *p, const char *text, size_t size) {
  return copy(p, text, size, "that was given");
}


error *password_read(repo_password *p, int fd) {
  for (;;) {
    char more;
    bool full = p->size == REPO_PASSWORD_MOST;
    ssize_t got =
        full ? read(fd, &more, 1)
             : read(fd, p->text + p->size, REPO_PASSWORD_MOST - p->size);
    if (got == 0) return NULL;
    if (got > 0 && full) return password_too_long("there");
    if (got > 0) p->size += (size_t)got;
    if (got < 0 && errno != EINTR)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            "the password cannot be read", NULL);
  }
}


/* Unbuffered: a stream's buffer would stay in memory. */
static error *read_file(repo_password *p, const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno,
                          "the password file cannot be opened", path);
  error *e = password_begin(p);
  if (e == NULL) e = password_read(p, fd);
  close(fd);
  return e != NULL ? error_at(e, path) : NULL;
}


error *repo_password_file(repo_password *p, const char *path) {
  error *e = read_file(p, path);
  if (e == NULL) strip_newline(p);
  return password_end(p, e, "in the file");
}


error *repo_password_command(repo_password *p, const char *const argv[],
                             const repo_stop *stop) {
  error *e = password_begin(p);
  if (e == NULL) e = password_run(p, argv, stop);
  if (e == NULL) strip_newline(p);
  return password_end(p, e, "that the command printed");
}


error *repo_password_variable(repo_password *p, const char *name) {
  const char *text = getenv(name);
  if (text == NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "there is no variable %s in the environment, in which "
                      "the password should be",
                      name);
  return copy(p, text, strlen(text), "in the environment");
}


/* ------------------------------------------------------------------
** As restic does it
** ---------------------------------------------------------------- */

static const char *set_variable(const char *name) {
  const char *text = getenv(name);
  return text != NULL && text[0] != '\0' ? text : NULL;
}


/* As pointers for exec; they last as long as the list. NULL: no memory. */
static const char **pointers(const value *words) {
  const char **argv = mem_zero((words->count + 1) * sizeof *argv);
  for (uint32_t i = 0; argv != NULL && i < words->count; i++)
    argv[i] = value_chars(words->as.items[i], "");
  return argv;
}


static error *run_line(repo_password *p, const char *line,
                       const repo_stop *stop) {
  error *e = NULL;
  value *words = repo_password_words(line, &e);
  if (words == NULL) return e;
  const char **argv = pointers(words);
  e = argv != NULL ? password_begin(p) : error_no_memory();
  if (e == NULL) e = password_run(p, argv, stop);
  mem_free(argv);
  value_free(words);
  return e;
}


error *repo_password_restic(repo_password *p, const repo_stop *stop) {
  const char *file = set_variable("RESTIC_PASSWORD_FILE");
  const char *command = set_variable("RESTIC_PASSWORD_COMMAND");
  if (file != NULL && command != NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "RESTIC_PASSWORD_FILE and RESTIC_PASSWORD_COMMAND are "
                      "both set; unset one of them");
  if (file == NULL && command == NULL) {
    if (set_variable("RESTIC_PASSWORD") != NULL)
      return repo_password_variable(p, "RESTIC_PASSWORD");
    return repo_error(SAROS_E_INVALIDARG,
                      "no password was given; give one, or set "
                      "RESTIC_PASSWORD, RESTIC_PASSWORD_FILE or "
                      "RESTIC_PASSWORD_COMMAND");
  }
  error *e = file != NULL ? read_file(p, file) : run_line(p, command, stop);
  if (e == NULL && file != NULL && p->size >= 3 &&
      memcmp(p->text, "\xEF\xBB\xBF", 3) == 0) {
    p->size -= 3; /* an editor's mark, no part of it */
    memmove(p->text, p->text + 3, p->size);
  }
  if (e == NULL) strip_spaces(p);
  return password_end(p, e, file != NULL ? "in the file" : "of the command");
}


/* ------------------------------------------------------------------
** As a script says it
** ---------------------------------------------------------------- */

static error *not_understood(void) {
  return repo_error(SAROS_E_INVALIDARG,
                    "a password is a string, or one of { text = }, { file = }, "
                    "{ command = }, { env = } and { none = true }, with "
                    "strings that are not empty");
}


static bool has_nul(const value *v) {
  return memchr(v->as.string.data, '\0', v->as.string.size) != NULL;
}


/* A string that a C function takes whole. */
static bool is_word(const value *v) {
  return v->type == VALUE_STRING && v->as.string.size > 0 && !has_nul(v);
}


static error *run_value(repo_password *p, const value *v,
                        const repo_stop *stop) {
  if (is_word(v)) {
    const char *argv[] = {"/bin/sh", "-c", v->as.string.data, NULL};
    return repo_password_command(p, argv, stop);
  }
  if (v->type != VALUE_LIST || v->count == 0 || !is_word(v->as.items[0]))
    return not_understood();
  for (uint32_t i = 0; i < v->count; i++)
    if (v->as.items[i]->type != VALUE_STRING || has_nul(v->as.items[i]))
      return not_understood();
  const char **argv = pointers(v);
  if (argv == NULL) return error_no_memory();
  error *e = repo_password_command(p, argv, stop);
  mem_free(argv);
  return e;
}


error *repo_password_value(repo_password *p, const value *v,
                           const repo_stop *stop) {
  if (v == NULL || v->type == VALUE_NULL) return repo_password_restic(p, stop);
  if (v->type == VALUE_STRING)
    return repo_password_text(p, v->as.string.data, v->as.string.size);
  if (v->type != VALUE_MAP || v->count != 1) return not_understood();
  const value *item = v->as.fields[0].item;
  const char *kind = v->as.fields[0].name;
  if (strcmp(kind, "command") == 0) return run_value(p, item, stop);
  if (strcmp(kind, "none") == 0 && value_boolean(item, false)) {
    repo_password_clear(p);
    return NULL;
  }
  if (strcmp(kind, "text") == 0 && item->type == VALUE_STRING)
    return repo_password_text(p, item->as.string.data, item->as.string.size);
  if (!is_word(item)) return not_understood();
  if (strcmp(kind, "file") == 0)
    return repo_password_file(p, item->as.string.data);
  if (strcmp(kind, "env") == 0)
    return repo_password_variable(p, item->as.string.data);
  return not_understood();
}
