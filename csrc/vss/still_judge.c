/*
** Whether processes stood still to the end, and letting them go.
**
** Somebody else may continue one, let it write, and stop it again: it looks as
** before. So the times that its threads were switched to are compared.
*/
#include <poll.h>
#include <string.h>

#include "op/fork.h"
#include "vss/still_parts.h"


/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

static bool has_ended(const stopped *p) {
  struct pollfd ask = {.fd = p->fd, .events = POLLIN};
  return poll(&ask, 1, 0) > 0;
}

/* 'T' when it is still, 0 when it has ended, or what it does. */
char still_state(const stopped *p) {
  return has_ended(p) ? 0 : identity_state((pid_t)p->who.pid);
}

stopped *still_known(const still *s, identity who) {
  for (size_t i = 0; i < s->count; i++)
    if (s->list[i].who.pid == who.pid && s->list[i].who.start == who.start)
      return &s->list[i];
  return NULL;
}


/* ------------------------------------------------------------------
** Letting go
** ---------------------------------------------------------------- */

/* Children go on before those that wait for them. */
void still_go_on(still *s) {
  for (size_t i = s->count; i-- > 0;) {
    stopped *p = &s->list[i];
    still_share_end(p);
    if (p->g != NULL) guard_mark(p->g, p->item, false);
  }
}

/* True: a guard has let one go before us. */
bool still_dismiss(still *s) {
  uint64_t acted = 0;
  for (size_t i = 0; i < s->guard_count; i++)
    acted |= guard_disarm(s->guards[i]);
  for (size_t i = 0; i < s->count; i++) fd_close(&s->list[i].fd);
  s->guard_count = s->count = 0;
  return acted != 0;
}

static error *not_still(const stopped *p) {
  return vss_error(SAROS_E_CHANGED,
                   "process %lld (%s) did not stay stopped while the shadow "
                   "was made: somebody else continued it",
                   (long long)p->who.pid, p->name);
}

static error *ran(const stopped *p) {
  return vss_error(SAROS_E_CHANGED,
                   "process %lld (%s) ran while the shadow was made: somebody "
                   "else continued it, and stopped it again",
                   (long long)p->who.pid, p->name);
}

/* Whoever is killed writes nothing more; but it may have been continued. */
static error *ended(const stopped *p) {
  return vss_error(SAROS_E_CHANGED,
                   "process %lld (%s) ended while it should stand still, and "
                   "may have gone on before",
                   (long long)p->who.pid, p->name);
}

static error *appeared(pid_t pid) {
  return vss_error(SAROS_E_CHANGED,
                   "process %ld was started while the others were stopped, "
                   "and may have written meanwhile",
                   (long)pid);
}

/* Whether one was still since its mark was taken. */
static error *judge_one(const stopped *p) {
  char state = still_state(p);
  if (state == 0) return ended(p);
  if (state != 'T') return not_still(p);
  return still_mark((pid_t)p->who.pid) != p->mark ? ran(p) : NULL;
}

/* Whether all were still to the end. */
static error *judge(still *s) {
  pid_t *list = NULL;
  size_t count = 0;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < s->count; i++)
    if (!s->list[i].gone) e = judge_one(&s->list[i]);
  if (e == NULL) e = still_find(&s->choice, &list, &count);
  for (size_t i = 0; e == NULL && i < count; i++) {
    still_look l;
    identity who = identity_of(list[i]);
    if (still_known(s, who) == NULL && who.start != 0 &&
        still_look_at(list[i], &l))
      e = appeared(list[i]);
  }
  mem_free(list);
  return e;
}

error *still_end(still *s) {
  if (s->count == 0) return NULL;
  error *e = judge(s);
  still_go_on(s);
  if (!still_dismiss(s)) return e;
  error *late = vss_error(VSS_E_HOLD_WRITES_TIMEOUT,
                          "the processes were stopped for longer than %g "
                          "seconds, and went on before the shadow was complete",
                          s->seconds);
  return e != NULL ? error_because(late, e) : late;
}
