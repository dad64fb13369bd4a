/*
** forget: which versions go, and their files. All is decided before the first
** is removed.
*/
#include "repository/forget.h"

#include <string.h>

#include "repository/prune_owner.h"

typedef struct forgetting {
  repo_hold *h;
  const repo_forget_options *o;
  repo_snapshot **all; /* those that the filter lets through */
  size_t count;
  size_t *group, groups;
  bool *keep;
  value **reasons;
  repo_id *gone; /* to be removed */
  size_t gone_count;
  uint64_t removed;
} forgetting;

/* ------------------------------------------------------------------
** Which are looked at
** ---------------------------------------------------------------- */

static bool has_all(const value *list, const value *wanted) {
  for (uint32_t i = 0; i < wanted->count; i++) {
    bool found = false;
    for (uint32_t k = 0; list != NULL && k < list->count && !found; k++)
      found = value_equal(list->as.items[k], wanted->as.items[i]);
    if (!found) return false;
  }
  return true;
}

static bool is_wanted(const repo_forget_options *o, const repo_snapshot *s) {
  if (o->host != NULL &&
      strcmp(o->host, s->hostname != NULL ? s->hostname : "") != 0)
    return false;
  if (o->tags != NULL && !repo_snapshot_has_tags(s, o->tags)) return false;
  return o->paths == NULL || has_all(s->paths, o->paths);
}

static void filter(forgetting *f, repo_snapshot **all, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (is_wanted(f->o, all[i]))
      f->all[f->count++] = all[i];
    else
      repo_snapshot_free(all[i]);
  }
  f->all[f->count] = NULL;
}


/* ------------------------------------------------------------------
** Which stay
** ---------------------------------------------------------------- */

static error *refuse(const repo_snapshot *s) {
  char text[REPO_ID_TEXT];
  repo_id_format(&s->id, text);
  return repo_error(SAROS_E_REFUSED,
                    "these rules keep no version at all of a group, that of "
                    "%.8s; nothing was removed. Give rules that keep one, or "
                    "unsafe_allow_remove_all",
                    text);
}

static error *keep_because(const char *why, bool *keep, value **reasons) {
  value_free(*reasons);
  *reasons = value_list();
  *keep = value_add(*reasons, value_text(why));
  return *keep ? NULL : error_no_memory();
}

static error *apply_to_group(forgetting *f, size_t group,
                             repo_snapshot **members, size_t *numbers,
                             bool *keep, value **reasons) {
  struct timespec now;
  size_t count = 0, kept = 0;
  clock_gettime(CLOCK_REALTIME, &now);
  /* The newest first: of two of the same time that one counts. */
  for (size_t i = f->count; i-- > 0;)
    if (f->group[i] == group) {
      numbers[count] = i;
      members[count++] = f->all[i];
    }
  error *e =
      repo_policy_apply(&f->o->policy, members, count, now, keep, reasons);
  bool decided = e == NULL;
  for (size_t i = 0; e == NULL && i < count; i++)
    if (!keep[i] && repo_is_note(f->all, f->count, numbers[i]))
      /* What saros has noted about all the others is as old as it may be. */
      e = keep_because("the newest note of its kind", &keep[i], &reasons[i]);
  for (size_t i = 0; i < count; i++) {
    f->keep[numbers[i]] = keep[i];
    f->reasons[numbers[i]] = decided ? reasons[i] : NULL;
    kept += keep[i];
  }
  if (e == NULL && kept == 0 && !f->o->remove_all &&
      !repo_snapshot_is_own(members[0]))
    e = refuse(members[0]);
  return e;
}

/* What was stored later for a version has its time, and its host. */
static bool belongs(const repo_snapshot *late, const repo_snapshot *s) {
  return late->time.tv_sec == s->time.tv_sec &&
         late->time.tv_nsec == s->time.tv_nsec &&
         strcmp(late->hostname != NULL ? late->hostname : "",
                s->hostname != NULL ? s->hostname : "") == 0;
}

/* And stays as long as that does, whichever rule keeps that. */
static error *keep_late(forgetting *f) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < f->count; i++) {
    if (f->keep[i] || !repo_snapshot_is_own(f->all[i])) continue;
    for (size_t k = 0; e == NULL && !f->keep[i] && k < f->count; k++)
      if (f->keep[k] && belongs(f->all[i], f->all[k]) &&
          !repo_snapshot_is_own(f->all[k]))
        e = keep_because("what its version needs", &f->keep[i], &f->reasons[i]);
  }
  return e;
}

static error *apply(forgetting *f) {
  size_t room = f->count + 1;
  repo_snapshot **members = mem_alloc(room * sizeof(repo_snapshot *));
  size_t *numbers = mem_alloc(room * sizeof *numbers);
  bool *keep = mem_alloc(room * sizeof *keep);
  value **reasons = mem_zero(room * sizeof(value *));
  error *e = NULL;
  if (members == NULL || numbers == NULL || keep == NULL || reasons == NULL)
    e = error_no_memory();
  else
    for (size_t g = 0; e == NULL && g < f->groups; g++)
      e = apply_to_group(f, g, members, numbers, keep, reasons);
  mem_free(members);
  mem_free(numbers);
  mem_free(keep);
  mem_free(reasons);
  return e;
}

/* No rule at all, and it is said that all may go: all that the filter lets
   through. There must be one. */
static error *take_all(forgetting *f) {
  const repo_forget_options *o = f->o;
  if (o->host == NULL && o->tags == NULL && o->paths == NULL)
    return repo_error(SAROS_E_REFUSED,
                      "unsafe_allow_remove_all without a rule needs a filter: "
                      "host, tags or paths; nothing was removed");
  for (size_t i = 0; i < f->count; i++) f->keep[i] = false;
  return NULL;
}

static error *decide(forgetting *f) {
  size_t room = f->count + 1;
  f->group = mem_alloc(room * sizeof *f->group);
  f->keep = mem_alloc(room * sizeof *f->keep);
  f->reasons = mem_zero(room * sizeof(value *));
  if (f->group == NULL || f->keep == NULL || f->reasons == NULL)
    return error_no_memory();
  error *e = repo_snapshots_group(f->all, f->count, f->o->group_by, f->group,
                                  &f->groups);
  if (e != NULL) return e;
  if (f->o->remove_all && repo_policy_is_empty(&f->o->policy))
    e = take_all(f);
  else
    e = apply(f);
  if (e == NULL) e = keep_late(f);
  for (size_t i = 0; e == NULL && i < f->count; i++)
    if (!f->keep[i]) f->gone[f->gone_count++] = f->all[i]->id;
  return e;
}


/* ------------------------------------------------------------------
** By their ids
** ---------------------------------------------------------------- */

typedef struct search {
  const char *prefix;
  repo_id found;
  unsigned count;
} search;

static error *match(void *context, const repo_id *id, uint64_t size) {
  search *s = context;
  char text[REPO_ID_TEXT];
  (void)size;
  repo_id_format(id, text);
  if (strncmp(text, s->prefix, strlen(s->prefix)) != 0) return NULL;
  s->found = *id;
  s->count++;
  return NULL;
}

/* By the names of files alone: so a version that is damaged can go, too. */
static error *find_ids(forgetting *f) {
  for (uint32_t i = 0; i < f->o->ids->count; i++) {
    search s = {.prefix = value_chars(f->o->ids->as.items[i], "")};
    if (strlen(s.prefix) < 4)
      return repo_error(SAROS_E_INVALIDARG,
                        "ids: at least the first four digits of one expected");
    error *e = f->h->store->way->list(f->h->store, REPO_SNAPSHOTS, match, &s,
                                      &f->h->stop);
    if (e != NULL) return e;
    if (s.count != 1)
      return repo_error(SAROS_E_INVALIDARG,
                        s.count == 0
                            ? "there is no version whose id begins with %.64s; "
                              "nothing was removed"
                            : "there are several versions whose ids begin "
                              "with %.64s; give more of it. Nothing was "
                              "removed",
                        s.prefix);
    bool twice = false;
    for (size_t k = 0; k < f->gone_count; k++)
      twice = twice || repo_id_equal(&f->gone[k], &s.found);
    if (!twice) f->gone[f->gone_count++] = s.found;
  }
  return NULL;
}


/* ------------------------------------------------------------------
** The report
** ---------------------------------------------------------------- */

static value *version_value(forgetting *f, size_t i) {
  value *map = repo_snapshot_value(f->all[i]);
  if (map == NULL || f->reasons[i] == NULL) return map;
  value *reasons = f->reasons[i];
  f->reasons[i] = NULL;
  if (value_put(map, "reasons", reasons)) return map;
  value_free(map);
  return NULL;
}

static bool put_key(value *map, const forgetting *f, const repo_snapshot *s) {
  unsigned by = f->o->group_by;
  if ((by & REPO_BY_HOST) != 0 && s->hostname != NULL &&
      !value_put(map, "host", value_text(s->hostname)))
    return false;
  if ((by & REPO_BY_PATHS) != 0 && s->paths != NULL &&
      !value_put(map, "paths", value_copy(s->paths)))
    return false;
  return (by & REPO_BY_TAGS) == 0 || s->tags == NULL ||
         value_put(map, "tags", value_copy(s->tags));
}

/* The newest first. */
static value *group_value(forgetting *f, size_t group) {
  value *map = value_map(), *keep = value_list(), *gone = value_list();
  bool good = map != NULL && keep != NULL && gone != NULL, first = true;
  for (size_t i = f->count; good && i-- > 0;) {
    if (f->group[i] != group) continue;
    if (first)
      good = put_key(map, f, f->all[i]) &&
             (!repo_snapshot_is_own(f->all[i]) ||
              value_put(map, "own", value_bool(true)));
    first = false;
    if (good) good = value_add(f->keep[i] ? keep : gone, version_value(f, i));
  }
  if (!good) {
    value_free(map);
    value_free(keep);
    value_free(gone);
    return NULL;
  }
  good = value_put(map, "keep", keep);
  if (!good)
    value_free(gone);
  else
    good = value_put(map, "remove", gone);
  if (good) return map;
  value_free(map);
  return NULL;
}

static bool put_ids(value *map, const forgetting *f) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < f->gone_count; i++) {
    char text[REPO_ID_TEXT];
    repo_id_format(&f->gone[i], text);
    good = value_add(list, value_text(text));
  }
  if (good) return value_put(map, "removed", list);
  value_free(list);
  return false;
}

static value *report_of(forgetting *f) {
  value *map = value_map(), *groups = value_list();
  bool good = map != NULL && groups != NULL;
  for (size_t g = 0; good && g < f->groups; g++)
    good = value_add(groups, group_value(f, g));
  if (good) {
    good = value_put(map, "groups", groups);
    groups = NULL;
  }
  good =
      good && put_ids(map, f) &&
      value_put(map, "dry_run", value_bool(f->o->dry_run)) &&
      (f->o->ids != NULL ||
       value_put(map, "kept", value_int((int64_t)(f->count - f->gone_count))));
  if (good) return map;
  value_free(groups);
  value_free(map);
  return NULL;
}


/* ------------------------------------------------------------------
** Forgetting
** ---------------------------------------------------------------- */

/* On a full disk the lock has room when the first has gone, or the next. A
   version that goes is nobody's loss who is backing up: what it needed stays
   until a prune. */
static error *lock_at_last(forgetting *f) {
  error *e = repo_hold_catch_up(f->h);
  if (!repo_is_full(e)) return e;
  error_unref(e);
  return NULL;
}

static error *remove_one(forgetting *f, size_t i) {
  error *e = NULL;
  if (repo_stopped(&f->h->stop))
    return repo_error(SAROS_E_CANCELLED, "forgetting was cancelled");
  if (i > 0) e = lock_at_last(f);
  if (e != NULL) return e;
  repo_store *store = f->h->store;
  return store->way->remove(store, REPO_SNAPSHOTS, &f->gone[i], &f->h->stop);
}

static error *remove_all(forgetting *f) {
  for (size_t i = 0; i < f->gone_count; i++) {
    error *e = remove_one(f, i);
    if (e != NULL) {
      uint32_t code = e->code;
      bool refused = code == SAROS_E_ACCESSDENIED;
      error *made = repo_error(
          code, "%lu of %lu versions were removed, then it %s%s",
          (unsigned long)i, (unsigned long)f->gone_count,
          refused ? "was refused: " : "ended", refused ? e->message : "");
      if (!refused) return error_because(made, e);
      error_unref(e); /* it is told already */
      return made;
    }
    if (f->o->progress != NULL)
      f->o->progress(f->o->context, i + 1, f->gone_count);
  }
  return NULL;
}

static error *choose(forgetting *f) {
  repo_snapshot **all = NULL;
  size_t count = f->o->ids != NULL ? f->o->ids->count : 0;
  error *e = NULL;
  if (f->o->ids == NULL) e = repo_versions(f->h->r, &all, &count, &f->h->stop);
  if (e != NULL) return e;
  f->gone = mem_alloc((count + 1) * sizeof *f->gone);
  f->all = mem_zero((count + 1) * sizeof(repo_snapshot *));
  if (f->gone == NULL || f->all == NULL) {
    repo_versions_free(all);
    return error_no_memory();
  }
  if (f->o->ids != NULL) return find_ids(f);
  filter(f, all, count);
  mem_free(all);
  return decide(f);
}

error *repo_forget(repo_hold *h, const repo_forget_options *o, value **report) {
  forgetting f = {.h = h, .o = o};
  *report = NULL;
  error *e = choose(&f);
  if (e == NULL) {
    *report = report_of(&f); /* all that can fail comes first */
    if (*report == NULL) e = error_no_memory();
  }
  if (e == NULL && !o->dry_run) e = remove_all(&f);
  if (e != NULL) {
    value_free(*report);
    *report = NULL;
  }
  for (size_t i = 0; f.reasons != NULL && i < f.count; i++)
    value_free(f.reasons[i]);
  mem_free(f.reasons);
  mem_free(f.group);
  mem_free(f.keep);
  mem_free(f.gone);
  repo_versions_free(f.all);
  return e;
}
