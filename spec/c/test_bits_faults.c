/*
** The fault table (spec/bits_faults.txt), each row through a job of its own,
** all of them at once, but for those whose server says no more: for them the
** clock is moved. What is called whole is compared byte by byte.
**
** not under valgrind: a hundred and fifty jobs, and their time-outs
*/
#include "bits_faults_case.h"

/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

static char *trim(char *text) {
  text += strspn(text, " \t");
  size_t size = strlen(text);
  while (size > 0 && strchr(" \t\n", text[size - 1]) != NULL) size--;
  text[size] = '\0';
  return text;
}

static void read_row(char *line) {
  row *r = &rows[row_count];
  char *rest = line, *part[4];
  for (int i = 0; i < 4; i++) {
    char *text = strsep(&rest, "|");
    if (text == NULL) abort();
    part[i] = trim(text);
  }
  memset(r, 0, sizeof *r);
  snprintf(r->name, sizeof r->name, "%s", part[0]);
  snprintf(r->query, sizeof r->query, "%s", part[1]);
  snprintf(r->options, sizeof r->options, "%s", part[2]);
  snprintf(r->wanted, sizeof r->wanted, "%s", part[3]);
  r->size = SIZE;
  r->host = ++row_count;
}

static void read_table(void) {
  FILE *f = fopen("spec/bits_faults.txt", "r");
  char line[600];
  row_count = 0;
  if (f == NULL) abort();
  while (fgets(line, sizeof line, f) != NULL && row_count < ROWS)
    if (strchr(line, '|') != NULL && line[0] != '#') read_row(line);
  fclose(f);
}

/* "gets=2" of the outcome; false: it says nothing of it. */
static bool wants(const row *r, const char *name, char *text, size_t size) {
  char key[32];
  snprintf(key, sizeof key, " %s=", name);
  const char *at = strstr(r->wanted, key);
  if (at == NULL) return false;
  at += strlen(key);
  snprintf(text, size, "%.*s", (int)strcspn(at, " "), at);
  return true;
}

static long wants_number(const row *r, const char *name, long usual) {
  char text[32];
  return wants(r, name, text, sizeof text) ? strtol(text, NULL, 0) : usual;
}

static bool wants_word(const row *r, const char *word) {
  const char *at = strstr(r->wanted, word);
  return at != NULL && (at[strlen(word)] == ' ' || at[strlen(word)] == '\0');
}

/* ------------------------------------------------------------------
** What became of it
** ---------------------------------------------------------------- */

static void check_long(const row *r, const char *what, long is, long should) {
  char a[32], b[32];
  if (is == should) return;
  snprintf(a, sizeof a, what[0] == 'c' ? "0x%lX" : "%ld", (unsigned long)is);
  snprintf(b, sizeof b, what[0] == 'c' ? "0x%lX" : "%ld",
           (unsigned long)should);
  differs(r, what, a, b);
}

static void check_content(const row *r, long version, long size, bool zip) {
  char name[32], local[32], hex[65] = "", what[200];
  size_t have;
  content_name(r, name);
  local_name(r, local);
  char *data = whole_file(in_world(local), &have);
  if (data == NULL) {
    differs(r, "the file", "not there", "whole");
    return;
  }
  hex_of(data, have, hex);
  snprintf(what, sizeof what, "!sha256/%s?size=%ld&version=%ld%s", name, size,
           version, zip ? "&gzip" : "");
  char *right = server_told(what);
  if (strcmp(right, hex) != 0) {
    snprintf(what, sizeof what, "%zu other bytes", have);
    differs(r, "the file", what, "what the server has");
  }
  free(right);
  free(data);
}

static void check_stored(const row *r) {
  char name[32], what[100], hex[65], right[100];
  content_name(r, name);
  unsigned char *data = server_content(name, SIZE, 0);
  hex_of(data, SIZE, hex);
  free(data);
  snprintf(what, sizeof what, "!stored/%s", name);
  snprintf(right, sizeof right, "%u %s", SIZE, hex);
  char *stored = server_told(what);
  if (strcmp(stored, right) != 0) differs(r, "what is stored", stored, right);
  free(stored);
}

static bool file_says(const row *r, const char *what) {
  value *files = bits_job_files(r->job, 0, 1);
  const value *file =
      files != NULL && files->count > 0 ? files->as.items[0] : NULL;
  const value *v = file != NULL ? value_get(file, what) : NULL;
  bool says = v != NULL && v->type == VALUE_BOOL && v->as.boolean;
  value_free(files);
  return says;
}

static void check_whole(const row *r) {
  uint32_t code = 1, flags, win32, transport, retries;
  bool unproven = file_says(r, "unproven");
  if (unproven != wants_word(r, "unproven"))
    differs(r, "it", unproven ? "unproven" : "proven", "that");
  CHECK_INT(bits_job_get_status(r->job, &flags, &win32, &transport, &retries),
            0);
  CHECK(flags == 0x04 && win32 == 0 && transport == 0 && retries == 0);
  CHECK(is_fine(bits_job_complete(r->job, &code)));
  CHECK_INT(code, 0);
  if (is_upload(r) && !wants_word(r, "nothing"))
    check_stored(r);
  else if (!is_upload(r))
    check_content(r, wants_number(r, "version", 0),
                  wants_number(r, "size", SIZE), wants_word(r, "gzip"));
}

static long field(const value *v, const char *name) {
  const value *item = v != NULL ? value_get(v, name) : NULL;
  return item != NULL && item->type == VALUE_INT ? (long)item->as.integer : -1;
}

static void check_error(const row *r, bool again) {
  uint32_t code = 0, flags, win32 = 0, transport = 0, retries;
  value *v = bits_job_error(r->job, &code);
  const value *message = v != NULL ? value_get(v, "message") : NULL;
  if (message == NULL || message->type != VALUE_STRING ||
      strlen(message->as.string.data) < 10)
    differs(r, "the error", "without a sentence", "with one");
  CHECK_INT(bits_job_get_status(r->job, &flags, &win32, &transport, &retries),
            0);
  check_long(r, "code", field(v, "code"), wants_number(r, "code", -1));
  check_long(r, "context", field(v, "context"),
             wants_number(r, "context", field(v, "context")));
  check_long(r, "transport", transport, wants_number(r, "transport", 0));
  check_long(r, "win32", win32, wants_number(r, "win32", win32));
  check_long(r, "flags", flags, again ? 0x18 : 0x10);
  value_free(v);
}

static void print_status(const row *r) {
  value *v = bits_job_status(r->job);
  buffer text = BUFFER_EMPTY;
  json_write(&text, v, JSON_COMPACT);
  printf("    %s\n", text.data != NULL ? text.data : "");
  buffer_free(&text);
  value_free(v);
}

static void check_asked(const row *r) {
  char what[100], wanted[64];
  const char *method = is_upload(r) ? "PUT" : "GET";
  snprintf(what, sizeof what, "!count?of=/r%u.&method=%s", r->host, method);
  char *count = server_told(what);
  long gets = wants_number(r, "gets", -1);
  if (gets >= 0 && gets != strtol(count, NULL, 10)) {
    check_long(r, "gets", strtol(count, NULL, 10), gets);
    snprintf(what, sizeof what, "!words?of=/r%u.", r->host);
    char *words = server_told(what);
    printf("%s    %u times told to go on, first: %s\n", words, r->resumes,
           r->why);
    free(words);
    print_status(r);
  }
  free(count);
  if (!wants(r, "range", wanted, sizeof wanted)) return;
  snprintf(what, sizeof what, "!range?of=/r%u.&method=%s", r->host, method);
  char *range = server_told(what);
  if (strcmp(range, wanted) != 0) differs(r, "the last range", range, wanted);
  free(range);
}

static void check_row(const row *r) {
  static const char *const words[] = {"whole", "error", "again"};
  bits_state states[] = {BITS_TRANSFERRED, BITS_ERROR, BITS_TRANSIENT_ERROR};
  int wanted = -1, is = -1;
  for (int i = 0; i < 3; i++) {
    if (strncmp(r->wanted, words[i], strlen(words[i])) == 0) wanted = i;
    if (r->over == states[i]) is = i;
  }
  if (wanted < 0) abort();
  check_nothing_appeared(r);
  if (is != wanted) {
    differs(r, "it", is < 0 ? "nothing" : words[is], words[wanted]);
    print_status(r);
  }
  if (is == 0)
    check_whole(r);
  else if (is == wanted)
    check_error(r, is == 2);
  if (is == wanted) check_asked(r);
}

/* ------------------------------------------------------------------
** Whose server says no more
** ---------------------------------------------------------------- */

static bool is_left_waiting(const row *r) {
  return strstr(r->options, "stall_timeout") != NULL;
}

static bool is_stalled(const row *r) {
  char what[60];
  snprintf(what, sizeof what, "!stalled?count=0&of=/f/r%u.", r->host);
  char *count = server_told(what);
  bool is = strtol(count, NULL, 10) > 0;
  free(count);
  return is;
}

/* All of them are there, those who begin again on their way, too. */
static bool all_stalled(void) {
  bool all = true;
  for (unsigned i = 0; i < row_count; i++)
    if (is_left_waiting(&rows[i]) && !is_stalled(&rows[i])) {
      step(&rows[i]);
      all = false;
    }
  return all;
}

static bool all_noticed(void) {
  bool all = true;
  for (unsigned i = 0; i < row_count; i++)
    if (is_left_waiting(&rows[i]))
      all = all && bits_job_state(rows[i].job) == BITS_TRANSIENT_ERROR;
  return all;
}

static void say_so(void *context) {
  atomic_store((_Atomic bool *)context, true);
}

/* It has looked at its times. */
static void turn_lane(void) {
  for (int i = 0; i < 3; i++) {
    _Atomic bool turned = false;
    CHECK(http_lane_call(manager->lane, say_so, &turned));
    AWAIT(atomic_load(&turned));
  }
}

/* The clock goes on, and nothing else: no machine is too slow for that. It does
   so a few times, for in the first minute something has come. */
static void notice_stalls(void) {
  AWAIT(all_stalled());
  for (int i = 0; i < 8 && !all_noticed(); i++) {
    atomic_fetch_add(&http_clock_ahead, 60000);
    turn_lane();
  }
}

TEST(the_table) {
  unsigned waiting = 0;
  read_table();
  for (unsigned i = 0; i < row_count; i++)
    if (!is_left_waiting(&rows[i]))
      begin(&rows[i]);
    else
      waiting++;
  CHECK(waiting > 0);
  go_on(waiting);
  for (unsigned i = 0; i < row_count; i++)
    if (is_left_waiting(&rows[i])) begin(&rows[i]);
  notice_stalls();
  go_on(0);
  for (unsigned i = 0; i < row_count; i++) check_row(&rows[i]);
  end_all();
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!faults_start(true) || s.more[1] == 0) {
    printf("0 passed, 0 failed, 1 skipped\n");
    faults_stop();
    return 0;
  }
  world_make();
  manager = open_queue("{\"connections\":64}");
  GATE_RUN(the_table);
  shut_queue(manager);
  http_settle();
  faults_stop();
  return check_end();
}
