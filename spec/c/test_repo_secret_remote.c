/*
** What stores on servers leave in memory: a child talks to one with a password
** or a key; its parent looks for them in the child's memory.
**
** not under valgrind: it is the tool's memory that would be looked at
*/
#include "store_case.h"
/* Behind it: it has a global of one letter. */
#include "http_case.h"
#include "memory_case.h"
#include "repository/crypto.h"
#include "repository/store/remote.h"
#include "repository/store/rest_parts.h"
#include "repository/store/s3_parts.h"

static store_place place;
static server rest_server, s3_server, tls_server;

/* ------------------------------------------------------------------
** The child
** ---------------------------------------------------------------- */

static repo_store *theirs;
static unsigned kept;

/* One line of what the parent wrote when this child was there already. */
static void read_line(const char *name, char line[200]) {
  int fd = open(store_path(&place, name), O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, line, 199) : -1;
  CHECK(n > 0);
  line[n > 0 ? n : 0] = '\0';
  if (fd >= 0) close(fd);
}

static void put_line(value *v, const char *option) {
  char line[200];
  read_line("secret", line);
  CHECK(value_put(v, option, value_text(line)));
  repo_wipe(line, sizeof line);
}

static void wipe_options(value *v) {
  for (uint32_t i = 0; i < v->count; i++)
    repo_wipe(v->as.fields[i].item->as.string.data,
              v->as.fields[i].item->as.string.size);
  value_free(v);
}

static void open_theirs(const char *scheme, const server *on, value *v) {
  char location[200];
  error *e = NULL;
  snprintf(location, sizeof location, "%s:http://127.0.0.1:%d/bucket/r", scheme,
           on->port);
  theirs = repo_store_open(location, v, &e);
  CHECK(theirs != NULL && e == NULL);
  wipe_options(v);
  if (theirs != NULL) e = theirs->way->create(theirs);
  CHECK(e == NULL);
}

static void open_rest(void) {
  value *v = value_map();
  CHECK(value_put(v, "rest_username", value_text("u")));
  put_line(v, "rest_password");
  open_theirs("rest", &rest_server, v);
}

static void open_s3(void) {
  value *v = value_map();
  CHECK(value_put(v, "access_key", value_text("AKTEST")));
  put_line(v, "secret_key");
  open_theirs("s3", &s3_server, v);
}

static void use_store(void) {
  static char data[300000];
  repo_piece piece = {data, sizeof data};
  repo_id id;
  uint64_t size = 0;
  repo_id_of(&id, data, sizeof data);
  CHECK_INT(store_code(theirs->way->save(theirs, REPO_PACKS, &id, &piece, 1,
                                         false, NULL)),
            0);
  CHECK_INT(store_code(theirs->way->read(theirs, REPO_PACKS, &id, 5, 70000,
                                         data, NULL)),
            0);
  CHECK_INT(store_code(theirs->way->size(theirs, REPO_PACKS, &id, &size, NULL)),
            0);
  CHECK_INT(size, sizeof data);
}

/* Without a store: what libcurl does with TLS. */
static void ask_tls(void) {
  char line[200], url[100], body[500] = {0};
  kept = http_keep();
  read_line("secret", line);
  for (int i = 0; i < 5; i++) { /* what went last lies longest */
    told t;
    http_field field = {"Authorization", line, true};
    http_piece piece = {body, sizeof body};
    http_ask ask = {.method = i % 2 == 0 ? "GET" : "PUT",
                    .fields = &field,
                    .field_count = 1,
                    .pieces = i % 2 == 0 ? NULL : &piece,
                    .piece_count = i % 2 == 0 ? 0 : 1,
                    .cacert = store_path(&place, "ca.pem")};
    snprintf(url, sizeof url, "https://127.0.0.1:%d/ok/%d", tls_server.port,
             i * 7000);
    http_request *r = go(url, &ask, &t);
    CHECK(r != NULL && t.end == HTTP_WHOLE);
    told_free(&t, r);
  }
  repo_wipe(line, sizeof line);
}

static void close_theirs(void) {
  repo_store_close(theirs);
  theirs = NULL;
  http_settle();
}

static int act(char command) {
  switch (command) {
    case 'r': open_rest(); break;
    case 's': open_s3(); break;
    case 'u': use_store(); break;
    case 't': ask_tls(); break;
    case 'c': close_theirs(); break;
  }
  return 0;
}


/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

static void put_secret(const char *text) {
  int fd =
      open(store_path(&place, "secret"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  if (fd >= 0) close(fd);
}

static void make_secret(char text[33]) {
  uint8_t bytes[16];
  CHECK(repo_random(bytes, sizeof bytes) == NULL);
  for (size_t i = 0; i < 16; i++)
    snprintf(text + 2 * i, 3, "%02x", (unsigned)bytes[i]);
}

static unsigned seen_at(memory_look *l, const actor *a, bool all) {
  memory_forget(l);
  l->quiet = all;
  CHECK(memory_of(l, a->pid, all));
  CHECK(memory_of_threads(l, a->pid));
  return memory_seen(l, NULL);
}

TEST(a_password_for_rest) {
  MEMORY_NOT_HERE;
  memory_look l = {0};
  char text[33], both[40];
  buffer b = BUFFER_EMPTY;
  actor a = actor_begin(act);
  make_secret(text);
  put_secret(text);
  CHECK_INT(actor_do(&a, 'r'), 0);
  memory_want(&l, "password", text, 32);
  snprintf(both, sizeof both, "u:%s", text);
  text_base64(&b, both, strlen(both));
  memory_want(&l, "as base64", b.data, 20);
  memory_want(&l, "as base64", b.data + 20, 20);
  CHECK_INT(seen_at(&l, &a, false), 0);
  CHECK_INT(actor_do(&a, 'u'), 0);
  CHECK_INT(seen_at(&l, &a, false), 0);
  CHECK_INT(seen_at(&l, &a, true), 3); /* it has them, where it should */
  CHECK_INT(actor_do(&a, 'c'), 0);
  CHECK_INT(seen_at(&l, &a, true), 0);
  actor_end(&a);
  buffer_free(&b);
}

/* The server knows only this one; nobody else may have it in his program. */
static void secret_of_server(char text[18]) {
  static const char turned[] = "yek+yranac/TeRcEs";
  for (size_t i = 0; i < 17; i++) text[i] = turned[16 - i];
  text[17] = '\0';
}

TEST(a_key_for_s3) {
  MEMORY_NOT_HERE;
  memory_look l = {0};
  char text[18], day[16];
  uint8_t key[32];
  actor a = actor_begin(act);
  secret_of_server(text);
  put_secret(text);
  CHECK_INT(actor_do(&a, 's'), 0);
  CHECK_INT(actor_do(&a, 'u'), 0);
  memory_want(&l, "secret key", text, 17);
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  strftime(day, sizeof day, "%Y%m%d", &tm);
  CHECK(http_sign_key(text, day, "us-east-1", "s3", key));
  memory_want(&l, "signing key", key, 32);
  CHECK_INT(seen_at(&l, &a, false), 0);
  CHECK(seen_at(&l, &a, true) >= 1);
  CHECK_INT(actor_do(&a, 'c'), 0);
  CHECK_INT(seen_at(&l, &a, true), 0);
  actor_end(&a);
}

TEST(a_header_through_tls) {
  MEMORY_NOT_HERE;
  if (tls_server.port == 0) SKIP("no server with TLS here (python3, openssl)");
  memory_look l = {0};
  char text[33];
  actor a = actor_begin(act);
  make_secret(text);
  put_secret(text);
  CHECK_INT(actor_do(&a, 't'), 0);
  memory_want(&l, "header", text, 32);
  CHECK_INT(seen_at(&l, &a, true), 0);
  actor_end(&a);
}

static void serve(void) {
  static const char *const rest_command[] = {"python3", "spec/rest/server.py",
                                             NULL};
  static const char *const s3_command[] = {"python3", "spec/s3/server.py",
                                           NULL};
  const char *tls_command[] = {"python3", "spec/http/server.py", "--tls",
                               place.path, NULL};
  unsetenv("http_proxy");
  unsetenv("https_proxy");
  if (server_start(&rest_server, rest_command) &&
      server_start(&s3_server, s3_command) &&
      (server_start(&tls_server, tls_command) || true)) {
    RUN(a_password_for_rest);
    RUN(a_key_for_s3);
    RUN(a_header_through_tls);
  } else {
    printf("SKIPPED all: there is no python3 here to serve with\n");
    check_skipped++;
  }
  server_stop(&tls_server);
  server_stop(&s3_server);
  server_stop(&rest_server);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  store_engine();
  store_place_make(&place);
  serve();
  store_place_end(&place);
  return check_end();
}
