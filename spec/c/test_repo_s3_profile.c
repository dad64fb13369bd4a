/*
** Keys from the files of Amazon's tools: which profile, which comes first, and
** what is wrong with them. No server is asked.
**
** not under thread: it has one thread; ASan runs it
*/
#include <sys/stat.h>

#include "s3_case.h"

static char folder[] = "/tmp/saros-spec-XXXXXX";

static const char *path_in(const char *file) {
  static char paths[2][100];
  static unsigned next;
  char *path = paths[next++ % 2];
  snprintf(path, 100, "%s/%s", folder, file);
  return path;
}

static void write_file(const char *file, const char *text) {
  FILE *f = fopen(path_in(file), "w");
  CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void forget_environment(void) {
  static const char *const all[] = {
      "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
      "AWS_REGION",        "AWS_DEFAULT_REGION",    "AWS_PROFILE"};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) unsetenv(all[i]);
  setenv("AWS_SHARED_CREDENTIALS_FILE", path_in("credentials"), 1);
  setenv("AWS_CONFIG_FILE", path_in("config"), 1);
}

/* Whose keys they are: "access secret token region". */
static bool uses(value *v, const char *expected) {
  error *e = NULL;
  char text[9000] = "";
  s3 *t = (s3 *)repo_store_s3("s3:h.example/buck", v, &e);
  value_free(v);
  if (t != NULL)
    snprintf(text, sizeof text, "%s %s %s %s", t->secret->access_key,
             t->secret->secret_key, t->secret->token, t->region);
  else
    printf("%s\n", e->message);
  error_unref(e);
  if (t != NULL) repo_store_close(&t->store);
  if (strcmp(text, expected) != 0) printf("%s, not %s\n", text, expected);
  return strcmp(text, expected) == 0;
}

static value *profile(const char *name) {
  value *v = value_map();
  value_put(v, "profile", value_text(name));
  return v;
}

static bool fails(value *v, const char *words) {
  error *e = NULL;
  repo_store *store = repo_store_s3("s3:h.example/buck", v, &e);
  value_free(v);
  if (store != NULL) repo_store_close(store);
  return store == NULL && failed_as(e, SAROS_E_INVALIDARG, words);
}

TEST(profiles) {
  write_file("credentials",
             "; of nobody\naws_access_key_id = none\n[default]\r\n"
             "aws_access_key_id = da\r\naws_secret_access_key=ds\r\n\n"
             "[ web ]\n# a comment = with\n  aws_access_key_id=wa\n"
             "aws_secret_access_key = w/s+x==\naws_session_token = wt\n"
             "unknown = 1\nno value\n[half]\naws_access_key_id = ha");
  write_file("config",
             "[default]\nregion = mars-1\n[profile web]\nregion = mars-2\n"
             "output = json\n[profile only]\naws_access_key_id = oa\n"
             "aws_secret_access_key = os\n");
  CHECK(uses(NULL, "da ds  mars-1"));
  CHECK(uses(profile("web"), "wa w/s+x== wt mars-2"));
  CHECK(uses(profile("only"), "oa os  us-east-1"));
  setenv("AWS_PROFILE", "web", 1);
  CHECK(uses(NULL, "wa w/s+x== wt mars-2"));
  CHECK(uses(profile("default"), "da ds  mars-1"));
  setenv("AWS_DEFAULT_REGION", "mars-3", 1);
  CHECK(uses(NULL, "wa w/s+x== wt mars-3"));
  /* Keys in the environment come before what AWS_PROFILE names … */
  setenv("AWS_ACCESS_KEY_ID", "ea", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "es", 1);
  setenv("AWS_SESSION_TOKEN", "et", 1);
  CHECK(uses(NULL, "ea es et mars-3"));
  /* … and behind a profile that is asked for. */
  CHECK(uses(profile("web"), "wa w/s+x== wt mars-3"));
  CHECK(uses(options(), ACCESS " " SECRET "  mars-3"));
  forget_environment();
}

TEST(profiles_that_are_none) {
  CHECK(fails(profile("half"), "no keys of the profile"));
  CHECK(fails(profile("nobody"), "no keys of the profile"));
  CHECK(fails(profile("we"), "no keys of the profile"));
  unlink(path_in("config"));
  unlink(path_in("credentials"));
  CHECK(fails(NULL, "nobody says who uses"));
  setenv("AWS_PROFILE", "web", 1);
  CHECK(fails(NULL, "no keys of the profile"));
  forget_environment();
}

TEST(files_that_are_wrong) {
  char *text = malloc(70000);
  memset(text, 'x', 69999);
  text[69999] = '\0';
  write_file("credentials", text);
  CHECK(fails(NULL, "too large"));
  memcpy(text, "[default]\naws_access_key_id = canary", 35);
  text[60000] = '\0';
  write_file("credentials", text);
  CHECK(fails(NULL, "too long"));
  free(text);
  write_file("credentials",
             "[default]\naws_access_key_id=a\naws_secret_access_key=can ary\n");
  CHECK(fails(NULL, "there are spaces in it"));
  unlink(path_in("credentials"));
  CHECK(mkdir(path_in("credentials"), 0700) == 0);
  error *e = NULL;
  CHECK(repo_store_s3("s3:h.example/buck", NULL, &e) == NULL);
  CHECK(e != NULL && e->number == EISDIR);
  error_unref(e);
  rmdir(path_in("credentials"));
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  CHECK(mkdtemp(folder) != NULL);
  forget_environment();
  RUN(profiles);
  RUN(profiles_that_are_none);
  RUN(files_that_are_wrong);
  unlink(path_in("config"));
  unlink(path_in("credentials"));
  rmdir(folder);
  return check_end();
}
