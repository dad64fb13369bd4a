/*
** How many requests go to one host at once. The others wait here, in their
** order, so that libcurl never has more than it may use: a handle that waits
** inside libcurl has a clock that runs.
*/
#include <string.h>

#include "http/http_parts.h"

static http_origin *find(http_origin **all, const char *name) {
  for (http_origin *o = *all; o != NULL; o = o->next)
    if (strcmp(o->name, name) == 0) return o;
  http_origin *o = mem_zero(sizeof *o);
  if (o == NULL) return NULL;
  o->name = mem_text(name);
  if (o->name == NULL) {
    mem_free(o);
    return NULL;
  }
  o->last = &o->first;
  o->next = *all;
  return *all = o;
}

static void forget_if_idle(http_origin **all, http_origin *o) {
  if (o->active > 0 || o->held > 0 || o->first != NULL) return;
  while (*all != o) all = &(*all)->next;
  *all = o->next;
  mem_free(o->name);
  mem_free(o);
}

static void take_out(http_origin *o, http_request *r) {
  *r->link = r->next;
  if (r->next != NULL) r->next->link = r->link;
  if (o->last == &r->next) o->last = r->link;
  r->next = NULL;
  r->link = NULL;
}

bool http_gate_enter(http_origin **all, http_request *r) {
  http_origin *o = find(all, r->origin_name);
  if (o == NULL) return false;
  r->origin = o;
  r->state = HTTP_WAITS;
  r->next = NULL;
  r->link = o->last;
  *o->last = r;
  o->last = &r->next;
  return true;
}

http_request *http_gate_next(http_origin *o) {
  http_request *r = o->first;
  if (r == NULL || o->active >= r->ask.per_host) return NULL;
  take_out(o, r);
  o->active++;
  return r;
}

void http_gate_leave(http_origin **all, http_origin *o) {
  o->active--;
  forget_if_idle(all, o);
}

void http_gate_abandon(http_origin **all, http_request *r) {
  http_origin *o = r->origin;
  take_out(o, r);
  r->origin = NULL;
  forget_if_idle(all, o);
}

void http_gate_hold(http_origin *o) {
  o->held++;
}

void http_gate_let_go(http_origin **all, http_origin *o) {
  o->held--;
  forget_if_idle(all, o);
}
