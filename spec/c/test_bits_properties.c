/*
** Properties: what each may be and what it is answered with; all or none, also
** where memory runs out.
*/
#include "bits_properties_case.h"

/* ------------------------------------------------------------------
** One by one
** ---------------------------------------------------------------- */

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
  properties_begin(argc, argv);
  RUN(each_is_answered);
  RUN(texts_have_their_length);
  RUN(users_and_passwords_have_theirs);
  RUN(headers_have_their_number_and_length);
  RUN(delays_are_raised);
  RUN(they_do_what_they_say);
  RUN(all_or_none);
  RUN(terms_are_never_changed);
#ifdef SAROS_TEST
  RUN(without_memory);
#endif
  return check_end();
}
