/*
** Files of a job that wait for their time: a heap, the first of them first,
** and those of one moment in their order. While it is in there a file is not
** begun
** in its turn.
*/
#include "bits/mover_parts.h"

static bool is_before(const mover_later *a, const mover_later *b) {
  return a->at < b->at || (a->at == b->at && a->file < b->file);
}

static void sink(bits_turn *t, uint32_t at) {
  mover_later *l = t->later, moved = l[at];
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= t->later_count) break;
    if (child + 1 < t->later_count && is_before(&l[child + 1], &l[child]))
      child++;
    if (!is_before(&l[child], &moved)) break;
    l[at] = l[child];
    at = child;
  }
  l[at] = moved;
}

bool later_put(bits_job *j, uint64_t at, uint32_t file, uint32_t tries) {
  bits_turn *t = &j->turn;
  if (t->later_count == t->later_room) {
    uint32_t room = t->later_room > 0 ? t->later_room * 2 : 8;
    mover_later *l = mem_grow(t->later, room * sizeof *l);
    if (l == NULL) return false;
    t->later = l;
    t->later_room = room;
  }
  mover_later e = {at, file, tries};
  uint32_t place = t->later_count++;
  while (place > 0) {
    uint32_t above = (place - 1) / 2;
    if (!is_before(&e, &t->later[above])) break;
    t->later[place] = t->later[above];
    place = above;
  }
  t->later[place] = e;
  j->files[file]->later = true;
  return true;
}

mover_later later_take(bits_job *j) {
  bits_turn *t = &j->turn;
  mover_later first = t->later[0];
  t->later[0] = t->later[--t->later_count];
  if (t->later_count > 0) sink(t, 0);
  j->files[first.file]->later = false;
  return first;
}

void later_all_at(bits_job *j, uint64_t at) {
  bits_turn *t = &j->turn;
  for (uint32_t i = 0; i < t->later_count; i++)
    if (t->later[i].at > at) t->later[i].at = at;
  for (uint32_t i = t->later_count / 2; i-- > 0;) sink(t, i);
}

void later_free(bits_job *j) {
  bits_turn *t = &j->turn;
  for (uint32_t i = 0; i < t->later_count; i++)
    j->files[t->later[i].file]->later = false;
  mem_free(t->later);
  t->later = NULL;
  t->later_count = t->later_room = 0;
}
