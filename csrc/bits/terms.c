/*
** Terms: made, shared by counting, and wiped with the last.
*/
#include "bits/terms.h"

#include <string.h>

#include "http/http.h"

static void wipe_text(char **text) {
  if (*text != NULL) http_wipe(*text, strlen(*text));
  mem_free(*text);
  *text = NULL;
}

bits_terms *bits_terms_new(void) {
  bits_terms *t = mem_zero(sizeof *t);
  if (t == NULL) return NULL;
  atomic_init(&t->refs, 1);
  t->durability = BITS_DURABLE_GROUP;
  t->length_required = true;
  t->restart_changed = true;
  t->connect_ms = 30000;
  t->stall_ms = 60000;
  t->redirects = 10;
  t->per_host = 6;
  return t;
}

bits_terms *bits_terms_ref(bits_terms *t) {
  atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
  return t;
}

/* All but the number of references: it may be half a copy. */
static void free_all(bits_terms *t) {
  for (uint32_t i = 0; i < t->header_count; i++) {
    mem_free(t->headers[i].name);
    wipe_text(&t->headers[i].value);
    mem_free(t->headers[i].reference);
  }
  mem_free(t->headers);
  mem_free(t->method);
  mem_free(t->cacert);
  mem_free(t->proxy);
  wipe_text(&t->proxy_login);
  wipe_text(&t->s3_key);
  wipe_text(&t->s3_secret);
  wipe_text(&t->s3_token);
  mem_free(t->s3_region);
  mem_free(t->s3_reference);
  http_wipe(t, sizeof *t);
  mem_free(t);
}

void bits_terms_unref(bits_terms *t) {
  if (t == NULL ||
      atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
    return;
  free_all(t);
}

static bool copy_headers(bits_terms *to, const bits_terms *from) {
  if (from->header_count == 0) return true;
  to->headers = mem_zero(from->header_count * sizeof *to->headers);
  if (to->headers == NULL) return false;
  for (uint32_t i = 0; i < from->header_count; i++) {
    bits_header *h = &to->headers[i];
    const bits_header *like = &from->headers[i];
    to->header_count = i + 1; /* so that what there is of it is freed */
    h->secret = like->secret;
    h->name = mem_text(like->name);
    h->value = mem_text(like->value);
    h->reference = mem_text(like->reference);
    if (h->name == NULL || (h->value == NULL && like->value != NULL) ||
        (h->reference == NULL && like->reference != NULL))
      return false;
  }
  return true;
}

bits_terms *bits_terms_copy(const bits_terms *t) {
  bits_terms *c = bits_terms_new();
  if (c == NULL) return NULL;
  c->durability = t->durability;
  c->overwrite = t->overwrite;
  c->length_required = t->length_required;
  c->restart_changed = t->restart_changed;
  c->dynamic = t->dynamic;
  c->connect_ms = t->connect_ms;
  c->stall_ms = t->stall_ms;
  c->redirects = t->redirects;
  c->most = t->most;
  c->part_size = t->part_size;
  c->per_host = t->per_host;
  char *const from[] = {t->method,      t->cacert,    t->proxy,
                        t->proxy_login, t->s3_key,    t->s3_secret,
                        t->s3_token,    t->s3_region, t->s3_reference};
  char **const to[] = {&c->method,      &c->cacert,    &c->proxy,
                       &c->proxy_login, &c->s3_key,    &c->s3_secret,
                       &c->s3_token,    &c->s3_region, &c->s3_reference};
  bool good = copy_headers(c, t);
  for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
    *to[i] = mem_text(from[i]);
    good = good && (*to[i] != NULL || from[i] == NULL);
  }
  if (good) return c;
  free_all(c);
  return NULL;
}
