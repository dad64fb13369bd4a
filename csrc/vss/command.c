/*
** An executable as a writer: what it is made of. How it is told is in
** command_ask.c.
*/
#include <string.h>
#include <unistd.h>

#include "vss/command_parts.h"

static void words_free(char **words) {
  for (size_t i = 0; words != NULL && words[i] != NULL; i++) mem_free(words[i]);
  mem_free(words);
}

static void command_free(command *c) {
  if (c == NULL) return;
  words_free(c->argv);
  words_free(c->env);
  mem_free(c->cwd);
  value_free(c->metadata);
  mem_free(c);
}

void command_release(writer *w) {
  command_free(w->self);
}

static size_t count(const char *const *words) {
  size_t n = 0;
  while (words != NULL && words[n] != NULL) n++;
  return n;
}

static bool add_word(char **words, size_t *n, const char *word) {
  words[*n] = mem_text(word);
  return words[*n] != NULL && ++*n > 0;
}

/* With room for one more. */
static char **copy(const char *const *words) {
  char **to = mem_zero((count(words) + 2) * sizeof *to);
  size_t n = 0;
  bool good = to != NULL;
  for (size_t i = 0; good && words[i] != NULL; i++)
    good = add_word(to, &n, words[i]);
  if (good) return to;
  words_free(to);
  return NULL;
}

static bool is_named(const char *variable, const char *const *in) {
  size_t size = strcspn(variable, "=");
  for (size_t i = 0; in != NULL && in[i] != NULL; i++)
    if (strncmp(in[i], variable, size) == 0 && in[i][size] == '=') return true;
  return false;
}

/* The environment as it is now, but for what is given. */
static char **environment(const char *const *given) {
  const char *const *ours = (const char *const *)environ;
  char **to = mem_zero((count(ours) + count(given) + 1) * sizeof *to);
  size_t n = 0;
  bool good = to != NULL;
  for (size_t i = 0; good && ours != NULL && ours[i] != NULL; i++)
    if (!is_named(ours[i], given)) good = add_word(to, &n, ours[i]);
  for (size_t i = 0; good && given != NULL && given[i] != NULL; i++)
    good = add_word(to, &n, given[i]);
  if (good) return to;
  words_free(to);
  return NULL;
}

static error *fill(command *c, const command_options *o) {
  error *e = NULL;
  if (o->argv == NULL || o->argv[0] == NULL)
    return vss_error(SAROS_E_INVALIDARG,
                     "a command writer needs a program: argv is empty");
  if (o->metadata != NULL) {
    c->metadata = writer_metadata(o->metadata, o->id, &e);
    if (c->metadata == NULL) return e;
  }
  c->argv = copy(o->argv);
  c->verb = count(o->argv);
  c->env = environment(o->env);
  c->cwd = mem_text(o->cwd);
  bool good =
      c->argv != NULL && c->env != NULL && (c->cwd != NULL) == (o->cwd != NULL);
  return good ? NULL : error_no_memory();
}

writer *command_writer(const command_options *options, error **e) {
  command *c = mem_zero(sizeof *c);
  if (c == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  writer *w = NULL;
  *e = fill(c, options);
  if (*e == NULL) {
    const char *instance =
        value_chars(value_get(c->metadata, "instance"), NULL);
    w = writer_make(&command_way, options->id, instance, options->name, c, e);
  }
  if (w == NULL) command_free(c);
  return w;
}
