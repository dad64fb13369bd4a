/*
** config: what a repository is.
*/
#include "repository/config.h"

#include <string.h>

#include "repository/chunker.h"

#define CONFIG_MOST ((size_t)64 << 10)


void repo_config_clear(repo_config *config) {
  value_free(config->unknown);
  *config = (repo_config){0};
}


static error *not_known(long long version) {
  return repo_error(SAROS_E_NOTIMPL,
                    "the repository is of format %lld; this program knows 1 "
                    "and 2, a newer one may know it",
                    version);
}


error *repo_config_make(repo_config *config, unsigned version) {
  repo_id id;
  *config = (repo_config){.version = version};
  if (version != 1 && version != 2) return not_known(version);
  error *e = repo_random(&id, sizeof id);
  if (e == NULL) e = repo_polynomial_random(&config->polynomial);
  if (e == NULL) repo_id_format(&id, config->id);
  return e;
}


/* ------------------------------------------------------------------
** As JSON
** ---------------------------------------------------------------- */

static error *damaged(const char *what) {
  return repo_error(SAROS_E_DAMAGED, "the repository's config is damaged: %s",
                    what);
}


/* Hex digits, as Go writes a number: none too many. */
static bool read_polynomial(const value *v, uint64_t *p) {
  if (v == NULL || v->type != VALUE_STRING || v->as.string.size == 0 ||
      v->as.string.size > 16 || v->as.string.data[0] == '0')
    return false;
  *p = 0;
  for (size_t i = 0; i < v->as.string.size; i++) {
    char c = v->as.string.data[i];
    unsigned digit = (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0');
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    *p = *p << 4 | digit;
  }
  return repo_polynomial_irreducible(*p);
}


static bool is_known(const value_field *f) {
  return strcmp(f->name, "version") == 0 || strcmp(f->name, "id") == 0 ||
         strcmp(f->name, "chunker_polynomial") == 0;
}


/* Another program's settings: who writes the config again must not lose
   them. */
static error *keep_unknown(repo_config *config, const value *map) {
  for (uint32_t i = 0; i < map->count; i++) {
    const value_field *f = &map->as.fields[i];
    if (is_known(f)) continue;
    if (config->unknown == NULL) config->unknown = value_map();
    if (config->unknown == NULL ||
        !value_put_bytes(config->unknown, f->name, f->size,
                         value_copy(f->item)))
      return error_no_memory();
  }
  return NULL;
}


static error *read_map(repo_config *config, const value *map) {
  repo_id id;
  if (map->type != VALUE_MAP) return damaged("it is no JSON object");
  const value *version = value_get(map, "version");
  if (version == NULL || version->type != VALUE_INT || version->as.integer < 1)
    return damaged("it has no version");
  if (version->as.integer > 2) return not_known(version->as.integer);
  config->version = (unsigned)version->as.integer;
  const value *text = value_get(map, "id");
  if (text == NULL || text->type != VALUE_STRING ||
      !repo_id_parse(&id, text->as.string.data, text->as.string.size))
    return damaged("its id is not 64 hexadecimal digits");
  repo_id_format(&id, config->id);
  if (!read_polynomial(value_get(map, "chunker_polynomial"),
                       &config->polynomial))
    return damaged(
        "its polynomial is not an irreducible one of degree 53; files would "
        "be cut badly");
  return keep_unknown(config, map);
}


error *repo_config_read(repo_config *config, const char *json, size_t size) {
  static const json_limits limits = {
      .depth = 8, .size = CONFIG_MOST, .values = 4096};
  error *e = NULL;
  *config = (repo_config){0};
  value *map = json_read(json, size, &limits, &e);
  if (map != NULL) {
    e = read_map(config, map);
    value_free(map);
  } else if (e->code != SAROS_E_OUTOFMEMORY) {
    e = error_because(damaged("it is no JSON"), e);
  }
  if (e != NULL) repo_config_clear(config);
  return e;
}


error *repo_config_write(const repo_config *config, buffer *json) {
  buffer_format(
      json, "{\"version\":%u,\"id\":\"%s\",\"chunker_polynomial\":\"%llx\"",
      config->version, config->id, (unsigned long long)config->polynomial);
  if (config->unknown != NULL)
    for (uint32_t i = 0; i < config->unknown->count; i++) {
      const value_field *f = &config->unknown->as.fields[i];
      buffer_byte(json, ',');
      json_write_string(json, f->name, f->size);
      buffer_byte(json, ':');
      json_write(json, f->item, JSON_COMPACT);
    }
  buffer_byte(json, '}');
  return json->failed ? error_no_memory() : NULL;
}


/* ------------------------------------------------------------------
** In a store
** ---------------------------------------------------------------- */

static error *load_once(repo_config *config, repo_store *store, repo_sealer *s,
                        const repo_stop *stop) {
  buffer b = BUFFER_EMPTY;
  error *e = store->way->load(store, REPO_CONFIG, NULL, CONFIG_MOST, &b, stop);
  if (e == NULL) e = repo_unseal(s, b.data, b.size, b.data + REPO_IV);
  if (e == NULL)
    e = repo_config_read(config, b.data + REPO_IV, b.size - REPO_SEAL);
  buffer_free(&b);
  return e;
}


error *repo_config_load(repo_config *config, repo_store *store, repo_sealer *s,
                        const repo_stop *stop) {
  *config = (repo_config){0};
  error *e = load_once(config, store, s, stop);
  if (e == NULL || e->code != SAROS_E_DAMAGED) return e;
  error_unref(e); /* a second look tells a bad read from a bad file */
  e = load_once(config, store, s, stop);
  if (e == NULL || e->code != SAROS_E_DAMAGED) return e;
  return error_because(damaged("it cannot be read with the key of the "
                               "repository"),
                       e);
}


error *repo_config_save(const repo_config *config, repo_store *store,
                        repo_sealer *s, bool replace, const repo_stop *stop) {
  buffer json = BUFFER_EMPTY, sealed = BUFFER_EMPTY;
  error *e = repo_config_write(config, &json);
  char *room = e == NULL ? buffer_room(&sealed, json.size + REPO_SEAL) : NULL;
  if (e == NULL)
    e = room != NULL ? repo_seal(s, json.data, json.size, room)
                     : error_no_memory();
  if (e == NULL) {
    repo_piece piece = {room, json.size + REPO_SEAL};
    e = store->way->save(store, REPO_CONFIG, NULL, &piece, 1, replace, stop);
  }
  buffer_free(&json);
  buffer_free(&sealed);
  return e;
}
