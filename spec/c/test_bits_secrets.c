/*
** Secrets of a job: where they are and where they are not, references to them
** that are read again, and which of them are lost.
*/
#include "bits_properties_case.h"

static bool row_has(const bits_job *j, const char *text) {
  char *row = bits_properties_write(j);
  bool has = strstr(row, text) != NULL;
  mem_free(row);
  return has;
}

/* ------------------------------------------------------------------
** What a job was given
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

/* ------------------------------------------------------------------
** References
** ---------------------------------------------------------------- */

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

int main(int argc, char **argv) {
  properties_begin(argc, argv);
  int fd = mkstemp(file);
  if (fd >= 0) close(fd);
  RUN(secrets_are_in_no_row);
  RUN(what_is_not_secret_comes_back);
  RUN(credentials_and_headers_mind_their_own);
  RUN(references_are_read_again);
  RUN(references_of_all_kinds);
  RUN(a_secret_is_one_line);
  RUN(keys_of_s3);
  unlink(file);
  return check_end();
}
