/*
** pair: two hashes that run side by side.
*/
#include "repository/pair.h"

void repo_pair_free(repo_pair *p) {
  for (int i = 0; i < 2; i++) repo_space_free(&p->of[i].space);
  *p = (repo_pair){0};
}

repo_half *repo_pair_room(repo_pair *p) {
  for (int i = 0; i < 2; i++)
    if (p->of[i].what == NULL) return &p->of[i];
  return NULL;
}

void repo_pair_put(repo_half *h, const void *what, const char *data,
                   size_t size) {
  h->what = what;
  h->data = data;
  h->size = size;
  h->hashed = 0;
  repo_sha_begin(&h->sha);
}

static size_t left(const repo_half *h) {
  return h->what != NULL ? h->size - h->hashed : 0;
}

size_t repo_pair_beside(repo_pair *p, repo_sha *other, const void *data,
                        size_t size) {
  size_t added = 0;
  for (int i = 0; i < 2 && added < size; i++) {
    repo_half *h = &p->of[i];
    size_t n = left(h);
    if (n > size - added) n = size - added;
    if (n == 0) continue;
    repo_sha_add_two(&h->sha, h->data + h->hashed, n, other,
                     (const char *)data + added, n);
    h->hashed += n;
    added += n;
  }
  return added;
}

static repo_half *ended(repo_pair *p, repo_id *id) {
  for (int i = 0; i < 2; i++) {
    repo_half *h = &p->of[i];
    if (h->what == NULL || left(h) > 0) continue;
    repo_sha_end(&h->sha, id);
    return h;
  }
  return NULL;
}

repo_half *repo_pair_next(repo_pair *p, bool alone, repo_id *id) {
  repo_half *a = &p->of[0], *b = &p->of[1];
  repo_half *done = ended(p, id);
  if (done != NULL) return done;
  if (a->what == NULL || b->what == NULL) {
    repo_half *h = a->what != NULL ? a : b;
    if (!alone || h->what == NULL) return NULL;
    repo_sha_add(&h->sha, h->data + h->hashed, left(h));
    h->hashed = h->size;
  } else {
    size_t n = left(a) < left(b) ? left(a) : left(b);
    repo_sha_add_two(&a->sha, a->data + a->hashed, n, &b->sha,
                     b->data + b->hashed, n);
    a->hashed += n;
    b->hashed += n;
  }
  return ended(p, id);
}
