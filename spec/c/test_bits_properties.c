/*
** Properties: what each may be and what it is answered with; all or none; what
** is secret, where it is and where it is not; and the rows, there and back.
*/
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/job_parts.h"
#include "check.h"

__attribute__((weak)) const saros_api *saros_api_table;

/* Nothing here needs a queue: a manager that has only its lock. */
static bits_manager m;

static bits_job *new_job(void) {
  bits_job *j = bits_job_new(&m, "01234567-89ab-4cde-8f01-23456789abcd", 1,
                             BITS_DOWNLOAD);
  if (j == NULL) abort();
  return j;
}

/* JSON with single quotes. */
static value *json(const char *text) {
  char *copy = strdup(text);
  for (char *c = copy; *c != '\0'; c++)
    if (*c == '\'') *c = '"';
  error *e = NULL;
  value *v = json_read(copy, strlen(copy), NULL, &e);
  if (v == NULL) {
    printf("%s: %s\n", copy, e->message);
    abort();
  }
  free(copy);
  return v;
}

static char said[1000];

static uint32_t set_value(bits_job *j, const value *v) {
  error *e = bits_properties_read(j, v, false);
  uint32_t code = e != NULL ? e->code : 0;
  snprintf(said, sizeof said, "%s", e != NULL ? e->message : "");
  error_unref(e);
  return code;
}

static uint32_t set(bits_job *j, const char *text) {
  value *v = json(text);
  uint32_t code = set_value(j, v);
  value_free(v);
  return code;
}

/* The row, read into another job. */
static bits_job *reload(const bits_job *j) {
  char *row = bits_properties_write(j);
  error *e = NULL;
  value *v = json_read(row, strlen(row), NULL, &e);
  if (v == NULL) abort();
  bits_job *other = new_job();
  error_unref(bits_properties_read(other, v, true));
  value_free(v);
  mem_free(row);
  return other;
}

static bool row_has(const bits_job *j, const char *text) {
  char *row = bits_properties_write(j);
  bool has = strstr(row, text) != NULL;
  mem_free(row);
  return has;
}

/* ------------------------------------------------------------------
** One by one
** ---------------------------------------------------------------- */

#define BAD SAROS_E_INVALIDARG
#define LONG BG_E_STRING_TOO_LONG

static const struct {
  const char *set;
  uint32_t code;
} table[] = {
    {"{'name':'x'}", 0},
    {"{'name':''}", 0},
    {"{'name':7}", BAD},
    {"{'name':'a\\u0000b'}", BAD},
    {"{'nme':'x'}", BAD},
    {"{'type':'upload'}", BAD},
    {"{'group':'x'}", BAD},
    {"{'owner':'me'}", SAROS_E_NOTIMPL},
    {"{'priority':'foreground'}", 0},
    {"{'priority':'low'}", 0},
    {"{'priority':'urgent'}", BAD},
    {"{'priority':1}", BAD},
    {"{'durability':'file'}", 0},
    {"{'durability':'always'}", BAD},
    {"{'on_change':'error'}", 0},
    {"{'on_change':''}", BAD},
    {"{'retry_delay':0.5}", 0},
    {"{'retry_delay':-1}", BAD},
    {"{'retry_delay':1e300}", BAD},
    {"{'retry_delay':'600'}", BAD},
    {"{'no_progress_timeout':0}", 0},
    {"{'max_time':86400}", 0},
    {"{'connect_timeout':0}", BAD},
    {"{'connect_timeout':0.25}", 0},
    {"{'stall_timeout':86401}", BAD},
    {"{'overwrite':true}", 0},
    {"{'overwrite':1}", BAD},
    {"{'limit_download':1000000.0}", 0},
    {"{'limit_download':1.5}", BAD},
    {"{'limit_download':-1}", BAD},
    {"{'limit_upload':9223372036854775807}", BAD},
    {"{'max_size':0}", 0},
    {"{'redirects':51}", BAD},
    {"{'connections_per_host':0}", BAD},
    {"{'notify_flags':31}", 0},
    {"{'notify_flags':32}", BAD},
    {"{'notify_command':['/bin/true','a b']}", 0},
    {"{'notify_command':[]}", 0},
    {"{'notify_command':'/bin/true'}", BAD},
    {"{'notify_command':['']}", BAD},
    {"{'notify_command':[1]}", BAD},
    {"{'method':'POST'}", 0},
    {"{'method':'GO AWAY'}", BAD},
    {"{'method':'HEAD'}", BAD},
    {"{'cacert':'ca.pem'}", BAD},
    {"{'cacert':'/ca.pem'}", 0},
    {"{'proxy':''}", 0},
    {"{'proxy':'http://proxy:3128'}", 0},
    {"{'proxy':'socks5h://proxy'}", 0},
    {"{'proxy':'proxy:3128'}", BG_E_INVALID_PROXY_INFO},
    {"{'proxy':'http://me:secret@proxy'}", BG_E_INVALID_PROXY_INFO},
    {"{'proxy':'http://'}", BG_E_INVALID_PROXY_INFO},
    {"{'kept':{'a':[1,2]}}", 0},
    {"{'kept':[1]}", BAD},
    {"{'headers':[{'name':'X','value':'1'}]}", 0},
    {"{'headers':[]}", 0},
    {"{'headers':{}}", 0},
    {"{'headers':{'X':'1'}}", BAD},
    {"{'headers':[{'name':'X'}]}", BAD},
    {"{'headers':[{'value':'X'}]}", BAD},
    {"{'headers':[{'name':'X Y','value':'1'}]}", BAD},
    {"{'headers':[{'name':'X','value':'1\\r\\nY: 2'}]}", BAD},
    {"{'headers':[{'name':'X','value':'1\\u0000'}]}", BAD},
    {"{'headers':[{'name':'Range','value':'bytes=0-'}]}", BAD},
    {"{'headers':[{'name':'content-LENGTH','value':'1'}]}", BAD},
    {"{'headers':[{'name':'X','value':'1','reference':'env:HOME'}]}", BAD},
    {"{'headers':[{'name':'X','reference':'HOME'}]}", BAD},
    {"{'headers':[{'name':'X','reference':'file:relative'}]}", BAD},
    {"{'headers':[{'name':'X','value':'1','more':1}]}", BAD},
    {"{'credentials':{'user':'u','password':'p'}}", 0},
    {"{'credentials':{'user':'u:v','password':'p'}}", BAD},
    {"{'credentials':{'user':'u'}}", BAD},
    {"{'credentials':{'token':'t'}}", 0},
    {"{'credentials':{'token':'t','user':'u'}}", BAD},
    {"{'credentials':{'token':'t\\n'}}", BAD},
    {"{'credentials':'u:p'}", BAD},
    {"{'credentials':{}}", 0},
    {"{'credentials':[]}", 0},
    {"{'proxy_credentials':{'user':'u','password':'p'}}", 0},
    {"{'proxy_credentials':{'password':'p'}}", BAD},
    {"{'s3':{'access_key':'A','secret_key':'B','region':'eu-1'}}", 0},
    {"{'s3':{'access_key':'A'}}", BAD},
    {"{'s3':{'access_key':'A B','secret_key':'B'}}", BAD},
    {"{'s3':{'access_key':'A','secret_key':'B','region':'a/b'}}", BAD},
    {"{'s3':{'access_key':'A','secret_key':'B','reference':'env:X'}}", BAD},
    {"{'s3':{'reference':'env:SAROS_THERE_IS_NONE'}}", BAD},
    {"{'s3':{'key':'A'}}", BAD},
    {"{'s3':{}}", 0},
    {"{'s3':[]}", 0},
};

TEST(each_is_answered) {
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    bits_job *j = new_job();
    uint32_t code = set(j, table[i].set);
    if (code != table[i].code) printf("%s: %s\n", table[i].set, said);
    CHECK_INT(code, table[i].code);
    if (code != 0) CHECK(strlen(said) > 5);
    bits_job_unref(j);
  }
}

/* A text of so many characters, each of two bytes. */
static value *of_characters(const char *name, size_t n) {
  char *text = malloc(2 * n + 1);
  for (size_t i = 0; i < n; i++) memcpy(text + 2 * i, "\xC3\xA4", 2);
  text[2 * n] = '\0';
  value *map = value_map();
  value_put(map, name, value_text(text));
  free(text);
  return map;
}

static uint32_t set_long(const char *name, size_t n) {
  bits_job *j = new_job();
  value *v = of_characters(name, n);
  uint32_t code = set_value(j, v);
  value_free(v);
  bits_job_unref(j);
  return code;
}

TEST(texts_have_their_length) {
  CHECK_INT(set_long("name", 256), 0);
  CHECK_INT(set_long("name", 257), LONG);
  CHECK_INT(set_long("description", 1024), 0);
  CHECK_INT(set_long("description", 1025), LONG);
  CHECK_INT(set_long("proxy", 20000), BG_E_PROXY_LIST_TOO_LARGE);
}

static uint32_t set_login(size_t user, size_t password) {
  value *map = value_map(), *login = value_map();
  char *text = malloc(user + password + 2);
  memset(text, 'x', user + password + 1);
  value_put(login, "user", value_string(text, user));
  value_put(login, "password", value_string(text, password));
  value_put(map, "credentials", login);
  free(text);
  bits_job *j = new_job();
  uint32_t code = set_value(j, map);
  value_free(map);
  bits_job_unref(j);
  return code;
}

TEST(users_and_passwords_have_theirs) {
  CHECK_INT(set_login(300, 65535), 0);
  CHECK_INT(set_login(301, 1), BG_E_USERNAME_TOO_LARGE);
  CHECK_INT(set_login(1, 65536), BG_E_PASSWORD_TOO_LARGE);
}

static uint32_t set_headers(size_t count, size_t size) {
  value *map = value_map(), *list = value_list();
  char *text = malloc(size + 1);
  memset(text, 'x', size + 1);
  for (size_t i = 0; i < count; i++) {
    value *h = value_map();
    value_put(h, "name", value_text("X-One"));
    value_put(h, "value", value_string(text, size));
    value_add(list, h);
  }
  value_put(map, "headers", list);
  free(text);
  bits_job *j = new_job();
  uint32_t code = set_value(j, map);
  value_free(map);
  bits_job_unref(j);
  return code;
}

TEST(headers_have_their_number_and_length) {
  CHECK_INT(set_headers(64, 10), 0);
  CHECK_INT(set_headers(65, 10), LONG);
  CHECK_INT(set_headers(2, 16300), 0);
  CHECK_INT(set_headers(2, 16400), LONG);
}

TEST(delays_are_raised) {
  bits_job *j = new_job();
  CHECK_INT(j->retry_delay_ms, 600000);
  CHECK_INT(set(j, "{'retry_delay':1}"), 0);
  CHECK_INT(j->retry_delay_ms, 5000);
  CHECK_INT(set(j, "{'retry_delay':5.5}"), 0);
  CHECK_INT(j->retry_delay_ms, 5500);
  bits_job_unref(j);
}

TEST(they_do_what_they_say) {
  bits_job *j = new_job();
  CHECK_INT(j->priority, BITS_NORMAL);
  CHECK_INT(j->no_progress_ms / 1000, 1209600);
  CHECK_INT(set(j,
                "{'priority':'high','durability':'none','on_change':'error',"
                "'max_time':2,'no_progress_timeout':0,'connect_timeout':3,"
                "'stall_timeout':4,'overwrite':true,'length_required':false,"
                "'dynamic':true,'limit_download':5,'limit_upload':6,"
                "'max_size':7,'part_size':8,'redirects':9,"
                "'connections_per_host':10,'method':'POST','cacert':'/c',"
                "'proxy':''}"),
            0);
  const bits_terms *t = j->terms;
  CHECK_INT(j->priority, BITS_HIGH);
  CHECK_INT(t->durability, BITS_DURABLE_NONE);
  CHECK(!t->restart_changed && t->overwrite && !t->length_required);
  CHECK(t->dynamic);
  CHECK_INT(j->max_time_ms, 2000);
  CHECK_INT(j->no_progress_ms, 0);
  CHECK_INT(t->connect_ms, 3000);
  CHECK_INT(t->stall_ms, 4000);
  CHECK_INT(j->down, 5);
  CHECK_INT(j->up, 6);
  CHECK_INT(t->most, 7);
  CHECK_INT(t->part_size, 8);
  CHECK_INT(t->redirects, 9);
  CHECK_INT(t->per_host, 10);
  CHECK_TEXT(t->method, "POST");
  CHECK_TEXT(t->cacert, "/c");
  CHECK_TEXT(t->proxy, "");
  bits_job_unref(j);
}

TEST(all_or_none) {
  bits_job *j = new_job();
  bits_terms *before = j->terms;
  CHECK_INT(set(j, "{'name':'new','overwrite':true,'redirects':1000}"), BAD);
  CHECK(j->terms == before && !j->terms->overwrite);
  CHECK(value_get(j->properties, "name") == NULL);
  bits_job_unref(j);
}

/* A try that is at work keeps the terms it has. */
TEST(terms_are_never_changed) {
  bits_job *j = new_job();
  bits_terms *held = bits_terms_ref(j->terms);
  CHECK_INT(set(j, "{'overwrite':true}"), 0);
  CHECK(!held->overwrite && j->terms != held);
  bits_terms_unref(held);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Secrets
** ---------------------------------------------------------------- */

#define CANARY "c4n4ry"

static const char *header(const bits_job *j, const char *name) {
  for (uint32_t i = 0; i < j->terms->header_count; i++)
    if (strcmp(j->terms->headers[i].name, name) == 0)
      return j->terms->headers[i].value;
  return NULL;
}

static bool shows(const bits_job *j, const char *text) {
  buffer b = BUFFER_EMPTY;
  json_write(&b, j->properties, JSON_COMPACT);
  bool found = strstr(b.data, text) != NULL;
  buffer_free(&b);
  return found;
}

TEST(secrets_are_in_no_row) {
  static const char *const sets[] = {
      "{'headers':[{'name':'X-Mine','value':'" CANARY "','secret':true}]}",
      "{'headers':[{'name':'Authorization','value':'" CANARY "'}]}",
      "{'headers':[{'name':'cookie','value':'" CANARY "'}]}",
      "{'headers':[{'name':'X-Api-Key','value':'" CANARY "'}]}",
      "{'headers':[{'name':'PRIVATE-TOKEN','value':'" CANARY "'}]}",
      "{'credentials':{'user':'u','password':'" CANARY "'}}",
      "{'credentials':{'token':'" CANARY "'}}",
      "{'proxy_credentials':{'user':'u','password':'" CANARY "'}}",
      "{'s3':{'access_key':'" CANARY "','secret_key':'" CANARY
      "','session_token':'" CANARY "'}}",
  };
  for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
    bits_job *j = new_job();
    CHECK_INT(set(j, sets[i]), 0);
    CHECK(!row_has(j, CANARY) && !shows(j, CANARY));
    CHECK(shows(j, "\"secret\":true"));
    CHECK(bits_secret_lost(j->terms, j->properties) == NULL);
    bits_job *other = reload(j);
    CHECK(bits_secret_lost(other->terms, other->properties) != NULL);
    CHECK(value_equal(j->properties, other->properties));
    bits_job_unref(other);
    bits_job_unref(j);
  }
}

TEST(what_is_not_secret_comes_back) {
  bits_job *j = new_job();
  CHECK_INT(set(j,
                "{'headers':[{'name':'X-One','value':'1'},"
                "{'name':'X-Two','value':''}]}"),
            0);
  bits_job *other = reload(j);
  CHECK_TEXT(header(other, "X-One"), "1");
  CHECK_TEXT(header(other, "X-Two"), "");
  CHECK(bits_secret_lost(other->terms, other->properties) == NULL);
  bits_job_unref(other);
  bits_job_unref(j);
}

TEST(credentials_and_headers_mind_their_own) {
  bits_job *j = new_job();
  CHECK_INT(set(j, "{'headers':[{'name':'X','value':'1'}]}"), 0);
  CHECK_INT(set(j,
                "{'credentials':{'user':'Aladdin',"
                "'password':'open sesame'}}"),
            0);
  CHECK_TEXT(header(j, "Authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  CHECK_TEXT(header(j, "X"), "1");
  CHECK_INT(set(j, "{'headers':[{'name':'Y','value':'2'}]}"), 0);
  CHECK_TEXT(header(j, "Authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  CHECK(header(j, "X") == NULL);
  CHECK_INT(set(j, "{'credentials':{'token':'abc'}}"), 0);
  CHECK_TEXT(header(j, "Authorization"), "Bearer abc");
  CHECK_INT(j->terms->header_count, 2);
  CHECK_INT(set(j, "{'credentials':{}}"), 0);
  CHECK(header(j, "Authorization") == NULL);
  CHECK_TEXT(header(j, "Y"), "2");
  CHECK_INT(set(j, "{'headers':{}}"), 0);
  CHECK_INT(j->terms->header_count, 0);
  bits_job_unref(j);
}

static char file[] = "/tmp/saros-secret-XXXXXX";

static void write_file(const char *text) {
  FILE *f = fopen(file, "w");
  if (f == NULL) abort();
  fputs(text, f);
  fclose(f);
}

static uint32_t set_reference(bits_job *j, const char *form, const char *text) {
  char room[400];
  write_file(text);
  snprintf(room, sizeof room, "{%s'reference':'file:%s'}}", form, file);
  return set(j, room);
}

TEST(references_are_read_again) {
  bits_job *j = new_job();
  CHECK_INT(set_reference(j, "'credentials':{", CANARY "\n"), 0);
  CHECK_TEXT(header(j, "Authorization"), "Bearer " CANARY);
  CHECK(!row_has(j, CANARY) && row_has(j, file));
  write_file("another");
  bits_job *other = reload(j);
  CHECK_TEXT(header(other, "Authorization"), "Bearer another");
  CHECK(bits_secret_lost(other->terms, other->properties) == NULL);
  bits_job_unref(other);
  unlink(file);
  other = reload(j);
  CHECK_TEXT(bits_secret_lost(other->terms, other->properties), "credentials");
  bits_job_unref(other);
  bits_job_unref(j);
}

TEST(references_of_all_kinds) {
  bits_job *j = new_job();
  setenv("SAROS_TEST_SECRET", CANARY, 1);
  CHECK_INT(set(j,
                "{'headers':[{'name':'X',"
                "'reference':'env:SAROS_TEST_SECRET'}]}"),
            0);
  CHECK_TEXT(header(j, "X"), CANARY);
  CHECK_INT(set(j,
                "{'proxy_credentials':{'user':'u',"
                "'reference':'env:SAROS_TEST_SECRET'}}"),
            0);
  CHECK_TEXT(j->terms->proxy_login, "u:" CANARY);
  CHECK(!row_has(j, CANARY));
  unsetenv("SAROS_TEST_SECRET");
  bits_job *other = reload(j);
  CHECK(bits_secret_lost(other->terms, other->properties) != NULL);
  bits_job_unref(other);
  CHECK_INT(set(j,
                "{'headers':[{'name':'X',"
                "'reference':'env:SAROS_TEST_SECRET'}]}"),
            BAD);
  CHECK(strstr(said, CANARY) == NULL);
  bits_job_unref(j);
}

TEST(a_secret_is_one_line) {
  bits_job *j = new_job();
  CHECK_INT(set_reference(j, "'credentials':{", "a\nb\n"), BAD);
  CHECK_INT(set_reference(j, "'credentials':{", ""), 0);
  char big[70000];
  memset(big, 'x', sizeof big - 1);
  big[sizeof big - 1] = '\0';
  CHECK_INT(set_reference(j, "'credentials':{", big), BG_E_PASSWORD_TOO_LARGE);
  CHECK_INT(set(j, "{'credentials':{'reference':'file:/'}}"),
            code_of_errno(EINVAL));
  CHECK(set(j, "{'credentials':{'reference':'file:/dev/zero'}}") != 0);
  unlink(file);
  bits_job_unref(j);
}

TEST(keys_of_s3) {
  bits_job *j = new_job();
  CHECK_INT(set_reference(j, "'s3':{'region':'eu-1',", "KEY\nSECRET\n"), 0);
  CHECK_TEXT(j->terms->s3_key, "KEY");
  CHECK_TEXT(j->terms->s3_secret, "SECRET");
  CHECK(j->terms->s3_token == NULL);
  CHECK_TEXT(j->terms->s3_region, "eu-1");
  bits_job *other = reload(j);
  CHECK_TEXT(other->terms->s3_secret, "SECRET");
  CHECK_TEXT(other->terms->s3_region, "eu-1");
  bits_job_unref(other);
  CHECK_INT(set_reference(j, "'s3':{", "KEY\r\nSECRET\r\nTOKEN\r\n"), 0);
  CHECK_TEXT(j->terms->s3_token, "TOKEN");
  CHECK_INT(set_reference(j, "'s3':{", "KEY\n"), BAD);
  CHECK_INT(set_reference(j, "'s3':{", "KEY\nSECRET\nTOKEN\nmore"), BAD);
  unlink(file);
  other = reload(j);
  CHECK_TEXT(bits_secret_lost(other->terms, other->properties), "s3");
  bits_job_unref(other);
  setenv("SAROS_TEST_ACCESS_KEY_ID", "K", 1);
  setenv("SAROS_TEST_SECRET_ACCESS_KEY", "S", 1);
  CHECK_INT(set(j, "{'s3':{'reference':'env:SAROS_TEST'}}"), 0);
  CHECK_TEXT(j->terms->s3_key, "K");
  CHECK(j->terms->s3_token == NULL && j->terms->s3_region == NULL);
  CHECK_INT(set(j, "{'s3':{}}"), 0);
  CHECK(j->terms->s3_key == NULL);
  CHECK(bits_secret_lost(j->terms, j->properties) == NULL);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Rows of jobs
** ---------------------------------------------------------------- */

TEST(a_row_comes_back) {
  bits_job *j = new_job();
  CHECK_INT(set(j,
                "{'name':'caf\xC3\xA9','description':'d',"
                "'priority':'low','retry_delay':7.25,"
                "'no_progress_timeout':8,'max_time':9,"
                "'limit_download':10,'limit_upload':11,'overwrite':true,"
                "'notify_command':['/bin/echo','$X'],'notify_flags':3,"
                "'kept':{'a':{'b':[1,2.5,null]}}}"),
            0);
  m.clock_base = 1000000;
  j->marks |= BITS_JOB_RESUMED | BITS_JOB_NOTIFY | BITS_JOB_BUSY;
  j->created = 1234567890;
  j->modified = 1234567891;
  j->transferred = 1234567892;
  j->retry_at = 2000000;
  j->progress_at = 500;
  j->begun_at = 400;
  j->touched_at = 300;
  j->tries = 3;
  j->retries = 4;
  j->error_count = 5;
  j->failure = (bits_failure){.code = 0x80190194u,
                              .context = BITS_CONTEXT_REMOTE,
                              .win32 = 6,
                              .transport = 404,
                              .file = 7,
                              .why = mem_text("a\\\\b\\n is not there")};
  bits_job *other = reload(j);
  CHECK(value_equal(j->properties, other->properties));
  CHECK_INT(other->priority, BITS_LOW);
  CHECK_INT(other->retry_delay_ms, 7250);
  CHECK_INT(other->no_progress_ms, 8000);
  CHECK_INT(other->max_time_ms, 9000);
  CHECK_INT(other->down, 10);
  CHECK_INT(other->up, 11);
  CHECK(other->terms->overwrite);
  CHECK_INT(other->marks, BITS_JOB_RESUMED | BITS_JOB_NOTIFY);
  CHECK_INT(other->created, 1234567890);
  CHECK_INT(other->modified, 1234567891);
  CHECK_INT(other->transferred, 1234567892);
  CHECK_INT(other->retry_at, 2000000);
  CHECK_INT(other->progress_at, 500);
  CHECK_INT(other->begun_at, 400);
  CHECK_INT(other->touched_at, 300);
  CHECK_INT(other->tries, 3);
  CHECK_INT(other->retries, 4);
  CHECK_INT(other->error_count, 5);
  CHECK_INT(other->failure.code, 0x80190194u);
  CHECK_INT(other->failure.context, BITS_CONTEXT_REMOTE);
  CHECK_INT(other->failure.win32, 6);
  CHECK_INT(other->failure.transport, 404);
  CHECK_INT(other->failure.file, 7);
  CHECK_TEXT(other->failure.why, "a\\\\b\\n is not there");
  bits_job_unref(other);
  bits_job_unref(j);
}

TEST(a_newer_row_takes_the_place_of_the_older) {
  bits_job *j = new_job(), *plain = new_job();
  CHECK_INT(set(j, "{'name':'x','overwrite':true,'max_time':5}"), 0);
  j->failure.code = 0x80200024u;
  char *row = bits_properties_write(plain);
  error *e = NULL;
  value *v = json_read(row, strlen(row), NULL, &e);
  CHECK(bits_properties_read(j, v, true) == NULL);
  CHECK(value_get(j->properties, "name") == NULL && !j->terms->overwrite);
  CHECK_INT(j->max_time_ms, plain->max_time_ms);
  CHECK_INT(j->failure.code, 0);
  value_free(v);
  mem_free(row);
  bits_job_unref(plain);
  bits_job_unref(j);
}

TEST(rows_that_make_no_sense) {
  static const char *const rows[] = {
      "7",
      "[]",
      "{}",
      "{'set':7}",
      "{'set':{'name':7,'what':1}}",
      "{'set':{'headers':7,'s3':[1],'credentials':7,'notify_command':{}}}",
      "{'retry_at':-1,'progress_at':9e99,'begun_at':'x','tries':1e10}",
      "{'failure':7}",
      "{'failure':{'code':1}}",
      "{'failure':{'code':2149580801,'context':99,'file':-1,'why':7}}",
      "{'marks':-1}",
      "{'marks':4294967296}",
      "{'group':'x'}",
      "{'group':7}",
      "{'progress_at':9223372036854775807,'touched_at':9223372036854775807}"};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bits_job *j = new_job();
    value *v = json(rows[i]);
    error *e = bits_properties_read(j, v, true);
    CHECK(e == NULL);
    CHECK(j->progress_at <= bits_now(&m) && j->touched_at <= bits_now(&m));
    CHECK(j->failure.context <= BITS_CONTEXT_APPLICATION);
    CHECK(j->group == NULL);
    value_free(v);
    bits_job_unref(j);
  }
}

/* ------------------------------------------------------------------
** Rows of files
** ---------------------------------------------------------------- */

static bits_file *fresh(bits_job *j) {
  bits_file *f = bits_job_append(j, "http://h/x", "/x");
  if (f == NULL) abort();
  return f;
}

/* Written, and read into another file. */
static bits_file *reread(bits_job *j, const bits_file *f, uint32_t expected) {
  queue_file row = {.state = f->state,
                    .marks = f->marks,
                    .have = (int64_t)atomic_load(&f->have),
                    .size = f->size == BITS_UNKNOWN ? -1 : (int64_t)f->size};
  char *known, *extra;
  CHECK(bits_file_write(f, &known, &extra));
  row.known = known;
  row.extra = extra;
  bits_file *other = fresh(j);
  error *e = bits_file_read(other, &row);
  CHECK_INT(e != NULL ? e->code : 0, expected);
  error_unref(e);
  mem_free(known);
  mem_free(extra);
  return other;
}

TEST(a_file_comes_back) {
  bits_job *j = new_job();
  bits_file *f = fresh(j);
  f->state = BITS_FILE_FETCHED;
  f->marks = BITS_FILE_VERIFIED | BITS_FILE_NO_RANGE;
  f->size = 1000;
  atomic_store(&f->have, 900);
  f->known = mem_zero(sizeof *f->known);
  f->known->etag = mem_text("W/\"a \\\"b\\\" \xFF\xFE\"");
  f->known->modified = mem_text("Sun, 06 Nov 1994 08:49:37 GMT");
  f->known->encoding = mem_text("gzip");
  f->known->digest = mem_text("sha-256:00");
  f->known->total = 1000;
  f->known->durable = 800;
  f->known->device = UINT64_MAX;
  f->known->inode = 1ull << 63;
  strcpy(f->known->boot, "01234567-89ab-4cde-8f01-23456789abcd");
  f->extra = mem_zero(sizeof *f->extra);
  f->extra->sha256 = mem_text(
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
  f->extra->upload = mem_text("{\"id\":\"x\"}");
  f->extra->ranges = mem_zero(2 * sizeof *f->extra->ranges);
  f->extra->range_count = 2;
  f->extra->ranges[0] = (bits_range){5, 10};
  f->extra->ranges[1] = (bits_range){15, BITS_UNKNOWN};
  bits_file *o = reread(j, f, 0);
  CHECK_INT(o->state, BITS_FILE_FETCHED);
  CHECK_INT(o->marks, BITS_FILE_VERIFIED | BITS_FILE_NO_RANGE);
  CHECK_INT(o->size, 1000);
  CHECK_INT(atomic_load(&o->have), 900);
  CHECK_TEXT(o->known->etag, f->known->etag);
  CHECK_TEXT(o->known->modified, f->known->modified);
  CHECK_TEXT(o->known->encoding, "gzip");
  CHECK_TEXT(o->known->digest, "sha-256:00");
  CHECK_INT(o->known->total, 1000);
  CHECK_INT(o->known->durable, 800);
  CHECK(o->known->device == UINT64_MAX && o->known->inode == 1ull << 63);
  CHECK_TEXT(o->known->boot, f->known->boot);
  CHECK_TEXT(o->extra->sha256, f->extra->sha256);
  CHECK_TEXT(o->extra->upload, f->extra->upload);
  CHECK_INT(o->extra->range_count, 2);
  CHECK(memcmp(o->extra->ranges, f->extra->ranges, 2 * sizeof(bits_range)) ==
        0);
  bits_job_unref(j);
}

TEST(nothing_known_is_no_text) {
  bits_job *j = new_job();
  char *known, *extra;
  CHECK(bits_file_write(fresh(j), &known, &extra));
  CHECK(known == NULL && extra == NULL);
  bits_job_unref(j);
}

static bits_file *read_row(bits_job *j, const char *known, const char *extra,
                           uint32_t *code) {
  bits_file *f = fresh(j);
  queue_file row = {.state = BITS_FILE_FETCHED,
                    .have = 10,
                    .size = 10,
                    .known = known,
                    .extra = extra};
  error *e = bits_file_read(f, &row);
  *code = e != NULL ? e->code : 0;
  error_unref(e);
  return f;
}

/* What is known of bytes and makes no sense: they are nobody's, and the file
   begins again. */
TEST(what_is_known_and_wrong_is_not_known) {
  static const char *const rows[] = {
      "",
      "{",
      "7",
      "[]",
      "{}",
      "{\"durable\":-1,\"device\":1,\"inode\":1}",
      "{\"durable\":1,\"device\":1}",
      "{\"durable\":1.5,\"device\":1,"
      "\"inode\":1}",
      "{\"durable\":9,\"total\":5,\"device\":1,\"inode\":1}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":7}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":\"a\\nb\"}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":\"a\\u0000b\"}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":[\"*\"]}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":[]}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"boot\":"
      "\"01234567-89ab-4cde-8f01-23456789abcdef\"}"};
  bits_job *j = new_job();
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t code;
    bits_file *f = read_row(j, rows[i], NULL, &code);
    if (f->known != NULL) printf("%s\n", rows[i]);
    CHECK_INT(code, 0);
    CHECK(f->known == NULL);
    CHECK_INT(f->state, BITS_FILE_WAITS);
    CHECK_INT(atomic_load(&f->have), 0);
  }
  bits_job_unref(j);
}

/* What the caller wanted of a file is never left out. */
TEST(what_was_wanted_and_is_wrong_is_refused) {
  static const char *const rows[] = {"",
                                     "7",
                                     "[]",
                                     "{\"sha256\":\"00\"}",
                                     "{\"ranges\":7}",
                                     "{\"ranges\":[]}",
                                     "{\"ranges\":[[1]]}",
                                     "{\"ranges\":[[1,0]]}",
                                     "{\"ranges\":[[-1,2]]}",
                                     "{\"ranges\":[[1,5],[5,1]]}",
                                     "{\"ranges\":[[1,-1],[5,1]]}",
                                     "{\"ranges\":[[5,1],[1,1]]}",
                                     "{\"ranges\":[[9223372036854775807,1]]}",
                                     "{\"upload\":7}"};
  bits_job *j = new_job();
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t code;
    read_row(j, NULL, rows[i], &code);
    if (code == 0) printf("%s\n", rows[i]);
    CHECK(code != 0);
  }
  bits_job_unref(j);
}

TEST(numbers_of_a_file) {
  bits_job *j = new_job();
  static const queue_file rows[] = {
      {.state = -1}, {.state = 4}, {.have = -1}, {.size = -2}};
  for (size_t i = 0; i < 4; i++) {
    error *e = bits_file_read(fresh(j), &rows[i]);
    CHECK(e != NULL && e->code == SAROS_E_DAMAGED);
    error_unref(e);
  }
  bits_job_unref(j);
}

#ifdef SAROS_TEST
/* Wherever memory runs out, nothing is half set and nothing is left. */
TEST(without_memory) {
  bool more = true;
  long blocks = mem_blocks();
  for (long n = 1; more; n++) {
    bits_job *j = new_job();
    value *v = json(
        "{'name':'x','method':'GO','headers':[{'name':'X',"
        "'value':'1'}],'credentials':{'user':'u','password':'p'},"
        "'s3':{'access_key':'A','secret_key':'B'},"
        "'proxy_credentials':{'user':'u','password':'p'}}");
    mem_fail_at(n);
    error *e = bits_properties_read(j, v, false);
    more = mem_fail_left() == 0;
    mem_fail_at(0);
    CHECK((e != NULL) == more || e == NULL);
    if (e != NULL) CHECK(value_get(j->properties, "name") == NULL);
    error_unref(e);
    value_free(v);
    bits_job_unref(j);
  }
  CHECK_INT(mem_blocks(), blocks);
}
#endif

int main(int argc, char **argv) {
  check_begin(argc, argv);
  atomic_init(&m.refs, 1000000);
  pthread_mutex_init(&m.lock, NULL);
  int fd = mkstemp(file);
  if (fd >= 0) close(fd);
  RUN(each_is_answered);
  RUN(texts_have_their_length);
  RUN(users_and_passwords_have_theirs);
  RUN(headers_have_their_number_and_length);
  RUN(delays_are_raised);
  RUN(they_do_what_they_say);
  RUN(all_or_none);
  RUN(terms_are_never_changed);
  RUN(secrets_are_in_no_row);
  RUN(what_is_not_secret_comes_back);
  RUN(credentials_and_headers_mind_their_own);
  RUN(references_are_read_again);
  RUN(references_of_all_kinds);
  RUN(a_secret_is_one_line);
  RUN(keys_of_s3);
  RUN(a_row_comes_back);
  RUN(a_newer_row_takes_the_place_of_the_older);
  RUN(rows_that_make_no_sense);
  RUN(a_file_comes_back);
  RUN(nothing_known_is_no_text);
  RUN(what_is_known_and_wrong_is_not_known);
  RUN(what_was_wanted_and_is_wrong_is_refused);
  RUN(numbers_of_a_file);
#ifdef SAROS_TEST
  RUN(without_memory);
#endif
  unlink(file);
  return check_end();
}
