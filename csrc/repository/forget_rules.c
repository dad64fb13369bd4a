/*
** forget_rules: what is asked for, from a map.
*/
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "repository/forget.h"

static const char *const rules[REPO_RULES] = {"last",   "hourly",  "daily",
                                              "weekly", "monthly", "yearly"};

static error *misused(const char *name, const char *what) {
  return repo_error(SAROS_E_INVALIDARG, "%s: %s", name, what);
}

static error *read_count(const value *v, const char *name, int *count) {
  const char *text = value_chars(v, NULL);
  if (text != NULL && strcmp(text, "unlimited") == 0) {
    *count = -1;
    return NULL;
  }
  if (v->type != VALUE_INT || v->as.integer < -1 || v->as.integer > INT_MAX)
    return misused(name, "a number of versions expected, or \"unlimited\"");
  *count = (int)v->as.integer;
  return NULL;
}

static error *read_rules(const value *v, repo_policy *p) {
  char name[64];
  error *e = NULL;
  for (int i = 0; e == NULL && i < REPO_RULES; i++) {
    snprintf(name, sizeof name, "keep_%s", rules[i]);
    const value *count = value_get(v, name);
    if (count != NULL) e = read_count(count, name, &p->keep[i]);
    snprintf(name, sizeof name, "keep_within%s%s", i > 0 ? "_" : "",
             i > 0 ? rules[i] : "");
    const value *span = value_get(v, name);
    if (e != NULL || span == NULL) continue;
    p->has_within[i] = repo_span_read(value_chars(span, ""), &p->within[i]);
    if (!p->has_within[i])
      e = misused(name, "a span expected, such as \"1y5m7d2h\"");
  }
  return e;
}

static bool is_texts(const value *v) {
  if (v->type != VALUE_LIST) return false;
  for (uint32_t i = 0; i < v->count; i++)
    if (v->as.items[i]->type != VALUE_STRING) return false;
  return true;
}

/* A text stands for the list of it alone. */
static error *read_tags(const value *v, repo_policy *p) {
  if (v->type != VALUE_LIST)
    return misused("keep_tags", "a list of tags, or of lists of tags expected");
  p->tags = value_list();
  bool good = p->tags != NULL;
  for (uint32_t i = 0; good && i < v->count; i++) {
    const value *item = v->as.items[i];
    if (item->type == VALUE_STRING) {
      value *list = value_list();
      good = list != NULL && value_add(list, value_copy(item));
      if (good)
        good = value_add(p->tags, list);
      else
        value_free(list);
    } else if (is_texts(item) && item->count > 0) {
      good = value_add(p->tags, value_copy(item));
    } else {
      return misused("keep_tags", "a tag, or a list of tags expected");
    }
  }
  return good ? NULL : error_no_memory();
}

static error *read_groups(const value *v, unsigned *by) {
  static const char *const names[] = {"host", "paths", "tags"};
  *by = 0;
  for (uint32_t i = 0; v->type == VALUE_LIST && i < v->count; i++) {
    const char *text = value_chars(v->as.items[i], "");
    int n = 0;
    while (n < 3 && strcmp(text, names[n]) != 0) n++;
    if (n == 3)
      return misused("group_by", "\"host\", \"paths\" and \"tags\" expected");
    *by |= 1u << n;
  }
  /* An empty table may be either. */
  if (v->type == VALUE_LIST || (v->type == VALUE_MAP && v->count == 0))
    return NULL;
  return misused("group_by", "a list expected");
}

static error *read_list(const value *v, const char *name, const value **list) {
  *list = value_get(v, name);
  if (*list == NULL || is_texts(*list)) return NULL;
  return misused(name, "a list of texts expected");
}

static error *read_all(const value *v, repo_forget_options *o) {
  const value *tags = value_get(v, "keep_tags");
  const value *groups = value_get(v, "group_by");
  error *e = read_rules(v, &o->policy);
  if (e == NULL && tags != NULL) e = read_tags(tags, &o->policy);
  if (e == NULL && groups != NULL) e = read_groups(groups, &o->group_by);
  if (e == NULL) e = read_list(v, "tags", &o->tags);
  if (e == NULL) e = read_list(v, "paths", &o->paths);
  if (e == NULL) e = read_list(v, "ids", &o->ids);
  if (e != NULL) return e;
  o->host = value_chars(value_get(v, "host"), NULL);
  o->dry_run = value_boolean(value_get(v, "dry_run"), false);
  o->remove_all = value_boolean(value_get(v, "unsafe_allow_remove_all"), false);
  if (o->ids != NULL && (!repo_policy_is_empty(&o->policy) || o->host != NULL ||
                         o->tags != NULL || o->paths != NULL))
    return misused("ids", "either they or rules and filters, not both");
  return NULL;
}

error *repo_forget_read_options(const value *v, repo_forget_options *o) {
  *o = (repo_forget_options){.group_by = REPO_BY_HOST | REPO_BY_PATHS};
  error *e = read_all(v, o);
  if (e != NULL) repo_forget_clear(o);
  return e;
}

void repo_forget_clear(repo_forget_options *o) {
  value_free(o->policy.tags);
  o->policy.tags = NULL;
}
