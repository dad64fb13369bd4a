/*
** Keys from where Amazon's tools keep them: ~/.aws/credentials, a profile for
** each user, and ~/.aws/config for its region.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/store/s3_parts.h"

#define FILE_MOST ((size_t)64 << 10)

/* ------------------------------------------------------------------
** Files: [section], and name = value
** ---------------------------------------------------------------- */

typedef struct field {
  const char *name;
  char *to;
  size_t room;
} field;

static char *trim(char *text) {
  text += strspn(text, " \t\r");
  size_t size = strlen(text);
  while (size > 0 && strchr(" \t\r", text[size - 1]) != NULL)
    text[--size] = '\0';
  return text;
}

/* "[profile x]" is "x" in the one file, and "[x]" in the other. */
static bool is_section(char *line, const char *section) {
  size_t size = strlen(line);
  if (size < 2 || line[size - 1] != ']') return false;
  line[size - 1] = '\0';
  char *name = trim(line + 1);
  if (strncmp(name, "profile", 7) == 0 && strchr(" \t", name[7]) != NULL)
    name = trim(name + 7);
  return strcmp(name, section) == 0;
}

/* Fills what is empty yet. False: a value does not fit. */
static bool take_line(char *line, const field *fields, size_t count) {
  char *equals = strchr(line, '=');
  if (equals == NULL) return true;
  *equals = '\0';
  const char *name = trim(line), *text = trim(equals + 1);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(fields[i].name, name) != 0 || fields[i].to[0] != '\0') continue;
    if (strlen(text) >= fields[i].room) return false;
    memcpy(fields[i].to, text, strlen(text) + 1);
  }
  return true;
}

static bool read_text(char *text, const char *section, const field *fields,
                      size_t count) {
  bool inside = false;
  for (char *line = text; line != NULL;) {
    char *next = strchr(line, '\n');
    if (next != NULL) *next++ = '\0';
    char *t = trim(line);
    if (*t == '[')
      inside = is_section(t, section);
    else if (inside && *t != '#' && *t != ';' && !take_line(t, fields, count))
      return false;
    line = next;
  }
  return true;
}

static error *wrong(const char *path, const char *why) {
  return error_at(repo_error(SAROS_E_INVALIDARG,
                             "the keys of the S3 store are not read: "
                             "%s",
                             why),
                  path);
}

static error *unread(int number, const char *path) {
  return error_of_errno(SAROS_FACADE_SAROS, number,
                        "cannot read the keys of the S3 store", path);
}

static error *slurp(int fd, const char *path, char *text) {
  size_t size = 0;
  for (;;) {
    ssize_t n = read(fd, text + size, FILE_MOST - size);
    if (n < 0 && errno != EINTR) return unread(errno, path);
    if (n == 0) break;
    if (n > 0) size += (size_t)n;
    if (size == FILE_MOST) return wrong(path, "the file is too large");
  }
  text[size] = '\0';
  return NULL;
}

/* One that is not there says nothing. */
static error *read_file(const char *path, const char *section,
                        const field *fields, size_t count) {
  char *text = mem_alloc(FILE_MOST + 1);
  if (text == NULL) return error_no_memory();
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  bool absent = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
  error *e = fd < 0 && !absent ? unread(errno, path) : NULL;
  if (fd >= 0) {
    e = slurp(fd, path, text);
    close(fd);
    if (e == NULL && !read_text(text, section, fields, count))
      e = wrong(path, "a value in the file is too long");
    repo_wipe(text, FILE_MOST + 1);
  }
  mem_free(text);
  return e;
}

/* Where a file of Amazon's tools is; mem_alloc'd, or NULL. */
static char *path_of(const char *variable, const char *name) {
  const char *path = repo_remote_text(NULL, "", variable);
  const char *home = getenv("HOME");
  buffer b = BUFFER_EMPTY;
  if (path != NULL) return mem_text(path);
  buffer_format(&b, "%s/.aws/%s", home != NULL ? home : "", name);
  return buffer_take(&b);
}

static error *read_both(const char *profile, s3_secret *k, char *region) {
  const field keys[] = {
      {"aws_access_key_id", k->access_key, sizeof k->access_key},
      {"aws_secret_access_key", k->secret_key, sizeof k->secret_key},
      {"aws_session_token", k->token, sizeof k->token},
      {"region", region, REPO_S3_REGION}};
  char *credentials = path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials");
  char *config = path_of("AWS_CONFIG_FILE", "config");
  bool both = credentials != NULL && config != NULL;
  error *e =
      both ? read_file(credentials, profile, keys, 4) : error_no_memory();
  if (both && e == NULL) e = read_file(config, profile, keys, 4);
  mem_free(credentials);
  mem_free(config);
  return e;
}

error *repo_s3_profile(const value *options, s3_secret *k, char *region,
                       bool *found) {
  const char *profile = repo_remote_text(options, "profile", "AWS_PROFILE");
  *found = false;
  region[0] = '\0';
  error *e = read_both(profile != NULL ? profile : "default", k, region);
  if (e != NULL) return e;
  *found = k->access_key[0] != '\0' && k->secret_key[0] != '\0';
  if (*found || profile == NULL) return NULL;
  return repo_error(SAROS_E_INVALIDARG,
                    "there are no keys of the profile that was named in "
                    "~/.aws/credentials (AWS_SHARED_CREDENTIALS_FILE, profile, "
                    "AWS_PROFILE)");
}
