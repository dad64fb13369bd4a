/*
** shadows_revert: the original becomes what its shadow is. A revert has the
** shadow's claim, so that nobody takes it away meanwhile, and the lock of the
** creations: no other revert, and no set, sees the original change places.
**
** Who has a file of the original open goes on with what was, and what he writes
** is lost: so that takes `force`, as a volume in use does in the original.
*/
#include <sys/stat.h>

#include "vss/record_parts.h"
#include "vss/users.h"


/* As of now: nobody is kept from opening it in the next moment. */
static error *look_for_users(const value *record) {
  struct stat st;
  buffer who = BUFFER_EMPTY;
  error *e = NULL;
  const char *original = record_text(record, "original");
  if (stat(original, &st) != 0) return NULL; /* its provider says more */
  if (users_of(st.st_dev, &who) > 0)
    e = who.failed
            ? error_no_memory()
            : error_at(vss_error(VSS_E_VOLUME_IN_USE,
                                 "%s is in use by process %s: end that, or "
                                 "revert it with force; then they go on with "
                                 "what was, and what they write is lost",
                                 original, who.data),
                       original);
  buffer_free(&who);
  return e;
}


static error *can_revert(const places *p, value *record, saros_op *op) {
  error *e = NULL;
  const char *id = record_text(record, "id");
  if (!record_is(record, "created"))
    return vss_error(VSS_E_OBJECT_NOT_FOUND, "there is no shadow copy %s", id);
  if (!value_boolean(value_get(record, "persistent"), false))
    return vss_error(VSS_E_UNSUPPORTED_CONTEXT,
                     "the shadow copy %s is not persistent, and a volume can "
                     "be reverted to one that is only",
                     id);
  const provider *by = record_provider(record, &e);
  if (by == NULL) return e;
  if (by->revert == NULL)
    return vss_error(SAROS_E_NOTIMPL,
                     "the provider \"%s\" cannot revert %s; stop who uses it "
                     "and copy it back from the shadow copy, %s",
                     by->name, record_text(record, "original"),
                     record_text(record, "path"));
  return record_ready(p, record, op);
}


static error *revert(const places *p, const value *record, bool force,
                     saros_op *op) {
  error *e = NULL;
  const provider *by = record_provider(record, &e);
  if (by == NULL) return e;
  set_lock *lock = set_lock_take(p, &e);
  if (lock == NULL) return e;
  if (!force) e = look_for_users(record);
  if (e == NULL) e = by->revert(value_get(record, "keep"), op);
  set_lock_give(lock);
  return e;
}


error *shadows_revert(const places *p, const char *given, bool force,
                      saros_op *op) {
  char id[GUID_TEXT];
  error *e = NULL;
  if (!record_id(given, id))
    return vss_error(SAROS_E_INVALIDARG, "'%.40s' is not the id of a shadow",
                     given);
  int claim = claim_take(p, id, &e);
  if (claim < 0) return e;
  value *record = record_load(p, id, &e);
  if (record != NULL) e = can_revert(p, record, op);
  if (record != NULL && e == NULL) e = revert(p, record, force, op);
  value_free(record);
  claim_give(&claim);
  return e;
}
