/*
** The provider `live`: no shadow, and the truth about that.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "shadow_case.h"

TEST(the_original_itself) {
  char path[300];
  snprintf(path, sizeof path, "%s", volumes_in("data"));
  mkdir(path, 0755);
  CHECK_TEXT(provider_live.name, "live");
  CHECK(provider_live.rank < 0);
  CHECK_TEXT(provider_atomic_name(provider_live.atomic), "nothing");
  shadow *s = case_shadow(&provider_live, path);
  CHECK_TEXT(s->path, path);
  CHECK_INT(case_warned(s, "no shadow"), 1);
  DONE(case_verify(&provider_live));
  case_drop(s);
  CHECK_INT(case_entries(path), 0); /* it is still there */
}

TEST(another_in_its_place) {
  error *e = NULL;
  char path[300];
  snprintf(path, sizeof path, "%s", volumes_in("data"));
  mkdir(path, 0755);
  shadow *s = case_plan(&provider_live, path, &e);
  DONE(s->provider->prepare(s, NULL));
  CHECK_INT(rename(path, volumes_in("aside")), 0);
  CHECK(case_says(s->provider->commit(s), VSS_E_OBJECT_NOT_FOUND, path));
  mkdir(path, 0755);
  CHECK(case_says(s->provider->commit(s), VSS_E_OBJECT_NOT_FOUND, path));
  CHECK(case_says(case_verify(&provider_live), VSS_E_OBJECT_NOT_FOUND, path));
  case_drop(s);
}

TEST(only_by_name) {
  error *e = NULL;
  origin *from = origin_find(volumes_scratch, &e);
  CHECK(from != NULL && provider_choose(from, &e) != &provider_live);
  CHECK(provider_named("live") == &provider_live);
  CHECK(provider_named(provider_live.id) == &provider_live);
  error_unref(e);
  origin_free(from);
}

static void all(void) {
  RUN(the_original_itself);
  RUN(another_in_its_place);
  RUN(only_by_name);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
