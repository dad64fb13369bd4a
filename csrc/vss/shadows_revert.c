/*
** shadows_revert: the original becomes what its shadow is. A revert has the
** shadow's claim, so that nobody takes it away meanwhile, and the lock of the
** creations: no other revert, and no set, sees the original change places.
*/
#include "vss/record_parts.h"


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


static error *revert(const places *p, const value *record, saros_op *op) {
  error *e = NULL;
  const provider *by = record_provider(record, &e);
  if (by == NULL) return e;
  set_lock *lock = set_lock_take(p, &e);
  if (lock == NULL) return e;
  e = by->revert(value_get(record, "keep"), op);
  set_lock_give(lock);
  return e;
}


error *shadows_revert(const places *p, const char *given, saros_op *op) {
  char id[GUID_TEXT];
  error *e = NULL;
  if (!record_id(given, id))
    return vss_error(SAROS_E_INVALIDARG, "'%.40s' is not the id of a shadow",
                     given);
  int claim = claim_take(p, id, &e);
  if (claim < 0) return e;
  value *record = record_load(p, id, &e);
  if (record != NULL) e = can_revert(p, record, op);
  if (record != NULL && e == NULL) e = revert(p, record, op);
  value_free(record);
  claim_give(&claim);
  return e;
}
