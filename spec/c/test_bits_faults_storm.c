/*
** Jobs in a storm: what a server does wrong is drawn from a seed (SAROS_SEED; a
** failure says it), and the queue is shut and opened in the middle of it. It is
** whole and right, one of the versions that there were, or it is in error and
** nothing of it is to be seen. And small files over connections that are closed
** whenever the server likes, which nobody is to notice.
**
** not under valgrind: eighty jobs, and their time-outs
*/
#include "bits_faults_case.h"

static uint64_t seed;

static unsigned draw(unsigned below) {
  uint64_t z = seed += 0x9E3779B97F4A7C15u; /* splitmix64 */
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return (unsigned)((z ^ z >> 31) % below);
}

#define ONE_OF(list) list[draw(sizeof list / sizeof list[0])]

/* ------------------------------------------------------------------
** A plan
** ---------------------------------------------------------------- */

/* What nobody could know to be wrong is not among them, but where a digest
   says so. */
static const char *const faults[] = {
    "drop-head:0",
    "drop-head:60",
    "reset-head:70",
    "503",
    "503:0",
    "500",
    "429",
    "408",
    "range:shift:7",
    "range:lie:7",
    "range:earlier:7",
    "range:short:9000",
    "range:long:7",
    "range:none",
    "range:garbage",
    "range:items",
    "range:backward",
    "range:total:7",
    "range:star",
    "range:bad-total",
    "range:two:7",
    "range:multipart",
    "range:empty",
    "range:unasked",
    "no-range",
    "if-range:ignored",
    "if-range:refused",
    "416",
    "416:none",
    "412",
    "length:by:9",
    "length:conflict",
    "length:garbage",
    "chunked",
    "chunked:cut",
    "chunked:bad",
    "chunked:negative",
    "chunked:long",
    "huge",
    "head:open",
    "head:nul",
    "redirect",
    "redirect:away",
    "204",
    "bare",
    "etag:weak",
    "no-date",
    "encoding:br",
};
static const char *const with_digest[] = {"flip:3", "length:by:-9",
                                          "close+drop:9", "digest:wrong"};
static const char *const every[] = {"",
                                    "",
                                    "etag:none",
                                    "etag:weak",
                                    "bare",
                                    "digest",
                                    "digest",
                                    "chunked",
                                    "etag:none+modified:new",
                                    "keep:rst:5:50"};

static size_t draw_size(void) {
  static const size_t sizes[] = {1, 100, 4095, 4096, 4097, 8192, 20000};
  return draw(3) == 0 ? ONE_OF(sizes) : 1 + draw(200000);
}

/* One that fails, or does only some of it: the version that it is of, in one
   of three ways, at times only the bytes. */
static void draw_step(row *r, buffer *b, bool digest) {
  static const char *const changes[] = {"version", "version", "bytes"};
  if (draw(5) == 0) r->newest++;
  if (digest && draw(4) == 0)
    buffer_text(b, ONE_OF(with_digest));
  else if (draw(5) < 2)
    buffer_format(b, "%s:%u", draw(2) == 0 ? "drop" : "reset",
                  16 + draw((unsigned)r->size));
  else
    buffer_format(b, "%s+drop:%u", ONE_OF(faults),
                  16 + draw((unsigned)r->size));
  if (r->newest > 0) buffer_format(b, "+%s:%u", ONE_OF(changes), r->newest);
  buffer_byte(b, ',');
}

static void draw_row(row *r, unsigned host) {
  buffer b = BUFFER_EMPTY;
  const char *all = ONE_OF(every);
  memset(r, 0, sizeof *r);
  r->host = host;
  r->size = draw_size();
  buffer_format(&b, "all=%s&plan=", all);
  for (unsigned n = 1 + draw(6); n > 0; n--)
    draw_step(r, &b, strcmp(all, "digest") == 0);
  buffer_format(&b, "version:%u", r->newest);
  snprintf(r->name, sizeof r->name, "storm %u", host);
  snprintf(r->query, sizeof r->query, "%s", b.data);
  snprintf(r->options, sizeof r->options,
           "{'length_required':%s,'dynamic':%s,'durability':'%s'}",
           draw(3) == 0 ? "false" : "true", draw(8) == 0 ? "true" : "false",
           draw(3) == 0 ? "group" : "none");
  buffer_free(&b);
}

/* ------------------------------------------------------------------
** What became of it
** ---------------------------------------------------------------- */

static bool is_a_version(const row *r, const char *data, size_t size) {
  char name[32];
  content_name(r, name);
  for (unsigned v = 0; v <= r->newest; v++)
    if (is_content(data, size, name, r->size, v)) return true;
  return false;
}

static void check_whole(const row *r) {
  char local[32];
  size_t size;
  uint32_t code;
  local_name(r, local);
  CHECK(is_fine(bits_job_complete(r->job, &code)));
  char *data = whole_file(in_world(local), &size);
  if (data == NULL || !is_a_version(r, data, size)) {
    differs(r, "the file", "WRONG", "right");
    printf("    seed, %s: %s\n", r->options, r->query);
  }
  free(data);
}

static void check_row(const row *r) {
  check_nothing_appeared(r);
  if (r->over == BITS_TRANSFERRED) {
    check_whole(r);
    return;
  }
  uint32_t code = 0;
  value *v = bits_job_error(r->job, &code);
  CHECK(v != NULL && value_get(v, "message") != NULL);
  value_free(v);
}

/* ------------------------------------------------------------------
** Tests
** ---------------------------------------------------------------- */

static void open_again(void) {
  char guids[ROWS][37];
  for (unsigned i = 0; i < row_count; i++) {
    strcpy(guids[i], bits_job_id(rows[i].job));
    bits_job_unref(rows[i].job);
  }
  shut_queue(manager);
  manager = open_queue("{'connections':64}");
  for (unsigned i = 0; i < row_count; i++) {
    rows[i].job = bits_manager_job(manager, guids[i]);
    if (rows[i].job == NULL) abort();
  }
}

static void one_storm(unsigned count) {
  uint64_t began = seed;
  unsigned whole = 0;
  int bad = check_bad;
  row_count = count;
  for (unsigned i = 0; i < count; i++) draw_row(&rows[i], i + 1);
  for (unsigned i = 0; i < count; i++) begin(&rows[i]);
  go_on(count / 2);
  open_again();
  go_on(0);
  for (unsigned i = 0; i < count; i++) {
    check_row(&rows[i]);
    whole += rows[i].over == BITS_TRANSFERRED;
  }
  CHECK(whole > count / 2);
  if (check_bad > bad) printf("SAROS_SEED=%llu\n", (unsigned long long)began);
  end_all();
}

TEST(a_storm) {
  const char *text = getenv("SAROS_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : 1;
  long storms = getenv("SAROS_LONG") != NULL ? 40 : 1;
  for (long i = 0; i < storms; i++) one_storm((unsigned)gate_loops(80) + 4);
}

static value *small_file(const char *how, unsigned host, unsigned n) {
  char path[100], local[32];
  snprintf(path, sizeof path, "f/k%u-%u?size=%u&all=keep:%s:9:40", host, n,
           1000 + n, how);
  snprintf(local, sizeof local, "k%u-%u", host, n);
  return json_of("{'url':'%s','path':'%s'}", at_host(host, path),
                 in_world(local));
}

TEST(connections_that_are_closed_at_random_are_not_noticed) {
  static const char *const ways[] = {"fin", "rst", "next"};
  enum { FILES = 30 };
  bits_job *jobs[3];
  for (unsigned i = 0; i < 3; i++) {
    jobs[i] = make_job(manager, "{'durability':'none','proxy':''}");
    for (unsigned n = 0; n < FILES; n++) {
      value *v = small_file(ways[i], i, n);
      CHECK(is_fine(bits_job_add_file(jobs[i], v)));
      value_free(v);
    }
    CHECK(is_fine(bits_job_resume(jobs[i])));
  }
  for (unsigned i = 0; i < 3; i++) {
    uint32_t code;
    CHECK(await_state(jobs[i], BITS_TRANSFERRED));
    value *v = bits_job_status(jobs[i]);
    const value *errors = value_get(v, "error_count");
    CHECK(errors != NULL && errors->as.integer == 0);
    value_free(v);
    CHECK(is_fine(bits_job_complete(jobs[i], &code)));
    for (unsigned n = 0; n < FILES; n++) {
      char name[32];
      snprintf(name, sizeof name, "k%u-%u", i, n);
      CHECK(is_content_file(in_world(name), name, 1000 + n, 0));
      unlink(in_world(name));
    }
    bits_job_unref(jobs[i]);
  }
  server_reset();
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!faults_start(false)) return server_missing();
  world_make();
  manager = open_queue("{'connections':64}");
  GATE_RUN(connections_that_are_closed_at_random_are_not_noticed);
  GATE_RUN(a_storm);
  shut_queue(manager);
  http_settle();
  faults_stop();
  return check_end();
}
